//! What one configuration has changed of another, by the names of things: `/subscribers/alice/ipv4`.

use super::document::{STARS, masked, secret};
use super::{Document, keys};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use utoipa::ToSchema;

/// What is escaped in a path, so that it can be asked for as it stands.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'/')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// A change of the configuration. Secrets are `***` on both sides.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
pub struct Change {
    /// Where, items of lists by their names: `/ike/peers/alice/psk`. The parts are percent-encoded as in a URL.
    pub path: String,
    /// What was done.
    pub op: Op,
    /// What it was. Of a list whose items are the same in another order: their names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// It was not written before.
    Add,
    /// It is not written any more: the default holds, where there is one.
    Remove,
    /// Both.
    Replace,
}

impl Document {
    /// What this one has changed of `old`.
    pub fn changes(&self, old: &Document) -> Vec<Change> {
        let mut out = Vec::new();
        compare("", "", old.marked(), self.marked(), &mut out);
        out
    }
}

fn compare(path: &str, pattern: &str, old: &Value, new: &Value, out: &mut Vec<Change>) {
    if old == new {
        return;
    }
    match (old, new) {
        _ if secret(old).is_some() || secret(new).is_some() => {}
        (Value::Object(olds), Value::Object(news)) => {
            let gone = olds.iter().filter(|(k, _)| !news.contains_key(*k));
            gone.for_each(|(k, v)| out.push(remove(below(path, k), v)));
            for (k, v) in news {
                match olds.get(k) {
                    Some(old) => compare(&below(path, k), &keys::below(pattern, k), old, v, out),
                    None => out.push(add(below(path, k), v)),
                }
            }
            return;
        }
        (Value::Array(olds), Value::Array(news)) => {
            let names = |items: &[Value]| keys::key(pattern).and_then(|key| keys::names(items, key));
            if let (Some(old_names), Some(new_names)) = (names(olds), names(news)) {
                return lists(path, pattern, (&old_names, olds), (&new_names, news), out);
            }
        }
        _ => {}
    }
    let (from, to) = if secret(old).is_some() && secret(new).is_some() {
        (STARS.into(), STARS.into())
    } else {
        (masked(old), masked(new))
    };
    out.push(Change { path: path.to_owned(), op: Op::Replace, from: Some(from), to: Some(to) });
}

fn lists(path: &str, pattern: &str, old: (&[String], &[Value]), new: (&[String], &[Value]), out: &mut Vec<Change>) {
    let pattern = keys::below(pattern, "*");
    let olds: HashMap<&String, &Value> = old.0.iter().zip(old.1).collect();
    let stays: HashSet<&String> = new.0.iter().collect();
    let gone = old.0.iter().zip(old.1).filter(|(name, _)| !stays.contains(name));
    gone.for_each(|(name, item)| out.push(remove(below(path, name), item)));
    for (name, item) in new.0.iter().zip(new.1) {
        match olds.get(name) {
            Some(old) => compare(&below(path, name), &pattern, old, item, out),
            None => out.push(add(below(path, name), item)),
        }
    }
    // What is new stands at the end, unless somebody says otherwise.
    let kept = old.0.iter().filter(|name| stays.contains(name));
    let expected = kept.chain(new.0.iter().filter(|name| !olds.contains_key(name)));
    if !expected.eq(new.0) {
        let order = |names: &[String]| Some(names.iter().map(String::as_str).collect());
        out.push(Change { path: path.to_owned(), op: Op::Replace, from: order(old.0), to: order(new.0) });
    }
}

fn add(path: String, new: &Value) -> Change {
    Change { path, op: Op::Add, from: None, to: Some(masked(new)) }
}

fn remove(path: String, old: &Value) -> Change {
    Change { path, op: Op::Remove, from: Some(masked(old)), to: None }
}

fn below(path: &str, name: &str) -> String {
    format!("{path}/{}", utf8_percent_encode(name, ESCAPED))
}

//! The configuration as it is written: what the file says and nothing else. A commit then changes what was asked for,
//! and leaves unsaid what goes without saying.
//!
//! ```text
//!   file, YAML ──┐              ┌── to_yaml     secrets and all: for the file and its history
//!                ├─► Document ──┼── masked      secrets as ***: for answers
//!   body, JSON ──┘              ├── changes     what another one has changed, secrets as ***
//!                               └── config      read, and checked as a whole
//! ```
//!
//! Values are as [`Config`] serializes them, whatever they were spelled like: `90m` is `1h 30m`, and no change of it. Secrets are marked
//! in the tree, and no function but `to_yaml` lets one out. In a body, `***` stands for the secret that is there already:
//! [`Document::with_secrets_of`] puts it in.

use super::locate::{Node, Tree};
use super::secret::{MARK, marked};
use super::validate::Problems;
use super::{Config, ConfigError, keys, validate, yaml};
use serde::Deserialize;
use serde_json::{Map, Value};
use serde_path_to_error::Segment;
use std::collections::HashMap;
use std::path::Path;
use zeroize::{Zeroize, Zeroizing};

/// What stands for a secret in answers and bodies.
pub(super) const STARS: &str = "***";

/// A configuration as it is written. Equal when it says the same.
#[derive(Clone, PartialEq)]
pub struct Document(Value);

impl Document {
    /// Reads a file, not what it includes.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map(Zeroizing::new);
        Self::from_yaml(&name, &text.map_err(|e| ConfigError::Read(name.clone(), e))?)
    }

    /// From text; `name` is only for messages.
    pub fn from_yaml(name: &str, text: &str) -> Result<Self, ConfigError> {
        Self::new(&yaml(name, text)?, &yaml(name, text)?)
    }

    /// From a body. An error names the path.
    pub fn from_json(body: &Value) -> Result<Self, ConfigError> {
        let config: Config = serde_path_to_error::deserialize(body).map_err(|e| {
            let mut problems = Problems::default();
            problems.add(dotted(e.path()), e.inner().to_string());
            ConfigError::Invalid(problems.into())
        })?;
        Self::new(&config, &body.into())
    }

    fn new(config: &Config, written: &Node) -> Result<Self, ConfigError> {
        let whole = marked(|| serde_json::to_value(config));
        let whole = whole.map_err(|e| ConfigError::Syntax("configuration".to_owned(), e.to_string()))?;
        Ok(Self(cut(whole, written)))
    }

    /// The configuration that it means, checked; `path` is the file's, whose neighbour a file of subscribers is.
    pub fn config(&self, path: &Path) -> Result<Config, ConfigError> {
        let config = self.read()?.with_subscribers_file(path)?;
        match validate::check(&config) {
            problems if problems.is_empty() => Ok(config),
            problems => Err(ConfigError::Invalid(problems)),
        }
    }

    fn read(&self) -> Result<Config, ConfigError> {
        let plain = Document(plain(&self.0));
        Config::deserialize(&plain.0).map_err(|e| ConfigError::Syntax("configuration".to_owned(), e.to_string()))
    }

    /// For the file, secrets and all.
    pub fn to_yaml(&self) -> Result<Zeroizing<String>, ConfigError> {
        let wrong = |e: String| ConfigError::Syntax("configuration".to_owned(), e);
        let plain = Document(plain(&self.0));
        let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
        let text = serde_saphyr::to_string_with_options(&plain.0, options).map_err(|e| wrong(e.to_string()))?;
        let text = Zeroizing::new(text);
        // What is not read back as it was written would be another configuration after the next start.
        match Self::from_yaml("configuration", &text)? == *self {
            true => Ok(text),
            false => Err(wrong("it cannot be written as YAML".to_owned())),
        }
    }

    /// For answers: secrets are `***`.
    pub fn masked(&self) -> Value {
        masked(&self.0)
    }

    /// For answers: all settings, those that are not written with their defaults; secrets are `***`.
    pub fn complete(&self) -> Result<Value, ConfigError> {
        serde_json::to_value(self.read()?).map_err(|e| ConfigError::Syntax("configuration".to_owned(), e.to_string()))
    }

    /// With the secrets of `running` where this one has `***`; an error names those that `running` has not.
    pub fn with_secrets_of(mut self, running: &Document) -> Result<Self, ConfigError> {
        let mut problems = Problems::default();
        keep(&mut self.0, Some(&running.0), "", "", &mut problems);
        match Vec::from(problems) {
            problems if problems.is_empty() => Ok(self),
            problems => Err(ConfigError::Invalid(problems)),
        }
    }

    pub(super) fn marked(&self) -> &Value {
        &self.0
    }
}

impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.masked().fmt(f)
    }
}

impl Drop for Document {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::Object(map) => map.values_mut().for_each(wipe),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::String(text) => text.zeroize(),
        _ => {}
    }
}

/// As messages write paths: `ike.peers[1].psk`.
fn dotted(path: &serde_path_to_error::Path) -> String {
    let mut out = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => out.push_str(&format!("[{index}]")),
            Segment::Map { key } if out.is_empty() => out.push_str(key),
            Segment::Map { key } => out.push_str(&format!(".{key}")),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    out
}

/// The settings of `whole` that are written.
fn cut(whole: Value, written: &Node) -> Value {
    match (whole, &written.tree) {
        (Value::Object(map), Tree::Map(settings)) => {
            let setting = |(key, value)| settings.get(&key).map(|below| (key, cut(value, below)));
            Value::Object(map.into_iter().filter_map(setting).collect())
        }
        (Value::Array(items), Tree::List(nodes)) if items.len() == nodes.len() => {
            items.into_iter().zip(nodes).map(|(item, node)| cut(item, node)).collect()
        }
        (value, _) => value,
    }
}

/// The secret that a value is.
pub(super) fn secret(value: &Value) -> Option<&str> {
    value.as_object().filter(|map| map.len() == 1)?.get(MARK)?.as_str()
}

/// With secrets as `***`.
pub(super) fn masked(value: &Value) -> Value {
    shown(value, |_| STARS)
}

fn plain(value: &Value) -> Value {
    shown(value, |secret| secret)
}

fn shown(value: &Value, as_what: fn(&str) -> &str) -> Value {
    match value {
        _ if let Some(secret) = secret(value) => as_what(secret).into(),
        Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), shown(v, as_what))).collect::<Map<_, _>>().into(),
        Value::Array(items) => items.iter().map(|v| shown(v, as_what)).collect(),
        other => other.clone(),
    }
}

fn keep(new: &mut Value, old: Option<&Value>, pattern: &str, path: &str, problems: &mut Problems) {
    if secret(new) == Some(STARS) {
        match old {
            Some(old) if secret(old).is_some() => *new = old.clone(),
            _ => problems.add(path, "*** keeps the secret that is there, and there is none: write it out"),
        }
        return;
    }
    match new {
        Value::Object(map) => {
            for (k, v) in map {
                let path = if path.is_empty() { k.clone() } else { format!("{path}.{k}") };
                keep(v, old.and_then(|old| old.get(k)), &keys::below(pattern, k), &path, problems);
            }
        }
        Value::Array(items) => {
            let key = keys::key(pattern);
            let olds = old.and_then(Value::as_array);
            let named: HashMap<String, &Value> = key.map_or_else(HashMap::new, |key| {
                olds.into_iter().flatten().filter_map(|o| Some((keys::name_of(o, key)?, o))).collect()
            });
            for (i, item) in items.iter_mut().enumerate() {
                let old = match key {
                    Some(key) => keys::name_of(item, key).and_then(|name| named.get(&name).copied()),
                    None => olds.and_then(|o| o.get(i)),
                };
                keep(item, old, &keys::below(pattern, "*"), &format!("{path}[{i}]"), problems);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
pub(super) mod tests;

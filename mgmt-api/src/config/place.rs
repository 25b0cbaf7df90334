//! A place in the configuration, as a path names it: `subscribers/alice/ipv4`. Items of lists go by their names, and where
//! they have none, by their numbers.

use super::Refused;
use controlplane::config::{key, name_of};
use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use std::net::IpAddr;

/// Where, as the decoded parts of a path; none is the whole document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place(Vec<String>);

/// What is done there.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// This is there afterwards.
    Put(Value),
    /// This is merged into what is there (RFC 7396).
    Patch(Value),
    /// Nothing is there afterwards.
    Delete,
}

impl Place {
    /// From the path of a request, below `/config/`.
    pub fn of(path: &str) -> Result<Self, Refused> {
        let below = path.split_once("/config/").map_or("", |(_, below)| below);
        let part = |text: &str| percent_decode_str(text).decode_utf8().map(String::from);
        let parts: Result<_, _> = below.split('/').filter(|part| !part.is_empty()).map(part).collect();
        parts.map(Self).map_err(|_| Refused::Malformed("the path is not UTF-8".to_owned()))
    }

    /// What is there.
    pub fn get<'a>(&self, document: &'a Value) -> Result<Option<&'a Value>, Refused> {
        let (mut at, mut pattern) = (document, String::new());
        for part in &self.0 {
            let found = match at {
                Value::Array(items) => position(items, &pattern, part)?.map(|i| &items[i]),
                other => other.get(part),
            };
            pattern = below(&pattern, at, part);
            match found {
                Some(value) => at = value,
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    /// Does it; whether there was nothing before.
    pub fn apply(&self, document: &mut Value, act: Act) -> Result<bool, Refused> {
        let Some((last, way)) = self.0.split_last() else {
            match act {
                Act::Put(value) => *document = value,
                Act::Patch(patch) => merge(document, patch),
                Act::Delete => return Err(Refused::Malformed("the whole configuration cannot be deleted".to_owned())),
            }
            return Ok(false);
        };
        let (mut at, mut pattern) = (document, String::new());
        for part in way {
            let next = below(&pattern, at, part);
            at = match at {
                Value::Array(items) => match position(items, &pattern, part)? {
                    Some(i) => &mut items[i],
                    None => return Err(self.unknown()),
                },
                Value::Object(map) => {
                    if matches!(act, Act::Delete) && !map.contains_key(part.as_str()) {
                        return Err(self.unknown());
                    }
                    let entry = map.entry(part.as_str()).or_insert(Value::Null);
                    if entry.is_null() {
                        *entry = container(&next);
                    }
                    entry
                }
                _ => return Err(self.unknown()),
            };
            pattern = next;
        }
        match at {
            Value::Array(items) => self.item(items, &pattern, last, act),
            Value::Object(map) => self.setting(map, last, act),
            _ => Err(self.unknown()),
        }
    }

    fn setting(&self, map: &mut Map<String, Value>, name: &str, act: Act) -> Result<bool, Refused> {
        let created = map.get(name).is_none_or(Value::is_null);
        match act {
            Act::Put(value) => drop(map.insert(name.to_owned(), value)),
            Act::Patch(patch) => merge(map.entry(name).or_insert(Value::Null), patch),
            Act::Delete => drop(map.remove(name).ok_or_else(|| self.unknown())?),
        }
        Ok(created)
    }

    fn item(&self, items: &mut Vec<Value>, pattern: &str, name: &str, act: Act) -> Result<bool, Refused> {
        let found = position(items, pattern, name)?;
        match (act, found) {
            (Act::Put(value), found) => {
                let value = match key(pattern) {
                    Some(key) => named(value, key, name)?,
                    None if found.is_some() || name.parse() == Ok(items.len()) => value,
                    None => return Err(self.unknown()),
                };
                match found {
                    Some(i) => items[i] = value,
                    None => items.push(value),
                }
            }
            (Act::Patch(patch), Some(i)) => merge(&mut items[i], patch),
            (Act::Delete, Some(i)) => drop(items.remove(i)),
            (Act::Patch(_) | Act::Delete, None) => return Err(self.unknown()),
        }
        Ok(found.is_none())
    }

    /// There is nothing.
    pub fn unknown(&self) -> Refused {
        Refused::Unknown(self.0.join("/"))
    }
}

/// The pattern of what `part` leads to.
fn below(pattern: &str, at: &Value, part: &str) -> String {
    let part = if at.is_array() { "*" } else { part };
    if pattern.is_empty() { part.to_owned() } else { format!("{pattern}/{part}") }
}

fn container(pattern: &str) -> Value {
    if key(pattern).is_some() { Value::Array(Vec::new()) } else { Value::Object(Map::new()) }
}

fn position(items: &[Value], pattern: &str, name: &str) -> Result<Option<usize>, Refused> {
    let Some(key) = key(pattern) else {
        return Ok(name.parse().ok().filter(|i| *i < items.len()));
    };
    let mut found = (0..items.len()).filter(|i| name_of(&items[*i], key).is_some_and(|n| same(&n, name)));
    match (found.next(), found.next()) {
        (_, Some(_)) => Err(Refused::Conflict(format!("several {pattern} are named {name}: change them all at once"))),
        (first, None) => Ok(first),
    }
}

/// Names are the same, or addresses are, however they are written.
fn same(a: &str, b: &str) -> bool {
    fn both<T: std::str::FromStr + PartialEq>(a: &str, b: &str) -> bool {
        a.parse::<T>().ok().zip(b.parse().ok()).is_some_and(|(a, b)| a == b)
    }
    a == b || both::<IpAddr>(a, b) || both::<IpNet>(a, b)
}

/// An item as its path names it.
fn named(mut item: Value, key: &str, name: &str) -> Result<Value, Refused> {
    let Value::Object(map) = &mut item else {
        return Err(Refused::Invalid(vec![(String::new(), "expected an object".to_owned())]));
    };
    if !map.contains_key(key) {
        let number = name.parse::<u64>().ok().filter(|_| key == "id");
        map.insert(key.to_owned(), number.map_or_else(|| name.into(), Value::from));
    }
    match name_of(&item, key) {
        Some(written) if same(&written, name) => Ok(item),
        _ => Err(Refused::Invalid(vec![(format!("/{key}"), format!("the path says {name}"))])),
    }
}

/// Merges a patch (RFC 7396).
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(map) = target else { return };
    for (name, value) in patch {
        match value {
            Value::Null => drop(map.remove(&name)),
            value => merge(map.entry(name).or_insert(Value::Null), value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document() -> Value {
        json!({
            "ike": { "peers": [{ "name": "a/b", "psk": "***" }, { "name": "c" }] },
            "routes": [{ "to": "10.0.0.0/8", "port": "p" }, { "to": "::/0", "port": "p" }, { "to": "::/0", "port": "q" }],
            "bgp": { "asn": 1, "neighbours": [{ "address": "2001:db8::1", "asn": 1 }],
                     "key_chains": [{ "name": "k", "keys": [{ "id": 7 }] }], "networks": ["10.0.0.0/8"] },
            "mesh": null,
        })
    }

    fn get(path: &str) -> Result<Option<Value>, Refused> {
        let document = document();
        Place::of(path)?.get(&document).map(Option::<&Value>::cloned)
    }

    #[test]
    fn names_lead_to_items() {
        for (path, want) in [
            ("/config/ike/peers/a%2Fb/psk", json!("***")),
            ("/api/v1/config/ike/peers/c", json!({ "name": "c" })),
            ("/config/routes/10.0.0.0%2F8/port", json!("p")),
            ("/config/bgp/neighbours/2001:DB8:0::1/asn", json!(1)),
            ("/config/bgp/key_chains/k/keys/7/", json!({ "id": 7 })),
            ("/config/bgp/networks/0", json!("10.0.0.0/8")),
        ] {
            assert_eq!(get(path), Ok(Some(want)), "{path}");
        }
        for path in ["/config/ike/peers/0", "/config/nothing", "/config/bgp/networks/1", "/config/bgp/asn/x"] {
            assert_eq!(get(path), Ok(None), "{path}");
        }
        assert!(matches!(get("/config/routes/%3A%3A%2F0"), Err(Refused::Conflict(_))));
        assert!(matches!(get("/config/%ff"), Err(Refused::Malformed(_))));
    }

    #[test]
    fn acts() {
        use Act::{Delete, Patch, Put};
        let unknown = |path: &str| Err(Refused::Unknown(path.to_owned()));
        for (path, act, result, then, want) in [
            ("ike/peers/c", Put(json!({ "id": "x" })), Ok(false), "/ike/peers/1", json!({ "id": "x", "name": "c" })),
            ("ike/peers/d", Put(json!({ "name": "d" })), Ok(true), "/ike/peers/2", json!({ "name": "d" })),
            ("bgp/key_chains/k/keys/8", Put(json!({})), Ok(true), "/bgp/key_chains/0/keys/1", json!({ "id": 8 })),
            (
                "bgp/neighbours/2001:db8:0::1",
                Put(json!({})),
                Ok(false),
                "/bgp/neighbours/0/address",
                json!("2001:db8:0::1"),
            ),
            ("mesh/afbrs/east", Put(json!({})), Ok(true), "/mesh", json!({ "afbrs": [{ "name": "east" }] })),
            ("pools/ipv4", Put(json!(["10.0.0.0/8"])), Ok(true), "/pools/ipv4", json!(["10.0.0.0/8"])),
            ("bgp/networks/1", Put(json!("x")), Ok(true), "/bgp/networks/1", json!("x")),
            ("bgp/networks/2", Put(json!("x")), unknown("bgp/networks/2"), "/bgp/networks", json!(["10.0.0.0/8"])),
            ("ike/peers/d/psk", Put(json!("x")), unknown("ike/peers/d/psk"), "/mesh", json!(null)),
            ("bgp/asn/x", Put(json!("x")), unknown("bgp/asn/x"), "/bgp/asn", json!(1)),
            (
                "ike/peers/a%2Fb",
                Patch(json!({ "psk": null, "n": 1 })),
                Ok(false),
                "/ike/peers/0",
                json!({ "name": "a/b", "n": 1 }),
            ),
            ("ike/peers/d", Patch(json!({})), unknown("ike/peers/d"), "/mesh", json!(null)),
            ("mesh", Patch(json!({ "a": { "b": null } })), Ok(true), "/mesh", json!({ "a": {} })),
            ("bgp", Patch(json!({ "networks": [] })), Ok(false), "/bgp/networks", json!([])),
            ("ike/peers/c", Delete, Ok(false), "/ike/peers", json!([{ "name": "a/b", "psk": "***" }])),
            ("bgp/asn", Delete, Ok(false), "/bgp/asn", json!(null)),
            ("pools/ipv4", Delete, unknown("pools/ipv4"), "/mesh", json!(null)),
            ("ike/peers/d", Delete, unknown("ike/peers/d"), "/mesh", json!(null)),
        ] {
            let mut d = document();
            assert_eq!(Place::of(&format!("/config/{path}")).unwrap().apply(&mut d, act), result, "{path}");
            assert_eq!(d.pointer(then).cloned().unwrap_or(Value::Null), want, "{path}");
        }
        let mut d = document();
        let wrong = Place::of("/config/ike/peers/c").unwrap().apply(&mut d, Put(json!({ "name": "d" })));
        assert!(matches!(wrong, Err(Refused::Invalid(_))) && d == document());
        let wrong = Place::of("/config/ike/peers/c").unwrap().apply(&mut d, Put(json!([])));
        assert!(matches!(wrong, Err(Refused::Invalid(_))) && d == document());
    }

    // The examples of RFC 7396, appendix A.
    #[test]
    fn merge_patch() {
        for (target, patch, want) in [
            (json!({ "a": "b" }), json!({ "a": "c" }), json!({ "a": "c" })),
            (json!({ "a": "b" }), json!({ "b": "c" }), json!({ "a": "b", "b": "c" })),
            (json!({ "a": "b" }), json!({ "a": null }), json!({})),
            (json!({ "a": "b", "b": "c" }), json!({ "a": null }), json!({ "b": "c" })),
            (json!({ "a": ["b"] }), json!({ "a": "c" }), json!({ "a": "c" })),
            (json!({ "a": { "b": "c" } }), json!({ "a": { "b": "d", "c": null } }), json!({ "a": { "b": "d" } })),
            (json!({ "a": [{ "b": "c" }] }), json!({ "a": [1] }), json!({ "a": [1] })),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({ "a": "b" }), json!(["c"]), json!(["c"])),
            (json!({ "a": "foo" }), json!(null), json!(null)),
            (json!({ "e": null }), json!({ "a": 1 }), json!({ "e": null, "a": 1 })),
            (json!([1, 2]), json!({ "a": "b", "c": null }), json!({ "a": "b" })),
            (json!({}), json!({ "a": { "bb": { "ccc": null } } }), json!({ "a": { "bb": {} } })),
        ] {
            let mut got = target;
            merge(&mut got, patch);
            assert_eq!(got, want);
        }
    }
}

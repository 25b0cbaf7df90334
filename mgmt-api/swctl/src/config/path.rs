//! Where a setting is in the configuration. Items of a list are named by what tells them apart, not by their position:
//! `subscribers alice secret`, `bgp neighbours 2001:db8::1 asn`.
//!
//! On the command line a path is words. The first one may be all of it, with slashes and, as in the API's paths, with
//! `%2F` for a slash of a name: `routes/10.0.0.0%2F8/port`.

use crate::error::Error;
use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use std::net::IpAddr;

/// Lists whose items have a key, and its name; `*` is any item or name.
const KEYS: &[(&str, &str)] = &[
    ("ports", "name"),
    ("routes", "to"),
    ("listeners", "name"),
    ("ike.peers", "name"),
    ("mesh.afbrs", "name"),
    ("mesh.profiles", "name"),
    ("bgp.neighbours", "address"),
    ("bgp.dynamic_neighbours", "range"),
    ("bgp.key_chains", "name"),
    ("bgp.key_chains.*.keys", "id"),
    ("bgp.rtr", "name"),
    ("bfd.profiles", "name"),
    ("bfd.profiles.*.keys", "id"),
    ("aaa.servers", "name"),
    ("aaa.dynamic.clients", "address"),
    ("filters", "name"),
    ("subscribers", "user"),
    ("api.clients", "name"),
];

/// Lists whose items are in order and counted from 0.
const COUNTED: &[&str] = &["rules", "tunnels"];

/// Settings that are text even where it looks like a number.
const TEXT: &[&str] =
    &["name", "user", "identity", "ike_id", "description", "host_name", "nas_identifier", "protocol", "ports"];

/// Settings that are never shown.
const SECRETS: &[&str] = &["secret", "psk", "hash"];

/// How a secret is shown, and how a body says that it stays what it is.
pub const HIDDEN: &str = "***";

/// Whether what stands under a name is a secret.
pub fn secret(name: &str) -> bool {
    SECRETS.contains(&name)
}

/// What tells the items of the list at `path` apart.
pub fn key(path: &[String]) -> Option<&'static str> {
    KEYS.iter().find(|(pattern, _)| fits(pattern, path)).map(|(_, key)| *key)
}

fn fits(pattern: &str, path: &[String]) -> bool {
    pattern.split('.').count() == path.len() && pattern.split('.').zip(path).all(|(s, p)| s == "*" || s == p)
}

/// A path from words of the command line.
pub fn from_words(words: &[String]) -> Result<Vec<String>, Error> {
    let Some((first, rest)) = words.split_first() else { return Ok(Vec::new()) };
    let mut path = Vec::new();
    for step in first.split('/').filter(|s| !s.is_empty()) {
        let step = percent_decode_str(step).decode_utf8().map_err(|_| Error::Usage(format!("{first:?} is no path")))?;
        path.push(step.into_owned());
    }
    path.extend(rest.iter().cloned());
    Ok(path)
}

/// The steps of a JSON pointer (RFC 6901).
pub fn from_pointer(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~")).collect()
}

/// A value of the command line: text, a number or a truth value as YAML has them; what begins with a bracket, a brace or a
/// quotation mark is YAML.
pub fn value(path: &[String], text: &str) -> Result<Value, Error> {
    let name = path.last().map_or("", String::as_str);
    let numbered = path.len() > 2 && key(&path[..path.len() - 2]) == Some("id");
    if secret(name) {
        return Ok(Value::String(text.to_owned()));
    }
    // Words in brackets are such words each: YAML would take `[fe80::]` for a list of maps.
    let list = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    if let Some(words) = list.filter(|words| !words.contains(['[', '{', '"', '\''])) {
        return Ok(words.split(',').map(str::trim).filter(|word| !word.is_empty()).map(scalar).collect());
    }
    if text.starts_with(['[', '{', '"', '\'']) {
        let bad = |e: serde_saphyr::Error| Error::Usage(format!("{}: {}", path.join(" "), e.without_snippet()));
        return serde_saphyr::from_str(text).map_err(bad);
    }
    Ok(if TEXT.contains(&name) || (name == "id" && !numbered) { text.into() } else { scalar(text) })
}

// What other YAML readers take for truth values (`yes`, `on`) is text, and so are addresses that end in a colon.
fn scalar(text: &str) -> Value {
    match text {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "null" | "~" => Value::Null,
        _ => match text.parse::<i64>() {
            // `+1` and `007` are text.
            Ok(n) if n.to_string() == text => n.into(),
            _ => Value::String(text.to_owned()),
        },
    }
}

/// Puts a value at a path, and makes what is missing above it. A map is merged into one that is there.
pub fn set(document: &mut Value, path: &[String], value: &Value) -> Result<(), Error> {
    let mut at = document;
    for (i, step) in path.iter().enumerate() {
        at = make(at, &path[..i], step)?;
    }
    merge(at, value);
    Ok(())
}

/// Removes what is at a path.
pub fn delete(document: &mut Value, path: &[String]) -> Result<(), Error> {
    let nothing = || Error::Usage(format!("{}: there is nothing to delete", path.join(" ")));
    let (last, above) = path.split_last().ok_or_else(nothing)?;
    let mut at = document;
    for (i, step) in above.iter().enumerate() {
        at = match at {
            Value::Object(map) => map.get_mut(step).ok_or_else(nothing)?,
            Value::Array(list) => {
                let n = position(list, &path[..i], step).ok_or_else(nothing)?;
                list.get_mut(n).ok_or_else(nothing)?
            }
            _ => return Err(nothing()),
        };
    }
    match at {
        Value::Object(map) => map.remove(last).filter(|v| !v.is_null()).map(drop).ok_or_else(nothing),
        Value::Array(list) => {
            let n = position(list, above, last).ok_or_else(nothing)?;
            list.remove(n);
            Ok(())
        }
        _ => Err(nothing()),
    }
}

/// The position of a list's item.
fn position(list: &[Value], path: &[String], step: &str) -> Option<usize> {
    match key(path) {
        Some(key) => list.iter().position(|item| name(item, key).is_some_and(|n| same(&n, step))),
        None => step.parse().ok().filter(|n| *n < list.len()),
    }
}

/// The key of an item.
pub fn name(item: &Value, key: &str) -> Option<String> {
    match &item[key] {
        Value::String(s) => Some(s.clone()),
        Value::Number(n) => Some(n.to_string()),
        _ => None,
    }
}

// Addresses and prefixes have several spellings.
fn same(a: &str, b: &str) -> bool {
    let address = |text: &str| text.parse::<IpAddr>().ok();
    let prefix = |text: &str| text.parse::<IpNet>().ok();
    a == b || (address(a).is_some() && address(a) == address(b)) || (prefix(a).is_some() && prefix(a) == prefix(b))
}

fn make<'a>(at: &'a mut Value, above: &[String], step: &str) -> Result<&'a mut Value, Error> {
    if at.is_null() {
        let list = key(above).is_some() || above.last().is_some_and(|name| COUNTED.contains(&name.as_str()));
        *at = if list { Value::Array(Vec::new()) } else { Value::Object(Map::new()) };
    }
    match at {
        Value::Object(map) => Ok(map.entry(step).or_insert(Value::Null)),
        Value::Array(list) => {
            let n = match (position(list, above, step), key(above)) {
                (Some(n), _) => n,
                (None, Some(key)) => {
                    let id = if key == "id" { scalar(step) } else { Value::String(step.to_owned()) };
                    list.push(Value::Object(Map::from_iter([(key.to_owned(), id)])));
                    list.len() - 1
                }
                (None, None) if step.parse() == Ok(list.len()) => {
                    list.push(Value::Null);
                    list.len() - 1
                }
                (None, None) => {
                    let text = format!("{}: {step:?} is no position in a list of {}", above.join(" "), list.len());
                    return Err(Error::Usage(text));
                }
            };
            Ok(&mut list[n])
        }
        _ => Err(Error::Usage(format!("{} is a value, there is no {step:?} in it", above.join(" ")))),
    }
}

fn merge(into: &mut Value, value: &Value) {
    match (into, value) {
        (Value::Object(into), Value::Object(value)) => {
            for (name, value) in value {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, value) => *into = value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn words(text: &str) -> Vec<String> {
        from_words(&text.split(' ').map(str::to_owned).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn words_and_slashes() {
        assert_eq!(words("subscribers/alice secret"), words("subscribers alice secret"));
        assert_eq!(words("/routes/10.0.0.0%2F8/port"), words("routes 10.0.0.0/8 port"));
        assert_eq!(from_pointer("/routes/10.0.0.0~18/a~0b"), ["routes", "10.0.0.0/8", "a~b"]);
        assert!(from_words(&["a%ff".to_owned()]).is_err());
    }

    #[test]
    fn values_have_types() {
        let v = |path: &str, text| value(&words(path), text).unwrap();
        for (path, text, expected) in [
            ("ports core mtu", "9000", json!(9000)),
            ("listeners a anonymous", "true", json!(true)),
            ("ike rekey", "30m", json!("30m")),
            ("mesh local", "[2001:db8::1, \"::\"]", json!(["2001:db8::1", "::"])),
            ("routes 2001:db8::/32 via", "[fe80::]", json!(["fe80::"])),
            ("listeners a address", "2001:db8::", json!("2001:db8::")),
            ("bgp", "{asn: 1, router_id: 1.1.1.1}", json!({ "asn": 1, "router_id": "1.1.1.1" })),
            ("subscribers 1 secret", "123", json!("123")),
            ("subscribers 1 secret", "[x", json!("[x")),
            ("ike peers a id", "12", json!("12")),
            ("bgp key_chains a keys 3 id", "12", json!(12)),
            ("l2tp host_name", "007", json!("007")),
            ("ppp name", "true", json!("true")),
            ("aaa nas_address", "null", Value::Null),
            ("x", "'9'", json!("9")),
            ("x", "007", json!("007")),
            ("x", "-5", json!(-5)),
        ] {
            assert_eq!(v(path, text), expected, "{path} {text}");
        }
        assert!(value(&words("mesh local"), "[a").is_err());
    }

    #[test]
    fn items_are_found_by_their_keys_and_made_when_they_are_missing() {
        let mut doc = json!({ "subscribers": [{ "user": "alice", "ipv4": null }], "bgp": null, "filters": [] });
        for (path, text) in [
            ("subscribers alice ipv4", "10.0.0.1"),
            ("subscribers 7 secret", "s"),
            ("bgp neighbours 2001:db8::1 asn", "65001"),
            ("bgp neighbours 2001:DB8:0::1 passive", "true"),
            ("bgp key_chains c keys 3 secret", "k"),
            ("filters web rules 0", "{action: permit}"),
            ("filters web rules 0 ports", "80"),
        ] {
            let path = words(path);
            set(&mut doc, &path, &value(&path, text).unwrap()).unwrap();
        }
        let expected = json!({
            "subscribers": [{ "user": "alice", "ipv4": "10.0.0.1" }, { "user": "7", "secret": "s" }],
            "bgp": { "neighbours": [{ "address": "2001:db8::1", "asn": 65001, "passive": true }],
                     "key_chains": [{ "name": "c", "keys": [{ "id": 3, "secret": "k" }] }] },
            "filters": [],
        });
        let rule = json!([{ "action": "permit", "ports": "80" }]);
        assert_eq!(doc["filters"][0]["rules"], rule);
        assert!(set(&mut doc, &words("filters web rules 2"), &json!({})).is_err());
        delete(&mut doc, &words("filters web")).unwrap();
        assert_eq!(doc, expected);
        for path in ["subscribers bob", "filters web", "bgp asn", "subscribers alice ipv4 x"] {
            assert!(delete(&mut doc, &words(path)).is_err(), "{path}");
        }
        assert!(set(&mut doc, &words("subscribers alice ipv4 x"), &json!(1)).is_err());
    }

    #[test]
    fn items_have_the_names_that_they_have_for_the_gateway() {
        let mut ours: Vec<_> = KEYS.iter().map(|(list, key)| (list.replace('.', "/"), *key)).collect();
        let mut theirs: Vec<_> =
            controlplane::config::KEYS.iter().map(|(list, key)| ((*list).to_owned(), *key)).collect();
        ours.sort();
        theirs.sort();
        assert_eq!(ours, theirs);
    }

    #[test]
    fn the_tables_know_every_secret_and_every_list_of_the_configuration() {
        const YAML: &str = include_str!("../../tests/full.yaml");
        let config = controlplane::config::Config::from_yaml("full.yaml", YAML).unwrap_or_else(|e| panic!("{e}"));
        let document = serde_json::to_value(&config).unwrap();
        let (mut secrets, mut keyed) = (Vec::new(), Vec::new());
        walk(&document, &mut Vec::new(), &mut secrets, &mut keyed);
        assert_eq!(secrets.len(), YAML.matches("hidden-").count(), "{secrets:?}");
        let without: Vec<&str> = KEYS.iter().map(|k| k.0).filter(|k| !keyed.iter().any(|p| p == k)).collect();
        assert!(without.is_empty(), "full.yaml lacks {without:?}");
    }

    fn walk(at: &Value, path: &mut Vec<String>, secrets: &mut Vec<String>, keyed: &mut Vec<String>) {
        match at {
            Value::Object(map) => {
                for (name, value) in map {
                    path.push(name.clone());
                    walk(value, path, secrets, keyed);
                    path.pop();
                }
            }
            Value::Array(list) if list.iter().any(Value::is_object) => {
                let named = key(path);
                assert!(named.is_some() || COUNTED.contains(&path.last().unwrap().as_str()), "{path:?} has no key");
                keyed.extend(KEYS.iter().map(|k| k.0).filter(|pattern| fits(pattern, path)).map(str::to_owned));
                for (i, item) in list.iter().enumerate() {
                    path.push(named.and_then(|k| name(item, k)).unwrap_or_else(|| i.to_string()));
                    walk(item, path, secrets, keyed);
                    path.pop();
                }
            }
            Value::String(s) if s == HIDDEN => {
                assert!(path.last().is_some_and(|name| secret(name)), "{path:?} is a secret that would be shown");
                secrets.push(path.join("."));
            }
            _ => {}
        }
    }
}

//! What differs between two configurations, shown as Junos does it:
//!
//! ```text
//! [edit listeners secure]
//! -  address: 192.0.2.1
//! +  address: 192.0.2.9
//! [edit subscribers]
//! +  bob:
//! +    secret: "***"
//! ```

use super::path::{from_pointer, key, name};
use super::yaml;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// A difference at one place; what is absent before or after is null.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Where.
    pub path: Vec<String>,
    /// What was there.
    pub from: Value,
    /// What is there.
    pub to: Value,
}

/// As the API has changes.
pub fn from_api(changes: &Value) -> Vec<Change> {
    let of = |c: &Value| Change {
        path: from_pointer(c["path"].as_str().unwrap_or_default()),
        from: c["from"].clone(),
        to: c["to"].clone(),
    };
    changes.as_array().map(|list| list.iter().map(of).collect()).unwrap_or_default()
}

/// What differs.
pub fn compare(from: &Value, to: &Value) -> Vec<Change> {
    let mut out = Vec::new();
    walk(&mut Vec::new(), from, to, &mut out);
    out
}

fn walk(path: &mut Vec<String>, from: &Value, to: &Value, out: &mut Vec<Change>) {
    let (from_items, to_items) = match (from, to) {
        (Value::Object(from), Value::Object(to)) => (from.clone(), to.clone()),
        (Value::Array(from), Value::Array(to)) if key(path).is_some() => (by_key(path, from), by_key(path, to)),
        _ => {
            if !same(from, to) {
                out.push(Change { path: path.clone(), from: from.clone(), to: to.clone() });
            }
            return;
        }
    };
    let steps: BTreeSet<&String> = from_items.keys().chain(to_items.keys()).collect();
    for step in steps {
        path.push(step.clone());
        let at = |items: &Map<String, Value>| items.get(step).cloned().unwrap_or_default();
        walk(path, &at(&from_items), &at(&to_items), out);
        path.pop();
    }
}

fn by_key(path: &[String], list: &[Value]) -> Map<String, Value> {
    let key = key(path).unwrap_or_default();
    list.iter().enumerate().map(|(i, item)| (name(item, key).unwrap_or_else(|| i.to_string()), item.clone())).collect()
}

// What is absent, null and empty is the same.
fn same(from: &Value, to: &Value) -> bool {
    let empty = |v: &Value| match v {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.values().all(Value::is_null),
        _ => false,
    };
    from == to || (empty(from) && empty(to))
}

/// As text.
pub fn show(changes: &[Change]) -> String {
    let (mut out, mut section) = (Vec::new(), None);
    for change in changes {
        let (last, above) = change.path.split_last().map_or((None, &[][..]), |(l, a)| (Some(l), a));
        if section != Some(above) {
            out.push(format!(
                "[{}]",
                ["edit"].into_iter().chain(above.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
            ));
            section = Some(above);
        }
        for (sign, value) in [('-', &change.from), ('+', &change.to)] {
            let lines = match last {
                Some(name) => yaml::lines(name, value),
                None => yaml::document(value),
            };
            out.extend(lines.into_iter().map(|line| format!("{sign}  {line}")));
        }
    }
    out.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_difference_reads_like_junos() {
        let from = json!({
            "bgp": null, "ike": { "rekey": "4h", "peers": [] }, "mesh": { "local": ["10.0.0.1"] },
            "listeners": [{ "name": "old", "address": "192.0.2.3" }, { "name": "secure", "address": "192.0.2.1", "ikev1": null }],
            "subscribers": [{ "user": "alice", "secret": "***" }, { "user": "eve", "secret": "***" }],
        });
        let to = json!({
            "bgp": { "asn": 65000, "neighbours": [{ "address": "2001:db8::1", "asn": 65001 }] },
            "ike": { "rekey": "2h" }, "mesh": { "local": ["10.0.0.1", "2001:db8::1"] },
            "listeners": [{ "name": "secure", "address": "192.0.2.9" }],
            "subscribers": [{ "user": "eve", "secret": "***" }, { "user": "alice", "secret": "very-hidden" },
                            { "user": "bob", "secret": "hidden-too", "ipv4": "10.0.0.2" }],
        });
        let expected = r#"[edit]
+  bgp:
+    asn: 65000
+    neighbours:
+      - address: 2001:db8::1
+        asn: 65001
[edit ike]
-  rekey: 4h
+  rekey: 2h
[edit listeners]
-  old:
-    name: old
-    address: 192.0.2.3
[edit listeners secure]
-  address: 192.0.2.1
+  address: 192.0.2.9
[edit mesh]
-  local: [10.0.0.1]
+  local: [10.0.0.1, 2001:db8::1]
[edit subscribers alice]
-  secret: "***"
+  secret: "***"
[edit subscribers]
+  bob:
+    user: bob
+    secret: "***"
+    ipv4: 10.0.0.2"#;
        assert_eq!(show(&compare(&from, &to)), expected);
        assert!(compare(&from, &from).is_empty());
    }

    #[test]
    fn changes_of_the_api() {
        let changes = json!([{ "path": "/routes/10.0.0.0~18/port", "op": "replace", "from": "a", "to": "b" },
                             { "path": "/subscribers/alice/secret", "op": "replace", "from": "***", "to": "***" },
                             { "path": "/listeners/x", "op": "remove", "from": { "name": "x" } }]);
        let expected = "[edit routes 10.0.0.0/8]\n-  port: a\n+  port: b\n[edit subscribers alice]\n-  secret: \"***\"\n+  secret: \"***\"\n\
                        [edit listeners]\n-  x:\n-    name: x";
        assert_eq!(show(&from_api(&changes)), expected);
    }
}

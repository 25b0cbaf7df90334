//! Configuration as text: YAML like the gateway's own file, without what is absent, the key of an item first; or as the
//! `set` commands that make it.

use super::path::{HIDDEN, key, name, secret};
use serde_json::Value;

/// Names that come first.
const FIRST: &[&str] = &["name", "user", "to", "address", "range", "id"];

/// Lines of YAML for a value under a name; none where it is absent.
pub fn lines(name: &str, value: &Value) -> Vec<String> {
    match value {
        Value::Null => Vec::new(),
        Value::Object(map) if map.values().all(Value::is_null) => vec![format!("{}: {{}}", plain(name))],
        Value::Object(_) => headed(name, document(value)),
        Value::Array(items) if items.iter().any(Value::is_object) => {
            headed(name, items.iter().flat_map(item_lines).collect())
        }
        _ => vec![format!("{}: {}", plain(name), scalar(name, value))],
    }
}

/// Lines of YAML for a whole document.
pub fn document(value: &Value) -> Vec<String> {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(name, _)| FIRST.iter().position(|f| f == name).unwrap_or(FIRST.len()));
            entries.into_iter().flat_map(|(name, value)| lines(name, value)).collect()
        }
        Value::Array(items) if items.iter().any(Value::is_object) => items.iter().flat_map(item_lines).collect(),
        other => vec![scalar("", other)],
    }
}

/// The commands that set what is at a path.
pub fn commands(path: &[String], value: &Value, out: &mut Vec<String>) {
    let mut below = |step: &str, value: &Value| commands(&[path, &[step.to_owned()]].concat(), value, out);
    match value {
        Value::Null => {}
        Value::Object(map) => map.iter().for_each(|(name, value)| below(name, value)),
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (i, item) in items.iter().enumerate() {
                let key = key(path);
                let mut item = item.clone();
                let step = key.and_then(|k| name(&item, k)).unwrap_or_else(|| i.to_string());
                if let (Some(key), Some(map)) = (key, item.as_object_mut()) {
                    map.remove(key);
                }
                below(&step, &item);
            }
        }
        _ => {
            let last = path.last().map_or("", String::as_str);
            // Text is quoted for the shell, not as YAML.
            let value = match value {
                Value::String(s) => if secret(last) { HIDDEN } else { s }.to_owned(),
                other => scalar(last, other),
            };
            let words: Vec<String> = path.iter().chain([&value]).map(|word| shell(word)).collect();
            out.push(format!("set {}", words.join(" ")));
        }
    }
}

/// A value on one line, secrets hidden.
pub fn scalar(name: &str, value: &Value) -> String {
    match value {
        Value::String(_) if secret(name) => plain(HIDDEN),
        Value::String(s) => plain(s),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(|i| scalar(name, i)).collect::<Vec<_>>().join(", "))
        }
        Value::Object(map) => {
            let entries = map.iter().filter(|(_, v)| !v.is_null());
            let entries: Vec<String> = entries.map(|(n, v)| format!("{}: {}", plain(n), scalar(n, v))).collect();
            if entries.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", entries.join(", ")) }
        }
        other => other.to_string(),
    }
}

fn headed(name: &str, below: Vec<String>) -> Vec<String> {
    std::iter::once(format!("{}:", plain(name))).chain(below.into_iter().map(|l| format!("  {l}"))).collect()
}

fn item_lines(item: &Value) -> Vec<String> {
    let lines = document(item);
    let lines = if lines.is_empty() { vec!["{}".to_owned()] } else { lines };
    lines.into_iter().enumerate().map(|(i, l)| format!("{}{l}", if i == 0 { "- " } else { "  " })).collect()
}

// Text that YAML reads as what it is, or in quotation marks. A JSON string is one of YAML's.
fn plain(text: &str) -> String {
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
    let made_of = text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:@+=% ".contains(c));
    let ends = !text.ends_with([':', ' ']) && !text.contains(": ");
    // Anything that could be a number, or a truth value of some reader.
    let word = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let number = text.replace('_', "").parse::<f64>().is_ok() || ["0x", "0o", "0b"].iter().any(|p| text.starts_with(p));
    if begins && made_of && ends && !number && !word.contains(&text.to_ascii_lowercase().as_str()) {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}

// A word for the shell.
fn shell(word: &str) -> String {
    if !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:@+=%,".contains(c)) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn example() -> Value {
        json!({
            "api": { "listen": "127.0.0.1:8443", "socket": null },
            "filters": [{ "name": "web", "rules": [{ "action": "permit", "ports": "80" }] }],
            "mesh": { "local": ["2001:db8::1", "::"], "dscp": null },
            "pools": { "named": {} },
            "subscribers": [{ "user": "alice", "secret": "wonderland", "ipv4": null }, { "user": "o'hara", "secret": "***" }],
        })
    }

    #[test]
    fn yaml_as_the_file_has_it() {
        let expected = r#"api:
  listen: 127.0.0.1:8443
filters:
  - name: web
    rules:
      - action: permit
        ports: "80"
mesh:
  local: [2001:db8::1, "::"]
pools:
  named: {}
subscribers:
  - user: alice
    secret: "***"
  - user: "o'hara"
    secret: "***""#;
        assert_eq!(document(&example()).join("\n"), expected);
    }

    #[test]
    fn commands_make_it() {
        let mut out = Vec::new();
        commands(&[], &example(), &mut out);
        let expected = r#"set api listen 127.0.0.1:8443
set filters web rules 0 action permit
set filters web rules 0 ports 80
set mesh local '[2001:db8::1, "::"]'
set subscribers alice secret '***'
set subscribers 'o'\''hara' secret '***'"#;
        assert_eq!(out.join("\n"), expected);
    }

    #[test]
    fn what_it_prints_is_read_as_what_it_was() {
        for text in [
            "a",
            "::",
            "1.1.1.1",
            "10",
            "1e3",
            "true",
            "No",
            "a: b",
            "a#b",
            "a b",
            " a",
            "-",
            "[x",
            "é",
            "a\nb",
            "0x1",
            "1_000",
            "12:30:45",
            "2026-11-26",
            "2001:db8::/32",
            "x:",
            "",
            "~",
            "*",
        ] {
            let value = json!({ "k": text, "l": [text, "x"], "m": { text: 1 } });
            let yaml = document(&value).join("\n");
            let read: Value = serde_saphyr::from_str(&yaml).unwrap_or_else(|e| panic!("{e}: {yaml}"));
            assert_eq!(read, value, "{yaml}");
        }
    }
}

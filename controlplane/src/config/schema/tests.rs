use super::reference::{anchor, description, markdown, properties};
use super::schema;
use crate::config::document::tests::examples;
use crate::config::{ConfigError, Document, yaml};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

fn committed() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md")).unwrap_or_default()
}

#[test]
fn reference_is_committed() {
    let text = markdown(&schema());
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md"), text).unwrap();
    } else {
        let same = text == committed();
        assert!(same, "docs/configuration.md is stale: UPDATE_REFERENCE=1 cargo test -p controlplane reference");
    }
}

#[test]
fn links_of_the_reference_lead_somewhere() {
    let text = markdown(&schema());
    let mut headings = BTreeSet::new();
    for heading in text.lines().filter(|line| line.starts_with('#')) {
        assert!(headings.insert(anchor(heading.trim_start_matches('#').trim())), "{heading} stands twice");
    }
    for link in text.split("](#").skip(1).filter_map(|rest| rest.split(')').next()) {
        assert!(headings.contains(link), "{link}");
    }
}

#[test]
fn every_setting_is_described() {
    let schema = schema();
    let types = schema["$defs"].as_object().unwrap();
    for (name, object) in types.iter().map(|(name, object)| (name.as_str(), object)).chain([("", &schema)]) {
        let whole = |what: &str, text: &str| assert!(text.ends_with('.') && text.len() > 3, "{name} {what}: {text:?}");
        whole("", &description(object).0);
        for (key, setting) in properties(object) {
            whole(key, setting["description"].as_str().unwrap_or_default());
        }
        for value in object.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
            whole(&value["const"].to_string(), value["description"].as_str().unwrap_or_default());
        }
    }
}

/// What the examples of the reference say together.
fn together() -> Value {
    let text = markdown(&schema());
    let mut whole = json!({});
    for example in text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
        merge(&mut whole, yaml("example", example).unwrap());
    }
    whole
}

fn merge(whole: &mut Value, part: Value) {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            for (key, value) in part {
                merge(whole.entry(key).or_insert(Value::Null), value);
            }
        }
        (Value::Array(whole), Value::Array(part)) => whole.extend(part),
        (whole, part) => *whole = part,
    }
}

#[test]
fn examples_of_the_reference_are_one_configuration() {
    let document = Document::from_json(&together()).unwrap_or_else(|e| panic!("{e}"));
    document.config(Path::new("test.yaml")).unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn what_is_accepted_fits() {
    let (schema, whole) = (schema(), together());
    let documents = examples();
    assert!(documents.len() >= 20);
    for (file, text) in documents {
        let document = Document::from_yaml("example", &text).unwrap();
        for mut value in [document.masked(), document.complete().unwrap()] {
            // Parts of the documentation are read with no ports.
            if value["ports"] == json!([]) {
                value["ports"] = whole["ports"].clone();
            }
            // Some are wrong on purpose.
            let wrong = misfit(&schema, &schema, &value).filter(|_| document.config(&file).is_ok());
            assert_eq!(wrong, None, "{}:\n{value:#}", file.display());
        }
    }
    assert_eq!(misfit(&schema, &schema, &whole), None);
    for (pointer, value) in [
        ("/ike/dpt", json!("30s")),
        ("/ports/0/zone", json!("grey")),
        ("/ports/0/mtu", json!(1279)),
        ("/bgp/asn", json!("65000")),
        ("/subscribers", json!([{ "secret": "nobody's" }])),
    ] {
        let mut wrong = whole.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        wrong.pointer_mut(parent).unwrap()[key] = value;
        assert!(misfit(&schema, &schema, &wrong).is_some(), "{pointer}");
    }
}

/// Where a value is not what the schema says, by the keywords that are in it.
fn misfit(root: &Value, schema: &Value, value: &Value) -> Option<String> {
    let settings = || value.as_object().into_iter().flatten();
    let at = |key: &str, below: &Value, says| misfit(root, says, below).map(|wrong| format!("{key}: {wrong}"));
    schema.as_object().unwrap().iter().find_map(|(keyword, says)| match keyword.as_str() {
        "properties" => settings().find_map(|(key, below)| at(key, below, says.get(key)?)),
        "additionalProperties" => settings().find_map(|(key, below)| match says {
            _ if schema.get("properties").is_some_and(|all| all.get(key).is_some()) => None,
            Value::Bool(_) => Some(format!("{key} is unknown")),
            says => at(key, below, says),
        }),
        "items" => value.as_array().into_iter().flatten().find_map(|item| misfit(root, says, item)),
        keyword => (!fits(root, keyword, says, value)).then(|| format!("{keyword} {says}")),
    })
}

fn fits(root: &Value, keyword: &str, says: &Value, value: &Value) -> bool {
    let number = |n: &Value| n.as_i64().map(i128::from).or(n.as_u64().map(i128::from));
    let (bound, count) = (number(says).unwrap_or_default(), value.as_array().map(|items| items.len() as i128));
    match keyword {
        "$ref" => misfit(root, target(root, says), value).is_none(),
        "anyOf" | "oneOf" => says.as_array().unwrap().iter().any(|says| misfit(root, says, value).is_none()),
        "const" => value == says,
        "type" => {
            let is = match value {
                Value::Null => "null",
                Value::Bool(_) => "boolean",
                Value::Number(_) => "integer",
                Value::String(_) => "string",
                Value::Array(_) => "array",
                Value::Object(_) => "object",
            };
            says == is || says.as_array().is_some_and(|all| all.contains(&is.into()))
        }
        "required" => says.as_array().unwrap().iter().all(|key| value.get(key.as_str().unwrap()).is_some()),
        "minimum" => number(value).is_none_or(|n| n >= bound),
        "maximum" => number(value).is_none_or(|n| n <= bound),
        "minItems" => count.is_none_or(|count| count >= bound),
        "maxItems" => count.is_none_or(|count| count <= bound),
        "minLength" => value.as_str().is_none_or(|text| text.len() as i128 >= bound),
        "$schema" | "$defs" | "title" | "description" | "default" | "examples" | "format" => true,
        other => panic!("{other} is not looked at"),
    }
}

fn target<'a>(root: &'a Value, to: &Value) -> &'a Value {
    root.pointer(to.as_str().unwrap().trim_start_matches('#')).unwrap()
}

/// The bounds that the schema states are those that are checked.
#[test]
fn bounds_hold() {
    let schema = schema();
    let whole = Document::from_json(&together()).unwrap().complete().unwrap();
    let mut all = Vec::new();
    bounded(&schema, &schema, &whole, "", "", &mut all);
    let seen: BTreeSet<&str> = all.iter().map(|(_, path, _)| path.as_str()).collect();
    assert!(seen.len() >= 45, "{seen:?}");
    for (pointer, path, schema) in &all {
        let complaint = |value: Value| {
            let mut whole = whole.clone();
            *whole.pointer_mut(pointer).unwrap() = value;
            let problems = match Document::from_json(&whole) {
                Ok(document) => document.config(Path::new("test.yaml")).err(),
                Err(wrong) => Some(wrong),
            };
            let Some(ConfigError::Invalid(problems)) = problems else { return None };
            let near = |p: &str| p == path || path.starts_with(&format!("{p}.")) || p.starts_with(&format!("{path}["));
            problems.into_iter().find(|p| near(&p.path)).map(|p| p.to_string())
        };
        let bound = |key: &str| schema.get(key).and_then(Value::as_i64);
        for (inside, outside) in [(bound("minimum"), -1), (bound("maximum"), 1)] {
            let Some(inside) = inside else { continue };
            assert!(complaint((inside + outside).into()).is_some(), "{path}: {} is taken", inside + outside);
            // 0 and the greatest number of a type may mean something else that is wrong there.
            if let Some(wrong) = complaint(inside.into()).filter(|_| inside > 0 && inside < 255) {
                panic!("{path}: {inside} is refused: {wrong}");
            }
        }
        if bound("minLength").is_some() {
            assert!(complaint("".into()).is_some(), "{path} may be empty");
        }
        let item = whole.pointer(pointer).unwrap().get(0).cloned().unwrap_or_default();
        for count in [bound("minItems").map(|n| n - 1), bound("maxItems").map(|n| n + 1)].into_iter().flatten() {
            let items = vec![item.clone(); count as usize];
            assert!(complaint(items.into()).is_some(), "{path}: {count} items are taken");
        }
    }
}

/// Settings with bounds: their pointers, their paths, what the schema says.
fn bounded<'a>(
    root: &'a Value,
    schema: &'a Value,
    value: &Value,
    pointer: &str,
    path: &str,
    all: &mut Vec<(String, String, &'a Value)>,
) {
    let choices = schema.get("anyOf").and_then(Value::as_array);
    let there = choices.map_or(schema, |c| c.iter().find(|c| c["type"] != "null").unwrap());
    let there = there.get("$ref").map_or(there, |to| target(root, to));
    if ["minimum", "maximum", "minLength", "minItems", "maxItems"].iter().any(|key| there.get(key).is_some()) {
        all.push((pointer.to_owned(), path.to_owned(), there));
    }
    for (key, below) in value.as_object().into_iter().flatten() {
        let of = there.get("properties").and_then(|all| all.get(key)).or(there.get("additionalProperties"));
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let key = key.replace('~', "~0").replace('/', "~1");
        bounded(root, of.unwrap(), below, &format!("{pointer}/{key}"), &path, all);
    }
    for (i, item) in value.as_array().into_iter().flatten().enumerate() {
        bounded(root, &there["items"], item, &format!("{pointer}/{i}"), &format!("{path}[{i}]"), all);
    }
}

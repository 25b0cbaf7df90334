//! docs/configuration.md, made of the schema. A section for each object, in the order of the document; what several places
//! have in common stands where the first of them is.

use super::super::keys;
use serde_json::{Map, Value};
use std::collections::HashMap;

const HEAD: &str = "\
# Configuration reference

The settings of `softwired.yaml`, which are those of `/api/v1/config`, in the order of the document; a list's section says what
each of its items has. Bold keys must be there; the others may be left out, and then have the default, or what the text says where
there is none. Keys that are not here are refused. The examples together are one configuration.

How it is changed: [configuration-changes.md](configuration-changes.md). As a JSON Schema, for editors and other programs:
`GET /api/v1/config/schema`. This file is made from the types: `UPDATE_REFERENCE=1 cargo test -p controlplane reference`.
";

/// The reference.
pub(super) fn markdown(schema: &Value) -> String {
    let mut all = Reference { schema, sections: Vec::new(), values: Vec::new() };
    all.find("", "", schema);
    let anchors: HashMap<&str, String> = all.sections.iter().map(|s| (s.name, anchor(&s.path))).collect();
    let mut out = HEAD.to_owned();
    for section in &all.sections {
        let (level, title) = match section.path.as_str() {
            "" => ("##", "The document".to_owned()),
            path => (if path.contains('.') { "###" } else { "##" }, format!("`{path}`")),
        };
        out.push_str(&format!("\n{level} {title}\n"));
        let (text, example) = description(section.object);
        if !section.path.is_empty() {
            out.push_str(&format!("\n{text}{}\n", named(&section.pattern)));
        }
        out.push_str("\n| key | type | default | meaning |\n|---|---|---|---|\n");
        let required = section.object.get("required").and_then(Value::as_array);
        for (key, setting) in properties(section.object) {
            let key = match required.is_some_and(|all| all.contains(&key.as_str().into())) {
                true => format!("**`{key}`**"),
                false => format!("`{key}`"),
            };
            let (kind, default) = (all.kind(setting, &anchors), default(setting));
            out.push_str(&format!("| {key} | {kind} | {default} | {} |\n", cell(&all.meaning(setting))));
        }
        out.extend(example.map(|yaml| format!("\n```yaml\n{yaml}\n```\n")));
    }
    out.push_str("\n## Values\n\nHow values are written that are more than a text or a number.\n");
    for value in &all.values {
        out.push_str(&format!("\n### {}\n\n{}", value["title"].as_str().unwrap(), description(value).0));
        let examples = value.get("examples").and_then(Value::as_array).into_iter().flatten();
        let examples: Vec<String> = examples.map(|e| format!("`{}`", plain(e))).collect();
        out.push_str(&if examples.is_empty() { "\n".to_owned() } else { format!("\n\n{}\n", examples.join(", ")) });
    }
    out
}

struct Section<'a> {
    /// As messages write it, without the numbers of items: `ike.peers`.
    path: String,
    /// As [`keys::key`] has it.
    pattern: String,
    /// Of the type.
    name: &'a str,
    object: &'a Value,
}

struct Reference<'a> {
    schema: &'a Value,
    sections: Vec<Section<'a>>,
    values: Vec<&'a Value>,
}

impl<'a> Reference<'a> {
    fn find(&mut self, path: &str, pattern: &str, schema: &'a Value) {
        let (name, schema) = self.resolve(schema);
        let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        if schema.get("properties").is_some() {
            if self.sections.iter().any(|section| section.name == name) {
                return;
            }
            self.sections.push(Section { path: path.to_owned(), pattern: pattern.to_owned(), name, object: schema });
            for (key, setting) in properties(schema) {
                self.find(&below(key), &keys::below(pattern, key), setting);
            }
        } else if let Some(items) = schema.get("items").or(of_map(schema)) {
            self.find(path, &keys::below(pattern, "*"), items);
        } else if !name.is_empty() && values(schema).is_none() && !self.values.contains(&schema) {
            self.values.push(schema);
        }
    }

    /// A type's name and what it is, without `null`.
    fn resolve(&self, schema: &'a Value) -> (&'a str, &'a Value) {
        let choices = schema.get("anyOf").and_then(Value::as_array);
        let there = choices.and_then(|c| c.iter().find(|c| c.get("$ref").is_some())).unwrap_or(schema);
        match there.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix("#/$defs/")) {
            Some(name) => (name, &self.schema["$defs"][name]),
            None => ("", schema),
        }
    }

    fn kind(&self, schema: &'a Value, anchors: &HashMap<&str, String>) -> String {
        let (name, found) = self.resolve(schema);
        if let Some(anchor) = anchors.get(name).filter(|_| found.get("properties").is_some()) {
            let section = self.sections.iter().find(|s| s.name == name).unwrap();
            return format!("[{}](#{anchor})", section.path);
        }
        if let Some(values) = values(found) {
            return values.iter().map(|(value, _)| format!("`{value}`")).collect::<Vec<_>>().join(", ");
        }
        if let Some(items) = found.get("items") {
            return format!("list of {}", self.kind(items, anchors));
        }
        if let Some(items) = of_map(found) {
            return format!("by name: {}", self.kind(items, anchors));
        }
        if !name.is_empty() {
            let title = found["title"].as_str().unwrap_or_else(|| panic!("{name} has no title"));
            return format!("[{title}](#{})", anchor(title));
        }
        let format = found.get("format").and_then(Value::as_str).unwrap_or_default();
        match (found["type"].as_str().or_else(|| found["type"][0].as_str()).unwrap(), format) {
            ("string", "ip") => "IP address".to_owned(),
            ("string", "ipv4") => "IPv4 address".to_owned(),
            ("string", "ipv6") => "IPv6 address".to_owned(),
            ("string", _) => "text".to_owned(),
            ("boolean", _) => "`true`, `false`".to_owned(),
            ("integer", _) => match (found["minimum"].as_u64(), found["maximum"].as_u64()) {
                (Some(least), Some(most)) => format!("number, {least} to {most}"),
                (None | Some(0), None) => "number".to_owned(),
                (Some(least), None) => format!("number from {least}"),
                (None, Some(most)) => format!("number up to {most}"),
            },
            (other, _) => panic!("{other} has no name in the reference"),
        }
    }

    fn meaning(&self, schema: &'a Value) -> String {
        let own = schema.get("description").map(|_| description(schema).0);
        let mut out = own.unwrap_or_else(|| description(self.resolve(schema).1).0);
        let (_, found) = self.resolve(schema);
        let found = found.get("items").map_or(found, |items| self.resolve(items).1);
        for (value, text) in values(found).into_iter().flatten() {
            out.push_str(&format!("<br>`{value}`: {text}"));
        }
        out
    }
}

pub(super) fn properties(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    object.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

/// What the values of a map are.
fn of_map(schema: &Value) -> Option<&Value> {
    schema.get("additionalProperties").filter(|below| below.is_object())
}

/// The words that a type consists of, and what they mean.
fn values(schema: &Value) -> Option<Vec<(&str, &str)>> {
    let all = schema.get("oneOf")?.as_array()?.iter();
    all.map(|one| Some((one.get("const")?.as_str()?, one.get("description")?.as_str()?))).collect()
}

/// The text, and the YAML below it.
pub(super) fn description(schema: &Value) -> (String, Option<String>) {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    match text.split_once("```yaml\n") {
        Some((text, yaml)) => {
            (text.trim().to_owned(), Some(yaml.trim_end().trim_end_matches("```").trim_end().to_owned()))
        }
        None => (text.to_owned(), None),
    }
}

/// What is needed to name an item of a list in a path.
fn named(pattern: &str) -> String {
    let list = pattern.strip_suffix("/*");
    let key = list.and_then(keys::key);
    key.map_or_else(String::new, |key| format!(" In paths an item is known by its `{key}`."))
}

fn default(setting: &Value) -> String {
    match setting.get("default") {
        // Those of a section stand in its own table.
        None | Some(Value::Null | Value::Object(_)) => String::new(),
        Some(value) => format!("`{}`", plain(value)),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

fn cell(text: &str) -> String {
    text.replace("\n\n", "<br>").replace('\n', " ").replace('|', "\\|")
}

/// What a heading is linked by.
pub(super) fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | ' '));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

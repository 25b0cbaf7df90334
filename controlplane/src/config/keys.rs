//! What names the items of the configuration's lists, so that a path and a change say `subscribers/alice` and not
//! `subscribers/17`, which is somebody else when a line above is gone.

use serde_json::Value;

/// A list, by the settings that lead to it (`*` for the items of lists on the way), and the setting that names its items.
/// Lists that are not here have no names in them: policies' rules, lists of prefixes.
pub const KEYS: &[(&str, &str)] = &[
    ("aaa/dynamic/clients", "address"),
    ("aaa/servers", "name"),
    ("api/clients", "name"),
    ("bfd/profiles", "name"),
    ("bfd/profiles/*/keys", "id"),
    ("bgp/dynamic_neighbours", "range"),
    ("bgp/key_chains", "name"),
    ("bgp/key_chains/*/keys", "id"),
    ("bgp/neighbours", "address"),
    ("bgp/rtr", "name"),
    ("filters", "name"),
    ("ike/peers", "name"),
    ("listeners", "name"),
    ("mesh/afbrs", "name"),
    ("mesh/profiles", "name"),
    ("ports", "name"),
    ("routes", "to"),
    ("subscribers", "user"),
];

/// The setting that names the items of the list at `pattern`: `name` for `ike/peers`.
pub fn key(pattern: &str) -> Option<&'static str> {
    KEYS.iter().find(|(list, _)| *list == pattern).map(|&(_, key)| key)
}

/// The name that an item of a list has by its `key`.
pub fn name_of(item: &Value, key: &str) -> Option<String> {
    match item.get(key)? {
        Value::String(name) => Some(name.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The names of a list's items, if all have one and no two the same.
pub(super) fn names(items: &[Value], key: &str) -> Option<Vec<String>> {
    let names: Vec<String> = items.iter().map(|item| name_of(item, key)).collect::<Option<_>>()?;
    let distinct: std::collections::HashSet<&String> = names.iter().collect();
    (distinct.len() == names.len()).then_some(names)
}

/// `pattern` one setting further down.
pub(super) fn below(pattern: &str, setting: &str) -> String {
    if pattern.is_empty() { setting.to_owned() } else { format!("{pattern}/{setting}") }
}

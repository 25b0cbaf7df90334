//! Softwires to other AFBRs, their profiles, and BFD.

use super::{columns, member};
use crate::output::{number, octets, span, text};
use serde_json::Value;

pub fn softwires(rows: &[Value]) -> String {
    columns(
        &[
            (">ID", &member("id")),
            ("AFBR", &member("name")),
            ("Local", &member("local")),
            ("Remote", &member("remote")),
            ("State", &member("state")),
            ("BFD", &member("bfd")),
            ("Profile", &member("profile")),
            ("ESP", &|s| if s["peer"].is_null() { "none".to_owned() } else { text(&s["esp"]) }),
            (">MTU", &member("mtu")),
            (">In", &|s| octets(number(&s["in_octets"]))),
            (">Out", &|s| octets(number(&s["out_octets"]))),
            ("Prefixes", &prefixes),
        ],
        rows,
    )
}

// A table may lead there: the first few.
fn prefixes(s: &Value) -> String {
    const SHOWN: usize = 3;
    let all = s["prefixes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let first = text(&Value::Array(all.iter().take(SHOWN).cloned().collect()));
    if all.len() > SHOWN { format!("{first}, ...") } else { first }
}

pub fn profiles(rows: &[Value]) -> String {
    let names = |p: &Value| {
        let peers = p["peers"].as_array().map(Vec::as_slice).unwrap_or_default();
        text(&Value::Array(peers.iter().map(|peer| peer["name"].clone()).collect()))
    };
    columns(
        &[
            ("Profile", &member("name")),
            ("Mode", &member("mode")),
            ("ESP proposals", &member("esp_proposals")),
            ("Identity", &member("identity")),
            ("Start", &member("start")),
            (">Rekey", &|p| span(number(&p["rekey"]))),
            (">Window", &member("replay_window")),
            ("TFC", &member("tfc")),
            ("Per worker", &member("per_worker")),
            ("Peers", &names),
        ],
        rows,
    )
}

pub fn bfd(rows: &[Value]) -> String {
    let milliseconds = |s: &Value, name: &str| s[name].as_u64().map_or("-".to_owned(), |ms| format!("{ms} ms"));
    let users = |s: &Value| {
        let used = [("neighbour", "bgp"), ("softwire", "softwire")].into_iter().filter(|(name, _)| s[*name] == true);
        used.map(|(_, by)| by).collect::<Vec<_>>().join(", ")
    };
    columns(
        &[
            ("Local", &member("local")),
            ("Peer", &member("remote")),
            ("Path", &|s| if s["multihop"] == true { "multihop" } else { "single" }.to_owned()),
            ("State", &|s| format!("{}{}", text(&s["state"]), if s["failed"] == true { " (failed)" } else { "" })),
            ("Diagnostic", &member("diagnostic")),
            (">Since", &|s| span(number(&s["seconds"]))),
            (">Transmit", &|s| milliseconds(s, "transmit_interval_ms")),
            (">Detect", &|s| milliseconds(s, "detection_time_ms")),
            (">Downs", &member("downs")),
            ("Auth", &member("authenticated")),
            ("Used by", &users),
        ],
        rows,
    )
}

//! The gateway itself: status, counters, RADIUS, the SPD, drain, tokens.

use super::{columns, member};
use crate::client::rows;
use crate::output::{block, number, span, table, text};
use serde_json::Value;
use std::collections::BTreeSet;

/// With more workers than this, only totals fit.
const WORKERS: usize = 8;

pub fn status(s: &Value) -> String {
    let totals = block(&[
        ("Version", text(&s["version"])),
        ("Up", span(number(&s["seconds"]))),
        ("Workers", text(&s["workers"])),
        ("Sessions", format!("{} open of {}", s["open_sessions"], s["sessions"])),
        ("IKE SAs", text(&s["ike_sas"])),
        ("Child SAs", text(&s["child_sas"])),
    ]);
    let ikev1 = |l: &Value| match &l["ikev1"] {
        Value::Null => "no".to_owned(),
        v1 => {
            let weak = rows(&v1["weak"]).iter().map(text).collect::<Vec<_>>().join(", ");
            let shared = if v1["shared_secret"] == true { "shared secret" } else { "" };
            let said: Vec<&str> = [weak.as_str(), shared].into_iter().filter(|t| !t.is_empty()).collect();
            if said.is_empty() { "yes".to_owned() } else { format!("yes ({})", said.join("; ")) }
        }
    };
    let listeners = columns(
        &[
            ("Listener", &member("name")),
            ("Address", &member("address")),
            ("Protection", &member("protection")),
            ("Anonymous", &member("anonymous")),
            ("IKEv1", &ikev1),
        ],
        rows(&s["listeners"]),
    );
    format!("{totals}\n\n{listeners}")
}

pub fn ports(ports: &[Value]) -> String {
    let link = |p: &Value| match (p["up"] == true, p["speed"].as_u64()) {
        (false, _) => "down".to_owned(),
        (true, None) => "up".to_owned(),
        (true, Some(mbit)) if mbit % 1000 == 0 => format!("up {}G", mbit / 1000),
        (true, Some(mbit)) => format!("up {mbit}M"),
    };
    let addresses = |p: &Value| rows(&p["addresses"]).iter().map(text).collect::<Vec<_>>().join(", ");
    // Lost before a worker saw it, or broken.
    let errors = |p: &Value| ["rx_errors", "rx_no_buffer", "tx_errors"].map(|k| number(&p[k])).iter().sum::<u64>();
    columns(
        &[
            ("Port", &member("name")),
            ("Link", &link),
            ("Zone", &member("zone")),
            (">MTU", &member("mtu")),
            ("MAC", &member("mac")),
            (">Received", &member("rx_packets")),
            (">Sent", &member("tx_packets")),
            (">Missed", &member("rx_missed")),
            (">Errors", &|p| errors(p).to_string()),
            ("Addresses", &addresses),
        ],
        ports,
    )
}

pub fn counters(c: &Value, all: bool) -> String {
    let workers = rows(&c["workers"]);
    let names: BTreeSet<&String> = workers.iter().filter_map(Value::as_object).flat_map(|w| w.keys()).collect();
    let mut sections = Vec::new();
    for (title, prefix) in [("Packets", ""), ("Punted to the control plane", "punt."), ("Dropped", "drop.")] {
        let of = names.iter().filter(|n| if prefix.is_empty() { !n.contains('.') } else { n.starts_with(prefix) });
        let lines: Vec<Vec<String>> = of.filter_map(|name| worker_line(workers, name, prefix, all)).collect();
        if lines.is_empty() {
            continue;
        }
        let each = (0..workers.len()).map(|w| format!(">Worker {w}"));
        let headings: Vec<String> =
            [title.to_owned(), ">Total".to_owned()].into_iter().chain(each.take(shown(workers))).collect();
        sections.push(table(&headings.iter().map(String::as_str).collect::<Vec<_>>(), &lines));
    }
    for (title, part) in [("Control plane", &c["control"]), ("Forwarding tables", &c["fib"])] {
        let values = part.as_object().into_iter().flatten().filter(|(_, v)| all || number(v) > 0);
        let lines: Vec<Vec<String>> = values.map(|(name, v)| vec![name.clone(), text(v)]).collect();
        if !lines.is_empty() {
            sections.push(table(&[title, ">Total"], &lines));
        }
    }
    sections.join("\n\n")
}

// With one worker its column would be the total again.
fn shown(workers: &[Value]) -> usize {
    if (2..=WORKERS).contains(&workers.len()) { workers.len() } else { 0 }
}

fn worker_line(workers: &[Value], name: &str, prefix: &str, all: bool) -> Option<Vec<String>> {
    let values: Vec<u64> = workers.iter().map(|w| number(&w[name])).collect();
    let total: u64 = values.iter().sum();
    let each = values.iter().take(shown(workers)).map(u64::to_string);
    let line = [name.strip_prefix(prefix).unwrap_or(name).to_owned(), total.to_string()].into_iter().chain(each);
    (all || total > 0).then(|| line.collect())
}

pub fn radius(r: &Value) -> String {
    let counter = |name: &'static str| move |s: &Value| text(&s["counters"][name]);
    let servers = columns(
        &[
            ("Server", &member("name")),
            ("Purpose", &member("purpose")),
            ("Address", &member("address")),
            ("Transport", &member("transport")),
            (">Priority", &member("priority")),
            ("State", &|s| if s["alive"] == true { "alive" } else { "dead" }.to_owned()),
            (">In flight", &member("in_flight")),
            (">Requests", &counter("requests")),
            (">Replies", &counter("replies")),
            (">Timeouts", &counter("timeouts")),
        ],
        rows(&r["servers"]),
    );
    let mut lines = vec![
        ("Subscribers waiting", text(&r["waiting"])),
        ("Accounting pending", text(&r["records_pending"])),
        ("Accounting taken", text(&r["records_taken"])),
    ];
    let dropped: u64 = r["dynamic_discards"].as_object().into_iter().flatten().map(|(_, n)| number(n)).sum();
    lines.push(("CoA/Disconnect dropped", dropped.to_string()));
    format!("{servers}\n\n{}", block(&lines))
}

pub fn spd(rows: &[Value]) -> String {
    columns(
        &[
            ("Rule", &member("name")),
            ("Local", &member("local")),
            ("Remote", &member("remote")),
            ("Next layer", &member("protocol")),
            ("Action", &member("action")),
        ],
        rows,
    )
}

pub fn drain(d: &Value) -> String {
    block(&[
        ("State", text(&d["state"])),
        ("Mode", text(&d["mode"])),
        ("Sessions left", text(&d["sessions_left"])),
        ("Peers left", text(&d["peers_left"])),
        ("Turned away", text(&d["refused"])),
    ])
}

pub fn tokens(rows: &[Value]) -> String {
    columns(
        &[
            ("ID", &member("id")),
            ("Name", &member("name")),
            ("Role", &member("role")),
            ("Created", &member("created")),
            ("Expires", &|t| t["expires"].as_str().map_or("never".to_owned(), str::to_owned)),
        ],
        rows,
    )
}

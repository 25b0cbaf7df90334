//! Subscribers, and the SAs, tunnels and sessions that carry them.

use super::{columns, member};
use crate::output::{block, number, octets, span, text};
use serde_json::Value;

pub fn subscribers(rows: &[Value]) -> String {
    columns(
        &[
            ("ID", &member("id")),
            ("User", &user),
            ("Listener", &member("listener")),
            ("IPv4", &member("ipv4")),
            ("IPv6", &member("ipv6_prefix")),
            ("Delegated", &member("delegated")),
            ("Outer", &member("outer")),
            ("State", &member("state")),
            (">Up", &up),
            (">In", &|s| octets(traffic(s, "in", "octets"))),
            (">Out", &|s| octets(traffic(s, "out", "octets"))),
        ],
        rows,
    )
}

fn user(s: &Value) -> String {
    let id = &s["ike_id"];
    if s["user"].is_null() && !id.is_null() { format!("({})", text(id)) } else { text(&s["user"]) }
}

fn up(s: &Value) -> String {
    span(number(&s["seconds"]))
}

fn traffic(s: &Value, way: &str, what: &str) -> u64 {
    ["v4", "v6"].map(|family| number(&s["counters"][format!("{way}_{family}_{what}")])).iter().sum()
}

pub fn subscriber(s: &Value) -> String {
    let rate = |name: &str| {
        s[name].as_u64().map_or(String::new(), |kbit| crate::output::scaled(kbit as f64 * 1000.0, "bit/s"))
    };
    let passed = |way: &str| {
        let families = ["v4", "v6"].map(|family| {
            let of = |what: &str| number(&s["counters"][format!("{way}_{family}_{what}")]);
            format!("{} packets, {} IP{family}", of("packets"), octets(of("octets")))
        });
        families.join("; ")
    };
    block(&[
        ("ID", text(&s["id"])),
        ("User", text(&s["user"])),
        ("State", format!("{}, up {}", text(&s["state"]), up(s))),
        ("Listener", text(&s["listener"])),
        ("Outer address", text(&s["outer"])),
        ("IKE identity", text(&s["ike_id"])),
        ("Authenticated by", if s["radius"] == true { "RADIUS" } else { "embedded file" }.to_owned()),
        (
            "L2TP",
            format!(
                "tunnel {} session {}, of the peer {} and {}",
                s["tunnel"], s["session"], s["peer_tunnel"], s["peer_session"]
            ),
        ),
        ("IPv4", text(&s["ipv4"])),
        ("IPv6 prefix", text(&s["ipv6_prefix"])),
        ("Delegated", text(&s["delegated"])),
        ("IPv6 address", text(&s["ipv6_address"])),
        ("Routes", text(&s["routes"])),
        ("MTU", text(&s["mtu"])),
        ("Filter", text(&s["filter"])),
        ("Rate up", rate("rate_up")),
        ("Rate down", rate("rate_down")),
        ("Time left", s["seconds_left"].as_u64().map_or(String::new(), span)),
        ("Accounting", text(&s["acct_session_id"])),
        ("In", passed("in")),
        ("Out", passed("out")),
    ])
}

pub fn sessions(rows: &[Value]) -> String {
    columns(
        &[
            (">Tunnel", &member("tunnel")),
            (">Session", &member("session")),
            (">Peer's", &member("peer_session")),
            ("User", &member("user")),
            (">MTU", &member("mtu")),
            ("State", &member("state")),
        ],
        rows,
    )
}

pub fn tunnels(rows: &[Value]) -> String {
    columns(
        &[
            (">Tunnel", &member("tunnel")),
            (">Peer's", &member("peer_tunnel")),
            ("Outer", &member("outer")),
            ("IKE identity", &member("ike_id")),
        ],
        rows,
    )
}

pub fn ike(rows: &[Value]) -> String {
    columns(
        &[
            (">Peer", &member("peer")),
            ("PAD entry", &member("pad")),
            ("Identity", &member("remote_id")),
            ("Local", &member("local")),
            ("Remote", &member("remote")),
            ("State", &member("state")),
            ("Ver", &|s| format!("v{}", s["version"])),
            ("NAT", &member("natt")),
            ("Algorithms", &algorithms),
            (">Up", &up),
        ],
        rows,
    )
}

pub fn child(rows: &[Value]) -> String {
    columns(
        &[
            ("SPI in", &member("spi_in")),
            ("SPI out", &member("spi_out")),
            (">Peer", &member("peer")),
            ("Mode", &member("mode")),
            ("Algorithms", &|s| format!("{}{}", algorithms(s), if s["esn"] == true { " ESN" } else { "" })),
            ("Local", &member("local_ts")),
            ("Remote", &member("remote_ts")),
            ("Worker", &|s| format!("{}{}", text(&s["worker"]), if s["bound"] == true { " alone" } else { "" })),
            (">Packets in", &member("in_packets")),
            (">Packets out", &member("out_packets")),
            (">Bad", &|s| (number(&s["replayed"]) + number(&s["integrity_failures"])).to_string()),
            (">Up", &up),
        ],
        rows,
    )
}

// Those that only old clients have are marked.
fn algorithms(s: &Value) -> String {
    let weak = s["weak"].as_array().is_some_and(|w| !w.is_empty());
    format!("{}{}", text(&s["algorithms"]), if weak { " (weak)" } else { "" })
}

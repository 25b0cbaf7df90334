//! BGP, as `show bgp` of FRR has it.

use super::{columns, member, print};
use crate::cli::{RouteFilter, ShowBgp};
use crate::client::{Client, escape, pages, rows};
use crate::error::Error;
use crate::output::{block, span, table, text};
use serde_json::Value;

pub fn show(client: &Client, what: Option<&ShowBgp>, as_json: bool) -> Result<(), Error> {
    match what {
        None | Some(ShowBgp::Summary) => print(&client.get("/bgp/neighbours")?, as_json, |a| summary(rows(a))),
        Some(ShowBgp::Neighbours { address: None }) => print(&client.get("/bgp/neighbours")?, as_json, |a| {
            rows(a).iter().map(neighbour).collect::<Vec<_>>().join("\n\n")
        }),
        Some(ShowBgp::Neighbours { address: Some(address) }) => {
            print(&client.get(&format!("/bgp/neighbours/{}", escape(&address.to_string())))?, as_json, neighbour)
        }
        Some(ShowBgp::Routes(filter)) => routes(client, filter, as_json),
    }
}

fn summary(neighbours: &[Value]) -> String {
    let Some(first) = neighbours.first() else { return "there are no BGP neighbours".to_owned() };
    let mut text_ =
        format!("BGP router identifier {}, local AS number {}\n", text(&first["local_router_id"]), first["local_asn"]);
    for (family, title) in [("ipv4", "IPv4"), ("ipv6", "IPv6")] {
        let of = |n: &Value| rows(&n["families"]).iter().find(|f| f["family"] == family).cloned();
        let lines: Vec<Vec<String>> = neighbours.iter().filter_map(|n| Some(summary_line(n, &of(n)?))).collect();
        if !lines.is_empty() {
            let headings =
                ["Neighbor", "V", ">AS", ">MsgRcvd", ">MsgSent", ">Up/Down", ">State/PfxRcd", ">PfxSnt", "Desc"];
            text_ += &format!("\n{title} Unicast Summary:\n{}\n", table(&headings, &lines));
        }
    }
    text_ + &format!("\nTotal number of neighbors {}", neighbours.len())
}

fn summary_line(n: &Value, family: &Value) -> Vec<String> {
    let up = n["state"] == "Established";
    let (state, sent) = match (up, family["negotiated"] == true) {
        (true, true) => (text(&family["received"]), text(&family["advertised"])),
        (true, false) => ("NoNeg".to_owned(), "NoNeg".to_owned()),
        (false, _) => (state(n), "0".to_owned()),
    };
    let since = if up { &n["seconds"] } else { &n["last_down_seconds"] };
    vec![
        text(&n["address"]),
        "4".to_owned(),
        text(&n["asn"]),
        text(&n["messages_in"]),
        text(&n["messages_out"]),
        since.as_u64().map_or("never".to_owned(), span),
        state,
        sent,
        text(&n["description"]),
    ]
}

fn state(n: &Value) -> String {
    let why = match n["stopped"].as_str() {
        Some("disabled") => " (Admin)",
        Some("max_prefix") => " (PfxCt)",
        _ => "",
    };
    format!("{}{why}", text(&n["state"]))
}

fn neighbour(n: &Value) -> String {
    let internal = n["asn"] == n["local_asn"];
    let head = format!(
        "BGP neighbor is {}, remote AS {}, local AS {}, {} link",
        text(&n["address"]),
        n["asn"],
        n["local_asn"],
        if internal { "internal" } else { "external" }
    );
    let agreed = &n["negotiated"];
    let capable = [
        ("extended_next_hop", "extended next hop"),
        ("extended_messages", "extended messages"),
        ("four_octet_as", "four-octet AS"),
        ("route_refresh", "route refresh"),
        ("enhanced_route_refresh", "enhanced route refresh"),
    ];
    let capabilities: Vec<&str> = capable.iter().filter(|(name, _)| agreed[*name] == true).map(|(_, t)| *t).collect();
    let protection = &n["protection"];
    let key = protection["key_id"]
        .as_u64()
        .map_or(String::new(), |id| format!(", key {id} of {}", text(&protection["key_chain"])));
    let hops = protection["ttl_security"]
        .as_u64()
        .map_or(String::new(), |hops| format!(", at most {hops} hop{} away", if hops == 1 { "" } else { "s" }));
    let lines = block(&[
        ("  Description", text(&n["description"])),
        ("  State", n["seconds"].as_u64().map_or(state(n), |s| format!("{}, up for {}", state(n), span(s)))),
        ("  Router ID", format!("{}, ours {}", text(&n["router_id"]), text(&n["local_router_id"]))),
        ("  Local address", text(&n["local"])),
        (
            "  Hold time",
            agreed["hold_time"]
                .as_u64()
                .map_or(String::new(), |h| format!("{h} s, keepalive {} s", agreed["keepalive"])),
        ),
        ("  Capabilities", capabilities.join(", ")),
        ("  Role", text(&agreed["role"])),
        (
            "  Graceful restart",
            agreed["graceful_restart"]["restart_time"].as_u64().map_or(String::new(), |s| format!("{s} s")),
        ),
        ("  Reflector client", if n["client"] == true { "yes".to_owned() } else { String::new() }),
        ("  Import", text(&n["import"])),
        ("  Export", text(&n["export"])),
        ("  Protection", format!("{}{key}{hops}", text(&protection["method"]))),
        ("  Warnings", text(&protection["warnings"])),
        ("  No session", text(&protection["refused"])),
        ("  Established", format!("{} times, lost {}", n["established"], n["flaps"])),
        (
            "  Last down",
            match n["last_down_seconds"].as_u64() {
                Some(ago) => format!("{} ago, {}", span(ago), text(&n["last_down"])),
                None => text(&n["last_down"]),
            },
        ),
    ]);
    let messages: Vec<Vec<String>> = ["open", "update", "notification", "keepalive", "route_refresh"]
        .map(|kind| vec![format!("  {kind}"), text(&n["received"][kind]), text(&n["sent"][kind])])
        .into();
    let families: Vec<Vec<String>> = rows(&n["families"])
        .iter()
        .map(|f| {
            vec![
                format!("  {}", text(&f["family"])),
                text(&f["negotiated"]),
                text(&f["received"]),
                text(&f["accepted"]),
                text(&f["advertised"]),
                text(&f["max_prefix"]),
                text(&f["stale"]),
            ]
        })
        .collect();
    let families =
        table(&["  Family", "Negotiated", ">Received", ">Accepted", ">Advertised", ">Limit", "Stale"], &families);
    format!("{head}\n{lines}\n\n{}\n\n{families}", table(&["  Messages", ">Received", ">Sent"], &messages))
}

fn routes(client: &Client, filter: &RouteFilter, as_json: bool) -> Result<(), Error> {
    let (path, kind) = match (filter.received, filter.advertised) {
        (Some(from), _) => (format!("/bgp/neighbours/{}/routes/in", escape(&from.to_string())), Kind::Received),
        (_, Some(to)) => (format!("/bgp/neighbours/{}/routes/out", escape(&to.to_string())), Kind::Sent),
        _ => ("/bgp/routes".to_owned(), Kind::Rib),
    };
    let answer = pages(client, &path, &filter.parameters(), filter.page.limit)?;
    print(&answer, as_json, |a| table_of(rows(a), kind, !a["next"].is_null()))
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Rib,
    Received,
    Sent,
}

fn table_of(routes: &[Value], kind: Kind, more: bool) -> String {
    let mut lines = Vec::new();
    for route in routes {
        // A row of a neighbour's table is its own path.
        let paths = if kind == Kind::Rib { rows(&route["paths"]) } else { std::slice::from_ref(route) };
        for (i, path) in paths.iter().enumerate() {
            let network = if i == 0 { text(&route["prefix"]) } else { String::new() };
            lines.push(route_line(network, route, path, i == 0, kind));
        }
    }
    let last = match kind {
        Kind::Rib => "Softwire to",
        Kind::Received => "Verdict",
        Kind::Sent => "",
    };
    let table = table(&["   ", "Network", "Next Hop", ">Metric", ">LocPrf", "Path", last], &lines);
    format!(
        "Status codes:  > best, = multipath, S stale; RPKI: V valid, I invalid, N not found\n\
         Origin codes:  i - IGP, e - EGP, ? - incomplete\n\n{table}\n\n{} prefix{}{}",
        routes.len(),
        if routes.len() == 1 { "" } else { "es" },
        if more { "; --limit shows more" } else { "" }
    )
}

fn route_line(network: String, route: &Value, path: &Value, first: bool, kind: Kind) -> Vec<String> {
    let rov = match path["rov"].as_str() {
        Some("valid") => 'V',
        Some("invalid") => 'I',
        Some(_) => 'N',
        None => ' ',
    };
    let best = match (path["best"] == true, first) {
        (true, true) => '>',
        (true, false) => '=',
        _ => ' ',
    };
    let stale = if path["stale"] == true { 'S' } else { ' ' };
    let origin = match path["origin"].as_str() {
        Some("igp") => "i",
        Some("egp") => "e",
        _ => "?",
    };
    let as_path = path["as_path"].as_str().unwrap_or_default();
    let last = match kind {
        // Where the best one leads.
        Kind::Rib if first => text(&route["egresses"]),
        Kind::Received => text(&path["verdict"]),
        _ => String::new(),
    };
    vec![
        format!("{rov}{stale}{best}"),
        network,
        text(&path["next_hop"]),
        text(&path["med"]),
        text(&path["local_pref"]),
        format!("{as_path} {origin}").trim_start().to_owned(),
        last,
    ]
}

pub fn rtr(caches: &[Value]) -> String {
    columns(
        &[
            ("Cache", &member("name")),
            ("Address", &member("address")),
            ("TLS", &member("tls")),
            (">Pref", &member("preference")),
            ("State", &|c| format!("{}{}", text(&c["state"]), if c["used"] == true { " (used)" } else { "" })),
            (">Serial", &member("serial")),
            (">IPv4 VRPs", &member("ipv4")),
            (">IPv6 VRPs", &member("ipv6")),
            (">Age", &|c| c["seconds"].as_u64().map_or("never".to_owned(), span)),
            ("Last error", &member("last_error")),
        ],
        caches,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stopped_neighbours_say_why() {
        let n = |stopped: Option<&str>| serde_json::json!({ "state": "Idle", "stopped": stopped });
        let shown = [None, Some("disabled"), Some("max_prefix")].map(|s| state(&n(s)));
        assert_eq!(shown, ["Idle", "Idle (Admin)", "Idle (PfxCt)"]);
    }
}

//! `trace`: packets as they pass the nodes of the data plane, printed while they come in.
//!
//! ```text
//! packet 1  10:00:00.000123  worker 0  port access  forwarded
//!   rx        length=142
//!   esp-in    spi=c0000001 peer=7
//!   forward   port=core
//! ```

use crate::cli;
use crate::client::{Client, escape};
use crate::error::Error;
use crate::file;
use crate::output::{json, number, say, text};
use serde_json::{Map, Value, json as object};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Between looks at what has come in.
const INTERVAL: Duration = Duration::from_millis(300);

/// Runs a trace to its end, or until it is interrupted. None is left behind in the gateway.
pub fn trace(client: &Client, what: &cli::Trace, as_json: bool) -> Result<(), Error> {
    let mut interrupt = client.run(async { signal(SignalKind::interrupt()) })?;
    let made = client.post("/traces", Some(&request(what)))?;
    let id = made["id"].as_str().map_or_else(|| made["id"].to_string(), str::to_owned);
    let path = format!("/traces/{}", escape(&id));
    let result = follow(client, &path, &mut interrupt, as_json).and_then(|()| save(client, &path, what));
    // The error that came first is the one that counts.
    let deleted = client.delete(&path);
    result.and(deleted)
}

fn request(what: &cli::Trace) -> Value {
    let filter = [
        ("source", what.source.map(|n| n.to_string().into())),
        ("destination", what.destination.map(|n| n.to_string().into())),
        ("protocol", what.protocol.clone().map(Value::from)),
        ("port", what.port.map(Value::from)),
        ("session", what.session.clone().map(Value::from)),
        ("port_name", what.interface.clone().map(Value::from)),
        ("dropped", what.dropped.then_some(true.into())),
    ];
    let filter: Map<_, _> = filter.into_iter().filter_map(|(name, v)| Some((name.to_owned(), v?))).collect();
    object!({ "filter": filter, "sample": what.sample, "packets": what.packets })
}

fn follow(client: &Client, path: &str, interrupt: &mut Signal, as_json: bool) -> Result<(), Error> {
    let mut printed = 0;
    loop {
        let trace = client.get(path)?;
        let packets = trace["packets"].as_array().map(Vec::as_slice).unwrap_or_default();
        let done = trace["state"] == "done";
        for (i, p) in packets.iter().enumerate().skip(printed).filter(|_| !as_json) {
            say(&packet(i + 1, p))?;
        }
        printed = packets.len();
        let interrupted = !done
            && client.run(async {
                tokio::select! {
                    _ = interrupt.recv() => true,
                    () = tokio::time::sleep(INTERVAL) => false,
                }
            });
        if done || interrupted {
            let lost = number(&trace["lost"]);
            if lost > 0 {
                eprintln!(
                    "{lost} packets that match were not followed: there was no buffer for them (--sample takes fewer)"
                );
            }
            return if as_json { json(&trace) } else { Ok(()) };
        }
    }
}

fn packet(number: usize, p: &Value) -> String {
    let mut out = format!(
        "packet {number}  {}  worker {}  port {}  {}",
        text(&p["at"]),
        text(&p["worker"]),
        text(&p["port"]),
        text(&p["verdict"])
    );
    for node in p["nodes"].as_array().into_iter().flatten() {
        let detail = node["detail"].as_object().into_iter().flatten().filter(|(_, v)| !v.is_null());
        let detail: Vec<String> = detail.map(|(name, v)| format!("{name}={}", text(v))).collect();
        out += &format!("\n  {:9} {}", text(&node["node"]), detail.join(" "));
        out.truncate(out.trim_end().len());
    }
    out
}

// What a subscriber has sent in ESP is here in the clear: for the operator's eyes only.
fn save(client: &Client, path: &str, what: &cli::Trace) -> Result<(), Error> {
    let Some(to) = &what.write else { return Ok(()) };
    let reply = client.call("GET", &format!("{path}/pcapng"), None, None)?;
    file::write(to, &reply.body).map_err(|e| Error::file(to, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_reads_from_node_to_node() {
        let p = object!({ "at": "10:00:00.000123", "worker": 0, "port": "access", "verdict": "drop: esp_replay", "nodes": [
            { "node": "rx", "detail": { "length": 142 } },
            { "node": "classify", "detail": {} },
            { "node": "esp-in", "detail": { "spi": "c0000001", "peer": 7, "session": null } },
        ]});
        let expected = "packet 3  10:00:00.000123  worker 0  port access  drop: esp_replay\n  rx        length=142\n  \
                        classify\n  esp-in    spi=c0000001 peer=7";
        assert_eq!(packet(3, &p), expected);
    }
}

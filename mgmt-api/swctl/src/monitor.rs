//! `monitor`: the gateway's events, one a line, from a stream of server-sent events.

use crate::client::{Client, query};
use crate::error::Error;
use crate::output::{say, text};
use serde_json::Value;

/// Prints events until the operator or the gateway ends it.
pub fn monitor(client: &Client, kinds: &[String], as_json: bool) -> Result<(), Error> {
    let kinds = (!kinds.is_empty()).then(|| kinds.join(","));
    let mut stream = client.stream(&format!("/events{}", query(&[("kinds", kinds)])))?;
    let mut parser = Parser::default();
    while let Some(octets) = client.more(&mut stream)? {
        for event in parser.take(&octets) {
            say(&if as_json { event.data } else { line(&event) })?;
        }
    }
    Err(Error::Unreachable("the gateway has closed the stream of events".into()))
}

/// An event.
#[derive(Debug, Default, PartialEq, Eq)]
struct Event {
    kind: String,
    data: String,
}

/// Puts a stream of server-sent events together.
#[derive(Default)]
struct Parser {
    // Of the line that is not complete, as octets: a character may be, too.
    line: Vec<u8>,
    event: Event,
}

impl Parser {
    /// The events that are complete with these octets.
    fn take(&mut self, octets: &[u8]) -> Vec<Event> {
        let mut out = Vec::new();
        for &octet in octets {
            if octet != b'\n' {
                self.line.push(octet);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches('\r');
            // An empty line ends an event. One that begins with a colon only keeps the connection open.
            if line.is_empty() {
                let event = std::mem::take(&mut self.event);
                if event != Event::default() {
                    out.push(event);
                }
            } else if let Some((field, value)) = line.split_once(':') {
                let value = value.strip_prefix(' ').unwrap_or(value);
                match field {
                    "event" => value.clone_into(&mut self.event.kind),
                    "data" => self.event.data += value,
                    _ => {}
                }
            }
        }
        out
    }
}

// `TIME KIND name=value ...`
fn line(event: &Event) -> String {
    let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
    let Value::Object(members) = &data else { return format!("{} {}", event.kind, event.data) };
    let shown = members.iter().filter(|(name, v)| !v.is_null() && !matches!(name.as_str(), "at" | "kind"));
    let shown: Vec<String> = shown.map(|(name, value)| format!("{name}={}", word(value))).collect();
    let at = members.get("at").map(|at| text(at) + " ").unwrap_or_default();
    format!("{at}{} {}", event.kind, shown.join(" ")).trim_end().to_owned()
}

fn word(value: &Value) -> String {
    match value {
        Value::String(s) if s.is_empty() || s.contains([' ', '"', '=', '\n']) => value.to_string(),
        Value::String(s) => s.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": hello\n\nevent: session.up\nid: 7\ndata: {\"at\":\"2026-11-26T10:00:00Z\",\"kind\":\"session.up\",\
                          \"user\":\"alice é\",\"ipv4\":null,\"id\":\"1.2\"}\n\nevent: lagged\r\ndata: 12\r\n\r\nevent: bgp.down\n";

    #[test]
    fn events_are_lines_however_they_are_cut() {
        for size in 1..STREAM.len() {
            let mut parser = Parser::default();
            let events: Vec<Event> = STREAM.as_bytes().chunks(size).flat_map(|c| parser.take(c)).collect();
            let lines: Vec<String> = events.iter().map(line).collect();
            assert_eq!(lines, ["2026-11-26T10:00:00Z session.up user=\"alice é\" id=1.2", "lagged 12"]);
        }
    }
}

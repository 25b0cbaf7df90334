//! `show`: what the API answers, as tables. Names and columns are those of FRR, VyOS and Junos where they have them.

mod access;
mod bgp;
mod mesh;
mod system;

use crate::cli::{Page, Show};
use crate::client::{Client, pages, rows};
use crate::error::Error;
use crate::output::{json, say, table, text};
use serde_json::Value;

/// Runs one of the `show` commands.
pub fn show(client: &Client, what: &Show, as_json: bool) -> Result<(), Error> {
    match what {
        Show::Config { path, defaults, commands } => crate::config::show(client, path, *defaults, *commands, as_json),
        Show::Commits { commit, limit } => crate::config::commits(client, *commit, *limit, as_json),
        Show::Bgp { what } => bgp::show(client, what.as_ref(), as_json),
        Show::Subscribers { id: Some(id), .. } => {
            let path = format!("/subscribers/{}", crate::client::escape(id));
            print(&client.get(&path)?, as_json, access::subscriber)
        }
        Show::Subscribers { filter, page, .. } => {
            list(client, "/subscribers", &filter.parameters(), *page, as_json, "subscriber", access::subscribers)
        }
        Show::Sessions { page } => list(client, "/sessions", &[], *page, as_json, "session", access::sessions),
        Show::Tunnels { page } => list(client, "/tunnels", &[], *page, as_json, "tunnel", access::tunnels),
        Show::Ike { filter, page } => {
            list(client, "/ike-sas", &filter.parameters(), *page, as_json, "IKE SA", access::ike)
        }
        Show::Child { peer, page } => {
            let filter = [("peer", peer.map(|p| p.to_string()))];
            list(client, "/child-sas", &filter, *page, as_json, "child SA", access::child)
        }
        Show::Softwires { page } => list(client, "/softwires", &[], *page, as_json, "softwire", mesh::softwires),
        Show::Profiles => print(&client.get("/mesh/profiles")?, as_json, |a| mesh::profiles(rows(a))),
        Show::Bfd => print(&client.get("/bfd")?, as_json, |a| mesh::bfd(rows(a))),
        Show::Rtr => print(&client.get("/bgp/rtr")?, as_json, |a| bgp::rtr(rows(a))),
        Show::Radius => print(&client.get("/radius")?, as_json, system::radius),
        Show::Spd => print(&client.get("/spd")?, as_json, |a| system::spd(rows(a))),
        Show::Ports => print(&client.get("/ports")?, as_json, |a| system::ports(rows(a))),
        Show::Counters { all } => print(&client.get("/counters")?, as_json, |a| system::counters(a, *all)),
        Show::Status => print(&client.get("/status")?, as_json, system::status),
        Show::Drain => print(&client.get("/drain")?, as_json, system::drain),
        Show::Tokens => print(&client.get("/tokens")?, as_json, |a| system::tokens(rows(a))),
    }
}

fn print(answer: &Value, as_json: bool, show: impl FnOnce(&Value) -> String) -> Result<(), Error> {
    if as_json { json(answer) } else { say(&show(answer)) }
}

fn list(
    client: &Client,
    path: &str,
    filter: &[(&str, Option<String>)],
    page: Page,
    as_json: bool,
    what: &str,
    show: fn(&[Value]) -> String,
) -> Result<(), Error> {
    let answer = pages(client, path, filter, page.limit)?;
    print(&answer, as_json, |a| listing(a, what, &show(rows(a))))
}

/// A table, and how much of all it shows.
fn listing(answer: &Value, what: &str, table: &str) -> String {
    let shown = rows(answer).len();
    let plural = if shown == 1 { "" } else { "s" };
    match answer["next"] {
        Value::Null => format!("{table}\n\n{shown} {what}{plural}"),
        // A filter does not say how many it would let through.
        _ => format!("{table}\n\nthe first {shown} {what}{plural}; --limit shows more"),
    }
}

/// A column: its head, and what it shows of a row.
type Column<'a> = (&'a str, &'a dyn Fn(&Value) -> String);

/// A table whose columns are what functions make of a row.
fn columns(columns: &[Column], rows: &[Value]) -> String {
    let headings: Vec<&str> = columns.iter().map(|c| c.0).collect();
    let lines: Vec<Vec<String>> = rows.iter().map(|row| columns.iter().map(|c| c.1(row)).collect()).collect();
    table(&headings, &lines)
}

/// A column that is a member of the row.
fn member(name: &'static str) -> impl Fn(&Value) -> String {
    move |row| text(&row[name])
}

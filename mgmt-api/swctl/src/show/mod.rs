//! `show`: what the API answers, as tables. Names and columns are those of FRR, VyOS and Junos where they have them.

mod access;
mod bgp;
mod mesh;
mod system;

use crate::cli::Show;
use crate::client::{Client, rows};
use crate::error::Error;
use crate::output::{json, say, table, text};
use serde_json::Value;

/// Runs one of the `show` commands.
pub fn show(client: &Client, what: &Show, as_json: bool) -> Result<(), Error> {
    match what {
        Show::Config { path, commands } => crate::config::show(client, path, *commands, as_json),
        Show::Commits { commit, limit } => crate::config::commits(client, *commit, *limit, as_json),
        Show::Bgp { what } => bgp::show(client, what.as_ref(), as_json),
        Show::Subscribers { id: Some(id), .. } => {
            let path = format!("/subscribers/{}", crate::client::escape(id));
            print(&client.get(&path)?, as_json, access::subscriber)
        }
        Show::Subscribers { filter, page, .. } => {
            let (parameters, limit) = (filter.parameters(), page.limit);
            let answer = crate::client::pages(client, "/subscribers", &parameters, limit)?;
            print(&answer, as_json, |a| listing(a, "subscriber", access::subscribers(rows(a))))
        }
        Show::Sessions { page } => list(client, "/sessions", page.limit, as_json, "session", access::sessions),
        Show::Tunnels { page } => list(client, "/tunnels", page.limit, as_json, "tunnel", access::tunnels),
        Show::Ike { page } => list(client, "/ike-sas", page.limit, as_json, "IKE SA", access::ike),
        Show::Child { page } => list(client, "/child-sas", page.limit, as_json, "child SA", access::child),
        Show::Softwires { page } => list(client, "/softwires", page.limit, as_json, "softwire", mesh::softwires),
        Show::Profiles => print(&client.get("/mesh/profiles")?, as_json, |a| mesh::profiles(rows(a))),
        Show::Bfd => print(&client.get("/bfd")?, as_json, |a| mesh::bfd(rows(a))),
        Show::Rtr => print(&client.get("/bgp/rtr")?, as_json, |a| bgp::rtr(rows(a))),
        Show::Radius => print(&client.get("/radius")?, as_json, system::radius),
        Show::Spd => print(&client.get("/spd")?, as_json, |a| system::spd(rows(a))),
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
    limit: usize,
    as_json: bool,
    what: &str,
    show: fn(&[Value]) -> String,
) -> Result<(), Error> {
    let answer = crate::client::pages(client, path, &[], limit)?;
    print(&answer, as_json, |a| listing(a, what, show(rows(a))))
}

/// A table, and how much of all it shows.
fn listing(answer: &Value, what: &str, table: String) -> String {
    let shown = rows(answer).len();
    let total = answer["total"].as_u64().unwrap_or(shown as u64);
    let plural = if total == 1 { "" } else { "s" };
    match answer["next"] {
        Value::Null => format!("{table}\n\n{shown} {what}{}", if shown == 1 { "" } else { "s" }),
        _ => format!("{table}\n\n{shown} of {total} {what}{plural}; --limit shows more"),
    }
}

/// A table whose columns are what functions make of a row.
fn columns(columns: &[(&str, &dyn Fn(&Value) -> String)], rows: &[Value]) -> String {
    let headings: Vec<&str> = columns.iter().map(|c| c.0).collect();
    let lines: Vec<Vec<String>> = rows.iter().map(|row| columns.iter().map(|c| c.1(row)).collect()).collect();
    table(&headings, &lines)
}

/// A column that is a member of the row.
fn member(name: &'static str) -> impl Fn(&Value) -> String {
    move |row| text(&row[name])
}

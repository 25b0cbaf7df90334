//! The configuration: a candidate is edited, looked at, checked and committed.
//!
//! ```text
//!            set, delete           commit [--confirm 5m]            confirm
//!  running ────────────► candidate ────────────────────► running ──────────► kept
//!     ▲  update (again on     │ diff, check, discard        │  no confirmation in time
//!     │  a newer version)     ▼                             ▼
//!     └───────────────────────────────── rollback N ◄───────┘
//! ```

mod candidate;
mod change;
mod path;
mod yaml;

use crate::client::{Client, escape, pages, query, rows};
use crate::error::Error;
use crate::output::{json, say, table, text};
use candidate::{Candidate, Edit};
use serde_json::{Value, json as object};
use std::io::{BufRead, IsTerminal};
use std::time::Duration;

/// `set PATH... VALUE`.
pub fn set(client: &Client, words: &[String]) -> Result<(), Error> {
    let Some((value, words)) = words.split_last().filter(|(_, path)| !path.is_empty()) else {
        return Err(Error::Usage("set takes a path and a value".into()));
    };
    let path = path::from_words(words)?;
    let value = if value == "-" { typed(&path.join(" "))? } else { value.clone() };
    let value = path::value(&path, &value)?;
    edit(client, Edit::Set { path, value })
}

/// `delete PATH...`.
pub fn delete(client: &Client, words: &[String]) -> Result<(), Error> {
    edit(client, Edit::Delete { path: path::from_words(words)? })
}

fn edit(client: &Client, edit: Edit) -> Result<(), Error> {
    let mut candidate = match Candidate::load(client)? {
        Some(candidate) => candidate,
        None => Candidate::begin(client)?,
    };
    candidate.edit(edit)?;
    candidate.save(client)
}

// A value that is not to be seen, on the screen or in the shell's history.
fn typed(prompt: &str) -> Result<String, Error> {
    if std::io::stdin().is_terminal() {
        return Ok(rpassword::prompt_password(format!("{prompt}: "))?);
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(|e| Error::Usage(format!("standard input: {e}")))?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// `diff`.
pub fn diff(client: &Client) -> Result<(), Error> {
    let changes = Candidate::load(client)?.map_or(Ok(Vec::new()), |c| c.changes())?;
    if changes.is_empty() { Ok(()) } else { say(&change::show(&changes)) }
}

/// `discard`.
pub fn discard(client: &Client) -> Result<(), Error> {
    say(if Candidate::discard(client)? { "candidate discarded" } else { "there is no candidate" })
}

/// `update`.
pub fn update(client: &Client) -> Result<(), Error> {
    let candidate = open(client)?;
    let before = candidate.version.clone();
    let candidate = candidate.updated(client)?;
    candidate.save(client)?;
    say(if candidate.version == before { "the candidate is up to date" } else { "the candidate is updated; see diff" })
}

/// `check`.
pub fn check(client: &Client, as_json: bool) -> Result<(), Error> {
    let candidate = open(client)?;
    let outcome = put(client, &candidate, &[("dry_run", Some("true".to_owned()))])?;
    if as_json {
        return json(&outcome);
    }
    say("configuration check succeeds")?;
    restarts(&outcome)
}

/// `commit`.
pub fn commit(client: &Client, confirm: Option<Duration>, comment: Option<String>, as_json: bool) -> Result<(), Error> {
    let Some(candidate) = Candidate::load(client)? else { return say("there is nothing to commit") };
    let confirm = confirm.map(|d| d.as_secs().to_string());
    let outcome = put(client, &candidate, &[("confirm", confirm), ("comment", comment)])?;
    Candidate::discard(client)?;
    report(&outcome, as_json)
}

fn put(client: &Client, candidate: &Candidate, parameters: &[(&str, Option<String>)]) -> Result<Value, Error> {
    let path = format!("/config{}", query(parameters));
    let answer = client.call("PUT", &path, Some(&candidate.document()?), Some(&candidate.version));
    answer
        .map_err(|e| match e {
            Error::Refused { status: 412, .. } => Error::Refused {
                status: 412,
                text: "the configuration has changed since this candidate was begun (show commits): \
                       update makes the edits again on what is running, discard forgets them"
                    .into(),
            },
            other => other,
        })?
        .json()
}

/// `confirm`.
pub fn confirm(client: &Client) -> Result<(), Error> {
    client.post("/config/confirm", None)?;
    say("commit confirmed")
}

/// `rollback N`.
pub fn rollback(
    client: &Client,
    to: u64,
    confirm: Option<Duration>,
    comment: Option<&str>,
    as_json: bool,
) -> Result<(), Error> {
    let mut body = object!({ "to": to });
    if let Some(comment) = comment {
        body["comment"] = comment.into();
    }
    let path = format!("/config/rollback{}", query(&[("confirm", confirm.map(|d| d.as_secs().to_string()))]));
    report(&client.post(&path, Some(&body))?, as_json)
}

fn report(outcome: &Value, as_json: bool) -> Result<(), Error> {
    if as_json {
        return json(outcome);
    }
    match outcome["commit"].as_u64() {
        None => say("nothing has changed")?,
        Some(n) => {
            let changes = rows(&outcome["changes"]).len();
            say(&format!("commit {n} complete, {changes} change{}", if changes == 1 { "" } else { "s" }))?;
        }
    }
    if let Some(time) = outcome["confirm_by"].as_str() {
        say(&format!("it will be rolled back at {time} unless it is confirmed (swctl confirm)"))?;
    }
    restarts(outcome)
}

fn restarts(outcome: &Value) -> Result<(), Error> {
    match rows(&outcome["restart"]) {
        [] => Ok(()),
        parts => say(&format!("takes effect when the gateway restarts: {}", text(&Value::Array(parts.to_vec())))),
    }
}

fn open(client: &Client) -> Result<Candidate, Error> {
    Candidate::load(client)?.ok_or_else(|| Error::Usage("there is no candidate; set and delete begin one".into()))
}

/// `show config [PATH...]`.
pub fn show(client: &Client, words: &[String], defaults: bool, commands: bool, as_json: bool) -> Result<(), Error> {
    let path = path::from_words(words)?;
    let below: String = path.iter().map(|step| format!("/{}", escape(step))).collect();
    let defaults = query(&[("defaults", defaults.then(|| "true".to_owned()))]);
    let value = &client.get(&format!("/config{below}{defaults}"))?;
    if as_json {
        return json(value);
    }
    if commands {
        let mut out = Vec::new();
        yaml::commands(&path, value, &mut out);
        return say(&out.join("\n"));
    }
    let last = path.last().map_or("", String::as_str);
    say(&if path::secret(last) { yaml::scalar(last, value) } else { yaml::document(value).join("\n") })
}

/// `show commits [N]`.
pub fn commits(client: &Client, one: Option<u64>, limit: usize, as_json: bool) -> Result<(), Error> {
    if let Some(n) = one {
        let commit = client.get(&format!("/config/commits/{n}"))?;
        if as_json {
            return json(&commit);
        }
        say(&format!(
            "{}\n\n{}",
            commit_table(std::slice::from_ref(&commit)),
            change::show(&change::from_api(&commit["changes"]))
        ))
    } else {
        let answer = pages(client, "/config/commits", &[], limit)?;
        if as_json { json(&answer) } else { say(&commit_table(rows(&answer))) }
    }
}

fn commit_table(commits: &[Value]) -> String {
    let row = |c: &Value| {
        let changes = rows(&c["changes"]).len().to_string();
        vec![text(&c["id"]), text(&c["at"]), text(&c["author"]), text(&c["state"]), changes, text(&c["comment"])]
    };
    table(&[">Commit", "Time", "Author", "State", ">Changes", "Comment"], &commits.iter().map(row).collect::<Vec<_>>())
}

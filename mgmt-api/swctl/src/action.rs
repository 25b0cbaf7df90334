//! What an operator may do to what runs: disconnect, rekey, clear, drain, tokens.

use crate::cli::{Clear, Direction, Disable, Enable, Rekey, Role, Show, Token};
use crate::client::{Client, escape};
use crate::error::Error;
use crate::file;
use crate::output::{json, number, say, text};
use crate::show;
use serde_json::{Value, json as object};
use std::io::Write;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

/// Time for a teardown, where the operator does not say, as the API has it.
const TEARDOWN: Duration = Duration::from_secs(60);
/// And what may be late.
const GRACE: Duration = Duration::from_secs(30);
/// Between looks at a drain.
const INTERVAL: Duration = Duration::from_secs(1);

pub fn disconnect(client: &Client, id: &str) -> Result<(), Error> {
    client.delete(&format!("/subscribers/{}", escape(id)))
}

pub fn rekey(client: &Client, what: &Rekey) -> Result<(), Error> {
    let path = match what {
        Rekey::Ike { peer } => format!("/ike-sas/{peer}/rekey"),
        Rekey::Child { spi } => format!("/child-sas/{}/rekey", escape(spi.trim_start_matches("0x"))),
        Rekey::Softwire { id } => format!("/softwires/{id}/rekey"),
    };
    client.post(&path, None).map(drop)
}

pub fn clear(client: &Client, what: &Clear) -> Result<(), Error> {
    let Clear::Bgp { address, soft, hard, message } = what;
    match soft {
        Some(Direction::In) => bgp(client, address, "soft-in", None),
        Some(Direction::Out) => bgp(client, address, "soft-out", None),
        None => {
            let body = object!({ "hard": hard, "message": message.as_deref().unwrap_or_default() });
            bgp(client, address, "clear", Some(&body))
        }
    }
}

pub fn disable(client: &Client, what: &Disable) -> Result<(), Error> {
    let Disable::Bgp { address, message } = what;
    bgp(client, address, "disable", Some(&object!({ "message": message.as_deref().unwrap_or_default() })))
}

pub fn enable(client: &Client, what: &Enable) -> Result<(), Error> {
    let Enable::Bgp { address } = what;
    bgp(client, address, "enable", None)
}

fn bgp(client: &Client, address: &IpAddr, action: &str, body: Option<&Value>) -> Result<(), Error> {
    client.post(&format!("/bgp/neighbours/{}/{action}", escape(&address.to_string())), body).map(drop)
}

pub fn drain(
    client: &Client,
    teardown: bool,
    within: Option<Duration>,
    wait: bool,
    as_json: bool,
) -> Result<(), Error> {
    let mut body = object!({ "mode": if teardown { "teardown" } else { "refuse" } });
    if let Some(time) = within {
        body["within"] = time.as_secs().into();
    }
    client.post("/drain", Some(&body))?;
    if wait {
        let begin = Instant::now();
        let patience = teardown.then(|| within.unwrap_or(TEARDOWN).saturating_add(GRACE));
        let pause = || {
            client.run(async { tokio::time::sleep(INTERVAL).await });
            begin.elapsed()
        };
        drained(patience, || client.get("/drain"), pause)?;
    }
    show::show(client, &Show::Drain, as_json)
}

/// Looks until nobody is left, or patience is at its end. `pause` waits between looks, and says how long it has been in all.
fn drained(
    patience: Option<Duration>,
    mut look: impl FnMut() -> Result<Value, Error>,
    mut pause: impl FnMut() -> Duration,
) -> Result<(), Error> {
    let mut gone = Duration::ZERO;
    loop {
        let drain = look()?;
        let left = |what: &str| {
            let (sessions, peers) = (number(&drain["sessions_left"]), number(&drain["peers_left"]));
            Error::Unfinished(format!("{what}: sessions left {sessions}, peers left {peers}"))
        };
        match drain["state"].as_str() {
            Some("drained") => return Ok(()),
            Some("draining") if patience.is_none_or(|p| gone < p) => gone = pause(),
            Some("draining") => return Err(left("the drain takes too long")),
            _ => return Err(left("somebody has ended the drain")),
        }
    }
}

pub fn undrain(client: &Client, as_json: bool) -> Result<(), Error> {
    client.delete("/drain")?;
    show::show(client, &Show::Drain, as_json)
}

pub fn token(client: &Client, what: &Token, as_json: bool) -> Result<(), Error> {
    match what {
        Token::List => show::show(client, &Show::Tokens, as_json),
        Token::Delete { id } => client.delete(&format!("/tokens/{}", escape(id))),
        Token::Create { name, role, expires, output } => {
            let role = match role {
                Role::Read => "read",
                Role::Operate => "operate",
                Role::Admin => "admin",
            };
            let mut body = object!({ "name": name, "role": role });
            if let Some(time) = expires {
                body["expires_in"] = time.as_secs().into();
            }
            match output {
                Some(path) => token_into(path, client, &body, as_json),
                None => {
                    let answer = client.post("/tokens", Some(&body))?;
                    if as_json {
                        return json(&answer);
                    }
                    eprintln!("token {} for {role}; it is not shown again", text(&answer["id"]));
                    say(answer["token"].as_str().unwrap_or_default())
                }
            }
        }
    }
}

// The file comes first: a token that cannot be kept is not made.
fn token_into(path: &Path, client: &Client, body: &Value, as_json: bool) -> Result<(), Error> {
    let bad = |e| Error::file(path, e);
    let mut file = file::create(path).map_err(bad)?;
    let made = client.post("/tokens", Some(body)).inspect_err(|_| drop(std::fs::remove_file(path)));
    let mut answer = made?;
    let token = answer.as_object_mut().and_then(|a| a.remove("token")).unwrap_or_default();
    writeln!(file, "{}", token.as_str().unwrap_or_default()).map_err(bad)?;
    if as_json {
        return json(&answer);
    }
    eprintln!("token {} for {} is in {}", text(&answer["id"]), text(&body["role"]), path.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at a drain that gets rid of a session in each second, of which there are so many at first.
    fn watched(sessions: u64, patience: Option<Duration>) -> (u64, Result<(), Error>) {
        let (left, gone) = (std::cell::Cell::new(sessions), std::cell::Cell::new(0));
        let look = || {
            let n = left.get();
            Ok(object!({ "state": if n > 0 { "draining" } else { "drained" }, "sessions_left": n }))
        };
        let pause = || {
            left.set(left.get() - 1);
            gone.set(gone.get() + 1);
            Duration::from_secs(gone.get())
        };
        let result = drained(patience, look, pause);
        (gone.get(), result)
    }

    #[test]
    fn a_drain_is_waited_for_as_long_as_it_may_take() {
        assert!(matches!(watched(0, None), (0, Ok(()))));
        assert!(matches!(watched(100_000, None), (100_000, Ok(()))));
        let patience = Some(Duration::from_secs(90));
        assert!(matches!(watched(90, patience), (90, Ok(()))), "who goes in the last second has gone");
        for sessions in [91, 190] {
            let (gone, result) = watched(sessions, patience);
            let why = format!("the drain takes too long: sessions left {}, peers left 0", sessions - 90);
            assert_eq!((gone, result.unwrap_err().to_string()), (90, why));
        }
    }
}

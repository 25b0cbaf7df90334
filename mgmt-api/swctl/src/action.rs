//! What an operator may do to what runs: disconnect, rekey, clear, drain, tokens.

use crate::cli::{Clear, Direction, Disable, Enable, Rekey, Role, Show, Token};
use crate::client::{Client, escape};
use crate::error::Error;
use crate::output::{json, say};
use crate::show;
use serde_json::{Value, json as object};
use std::net::IpAddr;
use std::time::Duration;

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

pub fn drain(client: &Client, teardown: bool, within: Option<Duration>, as_json: bool) -> Result<(), Error> {
    let mut body = object!({ "mode": if teardown { "teardown" } else { "refuse" } });
    if let Some(time) = within {
        body["within"] = time.as_secs().into();
    }
    client.post("/drain", Some(&body))?;
    show::show(client, &Show::Drain, as_json)
}

pub fn undrain(client: &Client, as_json: bool) -> Result<(), Error> {
    client.delete("/drain")?;
    show::show(client, &Show::Drain, as_json)
}

pub fn token(client: &Client, what: &Token, as_json: bool) -> Result<(), Error> {
    match what {
        Token::List => show::show(client, &Show::Tokens, as_json),
        Token::Delete { id } => client.delete(&format!("/tokens/{}", escape(id))),
        Token::Create { name, role, expires } => {
            let role = match role {
                Role::Read => "read",
                Role::Operate => "operate",
                Role::Admin => "admin",
            };
            let mut body = object!({ "name": name, "role": role });
            if let Some(time) = expires {
                body["expires_in"] = time.as_secs().into();
            }
            let answer = client.post("/tokens", Some(&body))?;
            if as_json {
                return json(&answer);
            }
            eprintln!("token {} for {role}; it is not shown again", answer["id"].as_str().unwrap_or_default());
            say(answer["token"].as_str().unwrap_or_default())
        }
    }
}

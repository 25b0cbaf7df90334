//! PAP (RFC 1334, section 2): the peer sends name and password until it is told Ack or Nak.
//!
//! Nothing in it protects the password: it is for links inside ESP (H36).

use crate::config::{Credentials, Timers};
use crate::cp::Context;
use crate::event::{AuthRequest, AuthVerdict, Proof};
use crate::message::{Packet, protocol};
use secret::Secret;
use std::time::Instant;

const REQUEST: u8 = 1;
const ACK: u8 = 2;
const NAK: u8 = 3;

/// A string with a length octet before it, and what follows.
fn counted(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = data.split_first()?;
    Some((rest.get(..usize::from(*length))?, rest.get(usize::from(*length)..)?))
}

fn push_counted(out: &mut Vec<u8>, octets: &[u8]) {
    let octets = octets.get(..255).unwrap_or(octets);
    out.push(octets.len() as u8);
    out.extend_from_slice(octets);
}

/// Name and password of an Authenticate-Request.
pub fn parse_request(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, rest) = counted(data)?;
    Some((name, counted(rest)?.0))
}

/// The side that checks. It waits for the peer, which does the retransmitting.
pub(crate) struct Authenticator {
    /// Until when the peer may take to say something.
    deadline: Option<Instant>,
    pending: Option<u8>,
    verdict: Option<AuthVerdict>,
}

impl Authenticator {
    pub fn new(now: Instant, timers: &Timers) -> Self {
        Self { deadline: Some(now + timers.patience()), pending: None, verdict: None }
    }

    pub fn handle_packet(&mut self, cx: &mut Context<'_>, packet: &Packet<'_>) -> Option<AuthRequest> {
        if packet.code != REQUEST {
            return None;
        }
        let (name, password) = parse_request(packet.data)?;
        // RFC 1334, section 2.2.2: a repeated request gets the same answer again, in the network phase too.
        if self.verdict.is_some() {
            self.reply(cx, packet.id);
            return None;
        }
        let first = self.pending.replace(packet.id).is_none();
        self.deadline = None;
        first.then(|| AuthRequest {
            name: name.to_vec(),
            proof: Proof::Pap { password: Secret::new(password) },
            renewed: false,
        })
    }

    /// The owner's answer. `None`: nothing was asked; else whether the peer was accepted.
    pub fn decide(&mut self, cx: &mut Context<'_>, verdict: AuthVerdict) -> Option<bool> {
        let (Some(id), None) = (self.pending, &self.verdict) else { return None };
        let accepted = matches!(verdict, AuthVerdict::Accept(_));
        self.verdict = Some(verdict);
        self.reply(cx, id);
        Some(accepted)
    }

    fn reply(&self, cx: &mut Context<'_>, id: u8) {
        let (code, reply) = match &self.verdict {
            Some(AuthVerdict::Accept(reply)) => (ACK, reply),
            Some(AuthVerdict::Reject(reply)) => (NAK, reply),
            None => return,
        };
        let mut data = Vec::new();
        push_counted(&mut data, reply.text.as_bytes());
        cx.out.push_back(Packet { code, id, data: &data }.frame(protocol::PAP));
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// `true`: the peer has said nothing.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        self.deadline.is_some_and(|at| at <= now)
    }
}

/// The side that is checked.
pub(crate) struct Client {
    timer: Option<Instant>,
    tries: u32,
    id: u8,
}

impl Client {
    pub fn new(cx: &mut Context<'_>, credentials: &Credentials, timers: &Timers) -> Self {
        let mut client = Self { timer: None, tries: timers.max_configure, id: cx.rng.next_u32() as u8 };
        client.send(cx, credentials, timers);
        client
    }

    fn send(&mut self, cx: &mut Context<'_>, credentials: &Credentials, timers: &Timers) {
        let mut data = Vec::new();
        push_counted(&mut data, &credentials.name);
        push_counted(&mut data, credentials.secret.expose());
        cx.out.push_back(Packet { code: REQUEST, id: self.id, data: &data }.frame(protocol::PAP));
        self.tries = self.tries.saturating_sub(1);
        self.timer = Some(cx.now + timers.restart);
    }

    /// `Some(Err)`: with the peer's message.
    pub fn handle_packet(&mut self, packet: &Packet<'_>) -> Option<Result<(), String>> {
        self.timer?;
        if packet.id != self.id || !matches!(packet.code, ACK | NAK) {
            return None;
        }
        self.timer = None;
        // Some peers leave the message's length octet out.
        let message = counted(packet.data).map_or(&[][..], |(message, _)| message);
        Some(if packet.code == ACK { Ok(()) } else { Err(String::from_utf8_lossy(message).into_owned()) })
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timer
    }

    /// `true`: no answer.
    pub fn handle_timeout(&mut self, cx: &mut Context<'_>, credentials: &Credentials, timers: &Timers) -> bool {
        if self.timer.is_none_or(|at| at > cx.now) {
            return false;
        }
        if self.tries == 0 {
            return true;
        }
        self.send(cx, credentials, timers);
        false
    }
}

//! The relay agent of one session (RFC 8415, section 19): the server is elsewhere, and serves many sessions.
//!
//! ```text
//!  subscriber -- Request ----> relay -- Relay-forward [link, peer, Interface-Id, Request] ---> server
//!             <-- Reply ------       <-- Relay-reply   [link, peer, Interface-Id, Reply] -----
//!
//!  | 12 or 13 (1) | hop count (1) | link address (16) | peer address (16) | options ... |
//! ```
//!
//! The Interface-Id is ours to choose and comes back unchanged: [`interface_id`] tells which session a Relay-reply
//! is for. What the server gives must be routed to the session, and so the relay looks into the Replies; what a
//! Release gives back is known from the Release, and counts once the server has replied.

use crate::lease::{Lease, until};
use crate::message::{Message, MessageType};
use crate::option::{self, code};
use crate::server::ServerEvent;
use std::collections::VecDeque;
use std::net::Ipv6Addr;
use std::time::Instant;

/// Message type of a Relay-forward.
pub const RELAY_FORW: u8 = 12;
/// Message type of a Relay-reply.
pub const RELAY_REPL: u8 = 13;
/// HOP_COUNT_LIMIT (section 7.6).
const HOP_COUNT_LIMIT: u8 = 8;
/// Exchanges under way that are remembered, and leases that are looked after.
const MAX_EXCHANGES: usize = 8;
const MAX_LEASES: usize = 16;

/// What the server is told of a session.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// An address of the link's prefix, by which the server chooses what to give; or unspecified.
    pub link_address: Ipv6Addr,
    /// Ours to choose; not the same for two sessions.
    pub interface_id: Vec<u8>,
    /// RFC 4649: enterprise number, and what its owner identifies the subscriber by.
    pub remote_id: Option<(u32, Vec<u8>)>,
    /// RFC 4580.
    pub subscriber_id: Option<Vec<u8>>,
    /// Relay what relay agents behind the subscriber have relayed. They say from which link a client asks, so this is
    /// for subscribers who are trusted with that.
    pub relays_behind: bool,
}

/// A Relay-forward or Relay-reply, borrowed.
#[derive(Clone, Copy, Debug)]
struct Envelope<'a> {
    kind: u8,
    hops: u8,
    peer: Ipv6Addr,
    interface_id: Option<&'a [u8]>,
    message: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// `None`: malformed, or without a message in it.
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (&[kind, hops], rest) = bytes.split_first_chunk()?;
        let (_link, rest) = rest.split_first_chunk::<16>()?;
        let (&peer, rest) = rest.split_first_chunk::<16>()?;
        let options = option::split(rest)?;
        let find = |code| options.iter().find(|(c, _)| *c == code).map(|(_, value)| *value);
        matches!(kind, RELAY_FORW | RELAY_REPL).then_some(())?;
        let (interface_id, message) = (find(code::INTERFACE_ID), find(code::RELAY_MESSAGE)?);
        Some(Self { kind, hops, peer: peer.into(), interface_id, message })
    }
}

/// The Interface-Id of a Relay-reply: for the [`Relay`] with that one in its configuration.
pub fn interface_id(message: &[u8]) -> Option<&[u8]> {
    Envelope::parse(message).filter(|e| e.kind == RELAY_REPL)?.interface_id
}

/// What the client said, or is told, after all relay agents.
fn innermost(mut message: &[u8]) -> Option<Message> {
    for _ in 0..=HOP_COUNT_LIMIT {
        match message.first()? {
            &RELAY_FORW | &RELAY_REPL => message = Envelope::parse(message)?.message,
            _ => return Message::parse(message),
        }
    }
    None
}

/// A message of the client that changes what it has, until the server replies.
struct Exchange {
    transaction: [u8; 3],
    /// What it gives back.
    released: Vec<Lease>,
}

/// Relays the DHCPv6 messages of one session.
pub struct Relay {
    config: RelayConfig,
    exchanges: VecDeque<Exchange>,
    /// What the subscriber has, and until when (`None`: for ever).
    bound: Vec<(Lease, Option<Instant>)>,
    events: VecDeque<ServerEvent>,
}

impl Relay {
    /// With nothing given.
    pub fn new(config: RelayConfig) -> Self {
        Self { config, exchanges: VecDeque::new(), bound: Vec::new(), events: VecDeque::new() }
    }

    /// What is given now.
    pub fn bound(&self) -> impl Iterator<Item = Lease> + '_ {
        self.bound.iter().map(|(lease, _)| *lease)
    }

    /// A message of the session from UDP port 546 (or 547 of a relay agent), and where it came from; the payload of
    /// a datagram to the server's port 547. `None`: not to be relayed.
    pub fn forward(&mut self, source: Ipv6Addr, message: &[u8]) -> Option<Vec<u8>> {
        if source.is_unspecified() || source.is_multicast() {
            return None;
        }
        let [kind, rest @ ..] = message else { return None };
        let hops = match *kind {
            // A server's messages come from the server only. Types that are not known are relayed (RFC 7283).
            2 | 7 | 10 | RELAY_REPL => return None,
            RELAY_FORW => {
                let hops = Envelope::parse(message).filter(|_| self.config.relays_behind)?.hops;
                // Section 19.1.2.
                (hops < HOP_COUNT_LIMIT).then_some(hops + 1)?
            }
            _ => {
                option::split(rest.get(3..)?)?;
                0
            }
        };
        // One that the length field cannot express would be left out by `put`.
        u16::try_from(message.len()).ok()?;
        if let Some(message) = innermost(message) {
            self.begin(&message);
        }
        let mut out = vec![RELAY_FORW, hops];
        out.extend_from_slice(&self.config.link_address.octets());
        out.extend_from_slice(&source.octets());
        option::put(&mut out, code::INTERFACE_ID, |out| out.extend_from_slice(&self.config.interface_id));
        if let Some((enterprise, id)) = &self.config.remote_id {
            option::put(&mut out, code::REMOTE_ID, |out| {
                out.extend_from_slice(&enterprise.to_be_bytes());
                out.extend_from_slice(id);
            });
        }
        if let Some(id) = &self.config.subscriber_id {
            option::put(&mut out, code::SUBSCRIBER_ID, |out| out.extend_from_slice(id));
        }
        option::put(&mut out, code::RELAY_MESSAGE, |out| out.extend_from_slice(message));
        Some(out)
    }

    fn begin(&mut self, message: &Message) {
        let released = match message.kind {
            MessageType::Solicit | MessageType::Request | MessageType::Renew | MessageType::Rebind => Vec::new(),
            MessageType::Release | MessageType::Decline => {
                let leases = message.associations().flat_map(|(_, ia)| ia.leases());
                leases.map(|(lease, ..)| lease).take(MAX_LEASES).collect()
            }
            _ => return,
        };
        let transaction = message.transaction;
        self.exchanges.retain(|e| e.transaction != transaction);
        if self.exchanges.len() == MAX_EXCHANGES {
            self.exchanges.pop_front();
        }
        self.exchanges.push_back(Exchange { transaction, released });
    }

    /// A Relay-reply of the server: whom in the session it is for, and the message, for [`crate::packet::to_client`].
    /// `None`: malformed, or not for this session.
    pub fn reply(&mut self, now: Instant, message: &[u8]) -> Option<(Ipv6Addr, Vec<u8>)> {
        let envelope = Envelope::parse(message).filter(|e| e.kind == RELAY_REPL)?;
        if envelope.interface_id != Some(&self.config.interface_id[..])
            || envelope.peer.is_unspecified()
            || envelope.peer.is_multicast()
        {
            return None;
        }
        self.handle_timeout(now);
        if let Some(reply) = innermost(envelope.message).filter(|m| m.kind == MessageType::Reply) {
            self.learn(now, &reply);
        }
        Some((envelope.peer, envelope.message.to_vec()))
    }

    /// What a Reply gives and takes. Each exchange counts once, so that a late copy of a Reply does not bring back
    /// what was released after it.
    fn learn(&mut self, now: Instant, reply: &Message) {
        let matching = |e: &Exchange| e.transaction == reply.transaction;
        let Some(index) = self.exchanges.iter().position(matching) else { return };
        let released = self.exchanges.remove(index).map(|e| e.released).unwrap_or_default();
        released.into_iter().for_each(|lease| self.release(lease));
        for (lease, preferred, valid) in reply.associations().flat_map(|(_, ia)| ia.leases()) {
            match valid {
                0 => self.release(lease),
                _ if preferred <= valid => self.bind(now, lease, valid),
                _ => {}
            }
        }
    }

    fn bind(&mut self, now: Instant, lease: Lease, valid: u32) {
        let expires = until(now, valid);
        if let Some((_, until)) = self.bound.iter_mut().find(|(bound, _)| *bound == lease) {
            *until = expires;
        } else if self.bound.len() < MAX_LEASES {
            self.bound.push((lease, expires));
            self.events.push_back(ServerEvent::Bound { lease });
        }
    }

    fn release(&mut self, lease: Lease) {
        if let Some(index) = self.bound.iter().position(|(bound, _)| *bound == lease) {
            self.bound.swap_remove(index);
            self.events.push_back(ServerEvent::Released { lease });
        }
    }

    /// Lets go of what has expired.
    pub fn handle_timeout(&mut self, now: Instant) {
        for (lease, _) in self.bound.extract_if(.., |(_, until)| until.is_some_and(|at| at <= now)) {
            self.events.push_back(ServerEvent::Released { lease });
        }
    }

    /// When [`Relay::handle_timeout`] is to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.bound.iter().filter_map(|(_, until)| *until).min()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<ServerEvent> {
        self.events.pop_front()
    }
}

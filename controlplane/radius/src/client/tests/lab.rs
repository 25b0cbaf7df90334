//! Servers by script on a virtual clock, behind a network that can lose, repeat and reorder.

use super::*;
use crate::crypto::{MessageAuthenticator, authentic, message_authenticator, reveal_password};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};

pub const SECRET: &[u8] = b"testing123";

/// A server: accepts everybody, and says so again to who asks again.
pub struct Script {
    pub up: bool,
    /// Requests that came, without what came twice.
    pub seen: BTreeSet<(LinkId, u8, [u8; 16])>,
    /// All that came, in their order.
    pub requests: Vec<(LinkId, Vec<u8>)>,
    /// What every Access-Accept says besides.
    pub attributes: AttributeList,
}

pub struct Lab {
    pub start: Instant,
    pub now: Instant,
    pub client: Client,
    pub servers: Vec<Script>,
    pub rng: StdRng,
    /// Of a hundred packets, those that get lost, and those that come twice.
    pub loss: u32,
    pub duplication: u32,
    /// The longest time on the way; the shortest is one millisecond.
    pub latency: Duration,
    wire: BTreeMap<(Instant, u64), (bool, LinkId, Vec<u8>)>,
    sent: u64,
    pub open: BTreeSet<LinkId>,
    pub events: Vec<(Duration, Event)>,
}

pub fn server(name: &str) -> ServerConfig {
    ServerConfig::new(name, "192.0.2.1:1812".parse().unwrap(), Secret::new(SECRET))
}

pub fn access(name: &str) -> Request {
    let mut list = AttributeList::new();
    list.text(USER_NAME, name);
    Request::new(Code::AccessRequest, list)
}

impl Lab {
    pub fn new(servers: Vec<ServerConfig>) -> Self {
        Self::with(Config { servers, nas_identifier: Some("gateway".into()), ..Config::default() })
    }

    pub fn with(config: Config) -> Self {
        let start = Instant::now();
        let script =
            || Script { up: true, seen: BTreeSet::new(), requests: Vec::new(), attributes: AttributeList::new() };
        Self {
            start,
            now: start,
            servers: config.servers.iter().map(|_| script()).collect(),
            client: Client::new(config, Box::new(StdRng::seed_from_u64(1))),
            rng: StdRng::seed_from_u64(2),
            loss: 0,
            duplication: 0,
            latency: Duration::from_millis(1),
            wire: BTreeMap::new(),
            sent: 0,
            open: BTreeSet::new(),
            events: Vec::new(),
        }
    }

    pub fn request(&mut self, token: u64, request: Request) {
        self.client.request(self.now, token, request, None);
        self.drain();
    }

    /// What the client wants done is done.
    pub fn drain(&mut self) {
        while let Some(op) = self.client.poll_link() {
            match op {
                LinkOp::Open(id) => assert!(self.open.insert(id), "opened twice"),
                LinkOp::Close(id) => assert!(self.open.remove(&id), "closed twice"),
            }
        }
        while let Some((link, octets)) = self.client.poll_transmit() {
            assert!(self.open.contains(&link), "sent on a link that is not open");
            self.send(true, link, octets);
        }
        while let Some(event) = self.client.poll_event() {
            self.events.push((self.now - self.start, event));
        }
    }

    fn send(&mut self, to_server: bool, link: LinkId, octets: Vec<u8>) {
        if self.rng.random_range(0..100) < self.loss {
            return;
        }
        let copies = 1 + usize::from(self.rng.random_range(0..100) < self.duplication);
        for _ in 0..copies {
            let micros = self.rng.random_range(1000..=self.latency.as_micros() as u64);
            self.sent += 1;
            self.wire.insert((self.now + Duration::from_micros(micros), self.sent), (to_server, link, octets.clone()));
        }
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.drain();
        loop {
            let arrival = self.wire.first_key_value().map(|((at, _), _)| *at);
            let next = arrival.into_iter().chain(self.client.poll_timeout()).min();
            let Some(next) = next.filter(|at| *at <= end) else { break };
            self.now = self.now.max(next);
            if arrival == Some(next) {
                let (_, (to_server, link, octets)) = self.wire.pop_first().unwrap();
                if to_server {
                    self.serve(link, &octets);
                } else if self.open.contains(&link) {
                    self.client.handle_input(self.now, link, &octets);
                }
            } else {
                self.client.handle_timeout(self.now);
            }
            self.drain();
        }
        self.now = end;
    }

    /// A request has come to a server.
    fn serve(&mut self, link: LinkId, octets: &[u8]) {
        let server = &mut self.servers[usize::from(link.server.0)];
        server.requests.push((link, octets.to_vec()));
        if !server.up {
            return;
        }
        let packet = Packet::parse(octets).unwrap();
        server.seen.insert((link, packet.id, packet.authenticator));
        // FreeRADIUS 3.2 answers Status-Server without a Message-Authenticator.
        let reply = answer(octets, packet.code != Code::StatusServer, &server.attributes);
        self.send(false, link, reply);
    }

    /// Whether every token of these has exactly one reply, and nothing failed.
    pub fn all_answered(&self, tokens: std::ops::Range<u64>) {
        let mut answered: Vec<_> = self
            .events
            .iter()
            .filter_map(|(_, event)| match event {
                Event::Reply { token, .. } => Some(*token),
                Event::Failed { token, reason } => panic!("{token}: {reason}"),
                _ => None,
            })
            .collect();
        answered.sort_unstable();
        assert_eq!(answered, tokens.collect::<Vec<_>>());
        assert_eq!(self.client.in_flight(), 0);
        let waiting: usize = self.client.servers().map(|s| s.in_flight.saturating_sub(usize::from(!s.alive))).sum();
        assert_eq!(waiting, 0, "but for probes");
    }

    pub fn discards(&self, server: usize) -> Vec<(Discard, u64)> {
        let info = self.client.servers().nth(server).unwrap();
        info.counters.discards.iter().map(|(reason, count)| (*reason, *count)).collect()
    }

    pub fn counters(&self, server: usize) -> Counters {
        self.client.servers().nth(server).unwrap().counters.clone()
    }

    pub fn failures(&self) -> Vec<(u64, Failure)> {
        let failure = |event: &Event| match event {
            Event::Failed { token, reason } => Some((*token, *reason)),
            _ => None,
        };
        self.events.iter().filter_map(|(_, event)| failure(event)).collect()
    }

    pub fn went(&self) -> Vec<String> {
        let said = |event: &Event| match event {
            Event::ServerDown(id) => Some(format!("down {}", id.0)),
            Event::ServerUp(id) => Some(format!("up {}", id.0)),
            _ => None,
        };
        self.events.iter().filter_map(|(_, event)| said(event)).collect()
    }

    /// The only reply so far.
    pub fn reply(&self) -> &Reply {
        match &self.events[..] {
            [(_, Event::Reply { reply, .. })] => reply,
            events => panic!("{events:?}"),
        }
    }
}

/// The reply to a request, which has to be as RFCs say.
pub fn answer(octets: &[u8], mac: bool, attributes: &AttributeList) -> Vec<u8> {
    let packet = Packet::parse(octets).unwrap();
    let first = packet.attributes().iter().next().unwrap();
    assert_eq!(first.kind, MESSAGE_AUTHENTICATOR, "not the first");
    let accounting = packet.code == Code::AccountingRequest;
    let authenticator = if accounting { [0; 16] } else { packet.authenticator };
    assert_eq!(message_authenticator(&packet, &authenticator, SECRET), MessageAuthenticator::Valid);
    assert!(!accounting || authentic(&packet, &[0; 16], SECRET));
    if let Some(hidden) = packet.attributes().octets(USER_PASSWORD) {
        let clear = reveal_password(SECRET, &packet.authenticator, hidden).unwrap();
        assert_eq!(clear.expose(), b"a longer password than one block");
    }
    let code = if accounting { Code::AccountingResponse } else { Code::AccessAccept };
    let builder = if mac { Builder::new(code, packet.id) } else { Builder::unauthenticated(code, packet.id) };
    builder.attributes(attributes).reply(&packet.authenticator, SECRET).unwrap()
}

//! A server: its links, and whether it is alive.
//!
//! Alive is a server that answers anything. It is dead when it has been silent for as long as `timeout` × `tries`, to
//! `tries` transmissions at least; or when no stream to it can be opened, or each ends without a reply: over TLS 1.3, who
//! is refused learns it only then. It comes back with any authentic reply (a probe's, when it is probed), or without one
//! after `dead_time` when it is not probed.

use super::exchange::Attempt;
use super::link::Link;
use super::{Counters, LinkId, ServerConfig, ServerId};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Streams that end one after another without a reply, until their server is dead. A request is tried on two.
const ENDED_STREAMS: u32 = 3;

#[derive(Debug)]
pub(super) struct Server {
    pub id: ServerId,
    pub config: ServerConfig,
    pub alive: bool,
    pub links: BTreeMap<u32, Link>,
    next_link: u32,
    /// Requests and a probe that wait for it.
    pub in_flight: usize,
    /// When it was last chosen, as a number.
    pub chosen: u64,
    /// Its probe on its way.
    pub probe: Option<u64>,
    /// The first transmission since its last reply, and how many there were.
    silent: Option<(Instant, u32)>,
    /// Streams that ended since then, and the number from which on the next one counts: those that were open together
    /// count once.
    ended: (u32, u32),
    pub counters: Counters,
    /// Until when it is left alone.
    pub timer: Option<Instant>,
}

impl Server {
    pub fn new(id: ServerId, config: ServerConfig) -> Self {
        Self {
            id,
            config,
            alive: true,
            links: BTreeMap::new(),
            next_link: 0,
            in_flight: 0,
            chosen: 0,
            probe: None,
            silent: None,
            ended: (0, 0),
            counters: Counters::default(),
            timer: None,
        }
    }

    /// An identifier for a request on a link from `newer` on; on a new one if those have none and there are fewer than
    /// `max`. Says whether the link is new.
    pub fn take(&mut self, now: Instant, request: u64, newer: u32, max: usize) -> Option<(LinkId, u8, bool)> {
        let id = |number| LinkId { server: self.id, number };
        for (number, link) in self.links.range_mut(newer..) {
            if let Some(identifier) = link.take(now, request) {
                self.in_flight += 1;
                return Some((id(*number), identifier, false));
            }
        }
        if self.links.len() >= max {
            return None;
        }
        let number = self.next_link;
        self.next_link = self.next_link.checked_add(1)?;
        let mut link = Link::new(!self.config.transport.is_stream());
        let identifier = link.take(now, request)?;
        self.links.insert(number, link);
        self.in_flight += 1;
        Some((id(number), identifier, true))
    }

    /// The next link that will be opened.
    pub fn next_link(&self) -> LinkId {
        LinkId { server: self.id, number: self.next_link }
    }

    pub fn give_back(&mut self, now: Instant, attempt: &Attempt, answered: bool) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(link) = self.links.get_mut(&attempt.link.number) {
            link.give_back(now, attempt.id, attempt.authenticator(), answered);
        }
    }

    /// Time to wait for the first transmission's reply.
    pub fn first_wait(&self) -> Duration {
        if self.config.transport.is_stream() { self.patience() } else { self.config.timeout }
    }

    fn patience(&self) -> Duration {
        self.config.timeout.saturating_mul(self.config.tries.max(1))
    }

    /// Something was sent.
    pub fn asked(&mut self, now: Instant) {
        let (since, count) = self.silent.unwrap_or((now, 0));
        self.silent = Some((since, count.saturating_add(1)));
    }

    /// Something authentic came.
    pub fn answered(&mut self) {
        (self.silent, self.ended) = (None, (0, 0));
    }

    /// A stream that had been up ended. Whether too many have.
    pub fn ended(&mut self, number: u32) -> bool {
        let (count, from) = self.ended;
        if number >= from {
            self.ended = (count.saturating_add(1), self.next_link);
        }
        self.ended.0 >= ENDED_STREAMS
    }

    /// Whether it has been silent for too long.
    pub fn is_silent(&self, now: Instant) -> bool {
        let needed = if self.config.transport.is_stream() { 1 } else { self.config.tries.max(1) };
        // A tenth less: so much earlier may the last transmission's time be over.
        let patience = self.patience() / 10 * 9;
        self.silent.is_some_and(|(since, count)| count >= needed && now - since >= patience)
    }

    /// When a dead server is next looked at.
    pub fn rest(&self) -> Duration {
        self.config.probe.unwrap_or(self.config.dead_time)
    }
}

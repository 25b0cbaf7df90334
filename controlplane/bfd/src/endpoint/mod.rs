//! All sessions of a system. No socket, no clock: the caller brings both.
//!
//! The order of calls: after each [`handle_input`](Endpoint::handle_input),
//! [`handle_timeout`](Endpoint::handle_timeout) or request, drain [`poll_event`](Endpoint::poll_event) and
//! [`poll_transmit`](Endpoint::poll_transmit) until both are empty; then wait for
//! [`poll_timeout`](Endpoint::poll_timeout).
//!
//! A packet finds its session by Your Discriminator, or by its addresses while the peer does not know that
//! (RFC 5880, section 6.3). Either way it must have come between the addresses of the session and to its port: a
//! discriminator alone must not take a path down, and port 4784 must not get around the TTL of port 3784. One endpoint
//! serves one routing instance; two paths with the same pair of addresses, such as link-local ones of two links, need
//! two endpoints.

mod event;

pub use event::{Event, Meta, SessionId, SessionInfo, Stats, Transmit};

use crate::config::{Config, SessionConfig, Timing};
use crate::error::{Discard, SessionError};
use crate::fsm::State;
use crate::packet::{Packet, Received};
use crate::session::{Context, Path, Session};
use crate::{MULTIHOP_PORT, SINGLE_HOP_PORT};
use rand_core::CryptoRng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU32;
use std::time::Instant;
use timers::Timers;

const FIRST_SOURCE_PORT: u16 = 49_152;
/// Source ports that there are.
const SOURCE_PORTS: usize = 16_384;

/// A BFD endpoint.
pub struct Endpoint {
    config: Config,
    rng: Box<dyn CryptoRng + Send>,
    sessions: BTreeMap<SessionId, Session>,
    paths: BTreeMap<Path, SessionId>,
    ports: BTreeSet<u16>,
    last_port: u16,
    timers: Timers<SessionId>,
    events: VecDeque<Event>,
    out: VecDeque<Transmit>,
    stats: Stats,
}

impl Endpoint {
    /// A new endpoint. `rng` gives discriminators, first sequence numbers and jitter.
    pub fn new(config: Config, rng: Box<dyn CryptoRng + Send>) -> Self {
        Self {
            config,
            rng,
            sessions: BTreeMap::new(),
            paths: BTreeMap::new(),
            ports: BTreeSet::new(),
            last_port: u16::MAX,
            timers: Timers::default(),
            events: VecDeque::new(),
            out: VecDeque::new(),
            stats: Stats::default(),
        }
    }

    /// A new session. It is down, and its first packet is due at once.
    ///
    /// # Errors
    /// If the configuration is not acceptable, there is a session of the kind between the addresses, or there are too
    /// many.
    pub fn add(&mut self, now: Instant, config: SessionConfig) -> Result<SessionId, SessionError> {
        config.check(&self.config)?;
        let intervals = config.timing().intervals(&self.config)?;
        let path = Path { local: config.local, remote: config.remote, multihop: config.multihop };
        if let Some(old) = self.paths.get(&path).copied() {
            if !self.sessions.get(&old).is_some_and(Session::is_leaving) {
                return Err(SessionError::Duplicate);
            }
            self.forget(old);
        }
        if self.sessions.len() >= self.config.max_sessions {
            return Err(SessionError::Full);
        }
        let source_port = self.free_port().ok_or(SessionError::Full)?;
        let id = self.free_id();
        let mut cx = Context { now, rng: &mut *self.rng, out: &mut self.out };
        let session = Session::new(id, source_port, config, intervals, &mut cx);
        self.ports.insert(source_port);
        self.paths.insert(path, id);
        self.sessions.insert(id, session);
        self.with(now, id, |_, _| ());
        Ok(id)
    }

    /// Takes a session away, without an event. The peer is told so for its Detection Time, a minute at most; until
    /// then the session is seen by [`sessions`](Self::sessions), and may be added again.
    ///
    /// # Errors
    /// If there is none.
    pub fn remove(&mut self, now: Instant, id: SessionId) -> Result<(), SessionError> {
        self.existing(id)?;
        if self.with(now, id, Session::leave) == Some(true) {
            self.forget(id);
        }
        Ok(())
    }

    /// Takes a session down, or lets it come up, for the operator. The peer is told for as long as it is down.
    ///
    /// # Errors
    /// If there is none.
    pub fn set_enabled(&mut self, now: Instant, id: SessionId, enabled: bool) -> Result<(), SessionError> {
        self.existing(id)?;
        self.with(now, id, |session, cx| session.enable(enabled, cx));
        Ok(())
    }

    /// Changes intervals and multiplier of a session, up or not, by a Poll Sequence and without an interruption.
    ///
    /// # Errors
    /// If there is none, or they are not acceptable.
    pub fn set_timing(&mut self, now: Instant, id: SessionId, timing: Timing) -> Result<(), SessionError> {
        self.existing(id)?;
        let intervals = timing.intervals(&self.config)?;
        self.with(now, id, |session, cx| session.configure(intervals, timing.detect_mult, cx));
        Ok(())
    }

    /// A datagram that came to port 3784 or 4784.
    pub fn handle_input(&mut self, now: Instant, meta: Meta, bytes: &[u8]) {
        match self.input(now, meta, bytes) {
            Ok(()) => self.stats.received += 1,
            Err(reason) => self.stats.discard(reason),
        }
    }

    /// The time has come to [`poll_timeout`](Self::poll_timeout).
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(id) = self.timers.expired(now) {
            if self.with(now, id, Session::tick) == Some(true) {
                self.forget(id);
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) must be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// What to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        let transmit = self.out.pop_front()?;
        self.stats.sent += 1;
        Some(transmit)
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// All sessions, by id.
    pub fn sessions(&self) -> impl Iterator<Item = SessionInfo> + '_ {
        self.sessions.values().map(Session::info)
    }

    /// One session.
    pub fn session(&self, id: SessionId) -> Option<SessionInfo> {
        self.sessions.get(&id).map(Session::info)
    }

    fn input(&mut self, now: Instant, meta: Meta, bytes: &[u8]) -> Result<(), Discard> {
        let multihop = match meta.port {
            SINGLE_HOP_PORT => false,
            MULTIHOP_PORT => true,
            _ => return Err(Discard::Port),
        };
        if !multihop && meta.ttl != u8::MAX {
            return Err(Discard::Ttl);
        }
        let received = Packet::decode(bytes)?;
        let path = Path { local: meta.local, remote: meta.remote, multihop };
        let id = self.find(path, &received)?;
        self.with(now, id, |session, cx| session.receive(&received, cx)).unwrap_or(Err(Discard::UnknownDiscriminator))
    }

    fn find(&self, path: Path, received: &Received<'_>) -> Result<SessionId, Discard> {
        let Some(discriminator) = NonZeroU32::new(received.packet.your_discriminator) else {
            return self.paths.get(&path).copied().ok_or(Discard::UnknownAddress);
        };
        let id = SessionId(discriminator);
        let session = self.sessions.get(&id).ok_or(Discard::UnknownDiscriminator)?;
        if session.path == path { Ok(id) } else { Err(Discard::Address) }
    }

    /// A session that has not been taken away.
    fn existing(&self, id: SessionId) -> Result<(), SessionError> {
        match self.sessions.get(&id) {
            Some(session) if !session.is_leaving() => Ok(()),
            Some(_) | None => Err(SessionError::Unknown),
        }
    }

    /// Runs `change` on a session; then reports what became of it and moves its deadline.
    fn with<T>(
        &mut self,
        now: Instant,
        id: SessionId,
        change: impl FnOnce(&mut Session, &mut Context<'_>) -> T,
    ) -> Option<T> {
        let session = self.sessions.get_mut(&id)?;
        let was_up = session.state == State::Up;
        let mut cx = Context { now, rng: &mut *self.rng, out: &mut self.out };
        let result = change(session, &mut cx);
        match (was_up, session.state == State::Up) {
            (false, true) => {
                self.stats.ups += 1;
                self.events.push_back(Event::Up(id));
            }
            (true, false) => {
                self.stats.downs += 1;
                if !session.is_leaving() {
                    let (diag, remote_admin) = (session.diag, session.remote_admin_down());
                    self.events.push_back(Event::Down { id, diag, remote_admin });
                }
            }
            (false, false) | (true, true) => {}
        }
        let deadline = session.deadline();
        self.timers.set(id, &mut session.timer, deadline);
        Some(result)
    }

    fn forget(&mut self, id: SessionId) {
        let Some(mut session) = self.sessions.remove(&id) else { return };
        self.timers.set(id, &mut session.timer, None);
        self.paths.remove(&session.path);
        self.ports.remove(&session.source_port);
    }

    /// A source port that no session uses, the one after the last if it is free.
    fn free_port(&mut self) -> Option<u16> {
        let after = |port: u16| port.checked_add(1).unwrap_or(FIRST_SOURCE_PORT);
        let ports = std::iter::successors(Some(after(self.last_port)), |port| Some(after(*port)));
        let free = ports.take(SOURCE_PORTS).find(|port| !self.ports.contains(port))?;
        self.last_port = free;
        Some(free)
    }

    /// A discriminator that no session has, random so that who does not see our packets cannot name it.
    fn free_id(&mut self) -> SessionId {
        let mut n = self.rng.next_u32();
        loop {
            match NonZeroU32::new(n).map(SessionId) {
                Some(id) if !self.sessions.contains_key(&id) => return id,
                Some(_) | None => n = n.wrapping_add(1),
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! The endpoint: a table of IKE SAs by our SPI, and everything that concerns more than one of them.
//!
//! A message of a protected exchange finds its SA by the SPI we chose; an IKE_SA_INIT request has none and passes the
//! limits first: cookies from [`crate::Limits::cookie_threshold`] half-open SAs on, silence from `max_half_open` on and beyond
//! `new_per_second`.
//! Until an SA says that a message is authentic, nothing about the SA or its address changes.
//!
//! Steps of one SA reach the others only through [`Effect`]s (`effects`): successors by rekeying join the table, child
//! SAs move, INITIAL_CONTACT removes older incarnations of a peer.

mod eap;
mod effects;
mod show;

use crate::auth::Identity;
use crate::config::{Config, Policy};
use crate::cookie::Cookies;
use crate::error::{CallError, MessageError};
use crate::event::{DownReason, Event, Meta, PeerHandle, Transmit};
use crate::info::Stats;
use crate::message::{Body, ExchangeType, HEADER_LEN, Header};
use crate::payload::notify::NotifyType;
use crate::sa::established::{Remote, Task, Who};
use crate::sa::initial::{self, Refusal};
use crate::sa::{Ctx, Effect, Handles, Sa, SpiSource, State};
use crate::stateless::{self, RateLimit};
use crate::v1;
use rand_core::CryptoRng;
use rustls_pki_types::UnixTime;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use timers::Timers;

#[derive(Debug)]
struct Peer {
    /// Our SPI of its current IKE SA.
    spi: u64,
    remote: Option<Remote>,
}

impl Peer {
    fn id(&self) -> Option<Identity> {
        self.remote.as_ref().map(|remote| Identity::clone(&remote.id))
    }
}

/// All IKE SAs of a gateway or a client.
pub struct Endpoint {
    policy: Policy,
    rng: Box<dyn CryptoRng + Send>,
    spis: SpiSource,
    clock: Option<(Instant, Duration)>,
    handles: Handles,
    sas: HashMap<u64, Box<Sa>>,
    /// By (initiator's SPI, address): responders' SAs, to recognise repeated IKE_SA_INIT requests.
    origins: HashMap<(u64, SocketAddr), u64>,
    half_open: usize,
    children: HashMap<u32, u64>,
    peers: BTreeMap<PeerHandle, Peer>,
    identities: HashMap<Who, Vec<PeerHandle>>,
    cookies: Cookies,
    invalid_spi: RateLimit,
    begun: RateLimit,
    timers: Timers<u64>,
    v1: v1::Table,
    events: VecDeque<Event>,
    transmits: VecDeque<Transmit>,
    stats: Stats,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("sas", &self.sas.len())
            .field("peers", &self.peers.len())
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// An endpoint. `spi_source` gives an unused inbound SPI for a child SA of a peer. Each SPI comes back exactly once:
    /// in a `ChildDown` that names it, or, when it was in a `ChildUp` and in no `ChildDown`, with the `PeerDown` of its
    /// peer.
    pub fn new(config: Arc<Config>, rng: Box<dyn CryptoRng + Send>, spi_source: SpiSource) -> Self {
        Self {
            policy: Policy::new(config),
            rng,
            spis: spi_source,
            clock: None,
            handles: Handles::default(),
            sas: HashMap::new(),
            origins: HashMap::new(),
            half_open: 0,
            children: HashMap::new(),
            peers: BTreeMap::new(),
            identities: HashMap::new(),
            cookies: Cookies::default(),
            invalid_spi: RateLimit::default(),
            begun: RateLimit::default(),
            timers: Timers::default(),
            v1: v1::Table::default(),
            events: VecDeque::new(),
            transmits: VecDeque::new(),
            stats: Stats::default(),
        }
    }

    /// Changes the configuration. SAs that are up keep the PAD entry they came up with; [`Self::recheck`] has new
    /// revocation lists judge them.
    pub fn set_config(&mut self, config: Arc<Config>) {
        self.policy = Policy::new(config);
    }

    /// Tells what time it is, as time since the Unix epoch; certificates need it. Until then peers that prove themselves
    /// by certificate are refused. To be repeated when the wall clock is set.
    pub fn set_clock(&mut self, now: Instant, since_epoch: Duration) {
        self.clock = Some((now, since_epoch));
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// IKE SAs that are not authenticated yet, where we respond.
    pub fn half_open(&self) -> usize {
        self.half_open + self.v1.half_open()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next().into_iter().chain(self.v1.next_timeout()).min()
    }

    /// Handles what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        // Each SA once: what it leaves due is for the next call.
        let due: Vec<u64> = self.timers.due(now).collect();
        for spi in due {
            self.step(now, spi, |sa, ctx| sa.timeout(ctx));
        }
        self.with_v1(now, |v1, ctx| v1.handle_timeout(ctx));
    }

    // --- calls of the owner ---

    /// Judges the certificates of the peers that are up by the revocation lists of the configuration as it is now: those
    /// of the PAD entry of the same name. `PeerDown` with [`DownReason::Revoked`] follows for whom a list names (H24).
    /// To be called after [`Self::set_config`] with new lists; costs a path validation per peer.
    pub fn recheck(&mut self, now: Instant) {
        self.with_v1(now, |v1, ctx| v1.recheck(ctx));
        let current: Vec<u64> = self.peers.values().map(|record| record.spi).collect();
        for spi in current {
            self.step(now, spi, |sa, ctx| {
                if let State::Established(s) = &mut sa.state {
                    s.recheck(&mut sa.base, ctx);
                }
            });
        }
    }

    /// Starts to connect to the peer of a PAD entry, from port 500 to port 500 (or straight from and to 4500).
    pub fn initiate(
        &mut self,
        now: Instant,
        pad: &str,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Result<PeerHandle, CallError> {
        let pad = Arc::clone(self.policy.named(pad).ok_or(CallError::UnknownPad)?);
        let peer = self.handles.take().ok_or(CallError::Resources)?;
        let (made, effects) = self.context(now, |ctx| initial::initiate(ctx, pad, peer, Meta { local, remote }));
        match made {
            Ok(sa) => {
                self.peers.insert(peer, Peer { spi: sa.base.spi, remote: None });
                self.insert(Box::new(sa));
                self.apply(now, effects);
                Ok(peer)
            }
            Err(error) => {
                self.handles.release(peer);
                Err(error)
            }
        }
    }

    /// As [`Self::initiate`], by IKEv1.
    pub fn initiate_v1(
        &mut self,
        now: Instant,
        pad: &str,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Result<PeerHandle, CallError> {
        self.with_v1(now, |v1, ctx| v1.initiate(ctx, pad, Meta { local, remote }))
    }

    /// Rekeys a child SA. `ChildUp`, with `replaces`, follows. `Ok(false)`: as of a rekey before this one, or the SA is being
    /// deleted (IKEv2).
    pub fn rekey_child(&mut self, now: Instant, spi_in: u32) -> Result<bool, CallError> {
        if self.v1.owner(spi_in).is_some() {
            return self.with_v1(now, |v1, ctx| v1.rekey_child(ctx, spi_in)).map(|()| true);
        }
        let owner = *self.children.get(&spi_in).ok_or(CallError::UnknownChild)?;
        let mut queued = false;
        self.established(now, owner, CallError::UnknownChild, |s| queued = s.queue_rekey(spi_in))?;
        Ok(queued)
    }

    /// Rekeys the IKE SA of a peer.
    pub fn rekey_ike(&mut self, now: Instant, peer: PeerHandle) -> Result<(), CallError> {
        if self.v1.has(peer) {
            return self.with_v1(now, |v1, ctx| v1.rekey_ike(ctx, peer));
        }
        let spi = self.peers.get(&peer).ok_or(CallError::UnknownPeer)?.spi;
        self.established(now, spi, CallError::UnknownPeer, |s| s.queue(Task::RekeyIke))
    }

    /// Closes a peer: DELETE, and `PeerDown` when it is answered or given up. A peer that is still connecting is down at
    /// once, and so is one of IKEv1, where nobody answers.
    pub fn close(&mut self, now: Instant, peer: PeerHandle) -> Result<(), CallError> {
        if self.v1.has(peer) {
            self.with_v1(now, |v1, ctx| v1.down(ctx, peer, DownReason::Closed));
            return Ok(());
        }
        let spi = self.peers.get(&peer).ok_or(CallError::UnknownPeer)?.spi;
        self.step(now, spi, |sa, ctx| match &mut sa.state {
            State::Established(s) => {
                s.queue_close(DownReason::Closed);
                s.pump(&mut sa.base, ctx);
            }
            _ => {
                sa.release(ctx);
                ctx.effects.push(Effect::PeerGone { peer });
                ctx.events.push_back(Event::PeerDown { peer, reason: DownReason::Closed, remote_id: None });
                sa.state = State::Gone;
            }
        });
        Ok(())
    }

    /// A packet came in on a child SA: its peer lives.
    pub fn child_used(&mut self, now: Instant, spi_in: u32) {
        if self.v1.owner(spi_in).is_some() {
            return self.with_v1(now, |v1, ctx| v1.child_used(ctx, spi_in));
        }
        let owner = self.children.get(&spi_in).and_then(|spi| self.sas.get_mut(spi));
        if let Some(State::Established(s)) = owner.map(|sa| &mut sa.state) {
            s.last_heard = now;
        }
    }

    /// An authentic ESP packet of the peer came from another address or port: its NAT has a new binding (RFC 7296,
    /// section 2.23). Ignored for peers that are not behind a NAT.
    pub fn peer_moved(&mut self, now: Instant, peer: PeerHandle, remote: SocketAddr) {
        if self.v1.has(peer) {
            return self.with_v1(now, |v1, ctx| v1.peer_moved(ctx, peer, remote));
        }
        let Some(spi) = self.peers.get(&peer).map(|p| p.spi) else { return };
        self.step(now, spi, |sa, ctx| {
            if let State::Established(s) = &mut sa.state {
                let path = Meta { local: sa.base.local, remote };
                s.rebound(&mut sa.base, ctx, path);
            }
        });
    }

    /// Our address has changed, and the way to the peer (MOBIKE, RFC 4555): `PeerMoved` follows when the peer agrees. Its
    /// ports are 4500. A peer that refuses is down; then, and without MOBIKE, a new IKE SA is to be set up.
    pub fn move_local(
        &mut self,
        now: Instant,
        peer: PeerHandle,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Result<(), CallError> {
        let spi = self.peers.get(&peer).ok_or(CallError::UnknownPeer)?.spi;
        let (path, mut before, mut moved) = (Meta { local, remote }, None, Err(CallError::UnknownPeer));
        self.step(now, spi, |sa, ctx| {
            if let State::Established(s) = &mut sa.state {
                before = s.replaces;
                moved = s.move_local(&mut sa.base, ctx, path);
            }
        });
        while let Some(spi) = before.take().filter(|_| moved.is_ok()) {
            self.step(now, spi, |sa, ctx| {
                if let State::Established(s) = &mut sa.state {
                    before = s.replaces;
                    s.speak_from(&mut sa.base, ctx, path);
                }
            });
        }
        moved
    }

    fn established(
        &mut self,
        now: Instant,
        spi: u64,
        missing: CallError,
        act: impl FnOnce(&mut crate::sa::established::Established),
    ) -> Result<(), CallError> {
        let mut found = false;
        self.step(now, spi, |sa, ctx| {
            if let State::Established(s) = &mut sa.state {
                found = true;
                act(s);
                s.pump(&mut sa.base, ctx);
            }
        });
        if found { Ok(()) } else { Err(missing) }
    }

    // --- input ---

    /// Handles a datagram; on port 4500 the non-ESP marker is stripped already.
    pub fn handle_input(&mut self, now: Instant, meta: Meta, message: &[u8]) {
        // The version is where both have it.
        if message.get(17).is_some_and(|version| version >> 4 == 1) {
            let mut refused = self.stats.v1_refused;
            self.with_v1(now, |v1, ctx| v1.handle_input(ctx, &mut refused, meta, message));
            self.stats.v1_refused = refused;
            return;
        }
        let header = match Header::parse(message) {
            Ok(header) => header,
            Err(error) => {
                self.stats.malformed += 1;
                if let MessageError::MajorVersion(version) = error {
                    self.other_version(meta, message, version);
                }
                return;
            }
        };
        if header.exchange == ExchangeType::IKE_SA_INIT {
            return self.handle_init(now, meta, &header, message);
        }
        let own = if header.from_initiator { header.spi_r } else { header.spi_i };
        let known = self.sas.get(&own).is_some_and(|sa| {
            sa.base.initiator != header.from_initiator && sa.base.spis() == (header.spi_i, header.spi_r)
        });
        if !known {
            self.stats.unknown_spi += 1;
            let per_second = self.policy.config.limits.invalid_spi_per_second;
            if stateless::deserves_invalid_spi(&header) && self.invalid_spi.pass(now, per_second) {
                self.stats.invalid_spi_sent += 1;
                self.refuse(meta, &header, NotifyType::INVALID_IKE_SPI, &[]);
            }
            return;
        }
        let mut accepted = false;
        self.step(now, own, |sa, ctx| accepted = sa.handle(ctx, meta, &header, message));
        if !accepted {
            self.stats.refused += 1;
        }
    }

    /// Section 2.5: a request of a later major version is told which one we speak.
    fn other_version(&mut self, meta: Meta, message: &[u8], version: u8) {
        let request = message.get(19).is_some_and(|flags| flags & 0x20 == 0);
        let spi_i = message.first_chunk::<8>().map(|spi| u64::from_be_bytes(*spi));
        if let (true, Some(spi_i), true) = (request, spi_i, version > 2) {
            self.refuse(meta, &stateless::init(spi_i), NotifyType::INVALID_MAJOR_VERSION, &[]);
        }
    }

    fn handle_init(&mut self, now: Instant, meta: Meta, header: &Header, message: &[u8]) {
        if header.message_id != 0 || header.spi_i == 0 || header.response == header.from_initiator {
            self.stats.malformed += 1;
        } else if header.response {
            let waits = self
                .sas
                .get(&header.spi_i)
                .is_some_and(|sa| matches!(sa.state, State::InitSent(_)) && sa.base.remote == meta.remote);
            if !waits {
                self.stats.unknown_spi += 1;
                return;
            }
            self.step(now, header.spi_i, |sa, ctx| {
                sa.state = match std::mem::replace(&mut sa.state, State::Gone) {
                    State::InitSent(s) => s.response(&mut sa.base, ctx, header, message),
                    other => other,
                };
            });
        } else if header.spi_r != 0 {
            self.stats.malformed += 1;
        } else {
            self.handle_init_request(now, meta, header, message);
        }
    }

    fn handle_init_request(&mut self, now: Instant, meta: Meta, header: &Header, message: &[u8]) {
        let origin = (header.spi_i, meta.remote);
        if let Some(&spi) = self.origins.get(&origin) {
            // Section 2.1: the same request again gets the same answer; another one with these SPIs is nobody's.
            self.step(now, spi, |sa, ctx| {
                if matches!(&sa.state, State::InitReplied(s) if s.made_from(message)) {
                    sa.base.window.repeat(ctx, meta.local, meta.remote);
                }
            });
            return;
        }
        let body = match Body::parse(header.next, message.get(HEADER_LEN..).unwrap_or_default()) {
            Ok(body) => body,
            Err(MessageError::UnsupportedCritical(kind)) => {
                self.stats.init_refused += 1;
                return self.refuse(meta, header, NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, &[kind.0]);
            }
            Err(MessageError::Malformed(_) | MessageError::MajorVersion(_)) => {
                self.stats.malformed += 1;
                return;
            }
        };
        let limits = self.policy.config.limits;
        let Some(nonce) = body.nonce else {
            self.stats.malformed += 1;
            return;
        };
        if self.half_open >= limits.cookie_threshold {
            let request = (nonce, meta.remote.ip(), header.spi_i);
            let Some(cookie) = body.notify(NotifyType::COOKIE) else {
                self.stats.cookies_sent += 1;
                let cookie = self.cookies.make(now, &mut *self.rng, request.0, request.1, request.2);
                return self.refuse(meta, header, NotifyType::COOKIE, &cookie);
            };
            if !self.cookies.check(now, &mut *self.rng, cookie.data, request) {
                self.stats.cookies_wrong += 1;
                return;
            }
        }
        if self.half_open >= limits.max_half_open {
            self.stats.half_open_dropped += 1;
            return;
        }
        if !self.begun.pass(now, limits.new_per_second) {
            self.stats.init_limited += 1;
            return;
        }
        let (made, effects) = self.context(now, |ctx| initial::respond(ctx, meta, header, &body, message));
        match made {
            Ok(sa) => {
                self.half_open += 1;
                self.origins.insert(origin, sa.base.spi);
                self.insert(Box::new(sa));
            }
            Err(Refusal(kind, data)) => {
                self.stats.init_refused += 1;
                self.refuse(meta, header, kind, &data);
            }
        }
        self.apply(now, effects);
    }

    /// Answers a request with a notification and keeps nothing.
    fn refuse(&mut self, meta: Meta, request: &Header, kind: NotifyType, data: &[u8]) {
        let data = stateless::answer(request, kind, data);
        self.transmits.push_back(Transmit { local: meta.local, remote: meta.remote, data, keepalive: false });
    }

    // --- steps and their effects ---

    fn context<T>(&mut self, now: Instant, act: impl FnOnce(&mut Ctx<'_>) -> T) -> (T, Vec<Effect>) {
        let mut effects = Vec::new();
        let identities = &self.identities;
        let unix = self.clock.map(|(at, unix)| UnixTime::since_unix_epoch(unix + now.saturating_duration_since(at)));
        let mut ctx = Ctx {
            now,
            policy: &self.policy,
            rng: &mut *self.rng,
            spis: &mut self.spis,
            handles: &mut self.handles,
            known: &|id| identities.contains_key(&Who::Ike(Arc::new(id.clone()))),
            unix,
            events: &mut self.events,
            transmits: &mut self.transmits,
            effects: &mut effects,
        };
        let result = act(&mut ctx);
        (result, effects)
    }

    fn with_v1<T>(&mut self, now: Instant, act: impl FnOnce(&mut v1::Table, &mut Ctx<'_>) -> T) -> T {
        let mut v1 = std::mem::take(&mut self.v1);
        let (result, _) = self.context(now, |ctx| act(&mut v1, ctx));
        self.v1 = v1;
        result
    }

    fn step(&mut self, now: Instant, spi: u64, act: impl FnOnce(&mut Sa, &mut Ctx<'_>)) {
        let Some(mut sa) = self.sas.remove(&spi) else { return };
        let was_half_open = sa.half_open();
        let ((), effects) = self.context(now, |ctx| act(&mut sa, ctx));
        if was_half_open && !sa.half_open() {
            self.half_open -= 1;
        }
        if matches!(sa.state, State::Gone) {
            self.forget(sa);
        } else {
            self.insert(sa);
        }
        for effect in &effects {
            if let Effect::Authenticated { peer, remote, .. } = effect {
                self.peers.insert(*peer, Peer { spi, remote: Some(remote.clone()) });
            }
        }
        self.apply(now, effects);
    }

    fn insert(&mut self, mut sa: Box<Sa>) {
        let at = sa.next_deadline(&self.policy);
        self.timers.set(sa.base.spi, &mut sa.base.deadline, at);
        self.sas.insert(sa.base.spi, sa);
    }

    fn forget(&mut self, mut sa: Box<Sa>) {
        self.timers.set(sa.base.spi, &mut sa.base.deadline, None);
        if let Some(origin) = sa.base.origin {
            self.origins.remove(&origin);
        }
    }
}

#[cfg(test)]
mod tests;

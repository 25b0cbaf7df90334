//! All neighbours and their routes behind one local AS. No socket, no clock: the driver brings both.
//!
//! ```text
//!   driver                                           Speaker
//!     │ ◄── Event::Connect ──────────────────────────── │   a TCP connection is wanted
//!     │ ─── connected / connect_failed / accepted ────► │
//!     │ ─── received, closed ─────────────────────────► │
//!     │ ◄── Event::Transmit ─── poll_transmit ───────── │   until there is no more, or the socket is full
//!     │ ◄── Event::Route ────────────────────────────── │   for the FIB
//!     │ ◄── Event::NextHop ─── next_hop_changed ──────► │   from the IGP
//! ```
//!
//! The order of calls: after each call with a time in it, drain [`poll_event`](Speaker::poll_event), then wait for
//! [`poll_timeout`](Speaker::poll_timeout).
//!
//! Back-pressure: [`poll_transmit`](Speaker::poll_transmit) makes messages only when it is called. The driver calls it
//! for a connection after [`Event::Transmit`], and again once *all* that it took is in the kernel's send buffer, until
//! it gives nothing. A peer that does not read is therefore noticed (the SendHoldTimer of RFC 9687 runs while nothing
//! is taken) and costs no memory: what it has to be told is a set of prefixes.

mod conn;
mod deferral;
mod env;
mod event;
mod peer;
mod view;

pub use conn::ConnId;
pub(crate) use conn::Conns;
pub use event::{Connect, DownReason, Event, Refused, Warning};
pub use peer::Stop;
pub use view::NeighbourView;

use crate::attribute::Attributes;
use crate::message::{Family, Notification};
use crate::neighbour::{ListenRange, NeighbourConfig, NeighbourId, TcpOptions};
use crate::rib::{Path, Rib, RibConfig, Source, Vrp};
use deferral::Deferral;
use env::Env;
use ipnet::IpNet;
use peer::Peer;
use rand_core::Rng;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use timers::Timers;

/// Configuration of a [`Speaker`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpeakerConfig {
    /// Our AS.
    pub asn: u32,
    /// Our BGP Identifier.
    pub router_id: Ipv4Addr,
    /// Our cluster as a route reflector (RFC 4456); the BGP Identifier, unless reflectors share one.
    pub cluster_id: Ipv4Addr,
    /// Most paths that share the load to a prefix, at least 1.
    pub max_paths: usize,
    /// We have restarted and our forwarding state was preserved: neighbours are told so, and routes are selected when
    /// they have sent theirs, or after this time (Selection_Deferral_Timer of RFC 4724, section 4.1).
    pub restarted: Option<Duration>,
}

/// A BGP speaker.
pub struct Speaker {
    config: SpeakerConfig,
    rng: Box<dyn Rng + Send>,
    peers: BTreeMap<NeighbourId, Peer>,
    addresses: HashMap<IpAddr, NeighbourId>,
    ranges: BTreeMap<IpNet, ListenRange>,
    last_id: u32,
    rib: Rib,
    timers: Timers<NeighbourId>,
    conns: Conns,
    deferral: Deferral,
    converging: BTreeSet<Family>,
    events: VecDeque<Event>,
}

impl Speaker {
    /// A speaker without neighbours.
    pub fn new(now: Instant, config: SpeakerConfig, rng: Box<dyn Rng + Send>) -> Self {
        let rib = Rib::new(RibConfig {
            local_as: config.asn,
            router_id: config.router_id,
            cluster_id: config.cluster_id,
            max_paths: config.max_paths,
        });
        let deferral = config.restarted.map(|time| Deferral::until(now.checked_add(time))).unwrap_or_default();
        Self {
            config,
            rng,
            peers: BTreeMap::new(),
            addresses: HashMap::new(),
            ranges: BTreeMap::new(),
            last_id: 0,
            rib,
            timers: Timers::default(),
            conns: Conns::default(),
            deferral,
            converging: BTreeSet::new(),
            events: VecDeque::new(),
        }
    }

    /// Configures the neighbour with this address, or changes its configuration: its session is reset only if the
    /// change needs it, else its routes are judged again.
    pub fn set_neighbour(&mut self, now: Instant, address: IpAddr, config: NeighbourConfig) -> NeighbourId {
        let known = self.addresses.get(&address).copied();
        match known.filter(|id| self.peers.get(id).is_some_and(|peer| peer.range().is_none())) {
            Some(id) => {
                self.rib.set_peering(id, config.peering.clone());
                self.act(now, id, |peer, env| peer.configure(config, env));
                id
            }
            None => {
                known.into_iter().for_each(|id| self.forget(now, id));
                let id = self.add(address, config, None);
                self.act(now, id, Peer::start);
                id
            }
        }
    }

    /// Ends the sessions of a neighbour and forgets its routes. Whether there was one.
    pub fn remove_neighbour(&mut self, now: Instant, id: NeighbourId) -> bool {
        let known = self.peers.contains_key(&id);
        self.forget(now, id);
        known
    }

    /// Accepts neighbours that are not configured from a range, or changes how those are treated that come from now on.
    pub fn set_listen_range(&mut self, range: ListenRange) {
        self.ranges.insert(range.prefix, range);
    }

    /// Accepts none from a range any more; those that came are removed.
    pub fn remove_listen_range(&mut self, now: Instant, prefix: IpNet) {
        self.ranges.remove(&prefix);
        let came: Vec<_> = self.peers.iter().filter(|(_, p)| p.range() == Some(prefix)).map(|(id, _)| *id).collect();
        came.into_iter().for_each(|id| self.forget(now, id));
    }

    /// The connection of an [`Event::Connect`] is open.
    pub fn connected(&mut self, now: Instant, conn: ConnId, local: SocketAddr) {
        self.on(now, conn, |peer, env| peer.connected(conn, local.ip(), env));
    }

    /// The connection of an [`Event::Connect`] cannot be opened.
    pub fn connect_failed(&mut self, now: Instant, conn: ConnId) {
        self.closed(now, conn);
    }

    /// A peer has opened a connection. Gives its name, or why it is to be closed.
    pub fn accepted(&mut self, now: Instant, local: SocketAddr, remote: SocketAddr) -> Result<ConnId, Refused> {
        let id = match self.addresses.get(&remote.ip()) {
            Some(id) => *id,
            None => self.accept_from_range(now, remote.ip())?,
        };
        self.act(now, id, |peer, env| peer.accept(local.ip(), env)).unwrap_or(Err(Refused::Unknown))
    }

    /// Octets have come, in order.
    pub fn received(&mut self, now: Instant, conn: ConnId, octets: &[u8]) {
        self.on(now, conn, |peer, env| peer.received(conn, octets, env));
    }

    /// Whole messages to send, of about 64 KiB at most. `None` when there is nothing until the next
    /// [`Event::Transmit`]. See the module for when to call it.
    pub fn poll_transmit(&mut self, now: Instant, conn: ConnId) -> Option<Vec<u8>> {
        let id = self.conns.owner(conn)?;
        let (mut env, peers, timers) = self.env(now);
        let peer = peers.get_mut(&id)?;
        let octets = peer.transmit(conn, &mut env);
        let deadline = peer.deadline();
        timers.set(id, &mut peer.timer, deadline);
        octets
    }

    /// The connection is closed, reset, or timed out. Those that the speaker closes need not be told.
    pub fn closed(&mut self, now: Instant, conn: ConnId) {
        self.on(now, conn, |peer, env| peer.disconnected(conn, env));
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let due = self.deferral.expired(now);
        if !due.is_empty() {
            self.converging.extend(due);
            self.announce(now);
        }
        while let Some(id) = self.timers.expired(now) {
            self.act(now, id, Peer::timeout);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) must be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.timers.next(), self.deferral.deadline()].into_iter().flatten().min()
    }

    /// What happened, or is to be done.
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        if let Some(tracking) = self.rib.poll_tracking() {
            return Some(Event::NextHop(tracking));
        }
        for family in Family::ALL.into_iter().filter(|family| !self.deferral.defers(*family)) {
            if let Some(change) = self.rib.poll_change(family) {
                return Some(Event::Route(change));
            }
        }
        self.converging.pop_first().map(|family| Event::Converged { family })
    }

    /// Announces a prefix of our own. A next hop that is unspecified becomes our address towards each neighbour.
    pub fn originate(&mut self, now: Instant, prefix: IpNet, attributes: Attributes) {
        self.rib.originate(prefix, attributes);
        self.announce(now);
    }

    /// Takes a prefix of our own back.
    pub fn withdraw(&mut self, now: Instant, prefix: &IpNet) {
        self.rib.withdraw(prefix);
        self.announce(now);
    }

    /// How far an address is now, `None` being unreachable: routes that depend on it are decided again.
    pub fn next_hop_changed(&mut self, now: Instant, address: IpAddr, metric: Option<u32>) {
        self.next_hops_changed(now, &[(address, metric)]);
    }

    /// Several of [`next_hop_changed`](Self::next_hop_changed) at once: the routes are gone through only once.
    pub fn next_hops_changed(&mut self, now: Instant, metrics: &[(IpAddr, Option<u32>)]) {
        self.rib.set_next_hops(metrics);
        self.announce(now);
    }

    /// The VRPs have changed (RFC 6811).
    pub fn vrps_changed(&mut self, now: Instant, added: &[Vrp], removed: &[Vrp]) {
        self.rib.set_vrps(added, removed);
        self.announce(now);
    }

    /// Resets a session, with a message to the peer's operator (RFC 9003), and tries again at once. With `hard` no routes
    /// are kept meanwhile (RFC 8538).
    pub fn clear(&mut self, now: Instant, id: NeighbourId, message: &str, hard: bool) {
        self.act(now, id, |peer, env| peer.clear(message, hard, env));
    }

    /// Shuts a neighbour down, with a message to its operator (RFC 9003).
    pub fn disable(&mut self, now: Instant, id: NeighbourId, message: &str) {
        self.act(now, id, |peer, env| peer.enable(false, message, env));
    }

    /// Starts a neighbour that was disabled.
    pub fn enable(&mut self, now: Instant, id: NeighbourId) {
        self.act(now, id, |peer, env| peer.enable(true, "", env));
    }

    /// Asks a neighbour for its routes again. Whether it can be asked; where it cannot, what it sent was kept anyway and
    /// is judged again whenever the policy changes.
    pub fn soft_refresh_in(&mut self, now: Instant, id: NeighbourId, family: Family) -> bool {
        self.act(now, id, |peer, _| peer.soft_in(family)).unwrap_or_default()
    }

    /// Sends a neighbour all its routes again.
    pub fn soft_refresh_out(&mut self, now: Instant, id: NeighbourId, family: Family) {
        self.act(now, id, |peer, env| peer.soft_out(family, env));
    }

    /// BFD has found the path to a neighbour dead: the session ends and is tried again (RFC 5882, RFC 9384).
    pub fn bfd_down(&mut self, now: Instant, id: NeighbourId) {
        self.act(now, id, |peer, env| peer.fail(Notification::bfd_down(), env));
    }

    /// The neighbours, in the order of their ids.
    pub fn neighbours(&self) -> impl Iterator<Item = NeighbourView<'_>> {
        self.peers.values().map(Peer::view)
    }

    /// One neighbour.
    pub fn neighbour(&self, id: NeighbourId) -> Option<NeighbourView<'_>> {
        self.peers.get(&id).map(Peer::view)
    }

    /// The neighbour with this address.
    pub fn neighbour_at(&self, address: IpAddr) -> Option<NeighbourId> {
        self.addresses.get(&address).copied()
    }

    /// From where connections are expected, with the options that a listening socket must have for them.
    pub fn listens_for(&self) -> impl Iterator<Item = (IpNet, &TcpOptions)> {
        let configured = self.peers.values().filter(|peer| peer.range().is_none());
        let one_by_one = configured.map(|peer| (IpNet::from(peer.remote()), &peer.config().tcp));
        one_by_one.chain(self.ranges.values().map(|range| (range.prefix, &range.neighbour.tcp)))
    }

    /// All routes: Loc-RIB, and what neighbours were sent.
    pub fn rib(&self) -> &Rib {
        &self.rib
    }

    /// The Adj-RIB-In of a neighbour in order, what comes after `after`.
    pub fn routes_in(
        &self,
        id: NeighbourId,
        family: Family,
        after: Option<IpNet>,
    ) -> impl Iterator<Item = (IpNet, &Path)> {
        self.rib.routes(family, after).filter_map(move |(prefix, route)| {
            let path = route.paths().iter().find(|path| path.source() == Source::Neighbour(id))?;
            Some((prefix, path))
        })
    }

    /// TCP connections that exist or are being opened.
    pub fn connections(&self) -> usize {
        self.conns.len()
    }

    fn env(&mut self, now: Instant) -> (Env<'_>, &mut BTreeMap<NeighbourId, Peer>, &mut Timers<NeighbourId>) {
        let env = Env {
            now,
            config: &self.config,
            rng: &mut *self.rng,
            conns: &mut self.conns,
            events: &mut self.events,
            deferral: &mut self.deferral,
            converging: &mut self.converging,
            rib: &mut self.rib,
        };
        (env, &mut self.peers, &mut self.timers)
    }

    fn on(&mut self, now: Instant, conn: ConnId, act: impl FnOnce(&mut Peer, &mut Env<'_>)) {
        if let Some(id) = self.conns.owner(conn) {
            self.act(now, id, act);
        }
    }

    /// Does something with a neighbour, and sees to what follows from it.
    fn act<T>(&mut self, now: Instant, id: NeighbourId, act: impl FnOnce(&mut Peer, &mut Env<'_>) -> T) -> Option<T> {
        let (mut env, peers, timers) = self.env(now);
        let peer = peers.get_mut(&id)?;
        let result = act(peer, &mut env);
        let deadline = peer.deadline();
        timers.set(id, &mut peer.timer, deadline);
        let gone = peer.is_gone();
        self.announce(now);
        if gone {
            self.forget(now, id);
        }
        Some(result)
    }

    /// Tells the driver of connections that have something to send now.
    fn announce(&mut self, now: Instant) {
        let (mut env, peers, _) = self.env(now);
        peers.values_mut().for_each(|peer| peer.announce(&mut env));
    }

    fn add(&mut self, address: IpAddr, config: NeighbourConfig, range: Option<IpNet>) -> NeighbourId {
        self.last_id += 1;
        let id = NeighbourId(self.last_id);
        self.rib.set_peering(id, config.peering.clone());
        if range.is_none() && config.enabled && config.graceful_restart.is_some() {
            config.families.keys().for_each(|family| self.deferral.expect(id, *family));
        }
        self.addresses.insert(address, id);
        self.peers.insert(id, Peer::new(id, address, config, range));
        id
    }

    fn accept_from_range(&mut self, now: Instant, address: IpAddr) -> Result<NeighbourId, Refused> {
        let ranges = self.ranges.values().filter(|range| range.prefix.contains(&address));
        let range = ranges.max_by_key(|range| range.prefix.prefix_len()).ok_or(Refused::Unknown)?;
        let of_range = self.peers.values().filter(|peer| peer.range() == Some(range.prefix)).count();
        if of_range >= range.max {
            return Err(Refused::RangeFull);
        }
        let prefix = range.prefix;
        let config = NeighbourConfig { passive: true, ..range.neighbour.clone() };
        let id = self.add(address, config, Some(prefix));
        let (mut env, peers, _) = self.env(now);
        if let Some(peer) = peers.get_mut(&id) {
            peer.start(&mut env);
        }
        Ok(id)
    }

    fn forget(&mut self, now: Instant, id: NeighbourId) {
        let (mut env, peers, timers) = self.env(now);
        let Some(mut peer) = peers.remove(&id) else { return };
        peer.remove(&mut env);
        Family::ALL.into_iter().for_each(|family| env.settle_deferral(id, family));
        timers.set(id, &mut peer.timer, None);
        self.addresses.remove(&peer.remote());
        self.rib.remove_neighbour(id);
        self.announce(now);
    }
}

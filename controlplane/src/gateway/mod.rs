//! The softwire concentrator, sans-IO: punted packets, worker events, time and questions come in; table changes,
//! packets and audit records come out.
//!
//! | file | what it composes |
//! |---|---|
//! | `mod` | inputs, timers, and the pump that carries events from one protocol to the next |
//! | `keys` | IKE's events: peers, child SAs, lifetimes, moves |
//! | `softwire` | L2TP's and PPP's events: the life of a subscriber |
//! | `access` | questions to AAA and its answers, for PPP and IKE |
//! | `leases` | what pools remember over a restart |
//! | `records` | accounting, and what runs with a session's time |
//! | `dynamic` | CoA-Requests and Disconnect-Requests |
//! | `servers` | the RADIUS clients, and the octets that the driver carries |
//! | `inner` | what subscribers say to our end of the link: ND, DHCPv6 |
//! | `mesh` | softwires to other AFBRs and their SAs |
//! | `liveness` | BFD for softwires and neighbours |
//! | `query`, `lists` | answers for the management plane |
//! | `news` | events for it |
//! | `drain` | nobody new is let in |
//! | `base` | what the data plane is told by the configuration alone |
//! | `reconfigure`, `leave` | another configuration while all of it runs; who has to go |
//! | `measure` | what metrics and profiles of the mesh are made of |
//! | `operate` | what the operator does |
//! | `trace` | packet traces |
//!
//! Call order: after every input drain [`Gateway::poll_output`], and call [`Gateway::handle_timeout`] no later than
//! [`Gateway::poll_timeout`].

mod access;
mod base;
mod drain;
mod dynamic;
mod inner;
mod keys;
mod leases;
mod leave;
mod lists;
mod liveness;
mod measure;
mod mesh;
mod news;
mod operate;
mod query;
pub mod reconfigure;
mod records;
pub mod servers;
mod softwire;
mod trace;

use crate::aaa::{Aaa, Nas};
use crate::accounting::{Accounting, Cause};
use crate::audit::Record;
use crate::config::{Config, Listener, Protection};
use crate::ike_config;
use crate::liveness::Liveness;
use crate::mesh::Mesh;
use crate::northbound::Event;
use crate::peer::Peer;
use crate::pool::Allocator;
use crate::program::{Output, Program};
use crate::routing::Routing;
use crate::subscriber::Subscriber;
use crate::trace::Traces;
use dataplane_api::{
    Counters, FibCounters, FilterId, Inject, MacAddr, PeerId, PolicyRule, PortCounters, PortId, PuntClass, PuntMeta,
    SessionId, SnapshotOp, SoftwireId, Spi, TableOp, WorkerEvent, WorkerId,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// TTL or hop limit of what IKE and L2TP send.
const TTL: u8 = 64;

/// Lines of a whole file, made as they are taken: there may be a million.
pub type Lines = Box<dyn Iterator<Item = String> + Send>;

/// Why a gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A key, certificate or proposal of the IKE settings.
    #[error("{0}")]
    Ike(#[from] ike_config::Error),
}

/// Counters of the control plane.
#[derive(Clone, Copy, Debug, Default)]
pub struct ControlCounters {
    /// Peers that failed to authenticate in IKE.
    pub ike_auth_failed: u64,
    /// Child SAs that could not be installed.
    pub child_refused: u64,
    /// Clear L2TP at an address that demands IPsec, or at none of ours.
    pub l2tp_refused: u64,
    /// PPP packets for sessions that are gone.
    pub ppp_stale: u64,
    /// Subscribers refused by AAA.
    pub aaa_rejected: u64,
    /// Packets to our end of a link that nobody handles, or malformed.
    pub inner_ignored: u64,
    /// IKE SAs that a drain has turned away.
    pub drain_ike: u64,
    /// Sessions in tunnels that were there, likewise.
    pub drain_session: u64,
}

/// The gateway.
pub struct Gateway {
    // What is in force, and the document that it comes from: parts of that may wait for a restart.
    config: Arc<Config>,
    document: Arc<Config>,
    ike_files: u64,
    // Names by which a peer may come up.
    entries: leave::Entries,
    filters: HashMap<String, FilterId>,
    spd: Vec<PolicyRule>,
    // Listeners that are gone, or others now, as long as somebody is there.
    leaving: Vec<Listener>,
    leave_at: Option<Instant>,
    started: Instant,
    counters: Vec<Arc<Counters>>,
    ike: ike::Endpoint,
    l2tp: l2tp::Endpoint,
    aaa: Aaa,
    eaps: access::IkeEaps,
    accounting: Accounting,
    // Nobody may ask it where the configuration has none.
    dynamic: radius::dynauth::Server,
    // Numbers of sessions: of this run, and within it.
    boot: u32,
    sessions_made: u32,
    finals: records::Finals,
    look: Option<Instant>,
    clock: Option<(Instant, Duration)>,
    closing: Option<bool>,
    pools: Allocator,
    program: Program,
    mesh: Mesh,
    routing: Option<Routing>,
    liveness: Liveness,
    peers: BTreeMap<PeerId, Peer>,
    // Child SAs of all peers.
    children: usize,
    subscribers: BTreeMap<SessionId, Subscriber>,
    // All of them by user, `name` keeps it in step.
    users: BTreeSet<(String, SessionId)>,
    wakes: BTreeSet<(Instant, SessionId)>,
    // Inbound SAs whose grace time runs.
    later: BTreeMap<(Instant, u64), (WorkerId, Spi)>,
    later_key: u64,
    // IKE SAs to be deleted once the peer's tunnel is down (H47).
    close_after: HashMap<SessionId, PeerId>,
    unresolved: VecDeque<(PortId, IpAddr)>,
    relayed: VecDeque<Vec<u8>>,
    audit: VecDeque<Record>,
    events: VecDeque<Event>,
    softwires_up: BTreeMap<SoftwireId, IpAddr>,
    drain: Option<drain::Drain>,
    traces: Traces,
    control: ControlCounters,
    fib: Option<Arc<FibCounters>>,
    macs: Vec<MacAddr>,
    ports: Vec<Arc<PortCounters>>,
    rng: StdRng,
}

impl Gateway {
    /// For a validated configuration. `macs` are the ports' addresses, `counters` the workers' counters, `seed` comes
    /// from the operating system's random source.
    pub fn new(
        config: Arc<Config>,
        now: Instant,
        macs: &[MacAddr],
        counters: Vec<Arc<Counters>>,
        seed: [u8; 32],
    ) -> Result<Self, StartError> {
        let mut rng = StdRng::from_seed(seed);
        // As many as there can be sessions.
        let remembered = config.dataplane.max_sessions * counters.len();
        let mut program = Program::new(counters.len(), config.dataplane.max_sessions);
        let slots = program.allocation().clone();
        let spis = slots.clone();
        // Resources are workers; a child SA that is for none of them goes to the peer's.
        let spi_source = Box::new(move |peer: ike::PeerHandle, resource: Option<u32>| {
            let worker = match resource {
                Some(id) => WorkerId(u8::try_from(id).ok()?),
                None => spis.worker(peer.0.get()),
            };
            spis.spi(worker).map(|s| s.0)
        });
        let id_source = Box::new(move |binding: Option<NonZeroU32>| {
            // Clear tunnels go to the first worker; a peer's tunnel to the worker of its SAs.
            let worker = binding.map_or(WorkerId(0), |b| slots.worker(b.get()));
            slots.session(worker).map(|s| s.0)
        });
        let ike_config = Arc::new(ike_config::build(&config)?);
        let ike = ike::Endpoint::new(ike_config, Box::new(StdRng::from_rng(&mut rng)), spi_source);
        let l2tp_config = Arc::new(softwire::l2tp_config(&config));
        let l2tp = l2tp::Endpoint::new(l2tp_config, Box::new(StdRng::from_rng(&mut rng)), id_source);
        let nas = Nas { identifier: config.nas_identifier().to_owned(), address: config.aaa.nas_address };
        let radius = |accounting, rng: &mut StdRng| {
            radius::Client::new(servers::client(&config, accounting), Box::new(StdRng::from_rng(rng)))
        };
        let mut gateway = Self {
            aaa: Aaa::new(&config, nas.clone(), radius(false, &mut rng)),
            accounting: Accounting::new(&config, nas, radius(true, &mut rng)),
            dynamic: radius::dynauth::Server::new(servers::dynamic(&config)),
            eaps: access::IkeEaps::default(),
            boot: rng.random(),
            sessions_made: 0,
            finals: records::Finals::default(),
            look: None,
            clock: None,
            closing: None,
            pools: Allocator::new(&config.pools, &config.subscribers, config.ppp.local_ipv4, remembered),
            mesh: Mesh::new(now, &config, &mut program),
            routing: config.bgp.as_ref().map(|b| Routing::new(now, &config, b, StdRng::from_rng(&mut rng))),
            liveness: Liveness::new(now, &config, StdRng::from_rng(&mut rng)),
            document: Arc::clone(&config),
            ike_files: ike_config::files(&config),
            entries: leave::Entries::of(&config),
            config,
            filters: HashMap::new(),
            spd: Vec::new(),
            leaving: Vec::new(),
            leave_at: None,
            started: now,
            counters,
            ike,
            l2tp,
            program,
            peers: BTreeMap::new(),
            children: 0,
            subscribers: BTreeMap::new(),
            users: BTreeSet::new(),
            wakes: BTreeSet::new(),
            later: BTreeMap::new(),
            later_key: 0,
            close_after: HashMap::new(),
            unresolved: VecDeque::new(),
            relayed: VecDeque::new(),
            audit: VecDeque::new(),
            events: VecDeque::new(),
            softwires_up: BTreeMap::new(),
            drain: None,
            traces: Traces::default(),
            control: ControlCounters::default(),
            fib: None,
            macs: macs.to_vec(),
            ports: Vec::new(),
            rng,
        };
        gateway.publish(macs);
        gateway.pump(now);
        Ok(gateway)
    }

    /// The counters of the forwarding tables, to be shown.
    pub fn set_fib(&mut self, counters: Arc<FibCounters>) {
        self.fib = Some(counters);
    }

    /// What the ports' devices tell, to be shown.
    pub fn set_ports(&mut self, ports: Vec<Arc<PortCounters>>) {
        self.ports = ports;
    }

    /// Tells the time of day, by which certificates are judged and accounting records are dated.
    pub fn set_clock(&mut self, now: Instant, since_epoch: Duration) {
        self.clock = Some((now, since_epoch));
        self.ike.set_clock(now, since_epoch);
    }

    /// A punted packet of one of the protocol classes. Frames for the host go to the host stack, not here.
    pub fn handle_punt(&mut self, now: Instant, meta: &PuntMeta, data: &[u8]) {
        match meta.class {
            PuntClass::Ike if self.drain_refuses(meta, data) => {}
            PuntClass::Ike => {
                self.ike.handle_input(now, ike::Meta { local: meta.dst, remote: meta.src }, data);
            }
            PuntClass::L2tpControl => {
                // The SPD has kept clear L2TP out already; without a listener there is nothing to protect it with.
                let served = || self.leaving.iter().chain(&self.config.listeners);
                let clear = served().any(|l| l.address == meta.dst.ip() && l.protection == Protection::None);
                if meta.peer.is_none() && !clear {
                    self.control.l2tp_refused += 1;
                    return;
                }
                let binding = meta.peer.map(|p| p.0);
                self.l2tp.handle_input(now, l2tp::Meta { local: meta.dst, remote: meta.src, binding }, data);
            }
            PuntClass::PppControl => match meta.session.and_then(|s| self.subscribers.get_mut(&s)) {
                Some(s) => {
                    s.link.handle_input(now, data);
                    let id = s.id;
                    self.pump_link(now, id);
                }
                None => self.control.ppp_stale += 1,
            },
            PuntClass::SessionHost => self.handle_inner(now, meta, data),
            PuntClass::Bfd => self.bfd_input(now, meta, data),
            PuntClass::Host | PuntClass::Neighbour | PuntClass::Bgp => {}
        }
        self.pump(now);
    }

    /// What a worker noticed.
    pub fn handle_event(&mut self, now: Instant, event: WorkerEvent) {
        match event {
            WorkerEvent::SaInSoft(spi, _) => self.rekey(now, spi.0),
            WorkerEvent::SaOutSoft(out, peer) | WorkerEvent::SaOutHard(out, peer) => {
                if let Some(c) = self.peers.get(&peer).and_then(|p| p.children.values().find(|c| c.out == out)) {
                    let spi = c.spi_in.0;
                    self.rekey(now, spi);
                }
            }
            WorkerEvent::SaInHard(spi, _) => self.rekey(now, spi.0),
            WorkerEvent::SaInUsed(spi, _) => self.ike.child_used(now, spi.0),
            WorkerEvent::PeerMoved(peer, remote) => self.ike.peer_moved(now, ike::PeerHandle(peer.0), remote),
            WorkerEvent::PathMtu(id, mtu) => self.mesh.path_mtu(now, id, mtu, &mut self.program),
            WorkerEvent::SoftwireWanted(id) => self.mesh.wanted(now, id),
            WorkerEvent::NeighbourMiss(port, address) => self.unresolved.push_back((port, address)),
        }
        self.pump(now);
    }

    // A child SA that went away meanwhile needs no rekey.
    fn rekey(&mut self, now: Instant, spi_in: u32) {
        if let Err(e) = self.ike.rekey_child(now, spi_in) {
            tracing::debug!(error = %e, "no rekey");
        }
    }

    fn close_peer(&mut self, now: Instant, peer: PeerId) {
        if let Err(e) = self.ike.close(now, ike::PeerHandle(peer.0)) {
            tracing::debug!(error = %e, "IKE SA is gone already");
        }
    }

    /// Time has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.ike.poll_timeout().is_some_and(|t| t <= now) {
            self.ike.handle_timeout(now);
        }
        if self.l2tp.poll_timeout().is_some_and(|t| t <= now) {
            self.l2tp.handle_timeout(now);
        }
        if let Some(r) = self.routing.as_mut().filter(|r| r.poll_timeout().is_some_and(|t| t <= now)) {
            r.handle_timeout(now);
        }
        if self.liveness.poll_timeout().is_some_and(|t| t <= now) {
            self.liveness.handle_timeout(now);
        }
        if self.mesh.poll_timeout().is_some_and(|t| t <= now) {
            self.mesh_timeout(now);
        }
        self.servers_timeout(now);
        self.drain_timeout(now);
        if self.traces.poll_timeout().is_some_and(|t| t <= now) {
            self.trace_timeout();
        }
        if self.look.is_some_and(|t| t <= now) {
            self.finish(now);
        }
        while let Some(&(t, id)) = self.wakes.first()
            && t <= now
        {
            self.wakes.pop_first();
            if let Some(s) = self.subscribers.get_mut(&id) {
                s.wakes = None;
                s.link.handle_timeout(now);
                self.dhcp6_timeout(now, id);
                self.advertise(now, id);
                self.meter_timeout(now, id);
                self.pump_link(now, id);
            }
        }
        while let Some((&(t, _), _)) = self.later.first_key_value()
            && t <= now
        {
            if let Some((_, (worker, spi))) = self.later.pop_first() {
                self.program.op(worker, TableOp::SaInDel(spi));
                self.program.allocation().free_spi(spi);
            }
        }
        if self.leave_at.is_some_and(|t| t <= now) {
            self.leave(now);
        }
        self.pump(now);
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        let later = self.later.first_key_value().map(|(k, _)| k.0);
        let wake = self.wakes.first().map(|w| w.0);
        let bgp = self.routing.as_ref().and_then(Routing::poll_timeout);
        let bfd = self.liveness.poll_timeout();
        let own = [self.ike.poll_timeout(), self.l2tp.poll_timeout(), self.mesh.poll_timeout(), wake, later, self.look];
        let others = [bgp, bfd, self.servers_due(), self.drain_due(), self.traces.poll_timeout(), self.leave_at];
        own.into_iter().chain(others).flatten().min()
    }

    /// The next table change or packet for the data plane.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.program.poll()?;
        if let Output::Snapshot(op) = &output {
            self.softwire_news(op);
        }
        Some(output)
    }

    /// Puts back an output that a full ring refused.
    pub fn unpoll_output(&mut self, output: Output) {
        self.program.unpoll(output);
    }

    /// Neighbours that the host stack should resolve.
    pub fn poll_unresolved(&mut self) -> Option<(PortId, IpAddr)> {
        self.unresolved.pop_front()
    }

    /// The next audit record.
    pub fn poll_audit(&mut self) -> Option<Record> {
        self.audit.pop_front()
    }

    /// A neighbour that the host stack learned or lost.
    pub fn neighbour(&mut self, port: PortId, address: IpAddr, mac: Option<MacAddr>) {
        self.program.snapshot(match mac {
            Some(mac) => SnapshotOp::NeighbourAdd(port, address, mac),
            None => SnapshotOp::NeighbourDel(port, address),
        });
    }

    /// Ends all softwires in order, for an orderly shutdown; done when [`Self::is_idle`].
    pub fn close_all(&mut self, now: Instant) {
        if let Some(routing) = &mut self.routing {
            routing.shut_down(now);
        }
        self.liveness.shut_down(now);
        self.closing = Some(false);
        let ids: Vec<_> = self.subscribers.keys().copied().collect();
        for id in ids {
            self.disconnect(now, id, Cause::AdminReboot, "shutdown");
        }
        let waiting: HashSet<PeerId> = self.close_after.values().copied().collect();
        let idle: Vec<_> = self.peers.keys().filter(|p| !waiting.contains(p)).copied().collect();
        for peer in idle {
            self.close_peer(now, peer);
        }
        self.pump(now);
    }

    /// BGP, for the driver that owns its connections; `None` where it is not configured. What comes of `change` is
    /// carried on at once.
    pub fn bgp<T>(&mut self, now: Instant, change: impl FnOnce(&mut Routing) -> T) -> Option<T> {
        let result = change(self.routing.as_mut()?);
        self.pump(now);
        Some(result)
    }

    /// No peer and no subscriber is left, and the servers know.
    pub fn is_idle(&self) -> bool {
        let quiet = self.peers.is_empty() && self.subscribers.is_empty() && self.finals.is_empty();
        quiet && self.accounting.pending() == 0
    }

    // Carries events upward until nothing moves, then takes the packets. Events come before packets, so that a table
    // change precedes the packet that makes the peer rely on it.
    fn pump(&mut self, now: Instant) {
        loop {
            if let Some(event) = self.ike.poll_event() {
                self.ike_event(now, event);
            } else if let Some(event) = self.l2tp.poll_event() {
                self.l2tp_event(now, event);
            } else if let Some((who, answer)) = self.aaa.poll(now) {
                self.aaa_answer(now, who, answer);
            } else {
                break;
            }
        }
        self.accounting.poll(now);
        if self.closing == Some(false) && self.subscribers.is_empty() && self.finals.is_empty() {
            self.closing = Some(true);
            let at = self.unix(now);
            self.accounting.stop(now, at);
        }
        self.drain_settle();
        self.pump_routes(now);
        while let Some(t) = self.ike.poll_transmit() {
            let how = Inject::Udp { peer: None, src: t.local, dst: t.remote, raw: t.keepalive, ttl: TTL };
            self.program.inject(WorkerId(0), how, t.data);
        }
        while let Some(t) = self.l2tp.poll_transmit() {
            let peer = t.binding.map(PeerId);
            let worker = t.binding.map_or(WorkerId(0), |b| self.program.allocation().worker(b.get()));
            let how = Inject::Udp { peer, src: t.local, dst: t.remote, raw: false, ttl: TTL };
            self.program.inject(worker, how, t.data);
        }
    }

    fn defer(&mut self, at: Instant, worker: WorkerId, spi: Spi) {
        self.later_key += 1;
        self.later.insert((at, self.later_key), (worker, spi));
    }
}

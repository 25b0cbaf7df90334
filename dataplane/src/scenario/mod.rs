//! Golden cases through the real worker: frames into in-memory ports, frames out of them, and every counter.
//!
//! ```text
//!   subscriber 192.0.2.9, 2001:db8:ff::9 ── port 0 (public) │ worker │ port 1 (trusted) ── 198.51.100.9, 2001:db8:1::9
//!     inside: 203.0.113.7, 2001:db8:7::/64                  │        │                     default routes
//! ```
//!
//! After each case the accounting identity must hold and no buffer may be missing.

mod bfd;
mod esp;
mod forward;
mod garbage;
mod l2tp;
mod limits;
mod mesh;
mod nat;
mod packets;
mod protected;
mod punt;
mod sums;
mod threads;
mod trace;

use crate::counter;
use crate::handoff::Handoff;
use crate::node::punt::{DEFAULT_RATES, Rates};
use crate::publish::{FibSizes, Publisher};
use crate::worker::{Parts, Worker};
use dataplane_api::{
    Action, Counters, DropReason, Inject, InjectMsg, InnerAddresses, IpPrefix, MacAddr, NextHop, OuterPath, PeerId,
    PolicyRule, PortConfig, PortId, PortRange, PuntMsg, Selector, Session, SessionId, Slot, SnapshotOp, TableOp,
    TracePacket, WorkerHandle, WorkerId, Zone, worker_channel,
};
use dpdk::sim::{self, SimQueue};
use dpdk::{Mempool, Port};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

pub const PUBLIC_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub const TRUSTED_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub const SUBSCRIBER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];
pub const CORE_MAC: [u8; 6] = [2, 0, 0, 0, 1, 9];
pub const MTU: u16 = 1406;

pub fn ip(s: &str) -> IpAddr {
    s.parse().unwrap()
}

pub fn prefix(s: &str) -> IpPrefix {
    let (a, len) = s.split_once('/').unwrap();
    IpPrefix::new(ip(a), len.parse().unwrap()).unwrap()
}

pub fn session_id(worker: u8) -> SessionId {
    SessionId::from_slot(Slot::new(WorkerId(worker), 3, 1).unwrap())
}

pub fn peer() -> PeerId {
    PeerId(std::num::NonZeroU32::new(5).unwrap())
}

/// The subscriber's session, in the clear over IPv4.
pub fn session() -> Session {
    let mut prefixes = [None; dataplane_api::session::MAX_INNER];
    prefixes[0] = Some(prefix("203.0.113.7/32"));
    prefixes[1] = Some(prefix("2001:db8:7::/64"));
    Session {
        id: session_id(0),
        peer_tunnel: 0x1111,
        peer_session: 0x2222,
        outer: OuterPath { local: "192.0.2.1:1701".parse().unwrap(), remote: "192.0.2.9:1701".parse().unwrap() },
        peer: None,
        sequencing: false,
        pfc: false,
        acfc: false,
        mtu: MTU,
        clamp_mss: true,
        inner: InnerAddresses {
            prefixes,
            link_local: Some("fe80::7".parse().unwrap()),
            local_v4: Some("203.0.113.1".parse().unwrap()),
            local_v6: Some("fe80::1".parse().unwrap()),
            ipv4: true,
            ipv6: true,
        },
        rate: dataplane_api::Rates::default(),
        filter: None,
    }
}

/// Ports, routes, neighbours and an SPD that lets clear L2TP pass.
pub fn world(l2tp: Action) -> Vec<SnapshotOp> {
    let port = |n, mac, zone, addresses: &[&str]| {
        SnapshotOp::Port(PortConfig {
            port: PortId(n),
            mac: MacAddr(mac),
            mtu: 1500,
            vlan: None,
            zone,
            addresses: addresses.iter().map(|a| (ip(a), if a.contains(':') { 64 } else { 24 })).collect(),
        })
    };
    let route = |p: &str, hop| SnapshotOp::RouteAdd(prefix(p), vec![hop]);
    let rule = |protocol, port, action| PolicyRule {
        selector: Selector { protocol, local_port: port, ..Selector::ANY },
        action,
    };
    let (public, trusted) = (PortId(0), PortId(1));
    vec![
        port(0, PUBLIC_MAC, Zone::Public, &["192.0.2.1", "2001:db8:ff::1"]),
        port(1, TRUSTED_MAC, Zone::Trusted, &["198.51.100.1", "2001:db8:1::1"]),
        route("192.0.2.0/24", NextHop::Connected(public)),
        route("2001:db8:ff::/64", NextHop::Connected(public)),
        route("198.51.100.0/24", NextHop::Connected(trusted)),
        route("2001:db8:1::/64", NextHop::Connected(trusted)),
        route("0.0.0.0/0", NextHop::Via(trusted, ip("198.51.100.9"))),
        route("::/0", NextHop::Via(trusted, ip("2001:db8:1::9"))),
        route("10.66.0.0/16", NextHop::Blackhole),
        route("10.67.0.0/16", NextHop::Unreachable),
        route("203.0.113.1/32", NextHop::Local),
        route("203.0.113.7/32", NextHop::Session(session_id(0))),
        route("2001:db8:7::/64", NextHop::Session(session_id(0))),
        SnapshotOp::NeighbourAdd(public, ip("192.0.2.9"), MacAddr(SUBSCRIBER_MAC)),
        SnapshotOp::NeighbourAdd(public, ip("2001:db8:ff::9"), MacAddr(SUBSCRIBER_MAC)),
        SnapshotOp::NeighbourAdd(trusted, ip("198.51.100.9"), MacAddr(CORE_MAC)),
        SnapshotOp::NeighbourAdd(trusted, ip("2001:db8:1::9"), MacAddr(CORE_MAC)),
        SnapshotOp::Policy(vec![
            rule(17, PortRange::one(500), Action::Bypass),
            rule(17, PortRange::one(4500), Action::Bypass),
            rule(17, PortRange::one(1701), l2tp),
            rule(1, PortRange::ANY, Action::Bypass),
            rule(58, PortRange::ANY, Action::Bypass),
            rule(0, PortRange::ANY, Action::Discard),
        ]),
    ]
}

/// Frames for the host stack beyond the 16th are policed for a second: no case takes that long.
fn rates() -> Rates {
    let mut rates = DEFAULT_RATES;
    rates[dataplane_api::PuntClass::Host as usize] = (1, 16);
    rates
}

/// Pools live as long as the process: one for all cases, which take turns.
fn pools() -> (Mempool, Mempool) {
    static POOLS: OnceLock<(Mempool, Mempool)> = OnceLock::new();
    *POOLS.get_or_init(|| {
        sim::eal().unwrap();
        (sim::test_pool("scenario", 2047).unwrap(), Mempool::new("scenario-large", 63, 0, 16 * 1024, None).unwrap())
    })
}

/// The forwarding tables are large; cases take turns with them.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Workers that are polled by hand, and everything around them.
pub struct Bench {
    pub workers: Vec<Worker>,
    pub handles: Vec<WorkerHandle>,
    pub publisher: Publisher,
    pub pool: Mempool,
    pub large: Mempool,
    far: Vec<Vec<SimQueue>>,
    seq: u64,
    /// The workers' clock: it stands still unless a case moves it.
    pub now: Instant,
    ports: Vec<Port>,
    _turn: MutexGuard<'static, ()>,
}

/// More than the second-level cache holds ([`crate::sad::Sad::large`]).
const SAS: usize = 2048;

impl Bench {
    /// One worker with the clear session.
    pub fn new() -> Self {
        let mut b = Self::with(1, Action::Bypass, 64);
        b.op(0, TableOp::SessionAdd(session()));
        b
    }

    pub fn with(workers: usize, l2tp: Action, depth: usize) -> Self {
        Self::with_rates(workers, l2tp, depth, rates())
    }

    pub fn with_rates(workers: usize, l2tp: Action, depth: usize, rates: Rates) -> Self {
        Self::build(workers, l2tp, depth, rates, None)
    }

    /// One worker with the clear session, whose public port is another device.
    pub fn over(devargs: &str) -> Self {
        let mut b = Self::build(1, Action::Bypass, 64, rates(), Some(devargs));
        b.op(0, TableOp::SessionAdd(session()));
        b
    }

    fn build(workers: usize, l2tp: Action, depth: usize, rates: Rates, public: Option<&str>) -> Self {
        let turn = turn();
        let (pool, large) = pools();
        let sizes = FibSizes { routes_v4: 256, blocks_v4: 64, routes_v6: 256, blocks_v6: 256 };
        let mut publisher = Publisher::new(2, sizes);
        let (mut far, mut ports) = (Vec::new(), Vec::new());
        let mut queues: Vec<Vec<_>> = (0..workers).map(|_| Vec::new()).collect();
        for (name, device) in [("sc-public", public), ("sc-trusted", None)] {
            let (mut port, queue) = match device {
                Some(devargs) => (Port::attach(devargs).unwrap(), Vec::new()),
                None => sim::port(name, workers as u16, 127).unwrap(),
            };
            for (worker, pair) in queues.iter_mut().zip(sim::start(&mut port, workers as u16, &pool).unwrap()) {
                worker.push(pair);
            }
            far.push(queue);
            ports.push(port);
        }
        let (mut made, mut handles) = (Vec::new(), Vec::new());
        for (n, (queues, handoff)) in queues.into_iter().zip(Handoff::mesh(workers, depth)).enumerate() {
            let counters = Arc::new(Counters::new(16, SAS));
            let (handle, port) = worker_channel(WorkerId(n as u8), depth, counters);
            let shared = publisher.shared();
            let parts = Parts { port, queues, pool, large, shared, handoff, rates, sessions: 16, sas: SAS };
            made.push(Worker::new(parts).unwrap());
            handles.push(handle);
        }
        assert!(publisher.apply(&world(l2tp)).unwrap().is_empty());
        let now = Instant::now();
        let mut b = Self { workers: made, handles, publisher, pool, large, far, seq: 0, now, ports, _turn: turn };
        b.poll();
        assert!(b.publisher.quiescent());
        b
    }

    pub fn op(&mut self, worker: usize, op: TableOp) {
        self.seq += 1;
        self.handles[worker].ops.push((self.seq, op)).unwrap();
        self.poll();
        let c = &self.handles[worker].counters.worker;
        assert_eq!((c.applied.load(std::sync::atomic::Ordering::Relaxed), c.ops_refused.get()), (self.seq, 0));
    }

    pub fn publish(&mut self, ops: &[SnapshotOp]) {
        self.poll();
        assert!(self.publisher.quiescent());
        assert!(self.publisher.apply(ops).unwrap().is_empty());
        self.poll();
    }

    /// Until nobody has anything to do.
    pub fn poll(&mut self) {
        for _ in 0..20 {
            let n: usize = self.workers.iter_mut().map(|w| w.poll_at(self.now)).sum();
            if n == 0 {
                return;
            }
        }
        panic!("the workers do not come to rest");
    }

    /// Puts a frame into a port's queue of a worker.
    pub fn push(&mut self, worker: usize, port: usize, frame: &[u8]) {
        let mbuf = self.pool.alloc_with(frame).unwrap();
        assert!(self.far[port][worker].push(mbuf).is_ok());
    }

    pub fn inject(&mut self, how: Inject, data: &[u8]) {
        self.handles[0].inject.push(InjectMsg { after: 0, how, data: data.to_vec() }).unwrap();
    }

    /// A port's Ethernet address.
    pub fn mac(&self, port: usize) -> MacAddr {
        MacAddr(self.ports[port].mac().unwrap())
    }

    /// Frames that left a port.
    pub fn sent(&mut self, port: usize) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        for queue in &mut self.far[port] {
            while let Some(mbuf) = queue.pop() {
                frames.push(mbuf.data().to_vec());
            }
        }
        frames
    }

    /// Sends a frame through worker 0 and gives what left the ports.
    pub fn through(&mut self, port: usize, frame: &[u8]) -> [Vec<Vec<u8>>; 2] {
        self.push(0, port, frame);
        self.poll();
        self.balance();
        [self.sent(0), self.sent(1)]
    }

    /// The only frame that leaves, and by which port.
    pub fn one_through(&mut self, from: usize, frame: &[u8], to: usize) -> Vec<u8> {
        let before = self.drops();
        let mut out = self.through(from, frame);
        assert_eq!(self.drops(), before, "dropped");
        assert_eq!(out[1 - to], Vec::<Vec<u8>>::new());
        assert_eq!(out[to].len(), 1);
        out[to].remove(0)
    }

    /// The frame is dropped for this reason and nothing else happens.
    pub fn refused(&mut self, port: usize, frame: &[u8], reason: DropReason) {
        let before = self.drops();
        let out = self.through(port, frame);
        assert_eq!(out.iter().map(Vec::len).sum::<usize>(), 0, "{reason:?}: something was sent");
        assert_eq!(self.punts().len(), 0, "{reason:?}: something was punted");
        self.dropped_since(&before, reason);
    }

    /// One more drop, for this reason.
    pub fn dropped_since(&self, before: &[(DropReason, u64)], reason: DropReason) {
        let new: Vec<_> = self
            .drops()
            .into_iter()
            .filter_map(|(r, n)| {
                let old = before.iter().find(|b| b.0 == r).map_or(0, |b| b.1);
                (n > old).then(|| (r, n - old))
            })
            .collect();
        assert_eq!(new, [(reason, 1)]);
    }

    pub fn punts(&mut self) -> Vec<PuntMsg> {
        let mut all = Vec::new();
        for h in &mut self.handles {
            while let Ok(m) = h.punt.pop() {
                all.push(PuntMsg { meta: m.meta, data: m.data.clone() });
                h.punt_free.push(m.data).unwrap();
            }
        }
        all
    }

    /// What was traced, all workers.
    pub fn traced(&mut self) -> Vec<TracePacket> {
        let mut all = Vec::new();
        for h in &mut self.handles {
            while h.next_traced(|packet| all.push(packet.clone())) {}
        }
        all
    }

    /// What was dropped, all workers.
    pub fn drops(&self) -> Vec<(DropReason, u64)> {
        let all = |&r: &DropReason| (r, self.handles.iter().map(|h| h.counters.worker.dropped(r)).sum());
        DropReason::ALL.iter().map(all).filter(|d: &(_, u64)| d.1 > 0).collect()
    }

    /// Every packet is accounted for and every buffer is back.
    pub fn balance(&mut self) {
        for w in &self.workers {
            let c = w.counters();
            assert_eq!(counter::arrived(c), counter::departed(c) + w.in_flight(), "{c:?}");
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.poll();
        self.balance();
        self.sent(0);
        self.sent(1);
        self.workers.clear();
        self.ports.clear();
        assert_eq!((self.pool.in_use(), self.large.in_use()), (0, 0), "buffers leaked");
    }
}

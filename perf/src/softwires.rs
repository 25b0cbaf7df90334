//! `softwires`: what a packet costs one worker that encapsulates it into a softwire of the mesh, or takes it out.
//!
//! ```text
//!   encap:  island port ─► forward ─► encap ( ─► ESP ) ─► core port
//!   decap:  core port ( ─► ESP ) ─► decap, strict ─► forward ─► island port
//! ```
//!
//! Measured as in `l2tp`. The size is that of the inner packet; IMIX is 7 of 64, 4 of 576 and 1 of 1,420 octets. The packets
//! go to each softwire in turn. ESP is AES-GCM-128 in transport mode.

use crate::frame::{FAR, NEAR, datagram, framed, packet};
use anyhow::{Context, ensure};
use dataplane::handoff::Handoff;
use dataplane::node::punt::DEFAULT_RATES;
use dataplane::publish::{FibSizes, Publisher};
use dataplane::worker::{Parts, Worker};
use dataplane_api::softwire::{Protection, TooBig};
use dataplane_api::{
    Action, Cipher, Counters, EspKey, EspSuite, Integrity, IpPrefix, Lifetime, MacAddr, Mode, NextHop, PeerId,
    PolicyRule, PortConfig, PortId, SaIn, SaOut, SaOutId, Selector, Slot, SnapshotOp, Softwire, SoftwireId, Spi,
    TableOp, WorkerHandle, WorkerId, Zone, worker_channel,
};
use dpdk::sim::{self, SimQueue};
use dpdk::{Burst, Mempool, Port};
use ipsec_mb::Manager;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use wire::ip;

/// Octets of inner packets, in turn.
const SIZES: [(&str, &[usize]); 3] =
    [("64", &[64]), ("1420", &[1420]), ("IMIX", &[64, 576, 64, 64, 576, 64, 1420, 64, 576, 64, 576, 64])];
const SOFTWIRES: [usize; 2] = [1, 1000];
const ROUNDS: usize = 9;
/// Packets per round.
const PACKETS: usize = 64 * 256;

const CORE: PortId = PortId(0);
const ISLAND: PortId = PortId(1);

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Into softwires.
    Encap,
    /// Out of them.
    Decap,
}

/// The family of outer packets; the inner ones are of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Core {
    /// IPv6 in IPv4.
    V4,
    /// IPv4 in IPv6.
    V6,
}

impl Core {
    fn local(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(192, 0, 2, 1).into(),
            Self::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 1).into(),
        }
    }

    /// The n-th AFBR.
    fn afbr(self, n: usize) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::from_bits(0xc612_0001 + n as u32).into(),
            Self::V6 => Ipv6Addr::from_bits((0x2001_0db8_00f2_u128 << 80) + 1 + n as u128).into(),
        }
    }

    fn router(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(192, 0, 2, 9).into(),
            Self::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 9).into(),
        }
    }

    /// A host behind the n-th AFBR.
    fn there(self, n: usize) -> IpAddr {
        match self {
            Self::V4 => Ipv6Addr::from_bits((0x2001_0db8_0100_u128 << 80) | (n as u128) << 64 | 1).into(),
            Self::V6 => Ipv4Addr::from_bits(0x0a00_0001 | (n as u32) << 8).into(),
        }
    }

    /// A host of our island.
    fn here(self) -> IpAddr {
        match self {
            Self::V4 => Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 2).into(),
            Self::V6 => Ipv4Addr::new(172, 16, 0, 2).into(),
        }
    }

    fn protocol(self) -> u8 {
        if self == Self::V4 { ip::IPV6 } else { ip::IPIP }
    }
}

/// Measures.
pub fn run() -> anyhow::Result<()> {
    let _lcore = dpdk::lcore::register()?;
    if dpdk::lcore::pin(1).is_err() {
        eprintln!("there is no core 1: not pinned");
    }
    let hz = dpdk::lcore::tsc_hz()? as f64;
    println!("TSC {:.2} GHz, {ROUNDS} rounds of {PACKETS} packets; min / median / max", hz / 1e9);
    println!(
        "{:<8} {:<5} {:>9} {:<6} {:>6}   {:>27}   {:>6}",
        "", "", "softwires", "", "octets", "ticks per packet", "Mpps"
    );
    let pools = (Mempool::new("softwires", 8191, 256, 2048, None)?, Mempool::new("large", 63, 0, 16 * 1024, None)?);
    for (core, form) in [(Core::V6, "4-in-6"), (Core::V4, "6-in-4")] {
        for (esp, with) in [(false, "clear"), (true, "ESP")] {
            for n in SOFTWIRES {
                let mut bed = Bed::new(&format!("{form}{with}{n}"), pools, core, esp, n)?;
                for direction in [Direction::Encap, Direction::Decap] {
                    for (size, octets) in SIZES {
                        let mut ticks = Vec::with_capacity(ROUNDS);
                        for _ in 0..ROUNDS {
                            ticks.push(bed.round(direction, octets, PACKETS)? as f64 / PACKETS as f64);
                        }
                        ticks.sort_by(f64::total_cmp);
                        let (least, median, most) = (ticks[0], ticks[ROUNDS / 2], ticks[ROUNDS - 1]);
                        let name = if direction == Direction::Encap { "encap" } else { "decap" };
                        println!(
                            "{form:<8} {with:<5} {n:>9} {name:<6} {size:>6}   {least:>7.0} / {median:>7.0} / {most:>7.0}   {:>6.2}",
                            hz / median / 1e6
                        );
                    }
                }
            }
        }
    }
    Ok(())
}

/// A worker with softwires, and the other AFBRs' ends of their SAs.
pub struct Bed {
    worker: Worker,
    handle: WorkerHandle,
    pool: Mempool,
    far: Vec<SimQueue>,
    core: Core,
    softwires: usize,
    afbrs: Vec<esp::SaOut>,
    manager: Manager,
    next: usize,
    /// Hosts on the other side, instead of one behind each AFBR.
    pub destinations: Vec<IpAddr>,
    /// What the worker reads.
    pub publisher: Option<Publisher>,
    _ports: Vec<Port>,
}

fn slot(i: usize) -> Option<Slot> {
    Slot::new(WorkerId(0), i as u32, 1)
}

fn peer(i: usize) -> Option<PeerId> {
    Some(PeerId(NonZeroU32::new(i as u32 + 1)?))
}

impl Bed {
    /// With `n` softwires.
    pub fn new(name: &str, pools: (Mempool, Mempool), core: Core, esp: bool, n: usize) -> anyhow::Result<Self> {
        let (pool, large) = pools;
        let sizes = FibSizes { routes_v4: 1 << 20, blocks_v4: 1 << 20, routes_v6: 1 << 20, blocks_v6: 1 << 20 };
        let mut publisher = Publisher::new(2, sizes);
        let (mut far, mut ports, mut queues) = (Vec::new(), Vec::new(), Vec::new());
        for side in ["c", "i"] {
            let (mut port, queue) = sim::port(&format!("{name}{side}"), 1, 127)?;
            queues.extend(sim::start(&mut port, 1, &pool)?);
            far.extend(queue);
            ports.push(port);
        }
        let (handle, port) = worker_channel(WorkerId(0), 4096, Arc::new(Counters::new(1, n)));
        let handoff = Handoff::mesh(1, 16).pop().context("one worker")?;
        let shared = publisher.shared();
        let parts = Parts { port, queues, pool, large, shared, handoff, rates: DEFAULT_RATES, sessions: 1, sas: n };
        let errors = publisher.apply(&world(core, esp, n)?).context("workers read the tables already")?;
        ensure!(errors.is_empty(), "{errors:?}");
        let (worker, manager) = (Worker::new(parts)?, Manager::new().map_err(|e| anyhow::anyhow!("{e}"))?);
        let mut bed = Self {
            worker,
            handle,
            pool,
            far,
            core,
            softwires: n,
            afbrs: Vec::new(),
            manager,
            next: 0,
            destinations: Vec::new(),
            publisher: Some(publisher),
            _ports: ports,
        };
        for i in 0..if esp { n } else { 0 } {
            bed.protect(i).context("SAs")?;
        }
        let refused = bed.handle.counters.worker.ops_refused.get();
        ensure!(refused == 0, "{refused} table changes were refused");
        Ok(bed)
    }

    fn protect(&mut self, i: usize) -> Option<()> {
        let (slot, peer) = (slot(i)?, peer(i)?);
        let suite = EspSuite::new(Cipher::AesGcm128, Integrity::None)?;
        let key = |direction: u8| {
            let mut bytes = [direction; 20];
            bytes[..4].copy_from_slice(&(i as u32).to_be_bytes());
            EspKey::new(suite, &bytes)
        };
        let selector = Selector { protocol: self.core.protocol(), ..Selector::ANY };
        let (local, remote, spi) = (self.core.local(), self.core.afbr(i), Spi::from_slot(slot));
        let (mode, lifetime) = (Mode::Transport, Lifetime::default());
        let sa_out = |spi, key, local, remote| SaOut {
            id: SaOutId(slot),
            spi,
            peer,
            suite,
            key,
            esn: true,
            mode,
            local,
            remote,
            encap: None,
            selector,
            lifetime,
        };
        let ours = sa_out(0x1000 + i as u32, key(2)?, local, remote);
        // The AFBR seals what our inbound SA opens.
        let theirs = SaOut { selector: Selector::ANY, ..sa_out(spi.0, key(1)?, remote, local) };
        let sa_in = SaIn {
            spi,
            peer,
            suite,
            key: key(1)?,
            esn: true,
            replay_window: 64,
            mode,
            local,
            remote,
            encap: None,
            selector,
            lifetime,
        };
        self.afbrs.push(esp::SaOut::new(&self.manager, &theirs)?);
        let select = TableOp::PeerSelect { peer, sa: Some(SaOutId(slot)) };
        for op in [TableOp::SaInAdd(sa_in), TableOp::SaOutAdd(ours), select] {
            self.handle.ops.push((1, op)).ok()?;
        }
        while self.worker.poll() > 0 {}
        Some(())
    }

    /// Sends `count` packets of these sizes through and gives the ticks that the worker's polls took. Fails unless every
    /// single one comes out.
    pub fn round(&mut self, direction: Direction, sizes: &[usize], count: usize) -> anyhow::Result<u64> {
        let (from, to) = if direction == Direction::Encap { (ISLAND, CORE) } else { (CORE, ISLAND) };
        let (mut ticks, mut arrived, mut burst) = (0, 0, Burst::new());
        for _ in 0..count / Burst::CAPACITY {
            for _ in 0..Burst::CAPACITY {
                self.next += 1;
                let frame = self.frame(direction, self.next, sizes[self.next % sizes.len()])?;
                let mbuf = self.pool.alloc_with(&frame).context("no buffer")?;
                ensure!(self.far[usize::from(from.0)].push(mbuf).is_ok(), "the ring is full");
            }
            let start = dpdk::lcore::tsc();
            self.worker.poll();
            ticks += dpdk::lcore::tsc() - start;
            arrived += self.far[usize::from(to.0)].pop_burst(&mut burst);
            drop(burst.drain());
            while self.handle.events.pop().is_ok() {}
        }
        ensure!(arrived == count, "{arrived} of {count} packets came out: {:?}", self.drops());
        Ok(ticks)
    }

    /// Lets the worker look around, at new tables among others.
    pub fn poll(&mut self) {
        self.worker.poll();
    }

    /// The n-th packet.
    fn frame(&mut self, direction: Direction, n: usize, size: usize) -> anyhow::Result<Vec<u8>> {
        let (core, i) = (self.core, n % self.softwires);
        if direction == Direction::Encap {
            let to = self.destinations.get(n % self.destinations.len().max(1)).copied();
            return Ok(framed(&datagram(core.here(), to.unwrap_or(core.there(i)), size)));
        }
        let mut data = datagram(core.there(i), core.here(), size);
        let mut protocol = core.protocol();
        if let Some(sa) = self.afbrs.get_mut(i) {
            esp::seal(&mut self.manager, sa, protocol, &mut data).map_err(|r| anyhow::anyhow!("{}", r.name()))?;
            protocol = ip::ESP;
        }
        Ok(framed(&packet(core.afbr(i), core.local(), protocol, &data)))
    }

    fn drops(&self) -> Vec<(&'static str, u64)> {
        let c = &self.handle.counters.worker;
        let all = dataplane_api::DropReason::ALL.iter().map(|r| (r.name(), c.dropped(*r)));
        all.filter(|d| d.1 > 0).collect()
    }
}

fn world(core: Core, esp: bool, n: usize) -> anyhow::Result<Vec<SnapshotOp>> {
    let port = |id: PortId, zone, address: IpAddr| {
        let addresses = vec![(address, if address.is_ipv4() { 24 } else { 64 })];
        SnapshotOp::Port(PortConfig { port: id, mac: MacAddr(NEAR), mtu: 1500, vlan: None, zone, addresses })
    };
    let route = |address: IpAddr, len, hop| -> anyhow::Result<_> {
        Ok(SnapshotOp::RouteAdd(IpPrefix::new(address, len).context("prefix")?, vec![hop]))
    };
    let (net, inner) = if core == Core::V4 { (15, 64) } else { (48, 24) };
    let ours = match core.here() {
        IpAddr::V4(a) => IpAddr::V4(Ipv4Addr::from_bits(a.to_bits() - 1)),
        IpAddr::V6(a) => IpAddr::V6(Ipv6Addr::from_bits(a.to_bits() - 1)),
    };
    let mut ops = vec![
        port(CORE, Zone::Public, core.local()),
        port(ISLAND, Zone::Trusted, ours),
        route(core.local(), if core == Core::V4 { 24 } else { 64 }, NextHop::Connected(CORE))?,
        route(core.afbr(0), net, NextHop::Via(CORE, core.router()))?,
        route(ours, inner, NextHop::Connected(ISLAND))?,
        SnapshotOp::NeighbourAdd(CORE, core.router(), MacAddr(FAR)),
        SnapshotOp::NeighbourAdd(ISLAND, core.here(), MacAddr(FAR)),
        SnapshotOp::Policy(vec![PolicyRule { selector: Selector::ANY, action: Action::Discard }]),
    ];
    for i in 0..n {
        let id = SoftwireId(i as u16);
        let owner = peer(i).map(|p| (p, WorkerId(0)));
        ops.push(SnapshotOp::SoftwireSet(Softwire {
            id,
            local: core.local(),
            remote: core.afbr(i),
            mtu: 1420,
            path_mtu: 1500,
            hop_limit: 64,
            dscp: None,
            too_big: TooBig::Inner,
            protection: if esp { Protection::Esp(owner) } else { Protection::Clear },
            bfd: false,
            dead: false,
            strict: true,
        }));
        ops.push(route(core.there(i), inner, NextHop::Softwire(id))?);
    }
    Ok(ops)
}

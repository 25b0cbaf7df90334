//! `l2tp`: what a packet costs one worker, from an in-memory port to an in-memory port.
//!
//! ```text
//!   out:  core port ─► forward ─► L2TP, PPP ─► ESP ─► access port        (towards the subscriber)
//!   in:   access port ─► ESP ─► L2TP, PPP ─► forward ─► core port        (from the subscriber)
//! ```
//!
//! The whole [`Worker::poll`] is timed by the TSC, bursts of 64, receive and transmit over `net_ring` included; making
//! packets and freeing what was sent is not. AES-GCM-128 in transport mode, IPv6 inside, IPv4 outside; the size is that of
//! the inner packet. Each line is the minimum, median and maximum of the rounds. Pinned to core 1 where there is one.

use crate::frame::{FAR, NEAR, datagram, framed, packet};
use anyhow::{Context, ensure};
use dataplane::handoff::Handoff;
use dataplane::node::punt::DEFAULT_RATES;
use dataplane::publish::{FibSizes, Publisher};
use dataplane::worker::{Parts, Worker};
use dataplane_api::{
    Action, Cipher, Counters, EspKey, EspSuite, InnerAddresses, Integrity, IpPrefix, Lifetime, MacAddr, Mode, NextHop,
    OuterPath, PeerId, PolicyRule, PortConfig, PortId, PortRange, SaIn, SaOut, SaOutId, Selector, Session, SessionId,
    Slot, SnapshotOp, Spi, TableOp, WorkerHandle, WorkerId, Zone, worker_channel,
};
use dpdk::sim::{self, SimQueue};
use dpdk::{Burst, Mempool, Port};
use ipsec_mb::Manager;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use wire::{ip, l2tp, udp};

const SIZES: [usize; 3] = [64, 512, 1420];
const SESSIONS: [usize; 2] = [1, 1000];
const ROUNDS: usize = 9;
/// Packets per round.
const PACKETS: usize = 64 * 256;

/// Measures.
pub fn run() -> anyhow::Result<()> {
    let _lcore = dpdk::lcore::register()?;
    if dpdk::lcore::pin(1).is_err() {
        eprintln!("there is no core 1: not pinned");
    }
    let hz = dpdk::lcore::tsc_hz()? as f64;
    println!("TSC {:.2} GHz, {ROUNDS} rounds of {PACKETS} packets; min / median / max", hz / 1e9);
    println!("{:>4} {:>8} {:>6}   {:>27}   {:>6} {:>6}", "", "sessions", "octets", "ticks per packet", "Mpps", "Gbps");
    for sessions in SESSIONS {
        let mut bed = Bed::new(sessions)?;
        for direction in [Direction::Out, Direction::In] {
            for size in SIZES {
                let mut ticks = Vec::with_capacity(ROUNDS);
                for _ in 0..ROUNDS {
                    ticks.push(bed.round(direction, size, PACKETS)? as f64 / PACKETS as f64);
                }
                ticks.sort_by(f64::total_cmp);
                let median = ticks[ROUNDS / 2];
                let mpps = hz / median / 1e6;
                println!(
                    "{:>4} {sessions:>8} {size:>6}   {:>7.0} / {median:>7.0} / {:>7.0}   {mpps:>6.2} {:>6.2}",
                    if direction == Direction::Out { "out" } else { "in" },
                    ticks[0],
                    ticks[ROUNDS - 1],
                    mpps * size as f64 * 8.0 / 1e3,
                );
            }
        }
    }
    Ok(())
}

/// Which way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Towards the subscribers.
    Out,
    /// From them.
    In,
}

const ACCESS: PortId = PortId(0);
const CORE: PortId = PortId(1);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const SUBSCRIBER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
const SERVER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 2);

/// See the module.
pub struct Bed {
    worker: Worker,
    handle: WorkerHandle,
    pool: Mempool,
    far: Vec<SimQueue>,
    subscribers: Vec<esp::SaOut>,
    manager: Manager,
    next: usize,
    _publisher: Publisher,
    _ports: Vec<Port>,
}

fn slot(i: usize) -> Option<Slot> {
    Slot::new(WorkerId(0), i as u32, 1)
}

fn inner(i: usize) -> Ipv6Addr {
    Ipv6Addr::from((0x2001_0db8_0100_u128 << 80) | ((i as u128) << 64) | 1)
}

impl Bed {
    /// With `n` sessions, each of its own peer with its own SAs.
    pub fn new(n: usize) -> anyhow::Result<Self> {
        let pool = Mempool::new(&format!("bench{n}"), 8191, 256, 2048, None)?;
        let large = Mempool::new(&format!("large{n}"), 63, 0, 16 * 1024, None)?;
        let sizes = FibSizes { routes_v4: 256, blocks_v4: 64, routes_v6: 4096, blocks_v6: 8192 };
        let mut publisher = Publisher::new(2, sizes);
        let (mut far, mut ports, mut queues) = (Vec::new(), Vec::new(), Vec::new());
        for name in ["access", "core"] {
            let (mut port, queue) = sim::port(&format!("{name}{n}"), 1, 127)?;
            queues.extend(sim::start(&mut port, 1, &pool)?);
            far.extend(queue);
            ports.push(port);
        }
        let (handle, port) = worker_channel(WorkerId(0), 4096, Arc::new(Counters::new(n, n)));
        let handoff = Handoff::mesh(1, 16).pop().context("one worker")?;
        let shared = publisher.shared();
        let parts = Parts { port, queues, pool, large, shared, handoff, rates: DEFAULT_RATES, sessions: n, sas: n };
        let errors = publisher.apply(&world(n)?).context("workers read the tables already")?;
        ensure!(errors.is_empty(), "routes do not fit: {errors:?}");
        let (worker, manager) = (Worker::new(parts)?, Manager::new().map_err(|e| anyhow::anyhow!("{e}"))?);
        let mut bed = Self {
            worker,
            handle,
            pool,
            far,
            subscribers: Vec::new(),
            manager,
            next: 0,
            _publisher: publisher,
            _ports: ports,
        };
        for i in 0..n {
            bed.add(i).context("session")?;
        }
        while bed.worker.poll() > 0 {}
        let refused = bed.handle.counters.worker.ops_refused.get();
        ensure!(refused == 0, "{refused} table changes were refused");
        Ok(bed)
    }

    fn add(&mut self, i: usize) -> Option<()> {
        let slot = slot(i)?;
        let peer = PeerId(NonZeroU32::new(i as u32 + 1)?);
        let suite = EspSuite::new(Cipher::AesGcm128, Integrity::None)?;
        let key = |direction: u8| {
            let mut bytes = [direction; 20];
            bytes[..4].copy_from_slice(&(i as u32).to_be_bytes());
            EspKey::new(suite, &bytes)
        };
        let selector = Selector { protocol: ip::UDP, local_port: PortRange::one(l2tp::PORT), ..Selector::ANY };
        let (gateway, subscriber) = (IpAddr::V4(GATEWAY), IpAddr::V4(SUBSCRIBER));
        let spi = Spi::from_slot(slot);
        let sa_in = SaIn {
            spi,
            peer,
            suite,
            key: key(1)?,
            esn: true,
            replay_window: 64,
            mode: Mode::Transport,
            local: gateway,
            remote: subscriber,
            encap: None,
            selector,
            lifetime: Lifetime::default(),
        };
        let out = |id, spi, key, local, remote| SaOut {
            id,
            spi,
            peer,
            suite,
            key,
            esn: true,
            mode: Mode::Transport,
            local,
            remote,
            encap: None,
            selector: Selector::ANY,
            lifetime: Lifetime::default(),
        };
        let id = SaOutId(slot);
        // The subscriber seals what the gateway's inbound SA opens.
        let theirs = out(id, spi.0, key(1)?, subscriber, gateway);
        self.subscribers.push(esp::SaOut::new(&self.manager, &theirs)?);
        let mut addresses = InnerAddresses { ipv6: true, ..InnerAddresses::default() };
        addresses.prefixes[0] = IpPrefix::new(inner(i).into(), 64);
        let at = |a| SocketAddr::new(a, l2tp::PORT);
        let session = Session {
            id: SessionId::from_slot(slot),
            peer_tunnel: 1,
            peer_session: 1,
            outer: OuterPath { local: at(gateway), remote: at(subscriber) },
            peer: Some(peer),
            sequencing: false,
            pfc: false,
            acfc: false,
            mtu: 1426,
            clamp_mss: true,
            inner: addresses,
        };
        let sa_out = out(id, 0x1000 + i as u32, key(2)?, gateway, subscriber);
        let ops = [
            TableOp::SaInAdd(sa_in),
            TableOp::SaOutAdd(sa_out),
            TableOp::PeerSelect { peer, sa: Some(id) },
            TableOp::SessionAdd(session),
        ];
        for op in ops {
            self.handle.ops.push((1, op)).ok()?;
        }
        // Events of first use and the like are nobody's concern here.
        while self.worker.poll() > 0 {}
        Some(())
    }

    /// Sends `count` packets of `size` octets through and gives the ticks that the worker's polls took. Fails unless
    /// every single one comes out.
    pub fn round(&mut self, direction: Direction, size: usize, count: usize) -> anyhow::Result<u64> {
        let (from, to) = if direction == Direction::Out { (CORE, ACCESS) } else { (ACCESS, CORE) };
        let (mut ticks, mut arrived, mut burst) = (0, 0, Burst::new());
        for _ in 0..count / Burst::CAPACITY {
            for _ in 0..Burst::CAPACITY {
                let i = self.next % self.subscribers.len();
                self.next += 1;
                let frame = match direction {
                    Direction::Out => framed(&datagram(SERVER.into(), inner(i).into(), size)),
                    Direction::In => self.sealed(i, size)?,
                };
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

    fn drops(&self) -> Vec<(&'static str, u64)> {
        let c = &self.handle.counters.worker;
        let all = dataplane_api::DropReason::ALL.iter().map(|r| (r.name(), c.dropped(*r)));
        all.filter(|d| d.1 > 0).collect()
    }

    // Ethernet, IPv4, ESP of UDP, L2TP, PPP and an IPv6 packet.
    fn sealed(&mut self, i: usize, size: usize) -> anyhow::Result<Vec<u8>> {
        let id = slot(i).map(SessionId::from_slot).context("slot")?;
        let mut data = vec![0; udp::HEADER + l2tp::data_len(false)];
        l2tp::emit_data(&mut data[udp::HEADER..], id.tunnel(), id.session(), None);
        data.extend_from_slice(&[0xff, 0x03, 0x00, 0x57]);
        data.extend_from_slice(&datagram(inner(i).into(), SERVER.into(), size));
        let len = data.len() as u16;
        udp::emit(&mut data, l2tp::PORT, l2tp::PORT, len);
        let sa = self.subscribers.get_mut(i).context("subscriber")?;
        esp::seal(&mut self.manager, sa, ip::UDP, &mut data).map_err(|r| anyhow::anyhow!("{}", r.name()))?;
        Ok(framed(&packet(SUBSCRIBER.into(), GATEWAY.into(), ip::ESP, &data)))
    }
}

fn world(n: usize) -> anyhow::Result<Vec<SnapshotOp>> {
    let port = |id: PortId, zone, address: IpAddr, len| {
        let (mac, addresses) = (MacAddr(NEAR), vec![(address, len)]);
        SnapshotOp::Port(PortConfig { port: id, mac, mtu: 1500, vlan: None, zone, addresses })
    };
    let route = |address: IpAddr, len, hop| -> anyhow::Result<_> {
        Ok(SnapshotOp::RouteAdd(IpPrefix::new(address, len).context("prefix")?, vec![hop]))
    };
    let core = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 1);
    let mut ops = vec![
        port(ACCESS, Zone::Public, GATEWAY.into(), 24),
        port(CORE, Zone::Trusted, core.into(), 64),
        route(GATEWAY.into(), 24, NextHop::Connected(ACCESS))?,
        route(core.into(), 64, NextHop::Connected(CORE))?,
        SnapshotOp::NeighbourAdd(ACCESS, SUBSCRIBER.into(), MacAddr(FAR)),
        SnapshotOp::NeighbourAdd(CORE, SERVER.into(), MacAddr(FAR)),
        SnapshotOp::Policy(vec![PolicyRule { selector: Selector::ANY, action: Action::Discard }]),
    ];
    for i in 0..n {
        let id = slot(i).map(SessionId::from_slot).context("slot")?;
        ops.push(route(inner(i).into(), 64, NextHop::Session(id))?);
    }
    Ok(ops)
}

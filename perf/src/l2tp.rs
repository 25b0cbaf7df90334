//! `l2tp`: what a packet costs one worker, from an in-memory port to an in-memory port.
//!
//! ```text
//!   out:  core port ─► forward ─► L2TP, PPP ─► ESP ─► access port        (towards the subscriber)
//!   in:   access port ─► ESP ─► L2TP, PPP ─► forward ─► core port        (from the subscriber)
//! ```
//!
//! Measured as `bench` says. AES-GCM-128 in transport mode, IPv6 inside, IPv4 outside; the size is that of the inner
//! packet. Each line is the minimum, median and maximum of the rounds. Pinned to core 1 where there is one.

use crate::bench::{self, Bench, PACKETS, ROUNDS, port, route, slot};
use crate::frame::{FAR, datagram, framed, packet};
use anyhow::Context;
use dataplane::publish::FibSizes;
use dataplane_api::{
    Action, InnerAddresses, IpPrefix, MacAddr, NextHop, OuterPath, PolicyRule, PortId, PortRange, Rates, Selector,
    Session, SessionId, SnapshotOp, TableOp, Zone,
};
use dpdk::Mempool;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use wire::{ip, l2tp, udp};

const SIZES: [usize; 3] = [64, 512, 1420];
const SESSIONS: [usize; 2] = [1, 1000];

/// Measures.
pub fn run() -> anyhow::Result<()> {
    let _lcore = dpdk::lcore::register()?;
    let hz = bench::clock()?;
    println!("TSC {:.2} GHz, {ROUNDS} rounds of {PACKETS} packets; min / median / max", hz / 1e9);
    println!("{:>4} {:>8} {:>6}   {:>27}   {:>6} {:>6}", "", "sessions", "octets", "ticks per packet", "Mpps", "Gbps");
    let pools = (Mempool::new("l2tp", 8191, 256, 2048, None)?, Mempool::new("large", 63, 0, 16 * 1024, None)?);
    for sessions in SESSIONS {
        let mut bed = Bed::new(pools, sessions)?;
        for direction in [Direction::Out, Direction::In] {
            for size in SIZES {
                let [least, median, most] = bench::rounds(|| bed.round(direction, size))?;
                let mpps = hz / median / 1e6;
                println!(
                    "{:>4} {sessions:>8} {size:>6}   {least:>7.0} / {median:>7.0} / {most:>7.0}   {mpps:>6.2} {:>6.2}",
                    if direction == Direction::Out { "out" } else { "in" },
                    mpps * size as f64 * 8.0 / 1e3,
                );
            }
        }
    }
    Ok(())
}

/// Which way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
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

/// Subscribers, each its own peer with its own SAs.
struct Bed {
    bench: Bench,
    subscribers: Vec<esp::SaOut>,
}

fn inner(i: usize) -> Ipv6Addr {
    Ipv6Addr::from((0x2001_0db8_0100_u128 << 80) | ((i as u128) << 64) | 1)
}

impl Bed {
    fn new(pools: (Mempool, Mempool), n: usize) -> anyhow::Result<Self> {
        let sizes = FibSizes { routes_v4: 256, blocks_v4: 64, routes_v6: 4096, blocks_v6: 8192 };
        let mut bed =
            Self { bench: Bench::new(&format!("l2tp{n}"), pools, sizes, n, &world(n)?)?, subscribers: Vec::new() };
        for i in 0..n {
            bed.add(i)?;
        }
        Ok(bed)
    }

    fn add(&mut self, i: usize) -> anyhow::Result<()> {
        let selector = Selector { protocol: ip::UDP, local_port: PortRange::one(l2tp::PORT), ..Selector::ANY };
        let (gateway, subscriber) = (IpAddr::V4(GATEWAY), IpAddr::V4(SUBSCRIBER));
        self.subscribers.push(self.bench.secure(i, gateway, subscriber, selector)?);
        let mut addresses = InnerAddresses { ipv6: true, ..InnerAddresses::default() };
        addresses.prefixes[0] = IpPrefix::new(inner(i).into(), 64);
        let at = |a| SocketAddr::new(a, l2tp::PORT);
        let session = Session {
            id: SessionId::from_slot(slot(i).context("slot")?),
            peer_tunnel: 1,
            peer_session: 1,
            outer: OuterPath { local: at(gateway), remote: at(subscriber) },
            peer: bench::peer(i),
            sequencing: false,
            pfc: false,
            acfc: false,
            mtu: 1426,
            clamp_mss: true,
            inner: addresses,
            rate: Rates::default(),
            filter: None,
        };
        self.bench.change([TableOp::SessionAdd(session)])
    }

    fn round(&mut self, direction: Direction, size: usize) -> anyhow::Result<u64> {
        let Self { bench, subscribers } = self;
        let from = if direction == Direction::Out { CORE } else { ACCESS };
        bench.round(from, PACKETS, |manager, n| {
            let i = n % subscribers.len();
            if direction == Direction::Out {
                return Ok(framed(&datagram(SERVER.into(), inner(i).into(), size)));
            }
            // Ethernet, IPv4, ESP of UDP, L2TP, PPP and an IPv6 packet.
            let id = slot(i).map(SessionId::from_slot).context("slot")?;
            let mut data = vec![0; udp::HEADER + l2tp::data_len(false)];
            l2tp::emit_data(&mut data[udp::HEADER..], id.tunnel(), id.session(), None);
            data.extend_from_slice(&[0xff, 0x03, 0x00, 0x57]);
            data.extend_from_slice(&datagram(inner(i).into(), SERVER.into(), size));
            let len = data.len() as u16;
            udp::emit(&mut data, l2tp::PORT, l2tp::PORT, len);
            bench::seal(manager, &mut subscribers[i], ip::UDP, &mut data)?;
            Ok(framed(&packet(SUBSCRIBER.into(), GATEWAY.into(), ip::ESP, &data)))
        })
    }
}

fn world(n: usize) -> anyhow::Result<Vec<SnapshotOp>> {
    let core = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 1);
    let mut ops = vec![
        port(ACCESS, Zone::Public, GATEWAY.into()),
        port(CORE, Zone::Trusted, core.into()),
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

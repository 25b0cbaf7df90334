//! `softwires`: what a packet costs one worker that encapsulates it into a softwire of the mesh, or takes it out.
//!
//! ```text
//!   encap:  island port ─► forward ─► encap ( ─► ESP ) ─► core port
//!   decap:  core port ( ─► ESP ) ─► decap, strict ─► forward ─► island port
//! ```
//!
//! Measured as in `l2tp`. The size is that of the inner packet; IMIX is 7 of 64, 4 of 576 and 1 of 1,420 octets. The packets
//! go to each softwire in turn. ESP is AES-GCM-128 in transport mode.

use crate::bench::{self, Bench, PACKETS, ROUNDS, peer, port, route};
use crate::frame::{FAR, datagram, framed, packet};
use dataplane::publish::FibSizes;
use dataplane_api::softwire::{Protection, TooBig};
use dataplane_api::{
    Action, MacAddr, NextHop, PolicyRule, PortId, Selector, SnapshotOp, Softwire, SoftwireId, WorkerId, Zone,
};
use dpdk::Mempool;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use wire::ip;

/// Octets of inner packets, in turn.
const SIZES: [(&str, &[usize]); 3] =
    [("64", &[64]), ("1420", &[1420]), ("IMIX", &[64, 576, 64, 64, 576, 64, 1420, 64, 576, 64, 576, 64])];
const SOFTWIRES: [usize; 2] = [1, 1000];

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
    let hz = bench::clock()?;
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
                        let [least, median, most] = bench::rounds(|| bed.round(direction, octets, PACKETS))?;
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

/// Softwires, and the other AFBRs' ends of their SAs.
pub struct Bed {
    /// The worker.
    pub bench: Bench,
    core: Core,
    softwires: usize,
    afbrs: Vec<esp::SaOut>,
    /// Hosts on the other side, instead of one behind each AFBR.
    pub destinations: Vec<IpAddr>,
}

impl Bed {
    /// With `n` softwires.
    pub fn new(name: &str, pools: (Mempool, Mempool), core: Core, esp: bool, n: usize) -> anyhow::Result<Self> {
        let sizes = FibSizes { routes_v4: 1 << 20, blocks_v4: 1 << 20, routes_v6: 1 << 20, blocks_v6: 1 << 20 };
        let mut bench = Bench::new(name, pools, sizes, n, &world(core, esp, n)?)?;
        let selector = Selector { protocol: core.protocol(), ..Selector::ANY };
        let secure = |i| bench.secure(i, core.local(), core.afbr(i), selector);
        let afbrs = (0..if esp { n } else { 0 }).map(secure).collect::<Result<_, _>>()?;
        Ok(Self { bench, core, softwires: n, afbrs, destinations: Vec::new() })
    }

    /// Sends `count` packets of these sizes through and gives the ticks that the worker's polls took.
    pub fn round(&mut self, direction: Direction, sizes: &[usize], count: usize) -> anyhow::Result<u64> {
        let Self { bench, core, softwires, afbrs, destinations } = self;
        let from = if direction == Direction::Encap { ISLAND } else { CORE };
        bench.round(from, count, |manager, n| {
            let (i, size) = (n % *softwires, sizes[n % sizes.len()]);
            if direction == Direction::Encap {
                let to = destinations.get(n % destinations.len().max(1)).copied();
                return Ok(framed(&datagram(core.here(), to.unwrap_or(core.there(i)), size)));
            }
            let mut data = datagram(core.there(i), core.here(), size);
            let mut protocol = core.protocol();
            if let Some(sa) = afbrs.get_mut(i) {
                bench::seal(manager, sa, protocol, &mut data)?;
                protocol = ip::ESP;
            }
            Ok(framed(&packet(core.afbr(i), core.local(), protocol, &data)))
        })
    }
}

fn world(core: Core, esp: bool, n: usize) -> anyhow::Result<Vec<SnapshotOp>> {
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
            tfc: false,
            strict: true,
        }));
        ops.push(route(core.there(i), inner, NextHop::Softwire(id))?);
    }
    Ok(ops)
}

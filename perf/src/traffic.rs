//! Subscribers who are up and whose packets a worker on core 1 carries, whatever the control plane does meanwhile.

use crate::bench::{self, Bench};
use crate::programming::{address, session};
use crate::subscribers::GATEWAY;
use crate::subscribers::network::DataPlane;
use anyhow::Context;
use dataplane::publish::FibSizes;
use dataplane_api::{
    IpPrefix, MacAddr, NextHop, OuterPath, PortId, PortRange, Selector, Session, SessionId, SnapshotOp, TableOp,
};
use dpdk::Mempool;
use fastpath::frame::{FAR, datagram, framed, packet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use wire::{ip, l2tp, udp};

const ACCESS: PortId = PortId(0);
const CORE: PortId = PortId(1);
const SERVER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 2);
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);
/// Packets between two looks at what is to be measured.
const PACKETS: usize = 64 * 16;
const SIZE: usize = 512;

/// A worker for `n` subscribers of the gateway, and `more`.
pub fn bench(name: &str, n: usize, more: usize) -> anyhow::Result<Bench> {
    let pools =
        (Mempool::new(name, 4095, 0, 2048, None)?, Mempool::new(&format!("{name}-large"), 63, 0, 16 * 1024, None)?);
    let routes = (4 * (n + more) as u32).next_power_of_two().max(1 << 16);
    let sizes = FibSizes { routes_v4: routes, blocks_v4: routes, routes_v6: routes, blocks_v6: 2 * routes };
    let world = [
        SnapshotOp::NeighbourAdd(ACCESS, ROUTER.into(), MacAddr(FAR)),
        SnapshotOp::NeighbourAdd(CORE, SERVER.into(), MacAddr(FAR)),
    ];
    Bench::new(name, pools, sizes, 2 * n + 1024 + more, &world)
}

/// See the module.
pub struct Traffic {
    bench: Bench,
    peers: Vec<(SessionId, Ipv6Addr, IpAddr, esp::SaOut)>,
}

impl Traffic {
    /// `count` of them, beside `n` that the gateway may have.
    pub fn new(n: usize, count: usize) -> anyhow::Result<(Self, DataPlane)> {
        let mut bench = bench("traffic", n, count)?;
        let selector = Selector { protocol: ip::UDP, local_port: PortRange::one(l2tp::PORT), ..Selector::ANY };
        let (mut peers, mut routes) = (Vec::new(), Vec::new());
        for i in 2 * n + 1024..2 * n + 1024 + count {
            let outer = IpAddr::V4(Ipv4Addr::from_bits(Ipv4Addr::new(203, 0, 113, 0).to_bits() + (i % 256) as u32));
            let sa = bench.secure(i, GATEWAY.into(), outer, selector)?;
            let path = OuterPath { local: (GATEWAY, l2tp::PORT).into(), remote: (outer, l2tp::PORT).into() };
            let session = Session { outer: path, ..session(i)? };
            bench.change([TableOp::SessionAdd(session)])?;
            let prefix = IpPrefix::new(address(i).into(), 64).context("prefix")?;
            routes.push(SnapshotOp::RouteAdd(prefix, vec![NextHop::Session(session.id)]));
            peers.push((session.id, address(i), outer, sa));
        }
        let mut dataplane = DataPlane::of(&mut bench)?;
        dataplane.publisher.apply(&routes).context("workers read the tables already")?;
        Ok((Self { bench, peers }, dataplane))
    }

    /// On core 1: lets the worker look around in phase 0, and carries packets both ways in the phases after that for which there
    /// is a place. The ticks of a packet in each of them.
    pub fn run(mut self, phase: &AtomicUsize) -> anyhow::Result<[Vec<f64>; 3]> {
        let _lcore = dpdk::lcore::register()?;
        bench::clock()?;
        let (mut ticks, mut turn): ([Vec<f64>; 3], usize) = Default::default();
        loop {
            let Some(measured) = phase.load(Relaxed).checked_sub(1) else {
                self.bench.poll();
                continue;
            };
            let Some(ticks) = ticks.get_mut(measured) else { break };
            turn += 1;
            let spent = if turn % 2 == 0 { self.down() } else { self.up() };
            ticks.push(spent? as f64 / PACKETS as f64);
        }
        Ok(ticks)
    }

    fn down(&mut self) -> anyhow::Result<u64> {
        let Self { bench, peers } = self;
        bench.round(CORE, PACKETS, |_, n| {
            Ok(framed(&datagram(SERVER.into(), peers[n % peers.len()].1.into(), 4000, SIZE)))
        })
    }

    fn up(&mut self) -> anyhow::Result<u64> {
        let Self { bench, peers } = self;
        bench.round(ACCESS, PACKETS, |manager, n| {
            let at = n % peers.len();
            let (id, own, outer, sa) = &mut peers[at];
            sealed(manager, sa, *id, *outer, &datagram((*own).into(), SERVER.into(), 4000, SIZE))
        })
    }
}

/// Ethernet, IPv4, ESP of UDP, L2TP, PPP and an IPv6 packet.
pub fn sealed(
    manager: &mut ipsec_mb::Manager,
    sa: &mut esp::SaOut,
    id: SessionId,
    outer: IpAddr,
    inner: &[u8],
) -> anyhow::Result<Vec<u8>> {
    let mut data = vec![0; udp::HEADER + l2tp::data_len(false)];
    l2tp::emit_data(&mut data[udp::HEADER..], id.tunnel(), id.session(), None);
    data.extend_from_slice(&[0xff, 0x03, 0x00, 0x57]);
    data.extend_from_slice(inner);
    let len = data.len() as u16;
    udp::emit(&mut data, l2tp::PORT, l2tp::PORT, len);
    bench::seal(manager, sa, ip::UDP, &mut data)?;
    Ok(framed(&packet(outer, GATEWAY.into(), ip::ESP, &data)))
}

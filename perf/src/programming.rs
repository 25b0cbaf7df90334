//! `tables`: how many changes a second a worker takes from its ring, and how many the publisher makes of what all workers
//! share, each publication used by the worker before the next.

use crate::bench::{self, Bench};
use crate::clock::spread;
use anyhow::{Context, ensure};
use dataplane::publish::FibSizes;
use dataplane_api::softwire::{Protection, TooBig};
use dataplane_api::{
    InnerAddresses, IpPrefix, NextHop, OuterPath, PortRange, Rates, Selector, Session, SessionId, SnapshotOp, Softwire,
    SoftwireId, TableOp,
};
use dpdk::Mempool;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;
use wire::{ip, l2tp};

const ROUNDS: usize = 9;
const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const SUBSCRIBER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9));
/// Changes that are published together.
const BATCHES: [usize; 4] = [1, 16, 256, 2048];
const SOFTWIRES: usize = 1000;

/// Measures with `n` sessions and pairs of SAs.
pub fn run(n: usize) -> anyhow::Result<()> {
    let _lcore = dpdk::lcore::register()?;
    let hz = bench::clock()?;
    let pools = (Mempool::new("tables", 2047, 0, 2048, None)?, Mempool::new("tables-large", 63, 0, 16 * 1024, None)?);
    let room = 1 << 17;
    let sizes = FibSizes { routes_v4: room, blocks_v4: room, routes_v6: room, blocks_v6: 1 << 18 };
    let mut bench = Bench::new("tables", pools, sizes, n, &[])?;
    println!("{n} sessions and pairs of SAs, {ROUNDS} rounds; changes a second: min / median / max");
    let mut rates: [Vec<f64>; 5] = Default::default();
    for _ in 0..ROUNDS {
        for (rates, ops) in rates.iter_mut().zip(worker_ops(n)?) {
            let count = ops.len() as f64;
            rates.push(count * hz / bench.change(ops)? as f64);
        }
    }
    for (what, rates) in
        ["SAs added", "sessions added", "sessions changed", "sessions deleted", "SAs deleted"].iter().zip(rates)
    {
        let [least, median, most] = spread(rates);
        println!("{what:<20} {least:>10.0} / {median:>10.0} / {most:>10.0}");
    }
    publish(&mut bench, n)
}

/// Of all peers, in the order in which they are made.
fn worker_ops(n: usize) -> anyhow::Result<[Vec<TableOp>; 5]> {
    let mut ops: [Vec<TableOp>; 5] = Default::default();
    let selector = Selector { protocol: ip::UDP, local_port: PortRange::one(l2tp::PORT), ..Selector::ANY };
    for i in 0..n {
        let (inbound, outbound, _) = bench::sas(i, GATEWAY, SUBSCRIBER, selector)?;
        let session = session(i)?;
        let changed = Session { mtu: 1300, ..session };
        let (peer, id, spi) = (outbound.peer, outbound.id, inbound.spi);
        ops[4].extend([TableOp::PeerSelect { peer, sa: None }, TableOp::SaOutDel(id), TableOp::SaInDel(spi)]);
        let select = TableOp::PeerSelect { peer, sa: Some(id) };
        ops[0].extend([TableOp::SaInAdd(inbound), TableOp::SaOutAdd(outbound), select]);
        ops[1].push(TableOp::SessionAdd(session));
        ops[2].push(TableOp::SessionSet(changed));
        ops[3].push(TableOp::SessionDel(session.id));
    }
    Ok(ops)
}

/// The session of the i-th peer.
pub fn session(i: usize) -> anyhow::Result<Session> {
    let mut inner = InnerAddresses { ipv6: true, ..InnerAddresses::default() };
    inner.prefixes[0] = IpPrefix::new(address(i).into(), 64);
    Ok(Session {
        id: SessionId::from_slot(bench::slot(i).context("slot")?),
        peer_tunnel: 1,
        peer_session: 1,
        outer: OuterPath { local: (GATEWAY, l2tp::PORT).into(), remote: (SUBSCRIBER, l2tp::PORT).into() },
        peer: bench::peer(i),
        sequencing: false,
        pfc: false,
        acfc: false,
        mtu: 1426,
        clamp_mss: true,
        inner,
        rate: Rates::default(),
        filter: None,
    })
}

/// Behind the i-th peer.
pub fn address(i: usize) -> Ipv6Addr {
    Ipv6Addr::from((0x2001_0db8_8000_u128 << 80) | ((i as u128) << 64) | 1)
}

fn publish(bench: &mut Bench, n: usize) -> anyhow::Result<()> {
    let mut publisher = bench.publisher.take().context("a publisher")?;
    let counters = publisher.counters();
    println!("{:<20} {:>8} changes published together; changes a second, publications a second", "", "");
    for batch in BATCHES {
        let count = n.min(batch * 500) / batch * batch;
        if count == 0 {
            continue;
        }
        let session = |i| bench::slot(i).map(SessionId::from_slot).context("slot");
        let prefix = |i| IpPrefix::new(address(i).into(), 64).context("prefix");
        let add = |i| Ok(SnapshotOp::RouteAdd(prefix(i)?, vec![NextHop::Session(session(i)?)]));
        let add: Vec<_> = (0..count).map(add).collect::<anyhow::Result<_>>()?;
        let delete = (0..count).map(|i| Ok(SnapshotOp::RouteDel(prefix(i)?))).collect::<anyhow::Result<Vec<_>>>()?;
        let softwires: Vec<_> = (0..count.min(SOFTWIRES)).map(|i| SnapshotOp::SoftwireSet(softwire(i))).collect();
        for (what, ops, routes) in
            [("routes added", add, count), ("routes deleted", delete, 0), ("softwires", softwires, 0)]
        {
            let start = Instant::now();
            for some in ops.chunks(batch) {
                while !publisher.quiescent() {
                    bench.poll();
                }
                let errors = publisher.apply(some).context("a worker reads the tables")?;
                ensure!(errors.is_empty(), "{} changes were refused", errors.len());
            }
            while !publisher.quiescent() {
                bench.poll();
            }
            let rate = ops.len() as f64 / start.elapsed().as_secs_f64();
            println!("{what:<20} {batch:>8} {rate:>12.0} {:>12.0}", rate / batch as f64);
            ensure!(counters.routes[1].get() == routes as u64, "{} routes", counters.routes[1].get());
        }
    }
    Ok(())
}

fn softwire(i: usize) -> Softwire {
    Softwire {
        id: SoftwireId(i as u16),
        local: GATEWAY,
        remote: Ipv4Addr::from_bits(0xc612_0001 + i as u32).into(),
        mtu: 1420,
        path_mtu: 1500,
        hop_limit: 64,
        dscp: None,
        too_big: TooBig::Inner,
        protection: Protection::Clear,
        bfd: false,
        dead: false,
        tfc: false,
        strict: true,
    }
}

//! `tables`: how many changes a second a worker takes from its ring, and how many the publisher makes of what all workers
//! share, each publication used by the worker before the next.

use crate::clock::{self, spread};
use anyhow::{Context, ensure};
use dataplane_api::{Session, SnapshotOp, TableOp};
use fastpath::bed::{Bed, Ringed};
use fastpath::path::Path;
use fastpath::world::World;
use std::net::SocketAddr;
use std::time::Instant;

const ROUNDS: usize = 9;
/// Changes that are published together.
const BATCHES: [usize; 4] = [1, 16, 256, 2048];

const WHAT: [&str; 6] =
    ["SAs added", "sessions added", "sessions changed", "peers moved", "sessions deleted", "SAs deleted"];
/// Peers that move.
const MOVES: usize = 1000;

/// Measures with `n` sessions and pairs of SAs.
pub fn run(n: usize) -> anyhow::Result<()> {
    let _lcore = dpdk::lcore::register()?;
    let hz = clock::pinned()?;
    // Room for all, and nobody there yet.
    let mut world = World::new(Path { peers: 0, ..Path::named("l2tp4-out-64").context("a path")? }, 64)?;
    (world.path.peers, world.routes) = (n, 1 << 17);
    let mut ringed = Ringed::new(&world, "tables", 0)?;
    println!("{n} sessions and pairs of SAs, {ROUNDS} rounds; changes a second: min / median / max");
    let mut rates: [Vec<f64>; WHAT.len()] = Default::default();
    for _ in 0..ROUNDS {
        for (rates, ops) in rates.iter_mut().zip(worker_ops(&world)?) {
            let count = ops.len() as f64;
            rates.push(count * hz / change(&mut ringed.bed, ops)? as f64);
        }
    }
    for (what, rates) in WHAT.iter().zip(rates) {
        let [least, median, most] = spread(rates);
        println!("{what:<20} {least:>10.0} / {median:>10.0} / {most:>10.0}");
    }
    publish(&mut ringed, &world)
}

/// Of all peers, in the order in which they are made.
fn worker_ops(world: &World) -> anyhow::Result<[Vec<TableOp>; WHAT.len()]> {
    let mut ops: [Vec<TableOp>; WHAT.len()] = Default::default();
    for i in 0..world.path.peers {
        for op in world.own_sas(i)? {
            if let (TableOp::SaInAdd(sa), 0..MOVES) = (&op, i) {
                let [local, remote] = [sa.local, sa.remote].map(|address| SocketAddr::new(address, 4500));
                ops[3].push(TableOp::PeerMoved { peer: sa.peer, local, remote, encap: false });
            }
            ops[0].push(op);
        }
        for op in world.own_session(i)? {
            if let TableOp::SessionAdd(session) = op {
                ops[2].push(TableOp::SessionSet(Session { mtu: 1300, ..session }));
            }
            ops[1].push(op);
        }
        for op in world.disown(i)? {
            ops[if matches!(op, TableOp::SessionDel(_)) { 4 } else { 5 }].push(op);
        }
    }
    Ok(ops)
}

/// Changes the worker's tables, and gives the ticks that its polls took.
fn change(bed: &mut Bed, ops: Vec<TableOp>) -> anyhow::Result<u64> {
    let (mut ops, mut ticks) = (ops.into_iter(), 0);
    loop {
        let some = ops.by_ref().take(bed.handle.ops.slots());
        let pushed = some.map(|op| bed.handle.ops.push((1, op)).is_ok()).filter(|pushed| *pushed).count();
        if pushed == 0 {
            break;
        }
        let start = dpdk::lcore::tsc();
        while bed.worker.poll() > 0 {}
        ticks += dpdk::lcore::tsc() - start;
    }
    let refused = bed.handle.counters.worker.ops_refused.get();
    ensure!(refused == 0, "{refused} table changes were refused");
    Ok(ticks)
}

fn publish(ringed: &mut Ringed, world: &World) -> anyhow::Result<()> {
    let worker = &mut ringed.bed.worker;
    let publisher = ringed.publisher.as_mut().context("a publisher")?;
    let counters = publisher.counters();
    let before = counters.routes[0].get();
    let mesh = World::new(Path::named("encap-64-1000").context("a path")?, 0)?.shared;
    let softwires: Vec<_> = mesh.into_iter().filter(|op| matches!(op, SnapshotOp::SoftwireSet(_))).collect();
    println!("{:<20} {:>8} changes published together; changes a second, publications a second", "", "");
    for batch in BATCHES {
        let count = world.path.peers.min(batch * 500) / batch * batch;
        if count == 0 {
            continue;
        }
        let add = (0..count).map(|i| world.route(i)).collect::<anyhow::Result<Vec<_>>>()?;
        let prefixes = add.iter().filter_map(|op| if let SnapshotOp::RouteAdd(p, _) = op { Some(*p) } else { None });
        let delete: Vec<_> = prefixes.map(SnapshotOp::RouteDel).collect();
        let softwires = &softwires[..count.min(softwires.len())];
        for (what, ops, routes) in
            [("routes added", &add[..], count), ("routes deleted", &delete, 0), ("softwires", softwires, 0)]
        {
            let start = Instant::now();
            for some in ops.chunks(batch) {
                while !publisher.quiescent() {
                    worker.poll();
                }
                let errors = publisher.apply(some).context("a worker reads the tables")?;
                ensure!(errors.is_empty(), "{} changes were refused", errors.len());
            }
            while !publisher.quiescent() {
                worker.poll();
            }
            let rate = ops.len() as f64 / start.elapsed().as_secs_f64();
            println!("{what:<20} {batch:>8} {rate:>12.0} {:>12.0}", rate / batch as f64);
            let found = counters.routes[0].get() - before;
            ensure!(found == routes as u64, "{found} routes");
        }
    }
    Ok(())
}

//! Jitter by changes of tables: how long a poll takes that has a full burst of packets, and as many changes as a worker applies in
//! one.
//!
//! On a machine whose cores are not isolated, the longest poll is the scheduler's and the host's doing, which hits now one poll and
//! now another. So the same polls are repeated, with the same packets and changes: of each the least time of all repeats counts, and
//! of these the longest is told. It is what comes back whenever such changes come. What comes once is not in it, as where a
//! table grows for the first time.

use crate::bed::Ringed;
use crate::path::{Goal, Kind, Path};
use crate::report::{self, Report, Row};
use crate::rounds::{child, say};
use crate::world::World;
use anyhow::{Context, ensure};
use dataplane::ops::OPS_PER_POLL;
use dataplane_api::{SnapshotOp, TableOp};
use dpdk::Burst;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::net::SocketAddr;

const OCTETS: usize = 64;
/// Sessions that are there all the time.
const SESSIONS: [usize; 2] = [1000, 100_000];
/// Sessions that come and go, or move.
const CHANGING: usize = 128;
/// How often all of it is repeated.
const REPEATS: usize = 40;

/// What happens in the polls of a part, by name, and the longest of them in microseconds.
pub type Reading = Vec<(String, f64)>;

/// Rounds of all sizes.
pub fn run(rounds: usize, under: &[String]) -> anyhow::Result<Report> {
    let mut rows: Vec<Row> = Vec::new();
    for round in 1..=rounds {
        for peers in SESSIONS {
            say(&format!("round {round} of {rounds}   changes beside {peers} sessions"));
            let path = Path { kind: Kind::Softwire4Out, octets: OCTETS, peers, goal: Goal::None };
            let reading: Reading = child(under, &["changed", &path.to_string()])?;
            for (what, longest) in reading {
                report::add(&mut rows, format!("{path}: {what}"), longest);
            }
        }
    }
    say("");
    Ok(Report::new("jitter", "microseconds of the longest poll", rows))
}

/// A part of what is repeated.
struct Part {
    what: &'static str,
    /// For each poll the changes of the worker's tables, or of those that workers share.
    polls: Vec<(Vec<TableOp>, Vec<SnapshotOp>)>,
    /// Of each poll, in ticks.
    least: Vec<u64>,
}

impl Part {
    fn new(what: &'static str, polls: Vec<(Vec<TableOp>, Vec<SnapshotOp>)>) -> Self {
        let least = vec![u64::MAX; polls.len()];
        Self { what, polls, least }
    }

    fn of(what: &'static str, ops: &[TableOp]) -> Self {
        Self::new(what, ops.chunks(OPS_PER_POLL).map(|ops| (ops.to_vec(), Vec::new())).collect())
    }
}

/// One reading.
pub fn reading(path: Path) -> anyhow::Result<Reading> {
    let _lcore = crate::measure::start()?;
    let mut world = World::new(path, 0)?;
    let mut ringed = Ringed::new(&world, "jitter", CHANGING)?;
    ringed.bed.populate(&world)?;
    let mut publisher = ringed.publisher.take().context("a publisher")?;
    let mut parts = parts(&world)?;
    let polls = parts.iter().map(|p| p.polls.len()).sum::<usize>();
    let mut random = StdRng::seed_from_u64(7);
    let mut burst = || (0..Burst::CAPACITY).map(|n| world.frame(random.random_range(0..path.peers), n)).collect();
    let bursts: Vec<Vec<Vec<u8>>> = (0..polls).map(|_| burst()).collect::<anyhow::Result<_>>()?;
    let mut out = Burst::new();
    for _ in 0..REPEATS {
        let mut bursts = bursts.iter();
        for part in &mut parts {
            for ((ops, shared), least) in part.polls.iter().zip(&mut part.least) {
                for op in ops {
                    ensure!(ringed.bed.handle.ops.push((1, op.clone())).is_ok(), "the ring is full");
                }
                if !shared.is_empty() {
                    let errors = publisher.apply(shared).context("workers read the tables already")?;
                    ensure!(errors.is_empty(), "{errors:?}");
                }
                *least = (*least).min(ringed.pass(bursts.next().context("bursts")?, &mut out)?);
                ensure!(publisher.quiescent(), "the worker has not seen the change");
            }
        }
    }
    let refused = ringed.bed.handle.counters.worker.ops_refused.get();
    ensure!(refused == 0, "{refused} table changes were refused");
    let us = 1e6 / dpdk::lcore::tsc_hz()? as f64;
    Ok(parts.iter().map(|p| (p.what.to_owned(), p.least.iter().max().map_or(0.0, |t| *t as f64 * us))).collect())
}

fn parts(world: &World) -> anyhow::Result<Vec<Part>> {
    let (mut come, mut there, mut back, mut go, mut routes) = (vec![], vec![], vec![], vec![], vec![]);
    let (mut keys, mut no_keys) = (vec![], vec![]);
    for i in (0..CHANGING).map(|n| world.path.peers + n) {
        let (sas, gone) = (world.own_sas(i)?, world.disown(i)?);
        let Some(TableOp::PeerSelect { peer, .. }) = sas.last() else { anyhow::bail!("a path with SAs") };
        let peer = *peer;
        keys.extend(sas[..sas.len() - 1].iter().cloned());
        no_keys.extend(gone.iter().filter(|op| matches!(op, TableOp::SaInDel(_) | TableOp::SaOutDel(_))).cloned());
        come.extend(sas);
        come.extend(world.own_session(i)?);
        go.extend(gone);
        let (local, remote) = world.ends(i);
        let moved = |port| {
            let (local, remote) = (SocketAddr::new(local, port), SocketAddr::new(remote, port));
            TableOp::PeerMoved { peer, local, remote, encap: port != 0 }
        };
        there.push(moved(4500));
        back.push(moved(0));
        let SnapshotOp::RouteAdd(prefix, next) = world.route(i)? else { anyhow::bail!("a route") };
        routes.push((vec![], vec![SnapshotOp::RouteAdd(prefix, next)]));
        routes.push((vec![], vec![SnapshotOp::RouteDel(prefix)]));
    }
    Ok(vec![
        Part::new("no change", vec![(vec![], vec![]); CHANGING]),
        Part::of("sessions and their SAs come", &come),
        Part::of("peers move behind NAT", &there),
        Part::of("peers move back", &back),
        Part::of("sessions and their SAs go", &go),
        Part::of("SAs come", &keys),
        Part::of("SAs go", &no_keys),
        Part::new("routes come and go", routes),
    ])
}

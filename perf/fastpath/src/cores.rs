//! Two workers on two cores: what they do together against one alone, for many peers and for one AFBR that has a pair of SAs
//! with each of them (RFC 9611), and what it costs to hand a packet to the other.

use crate::bed::{self, Bed};
use crate::measure::FRAMES;
use crate::path::{Goal, Kind, Path};
use crate::quiet;
use crate::report::{Report, Row};
use crate::rounds::{child, say};
use crate::world::World;
use anyhow::{Context, ensure};
use dpdk::Mempool;
use dpdk::lcore::tsc;
use serde::{Deserialize, Serialize};
use std::sync::Barrier;
use std::time::Duration;

const OCTETS: usize = 64;
/// Peers, which the workers own in turn.
const PEERS: usize = 200;
const SHARED: [(Kind, usize); 6] = [
    (Kind::EspOut, PEERS),
    (Kind::EspIn, PEERS),
    (Kind::EspOut, 1),
    (Kind::EspIn, 1),
    (Kind::Softwire4Out, PEERS),
    (Kind::Forward, PEERS),
];
/// Of one worker's rate.
const GOAL: f64 = 1.9;
/// Polls that are timed together, and how often in each part of a reading.
const POLLS: usize = 64;
const CHUNKS: usize = 512;

/// What one process has measured, in ticks per packet.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Reading {
    /// One worker by itself, the mean of both.
    one: f64,
    /// Both at a time: of all packets.
    two: f64,
}

/// What one process has measured of a hand-off, in ticks per packet.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct HandOff {
    giver: f64,
    taker: f64,
    home: f64,
}

/// Rounds of all kinds.
pub fn run(rounds: usize, under: &[String]) -> anyhow::Result<Report> {
    let row = |name: String| Row { name, ..Row::default() };
    let name = |kind: Kind, peers: usize| if peers == 1 { format!("{kind} of one AFBR") } else { kind.to_string() };
    let names = SHARED.map(|(kind, peers)| name(kind, peers));
    let mut pairs: Vec<[Row; 2]> =
        names.iter().map(|n| [row(format!("{n}, one worker")), row(format!("{n}, two workers"))]).collect();
    let parts = ["esp-in by its owner", "esp-in handed over: giver", "esp-in handed over: taker"];
    let mut hand_off = parts.map(|n| row(n.into()));
    for round in 1..=rounds {
        for ((&(kind, peers), name), rows) in SHARED.iter().zip(&names).zip(&mut pairs) {
            say(&format!("round {round} of {rounds}   {name} on two cores"));
            quiet::wait(&[0, 1])?;
            let reading: Reading = child(under, &["paired", &path(kind, peers).to_string()])?;
            rows[0].measured.0.push(reading.one);
            rows[1].measured.0.push(reading.two);
        }
        say(&format!("round {round} of {rounds}   hand-off"));
        let reading: HandOff = child(under, &["handed", &path(Kind::EspIn, PEERS).to_string()])?;
        for (row, ticks) in hand_off.iter_mut().zip([reading.home, reading.giver, reading.taker]) {
            row.measured.0.push(ticks);
        }
    }
    say("");
    for [one, two] in &mut pairs {
        two.goal = one.measured.median().map(|t| t / GOAL);
    }
    let rows = pairs.into_iter().flatten().chain(hand_off).collect();
    Ok(Report::new("cores", "ticks per packet", rows))
}

fn path(kind: Kind, peers: usize) -> Path {
    Path { kind, octets: OCTETS, peers, goal: Goal::None }
}

/// Two workers, each of whom receives frames of those SAs that belong to one of them.
fn pair(path: Path, owners: [usize; 2]) -> anyhow::Result<Vec<Bed>> {
    let mut world = World::over(path, 0, 2)?;
    let pool = Mempool::new("packets", 16_383, 256, 2048, None)?;
    let mut ports = Vec::new();
    for (n, owner) in owners.into_iter().enumerate() {
        let file = std::env::temp_dir().join(format!("softwire-fastpath-{}-{n}.pcap", std::process::id()));
        let theirs: Vec<usize> = (owner..world.pairs()).step_by(2).collect();
        let made = bed::write_pcap(&mut world, &theirs, FRAMES, &file);
        let devices = made.and_then(|()| bed::repeating(&world, &file, &pool, n));
        let _ = std::fs::remove_file(&file);
        ports.push(devices?);
    }
    let (_publisher, mut beds) = bed::beds(&world, "packets", ports, pool, 0)?;
    beds.iter_mut().try_for_each(|bed| bed.populate(&world))?;
    Ok(beds)
}

/// One reading of both workers: alone one after the other, then at the same time.
pub fn paired(path: Path) -> anyhow::Result<Reading> {
    crate::measure::huge_pages()?;
    let mut beds = pair(path, [0, 1])?;
    let mut alone = Vec::new();
    for (core, bed) in beds.iter_mut().enumerate() {
        alone.push(on_core(core, || polls(bed, quiet::PATIENCE))?);
    }
    let start = Barrier::new(2);
    let run = |core: usize, bed: &mut Bed| {
        let _lcore = dpdk::lcore::register()?;
        dpdk::lcore::pin(core)?;
        start.wait();
        // The other works as long as this one is timed, so neither waits for a quiet core.
        let thirds = (0..3).map(|_| polls(bed, Duration::ZERO)).collect::<anyhow::Result<Vec<_>>>()?;
        thirds.get(1).copied().context("polls")
    };
    let together: Vec<anyhow::Result<f64>> = std::thread::scope(|scope| {
        let run = &run;
        let threads: Vec<_> = (0..).zip(&mut beds).map(|(core, bed)| scope.spawn(move || run(core, bed))).collect();
        threads.into_iter().map(|t| t.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a worker panicked")))).collect()
    });
    let together = together.into_iter().collect::<anyhow::Result<Vec<f64>>>()?;
    let rate: f64 = together.iter().map(|t| 1.0 / t).sum();
    Ok(Reading { one: alone.iter().sum::<f64>() / 2.0, two: 1.0 / rate })
}

fn on_core(core: usize, work: impl FnOnce() -> anyhow::Result<f64> + Send) -> anyhow::Result<f64> {
    let run = || {
        let _lcore = dpdk::lcore::register()?;
        dpdk::lcore::pin(core)?;
        work()
    };
    std::thread::scope(|s| s.spawn(run).join().unwrap_or_else(|_| Err(anyhow::anyhow!("a worker panicked"))))
}

/// Ticks per packet received, after a few polls. See [`quiet::quietest`].
fn polls(bed: &mut Bed, patience: Duration) -> anyhow::Result<f64> {
    for _ in 0..256 {
        bed.worker.poll();
    }
    while bed.handle.events.pop().is_ok() {}
    let before = bed.counts();
    let ticks = quiet::median(CHUNKS, patience, || Ok(bed.polls(POLLS)))?;
    let after = bed.counts();
    ensure!(after.0 - before.0 == after.1 - before.1, "not all packets came out: {:?}", bed::drops(&bed.handle));
    Ok(ticks)
}

/// One reading of a hand-off: worker 0 receives what belongs to worker 1. Both are polled in turn by one thread, so it is
/// what their code costs; that the packet's lines are in another core's cache comes on top.
pub fn handed(path: Path) -> anyhow::Result<HandOff> {
    let _lcore = crate::measure::start()?;
    let mut beds = pair(path, [1, 1])?;
    let [giver, taker] = beds.as_mut_slice() else { anyhow::bail!("two workers") };
    let home = polls(taker, quiet::PATIENCE)?;
    let (received, sent) = ([giver.counts().0, taker.counts().0], taker.counts().1);
    // Ticks of both, and packets handed over and the taker's own.
    let chunks = quiet::quietest(CHUNKS, quiet::PATIENCE, || {
        let (before, own, mut ticks) = (giver.counts().0, taker.counts().0, [0, 0]);
        for _ in 0..POLLS {
            let start = tsc();
            giver.worker.poll();
            let middle = tsc();
            taker.worker.poll();
            ticks = [ticks[0] + middle - start, ticks[1] + tsc() - middle];
        }
        Ok([ticks[0], ticks[1], giver.counts().0 - before, taker.counts().0 - own])
    })?;
    let all = giver.counts().0 - received[0] + taker.counts().0 - received[1];
    ensure!(taker.counts().1 - sent >= all - 64, "packets were lost: {:?}", bed::drops(&giver.handle));
    let [given, taken, count, own] = [0, 1, 2, 3].map(|n| chunks.iter().map(|c| c[n]).sum::<u64>() as f64);
    // The taker has packets of its own as well, whose cost is known.
    Ok(HandOff { giver: given / count, taker: (taken - own * home) / count, home })
}

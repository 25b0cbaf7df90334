//! Cost with size: packets to uniformly random sessions (each with its own pair of SAs) or routes, of which there are more
//! and more; the memory that each takes; and, as a floor, what it costs by itself to touch so many lines at random ([`crate::lines`]).
//!
//! Frames are made before anything is timed, since the peers' ends of the SAs would take the caches from the gateway's tables
//! otherwise; just before each poll they are copied into buffers, as a card puts them into the cache. Inbound SAs have
//! their window here, and sequence numbers that go on; each has seen a packet.

use crate::bed::Ringed;
use crate::measure::Laps;
use crate::path::{Goal, Kind, Path};
use crate::quiet;
use crate::report::{Report, Row};
use crate::rounds::{child, say};
use crate::world::World;
use dataplane_api::{SaCounters, SessionCounters};
use dpdk::Burst;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

const OCTETS: usize = 64;
/// Sessions or routes, and what share of the first one's rate is to be left.
const SESSIONS: [(usize, f64); 4] = [(1, 1.0), (1000, 0.9), (100_000, 0.85), (1_000_000, 0.70)];
const ROUTES: [(usize, f64); 2] = [(1000, 1.0), (1_000_000, 1.0 / 1.2)];
/// Entries of a table, and lines of one of them that a packet touches.
const FLOORS: [(usize, usize); 7] =
    [(1, 0), (1000, 8), (100_000, 4), (100_000, 6), (100_000, 8), (1_000_000, 4), (1_000_000, 8)];
/// Octets that a session and a pair of SAs are to take at most.
const MEMORY: (f64, f64) = (1024.0, 1536.0);
/// Polls that are timed together, and how often.
const POLLS: usize = 16;
const CHUNKS: usize = 128;
/// Chunks before the first is timed.
const WARM_UP: usize = 4;

/// What one process has measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reading {
    ticks: f64,
    nodes: Vec<(String, f64)>,
    session: f64,
    pair: f64,
}

/// Rounds over all sizes; gives ticks, and octets.
pub fn run(rounds: usize, under: &[String]) -> anyhow::Result<Vec<Report>> {
    let (mut rows, mut memory) = (Vec::new(), [Row::default(), Row::default()]);
    (memory[0].name, memory[0].goal) = ("session".into(), Some(MEMORY.0));
    (memory[1].name, memory[1].goal) = ("pair of SAs".into(), Some(MEMORY.1));
    let mut sizes = Vec::new();
    for (kind, steps) in
        [(Kind::Softwire4Out, &SESSIONS[..]), (Kind::Softwire4In, &SESSIONS[..]), (Kind::Forward, &ROUTES[..])]
    {
        for &(peers, share) in steps {
            sizes.push((Path { kind, octets: OCTETS, peers, goal: Goal::None }, share));
            rows.push(Row { name: format!("{kind} {peers}"), ..Row::default() });
        }
    }
    let named = |(entries, lines): &(usize, usize)| format!("{lines} lines of {entries}");
    let mut floors: Vec<Row> = FLOORS.iter().map(|f| Row { name: named(f), ..Row::default() }).collect();
    for round in 1..=rounds {
        for ((entries, lines), row) in FLOORS.iter().zip(&mut floors) {
            say(&format!("round {round} of {rounds}   {}", row.name));
            row.measured.0.push(child(under, &["lines", &entries.to_string(), &lines.to_string()])?);
        }
        for ((path, _), row) in sizes.iter().zip(&mut rows) {
            say(&format!("round {round} of {rounds}   {}", row.name));
            let reading: Reading = child(under, &["scaled", &path.to_string()])?;
            row.measured.0.push(reading.ticks);
            row.add_nodes(reading.nodes);
            if path.peers >= 1_000_000 && path.kind.is_session() {
                memory[0].measured.0.push(reading.session);
                memory[1].measured.0.push(reading.pair);
            }
        }
    }
    say("");
    for n in 0..rows.len() {
        let first = sizes.iter().position(|s| s.0.kind == sizes[n].0.kind);
        let one = first.and_then(|first| rows[first].measured.median());
        rows[n].goal = one.filter(|_| first != Some(n)).map(|ticks| ticks / sizes[n].1);
    }
    Ok(vec![
        Report::new("scale", "ticks per packet", rows),
        Report::new("lines", "ticks per packet", floors),
        Report::new("memory", "octets", memory.to_vec()),
    ])
}

/// One reading.
pub fn reading(path: Path) -> anyhow::Result<Reading> {
    let _lcore = crate::measure::start()?;
    let mut world = World::new(path, 64)?;
    let mut ringed = Ringed::new(&world, "scale", 0)?;
    ringed.bed.touch()?;
    let before = resident()?;
    for i in 0..path.peers {
        ringed.bed.change(world.own_sas(i)?)?;
    }
    let between = resident()?;
    for i in 0..path.peers {
        ringed.bed.change(world.own_session(i)?)?;
    }
    let each = |octets: i64| octets as f64 / path.peers as f64;
    let pair = each(between - before) + 2.0 * size_of::<SaCounters>() as f64;
    let session = each(resident()? - between) + size_of::<SessionCounters>() as f64;
    let (mut out, mut n) = (Burst::new(), 0);
    // An SA reports its first packet.
    for peers in (0..path.peers).collect::<Vec<_>>().chunks(Burst::CAPACITY) {
        let frames: Vec<_> = peers.iter().map(|i| world.frame(*i, 0)).collect::<anyhow::Result<_>>()?;
        ringed.pass(&frames, &mut out)?;
    }
    let mut random = StdRng::seed_from_u64(7);
    let mut frame = || {
        n += 1;
        world.frame(random.random_range(0..path.peers), n)
    };
    let bursts = (0..(WARM_UP + 2 * CHUNKS) * POLLS).map(|_| (0..Burst::CAPACITY).map(|_| frame()).collect());
    let bursts: Vec<Vec<Vec<u8>>> = bursts.collect::<anyhow::Result<_>>()?;
    world.forget_far();
    let mut bursts = bursts.iter();
    for burst in bursts.by_ref().take(WARM_UP * POLLS) {
        ringed.pass(burst, &mut out)?;
    }
    let ticks = quiet::median(CHUNKS, quiet::PATIENCE, || {
        let mut ticks = 0;
        for burst in bursts.by_ref().take(POLLS) {
            ticks += ringed.pass(burst, &mut out)?;
        }
        Ok(ticks as f64 / (POLLS * Burst::CAPACITY) as f64)
    })?;
    let chunks = quiet::quietest(CHUNKS, quiet::PATIENCE, || {
        let mut laps = Laps::default();
        for burst in bursts.by_ref().take(POLLS) {
            ringed.pass_by(burst, &mut out, |worker| laps.poll(worker))?;
        }
        Ok(laps)
    })?;
    let nodes = Laps::per(&chunks, POLLS * Burst::CAPACITY);
    Ok(Reading { ticks, nodes, session, pair })
}

/// Octets of memory that the process has: ordinary, and of huge pages.
fn resident() -> anyhow::Result<i64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let of = |key: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(key));
        line.and_then(|l| l.split_whitespace().next()?.parse::<i64>().ok()).unwrap_or(0)
    };
    Ok(1024 * (of("VmRSS:") + of("HugetlbPages:")))
}

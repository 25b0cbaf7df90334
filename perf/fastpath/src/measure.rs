//! One reading: ticks per packet of whole polls of a worker, in this process.

use crate::bed::{self, Bed};
use crate::path::Path;
use crate::quiet;
use crate::world::World;
use anyhow::{Context, ensure};
use dataplane::worker::Worker;
use dpdk::Mempool;
use dpdk::lcore::tsc;
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// The core that is measured.
pub const CORE: usize = 1;
/// Least number of frames in the file; as many as peers where there are more.
pub const FRAMES: usize = 256;
/// Polls before the first is timed.
const WARM_UP: usize = 4096;
/// Polls that are timed together, and how often.
const POLLS: usize = 64;
const CHUNKS: usize = 200;

/// What one process has measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reading {
    /// TSC ticks per packet.
    pub ticks: f64,
    /// Packets that were timed.
    pub packets: u64,
    /// Ticks per packet by node. They were taken by other polls, with a look at the watch after each node.
    pub nodes: Vec<(String, f64)>,
}

/// Initialises DPDK with huge pages, without which figures are worth little.
pub fn huge_pages() -> anyhow::Result<()> {
    let huge = dpdk::sim::eal_with(&dpdk::sim::HUGE_EAL_ARGS).is_ok();
    ensure!(huge, "no huge pages: run tests/setup/hugepages.sh first (ordinary memory halves the speed)");
    Ok(())
}

/// Initialises DPDK and makes this thread a worker's.
pub fn start() -> anyhow::Result<dpdk::lcore::Registration> {
    huge_pages()?;
    let lcore = dpdk::lcore::register()?;
    pin()?;
    Ok(lcore)
}

/// Puts this thread on the core that is measured.
pub fn pin() -> anyhow::Result<()> {
    dpdk::lcore::pin(CORE).context("figures are those of core 1")
}

/// Measures a path, by the frames of a file that [`bed::write_pcap`] has made.
pub fn path(path: Path, pcap: &std::path::Path) -> anyhow::Result<Reading> {
    let _lcore = start()?;
    let frames = FRAMES.max(path.peers);
    // Frames that repeat have sequence numbers that repeat: a window would drop all but the first of each.
    let world = World::new(path, 0)?;
    let pool = Mempool::new("packets", (2 * frames as u32 + 4096).next_power_of_two() - 1, 256, 2048, None)?;
    let ports = bed::repeating(&world, pcap, &pool, 0)?;
    let (_publisher, mut beds) = bed::beds(&world, "packets", vec![ports], pool, 0)?;
    let mut bed = beds.pop().context("one worker")?;
    bed.populate(&world)?;
    drop(world);
    for _ in 0..WARM_UP {
        bed.worker.poll();
        while bed.handle.events.pop().is_ok() {}
    }
    let before = bed.counts();
    let ticks = quiet::median(CHUNKS, quiet::PATIENCE, || Ok(bed.polls(POLLS)))?;
    let after = bed.counts();
    let (packets, sent) = (after.0 - before.0, after.1 - before.1);
    ensure!(packets == (CHUNKS * POLLS * dpdk::Burst::CAPACITY) as u64, "polls were not full: {packets} packets");
    ensure!(packets == sent, "{sent} of {packets} packets came out: {:?}", bed::drops(&bed.handle));
    Ok(Reading { ticks, packets, nodes: nodes(&mut bed)? })
}

fn nodes(bed: &mut Bed) -> anyhow::Result<Vec<(String, f64)>> {
    let chunks = quiet::quietest(CHUNKS, quiet::PATIENCE, || {
        let mut laps = Laps::default();
        (0..POLLS).for_each(|_| laps.poll(&mut bed.worker));
        Ok(laps)
    })?;
    Ok(Laps::per(&chunks, POLLS * dpdk::Burst::CAPACITY))
}

/// Ticks by node, summed over the polls of a chunk.
#[derive(Default)]
pub struct Laps(Vec<(&'static str, u64)>);

impl Laps {
    /// Polls once.
    pub fn poll(&mut self, worker: &mut Worker) {
        let (mut n, mut last) = (0, tsc());
        worker.poll_in_laps(Instant::now(), |name| {
            let now = tsc();
            match self.0.get_mut(n) {
                Some(node) => node.1 += now - last,
                None => self.0.push((name, now - last)),
            }
            (n, last) = (n + 1, now);
        });
    }

    /// For each of the packets, of which each chunk had so many.
    pub fn per(chunks: &[Self], packets: usize) -> Vec<(String, f64)> {
        let nodes = chunks.first().map_or(0, |c| c.0.len());
        let sum = |n: usize| chunks.iter().filter_map(|c| c.0.get(n)).map(|node| node.1).sum::<u64>();
        let packets = (chunks.len() * packets) as f64;
        (0..nodes).map(|n| (chunks[0].0[n].0.to_owned(), sum(n) as f64 / packets)).collect()
    }
}

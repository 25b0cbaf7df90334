//! One reading: ticks per packet of whole polls of a worker, in this process.

use crate::bed::{self, Bed};
use crate::path::Path;
use crate::world::World;
use anyhow::{Context, ensure};
use dpdk::Mempool;
use serde::{Deserialize, Serialize};

/// The core that is measured.
pub const CORE: usize = 1;
/// Least number of frames in the file; as many as peers where there are more.
pub const FRAMES: usize = 256;
/// Polls before the first is timed.
const WARM_UP: usize = 4096;
/// Polls that are timed together, and how often.
const POLLS: usize = 512;
const CHUNKS: usize = 25;

/// What one process has measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reading {
    /// TSC ticks per packet, the median of the chunks.
    pub ticks: f64,
    /// Packets that were timed.
    pub packets: u64,
    /// Rate of the TSC in Hz.
    pub hz: u64,
}

const EAL: [&str; 5] = ["--in-memory", "--no-pci", "--no-telemetry", "--log-level=lib.eal:4", "--log-level=user1:4"];

/// Initialises DPDK and makes this thread a worker's.
pub fn start() -> anyhow::Result<dpdk::lcore::Registration> {
    let huge = dpdk::sim::eal_with(&EAL).is_ok();
    ensure!(huge, "no huge pages: run tests/setup/hugepages.sh first (ordinary memory halves the speed)");
    let lcore = dpdk::lcore::register()?;
    dpdk::lcore::pin(CORE).context("figures are those of core 1")?;
    Ok(lcore)
}

/// Measures a path.
pub fn path(path: Path) -> anyhow::Result<Reading> {
    let _lcore = start()?;
    // Frames that repeat have sequence numbers that repeat: a window would drop all but the first of each.
    let mut world = World::new(path, 0)?;
    let frames = FRAMES.max(path.peers);
    let file = std::env::temp_dir().join(format!("softwire-fastpath-{}.pcap", std::process::id()));
    let made = bed::write_pcap(&mut world, frames, &file);
    let pool = Mempool::new("packets", (2 * frames as u32 + 4096).next_power_of_two() - 1, 256, 2048, None)?;
    let ports = made.and_then(|()| bed::repeating(&world, &file, &pool));
    let _ = std::fs::remove_file(&file);
    let mut bed = Bed::new(&world, ports?, pool)?;
    drop(world);
    for _ in 0..WARM_UP {
        bed.worker.poll();
        while bed.handle.events.pop().is_ok() {}
    }
    let mut chunks: Vec<f64> = Vec::with_capacity(CHUNKS);
    let before = bed.counts();
    for _ in 0..CHUNKS {
        let (received, start) = (bed.counts().0, dpdk::lcore::tsc());
        for _ in 0..POLLS {
            bed.worker.poll();
        }
        let ticks = dpdk::lcore::tsc() - start;
        chunks.push(ticks as f64 / (bed.counts().0 - received) as f64);
    }
    let after = bed.counts();
    let (packets, sent) = (after.0 - before.0, after.1 - before.1);
    ensure!(packets == (CHUNKS * POLLS * dpdk::Burst::CAPACITY) as u64, "polls were not full: {packets} packets");
    ensure!(packets == sent, "{sent} of {packets} packets came out: {:?}", bed.drops());
    chunks.sort_by(f64::total_cmp);
    Ok(Reading { ticks: chunks[CHUNKS / 2], packets, hz: dpdk::lcore::tsc_hz()? })
}

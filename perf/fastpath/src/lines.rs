//! The floor of memory: what it costs to touch lines of a large table at random beside some work, all of them asked for a few packets
//! ahead, as the nodes do. Work of its own hides the first few; from then on the memory sets the pace.

use crate::quiet;
use anyhow::Context;
use dpdk::huge;
use dpdk::lcore::tsc;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::hint::black_box;

/// Of the table, as many as the entry of an inbound SA has.
const ENTRY: usize = 9;
/// Which of them a packet touches, as many as are asked for: state, the lowest powers of the hash key, round keys, one more.
const TOUCHED: [usize; 8] = [0, 1, 3, 4, 5, 6, 7, 8];
/// For how many packets lines are on their way.
const AHEAD: usize = 3;
/// Packets that are looked at together, bursts of a chunk, and chunks.
const BURST: usize = 64;
const BURSTS: usize = 32;
const CHUNKS: usize = 100;
/// Multiplications, each of which needs the one before: some 90 ticks.
const WORK: usize = 32;

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(u64);

/// Ticks a packet, where each touches so many lines of an entry (at most 8), and changes one of them.
pub fn reading(entries: usize, lines: usize) -> anyhow::Result<f64> {
    let _lcore = crate::measure::start()?;
    let touched = TOUCHED.get(..lines).context("lines")?;
    let mut table: Vec<Line> = huge::table(entries * ENTRY);
    table.resize(entries * ENTRY, Line(1));
    let (mut random, mut sum) = (StdRng::seed_from_u64(7), 0_u64);
    let mut chunk = || {
        let mut ticks = 0;
        for _ in 0..BURSTS {
            let at: [usize; BURST] = std::array::from_fn(|_| ENTRY * random.random_range(0..entries));
            let start = tsc();
            for n in 0..BURST + AHEAD {
                if let Some(next) = at.get(n) {
                    touched.iter().for_each(|line| ipsec_mb::prefetch(&raw const table[next + line], 0..1));
                }
                let Some(entry) = n.checked_sub(AHEAD).map(|n| at[n]) else { continue };
                sum = (0..WORK).fold(sum, |sum, _| black_box(sum).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1));
                for (n, line) in touched.iter().enumerate() {
                    let Line(word) = &mut table[entry + line];
                    sum ^= *word;
                    if n == 1 {
                        *word = sum;
                    }
                }
            }
            ticks += tsc() - start;
        }
        black_box(sum);
        Ok(ticks as f64 / (BURSTS * BURST) as f64)
    };
    // The first is for the caches.
    chunk()?;
    quiet::median(CHUNKS, quiet::PATIENCE, chunk)
}

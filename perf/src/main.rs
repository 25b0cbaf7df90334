//! `make bench`: what a packet costs one worker, from an in-memory port to an in-memory port.
//!
//! ```text
//!   out:  core port ─► forward ─► L2TP, PPP ─► ESP ─► access port        (towards the subscriber)
//!   in:   access port ─► ESP ─► L2TP, PPP ─► forward ─► core port        (from the subscriber)
//! ```
//!
//! The whole [`Worker::poll`] is timed by the TSC, bursts of 64, receive and transmit over `net_ring` included; making
//! packets and freeing what was sent is not. AES-GCM-128 in transport mode, IPv6 inside, IPv4 outside; the size is that of
//! the inner packet. Each line is the minimum, median and maximum of the rounds. Pinned to core 1 where there is one.

#![forbid(unsafe_code)]

mod bed;

use bed::{Bed, Direction};

const SIZES: [usize; 3] = [64, 512, 1420];
const SESSIONS: [usize; 2] = [1, 1000];
const ROUNDS: usize = 9;
/// Packets per round.
const PACKETS: usize = 64 * 256;

fn main() -> anyhow::Result<()> {
    let huge = dpdk::sim::eal_with(&dpdk::sim::HUGE_EAL_ARGS).is_ok();
    anyhow::ensure!(huge, "no huge pages: run tests/setup/hugepages.sh first (ordinary memory halves the speed)");
    let _lcore = dpdk::lcore::register()?;
    if dpdk::lcore::pin(1).is_err() {
        eprintln!("there is no core 1: not pinned");
    }
    let hz = dpdk::lcore::tsc_hz()? as f64;
    println!("TSC {:.2} GHz, {ROUNDS} rounds of {PACKETS} packets; min / median / max", hz / 1e9);
    println!("{:>4} {:>8} {:>6}   {:>27}   {:>6} {:>6}", "", "sessions", "octets", "ticks per packet", "Mpps", "Gbps");
    for sessions in SESSIONS {
        let mut bed = Bed::new(sessions)?;
        for direction in [Direction::Out, Direction::In] {
            for size in SIZES {
                let mut ticks = Vec::with_capacity(ROUNDS);
                for _ in 0..ROUNDS {
                    ticks.push(bed.round(direction, size, PACKETS)? as f64 / PACKETS as f64);
                }
                ticks.sort_by(f64::total_cmp);
                let median = ticks[ROUNDS / 2];
                let mpps = hz / median / 1e6;
                println!(
                    "{:>4} {sessions:>8} {size:>6}   {:>7.0} / {median:>7.0} / {:>7.0}   {mpps:>6.2} {:>6.2}",
                    if direction == Direction::Out { "out" } else { "in" },
                    ticks[0],
                    ticks[ROUNDS - 1],
                    mpps * size as f64 * 8.0 / 1e3,
                );
            }
        }
    }
    Ok(())
}

//! Readings beside which nothing else was at work. A core of a virtual machine may be one hyper-thread, whose other half is somebody
//! else's: for milliseconds or minutes everything takes half as long again, and no counter of the machine's tells. A fixed
//! loop of arithmetic does, since it needs all that the core can do: it runs before and after each chunk of a reading,
//! and the quarter of the chunks beside which it took the least is what counts. On a machine of one's own that is any quarter. A
//! chunk begins when the loop takes what it takes at best, for which some time is given.

use crate::report::Samples;
use anyhow::Context;
use dpdk::lcore::{pin, tsc};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Steps of the loop: some 12 us.
const STEPS: u64 = 10_000;
/// Of so many chunks one counts.
const SHARE: usize = 4;
/// Probes in a row, one a millisecond, after which a process is started.
const CALM: usize = 20;
/// Probes that tell what the loop takes at best, and how many of them may have been luckier than that.
const MANY: usize = 1000;
const LUCKY: usize = 20;
/// For how long a quiet core is waited for, in a reading and before it.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// The variable by which a process that reads is told what the loop takes at best.
pub const BEST_IS: &str = "SOFTWIRE_FASTPATH_PROBE";

/// What the loop takes at best, as far as is known; 0: not yet.
static BEST: AtomicU64 = AtomicU64::new(0);

/// The quietest of so many chunks of work. `patience` is how long to wait in all for a quiet core before chunks.
pub fn quietest<T>(
    chunks: usize,
    patience: Duration,
    mut work: impl FnMut() -> anyhow::Result<T>,
) -> anyhow::Result<Vec<T>> {
    let told = std::env::var(BEST_IS).ok().and_then(|v| v.parse().ok());
    let best = told.unwrap_or_else(|| best((0..MANY).map(|_| probe()).collect()));
    let (mut all, until) = (Vec::with_capacity(chunks), Instant::now() + patience);
    let mut before = probe();
    for _ in 0..chunks {
        while !is_calm(before, best) && Instant::now() < until {
            before = probe();
        }
        let result = work()?;
        let after = probe();
        all.push((before.max(after), result));
        before = after;
    }
    all.sort_by_key(|chunk| chunk.0);
    all.truncate(chunks.div_ceil(SHARE));
    if let Some((worst, _)) = all.last().filter(|(worst, _)| !is_calm(*worst, best)) {
        eprintln!("not quiet: beside a chunk that counts, the loop took {worst} ticks instead of {best}");
    }
    Ok(all.into_iter().map(|chunk| chunk.1).collect())
}

/// The median of the figures that the quietest of so many chunks have given.
pub fn median(chunks: usize, patience: Duration, work: impl FnMut() -> anyhow::Result<f64>) -> anyhow::Result<f64> {
    Samples(quietest(chunks, patience, work)?).median().context("chunks")
}

/// Waits until these cores are quiet, at most for [`PATIENCE`], and gives the value of [`BEST_IS`].
pub fn wait(cores: &[usize]) -> anyhow::Result<String> {
    if BEST.load(Ordering::Relaxed) == 0 {
        let probes = (0..MANY).map(|_| worst(cores)).collect::<anyhow::Result<Vec<u64>>>()?;
        BEST.store(best(probes), Ordering::Relaxed);
    }
    let until = Instant::now() + PATIENCE;
    let (mut calm, mut better) = (0, Vec::new());
    while Instant::now() < until && calm < CALM {
        let (ticks, best) = (worst(cores)?, BEST.load(Ordering::Relaxed));
        calm = if is_calm(ticks, best) { calm + 1 } else { 0 };
        // The core was busy when that was found out.
        if is_calm(best, ticks) {
            better.clear();
        } else if ticks < best {
            better.push(ticks);
        }
        if better.len() >= CALM {
            BEST.store(better.drain(..).max().unwrap_or(best), Ordering::Relaxed);
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(BEST.load(Ordering::Relaxed).to_string())
}

/// A probe of each of these cores at a time, the worst of them.
fn worst(cores: &[usize]) -> anyhow::Result<u64> {
    let on = |core: usize| pin(core).map(|()| probe());
    let probes: Vec<dpdk::Result<u64>> = thread::scope(|scope| {
        let threads: Vec<_> = cores.iter().map(|core| scope.spawn(|| on(*core))).collect();
        threads.into_iter().filter_map(|t| t.join().ok()).collect()
    });
    probes.into_iter().collect::<dpdk::Result<Vec<u64>>>()?.into_iter().max().context("cores")
}

/// What the loop takes at best, by many probes.
fn best(mut probes: Vec<u64>) -> u64 {
    probes.sort_unstable();
    probes.get(LUCKY).or(probes.first()).copied().unwrap_or_default()
}

/// Whether a probe has taken no more than a twentieth above the best.
fn is_calm(ticks: u64, best: u64) -> bool {
    ticks * 20 <= best * 21
}

/// Ticks of the loop: eight chains of additions and rotations, more than any core has units for.
fn probe() -> u64 {
    let mut chains: [u64; 8] = black_box([1, 2, 3, 4, 5, 6, 7, 8]);
    let start = tsc();
    for step in 0..black_box(STEPS) {
        chains.iter_mut().for_each(|x| *x = x.rotate_left(5).wrapping_add(step));
    }
    black_box(chains);
    tsc() - start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_chunks_counts_and_errors_are_passed_on() {
        let mut n = 0;
        let chunks = quietest(10, Duration::ZERO, || {
            n += 1;
            Ok(n)
        });
        let chunks = chunks.unwrap();
        assert_eq!((n, chunks.len()), (10, 3));
        assert!(chunks.iter().all(|c| (1..=10).contains(c)));
        assert_eq!(median(5, Duration::ZERO, || Ok(7.0)).unwrap(), 7.0);
        assert!(median(5, Duration::ZERO, || anyhow::bail!("no")).is_err());
    }

    #[test]
    fn a_few_lucky_probes_are_not_the_best() {
        let mut probes = vec![100; MANY];
        probes[..LUCKY].fill(70);
        assert_eq!(best(probes.clone()), 100);
        probes[LUCKY] = 70;
        assert_eq!(best(probes), 70);
        assert!(is_calm(105, 100) && !is_calm(106, 100) && is_calm(70, 100));
    }
}

//! A fuzzer for a machine without one: random changes of the seeds, from a fixed number, no coverage feedback.
//!
//! `cargo run --example mutate TARGET SECONDS`, in tests/fuzz. Writes what fails to corpus/TARGET/crash-NUMBER.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::path::Path;
use std::time::{Duration, Instant};

fn change(rng: &mut StdRng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut data = seeds[rng.random_range(0..seeds.len())].clone();
    for _ in 0..rng.random_range(1..6) {
        let at = rng.random_range(0..=data.len());
        let end = (at + rng.random_range(0..16)).min(data.len());
        let other = &seeds[rng.random_range(0..seeds.len())];
        let from = rng.random_range(0..=other.len());
        match rng.random_range(0..6) {
            0 => data.truncate(at),
            1 => drop(data.drain(at..end)),
            2 => drop(data.splice(at..end, other[from..].iter().copied().take(64))),
            3 => drop(data.splice(at..at, other[from..].iter().copied())),
            4 => data[at..end].fill([0, 0xff, 0x7f, 1][rng.random_range(0..4)]),
            _ => data[at..end].iter_mut().take(2).for_each(|b| *b = rng.random()),
        }
    }
    data.truncate(4096);
    data
}

fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let (target, seconds) = (args.next().unwrap_or_default(), args.next().and_then(|s| s.parse().ok()).unwrap_or(20));
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(&target);
    let mut files: Vec<_> = std::fs::read_dir(&directory)?.map(|f| f.map(|f| f.path())).collect::<Result<_, _>>()?;
    files.sort();
    let seeds: Vec<_> = files.into_iter().map(std::fs::read).collect::<Result<_, _>>()?;
    let (mut rng, end) = (StdRng::seed_from_u64(1), Instant::now() + Duration::from_secs(seconds));
    let (mut runs, mut slowest) = (0u64, Duration::ZERO);
    while Instant::now() < end {
        let (data, start) = (change(&mut rng, &seeds), Instant::now());
        if std::panic::catch_unwind(|| softwire_fuzz::run(&target, &data)).is_err() {
            std::fs::write(directory.join(format!("crash-{runs}")), &data)?;
            println!("{target}: fails after {runs} runs");
            std::process::exit(1);
        }
        (runs, slowest) = (runs + 1, slowest.max(start.elapsed()));
    }
    println!("{target}: {runs} runs, the slowest {slowest:?}");
    Ok(())
}

//! `softwire-fastpath`: what a packet costs a worker. See docs/performance.md.

#![forbid(unsafe_code)]

use anyhow::Context;
use clap::{Parser, Subcommand};
use fastpath::path::{PATHS, Path};
use fastpath::report::Report;
use fastpath::{cores, count, crypto, jitter, latency, lines, measure, proof, rounds, scale};
use std::path::PathBuf;

#[derive(Parser)]
#[command(about = "What a packet costs one worker, in TSC ticks")]
struct Args {
    #[command(subcommand)]
    what: What,
    /// Where reports go, as JSON, Markdown and SVG.
    #[arg(long, global = true)]
    out: Option<PathBuf>,
    /// A command by which each process that measures is started, such as "chrt -f 1".
    #[arg(long, global = true, default_value = "")]
    under: String,
}

#[derive(Subcommand)]
enum What {
    /// Rounds of readings of paths and floors, and their medians.
    Run {
        /// Paths by name or the beginning of it (esp-out, encap-64, l2tp4-in-64-1000); none: all of the table.
        paths: Vec<String>,
        /// Readings of each.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Without the floors.
        #[arg(long)]
        bare: bool,
    },
    /// Up to 1,000,000 sessions and routes, the memory that they take, and what memory itself takes.
    Scale {
        /// Readings of each.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
    },
    /// Two workers on two cores, and hand-off between them.
    Cores {
        /// Readings of each.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
    },
    /// Time through a worker at parts of its rate, while sessions and routes change; the longest poll that changes cause.
    Latency {
        /// Readings of each.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
    },
    /// Instructions per packet, by callgrind.
    Count,
    /// Each figure of a report as a multiple of another one's.
    Compare {
        /// The earlier report.
        before: PathBuf,
        /// The later one.
        after: PathBuf,
        /// Fails when a figure is more than so many times what it was.
        #[arg(long)]
        most: Option<f64>,
    },
    #[command(hide = true)]
    Scaled { path: String },
    #[command(hide = true)]
    Lines { entries: usize, lines: usize },
    #[command(hide = true)]
    Paired { path: String },
    #[command(hide = true)]
    Handed { path: String },
    #[command(hide = true)]
    Loaded { path: String, load: u64 },
    #[command(hide = true)]
    Changed { path: String },
    #[command(hide = true)]
    Counted { path: String },
    /// One reading of a path, as JSON.
    #[command(hide = true)]
    Measure { path: String, pcap: PathBuf },
    /// Compares what comes out of a path with what went in.
    Verify {
        /// The path.
        path: String,
    },
    /// One reading of the crypto floor, as JSON.
    #[command(hide = true)]
    Crypto { work: String },
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let under: Vec<String> = args.under.split_whitespace().map(str::to_owned).collect();
    let reports = match args.what {
        What::Run { paths, rounds, bare } => {
            vec![rounds::run(&rounds::Plan { paths: chosen(&paths)?, rounds, under, floors: !bare })?]
        }
        What::Scale { rounds } => scale::run(rounds, &under)?,
        What::Cores { rounds } => vec![cores::run(rounds, &under)?],
        What::Latency { rounds } => vec![latency::run(rounds, &under)?, jitter::run(rounds, &under)?],
        What::Loaded { path, load } => return say(&latency::reading(named(&path)?, load)?),
        What::Changed { path } => return say(&jitter::reading(named(&path)?)?),
        What::Count => vec![count::run()?],
        What::Scaled { path } => return say(&scale::reading(named(&path)?)?),
        What::Lines { entries, lines } => return say(&lines::reading(entries, lines)?),
        What::Paired { path } => return say(&cores::paired(named(&path)?)?),
        What::Handed { path } => return say(&cores::handed(named(&path)?)?),
        What::Counted { path } => return count::counted(named(&path)?),
        What::Compare { before, after, most } => {
            return compare(&Report::load(&before)?, &Report::load(&after)?, most);
        }
        What::Measure { path, pcap } => return say(&measure::path(named(&path)?, &pcap)?),
        What::Verify { path } => return say(&proof::run(named(&path)?)?),
        What::Crypto { work } => {
            measure::pin()?;
            return say(&crypto::run(&serde_json::from_str(&work)?)?);
        }
    };
    for report in &reports {
        if let Some(dir) = &args.out {
            report.save(dir).with_context(|| dir.display().to_string())?;
        }
        print!("{report}");
    }
    Ok(())
}

fn say(what: &impl serde::Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(what)?);
    Ok(())
}

fn compare(before: &Report, after: &Report, most: Option<f64>) -> anyhow::Result<()> {
    if before.machine.cpu != after.machine.cpu || before.machine.flags != after.machine.flags {
        println!("another machine: {} before, {} now", before.machine.cpu, after.machine.cpu);
    }
    println!("{:<32} {:>8} {:>8} {:>7}", format!("{} ({})", after.benchmark, after.unit), "before", "now", "ratio");
    for (name, old, new, ratio) in after.ratios(before) {
        println!("{name:<32} {old:>8.1} {new:>8.1} {ratio:>7.3}");
    }
    let worst = after.ratios(before).first().map(|r| r.3);
    anyhow::ensure!(worst.is_some(), "the reports have no figure in common");
    if let Some(most) = most {
        anyhow::ensure!(worst <= Some(most), "more than {most} times what it was");
    }
    Ok(())
}

fn named(name: &str) -> anyhow::Result<Path> {
    Path::named(name).ok_or_else(|| anyhow::anyhow!("no path {name:?}; esp-out-64 is one"))
}

/// Paths of the table that begin with one of `names`, and those that are named in full.
fn chosen(names: &[String]) -> anyhow::Result<Vec<Path>> {
    if names.is_empty() {
        return Ok(PATHS.to_vec());
    }
    let mut all = Vec::new();
    for name in names {
        let exact = Path::named(name).filter(|p| p.to_string() == *name);
        let found = PATHS.iter().filter(|p| p.to_string().starts_with(name)).copied();
        all.extend(exact.map_or_else(|| found.collect(), |p| vec![p]));
    }
    anyhow::ensure!(!all.is_empty(), "no path begins with any of {names:?}");
    Ok(all)
}

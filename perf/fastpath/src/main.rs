//! `softwire-fastpath`: ticks per packet of a worker. See docs/performance.md.

#![forbid(unsafe_code)]

use clap::{Parser, Subcommand};
use fastpath::path::{PATHS, Path};
use fastpath::{measure, rounds};

#[derive(Parser)]
#[command(about = "What a packet costs one worker, in TSC ticks")]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Rounds of readings, and their medians.
    Run {
        /// Paths by name or the beginning of it (esp-out, encap-64, l2tp4-in-64-1000); none: all of the table.
        paths: Vec<String>,
        /// Readings of each.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// A command by which each reading is started, such as "chrt -f 1".
        #[arg(long, default_value = "")]
        under: String,
    },
    /// One reading of one path, as JSON.
    Measure {
        /// Its name.
        path: String,
    },
}

fn main() -> anyhow::Result<()> {
    match Args::parse().what {
        What::Run { paths, rounds, under } => {
            let under: Vec<String> = under.split_whitespace().map(str::to_owned).collect();
            rounds::print(&rounds::run(&chosen(&paths)?, rounds, &under)?);
        }
        What::Measure { path } => println!("{}", serde_json::to_string(&measure::path(named(&path)?)?)?),
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
        let found: Vec<Path> = PATHS.iter().filter(|p| p.to_string().starts_with(name)).copied().collect();
        let exact = Path::named(name).filter(|p| p.to_string() == *name);
        all.extend(exact.map_or(found, |p| vec![p]));
    }
    anyhow::ensure!(!all.is_empty(), "no path begins with any of {names:?}");
    Ok(all)
}

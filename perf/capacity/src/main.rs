//! `softwire-capacity`: runs a profile, and what belongs to it.

#![forbid(unsafe_code)]

use anyhow::Context;
use clap::{Parser, Subcommand};
use softwire_capacity::fleet::{self, KeyKind};
use softwire_capacity::profile::Profile;
use softwire_capacity::result::Outcome;
use softwire_capacity::{report, run};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Emulates subscribers of a softwire gateway and measures what it does to packets.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a profile; writes result.json and report.html. Exit status 1: it ran, and a criterion is not met.
    Run {
        /// The profile.
        profile: PathBuf,
        /// Directory for the result and the report.
        #[arg(long, default_value = "capacity")]
        out: PathBuf,
        /// The result of an earlier run, to which the report compares this one.
        #[arg(long)]
        compare: Option<PathBuf>,
    },
    /// Check a profile.
    Check {
        /// The profile.
        profile: PathBuf,
    },
    /// Print what the gateway has to know of a profile's subscribers, as a part of its configuration.
    Gateway {
        /// The profile.
        profile: PathBuf,
        /// The gateway's name of the port on the subscribers' side; for several packet cores, one each.
        #[arg(long, default_value = "access")]
        port: Vec<String>,
    },
    /// Make an authority, a certificate for the gateway and a key for the subscribers.
    Pki {
        /// Where they go.
        directory: PathBuf,
        /// The gateway's IKE identity.
        #[arg(long)]
        gateway: String,
        /// What kind of keys.
        #[arg(long, value_enum, default_value = "ecdsa")]
        keys: KeyKind,
    },
    /// Make a report of a result.
    Report {
        /// The result.
        result: PathBuf,
        /// The report.
        #[arg(long, default_value = "report.html")]
        out: PathBuf,
        /// The result of an earlier run.
        #[arg(long)]
        compare: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    match command(Arguments::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(e) => {
            eprintln!("softwire-capacity: {e:#}");
            ExitCode::from(2)
        }
    }
}

fn command(command: Command) -> anyhow::Result<bool> {
    match command {
        Command::Run { profile, out, compare } => {
            let profile = Arc::new(Profile::load(&profile)?);
            // What cannot be read is found before the test, not after it.
            let earlier = compare.as_deref().map(Outcome::read).transpose()?;
            std::fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
            let outcome = run::run(&profile, say)?;
            outcome.write(&out.join("result.json"))?;
            write(&out.join("report.html"), &report::html(&outcome, earlier.as_ref()))?;
            summary(&outcome);
            Ok(outcome.passed)
        }
        Command::Check { profile } => {
            let profile = Arc::new(Profile::load(&profile)?);
            for core in 0..profile.generator.cores.len() {
                fleet::Fleet::new(&profile, core)?;
            }
            println!("{}: {} subscribers, {} stages", profile.name, profile.subscribers.count, profile.stages.len());
            Ok(true)
        }
        Command::Gateway { profile, port } => {
            let document = fleet::document(&Profile::load(&profile)?, &port);
            println!("{}", serde_json::to_string_pretty(&document)?);
            Ok(true)
        }
        Command::Pki { directory, gateway, keys } => {
            fleet::make_pki(&directory, &gateway, keys)?;
            Ok(true)
        }
        Command::Report { result, out, compare } => {
            let earlier = compare.as_deref().map(Outcome::read).transpose()?;
            write(&out, &report::html(&Outcome::read(&result)?, earlier.as_ref()))?;
            Ok(true)
        }
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| path.display().to_string())
}

// A terminal that is gone ends the test as little as a full disk ends its log.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn summary(outcome: &Outcome) {
    for stage in &outcome.stages {
        for s in &stage.searches {
            say(&format!("{} octets: NDR {:.0} pps, PDR {:.0} pps each way ({:?})", s.size, s.ndr, s.pdr, s.bound));
        }
        if let Some(s) = &stage.setups {
            say(&format!("{:?} set-ups: {:.1} per second", s.extent, s.per_second));
        }
        for (why, n) in stage.subscribers.failed.iter().chain(&stage.subscribers.lost) {
            say(&format!("{}: {n} x {why}", stage.kind));
        }
    }
    for c in &outcome.checks {
        let verdict = if c.passed { "ok  " } else { "FAIL" };
        say(&format!("{verdict} {}: {} (demanded: {})", c.what, c.found, c.demanded));
    }
}

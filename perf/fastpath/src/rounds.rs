//! Rounds: each takes a reading of every path, in a process of its own, so that what slows the machine down for a while
//! slows down all, and no path has the memory that the one before has left.

use crate::measure::Reading;
use crate::path::{Goal, Kind, Path};
use anyhow::{Context, ensure};
use std::io::IsTerminal;
use std::process::{Command, Stdio};

/// Readings of one path.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which.
    pub path: Path,
    /// Ticks per packet, by round.
    pub ticks: Vec<f64>,
}

impl Row {
    /// The median.
    pub fn median(&self) -> f64 {
        let mut sorted = self.ticks.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// Least and most.
    pub fn range(&self) -> (f64, f64) {
        self.ticks.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), t| (a.min(*t), b.max(*t)))
    }
}

/// Takes `rounds` readings of each path. `under` is a command that each process is started by, such as `chrt -f 1`.
pub fn run(paths: &[Path], rounds: usize, under: &[String]) -> anyhow::Result<Vec<Row>> {
    let mut rows: Vec<Row> = paths.iter().map(|p| Row { path: *p, ticks: Vec::new() }).collect();
    let watched = std::io::stderr().is_terminal();
    for round in 1..=rounds {
        for row in &mut rows {
            if watched {
                eprint!("\rround {round}/{rounds}  {:<20}", row.path.to_string());
            }
            row.ticks.push(reading(&row.path, under)?.ticks);
        }
    }
    if watched {
        eprintln!();
    }
    Ok(rows)
}

fn reading(path: &Path, under: &[String]) -> anyhow::Result<Reading> {
    let own = std::env::current_exe()?.into_os_string();
    let args = under.iter().map(Into::into).chain([own, "measure".into(), path.to_string().into()]);
    let args: Vec<std::ffi::OsString> = args.collect();
    let (program, args) = args.split_first().context("a program")?;
    let output = Command::new(program).args(args).stderr(Stdio::inherit()).output().context("starting a reading")?;
    ensure!(output.status.success(), "{path}: {}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().context("a reading")?;
    Ok(serde_json::from_str(line)?)
}

/// The table.
pub fn print(rows: &[Row]) {
    println!("{:<20} {:>6} {:>8}   {:<13}", "path", "goal", "median", "min-max");
    for row in rows {
        let (least, most) = row.range();
        let goal = goal(row, rows).map_or_else(String::new, |g| format!("{g:.0}"));
        println!("{:<20} {goal:>6} {:>8.0}   {least:.0}-{most:.0}", row.path.to_string(), row.median());
    }
}

/// What a path is to cost, as far as `rows` tell it.
fn goal(row: &Row, rows: &[Row]) -> Option<f64> {
    let path = &row.path;
    let other =
        |kind, peers| rows.iter().find(|r| (r.path.kind, r.path.octets, r.path.peers) == (kind, path.octets, peers));
    match path.goal {
        Goal::Ticks(n) => Some(f64::from(n)),
        Goal::Flat => other(path.kind, 1).map(|one| 1.1 * one.median()),
        Goal::NearTunnel => {
            let kind = if path.kind.is_outbound() { Kind::EspOut } else { Kind::EspIn };
            other(kind, path.peers).map(|tunnel| tunnel.median() + 40.0)
        }
        Goal::None => None,
    }
}

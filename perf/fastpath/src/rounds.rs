//! Rounds: each takes a reading of every path and of its floors, each in a process of its own, so that what slows the
//! machine down for a while slows down all, and no path has the memory that the one before has left.

use crate::bed;
use crate::crypto::Work;
use crate::floor;
use crate::measure::{CORE, FRAMES, Reading};
use crate::path::{Goal, Kind, Path};
use crate::quiet;
use crate::report::{self, Report, Row, Samples};
use crate::world::World;
use anyhow::{Context, ensure};
use ipsec_mb::Algorithm;
use serde::de::DeserializeOwned;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::Stdio;

/// Buffers of the comparison of crypto devices.
const SIZES: [usize; 3] = [64, 512, 1420];

/// What is to be done.
pub struct Plan {
    /// Paths.
    pub paths: Vec<Path>,
    /// Readings of each.
    pub rounds: usize,
    /// A command that each process is started by, such as `chrt -f 1`.
    pub under: Vec<String>,
    /// Floors as well.
    pub floors: bool,
}

/// One path with its files and floors.
struct Line {
    path: Path,
    pcap: PathBuf,
    /// Frames of the same length in the same number cost the same to move.
    io: (u64, usize),
    crypto: Option<Work>,
    row: Row,
}

/// See the module. Correctness comes first: a path that does something else is not worth a figure.
pub fn run(plan: &Plan) -> anyhow::Result<Report> {
    let files = Files::new()?;
    let mut lines: Vec<Line> = plan.paths.iter().map(|p| line(*p, &files)).collect::<anyhow::Result<_>>()?;
    for line in &lines {
        say(&format!("comparing packets   {}", line.path));
        let _: usize = child(&plan.under, &["verify", &line.path.to_string()])?;
    }
    let mut devices: Vec<Row> = Vec::new();
    for round in 1..=plan.rounds {
        let say =
            |what: &str, of: &dyn std::fmt::Display| say(&format!("round {round} of {}   {what} {of}", plan.rounds));
        for n in 0..lines.len() {
            let (path, pcap) = (lines[n].path.to_string(), lines[n].pcap.clone());
            say("", &path);
            let reading: Reading = child(&plan.under, &["measure", &path, &pcap.to_string_lossy()])?;
            lines[n].row.measured.0.push(reading.ticks);
            lines[n].row.add_nodes(reading.nodes);
            if !plan.floors {
                continue;
            }
            // What a floor has cost another path in this round, it costs this one.
            let known = |lines: &[Line], part: &str, same: &dyn Fn(&Line) -> bool| {
                let other = lines[..n].iter().find(|l| same(l)).map(|l| &l.row);
                let samples = other.and_then(|r| r.parts.iter().find(|p| p.0 == part));
                samples.and_then(|s| s.1.0.last().copied())
            };
            let io = match known(&lines, IO, &|l| l.io == lines[n].io) {
                Some(ticks) => ticks,
                None => {
                    say("testpmd", &path);
                    floor::io(&pcap, &plan.under)?
                }
            };
            add(&mut lines[n].row, IO, io);
            let Some(work) = lines[n].crypto else { continue };
            let crypto = match known(&lines, CRYPTO, &|l| l.crypto == Some(work)) {
                Some(ticks) => ticks,
                None => {
                    say("IPsec-MB", &path);
                    child(&plan.under, &["crypto", &serde_json::to_string(&work)?])?
                }
            };
            add(&mut lines[n].row, CRYPTO, crypto);
        }
        if plan.floors {
            for (device, seal) in floor::DEVICES.into_iter().flat_map(|d| [(d, true), (d, false)]) {
                say("crypto-perf", &device);
                let ticks = floor::cryptodev(device, seal, &SIZES, &plan.under)?;
                for (size, ticks) in SIZES.iter().zip(ticks) {
                    let name = format!("{device}-{}-{size}", if seal { "seal" } else { "open" });
                    report::add(&mut devices, name, ticks);
                }
            }
        }
    }
    say("");
    let mut rows: Vec<Row> = lines.iter().map(|l| Row { goal: goal(l, &lines), ..l.row.clone() }).collect();
    rows.extend(devices);
    Ok(Report::new("fastpath", "ticks per packet", rows))
}

const IO: &str = "I/O floor";
const CRYPTO: &str = "crypto floor";

fn add(row: &mut Row, part: &str, ticks: f64) {
    match row.parts.iter_mut().find(|p| p.0 == part) {
        Some(p) => p.1.0.push(ticks),
        None => row.parts.push((part.to_owned(), Samples(vec![ticks]))),
    }
}

fn line(path: Path, files: &Files) -> anyhow::Result<Line> {
    let pcap = files.0.join(format!("{path}.pcap"));
    let mut world = World::new(path, 0)?;
    let count = FRAMES.max(path.peers);
    let peers: Vec<usize> = (0..path.peers).collect();
    bed::write_pcap(&mut world, &peers, count, &pcap)?;
    let packet =
        |algorithm, payload| esp::framing::head_len(algorithm) + payload + esp::framing::tail_len(algorithm, payload);
    let algorithm = Algorithm::AesGcm128;
    let payload = path.octets + if path.kind.is_session() { crate::world::SESSION_HEADERS } else { 0 };
    let crypto = path.kind.is_protected().then(|| Work {
        algorithm: algorithm as u8,
        packet: packet(algorithm, payload),
        keys: path.peers,
        seal: path.kind.is_outbound(),
    });
    let io = (std::fs::metadata(&pcap)?.len(), count);
    let row = Row { name: path.to_string(), ..Row::default() };
    Ok(Line { path, pcap, io, crypto, row })
}

/// What a path is to cost, as far as the others tell it.
fn goal(line: &Line, lines: &[Line]) -> Option<f64> {
    let path = &line.path;
    let other = |kind, peers| {
        let same = |l: &&Line| (l.path.kind, l.path.octets, l.path.peers) == (kind, path.octets, peers);
        lines.iter().find(same).map(|l| &l.row)
    };
    let floor = |row: &Row| row.parts.iter().find(|p| p.0 == IO).and_then(|p| p.1.median()).unwrap_or(0.0);
    match path.goal {
        Goal::Ticks(n) => Some(f64::from(n)),
        Goal::Flat => {
            let one = other(path.kind, 1)?;
            Some(1.1 * one.measured.median()? + (floor(&line.row) - floor(one)).max(0.0))
        }
        Goal::NearTunnel => {
            let kind = if path.kind.is_outbound() { Kind::EspOut } else { Kind::EspIn };
            Some(other(kind, path.peers)?.measured.median()? + 40.0)
        }
        Goal::None => None,
    }
}

/// Runs this program again when the core is quiet, with these arguments, and reads the JSON on its last line.
pub fn child<T: DeserializeOwned>(under: &[String], args: &[&str]) -> anyhow::Result<T> {
    let best = quiet::wait(&[CORE])?;
    let mut command = floor::command(under, std::env::current_exe()?);
    command.env(quiet::BEST_IS, best);
    let output = command.args(args).stderr(Stdio::inherit()).output().context("starting a process")?;
    ensure!(output.status.success(), "{}: {}", args.join(" "), output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(serde_json::from_str(text.lines().last().context("it says nothing")?)?)
}

/// Shows what is being done, to whoever watches.
pub fn say(what: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{what}");
    }
}

/// A directory that goes when this does.
struct Files(PathBuf);

impl Files {
    fn new() -> anyhow::Result<Self> {
        let dir = std::env::temp_dir().join(format!("softwire-fastpath-{}", std::process::id()));
        std::fs::create_dir_all(&dir)?;
        Ok(Self(dir))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

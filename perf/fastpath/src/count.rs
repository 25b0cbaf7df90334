//! Instructions per packet of our own code, counted by callgrind: the same on a busy machine as on a quiet one.
//!
//! What is counted are the instructions of this program's own file while the worker polls: ours, and what of other crates
//! has been compiled into it. Drivers, libc and IPsec-MB are files of their own and are left out, so it does not matter
//! which of its implementations IPsec-MB takes for the processor. Valgrind shows programs no AVX-512, so AES-GCM is the
//! library's here.

use crate::bed::Ringed;
use crate::path::Path;
use crate::report::{Report, Row, Samples};
use crate::rounds::say;
use crate::world::World;
use anyhow::{Context, ensure};
use dataplane::worker::Worker;
use dpdk::Burst;
use std::collections::HashMap;
use std::process::{Command, Stdio};

/// Polls that are counted.
const POLLS: usize = 8;
/// The paths that are counted.
const PATHS: [&str; 8] = [
    "esp-out-64",
    "esp-in-64",
    "encap-64",
    "decap-64",
    "forward-64",
    "l2tp4-out-64-64",
    "l2tp4-in-64-64",
    "l2tp6-in-64",
];

/// Counts all of them.
pub fn run() -> anyhow::Result<Report> {
    let own = std::env::current_exe()?;
    let mut rows = Vec::new();
    for name in PATHS {
        say(&format!("counting   {name}"));
        let file = std::env::temp_dir().join(format!("softwire-fastpath-{}.callgrind", std::process::id()));
        let out = format!("--callgrind-out-file={}", file.display());
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--quiet", "--collect-atstart=no", "--toggle-collect=*counted_poll*", &out]);
        let status = command.arg(&own).args(["counted", name]).stdout(Stdio::null()).status().context("valgrind")?;
        let text = std::fs::read_to_string(&file);
        let _ = std::fs::remove_file(&file);
        ensure!(status.success(), "{name}: {status}");
        let instructions = own_cost(&text?, &own.to_string_lossy());
        let measured = Samples(vec![instructions as f64 / (POLLS * Burst::CAPACITY) as f64]);
        rows.push(Row { name: name.into(), measured, ..Row::default() });
    }
    say("");
    Ok(Report::new("instructions", "instructions per packet", rows))
}

/// What callgrind watches.
pub fn counted(path: Path) -> anyhow::Result<()> {
    dpdk::sim::eal().map_err(|e| anyhow::anyhow!("{e}"))?;
    let _lcore = dpdk::lcore::register()?;
    let mut world = World::new(path, 64)?;
    let mut ringed = Ringed::new(&world, "count", 0)?;
    ringed.bed.populate(&world)?;
    let mut out = Burst::new();
    for poll in 0..2 * POLLS {
        let first = poll * Burst::CAPACITY;
        let frames = (first..first + Burst::CAPACITY).map(|n| world.frame(n % path.peers, n));
        let frames: Vec<_> = frames.collect::<anyhow::Result<_>>()?;
        if poll < POLLS {
            ringed.pass(&frames, &mut out)?;
        } else {
            ringed.pass_by(&frames, &mut out, counted_poll)?;
        }
    }
    Ok(())
}

/// By this name callgrind knows when to count.
#[inline(never)]
fn counted_poll(worker: &mut Worker) {
    worker.poll();
}

/// Instructions of one object file in what callgrind has written: after `ob=` and `fn=` lines of its name, each line of
/// numbers ends with a cost, except the one after `calls=`, which is the callee's.
fn own_cost(text: &str, object: &str) -> u64 {
    let (mut names, mut ours, mut callee, mut sum) = (HashMap::new(), false, false, 0);
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("ob=") {
            ours = resolve(&mut names, name) == object;
        } else if let Some(name) = line.strip_prefix("cob=") {
            resolve(&mut names, name);
        } else if line.starts_with("calls=") {
            callee = true;
        } else if line.starts_with(|c: char| c.is_ascii_digit() || "+-*".contains(c)) {
            let cost = line.split_whitespace().nth(1).and_then(|c| c.parse::<u64>().ok());
            if ours && !callee {
                sum += cost.unwrap_or(0);
            }
            callee = false;
        }
    }
    sum
}

/// `(7) name` names number 7; later it is only `(7)`.
fn resolve(names: &mut HashMap<String, String>, text: &str) -> String {
    let Some((number, name)) = text.split_once(')') else { return text.to_owned() };
    if name.trim().is_empty() {
        return names.get(number).cloned().unwrap_or_default();
    }
    names.insert(number.to_owned(), name.trim().to_owned());
    name.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_instructions_are_counted_and_no_one_elses() {
        let text = "events: Ir\nob=(1) /bin/us\nfl=(1) a.rs\nfn=(1) poll\n10 5\n+2 7\ncob=(2) /lib/them.so\ncfn=(2) gcm\n\
                    calls=3 20\n12 900\n* 1\n\nob=(2)\nfn=(2)\n20 300\n\nob=(1)\nfn=(3) other\n30 4\ntotals: 1217\n";
        assert_eq!(own_cost(text, "/bin/us"), 17);
        assert_eq!(own_cost(text, "/lib/them.so"), 300);
    }
}

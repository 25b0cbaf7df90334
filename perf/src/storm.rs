//! `storm`: subscribers come one after the other and stay for a minute; then all vanish without a word, and come back at the
//! same moment.

use crate::clock::spread;
use crate::resident;
use crate::subscribers::Source;
use crate::subscribers::network::{DataPlane, Network, Work};
use crate::traffic::Traffic;
use anyhow::ensure;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Subscribers on their way at a time while they come one after the other: fewer than those from which on cookies are asked.
const PACE: usize = 64;
/// Time at rest.
const REST: Duration = Duration::from_secs(60);
/// Time in which the worker is measured while nobody comes, before and after the storm.
const ALONE: Duration = Duration::from_secs(5);
/// After that the rest will not come back any more.
const PATIENCE: Duration = Duration::from_secs(1800);

/// Measures with `n` subscribers; with `established` more whose packets a worker on another core carries meanwhile.
pub fn run(n: usize, source: Source, established: usize) -> anyhow::Result<()> {
    if established == 0 {
        return storm(n, source, None, &AtomicUsize::new(0)).map(drop);
    }
    let (traffic, dataplane) = Traffic::new(n, established)?;
    let phase = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| traffic.run(&phase));
        let done = storm(n, source, Some(dataplane), &phase);
        phase.store(usize::MAX, Relaxed);
        let [alone, _, storm] = worker.join().map_err(|_| anyhow::anyhow!("the worker's thread panicked"))??;
        let took = done?;
        ensure!(alone.polls > 0 && storm.polls > 0, "no packets were carried");
        let changes = storm.changes.saturating_sub(alone.changes / alone.polls * storm.polls);
        let left = 1.0 - changes.as_secs_f64() / took.as_secs_f64();
        let [at_rest, meanwhile] = [alone, storm].map(|spent| {
            let mean = spent.packets.iter().sum::<f64>() / spent.packets.len() as f64;
            (mean, spread(spent.packets))
        });
        println!("{established} more carry 512 octets both ways, ns a packet (mean; least, median, most), none lost:");
        for (what, (mean, [least, median, most])) in [("while nobody comes", at_rest), ("in the storm", meanwhile)] {
            println!("{what:<26} {mean:>6.1}; {least:.0}, {median:.1}, {most:.0}");
        }
        println!(
            "changes of tables take {:.2} s of {:.1}; of the rate are left {:.1} % by the mean, {:.1} % by the median",
            changes.as_secs_f64(),
            took.as_secs_f64(),
            100.0 * left * at_rest.0 / meanwhile.0,
            100.0 * left * at_rest.1[1] / meanwhile.1[1]
        );
        Ok(())
    })
}

/// Phases of `phase`: 0 the gateway is being made, 1 nobody comes, before and after all, 2 they come and rest, 3 they come back at once.
/// Gives how long that took.
fn storm(n: usize, source: Source, dataplane: Option<DataPlane>, phase: &AtomicUsize) -> anyhow::Result<Duration> {
    let (start, measured) = (Instant::now(), dataplane.is_some());
    let mut net = Network::new(n, source, "1h", dataplane)?;
    println!("{n} subscribers, {source:?}; configuration read in {:.1} s", start.elapsed().as_secs_f64());
    if measured {
        // The worker has the other core.
        if dpdk::lcore::pin(0).is_err() {
            eprintln!("not pinned to core 0");
        }
        phase.store(1, Relaxed);
        std::thread::sleep(ALONE);
    }
    phase.store(2, Relaxed);
    println!("seconds of the clock, and of the control plane's processor time");

    let memory = resident();
    come(&mut net, n)?;
    report("came one after the other", &mut net, n);
    // Of a process that does other things as well, it may be less.
    let grown = (resident() as i64 - memory as i64) / n as i64;
    println!("{grown} octets a subscriber, both ends");

    net.run(REST, |_| false)?;
    report("at rest", &mut net, n);
    ensure!(net.again.0 == 0 && net.complete() == n, "{} were lost at rest: {}", net.again.0, net.again.1);

    net.vanish();
    phase.store(3, Relaxed);
    let begin = net.now;
    for i in 0..n as u32 {
        net.begin(i)?;
    }
    let back = net.run(PATIENCE, |net| net.complete() == n)?;
    let all = net.now - begin;
    if measured {
        phase.store(1, Relaxed);
        std::thread::sleep(ALONE);
    }
    phase.store(2, Relaxed);
    report("came back at once", &mut net, n);
    let missing: Vec<u32> = (0..n as u32).filter(|i| net.took[*i as usize].is_none()).collect();
    for i in missing.iter().take(10) {
        println!("subscriber {i} is not back: {:?}", net.client(*i));
    }
    ensure!(back, "{} of {n} are not back after {PATIENCE:?}; {:?}", missing.len(), net.again);
    let mut waits: Vec<Duration> = net.took.iter().flatten().copied().collect();
    waits.sort();
    let at = |share: usize| waits[(waits.len() - 1) * share / 100].as_secs_f64();
    println!(
        "all are back after {:.1} s; half of them after {:.1} s, 90 % after {:.1} s, the last one after {:.1} s",
        all.as_secs_f64(),
        at(50),
        at(90),
        at(100),
    );
    check(&mut net, n)?;
    Ok(all)
}

pub(crate) fn come(net: &mut Network, n: usize) -> anyhow::Result<()> {
    let mut next = 0;
    while net.complete() < n {
        while next < n && next - net.complete() < PACE {
            net.begin(next as u32)?;
            next += 1;
        }
        let target = (next - PACE.min(next) + 1).min(n).max(net.complete() + 1);
        ensure!(net.run(REST, |net| net.complete() >= target)?, "{} of {next} are up: {:?}", net.complete(), net.again);
    }
    Ok(())
}

/// Where the time went since the last report.
pub(crate) fn report(what: &str, net: &mut Network, n: usize) {
    let spent: Duration = net.spent.iter().sum();
    let since = net.now - net.reported;
    println!(
        "{what:<26} {:>8.1} s, processor {:>7.2} s ({:>3.0} %), {:>6.1} us a subscriber; lost {:?}, again {}, rejected {}",
        since.as_secs_f64(),
        spent.as_secs_f64(),
        100.0 * spent.as_secs_f64() / since.as_secs_f64(),
        spent.as_secs_f64() * 1e6 / n as f64,
        net.lost,
        net.again.0,
        net.rejected,
    );
    let each = Work::ALL.iter().zip(net.spent).map(|(w, t)| format!("{w:?} {:.1}", t.as_secs_f64() * 1e6 / n as f64));
    println!("{:<26} us by kind of work: {}", "", each.collect::<Vec<_>>().join(", "));
    net.spent = Default::default();
    net.reported = net.now;
}

/// All are up, nobody else, and nobody was refused.
fn check(net: &mut Network, n: usize) -> anyhow::Result<()> {
    let (status, counters) = net.status()?;
    let refused: Vec<_> = counters.control.iter().filter(|(_, v)| **v > 0).collect();
    println!("counters of the control plane: {refused:?}");
    if net.again.0 > 0 {
        println!("the last one to begin again: {}", net.again.1);
    }
    ensure!(status.open_sessions == n, "{} sessions are open", status.open_sessions);
    ensure!(net.rejected == 0, "{} were rejected", net.rejected);
    Ok(())
}

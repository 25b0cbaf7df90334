//! Latency: how long a packet is on its way through a worker that is given a part of what it can do, while sessions come
//! and go and routes change.
//!
//! ```text
//!   core 0: generator ─► ring ─► core 1: worker ─► ring ─► generator
//! ```
//!
//! The generator sends by the clock, whether or not anything comes back, and a packet's time begins when it was due. Packets
//! keep their order, so the n-th that comes is the n-th that went. When the generator's own thread was held up, what is on
//! its way is not counted and the clock is put back: how much time that was is told. The worker's longest poll is taken by its
//! own thread, always.

use crate::bed::Ringed;
use crate::path::{Goal, Kind, Path};
use crate::report::{self, Report, Row};
use crate::rounds::{child, say};
use crate::world::World;
use anyhow::{Context, ensure};
use dataplane_api::SnapshotOp;
use dpdk::lcore::tsc;
use dpdk::{Burst, Mempool};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

const KINDS: [Kind; 2] = [Kind::Softwire4Out, Kind::Softwire4In];
const LOADS: [u64; 3] = [10, 50, 90];
const PEERS: usize = 1000;
/// Sessions that come and go beside them, and how many a second.
const COMING: usize = 64;
const SESSIONS_PER_SECOND: u64 = 1000;
const ROUTES_PER_SECOND: u64 = 20;
/// Seconds of each load, and of finding out what the worker can do.
const TIME: f64 = 0.8;
const FULL: f64 = 0.3;
/// Seconds after which the generator has been held up: by publishing a route, or by the operating system.
const HELD_UP: f64 = 20e-6;
/// What the rings hold.
const DEPTH: u32 = 8191;
/// Packets on their way while it is found out what the worker can do: two polls' worth and what the generator is busy with.
const IN_FLIGHT: usize = 256;
/// How often a reading is tried.
const ATTEMPTS: usize = 4;
/// Frames that are made beforehand.
const FRAMES: usize = 4096;

/// What one process has measured, in microseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Reading {
    p50: f64,
    p99: f64,
    p999: f64,
    longest_poll: f64,
    /// Million packets a second at full load.
    full: f64,
    /// Percent of the time in which the generator was held up.
    held: f64,
}

/// Rounds of all loads.
pub fn run(rounds: usize, under: &[String]) -> anyhow::Result<Report> {
    let mut rows: Vec<Row> = Vec::new();
    for round in 1..=rounds {
        for (kind, load) in KINDS.iter().flat_map(|k| LOADS.map(|l| (k, l))) {
            say(&format!("round {round} of {rounds}   {kind} at {load} %"));
            let path = Path { kind: *kind, octets: 64, peers: PEERS, goal: Goal::None };
            let (path, load_text) = (path.to_string(), load.to_string());
            let take = || child(under, &["loaded", &path, &load_text]);
            // Held up for longer than the rings last, a generator has to begin again.
            let r: Reading = (1..ATTEMPTS).find_map(|_| take().ok()).map_or_else(take, Ok)?;
            let figures = [
                ("p50", r.p50),
                ("p99", r.p99),
                ("p99.9", r.p999),
                ("longest poll", r.longest_poll),
                ("Mpps at 100 %", r.full),
                ("% of time left out", r.held),
            ];
            for (what, figure) in figures {
                report::add(&mut rows, format!("{kind} at {load} %: {what}"), figure);
            }
        }
    }
    say("");
    Ok(Report::new("latency", "microseconds where not said", rows))
}

/// One reading at a load in percent.
pub fn reading(path: Path, load: u64) -> anyhow::Result<Reading> {
    crate::measure::huge_pages()?;
    let _lcore = dpdk::lcore::register()?;
    dpdk::lcore::pin(0)?;
    // The frames repeat, and with them their sequence numbers.
    let mut world = World::new(path, 0)?;
    let frames: Vec<Vec<u8>> = (0..FRAMES).map(|n| world.frame(n % path.peers, n)).collect::<anyhow::Result<_>>()?;
    let mut ringed = Ringed::deep(&world, "latency", COMING, DEPTH)?;
    ringed.bed.populate(&world)?;
    let Ringed { bed, publisher, far, pool, .. } = ringed;
    let (from, to) = (usize::from(world.from().0), usize::from(world.to().0));
    let (stop, longest, ready) = (AtomicBool::new(false), AtomicU64::new(0), Barrier::new(2));
    let crate::bed::Bed { mut worker, handle, .. } = bed;
    let hz = dpdk::lcore::tsc_hz()? as f64;
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| -> anyhow::Result<()> {
            // A thread begins on the core of who has started it.
            let own = dpdk::lcore::register().and_then(|l| dpdk::lcore::pin(crate::measure::CORE).map(|()| l));
            ready.wait();
            let _lcore = own?;
            while !stop.load(Relaxed) {
                let start = tsc();
                worker.poll();
                longest.fetch_max(tsc() - start, Relaxed);
            }
            Ok(())
        });
        ready.wait();
        let mut generator = Generator { far, from, to, pool, frames, handle, publisher, world, next: 0, churned: 0 };
        let result = (|| {
            let full = generator.full((FULL * hz) as u64)?;
            longest.store(0, Relaxed);
            let (histogram, held) = generator.paced(full * load as f64 / 100.0, hz, (TIME * hz) as u64)?;
            let us = |ticks: u64| ticks as f64 / hz * 1e6;
            let at = |share| us(histogram.value_at_quantile(share));
            let longest_poll = us(longest.load(Relaxed));
            let (p50, p99, p999) = (at(0.5), at(0.99), at(0.999));
            Ok(Reading { p50, p99, p999, longest_poll, full: full * hz / 1e6, held: held * 100.0 })
        })();
        stop.store(true, Relaxed);
        thread.join().map_err(|_| anyhow::anyhow!("the worker panicked"))??;
        result
    })
}

struct Generator {
    far: Vec<dpdk::sim::SimQueue>,
    from: usize,
    to: usize,
    pool: Mempool,
    frames: Vec<Vec<u8>>,
    handle: dataplane_api::WorkerHandle,
    publisher: Option<dataplane::publish::Publisher>,
    world: World,
    next: usize,
    churned: u64,
}

impl Generator {
    /// Sends at most so many frames; fewer when the ring is full. Gives how many.
    fn send(&mut self, count: usize) -> anyhow::Result<usize> {
        let mut burst = Burst::new();
        for n in 0..count.min(Burst::CAPACITY) {
            let mbuf = self.pool.alloc_with(&self.frames[(self.next + n) % self.frames.len()]).context("no buffer")?;
            ensure!(burst.push(mbuf).is_ok(), "a burst is full");
        }
        let sent = self.far[self.from].push_burst(&mut burst);
        self.next += sent;
        Ok(sent)
    }

    /// Packets per tick when the worker is never without.
    fn full(&mut self, time: u64) -> anyhow::Result<f64> {
        let (mut out, mut received, start) = (Burst::new(), 0, tsc());
        let before = self.next;
        while tsc() - start < time {
            self.send(IN_FLIGHT.saturating_sub(self.next - before - received))?;
            received += self.far[self.to].pop_burst(&mut out);
            out.clear();
            while self.handle.events.pop().is_ok() {}
        }
        let rate = received as f64 / (tsc() - start) as f64;
        let deadline = tsc() + time;
        while received < self.next - before && tsc() < deadline {
            received += self.far[self.to].pop_burst(&mut out);
            out.clear();
        }
        let lost = self.next - before - received;
        ensure!(lost == 0, "{lost} packets were lost: {:?}", crate::bed::drops(&self.handle));
        Ok(rate)
    }

    /// Latencies in ticks at this many packets per tick, and what share of the time is left out.
    fn paced(&mut self, rate: f64, hz: f64, time: u64) -> anyhow::Result<(Histogram<u64>, f64)> {
        let mut histogram = Histogram::new(3)?;
        // When each packet on its way was due; `None`: not to be counted.
        let mut due: VecDeque<Option<u64>> = VecDeque::with_capacity(4096);
        let (mut out, mut start, mut last) = (Burst::new(), tsc(), tsc());
        let (mut sent, mut changes, mut routes, mut held) = (0_u64, 0_u64, 0_u64, 0_u64);
        let patience = (HELD_UP * hz) as u64;
        loop {
            let now = tsc();
            if now - last > patience {
                // The generator itself was held up: what is on its way is not to be counted, what was due is not sent.
                due.iter_mut().for_each(|d| *d = None);
                start += now - last;
                held += now - last;
            }
            last = now;
            let elapsed = now - start;
            if elapsed >= time && due.is_empty() {
                return Ok((histogram, held as f64 / (held + elapsed) as f64));
            }
            ensure!(elapsed < 4 * time, "{} packets were lost: {:?}", due.len(), crate::bed::drops(&self.handle));
            let wanted = ((elapsed.min(time) as f64 * rate) as u64).saturating_sub(sent);
            for _ in 0..self.send(wanted as usize)? {
                due.push_back(Some(start + (sent as f64 / rate) as u64));
                sent += 1;
            }
            let n = self.far[self.to].pop_burst(&mut out);
            out.clear();
            let now = tsc();
            for _ in 0..n {
                if let Some(at) = due.pop_front().context("more packets than were sent")? {
                    histogram.record(now.saturating_sub(at).max(1))?;
                }
            }
            let seconds = elapsed as f64 / hz;
            if (changes as f64) < seconds * SESSIONS_PER_SECOND as f64 {
                changes += 1;
                self.churn()?;
            }
            if (routes as f64) < seconds * ROUTES_PER_SECOND as f64 {
                routes += 1;
                self.publish(routes)?;
            }
            while self.handle.events.pop().is_ok() {}
        }
    }

    /// A session comes with its SAs, or goes.
    fn churn(&mut self) -> anyhow::Result<()> {
        let i = self.world.path.peers + (self.churned as usize / 2) % COMING;
        let ops = match self.churned % 2 {
            0 => self.world.own_sas(i)?.into_iter().chain(self.world.own_session(i)?).collect(),
            _ => self.world.disown(i)?,
        };
        self.churned += 1;
        for op in ops {
            ensure!(self.handle.ops.push((1, op)).is_ok(), "the ring is full");
        }
        Ok(())
    }

    /// A route comes or goes, if the worker has seen the last change.
    fn publish(&mut self, n: u64) -> anyhow::Result<()> {
        let publisher = self.publisher.as_mut().context("a publisher")?;
        if !publisher.quiescent() {
            return Ok(());
        }
        let op = match (self.world.route(self.world.path.peers)?, n % 2) {
            (SnapshotOp::RouteAdd(prefix, _), 0) => SnapshotOp::RouteDel(prefix),
            (op, _) => op,
        };
        publisher.apply(&[op]).context("workers read the tables already")?;
        Ok(())
    }
}

//! `churn`: forwarding into softwires by a full table, at rest and while another thread changes 10,000 routes a second
//! through the publisher: routes go, come back, and move to another softwire.

use crate::routes::{V4, V6};
use anyhow::{Context, ensure};
use dataplane::publish::Publisher;
use dataplane_api::{IpPrefix, NextHop, SnapshotOp, SoftwireId};
use dpdk::Burst;
use fastpath::bed::Ringed;
use fastpath::frame::{datagram, framed};
use fastpath::path::Path;
use fastpath::world::{self, World};
use perf::table::{Random, Table};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

const SOFTWIRES: usize = 8;
/// Changes of the tables a second, and how often they come.
const RATE: u64 = 10_000;
const TICK: Duration = Duration::from_millis(1);
/// Time of each measurement, and bursts between two readings.
const TIME: Duration = Duration::from_secs(5);
const BURSTS: usize = 64;
/// Addresses that packets go to.
const DESTINATIONS: usize = 65_536;

fn hop(n: u64) -> NextHop {
    NextHop::Softwire(SoftwireId((n % SOFTWIRES as u64) as u16))
}

/// Measures.
pub fn run() -> anyhow::Result<()> {
    let _lcore = fastpath::measure::start()?;
    let hz = dpdk::lcore::tsc_hz()? as f64;
    let mut world = World::new(Path::named(&format!("encap-64-{SOFTWIRES}")).context("path")?, 0)?;
    world.routes = 1 << 20;
    let mut ringed = Ringed::new(&world, "churn", 0)?;
    let mut publisher = ringed.publisher.take().context("a publisher")?;
    let table = Table::new(V4, V6, 1000);
    let all: Vec<IpPrefix> = table.prefixes().filter_map(|p| IpPrefix::new(p.addr(), p.prefix_len())).collect();
    let load: Vec<_> = all.iter().zip(0..).map(|(p, n)| SnapshotOp::RouteAdd(*p, vec![hop(n)])).collect();
    // A publication takes two turns, one for each pair of tables.
    for ops in [&load[..], &[SnapshotOp::RouteDel(IpPrefix::host([0; 4].into()))]] {
        ringed.bed.worker.poll();
        let errors = publisher.apply(ops).context("workers read the tables already")?;
        ensure!(errors.is_empty(), "{} routes do not fit", errors.len());
        ringed.bed.worker.poll();
        ensure!(publisher.quiescent(), "the worker did not let go of the tables");
    }
    drop(load);
    // Packets go by /24s, of which nothing is longer; one in eight of these changes, and no packet goes there.
    let (changing, fixed): (Vec<IpPrefix>, Vec<_>) =
        all.iter().copied().partition(|p| p.address().is_ipv6() || p.len() == 24 && Random(hash(p)).below(8) == 0);
    let longest = fixed.iter().filter(|p| p.len() == 24).map(IpPrefix::address);
    let destinations: Vec<IpAddr> = longest.step_by(fixed.len() / 2 / DESTINATIONS).collect();
    let mut bed = Bed { ringed, destinations, next: 0 };

    println!(
        "{V4} IPv4 and {V6} IPv6 routes, 4-in-6 encapsulation of 64 octets to {} addresses",
        bed.destinations.len()
    );
    measure("at rest", &mut bed, hz)?;
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let churn = scope.spawn(|| {
            // The thread inherits the worker's core.
            let _ = dpdk::lcore::pin(0);
            churn(&mut publisher, &changing, &stop, &done)
        });
        let start = Instant::now();
        let result = measure("while routes change", &mut bed, hz);
        let rate = done.load(Relaxed) as f64 / start.elapsed().as_secs_f64();
        stop.store(true, Relaxed);
        // The last publication waits for the worker.
        while !churn.is_finished() {
            bed.ringed.bed.worker.poll();
        }
        churn.join().map_err(|_| anyhow::anyhow!("the publisher's thread panicked"))??;
        println!("{rate:.0} changes a second");
        result
    })
}

/// A worker, and the addresses that packets go to in turn.
struct Bed {
    ringed: Ringed,
    destinations: Vec<IpAddr>,
    next: usize,
}

impl Bed {
    /// Ticks of the polls of so many bursts.
    fn round(&mut self) -> anyhow::Result<u64> {
        let (mut ticks, mut out) = (0, Burst::new());
        for _ in 0..BURSTS {
            let mut frames = Vec::with_capacity(Burst::CAPACITY);
            for _ in 0..Burst::CAPACITY {
                self.next += 1;
                let to = self.destinations[self.next % self.destinations.len()];
                frames.push(framed(&datagram(world::HERE.into(), to, 4000, 64)));
            }
            ticks += self.ringed.pass(&frames, &mut out)?;
        }
        Ok(ticks)
    }
}

fn hash(p: &IpPrefix) -> u64 {
    match p.address() {
        IpAddr::V4(a) => u64::from(a.to_bits()),
        IpAddr::V6(a) => (a.to_bits() >> 64) as u64,
    }
}

fn measure(what: &str, bed: &mut Bed, hz: f64) -> anyhow::Result<()> {
    let (mut ticks, start) = (Vec::new(), Instant::now());
    while start.elapsed() < TIME {
        ticks.push(bed.round()? as f64 / (BURSTS * Burst::CAPACITY) as f64);
    }
    let mean = ticks.iter().sum::<f64>() / ticks.len() as f64;
    ticks.sort_by(f64::total_cmp);
    let at = |share: usize| ticks[(ticks.len() - 1) * share / 100];
    println!(
        "{what:<20} {:>5.0} / {:>5.0} / {:>5.0} ticks a packet (min, median, 99 %), {:.2} Mpps on average",
        ticks[0],
        at(50),
        at(99),
        hz / mean / 1e6
    );
    Ok(())
}

/// Changes routes until told to stop, as the publisher's thread of the gateway does.
fn churn(publisher: &mut Publisher, changing: &[IpPrefix], stop: &AtomicBool, done: &AtomicU64) -> anyhow::Result<()> {
    let mut random = Random(3);
    let start = Instant::now();
    while !stop.load(Relaxed) {
        let due = (start.elapsed().as_nanos() as u64 * RATE / 1_000_000_000).saturating_sub(done.load(Relaxed));
        let ops: Vec<SnapshotOp> = (0..due)
            .map(|_| {
                let prefix = changing[random.below(changing.len() as u64) as usize];
                match random.below(3) {
                    0 => SnapshotOp::RouteDel(prefix),
                    n => SnapshotOp::RouteAdd(prefix, vec![hop(random.draw() + n)]),
                }
            })
            .collect();
        while !publisher.quiescent() && !stop.load(Relaxed) {
            std::thread::sleep(Duration::from_micros(100));
        }
        if let Some(errors) = publisher.apply(&ops) {
            ensure!(errors.is_empty(), "{} routes do not fit", errors.len());
            done.fetch_add(due, Relaxed);
        }
        std::thread::sleep(TICK);
    }
    Ok(())
}

//! A worker with the tables of a [`World`] between two ports.

use crate::world::World;
use anyhow::{Context, ensure};
use dataplane::handoff::Handoff;
use dataplane::node::punt::DEFAULT_RATES;
use dataplane::publish::{FibSizes, Publisher};
use dataplane::worker::{Parts, Worker};
use dataplane_api::{Counters, DropReason, WorkerHandle, WorkerId, worker_channel};
use dpdk::sim::{self, SimQueue};
use dpdk::{Burst, Mempool, Port, PortConfig};
use pcap_file::pcap::{PcapPacket, PcapWriter};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Depth of the ring of table changes.
const OPS: usize = 4096;

/// See the module.
pub struct Bed {
    /// The worker.
    pub worker: Worker,
    /// The control plane's ends of its rings.
    pub handle: WorkerHandle,
    /// Who publishes the tables that it reads.
    pub publisher: Publisher,
    /// Ports close when their queues and they are gone.
    _ports: Vec<Port>,
}

impl Bed {
    /// Between ports that are configured and started, in the order of their `PortId`.
    pub fn new(world: &World, mut ports: Vec<Port>, pool: Mempool) -> anyhow::Result<Self> {
        let large = Mempool::new("large", 63, 0, 16 * 1024, None)?;
        let routes = world.routes;
        let sizes = FibSizes { routes_v4: routes, blocks_v4: routes, routes_v6: routes, blocks_v6: 2 * routes };
        let mut publisher = Publisher::new(ports.len(), sizes);
        let mut queues = Vec::new();
        for port in &mut ports {
            queues.extend(port.take_queues()?);
        }
        let n = world.path.peers;
        let (handle, port) = worker_channel(WorkerId(0), OPS, Arc::new(Counters::new(n, n)));
        let handoff = Handoff::mesh(1, 16).pop().context("one worker")?;
        let shared = publisher.shared();
        let parts = Parts { port, queues, pool, large, shared, handoff, rates: DEFAULT_RATES, sessions: n, sas: n };
        let errors = publisher.apply(&world.shared).context("workers read the tables already")?;
        ensure!(errors.is_empty(), "routes do not fit: {errors:?}");
        let mut bed = Self { worker: Worker::new(parts)?, handle, publisher, _ports: ports };
        for i in 0..n {
            for op in world.own(i)? {
                while bed.handle.ops.is_full() {
                    bed.worker.poll();
                }
                ensure!(bed.handle.ops.push((1, op)).is_ok(), "the ring is full");
            }
        }
        while bed.handle.ops.slots() < OPS {
            bed.worker.poll();
        }
        let refused = bed.handle.counters.worker.ops_refused.get();
        ensure!(refused == 0, "{refused} table changes were refused");
        Ok(bed)
    }

    /// Frames received and sent so far.
    pub fn counts(&self) -> (u64, u64) {
        let c = &self.handle.counters.worker;
        (c.received.get(), c.sent.get())
    }

    /// What was dropped, and why.
    pub fn drops(&self) -> Vec<(&'static str, u64)> {
        let c = &self.handle.counters.worker;
        DropReason::ALL.iter().map(|r| (r.name(), c.dropped(*r))).filter(|d| d.1 > 0).collect()
    }
}

/// The ports of a measurement: one repeats the frames of a file for ever (`net_pcap` with `infinite_rx`), the other
/// receives nothing; both throw away what they are given to send.
pub fn repeating(world: &World, file: &Path, pool: &Mempool) -> anyhow::Result<Vec<Port>> {
    let source = format!("net_pcap0,rx_pcap={},infinite_rx=1", file.display());
    let mut devices = [source.as_str(), "net_null0,no-rx=1"];
    if world.from().0 == 1 {
        devices.swap(0, 1);
    }
    let attach = |device: &str| -> anyhow::Result<Port> {
        let mut port = Port::attach(device)?;
        port.configure(&PortConfig::default(), pool)?;
        port.start()?;
        Ok(port)
    };
    devices.into_iter().map(attach).collect()
}

/// A worker between two ports whose other sides are ours, for frames that are made as they are needed.
pub struct Ringed {
    /// The worker.
    pub bed: Bed,
    far: Vec<SimQueue>,
    pool: Mempool,
    from: usize,
    to: usize,
}

impl Ringed {
    /// `name` is one of its own in the process, of at most 12 characters.
    pub fn new(world: &World, name: &str) -> anyhow::Result<Self> {
        let pool = Mempool::new(name, 8191, 256, 2048, None)?;
        let (mut ports, mut far) = (Vec::new(), Vec::new());
        for side in 0..2 {
            let (mut port, queue) = sim::port(&format!("{name}{side}"), 1, 127)?;
            port.configure(&PortConfig::default(), &pool)?;
            port.start()?;
            ports.push(port);
            far.extend(queue);
        }
        let (from, to) = (usize::from(world.from().0), usize::from(world.to().0));
        Ok(Self { bed: Bed::new(world, ports, pool)?, far, pool, from, to })
    }

    /// Lets the worker receive at most a burst of frames in one poll, and gives the ticks that this took. What it has sent
    /// is in `out`; nothing may be missing.
    pub fn pass(&mut self, frames: &[Vec<u8>], out: &mut Burst) -> anyhow::Result<u64> {
        out.clear();
        for frame in frames {
            let mbuf = self.pool.alloc_with(frame).context("no buffer")?;
            ensure!(self.far[self.from].push(mbuf).is_ok(), "the ring is full");
        }
        let start = dpdk::lcore::tsc();
        self.bed.worker.poll();
        let ticks = dpdk::lcore::tsc() - start;
        while self.bed.handle.events.pop().is_ok() {}
        let n = self.far[self.to].pop_burst(out);
        ensure!(n == frames.len(), "{n} of {} packets came out: {:?}", frames.len(), self.bed.drops());
        Ok(ticks)
    }
}

/// Writes `count` frames, those of the peers in turn.
pub fn write_pcap(world: &mut World, count: usize, file: &Path) -> anyhow::Result<()> {
    let mut out = PcapWriter::new(std::io::BufWriter::new(File::create(file)?))?;
    for n in 0..count {
        let frame = world.frame(n % world.path.peers, n)?;
        let len = frame.len() as u32;
        out.write_packet(&PcapPacket::new(Duration::ZERO, len, &frame))?;
    }
    Ok(())
}

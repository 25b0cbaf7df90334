//! A worker with the tables of a [`World`] between two ports.

use crate::world::World;
use anyhow::{Context, ensure};
use dataplane::handoff::Handoff;
use dataplane::node::punt::DEFAULT_RATES;
use dataplane::publish::{FibSizes, Publisher};
use dataplane::worker::{Parts, Worker};
use dataplane_api::{Counters, DropReason, PeerId, TableOp, WorkerHandle, WorkerId, worker_channel};
use dpdk::sim::{self, SimQueue};
use dpdk::{Burst, Mempool, Port, PortConfig};
use pcap_file::pcap::{PcapPacket, PcapWriter};
use std::fs::File;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Depth of the ring of table changes.
const OPS: usize = 4096;
/// Depth of the rings between workers.
const HANDOFF: usize = 1024;

/// See the module.
pub struct Bed {
    /// The worker.
    pub worker: Worker,
    /// The control plane's ends of its rings.
    pub handle: WorkerHandle,
    /// Ports close when their queues and they are gone.
    _ports: Vec<Port>,
}

/// A worker for each set of ports (configured, started, in the order of their `PortId`), and who publishes the tables that
/// they share. Their own tables have room for the world's peers and `more`, and are empty. `name` is one of its own in the
/// process.
pub fn beds(
    world: &World,
    name: &str,
    ports: Vec<Vec<Port>>,
    pool: Mempool,
    more: usize,
) -> anyhow::Result<(Publisher, Vec<Bed>)> {
    let large = Mempool::new(&format!("{name}-large"), 63, 0, 16 * 1024, None)?;
    let sizes = FibSizes {
        routes_v4: world.routes,
        blocks_v4: world.routes,
        routes_v6: world.routes,
        blocks_v6: 2 * world.routes,
    };
    let mut publisher = Publisher::new(2, sizes);
    let errors = publisher.apply(&world.shared).context("workers read the tables already")?;
    ensure!(errors.is_empty(), "routes do not fit: {errors:?}");
    let n = if world.path.kind.is_protected() { world.pairs().div_ceil(ports.len()) + more } else { 1 };
    let mut beds = Vec::new();
    let ends = Handoff::mesh(ports.len(), HANDOFF);
    for ((mut ports, handoff), id) in ports.into_iter().zip(ends).zip(0..) {
        let mut queues = Vec::new();
        for port in &mut ports {
            queues.extend(port.take_queues()?);
        }
        let (handle, port) = worker_channel(WorkerId(id), OPS, Arc::new(Counters::new(n, n)));
        let shared = publisher.shared();
        let parts = Parts { port, queues, pool, large, shared, handoff, rates: DEFAULT_RATES, sessions: n, sas: n };
        beds.push(Bed { worker: Worker::new(parts)?, handle, _ports: ports });
    }
    Ok((publisher, beds))
}

impl Bed {
    /// Changes the worker's own tables.
    pub fn change(&mut self, ops: impl IntoIterator<Item = TableOp>) -> anyhow::Result<()> {
        for op in ops {
            while self.handle.ops.is_full() {
                self.worker.poll();
            }
            ensure!(self.handle.ops.push((1, op)).is_ok(), "the ring is full");
        }
        while self.handle.ops.slots() < OPS {
            self.worker.poll();
        }
        let refused = self.handle.counters.worker.ops_refused.get();
        ensure!(refused == 0, "{refused} table changes were refused");
        Ok(())
    }

    /// Writes to all memory that was made with the worker, counters and the ring of changes: what grows from then on are the tables.
    pub fn touch(&mut self) -> anyhow::Result<()> {
        let counters = &self.handle.counters;
        counters.sessions.iter().for_each(|c| c.filtered.set(0));
        counters.sa_in.iter().chain(&counters.sa_out).for_each(|c| c.packets.set(0));
        let nothing = TableOp::PeerSelect { peer: PeerId(NonZeroU32::MIN), sa: None };
        self.change(std::iter::repeat_n(nothing, OPS))
    }

    /// Adds all peers of the world that are this worker's.
    pub fn populate(&mut self, world: &World) -> anyhow::Result<()> {
        for i in (usize::from(self.handle.id.0)..world.pairs()).step_by(world.workers) {
            self.change(world.own_sas(i)?.into_iter().chain(world.own_session(i)?))?;
        }
        Ok(())
    }

    /// Ticks for each packet received in so many polls.
    pub fn polls(&mut self, polls: usize) -> f64 {
        let (received, start) = (self.counts().0, dpdk::lcore::tsc());
        for _ in 0..polls {
            self.worker.poll();
        }
        let ticks = dpdk::lcore::tsc() - start;
        ticks as f64 / (self.counts().0 - received) as f64
    }

    /// Frames received and sent so far.
    pub fn counts(&self) -> (u64, u64) {
        let c = &self.handle.counters.worker;
        (c.received.get(), c.sent.get())
    }
}

/// What a worker has dropped, and why.
pub fn drops(handle: &WorkerHandle) -> Vec<(&'static str, u64)> {
    let c = &handle.counters.worker;
    DropReason::ALL.iter().map(|r| (r.name(), c.dropped(*r))).filter(|d| d.1 > 0).collect()
}

/// The ports of a measurement: one repeats the frames of a file for ever (`net_pcap` with `infinite_rx`), the other
/// receives nothing; both throw away what they are given to send. The `n`-th of the process.
pub fn repeating(world: &World, file: &Path, pool: &Mempool, n: usize) -> anyhow::Result<Vec<Port>> {
    let source = format!("net_pcap{n},rx_pcap={},infinite_rx=1", file.display());
    let sink = format!("net_null{n},no-rx=1");
    let mut devices = [source.as_str(), &sink];
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
    /// Who publishes the tables that it reads; to be taken by who changes them.
    pub publisher: Option<Publisher>,
    /// The other sides of its ports.
    pub far: Vec<SimQueue>,
    /// Buffers.
    pub pool: Mempool,
    from: usize,
    to: usize,
}

impl Ringed {
    /// With room for the world's peers and `more`; none of them is there yet. `name` is one of its own in the process, of at
    /// most 12 characters.
    pub fn new(world: &World, name: &str, more: usize) -> anyhow::Result<Self> {
        Self::deep(world, name, more, 127)
    }

    /// The same with rings of at least so many frames.
    pub fn deep(world: &World, name: &str, more: usize, depth: u32) -> anyhow::Result<Self> {
        let pool = Mempool::new(name, (4 * depth).next_power_of_two().max(8192) - 1, 256, 2048, None)?;
        let (mut ports, mut far) = (Vec::new(), Vec::new());
        for side in 0..2 {
            let (mut port, queue) = sim::port(&format!("{name}{side}"), 1, depth)?;
            port.configure(&PortConfig::default(), &pool)?;
            port.start()?;
            ports.push(port);
            far.extend(queue);
        }
        let (from, to) = (usize::from(world.from().0), usize::from(world.to().0));
        let (publisher, mut beds) = beds(world, name, vec![ports], pool, more)?;
        let bed = beds.pop().context("one worker")?;
        Ok(Self { bed, publisher: Some(publisher), far, pool, from, to })
    }

    /// From now on frames come in where they went out.
    pub fn turn(&mut self) {
        std::mem::swap(&mut self.from, &mut self.to);
    }

    /// Lets the worker receive at most a burst of frames in one poll, and gives the ticks that this took. What it has sent
    /// is in `out`; nothing may be missing.
    pub fn pass(&mut self, frames: &[Vec<u8>], out: &mut Burst) -> anyhow::Result<u64> {
        self.pass_by(frames, out, |worker| {
            worker.poll();
        })
    }

    /// The same with another way to poll.
    pub fn pass_by(
        &mut self,
        frames: &[Vec<u8>],
        out: &mut Burst,
        poll: impl FnOnce(&mut Worker),
    ) -> anyhow::Result<u64> {
        out.clear();
        for frame in frames {
            let mbuf = self.pool.alloc_with(frame).context("no buffer")?;
            ensure!(self.far[self.from].push(mbuf).is_ok(), "the ring is full");
        }
        let start = dpdk::lcore::tsc();
        poll(&mut self.bed.worker);
        let ticks = dpdk::lcore::tsc() - start;
        while self.bed.handle.events.pop().is_ok() {}
        let n = self.far[self.to].pop_burst(out);
        ensure!(n == frames.len(), "{n} of {} packets came out: {:?}", frames.len(), drops(&self.bed.handle));
        Ok(ticks)
    }
}

/// Writes `count` frames, those of these peers in turn.
pub fn write_pcap(world: &mut World, peers: &[usize], count: usize, file: &Path) -> anyhow::Result<()> {
    let mut out = PcapWriter::new(std::io::BufWriter::new(File::create(file)?))?;
    for n in 0..count {
        let frame = world.frame(peers[n % peers.len()], n)?;
        let len = frame.len() as u32;
        out.write_packet(&PcapPacket::new(Duration::ZERO, len, &frame))?;
    }
    Ok(())
}

//! A worker between two in-memory ports, and how its packets are timed.
//!
//! The whole [`Worker::poll`] is timed by the TSC, bursts of 64, receive and transmit over `net_ring` included; making
//! packets and freeing what was sent is not.

use anyhow::{Context, ensure};
use dataplane::handoff::Handoff;
use dataplane::node::punt::DEFAULT_RATES;
use dataplane::publish::{FibSizes, Publisher};
use dataplane::worker::{Parts, Worker};
use dataplane_api::{
    Cipher, Counters, DropReason, EspKey, EspSuite, Integrity, Lifetime, Mode, PeerId, PortId, SaIn, SaOut, SaOutId,
    Selector, Slot, SnapshotOp, Spi, TableOp, WorkerHandle, WorkerId, worker_channel,
};
use dpdk::sim::{self, SimQueue};
use dpdk::{Burst, Mempool, Port};
use ipsec_mb::Manager;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

/// Pins the thread to core 1, if there is one, and gives the TSC's frequency in Hz.
pub fn clock() -> anyhow::Result<f64> {
    if dpdk::lcore::pin(1).is_err() {
        eprintln!("there is no core 1: not pinned");
    }
    Ok(dpdk::lcore::tsc_hz()? as f64)
}

/// The slot of the i-th session or SA.
pub fn slot(i: usize) -> Option<Slot> {
    Slot::new(WorkerId(0), i as u32, 1)
}

/// The i-th peer.
pub fn peer(i: usize) -> Option<PeerId> {
    Some(PeerId(NonZeroU32::new(i as u32 + 1)?))
}

/// See the module.
pub struct Bench {
    worker: Worker,
    counters: Arc<Counters>,
    /// The control plane's end of the rings; to be taken by who changes the tables from another thread.
    pub handle: Option<WorkerHandle>,
    pool: Mempool,
    far: Vec<SimQueue>,
    manager: Manager,
    next: usize,
    /// What the worker reads; to be taken by who changes it.
    pub publisher: Option<Publisher>,
    _ports: Vec<Port>,
}

impl Bench {
    /// With `world`, and room for `n` sessions and SAs. The pools are those of packets and of large ones.
    pub fn new(
        name: &str,
        (pool, large): (Mempool, Mempool),
        sizes: FibSizes,
        n: usize,
        world: &[SnapshotOp],
    ) -> anyhow::Result<Self> {
        let mut publisher = Publisher::new(2, sizes);
        let (mut far, mut ports, mut queues) = (Vec::new(), Vec::new(), Vec::new());
        for side in 0..2 {
            let (mut port, queue) = sim::port(&format!("{name}{side}"), 1, 127)?;
            queues.extend(sim::start(&mut port, 1, &pool)?);
            far.extend(queue);
            ports.push(port);
        }
        let counters = Arc::new(Counters::new(n, n));
        let (handle, port) = worker_channel(WorkerId(0), 4096, Arc::clone(&counters));
        let handoff = Handoff::mesh(1, 16).pop().context("one worker")?;
        let shared = publisher.shared();
        let parts = Parts { port, queues, pool, large, shared, handoff, rates: DEFAULT_RATES, sessions: n, sas: n };
        let errors = publisher.apply(world).context("workers read the tables already")?;
        ensure!(errors.is_empty(), "routes do not fit: {errors:?}");
        let (worker, manager) = (Worker::new(parts)?, Manager::new().map_err(|e| anyhow::anyhow!("{e}"))?);
        let (publisher, handle) = (Some(publisher), Some(handle));
        Ok(Self { worker, counters, handle, pool, far, manager, next: 0, publisher, _ports: ports })
    }

    /// Lets the worker look around, at new tables among others.
    pub fn poll(&mut self) {
        self.worker.poll();
    }

    /// Changes the worker's tables, and gives the ticks that its polls took.
    pub fn change(&mut self, ops: impl IntoIterator<Item = TableOp>) -> anyhow::Result<u64> {
        let (mut ops, mut ticks) = (ops.into_iter(), 0);
        loop {
            let ring = &mut self.handle.as_mut().context("another thread changes the tables")?.ops;
            let some = ops.by_ref().take(ring.slots());
            let pushed = some.map(|op| ring.push((1, op)).is_ok()).filter(|pushed| *pushed).count();
            let start = dpdk::lcore::tsc();
            while self.worker.poll() > 0 {}
            ticks += dpdk::lcore::tsc() - start;
            if pushed == 0 {
                break;
            }
        }
        let refused = self.counters.worker.ops_refused.get();
        ensure!(refused == 0, "{refused} table changes were refused");
        Ok(ticks)
    }

    /// A pair of SAs of AES-GCM-128 in transport mode with the i-th peer. Gives the end that seals what ours opens.
    pub fn secure(
        &mut self,
        i: usize,
        local: IpAddr,
        remote: IpAddr,
        selector: Selector,
    ) -> anyhow::Result<esp::SaOut> {
        let (inbound, outbound, theirs) = sas(i, local, remote, selector)?;
        let select = TableOp::PeerSelect { peer: outbound.peer, sa: Some(outbound.id) };
        self.change([TableOp::SaInAdd(inbound), TableOp::SaOutAdd(outbound), select])?;
        esp::SaOut::new(&self.manager, &theirs).context("SA")
    }

    /// Lets a port receive a frame.
    pub fn push(&mut self, port: PortId, frame: &[u8]) -> anyhow::Result<()> {
        let mbuf = self.pool.alloc_with(frame).context("no buffer")?;
        ensure!(self.far[usize::from(port.0)].push(mbuf).is_ok(), "the ring is full");
        Ok(())
    }

    /// The next frame that has left a port.
    pub fn pop(&mut self, port: PortId) -> Option<Vec<u8>> {
        self.far[usize::from(port.0)].pop().map(|mbuf| mbuf.data().to_vec())
    }

    /// IPsec-MB, for the peers' ends.
    pub fn manager(&mut self) -> &mut Manager {
        &mut self.manager
    }

    /// Sends `count` frames from one port to the other and gives the ticks that the worker's polls took. `frame` makes the
    /// n-th. Fails unless every single one comes out.
    pub fn round(
        &mut self,
        from: PortId,
        count: usize,
        mut frame: impl FnMut(&mut Manager, usize) -> anyhow::Result<Vec<u8>>,
    ) -> anyhow::Result<u64> {
        let (from, to) = (usize::from(from.0), usize::from(1 - from.0));
        let (mut ticks, mut arrived, mut burst) = (0, 0, Burst::new());
        for _ in 0..count / Burst::CAPACITY {
            for _ in 0..Burst::CAPACITY {
                self.next += 1;
                let mbuf = self.pool.alloc_with(&frame(&mut self.manager, self.next)?).context("no buffer")?;
                ensure!(self.far[from].push(mbuf).is_ok(), "the ring is full");
            }
            let start = dpdk::lcore::tsc();
            self.worker.poll();
            ticks += dpdk::lcore::tsc() - start;
            arrived += self.far[to].pop_burst(&mut burst);
            drop(burst.drain());
            while self.handle.as_mut().is_some_and(|h| h.events.pop().is_ok()) {}
        }
        ensure!(arrived == count, "{arrived} of {count} packets came out: {:?}", self.drops());
        Ok(ticks)
    }

    /// What has been dropped, by reason.
    pub fn drops(&self) -> Vec<(&'static str, u64)> {
        let c = &self.counters.worker;
        let all = DropReason::ALL.iter().map(|r| (r.name(), c.dropped(*r)));
        all.filter(|d| d.1 > 0).collect()
    }
}

/// SAs with the i-th peer: inbound, outbound, and the peer's outbound one.
pub fn sas(i: usize, local: IpAddr, remote: IpAddr, selector: Selector) -> anyhow::Result<(SaIn, SaOut, SaOut)> {
    let (slot, peer) = (slot(i).context("slot")?, peer(i).context("peer")?);
    let suite = EspSuite::new(Cipher::AesGcm128, Integrity::None).context("suite")?;
    let key = |direction: u8| {
        let mut bytes = [direction; 20];
        bytes[..4].copy_from_slice(&(i as u32).to_be_bytes());
        EspKey::new(suite, &bytes).context("key")
    };
    let (spi, id) = (Spi::from_slot(slot), SaOutId(slot));
    let (esn, mode, encap, lifetime) = (true, Mode::Transport, None, Lifetime::default());
    let out = |spi, key, local, remote, selector| SaOut {
        id,
        spi,
        peer,
        suite,
        key,
        esn,
        mode,
        local,
        remote,
        encap,
        selector,
        lifetime,
    };
    let key_in = key(1)?;
    let inbound =
        SaIn { spi, peer, suite, key: key_in, esn, replay_window: 64, mode, local, remote, encap, selector, lifetime };
    let theirs = out(spi.0, key(1)?, remote, local, Selector::ANY);
    Ok((inbound, out(0x1000 + i as u32, key(2)?, local, remote, selector), theirs))
}

/// ESP around `data`, as the peer seals it.
pub fn seal(manager: &mut Manager, sa: &mut esp::SaOut, protocol: u8, data: &mut Vec<u8>) -> anyhow::Result<()> {
    esp::seal(manager, sa, protocol, data).map(|_| ()).map_err(|r| anyhow::anyhow!("{}", r.name()))
}

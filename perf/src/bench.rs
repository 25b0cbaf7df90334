//! A worker between two in-memory ports, and how its packets are timed.
//!
//! The whole [`Worker::poll`] is timed by the TSC, bursts of 64, receive and transmit over `net_ring` included; making
//! packets and freeing what was sent is not.

use crate::frame::NEAR;
use anyhow::{Context, ensure};
use dataplane::handoff::Handoff;
use dataplane::node::punt::DEFAULT_RATES;
use dataplane::publish::{FibSizes, Publisher};
use dataplane::worker::{Parts, Worker};
use dataplane_api::{
    Cipher, Counters, DropReason, EspKey, EspSuite, Integrity, IpPrefix, Lifetime, MacAddr, Mode, NextHop, PeerId,
    PortConfig, PortId, SaIn, SaOut, SaOutId, Selector, Slot, SnapshotOp, Spi, TableOp, WorkerHandle, WorkerId, Zone,
    worker_channel,
};
use dpdk::sim::{self, SimQueue};
use dpdk::{Burst, Mempool, Port};
use ipsec_mb::Manager;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

/// Rounds of a measurement.
pub const ROUNDS: usize = 9;
/// Packets of a round.
pub const PACKETS: usize = 64 * 256;

/// Pins the thread to core 1, if there is one, and gives the TSC's frequency in Hz.
pub fn clock() -> anyhow::Result<f64> {
    if dpdk::lcore::pin(1).is_err() {
        eprintln!("there is no core 1: not pinned");
    }
    Ok(dpdk::lcore::tsc_hz()? as f64)
}

/// Minimum, median and maximum of the ticks a packet took in [`ROUNDS`] rounds of [`PACKETS`].
pub fn rounds(mut round: impl FnMut() -> anyhow::Result<u64>) -> anyhow::Result<[f64; 3]> {
    let mut ticks = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        ticks.push(round()? as f64 / PACKETS as f64);
    }
    ticks.sort_by(f64::total_cmp);
    Ok([ticks[0], ticks[ROUNDS / 2], ticks[ROUNDS - 1]])
}

/// The slot of the i-th session or SA.
pub fn slot(i: usize) -> Option<Slot> {
    Slot::new(WorkerId(0), i as u32, 1)
}

/// The i-th peer.
pub fn peer(i: usize) -> Option<PeerId> {
    Some(PeerId(NonZeroU32::new(i as u32 + 1)?))
}

/// A port with an address.
pub fn port(id: PortId, zone: Zone, address: IpAddr) -> SnapshotOp {
    let addresses = vec![(address, if address.is_ipv4() { 24 } else { 64 })];
    SnapshotOp::Port(PortConfig { port: id, mac: MacAddr(NEAR), mtu: 1500, vlan: None, zone, addresses })
}

/// A route.
pub fn route(address: IpAddr, len: u8, hop: NextHop) -> anyhow::Result<SnapshotOp> {
    Ok(SnapshotOp::RouteAdd(IpPrefix::new(address, len).context("prefix")?, vec![hop]))
}

/// See the module.
pub struct Bench {
    worker: Worker,
    handle: WorkerHandle,
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
        let (handle, port) = worker_channel(WorkerId(0), 4096, Arc::new(Counters::new(n, n)));
        let handoff = Handoff::mesh(1, 16).pop().context("one worker")?;
        let shared = publisher.shared();
        let parts = Parts { port, queues, pool, large, shared, handoff, rates: DEFAULT_RATES, sessions: n, sas: n };
        let errors = publisher.apply(world).context("workers read the tables already")?;
        ensure!(errors.is_empty(), "routes do not fit: {errors:?}");
        let (worker, manager) = (Worker::new(parts)?, Manager::new().map_err(|e| anyhow::anyhow!("{e}"))?);
        let publisher = Some(publisher);
        Ok(Self { worker, handle, pool, far, manager, next: 0, publisher, _ports: ports })
    }

    /// Lets the worker look around, at new tables among others.
    pub fn poll(&mut self) {
        self.worker.poll();
    }

    /// Changes the worker's tables.
    pub fn change(&mut self, ops: impl IntoIterator<Item = TableOp>) -> anyhow::Result<()> {
        for op in ops {
            ensure!(self.handle.ops.push((1, op)).is_ok(), "the ring is full");
        }
        while self.worker.poll() > 0 {}
        let refused = self.handle.counters.worker.ops_refused.get();
        ensure!(refused == 0, "{refused} table changes were refused");
        Ok(())
    }

    /// A pair of SAs of AES-GCM-128 in transport mode with the i-th peer. Gives the end that seals what ours opens.
    pub fn secure(
        &mut self,
        i: usize,
        local: IpAddr,
        remote: IpAddr,
        selector: Selector,
    ) -> anyhow::Result<esp::SaOut> {
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
        let sa_in = SaIn {
            spi,
            peer,
            suite,
            key: key(1)?,
            esn,
            replay_window: 64,
            mode,
            local,
            remote,
            encap,
            selector,
            lifetime,
        };
        let theirs = out(spi.0, key(1)?, remote, local, Selector::ANY);
        let ours = out(0x1000 + i as u32, key(2)?, local, remote, selector);
        let select = TableOp::PeerSelect { peer, sa: Some(id) };
        self.change([TableOp::SaInAdd(sa_in), TableOp::SaOutAdd(ours), select])?;
        esp::SaOut::new(&self.manager, &theirs).context("SA")
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
            while self.handle.events.pop().is_ok() {}
        }
        ensure!(arrived == count, "{arrived} of {count} packets came out: {:?}", self.drops());
        Ok(ticks)
    }

    fn drops(&self) -> Vec<(&'static str, u64)> {
        let c = &self.handle.counters.worker;
        let all = DropReason::ALL.iter().map(|r| (r.name(), c.dropped(*r)));
        all.filter(|d| d.1 > 0).collect()
    }
}

/// ESP around `data`, as the peer seals it.
pub fn seal(manager: &mut Manager, sa: &mut esp::SaOut, protocol: u8, data: &mut Vec<u8>) -> anyhow::Result<()> {
    esp::seal(manager, sa, protocol, data).map(|_| ()).map_err(|r| anyhow::anyhow!("{}", r.name()))
}

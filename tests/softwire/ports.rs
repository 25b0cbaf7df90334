//! The product's workers on in-memory ports, polled by hand.

use controlplane::gateway::Gateway;
use controlplane::program::Output;
use dataplane::counter;
use dataplane::handoff::Handoff;
use dataplane::publish::{FibSizes, Publisher};
use dataplane::worker::{Parts, Worker};
use dataplane_api::punt::PUNT_CLASSES;
use dataplane_api::{
    Counters, DropReason, InjectMsg, OpSeq, PuntMsg, SnapshotOp, TableOp, TracePacket, WorkerEvent, WorkerHandle,
    WorkerId, worker_channel,
};
use dpdk::sim::{self, SimQueue};
use dpdk::{Mempool, Port};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;
use wire::ethernet;

const WORKERS: usize = 2;
/// The rates of punted packets are measured by the real clock, on which a thousand handshakes take no time.
const UNPOLICED: (u32, u32) = (u32::MAX, u32::MAX);

/// See the module.
pub struct DataPlane {
    workers: Vec<Worker>,
    handles: Vec<WorkerHandle>,
    publisher: Publisher,
    pool: Mempool,
    large: Mempool,
    far: Vec<Vec<SimQueue>>,
    _ports: Vec<Port>,
    _turn: Option<MutexGuard<'static, ()>>,
}

/// Pools live as long as the process. The forwarding tables are large: cases take turns.
fn pools() -> (Mempool, Mempool, MutexGuard<'static, ()>) {
    static TURN: Mutex<()> = Mutex::new(());
    static POOLS: OnceLock<(Mempool, Mempool)> = OnceLock::new();
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (pool, large) = *POOLS.get_or_init(|| {
        let args = ["--no-huge", "-m", "1024", "--no-pci", "--no-shconf", "--no-telemetry", "--file-prefix=softwire"];
        sim::eal_with(&args).unwrap();
        let packets = Mempool::new("softwire", 16_383, 0, 2048, None).unwrap();
        (packets, Mempool::new("softwire-large", 63, 0, 16 * 1024, None).unwrap())
    });
    (pool, large, turn)
}

impl DataPlane {
    /// Two workers with room for so many sessions each.
    pub fn new(sessions: usize) -> Self {
        let (pool, large, turn) = pools();
        Self::build("sw", sessions, (pool, large), Some(turn))
    }

    /// Two of them at once.
    pub fn pair(sessions: usize) -> [Self; 2] {
        let (pool, large, turn) = pools();
        let first = Self::build("sw", sessions, (pool, large), Some(turn));
        [first, Self::build("far", sessions, (pool, large), None)]
    }

    fn build(
        name: &str,
        sessions: usize,
        (pool, large): (Mempool, Mempool),
        turn: Option<MutexGuard<'static, ()>>,
    ) -> Self {
        let sizes = FibSizes { routes_v4: 8192, blocks_v4: 1024, routes_v6: 16_384, blocks_v6: 16_384 };
        let mut publisher = Publisher::new(2, sizes);
        let (mut far, mut ports) = (Vec::new(), Vec::new());
        let mut queues: Vec<Vec<_>> = (0..WORKERS).map(|_| Vec::new()).collect();
        for side in ["access", "core"] {
            let (mut port, queue) = sim::port(&format!("{name}-{side}"), WORKERS as u16, 2047).unwrap();
            for (worker, pair) in queues.iter_mut().zip(sim::start(&mut port, WORKERS as u16, &pool).unwrap()) {
                worker.push(pair);
            }
            far.push(queue);
            ports.push(port);
        }
        let (mut workers, mut handles) = (Vec::new(), Vec::new());
        for (n, (queues, handoff)) in queues.into_iter().zip(Handoff::mesh(WORKERS, 2048)).enumerate() {
            let counters = Arc::new(Counters::new(sessions, sessions));
            let (handle, port) = worker_channel(WorkerId(n as u8), 4096, counters);
            let (shared, rates) = (publisher.shared(), [UNPOLICED; PUNT_CLASSES]);
            let parts = Parts { port, queues, pool, large, shared, handoff, rates, sessions, sas: sessions };
            workers.push(Worker::new(parts).unwrap());
            handles.push(handle);
        }
        assert!(publisher.quiescent());
        Self { workers, handles, publisher, pool, large, far, _ports: ports, _turn: turn }
    }

    pub fn counters(&self) -> Vec<Arc<Counters>> {
        self.handles.iter().map(|h| Arc::clone(&h.counters)).collect()
    }

    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Until the workers have nothing to do; how many packets and changes they took.
    pub fn poll(&mut self) -> usize {
        let mut total = 0;
        loop {
            let n: usize = self.workers.iter_mut().map(Worker::poll).sum();
            total += n;
            if n == 0 {
                return total;
            }
        }
    }

    fn op(&mut self, worker: WorkerId, seq: OpSeq, op: TableOp) {
        if self.handles[usize::from(worker.0)].ops.is_full() {
            self.poll();
        }
        assert!(self.handles[usize::from(worker.0)].ops.push((seq, op)).is_ok());
    }

    fn inject(&mut self, worker: WorkerId, message: InjectMsg) {
        if self.handles[usize::from(worker.0)].inject.is_full() {
            self.poll();
        }
        let handle = &mut self.handles[usize::from(worker.0)];
        while handle.inject_free.pop().is_ok() {}
        assert!(handle.inject.push(message).is_ok());
    }

    fn publish(&mut self, ops: &[SnapshotOp]) {
        self.poll();
        assert!(self.publisher.quiescent());
        let errors = self.publisher.apply(ops).unwrap();
        assert!(errors.is_empty(), "{errors:?}");
        self.poll();
    }

    /// Carries what the control plane has for the workers; `note` sees it first.
    pub fn program(&mut self, gateway: &mut Gateway, mut note: impl FnMut(&Output)) {
        let mut snapshot = Vec::new();
        while let Some(output) = gateway.poll_output() {
            note(&output);
            match output {
                Output::Op(worker, seq, op) => self.op(worker, seq, op),
                Output::Inject(worker, message) => self.inject(worker, message),
                Output::Snapshot(op) => snapshot.push(op),
            }
        }
        if !snapshot.is_empty() {
            self.publish(&snapshot);
        }
    }

    /// Lets the workers work, and the control plane hear of it. Says whether there was anything to do.
    pub fn attend(&mut self, now: Instant, gateway: &mut Gateway) -> bool {
        let mut busy = self.poll() > 0;
        for message in self.punts() {
            busy = true;
            if !message.meta.class.is_host() {
                gateway.handle_punt(now, &message.meta, &message.data);
            }
        }
        for event in self.events() {
            busy = true;
            gateway.handle_event(now, event);
        }
        for packet in self.traced() {
            busy = true;
            gateway.handle_trace(&packet);
        }
        busy
    }

    /// Lets a port receive an IP packet.
    pub fn receive(&mut self, port: usize, queue: usize, packet: &[u8]) {
        let kind = if packet[0] >> 4 == 4 { ethernet::IPV4 } else { ethernet::IPV6 };
        let mut frame = vec![0; ethernet::emit_len(None)];
        ethernet::emit(&mut frame, [0; 6], [2, 0, 0, 0, 0, 9], None, kind);
        frame.extend_from_slice(packet);
        let mbuf = self.pool.alloc_with(&frame).unwrap();
        if let Err(mbuf) = self.far[port][queue].push(mbuf) {
            self.poll();
            assert!(self.far[port][queue].push(mbuf).is_ok());
        }
    }

    /// IP packets that left a port. What the host stack is asked by ARP or ND is nobody's concern here.
    pub fn sent(&mut self, port: usize) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        for queue in &mut self.far[port] {
            while let Some(mbuf) = queue.pop() {
                packets.push(mbuf.data()[ethernet::HEADER..].to_vec());
            }
        }
        packets
    }

    fn punts(&mut self) -> Vec<PuntMsg> {
        let mut all = Vec::new();
        for h in &mut self.handles {
            while let Ok(m) = h.punt.pop() {
                all.push(PuntMsg { meta: m.meta, data: m.data.clone() });
                assert!(h.punt_free.push(m.data).is_ok());
            }
        }
        all
    }

    fn events(&mut self) -> Vec<WorkerEvent> {
        self.handles.iter_mut().flat_map(|h| std::iter::from_fn(|| h.events.pop().ok())).collect()
    }

    fn traced(&mut self) -> Vec<TracePacket> {
        let mut all = Vec::new();
        for h in &mut self.handles {
            while h.next_traced(|packet| all.push(packet.clone())) {}
        }
        all
    }

    pub fn drops(&self) -> BTreeMap<&'static str, u64> {
        let all = |r: &DropReason| (r.name(), self.handles.iter().map(|h| h.counters.worker.dropped(*r)).sum());
        DropReason::ALL.iter().map(all).filter(|d: &(_, u64)| d.1 > 0).collect()
    }

    /// Packets handed from one worker to another.
    pub fn handed(&self) -> u64 {
        self.workers.iter().map(|w| w.counters().handed_out.get()).sum()
    }

    /// Every packet is accounted for and no table change was refused.
    pub fn check(&self) {
        for w in &self.workers {
            let c = w.counters();
            assert_eq!(counter::arrived(c), counter::departed(c) + w.in_flight(), "{c:?}");
            assert_eq!(c.ops_refused.get(), 0);
        }
    }
}

impl Drop for DataPlane {
    fn drop(&mut self) {
        self.workers.clear();
        self.far.clear();
        if !std::thread::panicking() {
            assert_eq!((self.pool.in_use(), self.large.in_use()), (0, 0), "buffers leaked");
        }
    }
}

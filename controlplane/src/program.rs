//! Programming of the data plane: which slots of the workers' tables are taken, and the numbered changes
//! that are on their way.
//!
//! A peer's SAs and its session live on one worker. Slots are reused first in, first out and with the next
//! generation, so that an identifier names nobody for as long as possible after its owner has gone.

use dataplane_api::id::{GENERATIONS, Slot};
use dataplane_api::{InjectMsg, IpPrefix, NextHop, OpSeq, SaOutId, SessionId, SnapshotOp, Spi, TableOp, WorkerId};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the driver carries to the data plane, in this order.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // most of them are table ops
pub enum Output {
    /// A change of a worker's table.
    Op(WorkerId, OpSeq, TableOp),
    /// A packet to send.
    Inject(WorkerId, InjectMsg),
    /// A change of the shared snapshot.
    Snapshot(SnapshotOp),
}

struct Slots {
    fresh: u32,
    capacity: u32,
    returned: VecDeque<Slot>,
}

impl Slots {
    fn take(&mut self, worker: WorkerId) -> Option<Slot> {
        // A slot rests while fresh ones are left.
        if self.fresh < self.capacity {
            self.fresh += 1;
            return Slot::new(worker, self.fresh - 1, 1);
        }
        let old = self.returned.pop_front()?;
        let generation = if old.generation() == GENERATIONS { 1 } else { old.generation() + 1 };
        Slot::new(worker, old.index() as u32, generation)
    }
}

struct WorkerSlots {
    sa_in: Slots,
    sa_out: Slots,
    sessions: Slots,
}

/// Slot allocation, shared with the endpoints that hand identifiers out.
#[derive(Clone)]
pub struct Allocation(Arc<Mutex<Vec<WorkerSlots>>>);

impl Allocation {
    fn lock(&self) -> MutexGuard<'_, Vec<WorkerSlots>> {
        // Every critical section leaves the tables whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A peer's worker: `key` is its handle.
    pub fn worker(&self, key: u32) -> WorkerId {
        WorkerId((key as usize % self.lock().len().max(1)) as u8)
    }

    /// An inbound SPI on `worker`; `None` when its table is full.
    pub fn spi(&self, worker: WorkerId) -> Option<Spi> {
        Some(Spi::from_slot(self.lock().get_mut(usize::from(worker.0))?.sa_in.take(worker)?))
    }

    /// An outbound SA handle on `worker`.
    pub fn sa_out(&self, worker: WorkerId) -> Option<SaOutId> {
        Some(SaOutId(self.lock().get_mut(usize::from(worker.0))?.sa_out.take(worker)?))
    }

    /// L2TP ids on `worker`.
    pub fn session(&self, worker: WorkerId) -> Option<SessionId> {
        Some(SessionId::from_slot(self.lock().get_mut(usize::from(worker.0))?.sessions.take(worker)?))
    }

    fn give_back(&self, slot: Option<Slot>, table: fn(&mut WorkerSlots) -> &mut Slots) {
        if let Some(slot) = slot
            && let Some(w) = self.lock().get_mut(usize::from(slot.worker().0))
        {
            table(w).returned.push_back(slot);
        }
    }

    /// The SPI may be reused.
    pub fn free_spi(&self, spi: Spi) {
        self.give_back(spi.slot(), |w| &mut w.sa_in);
    }

    /// The handle may be reused.
    pub fn free_sa_out(&self, id: SaOutId) {
        self.give_back(Some(id.0), |w| &mut w.sa_out);
    }

    /// The ids may be reused.
    pub fn free_session(&self, id: SessionId) {
        self.give_back(id.slot(), |w| &mut w.sessions);
    }
}

/// Numbered output.
pub struct Program {
    /// Routes by configuration alone, which hold where nobody knows a better one.
    pub base: BTreeMap<IpPrefix, Vec<NextHop>>,
    allocation: Allocation,
    seq: Vec<OpSeq>,
    out: VecDeque<Output>,
}

impl Program {
    /// For `workers` workers with `capacity` slots in each table.
    pub fn new(workers: usize, capacity: usize) -> Self {
        let slots = || Slots { fresh: 0, capacity: capacity as u32, returned: VecDeque::new() };
        let tables = (0..workers).map(|_| WorkerSlots { sa_in: slots(), sa_out: slots(), sessions: slots() }).collect();
        Self {
            base: BTreeMap::new(),
            allocation: Allocation(Arc::new(Mutex::new(tables))),
            seq: vec![0; workers],
            out: VecDeque::new(),
        }
    }

    /// The slot tables.
    pub fn allocation(&self) -> &Allocation {
        &self.allocation
    }

    /// Queues a table change, and tells its number.
    pub fn op(&mut self, worker: WorkerId, op: TableOp) -> OpSeq {
        let Some(seq) = self.seq.get_mut(usize::from(worker.0)) else { return 0 };
        *seq += 1;
        self.out.push_back(Output::Op(worker, *seq, op));
        *seq
    }

    /// Queues a packet; it is sent after all changes queued before it on this worker.
    pub fn inject(&mut self, worker: WorkerId, how: dataplane_api::Inject, data: Vec<u8>) {
        let after = self.seq.get(usize::from(worker.0)).copied().unwrap_or(0);
        self.out.push_back(Output::Inject(worker, InjectMsg { after, how, data }));
    }

    /// Queues a snapshot change.
    pub fn snapshot(&mut self, op: SnapshotOp) {
        self.out.push_back(Output::Snapshot(op));
    }

    /// Queues the end of a prefix's route: what the configuration says of it holds again.
    pub fn withdraw(&mut self, prefix: IpPrefix) {
        let hops = self.base.get(&prefix).cloned();
        self.snapshot(hops.map_or(SnapshotOp::RouteDel(prefix), |hops| SnapshotOp::RouteAdd(prefix, hops)));
    }

    /// Next output, oldest first.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// Puts an output back that a full ring refused.
    pub fn unpoll(&mut self, output: Output) {
        self.out.push_front(output);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_reused_last_and_with_a_new_generation() {
        let p = Program::new(2, 2);
        let a = p.allocation();
        let (x, y) = (a.spi(WorkerId(1)).expect("one"), a.spi(WorkerId(1)).expect("two"));
        assert_eq!(a.spi(WorkerId(1)), None);
        assert!(a.spi(WorkerId(0)).is_some());
        a.free_spi(x);
        let z = a.spi(WorkerId(1)).expect("again");
        assert_ne!(z, x);
        assert_ne!(z, y);
        assert_eq!(z.slot().map(Slot::index), x.slot().map(Slot::index));
        assert_eq!(a.spi(WorkerId(1)), None);
    }

    #[test]
    fn packets_wait_for_earlier_changes() {
        let mut p = Program::new(1, 1);
        let id = p.allocation().session(WorkerId(0)).expect("one");
        p.op(WorkerId(0), TableOp::SessionDel(id));
        p.inject(WorkerId(0), dataplane_api::Inject::Ppp(id), vec![1]);
        assert!(matches!(p.poll(), Some(Output::Op(_, 1, _))));
        assert!(matches!(p.poll(), Some(Output::Inject(_, InjectMsg { after: 1, .. }))));
        assert!(p.poll().is_none());
    }
}

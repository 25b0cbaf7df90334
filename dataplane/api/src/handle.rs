//! The rings between one worker and the control plane, both ends.

use crate::trace::TRACE_BUFFERS;
use crate::{Counters, InjectMsg, OpSeq, PuntMsg, TableOp, TracePacket, WorkerEvent, WorkerId};
use rtrb::{Consumer, Producer, RingBuffer};
use std::sync::Arc;

/// Capacity of a punt or inject buffer in octets: the largest reassembled IKE message we accept, and a frame.
pub const BUFFER_LEN: usize = 10 * 1024;

/// The control plane's end.
pub struct WorkerHandle {
    /// Which worker.
    pub id: WorkerId,
    /// Table changes, numbered.
    pub ops: Producer<(OpSeq, TableOp)>,
    /// Packets to send.
    pub inject: Producer<InjectMsg>,
    /// Emptied inject buffers.
    pub inject_free: Consumer<Vec<u8>>,
    /// Punted packets.
    pub punt: Consumer<PuntMsg>,
    /// Where punt buffers go back to.
    pub punt_free: Producer<Vec<u8>>,
    /// Events.
    pub events: Consumer<WorkerEvent>,
    traced: Consumer<Box<TracePacket>>,
    trace_free: Producer<Box<TracePacket>>,
    /// Counters.
    pub counters: Arc<Counters>,
}

impl WorkerHandle {
    /// Shows the next traced packet, whose buffer goes back then; false when there is none.
    pub fn next_traced(&mut self, show: impl FnOnce(&TracePacket)) -> bool {
        let Ok(packet) = self.traced.pop() else { return false };
        show(&packet);
        let back = self.trace_free.push(packet);
        debug_assert!(back.is_ok(), "the ring has room for every buffer there is");
        true
    }
}

/// The worker's end.
pub struct WorkerPort {
    /// Which worker.
    pub id: WorkerId,
    /// Table changes.
    pub ops: Consumer<(OpSeq, TableOp)>,
    /// Packets to send.
    pub inject: Consumer<InjectMsg>,
    /// Emptied inject buffers.
    pub inject_free: Producer<Vec<u8>>,
    /// Punted packets.
    pub punt: Producer<PuntMsg>,
    /// Free punt buffers, each with a capacity of [`BUFFER_LEN`].
    pub punt_free: Consumer<Vec<u8>>,
    /// Events.
    pub events: Producer<WorkerEvent>,
    /// Traced packets.
    pub traced: Producer<Box<TracePacket>>,
    /// Free buffers for them.
    pub trace_free: Consumer<Box<TracePacket>>,
    /// Counters.
    pub counters: Arc<Counters>,
}

/// Makes both ends. `depth` is the capacity of every ring; all buffers are allocated here.
pub fn worker_channel(id: WorkerId, depth: usize, counters: Arc<Counters>) -> (WorkerHandle, WorkerPort) {
    let (ops, ops_rx) = RingBuffer::new(depth);
    let (inject, inject_rx) = RingBuffer::new(depth);
    // Twice as deep: buffers of the control plane's own making must never be refused.
    let (inject_free_tx, inject_free) = RingBuffer::new(2 * depth);
    let (punt_tx, punt) = RingBuffer::new(depth);
    let (mut punt_free, punt_free_rx) = RingBuffer::new(depth);
    let (events_tx, events) = RingBuffer::new(depth);
    let (traced_tx, traced) = RingBuffer::new(TRACE_BUFFERS);
    let (mut trace_free, trace_free_rx) = RingBuffer::new(TRACE_BUFFERS);
    while trace_free.push(Box::default()).is_ok() {}
    for _ in 0..depth {
        // The ring is as large as the number of buffers.
        let _ = punt_free.push(Vec::with_capacity(BUFFER_LEN));
    }
    (
        WorkerHandle {
            id,
            ops,
            inject,
            inject_free,
            punt,
            punt_free,
            events,
            traced,
            trace_free,
            counters: counters.clone(),
        },
        WorkerPort {
            id,
            ops: ops_rx,
            inject: inject_rx,
            inject_free: inject_free_tx,
            punt: punt_tx,
            punt_free: punt_free_rx,
            events: events_tx,
            traced: traced_tx,
            trace_free: trace_free_rx,
            counters,
        },
    )
}

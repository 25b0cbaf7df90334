//! Queues of a started port, each used by one thread.
//!
//! DPDK allows one thread at a time per queue and checks nothing. So a queue here exists once, can be sent to a thread
//! and not shared, and keeps its port from being closed.

use crate::burst::Burst;
use crate::port::PortInner;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// Receives packets.
pub struct RxQueue {
    handle: Handle,
}

/// Sends packets.
pub struct TxQueue {
    handle: Handle,
    sums_udp: bool,
}

/// What a queue is to DPDK. `Send` since DPDK ties a queue to no particular thread; not `Sync` (the `Cell`).
struct Handle {
    port: Arc<PortInner>,
    id: u16,
    queue: u16,
    _one_thread: PhantomData<Cell<()>>,
}

impl Handle {
    fn new(port: Arc<PortInner>, queue: u16) -> Self {
        Self { id: port.id(), port, queue, _one_thread: PhantomData }
    }
}

impl RxQueue {
    /// The caller makes one for each queue of a started port, once.
    pub(crate) fn new(port: Arc<PortInner>, queue: u16) -> Self {
        Self { handle: Handle::new(port, queue) }
    }

    /// Receives into the free slots of the burst, behind what is there, and returns how many came. A full burst
    /// receives nothing.
    #[inline]
    pub fn burst(&mut self, burst: &mut Burst) -> usize {
        let room = burst.room() as u16;
        if room == 0 {
            return 0;
        }
        // SAFETY: the port is started and has this queue, which no one else uses; the burst has `room` free slots.
        let n = unsafe { dpdk_sys::sw_rx_burst(self.handle.id, self.handle.queue, burst.free_slots(), room) };
        // SAFETY: the driver filled n slots with packets that are ours now.
        unsafe { burst.grow(usize::from(n)) };
        usize::from(n)
    }

    /// Id of its port.
    pub fn port(&self) -> u16 {
        self.handle.id
    }

    /// Which queue of the port.
    pub fn queue(&self) -> u16 {
        self.handle.queue
    }
}

impl TxQueue {
    /// The caller makes one for each queue of a started port, once.
    pub(crate) fn new(port: Arc<PortInner>, queue: u16, sums_udp: bool) -> Self {
        Self { handle: Handle::new(port, queue), sums_udp }
    }

    /// Whether the port computes UDP checksums where [asked](crate::Mbuf::ask_udp_checksum).
    #[inline]
    pub fn sums_udp(&self) -> bool {
        self.sums_udp
    }

    /// Sends packets from the front of the burst and returns how many the queue took. Those are gone from the burst;
    /// what did not fit is still in it, in order.
    #[inline]
    pub fn burst(&mut self, burst: &mut Burst) -> usize {
        let len = burst.len() as u16;
        if len == 0 {
            return 0;
        }
        // SAFETY: the port is started and has this queue, which no one else uses; the burst holds `len` packets.
        let n = unsafe { dpdk_sys::sw_tx_burst(self.handle.id, self.handle.queue, burst.used_slots(), len) };
        // SAFETY: the driver owns the first n, n <= len.
        unsafe { burst.forget_front(usize::from(n)) };
        usize::from(n)
    }

    /// Id of its port.
    pub fn port(&self) -> u16 {
        self.handle.id
    }

    /// Which queue of the port.
    pub fn queue(&self) -> u16 {
        self.handle.queue
    }
}

impl fmt::Debug for RxQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rx {}/{}", self.handle.port.name(), self.handle.queue)
    }
}

impl fmt::Debug for TxQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tx {}/{}", self.handle.port.name(), self.handle.queue)
    }
}

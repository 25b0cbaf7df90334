//! In-memory ports for tests and benchmarks: real DPDK ports (`net_ring`) whose other side is the test.
//!
//! ```text
//!   SimQueue::push ──► ring ──► RxQueue ─┐
//!                                        │ the code under test, with the queues of an ordinary port
//!   SimQueue::pop  ◄── ring ◄── TxQueue ◄┘
//! ```
//!
//! [`port`] makes one such port, [`wire_pair`] two that are connected back to back. No privileges and no huge pages are
//! needed: [`eal`] initialises DPDK for a whole test process.

use crate::burst::Burst;
use crate::eal::Eal;
use crate::error::{Errno, Error, Result, c_name};
use crate::mbuf::Mbuf;
use crate::mempool::Mempool;
use crate::port::{Port, PortConfig};
use dpdk_sys::{RING_F_SC_DEQ, RING_F_SP_ENQ, rte_mbuf, rte_ring};
use std::cell::Cell;
use std::ffi::{c_uint, c_void};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::{Arc, OnceLock};

/// EAL arguments that work anywhere, and for many processes side by side: ordinary memory, no PCI, no files.
pub const EAL_ARGS: [&str; 8] = [
    "--no-huge",
    "-m",
    "512",
    "--no-pci",
    "--no-shconf",
    "--no-telemetry",
    "--log-level=lib.eal:4",
    "--file-prefix=sim",
];

/// EAL arguments for measurements: huge pages, no PCI, no files.
pub const HUGE_EAL_ARGS: [&str; 5] =
    ["--in-memory", "--no-pci", "--no-telemetry", "--log-level=lib.eal:4", "--log-level=user1:4"];

/// Initialises DPDK with [`EAL_ARGS`] unless that was done, and returns the same result on every call.
pub fn eal() -> std::result::Result<&'static Eal, &'static Error> {
    eal_with(&EAL_ARGS)
}

/// As [`eal`] with other arguments. The first call in a process decides.
pub fn eal_with(args: &[&str]) -> std::result::Result<&'static Eal, &'static Error> {
    static EAL: OnceLock<Result<Eal>> = OnceLock::new();
    EAL.get_or_init(|| {
        // in a thread that ends: no test is to own the main lcore
        std::thread::scope(|s| s.spawn(|| Eal::init(args)).join().unwrap_or(Err(Error::AlreadyInitialized)))
    })
    .as_ref()
}

/// A pool of `count` buffers of 2 KiB without caches, so that its counts are exact; initialises DPDK if need be.
pub fn test_pool(name: &str, count: u32) -> Result<Mempool> {
    eal().map_err(Clone::clone)?;
    Mempool::new(name, count, 0, 2048, None)
}

/// A ring of packets with one producer and one consumer.
#[derive(Debug)]
struct Ring {
    raw: NonNull<rte_ring>,
}

// SAFETY: the ring is shared memory made for two threads. Who may produce and who may consume is settled by its users:
// on each side a queue or a SimQueue, one of a kind and not Sync.
unsafe impl Send for Ring {}
// SAFETY: as above.
unsafe impl Sync for Ring {}

impl Ring {
    fn new(name: &str, depth: u32) -> Result<Arc<Self>> {
        let c = c_name(name, 29)?;
        // a ring holds one less than its size, which is a power of two
        let size = depth.saturating_add(1).checked_next_power_of_two().unwrap_or(u32::MAX);
        // SAFETY: the EAL runs (checked by the callers); the name is copied.
        let raw = unsafe { dpdk_sys::rte_ring_create(c.as_ptr(), size, -1, RING_F_SP_ENQ | RING_F_SC_DEQ) };
        let raw = NonNull::new(raw).ok_or_else(|| Error::create("ring", name, Errno::last()))?;
        Ok(Arc::new(Self { raw }))
    }

    /// # Safety
    /// The caller is the only producer; `packets` points to `n` packets, the first of which (as many as returned) are
    /// given away.
    unsafe fn enqueue(&self, packets: *mut *mut rte_mbuf, n: usize) -> usize {
        // SAFETY: passed on to the caller.
        unsafe {
            dpdk_sys::sw_ring_enqueue_burst(self.raw.as_ptr(), packets.cast::<*mut c_void>(), n as c_uint) as usize
        }
    }

    /// # Safety
    /// The caller is the only consumer; `packets` has room for `n`, and takes as many as returned.
    unsafe fn dequeue(&self, packets: *mut *mut rte_mbuf, n: usize) -> usize {
        // SAFETY: passed on to the caller.
        unsafe {
            dpdk_sys::sw_ring_dequeue_burst(self.raw.as_ptr(), packets.cast::<*mut c_void>(), n as c_uint) as usize
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let mut burst = Burst::new();
        loop {
            // SAFETY: nobody else has the ring any more, and the burst is empty.
            let n = unsafe { self.dequeue(burst.free_slots(), Burst::CAPACITY) };
            if n == 0 {
                break;
            }
            // SAFETY: that many packets, which were in the ring.
            unsafe { burst.grow(n) };
            burst.clear();
        }
        // SAFETY: empty, and not used again.
        unsafe { dpdk_sys::rte_ring_free(self.raw.as_ptr()) }
    }
}

/// The far side of one queue pair of an in-memory port.
#[derive(Debug)]
pub struct SimQueue {
    to_port: Arc<Ring>,
    from_port: Arc<Ring>,
    _one_thread: PhantomData<Cell<()>>,
}

impl SimQueue {
    /// Lets the port receive a packet; hands it back when the queue is full.
    pub fn push(&mut self, mbuf: Mbuf) -> std::result::Result<(), Mbuf> {
        let mut raw = mbuf.into_raw().as_ptr();
        // SAFETY: the only SimQueue of this ring produces; one packet.
        match (unsafe { self.to_port.enqueue(&mut raw, 1) }, NonNull::new(raw)) {
            // SAFETY: the packet was not taken, it is still ours.
            (0, Some(raw)) => Err(unsafe { Mbuf::from_raw(raw) }),
            _ => Ok(()),
        }
    }

    /// Takes a packet that the port sent.
    pub fn pop(&mut self) -> Option<Mbuf> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: the only SimQueue of this ring consumes; room for one.
        let n = unsafe { self.from_port.dequeue(&mut raw, 1) };
        // SAFETY: what was in the ring was given away by the port.
        NonNull::new(raw).filter(|_| n == 1).map(|raw| unsafe { Mbuf::from_raw(raw) })
    }

    /// Lets the port receive packets; those that did not fit stay in the burst.
    pub fn push_burst(&mut self, burst: &mut Burst) -> usize {
        // SAFETY: as in `push`; the burst holds that many packets, and forgets those that were taken.
        unsafe {
            let n = self.to_port.enqueue(burst.used_slots(), burst.len());
            burst.forget_front(n);
            n
        }
    }

    /// Takes packets that the port sent into the free slots of the burst.
    pub fn pop_burst(&mut self, burst: &mut Burst) -> usize {
        // SAFETY: as in `pop`; the burst has that many free slots, and owns what was put there.
        unsafe {
            let n = self.from_port.dequeue(burst.free_slots(), burst.room());
            burst.grow(n);
            n
        }
    }
}

/// Makes an attached port of `queues` pairs, each of which holds at least `depth` packets in either direction.
/// Configure and start it like any other. `name`: at most 16 characters, unique in the process.
pub fn port(name: &str, queues: u16, depth: u32) -> Result<(Port, Vec<SimQueue>)> {
    crate::eal::require()?;
    let to_port = rings(name, "i", queues, depth)?;
    let from_port = rings(name, "o", queues, depth)?;
    let port = over_rings(name, &to_port, &from_port)?;
    let far = to_port.into_iter().zip(from_port);
    let far = far.map(|(to_port, from_port)| SimQueue { to_port, from_port, _one_thread: PhantomData }).collect();
    Ok((port, far))
}

/// Makes two attached ports with a wire between them: what queue n of one sends, queue n of the other receives.
pub fn wire_pair(a: &str, b: &str, queues: u16, depth: u32) -> Result<(Port, Port)> {
    crate::eal::require()?;
    let to_a = rings(a, "i", queues, depth)?;
    let to_b = rings(b, "i", queues, depth)?;
    Ok((over_rings(a, &to_a, &to_b)?, over_rings(b, &to_b, &to_a)?))
}

/// Configures and starts a port with default settings, and takes its queues.
pub fn start(port: &mut Port, queues: u16, pool: &Mempool) -> Result<Vec<(crate::RxQueue, crate::TxQueue)>> {
    port.configure(&PortConfig { queues, ..PortConfig::default() }, pool)?;
    port.start()?;
    port.take_queues()
}

fn rings(name: &str, direction: &str, queues: u16, depth: u32) -> Result<Vec<Arc<Ring>>> {
    (0..queues).map(|q| Ring::new(&format!("{name}-{direction}{q}"), depth)).collect()
}

fn over_rings(name: &str, rx: &[Arc<Ring>], tx: &[Arc<Ring>]) -> Result<Port> {
    let c = c_name(name, 17)?;
    let raw = |rings: &[Arc<Ring>]| rings.iter().map(|r| r.raw.as_ptr()).collect::<Vec<_>>();
    let (rx_raw, tx_raw) = (raw(rx), raw(tx));
    let keep: Vec<Arc<Ring>> = rx.iter().chain(tx).cloned().collect();
    Port::over_rings(name, Box::new(keep), || {
        let (n_rx, n_tx) = (rx_raw.len() as c_uint, tx_raw.len() as c_uint);
        // SAFETY: arrays of that many rings, which outlive the port; the name is copied.
        let id = unsafe { dpdk_sys::rte_eth_from_rings(c.as_ptr(), rx_raw.as_ptr(), n_rx, tx_raw.as_ptr(), n_tx, 0) };
        u16::try_from(id).map_err(|_| Error::create("port", name, Errno::last()))
    })
}

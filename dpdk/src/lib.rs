//! A safe interface to the part of DPDK that the gateway uses.
//!
//! ```text
//!  Eal::init ── once per process, before anything else
//!  Mempool   ── buffers; lives as long as the process; any thread allocates and frees
//!  Mbuf      ── one packet, owned: dropping it gives its buffers back
//!  Tagged    ── a packet with a note of ours in its descriptor
//!  Burst     ── up to 64 packets in an array, what queues take and give
//!
//!  Port::attach("net_af_packet0,iface=g0") ─► configure ─► start ─► take_queues ─┐
//!                                                                               ▼
//!       worker thread (lcore::register):   rx.burst(&mut burst);   ...   tx.burst(&mut burst);
//! ```
//!
//! Ownership is in the signatures: a packet that was sent is gone from the burst, one that was not is still there.
//! A queue belongs to one thread (`Send`, not `Sync`), and a port closes when its last queue is dropped.
//!
//! `unsafe` is confined to this crate, and each block says why it is sound. The invariant that most of them rest on:
//! *an [`Mbuf`] is the only reference to its packet* (reference count 1 in each segment, nothing attached); we never
//! clone packets, and hand a packet to DPDK only by giving it away.

pub mod burst;
pub mod eal;
pub mod error;
pub mod flow;
pub mod frag;
pub mod huge;
pub mod lcore;
pub mod mbuf;
pub mod mempool;
pub mod port;
pub mod queue;
pub mod sim;
pub mod tagged;

pub use burst::Burst;
pub use eal::Eal;
pub use error::{Error, Fault, Result};
pub use mbuf::Mbuf;
pub use mempool::Mempool;
pub use port::{Port, PortConfig};
pub use queue::{RxQueue, TxQueue};
pub use tagged::Tagged;

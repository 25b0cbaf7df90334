//! The border between the control plane and the data plane: plain types, no DPDK.
//!
//! ```text
//!  control plane                                              worker (one per core)
//!  ─────────────                                              ─────────────────────
//!  TableOp  (SAs, sessions)  ──── ring, numbered by OpSeq ──►  its own tables
//!  Inject   (IKE, L2TP, PPP) ──── ring ─────────────────────►  esp_out / tx
//!  Punt     (IKE, L2TP, PPP) ◄─── ring, policed per class ───  classify / l2tp_in
//!  Event    (lifetimes, NAT) ◄─── ring ──────────────────────  esp_in / esp_out
//!  Counters                  ◄─── single-writer memory ──────  everything
//!  TracePacket               ◄─── ring, on request ──────────  every node, see `trace`
//!
//!  SnapshotOp (ports, routes, softwires, SPD, filters ...) ──► publisher ──► Arc<Snapshot>, read by all workers
//! ```
//!
//! Everything a worker consumes is of fixed size, so that it neither allocates nor frees, but for what few SAs have beside their tables
//! (`ipsec_mb::Key`, windows of more than 1,024 packets), when they are added and deleted.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod counter;
pub mod esp;
pub mod filter;
pub mod handle;
pub mod id;
pub mod op;
pub mod policy;
pub mod punt;
pub mod route;
pub mod sa;
pub mod session;
pub mod softwire;
pub mod trace;

pub use counter::{
    Counter, Counters, DropReason, FibCounters, PortCounters, SaCounters, SessionCounters, SoftwireCounters,
    WorkerCounters,
};
pub use esp::{Cipher, EspKey, EspSuite, Integrity};
pub use filter::{FilterAction, FilterDirection, FilterId, FilterRule};
pub use handle::{WorkerHandle, WorkerPort, worker_channel};
pub use id::{NotASession, PeerId, PortId, SaOutId, SessionId, Slot, Spi, WorkerId};
pub use op::{OpSeq, SnapshotOp, TableOp, WorkerEvent};
pub use policy::{Action, PolicyRule, PortRange, Selector};
pub use punt::{Inject, InjectMsg, PuntClass, PuntMeta, PuntMsg};
pub use route::{IpPrefix, MacAddr, NextHop, PortConfig, Zone};
pub use sa::{Lifetime, Limits, Mode, SaIn, SaOut, UdpEncap};
pub use session::{InnerAddresses, OuterPath, Rate, Rates, Session};
pub use softwire::{Softwire, SoftwireId};
pub use trace::{TraceEnd, TraceFilter, TraceHop, TraceNode, TracePacket, TraceSpec};

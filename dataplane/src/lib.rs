//! The data plane: one pinned poll-mode worker per core, each with its own tables, and no locks between them.
//!
//! Start reading at [`worker`]: its `poll` lists every stage in order. [`lane`] has what they hand to each other,
//! [`publish`] what all workers share, [`runtime`] how it all starts and stops.
//!
//! ```text
//!  rx ─► classify ─► esp_in ─► l2tp_in, decap ─► forward ─► l2tp_out, encap ─► esp_out ─► output ─► tx
//!           │          │           │               ▲  │                                     ▲
//!           │          └─────── decrypted ─────────┘  │                                     │
//!           └──────────── punt ────┴──────────────────┴─► control plane ─► inject ──────────┘
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod bucket;
pub mod counter;
pub mod fib;
pub mod handoff;
pub mod lane;
pub mod link;
pub mod lpm;
pub mod node;
pub mod ops;
pub mod publish;
pub mod reassembly;
pub mod runtime;
pub mod sad;
#[cfg(test)]
mod scenario;
pub mod session;
pub mod softwire;
pub mod steer;
pub mod trace;
pub mod worker;

pub use runtime::{Config, Error, PortSpec, PublisherHandle, Running, start};

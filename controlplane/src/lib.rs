//! The control plane: it composes IKE, L2TP, PPP, DHCPv6 and AAA into softwires, and programs the data plane.
//!
//! ```text
//!   punt ──► gateway ──┬─ ike ──► peer authenticated, child SAs ──┐
//!                      ├─ l2tp ─► tunnel and session              ├─► subscriber ──► program ──► workers
//!                      └─ ppp ──► authenticated (aaa), addresses ─┘        └──► audit
//! ```
//!
//! [`gateway`] and everything below it is sans-IO: packets, time and randomness come in, packets and table changes
//! come out, so a test runs thousands of peers on a virtual clock. [`driver`] is the only place with threads,
//! sockets and timers.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod aaa;
pub mod accounting;
pub mod audit;
pub mod config;
pub mod driver;
pub mod gateway;
pub mod ike_config;
pub mod key_ring;
pub mod liveness;
pub mod mesh;
pub mod meter;
pub mod northbound;
pub mod peer;
pub mod pool;
pub mod program;
pub mod routing;
pub mod rtr;
pub mod spd;
pub mod subscriber;
pub mod trace;

//! Bidirectional Forwarding Detection (RFC 5880) between two ends of a path, in asynchronous mode: each end tells the
//! other, many times a second, what it is and what it sees, and silence means that the path is broken.
//!
//! ```text
//!     A                                      B
//!   Down ── Down, my 7, your 0 ────────────► Down       addresses find the session, discriminators do from then on
//!   Init ◄──────────── Down, my 9, your 0 ── Init
//!     │ ─── Init, my 7, your 9 ────────────► Up ──┐
//!    Up ◄─────────────────── Up, P, my 9 ──────── ┘     Poll: B has left the slow rate of one packet a second
//!     │ ─── Up, F, my 7 ───────────────────► │          Final: A knows it
//!     │ ◄──────────── Up, every 50 ms ────── │
//!     │               x ── Up, every 50 ms ─ │          Detect Mult of them lost
//!   Down ── Down, diagnostic 1 ────────────► Down
//! ```
//!
//! Each direction has the slower of what its sender desires and its receiver requires. Single-hop sessions
//! (RFC 5881, port 3784) believe only packets that no router has forwarded (TTL 255, RFC 5082); multihop sessions
//! (RFC 5883, port 4784) cannot tell, and want authentication. Echo, the passive role and demand mode of our own are
//! not offered; a peer that asks for demand mode is heeded.
//!
//! Sans-IO: [`Endpoint`] takes datagrams and the time and gives datagrams and events.
//!
//! | module | holds |
//! |---|---|
//! | [`packet`] | the control packet |
//! | [`auth`] | keyed and meticulous keyed SHA1 |
//! | [`fsm`] | the states of a session |
//! | [`negotiation`] | intervals, Poll Sequences, jitter |
//! | [`endpoint`] | all sessions together |

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod auth;
pub mod config;
pub mod endpoint;
pub mod error;
pub mod fsm;
pub mod negotiation;
pub mod packet;
mod session;

pub use auth::{Auth, AuthType, Key};
pub use config::{Config, SessionConfig, Timing};
pub use endpoint::{Endpoint, Event, Meta, SessionId, SessionInfo, Stats, Transmit};
pub use error::{Discard, SessionError};
pub use fsm::State;
pub use packet::Diag;

/// Destination port of single-hop sessions (RFC 5881, section 4).
pub const SINGLE_HOP_PORT: u16 = 3784;
/// Destination port of multihop sessions (RFC 5883, section 5).
pub const MULTIHOP_PORT: u16 = 4784;

//! IKEv1 (RFC 2407, 2408, 2409), for clients that speak nothing newer: main mode and quick mode.
//!
//! ```text
//!   phase 1, main mode       SA ─► ◄─ SA        KE, Ni, NAT-D ─► ◄─ KE, Nr, NAT-D       {ID, HASH | CERT, SIG} ─► ◄─ {..}
//!   phase 2, quick mode      {HASH(1), SA, Ni, [KE], IDci, IDcr} ─► ◄─ {HASH(2), SA, Nr, ..}     {HASH(3)} ─►
//!   informational            {HASH(1), N | D} ─►
//! ```
//!
//! What is in braces is encrypted ([`crypto`]), and all messages of an exchange in one chain of CBC.
//!
//! | module | concept |
//! |---|---|
//! | [`message`], [`payload`], [`sa_payload`] | the wire format |
//! | [`proposal`] | algorithms: policy and choice |
//! | [`crypto`] | key schedule and message protection |
//! | [`vendor`], [`fragment`] | what a peer says it can do; messages too large for a datagram |

pub(crate) mod config;
pub mod crypto;
pub mod fragment;
pub mod message;
pub mod payload;
pub mod proposal;
pub mod sa_payload;
pub mod vendor;

pub use config::{Listener, Refused};

#[cfg(test)]
mod captures;

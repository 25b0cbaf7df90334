//! IKEv1 (RFC 2407, 2408, 2409), for clients that speak nothing newer: main mode and quick mode.
//!
//! ```text
//!   phase 1, main mode       SA ─► ◄─ SA        KE, Ni, NAT-D ─► ◄─ KE, Nr, NAT-D       {ID, HASH | CERT, SIG} ─► ◄─ {..}
//!   phase 2, quick mode      {HASH(1), SA, Ni, [KE], IDci, IDcr} ─► ◄─ {HASH(2), SA, Nr, ..}     {HASH(3)} ─►
//!   informational            {HASH(1), N | D} ─►
//! ```
//!
//! It is off unless a [`Listener`] names an address of ours. Aggressive mode and XAUTH do not exist here, and the secret of
//! a group only as the named override [`Listener::legacy`] (H46). What is in braces is encrypted ([`crypto`]), and all messages of an exchange in one chain of CBC.
//!
//! | module | concept |
//! |---|---|
//! | `table`, `peer` | whose a datagram is; what outlives an ISAKMP SA |
//! | `isakmp`, `main_mode`, `quick_mode` | an ISAKMP SA and its exchanges |
//! | [`message`], [`payload`], [`sa_payload`] | the wire format |
//! | [`proposal`] | algorithms: policy and choice |
//! | [`crypto`] | key schedule and message protection |
//! | [`vendor`], [`fragment`] | what a peer says it can do; messages too large for a datagram |

pub(crate) mod config;
pub mod crypto;
pub mod fragment;
mod isakmp;
mod main_mode;
pub mod message;
mod nat;
pub mod payload;
mod peer;
pub mod proposal;
mod quick_mode;
pub mod sa_payload;
mod table;
pub mod vendor;

pub(crate) use config::Usable;
pub use config::{Listener, Refused, usable};
pub(crate) use table::Table;

#[cfg(test)]
mod captures;

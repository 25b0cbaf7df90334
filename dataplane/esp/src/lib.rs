//! ESP (RFC 4303) without packets' buffers, queues or sockets: the state of an SA and the octets of a packet.
//!
//! ```text
//!   SPI(4) | seq(4) | IV | payload | TFC padding | padding 1,2,3.. | pad length(1) | next header(1) | ICV
//!   └─ framing::write_head ─┘                     └───────── framing::write_trailer ─────────────┘
//! ```
//!
//! An SA is split by heat, so that a packet touches two cache lines of it and its key:
//!
//! | part | inbound | outbound |
//! |---|---|---|
//! | hot, 128 octets | [`Inbound`]: addresses, replay window, lifetime meter | [`Outbound`]: addresses, sequence, meter |
//! | cold | [`InboundCold`], 216 octets: wide window, limits, selector | [`OutboundCold`], 80 octets: limits, selector |
//! | key, 448 octets | [`ipsec_mb::Key`] | [`ipsec_mb::Key`] |
//!
//! All zero is "no SA", so that a table of a million is mapped as it is used. Windows of more than 1,024 packets, and
//! keys of other algorithms than AES-GCM, are blocks of their own. The data plane keeps such tables and works on
//! batches; [`SaIn`], [`SaOut`], [`seal`] and [`open`] are the same thing for one packet at a time. Inbound, the order is that of
//! RFC 4303, section 3.4:
//!
//! ```text
//!   Inbound::check (window) ─► ICV and decryption ─► Inbound::accept (window again, and advance)
//!                           ─► framing::read_trailer ─► selector ─► Inbound::charge (lifetime)
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod framing;
pub mod inbound;
pub mod lifetime;
pub mod outbound;
pub mod packet;
pub mod path;
pub mod replay;
pub mod selector;
pub mod suite;
#[cfg(test)]
mod tests;

pub use inbound::{Inbound, InboundCold};
pub use lifetime::Charge;
pub use outbound::{Outbound, OutboundCold};
pub use packet::{Opened, SaIn, SaOut, open, seal};
pub use path::{Path, PathCheck};

//! EAP (RFC 3748): packets, the peer, and a small server, without input or output of their own.
//!
//! The authenticator asks, the peer answers, and in the end the authenticator says how it went. A gateway is in most
//! cases a *pass-through* (RFC 3748, section 2.3): it asks for the identity, and from there on carries packets between
//! the peer and a server behind RADIUS (RFC 3579).
//!
//! ```text
//!   Peer                     authenticator (PPP or IKEv2)                  Server or RADIUS
//!        <------ Request/Identity
//!        Response/Identity ------>            ------------------------------>
//!        <------------------------            <------ Request/MD5-Challenge, MSCHAPv2, ...
//!        Response, or Nak with what it would rather ------------------------>
//!        <------------------------            <------ Success or Failure, and the MSK
//! ```
//!
//! [`Peer`] and [`Server`] know MD5-Challenge and MSCHAPv2 ([`mschap`]). Retransmission is the authenticator's: who
//! owns a link or an IKE exchange does it, and [`Peer`] gives the same answer to a repeated Request.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod method;
pub mod mschap;
pub mod packet;
pub mod peer;
pub mod server;
#[cfg(test)]
mod tests;

pub use method::Method;
pub use packet::{Packet, Type};
pub use peer::{Peer, State};
pub use server::{Server, Step};

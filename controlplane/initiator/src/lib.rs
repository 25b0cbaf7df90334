//! The softwire initiator: the subscriber's end of a softwire (RFC 5571), outer IPv4 or IPv6, inner IPv6 and IPv4.
//!
//! ```text
//!   inner packet ◄─► PPP ◄─► L2TP data ◄─► UDP 1701 ◄─► ESP (transport mode) ◄─► UDP 4500 or protocol 50
//!                    LCP, CHAP, IPCP, IPV6CP             keys by IKEv2 (UDP 500, 4500)
//!                    RS/RA, DHCPv6 inside
//! ```
//!
//! [`Softwire`] is sans-IO: datagrams, inner packets and time go in and come out, so that one thread runs tens of
//! thousands (`softwire-capacity`). [`Initiator`] is one that runs by itself, and the program `softwire-initiator` gives
//! it sockets and a TUN interface.
//! Bring-up is strictly in this order, and goes down in the reverse one:
//! IKE SA, child SA, tunnel, session, LCP, authentication, network protocols, addresses.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod data;
mod initiator;
mod network;
mod softwire;

pub use initiator::Initiator;
pub use softwire::{Config, Datagram, Event, Outbound, Softwire, StartError};

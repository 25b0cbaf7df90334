//! IPv6 configuration of one softwire: DHCPv6 (RFC 8415) for prefixes and addresses, and router advertisements
//! (RFC 4861).
//!
//! On a PPP link there are two nodes. The gateway announces the link's prefix by router advertisement ([`ra`]), and
//! a subscriber that is a router asks for a prefix of its own, for the network behind it:
//!
//! ```text
//!  requesting router            delegating router (the gateway)
//!       Solicit  IA_PD  ------>
//!               <------  Advertise  IA_PD(prefix)
//!       Request  IA_PD  ------>
//!               <------  Reply      IA_PD(prefix), route programmed
//!       Renew, Rebind, Release ... as lifetimes go by
//! ```
//!
//! [`Server`] answers for one session with the prefixes and addresses that session has: no pool, no database, no other
//! client. [`Relay`] hands the session's messages to a server elsewhere instead. [`Client`] is the other end. All are
//! without input or output of their own; [`packet`] wraps their messages in IPv6 and UDP, so that they can be injected
//! into a session and picked out of it.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod client;
pub mod lease;
pub mod message;
pub mod option;
pub mod packet;
pub mod ra;
pub mod relay;
pub mod server;
#[cfg(test)]
mod tests;

pub use client::{Client, ClientConfig, ClientEvent};
pub use lease::Lease;
pub use message::{Message, MessageType};
pub use option::{DhcpOption, Duid, Ia, IaAddress, IaPrefix, Status};
pub use packet::Prefix;
pub use ra::{PrefixInformation, RouterAdvertisement};
pub use relay::{Relay, RelayConfig};
pub use server::{Server, ServerConfig, ServerEvent};

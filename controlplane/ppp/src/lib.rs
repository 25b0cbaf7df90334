//! PPP for one session: LCP, PAP, CHAP, MS-CHAPv2, EAP, IPCP and IPV6CP, both sides, without input or output of its
//! own.
//!
//! A PPP link goes through the phases of RFC 1661, section 3.2:
//!
//! ```text
//!  Dead -> Establish (LCP) -> Authenticate (each way on its own) -> Network (IPCP, IPV6CP) -> Terminate
//! ```
//!
//! [`Link`] is that link. It owns one automaton of RFC 1661, section 4 ([`fsm`]) for each control protocol, and the
//! authentication exchanges. It has no clock, no socket and no random source of its own: `now` and bytes come in as
//! arguments, randomness is injected, and after each call the caller drains first [`Link::poll_event`] and then
//! [`Link::poll_transmit`], and rearms its timer from [`Link::poll_timeout`].
//!
//! A frame is what L2TP carries without the address and control fields: the protocol number (two octets) and the
//! information. The phases are a security boundary (requirement H12): no network control protocol is looked at
//! or sent before both authentications are through and the caller has called [`Link::start_network`].
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod auth;
pub mod chap;
pub mod config;
mod cp;
mod eap;
pub mod event;
pub mod fsm;
pub mod ipcp;
pub mod ipv6cp;
pub mod lcp;
pub mod link;
pub mod message;
pub mod option;
pub mod pap;
#[cfg(test)]
mod tests;

pub use config::{AuthMethod, Config, Credentials, IpcpConfig, Ipv6cpConfig, NetworkConfig, Timers};
pub use event::{AuthRequest, AuthVerdict, DownReason, EapResponse, Event, Proof, Reply};
pub use ipv6cp::InterfaceId;
pub use link::{Link, Phase};
pub use secret::Secret;

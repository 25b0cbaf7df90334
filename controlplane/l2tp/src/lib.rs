//! L2TPv2 (RFC 2661) as softwires use it (RFC 5571): a PPP session inside UDP, set up by control messages.
//!
//! ```text
//!  SI = LAC                          SC = LNS
//!   │── SCCRQ ─────────────────────────►│   tunnel: ids, windows, CHAP over a tunnel secret each way
//!   │◄───────────────────────── SCCRP ──│
//!   │── SCCCN ─────────────────────────►│
//!   │── ICRQ ──────────────────────────►│   one incoming call in it
//!   │◄────────────────────────── ICRP ──│
//!   │── ICCN ──────────────────────────►│   PPP flows
//!   │◄───────────── HELLO ─────────────►│   keepalive
//!   │◄──────────── StopCCN ────────────►│   the end of both, acknowledged
//! ```
//!
//! Tunnels are opened by the SI only and hold exactly one session; outgoing calls are refused (H13). Both sides are
//! here, sans-IO: [`Endpoint`] takes datagrams and the time and gives datagrams and events.
//!
//! | module | holds |
//! |---|---|
//! | [`message`] | the control message header, kinds of messages |
//! | [`avp`] | attribute-value pairs, hidden ones too |
//! | [`reliable`] | numbering, acknowledgement, retransmission |
//! | [`auth`] | tunnel Challenge and Response |
//! | [`fsm`] | tunnel and session state machines |
//! | [`endpoint`] | all tunnels together |

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod auth;
pub mod avp;
pub mod config;
pub mod endpoint;
pub mod error;
pub mod fsm;
pub mod message;
pub mod reliable;

pub use config::{Config, PortChange};
pub use endpoint::{Endpoint, Event, IdSource, Meta, SessionUp, Stats, Transmit, TunnelInfo};
pub use error::{Cause, ConnectError, DownReason, Refused};
pub use secret::Secret;

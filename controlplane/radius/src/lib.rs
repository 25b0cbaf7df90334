//! RADIUS (RFC 2865): a client for authentication and accounting, and the server of dynamic authorization (RFC 5176).
//!
//! ```text
//!   gateway (NAS)                              AAA servers
//!   Client ── Access-Request, id 7 ──────────► a   silent
//!     │  ──── the same again ────────────────► a   silent: its requests move
//!     │  ──── Access-Request, id 3 ──────────► b
//!     │  ◄─── Access-Accept, id 3 ──────────── b
//!     │  ──── Status-Server ─────────────────► a   until it answers (RFC 5997)
//!   dynauth ◄─ CoA-Request, Disconnect-Request ─   a client of ours, by address and secret
//!     │  ──── ACK, or NAK with Error-Cause ──►
//! ```
//!
//! Who has the shared secret is who one talks to: every reply is bound to its request by an MD5 of both, which is not
//! enough (CVE-2024-3596), so every request has a Message-Authenticator first, and replies to Access-Requests need one.
//!
//! Sans-IO: [`Client`] and [`dynauth::Server`] take octets and the time and give octets and events.
//!
//! | module | holds |
//! |---|---|
//! | [`packet`] | the header, parsed and built |
//! | [`attribute`] | attributes, typed; lists of them to send |
//! | [`vendor`] | attributes of Microsoft, WISPr and our own (`dictionary.softwire`) |
//! | [`route`] | Framed-Route, Framed-IPv6-Route |
//! | [`crypto`] | authenticators, hidden values |
//! | [`client`] | requests, their servers and links |
//! | [`dynauth`] | CoA-Request, Disconnect-Request |

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod attribute;
pub mod client;
pub mod crypto;
pub mod dynauth;
pub mod packet;
pub mod route;
pub mod vendor;

pub use attribute::{Attribute, AttributeList, Attributes, Invalid, Kind};
pub use client::{Client, Config, Event, LinkId, LinkOp, Reply, Request, ServerConfig, ServerId, Transport};
pub use packet::{Builder, Code, Packet, Unencodable};
pub use route::Route;
pub use secret::Secret;

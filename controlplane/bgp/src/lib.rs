//! BGP-4 (RFC 4271) as a mesh of softwires uses it (RFC 5565): the routers at the border of a network of one address
//! family (AFBRs) tell each other the prefixes of the other family that they lead to, and the tunnels to get there.
//!
//! ```text
//!     IPv4 island                  IPv6 network                  IPv4 island
//!   ── 10.1.0.0/16 ──┤ AFBR 1 ├═══ softwire: IPv4 in IPv6 ═══┤ AFBR 2 ├── 10.2.0.0/16 ──
//!                        │                                        │
//!                        │── OPEN ───────────────────────────────►│   families, RFC 8950 next hops, restart
//!                        │◄─────────────────────────────── OPEN ──│
//!                        │── KEEPALIVE ──────────────────────────►│   established
//!                        │◄─ UPDATE 10.2.0.0/16, next hop AFBR 2 ─│   an IPv6 address
//!                        │         tunnel: IP in IP               │   RFC 9012
//! ```
//!
//! Everything is sans-IO: [`speaker`] takes octets of connections and the time, and gives octets and events.
//!
//! | module | holds |
//! |---|---|
//! | [`message`] | the five messages on the wire |
//! | [`attribute`] | path attributes, interned |
//! | [`error`] | faults of an UPDATE and what is made of them (RFC 7606) |
//! | [`tunnel`] | the Tunnel Encapsulation attribute (RFC 9012) |
//! | [`policy`] | rules for what comes in and goes out |
//! | [`rib`] | Adj-RIB-In, decision, Loc-RIB, Adj-RIB-Out |
//! | [`fsm`] | the state machine of a connection |
//! | [`session`] | one neighbour's connections |
//! | [`neighbour`] | configuration of a neighbour |
//! | [`speaker`] | all neighbours and routes together |

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod attribute;
pub mod error;
pub mod fsm;
pub mod message;
pub mod neighbour;
pub mod policy;
pub mod rib;
pub mod session;
pub mod speaker;
mod timer;
pub mod tunnel;

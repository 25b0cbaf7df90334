//! The capacity lab: thousands of subscribers and measured traffic against a gateway, the device under test.
//!
//! ```text
//!                     access port                      network port
//!   subscribers ◄──────────────────► gateway under test ◄──────────► hosts
//!   IKE, ESP, L2TP, PPP                                              inner packets
//!        └──────────────────── packet cores of the generator ───────────┘
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`profile`] | what is to be tested, as YAML |
//! | [`fleet`], [`population`] | who the subscribers are; which of them are up |
//! | [`probe`], [`tally`] | what a measured packet carries; what became of all of them |
//! | [`engine`] | a packet core: ports, subscribers, probes |
//! | [`lab`] | the packet cores of a test, seen as one |
//! | [`run`] | stages, searches, criteria |
//! | [`result`](mod@result), [`report`] | what came out, as JSON and HTML |
//!
//! docs/capacity-testing.md is for who uses it.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod engine;
pub mod fleet;
mod inner;
mod lab;
mod link;
mod neighbours;
mod pace;
mod population;
mod probe;
pub mod profile;
pub mod report;
pub mod result;
pub mod run;
mod tally;

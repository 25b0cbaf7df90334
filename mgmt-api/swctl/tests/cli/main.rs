//! The program as an operator runs it, in front of a gateway that answers recorded documents.

#![allow(clippy::unwrap_used, clippy::panic)]

mod configuration;
mod fake;
mod live;
mod show;
mod transport;

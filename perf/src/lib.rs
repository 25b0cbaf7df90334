//! What the benchmarks and their tests share.
//!
//! | module | |
//! |---|---|
//! | [`table`] | a full routing table |
//! | [`peer`] | a BGP neighbour that announces it |
//! | [`router`] | the gateway that learns it: control plane, publisher, worker |

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod peer;
pub mod router;
pub mod table;

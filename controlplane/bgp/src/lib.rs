#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod attribute;
pub mod error;
pub mod fsm;
pub mod message;
mod timer;
pub mod tunnel;

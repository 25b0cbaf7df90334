#![forbid(unsafe_code)]

pub mod fsm;
mod timer;

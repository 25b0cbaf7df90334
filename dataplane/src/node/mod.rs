//! The stages of a worker. Each `run` drains its input lane; `worker::Worker::poll` shows their order.

pub mod classify;
pub mod decap;
pub mod decrypted;
pub mod encap;
pub mod esp_in;
pub mod esp_out;
pub mod filter;
pub mod forward;
pub mod fragment;
pub mod icmp;
pub mod inject;
pub mod l2tp_in;
pub mod l2tp_out;
pub mod output;
pub mod punt;
pub mod room;
pub mod spd;

//! What a packet costs one worker: the gateway's own [`dataplane::worker::Worker::poll`], pinned, between real DPDK ports.
//!
//! | module | |
//! |---|---|
//! | [`path`] | what is measured: kinds of packets, sizes, numbers of peers, and what each is to cost |
//! | [`world`] | the tables of such a gateway, the frames that come in, and the far ends of its SAs |
//! | [`bed`] | a worker with these tables between two ports: files that repeat, or rings in memory |
//! | [`proof`] | that what comes out is what was to come out |
//! | [`measure`] | one reading |
//! | [`quiet`] | which parts of a reading count |
//! | [`floor`], [`crypto`], [`lines`] | what moving packets, their cryptography, and lines of a large table cost by themselves |
//! | [`rounds`] | readings of all paths and floors in turn, each in a process of its own |
//! | [`scale`], [`cores`], [`latency`], [`jitter`] | many sessions and routes; two workers; time on the way; polls with changes |
//! | [`count`] | instructions per packet |
//! | [`report`], [`plot`], [`machine`] | tables, files, comparisons |

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod bed;
pub mod cores;
pub mod count;
pub mod crypto;
pub mod floor;
pub mod frame;
pub mod jitter;
pub mod latency;
pub mod lines;
pub mod machine;
pub mod measure;
pub mod path;
pub mod plot;
pub mod proof;
pub mod quiet;
pub mod report;
pub mod rounds;
pub mod scale;
pub mod world;

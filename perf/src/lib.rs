//! What the benchmarks and their tests share.
//!
//! | module | |
//! |---|---|
//! | [`table`] | a full routing table |
//! | [`peer`] | a BGP neighbour that announces it |
//! | [`router`] | the gateway that learns it: control plane, publisher, worker |
//! | [`subscribers`] | subscribers, and the control plane that they come to |
//! | [`handshake`] | what a new IKE SA costs |
//! | [`clock`] | processor time |
//! | [`programming`] | changes of the tables |
//! | [`traffic`] | packets that are carried meanwhile |
//! | [`rekey`] | all child SAs are rekeyed under traffic |
//! | [`storm`] | all of them come back at once |

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod clock;
pub mod handshake;
pub mod peer;
pub mod programming;
pub mod rekey;
pub mod router;
pub mod storm;
pub mod subscribers;
pub mod table;
pub mod traffic;

/// Octets of memory that the process has.
pub fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|n| n.parse::<usize>().ok()).unwrap_or_default() * 4096
}

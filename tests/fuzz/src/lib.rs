//! What the fuzzer runs: one function for every codec and endpoint that reads octets from a peer.
//!
//! ```text
//!   cargo fuzz run NAME     ─► fuzz_targets/NAME.rs ─┐
//!                                                    ├─► run(NAME, octets)   panics if something is wrong
//!   cargo test --test corpus ─► corpus/NAME/* ───────┘
//! ```
//!
//! Codecs get the octets as they are; what they accept must survive being written and read again. Endpoints get a
//! script ([`script`]) that both ends of a connection go through, with a clock that the script moves.
#![forbid(unsafe_code)]

mod bfd;
mod bgp;
pub mod bgp_speaker;
mod config;
mod dhcp6;
mod esp;
mod ike;
mod ikev1;
mod l2tp;
mod ppp;
mod radius;
pub mod script;
mod wire;

/// A target's function.
type Target = fn(&[u8]);

/// Every target and what it is called.
pub const TARGETS: &[(&str, Target)] = &[
    ("wire", wire::packet),
    ("ppp", ppp::codecs),
    ("ppp_link", |data| drop(ppp::link(data))),
    ("dhcp6", dhcp6::codecs),
    ("dhcp6_pair", |data| drop(dhcp6::pair(data))),
    ("esp", esp::packets),
    ("l2tp", l2tp::codecs),
    ("l2tp_pair", |data| drop(l2tp::pair(data))),
    ("ike", ike::codecs),
    ("ike_pair", |data| drop(ike::pair(data))),
    ("ikev1", ikev1::codecs),
    ("bfd", bfd::codecs),
    ("bfd_pair", |data| drop(bfd::pair(data))),
    ("bgp", bgp::codecs),
    ("bgp_speaker", |data| _ = bgp_speaker::speaker(data)),
    ("radius", radius::packets),
    ("config", config::text),
];

/// Runs a target on an input.
///
/// # Panics
/// When the input shows a fault, and when there is no such target.
pub fn run(target: &str, data: &[u8]) {
    match TARGETS.iter().find(|(name, _)| *name == target) {
        Some((_, f)) => f(data),
        None => panic!("no target {target}"),
    }
}

/// The messages of a conversation, for seeds of the codecs.
pub fn transcript(target: &str, data: &[u8]) -> Vec<Vec<u8>> {
    match target {
        "ppp_link" => ppp::link(data),
        "dhcp6_pair" => dhcp6::pair(data),
        "l2tp_pair" => l2tp::pair(data),
        "ike_pair" => ike::pair(data),
        "bfd_pair" => bfd::pair(data),
        _ => Vec::new(),
    }
}

/// A generator that always gives the same numbers.
fn rng(seed: u64) -> Box<rand::rngs::StdRng> {
    Box::new(rand::SeedableRng::seed_from_u64(seed))
}

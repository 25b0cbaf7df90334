//! ESP cryptography over several packets at a time: AES-GCM by code of our own where the processor has what it needs, everything
//! else by Intel's Multi-Buffer Crypto for IPsec library.
//!
//! AES-GCM can be interleaved within a packet, and short packets with each other (`vaes`). CBC encryption, HMAC and Poly1305 are
//! serial within a packet, so the library runs several packets side by side: jobs are submitted in a burst, come back in any
//! order, and the rest is flushed. A user of this crate sees neither:
//!
//! ```text
//!   Job::new per packet ──► Manager::run(jobs, keys) ──► Outcome: which packets are good
//! ```
//!
//! A job is one ESP packet in place, from the SPI to the ICV (RFC 4303, figure 1):
//!
//! ```text
//!   SPI(4) | seq(4) | IV(0, 8 or 16) | payload, padding, trailer | ICV(12 or 16)
//!   └── authenticated ──────────────────────────────────────────┘
//!                                    └── encrypted ─────────────┘
//! ```
//!
//! `run` returns when every job is finished: the library holds no pointer into a packet or a key after it, which is what
//! makes the borrows enough. Tags are compared here, in constant time; the library only computes them.

mod algorithm;
mod job;
mod key;
mod manager;
mod prefetch;
mod vaes;

pub use algorithm::Algorithm;
pub use job::{Direction, Job, Outcome};
pub use key::Key;
pub use manager::{AHEAD, BATCH, Error, Manager};
pub use prefetch::{CACHED, prefetch, prefetch_far};

//! IKEv2 (RFC 7296), both roles, without I/O.
//!
//! ```text
//!   datagrams ─► Endpoint::handle_input ─┐                        ┌─► poll_event     peers, child SAs with keys
//!   clock     ─► Endpoint::handle_timeout├─► IKE SAs (sa::State) ─┼─► poll_transmit  datagrams
//!   owner     ─► initiate, rekey_*, close┘                        └─► poll_timeout   when to come back
//! ```
//!
//! Time, randomness and inbound SPIs come from the caller; there are no sockets, threads or clocks here. After every
//! call drain the events first and then the transmits: an inbound child SA has to be in place before the message that
//! makes the peer use it leaves.
//!
//! | module | concept |
//! |---|---|
//! | [`message`], [`payload`] | the wire format |
//! | [`proposal`] | algorithms: policy and choice |
//! | [`config`] | the PAD: who may connect, how they prove it, what they may carry |
//! | [`crypto`], [`auth`] | key exchange and schedule, message protection; identities and proofs |
//! | `sa` | one IKE SA: its states and exchanges |
//! | [`endpoint`], `stateless` | the table of all IKE SAs, cookies, limits; answers that need none |
//! | [`fragment`] | RFC 7383 |
//! | [`v1`] | IKEv1 |

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod auth;
pub mod config;
mod cookie;
pub mod crypto;
pub mod endpoint;
pub mod error;
pub mod event;
pub mod fragment;
mod info;
pub mod message;
pub mod payload;
pub mod proposal;
mod sa;
mod stateless;
pub mod v1;

pub use config::{ChildPolicy, Config, Limits, Mode, PadEntry, Timers, TsAddress, TsPattern};
pub use endpoint::Endpoint;
pub use error::{CallError, ConfigError, Failure};
pub use event::{
    Child, ChildDownReason, ChildKey, DownReason, EapSession, EapSuccess, Event, Meta, PeerHandle, Resource, Transmit,
};
pub use info::{IkeSaInfo, Stats};
pub use payload::ts::TrafficSelector;
pub use proposal::{EspProposal, EspSuite, IkeProposal, IkeSuite};
pub use sa::SpiSource;
pub use sa::resource::MAX_RESOURCES;

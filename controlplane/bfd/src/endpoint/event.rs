//! What goes in and out of an endpoint.

use crate::error::Discard;
use crate::fsm::State;
use crate::packet::Diag;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// Names a session: its local discriminator, which is random and not used again while the session exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub NonZeroU32);

impl SessionId {
    /// bfd.LocalDiscr.
    pub fn discriminator(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a datagram reached us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Our address.
    pub local: IpAddr,
    /// The peer's.
    pub remote: IpAddr,
    /// TTL or Hop Limit as received.
    pub ttl: u8,
    /// Destination port.
    pub port: u16,
}

/// A datagram to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// From here.
    pub local: IpAddr,
    /// To here.
    pub remote: IpAddr,
    /// From this port, in 49152 to 65535 and the same for all of a session (RFC 5881, section 4).
    pub source_port: u16,
    /// To this port.
    pub port: u16,
    /// TTL or Hop Limit, always 255.
    pub ttl: u8,
    /// UDP payload.
    pub bytes: Vec<u8>,
}

/// What the caller must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The path works in both directions.
    Up(SessionId),
    /// A session that was up is not.
    Down {
        /// Which.
        id: SessionId,
        /// Why.
        diag: Diag,
        /// The peer's operator took it down: it says nothing about the path (RFC 5882, section 3.2).
        remote_admin: bool,
    },
}

/// Counters.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    discarded: [u64; Discard::ALL.len()],
    /// Packets that were accepted.
    pub received: u64,
    /// Packets that were sent.
    pub sent: u64,
    /// Times that a session came up.
    pub ups: u64,
    /// Times that a session that was up went down, or was taken away.
    pub downs: u64,
}

impl Stats {
    /// Packets discarded for `reason`.
    pub fn discarded(&self, reason: Discard) -> u64 {
        self.discarded.get(reason as usize).copied().unwrap_or(0)
    }

    pub(crate) fn discard(&mut self, reason: Discard) {
        if let Some(n) = self.discarded.get_mut(reason as usize) {
            *n += 1;
        }
    }
}

/// A session, for people to see.
#[derive(Clone, Debug)]
pub struct SessionInfo {
    /// Its id, the local discriminator.
    pub id: SessionId,
    /// Our address.
    pub local: IpAddr,
    /// The peer's.
    pub remote: IpAddr,
    /// RFC 5883.
    pub multihop: bool,
    /// Our port.
    pub source_port: u16,
    /// bfd.SessionState.
    pub state: State,
    /// bfd.LocalDiag.
    pub diag: Diag,
    /// bfd.RemoteSessionState.
    pub remote_state: State,
    /// The diagnostic that the peer last sent.
    pub remote_diag: Diag,
    /// bfd.RemoteDiscr, 0 while unknown.
    pub remote_discriminator: u32,
    /// bfd.DetectMult.
    pub detect_mult: u8,
    /// Between our packets, before jitter; `None`: the peer wants none.
    pub tx_interval: Option<Duration>,
    /// Silence that takes the session down, while the peer is heard.
    pub detection_time: Option<Duration>,
    /// A Poll Sequence of ours waits for its Final.
    pub polling: bool,
    /// Packets are authenticated.
    pub authenticated: bool,
    /// Since when it has its state.
    pub since: Instant,
    /// When the last valid packet came.
    pub last_received: Option<Instant>,
    /// Valid packets.
    pub received: u64,
    /// Packets sent.
    pub sent: u64,
    /// Times that it was up and went down.
    pub downs: u64,
}

//! What goes in and out of an endpoint.

use crate::error::{DownReason, Refused};
use crate::fsm;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Instant;

/// How a message reached us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Our address and port.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
    /// The IKE peer whose SA carried it; `None` for clear L2TP.
    pub binding: Option<NonZeroU32>,
}

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// From here.
    pub local: SocketAddr,
    /// To here.
    pub remote: SocketAddr,
    /// Inside the SAs of this peer.
    pub binding: Option<NonZeroU32>,
    /// UDP payload.
    pub data: Vec<u8>,
}

/// A session that is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionUp {
    /// Our tunnel id in the upper half, our session id in the lower.
    pub id: u32,
    /// The peer's tunnel id.
    pub peer_tunnel: u16,
    /// The peer's session id.
    pub peer_session: u16,
    /// The peer's Host Name.
    pub peer_host_name: String,
    /// Data carries sequence numbers.
    pub sequencing: bool,
    /// Our address and port.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
    /// The IKE peer that carries it.
    pub binding: Option<NonZeroU32>,
}

/// What the caller must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A peer's call is accepted (ICRP): what it says in PPP may come right behind its ICCN, before that has been looked at.
    /// Then comes `SessionUp` or `SessionDown`.
    SessionOffered(SessionUp),
    /// PPP may flow.
    SessionUp(SessionUp),
    /// A session that was up, or offered, carries nothing any more; its ids and SAs are still needed to close the tunnel.
    /// Comes before every `Down` of such a session.
    SessionDown {
        /// Which.
        id: u32,
        /// Why.
        reason: DownReason,
    },
    /// The tunnel is gone, the ids are free, and (H47) nothing more of it needs the SAs.
    Down {
        /// Which.
        id: u32,
        /// Why.
        reason: DownReason,
    },
    /// The peer's address or port changed.
    Moved {
        /// Which.
        id: u32,
        /// Now.
        remote: SocketAddr,
    },
}

/// Counters.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    refused: [u64; Refused::ALL.len()],
    /// Tunnels that were established.
    pub tunnels: u64,
    /// Sessions that were established.
    pub sessions: u64,
    /// Intervals that passed without an acknowledgement.
    pub retransmits: u64,
    /// Repeats received.
    pub duplicates: u64,
    /// Tunnel authentications that failed (H14).
    pub auth_failed: u64,
}

impl Stats {
    /// Messages dropped for `reason`.
    pub fn refused(&self, reason: Refused) -> u64 {
        self.refused.get(reason as usize).copied().unwrap_or(0)
    }

    pub(crate) fn refuse(&mut self, reason: Refused) {
        if let Some(n) = self.refused.get_mut(reason as usize) {
            *n += 1;
        }
    }
}

/// A tunnel, for people to see.
#[derive(Clone, Debug)]
pub struct TunnelInfo {
    /// Our ids.
    pub id: u32,
    /// The peer's tunnel id, 0 while unknown.
    pub peer_tunnel: u16,
    /// The peer's session id, 0 while unknown.
    pub peer_session: u16,
    /// The peer's Host Name.
    pub peer_host_name: String,
    /// Our address and port.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
    /// The IKE peer that carries it.
    pub binding: Option<NonZeroU32>,
    /// We opened it.
    pub initiator: bool,
    /// State of the tunnel.
    pub state: fsm::tunnel::State,
    /// State of its session.
    pub session: fsm::session::State,
    /// Since when it exists.
    pub since: Instant,
}

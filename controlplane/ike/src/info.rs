//! What an endpoint shows of itself.

use crate::auth::Identity;
use crate::event::PeerHandle;
use std::net::SocketAddr;
use std::time::Instant;

/// What was refused, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Datagrams that are no IKE messages.
    pub malformed: u64,
    /// Messages for IKE SAs that do not exist.
    pub unknown_spi: u64,
    /// Those answered with INVALID_IKE_SPI.
    pub invalid_spi_sent: u64,
    /// Messages that failed the integrity check or are outside the window.
    pub refused: u64,
    /// Cookies demanded.
    pub cookies_sent: u64,
    /// Wrong cookies.
    pub cookies_wrong: u64,
    /// IKE_SA_INIT requests dropped because of too many half-open SAs.
    pub half_open_dropped: u64,
    /// IKE_SA_INIT requests dropped because enough had been taken in that second.
    pub init_limited: u64,
    /// IKE_SA_INIT requests answered with an error.
    pub init_refused: u64,
    /// What was refused of IKEv1.
    pub v1_refused: crate::v1::Refused,
}

impl Stats {
    /// All of IKEv2's with their names in metrics.
    pub fn named(&self) -> [(&'static str, u64); 9] {
        [
            ("malformed", self.malformed),
            ("unknown_spi", self.unknown_spi),
            ("invalid_spi_sent", self.invalid_spi_sent),
            ("refused", self.refused),
            ("cookies_sent", self.cookies_sent),
            ("cookies_wrong", self.cookies_wrong),
            ("half_open", self.half_open_dropped),
            ("init_limited", self.init_limited),
            ("init_refused", self.init_refused),
        ]
    }
}

/// An IKE SA as the API shows it.
#[derive(Clone, Debug)]
pub struct IkeSaInfo {
    /// The peer.
    pub peer: PeerHandle,
    /// Name of the PAD entry.
    pub pad: Option<String>,
    /// Original initiator's SPI.
    pub spi_i: u64,
    /// Original responder's SPI.
    pub spi_r: u64,
    /// Its state.
    pub state: &'static str,
    /// Our identity.
    pub local_id: Option<Identity>,
    /// The peer's identity.
    pub remote_id: Option<Identity>,
    /// Whom EAP has authenticated.
    pub eap_identity: Option<String>,
    /// Our address and port.
    pub local: SocketAddr,
    /// The peer's address and port.
    pub remote: SocketAddr,
    /// Algorithms.
    pub suite: Option<String>,
    /// ESP goes in UDP.
    pub natt: bool,
    /// MOBIKE is agreed on.
    pub mobike: bool,
    /// When this IKE SA (not the peer) came up.
    pub since: Instant,
    /// Inbound SPIs of its child SAs.
    pub children: Vec<u32>,
    /// Version of IKE, 1 or 2.
    pub version: u8,
    /// What of the algorithms is weak, in their notation.
    pub weak: Vec<&'static str>,
}

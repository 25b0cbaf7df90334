//! What an endpoint tells its owner. Events are to be drained before transmits: a `ChildUp` has to be installed before
//! the message that makes the peer use it leaves.

use crate::auth::Identity;
use crate::config::Mode;
use crate::error::Failure;
use crate::payload::ts::TrafficSelector;
use crate::proposal::EspSuite;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use zeroize::Zeroizing;

/// A peer, over all IKE SAs that succeed each other by rekeying. The first free number from 1 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerHandle(pub NonZeroU32);

/// Keying material of one direction: the cipher's key (with the salt of an AEAD at its end) and the integrity key.
#[derive(Clone)]
pub struct ChildKey {
    /// Cipher key, then salt.
    pub encr: Zeroizing<Vec<u8>>,
    /// Integrity key, empty with an AEAD.
    pub integ: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for ChildKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChildKey(..)")
    }
}

/// What a child SA is bound to at each end, so that no two of them share its sequence numbers and its replay window (RFC 9611).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Ours, below [`crate::ChildPolicy::resources`].
    pub id: u32,
    /// What the peer calls its own, for debugging alone (section 3); empty where it does not say.
    pub peer: Box<[u8]>,
}

/// A pair of ESP SAs.
#[derive(Clone, Debug)]
pub struct Child {
    /// SPI we receive on.
    pub spi_in: u32,
    /// SPI the peer receives on.
    pub spi_out: u32,
    /// Algorithms.
    pub suite: EspSuite,
    /// Mode.
    pub mode: Mode,
    /// The peer takes padding against traffic analysis (TFC, RFC 4303, section 2.7).
    pub tfc: bool,
    /// Key of packets from the peer.
    pub inbound: ChildKey,
    /// Key of packets to the peer.
    pub outbound: ChildKey,
    /// Our side's traffic.
    pub local_ts: Vec<TrafficSelector>,
    /// The peer's side's traffic.
    pub remote_ts: Vec<TrafficSelector>,
    /// Carried in UDP (RFC 3948).
    pub encap: bool,
    /// Our outer address and port.
    pub local: SocketAddr,
    /// The peer's outer address and port.
    pub remote: SocketAddr,
    /// SPI we received on with the pair that this one replaces.
    pub replaces: Option<u32>,
    /// What it is bound to; `None`: it is for all traffic that has no other.
    pub resource: Option<Resource>,
}

/// An EAP conversation with an initiator that is not a peer yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EapSession(pub u64);

/// What comes of a successful EAP conversation.
#[derive(Clone)]
pub struct EapSuccess {
    /// Whom the EAP server has authenticated; the claimed IKE identity may be another.
    pub identity: String,
    /// The key that the method gave, 64 octets normally. `None`: it gives none, and AUTH then binds nothing to it.
    pub msk: Option<Zeroizing<Vec<u8>>>,
    /// The method authenticated the server to the peer as well (RFC 5998, section 4).
    pub mutual: bool,
}

impl fmt::Debug for EapSuccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EapSuccess").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// Why a peer is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DownReason {
    /// It deleted the IKE SA.
    Deleted,
    /// We closed it.
    Closed,
    /// It does not answer.
    Dead,
    /// The IKE SA's lifetime ended without a rekey.
    Expired,
    /// Its certificate, or one that vouches for it, is revoked.
    Revoked,
    /// It never came up, or broke the protocol.
    Failed(Failure),
    /// The same identity came back with INITIAL_CONTACT (RFC 7296, section 2.4); the new peer is named.
    Replaced(PeerHandle),
}

/// Why a child SA is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildDownReason {
    /// The peer deleted it.
    Deleted,
    /// We deleted it.
    Closed,
    /// A rekeyed pair took over.
    Rekeyed,
    /// The peer does not know it any more.
    Lost,
    /// One was not agreed on: there was no `ChildUp`, and the SPI is 0. The others stay.
    Refused(Failure),
    /// The SPI was taken from the source and is free again: it was in no `ChildUp`, and the peer may not be up either.
    Unused,
}

/// An event.
#[derive(Clone, Debug)]
pub enum Event {
    /// A peer is authenticated.
    PeerUp {
        /// It.
        peer: PeerHandle,
        /// Name of its PAD entry.
        pad: String,
        /// Who we are to it.
        local_id: Identity,
        /// Who it is. With EAP that is no more than a claim.
        remote_id: Identity,
        /// Whom EAP has authenticated, by the word of [`EapSuccess`]; `None` without EAP.
        eap_identity: Option<String>,
        /// Our address and port.
        local: SocketAddr,
        /// Its address and port.
        remote: SocketAddr,
        /// A NAT is in between: ESP goes in UDP.
        natt: bool,
        /// We initiated it.
        initiator: bool,
        /// IKE algorithms in the notation of [`crate::proposal`].
        suite: String,
        /// Version of IKE, 1 or 2.
        version: u8,
        /// What of the algorithms is weak, in the same notation.
        weak: Vec<&'static str>,
    },
    /// A child SA is there. Its inbound half is to be installed now.
    ChildUp {
        /// Whose.
        peer: PeerHandle,
        /// The pair.
        child: Box<Child>,
        /// Send on it from now on; otherwise wait for `ChildSelect`.
        select: bool,
    },
    /// Start sending on this child SA: the one it replaces is going.
    ChildSelect {
        /// Whose.
        peer: PeerHandle,
        /// Which.
        spi_in: u32,
    },
    /// A child SA is gone, or will not be. Packets under way may still arrive: keep the inbound half for a grace time.
    ChildDown {
        /// Whose.
        peer: PeerHandle,
        /// Which.
        spi_in: u32,
        /// Why.
        reason: ChildDownReason,
    },
    /// The outer addresses of a peer's SAs changed: its own by a NAT, or either by MOBIKE. Keys and SPIs stay; in
    /// transport mode selectors that named an old outer address name the new one.
    PeerMoved {
        /// Which.
        peer: PeerHandle,
        /// Where we are now.
        local: SocketAddr,
        /// Where it is now.
        remote: SocketAddr,
        /// ESP goes in UDP from now on, or does not.
        encap: bool,
    },
    /// A peer is gone with all its child SAs (there is no `ChildDown` for them).
    PeerDown {
        /// Which.
        peer: PeerHandle,
        /// Why.
        reason: DownReason,
        /// Who it was, when it was authenticated.
        remote_id: Option<Identity>,
    },
    /// An initiator wants to authenticate by EAP. To be answered with the first EAP request, by
    /// [`crate::Endpoint::eap_request`].
    EapStart {
        /// The conversation.
        session: EapSession,
        /// Name of the PAD entry.
        pad: String,
        /// Who it claims to be. Nothing is proved.
        remote_id: Identity,
        /// Our address and port.
        local: SocketAddr,
        /// Its address and port.
        remote: SocketAddr,
    },
    /// An EAP response of an initiator. To be answered with the next EAP request, or success or failure.
    EapResponse {
        /// The conversation.
        session: EapSession,
        /// The EAP packet.
        packet: Vec<u8>,
    },
    /// An EAP conversation is over; there is one for each `EapStart`.
    EapEnd {
        /// The conversation.
        session: EapSession,
        /// Whose it was: `PeerUp` is the next event. `None`: nobody's, `AuthFailed` has said why.
        peer: Option<PeerHandle>,
    },
    /// An EAP request of the responder we connect to, to be answered by [`crate::Endpoint::eap_response`]; or EAP
    /// Success, to be answered by [`crate::Endpoint::eap_key`].
    EapRequest {
        /// The responder.
        peer: PeerHandle,
        /// The EAP packet.
        packet: Vec<u8>,
    },
    /// Somebody tried to authenticate and failed. No peer was up.
    AuthFailed {
        /// From where.
        remote: SocketAddr,
        /// The identity claimed, when it came that far.
        id: Option<Identity>,
        /// Why.
        reason: Failure,
    },
}

/// A datagram to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// From.
    pub local: SocketAddr,
    /// To.
    pub remote: SocketAddr,
    /// The IKE message, without the non-ESP marker that goes before it on port 4500 (RFC 3948, section 2.2).
    pub data: Vec<u8>,
    /// It is a NAT keepalive, which takes no marker.
    pub keepalive: bool,
}

/// Where a datagram came from and to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Our address and port.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
}

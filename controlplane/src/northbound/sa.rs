//! Security associations and policy.

use serde::Serialize;
use std::net::{IpAddr, SocketAddr};
use utoipa::ToSchema;

/// An IKE SA.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct IkeSaInfo {
    /// Stable over rekeys; the key of this resource.
    pub peer: u32,
    /// PAD entry.
    pub pad: Option<String>,
    /// Initiator's SPI, hexadecimal.
    pub spi_i: String,
    /// Responder's SPI, hexadecimal.
    pub spi_r: String,
    /// State.
    pub state: String,
    /// Our identity.
    pub local_id: Option<String>,
    /// The peer's identity.
    pub remote_id: Option<String>,
    /// Our address and port.
    #[schema(value_type = String)]
    pub local: SocketAddr,
    /// The peer's address and port.
    #[schema(value_type = String)]
    pub remote: SocketAddr,
    /// Version of IKE, 1 or 2.
    pub version: u8,
    /// Algorithms.
    pub algorithms: String,
    /// Those of them that are weak, `sha1`, `modp1024`, `3des`.
    pub weak: Vec<&'static str>,
    /// The peer proved itself by the shared secret of a listener, so that its identity is a claim (H46).
    pub shared_secret: bool,
    /// UDP encapsulation in use.
    pub natt: bool,
    /// Seconds since it was established.
    pub seconds: u64,
}

/// A pair of child SAs.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChildSaInfo {
    /// IKE peer it belongs to.
    pub peer: u32,
    /// Inbound SPI, hexadecimal; the key of this resource.
    pub spi_in: String,
    /// Outbound SPI, hexadecimal.
    pub spi_out: String,
    /// `transport` or `tunnel`.
    pub mode: &'static str,
    /// Algorithms.
    pub algorithms: String,
    /// Those of them that are weak, `sha1`, `3des`; `modp1024` where a key exchange of its own was.
    pub weak: Vec<&'static str>,
    /// Extended sequence numbers.
    pub esn: bool,
    /// UDP encapsulation.
    pub encap: bool,
    /// Traffic selector, our side.
    pub local_ts: String,
    /// Traffic selector, the peer's side.
    pub remote_ts: String,
    /// Outbound traffic of its worker uses this one.
    pub selected: bool,
    /// Number of the worker that it is on.
    pub worker: u8,
    /// It is for that worker alone (RFC 9611); otherwise for all that have none of their own.
    pub bound: bool,
    /// What the peer calls the resource that it has bound it to, hexadecimal; empty where it does not say.
    pub peer_resource: Option<String>,
    /// Seconds since it was installed.
    pub seconds: u64,
    /// ESP packets in.
    pub in_packets: u64,
    /// Octets in.
    pub in_octets: u64,
    /// ESP packets out.
    pub out_packets: u64,
    /// Octets out.
    pub out_octets: u64,
    /// Packets dropped as replays.
    pub replayed: u64,
    /// Packets with a wrong ICV.
    pub integrity_failures: u64,
}

/// One line of the SPD.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SpdInfo {
    /// What it is for.
    pub name: String,
    /// Local addresses and port.
    pub local: String,
    /// Remote addresses and port.
    pub remote: String,
    /// Protocol.
    pub protocol: String,
    /// `BYPASS`, `PROTECT` or `DISCARD`.
    pub action: String,
}

/// Which IKE SAs are meant; all without.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IkeFilter {
    /// The peer's identity.
    pub id: Option<String>,
    /// The peer's address.
    pub address: Option<IpAddr>,
    /// PAD entry.
    pub pad: Option<String>,
}

//! The mesh: softwires to other AFBRs, their profiles, and BFD.

use super::BgpTotalsInfo;
use serde::Serialize;
use std::net::IpAddr;
use utoipa::ToSchema;

/// A softwire to another AFBR.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SoftwireInfo {
    /// Its number; the key of this resource.
    pub id: u16,
    /// Name of the AFBR, when it is configured.
    pub name: Option<String>,
    /// Our end.
    #[schema(value_type = String)]
    pub local: IpAddr,
    /// The AFBR's end.
    #[schema(value_type = String)]
    pub remote: IpAddr,
    /// `up`, or `down` as long as its SA is, or the path as BFD sees it.
    pub state: &'static str,
    /// State of its BFD session, where there is one.
    pub bfd: Option<&'static str>,
    /// PAD entry that protects it; absent when nothing does.
    pub peer: Option<String>,
    /// Its profile.
    pub profile: Option<String>,
    /// Algorithms of the SA in use.
    pub esp: Option<String>,
    /// Largest inner packet.
    pub mtu: u16,
    /// Largest outer packet.
    pub path_mtu: u16,
    /// `inner` or `outer`: who is to cope with packets that do not fit.
    pub too_big: &'static str,
    /// Inner sources are checked against the routes (M9).
    pub strict: bool,
    /// Packets are padded to `mtu` (RFC 4303, section 2.7).
    pub tfc: bool,
    /// What is routed into it, the first hundred.
    pub prefixes: Vec<String>,
    /// Packets decapsulated.
    pub in_packets: u64,
    /// Their octets.
    pub in_octets: u64,
    /// Packets encapsulated.
    pub out_packets: u64,
    /// Their octets.
    pub out_octets: u64,
}

/// An IPsec profile of the mesh, as configured.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ProfileInfo {
    /// Its name; the key of this resource.
    pub name: String,
    /// `transport` or `tunnel`.
    pub mode: &'static str,
    /// ESP proposals in order of preference, its own or those of all; the built-in ones when empty.
    pub esp_proposals: Vec<String>,
    /// Our IKE identity.
    pub identity: Option<String>,
    /// When we bring the SA up: `at_start`, `on_demand`, `respond`; where absent, the one with the lower address does at
    /// start.
    pub start: Option<&'static str>,
    /// Seconds after which a child SA is rekeyed.
    pub rekey: u64,
    /// Packets, 0 for no limit.
    pub rekey_packets: u64,
    /// Octets, 0 for no limit.
    pub rekey_octets: u64,
    /// Packets.
    pub replay_window: u16,
    /// Packets are to be padded to one length.
    pub tfc: bool,
    /// Each worker is to have child SAs of its own.
    pub per_worker: bool,
    /// PAD entries of the AFBRs whose softwires it protects.
    pub peers: Vec<ProfilePeerInfo>,
}

/// What a profile is bound to.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ProfilePeerInfo {
    /// PAD entry.
    pub name: String,
    /// The AFBR's end of the softwire.
    #[schema(value_type = Option<String>)]
    pub address: Option<IpAddr>,
    /// Routes that ask for this color only.
    pub color: Option<u32>,
    /// Routes within these prefixes only; all when empty.
    pub prefixes: Vec<String>,
    /// It carries BGP, too.
    pub bgp: bool,
}

/// What is measured of a softwire.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SoftwireMetrics {
    /// Its number.
    pub id: u16,
    /// The AFBR's end.
    #[schema(value_type = String)]
    pub remote: IpAddr,
    /// Packets pass: it needs no SA, or has one.
    pub up: bool,
    /// Packets and octets decapsulated.
    pub received: [u64; 2],
    /// Packets and octets encapsulated.
    pub sent: [u64; 2],
}

/// What is measured of routes and softwires.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct MeshMetrics {
    /// The RIB, by family; empty without BGP.
    pub rib: Vec<BgpTotalsInfo>,
    /// Sets of path attributes that all routes share.
    pub attribute_sets: usize,
    /// Softwires, in the order of their numbers.
    pub softwires: Vec<SoftwireMetrics>,
}

/// A BFD session.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BfdInfo {
    /// Our address.
    #[schema(value_type = String)]
    pub local: IpAddr,
    /// The peer's.
    #[schema(value_type = String)]
    pub remote: IpAddr,
    /// RFC 5883, over several hops, rather than RFC 5881.
    pub multihop: bool,
    /// A BGP neighbour depends on it.
    pub neighbour: bool,
    /// A softwire depends on it.
    pub softwire: bool,
    /// `admin-down`, `down`, `init`, `up`.
    pub state: &'static str,
    /// Why it went down last.
    pub diagnostic: &'static str,
    /// As the peer last said.
    pub remote_state: &'static str,
    /// As the peer last said.
    pub remote_diagnostic: &'static str,
    /// It was up and is not: what depends on it is held down.
    pub failed: bool,
    /// Seconds since it has its state.
    pub seconds: u64,
    /// Between our packets, before jitter; absent where the peer wants none.
    pub transmit_interval_ms: Option<u64>,
    /// Silence that takes the session down; absent while the peer is not heard.
    pub detection_time_ms: Option<u64>,
    /// Packets of ours that the peer must miss.
    pub detect_multiplier: u8,
    /// By keyed SHA1.
    pub authenticated: bool,
    /// Valid packets in.
    pub packets_in: u64,
    /// Packets out.
    pub packets_out: u64,
    /// Times it came up.
    pub ups: u64,
    /// Times it was up and went down.
    pub downs: u64,
}

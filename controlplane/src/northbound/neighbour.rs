//! BGP neighbours and RPKI caches.

use super::{BgpFamilyInfo, BgpMessagesInfo, BgpNegotiatedInfo};
use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use utoipa::ToSchema;

/// A BGP neighbour.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BgpNeighbourInfo {
    /// Its address; the key of this resource.
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// What the configuration says of it.
    pub description: Option<String>,
    /// Its AS.
    pub asn: u32,
    /// Our AS.
    pub local_asn: u32,
    /// Our address that the session is to have, where it is fixed.
    #[schema(value_type = Option<String>)]
    pub local: Option<IpAddr>,
    /// Its BGP Identifier, while the session is established.
    #[schema(value_type = Option<String>)]
    pub router_id: Option<Ipv4Addr>,
    /// Our BGP Identifier.
    #[schema(value_type = String)]
    pub local_router_id: Ipv4Addr,
    /// A client of ours as a route reflector (RFC 4456).
    pub client: bool,
    /// State of the session (RFC 4271, section 8.2.2).
    pub state: String,
    /// Why no session is wanted: `disabled`, or `max_prefix` after too many prefixes.
    pub stopped: Option<&'static str>,
    /// Seconds since it is established.
    pub seconds: Option<u64>,
    /// How often it was established.
    pub established: u64,
    /// How often an established session was lost.
    pub flaps: u64,
    /// Messages received.
    pub messages_in: u64,
    /// Messages sent.
    pub messages_out: u64,
    /// Those received, by type.
    pub received: BgpMessagesInfo,
    /// Those sent, by type.
    pub sent: BgpMessagesInfo,
    /// What the established session has agreed on.
    pub negotiated: Option<BgpNegotiatedInfo>,
    /// Families, with what is exchanged of each.
    pub families: Vec<BgpFamilyInfo>,
    /// Import policy. Without one all routes of an internal neighbour are taken, none of an external one (RFC 8212).
    pub import: Option<String>,
    /// Export policy, likewise.
    pub export: Option<String>,
    /// Why the last session, or attempt at one, ended.
    pub last_down: Option<String>,
    /// How many seconds ago that was.
    pub last_down_seconds: Option<u64>,
    /// What protects it.
    pub protection: BgpProtectionInfo,
}

/// What protects the TCP session with a BGP neighbour.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BgpProtectionInfo {
    /// `md5` (RFC 2385), `tcp_ao` (RFC 5925) or `none`.
    pub method: &'static str,
    /// Its key chain.
    pub key_chain: Option<String>,
    /// The key in use.
    pub key_id: Option<u8>,
    /// Hops that the neighbour may be away (RFC 5082).
    pub ttl_security: Option<u8>,
    /// What is wrong with the key (RFC 3562).
    pub warnings: Vec<String>,
    /// Why there is no session: it could not be protected.
    pub refused: Option<String>,
}

/// An RPKI cache (RFC 8210).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RtrCacheInfo {
    /// Its name; the key of this resource.
    pub name: String,
    /// Where it listens.
    #[schema(value_type = String)]
    pub address: SocketAddr,
    /// It is spoken to in TLS.
    pub tls: bool,
    /// The lowest of those that are up is listened to.
    pub preference: u8,
    /// `up`, `synchronizing`, `down`, or `down, data kept` until they expire.
    pub state: &'static str,
    /// It is the one that is listened to.
    pub used: bool,
    /// Session ID.
    pub session: Option<u16>,
    /// Serial number of its data.
    pub serial: Option<u32>,
    /// IPv4 VRPs.
    pub ipv4: usize,
    /// IPv6 VRPs.
    pub ipv6: usize,
    /// How often it has given data, all or what had changed.
    pub synchronized: u64,
    /// Seconds since the last time.
    pub seconds: Option<u64>,
    /// Seconds until it is asked for news.
    pub refresh: Option<u64>,
    /// Seconds between attempts to reach it.
    pub retry: Option<u64>,
    /// Seconds after which its data are dropped without news.
    pub expire: Option<u64>,
    /// Why it was last down.
    pub last_error: Option<String>,
}

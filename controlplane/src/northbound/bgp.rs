//! What the management plane sees of BGP, and what it may do.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use utoipa::ToSchema;

/// An address family, unicast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BgpFamily {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// Messages of each type.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub struct BgpMessagesInfo {
    /// OPEN.
    pub open: u64,
    /// UPDATE.
    pub update: u64,
    /// NOTIFICATION.
    pub notification: u64,
    /// KEEPALIVE.
    pub keepalive: u64,
    /// ROUTE-REFRESH.
    pub route_refresh: u64,
}

/// A family of a neighbour.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BgpFamilyInfo {
    /// Which.
    pub family: BgpFamily,
    /// The session carries it.
    pub negotiated: bool,
    /// Prefixes that the neighbour has announced.
    pub received: usize,
    /// Those of them that may be used.
    pub accepted: usize,
    /// Prefixes that it was sent.
    pub advertised: usize,
    /// Its routes are kept while it restarts (RFC 4724).
    pub stale: bool,
    /// Most prefixes that it may announce.
    pub max_prefix: Option<u32>,
}

/// What the OPENs of an established session agreed on.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BgpNegotiatedInfo {
    /// Seconds; 0 is no hold time.
    pub hold_time: u16,
    /// Seconds between KEEPALIVEs, before jitter.
    pub keepalive: u16,
    /// IPv4 prefixes may have IPv6 next hops (RFC 8950).
    pub extended_next_hop: bool,
    /// Messages may have 65,535 octets (RFC 8654).
    pub extended_messages: bool,
    /// AS numbers take four octets (RFC 6793).
    pub four_octet_as: bool,
    /// The neighbour can be asked for its routes again (RFC 2918).
    pub route_refresh: bool,
    /// Answers to that are bracketed (RFC 7313).
    pub enhanced_route_refresh: bool,
    /// The neighbour's role (RFC 9234).
    pub role: Option<String>,
    /// The neighbour's Graceful Restart Capability (RFC 4724).
    pub graceful_restart: Option<BgpRestartInfo>,
}

/// A Graceful Restart Capability.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BgpRestartInfo {
    /// Seconds that its restart may take.
    pub restart_time: u64,
    /// The session came after a restart of it.
    pub restarting: bool,
    /// Sessions that end by NOTIFICATION count, too (RFC 8538).
    pub notification: bool,
    /// Families whose routes are kept, and whether forwarding went on.
    pub families: BTreeMap<BgpFamily, bool>,
}

/// Path attributes.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BgpAttributesInfo {
    /// NEXT_HOP, or that of MP_REACH_NLRI; unspecified for a route of our own that leaves it open.
    #[schema(value_type = String)]
    pub next_hop: IpAddr,
    /// The link-local address that goes with it.
    #[schema(value_type = Option<String>)]
    pub link_local: Option<Ipv6Addr>,
    /// ORIGIN: `igp`, `egp` or `incomplete`.
    pub origin: &'static str,
    /// AS_PATH, sets in braces.
    pub as_path: String,
    /// LOCAL_PREF.
    pub local_pref: Option<u32>,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// ATOMIC_AGGREGATE.
    pub atomic_aggregate: bool,
    /// AGGREGATOR: AS and BGP Identifier.
    pub aggregator: Option<String>,
    /// COMMUNITIES.
    pub communities: Vec<String>,
    /// LARGE_COMMUNITY.
    pub large_communities: Vec<String>,
    /// EXTENDED COMMUNITIES.
    pub extended_communities: Vec<String>,
    /// Colors among these (RFC 9012, section 4.3).
    pub colors: Vec<u32>,
    /// IP-in-IP tunnels that are offered (RFC 9012).
    pub tunnels: Vec<BgpTunnelInfo>,
    /// ORIGINATOR_ID (RFC 4456).
    #[schema(value_type = Option<String>)]
    pub originator_id: Option<Ipv4Addr>,
    /// CLUSTER_LIST, the last cluster first.
    #[schema(value_type = Vec<String>)]
    pub cluster_list: Vec<Ipv4Addr>,
    /// OTC (RFC 9234).
    pub only_to_customer: Option<u32>,
    /// Type codes of attributes that are passed on without being understood.
    pub unknown: Vec<u8>,
}

/// A tunnel that a route offers.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BgpTunnelInfo {
    /// Egress endpoint.
    #[schema(value_type = String)]
    pub endpoint: IpAddr,
    /// Its colors.
    pub colors: Vec<u32>,
    /// Ethertypes of payloads; none is all.
    pub protocols: Vec<u16>,
    /// DS field of the outer header.
    pub ds: Option<u8>,
}

/// A path of the RIB.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BgpPathInfo {
    /// Whom it is from; absent for our own.
    #[schema(value_type = Option<String>)]
    pub neighbour: Option<IpAddr>,
    /// It is the best, or as good.
    pub best: bool,
    /// Why it is not: the step of the decision, or of the import, that it falls behind at.
    pub loses_by: Option<String>,
    /// Kept while its neighbour restarts, or until it was sent again.
    pub stale: bool,
    /// Origin validation (RFC 6811): `valid`, `invalid` or `not_found`.
    pub rov: &'static str,
    /// After import; as received where it is never used.
    #[serde(flatten)]
    pub attributes: BgpAttributesInfo,
}

/// A prefix of the RIB with its paths, the best first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BgpRouteInfo {
    /// The prefix.
    pub prefix: String,
    /// Next hop of the first path that is forwarded by; absent when none is.
    #[schema(value_type = Option<String>)]
    pub next_hop: Option<IpAddr>,
    /// AFBRs that packets are encapsulated to; empty when they are forwarded as they are.
    #[schema(value_type = Vec<String>)]
    pub egresses: Vec<IpAddr>,
    /// Its paths.
    pub paths: Vec<BgpPathInfo>,
}

/// A route of an Adj-RIB-In.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BgpReceivedInfo {
    /// The prefix.
    pub prefix: String,
    /// `accepted`, or why it is never used.
    pub verdict: String,
    /// It is among the best.
    pub best: bool,
    /// Kept while its neighbour restarts, or until it was sent again.
    pub stale: bool,
    /// Origin validation (RFC 6811).
    pub rov: &'static str,
    /// As received.
    #[serde(flatten)]
    pub attributes: BgpAttributesInfo,
    /// After import, where that has changed them.
    pub imported: Option<BgpAttributesInfo>,
}

/// A route of an Adj-RIB-Out.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BgpSentInfo {
    /// The prefix.
    pub prefix: String,
    /// As sent.
    #[serde(flatten)]
    pub attributes: BgpAttributesInfo,
}

/// A part of a table.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BgpPage<T> {
    /// Rows, in order of their prefixes.
    pub routes: Vec<T>,
    /// There may be more after this prefix.
    pub next: Option<String>,
}

/// Which routes are meant by a prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BgpMatch {
    /// That of the same prefix.
    #[default]
    Exact,
    /// It and those within.
    Longer,
    /// It and those around.
    Covering,
}

/// Which part of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BgpSelect {
    /// Of one family.
    pub family: Option<BgpFamily>,
    /// Of a prefix.
    pub prefix: Option<(IpNet, BgpMatch)>,
    /// What comes after this prefix.
    pub after: Option<IpNet>,
    /// Most rows.
    pub limit: usize,
}

/// How much the RIB holds of a family.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct BgpTotalsInfo {
    /// Which.
    pub family: BgpFamily,
    /// Prefixes with a best path.
    pub routes: usize,
    /// Paths.
    pub paths: usize,
}

/// Something to do about a neighbour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BgpAction {
    /// Reset its session. With `hard` no routes are kept meanwhile (RFC 8538).
    Clear {
        /// See above.
        hard: bool,
        /// For the neighbour's operator (RFC 9003).
        message: String,
    },
    /// Ask for its routes again, of one family or of all.
    SoftIn(Option<BgpFamily>),
    /// Send it all routes again.
    SoftOut(Option<BgpFamily>),
    /// Shut it down.
    Disable {
        /// For the neighbour's operator (RFC 9003).
        message: String,
    },
    /// Start it again.
    Enable,
}

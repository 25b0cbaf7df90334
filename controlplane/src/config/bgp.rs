//! BGP: our AS, what we originate, our neighbours.

use super::neighbour::{Family, MaxPrefix, Role, remote_as};
use super::policy::{Filter, Policy, PrefixRange};
use super::rtr::RtrCache;
use super::span;
use ::bgp::neighbour::RemoteAs;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// The BGP speaker.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Bgp {
    /// Our AS.
    pub asn: u32,
    /// Our BGP Identifier.
    pub router_id: Ipv4Addr,
    /// Our cluster as a route reflector; `router_id` where absent.
    #[serde(default)]
    pub cluster_id: Option<Ipv4Addr>,
    /// Most equal paths to a prefix.
    #[serde(default = "paths")]
    pub max_paths: usize,
    /// Prefixes of our islands that we originate.
    #[serde(default)]
    pub networks: Vec<IpNet>,
    /// Offer an IP-in-IP tunnel to `mesh.local` with what we originate (RFC 9012), with this color if any.
    #[serde(default)]
    pub tunnel: Option<Tunnel>,
    /// Take tunnel endpoints out of special-purpose blocks (documentation, private use), which RFC 9012, section 3.1
    /// refuses: for laboratories and private cores.
    #[serde(default)]
    pub special_endpoints: bool,
    /// Neighbours.
    #[serde(default)]
    pub neighbours: Vec<Neighbour>,
    /// Neighbours that are not known one by one.
    #[serde(default)]
    pub dynamic_neighbours: Vec<DynamicNeighbours>,
    /// Lists of prefixes, by name.
    #[serde(default)]
    pub prefix_lists: BTreeMap<String, Vec<PrefixRange>>,
    /// Policies, by name.
    #[serde(default)]
    pub policies: BTreeMap<String, Policy>,
    /// RPKI caches.
    #[serde(default)]
    pub rtr: Vec<RtrCache>,
}

fn paths() -> usize {
    8
}

/// The tunnel that we offer.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tunnel {
    /// Its color.
    pub color: Option<u32>,
}

/// A neighbour.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Neighbour {
    /// Its address; the template of a range has none.
    #[serde(default = "unspecified")]
    pub address: IpAddr,
    /// Its AS; `internal` is ours, `external` any other one.
    #[serde(with = "remote_as")]
    pub asn: RemoteAs,
    /// Our end of the session; the address of ours that is nearest to it where absent.
    #[serde(default)]
    pub local: Option<IpAddr>,
    /// Wait for it to connect.
    #[serde(default)]
    pub passive: bool,
    /// It is a client of ours as a route reflector (RFC 4456).
    #[serde(default)]
    pub client: bool,
    /// Which of its routes are taken; none of an external neighbour unless this says so (RFC 8212).
    #[serde(default)]
    pub import: Option<Filter>,
    /// Which of ours it is sent; likewise.
    #[serde(default)]
    pub export: Option<Filter>,
    /// Its routes are rejected when origin validation finds them invalid, whatever `import` says. An external
    /// neighbour's are by default, once there are RPKI caches.
    #[serde(default)]
    pub reject_invalid: Option<bool>,
    /// Families that are exchanged; those that we have a next hop for where absent.
    #[serde(default)]
    pub families: Option<Vec<Family>>,
    /// Most prefixes of each family.
    #[serde(default)]
    pub max_prefix: Option<MaxPrefix>,
    /// What we are to an external neighbour (RFC 9234).
    #[serde(default)]
    pub role: Option<Role>,
    /// It must say its role, too.
    #[serde(default)]
    pub strict_role: bool,
    /// What routes say of tunnels is let through, both ways; only of and to internal neighbours where absent
    /// (RFC 9012, section 11).
    #[serde(default)]
    pub tunnels: Option<bool>,
    /// An internal neighbour gets our next hop in place of those learned elsewhere, reflected routes excepted.
    #[serde(default)]
    pub next_hop_self: bool,
    /// Hold time in seconds.
    #[serde(default = "hold")]
    pub hold_time: u16,
    /// Time between attempts to connect; it grows while they fail.
    #[serde(default = "connect_retry", with = "span")]
    pub connect_retry: Duration,
}

fn unspecified() -> IpAddr {
    Ipv4Addr::UNSPECIFIED.into()
}

fn hold() -> u16 {
    90
}

fn connect_retry() -> Duration {
    Duration::from_secs(5)
}

/// Whoever connects from a range of addresses is a neighbour.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DynamicNeighbours {
    /// Their addresses.
    pub range: IpNet,
    /// How many there may be at a time.
    #[serde(default = "dynamic")]
    pub max: usize,
    /// How each is treated.
    pub neighbour: Neighbour,
}

fn dynamic() -> usize {
    100
}

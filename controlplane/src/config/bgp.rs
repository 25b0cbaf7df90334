//! BGP: our AS, what we originate, our neighbours.

use super::key_chain::KeyChain;
use super::neighbour::{AsNumber, Family, MaxPrefix, Role};
use super::policy::{Filter, Policy, PrefixRange};
use super::rtr::RtrCache;
use super::values::{Prefix, Time};
use ::bgp::neighbour::RemoteAs;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// The BGP speaker.
///
/// ```yaml
/// bgp:
///   asn: 65000
///   router_id: 192.0.2.1
///   networks: [10.1.0.0/24]
///   tunnels: [{ color: 100 }]
///   key_chains: [{ name: core, keys: [{ id: 1, secret: a-key-of-some-24-octets }] }]
///   neighbours:
///     - { address: 203.0.113.2, asn: internal, md5: core, next_hop_self: true }
///     - { address: 10.1.0.2, asn: 65001, import: from-ce, export: accept, role: provider, max_prefix: { limit: 100 } }
///   dynamic_neighbours:
///     - { range: 10.1.0.128/25, max: 50, neighbour: { asn: external, import: from-ce, export: accept } }
///   prefix_lists:
///     customer: ["10.64.0.0/16 le 24", "2001:db8:64::/48"]
///   policies:
///     from-ce:
///       rules:
///         - { match: { as_path_length: { min: 6 } }, then: reject }
///         - { match: { prefix_list: customer }, set: { local_pref: 200, prepend: { times: 2 } }, then: accept }
///   rtr: [{ name: near, address: 10.9.0.53, preference: 10 }]
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bgp {
    /// Our AS. A change waits for the next start.
    #[schemars(range(min = 1))]
    pub asn: u32,
    /// Our BGP Identifier, which has the form of an IPv4 address and is not 0.0.0.0. A change waits for the next start.
    pub router_id: Ipv4Addr,
    /// Our cluster as a route reflector; `router_id` where absent. A change waits for the next start.
    #[serde(default)]
    pub cluster_id: Option<Ipv4Addr>,
    /// Most equal paths to a prefix that share the load. A change waits for the next start.
    #[serde(default = "paths")]
    #[schemars(range(min = 1, max = 64))]
    pub max_paths: usize,
    /// Prefixes of our islands that we originate.
    #[serde(default)]
    #[schemars(with = "Vec<Prefix>")]
    pub networks: Vec<IpNet>,
    /// IP-in-IP tunnels to `mesh.local` that we offer with what we originate (RFC 9012).
    #[serde(default)]
    pub tunnels: Vec<Tunnel>,
    /// Take tunnel endpoints out of special-purpose blocks (documentation, private use), which RFC 9012, section 3.1
    /// refuses: for laboratories and private cores.
    #[serde(default)]
    pub special_endpoints: bool,
    /// Keys that protect sessions.
    #[serde(default)]
    pub key_chains: Vec<KeyChain>,
    /// Neighbours that are known one by one.
    #[serde(default)]
    pub neighbours: Vec<Neighbour>,
    /// Neighbours that are known by the range that their addresses are in.
    #[serde(default)]
    pub dynamic_neighbours: Vec<DynamicNeighbours>,
    /// Lists of prefixes, by name. None is empty.
    #[serde(default)]
    pub prefix_lists: BTreeMap<String, Vec<PrefixRange>>,
    /// Policies, by name; `accept` and `reject` are no names of any.
    #[serde(default)]
    pub policies: BTreeMap<String, Policy>,
    /// RPKI caches, for origin validation.
    #[serde(default)]
    pub rtr: Vec<RtrCache>,
}

impl Bgp {
    /// The same speaker, with nobody to speak to and nothing to say.
    pub fn silent(&self) -> Self {
        Self {
            networks: Vec::new(),
            tunnels: Vec::new(),
            special_endpoints: false,
            key_chains: Vec::new(),
            neighbours: Vec::new(),
            dynamic_neighbours: Vec::new(),
            prefix_lists: BTreeMap::new(),
            policies: BTreeMap::new(),
            rtr: Vec::new(),
            ..*self
        }
    }
}

fn paths() -> usize {
    8
}

/// A tunnel that we offer.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tunnel {
    /// Its color, which no other tunnel has; none where absent.
    pub color: Option<u32>,
    /// What we originate within these prefixes asks for the color (RFC 9012, section 4.3).
    #[schemars(with = "Vec<Prefix>")]
    pub prefixes: Vec<IpNet>,
    /// Offer it by a TLV of RFC 5566 as well, for AFBRs that are older than RFC 9012, which deprecates these.
    pub rfc5566: Option<Rfc5566>,
}

/// Tunnel types of RFC 5566, section 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rfc5566 {
    /// IPsec in tunnel mode.
    Tunnel,
    /// IP in IP with IPsec in transport mode.
    Transport,
}

impl Rfc5566 {
    /// The number of the type.
    pub fn tunnel_type(self) -> u16 {
        match self {
            Self::Tunnel => 4,
            Self::Transport => 5,
        }
    }
}

/// A neighbour.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Neighbour {
    /// Its address. Only the template of a range has none.
    #[serde(default = "unspecified")]
    pub address: IpAddr,
    /// Its AS.
    #[serde(with = "AsNumber")]
    pub asn: RemoteAs,
    /// What operators call it.
    #[serde(default)]
    pub description: Option<String>,
    /// Our end of the session, an address of a port; the one that is nearest to it where absent.
    #[serde(default)]
    pub local: Option<IpAddr>,
    /// Wait for it to connect.
    #[serde(default)]
    pub passive: bool,
    /// It is a client of ours as a route reflector (RFC 4456).
    #[serde(default)]
    pub client: bool,
    /// Whether the devices between it and us are trusted (M7).
    #[serde(default)]
    pub trust: Trust,
    /// Name of the key chain that signs the session's TCP segments by MD5 (RFC 2385).
    #[serde(default)]
    pub md5: Option<String>,
    /// Name of the key chain of the TCP Authentication Option (RFC 5925), where the kernel has it. There is either this or
    /// `md5`.
    #[serde(default)]
    pub tcp_ao: Option<String>,
    /// It is at most this many hops away, and packets from further away are not heard (GTSM, RFC 5082); not looked at where
    /// absent.
    #[serde(default)]
    #[schemars(range(min = 1, max = 254))]
    pub ttl_security: Option<u8>,
    /// Which of its routes are taken. Where absent, none of an external neighbour (RFC 8212), all of an internal one.
    #[serde(default)]
    pub import: Option<Filter>,
    /// Which of ours it is sent; likewise.
    #[serde(default)]
    pub export: Option<Filter>,
    /// The path to it is watched with this profile of `bfd.profiles`: over a single hop where it is on a network of a port's,
    /// over several hops otherwise. Not watched where absent.
    #[serde(default)]
    pub bfd: Option<String>,
    /// Its routes are rejected when origin validation finds them invalid, whatever `import` says. An external neighbour's are
    /// where this is absent, once there are RPKI caches.
    #[serde(default)]
    pub reject_invalid: Option<bool>,
    /// Families that are exchanged; those that we have a next hop for where absent.
    #[serde(default)]
    #[schemars(length(min = 1, max = 2))]
    pub families: Option<Vec<Family>>,
    /// Most prefixes of each family; any number where absent.
    #[serde(default)]
    pub max_prefix: Option<MaxPrefix>,
    /// What we are to an external neighbour (RFC 9234); not said where absent.
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
    /// Hold time in seconds: 0 for none, or at least 3.
    #[serde(default = "hold")]
    pub hold_time: u16,
    /// Time between attempts to connect, at least 1s; it grows while they fail.
    #[serde(default = "connect_retry", with = "Time")]
    pub connect_retry: Duration,
}

fn unspecified() -> IpAddr {
    Ipv4Addr::UNSPECIFIED.into()
}

fn hold() -> u16 {
    90
}

impl Neighbour {
    /// The key chain of its session.
    pub fn key_chain(&self) -> Option<&str> {
        self.md5.as_deref().or(self.tcp_ao.as_deref())
    }
}

/// Whether the devices between a neighbour and us are trusted (M7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// They are; protection is as configured.
    #[default]
    Trusted,
    /// They are not: signalling, endpoints and data must all be protected, or the configuration is refused (M2).
    Untrusted,
}

fn connect_retry() -> Duration {
    Duration::from_secs(5)
}

/// Whoever connects from a range of addresses is a neighbour.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DynamicNeighbours {
    /// Their addresses.
    #[schemars(with = "Prefix")]
    pub range: IpNet,
    /// How many there may be at a time.
    #[serde(default = "dynamic")]
    #[schemars(range(min = 1))]
    pub max: usize,
    /// How each is treated: a neighbour without `address` and `bfd`.
    pub neighbour: Neighbour,
}

fn dynamic() -> usize {
    100
}

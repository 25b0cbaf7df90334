//! L2TP, PPP, address pools, subscribers.

use super::Secret;
use super::values::{Ipv4Prefix, Ipv6Prefix, Time};
use ipnet::{Ipv4Net, Ipv6Net};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// L2TP (RFC 2661, RFC 5571).
///
/// ```yaml
/// l2tp: { host_name: gw1.example.net, hello: 20s, dead_after: 60s }
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct L2tp {
    /// Our name, in the Host Name AVP. A change waits for the next start.
    pub host_name: String,
    /// Silence after which the peer is sent a HELLO (RFC 5571, section 5.2.3).
    #[serde(with = "Time")]
    pub hello: Duration,
    /// Silence after which the peer is taken for dead.
    #[serde(with = "Time")]
    pub dead_after: Duration,
    /// Secret of tunnel authentication; with it the peer's Challenge is answered. It must not cross a public network in the
    /// clear (H37).
    pub secret: Option<Secret>,
    /// The peer is challenged, too (H14); this needs `secret`.
    pub challenge: bool,
}

impl Default for L2tp {
    fn default() -> Self {
        Self {
            host_name: "softwire-gateway".into(),
            hello: Duration::from_secs(30),
            dead_after: Duration::from_secs(83),
            secret: None,
            challenge: false,
        }
    }
}

/// PPP authentication methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    /// CHAP with MD5 (RFC 1994).
    Chap,
    /// PAP (RFC 1334).
    Pap,
    /// MS-CHAPv2 (RFC 2759).
    Mschapv2,
    /// EAP (RFC 3748), which takes a RADIUS server.
    Eap,
}

/// PPP on subscribers' links (RFC 1661).
///
/// ```yaml
/// ppp: { authenticate: [mschapv2, chap], name: gw1.example.net, local_ipv4: 10.100.0.1, dns: [192.0.2.53, "2001:db8::53"] }
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ppp {
    /// How subscribers may authenticate, in order of preference; none only where all listeners are anonymous (H33).
    pub authenticate: Vec<AuthMethod>,
    /// Our name in CHAP.
    pub name: String,
    /// Our secret, for peers that demand mutual authentication (H32).
    pub secret: Option<Secret>,
    /// Time between LCP echo requests.
    #[serde(with = "Time")]
    pub echo: Duration,
    /// Unanswered echo requests in a row that end the link.
    pub echo_failures: u32,
    /// Our IPv4 address on every link; needed where subscribers get IPv4.
    pub local_ipv4: Option<Ipv4Addr>,
    /// DNS servers that subscribers are told (IPCP, router advertisements, DHCPv6), unless AAA says others.
    pub dns: Vec<IpAddr>,
    /// TCP's maximum segment size is lowered to what fits into the session.
    pub clamp_mss: bool,
}

impl Default for Ppp {
    fn default() -> Self {
        Self {
            authenticate: vec![AuthMethod::Chap],
            name: "softwire-gateway".into(),
            secret: None,
            echo: Duration::from_secs(30),
            echo_failures: 3,
            local_ipv4: None,
            dns: Vec::new(),
            clamp_mss: true,
        }
    }
}

/// Addresses and prefixes of one name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PoolSet {
    /// IPv4 addresses of links.
    #[schemars(with = "Vec<Ipv4Prefix>")]
    pub ipv4: Vec<Ipv4Net>,
    /// IPv6 prefixes, cut into a /64 for each link; none is longer than that.
    #[schemars(with = "Vec<Ipv6Prefix>")]
    pub ipv6: Vec<Ipv6Net>,
    /// IPv6 prefixes, cut into some of `delegated_len` that DHCPv6 delegates (IA_PD).
    #[schemars(with = "Vec<Ipv6Prefix>")]
    pub delegated: Vec<Ipv6Net>,
    /// Length of a delegated prefix; 56 where absent.
    #[schemars(range(min = 32, max = 64))]
    pub delegated_len: Option<u8>,
    /// IPv6 addresses that DHCPv6 gives out (IA_NA).
    #[schemars(with = "Vec<Ipv6Prefix>")]
    pub addresses: Vec<Ipv6Net>,
}

/// Address pools: the default ones, and those that AAA names.
///
/// ```yaml
/// pools:
///   ipv4: [10.100.0.0/16]
///   ipv6: ["2001:db8:100::/40"]
///   delegated: ["2001:db8:f000::/36"]
///   named:
///     business: { ipv4: [10.200.0.0/16], delegated: ["2001:db8:b000::/36"], delegated_len: 48 }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Pools {
    /// IPv4 addresses of links.
    #[schemars(with = "Vec<Ipv4Prefix>")]
    pub ipv4: Vec<Ipv4Net>,
    /// IPv6 prefixes, cut into a /64 for each link; none is longer than that.
    #[schemars(with = "Vec<Ipv6Prefix>")]
    pub ipv6: Vec<Ipv6Net>,
    /// IPv6 prefixes, cut into some of `delegated_len` that DHCPv6 delegates (IA_PD).
    #[schemars(with = "Vec<Ipv6Prefix>")]
    pub delegated: Vec<Ipv6Net>,
    /// Length of a delegated prefix; 56 where absent.
    #[schemars(range(min = 32, max = 64))]
    pub delegated_len: Option<u8>,
    /// IPv6 addresses that DHCPv6 gives out (IA_NA).
    #[schemars(with = "Vec<Ipv6Prefix>")]
    pub addresses: Vec<Ipv6Net>,
    /// Pools by the names that AAA has for them (Framed-Pool, Framed-IPv6-Pool, Delegated-IPv6-Prefix-Pool,
    /// Stateful-IPv6-Address-Pool).
    pub named: BTreeMap<String, PoolSet>,
}

impl Pools {
    /// All of them; the default one has an empty name.
    pub fn sets(&self) -> impl Iterator<Item = (&str, PoolSet)> {
        let default = PoolSet {
            ipv4: self.ipv4.clone(),
            ipv6: self.ipv6.clone(),
            delegated: self.delegated.clone(),
            delegated_len: self.delegated_len,
            addresses: self.addresses.clone(),
        };
        let named = self.named.iter().map(|(name, set)| (name.as_str(), set.clone()));
        std::iter::once(("", default)).chain(named)
    }
}

/// DHCPv6 (RFC 8415).
///
/// ```yaml
/// dhcp6: { relay: ["2001:db8:c::547"] }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dhcp6 {
    /// Servers elsewhere that subscribers' messages are relayed to; without any, we answer ourselves, with what AAA and the
    /// pools give.
    pub relay: Vec<Ipv6Addr>,
}

/// One subscriber of the embedded file.
///
/// ```yaml
/// subscribers:
///   - { user: alice, secret: a-password }
///   - { user: bob, secret: another-one, ike_id: bob@example.net, ipv4: 10.100.0.9, ipv6_prefix: "2001:db8:200::/64" }
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Subscriber {
    /// PPP user name, each once.
    #[schemars(length(min = 1))]
    pub user: String,
    /// Password in the clear, as CHAP needs it. There is either this or `hash`.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// Password as a `$5$` or `$6$` hash of crypt(3), which is for PAP only.
    #[serde(default)]
    pub hash: Option<Secret>,
    /// The IKE identity that this user must come with (H23); any where absent.
    #[serde(default)]
    pub ike_id: Option<String>,
    /// IPv4 address of its own; one of the pools where absent.
    #[serde(default)]
    pub ipv4: Option<Ipv4Addr>,
    /// A /64 of its own for the link; one of the pools where absent.
    #[serde(default)]
    #[schemars(with = "Option<Ipv6Prefix>")]
    pub ipv6_prefix: Option<Ipv6Net>,
    /// Delegated prefix of its own; one of the pools where absent.
    #[serde(default)]
    #[schemars(with = "Option<Ipv6Prefix>")]
    pub delegated: Option<Ipv6Net>,
}

//! L2TP, PPP, address pools, subscribers.

use super::{Secret, span};
use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// L2TP (RFC 2661, RFC 5571).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct L2tp {
    /// Host Name AVP.
    pub host_name: String,
    /// Silence after which a HELLO is sent (RFC 5571, section 5.2.3).
    #[serde(with = "span")]
    pub hello: Duration,
    /// Silence after which the peer is taken for dead.
    #[serde(with = "span")]
    pub dead_after: Duration,
    /// Tunnel secret; with it the peer's Challenge is answered.
    pub secret: Option<Secret>,
    /// Challenge the peer (H14); needs `secret`.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
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

/// PPP.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ppp {
    /// What we demand, in order of preference.
    pub authenticate: Vec<AuthMethod>,
    /// Our name in CHAP.
    pub name: String,
    /// Our secret, for peers that demand mutual authentication (H32).
    pub secret: Option<Secret>,
    /// Time between LCP echo requests.
    #[serde(with = "span")]
    pub echo: Duration,
    /// Unanswered echo requests that end the link.
    pub echo_failures: u32,
    /// Our IPv4 address on every link.
    pub local_ipv4: Option<Ipv4Addr>,
    /// DNS servers told to subscribers (IPCP, RA, DHCPv6).
    pub dns: Vec<IpAddr>,
    /// Clamp TCP's MSS to the session's MTU.
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
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct PoolSet {
    /// IPv4 addresses.
    pub ipv4: Vec<Ipv4Net>,
    /// Cut into /64 for the links.
    pub ipv6: Vec<Ipv6Net>,
    /// Cut into prefixes of `delegated_len` for DHCPv6.
    pub delegated: Vec<Ipv6Net>,
    /// Length of a delegated prefix; 56 where absent.
    pub delegated_len: Option<u8>,
    /// IPv6 addresses for DHCPv6 (IA_NA).
    pub addresses: Vec<Ipv6Net>,
}

/// Address pools: the default ones, and those that AAA names.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pools {
    /// IPv4 addresses.
    pub ipv4: Vec<Ipv4Net>,
    /// Cut into /64 for the links.
    pub ipv6: Vec<Ipv6Net>,
    /// Cut into prefixes of `delegated_len` for DHCPv6.
    pub delegated: Vec<Ipv6Net>,
    /// Length of a delegated prefix; 56 where absent.
    pub delegated_len: Option<u8>,
    /// IPv6 addresses for DHCPv6 (IA_NA).
    pub addresses: Vec<Ipv6Net>,
    /// By name (Framed-Pool, Framed-IPv6-Pool, Delegated-IPv6-Prefix-Pool, Stateful-IPv6-Address-Pool).
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
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dhcp6 {
    /// Servers elsewhere that subscribers' messages are relayed to; without any, we answer ourselves, with what AAA and the
    /// pools give.
    pub relay: Vec<Ipv6Addr>,
}

/// One subscriber of the embedded file.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Subscriber {
    /// PPP user name.
    pub user: String,
    /// In the clear, as CHAP needs it.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// `$5$` or `$6$` hash of crypt(3), for PAP only.
    #[serde(default)]
    pub hash: Option<Secret>,
    /// The IKE identity this user must come with (H23).
    #[serde(default)]
    pub ike_id: Option<String>,
    /// Fixed IPv4 address.
    #[serde(default)]
    pub ipv4: Option<Ipv4Addr>,
    /// Fixed /64 of the link.
    #[serde(default)]
    pub ipv6_prefix: Option<Ipv6Net>,
    /// Fixed delegated prefix.
    #[serde(default)]
    pub delegated: Option<Ipv6Net>,
}

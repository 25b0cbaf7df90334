//! What can be said of a BGP neighbour.

use super::values::{OptionalTime, Word};
use super::{Config, Port};
use ::bgp::neighbour::RemoteAs;
use schemars::JsonSchema;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// IPv4 unicast.
    Ipv4,
    /// IPv6 unicast.
    Ipv6,
}

/// A maximum of prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MaxPrefix {
    /// Prefixes of a family that are allowed; beyond it the session ends.
    #[schemars(range(min = 1))]
    pub limit: u32,
    /// Per cent of the limit from which on there is a warning.
    #[serde(default = "warning")]
    #[schemars(range(min = 1, max = 100))]
    pub warning: u8,
    /// Beyond the limit, too, there is only a warning.
    #[serde(default)]
    pub warning_only: bool,
    /// Time after which a session that ended so is tried again; where absent, when the operator says so.
    #[serde(default, with = "OptionalTime")]
    pub restart: Option<Duration>,
}

fn warning() -> u8 {
    80
}

/// What we are to a neighbour (RFC 9234, section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "BgpRole")]
pub enum Role {
    /// We give transit.
    Provider,
    /// We take transit.
    Customer,
    /// We are a lateral peer.
    Peer,
    /// We are a route server.
    RouteServer,
    /// We are a client of a route server.
    RouteServerClient,
}

impl Config {
    /// The port on which `address` is, or the router on the way to it, by connected networks and static routes.
    pub fn port_towards(&self, address: IpAddr) -> Option<&Port> {
        let connected = self.ports.iter().flat_map(|p| p.addresses.iter().map(move |net| (*net, p)));
        let port = |name: &str| self.ports.iter().find(|p| p.name == name);
        let fixed = self.routes.iter().filter_map(|r| Some((r.to, port(&r.port)?)));
        let all = connected.chain(fixed).filter(|(net, _)| net.contains(&address));
        all.max_by_key(|(net, _)| net.prefix_len()).map(|(_, port)| port)
    }
}

impl Port {
    /// Its first address of a family.
    pub fn address(&self, v4: bool) -> Option<IpAddr> {
        self.addresses.iter().map(|a| a.addr()).find(|a| a.is_ipv4() == v4)
    }
}

/// A number of an AS, `internal` for our own, or `external` for any other one.
#[derive(JsonSchema)]
#[schemars(with = "Word", title = "AS number", example = 65001, example = &"internal", example = &"external")]
pub(super) struct AsNumber;

impl AsNumber {
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<RemoteAs, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = RemoteAs;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an AS number, internal or external")
            }
            fn visit_u64<E: Error>(self, n: u64) -> Result<RemoteAs, E> {
                u32::try_from(n).map(RemoteAs::Exactly).map_err(|_| E::custom("an AS number has 32 bits"))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<RemoteAs, E> {
                match text {
                    "internal" => Ok(RemoteAs::Internal),
                    "external" => Ok(RemoteAs::External),
                    other => Err(E::custom(format!("{other:?} is no AS number, internal or external"))),
                }
            }
        }
        d.deserialize_any(V)
    }

    pub fn serialize<S: Serializer>(asn: &RemoteAs, s: S) -> Result<S::Ok, S::Error> {
        match asn {
            RemoteAs::Exactly(asn) => s.serialize_u32(*asn),
            RemoteAs::Internal => s.serialize_str("internal"),
            RemoteAs::External => s.serialize_str("external"),
        }
    }
}

//! BGP: our AS, what we originate, our neighbours.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};

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
    /// Its address.
    pub address: IpAddr,
    /// Its AS.
    pub asn: u32,
    /// What operators call it.
    #[serde(default)]
    pub description: Option<String>,
    /// Our end of the session; the address of ours that is nearest to it where absent.
    #[serde(default)]
    pub local: Option<IpAddr>,
    /// Wait for it to connect.
    #[serde(default)]
    pub passive: bool,
    /// It is a client of ours as a route reflector (RFC 4456).
    #[serde(default)]
    pub client: bool,
    /// Take its routes; an external neighbour's are refused unless this says so (RFC 8212).
    #[serde(default)]
    pub import: Option<Policy>,
    /// Send it ours; likewise.
    #[serde(default)]
    pub export: Option<Policy>,
    /// Hold time in seconds.
    #[serde(default = "hold")]
    pub hold_time: u16,
}

fn hold() -> u16 {
    90
}

/// What is taken or sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Everything.
    Accept,
    /// Nothing.
    Reject,
}

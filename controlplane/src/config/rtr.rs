//! RPKI caches (RFC 8210): who tells which AS may originate which prefix.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// An RPKI cache.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RtrCache {
    /// Name in status, metrics and logs.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Its address.
    pub address: IpAddr,
    /// Its port; 323, or 324 with TLS, where absent (RFC 8210, section 13).
    #[serde(default)]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Address to connect from, of the same family; the host decides where absent.
    #[serde(default)]
    pub local: Option<IpAddr>,
    /// The cache proves who it is by TLS (RFC 8210, section 9.2); plain TCP where absent.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// The lowest of the caches that are up is listened to.
    #[serde(default = "preference")]
    pub preference: u8,
}

fn preference() -> u8 {
    100
}

/// How the other end of a TLS connection proves who it is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file with the CAs of its certificate.
    pub ca: String,
    /// Name in its certificate; its address where absent.
    #[serde(default)]
    pub server_name: Option<String>,
}

impl RtrCache {
    /// Where it listens.
    pub fn remote(&self) -> SocketAddr {
        let default = if self.tls.is_some() { 324 } else { 323 };
        SocketAddr::new(self.address, self.port.unwrap_or(default))
    }
}

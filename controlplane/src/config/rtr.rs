//! RPKI caches (RFC 8210): who tells which AS may originate which prefix.

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// A cache.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RtrCache {
    /// Name in status, metrics and logs.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
    /// Its port; 323, or 324 with TLS, where absent (RFC 8210, section 13).
    #[serde(default)]
    pub port: Option<u16>,
    /// Address to connect from, if it matters: without one the host decides.
    #[serde(default)]
    pub local: Option<IpAddr>,
    /// TLS (RFC 8210, section 9.2).
    #[serde(default)]
    pub tls: Option<Tls>,
    /// The lowest of the caches that are up is listened to.
    #[serde(default = "preference")]
    pub preference: u8,
}

fn preference() -> u8 {
    100
}

/// How a cache proves who it is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// File with the trust anchors, PEM.
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

//! Who says whether a subscriber is who it claims to be, and what it gets: RADIUS servers, the embedded subscriber
//! file, accounting, dynamic authorization.

use super::rtr::Tls;
use super::validate::Problems;
use super::values::{AddressAndPort, Prefix, Time};
use super::{AuthMethod, Certificate, Config, Secret};
use dataplane_api::Zone;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Authentication, authorization, accounting.
///
/// ```yaml
/// aaa:
///   servers:
///     - { name: r1, address: 10.9.0.2, secret: shared-with-r1 }
///     - { name: far, address: 203.0.113.9, transport: tls, tls: { ca: /etc/softwire-gateway/radius-ca.pem }, priority: 2 }
///   management: [10.9.0.0/24]
///   accounting: { interim: 10m }
///   dynamic: { listen: ["10.9.0.1:3799"], clients: [{ address: 10.9.0.2, secret: shared-for-coa }] }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Aaa {
    /// Who is asked, in this order: the next one when the one before does not know the user (`local`) or does not answer
    /// (`radius`). Where empty: RADIUS if there are servers that authenticate, else the embedded subscriber file.
    pub sources: Vec<Source>,
    /// RADIUS servers.
    pub servers: Vec<Server>,
    /// NAS-Identifier; `l2tp.host_name` where absent. A change waits for the next start.
    pub nas_identifier: Option<String>,
    /// NAS-IP-Address or NAS-IPv6-Address; neither is sent where absent. A change waits for the next start.
    pub nas_address: Option<IpAddr>,
    /// Networks of the management zone, besides those of trusted ports and the loopback interface: to servers there,
    /// RADIUS may go without TLS (H10).
    #[schemars(with = "Vec<Prefix>")]
    pub management: Vec<IpNet>,
    /// Sessions that a user may have at a time, unless AAA says another number (Port-Limit); any where absent.
    pub sessions_per_user: Option<u32>,
    /// Accounting.
    pub accounting: Accounting,
    /// Dynamic authorization (RFC 5176); none where absent.
    pub dynamic: Option<Dynamic>,
}

/// Who knows subscribers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The embedded subscriber file.
    Local,
    /// The RADIUS servers.
    Radius,
}

/// How a RADIUS server is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// UDP (RFC 2865).
    #[default]
    Udp,
    /// TCP (RFC 6613).
    Tcp,
    /// RadSec (RFC 6614).
    Tls,
}

/// A RADIUS server.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RadiusServer")]
pub struct Server {
    /// Name in status, metrics and logs.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Its address.
    pub address: IpAddr,
    /// Shared secret; with TLS it is `radsec` where absent (RFC 6614, section 2.3).
    #[serde(default)]
    pub secret: Option<Secret>,
    /// How it is reached.
    #[serde(default)]
    pub transport: Transport,
    /// Port for authentication; 1812, or 2083 with TLS, where absent.
    #[serde(default)]
    pub auth_port: Option<u16>,
    /// Port for accounting; 1813, or 2083 with TLS, where absent.
    #[serde(default)]
    pub acct_port: Option<u16>,
    /// It authenticates.
    #[serde(default = "yes")]
    pub authentication: bool,
    /// It takes accounting records.
    #[serde(default = "yes")]
    pub accounting: bool,
    /// Servers with a higher number are asked when all with a lower one are dead. Those with the same share the load.
    #[serde(default = "one")]
    pub priority: u8,
    /// Time until a request is sent again, at least 100ms; it doubles with each.
    #[serde(with = "Time", default = "timeout")]
    pub timeout: Duration,
    /// Transmissions of a request before another server is asked.
    #[serde(default = "tries")]
    #[schemars(range(min = 1, max = 10))]
    pub tries: u32,
    /// How long a server that does not answer is left alone.
    #[serde(with = "Time", default = "dead_time")]
    pub dead_time: Duration,
    /// It answers Status-Server (RFC 5997): once dead, it comes back when it does.
    #[serde(default = "yes")]
    pub status_server: bool,
    /// Its answers may lack Message-Authenticator, and so be forged (CVE-2024-3596): for servers that cannot do better.
    #[serde(default)]
    pub legacy_no_message_authenticator: bool,
    /// RADIUS goes unencrypted to a server outside the management zone (H10).
    #[serde(default)]
    pub plain_outside_management: bool,
    /// How it proves who it is; needed with `transport: tls`, and only there.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// Our certificate, with `transport: tls`; none is shown where absent.
    #[serde(default)]
    pub certificate: Option<Certificate>,
}

fn yes() -> bool {
    true
}

fn one() -> u8 {
    1
}

fn timeout() -> Duration {
    Duration::from_secs(2)
}

fn tries() -> u32 {
    3
}

fn dead_time() -> Duration {
    Duration::from_secs(30)
}

impl Server {
    /// Where it takes requests.
    pub fn remote(&self, accounting: bool) -> SocketAddr {
        let port = match (self.transport, accounting) {
            (Transport::Tls, false) => self.auth_port.unwrap_or(2083),
            (Transport::Tls, true) => self.acct_port.unwrap_or(2083),
            (Transport::Udp | Transport::Tcp, false) => self.auth_port.unwrap_or(1812),
            (Transport::Udp | Transport::Tcp, true) => self.acct_port.unwrap_or(1813),
        };
        SocketAddr::new(self.address, port)
    }
}

/// Accounting (RFC 2866), to the servers that take records.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Accounting {
    /// Time between interim records, at least 60s, unless AAA says another (Acct-Interim-Interval).
    #[serde(with = "Time")]
    pub interim: Duration,
    /// File in which records are kept until a server has taken them. A change waits for the next start.
    pub journal: String,
    /// How often what open sessions have used is noted there, for records after a crash; at least 1s.
    #[serde(with = "Time")]
    pub checkpoint: Duration,
    /// Records for tunnels, too: Tunnel-Start and Tunnel-Stop (RFC 2867).
    pub tunnels: bool,
}

impl Default for Accounting {
    fn default() -> Self {
        Self {
            interim: Duration::from_secs(600),
            journal: "/var/lib/softwire-gateway/accounting.journal".into(),
            checkpoint: Duration::from_secs(30),
            tunnels: false,
        }
    }
}

/// Dynamic authorization: CoA-Request and Disconnect-Request (RFC 5176).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dynamic {
    /// Addresses and ports at which requests are taken, at least one; the port is 3799 by custom.
    #[schemars(with = "Vec<AddressAndPort>", length(min = 1))]
    pub listen: Vec<SocketAddr>,
    /// Who may send them, at least one. Nobody else is answered.
    #[schemars(length(min = 1))]
    pub clients: Vec<DynamicClient>,
    /// How far a request's Event-Timestamp may be from our clock.
    #[serde(with = "Time", default = "window")]
    pub window: Duration,
}

fn window() -> Duration {
    Duration::from_secs(300)
}

/// Who may send CoA-Requests and Disconnect-Requests.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DynamicClient {
    /// Its address.
    pub address: IpAddr,
    /// Shared secret.
    pub secret: Secret,
}

impl Aaa {
    /// Who is asked, in this order.
    pub fn order(&self) -> Vec<Source> {
        match (self.sources.as_slice(), self.servers.iter().any(|s| s.authentication)) {
            ([], true) => vec![Source::Radius],
            ([], false) => vec![Source::Local],
            (sources, _) => sources.to_vec(),
        }
    }
}

pub(super) fn check(c: &Config, p: &mut Problems) {
    let a = &c.aaa;
    let radius = a.servers.iter().any(|s| s.authentication);
    for (i, s) in a.sources.iter().enumerate() {
        if a.sources[..i].contains(s) {
            p.add(format!("aaa.sources[{i}]"), "stands twice");
        }
        if *s == Source::Radius && !radius {
            p.add(format!("aaa.sources[{i}]"), "no server authenticates");
        }
    }
    if c.ppp.authenticate.contains(&AuthMethod::Eap) && !a.order().contains(&Source::Radius) {
        p.add("ppp.authenticate", "EAP takes a RADIUS server, the embedded subscriber file cannot do it");
    }
    let mut names = HashSet::new();
    for (i, s) in a.servers.iter().enumerate() {
        server(c, s, &format!("aaa.servers[{i}]"), p);
        if s.name.is_empty() || !names.insert(&s.name) {
            p.add(format!("aaa.servers[{i}].name"), format!("\"{}\" is empty or taken by another server", s.name));
        }
    }
    if a.accounting.interim < Duration::from_secs(60) {
        p.add("aaa.accounting.interim", "at least 60s (RFC 2869, section 5.16)");
    }
    if a.accounting.checkpoint < Duration::from_secs(1) {
        p.add("aaa.accounting.checkpoint", "at least 1s");
    }
    let Some(d) = &a.dynamic else { return };
    let mut seen = HashSet::new();
    for (i, client) in d.clients.iter().enumerate() {
        let path = format!("aaa.dynamic.clients[{i}]");
        if !seen.insert(client.address) {
            p.add(format!("{path}.address"), format!("{} is another client", client.address));
        }
        if client.secret.bytes().is_empty() {
            p.add(format!("{path}.secret"), "is empty");
        }
    }
    if d.listen.is_empty() || d.clients.is_empty() {
        p.add("aaa.dynamic", "at least one address to listen at, and one client");
    }
}

fn server(c: &Config, s: &Server, path: &str, p: &mut Problems) {
    let tls = s.transport == Transport::Tls;
    if !tls && s.secret.as_ref().is_none_or(|s| s.bytes().is_empty()) {
        p.add(format!("{path}.secret"), "is missing");
    }
    if tls && s.tls.is_none() {
        p.add(format!("{path}.tls"), "transport: tls needs trust anchors (tls.ca)");
    }
    if !tls && (s.tls.is_some() || s.certificate.is_some()) {
        p.add(format!("{path}.transport"), "certificates are for transport: tls");
    }
    if !tls && !s.plain_outside_management && !c.manages(s.address) {
        p.add(
            format!("{path}.address"),
            format!(
                "{} is outside the management zone, and RADIUS would go there unencrypted (H10): use transport: tls, name \
                 its network in aaa.management, or set plain_outside_management: true",
                s.address
            ),
        );
    }
    if s.timeout < Duration::from_millis(100) || !(1..=10).contains(&s.tries) {
        p.add(path, "timeout is at least 100ms, tries between 1 and 10");
    }
}

impl Config {
    /// NAS-Identifier.
    pub fn nas_identifier(&self) -> &str {
        self.aaa.nas_identifier.as_deref().unwrap_or(&self.l2tp.host_name)
    }

    /// Whether an address is in the management zone.
    fn manages(&self, address: IpAddr) -> bool {
        let trusted = self.ports.iter().filter(|port| port.zone == Zone::Trusted).flat_map(|port| &port.addresses);
        address.is_loopback() || self.aaa.management.iter().chain(trusted).any(|n| n.contains(&address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(aaa: &str) -> Result<Config, String> {
        let text = format!(
            "ports:\n  - {{ name: a, device: d, zone: public, addresses: [192.0.2.1/24] }}\n  \
             - {{ name: b, device: e, zone: trusted, addresses: [10.0.0.1/24] }}\n\
             listeners: [{{ name: l, address: 10.0.0.1, protection: none }}]\n{aaa}\n"
        );
        Config::from_yaml("t", &text).map_err(|e| e.to_string())
    }

    fn with(server: &str) -> Result<Config, String> {
        config(&format!("aaa: {{ servers: [{{ name: r, {server} }}] }}"))
    }

    #[test]
    fn plain_radius_stays_within_the_management_zone() {
        for address in ["127.0.0.1", "10.0.0.9", "\"::1\""] {
            with(&format!("address: {address}, secret: s")).unwrap();
        }
        for transport in ["udp", "tcp"] {
            let e = with(&format!("address: 192.0.2.9, secret: s, transport: {transport}")).unwrap_err();
            assert!(e.contains("aaa.servers[0].address") && e.contains("H10"), "{e}");
        }
        with("address: 192.0.2.9, secret: s, plain_outside_management: true").unwrap();
        with("address: 192.0.2.9, transport: tls, tls: { ca: ca.pem }").unwrap();
        config("aaa: { management: [192.0.2.0/24], servers: [{ name: r, address: 192.0.2.9, secret: s }] }").unwrap();
    }

    #[test]
    fn what_is_missing_is_named() {
        for (server, path) in [
            ("address: 127.0.0.1", "aaa.servers[0].secret"),
            ("address: 127.0.0.1, transport: tls", "aaa.servers[0].tls"),
            ("address: 127.0.0.1, secret: s, tls: { ca: x }", "aaa.servers[0].transport"),
            ("address: 127.0.0.1, secret: s, tries: 0", "aaa.servers[0]"),
        ] {
            let e = with(server).unwrap_err();
            assert!(e.contains(path), "{e}");
        }
        for (aaa, path) in [
            ("aaa: { sources: [radius] }", "aaa.sources[0]"),
            ("ppp: { authenticate: [eap] }", "ppp.authenticate"),
            ("aaa: { accounting: { interim: 10s } }", "aaa.accounting.interim"),
            ("aaa: { dynamic: { listen: [\"127.0.0.1:3799\"], clients: [] } }", "aaa.dynamic"),
        ] {
            let e = config(aaa).unwrap_err();
            assert!(e.contains(path), "{e}");
        }
    }

    #[test]
    fn the_order_follows_from_the_servers() {
        assert_eq!(config("").unwrap().aaa.order(), [Source::Local]);
        assert_eq!(with("address: 127.0.0.1, secret: s").unwrap().aaa.order(), [Source::Radius]);
        assert_eq!(with("address: 127.0.0.1, secret: s, authentication: false").unwrap().aaa.order(), [Source::Local]);
    }
}

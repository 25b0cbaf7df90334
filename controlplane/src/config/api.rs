//! The management plane: where it listens, by what it proves itself, and which certificates it knows.
//!
//! ```yaml
//! api:
//!   listen: 192.0.2.10:8443                                    # TLS, always
//!   certificate: /etc/softwire-gateway/tls/api.pem             # else one is made, signed by itself
//!   key: /etc/softwire-gateway/tls/api.key
//!   client_ca: /etc/softwire-gateway/tls/operators.pem
//!   clients: [{ name: monitor.example.net, role: read }]       # names of certificates
//! ```

use super::Config;
use super::validate::Problems;
use super::values::AddressAndPort;
use dataplane_api::Zone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use utoipa::ToSchema;

/// Octets of a unix socket's path, without the one that ends it.
const SOCKET_PATH: usize = 107;

/// The management plane: where REST is served, and to whom. A change waits for the next start.
///
/// ```yaml
/// api:
///   listen: 192.0.2.130:8443
///   certificate: /etc/softwire-gateway/api.pem
///   key: /etc/softwire-gateway/api.key
///   client_ca: /etc/softwire-gateway/operators.pem
///   clients: [{ name: monitor.example.net, role: read }, { name: ops.example.net, role: admin }]
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Api {
    /// The management address, where it listens for TLS; not one of a public port.
    #[schemars(with = "AddressAndPort")]
    pub listen: SocketAddr,
    /// Absolute path of a unix socket for root and the daemon's own user, at most 107 octets; `null` for none.
    pub socket: Option<String>,
    /// PEM file with our certificate and those between it and its CA; one that signs itself is made where absent.
    pub certificate: Option<String>,
    /// PEM file with the key of `certificate`; the two go together.
    pub key: Option<String>,
    /// PEM file with the CAs of the operators' certificates; goes with `clients`.
    pub client_ca: Option<String>,
    /// Who may come with a certificate under `client_ca`.
    pub clients: Vec<ApiClient>,
    /// Absolute path of the directory for what outlives the process: tokens, commits, the certificate made by ourselves, and whose
    /// the blocks of pools were last (`leases`).
    pub state: String,
    /// Commits of the configuration that are kept there.
    #[schemars(range(min = 1))]
    pub history: usize,
}

impl Default for Api {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8443)),
            socket: Some("/run/softwire-gateway/api.sock".into()),
            certificate: None,
            key: None,
            client_ca: None,
            clients: Vec::new(),
            state: "/var/lib/softwire-gateway".into(),
            history: 50,
        }
    }
}

/// Whoever comes with a certificate of this name.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiClient {
    /// Common name, or subject alternative name (DNS, mail, URI).
    #[schemars(length(min = 1))]
    pub name: String,
    /// What it may do.
    pub role: Role,
}

/// What somebody may do; each role may do what the one before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, ToSchema, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look.
    Read,
    /// Act on what runs: disconnect, rekey, clear, drain, trace.
    Operate,
    /// Change the configuration, give out tokens, see packets.
    Admin,
}

impl Role {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

pub(super) fn check(c: &Config, p: &mut Problems) {
    let api = &c.api;
    let listen = api.listen.ip();
    if listen.is_unspecified() || listen.is_multicast() {
        p.add("api.listen", format!("{listen}: name the management address; it listens nowhere else"));
    }
    if c.port_of(listen).is_some_and(|(_, port)| port.zone == Zone::Public) {
        p.add("api.listen", format!("{listen} stands on a public port: it listens on the management address only"));
    }
    if api.certificate.is_some() != api.key.is_some() {
        p.add("api.key", "certificate and key go together");
    }
    match (&api.client_ca, api.clients.is_empty()) {
        (None, false) => p.add("api.client_ca", "clients are known by certificates, which takes the CA of these"),
        (Some(_), true) => p.add("api.clients", "client_ca without clients admits nobody"),
        _ => {}
    }
    let mut names = HashSet::new();
    for (i, client) in api.clients.iter().enumerate() {
        if client.name.is_empty() || !names.insert(&client.name) {
            p.add(format!("api.clients[{i}].name"), format!("\"{}\" is empty or stands twice", client.name));
        }
    }
    if let Some(socket) = &api.socket
        && (!Path::new(socket).is_absolute() || socket.len() > SOCKET_PATH)
    {
        p.add("api.socket", format!("an absolute path of at most {SOCKET_PATH} octets, or null"));
    }
    if api.history == 0 {
        p.add("api.history", "at least 1");
    }
    if !Path::new(&api.state).is_absolute() {
        p.add("api.state", "an absolute path");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORTS: &str = r#"
ports:
  - { name: access, device: d, zone: public, addresses: [192.0.2.1/24] }
  - { name: core, device: e, zone: trusted, addresses: [198.51.100.1/24] }
listeners: [{ name: l, address: 198.51.100.1, protection: none }]
pools: { ipv6: ["2001:db8:100::/48"] }
"#;

    fn parse(api: &str) -> Result<Api, String> {
        let parsed = Config::from_yaml("test.yaml", &format!("{PORTS}\napi: {{ {api} }}\n"));
        parsed.map(|c| c.api).map_err(|e| e.to_string())
    }

    #[test]
    fn what_is_left_out_is_safe() {
        let api = parse("").unwrap();
        assert_eq!(api.listen.to_string(), "127.0.0.1:8443");
        assert_eq!(api.socket.as_deref(), Some("/run/softwire-gateway/api.sock"));
        assert_eq!(parse("socket: null").unwrap().socket, None);
    }

    #[test]
    fn it_listens_on_the_management_address_only() {
        assert!(parse("listen: '198.51.100.1:8443'").is_ok());
        for wrong in ["0.0.0.0:8443", "[::]:8443", "192.0.2.1:8443", "224.0.0.1:8443"] {
            let e = parse(&format!("listen: '{wrong}'")).unwrap_err();
            assert!(e.contains("api.listen") && e.contains("management address"), "{e}");
        }
    }

    #[test]
    fn what_goes_together_stands_together() {
        for (api, path) in [
            ("certificate: a.pem", "api.key"),
            ("key: a.key", "api.key"),
            ("clients: [{ name: a, role: read }]", "api.client_ca"),
            ("client_ca: ca.pem", "api.clients"),
            ("client_ca: ca.pem, clients: [{ name: a, role: read }, { name: a, role: admin }]", "api.clients[1].name"),
            ("client_ca: ca.pem, clients: [{ name: '', role: read }]", "api.clients[0].name"),
            ("socket: api.sock", "api.socket"),
            ("state: var", "api.state"),
            ("history: 0", "api.history"),
        ] {
            let e = parse(api).unwrap_err();
            assert!(e.contains(path), "{api}: {e}");
        }
        assert!(parse("client_ca: ca.pem, clients: [{ name: a, role: root }]").unwrap_err().contains("root"));
        assert!(parse(&format!("socket: /{}", "s".repeat(SOCKET_PATH))).unwrap_err().contains("api.socket"));
    }

    #[test]
    fn roles_are_a_ladder() {
        assert!(Role::Read < Role::Operate && Role::Operate < Role::Admin);
    }
}

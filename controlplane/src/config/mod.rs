//! The configuration of `softwired`: one strict YAML file, validated as a whole.
//!
//! ```yaml
//! dataplane: { workers: [1], poll: idle }
//! ports:
//!   - { name: access, device: "net_af_packet0,iface=g0", zone: public, addresses: [192.0.2.1/24] }
//!   - { name: core, device: "net_af_packet1,iface=g1", zone: trusted, addresses: ["2001:db8:c::1/64"] }
//! listeners:
//!   - { name: secure, address: 192.0.2.1, protection: ipsec }
//! ike:
//!   identity: gw.example.net
//!   peers:
//!     - { name: alice, id: alice@example.net, auth: psk, psk: correct-horse }
//! pools: { ipv6: ["2001:db8:100::/48"], delegated: ["2001:db8:f000::/36"] }
//! subscribers:
//!   - { user: alice, secret: wonderland }
//! ```
//!
//! Unknown keys are refused. What the requirements prohibit is refused with the requirement's id
//! ([`validate`]). Every message names the path and the line.

pub mod aaa;
mod api;
pub mod bfd;
pub mod bgp;
mod changes;
mod document;
pub mod filter;
pub mod ike;
pub mod ikev1;
pub mod key_chain;
mod keys;
mod locate;
pub mod mesh;
pub mod neighbour;
pub mod policy;
mod protection;
pub mod rtr;
mod secret;
mod service;
mod validate;

pub use aaa::Aaa;
pub use api::{Api, ApiClient, Role};
pub use bfd::Bfd;
pub use bgp::Bgp;
pub use changes::{Change, Op};
pub use document::Document;
pub use filter::Filter;
pub use ike::{Certificate, Ike, Peer, PeerAuth};
pub use ikev1::Ikev1;
pub use keys::{key, name_of};
pub use mesh::Mesh;
pub use secret::Secret;
pub use service::{AuthMethod, Dhcp6, L2tp, PoolSet, Pools, Ppp, Subscriber};
pub use validate::Problem;

use dataplane_api::Zone;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

/// The whole document.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Workers, memory, EAL.
    #[serde(default)]
    pub dataplane: Dataplane,
    /// Network ports.
    pub ports: Vec<Port>,
    /// Static routes.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Addresses at which softwire initiators are served.
    #[serde(default)]
    pub listeners: Vec<Listener>,
    /// IKE and child SAs.
    #[serde(default)]
    pub ike: Ike,
    /// Softwires to other AFBRs.
    #[serde(default)]
    pub mesh: Mesh,
    /// BGP, which tells what lies behind which AFBR.
    #[serde(default)]
    pub bgp: Option<Bgp>,
    /// How paths are watched.
    #[serde(default)]
    pub bfd: Bfd,
    /// L2TP.
    #[serde(default)]
    pub l2tp: L2tp,
    /// PPP.
    #[serde(default)]
    pub ppp: Ppp,
    /// Who says whether a subscriber is who it claims to be: RADIUS, accounting.
    #[serde(default)]
    pub aaa: Aaa,
    /// DHCPv6.
    #[serde(default)]
    pub dhcp6: Dhcp6,
    /// Access lists for subscribers.
    #[serde(default)]
    pub filters: Vec<Filter>,
    /// Addresses and prefixes for subscribers that have none of their own.
    #[serde(default)]
    pub pools: Pools,
    /// The embedded subscriber file.
    #[serde(default)]
    pub subscribers: Vec<Subscriber>,
    /// Another file with a list of subscribers, relative to this one.
    #[serde(default)]
    pub subscribers_file: Option<String>,
    /// REST.
    #[serde(default)]
    pub api: Api,
}

/// Workers, memory, EAL.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dataplane {
    /// Core of each worker.
    pub workers: Vec<usize>,
    /// `busy` never sleeps; `idle` sleeps shortly when there is nothing to do.
    pub poll: Poll,
    /// More EAL arguments, e.g. `--no-huge`.
    pub eal: Vec<String>,
    /// Sessions, and SAs each way, per worker.
    pub max_sessions: usize,
    /// Packet buffers.
    pub buffers: u32,
    /// Routes per family that the forwarding tables can hold.
    pub max_routes: u32,
}

impl Default for Dataplane {
    fn default() -> Self {
        Self {
            workers: vec![0],
            poll: Poll::Idle,
            eal: Vec::new(),
            max_sessions: 4096,
            buffers: 8192,
            max_routes: 65536,
        }
    }
}

/// What a worker does when there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Poll {
    /// Poll on.
    Busy,
    /// Sleep shortly.
    Idle,
}

/// A network port.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// Name in routes, metrics and messages.
    pub name: String,
    /// PCI address, or a DPDK virtual device with its arguments.
    pub device: String,
    /// `public` (SPD applies) or `trusted`.
    #[serde(with = "zone")]
    pub zone: Zone,
    /// Addresses with prefix lengths.
    pub addresses: Vec<IpNet>,
    /// Largest IP packet.
    #[serde(default = "mtu")]
    pub mtu: u16,
    /// 802.1Q VLAN of the addresses.
    #[serde(default)]
    pub vlan: Option<u16>,
    /// Name of the host-stack TAP; `sw-NAME` where absent.
    #[serde(default)]
    pub tap: Option<String>,
}

fn mtu() -> u16 {
    1500
}

impl Port {
    /// Name of the host-stack TAP (at most 15 octets).
    pub fn tap_name(&self) -> String {
        self.tap.clone().unwrap_or_else(|| format!("sw-{}", self.name)).chars().take(15).collect()
    }
}

/// A static route.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Destination.
    pub to: IpNet,
    /// Next router, or several for ECMP; none means the destination is on the link.
    #[serde(default)]
    pub via: Vec<IpAddr>,
    /// Port name.
    pub port: String,
}

/// An address at which softwire initiators are served.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Name in status and logs.
    pub name: String,
    /// One of a port's addresses.
    pub address: IpAddr,
    /// Whether L2TP must be inside ESP.
    #[serde(default)]
    pub protection: Protection,
    /// Sessions without PPP authentication are admitted (H33).
    #[serde(default)]
    pub anonymous: bool,
    /// IKEv1 is spoken there, too.
    #[serde(default)]
    pub ikev1: Option<Ikev1>,
}

impl Listener {
    /// Says in the log what is weaker about it than it could be.
    pub fn warn(&self) {
        let listener = &self.name;
        if self.anonymous {
            tracing::warn!(
                listener,
                "anonymous access is admitted (H33); it is logged and filtered, not authenticated"
            );
        }
        let Some(v1) = &self.ikev1 else { return };
        if v1.shared_secret.is_some() {
            tracing::warn!(
                listener,
                "one secret is shared by whoever comes with IKEv1 (a legacy override of H46): \
                 whoever has it can pose as the gateway"
            );
        }
        if !v1.weak.is_empty() {
            tracing::warn!(listener, weak = v1.weak.join(","), "old algorithms are allowed with IKEv1");
        }
    }
}

/// Protection of L2TP on a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Protection {
    /// Only inside ESP (H1).
    #[default]
    Ipsec,
    /// In the clear: for trusted networks, or for anonymous access (H29, H33).
    None,
}

mod zone {
    use dataplane_api::Zone;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Zone, D::Error> {
        match String::deserialize(d)?.as_str() {
            "public" => Ok(Zone::Public),
            "trusted" => Ok(Zone::Trusted),
            other => Err(serde::de::Error::unknown_variant(other, &["public", "trusted"])),
        }
    }

    pub fn serialize<S: Serializer>(zone: &Zone, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(match zone {
            Zone::Public => "public",
            Zone::Trusted => "trusted",
        })
    }
}

/// Durations such as `30s`, `90m`, `4h`.
pub(crate) mod span {
    use super::Duration;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        humantime::parse_duration(&String::deserialize(d)?).map_err(serde::de::Error::custom)
    }

    pub fn serialize<S: Serializer>(d: &Duration, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&humantime::format_duration(*d))
    }
}

/// Durations that may be absent.
pub(crate) mod optional_span {
    use super::{Duration, span};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize, Serialize)]
    struct Span(#[serde(with = "span")] Duration);

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Span>::deserialize(d)?.map(|s| s.0))
    }

    pub fn serialize<S: Serializer>(value: &Option<Duration>, s: S) -> Result<S::Ok, S::Error> {
        value.map(Span).serialize(s)
    }
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{0}: {1}")]
    Read(String, std::io::Error),
    /// Not the YAML we expect; the message carries line, column and a snippet.
    #[error("{0}: {1}")]
    Syntax(String, String),
    /// Well-formed, but wrong.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Invalid(Vec<Problem>),
}

impl ConfigError {
    // The message has line and column. The text around them, which the library would show, may have a secret in it.
    fn syntax(name: &str, e: &serde_saphyr::Error) -> Self {
        Self::Syntax(name.to_owned(), e.without_snippet().to_string())
    }
}

/// Reads YAML that the operator trusts: it may be long, not deep.
fn yaml<T: serde::de::DeserializeOwned>(name: &str, text: &str) -> Result<T, ConfigError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_events: 1 << 28, max_nodes: 1 << 27, max_total_scalar_bytes: 1 << 30 },
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|e| ConfigError::syntax(name, &e))
}

impl Config {
    /// Reads and validates a file, and the subscriber file it names.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| ConfigError::Read(name.clone(), e))?;
        Self::parse(&name, &text)?.with_subscribers_file(path)?.validated(&name, &text)
    }

    fn with_subscribers_file(mut self, path: &Path) -> Result<Self, ConfigError> {
        if let Some(file) = &self.subscribers_file {
            let path = path.parent().unwrap_or(Path::new(".")).join(file);
            let name = path.display().to_string();
            let text = std::fs::read_to_string(&path).map_err(|e| ConfigError::Read(name.clone(), e))?;
            self.subscribers.extend(yaml::<Vec<Subscriber>>(&name, &text)?);
        }
        Ok(self)
    }

    /// From text, for tests and the API; `name` is only for messages.
    pub fn from_yaml(name: &str, text: &str) -> Result<Self, ConfigError> {
        Self::parse(name, text)?.validated(name, text)
    }

    fn parse(name: &str, text: &str) -> Result<Self, ConfigError> {
        yaml(name, text)
    }

    /// What is wrong with it, as far as it can be known without the files that it names.
    pub fn problems(&self) -> Vec<Problem> {
        validate::check(self)
    }

    fn validated(self, name: &str, text: &str) -> Result<Self, ConfigError> {
        let mut problems = self.problems();
        if problems.is_empty() {
            return Ok(self);
        }
        for p in &mut problems {
            p.file = name.to_owned();
            p.line = locate::line(text, &p.path);
        }
        Err(ConfigError::Invalid(problems))
    }

    /// The port that has `address` on one of its networks.
    pub fn port_of(&self, address: IpAddr) -> Option<(usize, &Port)> {
        self.ports.iter().enumerate().find(|(_, p)| p.addresses.iter().any(|n| n.addr() == address))
    }

    /// The entry of the PAD whose SA carries the BGP session with `neighbour`.
    pub fn carrier(&self, neighbour: IpAddr) -> Option<&Peer> {
        self.ike.peers.iter().find(|p| p.bgp && p.address == Some(neighbour))
    }

    /// The listener at `address`.
    pub fn listener(&self, address: IpAddr) -> Option<&Listener> {
        self.listeners.iter().find(|l| l.address == address)
    }
}

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
mod schema;
mod secret;
mod service;
mod validate;
pub(crate) mod values;

pub use aaa::Aaa;
pub use api::{Api, ApiClient, Role};
pub use bfd::Bfd;
pub use bgp::Bgp;
pub use changes::{Change, Op};
pub use document::Document;
pub use filter::Filter;
pub use ike::{Certificate, Ike, Peer, PeerAuth};
pub use ikev1::Ikev1;
pub use keys::{KEYS, key, name_of};
pub use mesh::Mesh;
pub use schema::schema;
pub use secret::Secret;
pub use service::{AuthMethod, Dhcp6, L2tp, PoolSet, Pools, Ppp, Subscriber};
pub use validate::Problem;

use dataplane_api::Zone;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::Path;
use values::{Prefix, ZoneName};

/// The whole document. Unknown keys are refused.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "softwired.yaml")]
pub struct Config {
    /// Workers, memory, arguments for DPDK.
    #[serde(default)]
    pub dataplane: Dataplane,
    /// Network ports, at least one.
    #[schemars(length(min = 1))]
    pub ports: Vec<Port>,
    /// Static routes.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Addresses at which softwire initiators are served; there is one, or `mesh.local`.
    #[serde(default)]
    pub listeners: Vec<Listener>,
    /// IKE and child SAs: who may connect, lifetimes, algorithms.
    #[serde(default)]
    pub ike: Ike,
    /// Softwires to other AFBRs.
    #[serde(default)]
    pub mesh: Mesh,
    /// BGP, which tells what lies behind which AFBR; not spoken where absent.
    #[serde(default)]
    pub bgp: Option<Bgp>,
    /// How fast, and by which keys, paths are watched.
    #[serde(default)]
    pub bfd: Bfd,
    /// L2TP, which carries subscribers' PPP.
    #[serde(default)]
    pub l2tp: L2tp,
    /// PPP: authentication, what subscribers are told.
    #[serde(default)]
    pub ppp: Ppp,
    /// Who says whether a subscriber is who it claims to be: RADIUS, accounting.
    #[serde(default)]
    pub aaa: Aaa,
    /// DHCPv6 for subscribers.
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
    /// Another file with a list of subscribers, relative to this one. It is read with every change, and never written.
    #[serde(default)]
    pub subscribers_file: Option<String>,
    /// The management plane: REST, and who may use it.
    #[serde(default)]
    pub api: Api,
}

/// Workers, memory, arguments for DPDK. A change waits for the next start.
///
/// ```yaml
/// dataplane: { workers: [1, 2], poll: busy, eal: [--in-memory], max_routes: 1048576 }
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dataplane {
    /// The processor core of each worker, 1 to 16 different ones. A worker has its core for itself.
    #[schemars(length(min = 1, max = 16))]
    pub workers: Vec<usize>,
    /// What a worker does when there is nothing to do.
    pub poll: Poll,
    /// More arguments for DPDK's EAL, such as `--in-memory`, `--no-huge`, `--no-pci`.
    pub eal: Vec<String>,
    /// Sessions, and SAs each way, that each worker has room for.
    #[schemars(range(min = 1, max = 1048576))]
    pub max_sessions: usize,
    /// Packet buffers of 2.5 KiB.
    #[schemars(range(min = 1024))]
    pub buffers: u32,
    /// Routes of each family that the forwarding tables have room for. A full table of the Internet needs 1048576.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Poll {
    /// It polls on: least delay, and a core that is always busy.
    Busy,
    /// It sleeps shortly.
    Idle,
}

/// A network port. A change waits for the next start.
///
/// ```yaml
/// ports:
///   - { name: access, device: "0000:03:00.0", zone: public, addresses: [192.0.2.1/24, 192.0.2.7/24, "2001:db8:a::1/64"] }
///   - { name: core, device: "net_af_packet0,iface=eth1", zone: trusted, addresses: [10.1.0.1/24, "2001:db8:c::1/64"] }
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// Name in routes, metrics and messages.
    #[schemars(length(min = 1))]
    pub name: String,
    /// PCI address of a device that is bound to vfio-pci, or a DPDK virtual device with its arguments, such as
    /// `net_af_packet0,iface=eth1`.
    pub device: String,
    /// How far the network behind it is trusted.
    #[serde(with = "ZoneName")]
    pub zone: Zone,
    /// Its addresses with the lengths of the networks' prefixes.
    #[schemars(with = "Vec<Prefix>")]
    pub addresses: Vec<IpNet>,
    /// Largest IP packet in octets.
    #[serde(default = "mtu")]
    #[schemars(range(min = 1280, max = 9600))]
    pub mtu: u16,
    /// 802.1Q VLAN of the addresses; untagged where absent.
    #[serde(default)]
    #[schemars(range(min = 1, max = 4094))]
    pub vlan: Option<u16>,
    /// Name of the interface by which the host sees the port, cut to 15 octets; `sw-` and the port's name where absent.
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
///
/// ```yaml
/// routes:
///   - { to: "::/0", via: ["2001:db8:c::2", "2001:db8:c::3"], port: core }
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Destination.
    #[schemars(with = "Prefix")]
    pub to: IpNet,
    /// Next router, of the destination's family. Several share the load; none means that the destination is on the link.
    #[serde(default)]
    pub via: Vec<IpAddr>,
    /// Name of the port that leads there.
    pub port: String,
}

/// An address at which softwire initiators are served.
///
/// ```yaml
/// listeners:
///   - { name: secure, address: 192.0.2.1 }
///   - { name: inside, address: 10.1.0.1, protection: none }
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
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
    /// IKEv1 is spoken there, too, for clients that speak nothing newer; off where absent.
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protection {
    /// L2TP is taken inside ESP only (H1).
    #[default]
    Ipsec,
    /// L2TP is in the clear: for trusted networks, or for anonymous access (H29, H33).
    None,
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

//! The mesh: this gateway as an AFBR (RFC 5565).

use super::values::{EspAlgorithms, OptionalTime, Prefix, Time, TooBigName};
use dataplane_api::softwire::TooBig;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::Duration;

/// Softwires to other AFBRs.
///
/// ```yaml
/// mesh:
///   local: [192.0.2.1, "2001:db8:a::1"]
///   profiles: [{ name: gold, esp_proposals: [aes256gcm16-esn], rekey: 30m }]
///   afbrs: [{ name: west, address: "2001:db8:f2::1", prefixes: [10.2.0.0/16] }]
///   bfd: core
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mesh {
    /// Our ends of softwires, ports' addresses; at most one of each family.
    #[schemars(length(max = 2))]
    pub local: Vec<IpAddr>,
    /// AFBRs that are provisioned here, with the prefixes behind them.
    pub afbrs: Vec<Afbr>,
    /// How softwires to `ike.peers` with a `softwire` profile are protected.
    pub profiles: Vec<Profile>,
    /// TTL or hop limit of outer packets.
    #[schemars(range(min = 1, max = 255))]
    pub hop_limit: u8,
    /// DSCP of outer packets; that of the inner packet where absent.
    #[schemars(range(min = 0, max = 63))]
    pub dscp: Option<u8>,
    /// What becomes of packets that do not fit.
    #[serde(with = "TooBigName")]
    pub too_big: TooBig,
    /// Accept only inner sources that are routed to the AFBR they come from (M9).
    pub strict: bool,
    /// Refuse to send to an AFBR without IPsec, and to hear it.
    pub require_ipsec: bool,
    /// Softwires are watched with this profile of `bfd.profiles`, over several hops (RFC 5883); not watched where absent.
    pub bfd: Option<String>,
    /// How long a path MTU that a router told is believed (RFC 1191, section 6.3).
    #[serde(with = "Time")]
    pub path_mtu_age: Duration,
}

impl Default for Mesh {
    fn default() -> Self {
        Self {
            local: Vec::new(),
            afbrs: Vec::new(),
            profiles: Vec::new(),
            hop_limit: 64,
            dscp: None,
            too_big: TooBig::Inner,
            strict: true,
            require_ipsec: false,
            bfd: None,
            path_mtu_age: Duration::from_secs(600),
        }
    }
}

/// An AFBR that is known without BGP.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Afbr {
    /// Name in status and logs.
    pub name: String,
    /// Its end of the softwire.
    pub address: IpAddr,
    /// What lies behind it. The same prefix behind several AFBRs is balanced between them.
    #[schemars(with = "Vec<Prefix>")]
    pub prefixes: Vec<IpNet>,
}

/// An IPsec profile of softwires (M12, M24).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SoftwireProfile")]
pub struct Profile {
    /// Name, by which `ike.peers` say that it is theirs.
    pub name: String,
    /// What ESP is negotiated for.
    #[serde(default)]
    pub mode: Mode,
    /// ESP proposals in order of preference, among them `null-sha256` and `aes128gmac`; `ike.esp_proposals` where empty.
    #[serde(default)]
    #[schemars(with = "Vec<EspAlgorithms>")]
    pub esp_proposals: Vec<String>,
    /// When we bring the SA up; where absent, the AFBR with the lower address does at start.
    #[serde(default)]
    pub start: Option<Start>,
    /// Our IKE identity; `ike.identity` where absent.
    #[serde(default)]
    pub identity: Option<String>,
    /// Child SAs are rekeyed after this time, at least 10s; `ike.child_rekey` where absent.
    #[serde(default, with = "OptionalTime")]
    pub rekey: Option<Duration>,
    /// A child SA is rekeyed after this many packets, 0 for no limit; `ike.child_rekey_packets` where absent.
    #[serde(default)]
    pub rekey_packets: Option<u64>,
    /// A child SA is rekeyed after this many octets, 0 for no limit; `ike.child_rekey_octets` where absent.
    #[serde(default)]
    pub rekey_octets: Option<u64>,
    /// Replay window in packets: 64, 128, 256, 512, 1024, 2048 or 4096; `ike.replay_window` where absent.
    #[serde(default)]
    #[schemars(range(min = 64, max = 4096))]
    pub replay_window: Option<u16>,
    /// Pad packets to the softwire's MTU, so that their lengths tell nothing (TFC, RFC 4303, section 2.7), if the AFBR
    /// takes that.
    #[serde(default)]
    pub tfc: bool,
    /// A child SA of its own for each worker, besides one for all, where the AFBR takes that (RFC 9611): a softwire then uses
    /// all cores. The AFBR does not need as many.
    #[serde(default)]
    pub per_worker: bool,
}

/// When we bring an SA up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// As soon as something is routed to the AFBR, and again whenever it is lost.
    AtStart,
    /// When there is a packet for it; packets are dropped until it is up.
    OnDemand,
    /// Never: the other AFBR does.
    Respond,
}

/// ESP mode of a softwire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// IP in IP between the AFBRs.
    #[default]
    Transport,
    /// The inner packets: the same octets, but selectors that speak of inner prefixes.
    Tunnel,
}

impl Mesh {
    /// Our end of a softwire to `remote`.
    pub fn local_for(&self, remote: IpAddr) -> Option<IpAddr> {
        self.local.iter().copied().find(|a| a.is_ipv4() == remote.is_ipv4())
    }

    /// A profile.
    pub fn profile(&self, name: &str) -> Option<&Profile> {
        self.profiles.iter().find(|p| p.name == name)
    }
}

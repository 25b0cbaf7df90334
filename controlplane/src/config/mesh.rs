//! The mesh: this gateway as an AFBR (RFC 5565).

use super::{optional_span, span};
use dataplane_api::softwire::TooBig;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::Duration;

/// Softwires to other AFBRs.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mesh {
    /// Our ends of softwires, ports' addresses; at most one of each family.
    pub local: Vec<IpAddr>,
    /// AFBRs that are provisioned here, with the prefixes behind them.
    pub afbrs: Vec<Afbr>,
    /// How softwires to `ike.peers` with a `softwire` profile are protected.
    pub profiles: Vec<Profile>,
    /// TTL or hop limit of outer packets.
    pub hop_limit: u8,
    /// DSCP of outer packets; that of the inner packet where absent.
    pub dscp: Option<u8>,
    /// `inner`: the source of a packet that does not fit is told; `outer`: the outer packet is fragmented.
    #[serde(with = "too_big")]
    pub too_big: TooBig,
    /// Accept only inner sources that are routed to the AFBR they come from (M9).
    pub strict: bool,
    /// Refuse to send to an AFBR without IPsec, and to hear it.
    pub require_ipsec: bool,
    /// Watch softwires with this profile of `bfd.profiles`, over several hops (RFC 5883).
    pub bfd: Option<String>,
    /// How long a path MTU that a router told is believed (RFC 1191, section 6.3).
    #[serde(with = "span")]
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
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Afbr {
    /// Name in status and logs.
    pub name: String,
    /// Its end of the softwire.
    pub address: IpAddr,
    /// What lies behind it. The same prefix behind several AFBRs is balanced between them.
    pub prefixes: Vec<IpNet>,
}

/// An IPsec profile (M12, M24).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Name.
    pub name: String,
    /// `transport` protects IP in IP between the AFBRs; `tunnel` negotiates the inner prefixes as selectors.
    #[serde(default)]
    pub mode: Mode,
    /// In order of preference, among them `null-sha256` and `aes128gmac`; `ike.esp_proposals` where empty.
    #[serde(default)]
    pub esp_proposals: Vec<String>,
    /// When we bring the SA up; where absent, the AFBR with the lower address does at start.
    #[serde(default)]
    pub start: Option<Start>,
    /// Our IKE identity; `ike.identity` where absent.
    #[serde(default)]
    pub identity: Option<String>,
    /// Child SAs are rekeyed after this time; `ike.child_rekey` where absent.
    #[serde(default, with = "optional_span")]
    pub rekey: Option<Duration>,
    /// ... after this many packets; `ike.child_rekey_packets` where absent.
    #[serde(default)]
    pub rekey_packets: Option<u64>,
    /// ... after this many octets; `ike.child_rekey_octets` where absent.
    #[serde(default)]
    pub rekey_octets: Option<u64>,
    /// Replay window in packets; `ike.replay_window` where absent.
    #[serde(default)]
    pub replay_window: Option<u16>,
    /// Pad packets to the softwire's MTU, so that their lengths tell nothing (TFC, RFC 4303, section 2.7), if the AFBR
    /// takes that.
    #[serde(default)]
    pub tfc: bool,
}

/// When we bring an SA up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// As soon as something is routed to the AFBR, and again whenever it is lost.
    AtStart,
    /// When there is a packet for it.
    OnDemand,
    /// Never: the other AFBR does.
    Respond,
}

/// ESP mode of a softwire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// RFC 4301, section 4.1.
    #[default]
    Transport,
    /// RFC 4301, section 4.1; the same octets around IP in IP, but selectors that speak of the inner packets.
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

mod too_big {
    use dataplane_api::softwire::TooBig;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<TooBig, D::Error> {
        match String::deserialize(d)?.as_str() {
            "inner" => Ok(TooBig::Inner),
            "outer" => Ok(TooBig::Outer),
            other => Err(serde::de::Error::unknown_variant(other, &["inner", "outer"])),
        }
    }

    pub fn serialize<S: Serializer>(t: &TooBig, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(match t {
            TooBig::Inner => "inner",
            TooBig::Outer => "outer",
        })
    }
}

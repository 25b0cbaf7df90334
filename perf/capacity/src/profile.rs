//! A test profile: who the gateway is, where the generator's ports are, which subscribers there are, what is done with
//! them in which order (`stages`), and what has to come out (`criteria`). YAML, strict: an unknown key is an error.
//!
//! Times are written like `30s` or `500ms`, rates are packets or subscribers per second, shares and losses are fractions
//! (0.001 is 0.1 %), sizes are octets of the inner IP packet.

mod check;
mod criteria;
mod stage;

pub use criteria::Criteria;
pub use stage::{
    Churn, Direction, Extent, Flap, Hold, Load, Ramp, Rate, Search, Setups, Size, Stage, Teardown, Traffic, mean_octets,
};

use ipnet::IpNet;
use serde::Deserialize;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// What the test is called in its report.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// The device under test.
    pub gateway: Gateway,
    /// This side.
    pub generator: Generator,
    /// Who is emulated.
    pub subscribers: Subscribers,
    /// The mix that the size `imix` stands for: octets and weight.
    #[serde(default = "imix")]
    pub imix: Vec<(u16, u16)>,
    /// What is done, one after the other.
    pub stages: Vec<Stage>,
    /// What has to come out.
    #[serde(default)]
    pub criteria: Criteria,
}

/// The device under test.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gateway {
    /// Its outer address; the subscribers' are of the same family.
    pub address: IpAddr,
    /// Its IKE identity.
    pub identity: String,
}

/// Ports and packet cores.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generator {
    /// Arguments for DPDK's EAL.
    #[serde(default)]
    pub eal: Vec<String>,
    /// Packet buffers of 2 KiB for each packet core.
    #[serde(default = "buffers")]
    pub buffers: u32,
    /// What a packet core does when there is nothing to do.
    #[serde(default)]
    pub poll: Poll,
    /// The packet cores. Each has ports of its own and an equal part of the subscribers.
    pub cores: Vec<Core>,
}

/// What a packet core does when there is nothing to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Poll {
    /// It polls on, and takes times exactly.
    #[default]
    Busy,
    /// It sleeps for some 50 microseconds: for machines whose cores are shared.
    Idle,
}

/// A packet core.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Core {
    /// The processor core that it is pinned to.
    pub cpu: Option<usize>,
    /// The subscribers' side.
    pub access: Access,
    /// The side of the networks that the gateway serves; without it there is no traffic.
    pub network: Option<Network>,
}

/// The port on the subscribers' side. The generator is the router behind which the subscribers are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// Devargs, as for the gateway's ports.
    pub device: String,
    /// The generator's address on the link, over which the gateway routes `outer`.
    pub address: IpAddr,
    /// Next hop to the gateway, where that is not on the link.
    pub via: Option<IpAddr>,
    /// The subscribers' outer addresses: the first one has the first after the network's address, and so on.
    pub outer: IpNet,
    /// 802.1Q VLAN.
    pub vlan: Option<u16>,
}

/// The port on the network's side, where the generator is a host.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Devargs, as for the gateway's ports.
    pub device: String,
    /// The host's addresses, one of each family that is tested.
    pub addresses: Vec<IpAddr>,
    /// The gateway's addresses on the link, one of each family that is tested.
    pub via: Vec<IpAddr>,
    /// 802.1Q VLAN.
    pub vlan: Option<u16>,
}

/// The emulated subscribers. In texts `{n}` stands for the number of the subscriber, from 0.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscribers {
    /// How many.
    pub count: u32,
    /// Absent: L2TP in the clear.
    pub ike: Option<Ike>,
    /// PPP.
    pub ppp: Ppp,
    /// Which addresses they ask for inside; a subscriber is up when it has all of them.
    #[serde(default = "both_families")]
    pub inner: Vec<Family>,
    /// How long a subscriber waits before it tries again.
    #[serde(default = "retry", with = "humantime_serde")]
    pub retry: Duration,
}

/// Address family inside the softwire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4, by IPCP.
    Ipv4,
    /// IPv6, by IPV6CP and a router advertisement.
    Ipv6,
}

/// The subscribers in IKEv2.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ike {
    /// Identity, such as `s{n}@lab.example.net`.
    pub identity: String,
    /// Pre-shared key. Either this or `certificates`.
    pub psk: Option<String>,
    /// Certificates.
    pub certificates: Option<Certificates>,
    /// Offer ML-KEM-768 as an additional key exchange.
    #[serde(default)]
    pub mlkem: bool,
    /// IKE proposals, best first, in the gateway's words; where empty, the gateway's defaults.
    #[serde(default)]
    pub proposals: Vec<String>,
    /// ESP proposals, best first.
    #[serde(default)]
    pub esp_proposals: Vec<String>,
    /// Carry ESP in UDP though there is no NAT.
    #[serde(default)]
    pub force_encap: bool,
    /// Silence after which a subscriber asks whether the gateway is alive; absent: never.
    #[serde(default, with = "humantime_serde")]
    pub dpd: Option<Duration>,
}

/// Files that `softwire-capacity pki` makes, PEM. The subscribers' certificates are issued before the test begins, all over
/// one key, since to make a key for each would take longer than the test.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificates {
    /// Certificate of the authority that vouches for both sides.
    pub ca: PathBuf,
    /// Its key.
    pub ca_key: PathBuf,
    /// The subscribers' key.
    pub key: PathBuf,
}

/// The subscribers in PPP, by CHAP.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ppp {
    /// User name, such as `s{n}`.
    pub user: String,
    /// Secret.
    pub secret: String,
}

fn imix() -> Vec<(u16, u16)> {
    vec![(64, 7), (570, 4), (1390, 1)]
}

fn buffers() -> u32 {
    16383
}

fn both_families() -> Vec<Family> {
    vec![Family::Ipv4, Family::Ipv6]
}

fn retry() -> Duration {
    Duration::from_secs(1)
}

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The file.
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    /// It is not YAML, or not a profile.
    #[error("{0}: {1}")]
    Syntax(PathBuf, String),
    /// It cannot be run: one line for each reason.
    #[error("{file}: {text}", file = .0.display(), text = .1.join("\n"))]
    Refused(PathBuf, Vec<String>),
}

impl Profile {
    /// Reads a profile and checks it.
    pub fn load(path: &Path) -> Result<Self, ProfileError> {
        let text = std::fs::read_to_string(path).map_err(|e| ProfileError::File(path.to_owned(), e))?;
        let profile: Self = serde_saphyr::from_str(&text)
            .map_err(|e| ProfileError::Syntax(path.to_owned(), e.without_snippet().to_string()))?;
        let problems = profile.problems();
        if problems.is_empty() { Ok(profile) } else { Err(ProfileError::Refused(path.to_owned(), problems)) }
    }

    /// The sizes that follow each other when packets of `size` are sent.
    pub fn pattern(&self, size: Size) -> Vec<u16> {
        match size {
            Size::Octets(octets) => vec![octets],
            Size::Mix(_) => stage::interleave(&self.imix),
        }
    }

    /// Subscribers of packet core `core`: the first one's number, and how many.
    pub fn part(&self, core: usize) -> (u32, u32) {
        let (count, cores) = (u64::from(self.subscribers.count), self.generator.cores.len().max(1) as u64);
        let at = |n: u64| (count * n / cores) as u32;
        (at(core as u64), at(core as u64 + 1) - at(core as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_are_profiles() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles");
        let files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|f| f.unwrap().path()).collect();
        assert!(files.len() >= 4);
        for file in files {
            Profile::load(&file).unwrap_or_else(|e| panic!("{e}"));
        }
    }

    #[test]
    fn subscribers_are_shared_out() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles/memif.yaml");
        let mut profile = Profile::load(&file).unwrap();
        profile.subscribers.count = 7;
        assert_eq!([profile.part(0), profile.part(1)], [(0, 3), (3, 4)]);
    }
}

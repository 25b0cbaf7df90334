//! BFD: how fast paths are watched, and by which keys. What is watched says so itself, by a profile's name:
//! `bgp.neighbours[].bfd` and `mesh.bfd`.

use super::validate::Problems;
use super::values::Time;
use super::{Config, Secret};
use crate::liveness;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::time::Duration;

/// The shortest interval: the control plane looks at its rings every millisecond.
const SHORTEST: Duration = Duration::from_millis(10);
/// The longest one.
const LONGEST: Duration = Duration::from_secs(60);
/// Octets of the hash that a key is padded to (RFC 5880, section 6.7.4).
const KEY: usize = 20;

/// Bidirectional forwarding detection (RFC 5880). What is watched names a profile: `bgp.neighbours` and `mesh` by `bfd`.
///
/// ```yaml
/// bfd:
///   profiles:
///     - { name: fast, transmit_interval: 250ms, receive_interval: 250ms, detect_multiplier: 3 }
///     - { name: core, keys: [{ id: 1, secret: up-to-20-octets }] }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Bfd {
    /// Timing and keys, by name.
    pub profiles: Vec<Profile>,
}

/// Timing and keys of sessions.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "BfdProfile")]
pub struct Profile {
    /// Name, by which what is watched says that it is its own.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Time between our packets, if the peer can take as many (Desired Min TX Interval): 10ms to 60s.
    #[serde(default = "interval", with = "Time")]
    pub transmit_interval: Duration,
    /// Time between packets of the peer, at least (Required Min RX Interval): 10ms to 60s.
    #[serde(default = "interval", with = "Time")]
    pub receive_interval: Duration,
    /// Packets of ours in a row that the peer must miss.
    #[serde(default = "multiplier")]
    #[schemars(range(min = 1, max = 255))]
    pub detect_multiplier: u8,
    /// Keys for meticulous keyed SHA1 (RFC 5880, section 6.7.4): the first signs, all are believed. Without any there is no
    /// authentication.
    #[serde(default)]
    pub keys: Vec<Key>,
}

fn interval() -> Duration {
    Duration::from_millis(300)
}

fn multiplier() -> u8 {
    3
}

/// A key.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "BfdKey")]
pub struct Key {
    /// Auth Key ID, by which both ends know it.
    pub id: u8,
    /// The key, 1 to 20 octets.
    pub secret: Secret,
}

impl Bfd {
    /// A profile.
    pub fn profile(&self, name: &str) -> Option<&Profile> {
        self.profiles.iter().find(|p| p.name == name)
    }
}

pub(super) fn check(c: &Config, p: &mut Problems) {
    let mut names = HashSet::new();
    for (i, f) in c.bfd.profiles.iter().enumerate() {
        let path = format!("bfd.profiles[{i}]");
        if f.name.is_empty() || !names.insert(&f.name) {
            p.add(format!("{path}.name"), format!("\"{}\" is empty or taken by another profile", f.name));
        }
        for (key, value) in [("transmit_interval", f.transmit_interval), ("receive_interval", f.receive_interval)] {
            if !(SHORTEST..=LONGEST).contains(&value) {
                p.add(format!("{path}.{key}"), "between 10ms and 60s");
            }
        }
        if f.detect_multiplier == 0 {
            p.add(format!("{path}.detect_multiplier"), "between 1 and 255");
        }
        let mut ids = HashSet::new();
        for (j, key) in f.keys.iter().enumerate() {
            if !ids.insert(key.id) {
                p.add(format!("{path}.keys[{j}].id"), format!("{} is the id of another key", key.id));
            }
            if !(1..=KEY).contains(&key.secret.bytes().len()) {
                p.add(format!("{path}.keys[{j}].secret"), "1 to 20 octets (RFC 5880, section 6.7.4)");
            }
        }
    }
    let known = |p: &mut Problems, path: String, name: &str| {
        if c.bfd.profile(name).is_none() {
            p.add(path, format!("bfd.profiles has no \"{name}\""));
        }
    };
    if let Some(name) = &c.mesh.bfd {
        known(p, "mesh.bfd".to_owned(), name);
        if c.mesh.local.is_empty() {
            p.add("mesh.bfd", "there is no softwire to watch: mesh.local is empty");
        }
    }
    for (i, n) in c.bgp.iter().flat_map(|b| &b.neighbours).enumerate() {
        let Some(name) = &n.bfd else { continue };
        known(p, format!("bgp.neighbours[{i}].bfd"), name);
        if liveness::path(c, n).is_none() {
            p.add(format!("bgp.neighbours[{i}].bfd"), format!("no address of ours leads to {}", n.address));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
ports: [{ name: core, device: d, zone: public, addresses: ["2001:db8:f1::1/64"] }]
mesh: { local: ["2001:db8:f1::1"], bfd: fast }
bfd:
  profiles:
    - { name: fast, transmit_interval: 200ms, receive_interval: 100ms, detect_multiplier: 4, keys: [{ id: 1, secret: k }] }
    - { name: usual }
bgp:
  asn: 65000
  router_id: 1.1.1.1
  neighbours: [{ address: "2001:db8:f1::2", asn: 65000, bfd: usual }]
"#;

    #[test]
    fn profiles_have_defaults() {
        let c = Config::from_yaml("test.yaml", GOOD).unwrap_or_else(|e| panic!("{e}"));
        let usual = c.bfd.profile("usual").unwrap();
        let ms = Duration::from_millis;
        assert_eq!((usual.transmit_interval, usual.receive_interval, usual.detect_multiplier), (ms(300), ms(300), 3));
        let fast = c.bfd.profile("fast").unwrap();
        assert_eq!((fast.transmit_interval, fast.receive_interval, fast.detect_multiplier), (ms(200), ms(100), 4));
        assert!(!format!("{c:?}").contains("\"k\""));
    }

    #[test]
    fn what_bfd_must_not_be() {
        for (from, to, want) in [
            ("200ms", "9ms", "test.yaml:6: bfd.profiles[0].transmit_interval"),
            ("100ms", "61s", "test.yaml:6: bfd.profiles[0].receive_interval"),
            ("detect_multiplier: 4", "detect_multiplier: 0", "test.yaml:6: bfd.profiles[0].detect_multiplier"),
            ("secret: k", "secret: ''", "test.yaml:6: bfd.profiles[0].keys[0].secret"),
            ("secret: k", "secret: 123456789012345678901", "test.yaml:6: bfd.profiles[0].keys[0].secret"),
            ("secret: k", "secret: k }, { id: 1, secret: l", "test.yaml:6: bfd.profiles[0].keys[1].id"),
            ("name: usual", "name: fast", "test.yaml:7: bfd.profiles[1].name"),
            ("bfd: usual", "bfd: slow", "test.yaml:11: bgp.neighbours[0].bfd: bfd.profiles has no \"slow\""),
            ("f1::2\", asn", "f2::2\", asn", "test.yaml:11: bgp.neighbours[0].bfd: no address of ours leads to"),
            ("bfd: fast", "bfd: slow", "test.yaml:3: mesh.bfd"),
            ("detect_multiplier: 4", "detect_multiplyer: 4", "detect_multiplyer"),
        ] {
            assert!(GOOD.contains(from), "test is out of date: {from}");
            let e = Config::from_yaml("test.yaml", &GOOD.replacen(from, to, 1)).map(|_| ()).unwrap_err().to_string();
            assert!(e.contains(want), "{to}: {e}");
        }
    }
}

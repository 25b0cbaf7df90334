//! What makes a well-formed configuration wrong. The seed document's prohibitions are checks here, each
//! message naming its requirement: H33/H34 (anonymous), H36/H37 (PPP and tunnel authentication in the clear
//! on a public network), H46 (group pre-shared keys).

mod mesh;
mod policy;
mod service;

use super::aaa::Source;
use super::ike::PppPolicy;
use super::{Config, PeerAuth, Protection, protection};
use ::bgp::neighbour::RemoteAs;
use dataplane_api::Zone;
use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub(super) file: String,
    pub(super) line: Option<u64>,
    /// Path of the setting.
    pub path: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.is_empty() {
            write!(f, "{}", self.file)?;
            self.line.map_or(Ok(()), |line| write!(f, ":{line}"))?;
            f.write_str(": ")?;
        }
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl std::error::Error for Problem {}

impl Problem {
    /// At a setting, of a document that is not a file.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { file: String::new(), line: None, path: path.into(), message: message.into() }
    }
}

#[derive(Default)]
pub(super) struct Problems(Vec<Problem>);

impl From<Problems> for Vec<Problem> {
    fn from(problems: Problems) -> Self {
        problems.0
    }
}

impl Problems {
    pub(super) fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem::new(path, message));
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.0.iter().any(|problem| problem.path == path)
    }
}

pub(super) fn check(c: &Config) -> Vec<Problem> {
    let mut p = Problems::default();
    dataplane(c, &mut p);
    ports(c, &mut p);
    listeners(c, &mut p);
    ike(c, &mut p);
    super::ikev1::check(c, &mut p);
    mesh::mesh(c, &mut p);
    bgp(c, &mut p);
    super::bfd::check(c, &mut p);
    protection::check(c, &mut p);
    service::service(c, &mut p);
    super::aaa::check(c, &mut p);
    super::filter::check(c, &mut p);
    service::subscribers(c, &mut p);
    super::api::check(c, &mut p);
    p.0
}

fn dataplane(c: &Config, p: &mut Problems) {
    let d = &c.dataplane;
    if d.workers.is_empty() || d.workers.len() > dataplane_api::id::MAX_WORKERS {
        p.add("dataplane.workers", "between 1 and 16 cores");
    }
    if d.workers.iter().collect::<HashSet<_>>().len() != d.workers.len() {
        p.add("dataplane.workers", "a core is named twice: a polling worker owns its core");
    }
    if d.max_sessions == 0 || d.max_sessions > dataplane_api::id::SLOTS as usize {
        p.add("dataplane.max_sessions", "between 1 and 1048576");
    }
    if d.buffers < 1024 {
        p.add("dataplane.buffers", "at least 1024");
    }
}

fn ports(c: &Config, p: &mut Problems) {
    if c.ports.is_empty() {
        p.add("ports", "at least one port");
    }
    let mut names = HashSet::new();
    let mut addresses = HashSet::new();
    for (i, port) in c.ports.iter().enumerate() {
        let path = format!("ports[{i}]");
        if port.name.is_empty() || !names.insert(&port.name) {
            p.add(format!("{path}.name"), format!("\"{}\" is empty or taken by another port", port.name));
        }
        if !(1280..=9600).contains(&port.mtu) {
            p.add(format!("{path}.mtu"), format!("{} is outside 1280..9600", port.mtu));
        }
        if port.vlan.is_some_and(|v| v == 0 || v > 4094) {
            p.add(format!("{path}.vlan"), "a VLAN id is 1..4094");
        }
        for (j, a) in port.addresses.iter().enumerate() {
            if !addresses.insert(a.addr()) {
                p.add(format!("{path}.addresses[{j}]"), format!("{} stands on another port too", a.addr()));
            }
            if a.addr().is_multicast() || a.addr().is_unspecified() {
                p.add(format!("{path}.addresses[{j}]"), format!("{} is not a unicast address", a.addr()));
            }
        }
    }
    for (i, r) in c.routes.iter().enumerate() {
        let path = format!("routes[{i}]");
        if !c.ports.iter().any(|port| port.name == r.port) {
            p.add(format!("{path}.port"), format!("no port is named \"{}\"", r.port));
        }
        for (j, via) in r.via.iter().enumerate() {
            if via.is_ipv4() != r.to.addr().is_ipv4() {
                p.add(format!("{path}.via[{j}]"), format!("{via} is of another address family than {}", r.to));
            }
        }
    }
}

fn listeners(c: &Config, p: &mut Problems) {
    if c.listeners.is_empty() && c.mesh.local.is_empty() {
        p.add("listeners", "at least one listener, or mesh.local");
    }
    let mut seen = HashSet::new();
    for (i, l) in c.listeners.iter().enumerate() {
        let path = format!("listeners[{i}]");
        if !seen.insert(l.address) {
            p.add(format!("{path}.address"), format!("{} has a listener already", l.address));
        }
        let Some((_, port)) = c.port_of(l.address) else {
            p.add(format!("{path}.address"), format!("no port has the address {}", l.address));
            continue;
        };
        let clear = l.protection == Protection::None;
        if clear && port.zone == Zone::Public && !l.anonymous {
            p.add(
                format!("{path}.protection"),
                "PPP authentication must not cross a public network in the clear (H36): use protection: ipsec, \
                 put the port in the trusted zone, or make the listener anonymous",
            );
        }
        if clear && port.zone == Zone::Public && (c.l2tp.challenge || c.l2tp.secret.is_some()) {
            p.add(
                "l2tp.secret",
                format!(
                    "L2TP tunnel authentication must not cross a public network in the clear (H37), and listener \
                     \"{}\" does without IPsec",
                    l.name
                ),
            );
        }
        let shared = l.ikev1.as_ref().is_some_and(|v1| v1.shared_secret.is_some());
        if l.protection == Protection::Ipsec && c.ike.peers.is_empty() && !shared {
            p.add("ike.peers", format!("listener \"{}\" demands IPsec, but there is no IKE peer", l.name));
        }
    }
}

const WINDOW: &str = "64, 128, 256, 512, 1024, 2048 or 4096 packets (H21)";

fn is_window(packets: u16) -> bool {
    (64..=4096).contains(&packets) && packets.is_power_of_two()
}

/// Shortest time between rekeys that leaves room for retransmissions.
const LEAST_REKEY: Duration = Duration::from_secs(10);

fn ike(c: &Config, p: &mut Problems) {
    let k = &c.ike;
    if !k.peers.is_empty() && k.identity.is_none() {
        p.add("ike.identity", "our own IKE identity is missing");
    }
    if !is_window(k.replay_window) {
        p.add("ike.replay_window", WINDOW);
    }
    let mut names = HashSet::new();
    let mut ids = HashSet::new();
    for (i, peer) in k.peers.iter().enumerate() {
        let path = format!("ike.peers[{i}]");
        if !names.insert(&peer.name) {
            p.add(format!("{path}.name"), format!("\"{}\" is taken by another peer", peer.name));
        }
        // One AFBR may have several entries, each for another identity of ours; EAP shows itself in the first request.
        let own = peer.softwire.as_deref().and_then(|f| c.mesh.profile(f)).and_then(|f| f.identity.as_ref());
        let eap = peer.auth == PeerAuth::Eap;
        if !ids.insert((&peer.id, own, eap)) {
            p.add(format!("{path}.id"), format!("\"{}\" is the identity of another peer", peer.id));
        }
        match peer.auth {
            PeerAuth::Psk if peer.id.contains('*') => p.add(
                format!("{path}.id"),
                "a pre-shared key for a wildcard identity is a group key, which is forbidden (H46): give each peer \
                 its own, or use certificates",
            ),
            PeerAuth::Psk if peer.psk.as_ref().is_none_or(|s| s.bytes().is_empty()) => {
                p.add(format!("{path}.psk"), "auth: psk needs a pre-shared key")
            }
            PeerAuth::Certificate if peer.ca.is_none() => {
                p.add(format!("{path}.ca"), "auth: certificate needs trust anchors")
            }
            PeerAuth::Certificate if peer.strict_crl && peer.crl.is_empty() => p.add(
                format!("{path}.crl"),
                "strict_crl: true refuses every certificate without a revocation list, and none is named",
            ),
            PeerAuth::Eap if !c.aaa.order().contains(&Source::Radius) => {
                p.add(format!("{path}.auth"), "EAP takes a RADIUS server: aaa.servers has none that authenticates")
            }
            PeerAuth::Eap if peer.softwire.is_some() || peer.bgp => {
                p.add(format!("{path}.auth"), "an AFBR proves itself by a key or a certificate")
            }
            PeerAuth::Psk | PeerAuth::Certificate | PeerAuth::Eap => {}
        }
        if peer.ppp != PppPolicy::Demand && peer.auth != PeerAuth::Eap {
            p.add(format!("{path}.ppp"), "only EAP tells the user in IKE (H23)");
        }
        let local = peer.proves_us();
        if local == PeerAuth::Eap && peer.auth != PeerAuth::Eap {
            p.add(format!("{path}.local_auth"), "EAP proves us only to a peer that it proves, too (RFC 5998)");
        }
        if local == PeerAuth::Certificate && k.certificate.is_none() {
            p.add("ike.certificate", format!("peer \"{}\" expects a certificate of ours", peer.name));
        }
        if local == PeerAuth::Psk && peer.psk.is_none() {
            p.add(format!("{path}.psk"), "we are to authenticate by a pre-shared key, and there is none");
        }
    }
    let mut keys: Vec<(usize, &[u8])> =
        k.peers.iter().enumerate().filter_map(|(i, q)| q.psk.as_ref().map(|s| (i, s.bytes()))).collect();
    keys.sort_by_key(|&(_, s)| s);
    for pair in keys.windows(2) {
        if pair[0].1 == pair[1].1 {
            p.add(
                format!("ike.peers[{}].psk", pair[1].0),
                format!(
                    "the same pre-shared key as peer \"{}\": a group key is forbidden (H46)",
                    k.peers[pair[0].0].name
                ),
            );
        }
    }
}

fn bgp(c: &Config, p: &mut Problems) {
    let Some(b) = &c.bgp else { return };
    if b.asn == 0 {
        p.add("bgp.asn", "AS 0 belongs to nobody (RFC 7607)");
    }
    if b.router_id.is_unspecified() {
        p.add("bgp.router_id", "0.0.0.0 is no BGP Identifier (RFC 6286)");
    }
    if !(1..=64).contains(&b.max_paths) {
        p.add("bgp.max_paths", "between 1 and 64");
    }
    if !b.tunnels.is_empty() && c.mesh.local.is_empty() {
        p.add("bgp.tunnels", "there is no end to offer: mesh.local is empty");
    }
    for (i, t) in b.tunnels.iter().enumerate() {
        if b.tunnels[..i].iter().any(|other| other.color == t.color) {
            p.add(format!("bgp.tunnels[{i}].color"), "another tunnel has it, or none has one either");
        }
        if t.color.is_none() && !t.prefixes.is_empty() {
            p.add(format!("bgp.tunnels[{i}].prefixes"), "there is no color to ask for");
        }
    }
    let mut seen = HashSet::new();
    for (i, n) in b.neighbours.iter().enumerate() {
        let path = format!("bgp.neighbours[{i}]");
        if !seen.insert(n.address) {
            p.add(format!("{path}.address"), format!("{} is another neighbour", n.address));
        }
        if c.port_of(n.address).is_some() {
            p.add(format!("{path}.address"), format!("{} is ours", n.address));
        }
        if n.address.is_unspecified() {
            p.add(&path, "address is missing");
        }
        neighbour(c, b, n, n.address, &path, p);
    }
    policy::dynamic_neighbours(c, b, p);
    policy::policies(b, p);
    policy::caches(c, b, p);
}

// What holds for neighbours that are known and for those of a range.
fn neighbour(c: &Config, b: &super::Bgp, n: &super::bgp::Neighbour, remote: IpAddr, path: &str, p: &mut Problems) {
    if n.asn == RemoteAs::Exactly(0) {
        p.add(format!("{path}.asn"), "AS 0 belongs to nobody (RFC 7607)");
    }
    if matches!(n.hold_time, 1 | 2) {
        p.add(format!("{path}.hold_time"), "0, or at least 3 seconds (RFC 4271, section 4.2)");
    }
    if n.client && !n.asn.is_internal(b.asn) {
        p.add(format!("{path}.client"), "only an internal neighbour is a client (RFC 4456)");
    }
    if let Some(local) = n.local {
        if c.port_of(local).is_none() {
            p.add(format!("{path}.local"), format!("no port has the address {local}"));
        }
        if local.is_ipv4() != remote.is_ipv4() {
            p.add(format!("{path}.local"), format!("{local} is of another family than {remote}"));
        }
    }
    policy::neighbour(c, b, n, remote, path, p);
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, ConfigError};

    const GOOD: &str = r#"
ports:
  - { name: access, device: "net_null0", zone: public, addresses: [192.0.2.1/24] }
listeners:
  - { name: secure, address: 192.0.2.1 }
ike:
  identity: gw.example.net
  peers:
    - { name: alice, id: alice@example.net, auth: psk, psk: correct-horse }
pools: { ipv6: ["2001:db8:100::/48"] }
subscribers:
  - { user: alice, secret: wonderland }
"#;

    fn refused(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from), "test is out of date: {from}");
        match Config::from_yaml("test.yaml", &GOOD.replacen(from, to, 1)) {
            Ok(_) => panic!("accepted"),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn good_one_passes() {
        Config::from_yaml("test.yaml", GOOD).map(|_| ()).unwrap_or_else(|e| panic!("{e}"));
    }

    #[test]
    fn unknown_keys_carry_the_line() {
        let e = refused("identity:", "idendity:");
        assert!(e.contains("idendity") && e.contains("7"), "{e}");
        assert!(matches!(Config::from_yaml("x", ":"), Err(ConfigError::Syntax(..))));
    }

    #[test]
    fn group_keys_are_refused_with_path_and_line() {
        let e = refused("alice@example.net", "'*@example.net'");
        assert!(e.contains("test.yaml:9: ike.peers[0].id") && e.contains("H46"), "{e}");
        let e = refused("psk: correct-horse }", "psk: k }\n    - { name: bob, id: bob, auth: psk, psk: k }");
        assert!(e.contains("H46"), "{e}");
    }

    #[test]
    fn a_hash_is_one_of_crypt() {
        let digest = |n| ["x"; 86][..n].concat();
        let with = |hash: &str| GOOD.replacen("secret: wonderland", &format!("hash: '{hash}'"), 1);
        for good in [format!("$5$salt${}", digest(43)), format!("$6$rounds=9000$s-.t${}", digest(86))] {
            Config::from_yaml("x", &with(&good)).map(|_| ()).unwrap_or_else(|e| panic!("{good}: {e}"));
        }
        let long = format!("$6$salt${}", digest(43));
        let other = format!("$1$salt${}", digest(43));
        let more = format!("$5$salt${}$", digest(43));
        for bad in ["wonderland", "$6$salt$", &long, &other, &more, &format!("$5$${}", digest(43))] {
            let e = refused("secret: wonderland", &format!("hash: '{bad}'"));
            assert!(e.contains("test.yaml:12: subscribers[0].hash") && !e.contains(bad), "{e}");
        }
    }

    #[test]
    fn clear_ppp_on_a_public_listener_is_refused() {
        let e = refused("192.0.2.1 }", "192.0.2.1, protection: none }");
        assert!(e.contains("H36") && e.contains("test.yaml:5"), "{e}");
        let e = refused(
            "192.0.2.1 }",
            "192.0.2.1, protection: none, anonymous: true }\nl2tp: { secret: s, challenge: true }",
        );
        assert!(e.contains("H37"), "{e}");
        assert!(!e.contains("H36"), "{e}");
    }

    #[test]
    fn anonymous_must_be_written() {
        assert!(refused("pools:", "ppp: { authenticate: [] }\npools:").contains("H33"));
    }

    #[test]
    fn secrets_are_never_in_messages() {
        for e in [refused("psk, psk: correct-horse", "psk, psk: [correct-horse]"), refused("user: alice", "user: ''")] {
            assert!(!e.contains("wonderland") && !e.contains("correct-horse"), "{e}");
        }
    }

    #[test]
    fn strict_revocation_needs_a_list() {
        let e = refused("auth: psk, psk: correct-horse", "auth: certificate, ca: ca.pem, strict_crl: true");
        assert!(e.contains("ike.peers[0].crl"), "{e}");
        let e = refused("auth: psk, psk: correct-horse", "auth: certificate, ca: c, crl: [c], strict_crl: true");
        assert!(!e.contains("crl"), "{e}");
    }

    #[test]
    fn listener_needs_a_port_address() {
        assert!(refused("address: 192.0.2.1 }", "address: 192.0.2.9 }").contains("no port has"));
    }

    const MESH: &str = r#"
ports:
  - { name: core, device: "net_null0", zone: public, addresses: ["2001:db8:f1::1/64"] }
mesh:
  local: ["2001:db8:f1::1"]
  profiles: [{ name: secret }]
  afbrs: [{ name: east, address: "2001:db8:f2::1", prefixes: [10.2.0.0/16] }]
ike:
  identity: west
  peers: [{ name: east, id: east, auth: psk, psk: k, softwire: secret, address: "2001:db8:f2::1" }]
bgp: { asn: 65000, router_id: 1.1.1.1, neighbours: [{ address: "2001:db8:f2::1", asn: 65000, hold_time: 9 }] }
"#;

    fn accepted(text: &str) {
        Config::from_yaml("test.yaml", text).map(|_| ()).unwrap_or_else(|e| panic!("{e}"));
    }

    fn complaint(from: &str, to: &str) -> String {
        assert!(MESH.contains(from), "test is out of date: {from}");
        match Config::from_yaml("test.yaml", &MESH.replacen(from, to, 1)) {
            Ok(_) => panic!("accepted: {to}"),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn what_a_mesh_must_not_be() {
        accepted(MESH);
        accepted(&MESH.replace("local: [", "require_ipsec: true\n  local: ["));
        for (from, to, want) in [
            ("local: [\"2001:db8:f1::1\"]", "local: [\"2001:db8:f1::2\"]", "no port has the address"),
            ("local: [\"2001:db8:f1::1\"]", "local: [192.0.2.1]", "no address of the family"),
            ("local:", "hop_limit: 0\n  local:", "mesh.hop_limit"),
            ("local:", "dscp: 64\n  local:", "mesh.dscp"),
            ("[{ name: secret }]", "[{ name: secret }, { name: secret }]", "mesh.profiles[1].name"),
            ("address: \"2001:db8:f2::1\", prefixes", "address: \"2001:db8:f1::1\", prefixes", "is ours"),
            ("softwire: secret", "softwire: other", "mesh.profiles has no"),
            ("softwire: secret, ", "", "go together"),
            (", address: \"2001:db8:f2::1\" }]\nbgp", " }]\nbgp", "go together"),
            ("softwire: secret,", "bgp: true, color: 7,", "there is none"),
            ("{ name: secret }", "{ name: secret, replay_window: 65 }", "mesh.profiles[0].replay_window"),
            ("{ name: secret }", "{ name: secret, rekey: 1s }", "mesh.profiles[0].rekey"),
        ] {
            let e = complaint(from, to);
            assert!(e.contains(want) && e.contains("test.yaml:"), "{to}: {e}");
        }
        let second = |more: &str| {
            format!(
                "softwire: secret, address: \"2001:db8:f2::1\", bgp: true }}, {{ name: e2, id: e2, auth: psk, psk: k2, {more}"
            )
        };
        for (more, want) in [
            ("softwire: secret", "ike.peers[1].address: an entry before this one"),
            ("bgp: true", "ike.peers[1].bgp: another entry"),
        ] {
            let e = complaint("softwire: secret", &second(more));
            assert!(e.contains(want), "{e}");
        }
        let tunnel = MESH
            .replace("{ name: secret }", "{ name: secret, mode: tunnel }")
            .replace("softwire:", "bgp: true, softwire:");
        let e = Config::from_yaml("test.yaml", &tunnel).map(|_| ()).unwrap_err().to_string();
        assert!(e.contains("ike.peers[0].bgp: BGP needs a profile in transport mode"), "{e}");
        let lonely = MESH
            .replace("softwire: secret", "softwire: secret, bgp: true")
            .replace("neighbours: [{ address: \"2001:db8:f2::1\"", "neighbours: [{ address: \"2001:db8:f2::2\"");
        let e = Config::from_yaml("test.yaml", &lonely).map(|_| ()).unwrap_err().to_string();
        assert!(e.contains("ike.peers[0].bgp: no BGP neighbour"), "{e}");
        // M2: a protection that is demanded is not there in part.
        let clear = MESH.replace(", softwire: secret, address: \"2001:db8:f2::1\"", "");
        let clear = clear.replace("local: [", "require_ipsec: true\n  local: [");
        let e = Config::from_yaml("test.yaml", &clear).map(|_| ()).unwrap_err().to_string();
        assert!(e.contains("M2") && e.contains("mesh.afbrs[0].address"), "{e}");
    }

    #[test]
    fn what_bgp_must_not_be() {
        for (from, to, want) in [
            ("asn: 65000, router", "asn: 0, router", "bgp.asn"),
            ("1.1.1.1", "0.0.0.0", "bgp.router_id"),
            ("router_id", "max_paths: 0, router_id", "bgp.max_paths"),
            ("hold_time: 9", "hold_time: 2", "hold_time"),
            ("asn: 65000, hold", "asn: 0, hold", "bgp.neighbours[0].asn"),
            ("asn: 65000, hold", "asn: 65001, client: true, hold", "only an internal neighbour"),
            ("hold_time: 9", "local: 192.0.2.1", "of another family"),
            ("hold_time: 9", "local: \"2001:db8:f1::2\"", "no port has the address"),
            ("{ address: \"2001:db8:f2::1\", asn", "{ address: \"2001:db8:f1::1\", asn", "is ours"),
            ("hold_time: 9 }", "hold_time: 9 }, { address: \"2001:db8:f2::1\", asn: 65000 }", "is another neighbour"),
        ] {
            let e = complaint(from, to);
            assert!(e.contains(want) && e.contains("test.yaml:"), "{to}: {e}");
        }
        for (tunnels, want) in [
            ("[{ color: 7 }, { color: 7 }]", "bgp.tunnels[1].color"),
            ("[{ prefixes: [10.0.0.0/8] }]", "bgp.tunnels[0].prefixes"),
        ] {
            let e = complaint("router_id:", &format!("tunnels: {tunnels}, router_id:"));
            assert!(e.contains(want), "{e}");
        }
        let without = MESH.replace("router_id:", "tunnels: [{}], router_id:");
        accepted(&without);
    }
}

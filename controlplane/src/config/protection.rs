//! What is wrong with the protection of BGP: key chains that are none, and neighbours behind untrusted devices that are
//! protected in part only (M2, M7).

use super::Config;
use super::bgp::{Bgp, Neighbour, Trust};
use super::key_chain::KeyChain;
use super::policy::Filter;
use super::validate::Problems;
use dataplane_api::Zone;
use ipnet::IpNet;
use std::collections::HashSet;
use std::net::IpAddr;
use std::time::SystemTime;

/// Octets that the kernel takes.
const MAX_KEY: usize = tcp_options::MAX_KEY;

pub(super) fn check(c: &Config, p: &mut Problems) {
    let Some(b) = &c.bgp else { return };
    let mut names = HashSet::new();
    for (i, chain) in b.key_chains.iter().enumerate() {
        let path = format!("bgp.key_chains[{i}]");
        if chain.name.is_empty() || !names.insert(&chain.name) {
            p.add(format!("{path}.name"), format!("\"{}\" is empty or taken by another chain", chain.name));
        }
        keys(chain, &path, p);
    }
    let one_by_one = b.neighbours.iter().enumerate().map(|(i, n)| (format!("bgp.neighbours[{i}]"), n, n.address));
    let ranges = b.dynamic_neighbours.iter().enumerate().map(|(i, d)| {
        let path = format!("bgp.dynamic_neighbours[{i}].neighbour");
        (path, &d.neighbour, d.range.addr())
    });
    for (path, n, address) in one_by_one.chain(ranges) {
        for (key, name) in [("md5", &n.md5), ("tcp_ao", &n.tcp_ao)] {
            if let Some(name) = name
                && !names.contains(name)
            {
                p.add(format!("{path}.{key}"), format!("bgp.key_chains has no \"{name}\""));
            }
        }
        if n.md5.is_some() && n.tcp_ao.is_some() {
            p.add(format!("{path}.md5"), "either md5 or tcp_ao: a segment has one signature");
        }
        if n.ttl_security.is_some_and(|hops| !(1..=254).contains(&hops)) {
            p.add(format!("{path}.ttl_security"), "between 1 and 254 hops (RFC 5082)");
        }
        if n.trust == Trust::Untrusted {
            untrusted(c, b, n, address, &path, p);
        }
    }
    overlaps(b, p);
}

/// The kernel looks for keys by address: those of a TCP-AO range are demanded of, and taken for, everyone in it.
fn overlaps(b: &Bgp, p: &mut Problems) {
    for (i, d) in b.dynamic_neighbours.iter().enumerate() {
        let neighbours = b.neighbours.iter().map(|n| (IpNet::from(n.address), n));
        let ranges = b.dynamic_neighbours.iter().filter(|other| other.range != d.range);
        let inside = neighbours.chain(ranges.map(|d| (d.range, &d.neighbour))).filter(|(to, _)| d.range.contains(to));
        let clash = |n: &Neighbour| d.neighbour.tcp_ao.is_some() || d.neighbour.md5.is_some() && n.tcp_ao.is_some();
        for (to, _) in inside.filter(|(_, n)| clash(n)) {
            let why = format!(
                "{} has {to} in it: with tcp_ao, a range and what is in it cannot have keys of their own",
                d.range
            );
            p.add(format!("bgp.dynamic_neighbours[{i}].neighbour.tcp_ao"), why);
        }
    }
}

fn keys(chain: &KeyChain, path: &str, p: &mut Problems) {
    if chain.keys.is_empty() {
        p.add(format!("{path}.keys"), "at least one key");
    }
    let mut ids = HashSet::new();
    let mut starts: HashSet<Option<SystemTime>> = HashSet::new();
    for (j, k) in chain.keys.iter().enumerate() {
        let path = format!("{path}.keys[{j}]");
        if !ids.insert(k.id) {
            p.add(format!("{path}.id"), format!("{} is the id of another key", k.id));
        }
        if !starts.insert(k.start) {
            p.add(format!("{path}.start"), "another key starts at the same time: which one is in use?");
        }
        if !(1..=MAX_KEY).contains(&k.secret.bytes().len()) {
            p.add(format!("{path}.secret"), format!("between 1 and {MAX_KEY} octets"));
        }
        if k.end.is_some_and(|end| k.start.is_some_and(|start| end <= start)) {
            p.add(format!("{path}.end"), "not after its start");
        }
    }
}

/// M2: signalling, endpoints and data, or none of it. Each part that is missing is named.
fn untrusted(c: &Config, b: &Bgp, n: &Neighbour, address: IpAddr, path: &str, p: &mut Problems) {
    let why = format!("{address} is behind untrusted devices (M2)");
    if !signalling_protected(c, n) {
        p.add(
            format!("{path}.trust"),
            format!("{why}, but nothing protects its session: name a key chain in md5 or tcp_ao"),
        );
    }
    // RFC 5082 is for neighbours on the same link first of all; further away, hops are the operator's to know.
    if on_link(c, address) && n.ttl_security.is_none() {
        p.add(format!("{path}.trust"), format!("{why} on a link of ours: ttl_security is missing"));
    }
    // The SPD, which lets nobody but neighbours come near port 179, is for ports of the public zone.
    if let Some(port) = c.port_towards(address)
        && port.zone == Zone::Trusted
    {
        p.add(format!("{path}.trust"), format!("{why}, but port \"{}\" to it is in the trusted zone", port.name));
    }
    // Inside the AS routes are those of AFBRs that are trusted; what comes from outside is filtered.
    if !n.asn.is_internal(b.asn) && n.import == Some(Filter::Accept) {
        p.add(format!("{path}.import"), format!("{why}: its routes need a policy"));
    }
    // Softwires lead to AFBRs that internal neighbours name.
    if n.asn.is_internal(b.asn) && !c.mesh.local.is_empty() {
        if !c.mesh.strict {
            p.add("mesh.strict", format!("{why}: inner sources must be checked"));
        }
        let peer = c.ike.peers.iter().any(|q| q.softwire.is_some() && q.address == Some(address));
        if !c.mesh.require_ipsec && !peer {
            p.add(
                format!("{path}.trust"),
                format!(
                    "{why}, but data would cross them in the clear: set mesh.require_ipsec, or protect its softwire by an \
                     entry of ike.peers"
                ),
            );
        }
    }
}

/// Whether the session with a neighbour is authenticated, or not opened at all.
fn signalling_protected(c: &Config, n: &Neighbour) -> bool {
    n.key_chain().is_some() || c.carrier(n.address).is_some()
}

fn on_link(c: &Config, address: IpAddr) -> bool {
    c.ports.iter().flat_map(|port| &port.addresses).any(|net| net.contains(&address))
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    const GOOD: &str = r#"
ports:
  - { name: core, device: d, zone: public, addresses: ["2001:db8:f1::1/64"] }
  - { name: island, device: e, zone: trusted, addresses: [10.1.0.1/24] }
mesh: { local: ["2001:db8:f1::1"], strict: true, require_ipsec: true }
bgp:
  asn: 65000
  router_id: 1.1.1.1
  key_chains:
    - name: core
      keys:
        - { id: 1, secret: correct-horse-battery }
        - { id: 2, secret: staple-and-so-on, start: 2027-01-01T00:00:00Z, end: 2027-04-01T00:00:00Z }
  neighbours:
    - { address: "2001:db8:f1::ff", asn: 65000, md5: core, ttl_security: 1, trust: untrusted }
"#;

    fn refused(changes: &[(&str, &str)]) -> String {
        let text = changes.iter().fold(GOOD.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "test is out of date: {from}");
            text.replacen(from, to, 1)
        });
        match Config::from_yaml("test.yaml", &text) {
            Ok(_) => panic!("accepted: {changes:?}"),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn what_keys_must_not_be() {
        Config::from_yaml("test.yaml", GOOD).unwrap_or_else(|e| panic!("{e}"));
        let long = format!("secret: {}", "x".repeat(81));
        for (from, to, want) in [
            ("name: core\n", "name: ''\n", "test.yaml:10: bgp.key_chains[0].name"),
            ("name: core\n", "name: other\n", "test.yaml:15: bgp.neighbours[0].md5: bgp.key_chains has no \"core\""),
            ("id: 2", "id: 1", "test.yaml:13: bgp.key_chains[0].keys[1].id"),
            ("id: 2", "id: 256", "invalid u8 at line 13"),
            ("start: 2027-01-01T00:00:00Z, ", "", "test.yaml:13: bgp.key_chains[0].keys[1]"),
            ("start: 2027-01-01", "start: 2027-05-01", "test.yaml:13: bgp.key_chains[0].keys[1].end"),
            ("2027-01-01T00:00:00Z", "2027-01-01", "at line 13"),
            ("secret: correct-horse-battery", "secret: ''", "test.yaml:12: bgp.key_chains[0].keys[0].secret"),
            ("secret: correct-horse-battery", long.as_str(), "test.yaml:12: bgp.key_chains[0].keys[0].secret"),
            ("md5: core", "md5: core, tcp_ao: core", "either md5 or tcp_ao"),
            ("ttl_security: 1", "ttl_security: 255", "test.yaml:15: bgp.neighbours[0].ttl_security"),
            ("ttl_security: 1", "ttl_security: 0", "between 1 and 254"),
            ("trust: untrusted", "trust: perhaps", "at line 15"),
        ] {
            let e = refused(&[(from, to)]);
            assert!(e.contains(want) && !e.contains("horse") && !e.contains("staple"), "{to}: {e}");
        }
    }

    #[test]
    fn a_range_with_tcp_ao_has_nobody_else_in_it() {
        let range = |key: &str| {
            format!("  dynamic_neighbours: [{{ range: \"2001:db8:f1::/64\", neighbour: {{ asn: internal{key} }} }}]\n")
        };
        let with = |of_the_range: &str, of_the_neighbour: &str| {
            let text = format!("{GOOD}{}", range(of_the_range));
            let text = text.replace("md5: core, ttl_security: 1, trust: untrusted", of_the_neighbour);
            Config::from_yaml("test.yaml", &text).map(drop).map_err(|e| e.to_string())
        };
        for (range, neighbour) in [
            (", tcp_ao: core", "tcp_ao: core"),
            (", tcp_ao: core", "md5: core"),
            (", tcp_ao: core", "passive: true"),
            (", md5: core", "tcp_ao: core"),
        ] {
            let e = with(range, neighbour).unwrap_err();
            assert!(
                e.contains("bgp.dynamic_neighbours[0].neighbour.tcp_ao: 2001:db8:f1::/64 has 2001:db8:f1::ff"),
                "{e}"
            );
        }
        for (range, neighbour) in [("", "tcp_ao: core"), (", md5: core", "md5: core"), (", md5: core", "passive: true")]
        {
            with(range, neighbour).unwrap_or_else(|e| panic!("{range}, {neighbour}: {e}"));
        }
    }

    // M2: signalling, endpoints, data; each part by itself is refused, and its absence is named.
    #[test]
    fn an_untrusted_neighbour_is_not_protected_in_part() {
        for (changes, want) in [
            (
                &[("md5: core, ", "")][..],
                "bgp.neighbours[0].trust: 2001:db8:f1::ff is behind untrusted devices (M2), but nothing protects",
            ),
            (&[("ttl_security: 1, ", "")], "ttl_security is missing"),
            (&[("zone: public", "zone: trusted")], "port \"core\" to it is in the trusted zone"),
            (&[("strict: true", "strict: false")], "test.yaml:5: mesh.strict"),
            (&[("require_ipsec: true", "require_ipsec: false")], "data would cross them in the clear"),
            (&[("asn: 65000, md5", "asn: 65001, import: accept, md5")], "bgp.neighbours[0].import"),
        ] {
            let e = refused(changes);
            assert!(e.contains(want) && e.contains("(M2)") && e.contains("test.yaml:"), "{changes:?}: {e}");
            assert_eq!(e.lines().count(), 1, "{e}");
        }
        // All that is missing is named at once.
        let e = refused(&[
            ("md5: core, ttl_security: 1, ", ""),
            (", strict: true, require_ipsec: true", ", strict: false"),
        ]);
        assert_eq!(e.lines().count(), 4, "{e}");
    }

    #[test]
    fn what_protects_data_and_who_needs_it() {
        let peer = "{ name: e, id: e, auth: psk, psk: k, softwire: s, address: \"2001:db8:f1::ff\" }";
        let pad = GOOD.replace("bgp:\n", &format!("ike: {{ identity: w, peers: [{peer}] }}\nbgp:\n"));
        let pad = pad.replace("strict: true, require_ipsec: true", "strict: true, profiles: [{ name: s }]");
        // A CE is sent no softwires; one that is further away needs no TTL.
        let ce = GOOD
            .replace(", strict: true, require_ipsec: true", ", strict: false")
            .replace(", asn: 65000, md5", ", asn: 65001, md5");
        let far = GOOD.replace("2001:db8:f1::ff", "2001:db8:f9::ff").replace("ttl_security: 1, ", "");
        let trusted = GOOD.replace("md5: core, ttl_security: 1, trust: untrusted", "trust: trusted");
        for text in [pad, ce, far, trusted] {
            Config::from_yaml("test.yaml", &text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        }
    }
}

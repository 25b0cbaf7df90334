//! BGP policies, what neighbours say of routes, ranges of neighbours, RPKI caches.

use super::Problems;
use crate::config::bgp::{Bgp, Neighbour};
use crate::config::neighbour::Family;
use crate::config::policy::{Filter, Match, Policy, PrefixRange, Rov, Rule, Set, Then};
use crate::config::{Config, rtr::RtrCache};
use rustls_pki_types::ServerName;
use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

/// Most that an AS is put in front of a path.
const PREPEND: u8 = 16;

pub(super) fn neighbour(c: &Config, b: &Bgp, n: &Neighbour, remote: IpAddr, path: &str, p: &mut Problems) {
    let internal = n.asn.is_internal(b.asn);
    for (key, filter) in [("import", &n.import), ("export", &n.export)] {
        let Some(Filter::Policy(name)) = filter else { continue };
        match b.policies.get(name) {
            None => p.add(
                format!("{path}.{key}"),
                format!("accept, reject, or one of bgp.policies, which has no \"{name}\""),
            ),
            Some(policy) if key == "import" && policy.rules.iter().any(|r| r.set.next_hop_self) => p.add(
                format!("{path}.import"),
                format!("\"{name}\" sets next_hop_self, which would lead packets to ourselves: only for export"),
            ),
            Some(_) => {}
        }
    }
    if n.reject_invalid == Some(true) && b.rtr.is_empty() {
        p.add(format!("{path}.reject_invalid"), "nobody validates origins: bgp.rtr has no cache");
    }
    if let Some(families) = &n.families {
        if families.is_empty() || families.windows(2).any(|w| w[0] == w[1]) || families.len() > 2 {
            p.add(format!("{path}.families"), "ipv4, ipv6, or both");
        }
        let port = c.port_towards(remote).filter(|_| !internal && remote.is_ipv4());
        if families.contains(&Family::Ipv6) && port.is_some_and(|port| port.address(false).is_none()) {
            p.add(format!("{path}.families"), "IPv6 routes need a next hop: the port has no IPv6 address");
        }
    }
    if let Some(m) = &n.max_prefix {
        let path = format!("{path}.max_prefix");
        if m.limit == 0 {
            p.add(format!("{path}.limit"), "at least 1");
        }
        if !(1..=100).contains(&m.warning) {
            p.add(format!("{path}.warning"), "between 1 and 100 per cent");
        }
        if m.warning_only && m.restart.is_some() {
            p.add(format!("{path}.restart"), "with warning_only no session ends");
        }
    }
    if n.role.is_some() && internal {
        p.add(format!("{path}.role"), "roles are between ASes (RFC 9234)");
    }
    if n.strict_role && n.role.is_none() {
        p.add(format!("{path}.strict_role"), "we have no role to be answered");
    }
    if n.connect_retry < Duration::from_secs(1) {
        p.add(format!("{path}.connect_retry"), "at least 1s");
    }
}

pub(super) fn dynamic_neighbours(c: &Config, b: &Bgp, p: &mut Problems) {
    let mut seen = HashSet::new();
    for (i, d) in b.dynamic_neighbours.iter().enumerate() {
        let path = format!("bgp.dynamic_neighbours[{i}]");
        if d.range.trunc() != d.range {
            p.add(format!("{path}.range"), format!("{} has host bits: {}?", d.range, d.range.trunc()));
        }
        if !seen.insert(d.range) {
            p.add(format!("{path}.range"), format!("{} is another range", d.range));
        }
        if d.max == 0 {
            p.add(format!("{path}.max"), "at least 1");
        }
        let template = format!("{path}.neighbour");
        if !d.neighbour.address.is_unspecified() {
            p.add(format!("{template}.address"), "the range says which addresses");
        }
        if d.neighbour.bfd.is_some() {
            p.add(format!("{template}.bfd"), "BFD is for neighbours that are configured one by one");
        }
        super::neighbour(c, b, &d.neighbour, d.range.addr(), &template, p);
    }
}

pub(super) fn policies(b: &Bgp, p: &mut Problems) {
    for (name, list) in &b.prefix_lists {
        if list.is_empty() {
            p.add(format!("bgp.prefix_lists.{name}"), "an empty list matches nothing");
        }
        for (i, range) in list.iter().enumerate() {
            prefix_range(range, &format!("bgp.prefix_lists.{name}[{i}]"), p);
        }
    }
    for (name, policy) in &b.policies {
        let path = format!("bgp.policies.{name}");
        if name == "accept" || name == "reject" {
            p.add(&path, format!("\"{name}\" is what a neighbour says without a policy"));
        }
        rules(b, policy, &path, p);
    }
}

fn prefix_range(range: &PrefixRange, path: &str, p: &mut Problems) {
    if range.prefix.trunc() != range.prefix {
        p.add(path, format!("{} has host bits: {}?", range.prefix, range.prefix.trunc()));
    }
    let (own, most, lengths) = (range.prefix.prefix_len(), range.prefix.max_prefix_len(), range.lengths());
    if *lengths.start() < own || lengths.is_empty() || *lengths.end() > most {
        p.add(path, format!("no prefix within {} has such a length: {own} <= ge <= le <= {most}", range.prefix));
    }
}

fn rules(b: &Bgp, policy: &Policy, path: &str, p: &mut Problems) {
    for (i, rule) in policy.rules.iter().enumerate() {
        let path = format!("{path}.rules[{i}]");
        conditions(b, &rule.matches, &format!("{path}.match"), p);
        changes(&rule.set, &format!("{path}.set"), p);
        let idle = rule.set == Set::default();
        match rule.then {
            Then::Next if idle => p.add(format!("{path}.then"), "the rule changes nothing and decides nothing"),
            Then::Reject if !idle => p.add(format!("{path}.set"), "what is rejected is not changed"),
            _ => {}
        }
        let ends = |rule: &Rule| rule.matches == Match::default() && rule.then != Then::Next;
        if policy.rules.get(..i).is_some_and(|before| before.iter().any(ends)) {
            p.add(path, "never reached: a rule before it decides about every route");
        }
    }
}

fn conditions(b: &Bgp, m: &Match, path: &str, p: &mut Problems) {
    if let Some(name) = m.prefix_list.as_ref().filter(|name| !b.prefix_lists.contains_key(*name)) {
        p.add(format!("{path}.prefix_list"), format!("bgp.prefix_lists has no \"{name}\""));
    }
    for (key, asn) in [("as_path_contains", m.as_path_contains), ("origin_as", m.origin_as)] {
        if asn == Some(0) {
            p.add(format!("{path}.{key}"), "AS 0 belongs to nobody (RFC 7607)");
        }
    }
    if m.as_path_length.is_some_and(|l| l.max.is_some_and(|max| l.min > max)) {
        p.add(format!("{path}.as_path_length"), "min is more than max");
    }
    if m.rov.is_some_and(|rov| rov != Rov::NotFound) && b.rtr.is_empty() {
        p.add(format!("{path}.rov"), "nobody validates origins: bgp.rtr has no cache");
    }
    if let Some(net) = m.next_hop.filter(|net| net.trunc() != *net) {
        p.add(format!("{path}.next_hop"), format!("{net} has host bits: {}?", net.trunc()));
    }
}

fn changes(s: &Set, path: &str, p: &mut Problems) {
    if let Some(prepend) = s.prepend {
        if !(1..=PREPEND).contains(&prepend.times) {
            p.add(format!("{path}.prepend.times"), format!("between 1 and {PREPEND}"));
        }
        if prepend.asn == Some(0) {
            p.add(format!("{path}.prepend.asn"), "AS 0 belongs to nobody (RFC 7607)");
        }
    }
    if let Some(both) = s.add_communities.iter().find(|c| s.remove_communities.contains(c)) {
        p.add(format!("{path}.remove_communities"), format!("{} is added, too", String::from(*both)));
    }
}

pub(super) fn caches(c: &Config, b: &Bgp, p: &mut Problems) {
    let (mut names, mut remotes) = (HashSet::new(), HashSet::new());
    for (i, cache) in b.rtr.iter().enumerate() {
        let path = format!("bgp.rtr[{i}]");
        if cache.name.is_empty() || !names.insert(&cache.name) {
            p.add(format!("{path}.name"), format!("\"{}\" is empty or taken by another cache", cache.name));
        }
        if !remotes.insert(cache.remote()) {
            p.add(format!("{path}.address"), format!("{} is another cache", cache.remote()));
        }
        if cache.port == Some(0) {
            p.add(format!("{path}.port"), "between 1 and 65535");
        }
        if c.port_of(cache.address).is_some() {
            p.add(format!("{path}.address"), format!("{} is ours", cache.address));
        }
        if cache.local.is_some_and(|local| local.is_ipv4() != cache.address.is_ipv4()) {
            p.add(format!("{path}.local"), format!("of another family than {}", cache.address));
        }
        server_name(cache, &path, p);
    }
}

fn server_name(cache: &RtrCache, path: &str, p: &mut Problems) {
    let name = cache.tls.as_ref().and_then(|tls| tls.server_name.as_deref());
    if let Some(name) = name.filter(|name| ServerName::try_from(*name).is_err()) {
        p.add(format!("{path}.tls.server_name"), format!("\"{name}\" is no name of a host"));
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    const GOOD: &str = r#"
ports:
  - { name: core, device: a, zone: public, addresses: ["2001:db8:f1::1/64"] }
  - { name: island, device: b, zone: trusted, addresses: [10.1.0.1/24] }
mesh: { local: ["2001:db8:f1::1"] }
bgp:
  asn: 65000
  router_id: 1.1.1.1
  prefix_lists:
    customer: ["10.64.0.0/16 le 24", "2001:db8:64::/48"]
  policies:
    from-ce:
      rules:
        - { match: { as_path_contains: 65099 }, then: reject }
        - match: { as_path_length: { max: 4 }, community: 65001:10, color: 7, next_hop: 10.1.0.0/24, rov: valid }
          set: { local_pref: 200, med: none, add_communities: [65000:100, 65000:1:2], remove_communities: [no-export] }
          then: next
        - { match: { prefix_list: customer, origin_as: 65001 }, set: { color: 8 }, then: accept }
    to-ce:
      rules: [{ set: { med: 5, prepend: { times: 2 }, next_hop_self: true }, then: accept }]
  neighbours:
    - address: 10.1.0.2
      asn: 65001
      import: from-ce
      export: to-ce
      role: provider
      strict_role: true
      max_prefix: { limit: 100, restart: 5m }
      families: [ipv4]
      tunnels: false
      reject_invalid: false
    - { address: "2001:db8:f1::2", asn: internal, next_hop_self: true, connect_retry: 2s }
  dynamic_neighbours:
    - { range: 10.1.0.128/25, max: 4, neighbour: { asn: external, import: accept, export: reject } }
  rtr:
    - { name: one, address: 192.0.2.1 }
    - { name: two, address: 192.0.2.1, tls: { ca: ca.pem, server_name: rpki.example.net }, preference: 200 }
"#;

    fn complaint(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from), "test is out of date: {from}");
        match Config::from_yaml("test.yaml", &GOOD.replacen(from, to, 1)) {
            Ok(_) => panic!("accepted: {to}"),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn all_there_is_to_say() {
        let config = Config::from_yaml("test.yaml", GOOD).unwrap_or_else(|e| panic!("{e}"));
        let caches = &config.bgp.as_ref().unwrap().rtr;
        assert_eq!([caches[0].remote().port(), caches[1].remote().port()], [323, 324]);
    }

    #[test]
    fn what_policies_must_not_be() {
        for (from, to, want) in [
            (
                "10.64.0.0/16 le 24",
                "10.64.1.0/16 le 24",
                ":10: bgp.prefix_lists.customer[0]: 10.64.1.0/16 has host bits",
            ),
            ("10.64.0.0/16 le 24", "10.64.0.0/16 ge 24 le 20", ":10: bgp.prefix_lists.customer[0]: no prefix"),
            ("10.64.0.0/16 le 24", "10.64.0.0/16 le 33", ":10: bgp.prefix_lists.customer[0]: no prefix"),
            ("[\"10.64.0.0/16 le 24\", \"2001:db8:64::/48\"]", "[]", ":10: bgp.prefix_lists.customer: an empty"),
            ("prefix_list: customer", "prefix_list: custom", ":18: bgp.policies.from-ce.rules[2].match.prefix_list"),
            (
                "as_path_contains: 65099",
                "as_path_contains: 0",
                ":14: bgp.policies.from-ce.rules[0].match.as_path_contains",
            ),
            ("origin_as: 65001", "origin_as: 0", ":18: bgp.policies.from-ce.rules[2].match.origin_as"),
            ("{ max: 4 }", "{ min: 5, max: 4 }", ":15: bgp.policies.from-ce.rules[1].match.as_path_length"),
            ("next_hop: 10.1.0.0/24", "next_hop: 10.1.0.9/24", ":15: bgp.policies.from-ce.rules[1].match.next_hop"),
            ("[no-export]", "[65000:1:2]", ":16: bgp.policies.from-ce.rules[1].set.remove_communities"),
            ("times: 2", "times: 17", ":20: bgp.policies.to-ce.rules[0].set.prepend.times"),
            ("times: 2", "times: 2, asn: 0", ":20: bgp.policies.to-ce.rules[0].set.prepend.asn"),
            ("set: { color: 8 }, then: accept", "then: next", ":18: bgp.policies.from-ce.rules[2].then"),
            (
                "set: { color: 8 }, then: accept",
                "set: { color: 8 }, then: reject",
                ":18: bgp.policies.from-ce.rules[2].set",
            ),
            ("match: { as_path_contains: 65099 }, ", "", "bgp.policies.from-ce.rules[1]: never reached"),
            ("    to-ce:", "    accept:", "bgp.policies.accept"),
        ] {
            let e = complaint(from, to);
            assert!(e.contains(&format!("test.yaml{}", if want.starts_with(':') { want } else { ":" })), "{to}: {e}");
            assert!(e.contains(want.trim_start_matches(|c: char| c == ':' || c.is_ascii_digit()).trim()), "{to}: {e}");
        }
    }

    #[test]
    fn what_neighbours_must_not_say() {
        for (from, to, want) in [
            ("import: from-ce", "import: from", ":24: bgp.neighbours[0].import: accept, reject, or"),
            ("export: to-ce", "export: to", ":25: bgp.neighbours[0].export: accept, reject, or"),
            ("import: from-ce", "import: to-ce", ":24: bgp.neighbours[0].import: \"to-ce\" sets next_hop_self"),
            ("limit: 100", "limit: 0", ":28: bgp.neighbours[0].max_prefix.limit"),
            ("limit: 100", "limit: 100, warning: 0", ":28: bgp.neighbours[0].max_prefix.warning"),
            ("limit: 100", "limit: 100, warning_only: true", ":28: bgp.neighbours[0].max_prefix.restart"),
            ("[ipv4]", "[]", ":29: bgp.neighbours[0].families: ipv4, ipv6"),
            ("[ipv4]", "[ipv4, ipv4]", ":29: bgp.neighbours[0].families: ipv4, ipv6"),
            ("[ipv4]", "[ipv4, ipv6]", ":29: bgp.neighbours[0].families: IPv6 routes need a next hop"),
            ("      role: provider\n", "", ":26: bgp.neighbours[0].strict_role"),
            ("asn: internal", "asn: internal, role: peer", ":32: bgp.neighbours[1].role"),
            ("connect_retry: 2s", "connect_retry: 5ms", ":32: bgp.neighbours[1].connect_retry"),
            ("    - address: 10.1.0.2\n      asn", "    - asn", ":22: bgp.neighbours[0]: address is missing"),
            ("10.1.0.128/25", "10.1.0.129/25", ":34: bgp.dynamic_neighbours[0].range"),
            ("max: 4, nei", "max: 0, nei", ":34: bgp.dynamic_neighbours[0].max"),
            ("asn: external", "address: 10.1.0.200, asn: external", ":34: bgp.dynamic_neighbours[0].neighbour.address"),
            ("asn: external", "asn: external, bfd: x", ":34: bgp.dynamic_neighbours[0].neighbour.bfd"),
            ("asn: external", "asn: external, md5: x", ":34: bgp.dynamic_neighbours[0].neighbour.md5"),
            ("asn: external", "asn: external, client: true", ":34: bgp.dynamic_neighbours[0].neighbour.client"),
            ("import: accept", "import: nothing", ":34: bgp.dynamic_neighbours[0].neighbour.import"),
        ] {
            let e = complaint(from, to);
            assert!(e.contains(&format!("test.yaml{want}")), "{to}: {e}");
        }
        let twice = "    - { range: 10.1.0.128/25, neighbour: { asn: external } }\n  rtr:";
        assert!(complaint("  rtr:", twice).contains("bgp.dynamic_neighbours[1].range: 10.1.0.128/25 is another"));
    }

    #[test]
    fn what_caches_must_not_be() {
        for (from, to, want) in [
            ("name: two", "name: one", ":37: bgp.rtr[1].name"),
            ("tls: { ca: ca.pem, server_name: rpki.example.net }, ", "", ":37: bgp.rtr[1].address: 192.0.2.1:323"),
            ("address: 192.0.2.1 }", "address: 192.0.2.1, port: 0 }", ":36: bgp.rtr[0].port"),
            ("address: 192.0.2.1 }", "address: 10.1.0.1 }", ":36: bgp.rtr[0].address"),
            ("address: 192.0.2.1 }", "address: 192.0.2.1, local: \"::1\" }", ":36: bgp.rtr[0].local"),
            ("rpki.example.net", "rpki..net", ":37: bgp.rtr[1].tls.server_name"),
        ] {
            let e = complaint(from, to);
            assert!(e.contains(&format!("test.yaml{want}")), "{to}: {e}");
        }
        // Origin validation that nobody does is not asked for.
        let without = GOOD.split("  rtr:").next().unwrap();
        let e = Config::from_yaml("test.yaml", without).map(|_| ()).unwrap_err().to_string();
        assert!(e.contains("bgp.policies.from-ce.rules[1].match.rov: nobody validates"), "{e}");
        let e = Config::from_yaml("test.yaml", &without.replace("reject_invalid: false", "reject_invalid: true"));
        assert!(e.map(|_| ()).unwrap_err().to_string().contains("bgp.neighbours[0].reject_invalid"));
    }

    #[test]
    fn values_that_cannot_be_read_carry_the_line() {
        for (from, to, line, want) in [
            ("65001:10,", "65536:10,", "15", "a community"),
            ("med: none", "med: low", "16", "a number, or none"),
            ("10.64.0.0/16 le 24", "10.64.0.0/16-24", "10", "a prefix"),
            ("asn: internal", "asn: inside", "32", "no AS number, internal or external"),
            ("asn: internal", "asn: 4294967296", "32", "32 bits"),
            ("role: provider", "role: upstream", "26", "upstream"),
            ("rov: valid", "rov: good", "15", "good"),
            ("local_pref: 200", "localpref: 200", "16", "localpref"),
        ] {
            let e = complaint(from, to);
            assert!(e.contains(want) && e.contains(line), "{to}: {e}");
        }
    }
}

//! A CE by eBGP on the island's port, and what the neighbour's settings make of its routes.

use super::*;
use crate::rtr::{Timers, Update};
use bgp::attribute::Attributes;
use bgp::message::{Family, Role};
use bgp::rib::{Ineligible, Rov, Vrp};
use std::time::Duration;

const CE: &str = "10.1.0.2";
const ISLAND: &str = "10.64.1.0/24";

/// West, which waits for a CE with these settings; `more` is of BGP.
fn west(now: Instant, ce: &str, more: &str) -> Side {
    let yaml = format!(
        "ports:\n  - {{ name: core, device: d, zone: public, addresses: [\"{WEST}/64\"] }}\n\
         \x20 - {{ name: island, device: e, zone: trusted, addresses: [10.1.0.1/24] }}\n\
         routes: [{{ to: \"::/0\", via: [\"2001:db8:f1::ff\"], port: core }}]\n\
         mesh: {{ local: [\"{WEST}\"] }}\n\
         bgp:\n  asn: 65000\n  router_id: 1.1.1.1\n  special_endpoints: true\n  networks: [10.3.0.0/24]\n\
         \x20 tunnels: [{{ color: 100 }}]\n\
         \x20 prefix_lists: {{ customer: [\"10.64.0.0/16 le 24\"] }}\n\
         \x20 policies:\n    from-ce: {{ rules: [{{ match: {{ prefix_list: customer }}, set: {{ local_pref: 200 }}, then: accept }}] }}\n\
         \x20   to-ce: {{ rules: [{{ set: {{ med: 7 }}, then: accept }}] }}\n\
         \x20 neighbours:\n    - {{ address: \"{EAST}\", asn: internal, next_hop_self: true }}\n\
         {ce}{more}"
    );
    let config = Config::from_yaml("t", &yaml).unwrap_or_else(|e| panic!("{e}\n{yaml}"));
    Side { address: SocketAddr::new(ip("10.1.0.1"), 179), ..Side::of(now, &config, WEST) }
}

fn neighbour(settings: &str) -> String {
    format!("    - {{ address: {CE}, asn: 65001, passive: true{settings} }}\n")
}

/// The CE, which announces its islands and takes everything.
fn ce(now: Instant, settings: &str, networks: &str) -> Side {
    let yaml = format!(
        "ports: [{{ name: island, device: e, zone: trusted, addresses: [{CE}/24] }}]\n\
         mesh: {{ local: [{CE}] }}\n\
         bgp:\n  asn: 65001\n  router_id: 8.8.8.8\n  special_endpoints: true\n  networks: [{networks}]\n\
         \x20 neighbours: [{{ address: 10.1.0.1, asn: 65000, import: accept, export: accept{settings} }}]\n"
    );
    let config = Config::from_yaml("t", &yaml).unwrap_or_else(|e| panic!("{e}"));
    Side::of(now, &config, CE)
}

fn used(side: &Side, prefix: &str) -> Option<Attributes> {
    let route = side.routing.speaker.rib().route(&prefix.parse().unwrap())?;
    Some((**route.best().first()?.used()?).clone())
}

fn ineligible(side: &Side, prefix: &str) -> Option<Ineligible> {
    side.routing.speaker.rib().route(&prefix.parse().unwrap()).and_then(|r| r.paths()[0].ineligible())
}

fn pair(ce_settings: &str, settings: &str, more: &str) -> (Instant, Side, Side) {
    let mut now = Instant::now();
    let mut customer = ce(now, ce_settings, "10.64.1.0/24, 10.65.0.0/16");
    let mut west = west(now, &neighbour(settings), more);
    converge(&mut now, &mut customer, &mut west);
    (now, customer, west)
}

#[test]
fn rfc8212_nothing_passes_without_a_policy() {
    let (_, customer, west) = pair("", "", "");
    assert_eq!(ineligible(&west, ISLAND), Some(Ineligible::NoPolicy));
    assert!(learned(&west).is_empty() && used(&customer, "10.3.0.0/24").is_none());
}

#[test]
fn a_policy_says_what_passes_and_how() {
    let (_, customer, west) = pair("", ", import: from-ce, export: to-ce", "");
    assert_eq!(used(&west, ISLAND).unwrap().local_pref, Some(200));
    assert_eq!(ineligible(&west, "10.65.0.0/16"), Some(Ineligible::Policy));
    // Towards the CE our address on its link is the next hop, and tunnels are not spoken of.
    let route = used(&customer, "10.3.0.0/24").unwrap();
    assert_eq!((route.med, route.next_hop.address), (Some(7), ip("10.1.0.1")));
    assert!(route.tunnel_encap.is_none());
    let rows = learned(&west);
    assert_eq!((rows.len(), rows[0].next_hop, rows[0].egresses.len()), (1, Some(ip(CE)), 0));
}

#[test]
fn tunnels_pass_where_it_is_said() {
    let ours = ", import: accept, export: accept, tunnels: true";
    let offered = |theirs: &str| {
        let (_, customer, _) = pair(theirs, ours, "");
        let route = customer.routing.speaker.rib().route(&"10.3.0.0/24".parse().unwrap()).unwrap();
        // The tunnel ends in the core, which a CE does not reach.
        route.paths()[0].used().unwrap().tunnel_encap.is_some()
    };
    assert!(offered(", tunnels: true"));
    // The CE does not take what it has not asked for.
    assert!(!offered(""));
}

#[test]
fn a_ces_routes_reach_the_other_afbr_with_our_end_as_next_hop() {
    let (mut now, _customer, mut west) = pair("", ", import: from-ce, export: reject", "");
    west.conn = None;
    let mut east = Side::new(now, "2.2.2.2", EAST, WEST, "networks: [10.2.0.0/24],");
    // West is the one that connects, from its address in the core.
    west.address = SocketAddr::new(ip(WEST), 179);
    converge(&mut now, &mut west, &mut east);
    let rows = learned(&east);
    let island = rows.iter().find(|r| r.prefix == ISLAND).unwrap();
    assert_eq!((island.next_hop, &island.egresses), (Some(ip(WEST)), &vec![ip(WEST)]));
    assert!(rows.iter().all(|r| r.prefix != "10.65.0.0/16"));
}

fn state(side: &Side, now: Instant, address: &str) -> (String, String) {
    let all = side.routing.neighbours_info(now, &side.bgp);
    let n = all.into_iter().find(|n| n.address == ip(address)).unwrap();
    (n.state, n.last_down.unwrap_or_default())
}

#[test]
fn too_many_prefixes_end_the_session_or_are_warned_of() {
    let (now, _, west) = pair("", ", import: accept, max_prefix: { limit: 2 }", "");
    assert_eq!(state(&west, now, CE).0, "Established");
    let (now, _, west) = pair("", ", import: accept, max_prefix: { limit: 1, warning_only: true }", "");
    assert_eq!((state(&west, now, CE).0.as_str(), learned(&west).len()), ("Established", 2));
    let mut now = Instant::now();
    let mut customer = ce(now, "", "10.64.1.0/24, 10.65.0.0/16");
    let mut west = self::west(now, &neighbour(", import: accept, max_prefix: { limit: 1, restart: 5m }"), "");
    converge(&mut now, &mut customer, &mut west);
    let (state, last_down) = state(&west, now, CE);
    assert_ne!(state, "Established");
    assert!(last_down.to_lowercase().contains("prefix"), "{last_down}");
    assert!(learned(&west).is_empty());
    // It is let in again when the time has come.
    customer.conn = None;
    let closed = west.conn.take();
    assert!(closed.is_some());
    now += Duration::from_secs(299);
    west.routing.handle_timeout(now);
    let (to, from) = (west.address, SocketAddr::new(ip(CE), 40_001));
    assert!(west.routing.speaker.accepted(now, to, from).is_err());
    now += Duration::from_secs(2);
    west.routing.handle_timeout(now);
    assert!(west.routing.speaker.accepted(now, to, from).is_ok());
}

#[test]
fn roles_must_correspond() {
    let (now, _, west) =
        pair(", role: customer", ", import: accept, export: accept, role: provider, strict_role: true", "");
    assert_eq!(state(&west, now, CE).0, "Established");
    let view = west.routing.speaker.neighbours().find(|n| n.address == ip(CE)).unwrap();
    assert_eq!(view.peer_role, Some(Role::Customer));
    for (theirs, ours) in [(", role: peer", ", role: provider"), ("", ", role: provider, strict_role: true")] {
        let mut now = Instant::now();
        let (mut customer, mut west) = (ce(now, theirs, ISLAND), self::west(now, &neighbour(ours), ""));
        comes_to_rest(&mut now, &mut customer, &mut west);
        assert!(west.routing.neighbours_info(now, &west.bgp).iter().all(|n| n.established == 0), "{theirs}");
    }
}

#[test]
fn families_are_those_that_have_a_next_hop() {
    let families = |side: &Side, address: &str| {
        let n = side.routing.speaker.neighbours().find(|n| n.address == ip(address)).unwrap();
        n.config.families.keys().copied().collect::<Vec<_>>()
    };
    let now = Instant::now();
    let west = west(now, &neighbour(""), "");
    // The island's port has no IPv6 address; inside, the softwire's end is the next hop of both.
    assert_eq!(families(&west, CE), [Family::Ipv4Unicast]);
    assert_eq!(families(&west, EAST), Family::ALL);
}

#[test]
fn whoever_connects_from_a_range_is_a_neighbour() {
    let mut now = Instant::now();
    let range = "  dynamic_neighbours:\n    - { range: 10.1.0.0/29, max: 1, neighbour: { asn: external, import: from-ce, export: accept } }\n";
    let mut west = west(now, "", range);
    let mut customer = ce(now, "", ISLAND);
    converge(&mut now, &mut customer, &mut west);
    assert_eq!(used(&west, ISLAND).unwrap().local_pref, Some(200));
    assert!(used(&customer, "10.3.0.0/24").is_some());
    let accepted = |west: &mut Side, from: &str| {
        let to = west.address;
        west.routing.speaker.accepted(now, to, SocketAddr::new(ip(from), 40_000)).is_ok()
    };
    // There is room for one, and only in the range.
    assert!(!accepted(&mut west, "10.1.0.3") && !accepted(&mut west, "10.1.0.9"));
}

fn vrps(announced: &[(&str, u8, u32)]) -> Update {
    let vrp = |(prefix, max_length, asn): &(&str, u8, u32)| Vrp {
        prefix: prefix.parse().unwrap(),
        max_length: *max_length,
        asn: *asn,
    };
    let changes = announced.iter().map(|v| (true, vrp(v))).collect();
    Update { reset: true, changes, session: 1, serial: 1, timers: Timers::default() }
}

fn told(side: &mut Side, now: Instant, announced: &[(&str, u8, u32)]) {
    let change = side.routing.rtr.updated(now, 0, vrps(announced)).unwrap();
    side.routing.vrps(now, &change);
    side.pump(now);
}

const CACHE: &str = "  rtr: [{ name: one, address: 192.0.2.9 }]\n";

#[test]
fn invalid_routes_of_external_neighbours_are_rejected_as_the_cache_says() {
    let (now, _, mut west) = pair(", hold_time: 0", ", import: accept, hold_time: 0", CACHE);
    let routed = |side: &Side| learned(side).len();
    assert_eq!(routed(&west), 2);
    told(&mut west, now, &[("10.64.0.0/16", 24, 65009)]);
    assert_eq!((ineligible(&west, ISLAND), routed(&west)), (Some(Ineligible::Policy), 1));
    told(&mut west, now, &[("10.64.0.0/16", 24, 65009), ("10.64.1.0/24", 24, 65001)]);
    assert_eq!((ineligible(&west, ISLAND), routed(&west)), (None, 2));
    told(&mut west, now, &[("10.64.0.0/16", 24, 65009)]);
    assert_eq!(routed(&west), 1);
    // The cache falls silent, and its data expire: nothing is known, nothing is invalid.
    let change = west.routing.rtr.failed(0, "reset".to_owned());
    west.routing.vrps(now, &change);
    let at = west.routing.rtr.poll_timeout().unwrap();
    assert!(west.routing.poll_timeout().unwrap() <= at);
    west.routing.handle_timeout(at - Duration::from_secs(1));
    assert_eq!(ineligible(&west, ISLAND), Some(Ineligible::Policy));
    west.routing.handle_timeout(at);
    assert_eq!(ineligible(&west, ISLAND), None);
}

#[test]
fn an_operator_may_take_invalid_routes() {
    let (now, _, mut west) = pair("", ", import: accept, reject_invalid: false", CACHE);
    told(&mut west, now, &[("10.64.0.0/16", 24, 65009)]);
    let route = west.routing.speaker.rib().route(&ISLAND.parse().unwrap()).unwrap().paths()[0].clone();
    assert_eq!((route.rov(), route.ineligible()), (Rov::Invalid, None));
}

use super::*;
use crate::program::Output;
use dataplane_api::{Cipher, Integrity, WorkerId};
use std::num::NonZeroU32;
use std::time::Duration;

fn config(more: &str, peers: &str) -> Config {
    let yaml = format!(
        "ports: [{{ name: core, device: d, zone: public, addresses: [192.0.2.1/24, \"2001:db8:ff::1/64\"] }}]\n\
         mesh: {{ local: [192.0.2.1, \"2001:db8:ff::1\"], {more}\n\
           profiles: [{{ name: secret }}, {{ name: passive, start: respond }}, {{ name: gold, identity: gw-gold }},\n\
             {{ name: lazy, start: on_demand }}, {{ name: even, tfc: true }}],\n\
           afbrs: [{{ name: east, address: \"2001:db8:ff::9\", prefixes: [10.2.0.0/16] }}] }}\n\
         ike: {{ identity: gw, peers: [{peers}] }}\n"
    );
    Config::from_yaml("t", &yaml).unwrap_or_else(|e| panic!("{e}"))
}

const EAST: &str = "{ name: east, id: east, auth: psk, psk: k, softwire: secret, address: \"2001:db8:ff::9\" }";

fn ip(a: &str) -> IpAddr {
    a.parse().unwrap()
}

fn prefix(a: &str, len: u8) -> IpPrefix {
    IpPrefix::new(ip(a), len).unwrap()
}

fn to(endpoint: IpAddr) -> Egress {
    Egress { endpoint, color: None }
}

struct Bench {
    now: Instant,
    program: Program,
    mesh: Mesh,
}

impl Bench {
    fn new(more: &str, peers: &str) -> Self {
        let (now, mut program) = (Instant::now(), Program::new(2, 16));
        let mesh = Mesh::new(now, &config(more, peers), &mut program);
        Self { now, program, mesh }
    }

    fn ops(&mut self) -> Vec<SnapshotOp> {
        let all = std::iter::from_fn(|| self.program.poll());
        all.map(|o| if let Output::Snapshot(op) = o { op } else { panic!("{o:?}") }).collect()
    }

    /// The last softwire published.
    fn last(&mut self) -> Softwire {
        let set = |op| if let SnapshotOp::SoftwireSet(s) = op { Some(s) } else { None };
        self.ops().into_iter().rev().find_map(set).unwrap()
    }
}

fn peer(n: u32) -> PeerId {
    PeerId(NonZeroU32::new(n).unwrap())
}

/// AES-GCM on a worker.
fn sa(worker: u8) -> Sa {
    let suite = EspSuite::new(Cipher::AesGcm128, Integrity::None).unwrap();
    Sa { worker: WorkerId(worker), suite, encap: false, tfc: true }
}

#[test]
fn a_configured_afbr_gets_its_softwire_and_routes() {
    let mut b = Bench::new("", "");
    let ops = b.ops();
    let [SnapshotOp::SoftwireSet(s), SnapshotOp::RouteAdd(p, hops)] = &ops[..] else { panic!("{ops:?}") };
    assert_eq!((s.local, s.remote, s.mtu), (ip("2001:db8:ff::1"), ip("2001:db8:ff::9"), 1460));
    assert_eq!((s.protection, s.strict), (Protection::Clear, true));
    assert_eq!((*p, hops.as_slice()), (prefix("10.2.0.0", 16), &[NextHop::Softwire(s.id)][..]));
    assert_eq!(b.mesh.poll_timeout(), None);
}

#[test]
fn softwires_live_as_long_as_something_is_routed_into_them() {
    let mut b = Bench::new("", "");
    b.ops();
    let (p, west, north) = (prefix("10.3.0.0", 16), ip("2001:db8:ff::a"), ip("192.0.2.7"));
    assert!(b.mesh.route(b.now, p, [to(west), to(north)], &mut b.program));
    let ops = b.ops();
    let [SnapshotOp::SoftwireSet(w), SnapshotOp::SoftwireSet(n), SnapshotOp::RouteAdd(_, hops)] = &ops[..] else {
        panic!("{ops:?}")
    };
    assert_eq!((n.local, n.mtu), (ip("192.0.2.1"), 1480));
    assert_eq!(hops, &[NextHop::Softwire(w.id), NextHop::Softwire(n.id)]);
    // The route goes to one of them only: the other's softwire goes, after the route.
    assert!(b.mesh.route(b.now, p, [to(north)], &mut b.program));
    let ops = b.ops();
    assert!(matches!(&ops[..], [SnapshotOp::RouteAdd(..), SnapshotOp::SoftwireDel(id)] if *id == w.id), "{ops:?}");
    b.mesh.unroute(p, &mut b.program);
    let ops = b.ops();
    assert!(matches!(&ops[..], [SnapshotOp::RouteDel(_), SnapshotOp::SoftwireDel(id)] if *id == n.id), "{ops:?}");
    // The configured one stays, and numbers are used again.
    assert_eq!(b.mesh.softwires().count(), 1);
    b.mesh.route(b.now, p, [to(west)], &mut b.program);
    assert!([w.id, n.id].contains(&b.last().id));
}

#[test]
fn an_egress_that_cannot_be_reached_makes_the_prefix_unreachable() {
    let mut b = Bench::new("require_ipsec: true,", EAST);
    b.ops();
    assert!(!b.mesh.route(b.now, prefix("10.3.0.0", 16), [to(ip("2001:db8:ff::a"))], &mut b.program));
    let ops = b.ops();
    assert!(matches!(&ops[..], [SnapshotOp::RouteAdd(_, hops)] if hops == &[NextHop::Unreachable]), "{ops:?}");
}

#[test]
fn a_protected_softwire_passes_nothing_until_its_sa_is_up() {
    let mut b = Bench::new("", EAST);
    assert_eq!(b.last().protection, Protection::Esp(None));
    let want = Initiate { pad: "east".into(), local: ip("2001:db8:ff::1"), remote: ip("2001:db8:ff::9") };
    assert_eq!(b.mesh.poll_timeout(), Some(b.now));
    assert_eq!(b.mesh.due(b.now), std::slice::from_ref(&want));
    b.mesh.initiated("east", peer(5));
    assert_eq!(b.mesh.poll_timeout(), None);
    let sa = sa(1);
    // An SA from elsewhere does not count.
    b.mesh.protected("east", ip("2001:db8:ff::66"), peer(5), sa, &mut b.program);
    assert!(b.ops().is_empty());
    b.mesh.protected("east", ip("2001:db8:ff::9"), peer(5), sa, &mut b.program);
    let s = b.last();
    assert_eq!((s.protection, s.mtu), (Protection::Esp(Some((peer(5), WorkerId(1)))), 1426));
    // Another peer's end changes nothing; this one's does, and we try again, with growing pauses.
    b.mesh.unprotected(b.now, peer(6), &mut b.program);
    assert!(b.ops().is_empty());
    b.mesh.unprotected(b.now, peer(5), &mut b.program);
    assert_eq!(b.last().protection, Protection::Esp(None));
    let mut pauses = Vec::new();
    for n in 0..7 {
        let at = b.mesh.poll_timeout().unwrap();
        pauses.push((at - b.now).as_secs());
        b.now = at;
        assert_eq!(b.mesh.due(b.now), std::slice::from_ref(&want));
        b.mesh.initiated("east", peer(10 + n));
        b.mesh.unprotected(b.now, peer(10 + n), &mut b.program);
    }
    assert!(pauses.is_sorted() && pauses[0] == 2 && pauses[6] == 60, "{pauses:?}");
}

#[test]
fn the_lower_address_initiates_unless_told_otherwise() {
    let passive = EAST.replace("secret", "passive");
    assert_eq!(Bench::new("", &passive).mesh.poll_timeout(), None);
    let lower = EAST.replace("2001:db8:ff::9", "2001:db8:ff::");
    let mut b = Bench::new("", &lower);
    b.mesh.route(b.now, prefix("10.3.0.0", 16), [to(ip("2001:db8:ff::"))], &mut b.program);
    assert_eq!(b.mesh.due(b.now), []);
    assert_eq!(b.last().protection, Protection::Esp(None));
}

#[test]
fn a_path_mtu_is_believed_for_a_while() {
    let mut b = Bench::new("path_mtu_age: 10m,", "");
    let id = b.last().id;
    b.mesh.path_mtu(b.now, id, 1400, &mut b.program);
    let s = b.last();
    assert_eq!((s.path_mtu, s.mtu), (1400, 1360));
    b.mesh.path_mtu(b.now, id, 1450, &mut b.program);
    assert!(b.ops().is_empty(), "not news");
    let at = b.mesh.poll_timeout().unwrap();
    assert_eq!(at - b.now, Duration::from_secs(600));
    b.mesh.handle_timeout(at, &mut b.program);
    assert_eq!(b.last().mtu, 1460);
    assert_eq!(b.mesh.poll_timeout(), None);
}

/// The softwire that a route goes into, with its protection.
fn routed(b: &mut Bench, net: IpPrefix, color: Option<u32>) -> (SoftwireId, Option<String>) {
    let egress = Egress { endpoint: ip("2001:db8:ff::9"), color };
    assert!(b.mesh.route(b.now, net, [egress], &mut b.program));
    let hop = b.ops().into_iter().find_map(|op| match op {
        SnapshotOp::RouteAdd(p, hops) if p == net => Some(hops),
        _ => None,
    });
    let [NextHop::Softwire(id)] = hop.unwrap()[..] else { panic!() };
    let view = b.mesh.softwires().find(|v| v.softwire.id == id).unwrap();
    (id, view.pad.map(str::to_owned))
}

// M23: which SA protects a route is decided by its color and its prefix.
#[test]
fn color_and_prefix_choose_the_profile() {
    let entry = |name: &str, more: &str| {
        format!("{{ name: {name}, id: {name}, auth: psk, psk: {name}, address: \"2001:db8:ff::9\", {more} }}")
    };
    let gold = entry("gold", "softwire: gold, color: 100");
    let secret = entry("secret", "softwire: secret, prefixes: [10.7.0.0/16]");
    let peers = format!("{gold}, {secret}");
    let mut b = Bench::new("strict: false,", &peers);
    let strict: Vec<_> = b.mesh.softwires().map(|v| (v.pad.is_some(), v.softwire.strict)).collect();
    assert_eq!(
        strict,
        [(true, false), (true, false), (false, true)],
        "what is in the clear must not be beside the point"
    );
    let pad = |b: &mut Bench, net, color| routed(b, net, color).1;
    assert_eq!(pad(&mut b, prefix("10.3.0.0", 16), Some(100)).as_deref(), Some("gold"));
    assert_eq!(pad(&mut b, prefix("10.7.1.0", 24), Some(100)).as_deref(), Some("gold"), "the first that fits");
    assert_eq!(pad(&mut b, prefix("10.7.1.0", 24), None).as_deref(), Some("secret"));
    assert_eq!(pad(&mut b, prefix("10.0.0.0", 8), Some(200)), None);
    // Each is brought up by itself.
    let pads: Vec<_> = b.mesh.due(b.now).into_iter().map(|i| i.pad).collect();
    assert_eq!(pads, ["gold", "secret"]);
    b.mesh.protected("secret", ip("2001:db8:ff::9"), peer(3), sa(0), &mut b.program);
    let s = b.last();
    assert_eq!(s.protection, Protection::Esp(Some((peer(3), WorkerId(0)))));
    assert_eq!(s.id, routed(&mut b, prefix("10.7.2.0", 24), None).0);
    // Where everything must be protected there is no softwire for the rest.
    let mut b = Bench::new("require_ipsec: true,", &peers);
    b.ops();
    let egress = Egress { endpoint: ip("2001:db8:ff::9"), color: Some(7) };
    assert!(!b.mesh.route(b.now, prefix("10.0.0.0", 8), [egress], &mut b.program));
    assert_eq!(b.mesh.softwires().count(), 2);
}

#[test]
fn on_demand_waits_for_a_packet_and_does_not_hurry() {
    let mut b = Bench::new("", &EAST.replace("secret", "lazy"));
    let id = b.last().id;
    assert_eq!(b.mesh.poll_timeout(), None);
    b.mesh.wanted(b.now, SoftwireId(999));
    assert_eq!(b.mesh.poll_timeout(), None);
    b.mesh.wanted(b.now, id);
    assert_eq!(b.mesh.due(b.now).len(), 1);
    b.mesh.initiated("east", peer(1));
    b.mesh.wanted(b.now, id);
    assert_eq!(b.mesh.poll_timeout(), None, "on its way");
    b.mesh.unprotected(b.now, peer(1), &mut b.program);
    assert_eq!(b.mesh.poll_timeout(), None, "nobody asks");
    b.mesh.wanted(b.now, id);
    let pause = b.mesh.poll_timeout().unwrap() - b.now;
    assert!(pause >= Duration::from_secs(2), "{pause:?}");
}

#[test]
fn an_sa_that_carries_bgp_is_known_to_the_host_stack() {
    let yaml = "ports: [{ name: core, device: d, zone: public, addresses: [\"2001:db8:ff::1/64\"] }]\n\
                mesh: { local: [\"2001:db8:ff::1\"] }\n\
                ike: { identity: gw, peers: [{ name: rr, id: rr, auth: psk, psk: k, address: \"2001:db8:ff::9\", bgp: true }] }\n\
                bgp: { asn: 65000, router_id: 1.1.1.1, neighbours: [{ address: \"2001:db8:ff::9\", asn: 65000 }] }\n";
    let config = Config::from_yaml("t", yaml).unwrap_or_else(|e| panic!("{e}"));
    let (now, mut program) = (Instant::now(), Program::new(1, 16));
    let mesh = Mesh::new(now, &config, &mut program);
    let mut b = Bench { now, program, mesh };
    let want = Initiate { pad: "rr".into(), local: ip("2001:db8:ff::1"), remote: ip("2001:db8:ff::9") };
    assert_eq!(b.mesh.due(now), [want]);
    b.mesh.initiated("rr", peer(4));
    b.mesh.protected("rr", ip("2001:db8:ff::9"), peer(4), sa(0), &mut b.program);
    let known = |ops: &[SnapshotOp], want| {
        assert!(matches!(ops, [SnapshotOp::HostPeer(a, p)] if *a == ip("2001:db8:ff::9") && *p == want), "{ops:?}");
    };
    known(&b.ops(), Some((peer(4), WorkerId(0))));
    b.mesh.unprotected(now, peer(4), &mut b.program);
    known(&b.ops(), None);
    assert!(b.mesh.poll_timeout().is_some(), "again");
}

#[test]
fn packets_are_padded_where_the_profile_says_so_and_the_afbr_takes_it() {
    for (profile, takes, padded) in [("secret", true, false), ("even", true, true), ("even", false, false)] {
        let mut b = Bench::new("", &EAST.replace("secret", profile));
        assert!(!b.last().tfc);
        b.mesh.initiated("east", peer(5));
        let sa = Sa { tfc: takes, ..sa(1) };
        b.mesh.protected("east", ip("2001:db8:ff::9"), peer(5), sa, &mut b.program);
        assert_eq!(b.last().tfc, padded, "{profile}");
        b.mesh.unprotected(b.now, peer(5), &mut b.program);
        assert!(!b.last().tfc);
    }
}

impl Bench {
    fn configure(&mut self, more: &str, peers: &str, ended: &[PeerId]) -> (bool, Vec<SnapshotOp>) {
        let ended = ended.iter().copied().collect();
        let moved = self.mesh.configure(self.now, &config(more, peers), &ended, &mut self.program);
        self.mesh.settle(&mut self.program);
        (moved, self.ops())
    }

    /// East's softwires: number, whether it has an SA, what is shown of its guard.
    fn east(&self) -> Vec<(SoftwireId, bool, Option<String>)> {
        let up = |s: &Softwire| matches!(s.protection, Protection::Esp(Some(_)));
        let east = self.mesh.softwires().filter(|v| v.softwire.remote == ip("2001:db8:ff::9"));
        east.map(|v| (v.softwire.id, up(&v.softwire), v.pad.map(str::to_owned))).collect()
    }
}

#[test]
fn another_configuration_keeps_softwires_and_their_sas() {
    let mut b = Bench::new("", EAST);
    b.mesh.initiated("east", peer(1));
    b.mesh.protected("east", ip("2001:db8:ff::9"), peer(1), sa(1), &mut b.program);
    b.mesh.path_mtu(b.now, b.east()[0].0, 1400, &mut b.program);
    let (before, old) = (b.east(), b.last());
    assert!(before[0].1 && old.path_mtu == 1400);
    // Something else: the same number, SA and path MTU, and the route is not touched.
    let (moved, ops) = b.configure("hop_limit: 9, strict: false,", EAST, &[]);
    let [SnapshotOp::SoftwireSet(s)] = &ops[..] else { panic!("{ops:?}") };
    assert_eq!((moved, *s), (false, Softwire { hop_limit: 9, strict: false, ..old }));
    // A second entry in front of it: one more softwire, and routes move.
    let gold = "{ name: gold, id: gold, auth: psk, psk: g, softwire: gold, address: \"2001:db8:ff::9\", prefixes: [10.2.0.0/16] }";
    let (moved, ops) = b.configure("", &format!("{gold}, {EAST}"), &[]);
    let now = b.east();
    assert_eq!((moved, now.len(), &now[1], now[0].1), (true, 2, &before[0], false));
    let hop = [NextHop::Softwire(now[0].0)];
    assert!(ops.iter().any(|op| matches!(op, SnapshotOp::RouteAdd(p, h) if *p == prefix("10.2.0.0", 16) && *h == hop)));
    assert_eq!(b.mesh.due(b.now).len(), usize::from(ip("2001:db8:ff::1") < ip("2001:db8:ff::9")));
    // Its entry is gone, and the SA of the other has ended: numbers of what is gone are free after the routes have moved.
    let (moved, ops) = b.configure("", EAST, &[peer(1)]);
    assert_eq!((moved, b.east()), (true, vec![(before[0].0, false, Some("east".to_owned()))]));
    assert!(matches!(ops.last(), Some(SnapshotOp::SoftwireDel(id)) if *id == now[0].0), "{ops:?}");
    // No entry at all: in the clear, or not at all.
    let (_, ops) = b.configure("require_ipsec: false,", "", &[]);
    assert!(matches!(ops.first(), Some(SnapshotOp::SoftwireSet(s)) if s.protection == Protection::Clear), "{ops:?}");
    assert_eq!(b.mesh.due(b.now + LAST).len(), 0, "nobody is to be called any more");
}

const LAST: Duration = Duration::from_secs(600);

#[test]
fn what_is_provisioned_comes_and_goes() {
    let mut b = Bench::new("", "");
    b.ops();
    let other = |afbrs: &str| {
        let text = format!(
            "ports: [{{ name: core, device: d, zone: public, addresses: [192.0.2.1/24, \"2001:db8:ff::1/64\"] }}]\n\
             mesh: {{ local: [192.0.2.1, \"2001:db8:ff::1\"], afbrs: [{afbrs}] }}\n"
        );
        Config::from_yaml("t", &text).unwrap_or_else(|e| panic!("{e}"))
    };
    let north = "{ name: north, address: 192.0.2.7, prefixes: [10.2.0.0/16, 10.7.0.0/16] }";
    let none = HashSet::new();
    assert!(!b.mesh.configure(b.now, &other(north), &none, &mut b.program));
    b.mesh.settle(&mut b.program);
    let ops = b.ops();
    let remotes: Vec<_> = b.mesh.softwires().map(|v| v.softwire.remote).collect();
    assert_eq!((remotes, b.mesh.routes.len()), (vec![ip("192.0.2.7")], 2), "{ops:?}");
    assert!(ops.iter().any(|op| matches!(op, SnapshotOp::SoftwireDel(_))));
    // A route of somebody else's into it is let be.
    b.mesh.route(b.now, prefix("10.9.0.0", 16), [to(ip("192.0.2.7"))], &mut b.program);
    b.mesh.configure(b.now, &other(""), &none, &mut b.program);
    b.mesh.settle(&mut b.program);
    assert_eq!((b.mesh.softwires().count(), b.mesh.routes.len()), (1, 1));
    b.mesh.unroute(prefix("10.9.0.0", 16), &mut b.program);
    assert_eq!(b.mesh.softwires().count(), 0);
}

#[test]
fn what_there_is_no_end_for_is_unreachable_until_there_is_one() {
    let mut b = Bench::new("", "");
    b.ops();
    let mut none = config("", "");
    none.mesh.local.retain(IpAddr::is_ipv4);
    let ended = HashSet::new();
    assert!(b.mesh.configure(b.now, &none, &ended, &mut b.program));
    b.mesh.settle(&mut b.program);
    let ops = b.ops();
    assert!(
        matches!(&ops[..], [SnapshotOp::RouteAdd(_, h), SnapshotOp::SoftwireDel(_)] if h == &[NextHop::Unreachable])
    );
    assert!(b.mesh.configure(b.now, &config("", ""), &ended, &mut b.program));
    let ops = b.ops();
    assert!(
        matches!(&ops[..], [SnapshotOp::SoftwireSet(s), SnapshotOp::RouteAdd(_, h)] if h == &[NextHop::Softwire(s.id)])
    );
}

#[test]
fn what_is_routed_into_a_softwire_is_known_of_it() {
    let shown = |b: &Bench| -> Vec<(Option<String>, String)> {
        let pad = |v: &View<'_>| v.pad.map(str::to_owned);
        let all = b.mesh.softwires().flat_map(|v| v.prefixes.iter().map(move |p| (pad(&v), p.to_string())));
        let mut all: Vec<_> = all.collect();
        all.sort();
        all
    };
    let is = |all: &[(Option<&str>, &str)]| -> Vec<_> {
        all.iter().map(|(pad, p)| (pad.map(str::to_owned), (*p).to_owned())).collect()
    };
    let gold = |color: u32| {
        format!(
            "{{ name: gold, id: g, auth: psk, psk: g, address: \"2001:db8:ff::9\", softwire: gold, color: {color} }}"
        )
    };
    let mut b = Bench::new("", &gold(100));
    assert_eq!(shown(&b), is(&[(None, "10.2.0.0/16")]));
    routed(&mut b, prefix("10.3.0.0", 16), Some(100));
    routed(&mut b, prefix("10.4.0.0", 16), Some(100));
    // By two colors into both, and then by one.
    let both = [None, Some(100)].map(|color| Egress { endpoint: ip("2001:db8:ff::9"), color });
    b.mesh.route(b.now, prefix("10.1.0.0", 16), both, &mut b.program);
    b.ops();
    let two = [(None, "10.1.0.0/16"), (None, "10.2.0.0/16")];
    let three = ["10.1.0.0/16", "10.3.0.0/16", "10.4.0.0/16"].map(|p| (Some("gold"), p));
    assert_eq!(shown(&b), is(&[&two[..], &three].concat()));
    routed(&mut b, prefix("10.1.0.0", 16), Some(100));
    b.mesh.unroute(prefix("10.4.0.0", 16), &mut b.program);
    let before = is(&[two[1], three[0], three[1]]);
    assert_eq!(shown(&b), before);
    // Something else changes.
    assert!(!b.configure("hop_limit: 9,", &gold(100), &[]).0);
    assert_eq!(shown(&b), before);
    // Another color: who routes looks again.
    assert!(b.configure("", &gold(200), &[]).0);
    routed(&mut b, prefix("10.1.0.0", 16), Some(100));
    routed(&mut b, prefix("10.3.0.0", 16), Some(200));
    assert_eq!(shown(&b), is(&[two[0], two[1], three[1]]));
    ["10.1.0.0", "10.3.0.0"].iter().for_each(|p| b.mesh.unroute(prefix(p, 16), &mut b.program));
    assert_eq!(shown(&b), is(&[two[1]]));
}

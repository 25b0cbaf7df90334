mod ce;
mod reconfigure;
mod view;

use super::*;
use crate::northbound::{BgpRouteInfo, BgpSelect};
use crate::program::Output;
use bgp::attribute::ExtendedCommunity;
use bgp::fsm::State;
use bgp::rib::PathKind;
use bgp::speaker::ConnId;
use rand::SeedableRng;
use std::sync::Arc;

const WEST: &str = "2001:db8:f1::1";
const EAST: &str = "2001:db8:f2::1";

fn ip(a: &str) -> IpAddr {
    a.parse().unwrap()
}

/// A gateway in an IPv6 core with a neighbour on its link.
fn config(router_id: &str, own: &str, other: &str, more: &str) -> Config {
    let yaml = format!(
        "ports:\n  - {{ name: core, device: d, zone: public, addresses: [\"{own}/64\"] }}\n\
         \x20 - {{ name: island, device: e, zone: trusted, addresses: [10.1.0.1/24] }}\n\
         routes: [{{ to: \"::/0\", via: [\"2001:db8:f1::ff\"], port: core }}]\n\
         mesh: {{ local: [\"{own}\"] }}\n\
         bgp: {{ asn: 65000, router_id: {router_id}, {more} neighbours: [{{ address: \"{other}\", asn: 65000 }}] }}\n"
    );
    Config::from_yaml("t", &yaml).unwrap_or_else(|e| panic!("{e}"))
}

struct Side {
    address: SocketAddr,
    bgp: Bgp,
    routing: Routing,
    mesh: Mesh,
    program: Program,
    conn: Option<ConnId>,
}

impl Side {
    fn new(now: Instant, router_id: &str, own: &str, other: &str, more: &str) -> Self {
        Self::of(now, &config(router_id, own, other, more), own)
    }

    fn of(now: Instant, config: &Config, own: &str) -> Self {
        let mut program = Program::new(1, 16);
        let mesh = Mesh::new(now, config, &mut program);
        let rng = StdRng::seed_from_u64(own.len() as u64);
        let routing = Routing::new(now, config, config.bgp.as_ref().unwrap(), rng);
        Self {
            address: SocketAddr::new(ip(own), 179),
            bgp: config.bgp.clone().unwrap(),
            routing,
            mesh,
            program,
            conn: None,
        }
    }

    fn pump(&mut self, now: Instant) {
        self.routing.pump(now, &mut self.mesh, &mut self.program);
    }

    fn ops(&mut self) -> Vec<SnapshotOp> {
        let all = std::iter::from_fn(|| self.program.poll());
        all.map(|o| if let Output::Snapshot(op) = o { op } else { panic!("{o:?}") }).collect()
    }
}

/// Routes from others that are forwarded by.
fn learned(side: &Side) -> Vec<BgpRouteInfo> {
    let all = BgpSelect { family: None, prefix: None, after: None, limit: 100 };
    side.routing.routes_info(&all).routes.into_iter().filter(|r| r.next_hop.is_some()).collect()
}

/// Carries octets between two speakers until both are silent; the first connects.
fn converge(now: &mut Instant, a: &mut Side, b: &mut Side) {
    assert!(comes_to_rest(now, a, b), "the speakers do not come to rest");
}

/// The same; false when they go on.
fn comes_to_rest(now: &mut Instant, a: &mut Side, b: &mut Side) -> bool {
    for _ in 0..100 {
        let mut busy = false;
        for side in [&mut *a, &mut *b] {
            side.routing.speaker.handle_timeout(*now);
            side.pump(*now);
        }
        while let Some(action) = a.routing.poll_action() {
            if let Action::Connect { conn, .. } = action
                && a.conn.is_none()
            {
                let local = SocketAddr::new(a.address.ip(), 40_000);
                b.conn = b.routing.speaker.accepted(*now, b.address, local).ok();
                if b.conn.is_some() {
                    a.conn = Some(conn);
                    a.routing.speaker.connected(*now, conn, local);
                } else {
                    a.routing.speaker.connect_failed(*now, conn);
                }
                busy = true;
            }
        }
        // The other side's own attempts fail: one connection is enough.
        while let Some(action) = b.routing.poll_action() {
            if let Action::Connect { conn, .. } = action {
                b.routing.speaker.connect_failed(*now, conn);
            }
        }
        let (Some(ca), Some(cb)) = (a.conn, b.conn) else {
            *now += std::time::Duration::from_secs(1);
            continue;
        };
        while let Some(octets) = a.routing.speaker.poll_transmit(*now, ca) {
            b.routing.speaker.received(*now, cb, &octets);
            busy = true;
        }
        while let Some(octets) = b.routing.speaker.poll_transmit(*now, cb) {
            a.routing.speaker.received(*now, ca, &octets);
            busy = true;
        }
        a.pump(*now);
        b.pump(*now);
        if !busy {
            return true;
        }
    }
    false
}

#[test]
fn an_island_behind_an_afbr_is_reached_through_a_softwire_and_withdrawn() {
    let mut now = Instant::now();
    let mut west = Side::new(now, "1.1.1.1", WEST, EAST, "networks: [10.1.0.0/24],");
    let mut east = Side::new(now, "2.2.2.2", EAST, WEST, "networks: [10.2.0.0/24],");
    converge(&mut now, &mut west, &mut east);
    let ops = west.ops();
    let softwire = ops.iter().find_map(|op| if let SnapshotOp::SoftwireSet(s) = op { Some(*s) } else { None }).unwrap();
    assert_eq!((softwire.local, softwire.remote), (ip(WEST), ip(EAST)));
    let hop = NextHop::Softwire(softwire.id);
    let routed =
        |op: &SnapshotOp| matches!(op, SnapshotOp::RouteAdd(p, h) if p.to_string() == "10.2.0.0/24" && h == &[hop]);
    assert!(ops.iter().any(routed), "{ops:?}");
    let rows = learned(&west);
    assert_eq!((rows.len(), &rows[0].egresses), (1, &vec![ip(EAST)]));
    assert_eq!(west.routing.speaker.neighbours().next().unwrap().state, State::Established);
    // The session ends: so do route and softwire, in this order.
    let conn = west.conn.unwrap();
    west.routing.speaker.closed(now, conn);
    west.pump(now);
    let ops = west.ops();
    assert!(matches!(&ops[..], [SnapshotOp::RouteDel(_), SnapshotOp::SoftwireDel(_)]), "{ops:?}");
    assert!(learned(&west).is_empty());
}

#[test]
fn an_offered_tunnel_says_where_it_ends() {
    let mut now = Instant::now();
    let mut west = Side::new(now, "1.1.1.1", WEST, EAST, "special_endpoints: true,");
    let mut east = Side::new(now, "2.2.2.2", EAST, WEST, "networks: [10.2.0.0/24], tunnels: [{ color: 100 }],");
    converge(&mut now, &mut west, &mut east);
    let rows = learned(&west);
    assert_eq!((rows.len(), &rows[0].egresses), (1, &vec![ip(EAST)]));
}

/// What we originate for 10.1.0.0/24 with this tunnel.
fn offered(tunnel: &str) -> Attributes {
    let config = config("1.1.1.1", WEST, EAST, &format!("networks: [10.1.0.0/24], tunnels: [{{ {tunnel} }}],"));
    own(&config, config.bgp.as_ref().unwrap(), &"10.1.0.0/24".parse().unwrap())
}

#[test]
fn tunnels_of_rfc_5566_are_offered_only_where_it_is_said_and_passed_on_as_they_are() {
    let octets = |tunnel: &str| {
        let mut octets = Vec::new();
        offered(tunnel).tunnel_encap.unwrap().encode(&mut octets);
        octets
    };
    let types = |octets: &[u8]| {
        let (mut types, mut rest) = (Vec::new(), octets);
        while let [t0, t1, l0, l1, value @ ..] = rest {
            types.push(u16::from_be_bytes([*t0, *t1]));
            rest = &value[usize::from(u16::from_be_bytes([*l0, *l1]))..];
        }
        types
    };
    assert_eq!(types(&octets("color: 7")), [7]);
    assert_eq!(types(&octets("color: 7, rfc5566: transport")), [7, 5]);
    let old = octets("color: 7, rfc5566: tunnel");
    assert_eq!(types(&old), [7, 4]);
    let received = TunnelEncap::decode(&old, true).unwrap();
    let mut sent = Vec::new();
    received.encode(&mut sent);
    assert_eq!((sent, received.usable(ip(WEST)).len()), (old, 1));
}

#[test]
fn what_we_originate_asks_for_the_color_of_its_prefix() {
    let colors = |tunnel: &str| offered(tunnel).colors().collect::<Vec<_>>();
    assert_eq!(colors("color: 7, prefixes: [10.1.0.0/16]"), [7]);
    assert!(colors("color: 7, prefixes: [10.2.0.0/16]").is_empty());
    assert!(colors("color: 7").is_empty());
}

fn path(next_hop: &str, tunnels: &[(&str, Option<u32>, Option<u16>)], asks: Option<u32>) -> BestPath {
    let mut attributes = Attributes::new(BgpNextHop { address: ip(next_hop), link_local: None });
    for (endpoint, color, protocol) in tunnels {
        let tunnel = Tunnel {
            colors: color.iter().copied().collect(),
            protocols: protocol.iter().copied().collect(),
            ..Tunnel::to(ip(endpoint))
        };
        tunnel.offer(&mut attributes);
    }
    attributes.extended_communities.extend(asks.map(ExtendedCommunity::from_color));
    let next_hop = ip(next_hop);
    BestPath { next_hop, attributes: Arc::new(attributes), source: Source::Local, kind: PathKind::Internal }
}

#[test]
fn which_egress() {
    let (a, b) = ("2001:db8:f2::a", "2001:db8:f2::b");
    let to = |endpoint, color| Egress { endpoint: ip(endpoint), color };
    let of = |path: &BestPath, v4| egress(path, v4, |_| true);
    let both = [(a, Some(100), None), (b, Some(200), None)];
    // No offer: the next hop of the other family is the egress, one of its own family is none (RFC 5565).
    assert_eq!(of(&path(EAST, &[], None), true), [to(EAST, None)]);
    assert_eq!(of(&path(EAST, &[], Some(7)), true), [to(EAST, Some(7))]);
    assert_eq!(of(&path(EAST, &[], None), false), []);
    // An offer goes before it, whatever the next hop's family; the color asked for chooses (RFC 9012, section 8).
    assert_eq!(of(&path(EAST, &both, None), true), [to(a, None), to(b, None)]);
    assert_eq!(of(&path(EAST, &both, Some(200)), true), [to(b, Some(200))]);
    assert_eq!(of(&path("10.9.9.9", &both, Some(100)), true), [to(a, Some(100))]);
    // No tunnel of that color: the provisioned default.
    assert_eq!(of(&path(EAST, &both, Some(300)), true), [to(EAST, Some(300))]);
    // Other payloads must not be encapsulated (section 3.4.1).
    assert_eq!(of(&path(EAST, &[(a, None, Some(0x86dd))], None), true), [to(EAST, None)]);
    // Tunnels and next hops that cannot be reached are none (section 3.1).
    let beyond =
        |path: &BestPath, missing: &[&str]| egress(path, true, |end| !missing.contains(&end.to_string().as_str()));
    assert_eq!(beyond(&path(EAST, &both, None), &[a]), [to(b, None)]);
    assert_eq!(beyond(&path(EAST, &both, Some(100)), &[a]), [to(EAST, Some(100))]);
    assert_eq!(beyond(&path(EAST, &both, None), &[a, b, EAST]), []);
    assert_eq!(beyond(&path(EAST, &[], None), &[EAST]), []);
}

#[test]
fn a_next_hop_of_the_same_family_is_a_router_on_a_port() {
    let now = Instant::now();
    let mut west = Side::new(now, "1.1.1.1", WEST, EAST, "");
    let net: IpNet = "10.7.0.0/16".parse().unwrap();
    let best = |next_hop: &str| {
        let p = path(next_hop, &[], None);
        vec![BestPath { source: Source::Neighbour(bgp::neighbour::NeighbourId(1)), ..p }]
    };
    west.routing.route(now, net, &best("10.1.0.9"), &mut west.mesh, &mut west.program);
    let ops = west.ops();
    let want = [NextHop::Via(PortId(1), ip("10.1.0.9"))];
    assert!(matches!(&ops[..], [SnapshotOp::RouteAdd(_, hops)] if hops == &want), "{ops:?}");
    // It moves into the mesh, and back, and ends.
    west.routing.route(now, net, &best(EAST), &mut west.mesh, &mut west.program);
    let ops = west.ops();
    assert!(matches!(&ops[..], [SnapshotOp::SoftwireSet(_), SnapshotOp::RouteAdd(..)]), "{ops:?}");
    west.routing.route(now, net, &best("10.1.0.9"), &mut west.mesh, &mut west.program);
    let ops = west.ops();
    let add = ops.iter().rposition(|op| matches!(op, SnapshotOp::RouteAdd(_, hops) if hops == &want));
    let del = ops.iter().rposition(|op| matches!(op, SnapshotOp::RouteDel(_)));
    assert!(add > del, "{ops:?}");
    west.routing.route(now, net, &[], &mut west.mesh, &mut west.program);
    let ops = west.ops();
    assert!(matches!(&ops[..], [SnapshotOp::RouteDel(_)]), "{ops:?}");
}

#[test]
fn a_turn_carries_so_many_routes_and_no_more() {
    let mut now = Instant::now();
    let mut west = Side::new(now, "1.1.1.1", WEST, EAST, "");
    let nets: Vec<String> = (0..TURN + 500).map(|n| format!("10.{}.{}.0/24", n >> 8, n & 255)).collect();
    let mut east = Side::new(now, "2.2.2.2", EAST, WEST, &format!("networks: [{}],", nets.join(",")));
    while !east.routing.pump(now, &mut east.mesh, &mut east.program) {}
    converge(&mut now, &mut west, &mut east);
    assert!(west.routing.poll_timeout().is_some_and(|t| t <= now) || west.routing.programmed.len() == nets.len());
    while !west.routing.pump(now, &mut west.mesh, &mut west.program) {}
    assert!(west.routing.poll_timeout().is_none_or(|t| t > now));
    assert_eq!(west.routing.programmed.len(), nets.len());
    west.ops();
    // All of them again, in order, though the one to go on with has gone meanwhile.
    let prefixes = |ops: Vec<SnapshotOp>| -> Vec<String> {
        ops.iter()
            .filter_map(|op| if let SnapshotOp::RouteAdd(p, _) = op { Some(p.to_string()) } else { None })
            .collect()
    };
    west.routing.route_again();
    assert!(!west.routing.pump(now, &mut west.mesh, &mut west.program));
    assert_eq!(prefixes(west.ops()), nets[..TURN]);
    let gone: IpNet = nets[TURN].parse().unwrap();
    west.routing.route(now, gone, &[], &mut west.mesh, &mut west.program);
    assert!(west.routing.pump(now, &mut west.mesh, &mut west.program));
    assert_eq!(prefixes(west.ops()), nets[TURN + 1..]);
    // All of them go at once; one turn takes some of them back, the next ones the rest.
    west.routing.speaker.closed(now, west.conn.unwrap());
    assert!(!west.routing.pump(now, &mut west.mesh, &mut west.program));
    assert!(west.ops().len() <= TURN && west.routing.poll_timeout() == Some(now));
    assert!(west.routing.pump(now, &mut west.mesh, &mut west.program));
    assert!(west.routing.programmed.is_empty());
}

#[test]
fn a_dead_egress_makes_bgp_choose_again_and_is_remembered() {
    let mut now = Instant::now();
    let mut west = Side::new(now, "1.1.1.1", WEST, EAST, "networks: [10.1.0.0/24],");
    let mut east = Side::new(now, "2.2.2.2", EAST, WEST, "networks: [10.2.0.0/24],");
    converge(&mut now, &mut west, &mut east);
    west.ops();
    west.mesh.set_dead(ip(EAST), true, &mut west.program);
    west.routing.egress_changed(now, ip(EAST), false);
    west.pump(now);
    west.mesh.settle(&mut west.program);
    let ops = west.ops();
    assert!(matches!(&ops[..], [SnapshotOp::SoftwireSet(s), SnapshotOp::RouteDel(_)] if s.dead), "{ops:?}");
    // Alive: first the route, and only then is the softwire left to it.
    west.routing.egress_changed(now, ip(EAST), true);
    west.mesh.set_dead(ip(EAST), false, &mut west.program);
    west.pump(now);
    west.mesh.settle(&mut west.program);
    let ops = west.ops();
    assert!(matches!(&ops[..], [SnapshotOp::SoftwireSet(s), SnapshotOp::RouteAdd(..)] if !s.dead), "{ops:?}");
    // Dead, and nothing leads there any more: the softwire goes with the last thought of it.
    west.mesh.set_dead(ip(EAST), true, &mut west.program);
    west.routing.speaker.closed(now, west.conn.unwrap());
    west.pump(now);
    west.mesh.settle(&mut west.program);
    assert_eq!(west.mesh.softwires().count(), 1);
    assert!(west.mesh.bury(ip(EAST)));
    west.mesh.settle(&mut west.program);
    assert!(matches!(west.ops().last(), Some(SnapshotOp::SoftwireDel(_))));
}

#[test]
fn a_neighbour_that_cannot_be_protected_has_no_options_and_says_why() {
    let more = "key_chains: [{ name: core, keys: [{ id: 3, secret: correct-horse }] }],";
    let mut side = Side::new(Instant::now(), "1.1.1.1", WEST, EAST, more);
    let info = |side: &Side| side.routing.neighbours_info(Instant::now(), &side.bgp)[0].protection.clone();
    assert_eq!((info(&side).method, info(&side).key_id, info(&side).refused), ("none", None, None));

    let yaml = format!("{{ address: \"{EAST}\", asn: 65000, md5: core, ttl_security: 1 }}");
    let protected: crate::config::bgp::Neighbour = serde_saphyr::from_str(&yaml).unwrap();
    let full = config("1.1.1.1", WEST, EAST, more);
    let bgp = Bgp { neighbours: vec![protected], ..full.bgp.clone().unwrap() };
    side.routing = Routing::new(Instant::now(), &full, &bgp, StdRng::seed_from_u64(1));
    side.routing.keys.advance(std::time::SystemTime::now());
    let shown = info(&side);
    assert_eq!((shown.method, shown.key_chain.as_deref(), shown.key_id), ("md5", Some("core"), Some(3)));
    assert_eq!((shown.ttl_security, shown.warnings.len()), (Some(1), 0));
    let (peers, options) = side.routing.tcp_options(ip(EAST)).unwrap();
    assert_eq!(peers, ip(EAST).into());
    assert_eq!((options.md5_key.as_deref(), options.gtsm_hops), (Some("core"), Some(1)));
    side.routing.refused.insert(ip(EAST).into(), "no TCP-AO".into());
    assert!(side.routing.tcp_options(ip(EAST)).is_err());
    assert_eq!(info(&side).refused.as_deref(), Some("no TCP-AO"));
    // A stranger is the speaker's to refuse.
    assert!(side.routing.tcp_options(ip("2001:db8::9")).is_ok());
}

#[test]
fn a_neighbour_out_of_a_range_shows_what_is_wrong_with_the_key_of_the_range() {
    let more = "key_chains: [{ name: core, keys: [{ id: 3, secret: horse }] }],";
    let full = config("1.1.1.1", WEST, EAST, more);
    let yaml = "[{ range: \"2001:db8::/32\", neighbour: { asn: 65000, tcp_ao: core } }]";
    let ranges = serde_saphyr::from_str(yaml).unwrap();
    let bgp = Bgp { neighbours: Vec::new(), dynamic_neighbours: ranges, ..full.bgp.clone().unwrap() };
    let now = Instant::now();
    let mut routing = Routing::new(now, &full, &bgp, StdRng::seed_from_u64(1));
    routing.keys.advance(std::time::SystemTime::now());
    let address = |a: &str| SocketAddr::new(ip(a), 179);
    routing.speaker.accepted(now, address(WEST), address(EAST)).unwrap();
    let (peers, _) = routing.tcp_options(ip(EAST)).unwrap();
    let why = "no TCP-AO".to_owned();
    routing.refused.insert(peers, why.clone());
    let shown = routing.neighbours_info(now, &bgp)[0].protection.clone();
    assert_eq!((shown.method, shown.key_id, shown.refused), ("tcp_ao", Some(3), Some(why)));
    assert!(matches!(&shown.warnings[..], [a, b] if a.contains("12 octets") && b.contains("other neighbours")));
}

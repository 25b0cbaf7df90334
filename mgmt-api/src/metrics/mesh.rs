//! Metrics of BGP, of the mesh and of BFD. A family of series has an entry for each of the first thousand neighbours,
//! softwires or sessions; totals count them all.

use super::Labels;
use controlplane::northbound::{BfdInfo, BgpFamily, BgpMessagesInfo, BgpNeighbourInfo, MeshMetrics};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Most neighbours, and softwires, with series of their own.
const MAX_SERIES: usize = 1000;

type Gauges = Family<Labels, Gauge>;
type Counters = Family<Labels, Counter>;

pub(super) fn register(
    registry: &mut Registry,
    neighbours: &[BgpNeighbourInfo],
    mesh: &MeshMetrics,
    sessions: &[BfdInfo],
) {
    total(registry, "bgp_neighbours", "BGP neighbours", neighbours.len());
    let established = neighbours.iter().filter(|n| n.seconds.is_some()).count();
    total(registry, "bgp_established_neighbours", "BGP neighbours with an established session", established);
    total(registry, "bgp_attribute_sets", "Sets of path attributes that routes share", mesh.attribute_sets);
    let routes = gauges(registry, "bgp_routes", "Prefixes of the Loc-RIB");
    let paths = gauges(registry, "bgp_paths", "Paths of all Adj-RIBs-In and of our own");
    for of in &mesh.rib {
        let labels = vec![family(of.family)];
        set(&routes, &labels, of.routes as u64);
        set(&paths, &labels, of.paths as u64);
    }
    each_neighbour(registry, neighbours);
    each_softwire(registry, mesh);
    each_session(registry, sessions);
}

fn each_neighbour(registry: &mut Registry, neighbours: &[BgpNeighbourInfo]) {
    let state = gauges(
        registry,
        "bgp_neighbour_state",
        "State of the session: 1 idle, 2 connect, 3 active, 4 opensent, 5 openconfirm, 6 established",
    );
    let uptime = gauges(registry, "bgp_neighbour_uptime_seconds", "Seconds since the session is established");
    let flaps = counters(registry, "bgp_neighbour_flaps", "Established sessions that were lost");
    let received = gauges(registry, "bgp_received_prefixes", "Prefixes that a neighbour has announced");
    let accepted = gauges(registry, "bgp_accepted_prefixes", "Those of them that may be used");
    let advertised = gauges(registry, "bgp_advertised_prefixes", "Prefixes that a neighbour was sent");
    let messages = counters(registry, "bgp_messages", "Messages, by direction and type");
    for n in neighbours.iter().take(MAX_SERIES) {
        let me = label("neighbour", n.address.to_string());
        let labels = vec![me.clone()];
        set(&state, &labels, number(&n.state));
        set(&uptime, &labels, n.seconds.unwrap_or(0));
        flaps.get_or_create(&labels).inc_by(n.flaps);
        for f in &n.families {
            let labels = vec![me.clone(), family(f.family)];
            set(&received, &labels, f.received as u64);
            set(&accepted, &labels, f.accepted as u64);
            set(&advertised, &labels, f.advertised as u64);
        }
        for (direction, of) in [("in", &n.received), ("out", &n.sent)] {
            for (kind, count) in by_type(of) {
                let labels = vec![me.clone(), label("direction", direction), label("type", kind)];
                messages.get_or_create(&labels).inc_by(count);
            }
        }
    }
}

fn each_softwire(registry: &mut Registry, mesh: &MeshMetrics) {
    total(registry, "mesh_softwires", "Softwires to other AFBRs", mesh.softwires.len());
    let up = gauges(registry, "mesh_softwire_up", "Packets pass: it needs no SA, or has one");
    let packets_in = counters(registry, "mesh_received_packets", "Packets decapsulated");
    let octets_in = counters(registry, "mesh_received_octets", "Octets decapsulated");
    let packets_out = counters(registry, "mesh_sent_packets", "Packets encapsulated");
    let octets_out = counters(registry, "mesh_sent_octets", "Octets encapsulated");
    for s in mesh.softwires.iter().take(MAX_SERIES) {
        let labels = vec![label("softwire", s.id.to_string()), label("remote", s.remote.to_string())];
        set(&up, &labels, u64::from(s.up));
        let ([packets, octets], [sent_packets, sent_octets]) = (s.received, s.sent);
        packets_in.get_or_create(&labels).inc_by(packets);
        octets_in.get_or_create(&labels).inc_by(octets);
        packets_out.get_or_create(&labels).inc_by(sent_packets);
        octets_out.get_or_create(&labels).inc_by(sent_octets);
    }
}

fn each_session(registry: &mut Registry, sessions: &[BfdInfo]) {
    total(registry, "bfd_sessions", "BFD sessions", sessions.len());
    let up = gauges(registry, "bfd_session_up", "The path works in both directions");
    let downs = counters(registry, "bfd_session_downs", "How often a session that was up went down");
    for s in sessions.iter().take(MAX_SERIES) {
        let path = if s.multihop { "multihop" } else { "single_hop" };
        let labels =
            vec![label("local", s.local.to_string()), label("remote", s.remote.to_string()), label("path", path)];
        set(&up, &labels, u64::from(s.state == "up"));
        downs.get_or_create(&labels).inc_by(s.downs);
    }
}

fn total(registry: &mut Registry, name: &str, help: &str, value: usize) {
    let gauge: Gauge = Gauge::default();
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    registry.register(name, help, gauge);
}

fn gauges(registry: &mut Registry, name: &str, help: &str) -> Gauges {
    let family = Gauges::default();
    registry.register(name, help, family.clone());
    family
}

fn counters(registry: &mut Registry, name: &str, help: &str) -> Counters {
    let family = Counters::default();
    registry.register(name, help, family.clone());
    family
}

fn set(gauges: &Gauges, labels: &Labels, value: u64) {
    gauges.get_or_create(labels).set(i64::try_from(value).unwrap_or(i64::MAX));
}

fn label(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), value.into())
}

fn family(family: BgpFamily) -> (String, String) {
    label(
        "family",
        match family {
            BgpFamily::Ipv4 => "ipv4",
            BgpFamily::Ipv6 => "ipv6",
        },
    )
}

/// The state as bgpPeerState of BGP4-MIB numbers it (RFC 4273).
fn number(state: &str) -> u64 {
    let all = ["Idle", "Connect", "Active", "OpenSent", "OpenConfirm", "Established"];
    all.iter().position(|name| *name == state).map_or(0, |at| at as u64 + 1)
}

fn by_type(m: &BgpMessagesInfo) -> [(&'static str, u64); 5] {
    [
        ("open", m.open),
        ("update", m.update),
        ("notification", m.notification),
        ("keepalive", m.keepalive),
        ("route_refresh", m.route_refresh),
    ]
}

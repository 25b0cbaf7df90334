//! Another configuration while a session is up.

use super::*;

fn yaml(router: &str, bgp: &str) -> Config {
    let yaml = format!(
        "ports:\n  - {{ name: core, device: d, zone: public, addresses: [\"{WEST}/64\"] }}\n\
         \x20 - {{ name: island, device: e, zone: trusted, addresses: [10.1.0.1/24] }}\n\
         routes: [{{ to: \"::/0\", via: [\"{router}\"], port: core }}]\n\
         mesh: {{ local: [\"{WEST}\"] }}\n\
         bgp: {{ asn: 65000, router_id: 1.1.1.1, {bgp} }}\n"
    );
    Config::from_yaml("t", &yaml).unwrap_or_else(|e| panic!("{e}"))
}

const ROUTER: &str = "2001:db8:f1::ff";

fn neighbour(more: &str) -> String {
    format!("neighbours: [{{ address: \"{EAST}\", asn: 65000{more} }}]")
}

struct Lab {
    now: Instant,
    west: Side,
    east: Side,
    config: Config,
}

impl Lab {
    /// West hears IPv4 islands and an IPv6 network from east.
    fn new() -> Self {
        let mut now = Instant::now();
        let config = yaml(ROUTER, &neighbour(""));
        let mut west = Side::of(now, &config, WEST);
        let nets = "networks: [10.2.0.0/24, 10.3.0.0/24, \"2001:db8:77::/48\"],";
        let mut east = Side::new(now, "2.2.2.2", EAST, WEST, nets);
        converge(&mut now, &mut west, &mut east);
        assert_eq!(learned(&west).len(), 3);
        west.ops();
        Self { now, west, east, config }
    }

    fn take(&mut self, config: Config) -> Vec<SnapshotOp> {
        let bgp = config.bgp.as_ref().unwrap();
        self.west.routing.configure(self.now, Some(&self.config), &config, bgp);
        self.west.bgp = bgp.clone();
        self.config = config;
        converge(&mut self.now, &mut self.west, &mut self.east);
        self.west.ops()
    }

    fn sessions(&self) -> Vec<(State, u64)> {
        self.west.routing.speaker.neighbours().map(|n| (n.state, n.established)).collect()
    }
}

const UP: (State, u64) = (State::Established, 1);

#[test]
fn policies_and_networks_change_without_a_new_session() {
    let mut lab = Lab::new();
    let policy = "prefix_lists: { two: [10.2.0.0/24] }, policies: { p: { rules: [{ match: { prefix_list: two }, then: reject }], \
                  otherwise: accept } }, networks: [10.1.0.0/24],";
    let ops = lab.take(yaml(ROUTER, &format!("{policy} {}", neighbour(", import: p"))));
    let rows: Vec<_> = learned(&lab.west).into_iter().map(|r| r.prefix).collect();
    assert_eq!(rows, ["10.3.0.0/24", "2001:db8:77::/48"]);
    assert!(matches!(&ops[..], [SnapshotOp::RouteDel(p)] if p.to_string() == "10.2.0.0/24"), "{ops:?}");
    assert_eq!((lab.sessions(), learned(&lab.east).len()), (vec![UP], 1));
    // What it needs is there again without being asked for, and ours is taken back.
    let ops = lab.take(yaml(ROUTER, &neighbour("")));
    assert!(matches!(&ops[..], [SnapshotOp::RouteAdd(..)]), "{ops:?}");
    assert_eq!((lab.sessions(), learned(&lab.west).len(), learned(&lab.east).len()), (vec![UP], 3, 0));
    // The same once more is nothing.
    assert!(lab.take(yaml(ROUTER, &neighbour(", description: east"))).is_empty());
    assert_eq!(lab.sessions(), [UP]);
}

#[test]
fn another_router_is_the_next_hop_of_what_goes_there() {
    let mut lab = Lab::new();
    let other = "2001:db8:f1::fe";
    let ops = lab.take(yaml(other, &neighbour("")));
    let hops = [NextHop::Via(PortId(0), ip(other))];
    let six = |op: &&SnapshotOp| matches!(op, SnapshotOp::RouteAdd(p, h) if p.to_string() == "2001:db8:77::/48" && *h == hops);
    assert_eq!(ops.iter().filter(six).count(), 1, "{ops:?}");
    assert_eq!((lab.sessions(), learned(&lab.west).len()), (vec![UP], 3));
    // No way at all: what is behind it goes, though the session has not noticed yet.
    let mut none = yaml(other, &neighbour(""));
    none.routes.clear();
    let ops = lab.take(none);
    assert_eq!(
        (ops.iter().filter(|op| matches!(op, SnapshotOp::RouteDel(_))).count(), learned(&lab.west).len()),
        (3, 0)
    );
    assert_eq!(lab.sessions(), [UP]);
    lab.take(yaml(ROUTER, &neighbour("")));
    assert_eq!((lab.sessions(), learned(&lab.west).len()), (vec![UP], 3));
}

#[test]
fn a_neighbour_goes_comes_and_stays_disabled() {
    let mut lab = Lab::new();
    let none = yaml(ROUTER, "neighbours: []");
    lab.west.routing.configure(lab.now, Some(&lab.config), &none, none.bgp.as_ref().unwrap());
    lab.west.pump(lab.now);
    let ops = lab.west.ops();
    assert_eq!(ops.iter().filter(|op| matches!(op, SnapshotOp::RouteDel(_))).count(), 3, "{ops:?}");
    assert!(lab.sessions().is_empty() && learned(&lab.west).is_empty());
    // It is told why.
    let close = std::iter::from_fn(|| lab.west.routing.poll_action()).find_map(|a| match a {
        Action::Close(_, last) => Some(last),
        _ => None,
    });
    // With RFC 8538 it is told in a hard reset, since routes that are kept would stay.
    assert_eq!(close.unwrap()[18..23], [3, 6, 9, 6, 3], "Cease, Hard Reset: Cease, Peer De-configured");
    let (conn, now) = (lab.east.conn.take().unwrap(), lab.now);
    lab.east.routing.speaker.closed(now, conn);
    (lab.west.conn, lab.config) = (None, none);
    lab.take(yaml(ROUTER, &neighbour("")));
    assert_eq!(learned(&lab.west).len(), 3);
    let id = lab.west.routing.speaker.neighbour_at(ip(EAST)).unwrap();
    lab.west.routing.speaker.disable(lab.now, id, "maintenance");
    let config = yaml(ROUTER, &neighbour(", hold_time: 30"));
    lab.west.routing.configure(lab.now, Some(&lab.config), &config, config.bgp.as_ref().unwrap());
    let view = lab.west.routing.speaker.neighbour(id).unwrap();
    assert_eq!((view.config.enabled, view.config.hold_time), (false, 30));
}

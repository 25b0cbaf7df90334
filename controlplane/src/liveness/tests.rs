//! Gateways with BFD and BGP between them on a virtual clock: datagrams go from one's output to another's punt, BGP's
//! octets over connections of the test, and each node's table changes make up what its workers would do.

use crate::config::Config;
use crate::gateway::Gateway;
use crate::northbound::{BfdInfo, Query};
use crate::program::Output;
use crate::routing::{Action, Routing};
use bgp::fsm::State;
use bgp::speaker::ConnId;
use dataplane_api::{
    Counters, Inject, MacAddr, NextHop, PortId, PuntClass, PuntMeta, SnapshotOp, Softwire, SoftwireId,
};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

const WEST: &str = "2001:db8:f1::1";
const EAST: &str = "2001:db8:f1::2";
const THIRD: &str = "2001:db8:f1::3";
const SECOND: Duration = Duration::from_secs(1);
/// Three intervals of 200 ms, and a packet that may have left as late as 200 ms after the last.
const DETECTION: Duration = Duration::from_millis(650);

fn ip(a: &str) -> IpAddr {
    a.parse().unwrap()
}

struct Node {
    address: IpAddr,
    gateway: Gateway,
    alive: bool,
    routes: BTreeMap<String, Vec<NextHop>>,
    softwires: HashMap<SoftwireId, Softwire>,
}

impl Node {
    fn config(address: &str, yaml: &str) -> Config {
        let text = format!(
            "ports: [{{ name: core, device: d, zone: public, addresses: [\"{address}/64\"] }}]\n\
             mesh: {{ local: [\"{address}\"], bfd: fast, {yaml}"
        );
        Config::from_yaml("t", &text).unwrap_or_else(|e| panic!("{e}"))
    }

    fn new(now: Instant, address: &str, yaml: &str) -> Self {
        let config = Arc::new(Self::config(address, yaml));
        let counters = vec![Arc::new(Counters::new(4, 4))];
        let seed = [address.as_bytes()[address.len() - 1]; 32];
        let gateway = Gateway::new(config, now, &[MacAddr::default()], counters, seed).unwrap();
        let (routes, softwires) = (BTreeMap::new(), HashMap::new());
        Self { address: ip(address), gateway, alive: true, routes, softwires }
    }

    fn apply(&mut self, op: SnapshotOp) {
        match op {
            SnapshotOp::RouteAdd(p, hops) => drop(self.routes.insert(p.to_string(), hops)),
            SnapshotOp::RouteDel(p) => drop(self.routes.remove(&p.to_string())),
            SnapshotOp::SoftwireSet(s) => drop(self.softwires.insert(s.id, s)),
            SnapshotOp::SoftwireDel(id) => drop(self.softwires.remove(&id)),
            _ => {}
        }
    }

    /// AFBRs that a prefix goes to, as the data plane chooses.
    fn egresses(&self, prefix: &str) -> Vec<IpAddr> {
        let all = self.routes.get(prefix).into_iter().flatten();
        let softwire = |hop: &NextHop| if let NextHop::Softwire(id) = hop { self.softwires.get(id) } else { None };
        let mut found: Vec<_> = all.filter_map(softwire).filter(|s| !s.dead).map(|s| s.remote).collect();
        found.sort_unstable();
        found
    }

    fn sessions(&mut self, now: Instant) -> Vec<BfdInfo> {
        let (tx, mut rx) = tokio::sync::oneshot::channel();
        self.gateway.handle_query(now, Query::Bfd(tx));
        rx.try_recv().unwrap()
    }
}

struct World {
    now: Instant,
    nodes: Vec<Node>,
    /// Both ends of each connection.
    conns: HashMap<(usize, ConnId), (usize, ConnId)>,
    /// Ports that BFD's packets came from and went to.
    seen: Vec<(u16, u16, u8)>,
}

impl World {
    fn new(nodes: &[(&str, String)]) -> Self {
        let now = Instant::now();
        let nodes = nodes.iter().map(|(address, yaml)| Node::new(now, address, yaml)).collect();
        Self { now, nodes, conns: HashMap::new(), seen: Vec::new() }
    }

    fn index(&self, address: IpAddr) -> Option<usize> {
        self.nodes.iter().position(|n| n.address == address && n.alive)
    }

    /// Until nobody has anything to say at this moment.
    fn settle(&mut self) {
        loop {
            let mut datagrams = VecDeque::new();
            for node in self.nodes.iter_mut().filter(|n| n.alive) {
                while let Some(output) = node.gateway.poll_output() {
                    match output {
                        Output::Snapshot(op) => node.apply(op),
                        Output::Inject(_, m) => datagrams.push_back(m),
                        Output::Op(..) => {}
                    }
                }
            }
            let mut busy = self.bgp();
            for m in datagrams {
                let Inject::Udp { src, dst, ttl, .. } = m.how else { panic!("{m:?}") };
                self.seen.push((src.port(), dst.port(), ttl));
                let meta = PuntMeta {
                    class: PuntClass::Bfd,
                    port: PortId(0),
                    peer: None,
                    spi: None,
                    session: None,
                    src,
                    dst,
                    ttl,
                };
                if let Some(to) = self.index(dst.ip()) {
                    busy = true;
                    self.nodes[to].gateway.handle_punt(self.now, &meta, &m.data);
                }
            }
            if !busy {
                return;
            }
        }
    }

    fn bgp(&mut self) -> bool {
        let now = self.now;
        let mut busy = false;
        for i in (0..self.nodes.len()).filter(|&i| self.nodes[i].alive).collect::<Vec<_>>() {
            while let Some(Some(action)) = self.nodes[i].gateway.bgp(now, |r| r.poll_action()) {
                busy = true;
                match action {
                    Action::Connect { conn, remote, .. } => self.connect(i, conn, remote),
                    Action::Transmit(_) => {}
                    Action::Close(conn, last) => {
                        if let Some((j, other)) = self.conns.remove(&(i, conn)) {
                            self.conns.remove(&(j, other));
                            self.nodes[j].gateway.bgp(now, |r| {
                                r.speaker.received(now, other, &last);
                                r.speaker.closed(now, other);
                            });
                        }
                    }
                }
            }
        }
        for ((i, conn), (j, other)) in self.conns.clone() {
            if !self.nodes[i].alive || !self.nodes[j].alive {
                continue;
            }
            while let Some(octets) = self.nodes[i].gateway.bgp(now, |r| r.speaker.poll_transmit(now, conn)).flatten() {
                busy = true;
                self.nodes[j].gateway.bgp(now, |r| r.speaker.received(now, other, &octets));
            }
        }
        busy
    }

    fn connect(&mut self, from: usize, conn: ConnId, remote: SocketAddr) {
        let now = self.now;
        let local = SocketAddr::new(self.nodes[from].address, 40_000);
        let accepted = self.index(remote.ip()).and_then(|to| {
            let other = self.nodes[to].gateway.bgp(now, |r| r.speaker.accepted(now, remote, local))?.ok()?;
            Some((to, other))
        });
        match accepted {
            Some((to, other)) => {
                self.conns.insert((from, conn), (to, other));
                self.conns.insert((to, other), (from, conn));
                self.nodes[from].gateway.bgp(now, |r| r.speaker.connected(now, conn, local));
            }
            None => drop(self.nodes[from].gateway.bgp(now, |r| r.speaker.connect_failed(now, conn))),
        }
    }

    /// Runs for a time, or until `done`; gives how long that took.
    fn run(&mut self, time: Duration, mut done: impl FnMut(&Self) -> bool) -> Option<Duration> {
        let (start, end) = (self.now, self.now + time);
        loop {
            self.settle();
            if done(self) {
                return Some(self.now - start);
            }
            let alive = self.nodes.iter_mut().filter(|n| n.alive);
            match alive.filter_map(|n| n.gateway.poll_timeout()).min() {
                Some(t) if t <= end => self.now = self.now.max(t),
                _ => {
                    self.now = end;
                    return None;
                }
            }
            for node in self.nodes.iter_mut().filter(|n| n.alive) {
                if node.gateway.poll_timeout().is_some_and(|t| t <= self.now) {
                    node.gateway.handle_timeout(self.now);
                }
            }
        }
    }

    /// The process is gone; nobody is told.
    fn kill(&mut self, n: usize) {
        self.nodes[n].alive = false;
    }

    /// The process is back; the old connections are reset.
    fn restart(&mut self, n: usize, address: &str, yaml: &str) {
        self.nodes[n] = Node::new(self.now, address, yaml);
        let stale: Vec<_> = self.conns.iter().filter(|(a, b)| a.0 == n || b.0 == n).map(|(a, _)| *a).collect();
        for (i, conn) in stale {
            self.conns.remove(&(i, conn));
            if i != n {
                self.nodes[i].gateway.bgp(self.now, |r| r.speaker.closed(self.now, conn));
            }
        }
    }
}

const FAST: &str = "bfd: { profiles: [{ name: fast, transmit_interval: 200ms, receive_interval: 200ms }] }";

/// An AFBR with the same two neighbours as everybody, BFD for softwires, and for neighbours where `bfd` says so.
fn afbr(id: u8, networks: &str, neighbours: [&str; 2], bfd: &str) -> String {
    let [a, b] = neighbours.map(|n| format!("{{ address: \"{n}\", asn: 65000{bfd} }}"));
    format!(
        "}}\n{FAST}\nbgp: {{ asn: 65000, router_id: 1.1.1.{id}, networks: [{networks}], neighbours: [{a}, {b}] }}\n"
    )
}

const ISLAND: &str = "10.2.0.0/24";

fn three(bfd: &str) -> World {
    World::new(&[
        (WEST, afbr(1, "10.1.0.0/24", [EAST, THIRD], bfd)),
        (EAST, afbr(2, ISLAND, [WEST, THIRD], bfd)),
        (THIRD, afbr(3, ISLAND, [WEST, EAST], bfd)),
    ])
}

fn converged(w: &World) -> bool {
    w.nodes[0].egresses(ISLAND) == [ip(EAST), ip(THIRD)]
}

#[test]
fn a_dead_afbrs_routes_move_within_the_detection_time_and_come_back() {
    let mut w = three("");
    assert!(w.run(60 * SECOND, converged).is_some());
    w.run(10 * SECOND, |_| false);
    let sessions = w.nodes[0].sessions(w.now);
    assert!(sessions.iter().all(|s| s.multihop && s.softwire && !s.neighbour && s.state == "up"), "{sessions:?}");
    assert_eq!(sessions.len(), 2);
    assert!(w.seen.iter().all(|&(from, to, ttl)| from >= 49_152 && to == 4784 && ttl == 255));

    w.kill(1);
    let took = w.run(5 * SECOND, |w| w.nodes[0].egresses(ISLAND) == [ip(THIRD)]).unwrap();
    assert!(took <= DETECTION, "{took:?}");
    // BGP has been told too: the path is no candidate any more, and the session waits for the AFBR.
    let hops = w.nodes[0].routes[ISLAND].len();
    assert_eq!((hops, w.nodes[0].softwires.len()), (1, 2));
    let sessions = w.nodes[0].sessions(w.now);
    assert!(sessions.iter().any(|s| s.remote == ip(EAST) && s.failed && s.downs == 1), "{sessions:?}");

    let again = afbr(2, ISLAND, [WEST, THIRD], "");
    w.restart(1, EAST, &again);
    assert!(w.run(300 * SECOND, converged).is_some(), "{:?}", w.nodes[0].routes);
    assert!(w.nodes[0].sessions(w.now).iter().all(|s| !s.failed));
}

#[test]
fn the_last_egress_that_dies_leaves_its_routes_unusable_at_once() {
    let mut w = three("");
    assert!(w.run(60 * SECOND, converged).is_some());
    w.run(10 * SECOND, |_| false);
    w.kill(1);
    w.kill(2);
    let took = w.run(5 * SECOND, |w| w.nodes[0].egresses(ISLAND).is_empty()).unwrap();
    assert!(took <= DETECTION, "{took:?}");
}

#[test]
fn a_neighbours_session_ends_with_its_path() {
    let mut w = three(", bfd: fast");
    assert!(w.run(60 * SECOND, converged).is_some());
    w.run(10 * SECOND, |_| false);
    // One hop for the neighbours, and several for the softwires, which are between the same addresses.
    let mut sessions: Vec<_> =
        w.nodes[0].sessions(w.now).iter().map(|s| (s.remote, s.multihop, s.neighbour, s.softwire, s.state)).collect();
    sessions.sort_unstable();
    let want = [EAST, THIRD].map(ip).map(|a| [(a, false, true, false, "up"), (a, true, false, true, "up")]);
    assert_eq!(sessions, want.concat());
    w.kill(1);
    let down = |w: &mut World| {
        let east = |r: &mut Routing| {
            let n = r.speaker.neighbours().find(|n| n.address == ip(EAST)).unwrap();
            (n.state != State::Established, n.last_down.map(|(_, why)| why.to_string()))
        };
        w.nodes[0].gateway.bgp(w.now, east).unwrap()
    };
    assert!(!down(&mut w).0);
    w.run(DETECTION, |_| false);
    let (gone, why) = down(&mut w);
    assert!(gone && why.as_deref().is_some_and(|why| why.to_lowercase().contains("bfd")), "{why:?}");
    assert_eq!(w.nodes[0].egresses(ISLAND), [ip(THIRD)]);
}

#[test]
fn one_session_serves_neighbour_and_softwire_of_one_path() {
    // The neighbour is beyond a router: both want the session over several hops.
    let yaml = format!(
        "}}\n{FAST}\nroutes: [{{ to: \"2001:db8:f2::/64\", via: [\"2001:db8:f1::ff\"], port: core }}]\n\
         bgp: {{ asn: 65000, router_id: 1.1.1.1, neighbours: [{{ address: \"2001:db8:f2::1\", asn: 65000, bfd: fast }}] }}\n"
    );
    let yaml = yaml.replacen('}', "afbrs: [{ name: far, address: \"2001:db8:f2::1\", prefixes: [10.9.0.0/16] }] }", 1);
    let mut w = World::new(&[(WEST, yaml)]);
    w.settle();
    let sessions = w.nodes[0].sessions(w.now);
    assert_eq!(sessions.len(), 1);
    assert!(sessions[0].multihop && sessions[0].neighbour && sessions[0].softwire, "{sessions:?}");
}

/// Two AFBRs that the configuration names; `keys` are the other's.
fn pair(bfd: bool, keys: &str) -> World {
    let afbr = |other: &str, bfd: &str, keys: &str| {
        let fast = FAST.replace("200ms }", &format!("200ms, keys: [{keys}] }}"));
        format!("{bfd} afbrs: [{{ name: other, address: \"{other}\", prefixes: [{ISLAND}] }}] }}\n{fast}\n")
    };
    let key = "{ id: 1, secret: one }";
    let mut w = World::new(&[(WEST, afbr(EAST, "", key)), (EAST, afbr(WEST, "", keys))]);
    if !bfd {
        w.kill(1);
    }
    w
}

#[test]
fn a_peer_without_bfd_or_with_another_key_holds_nothing_down() {
    for mut w in [pair(false, "{ id: 1, secret: one }"), pair(true, "{ id: 1, secret: other }"), pair(true, "")] {
        w.run(60 * SECOND, |_| false);
        assert_eq!(w.nodes[0].egresses(ISLAND), [ip(EAST)]);
        let sessions = w.nodes[0].sessions(w.now);
        assert_eq!((sessions.len(), sessions[0].state, sessions[0].failed), (1, "down", false));
    }
}

#[test]
fn an_operators_shutdown_says_nothing_about_the_path() {
    let mut w = pair(true, "{ id: 1, secret: one }");
    w.run(10 * SECOND, |_| false);
    assert!(w.nodes[0].sessions(w.now).iter().all(|s| s.state == "up" && s.authenticated));
    w.nodes[1].gateway.close_all(w.now);
    w.settle();
    w.kill(1);
    w.run(60 * SECOND, |_| false);
    let sessions = w.nodes[0].sessions(w.now);
    assert_eq!((sessions[0].state, sessions[0].failed, sessions[0].downs), ("down", false, 1));
    assert_eq!(w.nodes[0].egresses(ISLAND), [ip(EAST)]);
}

#[test]
fn a_configured_afbr_that_dies_is_dead_until_it_is_back() {
    let mut w = pair(true, "{ id: 1, secret: one }");
    w.run(10 * SECOND, |_| false);
    w.kill(1);
    let took = w.run(5 * SECOND, |w| w.nodes[0].egresses(ISLAND).is_empty()).unwrap();
    assert!(took <= DETECTION, "{took:?}");
    w.nodes[1].alive = true;
    assert!(w.run(10 * SECOND, |w| w.nodes[0].egresses(ISLAND) == [ip(EAST)]).is_some());
}

#[test]
fn the_spd_knows_the_sessions() {
    let yaml = afbr(1, "", [EAST, THIRD], ", bfd: fast");
    let text = format!(
        "ports: [{{ name: core, device: d, zone: public, addresses: [\"{WEST}/64\"] }}]\nmesh: {{ local: [\"{WEST}\"], bfd: fast {yaml}"
    );
    let config = Config::from_yaml("t", &text).unwrap_or_else(|e| panic!("{e}"));
    let rules: Vec<_> =
        crate::spd::build(&config).into_iter().filter(|n| n.name == "bfd").map(|n| n.rule.selector).collect();
    let remotes: Vec<_> = rules.iter().map(|s| (s.remote.unwrap().address(), s.local_port.first, s.protocol)).collect();
    assert_eq!(remotes, [(ip(EAST), 3784, 17), (ip(THIRD), 3784, 17)]);
    assert!(rules.iter().all(|s| s.local == Some(dataplane_api::IpPrefix::host(ip(WEST)))));
}

#[test]
fn other_intervals_and_keys_disturb_nothing() {
    let mut w = three(", bfd: fast");
    assert!(w.run(60 * SECOND, converged).is_some());
    w.run(10 * SECOND, |_| false);
    let neighbours = [(WEST, [EAST, THIRD]), (EAST, [WEST, THIRD]), (THIRD, [WEST, EAST])];
    let take = |w: &mut World, profile: &str| {
        for (n, (address, others)) in neighbours.into_iter().enumerate() {
            let networks = if n == 0 { "10.1.0.0/24" } else { ISLAND };
            let yaml = afbr(n as u8 + 1, networks, others, ", bfd: fast");
            let config = Node::config(address, &yaml.replace("transmit_interval: 200ms", profile));
            w.nodes[n].gateway.configure(w.now, config, false).unwrap();
        }
    };
    take(&mut w, "transmit_interval: 50ms, detect_multiplier: 5");
    assert!(w.run(10 * SECOND, |w| !converged(w)).is_none());
    let sessions = w.nodes[0].sessions(w.now);
    let row = |s: &BfdInfo| (s.state, s.downs, s.detect_multiplier, s.authenticated);
    assert_eq!(sessions.iter().map(row).collect::<Vec<_>>(), [("up", 0, 5, false); 4], "{sessions:?}");
    // Other keys make other sessions, and no path has failed meanwhile.
    take(&mut w, "keys: [{ id: 1, secret: k }], transmit_interval: 200ms");
    assert!(w.run(20 * SECOND, |w| !converged(w)).is_none());
    let sessions = w.nodes[0].sessions(w.now);
    assert_eq!(sessions.iter().map(row).collect::<Vec<_>>(), [("up", 0, 3, true); 4], "{sessions:?}");
    let established = |r: &mut Routing| r.speaker.neighbours().map(|n| (n.state, n.established)).collect::<Vec<_>>();
    let up = w.nodes[0].gateway.bgp(w.now, established).unwrap();
    assert_eq!(up, [(State::Established, 1); 2]);
}

#[test]
fn what_nobody_watches_any_more_holds_nothing_down() {
    let mut w = pair(true, "{ id: 1, secret: one }");
    w.run(10 * SECOND, |_| false);
    w.kill(1);
    assert!(w.run(5 * SECOND, |w| w.nodes[0].egresses(ISLAND).is_empty()).is_some());
    let afbr = format!("afbrs: [{{ name: other, address: \"{EAST}\", prefixes: [{ISLAND}] }}] }}\n{FAST}\n");
    let mut config = Node::config(WEST, &afbr);
    config.mesh.bfd = None;
    w.nodes[0].gateway.configure(w.now, config, false).unwrap();
    w.settle();
    assert_eq!((w.nodes[0].egresses(ISLAND), w.nodes[0].sessions(w.now).len()), (vec![ip(EAST)], 0));
    // Watched again, the path is not known to have failed.
    w.nodes[0].gateway.configure(w.now, Node::config(WEST, &afbr), false).unwrap();
    w.run(10 * SECOND, |_| false);
    assert_eq!((w.nodes[0].egresses(ISLAND), w.nodes[0].sessions(w.now).len()), (vec![ip(EAST)], 1));
}

#[test]
fn bgp_comes_and_goes_while_the_gateway_runs() {
    let without = |address: &str| Node::config(address, &format!("}}\n{FAST}\n"));
    let mut w = three("");
    w.nodes[0].gateway.configure(w.now, without(WEST), false).unwrap();
    w.run(60 * SECOND, |_| false);
    assert!(!w.nodes[0].routes.contains_key(ISLAND) && w.nodes[0].softwires.is_empty());
    let again = || Node::config(WEST, &afbr(1, "10.1.0.0/24", [EAST, THIRD], ""));
    w.nodes[0].gateway.configure(w.now, again(), false).unwrap();
    assert!(w.run(300 * SECOND, converged).is_some(), "{:?}", w.nodes[0].routes);
    w.nodes[0].gateway.configure(w.now, without(WEST), false).unwrap();
    w.run(SECOND, |_| false);
    assert!(!w.nodes[0].routes.contains_key(ISLAND) && w.nodes[0].softwires.is_empty());
    // Another speaker takes a restart, and so does its AS.
    let mut other = again();
    other.bgp.as_mut().unwrap().router_id = [9, 9, 9, 9].into();
    assert_eq!(w.nodes[0].gateway.configure(w.now, other, true).unwrap().restart, ["/bgp/router_id"]);
}

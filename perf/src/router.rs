//! The gateway as `softwired` composes it, without its sockets: BGP's octets in, forwarding tables out.
//!
//! ```text
//!   octets ─► Gateway { Speaker ─► Routing ─► Mesh ─► Program } ─► publisher's thread ─► snapshot ◄─ worker's thread
//! ```

use crate::peer::Peer;
use anyhow::{Context, ensure};
use bgp::message::Family;
use bgp::speaker::ConnId;
use controlplane::config::Config;
use controlplane::gateway::Gateway;
use controlplane::program::Output;
use dataplane::Running;
use dataplane_api::{MacAddr, NextHop, SnapshotOp};
use dpdk::{Mempool, PortConfig, sim};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

/// Our AS and that of the neighbours.
pub const AS: u32 = 65_000;
/// As much as the driver reads at once.
const READ: usize = 64 * 1024;
/// Our ends of softwires.
const LOCAL: (Ipv4Addr, Ipv6Addr) = (Ipv4Addr::new(192, 0, 2, 1), Ipv6Addr::new(0x2001, 0xdb8, 0xf1, 0, 0, 0, 0, 1));

/// Ports, routes to the core and two neighbours; IPv4 is carried over IPv6 and IPv6 over IPv4.
pub fn config(routes: u32, more: &str) -> anyhow::Result<Config> {
    let (v4, v6) = LOCAL;
    let neighbour = |n: u8| format!("{{ address: \"{}\", asn: {AS}, passive: true, hold_time: 0 }}", neighbour(n));
    let yaml = format!(
        "dataplane: {{ max_routes: {routes}, max_sessions: 16 }}\n\
         ports:\n  - {{ name: core, device: none, zone: public, addresses: [{v4}/24, \"{v6}/64\"] }}\n\
         \x20 - {{ name: island, device: none, zone: trusted, addresses: [10.0.0.1/24] }}\n\
         routes:\n  - {{ to: \"2001:db8::/32\", via: [\"2001:db8:f1::fe\"], port: core }}\n\
         \x20 - {{ to: 198.18.0.0/15, via: [192.0.2.254], port: core }}\n\
         mesh: {{ local: [{v4}, \"{v6}\"] }}\n\
         bgp: {{ asn: {AS}, router_id: 192.0.2.1, max_paths: 1, neighbours: [{}, {}] }}\n{more}",
        neighbour(1),
        neighbour(2),
    );
    Ok(Config::from_yaml("bench", &yaml)?)
}

/// The address of a neighbour.
pub fn neighbour(n: u8) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xf1, 0, 0, 0, 1, u16::from(n)).into()
}

/// The end of the softwires to an egress for prefixes of a family.
pub fn egress(n: u8, family: Family) -> IpAddr {
    match family {
        Family::Ipv4Unicast => Ipv6Addr::new(0x2001, 0xdb8, 0xf2, 0, 0, 0, 0, u16::from(n)).into(),
        Family::Ipv6Unicast => Ipv4Addr::new(198, 18, 0, n).into(),
    }
}

/// See the module.
pub struct Router {
    gateway: Gateway,
    /// The data plane; `None`: what the control plane wants of it is forgotten.
    pub dataplane: Option<Running>,
    conns: HashMap<u8, ConnId>,
}

impl Router {
    /// Nobody is connected yet.
    pub fn new(config: Config, dataplane: Option<Running>) -> anyhow::Result<Self> {
        let counters = dataplane.iter().flat_map(|d| &d.workers).map(|w| Arc::clone(&w.counters)).collect();
        let macs = [MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2])];
        let gateway = Gateway::new(Arc::new(config), Instant::now(), &macs, counters, [7; 32])?;
        let mut router = Self { gateway, dataplane, conns: HashMap::new() };
        router.flush();
        Ok(router)
    }

    /// Neighbour `n` connects, and the session is established.
    pub fn connect(&mut self, n: u8) -> anyhow::Result<Peer> {
        let peer = Peer::new(AS, AS, Ipv4Addr::new(10, 255, 0, n));
        let (local, remote) = (SocketAddr::new(LOCAL.1.into(), 179), SocketAddr::new(neighbour(n), 40_000));
        let accepted = self.gateway.bgp(Instant::now(), |r| r.speaker.accepted(Instant::now(), local, remote));
        let conn = accepted.context("BGP is configured")?.map_err(|e| anyhow::anyhow!("refused: {e:?}"))?;
        self.conns.insert(n, conn);
        self.receive(n, &peer.open());
        self.receive(n, &peer.keep_alive());
        let up = self.gateway.bgp(Instant::now(), |r| {
            r.speaker.neighbours().any(|v| v.address == neighbour(n) && format!("{:?}", v.state) == "Established")
        });
        ensure!(up == Some(true), "the session is not established");
        Ok(peer)
    }

    /// Octets of neighbour `n` come, as they would from its socket.
    pub fn receive(&mut self, n: u8, octets: &[u8]) {
        let Some(&conn) = self.conns.get(&n) else { return };
        for read in octets.chunks(READ) {
            let now = Instant::now();
            self.gateway.bgp(now, |r| r.speaker.received(now, conn, read));
            while self.gateway.bgp(now, |r| r.poll_action()).flatten().is_some() {}
            while self.gateway.bgp(now, |r| r.speaker.poll_transmit(now, conn)).flatten().is_some() {}
            self.flush();
        }
    }

    /// The core says whether an address can be reached.
    pub fn reachable(&mut self, addresses: &[IpAddr], yes: bool) {
        let now = Instant::now();
        let metrics: Vec<_> = addresses.iter().map(|a| (*a, yes.then_some(0))).collect();
        self.gateway.bgp(now, |r| r.speaker.next_hops_changed(now, &metrics));
        self.flush();
    }

    /// Waits until the workers use everything. How many routes do not fit.
    pub fn settle(&mut self) -> u64 {
        let Some(d) = &self.dataplane else { return 0 };
        d.publisher.publish_and_wait(Vec::new());
        d.fib.refused.iter().map(dataplane_api::counter::Counter::get).sum()
    }

    /// Turn by turn, until nothing is left to do.
    fn flush(&mut self) {
        loop {
            let outputs = std::iter::from_fn(|| self.gateway.poll_output());
            let ops: Vec<SnapshotOp> =
                outputs.filter_map(|o| if let Output::Snapshot(op) = o { Some(op) } else { None }).collect();
            if let Some(d) = self.dataplane.as_ref().filter(|_| !ops.is_empty()) {
                d.publisher.publish(ops);
            }
            let now = Instant::now();
            if self.gateway.poll_timeout().is_none_or(|t| t > now) {
                return;
            }
            self.gateway.handle_timeout(now);
        }
    }

    /// Where workers send packets to each address: the other end of the softwire, or an address on the way. `None`: nowhere.
    pub fn lookup(&self, addresses: &[IpAddr]) -> Vec<Option<IpAddr>> {
        let Some(d) = &self.dataplane else { return Vec::new() };
        let snapshot = d.tables.load_full();
        let end = |hop: &NextHop| match *hop {
            NextHop::Softwire(id) => Some(snapshot.softwires.get(id)?.remote),
            NextHop::Via(_, router) => Some(router),
            _ => None,
        };
        addresses.iter().map(|a| snapshot.next_hops(*a).next().as_ref().and_then(end)).collect()
    }
}

/// A data plane with two in-memory ports, whose worker has nothing to do.
pub fn dataplane(routes: u32) -> anyhow::Result<Running> {
    let pool = Mempool::new("bench", 2047, 0, 2048, None)?;
    let mut ports = Vec::new();
    for name in ["core", "island"] {
        let (mut port, far) = sim::port(name, 1, 127)?;
        port.configure(&PortConfig { queues: 1, ..PortConfig::default() }, &pool)?;
        port.start()?;
        drop(far);
        ports.push(port);
    }
    let config = dataplane::Config { sessions: 16, routes, ..dataplane::Config::default() };
    Ok(dataplane::runtime::start_on(&config, pool, ports)?)
}

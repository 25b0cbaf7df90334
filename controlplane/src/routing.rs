//! BGP's routes on their way to the forwarding tables (RFC 5565, section 6).
//!
//! ```text
//!   neighbours ──► bgp::Speaker ──► RouteChange ──┬─ next hop of the prefix's family ──► router on a port
//!                       ▲                         └─ of the other family, or a tunnel offered (RFC 9012) ──► mesh
//!                       └── next hops: reachable by connected and static routes?
//! ```
//!
//! A route that offers IP-in-IP tunnels is encapsulated to their egress endpoints, those whose color it asks for where
//! it asks. Without an offer, a next hop of the other family is itself the egress: the provisioned default.

mod neighbour;
mod operate;
mod policy;
mod reconfigure;
mod view;

use crate::config::{Bgp, Config};
use crate::key_ring::KeyRing;
use crate::mesh::{Egress, Mesh};
use crate::northbound::{self, BgpEvent};
use crate::program::Program;
use crate::rtr;
use bgp::attribute::{Attributes, ExtendedCommunity, NextHop as BgpNextHop};
use bgp::neighbour::TcpOptions;
use bgp::rib::{BestPath, Source, Tracking};
use bgp::speaker::{ConnId, Event, Speaker, SpeakerConfig};
use bgp::tunnel::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Tunnel, TunnelEncap};
use dataplane_api::{IpPrefix, NextHop, PortId, SnapshotOp};
use ipnet::IpNet;
use prefix_trie::joint::JointPrefixMap;
use rand::rngs::StdRng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

/// What the driver is to do about connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Open a connection.
    Connect {
        /// Its name.
        conn: ConnId,
        /// From.
        local: Option<IpAddr>,
        /// To.
        remote: SocketAddr,
        /// Protected so.
        tcp: TcpOptions,
    },
    /// Ask for something to send.
    Transmit(ConnId),
    /// Send this, and close.
    Close(ConnId, Vec<u8>),
}

/// A network that we reach without BGP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Igp {
    to: IpNet,
    via: Option<IpAddr>,
    port: PortId,
}

/// Where routes lead.
struct Way {
    /// The first next hop.
    next_hop: IpAddr,
    /// Egress AFBRs; none: the route is not the mesh's.
    egresses: Arc<[Egress]>,
}

/// See the module.
pub struct Routing {
    /// The speaker; what the driver does with it is carried on by [`Self::pump`].
    pub speaker: Speaker,
    /// Keys of its sessions; the driver tells it the time and sets them on sockets.
    pub keys: KeyRing,
    /// Neighbours whose protection cannot be had, and why: they have no session.
    pub refused: BTreeMap<IpNet, String>,
    /// What RPKI caches say; changes go to the speaker by [`Self::vrps`].
    pub rtr: rtr::Caches,
    igp: Vec<Igp>,
    actions: VecDeque<Action>,
    /// Sessions that came up or went down.
    pub news: VecDeque<northbound::Event>,
    /// Prefixes of BGP in the forwarding tables, and where they lead.
    programmed: JointPrefixMap<IpNet, Arc<Way>>,
    /// The last way: most routes have the same as the one before, and share it.
    way: Arc<Way>,
    /// Egress AFBRs that BFD has found dead.
    dead: BTreeSet<IpAddr>,
    /// Next hops and egresses that the speaker wants to know of.
    tracked: BTreeSet<IpAddr>,
    /// What is programmed is looked at again, from this prefix on.
    again: Option<IpNet>,
    /// When [`Self::pump`] left something for its next turn.
    backlog: Option<Instant>,
}

/// Events carried in one turn: a million routes must not keep BFD and IKE waiting.
const TURN: usize = 2048;

impl Routing {
    /// With the neighbours and networks that are configured.
    pub fn new(now: Instant, config: &Config, bgp: &Bgp, rng: StdRng) -> Self {
        let speaker = Speaker::new(
            now,
            SpeakerConfig {
                asn: bgp.asn,
                router_id: bgp.router_id,
                cluster_id: bgp.cluster_id.unwrap_or(bgp.router_id),
                max_paths: bgp.max_paths.max(1),
                restarted: None,
            },
            Box::new(rng),
        );
        let mut routing = Self {
            speaker,
            rtr: rtr::Caches::default(),
            keys: KeyRing::new(bgp),
            refused: BTreeMap::new(),
            igp: igp(config),
            actions: VecDeque::new(),
            news: VecDeque::new(),
            programmed: JointPrefixMap::new(),
            way: Arc::new(Way { next_hop: Ipv4Addr::UNSPECIFIED.into(), egresses: Arc::new([]) }),
            dead: BTreeSet::new(),
            tracked: BTreeSet::new(),
            again: None,
            backlog: None,
        };
        routing.configure(now, None, config, bgp);
        routing
    }

    /// Time has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.speaker.handle_timeout(now);
        if self.rtr.poll_timeout().is_some_and(|t| t <= now) {
            let change = self.rtr.handle_timeout(now);
            self.vrps(now, &change);
        }
    }

    /// When [`Self::handle_timeout`] must be called, or [`Self::pump`] has more to carry.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.speaker.poll_timeout(), self.rtr.poll_timeout(), self.backlog].into_iter().flatten().min()
    }

    /// The VRPs have changed: routes that they cover are judged again.
    pub fn vrps(&mut self, now: Instant, change: &rtr::Change) {
        if *change != rtr::Change::default() {
            self.speaker.vrps_changed(now, &change.added, &change.removed);
        }
    }

    /// The next hop is reached by this router on this port, or directly.
    fn resolve(&self, address: IpAddr) -> Option<NextHop> {
        let found = self.igp.iter().filter(|r| r.to.contains(&address)).max_by_key(|r| r.to.prefix_len())?;
        Some(NextHop::Via(found.port, found.via.unwrap_or(address)))
    }

    /// How far a next hop or an egress is.
    fn metric(&self, address: IpAddr) -> Option<u32> {
        self.resolve(address).filter(|_| !self.dead.contains(&address)).map(|_| 0)
    }

    /// An egress AFBR cannot be reached, or can again: paths that end there are not used meanwhile.
    pub fn egress_changed(&mut self, now: Instant, address: IpAddr, usable: bool) {
        let changed = if usable { self.dead.remove(&address) } else { self.dead.insert(address) };
        if changed {
            self.speaker.next_hop_changed(now, address, self.metric(address));
        }
    }

    /// The path to a neighbour has failed: its session ends, and its routes with it.
    pub fn neighbour_lost(&mut self, now: Instant, address: IpAddr) {
        if let Some(id) = self.speaker.neighbour_at(address) {
            self.speaker.bfd_down(now, id);
        }
    }

    /// Carries events where they belong, so many at a time. `false`: there are more.
    pub fn pump(&mut self, now: Instant, mesh: &mut Mesh, program: &mut Program) -> bool {
        self.backlog = Some(now);
        self.look_again(now, mesh, program);
        let mut wanted = Vec::new();
        for _ in 0..TURN {
            let event = self.speaker.poll_event();
            if let Some(Event::NextHop(Tracking::Start(address))) = event {
                self.tracked.insert(address);
                wanted.push((address, self.metric(address)));
                continue;
            }
            // All routes are gone through for next hops, so these are told together.
            let told = !wanted.is_empty();
            if told {
                self.speaker.next_hops_changed(now, &std::mem::take(&mut wanted));
            }
            let Some(event) = event else {
                if told {
                    continue;
                }
                self.backlog = self.again.map(|_| now);
                break;
            };
            match event {
                Event::Connect(c) => {
                    let (conn, local, remote, tcp) = (c.conn, c.local, c.remote, c.tcp);
                    self.actions.push_back(Action::Connect { conn, local, remote, tcp });
                }
                Event::Close { conn, last } => self.actions.push_back(Action::Close(conn, last)),
                Event::Transmit { conn } => self.actions.push_back(Action::Transmit(conn)),
                Event::Up { neighbour } => {
                    let address = self.speaker.neighbour(neighbour).map(|n| n.address);
                    tracing::info!(neighbour = ?address, "BGP session established");
                    let event = address.map(|neighbour| BgpEvent { neighbour, reason: None });
                    self.news.extend(event.map(northbound::Event::BgpUp));
                }
                Event::Down { neighbour, reason, .. } => {
                    let address = self.speaker.neighbour(neighbour).map(|n| n.address);
                    tracing::info!(neighbour = ?address, %reason, "BGP session down");
                    let event = address.map(|neighbour| BgpEvent { neighbour, reason: Some(reason.to_string()) });
                    self.news.extend(event.map(northbound::Event::BgpDown));
                }
                Event::Warning { neighbour, warning } => {
                    let address = self.speaker.neighbour(neighbour).map(|n| n.address);
                    tracing::warn!(neighbour = ?address, ?warning, "BGP");
                }
                Event::NextHop(Tracking::Stop(address)) => {
                    self.tracked.remove(&address);
                    if self.dead.contains(&address) && mesh.bury(address) {
                        self.dead.remove(&address);
                    }
                }
                Event::NextHop(Tracking::Start(_)) | Event::Converged { .. } => {}
                Event::Route(change) => self.route(now, change.prefix, &change.best, mesh, program),
            }
        }
        if !wanted.is_empty() {
            self.speaker.next_hops_changed(now, &wanted);
        }
        self.backlog.is_none()
    }

    fn route(&mut self, now: Instant, net: IpNet, best: &[BestPath], mesh: &mut Mesh, program: &mut Program) {
        let mut egresses = Vec::new();
        let mut routers = Vec::new();
        // What we originate is routed by what made us originate it.
        for path in best.iter().filter(|p| p.source != Source::Local) {
            let tunnels = egress(path, net.addr().is_ipv4(), |endpoint| self.resolve(endpoint).is_some());
            if tunnels.is_empty() && path.next_hop.is_ipv4() == net.addr().is_ipv4() {
                routers.extend(self.resolve(path.next_hop));
            }
            egresses.extend(tunnels);
        }
        egresses.sort_unstable();
        egresses.dedup();
        routers.dedup();
        let first = best.first().filter(|_| !egresses.is_empty() || !routers.is_empty());
        let way = first.map(|first| self.way(first.next_hop, &egresses));
        let before = match &way {
            Some(way) => self.programmed.insert(net, Arc::clone(way)),
            None => self.programmed.remove(&net),
        };
        let (prefix, was_mesh) = (IpPrefix::from(net), before.as_ref().is_some_and(|way| !way.egresses.is_empty()));
        if egresses.is_empty() && was_mesh {
            mesh.unroute(prefix, program);
        }
        match way {
            Some(way) if way.egresses.is_empty() => program.snapshot(SnapshotOp::RouteAdd(prefix, routers)),
            Some(way) => _ = mesh.route(now, prefix, Arc::clone(&way.egresses), program),
            None if before.is_some() && !was_mesh => program.withdraw(prefix),
            None => {}
        }
    }

    /// The last way again, if it is the same.
    fn way(&mut self, next_hop: IpAddr, egresses: &[Egress]) -> Arc<Way> {
        if self.way.next_hop != next_hop || *self.way.egresses != *egresses {
            self.way = Arc::new(Way { next_hop, egresses: egresses.into() });
        }
        Arc::clone(&self.way)
    }

    /// The next thing to do about a connection.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What a socket must have that is connected to `remote`, and the neighbours that it has it in common with; or why it
    /// must not be used.
    pub fn tcp_options(&self, remote: IpAddr) -> Result<(IpNet, TcpOptions), String> {
        let all = self.speaker.listens_for().filter(|(peers, _)| peers.contains(&remote));
        let Some((peers, tcp)) = all.max_by_key(|(peers, _)| peers.prefix_len()) else {
            return Ok((remote.into(), TcpOptions::default()));
        };
        self.refused.get(&peers).cloned().map_or_else(|| Ok((peers, tcp.clone())), Err)
    }

    /// Ends all sessions.
    pub fn shut_down(&mut self, now: Instant) {
        let all: Vec<_> = self.speaker.neighbours().map(|n| n.id).collect();
        for id in all {
            self.speaker.disable(now, id, "shutdown");
        }
    }
}

/// Where the feasible tunnels that a path offers or implies end, and the color by which it asked for each. A tunnel is
/// feasible if its end can be reached (RFC 9012, section 3.1).
fn egress(path: &BestPath, v4: bool, feasible: impl Fn(IpAddr) -> bool) -> Vec<Egress> {
    let offered = Tunnel::offered(&path.attributes);
    let asked: Vec<u32> = path.attributes.colors().collect();
    let ethertype = if v4 { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 };
    let suited = offered.iter().filter(|t| t.carries(ethertype) && feasible(t.endpoint)).filter_map(|t| {
        let color = asked.iter().copied().find(|color| t.matches(std::iter::once(*color)));
        (asked.is_empty() || color.is_some()).then_some(Egress { endpoint: t.endpoint, color })
    });
    let tunnels: Vec<Egress> = suited.collect();
    match path.next_hop.is_ipv4() == v4 {
        _ if !tunnels.is_empty() => tunnels,
        true => Vec::new(),
        false if !feasible(path.next_hop) => Vec::new(),
        false => vec![Egress { endpoint: path.next_hop, color: asked.first().copied() }],
    }
}

fn igp(config: &Config) -> Vec<Igp> {
    let port = |name: &str| config.ports.iter().position(|p| p.name == name).map(|i| PortId(i as u16));
    let connected =
        config.ports.iter().enumerate().flat_map(|(i, p)| {
            p.addresses.iter().map(move |a| Igp { to: a.trunc(), via: None, port: PortId(i as u16) })
        });
    let fixed = config.routes.iter().filter_map(|r| {
        let port = port(&r.port)?;
        Some(Igp { to: r.to, via: r.via.first().copied(), port })
    });
    connected.chain(fixed).collect()
}

/// Our end of the session with a neighbour: as configured, or our address on the way to it.
pub fn local(config: &Config, neighbour: IpAddr) -> Option<IpAddr> {
    let known = config.bgp.iter().flat_map(|b| &b.neighbours).find(|n| n.address == neighbour);
    known.and_then(|n| n.local).or_else(|| config.port_towards(neighbour)?.address(neighbour.is_ipv4()))
}

/// Attributes of a network of ours.
fn own(config: &Config, bgp: &Bgp, net: &IpNet) -> Attributes {
    let unspecified: IpAddr = if net.addr().is_ipv4() { [0; 4].into() } else { [0u16; 8].into() };
    let mut attributes = Attributes::new(BgpNextHop { address: unspecified, link_local: None });
    let Some(end) = config.mesh.local.iter().copied().find(|a| a.is_ipv4() != net.addr().is_ipv4()) else {
        return attributes;
    };
    for tunnel in &bgp.tunnels {
        Tunnel { colors: tunnel.color.into_iter().collect(), ..Tunnel::to(end) }.offer(&mut attributes);
        if let Some(old) = tunnel.rfc5566 {
            TunnelEncap::offer_unread(old.tunnel_type(), end, &mut attributes);
        }
        let asks = tunnel.prefixes.iter().any(|p| p.contains(net));
        attributes.extended_communities.extend(tunnel.color.filter(|_| asks).map(ExtendedCommunity::from_color));
    }
    attributes
}

#[cfg(test)]
mod tests;

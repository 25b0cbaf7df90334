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

use crate::config::{Bgp, Config, bgp as settings};
use crate::mesh::Mesh;
use crate::northbound::{BgpNeighbourInfo, BgpRouteInfo};
use crate::program::Program;
use bgp::attribute::{Attributes, NextHop as BgpNextHop};
use bgp::neighbour::{GracefulRestart, NeighbourConfig, RemoteAs};
use bgp::policy::{Policy, Verdict};
use bgp::rib::{BestPath, Peering, Source, Tracking};
use bgp::speaker::{ConnId, Event, NeighbourView, Speaker, SpeakerConfig};
use bgp::tunnel::Tunnel;
use dataplane_api::{IpPrefix, NextHop, PortId, SnapshotOp};
use ipnet::IpNet;
use rand::rngs::StdRng;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
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
    },
    /// Ask for something to send.
    Transmit(ConnId),
    /// Send this, and close.
    Close(ConnId, Vec<u8>),
}

/// A network that we reach without BGP.
#[derive(Clone, Copy, Debug)]
struct Igp {
    to: IpNet,
    via: Option<IpAddr>,
    port: PortId,
}

/// See the module.
pub struct Routing {
    /// The speaker; what the driver does with it is carried on by [`Self::pump`].
    pub speaker: Speaker,
    igp: Vec<Igp>,
    actions: VecDeque<Action>,
    /// Prefixes of BGP in the forwarding tables: the first next hop, and the egress AFBRs of those that are the mesh's.
    programmed: BTreeMap<IpPrefix, (IpAddr, Arc<[IpAddr]>)>,
    /// The last egresses: most routes have the same as the one before, and share them.
    egresses: Arc<[IpAddr]>,
}

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
            igp: igp(config),
            actions: VecDeque::new(),
            programmed: BTreeMap::new(),
            egresses: Arc::new([]),
        };
        for n in &bgp.neighbours {
            routing.speaker.set_neighbour(now, n.address, neighbour(config, bgp, n));
        }
        for net in &bgp.networks {
            routing.speaker.originate(now, *net, own(config, bgp, net));
        }
        routing
    }

    /// The next hop is reached by this router on this port, or directly.
    fn resolve(&self, address: IpAddr) -> Option<NextHop> {
        let found = self.igp.iter().filter(|r| r.to.contains(&address)).max_by_key(|r| r.to.prefix_len())?;
        Some(NextHop::Via(found.port, found.via.unwrap_or(address)))
    }

    /// Carries events where they belong.
    pub fn pump(&mut self, now: Instant, mesh: &mut Mesh, program: &mut Program) {
        let mut wanted = Vec::new();
        loop {
            let event = self.speaker.poll_event();
            if let Some(Event::NextHop(Tracking::Start(address))) = event {
                wanted.push((address, self.resolve(address).map(|_| 0)));
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
                return;
            };
            match event {
                Event::Connect(c) => {
                    self.actions.push_back(Action::Connect { conn: c.conn, local: c.local, remote: c.remote });
                }
                Event::Close { conn, last } => self.actions.push_back(Action::Close(conn, last)),
                Event::Transmit { conn } => self.actions.push_back(Action::Transmit(conn)),
                Event::Up { neighbour } => {
                    let address = self.speaker.neighbour(neighbour).map(|n| n.address);
                    tracing::info!(neighbour = ?address, "BGP session established");
                }
                Event::Down { neighbour, reason, .. } => {
                    let address = self.speaker.neighbour(neighbour).map(|n| n.address);
                    tracing::info!(neighbour = ?address, %reason, "BGP session down");
                }
                Event::Warning { neighbour, warning } => {
                    let address = self.speaker.neighbour(neighbour).map(|n| n.address);
                    tracing::warn!(neighbour = ?address, ?warning, "BGP");
                }
                Event::NextHop(_) | Event::Converged { .. } => {}
                Event::Route(change) => self.route(now, change.prefix, &change.best, mesh, program),
            }
        }
    }

    fn route(&mut self, now: Instant, net: IpNet, best: &[BestPath], mesh: &mut Mesh, program: &mut Program) {
        let Some(prefix) = IpPrefix::new(net.network(), net.prefix_len()) else { return };
        let mut egresses = Vec::new();
        let mut routers = Vec::new();
        // What we originate is routed by what made us originate it.
        for path in best.iter().filter(|p| p.source != Source::Local) {
            let tunnels = egress(path, net.addr().is_ipv4());
            if tunnels.is_empty() && path.next_hop.is_ipv4() == net.addr().is_ipv4() {
                routers.extend(self.resolve(path.next_hop));
            }
            egresses.extend(tunnels);
        }
        egresses.sort_unstable();
        egresses.dedup();
        routers.dedup();
        let before = self.programmed.remove(&prefix);
        if egresses.is_empty() && before.as_ref().is_some_and(|(_, egresses)| !egresses.is_empty()) {
            mesh.unroute(prefix, program);
        }
        let Some(first) = best.first().filter(|_| !egresses.is_empty() || !routers.is_empty()) else {
            if before.is_some_and(|(_, egresses)| egresses.is_empty()) {
                program.snapshot(SnapshotOp::RouteDel(prefix));
            }
            return;
        };
        if egresses.is_empty() {
            program.snapshot(SnapshotOp::RouteAdd(prefix, routers));
        } else {
            mesh.route(now, prefix, &egresses, program);
        }
        if *self.egresses != *egresses {
            self.egresses = egresses.into();
        }
        self.programmed.insert(prefix, (first.next_hop, Arc::clone(&self.egresses)));
    }

    /// The next thing to do about a connection.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Neighbours, for the management plane.
    pub fn neighbours_info(&self, now: Instant) -> Vec<BgpNeighbourInfo> {
        let info = |n: NeighbourView<'_>| BgpNeighbourInfo {
            address: n.address,
            router_id: n.router_id,
            state: format!("{:?}", n.state),
            seconds: n.since.map(|t| now.saturating_duration_since(t).as_secs()),
            established: n.established,
            messages_in: n.received,
            messages_out: n.sent,
            last_down: n.last_down.map(ToString::to_string),
        };
        self.speaker.neighbours().map(info).collect()
    }

    /// Best paths, for the management plane.
    pub fn routes_info(&self) -> Vec<BgpRouteInfo> {
        let row = |(prefix, (next_hop, egresses)): (&IpPrefix, &(IpAddr, Arc<[IpAddr]>))| BgpRouteInfo {
            prefix: prefix.to_string(),
            next_hop: *next_hop,
            egresses: egresses.to_vec(),
        };
        self.programmed.iter().map(row).collect()
    }

    /// Ends all sessions.
    pub fn shut_down(&mut self, now: Instant) {
        let all: Vec<_> = self.speaker.neighbours().map(|n| n.id).collect();
        for id in all {
            self.speaker.disable(now, id, "shutdown");
        }
    }
}

/// The egress endpoints of the tunnels that a path offers or implies.
fn egress(path: &BestPath, v4: bool) -> Vec<IpAddr> {
    let offered = Tunnel::offered(&path.attributes);
    let asked: Vec<u32> = path.attributes.colors().collect();
    let ethertype = if v4 { 0x0800 } else { 0x86dd };
    let carries = |t: &&Tunnel| t.carries(ethertype) && (asked.is_empty() || t.matches(asked.iter().copied()));
    let tunnels: Vec<IpAddr> = offered.iter().filter(carries).map(|t| t.endpoint).collect();
    match path.next_hop.is_ipv4() == v4 {
        _ if !tunnels.is_empty() => tunnels,
        true => Vec::new(),
        false => vec![path.next_hop],
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

fn neighbour(config: &Config, bgp: &Bgp, n: &settings::Neighbour) -> NeighbourConfig {
    let internal = n.asn == bgp.asn;
    let policy = |p: Option<settings::Policy>| match p {
        Some(settings::Policy::Accept) => Some(Arc::new(Policy::accept_all())),
        Some(settings::Policy::Reject) => Some(Arc::new(Policy { rules: Vec::new(), otherwise: Verdict::Reject })),
        None => None,
    };
    let of_family = |v4: bool| config.mesh.local.iter().copied().find(|a| a.is_ipv4() == v4);
    // IPv4 islands over an IPv6 core: our next hop is our end of the softwire, whatever the session's address is.
    let end = of_family(n.address.is_ipv4()).filter(|_| internal);
    NeighbourConfig {
        local: n.local.or_else(|| local(config, n.address)),
        passive: n.passive,
        hold_time: n.hold_time,
        martian_endpoints: bgp.special_endpoints,
        // Forwarding does not survive a restart of ours: neighbours must not wait for it.
        graceful_restart: Some(GracefulRestart { helper_only: true, ..GracefulRestart::default() }),
        peering: Peering {
            import: policy(n.import),
            export: policy(n.export),
            client: n.client,
            own_ipv4: end,
            own_ipv6: end,
            ..Peering::default()
        },
        ..NeighbourConfig::new(RemoteAs::Exactly(n.asn))
    }
}

/// Our address on the way to a neighbour.
fn local(config: &Config, neighbour: IpAddr) -> Option<IpAddr> {
    let all = igp(config);
    let found = all.iter().filter(|r| r.to.contains(&neighbour)).max_by_key(|r| r.to.prefix_len())?;
    let port = config.ports.get(usize::from(found.port.0))?;
    port.addresses.iter().map(|a| a.addr()).find(|a| a.is_ipv4() == neighbour.is_ipv4())
}

/// Attributes of a network of ours.
fn own(config: &Config, bgp: &Bgp, net: &IpNet) -> Attributes {
    let unspecified: IpAddr = if net.addr().is_ipv4() { [0; 4].into() } else { [0u16; 8].into() };
    let mut attributes = Attributes::new(BgpNextHop { address: unspecified, link_local: None });
    let end = config.mesh.local.iter().copied().find(|a| a.is_ipv4() != net.addr().is_ipv4());
    if let (Some(tunnel), Some(end)) = (&bgp.tunnel, end) {
        Tunnel { colors: tunnel.color.into_iter().collect(), ..Tunnel::to(end) }.offer(&mut attributes);
    }
    attributes
}

#[cfg(test)]
mod tests;

//! Neighbours and routes as the management plane sees them. A page costs what it shows, however long the table is.

use super::Routing;
use crate::config::Bgp;
use crate::northbound::{
    BgpAttributesInfo, BgpFamily, BgpFamilyInfo, BgpMatch, BgpMessagesInfo, BgpNegotiatedInfo, BgpNeighbourInfo,
    BgpPage, BgpPathInfo, BgpProtectionInfo, BgpReceivedInfo, BgpRestartInfo, BgpRouteInfo, BgpSelect, BgpSentInfo,
    BgpTotalsInfo, BgpTunnelInfo,
};
use bgp::attribute::{Attributes, Origin};
use bgp::message::{Family, Negotiated};
use bgp::neighbour::{NeighbourId, RemoteAs};
use bgp::rib::{Path, Route, Rov, Source};
use bgp::session::{Messages, PeerRestart};
use bgp::speaker::{NeighbourView, Stop};
use bgp::tunnel::Tunnel;
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// Prefixes that are looked at for one page: what it leaves out is looked at, too.
const LOOK: usize = 20_000;

impl Routing {
    /// Neighbours.
    pub fn neighbours_info(&self, now: Instant, bgp: &Bgp) -> Vec<BgpNeighbourInfo> {
        self.speaker.neighbours().map(|n| self.neighbour_info(now, bgp, &n)).collect()
    }

    fn neighbour_info(&self, now: Instant, bgp: &Bgp, n: &NeighbourView<'_>) -> BgpNeighbourInfo {
        let configured = bgp.neighbours.iter().find(|c| c.address == n.address);
        let ago = |at: Instant| now.saturating_duration_since(at).as_secs();
        BgpNeighbourInfo {
            address: n.address,
            description: configured.and_then(|c| c.description.clone()),
            asn: match (n.negotiated, n.config.remote_as) {
                (Some(agreed), _) => agreed.peer_as,
                (None, RemoteAs::Exactly(asn)) => asn,
                (None, RemoteAs::Internal) => bgp.asn,
                (None, RemoteAs::External) => 0,
            },
            local_asn: bgp.asn,
            local: n.config.local,
            router_id: n.router_id,
            local_router_id: bgp.router_id,
            client: n.config.peering.client,
            state: format!("{:?}", n.state),
            stopped: n.stop.map(|stop| match stop {
                Stop::Disabled => "disabled",
                Stop::MaxPrefix(_) => "max_prefix",
            }),
            seconds: n.since.map(ago),
            established: n.established,
            flaps: n.established.saturating_sub(u64::from(n.since.is_some())),
            messages_in: n.received.total(),
            messages_out: n.sent.total(),
            received: messages(&n.received),
            sent: messages(&n.sent),
            negotiated: n.negotiated.map(|agreed| negotiated(agreed, n)),
            families: n.config.families.keys().map(|family| self.family_info(n, *family)).collect(),
            import: configured.and_then(|c| c.import.clone()).map(String::from),
            export: configured.and_then(|c| c.export.clone()).map(String::from),
            last_down: n.last_down.map(|(_, why)| why.to_string()),
            last_down_seconds: n.last_down.map(|(at, _)| ago(at)),
            protection: self.protection(n),
        }
    }

    fn protection(&self, n: &NeighbourView<'_>) -> BgpProtectionInfo {
        let tcp = &n.config.tcp;
        let peers = n.range.unwrap_or_else(|| n.address.into());
        let (method, key_chain) = match (&tcp.md5_key, &tcp.ao_key_chain) {
            (Some(chain), _) => ("md5", Some(chain)),
            (None, Some(chain)) => ("tcp_ao", Some(chain)),
            (None, None) => ("none", None),
        };
        BgpProtectionInfo {
            method,
            key_chain: key_chain.cloned(),
            key_id: key_chain.and_then(|chain| self.keys.active(chain)).map(|k| k.id),
            ttl_security: tcp.gtsm_hops,
            warnings: self.keys.warnings(peers).map(ToString::to_string).collect(),
            refused: self.refused.get(&peers).cloned(),
        }
    }

    fn family_info(&self, n: &NeighbourView<'_>, family: Family) -> BgpFamilyInfo {
        let counts = self.speaker.rib().counts(n.id, family);
        BgpFamilyInfo {
            family: of(family),
            negotiated: n.negotiated.is_some_and(|agreed| agreed.families.contains(&family)),
            received: counts.received,
            accepted: counts.accepted,
            advertised: counts.advertised,
            stale: n.stale.contains(&family),
            max_prefix: n.config.families.get(&family).and_then(|f| f.max_prefix).map(|max| max.limit),
        }
    }

    /// How much there is of each family.
    pub fn totals_info(&self) -> Vec<BgpTotalsInfo> {
        let totals = |family| (of(family), self.speaker.rib().totals(family));
        let row = |(family, t): (_, bgp::rib::Totals)| BgpTotalsInfo { family, routes: t.routes, paths: t.paths };
        Family::ALL.into_iter().map(totals).map(row).collect()
    }

    /// A page of the Loc-RIB, with the paths that are not the best.
    pub fn routes_info(&self, select: &BgpSelect) -> BgpPage<BgpRouteInfo> {
        let rib = self.speaker.rib();
        let row = |prefix, route: &Route| (!route.paths().is_empty()).then(|| self.route_info(prefix, route));
        page(select, |family, after| Box::new(rib.routes(family, after)), |prefix| rib.route(prefix), row)
    }

    fn route_info(&self, prefix: IpNet, route: &Route) -> BgpRouteInfo {
        let programmed = self.programmed.get(&prefix);
        BgpRouteInfo {
            prefix: prefix.to_string(),
            next_hop: programmed.map(|way| way.next_hop),
            egresses: programmed.iter().flat_map(|way| way.egresses.iter()).map(|e| e.endpoint).collect(),
            paths: route.paths().iter().map(|path| self.path_info(route, path)).collect(),
        }
    }

    fn path_info(&self, route: &Route, path: &Path) -> BgpPathInfo {
        let loses = self.speaker.rib().loses(route, path);
        BgpPathInfo {
            neighbour: match path.source() {
                Source::Local => None,
                Source::Neighbour(id) => self.speaker.neighbour(id).map(|n| n.address),
            },
            best: loses.is_none(),
            loses_by: loses.map(|why| why.to_string()),
            stale: path.is_stale(),
            rov: rov(path.rov()),
            attributes: attributes(path.used().unwrap_or(path.received())),
        }
    }

    /// A page of a neighbour's Adj-RIB-In. `None` when there is no such neighbour.
    pub fn received_info(&self, neighbour: IpAddr, select: &BgpSelect) -> Option<BgpPage<BgpReceivedInfo>> {
        let id = self.speaker.neighbour_at(neighbour)?;
        let rib = self.speaker.rib();
        let row = |prefix, route: &Route| received(id, prefix, route);
        Some(page(select, |family, after| Box::new(rib.routes(family, after)), |prefix| rib.route(prefix), row))
    }

    /// A page of a neighbour's Adj-RIB-Out. `None` when there is no such neighbour.
    pub fn sent_info(&self, neighbour: IpAddr, select: &BgpSelect) -> Option<BgpPage<BgpSentInfo>> {
        let id = self.speaker.neighbour_at(neighbour)?;
        let rib = self.speaker.rib();
        let row = |prefix: IpNet, sent: Option<&Arc<Attributes>>| {
            sent.map(|set| BgpSentInfo { prefix: prefix.to_string(), attributes: attributes(set) })
        };
        let all = |family, after| Box::new(rib.advertised(id, family, after)) as Box<dyn Iterator<Item = _>>;
        Some(page(select, all, |prefix| rib.sent(id, prefix).map(Some), row))
    }
}

fn received(id: NeighbourId, prefix: IpNet, route: &Route) -> Option<BgpReceivedInfo> {
    let from = |path: &&Path| path.source() == Source::Neighbour(id);
    let path = route.paths().iter().find(from)?;
    let changed = path.used().filter(|used| !Arc::ptr_eq(used, path.received()));
    Some(BgpReceivedInfo {
        prefix: prefix.to_string(),
        verdict: path.ineligible().map_or_else(|| "accepted".to_owned(), |why| why.to_string()),
        best: route.best().iter().any(|path| from(&path)),
        stale: path.is_stale(),
        rov: rov(path.rov()),
        attributes: attributes(path.received()),
        imported: changed.map(|used| attributes(used)),
    })
}

/// Entries of a table in order, those of a family after a prefix.
type Entries<'a, E> = Box<dyn Iterator<Item = (IpNet, E)> + 'a>;

/// The rows that `row` makes of the entries that are wanted. `all` and `one` find them.
fn page<'a, E: 'a, R>(
    select: &BgpSelect,
    all: impl Fn(Family, Option<IpNet>) -> Entries<'a, E> + 'a,
    one: impl Fn(&IpNet) -> Option<E>,
    row: impl Fn(IpNet, E) -> Option<R>,
) -> BgpPage<R> {
    let mut page = BgpPage { routes: Vec::new(), next: None };
    let mut last = select.after;
    for (looked, (prefix, entry)) in entries(select, all, one).enumerate() {
        if page.routes.len() >= select.limit || looked >= LOOK {
            page.next = last.map(|prefix| prefix.to_string());
            break;
        }
        page.routes.extend(row(prefix, entry));
        last = Some(prefix);
    }
    page
}

fn entries<'a, E: 'a>(
    select: &BgpSelect,
    all: impl Fn(Family, Option<IpNet>) -> Entries<'a, E> + 'a,
    one: impl Fn(&IpNet) -> Option<E>,
) -> Entries<'a, E> {
    let (wanted, after) = (select.family, select.after);
    let of_family = move |family: &Family| wanted.is_none_or(|wanted| wanted == of(*family));
    match select.prefix {
        Some((prefix, _)) if !of_family(&Family::of(&prefix)) => Box::new(std::iter::empty()),
        None => {
            let begins = after.as_ref().map(Family::of);
            let families = Family::ALL.into_iter().filter(of_family).filter(move |f| begins.is_none_or(|b| b <= *f));
            Box::new(families.flat_map(move |f| all(f, after.filter(|_| begins == Some(f)))))
        }
        Some((prefix, BgpMatch::Longer)) => {
            let first = one(&prefix).map(|entry| (prefix, entry)).filter(|_| after.is_none_or(|after| after < prefix));
            let rest = all(Family::of(&prefix), Some(after.map_or(prefix, |after| after.max(prefix))));
            Box::new(first.into_iter().chain(rest.take_while(move |(within, _)| prefix.contains(within))))
        }
        Some((prefix, scope)) => {
            let shortest = if scope == BgpMatch::Exact { prefix.prefix_len() } else { 0 };
            let around = (shortest..=prefix.prefix_len()).filter_map(|len| IpNet::new(prefix.addr(), len).ok());
            let around = around.map(|net| net.trunc()).filter(|net| after.is_none_or(|after| after < *net));
            let found: Vec<_> = around.filter_map(|net| one(&net).map(|entry| (net, entry))).collect();
            Box::new(found.into_iter())
        }
    }
}

pub(super) const fn of(family: Family) -> BgpFamily {
    match family {
        Family::Ipv4Unicast => BgpFamily::Ipv4,
        Family::Ipv6Unicast => BgpFamily::Ipv6,
    }
}

const fn rov(state: Rov) -> &'static str {
    match state {
        Rov::Valid => "valid",
        Rov::Invalid => "invalid",
        Rov::NotFound => "not_found",
    }
}

const fn messages(m: &Messages) -> BgpMessagesInfo {
    BgpMessagesInfo {
        open: m.open,
        update: m.update,
        notification: m.notification,
        keepalive: m.keepalive,
        route_refresh: m.route_refresh,
    }
}

fn negotiated(agreed: &Negotiated, n: &NeighbourView<'_>) -> BgpNegotiatedInfo {
    let restart = |r: &PeerRestart| BgpRestartInfo {
        restart_time: r.time.as_secs(),
        restarting: r.restarting,
        notification: r.notification,
        families: r.families.iter().map(|(family, preserved)| (of(*family), *preserved)).collect(),
    };
    BgpNegotiatedInfo {
        hold_time: agreed.hold_time,
        keepalive: agreed.hold_time / 3,
        extended_next_hop: agreed.extended_next_hop.iter().any(|(family, _)| *family == Family::Ipv4Unicast),
        extended_messages: agreed.extended_message,
        four_octet_as: agreed.four_octet_as,
        route_refresh: agreed.route_refresh,
        enhanced_route_refresh: agreed.enhanced_route_refresh,
        role: n.peer_role.map(|role| format!("{role:?}")),
        graceful_restart: n.peer_restart.map(restart),
    }
}

fn attributes(a: &Attributes) -> BgpAttributesInfo {
    let tunnel = |t: Tunnel| BgpTunnelInfo { endpoint: t.endpoint, colors: t.colors, protocols: t.protocols, ds: t.ds };
    BgpAttributesInfo {
        next_hop: a.next_hop.address,
        link_local: a.next_hop.link_local,
        origin: match a.origin {
            Origin::Igp => "igp",
            Origin::Egp => "egp",
            Origin::Incomplete => "incomplete",
        },
        as_path: a.as_path.to_string(),
        local_pref: a.local_pref,
        med: a.med,
        atomic_aggregate: a.atomic_aggregate,
        aggregator: a.aggregator.map(|by| format!("{} {}", by.asn, by.router_id)),
        communities: a.communities.iter().map(ToString::to_string).collect(),
        large_communities: a.large_communities.iter().map(ToString::to_string).collect(),
        extended_communities: a.extended_communities.iter().map(ToString::to_string).collect(),
        colors: a.colors().collect(),
        tunnels: Tunnel::offered(a).into_iter().map(tunnel).collect(),
        originator_id: a.originator_id,
        cluster_list: a.cluster_list.clone(),
        only_to_customer: a.only_to_customer,
        unknown: a.unknown.iter().map(|raw| raw.code).collect(),
    }
}

//! The routing information bases (RFC 4271, section 3.2): what neighbours announce, what is best, what they are sent.
//!
//! ```text
//!  UPDATE ──► Adj-RIB-In ──► import ──► decision ──► Loc-RIB ──► export ──► Adj-RIB-Out ──► UPDATE
//!               all paths     policy      of each       │         policy      what each
//!               received      ROV, OTC    prefix        ▼         reflection  neighbour has
//!                                                  RouteChange    OTC
//! ```
//!
//! Adj-RIBs-In and Loc-RIB are one table: a prefix has its paths, sorted, and the first of them are the best. A path
//! is two pointers to attributes that it shares with others, as received and as used. The Adj-RIBs-Out are queues of
//! prefixes: what a neighbour gets is decided when it is ready to take it.
//!
//! | module | holds |
//! |---|---|
//! | [`route`] | paths of a prefix, and changes told |
//! | [`peer`] | neighbours and their sessions |
//! | `import`, `export` | the rules on the way in and out |
//! | `decision` | the best paths |
//! | `adj_out` | what each neighbour has |
//! | `shared` | what all routes share, and how a change spreads |
//! | [`next_hop`] | reachability of next hops |
//! | [`rov`] | origin validation |

mod adj_out;
mod decision;
mod export;
mod import;
pub mod next_hop;
pub mod peer;
pub mod route;
pub mod rov;
mod shared;

pub use decision::Loses;
pub use next_hop::Tracking;
pub use peer::{Counts, NextHopMode, Peer, Peering, Totals};
pub use route::{BestPath, Ineligible, Path, PathKind, Route, RouteChange, Source};
pub use rov::{Rov, RovTable, Vrp};

use crate::attribute::Attributes;
use crate::message::{Announcement, Family, Update};
use crate::neighbour::NeighbourId;
use adj_out::Tell;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use peer::Neighbour;
use prefix_trie::joint::JointPrefixMap;
use route::Paths;
use shared::Shared;
use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// What holds for all neighbours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RibConfig {
    /// Our AS.
    pub local_as: u32,
    /// Our BGP identifier.
    pub router_id: Ipv4Addr,
    /// Our cluster as a route reflector; the BGP identifier, unless reflectors share one.
    pub cluster_id: Ipv4Addr,
    /// Most paths that share the load to a prefix, at least 1.
    pub max_paths: usize,
}

/// All routes.
#[derive(Debug)]
pub struct Rib {
    table: JointPrefixMap<IpNet, Route>,
    shared: Shared,
}

impl Rib {
    /// An empty RIB.
    pub fn new(config: RibConfig) -> Self {
        Self { table: JointPrefixMap::new(), shared: Shared::new(config) }
    }

    /// Configures a neighbour, or changes its configuration: its routes are judged again, both ways.
    pub fn set_peering(&mut self, id: NeighbourId, peering: Peering) {
        let Some(neighbour) = self.shared.neighbours.get_mut(&id) else {
            self.shared.neighbours.insert(id, Neighbour::new(peering));
            return;
        };
        if neighbour.peering == peering {
            return;
        }
        let reflected = neighbour.peering.client != peering.client;
        neighbour.peering = peering;
        self.import_again(id);
        let ids: Vec<NeighbourId> = self.shared.neighbours.keys().copied().collect();
        ids.into_iter().filter(|other| reflected || *other == id).for_each(|id| self.export_again(id));
    }

    /// Forgets a neighbour and its routes.
    pub fn remove_neighbour(&mut self, id: NeighbourId) {
        self.down(id, &BTreeSet::new());
        self.shared.neighbours.remove(&id);
    }

    /// A session is established. Routes that were kept from the last one stay, stale as they are.
    pub fn up(&mut self, id: NeighbourId, peer: Peer) {
        if let Some(neighbour) = self.shared.neighbours.get_mut(&id) {
            neighbour.peer = Some(peer);
            neighbour.up = true;
            neighbour.out = adj_out::AdjOut::default();
            self.export_again(id);
        }
    }

    /// A session has ended. Routes of the families in `keep` become stale (RFC 4724), all others go.
    pub fn down(&mut self, id: NeighbourId, keep: &BTreeSet<Family>) {
        if let Some(neighbour) = self.shared.neighbours.get_mut(&id) {
            neighbour.up = false;
            neighbour.out = adj_out::AdjOut::default();
        }
        for family in Family::ALL {
            match keep.contains(&family) {
                true => self.mark_stale(id, family),
                false => self.remove_paths(family, |path| is_from(path, id)),
            }
        }
        self.shared.collect();
    }

    /// Routes of a family become stale: the neighbour is about to announce them again.
    pub fn mark_stale(&mut self, id: NeighbourId, family: Family) {
        let concerns = |prefix: &IpNet, path: &Path| Family::of(prefix) == family && is_from(path, id);
        self.scan(concerns, |_, _, paths| paths.iter_mut().filter(|p| is_from(p, id)).for_each(|p| p.stale = true));
    }

    /// Routes of a family that are still stale go.
    pub fn sweep_stale(&mut self, id: NeighbourId, family: Family) {
        self.remove_paths(family, |path| path.stale && is_from(path, id));
    }

    /// An UPDATE of an established session.
    pub fn update(&mut self, id: NeighbourId, update: &Update) {
        if !self.shared.neighbours.get(&id).is_some_and(|n| n.up) {
            return;
        }
        for prefix in &update.withdrawn {
            self.remove(prefix, |path| is_from(path, id));
        }
        for announcement in &update.announced {
            let received = self.shared.interner.intern(Arc::clone(&announcement.attributes));
            let mut known = None;
            for prefix in &announcement.prefixes {
                let path = self.shared.path(prefix, id, &received, &mut known);
                self.insert(*prefix, path);
            }
        }
    }

    /// Announces a prefix of our own. A next hop that is unspecified becomes our address towards each neighbour.
    pub fn originate(&mut self, prefix: IpNet, attributes: Attributes) {
        let path = self.shared.local_path(&prefix, attributes);
        self.insert(prefix, path);
    }

    /// Takes a prefix of our own back.
    pub fn withdraw(&mut self, prefix: &IpNet) {
        self.remove(prefix, |path| path.local);
    }

    /// How far addresses are now, `None` being unreachable. Routes that depend on them are decided again.
    pub fn set_next_hops(&mut self, metrics: &[(IpAddr, Option<u32>)]) {
        let changed: BTreeSet<IpAddr> = metrics
            .iter()
            .filter(|(address, metric)| self.shared.next_hops.set(*address, *metric))
            .map(|m| m.0)
            .collect();
        if !changed.is_empty() {
            let depends = |attributes: &Arc<Attributes>| attributes.targets().any(|target| changed.contains(&target));
            self.scan(|_, path| path.used.as_ref().is_some_and(depends), |_, _, _| {});
        }
    }

    /// The next address whose reachability is wanted from now on, to be told by
    /// [`set_next_hops`](Self::set_next_hops), or is wanted no more.
    pub fn poll_tracking(&mut self) -> Option<Tracking> {
        self.shared.next_hops.poll()
    }

    /// Changes the VRPs. Routes that they cover are validated again, and those whose state changes judged again,
    /// on the way in and out.
    pub fn set_vrps(&mut self, added: &[Vrp], removed: &[Vrp]) {
        let shared = &mut self.shared;
        let removed = removed.iter().filter(|vrp| shared.rov.remove(vrp)).map(|vrp| vrp.prefix);
        let mut changed: BTreeSet<IpNet> = removed.collect();
        changed.extend(added.iter().filter(|vrp| shared.rov.insert(**vrp)).map(|vrp| vrp.prefix));
        let judges = |n: &Neighbour| n.peering.export.as_ref().is_some_and(|policy| policy.looks_at_prefix());
        let judging: Vec<_> = shared.neighbours.iter().filter(|(_, n)| judges(n)).map(|(id, _)| *id).collect();
        for vrp in changed {
            for (prefix, route) in self.table.children_mut(&vrp) {
                let other = |path: &Path| shared.validate(&prefix, &path.received) != path.rov;
                if route.paths.iter().any(other) {
                    shared.change(&prefix, route, |shared, paths| import_paths(shared, &prefix, paths, |_| true));
                    judging.iter().for_each(|id| shared.touch(*id, &prefix, route));
                }
            }
        }
    }

    /// The next change of the best paths to a prefix of the family.
    pub fn poll_change(&mut self, family: Family) -> Option<RouteChange> {
        let prefix = self.shared.changes.of_mut(family).pop_front()?;
        let Some(route) = self.table.get_mut(&prefix) else { return Some(RouteChange { prefix, best: Vec::new() }) };
        route.changed = false;
        let change = self.shared.describe(prefix, route);
        if route.paths.is_empty() {
            self.table.remove(&prefix);
        }
        Some(change)
    }

    /// What the neighbour is to be told next of the family, looking at `max` queued prefixes at a time. `None` when it
    /// knows all.
    pub fn poll_update(&mut self, id: NeighbourId, family: Family, max: usize) -> Option<Update> {
        loop {
            let prefixes = self.shared.neighbours.get_mut(&id)?.out.dequeue(family, max.max(1));
            if prefixes.is_empty() {
                return None;
            }
            let exported = self.shared.export(id, prefixes, |prefix| self.table.get(prefix));
            let update = group(self.shared.neighbours.get_mut(&id)?, exported);
            if update != Update::default() {
                return Some(update);
            }
        }
    }

    /// Whether prefixes of the family are queued for the neighbour.
    pub fn is_pending(&self, id: NeighbourId, family: Family) -> bool {
        self.shared.neighbours.get(&id).is_some_and(|n| n.out.is_pending(family))
    }

    /// The neighbour asks for all routes of a family again (RFC 2918).
    pub fn refresh(&mut self, id: NeighbourId, family: Family) {
        if let Some(neighbour) = self.shared.neighbours.get_mut(&id) {
            neighbour.out.again(family);
        }
    }

    /// The paths to a prefix.
    pub fn route(&self, prefix: &IpNet) -> Option<&Route> {
        self.table.get(prefix)
    }

    /// The best paths to a prefix.
    pub fn best(&self, prefix: &IpNet) -> Vec<BestPath> {
        self.route(prefix).map(|route| self.shared.describe(*prefix, route).best).unwrap_or_default()
    }

    /// All routes of a family in order, those after `after`.
    pub fn routes(&self, family: Family, after: Option<IpNet>) -> impl Iterator<Item = (IpNet, &Route)> {
        self::after(&self.table, family, after)
    }

    /// Why a path to a prefix is not among the best; `None` if it is.
    pub fn loses(&self, route: &Route, path: &Path) -> Option<Loses> {
        self.shared.world().loses(route, path)
    }

    /// The routes of a family that a neighbour has been sent, in order, those after `after`. Without attributes: it may
    /// have to be told of it, and was not yet.
    pub fn advertised(
        &self,
        id: NeighbourId,
        family: Family,
        after: Option<IpNet>,
    ) -> impl Iterator<Item = (IpNet, Option<&Arc<Attributes>>)> {
        self.shared.neighbours.get(&id).into_iter().flat_map(move |n| n.out.advertised(family, after))
    }

    /// What a neighbour has been sent of a prefix.
    pub fn sent(&self, id: NeighbourId, prefix: &IpNet) -> Option<&Arc<Attributes>> {
        self.shared.neighbours.get(&id)?.out.sent(prefix)
    }

    /// How many routes of a family a neighbour has sent and been sent.
    pub fn counts(&self, id: NeighbourId, family: Family) -> Counts {
        let Some(neighbour) = self.shared.neighbours.get(&id) else { return Counts::default() };
        let (received, accepted) = *neighbour.received.of(family);
        Counts { received, accepted, advertised: neighbour.out.count(family) }
    }

    /// How many routes and paths there are of a family.
    pub fn totals(&self, family: Family) -> Totals {
        *self.shared.totals.of(family)
    }

    /// The VRPs.
    pub fn vrps(&self) -> &RovTable {
        &self.shared.rov
    }

    /// How many different sets of attributes all routes have.
    pub fn attribute_sets(&self) -> usize {
        self.shared.interner.len()
    }

    /// Puts a path in the place of the one from the same source.
    fn insert(&mut self, prefix: IpNet, path: Path) {
        let route = self.table.entry(prefix).or_default();
        self.shared.change(&prefix, route, |shared, paths| {
            shared.count(&prefix, &path, true);
            match paths.iter_mut().find(|p| p.source() == path.source()) {
                Some(old) => shared.count(&prefix, &std::mem::replace(old, path), false),
                None => {
                    paths.reserve_exact(1);
                    paths.push(path);
                }
            }
        });
    }

    fn remove(&mut self, prefix: &IpNet, gone: impl Fn(&Path) -> bool) {
        let Some(route) = self.table.get_mut(prefix) else { return };
        if route.paths.iter().any(&gone) {
            self.shared.change(prefix, route, |shared, paths| retain(shared, prefix, paths, &gone));
            if route.paths.is_empty() && !route.changed {
                self.table.remove(prefix);
            }
        }
    }

    fn remove_paths(&mut self, family: Family, gone: impl Fn(&Path) -> bool) {
        let concerns = |prefix: &IpNet, path: &Path| Family::of(prefix) == family && gone(path);
        self.scan(concerns, |shared, prefix, paths| retain(shared, prefix, paths, &gone));
    }

    fn import_again(&mut self, id: NeighbourId) {
        let concerns = |_: &IpNet, path: &Path| is_from(path, id);
        self.scan(concerns, |shared, prefix, paths| import_paths(shared, prefix, paths, |path| is_from(path, id)));
    }

    /// Queues all routes for a neighbour. Only what has changed for it will be sent.
    fn export_again(&mut self, id: NeighbourId) {
        for (prefix, route) in &self.table {
            self.shared.touch(id, &prefix, route);
        }
    }

    /// Changes the routes that have a path of concern.
    fn scan(
        &mut self,
        concerns: impl Fn(&IpNet, &Path) -> bool,
        mut change: impl FnMut(&mut Shared, &IpNet, &mut Paths),
    ) {
        let mut empty = Vec::new();
        for (prefix, route) in self.table.iter_mut() {
            if route.paths.iter().any(|path| concerns(&prefix, path)) {
                self.shared.change(&prefix, route, |shared, paths| change(shared, &prefix, paths));
                if route.paths.is_empty() && !route.changed {
                    empty.push(prefix);
                }
            }
        }
        for prefix in empty {
            self.table.remove(&prefix);
        }
    }
}

fn is_from(path: &Path, id: NeighbourId) -> bool {
    path.source() == Source::Neighbour(id)
}

fn retain(shared: &mut Shared, prefix: &IpNet, paths: &mut Paths, gone: impl Fn(&Path) -> bool) {
    paths.retain(|path| {
        let gone = gone(path);
        if gone {
            shared.count(prefix, path, false);
        }
        !gone
    });
}

/// Judges paths again.
fn import_paths(shared: &mut Shared, prefix: &IpNet, paths: &mut [Path], which: impl Fn(&Path) -> bool) {
    for path in paths.iter_mut().filter(|path| which(path)) {
        if path.local {
            path.rov = shared.validate(prefix, &path.received);
            continue;
        }
        let new = shared.path(prefix, path.neighbour, &path.received, &mut None);
        shared.count(prefix, &new, true);
        let old = std::mem::replace(path, new);
        path.stale = old.stale;
        shared.count(prefix, &old, false);
    }
}

/// Makes an UPDATE of what a neighbour does not know yet, prefixes with the same attributes together.
fn group(neighbour: &mut Neighbour, exported: Vec<(IpNet, Option<Arc<Attributes>>)>) -> Update {
    let mut update = Update::default();
    let mut index = HashMap::new();
    for (prefix, attributes) in exported {
        match (neighbour.out.settle(prefix, attributes.clone()), attributes) {
            (Tell::Withdraw, _) => update.withdrawn.push(prefix),
            (Tell::Announce, Some(attributes)) => {
                let at = *index.entry(Arc::as_ptr(&attributes)).or_insert_with(|| {
                    update.announced.push(Announcement { attributes, prefixes: Vec::new() });
                    update.announced.len() - 1
                });
                if let Some(announcement) = update.announced.get_mut(at) {
                    announcement.prefixes.push(prefix);
                }
            }
            _ => {}
        }
    }
    update
}

/// The entries of a family in order, those after `after`.
fn after<T>(map: &JointPrefixMap<IpNet, T>, family: Family, after: Option<IpNet>) -> impl Iterator<Item = (IpNet, &T)> {
    let first = match family {
        Family::Ipv4Unicast => IpNet::V4(Ipv4Net::default()),
        Family::Ipv6Unicast => IpNet::V6(Ipv6Net::default()),
    };
    let all = map.iter_from(&after.unwrap_or(first), after.is_none());
    all.take_while(move |(prefix, _)| Family::of(prefix) == family)
}

#[cfg(test)]
mod tests;

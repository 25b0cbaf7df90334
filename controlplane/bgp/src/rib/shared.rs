//! What all routes share: configuration, neighbours, next hops, attributes and VRPs, and the queue of changes.

use super::decision::World;
use super::export::Between;
use super::import::{import, is_martian};
use super::next_hop::NextHops;
use super::peer::{Neighbour, PerFamily, Totals};
use super::route::{BestPath, Ineligible, Path, Paths, Route, RouteChange, Source};
use super::rov::RovTable;
use super::{RibConfig, Rov};
use crate::attribute::{Attributes, Interner};
use crate::message::Family;
use crate::neighbour::NeighbourId;
use ipnet::IpNet;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Shared {
    pub config: RibConfig,
    pub neighbours: BTreeMap<NeighbourId, Neighbour>,
    pub next_hops: NextHops,
    pub interner: Interner,
    pub rov: RovTable,
    /// Prefixes whose best paths have changed, each once: those whose [`Route::changed`] is set.
    pub changes: PerFamily<VecDeque<IpNet>>,
    pub totals: PerFamily<Totals>,
}

/// What came of the import of a path.
type Imported = Result<Arc<Attributes>, Ineligible>;

impl Shared {
    pub fn new(config: RibConfig) -> Self {
        Self {
            config,
            neighbours: BTreeMap::new(),
            next_hops: NextHops::default(),
            interner: Interner::default(),
            rov: RovTable::default(),
            changes: PerFamily::default(),
            totals: PerFamily::default(),
        }
    }

    /// The path that a neighbour has announced. `known` remembers what came of the import for all prefixes with the
    /// same attributes, if that does not depend on the prefix.
    pub fn path(
        &mut self,
        prefix: &IpNet,
        id: NeighbourId,
        received: &Arc<Attributes>,
        known: &mut Option<Imported>,
    ) -> Path {
        let rov = self.validate(prefix, received);
        let imported = match known {
            _ if is_martian(prefix) => Err(Ineligible::Martian),
            Some(imported) => imported.clone(),
            None => {
                let imported = self.import(prefix, id, rov, received);
                if !self.imports_by_prefix(id) {
                    *known = Some(imported.clone());
                }
                imported
            }
        };
        let (used, ineligible) = match imported {
            Ok(used) => (Some(used), None),
            Err(ineligible) => (None, Some(ineligible)),
        };
        Path { received: Arc::clone(received), used, neighbour: id, local: false, stale: false, rov, ineligible }
    }

    /// A path of our own.
    pub fn local_path(&mut self, prefix: &IpNet, attributes: Attributes) -> Path {
        let attributes = self.interner.intern(Arc::new(attributes));
        let rov = self.validate(prefix, &attributes);
        let used = Some(Arc::clone(&attributes));
        let neighbour = NeighbourId(0);
        Path { received: attributes, used, neighbour, local: true, stale: false, rov, ineligible: None }
    }

    /// The state of a route. One with an empty AS_PATH is of our own AS (RFC 6811, section 2).
    pub fn validate(&self, prefix: &IpNet, attributes: &Attributes) -> Rov {
        let path = &attributes.as_path;
        let origin = if path.is_empty() { Some(self.config.local_as) } else { path.origin() };
        self.rov.validate(prefix, origin)
    }

    fn import(&mut self, prefix: &IpNet, id: NeighbourId, rov: Rov, received: &Arc<Attributes>) -> Imported {
        let Some(neighbour) = self.neighbours.get(&id) else { return Err(Ineligible::NoPolicy) };
        let Some(peer) = &neighbour.peer else { return Err(Ineligible::NoPolicy) };
        let used = match import(&self.config, neighbour, peer, prefix, rov, received)? {
            Cow::Borrowed(_) => Arc::clone(received),
            Cow::Owned(changed) => self.interner.intern(Arc::new(changed)),
        };
        used.targets().for_each(|target| self.next_hops.track(target));
        if self.next_hops.overdue() {
            self.collect();
        }
        Ok(used)
    }

    fn imports_by_prefix(&self, id: NeighbourId) -> bool {
        let policy = self.neighbours.get(&id).and_then(|n| n.peering.import.as_ref());
        policy.is_some_and(|policy| policy.looks_at_prefix())
    }

    /// A neighbour has got, or lost, a path.
    pub fn count(&mut self, prefix: &IpNet, path: &Path, more: bool) {
        let neighbour = if path.local { None } else { self.neighbours.get_mut(&path.neighbour) };
        if let Some(neighbour) = neighbour {
            let (received, accepted) = neighbour.received.of_mut(Family::of(prefix));
            let eligible = usize::from(path.used.is_some());
            (*received, *accepted) = match more {
                true => (*received + 1, *accepted + eligible),
                false => (received.saturating_sub(1), accepted.saturating_sub(eligible)),
            };
        }
    }

    /// Changes the paths of a route, decides again, and queues what follows from it.
    pub fn change(&mut self, prefix: &IpNet, route: &mut Route, change: impl FnOnce(&mut Self, &mut Paths)) {
        let before = route.fingerprint();
        let paths = route.paths.len();
        change(self, &mut route.paths);
        self.world().decide(route);
        let totals = self.totals.of_mut(Family::of(prefix));
        totals.paths = totals.paths.saturating_sub(paths) + route.paths.len();
        totals.routes = totals.routes.saturating_sub(usize::from(!before.is_empty())) + usize::from(route.best > 0);
        if route.fingerprint() == before {
            return;
        }
        if !std::mem::replace(&mut route.changed, true) {
            self.changes.of_mut(Family::of(prefix)).push_back(*prefix);
        }
        for id in self.neighbours.keys().copied().collect::<SmallVec<[_; 8]>>() {
            self.touch(id, prefix, route);
        }
    }

    /// Queues a route for a neighbour, if it concerns it.
    pub fn touch(&mut self, id: NeighbourId, prefix: &IpNet, route: &Route) {
        let concerned = route
            .best()
            .first()
            .is_some_and(|path| self.between(id, path).is_some_and(|between| between.reaches(prefix, path)));
        if let Some(neighbour) = self.neighbours.get_mut(&id).filter(|n| n.up) {
            neighbour.out.touch(*prefix, concerned);
        }
    }

    /// What `id` is to be sent of each of the prefixes, with `route` to look them up.
    pub fn export<'a>(
        &mut self,
        id: NeighbourId,
        prefixes: Vec<IpNet>,
        route: impl Fn(&IpNet) -> Option<&'a Route>,
    ) -> Vec<(IpNet, Option<Arc<Attributes>>)> {
        let by_prefix =
            self.neighbours.get(&id).and_then(|n| n.peering.export.as_ref()).is_some_and(|p| p.looks_at_prefix());
        let mut known: HashMap<(Family, Source, *const Attributes), Option<Arc<Attributes>>> = HashMap::new();
        let mut export = |prefix: &IpNet| {
            let path = route(prefix)?.best().first()?;
            let key = (Family::of(prefix), path.source(), Arc::as_ptr(path.used.as_ref()?));
            if let Some(known) = known.get(&key).filter(|_| !by_prefix) {
                return known.clone();
            }
            let exported = self.between(id, path)?.export(prefix, path);
            let exported = exported.map(|attributes| self.interner.intern(Arc::new(attributes)));
            known.insert(key, exported.clone());
            exported
        };
        prefixes.into_iter().map(|prefix| (prefix, export(&prefix))).collect()
    }

    fn between(&self, to_id: NeighbourId, path: &Path) -> Option<Between<'_>> {
        let from = if path.local { None } else { Some(self.neighbours.get(&path.neighbour)?) };
        Some(Between { config: &self.config, from, to_id, to: self.neighbours.get(&to_id)? })
    }

    pub fn world(&self) -> World<'_> {
        World { config: &self.config, neighbours: &self.neighbours, next_hops: &self.next_hops }
    }

    /// What a route's best paths are now.
    pub fn describe(&self, prefix: IpNet, route: &Route) -> RouteChange {
        let world = self.world();
        let best = |path: &Path| {
            let attributes = Arc::clone(path.used.as_ref()?);
            let next_hop = attributes.next_hop.resolve();
            Some(BestPath { next_hop, attributes, source: path.source(), kind: world.kind(path)? })
        };
        RouteChange { prefix, best: route.best().iter().filter_map(best).collect() }
    }

    /// Forgets attributes that no route has, and next hops that no attributes name.
    pub fn collect(&mut self) {
        self.interner.sweep();
        let used: HashSet<_> = self.interner.iter().flat_map(|set| set.targets().collect::<Vec<_>>()).collect();
        self.next_hops.retain(&used);
    }
}

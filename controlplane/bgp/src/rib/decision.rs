//! The decision process (RFC 4271, section 9.1.2): which paths to a prefix are the best.
//!
//! ```text
//!  eligible, and reachable                                    9.1.2.1
//!  highest LOCAL_PREF, then our own                           9.1.1
//!  shortest AS_PATH                                           9.1.2.2 a
//!  lowest ORIGIN                                              b
//!  lowest MULTI_EXIT_DISC among those of one neighbouring AS  c
//!  eBGP before iBGP                                           d
//!  nearest next hop                                           e      what is left is equally good: multipath
//!  lowest ORIGINATOR_ID or BGP identifier                     f, RFC 4456 section 9
//!  shortest CLUSTER_LIST                                      RFC 4456 section 9
//!  lowest address of the neighbour                            g
//! ```

use super::RibConfig;
use super::next_hop::NextHops;
use super::peer::Neighbour;
use super::route::{Ineligible, Path, PathKind, Route};
use crate::attribute::{Attributes, Origin};
use crate::neighbour::NeighbourId;
use smallvec::SmallVec;
use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

const DEFAULT_LOCAL_PREF: u32 = 100;

/// What the decision needs to know of everything else.
pub(super) struct World<'a> {
    pub config: &'a RibConfig,
    pub neighbours: &'a BTreeMap<NeighbourId, Neighbour>,
    pub next_hops: &'a NextHops,
}

impl World<'_> {
    /// Puts the best paths to the front and counts them.
    pub fn decide(&self, route: &mut Route) {
        let mut candidates: Candidates =
            route.paths.iter().enumerate().filter_map(|(index, path)| self.candidate(index, path)).collect();
        if candidates.len() > 1 {
            eliminate(&mut candidates);
            candidates.sort_by_key(|c| (c.router_id, c.cluster_length, c.address));
            share(&mut candidates, self.config.max_paths);
        }
        route.best = candidates.len().min(usize::from(u8::MAX)) as u8;
        if route.paths.len() > 1 {
            let rank = |index: usize| candidates.iter().position(|c| c.index == index).unwrap_or(usize::MAX);
            let mut ranked: Vec<(usize, Path)> =
                std::mem::take(&mut route.paths).into_iter().enumerate().map(|(i, path)| (rank(i), path)).collect();
            ranked.sort_by_key(|(rank, path)| (*rank, path.neighbour));
            route.paths = ranked.into_iter().map(|(_, path)| path).collect();
        }
    }

    /// How a path was learned; `None` if its neighbour was never heard of.
    pub fn kind(&self, path: &Path) -> Option<PathKind> {
        if path.local {
            return Some(PathKind::Local);
        }
        let peer = self.neighbours.get(&path.neighbour)?.peer.as_ref()?;
        Some(if peer.negotiated.ibgp { PathKind::Internal } else { PathKind::External })
    }

    fn candidate(&self, index: usize, path: &Path) -> Option<Candidate> {
        let attributes = path.used.as_deref()?;
        let kind = self.kind(path)?;
        let metric = if path.local { 0 } else { self.metric(attributes)? };
        let peer = self.neighbours.get(&path.neighbour).and_then(|n| n.peer.as_ref()).filter(|_| !path.local);
        Some(Candidate {
            index,
            local_pref: attributes.local_pref.unwrap_or(DEFAULT_LOCAL_PREF),
            path_length: attributes.as_path.length(),
            origin: attributes.origin,
            med: attributes.med.unwrap_or(0),
            neighbour_as: attributes.as_path.first(),
            kind,
            metric,
            router_id: attributes.originator_id.or(peer.map(|peer| peer.router_id)),
            cluster_length: attributes.cluster_list.len(),
            address: peer.map(|peer| peer.address),
            next_hop: attributes.next_hop.resolve(),
        })
    }

    fn metric(&self, attributes: &Attributes) -> Option<u32> {
        attributes.targets().filter_map(|target| self.next_hops.metric(target)).min()
    }
}

/// Why a path is not among the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Loses {
    /// It is never used.
    #[error("{0}")]
    Ineligible(Ineligible),
    /// Its next hop, or the egress of its tunnels, is not reachable.
    #[error("next hop unreachable")]
    Unreachable,
    /// Another has a higher LOCAL_PREF.
    #[error("LOCAL_PREF")]
    LocalPref,
    /// Another is our own.
    #[error("own route")]
    Own,
    /// Another has a shorter AS_PATH.
    #[error("AS_PATH length")]
    AsPath,
    /// Another has a lower ORIGIN.
    #[error("ORIGIN")]
    Origin,
    /// Another of the same neighbouring AS has a lower MULTI_EXIT_DISC.
    #[error("MULTI_EXIT_DISC")]
    Med,
    /// Another is external.
    #[error("eBGP before iBGP")]
    Internal,
    /// Another's next hop is nearer.
    #[error("distance of the next hop")]
    Distance,
    /// As good as the best, and not chosen: another has a lower BGP Identifier.
    #[error("BGP Identifier")]
    RouterId,
    /// Likewise: another has a shorter CLUSTER_LIST.
    #[error("CLUSTER_LIST length")]
    ClusterList,
    /// Likewise: another's neighbour has a lower address.
    #[error("neighbour's address")]
    Address,
}

impl World<'_> {
    /// The step of the decision at which a path falls behind the first of the best ones.
    pub fn loses(&self, route: &Route, path: &Path) -> Option<Loses> {
        if let Some(ineligible) = path.ineligible {
            return Some(Loses::Ineligible(ineligible));
        }
        if route.best().iter().any(|best| best.source() == path.source()) {
            return None;
        }
        let Some(it) = self.candidate(0, path) else { return Some(Loses::Unreachable) };
        let best = self.candidate(0, route.best().first()?)?;
        let med = |c: &Candidate| if best.neighbour_as == it.neighbour_as { c.med } else { 0 };
        let own = |c: &Candidate| c.kind != PathKind::Local;
        let steps = [
            (Reverse(best.local_pref).cmp(&Reverse(it.local_pref)), Loses::LocalPref),
            (own(&best).cmp(&own(&it)), Loses::Own),
            (best.path_length.cmp(&it.path_length), Loses::AsPath),
            (best.origin.cmp(&it.origin), Loses::Origin),
            (med(&best).cmp(&med(&it)), Loses::Med),
            (best.kind.cmp(&it.kind), Loses::Internal),
            (best.metric.cmp(&it.metric), Loses::Distance),
            (best.router_id.cmp(&it.router_id), Loses::RouterId),
            (best.cluster_length.cmp(&it.cluster_length), Loses::ClusterList),
        ];
        match steps.into_iter().find(|(order, _)| order.is_ne()) {
            Some((Ordering::Less, step)) => Some(step),
            // It would have won: a third path of its neighbouring AS, which lost later, has put it out.
            Some((_, _)) => Some(Loses::Med),
            None => Some(Loses::Address),
        }
    }
}

/// Most prefixes have one path.
type Candidates = SmallVec<[Candidate; 1]>;

struct Candidate {
    index: usize,
    local_pref: u32,
    path_length: usize,
    origin: Origin,
    med: u32,
    neighbour_as: Option<u32>,
    kind: PathKind,
    metric: u32,
    router_id: Option<Ipv4Addr>,
    cluster_length: usize,
    address: Option<IpAddr>,
    next_hop: IpAddr,
}

/// Leaves the candidates that are equally good up to their distance.
fn eliminate(candidates: &mut Candidates) {
    keep_lowest(candidates, |c| (Reverse(c.local_pref), c.kind != PathKind::Local, c.path_length, c.origin));
    let meds: Vec<(Option<u32>, u32)> = candidates.iter().map(|c| (c.neighbour_as, c.med)).collect();
    candidates.retain(|c| !meds.iter().any(|(asn, med)| *asn == c.neighbour_as && *med < c.med));
    keep_lowest(candidates, |c| (c.kind, c.metric));
}

fn keep_lowest<K: Ord>(candidates: &mut Candidates, key: impl Fn(&Candidate) -> K) {
    if let Some(lowest) = candidates.iter().map(&key).min() {
        candidates.retain(|c| key(c) == lowest);
    }
}

/// Leaves the first and those that share the load with it: of the same neighbouring AS, each with a next hop of its
/// own.
fn share(candidates: &mut Candidates, max_paths: usize) {
    let Some(neighbour_as) = candidates.first().map(|c| c.neighbour_as) else { return };
    let mut next_hops = Vec::new();
    candidates.retain(|c| {
        let new =
            c.neighbour_as == neighbour_as && !next_hops.contains(&c.next_hop) && next_hops.len() < max_paths.max(1);
        if new {
            next_hops.push(c.next_hop);
        }
        new
    });
}

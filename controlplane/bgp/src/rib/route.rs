//! What is known of a prefix: its paths, one from each neighbour at most, the best ones first.

use super::Rov;
use crate::attribute::Attributes;
use crate::neighbour::NeighbourId;
use ipnet::IpNet;
use smallvec::SmallVec;
use std::net::IpAddr;
use std::sync::Arc;

/// Paths to a prefix, of which most have one.
pub(super) type Paths = SmallVec<[Path; 1]>;

/// All paths to a prefix. It is the prefix's part of every Adj-RIB-In and of the Loc-RIB at once: the first
/// [`best`](Self::best) paths are the Loc-RIB's.
#[derive(Debug, Default)]
pub struct Route {
    pub(super) paths: Paths,
    pub(super) best: u8,
    /// The change of the best paths is still to be told.
    pub(super) changed: bool,
}

/// A path to a prefix.
#[derive(Clone, Debug)]
pub struct Path {
    pub(super) received: Arc<Attributes>,
    pub(super) used: Option<Arc<Attributes>>,
    pub(super) neighbour: NeighbourId,
    pub(super) local: bool,
    pub(super) stale: bool,
    pub(super) rov: Rov,
    pub(super) ineligible: Option<Ineligible>,
}

/// Why a path is never used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ineligible {
    /// An external neighbour without an import policy (RFC 8212).
    #[error("no import policy")]
    NoPolicy,
    /// The import policy rejects it.
    #[error("rejected by policy")]
    Policy,
    /// Our AS is in the AS_PATH (RFC 4271, section 9.1.2).
    #[error("AS loop")]
    AsLoop,
    /// The AS_PATH does not start with the neighbour's AS (RFC 4271, section 6.3).
    #[error("first AS is not the neighbour's")]
    FirstAs,
    /// It comes from us, reflected (RFC 4456, section 8).
    #[error("our own route reflected")]
    Originator,
    /// It has passed our cluster (RFC 4456, section 8).
    #[error("cluster loop")]
    ClusterLoop,
    /// Only to Customer says that it should not come from there (RFC 9234, section 5).
    #[error("route leak")]
    RouteLeak,
    /// The next hop is ours (RFC 4271, section 5.1.3).
    #[error("next hop is our own")]
    OwnNextHop,
    /// No network has the prefix (RFC 4271, section 6.3).
    #[error("not a unicast prefix")]
    Martian,
}

/// Where a path comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// From ourselves.
    Local,
    /// From a neighbour, over iBGP or eBGP.
    Neighbour(NeighbourId),
}

/// The kind of a path, the preferred first (RFC 4271, section 9.1.2.2 d).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathKind {
    /// From ourselves.
    Local,
    /// Learned over eBGP.
    External,
    /// Learned over iBGP.
    Internal,
}

/// The best paths of a prefix have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteChange {
    /// The prefix.
    pub prefix: IpNet,
    /// Its best paths, equally good, the one that is advertised first. Empty is unreachable.
    pub best: Vec<BestPath>,
}

/// A path to forward by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BestPath {
    /// Where packets go; unspecified for a path of our own that leaves it open.
    pub next_hop: IpAddr,
    /// Its attributes after import.
    pub attributes: Arc<Attributes>,
    /// Who it is from.
    pub source: Source,
    /// How it was learned.
    pub kind: PathKind,
}

impl Route {
    /// All paths, the best ones first.
    pub fn paths(&self) -> &[Path] {
        &self.paths
    }

    /// The best paths.
    pub fn best(&self) -> &[Path] {
        self.paths.get(..usize::from(self.best)).unwrap_or_default()
    }

    /// What tells one set of best paths from another.
    pub(super) fn fingerprint(&self) -> SmallVec<[(Source, Option<*const Attributes>); 1]> {
        self.best().iter().map(|path| (path.source(), path.used.as_ref().map(Arc::as_ptr))).collect()
    }
}

impl Path {
    /// Who it is from.
    pub const fn source(&self) -> Source {
        if self.local { Source::Local } else { Source::Neighbour(self.neighbour) }
    }

    /// The attributes as received.
    pub fn received(&self) -> &Arc<Attributes> {
        &self.received
    }

    /// The attributes after import, unless it is ineligible.
    pub fn used(&self) -> Option<&Arc<Attributes>> {
        self.used.as_ref()
    }

    /// Why it is never used.
    pub const fn ineligible(&self) -> Option<Ineligible> {
        self.ineligible
    }

    /// Its neighbour is restarting, or about to send it again (RFC 4724, RFC 7313).
    pub const fn is_stale(&self) -> bool {
        self.stale
    }

    /// What origin validation says of it.
    pub const fn rov(&self) -> Rov {
        self.rov
    }
}

impl Attributes {
    /// The addresses of which one must be reachable for the route to be: the egress endpoints of its tunnels if it has
    /// the Tunnel Encapsulation attribute (RFC 9012, section 7.1), else the next hop.
    pub(super) fn targets(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let next_hop = self.next_hop.resolve();
        let tunnels = self.tunnel_encap.as_ref();
        let plain = tunnels.is_none().then_some(next_hop);
        plain.into_iter().chain(tunnels.into_iter().flat_map(move |tunnels| tunnels.endpoints(next_hop)))
    }
}

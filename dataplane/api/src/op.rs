//! Changes the control plane makes to the data plane.

use crate::{
    FilterId, FilterRule, IpPrefix, MacAddr, NextHop, PeerId, PolicyRule, PortConfig, PortId, SaIn, SaOut, SaOutId,
    Session, SessionId, Softwire, SoftwireId, Spi, TraceSpec, WorkerId,
};
use std::net::{IpAddr, SocketAddr};

/// Number of a `TableOp` on its worker's ring, from 1. The worker publishes the last one it applied.
pub type OpSeq = u64;

/// A change to one worker's own tables, applied in order.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // ring slots are of one size anyway
pub enum TableOp {
    /// Adds an inbound SA; its slot must be free.
    SaInAdd(SaIn),
    /// Removes an inbound SA.
    SaInDel(Spi),
    /// Adds an outbound SA; its slot must be free.
    SaOutAdd(SaOut),
    /// Removes an outbound SA.
    SaOutDel(SaOutId),
    /// From now on traffic to `peer` uses this outbound SA (first child SA, or after a rekey).
    PeerSelect {
        /// Whose traffic.
        peer: PeerId,
        /// `None`: the peer has no SA any more, its traffic is dropped and counted.
        sa: Option<SaOutId>,
    },
    /// The peer's outer address or NAT port changed, or ours towards it (MOBIKE): rewrites its SAs and sessions.
    PeerMoved {
        /// Who moved.
        peer: PeerId,
        /// Our outer address, and UDP encapsulation port.
        local: SocketAddr,
        /// Its outer address, and UDP encapsulation port.
        remote: SocketAddr,
        /// ESP travels in UDP from now on.
        encap: bool,
    },
    /// Adds a session; its slot must be free.
    SessionAdd(Session),
    /// Replaces a session's parameters, keeping its counters and, of a direction that stays limited, its tokens.
    SessionSet(Session),
    /// Removes a session. Its counters are final when this is applied, and stay until the slot's next `SessionAdd`.
    SessionDel(SessionId),
    /// Traces packets from now on, and no others; `None`: none.
    Trace(Option<TraceSpec>),
}

/// A change to what all workers share. Ops sent together are published together.
#[derive(Clone, Debug)]
pub enum SnapshotOp {
    /// Adds or replaces a port.
    Port(PortConfig),
    /// Adds or replaces a route; several next hops are ECMP.
    RouteAdd(IpPrefix, Vec<NextHop>),
    /// Removes a route.
    RouteDel(IpPrefix),
    /// A neighbour on a link was resolved.
    NeighbourAdd(PortId, IpAddr, MacAddr),
    /// A neighbour is gone.
    NeighbourDel(PortId, IpAddr),
    /// Adds or replaces a softwire.
    SoftwireSet(Softwire),
    /// Removes a softwire.
    SoftwireDel(SoftwireId),
    /// Who receives, inside ESP, what the host stack sends to this address where the SPD says PROTECT, and alone may
    /// send it from there; `None` as long as there is no SA: nothing passes then.
    HostPeer(IpAddr, Option<(PeerId, WorkerId)>),
    /// Replaces the SPD.
    Policy(Vec<PolicyRule>),
    /// Adds or replaces a filter of at most [`MAX_RULES`](crate::filter::MAX_RULES); no rules remove it: sessions that
    /// name it then pass nothing.
    Filter(FilterId, Vec<FilterRule>),
}

/// What a worker tells the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerEvent {
    /// An inbound SA reached a soft limit.
    SaInSoft(Spi, PeerId),
    /// An inbound SA reached a hard limit and drops.
    SaInHard(Spi, PeerId),
    /// An outbound SA reached a soft limit.
    SaOutSoft(SaOutId, PeerId),
    /// An outbound SA reached a hard limit and drops.
    SaOutHard(SaOutId, PeerId),
    /// First authenticated packet on an inbound SA.
    SaInUsed(Spi, PeerId),
    /// An authenticated packet came from another outer address or port (NAT rebinding).
    PeerMoved(PeerId, SocketAddr),
    /// A router on a softwire's path says that it carries outer packets of at most so many octets.
    PathMtu(SoftwireId, u16),
    /// A packet was to go into a softwire whose SA is not up.
    SoftwireWanted(SoftwireId),
    /// A packet needs a neighbour that is not resolved: the host stack is to ask for it.
    NeighbourMiss(PortId, IpAddr),
}

//! What the management plane may ask and sees: plain serializable types, and a handle that carries questions
//! to the control plane's thread and brings the answers back, and events as they happen.

mod bgp;
mod event;
mod mesh;
mod neighbour;
mod page;
mod radius;
mod sa;
mod session;
mod status;
mod trace;

pub use bgp::{
    BgpAction, BgpAttributesInfo, BgpFamily, BgpFamilyInfo, BgpMatch, BgpMessagesInfo, BgpNegotiatedInfo, BgpPage,
    BgpPathInfo, BgpReceivedInfo, BgpRestartInfo, BgpRouteInfo, BgpSelect, BgpSentInfo, BgpTotalsInfo, BgpTunnelInfo,
};
pub use event::{BgpEvent, ChildEvent, ConfigEvent, DrainEvent, Event, IkeEvent, Notice, SessionEvent, SoftwireEvent};
pub use mesh::{BfdInfo, MeshMetrics, ProfileInfo, ProfilePeerInfo, SoftwireInfo, SoftwireMetrics};
pub use neighbour::{BgpNeighbourInfo, BgpProtectionInfo, RtrCacheInfo};
pub use page::{Cursor, Page, Select};
pub use radius::{RadiusInfo, RadiusServerInfo};
pub use sa::{ChildSaInfo, IkeFilter, IkeSaInfo, SpdInfo};
pub use session::{SubscriberFilter, SubscriberInfo, TrafficInfo};
pub use status::{
    CountersInfo, DrainInfo, DrainMode, DrainOrder, DrainState, Ikev1Info, ListenerInfo, PortInfo, Pulse, StatusInfo,
};
pub use trace::{
    TraceFrame, TraceInfo, TraceMatch, TraceProtocol, TraceQuery, TraceRefused, TraceRequest, TraceSummary,
    TracedDetail, TracedNode, TracedPacket,
};

use crate::config::{Config, Problem};
use serde::Serialize;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::{broadcast, mpsc, oneshot};

/// A question, with where the answer goes.
#[derive(Debug)]
pub enum Query {
    /// Status.
    Status(oneshot::Sender<StatusInfo>),
    /// Whether all is alive.
    Pulse(oneshot::Sender<Pulse>),
    /// Subscribers.
    Subscribers(Select<SubscriberFilter>, oneshot::Sender<Page<SubscriberInfo>>),
    /// One subscriber, by our L2TP tunnel and session.
    Subscriber(u16, u16, oneshot::Sender<Option<SubscriberInfo>>),
    /// End a subscriber's softwire; false when there is none by that id or user.
    Disconnect(String, oneshot::Sender<bool>),
    /// IKE SAs.
    IkeSas(Select<IkeFilter>, oneshot::Sender<Page<IkeSaInfo>>),
    /// Rekey an IKE SA; false when there is none.
    RekeyIke(u32, oneshot::Sender<bool>),
    /// Rekey a child SA by its inbound SPI; false when there is none.
    RekeyChild(u32, oneshot::Sender<bool>),
    /// Child SAs, of one peer or of all.
    ChildSas(Select<Option<u32>>, oneshot::Sender<Page<ChildSaInfo>>),
    /// Softwires of the mesh.
    Softwires(Select<()>, oneshot::Sender<Page<SoftwireInfo>>),
    /// All BGP neighbours.
    BgpNeighbours(oneshot::Sender<Vec<BgpNeighbourInfo>>),
    /// All BFD sessions.
    Bfd(oneshot::Sender<Vec<BfdInfo>>),
    /// Routes of the Loc-RIB.
    BgpRoutes(BgpSelect, oneshot::Sender<BgpPage<BgpRouteInfo>>),
    /// Routes of a neighbour's Adj-RIB-In; `None` when there is no such neighbour.
    BgpReceived(IpAddr, BgpSelect, oneshot::Sender<Option<BgpPage<BgpReceivedInfo>>>),
    /// Routes of a neighbour's Adj-RIB-Out; `None` when there is no such neighbour.
    BgpSent(IpAddr, BgpSelect, oneshot::Sender<Option<BgpPage<BgpSentInfo>>>),
    /// Do something about a BGP neighbour.
    BgpAct(IpAddr, BgpAction, oneshot::Sender<Result<(), NotDone>>),
    /// Rekey the SA of a softwire.
    RekeySoftwire(u16, oneshot::Sender<Result<(), NotDone>>),
    /// The IPsec profiles of the mesh.
    Profiles(oneshot::Sender<Vec<ProfileInfo>>),
    /// What is measured of routes and softwires.
    MeshMetrics(oneshot::Sender<MeshMetrics>),
    /// All ports.
    Ports(oneshot::Sender<Vec<PortInfo>>),
    /// All RPKI caches.
    Rtr(oneshot::Sender<Vec<RtrCacheInfo>>),
    /// RADIUS.
    Radius(oneshot::Sender<RadiusInfo>),
    /// The SPD.
    Spd(oneshot::Sender<Vec<SpdInfo>>),
    /// Packet traces.
    Trace(TraceQuery),
    /// Counters.
    Counters(oneshot::Sender<CountersInfo>),
    /// The drain.
    Drain(oneshot::Sender<DrainInfo>),
    /// Begins a drain, or ends it.
    SetDrain(Option<DrainOrder>, oneshot::Sender<DrainInfo>),
    /// The document that was taken last, with its secrets. What waits for a restart is in it, too.
    Config(oneshot::Sender<Arc<Config>>),
    /// Take another document, whole or not at all; `true`: only say what would come of it.
    Configure(Box<Config>, bool, oneshot::Sender<Result<Applied, Vec<Problem>>>),
}

/// What has come of another document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// Parts that take effect with the next start, as JSON pointers; until then they are what they were.
    pub restart: Vec<String>,
}

/// Why an action is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    /// There is nothing by that name.
    #[error("there is none")]
    Unknown,
    /// Not in the state that it is in.
    #[error("{0}")]
    State(&'static str),
}

/// The control plane does not answer: it is shutting down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the control plane is shutting down")]
pub struct Gone;

/// Handle for the management plane; clones share the channel.
#[derive(Clone)]
pub struct Northbound {
    queries: mpsc::Sender<Query>,
    board: event::Board,
}

impl Northbound {
    /// The handle, and the control plane's end.
    pub fn channel() -> (Self, Southbound) {
        let (tx, rx) = mpsc::channel(64);
        let board = event::Board::new();
        (Self { queries: tx, board: board.clone() }, Southbound { queries: rx, board })
    }

    /// Asks; `query` is a variant of [`Query`], e.g. `ask(Query::Status)`.
    pub async fn ask<T>(&self, query: impl FnOnce(oneshot::Sender<T>) -> Query) -> Result<T, Gone> {
        let (tx, rx) = oneshot::channel();
        self.queries.send(query(tx)).await.map_err(|_| Gone)?;
        rx.await.map_err(|_| Gone)
    }

    /// Events from now on. A listener that is too slow loses some, and is told how many.
    pub fn events(&self) -> broadcast::Receiver<Arc<Notice>> {
        self.board.subscribe()
    }

    /// Tells an event of the management plane's own.
    pub fn publish(&self, at: SystemTime, event: Event) {
        self.board.publish(at, event);
    }

    /// Until the control plane has gone.
    pub async fn gone(&self) {
        self.queries.closed().await;
    }
}

/// The control plane's end: questions come in, events go out.
pub struct Southbound {
    queries: mpsc::Receiver<Query>,
    board: event::Board,
}

impl Southbound {
    /// The next question; `None` when there will be none.
    pub async fn recv(&mut self) -> Option<Query> {
        self.queries.recv().await
    }

    /// Tells an event.
    pub fn publish(&self, at: SystemTime, event: Event) {
        self.board.publish(at, event);
    }
}

#[cfg(test)]
mod tests;

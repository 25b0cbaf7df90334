//! What happens, told to whoever listens: sessions, SAs, BGP neighbours and softwires that come and go, changes of the
//! configuration, drains. Nothing waits for a listener: one that is too slow loses the oldest and is told how many.

use super::DrainMode;
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use tokio::sync::broadcast;
use utoipa::ToSchema;

/// Events that are kept for listeners that are behind.
const KEPT: usize = 4096;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "kind")]
pub enum Event {
    /// A subscriber's traffic passes.
    #[serde(rename = "session.up")]
    SessionUp(SessionEvent),
    /// A subscriber whose traffic has passed is gone.
    #[serde(rename = "session.down")]
    SessionDown(SessionEvent),
    /// A subscriber is refused.
    #[serde(rename = "session.reject")]
    SessionReject(SessionEvent),
    /// A peer is authenticated.
    #[serde(rename = "ike.up")]
    IkeUp(IkeEvent),
    /// A peer is gone.
    #[serde(rename = "ike.down")]
    IkeDown(IkeEvent),
    /// Somebody did not become a peer.
    #[serde(rename = "ike.failed")]
    IkeFailed(IkeEvent),
    /// A pair of child SAs is installed.
    #[serde(rename = "child.up")]
    ChildUp(ChildEvent),
    /// A pair of child SAs is installed in place of another one.
    #[serde(rename = "child.rekeyed")]
    ChildRekeyed(ChildEvent),
    /// A pair of child SAs is gone.
    #[serde(rename = "child.down")]
    ChildDown(ChildEvent),
    /// A BGP session is established.
    #[serde(rename = "bgp.up")]
    BgpUp(BgpEvent),
    /// A BGP session is lost.
    #[serde(rename = "bgp.down")]
    BgpDown(BgpEvent),
    /// A softwire passes packets.
    #[serde(rename = "softwire.up")]
    SoftwireUp(SoftwireEvent),
    /// A softwire has lost its SA, its path or its routes.
    #[serde(rename = "softwire.down")]
    SoftwireDown(SoftwireEvent),
    /// Another configuration runs.
    #[serde(rename = "config.commit")]
    ConfigCommit(ConfigEvent),
    /// A commit was not confirmed: the one before it runs again.
    #[serde(rename = "config.revert")]
    ConfigRevert(ConfigEvent),
    /// A commit is confirmed.
    #[serde(rename = "config.confirm")]
    ConfigConfirm(ConfigEvent),
    /// Nobody new is let in.
    #[serde(rename = "drain.start")]
    DrainStart(DrainEvent),
    /// Nobody is left.
    #[serde(rename = "drain.done")]
    DrainDone(DrainEvent),
}

impl Event {
    /// Its kind, as serialized.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::SessionUp(_) => "session.up",
            Self::SessionDown(_) => "session.down",
            Self::SessionReject(_) => "session.reject",
            Self::IkeUp(_) => "ike.up",
            Self::IkeDown(_) => "ike.down",
            Self::IkeFailed(_) => "ike.failed",
            Self::ChildUp(_) => "child.up",
            Self::ChildRekeyed(_) => "child.rekeyed",
            Self::ChildDown(_) => "child.down",
            Self::BgpUp(_) => "bgp.up",
            Self::BgpDown(_) => "bgp.down",
            Self::SoftwireUp(_) => "softwire.up",
            Self::SoftwireDown(_) => "softwire.down",
            Self::ConfigCommit(_) => "config.commit",
            Self::ConfigRevert(_) => "config.revert",
            Self::ConfigConfirm(_) => "config.confirm",
            Self::DrainStart(_) => "drain.start",
            Self::DrainDone(_) => "drain.done",
        }
    }
}

/// A subscriber's session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct SessionEvent {
    /// `tunnel.session`.
    pub id: String,
    /// PPP user.
    pub user: Option<String>,
    /// Identity that IKE authenticated.
    pub ike_id: Option<String>,
    /// Name of the listener.
    pub listener: String,
    /// Outer address and port.
    #[schema(value_type = String)]
    pub outer: SocketAddr,
    /// Inner addresses and prefixes.
    pub inner: Vec<String>,
    /// Why it is gone or refused.
    pub reason: Option<String>,
    /// Seconds that it stood.
    pub seconds: u64,
    /// Octets from the subscriber.
    pub in_octets: u64,
    /// Octets to the subscriber.
    pub out_octets: u64,
}

/// An IKE peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct IkeEvent {
    /// Its number; absent where it never had one.
    pub peer: Option<u32>,
    /// PAD entry.
    pub pad: Option<String>,
    /// Its identity: claimed, where it has failed.
    pub id: Option<String>,
    /// Its address and port.
    #[schema(value_type = Option<String>)]
    pub remote: Option<SocketAddr>,
    /// Version of IKE, 1 or 2.
    pub version: Option<u8>,
    /// Why it is gone, or has failed.
    pub reason: Option<String>,
}

/// A pair of child SAs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ChildEvent {
    /// Its IKE peer.
    pub peer: u32,
    /// Inbound SPI, hexadecimal.
    pub spi_in: String,
    /// Inbound SPI of the pair that it replaces.
    pub replaces: Option<String>,
    /// Why it is gone.
    pub reason: Option<String>,
}

/// A BGP neighbour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct BgpEvent {
    /// Its address.
    #[schema(value_type = String)]
    pub neighbour: IpAddr,
    /// Why the session is lost.
    pub reason: Option<String>,
}

/// A softwire to another AFBR.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct SoftwireEvent {
    /// Its number.
    pub id: u16,
    /// The AFBR's end.
    #[schema(value_type = String)]
    pub remote: IpAddr,
}

/// A commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ConfigEvent {
    /// Its number.
    pub commit: u64,
    /// Who made it.
    pub author: String,
    /// What it says of itself.
    pub comment: Option<String>,
}

/// A drain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct DrainEvent {
    /// Whether those who are there may stay.
    pub mode: DrainMode,
    /// Subscribers that are there.
    pub sessions_left: usize,
}

/// An event with its number and time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Notice {
    /// Counts up from the start of the process.
    #[serde(skip)]
    pub id: u64,
    /// When (RFC 3339).
    pub at: String,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// Where events go.
#[derive(Clone)]
pub(super) struct Board {
    listeners: broadcast::Sender<Arc<Notice>>,
    // Numbered and told in one step, so that numbers come in order.
    last: Arc<Mutex<u64>>,
}

impl Board {
    pub(super) fn new() -> Self {
        Self { listeners: broadcast::Sender::new(KEPT), last: Arc::default() }
    }

    pub(super) fn publish(&self, at: SystemTime, event: Event) {
        let at = humantime::format_rfc3339_millis(at).to_string();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last += 1;
        // Without a listener it is lost.
        let _ = self.listeners.send(Arc::new(Notice { id: *last, at, event }));
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Arc<Notice>> {
        self.listeners.subscribe()
    }
}

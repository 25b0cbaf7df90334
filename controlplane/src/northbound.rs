//! What the management plane may ask and sees: plain serializable types, and a handle that carries questions
//! to the control plane's thread and brings the answers back.

use serde::Serialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use tokio::sync::{mpsc, oneshot};

/// A subscriber with its softwire.
#[derive(Clone, Debug, Serialize)]
pub struct SubscriberInfo {
    /// `tunnel.session` of our ids; the key of this resource.
    pub id: String,
    /// PPP user; absent before authentication and on anonymous listeners.
    pub user: Option<String>,
    /// Identity that IKE authenticated.
    pub ike_id: Option<String>,
    /// Name of the listener.
    pub listener: Option<String>,
    /// `tunnel`, `lcp`, `authenticating`, `network`, `open`, `closing`.
    pub state: &'static str,
    /// Outer address and port.
    pub outer: SocketAddr,
    /// Our L2TP tunnel and session id, the peer's tunnel and session id.
    pub tunnel: u16,
    /// Ours.
    pub session: u16,
    /// The peer's.
    pub peer_tunnel: u16,
    /// The peer's.
    pub peer_session: u16,
    /// Largest inner packet.
    pub mtu: u16,
    /// IPv4 address of the subscriber.
    pub ipv4: Option<String>,
    /// /64 of the link.
    pub ipv6_prefix: Option<String>,
    /// Prefix delegated by DHCPv6.
    pub delegated: Option<String>,
    /// Seconds since the session came up.
    pub seconds: u64,
    /// Traffic.
    pub counters: TrafficInfo,
}

/// Packets and octets, from the subscriber ("in") and to it ("out").
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct TrafficInfo {
    /// IPv4 packets in.
    pub in_v4_packets: u64,
    /// IPv4 octets in.
    pub in_v4_octets: u64,
    /// IPv4 packets out.
    pub out_v4_packets: u64,
    /// IPv4 octets out.
    pub out_v4_octets: u64,
    /// IPv6 packets in.
    pub in_v6_packets: u64,
    /// IPv6 octets in.
    pub in_v6_octets: u64,
    /// IPv6 packets out.
    pub out_v6_packets: u64,
    /// IPv6 octets out.
    pub out_v6_octets: u64,
}

/// An IKE SA.
#[derive(Clone, Debug, Serialize)]
pub struct IkeSaInfo {
    /// Stable over rekeys; the key of this resource.
    pub peer: u32,
    /// PAD entry.
    pub pad: Option<String>,
    /// Initiator's SPI, hexadecimal.
    pub spi_i: String,
    /// Responder's SPI, hexadecimal.
    pub spi_r: String,
    /// State.
    pub state: String,
    /// Our identity.
    pub local_id: Option<String>,
    /// The peer's identity.
    pub remote_id: Option<String>,
    /// Our address and port.
    pub local: SocketAddr,
    /// The peer's address and port.
    pub remote: SocketAddr,
    /// Algorithms.
    pub algorithms: String,
    /// UDP encapsulation in use.
    pub natt: bool,
    /// Seconds since it was established.
    pub seconds: u64,
}

/// A pair of child SAs.
#[derive(Clone, Debug, Serialize)]
pub struct ChildSaInfo {
    /// IKE peer it belongs to.
    pub peer: u32,
    /// Inbound SPI, hexadecimal; the key of this resource.
    pub spi_in: String,
    /// Outbound SPI, hexadecimal.
    pub spi_out: String,
    /// `transport` or `tunnel`.
    pub mode: &'static str,
    /// Algorithms.
    pub algorithms: String,
    /// Extended sequence numbers.
    pub esn: bool,
    /// UDP encapsulation.
    pub encap: bool,
    /// Traffic selector, our side.
    pub local_ts: String,
    /// Traffic selector, the peer's side.
    pub remote_ts: String,
    /// Outbound traffic uses this one.
    pub selected: bool,
    /// Seconds since it was installed.
    pub seconds: u64,
    /// ESP packets in.
    pub in_packets: u64,
    /// Octets in.
    pub in_octets: u64,
    /// ESP packets out.
    pub out_packets: u64,
    /// Octets out.
    pub out_octets: u64,
    /// Packets dropped as replays.
    pub replayed: u64,
    /// Packets with a wrong ICV.
    pub integrity_failures: u64,
}

/// A softwire to another AFBR.
#[derive(Clone, Debug, Serialize)]
pub struct SoftwireInfo {
    /// Its number; the key of this resource.
    pub id: u16,
    /// Name of the AFBR, when it is configured.
    pub name: Option<String>,
    /// Our end.
    pub local: IpAddr,
    /// The AFBR's end.
    pub remote: IpAddr,
    /// `up`, or `down` as long as its SA is.
    pub state: &'static str,
    /// PAD entry that protects it; absent when nothing does.
    pub peer: Option<String>,
    /// Algorithms of the SA in use.
    pub esp: Option<String>,
    /// Largest inner packet.
    pub mtu: u16,
    /// Largest outer packet.
    pub path_mtu: u16,
    /// `inner` or `outer`: who is to cope with packets that do not fit.
    pub too_big: &'static str,
    /// Inner sources are checked against the routes (M9).
    pub strict: bool,
    /// What is routed into it.
    pub prefixes: Vec<String>,
    /// Packets decapsulated.
    pub in_packets: u64,
    /// Their octets.
    pub in_octets: u64,
    /// Packets encapsulated.
    pub out_packets: u64,
    /// Their octets.
    pub out_octets: u64,
}

/// A BGP neighbour.
#[derive(Clone, Debug, Serialize)]
pub struct BgpNeighbourInfo {
    /// Its address; the key of this resource.
    pub address: IpAddr,
    /// Its BGP Identifier, while the session is established.
    pub router_id: Option<Ipv4Addr>,
    /// State of the session (RFC 4271, section 8.2.2).
    pub state: String,
    /// Seconds since it is established.
    pub seconds: Option<u64>,
    /// How often it was established.
    pub established: u64,
    /// Messages received.
    pub messages_in: u64,
    /// Messages sent.
    pub messages_out: u64,
    /// Why the last session, or attempt at one, ended.
    pub last_down: Option<String>,
}

/// A best path.
#[derive(Clone, Debug, Serialize)]
pub struct BgpRouteInfo {
    /// The prefix.
    pub prefix: String,
    /// Next hop.
    pub next_hop: IpAddr,
    /// AFBRs that packets are encapsulated to; empty when they are forwarded as they are.
    pub egresses: Vec<IpAddr>,
}

/// One line of the SPD.
#[derive(Clone, Debug, Serialize)]
pub struct SpdInfo {
    /// What it is for.
    pub name: String,
    /// Local addresses and port.
    pub local: String,
    /// Remote addresses and port.
    pub remote: String,
    /// Protocol.
    pub protocol: String,
    /// `BYPASS`, `PROTECT` or `DISCARD`.
    pub action: String,
}

/// Status of the whole gateway.
#[derive(Clone, Debug, Serialize)]
pub struct StatusInfo {
    /// Version of the software.
    pub version: &'static str,
    /// Seconds since start.
    pub seconds: u64,
    /// Workers.
    pub workers: usize,
    /// IKE SAs.
    pub ike_sas: usize,
    /// Pairs of child SAs.
    pub child_sas: usize,
    /// L2TP sessions, open or on their way.
    pub sessions: usize,
    /// Sessions whose network layer is open.
    pub open_sessions: usize,
    /// Listeners, with what protects them; anonymous ones are marked (H33).
    pub listeners: Vec<ListenerInfo>,
}

/// A listener as status shows it.
#[derive(Clone, Debug, Serialize)]
pub struct ListenerInfo {
    /// Name.
    pub name: String,
    /// Address.
    pub address: String,
    /// `ipsec` or `none`.
    pub protection: &'static str,
    /// Admits without authentication (H33); such access has no integrity, replay or confidentiality protection
    /// when `protection` is `none` (H34).
    pub anonymous: bool,
}

/// Counters: by worker, and the control plane's own.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CountersInfo {
    /// One map per worker: `received`, `sent`, `drop.esp_replay`, `punt.ike`, ...
    pub workers: Vec<BTreeMap<String, u64>>,
    /// Control plane: `ike.auth_failed`, `l2tp.binding`, ...
    pub control: BTreeMap<String, u64>,
    /// Forwarding tables of both families, now: `routes_v4`, `refused_v6`, ...
    pub fib: BTreeMap<String, u64>,
}

/// A question, with where the answer goes.
#[derive(Debug)]
pub enum Query {
    /// Status.
    Status(oneshot::Sender<StatusInfo>),
    /// All subscribers.
    Subscribers(oneshot::Sender<Vec<SubscriberInfo>>),
    /// End a subscriber's softwire; false when there is none by that id or user.
    Disconnect(String, oneshot::Sender<bool>),
    /// All IKE SAs.
    IkeSas(oneshot::Sender<Vec<IkeSaInfo>>),
    /// Rekey an IKE SA; false when there is none.
    RekeyIke(u32, oneshot::Sender<bool>),
    /// Rekey a child SA by its inbound SPI; false when there is none.
    RekeyChild(u32, oneshot::Sender<bool>),
    /// All child SAs.
    ChildSas(oneshot::Sender<Vec<ChildSaInfo>>),
    /// All softwires of the mesh.
    Softwires(oneshot::Sender<Vec<SoftwireInfo>>),
    /// All BGP neighbours.
    BgpNeighbours(oneshot::Sender<Vec<BgpNeighbourInfo>>),
    /// The best paths of BGP.
    BgpRoutes(oneshot::Sender<Vec<BgpRouteInfo>>),
    /// The SPD.
    Spd(oneshot::Sender<Vec<SpdInfo>>),
    /// Counters.
    Counters(oneshot::Sender<CountersInfo>),
}

/// The control plane does not answer: it is shutting down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the control plane is shutting down")]
pub struct Gone;

/// Handle for the management plane; clones share the channel.
#[derive(Clone)]
pub struct Northbound(mpsc::Sender<Query>);

impl Northbound {
    /// The handle, and the end the control plane reads.
    pub fn channel() -> (Self, mpsc::Receiver<Query>) {
        let (tx, rx) = mpsc::channel(64);
        (Self(tx), rx)
    }

    /// Asks; `query` is a variant of [`Query`], e.g. `ask(Query::Status)`.
    pub async fn ask<T>(&self, query: impl FnOnce(oneshot::Sender<T>) -> Query) -> Result<T, Gone> {
        let (tx, rx) = oneshot::channel();
        self.0.send(query(tx)).await.map_err(|_| Gone)?;
        rx.await.map_err(|_| Gone)
    }
}

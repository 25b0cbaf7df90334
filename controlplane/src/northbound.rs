//! What the management plane may ask and sees: plain serializable types, and a handle that carries questions
//! to the control plane's thread and brings the answers back.

mod bgp;
mod radius;
mod trace;

pub use bgp::{
    BgpAction, BgpAttributesInfo, BgpFamily, BgpFamilyInfo, BgpMatch, BgpMessagesInfo, BgpNegotiatedInfo, BgpPage,
    BgpPathInfo, BgpReceivedInfo, BgpRestartInfo, BgpRouteInfo, BgpSelect, BgpSentInfo, BgpTotalsInfo, BgpTunnelInfo,
};

pub use radius::{RadiusInfo, RadiusServerInfo};
pub use trace::{
    TraceFrame, TraceInfo, TraceMatch, TraceProtocol, TraceQuery, TraceRefused, TraceRequest, TraceSummary,
    TracedDetail, TracedNode, TracedPacket,
};

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
    /// `tunnel`, `lcp`, `authorizing`, `network`, `open`, `closing`.
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
    /// Address given by DHCPv6.
    pub ipv6_address: Option<String>,
    /// Networks behind the subscriber.
    pub routes: Vec<String>,
    /// Acct-Session-Id.
    pub acct_session_id: String,
    /// RADIUS authenticated it, rather than the embedded file.
    pub radius: bool,
    /// Access list.
    pub filter: Option<String>,
    /// Limit from the subscriber, kbit/s.
    pub rate_up: Option<u64>,
    /// Limit to the subscriber, kbit/s.
    pub rate_down: Option<u64>,
    /// Seconds until Session-Timeout.
    pub seconds_left: Option<u64>,
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

impl TrafficInfo {
    /// Packets in both directions.
    pub fn packets(&self) -> u64 {
        self.in_v4_packets + self.out_v4_packets + self.in_v6_packets + self.out_v6_packets
    }
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
    /// Version of IKE, 1 or 2.
    pub version: u8,
    /// Algorithms.
    pub algorithms: String,
    /// Those of them that are weak, `sha1`, `modp1024`, `3des`.
    pub weak: Vec<&'static str>,
    /// The peer proved itself by the shared secret of a listener, so that its identity is a claim (H46).
    pub shared_secret: bool,
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
    /// Those of them that are weak, `sha1`, `3des`; `modp1024` where a key exchange of its own was.
    pub weak: Vec<&'static str>,
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
    /// `up`, or `down` as long as its SA is, or the path as BFD sees it.
    pub state: &'static str,
    /// State of its BFD session, where there is one.
    pub bfd: Option<&'static str>,
    /// PAD entry that protects it; absent when nothing does.
    pub peer: Option<String>,
    /// Its profile.
    pub profile: Option<String>,
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
    /// Packets are padded to `mtu` (RFC 4303, section 2.7).
    pub tfc: bool,
    /// What is routed into it, the first hundred.
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
    /// What the configuration says of it.
    pub description: Option<String>,
    /// Its AS.
    pub asn: u32,
    /// Our AS.
    pub local_asn: u32,
    /// Our address that the session is to have, where it is fixed.
    pub local: Option<IpAddr>,
    /// Its BGP Identifier, while the session is established.
    pub router_id: Option<Ipv4Addr>,
    /// Our BGP Identifier.
    pub local_router_id: Ipv4Addr,
    /// A client of ours as a route reflector (RFC 4456).
    pub client: bool,
    /// State of the session (RFC 4271, section 8.2.2).
    pub state: String,
    /// Why no session is wanted: `disabled`, or `max_prefix` after too many prefixes.
    pub stopped: Option<&'static str>,
    /// Seconds since it is established.
    pub seconds: Option<u64>,
    /// How often it was established.
    pub established: u64,
    /// How often an established session was lost.
    pub flaps: u64,
    /// Messages received.
    pub messages_in: u64,
    /// Messages sent.
    pub messages_out: u64,
    /// Those received, by type.
    pub received: BgpMessagesInfo,
    /// Those sent, by type.
    pub sent: BgpMessagesInfo,
    /// What the established session has agreed on.
    pub negotiated: Option<BgpNegotiatedInfo>,
    /// Families, with what is exchanged of each.
    pub families: Vec<BgpFamilyInfo>,
    /// Import policy. Without one all routes of an internal neighbour are taken, none of an external one (RFC 8212).
    pub import: Option<String>,
    /// Export policy, likewise.
    pub export: Option<String>,
    /// Why the last session, or attempt at one, ended.
    pub last_down: Option<String>,
    /// How many seconds ago that was.
    pub last_down_seconds: Option<u64>,
    /// What protects it.
    pub protection: BgpProtectionInfo,
}

/// What protects the TCP session with a BGP neighbour.
#[derive(Clone, Debug, Serialize)]
pub struct BgpProtectionInfo {
    /// `md5` (RFC 2385), `tcp_ao` (RFC 5925) or `none`.
    pub method: &'static str,
    /// Its key chain.
    pub key_chain: Option<String>,
    /// The key in use.
    pub key_id: Option<u8>,
    /// Hops that the neighbour may be away (RFC 5082).
    pub ttl_security: Option<u8>,
    /// What is wrong with the key (RFC 3562).
    pub warnings: Vec<String>,
    /// Why there is no session: it could not be protected.
    pub refused: Option<String>,
}

/// An IPsec profile of the mesh, as configured.
#[derive(Clone, Debug, Serialize)]
pub struct ProfileInfo {
    /// Its name; the key of this resource.
    pub name: String,
    /// `transport` or `tunnel`.
    pub mode: &'static str,
    /// ESP proposals in order of preference, its own or those of all; the built-in ones when empty.
    pub esp_proposals: Vec<String>,
    /// Our IKE identity.
    pub identity: Option<String>,
    /// When we bring the SA up: `at_start`, `on_demand`, `respond`; where absent, the one with the lower address does at
    /// start.
    pub start: Option<&'static str>,
    /// Seconds after which a child SA is rekeyed.
    pub rekey: u64,
    /// Packets, 0 for no limit.
    pub rekey_packets: u64,
    /// Octets, 0 for no limit.
    pub rekey_octets: u64,
    /// Packets.
    pub replay_window: u16,
    /// Packets are to be padded to one length.
    pub tfc: bool,
    /// PAD entries of the AFBRs whose softwires it protects.
    pub peers: Vec<ProfilePeerInfo>,
}

/// What a profile is bound to.
#[derive(Clone, Debug, Serialize)]
pub struct ProfilePeerInfo {
    /// PAD entry.
    pub name: String,
    /// The AFBR's end of the softwire.
    pub address: Option<IpAddr>,
    /// Routes that ask for this color only.
    pub color: Option<u32>,
    /// Routes within these prefixes only; all when empty.
    pub prefixes: Vec<String>,
    /// It carries BGP, too.
    pub bgp: bool,
}

/// What is measured of a softwire.
#[derive(Clone, Debug, Serialize)]
pub struct SoftwireMetrics {
    /// Its number.
    pub id: u16,
    /// The AFBR's end.
    pub remote: IpAddr,
    /// Packets pass: it needs no SA, or has one.
    pub up: bool,
    /// Packets and octets decapsulated.
    pub received: [u64; 2],
    /// Packets and octets encapsulated.
    pub sent: [u64; 2],
}

/// What is measured of routes and softwires.
#[derive(Clone, Debug, Default, Serialize)]
pub struct MeshMetrics {
    /// The RIB, by family; empty without BGP.
    pub rib: Vec<BgpTotalsInfo>,
    /// Sets of path attributes that all routes share.
    pub attribute_sets: usize,
    /// Softwires, in the order of their numbers.
    pub softwires: Vec<SoftwireMetrics>,
}

/// An RPKI cache (RFC 8210).
#[derive(Clone, Debug, Serialize)]
pub struct RtrCacheInfo {
    /// Its name; the key of this resource.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// It is spoken to in TLS.
    pub tls: bool,
    /// The lowest of those that are up is listened to.
    pub preference: u8,
    /// `up`, `synchronizing`, `down`, or `down, data kept` until they expire.
    pub state: &'static str,
    /// It is the one that is listened to.
    pub used: bool,
    /// Session ID.
    pub session: Option<u16>,
    /// Serial number of its data.
    pub serial: Option<u32>,
    /// IPv4 VRPs.
    pub ipv4: usize,
    /// IPv6 VRPs.
    pub ipv6: usize,
    /// How often it has given data, all or what had changed.
    pub synchronized: u64,
    /// Seconds since the last time.
    pub seconds: Option<u64>,
    /// Seconds until it is asked for news.
    pub refresh: Option<u64>,
    /// Seconds between attempts to reach it.
    pub retry: Option<u64>,
    /// Seconds after which its data are dropped without news.
    pub expire: Option<u64>,
    /// Why it was last down.
    pub last_error: Option<String>,
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

/// A BFD session.
#[derive(Clone, Debug, Serialize)]
pub struct BfdInfo {
    /// Our address.
    pub local: IpAddr,
    /// The peer's.
    pub remote: IpAddr,
    /// RFC 5883, over several hops, rather than RFC 5881.
    pub multihop: bool,
    /// A BGP neighbour depends on it.
    pub neighbour: bool,
    /// A softwire depends on it.
    pub softwire: bool,
    /// `admin-down`, `down`, `init`, `up`.
    pub state: &'static str,
    /// Why it went down last.
    pub diagnostic: &'static str,
    /// As the peer last said.
    pub remote_state: &'static str,
    /// As the peer last said.
    pub remote_diagnostic: &'static str,
    /// It was up and is not: what depends on it is held down.
    pub failed: bool,
    /// Seconds since it has its state.
    pub seconds: u64,
    /// Between our packets, before jitter; absent where the peer wants none.
    pub transmit_interval_ms: Option<u64>,
    /// Silence that takes the session down; absent while the peer is not heard.
    pub detection_time_ms: Option<u64>,
    /// Packets of ours that the peer must miss.
    pub detect_multiplier: u8,
    /// By keyed SHA1.
    pub authenticated: bool,
    /// Valid packets in.
    pub packets_in: u64,
    /// Packets out.
    pub packets_out: u64,
    /// Times it came up.
    pub ups: u64,
    /// Times it was up and went down.
    pub downs: u64,
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
    /// IKEv1, where it is spoken.
    pub ikev1: Option<Ikev1Info>,
}

/// IKEv1 on a listener.
#[derive(Clone, Debug, Serialize)]
pub struct Ikev1Info {
    /// Old algorithms that are allowed.
    pub weak: Vec<String>,
    /// HMAC-SHA2-256 of ESP is truncated to 96 bits.
    pub sha256_96: bool,
    /// One key for whoever comes is accepted, a legacy override of H46.
    pub shared_secret: bool,
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

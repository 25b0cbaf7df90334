//! The gateway as a whole.

use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use utoipa::ToSchema;

/// Status of the whole gateway.
#[derive(Clone, Debug, Serialize, ToSchema)]
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
#[derive(Clone, Debug, Serialize, ToSchema)]
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
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Ikev1Info {
    /// Old algorithms that are allowed.
    pub weak: Vec<String>,
    /// HMAC-SHA2-256 of ESP is truncated to 96 bits.
    pub sha256_96: bool,
    /// One key for whoever comes is accepted, a legacy override of H46.
    pub shared_secret: bool,
}

/// A port, with what its device counts from the start on; that is a second old at most.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PortInfo {
    /// Name; the key of this resource.
    pub name: String,
    /// PCI address, or a virtual device with its arguments.
    pub device: String,
    /// Ethernet address.
    pub mac: String,
    /// `public` or `trusted`.
    pub zone: &'static str,
    /// Addresses with the lengths of their prefixes.
    pub addresses: Vec<String>,
    /// 802.1Q VLAN of the addresses.
    pub vlan: Option<u16>,
    /// Largest IP packet in octets.
    pub mtu: u16,
    /// There is a link.
    pub up: bool,
    /// Its speed in Mbit/s, where it is known.
    pub speed: Option<u64>,
    /// Packets received.
    pub rx_packets: u64,
    /// Octets received.
    pub rx_octets: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Octets sent.
    pub tx_octets: u64,
    /// Packets that the device has dropped because workers had left no room in its queues: they are too slow for what comes.
    pub rx_missed: u64,
    /// Erroneous packets received.
    pub rx_errors: u64,
    /// Packets not received for want of a buffer.
    pub rx_no_buffer: u64,
    /// Packets not sent for an error.
    pub tx_errors: u64,
}

/// Counters: by worker, and the control plane's own.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct CountersInfo {
    /// One map per worker: `received`, `sent`, `drop.esp_replay`, `punt.ike`, ...
    pub workers: Vec<BTreeMap<String, u64>>,
    /// Control plane: `ike.auth_failed`, `l2tp.binding`, ...
    pub control: BTreeMap<String, u64>,
    /// Forwarding tables of both families, now: `routes_v4`, `refused_v6`, ...
    pub fib: BTreeMap<String, u64>,
}

/// What readiness is judged by.
#[derive(Clone, Debug, Default)]
pub struct Pulse {
    /// Polls of each worker so far: they grow as long as it lives.
    pub polls: Vec<u64>,
    /// Nobody new is let in.
    pub draining: bool,
}

/// What becomes of subscribers that are there while nobody new is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DrainMode {
    /// They stay until they go by themselves.
    Refuse,
    /// They are ended.
    Teardown,
}

/// A drain that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainOrder {
    /// Nobody new is let in.
    Refuse,
    /// And who is there is ended, evenly within this time.
    Teardown(Duration),
}

/// How far a drain has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DrainState {
    /// There is none.
    Off,
    /// Somebody is left.
    Draining,
    /// Nobody is left.
    Drained,
}

/// The drain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct DrainInfo {
    /// How far it has come.
    pub state: DrainState,
    /// Whether those who are there may stay.
    pub mode: Option<DrainMode>,
    /// Subscribers that are there.
    pub sessions_left: usize,
    /// IKE peers that are there, AFBRs of the mesh not counted.
    pub peers_left: usize,
    /// Who was turned away since it began: IKE SAs, tunnels and sessions.
    pub refused: u64,
}

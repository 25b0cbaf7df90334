//! Subscribers with their softwires.

use serde::Serialize;
use std::net::{IpAddr, SocketAddr};
use utoipa::ToSchema;

/// A subscriber with its softwire.
#[derive(Clone, Debug, Serialize, ToSchema)]
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
    #[schema(value_type = String)]
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
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
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

/// Which subscribers are meant; all without.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscriberFilter {
    /// PPP user.
    pub user: Option<String>,
    /// Name of the listener.
    pub listener: Option<String>,
    /// State.
    pub state: Option<String>,
    /// Outer address, or an inner one.
    pub address: Option<IpAddr>,
}

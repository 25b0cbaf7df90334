//! An L2TP session with its PPP link, as the worker that owns it needs it.

use crate::{FilterId, IpPrefix, PeerId, SessionId};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// The UDP flow that carries the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OuterPath {
    /// Our address and port (1701).
    pub local: SocketAddr,
    /// The peer's, inside ESP where there is ESP.
    pub remote: SocketAddr,
}

/// Prefixes per session: framed, delegated, and of routes behind the subscriber (Framed-Route), both families.
pub const MAX_INNER: usize = 16;

/// What a subscriber may use as a source (H18), and what is routed to it. Packets look at the first prefixes, which are
/// in front.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct InnerAddresses {
    /// Filled from the front.
    pub prefixes: [Option<IpPrefix>; MAX_INNER],
    /// The peer's negotiated link-local address (IPV6CP), a valid source for ND and DHCPv6 only.
    pub link_local: Option<Ipv6Addr>,
    /// Our end of the link: IPv4.
    pub local_v4: Option<Ipv4Addr>,
    /// Our end of the link: IPv6 link-local.
    pub local_v6: Option<Ipv6Addr>,
    /// IPCP is open: IPv4 may pass.
    pub ipv4: bool,
    /// IPV6CP is open: IPv6 may pass.
    pub ipv6: bool,
}

/// A limit of one direction, as one rate and one burst of RFC 2697: a bucket of tokens, full at first; inner IP octets
/// that find none are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Tokens. Kept in whole octets per second, at most 2^32 - 1 (34 Gbit/s); 0 lets the burst pass and then nothing.
    pub bits_per_second: u64,
    /// Size of the bucket in octets. A longer packet never passes: not less than the MTU, then.
    pub burst: u32,
}

/// A session's limits; `None`: as fast as can be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// From the subscriber.
    pub up: Option<Rate>,
    /// To the subscriber.
    pub down: Option<Rate>,
}

/// An entry of a worker's session table. It is installed when the L2TP session is established (so that PPP
/// control can be punted), with `inner` still closed, and updated when the network layer opens (H12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// Our tunnel and session ids; names the slot.
    pub id: SessionId,
    /// The peer's tunnel id.
    pub peer_tunnel: u16,
    /// The peer's session id.
    pub peer_session: u16,
    /// Outer addresses and ports.
    pub outer: OuterPath,
    /// The IKE peer whose SAs must carry it; `None` only on a listener that allows clear L2TP.
    pub peer: Option<PeerId>,
    /// Send data packets with Ns (RFC 2661, section 5.4): the peer asked for sequencing.
    pub sequencing: bool,
    /// Peer accepts protocol field compression (RFC 1661, section 6.5).
    pub pfc: bool,
    /// Peer accepts address and control field compression.
    pub acfc: bool,
    /// Largest inner IP packet towards the subscriber, in octets.
    pub mtu: u16,
    /// Clamp the MSS of TCP SYNs to `mtu` (both directions).
    pub clamp_mss: bool,
    /// Inner side.
    pub inner: InnerAddresses,
    /// Limits of what passes.
    pub rate: Rates,
    /// What may pass at all; `None`: everything.
    pub filter: Option<FilterId>,
}

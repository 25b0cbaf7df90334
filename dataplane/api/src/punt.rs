//! Packets that leave the fast path, and packets that enter it from the control plane.

use crate::{OpSeq, PeerId, PortId, SessionId, Spi};
use std::net::SocketAddr;

/// Classes of punted packets; each has its own token bucket and counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PuntClass {
    /// UDP 500, or UDP 4500 with the non-ESP marker (stripped). Data: the IKE message.
    Ike = 0,
    /// L2TP control message (T bit). Data: from the L2TP header on.
    L2tpControl = 1,
    /// PPP frame that is not permitted network-layer data. Data: protocol field (2 octets), information.
    PppControl = 2,
    /// IP packet from a session for this gateway's own side of it: router solicitation, DHCPv6, ND.
    /// Data: protocol field (2 octets, 0x0021 or 0x0057), IP packet.
    SessionHost = 3,
    /// Frame for the host stack: ICMP and TCP to our addresses. Data: Ethernet frame.
    Host = 4,
    /// UDP 3784 (from a neighbour on the link: TTL 255) and 4784. Data: the BFD control packet.
    Bfd = 5,
    /// The same of ARP and neighbour discovery, without which nothing else works.
    Neighbour = 6,
    /// The same of BGP.
    Bgp = 7,
}

impl PuntClass {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; PUNT_CLASSES] = [
        Self::Ike,
        Self::L2tpControl,
        Self::PppControl,
        Self::SessionHost,
        Self::Host,
        Self::Bfd,
        Self::Neighbour,
        Self::Bgp,
    ];

    /// Name in metrics and answers, snake case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ike => "ike",
            Self::L2tpControl => "l2tp",
            Self::PppControl => "ppp",
            Self::SessionHost => "session_host",
            Self::Host => "host",
            Self::Bfd => "bfd",
            Self::Neighbour => "neighbour",
            Self::Bgp => "bgp",
        }
    }

    /// It is a frame for the host stack.
    pub const fn is_host(self) -> bool {
        matches!(self, Self::Host | Self::Neighbour | Self::Bgp)
    }
}

/// Number of punt classes.
pub const PUNT_CLASSES: usize = 8;

/// Context of a punted packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PuntMeta {
    /// Class.
    pub class: PuntClass,
    /// Port it arrived on.
    pub port: PortId,
    /// IKE peer whose SA protected it, if any.
    pub peer: Option<PeerId>,
    /// The SA that protected it.
    pub spi: Option<Spi>,
    /// L2TP session, for `PppControl` and `SessionHost`.
    pub session: Option<SessionId>,
    /// Outer source address and UDP port (0 where there is none).
    pub src: SocketAddr,
    /// Outer destination address and UDP port.
    pub dst: SocketAddr,
    /// TTL or hop limit with which it came.
    pub ttl: u8,
}

/// A punted packet. `data` belongs to a fixed set of buffers that travels in a circle: give it back.
#[derive(Debug)]
pub struct PuntMsg {
    /// Context.
    pub meta: PuntMeta,
    /// See [`PuntClass`] for what it starts with.
    pub data: Vec<u8>,
}

/// What to do with an injected packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inject {
    /// Wrap the data in UDP and IP and route it; with `peer`, inside that peer's ESP SA. From or to port 4500 and
    /// without `peer` the non-ESP marker is put in front (an IKE message), unless `raw` (a NAT keepalive).
    Udp {
        /// Protecting peer.
        peer: Option<PeerId>,
        /// Source.
        src: SocketAddr,
        /// Destination.
        dst: SocketAddr,
        /// No non-ESP marker.
        raw: bool,
        /// TTL or hop limit.
        ttl: u8,
    },
    /// PPP frame (protocol field of 2 octets, information) into a session.
    Ppp(SessionId),
    /// Ethernet frame from the host stack, subject to the SPD.
    Frame(PortId),
}

/// An injected packet.
#[derive(Debug)]
pub struct InjectMsg {
    /// Not before this table op was applied.
    pub after: OpSeq,
    /// How it is sent.
    pub how: Inject,
    /// Payload; the worker returns the buffer.
    pub data: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_its_number_and_a_name_of_its_own() {
        let numbers = PuntClass::ALL.map(|class| class as usize);
        assert_eq!(numbers, std::array::from_fn(|n| n));
        let names: std::collections::HashSet<_> = PuntClass::ALL.map(PuntClass::name).into_iter().collect();
        assert_eq!(names.len(), PUNT_CLASSES);
    }
}

//! The other end of a BGP session, as far as a benchmark needs one: it says OPEN, and then what it is given.

use bgp::message::capability::Capability;
use bgp::message::{Family, Message, Negotiated, Open};
use std::net::Ipv4Addr;

/// A neighbour in `asn` of a speaker in `peer_as`.
#[derive(Clone, Debug)]
pub struct Peer {
    asn: u32,
    router_id: Ipv4Addr,
    /// How its messages are written.
    pub negotiated: Negotiated,
}

impl Peer {
    /// It speaks both families and writes IPv6 next hops for IPv4 (RFC 8950), in messages of 4,096 octets.
    pub fn new(asn: u32, peer_as: u32, router_id: Ipv4Addr) -> Self {
        let negotiated = Negotiated {
            local_as: asn,
            peer_as,
            ibgp: asn == peer_as,
            four_octet_as: true,
            families: Family::ALL.into(),
            extended_next_hop: [(Family::Ipv4Unicast, 2)].into(),
            ..Negotiated::default()
        };
        Self { asn, router_id, negotiated }
    }

    /// OPEN, without hold time.
    pub fn open(&self) -> Vec<u8> {
        let mut capabilities = Family::ALL.map(Capability::MultiProtocol).to_vec();
        capabilities.push(Capability::ExtendedNextHop(vec![(Family::Ipv4Unicast, 2)]));
        capabilities.push(Capability::FourOctetAs(self.asn));
        let open = Open { asn: self.asn, hold_time: 0, router_id: self.router_id, capabilities };
        self.encode(&Message::Open(open))
    }

    /// What answers the other OPEN.
    pub fn keep_alive(&self) -> Vec<u8> {
        self.encode(&Message::KeepAlive)
    }

    fn encode(&self, message: &Message) -> Vec<u8> {
        let mut out = Vec::new();
        message.encode(&self.negotiated, &mut out);
        out
    }
}

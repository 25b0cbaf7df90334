//! How a frame leaves: the neighbours on the ports' links, with the headers of frames to them ready.

use crate::publish::{Multiply, Port};
use dataplane_api::{MacAddr, PortId, Zone};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::net::IpAddr;
use wire::ethernet;

/// The way to a neighbour: the Ethernet header, and what the port demands of a packet.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// The port.
    pub port: PortId,
    /// Largest IP packet.
    pub mtu: u16,
    /// Where the port leads.
    pub zone: Zone,
    tagged: bool,
    // With the tag, if there is one, and without the ethertype.
    header: [u8; ethernet::HEADER + ethernet::TAG - 2],
}

impl Link {
    fn new(port: &Port, to: MacAddr) -> Self {
        let config = &port.config;
        let mut header = [0; ethernet::HEADER + ethernet::TAG];
        ethernet::emit(&mut header, to.0, config.mac.0, config.vlan, 0);
        let [header @ .., _, _] = header;
        Self { port: config.port, mtu: config.mtu, zone: config.zone, tagged: config.vlan.is_some(), header }
    }

    /// Octets of the header.
    #[inline(always)]
    pub const fn header_len(&self) -> usize {
        if self.tagged { ethernet::HEADER + ethernet::TAG } else { ethernet::HEADER }
    }

    /// Writes the header, which has [`Self::header_len`] octets; says whether it fitted.
    #[inline(always)]
    pub fn emit(&self, out: &mut [u8], v6: bool) -> bool {
        let ethertype = if v6 { ethernet::IPV6 } else { ethernet::IPV4 }.to_be_bytes();
        if self.tagged {
            let Some([h @ .., a, b]) = out.first_chunk_mut::<{ ethernet::HEADER + ethernet::TAG }>() else {
                return false;
            };
            (*h, [*a, *b]) = (self.header, ethertype);
        } else {
            let Some([h @ .., a, b]) = out.first_chunk_mut::<{ ethernet::HEADER }>() else { return false };
            let Some(addresses) = self.header.first_chunk::<{ ethernet::HEADER - 2 }>() else { return false };
            (*h, [*a, *b]) = (*addresses, ethertype);
        }
        true
    }
}

/// A neighbour's place. Hashed in few instructions, since every packet to a connected network asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    port: u16,
    v6: bool,
    address: u128,
}

impl Hash for Place {
    #[inline(always)]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.address as u64 ^ u64::from(self.port) << 48);
        if self.v6 {
            state.write_u64((self.address >> 64) as u64);
        }
    }
}

impl Place {
    #[inline(always)]
    fn new(port: PortId, address: IpAddr) -> Self {
        let (v6, address) = match address {
            IpAddr::V4(a) => (false, u128::from(a.to_bits())),
            IpAddr::V6(a) => (true, a.to_bits()),
        };
        Self { port: port.0, v6, address }
    }
}

/// All resolved neighbours. The host stack bounds their number, and with it what a chosen collision can cost.
#[derive(Debug, Default)]
pub struct Links(HashMap<Place, Link, BuildHasherDefault<Multiply>>);

impl Links {
    /// The neighbours whose ports are configured.
    pub fn new(neighbours: &HashMap<(PortId, IpAddr), MacAddr>, ports: &[Option<Port>]) -> Self {
        let link = |(&(port, address), mac): (&(PortId, IpAddr), &MacAddr)| {
            let port = ports.get(usize::from(port.0))?.as_ref()?;
            Some((Place::new(port.config.port, address), Link::new(port, *mac)))
        };
        Self(neighbours.iter().filter_map(link).collect())
    }

    /// The way to a neighbour.
    #[inline(always)]
    pub fn get(&self, port: PortId, address: IpAddr) -> Option<&Link> {
        self.0.get(&Place::new(port, address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane_api::PortConfig;
    use wire::ethernet::Ethernet;

    #[test]
    fn frames_begin_as_the_port_and_the_neighbour_say() {
        let (near, far) = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
        let port = |n: u16, vlan| {
            let (port, addresses) = (PortId(n), Vec::new());
            Some(Port::new(PortConfig { port, mac: near, mtu: 1500 + n, vlan, zone: Zone::Trusted, addresses }))
        };
        let four: IpAddr = "192.0.2.1".parse().unwrap();
        let six: IpAddr = "2001:db8::1".parse().unwrap();
        // The same number as the IPv4 address.
        let low: IpAddr = "::c000:201".parse().unwrap();
        let all = [(0, four), (1, four), (1, six), (2, four)].map(|(n, a)| ((PortId(n), a), far));
        let links = Links::new(&all.into(), &[port(0, None), port(1, Some(7)), None]);
        for (n, address, vlan) in [(0, four, None), (1, four, Some(7)), (1, six, Some(7))] {
            let link = links.get(PortId(n), address).unwrap();
            assert_eq!((link.port, link.mtu, link.header_len()), (PortId(n), 1500 + n, ethernet::emit_len(vlan)));
            for (v6, ethertype) in [(false, ethernet::IPV4), (true, ethernet::IPV6)] {
                let mut frame = [0xa5; 19];
                assert!(link.emit(&mut frame, v6) && !link.emit(&mut frame[..link.header_len() - 1], v6));
                let want = Ethernet { dst: far.0, src: near.0, vlan, ethertype, len: link.header_len() };
                assert_eq!((Ethernet::parse(&frame), frame[link.header_len()]), (Ok(want), 0xa5));
            }
        }
        for (n, address) in [(0, six), (0, low), (2, four), (9, four)] {
            assert!(links.get(PortId(n), address).is_none(), "{n} {address}");
        }
    }
}

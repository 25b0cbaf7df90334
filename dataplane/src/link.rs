//! How a frame leaves: the neighbours on the ports' links, with the headers of frames to them ready.

use crate::lane::Packet;
use crate::publish::{Multiply, Port};
use dataplane_api::{MacAddr, PortId, Zone};
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::net::IpAddr;
use wire::{ethernet, ipv4, ipv6};

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

    /// Whether a packet is no larger than may be sent there in one piece.
    #[inline(always)]
    pub fn takes(&self, packet: &Packet) -> bool {
        packet.mbuf.len() <= usize::from(packet.l3) + usize::from(self.mtu)
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

/// A port and an IPv4 address, in one word, since every packet to a connected network asks for it.
#[inline(always)]
fn place4(port: PortId, address: u32) -> u64 {
    u64::from(port.0) << 32 | u64::from(address)
}

/// All resolved neighbours. The host stack bounds their number, and with it what a chosen collision can cost.
#[derive(Debug, Default)]
pub struct Links {
    v4: HashMap<u64, Link, BuildHasherDefault<Multiply>>,
    v6: HashMap<(u16, u128), Link, BuildHasherDefault<Multiply>>,
}

impl Links {
    /// The neighbours whose ports are configured.
    pub fn new(neighbours: &HashMap<(PortId, IpAddr), MacAddr>, ports: &[Option<Port>]) -> Self {
        let mut links = Self::default();
        for (&(id, address), mac) in neighbours {
            let Some(port) = ports.get(usize::from(id.0)).and_then(Option::as_ref) else { continue };
            let link = Link::new(port, *mac);
            match address {
                IpAddr::V4(a) => links.v4.insert(place4(id, a.to_bits()), link),
                IpAddr::V6(a) => links.v6.insert((id.0, a.to_bits()), link),
            };
        }
        links
    }

    /// The way to a neighbour.
    #[inline]
    pub fn get(&self, port: PortId, address: IpAddr) -> Option<&Link> {
        match address {
            IpAddr::V4(a) => self.v4.get(&place4(port, a.to_bits())),
            IpAddr::V6(a) => self.v6.get(&(port.0, a.to_bits())),
        }
    }

    /// For the packets of a burst.
    #[inline(always)]
    pub fn burst(&self) -> Burst<'_> {
        Burst { links: self, v4: None, v6: None }
    }
}

/// Neighbours as the packets of a burst ask for them: those to one neighbour often come together.
pub struct Burst<'a> {
    links: &'a Links,
    v4: Option<(u64, &'a Link)>,
    v6: Option<((u16, u128), &'a Link)>,
}

impl<'a> Burst<'a> {
    /// The way to the neighbour that a packet is to.
    #[inline(always)]
    pub fn towards(&mut self, port: PortId, packet: &Packet) -> Option<&'a Link> {
        match packet.header::<{ ipv4::HEADER }>()? {
            [first, .., a, b, c, d] if first >> 4 != 6 => {
                let place = place4(port, u32::from_be_bytes([*a, *b, *c, *d]));
                if self.v4.is_none_or(|(last, _)| last != place) {
                    self.v4 = self.links.v4.get(&place).map(|link| (place, link));
                }
                self.v4.map(|(_, link)| link)
            }
            _ => {
                let (_, dst) = packet.header::<{ ipv6::HEADER }>()?.split_last_chunk()?;
                let place = (port.0, u128::from_be_bytes(*dst));
                if self.v6.is_none_or(|(last, _)| last != place) {
                    self.v6 = self.links.v6.get(&place).map(|link| (place, link));
                }
                self.v6.map(|(_, link)| link)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane_api::PortConfig;
    use std::net::{Ipv4Addr, Ipv6Addr};
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

    #[test]
    fn every_neighbour_of_many_is_found() {
        let mac = |n: u32| MacAddr([2, 0, 0, 0, (n >> 8) as u8, n as u8]);
        let port = |n: u16| {
            let (port, addresses, mac) = (PortId(n), Vec::new(), MacAddr([2; 6]));
            Some(Port::new(PortConfig { port, mac, mtu: 1500, vlan: None, zone: Zone::Trusted, addresses }))
        };
        let place = |n: u32| -> (PortId, IpAddr) {
            let address: IpAddr = match n & 2 {
                0 => Ipv4Addr::from_bits(0xc000_0200 + (n >> 2)).into(),
                _ => Ipv6Addr::from_bits((0x2001_0db8 << 96) + u128::from(n >> 2)).into(),
            };
            (PortId((n & 1) as u16), address)
        };
        let links = Links::new(&(0..2000).map(|n| (place(n), mac(n))).collect(), &[port(0), port(1)]);
        for n in 0..4000 {
            let (port, address) = place(n);
            let to = links.get(port, address).map(|l| (l.port, l.header[..6].to_vec()));
            assert_eq!(to, (n < 2000).then(|| (port, mac(n).0.to_vec())), "{n}");
        }
    }
}

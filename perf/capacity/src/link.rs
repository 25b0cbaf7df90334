//! Frames: Ethernet, IP, and the outer UDP header.

use std::net::IpAddr;
use wire::{ethernet, ip, ipv4, ipv6, udp};

/// Of what is sent to more than a neighbour.
pub const TTL: u8 = 64;

/// A link and the gateway on it.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Our Ethernet address.
    pub mac: [u8; 6],
    /// 802.1Q VLAN.
    pub vlan: Option<u16>,
}

/// What a frame carries, up to the payload.
#[derive(Clone, Copy, Debug)]
pub struct Outer {
    /// Source.
    pub src: IpAddr,
    /// Destination.
    pub dst: IpAddr,
    /// UDP ports, or a protocol without ports.
    pub carries: Carries,
}

/// What is in the IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    /// UDP, from and to these ports.
    Udp(u16, u16),
    /// ESP.
    Esp,
}

impl Outer {
    /// Octets in front of the payload, without Ethernet.
    pub fn header_len(&self) -> usize {
        let udp = if matches!(self.carries, Carries::Udp(..)) { udp::HEADER } else { 0 };
        (if self.src.is_ipv6() { ipv6::HEADER } else { ipv4::HEADER }) + udp
    }

    /// Writes the headers in front of the payload, which is behind them already. `false`: it does not fit a packet.
    pub fn write(&self, packet: &mut [u8], id: u16) -> bool {
        let protocol = if self.carries == Carries::Esp { ip::ESP } else { ip::UDP };
        let Some(at) = ip_header(packet, (self.src, self.dst), protocol, TTL, (id, 0)) else { return false };
        let Carries::Udp(from, to) = self.carries else { return true };
        let datagram = &mut packet[at..];
        // It is shorter than the packet.
        if !udp::emit(datagram, from, to, datagram.len() as u16) {
            return false;
        }
        if self.src.is_ipv6() {
            udp::fill_checksum(datagram, self.src, self.dst);
        }
        true
    }
}

/// Writes an IP header in front of its payload, which is behind it already, and gives its octets. It has this
/// identification (IPv4) or flow label (IPv6). `None`: it does not fit a packet, or the addresses are of two families.
pub fn ip_header(
    packet: &mut [u8],
    path: (IpAddr, IpAddr),
    protocol: u8,
    ttl: u8,
    (id, flow_label): (u16, u32),
) -> Option<usize> {
    let total_len = u16::try_from(packet.len()).ok()?;
    let (written, len) = match path {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let head = ipv4::Repr { tos: 0, total_len, id, flags: ipv4::DF, ttl, protocol, src, dst };
            (head.emit(packet), ipv4::HEADER)
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let payload_len = total_len.checked_sub(ipv6::HEADER as u16)?;
            let (traffic_class, next_header, hop_limit) = (0, protocol, ttl);
            let head = ipv6::Repr { traffic_class, flow_label, payload_len, next_header, hop_limit, src, dst };
            (head.emit(packet), ipv6::HEADER)
        }
        _ => return None,
    };
    written.then_some(len)
}

impl Link {
    /// Octets of the Ethernet header.
    pub fn header_len(&self) -> usize {
        ethernet::emit_len(self.vlan)
    }

    /// Writes the Ethernet header.
    pub fn write(&self, frame: &mut [u8], to: [u8; 6], ethertype: u16) -> bool {
        ethernet::emit(frame, to, self.mac, self.vlan, ethertype)
    }

    /// The ethertype and the payload of a frame that is for us or for a group, on our VLAN.
    pub fn read<'a>(&self, frame: &'a [u8]) -> Option<(u16, &'a [u8])> {
        let head = ethernet::Ethernet::parse(frame).ok()?;
        let ours = head.vlan == self.vlan && (head.dst == self.mac || head.is_group());
        ours.then(|| (head.ethertype, &frame[head.len..]))
    }
}

/// The ethertype of a family.
pub fn ethertype(address: IpAddr) -> u16 {
    if address.is_ipv6() { ethernet::IPV6 } else { ethernet::IPV4 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let link = Link { mac: [2, 0, 0, 0, 0, 1], vlan: Some(7) };
        for (src, dst) in [("192.0.2.2", "192.0.2.1"), ("2001:db8::2", "2001:db8::1")] {
            let outer =
                Outer { src: src.parse().unwrap(), dst: dst.parse().unwrap(), carries: Carries::Udp(4500, 4501) };
            let at = link.header_len();
            let mut frame = vec![0x5a; at + outer.header_len() + 4];
            assert!(outer.write(&mut frame[at..], 1) && link.write(&mut frame, link.mac, ethertype(outer.src)));
            let (kind, packet) = link.read(&frame).unwrap();
            assert_eq!(kind, ethertype(outer.src));
            let head = ip::Ip::parse(packet).unwrap();
            assert_eq!((head.src, head.dst, head.protocol), (outer.src, outer.dst, ip::UDP));
            let datagram = udp::Udp::parse(&packet[head.header_len..]).unwrap();
            assert_eq!((datagram.src_port(), datagram.dst_port(), datagram.payload()), (4500, 4501, &[0x5a; 4][..]));
            assert!(datagram.checksum_ok(outer.src, outer.dst));
            assert!(Link { vlan: None, ..link }.read(&frame).is_none());
            assert!(Link { mac: [2, 0, 0, 0, 0, 2], ..link }.read(&frame).is_none());
        }
    }
}

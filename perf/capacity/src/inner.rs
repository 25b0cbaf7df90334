//! The inner packet of a probe: IPv4 or IPv6, and UDP.

use crate::probe::{PORT, Probe};
use std::net::IpAddr;
use wire::{ip, ipv4, ipv6, udp};

/// Source ports are spread from here on, so that what hashes flows spreads them too.
const FIRST_SOURCE: u16 = 0xc000;

/// Octets of the headers.
pub const fn headers(v6: bool) -> usize {
    (if v6 { ipv6::HEADER } else { ipv4::HEADER }) + udp::HEADER
}

/// Fills `out` with a packet that carries the probe. `false`: it does not fit, or the addresses are of two families.
pub fn write(out: &mut [u8], src: IpAddr, dst: IpAddr, probe: Probe) -> bool {
    let Ok(len) = u16::try_from(out.len()) else { return false };
    let (headed, at) = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let (id, protocol) = (probe.seq as u16, ip::UDP);
            let head = ipv4::Repr { tos: 0, total_len: len, id, flags: ipv4::DF, ttl: 64, protocol, src, dst };
            (head.emit(out), ipv4::HEADER)
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let Some(payload_len) = len.checked_sub(ipv6::HEADER as u16) else { return false };
            let flow_label = probe.stream & 0xf_ffff;
            let (traffic_class, next_header, hop_limit) = (0, ip::UDP, 64);
            let head = ipv6::Repr { traffic_class, flow_label, payload_len, next_header, hop_limit, src, dst };
            (head.emit(out), ipv6::HEADER)
        }
        _ => return false,
    };
    let Some(datagram) = out.get_mut(at..).filter(|d| headed && d.len() >= udp::HEADER) else { return false };
    let from = FIRST_SOURCE | (probe.stream as u16 & 0x3fff);
    if !probe.write(&mut datagram[udp::HEADER..]) || !udp::emit(datagram, from, PORT, len - at as u16) {
        return false;
    }
    udp::fill_checksum(datagram, src, dst);
    true
}

/// Source, destination and UDP payload of a packet that goes to the port of probes; `None` for all others.
pub fn read(packet: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])> {
    let head = ip::Ip::parse(packet).ok().filter(|h| h.protocol == ip::UDP && h.fragment.is_none())?;
    let datagram = udp::Udp::parse(packet.get(head.header_len..head.len)?).ok()?;
    (datagram.dst_port() == PORT).then(|| (head.src, head.dst, datagram.payload()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_at_the_smallest_sizes() {
        let probe = Probe { stream: 3, seq: 5, stamp: 8 };
        for (src, dst, size) in [("10.0.0.1", "198.51.100.2", 44), ("2001:db8::1", "2001:db8::2", 64)] {
            let (src, dst): (IpAddr, IpAddr) = (src.parse().unwrap(), dst.parse().unwrap());
            let mut packet = vec![0; size];
            assert!(write(&mut packet, src, dst, probe));
            let (from, to, payload) = read(&packet).unwrap();
            assert_eq!((from, to, Probe::read(payload)), (src, dst, Some(probe)));
            let datagram = udp::Udp::parse(&packet[headers(dst.is_ipv6()) - udp::HEADER..]).unwrap();
            assert!(datagram.checksum_ok(src, dst));
            assert!(!write(&mut vec![0; size - 1], src, dst, probe));
            assert!(!write(&mut packet, src, "::1".parse().unwrap(), probe) || src.is_ipv6());
        }
    }
}

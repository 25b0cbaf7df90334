//! The inner packet of a probe: IPv4 or IPv6, and UDP.

use crate::link::{TTL, ip_header};
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
    let label = (probe.seq as u16, probe.stream & 0xf_ffff);
    let Some(at) = ip_header(out, (src, dst), ip::UDP, TTL, label) else { return false };
    let Some(datagram) = out.get_mut(at..).filter(|d| d.len() >= udp::HEADER) else { return false };
    let from = FIRST_SOURCE | (probe.stream as u16 & 0x3fff);
    // It is shorter than the packet.
    if !probe.write(&mut datagram[udp::HEADER..]) || !udp::emit(datagram, from, PORT, datagram.len() as u16) {
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

//! Packets and frames that the benchmarks send.

use std::net::IpAddr;
use wire::{ethernet, ip, ipv4, ipv6, udp};

/// Who is on the link.
pub const FAR: [u8; 6] = [2, 0, 0, 0, 0, 9];
/// The gateway's ports, as it is told: what their devices say does not matter.
pub const NEAR: [u8; 6] = [0; 6];

/// An IP packet in Ethernet.
pub fn framed(packet: &[u8]) -> Vec<u8> {
    let ethertype = if packet[0] >> 4 == 4 { ethernet::IPV4 } else { ethernet::IPV6 };
    let mut out = vec![0; ethernet::emit_len(None)];
    ethernet::emit(&mut out, NEAR, FAR, None, ethertype);
    out.extend_from_slice(packet);
    out
}

/// An IP packet around a payload.
pub fn packet(src: IpAddr, dst: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0; if src.is_ipv4() { ipv4::HEADER } else { ipv6::HEADER }];
    let len = payload.len() as u16;
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let total_len = out.len() as u16 + len;
            ipv4::Repr { tos: 0, total_len, id: 0, flags: 0, ttl: 64, protocol, src, dst }.emit(&mut out);
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let (payload_len, next_header) = (len, protocol);
            let header =
                ipv6::Repr { traffic_class: 0, flow_label: 0, payload_len, next_header, hop_limit: 64, src, dst };
            header.emit(&mut out);
        }
        _ => {}
    }
    out.extend_from_slice(payload);
    out
}

/// A UDP packet of `size` octets (at least its headers) from this port. Its payload is different for each port.
pub fn datagram(src: IpAddr, dst: IpAddr, port: u16, size: usize) -> Vec<u8> {
    let headers = udp::HEADER + if src.is_ipv4() { ipv4::HEADER } else { ipv6::HEADER };
    let mut data = vec![0; udp::HEADER];
    data.extend((0..size.saturating_sub(headers)).map(|i| (i as u16 ^ port) as u8));
    let len = data.len() as u16;
    udp::emit(&mut data, port, 5000, len);
    packet(src, dst, ip::UDP, &data)
}

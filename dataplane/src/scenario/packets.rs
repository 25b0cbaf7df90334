//! Packets for the cases, built from the headers up.

use super::{CORE_MAC, PUBLIC_MAC, SUBSCRIBER_MAC, TRUSTED_MAC, ip, session_id};
use std::net::IpAddr;
use wire::{checksum, ethernet, ip as proto, ipv4, ipv6, l2tp, udp};

/// An IP packet.
pub fn packet(src: &str, dst: &str, protocol: u8, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let (src, dst) = (ip(src), ip(dst));
    let mut p = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let mut h = vec![0; ipv4::HEADER];
            let total_len = (ipv4::HEADER + payload.len()) as u16;
            assert!(ipv4::Repr { tos: 0, total_len, id: 7, flags: 0, ttl, protocol, src, dst }.emit(&mut h));
            h
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let mut h = vec![0; ipv6::HEADER];
            let (payload_len, next_header) = (payload.len() as u16, protocol);
            let r = ipv6::Repr { traffic_class: 0, flow_label: 0, payload_len, next_header, hop_limit: ttl, src, dst };
            assert!(r.emit(&mut h));
            h
        }
        _ => panic!("families differ"),
    };
    p.extend_from_slice(payload);
    p
}

/// A UDP datagram in an IP packet.
pub fn datagram(src: &str, dst: &str, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let mut d = vec![0; udp::HEADER];
    assert!(udp::emit(&mut d, ports.0, ports.1, (udp::HEADER + payload.len()) as u16));
    d.extend_from_slice(payload);
    udp::fill_checksum(&mut d, ip(src), ip(dst));
    packet(src, dst, proto::UDP, 64, &d)
}

/// An ICMP or ICMPv6 message with a right checksum.
pub fn icmp(src: &str, dst: &str, ttl: u8, kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut m = vec![kind, 0, 0, 0];
    m.extend_from_slice(rest);
    let v6 = ip(src).is_ipv6();
    let sum = if v6 { checksum::transport(ip(src), ip(dst), proto::ICMPV6, &m) } else { checksum::of(&m) };
    m[2..4].copy_from_slice(&sum.to_be_bytes());
    packet(src, dst, if v6 { proto::ICMPV6 } else { proto::ICMP }, ttl, &m)
}

/// A TCP SYN with an MSS option.
pub fn syn(src: &str, dst: &str, mss: u16) -> Vec<u8> {
    let mut s = vec![0x30, 0x39, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, 2, 0xff, 0xff, 0, 0, 0, 0, 2, 4];
    s.extend_from_slice(&mss.to_be_bytes());
    let sum = checksum::transport(ip(src), ip(dst), proto::TCP, &s);
    s[16..18].copy_from_slice(&sum.to_be_bytes());
    packet(src, dst, proto::TCP, 64, &s)
}

pub fn set_df(packet: &mut [u8]) {
    ipv4::set_word(packet, 6, ipv4::DF);
}

/// From the wire towards a port of ours.
pub fn frame(port: usize, packet: &[u8]) -> Vec<u8> {
    let (to, from) = [(PUBLIC_MAC, SUBSCRIBER_MAC), (TRUSTED_MAC, CORE_MAC)][port];
    let ethertype = if packet.first().is_some_and(|b| b >> 4 == 6) { ethernet::IPV6 } else { ethernet::IPV4 };
    let mut f = vec![0; ethernet::HEADER];
    assert!(ethernet::emit(&mut f, to, from, None, ethertype));
    f.extend_from_slice(packet);
    f
}

/// An L2TP data message of the subscriber's session with a PPP frame.
pub fn l2tp_frame(ppp: &[u8]) -> Vec<u8> {
    l2tp_from("192.0.2.9", (1701, 1701), session_id(0).tunnel(), session_id(0).session(), ppp)
}

pub fn l2tp_from(src: &str, ports: (u16, u16), tunnel: u16, session: u16, ppp: &[u8]) -> Vec<u8> {
    let mut m = vec![0; l2tp::data_len(false)];
    assert!(l2tp::emit_data(&mut m, tunnel, session, None));
    m.extend_from_slice(ppp);
    frame(0, &datagram(src, "192.0.2.1", ports, &m))
}

/// A subscriber's IP packet in its session.
pub fn subscriber(inner: &[u8]) -> Vec<u8> {
    l2tp_frame(&ppp(inner))
}

pub fn ppp(inner: &[u8]) -> Vec<u8> {
    let protocol: &[u8] = if inner[0] >> 4 == 6 { &[0xff, 3, 0, 0x57] } else { &[0xff, 3, 0, 0x21] };
    [protocol, inner].concat()
}

/// Checks a frame towards the subscriber and gives the PPP frame in it.
pub fn from_session(frame: &[u8]) -> Vec<u8> {
    let e = ethernet::Ethernet::parse(frame).unwrap();
    assert_eq!((e.dst, e.src, e.ethertype), (SUBSCRIBER_MAC, PUBLIC_MAC, ethernet::IPV4));
    let h = ipv4::Ipv4::parse(&frame[e.len..]).unwrap();
    assert!(h.checksum_ok());
    assert_eq!((h.src().into(), h.dst().into()), (ip("192.0.2.1"), ip("192.0.2.9")));
    let u = udp::Udp::parse(h.payload()).unwrap();
    // One of 0, none, would be right as well: see RFC 2661, section 8.1.
    assert!(h.payload()[6..8] != [0, 0] && u.checksum_ok(h.src().into(), h.dst().into()));
    assert_eq!((u.src_port(), u.dst_port()), (1701, 1701));
    let l = l2tp::Header::parse(u.payload()).unwrap();
    assert_eq!((l.control, l.tunnel, l.session), (false, 0x1111, 0x2222));
    u.payload()[l.len..l.end].to_vec()
}

/// Checks a frame towards the core and gives the IP packet in it.
pub fn to_core(frame: &[u8]) -> Vec<u8> {
    let e = ethernet::Ethernet::parse(frame).unwrap();
    assert_eq!((e.dst, e.src), (CORE_MAC, TRUSTED_MAC));
    let packet = frame[e.len..].to_vec();
    if packet[0] >> 4 == 4 {
        assert!(ipv4::Ipv4::parse(&packet).unwrap().checksum_ok());
    }
    packet
}

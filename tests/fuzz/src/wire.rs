//! Headers of the data plane, as one packet and each on its own.

use ::wire::{checksum, esp, ethernet, icmp, ip, ipv4, ipv6, l2tp, ppp, tcp, udp};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const V6: (Ipv6Addr, Ipv6Addr) = (Ipv6Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED);

/// A frame from Ethernet inwards; then the same octets as if each of the other headers came first.
pub fn packet(data: &[u8]) {
    if let Ok(e) = ethernet::Ethernet::parse(data) {
        assert!(e.len <= data.len());
        // A priority tag is not written again, so what follows it must not be a tag.
        if e.ethertype != ethernet::VLAN {
            let mut out = vec![0; ethernet::emit_len(e.vlan)];
            assert!(ethernet::emit(&mut out, e.dst, e.src, e.vlan, e.ethertype));
            assert_eq!(
                ethernet::Ethernet::parse(&out).map(|o| (o.dst, o.src, o.vlan, o.ethertype)),
                Ok((e.dst, e.src, e.vlan, e.ethertype))
            );
        }
        ip_packet(&data[e.len..]);
    }
    ip_packet(data);
    transport(data, V6.0.into(), V6.1.into());
    inside_udp(data);
}

fn ip_packet(data: &[u8]) {
    if let Ok(p) = ip::Ip::parse(data) {
        assert!(p.header_len <= p.len && p.len <= data.len());
        black_box(p.is_first());
        transport(&data[p.header_len..p.len], p.src, p.dst);
    }
    if let Ok(p) = ipv4::Ipv4::parse(data) {
        assert!(p.header_len() <= p.total_len() && p.total_len() <= data.len());
        assert_eq!(p.payload().len(), p.total_len() - p.header_len());
        black_box((p.tos(), p.id(), p.dont_fragment(), p.more_fragments(), p.fragment_offset(), p.is_fragment()));
        black_box(icmp::may_report_v4(p.src(), p.dst()));
        let mut copy = data.to_vec();
        if p.checksum_ok() && p.ttl() > 1 {
            ipv4::decrement_ttl(&mut copy);
            assert!(ipv4::Ipv4::parse(&copy).is_ok_and(|q| q.checksum_ok() && q.ttl() == p.ttl() - 1));
        }
    }
    if let Ok(p) = ipv6::Ipv6::parse(data) {
        assert!(p.total_len() <= data.len());
        black_box((p.traffic_class(), p.flow_label(), p.hop_limit(), p.next_header(), p.payload()));
        black_box(icmp::may_report_v6(p.src(), p.dst(), false));
    }
    if let Ok(u) = ipv6::upper_layer(data) {
        assert!(u.offset <= data.len() && u.fragment_header.is_none_or(|at| at + 8 <= u.offset));
    }
}

fn transport(data: &[u8], src: IpAddr, dst: IpAddr) {
    if let Ok(d) = udp::Udp::parse(data) {
        black_box((d.src_port(), d.dst_port(), d.checksum_ok(src, dst)));
        inside_udp(d.payload());
        let mut copy = data[..d.payload().len() + 8].to_vec();
        copy[6..8].fill(0);
        udp::fill_checksum(&mut copy, src, dst);
        assert!(udp::Udp::parse(&copy).is_ok_and(|d| d.checksum_ok(src, dst)));
    }
    let mut copy = data.to_vec();
    black_box(tcp::clamp_mss(&mut copy, 1360));
    assert!(!tcp::clamp_mss(&mut copy, 1360), "clamped twice");
    black_box((icmp::checksum_ok_v4(data), checksum::of(data)));
    let mut copy = data.to_vec();
    if icmp::checksum_ok_v4(data) && icmp::echo_reply(&mut copy, false) {
        black_box(icmp::checksum_ok_v4(&copy));
    }
    if icmp::emit_v4(&mut copy, icmp::ErrorKind::TimeExceeded) {
        assert!(icmp::checksum_ok_v4(&copy));
    }
    if icmp::emit_v6(&mut copy, icmp::ErrorKind::TimeExceeded, V6.0, V6.1) {
        assert_eq!(checksum::transport6(V6.0, V6.1, ip::ICMPV6, &copy), 0);
    }
    black_box(checksum::transport4(Ipv4Addr::LOCALHOST, Ipv4Addr::BROADCAST, ip::UDP, data));
}

fn inside_udp(data: &[u8]) {
    black_box((esp::encapsulated(data), esp::spi(data), esp::sequence(data)));
    if let Ok(h) = l2tp::Header::parse(data) {
        assert!(h.len <= h.end && h.end <= data.len());
        ppp_frame(&data[h.len..h.end]);
    }
    ppp_frame(data);
}

fn ppp_frame(data: &[u8]) {
    if let Ok((protocol, at)) = ppp::protocol(data) {
        assert!(at <= data.len() && protocol & 1 == 1);
        let mut out = vec![0; ppp::emit_len(protocol, true, true)];
        assert!(ppp::emit(&mut out, protocol, true, true));
        assert_eq!(ppp::protocol(&out), Ok((protocol, out.len())));
        black_box(ip::Ip::parse(&data[at..]).is_ok());
    }
}

//! L2TP data and its UDP header, as they stand inside ESP.

use std::net::IpAddr;
use wire::{l2tp, ppp, udp};

/// A UDP datagram with `payload`. IPv6 demands the checksum (RFC 8200, section 8.1); inside ESP over IPv4 it would only
/// repeat what the ICV says, and a NAT would break it (RFC 3948, section 3.1.2).
pub(crate) fn udp(src: IpAddr, dst: IpAddr, from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0; udp::HEADER + payload.len()];
    let len = u16::try_from(out.len()).unwrap_or(u16::MAX);
    udp::emit(&mut out, from, to, len);
    out[udp::HEADER..].copy_from_slice(payload);
    if src.is_ipv6() {
        udp::fill_checksum(&mut out, src, dst);
    }
    out
}

/// Source port, destination port and payload.
pub(crate) fn udp_payload(datagram: &[u8]) -> Option<(u16, u16, &[u8])> {
    let d = udp::Udp::parse(datagram).ok()?;
    Some((d.src_port(), d.dst_port(), d.payload()))
}

/// An L2TP data message; `protocol` is PPP's protocol field. Nothing is compressed.
pub(crate) fn l2tp_data(tunnel: u16, session: u16, protocol: &[u8], information: &[u8]) -> Vec<u8> {
    let head = l2tp::data_len(false);
    let mut out = vec![0; head];
    l2tp::emit_data(&mut out, tunnel, session, None);
    out.extend_from_slice(&[0xff, 0x03]);
    out.extend_from_slice(protocol);
    out.extend_from_slice(information);
    out
}

/// Our ids (`tunnel << 16 | session`) and the PPP frame with its protocol field expanded to two octets.
pub(crate) fn l2tp_frame(message: &[u8]) -> Option<(u32, Vec<u8>)> {
    let h = l2tp::Header::parse(message).ok().filter(|h| !h.control)?;
    let frame = message.get(h.len..h.end)?;
    let (protocol, at) = ppp::protocol(frame).ok()?;
    let mut out = protocol.to_be_bytes().to_vec();
    out.extend_from_slice(&frame[at..]);
    Some(((u32::from(h.tunnel) << 16) | u32::from(h.session), out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let (a, b) = ("192.0.2.2".parse().unwrap(), "192.0.2.1".parse().unwrap());
        let data = l2tp_data(7, 9, &[0x00, 0x57], b"payload");
        let datagram = udp(a, b, 1701, 1701, &data);
        let (from, to, payload) = udp_payload(&datagram).unwrap();
        assert_eq!((from, to), (1701, 1701));
        assert_eq!(l2tp_frame(payload), Some((0x0007_0009, b"\x00\x57payload".to_vec())));
    }

    #[test]
    fn compressed_fields_are_expanded() {
        // No ff 03, one-octet protocol (RFC 1661, section 6.5 and 6.6).
        assert_eq!(l2tp_frame(&[0, 2, 0, 1, 0, 2, 0x21, 0x45]), Some((0x0001_0002, vec![0, 0x21, 0x45])));
    }

    #[test]
    fn control_and_garbage_are_refused() {
        assert_eq!(l2tp_frame(&[0xc8, 2, 0, 12, 0, 1, 0, 2, 0, 0, 0, 0]), None);
        assert_eq!(l2tp_frame(&[0, 2, 0]), None);
        assert!(udp_payload(&[0; 7]).is_none());
    }

    #[test]
    fn ipv6_carries_a_checksum() {
        let (a, b) = ("2001:db8::2".parse().unwrap(), "2001:db8::1".parse().unwrap());
        let d = udp(a, b, 1701, 1701, &[1, 2, 3]);
        assert!(udp::Udp::parse(&d).unwrap().checksum_ok(a, b));
        assert_ne!(&d[6..8], &[0, 0]);
    }
}

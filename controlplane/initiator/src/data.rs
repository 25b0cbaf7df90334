//! What stands between ESP and an inner packet: for callers that seal and open many in place, and for the softwire itself.
//!
//! ```text
//!   UDP(8) | L2TP(6) | PPP(4) | inner IP packet
//! ```

use std::net::IpAddr;
use wire::{l2tp, ppp, udp};

/// Octets of L2TP and PPP.
const FRAME: usize = l2tp::data_len(false) + ppp::emit_len(ppp::IPV4, false, false);
/// Octets in front of the inner packet, as [`write`] makes them.
pub const LEN: usize = udp::HEADER + FRAME;

/// Writes the headers in front of an inner packet that is in its place. `path` is our outer address and the gateway's,
/// `ids` the gateway's tunnel and session. `false`: they do not fit.
pub fn write(datagram: &mut [u8], path: (IpAddr, IpAddr), ids: (u16, u16), v6: bool) -> bool {
    let protocol = if v6 { ppp::IPV6 } else { ppp::IPV4 };
    let message = datagram.get_mut(udp::HEADER..);
    message.is_some_and(|m| write_frame(m, ids, protocol)) && write_udp(datagram, path)
}

/// The inner packet of a datagram that belongs to the session `id`, our `tunnel << 16 | session`. `None`: it is
/// something else, which [`Softwire::handle_opened`](crate::Softwire::handle_opened) knows what to do with.
pub fn read(datagram: &[u8], id: u32) -> Option<&[u8]> {
    let frame = read_frame(read_udp(datagram)?).filter(|f| f.id == id)?;
    matches!(frame.protocol, ppp::IPV4 | ppp::IPV6).then_some(frame.information)
}

/// An L2TP message as a UDP datagram.
pub(crate) fn datagram(path: (IpAddr, IpAddr), message: &[u8]) -> Vec<u8> {
    let mut out = [&[0; udp::HEADER][..], message].concat();
    // No message of ours is longer than a datagram.
    write_udp(&mut out, path);
    out
}

/// An L2TP data message with a PPP frame.
pub(crate) fn message(ids: (u16, u16), protocol: u16, information: &[u8]) -> Vec<u8> {
    let mut out = [&[0; FRAME][..], information].concat();
    write_frame(&mut out, ids, protocol);
    out
}

/// A PPP frame of an L2TP data message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// Our ids, `tunnel << 16 | session`.
    pub(crate) id: u32,
    /// PPP's protocol.
    pub(crate) protocol: u16,
    /// What is behind it.
    pub(crate) information: &'a [u8],
}

/// `None`: a control message, or no message at all.
pub(crate) fn read_frame(message: &[u8]) -> Option<Frame<'_>> {
    let head = l2tp::Header::parse(message).ok().filter(|h| !h.control)?;
    let frame = message.get(head.len..head.end)?;
    let (protocol, at) = ppp::protocol(frame).ok()?;
    let id = u32::from(head.tunnel) << 16 | u32::from(head.session);
    Some(Frame { id, protocol, information: frame.get(at..)? })
}

/// The L2TP message of a datagram from the gateway.
pub(crate) fn read_udp(datagram: &[u8]) -> Option<&[u8]> {
    let datagram = udp::Udp::parse(datagram).ok()?;
    (datagram.src_port() == l2tp::PORT && datagram.dst_port() == l2tp::PORT).then(|| datagram.payload())
}

// Nothing is compressed.
fn write_frame(message: &mut [u8], ids: (u16, u16), protocol: u16) -> bool {
    let at = l2tp::data_len(false);
    message.len() >= FRAME
        && l2tp::emit_data(message, ids.0, ids.1, None)
        && ppp::emit(&mut message[at..], protocol, false, false)
}

// IPv6 demands the checksum (RFC 8200, section 8.1); inside ESP over IPv4 it would only repeat what the ICV says, and a
// NAT would break it (RFC 3948, section 3.1.2).
fn write_udp(datagram: &mut [u8], (src, dst): (IpAddr, IpAddr)) -> bool {
    let len = u16::try_from(datagram.len());
    let written = len.is_ok_and(|len| udp::emit(datagram, l2tp::PORT, l2tp::PORT, len));
    if written && src.is_ipv6() {
        udp::fill_checksum(datagram, src, dst);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATHS: [[&str; 2]; 2] = [["192.0.2.2", "192.0.2.1"], ["2001:db8::2", "2001:db8::1"]];

    fn path(path: [&str; 2]) -> (IpAddr, IpAddr) {
        (path[0].parse().unwrap(), path[1].parse().unwrap())
    }

    #[test]
    fn in_place_and_one_at_a_time_are_the_same() {
        for path in PATHS.map(path) {
            let mut packet = vec![0; LEN + 5];
            packet[LEN..].copy_from_slice(b"inner");
            assert!(write(&mut packet, path, (7, 9), true));
            // Tunnel, session; address and control field, protocol (RFC 2661, section 3.1; RFC 1661, section 2).
            let message = *b"\x00\x02\x00\x07\x00\x09\xff\x03\x00\x57inner";
            assert_eq!(packet[udp::HEADER..], message);
            assert_eq!(packet, datagram(path, &super::message((7, 9), ppp::IPV6, b"inner")));
            assert_eq!(read(&packet, 0x0007_0009), Some(&b"inner"[..]));
            assert_eq!(read(&packet, 0x0007_0008), None);
        }
        assert!(!write(&mut [0; LEN - 1], path(PATHS[0]), (1, 1), false));
        assert!(!write(&mut [0; 7], path(PATHS[0]), (1, 1), false));
    }

    #[test]
    fn what_is_no_data_is_left_to_the_softwire() {
        let datagram = |message: &[u8]| datagram(path(PATHS[0]), message);
        let lcp = message((7, 9), 0xc021, &[9, 1, 0, 8, 0, 0, 0, 0]);
        assert_eq!(read(&datagram(&lcp), 0x0007_0009), None);
        assert_eq!(read(&datagram(&[0xc8, 2, 0, 12, 0, 7, 0, 9, 0, 0, 0, 0]), 0x0007_0009), None);
        assert_eq!(read(&[0; 5], 0), None);
        assert!(read_udp(&[0; 7]).is_none());
    }

    #[test]
    fn compressed_fields_are_read() {
        // No ff 03, one octet of protocol (RFC 1661, section 6.5 and 6.6).
        let frame = Frame { id: 0x0001_0002, protocol: ppp::IPV4, information: &[0x45] };
        assert_eq!(read_frame(&[0, 2, 0, 1, 0, 2, 0x21, 0x45]), Some(frame));
    }

    #[test]
    fn control_and_garbage_are_refused() {
        assert_eq!(read_frame(&[0xc8, 2, 0, 12, 0, 1, 0, 2, 0, 0, 0, 0]), None);
        assert_eq!(read_frame(&[0, 2, 0]), None);
    }

    #[test]
    fn ipv6_carries_a_checksum() {
        let [four, six] = PATHS.map(path);
        let packet = datagram(six, &[1, 2, 3]);
        assert!(udp::Udp::parse(&packet).unwrap().checksum_ok(six.0, six.1));
        assert_ne!(packet[6..8], [0, 0]);
        assert_eq!(datagram(four, &[1, 2, 3])[6..8], [0, 0]);
    }
}

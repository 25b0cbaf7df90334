//! Data of an open session in place, for callers that seal and open in batches: what stands between ESP and the inner
//! packet.
//!
//! ```text
//!   UDP(8) | L2TP(6) | PPP(4) | inner IP packet
//! ```

use std::net::IpAddr;
use wire::{l2tp, ppp, udp};

/// Octets in front of the inner packet, as [`write`] makes them.
pub const LEN: usize = udp::HEADER + l2tp::data_len(false) + ppp::emit_len(ppp::IPV4, false, false);

/// Writes the headers in front of an inner packet that is in its place. `path` is our outer address and the gateway's,
/// `ids` the gateway's tunnel and session. `false`: they do not fit.
pub fn write(datagram: &mut [u8], path: (IpAddr, IpAddr), ids: (u16, u16), v6: bool) -> bool {
    let Ok(len) = u16::try_from(datagram.len()) else { return false };
    if datagram.len() < LEN {
        return false;
    }
    let (l2tp_at, ppp_at) = (udp::HEADER, udp::HEADER + l2tp::data_len(false));
    let protocol = if v6 { ppp::IPV6 } else { ppp::IPV4 };
    let written = udp::emit(datagram, l2tp::PORT, l2tp::PORT, len)
        && l2tp::emit_data(&mut datagram[l2tp_at..], ids.0, ids.1, None)
        && ppp::emit(&mut datagram[ppp_at..], protocol, false, false);
    // RFC 8200, section 8.1; over IPv4 it would only repeat what the ICV says.
    if written && path.0.is_ipv6() {
        udp::fill_checksum(datagram, path.0, path.1);
    }
    written
}

/// The inner packet of a datagram that belongs to the session `id`, our `tunnel << 16 | session`. `None`: it is
/// something else, which [`Softwire::handle_opened`](crate::Softwire::handle_opened) knows what to do with.
pub fn read(datagram: &[u8], id: u32) -> Option<&[u8]> {
    let datagram =
        udp::Udp::parse(datagram).ok().filter(|d| d.src_port() == l2tp::PORT && d.dst_port() == l2tp::PORT)?;
    let message = datagram.payload();
    let head = l2tp::Header::parse(message).ok().filter(|h| !h.control)?;
    if u32::from(head.tunnel) << 16 | u32::from(head.session) != id {
        return None;
    }
    let frame = message.get(head.len..head.end)?;
    let (protocol, at) = ppp::protocol(frame).ok()?;
    frame.get(at..).filter(|_| matches!(protocol, ppp::IPV4 | ppp::IPV6))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outer;

    #[test]
    fn the_same_octets_as_one_at_a_time() {
        for path in [["192.0.2.2", "192.0.2.1"], ["2001:db8::2", "2001:db8::1"]] {
            let [a, b]: [IpAddr; 2] = path.map(|p| p.parse().unwrap());
            let mut datagram = vec![0; LEN + 5];
            datagram[LEN..].copy_from_slice(b"inner");
            assert!(write(&mut datagram, (a, b), (7, 9), true));
            let message = outer::l2tp_data(7, 9, &[0x00, 0x57], b"inner");
            assert_eq!(datagram, outer::udp(a, b, l2tp::PORT, l2tp::PORT, &message));
            assert_eq!(read(&datagram, 0x0007_0009), Some(&b"inner"[..]));
            assert_eq!(read(&datagram, 0x0007_0008), None);
        }
        assert!(!write(&mut [0; LEN - 1], ([0; 4].into(), [0; 4].into()), (1, 1), false));
    }

    #[test]
    fn what_is_no_data_is_left_to_the_softwire() {
        let (a, b) = ("192.0.2.2".parse().unwrap(), "192.0.2.1".parse().unwrap());
        let datagram = |message: &[u8]| outer::udp(a, b, l2tp::PORT, l2tp::PORT, message);
        let lcp = outer::l2tp_data(7, 9, &[0xc0, 0x21], &[9, 1, 0, 8, 0, 0, 0, 0]);
        assert_eq!(read(&datagram(&lcp), 0x0007_0009), None);
        assert_eq!(read(&datagram(&[0xc8, 2, 0, 12, 0, 7, 0, 9, 0, 0, 0, 0]), 0x0007_0009), None);
        assert_eq!(read(&[0; 5], 0), None);
    }
}

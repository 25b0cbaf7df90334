//! ICMP (RFC 792) and ICMPv6 (RFC 4443) errors, and echo.
//!
//! Both share the layout type, code, checksum, a 32-bit word (unused, MTU or pointer), then as much of the invoking
//! packet as fits: for IPv4 up to 576 octets in all (RFC 1812, section 4.3.2.3), for IPv6 up to the minimum MTU of
//! 1280 (RFC 4443, section 2.4 c).

use crate::checksum::{self, Sum};
use crate::ip;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Length of the header.
pub const HEADER: usize = 8;
/// Largest IPv4 packet with an ICMP error.
pub const MAX_V4: usize = 576;
/// Largest IPv6 packet with an ICMPv6 error.
pub const MAX_V6: usize = 1280;

/// Octets that every IPv4 path is taken to carry; RFC 791 says 68, but nobody has such links, and forgers would.
const MIN_MTU_V4: u16 = 576;

/// ICMP echo request.
pub const ECHO_REQUEST: u8 = 8;
/// ICMP echo reply.
pub const ECHO_REPLY: u8 = 0;
/// ICMPv6 echo request.
pub const ECHO_REQUEST_V6: u8 = 128;
/// ICMPv6 echo reply.
pub const ECHO_REPLY_V6: u8 = 129;
/// ICMPv6 router solicitation.
pub const ROUTER_SOLICITATION: u8 = 133;
/// ICMPv6 neighbour solicitation.
pub const NEIGHBOUR_SOLICITATION: u8 = 135;
/// ICMPv6 neighbour advertisement.
pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

/// An error message, for both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// No route to the destination.
    NoRoute,
    /// The address is on the link but nobody has it, or the softwire is down.
    HostUnreachable,
    /// Administratively prohibited.
    Prohibited,
    /// Nobody listens on the port.
    PortUnreachable,
    /// TTL or hop limit ran out.
    TimeExceeded,
    /// The packet is larger than this MTU and may not be fragmented.
    TooBig(u16),
    /// Source address failed the ingress policy (RFC 4443, section 3.1, code 5).
    SourcePolicy,
}

impl ErrorKind {
    /// Type, code and second word of ICMP.
    pub const fn v4(self) -> (u8, u8, u32) {
        match self {
            Self::NoRoute => (3, 0, 0),
            Self::HostUnreachable => (3, 1, 0),
            Self::Prohibited | Self::SourcePolicy => (3, 13, 0),
            Self::PortUnreachable => (3, 3, 0),
            Self::TimeExceeded => (11, 0, 0),
            Self::TooBig(mtu) => (3, 4, mtu as u32), // RFC 1191, section 4
        }
    }

    /// Type, code and second word of ICMPv6.
    pub const fn v6(self) -> (u8, u8, u32) {
        match self {
            Self::NoRoute => (1, 0, 0),
            Self::HostUnreachable => (1, 3, 0),
            Self::Prohibited => (1, 1, 0),
            Self::PortUnreachable => (1, 4, 0),
            Self::TimeExceeded => (3, 0, 0),
            Self::TooBig(mtu) => (2, 0, mtu as u32),
            Self::SourcePolicy => (1, 5, 0),
        }
    }
}

/// What "fragmentation needed" (RFC 1191, section 4) or "packet too big" (RFC 4443, section 3.2) says: the MTU, at least
/// what every path has, and source and destination of the packet it is about. `None` for any other message.
pub fn too_big(message: &[u8], v6: bool) -> Option<(u16, IpAddr, IpAddr)> {
    let (head, quote) = message.split_at_checked(HEADER)?;
    let mtu = u16::try_from(u32::from_be_bytes(head.get(4..8)?.try_into().ok()?)).unwrap_or(u16::MAX);
    let at = |from: usize| Some(IpAddr::from(<[u8; 16]>::try_from(quote.get(from..from + 16)?).ok()?));
    let at4 = |from: usize| Some(IpAddr::from(<[u8; 4]>::try_from(quote.get(from..from + 4)?).ok()?));
    match (head, quote.first()? >> 4) {
        ([3, 4, ..], 4) if !v6 => Some((mtu.max(MIN_MTU_V4), at4(12)?, at4(16)?)),
        ([2, 0, ..], 6) if v6 => Some((mtu.max(MAX_V6 as u16), at(8)?, at(24)?)),
        _ => None,
    }
}

/// Whether an ICMP message of this type is an error, which must not be answered by another.
pub const fn is_error_v4(kind: u8) -> bool {
    matches!(kind, 3 | 4 | 5 | 11 | 12)
}

/// Whether an ICMPv6 message of this type is an error or a redirect (RFC 4443, section 2.4 e.1, e.2).
pub const fn is_error_v6(kind: u8) -> bool {
    kind < 128 || kind == 137
}

/// Completes an ICMP message whose body (after the first 8 octets) is in place.
pub fn emit_v4(message: &mut [u8], kind: ErrorKind) -> bool {
    if message.len() < HEADER {
        return false;
    }
    let (t, c, word) = kind.v4();
    write(message, t, c, word);
    let sum = checksum::of(message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    true
}

/// Completes an ICMPv6 message whose body (after the first 8 octets) is in place.
pub fn emit_v6(message: &mut [u8], kind: ErrorKind, src: Ipv6Addr, dst: Ipv6Addr) -> bool {
    if message.len() < HEADER {
        return false;
    }
    let (t, c, word) = kind.v6();
    write(message, t, c, word);
    let sum = checksum::transport6(src, dst, ip::ICMPV6, message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    true
}

fn write(message: &mut [u8], kind: u8, code: u8, word: u32) {
    message[0] = kind;
    message[1] = code;
    message[2..4].fill(0);
    message[4..8].copy_from_slice(&word.to_be_bytes());
}

/// Turns an echo request into its reply in place: type and checksum only; for ICMPv6 the exchange of the addresses
/// does not change the pseudo-header's sum.
pub fn echo_reply(message: &mut [u8], v6: bool) -> bool {
    let Some(head) = message.first_chunk_mut::<HEADER>() else { return false };
    let old = u16::from_be_bytes([head[0], head[1]]);
    head[0] = if v6 { ECHO_REPLY_V6 } else { ECHO_REPLY };
    let new = u16::from_be_bytes([head[0], head[1]]);
    let sum = checksum::update(u16::from_be_bytes([head[2], head[3]]), old, new);
    head[2..4].copy_from_slice(&sum.to_be_bytes());
    true
}

/// Whether the checksum of an ICMP message is right.
pub fn checksum_ok_v4(message: &[u8]) -> bool {
    Sum::default().octets(message).finish() == 0
}

/// Whether RFC 1812 (section 4.3.2.7) and RFC 4443 (section 2.4 e) let an error be sent about a packet with these
/// addresses: the source names one host, the destination is no group (`too_big` may be about a group, e.3).
pub fn may_report_v4(src: Ipv4Addr, dst: Ipv4Addr) -> bool {
    let one_host = !(src.is_unspecified() || src.is_multicast() || src.is_loopback() || src.octets()[0] >= 240);
    let to_group = dst.is_broadcast() || dst.is_multicast();
    one_host && !to_group
}

/// As [`may_report_v4`], for IPv6.
pub fn may_report_v6(src: Ipv6Addr, dst: Ipv6Addr, too_big: bool) -> bool {
    !src.is_unspecified() && !src.is_multicast() && (too_big || !dst.is_multicast())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;

    #[test]
    fn golden_echo() {
        // Echo request id 1, sequence 1, "abcd", made with scapy; its reply differs in type and checksum.
        let mut m = hex!("0800 3337 0001 0001 61626364");
        m[2..4].fill(0);
        let sum = checksum::of(&m);
        m[2..4].copy_from_slice(&sum.to_be_bytes());
        assert!(echo_reply(&mut m, false));
        assert_eq!(m[0], ECHO_REPLY);
        assert!(checksum_ok_v4(&m));
    }

    #[test]
    fn errors_check() {
        let mut m = [0xff; 48];
        assert!(emit_v4(&mut m, ErrorKind::TooBig(1406)));
        assert!(checksum_ok_v4(&m));
        assert_eq!(m[..2], [3, 4]);
        assert_eq!(m[4..8], [0, 0, 0x05, 0x7e]);
        let (a, b) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
        assert!(emit_v6(&mut m, ErrorKind::TooBig(1406), a, b));
        assert_eq!(checksum::transport6(a, b, ip::ICMPV6, &m), 0);
        assert_eq!(m[..2], [2, 0]);
        assert!(!emit_v4(&mut m[..7], ErrorKind::NoRoute));
    }

    #[test]
    fn rules() {
        assert!(!may_report_v4(Ipv4Addr::UNSPECIFIED, Ipv4Addr::LOCALHOST));
        assert!(!may_report_v6(Ipv6Addr::LOCALHOST, "ff02::1".parse().unwrap(), false));
        assert!(may_report_v6(Ipv6Addr::LOCALHOST, "ff02::1".parse().unwrap(), true));
        assert!(is_error_v4(11) && !is_error_v4(8) && is_error_v6(2) && is_error_v6(137) && !is_error_v6(128));
    }
}

//! The PPP protocol field (RFC 1661, section 2) as it follows an L2TP header: optionally behind address and control
//! (ff 03, RFC 1662, section 3.1; omitted with ACFC), and of one octet when it is compressed (PFC).

use crate::Error;

/// IPv4.
pub const IPV4: u16 = 0x0021;
/// IPv6.
pub const IPV6: u16 = 0x0057;

/// Reads the protocol field of a frame; gives the protocol and where the information begins. Both compressed and
/// uncompressed forms are accepted, as RFC 1661, section 6.5 and 6.6 ask once the options were negotiated, and
/// because the first octet tells them apart at no risk.
#[inline(always)]
pub fn protocol(frame: &[u8]) -> Result<(u16, usize), Error> {
    // As most peers send it: nothing is compressed.
    match frame.first_chunk().map(|first| u32::from_be_bytes(*first)) {
        Some(first) if first & 0xffff_0101 == 0xff03_0001 => Ok((first as u16, 4)),
        _ => compressed(frame),
    }
}

#[inline(never)]
fn compressed(frame: &[u8]) -> Result<(u16, usize), Error> {
    let skip = if frame.starts_with(&[0xff, 0x03]) { 2 } else { 0 };
    match frame.get(skip..) {
        // The least significant bit of the first octet is 1: compressed, this octet is the whole protocol.
        Some([p, ..]) if p & 1 != 0 => Ok((u16::from(*p), skip + 1)),
        // RFC 1661, section 2: all protocols MUST be odd.
        Some([h, l, ..]) if l & 1 != 0 => Ok((u16::from_be_bytes([*h, *l]), skip + 2)),
        Some([_, _, ..]) => Err(Error::Malformed),
        _ => Err(Error::Truncated),
    }
}

/// Length of the header [`emit`] writes.
#[inline]
pub const fn emit_len(protocol: u16, pfc: bool, acfc: bool) -> usize {
    let field = if pfc && protocol < 0x100 { 1 } else { 2 };
    if acfc { field } else { field + 2 }
}

/// Writes address, control and protocol, compressed as the peer accepts it. Says whether it fitted.
#[inline]
pub fn emit(out: &mut [u8], protocol: u16, pfc: bool, acfc: bool) -> bool {
    let Some(mut out) = out.get_mut(..emit_len(protocol, pfc, acfc)) else { return false };
    if !acfc {
        let (head, rest) = out.split_at_mut(2);
        head.copy_from_slice(&[0xff, 0x03]);
        out = rest;
    }
    let [high, low] = protocol.to_be_bytes();
    if let [one] = out {
        *one = low;
    } else {
        out.copy_from_slice(&[high, low]);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn all_forms() {
        assert_eq!(protocol(&[0xff, 3, 0, 0x21, 0x45]), Ok((IPV4, 4)));
        assert_eq!(protocol(&[0, 0x57, 0x60]), Ok((IPV6, 2)));
        assert_eq!(protocol(&[0x21, 0x45]), Ok((IPV4, 1)));
        assert_eq!(protocol(&[0xff, 3, 0x57, 0x60]), Ok((IPV6, 3)));
        assert_eq!(protocol(&[0xff, 3, 0xc0, 0x21, 1]), Ok((0xc021, 4)));
        assert_eq!(protocol(&[0xc0]), Err(Error::Truncated));
        assert_eq!(protocol(&[]), Err(Error::Truncated));
        assert_eq!(protocol(&[0xff, 3]), Err(Error::Truncated));
        assert_eq!(protocol(&[0xc0, 0x20]), Err(Error::Malformed));
    }

    proptest! {
        #[test]
        fn plain_as_any(ahead in any::<bool>(), rest in proptest::collection::vec(any::<u8>(), 0..5)) {
            let frame = if ahead { [&[0xff, 0x03], &rest[..]].concat() } else { rest };
            prop_assert_eq!(protocol(&frame), compressed(&frame));
        }

        #[test]
        fn round_trip(pfc: bool, acfc: bool, p in prop_oneof![Just(IPV4), Just(IPV6), Just(0xc021u16), Just(0x8057u16)]) {
            let mut out = [0xa5; 4];
            prop_assert!(emit(&mut out, p, pfc, acfc));
            prop_assert_eq!(protocol(&out), Ok((p, emit_len(p, pfc, acfc))));
        }
    }
}

//! The MSS option of TCP SYNs (RFC 9293, section 3.7.1), clamped to what a softwire carries.

use crate::{be16, checksum};

/// Length of the header without options.
pub const HEADER: usize = 20;
const SYN: u8 = 0x02;
const END: u8 = 0;
const NOP: u8 = 1;
const MSS: u8 = 2;

/// Lowers the MSS option of a SYN to `limit` and updates the checksum (RFC 1624); other segments, and SYNs with a
/// smaller MSS or without one, are left alone. Says whether something changed.
#[inline]
pub fn clamp_mss(segment: &mut [u8], limit: u16) -> bool {
    if segment.len() < HEADER || segment[13] & SYN == 0 {
        return false;
    }
    let end = (usize::from(segment[12] >> 4) * 4).min(segment.len());
    let mut at = HEADER;
    while at < end {
        match segment[at] {
            END => return false,
            NOP => at += 1,
            kind => {
                let Some(&len) = segment.get(at + 1) else { return false };
                let len = usize::from(len);
                if len < 2 || at + len > end {
                    return false;
                }
                if kind == MSS && len == 4 {
                    return lower(segment, at + 2, limit);
                }
                at += len;
            }
        }
    }
    false
}

fn lower(segment: &mut [u8], at: usize, limit: u16) -> bool {
    let old = be16(segment, at);
    if old <= limit {
        return false;
    }
    let mut sum = be16(segment, 16);
    if at.is_multiple_of(2) {
        sum = checksum::update(sum, old, limit);
    } else {
        // The value straddles two words: swap octets, as the checksum sees them.
        sum = checksum::update(sum, old.swap_bytes(), limit.swap_bytes());
    }
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    segment[at..at + 2].copy_from_slice(&limit.to_be_bytes());
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ip;
    use proptest::prelude::*;
    use std::net::IpAddr;

    fn syn(flags: u8, options: &[u8]) -> Vec<u8> {
        let mut s = vec![0x12, 0x34, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0, flags, 0xff, 0xff, 0, 0, 0, 0];
        s.extend_from_slice(options);
        s.resize(s.len().next_multiple_of(4), 0);
        s[12] = ((s.len() / 4) << 4) as u8;
        let (a, b) = addresses();
        let sum = checksum::transport(a, b, ip::TCP, &s);
        s[16..18].copy_from_slice(&sum.to_be_bytes());
        s
    }

    fn addresses() -> (IpAddr, IpAddr) {
        ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap())
    }

    #[test]
    fn clamps_syn_only_and_only_down() {
        let (a, b) = addresses();
        for options in [&[2, 4, 0x05, 0xb4][..], &[1, 2, 4, 0x05, 0xb4], &[4, 2, 3, 3, 7, 2, 4, 0x05, 0xb4]] {
            let mut s = syn(SYN, options);
            assert!(clamp_mss(&mut s, 1338));
            assert_eq!(checksum::transport(a, b, ip::TCP, &s), 0);
            assert!(s.windows(4).any(|w| w == [2, 4, 0x05, 0x3a]));
            assert!(!clamp_mss(&mut s, 1338));
        }
        assert!(!clamp_mss(&mut syn(0x10, &[2, 4, 0x05, 0xb4]), 1338));
        assert!(!clamp_mss(&mut syn(SYN, &[0, 2, 4, 0x05, 0xb4]), 1338));
        assert!(!clamp_mss(&mut syn(SYN, &[2, 0, 0, 0]), 1338));
    }

    proptest! {
        #[test]
        fn garbage(mut data in proptest::collection::vec(any::<u8>(), 0..80), limit: u16) {
            clamp_mss(&mut data, limit);
        }
    }
}

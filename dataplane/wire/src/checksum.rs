//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//!
//! Sums are kept unfolded in 64 bits; [`Sum::finish`] folds and complements.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A running one's-complement sum: of words as they lie in memory, so that octets are swapped once in the end (RFC 1071,
/// section 2 (B)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(u64);

impl Sum {
    /// Adds octets; an odd last octet counts as the upper half of a word, so only the last part may be odd.
    #[inline]
    pub fn octets(mut self, data: &[u8]) -> Self {
        let (blocks, rest) = data.as_chunks();
        if !blocks.is_empty() {
            self.0 += sum_blocks(blocks);
        }
        let (words, rest) = rest.as_chunks();
        for word in words {
            self.0 += u64::from(u32::from_ne_bytes(*word));
        }
        self.0 += u64::from(match *rest {
            [a, b, c] => u32::from_ne_bytes([a, b, c, 0]),
            [a, b] => u32::from_ne_bytes([a, b, 0, 0]),
            [a] => u32::from_ne_bytes([a, 0, 0, 0]),
            _ => 0,
        });
        self
    }

    /// Adds octets (an even number) that were written just now, word by word: a wider load would have to wait until they are in
    /// the cache.
    #[inline]
    pub fn fresh(self, data: &[u8]) -> Self {
        debug_assert!(data.len().is_multiple_of(2));
        let (words, _) = data.as_chunks();
        words.iter().fold(self, |sum, word| Self(sum.0 + u64::from(u16::from_ne_bytes(*word))))
    }

    /// Adds one word.
    #[inline]
    pub fn word(mut self, word: u16) -> Self {
        self.0 += u64::from(word.to_be());
        self
    }

    /// Adds the pseudo-header of IPv4 (RFC 768) or IPv6 (RFC 8200, section 8.1).
    #[inline]
    pub fn pseudo(self, src: IpAddr, dst: IpAddr, protocol: u8, len: u32) -> Self {
        let s = match (src, dst) {
            (IpAddr::V4(s), IpAddr::V4(d)) => self.octets(&s.octets()).octets(&d.octets()),
            (IpAddr::V6(s), IpAddr::V6(d)) => self.octets(&s.octets()).octets(&d.octets()),
            _ => self,
        };
        s.word((len >> 16) as u16).word(len as u16).word(u16::from(protocol))
    }

    /// The folded sum, not complemented.
    #[inline]
    pub fn fold(self) -> u16 {
        let mut s = self.0;
        s = (s & 0xffff_ffff) + (s >> 32);
        s = (s & 0xffff) + ((s >> 16) & 0xffff) + (s >> 32);
        s = (s & 0xffff) + (s >> 16);
        s = (s & 0xffff) + (s >> 16);
        u16::from_be(s as u16)
    }

    /// The checksum.
    #[inline]
    pub fn finish(self) -> u16 {
        !self.fold()
    }
}

/// Eight sums side by side, which the compiler keeps in vector registers.
fn sum_blocks(blocks: &[[u8; 32]]) -> u64 {
    let mut sums = [0_u64; 8];
    for block in blocks {
        let (words, _) = block.as_chunks();
        for (sum, word) in sums.iter_mut().zip(words) {
            *sum += u64::from(u32::from_ne_bytes(*word));
        }
    }
    sums.iter().sum()
}

/// The checksum of `data`; 0 when `data` holds a correct checksum of itself.
#[inline]
pub fn of(data: &[u8]) -> u16 {
    Sum::default().octets(data).finish()
}

/// The checksum of an upper-layer packet with its pseudo-header; 0 when it holds a correct one.
#[inline]
pub fn transport(src: IpAddr, dst: IpAddr, protocol: u8, data: &[u8]) -> u16 {
    Sum::default().pseudo(src, dst, protocol, data.len() as u32).octets(data).finish()
}

/// As [`transport`], for IPv4.
#[inline]
pub fn transport4(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, data: &[u8]) -> u16 {
    transport(src.into(), dst.into(), protocol, data)
}

/// As [`transport`], for IPv6.
#[inline]
pub fn transport6(src: Ipv6Addr, dst: Ipv6Addr, protocol: u8, data: &[u8]) -> u16 {
    transport(src.into(), dst.into(), protocol, data)
}

/// The checksum after one word changed from `old` to `new` (RFC 1624, equation 3).
#[inline]
pub fn update(checksum: u16, old: u16, new: u16) -> u16 {
    Sum::default().word(!checksum).word(!old).word(new).finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rfc1071_example() {
        // RFC 1071, section 3: 0001 f203 f4f5 f6f7 sum to ddf2.
        assert_eq!(Sum::default().octets(&[0, 1, 0xf2, 3, 0xf4, 0xf5, 0xf6, 0xf7]).fold(), 0xddf2);
    }

    #[test]
    fn rfc1624_corner() {
        // RFC 1624, section 4: equation 2 would give 0x0000 - 0x0 wrongly here.
        assert_eq!(update(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    proptest! {
        #[test]
        fn incremental_equals_full(mut data in proptest::collection::vec(any::<u8>(), 4..64), new: u16) {
            data.truncate(data.len() & !1);
            data[0] = 1; // an all-zero packet has two representations of its sum
            let before = of(&data);
            let old = u16::from_be_bytes([data[2], data[3]]);
            data[2..4].copy_from_slice(&new.to_be_bytes());
            prop_assert_eq!(update(before, old, new), of(&data));
        }

        #[test]
        fn equals_the_sum_word_by_word(data in proptest::collection::vec(any::<u8>(), 0..1600)) {
            let words = data.chunks(2).map(|w| u32::from(w[0]) << 8 | w.get(1).map_or(0, |b| u32::from(*b)));
            let carried = |sum: u32| (sum & 0xffff) + (sum >> 16);
            prop_assert_eq!(u32::from(Sum::default().octets(&data).fold()), words.fold(0, |sum, w| carried(sum + w)));
        }

        #[test]
        fn parts_equal_whole(data in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..100) {
            let at = (at * 2).min(data.len() & !1);
            let split = Sum::default().octets(&data[..at]).octets(&data[at..]);
            prop_assert_eq!(split.finish(), of(&data));
            let fresh = Sum::default().fresh(&data[..at]).octets(&data[at..]);
            prop_assert_eq!(fresh.finish(), of(&data));
        }
    }
}

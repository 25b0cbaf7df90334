//! GHASH (NIST SP 800-38D, section 6.4) of reversed blocks, group by group.

use super::{BLOCK, Group, Keys, POWERS};
use std::arch::x86_64::*;

vaes! {
/// Blocks with their last octet first.
pub(super) fn reversed(group: Group) -> Group {
    let order = _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    _mm512_shuffle_epi8(group, _mm512_broadcast_i32x4(order))
}
}

vaes! {
/// H^n in every lane.
pub(super) fn power(keys: &Keys, n: usize) -> Group {
    // SAFETY: an array of the register's size.
    _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(keys.powers[POWERS - n].as_ptr().cast()) })
}
}

vaes! {
/// For group `group` of those of which the first block is multiplied by the power `first`: the powers from there on. What follows the
/// first power is not zero: it is for lanes that are.
pub(super) fn powers(keys: &Keys, first: usize, group: usize) -> Group {
    let at = (POWERS - first.clamp(1, POWERS) + 4 * group.min(1)) * BLOCK;
    // SAFETY: behind the powers there are as many blocks in the keys as can be reached from the last of them.
    unsafe { _mm512_loadu_si512(std::ptr::from_ref(keys).cast::<u8>().add(at).cast()) }
}
}

/// A sum of products of blocks and powers of the hash key, each of 256 bits, lane by lane. Since a block has its lowest coefficient
/// in the highest bit of its first octet, the product of reversed blocks is one bit too low; that is why powers are kept times x.
pub(super) struct Sum {
    low: Group,
    middle: Group,
    high: Group,
}

impl Sum {
    vaes! {
    pub(super) fn new() -> Self {
        let zero = _mm512_setzero_si512();
        Self { low: zero, middle: zero, high: zero }
    }
    }

    vaes! {
    pub(super) fn add(&mut self, blocks: Group, power: Group) {
        let (one, other) = (_mm512_clmulepi64_epi128::<0x01>(blocks, power), _mm512_clmulepi64_epi128::<0x10>(blocks, power));
        self.low = _mm512_xor_si512(self.low, _mm512_clmulepi64_epi128::<0x00>(blocks, power));
        self.high = _mm512_xor_si512(self.high, _mm512_clmulepi64_epi128::<0x11>(blocks, power));
        self.middle = xor3(self.middle, one, other);
    }
    }

    vaes! {
    /// Modulo x^128 + x^7 + x^2 + x + 1, by two steps of 64 bits from the lower end, which in this order are the higher powers.
    pub(super) fn reduced(self) -> Group {
        let polynomial = _mm512_set1_epi64(0xc200_0000_0000_0000_u64.cast_signed());
        let folded = _mm512_clmulepi64_epi128::<0x00>(self.low, polynomial);
        let middle = xor3(self.middle, _mm512_shuffle_epi32::<SWAP>(self.low), folded);
        let folded = _mm512_clmulepi64_epi128::<0x00>(middle, polynomial);
        xor3(self.high, _mm512_shuffle_epi32::<SWAP>(middle), folded)
    }
    }

    vaes! {
    /// All lanes together, in the order of octets.
    pub(super) fn hash(self) -> __m128i {
        let lanes = self.reduced();
        let pair = _mm256_xor_si256(_mm512_castsi512_si256(lanes), _mm512_extracti64x4_epi64::<1>(lanes));
        let hash = _mm_xor_si128(_mm256_castsi256_si128(pair), _mm256_extracti128_si256::<1>(pair));
        _mm512_castsi512_si128(reversed(_mm512_castsi128_si512(hash)))
    }
    }
}

/// Exchanges the halves of a block.
const SWAP: i32 = 0x4e;

vaes! {
fn xor3(a: Group, b: Group, c: Group) -> Group {
    _mm512_ternarylogic_epi64::<0x96>(a, b, c)
}
}

vaes! {
/// The last block: how many bits AAD and text have (NIST SP 800-38D, section 6.4), reversed.
pub(super) fn lengths(aad_len: u8, len: usize) -> __m128i {
    _mm_set_epi64x(i64::from(aad_len) * 8, (len - BLOCK) as i64 * 8)
}
}

//! Counter blocks: nonce, and a number with its highest octet first (RFC 4106, section 4).
//!
//! A round mixes the octets of a column, and the counter blocks of a packet of 1,500 octets differ in their last octet only. So after
//! the first round they differ in one column, by what depends on key and number but not on the nonce:
//!
//! ```text
//!   round 1 of (nonce, number)  =  round 1 of (nonce, 0)  ^  what the number changes
//! ```
//!
//! The last is worked out once for the packets of a batch that have the same key ([`Numbers`]), and their first round is an
//! addition.

use super::{GROUP, Group, Keys, round_key};
use std::arch::x86_64::*;

/// Groups of a packet in order, after the first round.
pub(super) struct Counter<'a, const KNOWN: bool> {
    /// The next group before its first round. If `KNOWN`, what the first round makes of number 0, in every lane.
    group: Group,
    /// Number of the next group.
    number: u32,
    /// If `KNOWN`, what the numbers of the groups to come change.
    known: std::slice::Iter<'a, Group>,
}

/// The lowest octet of the four numbers of a group.
pub(super) const LOWEST: i32 = 1 << 24;

impl Counter<'_, false> {
    vaes! {
    /// The first group has the numbers from 1.
    pub(super) fn new(nonce: __m128i) -> Self {
        let numbers = _mm512_set_epi32(4 * LOWEST, 0, 0, 0, 3 * LOWEST, 0, 0, 0, 2 * LOWEST, 0, 0, 0, LOWEST, 0, 0, 0);
        Self { group: _mm512_or_si512(_mm512_broadcast_i32x4(nonce), numbers), number: 0, known: [].iter() }
    }
    }
}

impl<'a> Counter<'a, true> {
    vaes! {
    /// For a packet of so many octets, up to the end of its text. `None`: there are numbers for fewer.
    pub(super) fn known(keys: &Keys, nonce: __m128i, numbers: &'a Numbers, octets: usize) -> Option<Self> {
        let block = _mm512_xor_si512(_mm512_broadcast_i32x4(nonce), round_key(keys, 0));
        let group = _mm512_aesenc_epi128(block, round_key(keys, 1));
        (octets <= Numbers::OCTETS).then(|| Self { group, number: 0, known: numbers.0.iter() })
    }
    }
}

impl<const KNOWN: bool> Counter<'_, KNOWN> {
    vaes! {
    /// The next groups. What comes behind the end of a packet is no keystream.
    pub(super) fn start<const N: usize>(&mut self, keys: &Keys) -> [Group; N] {
        let mut groups = [self.group; N];
        if KNOWN {
            for (group, known) in groups.iter_mut().zip(&mut self.known) {
                *group = _mm512_xor_si512(*group, *known);
            }
            return groups;
        }
        if self.number % 64 < 63 - N as u32 {
            for group in &mut groups {
                *group = self.group;
                self.group = _mm512_add_epi32(self.group, _mm512_broadcast_i32x4(_mm_set_epi32(4 * LOWEST, 0, 0, 0)));
            }
            self.number += N as u32;
        } else {
            groups.iter_mut().for_each(|group| *group = self.next());
        }
        let (first, second) = (round_key(keys, 0), round_key(keys, 1));
        groups.map(|group| _mm512_aesenc_epi128(_mm512_xor_si512(group, first), second))
    }
    }

    vaes! {
    /// One group before its first round.
    fn next(&mut self) -> Group {
        let group = self.group;
        self.number += 1;
        // The last block of every 64th group is the one whose lowest octet begins again: a carry.
        if self.number.is_multiple_of(64) || self.number % 64 == 63 {
            let order = _mm512_broadcast_i32x4(_mm_set_epi8(12, 13, 14, 15, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0));
            let four = _mm512_broadcast_i32x4(_mm_set_epi32(4, 0, 0, 0));
            self.group = _mm512_shuffle_epi8(_mm512_add_epi32(_mm512_shuffle_epi8(self.group, order), four), order);
        } else {
            self.group = _mm512_add_epi32(self.group, _mm512_broadcast_i32x4(_mm_set_epi32(4 * LOWEST, 0, 0, 0)));
        }
        group
    }
    }
}

/// Groups of a packet of 1,500 octets.
const GROUPS: usize = 24;
// Their numbers are of one octet.
const _: () = assert!(4 * GROUPS < 256);

/// What the numbers of counter blocks change in the first round with a key, of which it tells one octet.
pub(crate) struct Numbers([Group; GROUPS]);

impl Numbers {
    /// Most octets of a packet, up to the end of its text.
    pub(crate) const OCTETS: usize = GROUPS * GROUP;

    pub(crate) fn new() -> Self {
        // SAFETY: all zero is a valid register.
        unsafe { std::mem::zeroed() }
    }

    vaes! {
    pub(super) fn fill(&mut self, keys: &Keys) {
        let (first, none) = (round_key(keys, 0), _mm512_setzero_si512());
        let zero = _mm512_aesenc_epi128(first, none);
        let mut counter = Counter::new(_mm_setzero_si128());
        for group in &mut self.0 {
            let block = _mm512_aesenc_epi128(_mm512_xor_si512(counter.next(), first), none);
            *group = _mm512_xor_si512(block, zero);
        }
    }
    }

    #[cfg(test)]
    pub(crate) fn is_erased(&self) -> bool {
        // SAFETY: registers are of octets.
        let octets = unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast::<u8>(), Self::OCTETS) };
        octets.iter().all(|octet| *octet == 0)
    }

    vaes! {
    pub(super) fn erase(&mut self) {
        for group in &mut self.0 {
            // SAFETY: a reference.
            unsafe { std::ptr::write_volatile(group, _mm512_setzero_si512()) };
        }
    }
    }
}

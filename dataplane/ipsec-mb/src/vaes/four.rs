//! Four short packets of as many blocks, each in a lane of its own:
//!
//! ```text
//!            lane 0     lane 1     lane 2     lane 3
//!   group 0  A, block 1 B, block 1 C, block 1 D, block 1
//!   group 1  A, block 2 B, block 2 C, block 2 D, block 2
//! ```
//!
//! [`super`] has a packet's own blocks side by side. So as no lane is empty here, there is less to encrypt and to multiply; packets of
//! one key share what is loaded of it; and at the end no lanes are to be added up. Long packets would lose by it, since it takes
//! an instruction more to get a block into its lane and one to get it out.

use super::counter::LOWEST;
use super::ghash::{Sum, lengths, power, reversed};
use super::{BLOCK, Group, Keys, POWERS, round_key};
use crate::Job;
use std::arch::x86_64::*;

/// Most blocks of text. From the eighth on, packets of one key would gain nothing, as measured.
pub(crate) const FEW: usize = 7;
/// With that of the number 1, which encrypts the ICV.
const MOST: usize = FEW + 1;

vaes! {
/// Works in place on jobs for AES-GCM with a text of `TEXT` blocks, of which the last may be short; `SAME`: of one key. Bit `n` tells
/// whether packet `n` is good.
///
/// # Safety
///
/// Each packet is of a header, an IV, such a text of whole words of 4 octets, and an ICV.
#[expect(clippy::needless_range_loop, reason = "the same blocks of several arrays")]
pub(super) unsafe fn four<const ROUNDS: usize, const SEAL: bool, const TEXT: usize, const SAME: bool>(
    keys: [&Keys; 4],
    jobs: &mut [Job<'_>; 4],
) -> u64 {
    // Of those to open a block is hashed after each round.
    const { assert!(TEXT <= FEW && TEXT < ROUNDS && TEXT + 2 <= POWERS) };
    let nonces = lanes(jobs.each_ref().map(|job| job.nonce));
    let aads = lanes(jobs.each_ref().map(|job| job.aad));
    let sizes = jobs.each_ref().map(|job| job.packet.len());
    let lengths = lanes(jobs.each_ref().map(|job| lengths(job.aad_len, job.packet.len() - BLOCK)));
    let packets = jobs.each_mut().map(|job| job.packet.as_mut_ptr());
    // Words of the last block.
    let last = |len: &usize| _bzhi_u32(0xf, (len - (TEXT + 1) * BLOCK) as u32 / 4);
    let words = sizes.iter().rev().fold(0, |words, len| words << 4 | last(len)) as __mmask16;
    // SAFETY: see above. Behind a block of text there is at least the ICV: what is loaded or stored lies in the packet.
    let load = |at: [usize; 4]| unsafe { lanes([0, 1, 2, 3].map(|i| _mm_loadu_si128(packets[i].add(at[i]).cast()))) };
    let icvs = if SEAL { _mm512_setzero_si512() } else { load(sizes.map(|len| len - BLOCK)) };

    let none = _mm512_setzero_si512();
    let (mut text, mut streams, mut sum) = ([none; MOST], [none; MOST], Sum::new());
    for n in 0..TEXT {
        text[n] = load([(n + 1) * BLOCK; 4]);
    }
    let nonces = _mm512_xor_si512(nonces, round_keys::<SAME>(&keys, 0));
    // The first stream is for the ICV.
    for n in 0..=TEXT {
        streams[n] = _mm512_xor_si512(nonces, _mm512_broadcast_i32x4(_mm_set_epi32(LOWEST * (n as i32 + 1), 0, 0, 0)));
    }
    sum.add(reversed(aads), powers::<SAME>(&keys, TEXT + 2));
    for round in 1..ROUNDS {
        let key = round_keys::<SAME>(&keys, round);
        for n in 0..=TEXT {
            streams[n] = _mm512_aesenc_epi128(streams[n], key);
        }
        if !SEAL && round <= TEXT {
            let mut block = text[round - 1];
            if round == TEXT {
                block = _mm512_maskz_mov_epi32(words, block);
            }
            sum.add(reversed(block), powers::<SAME>(&keys, TEXT + 2 - round));
        }
    }
    let key = round_keys::<SAME>(&keys, ROUNDS);
    for n in 0..=TEXT {
        streams[n] = _mm512_aesenclast_epi128(streams[n], key);
    }
    for n in 0..TEXT {
        let mut block = _mm512_xor_si512(text[n], streams[n + 1]);
        if n == TEXT - 1 {
            block = _mm512_maskz_mov_epi32(words, block);
        }
        // SAFETY: see above; what the last block has too much lies where the ICV is still to be written, or has been read.
        unsafe { store(packets, [(n + 1) * BLOCK; 4], block) };
        if SEAL {
            sum.add(reversed(block), powers::<SAME>(&keys, TEXT + 1 - n));
        }
    }
    sum.add(lengths, powers::<SAME>(&keys, 1));
    let hashes = _mm512_xor_si512(reversed(sum.reduced()), streams[0]);
    if SEAL {
        // SAFETY: an ICV is a block.
        unsafe { store(packets, sizes.map(|len| len - BLOCK), hashes) };
        return 0b1111;
    }
    let halves = _mm512_cmpeq_epi64_mask(hashes, icvs);
    u64::from(_pext_u32(u32::from(halves & halves >> 1), 0b0101_0101))
}
}

vaes! {
fn round_keys<const SAME: bool>(keys: &[&Keys; 4], round: usize) -> Group {
    if SAME {
        return round_key(keys[0], round);
    }
    // SAFETY: an array of the register's size.
    lanes(keys.map(|keys| unsafe { _mm_loadu_si128(keys.rounds[round].as_ptr().cast()) }))
}
}

vaes! {
fn powers<const SAME: bool>(keys: &[&Keys; 4], n: usize) -> Group {
    if SAME {
        return power(keys[0], n);
    }
    // SAFETY: an array of the register's size.
    lanes(keys.map(|keys| unsafe { _mm_loadu_si128(keys.powers[POWERS - n].as_ptr().cast()) }))
}
}

vaes! {
fn lanes(blocks: [__m128i; 4]) -> Group {
    let one = _mm512_inserti32x4::<1>(_mm512_castsi128_si512(blocks[0]), blocks[1]);
    _mm512_inserti32x4::<3>(_mm512_inserti32x4::<2>(one, blocks[2]), blocks[3])
}
}

vaes! {
/// # Safety
///
/// At these places of the packets there is room for a block.
unsafe fn store(packets: [*mut u8; 4], at: [usize; 4], blocks: Group) {
    // SAFETY: see above.
    unsafe {
        _mm_storeu_si128(packets[0].add(at[0]).cast(), _mm512_castsi512_si128(blocks));
        _mm_storeu_si128(packets[1].add(at[1]).cast(), _mm512_extracti32x4_epi32::<1>(blocks));
        _mm_storeu_si128(packets[2].add(at[2]).cast(), _mm512_extracti32x4_epi32::<2>(blocks));
        _mm_storeu_si128(packets[3].add(at[3]).cast(), _mm512_extracti32x4_epi32::<3>(blocks));
    }
}
}

//! AES-GCM for ESP (RFC 4106, NIST SP 800-38D) by the vector instructions VAES and VPCLMULQDQ on registers of 64 octets.
//!
//! The library's GCM takes any message, and hash keys of 768 octets. An ESP packet allows something smaller and faster:
//!
//! ```text
//!   packet   SPI, seq, IV │ text block 1 │ 2 │ 3 ║ 4 │ 5 │ 6 │ 7 ║ ... ║ last, may be short │ ICV
//!   counter        1      │       2      │ 3 │ 4 ║ 5 │ 6 │ 7 │ 8 ║
//!   hashed        AAD     │       1      │ 2 │ 3 ║ 4 │ 5 │ 6 │ 7 ║ ... ║ last, lengths
//! ```
//!
//! What precedes the text is one block, as the AAD is, and as the one that encrypts the ICV is: so a packet from its beginning falls
//! into *groups* of four blocks, each a register, whose counters and hash come in the same order as the octets.
//!
//! GHASH is summed lane by lane. While there is much to come, every lane of a sum is multiplied by the same power of the hash key H,
//! so that it belongs to the lane below it in the next group; the last twelve blocks are multiplied by H^12 ... H^1, each by its
//! own, and only then the lanes are added up. Long packets go by chunks of three groups: their encryption, and the hash of
//! the chunk before, which the processor can do at the same time. Where a batch of packets has one key, the first of the rounds is
//! worked out for all of them ([`counter`]). Of short packets four are worked on at a time, in another order ([`four`]), or two.
//!
//! All of it takes the same time whatever key and text are.

/// A function for processors with [`Vaes`].
macro_rules! vaes {
    ($($item:tt)*) => {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,bmi2")]
        #[inline]
        $($item)*
    };
}

mod counter;
mod four;
mod ghash;

pub(crate) use counter::Numbers;
pub(crate) use four::FEW;

use crate::key::Label;
use crate::{Direction, Job, Key};
use counter::Counter;
use ghash::{Sum, lengths, power, powers, reversed};
use std::arch::asm;
use std::arch::x86_64::*;
use zeroize::Zeroize;

/// Octets of a block, of the ICV, and of what stands before the text.
const BLOCK: usize = 16;
/// Octets of a group of four blocks.
const GROUP: usize = 64;
/// Groups of a chunk.
const CHUNK: usize = 3;
/// Powers of the hash key.
const POWERS: usize = 4 * CHUNK;
/// Round keys of AES-256.
const ROUND_KEYS: usize = 15;

/// What a key is expanded to. All zero is a valid, useless one. With AES-128 a packet of a hundred octets needs the lines 1 to 5.
#[repr(C, align(64))]
pub(crate) struct Keys {
    /// H^12 ... H^1, each times x modulo the polynomial, with the last octet of a block first ([`Sum`]).
    powers: [[u8; BLOCK]; POWERS],
    /// Whatever else is to be known of it. A group of powers that is loaded from any of them may reach into it and the round keys.
    pub(crate) label: Label,
    rounds: [[u8; BLOCK]; ROUND_KEYS],
}

const _: () = assert!(size_of::<Label>() == BLOCK && size_of::<Keys>() == 7 * 64);
// Two groups from the last power: see `powers`.
const _: () = assert!((POWERS - 1) * BLOCK + 2 * GROUP <= size_of::<Keys>());

impl Keys {
    pub(crate) const EMPTY: Self =
        Self { powers: [[0; BLOCK]; POWERS], label: Label::EMPTY, rounds: [[0; BLOCK]; ROUND_KEYS] };

    /// Erases it, but for the label.
    pub(crate) fn clear(&mut self) {
        self.powers.zeroize();
        self.rounds.zeroize();
    }
}

/// A processor that has the instructions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vaes(());

/// What is to be done with a packet, and what it needs.
pub(crate) struct Packet<'a> {
    keys: &'a Keys,
    /// From the SPI to the end of the text, which is of whole words of 4 octets. At least one block.
    octets: &'a mut [u8],
    icv: &'a mut [u8; BLOCK],
    /// Salt and IV; zero behind them.
    nonce: __m128i,
    /// Zero behind its `aad_len` octets.
    aad: __m128i,
    aad_len: u8,
}

impl<'a> Packet<'a> {
    /// `None`: the key is the library's, or there is no room for text and ICV.
    #[inline(always)]
    pub(crate) fn new(job: &'a mut Job<'_>, key: &'a Key) -> Option<Self> {
        let (octets, icv) = job.packet.split_last_chunk_mut().filter(|(octets, _)| octets.len() >= BLOCK)?;
        Some(Self { keys: key.own()?, octets, icv, nonce: job.nonce, aad: job.aad, aad_len: job.aad_len })
    }
}

/// Two such packets are worked on side by side.
#[inline(always)]
pub(crate) fn is_short(job: &Job<'_>) -> bool {
    job.packet.len() <= SHORT + BLOCK
}

/// Whether [`Numbers`] are of use for a packet.
#[inline(always)]
pub(crate) fn takes_numbers(job: &Job<'_>) -> bool {
    !is_short(job) && job.packet.len() <= Numbers::OCTETS + BLOCK
}

/// Blocks of text of a packet that fits AES-GCM.
#[inline(always)]
pub(crate) fn text_blocks(job: &Job<'_>) -> usize {
    job.packet.len().wrapping_sub(BLOCK + 1) / BLOCK
}

impl Vaes {
    pub(crate) fn detect() -> Option<Self> {
        let all = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("vaes")
            && is_x86_feature_detected!("vpclmulqdq")
            && is_x86_feature_detected!("bmi2");
        all.then_some(Self(()))
    }

    /// `cipher` is of 16 or 32 octets; otherwise `false`, and nothing happens.
    pub(crate) fn expand(self, keys: &mut Keys, cipher: &[u8]) -> bool {
        // SAFETY: `self` exists, so the processor has the instructions.
        unsafe {
            match cipher.len() {
                16 => expand::<10>(keys, cipher),
                32 => expand::<14>(keys, cipher),
                _ => return false,
            }
        }
        true
    }

    /// Works in place on one packet, or on several that are short; `numbers` are those of its key. `false`: opening, the ICV is not
    /// that of the packet, which is worth nothing now.
    #[inline(always)]
    pub(crate) fn run<const N: usize>(
        self,
        direction: Direction,
        aes256: bool,
        packets: [Packet<'_>; N],
        numbers: Option<&Numbers>,
    ) -> [bool; N] {
        // SAFETY: `self` exists, so the processor has the instructions.
        unsafe {
            match (direction, aes256) {
                (Direction::Seal, false) => seal_or_open::<10, true, N>(packets, numbers),
                (Direction::Seal, true) => seal_or_open::<14, true, N>(packets, numbers),
                (Direction::Open, false) => seal_or_open::<10, false, N>(packets, numbers),
                (Direction::Open, true) => seal_or_open::<14, false, N>(packets, numbers),
            }
        }
    }

    /// Works in place on four packets. Gives a bit for each that is good; `None`: they are too short or too long, and nothing happens.
    ///
    /// # Safety
    ///
    /// The packets fit AES-GCM, and have [`text_blocks`] as many.
    #[inline(always)]
    pub(crate) unsafe fn four(
        self,
        direction: Direction,
        aes256: bool,
        keys: [&Keys; 4],
        jobs: &mut [Job<'_>; 4],
    ) -> Option<u64> {
        let same = keys.iter().all(|other| std::ptr::eq(*other, keys[0]));
        macro_rules! by_key {
            ($rounds:expr, $seal:expr) => {
                if same { by_blocks!($rounds, $seal, true) } else { by_blocks!($rounds, $seal, false) }
            };
        }
        macro_rules! by_blocks {
            ($rounds:expr, $seal:expr, $same:expr) => {
                match text_blocks(&jobs[0]) {
                    2 => four::four::<$rounds, $seal, 2, $same>(keys, jobs),
                    3 => four::four::<$rounds, $seal, 3, $same>(keys, jobs),
                    4 => four::four::<$rounds, $seal, 4, $same>(keys, jobs),
                    5 => four::four::<$rounds, $seal, 5, $same>(keys, jobs),
                    6 => four::four::<$rounds, $seal, 6, $same>(keys, jobs),
                    7 => four::four::<$rounds, $seal, 7, $same>(keys, jobs),
                    _ => return None,
                }
            };
        }
        // SAFETY: `self` exists, so the processor has the instructions; the packets are as they have to be.
        Some(unsafe {
            match (direction, aes256) {
                (Direction::Seal, false) => by_key!(10, true),
                (Direction::Seal, true) => by_key!(14, true),
                (Direction::Open, false) => by_key!(10, false),
                (Direction::Open, true) => by_key!(14, false),
            }
        })
    }

    /// For packets of this key that are not short. Takes as long as three of them save.
    pub(crate) fn fill(self, numbers: &mut Numbers, keys: &Keys) {
        // SAFETY: `self` exists, so the processor has the instructions.
        unsafe { numbers.fill(keys) }
    }

    pub(crate) fn erase(self, numbers: &mut Numbers) {
        // SAFETY: as above.
        unsafe { numbers.erase() }
    }
}

type Group = __m512i;

vaes! {
fn seal_or_open<const ROUNDS: usize, const SEAL: bool, const N: usize>(
    mut packets: [Packet<'_>; N],
    numbers: Option<&Numbers>,
) -> [bool; N] {
    let icvs = match &mut packets[..] {
        [packet] if packet.octets.len() > SHORT => {
            // As arguments, octets and keys are known to be different memory: so round keys stay in registers.
            let Packet { keys, octets, nonce, aad, aad_len, .. } = packet;
            let known = numbers.and_then(|numbers| Counter::known(keys, *nonce, numbers, octets.len()));
            let icv = match known {
                Some(counter) => long::<ROUNDS, SEAL, true>(keys, octets, counter, *aad, *aad_len),
                None => long::<ROUNDS, SEAL, false>(keys, octets, Counter::new(*nonce), *aad, *aad_len),
            };
            [icv; N]
        }
        _ => short::<ROUNDS, SEAL, N>(&mut packets),
    };
    let mut good = [true; N];
    for ((good, packet), icv) in good.iter_mut().zip(&mut packets).zip(icvs) {
        if SEAL {
            // SAFETY: an array of the register's size.
            unsafe { _mm_storeu_si128(packet.icv.as_mut_ptr().cast(), icv) };
        } else {
            // SAFETY: as above.
            let differ = _mm_xor_si128(icv, unsafe { _mm_loadu_si128(packet.icv.as_ptr().cast()) });
            *good = _mm_testz_si128(differ, differ) == 1;
        }
    }
    good
}
}

/// Octets of two groups, of which the last block is for the lengths.
const SHORT: usize = 2 * GROUP - BLOCK;

vaes! {
/// Short packets. Their instructions alternate, since one after the other mostly waits. Gives their ICVs.
fn short<const ROUNDS: usize, const SEAL: bool, const N: usize>(packets: &mut [Packet<'_>; N]) -> [__m128i; N] {
    let mut streams = [[_mm512_setzero_si512(); 2]; N];
    let mut hashes = [_mm_setzero_si128(); N];
    for ((streams, packet), hash) in streams.iter_mut().zip(packets.iter()).zip(&mut hashes) {
        *streams = Counter::new(packet.nonce).start(packet.keys);
        if !SEAL {
            let (head, rest) = packet.octets.split_at(packet.octets.len().min(GROUP));
            *hash = short_hash(packet, [load(head), load(rest)]);
        }
    }
    for round in 2..ROUNDS {
        for (streams, packet) in streams.iter_mut().zip(packets.iter()) {
            let key = round_key(packet.keys, round);
            *streams = [_mm512_aesenc_epi128(streams[0], key), _mm512_aesenc_epi128(streams[1], key)];
        }
    }
    for ((packet, streams), hash) in packets.iter_mut().zip(streams).zip(&mut hashes) {
        let key = round_key(packet.keys, ROUNDS);
        let (one, two) = (_mm512_aesenclast_epi128(streams[0], key), _mm512_aesenclast_epi128(streams[1], key));
        let (head, rest) = packet.octets.split_at_mut(packet.octets.len().min(GROUP));
        let after = [apply(head, without_first_block(one)), apply(rest, two)];
        if SEAL {
            *hash = short_hash(packet, after);
        }
        *hash = _mm_xor_si128(*hash, _mm512_castsi512_si128(one));
    }
    hashes
}
}

vaes! {
/// GHASH of a short packet of this ciphertext.
fn short_hash(packet: &Packet<'_>, [head, rest]: [Group; 2]) -> __m128i {
    let mut groups = [reversed(with_first_block(head, packet.aad)), reversed(rest)];
    // The lengths go into the lane after the last block.
    let len = packet.octets.len().min(SHORT);
    let (blocks, lengths) = (len.div_ceil(BLOCK), _mm512_broadcast_i32x4(lengths(packet.aad_len, len)));
    let lanes = 0b1111 << (4 * blocks);
    groups[0] = _mm512_mask_mov_epi32(groups[0], lanes as __mmask16, lengths);
    groups[1] = _mm512_mask_mov_epi32(groups[1], (lanes >> 16) as __mmask16, lengths);
    let mut sum = Sum::new();
    sum.add(groups[0], powers(packet.keys, blocks + 1, 0));
    sum.add(groups[1], powers(packet.keys, blocks + 1, 1));
    sum.hash()
}
}

vaes! {
/// A packet that is not short. Gives its ICV.
fn long<const ROUNDS: usize, const SEAL: bool, const KNOWN: bool>(
    keys: &Keys,
    octets: &mut [u8],
    mut counter: Counter<'_, KNOWN>,
    aad: __m128i,
    aad_len: u8,
) -> __m128i {
    let len = octets.len();
    let (head, rest) = octets.split_at_mut(len.min(GROUP));
    let [mask] = encrypt::<ROUNDS, 1>(keys, counter.start(keys));
    // The group that is still to be hashed, which has in it the sum of those before. It and what follows are so many blocks, with that
    // of the lengths.
    let (before, after) = (load(head), apply(head, without_first_block(mask)));
    let mut last = reversed(with_first_block(if SEAL { after } else { before }, aad));
    let mut blocks = len.div_ceil(BLOCK) + 1 - rest.len() / (CHUNK * GROUP) * (4 * CHUNK);

    let mut chunks = rest.chunks_exact_mut(CHUNK * GROUP);
    if let Some(chunk) = chunks.next() {
        let same = [power(keys, 12), power(keys, 8), power(keys, 4)];
        let streams = encrypt::<ROUNDS, CHUNK>(keys, counter.start(keys));
        let mut waiting = apply_chunk::<SEAL>(chunk, streams, &mut last);
        for chunk in chunks.by_ref() {
            let (streams, sum) = encrypt_beside::<ROUNDS>(keys, counter.start(keys), waiting, same);
            last = _mm512_xor_si512(last, sum.reduced());
            waiting = apply_chunk::<SEAL>(chunk, streams, &mut last);
        }
        let mut sum = Sum::new();
        waiting.iter().zip(&same).for_each(|(group, power)| sum.add(*group, *power));
        last = _mm512_xor_si512(last, sum.reduced());
    }

    let mut sum = Sum::new();
    for pair in chunks.into_remainder().chunks_mut(2 * GROUP) {
        let streams = encrypt::<ROUNDS, 2>(keys, counter.start(keys));
        for (group, stream) in pair.chunks_mut(GROUP).zip(streams) {
            let (before, after) = (load(group), apply(group, stream));
            let next = reversed(if SEAL { after } else { before });
            if blocks > POWERS {
                let mut product = Sum::new();
                product.add(last, power(keys, 4));
                last = _mm512_xor_si512(next, product.reduced());
            } else {
                sum.add(last, powers(keys, blocks, 0));
                last = next;
            }
            blocks -= 4;
        }
    }
    let lengths = lengths(aad_len, len);
    if blocks <= 4 {
        last = _mm512_mask_broadcast_i32x4(last, (0b1111 << (4 * (blocks - 1))) as __mmask16, lengths);
    } else {
        sum.add(_mm512_zextsi128_si512(lengths), powers(keys, 1, 0));
    }
    sum.add(last, powers(keys, blocks, 0));
    _mm_xor_si128(sum.hash(), _mm512_castsi512_si128(mask))
}
}

vaes! {
/// A round key in every lane.
fn round_key(keys: &Keys, round: usize) -> Group {
    // SAFETY: an array of the register's size.
    _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(keys.rounds[round].as_ptr().cast()) })
}
}

vaes! {
/// The rounds after the first.
fn encrypt<const ROUNDS: usize, const N: usize>(keys: &Keys, mut groups: [Group; N]) -> [Group; N] {
    for round in 2..ROUNDS {
        let key = round_key(keys, round);
        groups.iter_mut().for_each(|g| *g = _mm512_aesenc_epi128(*g, key));
    }
    let key = round_key(keys, ROUNDS);
    groups.iter_mut().for_each(|g| *g = _mm512_aesenclast_epi128(*g, key));
    groups
}
}

vaes! {
/// The same for a chunk, and the sum of the products of another, between the rounds.
fn encrypt_beside<const ROUNDS: usize>(
    keys: &Keys,
    mut groups: [Group; CHUNK],
    waiting: [Group; CHUNK],
    powers: [Group; CHUNK],
) -> ([Group; CHUNK], Sum) {
    let mut sum = Sum::new();
    for round in 2..ROUNDS {
        let key = round_key(keys, round);
        groups.iter_mut().for_each(|g| *g = _mm512_aesenc_epi128(*g, key));
        if round % 2 == 0 && round / 2 <= CHUNK {
            let ([a, b, c], mut blocks) = (&mut groups, waiting[round / 2 - 1]);
            // SAFETY: does nothing. Without it the compiler puts the products behind the rounds.
            unsafe {
                asm!("/* {} {} {} {} */", inout(zmm_reg) *a, inout(zmm_reg) *b, inout(zmm_reg) *c, inout(zmm_reg) blocks,
                    options(nomem, nostack, preserves_flags));
            }
            sum.add(blocks, powers[round / 2 - 1]);
        }
    }
    let key = round_key(keys, ROUNDS);
    groups.iter_mut().for_each(|g| *g = _mm512_aesenclast_epi128(*g, key));
    (groups, sum)
}
}

vaes! {
fn without_first_block(group: Group) -> Group {
    _mm512_mask_mov_epi64(group, 0b11, _mm512_setzero_si512())
}
}

vaes! {
fn with_first_block(group: Group, block: __m128i) -> Group {
    _mm512_mask_mov_epi64(group, 0b11, _mm512_castsi128_si512(block))
}
}

vaes! {
/// Those words of a group that up to 64 octets have.
fn words(text: &[u8]) -> __mmask16 {
    _bzhi_u32(0xffff, text.len() as u32 / 4) as __mmask16
}
}

vaes! {
/// Up to a group of whole words, and zero behind it.
fn load(text: &[u8]) -> Group {
    // SAFETY: the words that are loaded lie in the text.
    unsafe { _mm512_maskz_loadu_epi32(words(text), text.as_ptr().cast()) }
}
}

vaes! {
/// Adds the keystream to up to a group of text. Gives what is there afterwards, and zero behind it.
fn apply(text: &mut [u8], stream: Group) -> Group {
    let after = _mm512_maskz_xor_epi32(words(text), load(text), stream);
    // SAFETY: the words that are stored lie in the text.
    unsafe { _mm512_mask_storeu_epi32(text.as_mut_ptr().cast(), words(text), after) };
    after
}
}

vaes! {
/// The same for a chunk, of whose last group the hash is to wait, while `last` is to be hashed with the others now.
fn apply_chunk<const SEAL: bool>(text: &mut [u8], streams: [Group; CHUNK], last: &mut Group) -> [Group; CHUNK] {
    let mut hashed = [*last; CHUNK];
    for ((text, stream), hashed) in text.as_chunks_mut::<GROUP>().0.iter_mut().zip(streams).zip(&mut hashed) {
        let at = text.as_mut_ptr();
        // SAFETY: an array of the register's size.
        let before = unsafe { _mm512_loadu_si512(at.cast()) };
        let after = _mm512_xor_si512(before, stream);
        // SAFETY: as above.
        unsafe { _mm512_storeu_si512(at.cast(), after) };
        *hashed = *last;
        *last = reversed(if SEAL { after } else { before });
    }
    hashed
}
}

vaes! {
/// FIPS 197, section 5.2, and the powers of the hash key, which is a block of zeros encrypted.
fn expand<const ROUNDS: usize>(keys: &mut Keys, cipher: &[u8]) {
    let (words, own) = (4 * (ROUNDS + 1), cipher.len() / 4);
    let mut schedule = [0u32; 4 * ROUND_KEYS];
    for (word, octets) in schedule.iter_mut().zip(cipher.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*octets);
    }
    let mut constant = 1u32;
    for i in own..words {
        let mut word = schedule[i - 1];
        if i % own == 0 {
            word = substituted(word).rotate_right(8) ^ constant;
            constant = constant << 1 ^ if constant & 0x80 != 0 { 0x11b } else { 0 };
        } else if own > 6 && i % own == 4 {
            word = substituted(word);
        }
        schedule[i] = schedule[i - own] ^ word;
    }
    for (octets, word) in keys.rounds.as_flattened_mut().as_chunks_mut::<4>().0.iter_mut().zip(&schedule) {
        *octets = word.to_le_bytes();
    }
    schedule.zeroize();

    let [hash_key] = encrypt::<ROUNDS, 1>(keys, [_mm512_aesenc_epi128(round_key(keys, 0), round_key(keys, 1))]);
    let mut octets = [0; BLOCK];
    let store = |octets: &mut [u8; BLOCK], group: Group| {
        // SAFETY: of the register's size.
        unsafe { _mm_storeu_si128(octets.as_mut_ptr().cast(), _mm512_castsi512_si128(group)) };
    };
    store(&mut octets, hash_key);
    // Times x: what leaves at the upper end comes back as the polynomial.
    let mut hash_key = u128::from_be_bytes(octets);
    let carry = 0u128.wrapping_sub(hash_key >> 127) & 0xc200_0000_0000_0000_0000_0000_0000_0001;
    octets = (hash_key << 1 ^ carry).to_le_bytes();
    hash_key.zeroize();
    // SAFETY: an array of the register's size.
    let first = _mm512_zextsi128_si512(unsafe { _mm_loadu_si128(octets.as_ptr().cast()) });
    octets.zeroize();
    let mut power = first;
    for octets in keys.powers.iter_mut().rev() {
        store(octets, power);
        let mut next = Sum::new();
        next.add(power, first);
        power = next.reduced();
    }
}
}

vaes! {
/// The S-box for each octet of a word: a last round of four equal columns, which moving octets between columns leaves as they are.
fn substituted(word: u32) -> u32 {
    _mm_cvtsi128_si32(_mm_aesenclast_si128(_mm_set1_epi32(word.cast_signed()), _mm_setzero_si128())).cast_unsigned()
}
}

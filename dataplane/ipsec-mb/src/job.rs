//! Jobs, and what the library points to while it works on several at once.

use crate::Algorithm;
use crate::key::LibraryKey;
use ipsec_mb_sys::*;
use std::arch::x86_64::*;

/// Longest packet.
const MAX_PACKET: usize = u16::MAX as usize;

/// What to do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Encrypt and write the ICV.
    Seal,
    /// Check the ICV and decrypt.
    Open,
}

/// One ESP packet to be worked on in place, and what the cipher reads beside it: a cache line.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Job<'a> {
    /// Salt and IV of an AEAD (RFC 4106, section 4; RFC 7634, section 2); zero behind them.
    pub(crate) nonce: __m128i,
    /// SPI and sequence number, 64 bits of it when extended (RFC 4106, section 5); zero behind them.
    pub(crate) aad: __m128i,
    pub(crate) packet: &'a mut [u8],
    pub(crate) algorithm: Algorithm,
    pub(crate) direction: Direction,
    pub(crate) aad_len: u8,
}

const _: () = assert!(size_of::<Job<'_>>() == 64);

/// Octets of [`Job`]'s AAD.
const AAD: u8 = 8;
const EXTENDED_AAD: u8 = 12;

impl<'a> Job<'a> {
    /// - `packet` is from the SPI to the end of the ICV. To seal, everything but the ICV is filled in. With an AEAD the IV must
    ///   never repeat under the key. With CBC the IV field holds a block that never repeats under the key; the cipher
    ///   itself turns it into an unpredictable IV (NIST SP 800-38A, appendix C, first method).
    /// - `salt` is that of an AEAD, unused otherwise.
    /// - `seq_high` is the high half of the sequence number, when extended ones are used: authenticated, not transmitted.
    ///
    /// Nonce and AAD are made as vectors, since the library loads each as one: of two stores of eight octets its load would
    /// wait until both have left the store buffer, which takes half as long as a short packet.
    #[inline(always)]
    pub fn new(
        algorithm: Algorithm,
        direction: Direction,
        packet: &'a mut [u8],
        salt: [u8; 4],
        seq_high: Option<u32>,
    ) -> Self {
        // What is shorter does not fit, and nothing is done with it. The halves as they were stored: see above.
        let (numbers, rest) = packet.split_first_chunk().unwrap_or((&[0; 8], &[]));
        let (numbers, iv) = (i64::from_le_bytes(*numbers), rest.first_chunk().map_or(0, |iv| i64::from_le_bytes(*iv)));
        let (nonce, aad, aad_len);
        // SAFETY: SSE2 is part of x86-64.
        unsafe {
            // SPI, sequence number, and two words of IV.
            let head = _mm_set_epi64x(iv, numbers);
            let salt = _mm_cvtsi32_si128(i32::from_le_bytes(salt));
            let iv = _mm_srli_si128::<4>(head);
            nonce = _mm_castps_si128(_mm_move_ss(_mm_castsi128_ps(iv), _mm_castsi128_ps(salt)));
            (aad, aad_len) = match seq_high {
                // SPI, high, low.
                Some(high) => (_mm_unpacklo_epi32(head, _mm_cvtsi32_si128(high.swap_bytes() as i32)), EXTENDED_AAD),
                None => (_mm_move_epi64(head), AAD),
            };
        }
        Self { nonce, aad, packet, algorithm, direction, aad_len }
    }

    /// Whether the packet has a length that ESP with this algorithm has.
    #[inline(always)]
    pub fn fits(&self) -> bool {
        self.fits_as(self.algorithm)
    }

    /// The same for an algorithm of the same sizes as the job's own.
    #[inline(always)]
    pub(crate) fn fits_as(&self, algorithm: Algorithm) -> bool {
        let around = 8 + algorithm.iv_len() + algorithm.icv_len();
        // RFC 4303, section 2.4: padding brings the pad length and next header octets to a boundary, so there is text.
        let text = self.packet.len().wrapping_sub(around);
        // Block lengths are powers of two.
        text.wrapping_sub(1) < MAX_PACKET - around && text & (algorithm.block_len() - 1) == 0
    }

    /// High half of the sequence number as it is authenticated, if it is.
    fn seq_high(&self) -> Option<[u8; 4]> {
        // SAFETY: SSE2 is part of x86-64.
        let words = unsafe { _mm_cvtsi128_si64(self.aad) };
        let [.., a, b, c, d] = words.to_le_bytes();
        (self.aad_len == EXTENDED_AAD).then_some([a, b, c, d])
    }
}

/// Which packets came out well, by the order of their jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome(pub(crate) u64);

impl Outcome {
    /// Whether packet number `i` is good.
    #[inline]
    pub fn good(self, i: usize) -> bool {
        i < u64::BITS as usize && self.0 >> i & 1 == 1
    }

    /// Whether the first `n` are good.
    #[inline]
    pub fn all_good(self, n: usize) -> bool {
        self.0.trailing_ones() as usize >= n
    }
}

/// A job with what the library reads and writes beside the packet.
pub(crate) struct Pending<'j, 'a> {
    job: &'j mut Job<'a>,
    key: &'j LibraryKey,
    zeros: [u8; 16],
    tag: [u8; 32],
    received: [u8; 16],
    schedules: [*const u8; 3],
}

impl<'j, 'a> Pending<'j, 'a> {
    /// The key is expanded for the job's algorithm.
    pub(crate) fn new(job: &'j mut Job<'a>, key: &'j LibraryKey) -> Self {
        Self { job, key, zeros: [0; 16], tag: [0; 32], received: [0; 16], schedules: [std::ptr::null(); 3] }
    }

    fn seals(&self) -> bool {
        self.job.direction == Direction::Seal
    }

    /// End of the text, start of the ICV.
    fn end(&self) -> usize {
        self.job.packet.len() - self.job.algorithm.icv_len()
    }

    /// Readies the packet for the burst interface.
    pub(crate) fn prepare_burst(&mut self) {
        if self.job.algorithm.is_aead() {
            return;
        }
        let (end, seq_high) = (self.end(), self.job.seq_high());
        let icv = &mut self.job.packet[end..];
        self.received[..icv.len()].copy_from_slice(icv);
        // RFC 4303, section 2.2.1: the high half is authenticated after the packet, where the ICV is going to be.
        if let Some(high) = seq_high {
            icv[..4].copy_from_slice(&high);
        }
    }

    /// Describes the job, with its key, to the library. `job` points into both afterwards.
    pub(crate) fn fill(&mut self, job: &mut IMB_JOB, index: usize) {
        let key = self.key;
        let iv_len = self.job.algorithm.iv_len();
        let end = self.end();
        let start = 8 + iv_len;
        let packet = self.job.packet.as_mut_ptr();
        job.user_data = std::ptr::without_provenance_mut(index);
        (job.cipher_direction, job.chain_order) = match self.job.direction {
            Direction::Seal => (IMB_DIR_ENCRYPT, IMB_ORDER_CIPHER_HASH),
            Direction::Open => (IMB_DIR_DECRYPT, IMB_ORDER_HASH_CIPHER),
        };
        job.__bindgen_anon_1.src = packet;
        job.auth_tag_output = self.tag.as_mut_ptr();
        // The library truncates HMAC-SHA2-256 to 128 bits only; `finish` takes as many as there are on the wire.
        job.auth_tag_output_len_in_bytes =
            if self.job.algorithm.auth_key_len() == 32 { 16 } else { self.job.algorithm.icv_len() as u64 };
        job.key_len_in_bytes = self.job.algorithm.cipher_key_len() as u64;
        job.enc_keys = key.encrypt().cast();
        if self.job.algorithm == Algorithm::ChaCha20Poly1305 {
            job.cipher_mode = IMB_CIPHER_CHACHA20_POLY1305;
            job.hash_alg = IMB_AUTH_CHACHA20_POLY1305;
            job.dec_keys = job.enc_keys;
            job.iv = (&raw const self.job.nonce).cast();
            job.iv_len_in_bytes = 12;
            job.u.CHACHA20_POLY1305.aad = (&raw const self.job.aad).cast();
            job.u.CHACHA20_POLY1305.aad_len_in_bytes = self.job.aad_len.into();
            job.u.CHACHA20_POLY1305.ctx = std::ptr::null_mut();
            job.hash_start_src_offset_in_bytes = start as u64;
            job.__bindgen_anon_5.msg_len_to_hash_in_bytes = (end - start) as u64;
            job.__bindgen_anon_3.cipher_start_src_offset_in_bytes = start as u64;
            job.__bindgen_anon_4.msg_len_to_cipher_in_bytes = (end - start) as u64;
            job.__bindgen_anon_2.dst = self.job.packet[start..].as_mut_ptr();
            return;
        }
        job.hash_alg =
            if self.job.algorithm.auth_key_len() == 20 { IMB_AUTH_HMAC_SHA_1 } else { IMB_AUTH_HMAC_SHA_256 };
        job.u.HMAC._hashed_auth_key_xor_ipad = key.inner();
        job.u.HMAC._hashed_auth_key_xor_opad = key.outer();
        job.hash_start_src_offset_in_bytes = 0;
        job.__bindgen_anon_5.msg_len_to_hash_in_bytes =
            (end + if self.job.seq_high().is_some() { 4 } else { 0 }) as u64;
        job.iv_len_in_bytes = iv_len as u64;
        if iv_len == 0 {
            job.cipher_mode = IMB_CIPHER_NULL;
            job.iv = std::ptr::null();
            job.__bindgen_anon_3.cipher_start_src_offset_in_bytes = start as u64;
            job.__bindgen_anon_4.msg_len_to_cipher_in_bytes = 0;
            job.__bindgen_anon_2.dst = packet;
            return;
        }
        if self.job.algorithm.block_len() == 8 {
            job.cipher_mode = IMB_CIPHER_DES3;
            self.schedules = key.des_schedules();
            job.enc_keys = self.schedules.as_ptr().cast();
            job.dec_keys = job.enc_keys;
        } else {
            job.cipher_mode = IMB_CIPHER_CBC;
            job.dec_keys = key.decrypt().cast();
        }
        // Sealing starts at the IV field, with zeros as the IV of that block: the field becomes the
        // encryption of what it held, and is the IV of what follows.
        let from = if self.seals() { 8 } else { start };
        job.iv = if self.seals() { (&raw const self.zeros).cast() } else { self.job.packet[8..].as_ptr() };
        job.__bindgen_anon_3.cipher_start_src_offset_in_bytes = from as u64;
        job.__bindgen_anon_4.msg_len_to_cipher_in_bytes = (end - from) as u64;
        job.__bindgen_anon_2.dst = self.job.packet[from..].as_mut_ptr();
    }

    /// Writes the ICV, or compares it (RFC 4303, section 3.4.4.1) without telling by the time taken where it differs.
    pub(crate) fn finish(&mut self) -> bool {
        let end = self.end();
        let hmac = !self.job.algorithm.is_aead();
        let icv = &mut self.job.packet[end..];
        let tag = &self.tag[..icv.len()];
        match self.job.direction {
            Direction::Seal => {
                icv.copy_from_slice(tag);
                true
            }
            Direction::Open => {
                let received: &[u8] = if hmac { &self.received[..tag.len()] } else { icv };
                let differ = tag.iter().zip(received).fold(0, |d, (a, b)| d | (a ^ b));
                std::hint::black_box(differ) == 0
            }
        }
    }
}

//! Expanded keys: what is precomputed once per SA.
//!
//! What AES-GCM needs ([`crate::vaes`]) is of one fixed size, so that a table of SAs is one array, mapped when it is first touched. What
//! the library needs, for the other algorithms and on processors without VAES, is a block of its own:
//!
//! ```text
//!   GCM, GMAC   the library's gcm_key_data: round keys (15 x 16), then powers of the hash key
//!   CBC + HMAC  encryption round keys (240) | decryption round keys (240) | inner hash (32) | outer hash (32)
//!   3DES + HMAC key schedules (3 x 128)                             | inner hash (32) | outer hash (32)
//!   ChaCha20    the key itself (32)
//! ```

use crate::vaes::Keys;
use crate::{Algorithm, Manager};
use ipsec_mb_sys::{IMB_MGR, gcm_key_data};
use zeroize::{Zeroize, Zeroizing};

/// Expanded key of one direction of an SA. All zero is a valid, useless key. Erased on drop, never printed.
pub struct Key(Keys);

/// Whose it is.
#[repr(C)]
pub(crate) struct Label {
    /// The library's, where it is not our own.
    library: Option<Box<LibraryKey>>,
    algorithm: u8,
    unused: [u8; 7],
}

impl Label {
    pub(crate) const EMPTY: Self = Self { library: None, algorithm: 0, unused: [0; 7] };
}

impl Key {
    /// Expands a cipher key and an integrity key; `None` when a length is not the algorithm's.
    pub fn new(manager: &Manager, algorithm: Algorithm, cipher: &[u8], auth: &[u8]) -> Option<Self> {
        let mut key = Self::empty();
        key.expand(manager, algorithm, cipher, auth).then_some(key)
    }

    /// The all-zero key.
    pub const fn empty() -> Self {
        Self(Keys::EMPTY)
    }

    /// The same as [`Key::new`] in place; on `false` the key is empty.
    pub fn expand(&mut self, manager: &Manager, algorithm: Algorithm, cipher: &[u8], auth: &[u8]) -> bool {
        self.clear();
        if cipher.len() != algorithm.cipher_key_len() || auth.len() != algorithm.auth_key_len() {
            return false;
        }
        let done = match manager.vaes() {
            Some(vaes) if algorithm.is_gcm() => vaes.expand(&mut self.0, cipher),
            _ => {
                let key = self.0.label.library.insert(Box::new(LibraryKey([0; BODY])));
                key.expand(manager.raw(), algorithm, cipher, auth)
            }
        };
        if done {
            self.0.label.algorithm = algorithm as u8;
        } else {
            self.0.label.library = None;
        }
        done
    }

    /// Erases it.
    pub fn clear(&mut self) {
        self.0.label.library = None;
        if self.0.label.algorithm != 0 {
            self.0.clear();
            self.0.label.algorithm = 0;
        }
    }

    #[inline(always)]
    pub(crate) fn is(&self, algorithm: Algorithm) -> bool {
        self.0.label.algorithm == algorithm as u8
    }

    /// That of [`crate::vaes`], if it is not the library's.
    #[inline(always)]
    pub(crate) fn own(&self) -> Option<&Keys> {
        if self.0.label.library.is_none() { Some(&self.0) } else { None }
    }

    #[inline(always)]
    pub(crate) fn library(&self) -> Option<&LibraryKey> {
        self.0.label.library.as_deref()
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.clear();
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({:?})", Algorithm::from_number(self.0.label.algorithm))
    }
}

const BODY: usize = size_of::<gcm_key_data>();
const DECRYPT: usize = 240;
const DES_SCHEDULE: usize = 128;
const INNER: usize = 480;
const OUTER: usize = 512;
const HMAC_BLOCK: usize = 64;

/// As the library has it.
#[repr(C, align(64))]
pub(crate) struct LibraryKey([u8; BODY]);

// The library takes it for its own structure.
const _: () = assert!(align_of::<LibraryKey>() == align_of::<gcm_key_data>());

impl LibraryKey {
    /// The lengths of the keys are the algorithm's.
    fn expand(&mut self, mgr: &IMB_MGR, algorithm: Algorithm, cipher: &[u8], auth: &[u8]) -> bool {
        use Algorithm::*;
        match algorithm {
            AesGcm128 | AesGmac128 => self.expand_gcm(mgr.gcm128_pre, cipher),
            AesGcm256 | AesGmac256 => self.expand_gcm(mgr.gcm256_pre, cipher),
            ChaCha20Poly1305 => {
                self.0[..cipher.len()].copy_from_slice(cipher);
                true
            }
            AesCbc128Sha1 | AesCbc128Sha256 | AesCbc128Sha256T96 => {
                self.expand_aes(mgr.keyexp_128, cipher) && self.hash(mgr, auth)
            }
            AesCbc256Sha1 | AesCbc256Sha256 | AesCbc256Sha256T96 => {
                self.expand_aes(mgr.keyexp_256, cipher) && self.hash(mgr, auth)
            }
            TripleDesSha1 | TripleDesSha256 | TripleDesSha256T96 => {
                self.expand_des(mgr.des_key_sched, cipher) && self.hash(mgr, auth)
            }
            NullSha1 | NullSha256 | NullSha256T96 => self.hash(mgr, auth),
        }
    }

    fn expand_gcm(&mut self, pre: ipsec_mb_sys::aes_gcm_pre_t, cipher: &[u8]) -> bool {
        let Some(pre) = pre else { return false };
        // SAFETY: the caller checked the length of `cipher`; `self` has the size and alignment of `gcm_key_data`.
        unsafe { pre(cipher.as_ptr().cast(), core::ptr::from_mut(self).cast()) };
        true
    }

    fn expand_aes(&mut self, expand: ipsec_mb_sys::keyexp_t, cipher: &[u8]) -> bool {
        let Some(expand) = expand else { return false };
        let (encrypt, decrypt) = self.0.split_at_mut(DECRYPT);
        // SAFETY: the caller checked the length of `cipher`; each half has room for the 15 round keys of AES-256 and
        // is 16-octet aligned, because `self` is and 240 is a multiple of 16.
        unsafe { expand(cipher.as_ptr().cast(), encrypt.as_mut_ptr().cast(), decrypt.as_mut_ptr().cast()) };
        true
    }

    fn expand_des(&mut self, expand: ipsec_mb_sys::des_keysched_t, cipher: &[u8]) -> bool {
        let Some(expand) = expand else { return false };
        for (schedule, key) in self.0.chunks_exact_mut(DES_SCHEDULE).zip(cipher.chunks_exact(8)) {
            // SAFETY: reads 8 octets and writes 16 words of 8; the schedule is as long, and is 8-octet aligned, because
            // `self` is and 128 is a multiple of 8.
            if unsafe { expand(schedule.as_mut_ptr().cast(), key.as_ptr().cast()) } != 0 {
                return false;
            }
        }
        true
    }

    // RFC 2104: the hash states after the block (key xor ipad) and (key xor opad).
    fn hash(&mut self, mgr: &IMB_MGR, auth: &[u8]) -> bool {
        let one_block = if auth.len() == 20 { mgr.sha1_one_block } else { mgr.sha256_one_block };
        let Some(one_block) = one_block else { return false };
        for (pad, at) in [(0x36, INNER), (0x5c, OUTER)] {
            let mut block = Zeroizing::new([pad; HMAC_BLOCK]);
            for (b, k) in block.iter_mut().zip(auth) {
                *b ^= k;
            }
            // SAFETY: reads one block of 64 octets and writes a digest of 20 or 32 octets; 32 are left after `at`.
            unsafe { one_block(block.as_ptr().cast(), self.0[at..at + 32].as_mut_ptr().cast()) };
        }
        true
    }

    #[inline(always)]
    pub(crate) fn gcm(&self) -> *const gcm_key_data {
        core::ptr::from_ref(self).cast()
    }

    pub(crate) fn encrypt(&self) -> *const u8 {
        self.0.as_ptr()
    }

    pub(crate) fn decrypt(&self) -> *const u8 {
        self.0[DECRYPT..].as_ptr()
    }

    pub(crate) fn des_schedules(&self) -> [*const u8; 3] {
        [0, 1, 2].map(|i| self.0[i * DES_SCHEDULE..].as_ptr())
    }

    pub(crate) fn inner(&self) -> *const u8 {
        self.0[INNER..].as_ptr()
    }

    pub(crate) fn outer(&self) -> *const u8 {
        self.0[OUTER..].as_ptr()
    }
}

impl Drop for LibraryKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

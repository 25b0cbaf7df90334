//! Key schedule and message protection of IKEv1 (RFC 2409, sections 5 and 5.5, appendix B).
//!
//! ```text
//!   SKEYID   = prf(pre-shared key, Ni | Nr)             signatures: prf(Ni | Nr, g^xy)
//!   SKEYID_d = prf(SKEYID, g^xy | CKY-I | CKY-R | 0)                 keys of phase 2
//!   SKEYID_a = prf(SKEYID, SKEYID_d | g^xy | CKY-I | CKY-R | 1)      HASH(1), HASH(2), HASH(3)
//!   SKEYID_e = prf(SKEYID, SKEYID_a | g^xy | CKY-I | CKY-R | 2)      encryption
//! ```
//!
//! The PRF is HMAC of the negotiated hash. Messages are encrypted by CBC without a MAC; in phase 2 it is the HASH payload
//! inside that authenticates. The vector of a message is the last block of the one before it in its exchange: the first
//! of phase 1 is hash(g^xi | g^xr), that of a phase 2 exchange hash(last block of phase 1 | message id).

use super::message::Header;
use super::proposal::Phase1Suite;
use crate::crypto::{CryptoError, Secret, tag};
use crate::message::HEADER_LEN;
use crate::payload::Builder;
use crate::proposal::encr;
use aws_lc_rs::{cipher, digest, hmac};
use zeroize::Zeroizing;

/// A hash algorithm, and the PRF made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hash {
    /// SHA-1.
    Sha1,
    /// SHA2-256.
    Sha256,
    /// SHA2-384.
    Sha384,
    /// SHA2-512.
    Sha512,
}

impl Hash {
    /// Octets of the result.
    #[allow(clippy::len_without_is_empty)]
    pub const fn len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The hash of the parts concatenated.
    pub fn hash(self, parts: &[&[u8]]) -> Vec<u8> {
        let mut context = digest::Context::new(match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        });
        parts.iter().for_each(|part| context.update(part));
        context.finish().as_ref().to_vec()
    }

    /// prf(key, parts concatenated).
    pub fn prf(self, key: &[u8], parts: &[&[u8]]) -> Secret {
        let algorithm = match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha384 => hmac::HMAC_SHA384,
            Self::Sha512 => hmac::HMAC_SHA512,
        };
        Secret::new(tag(algorithm, key, parts).as_ref().to_vec())
    }

    /// `len` octets of K1 | K2 | ..., Kn = prf(key, Kn-1 | seed), where `first` is in the place of K0 | seed.
    fn expand(self, key: &[u8], first: &[&[u8]], seed: &[&[u8]], len: usize) -> Secret {
        let mut last = self.prf(key, first);
        let mut out = Secret::new(Vec::with_capacity(len + self.len()));
        out.extend_from_slice(&last);
        while out.len() < len {
            let parts: Vec<&[u8]> = std::iter::once(&last[..]).chain(seed.iter().copied()).collect();
            let next = self.prf(key, &parts);
            out.extend_from_slice(&next);
            last = next;
        }
        out.truncate(len);
        out
    }
}

/// A cipher in CBC mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cipher {
    /// 3DES, three keys.
    TripleDes,
    /// AES with a key of 128 bits.
    Aes128,
    /// AES with a key of 256 bits.
    Aes256,
}

impl Cipher {
    /// By IKEv2's number and key bits.
    pub const fn of(encr: (u16, u16)) -> Option<Self> {
        Some(match encr {
            (encr::TRIPLE_DES, 0) => Self::TripleDes,
            (encr::AES_CBC, 128) => Self::Aes128,
            (encr::AES_CBC, 256) => Self::Aes256,
            _ => return None,
        })
    }

    /// Octets of a block, and of an initialization vector.
    pub const fn block(self) -> usize {
        match self {
            Self::TripleDes => 8,
            Self::Aes128 | Self::Aes256 => 16,
        }
    }

    /// Octets of a key.
    pub const fn key_len(self) -> usize {
        match self {
            Self::TripleDes => 24,
            Self::Aes128 => 16,
            Self::Aes256 => 32,
        }
    }

    fn key(self, key: &[u8]) -> Option<cipher::UnboundCipherKey> {
        #[allow(deprecated)] // for clients that know nothing better, where it is allowed by name
        let algorithm = match self {
            Self::TripleDes => &cipher::DES_EDE3_FOR_LEGACY_USE_ONLY,
            Self::Aes128 => &cipher::AES_128,
            Self::Aes256 => &cipher::AES_256,
        };
        cipher::UnboundCipherKey::new(algorithm, key).ok()
    }

    /// Encrypts whole blocks. `None`: a key (also a weak one of 3DES), vector or text that does not fit.
    pub fn encrypt(self, key: &[u8], iv: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
        let key = cipher::EncryptingKey::cbc(self.key(key)?).ok()?;
        let context = match self {
            Self::TripleDes => cipher::EncryptionContext::Iv64(<&[u8; 8]>::try_from(iv).ok()?.into()),
            Self::Aes128 | Self::Aes256 => cipher::EncryptionContext::Iv128(<&[u8; 16]>::try_from(iv).ok()?.into()),
        };
        let mut out = Zeroizing::new(plain.to_vec());
        key.less_safe_encrypt(&mut out, context).ok()?;
        Some(std::mem::take(&mut *out))
    }

    /// Decrypts whole blocks.
    pub fn decrypt(self, key: &[u8], iv: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let key = cipher::DecryptingKey::cbc(self.key(key)?).ok()?;
        let context = match self {
            Self::TripleDes => cipher::DecryptionContext::Iv64(<&[u8; 8]>::try_from(iv).ok()?.into()),
            Self::Aes128 | Self::Aes256 => cipher::DecryptionContext::Iv128(<&[u8; 16]>::try_from(iv).ok()?.into()),
        };
        let mut out = Zeroizing::new(sealed.to_vec());
        key.decrypt(&mut out, context).ok()?;
        Some(out)
    }
}

/// What both ends know once key exchange is done.
#[derive(Clone)]
pub struct Shared {
    /// The initiator's public value.
    pub g_xi: Vec<u8>,
    /// The responder's.
    pub g_xr: Vec<u8>,
    /// The shared secret.
    pub g_xy: Secret,
    /// The initiator's nonce (body of the payload).
    pub ni: Vec<u8>,
    /// The responder's.
    pub nr: Vec<u8>,
    /// The initiator's cookie.
    pub cookie_i: u64,
    /// The responder's.
    pub cookie_r: u64,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared(..)")
    }
}

/// The keys of an ISAKMP SA.
#[derive(Clone)]
pub struct Keys {
    suite: Phase1Suite,
    cipher: Cipher,
    skeyid: Secret,
    d: Secret,
    a: Secret,
    e: Secret,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(..)")
    }
}

impl Keys {
    /// With a pre-shared key. An error: the suite's cipher does not exist, or the key is one that 3DES must not have.
    pub fn psk(suite: Phase1Suite, shared: &Shared, psk: &[u8]) -> Result<Self, CryptoError> {
        Self::derive(suite, shared, suite.hash.prf(psk, &[&shared.ni, &shared.nr]))
    }

    /// With signatures.
    pub fn signature(suite: Phase1Suite, shared: &Shared) -> Result<Self, CryptoError> {
        Self::derive(suite, shared, suite.hash.prf(&[&shared.ni[..], &shared.nr].concat(), &[&shared.g_xy]))
    }

    fn derive(suite: Phase1Suite, shared: &Shared, skeyid: Secret) -> Result<Self, CryptoError> {
        let (cookie_i, cookie_r) = (shared.cookie_i.to_be_bytes(), shared.cookie_r.to_be_bytes());
        let next = |last: &[u8], n: u8| suite.hash.prf(&skeyid, &[last, &shared.g_xy, &cookie_i, &cookie_r, &[n]]);
        let d = next(&[], 0);
        let a = next(&d, 1);
        let skeyid_e = next(&a, 2);
        let cipher = Cipher::of(suite.encr).ok_or(CryptoError::Library)?;
        // Appendix B: a key longer than SKEYID_e is made by expanding it from a zero octet.
        let mut e = skeyid_e;
        if cipher.key_len() > e.len() {
            e = suite.hash.expand(&e, &[&[0]], &[], cipher.key_len());
        }
        e.truncate(cipher.key_len());
        let block = [0; 16];
        let block = block.get(..cipher.block()).ok_or(CryptoError::Library)?;
        cipher.encrypt(&e, block, block).ok_or(CryptoError::Library)?;
        Ok(Self { suite, cipher, skeyid, d, a, e })
    }

    /// The suite.
    pub fn suite(&self) -> Phase1Suite {
        self.suite
    }

    /// HASH_I of the initiator, or HASH_R of the responder: `sa_i` is the body of the initiator's SA payload, `id` that of
    /// the ID payload of the side that proves itself.
    pub fn proof(&self, shared: &Shared, initiator: bool, sa_i: &[u8], id: &[u8]) -> Secret {
        let (i, r) = ((&shared.g_xi, shared.cookie_i.to_be_bytes()), (&shared.g_xr, shared.cookie_r.to_be_bytes()));
        let (own, other) = if initiator { (i, r) } else { (r, i) };
        self.suite.hash.prf(&self.skeyid, &[own.0, other.0, &own.1, &other.1, sa_i, id])
    }

    /// The vector of the first encrypted message of phase 1.
    pub fn first_iv(&self, shared: &Shared) -> Vec<u8> {
        self.vector(&[&shared.g_xi, &shared.g_xr])
    }

    /// The vector of the first message of a phase 2 exchange; `last_block` is what phase 1 left in its own.
    pub fn later_iv(&self, last_block: &[u8], message_id: u32) -> Vec<u8> {
        self.vector(&[last_block, &message_id.to_be_bytes()])
    }

    fn vector(&self, parts: &[&[u8]]) -> Vec<u8> {
        let mut iv = self.suite.hash.hash(parts);
        iv.truncate(self.cipher.block());
        iv
    }

    /// A whole encrypted message; `iv` becomes its last block. There is always padding: zeros, and the number of them
    /// (appendix B). On an error `iv` is as it was.
    pub fn seal(&self, mut header: Header, chain: &Builder, iv: &mut Vec<u8>) -> Result<Vec<u8>, CryptoError> {
        let zeros = self.cipher.block() - chain.bytes().len() % self.cipher.block() - 1;
        let mut plain = Zeroizing::new(Vec::with_capacity(chain.bytes().len() + zeros + 1));
        plain.extend_from_slice(chain.bytes());
        plain.extend(std::iter::repeat_n(0, zeros));
        plain.push(zeros as u8);
        let sealed = self.cipher.encrypt(&self.e, iv, &plain).ok_or(CryptoError::Library)?;
        (header.next, header.encrypted) = (chain.first(), true);
        let mut out = Vec::with_capacity(HEADER_LEN + sealed.len());
        header.emit(HEADER_LEN + sealed.len(), &mut out);
        out.extend_from_slice(&sealed);
        self.advance(&sealed, iv);
        Ok(out)
    }

    /// The plain text, with its padding, of a whole encrypted message; `iv` becomes the last block of the ciphertext.
    /// `None`, and `iv` as it was: there are no whole blocks. Whether it is authentic only its content tells.
    pub fn open(&self, message: &[u8], iv: &mut Vec<u8>) -> Option<Zeroizing<Vec<u8>>> {
        let sealed = message.get(HEADER_LEN..).filter(|s| !s.is_empty() && s.len() % self.cipher.block() == 0)?;
        let plain = self.cipher.decrypt(&self.e, iv, sealed)?;
        self.advance(sealed, iv);
        Some(plain)
    }

    fn advance(&self, sealed: &[u8], iv: &mut Vec<u8>) {
        if let Some(last) = sealed.len().checked_sub(self.cipher.block()).and_then(|at| sealed.get(at..)) {
            *iv = last.to_vec();
        }
    }

    /// HASH(1), also of informational exchanges: over what follows the HASH payload.
    pub fn hash1(&self, message_id: u32, rest: &[u8]) -> Secret {
        self.suite.hash.prf(&self.a, &[&message_id.to_be_bytes(), rest])
    }

    /// HASH(2): over the initiator's nonce, and what follows the HASH payload.
    pub fn hash2(&self, message_id: u32, ni: &[u8], rest: &[u8]) -> Secret {
        self.suite.hash.prf(&self.a, &[&message_id.to_be_bytes(), ni, rest])
    }

    /// HASH(3): over both nonces.
    pub fn hash3(&self, message_id: u32, ni: &[u8], nr: &[u8]) -> Secret {
        self.suite.hash.prf(&self.a, &[&[0], &message_id.to_be_bytes(), ni, nr])
    }

    /// `len` octets of keying material for the ESP SA of `spi`, whose receiver chose it; `shared` is the secret of quick
    /// mode's own key exchange.
    pub fn keymat(&self, shared: Option<&[u8]>, spi: u32, ni: &[u8], nr: &[u8], len: usize) -> Secret {
        let spi = spi.to_be_bytes();
        let seed: [&[u8]; 5] = [shared.unwrap_or_default(), &[super::payload::PROTO_ESP], &spi, ni, nr];
        self.suite.hash.expand(&self.d, &seed, &seed, len)
    }
}

#[cfg(test)]
#[path = "crypto_tests.rs"]
mod tests;

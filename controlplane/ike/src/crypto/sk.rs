//! Protection of IKE messages, the inside of the SK and SKF payloads (RFC 7296, section 3.14; RFC 5282 for AES-GCM).
//!
//! ```text
//!   AAD (message up to the IV) | IV | ciphertext of (payloads | padding | pad length) | ICV
//! ```
//!
//! With AES-GCM the key ends in a 4-octet salt, the IV has 8 octets and the AAD is authenticated by the cipher; with
//! AES-CBC the ICV is an HMAC over everything before it.

use super::tag;
use aws_lc_rs::{aead, cipher, hmac};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// Encryption of IKE messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SkCipher {
    /// AES-GCM with a 16-octet ICV, 128-bit key.
    AesGcm128,
    /// AES-GCM with a 16-octet ICV, 256-bit key.
    AesGcm256,
    /// AES-CBC, 128-bit key.
    AesCbc128,
    /// AES-CBC, 256-bit key.
    AesCbc256,
}

/// Integrity of IKE messages with AES-CBC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SkIntegrity {
    /// AUTH_HMAC_SHA1_96 (2).
    HmacSha1_96,
    /// AUTH_HMAC_SHA2_256_128 (12).
    HmacSha256_128,
    /// AUTH_HMAC_SHA2_384_192 (13).
    HmacSha384_192,
    /// AUTH_HMAC_SHA2_512_256 (14).
    HmacSha512_256,
}

impl SkIntegrity {
    const fn algorithm(self) -> hmac::Algorithm {
        match self {
            Self::HmacSha1_96 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::HmacSha256_128 => hmac::HMAC_SHA256,
            Self::HmacSha384_192 => hmac::HMAC_SHA384,
            Self::HmacSha512_256 => hmac::HMAC_SHA512,
        }
    }

    const fn key_len(self) -> usize {
        match self {
            Self::HmacSha1_96 => 20,
            Self::HmacSha256_128 => 32,
            Self::HmacSha384_192 => 48,
            Self::HmacSha512_256 => 64,
        }
    }

    const fn icv_len(self) -> usize {
        match self {
            Self::HmacSha1_96 => 12,
            Self::HmacSha256_128 => 16,
            Self::HmacSha384_192 => 24,
            Self::HmacSha512_256 => 32,
        }
    }
}

/// Cipher and integrity of an IKE SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SkSuite {
    encr: SkCipher,
    integ: Option<SkIntegrity>,
}

impl SkSuite {
    /// `None` when the two do not go together.
    pub const fn new(encr: SkCipher, integ: Option<SkIntegrity>) -> Option<Self> {
        let aead = matches!(encr, SkCipher::AesGcm128 | SkCipher::AesGcm256);
        if aead == integ.is_none() { Some(Self { encr, integ }) } else { None }
    }

    /// From IANA numbers: encryption and its key bits, and integrity, 0 for none.
    pub const fn from_ids(encr: u16, bits: u16, integ: u16) -> Option<Self> {
        let encr = match (encr, bits) {
            (20, 128) => SkCipher::AesGcm128,
            (20, 256) => SkCipher::AesGcm256,
            (12, 128) => SkCipher::AesCbc128,
            (12, 256) => SkCipher::AesCbc256,
            _ => return None,
        };
        let integ = match integ {
            0 => None,
            2 => Some(SkIntegrity::HmacSha1_96),
            12 => Some(SkIntegrity::HmacSha256_128),
            13 => Some(SkIntegrity::HmacSha384_192),
            14 => Some(SkIntegrity::HmacSha512_256),
            _ => return None,
        };
        Self::new(encr, integ)
    }

    /// Combined-mode cipher.
    pub const fn is_aead(self) -> bool {
        self.integ.is_none()
    }

    /// Octets of SK_e, a salt included.
    pub const fn encr_key_len(self) -> usize {
        match self.encr {
            SkCipher::AesGcm128 => 20,
            SkCipher::AesGcm256 => 36,
            SkCipher::AesCbc128 => 16,
            SkCipher::AesCbc256 => 32,
        }
    }

    /// Octets of SK_a.
    pub const fn integ_key_len(self) -> usize {
        match self.integ {
            Some(i) => i.key_len(),
            None => 0,
        }
    }

    const fn iv_len(self) -> usize {
        if self.is_aead() { 8 } else { 16 }
    }

    const fn icv_len(self) -> usize {
        match self.integ {
            Some(i) => i.icv_len(),
            None => 16,
        }
    }

    // Octets of padding before the pad length octet.
    const fn pad_len(self, plain: usize) -> usize {
        if self.is_aead() { 0 } else { (16 - (plain + 1) % 16) % 16 }
    }

    /// Octets from the IV to the ICV for `plain` octets of payloads.
    pub const fn sealed_len(self, plain: usize) -> usize {
        self.iv_len() + plain + self.pad_len(plain) + 1 + self.icv_len()
    }

    /// Appends IV, ciphertext and ICV to `out`, which holds the message up to there and is authenticated whole. `iv`:
    /// with AES-GCM its first 8 octets are used and must never repeat under the key; with AES-CBC all 16, unpredictable.
    /// `false` when the library fails or a key has the wrong length: `out` is then as it was, and nothing may be sent.
    #[must_use]
    pub fn seal(self, encr: &[u8], integ: &[u8], iv: &[u8; 16], out: &mut Vec<u8>, plain: &[u8]) -> bool {
        let aad = out.len();
        let iv = &iv[..self.iv_len()];
        out.extend_from_slice(iv);
        let start = out.len();
        out.extend_from_slice(plain);
        let pad = self.pad_len(plain.len());
        out.resize(out.len() + pad, 0);
        out.push(pad as u8);
        let icv = match self.integ {
            None => {
                let (aad, rest) = out.split_at_mut(aad);
                gcm(encr, iv).and_then(|(key, nonce)| {
                    let body = rest.get_mut(iv.len()..)?;
                    let tag = key.seal_in_place_separate_tag(nonce, aead::Aad::from(&aad[..]), body).ok()?;
                    Some(tag.as_ref().to_vec())
                })
            }
            Some(i) => self
                .cbc_encrypt(encr, iv, &mut out[start..])
                .map(|()| tag(i.algorithm(), integ, &[&out[..]]).as_ref()[..i.icv_len()].to_vec()),
        };
        match icv {
            Some(icv) => out.extend_from_slice(&icv),
            None => {
                out[aad..].zeroize();
                out.truncate(aad);
                return false;
            }
        }
        true
    }

    /// Opens what follows `aad` in a message, from the IV to the ICV. `None`: not authentic, or badly padded.
    pub fn open(self, encr: &[u8], integ: &[u8], aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let body_end = sealed.len().checked_sub(self.icv_len())?;
        let (rest, icv) = sealed.split_at(body_end);
        let (iv, body) = rest.split_at_checked(self.iv_len())?;
        let mut plain = match self.integ {
            None => {
                let (key, nonce) = gcm(encr, iv)?;
                let mut buffer = [body, icv].concat();
                let len = key.open_in_place(nonce, aead::Aad::from(aad), &mut buffer).ok()?.len();
                buffer.truncate(len);
                buffer
            }
            Some(i) => {
                let expected = tag(i.algorithm(), integ, &[aad, rest]);
                if !bool::from(expected.as_ref()[..i.icv_len()].ct_eq(icv)) {
                    return None;
                }
                let key = self.cbc_key(encr)?;
                let key = cipher::DecryptingKey::cbc(key).ok()?;
                let mut buffer = body.to_vec();
                key.decrypt(&mut buffer, cipher::DecryptionContext::Iv128(iv.try_into().ok()?)).ok()?;
                buffer
            }
        };
        let pad = usize::from(plain.pop()?);
        plain.truncate(plain.len().checked_sub(pad)?);
        Some(plain)
    }

    fn cbc_key(self, key: &[u8]) -> Option<cipher::UnboundCipherKey> {
        let algorithm = match self.encr {
            SkCipher::AesCbc128 => &cipher::AES_128,
            SkCipher::AesCbc256 => &cipher::AES_256,
            SkCipher::AesGcm128 | SkCipher::AesGcm256 => return None,
        };
        cipher::UnboundCipherKey::new(algorithm, key).ok()
    }

    fn cbc_encrypt(self, key: &[u8], iv: &[u8], data: &mut [u8]) -> Option<()> {
        let key = cipher::EncryptingKey::cbc(self.cbc_key(key)?).ok()?;
        let iv: &[u8; 16] = iv.try_into().ok()?;
        key.less_safe_encrypt(data, cipher::EncryptionContext::Iv128(iv.into())).ok().map(|_| ())
    }
}

// RFC 5282, section 4: the nonce is the salt, which ends the key, and the IV.
fn gcm(key: &[u8], iv: &[u8]) -> Option<(aead::LessSafeKey, aead::Nonce)> {
    let (key, salt) = key.split_at_checked(key.len().checked_sub(4)?)?;
    let algorithm = match key.len() {
        16 => &aead::AES_128_GCM,
        32 => &aead::AES_256_GCM,
        _ => return None,
    };
    let key = aead::LessSafeKey::new(aead::UnboundKey::new(algorithm, key).ok()?);
    Some((key, aead::Nonce::try_assume_unique_for_key(&[salt, iv].concat()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;
    use proptest::prelude::*;

    const SUITES: [((u16, u16), u16); 10] = [
        ((20, 128), 0),
        ((20, 256), 0),
        ((12, 128), 2),
        ((12, 128), 12),
        ((12, 128), 13),
        ((12, 128), 14),
        ((12, 256), 2),
        ((12, 256), 12),
        ((12, 256), 13),
        ((12, 256), 14),
    ];

    proptest! {
        #[test]
        fn round_trip_and_tampering(plain in proptest::collection::vec(any::<u8>(), 0..100), at: usize, bit in 0u32..8) {
            for ((encr, bits), integ) in SUITES {
                let s = SkSuite::from_ids(encr, bits, integ).unwrap();
                let (e, a) = (vec![7; s.encr_key_len()], vec![9; s.integ_key_len()]);
                let mut message = b"header".to_vec();
                prop_assert!(s.seal(&e, &a, &[3; 16], &mut message, &plain));
                prop_assert_eq!(message.len(), 6 + s.sealed_len(plain.len()));
                let (aad, sealed) = message.split_at(6);
                prop_assert_eq!(s.open(&e, &a, aad, sealed), Some(plain.clone()));
                let mut bad = message.clone();
                let i = at % bad.len();
                bad[i] ^= 1u8 << bit;
                let (aad, sealed) = bad.split_at(6);
                prop_assert_eq!(s.open(&e, &a, aad, sealed), None);
            }
        }

        #[test]
        fn garbage(data in proptest::collection::vec(any::<u8>(), 0..80)) {
            for ((encr, bits), integ) in SUITES {
                let s = SkSuite::from_ids(encr, bits, integ).unwrap();
                prop_assert_eq!(s.open(&vec![7; s.encr_key_len()], &vec![9; s.integ_key_len()], b"x", &data), None);
            }
        }
    }

    // AES-128-GCM with key, salt | IV and AAD as stated; expected value from python's cryptography package.
    #[test]
    fn gcm_against_another_implementation() {
        let s = SkSuite::from_ids(20, 128, 0).unwrap();
        let key: Vec<u8> = (0..20).collect();
        let mut message = b"aad".to_vec();
        assert!(s.seal(&key, &[], &[0x11; 16], &mut message, b"hello"));
        assert_eq!(message[..3 + 8], *b"aad\x11\x11\x11\x11\x11\x11\x11\x11");
        assert_eq!(message[11..], hex!("b75167f628ccb2ab941366d4a124720c154cf237c960"));
    }

    // Never the plaintext with a made-up ICV.
    #[test]
    fn what_cannot_be_sealed_is_not_left_behind() {
        for ((encr, bits), integ) in SUITES {
            let s = SkSuite::from_ids(encr, bits, integ).unwrap();
            let mut message = b"header".to_vec();
            assert!(!s.seal(&[7; 5], &[9; 5], &[3; 16], &mut message, b"secret payload"));
            assert_eq!(message, b"header");
        }
    }

    #[test]
    fn pairs_that_do_not_exist() {
        assert_eq!(SkSuite::from_ids(20, 128, 12), None);
        assert_eq!(SkSuite::from_ids(12, 128, 0), None);
        assert_eq!(SkSuite::from_ids(3, 0, 2), None);
    }
}

//! ESP algorithms and their keys (RFC 4303, 4106, 4543, 7634, 3602, 4868, 2404; RFC 8221's set, and two that only clients
//! of IKEv1 may be given).

use zeroize::Zeroize;

/// Encryption algorithm of an ESP SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cipher {
    /// AES-GCM with a 16-octet ICV and 128-bit key (RFC 4106).
    AesGcm128,
    /// AES-GCM with a 16-octet ICV and 256-bit key (RFC 4106).
    AesGcm256,
    /// AES-CBC with a 128-bit key (RFC 3602).
    AesCbc128,
    /// AES-CBC with a 256-bit key (RFC 3602).
    AesCbc256,
    /// ChaCha20-Poly1305 (RFC 7634).
    ChaCha20Poly1305,
    /// NULL (RFC 2410), integrity only.
    Null,
    /// AES-GMAC with a 128-bit key: integrity only (ENCR_NULL_AUTH_AES_GMAC, RFC 4543).
    AesGmac128,
    /// AES-GMAC with a 256-bit key.
    AesGmac256,
    /// 3DES-CBC with a 192-bit key (RFC 2451).
    TripleDesCbc,
}

/// Integrity algorithm of an ESP SA whose cipher gives none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Integrity {
    /// The cipher is combined-mode.
    None,
    /// HMAC-SHA1-96 (RFC 2404).
    HmacSha1_96,
    /// HMAC-SHA2-256-128 (RFC 4868).
    HmacSha256_128,
    /// HMAC-SHA2-256 truncated to 96 bits, as a draft of RFC 4868 had it and Android has.
    HmacSha256_96,
}

/// A cipher and an integrity algorithm that may go together: a combined-mode cipher alone, or
/// another one with an HMAC. Encryption without integrity cannot be expressed (RFC 8221, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EspSuite {
    cipher: Cipher,
    integrity: Integrity,
}

impl EspSuite {
    /// `None` for a pair that is not allowed.
    pub const fn new(cipher: Cipher, integrity: Integrity) -> Option<Self> {
        if cipher.is_aead() == matches!(integrity, Integrity::None) { Some(Self { cipher, integrity }) } else { None }
    }

    /// From the transform ids that IKE negotiated: (encryption algorithm, key bits) and integrity algorithm, 0 for
    /// none (IANA, IKEv2 transform types 1 and 3; 0xf096, a number for private use, is HMAC-SHA2-256 truncated to 96 bits).
    /// `None` for what the data plane does not have.
    pub const fn from_transforms(encryption: (u16, u16), integrity: u16) -> Option<Self> {
        let cipher = match encryption {
            (20, 128) => Cipher::AesGcm128,
            (20, 256) => Cipher::AesGcm256,
            (12, 128) => Cipher::AesCbc128,
            (12, 256) => Cipher::AesCbc256,
            (3, _) => Cipher::TripleDesCbc,
            (28, _) => Cipher::ChaCha20Poly1305,
            (11, _) => Cipher::Null,
            (21, 128) => Cipher::AesGmac128,
            (21, 256) => Cipher::AesGmac256,
            _ => return None,
        };
        let integrity = match integrity {
            0 => Integrity::None,
            2 => Integrity::HmacSha1_96,
            12 => Integrity::HmacSha256_128,
            0xf096 => Integrity::HmacSha256_96,
            _ => return None,
        };
        Self::new(cipher, integrity)
    }

    /// The cipher.
    pub const fn cipher(self) -> Cipher {
        self.cipher
    }

    /// The integrity algorithm.
    pub const fn integrity(self) -> Integrity {
        self.integrity
    }

    /// Octets of keying material: cipher key, salt, integrity key, in that order (RFC 7296, section 2.17).
    pub const fn key_len(self) -> usize {
        self.cipher.key_len() + self.cipher.salt_len() + self.integrity.key_len()
    }

    /// Octets of the ICV.
    pub const fn icv_len(self) -> usize {
        match self.integrity {
            Integrity::None => 16,
            Integrity::HmacSha1_96 | Integrity::HmacSha256_96 => 12,
            Integrity::HmacSha256_128 => 16,
        }
    }
}

impl Cipher {
    /// Combined-mode (gives integrity by itself).
    pub const fn is_aead(self) -> bool {
        !matches!(self, Self::AesCbc128 | Self::AesCbc256 | Self::TripleDesCbc | Self::Null)
    }

    /// Octets of the key, salt not counted.
    pub const fn key_len(self) -> usize {
        match self {
            Self::AesGcm128 | Self::AesCbc128 | Self::AesGmac128 => 16,
            Self::TripleDesCbc => 24,
            Self::AesGcm256 | Self::AesCbc256 | Self::AesGmac256 | Self::ChaCha20Poly1305 => 32,
            Self::Null => 0,
        }
    }

    /// Octets of the salt that follows the key in the keying material.
    pub const fn salt_len(self) -> usize {
        if self.is_aead() { 4 } else { 0 }
    }

    /// Octets of the IV carried in each packet.
    pub const fn iv_len(self) -> usize {
        match self {
            Self::AesCbc128 | Self::AesCbc256 => 16,
            Self::Null => 0,
            _ => 8,
        }
    }

    /// The plaintext is padded to a multiple of this many octets (and always of 4).
    pub const fn block_len(self) -> usize {
        match self {
            Self::AesCbc128 | Self::AesCbc256 => 16,
            Self::TripleDesCbc => 8,
            _ => 4,
        }
    }
}

impl Integrity {
    /// Octets of the key.
    pub const fn key_len(self) -> usize {
        match self {
            Self::None => 0,
            Self::HmacSha1_96 => 20,
            Self::HmacSha256_128 | Self::HmacSha256_96 => 32,
        }
    }
}

/// Keying material of one direction of an SA: cipher key, salt, integrity key. Erased on drop, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct EspKey {
    bytes: [u8; Self::MAX],
    len: u8,
}

impl EspKey {
    /// AES-CBC-256 with HMAC-SHA2-256.
    pub const MAX: usize = 64;

    /// `None` unless `material` is exactly as long as `suite` needs.
    pub fn new(suite: EspSuite, material: &[u8]) -> Option<Self> {
        Self::of(suite, material, &[])
    }

    /// Of a cipher key with its salt, and an integrity key, as IKE has them.
    pub fn of(suite: EspSuite, encryption: &[u8], integrity: &[u8]) -> Option<Self> {
        let len = encryption.len() + integrity.len();
        let mut key = Self { bytes: [0; Self::MAX], len: 0 };
        let (first, rest) = key.bytes.split_at_mut_checked(encryption.len())?;
        first.copy_from_slice(encryption);
        rest.get_mut(..integrity.len())?.copy_from_slice(integrity);
        key.len = len as u8;
        (len == suite.key_len()).then_some(key)
    }

    /// Splits into (cipher key, salt, integrity key) as `suite` lays them out.
    pub fn split(&self, suite: EspSuite) -> (&[u8], &[u8], &[u8]) {
        let all = &self.bytes[..usize::from(self.len)];
        let (key, rest) = all.split_at(suite.cipher.key_len().min(all.len()));
        let (salt, integrity) = rest.split_at(suite.cipher.salt_len().min(rest.len()));
        (key, salt, integrity)
    }
}

impl Drop for EspKey {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl std::fmt::Debug for EspKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EspKey({} octets)", self.len)
    }
}

impl std::fmt::Display for EspSuite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.cipher {
            Cipher::AesGcm128 => "AES-GCM-16-128",
            Cipher::AesGcm256 => "AES-GCM-16-256",
            Cipher::AesCbc128 => "AES-CBC-128",
            Cipher::AesCbc256 => "AES-CBC-256",
            Cipher::ChaCha20Poly1305 => "CHACHA20-POLY1305",
            Cipher::Null => "NULL",
            Cipher::AesGmac128 => "AES-GMAC-128",
            Cipher::AesGmac256 => "AES-GMAC-256",
            Cipher::TripleDesCbc => "3DES-CBC",
        })?;
        f.write_str(match self.integrity {
            Integrity::None => "",
            Integrity::HmacSha1_96 => "/HMAC-SHA1-96",
            Integrity::HmacSha256_128 => "/HMAC-SHA2-256-128",
            Integrity::HmacSha256_96 => "/HMAC-SHA2-256-96",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_joined_and_have_one_length() {
        let suite = EspSuite::from_transforms((12, 128), 2).unwrap();
        let key = EspKey::of(suite, &[1; 16], &[2; 20]).unwrap();
        assert_eq!(key.split(suite), (&[1; 16][..], &[][..], &[2; 20][..]));
        assert_eq!(EspKey::new(suite, &[&[1; 16][..], &[2; 20]].concat()), Some(key));
        for (encryption, integrity) in [(16, 0), (16, 19), (16, 21), (0, 0), (65, 0), (36, 64), (0, 65)] {
            assert_eq!(EspKey::of(suite, &vec![0; encryption], &vec![0; integrity]), None, "{encryption} {integrity}");
        }
    }

    #[test]
    fn suites_of_transforms() {
        let name = |e, i| EspSuite::from_transforms(e, i).map(|s| s.to_string());
        assert_eq!(name((20, 128), 0).as_deref(), Some("AES-GCM-16-128"));
        assert_eq!(name((12, 256), 12).as_deref(), Some("AES-CBC-256/HMAC-SHA2-256-128"));
        assert_eq!(name((11, 0), 12).as_deref(), Some("NULL/HMAC-SHA2-256-128"));
        assert_eq!(name((11, 0), 0), None, "NULL without integrity");
        assert_eq!(name((3, 0), 2).as_deref(), Some("3DES-CBC/HMAC-SHA1-96"));
        assert_eq!(name((12, 128), 0xf096).as_deref(), Some("AES-CBC-128/HMAC-SHA2-256-96"));
        assert_eq!(name((3, 0), 0), None, "3DES without integrity");
        assert_eq!(name((20, 128), 0xf096), None, "an AEAD");
        assert_eq!(name((1, 0), 2), None, "an algorithm that nobody has");
        assert_eq!(name((20, 128), 12), None, "two integrity algorithms");
    }
}

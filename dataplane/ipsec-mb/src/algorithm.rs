//! The transforms, with the sizes that shape an ESP packet.

/// A cipher with its integrity algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Algorithm {
    /// AES-GCM, 16-octet ICV, 128-bit key (RFC 4106).
    AesGcm128 = 1,
    /// The same with a 256-bit key.
    AesGcm256,
    /// AES-GMAC, 128-bit key: nothing is encrypted (RFC 4543).
    AesGmac128,
    /// The same with a 256-bit key.
    AesGmac256,
    /// ChaCha20-Poly1305 (RFC 7634).
    ChaCha20Poly1305,
    /// AES-CBC 128 (RFC 3602) with HMAC-SHA1-96 (RFC 2404).
    AesCbc128Sha1,
    /// AES-CBC 256 with HMAC-SHA1-96.
    AesCbc256Sha1,
    /// AES-CBC 128 with HMAC-SHA2-256-128 (RFC 4868).
    AesCbc128Sha256,
    /// AES-CBC 256 with HMAC-SHA2-256-128.
    AesCbc256Sha256,
    /// No encryption (RFC 2410) with HMAC-SHA1-96.
    NullSha1,
    /// No encryption with HMAC-SHA2-256-128.
    NullSha256,
    /// AES-CBC 128 with HMAC-SHA2-256 truncated to 96 bits, as a draft of RFC 4868 had it.
    AesCbc128Sha256T96,
    /// AES-CBC 256 with the same.
    AesCbc256Sha256T96,
    /// No encryption with the same.
    NullSha256T96,
    /// 3DES-CBC (RFC 2451) with HMAC-SHA1-96.
    TripleDesSha1,
    /// 3DES-CBC with HMAC-SHA2-256-128.
    TripleDesSha256,
    /// 3DES-CBC with HMAC-SHA2-256 truncated to 96 bits.
    TripleDesSha256T96,
}

use Algorithm::*;

impl Algorithm {
    /// Every algorithm, in the order of their numbers.
    pub const ALL: [Self; 17] = [
        AesGcm128,
        AesGcm256,
        AesGmac128,
        AesGmac256,
        ChaCha20Poly1305,
        AesCbc128Sha1,
        AesCbc256Sha1,
        AesCbc128Sha256,
        AesCbc256Sha256,
        NullSha1,
        NullSha256,
        AesCbc128Sha256T96,
        AesCbc256Sha256T96,
        NullSha256T96,
        TripleDesSha1,
        TripleDesSha256,
        TripleDesSha256T96,
    ];

    /// The inverse of `self as u8`.
    #[inline(always)]
    pub const fn from_number(n: u8) -> Option<Self> {
        if n == 0 || n as usize > Self::ALL.len() { None } else { Some(Self::ALL[n as usize - 1]) }
    }

    /// Octets of the cipher key.
    pub const fn cipher_key_len(self) -> usize {
        match self {
            AesGcm128 | AesGmac128 | AesCbc128Sha1 | AesCbc128Sha256 | AesCbc128Sha256T96 => 16,
            AesGcm256 | AesGmac256 | ChaCha20Poly1305 | AesCbc256Sha1 | AesCbc256Sha256 | AesCbc256Sha256T96 => 32,
            TripleDesSha1 | TripleDesSha256 | TripleDesSha256T96 => 24,
            NullSha1 | NullSha256 | NullSha256T96 => 0,
        }
    }

    /// Octets of the integrity key.
    pub const fn auth_key_len(self) -> usize {
        match self {
            AesCbc128Sha1 | AesCbc256Sha1 | NullSha1 | TripleDesSha1 => 20,
            AesCbc128Sha256 | AesCbc256Sha256 | NullSha256 | TripleDesSha256 => 32,
            AesCbc128Sha256T96 | AesCbc256Sha256T96 | NullSha256T96 | TripleDesSha256T96 => 32,
            AesGcm128 | AesGcm256 | AesGmac128 | AesGmac256 | ChaCha20Poly1305 => 0,
        }
    }

    /// Octets of the IV in the packet.
    #[inline(always)]
    pub const fn iv_len(self) -> usize {
        SIZES[self as usize].iv as usize
    }

    /// Octets of the ICV.
    #[inline(always)]
    pub const fn icv_len(self) -> usize {
        SIZES[self as usize].icv as usize
    }

    /// The part between IV and ICV is a multiple of this many octets (RFC 4303, section 2.4: at least 4).
    #[inline(always)]
    pub const fn block_len(self) -> usize {
        SIZES[self as usize].block as usize
    }

    /// AES-GCM, whatever the length of the key: the sizes are the same.
    #[inline]
    pub const fn is_gcm(self) -> bool {
        matches!(self, AesGcm128 | AesGcm256)
    }

    /// The nonce is made of a salt and the IV in the packet, which must never repeat under one key.
    #[inline]
    pub const fn is_aead(self) -> bool {
        matches!(self, AesGcm128 | AesGcm256 | AesGmac128 | AesGmac256 | ChaCha20Poly1305)
    }
}

/// What shapes a packet; read several times for each.
#[derive(Clone, Copy)]
struct Sizes {
    iv: u8,
    icv: u8,
    block: u8,
}

/// By number.
const SIZES: [Sizes; 18] = {
    let mut sizes = [Sizes { iv: 8, icv: 16, block: 4 }; 18];
    let mut i = 0;
    while i < Algorithm::ALL.len() {
        let algorithm = Algorithm::ALL[i];
        let own = &mut sizes[algorithm as usize];
        match algorithm {
            AesCbc128Sha1 | AesCbc256Sha1 | AesCbc128Sha256 | AesCbc256Sha256 => (own.iv, own.block) = (16, 16),
            AesCbc128Sha256T96 | AesCbc256Sha256T96 => (own.iv, own.block) = (16, 16),
            NullSha1 | NullSha256 | NullSha256T96 => own.iv = 0,
            TripleDesSha1 | TripleDesSha256 | TripleDesSha256T96 => own.block = 8,
            _ => {}
        }
        match algorithm {
            AesCbc128Sha1 | AesCbc256Sha1 | NullSha1 | TripleDesSha1 => own.icv = 12,
            AesCbc128Sha256T96 | AesCbc256Sha256T96 | NullSha256T96 | TripleDesSha256T96 => own.icv = 12,
            _ => {}
        }
        i += 1;
    }
    sizes
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip() {
        for a in Algorithm::ALL {
            assert_eq!(Algorithm::from_number(a as u8), Some(a));
        }
        assert_eq!(Algorithm::from_number(0), None);
        assert_eq!(Algorithm::from_number(18), None);
    }
}

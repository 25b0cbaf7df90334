//! Pseudorandom functions (IANA transform type 2) and prf+ (RFC 7296, section 2.13).

use super::Secret;
use aws_lc_rs::hmac;

/// A PRF: HMAC with SHA-2 (RFC 4868).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Prf {
    /// PRF_HMAC_SHA2_256 (5).
    HmacSha256,
    /// PRF_HMAC_SHA2_384 (6).
    HmacSha384,
    /// PRF_HMAC_SHA2_512 (7).
    HmacSha512,
}

impl Prf {
    /// From its IANA number.
    pub const fn from_id(id: u16) -> Option<Self> {
        Some(match id {
            5 => Self::HmacSha256,
            6 => Self::HmacSha384,
            7 => Self::HmacSha512,
            _ => return None,
        })
    }

    /// Octets of the output, and of the preferred key.
    #[allow(clippy::len_without_is_empty)]
    pub const fn len(self) -> usize {
        match self {
            Self::HmacSha256 => 32,
            Self::HmacSha384 => 48,
            Self::HmacSha512 => 64,
        }
    }

    const fn algorithm(self) -> hmac::Algorithm {
        match self {
            Self::HmacSha256 => hmac::HMAC_SHA256,
            Self::HmacSha384 => hmac::HMAC_SHA384,
            Self::HmacSha512 => hmac::HMAC_SHA512,
        }
    }

    /// prf(key, parts concatenated).
    pub fn mac(self, key: &[u8], parts: &[&[u8]]) -> Secret {
        Secret::new(tag(self.algorithm(), key, parts).as_ref().to_vec())
    }

    /// `len` octets of prf+(key, seed concatenated): T1 | T2 | ..., Tn = prf(key, Tn-1 | seed | n). At most 255 blocks.
    pub fn plus(self, key: &[u8], seed: &[&[u8]], len: usize) -> Secret {
        let mut out = Secret::new(Vec::with_capacity(len + self.len()));
        let mut last = Secret::new(Vec::new());
        for n in 1..=u8::MAX {
            if out.len() >= len {
                break;
            }
            let counter = [n];
            let parts: Vec<&[u8]> =
                std::iter::once(&last[..]).chain(seed.iter().copied()).chain(std::iter::once(&counter[..])).collect();
            last = self.mac(key, &parts);
            out.extend_from_slice(&last);
        }
        out.truncate(len);
        out
    }
}

pub(crate) fn tag(algorithm: hmac::Algorithm, key: &[u8], parts: &[&[u8]]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(&hmac::Key::new(algorithm, key));
    for part in parts {
        context.update(part);
    }
    context.sign()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;

    // RFC 4231, test case 2.
    #[test]
    fn hmac_of_rfc_4231() {
        let parts: [&[u8]; 2] = [b"what do ya want ", b"for nothing?"];
        assert_eq!(
            Prf::HmacSha256.mac(b"Jefe", &parts)[..],
            hex!("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
        );
        assert_eq!(
            Prf::HmacSha384.mac(b"Jefe", &parts)[..],
            hex!("af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649")
        );
        assert_eq!(Prf::HmacSha512.mac(b"Jefe", &parts)[..4], hex!("164b7a7b"));
    }

    #[test]
    fn plus_chains_its_blocks() {
        let (key, seed): (&[u8], &[&[u8]]) = (b"key", &[b"se", b"ed"]);
        let out = Prf::HmacSha256.plus(key, seed, 80);
        let t1 = Prf::HmacSha256.mac(key, &[b"seed", &[1]]);
        let t2 = Prf::HmacSha256.mac(key, &[&t1, b"seed", &[2]]);
        let t3 = Prf::HmacSha256.mac(key, &[&t2, b"seed", &[3]]);
        assert_eq!(out[..], [&t1[..], &t2[..], &t3[..16]].concat());
    }
}

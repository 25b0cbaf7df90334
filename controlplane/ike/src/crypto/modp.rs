//! The 2048-bit MODP group (RFC 3526, section 3), group 14: generator 2, a safe prime.

use super::{CryptoError, Secret};
use crypto_bigint::modular::{MontyForm, MontyParams};
use crypto_bigint::{Odd, U2048, Uint};
use std::sync::LazyLock;
use zeroize::Zeroizing;

/// Octets of a public value.
pub(super) const LEN: usize = 256;
/// Bits of a private exponent: twice the group's strength of 112 bits and more (RFC 3526, section 8).
const EXPONENT: usize = 320;
type Exponent = Uint<{ EXPONENT / 64 }>;

const PRIME: &str = "\
    FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD\
    EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED\
    EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F\
    83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B\
    E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510\
    15728E5A8AACAA68FFFFFFFFFFFFFFFF";

static GROUP: LazyLock<MontyParams<{ U2048::LIMBS }>> =
    LazyLock::new(|| MontyParams::new(Odd::<U2048>::from_be_hex(PRIME)));

/// A private exponent.
pub(super) struct Private(Zeroizing<[u8; EXPONENT / 8]>);

impl Private {
    pub(super) fn generate() -> Result<Self, CryptoError> {
        let mut bytes = Zeroizing::new([0; EXPONENT / 8]);
        aws_lc_rs::rand::fill(&mut bytes[..])?;
        Ok(Self(bytes))
    }

    fn raise(&self, base: &U2048) -> [u8; LEN] {
        let exponent = Exponent::from_be_slice(&self.0[..]);
        MontyForm::new(base, *GROUP).pow(&exponent).retrieve().to_be_bytes()
    }

    pub(super) fn public(&self) -> Vec<u8> {
        self.raise(&U2048::from_u8(2)).to_vec()
    }

    /// RFC 6989, section 2.1: 1 < peer < p - 1 for a safe prime.
    pub(super) fn agree(&self, peer: &[u8]) -> Result<Secret, CryptoError> {
        let peer: &[u8; LEN] = peer.try_into().map_err(|_| CryptoError::PublicValue)?;
        let value = U2048::from_be_slice(peer);
        let top = GROUP.modulus().get().wrapping_sub(&U2048::ONE);
        if value <= U2048::ONE || value >= top {
            return Err(CryptoError::PublicValue);
        }
        Ok(Secret::new(self.raise(&value).to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_agree() {
        let (a, b) = (Private::generate().unwrap(), Private::generate().unwrap());
        assert_eq!(a.agree(&b.public()).unwrap(), b.agree(&a.public()).unwrap());
        assert_ne!(a.public(), b.public());
    }

    #[test]
    fn known_powers() {
        let mut e = [0; EXPONENT / 8];
        e[EXPONENT / 8 - 2] = 1;
        let p = Private(Zeroizing::new(e)).public();
        let mut expected = [0; LEN];
        expected[LEN - 33] = 1;
        assert_eq!(p, expected);
        // 2^2048 mod p is 2^2048 - p, since p is greater than 2^2047.
        e = [0; EXPONENT / 8];
        e[EXPONENT / 8 - 2] = 8;
        let wrapped = U2048::ZERO.wrapping_sub(GROUP.modulus().as_ref()).to_be_bytes();
        assert_eq!(Private(Zeroizing::new(e)).public(), wrapped);
    }

    #[test]
    fn degenerate_values_are_refused() {
        let a = Private::generate().unwrap();
        let p = GROUP.modulus().get();
        for bad in [U2048::ZERO, U2048::ONE, p, p.wrapping_sub(&U2048::ONE), U2048::MAX] {
            assert_eq!(a.agree(&bad.to_be_bytes()).unwrap_err(), CryptoError::PublicValue);
        }
        assert!(a.agree(&[2; 255]).is_err() && a.agree(&[2; 257]).is_err());
    }
}

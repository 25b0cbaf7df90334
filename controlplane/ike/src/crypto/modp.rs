//! MODP groups: generator 2, a safe prime. Group 14 of 2048 bits (RFC 3526, section 3), and for IKEv1 alone group 2 of
//! 1024 bits (RFC 2409, section 6.2).

use super::{CryptoError, Secret};
use crypto_bigint::modular::{MontyForm, MontyParams};
use crypto_bigint::{Encoding, Odd, U1024, U2048, Uint};
use std::sync::LazyLock;
use zeroize::Zeroizing;

/// Bits of a private exponent: twice the greater group's strength of 112 bits and more (RFC 3526, section 8).
const EXPONENT: usize = 320;
type Exponent = Uint<{ EXPONENT / 64 }>;

const PRIME_1024: &str = "\
    FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD\
    EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED\
    EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF";

const PRIME_2048: &str = "\
    FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD\
    EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED\
    EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F\
    83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B\
    E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510\
    15728E5A8AACAA68FFFFFFFFFFFFFFFF";

static MODP_1024: LazyLock<MontyParams<{ U1024::LIMBS }>> =
    LazyLock::new(|| MontyParams::new(Odd::<U1024>::from_be_hex(PRIME_1024)));
static MODP_2048: LazyLock<MontyParams<{ U2048::LIMBS }>> =
    LazyLock::new(|| MontyParams::new(Odd::<U2048>::from_be_hex(PRIME_2048)));

/// A group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    Modp1024,
    Modp2048,
}

/// A private exponent.
pub(super) struct Private {
    group: Group,
    exponent: Zeroizing<[u8; EXPONENT / 8]>,
}

impl Private {
    pub(super) fn generate(group: Group) -> Result<Self, CryptoError> {
        let mut exponent = Zeroizing::new([0; EXPONENT / 8]);
        aws_lc_rs::rand::fill(&mut exponent[..])?;
        Ok(Self { group, exponent })
    }

    fn raise<const LIMBS: usize>(&self, params: &MontyParams<LIMBS>, base: &Uint<LIMBS>) -> Vec<u8>
    where
        Uint<LIMBS>: Encoding,
    {
        let exponent = Exponent::from_be_slice(&self.exponent[..]);
        MontyForm::new(base, *params).pow(&exponent).retrieve().to_be_bytes().as_ref().to_vec()
    }

    pub(super) fn public(&self) -> Vec<u8> {
        match self.group {
            Group::Modp1024 => self.raise(&MODP_1024, &U1024::from_u8(2)),
            Group::Modp2048 => self.raise(&MODP_2048, &U2048::from_u8(2)),
        }
    }

    pub(super) fn agree(&self, peer: &[u8]) -> Result<Secret, CryptoError> {
        match self.group {
            Group::Modp1024 => self.agree_in(&MODP_1024, peer),
            Group::Modp2048 => self.agree_in(&MODP_2048, peer),
        }
    }

    /// RFC 6989, section 2.1: 1 < peer < p - 1 for a safe prime.
    fn agree_in<const LIMBS: usize>(&self, params: &MontyParams<LIMBS>, peer: &[u8]) -> Result<Secret, CryptoError>
    where
        Uint<LIMBS>: Encoding,
    {
        if peer.len() != Uint::<LIMBS>::BYTES {
            return Err(CryptoError::PublicValue);
        }
        let value = Uint::from_be_slice(peer);
        let top = params.modulus().get().wrapping_sub(&Uint::ONE);
        if value <= Uint::ONE || value >= top {
            return Err(CryptoError::PublicValue);
        }
        Ok(Secret::new(self.raise(params, &value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Group; 2] = [Group::Modp1024, Group::Modp2048];

    #[test]
    fn both_ends_agree() {
        for group in BOTH {
            let (a, b) = (Private::generate(group).unwrap(), Private::generate(group).unwrap());
            assert_eq!(a.agree(&b.public()).unwrap(), b.agree(&a.public()).unwrap());
            assert_ne!(a.public(), b.public());
        }
    }

    #[test]
    fn known_powers() {
        let power = |group, at: usize, octet| {
            let mut exponent = Zeroizing::new([0; EXPONENT / 8]);
            exponent[EXPONENT / 8 - at] = octet;
            Private { group, exponent }.public()
        };
        for (group, len) in [(Group::Modp1024, 128), (Group::Modp2048, 256)] {
            let mut expected = vec![0; len];
            expected[len - 33] = 1;
            assert_eq!(power(group, 2, 1), expected);
        }
        // 2^2048 mod p is 2^2048 - p, since p is greater than 2^2047; and so of the other.
        assert_eq!(power(Group::Modp2048, 2, 8), U2048::ZERO.wrapping_sub(MODP_2048.modulus().as_ref()).to_be_bytes());
        assert_eq!(power(Group::Modp1024, 2, 4), U1024::ZERO.wrapping_sub(MODP_1024.modulus().as_ref()).to_be_bytes());
    }

    // RFC 2409, section 6.2: the prime is 2^1024 - 2^960 - 1 + 2^64 * { [2^894 pi] + 129093 }; pi gives it the beginning
    // that the other has.
    #[test]
    fn the_prime_of_group_2() {
        // 2^(p - 1) = 1, which is so of hardly any number that is not a prime.
        let p = MODP_1024.modulus().get();
        let one = MontyForm::new(&U1024::from_u8(2), *MODP_1024).pow(&p.wrapping_sub(&U1024::ONE)).retrieve();
        assert_eq!(one, U1024::ONE);
        assert_eq!(PRIME_1024[..234], PRIME_2048[..234]);
    }

    #[test]
    fn degenerate_values_are_refused() {
        let a = Private::generate(Group::Modp2048).unwrap();
        let p = MODP_2048.modulus().get();
        for bad in [U2048::ZERO, U2048::ONE, p, p.wrapping_sub(&U2048::ONE), U2048::MAX] {
            assert_eq!(a.agree(&bad.to_be_bytes()).unwrap_err(), CryptoError::PublicValue);
        }
        assert!(a.agree(&[2; 255]).is_err() && a.agree(&[2; 257]).is_err());
        let a = Private::generate(Group::Modp1024).unwrap();
        let p = MODP_1024.modulus().get();
        for bad in [U1024::ZERO, U1024::ONE, p, p.wrapping_sub(&U1024::ONE), U1024::MAX] {
            assert_eq!(a.agree(&bad.to_be_bytes()).unwrap_err(), CryptoError::PublicValue);
        }
        assert!(a.agree(&[2; 127]).is_err() && a.agree(&[2; 129]).is_err() && a.agree(&[2; 256]).is_err());
    }
}

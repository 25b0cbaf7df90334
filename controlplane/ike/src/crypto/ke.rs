//! Key exchange methods (IANA transform type 4, and type 6 for ML-KEM).
//!
//! | id | method | public value | shared secret |
//! |---|---|---|---|
//! | 2 | MODP 1024 (RFC 2409), in IKEv1 only | 128 octets | g^ir, 128 octets |
//! | 14 | MODP 2048 (RFC 3526) | 256 octets | g^ir, 256 octets |
//! | 19, 20 | P-256, P-384 (RFC 5903) | x, y: 64, 96 octets | x |
//! | 31 | Curve25519 (RFC 8031) | 32 octets | 32 octets |
//! | 36 | ML-KEM-768 | initiator: encapsulation key, 1184; responder: ciphertext, 1088 | 32 octets |

use super::modp::{Group, Private};
use super::{CryptoError, Secret};
use aws_lc_rs::{agreement, kem};

/// A key exchange method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeMethod {
    /// 1024-bit MODP, for IKEv1 alone: no policy of IKEv2 has it.
    Modp1024,
    /// 2048-bit MODP.
    Modp2048,
    /// NIST P-256.
    Ecp256,
    /// NIST P-384.
    Ecp384,
    /// X25519.
    Curve25519,
    /// ML-KEM-768, as an additional key exchange only (RFC 9370).
    MlKem768,
}

impl KeMethod {
    /// From its IANA number.
    pub const fn from_id(id: u16) -> Option<Self> {
        Some(match id {
            2 => Self::Modp1024,
            14 => Self::Modp2048,
            19 => Self::Ecp256,
            20 => Self::Ecp384,
            31 => Self::Curve25519,
            36 => Self::MlKem768,
            _ => return None,
        })
    }

    /// Its IANA number.
    pub const fn id(self) -> u16 {
        match self {
            Self::Modp1024 => 2,
            Self::Modp2048 => 14,
            Self::Ecp256 => 19,
            Self::Ecp384 => 20,
            Self::Curve25519 => 31,
            Self::MlKem768 => 36,
        }
    }
}

enum State {
    Modp(Private),
    // Algorithm, and whether the public value is an uncompressed point (with 04 in front).
    Ec(agreement::PrivateKey, &'static agreement::Algorithm, bool),
    Kem(Box<kem::DecapsulationKey>),
}

/// The initiator's half of an exchange.
pub struct KeyExchange(State);

impl std::fmt::Debug for KeyExchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyExchange(..)")
    }
}

fn ec(method: KeMethod) -> Result<(&'static agreement::Algorithm, bool), CryptoError> {
    match method {
        KeMethod::Ecp256 => Ok((&agreement::ECDH_P256, true)),
        KeMethod::Ecp384 => Ok((&agreement::ECDH_P384, true)),
        KeMethod::Curve25519 => Ok((&agreement::X25519, false)),
        KeMethod::Modp1024 | KeMethod::Modp2048 | KeMethod::MlKem768 => Err(CryptoError::Library),
    }
}

fn agree(
    key: &agreement::PrivateKey,
    algorithm: &'static agreement::Algorithm,
    point: bool,
    peer: &[u8],
) -> Result<Secret, CryptoError> {
    // RFC 5903, section 7: the octet that says "uncompressed" is not sent.
    let value = if point { [&[4], peer].concat() } else { peer.to_vec() };
    let peer = agreement::UnparsedPublicKey::new(algorithm, value);
    let secret = agreement::agree(key, peer, CryptoError::PublicValue, |s| Ok(Secret::new(s.to_vec())))?;
    // RFC 8031, section 2: an all-zero result is refused.
    if secret.iter().all(|&b| b == 0) { Err(CryptoError::PublicValue) } else { Ok(secret) }
}

impl KeyExchange {
    /// Makes an ephemeral key; gives the public value for the KE payload.
    pub fn initiate(method: KeMethod) -> Result<(Self, Vec<u8>), CryptoError> {
        match method {
            KeMethod::Modp1024 | KeMethod::Modp2048 => {
                let group = if method == KeMethod::Modp1024 { Group::Modp1024 } else { Group::Modp2048 };
                let private = Private::generate(group)?;
                let public = private.public();
                Ok((Self(State::Modp(private)), public))
            }
            KeMethod::MlKem768 => {
                let key = kem::DecapsulationKey::generate(&kem::ML_KEM_768)?;
                let public = key.encapsulation_key()?.key_bytes()?.as_ref().to_vec();
                Ok((Self(State::Kem(Box::new(key))), public))
            }
            KeMethod::Ecp256 | KeMethod::Ecp384 | KeMethod::Curve25519 => {
                let (algorithm, point) = ec(method)?;
                let key = agreement::PrivateKey::generate(algorithm)?;
                let public = key.compute_public_key()?;
                let public = public.as_ref().get(usize::from(point)..).unwrap_or_default().to_vec();
                Ok((Self(State::Ec(key, algorithm, point)), public))
            }
        }
    }

    /// The shared secret with the responder's public value.
    pub fn finish(&self, peer: &[u8]) -> Result<Secret, CryptoError> {
        match &self.0 {
            State::Modp(private) => private.agree(peer),
            State::Ec(key, algorithm, point) => agree(key, algorithm, *point, peer),
            State::Kem(key) => {
                let secret = key.decapsulate(peer.into()).map_err(|_| CryptoError::PublicValue)?;
                Ok(Secret::new(secret.as_ref().to_vec()))
            }
        }
    }
}

/// The responder's side: our public value and the shared secret.
pub fn respond(method: KeMethod, peer: &[u8]) -> Result<(Vec<u8>, Secret), CryptoError> {
    if method == KeMethod::MlKem768 {
        let key = kem::EncapsulationKey::new(&kem::ML_KEM_768, peer).map_err(|_| CryptoError::PublicValue)?;
        let (ciphertext, secret) = key.encapsulate().map_err(|_| CryptoError::PublicValue)?;
        return Ok((ciphertext.as_ref().to_vec(), Secret::new(secret.as_ref().to_vec())));
    }
    let (exchange, public) = KeyExchange::initiate(method)?;
    Ok((public, exchange.finish(peer)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;

    const ALL: [KeMethod; 6] = [
        KeMethod::Modp1024,
        KeMethod::Modp2048,
        KeMethod::Ecp256,
        KeMethod::Ecp384,
        KeMethod::Curve25519,
        KeMethod::MlKem768,
    ];

    #[test]
    fn both_ends_agree_and_sizes_are_the_rfcs() {
        for (method, i, r, s) in [
            (KeMethod::Modp1024, 128, 128, 128),
            (KeMethod::Modp2048, 256, 256, 256),
            (KeMethod::Ecp256, 64, 64, 32),
            (KeMethod::Ecp384, 96, 96, 48),
            (KeMethod::Curve25519, 32, 32, 32),
            (KeMethod::MlKem768, 1184, 1088, 32),
        ] {
            let (exchange, public) = KeyExchange::initiate(method).unwrap();
            let (answer, theirs) = respond(method, &public).unwrap();
            let ours = exchange.finish(&answer).unwrap();
            assert_eq!(ours, theirs, "{method:?}");
            assert_eq!((public.len(), answer.len(), ours.len()), (i, r, s), "{method:?}");
            assert_eq!(KeMethod::from_id(method.id()), Some(method));
        }
    }

    // RFC 5903, section 8.1: i, gr and the shared x.
    #[test]
    fn p256_of_rfc_5903() {
        let i = hex!("C88F01F510D9AC3F70A292DAA2316DE544E9AAB8AFE84049C62A9C57862D1433");
        let gr = hex!("D12DFB5289C8D4F81208B70270398C342296970A0BCCB74C736FC7554494BF63"
                      "56FBF3CA366CC23E8157854C13C58D6AAC23F046ADA30F8353E74F33039872AB");
        let x = hex!("D6840F6B42F6EDAFD13116E0E12565202FEF8E9ECE7DCE03812464D04B9442DE");
        let key = agreement::PrivateKey::from_private_key(&agreement::ECDH_P256, &i).unwrap();
        assert_eq!(agree(&key, &agreement::ECDH_P256, true, &gr).unwrap()[..], x);
    }

    // RFC 7748, section 6.1.
    #[test]
    fn x25519_of_rfc_7748() {
        let key = hex!("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
        let peer = hex!("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
        let shared = hex!("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
        let key = agreement::PrivateKey::from_private_key(&agreement::X25519, &key).unwrap();
        assert_eq!(agree(&key, &agreement::X25519, false, &peer).unwrap()[..], shared);
    }

    #[test]
    fn invalid_public_values_are_refused() {
        for method in ALL {
            for bad in [
                vec![],
                vec![0; 31],
                vec![0; 32],
                vec![0; 64],
                vec![0xff; 64],
                vec![0xff; 96],
                vec![0xff; 128],
                vec![0xff; 256],
            ] {
                assert!(respond(method, &bad).is_err(), "{method:?} took {} octets", bad.len());
            }
        }
    }
}

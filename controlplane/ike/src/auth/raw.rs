//! RSA signatures of IKEv1 (RFC 2409, section 5.1): PKCS #1 v1.5 over the hash alone, without the name of its algorithm.
//!
//! No other library that we have makes or verifies those. Private operations are blinded.

use super::AuthError;
use rand_core::{TryCryptoRng, TryRng};
use rsa::pkcs1::DecodeRsaPrivateKey;
use rsa::pkcs8::{DecodePrivateKey, DecodePublicKey};
use rsa::traits::PublicKeyParts;
use rsa::{Pkcs1v15Sign, PrivateKey, PublicKey};
use rustls_pki_types::PrivateKeyDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Octets of the shortest modulus.
const MODULUS: usize = 256;

/// The random numbers of aws-lc.
struct System;

impl TryRng for System {
    type Error = aws_lc_rs::error::Unspecified;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut octets = [0; 4];
        self.try_fill_bytes(&mut octets)?;
        Ok(u32::from_be_bytes(octets))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut octets = [0; 8];
        self.try_fill_bytes(&mut octets)?;
        Ok(u64::from_be_bytes(octets))
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Self::Error> {
        aws_lc_rs::rand::fill(dst)
    }
}

impl TryCryptoRng for System {}

/// An RSA key of 2048 bits or more.
pub(super) fn key(der: &PrivateKeyDer<'_>) -> Option<Box<PrivateKey>> {
    let key = match der {
        PrivateKeyDer::Pkcs1(k) => PrivateKey::from_pkcs1_der(k.secret_pkcs1_der()).ok()?,
        PrivateKeyDer::Pkcs8(k) => PrivateKey::from_pkcs8_der(k.secret_pkcs8_der()).ok()?,
        _ => return None,
    };
    (key.size() >= MODULUS).then(|| Box::new(key))
}

/// The signature of a hash.
pub(super) fn sign(key: &PrivateKey, hash: &[u8]) -> Result<Vec<u8>, AuthError> {
    key.sign_with_rng(&mut System, Pkcs1v15Sign::new_unprefixed(), hash).map_err(|_| AuthError::Library)
}

/// Verifies the signature of a hash with the key of a certificate (DER) that has been validated.
pub fn verify_raw(certificate_der: &[u8], hash: &[u8], signature: &[u8]) -> Result<(), AuthError> {
    let refused = |e: &dyn std::fmt::Display| AuthError::Certificate(e.to_string());
    let (_, certificate) = X509Certificate::from_der(certificate_der).map_err(|e| refused(&e))?;
    let key = PublicKey::from_public_key_der(certificate.public_key().raw).map_err(|_| AuthError::Algorithm)?;
    if key.size() < MODULUS {
        return Err(AuthError::Algorithm);
    }
    key.verify(Pkcs1v15Sign::new_unprefixed(), hash, signature).map_err(|_| AuthError::Signature)
}

#[cfg(test)]
#[path = "raw_tests.rs"]
mod tests;

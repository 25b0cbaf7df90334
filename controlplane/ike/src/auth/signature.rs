//! Signatures in AUTH: the Digital Signature method (RFC 7427; RFC 8420 for Ed25519), and ECDSA as RFC 4754 has it.
//!
//! The data of method 14 begins with the length of an AlgorithmIdentifier and its DER. A handful of them is acceptable,
//! so they are compared as octets. Signatures with SHA-1, which is what method 1 is, are not accepted (RFC 8247,
//! section 3.2).

use super::{AuthError, method};
use aws_lc_rs::signature as lc;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm};
use webpki::aws_lc_rs as algs;
use x509_parser::prelude::{FromDer, X509Certificate};

/// IANA's "IKEv2 Hash Algorithms", for SIGNATURE_HASH_ALGORITHMS.
pub mod hash {
    /// SHA2-256.
    pub const SHA256: u16 = 2;
    /// SHA2-384.
    pub const SHA384: u16 = 3;
    /// SHA2-512.
    pub const SHA512: u16 = 4;
    /// Identity: the algorithm hashes by itself (RFC 8420).
    pub const IDENTITY: u16 = 5;
    /// What we announce.
    pub const OURS: [u16; 4] = [SHA256, SHA384, SHA512, IDENTITY];
}

type Verifier = &'static dyn SignatureVerificationAlgorithm;

const RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
const ECDSA: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];
const SHA2: &[u8] = &[0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];
const NULL: &[u8] = &[0x05, 0x00];

fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&[tag, body.len() as u8][..], &body].concat()
}

/// AlgorithmIdentifier of RSASSA-PKCS1-v1_5 with SHA-2; `n` is 11, 12 or 13 for SHA-256, -384, -512.
pub(super) fn rsa_pkcs1(n: u8) -> Vec<u8> {
    tlv(0x30, &[RSA, &[n], NULL])
}

/// AlgorithmIdentifier of ECDSA with SHA-2; `n` is 2, 3 or 4.
pub(super) fn ecdsa(n: u8) -> Vec<u8> {
    tlv(0x30, &[ECDSA, &[n]])
}

/// AlgorithmIdentifier of Ed25519.
pub(super) const ED25519: &[u8] = &[0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];

/// AlgorithmIdentifier of RSASSA-PSS with SHA-2 (`n` is 1, 2 or 3), MGF1 with the same hash, and a salt of its length.
/// Encoders differ in two harmless ways, the NULL of the hash and an explicit default trailer field.
pub(super) fn rsa_pss(n: u8, null: bool, trailer: bool) -> Vec<u8> {
    let salt = [32, 48, 64][usize::from(n.clamp(1, 3) - 1)];
    let hash = tlv(0x30, &[SHA2, &[n], if null { NULL } else { &[] }]);
    let mgf = tlv(0x30, &[RSA, &[8], &hash]);
    let mut parameters = vec![tlv(0xa0, &[&hash]), tlv(0xa1, &[&mgf]), vec![0xa2, 0x03, 0x02, 0x01, salt]];
    if trailer {
        parameters.push(vec![0xa3, 0x03, 0x02, 0x01, 0x01]);
    }
    let parameters = tlv(0x30, &[&parameters.concat()]);
    tlv(0x30, &[RSA, &[10], &parameters])
}

// For ECDSA the curve is the key's, so each hash has a verifier per curve.
fn verifiers(identifier: &[u8]) -> Vec<Verifier> {
    let pss = |n| [false, true].iter().any(|&a| [false, true].iter().any(|&b| rsa_pss(n, a, b) == identifier));
    match identifier {
        i if i == ED25519 => vec![algs::ED25519],
        i if i == ecdsa(2) => vec![algs::ECDSA_P256_SHA256, algs::ECDSA_P384_SHA256],
        i if i == ecdsa(3) => vec![algs::ECDSA_P256_SHA384, algs::ECDSA_P384_SHA384],
        i if i == ecdsa(4) => vec![algs::ECDSA_P256_SHA512, algs::ECDSA_P384_SHA512],
        i if i == rsa_pkcs1(11) => vec![algs::RSA_PKCS1_2048_8192_SHA256],
        i if i == rsa_pkcs1(12) => vec![algs::RSA_PKCS1_2048_8192_SHA384],
        i if i == rsa_pkcs1(13) => vec![algs::RSA_PKCS1_2048_8192_SHA512],
        _ if pss(1) => vec![algs::RSA_PSS_2048_8192_SHA256_LEGACY_KEY],
        _ if pss(2) => vec![algs::RSA_PSS_2048_8192_SHA384_LEGACY_KEY],
        _ if pss(3) => vec![algs::RSA_PSS_2048_8192_SHA512_LEGACY_KEY],
        _ => Vec::new(),
    }
}

/// Verifies AUTH data over `octets` with the key of a certificate (DER) that has been validated.
pub(super) fn verify(certificate: &[u8], kind: u8, octets: &[u8], data: &[u8]) -> Result<(), AuthError> {
    if kind == method::SIGNATURE {
        let (&len, rest) = data.split_first().ok_or(AuthError::Algorithm)?;
        let (identifier, signature) = rest.split_at_checked(usize::from(len)).ok_or(AuthError::Algorithm)?;
        let candidates = verifiers(identifier);
        if candidates.is_empty() {
            return Err(AuthError::Algorithm);
        }
        let der = CertificateDer::from(certificate);
        let entity = webpki::EndEntityCert::try_from(&der).map_err(|e| AuthError::Certificate(e.to_string()))?;
        let good = candidates.iter().any(|v| entity.verify_signature(*v, octets, signature).is_ok());
        return if good { Ok(()) } else { Err(AuthError::Signature) };
    }
    let algorithm = match kind {
        method::ECDSA_256 => &lc::ECDSA_P256_SHA256_FIXED,
        method::ECDSA_384 => &lc::ECDSA_P384_SHA384_FIXED,
        other => return Err(AuthError::Method(other)),
    };
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|e| AuthError::Certificate(e.to_string()))?;
    let key = &parsed.public_key().subject_public_key.data;
    lc::UnparsedPublicKey::new(algorithm, key).verify(octets, data).map_err(|_| AuthError::Signature)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;

    // RFC 7427, appendix A.
    #[test]
    fn identifiers_of_rfc_7427() {
        assert_eq!(rsa_pkcs1(11), hex!("300d06092a864886f70d01010b0500"));
        assert_eq!(ecdsa(2), hex!("300a06082a8648ce3d040302"));
        assert_eq!(
            rsa_pss(1, true, false),
            hex!("304106092a864886f70d01010a3034a00f300d06096086480165030402010500"
                 "a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120")
        );
    }

    #[test]
    fn sha1_and_garbage_are_no_algorithms() {
        // sha1WithRSAEncryption, ecdsa-with-SHA1.
        for bad in [&hex!("300d06092a864886f70d0101050500")[..], &hex!("300906072a8648ce3d0401"), &[], &[0x30]] {
            assert!(verifiers(bad).is_empty());
            let data = [&[bad.len() as u8], bad, b"signature"].concat();
            assert_eq!(verify(&[], method::SIGNATURE, b"x", &data), Err(AuthError::Algorithm));
        }
        assert_eq!(verify(&[], method::SIGNATURE, b"x", &[9, 1]), Err(AuthError::Algorithm));
        assert_eq!(verify(&[], 1, b"x", &[]), Err(AuthError::Method(1)));
    }
}

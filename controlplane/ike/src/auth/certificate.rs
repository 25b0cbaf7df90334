//! Certificates: our chain and key, and the validation of a peer's.
//!
//! A peer's chain must lead to one of our anchors (RFC 5280, by webpki), be of the time, not be revoked by a list we have,
//! have key usages that IKE accepts (RFC 4945, sections 5.1.3.2 and 5.1.3.12), and name the identity the peer claims
//! (H22).

use super::signature::{self, hash};
use super::{AuthError, Dn, Identity, method, raw};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::{digest, rsa, signature as lc};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime};
use std::net::IpAddr;
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, ExtendedKeyUsageValidator, KeyPurposeIdIter,
    OwnedCertRevocationList, RevocationOptionsBuilder, UnknownStatusPolicy, anchor_from_trusted_cert,
};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

fn load(what: &str, e: impl std::fmt::Display) -> AuthError {
    AuthError::Load(format!("{what}: {e}"))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, AuthError> {
    let all: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|e| load("certificate", e))?;
    if all.is_empty() { Err(load("certificate", "no certificate in the file")) } else { Ok(all) }
}

enum Key {
    // For IKEv1's signatures as well, unless the key is one that they cannot be made with.
    Rsa { key: Box<rsa::KeyPair>, raw: Option<Box<::rsa::PrivateKey>> },
    // ASN.1 signatures for method 14, and the fixed form for RFC 4754's methods, of P-256 or P-384.
    Ecdsa { asn1: Box<lc::EcdsaKeyPair>, fixed: Box<lc::EcdsaKeyPair>, p384: bool },
    Ed25519(Box<lc::Ed25519KeyPair>),
}

/// Our certificate chain and private key.
pub struct Credential {
    chain: Vec<Vec<u8>>,
    key: Key,
}

impl Credential {
    /// From PEM: the chain with our certificate first, and the key in PKCS#8, PKCS#1 or SEC1.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, AuthError> {
        let chain: Vec<Vec<u8>> = certificates(chain)?.into_iter().map(|c| c.to_vec()).collect();
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| load("private key", e))?;
        let key =
            Key::from_der(&key).ok_or_else(|| load("private key", "neither RSA, ECDSA P-256/P-384 nor Ed25519"))?;
        let credential = Self { chain, key };
        credential.check_pair()?;
        Ok(credential)
    }

    // The key must be the certificate's.
    fn check_pair(&self) -> Result<(), AuthError> {
        let (kind, data) = self.sign(b"probe", &hash::OURS)?;
        let own = self.chain.first().map_or(&[][..], |c| c);
        signature::verify(own, kind, b"probe", &data)
            .map_err(|_| load("private key", "it does not belong to the certificate, or RSA has less than 2048 bits"))
    }

    /// The name in our certificate.
    pub fn subject(&self) -> Option<Dn> {
        subject(self.chain.first()?).ok()
    }

    /// The certificates, ours first.
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// Whether [`Self::sign_raw`] can be had.
    pub fn signs_raw(&self) -> bool {
        matches!(&self.key, Key::Rsa { raw: Some(_), .. })
    }

    /// IKEv1's signature of a hash (RFC 2409, section 5.1), for which the key must be RSA.
    pub fn sign_raw(&self, hash: &[u8]) -> Result<Vec<u8>, AuthError> {
        match &self.key {
            Key::Rsa { raw: Some(key), .. } => raw::sign(key, hash),
            _ => Err(AuthError::Algorithm),
        }
    }

    /// AUTH method and data, by what the peer can verify.
    pub(super) fn sign(&self, octets: &[u8], hashes: &[u16]) -> Result<(u8, Vec<u8>), AuthError> {
        let rng = SystemRandom::new();
        let framed = |identifier: &[u8], signature: &[u8]| {
            (method::SIGNATURE, [&[identifier.len() as u8], identifier, signature].concat())
        };
        match &self.key {
            Key::Rsa { key, .. } => {
                let (n, encoding) = [
                    (hash::SHA256, 1, &lc::RSA_PSS_SHA256),
                    (hash::SHA384, 2, &lc::RSA_PSS_SHA384),
                    (hash::SHA512, 3, &lc::RSA_PSS_SHA512),
                ]
                .into_iter()
                .find(|(h, ..)| hashes.contains(h))
                .map(|(_, n, e)| (n, e))
                .ok_or(AuthError::Algorithm)?;
                let mut out = vec![0; key.public_modulus_len()];
                key.sign(encoding, &rng, octets, &mut out).map_err(|_| AuthError::Library)?;
                Ok(framed(&signature::rsa_pss(n, true, false), &out))
            }
            Key::Ecdsa { asn1, fixed, p384 } => {
                let (n, h, old) =
                    if *p384 { (3, hash::SHA384, method::ECDSA_384) } else { (2, hash::SHA256, method::ECDSA_256) };
                if hashes.contains(&h) {
                    let s = asn1.sign(&rng, octets).map_err(|_| AuthError::Library)?;
                    Ok(framed(&signature::ecdsa(n), s.as_ref()))
                } else {
                    let s = fixed.sign(&rng, octets).map_err(|_| AuthError::Library)?;
                    Ok((old, s.as_ref().to_vec()))
                }
            }
            Key::Ed25519(key) => {
                if !hashes.contains(&hash::IDENTITY) {
                    return Err(AuthError::Algorithm);
                }
                let s = key.try_sign(octets).map_err(|_| AuthError::Library)?;
                Ok(framed(signature::ED25519, s.as_ref()))
            }
        }
    }
}

impl Key {
    fn from_der(der: &PrivateKeyDer<'_>) -> Option<Self> {
        let ecdsa = |make: &dyn Fn(&'static lc::EcdsaSigningAlgorithm) -> Option<lc::EcdsaKeyPair>| {
            let p256 = make(&lc::ECDSA_P256_SHA256_ASN1_SIGNING).zip(make(&lc::ECDSA_P256_SHA256_FIXED_SIGNING));
            let p384 = || make(&lc::ECDSA_P384_SHA384_ASN1_SIGNING).zip(make(&lc::ECDSA_P384_SHA384_FIXED_SIGNING));
            let is_384 = p256.is_none();
            let (asn1, fixed) = p256.or_else(p384)?;
            Some(Self::Ecdsa { asn1: Box::new(asn1), fixed: Box::new(fixed), p384: is_384 })
        };
        let rsa = |key: rsa::KeyPair| Self::Rsa { key: Box::new(key), raw: raw::key(der) };
        match der {
            PrivateKeyDer::Pkcs1(k) => rsa::KeyPair::from_der(k.secret_pkcs1_der()).ok().map(rsa),
            PrivateKeyDer::Sec1(k) => {
                let k = k.secret_sec1_der();
                ecdsa(&|a| lc::EcdsaKeyPair::from_private_key_der(a, k).ok())
            }
            PrivateKeyDer::Pkcs8(k) => {
                let k = k.secret_pkcs8_der();
                let rsa = rsa::KeyPair::from_pkcs8(k).ok().map(rsa);
                let ed = || lc::Ed25519KeyPair::from_pkcs8(k).ok().map(|k| Self::Ed25519(Box::new(k)));
                rsa.or_else(ed).or_else(|| ecdsa(&|a| lc::EcdsaKeyPair::from_pkcs8(a, k).ok()))
            }
            _ => None,
        }
    }
}

/// Trust anchors and revocation lists.
pub struct Trust {
    roots: Vec<CertificateDer<'static>>,
    crls: Vec<CertRevocationList<'static>>,
    strict_crl: bool,
}

// RFC 4945, section 5.1.3.12: none, id-kp-ipsecIKE, anyExtendedKeyUsage; and what certificates of VPN peers usually have:
// serverAuth, clientAuth, Microsoft's iKEIntermediate.
const USAGES: [&[usize]; 5] = [
    &[1, 3, 6, 1, 5, 5, 7, 3, 17],
    &[2, 5, 29, 37, 0],
    &[1, 3, 6, 1, 5, 5, 7, 3, 1],
    &[1, 3, 6, 1, 5, 5, 7, 3, 2],
    &[1, 3, 6, 1, 5, 5, 8, 2, 2],
];

struct IkeUsage;

impl ExtendedKeyUsageValidator for IkeUsage {
    fn validate(&self, present: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let mut none = true;
        for usage in present {
            none = false;
            let oid: Vec<usize> = usage?.to_decoded_oid();
            if USAGES.contains(&oid.as_slice()) {
                return Ok(());
            }
        }
        if none { Ok(()) } else { Err(webpki::Error::CaUsedAsEndEntity) }
    }
}

impl Trust {
    /// From PEM: anchors in one file, revocation lists in any number of files.
    pub fn from_pem(roots: &[u8], crls: &[Vec<u8>]) -> Result<Self, AuthError> {
        let roots = certificates(roots)?;
        for root in &roots {
            anchor_from_trusted_cert(root).map_err(|e| load("trust anchor", e))?;
        }
        let mut lists = Vec::new();
        for pem in crls {
            for der in CertificateRevocationListDer::pem_slice_iter(pem) {
                let der = der.map_err(|e| load("CRL", e))?;
                lists.push(OwnedCertRevocationList::from_der(&der).map_err(|e| load("CRL", e))?.into());
            }
        }
        Ok(Self { roots, crls: lists, strict_crl: false })
    }

    /// What is to be thought of a certificate whose issuer has no list here. Strict: it is refused. A list that is out of
    /// date vouches for nobody in any case.
    pub fn strict_crl(self, strict: bool) -> Self {
        Self { strict_crl: strict, ..self }
    }

    /// Validates a chain for `id`; gives the peer's own certificate.
    pub(crate) fn validate<'a>(
        &self,
        certs: &'a [Vec<u8>],
        id: &Identity,
        now: UnixTime,
    ) -> Result<&'a [u8], AuthError> {
        let own = self.verify(certs, now, ExpirationPolicy::Enforce)?;
        usable(own)?;
        if names(own, id)? { Ok(own) } else { Err(AuthError::Identity(id.clone())) }
    }

    /// Whether a list, of whatever age, revokes a certificate of the chain.
    pub(crate) fn revokes(&self, certs: &[Vec<u8>], now: UnixTime) -> bool {
        matches!(self.verify(certs, now, ExpirationPolicy::Ignore), Err(AuthError::Revoked))
    }

    /// Verifies a chain; gives the certificate at its end.
    fn verify<'a>(
        &self,
        certs: &'a [Vec<u8>],
        now: UnixTime,
        expiration: ExpirationPolicy,
    ) -> Result<&'a [u8], AuthError> {
        let (own, rest) = certs.split_first().ok_or_else(|| AuthError::Certificate("none was sent".into()))?;
        let der = CertificateDer::from(own.as_slice());
        let entity = EndEntityCert::try_from(&der).map_err(|e| AuthError::Certificate(e.to_string()))?;
        let anchors: Vec<_> = self.roots.iter().filter_map(|r| anchor_from_trusted_cert(r).ok()).collect();
        let intermediates: Vec<_> = rest.iter().map(|c| CertificateDer::from(c.as_slice())).collect();
        let lists: Vec<&CertRevocationList<'_>> = self.crls.iter().collect();
        let status = if self.strict_crl { UnknownStatusPolicy::Deny } else { UnknownStatusPolicy::Allow };
        let revocation = RevocationOptionsBuilder::new(&lists).ok();
        let revocation = revocation.map(|b| b.with_status_policy(status).with_expiration_policy(expiration).build());
        if self.strict_crl && revocation.is_none() {
            return Err(AuthError::Untrusted("there is no revocation list".to_owned()));
        }
        entity
            .verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, &intermediates, now, IkeUsage, revocation, None)
            .map_err(|e| match e {
                webpki::Error::CertRevoked => AuthError::Revoked,
                other => AuthError::Untrusted(other.to_string()),
            })?;
        Ok(own)
    }

    /// The name of each anchor, for certificate requests of IKEv1 (RFC 2408, section 3.10).
    pub(crate) fn authority_names(&self) -> Vec<Vec<u8>> {
        let name = |der: &CertificateDer<'_>| {
            let (_, c) = X509Certificate::from_der(der).ok()?;
            Some(c.subject().as_raw().to_vec())
        };
        self.roots.iter().filter_map(name).collect()
    }

    /// SHA-1 of each anchor's SubjectPublicKeyInfo, for CERTREQ (RFC 7296, section 3.7).
    pub fn authority_hashes(&self) -> Vec<Vec<u8>> {
        let spki = |der: &CertificateDer<'_>| {
            let (_, c) = X509Certificate::from_der(der).ok()?;
            Some(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, c.public_key().raw).as_ref().to_vec())
        };
        self.roots.iter().filter_map(spki).collect()
    }
}

fn subject(certificate: &[u8]) -> Result<Dn, AuthError> {
    let refused = |e: String| AuthError::Certificate(e);
    let (_, c) = X509Certificate::from_der(certificate).map_err(|e| refused(e.to_string()))?;
    Dn::from_der(c.subject().as_raw()).map_err(|e| refused(e.to_string()))
}

// RFC 4945, section 5.1.3.2: a key usage, where there is one, must allow signatures.
fn usable(certificate: &[u8]) -> Result<(), AuthError> {
    let refused = |e: String| AuthError::Certificate(e);
    let (_, c) = X509Certificate::from_der(certificate).map_err(|e| refused(e.to_string()))?;
    match c.key_usage().map_err(|e| refused(e.to_string()))? {
        Some(usage) if !usage.value.digital_signature() && !usage.value.non_repudiation() => {
            Err(AuthError::Untrusted("its key usage does not allow signatures".to_owned()))
        }
        _ => Ok(()),
    }
}

// Whether the certificate names the identity: a subjectAltName, or the subject itself for a DN.
fn names(certificate: &[u8], id: &Identity) -> Result<bool, AuthError> {
    if let Identity::Dn(dn) = id {
        return Ok(subject(certificate)? == *dn);
    }
    let (_, c) = X509Certificate::from_der(certificate).map_err(|e| AuthError::Certificate(e.to_string()))?;
    let san = c.subject_alternative_name().map_err(|e| AuthError::Certificate(e.to_string()))?;
    let Some(san) = san else { return Ok(false) };
    Ok(san.value.general_names.iter().any(|name| match (name, id) {
        (GeneralName::DNSName(n), Identity::Fqdn(f)) => n.eq_ignore_ascii_case(f),
        (GeneralName::RFC822Name(n), Identity::Rfc822(m)) => {
            matches!(Identity::parse(&[&[3, 0, 0, 0], n.as_bytes()].concat()), Ok(Identity::Rfc822(n)) if n == *m)
        }
        (GeneralName::IPAddress(octets), Identity::Address(IpAddr::V4(a))) => *octets == a.octets(),
        (GeneralName::IPAddress(octets), Identity::Address(IpAddr::V6(a))) => *octets == a.octets(),
        _ => false,
    }))
}

#[cfg(test)]
#[path = "certificate_tests.rs"]
mod tests;

//! Authentication: who may be whom, and the AUTH payload (RFC 7296, section 2.15).
//!
//! ```text
//!   signed octets = first message of that side | the other side's nonce | prf(SK_p, ID payload body) [| IntAuth]
//!   AUTH = prf(prf(secret, "Key Pad for IKEv2"), signed octets)        pre-shared key
//!        = signature(signed octets)                                     certificate; RFC 7427, or RFC 4754's methods
//!        = as with a pre-shared key, the secret being the MSK           EAP (section 2.16), after the other two
//! ```
//!
//! IntAuth is there when IKE_INTERMEDIATE was used (RFC 9242, section 3.3.2). What a peer proves is bound to the identity
//! it claims: a pre-shared key belongs to one identity, and a certificate must name it (H22).

pub mod certificate;
pub mod dn;
pub mod identity;
mod raw;
pub mod signature;

pub use certificate::{Credential, Trust};
pub use dn::Dn;
pub use identity::{IdMatch, Identity};
pub use raw::verify_raw;

use crate::crypto::{Prf, Secret};
use rustls_pki_types::UnixTime;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// AUTH methods (IANA). RSA Digital Signature (1) is not among them: its hash is not negotiated and is SHA-1 (RFC 7296,
/// section 3.8), with which signatures MUST NOT be made (RFC 8247, section 3.2). A peer with an RSA key has to speak
/// RFC 7427.
pub mod method {
    /// Shared Key Message Integrity Code.
    pub const SHARED_KEY: u8 = 2;
    /// ECDSA with SHA-256 on P-256 (RFC 4754).
    pub const ECDSA_256: u8 = 9;
    /// ECDSA with SHA-384 on P-384 (RFC 4754).
    pub const ECDSA_384: u8 = 10;
    /// Digital Signature (RFC 7427).
    pub const SIGNATURE: u8 = 14;
}

/// Why authentication failed, or cannot be tried. Never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// AUTH method that does not fit the credential, or that we do not accept.
    #[error("authentication method {0} is not acceptable")]
    Method(u8),
    /// Wrong pre-shared key, or a forged message.
    #[error("pre-shared key does not match")]
    SharedKey,
    /// Signature algorithm not known or not acceptable.
    #[error("signature algorithm is not acceptable")]
    Algorithm,
    /// Signature wrong.
    #[error("signature does not verify")]
    Signature,
    /// No certificate came, or it cannot be read.
    #[error("no usable certificate: {0}")]
    Certificate(String),
    /// A revocation list names a certificate of the chain.
    #[error("certificate is revoked")]
    Revoked,
    /// The chain does not lead to a trust anchor, is expired, or is not for signatures.
    #[error("certificate is not trusted: {0}")]
    Untrusted(String),
    /// A valid certificate, but of somebody else (H22).
    #[error("certificate does not name the identity {0}")]
    Identity(Identity),
    /// PEM or key file.
    #[error("{0}")]
    Load(String),
    /// The library failed.
    #[error("cryptographic library failed")]
    Library,
}

/// How a peer proves who it is.
#[derive(Clone)]
pub enum RemoteAuth {
    /// By a pre-shared key of its own.
    Psk(Secret),
    /// By a certificate under one of these anchors.
    Certificate(Arc<Trust>),
    /// By EAP (RFC 7296, section 2.16): an initiator by an EAP method that the owner has carried elsewhere, a responder
    /// (RFC 5998) by knowing the key that the method gave.
    Eap,
}

/// How we prove who we are.
#[derive(Clone)]
pub enum LocalAuth {
    /// By the pre-shared key.
    Psk(Secret),
    /// By our certificate.
    Certificate(Arc<Credential>),
    /// By EAP, as an initiator; as a responder only where the peer is [`RemoteAuth::Eap`] too (RFC 5998).
    Eap,
}

impl std::fmt::Debug for RemoteAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Psk(_) => "Psk(..)",
            Self::Certificate(_) => "Certificate(..)",
            Self::Eap => "Eap",
        })
    }
}

impl std::fmt::Debug for LocalAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Psk(_) => "Psk(..)",
            Self::Certificate(_) => "Certificate(..)",
            Self::Eap => "Eap",
        })
    }
}

/// The octets that AUTH covers. `id` is the body of the ID payload of the side that authenticates itself, `sk_p` its
/// SK_pi or SK_pr, `int_auth` what RFC 9242 adds (empty without IKE_INTERMEDIATE).
pub fn signed_octets(message: &[u8], nonce: &[u8], prf: Prf, sk_p: &[u8], id: &[u8], int_auth: &[u8]) -> Secret {
    Secret::new([message, nonce, &prf.mac(sk_p, &[id])[..], int_auth].concat())
}

/// The AUTH data of a shared secret: a pre-shared key, or after EAP the MSK.
pub(crate) fn psk(prf: Prf, secret: &[u8], octets: &[u8]) -> Secret {
    prf.mac(&prf.mac(secret, &[b"Key Pad for IKEv2"]), &[octets])
}

impl LocalAuth {
    /// A pre-shared key.
    pub fn psk(secret: &[u8]) -> Self {
        Self::Psk(Secret::new(secret.to_vec()))
    }

    /// A certificate chain and its key, PEM.
    pub fn certificate(chain: &[u8], key: &[u8]) -> Result<Self, AuthError> {
        Credential::from_pem(chain, key).map(|c| Self::Certificate(Arc::new(c)))
    }

    /// AUTH method and data; none before EAP. `hashes` are the peer's SIGNATURE_HASH_ALGORITHMS; empty when it sent none,
    /// and then only RFC 4754's methods remain.
    pub fn authenticate(&self, prf: Prf, octets: &[u8], hashes: &[u16]) -> Result<Option<(u8, Vec<u8>)>, AuthError> {
        match self {
            Self::Psk(secret) => Ok(Some((method::SHARED_KEY, psk(prf, secret, octets).to_vec()))),
            Self::Certificate(c) => c.sign(octets, hashes).map(Some),
            Self::Eap => Ok(None),
        }
    }

    /// `id` in the octets of our certificate, when it is the name in it: peers that compare octets then find it there.
    pub fn spelled(&self, id: Identity) -> Identity {
        match (self, id) {
            (Self::Certificate(c), Identity::Dn(dn)) => {
                Identity::Dn(c.subject().filter(|subject| *subject == dn).unwrap_or(dn))
            }
            (Self::Psk(_) | Self::Certificate(_) | Self::Eap, id) => id,
        }
    }

    /// Certificates to send, ours first (DER).
    pub fn chain(&self) -> &[Vec<u8>] {
        match self {
            Self::Psk(_) | Self::Eap => &[],
            Self::Certificate(c) => c.chain(),
        }
    }
}

impl RemoteAuth {
    /// A pre-shared key.
    pub fn psk(secret: &[u8]) -> Self {
        Self::Psk(Secret::new(secret.to_vec()))
    }

    /// Trust anchors and revocation lists, PEM.
    pub fn certificate(roots: &[u8], crls: &[Vec<u8>]) -> Result<Self, AuthError> {
        Trust::from_pem(roots, crls).map(|t| Self::Certificate(Arc::new(t)))
    }

    /// Verifies the peer's AUTH payload, and that its credential is that of `id`. `certs` are its CERT payloads (DER), its
    /// own first; `now` is the wall clock.
    pub fn verify(
        &self,
        prf: Prf,
        octets: &[u8],
        (kind, data): (u8, &[u8]),
        id: &Identity,
        certs: &[Vec<u8>],
        now: UnixTime,
    ) -> Result<(), AuthError> {
        match (self, kind) {
            (Self::Psk(secret), method::SHARED_KEY) => {
                if bool::from(psk(prf, secret, octets).ct_eq(data)) {
                    Ok(())
                } else {
                    Err(AuthError::SharedKey)
                }
            }
            (Self::Certificate(trust), method::ECDSA_256 | method::ECDSA_384 | method::SIGNATURE) => {
                let own = trust.validate(certs, id, now)?;
                signature::verify(own, kind, octets, data)
            }
            _ => Err(AuthError::Method(kind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_eap_the_msk_is_the_secret() {
        // Computed with another implementation of HMAC-SHA-256, by the formula of RFC 7296, section 2.15.
        let msk: Vec<u8> = (0..64).collect();
        let id: Identity = "alice@example.net".parse().unwrap();
        let (message, nonce) = (b"first message", b"nonce of the other side");
        let signed = signed_octets(message, nonce, Prf::HmacSha256, b"sk_pi", &id.body(), &[]);
        let expected = hex_literal::hex!("5a89ac9f2a47a64b8cccf694bf4299518f66427aea1ffbe4eec359d31a9c29ad");
        assert_eq!(psk(Prf::HmacSha256, &msk, &signed)[..], expected);
    }

    #[test]
    fn psk_binds_key_message_nonce_and_identity() {
        let (local, remote) = (LocalAuth::psk(b"secret"), RemoteAuth::psk(b"secret"));
        let id: Identity = "alice@example.net".parse().unwrap();
        let now = UnixTime::since_unix_epoch(std::time::Duration::ZERO);
        let octets = |m: &[u8], n: &[u8], id: &[u8]| signed_octets(m, n, Prf::HmacSha256, b"sk_p", id, &[]);
        let good = octets(b"message", b"nonce", &id.body());
        let (kind, data) = local.authenticate(Prf::HmacSha256, &good, &[]).unwrap().unwrap();
        let check = |r: &RemoteAuth, o: &[u8]| r.verify(Prf::HmacSha256, o, (kind, &data), &id, &[], now);
        assert_eq!(check(&remote, &good), Ok(()));
        assert_eq!(check(&RemoteAuth::psk(b"secreT"), &good), Err(AuthError::SharedKey));
        for bad in [
            octets(b"massage", b"nonce", &id.body()),
            octets(b"message", b"nonse", &id.body()),
            octets(b"message", b"nonce", b"bob"),
        ] {
            assert_eq!(check(&remote, &bad), Err(AuthError::SharedKey));
        }
        assert_eq!(
            remote.verify(Prf::HmacSha256, &good, (method::SIGNATURE, &data), &id, &[], now),
            Err(AuthError::Method(14))
        );
        assert!(!format!("{local:?}{remote:?}").contains("secret"));
    }
}

//! TLS towards a gateway: its certificate is verified by trust anchors, or is the one whose fingerprint the operator has
//! compared. One that is neither is shown, and nothing is sent.

use crate::error::Error;
use crate::settings::Gateway;
use ::aws_lc_rs::digest::{SHA256, digest};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, OtherError, RootCertStore,
    SignatureScheme,
};

/// A connector that knows whom to believe.
pub fn connector(gateway: &Gateway) -> Result<TlsConnector, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::Usage(e.to_string()))?;
    let builder = match &gateway.ca {
        Some(file) => builder.with_root_certificates(anchors(file)?),
        None => builder.dangerous().with_custom_certificate_verifier(Arc::new(Pin::new(gateway, &provider)?)),
    };
    let config = match (&gateway.certificate, &gateway.key) {
        (Some(chain), Some(key)) => {
            let own = PrivateKeyDer::from_pem_file(key).map_err(|e| Error::file(key, e))?;
            builder.with_client_auth_cert(certificates(chain)?, own).map_err(|e| Error::file(chain, e))?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    CertificateDer::pem_file_iter(file).and_then(Iterator::collect).map_err(|e| Error::file(file, e))
}

fn anchors(file: &Path) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|e| Error::file(file, e))?;
    }
    if roots.is_empty() { Err(Error::file(file, "has no certificate")) } else { Ok(roots) }
}

/// What the operator is told of a handshake that failed.
pub fn why(e: &std::io::Error) -> String {
    match e.get_ref().and_then(|e| e.downcast_ref::<TlsError>()) {
        Some(TlsError::InvalidCertificate(CertificateError::Other(OtherError(other)))) => other.to_string(),
        _ => e.to_string(),
    }
}

/// The certificate that shows up is not the one that was meant.
#[derive(Debug, thiserror::Error)]
enum Mismatch {
    #[error(
        "its certificate has the SHA-256 fingerprint {0}, which nobody has confirmed: compare it with the one that the \
         gateway logged when it started first, and give --fingerprint, or trust anchors by --ca"
    )]
    Unknown(String),
    #[error("its certificate has the SHA-256 fingerprint {0}, which is not the one that is expected")]
    Other(String),
}

#[derive(Debug)]
struct Pin {
    expected: Option<[u8; 32]>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Pin {
    fn new(gateway: &Gateway, provider: &CryptoProvider) -> Result<Self, Error> {
        let expected = gateway.fingerprint.as_deref().map(parse).transpose()?;
        Ok(Self { expected, algorithms: provider.signature_verification_algorithms })
    }
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let shown = digest(&SHA256, end_entity);
        let mismatch = match self.expected {
            Some(expected) if expected == shown.as_ref() => return Ok(ServerCertVerified::assertion()),
            Some(_) => Mismatch::Other(hexadecimal(shown.as_ref())),
            None => Mismatch::Unknown(hexadecimal(shown.as_ref())),
        };
        Err(CertificateError::Other(OtherError(Arc::new(mismatch))).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// 64 hexadecimal digits, with colons or without, with or without `SHA256:` before them.
fn parse(text: &str) -> Result<[u8; 32], Error> {
    let bad = || Error::Usage(format!("{text:?} is not a SHA-256 fingerprint: 64 hexadecimal digits"));
    let lower = text.trim().to_ascii_lowercase();
    let digits: String = lower.trim_start_matches("sha256:").chars().filter(|c| *c != ':').collect();
    if digits.len() != 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(bad());
    }
    let mut octets = [0; 32];
    for (i, octet) in octets.iter_mut().enumerate() {
        *octet = u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).map_err(|_| bad())?;
    }
    Ok(octets)
}

fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().enumerate().fold(String::new(), |mut text, (i, octet)| {
        _ = write!(text, "{}{octet:02x}", if i == 0 { "" } else { ":" });
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints() {
        let octets: [u8; 32] = std::array::from_fn(|i| i as u8 * 8);
        let text = hexadecimal(&octets);
        for form in [text.clone(), text.replace(':', ""), format!("SHA256:{}", text.to_uppercase())] {
            assert_eq!(parse(&form).unwrap(), octets, "{form}");
        }
        for wrong in ["", "ab", &text[3..], &text.replace('0', "g"), "é".repeat(32).as_str()] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}

//! TLS of the API: always on. Our certificate is the operator's, or one that we make and sign ourselves once, to be known by
//! its fingerprint. A client may come with a certificate; one that is not under `client_ca` ends the handshake.

use super::store;
use crate::file;
use anyhow::Context;
use controlplane::config::Api;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

const DAY: Duration = Duration::from_secs(86_400);
/// How long the certificate lasts that we make.
const YEARS: u32 = 10;

/// From the files that the configuration names, or our own.
pub(super) fn acceptor(api: &Api) -> anyhow::Result<TlsAcceptor> {
    let (certificate, key) = match (&api.certificate, &api.key) {
        (Some(certificate), Some(key)) => (PathBuf::from(certificate), PathBuf::from(key)),
        _ => own(api).context("api.state: a certificate")?,
    };
    let chain = certificates(&certificate)?;
    let fingerprint = fingerprint(&chain[0]);
    tracing::info!(certificate = %certificate.display(), fingerprint, "the API's certificate");
    let key = PrivateKeyDer::from_pem_file(&key).with_context(|| format!("cannot read {}", key.display()))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = match &api.client_ca {
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(Path::new(ca))? {
                roots.add(certificate).with_context(|| format!("{ca} is no trust anchor"))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.allow_unauthenticated().build()?)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).context("api.certificate, api.key")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Certificate and key in the state directory; made if one of them is missing.
fn own(api: &Api) -> anyhow::Result<(PathBuf, PathBuf)> {
    let dir = Path::new(&api.state).join("tls");
    let (certificate, key) = (dir.join("certificate.pem"), dir.join("key.pem"));
    if certificate.exists() && key.exists() {
        return Ok((certificate, key));
    }
    std::fs::create_dir_all(&dir)?;
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let mut names = vec!["localhost".to_owned(), api.listen.ip().to_string()];
    names.extend(host.clone().filter(|name| !name.is_empty() && name.is_ascii()));
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, host.as_deref().unwrap_or("softwire-gateway"));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.not_before = (SystemTime::now() - DAY).into();
    params.not_after = (SystemTime::now() + DAY * 365 * YEARS).into();
    let pair = KeyPair::generate()?;
    let made = params.self_signed(&pair)?;
    // The certificate last: without it, both are made anew.
    file::write(&key, pair.serialize_pem().as_bytes())?;
    file::write(&certificate, made.pem().as_bytes())?;
    println!("made a certificate for the API: {}", certificate.display());
    println!("its SHA-256 fingerprint: {}", fingerprint(made.der()));
    Ok((certificate, key))
}

fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let all = CertificateDer::pem_file_iter(file)
        .and_then(|all| all.collect::<Result<Vec<_>, _>>())
        .with_context(|| format!("cannot read the certificates in {}", file.display()))?;
    anyhow::ensure!(!all.is_empty(), "{} has no certificate", file.display());
    Ok(all)
}

/// SHA-256, as `openssl x509 -fingerprint -sha256` writes it.
fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    store::sha256(certificate).map(|octet| format!("{octet:02X}")).join(":")
}

/// Common names of the subject, and its names that are DNS names, mail addresses and URIs.
pub(super) fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    let mut names: Vec<String> = common.map(str::to_owned).collect();
    if let Ok(Some(more)) = certificate.subject_alternative_name() {
        names.extend(more.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
                Some((*name).to_owned())
            }
            _ => None,
        }));
    }
    names
}

//! Certificates for a test: an authority, the gateway's, and the subscribers' as they are needed.

use crate::profile::Certificates;
use anyhow::Context;
use ike::auth::{LocalAuth, RemoteAuth};
use rcgen::{
    BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_RSA_SHA256, RsaKeySize, SanType, date_time_ymd,
};
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The key of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum KeyKind {
    /// P-256.
    Ecdsa,
    /// 2,048 bits.
    Rsa2048,
}

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// They cannot be made.
    #[error("certificate: {0}")]
    Made(#[from] rcgen::Error),
    /// They cannot be written.
    #[error("{0}: {1}")]
    Written(String, std::io::Error),
    /// The name fits no certificate.
    #[error("not a name for a certificate: {0}")]
    Name(String),
}

/// Makes `ca.pem`, `ca.key`, `gateway.pem`, `gateway.key` and `subscriber.key` in a directory. All keys are of one kind.
pub fn make(directory: &Path, gateway: &str, kind: KeyKind) -> Result<(), PkiError> {
    let key = || match kind {
        KeyKind::Ecdsa => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
        KeyKind::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
    };
    let (ca_key, gateway_key, subscriber_key) = (key()?, key()?, key()?);
    let mut ca = params()?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    ca.distinguished_name.push(rcgen::DnType::CommonName, "softwire-capacity");
    let ca_certificate = ca.self_signed(&ca_key)?;
    let issuer = Issuer::new(ca, &ca_key);
    let certificate = named(gateway)?.signed_by(&gateway_key, &issuer)?;
    fs::create_dir_all(directory).map_err(|e| PkiError::Written(directory.display().to_string(), e))?;
    for (name, text) in [
        ("ca.pem", ca_certificate.pem()),
        ("ca.key", ca_key.serialize_pem()),
        ("gateway.pem", certificate.pem()),
        ("gateway.key", gateway_key.serialize_pem()),
        ("subscriber.key", subscriber_key.serialize_pem()),
    ] {
        write(&directory.join(name), &text)?;
    }
    Ok(())
}

// For their owner alone: most of them are keys.
fn write(path: &Path, text: &str) -> Result<(), PkiError> {
    let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let written = file.and_then(|mut f| f.write_all(text.as_bytes()));
    written.map_err(|e| PkiError::Written(path.display().to_string(), e))
}

fn params() -> Result<CertificateParams, PkiError> {
    let mut p = CertificateParams::new(Vec::new())?;
    p.distinguished_name = rcgen::DistinguishedName::new();
    p.not_before = date_time_ymd(2020, 1, 1);
    p.not_after = date_time_ymd(2050, 1, 1);
    Ok(p)
}

fn named(identity: &str) -> Result<CertificateParams, PkiError> {
    let name = || identity.to_owned().try_into().map_err(|_| PkiError::Name(identity.to_owned()));
    let mut p = params()?;
    p.subject_alt_names = match (identity.parse(), identity.contains('@')) {
        (Ok(address), _) => vec![SanType::IpAddress(address)],
        (Err(_), true) => vec![SanType::Rfc822Name(name()?)],
        (Err(_), false) => vec![SanType::DnsName(name()?)],
    };
    Ok(p)
}

/// Who issues the subscribers' certificates.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    key: KeyPair,
    key_pem: String,
    trust: RemoteAuth,
}

impl Authority {
    pub(super) fn load(files: &Certificates) -> anyhow::Result<Self> {
        let read = |file: &Path| fs::read_to_string(file).with_context(|| file.display().to_string());
        let (ca, ca_key, key_pem) = (read(&files.ca)?, read(&files.ca_key)?, read(&files.key)?);
        let pair = |pem: &str, file: &Path| KeyPair::from_pem(pem).with_context(|| file.display().to_string());
        let mut params = params()?;
        params.distinguished_name.push(rcgen::DnType::CommonName, "softwire-capacity");
        let issuer = Issuer::new(params, pair(&ca_key, &files.ca_key)?);
        let trust = RemoteAuth::certificate(ca.as_bytes(), &[]).with_context(|| files.ca.display().to_string())?;
        Ok(Self { issuer, key: pair(&key_pem, &files.key)?, key_pem, trust })
    }

    /// How a subscriber proves who it is, and what it believes of the gateway.
    pub(super) fn subscriber(&self, identity: &str) -> anyhow::Result<(LocalAuth, RemoteAuth)> {
        let certificate = named(identity)?.signed_by(&self.key, &self.issuer)?;
        let own = LocalAuth::certificate(certificate.pem().as_bytes(), self.key_pem.as_bytes());
        Ok((own.with_context(|| identity.to_owned())?, self.trust.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ike::crypto::Prf;

    /// RFC 7427, section 4.
    const SHA2_256: u16 = 2;

    #[test]
    fn a_subscriber_and_the_gateway_believe_each_other() {
        let directory = std::env::temp_dir().join(format!("capacity-pki-{}", std::process::id()));
        make(&directory, "gw.example.net", KeyKind::Ecdsa).unwrap();
        let at = |name: &str| directory.join(name);
        let files = Certificates { ca: at("ca.pem"), ca_key: at("ca.key"), key: at("subscriber.key") };
        let authority = Authority::load(&files).unwrap();
        let (own, trust) = authority.subscriber("s1@lab.example.net").unwrap();
        let read = |name: &str| fs::read(at(name)).unwrap();
        let gateway = LocalAuth::certificate(&read("gateway.pem"), &read("gateway.key")).unwrap();
        fs::remove_dir_all(&directory).unwrap();
        let now = rustls_pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_800_000_000));
        for (who, id) in [(own, "s1@lab.example.net"), (gateway, "gw.example.net")] {
            let (kind, data) = who.authenticate(Prf::HmacSha256, b"octets", &[SHA2_256]).unwrap().unwrap();
            let proven = |octets: &[u8], id: &str| {
                trust.verify(Prf::HmacSha256, octets, (kind, &data), &id.parse().unwrap(), who.chain(), now)
            };
            assert_eq!(proven(b"octets", id), Ok(()));
            assert!(proven(b"others", id).is_err() && proven(b"octets", "somebody@example.net").is_err());
        }
    }

    #[test]
    fn what_names_nobody_is_refused() {
        assert!(matches!(named("s\u{e9}@lab.example.net"), Err(PkiError::Name(_))));
    }
}

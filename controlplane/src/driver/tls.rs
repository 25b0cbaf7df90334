//! TLS towards servers that the configuration names.

use crate::config::Certificate;
use crate::config::rtr::Tls;
use anyhow::Context;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

/// How a server proves who it is, and we to it.
#[derive(Clone)]
pub(super) struct Session {
    /// Makes the connection.
    pub connector: TlsConnector,
    /// Whom the server's certificate has to name.
    pub name: ServerName<'static>,
}

/// From the files named in the configuration.
pub(super) fn session(address: IpAddr, tls: &Tls, own: Option<&Certificate>) -> anyhow::Result<Session> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&tls.ca)? {
        roots.add(certificate).with_context(|| format!("{} is no trust anchor", tls.ca))?;
    }
    let name = match &tls.server_name {
        Some(name) => ServerName::try_from(name.clone())?,
        None => ServerName::IpAddress(address.into()),
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let config = match own {
        Some(own) => {
            let key = PrivateKeyDer::from_pem_file(&own.key).with_context(|| format!("cannot read {}", own.key))?;
            builder.with_client_auth_cert(certificates(&own.chain)?, key)?
        }
        None => builder.with_no_client_auth(),
    };
    Ok(Session { connector: TlsConnector::from(Arc::new(config)), name })
}

fn certificates(file: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let all = CertificateDer::pem_file_iter(Path::new(file))
        .and_then(|all| all.collect::<Result<Vec<_>, _>>())
        .with_context(|| format!("cannot read the certificates in {file}"))?;
    anyhow::ensure!(!all.is_empty(), "{file} has no certificate");
    Ok(all)
}

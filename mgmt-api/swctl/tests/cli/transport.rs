//! Reaching a gateway: TLS by fingerprint and by trust anchors, tokens, `swctl.toml`, and nobody there.

use crate::fake::{Ended, Gateway, home, swctl};
use axum::serve::Listener;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, mpsc};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

/// A listener for TLS.
struct Tls(TcpListener, TlsAcceptor);

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (tcp, from) = self.0.accept().await.unwrap();
            // Clients that do not believe us leave.
            if let Ok(tls) = self.1.accept(tcp).await {
                return (tls, from);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// A gateway with TLS: where it listens, and its certificate in a file of its home.
fn secure() -> (Gateway, String) {
    let (tell, told) = mpsc::channel();
    let gateway = Gateway::serving(move |home| {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        std::fs::write(home.join("ca.pem"), cert.pem()).unwrap();
        let key = rustls_pki_types::PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        tell.send(listener.local_addr().unwrap().to_string()).unwrap();
        Tls(TcpListener::from_std(listener).unwrap(), TlsAcceptor::from(Arc::new(config)))
    });
    let host = told.recv().unwrap();
    (gateway, host)
}

fn fingerprint(ended: &Ended) -> String {
    let (_, rest) = ended.err.split_once("SHA-256 fingerprint ").unwrap();
    rest.split(',').next().unwrap().to_owned()
}

fn token(home: &Path, mode: u32) -> String {
    let file = home.join(format!("token-{mode:o}"));
    std::fs::write(&file, "swgw_k3v9w2aq_very-hidden\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn a_certificate_is_believed_by_its_fingerprint_or_its_issuer_and_not_otherwise() {
    let (gateway, host) = secure();
    let ask = |words: &[&str]| swctl(&gateway.home, &[&["--host", &host, "show", "status"], words].concat(), "");
    let unknown = ask(&[]);
    assert_eq!(unknown.status, 3);
    assert!(unknown.err.contains("nobody has confirmed"), "{}", unknown.err);
    assert!(gateway.asked().is_empty(), "nothing is sent to a stranger");
    let shown = fingerprint(&unknown);
    assert_eq!(ask(&["--fingerprint", &shown]).status, 0);
    let other = shown.replace(&shown[..2], if &shown[..2] == "00" { "01" } else { "00" });
    let refused = ask(&["--fingerprint", &other]);
    assert!(refused.status == 3 && refused.err.contains("not the one that is expected"), "{}", refused.err);
    let ca = gateway.home.join("ca.pem");
    assert_eq!(ask(&["--ca", ca.to_str().unwrap()]).status, 0);
    let (elsewhere, _) = secure();
    let ca = elsewhere.home.join("ca.pem");
    assert_eq!(ask(&["--ca", ca.to_str().unwrap()]).status, 3);
}

#[test]
fn tokens_are_sent_and_never_shown() {
    let (gateway, host) = secure();
    let own = token(&gateway.home, 0o600);
    let ca = gateway.home.join("ca.pem");
    let words = ["--host", &host, "--ca", ca.to_str().unwrap(), "--token-file", &own];
    for asked in [&["show", "status"][..], &["disconnect", "nobody"]] {
        let ended = swctl(&gateway.home, &[&words, asked].concat(), "");
        assert!(!ended.out.contains("hidden") && !ended.err.contains("hidden"));
        let sent = gateway.memory.lock().unwrap().authorization.take();
        assert_eq!(sent.as_deref(), Some("Bearer swgw_k3v9w2aq_very-hidden"));
    }
    let everybodys = token(&gateway.home, 0o644);
    let words = ["--host", &host, "--ca", ca.to_str().unwrap(), "--token-file", &everybodys, "show", "status"];
    let ended = swctl(&gateway.home, &words, "");
    assert!(ended.status == 2 && ended.err.contains("others may read"), "{}", ended.err);
}

#[test]
fn gateways_have_names() {
    let (gateway, host) = secure();
    let directory = gateway.home.join(".config");
    std::fs::create_dir(&directory).unwrap();
    let text = format!("default = 'west'\n[gateways.west]\nhost = '{host}'\nca = '../ca.pem'\n");
    std::fs::write(directory.join("swctl.toml"), text).unwrap();
    assert_eq!(swctl(&gateway.home, &["show", "status"], "").status, 0);
    assert_eq!(swctl(&gateway.home, &["--host", "west", "show", "status"], "").status, 0);
    std::fs::write(directory.join("swctl.toml"), "tokens = 1").unwrap();
    let ended = swctl(&gateway.home, &["show", "status"], "");
    assert!(ended.status == 2 && ended.err.contains("swctl.toml"), "{}", ended.err);
}

#[test]
fn nobody_there_is_3_and_a_wrong_word_is_2() {
    let home = home();
    let ended = swctl(&home, &["--socket", "/nowhere/api.sock", "show", "status"], "");
    assert_eq!(ended.status, 3);
    assert!(ended.err.contains("the gateway at /nowhere/api.sock does not answer"), "{}", ended.err);
    for words in [&["shwo"][..], &["show", "bgp", "neighbours", "x"], &["--host", "a:b", "show", "status"], &[]] {
        assert_eq!(swctl(&home, words, "").status, 2, "{words:?}");
    }
    std::fs::remove_dir_all(home).unwrap();
}

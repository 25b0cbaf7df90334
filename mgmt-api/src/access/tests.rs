//! A gateway's API as its users meet it: by TLS, by the unix socket, with tokens and certificates.

use super::*;
use axum::body::Body;
use controlplane::config::ApiClient;
use controlplane::northbound::{Northbound, Page, Query};
use http_body_util::BodyExt;
use rcgen::{CertificateParams, DnType, Issuer, KeyPair, SanType};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tower::ServiceExt;

mod certificates;
mod connections;
mod logs;
mod routes;
mod secrets;
mod streams;

/// A directory that goes with the test.
pub(crate) struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("mgmt-api-{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed));
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An API that runs, in front of a control plane that disconnects anybody.
struct Running {
    api: Api,
    address: SocketAddr,
    access: Arc<Access>,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
    dir: Scratch,
}

/// What was answered.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn has(&self, header: &str) -> bool {
        self.head.lines().any(|line| line.eq_ignore_ascii_case(header))
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

fn northbound() -> Northbound {
    let (northbound, mut queries) = Northbound::channel();
    tokio::spawn(async move {
        while let Some(query) = queries.recv().await {
            match query {
                Query::Subscribers(select, to) => drop(to.send(Page::of(0, select.limit, std::iter::empty()))),
                Query::Disconnect(_, to) => drop(to.send(true)),
                _ => {}
            }
        }
    });
    northbound
}

fn guarded(access: &Arc<Access>) -> Router {
    access.guard(crate::router(crate::config::tests::state(northbound())).0)
}

fn api(dir: &Scratch) -> Api {
    let at = |name: &str| dir.0.join(name).display().to_string();
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    Api { listen, socket: Some(at("run/api.sock")), state: at("state"), ..Api::default() }
}

async fn running(change: impl FnOnce(&mut Api, &Path)) -> Running {
    let dir = Scratch::new();
    let mut api = api(&dir);
    change(&mut api, &dir.0);
    start(api, dir).await
}

async fn start(api: Api, dir: Scratch) -> Running {
    start_with(api, dir, crate::router(crate::config::tests::state(northbound())).0).await
}

async fn start_with(api: Api, dir: Scratch, router: Router) -> Running {
    let access = Arc::new(Access::open(&api).unwrap());
    let listening = Listening::open(&api).await.unwrap();
    let address = listening.address().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let ended = tokio::spawn(listening.serve(access.guard(router), async move { drop(stopped.await) }));
    Running { api, address, access, stop, ended, dir }
}

impl Running {
    async fn stop(self) -> (Api, Scratch) {
        self.stop.send(()).unwrap();
        self.ended.await.unwrap();
        (self.api, self.dir)
    }

    /// By the unix socket.
    async fn local(&self, method: &str, path: &str, body: &str) -> Answer {
        let stream = UnixStream::connect(self.api.socket.as_deref().unwrap()).await.unwrap();
        exchange(stream, method, path, &[], body).await.unwrap()
    }

    async fn token(&self, name: &str, role: &str) -> String {
        let body = format!(r#"{{"name": "{name}", "role": "{role}"}}"#);
        let made = self.local("POST", "/api/v1/tokens", &body).await;
        assert_eq!(made.status, 201, "{made:?}");
        made.json()["token"].as_str().unwrap().to_owned()
    }

    fn certificate(&self) -> CertificateDer<'static> {
        let file = Path::new(&self.api.state).join("tls/certificate.pem");
        CertificateDer::from_pem_file(file).unwrap()
    }

    /// By TLS, with the certificate known by its fingerprint.
    async fn tls(&self, own: Option<Own>) -> std::io::Result<TlsStream<TcpStream>> {
        connect(self.address, store::sha256(self.certificate()), own).await
    }

    async fn get(&self, path: &str, token: &str) -> Answer {
        self.call("GET", path, token).await
    }

    async fn call(&self, method: &str, path: &str, token: &str) -> Answer {
        let headers = [("authorization", format!("Bearer {token}"))];
        let headers = if token.is_empty() { &[][..] } else { &headers[..] };
        exchange(self.tls(None).await.unwrap(), method, path, headers, "").await.unwrap()
    }
}

/// Certificate and key of a client.
type Own = (CertificateDer<'static>, PrivateKeyDer<'static>);

async fn connect(to: SocketAddr, fingerprint: [u8; 32], own: Option<Own>) -> std::io::Result<TlsStream<TcpStream>> {
    secured(TcpStream::connect(to).await?, fingerprint, own).await
}

async fn secured(tcp: TcpStream, fingerprint: [u8; 32], own: Option<Own>) -> std::io::Result<TlsStream<TcpStream>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let pinned = Pinned(fingerprint, provider.signature_verification_algorithms);
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(pinned));
    let config = match own {
        Some((certificate, key)) => builder.with_client_auth_cert(vec![certificate], key).unwrap(),
        None => builder.with_no_client_auth(),
    };
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await
}

#[derive(Debug)]
struct Pinned([u8; 32], WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let same = store::sha256(certificate) == self.0;
        same.then(ServerCertVerified::assertion).ok_or_else(|| Error::General("another certificate".to_owned()))
    }

    fn verify_tls12_signature(
        &self,
        m: &[u8],
        c: &CertificateDer<'_>,
        d: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        tokio_rustls::rustls::crypto::verify_tls12_signature(m, c, d, &self.1)
    }

    fn verify_tls13_signature(
        &self,
        m: &[u8],
        c: &CertificateDer<'_>,
        d: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        tokio_rustls::rustls::crypto::verify_tls13_signature(m, c, d, &self.1)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.1.supported_schemes()
    }
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    method: &str,
    path: &str,
    headers: &[(&str, String)],
    body: &str,
) -> std::io::Result<Answer> {
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: gw\r\nconnection: close\r\n");
    request.push_str(&format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()));
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{request}\r\n{body}").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

fn mode(file: impl AsRef<Path>) -> u32 {
    std::fs::metadata(file).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn a_certificate_is_made_once_and_known_by_its_fingerprint() {
    let gw = running(|_, _| {}).await;
    let first = store::sha256(gw.certificate());
    assert_eq!(gw.get("/api/v1/status", "").await.status, 401);
    assert!(connect(gw.address, [0; 32], None).await.is_err(), "another fingerprint");
    let tls = Path::new(&gw.api.state).join("tls");
    assert_eq!(mode(tls.join("key.pem")), 0o600);
    let (api, dir) = gw.stop().await;
    let gw = start(api, dir).await;
    assert_eq!(store::sha256(gw.certificate()), first, "a restart keeps it");
    let (api, dir) = gw.stop().await;
    std::fs::remove_file(tls.join("certificate.pem")).unwrap();
    let gw = start(api, dir).await;
    assert_ne!(store::sha256(gw.certificate()), first, "half of it is none");
    assert_eq!(gw.get("/api/v1/status", "").await.status, 401);
    gw.stop().await;
}

#[tokio::test]
async fn the_port_speaks_tls_only() {
    let gw = running(|_, _| {}).await;
    let plain = TcpStream::connect(gw.address).await.unwrap();
    let answer = exchange(plain, "GET", "/api/v1/health", &[], "").await;
    assert!(answer.is_err() || answer.is_ok_and(|a| a.status == 0 && !a.head.contains("HTTP")));
    gw.stop().await;
}

#[tokio::test]
async fn tokens_open_what_their_role_says() {
    let gw = running(|_, _| {}).await;
    let anonymous = gw.get("/api/v1/subscribers", "").await;
    assert!(anonymous.status == 401 && anonymous.has("www-authenticate: Bearer"), "{anonymous:?}");
    assert!(anonymous.has("content-type: application/problem+json"), "{anonymous:?}");
    let (read, operate) = (gw.token("monitor", "read").await, gw.token("night-shift", "operate").await);
    assert_eq!(gw.get("/api/v1/subscribers", &read).await.status, 200);
    assert_eq!(gw.call("DELETE", "/api/v1/subscribers/1.1", &read).await.status, 403);
    assert_eq!(gw.call("DELETE", "/api/v1/subscribers/1.1", &operate).await.status, 202);
    assert_eq!(gw.get("/api/v1/tokens", &operate).await.status, 403);
    assert_eq!(gw.get("/api/v1/nowhere", &read).await.status, 404);
    assert_eq!(gw.get("/api/v1/nowhere", "").await.status, 401, "strangers do not learn what there is");
    let me = gw.get("/api/v1/whoami", &operate).await.json();
    assert_eq!(me, serde_json::json!({ "name": "token:night-shift", "role": "operate" }));
    gw.stop().await;
}

#[tokio::test]
async fn wrong_expired_and_revoked_tokens_are_refused() {
    let gw = running(|_, _| {}).await;
    let good = gw.token("good", "admin").await;
    let flipped = if good.ends_with('A') { "B" } else { "A" };
    let wrong = gw.get("/api/v1/tokens", &format!("{}{flipped}", &good[..good.len() - 1])).await;
    assert!(wrong.status == 401 && wrong.has("www-authenticate: Bearer error=\"invalid_token\""), "{wrong:?}");
    let past = SystemTime::now() - Duration::from_secs(1);
    let expired = gw.access.tokens.create("old", Role::Admin, past, Some(past)).await.unwrap();
    assert_eq!(gw.get("/api/v1/tokens", &expired.1).await.status, 401);
    let basic = [("authorization", format!("Basic {good}"))];
    let basic = exchange(gw.tls(None).await.unwrap(), "GET", "/api/v1/tokens", &basic, "").await.unwrap();
    assert_eq!(basic.status, 401);

    let listed = gw.get("/api/v1/tokens", &good).await;
    assert_eq!(listed.status, 200);
    let rows = listed.json();
    let row = |name: &str| rows["tokens"].as_array().unwrap().iter().find(|t| t["name"] == name).unwrap().clone();
    assert_eq!((&row("good")["role"], &row("good")["expires"]), (&"admin".into(), &serde_json::Value::Null));
    assert!(row("old")["expires"].is_string());
    let one = format!("/api/v1/tokens/{}", row("good")["id"].as_str().unwrap());
    assert_eq!(gw.call("DELETE", &one, &good).await.status, 204, "it ends itself");
    assert_eq!(gw.get("/api/v1/tokens", &good).await.status, 401);
    assert_eq!(gw.local("DELETE", &one, "").await.status, 404);
    gw.stop().await;
}

#[tokio::test]
async fn tokens_that_cannot_be_are_refused() {
    let gw = running(|_, _| {}).await;
    gw.token("ci", "read").await;
    let long = format!(r#"{{"name": "{}", "role": "read"}}"#, "n".repeat(65));
    for (body, status) in [
        (r#"{"name": "ci", "role": "admin"}"#, 409),
        (r#"{"name": "", "role": "read"}"#, 422),
        (r#"{"name": "a\nb", "role": "read"}"#, 422),
        (&long, 422),
        (r#"{"name": "x", "role": "root"}"#, 422),
        (r#"{"name": "x", "role": "read", "expires_in": 0}"#, 422),
        (r#"{"name": "x", "role": "read", "expires_in": 18446744073709551615}"#, 422),
        (r#"{"name": "x", "role": "read", "hash": "y"}"#, 422),
        ("{", 400),
    ] {
        let answer = gw.local("POST", "/api/v1/tokens", body).await;
        assert!(answer.status == status && answer.has("content-type: application/problem+json"), "{body}: {answer:?}");
    }
    let made = gw.local("POST", "/api/v1/tokens", r#"{"name": "x", "role": "read", "expires_in": 60}"#).await;
    assert!(made.status == 201 && made.has("cache-control: no-store"), "{made:?}");
    assert!(made.json()["expires"].is_string() && made.json().get("hash").is_none());
    gw.stop().await;
}

#[tokio::test]
async fn whoever_guesses_has_to_wait() {
    let gw = running(|_, _| {}).await;
    let good = gw.token("good", "read").await;
    assert_eq!(gw.get("/api/v1/subscribers", &good).await.status, 200);
    let mut last = None;
    for i in 0..50 {
        let answer = gw.get("/api/v1/subscribers", &format!("swgw_aaaaaaaa_{i}")).await;
        if answer.status == 429 {
            last = Some(answer);
            break;
        }
        assert_eq!(answer.status, 401);
    }
    let answer = last.unwrap();
    assert!(answer.has("retry-after: 2") || answer.has("retry-after: 1"), "{answer:?}");
    // A token that has been right before costs nothing to check, and is let in.
    assert_eq!(gw.get("/api/v1/subscribers", &good).await.status, 200);
    gw.stop().await;
}

#[tokio::test]
async fn the_socket_is_for_root_and_ourselves() {
    let gw = running(|_, _| {}).await;
    let socket = gw.api.socket.clone().unwrap();
    assert_eq!(mode(&socket), 0o600);
    let me = gw.local("GET", "/api/v1/whoami", "").await.json();
    let user = User::from_uid(Uid::effective()).unwrap().unwrap().name;
    assert_eq!(me, serde_json::json!({ "name": format!("local:{user}"), "role": "admin" }));
    // The kernel keeps others out by the mode; should the mode be changed, their uid does.
    let stranger = Peer::Local { uid: 65_533 };
    assert_eq!(routes::asked(&gw.access, "GET", "/api/v1/status", Some(stranger)).await, 403);
    assert_eq!(routes::asked(&gw.access, "GET", "/api/v1/status", None).await, 401, "of unknown origin");

    assert!(Listening::open(&gw.api).await.is_err(), "one gateway answers there");
    assert_eq!(gw.local("GET", "/api/v1/subscribers", "").await.status, 200, "and still does");
    let (mut api, dir) = gw.stop().await;
    assert!(!Path::new(&socket).exists());
    // What a process that was killed has left goes, and a file that is no socket stays.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let (api_, dir) = start(api.clone(), dir).await.stop().await;
    api.state = api_.state;
    std::fs::write(&socket, "precious").unwrap();
    assert!(Listening::open(&api).await.is_err());
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "precious");
    api.socket = None;
    start(api, dir).await.stop().await;
}

#[tokio::test]
async fn on_the_socket_a_token_counts_and_not_the_kernels_word() {
    let gw = running(|_, _| {}).await;
    let read = gw.token("monitor", "read").await;
    let asked = async |method: &str, path: &str, token: &str| {
        let stream = UnixStream::connect(gw.api.socket.as_deref().unwrap()).await.unwrap();
        exchange(stream, method, path, &[("authorization", format!("Bearer {token}"))], "").await.unwrap()
    };
    let me = asked("GET", "/api/v1/whoami", &read).await.json();
    assert_eq!(me, serde_json::json!({ "name": "token:monitor", "role": "read" }));
    assert_eq!(asked("DELETE", "/api/v1/subscribers/1.1", &read).await.status, 403);
    // Nobody else is kept waiting by wrong ones.
    for _ in 0..8 {
        assert_eq!(asked("GET", "/api/v1/whoami", "swgw_aaaaaaaa_wrong").await.status, 401);
    }
    assert_eq!(gw.get("/api/v1/whoami", &read).await.status, 200);
    // Who may not use the socket may not with a token either.
    let mut request = axum::http::Request::get("/api/v1/whoami").header("authorization", format!("Bearer {read}"));
    request = request.extension(Peer::Local { uid: 65_533 });
    let stranger = guarded(&gw.access).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(stranger.status(), StatusCode::FORBIDDEN);
    gw.stop().await;
}

#[tokio::test]
async fn a_stop_waits_for_nobody_for_long() {
    let gw = running(|_, _| {}).await;
    let mut idle = gw.tls(None).await.unwrap();
    let silent = TcpStream::connect(gw.address).await.unwrap();
    idle.write_all(b"GET /api/v1/hea").await.unwrap();
    gw.stop().await;
    drop((idle, silent));
}

//! No secret is ever returned or logged: everything that the API answers and that is logged meanwhile is searched for those
//! of a configuration that has all there are, of changes to it, and of tokens.

use super::logs::Log;
use super::*;
use crate::AppState;
use crate::config::Store;
use controlplane::config::Config;
use controlplane::gateway::Gateway;
use dataplane_api::{Counters, MacAddr};
use serde_json::{Value, json};

/// Each secret of it begins with `hidden-`.
const YAML: &str = include_str!("../../../swctl/tests/full.yaml");
/// A secret that comes by the API; as a number where it may be taken for one.
const NEW: &str = "vorpal-blade";
const NUMBER: u64 = 4_711_081_547_110_815;

/// An API in front of a real control plane, and what it has said.
struct Bench {
    gw: Running,
    store: Arc<Store>,
    file: PathBuf,
    document: utoipa::openapi::OpenApi,
    token: String,
    heard: Vec<(String, Answer)>,
}

impl Bench {
    async fn start() -> Self {
        let dir = Scratch::new();
        let config = Arc::new(Config::from_yaml("full.yaml", YAML).unwrap_or_else(|e| panic!("{e}")));
        let (northbound, mut south) = Northbound::channel();
        let counters = vec![Arc::new(Counters::new(8, 8))];
        let mut gateway = Gateway::new(config, Instant::now(), &[MacAddr::default(); 2], counters, [7; 32]).unwrap();
        tokio::spawn(async move {
            while let Some(query) = south.recv().await {
                gateway.handle_query(Instant::now(), query);
                std::iter::from_fn(|| gateway.poll_audit()).for_each(|record| record.log());
                while let Some(event) = gateway.poll_event() {
                    south.publish(SystemTime::now(), event);
                }
            }
        });
        let file = dir.0.join("softwired.yaml");
        std::fs::write(&file, YAML).unwrap();
        let store = Store::open(&file, &dir.0, 50, northbound.clone()).unwrap();
        let (router, document) = crate::router(AppState { northbound, store: Arc::clone(&store) });
        let gw = start_with(api(&dir), dir, router).await;
        let token = gw.token("admin", "admin").await;
        Self { gw, store, file, document, token, heard: Vec::new() }
    }

    /// By TLS, as an administrator. What is answered is kept for the search.
    async fn ask(&mut self, method: &str, path: &str, body: &str) -> u16 {
        let answer = self.answer(method, path, body).await;
        let status = answer.status;
        self.heard.push((format!("{method} {path} {body}"), answer));
        status
    }

    async fn answer(&self, method: &str, path: &str, body: &str) -> Answer {
        let headers = [("authorization", format!("Bearer {}", self.token))];
        exchange(self.gw.tls(None).await.unwrap(), method, path, &headers, body).await.unwrap()
    }

    async fn change(&mut self, method: &str, path: &str, body: Value) -> u16 {
        self.ask(method, &format!("/api/v1/config{path}"), &body.to_string()).await
    }

    /// Everything that can be looked at; events never end, and are listened to all the time.
    async fn look_everywhere(&mut self) {
        let document = self.answer("GET", "/api/v1/config", "").await.json();
        let sections: Vec<String> = document.as_object().unwrap().keys().cloned().collect();
        let paths =
            self.document.paths.paths.iter().filter(|(path, item)| item.get.is_some() && !path.ends_with("/events"));
        let paths: Vec<String> = paths.map(|(path, _)| path.clone()).collect();
        assert!(paths.len() > 30, "{paths:?}");
        for path in paths {
            for path in filled(&path, &sections) {
                let status = self.ask("GET", &path, "").await;
                // Nobody is connected, and the control plane's pulse is not what is looked for.
                let absent = path.starts_with("/api/v1/subscribers/") || path.ends_with("/ready");
                assert!(status == 200 || absent, "{path}: {status}");
            }
        }
    }
}

/// A path with names in it that are there.
fn filled(path: &str, sections: &[String]) -> Vec<String> {
    let Some((before, rest)) = path.split_once('{') else { return vec![path.to_owned()] };
    let (name, after) = rest.split_once('}').unwrap();
    match (before.trim_start_matches("/api/v1/"), name) {
        ("config/", "path") => {
            let secrets = [
                "listeners/secure/ikev1/shared_secret",
                "ike/peers/alice/psk",
                "bgp/key_chains/chain/keys/1",
                "bfd/profiles/fast/keys/1/secret",
                "aaa/servers/r1/secret",
                "aaa/dynamic/clients/10.0.0.7",
                "subscribers/alice/secret",
                "subscribers/bob/hash",
            ];
            let all = sections.iter().map(String::as_str).chain(secrets);
            all.flat_map(|part| ["", "?defaults=true"].map(|q| format!("{before}{part}{after}{q}"))).collect()
        }
        ("config/commits/", "id") | ("traces/", "id") => vec![format!("{before}1{after}")],
        ("subscribers/", "id") => vec![format!("{before}1.1{after}"), format!("{before}alice{after}")],
        ("bgp/neighbours/", "address") => vec![format!("{before}10.0.0.9{after}")],
        _ => panic!("{path}: what is to be filled in?"),
    }
}

/// The events of a gateway, until the token is taken back by which they are asked for.
async fn events(gw: &Running, token: &str) -> JoinHandle<Answer> {
    let (stream, headers) = (gw.tls(None).await.unwrap(), [("authorization", format!("Bearer {token}"))]);
    tokio::spawn(async move { exchange(stream, "GET", "/api/v1/events", &headers, "").await.unwrap() })
}

async fn everything_that_can_be_asked(log: &Log) {
    let mut b = Bench::start().await;
    let listener = b.gw.token("listener", "read").await;
    let events = events(&b.gw, &listener).await;
    assert_eq!(b.ask("POST", "/api/v1/traces", r#"{"packets": 1}"#).await, 201);
    b.look_everywhere().await;

    // What is wrong with a change is told without the secrets in it.
    let carol = |secret: Value| json!({ "user": "carol", "secret": secret });
    for (path, body) in [
        ("/subscribers/carol", json!({ "user": "carol", "secret": NEW, "ipv4": "nowhere" })),
        ("/subscribers/carol", carol(json!([NEW]))),
        ("/subscribers/carol", carol(json!({ NEW: 1 }))),
        ("/subscribers/carol", carol(json!(NUMBER))),
        ("/subscribers/carol", json!({ "user": "carol", "hash": NEW })),
        ("/subscribers/carol", json!({ "user": "carol", "hash": format!("$6${NEW}") })),
        ("/subscribers/carol", json!({ "user": "carol", "password": NEW })),
        ("/subscribers/alice/secret", json!(NUMBER)),
        ("/ike/peers/alice/psk", json!([NEW])),
        (
            "/ike/peers/alice",
            json!({ "name": "alice", "id": "alice@example.net", "auth": "psk", "psk": NEW, "color": "x" }),
        ),
        ("/bgp/key_chains/chain/keys/1", json!({ "id": 1, "secret": format!("{NEW}{}", "x".repeat(100)) })),
        ("/l2tp", json!({ "secret": { "secret": NEW } })),
        ("/aaa/servers/r1", json!({ "name": "r1", "address": "10.0.0.7", "secret": NEW, "port": -1 })),
        ("", json!({ "ppp": { "secret": NEW }, "ports": "nowhere" })),
    ] {
        assert_eq!(b.change("PUT", path, body.clone()).await, 422, "{path} {body}");
    }
    let broken = format!(r#"{{"user": "carol", "secret": "{NEW}" "#);
    assert_eq!(b.ask("PUT", "/api/v1/config/subscribers/carol", &broken).await, 400);

    // Changes that are right: tried, made until further notice, put back; made, looked at, rolled back.
    let subscriber = "/subscribers/carol";
    assert_eq!(b.change("PUT", &format!("{subscriber}?dry_run=true"), carol(json!(NEW))).await, 200);
    assert_eq!(b.change("PUT", &format!("{subscriber}?confirm=600&comment=carol"), carol(json!(NEW))).await, 201);
    assert_eq!(b.change("PUT", subscriber, carol(json!(format!("{NEW}s")))).await, 409);
    b.look_everywhere().await;
    assert_eq!(b.change("POST", "/rollback", json!({ "to": 1 })).await, 200);
    assert_eq!(b.change("PUT", &format!("{subscriber}?confirm=600"), carol(json!(NEW))).await, 201);
    assert_eq!(b.change("POST", "/confirm", json!({})).await, 200);
    for path in [
        "/subscribers/alice/secret",
        "/ike/peers/alice/psk",
        "/l2tp/secret",
        "/ppp/secret",
        "/listeners/secure/ikev1/shared_secret/secret",
        "/bgp/key_chains/chain/keys/1/secret",
        "/bfd/profiles/fast/keys/1/secret",
        "/aaa/servers/r1/secret",
        "/aaa/dynamic/clients/10.0.0.7/secret",
    ] {
        // No two keys may be the same.
        let secret = format!("{NEW}-{}", path.len());
        assert_eq!(b.change("PUT", path, json!(secret)).await, 200, "{path}");
    }
    assert_eq!(b.change("PATCH", "", json!({ "l2tp": { "secret": format!("{NEW}s") } })).await, 200);
    b.look_everywhere().await;
    let last = 13;
    for commit in 1..=last {
        assert_eq!(b.ask("GET", &format!("/api/v1/config/commits/{commit}"), "").await, 200, "{commit}");
    }
    assert_eq!(b.change("DELETE", subscriber, Value::Null).await, 200);
    assert_eq!(b.change("POST", "/rollback?dry_run=true", json!({ "to": last })).await, 200);
    assert_eq!(b.change("POST", "/rollback", json!({ "to": 1 })).await, 200);
    // What somebody has written into the file.
    for (text, taken) in [
        (YAML.replace("hidden-chap", NEW), true),
        (YAML.replace("hidden-chap", &format!("[{NEW}]")), false),
        (YAML.replace("secret: hidden-chap", &format!("secret: {NEW}, ipv4: nowhere")), false),
    ] {
        std::fs::write(&b.file, text).unwrap();
        let read = b.store.reload().await;
        assert_eq!(read.is_ok(), taken, "{read:?}");
        // The daemon logs it.
        match read {
            Ok(outcome) => tracing::info!(?outcome, "read"),
            Err(error) => tracing::error!(%error, "not read"),
        }
    }

    // Tokens: each is in the answer of its making, and nowhere else.
    let made = b.answer("POST", "/api/v1/tokens", r#"{"name": "made", "role": "operate", "expires_in": 60}"#).await;
    assert_eq!(made.status, 201);
    let made = made.json()["token"].as_str().unwrap().to_owned();
    for path in ["/api/v1/whoami", "/api/v1/tokens", "/api/v1/nowhere", "/api/v1/subscribers"] {
        for token in [&made, &format!("{made}x"), &listener] {
            let answer = b.gw.get(path, token).await;
            b.heard.push((path.to_owned(), answer));
        }
    }
    assert_eq!(b.ask("POST", "/api/v1/tokens", r#"{"name": "made", "role": "read"}"#).await, 409);
    assert_eq!(b.ask("GET", "/api/v1/tokens", "").await, 200);
    let id = listener.split('_').nth(1).unwrap();
    assert_eq!(b.ask("DELETE", &format!("/api/v1/tokens/{id}"), "").await, 204);
    let events = events.await.unwrap();
    assert!(events.body.contains("event: config.commit") && events.body.contains("event: config.revert"), "{events:?}");
    b.heard.push(("GET /api/v1/events".to_owned(), events));

    let number = NUMBER.to_string();
    let tokens = [&b.token, &made, &listener].map(|token| token.splitn(3, '_').nth(2).unwrap());
    for secret in ["hidden-", NEW, &number, "$argon2"].into_iter().chain(tokens) {
        for (asked, answer) in &b.heard {
            let told = answer.head.contains(secret) || answer.body.contains(secret);
            assert!(!told, "{secret:?} is in what {asked} is answered: {answer:?}");
        }
        assert_eq!(log.lines(&[secret]), Vec::<String>::new(), "{secret:?} is in the log");
    }
    b.gw.stop().await;
}

#[test]
fn no_secret_is_in_any_answer_or_in_the_log() {
    let (log, _guard) = Log::capture();
    // Files are read and written, and tokens hashed, on threads of their own.
    let elsewhere = log.clone();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().on_thread_start(move || elsewhere.here()).build().unwrap();
    runtime.block_on(async {
        tokio::task::spawn_blocking(|| tracing::trace!("a thread that writes files")).await.unwrap();
        everything_that_can_be_asked(&log).await;
    });
    for line in ["TRACE", "a thread that writes files", "INFO audit", "another configuration runs"] {
        assert!(!log.lines(&[line]).is_empty(), "{line:?} is not in the log that was searched");
    }
}

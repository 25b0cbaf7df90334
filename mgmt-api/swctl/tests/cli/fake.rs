//! A gateway that is not one: it answers recorded documents, keeps a configuration with versions, and remembers what it
//! was asked. The program under test finds it at a Unix socket, and has a home directory of its own.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

/// What was asked, and what the configuration is.
#[derive(Default)]
pub struct Memory {
    /// `METHOD PATH?QUERY BODY`, and the Authorization header where there was one.
    pub asked: Vec<String>,
    pub authorization: Option<String>,
    pub version: u32,
    pub config: Value,
    /// What the next looks at the drain find; then it is as recorded.
    pub drain: VecDeque<Value>,
}

pub type Shared = Arc<Mutex<Memory>>;

/// The fake, its socket and the operator's home.
pub struct Gateway {
    pub home: PathBuf,
    pub memory: Shared,
    stop: Option<oneshot::Sender<()>>,
}

/// How the program ended.
pub struct Ended {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Gateway {
    pub fn start() -> Self {
        Self::serving(|home| tokio::net::UnixListener::bind(home.join("api.sock")).unwrap())
    }

    /// At another kind of listener.
    pub fn serving<L, F>(listener: F) -> Self
    where
        L: Listener,
        L::Addr: std::fmt::Debug,
        F: FnOnce(&Path) -> L + Send + 'static,
    {
        let home = home();
        let config = json!({
            "listeners": [{ "name": "secure", "address": "192.0.2.1", "protection": "ipsec", "anonymous": false, "ikev1": null }],
            "ike": { "identity": "gw.example.net", "rekey": "4h", "peers": [] },
            "bgp": null,
            "subscribers": [{ "user": "alice", "secret": "***", "ipv4": null }],
        });
        let memory = Arc::new(Mutex::new(Memory { version: 7, config, ..Memory::default() }));
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (shared, directory) = (memory.clone(), home.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = listener(&directory);
                ready.send(()).unwrap();
                let served = axum::serve(listener, Router::new().fallback(answer).with_state(shared));
                tokio::select! {
                    _ = served.into_future() => {}
                    _ = stopped => {}
                }
            });
        });
        is_ready.recv().unwrap();
        Self { home, memory, stop: Some(stop) }
    }

    /// Runs `swctl` at the socket.
    pub fn swctl(&self, words: &str) -> Ended {
        self.run(&words.split(' ').collect::<Vec<_>>())
    }

    pub fn run(&self, words: &[&str]) -> Ended {
        let socket = self.home.join("api.sock");
        swctl(&self.home, &[&["--socket", socket.to_str().unwrap()], words].concat(), "")
    }

    /// What comes out of a command that is to succeed.
    pub fn out(&self, words: &str) -> String {
        let ended = self.swctl(words);
        assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{words}");
        ended.out
    }

    /// What was asked since the last time.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.memory.lock().unwrap().asked)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            _ = stop.send(());
        }
        _ = std::fs::remove_dir_all(&self.home);
    }
}

/// A directory of the test's own.
pub fn home() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let home = std::env::temp_dir().join(format!("swctl-test-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&home).unwrap();
    home
}

/// Runs `swctl` with a home and standard input.
pub fn swctl(home: &Path, words: &[&str], input: &str) -> Ended {
    use std::io::Write;
    let mut command = Command::new(env!("CARGO_BIN_EXE_swctl"));
    command.args(words).env_clear().env("HOME", home);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // One that ends before it has read its input is not what is tested.
    _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
    Ended { status: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

async fn answer(State(memory): State<Shared>, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let target = head.uri.to_string();
    let path = head.uri.path().trim_start_matches("/api/v1").to_owned();
    let value = |name| head.headers.get(name).map(|v| v.to_str().unwrap().to_owned());
    let mut m = memory.lock().unwrap();
    m.authorization = value(header::AUTHORIZATION);
    m.asked.push(format!("{} {target} {}", head.method, String::from_utf8_lossy(&body)).trim_end().to_owned());
    match (&head.method, path.as_str()) {
        (&Method::GET, "/config") => ([(header::ETAG, etag(&m))], axum::Json(masked(&m.config))).into_response(),
        (&Method::PUT, "/config") => put(&mut m, value(header::IF_MATCH), &target, &body),
        (&Method::POST, "/config/confirm") => problem(StatusCode::CONFLICT, "there is no commit to confirm"),
        (&Method::POST, "/config/rollback") => {
            axum::Json(json!({ "commit": 13, "etag": "13-a", "changes": [{}, {}], "restart": [], "confirm_by": null }))
                .into_response()
        }
        (&Method::GET, "/config/commits") if target.contains("limit=1000") || target.contains("after=") => {
            commits(&target)
        }
        (&Method::GET, "/config/commits/11") => {
            let commits = document("config-commits").unwrap();
            axum::Json(commits["commits"][1].clone()).into_response()
        }
        (&Method::GET, part) if part.starts_with("/config/") && !part.contains("/commits") => {
            let found = part.split('/').skip(2).try_fold(masked(&m.config), |at, step| match &at {
                Value::Array(items) => items.iter().find(|i| i["name"] == step || i["user"] == step).cloned(),
                _ => at.get(step).cloned(),
            });
            found.map_or_else(
                || problem(StatusCode::NOT_FOUND, "there is no such part"),
                |v| axum::Json(v).into_response(),
            )
        }
        (&Method::GET, "/subscribers") if target.contains("user=many") => many(&target),
        (&Method::GET, "/subscribers/4113.7") => {
            axum::Json(document("subscribers").unwrap()["items"][0].clone()).into_response()
        }
        (&Method::GET, "/bgp/neighbours/2001%3Adb8%3Af2%3A%3A1") => {
            axum::Json(document("bgp-neighbours").unwrap()[0].clone()).into_response()
        }
        (&Method::GET, "/events") => ([(header::CONTENT_TYPE, "text/event-stream")], EVENTS).into_response(),
        (&Method::POST, "/traces") => (StatusCode::CREATED, axum::Json(json!({ "id": 3 }))).into_response(),
        (&Method::GET, "/traces/3") => trace(&mut m),
        (&Method::GET, "/traces/3/pcapng") => b"pcapng".into_response(),
        (&Method::GET, "/drain") if !m.drain.is_empty() => axum::Json(m.drain.pop_front()).into_response(),
        (&Method::POST, "/tokens") if body.starts_with(br#"{"name":"taken""#) => {
            problem(StatusCode::CONFLICT, "there is a token of this name")
        }
        (&Method::POST, "/tokens") => {
            let token = json!({ "id": "k3v9w2aq", "token": "swgw_k3v9w2aq_the-token", "name": "x", "role": "read" });
            (StatusCode::CREATED, axum::Json(token)).into_response()
        }
        (&Method::GET, _) => match document(&path.trim_start_matches('/').replace('/', "-")) {
            Some(document) => axum::Json(document).into_response(),
            None => problem(StatusCode::NOT_FOUND, "there is no such resource"),
        },
        (_, "/subscribers/nobody") => problem(StatusCode::NOT_FOUND, "there is no subscriber nobody\u{1b}[2J"),
        _ => StatusCode::ACCEPTED.into_response(),
    }
}

/// A recorded document.
fn document(name: &str) -> Option<Value> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/documents").join(format!("{name}.json"));
    Some(serde_json::from_slice(&std::fs::read(file).ok()?).unwrap())
}

fn etag(m: &Memory) -> String {
    format!("\"{}-a\"", m.version)
}

fn put(m: &mut Memory, version: Option<String>, target: &str, body: &Bytes) -> Response {
    if version != Some(etag(m)) {
        return problem(StatusCode::PRECONDITION_FAILED, "the configuration has another version");
    }
    let config: Value = serde_json::from_slice(body).unwrap();
    if config["listeners"][0]["address"] == "nowhere" {
        let errors = json!([{ "path": "/listeners/0/address", "detail": "\"nowhere\" is no address" }]);
        let body =
            json!({ "title": "Unprocessable Content", "detail": "the configuration is invalid", "errors": errors });
        return (StatusCode::UNPROCESSABLE_ENTITY, axum::Json(body)).into_response();
    }
    let dry = target.contains("dry_run=true");
    if !dry {
        m.config = config;
        m.version += 1;
    }
    let confirm_by = target.contains("confirm=").then_some("2026-11-26T10:05:00Z");
    axum::Json(json!({
        "commit": (!dry).then_some(m.version), "etag": format!("{}-a", m.version), "changes": [{ "path": "/x" }],
        "restart": ["/ports"], "confirm_by": confirm_by,
    }))
    .into_response()
}

fn masked(config: &Value) -> Value {
    match config {
        Value::Object(map) => {
            let hide = |(name, v): (&String, &Value)| {
                (name.clone(), if name == "secret" && v.is_string() { "***".into() } else { masked(v) })
            };
            Value::Object(map.iter().map(hide).collect())
        }
        Value::Array(list) => list.iter().map(masked).collect(),
        other => other.clone(),
    }
}

fn parameter(target: &str, name: &str) -> Option<usize> {
    let (_, rest) = target.split_once(&format!("{name}="))?;
    rest.split('&').next()?.parse().ok()
}

/// 1,200 commits in pages, the newest first.
fn commits(target: &str) -> Response {
    let (after, limit) = (parameter(target, "after").unwrap_or(1201), parameter(target, "limit").unwrap());
    let page: Vec<Value> = (1..after).rev().take(limit).map(|id| json!({ "id": id, "changes": [] })).collect();
    let next = (after > limit + 1).then(|| after - limit);
    axum::Json(json!({ "commits": page, "next": next })).into_response()
}

/// 2,500 subscribers in pages.
fn many(target: &str) -> Response {
    let (after, limit) = (parameter(target, "after").unwrap_or(0), parameter(target, "limit").unwrap());
    // Nothing is found among the first.
    if after == 0 {
        return axum::Json(json!({ "items": [], "next": "1", "total": 9000 })).into_response();
    }
    let (after, last) = (after - 1, (after - 1 + limit).min(2500));
    let items: Vec<Value> = (after..last).map(|n| json!({ "id": format!("1.{n}"), "user": "many" })).collect();
    let next = (last < 2500).then(|| (last + 1).to_string());
    axum::Json(json!({ "items": items, "next": next, "total": 9000 })).into_response()
}

/// The second look finds more packets than the first, and the end.
fn trace(m: &mut Memory) -> Response {
    let looks = m.asked.iter().filter(|a| a.ends_with("/traces/3")).count();
    let packet = |n: u32| {
        json!({ "at": format!("10:00:00.00000{n}"), "worker": 0, "port": "access", "verdict": "forwarded",
                "nodes": [{ "node": "rx", "detail": { "length": 142 } }, { "node": "esp-in", "detail": { "spi": "c0000001" } }] })
    };
    let packets: Vec<Value> = (1..=looks as u32).map(packet).collect();
    axum::Json(json!({ "id": 3, "state": if looks > 1 { "done" } else { "running" }, "packets": packets }))
        .into_response()
}

const EVENTS: &str = "event: session.up\nid: 1\ndata: {\"at\":\"2026-11-26T10:00:00Z\",\"kind\":\"session.up\",\"user\":\"alice\"}\n\n\
                      event: lagged\ndata: {\"lost\":12}\n\n";

fn problem(status: StatusCode, detail: &str) -> Response {
    let body = json!({ "title": status.canonical_reason(), "status": status.as_u16(), "detail": detail });
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}

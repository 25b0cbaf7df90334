//! The store and its routes, before a control plane that notes what it is given.

mod commits;
mod crashes;
mod documents;

use super::{Store, routes};
use crate::AppState;
use crate::access::Caller;
use axum::body::Body;
use axum::http::Request;
use axum::{Extension, Router};
use controlplane::config::{Config, Problem, Role};
use controlplane::northbound::{Applied, Northbound, Notice, Query};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use tokio::sync::broadcast;
use tower::ServiceExt;

const YAML: &str = r#"
# By hand.
ports: [{ name: access, device: d, zone: public, addresses: [192.0.2.1/24] }]
routes: [{ to: 10.0.0.0/8, port: access }]
listeners: [{ name: secure, address: 192.0.2.1 }]
ike: { identity: gw, peers: [{ name: alice, id: alice@example.net, auth: psk, psk: correct-horse }] }
pools: { ipv6: ["2001:db8:100::/48"] }
subscribers: [{ user: alice, secret: wonderland }, { user: bob, secret: rosebud }]
"#;

/// None of these is ever in an answer.
const SECRETS: &[&str] = &["correct-horse", "wonderland", "rosebud", "tulgey", "vorpal"];

/// What the control plane does next.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Takes,
    Refuses,
    Hangs,
    /// It takes it, and what was to become the file is gone.
    Loses,
}

/// What the other routes' tests begin with: a configuration of which nothing is left on the disk.
pub(crate) fn state(northbound: Northbound) -> AppState {
    let dir = scratch();
    let store = Store::open(&dir.join("softwired.yaml"), &dir, 50, northbound.clone()).unwrap();
    std::fs::remove_dir_all(dir).unwrap();
    AppState { northbound, store }
}

fn scratch() -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("configuration-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
    let dir = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("softwired.yaml"), YAML).unwrap();
    dir
}

/// What the control plane was given: whether just to look at, and the users in it.
type Given = (bool, Vec<String>);

struct Bench {
    dir: PathBuf,
    store: Arc<Store>,
    given: Arc<Mutex<Vec<Given>>>,
    mood: Arc<Mutex<Mood>>,
    events: Mutex<broadcast::Receiver<Arc<Notice>>>,
}

impl Bench {
    fn new() -> Self {
        Self::start(scratch(), 50)
    }

    fn start(dir: PathBuf, keep: usize) -> Self {
        let (northbound, mut queries) = Northbound::channel();
        let events = Mutex::new(northbound.events());
        let given = Arc::new(Mutex::new(Vec::new()));
        let mood = Arc::new(Mutex::new(Mood::Takes));
        let (seen, felt, staged) = (Arc::clone(&given), Arc::clone(&mood), dir.join(".softwired.yaml.new"));
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Some(query) = queries.recv().await {
                let Query::Configure(config, dry_run, to) = query else { panic!("nothing else is asked") };
                seen.lock().unwrap().push((dry_run, users(&config)));
                match *felt.lock().unwrap() {
                    Mood::Takes => drop(to.send(Ok(Applied { restart: vec!["/ports".to_owned()] }))),
                    Mood::Refuses => drop(to.send(Err(vec![Problem::new("subscribers[1].user", "not that one")]))),
                    Mood::Hangs => open.push(to),
                    Mood::Loses => {
                        std::fs::remove_file(&staged).unwrap();
                        drop(to.send(Ok(Applied::default())));
                    }
                }
            }
        });
        let store = Store::open(&dir.join("softwired.yaml"), &dir, keep, northbound).unwrap_or_else(|e| panic!("{e}"));
        Self { dir, store, given, mood, events }
    }

    /// As after a crash: nothing of the process is left but its files.
    fn restart(self) -> Self {
        self.keep(50)
    }

    /// Begins again, with so many commits of history.
    fn keep(mut self, keep: usize) -> Self {
        Self::start(std::mem::take(&mut self.dir), keep)
    }

    fn mood(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn given(&self) -> Vec<Given> {
        std::mem::take(&mut self.given.lock().unwrap())
    }

    /// Events so far.
    fn told(&self) -> Vec<String> {
        let mut events = self.events.lock().unwrap();
        std::iter::from_fn(|| events.try_recv().ok()).map(|notice| notice.event.kind().to_owned()).collect()
    }

    fn file(&self) -> String {
        std::fs::read_to_string(self.dir.join("softwired.yaml")).unwrap()
    }

    fn app(&self) -> Router {
        let (router, _) = routes::<Arc<Store>>().split_for_parts();
        let caller = Caller { name: "token:carol".to_owned(), role: Role::Admin, from: "192.0.2.9:1".to_owned() };
        Router::new().nest("/api/v1", router).layer(Extension(caller)).with_state(Arc::clone(&self.store))
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.app().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        for secret in SECRETS {
            assert!(!text.contains(secret) && !format!("{parts:?}").contains(secret), "{secret}: {text}");
        }
        let text_of = |name: &str| parts.headers.get(name).map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
        assert!(
            parts.status.is_success() || text_of("content-type") == "application/problem+json",
            "{parts:?}: {text}"
        );
        let body = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        Answer { status: parts.status.as_u16(), etag: text_of("etag"), body }
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.send(request(method, path, body).body().unwrap()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, None).await
    }

    async fn put(&self, path: &str, body: Value) -> Answer {
        self.call("PUT", path, Some(body)).await
    }

    /// Users of the document that runs.
    async fn users(&self) -> Vec<String> {
        let all = self.get("/config/subscribers").await.body;
        all.as_array().unwrap().iter().map(|s| s["user"].as_str().unwrap().to_owned()).collect()
    }

    /// Number, author and state of the commits.
    async fn history(&self) -> Vec<String> {
        let all = self.get("/config/commits").await.body;
        let text =
            |c: &Value| format!("{} {} {}", c["id"], c["author"].as_str().unwrap(), c["state"].as_str().unwrap());
        all["commits"].as_array().unwrap().iter().map(text).collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if !self.dir.as_os_str().is_empty() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    etag: String,
    body: Value,
}

impl Answer {
    /// Status, and the paths of what is wrong.
    fn errors(&self) -> (u16, Vec<&str>) {
        let errors = self.body["errors"].as_array().into_iter().flatten();
        (self.status, errors.map(|e| e["path"].as_str().unwrap()).collect())
    }

    fn commit(&self) -> Option<u64> {
        self.body["commit"].as_u64()
    }
}

struct Sent(axum::http::request::Builder, Option<Value>);

impl Sent {
    fn with(self, name: &str, value: &str) -> Self {
        Self(self.0.header(name, value), self.1)
    }

    fn body(self) -> axum::http::Result<Request<Body>> {
        match self.1 {
            Some(value) => self.0.header("content-type", "application/json").body(Body::from(value.to_string())),
            None => self.0.body(Body::empty()),
        }
    }
}

fn request(method: &str, path: &str, body: Option<Value>) -> Sent {
    Sent(Request::builder().method(method).uri(format!("/api/v1{path}")), body)
}

fn users(config: &Config) -> Vec<String> {
    config.subscribers.iter().map(|s| s.user.clone()).collect()
}

fn dave() -> Value {
    json!({ "user": "dave", "secret": "tulgey" })
}

fn mode(path: PathBuf) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

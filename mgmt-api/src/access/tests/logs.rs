//! What is written about access: a line for each change, and no secret.

use super::*;
use std::cell::RefCell;
use std::io::Write;
use std::sync::Once;

/// What is written while a test runs.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

thread_local! {
    /// Where what this thread writes goes.
    static SINK: RefCell<Option<Log>> = const { RefCell::new(None) };
}

pub(super) struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        SINK.take();
    }
}

/// What the subscriber writes to: one for the process, since those of single threads do not hear of a call site that
/// another thread has come to first.
struct Sink;

impl Write for Sink {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        SINK.with_borrow(|log| match log {
            Some(log) => std::io::Write::write(&mut *log.0.lock().unwrap(), octets),
            None => Ok(octets.len()),
        })
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Everything that this thread writes from now on.
    pub fn capture() -> (Self, Guard) {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            let subscriber = tracing_subscriber::fmt()
                .with_max_level(tracing::Level::TRACE)
                .with_ansi(false)
                .with_writer(|| Sink)
                .finish();
            tracing::subscriber::set_global_default(subscriber).unwrap();
        });
        let log = Self::default();
        log.here();
        (log, Guard)
    }

    /// And what the thread writes that calls this.
    pub fn here(&self) {
        SINK.set(Some(self.clone()));
    }

    pub fn lines(&self, with: &[&str]) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| with.iter().all(|w| line.contains(w))).map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn each_change_leaves_a_line() {
    let (log, _guard) = Log::capture();
    let gw = running(|_, _| {}).await;
    let read = gw.token("monitor", "read").await;
    let operate = gw.token("night-shift", "operate").await;
    gw.get("/api/v1/subscribers", &operate).await;
    assert!(log.lines(&["audit", "path=\"/api/v1/subscribers\""]).is_empty(), "looking is no change");
    gw.call("DELETE", "/api/v1/subscribers/1.1", &operate).await;
    let line = ["INFO audit: verb=\"operate\" author=\"token:night-shift\" source=\"127.0.0.1:", "method=DELETE"];
    assert_eq!(log.lines(&[line[0], line[1], "path=\"/api/v1/subscribers/1.1\" result=202"]).len(), 1);
    gw.call("DELETE", "/api/v1/subscribers/1.1", &read).await;
    assert_eq!(log.lines(&["author=\"token:monitor\"", "result=403"]).len(), 1, "what was refused, too");
    gw.get("/api/v1/tokens", &operate).await;
    assert_eq!(log.lines(&["author=\"token:night-shift\"", "path=\"/api/v1/tokens\" result=403"]).len(), 1);
    gw.call("DELETE", "/api/v1/subscribers/1.1", "swgw_aaaaaaaa_wrong").await;
    assert_eq!(log.lines(&["WARN audit: verb=\"reject\"", "reason=\"wrong token\""]).len(), 1);
    gw.call("DELETE", "/api/v1/subscribers/1.1", "").await;
    assert_eq!(log.lines(&["audit", "/api/v1/subscribers/1.1"]).len(), 3, "anybody can leave out the token");
    let made = ["author=\"local:", "source=\"socket\"", "name=\"night-shift\" what=\"made, role operate\""];
    assert_eq!(log.lines(&made).len(), 1);
    gw.stop().await;
}

#[tokio::test]
async fn no_token_and_no_hash_is_logged_or_answered() {
    let (log, _guard) = Log::capture();
    let gw = running(|_, _| {}).await;
    let token = gw.token("ci", "admin").await;
    let wrong = format!("{token}x");
    let mut answers = Vec::new();
    for path in ["/api/v1/tokens", "/api/v1/whoami", "/api/v1/subscribers", "/api/v1/nowhere", "/metrics"] {
        for token in [&token, &wrong, ""] {
            answers.push(gw.get(path, token).await);
        }
    }
    answers.push(gw.local("GET", "/api/v1/tokens", "").await);
    answers.push(gw.call("DELETE", &format!("/api/v1/tokens/{}", &token[5..13]), &token).await);
    answers.push(gw.get("/api/v1/tokens", &token).await);
    gw.stop().await;
    assert!(answers.iter().any(|a| a.status == 200) && answers.iter().any(|a| a.status == 401));
    assert!(!log.lines(&[]).is_empty());
    let secret = token.splitn(3, '_').nth(2).unwrap();
    for hidden in [secret, "$argon2", "argon2id"] {
        assert_eq!(log.lines(&[hidden]), Vec::<String>::new());
        assert!(answers.iter().all(|a| !a.body.contains(hidden) && !a.head.contains(hidden)));
    }
}

//! The store: the document that runs, and the steps by which another one takes its place.

use super::history::{History, put, stage, write};
use super::place::{Act, Place};
use super::{Commit, CommitState, Outcome, Refused};
use controlplane::config::{Change, Config, ConfigError, Document};
use controlplane::northbound::{Applied, ConfigEvent, Event, Northbound, Query};
use serde_json::Value;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

/// Time between tries to put back what was not confirmed.
const AGAIN: Duration = Duration::from_secs(10);

/// The configuration, its file and its history.
pub struct Store {
    northbound: Northbound,
    disk: Arc<Disk>,
    running: Mutex<Running>,
}

struct Disk {
    file: PathBuf,
    history: History,
}

struct Running {
    document: Arc<Document>,
    commit: u64,
    etag: String,
    /// The highest number that was ever given.
    last: u64,
    pending: Option<Pending>,
}

/// The running document awaits confirmation: it is not in the file.
struct Pending {
    commit: Commit,
    /// What ran before it: the commit's number, the document, its ETag.
    before: (u64, Arc<Document>, String),
}

/// What somebody wants.
pub(super) enum Wish {
    /// Something done at a place.
    At(Place, Act),
    /// The document of a commit.
    Back(u64),
    /// What somebody has written into the file.
    File,
}

/// How it is to be done.
#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    pub dry_run: bool,
    pub confirm: Option<Duration>,
    pub comment: Option<String>,
    pub if_match: Option<String>,
}

/// The document that is to run.
struct Candidate {
    document: Document,
    config: Config,
    changes: Vec<Change>,
    created: bool,
}

impl Store {
    /// Of `file`, with the history in `state`, of which `keep` commits stay. What was pending when the last run ended is settled.
    pub fn open(file: &Path, state: &Path, keep: usize, northbound: Northbound) -> Result<Arc<Self>, Refused> {
        let disk = |path: &Path, e: std::io::Error| Refused::Disk(format!("{}: {e}", path.display()));
        // What a symbolic link leads to is written, not the link.
        let file = file.canonicalize().map_err(|e| disk(file, e))?;
        let dir = state.join("history");
        let history = History::open(dir.clone(), keep).map_err(|e| disk(&dir, e))?;
        let document = Document::load(&file).map_err(|e| Refused::Disk(e.to_string()))?;
        let (commit, last) = history.settle(&document, time(SystemTime::now()))?;
        let running = Running::new(Arc::new(document), commit, last);
        Ok(Arc::new(Self { northbound, disk: Arc::new(Disk { file, history }), running: Mutex::new(running) }))
    }

    /// What is at a place, secrets masked, and the ETag of the document: what is written, or what holds.
    pub(super) async fn show(&self, place: Place, defaults: bool) -> Result<(Value, String), Refused> {
        let (document, etag) = {
            let running = self.running.lock().await;
            (Arc::clone(&running.document), running.etag.clone())
        };
        let shown = self.blocking(move |_| {
            let written = document.masked();
            if let (false, Some(value)) = (defaults, place.get(&written)?) {
                return Ok(value.clone());
            }
            let complete = document.complete().map_err(|e| Refused::because(&written, e))?;
            place.get(&complete)?.filter(|value| !value.is_null()).cloned().ok_or_else(|| place.unknown())
        });
        Ok((shown.await?, etag))
    }

    /// Makes a change; whether what it is about is new. Once begun it is carried through, though nobody waits for it any more.
    pub(super) async fn change(
        self: &Arc<Self>,
        author: &str,
        wish: Wish,
        options: Options,
    ) -> Result<(Outcome, bool), Refused> {
        let (store, author) = (Arc::clone(self), author.to_owned());
        carried(tokio::spawn(async move { store.commit(author, wish, options).await })).await
    }

    /// Takes what somebody has written into the file.
    pub async fn reload(self: &Arc<Self>) -> Result<Outcome, Refused> {
        let options = Options { comment: Some("read again".to_owned()), ..Options::default() };
        self.change("file", Wish::File, options).await.map(|(outcome, _)| outcome)
    }

    /// Confirms the pending commit, if it is the one that `if_match` is about.
    pub(super) async fn confirm(self: &Arc<Self>, if_match: Option<String>) -> Result<Commit, Refused> {
        let store = Arc::clone(self);
        carried(tokio::spawn(async move {
            let mut running = store.running.lock().await;
            running.matches(if_match.as_deref())?;
            let Some(pending) = &running.pending else {
                return Err(Refused::Conflict("no commit awaits confirmation".to_owned()));
            };
            let commit = Commit { state: CommitState::Confirmed, confirm_by: None, ..pending.commit.clone() };
            let (before, document) = (Arc::clone(&pending.before.1), Arc::clone(&running.document));
            let written = commit.clone();
            store
                .blocking(move |disk| {
                    disk.untouched(&before)?;
                    disk.write(&document)?;
                    disk.note(&written);
                    Ok(())
                })
                .await?;
            running.pending = None;
            store.tell(Event::ConfigConfirm, &commit);
            tracing::info!(commit = commit.id, "the configuration is confirmed");
            Ok(commit)
        }))
        .await
    }

    async fn commit(
        self: &Arc<Self>,
        author: String,
        wish: Wish,
        options: Options,
    ) -> Result<(Outcome, bool), Refused> {
        let mut running = self.running.lock().await;
        running.matches(options.if_match.as_deref())?;
        if let (Some(pending), false) = (&running.pending, options.dry_run) {
            if matches!(wish, Wish::Back(id) if id == pending.before.0) {
                return self.revert(&mut running, &author).await.map(|outcome| (outcome, false));
            }
            let id = pending.commit.id;
            return Err(Refused::Conflict(format!(
                "commit {id} awaits confirmation: confirm it, or roll it back first"
            )));
        }
        let from_file = matches!(wish, Wish::File);
        let before = Arc::clone(&running.document);
        let untouched = !options.dry_run && !from_file;
        let candidate = self
            .blocking(move |disk| {
                if untouched {
                    disk.untouched(&before)?;
                }
                disk.candidate(&before, wish)
            })
            .await?;
        let Candidate { document, config, changes, created } = candidate;
        let mut outcome =
            Outcome { commit: None, etag: running.etag.clone(), changes, restart: Vec::new(), confirm_by: None };
        if outcome.changes.is_empty() {
            // The same document may name files that have changed.
            if from_file {
                outcome.restart = self.configure(config, options.dry_run, &document).await?.restart;
            }
            return Ok((outcome, false));
        }
        if options.dry_run {
            outcome.restart = self.configure(config, true, &document).await?.restart;
            return Ok((outcome, created));
        }

        let confirm_by = options.confirm.map(|within| (within, Instant::now() + within));
        let now = SystemTime::now();
        let mut commit = Commit {
            id: running.last + 1,
            at: time(now),
            author,
            comment: options.comment,
            changes: outcome.changes.clone(),
            state: CommitState::Pending,
            confirm_by: confirm_by.map(|(within, _)| time(now + within)),
        };
        let document = Arc::new(document);
        let (written, noted) = (Arc::clone(&document), commit.clone());
        let to_file = !from_file && confirm_by.is_none();
        let work = move |disk: &Disk| Ok((disk.prepare(&written, &noted, to_file)?, etag(noted.id, &written)));
        let (staged, tag) = self.blocking(work).await?;
        running.last = commit.id;
        outcome.restart = match self.configure(config, false, &document).await {
            Ok(applied) => applied.restart,
            Err(refused) => {
                self.blocking(move |disk| disk.undo(staged, commit.id)).await?;
                return Err(refused);
            }
        };
        if let Some(staged) = staged {
            let id = commit.id;
            if let Err(refused) = self.blocking(move |disk| disk.finish(&staged, id)).await {
                if let Err(error) = self.restore(&running.document).await {
                    tracing::error!(%error, "the control plane has what is not in the file, and does not take back what is");
                }
                return Err(refused);
            }
        }
        let before = (running.commit, std::mem::replace(&mut running.document, document), running.etag.clone());
        running.commit = commit.id;
        running.etag = tag;
        outcome.commit = Some(commit.id);
        outcome.etag.clone_from(&running.etag);
        outcome.confirm_by.clone_from(&commit.confirm_by);
        tracing::info!(
            commit = commit.id,
            author = commit.author,
            changes = commit.changes.len(),
            "another configuration runs"
        );
        self.tell(Event::ConfigCommit, &commit);
        let needed = [commit.id, before.0];
        match confirm_by {
            Some((_, deadline)) => {
                self.watch(commit.id, deadline);
                running.pending = Some(Pending { commit, before });
                self.blocking(move |disk| {
                    disk.history.prune(&needed);
                    Ok(())
                })
                .await?;
            }
            None => {
                commit.state = CommitState::Confirmed;
                self.blocking(move |disk| {
                    disk.note(&commit);
                    disk.history.prune(&needed);
                    Ok(())
                })
                .await?;
            }
        }
        Ok((outcome, created))
    }

    /// Puts back what was there before the pending commit.
    async fn revert(&self, running: &mut MutexGuard<'_, Running>, author: &str) -> Result<Outcome, Refused> {
        let none = || Refused::Conflict("no commit awaits confirmation".to_owned());
        // What cannot be put back is still pending: the timer tries again.
        let before = running.pending.as_ref().map(|p| Arc::clone(&p.before.1)).ok_or_else(none)?;
        let restart = self.restore(&before).await?;
        let Some(Pending { commit, before: (id, document, etag) }) = running.pending.take() else { return Err(none()) };
        let commit = Commit { state: CommitState::Reverted, confirm_by: None, ..commit };
        let changes = document.changes(&running.document);
        **running = Running { document, commit: id, etag, last: running.last, pending: None };
        tracing::warn!(commit = commit.id, by = author, "the configuration is put back: it was not confirmed");
        self.tell(Event::ConfigRevert, &commit);
        self.blocking(move |disk| {
            disk.note(&commit);
            Ok(())
        })
        .await?;
        Ok(Outcome { commit: Some(id), etag: running.etag.clone(), changes, restart, confirm_by: None })
    }

    fn watch(self: &Arc<Self>, id: u64, deadline: Instant) {
        let store = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep_until(deadline).await;
            while let Some(store) = store.upgrade() {
                let mut running = store.running.lock().await;
                if running.pending.as_ref().is_none_or(|p| p.commit.id != id) {
                    return;
                }
                if let Err(error) = store.revert(&mut running, "timer").await {
                    tracing::error!(commit = id, %error, "the configuration cannot be put back yet");
                }
                drop(running);
                drop(store);
                tokio::time::sleep(AGAIN).await;
            }
        });
    }

    fn tell(&self, event: fn(ConfigEvent) -> Event, commit: &Commit) {
        let (author, comment) = (commit.author.clone(), commit.comment.clone());
        self.northbound.publish(SystemTime::now(), event(ConfigEvent { commit: commit.id, author, comment }));
    }

    async fn configure(&self, config: Config, dry_run: bool, document: &Document) -> Result<Applied, Refused> {
        let answer = self.northbound.ask(|to| Query::Configure(Box::new(config), dry_run, to)).await?;
        answer.map_err(|problems| Refused::invalid(&document.masked(), &problems))
    }

    /// Gives the control plane what it has had before; what waits for a restart then.
    async fn restore(&self, document: &Arc<Document>) -> Result<Vec<String>, Refused> {
        let read = Arc::clone(document);
        let config = self.blocking(move |disk| disk.config(&read)).await?;
        self.configure(config, false, document).await.map(|applied| applied.restart)
    }

    /// Commits below `after`, the newest first.
    pub(super) async fn commits(
        &self,
        after: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<Commit>, Option<u64>), Refused> {
        self.blocking(move |disk| {
            let ids = disk.history.ids().map_err(|e| Refused::Disk(format!("history: {e}")))?;
            let mut ids = ids.into_iter().filter(|id| after.is_none_or(|after| *id < after));
            let page: Vec<u64> = ids.by_ref().take(limit).collect();
            let next = ids.next().and(page.last().copied());
            Ok((page.into_iter().filter_map(|id| disk.history.commit(id)).collect(), next))
        })
        .await
    }

    /// A commit and its document.
    pub(super) async fn commit_of(&self, id: u64) -> Result<(Commit, Document), Refused> {
        self.blocking(move |disk| {
            let commit = disk.history.commit(id).ok_or_else(|| Refused::Unknown(format!("commit {id}")))?;
            Ok((commit, disk.history.document(id)?))
        })
        .await
    }

    /// Reading and writing must not keep the packets of the control plane waiting.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Disk) -> Result<T, Refused> + Send + 'static,
    ) -> Result<T, Refused> {
        let disk = Arc::clone(&self.disk);
        carried(tokio::task::spawn_blocking(move || work(&disk))).await
    }
}

async fn carried<T>(task: tokio::task::JoinHandle<Result<T, Refused>>) -> Result<T, Refused> {
    task.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a change of the configuration has ended unexpectedly");
        Err(Refused::Gone)
    })
}

impl Disk {
    /// Nobody has edited the file.
    fn untouched(&self, running: &Document) -> Result<(), Refused> {
        let edited = || {
            let file = self.file.display();
            Err(Refused::Conflict(format!("somebody has edited {file}: have it read (SIGHUP) or put back first")))
        };
        match Document::load(&self.file) {
            Ok(document) if document == *running => Ok(()),
            Err(ConfigError::Read(_, e)) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Ok(_) | Err(_) => edited(),
        }
    }

    fn candidate(&self, running: &Document, wish: Wish) -> Result<Candidate, Refused> {
        let mut created = false;
        let document = match wish {
            Wish::At(place, act) => {
                let mut body = running.masked();
                created = place.apply(&mut body, act)?;
                let document = Document::from_json(&body).and_then(|d| d.with_secrets_of(running));
                document.map_err(|e| Refused::because(&body, e))?
            }
            Wish::Back(id) => self.history.document(id)?,
            Wish::File => Document::load(&self.file).map_err(|e| Refused::Malformed(e.to_string()))?,
        };
        let config = self.config(&document)?;
        let changes = document.changes(running);
        Ok(Candidate { document, config, changes, created })
    }

    fn config(&self, document: &Document) -> Result<Config, Refused> {
        document.config(&self.file).map_err(|e| Refused::because(&document.masked(), e))
    }

    /// All that can fail before the control plane is asked; on an error nothing is left of it.
    fn prepare(&self, document: &Document, commit: &Commit, to_file: bool) -> Result<Option<PathBuf>, Refused> {
        let yaml = document.to_yaml().map_err(|e| Refused::Disk(e.to_string()))?;
        self.history.add(commit, &yaml).map_err(|e| Refused::Disk(format!("the history cannot be written: {e}")))?;
        let staged = to_file.then(|| stage(&self.file, yaml.as_bytes())).transpose();
        staged.map_err(|e| self.unwritten(&e)).inspect_err(|_| self.history.remove(commit.id))
    }

    fn undo(&self, staged: Option<PathBuf>, id: u64) -> Result<(), Refused> {
        staged.iter().for_each(|path| drop(std::fs::remove_file(path)));
        self.history.remove(id);
        Ok(())
    }

    fn finish(&self, staged: &Path, id: u64) -> Result<(), Refused> {
        put(staged, &self.file).map_err(|e| self.unwritten(&e)).inspect_err(|_| self.history.remove(id))
    }

    fn write(&self, document: &Document) -> Result<(), Refused> {
        let yaml = document.to_yaml().map_err(|e| Refused::Disk(e.to_string()))?;
        write(&self.file, yaml.as_bytes()).map_err(|e| self.unwritten(&e))
    }

    fn unwritten(&self, error: &std::io::Error) -> Refused {
        Refused::Disk(format!("{} cannot be written: {error}", self.file.display()))
    }

    /// Notes what has become of a commit. If that fails, the next start finds it out by the file.
    fn note(&self, commit: &Commit) {
        if let Err(error) = self.history.update(commit) {
            tracing::warn!(commit = commit.id, %error, "the history cannot be written");
        }
    }
}

impl Running {
    fn new(document: Arc<Document>, commit: u64, last: u64) -> Self {
        let etag = etag(commit, &document);
        Self { document, commit, etag, last, pending: None }
    }

    /// Whether the document is the one that a request is about (RFC 9110, section 13.1.1).
    fn matches(&self, if_match: Option<&str>) -> Result<(), Refused> {
        let is = |tag: &str| tag == "*" || tag == self.etag;
        match if_match {
            Some(tags) if !tags.split(',').any(|tag| is(tag.trim())) => Err(Refused::Changed(self.etag.clone())),
            _ => Ok(()),
        }
    }
}

/// The commit's number, and a hash of what may be shown: one of the secrets would help to guess them.
fn etag(commit: u64, document: &Document) -> String {
    let mut hasher = DefaultHasher::new();
    document.masked().to_string().hash(&mut hasher);
    format!("\"{commit}-{:016x}\"", hasher.finish())
}

fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

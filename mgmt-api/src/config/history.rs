//! The commits, on disk.

use super::{Commit, CommitState, Refused};
use controlplane::config::{Change, Document};
use std::fs::DirBuilder;
use std::io::{Error, Result};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

pub(super) use crate::file::{put, stage, write};

/// A directory of commits: `N.yaml` is a document, `N.json` what is known of it.
pub(super) struct History {
    dir: PathBuf,
    keep: usize,
}

impl History {
    /// In `dir`, which is made; `keep` is how many commits stay.
    pub fn open(dir: PathBuf, keep: usize) -> Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        Ok(Self { dir, keep: keep.max(1) })
    }

    fn path(&self, id: u64, kind: &str) -> PathBuf {
        self.dir.join(format!("{id}.{kind}"))
    }

    /// Numbers of the commits that are there, the newest first.
    pub fn ids(&self) -> Result<Vec<u64>> {
        let mut ids = Vec::new();
        for entry in std::fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "json") {
                ids.extend(path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok()));
            }
        }
        ids.sort_unstable_by(|a, b| b.cmp(a));
        Ok(ids)
    }

    /// A commit, if it is there and can be read.
    pub fn commit(&self, id: u64) -> Option<Commit> {
        let text = std::fs::read(self.path(id, "json")).ok()?;
        let read = serde_json::from_slice(&text);
        read.inspect_err(|error| tracing::warn!(commit = id, %error, "its record cannot be read")).ok()
    }

    /// The document of a commit.
    pub fn document(&self, id: u64) -> std::result::Result<Document, Refused> {
        let path = self.path(id, "yaml");
        if !path.exists() {
            return Err(Refused::Unknown(format!("commit {id}")));
        }
        Document::load(&path).map_err(|e| Refused::Disk(e.to_string()))
    }

    /// Adds a commit; on an error there is none.
    pub fn add(&self, commit: &Commit, yaml: &str) -> Result<()> {
        let added = write(&self.path(commit.id, "yaml"), yaml.as_bytes()).and_then(|()| self.update(commit));
        added.inspect_err(|_| self.remove(commit.id))
    }

    /// Writes anew what is known of a commit.
    pub fn update(&self, commit: &Commit) -> Result<()> {
        write(&self.path(commit.id, "json"), &serde_json::to_vec_pretty(commit)?)
    }

    /// Forgets a commit.
    pub fn remove(&self, id: u64) {
        // The record goes first: a document without one is not looked at.
        for kind in ["json", "yaml"] {
            let _ = std::fs::remove_file(self.path(id, kind));
        }
    }

    /// Forgets the oldest beyond those that are to stay, and never those of `needed`.
    pub fn prune(&self, needed: &[u64]) {
        let old = self.ids().unwrap_or_default().into_iter().skip(self.keep);
        old.filter(|id| !needed.contains(id)).for_each(|id| self.remove(id));
    }

    /// After a start with `document`: what was pending is settled, and the document has a commit. Returns its number, and the
    /// highest that was ever given.
    pub fn settle(&self, document: &Document, at: String) -> std::result::Result<(u64, u64), Refused> {
        let disk = |e: Error| Refused::Disk(format!("{}: {e}", self.dir.display()));
        let ids = self.ids().map_err(disk)?;
        let is = |id: u64| self.document(id).is_ok_and(|d| d == *document);
        for mut commit in ids.iter().filter_map(|id| self.commit(*id)).filter(|c| c.state == CommitState::Pending) {
            // The file is what counts: it may have been written, and the process ended before it said so here.
            let written = is(commit.id);
            commit.state = if written { CommitState::Confirmed } else { CommitState::Reverted };
            commit.confirm_by = None;
            tracing::info!(commit = commit.id, written, "a commit was pending when the last run ended");
            self.update(&commit).map_err(disk)?;
        }
        let last = ids.first().copied().unwrap_or(0);
        let confirmed = ids.iter().filter_map(|id| self.commit(*id)).find(|c| c.state == CommitState::Confirmed);
        if let Some(commit) = confirmed.as_ref().filter(|c| is(c.id)) {
            return Ok((commit.id, last));
        }
        let before = confirmed.and_then(|c| self.document(c.id).ok());
        let changes = before.map(|before| document.changes(&before)).unwrap_or_default();
        let commit = Commit::of_file(last + 1, at, "read at start", changes);
        let yaml = document.to_yaml().map_err(|e| Refused::Disk(e.to_string()))?;
        self.add(&commit, &yaml).map_err(disk)?;
        self.prune(&[commit.id]);
        Ok((commit.id, commit.id))
    }
}

impl Commit {
    /// Of what somebody has written into the file.
    pub(super) fn of_file(id: u64, at: String, comment: &str, changes: Vec<Change>) -> Self {
        let (author, comment) = ("file".to_owned(), Some(comment.to_owned()));
        Self { id, at, author, comment, changes, state: CommitState::Confirmed, confirm_by: None }
    }
}

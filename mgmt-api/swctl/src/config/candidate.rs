//! The candidate: a configuration that the operator is at work on. It is the document that it began with, its version, and
//! the edits since, in a file of the operator's own, one per gateway. Edits, not a result: they can be made again on a
//! newer document (`swctl update`). What it holds of secrets is what the operator has typed, so nobody else may read it.

use super::change::{Change, compare};
use super::path;
use crate::client::{Client, escape};
use crate::error::Error;
use crate::settings::directory;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

/// A step of the operator's.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "edit", rename_all = "snake_case")]
pub enum Edit {
    /// Put a value there.
    Set {
        /// Where.
        path: Vec<String>,
        /// What.
        value: Value,
    },
    /// Remove what is there.
    Delete {
        /// Where.
        path: Vec<String>,
    },
}

/// A configuration that is worked on.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// The version that it is based on, an entity tag.
    pub version: String,
    base: Value,
    edits: Vec<Edit>,
}

impl Candidate {
    /// The one of this gateway, if there is one.
    pub fn load(client: &Client) -> Result<Option<Self>, Error> {
        let path = file(client);
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|e| Error::file(&path, e)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::file(&path, e)),
        }
    }

    /// A new one, of what is running.
    pub fn begin(client: &Client) -> Result<Self, Error> {
        let reply = client.call("GET", "/config", None, None)?;
        let base = reply.json()?;
        let version = reply.etag.ok_or_else(|| Error::Unreachable("the gateway's configuration has no ETag".into()))?;
        Ok(Self { version, base, edits: Vec::new() })
    }

    /// The same edits on what is running now.
    pub fn updated(self, client: &Client) -> Result<Self, Error> {
        let updated = Self { edits: self.edits, ..Self::begin(client)? };
        updated.document()?;
        Ok(updated)
    }

    /// Adds an edit, if it can be made.
    pub fn edit(&mut self, edit: Edit) -> Result<(), Error> {
        apply(&mut self.document()?, &edit)?;
        self.edits.push(edit);
        Ok(())
    }

    /// The configuration that it amounts to.
    pub fn document(&self) -> Result<Value, Error> {
        let mut document = self.base.clone();
        self.edits.iter().try_for_each(|edit| apply(&mut document, edit))?;
        Ok(document)
    }

    /// What it changes.
    pub fn changes(&self) -> Result<Vec<Change>, Error> {
        Ok(compare(&self.base, &self.document()?))
    }

    /// Writes it, whole or not at all.
    pub fn save(&self, client: &Client) -> Result<(), Error> {
        let path = file(client);
        let bad = |e: std::io::Error| Error::file(&path, e);
        if let Some(directory) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(bad)?;
        }
        let new = path.with_extension(format!("{}.new", std::process::id()));
        let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).map_err(bad)?;
        let text = serde_json::to_vec(self).map_err(|e| Error::file(&path, e))?;
        out.write_all(&text).and_then(|()| fs::rename(&new, &path)).map_err(bad)
    }

    /// Forgets it; false when there was none.
    pub fn discard(client: &Client) -> Result<bool, Error> {
        let path = file(client);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(Error::file(&path, e)),
        }
    }
}

fn apply(document: &mut Value, edit: &Edit) -> Result<(), Error> {
    match edit {
        Edit::Set { path, value } => path::set(document, path, value),
        Edit::Delete { path } => path::delete(document, path),
    }
}

fn file(client: &Client) -> PathBuf {
    let name = escape(&client.address.to_string());
    directory("XDG_STATE_HOME", ".local/state").join("swctl").join(format!("{name}.json"))
}

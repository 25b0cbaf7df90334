//! The configuration over REST: as one document and as its parts, with commits, their history and the way back.
//!
//! ```text
//!   PUT, PATCH, DELETE ─► place ─► candidate ─► Document ─► Config ─► changes
//!                         where    *** kept     read        checked      │ dry_run: no further
//!                                                                        ▼
//!   history/N ◄─ 1 pending ── 2 beside the file ── 3 control plane takes it ── 4 the file ── 5 N confirmed
//! ```
//!
//! A crash before 4 leaves the old file, and so the old configuration; one after 4 the new. With `confirm=SECONDS` step 4 waits
//! for the confirmation, so that neither a lost connection nor a restart keeps what nobody has confirmed. Commits wait for
//! each other.
//!
//! | file | what |
//! |---|---|
//! | the one of `softwired -c` | the configuration, YAML, 0600 |
//! | `STATE/history/N.yaml` | the document of commit N, with its secrets, 0600 |
//! | `STATE/history/N.json` | who made it, when, and what it has changed |

mod handlers;
mod history;
mod place;
mod refused;
mod store;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use handlers::routes;
pub use refused::Refused;
pub use store::Store;

use controlplane::config::Change;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What has come of a change, or would come of it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Outcome {
    /// Number of the commit; null for a dry run, and when nothing is changed.
    pub commit: Option<u64>,
    /// ETag of the running document, now.
    pub etag: String,
    /// What is changed.
    pub changes: Vec<Change>,
    /// Parts that take effect with the next start, as JSON pointers.
    pub restart: Vec<String>,
    /// Without a confirmation until then (RFC 3339) the document before this one is put back.
    pub confirm_by: Option<String>,
}

/// A commit.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
pub struct Commit {
    /// Counts up.
    pub id: u64,
    /// When it was made (RFC 3339).
    pub at: String,
    /// Who made it; `file` where somebody had edited the file.
    pub author: String,
    /// What its author says of it.
    pub comment: Option<String>,
    /// What it has changed.
    pub changes: Vec<Change>,
    /// What has become of it.
    pub state: CommitState,
    /// When it will be reverted, while it is pending (RFC 3339).
    pub confirm_by: Option<String>,
}

/// What has become of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CommitState {
    /// It is, or was, the configuration.
    Confirmed,
    /// It runs, and awaits confirmation.
    Pending,
    /// It was not confirmed in time.
    Reverted,
}

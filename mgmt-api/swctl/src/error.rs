//! Why a command did not do what it was asked, and the exit status that says so.
//!
//! | status | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | the gateway refused, or is not done in time |
//! | 2 | the command, a file of the operator's, or what it is about is wrong; nothing was asked of the gateway |
//! | 3 | no gateway answers |

use std::io;
use std::process::ExitCode;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The gateway answered with an HTTP status of 400 and more.
    #[error("{text}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What its problem document says.
        text: String,
    },
    /// It has begun, and not come to its end.
    #[error("{0}")]
    Unfinished(String),
    /// The operator's side is wrong.
    #[error("{0}")]
    Usage(String),
    /// Nobody answers, or not in time, or not the one that was meant.
    #[error("{0}")]
    Unreachable(String),
    /// The terminal, whatever reads the output, or the system.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Error {
    /// Of a file.
    pub fn file(path: &std::path::Path, e: impl std::fmt::Display) -> Self {
        Self::Usage(format!("{}: {e}", path.display()))
    }

    /// The exit status. A reader that has seen enough (`swctl show ... | head`) is no failure.
    pub fn status(&self) -> ExitCode {
        match self {
            Self::Io(e) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Self::Io(_) | Self::Refused { .. } | Self::Unfinished(_) => ExitCode::from(1),
            Self::Usage(_) => ExitCode::from(2),
            Self::Unreachable(_) => ExitCode::from(3),
        }
    }
}

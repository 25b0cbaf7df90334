//! Lines for a file that outlives the process; a later line about a block replaces an earlier one:
//!
//! ```text
//!  + PREFIX USER    leased to USER; to somebody without a name where there is none
//!  - PREFIX USER    given back by USER
//! ```

use dataplane_api::IpPrefix;
use ipnet::IpNet;
use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The file is written anew when it has so many lines more than are needed.
const SLACK: usize = 10_000;

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub held: bool,
    pub prefix: IpPrefix,
    pub user: Arc<str>,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", if self.held { '+' } else { '-' }, self.prefix, self.user)
    }
}

/// Not a line about a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a line about a lease")]
pub(super) struct NotALine;

impl FromStr for Line {
    type Err = NotALine;

    fn from_str(line: &str) -> Result<Self, NotALine> {
        let mut words = line.splitn(3, ' ');
        let (Some(what), Some(prefix), Some(user)) = (words.next(), words.next(), words.next()) else {
            return Err(NotALine);
        };
        let held = match what {
            "+" => true,
            "-" => false,
            _ => return Err(NotALine),
        };
        let net: IpNet = prefix.parse().map_err(|_| NotALine)?;
        let prefix = IpPrefix::new(net.addr(), net.prefix_len()).filter(|p| p.address() == net.addr());
        Ok(Self { held, prefix: prefix.ok_or(NotALine)?, user: user.into() })
    }
}

/// Lines that are not yet in the file. If nobody takes them, they are given up: the file is to be written anew.
#[derive(Default)]
pub(super) struct Log {
    lines: VecDeque<Line>,
    written: usize,
    stale: bool,
    given_up: bool,
}

impl Log {
    /// Adds a line to a file that needs `needed`.
    pub fn add(&mut self, line: Line, needed: usize) {
        self.written += 1;
        let most = needed * 2 + SLACK;
        self.stale |= self.written >= most;
        self.lines.push_back(line);
        self.given_up |= self.lines.len() >= most;
        if self.given_up {
            self.lines.clear();
        }
    }

    /// The next line.
    pub fn poll(&mut self) -> Option<Line> {
        self.lines.pop_front()
    }

    /// Lines that wait.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// The file is to be written anew.
    pub fn is_stale(&self) -> bool {
        self.stale
    }

    /// It is written anew, with so many lines.
    pub fn renew(&mut self, written: usize) {
        *self = Self { written, ..Self::default() };
    }
}

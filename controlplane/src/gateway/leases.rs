//! What pools remember over a restart: whose a block was last.

use super::{Gateway, Lines};

impl Gateway {
    /// Remembers what an earlier run has left in its file, before anybody is served.
    pub fn restore_leases<'a>(&mut self, lines: impl Iterator<Item = &'a str>) {
        let bad = self.pools.restore(lines);
        if bad > 0 {
            tracing::warn!(bad, "lines of the file of leases cannot be read");
        }
    }

    /// The next line for the file.
    pub fn poll_lease(&mut self) -> Option<String> {
        self.pools.poll_line()
    }

    /// The whole file, where it is to be written anew because it has become too long.
    pub fn compact_leases(&mut self) -> Option<Lines> {
        self.pools.compact().map(|lines| Box::new(lines) as Lines)
    }

    /// The whole file, for one that has lost lines.
    pub fn whole_leases(&mut self) -> Lines {
        Box::new(self.pools.whole())
    }
}

//! Deadlines of all SAs of an endpoint: an ordered set, so that the next one is at hand and a change costs O(log n).
//!
//! Each SA has one deadline, the earliest of what it waits for; it knows where it stands in the set.

use std::collections::BTreeSet;
use std::time::Instant;

/// The set of deadlines.
#[derive(Debug, Default)]
pub struct Timers {
    set: BTreeSet<(Instant, u64)>,
}

impl Timers {
    /// Moves the deadline of `spi` from `slot` to `at`.
    pub fn set(&mut self, spi: u64, slot: &mut Option<Instant>, at: Option<Instant>) {
        if *slot == at {
            return;
        }
        if let Some(old) = slot.take() {
            self.set.remove(&(old, spi));
        }
        if let Some(at) = at {
            self.set.insert((at, spi));
        }
        *slot = at;
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.set.first().map(|(at, _)| *at)
    }

    /// Takes one SA whose deadline has passed out of the set.
    pub fn expired(&mut self, now: Instant) -> Option<u64> {
        let first = *self.set.first()?;
        if first.0 > now {
            return None;
        }
        self.set.remove(&first);
        Some(first.1)
    }
}

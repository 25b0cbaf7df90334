//! Deadlines of all sessions of an endpoint: an ordered set, so that the next one is at hand and a change costs
//! O(log n). Each session has one, the earliest of what it waits for, and knows where it stands in the set.

use crate::endpoint::SessionId;
use std::collections::BTreeSet;
use std::time::Instant;

/// The set of deadlines.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    set: BTreeSet<(Instant, SessionId)>,
}

impl Timers {
    /// Moves the deadline of session `id` from `slot` to `at`.
    pub fn set(&mut self, id: SessionId, slot: &mut Option<Instant>, at: Option<Instant>) {
        if *slot == at {
            return;
        }
        if let Some(old) = slot.take() {
            self.set.remove(&(old, id));
        }
        if let Some(at) = at {
            self.set.insert((at, id));
        }
        *slot = at;
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.set.first().map(|(at, _)| *at)
    }

    /// A session whose deadline has passed. It stays in the set until its deadline is moved.
    pub fn expired(&self, now: Instant) -> Option<SessionId> {
        self.set.first().filter(|(at, _)| *at <= now).map(|(_, id)| *id)
    }
}

//! Deadlines of all that an endpoint holds (SAs, tunnels, sessions, neighbours): an ordered set, so that the next one is
//! at hand and a change costs O(log n).
//!
//! Each key has one deadline at most, the earliest of what it waits for. Its owner keeps a copy of it (`slot`), which
//! says where it stands in the set; only [`Timers::set`] changes either.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

use std::collections::BTreeSet;
use std::time::Instant;

/// The set of deadlines.
#[derive(Debug)]
pub struct Timers<K> {
    set: BTreeSet<(Instant, K)>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { set: BTreeSet::new() }
    }
}

impl<K: Copy + Ord> Timers<K> {
    /// Moves the deadline of `key` from `slot` to `at`.
    pub fn set(&mut self, key: K, slot: &mut Option<Instant>, at: Option<Instant>) {
        if *slot == at {
            return;
        }
        if let Some(old) = slot.take() {
            self.set.remove(&(old, key));
        }
        if let Some(at) = at {
            self.set.insert((at, key));
        }
        *slot = at;
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.set.first().map(|(at, _)| *at)
    }

    /// A key whose deadline has passed. It stays in the set until its deadline is moved.
    pub fn expired(&self, now: Instant) -> Option<K> {
        self.due(now).next()
    }

    /// Every key whose deadline has passed, the earliest first.
    pub fn due(&self, now: Instant) -> impl Iterator<Item = K> + '_ {
        self.set.iter().take_while(move |(at, _)| *at <= now).map(|(_, key)| *key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn deadlines_move_and_come_in_order() {
        let start = Instant::now();
        let at = |n| Some(start + Duration::from_secs(n));
        let mut timers = Timers::default();
        let mut slots = [None; 3];
        for (key, n) in [(0, 5), (1, 3), (2, 5)] {
            timers.set(key, &mut slots[key], at(n));
        }
        assert_eq!(timers.next(), at(3));
        assert_eq!(timers.expired(start + Duration::from_secs(2)), None);
        assert_eq!(timers.due(at(5).unwrap()).collect::<Vec<_>>(), [1, 0, 2]);
        timers.set(1, &mut slots[1], at(9));
        assert_eq!((timers.next(), timers.expired(at(5).unwrap())), (at(5), Some(0)));
        timers.set(0, &mut slots[0], None);
        timers.set(0, &mut slots[0], None);
        assert_eq!(timers.due(at(9).unwrap()).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(slots, [None, at(9), at(5)]);
    }
}

//! What the subscribers are to do, and whose turn it is.

use super::{State, Subscriber};
use crate::pace::Pace;
use crate::profile::Extent;
use std::collections::VecDeque;
use std::time::Instant;

/// What the subscribers are to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    /// Whoever is down is to come up.
    pub up: bool,
    /// So many begin each second; infinity: all at once.
    pub starts: f64,
    /// Most that connect at the same time.
    pub in_flight: u32,
    /// So many end each second.
    pub closes: f64,
    /// Only these end: from this number on.
    pub closes_from: u32,
    /// Whoever is up ends at once.
    pub cycle: bool,
    /// To begin with, all are gone without a word.
    pub vanish: bool,
    /// How far they go.
    pub extent: Extent,
}

/// Everybody stays what it is.
pub const SETTLED: Goal = Goal {
    up: false,
    starts: 0.0,
    in_flight: u32::MAX,
    closes: 0.0,
    closes_from: 0,
    cycle: false,
    vanish: false,
    extent: Extent::Softwire,
};

/// A goal that is pursued.
pub(super) struct Course {
    pub(super) goal: Goal,
    /// Who is to begin, in this order.
    pub(super) waiting: VecDeque<u32>,
    starts: Pace,
    closes: Pace,
    /// Who ends next.
    cursor: u32,
}

impl Course {
    pub(super) fn new(now: Instant, goal: Goal) -> Self {
        let (starts, closes) = (Pace::new(now, goal.starts), Pace::new(now, goal.closes));
        Self { goal, waiting: VecDeque::new(), starts, closes, cursor: goal.closes_from }
    }

    pub(super) fn next_start(&mut self, now: Instant, connecting: u32) -> Option<u32> {
        if connecting >= self.goal.in_flight || self.waiting.is_empty() || self.starts.due(now) == 0 {
            return None;
        }
        self.starts.take(1);
        self.waiting.pop_front()
    }

    /// The next one that is up, from the cursor on and around.
    pub(super) fn next_close(&mut self, now: Instant, up: u32, subscribers: &[Subscriber]) -> Option<u32> {
        if self.goal.closes == 0.0 || up == 0 || self.closes.due(now) == 0 {
            return None;
        }
        let (from, count) = (self.goal.closes_from, subscribers.len() as u32);
        for _ in from..count {
            let i = if self.cursor < count { self.cursor } else { from };
            self.cursor = i + 1;
            if subscribers[i as usize].state == State::Up {
                self.closes.take(1);
                return Some(i);
            }
        }
        None
    }

    pub(super) fn next(&self) -> Option<Instant> {
        let start = self.starts.next().filter(|_| !self.waiting.is_empty());
        let close = self.closes.next().filter(|_| self.goal.closes > 0.0);
        start.into_iter().chain(close).min()
    }
}

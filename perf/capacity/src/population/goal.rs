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
    /// Only those end who come and go: this share of the subscribers, see [`stayers`].
    pub churning: f64,
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
    churning: 1.0,
    cycle: false,
    vanish: false,
    extent: Extent::Softwire,
};

impl Goal {
    /// The part of one of `cores`: rates are shared out among them.
    pub fn part(self, cores: u32) -> Self {
        let (starts, closes) = (self.starts / f64::from(cores), self.closes / f64::from(cores));
        Self { starts, closes, in_flight: self.in_flight.div_ceil(cores), ..self }
    }
}

/// How many stay, where the last ones, this share of `count`, come and go.
pub fn stayers(count: usize, churning: f64) -> usize {
    (count as f64 * (1.0 - churning)).round() as usize
}

/// A goal that is pursued.
pub(super) struct Course {
    pub(super) goal: Goal,
    /// Who is to begin, in this order.
    pub(super) waiting: VecDeque<u32>,
    starts: Pace,
    closes: Pace,
    /// The first one that may end, and who ends next.
    first: u32,
    cursor: u32,
}

impl Course {
    /// For `count` subscribers.
    pub(super) fn new(now: Instant, goal: Goal, count: u32) -> Self {
        let (starts, closes) = (Pace::new(now, goal.starts), Pace::new(now, goal.closes));
        let first = stayers(count as usize, goal.churning) as u32;
        Self { goal, waiting: VecDeque::new(), starts, closes, first, cursor: first }
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
        let (from, count) = (self.first, subscribers.len() as u32);
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_shared_out_among_cores() {
        let goal = Goal { starts: 200.0, closes: 10.0, in_flight: 5, ..SETTLED };
        let part = Goal { starts: 100.0, closes: 5.0, in_flight: 3, ..SETTLED };
        assert_eq!((goal.part(2), goal.part(1)), (part, goal));
        assert!(Goal { starts: f64::INFINITY, ..SETTLED }.part(3).starts.is_infinite());
    }

    #[test]
    fn only_those_end_who_come_and_go() {
        let now = Instant::now();
        for (count, churning, expected) in [(4, 0.1, vec![]), (4, 0.25, vec![3, 3]), (3, 0.5, vec![2, 2])] {
            let mut subscribers: Vec<_> = (0..count).map(|_| Subscriber::new([192, 0, 2, 1].into(), None)).collect();
            subscribers.iter_mut().for_each(|s| s.state = State::Up);
            let mut course = Course::new(now, Goal { closes: f64::INFINITY, churning, ..SETTLED }, count);
            let ended: Vec<_> = (0..2).filter_map(|_| course.next_close(now, count, &subscribers)).collect();
            assert_eq!(ended, expected, "{churning} of {count}");
            assert!(ended.iter().all(|&i| i as usize >= stayers(subscribers.len(), churning)));
        }
    }
}

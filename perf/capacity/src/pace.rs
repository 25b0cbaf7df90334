//! How many things are due when they are to happen at a rate.

use std::time::Instant;

/// Counts from its beginning, so that rounding does not add up.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    began: Instant,
    rate: f64,
    done: u64,
}

impl Pace {
    /// `rate` a second from `began` on; infinity: all at once.
    pub fn new(began: Instant, rate: f64) -> Self {
        Self { began, rate, done: 0 }
    }

    /// How many are due and not done.
    pub fn due(&self, now: Instant) -> u64 {
        if self.rate.is_infinite() {
            return u64::MAX;
        }
        let all = now.saturating_duration_since(self.began).as_secs_f64() * self.rate;
        (all as u64).saturating_sub(self.done)
    }

    /// So many are done.
    pub fn take(&mut self, n: u64) {
        self.done += n;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_rate_is_kept() {
        let began = Instant::now();
        let mut pace = Pace::new(began, 3.0);
        let at = |ms| began + Duration::from_millis(ms);
        assert_eq!((pace.due(began), pace.due(at(333)), pace.due(at(334)), pace.due(at(3000))), (0, 0, 1, 9));
        pace.take(8);
        assert_eq!((pace.due(at(2999)), pace.due(at(3001))), (0, 1));
        assert_eq!(Pace::new(began, f64::INFINITY).due(began), u64::MAX);
        assert_eq!(Pace::new(began, 0.0).due(at(9000)), 0);
    }
}

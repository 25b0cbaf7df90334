//! The highest rate at which no more than a given share is lost: a bisection over trials (RFC 2544, section 26.1; RFC
//! 9411, section 7). It begins with the highest rate, since that may be enough.

use crate::result::{Bound, Shortfall, Trial};

/// A search.
#[derive(Clone, Debug)]
pub(super) struct Bisection {
    max: f64,
    step: f64,
    loss: f64,
    /// The highest rate that was good, and the lowest that was not.
    good: Option<f64>,
    bad: Option<f64>,
    /// The highest rate has been tried.
    tried: bool,
    limited: Option<Shortfall>,
}

impl Bisection {
    /// Up to `max` packets per second, to within the share `resolution` of it; `loss` is the share that may be lost.
    pub(super) fn new(max: f64, resolution: f64, loss: f64) -> Self {
        Self { max, step: max * resolution, loss, good: None, bad: None, tried: false, limited: None }
    }

    /// The next rate to be tried; `None`: the search has ended.
    pub(super) fn next(&self) -> Option<f64> {
        match (self.good, self.bad) {
            (_, None) => (!self.tried).then_some(self.max),
            (good, Some(bad)) => {
                let good = good.unwrap_or_default();
                (bad - good > self.step).then_some((good + bad) / 2.0)
            }
        }
    }

    /// What came of a trial, of this search or of an earlier one.
    pub(super) fn record(&mut self, trial: &Trial) {
        let rate = trial.rate();
        self.tried |= trial.offered >= self.max;
        if trial.loss() > self.loss {
            self.bad = Some(self.bad.map_or(rate, |b| b.min(rate)));
            // A rate above one that was bad is not good, whatever came of it once.
            self.good = self.good.filter(|g| *g < rate);
        } else if self.bad.is_none_or(|b| rate < b) {
            self.good = Some(self.good.map_or(rate, |g| g.max(rate)));
            self.limited = self.limited.or(trial.shortfall);
        }
    }

    /// The highest rate that was good; 0 when none was.
    pub(super) fn found(&self) -> f64 {
        self.good.unwrap_or_default()
    }

    /// What bounds it.
    pub(super) fn bound(&self) -> Bound {
        match (self.good, self.bad) {
            (None, _) => Bound::Nothing,
            (Some(_), Some(_)) => Bound::Loss,
            (Some(_), None) => match self.limited {
                Some(Shortfall::Generator) => Bound::Generator,
                Some(Shortfall::Port) => Bound::Port,
                None => Bound::Max,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Direction;
    use crate::tally::Flow;

    /// A gateway that passes `capacity`, a generator that sends `most`.
    fn trial(rate: f64, capacity: f64, most: f64) -> Trial {
        let sent = rate.min(most);
        let flow = Flow { sent: sent as u64, received: sent.min(capacity) as u64, ..Flow::default() };
        Trial {
            size: "64".into(),
            direction: Direction::Up,
            offered: rate,
            sent: [sent, 0.0],
            octets: 64.0,
            seconds: 1.0,
            flows: [flow, Flow::default()],
            latency: [None, None],
            shortfall: (sent < rate * 0.98).then_some(Shortfall::Generator),
            search: true,
        }
    }

    fn search(max: f64, loss: f64, capacity: f64, most: f64) -> (f64, Bound, usize) {
        let mut s = Bisection::new(max, 0.01, loss);
        let mut trials = 0;
        while let Some(rate) = s.next() {
            s.record(&trial(rate, capacity, most));
            trials += 1;
            assert!(trials < 20, "it does not end");
        }
        (s.found(), s.bound(), trials)
    }

    #[test]
    fn it_ends_at_the_capacity() {
        for (capacity, most, bound) in [
            (300_000.0, 1e9, Bound::Loss),
            (999_000.0, 1e9, Bound::Loss),
            (2e6, 1e9, Bound::Max),
            (2e6, 500_000.0, Bound::Generator),
            (400_000.0, 500_000.0, Bound::Loss),
        ] {
            let (found, what, trials) = search(1e6, 0.0, capacity, most);
            let truth = f64::min(1e6, f64::min(capacity, most));
            assert!(found <= truth && found > truth - 10_001.0 && what == bound, "{capacity} {most}: {found} {what:?}");
            assert!(trials <= 8, "{trials}");
        }
    }

    #[test]
    fn where_nothing_passes_nothing_is_found() {
        let (found, bound, _) = search(1e6, 0.0, 0.0, 1e9);
        assert_eq!((found, bound), (0.0, Bound::Nothing));
    }

    #[test]
    fn some_loss_may_be_allowed() {
        let (found, _, _) = search(1e6, 0.1, 500_000.0, 1e9);
        assert!(found > 545_000.0 && found < 556_000.0, "{found}");
    }

    #[test]
    fn trials_of_another_search_are_used() {
        let mut s = Bisection::new(1e6, 0.01, 0.0);
        s.record(&trial(1e6, 300_000.0, 1e9));
        s.record(&trial(250_000.0, 300_000.0, 1e9));
        assert_eq!(s.next(), Some(625_000.0));
    }

    #[test]
    fn what_was_good_once_above_a_bad_rate_is_not_found() {
        let mut s = Bisection::new(1e6, 0.01, 0.0);
        s.record(&trial(500_000.0, 1e9, 1e9));
        s.record(&trial(400_000.0, 100.0, 1e9));
        assert!(s.found() == 0.0 && s.next() == Some(200_000.0));
    }
}

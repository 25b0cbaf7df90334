//! Jitter (RFC 4271, section 10) and back-off.

use rand_core::Rng;
use std::time::Duration;

/// `time` multiplied by a random factor between 0.75 and 1.0 (RFC 4271, section 10).
pub(crate) fn jitter(time: Duration, rng: &mut dyn Rng) -> Duration {
    // 768..=1024 of 1024 parts.
    let parts = 768 + rng.next_u32() % 257;
    time.saturating_mul(parts) / 1024
}

/// What is tried again is not tried at once.
const LEAST_BACKOFF: Duration = Duration::from_millis(100);

/// A time that doubles with each failure, of at least a tenth of a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub initial: Duration,
    /// Never more than this.
    pub max: Duration,
}

impl Backoff {
    /// The time to wait after `failures` of them; the first and none are the same.
    pub fn after(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.initial.saturating_mul(1 << doublings).min(self.max).max(LEAST_BACKOFF)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn jitter_stays_between_three_quarters_and_one() {
        let mut rng = StdRng::seed_from_u64(1);
        let times: Vec<_> = (0..2000).map(|_| jitter(Duration::from_secs(100), &mut rng)).collect();
        assert!(times.iter().all(|t| (Duration::from_secs(75)..=Duration::from_secs(100)).contains(t)));
        assert!(
            times.iter().any(|t| *t < Duration::from_secs(77)) && times.iter().any(|t| *t > Duration::from_secs(98))
        );
    }

    #[test]
    fn back_off_doubles_up_to_its_maximum() {
        let backoff = Backoff { initial: Duration::from_secs(2), max: Duration::from_secs(60) };
        let seconds: Vec<_> = (0..8).map(|n| backoff.after(n).as_secs()).collect();
        assert_eq!(seconds, [2, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff.after(u32::MAX).as_secs(), 60);
        assert_eq!(Backoff { initial: Duration::ZERO, max: Duration::ZERO }.after(3), LEAST_BACKOFF);
    }
}

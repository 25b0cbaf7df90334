//! A token bucket over the poll's clock.
//!
//! ```text
//!   rate tokens per second ──► level ≤ burst ──► a packet takes 1, or its octets
//! ```
//!
//! The level is kept in billionths of a token, so that a nanosecond's part of the rate is never lost, however often the
//! bucket is looked at, and refilling needs no division.

use std::time::Instant;

/// Parts of a token.
const TOKEN: u64 = 1_000_000_000;

/// See the module's documentation. Two of them, one per direction of a session, fill one cache line.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    rate: u32,
    burst: u32,
    level: u64,
    last: Instant,
}

const _: () = assert!(size_of::<Option<Bucket>>() == 32);

impl Bucket {
    /// `rate` tokens per second, at most `burst` at once; full at the start.
    pub fn new(rate: u32, burst: u32, now: Instant) -> Self {
        Self { rate, burst, level: u64::from(burst) * TOKEN, last: now }
    }

    /// Takes `n` tokens if there are so many.
    #[inline]
    pub fn take(&mut self, n: u32, now: Instant) -> bool {
        self.refill(now);
        let left = self.level.checked_sub(u64::from(n) * TOKEN);
        self.level = left.unwrap_or(self.level);
        left.is_some()
    }

    /// From now on another rate and burst. What has gathered so far stays, as far as it fits.
    pub fn change(&mut self, rate: u32, burst: u32, now: Instant) {
        self.refill(now);
        (self.rate, self.burst) = (rate, burst);
        self.level = self.level.min(u64::from(burst) * TOKEN);
    }

    #[inline]
    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.last);
        if !elapsed.is_zero() {
            let new = (elapsed.as_nanos() as u64).saturating_mul(u64::from(self.rate));
            self.level = self.level.saturating_add(new).min(u64::from(self.burst) * TOKEN);
            self.last = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn drain(b: &mut Bucket, now: Instant) -> usize {
        (0..100).filter(|_| b.take(1, now)).count()
    }

    #[test]
    fn bucket_refills_at_its_rate_up_to_its_burst() {
        let start = Instant::now();
        let mut b = Bucket::new(1000, 10, start);
        assert_eq!(drain(&mut b, start), 10);
        assert_eq!(drain(&mut b, start + Duration::from_micros(999)), 0);
        assert_eq!(drain(&mut b, start + Duration::from_millis(5)), 5);
        assert_eq!(drain(&mut b, start + Duration::from_secs(60)), 10);
        // A burst is no larger for the time that the bucket was full.
        let later = start + Duration::from_secs(3600);
        assert_eq!((b.take(4, later), drain(&mut b, later)), (true, 6));
        assert!(!b.take(11, start + Duration::from_secs(7200)));
    }

    #[test]
    fn nothing_is_lost_between_looks_that_are_closer_than_a_token() {
        let start = Instant::now();
        let mut b = Bucket::new(1000, 10, start);
        assert_eq!(drain(&mut b, start), 10);
        let got: usize = (1..=1_000).map(|i| drain(&mut b, start + Duration::from_micros(777 * i))).sum();
        assert_eq!(got, 777);
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let start = Instant::now();
        let mut b = Bucket::new(u32::MAX, u32::MAX, start);
        assert!(b.take(u32::MAX, start) && !b.take(1, start));
        let later = start + Duration::from_secs(1 << 33);
        assert!(b.take(u32::MAX, later) && !b.take(1, later));
        // The clock never goes back, and if it did, nothing would be gained.
        assert!(!b.take(1, start));
    }

    #[test]
    fn a_change_keeps_what_has_gathered() {
        let start = Instant::now();
        let mut b = Bucket::new(1000, 10, start);
        assert!(b.take(10, start));
        let at = |ms| start + Duration::from_millis(ms);
        b.change(10, 100, at(5));
        assert_eq!(drain(&mut b, at(5)), 5);
        assert_eq!(drain(&mut b, at(205)), 2);
        b.change(10, 3, at(100_000));
        assert_eq!(drain(&mut b, at(100_000)), 3);
    }
}

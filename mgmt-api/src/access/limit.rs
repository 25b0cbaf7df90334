//! How often a source may try a wrong token: five times at once, and once more every two seconds. A token bucket per source,
//! kept as the time at which it will be full again, so that one that is full need not be kept at all. The table is
//! bounded; sources for which there is no room share one bucket.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

const AT_ONCE: u32 = 5;
const EVERY: Duration = Duration::from_secs(2);
const SOURCES: usize = 4096;
/// Where those are counted for which there is no room.
const OTHERS: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

pub(super) struct Limiter {
    full_at: HashMap<IpAddr, Instant>,
}

impl Limiter {
    pub fn new() -> Self {
        Self { full_at: HashMap::new() }
    }

    /// Takes one try, or says how long to wait for it.
    pub fn take(&mut self, now: Instant, from: IpAddr) -> Result<(), Duration> {
        let from = self.room(now, source(from));
        let full = self.full_at.get(&from).map_or(now, |at| (*at).max(now));
        let over = (full + EVERY).saturating_duration_since(now + EVERY * AT_ONCE);
        if !over.is_zero() {
            return Err(over);
        }
        self.full_at.insert(from, full + EVERY);
        Ok(())
    }

    /// The try was no wrong one.
    pub fn give_back(&mut self, from: IpAddr) {
        let from = source(from);
        let from = if self.full_at.contains_key(&from) { from } else { OTHERS };
        if let Some(earlier) = self.full_at.get(&from).and_then(|at| at.checked_sub(EVERY)) {
            self.full_at.insert(from, earlier);
        }
    }

    fn room(&mut self, now: Instant, from: IpAddr) -> IpAddr {
        if self.full_at.contains_key(&from) {
            return from;
        }
        if self.full_at.len() >= SOURCES {
            self.full_at.retain(|_, at| *at > now);
        }
        if self.full_at.len() < SOURCES { from } else { OTHERS }
    }
}

/// Whoever has one IPv6 address has the whole /64.
pub(super) fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    #[test]
    fn five_at_once_and_one_each_two_seconds() {
        let (mut l, now) = (Limiter::new(), Instant::now());
        for _ in 0..5 {
            assert_eq!(l.take(now, v4(1)), Ok(()));
        }
        assert_eq!(l.take(now, v4(1)), Err(Duration::from_secs(2)));
        assert_eq!(l.take(now, v4(2)), Ok(()), "another source");
        assert_eq!(l.take(now + Duration::from_millis(500), v4(1)), Err(Duration::from_millis(1500)));
        let later = now + EVERY;
        assert_eq!(l.take(later, v4(1)), Ok(()));
        assert_eq!(l.take(later, v4(1)), Err(EVERY));
        // It never holds more than five.
        let much_later = now + Duration::from_secs(3600);
        assert_eq!((0..9).filter(|_| l.take(much_later, v4(1)).is_ok()).count(), 5);
    }

    #[test]
    fn what_was_right_costs_nothing() {
        let (mut l, now) = (Limiter::new(), Instant::now());
        for _ in 0..100 {
            assert_eq!(l.take(now, v4(1)), Ok(()));
            l.give_back(v4(1));
        }
    }

    #[test]
    fn a_prefix_is_one_source_and_so_is_a_mapped_address() {
        let (mut l, now) = (Limiter::new(), Instant::now());
        let within = |n: u128| IpAddr::V6((0x2001_0db8_u128 << 96 | n).into());
        assert_eq!((0..9).filter(|n| l.take(now, within(*n)).is_ok()).count(), 5);
        assert_eq!(l.take(now, within(1 << 64)), Ok(()));
        let mapped = |i| if i % 2 == 0 { "192.0.2.1" } else { "::ffff:192.0.2.1" }.parse().unwrap();
        assert_eq!((0..9).filter(|i| l.take(now, mapped(*i)).is_ok()).count(), 5);
    }

    #[test]
    fn the_table_is_bounded() {
        let (mut l, now) = (Limiter::new(), Instant::now());
        for n in 0..u32::try_from(SOURCES).unwrap() {
            assert_eq!(l.take(now, v4(n)), Ok(()));
        }
        // Those who come now share a bucket.
        let more = 1_000_000..1_000_009;
        assert_eq!(more.clone().filter(|n| l.take(now, v4(*n)).is_ok()).count(), 5);
        assert!(l.full_at.len() <= SOURCES + 1);
        // Buckets that are full again make room.
        let later = now + EVERY * 10;
        assert_eq!(more.filter(|n| l.take(later, v4(*n)).is_ok()).count(), 9);
        assert_eq!(l.full_at.len(), 9);
    }
}

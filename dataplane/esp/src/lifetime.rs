//! Lifetimes of an SA in packets and octets (RFC 4301, section 4.4.2.1).
//!
//! The soft limit is reported once and changes nothing; the packet that would exceed the hard limit is refused, and so
//! is everything after it. A packet compares with the nearest limit only and looks at the others when it gets there.

use dataplane_api::{Lifetime, Limits};
use zerocopy::FromZeros;

/// What a packet meant for its SA's lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    /// Nothing to report.
    Within,
    /// The packet passes; a soft limit is reached for the first time.
    Soft,
    /// The packet must be dropped; a hard limit is reached for the first time.
    Hard,
    /// The packet must be dropped; this was reported before.
    Spent,
}

impl Charge {
    /// Whether the packet passes.
    #[inline]
    pub const fn passes(self) -> bool {
        matches!(self, Self::Within | Self::Soft)
    }
}

/// Limits with "none" as the largest number.
#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C)]
pub struct Bounds {
    soft: [u64; 2],
    hard: [u64; 2],
}

impl Bounds {
    /// From the SA's limits. `sequence`: how many packets can be numbered; the soft limit is then at 15/16 of it, so
    /// that IKE has time to rekey before the numbers are used up.
    pub fn new(lifetime: &Lifetime, sequence: u64) -> Self {
        let none = |n: u64| if n == 0 { u64::MAX } else { n };
        let pair = |l: Limits, most: u64| [none(l.packets).min(most), none(l.octets)];
        Self { soft: pair(lifetime.soft, sequence - sequence / 16), hard: pair(lifetime.hard, sequence) }
    }
}

const FRESH: u64 = 0;
const SOFT: u64 = 1;
const HARD: u64 = 2;
/// As [`HARD`], but whoever is to know of it could not be told.
const UNTOLD: u64 = 3;

/// Counts against limits.
#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C)]
pub struct Meter {
    packets: u64,
    octets: u64,
    // A packet after fewer than so many packets, by which there are fewer than so many octets, is nothing to report.
    next: [u64; 2],
    stage: u64,
}

impl Meter {
    /// Nothing counted yet.
    pub const fn new(bounds: &Bounds) -> Self {
        let mut meter = Self { packets: 0, octets: 0, next: [0; 2], stage: FRESH };
        meter.rearm(bounds);
        meter
    }

    /// Packets that passed.
    #[inline]
    pub const fn packets(&self) -> u64 {
        self.packets
    }

    /// Octets that passed.
    #[inline]
    pub const fn octets(&self) -> u64 {
        self.octets
    }

    #[cfg(test)]
    pub(crate) fn set_packets(&mut self, packets: u64) {
        self.packets = packets;
    }

    /// Counts a packet if it passes.
    #[inline(always)]
    pub fn charge(&mut self, octets: u64, bounds: &Bounds) -> Charge {
        let total = self.octets.saturating_add(octets);
        if self.packets < self.next[0] && total < self.next[1] {
            self.packets += 1;
            self.octets = total;
            return Charge::Within;
        }
        self.charge_at_limit(octets, bounds)
    }

    #[cold]
    fn charge_at_limit(&mut self, octets: u64, bounds: &Bounds) -> Charge {
        let total = self.octets.saturating_add(octets);
        let packets = match (self.stage, self.packets.checked_add(1)) {
            (HARD, _) => return Charge::Spent,
            (FRESH | SOFT, Some(n)) if n <= bounds.hard[0] && total <= bounds.hard[1] => n,
            _ => {
                // Whatever comes is refused from now on, however short.
                (self.stage, self.next) = (HARD, [0; 2]);
                return Charge::Hard;
            }
        };
        (self.packets, self.octets) = (packets, total);
        if self.stage == FRESH && (packets >= bounds.soft[0] || total >= bounds.soft[1]) {
            self.stage = SOFT;
            self.rearm(bounds);
            return Charge::Soft;
        }
        Charge::Within
    }

    /// The last report could not be delivered: the next packet reports again.
    pub fn repeat(&mut self, bounds: &Bounds) {
        if self.stage == HARD {
            self.stage = UNTOLD;
        } else {
            self.stage = FRESH;
            self.rearm(bounds);
        }
    }

    const fn rearm(&mut self, bounds: &Bounds) {
        let mut i = 0;
        while i < 2 {
            let (soft, hard) = (bounds.soft[i], bounds.hard[i]);
            self.next[i] = if self.stage == FRESH && soft < hard { soft } else { hard };
            i += 1;
        }
        self.next[0] = self.next[0].saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lifetime(soft: (u64, u64), hard: (u64, u64)) -> Lifetime {
        let limits = |(packets, octets)| Limits { packets, octets };
        Lifetime { soft: limits(soft), hard: limits(hard) }
    }

    fn charges(l: Lifetime, sequence: u64, n: usize) -> Vec<Charge> {
        let bounds = Bounds::new(&l, sequence);
        let mut meter = Meter::new(&bounds);
        (0..n).map(|_| meter.charge(100, &bounds)).collect()
    }

    #[test]
    fn limits_table() {
        use Charge::*;
        let none = (0, 0);
        assert_eq!(charges(lifetime(none, none), u64::MAX, 4), [Within; 4]);
        assert_eq!(charges(lifetime((2, 0), (4, 0)), u64::MAX, 6), [Within, Soft, Within, Within, Hard, Spent]);
        assert_eq!(charges(lifetime((0, 150), (0, 300)), u64::MAX, 5), [Within, Soft, Within, Hard, Spent]);
        assert_eq!(charges(lifetime((1, 0), (0, 250)), u64::MAX, 4), [Soft, Within, Hard, Spent]);
        assert_eq!(charges(lifetime(none, (1, 0)), u64::MAX, 3), [Within, Hard, Spent]);
        assert_eq!(charges(lifetime((9, 0), (2, 0)), u64::MAX, 4), [Within, Within, Hard, Spent]);
        // The numbers are a hard limit of their own, with a soft one before it.
        let mut expected = vec![Within; 32];
        expected[29] = Soft;
        expected.extend([Hard, Spent]);
        assert_eq!(charges(lifetime(none, none), 32, 34), expected);
        assert_eq!(charges(lifetime((3, 0), (100, 0)), 4, 6), [Within, Within, Soft, Within, Hard, Spent]);
    }

    #[test]
    fn nothing_passes_after_the_packet_that_was_too_much() {
        let bounds = Bounds::new(&lifetime((0, 0), (0, 1000)), u64::MAX);
        let mut meter = Meter::new(&bounds);
        assert_eq!(meter.charge(950, &bounds), Charge::Within);
        assert_eq!(meter.charge(100, &bounds), Charge::Hard);
        assert_eq!(meter.charge(40, &bounds), Charge::Spent);
        meter.repeat(&bounds);
        assert_eq!((meter.charge(40, &bounds), meter.charge(1, &bounds)), (Charge::Hard, Charge::Spent));
        assert_eq!((meter.packets(), meter.octets()), (1, 950));
    }

    #[test]
    fn a_lost_report_is_made_again() {
        let bounds = Bounds::new(&lifetime((1, 0), (2, 0)), u64::MAX);
        let mut meter = Meter::new(&bounds);
        assert_eq!(meter.charge(1, &bounds), Charge::Soft);
        meter.repeat(&bounds);
        assert_eq!(meter.charge(1, &bounds), Charge::Soft);
        assert_eq!(meter.charge(1, &bounds), Charge::Hard);
        meter.repeat(&bounds);
        assert_eq!(meter.charge(1, &bounds), Charge::Hard);
        assert_eq!(meter.charge(1, &bounds), Charge::Spent);
        assert_eq!(meter.packets(), 2);
    }

    #[test]
    fn counters_never_wrap() {
        let bounds = Bounds::new(&Lifetime::default(), u64::MAX);
        let mut meter = Meter::new(&bounds);
        meter.set_packets(u64::MAX - 1);
        assert!(meter.charge(u64::MAX, &bounds).passes());
        assert_eq!(meter.packets(), u64::MAX);
        assert!(!meter.charge(0, &bounds).passes());
        assert_eq!(meter.packets(), u64::MAX);
    }
}

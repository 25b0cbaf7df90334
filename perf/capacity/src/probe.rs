//! What a measured packet carries, at the beginning of its UDP payload:
//!
//! ```text
//!   stream(4) | sequence number(4) | time stamp(4) | check(4) | pattern
//! ```
//!
//! The check is a CRC-32 over all the rest, and the pattern depends on the sequence number, so that octets that have
//! changed, or come from another packet, are seen. With 16 octets a probe fits an IPv6 packet of 64.

use std::sync::LazyLock;

/// Octets of a probe without pattern.
pub const LEN: usize = 16;
/// UDP port to which probes go: discard.
pub const PORT: u16 = 9;

/// Longest pattern, and how many different beginnings it has.
const PATTERN: usize = 2048;
const OFFSETS: usize = 1024;

/// Random octets, the same in each run.
static OCTETS: LazyLock<[u8; PATTERN + OFFSETS]> = LazyLock::new(|| {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::array::from_fn(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
});

/// A probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The stream, see [`crate::tally`].
    pub stream: u32,
    /// Its number in the stream.
    pub seq: u32,
    /// When it was sent, in units of [`ticks`].
    pub stamp: u32,
}

impl Probe {
    /// Fills a UDP payload. `false`: it is too small, or larger than any packet of ours.
    pub fn write(&self, payload: &mut [u8]) -> bool {
        let Some((head, rest)) = payload.split_first_chunk_mut::<LEN>() else { return false };
        let at = self.seq as usize % OFFSETS;
        let Some(pattern) = OCTETS.get(at..at + rest.len()) else { return false };
        rest.copy_from_slice(pattern);
        head[..4].copy_from_slice(&self.stream.to_be_bytes());
        head[4..8].copy_from_slice(&self.seq.to_be_bytes());
        head[8..12].copy_from_slice(&self.stamp.to_be_bytes());
        let sum = check(head, rest);
        head[12..].copy_from_slice(&sum.to_be_bytes());
        true
    }

    /// Reads a UDP payload. `None`: it is not as it was sent.
    pub fn read(payload: &[u8]) -> Option<Self> {
        let (head, rest) = payload.split_first_chunk::<LEN>()?;
        let [stream, seq, stamp, sum] = std::array::from_fn(|i| {
            u32::from_be_bytes([head[i * 4], head[i * 4 + 1], head[i * 4 + 2], head[i * 4 + 3]])
        });
        (sum == check(head, rest)).then_some(Self { stream, seq, stamp })
    }
}

fn check(head: &[u8; LEN], rest: &[u8]) -> u32 {
    let mut hash = crc32fast::Hasher::new();
    hash.update(&head[..12]);
    hash.update(rest);
    hash.finalize()
}

/// The TSC in the units of time stamps: 16 ticks, which are a few nanoseconds. They begin anew after less than a minute,
/// and no packet is on its way for so long.
pub fn ticks(tsc: u64) -> u32 {
    (tsc >> 4) as u32
}

/// Nanoseconds from a stamp to `now`, both in units of [`ticks`], where the TSC has `hz`.
pub fn nanoseconds(stamp: u32, now: u32, hz: u64) -> u64 {
    let ticks = u128::from(now.wrapping_sub(stamp)) << 4;
    (ticks * 1_000_000_000 / u128::from(hz.max(1))) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_bit_is_seen() {
        let probe = Probe { stream: 7, seq: 4711, stamp: 99 };
        let mut payload = [0; 100];
        assert!(probe.write(&mut payload));
        assert_eq!(Probe::read(&payload), Some(probe));
        for bit in 0..800 {
            payload[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Probe::read(&payload), None, "bit {bit}");
            payload[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(Probe::read(&payload[..99]), None);
    }

    #[test]
    fn the_tail_of_another_packet_is_seen() {
        let (mut a, mut b) = ([0; 64], [0; 64]);
        Probe { stream: 1, seq: 1, stamp: 0 }.write(&mut a);
        Probe { stream: 1, seq: 2, stamp: 0 }.write(&mut b);
        a[LEN..].copy_from_slice(&b[LEN..]);
        assert_eq!(Probe::read(&a), None);
    }

    #[test]
    fn what_is_too_small_or_too_large_is_refused() {
        let probe = Probe { stream: 0, seq: OFFSETS as u32 - 1, stamp: 0 };
        assert!(!probe.write(&mut [0; 15]));
        assert!(probe.write(&mut [0; LEN + PATTERN + 1]));
        assert!(!probe.write(&mut [0; LEN + PATTERN + 2]));
        assert!(Probe::read(&[0; 15]).is_none());
    }

    #[test]
    fn time_passes_over_the_end_of_a_stamp() {
        assert_eq!(
            nanoseconds(ticks(u64::from(u32::MAX) << 4), ticks((u64::from(u32::MAX) + 1000) << 4), 16_000_000_000),
            1000
        );
    }
}

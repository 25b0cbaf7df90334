//! What became of measured packets: each stream's sequence, and the sums of each way.
//!
//! A stream is a subscriber, a family and a way; its number has the trial in the upper octet, so that what comes late from
//! an earlier trial is told apart. A packet that is sent is received once or lost; received packets may come twice, or
//! after a later one. A packet whose check fails belongs to no stream, so it counts as corrupted, and in its stream as lost.

use crate::probe::{Probe, nanoseconds};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// As many as a stream's number has room for.
pub const MAX_SUBSCRIBERS: u32 = 1 << 22;
/// Packets from the subscribers.
pub const UP: usize = 0;
/// Packets to the subscribers.
pub const DOWN: usize = 1;
/// A minute, in nanoseconds: stamps say no more.
const LONGEST: u64 = 60_000_000_000;

/// A stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The subscriber's number on its packet core.
    pub subscriber: u32,
    /// IPv6 inside.
    pub v6: bool,
    /// [`UP`] or [`DOWN`].
    pub way: usize,
}

impl Stream {
    /// Its place in a table.
    pub fn index(self) -> usize {
        (self.subscriber as usize) << 2 | usize::from(self.v6) << 1 | self.way
    }

    fn at(index: usize) -> Self {
        Self { subscriber: (index >> 2) as u32, v6: index & 2 != 0, way: index & 1 }
    }
}

/// Sums of one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// Packets sent.
    pub sent: u64,
    /// Packets received, each counted once.
    pub received: u64,
    /// Packets received once more.
    pub duplicated: u64,
    /// Packets that came after a later one of their stream.
    pub reordered: u64,
    /// Packets whose check failed.
    pub corrupted: u64,
    /// Packets that came to, or from, another subscriber.
    pub misdelivered: u64,
}

impl Flow {
    /// Packets that have not come.
    pub fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.received)
    }

    /// Their share.
    pub fn loss(&self) -> f64 {
        if self.sent == 0 { 0.0 } else { self.lost() as f64 / self.sent as f64 }
    }

    /// Adds another core's, or the other way's.
    pub fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.received += other.received;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.corrupted += other.corrupted;
        self.misdelivered += other.misdelivered;
    }
}

/// How a packet came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    First,
    Reordered,
    Again,
}

/// Which numbers of a stream have come: the next one expected, and the last 128.
#[derive(Clone, Copy, Debug, Default)]
struct Sequence {
    sent: u32,
    next: u32,
    window: u128,
}

impl Sequence {
    fn record(&mut self, seq: u32) -> Seen {
        let ahead = seq.wrapping_sub(self.next);
        if ahead < 1 << 31 {
            let shift = ahead.saturating_add(1);
            self.window = if shift < 128 { self.window << shift | 1 } else { 1 };
            self.next = seq.wrapping_add(1);
            return Seen::First;
        }
        let back = self.next.wrapping_sub(1).wrapping_sub(seq);
        // Older than the window: that it had come before is not known, and is less likely.
        if back >= 128 {
            return Seen::Reordered;
        }
        let bit = 1 << back;
        let known = self.window & bit != 0;
        self.window |= bit;
        if known { Seen::Again } else { Seen::Reordered }
    }
}

/// One packet core's books of a trial.
pub struct Tally {
    trial: u8,
    hz: u64,
    sequences: Vec<Sequence>,
    /// Sums of each way.
    pub flows: [Flow; 2],
    /// Latency of each way in nanoseconds.
    pub latency: [Histogram<u64>; 2],
}

/// An empty histogram of nanoseconds: three digits, from 1 ns to a minute.
pub fn histogram() -> Histogram<u64> {
    let bounded = Histogram::new_with_bounds(1, LONGEST, 3);
    // These bounds are good.
    bounded.unwrap_or_else(|_| unreachable!())
}

impl Tally {
    /// Books for so many subscribers, where the TSC has `hz`.
    pub fn new(subscribers: u32, hz: u64) -> Self {
        Self {
            trial: 0,
            hz,
            sequences: vec![Sequence::default(); (subscribers as usize) << 2],
            flows: [Flow::default(); 2],
            latency: [histogram(), histogram()],
        }
    }

    /// Begins a trial.
    pub fn begin(&mut self, trial: u8) {
        self.trial = trial;
        self.sequences.fill(Sequence::default());
        self.flows = [Flow::default(); 2];
        self.latency.iter_mut().for_each(Histogram::reset);
    }

    /// The next probe of a stream, which is sent at `stamp`.
    pub fn send(&mut self, stream: Stream, stamp: u32) -> Option<Probe> {
        let index = stream.index();
        let sequence = self.sequences.get_mut(index)?;
        let seq = sequence.sent;
        sequence.sent = seq.wrapping_add(1);
        self.flows[stream.way].sent += 1;
        Some(Probe { stream: u32::from(self.trial) << 24 | index as u32, seq, stamp })
    }

    /// Takes a packet to the port of probes that came at `now` on its way, and says what `ours` makes of its stream:
    /// whether its addresses are that stream's.
    pub fn receive(&mut self, way: usize, payload: &[u8], now: u32, ours: impl FnOnce(Stream) -> bool) {
        let flow = &mut self.flows[way];
        let Some(probe) = Probe::read(payload) else {
            flow.corrupted += 1;
            return;
        };
        let index = (probe.stream & 0xff_ffff) as usize;
        let stream = Stream::at(index);
        if (probe.stream >> 24) as u8 != self.trial {
            return;
        }
        let Some(sequence) = self.sequences.get_mut(index).filter(|_| stream.way == way && ours(stream)) else {
            flow.misdelivered += 1;
            return;
        };
        match sequence.record(probe.seq) {
            Seen::Again => {
                flow.duplicated += 1;
                return;
            }
            Seen::Reordered => flow.reordered += 1,
            Seen::First => {}
        }
        flow.received += 1;
        self.latency[way].saturating_record(nanoseconds(probe.stamp, now, self.hz));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: Stream = Stream { subscriber: 1, v6: true, way: DOWN };

    #[test]
    fn streams_have_places_of_their_own() {
        let all = (0..3).flat_map(|subscriber| {
            [false, true].into_iter().flat_map(move |v6| [UP, DOWN].map(|way| Stream { subscriber, v6, way }))
        });
        for (i, stream) in all.enumerate() {
            assert_eq!((stream.index(), Stream::at(i)), (i, stream));
        }
    }

    #[test]
    fn sequences() {
        use Seen::*;
        let long: Vec<(u32, Seen)> = vec![(500, First), (373, Reordered), (372, Reordered), (500, Again), (373, Again)];
        for (name, steps) in [
            ("in order", vec![(0, First), (1, First), (2, First)]),
            ("a gap that fills", vec![(0, First), (3, First), (1, Reordered), (2, Reordered), (4, First)]),
            ("twice", vec![(0, First), (0, Again), (1, First), (0, Again)]),
            ("far ahead", long),
            ("the first ones lost", vec![(2, First), (0, Reordered), (1, Reordered), (1, Again)]),
        ] {
            let mut sequence = Sequence::default();
            for (i, (seq, seen)) in steps.into_iter().enumerate() {
                assert_eq!(sequence.record(seq), seen, "{name}, step {i}");
            }
        }
        let mut wrapping = Sequence { sent: 0, next: u32::MAX, window: 1 };
        assert_eq!([u32::MAX, 0, u32::MAX].map(|s| wrapping.record(s)), [First, First, Again]);
    }

    fn payload(tally: &mut Tally, now: u32) -> Vec<u8> {
        let mut payload = vec![0; 40];
        assert!(tally.send(STREAM, now).unwrap().write(&mut payload));
        payload
    }

    #[test]
    fn each_packet_is_in_the_books() {
        let mut tally = Tally::new(2, 1_600_000_000);
        tally.begin(1);
        let packets: Vec<_> = (0..6).map(|_| payload(&mut tally, 100)).collect();
        tally.receive(DOWN, &packets[0], 200, |s| s == STREAM);
        tally.receive(DOWN, &packets[2], 200, |_| true);
        tally.receive(DOWN, &packets[1], 200, |_| true);
        tally.receive(DOWN, &packets[1], 200, |_| true);
        tally.receive(DOWN, &packets[3], 200, |_| false);
        tally.receive(UP, &packets[3], 200, |_| true);
        let mut broken = packets[4].clone();
        broken[30] ^= 1;
        tally.receive(DOWN, &broken, 200, |_| true);
        let f = tally.flows[DOWN];
        assert_eq!((f.sent, f.received, f.lost(), f.duplicated, f.reordered), (6, 3, 3, 1, 1));
        assert_eq!((f.corrupted, f.misdelivered, tally.flows[UP].misdelivered), (1, 1, 1));
        assert_eq!(f.loss(), 0.5);
        let latency = &tally.latency[DOWN];
        assert_eq!((latency.len(), latency.min(), latency.max()), (3, 1000, 1000));

        tally.begin(2);
        tally.receive(DOWN, &packets[5], 200, |_| true);
        assert_eq!(tally.flows[DOWN], Flow::default(), "of an earlier trial");
    }
}

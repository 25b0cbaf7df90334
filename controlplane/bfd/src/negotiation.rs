//! Intervals: what each end wants, what both do, and how a change comes into force (RFC 5880, sections 6.5, 6.8.2 to
//! 6.8.4 and 6.8.7).
//!
//! ```text
//!   our interval        = max(our Desired Min TX, the peer's Required Min RX)
//!   our Detection Time  = the peer's Detect Mult * max(our Required Min RX, the peer's Desired Min TX)
//!
//!   a change:  ── P, new values ──►      in force at once, if it makes us send sooner or wait longer; else, in Up,
//!              ◄── F ──────────────      with the Final, when the peer is known to have the new values
//!              ◄── (no F) ─────────      only then may the next change begin, or its Final could be that of this one
//! ```
//!
//! While a session is not up, we desire to send at most once a second and everything is in force at once.

use crate::packet::Packet;
use rand_core::Rng;
use std::time::Duration;

/// The least Desired Min TX Interval while a session is not up, in microseconds (RFC 5880, section 6.8.3).
pub const SLOW: u32 = 1_000_000;

/// A pair of intervals of ours, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intervals {
    /// Desired Min TX Interval.
    pub desired_min_tx: u32,
    /// Required Min RX Interval.
    pub required_min_rx: u32,
}

/// Where a Poll Sequence of ours is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Poll {
    /// None.
    Idle,
    /// Our packets have the P bit set.
    Active,
    /// The Final is here; a packet without F has to follow.
    Settling,
}

/// The intervals of a session.
#[derive(Clone, Debug)]
pub struct Negotiation {
    /// What the operator wants.
    configured: Intervals,
    /// What our packets say.
    advertised: Intervals,
    /// What our own timers go by.
    in_force: Intervals,
    detect_mult: u8,
    poll: Poll,
    remote_min_rx: u32,
    remote_min_tx: u32,
    remote_detect_mult: u8,
}

impl Negotiation {
    /// For a session that is down and has not heard of its peer.
    pub fn new(configured: Intervals, detect_mult: u8) -> Self {
        let slow = slowed(configured);
        Self {
            configured,
            advertised: slow,
            in_force: slow,
            detect_mult,
            poll: Poll::Idle,
            remote_min_rx: 1,
            remote_min_tx: 0,
            remote_detect_mult: 1,
        }
    }

    /// The operator wants something else; [`settle`](Self::settle) does the rest.
    pub fn configure(&mut self, configured: Intervals, detect_mult: u8) {
        (self.configured, self.detect_mult) = (configured, detect_mult);
    }

    /// Takes what a valid packet says, its Final included.
    pub fn heard(&mut self, packet: &Packet) {
        self.remote_min_rx = packet.required_min_rx;
        self.remote_min_tx = packet.desired_min_tx;
        self.remote_detect_mult = packet.detect_mult;
        match (self.poll, packet.final_) {
            (Poll::Active, true) => {
                self.poll = Poll::Settling;
                self.in_force = self.advertised;
            }
            (Poll::Settling, false) => self.poll = Poll::Idle,
            (Poll::Active, false) | (Poll::Settling, true) | (Poll::Idle, _) => {}
        }
    }

    /// The peer has been silent for a Detection Time: nothing of it holds any more (RFC 5880, sections 6.8.1, 6.8.18),
    /// and there is nobody to poll.
    pub fn forget_peer(&mut self) {
        self.remote_min_rx = 1;
        self.poll = Poll::Idle;
    }

    /// Begins the change that state and configuration ask for, unless one is under way. To be called after every
    /// event, before a packet is made.
    pub fn settle(&mut self, up: bool, peer_known: bool) {
        let wanted = if up { self.configured } else { slowed(self.configured) };
        if !up {
            self.in_force = wanted;
        }
        if wanted == self.advertised || up && self.poll != Poll::Idle {
            return;
        }
        self.advertised = wanted;
        if up {
            self.in_force.desired_min_tx = self.in_force.desired_min_tx.min(wanted.desired_min_tx);
            self.in_force.required_min_rx = self.in_force.required_min_rx.max(wanted.required_min_rx);
        }
        if peer_known {
            self.poll = Poll::Active;
        }
    }

    /// Whether our packets ask for a Final.
    pub fn polling(&self) -> bool {
        self.poll == Poll::Active
    }

    /// What our packets say.
    pub fn advertised(&self) -> Intervals {
        self.advertised
    }

    /// Our Detect Mult.
    pub fn detect_mult(&self) -> u8 {
        self.detect_mult
    }

    /// Between two packets of ours, before jitter; `None`: the peer wants none (Required Min RX 0).
    pub fn tx_interval(&self) -> Option<Duration> {
        let interval = self.in_force.desired_min_tx.max(self.remote_min_rx);
        (self.remote_min_rx != 0).then(|| Duration::from_micros(interval.into()))
    }

    /// Silence of the peer after which the path is broken.
    pub fn detection_time(&self) -> Duration {
        let interval = self.in_force.required_min_rx.max(self.remote_min_tx);
        Duration::from_micros(u64::from(interval) * u64::from(self.remote_detect_mult))
    }

    /// Silence of ours after which the peer finds the path broken.
    pub fn remote_detection_time(&self) -> Duration {
        let interval = self.advertised.desired_min_tx.max(self.remote_min_rx);
        Duration::from_micros(u64::from(interval) * u64::from(self.detect_mult))
    }

    /// The time until the next packet: 75 to 100 % of the interval, at most 90 % where a single lost packet counts
    /// (RFC 5880, section 6.8.7).
    pub fn jittered(&self, interval: Duration, rng: &mut dyn Rng) -> Duration {
        let micros = u64::try_from(interval.as_micros()).unwrap_or(u64::MAX).min(u32::MAX.into());
        let percent = if self.detect_mult == 1 { 90 } else { 100 };
        let least = (micros * 75).div_ceil(100);
        let spread = (micros * percent / 100).saturating_sub(least);
        Duration::from_micros(least + (((spread + 1) * u64::from(rng.next_u32())) >> 32))
    }
}

fn slowed(configured: Intervals) -> Intervals {
    Intervals { desired_min_tx: configured.desired_min_tx.max(SLOW), ..configured }
}

#[cfg(test)]
mod tests;

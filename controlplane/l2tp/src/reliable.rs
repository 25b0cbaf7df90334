//! Reliable delivery of control messages (RFC 2661, section 5.8 and appendix A): a sliding window per tunnel.
//!
//! Every message but a ZLB has a number, Ns; every message carries Nr, the number its sender expects next, which
//! acknowledges all before it. The sender keeps messages until they are acknowledged. When that takes longer than
//! the retransmission interval (1, 2, 4, 8, 8, ... seconds) it starts over from the oldest, with a congestion window
//! of one. The receiver hands messages on in order, holds those that came early, and acknowledges repeats again.
//!
//! ```text
//!  out:  | in flight | waiting for the window |       held: early ones, up to our receive window
//!        ^ base                                       nr: the next one in order
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

const FIRST_INTERVAL: Duration = Duration::from_secs(1);
const MAX_INTERVAL: Duration = Duration::from_secs(8);
/// Receive window of a peer that names none (RFC 2661, section 4.4.3).
const DEFAULT_WINDOW: u16 = 4;

/// The interval after `attempts` retransmissions.
fn interval(attempts: u32) -> Duration {
    FIRST_INTERVAL.saturating_mul(1 << attempts.min(3)).min(MAX_INTERVAL)
}

/// How long a peer may go on repeating its last message: the sum of all intervals.
pub fn retransmission_time(max_retransmits: u32) -> Duration {
    (0..=max_retransmits).map(interval).sum()
}

#[derive(Debug)]
struct Outgoing {
    session: u16,
    body: Vec<u8>,
}

/// A message to put on the wire now; an empty body is a ZLB.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Session id of the header.
    pub session: u16,
    /// Its number.
    pub ns: u16,
    /// Acknowledges what is before it.
    pub nr: u16,
    /// AVPs.
    pub body: &'a [u8],
}

/// What a received message turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Only an acknowledgement.
    Ack,
    /// In order, or held until it is: see [`Reliable::deliver`].
    New,
    /// A repeat; it is acknowledged again.
    Duplicate,
    /// Beyond our receive window; dropped.
    Window,
}

/// Both directions of one tunnel's control channel.
#[derive(Debug)]
pub struct Reliable {
    out: VecDeque<Outgoing>,
    /// Ns of the front of `out`.
    base: u16,
    /// Messages from the front that are on their way.
    in_flight: usize,
    /// Messages from the front that were sent at least once: what the peer can acknowledge.
    sent: usize,
    window: usize,
    congestion: usize,
    threshold: usize,
    /// Acknowledgements since the congestion window grew, in congestion avoidance.
    credit: usize,
    attempts: u32,
    retransmit_at: Option<Instant>,
    /// When the front was sent first.
    waiting_since: Option<Instant>,

    nr: u16,
    our_window: u16,
    held: BTreeMap<u16, (u16, Vec<u8>)>,
    ack_owed: bool,
}

impl Reliable {
    /// A new channel; `our_window` is the Receive Window Size we announce.
    pub fn new(our_window: u16) -> Self {
        Self {
            out: VecDeque::new(),
            base: 0,
            in_flight: 0,
            sent: 0,
            window: usize::from(DEFAULT_WINDOW),
            congestion: 1,
            threshold: usize::from(DEFAULT_WINDOW),
            credit: 0,
            attempts: 0,
            retransmit_at: None,
            waiting_since: None,
            nr: 0,
            our_window: our_window.clamp(1, 0x4000),
            held: BTreeMap::new(),
            ack_owed: false,
        }
    }

    /// The peer's Receive Window Size.
    pub fn set_peer_window(&mut self, window: u16) {
        self.window = usize::from(window.max(1));
        self.threshold = self.window;
    }

    /// Queues a message.
    pub fn send(&mut self, session: u16, body: Vec<u8>) {
        self.out.push_back(Outgoing { session, body });
    }

    /// Drops what was not sent yet: the tunnel closes and only its last word matters.
    pub fn drop_unsent(&mut self) {
        self.out.truncate(self.sent);
    }

    /// Nothing is sent any more but acknowledgements.
    pub fn stop_sending(&mut self) {
        self.base = self.base.wrapping_add(self.sent as u16);
        self.out.clear();
        (self.sent, self.in_flight) = (0, 0);
        (self.retransmit_at, self.waiting_since) = (None, None);
    }

    /// Everything was acknowledged.
    pub fn is_idle(&self) -> bool {
        self.out.is_empty()
    }

    /// Retransmissions of the oldest message.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// When the oldest message that waits for its acknowledgement was sent first.
    pub fn waiting_since(&self) -> Option<Instant> {
        self.waiting_since
    }

    /// Next retransmission.
    pub fn timeout(&self) -> Option<Instant> {
        self.retransmit_at
    }

    /// Takes the Nr of any message of the peer. Numbers that acknowledge what we never sent say nothing.
    pub fn acknowledge(&mut self, now: Instant, nr: u16) {
        let count = usize::from(nr.wrapping_sub(self.base));
        if count == 0 || count > self.sent {
            return;
        }
        self.out.drain(..count);
        self.base = nr;
        self.sent -= count;
        self.in_flight = self.in_flight.saturating_sub(count);
        self.attempts = 0;
        self.waiting_since = (self.sent > 0).then_some(now);
        self.retransmit_at = (self.in_flight > 0).then_some(now + interval(0));
        for _ in 0..count {
            if self.congestion < self.threshold {
                self.congestion += 1;
            } else {
                self.credit += 1;
                if self.credit >= self.congestion {
                    self.credit = 0;
                    self.congestion = (self.congestion + 1).min(self.window);
                }
            }
        }
    }

    /// Takes a message. Call [`acknowledge`](Self::acknowledge) with its Nr as well.
    pub fn receive(&mut self, ns: u16, session: u16, body: &[u8]) -> Arrival {
        if body.is_empty() {
            return Arrival::Ack;
        }
        let ahead = ns.wrapping_sub(self.nr);
        if ahead >= 0x8000 {
            // MUST be acknowledged: our acknowledgement may have been lost.
            self.ack_owed = true;
            return Arrival::Duplicate;
        }
        if ahead >= self.our_window {
            return Arrival::Window;
        }
        self.ack_owed = true;
        if self.held.contains_key(&ns) {
            return Arrival::Duplicate;
        }
        self.held.insert(ns, (session, body.to_vec()));
        Arrival::New
    }

    /// The next message in order: session id of its header, and body.
    pub fn deliver(&mut self) -> Option<(u16, Vec<u8>)> {
        let next = self.held.remove(&self.nr)?;
        self.nr = self.nr.wrapping_add(1);
        Some(next)
    }

    /// The retransmission interval may be over: then everything in flight is sent again as the window opens.
    /// Returns whether it was.
    pub fn expire(&mut self, now: Instant) -> bool {
        if self.retransmit_at.is_none_or(|at| at > now) {
            return false;
        }
        self.threshold = (self.congestion / 2).max(1);
        self.congestion = 1;
        self.credit = 0;
        self.in_flight = 0;
        self.attempts = self.attempts.saturating_add(1);
        self.retransmit_at = None;
        true
    }

    /// What to put on the wire, until `None`: messages as far as the windows allow, else an acknowledgement that
    /// is owed.
    pub fn poll(&mut self, now: Instant) -> Option<Frame<'_>> {
        if self.in_flight < self.congestion.min(self.window)
            && let Some(message) = self.out.get(self.in_flight)
        {
            let ns = self.base.wrapping_add(self.in_flight as u16);
            self.in_flight += 1;
            self.sent = self.sent.max(self.in_flight);
            self.retransmit_at.get_or_insert(now + interval(self.attempts));
            self.waiting_since.get_or_insert(now);
            self.ack_owed = false;
            return Some(Frame { session: message.session, ns, nr: self.nr, body: &message.body });
        }
        if std::mem::take(&mut self.ack_owed) {
            let ns = self.base.wrapping_add(self.sent as u16);
            return Some(Frame { session: 0, ns, nr: self.nr, body: &[] });
        }
        None
    }
}

#[cfg(test)]
mod tests;

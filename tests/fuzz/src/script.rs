//! A script for two ends of a protocol, read from the fuzzer's octets.
//!
//! ```text
//!   step = control (1 octet) │ length (2 octets) │ data
//!   control: bits 0-1  what to do with the data: 0 give it to A, 1 give it to B,
//!                      2 overwrite the next message under way (offset, octets), 3 an action of the owner
//!            bits 2-4  messages to deliver unharmed before that
//!            bits 5-7  how far to move the clock before that
//! ```
//!
//! So the ends can talk honestly for a while, and a fault in any state is a few octets away from a seed.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// One of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Who begins.
    A,
    /// Who answers.
    B,
}

impl End {
    /// The other one.
    pub fn other(self) -> Self {
        if self == Self::A { Self::B } else { Self::A }
    }
}

/// Both ends.
pub trait Ends {
    /// A message for an end.
    fn input(&mut self, now: Instant, to: End, message: &[u8]);
    /// The clock has moved.
    fn timeout(&mut self, now: Instant);
    /// The earliest deadline.
    fn deadline(&self) -> Option<Instant>;
    /// Drains events, answers them, and gives each message and who gets it.
    fn drain(&mut self, now: Instant, out: &mut dyn FnMut(End, Vec<u8>));
    /// A call of the owner; whatever number it is.
    fn act(&mut self, now: Instant, action: u8);
}

const CLOCK: [Duration; 8] = [
    Duration::ZERO,
    Duration::from_millis(20),
    Duration::from_secs(1),
    Duration::from_secs(4),
    Duration::from_secs(25),
    Duration::from_secs(90),
    Duration::from_secs(3700),
    Duration::from_secs(100_000),
];

/// Steps of one script.
const MAX_STEPS: usize = 48;
/// Messages under way; what is more is lost.
const MAX_UNDER_WAY: usize = 64;
/// Calls of `handle_timeout` without the time moving on.
const MAX_SPIN: usize = 64;

/// Puts a step together, for seeds.
pub fn step(clock: u8, deliver: u8, what: u8, data: &[u8]) -> Vec<u8> {
    let mut out = vec![clock << 5 | (deliver & 7) << 2 | what & 3];
    out.extend_from_slice(&(data.len() as u16).to_be_bytes());
    out.extend_from_slice(data);
    out
}

fn next<'a>(script: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let [control, rest @ ..] = *script else { return None };
    let (length, rest) = rest.split_first_chunk::<2>().unwrap_or((&[0, 0], rest));
    let (data, rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len()));
    *script = rest;
    Some((*control, data))
}

struct Play<'e> {
    ends: &'e mut dyn Ends,
    now: Instant,
    under_way: VecDeque<(End, Vec<u8>)>,
    sent: Vec<Vec<u8>>,
}

impl Play<'_> {
    fn drain(&mut self) {
        let (under_way, sent) = (&mut self.under_way, &mut self.sent);
        self.ends.drain(self.now, &mut |to, message| {
            if sent.len() < MAX_UNDER_WAY {
                sent.push(message.clone());
            }
            if under_way.len() < MAX_UNDER_WAY {
                under_way.push_back((to, message));
            }
        });
    }

    fn input(&mut self, to: End, message: &[u8]) {
        self.ends.input(self.now, to, message);
        self.drain();
        self.settle();
    }

    /// Timers that are due. A deadline that handling it does not move would keep its owner busy forever.
    fn settle(&mut self) {
        for _ in 0..MAX_SPIN {
            if self.ends.deadline().is_none_or(|at| at > self.now) {
                return;
            }
            self.ends.timeout(self.now);
            self.drain();
        }
        panic!("a deadline stays in the past");
    }

    /// Moves the clock from deadline to deadline.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        for _ in 0..MAX_SPIN {
            match self.ends.deadline() {
                Some(at) if at <= until => self.now = self.now.max(at),
                _ => break,
            }
            self.settle();
        }
        self.now = until;
        self.settle();
    }
}

/// Plays a script; gives the first messages that were sent.
///
/// # Panics
/// When an end does, or keeps asking for the time it already has.
pub fn play(ends: &mut dyn Ends, now: Instant, mut script: &[u8]) -> Vec<Vec<u8>> {
    let mut play = Play { ends, now, under_way: VecDeque::new(), sent: Vec::new() };
    play.drain();
    for _ in 0..MAX_STEPS {
        let Some((control, data)) = next(&mut script) else { break };
        play.pass(CLOCK[usize::from(control >> 5)]);
        for _ in 0..control >> 2 & 7 {
            let Some((to, message)) = play.under_way.pop_front() else { break };
            play.input(to, &message);
        }
        match control & 3 {
            0 => play.input(End::A, data),
            1 => play.input(End::B, data),
            2 => {
                let (Some((to, mut message)), Some((at, new))) = (play.under_way.pop_front(), data.split_first_chunk())
                else {
                    continue;
                };
                let at = usize::from(u16::from_be_bytes(*at)).min(message.len());
                let len = new.len().min(message.len() - at);
                message[at..at + len].copy_from_slice(&new[..len]);
                play.input(to, &message);
            }
            _ => {
                // Two of the actions belong to the link: loss and duplication.
                match data.first().copied().unwrap_or(0) {
                    0 => drop(play.under_way.pop_front()),
                    1 => play.under_way.extend(play.under_way.front().cloned()),
                    n => {
                        let now = play.now;
                        play.ends.act(now, n - 2);
                        play.drain();
                        play.settle();
                    }
                }
            }
        }
    }
    play.sent
}

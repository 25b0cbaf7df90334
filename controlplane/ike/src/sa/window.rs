//! Message ids (RFC 7296, sections 2.1 to 2.3). The window is one request in each direction.
//!
//! Requests are retransmitted by their sender until answered; the other end keeps its last answer and repeats it for a
//! repeated request. So every exchange has one outcome at both ends, whatever the network does to the datagrams.

use super::Ctx;
use crate::config::{BACKOFF, JITTER, Timers};
use crate::event::Meta;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// What is sent again until it is answered.
#[derive(Debug)]
pub(crate) struct Unanswered {
    datagrams: Vec<Vec<u8>>,
    sent: u32,
    interval: Duration,
    pub next: Instant,
}

impl Unanswered {
    /// Sends it for the first time.
    pub fn send(ctx: &mut Ctx<'_>, path: Meta, datagrams: Vec<Vec<u8>>) -> Self {
        for data in &datagrams {
            ctx.send(path.local, path.remote, data.clone());
        }
        let interval = ctx.policy.config.timers.retransmit;
        Self { datagrams, sent: 1, interval, next: ctx.now + jitter(ctx, interval) }
    }

    /// Sends it again if it is time to, to the peer and to where it may be as well. False: the peer is given up.
    pub fn again(&mut self, ctx: &mut Ctx<'_>, path: Meta, elsewhere: Option<Meta>) -> bool {
        let Timers { tries, .. } = ctx.policy.config.timers;
        if self.next > ctx.now {
            return true;
        }
        if self.sent >= tries {
            return false;
        }
        for Meta { local, remote } in std::iter::once(path).chain(elsewhere) {
            for data in &self.datagrams {
                ctx.send(local, remote, data.clone());
            }
        }
        self.sent += 1;
        self.interval = self.interval.mul_f64(BACKOFF);
        self.next = ctx.now + jitter(ctx, self.interval);
        true
    }
}

/// A request that waits for its answer.
#[derive(Debug)]
pub(crate) struct Pending {
    pub id: u32,
    pub sent: Unanswered,
}

/// What to do with a request by its message id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// The one expected next.
    New,
    /// The one answered last: repeat the answer.
    Repeated,
    /// Neither.
    Outside,
}

/// Message ids and retransmission of one IKE SA.
#[derive(Debug, Default)]
pub(crate) struct Window {
    next_out: u32,
    next_in: u32,
    pub pending: Option<Pending>,
    answer: Vec<Vec<u8>>,
}

impl Window {
    /// Message id of the next request.
    pub fn next_out(&self) -> u32 {
        self.next_out
    }

    /// Sends a request; its id was [`Self::next_out`].
    pub fn request(&mut self, ctx: &mut Ctx<'_>, local: SocketAddr, remote: SocketAddr, datagrams: Vec<Vec<u8>>) {
        let sent = Unanswered::send(ctx, Meta { local, remote }, datagrams);
        self.pending = Some(Pending { id: self.next_out, sent });
        self.next_out = self.next_out.wrapping_add(1);
    }

    /// Sends the same request in another form (IKE_SA_INIT with a cookie or another key exchange, section 2.6): it
    /// keeps its message id.
    pub fn restart(&mut self, ctx: &mut Ctx<'_>, local: SocketAddr, remote: SocketAddr, datagrams: Vec<Vec<u8>>) {
        self.next_out = self.next_out.wrapping_sub(1);
        self.request(ctx, local, remote, datagrams);
    }

    /// The pending request was answered.
    pub fn answered(&mut self, id: u32) -> bool {
        self.pending.take_if(|p| p.id == id).is_some()
    }

    /// Retransmits what is due, to the peer and to where it may be as well. False: the peer is given up.
    pub fn retransmit(&mut self, ctx: &mut Ctx<'_>, path: Meta, elsewhere: Option<Meta>) -> bool {
        self.pending.as_mut().is_none_or(|p| p.sent.again(ctx, path, elsewhere))
    }

    /// There is another way to the peer: the request under way takes it at once, and has as many tries as a new one.
    pub fn hurry(&mut self, now: Instant, retransmit: Duration) {
        if let Some(Pending { sent, .. }) = &mut self.pending {
            (sent.sent, sent.interval, sent.next) = (0, retransmit, now);
        }
    }

    /// Judges a request by its message id.
    pub fn incoming(&self, id: u32) -> Incoming {
        if id == self.next_in {
            Incoming::New
        } else if id.wrapping_add(1) == self.next_in && !self.answer.is_empty() {
            Incoming::Repeated
        } else {
            Incoming::Outside
        }
    }

    /// Answers the request expected next.
    pub fn answer(&mut self, ctx: &mut Ctx<'_>, local: SocketAddr, remote: SocketAddr, datagrams: Vec<Vec<u8>>) {
        self.next_in = self.next_in.wrapping_add(1);
        self.answer = datagrams;
        self.repeat(ctx, local, remote);
    }

    /// Sends the last answer again.
    pub fn repeat(&self, ctx: &mut Ctx<'_>, local: SocketAddr, remote: SocketAddr) {
        for data in &self.answer {
            ctx.send(local, remote, data.clone());
        }
    }

    /// Message id that the next new request must have.
    pub fn next_in(&self) -> u32 {
        self.next_in
    }
}

/// Somewhat more, so that peers that failed together do not retry together.
fn jitter(ctx: &mut Ctx<'_>, interval: Duration) -> Duration {
    interval.mul_f64(1.0 + f64::from(ctx.rng.next_u32()) / f64::from(u32::MAX) * JITTER)
}

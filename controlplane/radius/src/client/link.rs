//! A link: a socket toward a server, with the 256 identifiers that a socket has.
//!
//! ```text
//!   free ──► busy, of a request ──┬── answered ──► rests for 1 s ───┬──► free
//!                                 └── given up ──► rests for 30 s ──┘
//! ```
//!
//! So a late reply, or a second one, finds no other request in the place of its own. Each identifier remembers the
//! authenticator it last had, which tells such a reply from a forged one.

use crate::packet::{HEADER, MAX};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long a second reply may take.
const ANSWERED: Duration = Duration::from_secs(1);
/// How long a reply may take: the longest that a request is retransmitted for (RFC 5080, section 2.2.1, MRD).
const GIVEN_UP: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Link {
    /// Packets can be sent: at once over UDP, when connected over a stream.
    pub up: bool,
    busy: [Option<u64>; 256],
    last: [Option<[u8; 16]>; 256],
    free: VecDeque<u8>,
    /// Until when: of requests answered, of those given up.
    resting: [VecDeque<(Instant, u8)>; 2],
    buffer: Vec<u8>,
}

/// The stream says an impossible Length.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OutOfStep;

impl Link {
    pub fn new(up: bool) -> Self {
        Self {
            up,
            busy: [None; 256],
            last: [None; 256],
            free: (0..=255).collect(),
            resting: [VecDeque::new(), VecDeque::new()],
            buffer: Vec::new(),
        }
    }

    /// Takes an identifier for a request.
    pub fn take(&mut self, now: Instant, request: u64) -> Option<u8> {
        for resting in &mut self.resting {
            while let Some((_, id)) = resting.pop_front_if(|(until, _)| *until <= now) {
                self.free.push_back(id);
            }
        }
        let id = self.free.pop_front()?;
        *self.busy.get_mut(usize::from(id))? = Some(request);
        Some(id)
    }

    /// Gives one back whose request had this authenticator.
    pub fn give_back(&mut self, now: Instant, id: u8, authenticator: Option<[u8; 16]>, answered: bool) {
        if self.busy.get_mut(usize::from(id)).and_then(Option::take).is_none() {
            return;
        }
        if let Some(last) = self.last.get_mut(usize::from(id)) {
            *last = authenticator;
        }
        let [of_answered, of_given_up] = &mut self.resting;
        if answered {
            of_answered.push_back((now + ANSWERED, id));
        } else {
            of_given_up.push_back((now + GIVEN_UP, id));
        }
    }

    /// The request that has an identifier.
    pub fn owner(&self, id: u8) -> Option<u64> {
        self.busy.get(usize::from(id)).copied().flatten()
    }

    /// The authenticator of the request that had it before.
    pub fn last(&self, id: u8) -> Option<[u8; 16]> {
        self.last.get(usize::from(id)).copied().flatten()
    }

    /// Requests that wait for a reply on it.
    pub fn requests(&self) -> impl Iterator<Item = u64> + '_ {
        self.busy.iter().flatten().copied()
    }

    /// A piece of the stream has come.
    pub fn push(&mut self, octets: &[u8]) {
        self.buffer.extend_from_slice(octets);
    }

    /// The next whole packet of the stream (RFC 6613, section 2.6.4).
    pub fn next_packet(&mut self) -> Result<Option<Vec<u8>>, OutOfStep> {
        let Some(&[_, _, l0, l1]) = self.buffer.first_chunk() else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        if !(HEADER..=MAX).contains(&length) {
            return Err(OutOfStep);
        }
        Ok((length <= self.buffer.len()).then(|| self.buffer.drain(..length).collect()))
    }
}

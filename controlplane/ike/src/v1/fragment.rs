//! Fragments of IKEv1 messages, as Cisco and Microsoft made them: a message that is too large, header and all, is cut
//! *after* encryption into messages of one FRAGMENT payload each.
//!
//! ```text
//!   ISAKMP header | next (1) | 0 | length (2) | fragment id (2) | number (1), from 1 | flags (1), 1: the last | data
//! ```
//!
//! Nothing protects a fragment, so a stranger may spoil a message under way, but not make one: that is opened as a whole.

use super::message::Header;
use super::payload::kind;
use crate::error::Malformed;
use crate::message::HEADER_LEN;
use crate::payload::{Builder, GENERIC_HEADER, PayloadType};
use std::time::{Duration, Instant};

/// More fragments than this are refused.
pub const MAX_FRAGMENTS: u8 = 64;
/// More octets than this are refused.
pub const MAX_MESSAGE: usize = 65_536;
/// So are more than this before the peer has proved itself: its certificates are the largest that it has to say.
pub const MAX_UNPROVED: usize = 16_384;
/// After this long without another fragment the ones that are there are forgotten.
const PATIENCE: Duration = Duration::from_secs(30);

const PREFIX: usize = 4;
const LAST: u8 = 1;

/// Cuts `message`, whose header is `header`, into datagrams of at most `room` octets; one that fits stays whole. `id`
/// tells the messages of an ISAKMP SA apart. Without room for [`MAX_FRAGMENTS`] it stays whole as well.
pub fn split(message: &[u8], mut header: Header, id: u16, room: usize) -> Vec<Vec<u8>> {
    let data = room.saturating_sub(HEADER_LEN + GENERIC_HEADER + PREFIX).max(1);
    let count = message.len().div_ceil(data);
    if message.len() <= room || count > usize::from(MAX_FRAGMENTS) {
        return vec![message.to_vec()];
    }
    (header.next, header.encrypted) = (kind::FRAGMENT, false);
    let piece = |(index, data): (usize, &[u8])| {
        let mut chain = Builder::new();
        chain.push(kind::FRAGMENT, |out| {
            out.extend_from_slice(&id.to_be_bytes());
            out.extend_from_slice(&[index as u8 + 1, if index + 1 == count { LAST } else { 0 }]);
            out.extend_from_slice(data);
        });
        header.message(&chain)
    };
    message.chunks(data).enumerate().map(piece).collect()
}

/// Puts the fragments of one message together.
#[derive(Debug, Default)]
pub struct Reassembler {
    id: u16,
    last: Option<usize>,
    /// When they are forgotten; absent when there are none.
    pub until: Option<Instant>,
    pieces: Vec<Option<Vec<u8>>>,
}

impl Reassembler {
    /// Takes what follows the header of a message whose first payload is a FRAGMENT. Gives the whole message when the
    /// last missing fragment is there. Another id starts over; and since some have one id for all their messages, of
    /// fragments that contradict each other the newest counts. It holds `most` octets.
    pub fn add(&mut self, bytes: &[u8], now: Instant, most: usize) -> Result<Option<Vec<u8>>, Malformed> {
        let [next, _, len_hi, len_lo, hi, lo, number, flags, ref data @ ..] = *bytes else {
            return Err(Malformed("truncated fragment"));
        };
        if PayloadType(next) != PayloadType::NONE || usize::from(u16::from_be_bytes([len_hi, len_lo])) != bytes.len() {
            return Err(Malformed("fragment length"));
        }
        if number == 0 || number > MAX_FRAGMENTS || data.is_empty() {
            return Err(Malformed("fragment number"));
        }
        let (id, number) = (u16::from_be_bytes([hi, lo]), usize::from(number));
        if id != self.id {
            *self = Self { id, ..Self::default() };
        }
        self.expire(now);
        self.until = Some(now + PATIENCE);
        if flags & LAST != 0 {
            self.last = Some(number);
            self.pieces.truncate(number);
        } else if self.last.is_some_and(|last| number >= last) {
            self.last = None;
        }
        if self.pieces.len() < number {
            self.pieces.resize(number, None);
        }
        if let Some(piece) = self.pieces.get_mut(number - 1) {
            *piece = Some(data.to_vec());
        }
        if self.pieces.iter().flatten().map(Vec::len).sum::<usize>() > most {
            *self = Self::default();
            return Err(Malformed("message of fragments too large"));
        }
        if self.last != Some(self.pieces.len()) || self.pieces.iter().any(Option::is_none) {
            return Ok(None);
        }
        Ok(Some(std::mem::take(self).pieces.into_iter().flatten().flatten().collect()))
    }

    /// Forgets the fragments of a message of which no more have come.
    pub fn expire(&mut self, now: Instant) {
        if self.until.is_some_and(|until| now >= until) {
            *self = Self { id: self.id, ..Self::default() };
        }
    }
}

#[cfg(test)]
#[path = "fragment_tests.rs"]
mod tests;

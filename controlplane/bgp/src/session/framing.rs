//! Messages out of a byte stream. What is left over is always less than one message, so a peer that stalls within one
//! holds no more than that, and its HoldTimer goes on running.

use crate::message::{self, Notification};

#[derive(Debug, Default)]
pub(crate) struct Framing {
    buffer: Vec<u8>,
    read: usize,
}

impl Framing {
    /// Takes octets of the stream, in order.
    pub fn push(&mut self, octets: &[u8]) {
        self.buffer.drain(..self.read);
        self.read = 0;
        self.buffer.extend_from_slice(octets);
    }

    /// The next whole message, of at most `max` octets.
    pub fn next(&mut self, max: usize) -> Result<Option<&[u8]>, Notification> {
        let rest = self.buffer.get(self.read..).unwrap_or_default();
        let Some(length) = message::frame(rest, max)? else { return Ok(None) };
        self.read += length;
        Ok(rest.get(..length))
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Message, Negotiated};
    use proptest::prelude::*;

    fn messages() -> Vec<u8> {
        let mut octets = Vec::new();
        for message in [
            Message::KeepAlive,
            Message::Notification(Notification::administrative_reset("moving to the other rack")),
            Message::KeepAlive,
        ] {
            message.encode(&Negotiated::default(), &mut octets);
        }
        octets
    }

    proptest! {
        #[test]
        fn cuts_anywhere_change_nothing(cuts in prop::collection::vec(0usize..200, 0..12)) {
            let stream = messages();
            let mut cuts: Vec<_> = cuts.into_iter().map(|n| n % stream.len()).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let (mut framing, mut lengths, mut again) = (Framing::default(), Vec::new(), Vec::new());
            for window in cuts.windows(2) {
                framing.push(&stream[window[0]..window[1]]);
                while let Some(message) = framing.next(4096).unwrap() {
                    lengths.push(message.len());
                    again.extend_from_slice(message);
                }
            }
            prop_assert_eq!(lengths, [19, 46, 19]);
            prop_assert_eq!(again, stream);
        }
    }

    #[test]
    fn a_bad_marker_and_a_bad_length_are_told_before_the_message_is_whole() {
        let mut framing = Framing::default();
        framing.push(&[0xfe; 19]);
        assert_eq!(framing.next(4096), Err(Notification::not_synchronized()));
        framing.clear();
        let mut header = [0xff; 19];
        header[16..19].copy_from_slice(&[0x10, 0x01, 2]);
        framing.push(&header);
        assert_eq!(framing.next(4096), Err(Notification::bad_message_length(4097)));
        framing.clear();
        framing.push(&header);
        assert_eq!(framing.next(65535), Ok(None));
    }
}

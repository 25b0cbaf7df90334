//! IKEv2 message fragmentation (RFC 7383): a protected message too large for one datagram is cut *before* encryption,
//! and every piece is an authenticated message of its own (SKF payload: fragment number, total fragments, ciphertext).
//!
//! So garbage cannot poison reassembly: what comes here has passed the integrity check. The collector holds one
//! message at a time (the window is 1 in each direction) and bounds what a peer can make us store.

use crate::payload::PayloadType;

/// More fragments than this are refused: 64 x 1200 octets is more than any certificate chain needs.
pub const MAX_FRAGMENTS: u16 = 64;

/// One decrypted fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Its number, from 1.
    pub number: u16,
    /// How many there are.
    pub total: u16,
    /// Type of the first payload of the whole; only fragment 1 tells.
    pub next: PayloadType,
    /// The plaintext piece.
    pub data: Vec<u8>,
}

/// Collects the fragments of one message.
#[derive(Debug)]
pub struct Collector {
    key: (u32, bool),
    total: u16,
    next: PayloadType,
    missing: u16,
    pieces: Vec<Option<Vec<u8>>>,
}

impl Collector {
    /// Adds a fragment of message (`message_id`, `response`) to the collector in `slot`; returns the whole chain when
    /// it is the last missing one. A fragment of another message, or of a larger fragmentation of the same message
    /// (the sender probed for a smaller MTU, section 2.5.2), starts over.
    pub fn add(
        slot: &mut Option<Box<Self>>,
        message_id: u32,
        response: bool,
        fragment: Fragment,
    ) -> Option<(PayloadType, Vec<u8>)> {
        let Fragment { number, total, next, data } = fragment;
        if number == 0 || number > total || total > MAX_FRAGMENTS {
            return None;
        }
        let key = (message_id, response);
        let fresh = match slot {
            Some(held) if held.key == key && total < held.total => return None,
            Some(held) => held.key != key || total > held.total,
            None => true,
        };
        if fresh {
            let pieces = vec![None; usize::from(total)];
            *slot = Some(Box::new(Self { key, total, next: PayloadType::NONE, missing: total, pieces }));
        }
        let held = slot.as_mut()?;
        let piece = held.pieces.get_mut(usize::from(number) - 1)?;
        if piece.is_none() {
            *piece = Some(data);
            held.missing -= 1;
            if number == 1 {
                held.next = next;
            }
        }
        if held.missing > 0 {
            return None;
        }
        let held = slot.take()?;
        Some((held.next, held.pieces.into_iter().flatten().flatten().collect()))
    }
}

/// Cuts a chain into pieces of at most `room` octets.
pub fn split(chain: &[u8], room: usize) -> impl ExactSizeIterator<Item = &[u8]> {
    chain.chunks(room.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(number: u16, total: u16, data: &[u8]) -> Fragment {
        let next = if number == 1 { PayloadType::IDI } else { PayloadType::NONE };
        Fragment { number, total, next, data: data.to_vec() }
    }

    #[test]
    fn any_order_and_duplicates() {
        let mut slot = None;
        assert_eq!(Collector::add(&mut slot, 1, false, piece(3, 3, b"c")), None);
        assert_eq!(Collector::add(&mut slot, 1, false, piece(3, 3, b"x")), None);
        assert_eq!(Collector::add(&mut slot, 1, false, piece(1, 3, b"a")), None);
        let whole = Collector::add(&mut slot, 1, false, piece(2, 3, b"b"));
        assert_eq!(whole, Some((PayloadType::IDI, b"abc".to_vec())));
        assert!(slot.is_none());
    }

    #[test]
    fn smaller_pieces_start_over_and_larger_ones_are_ignored() {
        let mut slot = None;
        assert_eq!(Collector::add(&mut slot, 1, false, piece(1, 2, b"ab")), None);
        assert_eq!(Collector::add(&mut slot, 1, false, piece(1, 3, b"a")), None);
        assert_eq!(Collector::add(&mut slot, 1, false, piece(2, 2, b"cd")), None);
        assert_eq!(Collector::add(&mut slot, 1, false, piece(2, 3, b"b")), None);
        assert!(Collector::add(&mut slot, 1, false, piece(3, 3, b"c")).is_some());
    }

    #[test]
    fn nonsense_is_refused() {
        let mut slot = None;
        for (number, total) in [(0, 1), (2, 1), (1, MAX_FRAGMENTS + 1), (1, 0)] {
            assert_eq!(Collector::add(&mut slot, 1, false, piece(number, total, b"a")), None);
            assert!(slot.is_none());
        }
    }
}

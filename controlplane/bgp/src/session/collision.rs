//! Connection collision (RFC 4271, section 6.8, with the comparison of RFC 6286, section 2.3): both speakers connected
//! to each other, and each keeps the connection that the speaker with the higher BGP Identifier opened.
//!
//! The decision is made with the first OPEN on either connection, for by then the peer's identifier is known. So both
//! sides decide alike, whichever OPEN came first.

use std::net::Ipv4Addr;

/// What a speaker is known by in the comparison: of equal identifiers the greater AS number wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    pub router_id: Ipv4Addr,
    pub asn: u32,
}

/// Who opened a TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// We did.
    Outgoing,
    /// The peer did.
    Incoming,
}

/// Which of two connections stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// The one whose OPEN has just come.
    New,
    /// The other.
    Old,
}

/// Decides between the connection that an OPEN came on and another one. Of two that the same side opened, the later
/// one stays: whoever opened it has given up the earlier one.
pub(crate) fn resolve(local: Identity, peer: Identity, new: Direction, old: Direction) -> Keep {
    let winner = if local > peer { Direction::Outgoing } else { Direction::Incoming };
    if new == old || new == winner { Keep::New } else { Keep::Old }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Incoming, Outgoing};

    fn identity(id: [u8; 4], asn: u32) -> Identity {
        Identity { router_id: id.into(), asn }
    }

    #[test]
    fn the_connection_of_the_higher_identifier_stays() {
        let (low, high) = (identity([9, 255, 255, 255], 2), identity([10, 0, 0, 0], 1));
        for (local, peer, new, old, keep) in [
            (low, high, Incoming, Outgoing, Keep::New),
            (low, high, Outgoing, Incoming, Keep::Old),
            (high, low, Incoming, Outgoing, Keep::Old),
            (high, low, Outgoing, Incoming, Keep::New),
            (high, low, Incoming, Incoming, Keep::New),
            (low, high, Incoming, Incoming, Keep::New),
        ] {
            assert_eq!(resolve(local, peer, new, old), keep, "{local:?} {peer:?} {new:?} {old:?}");
        }
    }

    #[test]
    fn of_equal_identifiers_the_greater_as_wins() {
        let (small, great) = (identity([1, 1, 1, 1], 64500), identity([1, 1, 1, 1], 64501));
        assert_eq!(resolve(small, great, Incoming, Outgoing), Keep::New);
        assert_eq!(resolve(great, small, Incoming, Outgoing), Keep::Old);
    }

    /// Whatever the order in which OPENs arrive, both sides keep the same connection.
    #[test]
    fn both_sides_decide_alike() {
        let (a, b) = (identity([1, 0, 0, 1], 1), identity([1, 0, 0, 2], 1));
        // Connection 0 was opened by a, connection 1 by b.
        let kept = |local, peer, mine: usize, first: usize| {
            let direction = |c: usize| if c == mine { Outgoing } else { Incoming };
            match resolve(local, peer, direction(first), direction(1 - first)) {
                Keep::New => first,
                Keep::Old => 1 - first,
            }
        };
        for first_at_a in 0..2 {
            for first_at_b in 0..2 {
                assert_eq!(kept(a, b, 0, first_at_a), 1);
                assert_eq!(kept(b, a, 1, first_at_b), 1);
            }
        }
    }
}

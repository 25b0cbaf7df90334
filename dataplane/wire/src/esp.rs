//! The ESP header in the clear (RFC 4303, section 2), and what shares UDP port 4500 with it (RFC 3948).

use crate::be32;

/// SPI and sequence number.
pub const HEADER: usize = 8;

/// What a datagram to port 4500 is (RFC 3948, section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encapsulated {
    /// Starts with the non-ESP marker: IKE from the fifth octet on.
    Ike,
    /// One octet 0xff.
    Keepalive,
    /// ESP, with its SPI.
    Esp(u32),
    /// Too short for any of them.
    Malformed,
}

/// Tells them apart.
#[inline]
pub fn encapsulated(payload: &[u8]) -> Encapsulated {
    match payload {
        [0xff] => Encapsulated::Keepalive,
        [0, 0, 0, 0, ..] => Encapsulated::Ike,
        p => spi(p).map_or(Encapsulated::Malformed, Encapsulated::Esp),
    }
}

/// SPI of an ESP packet; `None` when there is no whole header.
#[inline]
pub fn spi(esp: &[u8]) -> Option<u32> {
    (esp.len() >= HEADER).then(|| be32(esp, 0))
}

/// Sequence number (its lower half with ESN).
#[inline]
pub fn sequence(esp: &[u8]) -> Option<u32> {
    (esp.len() >= HEADER).then(|| be32(esp, 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_4500() {
        assert_eq!(encapsulated(&[0xff]), Encapsulated::Keepalive);
        assert_eq!(encapsulated(&[0, 0, 0, 0, 1]), Encapsulated::Ike);
        assert_eq!(encapsulated(&[1, 2, 3, 4, 0, 0, 0, 9]), Encapsulated::Esp(0x01020304));
        assert_eq!(encapsulated(&[1, 2, 3, 4, 0, 0, 0]), Encapsulated::Malformed);
        assert_eq!(encapsulated(&[]), Encapsulated::Malformed);
        assert_eq!(sequence(&[1, 2, 3, 4, 0, 0, 0, 9]), Some(9));
    }
}

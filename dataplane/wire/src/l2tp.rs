//! The L2TPv2 header (RFC 2661, section 3.1).
//!
//! ```text
//!   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//!  |T|L|x|x|S|x|O|P|x|x|x|x|  Ver  |          Length (opt)         |
//!  |           Tunnel ID           |           Session ID          |
//!  |             Ns (opt)          |             Nr (opt)          |
//!  |      Offset Size (opt)        |    Offset pad... (opt)
//! ```
//!
//! Control messages (T) must have L and S and must not have O and P. Data messages may have any of them.

use crate::{Error, be16};

/// UDP port (RFC 2661, section 8.1).
pub const PORT: u16 = 1701;
const T: u16 = 0x8000;
const L: u16 = 0x4000;
const S: u16 = 0x0800;
const O: u16 = 0x0200;
const P: u16 = 0x0100;

/// A parsed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// T bit.
    pub control: bool,
    /// Receiver's tunnel id.
    pub tunnel: u16,
    /// Receiver's session id.
    pub session: u16,
    /// Ns and Nr, if present.
    pub sequence: Option<(u16, u16)>,
    /// Where the payload begins.
    pub len: usize,
    /// Where it ends.
    pub end: usize,
}

impl Header {
    /// Reads the header in front of `data`, which may be longer than the message.
    #[inline(always)]
    pub fn parse(data: &[u8]) -> Result<Self, Error> {
        // What nearly every message is: data, without anything that is optional.
        if let Some(first) = data.first_chunk().map(|first| u64::from_be_bytes(*first))
            && (first >> 48) as u16 & (T | L | S | O | 15) == 2
        {
            let (tunnel, session) = ((first >> 32) as u16, (first >> 16) as u16);
            return Ok(Self { control: false, tunnel, session, sequence: None, len: data_len(false), end: data.len() });
        }
        Self::any(data)
    }

    #[inline(never)]
    fn any(data: &[u8]) -> Result<Self, Error> {
        if data.len() < 6 {
            return Err(Error::Truncated);
        }
        let flags = be16(data, 0);
        if flags & 15 != 2 {
            return Err(Error::Malformed);
        }
        let control = flags & T != 0;
        // RFC 2661, section 3.1: L and S MUST be set, O and P MUST be clear, in control messages.
        if control && flags & (L | S | O | P) != L | S {
            return Err(Error::Malformed);
        }
        let mut at = 2;
        let mut end = data.len();
        if flags & L != 0 {
            end = usize::from(be16(data, at));
            at += 2;
        }
        let ids = at;
        at += 4;
        let sequence = if flags & S != 0 {
            at += 4;
            Some((be16(data, at - 4), be16(data, at - 2)))
        } else {
            None
        };
        if flags & O != 0 {
            if data.len() < at + 2 {
                return Err(Error::Truncated);
            }
            at += 2 + usize::from(be16(data, at));
        }
        if end > data.len() || at > data.len() {
            return Err(Error::Truncated);
        }
        if end < at {
            return Err(Error::Malformed);
        }
        Ok(Self { control, tunnel: be16(data, ids), session: be16(data, ids + 2), sequence, len: at, end })
    }
}

/// Length of a data header as [`emit_data`] writes it.
#[inline]
pub const fn data_len(sequencing: bool) -> usize {
    if sequencing { 10 } else { 6 }
}

/// Writes a data header without length, offset and priority; with Ns (and Nr 0, reserved in data messages) when
/// the peer asked for sequencing. Says whether it fitted.
#[inline]
pub fn emit_data(out: &mut [u8], tunnel: u16, session: u16, ns: Option<u16>) -> bool {
    let Some(h) = out.get_mut(..data_len(ns.is_some())) else { return false };
    let flags = 2 | if ns.is_some() { S } else { 0 };
    h[0..2].copy_from_slice(&flags.to_be_bytes());
    h[2..4].copy_from_slice(&tunnel.to_be_bytes());
    h[4..6].copy_from_slice(&session.to_be_bytes());
    if let Some(ns) = ns {
        h[6..8].copy_from_slice(&ns.to_be_bytes());
        h[8..10].fill(0);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;
    use proptest::prelude::*;

    #[test]
    fn golden() {
        // SCCRQ header: flags c802, length 20, tunnel 0, session 0, Ns 0, Nr 0, then an AVP.
        let sccrq = hex!("c802 0014 0000 0000 0000 0000 8008 0000 0000 0001");
        let h = Header::parse(&sccrq).unwrap();
        assert!(h.control);
        assert_eq!((h.tunnel, h.session, h.sequence, h.len, h.end), (0, 0, Some((0, 0)), 12, 20));
        // Data with offset 2.
        let data = hex!("0202 1234 5678 0002 aaaa 0021 45");
        let h = Header::parse(&data).unwrap();
        assert_eq!((h.tunnel, h.session, h.sequence, h.len, h.end), (0x1234, 0x5678, None, 10, 13));
        // Data with a length shorter than the datagram.
        let data = hex!("4002 000a 1234 5678 0021 ffff");
        assert_eq!(Header::parse(&data).unwrap().end, 10);
    }

    #[test]
    fn refused() {
        assert_eq!(Header::parse(&hex!("0003 0001 0002")), Err(Error::Malformed)); // version 3
        assert_eq!(Header::parse(&hex!("8002 0001 0002 0000 0000")), Err(Error::Malformed)); // control without L, S
        assert_eq!(Header::parse(&hex!("4002 0100 0001 0002")), Err(Error::Truncated)); // length beyond the data
        assert_eq!(Header::parse(&hex!("4002 0007 0001 0002")), Err(Error::Malformed)); // length within the header
        assert_eq!(Header::parse(&hex!("0202 0001 0002 ffff 00")), Err(Error::Truncated)); // offset beyond
        assert_eq!(Header::parse(&hex!("0802 0001 0002")), Err(Error::Truncated)); // no room for Ns, Nr
    }

    proptest! {
        #[test]
        fn round_trip(tunnel: u16, session: u16, ns: Option<u16>) {
            let mut out = [0xff; 10];
            prop_assert!(emit_data(&mut out, tunnel, session, ns));
            let h = Header::parse(&out).unwrap();
            prop_assert_eq!((h.control, h.tunnel, h.session), (false, tunnel, session));
            prop_assert_eq!(h.sequence, ns.map(|n| (n, 0)));
            prop_assert_eq!(h.len, data_len(ns.is_some()));
        }

        #[test]
        fn plain_as_any(flags in prop_oneof![Just(2u16), any::<u16>()], rest in proptest::collection::vec(any::<u8>(), 0..12)) {
            let data = [&flags.to_be_bytes()[..], &rest].concat();
            prop_assert_eq!(Header::parse(&data), Header::any(&data));
        }

        #[test]
        fn garbage(data in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(h) = Header::parse(&data) {
                prop_assert!(h.len <= h.end && h.end <= data.len());
            }
        }
    }
}

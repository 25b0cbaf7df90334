//! The control message on the wire (RFC 2661, section 3.1): a 12 octet header, then AVPs, the first of which
//! says what kind of message it is. A message without AVPs is a zero-length body (ZLB): only an acknowledgement.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |T|L|x|x|S|x|O|P|x|x|x|x|  Ver  |            Length             |
//! |           Tunnel ID           |           Session ID          |
//! |              Ns               |              Nr               |
//! ```
//!
//! Tunnel and session id are those that the *receiver* of the message has assigned, 0 while it has not.

use crate::avp::{self, AvpProblem, Avps};
use crate::error::HeaderError;
use secret::Secret;

/// Octets of a control message header.
pub const HEADER_LEN: usize = 12;

const T: u16 = 0x8000;
const L: u16 = 0x4000;
const S: u16 = 0x0800;
const O: u16 = 0x0200;
const VERSION_MASK: u16 = 0x000f;
const VERSION: u16 = 2;

/// A control message header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The receiver's tunnel id, or 0.
    pub tunnel: u16,
    /// The receiver's session id, or 0 for a message of the tunnel.
    pub session: u16,
    /// Number of this message.
    pub ns: u16,
    /// Number of the message that the sender expects next.
    pub nr: u16,
}

impl Header {
    /// Splits a datagram into header and AVPs. T, L and S must be set and O clear in a control message; the
    /// priority bit and the reserved bits say nothing and are ignored (RFC 2661, section 3.1). Octets after Length
    /// are padding.
    pub fn parse(datagram: &[u8]) -> Result<(Self, &[u8]), HeaderError> {
        let Some((head, _)) = datagram.split_first_chunk::<HEADER_LEN>() else { return Err(HeaderError::Short) };
        let word = |i: usize| u16::from_be_bytes([head[i], head[i + 1]]);
        let flags = word(0);
        if flags & T == 0 {
            return Err(HeaderError::NotControl);
        }
        if flags & VERSION_MASK != VERSION {
            return Err(HeaderError::Version((flags & VERSION_MASK) as u8));
        }
        if flags & (L | S) != L | S || flags & O != 0 {
            return Err(HeaderError::Flags(flags));
        }
        let body = datagram.get(HEADER_LEN..usize::from(word(2))).ok_or(HeaderError::Length(word(2)))?;
        Ok((Self { tunnel: word(4), session: word(6), ns: word(8), nr: word(10) }, body))
    }

    /// The datagram of this header and `body`. A body that does not fit the Length field is cut; ours are
    /// some hundred octets at most.
    pub fn emit(&self, body: &[u8]) -> Vec<u8> {
        let body = &body[..body.len().min(usize::from(u16::MAX) - HEADER_LEN)];
        let mut out = Vec::with_capacity(HEADER_LEN + body.len());
        let length = (HEADER_LEN + body.len()) as u16;
        for word in [T | L | S | VERSION, length, self.tunnel, self.session, self.ns, self.nr] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        out.extend_from_slice(body);
        out
    }
}

macro_rules! message_types {
    ($($(#[$doc:meta])* $name:ident = $value:literal,)*) => {
        /// Kinds of control messages (RFC 2661, section 3.2).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        pub enum MessageType { $($(#[$doc])* $name = $value,)* }

        impl MessageType {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The kind with this number.
            pub fn from_number(n: u16) -> Option<Self> {
                match n { $($value => Some(Self::$name),)* _ => None }
            }
        }
    };
}

message_types! {
    /// Start-Control-Connection-Request.
    Sccrq = 1,
    /// Start-Control-Connection-Reply.
    Sccrp = 2,
    /// Start-Control-Connection-Connected.
    Scccn = 3,
    /// Stop-Control-Connection-Notification.
    StopCcn = 4,
    /// Keepalive.
    Hello = 6,
    /// Outgoing-Call-Request.
    Ocrq = 7,
    /// Outgoing-Call-Reply.
    Ocrp = 8,
    /// Outgoing-Call-Connected.
    Occn = 9,
    /// Incoming-Call-Request.
    Icrq = 10,
    /// Incoming-Call-Reply.
    Icrp = 11,
    /// Incoming-Call-Connected.
    Iccn = 12,
    /// Call-Disconnect-Notify.
    Cdn = 14,
    /// WAN-Error-Notify.
    Wen = 15,
    /// Set-Link-Info.
    Sli = 16,
}

impl MessageType {
    /// The number on the wire.
    pub const fn number(self) -> u16 {
        self as u16
    }
}

/// What the Message Type AVP said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A message we know.
    Known(MessageType),
    /// Unknown, and to be ignored: the M bit was clear (RFC 2661, section 4.4.1).
    Ignore(u16),
    /// Unknown, and the tunnel must be cleared: the M bit was set.
    Fatal(u16),
    /// There was none in front, or it was malformed: the message is invalid.
    Missing,
}

/// A control message as received: what could be read, and the first thing that may not be passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its kind.
    pub kind: Kind,
    /// Its AVPs.
    pub avps: Avps,
    /// An AVP that calls for the end of the session or tunnel.
    pub problem: Option<AvpProblem>,
}

/// Reads the AVPs of a message body (what follows the header). Hidden AVPs are read with `secret`.
pub fn parse_body(body: &[u8], secret: Option<&Secret>) -> Received {
    let (kind, rest) = avp::read_kind(body);
    let (avps, problem) = match kind {
        Kind::Known(_) | Kind::Fatal(_) => avp::read(rest, secret),
        Kind::Ignore(_) | Kind::Missing => (Avps::default(), None),
    };
    Received { kind, avps, problem }
}

/// A control message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its kind.
    pub kind: MessageType,
    /// Its AVPs but for the Message Type.
    pub avps: Avps,
}

impl Message {
    /// The body: Message Type first (RFC 2661, section 4.4.1), then the others by number.
    pub fn emit(&self) -> Vec<u8> {
        avp::write(self.kind, &self.avps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;

    #[test]
    fn header_round_trips() {
        let h = Header { tunnel: 0x0102, session: 0x0304, ns: 0xfffe, nr: 5 };
        let bytes = h.emit(b"abc");
        assert_eq!(bytes, hex!("c802 000f 0102 0304 fffe 0005 616263"));
        assert_eq!(Header::parse(&bytes), Ok((h, &b"abc"[..])));
    }

    #[test]
    fn padding_is_cut_and_harmless_bits_pass() {
        let (h, body) = Header::parse(&hex!("fd f2 000d 0001 0000 0000 0000 aa bbbb")).unwrap();
        assert_eq!((h.tunnel, body), (1, &[0xaa][..]));
    }

    #[test]
    fn bad_headers_are_named() {
        let parse = |b: &[u8]| Header::parse(b).unwrap_err();
        assert_eq!(parse(&[0xc8]), HeaderError::Short);
        assert_eq!(parse(&hex!("0002 0001 0000 0000 0000 0000")), HeaderError::NotControl);
        assert_eq!(parse(&hex!("c803 000c 0000 0000 0000 0000")), HeaderError::Version(3));
        assert_eq!(parse(&hex!("c801 000c 0000 0000 0000 0000")), HeaderError::Version(1));
        assert_eq!(parse(&hex!("8802 000c 0000 0000 0000 0000")), HeaderError::Flags(0x8802));
        assert_eq!(parse(&hex!("c002 000c 0000 0000 0000 0000")), HeaderError::Flags(0xc002));
        assert_eq!(parse(&hex!("ca02 000c 0000 0000 0000 0000")), HeaderError::Flags(0xca02));
        assert_eq!(parse(&hex!("c802 000d 0000 0000 0000 0000")), HeaderError::Length(13));
        assert_eq!(parse(&hex!("c802 000b 0000 0000 0000 0000")), HeaderError::Length(11));
    }

    #[test]
    fn every_number_names_its_type() {
        for n in 0..=u16::MAX {
            if let Some(t) = MessageType::from_number(n) {
                assert_eq!(t.number(), n);
            }
        }
        assert_eq!(MessageType::ALL.len(), 14);
    }
}

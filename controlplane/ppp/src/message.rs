//! The packet that all of PPP's control protocols share (RFC 1661, section 5): code, identifier, length, data.
//!
//! ```text
//!  | code (1) | identifier (1) | length (2, of the whole packet) | data ... | padding, ignored |
//! ```

/// Protocol numbers of the frames that [`crate::Link`] handles.
pub mod protocol {
    /// IPv4 datagrams.
    pub const IPV4: u16 = 0x0021;
    /// IPv6 datagrams.
    pub const IPV6: u16 = 0x0057;
    /// Internet Protocol Control Protocol.
    pub const IPCP: u16 = 0x8021;
    /// IPv6 Control Protocol.
    pub const IPV6CP: u16 = 0x8057;
    /// Link Control Protocol.
    pub const LCP: u16 = 0xc021;
    /// Password Authentication Protocol.
    pub const PAP: u16 = 0xc023;
    /// Challenge Handshake Authentication Protocol.
    pub const CHAP: u16 = 0xc223;
    /// Extensible Authentication Protocol.
    pub const EAP: u16 = 0xc227;
}

/// Codes of LCP and, as far as they apply, of the network control protocols.
#[allow(missing_docs)]
pub mod code {
    pub const CONFIGURE_REQUEST: u8 = 1;
    pub const CONFIGURE_ACK: u8 = 2;
    pub const CONFIGURE_NAK: u8 = 3;
    pub const CONFIGURE_REJECT: u8 = 4;
    pub const TERMINATE_REQUEST: u8 = 5;
    pub const TERMINATE_ACK: u8 = 6;
    pub const CODE_REJECT: u8 = 7;
    pub const PROTOCOL_REJECT: u8 = 8;
    pub const ECHO_REQUEST: u8 = 9;
    pub const ECHO_REPLY: u8 = 10;
    pub const DISCARD_REQUEST: u8 = 11;
    /// RFC 1570.
    pub const IDENTIFICATION: u8 = 12;
    /// RFC 1570.
    pub const TIME_REMAINING: u8 = 13;
}

/// A control packet, borrowed from its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What it is.
    pub code: u8,
    /// Matches a reply to its request.
    pub id: u8,
    /// What follows the header, without padding.
    pub data: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Parses the information field of a frame. `None`: to be silently discarded (RFC 1661, section 5: too short,
    /// or a length field that says more than there is).
    pub fn parse(information: &'a [u8]) -> Option<Self> {
        let [code, id, high, low, rest @ ..] = information else { return None };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        Some(Self { code: *code, id: *id, data: rest.get(..length.checked_sub(4)?)? })
    }

    /// The whole frame: protocol number and packet. Data that a length field cannot express is cut.
    pub fn frame(&self, protocol: u16) -> Vec<u8> {
        let data = self.data.get(..usize::from(u16::MAX) - 4).unwrap_or(self.data);
        let mut frame = Vec::with_capacity(6 + data.len());
        frame.extend_from_slice(&protocol.to_be_bytes());
        frame.extend_from_slice(&[self.code, self.id]);
        frame.extend_from_slice(&((data.len() + 4) as u16).to_be_bytes());
        frame.extend_from_slice(data);
        frame
    }
}

/// Splits a frame in protocol number and information. Address and control fields (`ff 03`) and a compressed
/// protocol field (an odd first octet, RFC 1661, section 6.5) are understood.
pub fn split_frame(frame: &[u8]) -> Option<(u16, &[u8])> {
    let frame = frame.strip_prefix(&[0xff, 0x03]).unwrap_or(frame);
    match frame {
        [first, rest @ ..] if first & 1 == 1 => Some((u16::from(*first), rest)),
        [high, low, rest @ ..] => Some((u16::from_be_bytes([*high, *low]), rest)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;
    use proptest::prelude::*;

    #[test]
    fn padding_is_ignored_and_short_packets_are_refused() {
        assert_eq!(Packet::parse(&hex!("09010008 12345678 0000")).unwrap().data, hex!("12345678"));
        assert_eq!(Packet::parse(&hex!("09010009 12345678")), None);
        assert_eq!(Packet::parse(&hex!("09010003")), None);
        assert_eq!(Packet::parse(&hex!("090100")), None);
    }

    #[test]
    fn frames_are_split() {
        assert_eq!(split_frame(&hex!("ff03c02101")), Some((0xc021, &hex!("01")[..])));
        assert_eq!(split_frame(&hex!("c02101")), Some((0xc021, &hex!("01")[..])));
        assert_eq!(split_frame(&hex!("2145")), Some((0x0021, &hex!("45")[..])));
        assert_eq!(split_frame(&hex!("c0")), None);
        assert_eq!(split_frame(&[]), None);
    }

    proptest! {
        #[test]
        fn round_trip(code: u8, id: u8, data: Vec<u8>, padding: Vec<u8>) {
            let packet = Packet { code, id, data: &data };
            let mut frame = packet.frame(protocol::LCP);
            frame.extend(&padding);
            let (protocol, information) = split_frame(&frame).unwrap();
            prop_assert_eq!(protocol, protocol::LCP);
            prop_assert_eq!(Packet::parse(information), Some(packet));
        }

        #[test]
        fn garbage(bytes: Vec<u8>) {
            let _ = split_frame(&bytes);
            let _ = Packet::parse(&bytes);
        }
    }
}

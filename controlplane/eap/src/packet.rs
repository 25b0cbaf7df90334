//! The EAP packet (RFC 3748, section 4).
//!
//! ```text
//!  | code (1) | identifier (1) | length (2, of the whole packet) | type (1) | data ... | padding, ignored |
//!                                                  type 254:  | vendor (3) | type of the vendor (4) |
//! ```
//!
//! The identifier ties a Response to its Request. Success and Failure end with the length.

/// What a Request asks for and a Response answers (RFC 3748, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// One octet, not 254.
    Legacy(u8),
    /// Section 5.7: a type of a vendor. With vendor 0, the same types as [`Type::Legacy`].
    Expanded {
        /// SMI enterprise number, 24 bits.
        vendor: u32,
        /// Of that vendor.
        kind: u32,
    },
}

impl Type {
    /// Who are you?
    pub const IDENTITY: Self = Self::Legacy(1);
    /// A text for the user.
    pub const NOTIFICATION: Self = Self::Legacy(2);
    /// Response only: another method, please.
    pub const NAK: Self = Self::Legacy(3);
    /// CHAP with MD5 in EAP (section 5.4).
    pub const MD5_CHALLENGE: Self = Self::Legacy(4);
    /// MS-CHAPv2 in EAP (draft-kamath-pppext-eap-mschapv2).
    pub const MSCHAPV2: Self = Self::Legacy(26);
    /// Response only: the Nak to a type in its expanded form (section 5.3.2).
    pub const EXPANDED_NAK: Self = Self::Expanded { vendor: 0, kind: 3 };

    const EXPANDED: u8 = 254;

    /// The one form of a type that has two.
    pub fn canonical(self) -> Self {
        match self {
            Self::Expanded { vendor: 0, kind } => match u8::try_from(kind) {
                Ok(kind) if kind != Self::EXPANDED => Self::Legacy(kind),
                Ok(_) | Err(_) => self,
            },
            Self::Legacy(_) | Self::Expanded { .. } => self,
        }
    }

    /// Splits type and data; `None`: too short.
    fn parse(body: &[u8]) -> Option<(Self, &[u8])> {
        match body {
            [Self::EXPANDED, v0, v1, v2, k0, k1, k2, k3, data @ ..] => {
                let vendor = u32::from_be_bytes([0, *v0, *v1, *v2]);
                Some((Self::Expanded { vendor, kind: u32::from_be_bytes([*k0, *k1, *k2, *k3]) }, data))
            }
            [Self::EXPANDED, ..] | [] => None,
            [kind, data @ ..] => Some((Self::Legacy(*kind), data)),
        }
    }

    fn push(self, out: &mut Vec<u8>) {
        match self {
            Self::Legacy(kind) => out.push(kind),
            Self::Expanded { vendor, kind } => {
                let [_, v @ ..] = vendor.to_be_bytes();
                out.push(Self::EXPANDED);
                out.extend_from_slice(&v);
                out.extend_from_slice(&kind.to_be_bytes());
            }
        }
    }
}

/// A packet, borrowed from its octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Packet<'a> {
    /// Of the authenticator (code 1).
    Request { id: u8, kind: Type, data: &'a [u8] },
    /// Of the peer (code 2).
    Response { id: u8, kind: Type, data: &'a [u8] },
    /// Of the authenticator, with the identifier of the last Response (code 3).
    Success { id: u8 },
    /// Likewise (code 4).
    Failure { id: u8 },
}

impl<'a> Packet<'a> {
    /// Parses a packet, padding after it allowed. `None`: to be silently discarded (section 4): too short, a length
    /// that says more than there is, or an unknown code.
    pub fn parse(octets: &'a [u8]) -> Option<Self> {
        let [code, id, high, low, rest @ ..] = octets else { return None };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let body = rest.get(..length.checked_sub(4)?)?;
        let id = *id;
        match code {
            1 => Type::parse(body).map(|(kind, data)| Self::Request { id, kind, data }),
            2 => Type::parse(body).map(|(kind, data)| Self::Response { id, kind, data }),
            3 => body.is_empty().then_some(Self::Success { id }),
            4 => body.is_empty().then_some(Self::Failure { id }),
            _ => None,
        }
    }

    /// The octets. Data that the length field cannot express is cut.
    pub fn encode(&self) -> Vec<u8> {
        let (code, id, body) = match *self {
            Self::Request { id, kind, data } => (1, id, Some((kind, data))),
            Self::Response { id, kind, data } => (2, id, Some((kind, data))),
            Self::Success { id } => (3, id, None),
            Self::Failure { id } => (4, id, None),
        };
        let mut out = vec![code, id, 0, 0];
        if let Some((kind, data)) = body {
            kind.push(&mut out);
            out.extend_from_slice(data);
            out.truncate(usize::from(u16::MAX));
        }
        let [high, low] = (out.len() as u16).to_be_bytes();
        (out[2], out[3]) = (high, low);
        out
    }

    /// The identifier.
    pub fn id(&self) -> u8 {
        match *self {
            Self::Request { id, .. } | Self::Response { id, .. } | Self::Success { id } | Self::Failure { id } => id,
        }
    }
}

/// The data of a Nak (section 5.3) to a Request of type `refused`, and its type: what is wanted instead. Nothing
/// wanted is said so.
pub fn nak(refused: Type, wanted: &[Type]) -> (Type, Vec<u8>) {
    let mut data = Vec::new();
    match refused {
        Type::Legacy(_) => {
            data.extend(
                wanted.iter().filter_map(|t| if let Type::Legacy(kind) = t.canonical() { Some(kind) } else { None }),
            );
            if data.is_empty() {
                data.push(0);
            }
            (Type::NAK, data)
        }
        Type::Expanded { .. } => {
            let expanded = |t: &Type| match t.canonical() {
                Type::Legacy(kind) => Type::Expanded { vendor: 0, kind: kind.into() },
                expanded @ Type::Expanded { .. } => expanded,
            };
            wanted.iter().for_each(|t| expanded(t).push(&mut data));
            if data.is_empty() {
                Type::Expanded { vendor: 0, kind: 0 }.push(&mut data);
            }
            (Type::EXPANDED_NAK, data)
        }
    }
}

/// What a Nak wants, in its canonical form; zero, which stands for nothing, is left out. `None`: not a Nak.
pub fn wanted(kind: Type, mut data: &[u8]) -> Option<Vec<Type>> {
    let mut types = Vec::new();
    match kind {
        Type::NAK => types.extend(data.iter().map(|kind| Type::Legacy(*kind))),
        Type::EXPANDED_NAK => {
            while let Some((kind @ Type::Expanded { .. }, _)) = Type::parse(data) {
                types.push(kind.canonical());
                data = data.get(8..)?;
            }
        }
        Type::Legacy(_) | Type::Expanded { .. } => return None,
    }
    types.retain(|t| *t != Type::Legacy(0));
    Some(types)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;
    use proptest::prelude::*;

    #[test]
    fn golden() {
        let identity = hex!("02010009 01 75736572 ffff");
        let packet = Packet::Response { id: 1, kind: Type::IDENTITY, data: b"user" };
        assert_eq!(Packet::parse(&identity), Some(packet));
        assert_eq!(packet.encode(), identity[..9]);
        let expanded = hex!("01070010 fe 000137 00000002 01020304");
        let packet = Packet::Request { id: 7, kind: Type::Expanded { vendor: 311, kind: 2 }, data: &[1, 2, 3, 4] };
        assert_eq!(Packet::parse(&expanded), Some(packet));
        assert_eq!(packet.encode(), expanded);
        assert_eq!(Packet::Success { id: 9 }.encode(), hex!("03090004"));
        assert_eq!(Packet::parse(&hex!("04090004 00")), Some(Packet::Failure { id: 9 }));
    }

    #[test]
    fn malformed_packets_are_discarded() {
        let malformed: [&[u8]; 9] = [
            &[],
            &hex!("010100"),
            &hex!("01010003 01"),
            &hex!("01010004"),
            &hex!("01010006 01"),
            &hex!("01010008 fe 000000"),
            &hex!("03010005 00"),
            &hex!("05010005 01"),
            &hex!("00010005 01"),
        ];
        for octets in malformed {
            assert_eq!(Packet::parse(octets), None, "{octets:02x?}");
        }
    }

    #[test]
    fn naks_of_both_forms() {
        let ours = [Type::MSCHAPV2, Type::MD5_CHALLENGE];
        assert_eq!(nak(Type::Legacy(13), &ours), (Type::NAK, vec![26, 4]));
        assert_eq!(nak(Type::Legacy(13), &[]), (Type::NAK, vec![0]));
        let (kind, data) = nak(Type::Expanded { vendor: 0, kind: 13 }, &ours);
        assert_eq!((kind, &data[..]), (Type::EXPANDED_NAK, &hex!("fe0000000000001a fe00000000000004")[..]));
        assert_eq!(wanted(kind, &data).unwrap(), ours);
        assert_eq!(wanted(Type::NAK, &[0]).unwrap(), []);
        assert_eq!(wanted(Type::IDENTITY, &[26]), None);
    }

    proptest! {
        #[test]
        fn round_trip(code in 1..5u8, id: u8, expanded: Option<(u32, u32)>, kind in 0..254u8, data: Vec<u8>) {
            let kind = match expanded {
                Some((vendor, kind)) => Type::Expanded { vendor: vendor & 0xff_ffff, kind },
                None => Type::Legacy(kind),
            };
            let packet = match code {
                1 => Packet::Request { id, kind, data: &data },
                2 => Packet::Response { id, kind, data: &data },
                3 => Packet::Success { id },
                _ => Packet::Failure { id },
            };
            let octets = packet.encode();
            prop_assert_eq!(Packet::parse(&octets), Some(packet));
        }

        #[test]
        fn garbage(octets: Vec<u8>) {
            if let Some(Packet::Response { kind, data, .. }) = Packet::parse(&octets) {
                let _ = wanted(kind, data);
            }
            let _ = wanted(Type::EXPANDED_NAK, &octets);
        }
    }
}

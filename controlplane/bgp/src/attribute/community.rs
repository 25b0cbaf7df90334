//! Communities: tags on routes. Of four octets (RFC 1997), extended ones of eight (RFC 4360), large ones of twelve
//! (RFC 8092).
//!
//! ```text
//!  Color        | 03 | 0b | Flags (2) |    Color (4)    |      RFC 9012, section 4.3
//!  Encapsulation| 03 | 0c |    Reserved (4) | Type (2)  |      RFC 9012, section 4.1
//! ```

use std::fmt;
use std::str::FromStr;

/// A community, written `AS:value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Community(pub u32);

impl Community {
    /// Not to leave the AS.
    pub const NO_EXPORT: Self = Self(0xffff_ff01);
    /// Not to be passed on.
    pub const NO_ADVERTISE: Self = Self(0xffff_ff02);
    /// Not to leave the AS, nor the member AS of a confederation.
    pub const NO_EXPORT_SUBCONFED: Self = Self(0xffff_ff03);
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NO_EXPORT => f.write_str("no-export"),
            Self::NO_ADVERTISE => f.write_str("no-advertise"),
            Self::NO_EXPORT_SUBCONFED => f.write_str("no-export-subconfed"),
            Self(n) => write!(f, "{}:{}", n >> 16, n & 0xffff),
        }
    }
}

/// Not the text of a community.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a community")]
pub struct CommunityError;

impl FromStr for Community {
    type Err = CommunityError;

    fn from_str(text: &str) -> Result<Self, CommunityError> {
        if let Some(known) =
            [Self::NO_EXPORT, Self::NO_ADVERTISE, Self::NO_EXPORT_SUBCONFED].iter().find(|c| c.to_string() == text)
        {
            return Ok(*known);
        }
        let (asn, value) = text.split_once(':').ok_or(CommunityError)?;
        let half = |text: &str| text.parse::<u16>().map(u32::from).map_err(|_| CommunityError);
        Ok(Self(half(asn)? << 16 | half(value)?))
    }
}

const COLOR: [u8; 2] = [0x03, 0x0b];
const ENCAPSULATION: [u8; 2] = [0x03, 0x0c];
const NON_TRANSITIVE: u8 = 0x40;

/// An extended community, as it is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtendedCommunity(pub [u8; 8]);

/// The value of a Color extended community.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Color {
    /// 0 from an originator, of no meaning to a receiver (RFC 9012, section 4.3).
    pub flags: u16,
    /// The color.
    pub value: u32,
}

impl ExtendedCommunity {
    /// A Color extended community.
    pub fn from_color(value: u32) -> Self {
        let [a, b, c, d] = value.to_be_bytes();
        Self([COLOR[0], COLOR[1], 0, 0, a, b, c, d])
    }

    /// An Encapsulation extended community: the next hop is the egress of a tunnel of this type.
    pub fn from_encapsulation(tunnel_type: u16) -> Self {
        let [a, b] = tunnel_type.to_be_bytes();
        Self([ENCAPSULATION[0], ENCAPSULATION[1], 0, 0, 0, 0, a, b])
    }

    /// The color, if it is a Color.
    pub fn color(&self) -> Option<Color> {
        let [t0, t1, f0, f1, a, b, c, d] = self.0;
        let color = Color { flags: u16::from_be_bytes([f0, f1]), value: u32::from_be_bytes([a, b, c, d]) };
        ([t0, t1] == COLOR).then_some(color)
    }

    /// The tunnel type, if it is an Encapsulation.
    pub fn encapsulation(&self) -> Option<u16> {
        let [t0, t1, .., a, b] = self.0;
        ([t0, t1] == ENCAPSULATION).then_some(u16::from_be_bytes([a, b]))
    }

    /// Whether it may cross the border of an AS (RFC 4360, section 2).
    pub fn is_transitive(&self) -> bool {
        self.0[0] & NON_TRANSITIVE == 0
    }
}

impl fmt::Display for ExtendedCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(color) = self.color() {
            return write!(f, "color:{}:{}", color.flags, color.value);
        }
        match self.encapsulation() {
            Some(tunnel_type) => write!(f, "encapsulation:{tunnel_type}"),
            None => write!(f, "{:#018x}", u64::from_be_bytes(self.0)),
        }
    }
}

/// A large community, written `global:local1:local2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LargeCommunity {
    /// Global administrator, an AS.
    pub global: u32,
    /// Local data part 1.
    pub local1: u32,
    /// Local data part 2.
    pub local2: u32,
}

impl fmt::Display for LargeCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.global, self.local1, self.local2)
    }
}

impl FromStr for LargeCommunity {
    type Err = CommunityError;

    fn from_str(text: &str) -> Result<Self, CommunityError> {
        let mut parts = text.split(':').map(str::parse);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Ok(global)), Some(Ok(local1)), Some(Ok(local2)), None) => Ok(Self { global, local1, local2 }),
            _ => Err(CommunityError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;

    #[test]
    fn texts_round_trip() {
        for text in ["65000:1", "0:0", "65535:65535", "no-export", "no-advertise", "no-export-subconfed"] {
            assert_eq!(text.parse::<Community>().unwrap().to_string(), text);
        }
        for text in ["65536:1", "65000", "65000:1:2", "a:b", ""] {
            assert_eq!(text.parse::<Community>(), Err(CommunityError), "{text}");
        }
        assert_eq!("no-export".parse(), Ok(Community(0xffff_ff01)));
        assert_eq!("4200000000:1:2".parse::<LargeCommunity>().unwrap().to_string(), "4200000000:1:2");
        for text in ["1:2", "1:2:3:4", "1:2:x", "4294967296:0:0"] {
            assert_eq!(text.parse::<LargeCommunity>(), Err(CommunityError), "{text}");
        }
    }

    #[test]
    fn extended_communities_are_typed_views() {
        let color = ExtendedCommunity(hex!("030b 0003 00000064"));
        assert_eq!(color.color(), Some(Color { flags: 3, value: 100 }));
        assert_eq!((color.encapsulation(), color.to_string().as_str()), (None, "color:3:100"));
        assert_eq!(ExtendedCommunity::from_color(100).0, hex!("030b 0000 00000064"));
        let ip_in_ip = ExtendedCommunity::from_encapsulation(7);
        assert_eq!((ip_in_ip.0, ip_in_ip.encapsulation()), (hex!("030c 00000000 0007"), Some(7)));
        let other = ExtendedCommunity(hex!("4002 fde8 00000001"));
        assert_eq!((other.color(), other.encapsulation(), other.is_transitive()), (None, None, false));
        assert_eq!(other.to_string(), "0x4002fde800000001");
        assert!(color.is_transitive());
    }
}

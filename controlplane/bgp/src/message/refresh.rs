//! ROUTE-REFRESH (RFC 2918, RFC 7313): "send me that family again", and the brackets around the answer.
//!
//! ```text
//! | AFI (2) | Subtype (1) | SAFI (1) |
//! ```

use super::family::Family;
use super::reader::Reader;

/// A ROUTE-REFRESH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteRefresh {
    /// The family concerned.
    pub family: Family,
    /// [`REQUEST`](Self::REQUEST), [`BORR`](Self::BORR) or [`EORR`](Self::EORR).
    pub subtype: u8,
}

impl RouteRefresh {
    /// Octets of the whole message.
    pub(super) const LEN: usize = super::HEADER_LEN + 4;

    /// Routes are asked for.
    pub const REQUEST: u8 = 0;
    /// Beginning of a route refresh: what is not sent again until the end is to go.
    pub const BORR: u8 = 1;
    /// End of a route refresh.
    pub const EORR: u8 = 2;

    /// Reads the body; `None` for a family or subtype that is not known here and so ignored (RFC 7313, section 5).
    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let (afi, subtype, safi) = (reader.u16()?, reader.u8()?, reader.u8()?);
        let family = Family::from_numbers(afi, safi)?;
        (subtype <= Self::EORR).then_some(Self { family, subtype })
    }

    pub(super) fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.family.afi().to_be_bytes());
        out.extend_from_slice(&[self.subtype, self.family.safi()]);
    }
}

//! The packet (RFC 2865, section 3).
//!
//! ```text
//!   0                   1                   2                   3
//!   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//!  ┌───────────────┬───────────────┬───────────────────────────────┐
//!  │     Code      │  Identifier   │            Length             │  of all, 20 to 4096
//!  ├───────────────┴───────────────┴───────────────────────────────┤
//!  │                   Authenticator, 16 octets                    │
//!  ├───────────────┬───────────────┬───────────────────────────────┤
//!  │     Type      │    Length     │   Value, Length - 2 octets    │  attributes, to the end
//!  └───────────────┴───────────────┴───────────────────────────────┘
//! ```

use crate::attribute::{AttributeList, Attributes, Kind, MESSAGE_AUTHENTICATOR};
use crate::crypto;

/// Octets before the attributes.
pub const HEADER: usize = 20;
/// The longest packet.
pub const MAX: usize = 4096;
/// Where the value of a Message-Authenticator that comes first begins.
const MAC_AT: usize = HEADER + 2;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $n:literal $text:literal),* $(,)?) => {
        /// What a packet is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[$doc])* $name,)*
            /// Any other.
            Other(u8),
        }

        impl Code {
            /// From its number.
            pub const fn from_u8(n: u8) -> Self {
                match n {
                    $($n => Self::$name,)*
                    n => Self::Other(n),
                }
            }

            /// Its number.
            pub const fn to_u8(self) -> u8 {
                match self {
                    $(Self::$name => $n,)*
                    Self::Other(n) => n,
                }
            }

            /// Its name in the RFCs.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    Self::Other(_) => "unknown",
                }
            }
        }
    };
}

codes! {
    /// 1.
    AccessRequest = 1 "Access-Request",
    /// 2.
    AccessAccept = 2 "Access-Accept",
    /// 3.
    AccessReject = 3 "Access-Reject",
    /// 4 (RFC 2866).
    AccountingRequest = 4 "Accounting-Request",
    /// 5 (RFC 2866).
    AccountingResponse = 5 "Accounting-Response",
    /// 11.
    AccessChallenge = 11 "Access-Challenge",
    /// 12 (RFC 5997).
    StatusServer = 12 "Status-Server",
    /// 40 (RFC 5176).
    DisconnectRequest = 40 "Disconnect-Request",
    /// 41 (RFC 5176).
    DisconnectAck = 41 "Disconnect-ACK",
    /// 42 (RFC 5176).
    DisconnectNak = 42 "Disconnect-NAK",
    /// 43 (RFC 5176).
    CoaRequest = 43 "CoA-Request",
    /// 44 (RFC 5176).
    CoaAck = 44 "CoA-ACK",
    /// 45 (RFC 5176).
    CoaNak = 45 "CoA-NAK",
}

/// Not a RADIUS packet: Length or an attribute's length is impossible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed packet")]
pub struct Malformed;

/// There is no packet that says this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unencodable {
    /// A value longer than its attribute can be.
    #[error("the value of {0} is too long")]
    Value(Kind),
    /// A password longer than 128 octets (RFC 2865, section 5.2).
    #[error("the password is too long")]
    Password,
    /// More than 4096 octets.
    #[error("the packet is too long")]
    Packet,
}

/// A packet as it came, its attributes checked for length only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Its code.
    pub code: Code,
    /// Its identifier.
    pub id: u8,
    /// Request Authenticator or Response Authenticator.
    pub authenticator: [u8; 16],
    octets: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads a datagram. What follows Length is padding (RFC 2865, section 3).
    ///
    /// # Errors
    /// Length is not from 20 to 4096 or beyond the datagram, or the attributes do not fill it exactly.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Malformed> {
        let (&[code, id, l0, l1], rest) = datagram.split_first_chunk::<4>().ok_or(Malformed)?;
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        let authenticator = *rest.first_chunk::<16>().ok_or(Malformed)?;
        if !(HEADER..=MAX).contains(&length) {
            return Err(Malformed);
        }
        let octets = datagram.get(..length).ok_or(Malformed)?;
        Attributes::parse(octets.get(HEADER..).unwrap_or_default()).ok_or(Malformed)?;
        Ok(Self { code: Code::from_u8(code), id, authenticator, octets })
    }

    /// All of it, without padding.
    pub const fn octets(&self) -> &'a [u8] {
        self.octets
    }

    /// Its attributes.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::of_packet(self.octets)
    }
}

/// A packet to send: attributes stay in the order in which they are added.
#[derive(Clone, Debug)]
pub struct Builder {
    octets: Vec<u8>,
    mac: bool,
    error: Option<Unencodable>,
}

impl Builder {
    /// Starts a packet that has a Message-Authenticator, first.
    pub fn new(code: Code, id: u8) -> Self {
        let mut builder = Self::unauthenticated(code, id);
        builder.octets.extend([MESSAGE_AUTHENTICATOR.number, 18]);
        builder.octets.extend([0; 16]);
        builder.mac = true;
        builder
    }

    /// Starts a packet that has none.
    pub fn unauthenticated(code: Code, id: u8) -> Self {
        let mut octets = vec![0; HEADER];
        octets.splice(..2, [code.to_u8(), id]);
        Self { octets, mac: false, error: None }
    }

    /// Adds attributes.
    #[must_use]
    pub fn attributes(mut self, list: &AttributeList) -> Self {
        self.octets.extend_from_slice(list.as_octets());
        self.error = self.error.or(list.error());
        self
    }

    /// Finishes an Access-Request or Status-Server: the authenticator is random (RFC 2865, section 3).
    ///
    /// # Errors
    /// It is too long, or one of its values is.
    pub fn access_request(self, authenticator: &[u8; 16], secret: &[u8]) -> Result<Vec<u8>, Unencodable> {
        self.finish(authenticator, secret)
    }

    /// Finishes an Accounting-Request, CoA-Request or Disconnect-Request: the authenticator is a hash of the packet
    /// (RFC 2866, section 3), the Message-Authenticator is computed before it.
    ///
    /// # Errors
    /// As of [`Builder::access_request`].
    pub fn hashed_request(self, secret: &[u8]) -> Result<Vec<u8>, Unencodable> {
        self.finish(&[0; 16], secret).map(|octets| crypto::seal(octets, secret))
    }

    /// Finishes a reply to the request that had this authenticator.
    ///
    /// # Errors
    /// As of [`Builder::access_request`].
    pub fn reply(self, request_authenticator: &[u8; 16], secret: &[u8]) -> Result<Vec<u8>, Unencodable> {
        self.finish(request_authenticator, secret).map(|octets| crypto::seal(octets, secret))
    }

    fn finish(mut self, authenticator: &[u8; 16], secret: &[u8]) -> Result<Vec<u8>, Unencodable> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.octets.len() > MAX {
            return Err(Unencodable::Packet);
        }
        let length = u16::try_from(self.octets.len()).map_err(|_| Unencodable::Packet)?;
        self.octets.splice(2..4, length.to_be_bytes());
        self.octets.splice(4..HEADER, *authenticator);
        if self.mac {
            let mac = crypto::hmac_md5(secret, &[&self.octets]);
            self.octets.splice(MAC_AT..MAC_AT + 16, mac);
        }
        Ok(self.octets)
    }
}

#[cfg(test)]
mod tests;

//! The ISAKMP header (RFC 2408, section 3.1): 28 octets before a chain of payloads.
//!
//! ```text
//!   | initiator's cookie (8) | responder's cookie (8) | next | version | exchange | flags | message id (4) | length (4) |
//! ```
//!
//! The cookies name the ISAKMP SA. The message id is zero in phase 1 and names an exchange in phase 2: several go on
//! under one ISAKMP SA at once.

use crate::error::Malformed;
use crate::message::HEADER_LEN;
use crate::payload::{Builder, PayloadType};

const VERSION: u8 = 0x10;

/// An exchange type number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Exchange(pub u8);

#[allow(missing_docs)]
impl Exchange {
    /// "Identity Protection" of RFC 2408.
    pub const MAIN: Self = Self(2);
    pub const AGGRESSIVE: Self = Self(4);
    pub const INFORMATIONAL: Self = Self(5);
    /// Mode configuration and XAUTH.
    pub const TRANSACTION: Self = Self(6);
    pub const QUICK: Self = Self(32);
}

/// The header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Cookie of the initiator of the ISAKMP SA.
    pub cookie_i: u64,
    /// Cookie of its responder; zero in the first message.
    pub cookie_r: u64,
    /// Type of the first payload.
    pub next: PayloadType,
    /// Exchange.
    pub exchange: Exchange,
    /// What follows the header is encrypted.
    pub encrypted: bool,
    /// The sender asks for a notification before the SA is used.
    pub commit: bool,
    /// Authenticated but not encrypted.
    pub auth_only: bool,
    /// Message id.
    pub message_id: u32,
}

impl Header {
    const ENCRYPTED: u8 = 0x01;
    const COMMIT: u8 = 0x02;
    const AUTH_ONLY: u8 = 0x04;

    /// Parses the header of a whole datagram; its length field must tell the datagram's length.
    pub fn parse(message: &[u8]) -> Result<Self, Malformed> {
        let (header, _) = message.split_first_chunk::<HEADER_LEN>().ok_or(Malformed("truncated header"))?;
        let cookie = |at: usize| header[at..at + 8].iter().fold(0u64, |acc, &octet| acc << 8 | u64::from(octet));
        let word = |at: usize| header[at..at + 4].iter().fold(0u32, |acc, &octet| acc << 8 | u32::from(octet));
        if header[17] >> 4 != VERSION >> 4 {
            return Err(Malformed("major version"));
        }
        if word(24) as usize != message.len() {
            return Err(Malformed("length field"));
        }
        Ok(Self {
            cookie_i: cookie(0),
            cookie_r: cookie(8),
            next: PayloadType(header[16]),
            exchange: Exchange(header[18]),
            encrypted: header[19] & Self::ENCRYPTED != 0,
            commit: header[19] & Self::COMMIT != 0,
            auth_only: header[19] & Self::AUTH_ONLY != 0,
            message_id: word(20),
        })
    }

    /// Writes the header with the given total length.
    pub fn emit(&self, length: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.cookie_i.to_be_bytes());
        out.extend_from_slice(&self.cookie_r.to_be_bytes());
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = flag(self.encrypted, Self::ENCRYPTED)
            | flag(self.commit, Self::COMMIT)
            | flag(self.auth_only, Self::AUTH_ONLY);
        out.extend_from_slice(&[self.next.0, VERSION, self.exchange.0, flags]);
        out.extend_from_slice(&self.message_id.to_be_bytes());
        out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    }

    /// A whole message in the clear.
    pub fn message(mut self, chain: &Builder) -> Vec<u8> {
        self.next = chain.first();
        let length = HEADER_LEN + chain.bytes().len();
        let mut out = Vec::with_capacity(length);
        self.emit(length, &mut out);
        out.extend_from_slice(chain.bytes());
        out
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;

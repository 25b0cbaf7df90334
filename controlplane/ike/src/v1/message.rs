//! The ISAKMP header (RFC 2408, section 3.1): 28 octets before a chain of payloads.
//!
//! ```text
//!   | initiator's cookie (8) | responder's cookie (8) | next | version | exchange | flags | message id (4) | length (4) |
//! ```
//!
//! The cookies name the ISAKMP SA. The message id is zero in phase 1 and names an exchange in phase 2: several go on
//! under one ISAKMP SA at once.

use crate::error::Malformed;
use crate::message::Frame;
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
    /// Message id.
    pub message_id: u32,
}

impl Header {
    const ENCRYPTED: u8 = 0x01;

    /// Parses the header of a whole datagram; its length field must tell the datagram's length.
    pub fn parse(message: &[u8]) -> Result<Self, Malformed> {
        let (frame, length) = Frame::read(message)?;
        if frame.version >> 4 != VERSION >> 4 {
            return Err(Malformed("major version"));
        }
        if length != message.len() {
            return Err(Malformed("length field"));
        }
        let Frame { spi_i, spi_r, next, exchange, flags, message_id, .. } = frame;
        let (exchange, encrypted) = (Exchange(exchange), flags & Self::ENCRYPTED != 0);
        Ok(Self { cookie_i: spi_i, cookie_r: spi_r, next, exchange, encrypted, message_id })
    }

    /// Writes the header with the given total length.
    pub fn emit(&self, length: usize, out: &mut Vec<u8>) {
        self.frame().emit(length, out);
    }

    /// A whole message in the clear.
    pub fn message(self, chain: &Builder) -> Vec<u8> {
        self.frame().message(chain)
    }

    fn frame(&self) -> Frame {
        let Self { cookie_i, cookie_r, next, exchange, encrypted, message_id } = *self;
        let flags = if encrypted { Self::ENCRYPTED } else { 0 };
        Frame { spi_i: cookie_i, spi_r: cookie_r, next, version: VERSION, exchange: exchange.0, flags, message_id }
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;

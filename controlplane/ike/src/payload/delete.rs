//! Delete payloads (RFC 7296, section 3.11): the IKE SA itself (no SPIs), or a list of the sender's inbound ESP SPIs.

use super::sa::{PROTO_ESP, PROTO_IKE};
use crate::error::Malformed;

/// What is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delete {
    /// This IKE SA and all its child SAs.
    Ike,
    /// Child SAs by the SPIs the sender receives on.
    Esp(Vec<u32>),
    /// Another protocol (AH), ignored.
    Other(u8),
}

impl Delete {
    /// Parses a body.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let [protocol, spi_len, hi, lo, ref spis @ ..] = *body else { return Err(Malformed("truncated delete")) };
        let count = usize::from(u16::from_be_bytes([hi, lo]));
        if spis.len() != count * usize::from(spi_len) {
            return Err(Malformed("delete SPI count"));
        }
        match (protocol, spi_len) {
            (PROTO_IKE, 0) => Ok(Self::Ike),
            (PROTO_ESP, 4) => {
                Ok(Self::Esp(spis.chunks_exact(4).map(|c| u32::from_be_bytes([c[0], c[1], c[2], c[3]])).collect()))
            }
            (PROTO_IKE | PROTO_ESP, _) => Err(Malformed("delete SPI size")),
            (other, _) => Ok(Self::Other(other)),
        }
    }

    /// Writes the body.
    pub fn emit(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ike => out.extend_from_slice(&[PROTO_IKE, 0, 0, 0]),
            Self::Esp(spis) => {
                out.extend_from_slice(&[PROTO_ESP, 4]);
                out.extend_from_slice(&u16::try_from(spis.len()).unwrap_or(u16::MAX).to_be_bytes());
                for spi in spis.iter().take(usize::from(u16::MAX)) {
                    out.extend_from_slice(&spi.to_be_bytes());
                }
            }
            Self::Other(protocol) => out.extend_from_slice(&[*protocol, 0, 0, 0]),
        }
    }
}

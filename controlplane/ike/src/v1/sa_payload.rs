//! The body of an SA payload (RFC 2408, sections 3.4 to 3.6; RFC 2407, section 4.5).
//!
//! ```text
//!   DOI (4) | situation (4)
//!     Proposal: last (1) | 0 | length (2) | number (1) | protocol (1) | SPI size (1) | transforms (1) | SPI
//!       Transform: last (1) | 0 | length (2) | number (1) | id (1) | 0 (2) | attributes
//!         Attribute: 1 and type (2) | value (2)         or         0 and type (2) | length (2) | value
//! ```
//!
//! A transform is a whole suite, spelled in attributes; the transforms of a proposal are alternatives. Proposals of one
//! number belong together (AH and ESP), those of different numbers are alternatives. A responder gives back the one
//! proposal with the one transform it chose, its attributes as they came (RFC 2409, section 5), so those are kept.

use super::payload::DOI;
use crate::error::Malformed;
use crate::payload::sa;

/// SIT_IDENTITY_ONLY: no labels of secrecy or integrity (RFC 2407, section 4.2.1).
const SITUATION: u32 = 1;
/// The value is in place of the length.
const SHORT: u16 = 0x8000;

/// A proposal: of ISAKMP (1), AH (2) or ESP (3).
pub type Proposal = sa::Proposal<Transform>;

/// A transform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transform {
    /// Number within the proposal.
    pub number: u8,
    /// Transform id: KEY_IKE, or the cipher of ESP.
    pub id: u8,
    /// Types and values, in order; those that do not fit are not among them.
    pub attributes: Vec<(u16, u32)>,
    /// There is an attribute whose value we cannot hold, so that it must not be chosen.
    pub odd: bool,
    /// The attributes as they came; empty in a transform of our own.
    pub raw: Vec<u8>,
}

impl Transform {
    /// A transform of our own.
    pub fn new(number: u8, id: u8, attributes: Vec<(u16, u32)>) -> Self {
        Self { number, id, attributes, odd: false, raw: Vec::new() }
    }

    /// The value of an attribute; the first if there are several.
    pub fn get(&self, kind: u16) -> Option<u32> {
        self.attributes.iter().find(|(k, _)| *k == kind).map(|(_, value)| *value)
    }
}

/// Parses a body.
pub fn parse(body: &[u8]) -> Result<Vec<Proposal>, Malformed> {
    let [a, b, c, d, e, f, g, h, ref rest @ ..] = *body else { return Err(Malformed("truncated SA payload")) };
    if u32::from_be_bytes([a, b, c, d]) != DOI || u32::from_be_bytes([e, f, g, h]) != SITUATION {
        return Err(Malformed("DOI or situation"));
    }
    sa::parse_proposals(rest, |[number, id, _, _], raw| {
        let (attributes, odd) = parse_attributes(raw)?;
        Ok(Transform { number, id, attributes, odd, raw: raw.to_vec() })
    })
}

/// Types and values of attributes (RFC 2408, section 3.3), and whether there are values that do not fit.
pub(super) fn parse_attributes(mut body: &[u8]) -> Result<(Vec<(u16, u32)>, bool), Malformed> {
    let (mut attributes, mut odd) = (Vec::new(), false);
    while !body.is_empty() {
        let [a, b, c, d, ref rest @ ..] = *body else { return Err(Malformed("truncated attribute")) };
        let (kind, value) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        if kind & SHORT != 0 {
            attributes.push((kind & !SHORT, u32::from(value)));
            body = rest;
            continue;
        }
        let (value, rest) = rest.split_at_checked(usize::from(value)).ok_or(Malformed("attribute length"))?;
        let fits = value.len() <= 4 || value.iter().rev().skip(4).all(|&octet| octet == 0);
        if fits && !value.is_empty() {
            attributes.push((kind, value.iter().fold(0, |acc, &octet| acc << 8 | u32::from(octet))));
        } else {
            odd = true;
        }
        body = rest;
    }
    Ok((attributes, odd))
}

/// Writes attributes: those of up to two octets in the short form.
pub(super) fn emit_attributes(attributes: &[(u16, u32)], out: &mut Vec<u8>) {
    for &(kind, value) in attributes {
        match u16::try_from(value) {
            Ok(value) => {
                out.extend_from_slice(&(kind | SHORT).to_be_bytes());
                out.extend_from_slice(&value.to_be_bytes());
            }
            Err(_) => {
                out.extend_from_slice(&kind.to_be_bytes());
                out.extend_from_slice(&[0, 4]);
                out.extend_from_slice(&value.to_be_bytes());
            }
        }
    }
}

/// Writes a body.
pub fn emit(proposals: &[Proposal], out: &mut Vec<u8>) {
    out.extend_from_slice(&DOI.to_be_bytes());
    out.extend_from_slice(&SITUATION.to_be_bytes());
    sa::emit_proposals(proposals, out, |transform, out| {
        out.extend_from_slice(&[transform.number, transform.id, 0, 0]);
        if transform.raw.is_empty() {
            emit_attributes(&transform.attributes, out);
        } else {
            out.extend_from_slice(&transform.raw);
        }
    });
}

#[cfg(test)]
#[path = "sa_payload_tests.rs"]
mod tests;

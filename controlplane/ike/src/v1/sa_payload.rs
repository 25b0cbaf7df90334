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

/// SIT_IDENTITY_ONLY: no labels of secrecy or integrity (RFC 2407, section 4.2.1).
const SITUATION: u32 = 1;
/// More proposals or transforms than any sane peer sends are refused rather than compared.
const MAX_ITEMS: usize = 512;
/// The value is in place of the length.
const SHORT: u16 = 0x8000;

/// A proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Number; proposals that share it belong together.
    pub number: u8,
    /// Protocol: 1 ISAKMP, 2 AH, 3 ESP.
    pub protocol: u8,
    /// The sender's SPI: four octets for ESP, mostly none for ISAKMP.
    pub spi: Vec<u8>,
    /// Alternatives, in the sender's order of preference.
    pub transforms: Vec<Transform>,
}

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

impl Proposal {
    /// The SPI as an ESP SPI. Values below 256 are reserved (RFC 4303, section 2.1).
    pub fn esp_spi(&self) -> Option<u32> {
        let spi = u32::from_be_bytes(self.spi.as_slice().try_into().ok()?);
        (spi > 255).then_some(spi)
    }
}

/// Parses a body.
pub fn parse(body: &[u8]) -> Result<Vec<Proposal>, Malformed> {
    let [a, b, c, d, e, f, g, h, ref rest @ ..] = *body else { return Err(Malformed("truncated SA payload")) };
    if u32::from_be_bytes([a, b, c, d]) != DOI || u32::from_be_bytes([e, f, g, h]) != SITUATION {
        return Err(Malformed("DOI or situation"));
    }
    let mut body = rest;
    let mut proposals = Vec::new();
    loop {
        let [last, _, hi, lo, number, protocol, spi_len, count, ref rest @ ..] = *body else {
            return Err(Malformed("truncated proposal"));
        };
        let length = usize::from(u16::from_be_bytes([hi, lo]));
        let inner = length.checked_sub(8).and_then(|n| rest.get(..n)).ok_or(Malformed("proposal length"))?;
        let (spi, transforms) = inner.split_at_checked(usize::from(spi_len)).ok_or(Malformed("proposal SPI length"))?;
        let transforms = parse_transforms(transforms, usize::from(count))?;
        proposals.push(Proposal { number, protocol, spi: spi.to_vec(), transforms });
        body = body.get(length..).unwrap_or_default();
        match (last, body.is_empty()) {
            (0, true) => return Ok(proposals),
            (2, false) if proposals.len() < MAX_ITEMS => {}
            _ => return Err(Malformed("proposal list")),
        }
    }
}

fn parse_transforms(mut body: &[u8], count: usize) -> Result<Vec<Transform>, Malformed> {
    let mut transforms = Vec::new();
    while !body.is_empty() {
        let [last, _, hi, lo, number, id, _, _, ref rest @ ..] = *body else {
            return Err(Malformed("truncated transform"));
        };
        let length = usize::from(u16::from_be_bytes([hi, lo]));
        let raw = length.checked_sub(8).and_then(|n| rest.get(..n)).ok_or(Malformed("transform length"))?;
        let (attributes, odd) = parse_attributes(raw)?;
        transforms.push(Transform { number, id, attributes, odd, raw: raw.to_vec() });
        body = body.get(length..).unwrap_or_default();
        match (last, body.is_empty()) {
            (0, true) | (3, false) if transforms.len() < MAX_ITEMS => {}
            _ => return Err(Malformed("transform list")),
        }
    }
    if transforms.len() == count { Ok(transforms) } else { Err(Malformed("transform count")) }
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

/// Writes a body. More than 255 transforms of a proposal do not exist.
pub fn emit(proposals: &[Proposal], out: &mut Vec<u8>) {
    out.extend_from_slice(&DOI.to_be_bytes());
    out.extend_from_slice(&SITUATION.to_be_bytes());
    let close = |out: &mut Vec<u8>, start: usize| {
        let length = u16::try_from(out.len() - start).unwrap_or(u16::MAX);
        out[start + 2..start + 4].copy_from_slice(&length.to_be_bytes());
    };
    for (index, proposal) in proposals.iter().enumerate() {
        let start = out.len();
        let more = if index + 1 < proposals.len() { 2 } else { 0 };
        out.extend_from_slice(&[more, 0, 0, 0, proposal.number, proposal.protocol]);
        out.extend_from_slice(&[proposal.spi.len() as u8, proposal.transforms.len() as u8]);
        out.extend_from_slice(&proposal.spi);
        for (index, transform) in proposal.transforms.iter().enumerate() {
            let start = out.len();
            let more = if index + 1 < proposal.transforms.len() { 3 } else { 0 };
            out.extend_from_slice(&[more, 0, 0, 0, transform.number, transform.id, 0, 0]);
            if transform.raw.is_empty() {
                emit_attributes(&transform.attributes, out);
            } else {
                out.extend_from_slice(&transform.raw);
            }
            close(out, start);
        }
        close(out, start);
    }
}

#[cfg(test)]
#[path = "sa_payload_tests.rs"]
mod tests;

//! Security Association payloads (RFC 7296, section 3.3): numbered proposals, each a protocol, an SPI and transforms.
//!
//! ```text
//!   SA payload
//!     Proposal 1  ESP  SPI 4 octets
//!       Transform ENCR AES_GCM_16, attribute key length 256
//!       Transform ESN  no
//!     Proposal 2  ...
//! ```
//!
//! Transforms of one type are alternatives; different types add up. Choosing among them is policy, see
//! [`crate::proposal`]. A transform with an attribute we do not know is kept but marked, so that it is never chosen
//! (section 3.3.6).

use crate::error::Malformed;

/// Protocol id of the IKE SA.
pub const PROTO_IKE: u8 = 1;
/// Protocol id of AH.
pub const PROTO_AH: u8 = 2;
/// Protocol id of ESP.
pub const PROTO_ESP: u8 = 3;

const ATTRIBUTE_KEY_LENGTH: u16 = 14;
/// More proposals or transforms than any sane peer sends are refused rather than compared.
const MAX_ITEMS: usize = 512;

/// Transform types.
#[allow(missing_docs)]
pub mod transform_type {
    pub const ENCR: u8 = 1;
    pub const PRF: u8 = 2;
    pub const INTEG: u8 = 3;
    pub const KE: u8 = 4;
    pub const ESN: u8 = 5;
    pub const ADDKE1: u8 = 6;
    pub const ADDKE7: u8 = 12;
}

/// A transform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Transform {
    /// Transform type.
    pub kind: u8,
    /// Transform id within its type.
    pub id: u16,
    /// Key length attribute in bits, 0 when absent.
    pub key_bits: u16,
    /// It carries an attribute we do not understand.
    pub unknown_attribute: bool,
}

impl Transform {
    /// A transform without attributes.
    pub const fn new(kind: u8, id: u16) -> Self {
        Self { kind, id, key_bits: 0, unknown_attribute: false }
    }

    /// A transform with a key length.
    pub const fn with_key(kind: u8, id: u16, key_bits: u16) -> Self {
        Self { kind, id, key_bits, unknown_attribute: false }
    }
}

/// A proposal. IKEv1 has the same around transforms of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal<T = Transform> {
    /// Number, from 1. In IKEv1, proposals that share it belong together.
    pub number: u8,
    /// Protocol id.
    pub protocol: u8,
    /// The sender's SPI (0, 4 or 8 octets).
    pub spi: Vec<u8>,
    /// Alternatives, in the sender's order of preference, and in IKEv2 combinations.
    pub transforms: Vec<T>,
}

impl<T> Proposal<T> {
    /// The SPI as an ESP SPI. Values below 256 are reserved (RFC 4303, section 2.1).
    pub fn esp_spi(&self) -> Option<u32> {
        let spi = u32::from_be_bytes(self.spi.as_slice().try_into().ok()?);
        (spi > 255).then_some(spi)
    }

    /// The SPI as an IKE SPI; zero is no SPI.
    pub fn ike_spi(&self) -> Option<u64> {
        let spi = u64::from_be_bytes(self.spi.as_slice().try_into().ok()?);
        (spi != 0).then_some(spi)
    }
}

/// Parses the body of an SA payload.
pub fn parse(body: &[u8]) -> Result<Vec<Proposal>, Malformed> {
    parse_proposals(body, |[kind, _, hi, lo], attributes| {
        let (key_bits, unknown_attribute) = parse_attributes(attributes)?;
        Ok(Transform { kind, id: u16::from_be_bytes([hi, lo]), key_bits, unknown_attribute })
    })
}

/// Parses proposals. `transform` makes one of the four octets behind its length and its attributes.
pub(crate) fn parse_proposals<T>(
    body: &[u8],
    transform: impl Fn([u8; 4], &[u8]) -> Result<T, Malformed>,
) -> Result<Vec<Proposal<T>>, Malformed> {
    let proposals = parse_list(body, 2, Malformed("proposal list"), |[number, protocol, spi_len, count], inner| {
        let (spi, transforms) = inner.split_at_checked(usize::from(spi_len)).ok_or(Malformed("proposal SPI length"))?;
        let transforms = parse_list(transforms, 3, Malformed("transform list"), &transform)?;
        if transforms.len() != usize::from(count) {
            return Err(Malformed("transform count"));
        }
        Ok(Proposal { number, protocol, spi: spi.to_vec(), transforms })
    })?;
    if proposals.is_empty() { Err(Malformed("no proposal")) } else { Ok(proposals) }
}

/// Parses `last or more (1) | 0 | length (2) | four octets | rest` until the last one, which nothing follows.
fn parse_list<T>(
    mut body: &[u8],
    more: u8,
    wrong: Malformed,
    read: impl Fn([u8; 4], &[u8]) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let mut list = Vec::new();
    while !body.is_empty() {
        let [last, _, hi, lo, a, b, c, d, ref rest @ ..] = *body else { return Err(wrong) };
        let length = usize::from(u16::from_be_bytes([hi, lo])).checked_sub(8);
        let (inner, behind) = length.and_then(|n| rest.split_at_checked(n)).ok_or(wrong)?;
        list.push(read([a, b, c, d], inner)?);
        body = behind;
        if list.len() > MAX_ITEMS || last != if body.is_empty() { 0 } else { more } {
            return Err(wrong);
        }
    }
    Ok(list)
}

fn parse_attributes(mut body: &[u8]) -> Result<(u16, bool), Malformed> {
    let (mut key_bits, mut unknown) = (0, false);
    while !body.is_empty() {
        let [a, b, c, d, ref rest @ ..] = *body else { return Err(Malformed("truncated attribute")) };
        let (kind, value) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        if kind & 0x8000 != 0 {
            // TV form: the value is in place of the length.
            if kind & 0x7fff == ATTRIBUTE_KEY_LENGTH {
                key_bits = value
            } else {
                unknown = true
            }
            body = rest;
        } else {
            unknown = true;
            body = rest.get(usize::from(value)..).ok_or(Malformed("attribute length"))?;
        }
    }
    Ok((key_bits, unknown))
}

/// Writes the body of an SA payload.
pub fn emit(proposals: &[Proposal], out: &mut Vec<u8>) {
    emit_proposals(proposals, out, |transform, out| {
        out.extend_from_slice(&[transform.kind, 0]);
        out.extend_from_slice(&transform.id.to_be_bytes());
        if transform.key_bits != 0 {
            out.extend_from_slice(&(0x8000 | ATTRIBUTE_KEY_LENGTH).to_be_bytes());
            out.extend_from_slice(&transform.key_bits.to_be_bytes());
        }
    });
}

/// Writes proposals. `transform` writes what follows the length of one. More than 255 of a proposal do not exist.
pub(crate) fn emit_proposals<T>(proposals: &[Proposal<T>], out: &mut Vec<u8>, transform: impl Fn(&T, &mut Vec<u8>)) {
    emit_list(proposals, 2, out, |proposal, out| {
        let (spi_len, count) = (proposal.spi.len() as u8, proposal.transforms.len() as u8);
        out.extend_from_slice(&[proposal.number, proposal.protocol, spi_len, count]);
        out.extend_from_slice(&proposal.spi);
        emit_list(&proposal.transforms, 3, out, &transform);
    });
}

fn emit_list<T>(list: &[T], more: u8, out: &mut Vec<u8>, write: impl Fn(&T, &mut Vec<u8>)) {
    for (index, item) in list.iter().enumerate() {
        let start = out.len();
        out.extend_from_slice(&[if index + 1 < list.len() { more } else { 0 }, 0, 0, 0]);
        write(item, out);
        let length = u16::try_from(out.len() - start).unwrap_or(u16::MAX);
        out[start + 2..start + 4].copy_from_slice(&length.to_be_bytes());
    }
}

//! Attribute-value pairs (RFC 2661, section 4): what control messages consist of.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |M|H| rsvd  |      Length       |           Vendor ID           |
//! |         Attribute Type        |        Attribute Value ...
//! ```
//!
//! M decides what an AVP that we do not know or cannot read means: with it the session or tunnel ends, without it
//! the AVP is passed over (sections 4.2 and 7.1). H says that the value is hidden, see [`hidden`].
//!
//! What softwires use (RFC 5571, section 5.1) is kept in [`Avps`]; every other attribute of RFC 2661 is known,
//! checked for its length, and ignored.

pub mod hidden;

use crate::error::code;
use crate::message::{Kind, MessageType};
use secret::Secret;

const M: u16 = 0x8000;
const H: u16 = 0x4000;
const RESERVED: u16 = 0x3c00;
const LENGTH: u16 = 0x03ff;
const HEADER_LEN: usize = 6;

/// Attribute types of vendor 0 that are named in the code.
pub mod attribute {
    #![allow(missing_docs)] // the names are those of RFC 2661, section 4.4
    pub const MESSAGE_TYPE: u16 = 0;
    pub const RESULT_CODE: u16 = 1;
    pub const PROTOCOL_VERSION: u16 = 2;
    pub const FRAMING_CAPABILITIES: u16 = 3;
    pub const BEARER_CAPABILITIES: u16 = 4;
    pub const TIE_BREAKER: u16 = 5;
    pub const FIRMWARE_REVISION: u16 = 6;
    pub const HOST_NAME: u16 = 7;
    pub const VENDOR_NAME: u16 = 8;
    pub const ASSIGNED_TUNNEL_ID: u16 = 9;
    pub const RECEIVE_WINDOW_SIZE: u16 = 10;
    pub const CHALLENGE: u16 = 11;
    pub const CHALLENGE_RESPONSE: u16 = 13;
    pub const ASSIGNED_SESSION_ID: u16 = 14;
    pub const CALL_SERIAL_NUMBER: u16 = 15;
    pub const FRAMING_TYPE: u16 = 19;
    pub const TX_CONNECT_SPEED: u16 = 24;
    pub const RANDOM_VECTOR: u16 = 36;
    pub const SEQUENCING_REQUIRED: u16 = 39;
}
use attribute::*;

/// Result Code AVP (RFC 2661, section 4.4.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResultCode {
    /// Result code of StopCCN or CDN.
    pub result: u16,
    /// General error code.
    pub error: Option<u16>,
    /// Error message; only with an error code.
    pub message: String,
}

/// The AVPs that softwires use; `None` is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Avps {
    /// Why a tunnel or session ends.
    pub result: Option<ResultCode>,
    /// Version and revision, 0x0100.
    pub protocol_version: Option<u16>,
    /// Bit 0 synchronous, bit 1 asynchronous.
    pub framing_capabilities: Option<u32>,
    /// Ignored.
    pub bearer_capabilities: Option<u32>,
    /// Ignored: an SC never opens a tunnel, so there is no tie to break.
    pub tie_breaker: Option<u64>,
    /// Vendor's revision.
    pub firmware: Option<u16>,
    /// Name of the sender; may identify a user (RFC 5571, section 5.1.1.2).
    pub host_name: Option<String>,
    /// Name of the vendor.
    pub vendor_name: Option<String>,
    /// Tunnel id that the sender has chosen, never 0.
    pub assigned_tunnel: Option<u16>,
    /// Control messages that the sender can take, never 0.
    pub receive_window: Option<u16>,
    /// Tunnel authentication: challenge.
    pub challenge: Option<Vec<u8>>,
    /// Tunnel authentication: response.
    pub challenge_response: Option<[u8; 16]>,
    /// Session id that the sender has chosen, never 0.
    pub assigned_session: Option<u16>,
    /// For people.
    pub call_serial: Option<u32>,
    /// Ignored.
    pub framing_type: Option<u32>,
    /// Ignored.
    pub tx_speed: Option<u32>,
    /// Data must carry sequence numbers.
    pub sequencing_required: bool,
}

/// An AVP that may not be passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AvpProblem {
    /// The M bit is set and we do not know it, or cannot uncover it (RFC 2661, section 4.2).
    Unknown {
        /// Vendor.
        vendor: u16,
        /// Attribute.
        attribute: u16,
    },
    /// The length does not fit the attribute.
    Length {
        /// Attribute.
        attribute: u16,
    },
    /// The value is out of range.
    Value {
        /// Attribute.
        attribute: u16,
    },
    /// An AVP's length is impossible: nothing after it can be read.
    Framing,
}

impl AvpProblem {
    /// The general error code that tells the peer.
    pub const fn error_code(self) -> u16 {
        match self {
            Self::Unknown { .. } => code::ERROR_UNKNOWN_AVP,
            Self::Length { .. } | Self::Framing => code::ERROR_LENGTH,
            Self::Value { .. } => code::ERROR_VALUE,
        }
    }
}

impl std::fmt::Display for AvpProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown { vendor, attribute } => write!(f, "unknown AVP {vendor}:{attribute}"),
            Self::Length { attribute } => write!(f, "length of AVP {attribute}"),
            Self::Value { attribute } => write!(f, "value of AVP {attribute}"),
            Self::Framing => f.write_str("length of an AVP"),
        }
    }
}

/// One AVP as it stands in the message.
struct Raw<'a> {
    flags: u16,
    vendor: u16,
    attribute: u16,
    value: &'a [u8],
}

impl Raw<'_> {
    fn mandatory(&self) -> bool {
        self.flags & M != 0
    }
}

/// Takes an AVP off the front; `None` when its length is impossible.
fn take<'a>(rest: &mut &'a [u8]) -> Option<Raw<'a>> {
    let head = rest.first_chunk::<HEADER_LEN>()?;
    let word = |i: usize| u16::from_be_bytes([head[i], head[i + 1]]);
    let flags = word(0);
    let length = usize::from(flags & LENGTH);
    let raw = Raw { flags, vendor: word(2), attribute: word(4), value: rest.get(HEADER_LEN..length)? };
    *rest = rest.get(length..)?;
    Some(raw)
}

/// Reads the Message Type AVP, which must come first and must not be hidden (RFC 2661, section 4.4.1).
pub(crate) fn read_kind(body: &[u8]) -> (Kind, &[u8]) {
    let mut rest = body;
    let Some(raw) = take(&mut rest) else { return (Kind::Missing, rest) };
    let Ok(number) = <[u8; 2]>::try_from(raw.value).map(u16::from_be_bytes) else { return (Kind::Missing, rest) };
    if raw.vendor != 0 || raw.attribute != MESSAGE_TYPE || raw.flags & (H | RESERVED) != 0 {
        return (Kind::Missing, rest);
    }
    let kind = match MessageType::from_number(number) {
        Some(known) => Kind::Known(known),
        None if raw.mandatory() => Kind::Fatal(number),
        None => Kind::Ignore(number),
    };
    (kind, rest)
}

/// Reads all AVPs after the Message Type. Reading goes on after a problem as far as it can, so that the answer
/// can be addressed.
pub(crate) fn read(body: &[u8], secret: Option<&Secret>) -> (Avps, Option<AvpProblem>) {
    let (mut avps, mut problem) = (Avps::default(), None);
    let mut vector: Option<&[u8]> = None;
    let mut rest = body;
    while !rest.is_empty() {
        let Some(raw) = take(&mut rest) else {
            problem.get_or_insert(AvpProblem::Framing);
            break;
        };
        let uncovered;
        let value = if raw.flags & H == 0 {
            Some(raw.value)
        } else {
            // Section 4.3: the last Random Vector before it applies.
            uncovered = match (secret, vector) {
                (Some(secret), Some(vector)) => hidden::uncover(raw.attribute, secret, vector, raw.value),
                _ => None,
            };
            uncovered.as_ref().map(|v| v.as_slice())
        };
        let unknown = AvpProblem::Unknown { vendor: raw.vendor, attribute: raw.attribute };
        // Section 4.1: an AVP with a reserved bit set is an unrecognized one.
        let outcome = match value {
            Some(value) if raw.vendor == 0 && raw.flags & RESERVED == 0 => {
                if raw.attribute == RANDOM_VECTOR && raw.flags & H == 0 {
                    vector = Some(raw.value);
                }
                avps.set(raw.attribute, value)
            }
            _ => Err(unknown),
        };
        if let Err(found) = outcome
            && raw.mandatory()
        {
            problem.get_or_insert(found);
        }
    }
    (avps, problem)
}

fn fixed<const N: usize>(attribute: u16, value: &[u8]) -> Result<[u8; N], AvpProblem> {
    value.try_into().map_err(|_| AvpProblem::Length { attribute })
}

fn id(attribute: u16, value: &[u8]) -> Result<Option<u16>, AvpProblem> {
    match u16::from_be_bytes(fixed(attribute, value)?) {
        0 => Err(AvpProblem::Value { attribute }),
        n => Ok(Some(n)),
    }
}

impl Avps {
    /// Keeps one attribute of vendor 0, the last of several.
    fn set(&mut self, attribute: u16, value: &[u8]) -> Result<(), AvpProblem> {
        let short = |least: usize| if value.len() < least { Err(AvpProblem::Length { attribute }) } else { Ok(()) };
        let word = |v| fixed(attribute, v).map(u16::from_be_bytes);
        let double = |v| fixed(attribute, v).map(u32::from_be_bytes);
        let text = |v| Some(String::from_utf8_lossy(v).into_owned());
        match attribute {
            RESULT_CODE => self.result = Some(ResultCode::read(value)?),
            PROTOCOL_VERSION => self.protocol_version = Some(word(value)?),
            FRAMING_CAPABILITIES => self.framing_capabilities = Some(double(value)?),
            BEARER_CAPABILITIES => self.bearer_capabilities = Some(double(value)?),
            TIE_BREAKER => self.tie_breaker = Some(u64::from_be_bytes(fixed(attribute, value)?)),
            FIRMWARE_REVISION => self.firmware = Some(word(value)?),
            HOST_NAME => {
                short(1)?;
                self.host_name = text(value);
            }
            VENDOR_NAME => self.vendor_name = text(value),
            ASSIGNED_TUNNEL_ID => self.assigned_tunnel = id(attribute, value)?,
            RECEIVE_WINDOW_SIZE => self.receive_window = id(attribute, value)?,
            CHALLENGE => {
                short(1)?;
                self.challenge = Some(value.to_vec());
            }
            CHALLENGE_RESPONSE => self.challenge_response = Some(fixed(attribute, value)?),
            ASSIGNED_SESSION_ID => self.assigned_session = id(attribute, value)?,
            CALL_SERIAL_NUMBER => self.call_serial = Some(double(value)?),
            FRAMING_TYPE => self.framing_type = Some(double(value)?),
            TX_CONNECT_SPEED => self.tx_speed = Some(double(value)?),
            SEQUENCING_REQUIRED => {
                fixed::<0>(attribute, value)?;
                self.sequencing_required = true;
            }
            // Known, and of no use to a softwire. Message Type again, Proxy Authen Type and ID:
            MESSAGE_TYPE | 29 | 32 => {
                word(value)?;
            }
            // Q.931 Cause Code, PPP Disconnect Cause Code (RFC 3145).
            12 => short(3)?,
            46 => short(5)?,
            // Minimum and Maximum BPS, Bearer Type, Physical Channel ID, Rx Connect Speed.
            16 | 17 | 18 | 25 | 38 => {
                double(value)?;
            }
            // Called and Calling Number, Sub-Address, LCP CONFREQs, Proxy Authen Name, Challenge and Response,
            // Random Vector, Private Group ID.
            21 | 22 | 23 | 26 | 27 | 28 | 30 | 31 | 33 | RANDOM_VECTOR | 37 => {}
            // Call Errors, ACCM.
            34 => fixed::<26>(attribute, value).map(drop)?,
            35 => fixed::<10>(attribute, value).map(drop)?,
            _ => return Err(AvpProblem::Unknown { vendor: 0, attribute }),
        }
        Ok(())
    }
}

impl ResultCode {
    fn read(value: &[u8]) -> Result<Self, AvpProblem> {
        let bad = AvpProblem::Length { attribute: RESULT_CODE };
        let (result, rest) = value.split_first_chunk().ok_or(bad)?;
        let result = u16::from_be_bytes(*result);
        if rest.is_empty() {
            return Ok(Self { result, error: None, message: String::new() });
        }
        let (error, message) = rest.split_first_chunk().ok_or(bad)?;
        let message = String::from_utf8_lossy(message).into_owned();
        Ok(Self { result, error: Some(u16::from_be_bytes(*error)), message })
    }

    fn octets(&self) -> Vec<u8> {
        let mut out = self.result.to_be_bytes().to_vec();
        // A message needs an error code in front of it; 0 is "no general error".
        if self.error.is_some() || !self.message.is_empty() {
            out.extend_from_slice(&self.error.unwrap_or(0).to_be_bytes());
            out.extend_from_slice(self.message.as_bytes());
        }
        out
    }
}

fn put(out: &mut Vec<u8>, mandatory: bool, attribute: u16, value: &[u8]) {
    // Ten bits of length; names and messages of ours that are longer are cut.
    let value = &value[..value.len().min(usize::from(LENGTH) - HEADER_LEN)];
    let flags = (HEADER_LEN + value.len()) as u16 | if mandatory { M } else { 0 };
    for word in [flags, 0, attribute] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    out.extend_from_slice(value);
}

/// Writes a body, by attribute number, with the M bits of RFC 2661, section 4.4. Nothing is hidden (RFC 5571,
/// section 5.1.1: SHOULD NOT).
pub(crate) fn write(kind: MessageType, a: &Avps) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    let mut avp = |mandatory, attribute, value: Option<&[u8]>| {
        if let Some(value) = value {
            put(&mut out, mandatory, attribute, value);
        }
    };
    let (word, double) = (|v: Option<u16>| v.map(u16::to_be_bytes), |v: Option<u32>| v.map(u32::to_be_bytes));
    fn s<const N: usize>(v: &Option<[u8; N]>) -> Option<&[u8]> {
        v.as_ref().map(|v| &v[..])
    }
    avp(true, MESSAGE_TYPE, Some(&kind.number().to_be_bytes()));
    avp(true, RESULT_CODE, a.result.as_ref().map(ResultCode::octets).as_deref());
    avp(true, PROTOCOL_VERSION, s(&word(a.protocol_version)));
    avp(true, FRAMING_CAPABILITIES, s(&double(a.framing_capabilities)));
    avp(true, BEARER_CAPABILITIES, s(&double(a.bearer_capabilities)));
    avp(false, TIE_BREAKER, s(&a.tie_breaker.map(u64::to_be_bytes)));
    avp(false, FIRMWARE_REVISION, s(&word(a.firmware)));
    avp(true, HOST_NAME, a.host_name.as_deref().map(str::as_bytes));
    avp(false, VENDOR_NAME, a.vendor_name.as_deref().map(str::as_bytes));
    avp(true, ASSIGNED_TUNNEL_ID, s(&word(a.assigned_tunnel)));
    avp(true, RECEIVE_WINDOW_SIZE, s(&word(a.receive_window)));
    avp(true, CHALLENGE, a.challenge.as_deref());
    avp(true, CHALLENGE_RESPONSE, s(&a.challenge_response));
    avp(true, ASSIGNED_SESSION_ID, s(&word(a.assigned_session)));
    avp(true, CALL_SERIAL_NUMBER, s(&double(a.call_serial)));
    avp(true, FRAMING_TYPE, s(&double(a.framing_type)));
    avp(true, TX_CONNECT_SPEED, s(&double(a.tx_speed)));
    avp(true, SEQUENCING_REQUIRED, a.sequencing_required.then_some(&[]));
    out
}

#[cfg(test)]
mod tests;

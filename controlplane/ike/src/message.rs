//! IKEv2 messages (RFC 7296, section 3.1): a fixed header of 28 octets and a chain of payloads.
//!
//! ```text
//!   | initiator's SPI (8) | responder's SPI (8) | next | version | exchange | flags | message id (4) | length (4) |
//! ```
//!
//! The SPIs name the IKE SA; each end chose one. Flags tell request from response and original initiator from
//! original responder. [`Body`] sorts the payloads of a parsed chain, so that a state can ask for what it needs.

use crate::error::{Malformed, MessageError};
use crate::payload::notify::{Notify, NotifyType};
use crate::payload::sa::Proposal;
use crate::payload::ts::TrafficSelector;
use crate::payload::{AuthPayload, Builder, CertPayload, Chain, KePayload, PayloadType, parse_nonce};
use crate::payload::{delete::Delete, sa, ts};

/// Length of the header.
pub const HEADER_LEN: usize = 28;
const VERSION: u8 = 0x20;

/// An exchange type number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExchangeType(pub u8);

#[allow(missing_docs)]
impl ExchangeType {
    pub const IKE_SA_INIT: Self = Self(34);
    pub const IKE_AUTH: Self = Self(35);
    pub const CREATE_CHILD_SA: Self = Self(36);
    pub const INFORMATIONAL: Self = Self(37);
    pub const IKE_INTERMEDIATE: Self = Self(43);
    pub const IKE_FOLLOWUP_KE: Self = Self(44);
}

/// The header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// SPI of the original initiator.
    pub spi_i: u64,
    /// SPI of the original responder; zero in the first message.
    pub spi_r: u64,
    /// Type of the first payload.
    pub next: PayloadType,
    /// Exchange.
    pub exchange: ExchangeType,
    /// The sender is the original initiator of the IKE SA.
    pub from_initiator: bool,
    /// It answers a request.
    pub response: bool,
    /// Message id.
    pub message_id: u32,
}

impl Header {
    const INITIATOR: u8 = 0x08;
    const RESPONSE: u8 = 0x20;

    /// Parses the header of a whole datagram; its length field must tell the datagram's length.
    pub fn parse(message: &[u8]) -> Result<Self, MessageError> {
        let (frame, length) = Frame::read(message)?;
        if frame.version >> 4 != VERSION >> 4 {
            return Err(MessageError::MajorVersion(frame.version >> 4));
        }
        if length != message.len() {
            return Err(Malformed("length field").into());
        }
        let Frame { spi_i, spi_r, next, message_id, .. } = frame;
        let flag = |bit: u8| frame.flags & bit != 0;
        let (from_initiator, response) = (flag(Self::INITIATOR), flag(Self::RESPONSE));
        Ok(Self { spi_i, spi_r, next, exchange: ExchangeType(frame.exchange), from_initiator, response, message_id })
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
        let Self { spi_i, spi_r, next, message_id, .. } = *self;
        let flags =
            if self.from_initiator { Self::INITIATOR } else { 0 } | if self.response { Self::RESPONSE } else { 0 };
        Frame { spi_i, spi_r, next, version: VERSION, exchange: self.exchange.0, flags, message_id }
    }
}

/// The octets of a header, which mean the same in both versions of IKE but for exchange and flags.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub spi_i: u64,
    pub spi_r: u64,
    pub next: PayloadType,
    pub version: u8,
    pub exchange: u8,
    pub flags: u8,
    pub message_id: u32,
}

impl Frame {
    /// Reads the header, of whatever version, and what it says of the length of the message.
    pub fn read(message: &[u8]) -> Result<(Self, usize), Malformed> {
        let (header, _) = message.split_first_chunk::<HEADER_LEN>().ok_or(Malformed("truncated header"))?;
        let spi = |at: usize| header[at..at + 8].iter().fold(0u64, |acc, &octet| acc << 8 | u64::from(octet));
        let word = |at: usize| header[at..at + 4].iter().fold(0u32, |acc, &octet| acc << 8 | u32::from(octet));
        let frame = Self {
            spi_i: spi(0),
            spi_r: spi(8),
            next: PayloadType(header[16]),
            version: header[17],
            exchange: header[18],
            flags: header[19],
            message_id: word(20),
        };
        Ok((frame, word(24) as usize))
    }

    /// Writes the header with the given total length.
    pub fn emit(&self, length: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.spi_i.to_be_bytes());
        out.extend_from_slice(&self.spi_r.to_be_bytes());
        out.extend_from_slice(&[self.next.0, self.version, self.exchange, self.flags]);
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

/// The payloads of a message, sorted by type. A payload that must not repeat is refused when it does.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Body<'a> {
    pub sa: Option<Vec<Proposal>>,
    pub ke: Option<KePayload<'a>>,
    pub nonce: Option<&'a [u8]>,
    pub id_i: Option<&'a [u8]>,
    pub id_r: Option<&'a [u8]>,
    pub auth: Option<AuthPayload<'a>>,
    pub certs: Vec<CertPayload<'a>>,
    pub cert_requests: Vec<CertPayload<'a>>,
    pub notifies: Vec<Notify<'a>>,
    pub deletes: Vec<Delete>,
    pub ts_i: Option<Vec<TrafficSelector>>,
    pub ts_r: Option<Vec<TrafficSelector>>,
    pub vendors: Vec<&'a [u8]>,
    /// Configuration payload, opaque.
    pub cp: Option<&'a [u8]>,
    /// EAP packet, opaque.
    pub eap: Option<&'a [u8]>,
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), Malformed> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Malformed("repeated payload")),
    }
}

impl<'a> Body<'a> {
    /// Parses a chain that starts with a payload of type `first`.
    pub fn parse(first: PayloadType, bytes: &'a [u8]) -> Result<Self, MessageError> {
        let mut body = Self::default();
        // RFC 7296, section 2.5: an unknown critical payload refuses the whole message, whatever else is in it.
        let mut payloads = Vec::new();
        for payload in Chain::new(first, bytes) {
            let payload = payload?;
            if payload.critical && !payload.kind.is_known() {
                return Err(MessageError::UnsupportedCritical(payload.kind));
            }
            payloads.push(payload);
        }
        for payload in payloads {
            body.add(payload.kind, payload.body)?;
        }
        Ok(body)
    }

    fn add(&mut self, kind: PayloadType, bytes: &'a [u8]) -> Result<(), Malformed> {
        match kind {
            PayloadType::SA => once(&mut self.sa, sa::parse(bytes)?)?,
            PayloadType::KE => once(&mut self.ke, KePayload::parse(bytes)?)?,
            PayloadType::NONCE => once(&mut self.nonce, parse_nonce(bytes)?)?,
            PayloadType::IDI => once(&mut self.id_i, bytes)?,
            PayloadType::IDR => once(&mut self.id_r, bytes)?,
            PayloadType::AUTH => once(&mut self.auth, AuthPayload::parse(bytes)?)?,
            PayloadType::CERT => self.certs.push(CertPayload::parse(bytes)?),
            PayloadType::CERTREQ => self.cert_requests.push(CertPayload::parse(bytes)?),
            PayloadType::NOTIFY => self.notifies.push(Notify::parse(bytes)?),
            PayloadType::DELETE => self.deletes.push(Delete::parse(bytes)?),
            PayloadType::VENDOR => self.vendors.push(bytes),
            PayloadType::TSI => once(&mut self.ts_i, ts::parse(bytes)?)?,
            PayloadType::TSR => once(&mut self.ts_r, ts::parse(bytes)?)?,
            PayloadType::CP => once(&mut self.cp, bytes)?,
            PayloadType::EAP => once(&mut self.eap, bytes)?,
            // Encrypted payloads are opened before their content comes here; one inside another is nonsense.
            PayloadType::SK | PayloadType::SKF => return Err(Malformed("encrypted payload out of place")),
            _ => {}
        }
        Ok(())
    }

    /// The first notification of a type.
    pub fn notify(&self, kind: NotifyType) -> Option<&Notify<'a>> {
        self.notifies.iter().find(|n| n.kind == kind)
    }

    /// Whether there is a notification of a type.
    pub fn has(&self, kind: NotifyType) -> bool {
        self.notify(kind).is_some()
    }

    /// The first error notification.
    pub fn error(&self) -> Option<&Notify<'a>> {
        self.notifies.iter().find(|n| n.kind.is_error())
    }
}

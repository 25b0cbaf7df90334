//! IKEv2 payloads (RFC 7296, section 3.2): a chain in which each payload names the type of the next.
//!
//! ```text
//!   header.next = SA     SA.next = KE      KE.next = Ni      Ni.next = 0
//!   +----------------+  +---------------+  +-------------+  +-------------+
//!   | IKE header     |->| SA            |->| KE          |->| Ni          |
//!   +----------------+  +---------------+  +-------------+  +-------------+
//! ```
//!
//! [`Chain`] walks a chain without interpreting the bodies, [`Builder`] writes one. The Encrypted payloads (SK, SKF)
//! end the chain: their next-payload field names the first payload *inside* them. The bodies have their own modules:
//! [`sa`] for proposals, [`ts`] for traffic selectors, [`notify`] and [`delete`]. KE, ID, CERT, AUTH and nonces are a
//! small fixed prefix and a blob, and are parsed here. CP is carried as an opaque body, and so is EAP once [`eap`] has
//! looked at its header.

pub mod delete;
pub mod eap;
pub mod notify;
pub mod sa;
pub mod ts;

use crate::error::Malformed;

/// A payload type number (IANA "IKEv2 Payload Types").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PayloadType(pub u8);

#[allow(missing_docs)]
impl PayloadType {
    pub const NONE: Self = Self(0);
    pub const SA: Self = Self(33);
    pub const KE: Self = Self(34);
    pub const IDI: Self = Self(35);
    pub const IDR: Self = Self(36);
    pub const CERT: Self = Self(37);
    pub const CERTREQ: Self = Self(38);
    pub const AUTH: Self = Self(39);
    pub const NONCE: Self = Self(40);
    pub const NOTIFY: Self = Self(41);
    pub const DELETE: Self = Self(42);
    pub const VENDOR: Self = Self(43);
    pub const TSI: Self = Self(44);
    pub const TSR: Self = Self(45);
    pub const SK: Self = Self(46);
    pub const CP: Self = Self(47);
    pub const EAP: Self = Self(48);
    pub const SKF: Self = Self(53);

    /// Whether this implementation knows the type. An unknown type with the critical bit set refuses the message
    /// (RFC 7296, section 2.5); for a known type the bit is ignored.
    pub fn is_known(self) -> bool {
        (33..=48).contains(&self.0) || self == Self::SKF
    }
}

/// One payload of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload<'a> {
    /// Its type.
    pub kind: PayloadType,
    /// The critical bit.
    pub critical: bool,
    /// The next-payload field: for SK and SKF, the type of the first inner payload.
    pub next: PayloadType,
    /// What follows the generic header.
    pub body: &'a [u8],
}

/// Length of the generic payload header.
pub const GENERIC_HEADER: usize = 4;

/// Walks a payload chain.
#[derive(Clone, Debug)]
pub struct Chain<'a> {
    next: PayloadType,
    rest: &'a [u8],
    failed: bool,
}

impl<'a> Chain<'a> {
    /// `first` is the type of the payload at the start of `bytes`.
    pub fn new(first: PayloadType, bytes: &'a [u8]) -> Self {
        Self { next: first, rest: bytes, failed: false }
    }

    fn step(&mut self) -> Result<Option<Payload<'a>>, Malformed> {
        if self.next == PayloadType::NONE {
            return if self.rest.is_empty() { Ok(None) } else { Err(Malformed("octets after the last payload")) };
        }
        let [next, flags, hi, lo, ..] = *self.rest else { return Err(Malformed("truncated payload header")) };
        let length = usize::from(u16::from_be_bytes([hi, lo]));
        if length < GENERIC_HEADER || length > self.rest.len() {
            return Err(Malformed("payload length"));
        }
        let (whole, rest) = self.rest.split_at(length);
        let kind = self.next;
        let payload =
            Payload { kind, critical: flags & 0x80 != 0, next: PayloadType(next), body: &whole[GENERIC_HEADER..] };
        // RFC 7296, section 3.14: the Encrypted payload is always the last; its "next" is inside it.
        let last = kind == PayloadType::SK || kind == PayloadType::SKF;
        self.next = if last { PayloadType::NONE } else { payload.next };
        self.rest = rest;
        Ok(Some(payload))
    }
}

impl<'a> Iterator for Chain<'a> {
    type Item = Result<Payload<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let step = self.step().transpose();
        self.failed = matches!(step, Some(Err(_)));
        step
    }
}

/// Writes a payload chain.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    first: Option<PayloadType>,
    last: usize,
    bytes: Vec<u8>,
}

impl Builder {
    /// An empty chain.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a payload whose body `write` emits.
    pub fn push(&mut self, kind: PayloadType, write: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        let start = self.bytes.len();
        if self.first.is_none() {
            self.first = Some(kind);
        } else if let Some(next) = self.bytes.get_mut(self.last) {
            *next = kind.0;
        }
        self.last = start;
        self.bytes.extend_from_slice(&[0; GENERIC_HEADER]);
        write(&mut self.bytes);
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.bytes[start + 2..start + GENERIC_HEADER].copy_from_slice(&length.to_be_bytes());
        self
    }

    /// Appends a payload with a body made elsewhere.
    pub fn raw(&mut self, kind: PayloadType, body: &[u8]) -> &mut Self {
        self.push(kind, |out| out.extend_from_slice(body))
    }

    /// Appends a key exchange payload (section 3.4).
    pub fn ke(&mut self, method: u16, data: &[u8]) -> &mut Self {
        self.push(PayloadType::KE, |out| {
            out.extend_from_slice(&method.to_be_bytes());
            out.extend_from_slice(&[0, 0]);
            out.extend_from_slice(data);
        })
    }

    /// Appends an AUTH payload (section 3.8).
    pub fn auth(&mut self, method: u8, data: &[u8]) -> &mut Self {
        self.push(PayloadType::AUTH, |out| {
            out.extend_from_slice(&[method, 0, 0, 0]);
            out.extend_from_slice(data);
        })
    }

    /// Appends a CERT or CERTREQ payload (sections 3.6 and 3.7).
    pub fn cert(&mut self, kind: PayloadType, encoding: u8, data: &[u8]) -> &mut Self {
        self.push(kind, |out| {
            out.push(encoding);
            out.extend_from_slice(data);
        })
    }

    /// Appends a notification that concerns the IKE SA (no SPI).
    pub fn notify(&mut self, kind: notify::NotifyType, data: &[u8]) -> &mut Self {
        self.push(PayloadType::NOTIFY, |out| notify::Notify { protocol: 0, spi: &[], kind, data }.emit(out))
    }

    /// Appends a notification that concerns the ESP SA `spi`.
    pub fn notify_esp(&mut self, kind: notify::NotifyType, spi: u32) -> &mut Self {
        self.push(PayloadType::NOTIFY, |out| {
            notify::Notify { protocol: sa::PROTO_ESP, spi: &spi.to_be_bytes(), kind, data: &[] }.emit(out);
        })
    }

    /// Appends a chain.
    pub fn append(&mut self, other: &Self) -> &mut Self {
        let Some(first) = other.first else { return self };
        if self.first.is_none() {
            self.first = Some(first);
        } else if let Some(next) = self.bytes.get_mut(self.last) {
            *next = first.0;
        }
        self.last = self.bytes.len() + other.last;
        self.bytes.extend_from_slice(&other.bytes);
        self
    }

    /// Type of the first payload.
    pub fn first(&self) -> PayloadType {
        self.first.unwrap_or(PayloadType::NONE)
    }

    /// The octets of the chain.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A key exchange body (section 3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KePayload<'a> {
    /// Key exchange method (transform type 4 number).
    pub method: u16,
    /// Public value.
    pub data: &'a [u8],
}

impl<'a> KePayload<'a> {
    /// Parses a body.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        match *body {
            [hi, lo, _, _, ref data @ ..] if !data.is_empty() => {
                Ok(Self { method: u16::from_be_bytes([hi, lo]), data })
            }
            _ => Err(Malformed("KE payload")),
        }
    }
}

/// An AUTH body (section 3.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthPayload<'a> {
    /// Authentication method.
    pub method: u8,
    /// MAC or signature.
    pub data: &'a [u8],
}

impl<'a> AuthPayload<'a> {
    /// Parses a body.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        match *body {
            [method, _, _, _, ref data @ ..] if !data.is_empty() => Ok(Self { method, data }),
            _ => Err(Malformed("AUTH payload")),
        }
    }
}

/// A CERT body (section 3.6) or a CERTREQ body (section 3.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertPayload<'a> {
    /// Encoding; 4 is an X.509 certificate for signatures.
    pub encoding: u8,
    /// Certificate, or concatenated SHA-1 hashes of trust anchors' keys.
    pub data: &'a [u8],
}

/// Certificate encoding "X.509 Certificate - Signature".
pub const CERT_X509: u8 = 4;

impl<'a> CertPayload<'a> {
    /// Parses a body.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        match *body {
            [encoding, ref data @ ..] => Ok(Self { encoding, data }),
            _ => Err(Malformed("CERT payload")),
        }
    }
}

/// Checks a nonce's length: 16 to 256 octets (section 3.9).
pub fn parse_nonce(body: &[u8]) -> Result<&[u8], Malformed> {
    if (16..=256).contains(&body.len()) { Ok(body) } else { Err(Malformed("nonce length")) }
}

#[cfg(test)]
mod tests;

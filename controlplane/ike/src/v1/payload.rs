//! ISAKMP payloads (RFC 2408, sections 3.2 to 3.16): a chain with the generic header that IKEv2 kept, and other numbers.
//!
//! ```text
//!   | next payload (1) | reserved (1) | length (2) | body |
//! ```
//!
//! [`Body`] sorts the payloads of a chain. A hash covers the octets behind it as they came ([`Body::after_hash`]); what a
//! cipher needed to fill its last block is no part of them. Chains are written by [`crate::payload::Builder`].

use crate::auth::Identity;
use crate::auth::identity::BadIdentity;
use crate::error::Malformed;
use crate::payload::ts::TrafficSelector;
use crate::payload::{CertPayload, GENERIC_HEADER, PayloadType};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Payload types of IKEv1.
#[allow(missing_docs)]
pub mod kind {
    use super::PayloadType;
    pub const SA: PayloadType = PayloadType(1);
    pub const KE: PayloadType = PayloadType(4);
    pub const ID: PayloadType = PayloadType(5);
    pub const CERT: PayloadType = PayloadType(6);
    pub const CR: PayloadType = PayloadType(7);
    pub const HASH: PayloadType = PayloadType(8);
    pub const SIG: PayloadType = PayloadType(9);
    pub const NONCE: PayloadType = PayloadType(10);
    pub const NOTIFY: PayloadType = PayloadType(11);
    pub const DELETE: PayloadType = PayloadType(12);
    pub const VENDOR: PayloadType = PayloadType(13);
    /// RFC 3947.
    pub const NAT_D: PayloadType = PayloadType(20);
    pub const NAT_OA: PayloadType = PayloadType(21);
    /// draft-ietf-ipsec-nat-t-ike-02 and -03.
    pub const NAT_D_DRAFT: PayloadType = PayloadType(130);
    pub const NAT_OA_DRAFT: PayloadType = PayloadType(131);
    pub const FRAGMENT: PayloadType = PayloadType(132);
}

/// The IPsec domain of interpretation (RFC 2407).
pub const DOI: u32 = 1;
/// Protocol id of ISAKMP.
pub const PROTO_ISAKMP: u8 = 1;
/// Protocol id of ESP.
pub const PROTO_ESP: u8 = 3;

/// More payloads in a message than any peer sends.
const MAX_PAYLOADS: usize = 64;

/// The payloads of a message, sorted by type. A payload that must not repeat is refused when it does.
#[derive(Clone, Debug)]
pub struct Body<'a> {
    /// Body of the SA payload: SAi_b of RFC 2409.
    pub sa: Option<&'a [u8]>,
    /// Public value.
    pub ke: Option<&'a [u8]>,
    /// 8 to 256 octets (RFC 2409, section 5).
    pub nonce: Option<&'a [u8]>,
    /// Bodies: type, protocol, port (2), data. Two at most.
    pub ids: Vec<&'a [u8]>,
    /// CERT payloads.
    pub certs: Vec<CertPayload<'a>>,
    /// Body of HASH.
    pub hash: Option<&'a [u8]>,
    /// Body of SIG.
    pub sig: Option<&'a [u8]>,
    /// Notifications.
    pub notifies: Vec<Notify<'a>>,
    /// Deletes.
    pub deletes: Vec<Delete>,
    /// Vendor ids.
    pub vendors: Vec<&'a [u8]>,
    /// Hashes of addresses, the receiver's first (RFC 3947, section 3.2); of the RFC and of the drafts alike.
    pub nat_d: Vec<&'a [u8]>,
    /// Addresses before translation: the initiator's, then the responder's (RFC 3947, section 5.2).
    pub nat_oa: Vec<IpAddr>,
    /// From the payload after the HASH payload to the end of the last payload, without padding.
    pub after_hash: &'a [u8],
    /// The first payload is a HASH, which phase 2 demands (RFC 2409, section 5.5).
    pub hash_first: bool,
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), Malformed> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Malformed("repeated payload")),
    }
}

impl<'a> Body<'a> {
    /// Parses a chain that starts with a payload of type `first`. Where it is `padded`, octets after the last payload
    /// are padding of the cipher; else they are refused.
    pub fn parse(first: PayloadType, bytes: &'a [u8], padded: bool) -> Result<Self, Malformed> {
        let mut body = Self {
            sa: None,
            ke: None,
            nonce: None,
            ids: Vec::new(),
            certs: Vec::new(),
            hash: None,
            sig: None,
            notifies: Vec::new(),
            deletes: Vec::new(),
            vendors: Vec::new(),
            nat_d: Vec::new(),
            nat_oa: Vec::new(),
            after_hash: &[],
            hash_first: first == kind::HASH,
        };
        let (mut next, mut rest, mut count) = (first, bytes, 0);
        let mut hashed = None;
        while next != PayloadType::NONE {
            let [following, reserved, hi, lo, ..] = *rest else { return Err(Malformed("truncated payload header")) };
            let length = usize::from(u16::from_be_bytes([hi, lo]));
            let (payload, behind) = rest.split_at_checked(length).ok_or(Malformed("payload length"))?;
            let inner = payload.get(GENERIC_HEADER..).ok_or(Malformed("payload length"))?;
            // RFC 2408, section 5.3. What a wrong key made of a message mostly ends here.
            if reserved != 0 {
                return Err(Malformed("reserved octet"));
            }
            count += 1;
            if count > MAX_PAYLOADS {
                return Err(Malformed("too many payloads"));
            }
            body.add(next, inner)?;
            rest = behind;
            if next == kind::HASH {
                hashed = Some(rest);
            }
            next = PayloadType(following);
        }
        if !padded && !rest.is_empty() {
            return Err(Malformed("octets after the last payload"));
        }
        if let Some(hashed) = hashed {
            body.after_hash = hashed.get(..hashed.len() - rest.len()).unwrap_or_default();
        }
        Ok(body)
    }

    fn add(&mut self, kind: PayloadType, bytes: &'a [u8]) -> Result<(), Malformed> {
        match kind {
            kind::SA => once(&mut self.sa, bytes),
            kind::KE if bytes.is_empty() => Err(Malformed("empty KE payload")),
            kind::KE => once(&mut self.ke, bytes),
            kind::NONCE if !(8..=256).contains(&bytes.len()) => Err(Malformed("nonce length")),
            kind::NONCE => once(&mut self.nonce, bytes),
            kind::ID if self.ids.len() == 2 => Err(Malformed("repeated payload")),
            kind::ID if bytes.len() < 4 => Err(Malformed("truncated ID payload")),
            kind::ID => push(&mut self.ids, bytes),
            kind::CERT => push(&mut self.certs, CertPayload::parse(bytes)?),
            kind::HASH => once(&mut self.hash, bytes),
            kind::SIG => once(&mut self.sig, bytes),
            kind::NOTIFY => push(&mut self.notifies, Notify::parse(bytes)?),
            kind::DELETE => push(&mut self.deletes, Delete::parse(bytes)?),
            kind::VENDOR => push(&mut self.vendors, bytes),
            kind::NAT_D | kind::NAT_D_DRAFT => push(&mut self.nat_d, bytes),
            kind::NAT_OA | kind::NAT_OA_DRAFT => push(&mut self.nat_oa, parse_nat_oa(bytes)?),
            _ => Ok(()),
        }
    }

    /// The first notification of a type.
    pub fn notify(&self, kind: u16) -> Option<&Notify<'a>> {
        self.notifies.iter().find(|n| n.kind == kind)
    }
}

fn push<T>(list: &mut Vec<T>, value: T) -> Result<(), Malformed> {
    list.push(value);
    Ok(())
}

/// Notify message types (RFC 2408, section 3.14.1; RFC 2407, section 4.6.3; RFC 3706, section 5.3).
#[allow(missing_docs)]
pub mod notify {
    pub const NO_PROPOSAL_CHOSEN: u16 = 14;
    pub const PAYLOAD_MALFORMED: u16 = 16;
    pub const INVALID_KEY_INFORMATION: u16 = 17;
    pub const INVALID_ID_INFORMATION: u16 = 18;
    /// Types below are errors.
    pub const CONNECTED: u16 = 16384;
    pub const INITIAL_CONTACT: u16 = 24578;
    pub const R_U_THERE: u16 = 36136;
    pub const R_U_THERE_ACK: u16 = 36137;
}

/// A notification (RFC 2408, section 3.14).
///
/// ```text
///   | DOI (4) | protocol (1) | SPI size (1) | type (2) | SPI | data |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notify<'a> {
    /// Domain of interpretation.
    pub doi: u32,
    /// Protocol of `spi`.
    pub protocol: u8,
    /// Its type, of [`notify`].
    pub kind: u16,
    /// The SA it is about; of ISAKMP, both cookies.
    pub spi: &'a [u8],
    /// Data that depends on the type.
    pub data: &'a [u8],
}

impl<'a> Notify<'a> {
    /// Parses a body.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let [d0, d1, d2, d3, protocol, spi_len, hi, lo, ref rest @ ..] = *body else {
            return Err(Malformed("truncated notify"));
        };
        let (spi, data) = rest.split_at_checked(usize::from(spi_len)).ok_or(Malformed("notify SPI length"))?;
        let (doi, kind) = (u32::from_be_bytes([d0, d1, d2, d3]), u16::from_be_bytes([hi, lo]));
        Ok(Self { doi, protocol, kind, spi, data })
    }

    /// Whether it tells of an error (RFC 2408, section 3.14.1).
    pub fn is_error(&self) -> bool {
        self.kind < notify::CONNECTED
    }

    /// Whether it is about the SA that was offered under this SPI; without an SPI of ESP, or with zero in its place, as
    /// strongSwan refuses, it is about any.
    pub fn is_about(&self, spi: Option<u32>) -> bool {
        let named = <[u8; 4]>::try_from(self.spi).map(u32::from_be_bytes);
        let named = named.ok().filter(|named| self.protocol == PROTO_ESP && *named != 0);
        spi.is_some_and(|offered| named.is_none_or(|named| named == offered))
    }

    /// Writes the body. An SPI longer than 255 octets does not exist.
    pub fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.doi.to_be_bytes());
        out.extend_from_slice(&[self.protocol, self.spi.len() as u8]);
        out.extend_from_slice(&self.kind.to_be_bytes());
        out.extend_from_slice(self.spi);
        out.extend_from_slice(self.data);
    }
}

/// What is deleted (RFC 2408, section 3.15).
///
/// ```text
///   | DOI (4) | protocol (1) | SPI size (1) | number of SPIs (2) | SPIs |
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delete {
    /// ISAKMP SAs by their cookies, the initiator's first.
    Isakmp(Vec<(u64, u64)>),
    /// SAs by the SPIs the sender receives on.
    Esp(Vec<u32>),
    /// Another protocol (AH), ignored.
    Other(u8),
}

impl Delete {
    /// Parses a body.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let [_, _, _, _, protocol, spi_len, hi, lo, ref spis @ ..] = *body else {
            return Err(Malformed("truncated delete"));
        };
        let count = usize::from(u16::from_be_bytes([hi, lo]));
        if spis.len() != count * usize::from(spi_len) {
            return Err(Malformed("delete SPI count"));
        }
        let number = |octets: &[u8]| octets.iter().fold(0u64, |acc, &octet| acc << 8 | u64::from(octet));
        match (protocol, spi_len) {
            (PROTO_ISAKMP, 16) => {
                Ok(Self::Isakmp(spis.chunks_exact(16).map(|c| (number(&c[..8]), number(&c[8..]))).collect()))
            }
            (PROTO_ESP, 4) => Ok(Self::Esp(spis.chunks_exact(4).map(|c| number(c) as u32).collect())),
            (PROTO_ISAKMP | PROTO_ESP, _) => Err(Malformed("delete SPI size")),
            (other, _) => Ok(Self::Other(other)),
        }
    }

    /// Writes the body. More than 65535 SPIs are not written.
    pub fn emit(&self, out: &mut Vec<u8>) {
        const MAX: usize = u16::MAX as usize;
        let mut head = |protocol: u8, size: u8, count: usize| {
            out.extend_from_slice(&DOI.to_be_bytes());
            out.extend_from_slice(&[protocol, size]);
            out.extend_from_slice(&(count.min(MAX) as u16).to_be_bytes());
        };
        match self {
            Self::Isakmp(cookies) => {
                head(PROTO_ISAKMP, 16, cookies.len());
                for (i, r) in cookies.iter().take(MAX) {
                    out.extend_from_slice(&i.to_be_bytes());
                    out.extend_from_slice(&r.to_be_bytes());
                }
            }
            Self::Esp(spis) => {
                head(PROTO_ESP, 4, spis.len());
                spis.iter().take(MAX).for_each(|spi| out.extend_from_slice(&spi.to_be_bytes()));
            }
            Self::Other(protocol) => head(*protocol, 0, 0),
        }
    }
}

const ID_IPV4_ADDR: u8 = 1;
const ID_IPV4_ADDR_SUBNET: u8 = 4;
const ID_IPV6_ADDR: u8 = 5;
const ID_IPV6_ADDR_SUBNET: u8 = 6;
const ID_IPV4_ADDR_RANGE: u8 = 7;
const ID_IPV6_ADDR_RANGE: u8 = 8;

/// The identity of a phase 1 ID payload. Its protocol and port say nothing, or name IKE itself (RFC 2407, section
/// 4.6.2; RFC 3947, section 4).
pub fn parse_phase1_id(body: &[u8]) -> Result<Identity, BadIdentity> {
    let [_, protocol, hi, lo, ..] = *body else { return Err(BadIdentity("too short")) };
    match (protocol, u16::from_be_bytes([hi, lo])) {
        (0, 0) | (17, 0 | 500 | 4500) => Identity::parse(body),
        _ => Err(BadIdentity("protocol and port")),
    }
}

/// What a phase 2 ID payload (RFC 2407, section 4.6.2) lets pass: addresses, a protocol (0 is any) and a port, of which
/// 0 is any. Names are refused: no policy can be made of them.
pub fn parse_phase2_id(body: &[u8]) -> Result<TrafficSelector, Malformed> {
    let [kind, protocol, hi, lo, ref data @ ..] = *body else { return Err(Malformed("truncated ID payload")) };
    let ports = match u16::from_be_bytes([hi, lo]) {
        0 => (0, u16::MAX),
        port => (port, port),
    };
    let (first, second) = match (kind, data.len()) {
        (ID_IPV4_ADDR, 4) | (ID_IPV6_ADDR, 16) => (data, data),
        (ID_IPV4_ADDR_SUBNET | ID_IPV4_ADDR_RANGE, 8) | (ID_IPV6_ADDR_SUBNET | ID_IPV6_ADDR_RANGE, 32) => {
            data.split_at(data.len() / 2)
        }
        _ => return Err(Malformed("ID type or length")),
    };
    let (first, second) = address(first).zip(address(second)).ok_or(Malformed("ID type or length"))?;
    let subnet = matches!(kind, ID_IPV4_ADDR_SUBNET | ID_IPV6_ADDR_SUBNET);
    let addresses = if subnet { subnet_range(first, second).ok_or(Malformed("ID mask"))? } else { (first, second) };
    if addresses.0 > addresses.1 {
        return Err(Malformed("ID address range"));
    }
    Ok(TrafficSelector { protocol, ports, addresses })
}

/// The body of a phase 2 ID payload. IKEv1 names one port or all: another range is written as all.
pub fn emit_phase2_id(selector: &TrafficSelector) -> Vec<u8> {
    let (first, last) = selector.addresses;
    let v4 = first.is_ipv4();
    let mask = match (first, last) {
        (IpAddr::V4(a), IpAddr::V4(b)) => prefix_mask(u128::from(u32::from(a) ^ u32::from(b)), 32)
            .filter(|mask| u32::from(a) & !(*mask as u32) == 0)
            .map(|mask| IpAddr::V4(Ipv4Addr::from(mask as u32))),
        (IpAddr::V6(a), IpAddr::V6(b)) => prefix_mask(u128::from(a) ^ u128::from(b), 128)
            .filter(|mask| u128::from(a) & !mask == 0)
            .map(|mask| IpAddr::V6(Ipv6Addr::from(mask))),
        _ => None,
    };
    let (kind, addresses) = match mask {
        _ if first == last => (if v4 { ID_IPV4_ADDR } else { ID_IPV6_ADDR }, vec![first]),
        Some(mask) => (if v4 { ID_IPV4_ADDR_SUBNET } else { ID_IPV6_ADDR_SUBNET }, vec![first, mask]),
        None => (if v4 { ID_IPV4_ADDR_RANGE } else { ID_IPV6_ADDR_RANGE }, vec![first, last]),
    };
    let port = if selector.ports.0 == selector.ports.1 { selector.ports.0 } else { 0 };
    let mut out = vec![kind, selector.protocol];
    out.extend_from_slice(&port.to_be_bytes());
    for address in addresses {
        match address {
            IpAddr::V4(a) => out.extend_from_slice(&a.octets()),
            IpAddr::V6(a) => out.extend_from_slice(&a.octets()),
        }
    }
    out
}

// The mask of a prefix whose last address differs from its first in `difference`.
fn prefix_mask(difference: u128, bits: u32) -> Option<u128> {
    let all = u128::MAX >> (128 - bits);
    (difference & difference.wrapping_add(1) == 0).then_some(all & !difference)
}

fn subnet_range(network: IpAddr, mask: IpAddr) -> Option<(IpAddr, IpAddr)> {
    match (network, mask) {
        (IpAddr::V4(a), IpAddr::V4(m)) => {
            let (a, m) = (u32::from(a), u32::from(m));
            (m.leading_ones() + m.trailing_zeros() >= 32)
                .then(|| (Ipv4Addr::from(a & m).into(), Ipv4Addr::from(a | !m).into()))
        }
        (IpAddr::V6(a), IpAddr::V6(m)) => {
            let (a, m) = (u128::from(a), u128::from(m));
            (m.leading_ones() + m.trailing_zeros() >= 128)
                .then(|| (Ipv6Addr::from(a & m).into(), Ipv6Addr::from(a | !m).into()))
        }
        _ => None,
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
        _ => None,
    }
}

// RFC 3947, section 5.2: type, three reserved octets, address.
fn parse_nat_oa(body: &[u8]) -> Result<IpAddr, Malformed> {
    match *body {
        [ID_IPV4_ADDR, _, _, _, ref data @ ..] if data.len() == 4 => address(data),
        [ID_IPV6_ADDR, _, _, _, ref data @ ..] if data.len() == 16 => address(data),
        _ => None,
    }
    .ok_or(Malformed("NAT-OA payload"))
}

/// The body of a NAT-OA payload.
pub fn emit_nat_oa(address: IpAddr) -> Vec<u8> {
    Identity::Address(address).body()
}

#[cfg(test)]
#[path = "payload_tests.rs"]
mod tests;

//! Attributes to send, in the order in which they are put.

use super::{Attribute, Attributes, EAP_MESSAGE, Kind, MAX_TAG, VENDOR_SPECIFIC};
use crate::packet::Unencodable;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The longest value.
const MAX_VALUE: usize = 253;
/// A vendor's number, and type and length of its attribute.
const VENDOR_HEADER: usize = 6;

/// A list of attributes. One that is too long is remembered and comes out as an error when a packet is made of it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AttributeList {
    octets: Vec<u8>,
    error: Option<Unencodable>,
}

impl AttributeList {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Octets as they are.
    pub fn octets(&mut self, kind: Kind, value: &[u8]) -> &mut Self {
        let header = if kind.vendor == 0 { 0 } else { VENDOR_HEADER };
        let length = u8::try_from(value.len()).ok().filter(|n| usize::from(*n) + header <= MAX_VALUE);
        let Some(length) = length else {
            self.error = self.error.or(Some(Unencodable::Value(kind)));
            return self;
        };
        if kind.vendor != 0 {
            self.octets.extend([VENDOR_SPECIFIC.number, length + 8]);
            self.octets.extend(kind.vendor.to_be_bytes());
        }
        self.octets.extend([kind.number, length + 2]);
        self.octets.extend_from_slice(value);
        self
    }

    /// Text.
    pub fn text(&mut self, kind: Kind, value: &str) -> &mut Self {
        self.octets(kind, value.as_bytes())
    }

    /// An integer, or a time in seconds.
    pub fn u32(&mut self, kind: Kind, value: u32) -> &mut Self {
        self.octets(kind, &value.to_be_bytes())
    }

    /// A 64-bit integer.
    pub fn u64(&mut self, kind: Kind, value: u64) -> &mut Self {
        self.octets(kind, &value.to_be_bytes())
    }

    /// An IPv4 address.
    pub fn ipv4(&mut self, kind: Kind, value: Ipv4Addr) -> &mut Self {
        self.octets(kind, &value.octets())
    }

    /// An IPv6 address.
    pub fn ipv6(&mut self, kind: Kind, value: Ipv6Addr) -> &mut Self {
        self.octets(kind, &value.octets())
    }

    /// An IPv6 prefix: no more octets than its length has (RFC 3162, section 2.3).
    pub fn ipv6_prefix(&mut self, kind: Kind, prefix: Ipv6Addr, length: u8) -> &mut Self {
        let length = length.min(128);
        let prefix = super::mask_ipv6(prefix, u32::from(128 - length)).octets();
        let used = prefix.get(..usize::from(length).div_ceil(8)).unwrap_or_default();
        self.octets(kind, &[&[0, length], used].concat())
    }

    /// An interface identifier.
    pub fn interface_id(&mut self, kind: Kind, value: [u8; 8]) -> &mut Self {
        self.octets(kind, &value)
    }

    /// Text of the tunnel `tag`, 1 to 31; 0 for the only one.
    pub fn tagged_text(&mut self, kind: Kind, tag: u8, value: &str) -> &mut Self {
        self.octets(kind, &[&[tag.min(MAX_TAG)], value.as_bytes()].concat())
    }

    /// An integer below 2²⁴ of the tunnel `tag`.
    pub fn tagged_u32(&mut self, kind: Kind, tag: u8, value: u32) -> &mut Self {
        let [_, a, b, c] = value.to_be_bytes();
        self.octets(kind, &[tag.min(MAX_TAG), a, b, c])
    }

    /// An EAP packet, in as many EAP-Messages as it takes, one after another (RFC 3579, section 3.1).
    pub fn eap_message(&mut self, packet: &[u8]) -> &mut Self {
        for piece in packet.chunks(MAX_VALUE) {
            self.octets(EAP_MESSAGE, piece);
        }
        self
    }

    /// An attribute as it came, of State or Class.
    pub fn copy(&mut self, attribute: Attribute<'_>) -> &mut Self {
        self.octets(attribute.kind, attribute.value)
    }

    /// All those of another list.
    pub fn append(&mut self, other: &AttributeList) -> &mut Self {
        self.octets.extend_from_slice(&other.octets);
        self.error = self.error.or(other.error);
        self
    }

    /// Adds to every integer of an IETF kind.
    pub(crate) fn add_u32(&mut self, kind: Kind, value: u32) {
        let mut rest = self.octets.as_mut_slice();
        while let Some((head, after)) = rest.split_first_chunk_mut::<2>() {
            let (found, next) = after.split_at_mut(usize::from(head[1]).saturating_sub(2).min(after.len()));
            if let (true, Some(octets)) = (head[0] == kind.number, <&mut [u8; 4]>::try_from(found).ok()) {
                *octets = u32::from_be_bytes(*octets).saturating_add(value).to_be_bytes();
            }
            rest = next;
        }
    }

    /// To be looked at.
    pub fn as_attributes(&self) -> Attributes<'_> {
        Attributes(&self.octets)
    }

    /// From octets that [`AttributeList::as_octets`] gave; `None` where they are no attributes.
    pub fn from_octets(octets: Vec<u8>) -> Option<Self> {
        Attributes::parse(&octets)?;
        Some(Self { octets, error: None })
    }

    /// As they stand in a packet.
    pub fn as_octets(&self) -> &[u8] {
        &self.octets
    }

    pub(crate) fn error(&self) -> Option<Unencodable> {
        self.error
    }
}

impl std::fmt::Debug for AttributeList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_attributes().fmt(f)
    }
}

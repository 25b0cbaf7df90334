//! Attributes (RFC 2865, section 5): what they are called, and what their values say.
//!
//! ```text
//!  ┌──────┬────────┬───────────────────────────────┐
//!  │ Type │ Length │ Value, 0 to 253 octets        │
//!  └──────┴────────┴───────────────────────────────┘
//!      26          ┌────────────────┬──────┬────────┬───────┐
//!                  │ vendor, 4      │ type │ length │ value │ ...   Vendor-Specific holds a vendor's own
//!                  └────────────────┴──────┴────────┴───────┘
//!   tagged         ┌─────┬─────────────────────────┐
//!                  │ tag │ value                   │               tag 1 to 31: belongs to that tunnel (RFC 2868)
//!                  └─────┴─────────────────────────┘
//!   IPv6 prefix    ┌───┬────────┬──────────────────┐
//!                  │ 0 │ length │ 0 to 16 octets   │               RFC 3162, section 2.3
//!                  └───┴────────┴──────────────────┘
//! ```
//!
//! A vendor's attributes stand among the others, named by their [`Kind`]. A getter tells what is absent from what is
//! there and cannot be read, which is an error that names the attribute.

mod kind;
mod list;

pub(crate) use kind::kinds;
pub use kind::*;
pub use list::AttributeList;

use crate::packet::HEADER;
use crate::route::{Route, mask_ipv6};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The largest tag; a greater octet is the first of untagged text (RFC 2868, section 3.3).
const MAX_TAG: u8 = 0x1f;

/// An attribute that cannot be read as what it should hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} is not {expected} ({length} octets)")]
pub struct Invalid {
    /// Which attribute.
    pub kind: Kind,
    /// What it should hold.
    pub expected: &'static str,
    /// Octets it has.
    pub length: usize,
}

/// One attribute.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Which.
    pub kind: Kind,
    /// Its value.
    pub value: &'a [u8],
}

impl<'a> Attribute<'a> {
    fn or<T>(&self, expected: &'static str, value: Option<T>) -> Result<T, Invalid> {
        value.ok_or(Invalid { kind: self.kind, expected, length: self.value.len() })
    }

    fn array<const N: usize>(&self, expected: &'static str) -> Result<[u8; N], Invalid> {
        self.or(expected, self.value.try_into().ok())
    }

    /// UTF-8 text.
    ///
    /// # Errors
    /// It is none.
    pub fn text(&self) -> Result<&'a str, Invalid> {
        self.or("text", str::from_utf8(self.value).ok())
    }

    /// Four octets.
    ///
    /// # Errors
    /// There are not four.
    pub fn u32(&self) -> Result<u32, Invalid> {
        self.array("an integer").map(u32::from_be_bytes)
    }

    /// Eight octets.
    ///
    /// # Errors
    /// There are not eight.
    pub fn u64(&self) -> Result<u64, Invalid> {
        self.array("a 64-bit integer").map(u64::from_be_bytes)
    }

    /// An IPv4 address.
    ///
    /// # Errors
    /// There are not four octets.
    pub fn ipv4(&self) -> Result<Ipv4Addr, Invalid> {
        self.array("an IPv4 address").map(|a: [u8; 4]| a.into())
    }

    /// An IPv6 address.
    ///
    /// # Errors
    /// There are not sixteen octets.
    pub fn ipv6(&self) -> Result<Ipv6Addr, Invalid> {
        self.array("an IPv6 address").map(|a: [u8; 16]| a.into())
    }

    /// An IPv6 prefix and its length in bits; bits beyond it are cleared.
    ///
    /// # Errors
    /// A length above 128, or octets that do not hold it.
    pub fn ipv6_prefix(&self) -> Result<(Ipv6Addr, u8), Invalid> {
        let prefix = || {
            let (&[_, length], octets) = self.value.split_first_chunk()?;
            let unused = 128u8.checked_sub(length)?;
            if usize::from(length).div_ceil(8) > octets.len() {
                return None;
            }
            let mut whole = [0; 16];
            whole.get_mut(..octets.len())?.copy_from_slice(octets);
            Some((mask_ipv6(whole.into(), unused.into()), length))
        };
        self.or("an IPv6 prefix", prefix())
    }

    /// An interface identifier (RFC 3162, section 2.2).
    ///
    /// # Errors
    /// There are not eight octets.
    pub fn interface_id(&self) -> Result<[u8; 8], Invalid> {
        self.array("an interface identifier")
    }

    /// A route.
    ///
    /// # Errors
    /// It is no route in text.
    pub fn route(&self) -> Result<Route, Invalid> {
        self.or("a route", self.text()?.parse().ok())
    }

    /// Tag, 0 without one, and text (RFC 2868, section 3.3).
    ///
    /// # Errors
    /// It is no text.
    pub fn tagged_text(&self) -> Result<(u8, &'a str), Invalid> {
        let (tag, rest) = match self.value.split_first() {
            Some((tag, rest)) if *tag <= MAX_TAG => (*tag, rest),
            _ => (0, self.value),
        };
        self.or("tagged text", str::from_utf8(rest).ok()).map(|text| (tag, text))
    }

    /// Tag and an integer of three octets (RFC 2868, section 3.1).
    ///
    /// # Errors
    /// There are not four octets in all.
    pub fn tagged_u32(&self) -> Result<(u8, u32), Invalid> {
        self.array("a tagged integer").map(|[tag, a, b, c]| (tag, u32::from_be_bytes([0, a, b, c])))
    }
}

impl std::fmt::Debug for Attribute<'_> {
    /// Without the value, which may be a credential.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}]", self.kind, self.value.len())
    }
}

/// The attributes of a packet, in their order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// Attributes that fill `octets` exactly.
    pub fn parse(octets: &'a [u8]) -> Option<Self> {
        let mut rest = octets;
        while let Some((_, _, after)) = split(rest) {
            rest = after;
        }
        rest.is_empty().then_some(Self(octets))
    }

    /// Those of a packet that has been parsed.
    pub(crate) fn of_packet(packet: &'a [u8]) -> Self {
        Self(packet.get(HEADER..).unwrap_or_default())
    }

    /// Every one; in the place of a Vendor-Specific those it holds, unless they do not fill it.
    pub fn iter(self) -> impl Iterator<Item = Attribute<'a>> {
        tlvs(self.0).flat_map(|(number, value)| {
            let whole = Attribute { kind: Kind { vendor: 0, number }, value };
            let inner = if whole.kind == VENDOR_SPECIFIC { vendors(value) } else { None };
            let (vendor, octets) = inner.unwrap_or((0, &[]));
            let inside = move |(number, value)| Attribute { kind: Kind { vendor, number }, value };
            inner.is_none().then_some(whole).into_iter().chain(tlvs(octets).map(inside))
        })
    }

    /// Those of a kind.
    pub fn all(self, kind: Kind) -> impl Iterator<Item = Attribute<'a>> {
        self.iter().filter(move |a| a.kind == kind)
    }

    /// The first of a kind.
    pub fn first(self, kind: Kind) -> Option<Attribute<'a>> {
        self.all(kind).next()
    }

    /// The value of the first of a kind.
    pub fn octets(self, kind: Kind) -> Option<&'a [u8]> {
        self.first(kind).map(|a| a.value)
    }

    /// The EAP packet that the EAP-Messages make up together (RFC 3579, section 3.1).
    pub fn eap_message(self) -> Option<Vec<u8>> {
        self.first(EAP_MESSAGE).map(|_| self.all(EAP_MESSAGE).flat_map(|a| a.value).copied().collect())
    }
}

/// Getters of the first of a kind.
macro_rules! firsts {
    ($($name:ident -> $type:ty, $doc:literal;)*) => {
        impl<'a> Attributes<'a> {
            $(
                #[doc = concat!("The first of a kind, ", $doc, ".")]
                ///
                /// # Errors
                /// It cannot be read so.
                pub fn $name(self, kind: Kind) -> Result<Option<$type>, Invalid> {
                    self.first(kind).map(|a| a.$name()).transpose()
                }
            )*
        }
    };
}

firsts! {
    text -> &'a str, "text";
    u32 -> u32, "an integer";
    u64 -> u64, "a 64-bit integer";
    ipv4 -> Ipv4Addr, "an IPv4 address";
    ipv6 -> Ipv6Addr, "an IPv6 address";
    ipv6_prefix -> (Ipv6Addr, u8), "an IPv6 prefix";
    interface_id -> [u8; 8], "an interface identifier";
    tagged_text -> (u8, &'a str), "a tag and text";
    tagged_u32 -> (u8, u32), "a tag and an integer";
}

impl std::fmt::Debug for Attributes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The vendor and its attributes in a Vendor-Specific, if there are any and nothing else. Vendor 0 would be the IETF.
fn vendors(value: &[u8]) -> Option<(u32, &[u8])> {
    let (vendor, octets) = value.split_first_chunk()?;
    let vendor = u32::from_be_bytes(*vendor);
    (vendor != 0 && !octets.is_empty() && Attributes::parse(octets).is_some()).then_some((vendor, octets))
}

/// Type, value and what follows.
fn split(octets: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[number, length], rest) = octets.split_first_chunk()?;
    let (value, after) = rest.split_at_checked(usize::from(length).checked_sub(2)?)?;
    Some((number, value, after))
}

fn tlvs(mut rest: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (number, value, after) = split(rest)?;
        rest = after;
        Some((number, value))
    })
}

#[cfg(test)]
mod tests;

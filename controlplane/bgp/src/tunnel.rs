//! Tunnel Encapsulation attribute (RFC 9012): through which tunnels the egress of a route can be reached.
//!
//! ```text
//!  attribute   | TLV | TLV | ...                               each TLV is one tunnel, a choice
//!  TLV         | Tunnel type (2) | Length (2) | sub-TLV ... |
//!  sub-TLV     | Type (1) | Length (1, or 2 for types 128-255) | Value ... |
//! ```
//!
//! A softwire of the mesh is IP in IP, type 7. TLVs of other types, and sub-TLVs that say nothing about IP in IP,
//! are carried byte for byte and otherwise passed over (section 13). A tunnel that needs no more than its type is
//! signalled by the Encapsulation extended community instead (section 4.1); both become a [`Tunnel`].

use crate::attribute::{Attributes, ExtendedCommunity};
use crate::message::family::{AFI_IPV4, AFI_IPV6};
use crate::message::reader::Reader;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Tunnel type of IP in IP.
pub const IP_IN_IP: u16 = 7;
/// Protocol type of an IPv4 payload.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// Protocol type of an IPv6 payload.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;

/// Tunnel types whose TLVs are read: those that RFC 9012 defines, section 3.2.
const RECOGNIZED: [u16; 6] = [1, 2, IP_IN_IP, 8, 9, 11];

mod sub_tlv {
    pub(super) const PROTOCOL_TYPE: u8 = 2;
    pub(super) const COLOR: u8 = 4;
    pub(super) const EGRESS_ENDPOINT: u8 = 6;
    pub(super) const DS: u8 = 7;
}

/// Sub-TLV types from here on have a length of two octets.
const LONG: u8 = 128;

/// A Tunnel Encapsulation attribute: at least one TLV.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TunnelEncap {
    tlvs: Vec<Tlv>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Tlv {
    /// Of a type in [`RECOGNIZED`], with exactly one well-formed egress endpoint.
    Recognized { tunnel_type: u16, sub_tlvs: Vec<SubTlv> },
    /// Of any other type.
    Unrecognized { tunnel_type: u16, value: Vec<u8> },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct SubTlv {
    kind: u8,
    value: Vec<u8>,
}

/// Why the attribute is malformed as a whole: its route is treated as withdrawn (section 13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TunnelError {
    /// A TLV, or a sub-TLV of a type of tunnel that is read, runs over the end.
    #[error("a TLV does not end where its last sub-TLV ends")]
    Framing,
    /// No TLV, or none whose egress endpoint can be read.
    #[error("no valid TLV")]
    Empty,
}

/// An IP-in-IP tunnel that a route offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Where it ends.
    pub endpoint: IpAddr,
    /// Its colors (section 3.4.2); none is a tunnel for all.
    pub colors: Vec<u32>,
    /// Ethertypes of the payloads it takes, [`ETHERTYPE_IPV4`] or [`ETHERTYPE_IPV6`]; none is both.
    pub protocols: Vec<u16>,
    /// DS field of the outer header (section 3.3.1); `None` leaves it to the encapsulator.
    pub ds: Option<u8>,
}

impl TunnelEncap {
    /// Reads the attribute's value. A TLV without exactly one well-formed egress endpoint is dropped, which is both to
    /// ignore it and not to pass it on (section 13). `martians` takes endpoints out of special-purpose blocks too
    /// (section 3.1).
    pub fn decode(value: &[u8], martians: bool) -> Result<Self, TunnelError> {
        let mut tlvs = Vec::new();
        let mut reader = Reader(value);
        while !reader.is_empty() {
            let (tunnel_type, value) = take_tlv(&mut reader).ok_or(TunnelError::Framing)?;
            if !RECOGNIZED.contains(&tunnel_type) {
                tlvs.push(Tlv::Unrecognized { tunnel_type, value: value.to_vec() });
                continue;
            }
            let sub_tlvs = SubTlv::decode_all(value).ok_or(TunnelError::Framing)?;
            if egress(&sub_tlvs).is_some_and(|end| martians || !end.is_some_and(is_martian)) {
                tlvs.push(Tlv::Recognized { tunnel_type, sub_tlvs });
            }
        }
        if tlvs.is_empty() { Err(TunnelError::Empty) } else { Ok(Self { tlvs }) }
    }

    /// Writes the attribute's value.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for tlv in &self.tlvs {
            let mut body = Vec::new();
            let tunnel_type = match tlv {
                Tlv::Recognized { tunnel_type, sub_tlvs } => {
                    sub_tlvs.iter().for_each(|sub_tlv| sub_tlv.encode(&mut body));
                    tunnel_type
                }
                Tlv::Unrecognized { tunnel_type, value } => {
                    body.extend_from_slice(value);
                    tunnel_type
                }
            };
            out.extend_from_slice(&tunnel_type.to_be_bytes());
            out.extend_from_slice(&(body.len() as u16).to_be_bytes());
            out.extend_from_slice(&body);
        }
    }

    /// The IP-in-IP tunnels, in order, for a route with this next hop.
    pub fn usable(&self, next_hop: IpAddr) -> Vec<Tunnel> {
        let tunnel = |(sub_tlvs, endpoint): (&[SubTlv], _)| Tunnel {
            endpoint,
            colors: values(sub_tlvs, sub_tlv::COLOR).filter_map(color).collect(),
            protocols: values(sub_tlvs, sub_tlv::PROTOCOL_TYPE).filter_map(protocol).collect(),
            ds: values(sub_tlvs, sub_tlv::DS).next().and_then(|value| <[u8; 1]>::try_from(value).ok()).map(|[ds]| ds),
        };
        self.ip_in_ip(next_hop).map(tunnel).collect()
    }

    /// Where the IP-in-IP tunnels end. A route with the attribute is resolvable only through one of them
    /// (section 7.1).
    pub fn endpoints(&self, next_hop: IpAddr) -> impl Iterator<Item = IpAddr> + '_ {
        self.ip_in_ip(next_hop).map(|(_, endpoint)| endpoint)
    }

    /// Adds a tunnel of a type that is not read here, such as those of RFC 5566, to what a route of our own offers.
    pub fn offer_unread(tunnel_type: u16, endpoint: IpAddr, attributes: &mut Attributes) {
        let mut value = Vec::new();
        SubTlv::egress_endpoint(endpoint).encode(&mut value);
        let encap = attributes.tunnel_encap.get_or_insert_with(|| Self { tlvs: Vec::new() });
        encap.tlvs.push(Tlv::Unrecognized { tunnel_type, value });
    }

    fn ip_in_ip(&self, next_hop: IpAddr) -> impl Iterator<Item = (&[SubTlv], IpAddr)> + '_ {
        self.tlvs.iter().filter_map(move |tlv| match tlv {
            Tlv::Recognized { tunnel_type: IP_IN_IP, sub_tlvs } => {
                Some((&sub_tlvs[..], egress(sub_tlvs)?.unwrap_or(next_hop)))
            }
            _ => None,
        })
    }

    /// What remains when the next hop of the route is changed: a tunnel that ends at the next hop would then end at
    /// another.
    pub(crate) fn without_next_hop(&self) -> Option<Self> {
        let stays = |tlv: &&Tlv| match tlv {
            Tlv::Recognized { sub_tlvs, .. } => egress(sub_tlvs).flatten().is_some(),
            Tlv::Unrecognized { .. } => true,
        };
        let tlvs: Vec<Tlv> = self.tlvs.iter().filter(stays).cloned().collect();
        (!tlvs.is_empty()).then_some(Self { tlvs })
    }
}

impl Tunnel {
    /// A tunnel to `endpoint` for everything.
    pub fn to(endpoint: IpAddr) -> Self {
        Self { endpoint, colors: Vec::new(), protocols: Vec::new(), ds: None }
    }

    /// The IP-in-IP tunnels that a route offers, by the attribute and by the extended community.
    pub fn offered(attributes: &Attributes) -> Vec<Self> {
        let next_hop = attributes.next_hop.resolve();
        let mut tunnels = attributes.tunnel_encap.as_ref().map_or_else(Vec::new, |encap| encap.usable(next_hop));
        let barebones = Self::to(next_hop);
        let signalled = attributes.extended_communities.iter().any(|c| c.encapsulation() == Some(IP_IN_IP));
        if signalled && !tunnels.contains(&barebones) {
            tunnels.push(barebones);
        }
        tunnels
    }

    /// Adds the tunnel to what a route of our own offers: by the extended community when that says all of it
    /// (section 4.1), else by a TLV.
    pub fn offer(&self, attributes: &mut Attributes) {
        if *self == Self::to(attributes.next_hop.resolve()) {
            let community = ExtendedCommunity::from_encapsulation(IP_IN_IP);
            if !attributes.extended_communities.contains(&community) {
                attributes.extended_communities.push(community);
            }
            return;
        }
        let mut sub_tlvs = vec![SubTlv::egress_endpoint(self.endpoint)];
        let words = self.protocols.iter().map(|p| (sub_tlv::PROTOCOL_TYPE, p.to_be_bytes().to_vec()));
        let colors = self.colors.iter().map(|c| (sub_tlv::COLOR, ExtendedCommunity::from_color(*c).0.to_vec()));
        let ds = self.ds.iter().map(|ds| (sub_tlv::DS, vec![*ds]));
        sub_tlvs.extend(words.chain(colors).chain(ds).map(|(kind, value)| SubTlv { kind, value }));
        let encap = attributes.tunnel_encap.get_or_insert_with(|| TunnelEncap { tlvs: Vec::new() });
        encap.tlvs.push(Tlv::Recognized { tunnel_type: IP_IN_IP, sub_tlvs });
    }

    /// Whether a payload of this Ethertype may go through it (section 3.4.1).
    pub fn carries(&self, ethertype: u16) -> bool {
        self.protocols.is_empty() || self.protocols.contains(&ethertype)
    }

    /// Whether a route of these colors may use it (section 8): a tunnel with colors needs one in common.
    pub fn matches(&self, mut colors: impl Iterator<Item = u32>) -> bool {
        self.colors.is_empty() || colors.any(|color| self.colors.contains(&color))
    }
}

impl SubTlv {
    /// Reads the sub-TLVs that fill `bytes`.
    fn decode_all(bytes: &[u8]) -> Option<Vec<Self>> {
        let mut sub_tlvs = Vec::new();
        let mut reader = Reader(bytes);
        while !reader.is_empty() {
            let kind = reader.u8()?;
            let length = if kind < LONG { u16::from(reader.u8()?) } else { reader.u16()? };
            sub_tlvs.push(Self { kind, value: reader.take(usize::from(length))?.to_vec() });
        }
        Some(sub_tlvs)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.kind);
        match self.kind < LONG {
            true => out.push(self.value.len() as u8),
            false => out.extend_from_slice(&(self.value.len() as u16).to_be_bytes()),
        }
        out.extend_from_slice(&self.value);
    }

    fn egress_endpoint(address: IpAddr) -> Self {
        let mut value = vec![0; 4];
        match address {
            IpAddr::V4(v4) => {
                value.extend_from_slice(&AFI_IPV4.to_be_bytes());
                value.extend_from_slice(&v4.octets());
            }
            IpAddr::V6(v6) => {
                value.extend_from_slice(&AFI_IPV6.to_be_bytes());
                value.extend_from_slice(&v6.octets());
            }
        }
        Self { kind: sub_tlv::EGRESS_ENDPOINT, value }
    }
}

fn take_tlv<'a>(reader: &mut Reader<'a>) -> Option<(u16, &'a [u8])> {
    let (tunnel_type, length) = (reader.u16()?, reader.u16()?);
    Some((tunnel_type, reader.take(usize::from(length))?))
}

fn values(sub_tlvs: &[SubTlv], kind: u8) -> impl Iterator<Item = &[u8]> {
    sub_tlvs.iter().filter(move |s| s.kind == kind).map(|s| &s.value[..])
}

/// The egress endpoint of a TLV; the inner `None` is the next hop of the route. The outer is a TLV without exactly
/// one, or with one that is malformed.
///
/// ```text
/// | Reserved (4) | Address family (2) | Address (0, 4 or 16) |
/// ```
fn egress(sub_tlvs: &[SubTlv]) -> Option<Option<IpAddr>> {
    let mut endpoints = values(sub_tlvs, sub_tlv::EGRESS_ENDPOINT);
    let (Some(value), None) = (endpoints.next(), endpoints.next()) else { return None };
    let mut reader = Reader(value);
    reader.u32()?;
    let address = match reader.u16()? {
        0 => None,
        AFI_IPV4 => Some(IpAddr::V4(reader.ipv4()?)),
        AFI_IPV6 => Some(IpAddr::V6(reader.ipv6()?)),
        _ => return None,
    };
    reader.is_empty().then_some(address)
}

/// A Color sub-TLV is a Color extended community; anything else is as if it were not there (section 3.4.2).
fn color(value: &[u8]) -> Option<u32> {
    let community = ExtendedCommunity(value.try_into().ok()?);
    community.color().map(|color| color.value)
}

/// IP in IP takes IP: another Protocol Type is ignored (section 3.4.1).
fn protocol(value: &[u8]) -> Option<u16> {
    let ethertype = u16::from_be_bytes(value.try_into().ok()?);
    matches!(ethertype, ETHERTYPE_IPV4 | ETHERTYPE_IPV6).then_some(ethertype)
}

/// Whether the IANA special-purpose registries say that the address is no destination or is not forwarded.
fn is_martian(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_martian_v4(v4),
        IpAddr::V6(v6) => is_martian_v6(v6),
    }
}

fn is_martian_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    matches!((a, b, c), (0 | 127, ..) | (169, 254, _) | (192, 0, 0 | 2) | (198, 51, 100) | (203, 0, 113) | (224.., ..))
}

fn is_martian_v6(address: Ipv6Addr) -> bool {
    let s = address.segments();
    let unspecified_or_loopback = s[..7] == [0; 7] && s[7] <= 1;
    let mapped = s[..6] == [0, 0, 0, 0, 0, 0xffff];
    let documentation = s[0] == 0x2001 && s[1] == 0xdb8 || s[0] == 0x3fff && s[1] < 0x1000;
    let link_local = s[0] & 0xffc0 == 0xfe80;
    let multicast = s[0] >= 0xff00;
    unspecified_or_loopback || mapped || documentation || link_local || multicast
}

#[cfg(test)]
mod tests;

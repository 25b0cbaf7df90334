//! Attributes off the wire. Each fault gets the action that RFC 7606 and the attribute's own RFC give it; only what
//! leaves the NLRI uncertain is an error.

use super::code::*;
use super::community::{Community, ExtendedCommunity, LargeCommunity};
use super::{
    Aggregator, AsPath, Attributes, EXTENDED_LENGTH, NextHop, OPTIONAL, Origin, PARTIAL, RawAttribute, TRANSITIVE,
};
use crate::error::{Action, Fault, Reason};
use crate::message::family::AFI_IPV6;
use crate::message::reader::Reader;
use crate::message::{Family, Negotiated, Notification};
use crate::tunnel::TunnelEncap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What the attributes of an UPDATE say.
pub(crate) struct Parsed<'a> {
    /// All but the next hop, which is that of the NLRI field or that of [`Reach`].
    pub(crate) attributes: Attributes,
    /// NEXT_HOP.
    pub(crate) next_hop: Option<Ipv4Addr>,
    /// MP_REACH_NLRI.
    pub(crate) reach: Option<Reach<'a>>,
    /// MP_UNREACH_NLRI: the family, if it is spoken here, and the prefixes.
    pub(crate) unreach: Option<(Option<Family>, &'a [u8])>,
    /// Faults, in order.
    pub(crate) faults: Vec<Fault>,
    /// What the peer is told if the first of the faults that are more than a discard ends the session after all
    /// (RFC 7606, section 5.2).
    pub(crate) escalation: Option<Notification>,
    /// There is an attribute other than MP_UNREACH_NLRI.
    pub(crate) others: bool,
    seen: [bool; 256],
    as4_path: Option<AsPath>,
    as4_aggregator: Option<Aggregator>,
}

/// MP_REACH_NLRI (RFC 4760, section 3).
pub(crate) struct Reach<'a> {
    pub(crate) family: Family,
    pub(crate) next_hop: NextHop,
    pub(crate) nlri: &'a [u8],
}

/// What is wrong with an attribute.
enum Flaw {
    Reset(Notification),
    Fault(Action, Reason),
}

const fn withdraw(reason: Reason) -> Flaw {
    Flaw::Fault(Action::TreatAsWithdraw, reason)
}

const fn discard(reason: Reason) -> Flaw {
    Flaw::Fault(Action::AttributeDiscard, reason)
}

impl<'a> Parsed<'a> {
    /// Reads the path attributes field.
    pub(crate) fn read(field: &'a [u8], n: &Negotiated) -> Result<Self, Notification> {
        let mut parsed = Self {
            attributes: Attributes::new(NextHop::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED))),
            next_hop: None,
            reach: None,
            unreach: None,
            faults: Vec::new(),
            escalation: None,
            others: false,
            seen: [false; 256],
            as4_path: None,
            as4_aggregator: None,
        };
        let mut rest = field;
        while !rest.is_empty() {
            let Some((raw, next)) = Raw::take(rest) else {
                parsed.others = true;
                let code = rest.get(1).copied().unwrap_or(0);
                parsed.fault(code, Action::TreatAsWithdraw, Reason::Overrun, rest);
                break;
            };
            rest = next;
            parsed.others |= raw.code != MP_UNREACH_NLRI;
            match parsed.attribute(&raw, n) {
                Ok(()) => {}
                Err(Flaw::Reset(notification)) => return Err(notification),
                Err(Flaw::Fault(action, reason)) => parsed.fault(raw.code, action, reason, raw.whole),
            }
        }
        parsed.merge_as4();
        Ok(parsed)
    }

    /// Faults those of the well-known mandatory attributes that are missing.
    pub(crate) fn require(&mut self, codes: &[u8]) {
        for &code in codes {
            if !self.seen[usize::from(code)] {
                self.fault(code, Action::TreatAsWithdraw, Reason::Missing, &[]);
            }
        }
    }

    /// There is reachability of a family that is not spoken here.
    pub(crate) fn foreign_nlri(&self) -> bool {
        self.seen[usize::from(MP_REACH_NLRI)] && self.reach.is_none()
    }

    /// Notes a fault of the attribute whose octets are `whole`.
    pub(crate) fn fault(&mut self, attribute: u8, action: Action, reason: Reason, whole: &[u8]) {
        if action == Action::TreatAsWithdraw {
            self.escalation.get_or_insert_with(|| notification(attribute, reason, whole));
        }
        self.faults.push(Fault { attribute, action, reason });
    }

    fn attribute(&mut self, raw: &Raw<'a>, n: &Negotiated) -> Result<(), Flaw> {
        let seen = &mut self.seen[usize::from(raw.code)];
        if std::mem::replace(seen, true) {
            return Err(match raw.code {
                MP_REACH_NLRI | MP_UNREACH_NLRI => Flaw::Reset(Notification::malformed_attribute_list()),
                _ => discard(Reason::Duplicate),
            });
        }
        check_flags(raw)?;
        let known = self.known(raw, n)?;
        if known {
            if raw.flags & (OPTIONAL | TRANSITIVE | PARTIAL) == OPTIONAL | TRANSITIVE | PARTIAL {
                self.attributes.partial |= 1 << raw.code;
            }
        } else if raw.flags & OPTIONAL == 0 {
            return Err(Flaw::Reset(Notification::unrecognized_well_known(raw.whole.to_vec())));
        } else if raw.flags & TRANSITIVE != 0 {
            let flags = raw.flags & !EXTENDED_LENGTH | PARTIAL;
            self.attributes.unknown.push(RawAttribute { flags, code: raw.code, value: raw.value.to_vec() });
        }
        Ok(())
    }

    /// Reads an attribute; `false` for one that is not understood here.
    fn known(&mut self, raw: &Raw<'a>, n: &Negotiated) -> Result<bool, Flaw> {
        let value = raw.value;
        let a = &mut self.attributes;
        match raw.code {
            ORIGIN => {
                let [number] = fixed(value)?;
                a.origin = Origin::from_number(number).ok_or(withdraw(Reason::Value))?;
            }
            AS_PATH => a.as_path = AsPath::decode(value, n.four_octet_as).ok_or(withdraw(Reason::Value))?,
            NEXT_HOP => {
                let address = Ipv4Addr::from(fixed::<4>(value)?);
                if !is_host(IpAddr::V4(address)) {
                    return Err(withdraw(Reason::Value));
                }
                self.next_hop = Some(address);
            }
            MULTI_EXIT_DISC => a.med = Some(u32::from_be_bytes(fixed(value)?)),
            LOCAL_PREF => {
                internal(n)?;
                a.local_pref = Some(u32::from_be_bytes(fixed(value)?));
            }
            ATOMIC_AGGREGATE => {
                if !value.is_empty() {
                    return Err(discard(Reason::Length));
                }
                a.atomic_aggregate = true;
            }
            AGGREGATOR => a.aggregator = Some(aggregator(value, n.four_octet_as)?),
            COMMUNITIES => a.communities = list(value, |word| Community(u32::from_be_bytes(word)))?,
            ORIGINATOR_ID => {
                internal(n)?;
                a.originator_id = Some(Ipv4Addr::from(fixed::<4>(value)?));
            }
            CLUSTER_LIST => {
                internal(n)?;
                a.cluster_list = list(value, |id: [u8; 4]| Ipv4Addr::from(id))?;
            }
            MP_REACH_NLRI => self.mp_reach(raw, n)?,
            MP_UNREACH_NLRI => self.unreach = Some(mp_unreach(raw)?),
            EXTENDED_COMMUNITIES => a.extended_communities = list(value, ExtendedCommunity)?,
            AS4_PATH if !n.four_octet_as => {
                self.as4_path = Some(AsPath::decode(value, true).ok_or(discard(Reason::Value))?);
            }
            AS4_AGGREGATOR if !n.four_octet_as => self.as4_aggregator = Some(aggregator(value, true)?),
            AS4_PATH | AS4_AGGREGATOR => return Err(discard(Reason::Unexpected)),
            TUNNEL_ENCAP => {
                let tunnels = TunnelEncap::decode(value, n.martian_endpoints);
                a.tunnel_encap = Some(tunnels.map_err(|_| withdraw(Reason::Value))?);
            }
            IPV6_EXTENDED_COMMUNITIES => {
                list(value, |_: [u8; 20]| ())?;
                return Ok(false);
            }
            LARGE_COMMUNITIES => {
                let all = list(value, |[a, b, c, d, e, f, g, h, i, j, k, l]| LargeCommunity {
                    global: u32::from_be_bytes([a, b, c, d]),
                    local1: u32::from_be_bytes([e, f, g, h]),
                    local2: u32::from_be_bytes([i, j, k, l]),
                })?;
                for community in all {
                    if !a.large_communities.contains(&community) {
                        a.large_communities.push(community);
                    }
                }
            }
            ONLY_TO_CUSTOMER => a.only_to_customer = Some(u32::from_be_bytes(fixed(value)?)),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// ```text
    /// | AFI (2) | SAFI (1) | Length (1) | Next hop | Reserved (1) | NLRI ... |
    /// ```
    fn mp_reach(&mut self, raw: &Raw<'a>, n: &Negotiated) -> Result<(), Flaw> {
        let broken = || Flaw::Reset(Notification::optional_attribute(raw.whole.to_vec()));
        let mut reader = Reader(raw.value);
        let (afi, safi) = (reader.u16().ok_or_else(broken)?, reader.u8().ok_or_else(broken)?);
        let length = usize::from(reader.u8().ok_or_else(broken)?);
        let next_hop = reader.take(length).ok_or_else(broken)?;
        reader.u8().ok_or_else(broken)?;
        let nlri = reader.rest();
        let Some(family) = Family::from_numbers(afi, safi) else { return Err(discard(Reason::Family)) };
        let next_hop = mp_next_hop(family, next_hop).ok_or_else(broken)?;
        self.reach = Some(Reach { family, next_hop, nlri });
        let foreign = next_hop.address.is_ipv6() && family == Family::Ipv4Unicast;
        if foreign && !n.extended_next_hop.contains(&(family, AFI_IPV6)) {
            return Err(withdraw(Reason::Unexpected));
        }
        if !is_host(next_hop.address) {
            return Err(withdraw(Reason::Value));
        }
        Ok(())
    }

    /// AGGREGATOR first: an AS of its own in it says that an old speaker made it, who left AS4_PATH behind its time
    /// (RFC 6793, section 4.2.3).
    fn merge_as4(&mut self) {
        if let (Some(aggregator), Some(as4)) = (&mut self.attributes.aggregator, self.as4_aggregator) {
            if aggregator.asn != crate::message::open::AS_TRANS {
                return;
            }
            *aggregator = as4;
        }
        if let Some(as4) = self.as4_path.take() {
            let path = std::mem::take(&mut self.attributes.as_path);
            self.attributes.as_path = path.merge(as4);
        }
    }
}

/// One attribute of the field.
struct Raw<'a> {
    flags: u8,
    code: u8,
    value: &'a [u8],
    whole: &'a [u8],
}

impl<'a> Raw<'a> {
    /// Takes an attribute off the front; `None` when it runs over the end.
    fn take(field: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let mut reader = Reader(field);
        let (flags, code) = (reader.u8()?, reader.u8()?);
        let length = match flags & EXTENDED_LENGTH {
            0 => usize::from(reader.u8()?),
            _ => usize::from(reader.u16()?),
        };
        let value = reader.take(length)?;
        let whole = field.get(..field.len() - reader.len())?;
        Some((Self { flags, code, value, whole }, reader.rest()))
    }
}

/// RFC 7606, section 3 c: a conflict makes the route a withdrawn one, but for those whose faults are only discarded
/// (3 f, RFC 6793 section 6) and those that hold the NLRI (5.3).
fn check_flags(raw: &Raw<'_>) -> Result<(), Flaw> {
    let expected = match raw.code {
        ORIGIN | AS_PATH | NEXT_HOP | LOCAL_PREF | ATOMIC_AGGREGATE => TRANSITIVE,
        MULTI_EXIT_DISC | ORIGINATOR_ID | CLUSTER_LIST | MP_REACH_NLRI | MP_UNREACH_NLRI => OPTIONAL,
        AGGREGATOR
        | COMMUNITIES
        | EXTENDED_COMMUNITIES
        | AS4_PATH
        | AS4_AGGREGATOR
        | TUNNEL_ENCAP
        | IPV6_EXTENDED_COMMUNITIES
        | LARGE_COMMUNITIES
        | ONLY_TO_CUSTOMER => OPTIONAL | TRANSITIVE,
        _ => return Ok(()),
    };
    if raw.flags & (OPTIONAL | TRANSITIVE) == expected {
        return Ok(());
    }
    Err(match raw.code {
        MP_REACH_NLRI | MP_UNREACH_NLRI => Flaw::Reset(Notification::attribute_flags(raw.whole.to_vec())),
        ATOMIC_AGGREGATE | AGGREGATOR | AS4_PATH | AS4_AGGREGATOR => discard(Reason::Flags),
        _ => withdraw(Reason::Flags),
    })
}

fn internal(n: &Negotiated) -> Result<(), Flaw> {
    if n.ibgp { Ok(()) } else { Err(discard(Reason::Unexpected)) }
}

fn fixed<const N: usize>(value: &[u8]) -> Result<[u8; N], Flaw> {
    value.try_into().map_err(|_| withdraw(Reason::Length))
}

/// A list of items of `N` octets, at least one.
fn list<const N: usize, T>(value: &[u8], item: impl Fn([u8; N]) -> T) -> Result<Vec<T>, Flaw> {
    match value.as_chunks::<N>() {
        (items @ [_, ..], []) => Ok(items.iter().map(|octets| item(*octets)).collect()),
        _ => Err(withdraw(Reason::Length)),
    }
}

fn aggregator(value: &[u8], four_octet: bool) -> Result<Aggregator, Flaw> {
    let mut reader = Reader(value);
    let asn = if four_octet { reader.u32() } else { reader.u16().map(u32::from) };
    match (asn, reader.ipv4(), reader.is_empty()) {
        (Some(0), Some(_), true) => Err(discard(Reason::Value)), // RFC 7607
        (Some(asn), Some(router_id), true) => Ok(Aggregator { asn, router_id }),
        _ => Err(discard(Reason::Length)),
    }
}

/// `None` when the length does not fit the family (RFC 7606, section 7.11).
fn mp_next_hop(family: Family, octets: &[u8]) -> Option<NextHop> {
    let mut reader = Reader(octets);
    let (address, link_local) = match (family, octets.len()) {
        (Family::Ipv4Unicast, 4) => (IpAddr::V4(reader.ipv4()?), None),
        (_, 16) => (IpAddr::V6(reader.ipv6()?), None),
        (_, 32) => (IpAddr::V6(reader.ipv6()?), Some(reader.ipv6()?)),
        _ => return None,
    };
    Some(NextHop { address, link_local: link_local.filter(Ipv6Addr::is_unicast_link_local) })
}

fn mp_unreach<'a>(raw: &Raw<'a>) -> Result<(Option<Family>, &'a [u8]), Flaw> {
    let mut reader = Reader(raw.value);
    match (reader.u16(), reader.u8()) {
        (Some(afi), Some(safi)) => Ok((Family::from_numbers(afi, safi), reader.rest())),
        _ => Err(Flaw::Reset(Notification::optional_attribute(raw.whole.to_vec()))),
    }
}

/// Whether a host can have the address (RFC 4271, section 6.3).
fn is_host(address: IpAddr) -> bool {
    let reserved = matches!(address, IpAddr::V4(v4) if v4.octets()[0] >= 240 || v4.octets()[0] == 0);
    !(address.is_unspecified() || address.is_multicast() || address.is_loopback() || reserved)
}

/// How RFC 4271, section 6.3, tells a peer of the fault.
fn notification(attribute: u8, reason: Reason, whole: &[u8]) -> Notification {
    let whole = whole.to_vec();
    match (reason, attribute) {
        (Reason::Overrun, _) => Notification::malformed_attribute_list(),
        (Reason::Missing, code) => Notification::missing_well_known(code),
        (Reason::Flags, _) => Notification::attribute_flags(whole),
        (Reason::Length, _) => Notification::attribute_length(whole),
        (_, ORIGIN) => Notification::invalid_origin(whole),
        (_, AS_PATH) => Notification::malformed_as_path(),
        (_, NEXT_HOP) => Notification::invalid_next_hop(whole),
        _ => Notification::optional_attribute(whole),
    }
}

//! UPDATE (RFC 4271, section 4.3): prefixes that go, and prefixes that come with what is said of them.
//!
//! ```text
//! | Withdrawn length (2) | Withdrawn routes | Attributes length (2) | Path attributes | NLRI |
//! ```
//!
//! The two prefix fields are IPv4 unicast; IPv6, and IPv4 with an IPv6 next hop (RFC 8950), are in the attributes
//! MP_REACH_NLRI and MP_UNREACH_NLRI. An [`Update`] hides that. Read, it is already classified by RFC 7606; written,
//! it becomes as many messages as it needs, each with one of the four fields only (section 5.1).

use super::family::Family;
use super::negotiated::Negotiated;
use super::notification::Notification;
use super::prefix;
use super::reader::Reader;
use super::{HEADER_LEN, kind, message};
use crate::attribute::code::{AS_PATH, MP_REACH_NLRI, MP_UNREACH_NLRI, NEXT_HOP, ORIGIN};
use crate::attribute::decode::Parsed;
use crate::attribute::{Attributes, EXTENDED_LENGTH, OPTIONAL};
use crate::error::{Action, Fault, Reason};
use ipnet::IpNet;
use std::iter::Peekable;
use std::net::IpAddr;
use std::sync::Arc;

/// An UPDATE.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Prefixes that are no longer reachable, those of treat-as-withdraw among them.
    pub withdrawn: Vec<IpNet>,
    /// Prefixes that are reachable. A received message has two of these only if it used both NLRI and MP_REACH_NLRI.
    pub announced: Vec<Announcement>,
    /// The initial exchange of the family is complete (RFC 4724, section 2).
    pub end_of_rib: Option<Family>,
    /// What was wrong with a received message. One [`Action::TreatAsWithdraw`] and nothing is announced.
    pub faults: Vec<Fault>,
}

/// Prefixes that have their attributes, next hop included, in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The attributes.
    pub attributes: Arc<Attributes>,
    /// The prefixes.
    pub prefixes: Vec<IpNet>,
}

impl Update {
    /// Reads and classifies the body.
    pub(super) fn decode(body: &[u8], n: &Negotiated) -> Result<Self, Notification> {
        let list = Notification::malformed_attribute_list;
        let mut reader = Reader(body);
        let length = usize::from(reader.u16().ok_or_else(list)?);
        let withdrawn_field = reader.take(length).ok_or_else(list)?;
        let length = usize::from(reader.u16().ok_or_else(list)?);
        let attributes_field = reader.take(length).ok_or_else(list)?;
        let nlri_field = reader.rest();
        if body.iter().all(|&octet| octet == 0) && body.len() == 4 {
            return Ok(Self { end_of_rib: agreed(Family::Ipv4Unicast, n), ..Self::default() });
        }

        let mut withdrawn = ipv4(withdrawn_field)?;
        let nlri = ipv4(nlri_field)?;
        let mut parsed = Parsed::read(attributes_field, n)?;
        let mut mp_withdrawn = Vec::new();
        let mut end_of_rib = None;
        if let Some((Some(family), field)) = parsed.unreach {
            mp_withdrawn = multi_protocol(field, family)?;
            if field.is_empty() && !parsed.others && body.len() == 4 + attributes_field.len() {
                end_of_rib = agreed(family, n);
            }
        }
        let mp_nlri = match &parsed.reach {
            Some(reach) => multi_protocol(reach.nlri, reach.family)?,
            None => Vec::new(),
        };

        if !nlri.is_empty() {
            parsed.require(&[ORIGIN, AS_PATH, NEXT_HOP]);
        } else if !mp_nlri.is_empty() {
            parsed.require(&[ORIGIN, AS_PATH]);
        } else if parsed.others && !parsed.foreign_nlri() {
            // nothing to treat as withdrawn, so perhaps the NLRI was not found (section 5.2)
            parsed.escalation.take().map_or(Ok(()), Err)?;
        }

        withdrawn.extend(mp_withdrawn);
        let mut update = Self { withdrawn, end_of_rib, ..Self::default() };
        update.announce(nlri, mp_nlri, &parsed);
        update.faults = parsed.faults;
        update.drop_foreign(n);
        Ok(update)
    }

    /// Sorts what was announced by whether it may be.
    fn announce(&mut self, nlri: Vec<IpNet>, mp_nlri: Vec<IpNet>, parsed: &Parsed<'_>) {
        if parsed.faults.iter().any(|f| f.action == Action::TreatAsWithdraw) {
            self.withdrawn.extend(nlri.into_iter().chain(mp_nlri));
            return;
        }
        let next_hop = parsed.next_hop.map(|address| IpAddr::V4(address).into());
        let mp_next_hop = parsed.reach.as_ref().map(|reach| reach.next_hop);
        for (prefixes, next_hop) in [(nlri, next_hop), (mp_nlri, mp_next_hop)] {
            if let (Some(next_hop), false) = (next_hop, prefixes.is_empty()) {
                let attributes = Arc::new(Attributes { next_hop, ..parsed.attributes.clone() });
                self.announced.push(Announcement { attributes, prefixes });
            }
        }
    }

    /// Passes over prefixes of a family that was not agreed on.
    fn drop_foreign(&mut self, n: &Negotiated) {
        let mut foreign = false;
        let mut agreed = |prefix: &IpNet| {
            let agreed = n.families.contains(&Family::of(prefix));
            foreign |= !agreed;
            agreed
        };
        self.withdrawn.retain(&mut agreed);
        self.announced.iter_mut().for_each(|a| a.prefixes.retain(&mut agreed));
        self.announced.retain(|a| !a.prefixes.is_empty());
        if foreign {
            self.faults.push(Fault { attribute: 0, action: Action::AttributeDiscard, reason: Reason::Family });
        }
    }

    /// Writes as many messages as it needs, each as full as it can be. Prefixes whose attributes leave no room for
    /// them are withdrawn instead (RFC 8654, section 4).
    pub(super) fn encode(&self, n: &Negotiated, out: &mut Vec<u8>) {
        let max = n.max_message();
        withdraw(self.withdrawn.iter(), max, out);
        for announcement in &self.announced {
            for family in Family::ALL {
                let prefixes = announcement.prefixes.iter().filter(|p| Family::of(p) == family);
                announce(&announcement.attributes, family, prefixes, n, out);
            }
        }
        match self.end_of_rib {
            Some(Family::Ipv4Unicast) => message(kind::UPDATE, out, |out| fields(&[], &[], &[], out)),
            Some(family) => message(kind::UPDATE, out, |out| fields(&[], &mp_unreach(family, &[]), &[], out)),
            None => {}
        }
    }
}

fn agreed(family: Family, n: &Negotiated) -> Option<Family> {
    Some(family).filter(|family| n.families.contains(family))
}

fn ipv4(field: &[u8]) -> Result<Vec<IpNet>, Notification> {
    let mut prefixes = Vec::new();
    prefix::decode(field, Family::Ipv4Unicast, &mut prefixes).ok_or_else(Notification::invalid_network_field)?;
    Ok(prefixes)
}

fn multi_protocol(field: &[u8], family: Family) -> Result<Vec<IpNet>, Notification> {
    let mut prefixes = Vec::new();
    let syntax = || Notification::optional_attribute(Vec::new());
    prefix::decode(field, family, &mut prefixes).ok_or_else(syntax)?;
    Ok(prefixes)
}

fn withdraw<'a>(prefixes: impl Iterator<Item = &'a IpNet> + Clone, max: usize, out: &mut Vec<u8>) {
    let overhead = HEADER_LEN + 4;
    let mut ipv4 = prefixes.clone().filter(|p| matches!(p, IpNet::V4(_))).peekable();
    while ipv4.peek().is_some() {
        let field = fill(&mut ipv4, max - overhead);
        message(kind::UPDATE, out, |out| fields(&field, &[], &[], out));
    }
    let mut ipv6 = prefixes.filter(|p| matches!(p, IpNet::V6(_))).peekable();
    while ipv6.peek().is_some() {
        let field = fill(&mut ipv6, max - overhead - mp_unreach(Family::Ipv6Unicast, &[]).len());
        message(kind::UPDATE, out, |out| fields(&[], &mp_unreach(Family::Ipv6Unicast, &field), &[], out));
    }
}

fn announce<'a>(
    attributes: &Attributes,
    family: Family,
    prefixes: impl Iterator<Item = &'a IpNet>,
    n: &Negotiated,
    out: &mut Vec<u8>,
) {
    let mut prefixes = prefixes.peekable();
    if prefixes.peek().is_none() {
        return;
    }
    let classic = family == Family::Ipv4Unicast && attributes.next_hop.address.is_ipv4();
    let mut encoded = Vec::new();
    attributes.encode(n, classic, &mut encoded);
    let mp_overhead = if classic { 0 } else { mp_reach(family, attributes, &[]).len() };
    let room = n.max_message().saturating_sub(HEADER_LEN + 4 + mp_overhead + encoded.len());
    let mut too_long = Vec::new();
    while let Some(&next) = prefixes.peek() {
        let nlri = fill(&mut prefixes, room);
        match (nlri.is_empty(), classic) {
            (true, _) => {
                too_long.push(*next);
                prefixes.next();
            }
            (false, true) => message(kind::UPDATE, out, |out| fields(&[], &encoded, &nlri, out)),
            (false, false) => {
                let all = [&mp_reach(family, attributes, &nlri)[..], &encoded].concat();
                message(kind::UPDATE, out, |out| fields(&[], &all, &[], out));
            }
        }
    }
    withdraw(too_long.iter(), n.max_message(), out);
}

/// Takes prefixes off the front while they fit into `room` octets.
fn fill<'a>(prefixes: &mut Peekable<impl Iterator<Item = &'a IpNet>>, room: usize) -> Vec<u8> {
    let mut field = Vec::new();
    while let Some(next) = prefixes.next_if(|p| field.len() + prefix::encoded_len(p) <= room) {
        prefix::encode(next, &mut field);
    }
    field
}

fn fields(withdrawn: &[u8], attributes: &[u8], nlri: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(withdrawn.len() as u16).to_be_bytes());
    out.extend_from_slice(withdrawn);
    out.extend_from_slice(&(attributes.len() as u16).to_be_bytes());
    out.extend_from_slice(attributes);
    out.extend_from_slice(nlri);
}

fn mp_reach(family: Family, attributes: &Attributes, nlri: &[u8]) -> Vec<u8> {
    let next_hop = match (attributes.next_hop.address, attributes.next_hop.link_local) {
        (IpAddr::V4(v4), _) if family == Family::Ipv4Unicast => v4.octets().to_vec(),
        (IpAddr::V4(v4), _) => v4.to_ipv6_mapped().octets().to_vec(), // RFC 4798, section 2
        (IpAddr::V6(v6), None) => v6.octets().to_vec(),
        (IpAddr::V6(v6), Some(link_local)) => [v6.octets(), link_local.octets()].concat(),
    };
    let mut value = family.afi().to_be_bytes().to_vec();
    value.extend_from_slice(&[family.safi(), next_hop.len() as u8]);
    value.extend_from_slice(&next_hop);
    value.push(0);
    value.extend_from_slice(nlri);
    long_attribute(MP_REACH_NLRI, &value)
}

fn mp_unreach(family: Family, prefixes: &[u8]) -> Vec<u8> {
    let mut value = family.afi().to_be_bytes().to_vec();
    value.push(family.safi());
    value.extend_from_slice(prefixes);
    long_attribute(MP_UNREACH_NLRI, &value)
}

/// An attribute whose length always takes two octets, so that its overhead does not depend on what is in it.
fn long_attribute(code: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![OPTIONAL | EXTENDED_LENGTH, code];
    out.extend_from_slice(&(value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
    out
}

#[cfg(test)]
mod tests;

//! Attributes onto the wire, in the order of their types.

use super::as_path::two_octets;
use super::code::*;
use super::{Attributes, EXTENDED_LENGTH, OPTIONAL, PARTIAL, TRANSITIVE};
use crate::message::Negotiated;
use std::net::IpAddr;

impl Attributes {
    /// Writes all attributes but MP_REACH_NLRI; NEXT_HOP only if `next_hop` says so and it is of IPv4. For a peer of
    /// two octet ASes AS4_PATH and AS4_AGGREGATOR are added when they are needed (RFC 6793, section 4.2.2).
    pub(crate) fn encode(&self, n: &Negotiated, next_hop: bool, out: &mut Vec<u8>) {
        let mut put = |flags: u8, code: u8, value: &[u8]| {
            let partial = if self.partial >> code & 1 == 1 { PARTIAL } else { 0 };
            attribute(flags | partial, code, value, out);
        };
        put(TRANSITIVE, ORIGIN, &[self.origin.number()]);
        let mut path = Vec::new();
        self.as_path.encode(n.four_octet_as, &mut path);
        put(TRANSITIVE, AS_PATH, &path);
        if let (true, IpAddr::V4(address)) = (next_hop, self.next_hop.address) {
            put(TRANSITIVE, NEXT_HOP, &address.octets());
        }
        if let Some(med) = self.med {
            put(OPTIONAL, MULTI_EXIT_DISC, &med.to_be_bytes());
        }
        if let Some(local_pref) = self.local_pref {
            put(TRANSITIVE, LOCAL_PREF, &local_pref.to_be_bytes());
        }
        if self.atomic_aggregate {
            put(TRANSITIVE, ATOMIC_AGGREGATE, &[]);
        }
        if let Some(aggregator) = self.aggregator {
            let asn = match n.four_octet_as {
                true => aggregator.asn.to_be_bytes().to_vec(),
                false => two_octets(aggregator.asn).to_be_bytes().to_vec(),
            };
            put(OPTIONAL | TRANSITIVE, AGGREGATOR, &[&asn[..], &aggregator.router_id.octets()].concat());
        }
        let communities: Vec<u8> = self.communities.iter().flat_map(|c| c.0.to_be_bytes()).collect();
        if !communities.is_empty() {
            put(OPTIONAL | TRANSITIVE, COMMUNITIES, &communities);
        }
        if let Some(originator) = self.originator_id {
            put(OPTIONAL, ORIGINATOR_ID, &originator.octets());
        }
        if !self.cluster_list.is_empty() {
            let clusters: Vec<u8> = self.cluster_list.iter().flat_map(|id| id.octets()).collect();
            put(OPTIONAL, CLUSTER_LIST, &clusters);
        }
        if !self.extended_communities.is_empty() {
            let communities: Vec<u8> = self.extended_communities.iter().flat_map(|c| c.0).collect();
            put(OPTIONAL | TRANSITIVE, EXTENDED_COMMUNITIES, &communities);
        }
        if !n.four_octet_as {
            self.encode_as4(&mut put);
        }
        if let Some(tunnels) = &self.tunnel_encap {
            let mut value = Vec::new();
            tunnels.encode(&mut value);
            put(OPTIONAL | TRANSITIVE, TUNNEL_ENCAP, &value);
        }
        if !self.large_communities.is_empty() {
            let words = self.large_communities.iter().flat_map(|c| [c.global, c.local1, c.local2]);
            let value: Vec<u8> = words.flat_map(u32::to_be_bytes).collect();
            put(OPTIONAL | TRANSITIVE, LARGE_COMMUNITIES, &value);
        }
        if let Some(asn) = self.only_to_customer {
            put(OPTIONAL | TRANSITIVE, ONLY_TO_CUSTOMER, &asn.to_be_bytes());
        }
        for raw in &self.unknown {
            attribute(raw.flags, raw.code, &raw.value, out);
        }
    }

    fn encode_as4(&self, put: &mut impl FnMut(u8, u8, &[u8])) {
        let needed = |asn: u32| asn > u32::from(u16::MAX);
        if self.as_path.asns().any(needed) {
            let mut path = Vec::new();
            self.as_path.encode(true, &mut path);
            put(OPTIONAL | TRANSITIVE, AS4_PATH, &path);
        }
        if let Some(aggregator) = self.aggregator.filter(|a| needed(a.asn)) {
            let value = [aggregator.asn.to_be_bytes(), aggregator.router_id.octets()].concat();
            put(OPTIONAL | TRANSITIVE, AS4_AGGREGATOR, &value);
        }
    }
}

/// Writes one attribute, with a length of two octets when it needs them.
pub(crate) fn attribute(flags: u8, code: u8, value: &[u8], out: &mut Vec<u8>) {
    match u8::try_from(value.len()) {
        Ok(length) => out.extend_from_slice(&[flags, code, length]),
        Err(_) => {
            out.extend_from_slice(&[flags | EXTENDED_LENGTH, code]);
            out.extend_from_slice(&(value.len() as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(value);
}

//! A subscriber's filter (RFC 2865, Filter-Id): its inner packets against a list that sessions share. First match
//! decides, no match denies, and so does a filter that nobody has published.
//!
//! What the link itself needs (PPP control, neighbour discovery, DHCPv6) does not come here, nor does what this gateway
//! says to the subscriber.

use crate::publish::Filters;
use dataplane_api::{FilterAction, FilterDirection, FilterId, FilterRule};
use wire::ip::{self, Ip};

/// Whether a packet with header `h` may pass.
pub fn permits(filters: &Filters, id: FilterId, direction: FilterDirection, h: &Ip, packet: &[u8]) -> bool {
    let Some(rules) = filters.get(&id) else { return false };
    let port = destination_port(h, packet);
    let matching = rules.iter().find(|r| matches(r, direction, h, port));
    matching.is_some_and(|r| r.action == FilterAction::Permit)
}

fn matches(r: &FilterRule, direction: FilterDirection, h: &Ip, port: Option<u16>) -> bool {
    (r.direction == FilterDirection::Both || r.direction == direction)
        && r.protocol.is_none_or(|p| p == h.protocol)
        && r.source.is_none_or(|p| p.contains(h.src))
        && r.destination.is_none_or(|p| p.contains(h.dst))
        && r.ports.is_none_or(|ports| port.is_some_and(|p| ports.contains(p)))
}

/// Of TCP and UDP; a fragment beyond the first has none.
fn destination_port(h: &Ip, packet: &[u8]) -> Option<u16> {
    match (h.protocol, packet.get(h.header_len..)) {
        (ip::TCP | ip::UDP, Some([_, _, high, low, ..])) if h.is_first() => Some(u16::from_be_bytes([*high, *low])),
        _ => None,
    }
}

//! Traced packets as they are answered: the addresses in their headers, and the headers themselves.

use super::Names;
use crate::northbound::{TraceFrame, TraceProtocol, TracedDetail, TracedNode, TracedPacket};
use dataplane_api::{PortId, TraceEnd, TraceHop, TraceNode, TracePacket};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, UNIX_EPOCH};
use wire::ethernet::{self, Ethernet};
use wire::{ip, ipv4, ipv6};

/// What a packet met, in all its parts.
pub(super) fn packet(parts: &[TracePacket], names: Names) -> TracedPacket {
    let (first, last) = (&parts[0], &parts[parts.len() - 1]);
    let nodes = parts.iter().flat_map(|part| part.hops().iter().map(|hop| node(part, hop, names))).collect();
    TracedPacket {
        at: humantime::format_rfc3339_micros(UNIX_EPOCH + since_1970(first, names)).to_string(),
        worker: first.worker.0,
        port: port(first.port, names).unwrap_or_default(),
        nodes,
        verdict: verdict(last.end),
    }
}

/// The frames of ports, and what they carry where that is in the clear.
pub(super) fn frames(number: usize, parts: &[TracePacket], names: Names) -> Vec<TraceFrame> {
    let path: Vec<_> = parts.iter().flat_map(|part| part.hops().iter().map(|hop| hop.node.name())).collect();
    let (path, verdict) = (path.join(" "), verdict(parts[parts.len() - 1].end));
    let frame = |part: &TracePacket, hop: &TraceHop, port: Option<String>| TraceFrame {
        at: since_1970(part, names),
        port,
        length: hop.len,
        octets: hop.octets().to_vec(),
        comment: format!("packet {number} at {}; {path}; {verdict}", hop.node.name()),
    };
    let each = |part: &TracePacket, hop: &TraceHop| match (hop.node, part.end) {
        (TraceNode::Rx, _) => Some(frame(part, hop, port(part.port, names))),
        (TraceNode::Tx, TraceEnd::Sent(to)) => Some(frame(part, hop, port(to, names))),
        (TraceNode::Decrypted | TraceNode::Forward | TraceNode::EspOut, _) => Some(frame(part, hop, None)),
        _ => None,
    };
    parts.iter().flat_map(|part| part.hops().iter().filter_map(move |hop| each(part, hop))).collect()
}

fn since_1970(part: &TracePacket, names: Names) -> Duration {
    let (at, epoch) = names.clock;
    epoch + part.at.saturating_duration_since(at)
}

fn port(id: PortId, names: Names) -> Option<String> {
    names.ports.get(usize::from(id.0)).cloned()
}

fn verdict(end: TraceEnd) -> String {
    match end {
        TraceEnd::Sent(_) => "sent".to_owned(),
        TraceEnd::Punted(class) => format!("punted {}", class.name()),
        TraceEnd::HandedOff(to) => format!("handed to worker {}", to.0),
        TraceEnd::Joined => "joined".to_owned(),
        TraceEnd::Dropped(reason) => format!("dropped {}", reason.name()),
    }
}

fn node(part: &TracePacket, hop: &TraceHop, names: Names) -> TracedNode {
    let link = matches!(hop.node, TraceNode::Rx | TraceNode::Tx);
    let mut detail = if link { of_frame(hop.octets()) } else { of_packet(hop.octets()) };
    detail.length = (hop.len > 0).then_some(hop.len);
    detail.session = hop.session.map(|id| id.to_string());
    detail.peer = hop.peer.map(|p| p.0.get());
    detail.spi = hop.spi.map(|spi| format!("{:08x}", spi.0));
    match (hop.node, part.end) {
        (TraceNode::Rx, _) => detail.port = port(part.port, names),
        (TraceNode::Tx, TraceEnd::Sent(to)) => detail.port = port(to, names),
        (TraceNode::Punt, TraceEnd::Punted(class)) => detail.class = Some(class.name()),
        (TraceNode::HandOff, TraceEnd::HandedOff(to)) => detail.worker = Some(to.0),
        (TraceNode::Drop, TraceEnd::Dropped(reason)) => detail.reason = Some(reason.name()),
        _ => {}
    }
    TracedNode { node: hop.node.name(), detail }
}

fn of_frame(frame: &[u8]) -> TracedDetail {
    let Ok(eth) = Ethernet::parse(frame) else { return TracedDetail::default() };
    match eth.ethertype {
        ethernet::IPV4 | ethernet::IPV6 => of_packet(frame.get(eth.len..).unwrap_or_default()),
        other => TracedDetail { ethertype: Some(format!("{other:04x}")), ..TracedDetail::default() },
    }
}

/// Of the beginning of a packet.
fn of_packet(octets: &[u8]) -> TracedDetail {
    let Some((source, destination, protocol, at)) = header(octets) else { return TracedDetail::default() };
    let ports = match (protocol, octets.get(at..)) {
        (ip::TCP | ip::UDP, Some([a, b, c, d, ..])) => {
            Some((u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])))
        }
        _ => None,
    };
    TracedDetail {
        source: Some(source),
        destination: Some(destination),
        protocol: Some(TraceProtocol(protocol).to_string()),
        source_port: ports.map(|p| p.0),
        destination_port: ports.map(|p| p.1),
        ..TracedDetail::default()
    }
}

/// Addresses, protocol and where it begins: past the copy for a fragment that is not the first.
fn header(octets: &[u8]) -> Option<(IpAddr, IpAddr, u8, usize)> {
    match octets.first()? >> 4 {
        4 => {
            let h: &[u8; ipv4::HEADER] = octets.first_chunk()?;
            let address = |at: usize| Ipv4Addr::new(h[at], h[at + 1], h[at + 2], h[at + 3]);
            let first = u16::from_be_bytes([h[6], h[7]]) & 0x1fff == 0;
            let at = if first { usize::from(h[0] & 15) * 4 } else { octets.len() };
            Some((address(12).into(), address(16).into(), h[9], at))
        }
        6 => {
            let h: &[u8; ipv6::HEADER] = octets.first_chunk()?;
            let address = |at: usize| <[u8; 16]>::try_from(&h[at..at + 16]).map(Ipv6Addr::from).ok();
            let upper = ipv6::upper_layer(octets).ok();
            let first = upper.and_then(|u| u.fragment).is_none_or(|(offset, _)| offset == 0);
            let (protocol, at) = upper.map_or((h[6], octets.len()), |u| (u.protocol, u.offset));
            Some((address(8)?.into(), address(24)?.into(), protocol, if first { at } else { octets.len() }))
        }
        _ => None,
    }
}

//! Into a softwire of the mesh: an outer IP header in front of the inner packet (RFC 2473, RFC 4213).
//!
//! ```text
//!   inner IP | ...   ─►   outer IP (protocol 4 or 41) | inner IP | ...   ─►   esp_out, or out of a port
//! ```
//!
//! `forward` has counted the hop; the outer hop limit is the softwire's own. The outer DSCP is the inner one or the
//! softwire's, ECN is copied (RFC 6040, section 4.1), and an IPv6 flow label tells the inner flows apart for ECMP in
//! the core (RFC 6438).

use crate::fib;
use crate::lane::{Ctx, Lane, Origin, Packet, Stage};
use crate::node::{fragment, icmp};
use crate::sad::Sad;
use crate::session::Sessions;
use crate::softwire::Outer;
use dataplane_api::softwire::{Protection, TooBig};
use dataplane_api::{DropReason, PeerId, Softwire, SoftwireId, TraceNode, WorkerEvent, WorkerId};
use std::sync::Arc;
use wire::icmp::ErrorKind;
use wire::{ip, ipv4, ipv6};

/// Drains `input`, whose `next_hop` are softwire numbers.
pub fn run(
    ctx: &mut Ctx,
    sessions: &Sessions,
    sad: &Sad,
    input: &mut Lane,
    esp_out: &mut Lane,
    outer: &mut Lane,
    again: &mut Lane,
) {
    if input.is_empty() {
        return;
    }
    ctx.visit(TraceNode::Encap, input);
    let snapshot = Arc::clone(&ctx.snapshot);
    for packet in input.drain() {
        let Some((softwire, header)) = snapshot.softwires.with_outer(SoftwireId(packet.next_hop as u16)) else {
            ctx.drop(packet, DropReason::SoftwireUnknown);
            continue;
        };
        let owner = match softwire.protection {
            Protection::Clear => None,
            // Without an SA of our own with this peer (RFC 9611), by the worker that has the one for all.
            Protection::Esp(Some((peer, owner))) => {
                Some((peer, if owner == ctx.id || sad.selected(peer).is_some() { ctx.id } else { owner }))
            }
            // Never in the clear.
            Protection::Esp(None) => {
                if ctx.limiter.softwire(ctx.now) {
                    ctx.event(WorkerEvent::SoftwireWanted(softwire.id));
                }
                ctx.drop(packet, DropReason::SaMissing);
                continue;
            }
        };
        let mut one = |ctx: &mut Ctx, packet: Packet| send(ctx, (softwire, header), owner, packet, esp_out, outer);
        if packet.ip().len() <= usize::from(softwire.mtu) || softwire.too_big == TooBig::Outer {
            one(ctx, packet);
        } else if fragment::may(&packet) {
            fragment::split(ctx, packet, softwire.mtu, one);
        } else {
            icmp::error(ctx, sessions, packet, ErrorKind::TooBig(softwire.mtu), DropReason::TooBig, again);
        }
    }
}

#[inline(always)]
fn send(
    ctx: &mut Ctx,
    (softwire, header): (&Softwire, &Outer),
    owner: Option<(PeerId, WorkerId)>,
    mut packet: Packet,
    esp_out: &mut Lane,
    outer: &mut Lane,
) {
    let inner = packet.ip();
    // The inner header says where the packet ends, whatever is behind it.
    let pad = if softwire.tfc && owner.is_some() { usize::from(softwire.mtu).saturating_sub(inner.len()) } else { 0 };
    let (octets, proto) = (inner.len(), if packet.is_v6() { ip::IPV6 } else { ip::IPIP });
    let tos = traffic_class(inner);
    let tos = softwire.dscp.map_or(tos, |dscp| dscp << 2 | tos & 3);
    if pad > 0 && packet.mbuf.append(pad).map(|p| p.fill(0)).is_none() {
        return ctx.drop(packet, DropReason::NoBuffer);
    }
    let (l3, id) = (usize::from(packet.l3), ctx.next_ip_id());
    let len = match header {
        Outer::V4(template) => {
            let len = u16::try_from(ipv4::HEADER + octets + pad).ok();
            let out = packet.mbuf.replace_front(l3, ipv4::HEADER).and_then(|h| h.first_chunk_mut());
            len.zip(out).map(|(len, out)| template.emit(out, tos, len, id, proto)).map(|()| ipv4::HEADER)
        }
        Outer::V6(template) => {
            let (len, label) = (u16::try_from(octets + pad).ok(), fib::flow_hash(&packet));
            let out = packet.mbuf.replace_front(l3, ipv6::HEADER).and_then(|h| h.first_chunk_mut());
            len.zip(out).map(|(len, out)| template.emit(out, tos, label, len, proto)).map(|()| ipv6::HEADER)
        }
    };
    let Some(len) = len else { return ctx.drop(packet, DropReason::NoBuffer) };
    (packet.peer, packet.clear) = (owner.map(|(peer, _)| peer), owner.is_none());
    packet.session = None;
    (packet.l3, packet.l4, packet.proto) = (0, len as u16, proto);
    packet.origin = Origin::Local;
    if let Some(c) = ctx.counters.softwires.get(usize::from(softwire.id.0)) {
        c.sent[0].add(1);
        c.sent[1].add(octets as u64);
    }
    match owner {
        None => ctx.push(outer, packet),
        Some((_, worker)) if worker == ctx.id => ctx.push(esp_out, packet),
        Some((_, worker)) => ctx.hand_off(worker, packet, Stage::EspOut),
    }
}

/// TOS or traffic class of an IP header.
#[inline(always)]
fn traffic_class(ip: &[u8]) -> u8 {
    match *ip {
        [a, b, ..] if a >> 4 == 6 => a << 4 | b >> 4,
        [_, b, ..] => b,
        _ => 0,
    }
}

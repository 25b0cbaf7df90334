//! Routing: longest-prefix match, hop limit, and what the route says.
//!
//! What enters is whole IP packets: from subscribers, from trusted ports, decrypted tunnel-mode packets, and ICMP
//! messages of our own. What leaves goes into a softwire (here or on another worker), out of a port, or ends as an
//! ICMP error to its source (RFC 1812, RFC 4443).

use crate::fib::{self, Address, SessionWord};
use crate::lane::{Ctx, Lane, Origin, Packet, Stage};
use crate::link::Link;
use crate::node::{fragment, icmp, output};
use crate::publish::Snapshot;
use crate::session::{INTO, Sessions};
use dataplane_api::{DropReason, NextHop, PortId, PuntClass, TraceNode, Zone};
use std::net::IpAddr;
use wire::icmp::ErrorKind;
use wire::{ipv4, ppp};

/// Drains `input`. ICMP messages go into `again`, for the next poll.
pub fn run(
    ctx: &mut Ctx,
    snapshot: &Snapshot,
    sessions: &Sessions,
    input: &mut Lane,
    l2tp_out: &mut Lane,
    encap: &mut Lane,
    again: &mut Lane,
) {
    ctx.visit(TraceNode::Forward, input);
    fib::lookup(snapshot, input, Address::Destination);
    let (groups, mut links) = (&*snapshot.groups, snapshot.links.burst());
    for mut packet in input.drain() {
        if let Some(session) = SessionWord::from_word(packet.next_hop) {
            into_session(ctx, sessions, packet, session, l2tp_out, again);
            continue;
        }
        let error = |ctx: &mut Ctx, packet, kind, reason, again: &mut Lane| {
            icmp::error(ctx, sessions, packet, kind, reason, again);
        };
        let hop = groups.select(packet.next_hop, &packet);
        match hop.map(|h| &h.next) {
            None => error(ctx, packet, ErrorKind::NoRoute, DropReason::NoRoute, again),
            Some(NextHop::Unreachable) => error(ctx, packet, ErrorKind::NoRoute, DropReason::NoRoute, again),
            Some(NextHop::Blackhole) => ctx.drop(packet, DropReason::Blackhole),
            Some(NextHop::Local) => local(ctx, packet, again),
            Some(&NextHop::Session(id)) => match SessionWord::new(id) {
                Some(word) => {
                    packet.next_hop = word.word();
                    into_session(ctx, sessions, packet, word, l2tp_out, again);
                }
                None => ctx.drop(packet, DropReason::SessionUnknown),
            },
            Some(&NextHop::Softwire(id)) => {
                if let Some(mut packet) = one_hop_less(ctx, sessions, packet, again) {
                    packet.next_hop = u32::from(id.0);
                    ctx.push(encap, packet);
                }
            }
            Some(NextHop::Via(port, router)) => match hop.and_then(|h| h.link.as_ref()) {
                Some(link) => out_of_port(ctx, sessions, packet, link, again),
                None => unresolved(ctx, sessions, packet, *port, *router, again),
            },
            Some(&NextHop::Connected(port)) => match links.towards(port, &packet) {
                Some(link) => out_of_port(ctx, sessions, packet, link, again),
                None => {
                    let (_, dst) = packet.addresses();
                    unresolved(ctx, sessions, packet, port, dst, again);
                }
            },
        }
    }
}

fn into_session(
    ctx: &mut Ctx,
    sessions: &Sessions,
    packet: Packet,
    session: SessionWord,
    l2tp_out: &mut Lane,
    again: &mut Lane,
) {
    let Some(packet) = one_hop_less(ctx, sessions, packet, again) else { return };
    if session.worker() == ctx.id {
        sessions.prefetch_far(&ctx.counters, session.index(), INTO);
        ctx.push(l2tp_out, packet);
    } else {
        ctx.hand_off(session.worker(), packet, Stage::L2tpOut);
    }
}

#[inline(always)]
fn out_of_port(ctx: &mut Ctx, sessions: &Sessions, packet: Packet, link: &Link, again: &mut Lane) {
    if link.zone == Zone::Public
        && let Err(reason) = into_public(ctx, &packet)
    {
        return ctx.drop(packet, reason);
    }
    let Some(packet) = one_hop_less(ctx, sessions, packet, again) else { return };
    if link.takes(&packet) {
        return output::transmit(ctx, packet, link);
    }
    match fragment::may(&packet) {
        true => fragment::split(ctx, packet, link.mtu, |ctx, piece| output::transmit(ctx, piece, link)),
        false => icmp::error(ctx, sessions, packet, ErrorKind::TooBig(link.mtu), DropReason::TooBig, again),
    }
}

/// Nothing is forwarded into the public zone in the clear; our own ICMP messages obey the SPD.
fn into_public(ctx: &Ctx, packet: &Packet) -> Result<(), DropReason> {
    match packet.origin {
        Origin::Local => crate::node::spd::outbound(&ctx.snapshot.policy, packet),
        _ => Err(DropReason::SpdTransit),
    }
}

/// Towards a neighbour whose Ethernet address is not known: whatever else is wrong with the packet comes first.
fn unresolved(ctx: &mut Ctx, sessions: &Sessions, packet: Packet, port: PortId, neighbour: IpAddr, again: &mut Lane) {
    if ctx.snapshot.zone(port) == Zone::Public
        && let Err(reason) = into_public(ctx, &packet)
    {
        return ctx.drop(packet, reason);
    }
    if let Some(packet) = one_hop_less(ctx, sessions, packet, again) {
        output::ask(ctx, packet, port, neighbour);
    }
}

/// The packet is gone when this was its last hop (RFC 1812, section 5.3.1; RFC 8200, section 3).
#[inline(always)]
fn one_hop_less(ctx: &mut Ctx, sessions: &Sessions, mut packet: Packet, again: &mut Lane) -> Option<Packet> {
    if packet.origin == Origin::Local {
        return Some(packet);
    }
    match packet.header_mut::<{ ipv4::HEADER }>() {
        Some(h) if h[0] >> 4 == 6 && h[7] > 1 => h[7] -= 1,
        Some(h) if h[0] >> 4 != 6 && h[8] > 1 => ipv4::decrement_ttl(h),
        _ => {
            icmp::error(ctx, sessions, packet, ErrorKind::TimeExceeded, DropReason::TtlExceeded, again);
            return None;
        }
    }
    Some(packet)
}

/// To an address of ours: echo is answered here, the rest is for the control plane's side of the session.
fn local(ctx: &mut Ctx, mut packet: Packet, again: &mut Lane) {
    match icmp::answer_echo(&mut packet) {
        icmp::Echo::Answered => ctx.push(again, packet),
        icmp::Echo::Malformed => ctx.drop(packet, DropReason::InnerMalformed),
        icmp::Echo::No if packet.session.is_some() => {
            let protocol = if packet.is_v6() { ppp::IPV6 } else { ppp::IPV4 };
            let (from, end) = (usize::from(packet.l3), packet.mbuf.len());
            ctx.punt(packet, PuntClass::SessionHost, &protocol.to_be_bytes(), from, end);
        }
        icmp::Echo::No => ctx.drop(packet, DropReason::NoListener),
    }
}

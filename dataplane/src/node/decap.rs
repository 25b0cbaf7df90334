//! Out of a softwire of the mesh: checks the outer header and takes it off (RFC 2473, RFC 4213, RFC 5565).
//!
//! A packet must come from the other end of a known softwire, under the right SA where the softwire is protected, and
//! where `strict` is set, its inner source must be routed back to the same AFBR (M9). Congestion that the core
//! has marked goes on inside (RFC 6040, section 4.2).

use crate::fib::{self, Address};
use crate::lane::{Ctx, LANE, Lane, Origin, Packet};
use crate::node::classify::is_martian;
use crate::publish::Snapshot;
use crate::softwire::Ends;
use arrayvec::ArrayVec;
use dataplane_api::softwire::Protection;
use dataplane_api::{DropReason, NextHop, PeerId, Softwire, SoftwireId, TraceNode};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use wire::ip::{self, Ip};
use wire::{ipv4, ipv6};

/// The softwire, and whether it is strict.
type Admitted = Result<(SoftwireId, bool), DropReason>;

/// Drains `input`: whole outer packets to us whose `proto` is 4 or 41.
pub fn run(ctx: &mut Ctx, input: &mut Lane, forward: &mut Lane) {
    if input.is_empty() {
        return;
    }
    ctx.visit(TraceNode::Decap, input);
    let snapshot = Arc::clone(&ctx.snapshot);
    let mut last = None;
    let mut state: ArrayVec<Admitted, LANE> =
        input.packets().iter_mut().map(|p| admit(&snapshot, p, &mut last)).collect();
    if state.iter().any(|s| matches!(s, Ok((_, true)))) {
        fib::lookup(&snapshot, input, Address::Source);
        for (packet, state) in input.packets().iter().zip(&mut state) {
            if let Ok((id, true)) = *state
                && !is_behind(&snapshot, packet, id)
            {
                *state = Err(DropReason::SoftwireSource);
            }
        }
    }
    for (packet, state) in input.drain().zip(state) {
        match state {
            Ok((id, _)) => {
                if let Some(c) = ctx.counters.softwires.get(usize::from(id.0)) {
                    c.received[0].add(1);
                    c.received[1].add(packet.ip().len() as u64);
                }
                ctx.push(forward, packet);
            }
            Err(reason) => ctx.drop(packet, reason),
        }
    }
}

/// Whether the inner source, whose route was looked up, is behind the AFBR of a softwire. What an SA of its protected
/// may be routed into any softwire to it; what came in the clear, only into this one.
fn is_behind(snapshot: &Snapshot, packet: &Packet, id: SoftwireId) -> bool {
    let routed = |id| snapshot.groups.contains(packet.next_hop, NextHop::Softwire(id));
    let others = |s: &Softwire| {
        Ends::new(s.local, s.remote).is_some_and(|ends| snapshot.softwires.between(ends).any(|s| routed(s.id)))
    };
    routed(id) || packet.peer.is_some() && snapshot.softwires.get(id).is_some_and(others)
}

/// The softwire of the packet before, which often is that of the next one too.
type Last<'a> = Option<(Ends, Option<PeerId>, Result<&'a Softwire, DropReason>)>;

/// The softwire that a packet came through: that of the peer whose SA protected it, else one that needs none.
#[inline(always)]
fn softwire<'a>(snapshot: &'a Snapshot, packet: &Packet, last: &mut Last<'a>) -> Result<&'a Softwire, DropReason> {
    let (ends, peer) = (Ends::received(packet.ip()), packet.peer);
    match last {
        Some((e, p, found)) if (*e, *p) == (ends, peer) => *found,
        _ => last.insert((ends, peer, find(snapshot, ends, peer))).2,
    }
}

fn find(snapshot: &Snapshot, ends: Ends, from: Option<PeerId>) -> Result<&Softwire, DropReason> {
    let mut found = Err(DropReason::SoftwireUnknown);
    for softwire in snapshot.softwires.between(ends) {
        match softwire.protection {
            Protection::Esp(Some((peer, _))) if from == Some(peer) => return Ok(softwire),
            Protection::Clear => found = Ok(softwire),
            Protection::Esp(_) => found = found.map_err(|_| DropReason::SoftwireClear),
        }
    }
    found
}

/// What is to be known of the packet inside, of any source that a packet may have.
struct Inner {
    len: usize,
    header_len: usize,
    /// 0 of a fragment: see `fib::flow_hash`.
    protocol: u8,
}

impl Inner {
    #[inline(always)]
    fn parse(data: &[u8]) -> Option<Self> {
        if let Some(h) = ipv4::plain(data)
            && !is_martian(Ipv4Addr::from_bits(h.src).into())
        {
            return Some(Self { len: h.len.into(), header_len: ipv4::HEADER, protocol: h.protocol });
        }
        if let Some(h) = ipv6::plain(data)
            && !is_martian(Ipv6Addr::from_bits(h.src).into())
        {
            return Some(Self { len: h.len, header_len: ipv6::HEADER, protocol: h.protocol });
        }
        Self::any(data)
    }

    /// With options, extension headers, or as a fragment.
    fn any(data: &[u8]) -> Option<Self> {
        let h = Ip::parse(data).ok()?;
        let header_ok = h.src.is_ipv6() || wire::checksum::of(data.get(..h.header_len).unwrap_or_default()) == 0;
        let protocol = if h.fragment.is_some() { 0 } else { h.protocol };
        (header_ok && !is_martian(h.src)).then_some(Self { len: h.len, header_len: h.header_len, protocol })
    }
}

/// Checks both headers; afterwards the packet is the inner one.
#[inline(always)]
fn admit<'a>(snapshot: &'a Snapshot, packet: &mut Packet, last: &mut Last<'a>) -> Admitted {
    let softwire = softwire(snapshot, packet, last)?;
    let outer_ecn = ecn(packet.ip());
    let inner = packet.payload();
    let version = if packet.proto == ip::IPV6 { 6 } else { 4 };
    if inner.first().is_none_or(|b| b >> 4 != version) {
        return Err(DropReason::InnerMalformed);
    }
    let h = Inner::parse(inner).ok_or(DropReason::InnerMalformed)?;
    let padding = inner.len() - h.len;
    packet.l3 = packet.l4;
    (packet.l4, packet.proto) = (packet.l3 + h.header_len as u16, h.protocol);
    packet.origin = Origin::Softwire;
    if padding > 0 && !packet.mbuf.trim(padding) {
        return Err(DropReason::InnerMalformed);
    }
    propagate(outer_ecn, packet.ip_mut())?;
    Ok((softwire.id, softwire.strict))
}

const NOT_ECT: u8 = 0;
const ECT_1: u8 = 1;
const ECT_0: u8 = 2;
const CE: u8 = 3;

/// The ECN field of an IP header (RFC 3168, section 5).
#[inline(always)]
fn ecn(ip: &[u8]) -> u8 {
    match *ip {
        [a, b, ..] if a >> 4 == 6 => b >> 4 & 3,
        [_, b, ..] => b & 3,
        _ => NOT_ECT,
    }
}

/// RFC 6040, figure 4: what the inner field becomes.
#[inline(always)]
fn propagate(outer: u8, inner_ip: &mut [u8]) -> Result<(), DropReason> {
    let inner = ecn(inner_ip);
    let new = match (inner, outer) {
        (NOT_ECT, CE) => return Err(DropReason::SoftwireEcn),
        (ECT_0 | ECT_1, CE) => CE,
        (ECT_0, ECT_1) => ECT_1,
        (same, _) => same,
    };
    if new == inner {
        return Ok(());
    }
    match inner_ip {
        [a, b, ..] if *a >> 4 == 6 => *b = *b & 0xcf | new << 4,
        [a, b, ..] => {
            let word = u16::from_be_bytes([*a, *b & 0xfc | new]);
            ipv4::set_word(inner_ip, 0, word);
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 6040, figure 4, row by row: inner field, then what it becomes for an outer of Not-ECT, ECT(0), ECT(1), CE.
    #[test]
    fn the_table_of_rfc_6040() {
        let drop = None;
        let table = [
            (NOT_ECT, [Some(NOT_ECT), Some(NOT_ECT), Some(NOT_ECT), drop]),
            (ECT_0, [Some(ECT_0), Some(ECT_0), Some(ECT_1), Some(CE)]),
            (ECT_1, [Some(ECT_1), Some(ECT_1), Some(ECT_1), Some(CE)]),
            (CE, [Some(CE), Some(CE), Some(CE), Some(CE)]),
        ];
        for (inner, row) in table {
            for (outer, want) in [NOT_ECT, ECT_0, ECT_1, CE].into_iter().zip(row) {
                let mut six = [0x6f, 0xc0 | inner << 4, 1, 2];
                let got = propagate(outer, &mut six).ok().map(|()| ecn(&six));
                assert_eq!((got, six[1] & 0xcf), (want, 0xc0), "IPv6, inner {inner}, outer {outer}");
                let mut four = [0u8; 20];
                let src = "192.0.2.1".parse().unwrap();
                ipv4::Repr { tos: 0xb8 | inner, total_len: 20, id: 0, flags: 0, ttl: 9, protocol: 59, src, dst: src }
                    .emit(&mut four);
                let got = propagate(outer, &mut four).ok().map(|()| ecn(&four));
                assert_eq!((got, four[1] & 0xfc), (want, 0xb8), "IPv4, inner {inner}, outer {outer}");
                assert_eq!(wire::checksum::of(&four), 0);
            }
        }
    }
}

//! Out of a softwire of the mesh: checks the outer header and takes it off (RFC 2473, RFC 4213, RFC 5565).
//!
//! A packet must come from the other end of a known softwire, under the right SA where the softwire is protected, and
//! where `strict` is set, its inner source must be routed back to the same AFBR (M9). Congestion that the core
//! has marked goes on inside (RFC 6040, section 4.2).

use crate::fib::{self, Address};
use crate::lane::{Ctx, LANE, Lane, Origin, Packet};
use crate::node::classify::is_martian;
use crate::node::esp_in;
use crate::publish::Snapshot;
use crate::softwire::Ends;
use arrayvec::ArrayVec;
use dataplane_api::softwire::Protection;
use dataplane_api::{Counters, DropReason, NextHop, PeerId, Softwire, SoftwireId, TraceNode};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use wire::ip::{self, Ip};
use wire::{ipv4, ipv6};

/// The softwire that a packet came through, or why it may not.
type Admitted<'a> = Result<&'a Softwire, DropReason>;

/// Drains `input`: whole outer packets to us whose `proto` is 4 or 41.
pub fn run(ctx: &mut Ctx, snapshot: &Snapshot, input: &mut Lane, forward: &mut Lane) {
    ctx.visit(TraceNode::Decap, input);
    let (mut last, mut begun) = (None, false);
    let mut states: ArrayVec<Admitted<'_>, LANE> = ArrayVec::new();
    for packet in input.packets() {
        let state = admit(snapshot, packet, &mut last);
        begun |= state.is_ok() && fib::is_begun(packet);
        states.push(state);
    }
    if begun {
        fib::finish(snapshot, input, Address::Source);
    }
    debug_assert_eq!(input.len(), states.len());
    let mut received = Received::of(SoftwireId(0));
    let mut states = states.iter();
    for packet in input.drain() {
        let Some(state) = states.next() else { break };
        match *state {
            Ok(softwire) => {
                if received.id != softwire.id {
                    received.count(&ctx.counters);
                    received = Received::of(softwire.id);
                }
                if softwire.strict && !received.is_behind(snapshot, &packet) {
                    ctx.drop(packet, DropReason::SoftwireSource);
                    continue;
                }
                received.packets += 1;
                received.octets += packet.ip().len() as u64;
                ctx.push(forward, packet);
            }
            Err(reason) => ctx.drop(packet, reason),
        }
    }
    received.count(&ctx.counters);
}

/// What packets that follow each other have in common, because they came through one softwire.
struct Received {
    id: SoftwireId,
    packets: u64,
    octets: u64,
    /// The last route to a source that [`is_behind`] it, and whether an SA had protected the packet.
    behind: Option<(u32, bool)>,
}

impl Received {
    fn of(id: SoftwireId) -> Self {
        Self { id, packets: 0, octets: 0, behind: None }
    }

    fn count(&self, counters: &Counters) {
        if let Some(c) = counters.softwires.get(usize::from(self.id.0)) {
            c.received[0].add(self.packets);
            c.received[1].add(self.octets);
        }
    }

    #[inline(always)]
    fn is_behind(&mut self, snapshot: &Snapshot, packet: &Packet) -> bool {
        let route = Some((packet.next_hop, packet.peer.is_some()));
        if self.behind != route {
            if !is_behind(snapshot, packet, self.id) {
                return false;
            }
            self.behind = route;
        }
        true
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
type Last<'a> = Option<(Ends, Option<PeerId>, Option<&'a Softwire>)>;

/// The softwire that a packet came through: that of the peer whose SA protected it, which `esp_in` may know, else one that needs none.
#[inline(always)]
fn softwire<'a>(snapshot: &'a Snapshot, packet: &Packet, last: &mut Last<'a>) -> Option<&'a Softwire> {
    if let Some(id) = esp_in::known(packet) {
        let found = snapshot.softwires.get(id);
        debug_assert_eq!(found, find(snapshot, packet, &mut None));
        return found;
    }
    match last {
        Some((ends, peer, found)) if ends.are_of(packet.ip()) && *peer == packet.peer => *found,
        _ => find(snapshot, packet, last),
    }
}

/// Why there is none.
#[cold]
fn refusal(snapshot: &Snapshot, packet: &Packet) -> DropReason {
    match snapshot.softwires.between(Ends::received(packet.ip())).next() {
        Some(_) => DropReason::SoftwireClear,
        None => DropReason::SoftwireUnknown,
    }
}

#[inline(never)]
fn find<'a>(snapshot: &'a Snapshot, packet: &Packet, last: &mut Last<'a>) -> Option<&'a Softwire> {
    let ends = Ends::received(packet.ip());
    let is_of = |protection| matches!(protection, Protection::Esp(Some((peer, _))) if packet.peer == Some(peer));
    let between = || snapshot.softwires.between(ends);
    let found = between()
        .find(|s| is_of(s.protection))
        .or_else(|| between().filter(|s| s.protection == Protection::Clear).last());
    *last = Some((ends, packet.peer, found));
    found
}

/// What is to be known of the packet inside, of any source that a packet may have.
struct Inner {
    len: usize,
    header_len: usize,
    /// 0 of a fragment: see `fib::flow_hash`.
    protocol: u8,
    /// The first 32 bits of the source.
    src: u32,
}

impl Inner {
    #[inline(always)]
    fn parse(data: &[u8], v6: bool) -> Option<Self> {
        if v6 {
            if let Some(h) = ipv6::plain(data)
                && !is_martian(Ipv6Addr::from_bits(h.src).into())
            {
                let src = (h.src >> 96) as u32;
                return Some(Self { len: h.len, header_len: ipv6::HEADER, protocol: h.protocol, src });
            }
        } else if let Some(h) = ipv4::plain(data)
            && !is_martian(Ipv4Addr::from_bits(h.src).into())
        {
            return Some(Self { len: h.len.into(), header_len: ipv4::HEADER, protocol: h.protocol, src: h.src });
        }
        Self::any(data, v6)
    }

    /// With options, extension headers, or as a fragment.
    #[inline(never)]
    fn any(data: &[u8], v6: bool) -> Option<Self> {
        let h = Ip::parse(data).ok().filter(|h| h.src.is_ipv6() == v6)?;
        let header_ok = v6 || wire::checksum::of(data.get(..h.header_len).unwrap_or_default()) == 0;
        let protocol = if h.fragment.is_some() { 0 } else { h.protocol };
        let src = match h.src {
            IpAddr::V4(a) => a.to_bits(),
            IpAddr::V6(a) => (a.to_bits() >> 96) as u32,
        };
        (header_ok && !is_martian(h.src)).then_some(Self { len: h.len, header_len: h.header_len, protocol, src })
    }
}

/// Checks both headers; afterwards the packet is the inner one, and where its source matters, to look that up has begun.
#[inline(always)]
fn admit<'a>(snapshot: &'a Snapshot, packet: &mut Packet, last: &mut Last<'a>) -> Admitted<'a> {
    let (outer, inner) = (packet.ip(), packet.payload());
    let outer_ecn = ecn(outer);
    let Some(softwire) = softwire(snapshot, packet, last) else { return Err(refusal(snapshot, packet)) };
    let v6 = packet.proto == ip::IPV6;
    let h = Inner::parse(inner, v6).ok_or(DropReason::InnerMalformed)?;
    let route = if softwire.strict { fib::begin(snapshot, v6, h.src) } else { fib::NO_ROUTE };
    let padding = inner.len() - h.len;
    let meta = &mut **packet;
    meta.l3 = meta.l4;
    (meta.l4, meta.proto) = (meta.l3 + h.header_len as u16, h.protocol);
    (meta.origin, meta.next_hop) = (Origin::Softwire, route);
    if padding > 0 && !packet.mbuf.trim(padding) {
        return Err(DropReason::InnerMalformed);
    }
    if outer_ecn != NOT_ECT {
        propagate(outer_ecn, packet.ip_mut())?;
    }
    Ok(softwire)
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

/// RFC 6040, figure 4: what the inner field becomes. It stays what it is where the outer one is Not-ECT.
#[inline(never)]
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

//! L2TP and PPP decapsulation, and everything a subscriber's packet must satisfy.
//!
//! ```text
//!   outer IP | UDP 1701 | L2TP: T ─────────────────────────────────────────► L2TP control
//!                       └ data: ids ─► session ─► bound to this SA's peer? ─► from the tunnel's address?
//!                           └ PPP: 0021/0057, network layer open ─► inner source allowed? ─► filter, rate ─► forward
//!                             └ other protocols ────────────────────────────► PPP control
//! ```
//!
//! The binding (H19, H23, H49) holds both ways: a session set up inside ESP accepts nothing from other SAs and nothing
//! in the clear; one set up in the clear accepts nothing out of an SA. Inner sources (H18) are the subscriber's
//! prefixes; link-local and unspecified ones are for neighbour discovery and DHCPv6 on the link only, and those
//! packets go to the control plane, which is their destination.

use crate::lane::{Ctx, LANE, Lane, Origin, Packet, Stage};
use crate::node::classify::reason;
use crate::node::filter;
use crate::session::{OUT_OF, Sessions};
use arrayvec::ArrayVec;
use dataplane_api::{
    Counter, DropReason, FilterDirection, FilterId, InnerAddresses, PuntClass, SessionCounters, SessionId, Spi,
    TraceNode,
};
use std::net::{IpAddr, Ipv6Addr};
use wire::ip::{self, Ip};
use wire::l2tp::Header;
use wire::udp::Udp;
use wire::{icmp, ppp, tcp};

/// What a message is that is no subscriber's packet to be forwarded.
enum Next {
    Control { from: usize, end: usize },
    Ppp { id: SessionId, protocol: u16, from: usize, end: usize },
    SessionHost { id: SessionId, protocol: u16, from: usize, end: usize },
    HandOff(SessionId),
    Drop(DropReason),
}

/// A subscriber's packet that passed all checks.
struct Inner {
    id: SessionId,
    /// Where it begins in the buffer.
    from: usize,
    len: usize,
    header_len: usize,
    /// 0 of a fragment, which has no ports: see `fib::flow_hash`.
    protocol: u8,
    /// Clamp TCP's MSS to this MTU.
    clamp: Option<u16>,
}

/// An IP packet out of a session's frame.
#[derive(Clone, Copy)]
struct Frame<'a> {
    id: SessionId,
    index: usize,
    /// The PPP protocol.
    protocol: u16,
    v6: bool,
    /// Where it begins in the buffer.
    from: usize,
    octets: &'a [u8],
}

/// Drains `input`.
pub fn run(ctx: &mut Ctx, sessions: &mut Sessions, input: &mut Lane, forward: &mut Lane) {
    ctx.visit(TraceNode::L2tpIn, input);
    let ids: ArrayVec<u32, LANE> = input.packets().iter().map(likely).collect();
    let ahead = |ctx: &Ctx, sessions: &Sessions, id: u32| {
        SessionId(id).slot().into_iter().for_each(|slot| sessions.prefetch(&ctx.counters, slot.index(), OUT_OF));
    };
    ids.iter().take(AHEAD).for_each(|id| ahead(ctx, sessions, *id));
    for (n, mut packet) in input.drain().enumerate() {
        if let Some(&next) = ids.get(n + AHEAD).filter(|next| **next != ids[n]) {
            ahead(ctx, sessions, next);
        }
        match inspect(ctx, sessions, &packet) {
            Ok(inner) => match decapsulate(&mut packet, &inner) {
                true => ctx.push(forward, packet),
                false => ctx.drop(packet, DropReason::InnerMalformed),
            },
            Err(next) => dispatch(ctx, packet, next),
        }
    }
}

#[inline(never)]
fn dispatch(ctx: &mut Ctx, mut packet: Packet, next: Next) {
    match next {
        Next::Control { from, end } => ctx.punt(packet, PuntClass::L2tpControl, &[], from, end),
        Next::Ppp { id, protocol, from, end } => {
            packet.session = Some(id);
            ctx.punt(packet, PuntClass::PppControl, &protocol.to_be_bytes(), from, end);
        }
        Next::SessionHost { id, protocol, from, end } => {
            packet.session = Some(id);
            ctx.punt(packet, PuntClass::SessionHost, &protocol.to_be_bytes(), from, end);
        }
        Next::HandOff(id) => match id.slot() {
            Some(slot) => ctx.hand_off(slot.worker(), packet, Stage::L2tpIn),
            None => ctx.drop(packet, DropReason::SessionUnknown),
        },
        Next::Drop(reason) => ctx.drop(packet, reason),
    }
}

/// For how many packets sessions are on their way into the cache at a time.
const AHEAD: usize = 5;

/// The ids of nearly every data message, which are at the same place: behind a length, or there is none. Of any other message,
/// something else.
#[inline(always)]
fn likely(packet: &Packet) -> u32 {
    packet.payload().get(wire::udp::HEADER..).map_or(0, likely_ids)
}

/// The same of a message in UDP.
#[inline(always)]
pub fn likely_ids(l2tp: &[u8]) -> u32 {
    let at = if l2tp.first().is_some_and(|flags| flags & 0x40 != 0) { 4 } else { 2 };
    l2tp.get(at..).and_then(|ids| ids.first_chunk()).map_or(0, |ids| u32::from_be_bytes(*ids))
}

/// All checks, in the order of the headers.
#[inline(always)]
fn inspect(ctx: &Ctx, sessions: &mut Sessions, packet: &Packet) -> Result<Inner, Next> {
    let udp = match Udp::parse(packet.payload()) {
        Ok(udp) => udp,
        Err(e) => return Err(Next::Drop(reason(e))),
    };
    let base = usize::from(packet.l4) + wire::udp::HEADER;
    let Ok(l2tp) = Header::parse(udp.payload()) else { return Err(Next::Drop(DropReason::L2tpMalformed)) };
    if l2tp.control {
        // The control plane checks binding and addresses of control messages: it knows tunnels without a session.
        return Err(Next::Control { from: base, end: base + l2tp.end });
    }
    let id = SessionId::from_wire(l2tp.tunnel, l2tp.session);
    let Some(slot) = id.slot() else { return Err(Next::Drop(DropReason::SessionUnknown)) };
    if slot.worker() != ctx.id {
        return Err(Next::HandOff(id));
    }
    let Some((index, hot)) = sessions.get(id) else { return Err(Next::Drop(DropReason::SessionUnknown)) };
    if hot.peer() != packet.peer {
        return Err(Next::Drop(DropReason::SessionBinding));
    }
    // RFC 3193, section 3.3: addresses and ports must be those of the tunnel.
    if !hot.is_from_peer(packet.ip(), udp.src_port(), udp.dst_port()) {
        return Err(Next::Drop(DropReason::SessionAddress));
    }
    let Some(frame) = udp.payload().get(l2tp.len..l2tp.end) else { return Err(Next::Drop(DropReason::L2tpMalformed)) };
    let Ok((protocol, skip)) = ppp::protocol(frame) else { return Err(Next::Drop(DropReason::PppMalformed)) };
    let (from, end) = (base + l2tp.len + skip, base + l2tp.end);
    let Some(octets) = frame.get(skip..) else { return Err(Next::Drop(DropReason::PppMalformed)) };
    match protocol {
        ppp::IPV4 if hot.is_open(false) => inner(ctx, sessions, Frame { id, index, protocol, v6: false, from, octets }),
        ppp::IPV6 if hot.is_open(true) => inner(ctx, sessions, Frame { id, index, protocol, v6: true, from, octets }),
        ppp::IPV4 | ppp::IPV6 => Err(Next::Drop(DropReason::SessionClosed)),
        _ => Err(Next::Ppp { id, protocol, from, end }),
    }
}

/// The checks of an IP packet; of each family on its own, since most of what they look at differs.
#[inline(always)]
fn inner(ctx: &Ctx, sessions: &mut Sessions, frame: Frame<'_>) -> Result<Inner, Next> {
    match Ip::plain(frame.octets, frame.v6) {
        Some(h) => admit(ctx, sessions, frame, h),
        None => any(ctx, sessions, frame),
    }
}

/// A packet with options, extension headers, or a fragment.
#[inline(never)]
fn any(ctx: &Ctx, sessions: &mut Sessions, frame: Frame<'_>) -> Result<Inner, Next> {
    let header_ok = |h: &Ip| frame.v6 || frame.octets.get(..h.header_len).is_some_and(|h| wire::checksum::of(h) == 0);
    match Ip::parse(frame.octets).ok().filter(|h| h.src.is_ipv6() == frame.v6 && header_ok(h)) {
        Some(h) => admit(ctx, sessions, frame, h),
        None => Err(Next::Drop(DropReason::InnerMalformed)),
    }
}

/// What depends on the session: source, filter, rate.
#[inline(always)]
fn admit(ctx: &Ctx, sessions: &mut Sessions, frame: Frame<'_>, h: Ip) -> Result<Inner, Next> {
    let Frame { id, index, protocol, v6, from, octets } = frame;
    let (Some(hot), Some(addresses)) = (sessions.hot(index), sessions.inner(index)) else {
        return Err(Next::Drop(DropReason::SessionUnknown));
    };
    match source(addresses, h, octets) {
        Source::Allowed => {}
        Source::Link => return Err(Next::SessionHost { id, protocol, from, end: from + h.len }),
        Source::Refused(reason) => return Err(Next::Drop(reason)),
    }
    let clamp = (hot.clamps() && h.protocol == ip::TCP && h.is_first()).then_some(hot.mtu);
    let counters = ctx.counters.sessions.get(index);
    let refused = |reason, counter: fn(&SessionCounters) -> &Counter| {
        counters.inspect(|c| counter(c).add(1));
        Err(Next::Drop(reason))
    };
    if let Some(filter) = hot.filter()
        && !permits(ctx, filter, h, octets)
    {
        return refused(DropReason::Filtered, |c| &c.filtered);
    }
    if sessions.limit_up(index).is_some_and(|bucket| !bucket.take(h.len as u32, ctx.now)) {
        return refused(DropReason::RateUp, |c| &c.rate_up);
    }
    if let Some(c) = counters {
        let [packets, octets] = if v6 { &c.in_v6 } else { &c.in_v4 };
        packets.add(1);
        octets.add(h.len as u64);
    }
    let protocol = if h.fragment.is_some() { 0 } else { h.protocol };
    Ok(Inner { id, from, len: h.len, header_len: h.header_len, protocol, clamp })
}

#[inline(never)]
fn permits(ctx: &Ctx, filter: FilterId, h: Ip, octets: &[u8]) -> bool {
    filter::permits(&ctx.snapshot.filters, filter, FilterDirection::Up, &h, octets)
}

/// Leaves the inner packet alone in the buffer, as one that came from the subscriber.
#[inline(always)]
fn decapsulate(packet: &mut Packet, inner: &Inner) -> bool {
    let &Inner { id, from, len, header_len, protocol, clamp } = inner;
    let Some(padding) = packet.mbuf.len().checked_sub(from + len) else { return false };
    if !packet.mbuf.adj(from) || padding > 0 && !packet.mbuf.trim(padding) {
        return false;
    }
    let meta = &mut **packet;
    meta.session = Some(id);
    meta.peer = None;
    meta.spi = Spi(0);
    meta.origin = Origin::Session;
    meta.l3 = 0;
    meta.l4 = header_len as u16;
    meta.proto = protocol;
    if let Some(mtu) = clamp {
        clamp_mss(packet, header_len, mtu);
    }
    true
}

/// Lowers the MSS of a SYN to what `mtu` leaves (RFC 9293, section 3.7.1: less the fixed headers).
pub fn clamp_mss(packet: &mut Packet, header_len: usize, mtu: u16) {
    let fixed = if packet.is_v6() { wire::ipv6::HEADER } else { wire::ipv4::HEADER } + tcp::HEADER;
    if let Some(segment) = packet.ip_mut().get_mut(header_len..) {
        tcp::clamp_mss(segment, mtu.saturating_sub(fixed as u16));
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Source {
    Allowed,
    /// For our own end of the link.
    Link,
    Refused(DropReason),
}

/// Inner ingress filtering (H18).
#[inline(always)]
fn source(inner: &InnerAddresses, h: Ip, packet: &[u8]) -> Source {
    let global = |a: Ipv6Addr| !a.is_unspecified() && !a.is_unicast_link_local();
    let (src, dst) = match (h.src, h.dst) {
        (IpAddr::V6(src), IpAddr::V6(dst)) => (src, dst),
        _ => return allowed(inner, h.src),
    };
    let on_link = dst.is_multicast() || dst.is_unicast_link_local();
    if !global(src) {
        // Only what the link itself needs, only on the link, and a link-local source only if it is the peer's own.
        let own = inner.link_local.is_none_or(|a| a == src) || src.is_unspecified();
        return if own && on_link && is_link_protocol(h, src, packet) {
            Source::Link
        } else {
            Source::Refused(DropReason::InnerSource)
        };
    }
    match allowed(inner, h.src) {
        // Neighbour discovery may use a global source as well (RFC 4861, section 4.3).
        Source::Allowed if on_link && is_link_protocol(h, src, packet) => Source::Link,
        // Nothing else to the link is served, and nothing to it is ever forwarded (RFC 4291, section 2.5.6).
        Source::Allowed if on_link => Source::Refused(DropReason::NoRoute),
        other => other,
    }
}

#[inline(always)]
fn allowed(inner: &InnerAddresses, src: IpAddr) -> Source {
    for prefix in &inner.prefixes {
        match prefix {
            Some(prefix) if prefix.contains(src) => return Source::Allowed,
            Some(_) => {}
            None => break,
        }
    }
    Source::Refused(DropReason::InnerSource)
}

/// Router solicitation, neighbour solicitation and advertisement with the hop limit that proves they were not
/// forwarded (RFC 4861, section 6.1, 7.1), or DHCPv6 from client to server (RFC 8415, section 7.2).
fn is_link_protocol(h: Ip, src: Ipv6Addr, packet: &[u8]) -> bool {
    if h.fragment.is_some() {
        return false;
    }
    match (h.protocol, packet.get(h.header_len..h.len)) {
        (ip::ICMPV6, Some([kind, ..])) if h.ttl == 255 => match *kind {
            icmp::ROUTER_SOLICITATION | icmp::NEIGHBOUR_SOLICITATION => true,
            icmp::NEIGHBOUR_ADVERTISEMENT => !src.is_unspecified(),
            _ => false,
        },
        (ip::UDP, Some([a, b, c, d, ..])) => {
            !src.is_unspecified()
                && u16::from_be_bytes([*a, *b]) == DHCPV6_CLIENT
                && u16::from_be_bytes([*c, *d]) == DHCPV6_SERVER
        }
        _ => false,
    }
}

const DHCPV6_CLIENT: u16 = 546;
const DHCPV6_SERVER: u16 = 547;

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane_api::IpPrefix;

    fn check(src: &str, dst: &str, protocol: u8, ttl: u8, payload: &[u8]) -> Source {
        let mut inner = InnerAddresses { link_local: Some("fe80::7".parse().unwrap()), ..InnerAddresses::default() };
        inner.prefixes[0] = IpPrefix::new("2001:db8:7::".parse().unwrap(), 64);
        inner.prefixes[1] = IpPrefix::new("192.0.2.7".parse().unwrap(), 32);
        let (src, dst): (IpAddr, IpAddr) = (src.parse().unwrap(), dst.parse().unwrap());
        let header_len = if src.is_ipv6() { 40 } else { 20 };
        let mut packet = vec![0; header_len];
        packet.extend_from_slice(payload);
        let h = Ip { src, dst, len: packet.len(), header_len, protocol, ttl, fragment: None };
        source(&inner, h, &packet)
    }

    #[test]
    fn h18() {
        const REFUSED: Source = Source::Refused(DropReason::InnerSource);
        let rs = [icmp::ROUTER_SOLICITATION, 0, 0, 0];
        let echo = [icmp::ECHO_REQUEST_V6, 0, 0, 0];
        let dhcp = [0x02, 0x22, 0x02, 0x23, 0, 8, 0, 0];
        for (src, dst, protocol, ttl, payload, want) in [
            ("2001:db8:7::1", "2001:db8::1", ip::TCP, 64, &[][..], Source::Allowed),
            ("2001:db8:8::1", "2001:db8::1", ip::TCP, 64, &[], REFUSED),
            ("192.0.2.7", "198.51.100.1", ip::TCP, 64, &[], Source::Allowed),
            ("192.0.2.8", "198.51.100.1", ip::TCP, 64, &[], REFUSED),
            ("fe80::7", "ff02::2", ip::ICMPV6, 255, &rs, Source::Link),
            ("::", "ff02::2", ip::ICMPV6, 255, &rs, Source::Link),
            ("fe80::8", "ff02::2", ip::ICMPV6, 255, &rs, REFUSED),
            ("fe80::7", "ff02::2", ip::ICMPV6, 254, &rs, REFUSED),
            ("fe80::7", "2001:db8::1", ip::ICMPV6, 255, &rs, REFUSED),
            ("fe80::7", "fe80::1", ip::ICMPV6, 255, &echo, REFUSED),
            ("fe80::7", "ff02::1:2", ip::UDP, 64, &dhcp, Source::Link),
            ("::", "ff02::1:2", ip::UDP, 64, &dhcp, REFUSED),
            ("2001:db8:7::1", "fe80::1", ip::ICMPV6, 255, &[icmp::NEIGHBOUR_SOLICITATION], Source::Link),
            ("2001:db8:7::1", "ff02::1", ip::TCP, 64, &[], Source::Refused(DropReason::NoRoute)),
        ] {
            assert_eq!(check(src, dst, protocol, ttl, payload), want, "{src} > {dst} {protocol} {payload:?}");
        }
    }
}

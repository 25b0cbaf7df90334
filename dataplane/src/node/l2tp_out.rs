//! PPP and L2TP encapsulation (RFC 2661, section 3.1), UDP and the outer IP header.
//!
//! Data headers are the shortest that the session allows: no length, Ns only if the peer asked for sequencing. The
//! outer header allows fragmentation (DF clear): the session's MTU is chosen so that it is not needed.
//!
//! In front of that, the session's filter, and its rate: only what is sent takes tokens, whole packets before they are
//! fragmented. What this gateway itself says is not filtered.

use crate::fib::SessionWord;
use crate::lane::{Ctx, LANE, Lane, Origin, Packet, Ready};
use crate::node::icmp::HOP_LIMIT;
use crate::node::l2tp_in::clamp_mss;
use crate::node::{self, filter, fragment, icmp, room};
use crate::sad::Sad;
use crate::session::{Hot, INTO, Sessions};
use arrayvec::ArrayVec;
use dataplane_api::{DropReason, FilterDirection, FilterId, TraceNode};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use wire::icmp::ErrorKind;
use wire::ip::Ip;
use wire::{ip, ipv4, ipv6, l2tp, ppp, udp};

/// For how many packets sessions are on their way into the cache at a time.
const AHEAD: usize = 8;

/// Drains `input`, whose packets have a route into a session of this worker.
pub fn run(
    ctx: &mut Ctx,
    sessions: &mut Sessions,
    sad: &Sad,
    input: &mut Lane,
    esp_out: &mut Lane,
    outer: &mut Lane,
    again: &mut Lane,
) {
    ctx.visit(TraceNode::L2tpOut, input);
    let large = sad.large();
    let words: ArrayVec<u32, LANE> = input.packets().iter().map(|packet| packet.next_hop).collect();
    let ahead = |ctx: &Ctx, sessions: &Sessions, word: u32| {
        if let Some(word) = SessionWord::from_word(word) {
            sessions.prefetch(&ctx.counters, word.index(), INTO);
        }
    };
    words.iter().take(AHEAD).for_each(|word| ahead(ctx, sessions, *word));
    for (n, mut packet) in input.drain().enumerate() {
        if let Some(&next) = words.get(n + AHEAD) {
            ahead(ctx, sessions, next);
        }
        let word = SessionWord::from_word(packet.next_hop);
        let Some((index, hot, limit)) = word.and_then(|w| sessions.routed(w)) else {
            ctx.drop(packet, DropReason::SessionUnknown);
            continue;
        };
        let v6 = packet.is_v6();
        if !hot.is_open(v6) {
            ctx.drop(packet, DropReason::SessionClosed);
            continue;
        }
        if packet.origin != Origin::Local
            && let Some(filter) = hot.filter()
            && !permitted(ctx, filter, &packet)
        {
            if let Some(c) = ctx.counters.sessions.get(index) {
                c.filtered.add(1);
            }
            ctx.drop(packet, DropReason::Filtered);
            continue;
        }
        let mtu = hot.mtu;
        if hot.clamps() && packet.proto == ip::TCP {
            let header_len = usize::from(packet.l4 - packet.l3);
            clamp_mss(&mut packet, header_len, mtu);
        }
        let len = packet.ip().len();
        let fits = len <= usize::from(mtu);
        if !fits && !fragment::may(&packet) {
            icmp::error(ctx, sessions, packet, ErrorKind::TooBig(mtu), DropReason::TooBig, again);
        } else if limit.is_some_and(|bucket| !bucket.take(len as u32, ctx.now)) {
            if let Some(c) = ctx.counters.sessions.get(index) {
                c.rate_down.add(1);
            }
            ctx.drop(packet, DropReason::RateDown);
        } else if fits {
            send(ctx, large, (index, hot, v6), packet, esp_out, outer);
        } else {
            fragment::split(ctx, packet, mtu, |ctx, piece| {
                send(ctx, large, (index, hot, v6), piece, esp_out, outer);
            });
        }
    }
}

/// An IP packet that fits into a session.
#[inline(always)]
fn send(
    ctx: &mut Ctx,
    large: Option<&Sad>,
    (index, hot, v6): (usize, &mut Hot, bool),
    packet: Packet,
    esp_out: &mut Lane,
    outer: &mut Lane,
) {
    let len = packet.ip().len() as u64;
    let Some(packet) = encapsulate(ctx, hot, packet, if v6 { ppp::IPV6 } else { ppp::IPV4 }) else { return };
    if let Some(c) = ctx.counters.sessions.get(index) {
        let [packets, octets] = if v6 { &c.out_v6 } else { &c.out_v4 };
        packets.add(1);
        octets.add(len);
    }
    if packet.peer.is_none() {
        return ctx.push(outer, packet);
    }
    ctx.push(esp_out, packet);
    large.into_iter().for_each(|sad| node::esp_out::ahead(sad, esp_out));
}

fn permitted(ctx: &Ctx, id: FilterId, packet: &Packet) -> bool {
    let ip = packet.ip();
    Ip::parse(ip).is_ok_and(|h| filter::permits(&ctx.snapshot.filters, id, FilterDirection::Down, &h, ip))
}

/// Puts all headers in front of an IP packet, or of the information of another PPP frame, at `l3`. The packet is
/// then an outer IP packet of our own, to be protected for `peer` if there is one.
#[inline(always)]
pub fn encapsulate(ctx: &mut Ctx, hot: &mut Hot, packet: Packet, protocol: u16) -> Option<Packet> {
    match hot.peer() {
        Some(_) => encapsulate_as::<true>(ctx, hot, packet, protocol),
        None => encapsulate_as::<false>(ctx, hot, packet, protocol),
    }
}

#[inline(always)]
fn encapsulate_as<const PROTECTED: bool>(
    ctx: &mut Ctx,
    hot: &mut Hot,
    mut packet: Packet,
    protocol: u16,
) -> Option<Packet> {
    let ns = hot.next_ns();
    // RFC 1661, section 6.5 and 6.6: LCP is never compressed.
    let (pfc, acfc) = if protocol == LCP { (false, false) } else { hot.compression() };
    let (l2tp_len, ppp_len) = (l2tp::data_len(ns.is_some()), ppp::emit_len(protocol, pfc, acfc));
    let v6 = hot.is_v6();
    let ip_len = if v6 { ipv6::HEADER } else { ipv4::HEADER };
    let l4 = ip_len + room::behind_ip(PROTECTED);
    let head = l4 + udp::HEADER + l2tp_len + ppp_len;
    let l3 = usize::from(packet.l3);
    if packet.mbuf.replace_front(l3, head).is_none() {
        ctx.drop(packet, DropReason::NoBuffer);
        return None;
    }
    let data = packet.mbuf.data_mut();
    let (ports, ids) = ((hot.local_port, hot.remote_port), (ctx.next_ip_id(), HOP_LIMIT));
    let emitted =
        data.get_mut(l4 + udp::HEADER..).is_some_and(|h| l2tp::emit_data(h, hot.peer_tunnel, hot.peer_session, ns))
            && data.get_mut(head - ppp_len..).is_some_and(|h| ppp::emit(h, protocol, pfc, acfc))
            && match v6 {
                false => udp_ipv4(data, hot.v4(), ports, ids, PROTECTED),
                true => udp_ipv6(data, hot.v6(), ports, HOP_LIMIT, PROTECTED),
            };
    if !emitted {
        ctx.drop(packet, DropReason::TooBig);
        return None;
    }
    (packet.peer, packet.enclosed) = (hot.peer(), PROTECTED);
    packet.ready = if PROTECTED { Ready::Packet } else { Ready::Unsummed };
    packet.session = Some(hot.id());
    packet.l3 = 0;
    packet.l4 = l4 as u16;
    packet.proto = ip::UDP;
    packet.origin = Origin::Local;
    Some(packet)
}

const LCP: u16 = 0xc021;

/// Writes IP and UDP headers in front of a payload that is in place, with [`room`] between them if the packet is to be protected;
/// one that is not has no checksum yet ([`Ready::Unsummed`]). `false`: there is no room, or the packet is too long.
pub fn udp_ip(
    data: &mut [u8],
    (src, dst): (IpAddr, IpAddr),
    ports: (u16, u16),
    (id, ttl): (u16, u8),
    protected: bool,
) -> bool {
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => udp_ipv4(data, (src, dst), ports, (id, ttl), protected),
        (IpAddr::V6(src), IpAddr::V6(dst)) => udp_ipv6(data, (src, dst), ports, ttl, protected),
        _ => false,
    }
}

/// Without UDP checksum where ESP will protect the packet anyway. RFC 2661, section 8.1 wants one by default: that of a packet
/// in the clear is left to `output`.
#[inline(always)]
fn udp_ipv4(
    data: &mut [u8],
    (src, dst): (Ipv4Addr, Ipv4Addr),
    ports: (u16, u16),
    (id, ttl): (u16, u8),
    protected: bool,
) -> bool {
    let Some((header, behind)) = data.split_first_chunk_mut::<{ ipv4::HEADER }>() else { return false };
    let Some(datagram) = behind.get_mut(room::behind_ip(protected)..) else { return false };
    let Ok(len) = u16::try_from(datagram.len()) else { return false };
    let (protocol, carried) = room::announced(protected, ip::UDP, datagram.len());
    let Ok(total_len) = u16::try_from(ipv4::HEADER + carried) else { return false };
    let template = ipv4::Template::new(&ipv4::Repr { tos: 0, total_len, id, flags: 0, ttl, protocol, src, dst });
    template.emit(header, 0, total_len, id, protocol);
    udp::emit(datagram, ports.0, ports.1, len)
}

/// With a UDP checksum always (RFC 8200, section 8.1): inside ESP it is computed here, in the clear it is left to `output`.
#[inline(always)]
fn udp_ipv6(
    data: &mut [u8],
    (src, dst): (Ipv6Addr, Ipv6Addr),
    ports: (u16, u16),
    hop_limit: u8,
    protected: bool,
) -> bool {
    let Some(datagram) = data.get_mut(ipv6::HEADER + room::behind_ip(protected)..) else { return false };
    let Ok(len) = u16::try_from(datagram.len()) else { return false };
    let (next_header, carried) = room::announced(protected, ip::UDP, datagram.len());
    let Ok(payload_len) = u16::try_from(carried) else { return false };
    if !udp::emit(datagram, ports.0, ports.1, len) {
        return false;
    }
    if protected {
        udp::fill_checksum(datagram, src.into(), dst.into());
    }
    let (traffic_class, flow_label) = (0, 0);
    ipv6::Repr { traffic_class, flow_label, payload_len, next_header, hop_limit, src, dst }.emit(data)
}

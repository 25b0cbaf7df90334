//! Received frames: what they are, and which node is next.
//!
//! ```text
//!   Ethernet, VLAN ─► ARP ───────────────────────────────────────────────► host stack
//!                  └► IPv4/IPv6 ─► not to us ──── trusted port ──────────► forward     (public: SpdTransit)
//!                               └► to us, whole or reassembled:
//!                                    ESP, or UDP 4500 with an SPI ───────► esp_in      (perhaps another worker's)
//!                                    UDP 500, 4500 with non-ESP marker ──► IKE         (SPD)
//!                                    UDP 3784, 4784 ────────────────────► BFD         (SPD, softwires)
//!                                    UDP 1701 ───────────────────────────► l2tp_in     (SPD: only where BYPASSed)
//!                                    IP in IP ──────────────────────────► decap       (softwires)
//!                                    ICMP, TCP, other UDP, routing ──────► host stack  (SPD)
//! ```
//!
//! RFC 3948, section 2: on port 4500 four octets of zero mark IKE, a single octet 0xff is a keepalive.

use crate::lane::{Ctx, Lane, Origin, Packet, Stage};
use crate::node::{punt, spd};
use crate::publish::{Port, Snapshot};
use crate::reassembly::Fragments;
use crate::sad::Sad;
use crate::softwire::Ends;
use dataplane_api::{DropReason, PuntClass, Spi, WorkerEvent};
use std::net::IpAddr;
use wire::esp::Encapsulated;
use wire::ethernet::{self, Ethernet, Labels};
use wire::ip::{self, Ip};
use wire::udp::Udp;
use wire::{icmp, ipv4, ipv6};

/// IKE's port (RFC 7296, section 2).
pub const IKE: u16 = 500;
/// IKE and ESP behind NATs (RFC 3948).
pub const NATT: u16 = 4500;
/// BFD over a single hop (RFC 5881, section 4).
pub const BFD: u16 = 3784;
/// BFD over several hops (RFC 5883, section 5).
pub const BFD_MULTIHOP: u16 = 4784;
/// Octets of the non-ESP marker.
pub const MARKER: usize = 4;

/// Protocols that the host stack is offered: ICMP, IGMP, TCP, UDP, ICMPv6, OSPF, PIM, VRRP.
const HOST_PROTOCOLS: [u8; 8] = [ip::ICMP, 2, ip::TCP, ip::UDP, ip::ICMPV6, 89, 103, 112];

/// The lanes that lead on from here.
struct Ways<'a> {
    /// SAs that are to be asked for.
    large: Option<&'a Sad>,
    esp_in: &'a mut Lane,
    l2tp_in: &'a mut Lane,
    decap: &'a mut Lane,
    forward: &'a mut Lane,
}

enum Next {
    EspIn(Spi),
    L2tpIn,
    Decap,
    Forward,
    Control { class: PuntClass, from: usize, end: usize },
    Host,
    Reassemble,
    Drop(DropReason),
}

/// Drains `input`.
pub fn run(
    ctx: &mut Ctx,
    snapshot: &Snapshot,
    sad: &Sad,
    fragments: &mut Fragments,
    input: &mut Lane,
    (esp_in, l2tp_in, decap, forward): (&mut Lane, &mut Lane, &mut Lane, &mut Lane),
) {
    ctx.start_traces(input);
    let mut ways = Ways { large: sad.large(), esp_in, l2tp_in, decap, forward };
    let mut last: Option<&Port> = None;
    for mut packet in input.drain() {
        // Packets of one port follow each other.
        let port = match last {
            Some(port) if packet.port == port.config.port => Some(port),
            _ => snapshot.port(packet.port),
        };
        last = port;
        match port.and_then(|port| plain(snapshot, port, &mut packet)) {
            Some(next) => ways.take(ctx, packet, next),
            None => other(ctx, fragments, &mut ways, packet),
        }
    }
}

impl Ways<'_> {
    /// Sends a packet on.
    #[inline(always)]
    fn take(&mut self, ctx: &mut Ctx, packet: Packet, next: Next) {
        match next {
            Next::EspIn(spi) => match spi.slot() {
                Some(slot) if slot.worker() == ctx.id => {
                    self.large.into_iter().for_each(|sad| sad.prefetch_in(slot.index()));
                    ctx.push(self.esp_in, packet);
                }
                Some(slot) => ctx.hand_off(slot.worker(), packet, Stage::EspIn),
                None => ctx.drop(packet, DropReason::SaUnknown),
            },
            Next::L2tpIn => ctx.push(self.l2tp_in, packet),
            Next::Decap => ctx.push(self.decap, packet),
            Next::Forward => ctx.push(self.forward, packet),
            Next::Control { class, from, end } => ctx.punt(packet, class, &[], from, end),
            Next::Host => {
                let end = packet.mbuf.len();
                let class = if packet.proto == 0 { PuntClass::Neighbour } else { punt::host_class(&packet) };
                ctx.punt(packet, class, &[], 0, end);
            }
            // A whole datagram is no fragment, unless the reassembled octets say so again.
            Next::Reassemble => ctx.drop(packet, DropReason::Malformed),
            Next::Drop(reason) => ctx.drop(packet, reason),
        }
    }
}

/// What nearly every frame is: to our Ethernet address, one header without options or extensions, and no fragment; to somebody
/// else, or ESP (in UDP, too) or IP in IP to us. `None`: not that, or not as it should be, and [`frame`] tells.
#[inline(always)]
fn plain(snapshot: &Snapshot, port: &Port, packet: &mut Packet) -> Option<Next> {
    let data = packet.mbuf.data();
    let front = data.first_chunk()?;
    let (Labels { vlan: tag, ethertype, len: l3 }, ip) = ethernet::labels(data)?;
    if !port.is_to_us(front) || vlan(tag, packet) != port.vlan || !packet.mbuf.is_contiguous() {
        return None;
    }
    let (len, header, protocol, ours, start) = match ethertype {
        ethernet::IPV4 => {
            let h = ipv4::plain(ip)?;
            // Multicast, broadcast, and what nobody has; loopback: see `is_martian` and `is_link_scope`.
            if matches!(h.src >> 24, 127 | 224..) || h.dst >> 24 >= 224 {
                return None;
            }
            (usize::from(h.len), ipv4::HEADER, h.protocol, snapshot.ours.has_v4(h.dst), h.dst)
        }
        ethernet::IPV6 => {
            let h = ipv6::plain(ip)?;
            let odd = |a: u128| a >> 120 == 0xff;
            if odd(h.src) || odd(h.dst) || h.src == 1 || h.dst >> 118 == 0xfe80 >> 6 {
                return None;
            }
            (h.len, ipv6::HEADER, h.protocol, snapshot.ours.has_v6(h.dst), (h.dst >> 96) as u32)
        }
        _ => return None,
    };
    let padding = ip.len() - len;
    if padding > 0 && !packet.mbuf.trim(padding) {
        return None;
    }
    (packet.l3, packet.l4, packet.proto) = (l3 as u16, (l3 + header) as u16, protocol);
    packet.origin = port.origin;
    match protocol {
        _ if !ours && port.origin == Origin::Trusted => {
            let fib = if header == ipv4::HEADER { &snapshot.fibs.v4 } else { &snapshot.fibs.v6 };
            fib.prefetch(start);
            Some(Next::Forward)
        }
        _ if !ours => Some(Next::Drop(DropReason::SpdTransit)),
        ip::ESP => Some(esp(wire::esp::spi(packet.payload()))),
        // The table of softwires is the SPD of IP in IP: `decap` bypasses, demands protection, or discards.
        ip::IPIP | ip::IPV6 => Some(Next::Decap),
        ip::UDP => in_udp(packet.payload()).map(|spi| Next::EspIn(Spi(spi))),
        _ => None,
    }
}

/// The SPI of ESP in UDP, where nothing is odd about it.
#[inline(always)]
fn in_udp(datagram: &[u8]) -> Option<u32> {
    let h: &[u8; wire::udp::HEADER] = datagram.first_chunk()?;
    let (to, len) = (u16::from_be_bytes([h[2], h[3]]), u16::from_be_bytes([h[4], h[5]]));
    let spi = wire::esp::spi(&datagram[wire::udp::HEADER..])?;
    // An SPI of 0 is IKE's marker.
    (to == NATT && usize::from(len) == datagram.len() && spi != 0).then_some(spi)
}

/// A packet that is not [`plain`].
#[inline(never)]
fn other(ctx: &mut Ctx, fragments: &mut Fragments, ways: &mut Ways, mut packet: Packet) {
    let mut next = match packet.mbuf.linearize(&ctx.large) {
        Ok(()) => frame(ctx, &mut packet),
        Err(_) => Next::Drop(DropReason::NoBuffer),
    };
    if let Next::Reassemble = next {
        let Some(whole) = fragments.add(ctx, packet) else { return };
        packet = whole;
        next = match headers(&mut packet) {
            Ok(h) => to_us(ctx, &packet, &h),
            Err(reason) => Next::Drop(reason),
        };
    }
    ways.take(ctx, packet, next);
}

/// The VLAN that a frame is of, or 0: that of the tag in it, or of one that was taken off by the port.
#[inline(always)]
fn vlan(tag: u16, packet: &Packet) -> u16 {
    if tag != 0 { tag } else { packet.mbuf.stripped_vlan().map_or(0, |tci| tci & 0xfff) }
}

/// Any frame, up to the decision whether it is for us.
fn frame(ctx: &mut Ctx, packet: &mut Packet) -> Next {
    let Some(port) = ctx.snapshot.port(packet.port) else { return Next::Drop(DropReason::UnknownVlan) };
    let Ok(eth) = Ethernet::parse(packet.mbuf.data()) else { return Next::Drop(DropReason::Truncated) };
    if vlan(eth.vlan.unwrap_or(0), packet) != port.vlan {
        return Next::Drop(DropReason::UnknownVlan);
    }
    if eth.dst != port.config.mac.0 && !eth.is_group() {
        return Next::Drop(DropReason::NotOurMac);
    }
    packet.l3 = eth.len as u16;
    packet.origin = port.origin;
    let version = match eth.ethertype {
        ethernet::IPV4 => 4,
        ethernet::IPV6 => 6,
        ethernet::ARP => return Next::Host,
        _ => return Next::Drop(DropReason::UnknownEthertype),
    };
    if packet.ip().first().is_some_and(|b| b >> 4 != version) {
        return Next::Drop(DropReason::Malformed);
    }
    let h = match headers(packet) {
        Ok(h) => h,
        Err(reason) => return Next::Drop(reason),
    };
    if ctx.snapshot.is_ours(h.dst) || is_link_scope(h.dst) {
        return to_us(ctx, packet, &h);
    }
    match packet.origin {
        // RFC 1812, section 5.3.4: a frame sent to a group does not carry a packet to be forwarded.
        _ if eth.is_group() => Next::Drop(DropReason::NotOurMac),
        Origin::Trusted => Next::Forward,
        _ => Next::Drop(DropReason::SpdTransit),
    }
}

/// Reads the IP headers, trims the frame's padding, and notes where things are.
fn headers(packet: &mut Packet) -> Result<Ip, DropReason> {
    let data = packet.ip();
    let h = Ip::parse(data).map_err(reason)?;
    if !packet.is_v6() && wire::checksum::of(data.get(..h.header_len).unwrap_or_default()) != 0 {
        return Err(DropReason::Malformed);
    }
    if is_martian(h.src) {
        return Err(DropReason::Malformed);
    }
    let padding = data.len() - h.len;
    packet.l4 = packet.l3 + h.header_len as u16;
    // A fragment has no ports to look at: see `fib::flow_hash`.
    packet.proto = if h.fragment.is_some() { 0 } else { h.protocol };
    if packet.mbuf.trim(padding) { Ok(h) } else { Err(DropReason::Truncated) }
}

fn to_us(ctx: &mut Ctx, packet: &Packet, h: &Ip) -> Next {
    if h.fragment.is_some() {
        return Next::Reassemble;
    }
    match h.protocol {
        ip::ESP => esp(wire::esp::spi(packet.payload())),
        ip::UDP => datagram(ctx, packet, h),
        // The table of softwires is the SPD of IP in IP: `decap` bypasses, demands protection, or discards.
        ip::IPIP | ip::IPV6 => Next::Decap,
        ip::ICMP | ip::ICMPV6 => {
            path_mtu(ctx, packet);
            guarded(ctx, packet, Next::Host)
        }
        p if HOST_PROTOCOLS.contains(&p) => guarded(ctx, packet, Next::Host),
        _ => guarded(ctx, packet, Next::Drop(DropReason::NoListener)),
    }
}

fn datagram(ctx: &Ctx, packet: &Packet, h: &Ip) -> Next {
    let udp = match Udp::parse(packet.payload()) {
        Ok(udp) => udp,
        Err(e) => return Next::Drop(reason(e)),
    };
    let from = usize::from(packet.l4) + wire::udp::HEADER;
    let end = from + udp.payload().len();
    let control = |class, from| match udp.checksum_ok(h.src, h.dst) {
        true => Next::Control { class, from, end },
        false => Next::Drop(DropReason::Malformed),
    };
    match udp.dst_port() {
        NATT => match wire::esp::encapsulated(udp.payload()) {
            // RFC 3948, section 2.2: the checksum is not looked at, the ICV covers what matters.
            Encapsulated::Esp(spi) => esp(Some(spi)),
            Encapsulated::Keepalive => Next::Drop(DropReason::Consumed),
            Encapsulated::Ike => guarded(ctx, packet, control(PuntClass::Ike, from + MARKER)),
            Encapsulated::Malformed => Next::Drop(DropReason::Truncated),
        },
        IKE => guarded(ctx, packet, control(PuntClass::Ike, from)),
        // RFC 5881, section 5: what a router has forwarded costs the sessions none of their tokens.
        BFD if h.ttl != u8::MAX => Next::Drop(DropReason::BfdTtl),
        BFD_MULTIHOP if is_softwire_bfd(ctx, h) => control(PuntClass::Bfd, from),
        BFD | BFD_MULTIHOP => guarded(ctx, packet, control(PuntClass::Bfd, from)),
        wire::l2tp::PORT => guarded(ctx, packet, Next::L2tpIn),
        _ => guarded(ctx, packet, Next::Host),
    }
}

fn esp(spi: Option<u32>) -> Next {
    spi.map_or(Next::Drop(DropReason::Truncated), |spi| Next::EspIn(Spi(spi)))
}

/// "Fragmentation needed" and "packet too big" about a packet of a softwire of ours (RFC 1191, RFC 8201): the control
/// plane lowers the softwire's MTU. Only what is less than we know is news, and a forger gains no more than the least
/// MTU that every path has.
fn path_mtu(ctx: &mut Ctx, packet: &Packet) {
    if ctx.snapshot.softwires.is_empty() {
        return;
    }
    let Some((mtu, src, dst)) = icmp::too_big(packet.payload(), packet.is_v6()) else { return };
    let Some(ends) = Ends::new(src, dst) else { return };
    let news = ctx.snapshot.softwires.between(ends).find(|s| mtu < s.path_mtu).map(|s| s.id);
    if let Some(id) = news
        && spd::inbound(&ctx.snapshot.policy, packet).is_ok()
        && ctx.limiter.path_mtu(ctx.now)
    {
        ctx.event(WorkerEvent::PathMtu(id, mtu));
    }
}

/// `next`, if the SPD lets a packet pass in the clear (H1, H50). In the trusted zone that is all but what is to be
/// PROTECTed.
fn guarded(ctx: &Ctx, packet: &Packet, next: Next) -> Next {
    match spd::inbound(&ctx.snapshot.policy, packet) {
        Ok(()) => next,
        Err(DropReason::SpdDiscard) if packet.origin == Origin::Trusted => next,
        Err(reason) => Next::Drop(reason),
    }
}

/// BFD from the other end of a softwire that has a session. The table of softwires is its SPD, as for IP in IP.
fn is_softwire_bfd(ctx: &Ctx, h: &Ip) -> bool {
    Ends::new(h.dst, h.src).is_some_and(|ends| ctx.snapshot.softwires.between(ends).any(|s| s.bfd))
}

/// Destinations that mean every router or host on the link, and us among them.
fn is_link_scope(dst: IpAddr) -> bool {
    match dst {
        IpAddr::V4(a) => a.is_multicast() || a.is_broadcast(),
        IpAddr::V6(a) => a.is_multicast() || a.is_unicast_link_local(),
    }
}

/// Sources that no packet on a wire has (RFC 1812, section 5.3.7; RFC 4291, section 2.5.3, 2.7).
#[inline(always)]
pub fn is_martian(src: IpAddr) -> bool {
    match src {
        IpAddr::V4(a) => a.is_multicast() || a.is_broadcast() || a.is_loopback(),
        IpAddr::V6(a) => a.is_multicast() || a.is_loopback(),
    }
}

/// How an error of a header is counted.
pub fn reason(e: wire::Error) -> DropReason {
    match e {
        wire::Error::Truncated => DropReason::Truncated,
        wire::Error::Malformed => DropReason::Malformed,
    }
}

//! ICMP messages of our own: errors about packets that cannot go on, and answers to echo.
//!
//! An error is sent only where RFC 1812 (section 4.3.2.7) and RFC 4443 (section 2.4 e) allow one: not about another
//! error, not about a fragment beyond the first, not about group destinations or sources that name no host; and only
//! at a limited rate (RFC 4443, section 2.4 f). The packet itself is dropped for its own reason in any case; an error
//! that the rate limit holds back counts as made and dropped, so that it can be seen.

use crate::bucket::Bucket;
use crate::lane::{Ctx, Lane, Origin, Packet, PacketMeta};
use crate::session::Sessions;
use dataplane_api::{DropReason, Zone};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;
use wire::icmp::{self, ErrorKind};
use wire::ip::{self, Ip};
use wire::{ipv4, ipv6};

/// Hop limit of what we send.
pub const HOP_LIMIT: u8 = 64;

/// ICMP errors, neighbour requests, path MTUs and softwires asked for per second.
#[derive(Clone, Copy, Debug)]
pub struct IcmpLimiter {
    errors: Bucket,
    neighbours: Bucket,
    path_mtus: Bucket,
    softwires: Bucket,
}

impl IcmpLimiter {
    /// With the default rates.
    pub fn new(now: Instant) -> Self {
        Self {
            errors: Bucket::new(1000, 200, now),
            neighbours: Bucket::new(100, 50, now),
            path_mtus: Bucket::new(100, 50, now),
            softwires: Bucket::new(100, 50, now),
        }
    }

    /// Whether another path MTU may be told.
    pub fn path_mtu(&mut self, now: Instant) -> bool {
        self.path_mtus.take(1, now)
    }

    /// Whether another softwire may be asked for.
    pub fn softwire(&mut self, now: Instant) -> bool {
        self.softwires.take(1, now)
    }

    /// Whether another neighbour may be asked for.
    pub fn neighbour(&mut self, now: Instant) -> bool {
        self.neighbours.take(1, now)
    }
}

/// Ends `packet` for `reason` and tells its source, where that is allowed. The message goes into `again`.
pub fn error(
    ctx: &mut Ctx,
    sessions: &Sessions,
    packet: Packet,
    kind: ErrorKind,
    reason: DropReason,
    again: &mut Lane,
) {
    if let Some((ours, source)) = reportable(ctx, sessions, &packet, kind) {
        ctx.counters.worker.generated.add(1);
        if !ctx.limiter.errors.take(1, ctx.now) {
            ctx.count_drop(DropReason::IcmpSuppressed);
        } else {
            match build(ctx, &packet, kind, ours, source) {
                Some(message) => ctx.push(again, message),
                None => ctx.count_drop(DropReason::NoBuffer),
            }
        }
    }
    ctx.drop(packet, reason);
}

/// Our address and the address to tell, if an error about this packet is allowed.
fn reportable(ctx: &Ctx, sessions: &Sessions, packet: &Packet, kind: ErrorKind) -> Option<(IpAddr, IpAddr)> {
    if !matches!(packet.origin, Origin::Session | Origin::Softwire | Origin::Trusted) {
        return None;
    }
    let h = Ip::parse(packet.ip()).ok()?;
    let kind_of = packet.ip().get(h.header_len).copied();
    let about_error = match h.protocol {
        // Without the type octet one cannot know; then rather not.
        ip::ICMP => kind_of.is_none_or(icmp::is_error_v4),
        ip::ICMPV6 => kind_of.is_none_or(icmp::is_error_v6),
        _ => false,
    };
    let allowed = match (h.src, h.dst) {
        (IpAddr::V4(s), IpAddr::V4(d)) => icmp::may_report_v4(s, d),
        (IpAddr::V6(s), IpAddr::V6(d)) => icmp::may_report_v6(s, d, matches!(kind, ErrorKind::TooBig(_))),
        _ => false,
    };
    if about_error || !allowed || !h.is_first() {
        return None;
    }
    Some((our_address(ctx, sessions, packet, h.src.is_ipv6())?, h.src))
}

/// An address of ours on the side the packet came from (RFC 1812, section 4.3.2.4), or any that fits.
fn our_address(ctx: &Ctx, sessions: &Sessions, packet: &Packet, v6: bool) -> Option<IpAddr> {
    let snapshot = &ctx.snapshot;
    let on_port = snapshot.port(packet.port).filter(|_| packet.origin == Origin::Trusted);
    let inner = packet.session.and_then(|id| sessions.get(id)).and_then(|(i, _)| sessions.inner(i));
    let near = if v6 {
        on_port.and_then(|p| p.v6).map(IpAddr::V6)
    } else {
        on_port.and_then(|p| p.v4).or(inner.and_then(|i| i.local_v4)).map(IpAddr::V4)
    };
    let link_local = |a: &IpAddr| matches!(a, IpAddr::V6(a) if a.is_unicast_link_local());
    // Rather an address that the core knows than one of the access side.
    let trusted = || snapshot.ports.iter().flatten().filter(|p| p.config.zone == Zone::Trusted);
    let core = || {
        if v6 { trusted().find_map(|p| p.v6).map(IpAddr::V6) } else { trusted().find_map(|p| p.v4).map(IpAddr::V4) }
    };
    let any = || snapshot.ours.iter(v6).find(|a| !link_local(a));
    near.or_else(core).or_else(any).or(inner.filter(|_| v6).and_then(|i| i.local_v6).map(IpAddr::V6))
}

fn build(ctx: &mut Ctx, about: &Packet, kind: ErrorKind, ours: IpAddr, source: IpAddr) -> Option<Packet> {
    let mut mbuf = ctx.pool.alloc()?;
    let v6 = source.is_ipv6();
    let (header, max) = if v6 { (ipv6::HEADER, icmp::MAX_V6) } else { (ipv4::HEADER, icmp::MAX_V4) };
    let quote = about.ip();
    let quote = quote.get(..quote.len().min(max - header - icmp::HEADER))?;
    let len = header + icmp::HEADER + quote.len();
    let out = mbuf.append(len)?;
    out.get_mut(header + icmp::HEADER..)?.copy_from_slice(quote);
    let message = out.get_mut(header..)?;
    match (ours, source) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            icmp::emit_v4(message, kind);
            let (id, protocol) = (ctx.next_ip_id(), ip::ICMP);
            // Precedence 6 (RFC 1812, section 4.3.2.5).
            ipv4::Repr { tos: 0xc0, total_len: len as u16, id, flags: 0, ttl: HOP_LIMIT, protocol, src, dst }.emit(out);
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            icmp::emit_v6(message, kind, src, dst);
            let payload_len = (len - header) as u16;
            ipv6::Repr {
                traffic_class: 0,
                flow_label: 0,
                payload_len,
                next_header: ip::ICMPV6,
                hop_limit: HOP_LIMIT,
                src,
                dst,
            }
            .emit(out);
        }
        _ => return None,
    }
    let mut meta = PacketMeta::new(about.port, 0, Origin::Local);
    meta.l4 = header as u16;
    meta.proto = if v6 { ip::ICMPV6 } else { ip::ICMP };
    Some(Packet::new(mbuf, meta))
}

/// What became of a packet that may be an echo request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// It is the reply now, of our own origin.
    Answered,
    /// Its checksum is wrong.
    Malformed,
    /// It is something else.
    No,
}

/// Turns an echo request into its reply, in place.
pub fn answer_echo(packet: &mut Packet) -> Echo {
    let v6 = packet.is_v6();
    let (src, dst) = packet.addresses();
    let kind = packet.payload().first().copied();
    match (packet.proto, kind, src, dst) {
        (ip::ICMP, Some(icmp::ECHO_REQUEST), _, _) if !v6 => {
            if !icmp::checksum_ok_v4(packet.payload()) {
                return Echo::Malformed;
            }
        }
        (ip::ICMPV6, Some(icmp::ECHO_REQUEST_V6), IpAddr::V6(s), IpAddr::V6(d)) => {
            if wire::checksum::transport6(s, d, ip::ICMPV6, packet.payload()) != 0 {
                return Echo::Malformed;
            }
        }
        _ => return Echo::No,
    }
    let at = usize::from(packet.l4 - packet.l3);
    let ip = packet.ip_mut();
    if !ip.get_mut(at..).is_some_and(|message| icmp::echo_reply(message, v6)) {
        return Echo::Malformed;
    }
    exchange(ip, v6);
    packet.origin = Origin::Local;
    packet.session = None;
    Echo::Answered
}

/// Exchanges source and destination and renews the hop limit.
fn exchange(ip: &mut [u8], v6: bool) {
    if v6 {
        if let Some(h) = ip.first_chunk_mut::<{ ipv6::HEADER }>() {
            let src: Ipv6Addr = <[u8; 16]>::try_from(&h[8..24]).unwrap_or_default().into();
            h.copy_within(24..40, 8);
            h[24..40].copy_from_slice(&src.octets());
            h[7] = HOP_LIMIT;
        }
    } else if let Some(h) = ip.first_chunk_mut::<{ ipv4::HEADER }>() {
        let src: Ipv4Addr = <[u8; 4]>::try_from(&h[12..16]).unwrap_or_default().into();
        h.copy_within(16..20, 12);
        h[16..20].copy_from_slice(&src.octets());
        let word = u16::from_be_bytes([HOP_LIMIT, h[9]]);
        ipv4::set_word(h, 8, word);
    }
}

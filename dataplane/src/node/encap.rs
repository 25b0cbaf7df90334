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
use crate::lane::{Ctx, Lane, Origin, Packet, Ready, Stage};
use crate::link::Link;
use crate::node::{fragment, icmp, output, room};
use crate::publish::Snapshot;
use crate::sad::Sad;
use crate::session::Sessions;
use crate::softwire::Outer;
use dataplane_api::softwire::{Protection, TooBig};
use dataplane_api::{DropReason, PeerId, Softwire, SoftwireId, TraceNode, WorkerEvent, WorkerId};
use wire::icmp::ErrorKind;
use wire::{ip, ipv4, ipv6};

/// Drains `input`, whose `next_hop` are softwire numbers.
pub fn run(
    ctx: &mut Ctx,
    snapshot: &Snapshot,
    (sessions, sad): (&Sessions, &Sad),
    input: &mut Lane,
    esp_out: &mut Lane,
    outer: &mut Lane,
    again: &mut Lane,
) {
    ctx.visit(TraceNode::Encap, input);
    let mut last: Option<Way<'_>> = None;
    for packet in input.drain() {
        // Packets of one softwire often come together.
        if last.as_ref().is_none_or(|way| u32::from(way.softwire.id.0) != packet.next_hop) {
            last.take().into_iter().for_each(|way| way.count(ctx));
            match Way::new(ctx, sad, snapshot, SoftwireId(packet.next_hop as u16)) {
                Ok(way) => last = Some(way),
                Err(reason) => {
                    ctx.drop(packet, reason);
                    continue;
                }
            }
        }
        let Some(way) = &mut last else { continue };
        if packet.ip().len() <= usize::from(way.softwire.mtu) || way.softwire.too_big == TooBig::Outer {
            send(ctx, way, packet, esp_out, outer);
        } else {
            too_big(ctx, sessions, way, packet, (esp_out, outer, again));
        }
    }
    last.into_iter().for_each(|way| way.count(ctx));
}

/// A softwire, and how packets go into it.
struct Way<'a> {
    softwire: &'a Softwire,
    header: &'a Outer,
    /// Whom ESP protects them for, and the worker that does it; `None`: nothing protects them.
    owner: Option<(PeerId, WorkerId)>,
    /// The link by which all of them leave, where each is framed at once. `None`: it is not known yet, there are several, not every packet
    /// is sure to fit, another worker protects them, or packets are traced.
    link: Option<&'a Link>,
    /// Packets and octets that have gone into it and are not counted yet.
    sent: [u64; 2],
}

impl<'a> Way<'a> {
    fn new(ctx: &mut Ctx, sad: &Sad, snapshot: &'a Snapshot, id: SoftwireId) -> Result<Self, DropReason> {
        let (softwire, header) = snapshot.softwires.with_outer(id).ok_or(DropReason::SoftwireUnknown)?;
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
                return Err(DropReason::SaMissing);
            }
        };
        let here = owner.is_none_or(|(_, worker)| worker == ctx.id);
        let link = if here && !ctx.is_tracing() { only_link(snapshot, softwire, owner.is_some()) } else { None };
        Ok(Self { softwire, header, owner, link, sent: [0; 2] })
    }

    fn count(self, ctx: &Ctx) {
        if let Some(c) = ctx.counters.softwires.get(usize::from(self.softwire.id.0)) {
            c.sent[0].add(self.sent[0]);
            c.sent[1].add(self.sent[1]);
        }
    }
}

/// The link by which all packets of a softwire leave. A packet that had to be fragmented would be overtaken by those that
/// are framed here.
fn only_link<'a>(snapshot: &'a Snapshot, softwire: &Softwire, protected: bool) -> Option<&'a Link> {
    let header = if softwire.remote.is_ipv6() { ipv6::HEADER } else { ipv4::HEADER };
    let (_, carried) = room::announced(protected, 0, softwire.mtu.into());
    let fits = |link: &&Link| softwire.too_big == TooBig::Inner && header + carried <= link.mtu.into();
    output::only_link(snapshot, softwire.remote).filter(fits)
}

/// What is longer than the softwire's MTU.
#[inline(never)]
fn too_big(
    ctx: &mut Ctx,
    sessions: &Sessions,
    way: &mut Way<'_>,
    packet: Packet,
    (esp_out, outer, again): (&mut Lane, &mut Lane, &mut Lane),
) {
    let mtu = way.softwire.mtu;
    if fragment::may(&packet) {
        fragment::split(ctx, packet, mtu, |ctx, piece| send(ctx, way, piece, esp_out, outer));
    } else {
        icmp::error(ctx, sessions, packet, ErrorKind::TooBig(mtu), DropReason::TooBig, again);
    }
}

#[inline(always)]
fn send(ctx: &mut Ctx, way: &mut Way<'_>, packet: Packet, esp_out: &mut Lane, outer: &mut Lane) {
    match (way.owner, way.link) {
        (None, Some(link)) => {
            if let Some((packet, _)) = wrap::<false>(ctx, way, packet) {
                output::queue(ctx, packet, link.port);
            }
        }
        (None, None) => {
            let Some((mut packet, made)) = wrap::<false>(ctx, way, packet) else { return };
            made.note(way, &mut packet);
            (packet.peer, packet.enclosed, packet.clear) = (None, false, true);
            ctx.push(outer, packet);
        }
        (Some((peer, worker)), _) => {
            let Some((mut packet, made)) = wrap::<true>(ctx, way, packet) else { return };
            made.note(way, &mut packet);
            (packet.peer, packet.enclosed, packet.clear) = (Some(peer), true, false);
            if worker == ctx.id {
                ctx.push(esp_out, packet);
            } else {
                ctx.hand_off(worker, packet, Stage::EspOut);
            }
        }
    }
}

/// What is new in front of a packet.
struct Made {
    /// Octets of the IP header, and of the room behind it.
    header: usize,
    /// Protocol of the inner packet.
    proto: u8,
}

impl Made {
    #[inline(always)]
    fn note(&self, way: &Way<'_>, packet: &mut Packet) {
        let frame = way.link.map_or(0, Link::header_len);
        (packet.l3, packet.l4, packet.proto) = (frame as u16, (frame + self.header) as u16, self.proto);
        (packet.session, packet.origin) = (None, Origin::Local);
        if let Some(link) = way.link {
            (packet.port, packet.ready) = (link.port, Ready::Framed);
        }
    }
}

/// Puts the outer header in front of a packet, and an Ethernet header, if the link is known.
#[inline(always)]
fn wrap<const PROTECTED: bool>(ctx: &mut Ctx, way: &mut Way<'_>, mut packet: Packet) -> Option<(Packet, Made)> {
    let softwire = way.softwire;
    let (l3, octets) = (usize::from(packet.l3), packet.ip().len());
    let (proto, tos) = match packet.header::<2>() {
        Some([a, b]) if a >> 4 == 6 => (ip::IPV6, a << 4 | b >> 4),
        Some([_, b]) => (ip::IPIP, *b),
        None => (ip::IPIP, 0),
    };
    let tos = softwire.dscp.map_or(tos, |dscp| dscp << 2 | tos & 3);
    // The inner header says where the packet ends, whatever is behind it.
    let pad = if softwire.tfc && PROTECTED { usize::from(softwire.mtu).saturating_sub(octets) } else { 0 };
    if pad > 0 && packet.mbuf.append(pad).map(|p| p.fill(0)).is_none() {
        ctx.drop(packet, DropReason::NoBuffer);
        return None;
    }
    let room = room::behind_ip(PROTECTED);
    let (protocol, carried) = room::announced(PROTECTED, proto, octets + pad);
    let header = match way.header {
        Outer::V4(template) => {
            let (len, id) = (u16::try_from(ipv4::HEADER + carried).ok(), ctx.next_ip_id());
            let out = front(&mut packet, l3, way.link, ipv4::HEADER + room, false);
            len.zip(out).map(|(len, out)| template.emit(out, tos, len, id, protocol)).map(|()| ipv4::HEADER)
        }
        Outer::V6(template) => {
            let (len, label) = (u16::try_from(carried).ok(), fib::flow_hash(&packet));
            let out = front(&mut packet, l3, way.link, ipv6::HEADER + room, true);
            len.zip(out).map(|(len, out)| template.emit(out, tos, label, len, protocol)).map(|()| ipv6::HEADER)
        }
    };
    let Some(header) = header else {
        ctx.drop(packet, DropReason::NoBuffer);
        return None;
    };
    way.sent[0] += 1;
    way.sent[1] += octets as u64;
    Some((packet, Made { header: header + room, proto }))
}

/// Takes what is in front of the inner packet off, and puts an Ethernet header there, if the link is known, and so many octets, of
/// which it gives the first, for an IP header.
#[inline(always)]
fn front<'a, const N: usize>(
    packet: &'a mut Packet,
    old: usize,
    link: Option<&Link>,
    new: usize,
    v6: bool,
) -> Option<&'a mut [u8; N]> {
    let Some(link) = link else { return packet.mbuf.replace_front(old, new)?.first_chunk_mut() };
    let (frame, header) =
        packet.mbuf.replace_front(old, link.header_len() + new)?.split_at_mut_checked(link.header_len())?;
    link.emit(frame, v6).then(|| header.first_chunk_mut())?
}

//! Packets from the control plane: IKE, L2TP and BFD messages, PPP frames, frames of the host stack.
//!
//! A message waits until the table changes it depends on are applied (`after`), and holds those behind it: order is
//! what the control plane asked for. Buffers go back; nothing is freed here.

use crate::lane::{Ctx, Lane, Origin, Packet, PacketMeta, Ready, Stage};
use crate::node::classify::{BFD, BFD_MULTIHOP, IKE, MARKER, NATT};
use crate::node::{l2tp_out, output, room, spd};
use crate::session::Sessions;
use dataplane_api::{Action, DropReason, Inject, InjectMsg, PeerId, PortId, SessionId, WorkerId, Zone};
use rtrb::{Consumer, Producer};
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use wire::ethernet::{self, Ethernet};
use wire::ip::{self, Ip};
use wire::{icmp, ipv4, ipv6, udp};

/// Messages taken per poll.
const PER_POLL: usize = 32;

/// Takes what waits. Gives how many.
pub fn run(
    ctx: &mut Ctx,
    sessions: &mut Sessions,
    ring: &mut Consumer<InjectMsg>,
    free: &mut Producer<Vec<u8>>,
    esp_out: &mut Lane,
    outer: &mut Lane,
) -> usize {
    let applied = ctx.counters.worker.applied.load(Relaxed);
    let mut n = 0;
    while n < PER_POLL && ring.peek().is_ok_and(|m| m.after <= applied) {
        let Ok(InjectMsg { how, mut data, .. }) = ring.pop() else { break };
        ctx.counters.worker.injected.add(1);
        let made = match how {
            Inject::Udp { peer, src, dst, raw, ttl } => datagram(ctx, peer, (src, dst), raw, ttl, &data),
            Inject::Ppp(id) => frame(ctx, sessions, id, &data),
            Inject::Frame(port) => host(ctx, port, &data),
        };
        if let Some(packet) = made {
            ctx.push(if packet.peer.is_some() { &mut *esp_out } else { &mut *outer }, packet);
        }
        data.clear();
        // The ring is twice as deep as there are messages: it never refuses unless the other side is gone.
        let _ = free.push(data);
        n += 1;
    }
    n
}

fn buffer(ctx: &Ctx, data: &[u8]) -> Option<dpdk::Mbuf> {
    // IKE messages with certificates are larger than an ordinary buffer.
    let made = ctx.pool.alloc_with(data).or_else(|| ctx.large.alloc_with(data));
    if made.is_none() {
        ctx.count_drop(DropReason::NoBuffer);
    }
    made
}

fn datagram(
    ctx: &mut Ctx,
    peer: Option<PeerId>,
    (src, dst): (SocketAddr, SocketAddr),
    raw: bool,
    ttl: u8,
    data: &[u8],
) -> Option<Packet> {
    let mbuf = buffer(ctx, data)?;
    let ip_len = if src.is_ipv6() { ipv6::HEADER } else { ipv4::HEADER };
    let mut packet = Packet::new(mbuf, PacketMeta::new(PortId(0), 0, Origin::Local));
    let natt = src.port() == NATT || dst.port() == NATT;
    let marker = if natt && peer.is_none() && !raw { MARKER } else { 0 };
    let id = ctx.next_ip_id();
    let l4 = ip_len + room::behind_ip(peer.is_some());
    let head = l4 + udp::HEADER + marker;
    let written = packet.mbuf.prepend(head).is_some_and(|h| {
        h.fill(0);
        true
    }) && l2tp_out::udp_ip(
        packet.mbuf.data_mut(),
        (src.ip(), dst.ip()),
        (src.port(), dst.port()),
        (id, ttl),
        peer.is_some(),
    );
    packet.l4 = l4 as u16;
    packet.proto = ip::UDP;
    (packet.peer, packet.enclosed) = (peer, peer.is_some());
    packet.ready = if peer.is_some() { Ready::Packet } else { Ready::Unsummed };
    if written {
        return Some(packet);
    }
    ctx.drop(packet, DropReason::Malformed);
    None
}

/// A PPP frame: protocol field of two octets, information.
fn frame(ctx: &mut Ctx, sessions: &mut Sessions, id: SessionId, data: &[u8]) -> Option<Packet> {
    let Some((_, hot)) = sessions.get_mut(id) else {
        ctx.count_drop(DropReason::SessionUnknown);
        return None;
    };
    let [high, low, information @ ..] = data else {
        ctx.count_drop(DropReason::PppMalformed);
        return None;
    };
    let mbuf = buffer(ctx, information)?;
    let packet = Packet::new(mbuf, PacketMeta::new(PortId(0), 0, Origin::Local));
    l2tp_out::encapsulate(ctx, hot, packet, u16::from_be_bytes([*high, *low]))
}

/// A frame of the host stack: the SPD applies on public ports. What it says to PROTECT is given back as an IP packet for
/// `esp_out`; the rest leaves by the port.
fn host(ctx: &mut Ctx, port: PortId, data: &[u8]) -> Option<Packet> {
    let mbuf = buffer(ctx, data)?;
    let mut packet = Packet::new(mbuf, PacketMeta::new(port, 0, Origin::Local));
    match protector(ctx, port, &mut packet) {
        Ok(None) => output::queue(ctx, packet, port),
        Ok(Some((peer, worker))) if packet.mbuf.adj(usize::from(packet.l3)) => {
            (packet.l3, packet.l4) = (0, packet.l4 - packet.l3);
            packet.peer = Some(peer);
            if worker == ctx.id {
                return Some(packet);
            }
            ctx.hand_off(worker, packet, Stage::EspOut);
        }
        Ok(Some(_)) => ctx.drop(packet, DropReason::Truncated),
        Err(reason) => ctx.drop(packet, reason),
    }
    None
}

/// Who is to receive a frame's packet inside ESP; `None`: it may leave as it is. ARP is not IP, and neighbour discovery
/// is what makes the link work at all. On a trusted port, all that is not to be PROTECTed may leave.
fn protector(ctx: &Ctx, port: PortId, packet: &mut Packet) -> Result<Option<(PeerId, WorkerId)>, DropReason> {
    let eth = Ethernet::parse(packet.mbuf.data()).map_err(|_| DropReason::Truncated)?;
    let trusted = ctx.snapshot.zone(port) == Zone::Trusted;
    if eth.ethertype == ethernet::ARP {
        return Ok(None);
    }
    if !matches!(eth.ethertype, ethernet::IPV4 | ethernet::IPV6) {
        return if trusted { Ok(None) } else { Err(DropReason::UnknownEthertype) };
    }
    packet.l3 = eth.len as u16;
    let h = Ip::parse(packet.ip()).map_err(|_| DropReason::Malformed)?;
    packet.l4 = packet.l3 + h.header_len as u16;
    // A fragment beyond the first has no ports and matches rules for any port only.
    packet.proto = h.protocol;
    if !h.is_first() {
        packet.l4 = packet.mbuf.len() as u16;
    }
    let discovery = h.protocol == ip::ICMPV6
        && h.ttl == 255
        && packet.payload().first().is_some_and(|k| (icmp::ROUTER_SOLICITATION..=137).contains(k));
    if discovery {
        return Ok(None);
    }
    // The host stack must not speak for IKE, L2TP or BFD, whatever the rules say about those ports.
    let (src, dst) = packet.sockets();
    let ours = matches!(src.port(), IKE | NATT | wire::l2tp::PORT) || matches!(dst.port(), BFD | BFD_MULTIHOP);
    if !trusted && h.protocol == ip::UDP && ours {
        return Err(DropReason::SpdDiscard);
    }
    match spd::action(&ctx.snapshot.policy, h.protocol, src, dst, u8::MAX) {
        Action::Bypass => Ok(None),
        Action::Discard if trusted => Ok(None),
        Action::Discard => Err(DropReason::SpdDiscard),
        // ESP goes around whole packets whose header has no extensions: see `esp_out`.
        Action::Protect if h.fragment.is_some() || !is_plain(packet) => Err(DropReason::SpdClear),
        Action::Protect => ctx.snapshot.host_peers.get(&dst.ip()).map_or(Err(DropReason::SaMissing), |p| Ok(Some(*p))),
    }
}

/// No options or extension headers.
fn is_plain(packet: &Packet) -> bool {
    let header = if packet.is_v6() { ipv6::HEADER } else { ipv4::HEADER };
    usize::from(packet.l4 - packet.l3) == header
}

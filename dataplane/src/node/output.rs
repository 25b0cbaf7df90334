//! Packets of our own towards the network: route, fragment, neighbour, and the ports' TX queues.

use crate::fib::{self, Address};
use crate::lane::{Ctx, Lane, Origin, Packet, Ready};
use crate::link::{self, Link};
use crate::node::classify::{BFD, BFD_MULTIHOP};
use crate::node::{fragment, spd};
use crate::publish::Snapshot;
use crate::trace::Tracer;
use dataplane_api::{DropReason, NextHop, PortId, TraceNode, WorkerEvent, Zone};
use dpdk::{Burst, TxQueue};
use std::net::IpAddr;
use wire::{ip, udp};

/// One port's queue of this worker, and what waits for it.
#[derive(Debug)]
pub struct Tx {
    queue: TxQueue,
    burst: Burst,
    /// Of the frames in it.
    octets: u64,
}

impl Tx {
    /// Over a queue.
    pub fn new(queue: TxQueue) -> Self {
        Self { queue, burst: Burst::new(), octets: 0 }
    }
}

/// Drains `input`: outer packets with ESP, L2TP or IP inside, IKE messages, and frames that only wait for their turn.
pub fn run(ctx: &mut Ctx, snapshot: &Snapshot, input: &mut Lane) {
    ctx.visit(TraceNode::Output, input);
    if !input.packets().iter().all(|packet| packet.ready == Ready::Framed) {
        fib::lookup(snapshot, input, Address::Destination);
    }
    let (groups, mut links) = (&*snapshot.groups, snapshot.links.burst());
    for packet in input.drain() {
        if packet.ready == Ready::Framed {
            let port = packet.port;
            queue(ctx, packet, port);
            continue;
        }
        let Some(hop) = groups.select(packet.next_hop, &packet) else {
            ctx.drop(packet, DropReason::NoRoute);
            continue;
        };
        let link = match hop.next {
            NextHop::Via(..) => hop.link.as_ref(),
            NextHop::Connected(port) => connected(&mut links, port, &packet),
            NextHop::Blackhole => {
                ctx.drop(packet, DropReason::Blackhole);
                continue;
            }
            // A softwire is not carried in another one.
            _ => {
                ctx.drop(packet, DropReason::NoRoute);
                continue;
            }
        };
        match link {
            Some(link) => match permitted(ctx, &packet, link.zone) {
                Ok(()) => fit(ctx, packet, link),
                Err(reason) => ctx.drop(packet, reason),
            },
            None => unresolved(ctx, packet, hop.next),
        }
    }
}

/// Most packets of our own go to a router.
#[inline(never)]
fn connected<'a>(links: &mut link::Burst<'a>, port: PortId, packet: &Packet) -> Option<&'a Link> {
    links.towards(port, packet)
}

/// Towards a neighbour whose Ethernet address is not known: whether the packet may be sent comes first.
fn unresolved(ctx: &mut Ctx, packet: Packet, next: NextHop) {
    let (port, neighbour) = match next {
        NextHop::Via(port, router) => (port, router),
        NextHop::Connected(port) => (port, packet.addresses().1),
        _ => return ctx.drop(packet, DropReason::NoRoute),
    };
    match permitted(ctx, &packet, ctx.snapshot.zone(port)) {
        Ok(()) => ask(ctx, packet, port, neighbour),
        Err(reason) => ctx.drop(packet, reason),
    }
}

/// What `esp_out` made is protected; anything else in the clear must be allowed to be (H1).
#[inline(always)]
fn permitted(ctx: &Ctx, packet: &Packet, zone: Zone) -> Result<(), DropReason> {
    if is_esp(packet) || packet.clear || zone != Zone::Public || is_bfd(packet) {
        return Ok(());
    }
    spd::outbound(&ctx.snapshot.policy, packet)
}

#[inline(always)]
fn is_esp(packet: &Packet) -> bool {
    packet.proto == ip::ESP || packet.peer.is_some()
}

/// BFD of a session that is configured or a softwire's: nobody else makes such packets of our own, see `inject`.
fn is_bfd(packet: &Packet) -> bool {
    packet.origin == Origin::Local && packet.proto == ip::UDP && matches!(packet.sockets().1.port(), BFD | BFD_MULTIHOP)
}

#[inline(always)]
fn fit(ctx: &mut Ctx, packet: Packet, link: &Link) {
    if link.takes(&packet) {
        let packet = if packet.ready == Ready::Unsummed { complete(ctx, packet, link) } else { packet };
        transmit(ctx, packet, link);
    } else if fragment::may(&packet) {
        fragment::split(ctx, packet, link.mtu, |ctx, piece| transmit(ctx, piece, link));
    } else {
        ctx.drop(packet, DropReason::TooBig);
    }
}

/// Puts the Ethernet header in front and queues the frame.
#[inline(always)]
pub fn transmit(ctx: &mut Ctx, mut packet: Packet, link: &Link) {
    debug_assert_ne!(packet.ready, Ready::Unsummed);
    let Some(&[first]) = packet.header() else { return ctx.drop(packet, DropReason::NoBuffer) };
    let (v6, l3) = (first >> 4 == 6, usize::from(packet.l3));
    if packet.mbuf.replace_front(l3, link.header_len()).is_some_and(|h| link.emit(h, v6)) {
        queue(ctx, packet, link.port);
    } else {
        ctx.drop(packet, DropReason::NoBuffer);
    }
}

/// With its checksum, which the port computes if it can.
#[inline(never)]
fn complete(ctx: &Ctx, mut packet: Packet, link: &Link) -> Packet {
    match ctx.tx.get(usize::from(link.port.0)) {
        Some(tx) if tx.queue.sums_udp() => leave_to_port(&mut packet, link.header_len()),
        _ => sum(&mut packet),
    }
    packet
}

/// Puts the checksum into a datagram that has none yet.
pub fn sum(packet: &mut Packet) {
    if packet.ready == Ready::Unsummed {
        packet.ready = Ready::Packet;
        let ((src, dst), l4) = (packet.addresses(), usize::from(packet.l4));
        if let Some(datagram) = packet.mbuf.data_mut().get_mut(l4..) {
            udp::fill_checksum(datagram, src, dst);
        }
    }
}

/// Has the port put it there, behind an Ethernet header of `l2` octets.
fn leave_to_port(packet: &mut Packet, l2: usize) {
    packet.ready = Ready::Packet;
    let ((src, dst), (l3, l4)) = (packet.addresses(), (packet.l3, packet.l4));
    if let Some(datagram) = packet.mbuf.data_mut().get_mut(usize::from(l4)..) {
        udp::fill_pseudo_sum(datagram, src, dst);
    }
    packet.mbuf.ask_udp_checksum(dst.is_ipv6(), l2 as u8, l4 - l3);
}

/// The link by which all packets to an address leave, if there is one that is known: whoever makes many of them can
/// [frame](Ready::Framed) them at once.
pub fn only_link(snapshot: &Snapshot, to: IpAddr) -> Option<&Link> {
    let fibs = &*snapshot.fibs;
    let word = match to {
        IpAddr::V4(a) => fibs.v4.lookup(a.to_bits().into()),
        IpAddr::V6(a) => fibs.v6.lookup(a.octets().into()),
    };
    match snapshot.groups.of(word) {
        [hop] => match hop.next {
            NextHop::Via(..) => hop.link.as_ref(),
            NextHop::Connected(port) => snapshot.links.get(port, to),
            _ => None,
        },
        _ => None,
    }
}

/// Takes the Ethernet header off again.
pub fn unframe(packet: &mut Packet) -> Result<(), DropReason> {
    let l3 = packet.l3;
    if !packet.mbuf.adj(l3.into()) {
        return Err(DropReason::NoBuffer);
    }
    (packet.l3, packet.l4) = (0, packet.l4.saturating_sub(l3));
    (packet.port, packet.ready) = (PortId(0), Ready::Packet);
    Ok(())
}

/// An unknown neighbour is asked for (by the host stack) and the packet dropped: its source sends another.
pub fn ask(ctx: &mut Ctx, packet: Packet, port: PortId, neighbour: IpAddr) {
    if ctx.snapshot.port(port).is_none() {
        return ctx.drop(packet, DropReason::NoRoute);
    }
    if ctx.limiter.neighbour(ctx.now) {
        ctx.event(WorkerEvent::NeighbourMiss(port, neighbour));
    }
    ctx.drop(packet, DropReason::NeighbourUnresolved);
}

/// Queues a whole frame.
#[inline(always)]
pub fn queue(ctx: &mut Ctx, packet: Packet, port: PortId) {
    let Some(tx) = ctx.tx.get_mut(usize::from(port.0)) else { return ctx.drop(packet, DropReason::NoRoute) };
    if tx.burst.is_full() {
        send(&ctx.counters.worker, &mut ctx.tracer, port, tx);
    }
    ctx.tracer.queue(&packet, port, tx.burst.len());
    tx.octets += packet.mbuf.pkt_len() as u64;
    // There is room: what was full has been sent, and is empty.
    if tx.burst.push(packet.mbuf.into_mbuf()).is_err() {
        ctx.count_drop(DropReason::TxFull);
    }
}

/// Sends what was queued during this poll; what a port does not take is dropped.
pub fn flush(ctx: &mut Ctx) {
    for (n, tx) in ctx.tx.iter_mut().enumerate() {
        if !tx.burst.is_empty() {
            send(&ctx.counters.worker, &mut ctx.tracer, PortId(n as u16), tx);
        }
    }
}

fn send(counters: &dataplane_api::WorkerCounters, tracer: &mut Tracer, port: PortId, tx: &mut Tx) {
    let sent = tx.queue.burst(&mut tx.burst);
    let left = tx.burst.as_slice().iter().map(|m| m.pkt_len() as u64).sum::<u64>();
    tracer.flushed(port, sent);
    counters.sent.add(sent as u64);
    counters.sent_octets.add(std::mem::take(&mut tx.octets) - left);
    counters.drops[DropReason::TxFull as usize].add(tx.burst.len() as u64);
    tx.burst.clear();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::PacketMeta;
    use wire::checksum::Sum;

    /// The port finds the sum of the pseudo-header there, as drivers ask for; a TAP would do without.
    #[test]
    fn a_port_is_left_the_sum_of_the_pseudo_header() {
        let pool = dpdk::sim::test_pool("output-sums", 7).unwrap();
        for (src, dst) in [("192.0.2.1", "192.0.2.9"), ("2001:db8::1", "2001:db8::9")] {
            let (src, dst): (IpAddr, IpAddr) = (src.parse().unwrap(), dst.parse().unwrap());
            let l4 = if src.is_ipv6() { 40 } else { 20 };
            let mut data = vec![0x55; l4 + udp::HEADER + 5];
            assert!(crate::node::l2tp_out::udp_ip(&mut data, (src, dst), (1701, 1701), (7, 64), false));
            let mut packet = Packet::new(pool.alloc_with(&data).unwrap(), PacketMeta::new(PortId(0), 0, Origin::Local));
            (packet.l4, packet.ready) = (l4 as u16, Ready::Unsummed);
            leave_to_port(&mut packet, 14);
            let sum = Sum::default().pseudo(src, dst, ip::UDP, 13).fold();
            data[l4 + 6..l4 + 8].copy_from_slice(&sum.to_be_bytes());
            assert_eq!((packet.mbuf.data(), packet.ready), (&data[..], Ready::Packet));
        }
    }
}

//! Packets of our own towards the network: route, fragment, neighbour, and the ports' TX queues.

use crate::fib::{self, Address};
use crate::lane::{Ctx, Lane, Origin, Packet};
use crate::node::classify::{BFD, BFD_MULTIHOP};
use crate::node::{fragment, spd};
use crate::trace::Tracer;
use dataplane_api::softwire::Protection;
use dataplane_api::{DropReason, NextHop, PortId, TraceNode, WorkerEvent, Zone};
use dpdk::{Burst, TxQueue};
use std::net::IpAddr;
use std::sync::Arc;
use wire::{ethernet, ip};

/// One port's queue of this worker, and what waits for it.
#[derive(Debug)]
pub struct Tx {
    queue: TxQueue,
    burst: Burst,
}

impl Tx {
    /// Over a queue.
    pub fn new(queue: TxQueue) -> Self {
        Self { queue, burst: Burst::new() }
    }
}

/// Drains `input`: outer packets with ESP or L2TP inside, IKE messages.
pub fn run(ctx: &mut Ctx, input: &mut Lane) {
    if input.is_empty() {
        return;
    }
    ctx.visit(TraceNode::Output, input);
    let snapshot = Arc::clone(&ctx.snapshot);
    fib::lookup(&snapshot, &mut ctx.scratch, input, Address::Destination);
    for packet in input.drain() {
        match snapshot.groups.select(packet.next_hop, &packet) {
            Some(NextHop::Via(port, router)) => outer(ctx, packet, port, router),
            Some(NextHop::Connected(port)) => {
                let (_, dst) = packet.addresses();
                outer(ctx, packet, port, dst);
            }
            Some(NextHop::Blackhole) => ctx.drop(packet, DropReason::Blackhole),
            // A softwire is not carried in another one.
            _ => ctx.drop(packet, DropReason::NoRoute),
        }
    }
}

fn outer(ctx: &mut Ctx, packet: Packet, port: PortId, neighbour: IpAddr) {
    let Some(config) = ctx.snapshot.port(port).map(|p| &p.config) else {
        return ctx.drop(packet, DropReason::NoRoute);
    };
    // What `esp_out` made is protected; anything else in the clear must be allowed to be (H1).
    if config.zone == Zone::Public && !is_esp(&packet) && !is_clear_softwire(ctx, &packet) && !is_bfd(&packet) {
        let (policy, mtu) = (&ctx.snapshot.policy, config.mtu);
        if let Err(reason) = spd::outbound(policy, &packet) {
            return ctx.drop(packet, reason);
        }
        return fit(ctx, packet, port, neighbour, mtu);
    }
    let mtu = config.mtu;
    fit(ctx, packet, port, neighbour, mtu);
}

fn is_esp(packet: &Packet) -> bool {
    packet.proto == ip::ESP || packet.peer.is_some()
}

/// BFD of a session that is configured or a softwire's: nobody else makes such packets of our own, see `inject`.
fn is_bfd(packet: &Packet) -> bool {
    packet.origin == Origin::Local && packet.proto == ip::UDP && matches!(packet.sockets().1.port(), BFD | BFD_MULTIHOP)
}

/// IP in IP that a softwire without protection allows; `esp_out` has taken the packets of the others.
fn is_clear_softwire(ctx: &Ctx, packet: &Packet) -> bool {
    if !matches!(packet.proto, ip::IPIP | ip::IPV6) {
        return false;
    }
    let (src, dst) = packet.addresses();
    ctx.snapshot.softwires.between(src, dst).any(|s| s.protection == Protection::Clear)
}

fn fit(ctx: &mut Ctx, packet: Packet, port: PortId, neighbour: IpAddr, mtu: u16) {
    if packet.ip().len() <= usize::from(mtu) {
        transmit(ctx, packet, port, neighbour);
    } else if fragment::may(&packet) {
        fragment::split(ctx, packet, mtu, |ctx, piece| transmit(ctx, piece, port, neighbour));
    } else {
        ctx.drop(packet, DropReason::TooBig);
    }
}

/// Puts the Ethernet header in front and queues the frame. An unknown neighbour is asked for (by the host stack) and
/// the packet dropped: its source sends another.
pub fn transmit(ctx: &mut Ctx, mut packet: Packet, port: PortId, neighbour: IpAddr) {
    let Some((mac, vlan)) = ctx.snapshot.port(port).map(|p| (p.config.mac.0, p.config.vlan)) else {
        return ctx.drop(packet, DropReason::NoRoute);
    };
    let Some(&to) = ctx.snapshot.neighbours.get(&(port, neighbour)) else {
        if ctx.limiter.neighbour(ctx.now) {
            ctx.event(WorkerEvent::NeighbourMiss(port, neighbour));
        }
        return ctx.drop(packet, DropReason::NeighbourUnresolved);
    };
    let ethertype = if packet.is_v6() { ethernet::IPV6 } else { ethernet::IPV4 };
    let framed = packet.mbuf.adj(usize::from(packet.l3))
        && packet.mbuf.prepend(ethernet::emit_len(vlan)).is_some_and(|h| ethernet::emit(h, to.0, mac, vlan, ethertype));
    if framed { queue(ctx, packet, port) } else { ctx.drop(packet, DropReason::NoBuffer) }
}

/// Queues a whole frame.
pub fn queue(ctx: &mut Ctx, packet: Packet, port: PortId) {
    let Some(tx) = ctx.tx.get_mut(usize::from(port.0)) else { return ctx.drop(packet, DropReason::NoRoute) };
    if tx.burst.is_full() {
        send(&ctx.counters.worker, &mut ctx.tracer, port, tx);
    }
    ctx.tracer.queue(&packet, port, tx.burst.len());
    let meta = *packet;
    if let Err(mbuf) = tx.burst.push(packet.mbuf.into_mbuf()) {
        ctx.drop(Packet::new(mbuf, meta), DropReason::TxFull);
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
    let octets = |burst: &Burst| burst.as_slice().iter().map(|m| m.pkt_len() as u64).sum::<u64>();
    let before = octets(&tx.burst);
    let sent = tx.queue.burst(&mut tx.burst);
    tracer.flushed(port, sent);
    counters.sent.add(sent as u64);
    counters.sent_octets.add(before - octets(&tx.burst));
    counters.drops[DropReason::TxFull as usize].add(tx.burst.len() as u64);
    tx.burst.clear();
}

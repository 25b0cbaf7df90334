//! Packets that came out of ESP: the SA has authenticated them and its selectors have matched.
//!
//! Transport mode ends here, since the outer destination was ours. Of tunnel mode, the inner packet is routed, unless it is
//! the form that a softwire of the mesh has negotiated: see `esp_in`. That knows L2TP and most packets of softwires itself, and
//! passes this node by, unless packets are traced.

use crate::lane::{Ctx, Lane, Packet};
use crate::node::{esp_in, punt, spd};
use crate::publish::Ours;
use dataplane_api::{Action, DropReason, TraceNode};
use wire::{ethernet, ip};

/// Drains `input`.
pub fn run(ctx: &mut Ctx, input: &mut Lane, l2tp_in: &mut Lane, decap: &mut Lane, forward: &mut Lane) {
    ctx.visit(TraceNode::Decrypted, input);
    let mut last = None;
    for packet in input.drain() {
        if packet.next_hop == esp_in::L2TP {
            ctx.push(l2tp_in, packet);
        } else if packet.next_hop != 0 {
            ctx.push(decap, packet);
        } else if !is_to_us(ctx, &packet, &mut last) {
            match packet.enclosed {
                false => ctx.push(forward, packet),
                // To an address that has been taken away since: nothing that was protected goes on in the clear.
                true => ctx.drop(packet, DropReason::SaMismatch),
            }
        } else if packet.proto == ip::UDP && packet.payload().get(2..4) == Some(&wire::l2tp::PORT.to_be_bytes()) {
            ctx.push(l2tp_in, packet);
        } else if matches!(packet.proto, ip::IPIP | ip::IPV6) {
            ctx.push(decap, packet);
        } else {
            host(ctx, packet);
        }
    }
}

/// Whether the destination is ours. `last` is the last IPv4 address that was, which often is that of the next packet too.
#[inline(always)]
pub fn is_to_us(ctx: &Ctx, packet: &Packet, last: &mut Option<u32>) -> bool {
    let (ours, ip) = (&ctx.snapshot.ours, packet.ip());
    if packet.is_v6() {
        ip.get(24..).and_then(|a| a.first_chunk()).is_some_and(|a| ours.has_v6(u128::from_be_bytes(*a)))
    } else {
        let address = ip.get(16..).and_then(|a| a.first_chunk()).map(|a| u32::from_be_bytes(*a));
        address.is_some() && (address == *last || has(ours, address, last))
    }
}

#[inline(never)]
fn has(ours: &Ours, address: Option<u32>, last: &mut Option<u32>) -> bool {
    let found = address.is_some_and(|a| ours.has_v4(a));
    if found {
        *last = address;
    }
    found
}

/// For the host stack: with an Ethernet header again, as the TAP wants it. What an SA of several selectors lets through
/// is for the host only where the SPD says PROTECT, and from the peer that is to protect it (RFC 4301, section 5.2).
fn host(ctx: &mut Ctx, mut packet: Packet) {
    let (remote, local) = packet.sockets();
    let protect = spd::action(&ctx.snapshot.policy, packet.proto, local, remote, packet.ttl()) == Action::Protect;
    let peer = ctx.snapshot.host_peers.get(&remote.ip()).map(|p| p.0);
    if !protect || peer.is_none() || peer != packet.peer {
        return ctx.drop(packet, DropReason::EspSelector);
    }
    if let Err(reason) = esp_in::strip(&mut packet) {
        return ctx.drop(packet, reason);
    }
    let ethertype = if packet.is_v6() { ethernet::IPV6 } else { ethernet::IPV4 };
    let Some((mac, vlan)) = ctx.snapshot.port(packet.port).map(|p| (p.config.mac.0, p.config.vlan)) else {
        return ctx.drop(packet, DropReason::NoListener);
    };
    let len = ethernet::emit_len(vlan);
    let framed = packet.mbuf.adj(usize::from(packet.l3))
        && packet.mbuf.prepend(len).is_some_and(|h| ethernet::emit(h, mac, mac, vlan, ethertype));
    if !framed {
        return ctx.drop(packet, DropReason::NoBuffer);
    }
    packet.l4 = packet.l4 - packet.l3 + len as u16;
    packet.l3 = len as u16;
    let end = packet.mbuf.len();
    let class = punt::host_class(&packet);
    ctx.punt(packet, class, &[], 0, end);
}

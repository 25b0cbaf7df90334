//! Packets that came out of ESP: the SA has authenticated them and its selectors have matched.
//!
//! Transport mode ends here, since the outer destination was ours. Of tunnel mode, the inner packet is routed, unless it is
//! the form that a softwire of the mesh has negotiated: see `esp_in`.

use crate::lane::{Ctx, Lane, Packet};
use crate::node::punt;
use dataplane_api::DropReason;
use wire::{ethernet, ip};

/// Drains `input`.
pub fn run(ctx: &mut Ctx, input: &mut Lane, l2tp_in: &mut Lane, decap: &mut Lane, forward: &mut Lane) {
    for packet in input.drain() {
        let (_, dst) = packet.sockets();
        if !ctx.snapshot.is_ours(dst.ip()) {
            ctx.push(forward, packet);
        } else if packet.meta.proto == ip::UDP && dst.port() == wire::l2tp::PORT {
            ctx.push(l2tp_in, packet);
        } else if matches!(packet.meta.proto, ip::IPIP | ip::IPV6) {
            ctx.push(decap, packet);
        } else {
            host(ctx, packet);
        }
    }
}

/// For the host stack: with an Ethernet header again, as the TAP wants it.
fn host(ctx: &mut Ctx, mut packet: Packet) {
    let ethertype = if packet.is_v6() { ethernet::IPV6 } else { ethernet::IPV4 };
    let Some((mac, vlan)) = ctx.snapshot.port(packet.meta.port).map(|p| (p.config.mac.0, p.config.vlan)) else {
        return ctx.drop(packet, DropReason::NoListener);
    };
    let len = ethernet::emit_len(vlan);
    let framed = packet.mbuf.adj(usize::from(packet.meta.l3))
        && packet.mbuf.prepend(len).is_some_and(|h| ethernet::emit(h, mac, mac, vlan, ethertype));
    if !framed {
        return ctx.drop(packet, DropReason::NoBuffer);
    }
    packet.meta.l4 = packet.meta.l4 - packet.meta.l3 + len as u16;
    packet.meta.l3 = len as u16;
    let end = packet.mbuf.len();
    let class = punt::host_class(&packet);
    ctx.punt(packet, class, &[], 0, end);
}

//! ESP, outbound (RFC 4303, section 3.3): prepare, crypto, finish over the whole lane.
//!
//! The packets are whole IP packets of our own whose `peer` names who is to receive them. The peer's selected SA
//! protects them; without one they are dropped, never sent in the clear.
//!
//! ```text
//!   IP | UDP | L2TP ...            ─►   IP | [UDP 4500] | SPI, seq, IV | UDP | L2TP ... | padding, trailer | ICV
//! ```

use crate::lane::{Ctx, LANE, Lane, Packet};
use crate::sad::Sad;
use dataplane_api::id::Slot;
use dataplane_api::{DropReason, SaOutId, TraceNode, WorkerEvent};
use esp::{Charge, Outbound, OutboundCold};
use esp::{framing, selector};
use ipsec_mb::{BATCH, Batch, Direction, Job};
use rtrb::Producer;
use wire::{ip, ipv4, ipv6, udp};

#[derive(Clone, Copy)]
struct Prepared {
    sa: u32,
    // Where ESP begins.
    at: u16,
    seq: u64,
    verdict: Result<(), DropReason>,
}

const NOTHING: Prepared = Prepared { sa: 0, at: 0, seq: 0, verdict: Err(DropReason::SaMissing) };

/// Drains `input`; protected packets go to `outer`.
pub fn run(ctx: &mut Ctx, sad: &mut Sad, input: &mut Lane, outer: &mut Lane) {
    if input.is_empty() {
        return;
    }
    ctx.visit(TraceNode::EspOut, input);
    let mut state = [NOTHING; LANE];
    for (packets, state) in input.packets().chunks_mut(BATCH).zip(state.chunks_mut(BATCH)) {
        for packet in packets.iter() {
            if let Some(i) = packet.peer.and_then(|p| sad.selected(p)) {
                ipsec_mb::prefetch(&sad.out_hot[i], 2);
                sad.out_key[i].prefetch();
            }
        }
        crypto(ctx, sad, packets, state);
    }
    for (packet, state) in input.drain().zip(state) {
        match state.verdict {
            Ok(()) => {
                let mut packet = packet;
                checksum(&mut packet);
                ctx.push(outer, packet);
            }
            Err(reason) => ctx.drop(packet, reason),
        }
    }
}

fn crypto(ctx: &mut Ctx, sad: &mut Sad, packets: &mut [Packet], state: &mut [Prepared]) {
    for (packet, state) in packets.iter_mut().zip(state.iter_mut()) {
        let Some(index) = packet.peer.and_then(|p| sad.selected(p)) else { continue };
        let (hot, cold) = (&mut sad.out_hot[index], &sad.out_cold[index]);
        *state = prepare(ctx.id, &mut ctx.events, index, hot, cold, packet);
        if let Some(c) = ctx.counters.sa_out.get(index) {
            let (packets, octets) = hot.counts();
            c.packets.set(packets);
            c.octets.set(octets);
            c.replay_or_seq.set(packets);
        }
    }
    let Sad { manager, out_hot, out_key, .. } = sad;
    let mut batch = Batch::new();
    let mut numbers = [usize::MAX; BATCH];
    for ((packet, state), number) in packets.iter_mut().zip(state.iter_mut()).zip(&mut numbers) {
        let (Ok(()), Some(hot), Some(key)) =
            (state.verdict, out_hot.get(state.sa as usize), out_key.get(state.sa as usize))
        else {
            continue;
        };
        let (Some(algorithm), Some(data)) = (hot.algorithm(), packet.mbuf.data_mut().get_mut(usize::from(state.at)..))
        else {
            continue;
        };
        let (salt, seq_high) = (hot.salt(), hot.seq_high(state.seq));
        match batch.push(Job { algorithm, key, direction: Direction::Seal, packet: data, salt, seq_high }) {
            Some(n) => *number = n,
            None => state.verdict = Err(DropReason::EspMalformed),
        }
    }
    let outcome = manager.run(&mut batch);
    for (state, number) in state.iter_mut().zip(numbers) {
        if state.verdict.is_ok() && (number == usize::MAX || !outcome.good(number)) {
            state.verdict = Err(DropReason::EspMalformed);
        }
    }
}

fn prepare(
    worker: dataplane_api::WorkerId,
    events: &mut Producer<WorkerEvent>,
    index: usize,
    sa: &mut Outbound,
    cold: &OutboundCold,
    packet: &mut Packet,
) -> Prepared {
    let refuse = |reason| Prepared { verdict: Err(reason), ..NOTHING };
    let (Some(algorithm), Some(peer)) = (sa.algorithm(), sa.peer()) else { return refuse(DropReason::SaMissing) };
    // Transport mode keeps the packet's IP header, so its addresses must be the SA's.
    let addresses = if packet.is_v6() { packet.ip().get(8..40) } else { packet.ip().get(12..20) };
    let path = sa.path();
    if addresses.is_none_or(|a| a.split_at(a.len() / 2) != (path.local(), path.remote())) {
        return refuse(DropReason::SaMismatch);
    }
    // Around IP in IP both modes are the same octets; what differs is whether the selectors speak of the inner packet.
    let permitted = if sa.tunnel() {
        let inner = matches!(packet.proto, ip::IPIP | ip::IPV6).then(|| packet.payload());
        inner.and_then(selector::sent_flow).is_some_and(|flow| sa.permits(cold, &flow))
    } else {
        sa.permits_transport(cold, packet.proto, packet.payload())
    };
    if !permitted {
        return refuse(DropReason::EspSelector);
    }
    let ports = Some(sa.path().ports()).filter(|p| *p != (0, 0));
    let (l3, l4) = (usize::from(packet.l3), usize::from(packet.l4));
    let payload = packet.mbuf.len().saturating_sub(l4);
    let encap = if ports.is_some() { udp::HEADER } else { 0 };
    let head = encap + framing::head_len(algorithm);
    let (pad, tail) = (framing::pad_len(algorithm, payload), framing::tail_len(algorithm, payload));
    let total = l4 - l3 + head + payload + tail;
    if total > usize::from(u16::MAX) {
        return refuse(DropReason::TooBig);
    }
    // Room first: a sequence number that was taken must be sent.
    if packet.mbuf.prepend(head).is_none() || packet.mbuf.append(tail).is_none() {
        return refuse(DropReason::NoBuffer);
    }
    let (seq, charge) = sa.next(cold, payload);
    let id = || Slot::new(worker, index as u32, sa.generation()).map(SaOutId);
    let event = match charge {
        Charge::Within | Charge::Spent => None,
        Charge::Soft => id().map(|id| WorkerEvent::SaOutSoft(id, peer)),
        Charge::Hard => id().map(|id| WorkerEvent::SaOutHard(id, peer)),
    };
    if event.is_some_and(|e| events.push(e).is_err()) {
        sa.repeat_charge(cold);
    }
    if !charge.passes() {
        return refuse(DropReason::SaExpired);
    }
    let (new4, next) = (l4 + head, packet.proto);
    let v6 = sa.path().is_v6();
    let data = packet.mbuf.data_mut();
    // The data begins `head` octets earlier now: the IP header moves to the front of that.
    data.copy_within(l3 + head..new4, l3);
    let at = l4 + encap;
    let len = data.len();
    let framed = data.get_mut(at..).is_some_and(|d| framing::write_head(d, algorithm, sa.spi(), seq))
        && data.get_mut(len - tail..).is_some_and(|d| framing::write_trailer(d, pad, next))
        && ports.is_none_or(|(from, to)| data.get_mut(l4..).is_some_and(|d| udp::emit(d, from, to, (len - l4) as u16)));
    let proto = if encap > 0 { ip::UDP } else { ip::ESP };
    if !framed || !outer_header(&mut data[l3..l4], v6, (len - l3) as u16, proto) {
        return refuse(DropReason::EspMalformed);
    }
    (packet.l4, packet.proto) = (l4 as u16, proto);
    Prepared { sa: index as u32, at: at as u16, seq, verdict: Ok(()) }
}

/// RFC 3948, section 2.1: over IPv4 the checksum is zero. Over IPv6 a receiver may drop that (RFC 8200, section 8.1),
/// and Linux does; it covers the ciphertext.
fn checksum(packet: &mut Packet) {
    if packet.is_v6() && packet.proto == ip::UDP {
        let ((src, dst), l4) = (packet.addresses(), usize::from(packet.l4));
        if let Some(datagram) = packet.mbuf.data_mut().get_mut(l4..) {
            udp::fill_checksum(datagram, src, dst);
        }
    }
}

/// Lengths, protocol and checksum of an IP header of our own, which has no extension headers.
fn outer_header(header: &mut [u8], v6: bool, total: u16, proto: u8) -> bool {
    if v6 {
        let Some(h) = header.first_chunk_mut::<{ ipv6::HEADER }>() else { return false };
        h[4..6].copy_from_slice(&(total - ipv6::HEADER as u16).to_be_bytes());
        h[6] = proto;
    } else {
        if header.len() < ipv4::HEADER {
            return false;
        }
        header[2..4].copy_from_slice(&total.to_be_bytes());
        header[9] = proto;
        header[10..12].fill(0);
        let sum = wire::checksum::of(header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    true
}

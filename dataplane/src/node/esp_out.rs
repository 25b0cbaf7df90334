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
use arrayvec::ArrayVec;
use dataplane_api::id::Slot;
use dataplane_api::{DropReason, PeerId, SaOutId, TraceNode, WorkerEvent};
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
}

type Verdict = Result<(), DropReason>;

/// Drains `input`; protected packets go to `outer`.
pub fn run(ctx: &mut Ctx, sad: &mut Sad, input: &mut Lane, outer: &mut Lane) {
    if input.is_empty() {
        return;
    }
    ctx.visit(TraceNode::EspOut, input);
    let mut verdicts: ArrayVec<Verdict, LANE> = ArrayVec::new();
    for packets in input.packets().chunks_mut(BATCH) {
        prefetch(ctx, sad, packets);
        protect(ctx, sad, packets, &mut verdicts);
    }
    for (mut packet, verdict) in input.drain().zip(verdicts) {
        match verdict {
            Ok(()) => {
                checksum(&mut packet);
                ctx.push(outer, packet);
            }
            Err(reason) => ctx.drop(packet, reason),
        }
    }
}

/// What packets will need of their SAs.
#[inline(always)]
fn prefetch(ctx: &Ctx, sad: &Sad, packets: &[Packet]) {
    for i in packets.iter().filter_map(|p| sad.selected(p.peer?)) {
        ipsec_mb::prefetch(&sad.out_hot[i], 0..2);
        sad.manager.prefetch(&sad.out_key[i]);
        ctx.counters.sa_out.get(i).into_iter().for_each(|c| ipsec_mb::prefetch(c, 0..1));
    }
}

fn protect(ctx: &mut Ctx, sad: &mut Sad, packets: &mut [Packet], verdicts: &mut ArrayVec<Verdict, LANE>) {
    let mut prepared: ArrayVec<Result<Prepared, DropReason>, BATCH> = ArrayVec::new();
    for packet in packets.iter_mut() {
        let Some(index) = packet.peer.and_then(|p| sad.selected(p)) else {
            prepared.push(Err(DropReason::SaMissing));
            continue;
        };
        let (hot, cold) = (&mut sad.out_hot[index], &sad.out_cold[index]);
        prepared.push(prepare(ctx.id, &mut ctx.events, index, hot, cold, packet));
        if let Some(c) = ctx.counters.sa_out.get(index) {
            let (packets, octets) = hot.counts();
            c.packets.set(packets);
            c.octets.set(octets);
            c.replay_or_seq.set(packets);
        }
    }
    // By now the headers have left the store buffer, and the cipher can load them as it likes.
    let Sad { manager, out_hot, out_key, .. } = sad;
    let mut batch = Batch::new();
    let mut waiting: ArrayVec<usize, BATCH> = ArrayVec::new();
    for (packet, prepared) in packets.iter_mut().zip(prepared) {
        let verdict = prepared.and_then(|p| {
            let malformed = DropReason::EspMalformed;
            let (Some(hot), Some(key)) = (out_hot.get(p.sa as usize), out_key.get(p.sa as usize)) else {
                return Err(malformed);
            };
            let packet = packet.mbuf.data_mut().get_mut(usize::from(p.at)..).ok_or(malformed)?;
            let (algorithm, direction) = (hot.algorithm().ok_or(malformed)?, Direction::Seal);
            let (salt, seq_high) = (hot.salt(), hot.seq_high(p.seq));
            match manager.at_once(Job { algorithm, key, direction, packet, salt, seq_high }) {
                Ok(done) => {
                    if done {
                        Ok(())
                    } else {
                        Err(malformed)
                    }
                }
                // Good for nothing until the batch has run.
                Err(job) => {
                    if batch.push(job).is_some() {
                        waiting.push(verdicts.len());
                    }
                    Err(malformed)
                }
            }
        });
        verdicts.push(verdict);
    }
    if !batch.is_empty() {
        let outcome = manager.run(&mut batch);
        for (_, at) in waiting.into_iter().enumerate().filter(|(n, _)| outcome.good(*n)) {
            verdicts[at] = Ok(());
        }
    }
}

#[inline(always)]
fn prepare(
    worker: dataplane_api::WorkerId,
    events: &mut Producer<WorkerEvent>,
    index: usize,
    sa: &mut Outbound,
    cold: &OutboundCold,
    packet: &mut Packet,
) -> Result<Prepared, DropReason> {
    let (Some(algorithm), Some(peer)) = (sa.algorithm(), sa.peer()) else { return Err(DropReason::SaMissing) };
    // Transport mode keeps the packet's IP header, so its addresses must be the SA's.
    let header = Header::read(packet).filter(|h| h.is_of(sa)).ok_or(DropReason::SaMismatch)?;
    if !sa.permits_any() && !permits(sa, cold, packet) {
        return Err(DropReason::EspSelector);
    }
    let ports = Some(sa.path().ports()).filter(|p| *p != (0, 0));
    let (l3, l4) = (usize::from(packet.l3), usize::from(packet.l4));
    let payload = packet.mbuf.len().saturating_sub(l4);
    let encap = if ports.is_some() { udp::HEADER } else { 0 };
    let head = encap + framing::head_len(algorithm);
    let (pad, tail) = (framing::pad_len(algorithm, payload), framing::tail_len(algorithm, payload));
    let total = l4 - l3 + head + payload + tail;
    if total > usize::from(u16::MAX) {
        return Err(DropReason::TooBig);
    }
    // Room first: a sequence number that was taken must be sent.
    if packet.mbuf.replace_front(0, head).is_none() || packet.mbuf.append(tail).is_none() {
        return Err(DropReason::NoBuffer);
    }
    let (seq, charge) = sa.next(cold, payload);
    if charge != Charge::Within {
        report(worker, events, index, sa, cold, peer, charge)?;
    }
    let next = packet.proto;
    let proto = if encap > 0 { ip::UDP } else { ip::ESP };
    let data = packet.mbuf.data_mut();
    // The data begins `head` octets earlier now, and so does the IP header.
    let (at, len) = (l4 + encap, data.len());
    let framed = header.write(data.get_mut(l3..l4).unwrap_or_default(), (len - l3) as u16, proto)
        && data.get_mut(at..).is_some_and(|d| framing::write_head(d, algorithm, sa.spi(), seq))
        && data.get_mut(len - tail..).is_some_and(|d| framing::write_trailer(d, pad, next))
        && ports.is_none_or(|(from, to)| data.get_mut(l4..).is_some_and(|d| udp::emit(d, from, to, (len - l4) as u16)));
    if !framed {
        return Err(DropReason::EspMalformed);
    }
    (packet.l4, packet.proto) = (l4 as u16, proto);
    Ok(Prepared { sa: index as u32, at: at as u16, seq })
}

/// Around IP in IP both modes are the same octets; what differs is whether the selectors speak of the inner packet.
fn permits(sa: &Outbound, cold: &OutboundCold, packet: &Packet) -> bool {
    if sa.tunnel() {
        let inner = matches!(packet.proto, ip::IPIP | ip::IPV6).then(|| packet.payload());
        inner.and_then(selector::sent_flow).is_some_and(|flow| sa.permits(cold, &flow))
    } else {
        sa.permits_transport(cold, packet.proto, packet.payload())
    }
}

/// Tells of a lifetime that a packet has reached; a hard one refuses the packet.
#[cold]
fn report(
    worker: dataplane_api::WorkerId,
    events: &mut Producer<WorkerEvent>,
    index: usize,
    sa: &mut Outbound,
    cold: &OutboundCold,
    peer: PeerId,
    charge: Charge,
) -> Result<(), DropReason> {
    let id = || Slot::new(worker, index as u32, sa.generation()).map(SaOutId);
    let event = match charge {
        Charge::Within | Charge::Spent => None,
        Charge::Soft => id().map(|id| WorkerEvent::SaOutSoft(id, peer)),
        Charge::Hard => id().map(|id| WorkerEvent::SaOutHard(id, peer)),
    };
    if event.is_some_and(|e| events.push(e).is_err()) {
        sa.repeat_charge(cold);
    }
    if charge.passes() { Ok(()) } else { Err(DropReason::SaExpired) }
}

/// An IP header of our own, without options or extension headers, on its way to another place.
enum Header {
    V4([u8; ipv4::HEADER]),
    V6([u8; ipv6::HEADER]),
}

impl Header {
    #[inline(always)]
    fn read(packet: &Packet) -> Option<Self> {
        match (packet.l4.checked_sub(packet.l3)?, packet.ip()) {
            (20, ip) if !packet.is_v6() => ip.first_chunk().copied().map(Self::V4),
            (40, ip) if packet.is_v6() => ip.first_chunk().copied().map(Self::V6),
            _ => None,
        }
    }

    /// Whether the addresses are those of an SA.
    #[inline(always)]
    fn is_of(&self, sa: &Outbound) -> bool {
        match self {
            Self::V4(h) => h.last_chunk().is_some_and(|a| sa.path().sends_v4(a)),
            Self::V6(h) => h.last_chunk().is_some_and(|a| sa.path().sends_v6(a)),
        }
    }

    /// Writes it with another length and protocol.
    #[inline(always)]
    fn write(&self, out: &mut [u8], total: u16, proto: u8) -> bool {
        match self {
            Self::V4(h) => {
                let word = |at: usize| u32::from_be_bytes([h[at], h[at + 1], h[at + 2], h[at + 3]]);
                let first = word(0) & 0xffff_0000 | u32::from(total);
                let third = word(8) & 0xff00_0000 | u32::from(proto) << 16;
                ipv4::write(out, [first, word(4), third, word(12), word(16)])
            }
            Self::V6(h) => {
                let Some(out) = out.first_chunk_mut::<{ ipv6::HEADER }>() else { return false };
                *out = *h;
                out[4..6].copy_from_slice(&(total - ipv6::HEADER as u16).to_be_bytes());
                out[6] = proto;
                true
            }
        }
    }
}

/// RFC 3948, section 2.1: over IPv4 the checksum is zero. Over IPv6 a receiver may drop that (RFC 8200, section 8.1),
/// and Linux does; it covers the ciphertext.
#[inline(always)]
fn checksum(packet: &mut Packet) {
    if packet.is_v6() && packet.proto == ip::UDP {
        let ((src, dst), l4) = (packet.addresses(), usize::from(packet.l4));
        if let Some(datagram) = packet.mbuf.data_mut().get_mut(l4..) {
            udp::fill_checksum(datagram, src, dst);
        }
    }
}

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
use dataplane_api::{DropReason, PeerId, SaOutId, TraceNode, WorkerEvent, WorkerId};
use esp::{Charge, Outbound, OutboundCold};
use esp::{framing, selector};
use ipsec_mb::{BATCH, Batch, Direction, Job, Key};
use rtrb::Producer;
use wire::{ip, ipv4, ipv6, udp};

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
    let first = verdicts.len();
    let mut jobs: ArrayVec<Job<'_>, BATCH> = ArrayVec::new();
    for packet in packets.iter_mut() {
        let index = packet.peer.and_then(|p| sad.selected(p)).unwrap_or(usize::MAX);
        let (Some(hot), Some(cold), Some(key)) =
            (sad.out_hot.get_mut(index), sad.out_cold.get(index), sad.out_key.get(index))
        else {
            verdicts.push(Err(DropReason::SaMissing));
            continue;
        };
        verdicts.push(prepare((ctx.id, index), &mut ctx.events, hot, cold, key, packet, &mut jobs));
        if let Some(c) = ctx.counters.sa_out.get(index) {
            let (packets, octets) = hot.counts();
            c.packets.set(packets);
            c.octets.set(octets);
            c.replay_or_seq.set(packets);
        }
    }
    // By now the headers have left the store buffer, and the cipher can load them as it likes.
    let mut batch = Batch::new();
    let mut waiting: ArrayVec<&mut Verdict, BATCH> = ArrayVec::new();
    for (verdict, job) in verdicts[first..].iter_mut().filter(|v| v.is_ok()).zip(jobs) {
        match sad.manager.at_once(job) {
            Ok(true) => {}
            Ok(false) => *verdict = Err(DropReason::EspMalformed),
            Err(job) => {
                // Good for nothing until the batch has run.
                *verdict = Err(DropReason::EspMalformed);
                if batch.push(job).is_some() {
                    waiting.push(verdict);
                }
            }
        }
    }
    if !batch.is_empty() {
        let outcome = sad.manager.run(&mut batch);
        for (_, verdict) in waiting.into_iter().enumerate().filter(|(n, _)| outcome.good(*n)) {
            *verdict = Ok(());
        }
    }
}

/// Everything but the cipher, whose job joins `jobs`.
#[inline(always)]
fn prepare<'a>(
    slot: (WorkerId, usize),
    events: &mut Producer<WorkerEvent>,
    sa: &mut Outbound,
    cold: &OutboundCold,
    key: &'a Key,
    packet: &'a mut Packet,
    jobs: &mut ArrayVec<Job<'a>, BATCH>,
) -> Verdict {
    let (Some(algorithm), Some(peer)) = (sa.algorithm(), sa.peer()) else { return Err(DropReason::SaMissing) };
    if !sa.permits_any() && !permits(sa, cold, packet) {
        return Err(DropReason::EspSelector);
    }
    let (l3, l4) = (usize::from(packet.l3), usize::from(packet.l4));
    let payload = packet.mbuf.len().saturating_sub(l4);
    let encap = if sa.path().is_encapsulated() { udp::HEADER } else { 0 };
    let (head, tail) = (encap + framing::head_len(algorithm), framing::tail_len(algorithm, payload));
    // Room first: a sequence number that was taken must be sent.
    let (data, meta) = packet.mbuf.grow(head, tail).ok_or(DropReason::NoBuffer)?;
    // The data begins `head` octets earlier now, and so will the IP header.
    let data = data.get_mut(l3..).filter(|d| d.len() <= usize::from(u16::MAX)).ok_or(DropReason::TooBig)?;
    let (total, next, proto) = (data.len() as u16, meta.proto, if encap > 0 { ip::UDP } else { ip::ESP });
    // Transport mode keeps the packet's IP header, so its addresses must be the SA's.
    if !is_of(sa, data.get(head..).unwrap_or_default(), l4.wrapping_sub(l3)) {
        return Err(DropReason::SaMismatch);
    }
    let (seq, charge) = sa.next(cold, payload);
    if charge != Charge::Within {
        report(slot, events, sa, cold, peer, charge)?;
    }
    let malformed = DropReason::EspMalformed;
    let rest = move_header(data, head, sa.path().is_v6(), total, proto).ok_or(malformed)?;
    if encap > 0 {
        let ((from, to), len) = (sa.path().ports(), rest.len() as u16);
        udp::emit(rest, from, to, len).then_some(()).ok_or(malformed)?;
    }
    let packet = rest.get_mut(encap..).ok_or(malformed)?;
    let behind = packet.len() - tail;
    let framed = framing::write_head(packet, algorithm, sa.spi(), seq)
        && packet
            .get_mut(behind..)
            .is_some_and(|t| framing::write_trailer(t, framing::pad_len(algorithm, payload), next));
    if !framed {
        return Err(malformed);
    }
    meta.proto = proto;
    let (direction, salt, seq_high) = (Direction::Seal, sa.salt(), sa.seq_high(seq));
    jobs.push(Job { algorithm, key, direction, packet, salt, seq_high });
    Ok(())
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
    slot: (WorkerId, usize),
    events: &mut Producer<WorkerEvent>,
    sa: &mut Outbound,
    cold: &OutboundCold,
    peer: PeerId,
    charge: Charge,
) -> Result<(), DropReason> {
    let id = || Slot::new(slot.0, slot.1 as u32, sa.generation()).map(SaOutId);
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

/// Whether a packet has a plain header of `len` octets whose addresses are those of an SA.
#[inline(always)]
fn is_of(sa: &Outbound, ip: &[u8], len: usize) -> bool {
    match (len, ip.first().map(|b| b >> 4)) {
        (ipv4::HEADER, Some(4)) => ip.get(12..).and_then(|a| a.first_chunk()).is_some_and(|a| sa.path().sends_v4(a)),
        (ipv6::HEADER, Some(6)) => ip.get(8..).and_then(|a| a.first_chunk()).is_some_and(|a| sa.path().sends_v6(a)),
        _ => false,
    }
}

/// The IP header at `from` moves to the front, where it tells another length of the packet and another protocol. Gives what is
/// behind it.
#[inline(always)]
fn move_header(data: &mut [u8], from: usize, v6: bool, total: u16, proto: u8) -> Option<&mut [u8]> {
    if v6 {
        let header = *data.get(from..)?.first_chunk()?;
        let (out, rest) = data.split_first_chunk_mut()?;
        *out = ipv6::relabelled(header, total.checked_sub(ipv6::HEADER as u16)?, proto);
        Some(rest)
    } else {
        let header = *data.get(from..)?.first_chunk()?;
        let (out, rest) = data.split_first_chunk_mut()?;
        *out = ipv4::relabelled(header, total, proto);
        Some(rest)
    }
}

/// RFC 3948, section 2.1: over IPv4 the checksum is zero. Over IPv6 a receiver may drop that (RFC 8200, section 8.1),
/// and Linux does; it covers the ciphertext.
#[inline(always)]
fn checksum(packet: &mut Packet) {
    if packet.proto == ip::UDP && packet.is_v6() {
        let ((src, dst), l4) = (packet.addresses(), usize::from(packet.l4));
        if let Some(datagram) = packet.mbuf.data_mut().get_mut(l4..) {
            udp::fill_checksum(datagram, src, dst);
        }
    }
}

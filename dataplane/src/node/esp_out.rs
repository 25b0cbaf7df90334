//! ESP, outbound (RFC 4303, section 3.3): prepare, crypto, finish over the whole lane.
//!
//! The packets are whole IP packets of our own, perhaps framed already, whose `peer` names who is to receive them. The peer's
//! selected SA protects them; without one they are dropped, never sent in the clear.
//!
//! ```text
//!   IP | room | UDP | L2TP ...     ─►   IP | [UDP 4500] | SPI, seq, IV | UDP | L2TP ... | padding, trailer | ICV
//! ```
//!
//! Most packets have [`room`] for ESP already. In front of the others the IP header is moved.

use crate::lane::{Ctx, LANE, Lane, Packet, PacketMeta, Ready};
use crate::node::{output, room};
use crate::sad::{OutEntry, Sad};
use arrayvec::ArrayVec;
use dataplane_api::id::Slot;
use dataplane_api::{DropReason, SaOutId, TraceNode, WorkerEvent, WorkerId};
use esp::{Charge, Outbound, OutboundCold, Path};
use esp::{framing, selector};
use ipsec_mb::{AHEAD, Algorithm, BATCH, Direction, Job, Key, Manager};
use rtrb::Producer;
use wire::{ip, ipv4, ipv6, udp};

type Verdict = Result<(), DropReason>;

/// Protects the packets of a lane, in place. Those that cannot be are dropped; the others are to be sent.
pub fn run(ctx: &mut Ctx, sad: &mut Sad, lane: &mut Lane) {
    if ctx.is_tracing() {
        // Shown as they are, and not as they will be. What cannot be opened cannot be protected either.
        for packet in lane.packets().iter_mut().filter(|p| p.enclosed && p.trace.is_some()) {
            let _ = room::open(packet);
        }
    }
    ctx.visit(TraceNode::EspOut, lane);
    let mut verdicts: ArrayVec<Verdict, LANE> = ArrayVec::new();
    for packets in lane.packets().chunks_mut(BATCH) {
        let indices = select(sad, packets);
        protect(ctx, sad, packets, &indices, &mut verdicts);
    }
    if verdicts.iter().any(Verdict::is_err) {
        weed(ctx, lane, &verdicts);
    }
}

/// Drops the packets that could not be protected.
#[cold]
fn weed(ctx: &mut Ctx, lane: &mut Lane, verdicts: &[Verdict]) {
    for (packet, verdict) in std::mem::take(lane).drain().zip(verdicts) {
        match *verdict {
            Ok(()) => ctx.push(lane, packet),
            Err(reason) => ctx.drop(packet, reason),
        }
    }
}

/// Packets that come to a lane between looking where a packet's SA is and asking for it.
const FOUND_AFTER: usize = 5;

/// For nodes that lead here, after each packet: of many SAs, those of the lane's packets are asked for while there is other work. The
/// last few of a lane have to wait for [`run`].
#[inline(never)]
pub fn ahead(sad: &Sad, lane: &mut Lane) {
    let packets = &*lane.packets();
    // Of one peer's packets that follow each other, the first asks.
    let first = |n: usize| match packets[..n] {
        [.., ref before, ref packet] if before.peer == packet.peer => None,
        [.., ref packet] => packet.peer,
        [] => None,
    };
    first(packets.len()).into_iter().for_each(|peer| sad.prefetch_peer(peer));
    first(packets.len().saturating_sub(FOUND_AFTER)).into_iter().for_each(|peer| sad.prefetch_selected(peer));
}

/// The SAs that packets take, by index. No SA: `usize::MAX`.
#[inline(always)]
fn select(sad: &Sad, packets: &[Packet]) -> ArrayVec<usize, BATCH> {
    let mut last = (None, usize::MAX);
    let index = |packet: &Packet| {
        // One peer's packets often come together.
        if packet.peer != last.0 {
            last = (packet.peer, packet.peer.and_then(|p| sad.index(p)).unwrap_or(usize::MAX));
        }
        last.1
    };
    packets.iter().map(index).collect()
}

/// For how many packets SAs are on their way into the cache at a time.
const SAS_AHEAD: usize = 8;

/// An SA, and what goes with it.
struct Sa<'a> {
    index: usize,
    algorithm: Algorithm,
    hot: &'a mut Outbound,
    cold: &'a OutboundCold,
}

fn protect(
    ctx: &mut Ctx,
    sad: &mut Sad,
    packets: &mut [Packet],
    indices: &[usize],
    verdicts: &mut ArrayVec<Verdict, LANE>,
) {
    let Sad { manager, outbound, out_cold, .. } = sad;
    let (first, entries) = (verdicts.len(), outbound.as_ptr());
    let sa_ahead = |index: usize| ipsec_mb::prefetch(entries.wrapping_add(index), 0..2);
    // What is all of one SA has it in the cache.
    let ahead = if indices.iter().all(|index| indices.first() == Some(index)) { &[] } else { indices };
    ahead.iter().take(SAS_AHEAD).for_each(|index| sa_ahead(*index));
    let mut jobs: ArrayVec<Job<'_>, BATCH> = ArrayVec::new();
    let mut last: Option<Sa<'_>> = None;
    for (n, (packet, &index)) in packets.iter_mut().zip(indices).enumerate() {
        if let Some(&next) = ahead.get(n + SAS_AHEAD) {
            sa_ahead(next);
        }
        if last.as_ref().is_none_or(|sa| sa.index != index) {
            last = match (outbound.get_mut(index), out_cold.get(index)) {
                (Some(OutEntry { hot, .. }), Some(cold)) => {
                    hot.algorithm().map(|algorithm| Sa { index, algorithm, hot, cold })
                }
                _ => None,
            };
        }
        verdicts.push(match &mut last {
            Some(sa) if packet.peer != sa.hot.peer() => Err(DropReason::SaMissing),
            Some(sa) if !sa.hot.permits_any() && !permits(sa.hot, sa.cold, packet) => Err(DropReason::EspSelector),
            Some(sa) if packet.enclosed && sa.hot.is_gcm() => match sa.hot.path().is_encapsulated() {
                false => enclosed(ctx, sa, packet, &mut jobs),
                true => in_udp(ctx, sa, packet, &mut jobs),
            },
            Some(sa) => any(ctx, sa, packet, &mut jobs),
            None => Err(DropReason::SaMissing),
        });
    }
    // By now the headers have left the store buffer, and the cipher can load them as it likes.
    crypt(manager, outbound, indices, &mut jobs, &mut verdicts[first..]);
}

/// Runs the jobs of those packets for which there is nothing against it.
fn crypt(
    manager: &mut Manager,
    outbound: &[OutEntry],
    indices: &[usize],
    jobs: &mut ArrayVec<Job<'_>, BATCH>,
    verdicts: &mut [Verdict],
) {
    let mut keys: ArrayVec<&Key, BATCH> = ArrayVec::new();
    for (verdict, &index) in verdicts.iter().zip(indices) {
        if let (Ok(()), Some(OutEntry { key, .. })) = (verdict, outbound.get(index)) {
            keys.push(key);
        }
    }
    debug_assert_eq!(jobs.len(), keys.len());
    keys.iter().take(AHEAD).for_each(|key| manager.prefetch(key));
    let outcome = manager.run(jobs, &keys);
    if !outcome.all_good(jobs.len()) {
        for (n, verdict) in verdicts.iter_mut().filter(|verdict| verdict.is_ok()).enumerate() {
            if !outcome.good(n) {
                *verdict = Err(DropReason::EspMalformed);
            }
        }
    }
}

/// For a packet with [`room`], of an SA of AES-GCM without UDP around ESP that permits it: all but the cipher, whose job joins `jobs`. Its IP header is final
/// already. A function of its own, so that it has the registers to itself.
#[inline(never)]
fn enclosed<'a>(
    ctx: &mut Ctx,
    sa: &mut Sa<'_>,
    packet: &'a mut Packet,
    jobs: &mut ArrayVec<Job<'a>, BATCH>,
) -> Verdict {
    let (l3, l4) = (usize::from(packet.l3), usize::from(packet.l4));
    let payload = packet.mbuf.len().saturating_sub(l4);
    let (data, meta) = packet.mbuf.grow(0, framing::tail_len(room::SUITE, payload)).ok_or(DropReason::NoBuffer)?;
    let front = data.split_at_mut_checked(l4.wrapping_sub(room::ROOM));
    let (header, rest) = front.ok_or(DropReason::EspMalformed)?;
    if !header.get(l3..).is_some_and(|header| sends(sa.hot.path(), header)) {
        return Err(DropReason::SaMismatch);
    }
    meta.l4 = (l4 - room::ROOM) as u16;
    frame(ctx, sa, (meta, rest), (room::SUITE, payload), ip::ESP, jobs)
}

/// For a packet with [`room`], of an SA of AES-GCM with UDP around ESP.
#[inline(never)]
fn in_udp<'a>(ctx: &mut Ctx, sa: &mut Sa<'_>, packet: &'a mut Packet, jobs: &mut ArrayVec<Job<'a>, BATCH>) -> Verdict {
    if packet.ready == Ready::Framed {
        // Whether the frame fits the link was found out without UDP.
        output::unframe(packet)?;
    }
    behind_new_header(ctx, sa, packet, (room::SUITE, udp::HEADER, room::ROOM), jobs)
}

/// For any packet and any SA.
#[inline(never)]
fn any<'a>(ctx: &mut Ctx, sa: &mut Sa<'_>, packet: &'a mut Packet, jobs: &mut ArrayVec<Job<'a>, BATCH>) -> Verdict {
    if packet.ready == Ready::Framed {
        output::unframe(packet)?;
    }
    let encap = if sa.hot.path().is_encapsulated() { udp::HEADER } else { 0 };
    if packet.enclosed && encap + framing::head_len(sa.algorithm) < room::ROOM {
        room::open(packet)?;
    }
    let room = room::behind_ip(packet.enclosed);
    behind_new_header(ctx, sa, packet, (sa.algorithm, encap, room), jobs)
}

/// The IP header moves in front of ESP and `encap` octets of UDP, from where it left `room` octets.
#[inline(always)]
fn behind_new_header<'a>(
    ctx: &mut Ctx,
    sa: &mut Sa<'_>,
    packet: &'a mut Packet,
    (sizes, encap, room): (Algorithm, usize, usize),
    jobs: &mut ArrayVec<Job<'a>, BATCH>,
) -> Verdict {
    debug_assert_ne!(packet.ready, Ready::Unsummed);
    let (path, proto) = (sa.hot.path(), if encap > 0 { ip::UDP } else { ip::ESP });
    let head = encap + framing::head_len(sizes);
    let (l3, l4) = (usize::from(packet.l3), usize::from(packet.l4));
    let (len, more) = (l4.wrapping_sub(l3 + room), head - room);
    let payload = packet.mbuf.len().saturating_sub(l4);
    let tail = framing::tail_len(sizes, payload);
    let (data, meta) = packet.mbuf.grow(more, tail).ok_or(DropReason::NoBuffer)?;
    // The data begins `more` octets earlier now, and so will the IP header.
    let data = data.get_mut(l3..).ok_or(DropReason::EspMalformed)?;
    let rest = move_header(path, data, (more, len), proto).ok_or(DropReason::SaMismatch)?;
    meta.l4 = (l3 + len) as u16;
    if encap > 0 {
        let ((from, to), len) = (path.ports(), rest.len() as u16);
        udp::emit(rest, from, to, len).then_some(()).ok_or(DropReason::EspMalformed)?;
        // RFC 3948, section 2.1: over IPv4 the checksum is zero. Over IPv6 a receiver may drop that (RFC 8200, section 8.1), and
        // Linux does; it covers the ciphertext.
        if path.is_v6() {
            meta.ready = Ready::Unsummed;
        }
    }
    let packet = rest.get_mut(encap..).ok_or(DropReason::EspMalformed)?;
    frame(ctx, sa, (meta, packet), (sizes, payload), proto, jobs)
}

/// Takes a sequence number and writes what stands around the payload. There is room for it: a number that was taken must be sent.
#[inline(always)]
fn frame<'a>(
    ctx: &mut Ctx,
    sa: &mut Sa<'_>,
    (meta, packet): (&mut PacketMeta, &'a mut [u8]),
    (sizes, payload): (Algorithm, usize),
    proto: u8,
    jobs: &mut ArrayVec<Job<'a>, BATCH>,
) -> Verdict {
    let (seq, charge) = sa.hot.next(sa.cold, payload);
    if charge != Charge::Within {
        report((ctx.id, sa.index), &mut ctx.events, sa.hot, sa.cold, charge)?;
    }
    let next = std::mem::replace(&mut meta.proto, proto);
    let behind = framing::head_len(sizes) + payload;
    // The head is last, since the job reads it: so it is in registers still.
    let malformed = DropReason::EspMalformed;
    let tail = packet.get_mut(behind..).ok_or(malformed)?;
    if !framing::write_trailer(tail, framing::pad_len(sizes, payload), next)
        || !framing::write_head(packet, sizes, sa.hot.spi(), seq)
    {
        return Err(malformed);
    }
    jobs.push(Job::new(sa.algorithm, Direction::Seal, packet, sa.hot.salt(), sa.hot.seq_high(seq)));
    Ok(())
}

/// Around IP in IP both modes are the same octets; what differs is whether the selectors speak of the inner packet.
#[inline(always)]
fn permits(sa: &Outbound, cold: &OutboundCold, packet: &Packet) -> bool {
    match sa.tunnel() {
        true => permits_inner(sa, cold, packet),
        false => sa.permits_transport(cold, packet.proto, packet.payload()),
    }
}

#[inline(never)]
fn permits_inner(sa: &Outbound, cold: &OutboundCold, packet: &Packet) -> bool {
    let inner = matches!(packet.proto, ip::IPIP | ip::IPV6).then(|| packet.payload());
    inner.and_then(selector::sent_flow).is_some_and(|flow| sa.permits(cold, &flow))
}

/// Tells of a lifetime that a packet has reached; a hard one refuses the packet.
#[cold]
fn report(
    slot: (WorkerId, usize),
    events: &mut Producer<WorkerEvent>,
    sa: &mut Outbound,
    cold: &OutboundCold,
    charge: Charge,
) -> Result<(), DropReason> {
    let id = || Slot::new(slot.0, slot.1 as u32, sa.generation()).map(SaOutId).zip(sa.peer());
    let event = match charge {
        Charge::Within | Charge::Spent => None,
        Charge::Soft => id().map(|(id, peer)| WorkerEvent::SaOutSoft(id, peer)),
        Charge::Hard => id().map(|(id, peer)| WorkerEvent::SaOutHard(id, peer)),
    };
    if event.is_some_and(|e| events.push(e).is_err()) {
        sa.repeat_charge(cold);
    }
    if charge.passes() { Ok(()) } else { Err(DropReason::SaExpired) }
}

/// Whether an IP header without options or extensions is from and to the SA's addresses: transport mode keeps it.
#[inline(always)]
fn sends(path: &Path, header: &[u8]) -> bool {
    match path.is_v6() {
        true => <&[u8; ipv6::HEADER]>::try_from(header)
            .is_ok_and(|h| h[0] >> 4 == 6 && h.last_chunk().is_some_and(|ends| path.sends_v6(ends))),
        false => <&[u8; ipv4::HEADER]>::try_from(header)
            .is_ok_and(|h| h[0] >> 4 == 4 && h.last_chunk().is_some_and(|ends| path.sends_v4(ends))),
    }
}

/// The IP header of `len` octets at `from` moves to the front, where it tells another length of the packet and another protocol.
/// Gives what is behind it. `None`: the SA does not [`sends`] it.
fn move_header<'a>(path: &Path, data: &'a mut [u8], (from, len): (usize, usize), proto: u8) -> Option<&'a mut [u8]> {
    let total = u16::try_from(data.len()).ok()?;
    let header = data.get(from..)?.get(..len).filter(|header| sends(path, header))?;
    if path.is_v6() {
        let header = ipv6::relabelled(header.first_chunk()?, total - ipv6::HEADER as u16, proto);
        let (out, rest) = data.split_first_chunk_mut()?;
        *out = header;
        Some(rest)
    } else {
        let header = ipv4::relabelled(header.first_chunk()?, total, proto);
        let (out, rest) = data.split_first_chunk_mut()?;
        *out = header;
        Some(rest)
    }
}

//! ESP, inbound (RFC 4303, section 3.4): three paragraphs over the whole lane.
//!
//! *Prepare*: find the SA, compare the outer header with it, look at the replay window, describe the job.
//! *Crypto*: run the jobs, up to a batch at a time.
//! *Finish*: the ICV's result, the window again and advance it, trailer, lifetime, selector; then the payload is what the
//! packet carries. Nothing moves: in transport mode the outer IP header stays in front of ESP, where the nodes that follow
//! read it, and only who needs it in one piece has it moved ([`strip`]).
//!
//! The window is looked at twice, because one batch can hold a packet and its own replay.

use crate::lane::{Ctx, LANE, Lane, Packet};
use crate::sad::Sad;
use crate::softwire::Ends;
use arrayvec::ArrayVec;
use dataplane_api::{Counters, DropReason, PeerId, Spi, TraceNode, WorkerEvent};
use esp::framing::{self, HEADER, NEXT_DUMMY};
use esp::{Charge, PathCheck, selector};
use ipsec_mb::{BATCH, Batch, Direction, Job};
use std::net::SocketAddr;
use wire::ip::{self, Ip};

/// What is known about a packet between the paragraphs.
#[derive(Clone, Copy)]
struct Prepared {
    sa: u32,
    // Where ESP begins.
    at: u16,
    moved: bool,
    seq: u64,
}

/// Outer addresses of the last packet of tunnel mode, which often are those of the next one too, and whether they are the ends
/// of a softwire.
type Last = Option<(Ends, bool)>;

/// Why a packet was refused, and by which SA, if it has one.
type Refused = (DropReason, Option<u32>);

/// Drains `input`; what passes goes to `decrypted`.
pub fn run(ctx: &mut Ctx, sad: &mut Sad, input: &mut Lane, decrypted: &mut Lane) {
    if input.is_empty() {
        return;
    }
    ctx.visit(TraceNode::EspIn, input);
    let mut states: ArrayVec<Result<Prepared, Refused>, LANE> = ArrayVec::new();
    for packets in input.packets().chunks_mut(BATCH) {
        prefetch(sad, &ctx.counters, packets);
        open(sad, packets, &mut states);
    }
    let mut last = None;
    for (packet, state) in input.drain().zip(states) {
        finish(ctx, sad, packet, state, &mut last, decrypted);
    }
}

fn esp_offset(packet: &Packet) -> usize {
    usize::from(packet.l4) + if packet.proto == ip::UDP { wire::udp::HEADER } else { 0 }
}

/// What packets will need of their SAs.
#[inline(always)]
fn prefetch(sad: &Sad, counters: &Counters, packets: &[Packet]) {
    for packet in packets {
        let spi = packet.mbuf.data().get(esp_offset(packet)..).and_then(framing::read_head).map(|h| Spi(h.0));
        if let Some(i) = spi.and_then(Spi::slot).map(|s| s.index())
            && let (Some(hot), Some(key), Some(counters)) =
                (sad.in_hot.get(i), sad.in_key.get(i), counters.sa_in.get(i))
        {
            ipsec_mb::prefetch(hot, 0..2);
            sad.manager.prefetch(key);
            ipsec_mb::prefetch(counters, 0..1);
        }
    }
}

fn open(sad: &mut Sad, packets: &mut [Packet], states: &mut ArrayVec<Result<Prepared, Refused>, LANE>) {
    let Sad { manager, in_hot, in_cold, in_key, .. } = &mut *sad;
    let mut batch = Batch::new();
    let mut waiting: ArrayVec<(usize, Prepared), BATCH> = ArrayVec::new();
    for packet in packets.iter_mut() {
        let state = prepare(in_hot, in_cold, packet).and_then(|p| {
            // Whatever does not go through the cipher is as good as forged.
            let forged = (DropReason::EspIntegrity, Some(p.sa));
            let (Some(hot), Some(key)) = (in_hot.get(p.sa as usize), in_key.get(p.sa as usize)) else {
                return Err(forged);
            };
            let packet = packet.mbuf.data_mut().get_mut(usize::from(p.at)..).ok_or(forged)?;
            let (algorithm, direction) = (hot.algorithm().ok_or(forged)?, Direction::Open);
            let (salt, seq_high) = (hot.salt(), hot.seq_high(p.seq));
            let mut job = Job::new(algorithm, key, direction, packet, salt, seq_high);
            if !job.fits() {
                return Err((DropReason::EspMalformed, Some(p.sa)));
            }
            match manager.at_once(&mut job) {
                Some(true) => Ok(p),
                Some(false) => Err(forged),
                None => {
                    if batch.push(job).is_some() {
                        waiting.push((states.len(), p));
                    }
                    Err(forged)
                }
            }
        });
        states.push(state);
    }
    if !batch.is_empty() {
        let outcome = manager.run(&mut batch);
        for (_, (at, p)) in waiting.into_iter().enumerate().filter(|(n, _)| outcome.good(*n)) {
            states[at] = Ok(p);
        }
    }
}

// The SA by its SPI alone; SPIs that name other workers' slots were handed off before.
#[inline(always)]
fn prepare(hot: &[esp::Inbound], cold: &[esp::InboundCold], packet: &Packet) -> Result<Prepared, Refused> {
    let at = esp_offset(packet);
    let (spi, low) = packet.mbuf.data().get(at..).and_then(framing::read_head).ok_or((DropReason::Truncated, None))?;
    let unknown = (DropReason::SaUnknown, None);
    let index = Spi(spi).slot().map(|s| s.index()).ok_or(unknown)?;
    let (Some(sa), Some(cold)) = (hot.get(index).filter(|h| h.is(Spi(spi))), cold.get(index)) else {
        return Err(unknown);
    };
    let moved = match path(sa, packet) {
        PathCheck::Same => false,
        PathCheck::Moved => true,
        PathCheck::Wrong => return Err((DropReason::SaMismatch, Some(index as u32))),
    };
    let seq = sa.check(cold, low).ok_or((DropReason::EspReplay, Some(index as u32)))?;
    Ok(Prepared { sa: index as u32, at: at as u16, moved, seq })
}

/// The outer header against the SA's.
#[inline(always)]
fn path(sa: &esp::Inbound, packet: &Packet) -> PathCheck {
    let header = packet.ip();
    if packet.proto == ip::ESP {
        let same = match (header.get(12..).and_then(|h| h.first_chunk()), header.get(8..).and_then(|h| h.first_chunk()))
        {
            (Some(addresses), _) if !packet.is_v6() => sa.path().receives_v4(addresses),
            (_, Some(addresses)) => sa.path().receives_v6(addresses),
            _ => false,
        };
        if same {
            return PathCheck::Same;
        }
    }
    let (src, dst) =
        if packet.is_v6() { (header.get(8..24), header.get(24..40)) } else { (header.get(12..16), header.get(16..20)) };
    let ports = (packet.proto == ip::UDP).then(|| {
        let (src, dst) = packet.sockets();
        (src.port(), dst.port())
    });
    sa.path().check(src.unwrap_or_default(), dst.unwrap_or_default(), ports)
}

#[inline(always)]
fn finish(
    ctx: &mut Ctx,
    sad: &mut Sad,
    mut packet: Packet,
    state: Result<Prepared, Refused>,
    last: &mut Last,
    decrypted: &mut Lane,
) {
    let result = match state {
        Ok(p) => opened(ctx, sad, &mut packet, &p, last).map_err(|reason| (reason, Some(p.sa))),
        Err(refused) => Err(refused),
    };
    let Err((reason, sa)) = result else { return ctx.push(decrypted, packet) };
    if let Some(c) = sa.and_then(|sa| ctx.counters.sa_in.get(sa as usize)) {
        match reason {
            DropReason::EspReplay => c.replay_or_seq.add(1),
            DropReason::EspIntegrity => c.integrity.add(1),
            _ => {}
        }
    }
    ctx.drop(packet, reason);
}

#[inline(always)]
fn opened(
    ctx: &mut Ctx,
    sad: &mut Sad,
    packet: &mut Packet,
    state: &Prepared,
    last: &mut Last,
) -> Result<(), DropReason> {
    let index = state.sa as usize;
    let (Some(sa), Some(cold)) = (sad.in_hot.get_mut(index), sad.in_cold.get_mut(index)) else {
        return Err(DropReason::SaUnknown);
    };
    let (Some(algorithm), Some(peer)) = (sa.algorithm(), sa.peer()) else { return Err(DropReason::SaUnknown) };
    if !sa.accept(cold, state.seq) {
        return Err(DropReason::EspReplay);
    }
    let (spi, tunnel) = (sa.spi(), sa.tunnel());
    let start = usize::from(state.at) + HEADER + algorithm.iv_len();
    let end = packet.mbuf.len().checked_sub(algorithm.icv_len()).ok_or(DropReason::EspMalformed)?;
    let text = packet.mbuf.data().get(start..end).ok_or(DropReason::EspMalformed)?;
    let (len, next) = framing::read_trailer(text)?;
    let charge = sa.charge(cold, len);
    if charge != Charge::Within {
        let told = match charge {
            Charge::Within | Charge::Spent => true,
            Charge::Soft => ctx.events.push(WorkerEvent::SaInSoft(spi, peer)).is_ok(),
            Charge::Hard => ctx.events.push(WorkerEvent::SaInHard(spi, peer)).is_ok(),
        };
        if !told {
            sa.repeat_charge(cold);
        }
        if !charge.passes() {
            return Err(DropReason::SaExpired);
        }
    }
    if sa.unused() && ctx.events.push(WorkerEvent::SaInUsed(spi, peer)).is_ok() {
        sa.set_used();
    }
    if state.moved && sa.moved() {
        let (src, _) = packet.sockets();
        // Lost when the ring is full; later packets report again.
        let _ = ctx.events.push(WorkerEvent::PeerMoved(peer, SocketAddr::new(src.ip(), src.port())));
    }
    if let Some(c) = ctx.counters.sa_in.get(index) {
        let (packets, octets) = sa.counts();
        c.packets.set(packets);
        c.octets.set(octets);
    }
    if next == NEXT_DUMMY {
        return Err(DropReason::EspDummy);
    }
    let payload = text.get(..len).unwrap_or_default();
    if tunnel {
        let len = framing::inner_len(next, payload)?;
        let inner = payload.get(..len).unwrap_or_default();
        if !sa.permits_any() {
            let flow = selector::received_flow(inner).ok_or(DropReason::InnerMalformed)?;
            if !sa.permits_tunnel(cold, &flow) {
                return Err(DropReason::EspSelector);
            }
        }
        let ends = Ends::received(packet.ip());
        let (_, is_softwire) = match *last {
            Some(same) if same.0 == ends => same,
            _ => *last.insert((ends, ctx.snapshot.softwires.between(ends).next().is_some())),
        };
        if is_softwire {
            // The same octets as IP in IP in transport mode: `decap` looks at both headers.
            return surface(packet, (start, len), next, peer, spi);
        }
        let inner = Ip::parse(payload).map_err(|_| DropReason::InnerMalformed)?;
        packet.l3 = start as u16;
        packet.l4 = (start + inner.header_len) as u16;
        packet.proto = inner.protocol;
        trim(packet, start + len);
    } else {
        if !sa.permits_any() && !sa.permits_transport(cold, next, payload) {
            return Err(DropReason::EspSelector);
        }
        return surface(packet, (start, len), next, peer, spi);
    }
    (packet.peer, packet.spi) = (Some(peer), spi);
    Ok(())
}

/// The payload is what the outer header carries from now on, although ESP still lies between them.
#[inline(always)]
fn surface(
    packet: &mut Packet,
    (start, len): (usize, usize),
    next: u8,
    peer: PeerId,
    spi: Spi,
) -> Result<(), DropReason> {
    trim(packet, start + len);
    (packet.peer, packet.spi, packet.l4, packet.proto) = (Some(peer), spi, start as u16, next);
    // A trace shows packets as they would be on a wire.
    if packet.trace.is_some() { strip(packet) } else { Ok(()) }
}

fn trim(packet: &mut Packet, end: usize) {
    let excess = packet.mbuf.len().saturating_sub(end);
    // One segment, and `end` lies within it.
    let _ = packet.mbuf.trim(excess);
}

/// Takes ESP, and UDP around it, out of a packet of transport mode, if they are still there: the IP header moves up to the
/// payload at `l4`.
pub fn strip(packet: &mut Packet) -> Result<(), DropReason> {
    let malformed = DropReason::EspMalformed;
    let (l3, start, next) = (usize::from(packet.l3), usize::from(packet.l4), packet.proto);
    let v6 = packet.is_v6();
    let header_len = if v6 {
        wire::ipv6::upper_layer(packet.ip()).map_err(|_| malformed)?.offset
    } else {
        packet.ip().first().map(|b| usize::from(b & 15) * 4).ok_or(malformed)?
    };
    if start == l3 + header_len {
        return Ok(());
    }
    let at = start.checked_sub(header_len).filter(|at| *at >= l3).ok_or(malformed)?;
    let data = packet.mbuf.data_mut();
    let len = data.len().checked_sub(start).ok_or(malformed)?;
    data.copy_within(l3..l3 + header_len, at);
    let header = data.get_mut(at..start).ok_or(malformed)?;
    let total = header_len + len;
    if v6 {
        let payload = u16::try_from(total - wire::ipv6::HEADER).map_err(|_| malformed)?;
        header[4..6].copy_from_slice(&payload.to_be_bytes());
        let last = last_next_header(header).ok_or(malformed)?;
        header[last] = next;
    } else {
        let total = u16::try_from(total).map_err(|_| malformed)?;
        header[2..4].copy_from_slice(&total.to_be_bytes());
        header[9] = next;
        header[10..12].fill(0);
        let sum = wire::checksum::of(header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    packet.l3 = at as u16;
    Ok(())
}

/// Where the header chain that fills `headers` names what follows it (RFC 8200, section 4).
fn last_next_header(headers: &[u8]) -> Option<usize> {
    let (mut named, mut at) = (6, wire::ipv6::HEADER);
    while at < headers.len() {
        let len = if headers[named] == 44 { 8 } else { 8 * (usize::from(*headers.get(at + 1)?) + 1) };
        (named, at) = (at, at + len);
    }
    (at == headers.len()).then_some(named)
}

#[cfg(test)]
mod tests {
    use super::last_next_header;

    #[test]
    fn the_last_header_names_esp() {
        let mut headers = [0u8; 40 + 8 + 16];
        assert_eq!(last_next_header(&headers[..40]), Some(6));
        headers[6] = 0; // hop-by-hop options of 8 octets
        headers[40] = 60; // destination options of 16 octets
        headers[49] = 1;
        headers[48] = 50;
        assert_eq!(last_next_header(&headers[..48]), Some(40));
        assert_eq!(last_next_header(&headers), Some(48));
        assert_eq!(last_next_header(&headers[..47]), None);
    }
}

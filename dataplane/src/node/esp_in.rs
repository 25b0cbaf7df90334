//! ESP, inbound (RFC 4303, section 3.4): three paragraphs over the whole lane.
//!
//! *Prepare*: find the SA, compare the outer header with it, look at the replay window, describe the job.
//! *Crypto*: run the jobs, up to a batch at a time.
//! *Finish*: the ICV's result, the window again and advance it, trailer, lifetime, selector; then the ESP header goes, and
//! in transport mode the IP header moves up to its payload.
//!
//! The window is looked at twice, because one batch can hold a packet and its own replay.

use crate::lane::{Ctx, LANE, Lane, Packet};
use crate::sad::Sad;
use dataplane_api::{DropReason, Spi, TraceNode, WorkerEvent};
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
    verdict: Result<(), DropReason>,
}

const NOTHING: Prepared = Prepared { sa: 0, at: 0, moved: false, seq: 0, verdict: Err(DropReason::SaUnknown) };

/// Drains `input`; what passes goes to `decrypted`.
pub fn run(ctx: &mut Ctx, sad: &mut Sad, input: &mut Lane, decrypted: &mut Lane) {
    if input.is_empty() {
        return;
    }
    ctx.visit(TraceNode::EspIn, input);
    let mut state = [NOTHING; LANE];
    for (packets, state) in input.packets().chunks_mut(BATCH).zip(state.chunks_mut(BATCH)) {
        for packet in packets.iter() {
            prefetch(sad, packet);
        }
        crypto(sad, packets, state);
    }
    for (packet, state) in input.drain().zip(state) {
        finish(ctx, sad, packet, state, decrypted);
    }
}

fn esp_offset(packet: &Packet) -> usize {
    usize::from(packet.l4) + if packet.proto == ip::UDP { wire::udp::HEADER } else { 0 }
}

#[inline(always)]
fn prefetch(sad: &Sad, packet: &Packet) {
    let spi = packet.mbuf.data().get(esp_offset(packet)..).and_then(framing::read_head).map(|h| Spi(h.0));
    if let Some(i) = spi.and_then(Spi::slot).map(|s| s.index())
        && let (Some(hot), Some(key)) = (sad.in_hot.get(i), sad.in_key.get(i))
    {
        ipsec_mb::prefetch(hot, 2);
        key.prefetch();
    }
}

fn crypto(sad: &mut Sad, packets: &mut [Packet], state: &mut [Prepared]) {
    let Sad { manager, in_hot, in_cold, in_key, .. } = &mut *sad;
    let mut batch = Batch::new();
    let mut numbers = [usize::MAX; BATCH];
    for ((packet, state), number) in packets.iter_mut().zip(state.iter_mut()).zip(&mut numbers) {
        *state = prepare(in_hot, in_cold, packet);
        let (Ok(()), Some(hot), Some(key)) =
            (state.verdict, in_hot.get(state.sa as usize), in_key.get(state.sa as usize))
        else {
            continue;
        };
        let (Some(algorithm), Some(data)) = (hot.algorithm(), packet.mbuf.data_mut().get_mut(usize::from(state.at)..))
        else {
            continue;
        };
        let (salt, seq_high) = (hot.salt(), hot.seq_high(state.seq));
        match batch.push(Job { algorithm, key, direction: Direction::Open, packet: data, salt, seq_high }) {
            Some(n) => *number = n,
            None => state.verdict = Err(DropReason::EspMalformed),
        }
    }
    let outcome = manager.run(&mut batch);
    for (state, number) in state.iter_mut().zip(numbers) {
        // Whatever did not go through the cipher is as good as forged.
        if state.verdict.is_ok() && (number == usize::MAX || !outcome.good(number)) {
            state.verdict = Err(DropReason::EspIntegrity);
        }
    }
}

// The SA by its SPI alone; SPIs that name other workers' slots were handed off before.
fn prepare(hot: &[esp::Inbound], cold: &[esp::InboundCold], packet: &Packet) -> Prepared {
    let at = esp_offset(packet);
    let refuse = |reason| Prepared { verdict: Err(reason), ..NOTHING };
    let Some((spi, low)) = packet.mbuf.data().get(at..).and_then(framing::read_head) else {
        return refuse(DropReason::Truncated);
    };
    let Some(index) = Spi(spi).slot().map(|s| s.index()) else { return refuse(DropReason::SaUnknown) };
    let (Some(sa), Some(cold)) = (hot.get(index).filter(|h| h.is(Spi(spi))), cold.get(index)) else {
        return refuse(DropReason::SaUnknown);
    };
    let known = Prepared { sa: index as u32, at: at as u16, moved: false, seq: 0, verdict: Ok(()) };
    let header = packet.ip();
    let (src, dst) =
        if packet.is_v6() { (header.get(8..24), header.get(24..40)) } else { (header.get(12..16), header.get(16..20)) };
    let ports = (packet.proto == ip::UDP).then(|| {
        let (src, dst) = packet.sockets();
        (src.port(), dst.port())
    });
    let moved = match sa.path().check(src.unwrap_or_default(), dst.unwrap_or_default(), ports) {
        PathCheck::Same => false,
        PathCheck::Moved => true,
        PathCheck::Wrong => return Prepared { verdict: Err(DropReason::SaMismatch), ..known },
    };
    match sa.check(cold, low) {
        Some(seq) => Prepared { seq, moved, ..known },
        None => Prepared { verdict: Err(DropReason::EspReplay), ..known },
    }
}

fn finish(ctx: &mut Ctx, sad: &mut Sad, mut packet: Packet, state: Prepared, decrypted: &mut Lane) {
    match opened(ctx, sad, &mut packet, &state) {
        Ok(()) => ctx.push(decrypted, packet),
        Err(reason) => {
            if let Some(c) = ctx.counters.sa_in.get(state.sa as usize) {
                match reason {
                    DropReason::EspReplay => c.replay_or_seq.add(1),
                    DropReason::EspIntegrity => c.integrity.add(1),
                    _ => {}
                }
            }
            ctx.drop(packet, reason);
        }
    }
}

fn opened(ctx: &mut Ctx, sad: &mut Sad, packet: &mut Packet, state: &Prepared) -> Result<(), DropReason> {
    state.verdict?;
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
        let flow = selector::received_flow(payload.get(..len).unwrap_or_default()).ok_or(DropReason::InnerMalformed)?;
        if !sa.permits_tunnel(cold, &flow) {
            return Err(DropReason::EspSelector);
        }
        let (src, dst) = packet.addresses();
        if ctx.snapshot.softwires.between(dst, src).next().is_some() {
            // The same octets as IP in IP in transport mode: `decap` looks at both headers.
            trim(packet, start + len);
            strip(packet, start, len, next)?;
            (packet.peer, packet.spi) = (Some(peer), spi);
            return Ok(());
        }
        let inner = Ip::parse(payload).map_err(|_| DropReason::InnerMalformed)?;
        packet.l3 = start as u16;
        packet.l4 = (start + inner.header_len) as u16;
        packet.proto = inner.protocol;
        trim(packet, start + len);
    } else {
        if !sa.permits_transport(cold, next, payload) {
            return Err(DropReason::EspSelector);
        }
        trim(packet, start + len);
        strip(packet, start, len, next)?;
    }
    (packet.peer, packet.spi) = (Some(peer), spi);
    Ok(())
}

fn trim(packet: &mut Packet, end: usize) {
    let excess = packet.mbuf.len().saturating_sub(end);
    // One segment, and `end` lies within it.
    let _ = packet.mbuf.trim(excess);
}

/// Moves the IP header up to the payload at `start`, over the ESP (and UDP) header.
fn strip(packet: &mut Packet, start: usize, len: usize, next: u8) -> Result<(), DropReason> {
    let (l3, l4) = (usize::from(packet.l3), usize::from(packet.l4));
    let header_len = l4 - l3;
    let v6 = packet.is_v6();
    let at = start.checked_sub(header_len).ok_or(DropReason::EspMalformed)?;
    let data = packet.mbuf.data_mut();
    if data.len() < start {
        return Err(DropReason::EspMalformed);
    }
    data.copy_within(l3..l4, at);
    let header = &mut data[at..start];
    let total = header_len + len;
    if v6 {
        let payload = u16::try_from(total - wire::ipv6::HEADER).map_err(|_| DropReason::EspMalformed)?;
        header[4..6].copy_from_slice(&payload.to_be_bytes());
        let last = last_next_header(header).ok_or(DropReason::EspMalformed)?;
        header[last] = next;
    } else {
        let total = u16::try_from(total).map_err(|_| DropReason::EspMalformed)?;
        header[2..4].copy_from_slice(&total.to_be_bytes());
        header[9] = next;
        header[10..12].fill(0);
        let sum = wire::checksum::of(header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    (packet.l3, packet.l4, packet.proto) = (at as u16, start as u16, next);
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

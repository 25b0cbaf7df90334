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
use crate::node::l2tp_in::likely_ids;
use crate::sad::{InEntry, Sad};
use crate::session::{OUT_OF, Sessions};
use crate::softwire::{Carried, Remembered};
use arrayvec::ArrayVec;
use dataplane_api::{DropReason, PeerId, SessionId, SoftwireId, Spi, TraceNode, WorkerEvent};
use esp::framing::{self, NEXT_DUMMY};
use esp::{Charge, Inbound, InboundCold, Path, PathCheck, selector};
use ipsec_mb::{AHEAD, Algorithm, BATCH, Direction, Job, Key};
use rtrb::Producer;
use std::net::SocketAddr;
use wire::ip::{self, Ip};

/// What is known about a packet between the paragraphs.
#[derive(Clone, Copy)]
struct State {
    seq: u64,
    /// Index of the SA, or [`NONE`].
    sa: u32,
    moved: bool,
    refused: Option<DropReason>,
}

const _: () = assert!(size_of::<State>() == 16);

/// The index of no SA.
const NONE: u32 = u32::MAX;

/// SPI and low half of the sequence number. SPI 0, which no SA has, stands for a packet that is too short.
type Head = (u32, u32);

/// `next_hop` says where to: into a session; 0: `decrypted` finds that out; else, out of a [softwire](known).
pub const L2TP: u32 = u32::MAX;

/// The softwire of a packet that comes out of an SA of its peer, if it is known.
#[inline(always)]
pub fn known(packet: &Packet) -> Option<SoftwireId> {
    packet.peer.and(packet.next_hop.checked_sub(1)).map(|id| SoftwireId(id as u16))
}

/// Drains `input`; what passes goes to `l2tp_in`, `decap`, or `decrypted`.
pub fn run(
    ctx: &mut Ctx,
    sad: &mut Sad,
    sessions: &Sessions,
    input: &mut Lane,
    (l2tp_in, decap, decrypted): (&mut Lane, &mut Lane, &mut Lane),
) {
    ctx.visit(TraceNode::EspIn, input);
    let mut states: ArrayVec<State, LANE> = ArrayVec::new();
    for packets in input.packets().chunks_mut(BATCH) {
        let heads = heads(packets);
        open(ctx, sad, sessions, packets, &heads, &mut states);
    }
    finish(ctx, sad, input, &states, (l2tp_in, decap, decrypted));
}

#[inline(always)]
fn esp_offset(packet: &Packet) -> usize {
    usize::from(packet.l4) + if packet.proto == ip::UDP { wire::udp::HEADER } else { 0 }
}

#[inline(always)]
fn heads(packets: &[Packet]) -> [Head; BATCH] {
    let mut heads = [(0, 0); BATCH];
    for (head, packet) in heads.iter_mut().zip(packets) {
        *head = packet.mbuf.data().get(esp_offset(packet)..).and_then(framing::read_head).unwrap_or_default();
    }
    heads
}

/// For how many packets SAs are on their way into the cache at a time.
const SAS_AHEAD: usize = 8;

/// An SA as long as nothing is known to be authentic.
struct Known<'a> {
    index: u32,
    hot: &'a Inbound,
    cold: &'a InboundCold,
    key: &'a Key,
}

/// By the SPI alone; SPIs that name other workers' slots were handed off before.
#[inline(never)]
fn find<'a>(sas: &'a [InEntry], cold: &'a [InboundCold], spi: Spi) -> Option<Known<'a>> {
    let index = spi.slot()?.index();
    let InEntry { hot, key } = sas.get(index).filter(|sa| sa.hot.is(spi))?;
    Some(Known { index: index as u32, hot, cold: cold.get(index)?, key })
}

fn open(
    ctx: &Ctx,
    sad: &mut Sad,
    sessions: &Sessions,
    packets: &mut [Packet],
    heads: &[Head; BATCH],
    states: &mut ArrayVec<State, LANE>,
) {
    let large = sad.large().is_some();
    let Sad { manager, inbound, in_cold, .. } = sad;
    let ahead = |spi: u32| {
        let Some(i) = Spi(spi).slot().map(|s| s.index()) else { return };
        inbound.get(i).into_iter().for_each(|sa| ipsec_mb::prefetch(&sa.hot, 0..2));
    };
    // What is all of one SA has it in the cache.
    let spis = &heads[..packets.len().min(BATCH)];
    let spis = if spis.iter().all(|head| head.0 == heads[0].0) { &[] } else { spis };
    let large = large && !spis.is_empty();
    spis.iter().take(SAS_AHEAD).for_each(|head| ahead(head.0));
    let first = states.len();
    let (mut jobs, mut keys) = (ArrayVec::<Job<'_>, BATCH>::new(), ArrayVec::<&Key, BATCH>::new());
    let mut likely = ArrayVec::<SessionId, BATCH>::new();
    let (mut last, mut known) = (0, None);
    for (n, (packet, &(spi, low))) in packets.iter_mut().zip(heads).enumerate() {
        if let Some(next) = spis.get(n + SAS_AHEAD) {
            ahead(next.0);
        }
        if spi != last {
            (last, known) = (spi, find(inbound, in_cold, Spi(spi)));
            if let Some(sa) = known.as_ref().filter(|_| large) {
                manager.prefetch_far(sa.key);
            }
        }
        let mut state = State { seq: 0, sa: NONE, moved: false, refused: None };
        if let Some(sa) = &known {
            state.sa = sa.index;
            match prepare(sa, packet, low, &mut state, &mut jobs) {
                Ok(()) => {
                    keys.push(sa.key);
                    if large {
                        likely.push(sa.hot.session());
                    }
                }
                Err(reason) => state.refused = Some(reason),
            }
        } else {
            state.refused = Some(if spi == 0 { stranger(packet) } else { DropReason::SaUnknown });
        }
        states.push(state);
    }
    keys.iter().take(AHEAD).for_each(|key| manager.prefetch(key));
    // Of few SAs each instruction counts.
    let outcome = if large {
        manager.run_beside(&mut jobs, &keys, |n| {
            let slot = likely.get(n).and_then(|session| session.slot()).filter(|slot| slot.worker() == ctx.id);
            slot.into_iter().for_each(|slot| sessions.prefetch_far(&ctx.counters, slot.index(), OUT_OF));
        })
    } else {
        manager.run(&mut jobs, &keys)
    };
    if !outcome.all_good(jobs.len()) {
        let waiting = states[first..].iter_mut().filter(|state| state.refused.is_none());
        for (n, (state, job)) in waiting.zip(&jobs).enumerate() {
            if !outcome.good(n) {
                state.refused = Some(bad(job));
            }
        }
    }
}

/// Why there is no SA for a packet whose SPI is 0.
#[cold]
fn stranger(packet: &Packet) -> DropReason {
    match packet.mbuf.data().get(esp_offset(packet)..).and_then(framing::read_head) {
        Some(_) => DropReason::SaUnknown,
        None => DropReason::Truncated,
    }
}

/// What is wrong with a packet that the cipher refuses.
#[inline(never)]
fn bad(job: &Job<'_>) -> DropReason {
    if job.fits() { DropReason::EspIntegrity } else { DropReason::EspMalformed }
}

/// Everything up to the cipher, whose job joins `jobs`.
#[inline(always)]
fn prepare<'a>(
    sa: &Known<'_>,
    packet: &'a mut Packet,
    low: u32,
    state: &mut State,
    jobs: &mut ArrayVec<Job<'a>, BATCH>,
) -> Result<(), DropReason> {
    let at = esp_offset(packet);
    if !is_of(sa.hot, packet) {
        match path(sa.hot, packet) {
            PathCheck::Same => {}
            PathCheck::Moved => state.moved = true,
            PathCheck::Wrong => return Err(DropReason::SaMismatch),
        }
    }
    state.seq = sa.hot.check(sa.cold, low).ok_or(DropReason::EspReplay)?;
    // Whatever does not go through the cipher is as good as forged.
    let forged = DropReason::EspIntegrity;
    let algorithm = sa.hot.algorithm().ok_or(forged)?;
    let packet = packet.mbuf.data_mut().get_mut(at..).ok_or(forged)?;
    jobs.push(Job::new(algorithm, Direction::Open, packet, sa.hot.salt(), sa.hot.seq_high(state.seq)));
    Ok(())
}

/// Whether the outer header is just what the SA expects.
#[inline(always)]
fn is_of(sa: &Inbound, packet: &Packet) -> bool {
    let (header, ports) = (packet.ip(), if packet.proto == ip::UDP { udp_ports(packet) } else { (0, 0) });
    if packet.is_v6() {
        header.get(8..).and_then(|h| h.first_chunk()).is_some_and(|a| sa.path().receives_v6(a, ports))
    } else {
        header.get(12..).and_then(|h| h.first_chunk()).is_some_and(|a| sa.path().receives_v4(a, ports))
    }
}

#[inline(always)]
fn udp_ports(packet: &Packet) -> (u16, u16) {
    match *packet.payload() {
        [a, b, c, d, ..] => (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])),
        _ => (0, 0),
    }
}

/// The outer header against the SA's, whatever it is.
#[inline(never)]
fn path(sa: &Inbound, packet: &Packet) -> PathCheck {
    let header = packet.ip();
    let (src, dst) =
        if packet.is_v6() { (header.get(8..24), header.get(24..40)) } else { (header.get(12..16), header.get(16..20)) };
    let ports = (packet.proto == ip::UDP).then(|| udp_ports(packet));
    sa.path().check(src.unwrap_or_default(), dst.unwrap_or_default(), ports)
}

/// An SA whose packets are authentic.
struct Sa<'a> {
    index: u32,
    peer: PeerId,
    /// See [`Inbound::is_gcm`].
    gcm: bool,
    /// See [`Sad::large`].
    large: bool,
    /// In tunnel mode, see [`for_decap`].
    carried: Option<u32>,
    remembered: &'a mut Remembered,
    hot: &'a mut Inbound,
    cold: &'a mut InboundCold,
}

fn finish(
    ctx: &mut Ctx,
    sad: &mut Sad,
    input: &mut Lane,
    states: &[State],
    (l2tp_in, decap, decrypted): (&mut Lane, &mut Lane, &mut Lane),
) {
    debug_assert_eq!(input.len(), states.len());
    // A trace shows every node, and packets of one flow stay in order.
    let tracing = ctx.is_tracing();
    let large = sad.large().is_some();
    let Sad { inbound, in_cold, in_carried, .. } = sad;
    let mut last: Option<Sa<'_>> = None;
    let mut states = states.iter();
    for mut packet in input.drain() {
        let Some(state) = states.next() else { break };
        if state.refused.is_none() && last.as_ref().is_none_or(|sa| sa.index != state.sa) {
            let index = state.sa as usize;
            last = match (inbound.get_mut(index), in_cold.get_mut(index), in_carried.get_mut(index)) {
                (Some(InEntry { hot, .. }), Some(cold), Some(remembered)) => hot.peer().map(|peer| {
                    let mut carried = || ctx.snapshot.softwires.carried(remembered, hot.path(), peer);
                    let carried = if hot.tunnel() { for_decap(carried()) } else { None };
                    Sa { index: state.sa, peer, gcm: hot.is_gcm(), large, carried, remembered, hot, cold }
                }),
                _ => None,
            };
        }
        let result = match (state.refused, &mut last) {
            (Some(reason), _) => Err(reason),
            // The sizes are the same whatever the length of the key. A constant in place of the state's own keeps it in registers.
            (None, Some(sa)) if sa.gcm && !state.moved => {
                let at = esp_offset(&packet);
                opened(ctx, sa, &mut packet, &State { moved: false, ..*state }, (Algorithm::AesGcm128, at))
            }
            (None, Some(sa)) => any(ctx, sa, &mut packet, state),
            (None, None) => Err(DropReason::SaUnknown),
        };
        match result {
            Ok(()) if tracing || packet.next_hop == 0 => ctx.push(decrypted, packet),
            Ok(()) if packet.next_hop == L2TP => ctx.push(l2tp_in, packet),
            Ok(()) => ctx.push(decap, packet),
            Err(reason) => refuse(ctx, packet, state.sa, reason),
        }
    }
}

#[inline(never)]
fn refuse(ctx: &mut Ctx, packet: Packet, sa: u32, reason: DropReason) {
    if let Some(c) = ctx.counters.sa_in.get(sa as usize) {
        match reason {
            DropReason::EspReplay => c.replayed.add(1),
            DropReason::EspIntegrity => c.integrity.add(1),
            _ => {}
        }
    }
    ctx.drop(packet, reason);
}

/// [`opened`] for any SA and any place of its peer.
#[inline(never)]
fn any(ctx: &mut Ctx, sa: &mut Sa<'_>, packet: &mut Packet, state: &State) -> Result<(), DropReason> {
    let (algorithm, at) = (sa.hot.algorithm().ok_or(DropReason::SaUnknown)?, esp_offset(packet));
    opened(ctx, sa, packet, state, (algorithm, at))
}

/// Everything after the cipher, for ESP that begins at `at`. An algorithm's sizes are those of the SA's own.
#[inline(always)]
fn opened(
    ctx: &mut Ctx,
    sa: &mut Sa<'_>,
    packet: &mut Packet,
    state: &State,
    (sizes, at): (Algorithm, usize),
) -> Result<(), DropReason> {
    if !sa.hot.accept(sa.cold, state.seq) {
        return Err(DropReason::EspReplay);
    }
    let start = at + framing::head_len(sizes);
    let end = packet.mbuf.len().checked_sub(sizes.icv_len()).ok_or(DropReason::EspMalformed)?;
    let text = packet.mbuf.data().get(start..end).ok_or(DropReason::EspMalformed)?;
    let (len, next) = framing::read_trailer(text)?;
    let charge = sa.hot.charge(sa.cold, len);
    if charge != Charge::Within {
        report(&mut ctx.events, sa, charge)?;
    }
    if sa.hot.unused() && ctx.events.push(WorkerEvent::SaInUsed(sa.hot.spi(), sa.peer)).is_ok() {
        sa.hot.set_used();
    }
    if state.moved && sa.hot.moved() {
        let (src, _) = packet.sockets();
        // Lost when the ring is full; later packets report again.
        let _ = ctx.events.push(WorkerEvent::PeerMoved(sa.peer, SocketAddr::new(src.ip(), src.port())));
    }
    if next == NEXT_DUMMY {
        return Err(DropReason::EspDummy);
    }
    let payload = text.get(..len).unwrap_or_default();
    if !sa.hot.tunnel() {
        if !sa.hot.permits_any() && !sa.hot.permits_transport(sa.cold, next, payload) {
            return Err(DropReason::EspSelector);
        }
        if next == ip::UDP && payload.get(2..4) == Some(&wire::l2tp::PORT.to_be_bytes()) {
            if sa.large {
                let session = SessionId(payload.get(wire::udp::HEADER..).map_or(0, likely_ids));
                if session != sa.hot.session() {
                    sa.hot.brought(session);
                }
            }
            packet.next_hop = L2TP;
        } else if matches!(next, ip::IPIP | ip::IPV6) {
            softwire(ctx, sa, packet, state.moved);
        }
        return surface(packet, (start, len), next, sa);
    }
    let len = framing::inner_len(next, payload)?;
    if !sa.hot.permits_any() {
        permits(sa, payload.get(..len).unwrap_or_default())?;
    }
    let carried = if state.moved { moved(ctx, sa, packet) } else { sa.carried };
    if let Some(softwire) = carried {
        packet.next_hop = softwire;
        // The same octets as IP in IP in transport mode: `decap` looks at both headers.
        return surface(packet, (start, len), next, sa);
    }
    inside(packet, (start, len), sa)
}

/// What a packet in the form of a softwire has as `next_hop` then, which [`known`] understands; `None`: it is no such packet.
fn for_decap(carried: Carried) -> Option<u32> {
    match carried {
        Carried::Nothing => None,
        Carried::Others => Some(0),
        Carried::Softwire(id) => Some(u32::from(id.0) + 1),
    }
}

/// [`for_decap`] of a packet that has come by another path.
#[inline(never)]
fn moved(ctx: &Ctx, sa: &Sa<'_>, packet: &Packet) -> Option<u32> {
    let (remote, local) = packet.addresses();
    for_decap(ctx.snapshot.softwires.find(&Path::new(local, remote, None)?, sa.peer))
}

/// Tells `decap` the softwire of IP in IP in transport mode.
#[inline(never)]
fn softwire(ctx: &Ctx, sa: &mut Sa<'_>, packet: &mut Packet, has_moved: bool) {
    let carried = if has_moved {
        moved(ctx, sa, packet)
    } else {
        for_decap(ctx.snapshot.softwires.carried(sa.remembered, sa.hot.path(), sa.peer))
    };
    packet.next_hop = carried.unwrap_or_default();
}

/// Whether the SA's selectors permit an inner packet.
#[inline(never)]
fn permits(sa: &Sa<'_>, inner: &[u8]) -> Result<(), DropReason> {
    let flow = selector::received_flow(inner).ok_or(DropReason::InnerMalformed)?;
    if sa.hot.permits_tunnel(sa.cold, &flow) { Ok(()) } else { Err(DropReason::EspSelector) }
}

/// A limit of the SA's lifetime is reached. `Err`: so that the packet is too much.
#[cold]
fn report(events: &mut Producer<WorkerEvent>, sa: &mut Sa<'_>, charge: Charge) -> Result<(), DropReason> {
    let spi = sa.hot.spi();
    let told = match charge {
        Charge::Within | Charge::Spent => true,
        Charge::Soft => events.push(WorkerEvent::SaInSoft(spi, sa.peer)).is_ok(),
        Charge::Hard => events.push(WorkerEvent::SaInHard(spi, sa.peer)).is_ok(),
    };
    if !told {
        sa.hot.repeat_charge(sa.cold);
    }
    if charge.passes() { Ok(()) } else { Err(DropReason::SaExpired) }
}

/// The packet is the inner one from now on.
#[inline(never)]
fn inside(packet: &mut Packet, (start, len): (usize, usize), sa: &Sa<'_>) -> Result<(), DropReason> {
    trim(packet, start + len);
    let inner =
        Ip::parse(packet.mbuf.data().get(start..).unwrap_or_default()).map_err(|_| DropReason::InnerMalformed)?;
    packet.l3 = start as u16;
    packet.l4 = (start + inner.header_len) as u16;
    packet.proto = inner.protocol;
    (packet.peer, packet.spi) = (Some(sa.peer), sa.hot.spi());
    Ok(())
}

/// The payload is what the outer header carries from now on, although ESP still lies between them.
#[inline(always)]
fn surface(packet: &mut Packet, (start, len): (usize, usize), next: u8, sa: &Sa<'_>) -> Result<(), DropReason> {
    trim(packet, start + len);
    (packet.peer, packet.spi) = (Some(sa.peer), sa.hot.spi());
    (packet.l4, packet.proto, packet.enclosed) = (start as u16, next, true);
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

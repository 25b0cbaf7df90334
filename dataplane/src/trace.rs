//! Packet traces: the nodes that a packet meets, with its headers at each.
//!
//! ```text
//!   classify: frame matches, or hides what may ─► 1 in N ─► buffer ─► `trace` names it
//!   every node: visit(lane)                                  └► headers noted; do they match?
//!   tx, punt, drop, hand-off, joined: end ─────────────────────► matched ─► ring to the control plane
//!                                                              └► else the buffer is used again
//! ```
//!
//! Without a trace, a burst costs a node one branch that always goes the same way, and the end of a packet another. With
//! one, nothing is allocated and nobody waited for: the buffers are the control plane's, and without any left packets go on
//! untraced and are counted.
//!
//! What is inside ESP is not known when a frame comes in: such a frame is traced on suspicion, and forgotten at its end
//! unless some header of it has matched.

use crate::fib::SessionWord;
use crate::lane::{Ctx, Lane, Packet, PacketMeta};
use crate::node::classify::NATT;
use dataplane_api::trace::TRACE_BUFFERS;
use dataplane_api::{
    DropReason, PortId, SessionId, TraceEnd, TraceFilter, TraceNode, TracePacket, TraceSpec, WorkerId,
};
use rtrb::{Consumer, Producer};
use std::num::NonZeroU32;
use std::time::Instant;
use wire::ethernet::Ethernet;
use wire::ip::{self, Ip};
use wire::udp::Udp;
use wire::{l2tp, ppp};

/// Headers looked at inside each other.
const DEPTH: usize = 3;

/// Slot and generation of an open packet, as `trace` has it.
type Tag = NonZeroU32;

/// A worker's traces.
#[derive(Debug)]
pub struct Tracer {
    worker: WorkerId,
    spec: Option<TraceSpec>,
    /// Candidates since the last one that was taken.
    passed: u32,
    /// Packets numbered.
    numbered: u32,
    open: Box<[Open]>,
    vacant: Vec<u8>,
    #[expect(clippy::vec_box, reason = "boxes go from ring to ring, their contents stay")]
    spare: Vec<Box<TracePacket>>,
    /// What waits in a TX burst: which, for which port, and its place in the burst.
    queued: Vec<(Tag, PortId, usize)>,
    done: Producer<Box<TracePacket>>,
    free: Consumer<Box<TracePacket>>,
}

#[derive(Debug)]
struct Open {
    generation: u32,
    packet: Option<Box<TracePacket>>,
}

impl Ctx {
    /// Chooses what to trace among frames that were received.
    #[inline(always)]
    pub fn start_traces(&mut self, lane: &mut Lane) {
        if self.tracer.spec.is_some() {
            let lost = self.tracer.start(self.now, lane);
            self.counters.worker.trace_lost.add(lost);
        }
    }

    /// Whether packets may be traced now.
    #[inline(always)]
    pub fn is_tracing(&self) -> bool {
        self.tracer.spec.is_some()
    }

    /// Notes that packets are about to go through a node.
    #[inline(always)]
    pub fn visit(&mut self, node: TraceNode, lane: &mut Lane) {
        if self.tracer.spec.is_some() {
            self.tracer.visit(node, lane);
        }
    }

    /// Goes on with what another worker has begun to trace.
    #[inline(always)]
    pub fn resume_trace(&mut self, packet: &mut Packet) {
        if let Some(number) = packet.trace.take() {
            packet.trace = self.tracer.resume(number.get(), self.now, packet.port);
            let lost = self.tracer.spec.is_some() && packet.trace.is_none();
            self.counters.worker.trace_lost.add(u64::from(lost));
        }
    }
}

impl Tracer {
    /// Over the worker's ends of the rings.
    pub fn new(worker: WorkerId, done: Producer<Box<TracePacket>>, free: Consumer<Box<TracePacket>>) -> Self {
        Self {
            worker,
            spec: None,
            passed: 0,
            numbered: 0,
            open: (0..TRACE_BUFFERS).map(|_| Open { generation: 1, packet: None }).collect(),
            vacant: (0..TRACE_BUFFERS).map(|slot| slot as u8).collect(),
            spare: Vec::with_capacity(TRACE_BUFFERS),
            queued: Vec::with_capacity(TRACE_BUFFERS),
            done,
            free,
        }
    }

    /// Traces what `spec` says from now on.
    pub fn set(&mut self, spec: Option<TraceSpec>) {
        self.spec = spec;
        self.passed = 0;
    }

    /// Gives how many were to be traced and had no buffer.
    #[cold]
    #[inline(never)]
    fn start(&mut self, now: Instant, lane: &mut Lane) -> u64 {
        let Some(spec) = self.spec else { return 0 };
        let mut lost = 0;
        for packet in lane.packets() {
            if !is_candidate(&spec.filter, packet) {
                continue;
            }
            self.passed += 1;
            if self.passed < spec.sample.get() {
                continue;
            }
            self.passed = 0;
            self.numbered = self.numbered.wrapping_add(1) & 0x0fff_ffff;
            let id = u32::from(self.worker.0) << 28 | self.numbered;
            packet.trace = self.take(spec.trace, id, now, packet.port);
            let Some(traced) = self.find(packet.trace) else {
                lost += 1;
                continue;
            };
            traced.continued = false;
            traced.headers = !spec.filter.has_headers();
            traced.session = spec.filter.session.is_none();
            let frame = packet.mbuf.data();
            traced.visit(TraceNode::Rx, (None, None, None), frame);
            note(traced, &spec.filter, TraceNode::Classify, packet, network(frame));
        }
        lost
    }

    #[cold]
    #[inline(never)]
    fn visit(&mut self, node: TraceNode, lane: &mut Lane) {
        let Some(spec) = self.spec else { return };
        for packet in lane.packets() {
            if let Some(traced) = self.find(packet.trace) {
                note(traced, &spec.filter, node, packet, packet.ip());
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn resume(&mut self, id: u32, now: Instant, port: PortId) -> Option<Tag> {
        let tag = self.take(self.spec?.trace, id, now, port);
        let traced = self.find(tag)?;
        (traced.continued, traced.headers, traced.session) = (true, false, false);
        tag
    }

    /// Its number, by which the worker that it is handed to goes on.
    #[inline(always)]
    pub fn number(&mut self, tag: Option<Tag>) -> Option<NonZeroU32> {
        tag?;
        self.find(tag).and_then(|p| NonZeroU32::new(p.id))
    }

    /// A frame was queued for a port, `place` packets behind the first.
    #[inline(always)]
    pub fn queue(&mut self, packet: &Packet, port: PortId, place: usize) {
        if let Some(tag) = packet.trace {
            self.queue_traced(tag, packet, port, place);
        }
    }

    #[cold]
    #[inline(never)]
    fn queue_traced(&mut self, tag: Tag, packet: &Packet, port: PortId, place: usize) {
        let Some(traced) = self.find(Some(tag)) else { return };
        let meta: &PacketMeta = packet;
        traced.visit(TraceNode::Tx, (meta.peer, None, meta.session), packet.mbuf.data());
        if self.queued.len() < self.queued.capacity() {
            self.queued.push((tag, port, place));
        } else {
            self.end(Some(tag), TraceEnd::Sent(port));
        }
    }

    /// The port took the first `sent` of what was queued; the rest is dropped.
    #[inline(always)]
    pub fn flushed(&mut self, port: PortId, sent: usize) {
        if !self.queued.is_empty() {
            self.flushed_traced(port, sent);
        }
    }

    #[cold]
    #[inline(never)]
    fn flushed_traced(&mut self, port: PortId, sent: usize) {
        let mut i = 0;
        while let Some(&(tag, to, place)) = self.queued.get(i) {
            if to != port {
                i += 1;
                continue;
            }
            self.queued.remove(i);
            self.end(
                Some(tag),
                if place < sent { TraceEnd::Sent(port) } else { TraceEnd::Dropped(DropReason::TxFull) },
            );
        }
    }

    /// A packet is gone from this worker. Of one that was split, the first fragment's end counts.
    #[inline(always)]
    pub fn end(&mut self, tag: Option<Tag>, end: TraceEnd) {
        if let Some(tag) = tag {
            self.end_traced(tag, end);
        }
    }

    #[cold]
    #[inline(never)]
    fn end_traced(&mut self, tag: Tag, end: TraceEnd) {
        if self.find(Some(tag)).is_none() {
            return;
        }
        let slot = tag.get() as u8;
        let open = &mut self.open[usize::from(slot)];
        open.generation = if open.generation == u32::MAX >> 8 { 1 } else { open.generation + 1 };
        let Some(mut traced) = open.packet.take() else { return };
        self.vacant.push(slot);
        traced.finish(end);
        let kept = self.spec.filter(|s| s.trace == traced.trace).is_some_and(|s| match end {
            TraceEnd::HandedOff(_) => true,
            // Whoever has the other part decides.
            _ if traced.continued => true,
            _ => traced.headers && traced.session && (!s.filter.dropped || matches!(end, TraceEnd::Dropped(_))),
        });
        if !kept {
            self.spare.push(traced);
        } else if let Err(rtrb::PushError::Full(traced)) = self.done.push(traced) {
            self.spare.push(traced);
        }
    }

    fn take(&mut self, trace: u32, id: u32, at: Instant, port: PortId) -> Option<Tag> {
        let slot = *self.vacant.last()?;
        let mut packet = self.spare.pop().or_else(|| self.free.pop().ok())?;
        self.vacant.pop();
        packet.clear();
        (packet.trace, packet.id, packet.worker, packet.at, packet.port) = (trace, id, self.worker, at, port);
        let open = &mut self.open[usize::from(slot)];
        open.packet = Some(packet);
        NonZeroU32::new(open.generation << 8 | u32::from(slot))
    }

    fn find(&mut self, tag: Option<Tag>) -> Option<&mut TracePacket> {
        let tag = tag?.get();
        let open = &mut self.open[usize::from(tag as u8)];
        if open.generation == tag >> 8 { open.packet.as_deref_mut() } else { None }
    }
}

/// Notes a node, and whether what is seen there is what the filter asks for.
fn note(traced: &mut TracePacket, filter: &TraceFilter, node: TraceNode, packet: &Packet, octets: &[u8]) {
    let meta: &PacketMeta = packet;
    traced.visit(node, (meta.peer, meta.spi(), meta.session), octets);
    if !traced.headers {
        traced.headers = any_layer(octets, DEPTH, &mut |h, payload| matches(filter, h, payload));
    }
    if !traced.session {
        traced.session = filter.session.is_some_and(|id| match node {
            TraceNode::L2tpIn => is_of_session(packet.payload(), id),
            TraceNode::L2tpOut => SessionWord::new(id).is_some_and(|word| word.word() == meta.next_hop),
            _ => meta.session == Some(id),
        });
    }
}

/// Whether a frame that was received is to be traced, as far as can be seen.
fn is_candidate(filter: &TraceFilter, packet: &Packet) -> bool {
    if filter.ingress.is_some_and(|port| port != packet.port) {
        return false;
    }
    let octets = network(packet.mbuf.data());
    !filter.has_headers()
        || !packet.mbuf.is_contiguous()
        || any_layer(octets, DEPTH, &mut |h, payload| matches(filter, h, payload) || hides(h, payload))
}

/// From the IP header of a frame on.
fn network(frame: &[u8]) -> &[u8] {
    Ethernet::parse(frame).ok().and_then(|e| frame.get(e.len..)).unwrap_or_default()
}

/// Ports of TCP and UDP.
fn ports(h: &Ip, payload: &[u8]) -> Option<(u16, u16)> {
    match (h.protocol, payload) {
        (ip::TCP | ip::UDP, [a, b, c, d, ..]) if h.is_first() => {
            Some((u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])))
        }
        _ => None,
    }
}

/// A packet that may carry another one which cannot be seen yet: ESP, and fragments.
fn hides(h: &Ip, payload: &[u8]) -> bool {
    let natt = |(src, dst)| src == NATT || dst == NATT;
    h.protocol == ip::ESP || h.fragment.is_some() || ports(h, payload).is_some_and(natt)
}

fn matches(f: &TraceFilter, h: &Ip, payload: &[u8]) -> bool {
    f.source.is_none_or(|p| p.contains(h.src))
        && f.destination.is_none_or(|p| p.contains(h.dst))
        && f.protocol.is_none_or(|p| p == h.protocol)
        && f.port.is_none_or(|p| ports(h, payload).is_some_and(|(src, dst)| src == p || dst == p))
}

/// Whether an IP packet, or one that it carries in the clear, passes `test`.
fn any_layer(octets: &[u8], depth: usize, test: &mut impl FnMut(&Ip, &[u8]) -> bool) -> bool {
    let Ok(h) = Ip::parse(octets) else { return false };
    let payload = octets.get(h.header_len..h.len).unwrap_or_default();
    test(&h, payload) || depth > 1 && inner(&h, payload).is_some_and(|octets| any_layer(octets, depth - 1, &mut *test))
}

/// What an IP packet carries: IP in IP, or a session's packet.
fn inner<'a>(h: &Ip, payload: &'a [u8]) -> Option<&'a [u8]> {
    if matches!(h.protocol, ip::IPIP | ip::IPV6) {
        return Some(payload);
    }
    let (header, frame) = message(payload).filter(|_| h.protocol == ip::UDP)?;
    let (protocol, skip) = ppp::protocol(frame).ok().filter(|_| !header.control)?;
    matches!(protocol, ppp::IPV4 | ppp::IPV6).then(|| frame.get(skip..)).flatten()
}

/// An L2TP message in a UDP datagram: header and payload.
fn message(datagram: &[u8]) -> Option<(l2tp::Header, &[u8])> {
    let udp = Udp::parse(datagram).ok()?;
    if udp.src_port() != l2tp::PORT && udp.dst_port() != l2tp::PORT {
        return None;
    }
    let header = l2tp::Header::parse(udp.payload()).ok()?;
    Some((header, udp.payload().get(header.len..header.end)?))
}

/// Whether an L2TP message to us is of a session, or controls its tunnel, which has no other.
fn is_of_session(datagram: &[u8], id: SessionId) -> bool {
    message(datagram).is_some_and(|(h, _)| h.tunnel == id.tunnel() && (h.control || h.session == id.session()))
}

//! Packets for the control plane. Each class has a token bucket of its own, so that a flood of one class cannot
//! starve another, and buffers travel in a circle, so that nothing is allocated.

use crate::bucket::Bucket;
use crate::lane::{Ctx, Packet};
use dataplane_api::handle::BUFFER_LEN;
use dataplane_api::punt::PUNT_CLASSES;
use dataplane_api::{DropReason, PuntClass, PuntMeta, PuntMsg, TraceEnd};
use rtrb::{Consumer, Producer};
use std::time::Instant;
use wire::{icmp, ip};

/// Packets per second and burst of each class, by `PuntClass` number.
pub type Rates = [(u32, u32); PUNT_CLASSES];

/// IKE's burst is less than the ring between the planes holds, so that it leaves room for others; how many of its messages
/// may cost a key exchange, IKE itself decides.
///
/// IKE, L2TP control, PPP control, hosts behind sessions, host stack, BFD, neighbours, BGP.
pub const DEFAULT_RATES: Rates = [
    (40_000, 500),
    (20_000, 4_000),
    (20_000, 4_000),
    (10_000, 2_000),
    (20_000, 4_000),
    (20_000, 4_000),
    (10_000, 2_000),
    (20_000, 4_000),
];

/// BGP's port (RFC 4271, section 8).
const BGP: u16 = 179;

/// The class of an IP packet for the host stack.
pub fn host_class(packet: &Packet) -> PuntClass {
    let (src, dst) = packet.sockets();
    match (packet.proto, packet.payload().first()) {
        (ip::TCP, _) if src.port() == BGP || dst.port() == BGP => PuntClass::Bgp,
        (ip::ICMPV6, Some(icmp::ROUTER_SOLICITATION..=icmp::NEIGHBOUR_ADVERTISEMENT)) => PuntClass::Neighbour,
        _ => PuntClass::Host,
    }
}

/// The worker's way to the control plane.
#[derive(Debug)]
pub struct Punt {
    ring: Producer<PuntMsg>,
    free: Consumer<Vec<u8>>,
    buckets: [Bucket; PUNT_CLASSES],
}

impl Punt {
    /// Over the worker's ends of the rings.
    pub fn new(ring: Producer<PuntMsg>, free: Consumer<Vec<u8>>, rates: &Rates, now: Instant) -> Self {
        Self { ring, free, buckets: rates.map(|(rate, burst)| Bucket::new(rate, burst, now)) }
    }
}

impl Ctx {
    /// Ends a packet in the control plane: `prefix`, then the packet's octets from `from` to `end`.
    pub fn punt(&mut self, packet: Packet, class: PuntClass, prefix: &[u8], from: usize, end: usize) {
        let meta = PuntMeta {
            class,
            port: packet.port,
            peer: packet.peer,
            spi: packet.spi(),
            session: packet.session,
            src: packet.sockets().0,
            dst: packet.sockets().1,
            ttl: packet.ip().get(if packet.is_v6() { 7 } else { 8 }).copied().unwrap_or(0),
        };
        let reason = match self.punt.copy(meta, prefix, packet.mbuf.data().get(from..end), self.now) {
            Ok(()) => {
                self.tracer.end(packet.trace, TraceEnd::Punted(class));
                return self.counters.worker.punted[class as usize].add(1);
            }
            Err(reason) => reason,
        };
        self.drop(packet, reason);
    }
}

impl Punt {
    fn copy(&mut self, meta: PuntMeta, head: &[u8], data: Option<&[u8]>, now: Instant) -> Result<(), DropReason> {
        let data = data.ok_or(DropReason::Truncated)?;
        if !self.buckets[meta.class as usize].take(1, now) {
            return Err(DropReason::PuntPoliced);
        }
        if self.ring.is_full() || head.len() + data.len() > BUFFER_LEN {
            return Err(DropReason::PuntFull);
        }
        let mut buffer = self.free.pop().map_err(|_| DropReason::PuntFull)?;
        buffer.clear();
        buffer.extend_from_slice(head);
        buffer.extend_from_slice(data);
        self.ring.push(PuntMsg { meta, data: buffer }).map_err(|_| DropReason::PuntFull)
    }
}

//! Packets on their way through a worker: a [`Packet`] is a pointer to a buffer and to what is known about it, a [`Lane`] is a
//! bounded array of them between two nodes, and [`Ctx`] is what every node may use besides its lanes.
//!
//! A node drains its input lane; each packet it takes leaves it in exactly one way: into another lane, through
//! [`Ctx::drop`] with one reason, into a punt ring, or out of a port. That is what keeps the accounting identity of
//! `dataplane_api::counter` true.

use crate::handoff::Handoff;
use crate::node::icmp::IcmpLimiter;
use crate::node::output::Tx;
use crate::node::punt::Punt;
use crate::publish::Snapshot;
use crate::trace::Tracer;
use arrayvec::ArrayVec;
use dataplane_api::{Counters, DropReason, PeerId, PortId, SessionId, Spi, TraceEnd, WorkerEvent, WorkerId};
use dpdk::{Mbuf, Mempool, Tagged};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Instant;

/// Packets a lane holds; more than one RX burst, because packets made by the worker itself join it.
pub const LANE: usize = 256;

/// Where a packet came from, which decides the policies that apply to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Origin {
    /// A port of the public zone, in the clear or decrypted.
    Public,
    /// A port of the trusted zone.
    Trusted,
    /// A subscriber's session, after decapsulation.
    Session,
    /// A softwire of the mesh, after decapsulation.
    Softwire,
    /// This gateway itself.
    Local,
}

/// What is known about a packet. All offsets are from the start of the first segment's data.
#[derive(Clone, Copy, Debug)]
pub struct PacketMeta {
    /// IKE peer whose SA protected the packet (inbound, set by `esp_in`), or is to protect it (outbound, set by
    /// `l2tp_out`, `encap` and `inject`, read by `esp_out`).
    pub peer: Option<PeerId>,
    /// Inbound SA that protected the packet, 0 if none did.
    pub spi: Spi,
    /// L2TP session the packet came out of or is to go into.
    pub session: Option<SessionId>,
    /// Word of the route it takes, see `fib`; towards `encap`, the number of the softwire; out of an SA, see [`node::esp_in`](crate::node);
    /// in `decap`, of the route to its source.
    pub next_hop: u32,
    /// What `trace` knows it by, if it is traced.
    pub trace: Option<NonZeroU32>,
    /// Ingress port; where the packet leaves once it is [`Ready::Framed`].
    pub port: PortId,
    /// Offset of the outermost IP header that is still of interest.
    pub l3: u16,
    /// Offset of what that header carries (after IPv4 options or IPv6 extension headers): ESP, UDP, ...
    pub l4: u16,
    /// Protocol of what is at `l4`.
    pub proto: u8,
    /// Where it came from.
    pub origin: Origin,
    /// What it waits for when it crosses to another worker.
    pub stage: Stage,
    /// A softwire that needs no protection put it in another packet, which may be sent in the clear.
    pub clear: bool,
    /// ESP lies between the IP header at `l3` and its payload at `l4`: decrypted (and taken out already, if it is traced), or still to
    /// be made (see `node::room`).
    pub enclosed: bool,
    /// How far it is ready to leave.
    pub ready: Ready,
}

/// How far a packet is ready to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Ready {
    /// But for where to, and the Ethernet header.
    Packet,
    /// Likewise, but the UDP datagram at `l4` has no checksum yet. It is put there where the packet leaves (`output`), by the port if
    /// that can, or where it is split.
    Unsummed,
    /// An Ethernet header is in front of the IP header, and the frame may leave: there is nothing left to be found out.
    Framed,
}

const _: () = assert!(size_of::<Packet>() == 8);

/// The lane that a packet handed to another worker goes into there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// ESP whose SA the other worker owns.
    EspIn,
    /// L2TP whose session the other worker owns.
    L2tpIn,
    /// Inner packet into a session the other worker owns.
    L2tpOut,
    /// Packet of a softwire whose SA the other worker owns.
    EspOut,
}

impl PacketMeta {
    /// For a packet that starts at `l3`, nothing else known.
    pub fn new(port: PortId, l3: u16, origin: Origin) -> Self {
        Self {
            peer: None,
            spi: Spi(0),
            session: None,
            next_hop: 0,
            trace: None,
            port,
            l3,
            l4: l3,
            proto: 0,
            origin,
            stage: Stage::EspIn,
            clear: false,
            enclosed: false,
            ready: Ready::Packet,
        }
    }

    /// Inbound SA that protected the packet.
    pub fn spi(&self) -> Option<Spi> {
        (self.spi.0 != 0).then_some(self.spi)
    }
}

/// A packet: a pointer to its buffer, which begins with the Ethernet header or the IP header (`l3` says where), and to what
/// is known about it. The data never extends beyond the length that the IP header states: `classify` trims it.
#[derive(Debug)]
#[repr(transparent)]
pub struct Packet {
    /// The buffer.
    pub mbuf: Tagged<PacketMeta>,
}

impl Deref for Packet {
    type Target = PacketMeta;

    #[inline(always)]
    fn deref(&self) -> &PacketMeta {
        self.mbuf.tag()
    }
}

impl DerefMut for Packet {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut PacketMeta {
        self.mbuf.tag_mut()
    }
}

impl Packet {
    /// Of a buffer and what is known about it.
    #[inline(always)]
    pub fn new(mbuf: Mbuf, meta: PacketMeta) -> Self {
        Self { mbuf: Tagged::new(mbuf, meta) }
    }

    /// From the IP header on.
    #[inline]
    pub fn ip(&self) -> &[u8] {
        let data = self.mbuf.data();
        data.get(usize::from(self.l3).min(data.len())..).unwrap_or_default()
    }

    /// From the IP header on, to be changed.
    #[inline]
    pub fn ip_mut(&mut self) -> &mut [u8] {
        let l3 = usize::from(self.l3).min(self.mbuf.len());
        self.mbuf.data_mut().get_mut(l3..).unwrap_or_default()
    }

    /// The first octets from the IP header on; `None` when there are fewer.
    #[inline(always)]
    pub fn header<const N: usize>(&self) -> Option<&[u8; N]> {
        let l3 = usize::from(self.l3);
        self.mbuf.data().get(l3..l3 + N)?.first_chunk()
    }

    /// The same, to be changed.
    #[inline(always)]
    pub fn header_mut<const N: usize>(&mut self) -> Option<&mut [u8; N]> {
        let l3 = usize::from(self.l3);
        self.mbuf.data_mut().get_mut(l3..l3 + N)?.first_chunk_mut()
    }

    /// From the payload of the IP header on.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        let data = self.mbuf.data();
        data.get(usize::from(self.l4).min(data.len())..).unwrap_or_default()
    }

    /// Whether the IP header is one of IPv6.
    #[inline]
    pub fn is_v6(&self) -> bool {
        self.mbuf.data().get(usize::from(self.l3)).is_some_and(|b| b >> 4 == 6)
    }

    /// TTL or hop limit; 0 if there is no whole header.
    #[inline]
    pub fn ttl(&self) -> u8 {
        self.ip().get(if self.is_v6() { 7 } else { 8 }).copied().unwrap_or_default()
    }

    /// Source and destination of the IP header (unspecified addresses if there is no whole header).
    #[inline]
    pub fn addresses(&self) -> (IpAddr, IpAddr) {
        let ip = self.ip();
        if self.is_v6() {
            let at = |o: usize| ip.get(o..o + 16).and_then(|s| <[u8; 16]>::try_from(s).ok()).unwrap_or_default();
            (Ipv6Addr::from(at(8)).into(), Ipv6Addr::from(at(24)).into())
        } else {
            let at = |o: usize| ip.get(o..o + 4).and_then(|s| <[u8; 4]>::try_from(s).ok()).unwrap_or_default();
            (Ipv4Addr::from(at(12)).into(), Ipv4Addr::from(at(16)).into())
        }
    }

    /// Source and destination address with the ports of UDP or TCP at `l4` (0 for other protocols).
    #[inline]
    pub fn sockets(&self) -> (SocketAddr, SocketAddr) {
        let (src, dst) = self.addresses();
        let (sport, dport) = match (self.proto, self.payload()) {
            (wire::ip::UDP | wire::ip::TCP, [a, b, c, d, ..]) => {
                (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]))
            }
            _ => (0, 0),
        };
        (SocketAddr::new(src, sport), SocketAddr::new(dst, dport))
    }
}

/// A bounded array of packets between two nodes.
#[derive(Debug, Default)]
pub struct Lane {
    packets: ArrayVec<Packet, LANE>,
}

impl Lane {
    /// Packets in it.
    #[inline]
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// Whether it is empty.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// How many more fit.
    #[inline]
    pub fn room(&self) -> usize {
        self.packets.remaining_capacity()
    }

    /// Appends; gives the packet back when the lane is full.
    #[inline]
    pub fn push(&mut self, packet: Packet) -> Result<(), Packet> {
        self.packets.try_push(packet).map_err(|full| full.element())
    }

    /// Takes all packets out, in order.
    #[inline]
    pub fn drain(&mut self) -> arrayvec::Drain<'_, Packet, LANE> {
        self.packets.drain(..)
    }

    /// The packets in place, for work over the whole batch.
    #[inline]
    pub fn packets(&mut self) -> &mut [Packet] {
        &mut self.packets
    }
}

/// What every node may use: counters, the shared tables of this poll, buffers, and ways out of the fast path.
pub struct Ctx {
    /// This worker.
    pub id: WorkerId,
    /// Its counters.
    pub counters: Arc<Counters>,
    /// Ports, routes, neighbours and policy as of the start of this poll.
    pub snapshot: Arc<Snapshot>,
    /// Time at the start of this poll.
    pub now: Instant,
    /// Where buffers for packets of our own come from.
    pub pool: Mempool,
    /// Large ones, for reassembled packets and long IKE messages.
    pub large: Mempool,
    /// TX queues, by port.
    pub tx: Vec<Tx>,
    /// Way to the control plane.
    pub punt: Punt,
    /// Events for the control plane.
    pub events: rtrb::Producer<WorkerEvent>,
    /// Ways to the other workers.
    pub handoff: Handoff,
    /// Notes what is to be traced.
    pub tracer: Tracer,
    /// Rate limit of ICMP errors and of neighbour requests.
    pub limiter: IcmpLimiter,
    /// IPv4 identification of the next packet of our own.
    pub ip_id: u16,
}

impl Ctx {
    /// Ends a packet, for exactly one reason.
    #[inline]
    pub fn drop(&mut self, packet: Packet, reason: DropReason) {
        self.count_drop(reason);
        self.tracer.end(packet.trace, TraceEnd::Dropped(reason));
        drop(packet);
    }

    /// Counts the end of a packet whose buffer is freed elsewhere.
    #[inline]
    pub fn count_drop(&self, reason: DropReason) {
        self.counters.worker.drops[reason as usize].add(1);
    }

    /// Moves a packet into a lane, or drops it as [`DropReason::NoBuffer`] when the lane is full.
    #[inline]
    pub fn push(&mut self, lane: &mut Lane, packet: Packet) {
        if let Err(packet) = lane.push(packet) {
            self.drop(packet, DropReason::NoBuffer);
        }
    }

    /// Tells the control plane; when its ring is full the event is lost (every one of them can happen again).
    /// Says whether it was told.
    #[inline]
    pub fn event(&mut self, event: WorkerEvent) -> bool {
        self.events.push(event).is_ok()
    }

    /// Identification for an IPv4 packet of our own.
    #[inline]
    pub fn next_ip_id(&mut self) -> u16 {
        self.ip_id = self.ip_id.wrapping_add(1);
        self.ip_id
    }
}

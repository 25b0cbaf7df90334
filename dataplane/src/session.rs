//! The worker's L2TP sessions. The ids on the wire are the position of the entry: a lookup is an index and a compare.
//!
//! An entry is split by heat, and lies in one page, since of a large table's pages the TLB knows few:
//!
//! ```text
//!     0  Hot         all that encapsulation needs, and all checks of a received packet but one
//!    64  inner       for that one (H18): the first line has the prefixes that most subscribers have
//!   448  Limits      token buckets: a session without limits never reads them
//! ```
//!
//! The table grows within memory that was reserved at the start, as the control plane takes slots in use from the bottom up.

use crate::bucket::Bucket;
use crate::fib::SessionWord;
use dataplane_api::{
    Counters, FilterId, InnerAddresses, PeerId, Rate, Rates, Session, SessionCounters, SessionId, WorkerId,
};
use dpdk::huge;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Instant;

/// Outer IPv6.
const V6: u16 = 1;
/// Send Ns.
const SEQUENCING: u16 = 2;
/// Protocol field compression.
const PFC: u16 = 4;
/// Address and control field compression.
const ACFC: u16 = 8;
/// Clamp TCP's MSS.
const CLAMP: u16 = 16;
/// IPCP is open.
const OPEN4: u16 = 32;
/// IPV6CP is open.
const OPEN6: u16 = 64;
/// Limited from the subscriber.
const RATE_UP: u16 = 128;
/// Limited to the subscriber.
const RATE_DOWN: u16 = 256;
/// Filtered.
const FILTER: u16 = 512;

/// What every packet of a session needs. An `id` of 0 marks a free entry.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub struct Hot {
    local: [u8; 16],
    remote: [u8; 16],
    id: u32,
    peer: Option<PeerId>,
    /// The peer's tunnel id.
    pub peer_tunnel: u16,
    /// The peer's session id.
    pub peer_session: u16,
    /// Our UDP port.
    pub local_port: u16,
    /// The peer's UDP port.
    pub remote_port: u16,
    /// Largest inner packet towards the peer.
    pub mtu: u16,
    ns: u16,
    filter: u16,
    flags: u16,
    /// Word of a route to it, 0 for a free entry.
    word: u32,
}

const _: () = assert!(size_of::<Hot>() == 64);

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V6(a) => a.octets(),
        IpAddr::V4(a) => {
            let mut out = [0; 16];
            out[..4].copy_from_slice(&a.octets());
            out
        }
    }
}

impl Hot {
    fn new(s: &Session) -> Self {
        let flag = |on: bool, bit| if on { bit } else { 0 };
        Self {
            local: octets(s.outer.local.ip()),
            remote: octets(s.outer.remote.ip()),
            id: s.id.0,
            peer: s.peer,
            peer_tunnel: s.peer_tunnel,
            peer_session: s.peer_session,
            local_port: s.outer.local.port(),
            remote_port: s.outer.remote.port(),
            mtu: s.mtu,
            ns: 0,
            filter: s.filter.map_or(0, |id| id.0),
            flags: flag(s.outer.remote.is_ipv6(), V6)
                | flag(s.sequencing, SEQUENCING)
                | flag(s.pfc, PFC)
                | flag(s.acfc, ACFC)
                | flag(s.clamp_mss, CLAMP)
                | flag(s.inner.ipv4, OPEN4)
                | flag(s.inner.ipv6, OPEN6)
                | flag(s.rate.up.is_some(), RATE_UP)
                | flag(s.rate.down.is_some(), RATE_DOWN)
                | flag(s.filter.is_some(), FILTER),
            word: SessionWord::new(s.id).map_or(0, SessionWord::word),
        }
    }

    /// Its ids.
    #[inline]
    pub fn id(&self) -> SessionId {
        SessionId(self.id)
    }

    /// The IKE peer it is bound to.
    #[inline]
    pub fn peer(&self) -> Option<PeerId> {
        self.peer
    }

    /// Whether packets go over IPv6.
    #[inline]
    pub fn is_v6(&self) -> bool {
        self.flags & V6 != 0
    }

    /// Outer addresses where they are IPv4's, ours first.
    #[inline(always)]
    pub fn v4(&self) -> (Ipv4Addr, Ipv4Addr) {
        let v4 = |&[a, b, c, d, ..]: &[u8; 16]| Ipv4Addr::new(a, b, c, d);
        (v4(&self.local), v4(&self.remote))
    }

    /// The same of IPv6.
    #[inline(always)]
    pub fn v6(&self) -> (Ipv6Addr, Ipv6Addr) {
        (Ipv6Addr::from(self.local), Ipv6Addr::from(self.remote))
    }

    /// Whether an IP header (of the right version) and UDP ports are those of the tunnel, from the peer to us.
    #[inline(always)]
    pub fn is_from_peer(&self, ip: &[u8], src_port: u16, dst_port: u16) -> bool {
        let v6 = ip.first().is_some_and(|b| b >> 4 == 6);
        let same = if v6 {
            let addresses = ip.get(8..).and_then(|a| a.first_chunk::<32>());
            addresses.is_some_and(|a| a[..16] == self.remote && a[16..] == self.local)
        } else {
            let addresses = ip.get(12..).and_then(|a| a.first_chunk::<8>());
            addresses.is_some_and(|a| a[..4] == self.remote[..4] && a[4..] == self.local[..4])
        };
        v6 == self.is_v6() && same && src_port == self.remote_port && dst_port == self.local_port
    }

    /// Whether the network layer of this family is open (H12).
    #[inline]
    pub fn is_open(&self, v6: bool) -> bool {
        self.flags & if v6 { OPEN6 } else { OPEN4 } != 0
    }

    /// The filter that its packets must pass.
    #[inline]
    pub fn filter(&self) -> Option<FilterId> {
        (self.flags & FILTER != 0).then_some(FilterId(self.filter))
    }

    /// Whether TCP's MSS is to be clamped.
    #[inline]
    pub fn clamps(&self) -> bool {
        self.flags & CLAMP != 0
    }

    /// (PFC, ACFC)
    #[inline]
    pub fn compression(&self) -> (bool, bool) {
        (self.flags & PFC != 0, self.flags & ACFC != 0)
    }

    /// Ns of the next data packet, if it is to have one.
    #[inline]
    pub fn next_ns(&mut self) -> Option<u16> {
        if self.flags & SEQUENCING == 0 {
            return None;
        }
        let ns = self.ns;
        self.ns = ns.wrapping_add(1);
        Some(ns)
    }
}

/// A session.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(512))]
struct Entry {
    hot: Hot,
    inner: InnerAddresses,
    /// The next session of the same IKE peer (index + 1).
    next: Option<NonZeroU32>,
    limits: Limits,
}

const _: () = assert!(size_of::<Entry>() == 512);

/// What is left of its rates: from and to the subscriber.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Limits {
    up: Option<Bucket>,
    down: Option<Bucket>,
}

const _: () = assert!(size_of::<Limits>() == 64);

impl Limits {
    /// A direction that was limited before keeps its tokens.
    fn set(&mut self, rates: &Rates, now: Instant) {
        for (bucket, rate) in [(&mut self.up, rates.up), (&mut self.down, rates.down)] {
            let Some(Rate { bits_per_second, burst }) = rate else {
                *bucket = None;
                continue;
            };
            let octets = u32::try_from(bits_per_second / 8).unwrap_or(u32::MAX);
            match bucket {
                Some(bucket) => bucket.change(octets, burst, now),
                None => *bucket = Some(Bucket::new(octets, burst, now)),
            }
        }
    }
}

/// A worker's table.
#[derive(Debug)]
pub struct Sessions {
    worker: WorkerId,
    entries: Vec<Entry>,
    capacity: usize,
    /// First session (index + 1) of each peer.
    by_peer: HashMap<PeerId, NonZeroU32>,
}

/// Lines of an entry that a packet into the session needs.
pub const INTO: usize = 1;
/// Those of a packet out of it, whose inner source is looked at.
pub const OUT_OF: usize = 2;

/// Sessions that need not be asked for far ahead.
const CACHED: usize = ipsec_mb::CACHED / size_of::<Entry>();

impl Sessions {
    /// With room for `capacity` sessions.
    pub fn new(worker: WorkerId, capacity: usize) -> Self {
        Self { worker, entries: huge::table(capacity), capacity, by_peer: HashMap::with_capacity(capacity) }
    }

    /// The entry with these ids.
    #[inline(always)]
    pub fn get(&self, id: SessionId) -> Option<(usize, &Hot)> {
        let slot = id.slot()?;
        if slot.worker() != self.worker {
            return None;
        }
        let hot = &self.entries.get(slot.index())?.hot;
        (hot.id == id.0).then_some((slot.index(), hot))
    }

    /// The entry at `index`.
    #[inline(always)]
    pub fn hot(&self, index: usize) -> Option<&Hot> {
        self.entries.get(index).map(|e| &e.hot)
    }

    /// Asks the CPU for what a packet needs, before it is needed: so many lines of the entry ([`INTO`], [`OUT_OF`]), and counters.
    #[inline]
    pub fn prefetch(&self, counters: &Counters, index: usize, lines: usize) {
        if let (Some(entry), Some(counters)) = (self.entries.get(index), counters.sessions.get(index)) {
            ipsec_mb::prefetch(entry, 0..lines);
            ipsec_mb::prefetch(counters, 0..1);
        }
    }

    /// The same some time before, if sessions are many.
    #[inline]
    pub fn prefetch_far(&self, counters: &Counters, index: usize, lines: usize) {
        let entry = self.entries.get(index).filter(|_| self.entries.len() > CACHED);
        if let (Some(entry), Some(counters)) = (entry, counters.sessions.get(index)) {
            ipsec_mb::prefetch_far(entry, 0..lines);
            ipsec_mb::prefetch_far(counters, 0..1);
        }
    }

    /// The entry that a route names, if it is still of that generation, and its bucket if what goes there is limited.
    #[inline]
    pub fn routed(&mut self, word: SessionWord) -> Option<(usize, &mut Hot, Option<&mut Bucket>)> {
        if word.worker() != self.worker {
            return None;
        }
        let Entry { hot, limits, .. } = self.entries.get_mut(word.index())?;
        if hot.word != word.word() {
            return None;
        }
        let limit = if hot.flags & RATE_DOWN != 0 { limits.down.as_mut() } else { None };
        Some((word.index(), hot, limit))
    }

    /// The entry with these ids, to be changed.
    #[inline]
    pub fn get_mut(&mut self, id: SessionId) -> Option<(usize, &mut Hot)> {
        let index = self.get(id)?.0;
        self.entries.get_mut(index).map(|e| (index, &mut e.hot))
    }

    /// Inner addresses of the entry at `index`.
    #[inline]
    pub fn inner(&self, index: usize) -> Option<&InnerAddresses> {
        self.entries.get(index).map(|e| &e.inner)
    }

    /// The bucket of the entry at `index` for what comes from the subscriber, if that is limited.
    #[inline(always)]
    pub fn limit_up(&mut self, index: usize) -> Option<&mut Bucket> {
        let entry = self.entries.get_mut(index)?;
        if entry.hot.flags & RATE_UP != 0 { entry.limits.up.as_mut() } else { None }
    }

    /// Adds a session into its slot; `false` when it is taken or does not exist.
    pub fn add(&mut self, s: &Session, counters: &Counters, now: Instant) -> bool {
        let Some(slot) = s.id.slot().filter(|slot| slot.worker() == self.worker && slot.index() < self.capacity) else {
            return false;
        };
        let index = slot.index();
        while self.entries.len() <= index {
            self.entries.push(Entry::default());
        }
        let entry = &mut self.entries[index];
        if entry.hot.id != 0 {
            return false;
        }
        *entry = Entry { hot: Hot::new(s), inner: s.inner, ..Entry::default() };
        entry.limits.set(&s.rate, now);
        self.link(index);
        if let Some(c) = counters.sessions.get(index) {
            reset(c);
        }
        true
    }

    /// Replaces a session's parameters, keeping its counters and tokens; `false` when there is none.
    pub fn set(&mut self, s: &Session, now: Instant) -> bool {
        let Some((index, _)) = self.get(s.id) else { return false };
        self.unlink(index);
        let entry = &mut self.entries[index];
        entry.hot = Hot { ns: entry.hot.ns, ..Hot::new(s) };
        entry.inner = s.inner;
        entry.limits.set(&s.rate, now);
        self.link(index);
        true
    }

    /// Removes a session; `false` when there is none. Its counters stay, for the last accounting record, until `add`.
    pub fn delete(&mut self, id: SessionId) -> bool {
        let Some((index, _)) = self.get(id) else { return false };
        self.unlink(index);
        self.entries[index] = Entry::default();
        true
    }

    /// The peer's sessions now have other outer addresses. The UDP ports are inside ESP and stay.
    pub fn peer_moved(&mut self, peer: PeerId, local: SocketAddr, remote: SocketAddr) {
        let mut next = self.by_peer.get(&peer).copied();
        while let Some(n) = next {
            let Entry { hot, next: following, .. } = &mut self.entries[n.get() as usize - 1];
            if hot.is_v6() == remote.is_ipv6() {
                hot.local = octets(local.ip());
                hot.remote = octets(remote.ip());
            }
            next = *following;
        }
    }

    fn link(&mut self, index: usize) {
        let (Some(peer), Some(n)) = (self.entries[index].hot.peer, NonZeroU32::new(index as u32 + 1)) else { return };
        self.entries[index].next = self.by_peer.insert(peer, n);
    }

    fn unlink(&mut self, index: usize) {
        let Some(peer) = self.entries[index].hot.peer else { return };
        let rest = self.entries[index].next.take();
        let Some(&first) = self.by_peer.get(&peer) else { return };
        let mut at = first.get() as usize - 1;
        if at == index {
            match rest {
                Some(n) => self.by_peer.insert(peer, n),
                None => self.by_peer.remove(&peer),
            };
            return;
        }
        while let Some(n) = self.entries[at].next {
            let next = n.get() as usize - 1;
            if next == index {
                self.entries[at].next = rest;
                return;
            }
            at = next;
        }
    }
}

fn reset(c: &SessionCounters) {
    for pair in [&c.in_v4, &c.out_v4, &c.in_v6, &c.out_v6] {
        pair[0].set(0);
        pair[1].set(0);
    }
    for one in [&c.rate_up, &c.rate_down, &c.filtered] {
        one.set(0);
    }
}

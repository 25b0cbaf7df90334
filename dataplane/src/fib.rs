//! Longest-prefix match and what a match means.
//!
//! A forwarding table ([`Lpm`]) maps a prefix to a word of 31 bits. A route into a subscriber's session, of which there may
//! be a million, is the word itself; everything else is the number of a *group* of next hops (ECMP, RFC 2992), of which
//! there are few:
//!
//! ```text
//!   1 | generation mod 64 (6) | worker (4) | session index (20)      into a softwire
//!   0 | group number (30)                                            group 0: no route
//! ```

use crate::lane::{Lane, Packet};
use crate::link::{Link, Links};
use crate::lpm::{self, Key, Lpm};
use crate::publish::Snapshot;
use crate::softwire::Softwires;
use dataplane_api::{NextHop, SessionId, WorkerId};
use wire::{ipv4, ipv6};

/// Says that a word names a session.
const SESSION: u32 = 1 << 30;

/// Word of an address without a route.
pub const NO_ROUTE: u32 = 0;

/// A session as a route names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionWord(u32);

impl SessionWord {
    /// For a session; `None` when the ids name no slot.
    pub fn new(id: SessionId) -> Option<Self> {
        let slot = id.slot()?;
        let generation = u32::from(slot.generation()) & 63;
        Some(Self(SESSION | generation << 24 | u32::from(slot.worker().0) << 20 | slot.index() as u32))
    }

    /// If `word` names a session.
    #[inline]
    pub fn from_word(word: u32) -> Option<Self> {
        (word & SESSION != 0).then_some(Self(word))
    }

    /// As the FIB holds it.
    #[inline]
    pub fn word(self) -> u32 {
        self.0
    }

    /// The worker that owns the session.
    #[inline]
    pub fn worker(self) -> WorkerId {
        WorkerId((self.0 >> 20 & 15) as u8)
    }

    /// Its index in the worker's table.
    #[inline]
    pub fn index(self) -> usize {
        (self.0 & 0xf_ffff) as usize
    }
}

/// Both forwarding tables. There are two pairs: workers read one while the publisher changes the other.
#[derive(Debug)]
pub struct Fibs {
    /// IPv4.
    pub v4: Lpm,
    /// IPv6.
    pub v6: Lpm,
}

impl Fibs {
    /// Octets of memory that each table takes at most: of its first part only what was written.
    pub fn memory(&self) -> [usize; 2] {
        [self.v4.memory(), self.v6.memory()]
    }
}

/// The next hops of all groups. Most have one, which is where the group is; those of the others are in one array.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    groups: Vec<Group>,
    hops: Vec<Hop>,
}

/// In a cache line of its own.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
enum Group {
    One(Hop),
    /// As many, from this place in the array on; none, if the group has no next hop.
    Some {
        first: u32,
        count: u32,
    },
}

/// A next hop, and the way to it.
#[derive(Clone, Copy, Debug)]
pub struct Hop {
    /// What the route says.
    pub next: NextHop,
    /// Of [`NextHop::Via`]; `None` while the router's Ethernet address is not known.
    pub link: Option<Link>,
}

impl Groups {
    /// Group `n` gets the n-th set of next hops, less the softwires that are dead; a set of nothing else is
    /// unreachable. So an AFBR that is lost costs one change, however many prefixes lie behind it.
    pub fn new<'a>(sets: impl Iterator<Item = &'a [NextHop]>, softwires: &Softwires, links: &Links) -> Self {
        let usable = |hop: &&NextHop| match hop {
            NextHop::Softwire(id) => softwires.get(*id).is_none_or(|s| !s.dead),
            _ => true,
        };
        let hop = |next: NextHop| {
            let link = if let NextHop::Via(port, router) = next { links.get(port, router).copied() } else { None };
            Hop { next, link }
        };
        let mut groups = Self::default();
        for set in sets {
            let first = groups.hops.len();
            groups.hops.extend(set.iter().filter(usable).map(|next| hop(*next)));
            let group = match groups.hops.get(first..).unwrap_or_default() {
                [] if !set.is_empty() => Group::One(hop(NextHop::Unreachable)),
                [one] => Group::One(*one),
                some => Group::Some { first: first as u32, count: some.len() as u32 },
            };
            if let Group::One(_) = group {
                groups.hops.truncate(first);
            }
            groups.groups.push(group);
        }
        groups
    }

    /// The next hop of `word` for a packet; equal flows take equal paths. `None`: no route.
    #[inline(always)]
    pub fn select(&self, word: u32, packet: &Packet) -> Option<&Hop> {
        match self.groups.get(word as usize)? {
            Group::One(hop) => Some(hop),
            Group::Some { first, count } => self.hops.get((first + flow_hash(packet).checked_rem(*count)?) as usize),
        }
    }

    /// The next hops of `word`.
    #[inline]
    pub fn of(&self, word: u32) -> &[Hop] {
        match self.groups.get(word as usize) {
            Some(Group::One(hop)) => std::slice::from_ref(hop),
            Some(&Group::Some { first, count }) => {
                self.hops.get(first as usize..(first + count) as usize).unwrap_or_default()
            }
            None => &[],
        }
    }

    /// Whether `hop` is among the next hops of `word`.
    #[inline]
    pub fn contains(&self, word: u32, hop: NextHop) -> bool {
        self.of(word).iter().any(|h| h.next == hop)
    }
}

/// A hash over addresses, protocol and ports.
#[inline(always)]
pub fn flow_hash(packet: &Packet) -> u32 {
    const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;
    // A product depends on lower bits only, so what is high comes down before the next.
    let mix = |h: u64, word: u64| (h ^ h >> 32 ^ word).wrapping_mul(PRIME);
    let word = |octets: &[u8]| octets.first_chunk().map_or(0, |o| u64::from_be_bytes(*o));
    let mut h = match packet.header::<{ ipv4::HEADER }>() {
        Some(ip) if ip[0] >> 4 != 6 => mix(0, word(&ip[12..])),
        _ => packet.header::<{ ipv6::HEADER }>().map_or(0, |ip| {
            [&ip[8..], &ip[16..], &ip[24..], &ip[32..]].into_iter().fold(0, |h, octets| mix(h, word(octets)))
        }),
    };
    // A fragment beyond the first has no ports: `classify` and `l2tp_in` set protocol 0 for all fragments.
    let ports = match (packet.proto, packet.payload()) {
        (wire::ip::UDP | wire::ip::TCP, [a, b, c, d, ..]) => u32::from_be_bytes([*a, *b, *c, *d]),
        _ => 0,
    };
    h = mix(h, u64::from(packet.proto) << 32 | u64::from(ports));
    (h >> 32) as u32
}

/// Which address of a packet is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// Where it goes to.
    Destination,
    /// Where it says it comes from.
    Source,
}

impl Address {
    /// Where it is in an IPv4 header.
    const fn v4(self) -> usize {
        if let Self::Destination = self { 16 } else { 12 }
    }

    /// Where it is in an IPv6 header.
    const fn v6(self) -> usize {
        if let Self::Destination = self { 24 } else { 8 }
    }
}

/// Begins to look up an address of which these are the first 32 bits. Gives a `next_hop`, which may have to be [`finish`]ed.
#[inline(always)]
pub fn begin(snapshot: &Snapshot, v6: bool, start: u32) -> u32 {
    let fib = if v6 { &snapshot.fibs.v6 } else { &snapshot.fibs.v4 };
    let word = fib.begin(start);
    if lpm::is_begun(word) {
        fib.prefetch_block(start as u8, word);
    }
    word
}

/// Whether a packet's look-up has only begun.
#[inline(always)]
pub fn is_begun(packet: &Packet) -> bool {
    lpm::is_begun(packet.next_hop)
}

/// Looks up an address of every packet of a lane, into `next_hop`.
#[inline(always)]
pub fn lookup(snapshot: &Snapshot, lane: &mut Lane, which: Address) {
    let mut begun = NO_ROUTE;
    for p in lane.packets() {
        let (v6, start) = match p.header::<{ ipv4::HEADER }>() {
            Some(h) if h[0] >> 4 != 6 => {
                let at = which.v4();
                (false, u32::from_be_bytes([h[at], h[at + 1], h[at + 2], h[at + 3]]))
            }
            _ => match p.header::<{ ipv6::HEADER }>().and_then(|h| h[which.v6()..].first_chunk()) {
                Some(start) => (true, u32::from_be_bytes(*start)),
                None => {
                    p.next_hop = NO_ROUTE;
                    continue;
                }
            },
        };
        p.next_hop = begin(snapshot, v6, start);
        begun |= p.next_hop;
    }
    if lpm::is_begun(begun) {
        finish(snapshot, lane, which);
    }
}

/// Ends what has begun.
pub fn finish(snapshot: &Snapshot, lane: &mut Lane, which: Address) {
    // Packets of one flow often follow each other.
    let (mut last, mut word) = (None, NO_ROUTE);
    for p in lane.packets().iter_mut().filter(|p| is_begun(p)) {
        let (v6, address) = (p.is_v6(), address(p, which));
        if last != Some((v6, address)) {
            let fib = if v6 { &snapshot.fibs.v6 } else { &snapshot.fibs.v4 };
            (last, word) = (Some((v6, address)), fib.finish(address, p.next_hop));
        }
        p.next_hop = word;
    }
}

#[inline(always)]
fn address(p: &Packet, which: Address) -> Key {
    if p.is_v6() {
        let address: [u8; 16] = p.ip().get(which.v6()..).and_then(|a| a.first_chunk()).copied().unwrap_or_default();
        address.into()
    } else {
        let address = p.ip().get(which.v4()..).and_then(|a| a.first_chunk()).copied().unwrap_or_default();
        u32::from_be_bytes(address).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane_api::Slot;

    #[test]
    fn session_words_fit_31_bits_and_differ_from_groups() {
        for (worker, index, generation) in [(0, 0, 1), (15, 0xf_ffff, 225), (7, 4096, 64)] {
            let id = SessionId::from_slot(Slot::new(WorkerId(worker), index, generation).unwrap());
            let word = SessionWord::new(id).unwrap();
            assert!(word.word() <= crate::lpm::MAX_WORD);
            assert_eq!(SessionWord::from_word(word.word()), Some(word));
            assert_eq!((word.worker(), word.index()), (WorkerId(worker), index as usize));
        }
        assert_eq!(SessionWord::from_word(NO_ROUTE), None);
        assert_eq!(SessionWord::new(SessionId(0)), None);
    }
}

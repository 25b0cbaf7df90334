//! The worker's part of the SAD (RFC 4301, section 4.4.2): inbound SAs by SPI, outbound SAs by slot, and which outbound
//! SA a peer's traffic takes now.
//!
//! An SPI is the position of its entry (`dataplane_api::id`), so a lookup is an index and a compare. An SA is split by
//! heat: a packet reads an entry, the 128 octets of [`Inbound`] or [`Outbound`] and the key, and a little of the cold part. The arrays
//! grow within memory reserved at the start, as the control plane takes slots in use from the bottom up.

use crate::softwire::Remembered;
use dataplane_api::{Counters, PeerId, SaCounters, SaIn, SaOut, SaOutId, Spi, WorkerId};
use dpdk::huge;
use esp::{Inbound, InboundCold, Outbound, OutboundCold};
use ipsec_mb::{Key, Manager};
use std::net::SocketAddr;
use zerocopy::FromZeros;

/// An inbound SA but for its cold part. A packet needs both, so they lie together, mostly in one page: of a large table's pages the
/// TLB knows few.
#[repr(C)]
pub struct InEntry {
    /// What every packet needs.
    pub hot: Inbound,
    /// Its expanded key.
    pub key: Key,
}

/// An outbound SA but for its cold part.
#[repr(C)]
pub struct OutEntry {
    /// What every packet needs.
    pub hot: Outbound,
    /// Its expanded key.
    pub key: Key,
}

/// What a pair of SAs takes in these tables, with AES-GCM by our own code and a window of up to 1,024: 1.5 KiB at most. (Peers
/// are numbered for all workers together, so what is known of one is there in each.)
const PAIR: usize = size_of::<InEntry>()
    + size_of::<InboundCold>()
    + size_of::<Remembered>()
    + size_of::<OutEntry>()
    + size_of::<OutboundCold>()
    + 2 * size_of::<Next>()
    + size_of::<PeerSas>()
    + 2 * size_of::<SaCounters>();
const _: () = assert!(PAIR <= 1536);

/// The next SA of the same peer: index, plus one, and in the highest bit whether it is an outbound one. 0: there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Next(u32);

impl Next {
    const OUT: u32 = 1 << 31;

    fn inbound(index: usize) -> Self {
        Self(index as u32 + 1)
    }

    fn outbound(index: usize) -> Self {
        Self(Self::OUT | (index as u32 + 1))
    }
}

/// What is known of a peer.
#[derive(Clone, Copy, Debug, Default)]
struct PeerSas {
    /// Index of the outbound SA in use, plus one.
    selected: u32,
    /// All its SAs.
    first: Next,
}

/// Inbound and outbound SAs of one worker.
pub struct Sad {
    worker: WorkerId,
    capacity: usize,
    /// The cryptographic library's state, for this worker alone.
    pub manager: Manager,
    /// Inbound.
    pub inbound: Vec<InEntry>,
    /// Inbound, what few packets need.
    pub in_cold: Vec<InboundCold>,
    /// By inbound SA: the softwire that it carries.
    pub in_carried: Vec<Remembered>,
    /// Outbound.
    pub outbound: Vec<OutEntry>,
    /// Outbound, what few packets need.
    pub out_cold: Vec<OutboundCold>,
    /// By peer number. Peers are numbered from 1 without gaps.
    peers: Vec<PeerSas>,
    /// By inbound and by outbound SA.
    next: [Vec<Next>; 2],
    /// Whose counters are told next.
    told: usize,
}

/// SAs one way that need not be asked for far ahead.
const CACHED: usize = ipsec_mb::CACHED / size_of::<InEntry>();

/// SAs each way whose counters are told in a poll.
pub const TOLD: usize = 8;

/// Peers that can have a selected SA: as many as there are SPI slots.
const MAX_PEERS: usize = dataplane_api::id::SLOTS as usize * dataplane_api::id::MAX_WORKERS;

impl Sad {
    /// With room for `capacity` SAs each way. Fails where the library or the processor is too old.
    pub fn new(worker: WorkerId, capacity: usize) -> Result<Self, ipsec_mb::Error> {
        Ok(Self {
            worker,
            capacity,
            manager: Manager::new()?,
            inbound: huge::table(capacity),
            in_cold: huge::table(capacity),
            in_carried: huge::table(capacity),
            outbound: huge::table(capacity),
            out_cold: huge::table(capacity),
            peers: huge::table(capacity + 1),
            next: [huge::table(capacity), huge::table(capacity)],
            told: 0,
        })
    }

    /// Index of the inbound SA with this SPI.
    #[inline(always)]
    pub fn find_in(&self, spi: Spi) -> Option<usize> {
        let slot = spi.slot()?;
        let hot = &self.inbound.get(slot.index())?.hot;
        (slot.worker() == self.worker && hot.is(spi)).then_some(slot.index())
    }

    fn find_out(&self, id: SaOutId) -> Option<usize> {
        let hot = &self.outbound.get(id.0.index())?.hot;
        (id.0.worker() == self.worker && hot.is_some() && hot.generation() == id.0.generation()).then_some(id.0.index())
    }

    /// Index of the outbound SA that the peer's traffic takes.
    #[inline(always)]
    pub fn selected(&self, peer: PeerId) -> Option<usize> {
        self.index(peer).filter(|index| self.outbound.get(*index).is_some_and(|sa| sa.hot.peer() == Some(peer)))
    }

    /// The same where the SA may be gone, or another peer's by now, which whoever uses it will see.
    #[inline(always)]
    pub fn index(&self, peer: PeerId) -> Option<usize> {
        Some(self.peers.get(peer.0.get() as usize)?.selected.checked_sub(1)? as usize)
    }

    /// This, if it has ever had more SAs one way than the second-level cache has room for: then nodes ask it for them early.
    #[inline(always)]
    pub fn large(&self) -> Option<&Self> {
        (self.inbound.len() > CACHED || self.outbound.len() > CACHED).then_some(self)
    }

    /// Asks for the inbound SA at `index`, of which `esp_in` has need later.
    #[inline(always)]
    pub fn prefetch_in(&self, index: usize) {
        self.inbound.get(index).into_iter().for_each(|sa| ipsec_mb::prefetch_far(&sa.hot, 0..2));
    }

    /// Asks for where the SA that a peer's traffic takes is.
    #[inline(always)]
    pub fn prefetch_peer(&self, peer: PeerId) {
        self.peers.get(peer.0.get() as usize).into_iter().for_each(|sas| ipsec_mb::prefetch(sas, 0..1));
    }

    /// Asks for that SA and its key, of which `esp_out` has need later.
    #[inline(always)]
    pub fn prefetch_selected(&self, peer: PeerId) {
        if let Some(OutEntry { hot, key }) = self.index(peer).and_then(|index| self.outbound.get(index)) {
            ipsec_mb::prefetch_far(hot, 0..2);
            self.manager.prefetch_far(key);
        }
    }

    /// Adds an inbound SA; `false` when its slot is taken or cannot exist, or the parts do not go together.
    pub fn sa_in_add(&mut self, counters: &Counters, sa: SaIn) -> bool {
        let Some(index) = self.slot(sa.spi.slot()).filter(|_| self.knows(sa.peer)) else { return false };
        let Some((hot, cold)) = Inbound::new(&sa) else { return false };
        let Some(algorithm) = hot.algorithm() else { return false };
        while self.inbound.len() <= index {
            self.inbound.push(InEntry { hot: Inbound::new_zeroed(), key: Key::empty() });
            self.in_cold.push(InboundCold::new_zeroed());
            self.in_carried.push(Remembered::NONE);
            self.next[0].push(Next::default());
        }
        let (cipher, _, auth) = sa.key.split(sa.suite);
        let entry = &mut self.inbound[index];
        if entry.hot.is_some() || !entry.key.expand(&self.manager, algorithm, cipher, auth) {
            return false;
        }
        (entry.hot, self.in_cold[index], self.in_carried[index]) = (hot, cold, Remembered::NONE);
        self.link(sa.peer, Next::inbound(index));
        counters.sa_in.get(index).into_iter().for_each(reset);
        true
    }

    /// Removes an inbound SA and erases its key.
    pub fn sa_in_del(&mut self, spi: Spi) -> bool {
        let Some(index) = self.find_in(spi) else { return false };
        self.unlink(self.inbound[index].hot.peer(), Next::inbound(index));
        (self.inbound[index].hot, self.in_cold[index]) = (Inbound::new_zeroed(), InboundCold::new_zeroed());
        self.inbound[index].key.clear();
        true
    }

    /// Adds an outbound SA; as [`Self::sa_in_add`].
    pub fn sa_out_add(&mut self, counters: &Counters, sa: SaOut) -> bool {
        let Some(index) = self.slot(Some(sa.id.0)).filter(|_| self.knows(sa.peer)) else { return false };
        let Some((hot, cold)) = Outbound::new(&sa) else { return false };
        let Some(algorithm) = hot.algorithm() else { return false };
        while self.outbound.len() <= index {
            self.outbound.push(OutEntry { hot: Outbound::new_zeroed(), key: Key::empty() });
            self.out_cold.push(OutboundCold::new_zeroed());
            self.next[1].push(Next::default());
        }
        let (cipher, _, auth) = sa.key.split(sa.suite);
        let entry = &mut self.outbound[index];
        if entry.hot.is_some() || !entry.key.expand(&self.manager, algorithm, cipher, auth) {
            return false;
        }
        (entry.hot, self.out_cold[index]) = (hot, cold);
        self.link(sa.peer, Next::outbound(index));
        counters.sa_out.get(index).into_iter().for_each(reset);
        true
    }

    /// Removes an outbound SA and erases its key.
    pub fn sa_out_del(&mut self, id: SaOutId) -> bool {
        let Some(index) = self.find_out(id) else { return false };
        self.unlink(self.outbound[index].hot.peer(), Next::outbound(index));
        (self.outbound[index].hot, self.out_cold[index]) = (Outbound::new_zeroed(), OutboundCold::new_zeroed());
        self.outbound[index].key.clear();
        true
    }

    /// Brings the counters of packets and octets of the next SAs each way up to date, `most` of them, in turn. So no packet waits
    /// for a line of a counter: an SA counts in a line that packets need anyway, and what others see is a little late.
    pub fn tell(&mut self, counters: &Counters, most: usize) {
        let end = self.inbound.len().max(self.outbound.len());
        let after = |n: usize| if n + 1 < end { n + 1 } else { 0 };
        for _ in 0..most.min(end) {
            if let (Some(InEntry { hot, .. }), Some(c)) = (self.inbound.get(self.told), counters.sa_in.get(self.told)) {
                tell(c, hot.counts());
            }
            if let (Some(OutEntry { hot, .. }), Some(c)) =
                (self.outbound.get(self.told), counters.sa_out.get(self.told))
            {
                tell(c, hot.counts());
            }
            self.told = after(self.told);
        }
        let mut next = self.told;
        for _ in 0..most.min(end).min(TOLD) {
            // The second line of an SA has its counts.
            self.inbound.get(next).into_iter().for_each(|sa| ipsec_mb::prefetch(&sa.hot, 1..2));
            self.outbound.get(next).into_iter().for_each(|sa| ipsec_mb::prefetch(&sa.hot, 1..2));
            counters.sa_in.get(next).into_iter().for_each(|c| ipsec_mb::prefetch(c, 0..1));
            counters.sa_out.get(next).into_iter().for_each(|c| ipsec_mb::prefetch(c, 0..1));
            next = after(next);
        }
    }

    fn slot(&self, slot: Option<dataplane_api::Slot>) -> Option<usize> {
        slot.filter(|s| s.worker() == self.worker && s.index() < self.capacity).map(|s| s.index())
    }

    /// From now on the peer's traffic takes this SA, or none.
    pub fn peer_select(&mut self, peer: PeerId, sa: Option<SaOutId>) -> bool {
        let index = match sa {
            None => 0,
            Some(id) => match self.find_out(id) {
                Some(i) if self.outbound[i].hot.peer() == Some(peer) => i as u32 + 1,
                _ => return false,
            },
        };
        match self.peers.get_mut(peer.0.get() as usize) {
            Some(sas) => sas.selected = index,
            // It has never had an SA.
            None => debug_assert_eq!(index, 0),
        }
        true
    }

    /// Whether there is a place for the peer, which is made.
    fn knows(&mut self, peer: PeerId) -> bool {
        let n = peer.0.get() as usize;
        if n < MAX_PEERS && self.peers.len() <= n {
            self.peers.resize(n + 1, PeerSas::default());
        }
        n < MAX_PEERS
    }

    fn next(&mut self, sa: Next) -> Option<&mut Next> {
        let index = (sa.0 & !Next::OUT).checked_sub(1)? as usize;
        self.next[usize::from(sa.0 & Next::OUT != 0)].get_mut(index)
    }

    fn link(&mut self, peer: PeerId, sa: Next) {
        let Some(sas) = self.peers.get_mut(peer.0.get() as usize) else { return };
        let rest = std::mem::replace(&mut sas.first, sa);
        self.next(sa).into_iter().for_each(|next| *next = rest);
    }

    fn unlink(&mut self, peer: Option<PeerId>, sa: Next) {
        let rest = self.next(sa).map(std::mem::take).unwrap_or_default();
        let Some(sas) = peer.and_then(|peer| self.peers.get_mut(peer.0.get() as usize)) else { return };
        if sas.first == sa {
            sas.first = rest;
            return;
        }
        let mut at = sas.first;
        while let Some(next) = self.next(at) {
            if *next == sa {
                *next = rest;
                return;
            }
            at = *next;
        }
    }

    /// The peer's SAs now have another outer address and port.
    pub fn peer_moved(&mut self, peer: PeerId, local: SocketAddr, remote: SocketAddr, encap: bool) {
        let mut at = self.peers.get(peer.0.get() as usize).map(|sas| sas.first).unwrap_or_default();
        while let Some(next) = self.next(at).copied() {
            let index = (at.0 & !Next::OUT) as usize - 1;
            if at.0 & Next::OUT != 0 {
                self.outbound[index].hot.move_to(local, remote, encap);
            } else {
                self.inbound[index].hot.move_to(local, remote, encap);
                self.in_carried[index] = Remembered::NONE;
            }
            at = next;
        }
    }
}

fn tell(c: &SaCounters, (packets, octets): (u64, u64)) {
    c.packets.set(packets);
    c.octets.set(octets);
}

fn reset(c: &SaCounters) {
    for counter in [&c.packets, &c.octets, &c.replayed, &c.integrity] {
        counter.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane_api::id::Slot;
    use dataplane_api::{Cipher, EspKey, EspSuite, Integrity, Lifetime, Mode, Selector};
    use std::num::NonZeroU32;

    fn peer(n: u32) -> PeerId {
        PeerId(NonZeroU32::new(n).unwrap())
    }

    fn slot(index: u32, generation: u8) -> Slot {
        Slot::new(WorkerId(0), index, generation).unwrap()
    }

    fn sa_in(slot: Slot) -> SaIn {
        let suite = EspSuite::new(Cipher::AesGcm128, Integrity::None).unwrap();
        SaIn {
            spi: Spi::from_slot(slot),
            peer: peer(1),
            suite,
            key: EspKey::new(suite, &[7; 20]).unwrap(),
            esn: false,
            replay_window: 64,
            mode: Mode::Transport,
            local: "192.0.2.1".parse().unwrap(),
            remote: "192.0.2.2".parse().unwrap(),
            encap: None,
            selector: Selector::ANY,
            lifetime: Lifetime::default(),
        }
    }

    fn sa_out(slot: Slot, owner: PeerId) -> SaOut {
        let i = sa_in(slot);
        SaOut {
            id: SaOutId(slot),
            spi: 0x1000,
            peer: owner,
            suite: i.suite,
            key: i.key,
            esn: false,
            mode: Mode::Transport,
            local: i.local,
            remote: i.remote,
            encap: None,
            selector: Selector::ANY,
            lifetime: Lifetime::default(),
        }
    }

    #[test]
    fn counters_are_told_in_turn() {
        let (mut sad, counters) = (Sad::new(WorkerId(0), 3).unwrap(), Counters::new(0, 3));
        for index in 0..3 {
            assert!(sad.sa_out_add(&counters, sa_out(slot(index, 1), peer(1))));
            let n = index as usize;
            for _ in 0..=n {
                let _ = sad.outbound[n].hot.next(&sad.out_cold[n], 100);
            }
        }
        assert!(sad.sa_in_add(&counters, sa_in(slot(0, 1))));
        let told = || [0, 1, 2].map(|n: usize| (counters.sa_out[n].packets.get(), counters.sa_out[n].octets.get()));
        sad.tell(&counters, 2);
        assert_eq!(told(), [(1, 100), (2, 200), (0, 0)]);
        let _ = sad.outbound[0].hot.next(&sad.out_cold[0], 50);
        sad.tell(&counters, 1);
        assert_eq!(told(), [(1, 100), (2, 200), (3, 300)]);
        sad.tell(&counters, 9);
        assert_eq!(told(), [(2, 150), (2, 200), (3, 300)]);
    }

    #[test]
    fn a_slot_holds_one_sa_and_old_names_find_nothing() {
        let counters = Counters::new(4, 4);
        let mut sad = Sad::new(WorkerId(0), 4).unwrap();
        let (old, new) = (slot(3, 1), slot(3, 2));
        assert!(sad.sa_in_add(&counters, sa_in(old)));
        assert!(!sad.sa_in_add(&counters, sa_in(new)), "taken");
        assert_eq!(sad.find_in(Spi::from_slot(old)), Some(3));
        assert_eq!(sad.find_in(Spi::from_slot(new)), None);
        assert!(!sad.sa_in_del(Spi::from_slot(new)) && sad.sa_in_del(Spi::from_slot(old)));
        assert!(sad.sa_in_add(&counters, sa_in(new)));
        assert_eq!(sad.find_in(Spi::from_slot(old)), None);
        assert!(!sad.sa_in_add(&counters, sa_in(slot(4, 1))), "beyond the table");
        assert_eq!(sad.find_in(Spi(0)), None);
    }

    #[test]
    fn a_new_sa_or_path_does_not_inherit_what_was_carried() {
        let (mut sad, counters) = (Sad::new(WorkerId(0), 1).unwrap(), Counters::new(0, 1));
        let softwires = crate::softwire::Softwires::default();
        let ask = |sad: &mut Sad| {
            let (hot, remembered) = (&sad.inbound[0].hot, &mut sad.in_carried[0]);
            softwires.carried(remembered, hot.path(), peer(1));
            assert_ne!(sad.in_carried[0], Remembered::NONE);
        };
        assert!(sad.sa_in_add(&counters, sa_in(slot(0, 1))));
        ask(&mut sad);
        let at = |a: &str| SocketAddr::new(a.parse().unwrap(), 0);
        sad.peer_moved(peer(1), at("192.0.2.1"), at("192.0.2.3"), false);
        assert_eq!(sad.in_carried[0], Remembered::NONE);
        ask(&mut sad);
        assert!(sad.sa_in_del(Spi::from_slot(slot(0, 1))) && sad.sa_in_add(&counters, sa_in(slot(0, 2))));
        assert_eq!(sad.in_carried[0], Remembered::NONE);
    }

    #[test]
    fn a_move_is_of_the_peers_sas_alone() {
        let (mut sad, counters) = (Sad::new(WorkerId(0), 8).unwrap(), Counters::new(0, 8));
        let moved = |sad: &Sad| {
            let of = |path: &esp::Path| path.remote() == [192, 0, 2, 77];
            let inbound = sad.inbound.iter().map(|sa| sa.hot.is_some() && of(sa.hot.path())).collect::<Vec<_>>();
            (inbound, sad.outbound.iter().map(|sa| sa.hot.is_some() && of(sa.hot.path())).collect::<Vec<_>>())
        };
        let at = |a: &str| SocketAddr::new(a.parse().unwrap(), 0);
        for index in 0..6 {
            // Peers 1 and 2 in turn.
            let owner = peer(1 + index % 2);
            assert!(sad.sa_in_add(&counters, SaIn { peer: owner, ..sa_in(slot(index, 1)) }));
            assert!(sad.sa_out_add(&counters, sa_out(slot(index, 1), owner)));
        }
        // Of peer 1's, the first of the chain, one in the middle and the last are gone; the place of the last is peer 2's now, another
        // is not free.
        assert!(sad.sa_out_del(SaOutId(slot(4, 1))) && sad.sa_out_del(SaOutId(slot(2, 1))));
        assert!(sad.sa_in_del(Spi::from_slot(slot(0, 1))));
        assert!(sad.sa_in_add(&counters, SaIn { peer: peer(2), ..sa_in(slot(0, 2)) }));
        assert!(!sad.sa_in_add(&counters, SaIn { peer: peer(2), ..sa_in(slot(4, 2)) }));
        sad.peer_moved(peer(3), at("192.0.2.1"), at("192.0.2.77"), false);
        assert_eq!(moved(&sad), (vec![false; 6], vec![false; 6]));
        sad.peer_moved(peer(1), at("192.0.2.1"), at("192.0.2.77"), false);
        assert_eq!(
            moved(&sad),
            (vec![false, false, true, false, true, false], vec![true, false, false, false, false, false])
        );
        for index in [4, 2] {
            assert!(sad.sa_in_del(Spi::from_slot(slot(index, 1))));
        }
        assert!(sad.sa_out_del(SaOutId(slot(0, 1))));
        assert_eq!(sad.peers[1].first, Next::default());
        sad.peer_moved(peer(2), at("192.0.2.1"), at("192.0.2.77"), false);
        assert_eq!(
            moved(&sad),
            (vec![true, true, false, true, false, true], vec![false, true, false, true, false, true])
        );
        assert!(!sad.sa_in_add(&counters, SaIn { peer: peer(u32::MAX), ..sa_in(slot(7, 1)) }), "no such peer");
    }

    #[test]
    fn a_peer_selects_its_own_sas_only() {
        let counters = Counters::new(4, 4);
        let mut sad = Sad::new(WorkerId(0), 4).unwrap();
        assert_eq!(sad.selected(peer(1)), None);
        assert!(sad.sa_out_add(&counters, sa_out(slot(0, 1), peer(1))));
        assert!(sad.sa_out_add(&counters, sa_out(slot(1, 1), peer(2))));
        assert!(sad.peer_select(peer(1), Some(SaOutId(slot(0, 1)))));
        assert!(!sad.peer_select(peer(1), Some(SaOutId(slot(1, 1)))), "another peer's");
        assert!(!sad.peer_select(peer(1), Some(SaOutId(slot(0, 2)))), "another generation");
        assert_eq!(sad.selected(peer(1)), Some(0));
        assert!(sad.sa_out_del(SaOutId(slot(0, 1))));
        assert_eq!(sad.selected(peer(1)), None, "never in the clear, never by a stale SA");
        assert!(sad.peer_select(peer(2), Some(SaOutId(slot(1, 1)))) && sad.peer_select(peer(2), None));
        assert_eq!(sad.selected(peer(2)), None);
    }

    #[test]
    fn only_what_the_cache_cannot_hold_is_asked_for_early() {
        let capacity = CACHED as u32 + 1;
        let (counters, mut sad) =
            (Counters::new(0, capacity as usize), Sad::new(WorkerId(0), capacity as usize).unwrap());
        for index in 0..capacity {
            assert!(sad.large().is_none(), "{index} SAs");
            assert!(sad.sa_in_add(&counters, sa_in(slot(index, 1))));
        }
        assert!(sad.large().is_some());
    }
}

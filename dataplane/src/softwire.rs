//! The softwires of the mesh, as all workers share them.

use crate::publish::Multiply;
use dataplane_api::softwire::{MAX_SOFTWIRES, Protection, TooBig};
use dataplane_api::{PeerId, Softwire, SoftwireId};
use esp::Path;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::net::IpAddr;
use wire::{ipv4, ipv6};

/// Softwires by number, and by the addresses of their ends, where the few with the same ends are a chain. Only we
/// choose the ends, so that nobody can make them collide.
#[derive(Clone, Debug, Default)]
pub struct Softwires {
    table: Vec<Option<Link>>,
    by_ends: HashMap<Ends, SoftwireId, BuildHasherDefault<Multiply>>,
    /// Counts changes.
    version: u64,
}

/// What an SA may carry, as its ends and its peer say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// No softwire has these ends.
    Nothing,
    /// Those that have are another peer's, or in the clear.
    Others,
    /// Packets of this one, which is its peer's.
    Softwire(SoftwireId),
}

/// What an inbound SA carries as long as no softwire changes: version of the table (46 bits) | kind (2) | number (16). It is forgotten
/// when the SA or its ends change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered(u64);

impl Remembered {
    /// Nothing: a version that no table ever has.
    pub const NONE: Self = Self(u64::MAX);

    #[inline(always)]
    fn new(version: u64, carried: Carried) -> Self {
        let kind = match carried {
            Carried::Nothing => 0,
            Carried::Others => 1 << 16,
            Carried::Softwire(id) => 2 << 16 | u64::from(id.0),
        };
        Self(version << 18 | kind)
    }

    #[inline(always)]
    fn get(self, version: u64) -> Option<Carried> {
        let carried = match self.0 >> 16 & 3 {
            0 => Carried::Nothing,
            1 => Carried::Others,
            _ => Carried::Softwire(SoftwireId(self.0 as u16)),
        };
        (self.0 >> 18 == version).then_some(carried)
    }
}

/// Our address and the other AFBR's, of one family, as they are read from a packet and hashed in few instructions: of IPv4, both
/// are in the first word, ours in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    v6: bool,
    first: u128,
    second: u128,
}

impl Hash for Ends {
    #[inline(always)]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(if self.v6 { mix(self.first as u64, self.second as u64) } else { self.first as u64 });
        if self.v6 {
            state.write_u64(mix((self.first >> 64) as u64, (self.second >> 64) as u64));
        }
    }
}

#[inline(always)]
fn mix(local: u64, remote: u64) -> u64 {
    local.rotate_left(32) ^ remote
}

impl Ends {
    /// `None`: they are of two families.
    pub fn new(local: IpAddr, remote: IpAddr) -> Option<Self> {
        match (local, remote) {
            (IpAddr::V4(l), IpAddr::V4(r)) => Some(Self::v4(mix(l.to_bits().into(), r.to_bits().into()))),
            (IpAddr::V6(l), IpAddr::V6(r)) => Some(Self { v6: true, first: l.to_bits(), second: r.to_bits() }),
            _ => None,
        }
    }

    #[inline(always)]
    const fn v4(both: u64) -> Self {
        Self { v6: false, first: both as u128, second: 0 }
    }

    /// Of a packet that was received, from its IP header on. What is no whole header has the ends of no softwire.
    #[inline(always)]
    pub fn received(ip: &[u8]) -> Self {
        let Self { v6, first, second } = Self::sent(ip);
        if v6 { Self { v6, first: second, second: first } } else { Self::v4((first as u64).rotate_left(32)) }
    }

    /// Whether they are those of a packet that was received, as [`Self::received`] would tell.
    #[inline(always)]
    pub fn are_of(&self, ip: &[u8]) -> bool {
        let received = Self::received(ip);
        if received.v6 { *self == received } else { !self.v6 && self.first as u64 == received.first as u64 }
    }

    /// Of a packet that is sent.
    #[inline(always)]
    pub fn sent(ip: &[u8]) -> Self {
        if ip.first().is_some_and(|b| b >> 4 == 6) {
            let at = |at: usize| ip.get(at..).and_then(|a| a.first_chunk()).map_or(0, |a| u128::from_be_bytes(*a));
            Self { v6: true, first: at(8), second: at(24) }
        } else {
            Self::v4(ip.get(12..).and_then(|a| a.first_chunk()).map_or(0, |a| u64::from_be_bytes(*a)))
        }
    }
}

#[derive(Clone, Debug)]
struct Link {
    softwire: Softwire,
    outer: Outer,
    next: Option<SoftwireId>,
}

/// What the outer headers of a softwire's packets have in common.
#[derive(Clone, Copy, Debug)]
pub enum Outer {
    /// IPv4.
    V4(ipv4::Template),
    /// IPv6.
    V6(ipv6::Template),
}

impl Outer {
    /// `None`: the ends are of two families.
    fn of(softwire: &Softwire) -> Option<Self> {
        match (softwire.local, softwire.remote) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                // RFC 4213, section 3.2: with DF the path MTU is learned, without it the routers fragment.
                let flags = if softwire.too_big == TooBig::Inner { ipv4::DF } else { 0 };
                let ttl = softwire.hop_limit;
                let header = ipv4::Repr { tos: 0, total_len: 0, id: 0, flags, ttl, protocol: 0, src, dst };
                Some(Self::V4(ipv4::Template::new(&header)))
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let hop_limit = softwire.hop_limit;
                let header =
                    ipv6::Repr { traffic_class: 0, flow_label: 0, payload_len: 0, next_header: 0, hop_limit, src, dst };
                Some(Self::V6(ipv6::Template::new(&header)))
            }
            _ => None,
        }
    }
}

impl Softwires {
    /// By number.
    #[inline]
    pub fn get(&self, id: SoftwireId) -> Option<&Softwire> {
        self.link(id).map(|link| &link.softwire)
    }

    /// By number, with what its outer headers have in common.
    #[inline(always)]
    pub fn with_outer(&self, id: SoftwireId) -> Option<(&Softwire, &Outer)> {
        self.link(id).map(|link| (&link.softwire, &link.outer))
    }

    #[inline]
    fn link(&self, id: SoftwireId) -> Option<&Link> {
        self.table.get(usize::from(id.0))?.as_ref()
    }

    /// By our address and the other AFBR's.
    #[inline(always)]
    pub fn between(&self, ends: Ends) -> impl Iterator<Item = &Softwire> {
        let first = self.by_ends.get(&ends).and_then(|id| self.link(*id));
        std::iter::successors(first, |link| self.link(link.next?)).map(|link| &link.softwire)
    }

    /// What an SA with this peer carries between the ends of `path`; `remembered` by whoever asks for the same SA again.
    #[inline(always)]
    pub fn carried(&self, remembered: &mut Remembered, path: &Path, peer: PeerId) -> Carried {
        remembered.get(self.version).unwrap_or_else(|| {
            let carried = self.find(path, peer);
            *remembered = Remembered::new(self.version, carried);
            carried
        })
    }

    /// The same for who asks once.
    #[inline(never)]
    pub fn find(&self, path: &Path, peer: PeerId) -> Carried {
        let (local, remote) = path.ends();
        let Some(ends) = Ends::new(local, remote) else { return Carried::Nothing };
        let is_of = |s: &&Softwire| matches!(s.protection, Protection::Esp(Some((p, _))) if p == peer);
        match self.between(ends).find(is_of) {
            Some(softwire) => Carried::Softwire(softwire.id),
            None if self.between(ends).next().is_some() => Carried::Others,
            None => Carried::Nothing,
        }
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.by_ends.is_empty()
    }

    /// Adds or replaces one; `false` when the number is too large or the ends are of two families.
    pub fn set(&mut self, softwire: Softwire) -> bool {
        let n = usize::from(softwire.id.0);
        let (Some(ends), Some(outer)) = (Ends::new(softwire.local, softwire.remote), Outer::of(&softwire)) else {
            return false;
        };
        if n >= MAX_SOFTWIRES {
            return false;
        }
        self.delete(softwire.id);
        self.version += 1;
        if self.table.len() <= n {
            self.table.resize(n + 1, None);
        }
        let next = self.by_ends.insert(ends, softwire.id);
        self.table[n] = Some(Link { softwire, outer, next });
        true
    }

    /// Removes one.
    pub fn delete(&mut self, id: SoftwireId) {
        let Some(old) = self.table.get_mut(usize::from(id.0)).and_then(Option::take) else { return };
        self.version += 1;
        let Some(ends) = Ends::new(old.softwire.local, old.softwire.remote) else { return };
        if self.by_ends.get(&ends) == Some(&id) {
            match old.next {
                Some(next) => self.by_ends.insert(ends, next),
                None => self.by_ends.remove(&ends),
            };
        } else if let Some(before) = self.table.iter_mut().flatten().find(|link| link.next == Some(id)) {
            before.next = old.next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn softwire(id: u16, local: &str, remote: &str) -> Softwire {
        Softwire {
            id: SoftwireId(id),
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            mtu: 1460,
            path_mtu: 1500,
            hop_limit: 64,
            dscp: None,
            too_big: TooBig::Inner,
            protection: Protection::Clear,
            strict: false,
            bfd: false,
            dead: false,
            tfc: false,
        }
    }

    #[test]
    fn found_by_number_and_by_ends() {
        let mut s = Softwires::default();
        assert!(s.set(softwire(7, "2001:db8::1", "2001:db8::2")));
        assert!(!s.set(softwire(8, "2001:db8::1", "192.0.2.2")), "two families");
        assert!(!s.set(softwire(MAX_SOFTWIRES as u16, "192.0.2.1", "192.0.2.2")), "beyond the table");
        assert_eq!(between(&s, "2001:db8::2"), [7]);
        // The other end moves: the old ends name nothing any more.
        assert!(s.set(softwire(7, "2001:db8::1", "2001:db8::3")));
        assert_eq!((between(&s, "2001:db8::2"), between(&s, "2001:db8::3")), (vec![], vec![7]));
        s.delete(SoftwireId(7));
        assert!(s.is_empty() && s.get(SoftwireId(7)).is_none());
    }

    #[test]
    fn ends_are_those_of_a_header() {
        let packet = |src: &str, dst: &str| {
            let mut header = vec![if src.contains(':') { 0x60 } else { 0x45 }];
            header.resize(if src.contains(':') { 8 } else { 12 }, 0);
            for address in [src, dst] {
                match address.parse().unwrap() {
                    IpAddr::V4(a) => header.extend(a.octets()),
                    IpAddr::V6(a) => header.extend(a.octets()),
                }
            }
            header
        };
        for (local, remote, other) in
            [("192.0.2.1", "192.0.2.2", "192.0.2.3"), ("2001:db8::1", "2001:db8::2", "2001:db8::3")]
        {
            let ends = Ends::new(local.parse().unwrap(), remote.parse().unwrap()).unwrap();
            assert_eq!(Ends::received(&packet(remote, local)), ends);
            assert_eq!(Ends::sent(&packet(local, remote)), ends);
            assert!(ends.are_of(&packet(remote, local)));
            for (src, dst) in [(local, remote), (other, local), (remote, other)] {
                assert!(!ends.are_of(&packet(src, dst)), "{src} > {dst}");
            }
            for short in 0..packet(remote, local).len() {
                assert!(!ends.are_of(&packet(remote, local)[..short]), "{short}");
            }
        }
        let six = Ends::new("::".parse().unwrap(), "::".parse().unwrap()).unwrap();
        let four = Ends::new("0.0.0.0".parse().unwrap(), "0.0.0.0".parse().unwrap()).unwrap();
        assert!(!six.are_of(&packet("0.0.0.0", "0.0.0.0")) && !four.are_of(&packet("::", "::")));
    }

    #[test]
    fn several_have_the_same_ends() {
        let mut s = Softwires::default();
        for id in [1, 2, 3, 2, 4] {
            assert!(s.set(softwire(id, "2001:db8::1", "2001:db8::2")));
        }
        assert_eq!(between(&s, "2001:db8::2"), [4, 2, 3, 1]);
        for (gone, left) in [(2, vec![4, 3, 1]), (4, vec![3, 1]), (1, vec![3]), (1, vec![3]), (3, vec![])] {
            s.delete(SoftwireId(gone));
            assert_eq!(between(&s, "2001:db8::2"), left);
        }
        assert!(s.is_empty());
    }

    #[test]
    fn what_an_sa_carries_is_remembered_until_a_softwire_changes() {
        let peer = |n| PeerId(std::num::NonZeroU32::new(n).unwrap());
        let with = |id, remote, n| {
            let protection = Protection::Esp(Some((peer(n), dataplane_api::WorkerId(0))));
            Softwire { protection, ..softwire(id, "2001:db8::1", remote) }
        };
        let carries = |id| Carried::Softwire(SoftwireId(id));
        let local = |remote: &str| if remote.contains(':') { "2001:db8::1" } else { "192.0.2.9" };
        let path = |remote: &str| Path::new(local(remote).parse().unwrap(), remote.parse().unwrap(), None).unwrap();
        let mut s = Softwires::default();
        let sas = [("2001:db8::2", 1), ("2001:db8::2", 2), ("2001:db8::3", 1), ("2001:db8::2", 9), ("192.0.2.1", 1)];
        let mut memory = [Remembered::NONE; 5];
        let mut expect = |s: &Softwires, want: [Carried; 5]| {
            for _ in 0..2 {
                let got = std::array::from_fn(|n| s.carried(&mut memory[n], &path(sas[n].0), peer(sas[n].1)));
                assert_eq!(got, want);
            }
        };
        expect(&s, [Carried::Nothing; 5]);
        for softwire in
            [with(0, "2001:db8::2", 1), with(MAX_SOFTWIRES as u16 - 1, "2001:db8::2", 2), with(3, "2001:db8::3", 1)]
        {
            assert!(s.set(softwire));
        }
        let last = carries(MAX_SOFTWIRES as u16 - 1);
        expect(&s, [carries(0), last, carries(3), Carried::Others, Carried::Nothing]);
        // The number is another softwire's by now.
        assert!(s.set(with(0, "2001:db8::4", 1)));
        expect(&s, [Carried::Others, last, carries(3), Carried::Others, Carried::Nothing]);
        s.delete(SoftwireId(3));
        expect(&s, [Carried::Others, last, Carried::Nothing, Carried::Others, Carried::Nothing]);
    }

    fn between(s: &Softwires, remote: &str) -> Vec<u16> {
        s.between(Ends::new("2001:db8::1".parse().unwrap(), remote.parse().unwrap()).unwrap()).map(|s| s.id.0).collect()
    }
}

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

    /// One for what an SA with this peer protects between these ends: that of the peer, else any. Looks at `first` first.
    #[inline]
    pub fn carried(&self, first: SoftwireId, path: &Path, peer: PeerId) -> Option<SoftwireId> {
        let is_of = |s: &Softwire| matches!(s.protection, Protection::Esp(Some((p, _))) if p == peer);
        if self.get(first).is_some_and(|s| path.is_between(&s.local, &s.remote) && is_of(s)) {
            return Some(first);
        }
        let (local, remote) = path.ends();
        let ends = Ends::new(local, remote)?;
        self.between(ends).find(|s| is_of(s)).or_else(|| self.between(ends).next()).map(|s| s.id)
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
    fn what_an_sa_carries_is_its_peers_wherever_one_looks_first() {
        let peer = |n| PeerId(std::num::NonZeroU32::new(n).unwrap());
        let with = |id, remote, n| {
            let protection = Protection::Esp(Some((peer(n), dataplane_api::WorkerId(0))));
            Softwire { protection, ..softwire(id, "2001:db8::1", remote) }
        };
        let mut s = Softwires::default();
        assert!(
            s.set(with(1, "2001:db8::2", 1)) && s.set(with(2, "2001:db8::2", 2)) && s.set(with(3, "2001:db8::3", 1))
        );
        let carried = |s: &Softwires, first, remote: &str, n| {
            let path = Path::new("2001:db8::1".parse().unwrap(), remote.parse().unwrap(), None)?;
            s.carried(SoftwireId(first), &path, peer(n)).map(|id| id.0)
        };
        for first in 0..5 {
            assert_eq!(carried(&s, first, "2001:db8::2", 1), Some(1));
            assert_eq!(carried(&s, first, "2001:db8::2", 2), Some(2));
            assert_eq!(carried(&s, first, "2001:db8::3", 1), Some(3));
            assert!(carried(&s, first, "2001:db8::2", 9).is_some(), "for `decap` to refuse, or of one in the clear");
            assert_eq!(carried(&s, first, "2001:db8::4", 1), None);
            assert_eq!(carried(&s, first, "192.0.2.1", 1), None);
        }
        // The number is another softwire's by now.
        assert!(s.set(with(1, "2001:db8::4", 1)));
        assert_eq!((carried(&s, 1, "2001:db8::2", 1), carried(&s, 1, "2001:db8::4", 1)), (Some(2), Some(1)));
    }

    fn between(s: &Softwires, remote: &str) -> Vec<u16> {
        s.between(Ends::new("2001:db8::1".parse().unwrap(), remote.parse().unwrap()).unwrap()).map(|s| s.id.0).collect()
    }
}

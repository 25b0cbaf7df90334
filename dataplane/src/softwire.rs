//! The softwires of the mesh, as all workers share them.

use crate::publish::Multiply;
use dataplane_api::softwire::MAX_SOFTWIRES;
use dataplane_api::{Softwire, SoftwireId};
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::net::IpAddr;

/// Softwires by number, and by the addresses of their ends. Only we choose the ends, so that nobody can make them
/// collide.
#[derive(Clone, Debug, Default)]
pub struct Softwires {
    table: Vec<Option<Softwire>>,
    by_ends: HashMap<(IpAddr, IpAddr), SoftwireId, BuildHasherDefault<Multiply>>,
}

impl Softwires {
    /// By number.
    #[inline]
    pub fn get(&self, id: SoftwireId) -> Option<&Softwire> {
        self.table.get(usize::from(id.0))?.as_ref()
    }

    /// By our address and the other AFBR's.
    #[inline]
    pub fn between(&self, local: IpAddr, remote: IpAddr) -> Option<&Softwire> {
        self.get(*self.by_ends.get(&(local, remote))?)
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.by_ends.is_empty()
    }

    /// Adds or replaces one; `false` when the number is too large, the ends are of two families, or another softwire
    /// has them.
    pub fn set(&mut self, softwire: Softwire) -> bool {
        let (n, ends) = (usize::from(softwire.id.0), (softwire.local, softwire.remote));
        let taken = self.by_ends.get(&ends).is_some_and(|id| *id != softwire.id);
        if n >= MAX_SOFTWIRES || taken || ends.0.is_ipv4() != ends.1.is_ipv4() {
            return false;
        }
        self.delete(softwire.id);
        if self.table.len() <= n {
            self.table.resize(n + 1, None);
        }
        self.table[n] = Some(softwire);
        self.by_ends.insert(ends, softwire.id);
        true
    }

    /// Removes one.
    pub fn delete(&mut self, id: SoftwireId) {
        if let Some(old) = self.table.get_mut(usize::from(id.0)).and_then(Option::take) {
            self.by_ends.remove(&(old.local, old.remote));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane_api::softwire::{Protection, TooBig};

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
        }
    }

    #[test]
    fn found_by_number_and_by_ends_and_only_once() {
        let mut s = Softwires::default();
        assert!(s.set(softwire(7, "2001:db8::1", "2001:db8::2")));
        assert!(!s.set(softwire(8, "2001:db8::1", "2001:db8::2")), "ends taken");
        assert!(!s.set(softwire(8, "2001:db8::1", "192.0.2.2")), "two families");
        assert!(!s.set(softwire(MAX_SOFTWIRES as u16, "192.0.2.1", "192.0.2.2")), "beyond the table");
        let ip = |a: &str| a.parse::<IpAddr>().unwrap();
        assert_eq!(s.between(ip("2001:db8::1"), ip("2001:db8::2")).map(|s| s.id), Some(SoftwireId(7)));
        // The other end moves: the old ends name nothing any more.
        assert!(s.set(softwire(7, "2001:db8::1", "2001:db8::3")));
        assert!(s.between(ip("2001:db8::1"), ip("2001:db8::2")).is_none());
        s.delete(SoftwireId(7));
        assert!(s.is_empty() && s.get(SoftwireId(7)).is_none());
    }
}

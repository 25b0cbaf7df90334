//! Restarting ourselves (RFC 4724, section 4.1): forwarding goes on with the routes of before, and a family is neither
//! advertised nor programmed until all peers that restart gracefully have sent End-of-RIB, or it takes too long
//! (Selection_Deferral_Timer).

use crate::message::Family;
use crate::neighbour::NeighbourId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

#[derive(Debug, Default)]
pub(crate) struct Deferral {
    waiting: BTreeMap<Family, BTreeSet<NeighbourId>>,
    deadline: Option<Instant>,
}

impl Deferral {
    /// We have restarted, and wait until `deadline` at most.
    pub fn until(deadline: Option<Instant>) -> Self {
        Self { waiting: Family::ALL.map(|family| (family, BTreeSet::new())).into(), deadline }
    }

    /// Whether a family waits.
    pub fn defers(&self, family: Family) -> bool {
        self.waiting.contains_key(&family)
    }

    /// Whether any family waits.
    pub fn active(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The Selection_Deferral_Timer.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline.filter(|_| self.active())
    }

    /// A neighbour is expected to send End-of-RIB for a family.
    pub fn expect(&mut self, neighbour: NeighbourId, family: Family) {
        if let Some(waiting) = self.waiting.get_mut(&family) {
            waiting.insert(neighbour);
        }
    }

    /// A neighbour sent End-of-RIB, or is not waited for any more. Whether the family's time has come.
    pub fn settle(&mut self, neighbour: NeighbourId, family: Family) -> bool {
        let Some(waiting) = self.waiting.get_mut(&family) else { return false };
        let last = waiting.remove(&neighbour) && waiting.is_empty();
        if last {
            self.waiting.remove(&family);
        }
        last
    }

    /// The families whose time has come because the deadline has passed.
    pub fn expired(&mut self, now: Instant) -> BTreeSet<Family> {
        match self.deadline {
            Some(at) if at <= now => std::mem::take(&mut self.waiting).into_keys().collect(),
            _ => BTreeSet::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Family::{Ipv4Unicast as V4, Ipv6Unicast as V6};
    use std::time::Duration;

    const A: NeighbourId = NeighbourId(1);
    const B: NeighbourId = NeighbourId(2);

    #[test]
    fn a_family_waits_for_the_last_neighbour() {
        let mut deferral = Deferral::until(Some(Instant::now()));
        deferral.expect(A, V4);
        deferral.expect(B, V4);
        assert!(!deferral.settle(A, V4));
        assert!(!deferral.settle(A, V4));
        assert!(!deferral.settle(A, V6));
        assert!(deferral.defers(V4));
        assert!(deferral.settle(B, V4));
        assert!(!deferral.defers(V4) && deferral.defers(V6) && deferral.active());
    }

    #[test]
    fn the_deadline_ends_it() {
        let now = Instant::now();
        let at = now + Duration::from_secs(60);
        let mut deferral = Deferral::until(Some(at));
        deferral.expect(A, V6);
        assert!(deferral.expired(now).is_empty());
        assert_eq!(deferral.deadline(), Some(at));
        assert_eq!(deferral.expired(at), [V4, V6].into());
        assert!(!deferral.active() && deferral.deadline().is_none());
    }

    #[test]
    fn nothing_waits_without_a_restart() {
        let mut deferral = Deferral::default();
        deferral.expect(A, V4);
        assert!(!deferral.active() && !deferral.defers(V4) && !deferral.settle(A, V4));
    }
}

//! Route refresh (RFC 2918, RFC 7313) and End-of-RIB (RFC 4724), either way: which marks are owed to the peer behind
//! the routes that are on their way to it, and which of its routes wait for a mark of the peer's.
//!
//! ```text
//!   ours     UPDATE ... End-of-RIB         BoRR, UPDATE ..., EoRR      End-of-RIB comes first, BoRR before it is not sent
//!   theirs   routes    End-of-RIB         BoRR: all are stale         EoRR, or too late: what is still stale goes
//! ```

use crate::message::{Family, RouteRefresh};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A mark that follows the routes of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// End-of-RIB.
    EndOfRib,
    /// End of a route refresh.
    EndOfRefresh,
}

#[derive(Debug, Default)]
pub(crate) struct Refresh {
    owed: BTreeMap<Family, Mark>,
    awaited: BTreeSet<Family>,
    sweeping: BTreeMap<Family, Instant>,
}

impl Refresh {
    /// A session begins: End-of-RIB is owed for the families in `owed` and awaited for those in `awaited`.
    pub fn established(owed: impl IntoIterator<Item = Family>, awaited: impl IntoIterator<Item = Family>) -> Self {
        Self {
            owed: owed.into_iter().map(|family| (family, Mark::EndOfRib)).collect(),
            awaited: awaited.into_iter().collect(),
            sweeping: BTreeMap::new(),
        }
    }

    /// The peer asks for a family again, all of whose routes will be sent. Gives the BoRR to send before them.
    pub fn requested(&mut self, family: Family, enhanced: bool) -> Option<RouteRefresh> {
        if !enhanced || self.owed.contains_key(&family) {
            return None;
        }
        self.owed.insert(family, Mark::EndOfRefresh);
        Some(RouteRefresh { family, subtype: RouteRefresh::BORR })
    }

    /// Whether a mark of the family is owed.
    pub fn owes(&self, family: Family) -> bool {
        self.owed.contains_key(&family)
    }

    /// All routes of the family were sent: the mark that is owed now.
    pub fn sent_all(&mut self, family: Family) -> Option<Mark> {
        self.owed.remove(&family)
    }

    /// The peer's End-of-RIB.
    pub fn end_of_rib(&mut self, family: Family) {
        self.awaited.remove(&family);
    }

    /// The peer's BoRR. Whether all its routes of the family are stale now: not before End-of-RIB (RFC 7313, section
    /// 4). They stay so for at most `limit`.
    pub fn begins(&mut self, now: Instant, family: Family, limit: Duration) -> bool {
        let begins = !self.awaited.contains(&family);
        if let (true, Some(until)) = (begins, now.checked_add(limit)) {
            self.sweeping.insert(family, until);
        }
        begins
    }

    /// The peer's EoRR. Whether the routes go that are still stale.
    pub fn ends(&mut self, family: Family) -> bool {
        self.sweeping.remove(&family).is_some()
    }

    /// When [`expired`](Self::expired) has something to say.
    pub fn deadline(&self) -> Option<Instant> {
        self.sweeping.values().min().copied()
    }

    /// A family whose EoRR did not come in time: the routes go that are still stale.
    pub fn expired(&mut self, now: Instant) -> Option<Family> {
        let family = self.sweeping.iter().find(|(_, at)| **at <= now).map(|(family, _)| *family)?;
        self.sweeping.remove(&family);
        Some(family)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Family::{Ipv4Unicast as V4, Ipv6Unicast as V6};

    const LIMIT: Duration = Duration::from_secs(100);

    #[test]
    fn a_refresh_is_bracketed_once() {
        let mut refresh = Refresh::default();
        let borr = RouteRefresh { family: V4, subtype: RouteRefresh::BORR };
        assert_eq!(refresh.requested(V4, true), Some(borr));
        assert_eq!(refresh.requested(V4, true), None);
        assert!(refresh.owes(V4) && !refresh.owes(V6));
        assert_eq!(refresh.sent_all(V4), Some(Mark::EndOfRefresh));
        assert_eq!(refresh.sent_all(V4), None);
        assert_eq!(refresh.requested(V4, false), None);
        assert_eq!(refresh.sent_all(V4), None);
    }

    #[test]
    fn no_borr_before_our_end_of_rib() {
        let mut refresh = Refresh::established([V4], []);
        assert_eq!(refresh.requested(V4, true), None);
        assert_eq!(refresh.sent_all(V4), Some(Mark::EndOfRib));
        assert!(refresh.requested(V4, true).is_some());
    }

    #[test]
    fn borr_before_the_peers_end_of_rib_is_ignored() {
        let now = Instant::now();
        let mut refresh = Refresh::established([], [V4]);
        assert!(!refresh.begins(now, V4, LIMIT));
        assert!(!refresh.ends(V4));
        refresh.end_of_rib(V4);
        assert!(refresh.begins(now, V4, LIMIT));
        assert!(refresh.ends(V4));
        assert!(!refresh.ends(V4));
    }

    #[test]
    fn a_refresh_that_does_not_end_is_ended() {
        let now = Instant::now();
        let mut refresh = Refresh::default();
        assert_eq!(refresh.deadline(), None);
        assert!(refresh.begins(now, V4, LIMIT));
        assert!(refresh.begins(now + LIMIT / 2, V6, LIMIT));
        assert_eq!(refresh.deadline(), Some(now + LIMIT));
        assert_eq!(refresh.expired(now), None);
        assert_eq!(refresh.expired(now + LIMIT), Some(V4));
        assert_eq!(refresh.expired(now + LIMIT), None);
        assert_eq!(refresh.deadline(), Some(now + LIMIT + LIMIT / 2));
        assert!(!refresh.ends(V4) && refresh.ends(V6));
    }
}

//! Graceful restart, the helping side (RFC 4724, section 4.2, and RFC 8538): the peer restarts, its forwarding goes on,
//! and its routes are kept as stale until it has announced them again.
//!
//! ```text
//!   lost: routes stale      Established again               End-of-RIB of each family
//!  ─────────┬──────────────────────┬───────────────────────────────┬────────────►
//!           └── Restart Time ──┐   └──── stale time ────┐          └ what is still stale goes
//!                              └ all stale routes go    └ likewise
//! ```

use crate::message::Family;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// The peer's Graceful Restart Capability (RFC 4724, section 3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerRestart {
    /// R: the peer has restarted.
    pub restarting: bool,
    /// N: sessions that end by NOTIFICATION are restarted gracefully, too (RFC 8538, section 2).
    pub notification: bool,
    /// Restart Time.
    pub time: Duration,
    /// Families, and whether forwarding state was preserved (F).
    pub families: BTreeMap<Family, bool>,
}

/// How a session was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The TCP connection ended without a NOTIFICATION.
    Tcp,
    /// A NOTIFICATION was sent or received.
    Notification {
        /// Cease, Hard Reset (RFC 8538, section 3), or one of those that mean the same.
        hard: bool,
    },
}

/// What is kept of a neighbour whose session was lost.
#[derive(Debug, Default)]
pub(crate) struct Helper {
    stale: BTreeSet<Family>,
    deadline: Option<Instant>,
}

impl Helper {
    /// The session was lost. Gives the families whose routes are kept as stale; those of all others are deleted.
    /// `notification`: our own capability had the N bit.
    pub fn lost(
        &mut self,
        now: Instant,
        loss: Loss,
        peer: Option<&PeerRestart>,
        notification: bool,
    ) -> BTreeSet<Family> {
        let kept = peer.filter(|peer| match loss {
            Loss::Tcp => true,
            Loss::Notification { hard } => !hard && notification && peer.notification,
        });
        self.stale = kept.map(|peer| peer.families.keys().copied().collect()).unwrap_or_default();
        self.deadline = kept.filter(|_| !self.stale.is_empty()).and_then(|peer| now.checked_add(peer.time));
        self.stale.clone()
    }

    /// The session is established again. Gives the families whose stale routes go at once, because the peer did not
    /// preserve their forwarding state or no longer restarts gracefully.
    pub fn established(&mut self, now: Instant, peer: Option<&PeerRestart>, stale_time: Duration) -> BTreeSet<Family> {
        let preserved = |family: &Family| peer.is_some_and(|peer| peer.families.get(family) == Some(&true));
        let (kept, gone) = std::mem::take(&mut self.stale).into_iter().partition(preserved);
        self.stale = kept;
        self.deadline = if self.stale.is_empty() { None } else { now.checked_add(stale_time) };
        gone
    }

    /// End-of-RIB came. Whether stale routes of that family were waiting for it: those that remain stale go now.
    pub fn end_of_rib(&mut self, family: Family) -> bool {
        let waited = self.stale.remove(&family);
        if self.stale.is_empty() {
            self.deadline = None;
        }
        waited
    }

    /// When [`expired`](Self::expired) has something to say.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The families whose stale routes go because their time is over.
    pub fn expired(&mut self, now: Instant) -> BTreeSet<Family> {
        if self.deadline.is_none_or(|at| at > now) {
            return BTreeSet::new();
        }
        self.forget()
    }

    /// The families that have stale routes, which nobody waits for from now on.
    pub fn forget(&mut self) -> BTreeSet<Family> {
        self.deadline = None;
        std::mem::take(&mut self.stale)
    }

    /// Families with stale routes.
    pub fn stale(&self) -> &BTreeSet<Family> {
        &self.stale
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Family::{Ipv4Unicast as V4, Ipv6Unicast as V6};

    const STALE: Duration = Duration::from_secs(300);

    fn peer(families: &[(Family, bool)], notification: bool) -> PeerRestart {
        let families = families.iter().copied().collect();
        PeerRestart { restarting: true, notification, time: Duration::from_secs(120), families }
    }

    fn set(families: &[Family]) -> BTreeSet<Family> {
        families.iter().copied().collect()
    }

    #[test]
    fn which_losses_keep_routes() {
        let now = Instant::now();
        let soft = Loss::Notification { hard: false };
        let hard = Loss::Notification { hard: true };
        // Loss, the peer's N bit, ours, kept.
        for (loss, theirs, ours, kept) in [
            (Loss::Tcp, false, false, true),
            (Loss::Tcp, true, true, true),
            (soft, true, true, true),
            (soft, true, false, false),
            (soft, false, true, false),
            (hard, true, true, false),
        ] {
            let mut helper = Helper::default();
            let families = helper.lost(now, loss, Some(&peer(&[(V4, false)], theirs)), ours);
            assert_eq!(!families.is_empty(), kept, "{loss:?} {theirs} {ours}");
            assert_eq!(helper.deadline(), kept.then(|| now + Duration::from_secs(120)));
        }
        assert!(Helper::default().lost(now, Loss::Tcp, None, true).is_empty());
        assert!(Helper::default().lost(now, Loss::Tcp, Some(&peer(&[], true)), true).is_empty());
    }

    #[test]
    fn stale_routes_go_when_the_restart_time_is_over() {
        let now = Instant::now();
        let mut helper = Helper::default();
        helper.lost(now, Loss::Tcp, Some(&peer(&[(V4, true), (V6, true)], false)), false);
        assert!(helper.expired(now + Duration::from_secs(119)).is_empty());
        assert_eq!(helper.expired(now + Duration::from_secs(120)), set(&[V4, V6]));
        assert_eq!(helper.deadline(), None);
    }

    #[test]
    fn forwarding_state_that_was_not_preserved_goes_at_once_and_the_rest_with_end_of_rib() {
        let now = Instant::now();
        let mut helper = Helper::default();
        helper.lost(now, Loss::Tcp, Some(&peer(&[(V4, false), (V6, false)], false)), false);
        let again = peer(&[(V4, false), (V6, true)], false);
        assert_eq!(helper.established(now, Some(&again), STALE), set(&[V4]));
        assert_eq!(helper.deadline(), Some(now + STALE));
        assert!(!helper.end_of_rib(V4));
        assert!(helper.end_of_rib(V6));
        assert_eq!(helper.deadline(), None);
        assert!(!helper.end_of_rib(V6));
    }

    #[test]
    fn a_peer_that_comes_back_without_the_family_or_the_capability_keeps_nothing() {
        let now = Instant::now();
        for again in [None, Some(peer(&[], false)), Some(peer(&[(V6, true)], false))] {
            let mut helper = Helper::default();
            helper.lost(now, Loss::Tcp, Some(&peer(&[(V4, true)], false)), false);
            assert_eq!(helper.established(now, again.as_ref(), STALE), set(&[V4]));
            assert_eq!(helper.deadline(), None);
        }
    }

    #[test]
    fn stale_routes_go_when_no_end_of_rib_comes() {
        let now = Instant::now();
        let mut helper = Helper::default();
        let restart = peer(&[(V4, true)], false);
        helper.lost(now, Loss::Tcp, Some(&restart), false);
        helper.established(now, Some(&restart), STALE);
        assert_eq!(helper.expired(now + STALE), set(&[V4]));
    }
}

//! Next hops: whoever knows the routes inside the network is told which addresses matter and says how far they are.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;

const SWEEP_FLOOR: usize = 1024;

/// A change of the addresses that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracking {
    /// The reachability of the address is wanted from now on.
    Start(IpAddr),
    /// It is not any more.
    Stop(IpAddr),
}

/// The addresses that routes depend on: next hops, and the egress endpoints of tunnels.
#[derive(Debug)]
pub(crate) struct NextHops {
    metrics: HashMap<IpAddr, Option<u32>>,
    changes: VecDeque<Tracking>,
    sweep_at: usize,
}

impl Default for NextHops {
    fn default() -> Self {
        Self { metrics: HashMap::new(), changes: VecDeque::new(), sweep_at: SWEEP_FLOOR }
    }
}

impl NextHops {
    /// A route depends on the address.
    pub(crate) fn track(&mut self, address: IpAddr) {
        self.metrics.entry(address).or_insert_with(|| {
            self.changes.push_back(Tracking::Start(address));
            None
        });
    }

    /// How far it is, `None` when it is not reachable.
    pub(crate) fn metric(&self, address: IpAddr) -> Option<u32> {
        self.metrics.get(&address).copied().flatten()
    }

    /// How far it is now. Whether that is a change.
    pub(crate) fn set(&mut self, address: IpAddr, metric: Option<u32>) -> bool {
        self.metrics.insert(address, metric).flatten() != metric
    }

    /// Whether there are so many that it is time to [`retain`](Self::retain).
    pub(crate) fn overdue(&self) -> bool {
        self.metrics.len() >= self.sweep_at
    }

    /// Forgets the addresses that are not in `used`.
    pub(crate) fn retain(&mut self, used: &HashSet<IpAddr>) {
        let changes = &mut self.changes;
        self.metrics.retain(|address, _| {
            let keep = used.contains(address);
            if !keep {
                changes.push_back(Tracking::Stop(*address));
            }
            keep
        });
        self.sweep_at = SWEEP_FLOOR.max(2 * self.metrics.len());
    }

    /// The next change of what is tracked.
    pub(crate) fn poll(&mut self) -> Option<Tracking> {
        self.changes.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_tracked_once_and_let_go() {
        let (a, b) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let mut hops = NextHops::default();
        [a, b, a].into_iter().for_each(|address| hops.track(address));
        assert_eq!([hops.poll(), hops.poll(), hops.poll()], [Some(Tracking::Start(a)), Some(Tracking::Start(b)), None]);
        assert_eq!(hops.metric(a), None);
        assert!(hops.set(a, Some(10)) && !hops.set(a, Some(10)) && hops.set(a, Some(5)) && !hops.set(b, None));
        assert_eq!(hops.metric(a), Some(5));
        hops.retain(&[a].into());
        assert_eq!((hops.poll(), hops.poll()), (Some(Tracking::Stop(b)), None));
        hops.track(b);
        assert_eq!(hops.poll(), Some(Tracking::Start(b)));
    }

    #[test]
    fn it_is_overdue_when_it_has_doubled() {
        let mut hops = NextHops::default();
        let address = |n: u32| IpAddr::from(n.to_be_bytes());
        (0..1023).for_each(|n| hops.track(address(n)));
        assert!(!hops.overdue());
        hops.track(address(1023));
        assert!(hops.overdue());
        hops.retain(&(0..1000).map(address).collect());
        assert!(!hops.overdue());
        (0..2000).for_each(|n| hops.track(address(n)));
        assert!(hops.overdue());
    }
}

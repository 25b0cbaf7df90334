//! Adj-RIB-Out: what a neighbour was told, and which prefixes it may have to be told again.
//!
//! A prefix is queued once however often it changes, and what is sent is decided when it is taken from the queue. So a
//! slow neighbour makes nothing grow.

use super::peer::PerFamily;
use crate::attribute::Attributes;
use crate::message::Family;
use ipnet::IpNet;
use prefix_trie::joint::JointPrefixMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// What one neighbour was told.
#[derive(Debug, Default)]
pub(super) struct AdjOut {
    routes: JointPrefixMap<IpNet, Sent>,
    queues: PerFamily<VecDeque<IpNet>>,
    advertised: PerFamily<usize>,
}

/// The state of one prefix: at least one of the fields says something.
#[derive(Debug, Default)]
struct Sent {
    attributes: Option<Arc<Attributes>>,
    queued: bool,
    /// To be sent even if it has not changed.
    again: bool,
}

/// What the neighbour is to be told of a prefix.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tell {
    Nothing,
    Withdraw,
    Announce,
}

impl AdjOut {
    /// The best path of a prefix has changed. With `concerned` the neighbour may get it; without, it matters only if
    /// the neighbour has it.
    pub fn touch(&mut self, prefix: IpNet, concerned: bool) {
        let sent = match self.routes.get_mut(&prefix) {
            Some(sent) => sent,
            None if concerned => self.routes.entry(prefix).or_default(),
            None => return,
        };
        if !std::mem::replace(&mut sent.queued, true) {
            self.queues.of_mut(Family::of(&prefix)).push_back(prefix);
        }
    }

    /// Everything of a family is to be sent again (RFC 2918).
    pub fn again(&mut self, family: Family) {
        let queue = self.queues.of_mut(family);
        for (prefix, sent) in self.routes.iter_mut().filter(|(prefix, _)| Family::of(prefix) == family) {
            sent.again = true;
            if !std::mem::replace(&mut sent.queued, true) {
                queue.push_back(prefix);
            }
        }
    }

    /// Takes up to `max` prefixes of a family from the queue.
    pub fn dequeue(&mut self, family: Family, max: usize) -> Vec<IpNet> {
        let queue = self.queues.of_mut(family);
        let taken = queue.drain(..max.min(queue.len())).collect();
        if queue.is_empty() {
            queue.shrink_to(0);
        }
        taken
    }

    /// Whether prefixes of a family are queued.
    pub fn is_pending(&self, family: Family) -> bool {
        !self.queues.of(family).is_empty()
    }

    /// Notes what a prefix from the queue is to be like at the neighbour, and says what to tell it.
    pub fn settle(&mut self, prefix: IpNet, attributes: Option<Arc<Attributes>>) -> Tell {
        let Some(sent) = self.routes.get_mut(&prefix) else { return Tell::Nothing };
        sent.queued = false;
        let again = std::mem::take(&mut sent.again);
        let count = self.advertised.of_mut(Family::of(&prefix));
        match (sent.attributes.take(), attributes) {
            (None, None) => {
                self.routes.remove(&prefix);
                Tell::Nothing
            }
            (Some(_), None) => {
                self.routes.remove(&prefix);
                *count -= 1;
                Tell::Withdraw
            }
            (old, Some(new)) => {
                let same = old.as_ref().is_some_and(|old| Arc::ptr_eq(old, &new));
                *count += usize::from(old.is_none());
                sent.attributes = Some(new);
                if same && !again { Tell::Nothing } else { Tell::Announce }
            }
        }
    }

    /// The routes of a family that the neighbour has, or is to be told of, after `after`.
    pub fn advertised(
        &self,
        family: Family,
        after: Option<IpNet>,
    ) -> impl Iterator<Item = (IpNet, Option<&Arc<Attributes>>)> {
        super::after(&self.routes, family, after).map(|(prefix, sent)| (prefix, sent.attributes.as_ref()))
    }

    /// What the neighbour has of a prefix.
    pub fn sent(&self, prefix: &IpNet) -> Option<&Arc<Attributes>> {
        self.routes.get(prefix)?.attributes.as_ref()
    }

    /// How many routes of a family the neighbour has.
    pub fn count(&self, family: Family) -> usize {
        *self.advertised.of(family)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribute::NextHop;
    use std::net::IpAddr;

    const V4: Family = Family::Ipv4Unicast;

    fn net(n: u8) -> IpNet {
        IpNet::new(IpAddr::from([10, n, 0, 0]), 16).unwrap()
    }

    fn attributes(n: u8) -> Arc<Attributes> {
        Arc::new(Attributes::new(NextHop::from(IpAddr::from([10, 0, 0, n]))))
    }

    #[test]
    fn a_prefix_is_queued_once() {
        let mut out = AdjOut::default();
        [net(1), net(2), net(1)].into_iter().for_each(|prefix| out.touch(prefix, true));
        out.touch(net(3), false);
        assert!(out.is_pending(V4) && !out.is_pending(Family::Ipv6Unicast));
        assert_eq!(out.dequeue(V4, 1), [net(1)]);
        assert_eq!(out.dequeue(V4, 9), [net(2)]);
        assert!(!out.is_pending(V4));
    }

    #[test]
    fn only_differences_are_told() {
        let mut out = AdjOut::default();
        let (a, b) = (attributes(1), attributes(2));
        let mut step = |attributes: Option<&Arc<Attributes>>| {
            out.touch(net(1), true);
            assert_eq!(out.dequeue(V4, 9), [net(1)]);
            let tell = out.settle(net(1), attributes.cloned());
            (tell, out.count(V4))
        };
        assert_eq!(step(None), (Tell::Nothing, 0));
        assert_eq!(step(Some(&a)), (Tell::Announce, 1));
        assert_eq!(step(Some(&a)), (Tell::Nothing, 1));
        assert_eq!(step(Some(&b)), (Tell::Announce, 1));
        assert_eq!(step(None), (Tell::Withdraw, 0));
        assert_eq!(step(None), (Tell::Nothing, 0));
        assert_eq!(out.routes.len(), 0);
    }

    #[test]
    fn a_refresh_tells_all_again() {
        let mut out = AdjOut::default();
        let a = attributes(1);
        for n in 1..4 {
            out.touch(net(n), true);
        }
        out.dequeue(V4, 9).into_iter().for_each(|p| assert_eq!(out.settle(p, Some(a.clone())), Tell::Announce));
        out.touch(net(2), true);
        out.again(V4);
        out.again(Family::Ipv6Unicast);
        let mut all = out.dequeue(V4, 9);
        all.sort();
        assert_eq!(all, [net(1), net(2), net(3)]);
        assert_eq!(out.settle(net(1), Some(a.clone())), Tell::Announce);
        assert_eq!(out.settle(net(2), None), Tell::Withdraw);
        let left: Vec<IpNet> = out.advertised(V4, Some(net(1))).map(|(prefix, _)| prefix).collect();
        assert_eq!(left, [net(3)]);
    }
}

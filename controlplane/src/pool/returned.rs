//! Blocks that were given back, oldest first, with their last holders: those get them again, others get them last.
//!
//! So many are remembered and no more; what is put in beyond pushes the oldest one out.

use dataplane_api::IpPrefix;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

/// The blocks of a pool.
pub(super) struct Returned {
    limit: usize,
    turn: u64,
    by_turn: BTreeMap<u64, (IpPrefix, Arc<str>)>,
    by_block: HashMap<IpAddr, u64>,
    by_user: BTreeSet<(Arc<str>, u64)>,
}

impl Returned {
    /// Room for `limit` blocks.
    pub fn new(limit: usize) -> Self {
        Self { limit, turn: 0, by_turn: BTreeMap::new(), by_block: HashMap::new(), by_user: BTreeSet::new() }
    }

    /// As the newest one, whose last holder was `user`, or nobody with a name. The answer is the block that is forgotten.
    pub fn put(&mut self, p: IpPrefix, user: Arc<str>) -> Option<IpPrefix> {
        if let Some(turn) = self.by_block.get(&p.address()).copied() {
            self.take(turn);
        }
        self.turn += 1;
        self.by_turn.insert(self.turn, (p, Arc::clone(&user)));
        self.by_block.insert(p.address(), self.turn);
        if !user.is_empty() {
            self.by_user.insert((user, self.turn));
        }
        if self.len() > self.limit { self.take_oldest() } else { None }
    }

    /// What `user` had last.
    pub fn take_of(&mut self, user: &Arc<str>) -> Option<IpPrefix> {
        let all = (Arc::clone(user), 0)..=(Arc::clone(user), u64::MAX);
        let turn = self.by_user.range(all).next_back()?.1;
        self.take(turn)
    }

    /// What has been free for the longest time.
    pub fn take_oldest(&mut self) -> Option<IpPrefix> {
        let turn = *self.by_turn.first_key_value()?.0;
        self.take(turn)
    }

    fn take(&mut self, turn: u64) -> Option<IpPrefix> {
        let (p, user) = self.by_turn.remove(&turn)?;
        self.by_block.remove(&p.address());
        self.by_user.remove(&(user, turn));
        Some(p)
    }

    /// Whether it is one of them.
    pub fn has(&self, p: &IpPrefix) -> bool {
        self.by_block.contains_key(&p.address())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_turn.len()
    }

    /// All with their last holders, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &(IpPrefix, Arc<str>)> {
        self.by_turn.values()
    }

    /// Only those stay for which `keep` holds.
    pub fn retain(&mut self, keep: impl Fn(&IpPrefix) -> bool) {
        let gone: Vec<_> = self.by_turn.iter().filter(|(_, (p, _))| !keep(p)).map(|(turn, _)| *turn).collect();
        for turn in gone {
            self.take(turn);
        }
    }
}

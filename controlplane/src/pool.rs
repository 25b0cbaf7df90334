//! Address pools: IPv4 addresses, /64 link prefixes, delegated prefixes, IPv6 addresses for DHCPv6.
//!
//! One registry knows all that subscribers hold, from whatever pool or by AAA's word, and whatever overlaps with it is
//! not given to anybody else: nothing is leased twice at a time. A lease is keyed by the subscriber's name, so that one
//! who comes back gets what he had, as long as nobody else needed it (H3). One with several sessions gets the newest of
//! what he had first, from each pool, so that what a session had comes back together.
//!
//! ```text
//!              own, else forgotten, else fresh, else the oldest returned
//!                ┌──────────────────────────────────────────────┐
//!                │                                              ▼
//!  fresh    forgotten ◄── beyond the limit ── returned ◄───── held
//! ```
//!
//! Sans-IO: the owner appends the lines of [`Allocator::poll_line`] to a file, replaces it by [`Allocator::compact`]'s, and
//! gives it to [`Allocator::restore`] after a restart. What was held then was given back last.

mod log;
mod returned;

use crate::config::{PoolSet, Pools, Subscriber};
use dataplane_api::IpPrefix;
use ipnet::{IpNet, Ipv6Net};
use log::{Line, Log};
use returned::Returned;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// Who holds something: the number of a session.
pub type Holder = u32;

/// What is held; if from a pool, from which and by whose name.
struct Entry {
    prefix: IpPrefix,
    holder: Holder,
    lease: Option<(usize, Arc<str>)>,
}

/// What is held, by first address. Entries do not overlap.
#[derive(Default)]
struct Held(BTreeMap<IpAddr, Entry>);

impl Held {
    /// The entries that overlap with `p`: one that contains it, or those within it.
    fn overlapping(&self, p: &IpPrefix) -> impl Iterator<Item = &Entry> {
        let before = self.0.range(..p.address()).next_back().filter(|(_, e)| e.prefix.contains(p.address()));
        let within = self.0.range(p.address()..).take_while(|(a, _)| p.contains(**a));
        before.into_iter().chain(within).map(|(_, entry)| entry)
    }

    fn is_free(&self, p: &IpPrefix) -> bool {
        self.overlapping(p).next().is_none()
    }

    fn insert(&mut self, prefix: IpPrefix, holder: Holder, lease: Option<(usize, Arc<str>)>) {
        self.0.insert(prefix.address(), Entry { prefix, holder, lease });
    }

    /// Adds what may overlap with others: only the larger of two stays.
    fn cover(&mut self, p: IpPrefix) {
        let inner: Vec<_> = self.overlapping(&p).map(|e| e.prefix).collect();
        if inner.iter().any(|e| e.len() <= p.len()) {
            return;
        }
        for e in inner {
            self.0.remove(&e.address());
        }
        self.insert(p, 0, None);
    }
}

/// Blocks of one size cut from networks.
struct Pool {
    networks: Vec<IpNet>,
    block: u8,
    // Position of the next block that was never leased: (network, index).
    fresh: (usize, u128),
    returned: Returned,
    // Given back so long ago that nobody knows whose they were, oldest first.
    forgotten: VecDeque<IpPrefix>,
    limit: usize,
    // Met while they were held otherwise, by AAA's word or from another pool, or reserved: free again when that ends.
    passed: BTreeMap<IpAddr, IpPrefix>,
}

impl Pool {
    fn new(networks: Vec<IpNet>, block: u8, limit: usize) -> Self {
        let (returned, forgotten, passed) = (Returned::new(limit), VecDeque::new(), BTreeMap::new());
        Self { networks, block, fresh: (0, 0), returned, forgotten, limit, passed }
    }

    /// Other networks, or blocks of another size. What is new comes last, so that nobody gets what was given back, and may
    /// be asked for again, as long as there is something that nobody had.
    fn configure(&mut self, networks: Vec<IpNet>, block: u8) {
        if block != self.block {
            *self = Self::new(networks, block, self.limit);
            return;
        }
        let kept = |all: &[IpNet]| all.iter().filter(|n| networks.contains(n)).count();
        let (gone, left) = self.networks.split_at(self.fresh.0.min(self.networks.len()));
        let goes_on = left.first().is_some_and(|n| networks.contains(n));
        self.fresh = (kept(gone), if goes_on { self.fresh.1 } else { 0 });
        let new = networks.iter().copied().filter(|n| !self.networks.contains(n)).collect::<Vec<_>>();
        self.networks.retain(|n| networks.contains(n));
        self.networks.extend(new);
        let is_block = |p: &IpPrefix| is_block(&networks, block, p);
        self.returned.retain(is_block);
        self.forgotten.retain(is_block);
        self.passed.retain(|_, p| is_block(p));
    }

    /// It is one of the blocks.
    fn has(&self, p: &IpPrefix) -> bool {
        is_block(&self.networks, self.block, p)
    }

    /// What `user` had, else what was forgotten, or nobody had yet, else what has been free for the longest time.
    fn next(&mut self, user: &Arc<str>, reserved: &Held, held: &Held) -> Option<IpPrefix> {
        loop {
            let own = self.returned.take_of(user).or_else(|| self.next_unknown());
            let p = own.or_else(|| self.returned.take_oldest())?;
            if reserved.is_free(&p) && held.is_free(&p) {
                return Some(p);
            }
            self.passed.insert(p.address(), p);
        }
    }

    /// One whose last holder is not known. What was forgotten comes first, so that it does not become more and more.
    fn next_unknown(&mut self) -> Option<IpPrefix> {
        loop {
            let p = self.forgotten.pop_front().or_else(|| self.next_fresh())?;
            if !self.returned.has(&p) {
                return Some(p);
            }
        }
    }

    fn next_fresh(&mut self) -> Option<IpPrefix> {
        while let Some(net) = self.networks.get(self.fresh.0) {
            let spread = self.block.saturating_sub(net.prefix_len());
            if spread < 127 && self.fresh.1 >> spread != 0 {
                self.fresh = (self.fresh.0 + 1, 0);
                continue;
            }
            let index = self.fresh.1;
            self.fresh.1 += 1;
            if let Some(p) = block(net, self.block, index).filter(|p| !edge(net, p)) {
                return Some(p);
            }
        }
        None
    }

    fn put_back(&mut self, p: IpPrefix, user: Arc<str>) {
        self.passed.remove(&p.address());
        self.forgotten.extend(self.returned.put(p, user));
    }

    /// `p` is no longer held: what was passed because of it is free again.
    fn freed(&mut self, p: &IpPrefix, reserved: &Held, held: &Held) {
        let before = self.passed.range(..p.address()).next_back().filter(|(_, b)| b.contains(p.address()));
        let within = self.passed.range(p.address()..).take_while(|(a, _)| p.contains(**a));
        let blocks: Vec<_> = before.into_iter().chain(within).map(|(_, b)| *b).collect();
        self.free_again(blocks, reserved, held);
    }

    fn free_again(&mut self, blocks: Vec<IpPrefix>, reserved: &Held, held: &Held) {
        for b in blocks.into_iter().filter(|b| reserved.is_free(b) && held.is_free(b)) {
            self.put_back(b, Arc::default());
        }
    }
}

fn block(net: &IpNet, len: u8, index: u128) -> Option<IpPrefix> {
    match net.network() {
        IpAddr::V4(a) => {
            let offset = u32::try_from(index).ok()?.checked_shl(32 - u32::from(len))?;
            IpPrefix::new(IpAddr::V4(a.to_bits().checked_add(offset)?.into()), len)
        }
        IpAddr::V6(a) => {
            let offset = index.checked_shl(128 - u32::from(len))?;
            IpPrefix::new(IpAddr::V6(a.to_bits().checked_add(offset)?.into()), len)
        }
    }
}

fn is_block(networks: &[IpNet], len: u8, p: &IpPrefix) -> bool {
    p.len() == len && networks.iter().any(|n| n.contains(&p.address()) && !edge(n, p))
}

// Network and broadcast address of an IPv4 pool, and the subnet routers' anycast address, are left out.
fn edge(net: &IpNet, p: &IpPrefix) -> bool {
    let first = p.address() == net.network();
    match net {
        IpNet::V4(n) => p.len() == 32 && n.prefix_len() < 31 && (first || p.address() == n.broadcast()),
        IpNet::V6(n) => p.len() == 128 && n.prefix_len() < 127 && first,
    }
}

/// What a pool is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One IPv4 address.
    Ipv4,
    /// A /64 for the link.
    Ipv6,
    /// A prefix for DHCPv6.
    Delegated,
    /// An IPv6 address for DHCPv6.
    Address,
}

/// Why there is no lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No pool of that name and kind is configured.
    #[error("there is no such pool")]
    Unknown,
    /// All blocks are held.
    #[error("the pool is exhausted")]
    Exhausted,
    /// Somebody else holds it, or a part of it.
    #[error("held by session {0}")]
    Held(Holder),
    /// Our own, or another subscriber's in the embedded file.
    #[error("reserved")]
    Reserved,
}

/// All pools.
pub struct Allocator {
    pools: Vec<Pool>,
    // The default pools have an empty name.
    names: HashMap<(Kind, String), usize>,
    held: Held,
    // Never leased from a pool: fixed addresses of subscribers, our own.
    reserved: Held,
    own: Option<IpAddr>,
    limit: usize,
    log: Log,
}

impl Allocator {
    /// From the configuration; fixed addresses of subscribers and our own are never leased to others. Of each pool the
    /// last holders of `limit` blocks are remembered.
    pub fn new(config: &Pools, subscribers: &[Subscriber], local: Option<Ipv4Addr>, limit: usize) -> Self {
        let (pools, names, held, reserved) = (Vec::new(), HashMap::new(), Held::default(), Held::default());
        let mut all = Self { pools, names, held, reserved, own: None, limit, log: Log::default() };
        all.configure(config, subscribers, local);
        all
    }

    /// Other pools. What is held stays so until it is given back, and is given again only if it is still in one.
    pub fn configure(&mut self, config: &Pools, subscribers: &[Subscriber], local: Option<Ipv4Addr>) {
        let mut gone: HashSet<usize> = (0..self.pools.len()).collect();
        for (name, set) in config.sets() {
            for (kind, networks, block) in cut(&set).into_iter().filter(|(_, networks, _)| !networks.is_empty()) {
                let fresh = self.pools.len();
                let index = *self.names.entry((kind, name.to_owned())).or_insert(fresh);
                gone.remove(&index);
                match self.pools.get_mut(index) {
                    Some(pool) => pool.configure(networks, block),
                    None => self.pools.push(Pool::new(networks, block, self.limit)),
                }
            }
        }
        for (_, pool) in self.pools.iter_mut().enumerate().filter(|(i, _)| gone.contains(i)) {
            pool.configure(Vec::new(), pool.block);
        }
        let fixed = |n: Option<Ipv6Net>| n.and_then(|n| IpPrefix::new(n.network().into(), n.prefix_len()));
        let fixed4 = subscribers.iter().filter_map(|s| s.ipv4).chain(local).map(|a| IpPrefix::host(a.into()));
        let fixed6 = subscribers.iter().flat_map(|s| [fixed(s.ipv6_prefix), fixed(s.delegated)]).flatten();
        let mut reserved = Held::default();
        fixed4.chain(fixed6).for_each(|p| reserved.cover(p));
        (self.reserved, self.own) = (reserved, local.map(IpAddr::V4));
        for pool in &mut self.pools {
            let passed = pool.passed.values().copied().collect();
            pool.free_again(passed, &self.reserved, &self.held);
        }
    }

    /// Leases one block of the pool `name` (empty: the default one) to `user`, who has no name where it is empty or of
    /// several lines.
    pub fn lease(&mut self, kind: Kind, name: &str, user: &str, holder: Holder) -> Result<IpPrefix, Refused> {
        let index = *self.names.get(&(kind, name.to_owned())).ok_or(Refused::Unknown)?;
        let pool = self.pools.get_mut(index).filter(|p| !p.networks.is_empty()).ok_or(Refused::Unknown)?;
        let user: Arc<str> = if user.contains('\n') { Arc::default() } else { user.into() };
        let p = pool.next(&user, &self.reserved, &self.held).ok_or(Refused::Exhausted)?;
        self.held.insert(p, holder, Some((index, Arc::clone(&user))));
        self.note(Line { held: true, prefix: p, user });
        Ok(p)
    }

    /// Gives `holder` what AAA says it has. What is held is told with its holder, and left as it is.
    pub fn claim(&mut self, p: IpPrefix, holder: Holder) -> Result<(), Refused> {
        if self.own.is_some_and(|own| p.contains(own)) {
            return Err(Refused::Reserved);
        }
        if let Some(other) = self.held.overlapping(&p).next() {
            return Err(Refused::Held(other.holder));
        }
        self.held.insert(p, holder, None);
        Ok(())
    }

    /// Ends what `holder` has of it; nothing happens where it is not, or no longer, the holder.
    pub fn give_back(&mut self, p: IpPrefix, holder: Holder) {
        let entry = self.held.0.get(&p.address());
        if entry.is_none_or(|e| e.prefix != p || e.holder != holder) {
            return;
        }
        let lease = self.held.0.remove(&p.address()).and_then(|e| e.lease);
        if let Some((index, user)) = lease
            && let Some(pool) = self.pools.get_mut(index).filter(|pool| pool.has(&p))
        {
            pool.put_back(p, Arc::clone(&user));
            self.note(Line { held: false, prefix: p, user });
        }
        for pool in &mut self.pools {
            pool.freed(&p, &self.reserved, &self.held);
        }
    }

    /// Remembers what the lines of an earlier run say, before anything is leased. What is in no pool any more is left out,
    /// and lines that cannot be read are counted.
    pub fn restore<'a>(&mut self, lines: impl Iterator<Item = &'a str>) -> usize {
        let (mut last, mut bad) = (HashMap::new(), 0);
        for (n, line) in lines.enumerate() {
            match line.parse() {
                Ok(Line { held, prefix, user }) => drop(last.insert(prefix, (held, n, user))),
                Err(_) => bad += 1,
            }
        }
        let mut all: Vec<_> = last.into_iter().map(|(prefix, (held, n, user))| (held, n, prefix, user)).collect();
        all.sort_unstable();
        for (.., prefix, user) in all {
            for pool in self.pools.iter_mut().filter(|pool| pool.has(&prefix)) {
                // What is beyond the limit is as good as fresh.
                pool.returned.put(prefix, Arc::clone(&user));
            }
        }
        bad
    }

    fn note(&mut self, line: Line) {
        let needed = self.held.0.len() + self.pools.iter().map(|p| p.returned.len()).sum::<usize>();
        self.log.add(line, needed);
    }

    /// The next line for the file, without its end.
    pub fn poll_line(&mut self) -> Option<String> {
        self.log.poll().map(|l| l.to_string())
    }

    /// The whole file, when what there is has become much longer than it needs to be.
    pub fn compact(&mut self) -> Option<impl Iterator<Item = String> + Send + use<>> {
        self.log.is_stale().then(|| self.whole())
    }

    /// The whole file, as short as it can be. Its lines are made as they are taken, which may be elsewhere.
    pub fn whole(&mut self) -> impl Iterator<Item = String> + Send + use<> {
        let returned = self.pools.iter().flat_map(|p| p.returned.iter());
        let returned = returned.map(|(prefix, user)| (false, *prefix, user));
        let mut held: Vec<_> = self.held.0.values().filter_map(|e| Some((e, &e.lease.as_ref()?.1))).collect();
        // In the same order from each pool.
        held.sort_by_key(|(e, _)| e.holder);
        let all = returned.chain(held.into_iter().map(|(e, user)| (true, e.prefix, user)));
        let lines: Vec<_> = all.map(|(held, prefix, user)| Line { held, prefix, user: Arc::clone(user) }).collect();
        self.log.renew(lines.len());
        lines.into_iter().map(|l| l.to_string())
    }
}

fn cut(set: &PoolSet) -> [(Kind, Vec<IpNet>, u8); 4] {
    let v6 = |nets: &[Ipv6Net]| nets.iter().copied().map(IpNet::V6).collect::<Vec<_>>();
    [
        (Kind::Ipv4, set.ipv4.iter().copied().map(IpNet::V4).collect(), 32),
        (Kind::Ipv6, v6(&set.ipv6), 64),
        (Kind::Delegated, v6(&set.delegated), set.delegated_len.unwrap_or(56)),
        (Kind::Address, v6(&set.addresses), 128),
    ]
}

#[cfg(test)]
mod tests;

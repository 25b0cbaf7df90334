//! Address pools: IPv4 addresses, /64 link prefixes, delegated prefixes, IPv6 addresses for DHCPv6.
//!
//! One registry knows all that subscribers hold, from whatever pool or by AAA's word, and whatever overlaps with it is
//! not given to anybody else: nothing is leased twice at a time. A lease is keyed by the subscriber's name, so that one
//! who comes back gets what he had, as long as nobody else needed it (H3).

use crate::config::{PoolSet, Pools, Subscriber};
use dataplane_api::IpPrefix;
use ipnet::{IpNet, Ipv6Net};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};

/// Who holds something: the number of a session.
pub type Holder = u32;

/// What is held: from which pool, if from one.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry {
    prefix: IpPrefix,
    holder: Holder,
    pool: Option<usize>,
}

/// What is held, by first address. Entries do not overlap.
#[derive(Default)]
struct Held(BTreeMap<IpAddr, Entry>);

impl Held {
    /// The entries that overlap with `p`: one that contains it, or those within it.
    fn overlapping(&self, p: &IpPrefix) -> impl Iterator<Item = Entry> {
        let before = self.0.range(..p.address()).next_back().filter(|(_, e)| e.prefix.contains(p.address()));
        let within = self.0.range(p.address()..).take_while(|(a, _)| p.contains(**a));
        before.into_iter().chain(within).map(|(_, entry)| *entry)
    }

    fn is_free(&self, p: &IpPrefix) -> bool {
        self.overlapping(p).next().is_none()
    }

    fn insert(&mut self, prefix: IpPrefix, holder: Holder, pool: Option<usize>) {
        self.0.insert(prefix.address(), Entry { prefix, holder, pool });
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
    // Given back, oldest first, with the last holder's name; and where a name's last one is.
    returned: BTreeMap<u64, (IpPrefix, String)>,
    last: HashMap<String, u64>,
    turn: u64,
    // Met while they were held otherwise, by AAA's word or from another pool, or reserved: free again when that ends.
    passed: BTreeMap<IpAddr, IpPrefix>,
}

impl Pool {
    fn new(networks: Vec<IpNet>, block: u8) -> Self {
        let (returned, last, passed) = (BTreeMap::new(), HashMap::new(), BTreeMap::new());
        Self { networks, block, fresh: (0, 0), returned, last, turn: 0, passed }
    }

    /// Other networks, or blocks of another size. What is new comes last, so that nobody gets what was given back, and may
    /// be asked for again, as long as there is something that nobody had.
    fn configure(&mut self, networks: Vec<IpNet>, block: u8) {
        if block != self.block {
            let turn = self.turn;
            *self = Self { turn, ..Self::new(networks, block) };
            return;
        }
        let kept = |all: &[IpNet]| all.iter().filter(|n| networks.contains(n)).count();
        let (gone, left) = self.networks.split_at(self.fresh.0.min(self.networks.len()));
        let goes_on = left.first().is_some_and(|n| networks.contains(n));
        self.fresh = (kept(gone), if goes_on { self.fresh.1 } else { 0 });
        let new = networks.iter().copied().filter(|n| !self.networks.contains(n)).collect::<Vec<_>>();
        self.networks.retain(|n| networks.contains(n));
        self.networks.extend(new);
        let is_block = |p: &IpPrefix| networks.iter().any(|n| n.contains(&p.address()));
        self.returned.retain(|_, (p, _)| is_block(p));
        self.last.retain(|_, turn| self.returned.contains_key(turn));
        self.passed.retain(|_, p| is_block(p));
    }

    /// It is one of the blocks.
    fn has(&self, p: &IpPrefix) -> bool {
        p.len() == self.block && self.networks.iter().any(|n| n.contains(&p.address()))
    }

    /// What `user` had, else what nobody had yet, else what has been free for the longest time.
    fn next(&mut self, user: &str, reserved: &Held, held: &Held) -> Option<IpPrefix> {
        if let Some(turn) = self.last.get(user).copied()
            && let Some(p) = self.take(turn, reserved, held)
        {
            return Some(p);
        }
        while let Some(p) = self.next_fresh() {
            if reserved.is_free(&p) && held.is_free(&p) {
                return Some(p);
            }
            self.passed.insert(p.address(), p);
        }
        while let Some((turn, _)) = self.returned.first_key_value() {
            let turn = *turn;
            if let Some(p) = self.take(turn, reserved, held) {
                return Some(p);
            }
        }
        None
    }

    /// One that was given back, unless it is held otherwise meanwhile.
    fn take(&mut self, turn: u64, reserved: &Held, held: &Held) -> Option<IpPrefix> {
        let (p, user) = self.returned.remove(&turn)?;
        if self.last.get(&user) == Some(&turn) {
            self.last.remove(&user);
        }
        if reserved.is_free(&p) && held.is_free(&p) {
            return Some(p);
        }
        self.passed.insert(p.address(), p);
        None
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
            if let Some(p) = block(net, self.block, index).filter(|_| !edge(net, self.block, index)) {
                return Some(p);
            }
        }
        None
    }

    fn put_back(&mut self, p: IpPrefix, user: &str) {
        self.passed.remove(&p.address());
        self.turn += 1;
        self.returned.insert(self.turn, (p, user.to_owned()));
        if !user.is_empty() {
            self.last.insert(user.to_owned(), self.turn);
        }
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
            self.put_back(b, "");
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

// Network and broadcast address of an IPv4 pool, and the subnet routers' anycast address, are left out.
fn edge(net: &IpNet, len: u8, index: u128) -> bool {
    match net {
        IpNet::V4(n) => {
            len == 32 && n.prefix_len() < 31 && (index == 0 || index == u128::from(u32::from(n.hostmask())))
        }
        IpNet::V6(n) => len == 128 && n.prefix_len() < 127 && index == 0,
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
}

impl Allocator {
    /// From the configuration; fixed addresses of subscribers and our own are never leased to others.
    pub fn new(config: &Pools, subscribers: &[Subscriber], local: Option<Ipv4Addr>) -> Self {
        let (pools, names) = (Vec::new(), HashMap::new());
        let mut all = Self { pools, names, held: Held::default(), reserved: Held::default(), own: None };
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
                    None => self.pools.push(Pool::new(networks, block)),
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

    /// Leases one block of the pool `name` (empty: the default one) to `user`.
    pub fn lease(&mut self, kind: Kind, name: &str, user: &str, holder: Holder) -> Result<IpPrefix, Refused> {
        let index = *self.names.get(&(kind, name.to_owned())).ok_or(Refused::Unknown)?;
        let pool = self.pools.get_mut(index).filter(|p| !p.networks.is_empty()).ok_or(Refused::Unknown)?;
        let p = pool.next(user, &self.reserved, &self.held).ok_or(Refused::Exhausted)?;
        self.held.insert(p, holder, Some(index));
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
    pub fn give_back(&mut self, p: IpPrefix, user: &str, holder: Holder) {
        let entry = self.held.0.get(&p.address()).copied();
        let Some(entry) = entry.filter(|e| e.prefix == p && e.holder == holder) else { return };
        self.held.0.remove(&p.address());
        if let Some(pool) = entry.pool.and_then(|i| self.pools.get_mut(i)).filter(|pool| pool.has(&p)) {
            pool.put_back(p, user);
        }
        for pool in &mut self.pools {
            pool.freed(&p, &self.reserved, &self.held);
        }
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pools(v4: &str, v6: &str) -> Pools {
        Pools {
            ipv4: vec![v4.parse().expect("v4")],
            ipv6: vec![v6.parse().expect("v6")],
            delegated: vec!["2001:db8:f000::/55".parse().expect("pd")],
            ..Pools::default()
        }
    }

    #[test]
    fn leases_are_unique_sticky_and_end() {
        let mut a = Allocator::new(&pools("10.0.0.0/29", "2001:db8::/62"), &[], Some(Ipv4Addr::new(10, 0, 0, 1)));
        let got: Vec<_> = (0..6).map(|i| a.lease(Kind::Ipv4, "", &format!("u{i}"), i)).collect();
        // .0 and .7 are the edges, .1 is ours.
        let text: Vec<_> = got.iter().flatten().map(ToString::to_string).collect();
        assert_eq!(text, ["10.0.0.2/32", "10.0.0.3/32", "10.0.0.4/32", "10.0.0.5/32", "10.0.0.6/32"]);
        assert_eq!(got[5], Err(Refused::Exhausted));
        a.give_back(got[1].expect("leased"), "u1", 1);
        a.give_back(got[3].expect("leased"), "u3", 3);
        assert_eq!(a.lease(Kind::Ipv4, "", "u3", 7), got[3]);
        assert_eq!(a.lease(Kind::Ipv4, "", "new", 8), got[1]);
        assert_eq!(a.lease(Kind::Ipv4, "", "u1", 9), Err(Refused::Exhausted));
    }

    #[test]
    fn other_pools_leave_what_is_held() {
        let local = Some(Ipv4Addr::new(10, 0, 0, 1));
        let with = |v4: &[&str]| Pools { ipv4: v4.iter().map(|n| n.parse().unwrap()).collect(), ..Pools::default() };
        let mut a = Allocator::new(&with(&["10.0.0.0/30", "10.0.1.0/30"]), &[], local);
        let text = |r: Result<IpPrefix, Refused>| r.map(|p| p.address().to_string());
        let lease = |a: &mut Allocator, user: &str, n| text(a.lease(Kind::Ipv4, "", user, n));
        let [one, two, three] = [("a", 1), ("b", 2), ("c", 3)].map(|(user, n)| lease(&mut a, user, n).unwrap());
        assert_eq!([&*one, &*two, &*three], ["10.0.0.2", "10.0.1.1", "10.0.1.2"]);
        assert_eq!(lease(&mut a, "d", 4), Err(Refused::Exhausted));
        let host = |text: &str| IpPrefix::host(text.parse().unwrap());
        // Another network: held ones are not given again, and what somebody had is kept for him while there is a new one.
        a.give_back(host(&two), "b", 2);
        a.configure(&with(&["10.0.2.0/30", "10.0.0.0/30", "10.0.1.0/30"]), &[], local);
        assert_eq!(lease(&mut a, "d", 4).as_deref(), Ok("10.0.2.1"));
        assert_eq!(lease(&mut a, "b", 5).as_deref(), Ok("10.0.1.1"));
        // A network that is gone is held until released, and does not come back by that.
        a.configure(&with(&["10.0.2.0/30"]), &[], local);
        assert_eq!(a.claim(host(&one), 9), Err(Refused::Held(1)));
        for (p, user, n) in [(&one, "a", 1), (&two, "b", 5), (&three, "c", 3)] {
            a.give_back(host(p), user, n);
        }
        assert_eq!(lease(&mut a, "a", 6).as_deref(), Ok("10.0.2.2"));
        assert_eq!(lease(&mut a, "b", 7), Err(Refused::Exhausted));
        // None at all, and back again.
        a.configure(&with(&[]), &[], local);
        assert_eq!(lease(&mut a, "b", 7), Err(Refused::Unknown));
        a.configure(&with(&["10.0.2.0/29"]), &[], local);
        let all: Vec<_> = std::iter::from_fn(|| lease(&mut a, "e", 8).ok()).collect();
        assert_eq!(all, ["10.0.2.3", "10.0.2.4", "10.0.2.5", "10.0.2.6"]);
    }

    #[test]
    fn a_reserved_address_is_nobody_elses_from_then_on_and_until_then() {
        let fixed = |ipv4: &str| {
            let yaml = format!("{{ user: f, secret: s, ipv4: {ipv4} }}");
            vec![serde_saphyr::from_str::<Subscriber>(&yaml).unwrap()]
        };
        let pools = pools("10.0.0.0/29", "2001:db8::/64");
        let mut a = Allocator::new(&pools, &fixed("10.0.0.1"), None);
        let all = |a: &mut Allocator| {
            let got: Vec<_> = std::iter::from_fn(|| a.lease(Kind::Ipv4, "", "x", 1).ok()).collect();
            got.iter().for_each(|p| a.give_back(*p, "x", 1));
            got.into_iter().map(|p| p.address()).collect::<std::collections::BTreeSet<_>>()
        };
        let but = |n: u8| -> std::collections::BTreeSet<IpAddr> {
            (1..=6).filter(|i| *i != n).map(|i| IpAddr::from([10, 0, 0, i])).collect()
        };
        assert_eq!(all(&mut a), but(1));
        a.configure(&pools, &fixed("10.0.0.4"), None);
        assert_eq!(all(&mut a), but(4));
        a.configure(&pools, &[], None);
        assert_eq!(all(&mut a).len(), 6);
    }

    #[test]
    fn prefixes_are_cut_to_size() {
        let mut a = Allocator::new(&pools("10.0.0.0/30", "2001:db8::/62"), &[], None);
        let mut all =
            |kind| std::iter::from_fn(|| a.lease(kind, "", "x", 1).ok()).map(|p| p.to_string()).collect::<Vec<_>>();
        assert_eq!(all(Kind::Ipv6), ["2001:db8::/64", "2001:db8:0:1::/64", "2001:db8:0:2::/64", "2001:db8:0:3::/64"]);
        assert_eq!(all(Kind::Delegated), ["2001:db8:f000::/56", "2001:db8:f000:100::/56"]);
    }

    #[test]
    fn a_lease_ends_once_and_by_its_holder() {
        let mut a = Allocator::new(&pools("10.0.0.0/30", "2001:db8::/64"), &[], None);
        let l = a.lease(Kind::Ipv6, "", "x", 1).expect("one");
        a.give_back(l, "x", 2);
        assert_eq!(a.lease(Kind::Ipv6, "", "y", 2), Err(Refused::Exhausted));
        a.give_back(l, "x", 1);
        a.give_back(l, "x", 1);
        assert_eq!(a.lease(Kind::Ipv6, "", "y", 2), Ok(l));
        assert_eq!(a.lease(Kind::Ipv6, "", "z", 3), Err(Refused::Exhausted));
    }

    #[test]
    fn what_aaa_gives_is_nobody_elses() {
        let mut a = Allocator::new(&pools("10.0.0.0/29", "2001:db8::/62"), &[], Some(Ipv4Addr::new(10, 0, 0, 1)));
        let p = |text: &str| {
            let n: IpNet = text.parse().unwrap();
            IpPrefix::new(n.network(), n.prefix_len()).unwrap()
        };
        assert_eq!(a.claim(p("10.0.0.2/32"), 1), Ok(()));
        assert_eq!(a.claim(p("10.0.0.2/32"), 2), Err(Refused::Held(1)));
        assert_eq!(a.claim(p("10.0.0.0/24"), 2), Err(Refused::Reserved));
        assert_eq!(a.claim(p("2001:db8::/60"), 3), Ok(()));
        assert_eq!(a.claim(p("2001:db8:0:2::/64"), 4), Err(Refused::Held(3)));
        assert_eq!(a.claim(p("2001::/16"), 4), Err(Refused::Held(3)));
        assert_eq!(a.lease(Kind::Ipv4, "", "x", 5).unwrap(), p("10.0.0.3/32"));
        assert_eq!(a.lease(Kind::Ipv6, "", "x", 5), Err(Refused::Exhausted));
        // All four blocks were passed; they are there when they are free, whatever the length of what held them.
        a.give_back(p("2001:db8::/60"), "x", 3);
        let four: Vec<_> = std::iter::from_fn(|| a.lease(Kind::Ipv6, "", "x", 5).ok()).collect();
        assert_eq!(four.len(), 4);
        assert_eq!(a.lease(Kind::Ipv6, "other", "x", 5), Err(Refused::Unknown));
    }

    // A block that a smaller prefix of AAA's was in, and one that AAA's own block was.
    #[test]
    fn what_aaa_gives_again_and_again_takes_no_room() {
        let mut a = Allocator::new(&pools("10.0.0.0/29", "2001:db8::/63"), &[], None);
        let host = IpPrefix::host("2001:db8::5".parse().unwrap());
        let fixed = IpPrefix::host(Ipv4Addr::new(10, 0, 0, 3).into());
        for _ in 0..1000 {
            assert_eq!((a.claim(host, 1), a.claim(fixed, 1)), (Ok(()), Ok(())));
            let leases: Vec<_> = (0..8).map_while(|i| a.lease(Kind::Ipv4, "", &format!("u{i}"), 2).ok()).collect();
            let links: Vec<_> = std::iter::from_fn(|| a.lease(Kind::Ipv6, "", "x", 2).ok()).collect();
            assert_eq!((leases.len(), links.len()), (5, 1));
            a.give_back(host, "y", 1);
            a.give_back(fixed, "y", 1);
            assert_eq!(a.lease(Kind::Ipv4, "", "z", 3), Ok(fixed));
            a.give_back(fixed, "z", 3);
            leases.into_iter().chain(links).for_each(|p| a.give_back(p, "u", 2));
        }
        assert!(a.pools.iter().all(|p| p.returned.len() + p.passed.len() <= 6));
    }

    proptest! {
        // Whatever is leased, claimed and given back: no two holders overlap, and a full pool is full.
        #[test]
        fn no_duplicate_ever(steps in proptest::collection::vec((0..4u8, 0..12u32, 0..16u8), 1..200)) {
            let mut a = Allocator::new(&pools("10.0.0.0/28", "2001:db8::/61"), &[], None);
            let mut mine: Vec<(IpPrefix, u32)> = Vec::new();
            for (what, user, n) in steps {
                let name = format!("u{user}");
                let got = match what {
                    0 => a.lease(Kind::Ipv4, "", &name, user).ok(),
                    1 => a.lease(Kind::Ipv6, "", &name, user).ok(),
                    2 => {
                        let p = IpPrefix::new(Ipv4Addr::new(10, 0, 0, n).into(), 32).unwrap();
                        a.claim(p, user).ok().map(|()| p)
                    }
                    _ => {
                        if !mine.is_empty() {
                            let (p, user) = mine.swap_remove(usize::from(n) % mine.len());
                            a.give_back(p, &format!("u{user}"), user);
                        }
                        None
                    }
                };
                if let Some(p) = got {
                    prop_assert!(mine.iter().all(|(q, _)| !q.contains(p.address()) && !p.contains(q.address())));
                    mine.push((p, user));
                }
            }
        }
    }
}

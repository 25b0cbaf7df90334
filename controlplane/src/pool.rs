//! Address pools: IPv4 addresses, /64 link prefixes, delegated prefixes. A lease is keyed by the subscriber's
//! name, so that one who comes back gets what he had, as long as nobody else needed it (H3). Nothing is ever
//! leased twice at a time.

use crate::config::{Pools, Subscriber};
use dataplane_api::IpPrefix;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::collections::{HashSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};

/// Blocks of one size cut from networks.
struct Pool {
    networks: Vec<IpNet>,
    block: u8,
    // Position of the next block that was never leased: (network, index).
    fresh: (usize, u128),
    held: HashSet<IpPrefix>,
    // Given back, oldest first, with the last holder.
    returned: VecDeque<(IpPrefix, String)>,
    // Never leased from the pool: fixed addresses of subscribers, our own.
    reserved: HashSet<IpPrefix>,
    odd: Vec<IpPrefix>,
}

impl Pool {
    fn new(networks: Vec<IpNet>, block: u8, reserved: HashSet<IpPrefix>) -> Self {
        let odd = reserved.iter().filter(|p| p.len() != block).copied().collect();
        Self { networks, block, fresh: (0, 0), held: HashSet::new(), returned: VecDeque::new(), reserved, odd }
    }

    fn lease(&mut self, user: &str) -> Option<IpPrefix> {
        let mine = self.returned.iter().position(|(_, u)| u == user);
        let found = mine.and_then(|i| self.returned.remove(i)).map(|(p, _)| p);
        let lease = found.or_else(|| self.next_fresh()).or_else(|| self.returned.pop_front().map(|(p, _)| p))?;
        self.held.insert(lease);
        Some(lease)
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
            if let Some(p) = block(net, self.block, index)
                && !self.is_reserved(&p)
                && !edge(net, self.block, index)
            {
                return Some(p);
            }
        }
        None
    }

    // Reserved blocks are mostly of the pool's own size; others are compared one by one.
    fn is_reserved(&self, p: &IpPrefix) -> bool {
        let overlaps = |r: &IpPrefix| r.len() != p.len() && (r.contains(p.address()) || p.contains(r.address()));
        self.reserved.contains(p) || self.odd.iter().any(overlaps)
    }

    fn give_back(&mut self, lease: IpPrefix, user: &str) {
        if self.held.remove(&lease) {
            self.returned.push_back((lease, user.to_owned()));
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

// Network and broadcast address of an IPv4 pool are left out.
fn edge(net: &IpNet, len: u8, index: u128) -> bool {
    let IpNet::V4(n) = net else { return false };
    len == 32 && n.prefix_len() < 31 && (index == 0 || index == u128::from(u32::from(n.hostmask())))
}

/// Which pool a lease is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One IPv4 address.
    Ipv4,
    /// A /64 for the link.
    Ipv6,
    /// A prefix for DHCPv6.
    Delegated,
}

/// All pools.
pub struct Allocator {
    ipv4: Pool,
    ipv6: Pool,
    delegated: Pool,
}

impl Allocator {
    /// From the configuration; fixed addresses of subscribers and our own are never leased to others.
    pub fn new(pools: &Pools, subscribers: &[Subscriber], local: Option<Ipv4Addr>) -> Self {
        let v4 = |n: &Ipv4Net| IpNet::V4(*n);
        let v6 = |n: &Ipv6Net| IpNet::V6(*n);
        let fixed4 = subscribers.iter().filter_map(|s| s.ipv4).chain(local).map(|a| IpPrefix::host(a.into()));
        let fixed = |n: Option<Ipv6Net>| n.and_then(|n| IpPrefix::new(n.network().into(), n.prefix_len()));
        let len = pools.delegated_len.unwrap_or(56);
        Self {
            ipv4: Pool::new(pools.ipv4.iter().map(v4).collect(), 32, fixed4.collect()),
            ipv6: Pool::new(
                pools.ipv6.iter().map(v6).collect(),
                64,
                subscribers.iter().filter_map(|s| fixed(s.ipv6_prefix)).collect(),
            ),
            delegated: Pool::new(
                pools.delegated.iter().map(v6).collect(),
                len,
                subscribers.iter().filter_map(|s| fixed(s.delegated)).collect(),
            ),
        }
    }

    fn pool(&mut self, kind: Kind) -> &mut Pool {
        match kind {
            Kind::Ipv4 => &mut self.ipv4,
            Kind::Ipv6 => &mut self.ipv6,
            Kind::Delegated => &mut self.delegated,
        }
    }

    /// Leases one block to `user`; `None` when the pool is exhausted or not configured.
    pub fn lease(&mut self, kind: Kind, user: &str) -> Option<IpPrefix> {
        self.pool(kind).lease(user)
    }

    /// Ends a lease. A prefix that was not leased from the pool is ignored.
    pub fn give_back(&mut self, kind: Kind, lease: IpPrefix, user: &str) {
        self.pool(kind).give_back(lease, user);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pools(v4: &str, v6: &str) -> Pools {
        Pools {
            ipv4: vec![v4.parse().expect("v4")],
            ipv6: vec![v6.parse().expect("v6")],
            delegated: vec!["2001:db8:f000::/55".parse().expect("pd")],
            delegated_len: None,
        }
    }

    #[test]
    fn leases_are_unique_sticky_and_end() {
        let mut a = Allocator::new(&pools("10.0.0.0/29", "2001:db8::/62"), &[], Some(Ipv4Addr::new(10, 0, 0, 1)));
        let got: Vec<_> = (0..6).map(|i| a.lease(Kind::Ipv4, &format!("u{i}"))).collect();
        // .0 and .7 are the edges, .1 is ours.
        let text: Vec<_> = got.iter().flatten().map(ToString::to_string).collect();
        assert_eq!(text, ["10.0.0.2/32", "10.0.0.3/32", "10.0.0.4/32", "10.0.0.5/32", "10.0.0.6/32"]);
        assert_eq!(got[5], None);
        a.give_back(Kind::Ipv4, got[1].expect("leased"), "u1");
        a.give_back(Kind::Ipv4, got[3].expect("leased"), "u3");
        assert_eq!(a.lease(Kind::Ipv4, "u3"), got[3]);
        assert_eq!(a.lease(Kind::Ipv4, "new"), got[1]);
        assert_eq!(a.lease(Kind::Ipv4, "u1"), None);
    }

    #[test]
    fn prefixes_are_cut_to_size() {
        let mut a = Allocator::new(&pools("10.0.0.0/30", "2001:db8::/62"), &[], None);
        let links: Vec<_> = std::iter::from_fn(|| a.lease(Kind::Ipv6, "x")).map(|p| p.to_string()).collect();
        assert_eq!(links, ["2001:db8::/64", "2001:db8:0:1::/64", "2001:db8:0:2::/64", "2001:db8:0:3::/64"]);
        assert_eq!(a.lease(Kind::Delegated, "x").map(|p| p.to_string()).as_deref(), Some("2001:db8:f000::/56"));
        assert_eq!(a.lease(Kind::Delegated, "y").map(|p| p.to_string()).as_deref(), Some("2001:db8:f000:100::/56"));
        assert_eq!(a.lease(Kind::Delegated, "z"), None);
    }

    #[test]
    fn a_lease_ends_once() {
        let mut a = Allocator::new(&pools("10.0.0.0/30", "2001:db8::/64"), &[], None);
        let l = a.lease(Kind::Ipv6, "x").expect("one");
        a.give_back(Kind::Ipv6, l, "x");
        a.give_back(Kind::Ipv6, l, "x");
        assert_eq!(a.lease(Kind::Ipv6, "y"), Some(l));
        assert_eq!(a.lease(Kind::Ipv6, "z"), None);
    }
}

//! A full routing table, made up but shaped like that of the Internet, and the same every time.
//!
//! Lengths of prefixes are distributed as in the default-free zone (three in five of IPv4 are /24s, half of IPv6 are
//! /48s), IPv6 prefixes lie in some ten thousand /32s, and less than one in twenty prefixes has attributes of its own: a few large
//! origins announce most of them.

use bgp::attribute::{AsPath, Attributes, Community, NextHop};
use bgp::message::{Announcement, Family, Message, Negotiated, Update};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// Prefix lengths of IPv4 and how many of a thousand have them.
const LENGTHS_V4: [(u8, u64); 15] = [
    (24, 600),
    (23, 102),
    (22, 112),
    (21, 50),
    (20, 46),
    (19, 26),
    (18, 15),
    (17, 9),
    (16, 14),
    (15, 6),
    (14, 6),
    (13, 5),
    (12, 4),
    (11, 3),
    (10, 2),
];
/// The same of IPv6.
const LENGTHS_V6: [(u8, u64); 15] = [
    (48, 480),
    (32, 120),
    (44, 100),
    (40, 90),
    (36, 50),
    (46, 35),
    (47, 30),
    (42, 25),
    (45, 20),
    (34, 15),
    (38, 12),
    (33, 10),
    (35, 5),
    (37, 4),
    (41, 4),
];
/// First octets that are passed over: there are special-purpose addresses below them (RFC 6890).
const SPECIAL_V4: [u8; 8] = [10, 100, 127, 169, 172, 192, 198, 203];
/// The registries' blocks.
const BLOCKS_V6: [u128; 6] = [0x2000, 0x2400, 0x2600, 0x2800, 0x2a00, 0x2c00];

/// Numbers that look random (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next one.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// The next one below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.draw() % n.max(1)
    }

    fn length(&mut self, of: &[(u8, u64)]) -> u8 {
        let mut at = self.below(of.iter().map(|l| l.1).sum());
        for &(length, share) in of {
            if at < share {
                return length;
            }
            at -= share;
        }
        of[0].0
    }
}

/// Prefixes by their set of attributes.
#[derive(Clone, Debug)]
pub struct Table {
    sets: Vec<Vec<IpNet>>,
}

impl Table {
    /// With so many prefixes of each family and at most so many sets of attributes.
    pub fn new(v4: usize, v6: usize, sets: usize) -> Self {
        let mut random = Random(1);
        let mut known = HashSet::with_capacity(v4 + v6);
        let holders: Vec<u128> = (0..1 + v6 / 10)
            .map(|_| BLOCKS_V6[random.below(6) as usize] << 112 | u128::from(random.below(1 << 14)) << 96)
            .collect();
        let mut table = Self { sets: vec![Vec::new(); sets.max(1)] };
        let mut add = |random: &mut Random, prefix: IpNet| {
            let new = known.insert(prefix);
            if new {
                // The product of three: few sets are large, and most have a prefix or two.
                let at = (0..3).fold(sets as u64, |n, _| random.below(n) + 1) - 1;
                table.sets[at as usize].push(prefix);
            }
            usize::from(new)
        };
        let (mut fours, mut sixes) = (0, 0);
        while fours < v4 {
            let address = Ipv4Addr::from_bits(random.draw() as u32);
            let length = random.length(&LENGTHS_V4);
            let used = !SPECIAL_V4.contains(&address.octets()[0]) && (1..224).contains(&address.octets()[0]);
            if let (true, Ok(net)) = (used, Ipv4Net::new(address, length)) {
                fours += add(&mut random, net.trunc().into());
            }
        }
        while sixes < v6 {
            let holder = holders[random.below(holders.len() as u64) as usize];
            // Subnets are numbered from the beginning.
            let subnet = random.below(1 << 16).min(random.below(1 << 16)).min(random.below(1 << 16));
            let address = Ipv6Addr::from_bits(holder | u128::from(subnet) << 80);
            if let Ok(net) = Ipv6Net::new(address, random.length(&LENGTHS_V6)) {
                sixes += add(&mut random, net.trunc().into());
            }
        }
        table.sets.retain(|s| !s.is_empty());
        table
    }

    /// All prefixes.
    pub fn prefixes(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.sets.iter().flatten().copied()
    }

    /// How many sets of attributes there are, each counted once per family.
    pub fn sets(&self) -> usize {
        let families = |s: &Vec<IpNet>| Family::ALL.iter().filter(|f| s.iter().any(|p| Family::of(p) == **f)).count();
        self.sets.iter().map(families).sum()
    }

    /// All prefixes, each with the number of its set of attributes.
    pub fn routes(&self) -> impl Iterator<Item = (usize, IpNet)> + '_ {
        self.sets.iter().enumerate().flat_map(|(n, s)| s.iter().map(move |p| (n, *p)))
    }

    /// UPDATE messages that announce all of it, the prefixes of each set and family with their next hop, and End-of-RIB. To an
    /// internal neighbour, with this LOCAL_PREF.
    pub fn announce(&self, n: &Negotiated, preference: u32, next_hop: impl Fn(usize, Family) -> IpAddr) -> Vec<u8> {
        let mut out = Vec::new();
        for (i, prefixes) in self.sets.iter().enumerate() {
            for family in Family::ALL {
                let prefixes: Vec<IpNet> = prefixes.iter().copied().filter(|p| Family::of(p) == family).collect();
                if !prefixes.is_empty() {
                    encode(
                        n,
                        vec![Announcement { attributes: attributes(n, i, preference, next_hop(i, family)), prefixes }],
                        &mut out,
                    );
                }
            }
        }
        for family in Family::ALL {
            Message::Update(Update { end_of_rib: Some(family), ..Update::default() }).encode(n, &mut out);
        }
        out
    }

    /// UPDATE messages that withdraw all of it.
    pub fn withdraw(&self, n: &Negotiated) -> Vec<u8> {
        let mut out = Vec::new();
        for withdrawn in self.sets.chunks(64) {
            let withdrawn = withdrawn.iter().flatten().copied().collect();
            Message::Update(Update { withdrawn, ..Update::default() }).encode(n, &mut out);
        }
        out
    }

    /// The UPDATE that announces one prefix with a LOCAL_PREF of 100, or withdraws it.
    pub fn change(prefix: IpNet, next_hop: Option<IpAddr>, n: &Negotiated, out: &mut Vec<u8>) {
        match next_hop {
            Some(a) => {
                encode(n, vec![Announcement { attributes: attributes(n, 7, 100, a), prefixes: vec![prefix] }], out)
            }
            None => Message::Update(Update { withdrawn: vec![prefix], ..Update::default() }).encode(n, out),
        }
    }
}

fn encode(n: &Negotiated, announced: Vec<Announcement>, out: &mut Vec<u8>) {
    Message::Update(Update { announced, ..Update::default() }).encode(n, out);
}

/// The n-th set of attributes: an AS path of three to six, up to eight communities.
fn attributes(n: &Negotiated, set: usize, preference: u32, next_hop: IpAddr) -> Arc<Attributes> {
    let mut random = Random(set as u64 + 1000);
    let next_hop = match next_hop {
        // An IPv4 next hop of IPv6 prefixes is written as IPv4-mapped (RFC 4798); those of IPv4 prefixes are IPv6 here.
        IpAddr::V4(a) => a.to_ipv6_mapped().into(),
        v6 => v6,
    };
    let mut attributes = Attributes::new(NextHop::from(next_hop));
    let mut path = vec![if n.ibgp { 3356 } else { n.local_as }];
    path.extend((0..1 + random.below(3)).map(|_| 1000 + random.below(60_000) as u32));
    path.push(100_000 + set as u32);
    attributes.as_path = AsPath::sequence(path);
    attributes.communities = (0..random.below(9)).map(|_| Community(random.draw() as u32 % 0xffff_0000)).collect();
    attributes.med = (random.below(4) == 0).then_some(10);
    attributes.local_pref = n.ibgp.then_some(preference);
    Arc::new(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_what_was_asked_for_and_is_the_same_every_time() {
        let table = Table::new(10_000, 2500, 500);
        let count = |v4: bool| table.prefixes().filter(|p| p.addr().is_ipv4() == v4).count();
        assert_eq!((count(true), count(false)), (10_000, 2500));
        let n = Negotiated { families: Family::ALL.into(), ..Negotiated::default() };
        let next_hop = |_, _| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]);
        let again = Table::new(10_000, 2500, 500);
        assert!(table.announce(&n, 100, next_hop) == again.announce(&n, 100, next_hop));
        assert!((300..1000).contains(&table.sets()), "{}", table.sets());
    }
}

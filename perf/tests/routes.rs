//! What a neighbour announces is what workers look up: a table of 20,000 routes through control plane, publisher and
//! forwarding tables, churned, against a search for the longest prefix.

#![allow(clippy::unwrap_used, clippy::panic)]

use bgp::message::Family;
use ipnet::IpNet;
use perf::router::{self, Router, egress};
use perf::table::{Random, Table};
use std::collections::HashMap;
use std::net::IpAddr;

const ROOM: u32 = 32_768;

/// What leads where: egresses, and the routers of the configuration.
struct Wanted(HashMap<IpNet, Option<IpAddr>>);

impl Wanted {
    fn new() -> Self {
        let fixed = [
            ("192.0.2.0/24", None),
            ("10.0.0.0/24", None),
            ("2001:db8:f1::/64", None),
            ("198.18.0.0/15", Some("192.0.2.254")),
            ("2001:db8::/32", Some("2001:db8:f1::fe")),
        ];
        Self(fixed.iter().map(|(p, a)| (p.parse().unwrap(), a.map(|a| a.parse().unwrap()))).collect())
    }

    fn lookup(&self, address: IpAddr) -> Option<IpAddr> {
        let longest = (0..=if address.is_ipv4() { 32 } else { 128 }).rev();
        longest.into_iter().find_map(|len| self.0.get(&IpNet::new(address, len).unwrap().trunc())).copied().flatten()
    }
}

/// The first, the last and some address of each prefix, and those beside it.
fn probes(table: &Table, random: &mut Random) -> Vec<IpAddr> {
    let mut all = Vec::new();
    for p in table.prefixes() {
        all.extend(match p {
            IpNet::V4(p) => {
                let (first, last) = (p.network().to_bits(), p.broadcast().to_bits());
                let some = first + random.below(u64::from(last - first) + 1) as u32;
                [first.wrapping_sub(1), first, some, last, last.wrapping_add(1)].map(|a| IpAddr::V4(a.into()))
            }
            IpNet::V6(p) => {
                let (first, last) = (p.network().to_bits(), p.broadcast().to_bits());
                let some = first + (u128::from(random.draw()) << 64 | u128::from(random.draw())) % (last - first);
                [first.wrapping_sub(1), first, some, last, last.wrapping_add(1)].map(|a| IpAddr::V6(a.into()))
            }
        });
    }
    all
}

fn check(router: &Router, wanted: &Wanted, probes: &[IpAddr]) {
    for (address, found) in probes.iter().zip(router.lookup(probes)) {
        assert_eq!(found, wanted.lookup(*address), "{address}");
    }
}

#[test]
fn tables_answer_as_a_search_does_whatever_has_changed() {
    let args = ["--no-huge", "-m", "256", "--no-pci", "--no-shconf", "--no-telemetry", "--file-prefix=perf"];
    dpdk::sim::eal_with(&args).unwrap();
    let table = Table::new(16_000, 4000, 800);
    let prefixes: Vec<IpNet> = table.prefixes().collect();
    let dataplane = router::dataplane(ROOM).unwrap();
    let mut router = Router::new(router::config(ROOM, "").unwrap(), Some(dataplane)).unwrap();
    let (first, second) = (router.connect(1).unwrap(), router.connect(2).unwrap());
    let (mut random, mut wanted) = (Random(5), Wanted::new());
    let probes = probes(&table, &mut random);

    router.receive(1, &table.announce(&first.negotiated, 100, |_, family| egress(1, family)));
    wanted.0.extend(prefixes.iter().map(|p| (*p, Some(egress(1, Family::of(p))))));
    assert_eq!(router.settle(), 0);
    check(&router, &wanted, &probes);

    // Routes go, come back and move.
    for _ in 0..4 {
        let mut octets = Vec::new();
        for _ in 0..5000 {
            let prefix = prefixes[random.below(prefixes.len() as u64) as usize];
            let to = match random.below(3) {
                0 => None,
                n => Some(egress(n as u8 + 1, Family::of(&prefix))),
            };
            Table::change(prefix, to, &first.negotiated, &mut octets);
            match to {
                Some(to) => wanted.0.insert(prefix, Some(to)),
                None => wanted.0.remove(&prefix),
            };
        }
        router.receive(1, &octets);
        assert_eq!(router.settle(), 0);
        check(&router, &wanted, &probes);
    }

    // An egress is lost: its routes go, or lead to where a second neighbour says.
    router.receive(2, &table.announce(&second.negotiated, 90, |_, family| egress(4, family)));
    let lost = Family::ALL.map(|family| egress(2, family));
    router.reachable(&lost, false);
    for prefix in &prefixes {
        let other = egress(4, Family::of(prefix));
        let now = wanted.0.entry(*prefix).or_insert(Some(other));
        if now.is_some_and(|a| lost.contains(&a)) {
            *now = Some(other);
        }
    }
    assert_eq!(router.settle(), 0);
    check(&router, &wanted, &probes);

    for n in [1, 2] {
        router.receive(n, &table.withdraw(&second.negotiated));
    }
    assert_eq!(router.settle(), 0);
    check(&router, &Wanted::new(), &probes);
}

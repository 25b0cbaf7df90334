//! A full table: 1,000,000 IPv4 and 250,000 IPv6 routes from one neighbour, as UPDATE messages, sent on to another. It
//! prints what a route costs in memory and time, and fails when that is out of all proportion.

#![allow(clippy::unwrap_used, clippy::panic)]

use bgp::attribute::{AsPath, Attributes, Community, NextHop};
use bgp::message::{self, Announcement, Family, Message, Negotiated, Update};
use bgp::neighbour::NeighbourId;
use bgp::rib::{Peer, Peering, Rib, RibConfig};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

const IPV4: u32 = 1_000_000;
const IPV6: u32 = 250_000;
const SETS: u32 = 60_000;
const FROM: NeighbourId = NeighbourId(1);
const TO: NeighbourId = NeighbourId(2);

/// Octets of memory that the process has.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// /24s and /22s scattered over the unicast space, /48s and /44s in some hundred /32s; in order.
fn prefixes() -> impl Iterator<Item = IpNet> {
    let v4 = (0..IPV4).map(|i| {
        let length = if i % 4 == 0 { 22 } else { 24 };
        let address = Ipv4Addr::from_bits(0x0100_0000 + ((i * 8 + i % 4 * 2) << 8));
        IpNet::V4(Ipv4Net::new(address, length).unwrap())
    });
    let v6 = (0..IPV6).map(|i| {
        let bits = (0x2a00_u128 << 112) | (u128::from(i / 500) << 96) | (u128::from(i % 500) << 84);
        IpNet::V6(Ipv6Net::new(Ipv6Addr::from_bits(bits), if i % 8 == 0 { 44 } else { 48 }).unwrap())
    });
    v4.chain(v6)
}

fn attributes(n: u32, address: IpAddr) -> Arc<Attributes> {
    let mut attributes = Attributes::new(NextHop::from(address));
    attributes.as_path = AsPath::sequence([65001, 3000 + n % 500, 100_000 + n, 200_000 + n / 7]);
    attributes.communities = vec![Community((65001 << 16) | (n % 100)), Community((65001 << 16) | 7)];
    attributes.local_pref = Some(100);
    Arc::new(attributes)
}

fn peer(n: u8) -> Peer {
    let negotiated = Negotiated {
        local_as: 65000,
        peer_as: 65000,
        ibgp: true,
        four_octet_as: true,
        families: Family::ALL.into(),
        extended_next_hop: [(Family::Ipv4Unicast, 2)].into(),
        ..Negotiated::default()
    };
    let address = IpAddr::from([10, 255, 0, n]);
    let router_id = Ipv4Addr::new(10, 0, 0, n);
    let local = IpAddr::from([10, 255, 0, 254]);
    Peer { negotiated: Arc::new(negotiated), router_id, address, local, link_local: None }
}

/// The UPDATE messages that carry the table, IPv4 over IPv6 as in a mesh of softwires.
fn messages(next_hop: IpAddr) -> impl Iterator<Item = Vec<u8>> {
    let n = peer(1).negotiated;
    let mut prefixes = prefixes();
    let per_set = ((IPV4 + IPV6) / SETS + 1) as usize;
    (0..).map_while(move |set| {
        let prefixes: Vec<IpNet> = prefixes.by_ref().take(per_set).collect();
        let announced = vec![Announcement { attributes: attributes(set, next_hop), prefixes }];
        let mut bytes = Vec::new();
        Message::Update(Update { announced, ..Update::default() }).encode(&n, &mut bytes);
        (!bytes.is_empty()).then_some(bytes)
    })
}

/// Takes the messages of a stream one by one.
fn each_message(mut bytes: &[u8], mut take: impl FnMut(&[u8])) {
    while let Some(length) = message::frame(bytes, message::MAX_LEN).unwrap() {
        let (first, rest) = bytes.split_at(length);
        take(first);
        bytes = rest;
    }
}

fn timed<T>(what: &str, routes: usize, step: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = step();
    let took = start.elapsed();
    println!("{what}: {took:.2?}, {:.0} ns a route", took.as_nanos() as f64 / routes as f64);
    (result, took)
}

#[test]
fn a_full_table() {
    let routes = (IPV4 + IPV6) as usize;
    let next_hop: IpAddr = "2001:db8::1".parse().unwrap();
    let id = Ipv4Addr::new(10, 0, 0, 254);
    let mut rib = Rib::new(RibConfig { local_as: 65000, router_id: id, cluster_id: id, max_paths: 4 });
    rib.set_peering(FROM, Peering { client: true, ..Peering::default() });
    rib.set_peering(TO, Peering { client: true, ..Peering::default() });
    rib.up(FROM, peer(1));
    rib.set_next_hops(&[(next_hop, Some(10))]);
    let n = peer(1).negotiated;
    let before = resident();

    let (changes, loaded) = timed("made and received", routes, || {
        let mut changes = 0;
        for bytes in messages(next_hop) {
            each_message(&bytes, |bytes| {
                let Ok(Message::Update(update)) = message::decode(bytes, &n) else { panic!("not an UPDATE") };
                assert!(update.faults.is_empty());
                rib.update(FROM, &update);
                for family in Family::ALL {
                    changes += std::iter::from_fn(|| rib.poll_change(family)).count();
                }
            });
        }
        changes
    });
    assert_eq!(changes, routes);
    let received = |family| rib.counts(FROM, family).accepted;
    assert_eq!(received(Family::Ipv4Unicast) + received(Family::Ipv6Unicast), routes);
    let a_route = resident().saturating_sub(before) as f64 / routes as f64;
    println!("{routes} routes, {} sets: {a_route:.0} octets a route", rib.attribute_sets());
    assert!(a_route < 250.0, "{a_route} octets a route");

    let before = resident();
    let (sent, told) = timed("sent on", routes, || {
        rib.up(TO, peer(2));
        let (mut bytes, mut sent) = (Vec::new(), 0);
        for family in Family::ALL {
            while let Some(update) = rib.poll_update(TO, family, 4096) {
                sent += update.announced.iter().map(|a| a.prefixes.len()).sum::<usize>();
                bytes.clear();
                Message::Update(update).encode(&n, &mut bytes);
            }
        }
        sent
    });
    assert_eq!(sent, routes);
    println!("{:.0} octets a route for the second neighbour", resident().saturating_sub(before) as f64 / routes as f64);

    let (_, decided) = timed("next hop gone", routes, || rib.set_next_hops(&[(next_hop, None)]));
    let (_, gone) = timed("neighbour gone", routes, || rib.down(FROM, &BTreeSet::new()));
    let left = Family::ALL.map(|family| std::iter::from_fn(|| rib.poll_change(family)).count());
    assert_eq!(left.iter().sum::<usize>(), routes);
    assert_eq!(Family::ALL.map(|family| rib.routes(family, None).count()), [0, 0]);
    let all = loaded + told + decided + gone;
    assert!(all < Duration::from_secs(120), "{all:?}");
}

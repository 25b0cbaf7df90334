use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn prefix(s: &str) -> IpPrefix {
    let (address, len) = s.split_once('/').unwrap();
    IpPrefix::new(address.parse().unwrap(), len.parse().unwrap()).unwrap()
}

fn publisher(routes: u32, blocks: u32) -> Publisher {
    Publisher::new(1, FibSizes { routes_v4: routes, blocks_v4: blocks, routes_v6: routes, blocks_v6: blocks })
}

fn add(p: &str, hop: NextHop) -> SnapshotOp {
    SnapshotOp::RouteAdd(prefix(p), vec![hop])
}

fn del(p: &str) -> SnapshotOp {
    SnapshotOp::RouteDel(prefix(p))
}

const A: NextHop = NextHop::Blackhole;
const B: NextHop = NextHop::Unreachable;

impl Publisher {
    fn publish(&mut self, ops: &[SnapshotOp]) -> usize {
        assert!(self.quiescent());
        self.apply(ops).unwrap().len()
    }

    fn hops(&self, address: &str) -> Vec<NextHop> {
        self.shared.load().next_hops(address.parse().unwrap()).collect()
    }

    fn counted(&self) -> [[u64; 3]; 2] {
        [0, 1].map(|f| [&self.counters.routes, &self.counters.refused, &self.counters.blocks].map(|c| c[f].get()))
    }
}

#[test]
fn a_route_that_does_not_fit_is_counted_and_put_in_when_there_is_room() {
    let mut p = publisher(2, 100);
    assert_eq!(p.publish(&[add("10.0.0.0/8", A), add("10.1.0.0/16", B), add("10.2.0.0/16", B)]), 1);
    assert_eq!(p.counted()[0], [2, 1, 0]);
    assert_eq!(p.hops("10.2.0.1"), [A]);
    // The other family has room of its own; what is in may still change.
    assert_eq!(p.publish(&[add("2001:db8::/32", A), add("10.1.0.0/16", A)]), 0);
    assert_eq!((p.counted(), p.hops("10.1.0.1")), ([[2, 1, 0], [1, 0, 1]], vec![A]));
    p.publish(&[del("10.1.0.0/16")]);
    assert_eq!((p.counted()[0], p.hops("10.2.0.1")), ([2, 0, 0], vec![B]));
    // Both pairs have it.
    p.publish(&[del("10.0.0.0/8")]);
    assert_eq!((p.counted()[0], p.hops("10.2.0.1"), p.hops("10.1.0.1")), ([1, 0, 0], vec![B], vec![]));
    // One that is withdrawn before there was room does not come back.
    assert_eq!(p.publish(&[add("10.3.0.0/16", A), add("10.4.0.0/16", A), del("10.4.0.0/16")]), 1);
    p.publish(&[del("10.3.0.0/16")]);
    assert_eq!((p.counted()[0], p.hops("10.4.0.1")), ([1, 0, 0], vec![]));
}

#[test]
fn blocks_run_out_and_come_back() {
    let mut p = publisher(1000, 5);
    assert_eq!(p.publish(&[add("2001:db8:0:1::/64", A), add("2001:db8:100::/48", B)]), 1);
    assert_eq!(p.counted()[1], [1, 1, 5]);
    p.publish(&[del("2001:db8:0:1::/64")]);
    assert_eq!((p.counted()[1], p.hops("2001:db8:100::1")), ([1, 0, 3], vec![B]));
}

#[test]
fn a_thousand_subscribers_come_and_go_without_end() {
    let mut p = publisher(64, 64);
    for i in 0..10_000u32 {
        let net = format!("2001:db8:{:x}:{:x}::/64", i >> 8, i & 255);
        assert_eq!(p.publish(&[add(&net, A)]), 0, "{net}");
        p.publish(&[del(&net)]);
    }
    assert_eq!(p.counted()[1], [0, 0, 0]);
}

#[test]
fn our_addresses_follow_host_routes() {
    let mut p = publisher(64, 64);
    p.publish(&[add("192.0.2.1/32", NextHop::Local), add("2001:db8::1/128", NextHop::Local), add("192.0.2.2/32", A)]);
    let is_ours = |p: &Publisher, a: &str| p.shared.load().is_ours(a.parse().unwrap());
    assert_eq!(["192.0.2.1", "2001:db8::1", "192.0.2.2"].map(|a| is_ours(&p, a)), [true, true, false]);
    p.publish(&[add("192.0.2.1/32", A), del("2001:db8::1/128")]);
    assert_eq!(["192.0.2.1", "2001:db8::1"].map(|a| is_ours(&p, a)), [false, false]);
}

fn net(bits: u32, len: u8, v6: bool) -> IpPrefix {
    let address =
        if v6 { Ipv6Addr::from_bits(u128::from(bits) << 96).into() } else { Ipv4Addr::from_bits(bits).into() };
    IpPrefix::new(address, len).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    // Few bits of the address vary, so that prefixes lie in each other; two families have the same ones.
    #[test]
    fn whatever_comes_and_goes_the_longest_route_is_found(
        changes in prop::collection::vec((any::<u32>(), 0u8..=32, any::<(bool, bool)>(), 0u16..4), 1..60),
    ) {
        let mut p = publisher(4096, 4096);
        let mut all = BTreeMap::new();
        for &(bits, len, (v6, add), port) in &changes {
            let prefix = net(bits & 0x8381_8183, len, v6);
            let op = if add {
                all.insert(prefix, port);
                SnapshotOp::RouteAdd(prefix, vec![NextHop::Connected(PortId(port))])
            } else {
                let first = all.range(prefix..).next().map_or(prefix, |(other, _)| *other);
                all.remove(&first);
                SnapshotOp::RouteDel(first)
            };
            p.publish(&[op]);
            prop_assert_eq!(p.counted().map(|c| c[0]).iter().sum::<u64>(), all.len() as u64);
            for &(bits, _, (v6, _), _) in &changes {
                let address = net(bits & 0x8381_8183, 32, v6).address();
                let covers = all.iter().filter(|(prefix, _)| prefix.contains(address));
                let longest = covers.max_by_key(|(prefix, _)| prefix.len());
                let found: Vec<_> = p.shared.load().next_hops(address).collect();
                let wanted: Vec<_> = longest.map(|(_, port)| NextHop::Connected(PortId(*port))).into_iter().collect();
                prop_assert_eq!(found, wanted);
            }
        }
        p.publish(&all.into_keys().map(SnapshotOp::RouteDel).collect::<Vec<_>>());
        prop_assert_eq!(p.counted(), [[0; 3]; 2]);
    }
}

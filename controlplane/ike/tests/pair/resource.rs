//! Child SAs per resource (RFC 9611): as many as there are resources, whatever the link does; each rekey keeps its own.

use super::net::*;
use ike::*;
use std::collections::{BTreeSet, HashSet};

/// Ends with so many resources.
fn with(resources: [u32; 2], seed: u64, change: fn(&mut PadEntry)) -> Net {
    let [a, b] = [A, B].map(|side| {
        let mut e = entry(side);
        e.child.resources = resources[side];
        change(&mut e);
        let mut c = Config { pad: vec![e.into()], ..Config::default() };
        // Whatever a bad link does, peers are not given up.
        c.timers.tries = 12;
        c
    });
    let mut net = Net::new(a, b, seed);
    net.connect();
    net
}

fn up(resources: [u32; 2], seed: u64) -> Net {
    let mut net = with(resources, seed, |_| ());
    net.run(60);
    net
}

/// What the child SAs of a side are bound to.
fn resources(net: &Net, side: usize) -> Vec<Option<u32>> {
    let mut all: Vec<_> = net.sides[side].children.values().map(bound).collect();
    all.sort_unstable();
    all
}

/// So many child SAs and no others, the same at both ends, for the same traffic, each with the other's identifier.
fn settled(net: &Net, count: usize) {
    let [a, b] = [A, B].map(|side| &net.sides[side].children);
    assert_eq!((a.len(), b.len()), (count, count), "{:?} {:?}", resources(net, A), resources(net, B));
    let fallback = a.values().find(|c| c.resource.is_none()).unwrap();
    for child in a.values() {
        let other = &b[&child.spi_out];
        assert_eq!(other.spi_out, child.spi_in);
        assert_eq!(
            (child.suite.encr, &child.local_ts, &child.remote_ts),
            (fallback.suite.encr, &fallback.local_ts, &fallback.remote_ts)
        );
        for (own, peers) in [(child, other), (other, child)] {
            let told = peers.resource.as_ref().map(|r| r.peer.to_vec());
            assert_eq!(told, bound(own).map(|id| id.to_be_bytes().to_vec()));
        }
    }
    // Each has keys of its own.
    assert_eq!(a.values().map(|c| c.inbound.encr.to_vec()).collect::<HashSet<_>>().len(), count);
    for side in &net.sides {
        let served: BTreeSet<_> = side.children.values().map(bound).collect();
        let sends: BTreeSet<_> = side
            .selected
            .iter()
            .map(|((_, id), spi)| {
                assert_eq!(bound(&side.children[spi]), *id);
                *id
            })
            .collect();
        assert_eq!(sends, served);
        side.no_spi_is_lost();
        assert!(side.downs().is_empty());
    }
}

fn every(n: u32) -> Vec<Option<u32>> {
    std::iter::once(None).chain((0..n).map(Some)).collect()
}

#[test]
fn one_for_each_resource_and_one_for_all() {
    let net = up([2, 2], 1);
    settled(&net, 3);
    assert_eq!((resources(&net, A), resources(&net, B)), (every(2), every(2)));
    // IKE_SA_INIT, IKE_AUTH, and one exchange for each resource: B has asked for nothing.
    assert_eq!(net.log.len(), 4 + 2 * 2);
}

#[test]
fn the_end_with_more_resources_asks_for_the_rest() {
    let mut net = up([1, 4], 1);
    settled(&net, 5);
    assert_eq!((resources(&net, A), resources(&net, B)), (vec![None, Some(0), Some(0), Some(0), Some(0)], every(4)));
    net.run(1000);
    settled(&net, 5);
    let net = up([4, 1], 1);
    settled(&net, 5);
    assert_eq!(resources(&net, A), every(4));
}

#[test]
fn an_end_without_is_not_asked() {
    for who in [[0, 2], [2, 0]] {
        let net = up(who, 1);
        settled(&net, 1);
        assert_eq!(net.log.len(), 4);
        // Nor does it mind.
        net.settled();
    }
}

#[test]
fn there_is_a_limit() {
    let mut net = up([20, 2], 1);
    settled(&net, 17);
    let (said, drawn) = (net.log.len(), net.sides[A].spis.lock().unwrap().drawn);
    assert_eq!(drawn, 18, "one was refused, and then nothing was asked for");
    net.run(1000);
    assert_eq!(net.log.len(), said);
    let refused = Config {
        pad: vec![PadEntry { child: ChildPolicy { resources: 17, ..entry(A).child }, ..entry(A) }.into()],
        ..Config::default()
    };
    assert!(refused.validate().is_err());
}

#[test]
fn each_rekey_keeps_its_resource() {
    for side in [A, B] {
        let mut net = up([2, 3], 1);
        settled(&net, 4);
        for round in 0..3 {
            let before = [resources(&net, A), resources(&net, B)];
            let all: Vec<u32> = net.sides[side].children.keys().copied().collect();
            for spi in &all {
                net.ends[side].rekey_child(net.now, *spi).unwrap();
                net.run(2);
            }
            assert!(net.sides[side].children.values().all(|c| c.replaces.is_some_and(|old| all.contains(&old))));
            if round == 1 {
                rekey_ike(&mut net, 1 - side);
            }
            net.run(30);
            settled(&net, 4);
            assert_eq!([resources(&net, A), resources(&net, B)], before);
        }
    }
}

#[test]
fn both_ends_rekey_the_same_at_once() {
    let mut net = up([2, 2], 1);
    for spi in net.sides[A].children.keys().copied().collect::<Vec<_>>() {
        let other = net.sides[A].children[&spi].spi_out;
        net.ends[A].rekey_child(net.now, spi).unwrap();
        net.ends[B].rekey_child(net.now, other).unwrap();
        net.run(60);
        settled(&net, 3);
    }
    assert_eq!((resources(&net, A), resources(&net, B)), (every(2), every(2)));
}

#[test]
fn a_bad_link_only_delays() {
    for seed in 0..12 {
        let mut net = with([3, 2], seed, |e| e.child.rekey_after = Some(std::time::Duration::from_secs(300)));
        net.bad_link();
        net.run(1500);
        rekey_ike(&mut net, (seed % 2) as usize);
        net.run(1500);
        (net.loss, net.duplicate) = (0, 0);
        net.run(4000);
        // A rekey may be under way.
        let between = |net: &Net| {
            net.sides
                .iter()
                .flat_map(|s| s.children.values())
                .any(|c| c.replaces.is_some_and(|old| net.sides.iter().any(|s| s.children.contains_key(&old))))
        };
        for _ in 0..100 {
            if between(&net) {
                net.run_ms(50);
            }
        }
        // Both may have asked: an answer can take longer than the other end waits.
        let count = net.sides[A].children.len();
        settled(&net, count);
        for (side, n) in [(A, 3), (B, 2)] {
            let served: BTreeSet<_> = resources(&net, side).into_iter().collect();
            assert_eq!(served, every(n).into_iter().collect(), "seed {seed}");
        }
        assert!((4..=6).contains(&count), "{count} child SAs, seed {seed}");
    }
}

#[test]
fn with_an_additional_key_exchange() {
    let mut net = with([2, 4], 1, |e| {
        e.mlkem = true;
        e.child.esp_proposals = vec!["aes256gcm16-x25519".parse().unwrap()];
    });
    net.run(60);
    settled(&net, 5);
    let with_kem = |side: usize| net.sides[side].children.values().filter(|c| c.suite.addke1 == Some(36)).count();
    assert_eq!((with_kem(A), with_kem(B)), (4, 4));
    assert_eq!(resources(&net, B), every(4));
}

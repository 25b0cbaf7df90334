//! Whatever arrives: no panic, every packet accounted for, every buffer back.

use super::packets::*;
use super::*;
use dataplane_api::{FilterAction, FilterDirection, FilterId, FilterRule, Rate, TraceFilter, TraceSpec};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Frames that get far: valid ones, with a few octets changed or cut.
fn templates() -> Vec<Vec<u8>> {
    let inner4 = datagram("203.0.113.7", "8.8.8.8", (1, 2), &[0; 40]);
    let inner6 = syn("2001:db8:7::1", "2001:db8:aaaa::1", 1460);
    let echo = icmp("203.0.113.7", "203.0.113.1", 9, 8, &[0; 20]);
    let rs = icmp("fe80::7", "ff02::2", 255, 133, &[0; 4]);
    let mut fragment = datagram("192.0.2.9", "192.0.2.1", (500, 500), &[0; 64]);
    wire::ipv4::set_word(&mut fragment, 6, wire::ipv4::MF);
    vec![
        subscriber(&inner4),
        subscriber(&inner6),
        subscriber(&echo),
        subscriber(&rs),
        l2tp_frame(&[0xff, 3, 0xc0, 0x21, 1, 2, 3]),
        frame(0, &fragment),
        frame(0, &datagram("2001:db8:ff::9", "2001:db8:ff::1", (500, 500), &[0; 32])),
        frame(0, &datagram("192.0.2.9", "192.0.2.1", (4500, 4500), &[0x10; 64])),
        frame(1, &datagram("8.8.8.8", "203.0.113.7", (1, 2), &[0; 1440])),
        frame(1, &datagram("2001:db8:aaaa::1", "2001:db8:7::1", (1, 2), &[0; 1420])),
    ]
}

#[test]
fn garbage_is_accounted_for() {
    let mut b = Bench::new();
    throw(&mut b, 400);
    // And at a session that is confined.
    let rule = |protocol, direction, port| FilterRule {
        direction,
        protocol: Some(protocol),
        ports: Some(PortRange::one(port)),
        ..FilterRule::any(FilterAction::Permit)
    };
    b.publish(&[SnapshotOp::Filter(
        FilterId(1),
        vec![rule(17, FilterDirection::Both, 2), rule(6, FilterDirection::Up, 80)],
    )]);
    let limit = |burst| Some(Rate { bits_per_second: 8, burst });
    let rate = dataplane_api::Rates { up: limit(300), down: limit(5_000) };
    b.op(0, TableOp::SessionSet(Session { rate, filter: Some(FilterId(1)), ..session() }));
    // Whoever looks at it all.
    let filter = TraceFilter { protocol: Some(17), session: Some(session_id(0)), ..TraceFilter::default() };
    let sample = std::num::NonZeroU32::MIN;
    b.op(0, TableOp::Trace(Some(TraceSpec { trace: 1, filter, sample })));
    throw(&mut b, 400);
    let drops: Vec<_> = b.drops().into_iter().map(|d| d.0).collect();
    assert!([DropReason::Filtered, DropReason::RateUp, DropReason::RateDown].iter().all(|r| drops.contains(r)));
    // Fragments may still wait; they go with the worker.
}

fn throw(b: &mut Bench, cases: u32) {
    let templates = templates();
    let change = (any::<u16>(), any::<u8>());
    let changed = (0..templates.len(), proptest::collection::vec(change, 0..6), any::<u16>(), any::<bool>());
    let noise = proptest::collection::vec(any::<u8>(), 0..200);
    let one = prop_oneof![4 => changed.prop_map(Ok), 1 => noise.prop_map(Err)];
    let frames = proptest::collection::vec((0usize..2, one), 1..24);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let b = std::cell::RefCell::new(b);
    let run = runner.run(&frames, |frames| {
        let mut b = b.borrow_mut();
        for (port, one) in frames {
            let f = match one {
                Err(noise) => noise,
                Ok((n, changes, cut, whole)) => {
                    let mut f = templates[n].clone();
                    for (at, octet) in changes {
                        // Most changes in the headers; the checksums of the outer header are repaired below.
                        let at = usize::from(at) % f.len().min(120);
                        f[at] = octet;
                    }
                    if !whole {
                        f.truncate(usize::from(cut) % (f.len() + 1));
                    }
                    repair(&mut f);
                    f
                }
            };
            b.push(0, port, &f);
        }
        b.poll();
        b.balance();
        b.sent(0);
        b.sent(1);
        b.punts();
        b.traced();
        while b.handles[0].events.pop().is_ok() {}
        Ok(())
    });
    run.unwrap();
}

/// Without this nearly everything would end at the IPv4 header checksum.
fn repair(f: &mut [u8]) {
    if let Some(h) = f.get_mut(14..34).filter(|h| h[0] == 0x45) {
        h[10..12].fill(0);
        let sum = wire::checksum::of(h);
        h[10..12].copy_from_slice(&sum.to_be_bytes());
    }
}

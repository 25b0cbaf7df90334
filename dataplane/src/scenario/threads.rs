//! Several workers: packets find the owner of their session, and the whole thing starts and stops.

use super::packets::*;
use super::*;
use crate::runtime::{Config, start_on};
use std::time::{Duration, Instant};

#[test]
fn packets_are_handed_to_the_owner_of_the_session() {
    let mut b = Bench::with(2, Action::Bypass, 8);
    b.op(1, TableOp::SessionAdd(Session { id: session_id(1), ..session() }));
    b.publish(&[SnapshotOp::RouteAdd(prefix("203.0.113.7/32"), vec![NextHop::Session(session_id(1))])]);
    // Both directions arrive at worker 0.
    let id = session_id(1);
    let inner = datagram("203.0.113.7", "8.8.8.8", (1, 2), b"up");
    let up = l2tp_from("192.0.2.9", (1701, 1701), id.tunnel(), id.session(), &ppp(&inner));
    assert!(to_core(&b.one_through(0, &up, 1)).ends_with(b"up"));
    let down = frame(1, &datagram("8.8.8.8", "203.0.113.7", (1, 2), b"down"));
    assert!(from_session(&b.one_through(1, &down, 0)).ends_with(b"down"));
    let c = |n: usize| &b.handles[n].counters.worker;
    assert_eq!((c(0).handed_out.get(), c(1).handed_in.get(), c(1).sent.get()), (2, 2, 2));
    // ESP of the other worker's SA: handed over, and refused there.
    let spi = dataplane_api::Spi::from_slot(Slot::new(WorkerId(1), 5, 1).unwrap());
    let esp = [&spi.0.to_be_bytes()[..], &[0; 40]].concat();
    b.refused(0, &frame(0, &packet("192.0.2.9", "192.0.2.1", 50, 64, &esp)), DropReason::SaUnknown);
    assert_eq!(b.handles[1].counters.worker.dropped(DropReason::SaUnknown), 1);
    // Congestion: the ring holds 8 and nobody takes them out.
    for _ in 0..10 {
        b.push(0, 1, &down);
        b.workers[0].poll();
    }
    assert_eq!(b.handles[0].counters.worker.dropped(DropReason::HandoffFull), 2);
}

#[test]
fn threads_start_carry_traffic_and_stop() {
    let _turn = turn();
    let (pool, _) = pools();
    let (mut far, mut ports) = (Vec::new(), Vec::new());
    for name in ["th-public", "th-trusted"] {
        let (mut port, queues) = sim::port(name, 2, 127).unwrap();
        port.configure(&dpdk::PortConfig { queues: 2, ..dpdk::PortConfig::default() }, &pool).unwrap();
        port.start().unwrap();
        far.push(queues);
        ports.push(port);
    }
    let config = Config { workers: vec![0, 1], sessions: 16, routes: 256, ring_depth: 64, ..Config::default() };
    let mut running = start_on(&config, pool, ports).unwrap();
    assert_eq!(running.macs.len(), 2);
    assert!(running.publisher.publish_and_wait(world(Action::Bypass)).is_empty());
    running.workers[0].ops.push((1, TableOp::SessionAdd(session()))).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let applied = |r: &crate::Running| r.workers[0].counters.worker.applied.load(std::sync::atomic::Ordering::Acquire);
    while applied(&running) < 1 && Instant::now() < deadline {
        std::thread::yield_now();
    }
    // Into either worker's queue; out of either worker's queue.
    let f = subscriber(&datagram("203.0.113.7", "8.8.8.8", (1, 2), b"x"));
    for queue in &mut far[0] {
        queue.push(pool.alloc_with(&f).unwrap()).unwrap();
    }
    let mut got = 0;
    while got < 2 && Instant::now() < deadline {
        got += far[1].iter_mut().filter_map(SimQueue::pop).count();
        std::thread::yield_now();
    }
    assert_eq!(got, 2);
    // Changes while traffic flows.
    for _ in 0..5 {
        let errors = running.publisher.publish_and_wait(vec![SnapshotOp::RouteDel(prefix("10.66.0.0/16"))]);
        assert!(errors.is_empty());
    }
    running.stop();
    drop(running);
    drop(far);
    assert_eq!(pool.in_use(), 0);
}

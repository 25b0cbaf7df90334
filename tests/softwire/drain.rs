//! Drains, and what the management plane is told of what happens.

use crate::fabric::{Fabric, SERVER};
use crate::{SECOND, address6, client, complete, dead, packet, yaml};
use controlplane::northbound::{DrainInfo, DrainMode, DrainOrder, DrainState, Event, Query};
use std::net::Ipv6Addr;
use std::time::Duration;

fn order(f: &mut Fabric, order: Option<DrainOrder>) -> DrainInfo {
    f.ask(|to| Query::SetDrain(order, to))
}

fn kinds(f: &Fabric) -> Vec<&'static str> {
    f.events.iter().map(Event::kind).collect()
}

fn count(f: &Fabric, kind: &str) -> usize {
    f.events.iter().filter(|e| e.kind() == kind).count()
}

fn counter(f: &mut Fabric, name: &str) -> u64 {
    f.ask(Query::Counters).control[name]
}

#[test]
fn a_life_is_told_in_order() {
    let mut f = Fabric::new(&yaml(2, "  child_rekey: 20s\n"), 0.0);
    f.add(client(0));
    assert!(f.run(10 * SECOND, |f| complete(f, 0)));
    assert_eq!(kinds(&f), ["ike.up", "child.up", "session.up"]);
    f.run(30 * SECOND, |_| false);
    assert!(f.events.iter().any(|e| matches!(e, Event::ChildRekeyed(c) if c.replaces.is_some())), "{:?}", f.events);
    assert_eq!(count(&f, "child.down"), 0, "what a rekey replaces is no news");
    let own = address6(&f, 0).unwrap();
    f.clients[0].initiator.handle_inner(f.now, &packet(own, SERVER.parse().unwrap(), b"up"));
    f.run(SECOND, |_| false);
    f.events.clear();
    f.clients[0].initiator.close(f.now);
    assert!(f.run(30 * SECOND, |f| f.gateway.is_idle()));
    let position = |kind: &str| kinds(&f).iter().position(|k| *k == kind).unwrap_or_else(|| panic!("{:?}", f.events));
    assert!(position("session.down") < position("ike.down") && count(&f, "child.down") >= 1);
    let Event::SessionDown(s) = &f.events[position("session.down")] else { panic!() };
    assert_eq!(
        (s.user.as_deref(), s.ike_id.as_deref(), s.listener.as_str()),
        (Some("u0"), Some("u0@example.net"), "secure")
    );
    assert!(s.in_octets > 0 && s.seconds >= 30 && s.reason.is_some(), "{s:?}");
}

#[test]
fn who_is_refused_is_told() {
    let mut f = Fabric::new(&yaml(1, ""), 0.0);
    let mut wrong = client(0);
    wrong.ppp.credentials.as_mut().unwrap().secret = ppp::Secret::new(b"not the secret".to_vec());
    f.add(wrong);
    f.run(20 * SECOND, |_| false);
    assert!(count(&f, "session.reject") == 1 && count(&f, "session.up") == 0 && count(&f, "session.down") == 0);
    let mut stranger = client(0);
    stranger.local = [198, 18, 0, 77].into();
    let mut pad = (**stranger.ike.as_ref().unwrap()).clone();
    pad.local_auth = ike::auth::LocalAuth::psk(b"not the key");
    stranger.ike = Some(std::sync::Arc::new(pad));
    f.add(stranger);
    f.run(20 * SECOND, |_| false);
    let failed = f.events.iter().any(|e| matches!(e, Event::IkeFailed(i) if i.remote.is_some() && i.reason.is_some()));
    assert!(failed, "{:?}", f.events);
}

#[test]
fn a_drain_that_refuses_lets_nobody_in_and_disturbs_nobody() {
    let mut f = Fabric::new(&yaml(2, ""), 0.0);
    f.add(client(0));
    assert!(f.run(30 * SECOND, |f| complete(f, 0)));
    let info = order(&mut f, Some(DrainOrder::Refuse));
    assert_eq!(
        (info.state, info.mode, info.sessions_left, info.peers_left),
        (DrainState::Draining, Some(DrainMode::Refuse), 1, 1)
    );
    f.add(client(1));
    f.run(20 * SECOND, |_| false);
    assert!(f.clients[1].events.is_empty() && f.sessions.len() == 1, "{:?}", f.clients[1].events);
    let refused = counter(&mut f, "drain.ike");
    assert!(refused > 0 && f.ask(Query::Drain).refused == refused);
    // Who is there stays, with what it has, and through rekeys.
    let (own, far): (_, Ipv6Addr) = (address6(&f, 0).unwrap(), SERVER.parse().unwrap());
    f.clients[0].initiator.handle_inner(f.now, &packet(own, far, b"up"));
    f.run(SECOND, |_| false);
    assert!(f.core.iter().any(|p| p.ends_with(b"up")) && dead(&f, 0).is_none());
    f.clients[0].initiator.close(f.now);
    assert!(f.run(30 * SECOND, |f| f.gateway.is_idle()));
    assert_eq!(f.ask(Query::Drain).state, DrainState::Drained);
    assert_eq!((count(&f, "drain.start"), count(&f, "drain.done")), (1, 1));
    assert!(f.ask(Query::Pulse).draining);
    assert_eq!(order(&mut f, None).state, DrainState::Off);
    f.clients.remove(1);
    f.add(client(1));
    assert!(f.run(30 * SECOND, |f| complete(f, 1)), "{:?}", f.clients[1].events);
    let lines: Vec<_> = f.audit.iter().filter(|r| r.reason.contains("drain")).map(|r| r.reason.as_str()).collect();
    assert_eq!(lines, ["drain: Refuse", "drain ended"]);
}

// RFC 2661, section 4.4.2: general error, try another.
#[test]
fn a_tunnel_in_the_clear_is_told_to_try_another() {
    let clear = yaml(1, "").replace("name: secure,", "name: open, protection: none, anonymous: true,");
    let mut f = Fabric::new(&clear, 0.0);
    order(&mut f, Some(DrainOrder::Refuse));
    let mut anonymous = client(0);
    anonymous.ike = None;
    f.add(anonymous);
    assert!(f.run(5 * SECOND, |f| dead(f, 0).is_some()), "{:?}", f.clients[0].events);
    assert!(dead(&f, 0).unwrap().contains("result 2, error 7"), "{:?}", dead(&f, 0));
    assert!(f.sessions.is_empty() && counter(&mut f, "l2tp.draining") > 0);
    assert_eq!(f.ask(Query::Drain).state, DrainState::Drained);
}

// H47: StopCCN goes before the SAs; and the gateway's peers, their RADIUS servers and journals get it evenly.
#[test]
fn a_teardown_is_even_and_in_order() {
    const N: usize = 40;
    let mut f = Fabric::new(&yaml(N, ""), 0.0);
    for i in 0..N {
        f.add(client(i));
    }
    assert!(f.run(60 * SECOND, |f| (0..N).all(|i| complete(f, i))));
    f.events.clear();
    let info = order(&mut f, Some(DrainOrder::Teardown(20 * SECOND)));
    assert_eq!((info.state, info.sessions_left), (DrainState::Draining, N));
    let mut gone = Vec::new();
    for _ in 0..20 {
        f.run(SECOND, |_| false);
        gone.push(N - f.sessions.len());
    }
    // Two in a second, no more than a few off for those that are on their way.
    for (i, n) in gone.iter().enumerate() {
        let even = 2 * (i + 1);
        assert!(n.abs_diff(even) <= 3, "after {} s: {n} are gone, not {even}: {gone:?}", i + 1);
    }
    f.run(5 * SECOND, |f| f.gateway.is_idle());
    assert!(f.gateway.is_idle() && f.routes.is_empty());
    assert_eq!(f.ask(Query::Drain).state, DrainState::Drained);
    assert_eq!((count(&f, "session.down"), count(&f, "ike.down")), (N, N));
    assert_eq!((kinds(&f)[0], kinds(&f).last().copied()), ("drain.start", Some("drain.done")));
    for i in 0..N {
        let id = format!("u{i}@example.net");
        let session =
            f.events.iter().position(|e| matches!(e, Event::SessionDown(s) if s.ike_id.as_ref() == Some(&id)));
        let peer = f.events.iter().position(|e| matches!(e, Event::IkeDown(p) if p.id.as_ref() == Some(&id)));
        assert!(session.unwrap() < peer.unwrap(), "{id}");
        // It heard the L2TP message, not only that the SAs are gone.
        assert!(dead(&f, i).is_some_and(|why| why.contains("L2TP") || why.contains("PPP")), "{:?}", dead(&f, i));
    }
}

#[test]
fn a_teardown_at_once_ends_who_is_on_the_way_in_as_well() {
    const N: usize = 20;
    let mut f = Fabric::new(&yaml(N, ""), 0.0);
    for i in 0..N / 2 {
        f.add(client(i));
    }
    assert!(f.run(60 * SECOND, |f| (0..N / 2).all(|i| complete(f, i))));
    for i in N / 2..N {
        f.add(client(i));
    }
    // In the middle of their exchanges.
    f.run(Duration::from_millis(15), |_| false);
    order(&mut f, Some(DrainOrder::Teardown(Duration::ZERO)));
    f.run(120 * SECOND, |f| f.gateway.is_idle());
    assert!(f.gateway.is_idle() && f.sessions.is_empty() && f.routes.is_empty(), "{:?}", f.ask(Query::Drain));
    assert_eq!(f.ask(Query::Drain).state, DrainState::Drained);
    assert!((0..N / 2).all(|i| dead(&f, i).is_some()));
}

#[test]
fn a_drain_that_ends_leaves_the_rest_alone() {
    const N: usize = 20;
    let mut f = Fabric::new(&yaml(N, ""), 0.0);
    for i in 0..N {
        f.add(client(i));
    }
    assert!(f.run(60 * SECOND, |f| (0..N).all(|i| complete(f, i))));
    order(&mut f, Some(DrainOrder::Teardown(20 * SECOND)));
    f.run(10 * SECOND, |_| false);
    order(&mut f, None);
    f.run(30 * SECOND, |_| false);
    let left = f.sessions.len();
    assert!((8..=12).contains(&left), "{left} of {N} are left");
    assert_eq!((0..N).filter(|i| dead(&f, *i).is_none()).count(), left);
}

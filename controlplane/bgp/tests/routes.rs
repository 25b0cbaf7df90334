//! Two and three speakers: how routes travel.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use bgp::attribute::{Attributes, NextHop};
use bgp::message::{Family, Message, Notification, RouteRefresh};
use bgp::neighbour::{FamilyConfig, NeighbourConfig};
use bgp::rib::{Counts, PathKind};
use bgp::session::{MaxPrefix, MaxPrefixAction};
use bgp::speaker::{DownReason, Event, Stop, Warning};
use common::raw::{Raw, open};
use common::{SECOND, Sim, address, external, internal, net, speaker_config};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);
const V4: Family = Family::Ipv4Unicast;

fn prefixes(sim: &mut Sim, node: usize, numbers: std::ops::Range<u32>) {
    numbers.for_each(|n| sim.originate(node, &format!("10.{}.{}.0/24", n / 256, n % 256)));
}

fn refresh(subtype: u8) -> impl Fn(&Message) -> bool {
    move |message| *message == Message::RouteRefresh(RouteRefresh { family: V4, subtype })
}

/// How often prefixes were announced.
fn announcements(sim: &Sim, from: usize, to: usize) -> usize {
    let prefixes = |message: &Message| match message {
        Message::Update(update) => update.announced.iter().map(|a| a.prefixes.len()).sum(),
        _ => 0,
    };
    sim.sent.iter().filter(|s| (s.from, s.to) == (from, to)).map(|s| prefixes(&s.message)).sum()
}

fn limited(limit: u32, action: MaxPrefixAction) -> NeighbourConfig {
    let mut config = internal();
    let max_prefix = Some(MaxPrefix { limit, warn_percent: 80, action });
    config.families.insert(V4, FamilyConfig { required: false, max_prefix });
    config
}

/// RFC 8212.
#[test]
fn external_neighbours_exchange_nothing_without_a_policy() {
    let bare = || {
        let mut config = external();
        (config.peering.import, config.peering.export) = (None, None);
        config
    };
    let mut sim = Sim::pair(1, [65000, 65001], [bare(), external()]);
    sim.originate(0, "10.0.0.0/8");
    sim.originate(1, "11.0.0.0/8");
    sim.bring_up(0, 1);
    assert!(!sim.has(0, "11.0.0.0/8") && !sim.has(1, "10.0.0.0/8"));
    let id = sim.id(0, 1);
    assert_eq!(sim.nodes[0].speaker.rib().counts(id, V4), Counts { received: 1, accepted: 0, advertised: 0 });
    sim.neighbour(0, 1, external());
    sim.run(2 * SECOND);
    assert!(sim.has(0, "11.0.0.0/8") && sim.has(1, "10.0.0.0/8"));
    let best = &sim.nodes[1].fib[&net("10.0.0.0/8")][0];
    assert_eq!((best.kind, best.next_hop, best.attributes.as_path.length()), (PathKind::External, address(0), 1));
}

#[test]
fn a_full_mesh_does_not_pass_internal_routes_on_and_a_reflector_does() {
    for reflector in [false, true] {
        let mut sim = Sim::new(1);
        (0..3).for_each(|_| _ = sim.add(65000));
        let mut client = internal();
        client.peering.client = reflector;
        sim.neighbour(0, 1, client.clone());
        sim.neighbour(0, 2, client);
        sim.neighbour(1, 0, internal());
        sim.neighbour(2, 0, internal());
        let next_hop = "2001:db8:ff::1".parse::<Ipv6Addr>().unwrap();
        let attributes = Attributes::new(NextHop::from(IpAddr::V6(next_hop)));
        sim.with(1, |speaker, now| speaker.originate(now, net("10.0.0.0/8"), attributes));
        sim.bring_up(0, 1);
        sim.bring_up(0, 2);
        assert!(sim.has(0, "10.0.0.0/8"));
        assert_eq!(sim.has(2, "10.0.0.0/8"), reflector);
        if reflector {
            let best = &sim.nodes[2].fib[&net("10.0.0.0/8")][0];
            assert_eq!(best.next_hop, IpAddr::V6(next_hop), "IPv4 over IPv6, unchanged (RFC 8950, RFC 4456)");
            assert_eq!(best.attributes.originator_id, Some([10, 0, 0, 2].into()));
            assert_eq!(best.attributes.cluster_list, [std::net::Ipv4Addr::from([10, 0, 0, 1])]);
        } else {
            [(1, 2), (2, 1)].into_iter().for_each(|(a, b)| _ = sim.neighbour(a, b, internal()));
            sim.bring_up(1, 2);
            assert!(sim.has(2, "10.0.0.0/8"));
        }
    }
}

#[test]
fn routes_through_an_unreachable_next_hop_are_not_used() {
    let mut sim = Sim::pair(1, [65000; 2], [internal(), internal()]);
    sim.nodes[0].unreachable.insert(address(1));
    sim.originate(1, "10.0.0.0/8");
    sim.bring_up(0, 1);
    assert!(!sim.has(0, "10.0.0.0/8"));
    sim.with(0, |speaker, now| speaker.next_hop_changed(now, address(1), Some(20)));
    sim.run(SECOND);
    assert!(sim.has(0, "10.0.0.0/8"));
    sim.with(0, |speaker, now| speaker.next_hop_changed(now, address(1), None));
    sim.run(SECOND);
    assert!(!sim.has(0, "10.0.0.0/8"));
}

#[test]
fn too_many_prefixes_warn_or_end_the_session() {
    let mut sim = Sim::pair(1, [65000; 2], [limited(10, MaxPrefixAction::Warn), internal()]);
    prefixes(&mut sim, 1, 0..20);
    sim.bring_up(0, 1);
    assert_eq!(sim.nodes[0].fib.len(), 20);
    let warned = |event: &Event| matches!(event, Event::Warning { warning: Warning::Prefixes { limit: 10, .. }, .. });
    assert!(sim.nodes[0].events.iter().any(warned));

    let restart = Some(300 * SECOND);
    let mut sim = Sim::pair(1, [65000; 2], [limited(10, MaxPrefixAction::TearDown { restart }), internal()]);
    prefixes(&mut sim, 1, 0..10);
    sim.bring_up(0, 1);
    let id = sim.id(0, 1);
    assert_eq!(sim.nodes[0].fib.len(), 10);
    prefixes(&mut sim, 1, 10..11);
    sim.run(SECOND);
    let why = Notification::hard_reset(&Notification::maximum_prefixes(V4, 10));
    let down = Event::Down { neighbour: id, reason: DownReason::Sent(why), stale: BTreeSet::new() };
    assert!(sim.nodes[0].events.contains(&down));
    assert!(sim.nodes[0].fib.is_empty());
    assert_eq!(sim.nodes[0].speaker.neighbour(id).unwrap().stop, Some(Stop::MaxPrefix(V4)));
    sim.withdraw(1, "10.0.10.0/24");
    sim.run(295 * SECOND);
    assert!(!sim.is_up(0, 1));
    assert!(sim.run_until(150 * SECOND, |sim| sim.is_up(0, 1)));
}

#[test]
fn a_neighbour_with_too_many_prefixes_may_wait_for_the_operator() {
    let config = limited(10, MaxPrefixAction::TearDown { restart: None });
    let mut sim = Sim::pair(1, [65000; 2], [config, internal()]);
    prefixes(&mut sim, 1, 0..11);
    sim.run(MINUTE * 60);
    assert!(!sim.is_up(0, 1) && sim.nodes[0].fib.is_empty());
    assert_eq!(sim.nodes[0].speaker.neighbours().next().unwrap().established, 1);
    sim.withdraw(1, "10.0.0.0/24");
    let id = sim.id(0, 1);
    sim.with(0, |speaker, now| speaker.clear(now, id, "", false));
    sim.bring_up(0, 1);
    assert_eq!(sim.nodes[0].fib.len(), 10);
}

/// RFC 7313: the answer to a ROUTE-REFRESH stands between BoRR and EoRR.
#[test]
fn routes_are_asked_for_and_sent_again() {
    let mut sim = Sim::pair(1, [65000; 2], [internal(), internal()]);
    prefixes(&mut sim, 1, 0..1000);
    sim.bring_up(0, 1);
    assert_eq!(announcements(&sim, 1, 0), 1000);
    let id = sim.id(0, 1);
    assert!(sim.with(0, |speaker, now| speaker.soft_refresh_in(now, id, V4)));
    sim.run(2 * SECOND);
    let counts = |sim: &Sim| {
        [RouteRefresh::REQUEST, RouteRefresh::BORR, RouteRefresh::EORR]
            .map(|subtype| (sim.count(0, 1, refresh(subtype)), sim.count(1, 0, refresh(subtype))))
    };
    assert_eq!(counts(&sim), [(1, 0), (0, 1), (0, 1)]);
    assert_eq!(announcements(&sim, 1, 0), 2000);
    let last = sim.sent.iter().rfind(|s| s.from == 1 && s.message != Message::KeepAlive).unwrap();
    assert!(refresh(RouteRefresh::EORR)(&last.message));
    assert_eq!(sim.nodes[0].fib.len(), 1000);

    let id = sim.id(1, 0);
    sim.with(1, |speaker, now| speaker.soft_refresh_out(now, id, V4));
    sim.run(2 * SECOND);
    assert_eq!(counts(&sim), [(1, 0), (0, 1), (0, 1)], "nobody asked");
    assert_eq!(announcements(&sim, 1, 0), 3000);
}

/// What is not sent again between BoRR and EoRR was lost somewhere, and goes.
#[test]
fn a_refresh_sweeps_what_it_does_not_contain() {
    let now = Instant::now();
    let mut speaker = bgp::speaker::Speaker::new(now, speaker_config(0, 65000), Box::new(StdRng::seed_from_u64(1)));
    let id = speaker.set_neighbour(now, address(1), NeighbourConfig { passive: true, ..internal() });
    let mut raw = Raw::establish(&mut speaker, now, 1, open(65000, 1));
    let announce = |prefixes: &[&str]| {
        let mut attributes = Attributes::new(NextHop::from(address(1)));
        attributes.local_pref = Some(100);
        Message::Update(bgp::message::Update {
            announced: vec![bgp::message::Announcement {
                attributes: attributes.into(),
                prefixes: prefixes.iter().map(|p| net(p)).collect(),
            }],
            ..bgp::message::Update::default()
        })
    };
    let mark = |subtype| Message::RouteRefresh(RouteRefresh { family: V4, subtype });
    let known = |speaker: &bgp::speaker::Speaker| -> Vec<String> {
        speaker.routes_in(id, V4, None).map(|(prefix, _)| prefix.to_string()).collect()
    };
    raw.say(&mut speaker, now, &announce(&["10.0.0.0/8", "11.0.0.0/8", "12.0.0.0/8"]));
    assert_eq!(known(&speaker), ["10.0.0.0/8", "11.0.0.0/8", "12.0.0.0/8"]);
    let after: Vec<_> = speaker.routes_in(id, V4, Some(net("11.0.0.0/8"))).map(|(prefix, _)| prefix).collect();
    assert_eq!(after, [net("12.0.0.0/8")]);
    raw.say(&mut speaker, now, &mark(RouteRefresh::EORR));
    assert_eq!(known(&speaker).len(), 3, "an EoRR without BoRR");
    raw.say(&mut speaker, now, &mark(RouteRefresh::BORR));
    raw.say(&mut speaker, now, &announce(&["11.0.0.0/8"]));
    assert_eq!(known(&speaker).len(), 3);
    raw.say(&mut speaker, now, &mark(RouteRefresh::EORR));
    assert_eq!(known(&speaker), ["11.0.0.0/8"]);

    // A BoRR without end.
    raw.say(&mut speaker, now, &mark(RouteRefresh::BORR));
    let mut later = now;
    for _ in 0..8 {
        common::raw::pass(&mut speaker, &mut later, 50);
        raw.say(&mut speaker, later, &Message::KeepAlive);
    }
    assert!(known(&speaker).is_empty() && !raw.closed);
}

/// A neighbour that does not read costs no memory, however often routes change, and in the end gets the last state.
#[test]
fn a_slow_neighbour_gets_the_last_state_only() {
    let mut sim = Sim::pair(1, [65000; 2], [internal(), internal()]);
    prefixes(&mut sim, 0, 0..20_000);
    sim.bring_up(0, 1);
    let before = announcements(&sim, 0, 1);
    assert_eq!(before, 20_000);
    sim.nodes[1].reads = false;
    for round in 0..20u32 {
        for n in 0..20_000u32 {
            let mut attributes = Attributes::new(NextHop::from(IpAddr::from([0, 0, 0, 0])));
            attributes.med = Some(round);
            let prefix = net(&format!("10.{}.{}.0/24", n / 256, n % 256));
            sim.with(0, |speaker, now| speaker.originate(now, prefix, attributes));
        }
        sim.run(SECOND / 10);
    }
    sim.nodes[1].reads = true;
    sim.run(10 * SECOND);
    assert!(sim.nodes[1].fib.len() == 20_000);
    assert!(sim.nodes[1].fib.values().all(|best| best[0].attributes.med == Some(19)));
    let sent = announcements(&sim, 0, 1) - before;
    assert!((20_000..60_000).contains(&sent), "{sent} of 400,000 changes");
    assert!(sim.is_up(0, 1));
}

//! Graceful restart (RFC 4724, RFC 8538): both sides of it.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use bgp::message::{Capability, Family, Message, Notification};
use bgp::neighbour::{GracefulRestart, NeighbourConfig};
use bgp::speaker::{DownReason, Event, SpeakerConfig, Warning};
use common::{SECOND, Sent, Sim, internal, net, speaker_config};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const P: &str = "10.1.0.0/16";
const Q: &str = "10.2.0.0/16";
const V6: &str = "2001:db8::/32";

fn established() -> Sim {
    let mut sim = Sim::pair(1, [65000; 2], [internal(), internal()]);
    [P, Q, V6].into_iter().for_each(|prefix| sim.originate(1, prefix));
    sim.bring_up(0, 1);
    assert!(sim.has(0, P) && sim.has(0, Q) && sim.has(0, V6));
    sim
}

fn restarted(n: usize) -> SpeakerConfig {
    SpeakerConfig { restarted: Some(MINUTE), ..speaker_config(n, 65000) }
}

fn last_down(sim: &Sim, node: usize) -> Event {
    sim.nodes[node].events.iter().rev().find(|event| matches!(event, Event::Down { .. })).unwrap().clone()
}

/// Prefixes that the node was told to stop forwarding.
fn lost(sim: &Sim, node: usize) -> Vec<String> {
    let gone = |event: &Event| match event {
        Event::Route(change) if change.best.is_empty() => Some(change.prefix.to_string()),
        _ => None,
    };
    sim.nodes[node].events.iter().filter_map(gone).collect()
}

fn end_of_rib(family: Family) -> impl Fn(&Message) -> bool {
    move |message| matches!(message, Message::Update(update) if update.end_of_rib == Some(family))
}

#[test]
fn end_of_rib_follows_the_first_routes_of_each_family() {
    let sim = established();
    for (from, to) in [(0, 1), (1, 0)] {
        for family in Family::ALL {
            assert_eq!(sim.count(from, to, end_of_rib(family)), 1);
        }
    }
    let position = |wanted: &dyn Fn(&Message) -> bool| {
        sim.sent.iter().position(|s: &Sent| s.from == 1 && wanted(&s.message)).unwrap()
    };
    let route = position(&|m| matches!(m, Message::Update(u) if u.announced.iter().any(|a| a.prefixes == [net(V6)])));
    assert!(route < position(&end_of_rib(Family::Ipv6Unicast)));
}

#[test]
fn the_routes_of_a_restarting_peer_stay_and_those_it_no_longer_has_go_with_end_of_rib() {
    let mut sim = established();
    sim.restart(1, restarted(1), false);
    sim.run(10 * SECOND);
    let stale = Family::ALL.into();
    assert_eq!(last_down(&sim, 0), Event::Down { neighbour: sim.id(0, 1), reason: DownReason::Tcp, stale });
    assert!(sim.has(0, P) && sim.has(0, Q) && sim.has(0, V6));
    assert_eq!(sim.nodes[0].speaker.neighbours().next().unwrap().stale.len(), 2);
    assert!(sim.nodes[0].speaker.rib().route(&net(P)).unwrap().paths()[0].is_stale());

    sim.neighbour(1, 0, internal());
    sim.originate(1, P);
    sim.originate(1, V6);
    sim.bring_up(0, 1);
    sim.run(MINUTE);
    assert_eq!(lost(&sim, 0), [Q]);
    assert!(sim.nodes[0].speaker.neighbours().next().unwrap().stale.is_empty());
    assert!(!sim.nodes[0].speaker.rib().route(&net(P)).unwrap().paths()[0].is_stale());
}

#[test]
fn stale_routes_go_when_the_peer_does_not_come_back() {
    let mut sim = established();
    sim.restart(1, restarted(1), false);
    sim.run(119 * SECOND);
    assert!(sim.has(0, P) && lost(&sim, 0).is_empty());
    sim.run(2 * SECOND);
    assert_eq!(lost(&sim, 0).len(), 3);
    let warned = |event: &&Event| matches!(event, Event::Warning { warning: Warning::StaleDeleted(_), .. });
    assert_eq!(sim.nodes[0].events.iter().filter(warned).count(), 2);
}

/// A peer that comes back without its forwarding state (F is clear).
#[test]
fn forwarding_state_that_was_lost_is_not_relied_upon() {
    let mut sim = established();
    sim.restart(1, speaker_config(1, 65000), false);
    sim.neighbour(1, 0, internal());
    assert!(sim.run_until(MINUTE, |sim| sim.is_up(0, 1)));
    sim.run(SECOND);
    assert_eq!(lost(&sim, 0).len(), 3);
}

/// The other side did not notice that the connection is dead: the new OPEN says it (RFC 4724, section 4.2).
#[test]
fn a_new_open_of_a_restarted_peer_ends_the_old_session_silently() {
    let mut sim = established();
    sim.restart(1, restarted(1), true);
    sim.neighbour(1, 0, internal());
    [P, Q, V6].into_iter().for_each(|prefix| sim.originate(1, prefix));
    assert!(sim.run_until(10 * SECOND, |sim| sim.is_up(0, 1)
        && sim.nodes[0].speaker.neighbours().next().unwrap().established == 2));
    sim.run(MINUTE);
    let Event::Down { reason, stale, .. } = last_down(&sim, 0) else { panic!() };
    assert_eq!((reason, stale.len()), (DownReason::Replaced, 2));
    assert!(lost(&sim, 0).is_empty() && sim.is_up(0, 1));
}

/// A peer that restarts again before it has announced everything: what was stale already goes.
#[test]
fn a_second_restart_keeps_only_what_came_between() {
    let mut sim = established();
    sim.restart(1, restarted(1), false);
    // It waits for another neighbour before it sends End-of-RIB.
    let third = sim.add(65000);
    sim.neighbour(1, 0, internal());
    sim.neighbour(1, third, internal());
    sim.originate(1, P);
    assert!(sim.run_until(MINUTE / 2, |sim| sim.is_up(0, 1)));
    assert!(lost(&sim, 0).is_empty());
    sim.restart(1, restarted(1), false);
    sim.run(SECOND);
    let mut gone = lost(&sim, 0);
    gone.sort();
    assert_eq!(gone, [P, Q, V6]);
}

#[test]
fn a_notification_keeps_routes_only_if_both_sides_agreed_on_that() {
    let plain = || {
        let restart = GracefulRestart { notification: false, ..GracefulRestart::default() };
        NeighbourConfig { graceful_restart: Some(restart), ..internal() }
    };
    // Our configuration, theirs, hard, whether routes are kept.
    for (ours, theirs, hard, kept) in [
        (internal(), internal(), false, true),
        (internal(), internal(), true, false),
        (plain(), internal(), false, false),
        (internal(), plain(), false, false),
    ] {
        let mut sim = Sim::pair(1, [65000; 2], [ours, theirs]);
        sim.originate(1, P);
        sim.bring_up(0, 1);
        let id = sim.id(1, 0);
        sim.with(1, |speaker, now| speaker.clear(now, id, "", hard));
        sim.run(SECOND / 2);
        assert_eq!(lost(&sim, 0).is_empty(), kept, "{}", sim.story());
        let Event::Down { reason: DownReason::Received(why), .. } = last_down(&sim, 0) else { panic!() };
        let reset = Notification::administrative_reset("");
        assert_eq!(why, if hard { Notification::hard_reset(&reset) } else { reset });
        sim.bring_up(0, 1);
        assert!(sim.has(0, P));
    }
}

#[test]
fn without_the_capability_nothing_is_kept() {
    let off = NeighbourConfig { graceful_restart: None, ..internal() };
    let mut sim = Sim::pair(1, [65000; 2], [off, internal()]);
    [P, V6].into_iter().for_each(|prefix| sim.originate(1, prefix));
    sim.bring_up(0, 1);
    assert_eq!(sim.count(1, 0, end_of_rib(Family::Ipv4Unicast)), 0);
    sim.reset(0, 1);
    sim.run(SECOND / 10);
    assert_eq!(lost(&sim, 0).len(), 2);
}

/// Our own restart: nothing is programmed or advertised until both neighbours have sent End-of-RIB.
#[test]
fn a_restarted_speaker_waits_for_its_neighbours() {
    let mut sim = Sim::new(3);
    (0..3).for_each(|_| _ = sim.add(65000));
    let mesh = |sim: &mut Sim| {
        [(0, 1), (1, 0), (0, 2), (2, 0)].into_iter().for_each(|(a, b)| _ = sim.neighbour(a, b, internal()));
    };
    mesh(&mut sim);
    sim.originate(1, P);
    sim.originate(2, V6);
    sim.originate(0, Q);
    sim.bring_up(0, 1);
    sim.bring_up(0, 2);
    assert!(sim.has(0, P) && sim.has(0, V6) && sim.has(1, Q));

    sim.partition(0, 2);
    sim.restart(0, SpeakerConfig { restarted: Some(MINUTE * 2), ..restarted(0) }, false);
    sim.nodes[0].events.clear();
    let sent = sim.sent.len();
    mesh(&mut sim);
    sim.originate(0, Q);
    assert!(sim.run_until(MINUTE / 2, |sim| sim.is_up(0, 1)));
    sim.run(40 * SECOND);
    let says_restarting = |sent: &Sent| match &sent.message {
        Message::Open(open) => {
            let r = |c: &Capability| matches!(c, Capability::GracefulRestart { restarting: true, .. });
            open.capabilities.iter().any(r)
        }
        _ => false,
    };
    assert!(sim.sent[sent..].iter().any(|s| (s.from, s.to) == (0, 1) && says_restarting(s)));
    let update = |s: &Sent| s.from == 0 && matches!(s.message, Message::Update(_));
    assert!(!sim.sent[sent..].iter().any(update), "nothing is advertised yet");
    assert!(!sim.nodes[0].events.iter().any(|event| matches!(event, Event::Route(_))), "nothing is programmed yet");
    assert!(sim.has(1, Q), "the neighbour keeps what was");

    sim.heal(0, 2);
    sim.bring_up(0, 2);
    assert!(sim.has(0, P) && sim.has(0, V6));
    let converged = |family| sim.nodes[0].events.iter().position(|event| *event == Event::Converged { family });
    let route = sim.nodes[0].events.iter().rposition(|event| matches!(event, Event::Route(c) if c.prefix == net(V6)));
    assert!(converged(Family::Ipv4Unicast).is_some() && route < converged(Family::Ipv6Unicast));
    assert!(lost(&sim, 1).is_empty() && sim.count(0, 1, end_of_rib(Family::Ipv4Unicast)) == 2);
    assert!(sim.now - sim.start < MINUTE * 2, "before the Selection_Deferral_Timer");
}

#[test]
fn a_restarted_speaker_does_not_wait_for_ever() {
    let mut sim = established();
    let third = sim.add(65000);
    sim.restart(0, restarted(0), false);
    sim.neighbour(0, 1, internal());
    sim.neighbour(0, third, internal());
    sim.run(58 * SECOND);
    assert!(sim.is_up(0, 1) && !sim.has(0, P));
    sim.run(3 * SECOND);
    assert!(sim.has(0, P) && sim.has(0, V6));
    assert!(sim.nodes[0].events.contains(&Event::Converged { family: Family::Ipv4Unicast }));
}

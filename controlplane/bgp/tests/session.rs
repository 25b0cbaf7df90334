//! Two speakers: how sessions come and go.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use bgp::fsm::State;
use bgp::message::{Message, Notification, Role};
use bgp::neighbour::{Backoff, ListenRange, NeighbourConfig, RemoteAs};
use bgp::speaker::{DownReason, Event, Speaker, Warning};
use common::raw::{Raw, open};
use common::{SECOND, Sim, address, external, internal, net, speaker_config};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

fn downs(sim: &Sim, node: usize) -> Vec<DownReason> {
    let reason = |event: &Event| match event {
        Event::Down { reason, .. } => Some(reason.clone()),
        _ => None,
    };
    sim.nodes[node].events.iter().filter_map(reason).collect()
}

fn failures(sim: &Sim, node: usize) -> Vec<DownReason> {
    let reason = |event: &Event| match event {
        Event::Warning { warning: Warning::Failed(reason), .. } => Some(reason.clone()),
        _ => None,
    };
    sim.nodes[node].events.iter().filter_map(reason).collect()
}

fn only(notification: Notification) -> impl Fn(&Message) -> bool {
    move |message| *message == Message::Notification(notification.clone())
}

#[test]
fn a_session_comes_up_carries_routes_and_stays() {
    let mut sim = Sim::pair(1, [65000; 2], [internal(), internal()]);
    sim.loss = 10;
    sim.originate(0, "10.0.0.0/8");
    sim.originate(1, "2001:db8::/32");
    sim.bring_up(0, 1);
    assert!(sim.run_until(MINUTE, |sim| sim.has(1, "10.0.0.0/8") && sim.has(0, "2001:db8::/32")));
    sim.run(MINUTE * 60);
    assert!(sim.is_up(0, 1) && sim.connections() == 1);
    assert!(downs(&sim, 0).is_empty() && downs(&sim, 1).is_empty());
    // A keepalive each 22.5 to 30 seconds (a third of the hold time, jittered).
    let keepalives = sim.count(0, 1, |m| *m == Message::KeepAlive);
    assert!((120..=165).contains(&keepalives), "{keepalives}");
    sim.withdraw(0, "10.0.0.0/8");
    assert!(sim.run_until(MINUTE, |sim| !sim.has(1, "10.0.0.0/8")));
}

/// Both connect at once, over a bad link: one connection is left, and it is the same on both sides.
#[test]
fn collisions_leave_one_connection() {
    let (mut collided, mut flaps) = (0, 0);
    for seed in 0..40 {
        let mut sim = Sim::pair(seed, [65000; 2], [internal(), internal()]);
        sim.loss = 4;
        sim.originate(0, "10.0.0.0/8");
        sim.bring_up(0, 1);
        sim.run(MINUTE * 10);
        assert!(sim.is_up(0, 1) && sim.has(1, "10.0.0.0/8"), "seed {seed}\n{}", sim.story());
        assert_eq!(sim.connections(), 1, "seed {seed}");
        assert_eq!(sim.nodes[0].speaker.connections(), 1, "seed {seed}");
        assert_eq!(sim.nodes[1].speaker.connections(), 1, "seed {seed}");
        flaps += downs(&sim, 0).len().max(downs(&sim, 1).len());
        let collision = only(Notification::connection_collision());
        collided += sim.count(0, 1, &collision) + sim.count(1, 0, &collision);
    }
    assert!(collided > 20, "only {collided} collisions");
    // A KEEPALIVE may pass before the better connection comes, on a link that is this bad.
    assert!(flaps <= 8, "{flaps}");
}

/// Our connection has got as far as our OPEN when the peer's OPEN comes on the one that it opened: the identifiers
/// decide at once (RFC 4271, section 6.8).
#[test]
fn of_two_connections_the_one_of_the_higher_identifier_stays() {
    for (peer, incoming_stays) in [(2, true), (0, false)] {
        let now = Instant::now();
        // The speaker is 10.0.0.2, its neighbour 10.0.0.3 or 10.0.0.1.
        let mut speaker = Speaker::new(now, speaker_config(1, 65000), Box::new(StdRng::seed_from_u64(1)));
        let id = speaker.set_neighbour(now, address(peer), internal());
        let Some(Event::Connect(ours)) = speaker.poll_event() else { panic!() };
        speaker.connected(now, ours.conn, SocketAddr::new(address(1), 40_000));
        while speaker.poll_transmit(now, ours.conn).is_some() {}
        let mut raw = Raw::connect(&mut speaker, now, peer);
        raw.listen(&mut speaker, now);
        let mut octets = Vec::new();
        Message::Open(open(65000, peer)).encode(&raw.negotiated, &mut octets);
        speaker.received(now, raw.conn, &octets);
        let events = raw.listen(&mut speaker, now);
        let closed: Vec<_> =
            events.iter().filter_map(|e| if let Event::Close { conn, .. } = e { Some(*conn) } else { None }).collect();
        assert_eq!(closed, [if incoming_stays { ours.conn } else { raw.conn }]);
        let state = speaker.neighbour(id).unwrap().state;
        assert_eq!(state, if incoming_stays { State::OpenConfirm } else { State::OpenSent });
        assert_eq!(raw.notification().is_some(), !incoming_stays);
        if incoming_stays {
            raw.say(&mut speaker, now, &Message::KeepAlive);
            assert_eq!(speaker.neighbour(id).unwrap().state, State::Established);
        }
    }
}

/// What has gone wrong before is forgotten with a session that lasts.
#[test]
fn a_stable_session_ends_the_back_off() {
    let mut sim = Sim::pair(1, [65000; 2], [internal(), NeighbourConfig { passive: true, ..internal() }]);
    let last_attempts = |sim: &mut Sim| {
        sim.nodes[0].events.clear();
        sim.reset(0, 1);
        sim.run(5 * SECOND);
        sim.nodes[0].events.iter().filter(|event| matches!(event, Event::Connect(_))).count()
    };
    sim.partition(0, 1);
    sim.run(MINUTE * 10);
    sim.heal(0, 1);
    sim.bring_up(0, 1);
    sim.nodes[0].events.clear();
    sim.partition(0, 1);
    sim.reset(0, 1);
    sim.run(30 * SECOND);
    let attempts = sim.nodes[0].events.iter().filter(|event| matches!(event, Event::Connect(_))).count();
    assert!(attempts >= 3, "{attempts}: the ConnectRetryTimer starts anew");
    sim.heal(0, 1);
    sim.bring_up(0, 1);
    for _ in 0..8 {
        sim.reset(0, 1);
        sim.bring_up(0, 1);
    }
    assert_eq!(last_attempts(&mut sim), 0, "held in Idle");
    sim.bring_up(0, 1);
    sim.run(MINUTE * 10);
    assert!(last_attempts(&mut sim) >= 1);
}

#[test]
fn one_side_may_be_passive_but_not_both() {
    let passive = || NeighbourConfig { passive: true, ..internal() };
    let mut sim = Sim::pair(1, [65000; 2], [passive(), internal()]);
    sim.bring_up(0, 1);
    assert!(!sim.nodes[0].events.iter().any(|event| matches!(event, Event::Connect(_))));

    let mut sim = Sim::pair(1, [65000; 2], [passive(), passive()]);
    sim.run(MINUTE * 10);
    assert!(!sim.is_up(0, 1));
    assert_eq!(sim.nodes[0].speaker.neighbours().next().unwrap().state, State::Active);
}

#[test]
fn the_hold_timer_ends_a_session_that_has_gone_silent() {
    let short = || NeighbourConfig { hold_time: 9, graceful_restart: None, ..internal() };
    let mut sim = Sim::pair(1, [65000; 2], [short(), internal()]);
    sim.originate(0, "10.0.0.0/8");
    sim.bring_up(0, 1);
    sim.partition(0, 1);
    sim.run(5 * SECOND);
    assert!(sim.is_up(0, 1) && sim.has(1, "10.0.0.0/8"));
    sim.run(5 * SECOND);
    let expired = DownReason::Sent(Notification::hold_timer_expired());
    assert_eq!((downs(&sim, 0), downs(&sim, 1)), (vec![expired.clone()], vec![expired]));
    assert!(!sim.has(1, "10.0.0.0/8"));
    sim.run(MINUTE * 5);
    sim.heal(0, 1);
    sim.bring_up(0, 1);
    assert!(sim.has(1, "10.0.0.0/8"));
}

#[test]
fn a_hold_time_of_zero_needs_no_keepalives() {
    let never = NeighbourConfig { hold_time: 0, ..internal() };
    let mut sim = Sim::pair(1, [65000; 2], [never, internal()]);
    sim.bring_up(0, 1);
    let before = sim.sent.len();
    sim.run(MINUTE * 60);
    assert!(sim.is_up(0, 1));
    assert_eq!(sim.sent.len(), before);
}

/// The OPEN of the side with DelayOpen comes second.
#[test]
fn delay_open_waits_for_the_peers_open() {
    let delay = NeighbourConfig { delay_open: Some(20 * SECOND), passive: true, ..internal() };
    let mut sim = Sim::pair(1, [65000; 2], [delay, internal()]);
    assert!(sim.run_until(10 * SECOND, |sim| sim.is_up(0, 1)));
    let opens: Vec<_> = sim.sent.iter().filter(|s| matches!(s.message, Message::Open(_))).map(|s| s.from).collect();
    assert_eq!(opens, [1, 0]);

    // Both delay: the timer decides.
    let delay = || NeighbourConfig { delay_open: Some(20 * SECOND), ..internal() };
    let mut sim = Sim::pair(1, [65000; 2], [NeighbourConfig { passive: true, ..delay() }, delay()]);
    assert!(!sim.run_until(15 * SECOND, |sim| sim.is_up(0, 1)));
    assert!(sim.run_until(15 * SECOND, |sim| sim.is_up(0, 1)));
}

/// An attempt that cannot succeed is repeated, but less and less often.
#[test]
fn a_wrong_as_is_refused_and_tried_less_and_less() {
    let wrong = NeighbourConfig { remote_as: RemoteAs::Exactly(65002), ..external() };
    let mut sim = Sim::pair(1, [65000, 65001], [wrong, NeighbourConfig { passive: true, ..external() }]);
    sim.run(MINUTE * 10);
    let first = failures(&sim, 0).len();
    assert!(failures(&sim, 0).iter().all(|f| *f == DownReason::Sent(Notification::bad_peer_as())));
    assert!(failures(&sim, 1).iter().all(|f| *f == DownReason::Received(Notification::bad_peer_as())));
    assert!((5..20).contains(&first), "{first}");
    sim.run(MINUTE * 60);
    let later = failures(&sim, 0).len() - first;
    // Every 90 to 120 seconds, and twice that when the other side is still in Idle.
    assert!((15..=40).contains(&later), "{later} in an hour");
}

/// Nobody listens: the connection is tried less and less often, too.
#[test]
fn a_refused_connection_is_tried_less_and_less() {
    let mut sim = Sim::new(1);
    (0..2).for_each(|_| _ = sim.add(65000));
    sim.neighbour(0, 1, internal());
    sim.run(MINUTE * 60);
    let attempts = sim.nodes[0].events.iter().filter(|event| matches!(event, Event::Connect(_))).count();
    assert!((30..=50).contains(&attempts), "{attempts}");
}

#[test]
fn roles_that_do_not_correspond_are_refused() {
    let role = |role| {
        let mut config = external();
        config.peering.role = Some(role);
        config
    };
    let mut sim = Sim::pair(1, [65000, 65001], [role(Role::Provider), role(Role::Customer)]);
    sim.bring_up(0, 1);
    assert_eq!(sim.nodes[0].speaker.neighbours().next().unwrap().peer_role, Some(Role::Customer));

    let mut sim = Sim::pair(1, [65000, 65001], [role(Role::Provider), role(Role::Peer)]);
    sim.run(MINUTE);
    assert!(!sim.is_up(0, 1));
    assert!(
        failures(&sim, 0)
            .iter()
            .chain(&failures(&sim, 1))
            .any(|f| { *f == DownReason::Sent(Notification::role_mismatch()) })
    );
}

/// RFC 9003, in the Hard Reset that RFC 8538 asks for.
#[test]
fn an_operator_shuts_down_and_starts_again() {
    let mut sim = Sim::pair(1, [65000; 2], [internal(), internal()]);
    sim.originate(0, "10.0.0.0/8");
    sim.bring_up(0, 1);
    let id = sim.id(0, 1);
    sim.with(0, |speaker, now| speaker.disable(now, id, "new power supply"));
    sim.run(SECOND);
    let why = Notification::hard_reset(&Notification::administrative_shutdown("new power supply"));
    assert_eq!(downs(&sim, 1), [DownReason::Received(why)]);
    assert!(!sim.has(1, "10.0.0.0/8"));
    sim.run(MINUTE * 10);
    assert!(!sim.is_up(0, 1) && sim.connections() == 0);
    assert_eq!(sim.nodes[0].speaker.neighbour(id).unwrap().state, State::Idle);
    sim.with(0, |speaker, now| speaker.enable(now, id));
    sim.bring_up(0, 1);
    assert!(sim.has(1, "10.0.0.0/8"));
}

#[test]
fn an_operator_clears_a_session() {
    let mut sim = Sim::pair(1, [65000; 2], [internal(), internal()]);
    sim.bring_up(0, 1);
    let id = sim.id(0, 1);
    sim.with(0, |speaker, now| speaker.clear(now, id, "tidying up", false));
    sim.run(SECOND / 2);
    assert_eq!(downs(&sim, 1), [DownReason::Received(Notification::administrative_reset("tidying up"))]);
    assert!(sim.run_until(20 * SECOND, |sim| sim.is_up(0, 1)));
    assert_eq!(sim.nodes[0].speaker.neighbour(id).unwrap().established, 2);
}

#[test]
fn bfd_ends_a_session_at_once() {
    let mut sim = Sim::pair(1, [65000; 2], [internal(), internal()]);
    sim.bring_up(0, 1);
    let id = sim.id(0, 1);
    sim.with(0, |speaker, now| speaker.bfd_down(now, id));
    sim.run(SECOND / 2);
    assert_eq!(downs(&sim, 0), [DownReason::Sent(Notification::bfd_down())]);
    sim.bring_up(0, 1);
}

#[test]
fn a_configuration_change_resets_only_what_it_must() {
    let mut sim = Sim::pair(1, [65000; 2], [internal(), internal()]);
    sim.originate(1, "10.0.0.0/8");
    sim.bring_up(0, 1);
    let mut config = internal();
    config.idle_hold = Backoff { initial: SECOND, max: MINUTE };
    config.peering.import =
        Some(std::sync::Arc::new(bgp::policy::Policy { rules: Vec::new(), otherwise: bgp::policy::Verdict::Reject }));
    sim.neighbour(0, 1, config);
    sim.run(SECOND);
    assert!(sim.is_up(0, 1) && downs(&sim, 0).is_empty());
    assert!(!sim.has(0, "10.0.0.0/8"), "the policy holds at once");

    sim.neighbour(0, 1, NeighbourConfig { hold_time: 30, ..internal() });
    sim.run(SECOND);
    assert_eq!(downs(&sim, 0), [DownReason::Sent(Notification::other_configuration_change())]);
    sim.bring_up(0, 1);
    assert_eq!(sim.nodes[1].speaker.neighbours().next().unwrap().negotiated.unwrap().hold_time, 30);

    let id = sim.id(0, 1);
    assert!(sim.with(0, |speaker, now| speaker.remove_neighbour(now, id)));
    sim.run(SECOND);
    let why = Notification::hard_reset(&Notification::peer_deconfigured());
    assert_eq!(downs(&sim, 1).last(), Some(&DownReason::Received(why)));
    assert_eq!(sim.nodes[0].speaker.connections(), 0);
    assert!(!sim.with(0, |speaker, now| speaker.remove_neighbour(now, id)));
}

#[test]
fn neighbours_out_of_a_range_come_and_go() {
    let mut sim = Sim::new(1);
    (0..4).for_each(|_| _ = sim.add(65000));
    let range = ListenRange { prefix: net("192.0.2.0/24"), neighbour: internal(), max: 2 };
    sim.nodes[0].speaker.set_listen_range(range);
    for n in 1..4 {
        sim.neighbour(n, 0, NeighbourConfig { graceful_restart: None, ..internal() });
        sim.run(MINUTE);
    }
    assert!(sim.is_up(1, 0) && sim.is_up(2, 0) && !sim.is_up(3, 0));
    assert_eq!(sim.nodes[0].speaker.neighbours().filter(|view| view.range.is_some()).count(), 2);
    let id = sim.id(1, 0);
    sim.with(1, |speaker, now| speaker.disable(now, id, ""));
    sim.run(SECOND);
    assert_eq!(sim.nodes[0].speaker.neighbour_at(address(1)), None);
    assert!(sim.run_until(MINUTE * 3, |sim| sim.is_up(3, 0)));
    sim.with(0, |speaker, now| speaker.remove_listen_range(now, net("192.0.2.0/24")));
    sim.run(MINUTE);
    assert_eq!(sim.nodes[0].speaker.neighbours().count(), 0);
    assert_eq!(sim.nodes[0].speaker.connections(), 0);
}

/// RFC 9687: the neighbour sends keepalives, but reads nothing.
#[test]
fn the_send_hold_timer_ends_a_session_whose_peer_does_not_read() {
    let config = NeighbourConfig { send_hold: Some(40 * SECOND), ..internal() };
    let mut sim = Sim::pair(1, [65000; 2], [config, internal()]);
    sim.bring_up(0, 1);
    sim.nodes[1].reads = false;
    for n in 0..20_000 {
        sim.originate(0, &format!("10.0.{}.{}/32", n / 256, n % 256));
    }
    sim.run(35 * SECOND);
    assert!(sim.is_up(0, 1));
    sim.run(10 * SECOND);
    assert_eq!(downs(&sim, 0), [DownReason::Sent(Notification::send_hold_timer_expired())]);
}

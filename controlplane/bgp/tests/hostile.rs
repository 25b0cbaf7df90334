//! Peers that break the rules: only their own session suffers.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use bgp::fsm::State;
use bgp::message::{Family, Message, Notification, Open, RouteRefresh};
use bgp::neighbour::{NeighbourConfig, NeighbourId};
use bgp::speaker::{Event, Refused, Speaker};
use common::raw::{Raw, open, pass};
use common::{address, external, internal, speaker_config};
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A speaker with two passive neighbours; the first session is established by one that behaves.
fn with_good_peer(now: Instant) -> (Speaker, Raw, NeighbourId, NeighbourId) {
    let mut speaker = Speaker::new(now, speaker_config(0, 65000), Box::new(StdRng::seed_from_u64(1)));
    let passive = || NeighbourConfig { passive: true, ..internal() };
    let good = speaker.set_neighbour(now, address(1), passive());
    let bad = speaker.set_neighbour(now, address(2), passive());
    let raw = Raw::establish(&mut speaker, now, 1, open(65000, 1));
    assert_eq!(speaker.neighbour(good).unwrap().state, State::Established);
    (speaker, raw, good, bad)
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = (19 + body.len() as u16).to_be_bytes();
    [&[0xff; 16][..], &length, &[kind], body].concat()
}

/// Octets that look like BGP to a degree.
fn garbage() -> impl Strategy<Value = Vec<u8>> {
    let noise = prop::collection::vec(any::<u8>(), 0..300);
    let framed = (0u8..8, prop::collection::vec(any::<u8>(), 0..120)).prop_map(|(kind, body)| message(kind, &body));
    let attributes = prop::collection::vec((any::<u8>(), 0u8..40, prop::collection::vec(any::<u8>(), 0..20)), 0..6);
    let update = (attributes, prop::collection::vec(any::<u8>(), 0..20)).prop_map(|(attributes, nlri)| {
        let mut list = Vec::new();
        for (flags, code, value) in attributes {
            list.extend([flags & !0x10, code, value.len() as u8]);
            list.extend(value);
        }
        let body = [&[0, 0][..], &(list.len() as u16).to_be_bytes(), &list, &nlri].concat();
        message(2, &body)
    });
    prop_oneof![noise, framed, update]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn garbage_harms_its_own_session_only(
        chunks in prop::collection::vec(garbage(), 1..8),
        established: bool,
        cut in 1usize..50,
    ) {
        let now = Instant::now();
        let (mut speaker, mut good, id, bad) = with_good_peer(now);
        let mut raw = match established {
            true => Raw::establish(&mut speaker, now, 2, open(65000, 2)),
            false => Raw::connect(&mut speaker, now, 2),
        };
        for octets in chunks.concat().chunks(cut) {
            speaker.received(now, raw.conn, octets);
        }
        raw.listen(&mut speaker, now);
        good.say(&mut speaker, now, &Message::KeepAlive);
        prop_assert!(!good.closed);
        prop_assert_eq!(speaker.neighbour(id).unwrap().state, State::Established);
        // Its session goes on, or has ended with a NOTIFICATION, unless it sent one itself.
        let view = speaker.neighbour(bad).unwrap();
        prop_assert!(raw.closed == (view.state == State::Idle));
        if raw.closed && !chunks.iter().any(|chunk| chunk.get(18) == Some(&3)) {
            prop_assert!(raw.notification().is_some());
        }
        // It can come again.
        let mut later = now;
        pass(&mut speaker, &mut later, 5);
        if raw.closed {
            Raw::establish(&mut speaker, later, 2, open(65000, 2));
            prop_assert_eq!(speaker.neighbour(bad).unwrap().state, State::Established);
        }
    }
}

#[test]
fn a_stall_within_a_message_is_ended_by_the_hold_timer() {
    let start = Instant::now();
    let (mut speaker, mut good, id, bad) = with_good_peer(start);
    let mut raw = Raw::establish(&mut speaker, start, 2, open(65000, 2));
    let mut now = start;
    let update = message(2, &[0; 2000]);
    for second in 0..120 {
        if let Some(octet) = update.get(second) {
            speaker.received(now, raw.conn, &[*octet]);
        }
        pass(&mut speaker, &mut now, 1);
        raw.listen(&mut speaker, now);
        good.say(&mut speaker, now, &Message::KeepAlive);
        if raw.closed {
            break;
        }
    }
    assert_eq!(now - start, Duration::from_secs(90));
    assert_eq!(raw.notification(), Some(&Notification::hold_timer_expired()));
    assert_eq!(speaker.neighbour(bad).unwrap().state, State::Idle);
    assert_eq!(speaker.neighbour(id).unwrap().state, State::Established);
}

/// A peer that connects and says nothing holds one connection for four minutes.
#[test]
fn a_silent_connection_does_not_stay() {
    let start = Instant::now();
    let (mut speaker, mut good, ..) = with_good_peer(start);
    let mut raw = Raw::connect(&mut speaker, start, 2);
    let mut now = start;
    for _ in 0..25 {
        pass(&mut speaker, &mut now, 10);
        raw.listen(&mut speaker, now);
        good.say(&mut speaker, now, &Message::KeepAlive);
    }
    assert_eq!(raw.notification(), Some(&Notification::hold_timer_expired()));
    assert!(raw.closed && !good.closed);
}

#[test]
fn connections_are_bounded_however_many_come() {
    let now = Instant::now();
    let (mut speaker, ..) = with_good_peer(now);
    let local = SocketAddr::new(address(0), 179);
    for port in 1..5000 {
        let _ = speaker.accepted(now, local, SocketAddr::new(address(1), port));
        let _ = speaker.accepted(now, local, SocketAddr::new(address(2), port));
        let unknown = SocketAddr::new([198, 51, 100, 7].into(), port);
        assert_eq!(speaker.accepted(now, local, unknown), Err(Refused::Unknown));
        while speaker.poll_event().is_some() {}
    }
    assert!(speaker.connections() <= 4, "{}", speaker.connections());
}

/// A flood of requests for all routes is answered by what one answer needs.
#[test]
fn a_flood_of_refresh_requests_is_coalesced() {
    let now = Instant::now();
    let (mut speaker, ..) = with_good_peer(now);
    let mut raw = Raw::establish(&mut speaker, now, 2, open(65000, 2));
    let request = Message::RouteRefresh(RouteRefresh { family: Family::Ipv4Unicast, subtype: RouteRefresh::REQUEST });
    let mut octets = Vec::new();
    (0..10_000).for_each(|_| request.encode(&raw.negotiated, &mut octets));
    let heard = raw.heard.len();
    speaker.received(now, raw.conn, &octets);
    raw.listen(&mut speaker, now);
    assert!(raw.heard.len() - heard <= 2, "BoRR and EoRR, not {}", raw.heard.len() - heard);
    assert!(!raw.closed);
}

/// Keepalives that the peer does not read do not pile up.
#[test]
fn unread_keepalives_do_not_pile_up() {
    let start = Instant::now();
    let (mut speaker, ..) = with_good_peer(start);
    let mut raw = Raw::establish(&mut speaker, start, 2, open(65000, 2));
    let mut now = start;
    for _ in 0..40 {
        pass(&mut speaker, &mut now, 10);
        let mut octets = Vec::new();
        Message::KeepAlive.encode(&raw.negotiated, &mut octets);
        speaker.received(now, raw.conn, &octets);
        while speaker.poll_event().is_some() {}
    }
    let heard = raw.heard.len();
    raw.listen(&mut speaker, now);
    assert_eq!(raw.heard[heard..], [Message::KeepAlive]);
}

/// What is said of an OPEN that cannot be accepted, octet for octet (RFC 4271, section 6.2).
#[test]
fn bad_opens_are_answered_by_the_right_notification() {
    let now = Instant::now();
    let change = |change: &dyn Fn(&mut Open)| {
        let mut bad = open(65000, 2);
        change(&mut bad);
        let (mut speaker, ..) = with_good_peer(now);
        let mut raw = Raw::connect(&mut speaker, now, 2);
        raw.say(&mut speaker, now, &Message::Open(bad));
        raw.notification().cloned()
    };
    assert_eq!(change(&|_| {}), None);
    assert_eq!(change(&|o| *o = open(65001, 2)), Some(Notification::bad_peer_as()));
    assert_eq!(change(&|o| o.hold_time = 2), Some(Notification::unacceptable_hold_time()));
    assert_eq!(change(&|o| o.router_id = [10, 0, 0, 1].into()), Some(Notification::bad_bgp_identifier()));
    assert_eq!(change(&|o| o.router_id = [0, 0, 0, 0].into()), Some(Notification::bad_bgp_identifier()));

    let (mut speaker, ..) = with_good_peer(now);
    let mut raw = Raw::connect(&mut speaker, now, 2);
    speaker.received(now, raw.conn, &message(1, &[3, 0xfd, 0xe8, 0, 90, 10, 0, 0, 3, 0]));
    raw.listen(&mut speaker, now);
    assert_eq!(raw.notification(), Some(&Notification::unsupported_version()));
}

/// RFC 6608: a message that does not belong in the state is named.
#[test]
fn messages_out_of_place_are_named() {
    let now = Instant::now();
    let (mut speaker, ..) = with_good_peer(now);
    let mut raw = Raw::connect(&mut speaker, now, 2);
    raw.say(&mut speaker, now, &Message::KeepAlive);
    assert_eq!(raw.notification(), Some(&Notification::unexpected_in_open_sent(4)));

    let (mut speaker, ..) = with_good_peer(now);
    let mut raw = Raw::connect(&mut speaker, now, 2);
    raw.say(&mut speaker, now, &Message::Open(open(65000, 2)));
    let refresh = RouteRefresh { family: Family::Ipv4Unicast, subtype: RouteRefresh::REQUEST };
    raw.say(&mut speaker, now, &Message::RouteRefresh(refresh));
    assert_eq!(raw.notification(), Some(&Notification::unexpected_in_open_confirm(5)));
}

#[test]
fn an_external_neighbour_must_come_from_its_own_as() {
    let now = Instant::now();
    let mut speaker = Speaker::new(now, speaker_config(0, 65000), Box::new(StdRng::seed_from_u64(1)));
    speaker.set_neighbour(now, address(2), NeighbourConfig { passive: true, ..external() });
    let mut raw = Raw::connect(&mut speaker, now, 2);
    raw.say(&mut speaker, now, &Message::Open(open(65000, 2)));
    assert_eq!(raw.notification(), Some(&Notification::bad_peer_as()));
    let last = raw.listen(&mut speaker, now);
    assert!(!last.iter().any(|event| matches!(event, Event::Up { .. })));
}

//! EAP in IKE_AUTH (RFC 7296, section 2.16; RFC 5998) between scripted owners.

use super::net::*;
use super::setup::{certificates, ends};
use ike::auth::{IdMatch, LocalAuth, RemoteAuth};
use ike::*;
use std::time::Duration;

const IKE_AUTH: u8 = 35;

/// The initiator authenticates itself by EAP, the responder as it would anyway.
pub fn user(side: usize, e: &mut PadEntry) {
    match side {
        A => e.local_auth = LocalAuth::Eap,
        _ => e.remote_auth = RemoteAuth::Eap,
    }
}

fn user_entry(side: usize) -> PadEntry {
    let mut e = entry(side);
    user(side, &mut e);
    e
}

fn eap_ends(change: impl Fn(usize, &mut PadEntry)) -> Net {
    ends(|side, e| {
        user(side, e);
        change(side, e);
    })
}

/// Changes the entry of one end.
fn at(at: usize, change: impl Fn(usize, &mut PadEntry)) -> impl Fn(usize, &mut PadEntry) {
    move |side, e| {
        if side == at {
            change(side, e);
        }
    }
}

fn alone(_: usize, e: &mut PadEntry) {
    (e.local_auth, e.remote_auth) = (LocalAuth::Eap, RemoteAuth::Eap);
}

/// Tries to connect, for so long.
fn tried(mut net: Net, seconds: u64) -> Net {
    net.check = false;
    net.connect();
    net.run(seconds);
    net
}

/// Does not connect within so many seconds: the ends say why.
fn refused(net: Net, seconds: u64, reasons: &[(usize, &str)]) -> Net {
    let net = tried(net, seconds);
    for (at, why) in reasons {
        failed(&net, *at, why);
    }
    nothing_left(&net);
    net
}

/// Nothing is left at either end; the conversation, if it began, has ended without a peer.
fn nothing_left(net: &Net) {
    for (end, side) in net.ends.iter().zip(&net.sides) {
        assert!(side.peers.is_empty() && end.sas().count() == 0 && end.half_open() == 0, "{:?}", side.events);
        assert_eq!(end.poll_timeout(), None);
        side.no_spi_is_lost();
    }
    assert_eq!(ends_of(net), vec![None; net.users.len()]);
}

/// What the conversations of B came to.
fn ends_of(net: &Net) -> Vec<Option<PeerHandle>> {
    let end = |e: &Event| match e {
        Event::EapEnd { peer, .. } => Some(*peer),
        _ => None,
    };
    net.sides[B].events.iter().filter_map(end).collect()
}

fn eap_identities(side: &Side) -> Vec<Option<String>> {
    let up = |e: &Event| match e {
        Event::PeerUp { eap_identity, .. } => Some(eap_identity.clone()),
        _ => None,
    };
    side.events.iter().filter_map(up).collect()
}

fn failed(net: &Net, at: usize, why: &str) {
    let failures = if at == A {
        let down = |r: DownReason| if let DownReason::Failed(f) = r { Some(f) } else { None };
        net.sides[A].downs().into_iter().filter_map(down).collect()
    } else {
        net.sides[B].auth_failures()
    };
    assert_eq!(failures.len(), 1, "{:?}", net.sides[at].events);
    assert!(failures[0].to_string().contains(why), "{}", failures[0]);
}

#[test]
fn a_user_is_up_under_both_names() {
    let net = eap_ends(|_, _| ()).up();
    assert_eq!(eap_identities(&net.sides[B]), [Some("user1@example.net".to_owned())]);
    assert_eq!(eap_identities(&net.sides[A]), [None]);
    assert_eq!(net.sides[B].peers.values().next(), Some(&id(A)));
    let info = net.ends[B].sas().next().unwrap();
    assert_eq!((info.remote_id, info.eap_identity), (Some(id(A)), Some("user1@example.net".to_owned())));
    assert_eq!(ends_of(&net), [Some(net.sides[B].peer())]);
    // The owner learns whose the conversation was right before the peer is up.
    let at = |which: fn(&Event) -> bool| net.sides[B].events.iter().position(which).unwrap();
    let (end, up) = (at(|e| matches!(e, Event::EapEnd { .. })), at(|e| matches!(e, Event::PeerUp { .. })));
    assert_eq!(end + 1, up);
    // IKE_SA_INIT, the request for EAP, three rounds, the proof of the key.
    assert_eq!(net.log.len(), 2 * (1 + 1 + 3 + 1));
}

#[test]
fn the_user_survives_rekeys() {
    let mut net = eap_ends(|_, _| ()).up();
    for side in [A, B] {
        rekey_ike(&mut net, side);
        net.run(5);
        rekey_child(&mut net, side);
        net.run(5);
        net.settled();
    }
    let info = net.ends[B].sas().next().unwrap();
    assert_eq!(info.eap_identity.as_deref(), Some("user1@example.net"));
}

#[test]
fn bad_links() {
    for seed in 0..40 {
        let [a, b] = [A, B].map(|side| {
            let mut c = config(PadEntry { mlkem: seed % 2 == 0, ..user_entry(side) });
            c.timers.tries = 9;
            c
        });
        let mut net = Net::new(a, b, seed);
        net.script.size = if seed % 3 == 0 { 1500 } else { 40 };
        net.bad_link();
        net.connect();
        net.run(400);
        net.settled();
        assert_eq!(ends_of(&net), [Some(net.sides[B].peer())]);
    }
}

#[test]
fn each_datagram_of_each_round_lost_once() {
    let whole = eap_ends(|_, _| ()).up().log.len();
    for lost in 0..whole {
        let mut net = eap_ends(|_, _| ());
        net.connect();
        // Runs until the datagram is about to be sent, cuts the link, and mends it.
        while net.log.len() < lost {
            net.run_ms(1);
        }
        net.cut = true;
        while net.log.len() <= lost {
            net.run_ms(1);
        }
        net.cut = false;
        net.run(60);
        net.settled();
        assert_eq!(net.users.values().map(|(_, asked)| *asked).collect::<Vec<_>>(), [4], "{lost}");
    }
}

#[test]
fn a_wrong_msk_at_either_end_fails() {
    let wrong = |_: &str| Some(vec![7; 64]);
    for side in [A, B] {
        for suite in ["aes256gcm16-prfsha256-x25519", "aes128-sha256-prfsha512-ecp256"] {
            let mut net = eap_ends(|_, e| e.ike_proposals = vec![suite.parse().unwrap()]);
            net.script.msk[side] = wrong;
            refused(net, 60, &[(B, "key of EAP does not match"), (A, "refused our authentication")]);
        }
    }
    // One has a key and the other does not.
    for side in [A, B] {
        let mut net = eap_ends(|_, _| ());
        net.script.msk[side] = |_| None;
        refused(net, 60, &[(B, "key of EAP does not match")]);
    }
}

#[test]
fn a_method_without_a_key() {
    for none in [|_: &str| None, |_: &str| Some(Vec::new())] {
        let mut net = eap_ends(|_, _| ());
        net.script.msk = [none; 2];
        net.script.mutual = false;
        net.up();
    }
}

#[test]
fn eap_failure_is_the_end() {
    let mut net = eap_ends(|_, _| ());
    net.script.accept = false;
    refused(net, 60, &[(B, "EAP failure"), (A, "EAP failure")]);
}

#[test]
fn a_slow_server_sees_each_response_once() {
    let mut net = eap_ends(|_, _| ());
    // Longer than some retransmissions of the initiator.
    net.script.delay[B] = Duration::from_secs(15);
    let mut net = tried(net, 90);
    net.settled();
    let heard = net.sides[B].events.iter().filter(|e| matches!(e, Event::EapResponse { .. })).count();
    assert_eq!(heard, 3);
    let requests = net.log.iter().filter(|(from, m)| *from == A && m[18] == IKE_AUTH).count();
    assert!(requests > 5 * 2, "{requests}");
    net.check = true;
    rekey_child(&mut net, A);
    net.run(5);
    net.settled();
}

#[test]
fn a_slow_user_is_waited_for() {
    let mut net = eap_ends(|_, _| ());
    net.script.delay[A] = Duration::from_secs(50);
    let net = tried(net, 300);
    net.settled();
}

#[test]
fn whoever_stalls_is_forgotten() {
    // The user's end says nothing: both give up by themselves.
    for stalls in 0..4 {
        let mut net = eap_ends(|_, _| ());
        net.script.stalls[A] = stalls;
        refused(net, 200, &[(A, "no answer"), (B, "no answer")]);
    }
    // The server says nothing: the user's end is told.
    for stalls in 0..4 {
        let mut net = eap_ends(|_, _| ());
        net.script.stalls[B] = stalls;
        refused(net, 200, &[(B, "no answer"), (A, "refused our authentication")]);
    }
    // The user is cut off.
    let mut net = eap_ends(|_, _| ());
    net.check = false;
    net.script.delay[A] = Duration::from_secs(1);
    net.connect();
    net.run(2);
    assert_eq!((net.ends[B].half_open(), net.users.len()), (1, 1));
    net.cut = true;
    net.run(200);
    failed(&net, B, "no answer");
    nothing_left(&net);
}

#[test]
fn large_packets_are_fragmented() {
    for (size, bad) in [(4096, false), (4096, true), (8192, false)] {
        let mut net = eap_ends(|_, _| ());
        net.script.size = size;
        if bad {
            (net.loss, net.duplicate, net.jitter) = (2, 20, Duration::from_millis(400));
        }
        let net = tried(net, 300);
        net.settled();
        assert!(net.largest <= 576 - 28 - 4, "{}", net.largest);
    }
}

#[test]
fn certificates_of_the_gateway_and_eap_of_the_user() {
    let mut net = certificates(["client.example.net", "gateway.example.net"], user);
    net.connect();
    net.run(30);
    net.settled();
    // A false gateway: nothing is said to its EAP server, and it learns why.
    let net = certificates(["client.example.net", "other.example.net"], user);
    let net = refused(net, 60, &[(A, "does not name"), (B, "refused our authentication")]);
    assert!(!net.sides[A].events.iter().any(|e| matches!(e, Event::EapRequest { .. })));
}

#[test]
fn eap_alone() {
    eap_ends(alone).up();
    // Only where both ends are configured for it.
    refused(eap_ends(at(B, alone)), 60, &[(B, "does not take EAP alone")]);
    // An initiator that would take EAP alone is free to get more.
    eap_ends(at(A, alone)).up();
}

#[test]
fn eap_alone_takes_a_mutual_method_with_a_key() {
    let mut net = eap_ends(alone);
    net.script.mutual = false;
    refused(net, 60, &[(B, "mutual")]);
    let mut net = eap_ends(alone);
    net.script.msk[B] = |_| None;
    refused(net, 60, &[(B, "mutual")]);
    // The initiator by itself does not go without a key.
    let mut net = eap_ends(alone);
    net.script.msk[A] = |_| None;
    refused(net, 60, &[(A, "gives a key"), (B, "refused our authentication")]);
    let mut net = eap_ends(alone);
    net.script.msk[A] = |_| Some(vec![1; 64]);
    refused(net, 60, &[(B, "does not match")]);
}

#[test]
fn eap_is_for_entries_that_have_it() {
    // Asked for and not offered.
    refused(ends(at(A, |_, e| e.local_auth = LocalAuth::Eap)), 60, &[(B, "EAP is not offered")]);
    // Offered and not asked for: a pre-shared key is no way around it.
    refused(ends(at(B, |_, e| e.remote_auth = RemoteAuth::Eap)), 60, &[(B, "method 2")]);
    // Whom the entry is not for.
    refused(eap_ends(at(B, |_, e| e.remote = "other.example.net".parse().unwrap())), 60, &[(B, "unknown identity")]);
    // An initiator's entry lets nobody in.
    refused(
        ends(at(B, |_, e| (e.local_auth, e.remote) = (LocalAuth::Eap, IdMatch::Exact(id(A))))),
        60,
        &[(B, "unknown identity")],
    );
}

#[test]
fn the_user_may_be_anybody() {
    for remote in ["*", "*.example.net"] {
        let mut net = certificates(["client.example.net", "gateway.example.net"], |side, e| {
            user(side, e);
            if side == B {
                e.remote = remote.parse().unwrap();
            }
        });
        net.connect();
        net.run(30);
        net.settled();
        // With a pre-shared key any of them could pose as the gateway.
        let e = PadEntry { remote: remote.parse().unwrap(), ..user_entry(B) };
        let config = Config { pad: vec![e.into()], ..Config::default() };
        assert!(config.validate().unwrap_err().to_string().contains("H46"));
    }
}

/// Two users on one host, which has one identity.
fn two_users(seed: u64) -> Net {
    let [mut a, b] = [A, B].map(|side| config(user_entry(side)));
    let mut second = PadEntry::clone(&a.pad[0]);
    second.name = "second".to_owned();
    a.pad.push(second.into());
    let mut net = Net::new(a, b, seed);
    net.connect();
    net.connect_to("second");
    net.run(30);
    net
}

#[test]
fn two_users_of_one_host_get_two_sas() {
    let net = two_users(1);
    let mut users = eap_identities(&net.sides[B]);
    users.sort();
    assert_eq!(users, [Some("user1@example.net".to_owned()), Some("user2@example.net".to_owned())]);
    for side in &net.sides {
        assert_eq!((side.peers.len(), side.children.len()), (2, 2));
        assert!(side.downs().is_empty());
    }
}

#[test]
fn initial_contact_replaces_the_user_and_nobody_else() {
    let mut net = two_users(2);
    net.check = false;
    net.restart(A, config(user_entry(A)), 9);
    // The host restarts and the first user comes back.
    net.connect();
    net.run(1);
    let of = |net: &Net, user: &str| net.ends[B].sas().filter(|i| i.eap_identity.as_deref() == Some(user)).count();
    assert_eq!((of(&net, "user1@example.net"), of(&net, "user2@example.net")), (1, 1));
    assert!(matches!(net.sides[B].downs()[..], [DownReason::Replaced(_)]));
    net.run(30);
    assert_eq!(net.sides[B].peers.len(), 2);
}

#[test]
fn a_stranger_replaces_nobody() {
    // Whoever claims the identity and fails EAP leaves the real one alone.
    let mut net = eap_ends(|_, _| ()).up();
    net.check = false;
    net.restart(A, config(user_entry(A)), 9);
    net.script.msk[A] = |_| Some(vec![1; 64]);
    net.connect();
    net.run(60);
    assert_eq!((net.sides[B].peers.len(), net.sides[B].downs().len()), (1, 0));
    failed(&net, B, "does not match");
}

#[test]
fn calls_that_do_not_belong_there() {
    let mut net = eap_ends(|_, _| ());
    net.script.stalls = [1, u8::MAX];
    let peer = net.connect();
    net.run(1);
    let (session, now) = (*net.users.keys().next().unwrap(), net.now);
    let success = || EapSuccess { identity: "root".to_owned(), msk: msk("x").map(Into::into), mutual: true };
    let ends = &mut net.ends;
    // It is the user's turn.
    assert_eq!(ends[B].eap_request(now, session, &eap(1, 9, "x", 0)), Err(CallError::UnknownEap));
    assert_eq!(ends[B].eap_success(now, session, &eap(3, 9, "", 0), success()), Err(CallError::UnknownEap));
    assert_eq!(ends[B].eap_failure(now, session, &eap(4, 9, "", 0)), Err(CallError::UnknownEap));
    assert_eq!(ends[B].eap_request(now, EapSession(1), &eap(1, 9, "x", 0)), Err(CallError::UnknownEap));
    assert_eq!(ends[A].eap_key(now, peer, None), Err(CallError::UnknownEap));
    for bad in [&[][..], &[2], &[1, 0, 0, 5, 1], &[2, 0, 0, 6, 1], &[2, 0, 0, 4], &eap(2, 0, "x", 8193)] {
        assert_eq!(ends[A].eap_response(now, peer, bad), Err(CallError::EapPacket));
    }
    assert!(!format!("{:?}", success()).contains("120"));
    // Nothing of it has disturbed the conversation.
    ends[A].eap_response(now, peer, &eap(2, 1, "\x63what", 40)).unwrap();
    net.script.stalls = [u8::MAX; 2];
    net.run(30);
    net.settled();
    assert_eq!(net.ends[B].eap_request(net.now, session, &eap(1, 9, "x", 0)), Err(CallError::UnknownEap));
    assert_eq!(net.ends[A].eap_response(net.now, peer, &eap(2, 9, "x", 0)), Err(CallError::UnknownEap));
}

#[test]
fn success_needs_a_conversation() {
    let mut net = eap_ends(|_, _| ());
    net.script.stalls[B] = 0;
    net.connect();
    net.run(1);
    let session = *net.users.keys().next().unwrap();
    let success = EapSuccess { identity: "root".to_owned(), msk: None, mutual: true };
    assert_eq!(net.ends[B].eap_success(net.now, session, &eap(3, 9, "", 0), success), Err(CallError::UnknownEap));
    // Failure is possible at once.
    net.ends[B].eap_failure(net.now, session, &eap(4, 9, "", 0)).unwrap();
    net.run(30);
    failed(&net, A, "EAP failure");
    nothing_left(&net);
}

#[test]
fn rounds_are_bounded() {
    let mut net = eap_ends(|_, _| ());
    net.script.rounds = 63;
    let net = tried(net, 60);
    net.settled();
    let mut net = eap_ends(|_, _| ());
    net.script.rounds = 200;
    refused(net, 60, &[(B, "endless"), (A, "refused our authentication")]);
}

#[test]
fn a_conversation_is_bounded_in_time() {
    let mut net = eap_ends(|_, _| ());
    (net.script.rounds, net.script.delay[A]) = (50, Duration::from_secs(40));
    refused(net, 900, &[(B, "no answer")]);
}

#[test]
fn closed_while_eap_is_under_way() {
    let mut net = eap_ends(|_, _| ());
    net.script.stalls[A] = 1;
    let peer = net.connect();
    net.run(1);
    net.ends[A].close(net.now, peer).unwrap();
    net.run(120);
    assert_eq!(net.sides[A].downs(), [DownReason::Closed]);
    nothing_left(&net);
}

#[test]
fn behind_a_nat_whose_binding_changes_during_eap() {
    let mut net = eap_ends(|_, _| ());
    let public = [203, 0, 113, 7].into();
    net.nat = Some(Nat { public, shift: 10_000 });
    net.script.delay[A] = Duration::from_secs(5);
    net.connect();
    net.run(7);
    net.nat = Some(Nat { public, shift: 20_000 });
    net.run(60);
    net.settled();
    assert_eq!(net.sides[B].child().remote, (public, 24_500).into());
}

#[test]
fn replays_and_bit_flips_change_nothing() {
    let mut net = eap_ends(|_, _| ());
    net.script.delay[A] = Duration::from_secs(2);
    net.connect();
    net.run(3);
    let log = net.log.clone();
    let meta = |to: usize| Meta { local: (addr(to), 500).into(), remote: (addr(1 - to), 500).into() };
    let heard = net.sides.each_ref().map(|s| s.events.len());
    for (from, message) in log.iter().filter(|(_, m)| m[18] == IKE_AUTH) {
        net.inject(1 - from, meta(1 - from), message);
        for bit in 0..message.len() * 8 {
            let mut altered = message.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            net.inject(1 - from, meta(1 - from), &altered);
        }
    }
    assert_eq!(net.sides.each_ref().map(|s| s.events.len()), heard);
    net.run(60);
    net.settled();
}

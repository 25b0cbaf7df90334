//! MOBIKE (RFC 4555): the initiator moves, by itself or with a NAT; and what somebody on the way makes of it.

use super::net::*;
use super::setup::ends;
use ike::*;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

const INFORMATIONAL: u8 = 37;
const NEW: [u8; 4] = [10, 9, 0, 7];
const NEWER: [u8; 4] = [10, 8, 0, 8];
const FORGED: [u8; 4] = [203, 0, 113, 66];

fn mobile(change: impl Fn(usize, &mut PadEntry)) -> Net {
    let mut net = ends(|side, e| {
        e.mobike = true;
        change(side, e);
    });
    net.at = Some(addr(A));
    net
}

fn at(ip: impl Into<IpAddr>) -> SocketAddr {
    (ip.into(), 4500).into()
}

/// Both ends have one child SA, between the same addresses.
fn together(net: &Net, where_: SocketAddr, encap: bool) {
    net.settled();
    let (a, b) = (net.sides[A].child(), net.sides[B].child());
    assert_eq!((a.encap, b.encap), (encap, encap));
    assert_eq!((a.local.ip(), a.remote.ip()), (net.at.unwrap(), addr(B)));
    assert_eq!((b.local.ip(), b.remote), (addr(B), where_));
    let (a, b) = (net.ends[A].sas().next().unwrap(), net.ends[B].sas().next().unwrap());
    assert!(a.mobike && b.mobike);
    assert_eq!((a.natt, b.natt, b.remote), (encap, encap, where_));
    assert!(net.sides.iter().all(|s| s.downs().is_empty()));
}

/// Rekeys of all kinds from both sides work, and the selectors follow the outer addresses.
fn rekeys(net: &mut Net) {
    let (mine, theirs) = (net.at.unwrap(), net.sides[B].child().remote.ip());
    for side in [A, B] {
        rekey_child(net, side);
        net.run(5);
        net.settled();
        let (a, b) = (net.sides[A].child(), net.sides[B].child());
        assert_eq!(a.local_ts, [TrafficSelector::host(17, (1701, 1701), mine)]);
        assert_eq!(b.remote_ts, [TrafficSelector::host(17, (1701, 1701), theirs)]);
        assert_eq!((&a.remote_ts, &b.local_ts), (&b.local_ts, &a.remote_ts));
        rekey_ike(net, side);
        net.run(5);
        net.settled();
    }
}

fn requests(net: &Net, side: usize) -> usize {
    net.log.iter().filter(|(from, m)| *from == side && m[18] == INFORMATIONAL && m[19] & 0x20 == 0).count()
}

#[test]
fn a_move_keeps_everything_but_the_addresses() {
    let mut net = mobile(|_, _| ()).up();
    // Without a NAT too, IKE is on port 4500 and ESP is not in UDP.
    together(&net, at(addr(A)), false);
    let before = [A, B].map(|side| net.sides[side].child());
    for ip in [NEW, NEWER] {
        net.move_to(ip);
        net.run(5);
        together(&net, at(ip), false);
    }
    for side in [A, B] {
        let (now, before) = (net.sides[side].child(), &before[side]);
        assert_eq!((now.spi_in, now.spi_out), (before.spi_in, before.spi_out));
        assert_eq!((&*now.inbound.encr, &*now.outbound.encr), (&*before.inbound.encr, &*before.outbound.encr));
    }
    assert_eq!(net.sides[B].moves(), [(at(NEW), false), (at(NEWER), false)]);
    // UPDATE_SA_ADDRESSES and COOKIE2, twice.
    assert_eq!((requests(&net, A), requests(&net, B)), (2, 2));
    rekeys(&mut net);
    // Who has rekeyed the IKE SA is not asked: the original initiator moves.
    rekey_ike(&mut net, B);
    net.run(5);
    net.move_to(NEW);
    net.run(5);
    together(&net, at(NEW), false);
    rekeys(&mut net);
}

#[test]
fn child_sas_move_when_the_new_address_has_answered() {
    let mut net = mobile(|_, _| ()).up();
    // COOKIE2 gets lost.
    net.lose = |from, m| from == B && m[19] & 0x20 == 0;
    net.move_to(NEW);
    net.run(5);
    assert_eq!(net.sides[A].moves().len(), 1);
    assert!(net.sides[B].moves().is_empty());
    assert_eq!(net.sides[B].child().remote, at(addr(A)));
    net.lose = |_, _| false;
    net.run(60);
    together(&net, at(NEW), false);
    // By configuration it is not asked for.
    let mut net = mobile(|_, e| e.return_routability = false).up();
    net.move_to(NEW);
    net.run(5);
    together(&net, at(NEW), false);
    assert_eq!(requests(&net, B), 0);
}

#[test]
fn a_long_unanswered_question_is_asked_again() {
    let mut net = mobile(|_, _| ()).up();
    net.lose = |from, m| from == B && m[19] & 0x20 == 0;
    net.move_to(NEW);
    // By now it is asked at the old address as well, and an answer does not prove where it was received.
    net.run(11);
    net.lose = |_, _| false;
    net.run(60);
    together(&net, at(NEW), false);
    let asked: std::collections::HashSet<_> =
        net.log.iter().filter(|(from, m)| *from == B && m[19] & 0x20 == 0).collect();
    assert_eq!(asked.len(), 2);
}

#[test]
fn a_forged_address_moves_nothing() {
    let mut net = mobile(|_, _| ()).up();
    // The client has another binding, it thinks, and somebody changes the source of its message.
    net.forge = Some(FORGED.into());
    net.move_to([10, 0, 0, 2]);
    net.run_ms(15);
    net.forge = None;
    net.run(60);
    assert!(net.sides[B].moves().is_empty());
    together(&net, at(addr(A)), false);
    assert_eq!(net.ends[B].sas().next().unwrap().remote, at(addr(A)));
    rekeys(&mut net);
    // And it can still move.
    net.move_to(NEW);
    net.run(5);
    together(&net, at(NEW), false);
}

#[test]
fn a_forged_address_during_a_rekey_moves_nothing() {
    for side in [A, B] {
        for delay in [0, 5, 15, 25] {
            let mut net = mobile(|_, _| ()).up();
            net.forge = Some(FORGED.into());
            net.move_to([10, 0, 0, 2]);
            net.run_ms(15);
            net.forge = None;
            net.run_ms(delay);
            rekey_child(&mut net, side);
            net.run(120);
            assert!(net.sides[B].moves().is_empty());
            together(&net, at(addr(A)), false);
            rekeys(&mut net);
        }
    }
}

#[test]
fn answers_go_where_the_request_came_from() {
    // RFC 7296, section 2.11: a request that was not about addresses moves nobody and is answered.
    let mut net = mobile(|_, _| ()).up();
    net.forge = Some(FORGED.into());
    net.at = None;
    rekey_child(&mut net, A);
    net.run(5);
    net.settled();
    assert!(net.sides[B].moves().is_empty());
    assert_eq!(net.sides[B].child().remote, at(addr(A)));
}

#[test]
fn moves_over_bad_links() {
    for seed in 0..60 {
        let [a, b] = [A, B].map(|side| {
            let mut c = config(PadEntry { mobike: true, ..entry(side) });
            c.timers.tries = 12;
            c
        });
        let mut net = Net::new(a, b, seed);
        net.at = Some(addr(A));
        let mut net = net.up();
        net.bad_link();
        for round in 0..4 {
            net.move_to([10, 9, 0, round]);
            net.run_ms(seed * 997 % 7000);
        }
        net.run(600);
        (net.loss, net.duplicate) = (0, 0);
        net.run(4000);
        together(&net, at([10, 9, 0, 3]), false);
        rekeys(&mut net);
    }
}

#[test]
fn moves_during_rekeys() {
    for seed in 0..400 {
        let [a, b] = [A, B].map(|side| {
            let mut e = PadEntry { mobike: true, mlkem: seed % 5 == 0, ..entry(side) };
            if seed % 5 == 0 {
                e.child.esp_proposals = vec!["aes256gcm16-x25519".parse().unwrap()];
            }
            let mut c = config(e);
            c.timers.tries = 12;
            c
        });
        let mut net = Net::new(a, b, seed);
        net.at = Some(addr(A));
        let mut net = net.up();
        if seed % 2 == 1 {
            net.bad_link();
        }
        match seed / 2 % 4 {
            0 => rekey_child(&mut net, A),
            1 => rekey_child(&mut net, B),
            2 => rekey_ike(&mut net, A),
            _ => rekey_ike(&mut net, B),
        }
        net.run_ms(seed % 7 * 5);
        net.move_to(NEW);
        if seed % 3 == 0 {
            net.run_ms(seed % 11 * 4);
            rekey_child(&mut net, if seed % 2 == 0 { A } else { B });
        }
        net.run(600);
        (net.loss, net.duplicate) = (0, 0);
        net.run(4000);
        together(&net, at(NEW), false);
        rekeys(&mut net);
    }
}

#[test]
fn there_and_back_again() {
    for pause in [0, 5, 15, 25, 5000] {
        let mut net = mobile(|_, _| ()).up();
        net.move_to(NEW);
        net.run_ms(pause);
        net.move_to([10, 0, 0, 2]);
        net.run(60);
        together(&net, at(addr(A)), false);
        rekeys(&mut net);
    }
}

#[test]
fn a_nat_appears_and_disappears() {
    let mut net = mobile(|_, _| ()).up();
    let public = [203, 0, 113, 7].into();
    net.nat = Some(Nat { public, shift: 10_000 });
    net.move_to([192, 168, 1, 2]);
    // The NAT of the harness gives everything to A as from its first address.
    net.run(5);
    assert_eq!(net.sides[B].moves(), [((public, 14_500).into(), true)]);
    together(&net, (public, 14_500).into(), true);
    net.run(65);
    assert!(net.keepalives[A] >= 3, "{}", net.keepalives[A]);
    rekeys(&mut net);
    net.nat = None;
    net.move_to(NEW);
    net.run(5);
    together(&net, at(NEW), false);
    let sent = net.keepalives[A];
    net.run(65);
    assert_eq!(net.keepalives[A], sent);
    rekeys(&mut net);
}

#[test]
fn a_new_binding_of_the_nat_is_noticed() {
    let mut net = mobile(|side, e| e.dpd_delay = (side == A).then(|| Duration::from_secs(30)));
    let public = [203, 0, 113, 7].into();
    net.nat = Some(Nat { public, shift: 10_000 });
    let mut net = net.up();
    net.run(60);
    net.nat = Some(Nat { public, shift: 20_000 });
    net.run(60);
    assert_eq!(net.sides[B].moves(), [((public, 24_500).into(), true)]);
    assert_eq!(net.sides[B].child().remote, (public, 24_500).into());
    // A packet of ESP tells it as well.
    let peer = net.sides[B].peer();
    net.nat = Some(Nat { public, shift: 30_000 });
    net.ends[B].peer_moved(net.now, peer, (public, 34_500).into());
    net.flush();
    assert_eq!(net.sides[B].moves().last(), Some(&((public, 34_500).into(), true)));
}

#[test]
fn without_mobike_nobody_moves() {
    for without in [A, B] {
        let mut net = mobile(|side, e| e.mobike = side != without).up();
        let peer = net.sides[A].peer();
        let call = net.ends[A].move_local(net.now, peer, at(NEW), at(addr(B)));
        assert_eq!(call, Err(CallError::NoMobike));
        assert!(!net.ends[B].sas().next().unwrap().mobike);
        net.run(5);
        net.settled();
        assert_eq!(net.sides[B].child().remote.ip(), addr(A));
    }
    // The responder does not move, not even when it has rekeyed the IKE SA.
    let mut net = mobile(|_, _| ()).up();
    rekey_ike(&mut net, B);
    net.run(5);
    let peer = net.sides[B].peer();
    assert_eq!(net.ends[B].move_local(net.now, peer, at(NEW), at(addr(A))), Err(CallError::NoMobike));
    let nobody = PeerHandle(std::num::NonZeroU32::MAX);
    assert_eq!(net.ends[A].move_local(net.now, nobody, at(NEW), at(addr(B))), Err(CallError::UnknownPeer));
}

#[test]
fn another_family_is_refused() {
    let mut net = mobile(|_, _| ()).up();
    let peer = net.sides[A].peer();
    (net.at, net.check) = (None, false);
    let local = "[2001:db8::2]:4500".parse().unwrap();
    net.ends[A].move_local(net.now, peer, local, "[2001:db8::1]:4500".parse().unwrap()).unwrap();
    net.run(60);
    let refused = DownReason::Failed(Failure::Notified(ike::payload::notify::NotifyType::UNACCEPTABLE_ADDRESSES));
    assert_eq!(net.sides[A].downs(), [refused]);
    assert!(net.sides[A].moves().is_empty() && net.sides[B].moves().is_empty());
    assert!(net.ends.iter().all(|end| end.sas().count() == 0));
}

#[test]
fn selectors_of_a_tunnel_stay_unless_they_name_the_outer_address() {
    let range =
        |a: [u8; 4]| TsPattern { protocol: 0, ports: (0, 65535), addresses: TsAddress::Range(a.into(), a.into()) };
    let endpoint = TsPattern { protocol: 0, ports: (0, 65535), addresses: TsAddress::Endpoint };
    for (pattern, before, after) in
        [(range([10, 0, 0, 2]), [10, 0, 0, 2], [10, 0, 0, 2]), (endpoint, [10, 0, 0, 2], NEW)]
    {
        let mut net = mobile(|side, e| {
            e.child.mode = Mode::Tunnel;
            let inner = range([172, 16, 0, 1]);
            (e.child.local_ts, e.child.remote_ts) =
                if side == A { (vec![pattern], vec![inner]) } else { (vec![inner], vec![pattern]) };
        })
        .up();
        let host = |a: [u8; 4]| [TrafficSelector::host(0, (0, 65535), a.into())];
        assert_eq!(net.sides[B].child().remote_ts, host(before));
        net.move_to(NEW);
        net.run(5);
        for side in [A, B] {
            rekey_child(&mut net, side);
            net.run(5);
            together(&net, at(NEW), false);
            assert_eq!(net.sides[B].child().remote_ts, host(after));
            assert_eq!(net.sides[A].child().remote_ts, host([172, 16, 0, 1]));
        }
    }
}

#[test]
fn whoever_moves_out_of_reach_is_given_up() {
    let mut net = mobile(|_, _| ()).up();
    net.move_to(NEW);
    (net.cut, net.check) = (true, false);
    net.run(300);
    assert_eq!(net.sides[A].downs(), [DownReason::Dead]);
}

#[test]
fn a_user_of_eap_moves() {
    let mut net = mobile(super::eap::user).up();
    net.move_to(NEW);
    net.run(5);
    together(&net, at(NEW), false);
    assert!(net.ends[B].sas().next().unwrap().eap_identity.is_some());
}

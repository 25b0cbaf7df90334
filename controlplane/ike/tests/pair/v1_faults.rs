//! IKEv1 when messages are lost, refused, or come from strangers: what a fault costs is the exchange, not the peer.

use super::net::*;
use super::v1::{certified, connect, plain, up, v1, with_clocks, without};
use ike::auth::{IdMatch, LocalAuth, RemoteAuth};
use ike::v1::fragment::split;
use ike::v1::message::Header;
use ike::v1::proposal::parse_esp;
use ike::v1::vendor::FRAGMENTATION;
use ike::*;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const MAIN: u8 = 2;
const INFORMATIONAL: u8 = 5;
const QUICK: u8 = 32;
const KE: u8 = 4;
const ID: u8 = 5;
const VENDOR: u8 = 13;

fn sent(net: &Net, from: usize, exchange: u8) -> Vec<Vec<u8>> {
    net.log.iter().filter(|(side, data)| *side == from && data[18] == exchange).map(|(_, data)| data.clone()).collect()
}

fn from_peer(to: usize) -> Meta {
    Meta { local: SocketAddr::new(addr(to), 500), remote: SocketAddr::new(addr(1 - to), 500) }
}

/// Main mode up to the first message that `lose` takes away, which is given.
fn halted(net: &mut Net, lose: fn(usize, &[u8]) -> bool) -> Vec<u8> {
    net.lose = lose;
    connect(net);
    net.run_ms(100);
    let found = net.log.iter().find(|(side, data)| lose(*side, data)).unwrap().1.clone();
    net.lose = |_, _| false;
    net.check = false;
    found
}

fn refusals(net: &Net, side: usize) -> usize {
    let refused = |e: &&Event| matches!(e, Event::ChildDown { reason: ChildDownReason::Refused(Failure::Notified(kind)), .. } if kind.0 == 14);
    net.sides[side].events.iter().filter(refused).count()
}

#[test]
fn a_lost_offer_is_made_again_where_the_peer_lives() {
    let with_dpd = |side| PadEntry { dpd_delay: Some(Duration::from_secs(5)), ..entry(side) };
    let mut net = up(Net::new(v1(A, with_dpd(A)), v1(B, with_dpd(B)), 1));
    let (before, old) = (net.ends[A].sas().next().unwrap(), net.sides[A].child().spi_in);
    net.lose = |side, data| side == A && data[18] == QUICK;
    rekey_child(&mut net, A);
    net.run(200);
    let after = net.ends[A].sas().next().unwrap();
    assert_eq!((after.spi_i, after.peer), (before.spi_i, before.peer));
    assert_eq!(net.sides[A].child().spi_in, old);
    net.lose = |_, _| false;
    net.check = false;
    net.run(300);
    assert_ne!(net.sides[A].child().spi_in, old);
    assert!(net.sides.iter().all(|side| side.downs().is_empty()));
    net.sides.iter().for_each(Side::no_spi_is_lost);
}

/// Who does not answer an offer may have lost the ISAKMP SA, or be away for a while: a new one is tried beside it, and
/// nothing is given up but for silence where the peer is asked whether it is there.
#[test]
fn an_unheard_peer_keeps_what_it_has() {
    for asked in [false, true] {
        let ends = [A, B].map(|side| PadEntry { dpd_delay: asked.then_some(Duration::from_secs(30)), ..entry(side) });
        let [a, b] = ends;
        let mut net = up(Net::new(v1(A, a), v1(B, b), 12));
        let (before, old) = (net.ends[A].sas().next().unwrap(), net.sides[A].child().spi_in);
        let main = sent(&net, A, MAIN).len();
        (net.cut, net.check) = (true, false);
        rekey_child(&mut net, A);
        net.run(200);
        if asked {
            assert_eq!(net.sides[A].downs(), [DownReason::Dead]);
            continue;
        }
        let after = net.ends[A].sas().next().unwrap();
        assert_eq!(after.peer, before.peer);
        assert!(sent(&net, A, MAIN).len() > main);
        net.run(1000);
        assert_eq!(net.sides[A].child().spi_in, old);
        // The old ISAKMP SA is as good as ever.
        net.cut = false;
        net.lose = |_, data| data[18] == MAIN;
        net.run(300);
        assert_ne!(net.sides[A].child().spi_in, old);
        let after = net.ends[A].sas().next().unwrap();
        assert_eq!((after.spi_i, after.state), (before.spi_i, "established"));
        assert!(net.sides.iter().all(|side| side.downs().is_empty()));
        net.sides.iter().for_each(Side::no_spi_is_lost);
    }
}

/// strongSwan installs the pair when it has read message 3: what is sent on it before is lost.
#[test]
fn the_old_pair_is_sent_on_until_the_peer_has_the_new_one() {
    for packet in [false, true] {
        let mut net = up(plain(10));
        let (old, peer) = (net.sides[A].child().spi_in, net.sides[A].peer());
        rekey_child(&mut net, A);
        net.run_ms(500);
        let new = *net.sides[A].children.keys().find(|spi| **spi != old).unwrap();
        assert_eq!((net.sides[A].children.len(), net.sides[A].selected[&(peer, None)]), (2, old));
        if packet {
            net.ends[A].child_used(net.now, new);
            net.flush();
        } else {
            net.run(5);
        }
        assert_eq!(net.sides[A].selected[&(peer, None)], new);
        net.check = false;
        net.run(300);
        assert_eq!(net.sides[A].child().spi_in, new);
    }
}

#[test]
fn a_pair_is_replaced_once() {
    let mut net = up(plain(2));
    let (spi, before) = (net.sides[A].child().spi_in, sent(&net, A, QUICK).len());
    for _ in 0..3 {
        net.ends[A].rekey_child(net.now, spi).unwrap();
    }
    net.run_ms(10);
    let ids: std::collections::HashSet<_> = sent(&net, A, QUICK)[before..].iter().map(|d| d[20..24].to_vec()).collect();
    assert_eq!(ids.len(), 1);
}

/// A refusal is heard at once; where it got lost it is said again; and the offer is made again later.
#[test]
fn a_refused_offer() {
    for lost in [false, true] {
        let mut net = up(plain(3));
        let old = net.sides[A].child().spi_in;
        let willing = v1(B, entry(B));
        let mut picky = willing.clone();
        picky.v1[0].esp = vec![parse_esp("null-sha256").unwrap()];
        net.ends[B].set_config(picky.into());
        if lost {
            net.lose = |side, data| side == B && data[18] == INFORMATIONAL;
        }
        rekey_child(&mut net, A);
        net.run(1);
        assert_eq!(refusals(&net, A), usize::from(!lost));
        net.lose = |_, _| false;
        net.run(5);
        assert_eq!(refusals(&net, A), 1);
        assert_eq!(net.sides[A].child().spi_in, old);
        net.ends[B].set_config(willing.into());
        net.check = false;
        net.run(300);
        assert_ne!(net.sides[A].child().spi_in, old);
        net.sides.iter().for_each(Side::no_spi_is_lost);
    }
}

#[test]
fn who_is_refused_the_first_pair_is_down_at_once() {
    let mut picky = v1(B, entry(B));
    picky.v1[0].esp = vec![parse_esp("null-sha256").unwrap()];
    let mut net = Net::new(v1(A, entry(A)), picky, 4);
    net.check = false;
    connect(&mut net);
    net.run(2);
    assert!(matches!(net.sides[A].downs()[..], [DownReason::Failed(Failure::Notified(kind))] if kind.0 == 14));
    assert_eq!(net.sides[B].downs(), [DownReason::Deleted]);
}

/// Whoever sees message 3 can answer it before the responder does, with a value of no use or with the initiator's own.
#[test]
fn a_wrong_public_value_does_not_end_the_set_up() {
    for own in [false, true] {
        let mut net = plain(5);
        let fourth = halted(&mut net, |side, data| side == B && data[16] == KE);
        let third = sent(&net, A, MAIN).pop().unwrap();
        let ke = 32..32 + 64;
        assert_eq!((third[16], u16::from_be_bytes([third[30], third[31]])), (KE, 68));
        let mut bad = fourth.clone();
        if own {
            bad[ke.clone()].copy_from_slice(&third[ke]);
        } else {
            bad[ke].fill(0);
        }
        let before = sent(&net, A, MAIN).len();
        net.inject(A, from_peer(A), &bad);
        assert_eq!((sent(&net, A, MAIN).len(), net.sides[A].downs().len()), (before, 0));
        net.run(60);
        net.settled();
    }
}

#[test]
fn a_cookie_of_ours_is_not_the_peers() {
    let mut net = plain(6);
    let mut second = halted(&mut net, |side, _| side == B);
    let mine = second[..8].to_vec();
    second[8..16].copy_from_slice(&mine);
    let before = sent(&net, A, MAIN).len();
    net.inject(A, from_peer(A), &second);
    assert_eq!(sent(&net, A, MAIN).len(), before);
    net.run(60);
    net.settled();
}

/// The key exchange is not sent to an address that has not asked for it, now or at a repetition.
#[test]
fn message_3_from_elsewhere_draws_nothing() {
    let mut net = plain(7);
    let third = halted(&mut net, |side, data| side == A && data[16] == KE);
    let victim = Meta { remote: ([203, 0, 113, 66], 500).into(), ..from_peer(B) };
    let before = sent(&net, B, MAIN).len();
    net.inject(B, victim, &third);
    assert_eq!(sent(&net, B, MAIN).len(), before);
    net.inject(B, from_peer(B), &third);
    assert_eq!(sent(&net, B, MAIN).len(), before + 1);
    net.inject(B, victim, &third);
    assert_eq!(sent(&net, B, MAIN).len(), before + 1);
    net.run(60);
    net.settled();
}

/// What opens with no secret costs a bounded effort, one line of the log, and after three times the set-up.
#[test]
fn message_5_of_a_stranger() {
    let mut net = plain(8);
    let fifth = halted(&mut net, |side, data| side == A && data[16] == ID);
    let mut long = fifth.clone();
    long.resize(28 + 16 * 100, 0x5a);
    let length = long.len() as u32;
    long[24..28].copy_from_slice(&length.to_be_bytes());
    let mut wrong = fifth.clone();
    // Within the identity.
    wrong[28 + 10] ^= 1;
    net.inject(B, from_peer(B), &long);
    assert_eq!(net.sides[B].auth_failures(), [Failure::Protocol("message 5 is too long")]);
    net.inject(B, from_peer(B), &wrong);
    assert_eq!((net.ends[B].half_open(), net.sides[B].auth_failures().len()), (1, 1));
    net.inject(B, from_peer(B), &wrong);
    assert_eq!((net.ends[B].half_open(), net.sides[B].auth_failures().len()), (0, 1));
    assert!(net.sides[B].peers.is_empty());
}

/// In tunnel mode selectors name what is inside, which a new binding of the NAT does not change.
#[test]
fn tunnel_selectors_outlive_a_new_binding() {
    let tunnel = |side| {
        let mut e = entry(side);
        let nets = [["10.1.0.0", "10.1.0.255"], ["10.2.0.0", "10.2.0.255"]];
        let pattern = |[first, last]: [&str; 2]| {
            let addresses = TsAddress::Range(first.parse().unwrap(), last.parse().unwrap());
            vec![TsPattern { protocol: 0, ports: (0, u16::MAX), addresses }]
        };
        e.child.mode = Mode::Tunnel;
        (e.child.local_ts, e.child.remote_ts) = (pattern(nets[side]), pattern(nets[1 - side]));
        e
    };
    let mut net = Net::new(v1(A, tunnel(A)), v1(B, tunnel(B)), 9);
    net.nat = Some(Nat { public: [203, 0, 113, 9].into(), shift: 20_000 });
    let mut net = up(net);
    let old = net.sides[B].child();
    net.nat = Some(Nat { public: [203, 0, 113, 10].into(), shift: 30_000 });
    net.check = false;
    rekey_child(&mut net, A);
    net.run(200);
    assert_eq!(net.sides[B].moves(), [(([203, 0, 113, 10], 34_500).into(), true)]);
    let new = net.sides[B].child();
    assert_ne!(new.spi_in, old.spi_in);
    assert_eq!((&new.local_ts, &new.remote_ts), (&old.local_ts, &old.remote_ts));
    assert_eq!(new.replaces, Some(old.spi_in), "or both would be there for ever");
}

/// An offer is under way while a NAT gives the peer another address: it is made of the ends as they are then.
#[test]
fn an_offer_follows_the_peer() {
    let with_dpd = |side| PadEntry { dpd_delay: Some(Duration::from_secs(5)), ..entry(side) };
    let mut net = Net::new(v1(A, with_dpd(A)), v1(B, with_dpd(B)), 13);
    net.nat = Some(Nat { public: [203, 0, 113, 9].into(), shift: 20_000 });
    let mut net = up(net);
    let old = net.sides[B].child().spi_in;
    net.check = false;
    net.lose = |side, data| side == B && data[18] == QUICK;
    rekey_child(&mut net, B);
    net.run_ms(100);
    net.nat = Some(Nat { public: [203, 0, 113, 10].into(), shift: 30_000 });
    net.run(8);
    assert_eq!(net.sides[B].moves().len(), 1);
    net.lose = |_, _| false;
    net.run(300);
    let new = net.sides[B].child();
    assert_eq!((new.replaces, new.remote), (Some(old), ([203, 0, 113, 10], 34_500).into()));
    assert_eq!(new.remote_ts, [TrafficSelector::host(17, (1701, 1701), [203, 0, 113, 10].into())]);
    // So is a pair that there is.
    net.nat = Some(Nat { public: [203, 0, 113, 11].into(), shift: 30_000 });
    net.run(10);
    rekey_child(&mut net, A);
    net.run(300);
    assert_eq!(net.sides[B].child().replaces, Some(new.spi_in));
}

/// A gateway with as many other peers, each with a secret of its own, before the right one.
fn with_secrets(count: usize) -> Config {
    let mut b = v1(B, entry(B));
    for n in 0..count {
        let secret = format!("secret {n}");
        let other = PadEntry {
            name: format!("other{n}"),
            remote: IdMatch::Exact(format!("other{n}.example.net").parse().unwrap()),
            remote_auth: RemoteAuth::psk(secret.as_bytes()),
            local_auth: LocalAuth::psk(secret.as_bytes()),
            ..entry(B)
        };
        b.pad.push(Arc::new(other));
    }
    b.pad.rotate_left(1);
    b
}

/// Strangers do not keep the gateway busy with its secrets.
#[test]
fn secrets_are_tried_so_often_in_a_second() {
    let mut b = with_secrets(20);
    b.limits.v1_secrets_per_second = 10;
    let mut net = Net::new(v1(A, entry(A)), b, 14);
    let fifth = halted(&mut net, |side, data| side == A && data[16] == ID);
    let mut wrong = fifth.clone();
    wrong[28 + 10] ^= 1;
    let counted = |net: &Net| {
        let refused = net.ends[B].stats().v1_refused;
        (refused.secrets, refused.invalid, net.sides[B].auth_failures().len(), net.sides[B].peers.len())
    };
    net.lose = |side, data| side == A && data[16] == ID;
    net.inject(B, from_peer(B), &wrong);
    assert_eq!(counted(&net), (1, 0, 0, 0));
    // Again, it is known already; another one has to wait.
    net.inject(B, from_peer(B), &wrong);
    net.inject(B, from_peer(B), &fifth);
    assert_eq!(counted(&net), (2, 0, 0, 0));
    net.run_ms(1100);
    assert_eq!(counted(&net), (2, 0, 0, 0));
    net.run_ms(1000);
    assert_eq!(counted(&net), (2, 0, 1, 0), "21 of them in the third second");
    net.run_ms(1000);
    net.inject(B, from_peer(B), &fifth);
    net.run_ms(1900);
    assert_eq!(counted(&net), (3, 0, 1, 0));
    net.run_ms(200);
    assert_eq!(counted(&net), (3, 0, 1, 1));
    net.lose = |_, _| false;
    net.run(60);
    net.settled();
}

/// Whoever has other business with the gateway does not wait until all secrets of a large PAD are tried.
#[test]
fn secrets_are_tried_some_at_a_time() {
    let mut net = Net::new(v1(A, entry(A)), with_secrets(2500), 22);
    let fifth = halted(&mut net, |side, data| side == A && data[16] == ID);
    net.inject(B, from_peer(B), &fifth);
    for _ in 0..2 {
        assert!(net.sides[B].peers.is_empty());
        assert_eq!(net.ends[B].poll_timeout(), Some(net.now));
        net.ends[B].handle_timeout(net.now);
        net.flush();
    }
    assert_eq!((net.sides[B].peers.len(), net.ends[B].stats().v1_refused), (1, v1::Refused::default()));
    net.run(60);
    net.settled();
}

/// Nor does he when many have a message to be tried: they take turns.
#[test]
fn secrets_are_tried_for_one_after_the_other() {
    let mut net = Net::new(v1(A, entry(A)), with_secrets(2500), 23);
    let mut fifths = vec![halted(&mut net, |side, data| side == A && data[16] == ID)];
    net.log.clear();
    fifths.push(halted(&mut net, |side, data| side == A && data[16] == ID));
    fifths.iter().for_each(|fifth| net.inject(B, from_peer(B), fifth));
    let up = |net: &Net| net.sides[B].events.iter().filter(|e| matches!(e, Event::PeerUp { .. })).count();
    // Each has had 1,000, and needs two turns more.
    for ups in [0, 0, 1, 2] {
        assert_eq!(net.ends[B].poll_timeout(), Some(net.now));
        net.ends[B].handle_timeout(net.now);
        net.flush();
        assert_eq!(up(&net), ups);
    }
    assert_eq!(net.ends[B].stats().v1_refused, v1::Refused::default());
    assert_ne!(net.ends[B].poll_timeout(), Some(net.now));
}

/// Whoever is on the way may spoil a message, or send another before it: that proves nothing, and ends nothing.
#[test]
fn a_spoilt_proof_does_not_end_the_set_up() {
    for certificates in [false, true] {
        for side in [A, B] {
            let mut ends = if certificates {
                certified(["client.example.net", "gateway.example.net"])
            } else {
                [v1(A, entry(A)), v1(B, entry(B))]
            };
            // In one datagram.
            ends.iter_mut().for_each(|end| end.fragment_size = (4000, 4000));
            let mut net = with_clocks(ends, 15);
            let message = halted(
                &mut net,
                if side == A {
                    |side, data| side == A && data[16] == ID
                } else {
                    |side, data| side == B && data[16] == ID
                },
            );
            let mut bad = message.clone();
            // Within the signature, behind which there is INITIAL-CONTACT; or within the hash.
            let at = if certificates { bad.len() - 100 } else { 28 + 33 };
            bad[at] ^= 1;
            for _ in 0..2 {
                net.inject(1 - side, from_peer(1 - side), &bad);
            }
            assert!(net.sides[A].downs().is_empty());
            let reported = net.sides[B].auth_failures();
            assert_eq!(reported.len(), usize::from(side == A), "{reported:?}");
            assert!(reported.iter().all(|why| matches!(why, Failure::Authentication(_))));
            net.run(60);
            net.settled();
        }
    }
}

/// Where no better answer comes, the set-up ends by what was wrong with the last one.
#[test]
fn a_wrong_proof_is_reported_in_the_end() {
    let mut net = plain(16);
    let mut sixth = halted(&mut net, |side, data| side == B && data[16] == ID);
    net.cut = true;
    sixth[28 + 33] ^= 1;
    net.inject(A, from_peer(A), &sixth);
    assert!(net.sides[A].downs().is_empty());
    net.run(200);
    assert!(matches!(net.sides[A].downs()[..], [DownReason::Failed(Failure::Authentication(_))]));
}

/// Of strangers there are so many at once; who comes takes the place of whoever has said nothing since its first message.
#[test]
fn a_newcomer_at_the_half_open_limit() {
    let mut b = v1(B, entry(B));
    b.limits.max_half_open = 2;
    let mut net = Net::new(v1(A, entry(A)), b, 17);
    let fifth = halted(&mut net, |side, data| side == A && data[16] == ID);
    let stranger = |net: &mut Net, n: u8| {
        let mut first = sent(net, A, MAIN)[0].clone();
        first[0] ^= n;
        let before = sent(net, B, MAIN).len();
        net.inject(B, Meta { remote: ([192, 0, 2, n], 500).into(), ..from_peer(B) }, &first);
        sent(net, B, MAIN).len() - before
    };
    // There is one that has got further already.
    for n in 1..10 {
        assert_eq!((stranger(&mut net, n), net.ends[B].half_open()), (1, 2));
        assert_eq!(net.ends[B].stats().v1_refused.half_open, u64::from(n) - 1);
    }
    net.inject(B, from_peer(B), &fifth);
    assert_eq!((net.sides[B].peers.len(), net.ends[B].half_open()), (1, 1));
    // What is longer than any first message costs nobody its place.
    let mut long = sent(&net, A, MAIN)[0].clone();
    let length = |at: usize, long: &[u8]| usize::from(u16::from_be_bytes([long[at + 2], long[at + 3]]));
    let mut last = 28;
    while long[last] != 0 {
        last += length(last, &long);
    }
    (long[0], long[last]) = (0xff, VENDOR);
    long.extend([[0, 0, 0x13, 0x88].as_slice(), &[0x5a; 4996]].concat());
    let total = long.len() as u32;
    long[24..28].copy_from_slice(&total.to_be_bytes());
    let before = net.ends[B].stats().v1_refused;
    net.inject(B, Meta { remote: ([192, 0, 2, 99], 500).into(), ..from_peer(B) }, &long);
    let after = net.ends[B].stats().v1_refused;
    assert_eq!((after.half_open, after.invalid), (before.half_open, before.invalid + 1));
    assert_eq!(net.ends[B].half_open(), 1);
}

#[test]
fn nobody_who_has_got_further_makes_room() {
    let mut b = v1(B, entry(B));
    b.limits.max_half_open = 1;
    let mut net = Net::new(v1(A, entry(A)), b, 18);
    halted(&mut net, |side, data| side == A && data[16] == ID);
    let mut first = sent(&net, A, MAIN)[0].clone();
    first[0] ^= 1;
    let before = sent(&net, B, MAIN).len();
    net.inject(B, from_peer(B), &first);
    assert_eq!((sent(&net, B, MAIN).len(), net.ends[B].stats().v1_refused.half_open), (before, 1));
    net.run(60);
    net.settled();
}

fn pieces(message: &[u8]) -> Vec<Vec<u8>> {
    split(message, Header::parse(message).unwrap(), 1, 80)
}

/// Fragments are taken from whoever has said that it makes them, and has answered from where it says it is.
#[test]
fn fragments_have_to_be_agreed_on() {
    for agreed in [false, true] {
        let mut net = plain(19);
        without(&mut net, if agreed { &[] } else { &[FRAGMENTATION] });
        let fifth = {
            net.lose = |side, data| side == A && data[16] == ID;
            net.run_ms(100);
            sent(&net, A, MAIN).pop().unwrap()
        };
        assert_eq!(fifth[16], ID);
        net.lose = |_, _| false;
        net.check = false;
        let pieces = pieces(&fifth);
        assert!(pieces.len() > 1);
        pieces.iter().for_each(|piece| net.inject(B, from_peer(B), piece));
        assert_eq!(net.sides[B].peers.len(), usize::from(agreed));
        let refused = if agreed { 0 } else { pieces.len() as u64 };
        assert_eq!(net.ends[B].stats().v1_refused.invalid, refused);
        net.run(60);
        net.settled();
    }
}

#[test]
fn a_stranger_fills_no_memory_with_fragments() {
    let mut net = plain(20);
    let third = halted(&mut net, |side, data| side == A && data[16] == KE);
    let refused = |net: &Net| net.ends[B].stats().v1_refused.invalid;
    let (pieces, before) = (pieces(&third), sent(&net, B, MAIN).len());
    pieces.iter().for_each(|piece| net.inject(B, from_peer(B), piece));
    assert_eq!((refused(&net), sent(&net, B, MAIN).len()), (pieces.len() as u64, before));
    net.lose = |side, data| side == A && data[16] == ID;
    net.inject(B, from_peer(B), &third);
    net.run_ms(100);
    let header = Header::parse(&third).unwrap();
    let large = split(&[0; 20_000], header, 2, 2036);
    assert_eq!(large.len(), 10);
    let before = refused(&net);
    large.iter().take(9).for_each(|piece| net.inject(B, from_peer(B), piece));
    assert_eq!(refused(&net), before + 1, "more than 16 KiB");
    // A peer may have more to say.
    net.lose = |_, _| false;
    net.run(60);
    net.settled();
    let before = refused(&net);
    large.iter().take(9).for_each(|piece| net.inject(B, from_peer(B), piece));
    assert_eq!(refused(&net), before);
}

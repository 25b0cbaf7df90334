//! IKEv1 when messages are lost, refused, or come from strangers: what a fault costs is the exchange, not the peer.

use super::net::*;
use super::v1::{connect, plain, up, v1};
use ike::v1::proposal::parse_esp;
use ike::*;
use std::net::SocketAddr;
use std::time::Duration;

const MAIN: u8 = 2;
const INFORMATIONAL: u8 = 5;
const QUICK: u8 = 32;
const KE: u8 = 4;
const ID: u8 = 5;

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
        assert_eq!((net.sides[A].children.len(), net.sides[A].selected[&peer]), (2, old));
        if packet {
            net.ends[A].child_used(net.now, new);
            net.flush();
        } else {
            net.run(5);
        }
        assert_eq!(net.sides[A].selected[&peer], new);
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
}

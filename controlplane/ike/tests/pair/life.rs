//! Life after the set-up: rekeying from either side and from both at once, dead peers, deletions, INITIAL_CONTACT.

use super::net::*;
use ike::*;
use std::time::Duration;

/// No SAs are left over but one IKE SA and its timers.
fn clean(net: &mut Net) {
    net.run(200);
    net.settled();
    assert!(net.sides.iter().all(|s| s.downs().is_empty()));
}

#[test]
fn child_rekey_from_either_side() {
    for side in [A, B] {
        let mut net = Net::plain(side as u64 + 1).up();
        let before = net.sides[side].child().spi_in;
        rekey_child(&mut net, side);
        net.run(5);
        net.settled();
        let child = net.sides[side].child();
        assert_eq!(child.replaces, Some(before));
        assert_ne!(*child.inbound.encr, *net.sides[side].grace[&before].0.inbound.encr);
        clean(&mut net);
    }
}

#[test]
fn child_rekey_with_forward_secrecy() {
    let esp = "aes256gcm16-ecp256-x25519";
    let [mut a, mut b] = [A, B].map(entry);
    a.child.esp_proposals = vec![esp.parse().unwrap()];
    b.child.esp_proposals = vec!["aes256gcm16-x25519".parse().unwrap()];
    let mut net = Net::new(config(a), config(b), 1).up();
    // A guesses P-256 and is told X25519.
    rekey_child(&mut net, A);
    net.run(5);
    net.settled();
    assert_eq!(net.sides[A].child().suite.ke, Some(31));
    rekey_child(&mut net, B);
    net.run(5);
    net.settled();
    assert_eq!(net.sides[A].child().suite.ke, Some(31));
}

#[test]
fn ike_rekey_from_either_side() {
    for side in [A, B] {
        let mut net = Net::plain(side as u64 + 1).up();
        let before = net.ends[A].sas().next().unwrap().spi_i;
        for _ in 0..3 {
            rekey_ike(&mut net, side);
            net.run(5);
            net.settled();
        }
        assert_ne!(net.ends[A].sas().next().unwrap().spi_i, before);
        // The rekeyed IKE SA works, in both directions.
        rekey_child(&mut net, 1 - side);
        net.run(5);
        rekey_child(&mut net, side);
        clean(&mut net);
    }
}

#[test]
fn ike_rekey_with_another_group() {
    let [mut a, mut b] = [A, B].map(entry);
    a.ike_proposals = vec!["aes256gcm16-prfsha256-x25519-ecp256".parse().unwrap()];
    b.ike_proposals = a.ike_proposals.clone();
    let mut net = Net::new(config(a), config(b), 1).up();
    // The responder's policy changes for new SAs only: an established peer keeps its entry.
    let mut changed = entry(B);
    changed.ike_proposals = vec!["aes128gcm16-prfsha256-ecp256".parse().unwrap()];
    net.ends[B].set_config(config(changed).into());
    rekey_ike(&mut net, A);
    net.run(5);
    net.settled();
}

#[test]
fn simultaneous_child_rekey() {
    for seed in 0..60 {
        let mut net = Net::plain(seed).up();
        if seed % 2 == 1 {
            net.bad_link();
        }
        rekey_child(&mut net, A);
        // From at once to overlapping.
        net.run_ms(seed % 5 * 5);
        rekey_child(&mut net, B);
        net.run(60);
        (net.loss, net.duplicate) = (0, 0);
        clean(&mut net);
    }
}

#[test]
fn simultaneous_ike_rekey() {
    for seed in 0..60 {
        let mut net = Net::plain(seed).up();
        if seed % 2 == 1 {
            net.bad_link();
        }
        rekey_ike(&mut net, A);
        net.run_ms(seed % 5 * 5);
        rekey_ike(&mut net, B);
        net.run(60);
        (net.loss, net.duplicate) = (0, 0);
        clean(&mut net);
        rekey_child(&mut net, if seed % 3 == 0 { A } else { B });
        clean(&mut net);
    }
}

#[test]
fn everything_at_once() {
    for seed in 0..200 {
        // Of some thousand exchanges one may lose all of six transmissions; more of them, and none does.
        let [a, b] = [A, B].map(|side| {
            let mut c = config(entry(side));
            c.timers.tries = 12;
            c
        });
        let mut net = Net::new(a, b, seed).up();
        rekey_everything(&mut net, seed);
        clean(&mut net);
    }
}

#[test]
fn lifetimes() {
    for seed in 0..4 {
        let [mut a, mut b] = [A, B].map(entry);
        for e in [&mut a, &mut b] {
            e.child.rekey_after = Some(Duration::from_secs(100));
            e.ike_rekey_after = Some(Duration::from_secs(350));
        }
        let mut net = Net::new(config(a), config(b), seed).up();
        net.bad_link();
        net.run(3600);
        (net.loss, net.duplicate) = (0, 0);
        net.run(30);
        assert_eq!(net.sides[A].peers.len(), 1);
        assert!(net.sides.iter().all(|s| s.downs().is_empty()));
        let ups = net.sides[A].events.iter().filter(|e| matches!(e, Event::ChildUp { .. })).count();
        assert!(ups > 30, "{ups}");
    }
}

#[test]
fn dead_peer() {
    let [mut a, mut b] = [A, B].map(entry);
    a.dpd_delay = Some(Duration::from_secs(30));
    b.dpd_delay = Some(Duration::from_secs(30));
    let mut net = Net::new(config(a), config(b), 1).up();
    // Silent but alive: probes are answered.
    net.run(300);
    net.settled();
    // Traffic makes probes unnecessary.
    let sent = net.log.len();
    for _ in 0..30 {
        net.run(10);
        for side in [A, B] {
            let spi = net.sides[side].child().spi_in;
            net.ends[side].child_used(net.now, spi);
        }
    }
    assert!(net.log.len() <= sent + 2, "{} messages", net.log.len() - sent);
    net.cut = true;
    net.check = false;
    net.run(300);
    for (end, side) in net.ends.iter().zip(&net.sides) {
        assert_eq!(side.downs(), [DownReason::Dead]);
        assert_eq!((end.sas().count(), end.poll_timeout()), (0, None));
    }
}

#[test]
fn close_from_either_side() {
    for side in [A, B] {
        let mut net = Net::plain(1).up();
        net.check = false;
        let peer = net.sides[side].peer();
        net.ends[side].close(net.now, peer).unwrap();
        net.run(60);
        assert_eq!(net.sides[side].downs(), [DownReason::Closed]);
        assert_eq!(net.sides[1 - side].downs(), [DownReason::Deleted]);
        assert!(net.ends.iter().all(|e| e.poll_timeout().is_none() && e.sas().count() == 0));
        // The handle is free again.
        assert_eq!(net.connect().0.get(), 1);
        net.check = true;
        net.run(5);
        net.settled();
    }
}

#[test]
fn closing_while_the_ike_sa_is_rekeyed() {
    for seed in 0..60 {
        for (rekeyer, closer) in [(A, A), (A, B), (B, A), (B, B)] {
            let mut net = if seed % 2 == 0 {
                Net::plain(seed)
            } else {
                let [a, b] = [A, B].map(|side| config(PadEntry { mlkem: true, ..entry(side) }));
                Net::new(a, b, seed)
            }
            .up();
            net.check = false;
            if seed >= 30 {
                rekey_ike(&mut net, 1 - rekeyer);
            }
            rekey_ike(&mut net, rekeyer);
            net.run_ms(seed % 8 * 7);
            let peer = net.sides[closer].peer();
            net.ends[closer].close(net.now, peer).unwrap();
            net.run(400);
            for (end, side) in net.ends.iter().zip(&net.sides) {
                assert_eq!((side.downs().len(), end.sas().count()), (1, 0), "{seed} {rekeyer} {closer}");
                assert!(end.poll_timeout().is_none());
                side.no_spi_is_lost();
            }
            assert_eq!(net.sides[closer].downs(), [DownReason::Closed], "{seed} {rekeyer} {closer}");
        }
    }
}

#[test]
fn both_close() {
    for seed in 0..20 {
        let mut net = Net::plain(seed).up();
        net.check = false;
        net.bad_link();
        for side in [A, B] {
            let peer = net.sides[side].peer();
            net.ends[side].close(net.now, peer).unwrap();
            net.run_ms(seed % 3 * 7);
        }
        net.run(300);
        for (end, side) in net.ends.iter().zip(&net.sides) {
            assert_eq!(side.downs().len(), 1);
            assert!(end.poll_timeout().is_none());
        }
    }
}

#[test]
fn closing_while_connecting() {
    let mut net = Net::plain(1);
    let peer = net.connect();
    net.ends[A].close(net.now, peer).unwrap();
    net.run(60);
    assert_eq!(net.sides[A].downs(), [DownReason::Closed]);
    assert!(net.ends.iter().all(|e| e.poll_timeout().is_none() && e.half_open() == 0));
}

#[test]
fn initial_contact_replaces_the_older_incarnation() {
    let mut net = Net::plain(1).up();
    net.check = false;
    // A crashed: it starts anew and remembers nothing.
    net.restart(A, config(entry(A)), 99);
    net.connect();
    net.run(5);
    let downs = net.sides[B].downs();
    assert!(matches!(downs[..], [DownReason::Replaced(by)] if by.0.get() == 2), "{downs:?}");
    assert_eq!(net.ends[B].sas().count(), 1);
    // A second connection of a client that has one does not claim initial contact.
    net.connect();
    net.run(5);
    assert_eq!(net.sides[B].downs().len(), 1);
    assert_eq!(net.ends[B].sas().count(), 2);
}

#[test]
fn a_peer_that_forgot_a_child_loses_it_at_rekey() {
    let mut net = Net::plain(1).up();
    net.check = false;
    let (a, b) = (net.sides[A].child(), net.sides[B].peer());
    // Both ends delete or rekey in every order; what is left is consistent.
    net.ends[A].rekey_child(net.now, a.spi_in).unwrap();
    net.ends[B].close(net.now, b).unwrap();
    net.run(60);
    assert_eq!(net.sides[A].downs(), [DownReason::Deleted]);
    assert_eq!(net.sides[B].downs(), [DownReason::Closed]);
}

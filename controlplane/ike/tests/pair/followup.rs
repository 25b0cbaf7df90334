//! Rekeys with ML-KEM in IKE_FOLLOWUP_KE (RFC 9370).

use super::net::*;
use ike::*;

const FOLLOWUP: u8 = 44;

/// Both ends have ML-KEM, and child SAs have a key exchange of their own.
fn hybrid(seed: u64, change: impl Fn(usize, &mut PadEntry)) -> Net {
    let [a, b] = [A, B].map(|side| {
        let mut e = entry(side);
        e.mlkem = true;
        e.child.esp_proposals = vec!["aes256gcm16-x25519".parse().unwrap()];
        change(side, &mut e);
        let mut c = config(e);
        // Whatever a bad link does, peers are not given up.
        c.timers.tries = 12;
        c
    });
    Net::new(a, b, seed)
}

/// Different IKE_FOLLOWUP_KE requests of each side: message ids of one IKE SA.
fn followups(net: &Net) -> [usize; 2] {
    [A, B].map(|side| {
        let ours = net.log.iter().filter(|(from, m)| *from == side && m[18] == FOLLOWUP && m[19] & 0x20 == 0);
        ours.map(|(_, m)| [&m[..16], &m[20..24]].concat()).collect::<std::collections::HashSet<_>>().len()
    })
}

fn clean(net: &mut Net) {
    (net.loss, net.duplicate) = (0, 0);
    // A request that was lost many times is repeated rarely.
    net.run(4000);
    net.settled();
    assert!(net.sides.iter().all(|s| s.downs().is_empty()));
}

#[test]
fn the_ike_sa_from_either_side() {
    for side in [A, B] {
        let mut net = hybrid(1, |_, _| ()).up();
        for n in 1..=3 {
            rekey_ike(&mut net, side);
            net.run(5);
            net.settled();
            assert_eq!(followups(&net)[side], n);
            let suite = net.ends[B].sas().next().unwrap().suite;
            assert_eq!(suite.as_deref(), Some("aes256gcm16-prfsha256-x25519-ke1_mlkem768"));
        }
        // The new keys are the same at both ends, and the SA works in both directions.
        rekey_child(&mut net, 1 - side);
        net.run(5);
        rekey_child(&mut net, side);
        clean(&mut net);
        assert!(net.largest <= 576 - 28 - 4, "{}", net.largest);
    }
}

#[test]
fn the_child_sa_from_either_side() {
    for side in [A, B] {
        let mut net = hybrid(1, |_, _| ()).up();
        for n in 1..=3 {
            let before = net.sides[side].child().spi_in;
            rekey_child(&mut net, side);
            net.run(5);
            net.settled();
            let child = net.sides[side].child();
            assert_eq!((child.replaces, child.suite.ke, child.suite.addke1), (Some(before), Some(31), Some(36)));
            assert_eq!(followups(&net)[side], n);
        }
        clean(&mut net);
    }
}

#[test]
fn a_peer_that_offers_nothing_but_ml_kem() {
    for side in [A, B] {
        let mut net = hybrid(1, |s, e| {
            if s == side {
                e.mlkem = false;
                e.ike_proposals = vec!["aes256gcm16-prfsha256-x25519-ke1_mlkem768".parse().unwrap()];
                e.child.esp_proposals = vec!["aes256gcm16-x25519-ke1_mlkem768".parse().unwrap()];
            } else {
                // Without a key exchange by preference, but with what the peer wants.
                e.child.esp_proposals = EspProposal::defaults();
            }
        })
        .up();
        rekey_ike(&mut net, side);
        rekey_child(&mut net, side);
        net.run(10);
        net.settled();
        assert_eq!(followups(&net)[side], 2);
        assert_eq!(net.sides[A].child().suite.addke1, Some(36));
        rekey_ike(&mut net, 1 - side);
        clean(&mut net);
        assert_eq!(followups(&net)[1 - side], 1);
    }
}

#[test]
fn without_ml_kem_nothing_follows() {
    for who in [None, Some(A), Some(B)] {
        let mut net = hybrid(1, |side, e| e.mlkem = who == Some(side)).up();
        for side in [A, B] {
            rekey_ike(&mut net, side);
            net.run(5);
            rekey_child(&mut net, side);
            net.run(5);
            net.settled();
        }
        assert_eq!(followups(&net), [0, 0]);
        assert_eq!(net.sides[A].child().suite.addke1, None);
    }
    // Nor for a child SA without a key exchange of its own.
    let mut net = hybrid(1, |_, e| e.child.esp_proposals = EspProposal::defaults()).up();
    rekey_child(&mut net, A);
    net.run(5);
    net.settled();
    assert_eq!((followups(&net), net.sides[A].child().suite.ke), ([0, 0], None));
}

#[test]
fn retransmission() {
    // The first answers are lost: the responder has its SA, and repeats itself.
    let answers: fn(usize, &[u8]) -> bool = |_, m| m[18] == FOLLOWUP && m[19] & 0x20 != 0;
    for rekey in [rekey_child, rekey_ike] {
        for side in [A, B] {
            let mut net = hybrid(1, |_, _| ()).up();
            net.lose = answers;
            rekey(&mut net, side);
            net.run(8);
            net.lose = |_, _| false;
            net.run(20);
            net.settled();
            assert_eq!(followups(&net)[side], 1);
            clean(&mut net);
        }
    }
}

#[test]
fn too_late() {
    // The responder has forgotten the rekey, says STATE_NOT_FOUND, and the next attempt succeeds.
    for rekey in [rekey_child, rekey_ike] {
        let mut net = hybrid(1, |_, _| ()).up();
        net.lose = |from, m| from == A && m[18] == FOLLOWUP;
        rekey(&mut net, A);
        net.run(45);
        let children = net.ends.iter().map(|e| e.sas().next().unwrap().children.len());
        assert_eq!(children.collect::<Vec<_>>(), [1, 1]);
        net.sides[B].no_spi_is_lost();
        net.lose = |_, _| false;
        net.run(90);
        net.settled();
        assert_eq!(followups(&net), [2, 0]);
        clean(&mut net);
    }
}

#[test]
fn a_peer_lost_during_a_followup() {
    for rekey in [rekey_child, rekey_ike] {
        let mut net = hybrid(1, |_, _| ()).up();
        net.check = false;
        net.lose = |_, m| m[18] == FOLLOWUP;
        rekey(&mut net, A);
        net.run_ms(50);
        net.cut = true;
        net.run(40_000);
        assert_eq!(net.sides[A].downs(), [DownReason::Dead]);
        net.sides.iter().for_each(Side::no_spi_is_lost);
        assert!(net.sides[A].children.is_empty());
    }
}

#[test]
fn simultaneous_rekeys() {
    for rekey in [rekey_child, rekey_ike] {
        let mut stopped = 0;
        for seed in 0..80 {
            let mut net = hybrid(seed, |_, _| ()).up();
            if seed % 2 == 1 {
                net.bad_link();
            }
            rekey(&mut net, A);
            // From at once to when the follow-up is on its way.
            net.run_ms(seed % 6 * 5);
            rekey(&mut net, B);
            net.run(60);
            if seed % 12 == 0 {
                // Both at once, over a good link: the loser has not gone on.
                let sent = followups(&net);
                assert_eq!(sent[A] + sent[B], 1, "{seed}");
                stopped += sent[B];
            }
            clean(&mut net);
            rekey_child(&mut net, if seed % 3 == 0 { A } else { B });
            clean(&mut net);
        }
        // Either side wins now and then.
        assert!((1..=6).contains(&stopped), "{stopped}");
    }
}

#[test]
fn simultaneous_rekeys_of_which_one_is_hybrid() {
    // B has no ML-KEM of its own choice, but takes it: its own rekeys are plain.
    for seed in 0..40 {
        let mut net = hybrid(seed, |side, e| {
            if side == A {
                e.child.esp_proposals =
                    vec!["aes256gcm16-x25519-mlkem768".parse().unwrap(), "aes256gcm16".parse().unwrap()];
            } else {
                e.child.esp_proposals = EspProposal::defaults();
            }
        })
        .up();
        if seed % 2 == 1 {
            net.bad_link();
        }
        rekey_child(&mut net, A);
        net.run_ms(seed % 6 * 5);
        rekey_child(&mut net, B);
        clean(&mut net);
    }
}

#[test]
fn everything_at_once() {
    for seed in 0..120 {
        let mut net = hybrid(seed, |_, _| ()).up();
        rekey_everything(&mut net, seed);
        clean(&mut net);
    }
}

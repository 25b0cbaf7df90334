//! Inbound SPIs: the harness refuses one that comes back twice; here none stays away, whatever an exchange comes to.

use super::net::*;
use ike::auth::LocalAuth;
use ike::*;
use std::time::Duration;

fn drawn(net: &Net, side: usize) -> u32 {
    net.sides[side].spis.lock().unwrap().drawn
}

fn none_lost(net: &Net) {
    net.sides.iter().for_each(Side::no_spi_is_lost);
}

fn with(change: impl Fn(usize, &mut PadEntry)) -> Net {
    let [a, b] = [A, B].map(|side| {
        let mut e = entry(side);
        change(side, &mut e);
        config(e)
    });
    Net::new(a, b, 7)
}

/// A has sent IKE_AUTH, and it goes nowhere.
fn auth_sent() -> Net {
    let mut net = Net::plain(1);
    net.connect();
    net.run_ms(15);
    net.cut = true;
    net.run_ms(10);
    assert_eq!((net.log.len(), drawn(&net, A), drawn(&net, B)), (3, 1, 0));
    net
}

#[test]
fn a_half_open_sa_that_expires() {
    let mut net = auth_sent();
    net.run(120);
    assert_eq!(net.sides[A].downs(), [DownReason::Failed(Failure::Timeout)]);
    none_lost(&net);
}

#[test]
fn a_half_open_sa_that_is_closed() {
    let mut net = auth_sent();
    let peer = net.ends[A].sas().next().unwrap().peer;
    net.ends[A].close(net.now, peer).unwrap();
    net.run(1);
    assert_eq!(net.sides[A].downs(), [DownReason::Closed]);
    none_lost(&net);
}

#[test]
fn failed_authentication() {
    // The responder refuses, the initiator does, and the responder is somebody else.
    let key: fn(usize, &mut PadEntry) = |side, e| {
        if side == A {
            e.local_auth = LocalAuth::psk(b"something else");
        }
    };
    let false_gateway: fn(usize, &mut PadEntry) = |side, e| {
        if side == B {
            e.local_auth = LocalAuth::psk(b"something else");
        }
    };
    let stranger: fn(usize, &mut PadEntry) = |side, e| {
        if side == A {
            e.local_id = "stranger.example.net".parse().unwrap();
        }
    };
    for change in [key, false_gateway, stranger] {
        let mut net = with(change);
        net.check = false;
        net.connect();
        net.run(60);
        assert_eq!(drawn(&net, A), 1);
        assert!(matches!(net.sides[A].downs()[..], [DownReason::Failed(_)]));
        none_lost(&net);
        assert!(net.sides.iter().all(|s| s.children.is_empty()));
    }
}

#[test]
fn a_refused_child() {
    let esp: fn(usize, &mut PadEntry) = |side, e| {
        e.child.esp_proposals = vec![if side == A { "aes128gcm16" } else { "aes256gcm16" }.parse().unwrap()];
    };
    // The responder makes a tunnel, which the initiator deletes.
    let mode: fn(usize, &mut PadEntry) = |side, e| {
        if side == B {
            e.child.mode = Mode::Tunnel;
        }
    };
    for change in [esp, mode] {
        let mut net = with(change);
        net.check = false;
        net.connect();
        net.run(30);
        assert_eq!(drawn(&net, A), 1);
        assert!(net.sides.iter().all(|s| s.peers.len() == 1 && s.children.is_empty()));
        none_lost(&net);
    }
}

#[test]
fn an_unmade_child_of_an_sa_that_is_lost() {
    let mut net = with(|side, e| {
        if side == B {
            e.child.mode = Mode::Tunnel;
        }
    });
    net.check = false;
    net.connect();
    net.run_ms(45);
    net.cut = true;
    net.run(300);
    assert_eq!((drawn(&net, A), net.sides[A].downs()), (1, vec![DownReason::Dead]));
    net.sides[A].no_spi_is_lost();
}

#[test]
fn a_refused_rekey() {
    let mut net = Net::plain(1).up();
    net.sides[B].spis.lock().unwrap().limit = Some(1);
    let spi = net.sides[A].child().spi_in;
    net.ends[A].rekey_child(net.now, spi).unwrap();
    net.run(35);
    // Refused, and tried again twice.
    assert!(drawn(&net, A) >= 3, "{}", drawn(&net, A));
    net.run(4);
    net.settled();
    net.check = false;
    let peer = net.sides[A].peer();
    net.ends[A].close(net.now, peer).unwrap();
    net.run(60);
    none_lost(&net);
    assert!(net.sides[A].children.is_empty());
}

#[test]
fn no_spi_for_a_rekey() {
    let mut net = Net::plain(1).up();
    net.sides[A].spis.lock().unwrap().limit = Some(1);
    let child = net.sides[A].child();
    net.ends[A].rekey_child(net.now, child.spi_in).unwrap();
    net.run(15);
    net.settled();
    assert_eq!(net.sides[A].child().spi_in, child.spi_in);
    // When there is one, the rekey is made up for.
    net.sides[A].spis.lock().unwrap().limit = None;
    net.run(15);
    net.settled();
    assert_eq!(net.sides[A].child().replaces, Some(child.spi_in));
}

#[test]
fn a_peer_lost_while_a_rekey_is_under_way() {
    for side in [A, B] {
        let mut net = Net::plain(1).up();
        net.check = false;
        net.cut = true;
        let spi = net.sides[side].child().spi_in;
        net.ends[side].rekey_child(net.now, spi).unwrap();
        net.run(300);
        assert_eq!((drawn(&net, side), net.sides[side].downs()), (2, vec![DownReason::Dead]));
        none_lost(&net);
        assert!(net.sides[side].children.is_empty());
    }
}

#[test]
fn a_peer_replaced_or_deleting_while_a_rekey_is_under_way() {
    // Deleted: B's rekey is on its way when A's DELETE comes.
    let mut net = Net::plain(1).up();
    net.check = false;
    let (spi, peer) = (net.sides[B].child().spi_in, net.sides[A].peer());
    net.ends[A].close(net.now, peer).unwrap();
    net.ends[B].rekey_child(net.now, spi).unwrap();
    net.run(60);
    assert_eq!((drawn(&net, B), net.sides[B].downs()), (2, vec![DownReason::Deleted]));
    none_lost(&net);
    // Replaced: A comes back with INITIAL_CONTACT.
    let mut net = Net::plain(1).up();
    net.check = false;
    net.restart(A, config(entry(A)), 99);
    let spi = net.sides[B].child().spi_in;
    net.ends[B].rekey_child(net.now, spi).unwrap();
    net.connect();
    net.run(5);
    assert!(matches!(net.sides[B].downs()[..], [DownReason::Replaced(_)]));
    assert_eq!(drawn(&net, B), 3);
    none_lost(&net);
}

#[test]
fn churn() {
    for seed in 0..40 {
        let [a, b] = [A, B].map(|side| {
            let mut e = entry(side);
            e.child.rekey_after = Some(Duration::from_secs(20));
            e.ike_rekey_after = Some(Duration::from_secs(70));
            e.dpd_delay = Some(Duration::from_secs(15));
            let mut c = config(e);
            // Given up soon, so that peers get lost.
            c.timers.tries = 3;
            c
        });
        let mut net = Net::new(a, b, seed);
        net.check = false;
        net.bad_link();
        for _ in 0..20 {
            net.connect();
            net.run(30 + seed);
        }
        for side in [A, B] {
            let peers: Vec<_> = net.sides[side].peers.keys().copied().collect();
            for peer in peers {
                net.ends[side].close(net.now, peer).unwrap();
            }
        }
        net.run(300);
        assert!(drawn(&net, A) > 20 && net.sides.iter().all(|s| s.children.is_empty() && s.peers.is_empty()));
        none_lost(&net);
    }
}

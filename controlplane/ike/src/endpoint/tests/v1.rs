//! IKEv1: what our own initiator does not send.

use super::*;
use crate::event::ChildDownReason;
use crate::v1::payload::notify;
use crate::v1::proposal::{Phase1, esp_defaults};
use std::time::Duration;

fn pair() -> Pair {
    let now = Instant::now();
    let mut ends = [0, 1].map(|side| {
        let mut end = endpoint(side, false);
        let (proposals, esp) = (Phase1::defaults(&[]), esp_defaults(&[]));
        let listener =
            crate::v1::Listener { local: address(side).ip(), proposals, esp, sha256_96: false, legacy: None };
        end.set_config(Config { v1: vec![listener], ..Config::clone(&end.policy.config) }.into());
        let mut next = 0x0100_0000;
        end.spis = Box::new(move |_| {
            next += 1;
            Some(next)
        });
        end
    });
    let peer = ends[0].initiate_v1(now, "peer", address(0), address(1)).unwrap();
    Pair { ends, now, peer }
}

/// After a restart Apple's clients do main mode, then say INITIAL-CONTACT.
#[test]
fn initial_contact_after_main_mode() {
    let mut pair = pair();
    pair.deliver();
    let before = pair.ends[1].sas().next().unwrap();
    pair.now += Duration::from_secs(5);
    // A main mode without INITIAL-CONTACT from the same place is the same peer's.
    pair.ends[0].rekey_ike(pair.now, pair.peer).unwrap();
    let [_, b] = pair.deliver();
    assert!(b.is_empty(), "{b:?}");
    let (now, peer) = (pair.now, pair.peer);
    pair.ends[0].with_v1(now, |v1, ctx| v1.say(ctx, peer, notify::INITIAL_CONTACT, Vec::new()));
    let [_, b] = pair.deliver();
    let [Event::ChildDown { spi_in, reason: ChildDownReason::Deleted, .. }] = b[..] else { panic!("{b:?}") };
    assert_eq!(before.children, [spi_in]);
    let after = pair.ends[1].sas().next().unwrap();
    assert_eq!((after.peer, after.children.len()), (before.peer, 0));
    assert_ne!(after.spi_i, before.spi_i);
    // What the old ISAKMP SA says is nobody's now; the new one makes pairs.
    let child = pair.ends[0].sas().next().unwrap().children[0];
    pair.ends[0].rekey_child(now, child).unwrap();
    pair.deliver();
    assert_eq!(pair.ends[1].sas().next().unwrap().children.len(), 1);
}

/// However long ago a message was, it is known when it comes again.
#[test]
fn what_is_replayed_does_nothing() {
    let mut pair = pair();
    pair.deliver();
    let (now, peer) = (pair.now, pair.peer);
    pair.ends[0].with_v1(now, |v1, ctx| v1.say(ctx, peer, notify::INITIAL_CONTACT, Vec::new()));
    let old = pair.ends[0].poll_transmit().unwrap();
    let meta = Meta { local: old.remote, remote: old.local };
    pair.ends[1].handle_input(now, meta, &old.data);
    for _ in 0..500 {
        pair.ends[0].with_v1(now, |v1, ctx| v1.say(ctx, peer, notify::R_U_THERE_ACK, Vec::new()));
    }
    pair.deliver();
    let refused = pair.ends[1].stats().v1_refused.invalid;
    pair.ends[1].handle_input(now, meta, &old.data);
    assert_eq!(pair.ends[1].stats().v1_refused.invalid, refused + 1);
}

/// A peer may end one of its ISAKMP SAs by another.
#[test]
fn an_isakmp_sa_ends_another() {
    let mut pair = pair();
    pair.deliver();
    let (now, peer) = (pair.now, pair.peer);
    let spis = |pair: &Pair, side: usize| pair.ends[side].sas().next().map(|sa| (sa.spi_i, sa.spi_r)).unwrap();
    let first = spis(&pair, 0);
    pair.ends[0].rekey_ike(now, peer).unwrap();
    pair.deliver();
    let second = spis(&pair, 1);
    assert_ne!(first, second);
    pair.ends[1].with_v1(now, |v1, _| assert_eq!(v1.isakmp_sas(), 2));
    let named = vec![first, (first.0, 7), (7, 7)];
    pair.ends[0].with_v1(now, |v1, ctx| v1.say(ctx, peer, 0, named));
    let [_, b] = pair.deliver();
    assert!(b.is_empty(), "{b:?}");
    pair.ends[1].with_v1(now, |v1, _| assert_eq!(v1.isakmp_sas(), 1));
    assert_eq!(spis(&pair, 1), second);
}

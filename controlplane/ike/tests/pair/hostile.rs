//! What strangers send: garbage, altered copies of real messages, replays. Nothing of it may panic, or disturb an SA.

use super::net::*;
use ike::*;
use proptest::prelude::*;

fn from_stranger() -> Meta {
    Meta { local: (addr(B), 4500).into(), remote: ([192, 0, 2, 66], 4500).into() }
}

fn from_peer() -> Meta {
    Meta { local: (addr(B), 500).into(), remote: (addr(A), 500).into() }
}

/// Works as if nothing had happened.
fn unharmed(mut net: Net) {
    let events = net.sides[B].events.len();
    net.run(40);
    assert_eq!(net.sides[B].events.len(), events, "{:?}", &net.sides[B].events[events..]);
    for side in [A, B] {
        let spi = net.sides[side].child().spi_in;
        net.ends[side].rekey_child(net.now, spi).unwrap();
        net.run(5);
        net.settled();
    }
    assert_eq!(net.sides[B].child().remote.ip(), addr(A));
}

#[test]
fn replays_change_nothing() {
    let mut net = Net::plain(1).up();
    let spi = net.sides[A].child().spi_in;
    net.ends[A].rekey_child(net.now, spi).unwrap();
    net.run(5);
    let log = net.log.clone();
    let events = net.sides[B].events.len();
    for (from, message) in &log {
        for to in [A, B] {
            let _ = from;
            net.inject(to, from_stranger(), message);
            net.inject(to, from_peer(), message);
        }
    }
    // An IKE_SA_INIT request from a stranger's address is a new half-open SA, which expires without an event.
    net.run(60);
    assert_eq!(net.sides[B].events.len(), events);
    unharmed(net);
}

#[test]
fn every_bit_flip_of_every_protected_message() {
    let mut net = Net::plain(1).up();
    let spi = net.sides[A].child().spi_in;
    net.ends[A].rekey_child(net.now, spi).unwrap();
    // The request is held back, so that its message id is due.
    net.cut = true;
    net.flush();
    let (_, message) = net.log.last().unwrap().clone();
    for bit in 0..message.len() * 8 {
        let mut altered = message.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        net.inject(B, from_peer(), &altered);
        net.inject(A, from_peer(), &altered);
    }
    assert_eq!(net.sides[B].children.len(), 1);
    net.cut = false;
    net.run(10);
    net.settled();
    unharmed(net);
}

#[test]
fn an_unknown_version_is_told_ours() {
    let mut net = Net::plain(1);
    net.connect();
    let mut message = net.log[0].1.clone();
    message[17] = 0x30;
    net.inject(B, from_stranger(), &message);
    let (from, answer) = net.log.last().unwrap();
    assert_eq!((*from, answer[17], answer[answer.len() - 1]), (B, 0x20, 5));
}

/// A protected request with SPIs that nobody has.
fn stray(flags: u8, next: u8) -> Vec<u8> {
    let mut message = [[0x11; 8], [0x22; 8]].concat();
    message.extend([next, 0x20, 37, flags, 0, 0, 0, 9]);
    message.extend((28 + 40u32).to_be_bytes());
    message.extend([0, 0, 0, 40]);
    message.extend([7; 36]);
    message
}

#[test]
fn an_unknown_ike_spi_is_told() {
    let mut b = config(entry(B));
    b.limits.invalid_spi_per_second = 3;
    let mut net = Net::new(config(entry(A)), b, 1).up();
    let sent = net.log.len();
    // Responses and notifications draw nothing.
    for (flags, next) in [(0x20, 46), (0x28, 46), (0x08, 41), (0x00, 41), (0x28, 41)] {
        net.inject(B, from_stranger(), &stray(flags, next));
    }
    assert_eq!(net.log.len(), sent);
    for n in 1..=5 {
        net.inject(B, from_stranger(), &stray(0x08, 46 + n % 2 * 7));
        assert_eq!(net.log.len() - sent, usize::from(n).min(3));
    }
    let answer = net.log.last().unwrap().1.clone();
    assert_eq!(answer[..16], stray(0, 0)[..16]);
    assert_eq!(answer[16..], [41, 0x20, 37, 0x20, 0, 0, 0, 9, 0, 0, 0, 36, 0, 0, 0, 8, 0, 0, 0, 4]);
    net.run(1);
    net.inject(B, from_stranger(), &stray(0x00, 46));
    assert_eq!((net.log.len() - sent, net.ends[B].stats().invalid_spi_sent), (4, 4));
    assert_eq!((net.ends[B].half_open(), net.ends[B].sas().count()), (0, 1));
    // An answer to nothing is not answered (the link takes them all to A).
    net.run(1);
    assert_eq!((net.log.len() - sent, net.ends[A].stats().unknown_spi), (4, 4));
    unharmed(net);
}

#[test]
fn being_told_of_an_unknown_ike_spi_changes_nothing() {
    let mut net = Net::plain(1).up();
    let spi = net.sides[A].child().spi_in;
    net.ends[A].rekey_child(net.now, spi).unwrap();
    net.cut = true;
    net.flush();
    // The answer to the request that is out, as an end would give it that has forgotten the IKE SA.
    let mut told = net.log.last().unwrap().1[..28].to_vec();
    (told[16], told[19], told[27]) = (41, 0x20, 36);
    told[24..27].fill(0);
    told.extend([0, 0, 0, 8, 0, 0, 0, 4]);
    net.inject(A, from_peer(), &told);
    net.cut = false;
    net.run(10);
    net.settled();
    unharmed(net);
}

#[test]
fn a_peer_that_crashed_is_given_up() {
    // The answers to a dead peer's DPD are not believed: only silence ends the IKE SA.
    let [a, b] =
        [A, B].map(|side| config(PadEntry { dpd_delay: Some(std::time::Duration::from_secs(30)), ..entry(side) }));
    let mut net = Net::new(a, b.clone(), 1).up();
    net.check = false;
    net.restart(B, b, 5);
    net.run(60);
    assert!(net.sides[A].downs().is_empty() && net.ends[B].stats().invalid_spi_sent > 0);
    net.run(120);
    assert_eq!(net.sides[A].downs(), [DownReason::Dead]);
}

#[test]
fn a_forged_answer_from_elsewhere_does_not_stop_an_initiator() {
    let mut net = Net::plain(1);
    net.connect();
    let mut refusal = net.log[0].1[..16].to_vec();
    // NO_PROPOSAL_CHOSEN, from an address that we did not ask.
    refusal.extend([41, 0x20, 34, 0x20, 0, 0, 0, 0, 0, 0, 0, 36, 0, 0, 0, 8, 0, 0, 0, 14]);
    net.inject(A, from_stranger(), &refusal);
    assert!(net.sides[A].events.is_empty());
    net.run(5);
    net.settled();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn garbage_with_a_valid_spi(
        exchange in 34u8..46, flags in any::<u8>(), id in 0u32..6, next in 33u8..54,
        body in proptest::collection::vec(any::<u8>(), 0..200), side in 0usize..2,
    ) {
        let mut net = Net::plain(1).up();
        let info = net.ends[A].sas().next().unwrap();
        let mut message = [info.spi_i.to_be_bytes(), info.spi_r.to_be_bytes()].concat();
        message.extend([next, 0x20, exchange, flags]);
        message.extend(id.to_be_bytes());
        message.extend((28 + body.len() as u32 + 4).to_be_bytes());
        message.extend([0, 0]);
        message.extend((4 + body.len() as u16).to_be_bytes());
        message.extend(body);
        net.inject(side, from_peer(), &message);
        net.inject(side, from_stranger(), &message);
        unharmed(net);
    }

    #[test]
    fn garbage(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut net = Net::plain(1);
        net.inject(B, from_peer(), &bytes);
        prop_assert!(net.sides[B].events.is_empty());
    }

    #[test]
    fn altered_first_messages(at in 0usize..400, value in any::<u8>()) {
        let mut net = Net::plain(1);
        net.connect();
        let mut message = net.log[0].1.clone();
        let at = at % message.len();
        message[at] = value;
        net.inject(B, from_peer(), &message);
        net.inject(A, from_peer(), &message);
    }
}

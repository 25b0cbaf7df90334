//! Requests about addresses that our own initiator does not make, and answers that it does not give.

use super::*;
use crate::error::Failure;
use crate::event::DownReason;
use crate::payload::Builder;
use crate::sa::established::Request;

fn up() -> Pair {
    let mut pair = Pair::new(false);
    pair.deliver();
    assert!(pair.ends.iter().all(|end| end.sas().all(|sa| sa.mobike) && end.sas().count() == 1));
    pair
}

fn with(pair: &mut Pair, side: usize, act: impl FnOnce(&mut Sa, &mut Ctx<'_>)) {
    let spi = pair.ends[side].peers.values().next().unwrap().spi;
    pair.ends[side].step(pair.now, spi, act);
}

/// An end sends INFORMATIONAL with these notifications, which arrive as `change` shows; gives what happens.
fn tell(pair: &mut Pair, side: usize, notifies: &[(NotifyType, &[u8])], change: fn(Meta) -> Meta) -> [Vec<Event>; 2] {
    let mut chain = Builder::new();
    for (kind, data) in notifies {
        chain.notify(*kind, data);
    }
    with(pair, side, |sa, ctx| {
        let State::Established(s) = &mut sa.state else { panic!("not established") };
        if notifies[0].0 == OURS {
            s.request = Request::Update(sa.base.path());
        }
        sa.base.request(ctx, &mut s.channel, ExchangeType::INFORMATIONAL, &chain);
    });
    let mut events = [Vec::new(), Vec::new()];
    pair.carry(&mut events, change);
    let [a, b] = pair.deliver();
    events[0].extend(a);
    events[1].extend(b);
    events
}

fn elsewhere(meta: Meta) -> Meta {
    if meta.remote.ip() == address(0).ip() { Meta { remote: ([192, 0, 2, 77], 4500).into(), ..meta } } else { meta }
}

/// Where an end believes the other is.
fn remote(pair: &Pair, side: usize) -> SocketAddr {
    pair.ends[side].sas().next().unwrap().remote
}

const OURS: NotifyType = NotifyType::UPDATE_SA_ADDRESSES;
const NO_NATS: NotifyType = NotifyType::NO_NATS_ALLOWED;

/// The initiator learns why, and goes; the responder has not moved it.
fn refused(a: &[Event], b: &[Event], kind: NotifyType) {
    let failure = Failure::Notified(kind);
    assert!(matches!(a, [Event::PeerDown { reason: DownReason::Failed(f), .. }] if *f == failure), "{a:?}");
    assert!(matches!(b, [Event::PeerDown { reason: DownReason::Deleted, .. }]), "{b:?}");
}

#[test]
fn an_unexpected_nat_is_not_followed() {
    // 192.0.2.1 to 192.0.2.2, ports 4500.
    let stated = [192, 0, 2, 1, 192, 0, 2, 2, 0x11, 0x94, 0x11, 0x94];
    for stated in [&stated[..], &stated[..11], &[]] {
        let mut pair = up();
        let [a, b] = tell(&mut pair, 0, &[(OURS, &[]), (NO_NATS, stated)], elsewhere);
        refused(&a, &b, NotifyType::UNEXPECTED_NAT_DETECTED);
    }
    // As stated, it is followed, and asked: here by whoever is at the new address.
    let mut pair = up();
    let stated = [192, 0, 2, 77, 192, 0, 2, 2, 0x11, 0x94, 0x11, 0x94];
    let [_, b] = tell(&mut pair, 0, &[(OURS, &[]), (NO_NATS, &stated)], elsewhere);
    assert!(matches!(b[..], [Event::PeerMoved { .. }]), "{b:?}");
}

#[test]
fn nowhere_is_no_address() {
    let strange: [fn(Meta) -> Meta; 4] = [
        |meta| Meta { remote: ([0, 0, 0, 0], 4500).into(), ..meta },
        |meta| Meta { remote: ([224, 0, 0, 1], 4500).into(), ..meta },
        |meta| Meta { remote: ([192, 0, 2, 1], 0).into(), ..meta },
        |meta| Meta { remote: "[2001:db8::1]:4500".parse().unwrap(), ..meta },
    ];
    for change in strange {
        let mut pair = up();
        let [a, b] = tell(&mut pair, 0, &[(OURS, &[])], change);
        refused(&a, &b, NotifyType::UNACCEPTABLE_ADDRESSES);
    }
}

#[test]
fn only_the_original_initiator_moves() {
    let mut pair = up();
    let [a, b] = tell(&mut pair, 1, &[(OURS, &[])], |meta| Meta { remote: ([192, 0, 2, 66], 4500).into(), ..meta });
    assert!(a.is_empty() && b.is_empty(), "{a:?} {b:?}");
    assert_eq!(remote(&pair, 0).ip(), address(1).ip());
}

#[test]
fn other_addresses_are_read_and_not_used() {
    let mut pair = up();
    let notifies = [
        (NotifyType::ADDITIONAL_IP4_ADDRESS, &[192, 0, 2, 9][..]),
        (NotifyType::ADDITIONAL_IP6_ADDRESS, &[0; 16]),
        (NotifyType::ADDITIONAL_IP6_ADDRESS, &[1]),
        (NotifyType::NO_ADDITIONAL_ADDRESSES, &[]),
        // Out of bounds, and not copied (section 4.2.5).
        (NotifyType::COOKIE2, &[1; 7]),
    ];
    for side in [0, 1] {
        let [a, b] = tell(&mut pair, side, &notifies, elsewhere);
        assert!(a.is_empty() && b.is_empty(), "{a:?} {b:?}");
    }
    assert_eq!(remote(&pair, 1).ip(), address(0).ip());
}

#[test]
fn a_wrong_cookie_closes_the_ike_sa() {
    let mut pair = up();
    let (local, remote) = (([192, 0, 2, 77], 4500).into(), ([192, 0, 2, 2], 4500).into());
    pair.ends[0].move_local(pair.now, pair.peer, local, remote).unwrap();
    let mut events = [Vec::new(), Vec::new()];
    // UPDATE_SA_ADDRESSES arrives, and COOKIE2 is made.
    pair.carry(&mut events, |meta| meta);
    with(&mut pair, 1, |sa, _| {
        let State::Established(s) = &mut sa.state else { panic!("not established") };
        let Request::Probe(probe) = &mut s.request else { panic!("nothing is asked") };
        probe.spoil();
    });
    let [_, b] = pair.deliver();
    let failure = Failure::Protocol("COOKIE2 does not match");
    assert!(matches!(&b[..], [Event::PeerDown { reason: DownReason::Failed(f), .. }] if *f == failure), "{b:?}");
}

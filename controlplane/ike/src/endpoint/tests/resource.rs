//! Child SAs per resource (RFC 9611) with peers that our own end is not: that know nothing of them, lose or delete them.

use super::*;
use crate::config::{TsAddress, TsPattern};
use crate::event::{ChildDownReason, Resource};
use crate::sa::established::Established;
use crate::sa::resource::MAX_RESOURCES;

/// Established, both ends with two resources; nothing more has been asked for yet.
fn up() -> Pair {
    let mut pair = Pair::new(false);
    pair.ends = [0, 1].map(|side| {
        let mut spi = 0x0100_0000 * (side + 1);
        let spis = Box::new(move |_, _| {
            spi += 1;
            Some(spi)
        });
        let mut end = Endpoint { spis, ..endpoint(side as usize, false) };
        let mut pad = PadEntry::clone(&end.policy.config.pad[0]);
        pad.child.resources = 2;
        end.set_config(Arc::new(Config { pad: vec![Arc::new(pad)], ..Config::default() }));
        end
    });
    pair.peer = pair.ends[0].initiate(pair.now, "peer", address(0), address(1)).unwrap();
    pair.deliver();
    pair
}

fn with<T>(pair: &mut Pair, side: usize, act: impl FnOnce(&mut Established) -> T) -> T {
    let spi = pair.ends[side].peers.values().next().unwrap().spi;
    let mut result = None;
    pair.ends[side].step(pair.now, spi, |sa, ctx| {
        let State::Established(s) = &mut sa.state else { panic!("not established") };
        result = Some(act(s));
        s.pump(&mut sa.base, ctx);
    });
    result.unwrap()
}

/// A while passes; gives what happened.
fn wait(pair: &mut Pair, seconds: u64) -> [Vec<Event>; 2] {
    let mut events = [Vec::new(), Vec::new()];
    let until = pair.now + Duration::from_secs(seconds);
    loop {
        let [a, b] = pair.deliver();
        events[0].extend(a);
        events[1].extend(b);
        let Some(at) = pair.ends.iter().filter_map(Endpoint::poll_timeout).min().filter(|at| *at <= until) else {
            pair.now = until;
            return events;
        };
        pair.now = pair.now.max(at);
        pair.ends.iter_mut().for_each(|end| end.handle_timeout(pair.now));
    }
}

fn bound(pair: &mut Pair, side: usize) -> Vec<Option<u32>> {
    let id = |r: &Option<Resource>| r.as_ref().map(|r| r.id);
    let mut all = with(pair, side, |s| s.children.iter().map(|c| id(&c.resource)).collect::<Vec<_>>());
    all.sort_unstable();
    all
}

#[test]
fn a_peer_that_refuses_is_asked_once() {
    let no_more: fn(&mut Established) = |s| s.resources = Default::default();
    let full = |s: &mut Established| {
        let one = s.children[0].clone();
        s.children.resize(16 + 2 * MAX_RESOURCES, one);
    };
    let other = |s: &mut Established| {
        let mut pad = PadEntry::clone(&s.pad);
        pad.child.remote_ts = vec![TsPattern { protocol: 47, ports: (0, 0), addresses: TsAddress::Any }];
        s.pad = Arc::new(pad);
    };
    // TS_MAX_QUEUE, NO_ADDITIONAL_SAS, TS_UNACCEPTABLE.
    for change in [no_more, full, other] {
        let mut pair = up();
        let spis = with(&mut pair, 0, |s| s.children.iter().map(|c| c.spi_in).collect::<Vec<_>>());
        with(&mut pair, 1, |s| {
            change(s);
            // It asks for nothing itself.
            s.resources.at = None;
        });
        let [a, _] = wait(&mut pair, 1);
        assert!(matches!(a[..], [Event::ChildDown { reason: ChildDownReason::Unused, .. }]), "{a:?}");
        assert!(wait(&mut pair, 1000)[0].is_empty());
        assert_eq!(with(&mut pair, 0, |s| s.children.iter().map(|c| c.spi_in).collect::<Vec<_>>()), spis);
    }
}

// One that answers as to an ordinary request: it would send on the last of them.
#[test]
fn what_a_peer_binds_to_nothing_is_deleted() {
    let mut pair = up();
    with(&mut pair, 1, |s| {
        let mut pad = PadEntry::clone(&s.pad);
        pad.child.resources = 0;
        s.pad = Arc::new(pad);
        s.resources.at = None;
    });
    let [a, b] = wait(&mut pair, 1000);
    let [Event::ChildUp { child, select: false, .. }, Event::ChildDown { spi_in, reason: ChildDownReason::Closed, .. }] =
        &a[..]
    else {
        panic!("{a:?}")
    };
    assert_eq!(child.spi_in, *spi_in);
    assert!(
        matches!(&b[..], [Event::ChildUp { .. }, Event::ChildDown { reason: ChildDownReason::Deleted, .. }]),
        "{b:?}"
    );
    assert_eq!((bound(&mut pair, 0), bound(&mut pair, 1)), (vec![None], vec![None]));
}

#[test]
fn a_peer_that_is_busy_is_asked_again() {
    let mut pair = up();
    with(&mut pair, 1, |s| s.superseded = true);
    wait(&mut pair, 5);
    assert_eq!(bound(&mut pair, 0), [None]);
    with(&mut pair, 1, |s| s.superseded = false);
    wait(&mut pair, 30);
    assert_eq!(bound(&mut pair, 0), [None, Some(0), Some(1)]);
}

#[test]
fn what_the_peer_deletes_is_not_asked_for_again_and_what_it_loses_is() {
    let mut pair = up();
    wait(&mut pair, 30);
    assert_eq!(bound(&mut pair, 0), [None, Some(0), Some(1)]);
    let of =
        |id| move |s: &mut Established| s.children.iter().position(|c| c.resource.as_ref().is_some_and(|r| r.id == id));
    with(&mut pair, 1, |s| {
        let spi = of(0)(s).map(|at| s.children[at].spi_in).unwrap();
        s.queue_delete(spi, ChildDownReason::Closed);
    });
    wait(&mut pair, 1000);
    assert_eq!((bound(&mut pair, 0), bound(&mut pair, 1)), (vec![None, Some(1)], vec![None, Some(1)]));
    // The other end forgets one without a word: a rekey brings that to light.
    let lost = with(&mut pair, 1, |s| {
        let at = of(1)(s).unwrap();
        s.children.remove(at).spi_out
    });
    with(&mut pair, 0, |s| s.queue_rekey(lost));
    let [a, _] = wait(&mut pair, 30);
    assert!(
        a.iter()
            .any(|e| matches!(e, Event::ChildDown { spi_in, reason: ChildDownReason::Lost, .. } if *spi_in == lost))
    );
    assert_eq!((bound(&mut pair, 0), bound(&mut pair, 1)), (vec![None, Some(1)], vec![None, Some(0)]));
}

// RFC 9611, section 3: whatever else an SA could be, bound to a resource it is like the first.
#[test]
fn what_is_bound_is_like_the_first() {
    let mut pair = up();
    with(&mut pair, 0, |s| {
        let mut pad = PadEntry::clone(&s.pad);
        pad.child.esp_proposals = vec!["aes128gcm16".parse().unwrap()];
        s.pad = Arc::new(pad);
    });
    wait(&mut pair, 5);
    assert_eq!((bound(&mut pair, 0), bound(&mut pair, 1)), (vec![None], vec![None]));
}

// Hundreds of octets that say which resource it is are of no use to us.
#[test]
fn a_long_identifier_is_cut() {
    let mut chain = crate::payload::Builder::new();
    chain.notify(NotifyType::SA_RESOURCE_INFO, &[7; 300]);
    let mut pair = up();
    let spi = pair.ends[1].peers.values().next().unwrap().spi;
    pair.ends[1].step(pair.now, spi, |sa, ctx| {
        let State::Established(s) = &mut sa.state else { panic!("not established") };
        let body = Body::parse(chain.first(), chain.bytes()).unwrap();
        assert_eq!(s.bind(ctx, &body), Ok(Some(Resource { id: 0, peer: Box::new([7; 16]) })));
    });
}

//! IKEv1: what our own initiator does not send.

use super::*;
use crate::error::Failure;
use crate::event::ChildDownReason;
use crate::info::IkeSaInfo;
use crate::payload::Builder;
use crate::v1::payload::{DOI, Delete, Notify, PROTO_ESP, PROTO_ISAKMP, kind, notify};
use crate::v1::proposal::{Phase1, esp_defaults, parse_esp};
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
        end.spis = Box::new(move |_, _| {
            next += 1;
            Some(next)
        });
        end
    });
    let peer = ends[0].initiate_v1(now, "peer", address(0), address(1)).unwrap();
    Pair { ends, now, peer }
}

/// An end tells the other something.
fn say(pair: &mut Pair, side: usize, write: impl FnOnce(&mut Builder)) {
    let peer = sa(pair, side).peer;
    pair.ends[side].with_v1(pair.now, |v1, ctx| v1.say(ctx, peer, write));
}

fn notifies(chain: &mut Builder, kind: u16) {
    let notify = Notify { doi: DOI, protocol: PROTO_ISAKMP, kind, spi: &[], data: &[] };
    chain.push(kind::NOTIFY, |out| notify.emit(out));
}

/// Refuses as strongSwan does.
fn refuses(chain: &mut Builder) {
    let notify = Notify { doi: DOI, protocol: PROTO_ESP, kind: notify::NO_PROPOSAL_CHOSEN, spi: &[0; 4], data: &[] };
    chain.push(kind::NOTIFY, |out| notify.emit(out));
}

fn deletes(chain: &mut Builder, delete: &Delete) {
    chain.push(kind::DELETE, |out| delete.emit(out));
}

fn sa(pair: &Pair, side: usize) -> IkeSaInfo {
    pair.ends[side].sas().next().unwrap()
}

fn cookies(pair: &Pair, side: usize) -> (u64, u64) {
    (sa(pair, side).spi_i, sa(pair, side).spi_r)
}

/// What an end is about to send gets lost.
fn lose(pair: &mut Pair, side: usize) {
    while pair.ends[side].poll_transmit().is_some() {}
}

/// Time goes by; what is sent is carried or gets lost.
fn pass(pair: &mut Pair, seconds: u64, carried: bool) -> [Vec<Event>; 2] {
    let (until, mut events) = (pair.now + Duration::from_secs(seconds), [Vec::new(), Vec::new()]);
    loop {
        if carried {
            while pair.carry(&mut events, |meta| meta) {}
        }
        for side in [0, 1] {
            events[side].extend(std::iter::from_fn(|| pair.ends[side].poll_event()));
            lose(pair, side);
        }
        let next = pair.ends.iter().filter_map(Endpoint::poll_timeout).min();
        let Some(next) = next.filter(|at| *at <= until) else { break };
        pair.now = pair.now.max(next);
        for end in &mut pair.ends {
            end.handle_timeout(pair.now);
        }
    }
    pair.now = until;
    events
}

fn unused(events: &[Event]) -> usize {
    events.iter().filter(|e| matches!(e, Event::ChildDown { reason: ChildDownReason::Unused, .. })).count()
}

fn refused(events: &[Event]) -> usize {
    let kind = |e: &&Event| matches!(e, Event::ChildDown { reason: ChildDownReason::Refused(Failure::Notified(kind)), .. } if kind.0 == 14);
    events.iter().filter(kind).count()
}

fn down(events: &[Event]) -> Option<&DownReason> {
    events.iter().find_map(|e| if let Event::PeerDown { reason, .. } = e { Some(reason) } else { None })
}

/// After a restart Apple's clients do main mode, then say INITIAL-CONTACT.
#[test]
fn initial_contact_after_main_mode() {
    let mut pair = pair();
    pair.deliver();
    let before = sa(&pair, 1);
    pair.now += Duration::from_secs(5);
    // A main mode without INITIAL-CONTACT from the same place is the same peer's.
    pair.ends[0].rekey_ike(pair.now, pair.peer).unwrap();
    let [_, b] = pair.deliver();
    assert!(b.is_empty(), "{b:?}");
    let now = pair.now;
    say(&mut pair, 0, |chain| notifies(chain, notify::INITIAL_CONTACT));
    let [_, b] = pair.deliver();
    let [Event::ChildDown { spi_in, reason: ChildDownReason::Deleted, .. }] = b[..] else { panic!("{b:?}") };
    assert_eq!(before.children, [spi_in]);
    let after = sa(&pair, 1);
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
    let now = pair.now;
    say(&mut pair, 0, |chain| notifies(chain, notify::INITIAL_CONTACT));
    let old = pair.ends[0].poll_transmit().unwrap();
    let meta = Meta { local: old.remote, remote: old.local };
    pair.ends[1].handle_input(now, meta, &old.data);
    for _ in 0..500 {
        say(&mut pair, 0, |chain| notifies(chain, notify::R_U_THERE_ACK));
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
    let first = cookies(&pair, 0);
    pair.ends[0].rekey_ike(now, peer).unwrap();
    pair.deliver();
    let second = cookies(&pair, 1);
    assert_ne!(first, second);
    pair.ends[1].with_v1(now, |v1, _| assert_eq!(v1.isakmp_sas(), 2));
    let named = vec![first, (first.0, 7), (7, 7)];
    say(&mut pair, 0, |chain| deletes(chain, &Delete::Isakmp(named)));
    let [_, b] = pair.deliver();
    assert!(b.is_empty(), "{b:?}");
    pair.ends[1].with_v1(now, |v1, _| assert_eq!(v1.isakmp_sas(), 1));
    assert_eq!(cookies(&pair, 1), second);
}

/// A refusal of several offers, with deletions: all of it is heard, whatever the first part comes to.
#[test]
fn all_of_an_informational_message_counts() {
    let mut pair = pair();
    pair.deliver();
    let first = cookies(&pair, 0);
    let (now, peer, own) = (pair.now, pair.peer, sa(&pair, 0).children[0]);
    pair.ends[0].rekey_ike(now, peer).unwrap();
    pair.deliver();
    // An offer is under way for the pair, the other end makes another one, and there is an offer for that.
    pair.ends[0].rekey_child(now, own).unwrap();
    lose(&mut pair, 0);
    let theirs = sa(&pair, 1).children[0];
    pair.ends[1].rekey_child(now, theirs).unwrap();
    pair.deliver();
    let newer = sa(&pair, 0).children[1];
    pair.ends[0].rekey_child(now, newer).unwrap();
    lose(&mut pair, 0);
    let theirs = sa(&pair, 1).children;
    assert_eq!(theirs.len(), 2);
    say(&mut pair, 1, |chain| {
        refuses(chain);
        deletes(chain, &Delete::Esp(theirs));
        deletes(chain, &Delete::Isakmp(vec![first]));
    });
    let [a, _] = pair.deliver();
    assert_eq!((refused(&a), unused(&a)), (2, 2), "{a:?}");
    assert!(matches!(down(&a), Some(DownReason::Failed(Failure::Notified(kind))) if kind.0 == 14), "{a:?}");
    pair.ends[0].with_v1(now, |v1, _| assert_eq!(v1.isakmp_sas(), 0));
}

#[test]
fn a_refusal_that_names_no_spi() {
    let mut pair = pair();
    pair.deliver();
    let (now, child) = (pair.now, sa(&pair, 0).children[0]);
    pair.ends[0].rekey_child(now, child).unwrap();
    lose(&mut pair, 0);
    say(&mut pair, 1, refuses);
    let [a, _] = pair.deliver();
    assert_eq!((refused(&a), unused(&a), down(&a)), (1, 1, None));
}

/// A new ISAKMP SA that does not come about costs no child SA.
#[test]
fn child_sas_outlive_a_main_mode_that_nobody_answers() {
    let mut pair = pair();
    pair.deliver();
    let (own, child) = (cookies(&pair, 1), sa(&pair, 0).children[0]);
    say(&mut pair, 1, |chain| deletes(chain, &Delete::Isakmp(vec![own])));
    pair.deliver();
    assert_eq!(sa(&pair, 0).state, "children-only");
    pair.ends[0].rekey_child(pair.now, child).unwrap();
    let [a, _] = pass(&mut pair, 300, false);
    assert!(a.is_empty(), "{a:?}");
    assert_eq!(sa(&pair, 0).children, [child]);
    let [a, b] = pass(&mut pair, 300, true);
    assert_eq!((down(&a), down(&b)), (None, None));
    assert_eq!(sa(&pair, 0).state, "established");
    assert!(!sa(&pair, 0).children.contains(&child));
}

/// Where IKEv1 is spoken no more, what there is lasts as long as it was to.
#[test]
fn child_sas_outlive_the_listener() {
    let mut pair = pair();
    pair.deliver();
    let own = cookies(&pair, 1);
    say(&mut pair, 1, |chain| deletes(chain, &Delete::Isakmp(vec![own])));
    pair.deliver();
    pair.ends[0].set_config(Config { v1: Vec::new(), ..Config::clone(&pair.ends[0].policy.config) }.into());
    let [a, _] = pass(&mut pair, 3655, false);
    assert!(a.is_empty(), "{a:?}");
    let [a, _] = pass(&mut pair, 10, false);
    assert_eq!(down(&a), Some(&DownReason::Expired));
}

/// The pair that was sent on is gone before a packet, or time, has shown that the peer has the new one.
#[test]
fn the_only_pair_left_is_sent_on() {
    let mut pair = pair();
    pair.deliver();
    let (now, old, theirs) = (pair.now, sa(&pair, 0).children[0], sa(&pair, 1).children.clone());
    pair.ends[0].rekey_child(now, old).unwrap();
    let [a, _] = pair.deliver();
    assert!(!a.iter().any(|e| matches!(e, Event::ChildSelect { .. })), "{a:?}");
    let new = sa(&pair, 0).children[1];
    say(&mut pair, 1, |chain| deletes(chain, &Delete::Esp(theirs)));
    let [a, _] = pair.deliver();
    let [Event::ChildDown { spi_in, .. }, Event::ChildSelect { spi_in: selected, .. }] = a[..] else { panic!("{a:?}") };
    assert_eq!((spi_in, selected), (old, new));
}

/// An ISAKMP SA knows all its message ids, of which there are so many: before they run out, there is another one.
#[test]
fn an_isakmp_sa_wears_out() {
    let mut pair = pair();
    pair.deliver();
    let (first, children) = (cookies(&pair, 0), sa(&pair, 0).children);
    let mut exchanges = 0;
    while cookies(&pair, 0) == first {
        say(&mut pair, 0, |chain| notifies(chain, notify::R_U_THERE_ACK));
        let [a, b] = pass(&mut pair, 0, true);
        assert!(a.is_empty() && b.is_empty(), "{a:?} {b:?}");
        exchanges += 1;
        assert!(exchanges < 16_000);
    }
    assert!(exchanges > 14_000);
    // The other end has counted as many.
    assert_ne!(cookies(&pair, 1), first);
    let refused = pair.ends[1].stats().v1_refused;
    for _ in 0..3000 {
        say(&mut pair, 0, |chain| notifies(chain, notify::R_U_THERE_ACK));
        pass(&mut pair, 0, true);
    }
    assert_eq!((pair.ends[1].stats().v1_refused, sa(&pair, 0).children), (refused, children));
}

/// A NAT in front of the gateway alone, and a client that is late to change its ports (RFC 3947, section 4).
#[test]
fn a_client_that_stays_on_port_500_until_quick_mode() {
    const PUBLIC: [u8; 4] = [198, 51, 100, 7];
    fn through(meta: Meta, port: u16) -> Meta {
        let Meta { mut local, mut remote } = meta;
        for end in [&mut local, &mut remote] {
            end.set_port(port);
        }
        if local.ip() == std::net::IpAddr::from(PUBLIC) {
            local.set_ip(address(1).ip());
        } else {
            remote.set_ip(PUBLIC.into());
        }
        Meta { local, remote }
    }
    let mut pair = pair();
    let peer = pair.peer;
    pair.ends[0].close(pair.now, peer).unwrap();
    lose(&mut pair, 0);
    pair.ends[0].initiate_v1(pair.now, "peer", address(0), (PUBLIC, 500).into()).unwrap();
    let mut events = [Vec::new(), Vec::new()];
    while pair.ends[1].sas().next().is_none() {
        assert!(pair.carry(&mut events, |meta| through(meta, 500)));
    }
    let on = |port: u16| (SocketAddr::new(address(1).ip(), port), SocketAddr::new(address(0).ip(), port));
    let up = sa(&pair, 1);
    assert_eq!(((up.local, up.remote), up.natt), (on(500), true));
    while pair.carry(&mut events, |meta| through(meta, 4500)) {}
    let [_, b] = events;
    let [
        Event::PeerUp { natt: true, .. },
        Event::PeerMoved { local, remote, encap: true, .. },
        Event::ChildUp { ref child, .. },
        Event::ChildSelect { .. },
    ] = b[..]
    else {
        panic!("{b:?}")
    };
    assert_eq!(((local, remote), child.encap), (on(4500), true));
    assert_eq!((child.local, child.remote), on(4500));
    assert_eq!(child.remote_ts, [crate::TrafficSelector::host(17, (1701, 1701), address(0).ip())]);
}

/// What quick mode's own key exchange gives is in the keys of ESP (RFC 2409, section 5.5).
#[test]
fn the_key_exchange_of_quick_mode_is_in_the_keys() {
    for (esp, group) in [("aes256gcm16", None), ("aes256gcm16-ecp256", Some(19))] {
        let mut pair = pair();
        for end in &mut pair.ends {
            let mut config = Config::clone(&end.policy.config);
            config.v1[0].esp = vec![parse_esp(esp).unwrap()];
            end.set_config(config.into());
        }
        let mut events = [Vec::new(), Vec::new()];
        let up = |e: &Event| if let Event::ChildUp { child, .. } = e { Some(child.clone()) } else { None };
        let child = loop {
            assert!(pair.carry(&mut events, |meta| meta));
            events[1].extend(std::iter::from_fn(|| pair.ends[1].poll_event()));
            if let Some(child) = events[1].iter().find_map(up) {
                break child;
            }
        };
        assert_eq!(child.suite.ke, group);
        let without = pair.ends[1].v1.keys_without_key_exchange(child.spi_in);
        assert_eq!(child.inbound.encr[..] == without[..], group.is_none());
    }
}

#[test]
fn who_is_gone_is_known_no_more() {
    let mut pair = pair();
    pair.deliver();
    assert_eq!(pair.ends.each_ref().map(|end| end.v1.known()), [1, 1]);
    let peer = pair.peer;
    pair.ends[0].close(pair.now, peer).unwrap();
    pair.deliver();
    assert_eq!(pair.ends.each_ref().map(|end| end.v1.known()), [0, 0]);
    pair.ends.iter_mut().for_each(|end| assert_eq!(end.v1.isakmp_sas(), 0));
}

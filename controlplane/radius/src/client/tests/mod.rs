use super::*;
use crate::attribute::*;
use crate::packet::{Builder, Code, Packet, Unencodable};
use secret::Secret;

mod failover;
mod lab;
mod replies;
mod streams;

use lab::{Lab, SECRET, access, answer, server};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn an_accept_comes_with_what_the_server_hid() {
    let mut lab = Lab::new(vec![server("a")]);
    lab.servers[0].attributes.u32(SESSION_TIMEOUT, 600);
    lab.request(7, Request { user_password: Some(Secret::new("a longer password than one block")), ..access("nemo") });
    lab.run(SECOND);
    lab.all_answered(7..8);
    let reply = lab.reply();
    assert_eq!((reply.code(), reply.attributes().u32(SESSION_TIMEOUT)), (Code::AccessAccept, Ok(Some(600))));
    assert_eq!((reply.mppe_keys(), reply.tunnel_password()), (Ok(None), Ok(None)));
    let request = Packet::parse(&lab.servers[0].requests[0].1).unwrap();
    assert_eq!(request.attributes().text(USER_NAME), Ok(Some("nemo")));
}

#[test]
fn ten_thousand_requests_are_in_flight_on_forty_links() {
    let mut lab = Lab::new(vec![server("a")]);
    lab.latency = Duration::from_millis(500);
    (0..10_000).for_each(|n| lab.request(n, access(&format!("user{n}"))));
    assert_eq!((lab.client.in_flight(), lab.open.len()), (10_000, 40));
    lab.request(10_000, access("one too many"));
    assert_eq!(lab.failures(), [(10_000, Failure::Overload)]);
    lab.events.clear();
    lab.run(2 * SECOND);
    lab.all_answered(0..10_000);
    let ids: std::collections::BTreeSet<_> = lab.servers[0].seen.iter().map(|(link, id, _)| (link, id)).collect();
    assert_eq!((lab.servers[0].seen.len(), ids.len()), (10_000, 10_000));
    // The identifiers are used again.
    (0..10_000).for_each(|n| lab.request(n, access("again")));
    assert_eq!(lab.open.len(), 40);
}

#[test]
fn every_request_is_answered_once_over_a_bad_network() {
    let patient = |name| ServerConfig { tries: 6, ..server(name) };
    let mut lab = Lab::new(vec![patient("a"), patient("b")]);
    (lab.loss, lab.duplication, lab.latency) = (20, 10, Duration::from_millis(300));
    for n in 0..3000 {
        lab.request(n, access(&format!("user{n}")));
        lab.run(Duration::from_millis(1));
    }
    lab.run(200 * SECOND);
    lab.all_answered(0..3000);
    assert_eq!(lab.went(), [""; 0]);
    let (a, b) = (lab.counters(0), lab.counters(1));
    assert!(a.retransmissions > 300 && a.requests.abs_diff(b.requests) < 300, "{a:?} {b:?}");
    assert!(lab.discards(0).iter().all(|(reason, _)| *reason == Discard::Late));
}

#[test]
fn retransmissions_are_the_same_octets_ever_later() {
    let mut lab = Lab::new(vec![ServerConfig { tries: 6, ..server("a") }]);
    lab.servers[0].up = false;
    lab.request(1, access("nemo"));
    let mut at = Vec::new();
    for n in 0..60_000 {
        lab.run(Duration::from_millis(1));
        if lab.servers[0].requests.len() > at.len() {
            at.push(Duration::from_millis(n));
        }
    }
    assert!(lab.servers[0].requests.windows(2).all(|pair| pair[0] == pair[1]));
    let waits: Vec<_> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (wait, mean) in waits.iter().zip([2, 4, 8, 16, 16]) {
        assert!(wait.abs_diff(mean * SECOND) <= mean * SECOND / 10 + Duration::from_millis(3), "{waits:?}");
    }
    assert_eq!((at.len(), lab.failures()), (6, vec![(1, Failure::NoAnswer)]));
    assert_eq!((lab.counters(0).retransmissions, lab.counters(0).timeouts), (5, 6));
}

fn accounting(timestamp: bool) -> Request {
    let mut list = AttributeList::new();
    list.u32(ACCT_STATUS_TYPE, 1).u32(ACCT_DELAY_TIME, 3).text(ACCT_SESSION_ID, "7");
    if timestamp {
        list.u32(EVENT_TIMESTAMP, 1_700_000_000);
    }
    Request::new(Code::AccountingRequest, list)
}

#[test]
fn acct_delay_time_is_counted_on_under_a_new_identifier() {
    let mut lab = Lab::new(vec![server("a")]);
    lab.servers[0].up = false;
    lab.request(1, accounting(false));
    lab.run(9 * SECOND);
    let seen: Vec<_> = lab.servers[0]
        .requests
        .iter()
        .map(|(_, octets)| {
            let packet = Packet::parse(octets).unwrap();
            (packet.id, packet.attributes().u32(ACCT_DELAY_TIME).unwrap().unwrap())
        })
        .collect();
    let [(a, 3), (b, 4 | 5), (c, 8 | 9)] = seen[..] else { panic!("{seen:?}") };
    assert!(a != b && b != c && a != c);
    lab.servers[0].up = true;
    lab.client.request(lab.now, 2, accounting(false), None);
    lab.run(SECOND);
    assert!(matches!(lab.events.last(), Some((_, Event::Reply { token: 2, .. }))));
}

#[test]
fn with_an_event_timestamp_it_is_the_same_packet() {
    let mut lab = Lab::new(vec![server("a")]);
    lab.servers[0].up = false;
    lab.request(1, accounting(true));
    lab.run(9 * SECOND);
    let requests = &lab.servers[0].requests;
    assert!(requests.len() == 3 && requests.iter().all(|r| *r == requests[0]));
}

#[test]
fn what_cannot_be_said_fails_at_once() {
    let mut lab = Lab::new(vec![server("a")]);
    let mut request = access("nemo");
    request.attributes.octets(CLASS, &[0; 300]);
    lab.request(1, request);
    lab.request(2, Request { user_password: Some(Secret::new([b'x'; 129])), ..access("nemo") });
    let mut nobody = Lab::new(Vec::new());
    nobody.request(3, access("nemo"));
    assert_eq!(nobody.failures(), [(3, Failure::NoServer)]);
    let unencodable = [Unencodable::Value(CLASS), Unencodable::Password].map(Failure::Unencodable);
    assert_eq!(lab.failures(), [(1, unencodable[0]), (2, unencodable[1])]);
    assert!(lab.client.in_flight() == 0 && lab.client.servers().all(|s| s.in_flight == 0));
}

#[test]
fn identifiers_given_up_are_not_used_while_a_reply_may_come() {
    let mut lab = Lab::new(vec![ServerConfig { tries: 1, dead_time: Duration::ZERO, ..server("a") }]);
    lab.servers[0].up = false;
    (0..256).for_each(|n| lab.request(n, access("nemo")));
    lab.run(3 * SECOND);
    assert_eq!((lab.failures().len(), lab.open.len()), (256, 1));
    let (link, late) = lab.servers[0].requests[0].clone();
    let reply = answer(&late, true, &AttributeList::new());
    lab.client.handle_input(lab.now, link, &reply);
    lab.servers[0].up = true;
    let mut links = Vec::new();
    for (wait, token) in [(0, 300), (28, 301), (2, 302)] {
        lab.run(wait * SECOND);
        lab.request(token, access("nemo"));
        lab.run(Duration::from_millis(1));
        links.push(lab.servers[0].requests.last().unwrap().0.number);
    }
    assert_eq!(links, [1, 1, 0]);
    lab.client.handle_input(lab.now, link, &reply);
    assert_eq!(lab.discards(0), [(Discard::Late, 2)]);
}

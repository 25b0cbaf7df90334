//! Servers that die and come back.

use super::*;

/// 200 requests a second for a while; the answers' tokens from `first` on.
fn load(lab: &mut Lab, first: u64, count: u64) {
    for n in first..first + count {
        lab.request(n, access(&format!("user{n}")));
        lab.run(Duration::from_millis(5));
    }
}

#[test]
fn one_of_two_is_killed_under_load_and_no_request_is_lost() {
    let probed = |name| ServerConfig { probe: Some(5 * SECOND), ..server(name) };
    let mut lab = Lab::new(vec![probed("a"), probed("b")]);
    lab.latency = Duration::from_millis(20);
    load(&mut lab, 0, 1000);
    lab.servers[0].up = false;
    load(&mut lab, 1000, 4000);
    lab.run(30 * SECOND);
    lab.all_answered(0..5000);
    assert_eq!(lab.went()[0], "down 0");
    let down = lab.events.iter().find(|(_, event)| matches!(event, Event::ServerDown(_))).unwrap().0;
    assert!(
        (10 * SECOND..12 * SECOND).contains(&down),
        "silent from the fifth second on, dead some six later: {down:?}"
    );
    let before = lab.counters(0).requests;
    load(&mut lab, 5000, 100);
    assert!(lab.counters(1).replies > 4500 && lab.counters(0).requests == before);
}

#[test]
fn a_dead_server_without_a_probe_is_tried_again() {
    let mut lab = Lab::new(vec![server("a"), server("b")]);
    lab.servers[0].up = false;
    load(&mut lab, 0, 4000);
    assert_eq!(lab.went(), ["down 0"]);
    // The load goes to who has fewer requests to answer, so that the silent one gets few.
    assert!(lab.counters(0).requests < 20, "{}", lab.counters(0).requests);
    lab.servers[0].up = true;
    lab.run(30 * SECOND);
    assert_eq!(lab.went(), ["down 0", "up 0"]);
    load(&mut lab, 4000, 100);
    lab.run(SECOND);
    lab.all_answered(0..4100);
    assert!(lab.counters(0).replies >= 50);
}

#[test]
fn a_probed_server_comes_back_when_it_answers_and_not_before() {
    let mut lab = Lab::new(vec![ServerConfig { probe: Some(5 * SECOND), ..server("a") }, server("b")]);
    lab.servers[0].up = false;
    load(&mut lab, 0, 2000);
    lab.run(60 * SECOND);
    assert_eq!(lab.went(), ["down 0"]);
    let probes: Vec<_> = lab.servers[0].requests.iter().filter(|(_, octets)| octets[0] == 12).collect();
    assert!((11..=13).contains(&probes.len()), "{}", probes.len());
    let status = Packet::parse(&probes[0].1).unwrap();
    assert_eq!(status.attributes().text(NAS_IDENTIFIER), Ok(Some("gateway")));
    assert!(probes.windows(2).all(|pair| pair[0].1[4..20] != pair[1].1[4..20]), "each is a new one");
    lab.servers[0].up = true;
    lab.run(6 * SECOND);
    assert_eq!(lab.went(), ["down 0", "up 0"]);
    let probed = lab.counters(0).probes;
    load(&mut lab, 2000, 100);
    lab.run(60 * SECOND);
    lab.all_answered(0..2100);
    assert_eq!(lab.counters(0).probes, probed, "who is alive is not probed");
}

#[test]
fn the_first_group_is_used_while_one_of_it_is_alive() {
    let group = |name, group| ServerConfig { group, tries: 1, ..server(name) };
    let mut lab = Lab::new(vec![group("c", 2), group("a", 1), group("b", 1)]);
    load(&mut lab, 0, 100);
    assert_eq!([0, 1, 2].map(|n| lab.counters(n).requests), [0, 50, 50]);
    lab.servers[1].up = false;
    load(&mut lab, 100, 600);
    lab.run(5 * SECOND);
    assert_eq!((lab.counters(0).requests, lab.went()[0].as_str()), (0, "down 1"));
    lab.servers[2].up = false;
    load(&mut lab, 700, 600);
    lab.run(5 * SECOND);
    lab.all_answered(0..1300);
    assert!(lab.counters(0).requests > 500);
}

#[test]
fn a_conversation_stays_with_its_server_and_fails_with_it() {
    let mut lab = Lab::new(vec![server("a"), server("b")]);
    for n in 0..10 {
        lab.client.request(lab.now, n, access("nemo"), Some(ServerId(1)));
    }
    lab.run(SECOND);
    lab.all_answered(0..10);
    assert_eq!([0, 1].map(|n| lab.counters(n).requests), [0, 10]);
    lab.events.clear();
    lab.servers[1].up = false;
    lab.client.request(lab.now, 10, access("nemo"), Some(ServerId(1)));
    lab.run(20 * SECOND);
    lab.client.request(lab.now, 11, access("nemo"), Some(ServerId(1)));
    lab.drain();
    assert_eq!(lab.failures(), [(10, Failure::NoAnswer), (11, Failure::NoServer)]);
    assert_eq!(lab.counters(0).requests, 0);
    lab.request(12, access("nemo"));
    lab.run(SECOND);
    assert!(matches!(lab.events.last(), Some((_, Event::Reply { token: 12, server: ServerId(0), .. }))));
}

#[test]
fn with_all_dead_requests_fail_at_once_and_one_reply_is_life() {
    let mut lab = Lab::new(vec![server("a")]);
    lab.servers[0].up = false;
    lab.request(1, access("nemo"));
    lab.run(5 * SECOND);
    lab.request(2, access("nemo"));
    lab.run(10 * SECOND);
    assert_eq!((lab.went(), lab.failures()), (vec!["down 0".to_owned()], vec![(1, Failure::NoAnswer)]));
    lab.request(3, access("nemo"));
    assert_eq!(lab.failures().last(), Some(&(3, Failure::NoServer)));
    // The second request waits for the dead server on, as there is no other.
    lab.servers[0].up = true;
    let (link, request) = lab.servers[0].requests.last().unwrap().clone();
    lab.client.handle_input(lab.now, link, &answer(&request, true, &AttributeList::new()));
    lab.drain();
    assert_eq!(lab.went(), ["down 0", "up 0"]);
    assert!(lab.events.iter().any(|(_, event)| matches!(event, Event::Reply { token: 2, .. })));
}

#[test]
fn a_socket_that_cannot_be_opened_makes_requests_move() {
    let mut lab = Lab::new(vec![server("a"), server("b")]);
    lab.client.request(lab.now, 1, access("nemo"), None);
    let Some(LinkOp::Open(link)) = lab.client.poll_link() else { panic!("no link") };
    lab.client.link_down(lab.now, link);
    while lab.client.poll_transmit().is_some_and(|(to, _)| to == link) {}
    lab.client.link_down(lab.now, link);
    lab.run(5 * SECOND);
    lab.all_answered(1..2);
}

#[test]
fn servers_change_while_requests_are_on_their_way() {
    let port = |name, port| ServerConfig { address: ([192, 0, 2, 1], port).into(), ..server(name) };
    let (a, b, c) = (port("a", 1), port("b", 2), port("c", 3));
    let mut lab = Lab::new(vec![a.clone(), b.clone(), c.clone()]);
    lab.servers[1].up = false;
    (0..9).for_each(|n| lab.request(n, access("nemo")));
    lab.run(Duration::from_millis(500));
    assert!(lab.client.in_flight() > 0);
    // One is gone, one is another now, one goes on with its link.
    let other = ServerConfig { secret: Secret::new("changed"), ..c };
    lab.client.set_config(lab.now, Config { servers: vec![other, a], ..Config::default() });
    lab.drain();
    let ids: Vec<_> = lab.client.servers().map(|s| (s.id.0, s.config.name.clone(), s.links)).collect();
    assert_eq!(ids[1], (0, "a".to_owned(), 1));
    assert_eq!((ids[0].0, ids.len(), lab.open.iter().filter(|l| [1, 2].contains(&l.server.0)).count()), (3, 2, 0));
    // What went to the one whose secret is another now is not answered there, but by the one that is left.
    let (seen, requests, attributes) = (Default::default(), Vec::new(), AttributeList::new());
    lab.servers.push(lab::Script { up: false, seen, requests, attributes });
    lab.run(30 * SECOND);
    lab.all_answered(0..9);
    // Nobody is left.
    lab.client.set_config(lab.now, Config::default());
    lab.request(9, access("nemo"));
    assert_eq!(lab.failures(), [(9, Failure::NoServer)]);
    assert!(lab.open.is_empty() && lab.client.name(ServerId(0)).is_empty());
}

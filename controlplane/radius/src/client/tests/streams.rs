//! TCP (RFC 6613) and TLS (RFC 6614).

use super::*;

fn stream(name: &str) -> ServerConfig {
    ServerConfig { transport: Transport::Tcp, ..server(name) }
}

fn link(server: u16, number: u32) -> LinkId {
    LinkId { server: ServerId(server), number }
}

/// Requests that a server has got.
fn requests(lab: &mut Lab, server: usize) -> Vec<Vec<u8>> {
    lab.run(Duration::from_millis(2));
    std::mem::take(&mut lab.servers[server].requests).into_iter().map(|(_, octets)| octets).collect()
}

/// A server that says nothing of itself.
fn silent(servers: Vec<ServerConfig>) -> Lab {
    let mut lab = Lab::new(servers);
    lab.servers.iter_mut().for_each(|server| server.up = false);
    lab
}

#[test]
fn requests_wait_for_the_stream_and_replies_come_in_pieces() {
    for size in [1, 7, 19, 20, 21, 1000] {
        let mut lab = silent(vec![stream("a")]);
        (0..3).for_each(|n| lab.request(n, access(&format!("user{n}"))));
        assert_eq!(requests(&mut lab, 0).len(), 0);
        lab.client.link_up(lab.now, link(0, 0));
        lab.client.link_up(lab.now, link(0, 0));
        let sent = requests(&mut lab, 0);
        assert_eq!((sent.len(), lab.open.len()), (3, 1));
        let replies: Vec<u8> = sent.iter().flat_map(|r| answer(r, true, &AttributeList::new())).collect();
        for piece in replies.chunks(size) {
            lab.client.handle_input(lab.now, link(0, 0), piece);
        }
        lab.drain();
        lab.all_answered(0..3);
    }
}

#[test]
fn a_stream_out_of_step_is_closed_and_its_requests_are_sent_once_more() {
    for (reason, octets) in [
        (Discard::Malformed, [2, 0, 0, 19].to_vec()),
        (Discard::Malformed, [2, 0, 0x10, 1].to_vec()),
        (Discard::Malformed, [&[2, 0, 0, 23][..], &[0; 16], &[1, 4, 0]].concat()),
        (Discard::BadAuthenticator, [&[2, 0, 0, 20][..], &[0; 16]].concat()),
        (Discard::WrongCode, [&[5, 0, 0, 20][..], &[0; 16]].concat()),
    ] {
        let mut lab = silent(vec![stream("a")]);
        lab.request(0, access("nemo"));
        lab.client.link_up(lab.now, link(0, 0));
        assert_eq!(requests(&mut lab, 0).len(), 1);
        lab.client.handle_input(lab.now, link(0, 0), &octets);
        lab.client.handle_input(lab.now, link(0, 0), &octets);
        lab.drain();
        assert_eq!(
            (lab.discards(0), lab.open.iter().copied().collect::<Vec<_>>()),
            (vec![(reason, 1)], vec![link(0, 1)])
        );
        lab.client.link_up(lab.now, link(0, 1));
        let sent = requests(&mut lab, 0);
        lab.client.handle_input(lab.now, link(0, 1), &answer(&sent[0], true, &AttributeList::new()));
        lab.drain();
        lab.all_answered(0..1);
    }
}

#[test]
fn what_is_nobodys_reply_leaves_the_stream_open() {
    let mut lab = silent(vec![stream("a")]);
    lab.request(0, access("nemo"));
    lab.client.link_up(lab.now, link(0, 0));
    let sent = requests(&mut lab, 0);
    let reply = answer(&sent[0], true, &AttributeList::new());
    let mut other = reply.clone();
    other[1] ^= 1;
    lab.client.handle_input(lab.now, link(0, 0), &[other, reply].concat());
    lab.drain();
    lab.all_answered(0..1);
    assert_eq!((lab.discards(0), lab.open.len()), (vec![(Discard::UnknownId, 1)], 1));
}

#[test]
fn nothing_is_sent_twice_on_a_stream() {
    let mut lab = silent(vec![stream("a"), stream("b")]);
    lab.client.request(lab.now, 0, access("nemo"), None);
    lab.drain();
    lab.client.link_up(lab.now, link(0, 0));
    lab.run(5 * SECOND);
    assert_eq!(lab.servers[0].requests.len(), 1);
    // As long as three tries of two seconds, then the next server.
    lab.run(2 * SECOND);
    assert_eq!((lab.servers[0].requests.len(), lab.counters(1).requests), (1, 1));
    // A stream that says nothing for so long is closed.
    assert_eq!((lab.went(), lab.open.len()), (vec!["down 0".to_owned()], 1));
}

#[test]
fn a_broken_stream_moves_its_requests_and_one_that_cannot_be_opened_is_a_dead_server() {
    let mut lab =
        silent(vec![ServerConfig { probe: Some(5 * SECOND), ..stream("a") }, ServerConfig { group: 1, ..stream("b") }]);
    (0..300).for_each(|n| lab.request(n, access(&format!("user{n}"))));
    assert_eq!(lab.open.iter().copied().collect::<Vec<_>>(), [link(0, 0), link(0, 1)]);
    lab.client.link_up(lab.now, link(0, 0));
    lab.client.link_up(lab.now, link(0, 1));
    assert_eq!(requests(&mut lab, 0).len(), 300);
    for number in [0, 1] {
        lab.open.remove(&link(0, number));
        lab.client.link_down(lab.now, link(0, number));
        lab.drain();
    }
    // They wait for a new stream to the same server, which does not listen any more.
    assert_eq!((lab.client.in_flight(), lab.counters(1).requests), (300, 0));
    for number in [2, 3] {
        if lab.open.remove(&link(0, number)) {
            lab.client.link_down(lab.now, link(0, number));
            lab.drain();
        }
    }
    assert_eq!((lab.went(), lab.counters(1).requests), (vec!["down 0".to_owned()], 300));
    [0, 1].iter().for_each(|number| lab.client.link_up(lab.now, link(1, *number)));
    for request in requests(&mut lab, 1) {
        let to = if lab.client.servers().nth(1).unwrap().in_flight > 44 { 0 } else { 1 };
        lab.client.handle_input(lab.now, link(1, to), &answer(&request, true, &AttributeList::new()));
    }
    lab.drain();
    lab.all_answered(0..300);
    // Its probe opens another one.
    lab.run(5 * SECOND);
    let probe = *lab.open.first().unwrap();
    assert!(probe.server == ServerId(0) && probe.number > 3, "{probe:?}");
    lab.client.link_up(lab.now, probe);
    let sent = requests(&mut lab, 0);
    assert_eq!(Packet::parse(&sent[0]).unwrap().code, Code::StatusServer);
    lab.client.handle_input(lab.now, probe, &answer(&sent[0], true, &AttributeList::new()));
    lab.drain();
    assert_eq!(lab.went(), ["down 0", "up 0"]);
}

/// The stream is up, and ends before it has carried anything back, as those of a TLS 1.3 server do that refuses us.
fn refuse(lab: &mut Lab, server: u16) {
    let id = *lab.open.iter().find(|link| link.server == ServerId(server)).unwrap();
    lab.client.link_up(lab.now, id);
    lab.drain();
    lab.open.remove(&id);
    lab.client.link_down(lab.now, id);
    lab.drain();
}

#[test]
fn a_server_whose_streams_end_without_a_reply_is_dead() {
    for probe in [None, Some(SECOND)] {
        let mut lab = silent(vec![
            ServerConfig { transport: Transport::Tls, probe, ..server("a") },
            ServerConfig { group: 1, ..stream("b") },
        ]);
        lab.request(0, access("nemo"));
        refuse(&mut lab, 0);
        assert_eq!(lab.counters(1).requests, 0, "once more to the same server");
        refuse(&mut lab, 0);
        assert_eq!((lab.went().len(), lab.counters(1).requests), (0, 1));
        lab.request(1, access("nemo"));
        refuse(&mut lab, 0);
        assert_eq!((lab.went(), lab.counters(0).requests, lab.counters(1).requests), (vec!["down 0".to_owned()], 3, 2));
        lab.request(2, access("nemo"));
        assert!(lab.open.iter().all(|link| link.server == ServerId(1)), "{:?}", lab.open);
        let Some(interval) = probe else { continue };
        // A probe that meets with the same says nothing new; a reply does.
        lab.run(interval);
        refuse(&mut lab, 0);
        assert_eq!(lab.went(), ["down 0"]);
        lab.run(interval);
        let id = *lab.open.first().unwrap();
        lab.client.link_up(lab.now, id);
        let sent = requests(&mut lab, 0);
        lab.client.handle_input(lab.now, id, &answer(sent.last().unwrap(), true, &AttributeList::new()));
        lab.drain();
        assert_eq!(lab.went(), ["down 0", "up 0"]);
    }
}

#[test]
fn a_server_that_answers_may_close_its_streams() {
    let mut lab = silent(vec![stream("a")]);
    for n in 0..10 {
        lab.request(n, access("nemo"));
        refuse(&mut lab, 0);
        let id = *lab.open.first().unwrap();
        lab.client.link_up(lab.now, id);
        let sent = requests(&mut lab, 0);
        lab.client.handle_input(lab.now, id, &answer(sent.last().unwrap(), true, &AttributeList::new()));
        lab.drain();
        lab.open.remove(&id);
        lab.client.link_down(lab.now, id);
        lab.drain();
    }
    lab.all_answered(0..10);
    assert!(lab.went().is_empty());
}

#[test]
fn streams_that_end_together_count_once() {
    let mut lab = silent(vec![stream("a")]);
    (0..1000).for_each(|n| lab.request(n, access("nemo")));
    let links: Vec<_> = lab.open.iter().copied().collect();
    assert_eq!(links.len(), 4);
    links.iter().for_each(|id| lab.client.link_up(lab.now, *id));
    lab.drain();
    for id in links {
        lab.open.remove(&id);
        lab.client.link_down(lab.now, id);
        lab.drain();
    }
    assert_eq!((lab.went().len(), lab.client.in_flight()), (0, 1000));
}

#[test]
fn over_tls_a_message_authenticator_is_checked_if_it_is_there() {
    for (mac, attribute, fine) in [(true, false, true), (false, false, true), (false, true, false)] {
        let mut lab = silent(vec![ServerConfig { transport: Transport::Tls, ..server("a") }]);
        lab.request(0, access("nemo"));
        lab.client.link_up(lab.now, link(0, 0));
        let sent = requests(&mut lab, 0);
        let mut list = AttributeList::new();
        if attribute {
            list.octets(MESSAGE_AUTHENTICATOR, &[7; 16]);
        }
        lab.client.handle_input(lab.now, link(0, 0), &answer(&sent[0], mac, &list));
        lab.drain();
        assert_eq!(lab.client.in_flight() == 0, fine);
    }
}

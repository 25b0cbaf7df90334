use super::*;
use crate::attribute::{ACCT_SESSION_ID, MESSAGE_AUTHENTICATOR, SESSION_TIMEOUT};
use hex_literal::hex;
use proptest::prelude::*;

const SECRET: &[u8] = b"testing123";
const TIME: u64 = 1_790_000_000;

fn from(port: u16) -> SocketAddr {
    ([192, 0, 2, 9], port).into()
}

fn config() -> Config {
    let clients = vec![([192, 0, 2, 9].into(), Secret::new(SECRET)), ([192, 0, 2, 10].into(), Secret::new("other"))];
    Config { clients, ..Config::default() }
}

fn server() -> Server {
    Server::new(config())
}

fn list(timestamp: u64) -> AttributeList {
    let mut list = AttributeList::new();
    list.u32(EVENT_TIMESTAMP, timestamp as u32).text(ACCT_SESSION_ID, "7");
    list
}

fn request(code: Code, id: u8, list: &AttributeList) -> Vec<u8> {
    Builder::new(code, id).attributes(list).hashed_request(SECRET).unwrap()
}

#[track_caller]
fn accepted(verdict: Verdict) -> Request {
    match verdict {
        Verdict::Request(request) => request,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn dropped(verdict: Verdict) -> Discard {
    match verdict {
        Verdict::Drop(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn requests_are_answered_with_what_has_to_be_copied() {
    for (code, result, answered) in [
        (Code::DisconnectRequest, Ok(()), Code::DisconnectAck),
        (Code::DisconnectRequest, Err(ErrorCause::SessionContextNotFound), Code::DisconnectNak),
        (Code::CoaRequest, Ok(()), Code::CoaAck),
        (Code::CoaRequest, Err(ErrorCause::UnsupportedAttribute), Code::CoaNak),
    ] {
        let mut server = server();
        let mut attributes = list(TIME);
        attributes.octets(PROXY_STATE, b"2").u32(SESSION_TIMEOUT, 60).octets(STATE, b"s").octets(PROXY_STATE, b"1");
        let octets = request(code, 77, &attributes);
        let taken = accepted(server.handle_input(Instant::now(), TIME, from(4000), &octets));
        assert_eq!(taken.attributes().text(ACCT_SESSION_ID), Ok(Some("7")));
        assert_eq!(taken.action == Action::Coa, code == Code::CoaRequest);
        let (to, answer) = server.answer(taken.handle, result).unwrap();
        let (asked, packet) = (Packet::parse(&octets).unwrap(), Packet::parse(&answer).unwrap());
        assert_eq!((to, packet.code, packet.id), (from(4000), answered, 77));
        assert!(crypto::authentic(&packet, &asked.authenticator, SECRET));
        let mac = crypto::message_authenticator(&packet, &asked.authenticator, SECRET);
        assert_eq!(mac, MessageAuthenticator::Valid);
        let said: Vec<_> = packet.attributes().iter().map(|a| (a.kind, a.value)).collect();
        let cause = result.err().map(|cause| (cause as u32).to_be_bytes());
        let mut expected = vec![(MESSAGE_AUTHENTICATOR, said[0].1)];
        expected.extend(cause.iter().map(|cause| (ERROR_CAUSE, &cause[..])));
        expected.extend([(PROXY_STATE, &b"2"[..]), (STATE, b"s"), (PROXY_STATE, b"1")]);
        assert_eq!(said, expected);
        assert_eq!(packet.attributes().u32(ERROR_CAUSE), Ok(result.err().map(|c| c as u32)));
    }
}

#[test]
fn the_requests_of_radclient_are_understood() {
    // FreeRADIUS 3.2.1, with dictionary.softwire.
    let coa = hex!(
        "2bf80045a9bc4736570704cc33327163c657c1c501066e656d6f2c03371a0c0000fde70a0600001388210401023706
         6b07948950123b725dbc126d1628e30d334cfb53dd25"
    );
    let disconnect = hex!(
        "28fa0045fac1e393827b1d270733b6008dc4f4e701066e656d6f2c03371a0c0000fde70a0600001388210401023706
         6b0794895012160d30bd11a4b47d025557a8cb321bd3"
    );
    for (octets, action) in [(coa, Action::Coa), (disconnect, Action::Disconnect)] {
        let taken = accepted(server().handle_input(Instant::now(), 0x6b07_9489, from(4000), &octets));
        assert_eq!(taken.action, action);
        assert_eq!(taken.attributes().text(ACCT_SESSION_ID), Ok(Some("7")));
        assert_eq!(taken.attributes().u32(crate::vendor::RATE_DOWN), Ok(Some(5000)));
    }
}

#[test]
fn a_duplicate_gets_the_same_answer_and_a_replay_none() {
    let (mut server, now) = (server(), Instant::now());
    let octets = request(Code::DisconnectRequest, 1, &list(TIME));
    let taken = accepted(server.handle_input(now, TIME, from(4000), &octets));
    assert_eq!(dropped(server.handle_input(now, TIME, from(4000), &octets)), Discard::InProgress);
    let (_, answer) = server.answer(taken.handle, Ok(())).unwrap();
    for _ in 0..2 {
        match server.handle_input(now, TIME, from(4000), &octets) {
            Verdict::Resend(again) => assert_eq!(again, answer),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(dropped(server.handle_input(now, TIME, from(4001), &octets)), Discard::Replayed);
    // The same request for the second time is another packet.
    let again = request(Code::DisconnectRequest, 2, &list(TIME + 1));
    accepted(server.handle_input(now, TIME + 1, from(4000), &again));
    let expected = [(Discard::Replayed, 1), (Discard::InProgress, 1)];
    assert_eq!(server.discards().iter().map(|(r, n)| (*r, *n)).collect::<Vec<_>>(), expected);
}

#[test]
fn there_is_no_time_at_which_a_packet_can_be_replayed() {
    for ahead in [0, 299, 300] {
        let (mut server, start) = (server(), Instant::now());
        let octets = request(Code::CoaRequest, 1, &list(TIME + ahead));
        let taken = accepted(server.handle_input(start, TIME, from(4000), &octets));
        server.answer(taken.handle, Ok(())).unwrap();
        for second in (0..1000).step_by(7).chain([300, 599, 600, 601]).collect::<std::collections::BTreeSet<_>>() {
            let verdict = server.handle_input(start + Duration::from_secs(second), TIME + second, from(4001), &octets);
            let reason = if second <= ahead + 300 { Discard::Replayed } else { Discard::StaleEventTimestamp };
            assert_eq!(dropped(verdict), reason, "{ahead} {second}");
        }
        assert!(server.remembered.is_empty() && server.until.is_empty());
    }
}

#[test]
fn another_configuration_forgets_nothing() {
    let (mut server, start) = (server(), Instant::now());
    let octets = request(Code::DisconnectRequest, 1, &list(TIME));
    let taken = accepted(server.handle_input(start, TIME, from(4000), &octets));
    let ask = |server: &mut Server, second: u64| {
        dropped(server.handle_input(start + Duration::from_secs(second), TIME + second, from(4001), &octets))
    };
    // Nobody may ask for a while, and the answer has nowhere to go.
    server.set_config(start, Config::default());
    assert_eq!(ask(&mut server, 1), Discard::UnknownClient);
    assert_eq!(server.answer(taken.handle, Ok(())), None);
    let fewer = config().clients.into_iter().take(1).collect();
    server.set_config(start, Config { clients: fewer, ..Config::default() });
    assert_eq!([1, 300, 301].map(|s| ask(&mut server, s)), {
        use Discard::*;
        [Replayed, Replayed, StaleEventTimestamp]
    });
    assert_eq!(server.discards().iter().map(|(r, n)| (*r, *n)).collect::<Vec<_>>(), {
        use Discard::*;
        [(UnknownClient, 1), (StaleEventTimestamp, 1), (Replayed, 2)]
    });
}

#[test]
fn another_window_makes_no_time_for_a_replay() {
    let window = |seconds| Config { window: Duration::from_secs(seconds), ..config() };
    for (before, after, at) in [(10, 300, 5), (10, 300, 25), (300, 10, 5), (300, 300, 200), (10, 100_000, 22)] {
        let (mut server, start) = (Server::new(window(before)), Instant::now());
        let octets = request(Code::CoaRequest, 1, &list(TIME + before));
        let ask = |server: &mut Server, second: u64| {
            server.handle_input(start + Duration::from_secs(second), TIME + second, from(4001), &octets)
        };
        let taken = accepted(ask(&mut server, 0));
        server.answer(taken.handle, Ok(())).unwrap();
        for second in 1..1000 {
            // In between there are changes back and forth.
            match second {
                _ if second == at => server.set_config(start + Duration::from_secs(second), window(after)),
                500 => server.set_config(start + Duration::from_secs(500), window(1)),
                600 => server.set_config(start + Duration::from_secs(600), window(900)),
                _ => {}
            }
            let verdict = ask(&mut server, second);
            assert!(!matches!(verdict, Verdict::Request(_)), "{before} {after} {second}");
        }
        // What is new is believed as far as the window reaches.
        let fresh = request(Code::CoaRequest, 2, &list(TIME + 1000 - 400));
        accepted(server.handle_input(start + Duration::from_secs(1000), TIME + 1000, from(4000), &fresh));
    }
}

#[test]
fn what_is_not_to_be_believed_is_counted_by_reason() {
    let (mut server, now) = (server(), Instant::now());
    let good = request(Code::CoaRequest, 1, &list(TIME));
    let mut twice = list(TIME);
    twice.octets(MESSAGE_AUTHENTICATOR, &[0; 16]);
    let mut changed = good.clone();
    *changed.last_mut().unwrap() ^= 1;
    let bare = Builder::unauthenticated(Code::CoaRequest, 1).attributes(&list(TIME)).hashed_request(SECRET).unwrap();
    let no_time = request(Code::CoaRequest, 1, &AttributeList::new());
    let mut short = AttributeList::new();
    short.octets(EVENT_TIMESTAMP, &[0; 3]);
    let stranger: SocketAddr = ([192, 0, 2, 11], 4000).into();
    let other: SocketAddr = ([192, 0, 2, 10], 4000).into();
    for (from, octets, reason) in [
        (stranger, &good, Discard::UnknownClient),
        (stranger, &vec![0], Discard::UnknownClient),
        (from(1), &good[..good.len() - 1].to_vec(), Discard::Malformed),
        (from(1), &request(Code::AccessRequest, 1, &list(TIME)), Discard::WrongCode),
        (from(1), &request(Code::CoaAck, 1, &list(TIME)), Discard::WrongCode),
        (other, &good, Discard::BadAuthenticator),
        (from(1), &changed, Discard::BadAuthenticator),
        (from(1), &bare, Discard::NoMessageAuthenticator),
        (from(1), &request(Code::CoaRequest, 1, &twice), Discard::BadMessageAuthenticator),
        (from(1), &no_time, Discard::NoEventTimestamp),
        (from(1), &request(Code::CoaRequest, 1, &short), Discard::NoEventTimestamp),
        (from(1), &request(Code::CoaRequest, 1, &list(TIME - 301)), Discard::StaleEventTimestamp),
        (from(1), &request(Code::CoaRequest, 1, &list(TIME + 301)), Discard::StaleEventTimestamp),
    ] {
        assert_eq!(dropped(server.handle_input(now, TIME, from, octets)), reason);
    }
    assert_eq!(server.discards().values().sum::<u64>(), 13);
    assert!(server.remembered.is_empty());
    let mapped: SocketAddr = "[::ffff:192.0.2.9]:4000".parse().unwrap();
    accepted(server.handle_input(now, TIME, mapped, &good));
}

#[test]
fn memory_is_bounded() {
    let (mut server, now) = (server(), Instant::now());
    for n in 0..=MAX_REMEMBERED {
        let mut attributes = list(TIME);
        attributes.u32(SESSION_TIMEOUT, n as u32);
        let octets = request(Code::CoaRequest, n as u8, &attributes);
        match server.handle_input(now, TIME, from(4000), &octets) {
            Verdict::Request(_) => assert!(n < MAX_REMEMBERED),
            verdict => assert_eq!((dropped(verdict), n), (Discard::Overload, MAX_REMEMBERED)),
        }
    }
    let later = now + Duration::from_secs(602);
    accepted(server.handle_input(later, TIME + 602, from(4000), &request(Code::CoaRequest, 1, &list(TIME + 602))));
    assert_eq!(server.remembered.len(), 1);
}

proptest! {
    #[test]
    fn any_datagram_is_survived(octets in proptest::collection::vec(any::<u8>(), 0..60), length in 0u16..60) {
        let mut octets = octets;
        if let Some([code, _, l0, l1]) = octets.first_chunk_mut() {
            (*code, [*l0, *l1]) = (43, length.to_be_bytes());
        }
        let verdict = server().handle_input(Instant::now(), TIME, from(4000), &octets);
        prop_assert!(matches!(dropped(verdict), Discard::Malformed | Discard::BadAuthenticator));
    }
}

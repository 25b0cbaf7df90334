//! Replies that are not what they seem.

use super::*;
use crate::crypto::hide_salted;
use crate::vendor::{MS_MPPE_RECV_KEY, MS_MPPE_SEND_KEY};
use proptest::prelude::*;

/// One request on its way, and its packet.
fn asked(config: ServerConfig) -> (Lab, LinkId, Vec<u8>) {
    let mut lab = Lab::new(vec![config]);
    lab.servers[0].up = false;
    lab.request(1, access("nemo"));
    lab.run(Duration::from_millis(2));
    let (link, request) = lab.servers[0].requests[0].clone();
    (lab, link, request)
}

fn input(lab: &mut Lab, link: LinkId, octets: &[u8]) {
    lab.client.handle_input(lab.now, link, octets);
    lab.drain();
}

#[test]
fn forged_replies_are_counted_by_reason_and_end_nothing() {
    let (mut lab, link, request) = asked(server("a"));
    let sent = Packet::parse(&request).unwrap();
    let list = AttributeList::new();
    let accept = Builder::new(Code::AccessAccept, sent.id);
    let good = answer(&request, true, &list);

    input(&mut lab, link, &good[..19]);
    input(&mut lab, link, &Builder::new(Code::AccessAccept, sent.id ^ 1).reply(&sent.authenticator, SECRET).unwrap());
    input(&mut lab, link, &Builder::new(Code::AccountingResponse, sent.id).reply(&sent.authenticator, SECRET).unwrap());
    input(&mut lab, link, &request);
    input(&mut lab, link, &accept.clone().reply(&sent.authenticator, b"not the secret").unwrap());
    input(&mut lab, link, &accept.clone().reply(&[0; 16], SECRET).unwrap());
    // What CVE-2024-3596 makes: a right Response Authenticator, without and with a Message-Authenticator.
    input(&mut lab, link, &answer(&request, false, &list));
    let mut wrong = AttributeList::new();
    wrong.octets(MESSAGE_AUTHENTICATOR, &[7; 16]);
    input(&mut lab, link, &answer(&request, false, &wrong));
    assert_eq!(
        lab.discards(0),
        [
            (Discard::Malformed, 1),
            (Discard::UnknownId, 1),
            (Discard::WrongCode, 2),
            (Discard::BadAuthenticator, 2),
            (Discard::NoMessageAuthenticator, 1),
            (Discard::BadMessageAuthenticator, 1),
        ]
    );
    assert!(lab.events.is_empty() && lab.client.in_flight() == 1);

    input(&mut lab, link, &good);
    lab.all_answered(1..2);
    input(&mut lab, link, &good);
    assert_eq!((lab.discards(0)[2], lab.events.len()), ((Discard::Late, 1), 1));
    let elsewhere = LinkId { number: 9, ..link };
    input(&mut lab, elsewhere, &good);
    input(&mut lab, LinkId { server: ServerId(9), number: 0 }, &good);
    assert_eq!(lab.events.len(), 1);
}

#[test]
fn a_server_by_override_needs_no_message_authenticator_but_a_wrong_one_is_refused() {
    let legacy = ServerConfig { require_message_authenticator: false, ..server("a") };
    let (mut lab, link, request) = asked(legacy);
    let mut wrong = AttributeList::new();
    wrong.octets(MESSAGE_AUTHENTICATOR, &[7; 16]);
    input(&mut lab, link, &answer(&request, false, &wrong));
    assert_eq!(lab.discards(0), [(Discard::BadMessageAuthenticator, 1)]);
    input(&mut lab, link, &answer(&request, false, &AttributeList::new()));
    lab.all_answered(1..2);
}

#[test]
fn keys_and_tunnel_passwords_are_revealed_with_the_request_they_answer() {
    let (mut lab, link, request) = asked(server("a"));
    let authenticator = Packet::parse(&request).unwrap().authenticator;
    let hide = |salt, value: &[u8]| hide_salted(SECRET, &authenticator, [salt, salt], value).unwrap();
    let mut list = AttributeList::new();
    list.octets(MS_MPPE_SEND_KEY, &hide(1, &[0x55; 32])).octets(MS_MPPE_RECV_KEY, &hide(2, &[0xaa; 32]));
    list.octets(TUNNEL_PASSWORD, &[&[3], &hide(3, b"between us")[..]].concat());
    input(&mut lab, link, &answer(&request, true, &list));
    let reply = lab.reply();
    let keys = reply.mppe_keys().unwrap().unwrap();
    assert_eq!(keys.msk().expose(), [[0xaa; 32], [0x55; 32]].concat());
    assert_eq!(reply.tunnel_password(), Ok(Some((3, Secret::new("between us")))));
    let printed = format!("{reply:?}");
    assert!(!printed.contains("170, 170") && !printed.contains("98, 101, 116"), "{printed}");
}

#[test]
fn secrets_and_passwords_are_not_printed() {
    let request = Request { user_password: Some(Secret::new("hidden")), ..access("nemo") };
    let printed = format!("{request:?} {:?}", server("a"));
    assert!(!printed.contains("hidden") && !printed.contains("testing123"), "{printed}");
}

#[test]
fn a_challenge_and_a_reject_are_replies() {
    for code in [Code::AccessChallenge, Code::AccessReject] {
        let (mut lab, link, request) = asked(server("a"));
        let sent = Packet::parse(&request).unwrap();
        let mut list = AttributeList::new();
        list.octets(STATE, b"state").eap_message(&[1, 7, 0, 300u16 as u8]).octets(PROXY_STATE, b"other");
        let reply = Builder::new(code, sent.id).attributes(&list).reply(&sent.authenticator, SECRET).unwrap();
        input(&mut lab, link, &reply);
        assert_eq!((lab.reply().code(), lab.reply().attributes().octets(STATE)), (code, Some(&b"state"[..])));
        assert_eq!(lab.reply().attributes().eap_message(), Some(vec![1, 7, 0, 44]));
    }
}

proptest! {
    #[test]
    fn any_datagram_is_survived(
        pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 1..8),
        fitting in any::<bool>(),
        stream in any::<bool>(),
    ) {
        let transport = if stream { Transport::Tcp } else { Transport::Udp };
        let mut lab = Lab::new(vec![ServerConfig { transport, ..server("a") }]);
        lab.request(1, access("nemo"));
        let link = LinkId { server: ServerId(0), number: 0 };
        lab.client.link_up(lab.now, link);
        lab.drain();
        for mut piece in pieces {
            if let (true, length, Some(at)) = (fitting, piece.len() as u16, piece.get_mut(2..4)) {
                at.copy_from_slice(&length.to_be_bytes());
            }
            lab.client.handle_input(lab.now, link, &piece);
            lab.drain();
        }
        let replied = lab.events.iter().any(|(_, event)| matches!(event, Event::Reply { .. }));
        prop_assert!(!replied);
        prop_assert_eq!(lab.client.in_flight() + lab.failures().len(), 1);
    }
}

//! Replies that are not what they seem.

use super::*;
use crate::crypto::{MessageAuthenticator, authentic, hide_salted, message_authenticator};
use crate::vendor::{
    INPUT_OCTETS_IPV6, MS_MPPE_RECV_KEY, MS_MPPE_SEND_KEY, MS_PRIMARY_DNS_SERVER, RATE_DOWN, WISPR_BANDWIDTH_MAX_UP,
};
use hex_literal::hex;
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
    let mut eap = AttributeList::new();
    eap.eap_message(&[3, 7, 0, 4]);
    input(&mut lab, link, &answer(&request, false, &eap));
    assert_eq!(lab.discards(0), [(Discard::NoMessageAuthenticator, 1), (Discard::BadMessageAuthenticator, 1)]);
    input(&mut lab, link, &answer(&request, false, &AttributeList::new()));
    lab.all_answered(1..2);
}

#[test]
fn an_accept_of_eap_needs_a_message_authenticator_though_its_eap_is_missing() {
    for code in [Code::AccessAccept, Code::AccessReject] {
        let mut lab = Lab::new(vec![ServerConfig { require_message_authenticator: false, ..server("a") }]);
        lab.servers[0].up = false;
        let mut request = access("nemo");
        request.attributes.eap_message(&[2, 7, 0, 5, 1]);
        lab.request(1, request);
        lab.run(Duration::from_millis(2));
        let (link, request) = lab.servers[0].requests[0].clone();
        let sent = Packet::parse(&request).unwrap();
        let reply = Builder::unauthenticated(code, sent.id).reply(&sent.authenticator, SECRET).unwrap();
        input(&mut lab, link, &reply);
        match code {
            Code::AccessAccept => assert_eq!(lab.discards(0), [(Discard::NoMessageAuthenticator, 1)]),
            _ => assert_eq!(lab.reply().code(), code),
        }
    }
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
    let printed =
        "Access-Accept [Message-Authenticator[16], MS-MPPE-Send-Key[50], MS-MPPE-Recv-Key[50], Tunnel-Password[19]]";
    assert_eq!(format!("{reply:?}"), printed);
}

/// An Access-Accept of FreeRADIUS 3.2.1 as it came, to a request with this authenticator.
const AUTHENTICATOR: [u8; 16] = hex!("418f6bc75dbd96e40e73008699c7eb15");
const ACCEPT: [u8; 358] = hex!(
    "02000166442d2b6d99fe6727ef022a9123467b7f0806c00002076114003020010db80007000000000000000000007b14003820010db8
     000800000000000000000000600a0000000000000005161d3139382e35312e3130302e302f3234203139322e302e322e372031631632
     3030313a6462383a393a3a2f3438203a3a2031400601000003410601000001430c013139322e302e322e3145150181cdb7e62a803afd
     40e7a3b385dc48729e871a0c000001371c06c00002351a3a0000013711348b3b4bf3194c3f9b0abe84d257c125f33940864ccb1a1ae0
     f2006f22898df4c4dda1aa02ae88d08563f22a46ae8518f7a84f1a3a00000137103491273b285c38473c70596ca06d7a9b59859a6470
     b70cef774cec1d852f84ade55264956bbe65b035a0277a4ab477708c9e241a0c0000fde70a06000186a01a100000fde7030a00000002
     000000001a0c0000372a0706000f42405012f56d9f633bf9fdbd26f0e2207a9d0666"
);

#[test]
fn an_accept_of_freeradius_is_understood() {
    let packet = Packet::parse(&ACCEPT).unwrap();
    assert!(authentic(&packet, &AUTHENTICATOR, SECRET));
    assert_eq!(message_authenticator(&packet, &AUTHENTICATOR, SECRET), MessageAuthenticator::Valid);
    let reply = Reply::new(&packet, &AUTHENTICATOR, &Secret::new(SECRET));
    assert_eq!(reply.mppe_keys().unwrap().unwrap().msk().expose(), (0..64).collect::<Vec<u8>>());
    assert_eq!(reply.tunnel_password(), Ok(Some((1, Secret::new("between us")))));
    let all = reply.attributes();
    let ipv6 = |text: &str, length| Ok(Some((text.parse().unwrap(), length)));
    assert_eq!(all.ipv4(FRAMED_IP_ADDRESS), Ok(Some([192, 0, 2, 7].into())));
    assert_eq!(all.ipv6_prefix(FRAMED_IPV6_PREFIX), ipv6("2001:db8:7::", 48));
    assert_eq!(all.ipv6_prefix(DELEGATED_IPV6_PREFIX), ipv6("2001:db8:8::", 56));
    assert_eq!(all.interface_id(FRAMED_INTERFACE_ID), Ok(Some([0, 0, 0, 0, 0, 0, 0, 5])));
    let route = |kind| all.first(kind).unwrap().route().unwrap();
    assert_eq!(route(FRAMED_ROUTE), "198.51.100.0/24 192.0.2.7 1".parse().unwrap());
    assert_eq!(route(FRAMED_IPV6_ROUTE), "2001:db8:9::/48 :: 1".parse().unwrap());
    assert_eq!((all.tagged_u32(TUNNEL_TYPE), all.tagged_u32(TUNNEL_MEDIUM_TYPE)), (Ok(Some((1, 3))), Ok(Some((1, 1)))));
    assert_eq!(all.tagged_text(TUNNEL_SERVER_ENDPOINT), Ok(Some((1, "192.0.2.1"))));
    assert_eq!(all.ipv4(MS_PRIMARY_DNS_SERVER), Ok(Some([192, 0, 2, 53].into())));
    assert_eq!((all.u32(RATE_DOWN), all.u64(INPUT_OCTETS_IPV6)), (Ok(Some(100_000)), Ok(Some(1 << 33))));
    assert_eq!(all.u32(WISPR_BANDWIDTH_MAX_UP), Ok(Some(1_000_000)));
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

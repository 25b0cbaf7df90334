use super::*;
use hex_literal::hex;
use proptest::prelude::*;
use std::net::Ipv4Addr;

const KEEPALIVE: [u8; 19] = hex!("ffffffffffffffffffffffffffffffff 0013 04");

fn header(length: u16, kind: u8) -> Vec<u8> {
    [&MARKER[..], &length.to_be_bytes(), &[kind]].concat()
}

fn round_trip(m: Message) -> Vec<u8> {
    let mut out = Vec::new();
    m.encode(&Negotiated::default(), &mut out);
    assert_eq!(frame(&out, MAX_LEN), Ok(Some(out.len())));
    assert_eq!(decode(&out, &Negotiated::default()), Ok(m));
    out
}

#[test]
fn messages_round_trip() {
    assert_eq!(round_trip(Message::KeepAlive), KEEPALIVE);
    let refresh = RouteRefresh { family: Family::Ipv6Unicast, subtype: RouteRefresh::BORR };
    assert_eq!(round_trip(Message::RouteRefresh(refresh))[16..], hex!("0017 05 0002 01 01"));
    let cease = Notification::administrative_shutdown("bye");
    assert_eq!(round_trip(Message::Notification(cease))[16..], hex!("0019 03 06 02 03 627965"));
    let capabilities = vec![Capability::FourOctetAs(65000), Capability::ExtendedMessage];
    let open = Open { asn: 65000, hold_time: 90, router_id: Ipv4Addr::new(10, 0, 0, 1), capabilities };
    let bytes = round_trip(Message::Open(open));
    assert_eq!(bytes[16..], hex!("0027 01 04 fde8 005a 0a000001 0a 02 08 4104 0000fde8 0600"));
}

#[test]
fn a_message_is_found_when_it_is_whole() {
    let two = [KEEPALIVE, KEEPALIVE].concat();
    for cut in 0..KEEPALIVE.len() {
        assert_eq!(frame(&two[..cut], MAX_LEN), Ok(None));
    }
    assert_eq!(frame(&two, MAX_LEN), Ok(Some(19)));
    assert_eq!(frame(&header(100, kind::UPDATE), MAX_LEN), Ok(None));
}

#[test]
fn the_header_is_checked() {
    let mut unsynchronized = KEEPALIVE;
    unsynchronized[3] = 0xfe;
    assert_eq!(frame(&unsynchronized, MAX_LEN), Err(Notification::not_synchronized()));
    for kind in [0, 6, 255] {
        assert_eq!(frame(&header(19, kind), MAX_LEN), Err(Notification::bad_message_type(kind)));
    }
    let cases = [
        (kind::OPEN, 28, 4096),
        (kind::UPDATE, 22, 4096),
        (kind::NOTIFICATION, 20, 4096),
        (kind::ROUTE_REFRESH, 18, 4096),
    ];
    for (kind, short, long) in cases {
        assert_eq!(frame(&header(short, kind), MAX_LEN), Err(Notification::bad_message_length(short)));
        assert_eq!(frame(&header(short + 1, kind), MAX_LEN), Ok(if short == 18 { Some(19) } else { None }));
        assert_eq!(frame(&header(long, kind), MAX_LEN), Ok(None));
        assert_eq!(frame(&header(long + 1, kind), MAX_LEN), Err(Notification::bad_message_length(long + 1)));
    }
    assert_eq!(frame(&header(20, kind::KEEPALIVE), MAX_LEN), Err(Notification::bad_message_length(20)));
    assert_eq!(frame(&header(0, kind::UPDATE), MAX_LEN), Err(Notification::bad_message_length(0)));
}

#[test]
fn extended_messages_are_not_for_open_and_keepalive() {
    for kind in [kind::UPDATE, kind::NOTIFICATION, kind::ROUTE_REFRESH] {
        assert_eq!(frame(&header(u16::MAX, kind), MAX_EXTENDED_LEN), Ok(None));
    }
    for kind in [kind::OPEN, kind::KEEPALIVE] {
        assert_eq!(frame(&header(4097, kind), MAX_EXTENDED_LEN), Err(Notification::bad_message_length(4097)));
    }
}

#[test]
fn bytes_that_are_not_one_message_are_refused() {
    let n = Negotiated::default();
    assert_eq!(decode(&[], &n), Err(Notification::bad_message_length(0)));
    assert_eq!(decode(&header(23, kind::UPDATE), &n), Err(Notification::bad_message_length(19)));
    assert_eq!(decode(&[KEEPALIVE, KEEPALIVE].concat(), &n), Err(Notification::bad_message_length(38)));
}

#[test]
fn a_refresh_of_something_unknown_is_ignored() {
    let refresh =
        |body: [u8; 4]| decode(&[header(23, kind::ROUTE_REFRESH), body.to_vec()].concat(), &Negotiated::default());
    assert_eq!(refresh(hex!("0019 00 46")), Ok(Message::Ignored));
    assert_eq!(refresh(hex!("0001 03 01")), Ok(Message::Ignored));
    let eorr = RouteRefresh { family: Family::Ipv4Unicast, subtype: RouteRefresh::EORR };
    assert_eq!(refresh(hex!("0001 02 01")), Ok(Message::RouteRefresh(eorr)));
}

#[test]
fn a_refresh_of_another_length_is_an_error() {
    let long = [header(24, kind::ROUTE_REFRESH), vec![0; 5]].concat();
    assert_eq!(decode(&long, &Negotiated::default()), Err(Notification::invalid_refresh_length(&long)));
    let short = header(19, kind::ROUTE_REFRESH);
    assert_eq!(decode(&short, &Negotiated::default()), Err(Notification::invalid_refresh_length(&short)));
}

#[test]
fn a_notification_is_cut_to_the_longest_message() {
    let n = Notification { code: 6, subcode: 2, data: vec![1; 5000] };
    let mut out = Vec::new();
    Message::Notification(n).encode(&Negotiated::default(), &mut out);
    assert_eq!(frame(&out, MAX_LEN), Ok(Some(4096)));
}

proptest! {
    #[test]
    fn garbage_is_survived(kind in 0u8..7, body in prop::collection::vec(any::<u8>(), 0..200), ibgp: bool, as4: bool) {
        let bytes = [header((19 + body.len()) as u16, kind), body].concat();
        let families = Family::ALL.into();
        let n = Negotiated { ibgp, four_octet_as: as4, families, ..Negotiated::default() };
        if let Ok(message) = decode(&bytes, &n) {
            // what was read can be written and is read the same; an UPDATE may become several messages
            let mut out = Vec::new();
            message.encode(&n, &mut out);
            if !matches!(message, Message::Update(_) | Message::Ignored) {
                prop_assert_eq!(decode(&out, &n), Ok(message));
            }
        }
    }
}

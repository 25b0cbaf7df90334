use super::*;
use crate::attribute::*;
use crate::crypto::{MessageAuthenticator, authentic, message_authenticator};
use hex_literal::hex;
use proptest::prelude::*;

const SECRET: &[u8] = b"xyzzy5461";

/// RFC 2865, section 7.1: nemo, "arctangent".
const TELNET: [u8; 56] = hex!(
    "01000038 0f403f9473978057bd83d5cb98f4227a 01066e656d6f
     02120dbe708d93d413ce3196e43f782a0aee 0406c0a80110 050600000003"
);
const TELNET_ACCEPT: [u8; 38] =
    hex!("02000026 86fe220e7624ba2a1005f6bf9b55e0b2 060600000001 0f0600000000 0e06c0a80103");
/// RFC 2865, section 7.2: flopsy, by CHAP.
const FRAMED: [u8; 71] = hex!(
    "01010047 2aee86f08d0d55969ca5978e0d3367a2 0108666c6f707379
     031316e97557c316185895f293ff634407 7275 0406c0a80110 050600000014 060600000002 070600000001"
);
const FRAMED_ACCEPT: [u8; 56] = hex!(
    "02010038 15efbc7dab26cfa3dc34d9c03c8601a4 060600000002 070600000001 0806fffffffe
     0a0600000002 0d0600000001 0c06000005dc"
);
/// RFC 5997, section 6.1.
const STATUS: [u8; 38] = hex!("0cda0026 8a54f4686fb394c52866e302185d0623 50125a665e2e1e8411f3e243822097c84fa3");
const STATUS_ACCEPT: [u8; 20] = hex!("02da0014 ef0d552a4bf2d693ec2b6fe8b5411d66");

#[test]
fn the_examples_of_rfc_2865_are_read_and_written() {
    let request = Packet::parse(&TELNET).unwrap();
    assert_eq!((request.code, request.id), (Code::AccessRequest, 0));
    let attributes = request.attributes();
    assert_eq!(attributes.text(USER_NAME), Ok(Some("nemo")));
    assert_eq!(attributes.ipv4(NAS_IP_ADDRESS), Ok(Some([192, 168, 1, 16].into())));
    assert_eq!(attributes.u32(NAS_PORT), Ok(Some(3)));
    let hidden = crate::crypto::hide_password(SECRET, &request.authenticator, b"arctangent").unwrap();
    assert_eq!(attributes.octets(USER_PASSWORD), Some(&hidden[..]));

    let mut list = AttributeList::new();
    list.text(USER_NAME, "nemo").octets(USER_PASSWORD, &hidden);
    list.ipv4(NAS_IP_ADDRESS, [192, 168, 1, 16].into()).u32(NAS_PORT, 3);
    let builder = Builder::unauthenticated(Code::AccessRequest, 0).attributes(&list);
    assert_eq!(builder.access_request(&request.authenticator, SECRET).unwrap(), TELNET);

    let mut list = AttributeList::new();
    list.u32(SERVICE_TYPE, 1).u32(Kind { vendor: 0, number: 15 }, 0);
    list.ipv4(Kind { vendor: 0, number: 14 }, [192, 168, 1, 3].into());
    let builder = Builder::unauthenticated(Code::AccessAccept, 0).attributes(&list);
    assert_eq!(builder.reply(&request.authenticator, SECRET).unwrap(), TELNET_ACCEPT);
}

#[test]
fn replies_are_bound_to_their_requests() {
    for (request, reply) in [(&TELNET[..], &TELNET_ACCEPT[..]), (&FRAMED, &FRAMED_ACCEPT), (&STATUS, &STATUS_ACCEPT)] {
        let (request, packet) = (Packet::parse(request).unwrap(), Packet::parse(reply).unwrap());
        assert!(authentic(&packet, &request.authenticator, SECRET), "{:?}", packet.code);
        assert!(!authentic(&packet, &request.authenticator, b"xyzzy5462"));
        assert!(!authentic(&packet, &[0; 16], SECRET));
        for at in 0..reply.len() {
            let mut changed = reply.to_vec();
            changed[at] ^= 0x20;
            if let Ok(packet) = Packet::parse(&changed) {
                assert!(!authentic(&packet, &request.authenticator, SECRET), "octet {at}");
            }
        }
    }
}

#[test]
fn the_status_server_of_rfc_5997_has_a_message_authenticator() {
    let status = Packet::parse(&STATUS).unwrap();
    let check = |packet: &Packet<'_>, secret| message_authenticator(packet, &packet.authenticator, secret);
    assert_eq!(check(&status, SECRET), MessageAuthenticator::Valid);
    assert_eq!(check(&status, b"other"), MessageAuthenticator::Invalid);
    let built = Builder::new(Code::StatusServer, 0xda).access_request(&status.authenticator, SECRET);
    assert_eq!(built.unwrap(), STATUS);
}

#[test]
fn a_message_authenticator_covers_all_of_a_packet_and_is_there_once() {
    let mut list = AttributeList::new();
    list.text(USER_NAME, "nemo");
    for sealed in [false, true] {
        let builder = Builder::new(Code::AccessRequest, 9).attributes(&list);
        let authenticator = [3; 16];
        let octets =
            if sealed { builder.reply(&authenticator, SECRET) } else { builder.access_request(&authenticator, SECRET) };
        let octets = octets.unwrap();
        let check = |octets: &[u8]| Packet::parse(octets).map(|p| message_authenticator(&p, &authenticator, SECRET));
        assert_eq!(check(&octets), Ok(MessageAuthenticator::Valid));
        for at in (0..4).chain(20..octets.len()) {
            let mut changed = octets.clone();
            changed[at] ^= 1;
            assert_ne!(check(&changed), Ok(MessageAuthenticator::Valid), "octet {at}");
        }
    }
    let mut list = AttributeList::new();
    list.octets(MESSAGE_AUTHENTICATOR, &[0; 16]);
    let twice = Builder::new(Code::AccessRequest, 9).attributes(&list).access_request(&[3; 16], SECRET).unwrap();
    let check = |octets: &[u8]| message_authenticator(&Packet::parse(octets).unwrap(), &[3; 16], SECRET);
    assert_eq!(check(&twice), MessageAuthenticator::Invalid);
    assert_eq!(check(&TELNET), MessageAuthenticator::Absent);
    let short = Builder::unauthenticated(Code::AccessRequest, 9);
    let mut list = AttributeList::new();
    list.octets(MESSAGE_AUTHENTICATOR, &[0; 15]);
    let short = short.attributes(&list).access_request(&[3; 16], SECRET).unwrap();
    assert_eq!(check(&short), MessageAuthenticator::Invalid);
}

#[test]
fn padding_is_ignored_and_lengths_are_held_to() {
    let padded = [&STATUS[..], &[0, 1, 2]].concat();
    assert_eq!(Packet::parse(&padded).unwrap().octets(), STATUS);
    for length in [0u16, 4, 19, 21, 37, 39, 4097, 65535] {
        let mut changed = padded.clone();
        changed[2..4].copy_from_slice(&length.to_be_bytes());
        assert_eq!(Packet::parse(&changed), Err(Malformed), "length {length}");
    }
    for length in [0, 1, 17, 19, 255] {
        let mut changed = STATUS;
        changed[21] = length;
        assert_eq!(Packet::parse(&changed), Err(Malformed), "attribute length {length}");
    }
    (0..STATUS.len()).for_each(|n| assert_eq!(Packet::parse(&STATUS[..n]), Err(Malformed)));
    let mut largest = vec![0; MAX + 1];
    largest[2..4].copy_from_slice(&[0x10, 0x00]);
    largest[20..].iter_mut().enumerate().filter(|(n, _)| n % 4 == 1).for_each(|(_, octet)| *octet = 4);
    assert!(Packet::parse(&largest[..MAX]).is_ok() && Packet::parse(&largest).is_ok());
}

#[test]
fn what_does_not_fit_is_an_error() {
    let build =
        |list: &AttributeList| Builder::new(Code::AccessRequest, 1).attributes(list).access_request(&[0; 16], SECRET);
    let mut list = AttributeList::new();
    list.octets(CLASS, &[0; 254]).text(USER_NAME, "after");
    assert_eq!(build(&list), Err(Unencodable::Value(CLASS)));
    let mut list = AttributeList::new();
    list.octets(crate::vendor::MS_CHAP_CHALLENGE, &[0; 248]);
    assert_eq!(build(&list), Err(Unencodable::Value(crate::vendor::MS_CHAP_CHALLENGE)));
    let mut list = AttributeList::new();
    list.octets(crate::vendor::MS_CHAP_CHALLENGE, &[0; 247]).octets(CLASS, &[0; 253]);
    assert!(build(&list).is_ok());
    let mut list = AttributeList::new();
    list.eap_message(&[0; 253 * 15 + 246 - 15]);
    assert_eq!(build(&list).map(|octets| octets.len()), Ok(20 + 18 + 255 * 15 + 231 + 2));
    list.eap_message(&[0; 1]);
    assert_eq!(build(&list), Err(Unencodable::Packet));
}

#[test]
fn codes_keep_their_numbers() {
    (0..=255).for_each(|n| assert_eq!(Code::from_u8(n).to_u8(), n));
    assert_eq!((Code::CoaNak.to_u8(), Code::CoaNak.name()), (45, "CoA-NAK"));
}

proptest! {
    #[test]
    fn any_octets_are_survived(octets in proptest::collection::vec(any::<u8>(), 0..80), length in 20u16..80) {
        let mut octets = octets;
        if let Some(at) = octets.get_mut(2..4) {
            at.copy_from_slice(&length.to_be_bytes());
        }
        if let Ok(packet) = Packet::parse(&octets) {
            prop_assert_eq!(packet.octets().len(), usize::from(length));
            prop_assert!(packet.attributes().iter().count() <= octets.len());
            message_authenticator(&packet, &[0; 16], SECRET);
            authentic(&packet, &[0; 16], SECRET);
        }
    }
}

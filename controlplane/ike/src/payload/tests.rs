//! Golden octets, round trips and garbage for the payload codecs.

use super::delete::Delete;
use super::notify::{Notify, NotifyType};
use super::sa::{PROTO_ESP, PROTO_IKE, Proposal, Transform, transform_type as tt};
use super::ts::TrafficSelector;
use super::*;
use crate::message::{Body, ExchangeType, HEADER_LEN, Header};
use hex_literal::hex;
use proptest::prelude::*;
use std::net::IpAddr;

fn emitted(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

#[test]
fn sa_payload_golden() {
    // Two proposals: AES-GCM-16-256 / PRF-SHA256 / x25519, and ESP AES-CBC-128 / SHA2-256-128 / ESN.
    let golden = hex!(
        "02000024 01010003"
        "0300000c 01000014 800e0100"
        "03000008 02000005"
        "00000008 0400001f"
        "00000028 02030403 c0ffee01"
        "0300000c 0100000c 800e0080"
        "03000008 0300000c"
        "00000008 05000001"
    );
    let proposals = vec![
        Proposal {
            number: 1,
            protocol: PROTO_IKE,
            spi: vec![],
            transforms: vec![
                Transform::with_key(tt::ENCR, 20, 256),
                Transform::new(tt::PRF, 5),
                Transform::new(tt::KE, 31),
            ],
        },
        Proposal {
            number: 2,
            protocol: PROTO_ESP,
            spi: vec![0xc0, 0xff, 0xee, 0x01],
            transforms: vec![
                Transform::with_key(tt::ENCR, 12, 128),
                Transform::new(tt::INTEG, 12),
                Transform::new(tt::ESN, 1),
            ],
        },
    ];
    assert_eq!(sa::parse(&golden).unwrap(), proposals);
    assert_eq!(emitted(|out| sa::emit(&proposals, out)), golden);
    assert_eq!(proposals[1].esp_spi(), Some(0xc0ff_ee01));
}

#[test]
fn sa_payload_faults() {
    let good = hex!("00000014 01010001 0000000c 01000014 800e0100");
    assert!(sa::parse(&good).is_ok());
    // Each line: offset, wrong value, what that is.
    for (at, value, what) in [
        (0, 2, "more proposals announced"),
        (0, 1, "unknown last-substructure value"),
        (3, 0x13, "proposal length"),
        (3, 0x15, "proposal length beyond the body"),
        (6, 9, "SPI longer than the proposal"),
        (7, 2, "transform count"),
        (8, 3, "more transforms announced"),
        (11, 7, "transform length"),
    ] {
        let mut bad = good;
        bad[at] = value;
        assert!(sa::parse(&bad).is_err(), "{what}");
    }
    // A long-form attribute that we do not know marks the transform.
    let long = hex!("00000016 01010001 0000000e 01000014 00630002 abcd");
    assert!(sa::parse(&long).unwrap()[0].transforms[0].unknown_attribute);
}

#[test]
fn ts_payload_golden() {
    let golden = hex!(
        "02000000"
        "07110010 06a5 06a5 c0000201 c0000201"
        "08000028 0000 ffff 20010db8000000000000000000000000 20010db80000000000000000000000ff"
    );
    let selectors = vec![
        TrafficSelector::host(17, (1701, 1701), IpAddr::from([192, 0, 2, 1])),
        TrafficSelector {
            protocol: 0,
            ports: (0, 0xffff),
            addresses: ("2001:db8::".parse().unwrap(), "2001:db8::ff".parse().unwrap()),
        },
    ];
    assert_eq!(ts::parse(&golden).unwrap(), selectors);
    assert_eq!(emitted(|out| ts::emit(&selectors, out)), golden);
    assert!(ts::parse(&golden[..golden.len() - 1]).is_err());
    // An unknown selector type is skipped.
    assert_eq!(ts::parse(&hex!("01000000 09000008 00000000")).unwrap(), vec![]);
}

// RFC 9611, sections 5.1 and 5.2: protocol and SPI size are 0.
#[test]
fn resource_notifications_golden() {
    for (kind, data, golden) in [
        (NotifyType::SA_RESOURCE_INFO, &[][..], &hex!("0000403c")[..]),
        (NotifyType::SA_RESOURCE_INFO, &[0, 0, 0, 3], &hex!("0000403c 00000003")),
        (NotifyType::TS_MAX_QUEUE, &[], &hex!("00000030")),
    ] {
        let notify = Notify { protocol: 0, spi: &[], kind, data };
        assert_eq!(emitted(|out| notify.emit(out)), golden);
        assert_eq!(Notify::parse(golden).unwrap(), notify);
        assert_eq!(kind.is_error(), kind == NotifyType::TS_MAX_QUEUE);
        assert!((0..4).all(|n| Notify::parse(&golden[..n]).is_err()));
    }
}

#[test]
fn notify_and_delete_golden() {
    let rekey = hex!("03044009 11223344");
    let parsed = Notify::parse(&rekey).unwrap();
    assert_eq!((parsed.kind, parsed.esp_spi()), (NotifyType::REKEY_SA, Some(0x1122_3344)));
    assert_eq!(emitted(|out| parsed.emit(out)), rekey);
    let delete = hex!("03040002 11223344 55667788");
    assert_eq!(Delete::parse(&delete).unwrap(), Delete::Esp(vec![0x1122_3344, 0x5566_7788]));
    assert_eq!(emitted(|out| Delete::parse(&delete).unwrap().emit(out)), delete);
    assert_eq!(Delete::parse(&hex!("01000000")).unwrap(), Delete::Ike);
    assert!(Delete::parse(&hex!("03040003 11223344")).is_err());
    assert!(Delete::parse(&hex!("01080000")).is_err());
}

#[test]
fn eap_payload_golden() {
    // RFC 3748: Identity request, a response of alice, Success; in the payload of RFC 7296, section 3.16.
    let golden = hex!(
        "30000009 0100 0005 01"
        "3000000e 0207 000a 01 616c696365"
        "00000008 0307 0004"
    );
    let packets = [&hex!("0100000501")[..], &hex!("0207000a01616c696365"), &hex!("03070004")];
    let mut chain = Builder::new();
    for (packet, expected) in packets.iter().zip([eap::Code::Request, eap::Code::Response, eap::Code::Success]) {
        assert_eq!(eap::code(packet), Ok(expected));
        chain.raw(PayloadType::EAP, packet);
    }
    assert_eq!((chain.first().0, chain.bytes()), (48, &golden[..]));
    let second = Chain::new(PayloadType::EAP, &golden).nth(1).unwrap().unwrap();
    assert_eq!(second.body, packets[1]);
    assert_eq!(eap::code(&hex!("04070004")), Ok(eap::Code::Failure));
    // One EAP packet a message.
    assert!(Body::parse(PayloadType::EAP, &golden).is_err());
    for bad in [
        &hex!("")[..],
        &hex!("010000"),
        &hex!("01000004"),
        &hex!("0100000601"),
        &hex!("0100000401"),
        &hex!("0300000501"),
        &hex!("0000000501"),
        &hex!("0500000501"),
        &[&hex!("01002001")[..], &[1; 0x2001 - 4]].concat(),
    ] {
        assert!(eap::code(bad).is_err(), "{bad:x?}");
    }
}

#[test]
fn mobike_notifications_golden() {
    for (kind, number) in [
        (NotifyType::UNACCEPTABLE_ADDRESSES, "0000 0028"),
        (NotifyType::UNEXPECTED_NAT_DETECTED, "0000 0029"),
        (NotifyType::MOBIKE_SUPPORTED, "0000 400c"),
        (NotifyType::ADDITIONAL_IP4_ADDRESS, "0000 400d"),
        (NotifyType::ADDITIONAL_IP6_ADDRESS, "0000 400e"),
        (NotifyType::NO_ADDITIONAL_ADDRESSES, "0000 400f"),
        (NotifyType::UPDATE_SA_ADDRESSES, "0000 4010"),
        (NotifyType::COOKIE2, "0000 4011"),
        (NotifyType::NO_NATS_ALLOWED, "0000 4012"),
        (NotifyType::EAP_ONLY_AUTHENTICATION, "0000 4021"),
    ] {
        let body = emitted(|out| Notify { protocol: 0, spi: &[], kind, data: &[] }.emit(out));
        let octets = |text: &str| text.split(' ').map(|w| u16::from_str_radix(w, 16).unwrap().to_be_bytes()).collect();
        let expected: Vec<[u8; 2]> = octets(number);
        assert_eq!(body, expected.concat(), "{kind:?}");
    }
}

#[test]
fn message_golden() {
    let golden = hex!(
        "0102030405060708 0000000000000000 28202208 00000000 00000048"
        "2b000014 000102030405060708090a0b0c0d0e0f"
        "29000010 4a4b4c4d4e4f505152535455"
        "00000008 0000402e"
    );
    let header = Header::parse(&golden).unwrap();
    assert_eq!(header.spi_i, 0x0102_0304_0506_0708);
    assert!(header.from_initiator && !header.response);
    assert_eq!(header.exchange, ExchangeType::IKE_SA_INIT);
    let body = Body::parse(header.next, &golden[HEADER_LEN..]).unwrap();
    assert_eq!(body.nonce.map(<[u8]>::len), Some(16));
    assert_eq!(body.vendors, [&hex!("4a4b4c4d4e4f505152535455")[..]]);
    assert!(body.has(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED));
    let mut chain = Builder::new();
    chain.raw(PayloadType::NONCE, body.nonce.unwrap());
    chain.raw(PayloadType::VENDOR, body.vendors[0]);
    chain.notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED, &[]);
    assert_eq!(header.message(&chain), golden);
}

#[test]
fn critical_and_repeated_payloads() {
    let unknown = |flags| [hex!("00"), [flags], hex!("00"), hex!("04")].concat();
    assert!(Body::parse(PayloadType(200), &unknown(0)).is_ok());
    assert_eq!(
        Body::parse(PayloadType(200), &unknown(0x80)).unwrap_err(),
        crate::error::MessageError::UnsupportedCritical(PayloadType(200))
    );
    // On a payload that we know the bit means nothing (section 2.5).
    assert!(Body::parse(PayloadType::VENDOR, &unknown(0x80)).is_ok());
    let mut twice = Builder::new();
    twice.raw(PayloadType::NONCE, &[0; 16]).raw(PayloadType::NONCE, &[0; 16]);
    assert!(Body::parse(twice.first(), twice.bytes()).is_err());
}

proptest! {
    #[test]
    fn garbage_never_panics(kind in 0u8..64, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Body::parse(PayloadType(kind), &bytes);
        let _ = sa::parse(&bytes);
        let _ = ts::parse(&bytes);
        let _ = Notify::parse(&bytes);
        let _ = Delete::parse(&bytes);
        let _ = KePayload::parse(&bytes);
        let _ = AuthPayload::parse(&bytes);
        let _ = CertPayload::parse(&bytes);
        let _ = Header::parse(&bytes);
        let _ = eap::code(&bytes);
    }

    #[test]
    fn a_framed_body_of_garbage_never_panics(kind in 33u8..54, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut chain = Builder::new();
        chain.raw(PayloadType(kind), &bytes);
        let _ = Body::parse(chain.first(), chain.bytes());
    }

    #[test]
    fn proposals_round_trip(transforms in proptest::collection::vec((1u8..13, any::<u16>(), any::<u16>()), 1..20)) {
        let transforms = transforms.into_iter().map(|(k, id, bits)| Transform::with_key(k, id, bits)).collect();
        let proposals = vec![Proposal { number: 1, protocol: PROTO_ESP, spi: vec![1, 2, 3, 4], transforms }];
        prop_assert_eq!(sa::parse(&emitted(|out| sa::emit(&proposals, out))).unwrap(), proposals);
    }

    #[test]
    fn selectors_intersect_symmetrically(a in selector(), b in selector()) {
        prop_assert_eq!(a.intersect(&b), b.intersect(&a));
        if let Some(common) = a.intersect(&b) {
            prop_assert_eq!(common.intersect(&a), Some(common));
        }
    }
}

fn selector() -> impl Strategy<Value = TrafficSelector> {
    (prop_oneof![Just(0u8), Just(17), Just(6)], any::<(u16, u16)>(), any::<([u8; 4], [u8; 4])>()).prop_map(
        |(protocol, ports, addresses)| TrafficSelector {
            protocol,
            ports,
            addresses: (IpAddr::from(addresses.0), IpAddr::from(addresses.1)),
        },
    )
}

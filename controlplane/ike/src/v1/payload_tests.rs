use super::super::captures::{MAIN_1, MAIN_3, REFUSAL, WINDOWS};
use super::super::sa_payload;
use super::*;
use crate::message::HEADER_LEN;
use crate::payload::Builder;
use hex_literal::hex;
use proptest::prelude::*;

fn whole(message: &[u8]) -> Result<Body<'_>, Malformed> {
    Body::parse(PayloadType(message[16]), &message[HEADER_LEN..], false)
}

#[test]
fn payloads_of_captures() {
    let windows = whole(WINDOWS).unwrap();
    assert_eq!(windows.sa, Some(&WINDOWS[HEADER_LEN + 4..HEADER_LEN + 212]));
    assert_eq!(windows.vendors.iter().map(|v| v.len()).collect::<Vec<_>>(), [20, 20, 16, 16, 16, 16, 16, 16]);
    assert!(windows.ke.is_none() && !windows.hash_first && windows.after_hash.is_empty());

    let third = whole(MAIN_3).unwrap();
    assert_eq!(third.ke.unwrap().len(), 128);
    assert_eq!(third.nonce, Some(&hex!("7483e964d559378a5555777464ad7ad9")[..]));
    let nat_d = [hex!("7048b170a54fa1c16582dce008d059de9295d7d3"), hex!("c9e46dddfcc29d4ef72ba4da66d4720687e469e5")];
    assert_eq!(third.nat_d, nat_d);

    let refusal = whole(REFUSAL).unwrap();
    let expected = Notify { doi: DOI, protocol: PROTO_ISAKMP, kind: notify::NO_PROPOSAL_CHOSEN, spi: &[], data: &[] };
    assert_eq!(refusal.notifies, [expected]);
    assert!(refusal.notify(14).unwrap().is_error() && refusal.notify(15).is_none());
    let mut again = Vec::new();
    expected.emit(&mut again);
    assert_eq!(again, REFUSAL[HEADER_LEN + 4..]);
}

// What a capture of quick mode decrypts to (`super::super::crypto` does so): five octets of padding.
const QUICK: &[u8] = &hex!(
    "01000018fa8ce37eac9adcffc9d4fbddde170ac8279657b90a000030000000010000000100000024000304010879355b0000001800"
    "030000800400018001000180020e108005000205000014164a3716bca17e52552c52155dec891a0500001004000000ac10cd00ffff"
    "ff000000001004000000ac10c800ffffff0000000000"
);

#[test]
fn quick_mode_and_its_padding() {
    let body = Body::parse(kind::HASH, QUICK, true).unwrap();
    assert!(body.hash_first);
    assert_eq!(body.hash, Some(&QUICK[4..24]));
    assert_eq!(body.after_hash, &QUICK[24..QUICK.len() - 4]);
    assert_eq!(body.ids.len(), 2);
    let selector = parse_phase2_id(body.ids[0]).unwrap();
    let range = ("172.16.205.0".parse().unwrap(), "172.16.205.255".parse().unwrap());
    assert_eq!(selector, TrafficSelector { protocol: 0, ports: (0, u16::MAX), addresses: range });
    assert_eq!(emit_phase2_id(&selector), body.ids[0]);
    assert_eq!(sa_payload::parse(body.sa.unwrap()).unwrap()[0].esp_spi(), Some(0x0879_355b));
    assert_eq!(Body::parse(kind::HASH, QUICK, false).unwrap_err(), Malformed("octets after the last payload"));
    let exact = &QUICK[..QUICK.len() - 4];
    assert_eq!(Body::parse(kind::HASH, exact, true).unwrap().after_hash, &exact[24..]);
}

#[test]
fn a_hash_that_is_not_first_is_told() {
    let mut chain = Builder::new();
    chain.raw(kind::ID, &[1, 0, 0, 0, 192, 0, 2, 1]).raw(kind::HASH, &[5; 20]);
    let body = Body::parse(chain.first(), chain.bytes(), false).unwrap();
    assert!(!body.hash_first && body.after_hash.is_empty());
    assert_eq!(body.hash, Some(&[5; 20][..]));
}

#[test]
fn what_must_not_repeat_or_is_too_long_is_refused() {
    let twice = |kind: PayloadType, body: &[u8]| {
        let mut chain = Builder::new();
        chain.raw(kind, body).raw(kind, body);
        Body::parse(chain.first(), chain.bytes(), false).map(|_| ())
    };
    for (kind, body) in [
        (kind::SA, &[0; 8][..]),
        (kind::KE, &[1; 128]),
        (kind::NONCE, &[1; 16]),
        (kind::HASH, &[1; 20]),
        (kind::SIG, &[1; 256]),
    ] {
        assert_eq!(twice(kind, body), Err(Malformed("repeated payload")), "{kind:?}");
    }
    assert_eq!(twice(kind::VENDOR, &[]), Ok(()));
    let many = |n: usize| {
        let mut chain = Builder::new();
        (0..n).for_each(|_| {
            chain.raw(kind::VENDOR, &[1]);
        });
        Body::parse(chain.first(), chain.bytes(), false).map(|b| b.vendors.len())
    };
    assert_eq!(many(64), Ok(64));
    assert_eq!(many(65), Err(Malformed("too many payloads")));
    let mut ids = Builder::new();
    (0..3).for_each(|_| {
        ids.raw(kind::ID, &[1, 0, 0, 0, 192, 0, 2, 1]);
    });
    assert_eq!(Body::parse(ids.first(), ids.bytes(), false).unwrap_err(), Malformed("repeated payload"));
    for len in [0, 7, 257] {
        let mut chain = Builder::new();
        chain.raw(kind::NONCE, &vec![1; len]);
        assert_eq!(Body::parse(chain.first(), chain.bytes(), false).unwrap_err(), Malformed("nonce length"));
    }
}

// RFC 2408, section 5.3.
#[test]
fn the_reserved_octet_is_zero() {
    let mut message = MAIN_1.to_vec();
    message[HEADER_LEN + 1] = 1;
    assert_eq!(whole(&message).unwrap_err(), Malformed("reserved octet"));
}

#[test]
fn payloads_of_other_types_are_skipped() {
    let mut chain = Builder::new();
    chain.raw(PayloadType(14), b"attributes").raw(PayloadType(200), b"private").raw(kind::NONCE, &[3; 8]);
    let body = Body::parse(chain.first(), chain.bytes(), false).unwrap();
    assert_eq!(body.nonce, Some(&[3; 8][..]));
}

#[test]
fn both_numberings_of_nat_traversal() {
    for (d, oa) in [(kind::NAT_D, kind::NAT_OA), (kind::NAT_D_DRAFT, kind::NAT_OA_DRAFT)] {
        let (v4, v6): (IpAddr, IpAddr) = ("192.168.0.10".parse().unwrap(), "2001:db8::1".parse().unwrap());
        let mut chain = Builder::new();
        chain.raw(d, &[8; 20]).raw(oa, &emit_nat_oa(v4)).raw(oa, &emit_nat_oa(v6));
        let body = Body::parse(chain.first(), chain.bytes(), false).unwrap();
        assert_eq!((body.nat_d, body.nat_oa), (vec![&[8; 20][..]], vec![v4, v6]));
        // RFC 3947, section 5.2: the type is that of an address.
        assert_eq!(emit_nat_oa(v4), hex!("01000000c0a8000a"));
        for bad in [&hex!("02000000c0a8000a")[..], &hex!("01000000c0a800"), &[]] {
            let mut chain = Builder::new();
            chain.raw(oa, bad);
            assert_eq!(Body::parse(chain.first(), chain.bytes(), false).unwrap_err(), Malformed("NAT-OA payload"));
        }
    }
}

// RFC 3706, section 5.3, and RFC 2408, section 3.15.
#[test]
fn notifications_and_deletes() {
    let cookies = [[1; 8], [2; 8]].concat();
    let seq = 7u32.to_be_bytes();
    let notify = Notify { doi: DOI, protocol: 1, kind: notify::R_U_THERE, spi: &cookies, data: &seq };
    let mut octets = Vec::new();
    notify.emit(&mut octets);
    assert_eq!(octets, hex!("0000000101108d280101010101010101020202020202020200000007"));
    assert_eq!(Notify::parse(&octets), Ok(notify));
    assert!(!notify.is_error());
    for bad in [&octets[..7], &hex!("00000001011100 0a")] {
        assert!(Notify::parse(bad).is_err());
    }
    for (delete, octets) in [
        (Delete::Esp(vec![0xc0ff_ee01, 2]), &hex!("0000000103040002c0ffee0100000002")[..]),
        (Delete::Isakmp(vec![(0x0101_0101_0101_0101, 2)]), &hex!("000000010110000101010101010101010000000000000002")),
        (Delete::Other(2), &hex!("0000000102000000")),
    ] {
        let mut out = Vec::new();
        delete.emit(&mut out);
        assert_eq!(out, octets);
        assert_eq!(Delete::parse(octets), Ok(delete));
    }
    for bad in
        [&hex!("00000001030400")[..], &hex!("0000000103040002c0ffee01"), &hex!("0000000101080001c0ffee01c0ffee01")]
    {
        assert!(Delete::parse(bad).is_err(), "{bad:x?}");
    }
}

#[test]
fn what_a_refusal_is_about() {
    let about = |protocol, spi: &[u8], offered| {
        Notify { doi: DOI, protocol, kind: notify::NO_PROPOSAL_CHOSEN, spi, data: &[] }.is_about(offered)
    };
    assert!(about(PROTO_ESP, &[0, 0, 0, 7], Some(7)) && !about(PROTO_ESP, &[0, 0, 0, 7], Some(8)));
    for (protocol, spi) in [(PROTO_ESP, &[0; 4][..]), (PROTO_ESP, &[]), (PROTO_ISAKMP, &[0, 0, 0, 7])] {
        assert!(about(protocol, spi, Some(8)) && !about(protocol, spi, None), "{protocol} {spi:?}");
    }
}

#[test]
fn identities_of_phase_1() {
    for protocol_and_port in [hex!("000000"), hex!("110000"), hex!("1101f4"), hex!("111194")] {
        let body = [&[1][..], &protocol_and_port, &[192, 0, 2, 1]].concat();
        assert_eq!(parse_phase1_id(&body), Ok(Identity::Address("192.0.2.1".parse().unwrap())));
    }
    for bad in [hex!("1106a5"), hex!("0001f4"), hex!("060000")] {
        let body = [&[1][..], &bad, &[192, 0, 2, 1]].concat();
        assert_eq!(parse_phase1_id(&body), Err(BadIdentity("protocol and port")));
    }
    // RFC 2407, section 4.6.2: ID_USER_FQDN is 3, ID_FQDN 2.
    let user = [&hex!("031101f4")[..], b"alice@example.net"].concat();
    assert_eq!(parse_phase1_id(&user), Ok(Identity::Rfc822("alice@example.net".into())));
    assert_eq!(parse_phase1_id(b"\x02\x00\x00\x00DESKTOP-1"), Ok(Identity::Fqdn("desktop-1".into())));
    assert!(parse_phase1_id(&[1, 0, 0]).is_err());
}

#[test]
fn identities_of_phase_2() {
    let selector = |protocol, ports, first: &str, last: &str| TrafficSelector {
        protocol,
        ports,
        addresses: (first.parse().unwrap(), last.parse().unwrap()),
    };
    let any = (0, u16::MAX);
    for (body, expected) in [
        // What clients of L2TP send: UDP, port 1701.
        (&hex!("011106a5c0a8000a")[..], selector(17, (1701, 1701), "192.168.0.10", "192.168.0.10")),
        (&hex!("01110000c0a8000a"), selector(17, any, "192.168.0.10", "192.168.0.10")),
        (&hex!("04000000c0000200ffffff00"), selector(0, any, "192.0.2.0", "192.0.2.255")),
        (&hex!("040000000000000000000000"), selector(0, any, "0.0.0.0", "255.255.255.255")),
        (&hex!("07000000c0000201c0000205"), selector(0, any, "192.0.2.1", "192.0.2.5")),
        (&hex!("0500000020010db8000000000000000000000001"), selector(0, any, "2001:db8::1", "2001:db8::1")),
        (
            &hex!("0600000020010db8000000000000000000000000ffffffff000000000000000000000000"),
            selector(0, any, "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
        ),
        (
            &hex!("0800000020010db800000000000000000000000120010db8000000000000000000000003"),
            selector(0, any, "2001:db8::1", "2001:db8::3"),
        ),
    ] {
        assert_eq!(parse_phase2_id(body), Ok(expected), "{body:x?}");
        assert_eq!(emit_phase2_id(&expected), body);
    }
    // Host bits in a subnet, and a subnet of one address, mean the same in other words.
    let odd = parse_phase2_id(&hex!("04000000c0000207ffffff00")).unwrap();
    assert_eq!(odd, selector(0, any, "192.0.2.0", "192.0.2.255"));
    let one = parse_phase2_id(&hex!("04000000c0000207ffffffff")).unwrap();
    assert_eq!(emit_phase2_id(&one), hex!("01000000c0000207"));
    for bad in [
        &hex!("04000000c0000200ff00ff00")[..], // a mask with a hole
        &hex!("07000000c0000205c0000201"),     // backwards
        &hex!("020000006763"),                 // a name
        &hex!("01000000c00002"),
        &hex!("0100"),
        &[],
    ] {
        assert!(parse_phase2_id(bad).is_err(), "{bad:x?}");
    }
}

fn kinds() -> impl Strategy<Value = u8> {
    prop_oneof![1u8..14, 20u8..22, 130u8..133, any::<u8>()]
}

proptest! {
    #[test]
    fn selectors_round_trip(protocol: u8, port: u16, a: u32, b: u32, bits in 0u32..33, subnet: bool) {
        let (low, high) = if subnet {
            let host = u32::MAX.checked_shr(bits).unwrap_or(0);
            (a & !host, a | host)
        } else {
            (a.min(b), a.max(b))
        };
        let ports = if port == 0 { (0, u16::MAX) } else { (port, port) };
        let addresses = (Ipv4Addr::from(low).into(), Ipv4Addr::from(high).into());
        let selector = TrafficSelector { protocol, ports, addresses };
        prop_assert_eq!(parse_phase2_id(&emit_phase2_id(&selector)), Ok(selector));
    }

    // A chain of the right shape around bodies of any content.
    #[test]
    fn garbage(first in kinds(), bodies in proptest::collection::vec((kinds(), proptest::collection::vec(any::<u8>(), 0..40)), 0..6),
        tail in proptest::collection::vec(any::<u8>(), 0..20), padded: bool) {
        let mut chain = Builder::new();
        for (kind, body) in &bodies {
            chain.raw(PayloadType(*kind), body);
        }
        let bytes = [chain.bytes(), &tail].concat();
        let first = if bodies.is_empty() { PayloadType(first) } else { chain.first() };
        if let Ok(body) = Body::parse(first, &bytes, padded) {
            prop_assert!(padded || tail.is_empty() || bodies.is_empty());
            prop_assert!(body.after_hash.len() <= bytes.len());
            for id in body.ids {
                let _ = (parse_phase1_id(id), parse_phase2_id(id));
            }
        }
        let _ = Body::parse(first, &tail, padded);
        let _ = (Notify::parse(&tail), Delete::parse(&tail), parse_phase1_id(&tail), parse_phase2_id(&tail));
    }
}

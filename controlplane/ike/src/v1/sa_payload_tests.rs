use super::super::captures::{MAIN_1, MAIN_2, WINDOWS};
use super::*;
use crate::message::HEADER_LEN;
use hex_literal::hex;
use proptest::prelude::*;

// The body of the SA payload that a message begins with.
fn sa(message: &[u8]) -> &[u8] {
    let length = usize::from(u16::from_be_bytes([message[HEADER_LEN + 2], message[HEADER_LEN + 3]]));
    &message[HEADER_LEN + 4..HEADER_LEN + length]
}

#[test]
fn the_offer_of_windows() {
    let proposals = parse(sa(WINDOWS)).unwrap();
    assert_eq!(proposals.len(), 1);
    let p = &proposals[0];
    assert_eq!((p.number, p.protocol, p.spi.len(), p.transforms.len()), (1, 1, 0, 5));
    let suites: Vec<_> = p.transforms.iter().map(|t| [1, 14, 2, 4, 3, 11, 12].map(|kind| t.get(kind))).collect();
    let suite =
        |cipher, bits: Option<u32>, group| [Some(cipher), bits, Some(2), Some(group), Some(1), Some(1), Some(28800)];
    let expected = [
        suite(7, Some(256), 20),
        suite(7, Some(128), 19),
        suite(7, Some(256), 14),
        suite(5, None, 14),
        suite(5, None, 2),
    ];
    assert_eq!(suites, expected);
    assert!(p.transforms.iter().enumerate().all(|(i, t)| usize::from(t.number) == i + 1 && t.id == 1 && !t.odd));
}

#[test]
fn captures_are_written_as_they_came() {
    for message in [WINDOWS, MAIN_1, MAIN_2] {
        let mut again = Vec::new();
        emit(&parse(sa(message)).unwrap(), &mut again);
        assert_eq!(again, sa(message));
    }
}

#[test]
fn our_own_attributes() {
    // strongSwan's transform in MAIN_1: all values in the short form.
    let attributes = vec![(11, 1), (12, 7800), (1, 5), (2, 2), (3, 1), (4, 2)];
    let own = Proposal { number: 0, protocol: 1, spi: vec![], transforms: vec![Transform::new(0, 1, attributes)] };
    let expected = sa(MAIN_1);
    let mut out = Vec::new();
    emit(std::slice::from_ref(&own), &mut out);
    // It counts proposals from 0 there and transforms as well.
    assert_eq!(out, expected);
    let mut long = Vec::new();
    emit_attributes(&[(2, 0x0001_0000)], &mut long);
    assert_eq!(long, hex!("0002000400010000"));
}

#[test]
fn values_of_any_length() {
    for (octets, attributes, odd) in [
        (&hex!("800b0001")[..], vec![(11, 1)], false),
        (&hex!("000c000400007080"), vec![(12, 28800)], false),
        (&hex!("000c000201f4"), vec![(12, 500)], false),
        (&hex!("000c00080000000000000e10"), vec![(12, 3600)], false),
        (&hex!("000c00080000000100000e10800b0001"), vec![(11, 1)], true),
        (&hex!("000c0000"), vec![], true),
    ] {
        assert_eq!(parse_attributes(octets), Ok((attributes, odd)), "{octets:x?}");
    }
    for bad in [&hex!("800b00")[..], &hex!("000c000400007000").as_slice()[..7], &hex!("00")] {
        assert!(parse_attributes(bad).is_err());
    }
}

#[test]
fn lists_that_do_not_add_up_are_refused() {
    let good = sa(WINDOWS);
    let changed = |at: usize, value: u8| {
        let mut body = good.to_vec();
        body[at] = value;
        parse(&body)
    };
    // DOI, situation, last proposal, proposal length, SPI size, transform count, last transform, transform length.
    for (at, value) in [(3, 0), (7, 2), (8, 2), (11, 0xc7), (14, 255), (15, 4), (16, 0), (19, 0x29)] {
        assert!(changed(at, value).is_err(), "{at}");
    }
    for length in 0..good.len() {
        assert!(parse(&good[..length]).is_err(), "{length}");
    }
}

proptest! {
    #[test]
    fn round_trip(number: u8, protocol: u8, spi in proptest::collection::vec(any::<u8>(), 0..17),
        transforms in proptest::collection::vec((any::<u8>(), any::<u8>(), proptest::collection::vec((0u16..0x8000, any::<u32>()), 1..8)), 0..5)) {
        let transforms = transforms.into_iter().map(|(number, id, attributes)| Transform::new(number, id, attributes)).collect();
        let proposal = Proposal { number, protocol, spi, transforms };
        let mut out = Vec::new();
        emit(&[proposal.clone(), proposal.clone()], &mut out);
        let parsed = parse(&out).unwrap();
        for p in &parsed {
            let mut p = p.clone();
            p.transforms.iter_mut().for_each(|t| t.raw.clear());
            prop_assert_eq!(&p, &proposal);
        }
        let mut again = Vec::new();
        emit(&parsed, &mut again);
        prop_assert_eq!(again, out);
    }

    #[test]
    fn garbage(head: bool, at in 0usize..208, value: u8, data in proptest::collection::vec(any::<u8>(), 0..80)) {
        let body = if head { [&hex!("0000000100000001")[..], &data].concat() } else { data };
        let _ = parse(&body);
        let mut changed = sa(WINDOWS).to_vec();
        changed[at] = value;
        let _ = parse(&changed);
    }
}

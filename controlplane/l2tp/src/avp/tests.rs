use super::*;
use crate::message::{Message, Received, parse_body};
use hex_literal::hex;
use proptest::prelude::*;

/// Message Type SCCRQ, Protocol Version 1.0, Framing Capabilities S and A, Host Name, Vendor Name, Assigned Tunnel ID,
/// Receive Window Size (RFC 2661, sections 4.4.1 to 4.4.3; RFC 5571, section 5.1.1).
const SCCRQ: [u8; 68] = hex!(
    "8008 0000 0000 0001  8008 0000 0002 0100  800a 0000 0003 00000003  8012 0000 0007 6c61632e6578616d706c6500"
    "0008 0000 0008 7377  8008 0000 0009 1234  8008 0000 000a 0004"
);

fn sccrq() -> Message {
    let avps = Avps {
        protocol_version: Some(0x0100),
        framing_capabilities: Some(3),
        host_name: Some("lac.example\0".into()),
        vendor_name: Some("sw".into()),
        assigned_tunnel: Some(0x1234),
        receive_window: Some(4),
        ..Avps::default()
    };
    Message { kind: MessageType::Sccrq, avps }
}

fn known(kind: MessageType, avps: Avps, problem: Option<AvpProblem>) -> Received {
    Received { kind: Kind::Known(kind), avps, problem }
}

/// A HELLO with one more AVP.
fn hello(flags: u16, vendor: u16, attribute: u16, value: &[u8]) -> Received {
    let mut body = hex!("8008 0000 0000 0006").to_vec();
    for word in [flags | (HEADER_LEN + value.len()) as u16, vendor, attribute] {
        body.extend_from_slice(&word.to_be_bytes());
    }
    body.extend_from_slice(value);
    parse_body(&body, None)
}

#[test]
fn sccrq_golden() {
    assert_eq!(sccrq().emit(), SCCRQ);
    assert_eq!(parse_body(&SCCRQ, None), known(MessageType::Sccrq, sccrq().avps, None));
}

// Result 2, error 6 with a message; then a result alone (RFC 2661, section 4.4.2).
#[test]
fn stopccn_golden() {
    let octets = hex!("8008 0000 0000 0004  800c 0000 0001 0002 0006 6e6f  8008 0000 0009 0007");
    let result = Some(ResultCode { result: 2, error: Some(6), message: "no".into() });
    let avps = Avps { result, assigned_tunnel: Some(7), ..Avps::default() };
    assert_eq!(Message { kind: MessageType::StopCcn, avps: avps.clone() }.emit(), octets);
    assert_eq!(parse_body(&octets, None), known(MessageType::StopCcn, avps, None));
    let alone = parse_body(&hex!("8008 0000 0000 0004  8008 0000 0001 0001"), None);
    assert_eq!(alone.avps.result, Some(ResultCode { result: 1, ..ResultCode::default() }));
    for cut in [&hex!("8007 0000 0001 00")[..], &hex!("8009 0000 0001 0001 00")] {
        let r = parse_body(&[&hex!("8008 0000 0000 0004")[..], cut].concat(), None);
        assert_eq!(r.problem, Some(AvpProblem::Length { attribute: RESULT_CODE }));
    }
}

#[test]
fn the_message_type_comes_first_and_says_what_an_unknown_one_means() {
    let kind = |body: &[u8]| parse_body(body, None).kind;
    assert_eq!(kind(&hex!("8008 0000 0000 000a")), Kind::Known(MessageType::Icrq));
    assert_eq!(kind(&hex!("8008 0000 0000 0063")), Kind::Fatal(99));
    assert_eq!(kind(&hex!("0008 0000 0000 0063")), Kind::Ignore(99));
    let missing = [
        &[][..],
        &hex!("8008 0000 0002 0100"),   // another AVP
        &hex!("c008 0000 0000 0001"),   // hidden
        &hex!("8408 0000 0000 0001"),   // a reserved bit
        &hex!("8008 0009 0000 0001"),   // of a vendor
        &hex!("8007 0000 0000 01"),     // too short
        &hex!("8009 0000 0000 000100"), // too long
        &hex!("8005 0000 0000"),        // shorter than its header
        &hex!("8009 0000 0000 0001"),   // beyond the end
    ];
    for body in missing {
        assert_eq!(kind(body), Kind::Missing, "{body:02x?}");
    }
}

// RFC 2661, section 4.1 and 4.2.
#[test]
fn the_m_bit_decides_about_what_is_not_known() {
    for (vendor, attribute, flags) in [(9, 1, 0), (0, 999, 0), (0, HOST_NAME, 0x0400)] {
        let unknown = AvpProblem::Unknown { vendor, attribute };
        assert_eq!(hello(M | flags, vendor, attribute, b"x").problem, Some(unknown));
        let passed_over = hello(flags, vendor, attribute, b"x");
        assert_eq!((passed_over.problem, passed_over.avps), (None, Avps::default()));
    }
    // What stands after it is still read, and the first problem is told.
    let body = hex!("8008 0000 0000 0006  8007 0000 03e7 00  8008 0000 0009 0001  8007 0000 03e8 00");
    let r = parse_body(&body, None);
    assert_eq!((r.problem, r.avps.assigned_tunnel), (Some(AvpProblem::Unknown { vendor: 0, attribute: 999 }), Some(1)));
}

#[test]
fn every_attribute_of_fixed_length_has_it() {
    let lengths = [
        (0, 2),
        (2, 2),
        (3, 4),
        (4, 4),
        (5, 8),
        (6, 2),
        (9, 2),
        (10, 2),
        (13, 16),
        (14, 2),
        (15, 4),
        (16, 4),
        (17, 4),
        (18, 4),
        (19, 4),
        (24, 4),
        (25, 4),
        (29, 2),
        (32, 2),
        (34, 26),
        (35, 10),
        (38, 4),
        (39, 0),
    ];
    for (attribute, length) in lengths {
        let problem = |n: usize| hello(M, 0, attribute, &vec![1; n]).problem;
        assert_eq!(problem(length), None, "attribute {attribute}");
        let wrong = Some(AvpProblem::Length { attribute });
        assert_eq!(problem(length + 1), wrong, "attribute {attribute}, one more");
        if length > 0 {
            assert_eq!(problem(length - 1), wrong, "attribute {attribute}, one less");
        }
    }
    for (attribute, least) in [(1, 2), (7, 1), (11, 1), (12, 3), (46, 5)] {
        assert_eq!(hello(M, 0, attribute, &vec![1; least]).problem, None, "attribute {attribute}");
        let short = Some(AvpProblem::Length { attribute });
        assert_eq!(hello(M, 0, attribute, &vec![1; least - 1]).problem, short, "attribute {attribute}");
    }
    for attribute in [8, 21, 22, 23, 26, 27, 28, 30, 31, 33, 36, 37] {
        assert_eq!(hello(M, 0, attribute, b"anything").problem, None, "attribute {attribute}");
    }
}

#[test]
fn ids_and_windows_are_never_zero() {
    for attribute in [ASSIGNED_TUNNEL_ID, ASSIGNED_SESSION_ID, RECEIVE_WINDOW_SIZE] {
        assert_eq!(hello(M, 0, attribute, &[0, 0]).problem, Some(AvpProblem::Value { attribute }));
    }
}

/// SCCRQ with Random Vector 00..0f, and Host Name "lac.example.net" (with 7 octets of padding) and Assigned Tunnel ID
/// 0x1234 hidden by "tunnel secret"; made by Python's hashlib after RFC 2661, section 4.3.
const HIDDEN: [u8; 96] = hex!(
    "8008000000000001"
    "8008000000020100"
    "800a0000000300000003"
    "801600000024000102030405060708090a0b0c0d0e0f"
    "c01e00000007ede39d8bb05f16b7e16e44f58a33138711e606a82a6f401a"
    "c00a000000099b7afb1f"
    "80080000000a0004"
);

#[test]
fn hidden_values_are_read_with_the_secret_only() {
    let secret = Secret::new(b"tunnel secret");
    let r = parse_body(&HIDDEN, Some(&secret));
    assert_eq!(r.problem, None);
    assert_eq!((r.avps.host_name.as_deref(), r.avps.assigned_tunnel), (Some("lac.example.net"), Some(0x1234)));
    assert_eq!(r.avps.receive_window, Some(4));
    // No secret, or another one: mandatory AVPs that cannot be read end the tunnel.
    let unknown = AvpProblem::Unknown { vendor: 0, attribute: HOST_NAME };
    assert_eq!(parse_body(&HIDDEN, None).problem, Some(unknown));
    let wrong = parse_body(&HIDDEN, Some(&Secret::new(b"another secret")));
    assert!(wrong.problem.is_some() && wrong.avps.host_name.as_deref() != Some("lac.example.net"));
    // Without the Random Vector in front (26..48) it is not known what to start from.
    let without = [&HIDDEN[..26], &HIDDEN[48..]].concat();
    assert_eq!(parse_body(&without, Some(&secret)).problem, Some(unknown));
    // A changed octet of the vector changes what comes out.
    let mut changed = HIDDEN;
    changed[40] ^= 1;
    assert_ne!(parse_body(&changed, Some(&secret)).avps.host_name.as_deref(), Some("lac.example.net"));
}

fn word() -> impl Strategy<Value = Option<u16>> {
    proptest::option::of(1..=u16::MAX)
}

prop_compose! {
    fn avps()(
        result in proptest::option::of((any::<u16>(), proptest::option::of((any::<u16>(), "[a-z ]{0,30}")))),
        words in (word(), word(), word(), word(), word()),
        doubles in proptest::array::uniform5(proptest::option::of(any::<u32>())),
        tie_breaker in proptest::option::of(any::<u64>()),
        names in (proptest::option::of("[a-z.]{1,60}"), proptest::option::of("[a-z]{1,20}")),
        challenge in proptest::option::of(prop::collection::vec(any::<u8>(), 1..40)),
        challenge_response in proptest::option::of(any::<[u8; 16]>()),
        sequencing_required: bool,
    ) -> Avps {
        let result = result.map(|(result, more)| match more {
            Some((error, message)) => ResultCode { result, error: Some(error), message },
            None => ResultCode { result, ..ResultCode::default() },
        });
        let [framing_capabilities, bearer_capabilities, call_serial, framing_type, tx_speed] = doubles;
        let (protocol_version, firmware, assigned_tunnel, receive_window, assigned_session) = words;
        Avps {
            result, protocol_version, framing_capabilities, bearer_capabilities, tie_breaker, firmware,
            host_name: names.0, vendor_name: names.1, assigned_tunnel, receive_window, challenge, challenge_response,
            assigned_session, call_serial, framing_type, tx_speed, sequencing_required,
        }
    }
}

proptest! {
    #[test]
    fn round_trip(avps in avps()) {
        let message = Message { kind: MessageType::Sccrp, avps };
        prop_assert_eq!(parse_body(&message.emit(), None), known(MessageType::Sccrp, message.avps, None));
    }

    #[test]
    fn garbage(body in prop::collection::vec(any::<u8>(), 0..200), secret: bool) {
        parse_body(&body, secret.then(|| Secret::new(b"s")).as_ref());
    }

    #[test]
    fn garbage_after_a_message_type(rest in prop::collection::vec(any::<u8>(), 0..200)) {
        parse_body(&[&SCCRQ[..8], &rest].concat(), Some(&Secret::new(b"s")));
    }

    #[test]
    fn cut_and_changed(at in 0..HIDDEN.len(), bit in 0..8u8) {
        let secret = Secret::new(b"tunnel secret");
        parse_body(&HIDDEN[..at], Some(&secret));
        let mut changed = HIDDEN;
        changed[at] ^= 1 << bit;
        parse_body(&changed, Some(&secret));
    }
}

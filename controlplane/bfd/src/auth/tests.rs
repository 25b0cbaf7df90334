use super::*;
use crate::fsm::State;
use crate::packet::Diag;
use hex_literal::hex;

/// The packet of RFC 5880, section 4.1 that says: Down, multiplier 5, discriminator 1, one second each way.
fn down() -> Packet {
    Packet {
        diag: Diag::None,
        state: State::Down,
        poll: false,
        final_: false,
        control_plane_independent: false,
        demand: false,
        detect_mult: 5,
        my_discriminator: 1,
        your_discriminator: 0,
        desired_min_tx: 1_000_000,
        required_min_rx: 1_000_000,
        required_min_echo_rx: 0,
    }
}

fn end(auth_type: AuthType, keys: &[(u8, &str)], xmit: u32) -> Authenticator {
    let keys = keys.iter().map(|(id, secret)| Key::new(*id, *secret)).collect();
    Authenticator { auth: Auth { auth_type, keys }, xmit, received: None }
}

const MANDATORY_DOWN: [u8; 24] = hex!("20440534 00000001 00000000 000f4240 000f4240 00000000");

// python3: hashlib.sha1(mandatory + bytes([5, 28, 2, 0]) + pack(">I", 5) + b"softwire".ljust(20, b"\0")).hexdigest()
#[test]
fn the_hash_matches_an_independent_sha1() {
    let mut meticulous = end(AuthType::MeticulousKeyedSha1, &[(2, "softwire")], 5);
    let section = hex!("051c0200 00000005 701d2cc5a46993f1b74c0d5148c1423af26fbb0b");
    assert_eq!(meticulous.sign(&down()), [&MANDATORY_DOWN[..], &section].concat());
    let mut keyed = end(AuthType::KeyedSha1, &[(9, "softwire")], u32::MAX);
    let section = hex!("041c0900 ffffffff 1d75d3153f7c2a372f0c46a2ff00a4a3f01eb04e");
    assert_eq!(keyed.sign(&down()), [&MANDATORY_DOWN[..], &section].concat());
    assert_eq!((meticulous.xmit, keyed.xmit), (6, 0));
}

fn verify(end: &mut Authenticator, octets: &[u8]) -> Result<(), Discard> {
    let received = Packet::decode(octets).unwrap();
    end.verify(&received, received.auth.unwrap())
}

#[test]
fn no_octet_can_be_changed() {
    let octets = end(AuthType::KeyedSha1, &[(1, "secret")], 7).sign(&down());
    for at in 0..octets.len() {
        let mut changed = octets.clone();
        changed[at] ^= 4;
        let mut receiver = end(AuthType::KeyedSha1, &[(1, "secret")], 0);
        let Ok(received) = Packet::decode(&changed) else { continue };
        let Some(section) = received.auth else { continue };
        assert!(receiver.verify(&received, section).is_err(), "octet {at}");
        assert_eq!(receiver.received, None, "octet {at}");
        assert_eq!(verify(&mut receiver, &octets), Ok(()));
    }
}

#[test]
fn each_fault_has_its_reason() {
    let octets = end(AuthType::MeticulousKeyedSha1, &[(1, "secret")], 7).sign(&down());
    let with = |auth_type, keys: &[(u8, &str)]| verify(&mut end(auth_type, keys, 0), &octets);
    assert_eq!(with(AuthType::MeticulousKeyedSha1, &[(1, "secret")]), Ok(()));
    assert_eq!(with(AuthType::MeticulousKeyedSha1, &[(3, "other"), (1, "secret")]), Ok(()));
    assert_eq!(with(AuthType::KeyedSha1, &[(1, "secret")]), Err(Discard::AuthType));
    assert_eq!(with(AuthType::MeticulousKeyedSha1, &[(2, "secret")]), Err(Discard::AuthKey));
    assert_eq!(with(AuthType::MeticulousKeyedSha1, &[(1, "secreT")]), Err(Discard::AuthHash));

    let mut receiver = end(AuthType::MeticulousKeyedSha1, &[(1, "secret")], 0);
    for simple_or_md5 in 1..=3 {
        let octets = down().encode(&[simple_or_md5, 5, 1, b'p', b'w']);
        assert_eq!(verify(&mut receiver, &octets), Err(Discard::AuthType));
    }
    let short = down().encode(&[5, 5, 1, 0, 0]);
    assert_eq!(verify(&mut receiver, &short), Err(Discard::AuthLength));
    let long = down().encode(&[&[5, 29, 1, 0][..], &[0; 25]].concat());
    assert_eq!(verify(&mut receiver, &long), Err(Discard::AuthLength));
}

/// Sequence numbers by where they are to the last one, around the wrap; the window is three times Detect Mult 5.
#[test]
fn window_of_sequence_numbers() {
    let cases: &[(u32, bool, bool)] = &[
        (0, true, false),
        (1, true, true),
        (15, true, true),
        (16, false, false),
        (0x8000_0000, false, false),
        (u32::MAX, false, false),
    ];
    for (ahead, keyed, meticulous) in cases {
        for (auth_type, ok) in [(AuthType::KeyedSha1, keyed), (AuthType::MeticulousKeyedSha1, meticulous)] {
            for last in [0, 100, u32::MAX - 3] {
                let mut receiver = end(auth_type, &[(1, "k")], 0);
                let mut send = |seq| verify(&mut receiver, &end(auth_type, &[(1, "k")], seq).sign(&down()));
                assert_eq!(send(last), Ok(()));
                let want = if *ok { Ok(()) } else { Err(Discard::AuthSequence) };
                assert_eq!(send(last.wrapping_add(*ahead)), want, "{auth_type:?} {last} + {ahead}");
            }
        }
    }
}

#[test]
fn a_forgotten_number_may_be_any_again() {
    let mut receiver = end(AuthType::MeticulousKeyedSha1, &[(1, "k")], 0);
    let octets = end(AuthType::MeticulousKeyedSha1, &[(1, "k")], 7).sign(&down());
    assert_eq!(verify(&mut receiver, &octets), Ok(()));
    assert_eq!(verify(&mut receiver, &octets), Err(Discard::AuthSequence));
    receiver.forget();
    assert_eq!(verify(&mut receiver, &octets), Ok(()));
}

#[test]
fn keys_are_checked_and_not_printed() {
    let valid = |keys: Vec<Key>| Auth { auth_type: AuthType::KeyedSha1, keys }.is_valid();
    assert!(valid(vec![Key::new(1, "a"), Key::new(2, [0xff; 20])]));
    assert!(!valid(vec![]));
    assert!(!valid(vec![Key::new(1, "")]));
    assert!(!valid(vec![Key::new(1, [0; 21])]));
    assert!(!valid(vec![Key::new(1, "a"), Key::new(2, "b"), Key::new(1, "c")]));
    assert_eq!(format!("{:?}", Key::new(1, "password")), "Key(1, ..)");
}

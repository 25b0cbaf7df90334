use super::super::captures::{MAIN_5, REFUSAL, WINDOWS};
use super::super::payload::kind;
use super::*;
use crate::message::HEADER_LEN;
use proptest::prelude::*;

#[test]
fn headers_of_captures() {
    let first = Header {
        cookie_i: 0x080f_d6f2_05d3_879d,
        cookie_r: 0,
        next: kind::SA,
        exchange: Exchange::MAIN,
        encrypted: false,
        message_id: 0,
    };
    assert_eq!(Header::parse(WINDOWS), Ok(first));
    let fifth = Header::parse(MAIN_5).unwrap();
    assert_eq!((fifth.cookie_r, fifth.next, fifth.encrypted), (0x6e96_1f01_bf17_9b35, kind::ID, true));
    let refusal = Header::parse(REFUSAL).unwrap();
    assert_eq!((refusal.exchange, refusal.next, refusal.message_id), (Exchange::INFORMATIONAL, kind::NOTIFY, 0));
    for message in [WINDOWS, MAIN_5, REFUSAL] {
        let mut again = Vec::new();
        Header::parse(message).unwrap().emit(message.len(), &mut again);
        assert_eq!(again, message[..HEADER_LEN]);
    }
}

#[test]
fn a_message_is_its_header_and_its_chain() {
    let mut chain = Builder::new();
    chain.raw(kind::HASH, &[7; 20]).raw(kind::NONCE, &[9; 16]);
    let header = Header { next: PayloadType::NONE, ..Header::parse(MAIN_5).unwrap() };
    let message = header.message(&chain);
    let parsed = Header::parse(&message).unwrap();
    assert_eq!(parsed, Header { next: kind::HASH, ..header });
    assert_eq!(message[HEADER_LEN..], *chain.bytes());
    assert_eq!(message[19], 0x01);
}

#[test]
fn other_versions_and_lengths_are_refused() {
    for version in [0x00, 0x20, 0x21] {
        let mut message = WINDOWS.to_vec();
        message[17] = version;
        assert_eq!(Header::parse(&message), Err(Malformed("major version")));
    }
    let mut minor = WINDOWS.to_vec();
    minor[17] = 0x13;
    assert!(Header::parse(&minor).is_ok());
    let longer = [WINDOWS, &[0]].concat();
    for bad in [&longer[..], &WINDOWS[..WINDOWS.len() - 1], &WINDOWS[..HEADER_LEN]] {
        assert_eq!(Header::parse(bad), Err(Malformed("length field")));
    }
    assert_eq!(Header::parse(&WINDOWS[..HEADER_LEN - 1]), Err(Malformed("truncated header")));
}

proptest! {
    #[test]
    fn garbage(data in proptest::collection::vec(any::<u8>(), 0..60)) {
        if let Ok(header) = Header::parse(&data) {
            let mut again = Vec::new();
            header.emit(data.len(), &mut again);
            prop_assert_eq!(Header::parse(&[&again[..], &data[HEADER_LEN..]].concat()), Ok(header));
        }
    }
}

use super::super::captures::{QUICK_1, WINDOWS};
use super::*;
use hex_literal::hex;
use proptest::prelude::*;

fn cut(message: &[u8], id: u16, room: usize) -> Vec<Vec<u8>> {
    split(message, Header::parse(message).unwrap(), id, room)
}

fn add(held: &mut Reassembler, datagram: &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
    assert_eq!(Header::parse(datagram).unwrap().next, kind::FRAGMENT);
    held.add(&datagram[HEADER_LEN..], Instant::now(), MAX_MESSAGE)
}

// The layout by strongSwan's and racoon's use of it; no RFC has it.
#[test]
fn golden() {
    let pieces = cut(QUICK_1, 0x0102, 136);
    assert_eq!(pieces.iter().map(Vec::len).collect::<Vec<_>>(), [136, 92]);
    // The header is that of the message, but for the type of the first payload, the flag of encryption and the length.
    let header = hex!("c6d1459285150c7e6e961f01bf179b3584102000221faf3c00000088");
    assert_eq!(pieces[0][..HEADER_LEN], header);
    assert_eq!(pieces[0][HEADER_LEN..HEADER_LEN + 8], hex!("0000006c01020100"));
    assert_eq!(pieces[1][HEADER_LEN..HEADER_LEN + 8], hex!("0000004001020201"));
    assert_eq!([&pieces[0][36..], &pieces[1][36..]].concat(), QUICK_1);
}

#[test]
fn what_fits_stays_whole() {
    assert_eq!(cut(WINDOWS, 1, WINDOWS.len()), [WINDOWS.to_vec()]);
    // Nor is there any use in more fragments than a peer takes.
    assert_eq!(cut(WINDOWS, 1, 0), [WINDOWS.to_vec()]);
}

#[test]
fn duplicates_and_any_order() {
    let pieces = cut(WINDOWS, 1, 150);
    assert_eq!(pieces.len(), 4);
    let mut held = Reassembler::default();
    for at in [3, 1, 1, 3, 0] {
        assert_eq!(add(&mut held, &pieces[at]), Ok(None));
    }
    assert_eq!(add(&mut held, &pieces[2]), Ok(Some(WINDOWS.to_vec())));
    // And once more, as after a retransmission.
    for piece in &pieces[..3] {
        assert_eq!(add(&mut held, piece), Ok(None));
    }
    assert_eq!(add(&mut held, &pieces[3]), Ok(Some(WINDOWS.to_vec())));
}

// racoon says 1 in every message.
#[test]
fn another_message_replaces_what_is_held_even_under_the_same_id() {
    for id in [1, 2] {
        for stale in 0..4 {
            let mut held = Reassembler::default();
            assert_eq!(add(&mut held, &cut(WINDOWS, 1, 150)[stale]), Ok(None));
            let pieces = cut(QUICK_1, id, 136);
            assert_eq!(add(&mut held, &pieces[0]), Ok(None), "{stale}");
            assert_eq!(add(&mut held, &pieces[1]), Ok(Some(QUICK_1.to_vec())), "{stale}");
        }
    }
}

#[test]
fn nonsense_is_refused_and_nothing_grows() {
    let mut held = Reassembler::default();
    for bad in [
        &hex!("00000009000100 0041")[..], // number 0
        &hex!("00000009000141 0041"),     // number 65
        &hex!("0d000009000101 0041"),     // another payload behind it
        &hex!("0000000a000101 0041"),     // too short for its length
        &hex!("00000008000101 00"),       // empty
        &hex!("000000080001"),
        &[],
    ] {
        assert!(held.add(bad, Instant::now(), MAX_MESSAGE).is_err(), "{bad:x?}");
    }
    let piece = |number: u8| {
        let length = 8 + 2000u16;
        [&[0, 0][..], &length.to_be_bytes(), &[0, 1, number, 0], &[number; 2000]].concat()
    };
    let refused = (1..=64).filter(|n| held.add(&piece(*n), Instant::now(), MAX_MESSAGE).is_err()).count();
    assert_eq!(refused, 1);
    assert!(held.pieces.iter().flatten().map(Vec::len).sum::<usize>() <= MAX_MESSAGE);
}

proptest! {
    #[test]
    fn round_trip(data in proptest::collection::vec(any::<u8>(), 1..4000), room in 100usize..1400, order: u64) {
        let mut message = WINDOWS[..HEADER_LEN].to_vec();
        message[24..28].copy_from_slice(&(28 + data.len() as u32).to_be_bytes());
        message.extend_from_slice(&data);
        let mut pieces = cut(&message, 7, room);
        prop_assert!(pieces.iter().all(|p| p.len() <= room));
        if pieces.len() > 1 {
            let turn = order as usize % pieces.len();
            pieces.rotate_left(turn);
            let mut held = Reassembler::default();
            let last = pieces.pop().unwrap();
            for piece in &pieces {
                prop_assert_eq!(add(&mut held, piece), Ok(None));
            }
            prop_assert_eq!(add(&mut held, &last), Ok(Some(message)));
        }
    }

    #[test]
    fn garbage(pieces in proptest::collection::vec((0u16..2, 0u8..8, 0u8..2, proptest::collection::vec(any::<u8>(), 0..9)), 0..30)) {
        let mut held = Reassembler::default();
        for (id, number, flags, data) in pieces {
            let length = (8 + data.len() as u16).to_be_bytes();
            let bytes = [&[0, 0][..], &length, &id.to_be_bytes(), &[number, flags], &data].concat();
            if let Ok(Some(message)) = held.add(&bytes, Instant::now(), MAX_MESSAGE) {
                prop_assert!(!message.is_empty());
            }
        }
    }
}

// What never gets whole does not lie about, and is not mixed with what comes later under the same id.
#[test]
fn what_is_left_of_a_message_is_forgotten() {
    let (pieces, start) = (cut(WINDOWS, 1, 150), Instant::now());
    let mut held = Reassembler::default();
    let mut add = |seconds: u64, at: usize| {
        let now = start + Duration::from_secs(seconds);
        assert_eq!(held.add(&pieces[at][HEADER_LEN..], now, MAX_MESSAGE), Ok(None));
        held.pieces.iter().map(Option::is_some).collect::<Vec<_>>()
    };
    assert_eq!(add(0, 0), [true]);
    assert_eq!(add(29, 1), [true, true]);
    // Thirty seconds after the last one.
    assert_eq!(add(59, 2), [false, false, true]);
    held.expire(start + Duration::from_secs(88));
    assert!(held.until.is_some());
    held.expire(start + Duration::from_secs(89));
    assert!(held.until.is_none() && held.pieces.is_empty());
}

//! Our AES-GCM against the library's: packets of every length, and keys of every kind.
#![allow(clippy::unwrap_used, clippy::panic)]

use ipsec_mb::{Algorithm, Direction, Job, Key, Manager};
use proptest::prelude::*;

const AROUND: usize = 8 + 8 + 16;

/// The same packet by both; `true` if both did it.
struct Both {
    managers: [Manager; 2],
    keys: [Key; 2],
    algorithm: Algorithm,
}

impl Both {
    fn new(algorithm: Algorithm, cipher: &[u8]) -> Self {
        let managers = [Manager::new().unwrap(), Manager::library().unwrap()];
        let keys =
            [0, 1].map(|i| Key::new(&managers[i], algorithm, &cipher[..algorithm.cipher_key_len()], &[]).unwrap());
        Self { managers, keys, algorithm }
    }

    fn run(&mut self, direction: Direction, packet: &[u8], salt: [u8; 4], esn: Option<u32>) -> [(bool, Vec<u8>); 2] {
        [0, 1].map(|i| {
            // Whatever is written beyond a packet is seen.
            let mut buffer = [packet, &[0x5a; 64]].concat();
            let (own, beyond) = buffer.split_at_mut(packet.len());
            let job = Job::new(self.algorithm, direction, own, salt, esn);
            let good = self.managers[i].run(&mut [job], &[&self.keys[i]]).good(0);
            assert_eq!(beyond, [0x5a; 64]);
            (good, own.to_vec())
        })
    }
}

const BOTH: [Algorithm; 2] = [Algorithm::AesGcm128, Algorithm::AesGcm256];

fn octets(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|i| ((i * 7 + seed * 13) ^ (i >> 8)) as u8).collect()
}

/// Lengths of text: every one to beyond the first chunks, about every carry of the counter, and the longest.
fn lengths() -> impl Iterator<Item = usize> {
    let carries = [256, 512, 1024, 2048, 3840].into_iter().flat_map(|blocks: usize| {
        let text = blocks * 16;
        (text - 400..text + 400).step_by(4)
    });
    (4..2000).step_by(4).chain(carries).chain([65_500 - AROUND])
}

#[test]
fn both_seal_the_same_and_open_what_the_other_has_sealed() {
    for algorithm in BOTH {
        let mut both = Both::new(algorithm, &octets(32, 5));
        for text in lengths() {
            let esn = (text % 8 == 4).then_some(text as u32);
            let packet = octets(text + AROUND, text);
            let [(good, ours), (known, theirs)] = both.run(Direction::Seal, &packet, [1, 2, 3, 4], esn);
            assert!(good && known);
            assert!(ours == theirs, "{algorithm:?}: {text} octets");
            assert_eq!(ours[..16], packet[..16], "what precedes the text stays");
            for (good, opened) in both.run(Direction::Open, &theirs, [1, 2, 3, 4], esn) {
                assert!(good && opened[..text + 16] == packet[..text + 16], "{algorithm:?}: {text} octets");
            }
        }
    }
}

#[test]
fn a_flipped_bit_in_a_packet_of_any_size_is_caught() {
    for algorithm in BOTH {
        let mut both = Both::new(algorithm, &octets(32, 9));
        for text in [4, 44, 48, 52, 240, 252, 444, 1000, 1408] {
            let [(_, sealed), _] = both.run(Direction::Seal, &octets(text + AROUND, 1), [0; 4], None);
            for at in 0..sealed.len() {
                let mut damaged = sealed.clone();
                damaged[at] ^= 1 << (at % 8);
                assert!(both.run(Direction::Open, &damaged, [0; 4], None).iter().all(|(good, _)| !good), "octet {at}");
            }
        }
    }
}

#[test]
fn a_key_of_another_manager_is_no_key() {
    let mut both = Both::new(Algorithm::AesGcm128, &octets(32, 9));
    both.keys.swap(0, 1);
    let packet = octets(100, 1);
    // The library's key serves a manager that has the library; ours does not serve the library.
    let [ours, theirs] = both.run(Direction::Seal, &packet, [0; 4], None);
    let same = Manager::new().unwrap();
    let key = Key::new(&same, Algorithm::AesGcm128, &octets(16, 9), &[]).unwrap();
    let mut expected = packet.clone();
    let job = Job::new(Algorithm::AesGcm128, Direction::Seal, &mut expected, [0; 4], None);
    assert!({ same }.run(&mut [job], &[&key]).good(0));
    assert_eq!(ours, (true, expected.clone()));
    assert!(!theirs.0 || theirs.1 == expected, "sealed by another key than that of the SA");
}

proptest! {
    #[test]
    fn both_say_the_same_of_any_packet(
        cipher in prop::collection::vec(any::<u8>(), 32),
        words in prop::collection::vec(any::<u32>(), 1..600),
        salt: [u8; 4],
        esn: Option<u32>,
        long: bool,
    ) {
        let mut both = Both::new(if long { Algorithm::AesGcm256 } else { Algorithm::AesGcm128 }, &cipher);
        let packet: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        for direction in [Direction::Seal, Direction::Open] {
            let [ours, theirs] = both.run(direction, &packet, salt, esn);
            prop_assert_eq!(ours.0, theirs.0);
            prop_assert_eq!(ours.0, direction == Direction::Seal && packet.len() > AROUND);
            if ours.0 {
                prop_assert_eq!(ours.1, theirs.1);
            }
        }
    }
}

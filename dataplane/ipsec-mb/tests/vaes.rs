//! Our AES-GCM against the library's: by length of packet, key, AAD and order. On a processor that cannot run ours, the library is
//! compared with itself.
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
        if !(is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("vaes")) {
            println!("the library is compared with itself: this processor has no VAES with AVX-512");
        }
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

/// Lengths of text: every one up to 8,192, about carries of the counter, and the longest.
fn lengths() -> impl Iterator<Item = usize> {
    let carries = [768, 1024, 2048, 3840].into_iter().flat_map(|blocks: usize| {
        let text = blocks * 16;
        (text - 400..text + 400).step_by(4)
    });
    (4..=8192).step_by(4).chain(carries).chain([65_532 - AROUND])
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

/// Runs of packets with these lengths of text: what comes out is what the library makes of them, and what one makes the other opens, but
/// for one that is damaged. A run has packets of so many keys, and the next run of others.
fn runs_come_out_as_by_the_library(keys: usize, runs: impl Iterator<Item = Vec<usize>> + Clone) {
    for algorithm in BOTH {
        let mut managers = [Manager::new().unwrap(), Manager::library().unwrap()];
        let all: [Vec<Key>; 2] = [0, 1].map(|i| {
            let cipher = |seed| octets(algorithm.cipher_key_len(), seed);
            (0..2 * keys).map(|seed| Key::new(&managers[i], algorithm, &cipher(seed), &[]).unwrap()).collect()
        });
        let mut run = |number: usize, direction, packets: &[Vec<u8>]| {
            [0, 1].map(|i| {
                let mut buffers: Vec<Vec<u8>> =
                    packets.iter().map(|packet| [&packet[..], &[0x5a; 64]].concat()).collect();
                let own: Vec<&Key> = (0..packets.len()).map(|n| &all[i][keys * (number % 2) + n % keys]).collect();
                let esn = |n: usize| (n % 3 != 1).then_some(n as u32);
                let mut jobs: Vec<Job<'_>> = (buffers.iter_mut().zip(packets).enumerate())
                    .map(|(n, (b, packet))| {
                        Job::new(algorithm, direction, &mut b[..packet.len()], [n as u8; 4], esn(n))
                    })
                    .collect();
                let outcome = managers[i].run(&mut jobs, &own);
                let good: Vec<bool> = (0..packets.len()).map(|n| outcome.good(n)).collect();
                for (buffer, packet) in buffers.iter_mut().zip(packets) {
                    assert_eq!(buffer.split_off(packet.len()), [0x5a; 64], "nothing is written beyond a packet");
                }
                (good, buffers)
            })
        };
        for (number, texts) in runs.clone().enumerate() {
            let packets: Vec<Vec<u8>> = texts.iter().map(|text| octets(text + AROUND, *text)).collect();
            let [(good, mut sealed), (_, theirs)] = run(number, Direction::Seal, &packets);
            assert!(sealed == theirs && good.iter().all(|good| *good), "{algorithm:?}: {texts:?}");
            let bad = number / 7 % texts.len();
            let at = number * 5 % sealed[bad].len();
            sealed[bad][at] ^= 1 << (number % 8);
            for (good, opened) in run(number, Direction::Open, &sealed) {
                for (n, text) in texts.iter().enumerate() {
                    assert_eq!(good[n], n != bad, "{algorithm:?}: {n} of {texts:?}");
                    assert!(n == bad || opened[n][..text + 16] == packets[n][..text + 16], "{algorithm:?}: {texts:?}");
                }
            }
        }
    }
}

#[test]
fn packets_of_a_run_of_one_key_come_out_as_by_the_library() {
    // Every length, with short ones among them, and with some that are longer than what is worked out for all; runs of many and of few.
    let lengths: Vec<usize> = (4..=2000).step_by(4).flat_map(|text| [text, 2004 - text]).collect();
    for few in [64, 5, 3] {
        runs_come_out_as_by_the_library(1, lengths.chunks(few).map(<[usize]>::to_vec));
    }
}

#[test]
fn four_short_packets_come_out_as_by_the_library() {
    for keys in [1, 2, 3, 4] {
        // All endings of four packets of as many blocks, behind long ones or none, and before two of another size.
        let endings = (1..=9).flat_map(|blocks| (0..256).map(move |n| (blocks, n)));
        runs_come_out_as_by_the_library(
            keys,
            endings.map(|(blocks, n)| {
                let four = (0..4).map(|i| 16 * blocks - 4 * ((n >> (2 * i)) % 4));
                [1000, 300].into_iter().take(n % 3).chain(four).chain([16 * blocks + 4; 2]).collect()
            }),
        );
    }
}

#[test]
fn one_of_four_that_is_not_as_the_others_is_treated_as_what_it_is() {
    let [small, large] = BOTH;
    let (seal, open) = (Direction::Seal, Direction::Open);
    // Algorithm, key's algorithm, direction, text; and whether there is anything good in it.
    let cases = [
        (large, large, seal, 44, true),
        (small, large, seal, 44, false),
        (large, small, seal, 44, false),
        (small, small, open, 44, false),
        (small, small, seal, 43, false),
        (small, small, seal, 41, false),
        (small, small, seal, 48, true),
        (small, small, seal, 52, true),
        (Algorithm::AesGmac128, small, seal, 44, false),
    ];
    let results = [Manager::new().unwrap(), Manager::library().unwrap()].map(|mut manager| {
        let keys = BOTH.map(|a| Key::new(&manager, a, &octets(a.cipher_key_len(), 3), &[]).unwrap());
        let key = |algorithm| &keys[usize::from(algorithm == large)];
        let mut packets = Vec::new();
        for (algorithm, of, direction, text, good) in cases {
            for at in 0..4 {
                let others = (small, small, seal, 44, true);
                let jobs = [0, 1, 2, 3].map(|i| if i == at { (algorithm, of, direction, text, good) } else { others });
                let mut four = jobs.map(|job| octets(job.3 + AROUND, at));
                let [a, b, c, d] = &mut four;
                let job = |n: usize, packet| Job::new(jobs[n].0, jobs[n].2, packet, [5; 4], None);
                let outcome =
                    manager.run(&mut [job(0, a), job(1, b), job(2, c), job(3, d)], &jobs.map(|job| key(job.1)));
                for (n, (packet, job)) in four.into_iter().zip(jobs).enumerate() {
                    assert_eq!(outcome.good(n), job.4, "{n} of {jobs:?}");
                    packets.extend(job.4.then_some(packet));
                }
            }
        }
        packets
    });
    assert_eq!(results[0], results[1]);
}

#[test]
fn packets_of_one_run_do_not_notice_each_other() {
    for algorithm in BOTH {
        let managers = &mut [Manager::new().unwrap(), Manager::library().unwrap()];
        // Short ones in pairs and alone, of one key and of two, beside long ones and a damaged one.
        let texts = [44, 44, 4, 96, 100, 1408, 48, 52, 2000, 8, 8, 8, 96, 92, 40, 44, 300, 12];
        for direction in [Direction::Seal, Direction::Open] {
            let results: Vec<_> = managers
                .iter_mut()
                .map(|manager| {
                    let key = |seed| Key::new(manager, algorithm, &octets(32, seed)[..algorithm.cipher_key_len()], &[]);
                    let own = [key(1).unwrap(), key(2).unwrap()];
                    let keys: Vec<&Key> = (0..texts.len()).map(|i| &own[usize::from(i % 5 > 2)]).collect();
                    let mut packets: Vec<Vec<u8>> = texts.iter().map(|text| octets(text + AROUND, *text)).collect();
                    let esn = |i: usize| i.is_multiple_of(3).then_some(i as u32);
                    let mut run = |direction, packets: &mut [Vec<u8>]| {
                        let job = |(i, packet)| Job::new(algorithm, direction, packet, [9; 4], esn(i));
                        let mut jobs: Vec<Job<'_>> =
                            packets.iter_mut().enumerate().map(|(i, p)| job((i, p.as_mut_slice()))).collect();
                        let mut beside = Vec::new();
                        let outcome = manager.run_beside(&mut jobs, &keys, |n| beside.push(n));
                        assert_eq!(beside, (0..texts.len()).collect::<Vec<usize>>());
                        (0..texts.len()).map(|i| outcome.good(i)).collect::<Vec<bool>>()
                    };
                    let mut good = run(Direction::Seal, &mut packets);
                    if direction == Direction::Open {
                        packets[9][20] ^= 1;
                        good = run(Direction::Open, &mut packets);
                        packets[9].clear();
                    }
                    (good, packets)
                })
                .collect();
            assert_eq!(results[0], results[1], "{algorithm:?} {direction:?}");
            let bad: Vec<usize> = (0..texts.len()).filter(|i| !results[0].0[*i]).collect();
            assert_eq!(bad, if direction == Direction::Open { vec![9] } else { vec![] });
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

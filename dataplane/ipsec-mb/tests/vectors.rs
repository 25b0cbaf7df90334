//! Every algorithm against packets made by an independent implementation, alone and in mixed batches.
#![allow(clippy::unwrap_used, clippy::panic)]

use ipsec_mb::{Algorithm, BATCH, Direction, Job, Key, Manager};
use proptest::prelude::*;

struct Vector {
    algorithm: Algorithm,
    seq_high: Option<u32>,
    key: Key,
    salt: [u8; 4],
    plain: Vec<u8>,
    sealed: Vec<u8>,
}

fn unhex(s: &str) -> Vec<u8> {
    if s == "-" {
        return Vec::new();
    }
    (0..s.len()).step_by(2).map(|i| u8::from_str_radix(&s[i..i + 2], 16).unwrap()).collect()
}

fn vectors(manager: &Manager) -> Vec<Vector> {
    let parse = |line: &str| {
        let f: Vec<&str> = line.split(' ').collect();
        let algorithm = Algorithm::ALL.into_iter().find(|a| format!("{a:?}") == f[0]).unwrap();
        Vector {
            algorithm,
            seq_high: (f[1] != "-").then(|| u32::from_str_radix(f[1], 16).unwrap()),
            key: Key::new(manager, algorithm, &unhex(f[2]), &unhex(f[3])).unwrap(),
            salt: unhex(f[4]).try_into().unwrap(),
            plain: unhex(f[5]),
            sealed: unhex(f[6]),
        }
    };
    include_str!("golden.txt").lines().map(parse).collect()
}

fn job<'a>(v: &'a Vector, direction: Direction, packet: &'a mut [u8]) -> Job<'a> {
    Job::new(v.algorithm, direction, packet, v.salt, v.seq_high)
}

fn run_one(manager: &mut Manager, v: &Vector, direction: Direction, packet: &mut [u8]) -> bool {
    manager.run(&mut [job(v, direction, packet)], &[&v.key]).good(0)
}

// What opening must give: the text, which lies between IV and ICV.
fn text<'a>(v: &Vector, packet: &'a [u8]) -> &'a [u8] {
    &packet[8 + v.algorithm.iv_len()..packet.len() - v.algorithm.icv_len()]
}

#[test]
fn one_at_a_time() {
    let mut m = Manager::new().unwrap();
    let all = vectors(&m);
    assert_eq!(all.len(), Algorithm::ALL.len() * 12);
    for (i, v) in all.iter().enumerate() {
        let mut p = v.plain.clone();
        assert!(run_one(&mut m, v, Direction::Seal, &mut p), "{:?} line {i}", v.algorithm);
        assert_eq!(p, v.sealed, "{:?} line {i}", v.algorithm);
        assert!(run_one(&mut m, v, Direction::Open, &mut p), "{:?} line {i}", v.algorithm);
        assert_eq!(text(v, &p), text(v, &v.plain), "{:?} line {i}", v.algorithm);
    }
}

#[test]
fn mixed_batches_of_every_size() {
    let mut m = Manager::new().unwrap();
    let all = vectors(&m);
    for size in 1..=BATCH {
        for direction in [Direction::Seal, Direction::Open] {
            let picked: Vec<&Vector> = (0..size).map(|i| &all[(i * 29 + size * 7) % all.len()]).collect();
            let from = |v: &Vector| if direction == Direction::Seal { v.plain.clone() } else { v.sealed.clone() };
            let mut packets: Vec<Vec<u8>> = picked.iter().map(|v| from(v)).collect();
            // Every third packet to open is damaged: the others must not notice.
            if direction == Direction::Open {
                packets.iter_mut().step_by(3).for_each(|p| *p.last_mut().unwrap() ^= 1);
            }
            let mut jobs: Vec<Job<'_>> = picked.iter().zip(&mut packets).map(|(v, p)| job(v, direction, p)).collect();
            let keys: Vec<&Key> = picked.iter().map(|v| &v.key).collect();
            let outcome = m.run(&mut jobs, &keys);
            assert!(!outcome.good(size) && !outcome.all_good(size + 1));
            assert_eq!(outcome.all_good(size), (0..size).all(|i| outcome.good(i)), "{size}");
            for (i, v) in picked.iter().enumerate() {
                match direction {
                    Direction::Seal => assert!(outcome.good(i) && packets[i] == v.sealed, "{size} {i}"),
                    Direction::Open if i % 3 == 0 => assert!(!outcome.good(i), "{size} {i}"),
                    Direction::Open => assert!(outcome.good(i) && text(v, &packets[i]) == text(v, &v.plain)),
                }
            }
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_is_caught() {
    let mut m = Manager::new().unwrap();
    for v in vectors(&m).iter().filter(|v| v.plain.len() < 120) {
        for at in 0..v.sealed.len() {
            let mut p = v.sealed.clone();
            p[at] ^= 1 << (at % 8);
            assert!(!run_one(&mut m, v, Direction::Open, &mut p), "{:?} octet {at}", v.algorithm);
        }
        let other = Vector { seq_high: v.seq_high.map_or(Some(0), |h| Some(h ^ 1)), ..clone(&m, v) };
        assert!(!run_one(&mut m, &other, Direction::Open, &mut v.sealed.clone()), "{:?} high half", v.algorithm);
    }
}

// The same packet under a key of the right kind but with other octets.
fn clone(m: &Manager, v: &Vector) -> Vector {
    let (c, a) = (vec![7; v.algorithm.cipher_key_len()], vec![7; v.algorithm.auth_key_len()]);
    Vector { key: Key::new(m, v.algorithm, &c, &a).unwrap(), plain: v.plain.clone(), sealed: v.sealed.clone(), ..*v }
}

#[test]
fn a_wrong_key_or_a_key_of_another_algorithm_is_caught() {
    let mut m = Manager::new().unwrap();
    let all = vectors(&m);
    for v in &all {
        assert!(!run_one(&mut m, &clone(&m2(), v), Direction::Open, &mut v.sealed.clone()));
        for algorithm in Algorithm::ALL.into_iter().filter(|a| *a != v.algorithm) {
            let (c, a) = (vec![7; algorithm.cipher_key_len()], vec![7; algorithm.auth_key_len()]);
            let key = Key::new(&m, algorithm, &c, &a).unwrap();
            for direction in [Direction::Seal, Direction::Open] {
                let mut p = v.sealed.clone();
                let job = Job::new(v.algorithm, direction, &mut p, v.salt, v.seq_high);
                assert!(!m.run(&mut [job], &[&key]).good(0));
            }
        }
    }
}

fn m2() -> Manager {
    Manager::new().unwrap()
}

#[test]
fn what_is_not_an_esp_packet_is_refused() {
    let mut m = m2();
    for algorithm in Algorithm::ALL {
        let around = 8 + algorithm.iv_len() + algorithm.icv_len();
        let (c, a) = (vec![7; algorithm.cipher_key_len()], vec![7; algorithm.auth_key_len()]);
        let key = Key::new(&m, algorithm, &c, &a).unwrap();
        for len in (0..=around + 40).chain([65_535, 65_536, 70_000]) {
            let mut packet = vec![0; len];
            let job = Job::new(algorithm, Direction::Seal, &mut packet, [0; 4], None);
            let fits = len > around && (len - around) % algorithm.block_len() == 0 && len <= 65_535;
            assert_eq!(job.fits(), fits, "{algorithm:?} {len}");
            assert_eq!(m.run(&mut [job], &[&key]).good(0), fits, "{algorithm:?} {len}");
        }
        assert!(Key::new(&m, algorithm, &[0; 15], &[]).is_none());
        assert!(Key::new(&m, algorithm, &vec![0; algorithm.cipher_key_len()], &[0; 19]).is_none());
    }
}

#[test]
fn the_key_mark_survives_expansion_and_erasure_is_complete() {
    let m = m2();
    for algorithm in Algorithm::ALL {
        let (c, a) = (vec![7; algorithm.cipher_key_len()], vec![7; algorithm.auth_key_len()]);
        let mut key = Key::new(&m, algorithm, &c, &a).unwrap();
        assert_eq!(format!("{key:?}"), format!("Key(Some({algorithm:?}))"));
        key.clear();
        assert_eq!(format!("{key:?}"), "Key(None)");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn garbage_is_never_good(number in 1u8..18, packet in prop::collection::vec(any::<u8>(), 0..300), esn: Option<u32>) {
        let mut m = Manager::new().unwrap();
        let algorithm = Algorithm::from_number(number).unwrap();
        let (c, a) = (vec![9; algorithm.cipher_key_len()], vec![9; algorithm.auth_key_len()]);
        let key = Key::new(&m, algorithm, &c, &a).unwrap();
        let mut packet = packet;
        let job = Job::new(algorithm, Direction::Open, &mut packet, [1; 4], esn);
        prop_assert!(!m.run(&mut [job], &[&key]).good(0));
    }
}

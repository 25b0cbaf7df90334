//! Whole packets: published vectors, every suite in both directions, and what must be refused.

use crate::{SaIn, SaOut, framing, open, seal, suite};
use dataplane_api::*;
use hex_literal::hex;
use ipsec_mb::Manager;
use proptest::prelude::*;
use std::num::NonZeroU32;

fn manager() -> Manager {
    Manager::new().unwrap()
}

fn suite_of(cipher: Cipher, integrity: Integrity) -> EspSuite {
    EspSuite::new(cipher, integrity).unwrap()
}

fn sa_in(suite: EspSuite, key: &[u8], spi: u32, esn: bool) -> dataplane_api::SaIn {
    dataplane_api::SaIn {
        spi: Spi(spi),
        peer: PeerId(NonZeroU32::MIN),
        suite,
        key: EspKey::new(suite, key).unwrap(),
        esn,
        replay_window: 64,
        mode: Mode::Transport,
        local: [192, 0, 2, 1].into(),
        remote: [198, 51, 100, 7].into(),
        encap: None,
        selector: Selector::ANY,
        lifetime: Lifetime::default(),
    }
}

fn sa_out(i: &dataplane_api::SaIn) -> dataplane_api::SaOut {
    dataplane_api::SaOut {
        id: SaOutId(Slot::new(WorkerId(0), 0, 1).unwrap()),
        spi: i.spi.0,
        peer: i.peer,
        suite: i.suite,
        key: i.key.clone(),
        esn: i.esn,
        mode: i.mode,
        local: i.remote,
        remote: i.local,
        encap: i.encap,
        selector: i.selector,
        lifetime: i.lifetime,
    }
}

fn material(suite: EspSuite) -> Vec<u8> {
    (0..suite.key_len()).map(|i| i as u8 ^ 0x5a).collect()
}

fn pair(m: &Manager, suite: EspSuite, esn: bool) -> (SaOut, SaIn) {
    let i = sa_in(suite, &material(suite), 0x0110_0001, esn);
    (SaOut::new(m, &sa_out(&i)).unwrap(), SaIn::new(m, &i).unwrap())
}

// draft-mcgrew-gcm-test-01, a DNS query in AES-GCM-128 with extended sequence numbers.
#[test]
fn gcm_vector() {
    let s = suite_of(Cipher::AesGcm128, Integrity::None);
    let mut m = manager();
    let mut sa = SaIn::new(&m, &sa_in(s, &hex!("4c80cdefbb5d10da906ac73c3613a634 2e443b68"), 0x4321, true)).unwrap();
    // The high half is 0x87654321, so the receiver must have come that far.
    sa.accept_for_test(0x8765_4320_ffff_fff0);
    let mut p = hex!(
        "00004321 00000000 4956ed7e3b244cfe fecf537e729d5b07dc30df528dd22b768d1b98736696a6fd348509fa13ceac34"
        "cfa2436f14a3f3cf65925bf1f4a13c5d15b21e1884f5ff6247aeabb786b93bce61bc17d768fd9732 459018148f6cbe722fd04796562dfdb4"
    )
    .to_vec();
    let opened = open(&mut m, &mut sa, &mut p).unwrap();
    // The draft's plaintext ends in 01 02, pad length 2, next header 1.
    assert_eq!((opened.seq, opened.next_header, p.len()), (0x8765_4321_0000_0000, 1, 68));
    assert!(p.starts_with(&hex!("45000048699a")));
}

// draft-mcgrew-gcm-test-01, an ICMP echo in AES-GMAC-128 (RFC 4543).
#[test]
fn gmac_vector() {
    let s = suite_of(Cipher::AesGmac128, Integrity::None);
    let mut m = manager();
    let mut sa = SaIn::new(&m, &sa_in(s, &hex!("4c80cdefbb5d10da906ac73c3613a634 22433c64"), 0x4321, false)).unwrap();
    let mut p = hex!(
        "00004321 00000007 0000000000000000 45000030da3a00008001df3bc0a80005c0a8000108 00c6cd0200070061"
        "62636465666768696a6b6c6d6e6f7071727374 01020201 f2a9a836e155106aa8dcd618e4099aaa"
    )
    .to_vec();
    let opened = open(&mut m, &mut sa, &mut p).unwrap();
    assert_eq!((opened.seq, opened.next_header, p.len()), (7, 1, 0x30));
    assert!(p.starts_with(&hex!("45000030da3a")));
}

// RFC 7634, appendix A: an ICMP echo in tunnel mode.
#[test]
fn chacha_vector() {
    let key = hex!("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f a0a1a2a3");
    let config = dataplane_api::SaIn {
        mode: Mode::Tunnel,
        ..sa_in(suite_of(Cipher::ChaCha20Poly1305, Integrity::None), &key, 0x0102_0304, false)
    };
    let mut m = manager();
    let mut sa = SaIn::new(&m, &config).unwrap();
    let mut p = hex!(
        "01020304 00000005 1011121314151617 24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c614ee8099d52844eb"
        "61aa95dfab4c02f72aa71e7c4c4f64c9befe2facc638e8f3cbec163fac469b502773f6fb94e664da9165b82829f641e0"
        "76aaa8266b7fb0f7b11b369907e1ad43"
    )
    .to_vec();
    let opened = open(&mut m, &mut sa, &mut p).unwrap();
    assert_eq!((opened.seq, opened.next_header, p.len()), (5, 4, 0x54));
    assert!(p.starts_with(&hex!("45000054a6f200004001e778c6336405c0000205")));
}

// RFC 3602, case 5 (transport mode ping), with an HMAC of our own in place of none: the ICV by python's hmac.
#[test]
fn cbc_vector() {
    let s = suite_of(Cipher::AesCbc128, Integrity::HmacSha256_128);
    let mut key = hex!("90d382b410eeba7ad938c46cec1a82bf").to_vec();
    key.extend([0x0b; 32]);
    let mut m = manager();
    let mut sa = SaIn::new(&m, &sa_in(s, &key, 0x4321, false)).unwrap();
    let mut p = hex!(
        "00004321 00000001 e96e8c08ab465763fd098d45dd3ff893 f663c25d325c18c6a9453e194e120849a4870b66cc6b9965330013b4898dc856"
        "a4699e523a55db080b59ec3a8e4b7e52775b07d1db34ed9c538ab50c551b874aa269add047ad2d5913ac19b7cfbad4a6"
        "1731896e10aaf60f5e4bd414d67e268d"
    )
    .to_vec();
    let opened = open(&mut m, &mut sa, &mut p).unwrap();
    assert_eq!((opened.seq, opened.next_header, p.len()), (1, 1, 64));
    assert!(p.starts_with(&hex!("08000ebda70a00008e9c083db95b0700")));
}

#[test]
fn every_suite_round_trips() {
    let mut m = manager();
    for suite in suite::all() {
        for esn in [false, true] {
            let (mut tx, mut rx) = pair(&m, suite, esn);
            for (i, n) in (0..70).chain([500, 1420, 9000, 65_000]).enumerate() {
                let payload: Vec<u8> = (0..n).map(|k| (k * 7 + i) as u8).collect();
                let mut p = payload.clone();
                assert_eq!(seal(&mut m, &mut tx, 17, &mut p), Ok(false));
                assert!(p.len() <= n + framing::max_overhead(suite::algorithm(suite)));
                let opened = open(&mut m, &mut rx, &mut p).unwrap();
                assert_eq!((opened.next_header, opened.seq), (17, i as u64 + 1), "{suite:?}");
                assert_eq!(p, payload, "{suite:?} {n}");
            }
            assert_eq!(rx.hot.counts(), tx.hot.counts());
        }
    }
}

#[test]
fn cbc_ivs_do_not_look_like_counters() {
    let mut m = manager();
    let (mut tx, _) = pair(&m, suite_of(Cipher::AesCbc128, Integrity::HmacSha1_96), false);
    let mut iv = || {
        let mut p = vec![0; 20];
        seal(&mut m, &mut tx, 17, &mut p).unwrap();
        p[8..24].to_vec()
    };
    let (a, b) = (iv(), iv());
    assert!(a.iter().zip(&b).filter(|(x, y)| x == y).count() < 8);
}

#[test]
fn any_changed_octet_is_caught_and_moves_nothing() {
    let mut m = manager();
    for suite in suite::all() {
        for esn in [false, true] {
            let (mut tx, mut rx) = pair(&m, suite, esn);
            let mut p = b"payload".to_vec();
            seal(&mut m, &mut tx, 17, &mut p).unwrap();
            for at in 0..p.len() {
                let mut bad = p.clone();
                bad[at] ^= 0x10;
                let why = open(&mut m, &mut rx, &mut bad).unwrap_err();
                let expected = if at < 4 { DropReason::SaUnknown } else { DropReason::EspIntegrity };
                assert_eq!(why, expected, "{suite:?} octet {at}");
            }
            for cut in 0..p.len() {
                assert!(open(&mut m, &mut rx, &mut p[..cut].to_vec()).is_err());
            }
            assert_eq!(rx.hot.counts(), (0, 0));
            assert!(open(&mut m, &mut rx, &mut p.clone()).is_ok());
            assert_eq!(open(&mut m, &mut rx, &mut p), Err(DropReason::EspReplay));
        }
    }
}

#[test]
fn sequence_numbers_end_and_never_wrap() {
    let mut m = manager();
    let suite = suite_of(Cipher::AesGcm128, Integrity::None);
    for (esn, last) in [(false, u64::from(u32::MAX)), (true, u64::MAX)] {
        let (mut tx, mut rx) = pair(&m, suite, esn);
        tx.hot.set_sequence(last - 2);
        rx.accept_for_test(last - 2);
        // Far beyond the soft limit, which is therefore reported at once.
        for (seq, rekey) in [(last - 1, true), (last, false)] {
            let mut p = vec![1; 10];
            assert_eq!(seal(&mut m, &mut tx, 17, &mut p), Ok(rekey));
            assert_eq!(open(&mut m, &mut rx, &mut p).unwrap().seq, seq);
        }
        for _ in 0..3 {
            assert_eq!(seal(&mut m, &mut tx, 17, &mut vec![1; 10]), Err(DropReason::SaExpired));
        }
        assert_eq!(tx.hot.counts().0, last);
    }
}

#[test]
fn extended_numbers_cross_the_low_half() {
    let mut m = manager();
    for suite in suite::all() {
        let (mut tx, mut rx) = pair(&m, suite, true);
        tx.hot.set_sequence((1 << 32) - 3);
        rx.accept_for_test((1 << 32) - 3);
        let mut packets: Vec<Vec<u8>> = (0..6).map(|_| vec![5; 33]).collect();
        packets.iter_mut().for_each(|p| assert!(seal(&mut m, &mut tx, 17, p).is_ok()));
        // Out of order over the edge.
        for i in [3, 1, 0, 5, 2, 4] {
            assert_eq!(open(&mut m, &mut rx, &mut packets[i].clone()).unwrap().seq, (1 << 32) - 2 + i as u64);
            assert_eq!(open(&mut m, &mut rx, &mut packets[i].clone()), Err(DropReason::EspReplay), "{suite:?}");
        }
    }
}

#[test]
fn dummies_and_tfc_padding() {
    let mut m = manager();
    let suite = suite_of(Cipher::AesGcm256, Integrity::None);
    let config = dataplane_api::SaIn { mode: Mode::Tunnel, ..sa_in(suite, &material(suite), 0x0110_0001, false) };
    let (mut tx, mut rx) = (SaOut::new(&m, &sa_out(&config)).unwrap(), SaIn::new(&m, &config).unwrap());
    let mut dummy = vec![0; 80];
    seal(&mut m, &mut tx, framing::NEXT_DUMMY, &mut dummy).unwrap();
    assert_eq!(open(&mut m, &mut rx, &mut dummy), Err(DropReason::EspDummy));
    let mut inner = hex!("4500001c00000000401100000a0000010a00000206a506a500080000").to_vec();
    inner.resize(300, 0);
    seal(&mut m, &mut tx, framing::NEXT_IPV4, &mut inner).unwrap();
    open(&mut m, &mut rx, &mut inner).unwrap();
    assert_eq!(inner.len(), 28);
    let mut wrong = vec![0x60; 40];
    seal(&mut m, &mut tx, framing::NEXT_IPV4, &mut wrong).unwrap();
    assert_eq!(open(&mut m, &mut rx, &mut wrong), Err(DropReason::EspMalformed));
}

#[test]
fn hard_lifetimes_stop_both_ends() {
    let mut m = manager();
    let suite = suite_of(Cipher::AesGcm128, Integrity::None);
    let limits = |packets| Limits { packets, octets: 0 };
    let config = dataplane_api::SaIn {
        lifetime: Lifetime { soft: limits(1), hard: limits(2) },
        ..sa_in(suite, &material(suite), 0x0110_0001, false)
    };
    let unlimited = dataplane_api::SaIn { lifetime: Lifetime::default(), ..config.clone() };
    let (mut tx, mut free) = (SaOut::new(&m, &sa_out(&config)).unwrap(), SaOut::new(&m, &sa_out(&unlimited)).unwrap());
    let mut rx = SaIn::new(&m, &config).unwrap();
    let results: Vec<_> = (0..3).map(|_| seal(&mut m, &mut tx, 17, &mut vec![1; 9])).collect();
    assert_eq!(results, [Ok(true), Ok(false), Err(DropReason::SaExpired)]);
    let mut receive = || {
        let mut p = vec![1; 9];
        seal(&mut m, &mut free, 17, &mut p).unwrap();
        open(&mut m, &mut rx, &mut p).map(|o| o.rekey)
    };
    assert_eq!([receive(), receive(), receive()], [Ok(true), Ok(false), Err(DropReason::SaExpired)]);
}

#[test]
fn too_long_is_refused_without_a_number() {
    let mut m = manager();
    let (mut tx, _) = pair(&m, suite_of(Cipher::AesGcm128, Integrity::None), false);
    assert_eq!(seal(&mut m, &mut tx, 17, &mut vec![0; 65_530]), Err(DropReason::TooBig));
    assert_eq!(tx.hot.counts(), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn garbage_never_opens(which in 0usize..11, esn: bool, named: bool, p in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut m = manager();
        let all = suite::all();
        let (_, mut rx) = pair(&m, all[which % all.len()], esn);
        let mut p = p;
        if named && p.len() >= 4 {
            p[..4].copy_from_slice(&0x0110_0001u32.to_be_bytes());
        }
        prop_assert!(open(&mut m, &mut rx, &mut p).is_err());
    }
}

#[test]
fn what_an_sa_notes_of_a_session_is_not_its_windows() {
    let suite = suite_of(Cipher::AesGcm128, Integrity::None);
    let (mut hot, mut cold) = crate::Inbound::new(&sa_in(suite, &material(suite), 0x0110_0001, true)).unwrap();
    assert!(hot.accept(&mut cold, 1));
    assert_eq!(hot.session(), SessionId(0));
    hot.brought(SessionId(u32::MAX));
    assert_eq!(hot.session(), SessionId(u32::MAX));
    assert!(!hot.accept(&mut cold, 1) && hot.accept(&mut cold, 2) && !hot.accept(&mut cold, 2));
}

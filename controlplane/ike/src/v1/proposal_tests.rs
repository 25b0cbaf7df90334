use super::super::captures::{MAIN_1, WINDOWS};
use super::super::payload::Body;
use super::super::sa_payload::{self, Proposal};
use super::*;
use crate::config::Mode;
use crate::message::HEADER_LEN;
use crate::payload::PayloadType;
use crate::{EspProposal, IkeProposal};
use hex_literal::hex;

const BOTH: [Method; 2] = [Method::RsaSig, Method::Psk];
const HOUR: Duration = Duration::from_secs(3600);

fn offer_in(message: &[u8]) -> Vec<Proposal> {
    let body = Body::parse(PayloadType(message[16]), &message[HEADER_LEN..], false).unwrap();
    sa_payload::parse(body.sa.unwrap()).unwrap()
}

fn phase1(text: &str) -> Vec<Phase1> {
    vec![text.parse().unwrap()]
}

#[test]
fn notation() {
    for text in
        ["aes256-sha1-modp1024", "aes256-aes128-3des-sha256-sha1-ecp384-ecp256-modp2048", "aes128-sha384-ecp384"]
    {
        assert_eq!(text.parse::<Phase1>().unwrap().to_string(), text);
    }
    for text in ["aes256-sha1", "sha1-modp2048", "aes256-modp2048", "des-sha1-modp2048", "aes256-md5-modp2048", ""] {
        assert!(text.parse::<Phase1>().is_err(), "{text}");
    }
    for text in ["aes256gcm16-sha256-modp2048", "aes256-sha256-x25519", "aes256-sha256-none", "null-sha1-modp2048"] {
        assert!(text.parse::<Phase1>().is_err(), "{text}");
    }
    let suite = phase1("3des-sha1-modp1024")[0].suites().next().unwrap();
    assert_eq!((suite.to_string(), suite.weak()), ("3des-sha1-modp1024".to_owned(), Weak::ALL.to_vec()));
    for weak in Weak::ALL {
        assert_eq!(weak.to_string().parse(), Ok(weak));
    }
    assert!("md5".parse::<Weak>().is_err());
    for (text, weak) in [
        ("aes256-sha1", vec![Weak::Sha1]),
        ("3des-sha1-none-modp1024", Weak::ALL.to_vec()),
        ("aes128gcm16-ecp256", vec![]),
        ("3des-sha256", vec![Weak::TripleDes]),
    ] {
        assert_eq!(esp_weak(&parse_esp(text).unwrap()), weak, "{text}");
    }
    for text in [
        "aes256",
        "aes256gcm16-sha1",
        "aes256-sha384",
        "aes256-sha256_96",
        "aes256-sha1-esn",
        "aes256-sha1-x25519",
        "chacha20poly1305",
        "aes128gmac",
        "aes256-sha1-modp2048-mlkem768",
        "sha1",
    ] {
        assert!(parse_esp(text).is_err(), "{text}");
    }
}

// What is old is for IKEv1 alone, and there only by name.
#[test]
fn the_weak_is_nowhere_unless_it_is_named() {
    for text in
        ["3des-sha256-prfsha256-modp2048", "aes256-sha256-prfsha256-modp1024", "aes256-sha256_96-prfsha256-modp2048"]
    {
        assert!(text.parse::<IkeProposal>().is_err(), "{text}");
    }
    for text in ["3des-sha1", "aes256-sha256-modp1024", "aes256-sha256_96"] {
        assert!(text.parse::<EspProposal>().is_err(), "{text}");
    }
    assert!(Phase1::defaults(&[]).iter().all(|p| p.weak().is_empty()));
    assert!(esp_defaults(&[]).iter().all(|p| esp_weak(p).is_empty()));
    for weak in Weak::ALL {
        let (ike, esp) = (Phase1::defaults(&[weak]), esp_defaults(&[weak]));
        assert_eq!(ike.iter().flat_map(Phase1::weak).collect::<Vec<_>>(), [weak]);
        assert_eq!(esp.iter().flat_map(esp_weak).collect::<Vec<_>>(), [weak]);
        assert!(ike.iter().all(|p| p.check().is_ok()) && esp.iter().all(|p| check_esp(p).is_ok()));
    }
}

#[test]
fn windows_gets_the_best_of_its_offer_that_is_allowed() {
    let offer = offer_in(WINDOWS);
    let choose = |ours: &[Phase1]| choose_phase1(ours, &offer, &BOTH);
    // All it offers is with SHA-1.
    assert_eq!(choose(&Phase1::defaults(&[])), None);
    let choice = choose(&Phase1::defaults(&[Weak::Sha1])).unwrap();
    assert_eq!(choice.suite.to_string(), "aes256-sha1-ecp384");
    assert_eq!((choice.method, choice.lifetime), (Method::Psk, Some(Duration::from_secs(28800))));
    assert_eq!(choose(&phase1("aes128-aes256-sha1-modp2048-ecp256")).unwrap().suite.to_string(), "aes128-sha1-ecp256");
    let last = choose(&phase1("3des-sha1-modp1024")).unwrap();
    assert_eq!(last.suite.weak(), Weak::ALL);
    // The one transform, octet by octet as it came.
    let mut reply = Vec::new();
    sa_payload::emit(&[last.reply], &mut reply);
    let expected = hex!(
        "0000000100000001" "0000002c01010001" "0000002405010000"
        "80010005800200028004000280030001800b0001000c000400007080"
    );
    assert_eq!(reply, expected);
    assert_eq!(choose_phase1(&phase1("3des-sha1-modp1024"), &offer, &[Method::RsaSig]), None);
    assert_eq!(choose(&phase1("aes256-sha256-modp2048")), None);
    assert_eq!(
        choose_phase1(&phase1("3des-sha1-modp1024"), &offer_in(MAIN_1), &BOTH).unwrap().lifetime.unwrap().as_secs(),
        7800
    );
}

#[test]
fn transforms_that_are_not_fully_understood_are_not_chosen() {
    let ours = phase1("aes256-aes128-sha256-modp2048");
    let good = vec![(1, 7), (14, 256), (2, 4), (3, 1), (4, 14), (11, 1), (12, 86400)];
    let offer = |attributes: Vec<(u16, u32)>| {
        let transforms = vec![Transform::new(1, 1, attributes)];
        vec![Proposal { number: 1, protocol: 1, spi: vec![], transforms }]
    };
    let with = |more: &[(u16, u32)]| offer([&good[..], more].concat());
    let choose = |offer: &[Proposal]| choose_phase1(&ours, offer, &BOTH);
    assert_eq!(choose(&offer(good.clone())).unwrap().lifetime.unwrap().as_secs(), 86400);
    // A limit of traffic besides.
    assert!(choose(&with(&[(11, 2), (12, 5000)])).is_some());
    // A PRF of its own, a field size, the group twice, XAUTH's method.
    for more in [(13, 1), (15, 2048), (4, 14), (4, 2)] {
        assert_eq!(choose(&with(&[more])), None, "{more:?}");
    }
    let replace = |kind: u16, value: Option<u32>| {
        let kept = good.iter().copied().filter(|(k, _)| *k != kind);
        offer(kept.chain(value.map(|v| (kind, v))).collect())
    };
    for (kind, value) in [(3, 65001), (1, 1), (2, 1), (14, 192), (4, 5), (4, 0x1_000e), (14, 0x1_0100)] {
        assert_eq!(choose(&replace(kind, Some(value))), None, "{kind} {value}");
    }
    for kind in [1, 2, 3, 4] {
        assert_eq!(choose(&replace(kind, None)), None, "{kind}");
    }
    // Without a key length AES has 128 bits. Without a duration, or with none, there is no lifetime.
    assert_eq!(choose(&replace(14, None)).unwrap().suite.encr, (encr::AES_CBC, 128));
    assert_eq!(choose(&replace(12, None)).unwrap().lifetime, None);
    assert_eq!(choose(&replace(12, Some(0))).unwrap().lifetime, None);
    let mut odd = offer(good.clone());
    odd[0].transforms[0].odd = true;
    assert_eq!(choose(&odd), None);
    let mut esp = offer(good.clone());
    esp[0].protocol = 3;
    assert_eq!(choose(&esp), None);
    let mut id = offer(good);
    id[0].transforms[0].id = 2;
    assert_eq!(choose(&id), None);
}

#[test]
fn our_offers_are_chosen_by_ourselves() {
    for weak in [&[][..], &Weak::ALL] {
        let ours = Phase1::defaults(weak);
        for method in BOTH {
            let offer = offer_phase1(&ours, method, HOUR * 8);
            let mut octets = Vec::new();
            sa_payload::emit(std::slice::from_ref(&offer), &mut octets);
            let parsed = sa_payload::parse(&octets).unwrap();
            let choice = choose_phase1(&ours, &parsed, &BOTH).unwrap();
            assert_eq!((choice.suite.to_string(), choice.method), ("aes256-sha256-ecp256".to_owned(), method));
            assert_eq!(choice.lifetime, Some(HOUR * 8));
            let numbers: Vec<usize> = offer.transforms.iter().map(|t| t.number.into()).collect();
            assert_eq!(numbers, (1..=offer.transforms.len()).collect::<Vec<_>>());
            // Each suite once, and each can be chosen.
            let suites: Vec<_> = parsed[0].transforms.iter().map(|t| phase1::suite_of(t).unwrap().0).collect();
            assert!(suites.iter().all(|s| suites.iter().filter(|o| *o == s).count() == 1));
        }
    }
    assert_eq!(offer_phase1(&Phase1::defaults(&[]), Method::Psk, HOUR).transforms.len(), 18);
}

fn esp(texts: &[&str]) -> Vec<EspProposal> {
    texts.iter().map(|t| parse_esp(t).unwrap()).collect()
}

const SPI: [u8; 4] = hex!("c0ffee01");

// As Windows 10 offers it for L2TP behind a NAT, put together from what logs tell of it: a proposal for each cipher, the
// lifetimes of 3600 s and 250000 KiB, encapsulation 4.
fn windows(encap: u32) -> Vec<Proposal> {
    let tail =
        |more: &[(u16, u32)]| [&[(4, encap), (5, 2), (1, 1), (2, 3600), (1, 2), (2, 250_000)][..], more].concat();
    [(12, Some(256)), (12, Some(128)), (3, None), (2, None), (11, None)]
        .into_iter()
        .zip(1..)
        .map(|((id, bits), number)| {
            let attributes = tail(&bits.map(|b| (6, b)).into_iter().collect::<Vec<_>>());
            Proposal { number, protocol: 3, spi: SPI.to_vec(), transforms: vec![Transform::new(1, id, attributes)] }
        })
        .collect()
}

#[test]
fn quick_mode_of_windows() {
    let ours = esp_defaults(&[Weak::Sha1]);
    for (encap, udp) in [(4, true), (61444, true), (2, false)] {
        let offer = windows(encap);
        let choice = choose_phase2(&ours, &offer, Mode::Transport, udp, false).unwrap();
        assert_eq!(choice.suite.to_string(), "aes256-sha1-noesn");
        assert_eq!((choice.spi_out, choice.mode, choice.lifetime), (0xc0ff_ee01, Mode::Transport, Some(HOUR)));
        assert_eq!(choice.reply, offer[0]);
        // NAT or not, the mode has to go with it.
        assert_eq!(choose_phase2(&ours, &offer, Mode::Transport, !udp, false), None);
        assert_eq!(choose_phase2(&ours, &offer, Mode::Tunnel, udp, false), None);
    }
    assert_eq!(choose_phase2(&esp_defaults(&[]), &windows(4), Mode::Transport, true, false), None);
    let old = choose_phase2(&esp(&["3des-sha1"]), &windows(4), Mode::Transport, true, false).unwrap();
    assert_eq!((old.suite.weak(), old.suite.key_lengths()), (vec!["sha1", "3des"], (24, 20)));
    assert_eq!(old.suite.to_string(), "3des-sha1-noesn");
    assert_eq!(old.reply.number, 3);
}

fn one(id: u8, attributes: &[(u16, u32)]) -> Vec<Proposal> {
    let transforms = vec![Transform::new(1, id, [&[(4, 2)][..], attributes].concat())];
    vec![Proposal { number: 1, protocol: 3, spi: SPI.to_vec(), transforms }]
}

#[test]
fn sha2_cut_to_96_bits_is_by_option() {
    let (ours, offer) = (esp(&["aes256-sha256"]), one(12, &[(5, 5), (6, 256)]));
    let integ = |cut: bool| choose_phase2(&ours, &offer, Mode::Transport, false, cut).unwrap().suite;
    assert_eq!(integ(false).integ, integ::HMAC_SHA2_256_128);
    assert_eq!(integ(true).integ, integ::HMAC_SHA2_256_96);
    assert_eq!((integ(true).to_string(), integ(true).key_lengths()), ("aes256-sha256_96-noesn".to_owned(), (32, 32)));
    assert!(integ(true).weak().is_empty());
}

#[test]
fn groups_of_quick_mode() {
    let offer = |group: Option<u32>| {
        one(12, &[&[(5, 2), (6, 128)][..], &group.map(|g| (3, g)).into_iter().collect::<Vec<_>>()].concat())
    };
    let choose = |ours: &str, group| {
        choose_phase2(&esp(&[ours]), &offer(group), Mode::Transport, false, false).map(|c| c.suite.ke)
    };
    assert_eq!(choose("aes128-sha1", None), Some(None));
    assert_eq!(choose("aes128-sha1", Some(14)), None);
    assert_eq!(choose("aes128-sha1-modp2048", Some(14)), Some(Some(14)));
    assert_eq!(choose("aes128-sha1-modp2048", None), None);
    assert_eq!(choose("aes128-sha1-none-modp1024", Some(2)), Some(Some(2)));
    assert_eq!(choose("aes128-sha1-none-modp1024", None), Some(None));
    assert_eq!(choose("aes128-sha1-none-modp2048", Some(2)), None);
}

#[test]
fn proposals_that_are_not_for_us() {
    let ours = esp(&["aes128-sha1", "aes128gcm16"]);
    let choose =
        |offer: &[Proposal]| choose_phase2(&ours, offer, Mode::Transport, false, false).map(|c| c.reply.number);
    let good = one(12, &[(5, 2), (6, 128)]);
    assert_eq!(choose(&good), Some(1));
    assert_eq!(choose(&one(12, &[(5, 2)])), Some(1));
    assert_eq!(choose(&one(20, &[(6, 128)])), Some(1));
    // AH and ESP under one number belong together.
    let ah = Proposal { protocol: 2, ..good[0].clone() };
    assert_eq!(choose(&[ah.clone(), good[0].clone()]), None);
    let second = Proposal { number: 2, ..good[0].clone() };
    assert_eq!(choose(&[ah, good[0].clone(), second]), Some(2));
    for spi in [&[][..], &[0, 0, 0, 255], &[1; 8]] {
        assert_eq!(choose(&[Proposal { spi: spi.to_vec(), ..good[0].clone() }]), None, "{spi:?}");
    }
    for (id, attributes) in [
        (12, &[(6, 128)][..]),              // no integrity
        (12, &[(5, 1), (6, 128)]),          // MD5
        (12, &[(5, 2), (6, 192)]),          // a key length that we do not have
        (12, &[(5, 2), (6, 128), (7, 1)]),  // rounds
        (12, &[(5, 2), (6, 128), (11, 1)]), // extended sequence numbers
        (12, &[(5, 2), (6, 128), (4, 2)]),  // the mode twice
        (20, &[(5, 2), (6, 128)]),          // GCM with HMAC
        (3, &[(5, 2)]),                     // not among ours
        (2, &[(5, 2)]),                     // DES
    ] {
        assert_eq!(choose(&one(id, attributes)), None, "{id} {attributes:?}");
    }
    let mut silent = good;
    silent[0].transforms[0].attributes.retain(|(kind, _)| *kind != 4);
    assert_eq!(choose(&silent), None);
}

#[test]
fn our_offers_of_phase_2() {
    for texts in [
        &["aes256gcm16-aes128gcm16", "aes256-aes128-sha256-sha1"][..],
        &["aes256-sha1-modp2048"],
        &["3des-sha1-none-modp1024"],
    ] {
        let ours = esp(texts);
        for encap in [Encap::Transport, Encap::UdpTransport, Encap::UdpTransportDraft, Encap::Tunnel] {
            let offer = offer_phase2(&ours, 0x1234_5678, encap, HOUR);
            let mut octets = Vec::new();
            sa_payload::emit(&offer, &mut octets);
            let parsed = sa_payload::parse(&octets).unwrap();
            let choice = choose_phase2(&ours, &parsed, encap.mode(), encap.udp(), false).unwrap();
            assert_eq!((choice.spi_out, choice.mode, choice.lifetime), (0x1234_5678, encap.mode(), Some(HOUR)));
            assert_eq!(choice.reply.transforms[0].get(4), Some(encap.number()));
            assert_eq!(choice.suite.ke, offered_group(&ours));
            // RFC 2409, section 5.5: one group for all.
            assert!(parsed.iter().flat_map(|p| &p.transforms).all(|t| t.get(3) == offered_group(&ours).map(u32::from)));
        }
    }
    assert_eq!(offer_phase2(&esp(&["aes256gcm16", "aes256-sha256-modp2048"]), 999, Encap::Tunnel, HOUR).len(), 1);
    // The transform, octet by octet.
    let mut octets = Vec::new();
    sa_payload::emit(&offer_phase2(&esp(&["aes256-sha1-modp2048"]), 999, Encap::UdpTransport, HOUR), &mut octets);
    let expected = hex!(
        "0000000100000001" "0000002c01030401000003e7" "00000020010c0000"
        "8001000180020e108003000e8004000480050002" "80060100"
    );
    assert_eq!(octets, expected);
    assert!(Encap::ALL.into_iter().all(|(e, n)| Encap::from_number(n) == Some(e) && e.number() == n));
    assert_eq!(Encap::from_number(5), None);
}

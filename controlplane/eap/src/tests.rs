//! A peer and a server; packets as other implementations send them; garbage.

use crate::method::md5_response;
use crate::packet::nak;
use crate::{Method, Packet, Peer, Server, State, Step, Type};
use Method::{Md5Challenge, MsChapV2};
use hex_literal::hex;
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

/// A random source with one answer.
struct Fixed([u8; 16]);

impl rand_core::TryRng for Fixed {
    type Error = std::convert::Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(0)
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(0)
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        out.copy_from_slice(&self.0);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Fixed {}

fn rng() -> StdRng {
    StdRng::seed_from_u64(1)
}

fn identity(id: u8) -> Vec<u8> {
    Packet::Request { id, kind: Type::IDENTITY, data: b"who" }.encode()
}

/// Runs to the end, each Request given `copies` times.
fn run(peer: &mut Peer, server: &mut Server, copies: usize) -> Option<Step> {
    let mut rng = rng();
    let mut request = identity(0xfe);
    for _ in 0..20 {
        let responses: Vec<_> = (0..copies).map(|_| peer.handle(&request, &mut rng)).collect();
        assert!(responses.iter().all(|r| *r == responses[0]));
        match server.handle(&responses[0].clone()?, &mut rng) {
            Step::Request(next) => request = next,
            end @ (Step::Success(_) | Step::Failure(_)) => {
                if let Step::Success(packet) | Step::Failure(packet) = &end {
                    peer.handle(packet, &mut rng);
                }
                return Some(end);
            }
            Step::Discard => panic!("discarded"),
        }
    }
    panic!("no end");
}

#[test]
fn each_method_and_each_nak() {
    let both = [Md5Challenge, MsChapV2];
    let cases: [(&[Method], &[Method], bool); 8] = [
        (&[Md5Challenge], &[Md5Challenge], true),
        (&[MsChapV2], &[MsChapV2], true),
        (&[MsChapV2], &both, true),
        (&[Md5Challenge], &both, true),
        (&both, &[MsChapV2], true),
        (&both, &both, true),
        (&[MsChapV2], &[Md5Challenge], false),
        (&[MsChapV2], &[], false),
    ];
    for (ours, theirs, good) in cases {
        for copies in 1..3 {
            let mut peer = Peer::new(b"user", b"secret", ours);
            let mut server = Server::new(theirs, b"gateway", b"secret");
            let end = run(&mut peer, &mut server, copies).unwrap();
            assert_eq!(matches!(end, Step::Success(_)), good, "{ours:?} {theirs:?}");
            assert_eq!(*peer.state() == State::Success, good);
            assert_eq!(peer.msk(), server.msk());
            let mschap = good && (ours == [MsChapV2] || theirs == [MsChapV2]);
            assert_eq!(peer.msk().is_some(), mschap, "{ours:?} {theirs:?}");
        }
    }
}

#[test]
fn a_wrong_password_is_refused_with_a_reason() {
    for method in [Md5Challenge, MsChapV2] {
        let mut peer = Peer::new(b"user", b"secre7", &[method]);
        let mut server = Server::new(&[method], b"gateway", b"secret");
        assert!(matches!(run(&mut peer, &mut server, 2), Some(Step::Failure(_))));
        let State::Failure(text) = peer.state() else { panic!() };
        assert_eq!(text.contains("691"), method == MsChapV2, "{text}");
        assert_eq!((peer.msk(), server.msk()), (None, None));
    }
}

/// RFC 2759, section 9.2, in EAP, as FreeRADIUS and strongSwan frame it.
#[test]
fn golden_mschapv2() {
    let mut rng = Fixed(hex!("21402324255E262A28295F2B3A337C7E"));
    let mut peer = Peer::new(b"User", b"clientPass", &[MsChapV2]);
    assert_eq!(peer.handle(&identity(1), &mut rng).unwrap(), hex!("02010009 01 55736572"));
    let challenge = hex!("0102001d 1a 01020018 10 5B5D7C7D7B3F2F3E3C2C602132262628 667265");
    let response = peer.handle(&challenge, &mut rng).unwrap();
    assert_eq!(
        response,
        hex!(
            "0202003f 1a 0202003a 31 21402324255E262A28295F2B3A337C7E 0000000000000000
             82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF 00 55736572"
        )
    );
    let mut success = hex!("01030033 1a 0303002e").to_vec();
    success.extend(b"S=407A5589115FD0D6209F510FE9C04566932CDA56");
    assert_eq!(peer.handle(&success, &mut rng).unwrap(), hex!("02030006 1a 03"));
    assert_eq!(peer.msk(), None, "not before Success");
    peer.handle(&hex!("03020004"), &mut rng);
    assert_eq!(*peer.state(), State::Running, "of another Response");
    peer.handle(&hex!("04030004"), &mut rng);
    assert_eq!(*peer.state(), State::Running, "results have been exchanged");
    peer.handle(&hex!("03030004"), &mut rng);
    assert_eq!(*peer.state(), State::Success);
    assert_eq!(peer.msk().unwrap()[..16], hex!("D5F0E9521E3EA9589645E86051C82226"));
    // Late copies, in any order, change nothing.
    assert_eq!(peer.handle(&challenge, &mut rng), Some(response.clone()));
    assert_eq!(*peer.state(), State::Success);
    // The server agrees with every octet.
    let mut server = Server::new(&[MsChapV2], b"fre", b"clientPass");
    let mut rng = Fixed(hex!("5B5D7C7D7B3F2F3E3C2C602132262628"));
    assert_eq!(server.handle(&hex!("02010009 01 55736572"), &mut rng), Step::Request(challenge.to_vec()));
    success.extend(b" M=welcome");
    (success[3], success[8]) = (success.len() as u8, success.len() as u8 - 5);
    assert_eq!(server.handle(&response, &mut rng), Step::Request(success));
    assert_eq!(server.handle(&response, &mut rng), Step::Discard);
    assert_eq!(server.handle(&hex!("02030006 1a 03"), &mut rng), Step::Success(hex!("03030004").to_vec()));
    assert_eq!(server.msk(), peer.msk());
}

#[test]
fn golden_md5_challenge() {
    let mut peer = Peer::new(b"user", b"secret", &[Md5Challenge]);
    let request = hex!("01010016 04 10 000102030405060708090a0b0c0d0e0f");
    // As in the test of PPP's CHAP; from Python's hashlib.
    let expected = hex!("0201001a 04 10 740e86463bda3a4d7017d6e0fba0699d 75736572");
    assert_eq!(peer.handle(&request, &mut rng()).unwrap(), expected);
    assert_ne!(md5_response(b"secret", 2, &request[6..]), expected[6..22]);
}

#[test]
fn an_impostor_is_not_believed() {
    // It accepts everybody, without a proof or with a wrong one.
    let mut server = Server::new(&[MsChapV2], b"gateway", b"guess");
    let (mut peer, mut rng) = (Peer::new(b"user", b"secret", &[MsChapV2]), rng());
    let Step::Request(challenge) = server.handle(&peer.handle(&identity(1), &mut rng).unwrap(), &mut rng) else {
        panic!()
    };
    peer.handle(&challenge, &mut rng).unwrap();
    peer.handle(&Packet::Success { id: challenge[1] }.encode(), &mut rng);
    assert_eq!(*peer.state(), State::Running);
    assert!(!peer.lower_layer_success() && !peer.no_answer());
    let mut data = vec![3, 3, 0, 46];
    data.extend(b"S=407A5589115FD0D6209F510FE9C04566932CDA56");
    let proof = Packet::Request { id: 9, kind: Type::MSCHAPV2, data: &data }.encode();
    assert_eq!(peer.handle(&proof, &mut rng), None);
    assert!(matches!(peer.state(), State::Failure(text) if text.contains("does not know")));
    assert_eq!(peer.handle(&identity(10), &mut rng), None, "it is over");
}

#[test]
fn a_method_once_answered_stays() {
    let (mut peer, mut rng) = (Peer::new(b"user", b"secret", &[MsChapV2, Md5Challenge]), rng());
    let tls = |id| Packet::Request { id, kind: Type::Legacy(13), data: &[0x20] }.encode();
    assert_eq!(peer.handle(&tls(2), &mut rng).unwrap(), hex!("02020007 03 1a04"));
    let expanded = Packet::Request { id: 3, kind: Type::Expanded { vendor: 0, kind: 13 }, data: &[] }.encode();
    let (kind, data) = nak(Type::Expanded { vendor: 0, kind: 13 }, &[Type::MSCHAPV2, Type::MD5_CHALLENGE]);
    assert_eq!(peer.handle(&expanded, &mut rng), Some(Packet::Response { id: 3, kind, data: &data }.encode()));
    let md5 = Packet::Request { id: 4, kind: Type::MD5_CHALLENGE, data: &[2, 7, 7] }.encode();
    assert!(peer.handle(&md5, &mut rng).is_some());
    assert_eq!(peer.handle(&tls(5), &mut rng), None);
    let mschap =
        Packet::Request { id: 6, kind: Type::MSCHAPV2, data: &hex!("01060015 10 000102030405060708090a0b0c0d0e0f") };
    assert_eq!(peer.handle(&mschap.encode(), &mut rng), None);
    let notification = Packet::Request { id: 7, kind: Type::NOTIFICATION, data: b"hello" }.encode();
    assert_eq!(peer.handle(&notification, &mut rng).unwrap(), hex!("02070005 02"));
    // It begins anew only with Identity.
    assert!(peer.handle(&identity(8), &mut rng).is_some());
    assert!(peer.handle(&mschap.encode(), &mut rng).is_some());
}

proptest! {
    #[test]
    fn garbage(packets in prop::collection::vec(
        (1..5u8, 0..4u8, prop::sample::select(vec![1u8, 2, 3, 4, 26, 254, 13]), prop::collection::vec(any::<u8>(), 0..70), any::<bool>()), 0..20)) {
        let mut rng = rng();
        let mut peer = Peer::new(b"user", b"secret", &[MsChapV2, Md5Challenge]);
        let mut server = Server::new(&[MsChapV2, Md5Challenge], b"gateway", b"secret");
        for (code, id, kind, mut data, op) in packets {
            if let (true, [first, ..]) = (op, &mut data[..]) {
                *first %= 5;
            }
            let mut octets = vec![code, id, 0, data.len() as u8 + 5, kind];
            octets.extend(&data);
            if let Some(response) = peer.handle(&octets, &mut rng) {
                let good = matches!(Packet::parse(&response), Some(Packet::Response { .. }));
                prop_assert!(good);
            }
            if let Step::Request(request) = server.handle(&octets, &mut rng) {
                let good = matches!(Packet::parse(&request), Some(Packet::Request { .. }));
                prop_assert!(good);
            }
            peer.handle(&data, &mut rng);
            server.handle(&data, &mut rng);
        }
        // Nobody proves by chance that he knows the password.
        prop_assert!(server.msk().is_none() && peer.msk().is_none());
    }
}

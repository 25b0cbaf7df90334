//! MS-CHAPv2 and EAP: both ends, each direction, over good and bad links; and single ends against a scripted peer.

use super::scripted::lcp_open;
use super::*;
use ::eap::Method;
use AuthMethod::{ChapMd5, Eap, MsChapV2, Pap};

/// Demanded, at hand, the EAP server's, and what it comes to.
type Case = (&'static [AuthMethod], &'static [AuthMethod], &'static [Method], AuthMethod);

/// Whether an authentication of this end by that method was renewed, or asked for at all.
fn asked(end: &End, renewed: bool) -> usize {
    let asked = |e: &&Event| match e {
        Event::AuthRequest(request) => request.renewed == renewed,
        Event::EapResponse(response) => response.renewed == renewed,
        _ => false,
    };
    end.events.iter().filter(asked).count()
}

#[test]
fn each_method_comes_up_in_each_direction() {
    let cases: [Case; 7] = [
        (&[MsChapV2], &[MsChapV2], &[], MsChapV2),
        (&[Eap], &[Eap], &[Method::MsChapV2], Eap),
        (&[Eap], &[Eap, ChapMd5], &[Method::Md5Challenge], Eap),
        // The server's first method is refused by Nak.
        (&[Eap], &[Eap], &[Method::Md5Challenge, Method::MsChapV2], Eap),
        (&[Eap, MsChapV2], &[MsChapV2], &[], MsChapV2),
        (&[MsChapV2, Eap], &[Eap, MsChapV2], &[Method::MsChapV2], MsChapV2),
        (&[Eap, MsChapV2, ChapMd5], &[ChapMd5], &[], ChapMd5),
    ];
    for (demand, have, eap_methods, expected) in cases {
        for seed in 0..20 {
            for towards_server in [true, false] {
                let mut sim = match towards_server {
                    true => Sim::new(seed, demanding(demand), client("wonderland", have)),
                    false => Sim::new(seed, client("rabbit", have), demanding(demand)),
                };
                if seed > 0 {
                    sim = sim.rough();
                }
                sim.ends.iter_mut().for_each(|e| e.eap_methods = eap_methods.to_vec());
                sim.open();
                assert!(sim.run(MINUTES, Sim::both_up), "{demand:?} {have:?} {seed} {towards_server}");
                let [server, client] = &sim.ends;
                let (checks, checked) = if towards_server { (server, client) } else { (client, server) };
                assert!(checks.has(|e| matches!(e, Event::LinkUp { auth, .. } if *auth == Some(expected))));
                assert!(checked.has(|e| matches!(e, Event::LinkUp { auth: None, .. })));
                assert!(checked.has(|e| *e == Event::Authenticated));
                assert!(asked(checks, false) > 0 && asked(checked, false) == 0);
                assert!(checks.events.iter().all(|e| match e {
                    Event::AuthRequest(r) => r.name == b"alice",
                    Event::EapResponse(r) => r.identity == b"alice",
                    _ => true,
                }));
            }
        }
    }
}

#[test]
fn mutual_in_all_combinations() {
    for ours in [MsChapV2, Eap, ChapMd5] {
        for theirs in [MsChapV2, Eap, ChapMd5] {
            for seed in 0..10 {
                let server = Config { credentials: credentials("rabbit", &[theirs]), ..demanding(&[ours]) };
                let client = Config { demand: vec![theirs], ..client("wonderland", &[ours]) };
                let mut sim = Sim::new(seed, server, client).rough();
                sim.open();
                assert!(sim.run(MINUTES, Sim::both_up), "{ours:?} {theirs:?} {seed}");
                for end in &sim.ends {
                    assert!(end.has(|e| *e == Event::Authenticated) && asked(end, false) > 0);
                }
            }
        }
    }
}

#[test]
fn wrong_passwords_end_the_link_before_any_network_protocol() {
    for (have, eap_method) in [
        (&[MsChapV2][..], Method::MsChapV2),
        (&[Eap][..], Method::MsChapV2),
        (&[Eap, ChapMd5][..], Method::Md5Challenge),
    ] {
        for seed in 0..10 {
            let mut sim = Sim::new(seed, demanding(&have[..1]), client("alice?", have));
            if seed > 0 {
                sim = sim.rough();
            }
            sim.ends[0].eap_methods = vec![eap_method];
            sim.open();
            assert!(sim.run(MINUTES, Sim::both_down), "{have:?} {seed}");
            assert_eq!(sim.ends[0].down(), Some(&DownReason::AuthRejected));
            let down = sim.ends[1].down().unwrap();
            match (seed, eap_method) {
                (0, Method::MsChapV2) => assert!(matches!(down, DownReason::AuthFailed(t) if t.contains("691"))),
                (0, Method::Md5Challenge) => assert!(matches!(down, DownReason::AuthFailed(_))),
                _ => assert!(matches!(
                    down,
                    DownReason::AuthFailed(_) | DownReason::PeerTerminated | DownReason::Timeout
                )),
            }
            assert_eq!(sim.network_frames(), 0, "H12");
        }
    }
}

/// An authenticator that lets everybody in but does not know the password.
#[test]
fn an_impostor_is_left() {
    for method in [MsChapV2, Eap] {
        for seed in 0..10 {
            let mut sim = Sim::new(seed, demanding(&[method]), client("not wonderland", &[method]));
            if seed > 0 {
                sim = sim.rough();
            }
            sim.ends[0].impostor = true;
            sim.open();
            assert!(sim.run(MINUTES, |s| s.ends[1].down().is_some()), "{method:?} {seed}");
            let down = sim.ends[1].down().unwrap();
            match (seed, method) {
                (0, MsChapV2) => assert!(matches!(down, DownReason::AuthFailed(t) if t.contains("does not know"))),
                // It never asked anything that could be answered.
                (0, _) => assert_eq!(*down, DownReason::AuthTimeout),
                _ => assert!(matches!(
                    down,
                    DownReason::AuthFailed(_) | DownReason::AuthTimeout | DownReason::PeerTerminated
                )),
            }
            assert!(!sim.ends[1].has(|e| *e == Event::Authenticated || matches!(e, Event::LinkUp { .. })));
            assert!(!sim.log.iter().any(|(from, f)| *from == 1 && f[0] == 0x80));
        }
    }
    // It knows how EAP-MSCHAPv2 goes, but not the password.
    let mut sim = Sim::new(1, demanding(&[Eap]), client("wonderlan", &[Eap]));
    sim.open();
    assert!(sim.run(MINUTES, Sim::both_down));
    assert!(!sim.ends[1].has(|e| *e == Event::Authenticated));
}

#[test]
fn nobody_is_talked_down() {
    for demand in [MsChapV2, Eap] {
        for have in [&[Pap][..], &[ChapMd5], &[Pap, ChapMd5]] {
            let mut sim = Sim::new(5, demanding(&[demand]), client("wonderland", have));
            sim.open();
            assert!(sim.run(MINUTES, |s| s.ends[0].down().is_some()));
            assert_eq!(sim.ends[0].down(), Some(&DownReason::AuthRefused));
            assert_eq!((sim.network_frames(), asked(&sim.ends[0], false)), (0, 0));
        }
        // The other way round: a server that wants PAP never sees the password.
        let mut sim = Sim::new(6, demanding(&[Pap]), client("wonderland", &[demand]));
        sim.open();
        assert!(sim.run(MINUTES, |s| s.ends[0].down().is_some()));
        assert!(!sim.log.iter().any(|(_, f)| f[..2] == hex!("c023")));
    }
}

#[test]
fn md5_in_eap_is_for_those_who_would_use_chap() {
    let mut sim = Sim::new(5, demanding(&[Eap]), client("wonderland", &[Eap]));
    sim.ends[0].eap_methods = vec![Method::Md5Challenge];
    sim.open();
    assert!(sim.run(MINUTES, Sim::both_down));
    assert_eq!(sim.ends[0].down(), Some(&DownReason::AuthRejected));
}

#[test]
fn renewals_do_not_disturb_the_link() {
    for (have, eap_method) in [
        (&[MsChapV2][..], Method::MsChapV2),
        (&[Eap][..], Method::MsChapV2),
        (&[Eap, ChapMd5][..], Method::Md5Challenge),
    ] {
        for seed in 0..10 {
            // Without echoes, which such a link loses too often.
            let rechallenge = Some(Duration::from_secs(20));
            let server = Config { rechallenge, echo_interval: None, ..demanding(&have[..1]) };
            let client = Config { echo_interval: None, ..client("wonderland", have) };
            let mut sim = Sim::new(seed, server, client).rough();
            sim.ends[0].eap_methods = vec![eap_method];
            sim.open();
            sim.run(MINUTES, |_| false);
            assert!(sim.ends.iter().all(|e| e.down().is_none()), "{have:?} {seed}");
            assert!(asked(&sim.ends[0], true) >= 5, "{have:?} {seed}");
            let authenticated = sim.ends[1].events.iter().filter(|e| **e == Event::Authenticated).count();
            assert_eq!(authenticated, 1);
            // Whose password no longer holds is out at the next renewal.
            sim.ends[0].secret = "changed";
            assert!(sim.run(MINUTES, Sim::both_down));
            assert_eq!(sim.ends[0].down(), Some(&DownReason::AuthRejected), "{have:?} {seed}");
        }
    }
}

fn demand_of(l: &mut Link, now: Instant) -> Vec<u8> {
    l.open(now);
    l.poll_transmit().unwrap()
}

#[test]
fn lcp_option_octets() {
    let now = Instant::now();
    let request = demand_of(&mut link(now, 1, demanding(&[MsChapV2])), now);
    assert!(request.windows(5).any(|w| w == hex!("0305c22381")));
    let request = demand_of(&mut link(now, 1, demanding(&[Eap])), now);
    assert!(request.windows(4).any(|w| w == hex!("0304c227")));
    // MS-CHAPv1 (0x80) is not known; we name what we would do.
    let mut l = link(now, 1, client("x", &[MsChapV2]));
    demand_of(&mut l, now);
    l.handle_input(now, &hex!("c021 0101 0009 0305c22380"));
    assert_eq!(l.poll_transmit().unwrap(), hex!("c021 0301 0009 0305c22381"));
}

/// The example of RFC 2759, section 9.2, seen by the authenticator, with messages as RADIUS gives them.
#[test]
fn mschap_messages_are_passed_through() {
    let now = Instant::now();
    for accept in [true, false] {
        let mut l = lcp_open(now, demanding(&[MsChapV2]));
        let challenge = l.poll_transmit().unwrap();
        assert_eq!(challenge[..3], hex!("c22301"));
        let mut data = hex!(
            "31 21402324255E262A28295F2B3A337C7E 0000000000000000 82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF 00"
        )
        .to_vec();
        data.extend(b"User");
        let response = Packet { code: 2, id: challenge[3], data: &data }.frame(protocol::CHAP);
        // Too short for MS-CHAPv2.
        let short = Packet { code: 2, id: challenge[3], data: &[&[16][..], &[7; 16], b"User"].concat() };
        l.handle_input(now, &short.frame(protocol::CHAP));
        assert_eq!(l.poll_event(), None);
        l.handle_input(now, &response);
        let Some(Event::AuthRequest(request)) = l.poll_event() else { panic!() };
        let Proof::MsChapV2 { id, challenge: sent, response: octets } = &request.proof else { panic!() };
        assert_eq!((*id, &sent[..], &octets[..]), (challenge[3], &challenge[7..23], &data[1..50]));
        let message = match accept {
            true => "S=407A5589115FD0D6209F510FE9C04566932CDA56 M=hi".to_owned(),
            false => "E=648 R=1 C=5B5D7C7D7B3F2F3E3C2C602132262628 V=3 M=Password expired".to_owned(),
        };
        let reply = Reply { mschap: Some(message.clone()), ..Reply::default() };
        l.auth_result(now, if accept { AuthVerdict::Accept(reply) } else { AuthVerdict::Reject(reply) });
        let answer = l.poll_transmit().unwrap();
        assert_eq!(answer[2], if accept { 3 } else { 4 });
        // There is no second try.
        assert_eq!(answer[6..], *message.replace("R=1", "R=0").as_bytes());
        assert_eq!(l.phase(), if accept { Phase::Network } else { Phase::Terminate });
    }
}

#[test]
fn mschap_is_not_accepted_without_the_proof() {
    let now = Instant::now();
    let mut l = lcp_open(now, demanding(&[MsChapV2]));
    let id = l.poll_transmit().unwrap()[3];
    let data = [&[49][..], &[7; 49], b"User"].concat();
    l.handle_input(now, &Packet { code: 2, id, data: &data }.frame(protocol::CHAP));
    l.auth_result(now, AuthVerdict::Accept("welcome".into()));
    let answer = l.poll_transmit().unwrap();
    assert_eq!(answer[2], 4);
    assert_eq!(mschap::Failure::parse(&answer[6..]).unwrap().error, 691);
    assert_eq!(l.phase(), Phase::Terminate);
}

/// Opens LCP with a peer that demands `option` of us.
fn demanded(option: &[u8], config: Config) -> Link {
    let now = Instant::now();
    let mut l = link(now, 1, config);
    let mut ours = demand_of(&mut l, now);
    ours[2] = code::CONFIGURE_ACK;
    l.handle_input(now, &ours);
    let request = Packet { code: 1, id: 1, data: option }.frame(protocol::LCP);
    l.handle_input(now, &request);
    assert_eq!(l.poll_transmit().unwrap()[2], code::CONFIGURE_ACK);
    l
}

/// Mutual: the link, and our own challenge or Request.
fn reflected(option: &[u8], method: AuthMethod) -> (Link, Vec<u8>) {
    let mut l = demanded(option, Config { credentials: credentials("x", &[method]), ..demanding(&[method]) });
    let challenge = l.poll_transmit().unwrap();
    (l, challenge)
}

#[test]
fn our_own_questions_are_not_answered() {
    let now = Instant::now();
    let (mut l, challenge) = reflected(&hex!("0305c22381"), MsChapV2);
    l.handle_input(now, &challenge);
    assert_eq!(l.poll_transmit(), None);
    let (mut l, identity) = reflected(&hex!("0304c227"), Eap);
    l.handle_input(now, &Packet { code: 2, id: identity[3], data: b"\x01alice" }.frame(protocol::EAP));
    assert!(matches!(l.poll_event(), Some(Event::EapResponse(_))));
    let question = hex!("0142001d 1a 01420018 10 000102030405060708090a0b0c0d0e0f 616161");
    l.eap_request(now, &question);
    let mut frame = l.poll_transmit().unwrap();
    l.handle_input(now, &frame);
    frame[3] = 0x43;
    l.handle_input(now, &frame);
    assert_eq!(l.poll_transmit(), None);
    // A question of the peer's own is.
    *frame.last_mut().unwrap() ^= 1;
    frame[20] ^= 1;
    l.handle_input(now, &frame);
    assert_eq!(l.poll_transmit().unwrap()[2], 2);
}

#[test]
fn eap_passes_through() {
    let now = Instant::now();
    let mut l = lcp_open(now, demanding(&[Eap]));
    let ask = l.poll_transmit().unwrap();
    assert_eq!((&ask[..3], &ask[4..]), (&hex!("c22701")[..], &hex!("000501")[..]));
    // Another identifier, another type: not an answer. A copy: not a second question to the owner.
    let respond = |id, data: &[u8]| Packet { code: 2, id, data }.frame(protocol::EAP);
    l.handle_input(now, &respond(ask[3].wrapping_add(1), b"\x01bob"));
    l.handle_input(now, &respond(ask[3], b"\x03\x1a"));
    assert_eq!(l.poll_event(), None);
    let identity = [&respond(ask[3], b"\x01bob")[..], &[0; 3]].concat();
    l.handle_input(now, &identity);
    l.handle_input(now, &identity);
    let Some(Event::EapResponse(response)) = l.poll_event() else { panic!() };
    assert_eq!((&response.identity[..], response.renewed), (&b"bob"[..], false));
    assert_eq!(response.packet, identity[2..10], "without padding");
    assert_eq!((l.poll_event(), l.poll_transmit()), (None, None));
    // EAP-TLS, of which we know nothing, retransmitted until answered.
    let request = hex!("01090006 0d 20");
    l.eap_request(now, &request);
    assert_eq!(l.poll_transmit().unwrap()[2..], request);
    l.eap_request(now, &request);
    assert_eq!(l.poll_transmit(), None, "nobody asked");
    let at = now + Duration::from_secs(3);
    l.handle_timeout(at);
    assert_eq!(l.poll_transmit().unwrap()[2..], request);
    l.handle_input(at, &respond(9, b"\x0dxyz"));
    assert!(
        matches!(l.poll_event(), Some(Event::EapResponse(r)) if r.identity == b"bob" && r.packet.ends_with(b"xyz"))
    );
    l.auth_result(at, AuthVerdict::Accept(Reply { eap: Some(hex!("03090004").to_vec()), ..Reply::default() }));
    assert_eq!(l.poll_transmit().unwrap(), hex!("c227 03090004"));
    assert!(matches!(l.poll_event(), Some(Event::LinkUp { auth: Some(Eap), .. })));
    // Again: a new identifier, and the link says that it is up.
    l.rechallenge(at);
    let ask = l.poll_transmit().unwrap();
    assert_eq!(ask, hex!("c227 010a0005 01"));
    l.handle_input(at, &respond(10, b"\x01bob"));
    assert!(matches!(l.poll_event(), Some(Event::EapResponse(r)) if r.renewed));
    // The verdict decides, whatever the packet says (RFC 3579, section 2.6.3).
    l.auth_result(at, AuthVerdict::Reject(Reply { eap: Some(hex!("030a0004").to_vec()), ..Reply::default() }));
    assert_eq!(l.poll_transmit().unwrap(), hex!("c227 040a0004"));
    assert_eq!(l.phase(), Phase::Terminate);
}

#[test]
fn an_eap_request_that_is_none_rejects_the_peer() {
    let now = Instant::now();
    for bad in [&hex!("02090006 0d 20")[..], &hex!("01090007 0d 20"), &[], &hex!("03090004")] {
        let mut l = lcp_open(now, demanding(&[Eap]));
        let id = l.poll_transmit().unwrap()[3];
        l.handle_input(now, &Packet { code: 2, id, data: b"\x01bob" }.frame(protocol::EAP));
        l.eap_request(now, bad);
        assert_eq!(l.poll_transmit().unwrap()[2], 4);
        assert_eq!(l.phase(), Phase::Terminate);
    }
}

#[test]
fn silence_in_eap_ends_the_link() {
    let mut now = Instant::now();
    let mut l = lcp_open(now, Config { echo_interval: None, ..demanding(&[Eap]) });
    let mut asked = 0;
    while l.phase() == Phase::Authenticate {
        while let Some(frame) = l.poll_transmit() {
            asked += usize::from(frame[..3] == hex!("c22701"));
        }
        now = l.poll_timeout().unwrap();
        l.handle_timeout(now);
    }
    assert_eq!(asked, 10);
    while let Some(at) = l.poll_timeout() {
        l.handle_timeout(at);
    }
    assert_eq!(l.poll_event(), Some(Event::Down(DownReason::AuthTimeout)));
}

/// EAP's Success is sent once. If it is lost, the peer's IPCP says the same, but only if the method was through.
#[test]
fn a_lost_success_is_made_up_for() {
    for through in [true, false] {
        let mut sim = Sim::new(1, demanding(&[Eap]), client("wonderland", &[Eap]));
        sim.ends[0].impostor = !through;
        sim.open();
        let lost = |s: &Sim| s.log.iter().any(|(_, f)| f[..3] == hex!("c22703"));
        assert!(sim.run(MINUTES, lost));
        sim.wire.retain(|(.., f)| f[..3] != hex!("c22703"));
        assert_eq!(sim.run(Duration::from_secs(20), Sim::both_up), through);
        assert_eq!(sim.ends[1].has(|e| *e == Event::Authenticated), through);
    }
}

proptest! {
    /// No authenticator gets past us by chance, and none makes us panic.
    #[test]
    fn garbage_for_a_client(in_eap: bool, frames in prop::collection::vec(
        (1..5u8, 0..3u8, prop::sample::select(vec![1u8, 2, 3, 26, 254, 16]), 0..5u8, prop::collection::vec(any::<u8>(), 0..60)), 0..40)) {
        let now = Instant::now();
        let (option, number, method) = match in_eap {
            true => (&hex!("0304c227")[..], protocol::EAP, Eap),
            false => (&hex!("0305c22381")[..], protocol::CHAP, MsChapV2),
        };
        let mut l = demanded(option, Config { credentials: credentials("x", &[method]), ..Config::default() });
        for (code, id, kind, op, rest) in frames {
            let data = [&[kind, op][..], &rest].concat();
            l.handle_input(now, &Packet { code, id, data: &data }.frame(number));
            while l.poll_transmit().is_some() {}
        }
        while let Some(event) = l.poll_event() {
            prop_assert!(matches!(event, Event::Down(_)));
        }
    }
}

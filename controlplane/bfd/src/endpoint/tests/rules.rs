//! RFC 5880, sections 6.8.1 to 6.8.7 rule by rule, and the rules of RFC 5881 around them.

use super::bench::*;
use crate::auth::{Auth, AuthType, Authenticator, Key};
use crate::endpoint::*;
use crate::packet::Diag;
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::time::Duration;

#[test]
fn packets_that_no_session_may_see() {
    let mut bench = Bench::new(config());
    let good = bench.packet(State::Down).encode(&[]);
    let cases: [(usize, u8, Discard); 6] = [
        (0, 0x40, Discard::Version),
        (3, 23, Discard::Short),
        (3, 25, Discard::Length),
        (2, 0, Discard::DetectMult),
        (1, 0x41, Discard::Multipoint),
        (1, 0x44, Discard::Short), // A, and 24 octets
    ];
    for (at, octet, reason) in cases {
        let mut bad = good.clone();
        bad[at] = octet;
        assert_eq!(bench.input(SINGLE, &bad), Err(reason));
    }
    let no_discriminator = Packet { my_discriminator: 0, ..bench.packet(State::Down) };
    assert_eq!(bench.give(no_discriminator), Err(Discard::MyDiscriminator));
    let info = bench.info();
    assert_eq!((info.state, info.received, info.remote_discriminator), (State::Down, 0, 0));
    assert_eq!(bench.input(SINGLE, &good), Ok(()));
    assert_eq!(bench.state(), State::Init);
}

#[test]
fn your_discriminator_selects_the_session() {
    let mut bench = Bench::new(config());
    let other = bench.endpoint.add(bench.now, SessionConfig { remote: ELSEWHERE, ..config() }).unwrap();
    bench.accept(bench.packet(State::Down));
    assert_eq!(bench.state(), State::Init);
    assert_eq!(bench.endpoint.session(other).unwrap().state, State::Down);
    let unknown = bench.id.discriminator() ^ other.discriminator() ^ 1;
    let unknown = Packet { your_discriminator: unknown, ..bench.packet(State::Down) };
    assert_eq!(bench.give(unknown), Err(Discard::UnknownDiscriminator));
}

#[test]
fn your_discriminator_zero_is_for_a_peer_that_is_down() {
    for (state, want) in [
        (State::Up, Err(Discard::State)),
        (State::Init, Err(Discard::State)),
        (State::Down, Ok(())),
        (State::AdminDown, Ok(())),
    ] {
        let mut bench = Bench::new(config());
        assert_eq!(bench.give(Packet { your_discriminator: 0, ..bench.packet(state) }), want, "{state:?}");
    }
}

#[test]
fn without_your_discriminator_addresses_select_the_session() {
    let mut bench = Bench::new(config());
    let multi = bench.endpoint.add(bench.now, SessionConfig { multihop: true, ..config() }).unwrap();
    let down = Packet { your_discriminator: 0, ..bench.packet(State::Down) }.encode(&[]);
    assert_eq!(bench.input(Meta { remote: ELSEWHERE, ..SINGLE }, &down), Err(Discard::UnknownAddress));
    assert_eq!(bench.input(Meta { local: ELSEWHERE, ..SINGLE }, &down), Err(Discard::UnknownAddress));
    assert_eq!(bench.input(MULTI, &down), Ok(()));
    assert_eq!((bench.state(), bench.endpoint.session(multi).unwrap().state), (State::Down, State::Init));
    assert_eq!(bench.input(SINGLE, &down), Ok(()));
    assert_eq!(bench.state(), State::Init);
}

#[test]
fn a_discriminator_from_elsewhere_is_not_believed() {
    let mut bench = Bench::up();
    let down = bench.packet(State::Down).encode(&[]);
    assert_eq!(bench.input(Meta { remote: ELSEWHERE, ..SINGLE }, &down), Err(Discard::Address));
    assert_eq!(bench.input(Meta { local: ELSEWHERE, ..SINGLE }, &down), Err(Discard::Address));
    // The multihop port does not get around the TTL.
    assert_eq!(bench.input(MULTI, &down), Err(Discard::Address));
    assert_eq!(bench.state(), State::Up);
}

/// RFC 5881, section 5: single-hop packets have not been forwarded.
#[test]
fn ttl_is_255() {
    let mut bench = Bench::up();
    let down = bench.packet(State::Down).encode(&[]);
    for ttl in [0, 1, 254] {
        assert_eq!(bench.input(Meta { ttl, ..SINGLE }, &down), Err(Discard::Ttl));
    }
    assert_eq!(bench.input(Meta { port: 3785, ..SINGLE }, &down), Err(Discard::Port));
    assert_eq!(bench.state(), State::Up);
    assert_eq!(bench.input(SINGLE, &down), Ok(()));
    assert_eq!(bench.state(), State::Down);
}

#[test]
fn authentication_is_as_configured() {
    let auth = Auth { auth_type: AuthType::MeticulousKeyedSha1, keys: vec![Key::new(1, "secret")] };
    let mut signer = Authenticator::new(auth.clone(), &mut StdRng::seed_from_u64(9));

    let mut clear = Bench::new(config());
    let signed = signer.sign(&clear.packet(State::Down));
    assert_eq!(clear.input(SINGLE, &signed), Err(Discard::AuthUnexpected));
    assert_eq!(clear.info().received, 0);

    let mut bench = Bench::new(SessionConfig { auth: Some(auth), ..config() });
    assert_eq!(bench.give(bench.packet(State::Down)), Err(Discard::AuthMissing));
    let mut signed = signer.sign(&bench.packet(State::Down));
    let replay = signed.clone();
    signed[40] ^= 1;
    assert_eq!(bench.input(SINGLE, &signed), Err(Discard::AuthHash));
    let simple = bench.packet(State::Down).encode(&[1, 9, 1, b's', b'e', b'c', b'r', b'e', b't']);
    assert_eq!(bench.input(SINGLE, &simple), Err(Discard::AuthType));
    assert_eq!((bench.state(), bench.info().received), (State::Down, 0));
    assert_eq!(bench.input(SINGLE, &replay), Ok(()));
    assert_eq!((bench.state(), bench.info().authenticated), (State::Init, true));
    assert_eq!(bench.input(SINGLE, &replay), Err(Discard::AuthSequence));

    // RFC 5880, section 6.8.1: numbers are forgotten after two Detection Times without a packet, not before.
    let detection = bench.info().detection_time.unwrap();
    bench.pass(2 * detection - Duration::from_micros(1));
    assert_eq!(bench.input(SINGLE, &replay), Err(Discard::AuthSequence));
    bench.pass(Duration::from_micros(1));
    assert_eq!(bench.input(SINGLE, &replay), Ok(()));
}

#[test]
fn variables_are_taken_from_the_packet() {
    let mut bench = Bench::new(config());
    let diag = Diag::PathDown;
    let said = bench.accept(Packet { diag, detect_mult: 7, required_min_rx: 2_000_000, ..bench.packet(State::Down) });
    let info = bench.info();
    assert_eq!((info.remote_state, info.remote_diag, info.remote_discriminator), (State::Down, diag, PEER));
    assert_eq!((info.tx_interval, info.detection_time), (Some(ms(2000)), Some(ms(700))));
    // What changed is said at once.
    assert_eq!(said.len(), 1);
    assert_eq!(
        (said[0].state, said[0].your_discriminator, said[0].my_discriminator),
        (State::Init, PEER, bench.id.discriminator())
    );
    assert_eq!((said[0].desired_min_tx, said[0].required_min_rx, said[0].detect_mult), (1_000_000, 100_000, 3));
    assert!(!said[0].poll && !said[0].final_ && !said[0].demand && !said[0].control_plane_independent);

    // The peer may change its discriminator; nothing changed is not worth a packet.
    let said = bench.accept(Packet { my_discriminator: 5, ..bench.packet(State::Down) });
    assert_eq!(said.iter().map(|p| p.your_discriminator).collect::<Vec<_>>(), [5]);
    assert_eq!(bench.accept(Packet { my_discriminator: 5, ..bench.packet(State::Down) }), []);
}

#[test]
fn a_final_ends_the_poll_sequence() {
    let mut bench = Bench::new(config());
    bench.accept(bench.packet(State::Down));
    let said = bench.accept(bench.packet(State::Up));
    assert_eq!((said[0].poll, said[0].state, said[0].desired_min_tx), (true, State::Up, 100_000));
    // P goes on until the Final is there.
    bench.accept(bench.packet(State::Up));
    let said = bench.pass(ms(100));
    assert!(!said.is_empty() && said.iter().all(|(_, p)| p.poll && !p.final_));
    assert!(bench.info().polling);
    bench.accept(Packet { final_: true, ..bench.packet(State::Up) });
    let said = bench.pass(ms(100));
    assert!(!said.is_empty() && said.iter().all(|(_, p)| !p.poll));
    assert!(!bench.info().polling);
}

#[test]
fn admin_down_takes_variables_and_nothing_else() {
    let mut bench = Bench::up();
    bench.endpoint.set_enabled(bench.now, bench.id, false).unwrap();
    let diag = Diag::AdministrativelyDown;
    assert_eq!(bench.endpoint.poll_event(), Some(Event::Down { id: bench.id, diag, remote_admin: false }));
    let said = bench.sent();
    assert_eq!((said[0].state, said[0].diag, said[0].desired_min_tx), (State::AdminDown, diag, 1_000_000));
    for state in State::ALL {
        let packet = Packet { poll: true, required_min_rx: 3_000_000, ..bench.packet(state) };
        assert_eq!(bench.give(packet), Err(Discard::AdminDown));
        assert_eq!(bench.sent(), [], "no Final");
        assert_eq!(
            (bench.state(), bench.info().remote_state, bench.info().tx_interval),
            (State::AdminDown, state, Some(ms(3000)))
        );
    }
    // The peer is told for as long as it lasts.
    let said = bench.pass(Duration::from_secs(60));
    assert!(said.len() >= 19 && said.iter().all(|(_, p)| p.state == State::AdminDown));
    bench.endpoint.set_enabled(bench.now, bench.id, true).unwrap();
    assert_eq!((bench.state(), bench.sent()[0].state), (State::Down, State::Down));
}

#[test]
fn the_state_follows_the_peer() {
    // Our state, what the peer says, our next state, our diagnostic.
    let signaled = Diag::NeighborSignaledSessionDown;
    for (peer, next, diag) in [
        (State::AdminDown, State::Down, Diag::None),
        (State::Down, State::Init, Diag::None),
        (State::Init, State::Up, Diag::None),
        (State::Up, State::Down, Diag::None),
    ] {
        let mut bench = Bench::new(config());
        bench.accept(bench.packet(peer));
        assert_eq!((bench.state(), bench.info().diag), (next, diag), "Down, {peer:?}");
    }
    for (peer, next, diag) in [
        (State::AdminDown, State::Down, signaled),
        (State::Down, State::Init, Diag::None),
        (State::Init, State::Up, Diag::None),
        (State::Up, State::Up, Diag::None),
    ] {
        let mut bench = Bench::new(config());
        bench.accept(bench.packet(State::Down));
        bench.accept(bench.packet(peer));
        assert_eq!((bench.state(), bench.info().diag), (next, diag), "Init, {peer:?}");
    }
    for (peer, next, remote_admin) in [
        (State::AdminDown, State::Down, true),
        (State::Down, State::Down, false),
        (State::Init, State::Up, false),
        (State::Up, State::Up, false),
    ] {
        let mut bench = Bench::up();
        bench.accept(bench.packet(peer));
        assert_eq!(bench.state(), next, "Up, {peer:?}");
        let down = (next == State::Down).then_some(Event::Down { id: bench.id, diag: signaled, remote_admin });
        assert_eq!(bench.endpoint.poll_event(), down);
        assert_eq!((bench.info().downs, bench.endpoint.stats().downs), (u64::from(down.is_some()), bench.info().downs));
    }
}

#[test]
fn a_poll_is_answered_at_once_in_every_state() {
    for state in [State::Down, State::Init, State::Up] {
        let mut bench = Bench::up();
        if state != State::Up {
            bench.accept(bench.packet(State::AdminDown));
        }
        if state == State::Init {
            bench.accept(bench.packet(State::Down));
        }
        assert_eq!(bench.state(), state);
        let peer = if state == State::Down { State::AdminDown } else { bench.info().remote_state };
        let said = bench.accept(Packet { poll: true, ..bench.packet(peer) });
        assert_eq!(said.len(), 1);
        assert_eq!((said[0].poll, said[0].final_, said[0].state), (false, true, state));
    }
}

/// RFC 5880, section 6.8.7.
#[test]
fn a_peer_that_wants_no_packets_gets_none() {
    let mut bench = Bench::up();
    bench.accept(Packet { required_min_rx: 0, detect_mult: 200, ..bench.packet(State::Up) });
    assert_eq!((bench.pass(ms(5000)), bench.info().tx_interval), (vec![], None));
    let said = bench.accept(Packet { required_min_rx: 0, poll: true, ..bench.packet(State::Up) });
    assert!(said[0].final_, "but an answer it gets");
    bench.accept(Packet { detect_mult: 200, ..bench.packet(State::Up) });
    assert!(bench.pass(ms(5000)).len() >= 50);
}

#[test]
fn a_peer_in_demand_mode_is_left_alone_while_both_are_up() {
    let mut bench = Bench::up();
    let demand = Packet { demand: true, detect_mult: 200, ..bench.packet(State::Up) };
    bench.accept(demand);
    assert_eq!(bench.pass(ms(5000)), []);
    bench.accept(demand);
    // A change is polled, though.
    let timing = Timing { desired_min_tx: ms(300), ..config().timing() };
    bench.endpoint.set_timing(bench.now, bench.id, timing).unwrap();
    assert!(bench.sent()[0].poll);
    let said = bench.pass(ms(1000));
    assert!(said.len() >= 10 && said.iter().all(|(_, p)| p.poll && p.desired_min_tx == 300_000));
    bench.accept(Packet { final_: true, ..demand });
    assert_eq!(bench.pass(ms(5000)), []);
    bench.accept(Packet { demand: false, ..demand });
    assert!(!bench.pass(ms(300)).is_empty());
}

#[test]
fn only_packets_that_count_hold_a_session_up() {
    let mut bench = Bench::up();
    assert_eq!(bench.info().detection_time, Some(ms(300)));
    bench.pass(ms(299));
    assert_eq!(bench.give(Packet { detect_mult: 0, ..bench.packet(State::Up) }), Err(Discard::DetectMult));
    assert_eq!((bench.state(), bench.endpoint.poll_event()), (State::Up, None));
    let said = bench.pass(ms(1));
    let diag = Diag::ControlDetectionTimeExpired;
    assert_eq!(bench.endpoint.poll_event(), Some(Event::Down { id: bench.id, diag, remote_admin: false }));
    // The peer is forgotten (RFC 5880, section 6.8.1), and told at once, slowly from now on.
    let (_, last) = said.last().unwrap();
    assert_eq!((last.state, last.diag, last.your_discriminator), (State::Down, diag, 0));
    assert_eq!((last.desired_min_tx, last.poll, bench.info().detection_time), (1_000_000, false, None));
}

/// RFC 5880, section 6.8.18: so we may send at our own rate again, however seldom the peer wanted packets.
#[test]
fn a_silent_peer_no_longer_sets_our_rate() {
    for required_min_rx in [0, 30_000_000] {
        let mut bench = Bench::up();
        bench.accept(Packet { required_min_rx, ..bench.packet(State::Up) });
        let said = bench.pass(ms(5000));
        assert_eq!(bench.info().tx_interval, Some(ms(1000)));
        assert!(said.len() >= 5 && said.iter().all(|(_, p)| p.state == State::Down && !p.poll));
    }
}

/// RFC 5880, section 6.8.3: new parameters go with the Final, they do not wait for a packet of their own.
#[test]
fn a_final_says_what_the_poll_has_changed() {
    let mut bench = Bench::new(config());
    bench.accept(bench.packet(State::Down));
    let said = bench.accept(Packet { poll: true, ..bench.packet(State::Up) });
    assert_eq!(said.len(), 1);
    assert_eq!((said[0].final_, said[0].state, said[0].desired_min_tx), (true, State::Up, 100_000));
    let said = bench.pass(ms(100));
    assert!(!said.is_empty() && said.iter().all(|(_, p)| p.poll), "our own Poll follows");
}

#[test]
fn init_is_given_up_as_well() {
    let mut bench = Bench::new(config());
    bench.accept(bench.packet(State::Down));
    bench.pass(ms(299));
    assert_eq!(bench.state(), State::Init);
    bench.pass(ms(1));
    assert_eq!((bench.state(), bench.info().diag), (State::Down, Diag::ControlDetectionTimeExpired));
    assert_eq!((bench.endpoint.poll_event(), bench.info().downs), (None, 0), "it was not up");
}

/// RFC 5880, section 6.8.3: a peer that can receive faster does not wait for the old interval.
#[test]
fn a_shorter_interval_of_the_peer_is_honored_at_once() {
    let mut bench = Bench::up();
    bench.accept(Packet { required_min_rx: 10_000_000, detect_mult: 200, ..bench.packet(State::Up) });
    bench.pass(ms(3000));
    bench.accept(Packet { detect_mult: 200, ..bench.packet(State::Up) });
    let said = bench.pass(ms(100));
    assert_eq!(said.first().map(|(after, _)| *after), Some(Duration::ZERO));
}

#[test]
fn packets_keep_their_distance() {
    for (detect_mult, most) in [(1, 900), (3, 1000)] {
        let mut bench = Bench::up();
        let timing = Timing { detect_mult, ..config().timing() };
        bench.endpoint.set_timing(bench.now, bench.id, timing).unwrap();
        bench.sent();
        bench.accept(Packet { required_min_rx: 1_000_000, detect_mult: 255, ..bench.packet(State::Up) });
        let said = bench.pass(Duration::from_secs(24));
        assert!(said.len() >= 23);
        let gaps: Vec<_> = said.windows(2).map(|w| (w[1].0 - w[0].0).as_millis()).collect();
        assert!(gaps.iter().all(|gap| (750..=most).contains(gap)), "{gaps:?}");
        assert!(gaps.iter().max() > gaps.iter().min(), "jitter");
    }
}

proptest! {
    /// Whatever comes, nothing panics, each packet is counted once, and no deadline stays in the past.
    #[test]
    fn garbage(inputs in proptest::collection::vec(
        (0u64..2000, any::<bool>(), proptest::collection::vec(any::<u8>(), 0..60), any::<[u8; 3]>()), 1..60)
    ) {
        let mut bench = Bench::new(config());
        for (wait, near, noise, [state, at, octet]) in inputs {
            let mut octets = bench.packet(State::from_bits(state)).encode(&[]);
            if near {
                let at = usize::from(at) % octets.len();
                octets[at] = octet;
            } else {
                octets = noise;
            }
            let _ = bench.input(SINGLE, &octets);
            bench.sent();
            for _ in 0..2000 {
                let until = bench.now + ms(wait);
                match bench.endpoint.poll_timeout() {
                    Some(next) if next <= until => {
                        bench.now = bench.now.max(next);
                        bench.endpoint.handle_timeout(bench.now);
                        bench.sent();
                        prop_assert!(bench.endpoint.poll_timeout().is_none_or(|at| at > bench.now));
                    }
                    _ => break,
                }
            }
        }
    }
}

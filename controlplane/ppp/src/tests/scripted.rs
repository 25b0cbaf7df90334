//! One end, and a peer that says exactly what is written here.

use super::*;

/// An LCP Configure-Request as pppd sends it over L2TP, then its CCP: async map rejected, the rest acknowledged, and
/// CCP answered by Protocol-Reject once the network phase is there, and by silence before.
#[test]
fn pppd_as_the_peer() {
    let now = Instant::now();
    let mut l = link(now, 1, Config { echo_interval: None, ..Config::default() });
    l.open(now);
    let ours = l.poll_transmit().unwrap();
    l.handle_input(now, &hex!("c021 0101 0014 0206 00000000 0506 a1b2c3d4 0702 0802"));
    assert_eq!(l.poll_transmit().unwrap(), hex!("c021 0401 000a 0206 00000000"));
    l.handle_input(now, &hex!("c021 0102 000e 0506 a1b2c3d4 0702 0802"));
    assert_eq!(l.poll_transmit().unwrap(), hex!("c021 0202 000e 0506 a1b2c3d4 0702 0802"));
    let mut ack = ours.clone();
    ack[2] = code::CONFIGURE_ACK;
    let ccp = hex!("80fd 0101 000f 1a04 7800 1804 7800 150301");
    l.handle_input(now, &ccp);
    l.handle_input(now, &ack);
    assert!(matches!(l.poll_event(), Some(Event::LinkUp { .. })));
    l.handle_input(now, &ccp);
    let ipv6 = Ipv6cpConfig { local_iid: Some(InterfaceId([0, 0, 0, 0, 0, 0, 0, 1])), peer_iid: None };
    // pppd's IPV6CP is faster than our AAA.
    l.handle_input(now, &hex!("8057 0101 000e 010a 0000000000000000"));
    assert_eq!(l.poll_transmit(), None);
    l.start_network(now, NetworkConfig { ipv4: None, ipv6: Some(ipv6) });
    assert_eq!(l.poll_transmit().unwrap(), hex!("8057 0101 000e 010a 0000000000000001"));
    let nak = l.poll_transmit().unwrap();
    assert_eq!(nak[..8], hex!("8057 0301 000e 010a"));
    l.handle_input(now, &ccp);
    let reject = l.poll_transmit().unwrap();
    assert_eq!((&reject[..3], &reject[6..]), (&hex!("c02108")[..], &ccp[..]));
    // Its IPCP, which this subscriber does not have.
    l.handle_input(now, &hex!("8021 0101 000a 0306 00000000"));
    assert_eq!(l.poll_transmit().unwrap()[6..], hex!("8021 0101 000a 0306 00000000"));
    // Collision with our own identifier.
    l.handle_input(now, &hex!("8057 0102 000e 010a 0000000000000001"));
    assert_eq!(l.poll_transmit().unwrap()[2], code::CONFIGURE_NAK);
    l.handle_input(now, &hex!("8057 0103 000e 010a 0000000000000002"));
    assert_eq!(l.poll_transmit().unwrap()[2], code::CONFIGURE_ACK);
    l.handle_input(now, &hex!("8057 0201 000e 010a 0000000000000001"));
    assert!(matches!(l.poll_event(), Some(Event::Ipv6Up { peer_iid: InterfaceId([0, 0, 0, 0, 0, 0, 0, 2]), .. })));
    // Echo with the peer's magic number is answered with ours; Identification and Discard-Request are swallowed.
    l.handle_input(now, &hex!("c021 0907 000a a1b2c3d4 abcd"));
    let reply = l.poll_transmit().unwrap();
    assert_eq!(reply[..6], hex!("c021 0a07 000a"));
    assert_eq!(reply[10..], hex!("abcd"));
    l.handle_input(now, &hex!("c021 0c08 000b a1b2c3d4 616263"));
    l.handle_input(now, &hex!("c021 0b09 0008 a1b2c3d4"));
    assert_eq!(l.poll_transmit(), None);
    // A code that we do not know.
    l.handle_input(now, &hex!("c021 6309 0004"));
    assert_eq!(l.poll_transmit().unwrap()[2], code::CODE_REJECT);
    assert_eq!(l.poll_event(), None);
}

/// Brings LCP up against a scripted peer and returns the link.
pub(super) fn lcp_open(now: Instant, config: Config) -> Link {
    let mut l = lcp_open_or_not(now, config);
    assert_eq!(l.poll_transmit().unwrap()[2], code::CONFIGURE_ACK);
    l
}

#[test]
fn no_network_protocol_before_authentication() {
    let now = Instant::now();
    let mut l = lcp_open(now, demanding(&[AuthMethod::ChapMd5]));
    let challenge = l.poll_transmit().unwrap();
    assert_eq!(challenge[..3], hex!("c22301"));
    l.start_network(now, NetworkConfig { ipv4: Some(IpcpConfig::default()), ipv6: Some(Ipv6cpConfig::default()) });
    l.handle_input(now, &hex!("8021 0101 000a 0306 0a000007"));
    l.handle_input(now, &hex!("8057 0101 000e 010a 0000000000000002"));
    l.auth_result(now, AuthVerdict::Accept("".into()));
    assert_eq!(l.poll_transmit(), None);
    assert_eq!(l.poll_event(), None);
    assert_eq!(l.phase(), Phase::Authenticate);
}

#[test]
fn a_repeated_response_gets_the_same_reply_and_a_late_one_no_second_question() {
    let now = Instant::now();
    let mut l = lcp_open(now, demanding(&[AuthMethod::ChapMd5]));
    let challenge = l.poll_transmit().unwrap();
    let packet = Packet::parse(&challenge[2..]).unwrap();
    let (value, name) = chap::parse_value(packet.data).unwrap();
    assert_eq!(name, b"gateway");
    let mut data = vec![16];
    data.extend(chap::response(b"wonderland", packet.id, value));
    data.extend(b"alice");
    let response = Packet { code: 2, id: packet.id, data: &data }.frame(protocol::CHAP);
    l.handle_input(now, &response);
    l.handle_input(now, &response);
    let Some(Event::AuthRequest(request)) = l.poll_event() else { panic!() };
    assert_eq!((request.name.as_slice(), request.renewed), (&b"alice"[..], false));
    assert_eq!(l.poll_event(), None);
    l.auth_result(now, AuthVerdict::Accept("hi".into()));
    let success = l.poll_transmit().unwrap();
    assert_eq!(success[2], 3);
    l.handle_input(now, &response);
    assert_eq!(l.poll_transmit(), Some(success));
    assert!(matches!(l.poll_event(), Some(Event::LinkUp { .. })));
    // A new challenge is answered under another name: out.
    l.rechallenge(now);
    let challenge = l.poll_transmit().unwrap();
    let packet = Packet::parse(&challenge[2..]).unwrap();
    let mut data = vec![16; 17];
    data.extend(b"bob");
    l.handle_input(now, &Packet { code: 2, id: packet.id, data: &data }.frame(protocol::CHAP));
    assert!(matches!(l.poll_event(), Some(Event::AuthRequest(r)) if r.renewed));
    l.auth_result(now, AuthVerdict::Accept("hi".into()));
    assert_eq!(l.poll_transmit().unwrap()[2], 4);
    assert_eq!(l.phase(), Phase::Terminate);
}

/// A peer that starts LCP over loses everything, and has to be authenticated again before it gets anything back.
#[test]
fn renegotiation_starts_over_with_authentication() {
    let methods = [AuthMethod::ChapMd5];
    let mut sim = Sim::new(15, demanding(&methods), client("wonderland", &methods));
    sim.open();
    assert!(sim.run(MINUTES, Sim::both_up));
    let requests = |s: &Sim| s.ends[0].events.iter().filter(|e| matches!(e, Event::AuthRequest(_))).count();
    assert_eq!(requests(&sim), 1);
    // The client's machine restarts: another link, another magic number.
    let config = client("wonderland", &methods);
    sim.ends[1].link = link(sim.now, 99, config);
    sim.ends.iter_mut().for_each(|e| e.events.retain(|x| matches!(x, Event::AuthRequest(_))));
    sim.log.clear();
    sim.ends[1].link.open(sim.now);
    sim.run(MS * 8, |_| false);
    assert!(sim.ends[0].has(|e| *e == Event::Ipv4Down) && sim.ends[0].has(|e| *e == Event::Ipv6Down));
    assert_eq!(sim.network_frames(), 0, "H12");
    assert_eq!(requests(&sim), 1);
    assert!(sim.run(MINUTES, Sim::both_up));
    assert_eq!(requests(&sim), 2);
}

#[test]
fn our_own_challenge_is_not_answered() {
    let now = Instant::now();
    let config = Config { credentials: credentials("x", &[AuthMethod::ChapMd5]), ..demanding(&[AuthMethod::ChapMd5]) };
    let mut l = link(now, 1, config);
    l.open(now);
    let mut ours = l.poll_transmit().unwrap();
    ours[2] = code::CONFIGURE_ACK;
    l.handle_input(now, &ours);
    l.handle_input(now, &hex!("c021 0101 000f 0305c22305 0506a1b2c3d4"));
    assert_eq!(l.poll_transmit().unwrap()[2], code::CONFIGURE_ACK);
    let challenge = l.poll_transmit().unwrap();
    l.handle_input(now, &challenge);
    assert_eq!(l.poll_transmit(), None);
}

#[test]
fn rechallenges_do_not_disturb_the_link() {
    let methods = [AuthMethod::ChapMd5];
    let server = Config { rechallenge: Some(Duration::from_secs(20)), ..demanding(&methods) };
    let mut sim = Sim::new(13, server, client("wonderland", &methods)).rough();
    sim.open();
    sim.run(MINUTES, |_| false);
    let renewed = sim.ends[0].events.iter().filter(|e| matches!(e, Event::AuthRequest(r) if r.renewed)).count();
    assert!(renewed >= 5, "{renewed}");
    assert!(sim.ends.iter().all(|e| e.down().is_none()));
}

#[test]
fn an_assigned_address_is_not_negotiable() {
    let now = Instant::now();
    let mut l = lcp_open(now, Config::default());
    l.start_network(
        now,
        NetworkConfig {
            ipv4: Some(IpcpConfig { local: Some(SERVER_V4), peer: Some(CLIENT_V4), ..IpcpConfig::default() }),
            ipv6: None,
        },
    );
    for id in 1..=6u8 {
        let mut request = hex!("8021 0101 000a 0306 0a000063");
        request[3] = id;
        l.handle_input(now, &request);
    }
    let codes: Vec<u8> = std::iter::from_fn(|| l.poll_transmit()).map(|f| f[2]).collect();
    assert_eq!(codes, [1, 3, 3, 3, 3, 3, code::TERMINATE_REQUEST]);
}

fn config_strategy() -> impl Strategy<Value = Config> {
    use AuthMethod::{ChapMd5, Eap, MsChapV2, Pap};
    (0..6u8, any::<bool>()).prop_map(|(demand, creds)| Config {
        demand: match demand {
            0 => vec![],
            1 => vec![AuthMethod::Pap],
            2 => vec![AuthMethod::ChapMd5],
            3 => vec![AuthMethod::MsChapV2],
            4 => vec![AuthMethod::Eap],
            _ => vec![AuthMethod::ChapMd5, AuthMethod::Pap],
        },
        credentials: credentials("s", &[ChapMd5, Pap, MsChapV2, Eap]).filter(|_| creds),
        ..Config::default()
    })
}

proptest! {
    /// Garbage, with plausible headers to get past the first checks, never panics and never opens the network
    /// without authentication.
    #[test]
    fn garbage(config in config_strategy(), frames in prop::collection::vec(
        (0..8usize, 0..16u8, 0..4u8, prop::collection::vec(any::<u8>(), 0..40), any::<bool>()), 0..60)) {
        let mut now = Instant::now();
        let demands = !config.demand.is_empty();
        let mut l = lcp_open_or_not(now, config);
        for (number, code, id, data, raw) in frames {
            let number = [0xc021, 0xc023, 0xc223, 0x8021, 0x8057, 0x80fd, 0x0021, 0xc227][number];
            if raw {
                let mut frame = u16::to_be_bytes(number).to_vec();
                frame.extend(&data);
                l.handle_input(now, &frame);
            } else {
                l.handle_input(now, &Packet { code, id, data: &data }.frame(number));
            }
            while let Some(event) = l.poll_event() {
                if let Event::EapResponse(_) = event {
                    l.eap_request(now, &data);
                }
                if let Event::LinkUp { .. } = event {
                    prop_assert!(!demands);
                    l.start_network(now, NetworkConfig { ipv4: Some(IpcpConfig::default()), ipv6: Some(Ipv6cpConfig::default()) });
                }
            }
            while l.poll_transmit().is_some() {}
            if let Some(at) = l.poll_timeout().filter(|_| id == 0) {
                now = now.max(at);
                l.handle_timeout(now);
            }
        }
    }
}

fn lcp_open_or_not(now: Instant, config: Config) -> Link {
    let mut l = link(now, 1, config);
    l.open(now);
    let mut ours = l.poll_transmit().unwrap();
    ours[2] = code::CONFIGURE_ACK;
    l.handle_input(now, &ours);
    l.handle_input(now, &hex!("c021 0101 000a 0506 a1b2c3d4"));
    l
}

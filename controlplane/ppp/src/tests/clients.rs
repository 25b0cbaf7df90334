//! What clients in the field do: a peer as Windows, whatever else it says at whatever time, and clients without IPv6.

use super::scripted::lcp_open;
use super::*;

/// Where a disturbance may come in.
const STAGES: usize = 9;

/// A peer as Windows, whose words are written here. `disturb` is called at each stage of the way up with what may be said
/// to the link there.
fn windows(mut disturb: impl FnMut(usize, &mut dyn FnMut(&[u8]))) -> (Link, Vec<Event>) {
    let now = Instant::now();
    let config = Config { demand: vec![AuthMethod::ChapMd5, AuthMethod::MsChapV2], ..demanding(&[]) };
    let mut l = link(now, 1, Config { echo_interval: None, ..config });
    let mut events = Vec::new();
    let mut stage = 0;
    let mut pause = |l: &mut Link, events: &mut Vec<Event>| {
        disturb(stage, &mut |frame| l.handle_input(now, frame));
        stage += 1;
        events.extend(std::iter::from_fn(|| l.poll_event()));
    };
    // The last frame of a protocol that the link sends.
    let sent = |l: &mut Link, number: &[u8], code: u8| {
        let all = std::iter::from_fn(|| l.poll_transmit());
        all.filter(|f| f[..2] == *number && f[2] == code).last().unwrap_or_else(|| panic!("no {code} of {number:x?}"))
    };
    let (lcp, ipcp) = (hex!("c021"), hex!("8021"));
    pause(&mut l, &mut events);
    l.open(now);
    let ours = sent(&mut l, &lcp, code::CONFIGURE_REQUEST);
    pause(&mut l, &mut events);
    // MRU, magic number, compression of both fields; and callback, which is not for us.
    l.handle_input(now, &hex!("c021 0100 0015 0104 0578 0506 1a2b3c4d 0702 0802 0d03 06"));
    assert_eq!(sent(&mut l, &lcp, code::CONFIGURE_REJECT), hex!("c021 0400 0007 0d0306"));
    pause(&mut l, &mut events);
    // MS-CHAPv2 and nothing else.
    assert!(ours.windows(5).any(|w| w == hex!("0305c22305")));
    l.handle_input(now, &[&hex!("c021 03")[..], &ours[3..4], &hex!("0009 0305 c22381")].concat());
    let mut ours = sent(&mut l, &lcp, code::CONFIGURE_REQUEST);
    assert!(ours.windows(5).any(|w| w == hex!("0305c22381")));
    l.handle_input(now, &hex!("c021 0101 0012 0104 0578 0506 1a2b3c4d 0702 0802"));
    pause(&mut l, &mut events);
    ours[2] = code::CONFIGURE_ACK;
    l.handle_input(now, &ours);
    let challenge = sent(&mut l, &hex!("c223"), 1);
    assert_eq!(l.phase(), Phase::Authenticate);
    pause(&mut l, &mut events);
    let data = [&[49][..], &[7; 49], b"alice"].concat();
    l.handle_input(now, &Packet { code: 2, id: challenge[3], data: &data }.frame(protocol::CHAP));
    pause(&mut l, &mut events);
    assert!(matches!(events.pop(), Some(Event::AuthRequest(_))));
    let mschap = Some("S=407A5589115FD0D6209F510FE9C04566932CDA56 M=hi".to_owned());
    l.auth_result(now, AuthVerdict::Accept(Reply { mschap, ..Reply::default() }));
    pause(&mut l, &mut events);
    assert!(matches!(events.pop(), Some(Event::LinkUp { auth: Some(AuthMethod::MsChapV2), mtu: 1400, .. })));
    let ipv4 = IpcpConfig { local: Some(SERVER_V4), peer: Some(CLIENT_V4), dns: vec![DNS], request_dns: false };
    let ipv6 = Ipv6cpConfig { local_iid: Some(InterfaceId([0, 0, 0, 0, 0, 0, 0, 1])), peer_iid: None };
    l.start_network(now, NetworkConfig { ipv4: Some(ipv4), ipv6: Some(ipv6) });
    let mut ours = sent(&mut l, &ipcp, code::CONFIGURE_REQUEST);
    pause(&mut l, &mut events);
    // Address, two DNS and two NBNS servers; what there is not is rejected, the rest is told.
    l.handle_input(now, &hex!("8021 0120 0022 0306 00000000 8106 00000000 8206 00000000 8306 00000000 8406 00000000"));
    let reject = hex!("8021 0420 0016 8206 00000000 8306 00000000 8406 00000000");
    assert_eq!(sent(&mut l, &ipcp, code::CONFIGURE_REJECT), reject);
    l.handle_input(now, &hex!("8021 0121 0010 0306 00000000 8106 00000000"));
    assert_eq!(sent(&mut l, &ipcp, code::CONFIGURE_NAK), hex!("8021 0321 0010 0306 0a000007 8106 09090909"));
    l.handle_input(now, &hex!("8021 0122 0010 0306 0a000007 8106 09090909"));
    ours[2] = code::CONFIGURE_ACK;
    l.handle_input(now, &ours);
    pause(&mut l, &mut events);
    (l, events)
}

fn ipv4_is_up(l: &Link, events: &[Event]) {
    assert!(matches!(events, [Event::Ipv4Up { peer: Some(CLIENT_V4), .. }]), "{events:?}");
    assert_eq!(l.phase(), Phase::Network);
}

#[test]
fn undisturbed() {
    let mut stages = 0;
    let (l, events) = windows(|_, _| stages += 1);
    ipv4_is_up(&l, &events);
    assert_eq!(stages, STAGES);
}

/// CCP before, during and after authentication; Protocol-Rejects of CCP, which we do not speak, and of others; Identification
/// and Time-Remaining (RFC 1570) and their rejection; IPV6CP and IPCP too early. At each stage, each disturbs nothing.
#[test]
fn nothing_that_comes_out_of_turn_ends_the_session() {
    let frames: [&[u8]; 14] = [
        &hex!("80fd 0105 000a 1206 01000000"),
        &hex!("80fd 0105 000f 1a04 7800 1804 7800 150301"),
        &hex!("80fd 0506 0004"),
        &hex!("c021 0807 0010 80fd 0105 000a 1206 01000000"),
        &hex!("c021 0807 0006 80fd"),
        &hex!("c021 0807 0006 8281"),
        &hex!("c021 0807 0004"),
        &hex!("c021 0c02 0012 1a2b3c4d 4d53524153 56352e3230"),
        &hex!("c021 0c03 0008 1a2b3c4d"),
        &hex!("c021 0d04 000c 1a2b3c4d 00000e10"),
        &hex!("c021 0705 0008 0c010004"),
        &hex!("8057 0105 000e 010a 0000000000000000"),
        &hex!("8281 0101 0004"),
        &hex!("c021 0b06 0008 1a2b3c4d"),
    ];
    for (i, frame) in frames.into_iter().enumerate() {
        for stage in 0..STAGES {
            let (l, events) = windows(|at, say| {
                if at == stage {
                    say(frame);
                    say(frame);
                }
            });
            let events: Vec<_> = events.into_iter().filter(|e| !matches!(e, Event::Ipv6Up { .. })).collect();
            assert!(matches!(&events[..], [Event::Ipv4Up { .. }]), "frame {i} at stage {stage}: {events:?}");
            assert_eq!(l.phase(), Phase::Network, "frame {i} at stage {stage}");
        }
        // And at all of them.
        let (l, events) = windows(|_, say| say(frame));
        ipv4_is_up(&l, &events);
    }
}

/// IPCP that comes before its time is not answered, but for the last request of a peer that was faster than our AAA.
#[test]
fn ipcp_out_of_turn() {
    for stage in 0..STAGES - 1 {
        let (l, events) = windows(|at, say| {
            if at == stage {
                say(&hex!("8021 011f 000a 0306 00000000"));
            }
        });
        ipv4_is_up(&l, &events);
    }
}

#[test]
fn ccp_is_rejected_once_there_is_a_network_phase_and_dropped_before() {
    let ccp = hex!("80fd 0105 000a 1206 01000000");
    let (mut l, _) = windows(|_, _| {});
    while l.poll_transmit().is_some() {}
    l.handle_input(Instant::now(), &ccp);
    let reject = l.poll_transmit().unwrap();
    assert_eq!((&reject[..3], &reject[6..]), (&hex!("c02108")[..], &ccp[..]));
    let mut l = lcp_open(Instant::now(), demanding(&[AuthMethod::MsChapV2]));
    assert_eq!(l.poll_transmit().unwrap()[..3], hex!("c22301"));
    l.handle_input(Instant::now(), &ccp);
    assert_eq!((l.poll_transmit(), l.phase()), (None, Phase::Authenticate));
}

/// A client without IPv6 rejects IPV6CP, when it is asked or as soon as it can.
#[test]
fn a_client_without_ipv6_has_ipv4() {
    let reject = hex!("c021 0809 0014 8057 0101 000e 010a 0000000000000001");
    for stage in [4, 5, 6, 7, 8] {
        let (mut l, events) = windows(|at, say| {
            if at >= stage {
                say(&reject);
            }
        });
        ipv4_is_up(&l, &events);
        // Later timeouts of IPV6CP find nothing to end.
        let mut now = Instant::now();
        for _ in 0..30 {
            let Some(at) = l.poll_timeout() else { break };
            now = now.max(at);
            l.handle_timeout(now);
            assert_eq!(l.poll_event(), None);
        }
        assert_eq!(l.phase(), Phase::Network);
    }
}

/// A client that says nothing to IPV6CP, neither yes nor no, has IPv4 all the same.
#[test]
fn silence_about_ipv6_does_not_end_ipv4() {
    let (mut l, events) = windows(|_, _| {});
    ipv4_is_up(&l, &events);
    let start = Instant::now();
    while let Some(at) = l.poll_timeout().filter(|at| *at < start + Duration::from_secs(3600)) {
        l.handle_timeout(at.max(start));
        while l.poll_transmit().is_some() {}
        assert_eq!(l.poll_event(), None);
    }
    assert_eq!(l.phase(), Phase::Network);
}

/// They Nak whatever is not MS-CHAPv2, and reject nothing.
#[test]
fn clients_with_mschapv2_only() {
    use AuthMethod::{ChapMd5, Eap, MsChapV2, Pap};
    for demand in [&[MsChapV2][..], &[ChapMd5, MsChapV2], &[Eap, ChapMd5, Pap, MsChapV2], &[MsChapV2, ChapMd5]] {
        for seed in 0..10 {
            let mut sim = Sim::new(seed, demanding(demand), client("wonderland", &[MsChapV2]));
            if seed > 0 {
                sim = sim.rough();
            }
            sim.open();
            assert!(sim.run(MINUTES, Sim::both_up), "{demand:?} {seed}");
            assert!(sim.ends[0].has(|e| matches!(e, Event::LinkUp { auth: Some(MsChapV2), .. })));
        }
    }
}

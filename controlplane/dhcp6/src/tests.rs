//! Golden octets (made with scapy), malformed input, the server's answers, and client and server over a lossy wire
//! on a virtual clock.

mod addresses;
mod relay;

use crate::lease::Kind;
use crate::option::{code, status};
use crate::packet::{ALL_DHCP_SERVERS, ALL_NODES, Udp, to_client, to_servers};
use crate::ra::{Rdnss, parse_solicitation, solicitation};
use crate::*;
use hex_literal::hex;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

const SOLICIT: &[u8] = &hex!(
    "01123456 0001000a0003000102000000000a 000800020000
     00190029 00000007 00000000 00000000 001a0019 00000000 00000000 38 00000000000000000000000000000000
     000600020017"
);
const REPLY: &[u8] = &hex!(
    "07123456 0002000a0002000000090c0ffee0 0001000a0003000102000000000a
     00190029 00000007 00000708 00000b40 001a0019 00000e10 00001c20 38 20010db8010000000000000000000000
     00170010 20010db8000000000000000000000053"
);

fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn prefix(text: &str, length: u8) -> Prefix {
    Prefix::new(v6(text), length).unwrap()
}

fn client_duid() -> Duid {
    Duid::new(&hex!("0003000102000000000a")).unwrap()
}

fn server_config(prefixes: &[Prefix]) -> ServerConfig {
    ServerConfig {
        duid: Duid::new(&hex!("0002000000090c0ffee0")).unwrap(),
        prefixes: prefixes.to_vec(),
        addresses: Vec::new(),
        preferred: 3600,
        valid: 7200,
        dns: vec![v6("2001:db8::53")],
    }
}

fn delegated() -> Prefix {
    prefix("2001:db8:100::", 56)
}

#[test]
fn codec_agrees_with_scapy() {
    let message = Message::parse(SOLICIT).unwrap();
    let hint = IaPrefix { preferred: 0, valid: 0, length: 56, prefix: Ipv6Addr::UNSPECIFIED, status: None };
    let expected = Message {
        kind: MessageType::Solicit,
        transaction: [0x12, 0x34, 0x56],
        options: vec![
            DhcpOption::ClientId(client_duid()),
            DhcpOption::ElapsedTime(0),
            DhcpOption::IaPd(Ia { iaid: 7, prefixes: vec![hint], ..Ia::default() }),
            DhcpOption::OptionRequest(vec![code::DNS_SERVERS]),
        ],
    };
    assert_eq!(message, expected);
    assert_eq!(message.encode(), SOLICIT);
    assert_eq!(Message::parse(REPLY).unwrap().encode(), REPLY);
}

#[test]
fn a_rapid_commit_reply_is_scapys_but_for_its_option() {
    let mut server = Server::new(server_config(&[delegated()]));
    let mut solicit = SOLICIT.to_vec();
    solicit.extend(hex!("000e0000"));
    let reply = server.handle_input(Instant::now(), &solicit).unwrap();
    let mut reply = Message::parse(&reply).unwrap();
    assert!(reply.rapid_commit());
    reply.options.retain(|o| *o != DhcpOption::RapidCommit);
    assert_eq!(reply.encode(), REPLY);
    assert_eq!(server.poll_event(), Some(ServerEvent::Bound { lease: Lease::Prefix(delegated()) }));
}

#[test]
fn lengths_that_do_not_fit_are_refused() {
    // dhcproto 0.15 underflows on this one: a status code option of length 0.
    assert_eq!(Message::parse(&hex!("01000000000d00000001")), None);
    assert_eq!(Message::parse(&hex!("01000000 000d0000")), None);
    assert_eq!(Message::parse(&hex!("01000000 000d0001 00")), None);
    assert!(Message::parse(&hex!("01000000 000d0002 0000")).is_some());
    // IA_PD shorter than its fixed part; a prefix option inside that is; one with a length of 129.
    assert_eq!(Message::parse(&hex!("01000000 0019000b 0000000000000000000000")), None);
    assert_eq!(Message::parse(&hex!("01000000 00190010 000000000000000000000000 001a0000")), None);
    let mut long = SOLICIT.to_vec();
    let at = long.windows(2).position(|w| w == hex!("3800")).unwrap();
    long[at] = 129;
    assert_eq!(Message::parse(&long), None);
    // DUIDs of 2 and 131 octets.
    assert_eq!(Message::parse(&hex!("01000000 00010002 0001")), None);
    assert_eq!(Duid::new(&[0; 131]), None);
    for cut in 4..SOLICIT.len() {
        let _ = Message::parse(&SOLICIT[..cut]);
    }
    // Relay messages have no place here.
    assert_eq!(Message::parse(&hex!("0c000000")), None);
}

#[test]
fn udp_agrees_with_scapy() {
    let packet = to_servers(v6("fe80::2"), SOLICIT).unwrap();
    let mut expected =
        hex!("6000000000531140fe800000000000000000000000000002ff0200000000000000000000000100020222022300536e73")
            .to_vec();
    expected.extend(SOLICIT);
    assert_eq!(packet, expected);
    let udp = Udp::parse(&packet).unwrap();
    assert_eq!((udp.destination, udp.source_port, udp.destination_port), (ALL_DHCP_SERVERS, 546, 547));
    assert_eq!(udp.payload, SOLICIT);
    let back = to_client(v6("fe80::1"), v6("fe80::2"), REPLY).unwrap();
    assert_eq!(Udp::parse(&back).unwrap().payload, REPLY);
    for bit in 0..packet.len() * 8 {
        // Version and traffic class, flow label and hop limit are not covered by the checksum.
        if (4..32).contains(&bit) || (56..64).contains(&bit) {
            continue;
        }
        let mut broken = packet.clone();
        broken[bit / 8] ^= 0x80 >> (bit % 8);
        assert_eq!(Udp::parse(&broken), None, "{bit}");
    }
}

#[test]
fn router_discovery_agrees_with_scapy() {
    let ra = RouterAdvertisement {
        hop_limit: 64,
        other: true,
        router_lifetime: 1800,
        mtu: Some(1426),
        prefixes: vec![PrefixInformation {
            prefix: prefix("2001:db8:1::", 64),
            on_link: false,
            autonomous: true,
            valid: 7200,
            preferred: 3600,
        }],
        dns: Some(Rdnss { lifetime: 1800, servers: vec![v6("2001:db8::53")] }),
        ..RouterAdvertisement::default()
    };
    let packet = ra.packet(v6("fe80::1"), ALL_NODES).unwrap();
    assert_eq!(
        packet,
        hex!(
            "6000000000503afffe800000000000000000000000000001ff020000000000000000000000000001860040ce404007080000000000
             000000050100000000059203044040 00001c2000000e10 00000000 20010db8000100000000000000000000
             1903000000000708 20010db8000000000000000000000053"
        )
    );
    assert_eq!(RouterAdvertisement::parse_packet(&packet), Some((v6("fe80::1"), ra)));
    let rs = solicitation(v6("fe80::2")).unwrap();
    assert_eq!(
        rs,
        hex!("6000000000083afffe800000000000000000000000000002ff02000000000000000000000000000285007d3500000000")
    );
    assert_eq!(parse_solicitation(&rs), Some(v6("fe80::2")));
    // Forwarded, so not from this link.
    let mut forwarded = rs.clone();
    forwarded[7] = 254;
    assert_eq!(parse_solicitation(&forwarded), None);
    let mut damaged = rs;
    damaged[45] ^= 1;
    assert_eq!(parse_solicitation(&damaged), None);
    // An option of length zero.
    assert_eq!(RouterAdvertisement::parse(&hex!("86000000400007080000000000000000 0500000000000592")), None);
}

fn message(kind: MessageType, server: Option<&Duid>, ias: &[Ia]) -> Vec<u8> {
    let mut options = vec![DhcpOption::ClientId(client_duid())];
    options.extend(server.cloned().map(DhcpOption::ServerId));
    options.extend(ias.iter().cloned().map(DhcpOption::IaPd));
    Message { kind, transaction: [1, 2, 3], options }.encode()
}

fn ia(iaid: u32) -> Ia {
    Ia { iaid, ..Ia::default() }
}

fn delegations(message: &Message) -> impl Iterator<Item = &Ia> {
    message.associations().filter(|(kind, _)| *kind == Kind::Prefix).map(|(_, ia)| ia)
}

#[test]
fn the_session_has_so_many_prefixes_and_no_more() {
    let now = Instant::now();
    let second = prefix("2001:db8:200::", 56);
    let mut server = Server::new(server_config(&[delegated(), second]));
    let duid = server_config(&[]).duid;
    let request = message(MessageType::Request, Some(&duid), &[ia(1), ia(2), ia(3)]);
    for round in 0..2 {
        let reply = Message::parse(&server.handle_input(now, &request).unwrap()).unwrap();
        assert_eq!(reply.kind, MessageType::Reply);
        let ias: Vec<&Ia> = delegations(&reply).collect();
        assert_eq!(ias[0].prefixes[0].prefix, delegated().address());
        assert_eq!((ias[0].t1, ias[0].t2), (1800, 2880));
        assert_eq!(ias[1].prefixes[0].prefix, second.address());
        assert_eq!(ias[2].status.as_ref().unwrap().code, status::NO_PREFIX_AVAIL);
        let events: Vec<_> = std::iter::from_fn(|| server.poll_event()).collect();
        assert_eq!(events.len(), if round == 0 { 2 } else { 0 }, "a repeated Request changes nothing");
    }
    // Release of one, by its association only.
    let held = |iaid, p: Prefix| {
        let entry = IaPrefix { preferred: 1, valid: 1, length: p.length(), prefix: p.address(), status: None };
        Ia { iaid, prefixes: vec![entry], ..Ia::default() }
    };
    let wrong = message(MessageType::Release, Some(&duid), &[held(2, delegated())]);
    let reply = Message::parse(&server.handle_input(now, &wrong).unwrap()).unwrap();
    assert_eq!(delegations(&reply).next().unwrap().status.as_ref().unwrap().code, status::NO_BINDING);
    assert_eq!(server.poll_event(), None);
    let right = message(MessageType::Release, Some(&duid), &[held(1, delegated())]);
    server.handle_input(now, &right).unwrap();
    assert_eq!(server.poll_event(), Some(ServerEvent::Released { lease: Lease::Prefix(delegated()) }));
    // What is not renewed expires.
    let at = server.poll_timeout().unwrap();
    assert_eq!(at - now, Duration::from_secs(7200));
    server.handle_timeout(at);
    assert_eq!(server.poll_event(), Some(ServerEvent::Released { lease: Lease::Prefix(second) }));
    assert_eq!(server.poll_timeout(), None);
}

#[test]
fn a_replaced_router_takes_over() {
    let now = Instant::now();
    let mut server = Server::new(server_config(&[delegated()]));
    let duid = server_config(&[]).duid;
    server.handle_input(now, &message(MessageType::Request, Some(&duid), &[ia(1)])).unwrap();
    let other = Message {
        kind: MessageType::Request,
        transaction: [0; 3],
        options: vec![DhcpOption::ClientId(Duid::uuid([7; 16])), DhcpOption::ServerId(duid), DhcpOption::IaPd(ia(9))],
    };
    let reply = Message::parse(&server.handle_input(now, &other.encode()).unwrap()).unwrap();
    assert_eq!(delegations(&reply).next().unwrap().prefixes[0].prefix, delegated().address());
    assert_eq!(server.bound().count(), 1);
}

#[test]
fn what_section_16_says_to_discard_is_discarded() {
    use MessageType::*;
    let now = Instant::now();
    let mut server = Server::new(server_config(&[delegated()]));
    let duid = server_config(&[]).duid;
    let other = Duid::enterprise(9, b"other");
    for kind in [Solicit, Confirm, Rebind] {
        assert_eq!(server.handle_input(now, &message(kind, Some(&duid), &[ia(1)])), None, "{kind:?}");
    }
    for kind in [Request, Renew, Release, Decline] {
        assert_eq!(server.handle_input(now, &message(kind, None, &[ia(1)])), None, "{kind:?}");
        assert_eq!(server.handle_input(now, &message(kind, Some(&other), &[ia(1)])), None, "{kind:?}");
    }
    for kind in [Advertise, Reply, Reconfigure] {
        assert_eq!(server.handle_input(now, &message(kind, Some(&duid), &[ia(1)])), None, "{kind:?}");
    }
    assert_eq!(server.handle_input(now, &message(Confirm, None, &[])), None);
    assert_eq!(server.handle_input(now, &message(InformationRequest, None, &[ia(1)])), None);
    let anonymous = Message { kind: Solicit, transaction: [0; 3], options: vec![DhcpOption::IaPd(ia(1))] };
    assert_eq!(server.handle_input(now, &anonymous.encode()), None);
    assert_eq!(server.bound().count(), 0);
}

#[test]
fn addresses_are_refused_and_dns_is_given_on_request() {
    let now = Instant::now();
    let mut server = Server::new(server_config(&[]));
    let address = IaAddress { address: v6("2001:db8::1"), preferred: 1, valid: 1, status: None };
    let na = DhcpOption::IaNa(Ia { iaid: 4, addresses: vec![address], ..Ia::default() });
    let ask = |kind, options: &[DhcpOption]| {
        let mut all = vec![DhcpOption::ClientId(client_duid())];
        all.extend_from_slice(options);
        Message { kind, transaction: [0; 3], options: all }.encode()
    };
    let reply = server.handle_input(now, &ask(MessageType::Solicit, std::slice::from_ref(&na))).unwrap();
    let reply = Message::parse(&reply).unwrap();
    assert!(
        reply
            .options
            .iter()
            .any(|o| matches!(o, DhcpOption::IaNa(ia) if ia.status.as_ref().unwrap().code == status::NO_ADDRS_AVAIL))
    );
    let reply = server.handle_input(now, &ask(MessageType::Confirm, &[na])).unwrap();
    assert!(
        Message::parse(&reply)
            .unwrap()
            .options
            .iter()
            .any(|o| matches!(o, DhcpOption::Status(s) if s.code == status::NOT_ON_LINK))
    );
    let dns = [DhcpOption::OptionRequest(vec![23, 24])];
    let reply = server.handle_input(now, &ask(MessageType::InformationRequest, &dns)).unwrap();
    assert!(Message::parse(&reply).unwrap().options.contains(&DhcpOption::DnsServers(vec![v6("2001:db8::53")])));
}

struct Sim {
    now: Instant,
    client: Client,
    server: Server,
    wire: Vec<(Instant, bool, Vec<u8>)>,
    rng: StdRng,
    loss: f64,
    events: Vec<ClientEvent>,
    server_events: Vec<ServerEvent>,
    sent: Vec<MessageType>,
}

impl Sim {
    fn new(seed: u64, prefixes: &[Prefix], rapid_commit: bool, loss: f64) -> Self {
        let now = Instant::now();
        let config = ClientConfig { duid: client_duid(), iaid: 7, address: false, length: Some(56), rapid_commit };
        let mut client = Client::new(config, Box::new(StdRng::seed_from_u64(seed)));
        client.start(now);
        Self {
            now,
            client,
            server: Server::new(server_config(prefixes)),
            wire: Vec::new(),
            rng: StdRng::seed_from_u64(seed + 1),
            loss,
            events: Vec::new(),
            server_events: Vec::new(),
            sent: Vec::new(),
        }
    }

    fn put(&mut self, to_server: bool, message: Vec<u8>) {
        for _ in 0..=usize::from(self.rng.random_bool(self.loss)) {
            if !self.rng.random_bool(self.loss) {
                let delay = Duration::from_millis(self.rng.random_range(1..200));
                self.wire.push((self.now + delay, to_server, message.clone()));
            }
        }
    }

    fn run(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        loop {
            while let Some(message) = self.client.poll_transmit() {
                self.sent.push(Message::parse(&message).unwrap().kind);
                self.put(true, message);
            }
            self.events.extend(std::iter::from_fn(|| self.client.poll_event()));
            self.server_events.extend(std::iter::from_fn(|| self.server.poll_event()));
            let timers = [self.client.poll_timeout(), self.server.poll_timeout()];
            let next = self.wire.iter().map(|(at, ..)| *at).chain(timers.into_iter().flatten()).min();
            let Some(next) = next.filter(|at| *at <= end) else { break };
            self.now = self.now.max(next);
            let due: Vec<_> = self.wire.extract_if(.., |(at, ..)| *at <= self.now).collect();
            for (_, to_server, message) in due {
                if !to_server {
                    self.client.handle_input(self.now, &message);
                } else if let Some(reply) = self.server.handle_input(self.now, &message) {
                    self.put(false, reply);
                }
            }
            self.client.handle_timeout(self.now);
            self.server.handle_timeout(self.now);
        }
        self.now = end;
    }
}

#[test]
fn a_prefix_is_had_kept_and_given_back() {
    for seed in 0..40 {
        for rapid in [false, true] {
            let loss = if seed == 0 { 0.0 } else { 0.2 };
            let mut sim = Sim::new(seed, &[delegated()], rapid, loss);
            sim.run(120);
            assert!(
                matches!(&sim.events[..], [ClientEvent::Bound { lease, preferred: 3600, valid: 7200, dns }, ..]
                    if *lease == Lease::Prefix(delegated()) && dns == &[v6("2001:db8::53")]),
                "{seed}: {:?}",
                sim.events
            );
            if seed == 0 {
                let expected: &[MessageType] =
                    if rapid { &[MessageType::Solicit] } else { &[MessageType::Solicit, MessageType::Request] };
                assert_eq!(sim.sent, expected);
            }
            // A day of renewals, nothing lost on the way.
            sim.run(86_400);
            assert!(!sim.events.iter().any(|e| matches!(e, ClientEvent::Lost { .. })), "{seed}");
            assert!(sim.events.len() > 30);
            assert_eq!(sim.server_events, [ServerEvent::Bound { lease: Lease::Prefix(delegated()) }]);
            sim.loss = 0.0;
            sim.client.release(sim.now);
            sim.run(60);
            assert_eq!(sim.events.last(), Some(&ClientEvent::Lost { lease: Lease::Prefix(delegated()) }));
            assert_eq!(sim.server_events.last(), Some(&ServerEvent::Released { lease: Lease::Prefix(delegated()) }));
            assert_eq!(sim.client.poll_timeout(), None);
        }
    }
}

#[test]
fn a_silent_server_costs_the_prefix_and_a_restarted_one_does_not() {
    let mut sim = Sim::new(1, &[delegated()], true, 0.0);
    sim.run(60);
    sim.server = Server::new(server_config(&[delegated()]));
    sim.run(4000);
    assert!(!sim.events.iter().any(|e| matches!(e, ClientEvent::Lost { .. })));
    assert_eq!(sim.server.bound().count(), 1);
    sim.loss = 1.0;
    sim.run(10_000);
    assert_eq!(sim.events.last(), Some(&ClientEvent::Lost { lease: Lease::Prefix(delegated()) }));
    assert!(sim.sent.contains(&MessageType::Rebind));
    sim.loss = 0.0;
    sim.run(8000);
    assert_eq!(sim.client.prefix(), Some(delegated()));
}

#[test]
fn without_a_prefix_the_client_backs_off() {
    for rapid in [false, true] {
        let mut sim = Sim::new(1, &[], rapid, 0.0);
        sim.run(3600);
        assert_eq!(sim.events, []);
        assert!(sim.sent.len() < 400, "{}", sim.sent.len());
    }
}

fn options() -> impl Strategy<Value = Vec<u8>> {
    // Plausible codes and lengths, so that parsers are entered.
    let one = (0..30u16, 0..50u16, prop::collection::vec(any::<u8>(), 0..50), any::<bool>());
    prop::collection::vec(one, 0..8).prop_map(|options| {
        let mut out = Vec::new();
        for (code, length, value, honest) in options {
            let length = if honest { value.len() as u16 } else { length };
            out.extend(code.to_be_bytes());
            out.extend(length.to_be_bytes());
            out.extend(value);
        }
        out
    })
}

proptest! {
    #[test]
    fn garbage(kind in 0..13u8, ours: bool, body in options(), raw: Vec<u8>) {
        let now = Instant::now();
        let mut server = Server::new(server_config(&[delegated()]));
        let mut client = Client::new(
            ClientConfig { duid: client_duid(), iaid: 7, address: true, length: None, rapid_commit: true },
            Box::new(StdRng::seed_from_u64(1)),
        );
        client.start(now);
        let solicit = client.poll_transmit().unwrap();
        let mut bytes = vec![kind];
        bytes.extend(&solicit[1..4]);
        bytes.extend(hex!("0001000a0003000102000000000a"));
        if ours {
            bytes.extend(hex!("0002000a0002000000090c0ffee0"));
        }
        bytes.extend(body);
        for bytes in [&bytes, &raw] {
            if let Some(message) = Message::parse(bytes) {
                // What was understood survives a round trip.
                prop_assert_eq!(Message::parse(&message.encode()), Some(message));
            }
            if let Some(reply) = server.handle_input(now, bytes) {
                prop_assert!(Message::parse(&reply).is_some());
            }
            client.handle_input(now, bytes);
            client.handle_timeout(now + Duration::from_secs(5));
            let _ = Udp::parse(bytes);
            let _ = RouterAdvertisement::parse(bytes);
            let _ = RouterAdvertisement::parse_packet(bytes);
            let _ = parse_solicitation(bytes);
        }
    }

    #[test]
    fn router_advertisements_with_garbage_options(options: Vec<u8>) {
        let mut message = hex!("86000000400007080000000000000000").to_vec();
        message.extend(options);
        if let Some(ra) = RouterAdvertisement::parse(&message) {
            prop_assert!(RouterAdvertisement::parse(&ra.encode()).is_some());
        }
    }
}

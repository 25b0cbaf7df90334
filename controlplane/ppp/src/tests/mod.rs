//! Both ends of a link over a lossy, duplicating, reordering wire, on a virtual clock; and single ends against
//! packets as pppd sends them.

mod clients;
mod methods;
mod scripted;

use crate::message::{Packet, code, protocol};
use crate::{
    AuthMethod, AuthVerdict, Config, Credentials, DownReason, Event, InterfaceId, IpcpConfig, Ipv6cpConfig, Link,
    NetworkConfig, Phase, Proof, Reply, Secret, chap,
};
use ::eap::mschap;
use hex_literal::hex;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);
const SERVER_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 7);
const DNS: Ipv4Addr = Ipv4Addr::new(9, 9, 9, 9);

fn link(now: Instant, seed: u64, config: Config) -> Link {
    Link::new(now, config, Box::new(StdRng::seed_from_u64(seed)))
}

fn credentials(secret: &str, methods: &[AuthMethod]) -> Option<Credentials> {
    Some(Credentials { name: b"alice".to_vec(), secret: Secret::new(secret), methods: methods.to_vec() })
}

struct End {
    link: Link,
    network: NetworkConfig,
    /// What this end accepts of the other.
    secret: &'static str,
    /// How it does in EAP, and the conversation.
    eap_methods: Vec<::eap::Method>,
    eap: Option<::eap::Server>,
    eap_rng: StdRng,
    /// It accepts everybody.
    impostor: bool,
    events: Vec<Event>,
}

impl End {
    /// The owner of the link: AAA and configuration.
    fn serve(&mut self, now: Instant) {
        while let Some(event) = self.link.poll_event() {
            self.events.push(event.clone());
            match event {
                Event::AuthRequest(request) => {
                    let mut reply = Reply::from("welcome");
                    let good = match &request.proof {
                        Proof::Pap { password } => password.expose() == self.secret.as_bytes(),
                        Proof::ChapMd5 { id, challenge, response } => {
                            chap::verify(self.secret.as_bytes(), *id, challenge, response)
                        }
                        Proof::MsChapV2 { challenge, response, .. } => {
                            let (secret, name) = (self.secret.as_bytes(), &request.name);
                            let response = mschap::Response::parse(response);
                            let proof = response.authenticator_response(secret, name, challenge);
                            reply.mschap = Some(mschap::success_message(&proof, "welcome"));
                            response.verify(secret, name, challenge)
                        }
                    };
                    let verdict = match good || self.impostor {
                        true => AuthVerdict::Accept(reply),
                        false => AuthVerdict::Reject("no".into()),
                    };
                    self.link.auth_result(now, verdict);
                }
                Event::EapResponse(response) => self.eap(now, &response.packet),
                Event::LinkUp { .. } => self.link.start_network(now, self.network.clone()),
                _ => {}
            }
        }
    }

    /// The EAP server behind the AAA: a new one for each conversation.
    fn eap(&mut self, now: Instant, packet: &[u8]) {
        use ::eap::{Packet, Server, Step, Type};
        if self.impostor {
            return self.link.auth_result(now, AuthVerdict::Accept("".into()));
        }
        if matches!(Packet::parse(packet), Some(Packet::Response { kind: Type::IDENTITY, .. })) {
            self.eap = Some(Server::new(&self.eap_methods, b"aaa", self.secret.as_bytes()));
        }
        let reply = |packet| Reply { eap: Some(packet), ..Reply::default() };
        match self.eap.as_mut().unwrap().handle(packet, &mut self.eap_rng) {
            Step::Request(request) => self.link.eap_request(now, &request),
            Step::Success(packet) => self.link.auth_result(now, AuthVerdict::Accept(reply(packet))),
            Step::Failure(packet) => self.link.auth_result(now, AuthVerdict::Reject(reply(packet))),
            Step::Discard => panic!("the link let something through that answers nothing"),
        }
    }

    fn has(&self, wanted: impl Fn(&Event) -> bool) -> bool {
        self.events.iter().any(wanted)
    }

    fn down(&self) -> Option<&DownReason> {
        self.events.iter().find_map(|e| if let Event::Down(reason) = e { Some(reason) } else { None })
    }
}

struct Sim {
    now: Instant,
    ends: [End; 2],
    wire: Vec<(Instant, usize, Vec<u8>)>,
    rng: StdRng,
    loss: f64,
    /// All of this protocol's frames are lost.
    mute: Option<u16>,
    duplicates: f64,
    delay: (u64, u64),
    log: Vec<(usize, Vec<u8>)>,
}

impl Sim {
    fn new(seed: u64, server: Config, client: Config) -> Self {
        let now = Instant::now();
        let both = |ipv4, ipv6| NetworkConfig { ipv4: Some(ipv4), ipv6: Some(ipv6) };
        let server_net = both(
            IpcpConfig { local: Some(SERVER_V4), peer: Some(CLIENT_V4), dns: vec![DNS], request_dns: false },
            Ipv6cpConfig { local_iid: Some(InterfaceId([0, 0, 0, 0, 0, 0, 0, 1])), peer_iid: None },
        );
        let client_net = both(IpcpConfig { request_dns: true, ..IpcpConfig::default() }, Ipv6cpConfig::default());
        let end = |link, network, secret| End {
            link,
            network,
            secret,
            eap_methods: vec![::eap::Method::MsChapV2],
            eap: None,
            eap_rng: StdRng::seed_from_u64(seed + 3000),
            impostor: false,
            events: Vec::new(),
        };
        Self {
            now,
            ends: [
                end(link(now, seed, server), server_net, "wonderland"),
                end(link(now, seed + 1000, client), client_net, "rabbit"),
            ],
            wire: Vec::new(),
            rng: StdRng::seed_from_u64(seed + 2000),
            loss: 0.0,
            mute: None,
            duplicates: 0.0,
            delay: (5, 5),
            log: Vec::new(),
        }
    }

    fn rough(mut self) -> Self {
        (self.loss, self.duplicates, self.delay) = (0.15, 0.15, (1, 60));
        self
    }

    fn pump(&mut self) {
        for from in 0..2 {
            self.ends[from].serve(self.now);
            while let Some(frame) = self.ends[from].link.poll_transmit() {
                self.log.push((from, frame.clone()));
                let copies = 1 + usize::from(self.rng.random_bool(self.duplicates));
                for _ in 0..copies {
                    let mute = self.mute.is_some_and(|protocol| frame.starts_with(&protocol.to_be_bytes()));
                    if !self.rng.random_bool(self.loss) && !mute {
                        let delay = MS * self.rng.random_range(self.delay.0..=self.delay.1) as u32;
                        self.wire.push((self.now + delay, 1 - from, frame.clone()));
                    }
                }
            }
        }
    }

    /// Runs until `until` or until nothing is left to happen.
    fn run(&mut self, for_time: Duration, until: impl Fn(&Sim) -> bool) -> bool {
        let end = self.now + for_time;
        loop {
            self.pump();
            if until(self) {
                return true;
            }
            let timers = self.ends.iter().filter_map(|e| e.link.poll_timeout());
            let next = self.wire.iter().map(|(at, ..)| *at).chain(timers).min();
            let Some(next) = next.filter(|at| *at <= end) else {
                self.now = end;
                return false;
            };
            self.now = self.now.max(next);
            let mut due: Vec<_> = self.wire.extract_if(.., |(at, ..)| *at <= self.now).collect();
            due.sort_by_key(|(at, ..)| *at);
            for (_, to, frame) in due {
                self.ends[to].link.handle_input(self.now, &frame);
                self.ends[to].serve(self.now);
            }
            for end in &mut self.ends {
                end.link.handle_timeout(self.now);
            }
        }
    }

    fn open(&mut self) {
        for end in &mut self.ends {
            end.link.open(self.now);
        }
    }

    fn both_up(&self) -> bool {
        self.ends.iter().all(|e| {
            (e.network.ipv4.is_none() || e.has(|x| matches!(x, Event::Ipv4Up { .. })))
                && (e.network.ipv6.is_none() || e.has(|x| matches!(x, Event::Ipv6Up { .. })))
        })
    }

    fn both_down(&self) -> bool {
        self.ends.iter().all(|e| e.down().is_some())
    }

    /// Frames of the network control protocols, by either end.
    fn network_frames(&self) -> usize {
        self.log.iter().filter(|(_, f)| matches!(f[..2], [0x80, _])).count()
    }
}

const MINUTES: Duration = Duration::from_secs(300);

fn demanding(methods: &[AuthMethod]) -> Config {
    Config { demand: methods.to_vec(), mru: 1426, our_name: b"gateway".to_vec(), ..Config::default() }
}

fn client(secret: &str, methods: &[AuthMethod]) -> Config {
    Config { credentials: credentials(secret, methods), mru: 1400, ..Config::default() }
}

#[test]
fn everything_comes_up_in_every_mode() {
    use AuthMethod::{ChapMd5, Pap};
    let modes: [(&[AuthMethod], &[AuthMethod], Option<AuthMethod>); 5] = [
        (&[], &[ChapMd5], None),
        (&[ChapMd5], &[ChapMd5], Some(ChapMd5)),
        (&[Pap], &[ChapMd5, Pap], Some(Pap)),
        (&[ChapMd5, Pap], &[Pap], Some(Pap)),
        (&[Pap, ChapMd5], &[ChapMd5], Some(ChapMd5)),
    ];
    for (demand, have, expected) in modes {
        for seed in 0..20 {
            let mut sim = Sim::new(seed, demanding(demand), client("wonderland", have));
            if seed > 0 {
                sim = sim.rough();
            }
            sim.open();
            assert!(sim.run(MINUTES, Sim::both_up), "{demand:?} {have:?} {seed}");
            let server = &sim.ends[0];
            assert!(
                server.has(|e| matches!(e, Event::LinkUp { auth, mtu: 1400, peer_mru: 1400, pfc: true, acfc: true }
                if *auth == expected))
            );
            assert!(server.has(|e| matches!(e, Event::Ipv4Up { local, peer, .. }
                if *local == SERVER_V4 && *peer == Some(CLIENT_V4))));
            let client = &sim.ends[1];
            assert!(client.has(|e| matches!(e, Event::Ipv4Up { local, peer, dns }
                if *local == CLIENT_V4 && *peer == Some(SERVER_V4) && dns == &[DNS])));
            let id = |e: &End| {
                e.events.iter().rev().find_map(|e| match e {
                    Event::Ipv6Up { local_iid, peer_iid } => Some((*local_iid, *peer_iid)),
                    _ => None,
                })
            };
            let (a, b) = (id(server).unwrap(), id(client).unwrap());
            assert_eq!((a.0, a.1), (b.1, b.0));
            assert_ne!(a.0, a.1);
            assert_eq!(client.has(|e| *e == Event::Authenticated), expected.is_some());
        }
    }
}

#[test]
fn a_clean_link_comes_up_without_a_single_timeout() {
    let mut sim = Sim::new(1, demanding(&[AuthMethod::ChapMd5]), client("wonderland", &[AuthMethod::ChapMd5]));
    let start = sim.now;
    // One end is late: its peer's first request is already there.
    sim.ends[1].link.open(sim.now);
    sim.run(MS * 100, |_| false);
    sim.ends[0].link.open(sim.now);
    assert!(sim.run(MINUTES, Sim::both_up));
    assert!(sim.now - start < Duration::from_secs(1), "{:?}", sim.now - start);
}

#[test]
fn mutual_chap() {
    for seed in 0..20 {
        let methods = [AuthMethod::ChapMd5];
        let server = Config { credentials: credentials("rabbit", &methods), ..demanding(&methods) };
        let client = Config { demand: methods.to_vec(), ..client("wonderland", &methods) };
        let mut sim = Sim::new(seed, server, client).rough();
        sim.open();
        assert!(sim.run(MINUTES, Sim::both_up), "{seed}");
        for end in &sim.ends {
            assert!(end.has(|e| *e == Event::Authenticated));
            assert!(end.has(|e| matches!(e, Event::AuthRequest(_))));
        }
    }
}

#[test]
fn a_rogue_server_fails_mutual_chap() {
    let methods = [AuthMethod::ChapMd5];
    let server = Config { credentials: credentials("guess", &methods), ..demanding(&methods) };
    let client = Config { demand: methods.to_vec(), ..client("wonderland", &methods) };
    let mut sim = Sim::new(3, server, client);
    sim.open();
    assert!(sim.run(MINUTES, Sim::both_down));
    assert_eq!(sim.ends[1].down(), Some(&DownReason::AuthRejected));
    assert_eq!(sim.network_frames(), 0);
}

#[test]
fn wrong_secrets_end_the_link_before_any_network_protocol() {
    for method in [AuthMethod::Pap, AuthMethod::ChapMd5] {
        for seed in 0..10 {
            let mut sim = Sim::new(seed, demanding(&[method]), client("alice?", &[method]));
            if seed > 0 {
                sim = sim.rough();
            }
            sim.open();
            assert!(sim.run(MINUTES, Sim::both_down));
            assert_eq!(sim.ends[0].down(), Some(&DownReason::AuthRejected));
            assert!(matches!(
                sim.ends[1].down(),
                Some(DownReason::AuthFailed(_) | DownReason::PeerTerminated | DownReason::Timeout)
            ));
            assert_eq!(sim.network_frames(), 0, "H12");
        }
    }
}

#[test]
fn a_peer_that_will_not_be_authenticated_gets_nothing() {
    let without = Config { credentials: None, ..Config::default() };
    let pap_only = client("wonderland", &[AuthMethod::Pap]);
    for config in [without, pap_only] {
        let mut sim = Sim::new(5, demanding(&[AuthMethod::ChapMd5]), config);
        sim.open();
        assert!(sim.run(MINUTES, |s| s.ends[0].down().is_some()));
        assert_eq!(sim.ends[0].down(), Some(&DownReason::AuthRefused));
        assert_eq!(sim.network_frames(), 0);
    }
}

/// One end has one family alone, and tells the other by Protocol-Reject.
#[test]
fn one_family_alone() {
    for n in 0..8 {
        let (v4, v6, rough, side) = (n & 1 == 0, n & 1 != 0, n & 2 != 0, n >> 2);
        let mut sim = Sim::new(7, demanding(&[]), Config::default());
        if rough {
            sim = sim.rough();
        }
        let net = &mut sim.ends[side].network;
        *net = NetworkConfig { ipv4: net.ipv4.take().filter(|_| v4), ipv6: net.ipv6.take().filter(|_| v6) };
        sim.open();
        sim.run(Duration::from_secs(60), |_| false);
        for end in &sim.ends {
            assert_eq!(end.has(|e| matches!(e, Event::Ipv4Up { .. })), v4);
            assert_eq!(end.has(|e| matches!(e, Event::Ipv6Up { .. })), v6);
            assert_eq!(end.down(), None);
        }
    }
}

#[test]
fn nothing_in_common_ends_the_link() {
    let mut sim = Sim::new(7, demanding(&[]), Config::default());
    sim.ends[0].network.ipv4 = None;
    sim.ends[1].network.ipv6 = None;
    sim.open();
    assert!(sim.run(MINUTES, Sim::both_down));
    assert!(sim.ends.iter().any(|e| e.down() == Some(&DownReason::NoNetwork)));
}

#[test]
fn either_end_can_terminate() {
    for closer in 0..2 {
        let mut sim = Sim::new(9, demanding(&[AuthMethod::ChapMd5]), client("wonderland", &[AuthMethod::ChapMd5]));
        sim.open();
        assert!(sim.run(MINUTES, Sim::both_up));
        sim.ends[closer].link.close(sim.now);
        assert!(sim.run(MINUTES, Sim::both_down));
        assert_eq!(sim.ends[closer].down(), Some(&DownReason::Closed));
        assert_eq!(sim.ends[1 - closer].down(), Some(&DownReason::PeerTerminated));
        for end in &sim.ends {
            assert!(end.has(|e| *e == Event::Ipv4Down) && end.has(|e| *e == Event::Ipv6Down));
            assert_eq!(end.link.phase(), Phase::Dead);
            assert_eq!(end.link.poll_timeout(), None);
        }
    }
}

#[test]
fn a_dead_peer_is_noticed() {
    let mut sim = Sim::new(11, demanding(&[]), Config::default());
    sim.open();
    assert!(sim.run(MINUTES, Sim::both_up));
    sim.run(MINUTES, |_| false);
    assert!(sim.ends.iter().all(|e| e.down().is_none()), "a quiet link stays up");
    sim.loss = 1.0;
    assert!(sim.run(MINUTES, Sim::both_down));
    for end in &sim.ends {
        assert_eq!(end.down(), Some(&DownReason::EchoTimeout));
    }
}

/// What was lost for longer than a protocol is patient comes up when it is lost no more, whichever end has given up.
#[test]
fn a_network_protocol_that_was_silenced_comes_up_later() {
    for (number, silent) in
        [(protocol::IPCP, 29), (protocol::IPCP, 35), (protocol::IPV6CP, 35), (protocol::IPV6CP, 300)]
    {
        let mut sim = Sim::new(23, demanding(&[]), Config::default());
        sim.mute = Some(number);
        sim.open();
        assert!(!sim.run(Duration::from_secs(silent), Sim::both_up));
        // Nothing that means nothing lets it be forgotten.
        for (to, code) in [(0, code::CODE_REJECT), (1, 0), (0, code::CONFIGURE_ACK), (1, code::TERMINATE_ACK)] {
            let mut frame = number.to_be_bytes().to_vec();
            frame.extend([code, 99, 0, 6, 77, 0]);
            sim.ends[to].link.handle_input(sim.now, &frame);
        }
        sim.mute = None;
        assert!(sim.run(3 * MINUTES, Sim::both_up), "{number:#06x} after {silent} s");
        assert!(sim.ends.iter().all(|e| e.down().is_none()));
    }
}

/// A peer that has closed a protocol, or does not have it, is not kept busy.
#[test]
fn a_protocol_that_a_peer_does_not_answer_is_asked_for_less_and_less() {
    let mut sim = Sim::new(29, demanding(&[]), Config::default());
    sim.mute = Some(protocol::IPV6CP);
    sim.open();
    assert!(!sim.run(Duration::from_secs(24 * 3600), Sim::both_up));
    assert!(sim.ends.iter().all(|e| e.has(|x| matches!(x, Event::Ipv4Up { .. })) && e.down().is_none()));
    let asked = sim.log.iter().filter(|(_, f)| f.starts_with(&protocol::IPV6CP.to_be_bytes())).count();
    // Ten requests of either end at a time; after pauses of half a minute, doubled up to sixteen.
    assert!((1600..2000).contains(&asked), "{asked}");
}

#[test]
fn silence_ends_lcp_after_ten_requests() {
    let now = Instant::now();
    let mut l = link(now, 1, Config::default());
    l.open(now);
    let mut sent = 0;
    loop {
        while l.poll_transmit().is_some() {
            sent += 1;
        }
        let Some(at) = l.poll_timeout() else { break };
        l.handle_timeout(at);
    }
    assert_eq!(sent, 10);
    assert_eq!(l.poll_event(), Some(Event::Down(DownReason::Timeout)));
}

#[test]
fn a_looped_back_link_is_noticed() {
    let mut now = Instant::now();
    let mut l = link(now, 1, Config::default());
    l.open(now);
    for _ in 0..1000 {
        while let Some(frame) = l.poll_transmit() {
            l.handle_input(now, &frame);
        }
        match l.poll_event() {
            Some(event) => return assert_eq!(event, Event::Down(DownReason::Loopback)),
            None => now = l.poll_timeout().unwrap_or(now),
        }
        l.handle_timeout(now);
    }
    panic!("not noticed");
}

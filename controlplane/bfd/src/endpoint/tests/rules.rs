//! One session, and packets made by hand: RFC 5880, section 6.8.6 rule by rule, and the rules of RFC 5881 around it.

use crate::auth::{Auth, AuthType, Authenticator, Key};
use crate::endpoint::*;
use crate::packet::Diag;
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::net::IpAddr;
use std::time::Duration;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));
const ELSEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 3));
const SINGLE: Meta = Meta { local: HERE, remote: THERE, ttl: 255, port: 3784 };
const MULTI: Meta = Meta { local: HERE, remote: THERE, ttl: 57, port: 4784 };
const PEER: u32 = 0x7070_7070;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn endpoint() -> Endpoint {
    Endpoint::new(Config::default(), Box::new(StdRng::seed_from_u64(1)))
}

fn config() -> SessionConfig {
    SessionConfig { desired_min_tx: ms(100), required_min_rx: ms(100), ..SessionConfig::new(HERE, THERE) }
}

struct Bench {
    now: Instant,
    endpoint: Endpoint,
    id: SessionId,
}

impl Bench {
    fn new(config: SessionConfig) -> Self {
        let (now, mut endpoint) = (Instant::now(), endpoint());
        let id = endpoint.add(now, config).unwrap();
        let mut bench = Self { now, endpoint, id };
        bench.pass(Duration::ZERO);
        bench
    }

    /// A session that the peer's packets have brought up, Poll Sequence included.
    fn up() -> Self {
        let mut bench = Self::new(config());
        bench.accept(bench.packet(State::Down));
        bench.accept(bench.packet(State::Up));
        bench.accept(Packet { final_: true, ..bench.packet(State::Up) });
        bench.accept(bench.packet(State::Up));
        assert_eq!(bench.state(), State::Up);
        assert_eq!(bench.endpoint.poll_event(), Some(Event::Up(bench.id)));
        bench
    }

    fn packet(&self, state: State) -> Packet {
        Packet {
            diag: Diag::None,
            state,
            poll: false,
            final_: false,
            control_plane_independent: false,
            demand: false,
            detect_mult: 3,
            my_discriminator: PEER,
            your_discriminator: self.id.discriminator(),
            desired_min_tx: 50_000,
            required_min_rx: 50_000,
            required_min_echo_rx: 0,
        }
    }

    fn input(&mut self, meta: Meta, octets: &[u8]) -> Result<(), Discard> {
        let before = self.endpoint.stats().clone();
        self.endpoint.handle_input(self.now, meta, octets);
        let stats = self.endpoint.stats();
        let reasons: Vec<_> =
            Discard::ALL.iter().filter(|r| stats.discarded(**r) == before.discarded(**r) + 1).copied().collect();
        assert_eq!(stats.received - before.received + reasons.len() as u64, 1, "counted once");
        reasons.first().map_or(Ok(()), |reason| Err(*reason))
    }

    fn give(&mut self, packet: Packet) -> Result<(), Discard> {
        self.input(SINGLE, &packet.encode(&[]))
    }

    /// Gives a packet that is good; gives what was sent for it.
    fn accept(&mut self, packet: Packet) -> Vec<Packet> {
        assert_eq!(self.give(packet), Ok(()));
        self.sent()
    }

    fn sent(&mut self) -> Vec<Packet> {
        let sent = std::iter::from_fn(|| self.endpoint.poll_transmit());
        sent.map(|t| Packet::decode(&t.bytes).unwrap().packet).collect()
    }

    /// Lets time pass; gives what was sent.
    fn pass(&mut self, time: Duration) -> Vec<(Duration, Packet)> {
        let (from, until) = (self.now, self.now + time);
        let mut all = Vec::new();
        while let Some(at) = self.endpoint.poll_timeout().filter(|at| *at <= until) {
            self.now = at.max(self.now);
            self.endpoint.handle_timeout(self.now);
            let passed = self.now - from;
            all.extend(self.sent().into_iter().map(|p| (passed, p)));
        }
        self.now = until;
        all
    }

    fn info(&self) -> SessionInfo {
        self.endpoint.session(self.id).unwrap()
    }

    fn state(&self) -> State {
        self.info().state
    }
}

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
    assert_eq!(bench.info().tx_interval, Some(ms(1000)), "the peer's Required Min RX is forgotten");
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

#[test]
fn where_packets_go() {
    let mut endpoint = endpoint();
    let now = Instant::now();
    let six = SessionConfig::new("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
    for config in [config(), SessionConfig { multihop: true, ..config() }, six] {
        let id = endpoint.add(now, config.clone()).unwrap();
        endpoint.handle_timeout(now);
        let t = endpoint.poll_transmit().unwrap();
        assert_eq!((t.local, t.remote, t.ttl), (config.local, config.remote, 255));
        assert_eq!(t.port, if config.multihop { 4784 } else { 3784 });
        assert_eq!(t.source_port, endpoint.session(id).unwrap().source_port);
        let packet = Packet::decode(&t.bytes).unwrap().packet;
        assert_eq!(
            (packet.state, packet.my_discriminator, packet.your_discriminator),
            (State::Down, id.discriminator(), 0)
        );
    }
}

#[test]
fn what_cannot_be_added() {
    let mut endpoint =
        Endpoint::new(Config { max_sessions: 2, ..Config::default() }, Box::new(StdRng::seed_from_u64(1)));
    let now = Instant::now();
    let mut add = |change: &dyn Fn(&mut SessionConfig)| {
        let mut config = config();
        change(&mut config);
        endpoint.add(now, config).map(drop)
    };
    assert_eq!(add(&|c| c.remote = "2001:db8::1".parse().unwrap()), Err(SessionError::Addresses));
    assert_eq!(add(&|c| c.remote = "224.0.0.1".parse().unwrap()), Err(SessionError::Addresses));
    assert_eq!(add(&|c| c.local = "0.0.0.0".parse().unwrap()), Err(SessionError::Addresses));
    assert_eq!(add(&|c| c.detect_mult = 0), Err(SessionError::DetectMult));
    assert_eq!(add(&|c| c.desired_min_tx = ms(9)), Err(SessionError::Interval));
    assert_eq!(add(&|c| c.required_min_rx = Duration::ZERO), Err(SessionError::Interval));
    assert_eq!(add(&|c| c.required_min_rx = Duration::from_secs(4295)), Err(SessionError::Interval));
    let keys = |keys| Some(Auth { auth_type: AuthType::KeyedSha1, keys });
    assert_eq!(add(&|c| c.auth = keys(vec![Key::new(1, [0; 21])])), Err(SessionError::Keys));
    assert_eq!(add(&|_| ()), Ok(()));
    assert_eq!(add(&|_| ()), Err(SessionError::Duplicate));
    assert_eq!(add(&|c| c.multihop = true), Ok(()));
    assert_eq!(add(&|c| c.remote = ELSEWHERE), Err(SessionError::Full));
}

#[test]
fn a_session_taken_away_says_so_and_goes() {
    let mut bench = Bench::up();
    bench.endpoint.remove(bench.now, bench.id).unwrap();
    assert_eq!(bench.endpoint.poll_event(), None);
    assert_eq!(bench.sent()[0].state, State::AdminDown);
    for refused in [
        bench.endpoint.remove(bench.now, bench.id),
        bench.endpoint.set_enabled(bench.now, bench.id, true),
        bench.endpoint.set_timing(bench.now, bench.id, config().timing()),
    ] {
        assert_eq!(refused, Err(SessionError::Unknown));
    }
    // The peer's Detection Time is three times our second.
    let said = bench.pass(ms(2999));
    assert!(said.len() >= 2 && said.iter().all(|(_, p)| p.state == State::AdminDown));
    assert!(bench.endpoint.session(bench.id).is_some());
    assert_eq!(bench.pass(ms(1)), []);
    assert!(bench.endpoint.session(bench.id).is_none());
    assert_eq!((bench.endpoint.poll_timeout(), bench.endpoint.ports.len(), bench.endpoint.paths.len()), (None, 0, 0));
    assert_eq!(bench.endpoint.poll_event(), None);
}

#[test]
fn a_session_may_come_back_before_its_farewell_is_over() {
    let mut bench = Bench::up();
    bench.endpoint.remove(bench.now, bench.id).unwrap();
    let again = bench.endpoint.add(bench.now, config()).unwrap();
    assert_ne!(again, bench.id);
    assert_eq!(bench.endpoint.sessions().map(|s| s.id).collect::<Vec<_>>(), [again]);
    // One that never heard of its peer has nobody to tell.
    bench.endpoint.remove(bench.now, again).unwrap();
    assert_eq!(bench.endpoint.sessions().count(), 0);
}

#[test]
fn discriminators_and_source_ports_are_unique() {
    let mut endpoint = endpoint();
    let now = Instant::now();
    let host = |n: u32| IpAddr::from((0x0a00_0000 + n).to_be_bytes());
    let ids: Vec<_> = (1..=16_384).map(|n| endpoint.add(now, SessionConfig::new(HERE, host(n))).unwrap()).collect();
    assert_eq!(endpoint.add(now, config()), Err(SessionError::Full));
    let ports: BTreeSet<_> = endpoint.sessions().map(|s| s.source_port).collect();
    assert_eq!((ports.len(), ports.first(), ports.last()), (16_384, Some(&49_152), Some(&65_535)));
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 16_384);
    let free = endpoint.session(ids[700]).unwrap().source_port;
    endpoint.remove(now, ids[700]).unwrap();
    let id = endpoint.add(now, config()).unwrap();
    assert_eq!(endpoint.session(id).unwrap().source_port, free);
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

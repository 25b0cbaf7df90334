//! One session, and packets made by hand.

use crate::endpoint::*;
use crate::packet::Diag;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::net::IpAddr;
use std::time::Duration;

pub const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
pub const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));
pub const ELSEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 3));
pub const SINGLE: Meta = Meta { local: HERE, remote: THERE, ttl: 255, port: 3784 };
pub const MULTI: Meta = Meta { local: HERE, remote: THERE, ttl: 57, port: 4784 };
pub const PEER: u32 = 0x7070_7070;

pub fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub fn endpoint() -> Endpoint {
    Endpoint::new(Config::default(), Box::new(StdRng::seed_from_u64(1)))
}

pub fn config() -> SessionConfig {
    SessionConfig { desired_min_tx: ms(100), required_min_rx: ms(100), ..SessionConfig::new(HERE, THERE) }
}

pub struct Bench {
    pub now: Instant,
    pub endpoint: Endpoint,
    pub id: SessionId,
}

impl Bench {
    pub fn new(config: SessionConfig) -> Self {
        let (now, mut endpoint) = (Instant::now(), endpoint());
        let id = endpoint.add(now, config).unwrap();
        let mut bench = Self { now, endpoint, id };
        bench.pass(Duration::ZERO);
        bench
    }

    /// A session that the peer's packets have brought up, Poll Sequence included.
    pub fn up() -> Self {
        let mut bench = Self::new(config());
        bench.accept(bench.packet(State::Down));
        bench.accept(bench.packet(State::Up));
        bench.accept(Packet { final_: true, ..bench.packet(State::Up) });
        bench.accept(bench.packet(State::Up));
        assert_eq!(bench.state(), State::Up);
        assert_eq!(bench.endpoint.poll_event(), Some(Event::Up(bench.id)));
        bench
    }

    pub fn packet(&self, state: State) -> Packet {
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

    pub fn input(&mut self, meta: Meta, octets: &[u8]) -> Result<(), Discard> {
        let before = self.endpoint.stats().clone();
        self.endpoint.handle_input(self.now, meta, octets);
        let stats = self.endpoint.stats();
        let reasons: Vec<_> =
            Discard::ALL.iter().filter(|r| stats.discarded(**r) == before.discarded(**r) + 1).copied().collect();
        assert_eq!(stats.received - before.received + reasons.len() as u64, 1, "counted once");
        reasons.first().map_or(Ok(()), |reason| Err(*reason))
    }

    pub fn give(&mut self, packet: Packet) -> Result<(), Discard> {
        self.input(SINGLE, &packet.encode(&[]))
    }

    /// Gives a packet that is good; gives what was sent for it.
    pub fn accept(&mut self, packet: Packet) -> Vec<Packet> {
        assert_eq!(self.give(packet), Ok(()));
        self.sent()
    }

    pub fn sent(&mut self) -> Vec<Packet> {
        let sent = std::iter::from_fn(|| self.endpoint.poll_transmit());
        sent.map(|t| Packet::decode(&t.bytes).unwrap().packet).collect()
    }

    /// Lets time pass; gives what was sent.
    pub fn pass(&mut self, time: Duration) -> Vec<(Duration, Packet)> {
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

    pub fn info(&self) -> SessionInfo {
        self.endpoint.session(self.id).unwrap()
    }

    pub fn state(&self) -> State {
        self.info().state
    }
}

//! Two endpoints, a link that loses and delays, and a clock.

use crate::auth::{Auth, AuthType, Key};
use crate::endpoint::*;
use crate::packet::Diag;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::net::IpAddr;
use std::time::Duration;

const ADDRESSES: [IpAddr; 2] = [
    IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
    IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2)),
];
const A: usize = 0;
const B: usize = 1;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn config(end: usize, tx: u64, rx: u64, detect_mult: u8) -> SessionConfig {
    SessionConfig {
        desired_min_tx: ms(tx),
        required_min_rx: ms(rx),
        detect_mult,
        ..SessionConfig::new(ADDRESSES[end], ADDRESSES[1 - end])
    }
}

fn endpoint(seed: u64) -> Endpoint {
    Endpoint::new(Config::default(), Box::new(StdRng::seed_from_u64(seed)))
}

struct Pair {
    start: Instant,
    now: Instant,
    ends: [Endpoint; 2],
    ids: [SessionId; 2],
    /// Packets of an end are lost: so many percent, or all.
    loss: u32,
    cut: [bool; 2],
    /// Packets take so long, more or less.
    delay: Duration,
    spread: u64,
    wire: BTreeMap<(Instant, u64), (usize, Transmit)>,
    serial: u64,
    rng: StdRng,
    events: Vec<(Duration, usize, Event)>,
    sent: Vec<(Duration, usize, Packet)>,
}

impl Pair {
    fn new(seed: u64, configs: [SessionConfig; 2]) -> Self {
        let now = Instant::now();
        let mut ends = [endpoint(seed), endpoint(seed + 1000)];
        let [a, b] = configs;
        let ids = [ends[A].add(now, a).unwrap(), ends[B].add(now, b).unwrap()];
        Self {
            start: now,
            now,
            ends,
            ids,
            loss: 0,
            cut: [false; 2],
            delay: ms(5),
            spread: 0,
            wire: BTreeMap::new(),
            serial: 0,
            rng: StdRng::seed_from_u64(seed + 2000),
            events: Vec::new(),
            sent: Vec::new(),
        }
    }

    fn equal(seed: u64) -> Self {
        Self::new(seed, [config(A, 50, 50, 3), config(B, 50, 50, 3)])
    }

    fn lossy(mut self, loss: u32, spread: u64) -> Self {
        (self.loss, self.spread) = (loss, spread);
        self
    }

    fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    fn drain(&mut self) {
        for end in [A, B] {
            while let Some(event) = self.ends[end].poll_event() {
                self.events.push((self.now - self.start, end, event));
            }
            while let Some(transmit) = self.ends[end].poll_transmit() {
                let packet = Packet::decode(&transmit.bytes).unwrap().packet;
                self.sent.push((self.now - self.start, end, packet));
                if self.cut[end] || self.rng.random_range(0..100) < self.loss {
                    continue;
                }
                let late = ms(self.rng.random_range(0..=self.spread));
                self.serial += 1;
                self.wire.insert((self.now + self.delay + late, self.serial), (1 - end, transmit));
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        self.drain();
        loop {
            let arrival = self.wire.keys().next().map(|(at, _)| *at);
            let deadlines = self.ends.iter().filter_map(Endpoint::poll_timeout);
            let Some(next) = deadlines.chain(arrival).min().filter(|at| *at <= until) else { break };
            self.now = self.now.max(next);
            if arrival == Some(next) {
                let (_, (to, t)) = self.wire.pop_first().unwrap();
                let meta = Meta { local: t.remote, remote: t.local, ttl: t.ttl, port: t.port };
                self.ends[to].handle_input(self.now, meta, &t.bytes);
            } else {
                self.ends.iter_mut().for_each(|end| end.handle_timeout(self.now));
            }
            self.drain();
        }
        self.now = until;
    }

    fn info(&self, end: usize) -> SessionInfo {
        self.ends[end].session(self.ids[end]).unwrap()
    }

    fn states(&self) -> [State; 2] {
        [A, B].map(|end| self.info(end).state)
    }

    fn come_up(&mut self) {
        self.run(secs(5));
        assert_eq!(self.states(), [State::Up; 2]);
        self.events.clear();
        self.sent.clear();
    }

    /// Comes up over a bad link, and stays.
    fn endure(&mut self) {
        self.loss = 20;
        self.run(secs(20));
        assert_eq!(self.states(), [State::Up; 2]);
        self.events.clear();
        self.run(secs(60));
        assert_eq!(self.events, []);
    }

    /// When an end went down for the first time in the log, and why.
    fn down(&self, of: usize) -> Option<(Duration, Diag, bool)> {
        self.events.iter().find_map(|(at, end, event)| match event {
            Event::Down { diag, remote_admin, .. } if *end == of => Some((*at, *diag, *remote_admin)),
            Event::Down { .. } | Event::Up(_) => None,
        })
    }

    /// Times between packets of an end, answers to polls apart.
    fn gaps(&self, of: usize) -> Vec<u128> {
        let times: Vec<_> =
            self.sent.iter().filter(|(_, end, p)| *end == of && !p.final_).map(|(at, ..)| *at).collect();
        times.windows(2).map(|w| (w[1] - w[0]).as_micros()).collect()
    }
}

#[test]
fn comes_up_as_fast_as_three_packets() {
    let mut pair = Pair::equal(1);
    pair.run(ms(20));
    assert_eq!(pair.states(), [State::Up; 2]);
    assert!(matches!(pair.events[..], [(_, _, Event::Up(_)), (_, _, Event::Up(_))]));
    pair.run(secs(1));
    for end in [A, B] {
        let info = pair.info(end);
        assert_eq!((info.tx_interval, info.detection_time), (Some(ms(50)), Some(ms(150))));
        assert_eq!(
            (info.diag, info.polling, info.remote_discriminator),
            (Diag::None, false, pair.ids[1 - end].discriminator())
        );
    }
}

#[test]
fn comes_up_when_one_side_starts_late() {
    let mut pair = Pair::equal(2);
    pair.cut = [true, true];
    pair.run(secs(30));
    assert_eq!(pair.states(), [State::Down; 2]);
    let slow: Vec<_> = pair.gaps(A);
    assert!(slow.len() >= 29 && slow.iter().all(|gap| (750_000..=1_000_000).contains(gap)), "{slow:?}");
    pair.cut = [false; 2];
    pair.run(ms(1100));
    assert_eq!(pair.states(), [State::Up; 2]);
}

#[test]
fn comes_up_over_a_bad_link_and_stays() {
    for seed in 0..20 {
        let configs = [config(A, 50, 50, 20), config(B, 50, 50, 20)];
        let mut pair = Pair::new(seed, configs).lossy(30, 40);
        pair.run(secs(30));
        assert_eq!(pair.states(), [State::Up; 2], "seed {seed}");
        pair.events.clear();
        pair.run(secs(120));
        assert_eq!(pair.events, [], "seed {seed}");
        assert!([A, B].iter().all(|end| !pair.info(*end).polling));
    }
}

#[test]
fn a_dead_link_is_found_after_detect_mult_intervals() {
    for seed in 0..20 {
        let mut pair = Pair::equal(seed);
        pair.come_up();
        pair.run(ms(7 * seed));
        let cut = pair.elapsed();
        pair.cut = [true, true];
        pair.run(secs(2));
        for end in [A, B] {
            let (at, diag, remote_admin) = pair.down(end).unwrap();
            assert_eq!((diag, remote_admin), (Diag::ControlDetectionTimeExpired, false));
            // The last packet left at most an interval before the cut, and took 5 ms.
            let after = at - cut;
            assert!(after >= ms(105) && after <= ms(155), "seed {seed}: {after:?}");
        }
        assert_eq!(pair.events.len(), 2);
        pair.cut = [false, false];
        pair.run(secs(3));
        assert_eq!(pair.states(), [State::Up; 2]);
    }
}

#[test]
fn one_broken_direction_takes_down_both() {
    let mut pair = Pair::equal(3);
    pair.come_up();
    pair.cut[B] = true;
    pair.run(ms(170));
    assert_eq!(pair.down(A).map(|d| d.1), Some(Diag::ControlDetectionTimeExpired));
    assert_eq!(pair.down(B).map(|d| d.1), Some(Diag::NeighborSignaledSessionDown));
    pair.run(secs(20));
    assert!(pair.states().iter().all(|s| *s != State::Up));
    assert_eq!(pair.events.len(), 2, "no flapping");
    pair.cut[B] = false;
    pair.run(secs(3));
    assert_eq!(pair.states(), [State::Up; 2]);
}

#[test]
fn each_direction_has_its_own_interval() {
    let mut pair = Pair::new(4, [config(A, 100, 300, 3), config(B, 50, 20, 5)]);
    pair.come_up();
    let (a, b) = (pair.info(A), pair.info(B));
    assert_eq!((a.tx_interval, a.detection_time), (Some(ms(100)), Some(ms(1500))));
    assert_eq!((b.tx_interval, b.detection_time), (Some(ms(300)), Some(ms(300))));
    pair.run(secs(20));
    for (end, interval) in [(A, 100_000), (B, 300_000)] {
        let gaps = pair.gaps(end);
        assert!(gaps.iter().all(|gap| *gap * 100 >= interval * 75 && *gap <= interval), "{gaps:?}");
    }
    assert_eq!(pair.events, []);
}

#[test]
fn intervals_change_without_an_interruption() {
    for seed in 0..10 {
        let mut pair = Pair::new(seed, [config(A, 50, 50, 12), config(B, 50, 50, 12)]).lossy(10, 20);
        pair.run(secs(20));
        pair.events.clear();
        for (tx, rx) in [(400, 50), (50, 400), (20, 20), (1500, 1500), (100, 100)] {
            let timing = Timing { desired_min_tx: ms(tx), required_min_rx: ms(rx), detect_mult: 12 };
            pair.ends[A].set_timing(pair.now, pair.ids[A], timing).unwrap();
            pair.run(secs(20));
            let (a, b) = (pair.info(A), pair.info(B));
            assert_eq!((a.polling, b.polling), (false, false));
            assert_eq!((a.tx_interval, a.detection_time), (Some(ms(tx.max(50))), Some(12 * ms(rx.max(50)))));
            assert_eq!((b.tx_interval, b.detection_time), (Some(ms(rx.max(50))), Some(12 * ms(tx.max(50)))));
        }
        assert_eq!(pair.events, [], "seed {seed}");
    }
}

/// RFC 5880, section 6.8.3: who has not heard that we send more seldom must not miss packets.
#[test]
fn sending_more_seldom_waits_for_the_final() {
    let mut pair = Pair::equal(5);
    pair.delay = ms(200);
    pair.come_up();
    let timing = Timing { desired_min_tx: ms(800), required_min_rx: ms(50), detect_mult: 3 };
    pair.ends[A].set_timing(pair.now, pair.ids[A], timing).unwrap();
    pair.run(ms(399));
    assert!(pair.sent.iter().filter(|(_, end, p)| *end == A && !p.final_).all(|(.., p)| p.poll));
    let gaps = pair.gaps(A);
    assert!(gaps.len() >= 7 && gaps.iter().all(|gap| *gap <= 50_000), "{gaps:?}");
    pair.run(ms(300));
    pair.sent.clear();
    pair.run(secs(10));
    let gaps = pair.gaps(A);
    assert!(gaps.iter().all(|gap| (600_000..=800_000).contains(gap)), "{gaps:?}");
    assert_eq!((pair.info(A).tx_interval, &pair.events[..]), (Some(ms(800)), &[][..]));
}

#[test]
fn admin_down_is_told_and_taken_back() {
    let mut pair = Pair::equal(6);
    pair.come_up();
    pair.ends[A].set_enabled(pair.now, pair.ids[A], false).unwrap();
    pair.run(ms(10));
    let (_, diag, remote_admin) = pair.down(A).unwrap();
    assert_eq!((diag, remote_admin), (Diag::AdministrativelyDown, false));
    let (_, diag, remote_admin) = pair.down(B).unwrap();
    assert_eq!((diag, remote_admin), (Diag::NeighborSignaledSessionDown, true));
    pair.run(secs(60));
    assert_eq!((pair.states(), pair.info(B).remote_state), ([State::AdminDown, State::Down], State::AdminDown));
    assert_eq!((pair.info(B).remote_diag, pair.events.len()), (Diag::AdministrativelyDown, 2));
    pair.ends[A].set_enabled(pair.now, pair.ids[A], true).unwrap();
    pair.run(secs(1));
    assert_eq!(pair.states(), [State::Up; 2]);
}

#[test]
fn a_session_taken_away_tells_the_peer() {
    let mut pair = Pair::equal(7).lossy(30, 0);
    pair.run(secs(20));
    pair.loss = 0;
    pair.run(secs(1));
    assert_eq!(pair.states(), [State::Up; 2]);
    pair.events.clear();
    pair.ends[A].remove(pair.now, pair.ids[A]).unwrap();
    pair.run(ms(10));
    assert_eq!(pair.down(B).map(|d| d.2), Some(true));
    pair.run(secs(10));
    assert!(pair.ends[A].session(pair.ids[A]).is_none());
    assert!(pair.ends[A].stats().discarded(Discard::UnknownAddress) > 0);
    assert_eq!((pair.info(B).state, pair.info(B).remote_discriminator), (State::Down, 0));
}

fn restart(auth: Option<Auth>, within: Duration) {
    let configs = [A, B].map(|end| SessionConfig { auth: auth.clone(), ..config(end, 50, 50, 3) });
    let mut pair = Pair::new(8, configs.clone());
    pair.come_up();
    let old = pair.ids[B];
    pair.ends[B] = endpoint(77);
    pair.wire.clear();
    pair.ids[B] = pair.ends[B].add(pair.now, configs[B].clone()).unwrap();
    pair.run(within);
    assert_ne!(pair.ids[B], old);
    assert_eq!(pair.states(), [State::Up; 2]);
    assert_eq!(pair.info(A).remote_discriminator, pair.ids[B].discriminator());
    assert!(pair.down(A).is_some(), "the restart is seen");
}

#[test]
fn a_peer_that_restarts_comes_up_again() {
    restart(None, ms(100));
}

/// Its sequence numbers begin anew: it has to wait for two Detection Times (RFC 5880, section 6.8.1).
#[test]
fn a_peer_that_restarts_comes_up_again_with_authentication() {
    for auth_type in [AuthType::KeyedSha1, AuthType::MeticulousKeyedSha1] {
        restart(Some(Auth { auth_type, keys: vec![Key::new(1, "secret")] }), secs(3));
    }
}

#[test]
fn authenticated_sessions() {
    for auth_type in [AuthType::KeyedSha1, AuthType::MeticulousKeyedSha1] {
        let with = |keys: &[(u8, &str)], end| SessionConfig {
            auth: Some(Auth { auth_type, keys: keys.iter().map(|(id, s)| Key::new(*id, *s)).collect() }),
            multihop: true,
            ..config(end, 50, 50, 8)
        };
        // A has begun to sign with its new key, B knows it already.
        let mut pair = Pair::new(9, [with(&[(2, "new"), (1, "old")], A), with(&[(1, "old"), (2, "new")], B)]);
        pair.endure();
        let mut pair = Pair::new(9, [with(&[(1, "old")], A), with(&[(1, "wrong")], B)]);
        pair.run(secs(10));
        assert_eq!(pair.states(), [State::Down; 2]);
        assert!(pair.ends.iter().all(|end| end.stats().discarded(Discard::AuthHash) > 8));
    }
}

#[test]
fn thousands_of_sessions() {
    let now = Instant::now();
    let mut ends = [endpoint(1), endpoint(2)];
    let host = |net: u32, n: u32| IpAddr::from((net + n).to_be_bytes());
    for n in 0..3000 {
        let (a, b) = (host(0x0a00_0000, n), host(0x0a01_0000, n));
        ends[A].add(now, SessionConfig::new(a, b)).unwrap();
        ends[B].add(now, SessionConfig::new(b, a)).unwrap();
    }
    let mut at = now;
    while at < now + secs(3) {
        ends.iter_mut().for_each(|end| end.handle_timeout(at));
        loop {
            let mut quiet = true;
            for end in [A, B] {
                while let Some(t) = ends[end].poll_transmit() {
                    quiet = false;
                    let meta = Meta { local: t.remote, remote: t.local, ttl: t.ttl, port: t.port };
                    ends[1 - end].handle_input(at, meta, &t.bytes);
                }
            }
            if quiet {
                break;
            }
        }
        at = ends.iter().filter_map(Endpoint::poll_timeout).min().unwrap();
    }
    for end in &ends {
        assert!(end.sessions().all(|s| s.state == State::Up && s.downs == 0));
        let waiting = end.sessions.values().filter(|s| s.timer.is_some()).count();
        assert_eq!((end.stats().ups, waiting), (3000, 3000));
    }
}

//! BFD: the control packet, and two endpoints with a session between them.

use super::script::{End, Ends, play};
use ::bfd::packet::{MANDATORY, Packet};
use ::bfd::{Auth, AuthType, Config, Endpoint, Key, Meta, SessionConfig, SessionId, Timing};
use std::hint::black_box;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Control packets, with an authentication section or without.
pub fn codecs(data: &[u8]) {
    if let Ok(received) = Packet::decode(data) {
        assert!(received.octets.len() >= MANDATORY && received.packet.detect_mult != 0);
        let section = received.auth.map_or(&[][..], |_| &received.octets[MANDATORY..]);
        let again = received.packet.encode(section);
        let second = Packet::decode(&again).map(|r| (r.packet, r.auth));
        assert_eq!(second, Ok((received.packet, received.auth)));
    }
}

struct Pair {
    ends: [Endpoint; 2],
    config: SessionConfig,
}

fn address(end: End) -> IpAddr {
    [192, 0, 2, 1 + end as u8].into()
}

impl Pair {
    fn add(&mut self, now: Instant, end: End) {
        let config = SessionConfig { local: address(end), remote: address(end.other()), ..self.config.clone() };
        black_box(self.ends[end as usize].add(now, config).is_ok());
    }

    fn first(&self, end: End) -> Option<SessionId> {
        self.ends[end as usize].sessions().next().map(|s| s.id)
    }
}

impl Ends for Pair {
    fn input(&mut self, now: Instant, to: End, message: &[u8]) {
        let (ttl, port) = if self.config.multihop { (64, ::bfd::MULTIHOP_PORT) } else { (255, ::bfd::SINGLE_HOP_PORT) };
        let meta = Meta { local: address(to), remote: address(to.other()), ttl, port };
        self.ends[to as usize].handle_input(now, meta, message);
    }

    fn timeout(&mut self, now: Instant) {
        self.ends.iter_mut().for_each(|e| e.handle_timeout(now));
    }

    fn deadline(&self) -> Option<Instant> {
        self.ends.iter().filter_map(Endpoint::poll_timeout).min()
    }

    fn drain(&mut self, _now: Instant, out: &mut dyn FnMut(End, Vec<u8>)) {
        for end in [End::A, End::B] {
            let endpoint = &mut self.ends[end as usize];
            while endpoint.poll_event().is_some() {}
            while let Some(transmit) = endpoint.poll_transmit() {
                assert!(Packet::decode(&transmit.bytes).is_ok(), "our own packet would be discarded");
                out(end.other(), transmit.bytes);
            }
            assert!(endpoint.sessions().count() <= 1, "one path, one session");
        }
    }

    fn act(&mut self, now: Instant, action: u8) {
        let end = if action & 1 == 0 { End::A } else { End::B };
        let Some(id) = self.first(end) else { return self.add(now, end) };
        let endpoint = &mut self.ends[end as usize];
        let done = match action >> 1 {
            0 => endpoint.set_enabled(now, id, false),
            1 => endpoint.set_enabled(now, id, true),
            2 => endpoint.remove(now, id),
            n => {
                let interval = Duration::from_millis(10 * u64::from(n));
                let timing = Timing { desired_min_tx: interval, required_min_rx: interval, detect_mult: n };
                endpoint.set_timing(now, id, timing)
            }
        };
        if done.is_err() {
            self.add(now, end);
        }
    }
}

/// Both ends; the first octet chooses authentication (0 or 3 none, 1 keyed, 2 meticulous) and multihop (3). Gives what
/// was sent.
pub fn pair(data: &[u8]) -> Vec<Vec<u8>> {
    let Some((choice, script)) = data.split_first() else { return Vec::new() };
    let now = Instant::now();
    let auth_type = match choice & 3 {
        1 => Some(AuthType::KeyedSha1),
        2 => Some(AuthType::MeticulousKeyedSha1),
        _ => None,
    };
    let interval = Duration::from_millis(50);
    let config = SessionConfig {
        multihop: choice & 3 == 3,
        desired_min_tx: interval,
        required_min_rx: interval,
        auth: auth_type.map(|auth_type| Auth { auth_type, keys: vec![Key::new(1, *b"softwire")] }),
        ..SessionConfig::new(address(End::A), address(End::B))
    };
    let endpoint = |seed| Endpoint::new(Config::default(), super::rng(seed));
    let mut pair = Pair { ends: [endpoint(8), endpoint(9)], config };
    pair.add(now, End::A);
    pair.add(now, End::B);
    play(&mut pair, now, script)
}

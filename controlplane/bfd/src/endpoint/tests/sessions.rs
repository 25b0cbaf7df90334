//! Sessions come and go: what is refused, where their packets go, what must be unique.

use super::bench::*;
use crate::auth::{Auth, AuthType, Key};
use crate::endpoint::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_core::{TryCryptoRng, TryRng};
use std::net::IpAddr;
use std::time::Duration;

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

/// Gives one number only.
struct Stuck(u32);

impl TryRng for Stuck {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(self.0)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(self.0.into())
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Self::Error> {
        dst.fill(0);
        Ok(())
    }
}

impl TryCryptoRng for Stuck {}

#[test]
fn discriminators_do_not_depend_on_luck() {
    let mut endpoint = Endpoint::new(Config::default(), Box::new(Stuck(u32::MAX)));
    let remotes = [THERE, ELSEWHERE, IpAddr::from([192, 0, 2, 4])];
    let ids = remotes.map(|remote| endpoint.add(Instant::now(), SessionConfig { remote, ..config() }).unwrap());
    assert_eq!(ids.map(SessionId::discriminator), [u32::MAX, 1, 2]);
}

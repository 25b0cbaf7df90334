//! TCP-AO with a key chain that changes, on a kernel that has it: sockets as [`protection`] prepares them, and whole
//! speakers over the loopback interface, which has 192.0.2.1, 192.0.2.2, 2001:db8::1 and 2001:db8::2.

use super::*;
use bgp::fsm::State;
use dataplane_api::{Counters, MacAddr};
use std::io::{Read, Write};
use std::sync::Arc;

const PAIRS: [[&str; 2]; 2] = [["192.0.2.1", "192.0.2.2"], ["2001:db8::1", "2001:db8::2"]];
/// Long enough for the loopback interface, where what does not come at once does not come.
const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(5);

fn day(n: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(n * 24 * 3600)
}

/// Key 1 until the twelfth day, key 2 from the eleventh on, and a chain `b` with other secrets.
fn keys() -> KeyRing {
    let chain = |name, first, second| {
        format!(
            "{{ name: {name}, keys: [{{ id: 1, secret: {first}, end: 1970-01-12T00:00:00Z }}, \
             {{ id: 2, secret: {second}, start: 1970-01-11T00:00:00Z }}] }}"
        )
    };
    let chains = [chain("a", "correct-horse", "battery-staple"), chain("b", "another-horse", "another-staple")];
    let yaml = format!("{{ asn: 1, router_id: 1.1.1.1, key_chains: [{}] }}", chains.join(", "));
    let mut keys = KeyRing::new(&serde_saphyr::from_str(&yaml).unwrap());
    keys.advance(day(1));
    keys
}

fn ao(chain: &str) -> TcpOptions {
    TcpOptions { ao_key_chain: Some(chain.into()), ..TcpOptions::default() }
}

fn talks(from: &mut std::net::TcpStream, to: &mut std::net::TcpStream) -> bool {
    to.set_read_timeout(Some(LONG)).unwrap();
    from.write_all(b"x").unwrap();
    to.read(&mut [0; 8]).is_ok_and(|n| n > 0)
}

#[test]
fn sockets_follow_the_chain() {
    for [ours, theirs] in PAIRS {
        let [ours, theirs] = [ours, theirs].map(|a| a.parse::<IpAddr>().unwrap());
        for peers in [IpNet::from(theirs), IpNet::new(theirs, 24).unwrap().trunc()] {
            // Each end has a clock of its own.
            let mut rings = [keys(), keys()];
            let listener = std::net::TcpListener::bind((ours, 0)).unwrap();
            protection::set_keys(&listener, Role::Listening, peers, &ao("a"), &rings[0]).unwrap();
            let to = listener.local_addr().unwrap();
            let connect = |ring: &KeyRing, chain: Option<&str>, timeout| {
                let socket = connecting(Some(theirs), to, &chain.map(ao).unwrap_or_default(), ring).unwrap();
                socket.connect_timeout(&to.into(), timeout).map(|()| std::net::TcpStream::from(socket))
            };
            let mut c = connect(&rings[1], Some("a"), LONG).unwrap();
            c.set_nonblocking(false).unwrap();
            let (mut a, remote) = listener.accept().unwrap();
            assert_eq!(remote.ip(), theirs);
            let set = |a: &std::net::TcpStream, c: &std::net::TcpStream, rings: &[KeyRing; 2]| {
                protection::set_keys(a, Role::Established(theirs), peers, &ao("a"), &rings[0]).unwrap();
                protection::set_keys(c, Role::Established(ours), ours.into(), &ao("a"), &rings[1]).unwrap();
                protection::set_keys(&listener, Role::Listening, peers, &ao("a"), &rings[0]).unwrap();
            };
            // 10: both keys; 11: the second one only; in between, one end is late.
            for now in [[1, 1], [10, 1], [10, 10], [11, 10], [11, 11]] {
                for (ring, now) in rings.iter_mut().zip(now) {
                    ring.advance(day(now));
                }
                set(&a, &c, &rings);
                for _ in 0..3 {
                    assert!(talks(&mut c, &mut a) && talks(&mut a, &mut c), "{peers} {now:?}");
                }
                assert!(connect(&rings[1], Some("a"), LONG).is_ok(), "{peers} {now:?}");
                listener.accept().unwrap();
                assert!(connect(&rings[1], Some("b"), SHORT).is_err(), "{peers} {now:?}");
                assert!(connect(&rings[1], None, SHORT).is_err(), "{peers} {now:?}");
            }
            // A key that has ended is gone everywhere.
            for (socket, peers) in [(&a, peers), (&c, ours.into())] {
                let e = tcp_options::ao::delete_key(socket, peers, 1, Some(2)).unwrap_err();
                assert_eq!(e.kind(), std::io::ErrorKind::NotFound);
            }
            assert!(connect(&keys(), Some("a"), SHORT).is_err(), "{peers}");
        }
    }
}

#[test]
fn without_overlap_what_the_late_end_has_signed_comes_again() {
    let [ours, theirs] = PAIRS[0].map(|a| a.parse::<IpAddr>().unwrap());
    let mut early = keys();
    let late = keys();
    let listener = std::net::TcpListener::bind((ours, 0)).unwrap();
    protection::set_keys(&listener, Role::Listening, theirs.into(), &ao("a"), &early).unwrap();
    let to = listener.local_addr().unwrap();
    let socket = connecting(Some(theirs), to, &ao("a"), &late).unwrap();
    socket.connect_timeout(&to.into(), LONG).unwrap();
    socket.set_nonblocking(false).unwrap();
    let (mut a, mut c) = (listener.accept().unwrap().0, std::net::TcpStream::from(socket));
    early.advance(day(12));
    protection::set_keys(&a, Role::Established(theirs), theirs.into(), &ao("a"), &early).unwrap();
    c.write_all(b"x").unwrap();
    a.set_read_timeout(Some(SHORT)).unwrap();
    assert!(a.read(&mut [0; 8]).is_err());
    protection::set_keys(&c, Role::Established(ours), ours.into(), &ao("a"), &early).unwrap();
    a.set_read_timeout(Some(LONG)).unwrap();
    assert!(a.read(&mut [0; 8]).is_ok_and(|n| n > 0));
    assert!(talks(&mut c, &mut a) && talks(&mut a, &mut c));
}

struct Side {
    gateway: Gateway,
    connections: Connections,
}

impl Side {
    fn new(address: &str, bgp: &str) -> Self {
        let (length, id) =
            if address.contains(':') { (64, &address[address.len() - 1..]) } else { (24, &address[8..]) };
        let text = format!(
            "ports: [{{ name: p, device: d, zone: trusted, addresses: [\"{address}/{length}\"] }}]\n\
             mesh: {{ local: [\"{address}\"] }}\n\
             bgp: {{ asn: 65000, router_id: 1.1.1.{id}, {bgp} }}"
        );
        let config = Arc::new(Config::from_yaml("t", &text).unwrap_or_else(|e| panic!("{e}")));
        let (now, counters) = (Instant::now(), vec![Arc::new(Counters::new(4, 4))]);
        let mut gateway = Gateway::new(Arc::clone(&config), now, &[MacAddr([2; 6])], counters, [7; 32]).unwrap();
        let connections = Connections::new(now, &config, &mut gateway).unwrap();
        Self { gateway, connections }
    }

    fn act(&mut self) {
        let now = Instant::now();
        while let Ok(event) = self.connections.events.try_recv() {
            self.connections.handle(now, event, &mut self.gateway);
        }
        self.gateway.handle_timeout(now);
        self.connections.act(now, &mut self.gateway);
        while self.gateway.poll_output().is_some() {}
    }

    /// Sessions that are up, and how often one came up.
    fn sessions(&mut self) -> (usize, u64) {
        let count = |r: &mut Routing| {
            let up = r.speaker.neighbours().filter(|n| n.state == State::Established).count();
            (up, r.speaker.neighbours().map(|n| n.established).sum())
        };
        self.gateway.bgp(Instant::now(), count).unwrap()
    }

    fn active(&mut self) -> Option<u8> {
        self.gateway.bgp(Instant::now(), |r| r.keys.active("a").map(|k| k.id)).flatten()
    }
}

/// Runs both sides until `done`, at most so long.
async fn run(sides: &mut [Side; 2], most: Duration, mut done: impl FnMut(&mut [Side; 2]) -> bool) -> bool {
    let end = Instant::now() + most;
    while !done(sides) {
        if Instant::now() > end {
            return false;
        }
        sides.iter_mut().for_each(Side::act);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    true
}

/// The chain as both sides have it: key 1 ends some seconds after key 2 has started.
fn chain(start: Duration, end: Duration) -> String {
    let at = |after| humantime::format_rfc3339_seconds(SystemTime::now() + after);
    format!(
        "key_chains: [{{ name: a, keys: [{{ id: 1, secret: correct-horse, end: {} }}, \
         {{ id: 2, secret: battery-staple, start: {} }}] }}]",
        at(end),
        at(start)
    )
}

#[tokio::test]
async fn a_session_of_two_speakers_outlives_its_first_key() {
    for [west, east] in PAIRS {
        let chain = chain(Duration::from_secs(6), Duration::from_secs(10));
        let session = "asn: internal, tcp_ao: a, hold_time: 3, connect_retry: 1s";
        let range = if west.contains(':') { "2001:db8::/64" } else { "192.0.2.0/24" };
        // One of them knows the other by its range only.
        let mut sides = [
            Side::new(west, &format!("{chain}, neighbours: [{{ address: \"{east}\", {session} }}]")),
            Side::new(
                east,
                &format!("{chain}, dynamic_neighbours: [{{ range: \"{range}\", neighbour: {{ {session} }} }}]"),
            ),
        ];
        let up = |sides: &mut [Side; 2]| sides.iter_mut().all(|s| s.sessions() == (1, 1));
        assert!(run(&mut sides, Duration::from_secs(5), up).await, "{west}: no session");
        assert!(sides.iter_mut().all(|s| s.active() == Some(1)), "{west}: too slow to see the first key");
        // Until long after the first key has ended: three hold times.
        let end = Instant::now() + Duration::from_secs(19);
        let lost = run(&mut sides, Duration::from_secs(25), |sides| Instant::now() > end || !up(sides)).await;
        assert!(lost && up(&mut sides), "{west}: the session was lost");
        for side in &mut sides {
            assert_eq!(side.active(), Some(2));
            for c in side.connections.open.values() {
                let e = tcp_options::ao::delete_key(&c.socket, c.peers, 1, Some(2)).unwrap_err();
                assert_eq!(e.kind(), std::io::ErrorKind::NotFound, "{west}: the first key is still there");
            }
        }
    }
}

#[tokio::test]
async fn speakers_with_different_keys_have_no_session() {
    let side = |ours, theirs, chain: &str, key: &str| {
        Side::new(
            ours,
            &format!("{chain}, neighbours: [{{ address: \"{theirs}\", asn: internal, {key} connect_retry: 1s }}]"),
        )
    };
    let hour = Duration::from_secs(3600);
    let good = chain(hour, hour * 2);
    let others = [(good.replace("horse", "zebra"), "tcp_ao: a,"), (good.clone(), "")];
    for ([west, east], (other, key)) in PAIRS.into_iter().zip(others) {
        let mut sides = [side(west, east, &good, "tcp_ao: a,"), side(east, west, &other, key)];
        let any = |sides: &mut [Side; 2]| sides.iter_mut().any(|s| s.sessions().1 > 0);
        assert!(!run(&mut sides, Duration::from_secs(4), any).await, "{key}");
    }
}

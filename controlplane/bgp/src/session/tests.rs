use super::*;
use crate::message::Capability;
use crate::neighbour::RemoteAs;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::net::Ipv4Addr;

const LOCAL: Local = Local { asn: 65000, router_id: Ipv4Addr::new(10, 0, 0, 1), restarting: false, preserved: false };

/// A session with its surroundings.
struct Bench {
    now: Instant,
    config: NeighbourConfig,
    session: Session,
    tally: Tally,
    rng: StdRng,
    conns: Conns,
    events: VecDeque<speaker::Event>,
}

impl Bench {
    fn new(config: NeighbourConfig) -> Self {
        Self {
            now: Instant::now(),
            config,
            session: Session::new(Direction::Outgoing),
            tally: Tally::default(),
            rng: StdRng::seed_from_u64(1),
            conns: Conns::default(),
            events: VecDeque::new(),
        }
    }

    fn act<T>(&mut self, act: impl FnOnce(&mut Session, &mut Cx<'_>) -> T) -> T {
        let mut cx = Cx {
            now: self.now,
            neighbour: NeighbourId(1),
            remote: [192, 0, 2, 2].into(),
            local: LOCAL,
            config: &self.config,
            tally: &mut self.tally,
            rng: &mut self.rng,
            conns: &mut self.conns,
            events: &mut self.events,
        };
        act(&mut self.session, &mut cx)
    }

    fn step(&mut self, event: Event) {
        self.act(|session, cx| session.step(event, None, cx));
    }

    /// Through the peer's OPEN with this hold time, to OpenConfirm.
    fn open(&mut self, hold_time: u16) {
        self.step(Event::AutomaticStart);
        let Some(conn) = self.session.conn() else { panic!() };
        self.act(|session, cx| session.connected(conn, [192, 0, 2, 1].into(), cx));
        let theirs = Open {
            asn: 65000,
            hold_time,
            router_id: Ipv4Addr::new(10, 0, 0, 2),
            capabilities: vec![Capability::FourOctetAs(65000)],
        };
        let ours = self.act(|session, cx| session.ours(cx));
        self.session.agree(open::check(&ours, &theirs, &self.config).unwrap());
        self.step(Event::BgpOpen);
    }

    fn established(config: NeighbourConfig, hold_time: u16) -> Self {
        let mut bench = Self::new(config);
        bench.open(hold_time);
        bench.step(Event::KeepAliveMsg);
        assert_eq!(bench.session.state(), State::Established);
        bench
    }

    fn left(&self, timer: Timer) -> Option<f64> {
        self.session.timers.get(timer).map(|at| (at - self.now).as_secs_f64())
    }
}

fn config() -> NeighbourConfig {
    NeighbourConfig::new(RemoteAs::Internal)
}

#[test]
fn the_timers_of_an_established_session() {
    let bench = Bench::established(config(), 60);
    assert_eq!(bench.left(Timer::Hold), Some(60.0));
    assert!((15.0..=20.0).contains(&bench.left(Timer::Keepalive).unwrap()));
    assert_eq!(bench.left(Timer::SendHold), Some(480.0));
    assert_eq!((bench.left(Timer::ConnectRetry), bench.left(Timer::DelayOpen)), (None, None));

    let long = NeighbourConfig { hold_time: 600, ..config() };
    assert_eq!(Bench::established(long, 600).left(Timer::SendHold), Some(1200.0));
    let given = NeighbourConfig { send_hold: Some(Duration::from_secs(30)), ..config() };
    assert_eq!(Bench::established(given, 60).left(Timer::SendHold), Some(30.0));
}

#[test]
fn without_a_hold_time_no_timer_runs() {
    let bench = Bench::established(config(), 0);
    assert_eq!(bench.session.deadline(), None);
}

#[test]
fn before_the_open_the_hold_timer_is_large() {
    let mut bench = Bench::new(config());
    bench.step(Event::AutomaticStart);
    let retry = bench.left(Timer::ConnectRetry).unwrap();
    assert!((3.75..=5.0).contains(&retry), "{retry}");
    let conn = bench.session.conn().unwrap();
    bench.act(|session, cx| session.connected(conn, [192, 0, 2, 1].into(), cx));
    assert_eq!((bench.left(Timer::Hold), bench.left(Timer::ConnectRetry)), (Some(240.0), None));
}

#[test]
fn a_passive_session_never_tries() {
    let mut bench = Bench::new(NeighbourConfig { passive: true, ..config() });
    bench.step(Event::AutomaticStartPassive);
    assert_eq!((bench.session.state(), bench.session.deadline()), (State::Active, None));
    assert!(bench.events.is_empty());
}

#[test]
fn each_attempt_waits_longer_until_a_session_is_established() {
    let mut bench = Bench::new(config());
    bench.step(Event::AutomaticStart);
    let waits: Vec<_> = (0..8)
        .map(|_| {
            let wait = bench.left(Timer::ConnectRetry).unwrap();
            bench.step(Event::ConnectRetryTimerExpires);
            wait
        })
        .collect();
    // The second attempt is the first that follows a failure.
    let expected = [5.0, 5.0, 10.0, 20.0, 40.0, 80.0, 120.0, 120.0];
    for (wait, expected) in waits.iter().zip(expected) {
        assert!((expected * 0.75..=expected).contains(wait), "{waits:?}");
    }
    // Each gives up the one before.
    let closes = bench.events.iter().filter(|e| matches!(e, speaker::Event::Close { last, .. } if last.is_empty()));
    assert_eq!((closes.count(), bench.conns.len()), (8, 1));
}

#[test]
fn what_is_sent_restarts_the_timers_of_sending() {
    let mut bench = Bench::established(config(), 60);
    bench.now += Duration::from_secs(10);
    bench.act(|session, cx| session.sent(&[], cx));
    assert!(bench.left(Timer::Keepalive).unwrap() >= 15.0);
    assert_eq!((bench.left(Timer::SendHold), bench.left(Timer::Hold)), (Some(480.0), Some(50.0)));
    bench.step(Event::UpdateMsg);
    assert_eq!(bench.left(Timer::Hold), Some(60.0));
}

/// What waits when a connection is dropped goes out before the NOTIFICATION.
#[test]
fn the_last_octets_of_a_connection() {
    let mut bench = Bench::new(config());
    bench.open(90);
    let conn = bench.session.conn().unwrap();
    bench.events.clear();
    let why = Notification::administrative_shutdown("bye");
    bench.act(|session, cx| session.step(Event::ManualStop, Some(&why), cx));
    let Some(speaker::Event::Close { conn: closed, last }) = bench.events.pop_front() else { panic!() };
    let mut expected = Vec::new();
    let negotiated = Negotiated::default();
    let ours = open::build(&LOCAL, &bench.config);
    for message in [Message::Open(ours), Message::KeepAlive, Message::Notification(why.clone())] {
        message.encode(&negotiated, &mut expected);
    }
    assert_eq!((closed, last), (conn, expected));
    assert_eq!(bench.session.take_notification(), Some(why));
    assert_eq!((bench.session.conn(), bench.session.deadline(), bench.conns.len()), (None, None, 0));
}

#[test]
fn a_keepalive_waits_only_once() {
    let mut bench = Bench::established(config(), 60);
    (0..5).for_each(|_| bench.step(Event::KeepaliveTimerExpires));
    let mut messages = Vec::new();
    while let Some(octets) = bench.session.next_control() {
        messages.push(octets.get(TYPE_OFFSET).copied().unwrap());
    }
    assert_eq!(messages, [1, 4], "OPEN and KEEPALIVE");
}

#[test]
fn the_driver_is_told_once_until_it_has_taken_all() {
    let mut bench = Bench::established(config(), 60);
    let conn = bench.session.conn();
    assert_eq!(bench.session.announce(false), None);
    assert_eq!(bench.session.announce(true), conn);
    assert_eq!(bench.session.announce(true), None);
    bench.session.drained();
    assert_eq!(bench.session.announce(true), conn);
}

#[test]
fn an_unexpected_timer_is_no_unexpected_message() {
    let mut bench = Bench::new(config());
    bench.open(90);
    bench.session.in_hand = 4;
    bench.step(Event::ConnectRetryTimerExpires);
    assert_eq!(bench.session.take_notification(), Some(Notification::unexpected_in_open_confirm(0)));
}

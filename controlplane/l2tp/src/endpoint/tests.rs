mod clients;

use super::*;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BinaryHeap;

const SECRET: &str = "tunnel-secret";

fn binding(n: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(n)
}

fn lns_addr() -> SocketAddr {
    "192.0.2.1:1701".parse().unwrap()
}

fn lac_addr(n: u32) -> SocketAddr {
    SocketAddr::new(IpAddr::from((0x0a00_0000 + n).to_be_bytes()), 1701)
}

fn endpoint(seed: u64, config: Config, first_tunnel: u32) -> Endpoint {
    let mut next = first_tunnel;
    let ids = move |_| {
        next += 1;
        (next < 0x1_0000).then_some(next << 16 | 0x77)
    };
    Endpoint::new(Arc::new(config), Box::new(StdRng::seed_from_u64(seed)), Box::new(ids))
}

fn with_secret(secret: &str, challenge: bool) -> Config {
    Config { secret: Some(Secret::new(secret)), challenge, ..Config::default() }
}

/// What a link does to packets.
#[derive(Clone, Copy)]
struct Faults {
    loss: u32,
    duplicate: u32,
    jitter_ms: u64,
}

const PERFECT: Faults = Faults { loss: 0, duplicate: 0, jitter_ms: 0 };
const BAD: Faults = Faults { loss: 20, duplicate: 20, jitter_ms: 1500 };

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct InTransit(std::cmp::Reverse<(Instant, u64)>, bool, Vec<u8>, SocketAddr, SocketAddr, Option<NonZeroU32>);

/// A LAC and an LNS, a link and a clock.
struct Pair {
    now: Instant,
    lac: Endpoint,
    lns: Endpoint,
    faults: Faults,
    rng: StdRng,
    wire: BinaryHeap<InTransit>,
    serial: u64,
    lac_events: Vec<Event>,
    lns_events: Vec<Event>,
    cut: bool,
}

impl Pair {
    fn new(lac: Config, lns: Config, faults: Faults) -> Self {
        Self {
            now: Instant::now(),
            lac: endpoint(1, Config { accept: false, ..lac }, 0x100),
            lns: endpoint(2, lns, 0x4000),
            faults,
            rng: StdRng::seed_from_u64(3),
            wire: BinaryHeap::new(),
            serial: 0,
            lac_events: Vec::new(),
            lns_events: Vec::new(),
            cut: false,
        }
    }

    fn connect(&mut self, n: u32, secret: Option<&str>) -> u32 {
        self.lac.connect(self.now, lac_addr(n), lns_addr(), binding(n), secret.map(Secret::new)).unwrap()
    }

    fn drain(&mut self) {
        for to_lns in [true, false] {
            let (from, log) =
                if to_lns { (&mut self.lac, &mut self.lac_events) } else { (&mut self.lns, &mut self.lns_events) };
            loop {
                log.extend(std::iter::from_fn(|| from.poll_event()));
                let Some(t) = from.poll_transmit() else { break };
                let copies = 1 + u32::from(self.rng.random_range(0..100) < self.faults.duplicate);
                for _ in 0..copies {
                    if self.cut || self.rng.random_range(0..100) < self.faults.loss {
                        continue;
                    }
                    let delay = 5 + self.rng.random_range(0..=self.faults.jitter_ms);
                    self.serial += 1;
                    let key = std::cmp::Reverse((self.now + Duration::from_millis(delay), self.serial));
                    self.wire.push(InTransit(key, to_lns, t.data.clone(), t.local, t.remote, t.binding));
                }
            }
        }
    }

    /// Lets `span` pass.
    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            self.drain();
            let arrival = self.wire.peek().map(|p| p.0.0.0);
            let next = [arrival, self.lac.poll_timeout(), self.lns.poll_timeout()].into_iter().flatten().min();
            let Some(next) = next.filter(|at| *at <= end) else { break };
            self.now = self.now.max(next);
            if arrival == Some(next) {
                let InTransit(_, to_lns, data, local, remote, binding) = self.wire.pop().unwrap();
                let meta = Meta { local: remote, remote: local, binding };
                let to = if to_lns { &mut self.lns } else { &mut self.lac };
                to.handle_input(self.now, meta, &data);
            } else {
                self.lac.handle_timeout(self.now);
                self.lns.handle_timeout(self.now);
            }
        }
        self.now = end;
    }

    fn seconds(&mut self, n: u64) {
        self.run(Duration::from_secs(n));
    }
}

fn ups(events: &[Event]) -> Vec<&SessionUp> {
    events.iter().filter_map(|e| if let Event::SessionUp(up) = e { Some(up) } else { None }).collect()
}

fn downs(events: &[Event]) -> Vec<(u32, &DownReason)> {
    events.iter().filter_map(|e| if let Event::Down { id, reason } = e { Some((*id, reason)) } else { None }).collect()
}

#[test]
fn both_sides_come_up_and_close_in_order() {
    let mut p = Pair::new(Config::default(), Config::default(), PERFECT);
    let id = p.connect(1, None);
    p.seconds(1);
    let (lac, lns) = (ups(&p.lac_events)[0].clone(), ups(&p.lns_events)[0].clone());
    assert_eq!((lac.id, lac.peer_tunnel, lac.peer_session), (id, (lns.id >> 16) as u16, lns.id as u16));
    assert_eq!((lns.peer_tunnel, lns.peer_session), ((id >> 16) as u16, id as u16));
    assert_eq!((lns.peer_host_name.as_str(), lns.binding, lns.remote), ("softwire", binding(1), lac_addr(1)));
    assert!(!lns.sequencing);
    assert_eq!(p.lns.half_open(), 0);

    p.lac_events.clear();
    p.lns_events.clear();
    p.lac.close(p.now, id, DownReason::local(code::STOP_SHUTDOWN, "bye"));
    // H47: down for the initiator only when the acknowledgement is there.
    p.drain();
    assert!(matches!(p.lac_events[..], [Event::SessionDown { .. }]));
    p.seconds(1);
    assert_eq!(downs(&p.lac_events)[0].1.cause, Cause::Local);
    let (_, reason) = downs(&p.lns_events)[0];
    assert_eq!((reason.cause, reason.result, reason.message.as_str()), (Cause::Peer, 6, "bye"));
    assert!(matches!(p.lns_events[..], [Event::SessionDown { .. }, Event::Down { .. }]));
    // State is kept for the retransmission interval, then nothing is left.
    assert_eq!(p.lns.tunnels().count(), 1);
    p.seconds(60);
    assert_eq!((p.lns.tunnels().count(), p.lac.tunnels().count()), (0, 0));
    assert_eq!((p.lns.poll_timeout(), p.lac.poll_timeout()), (None, None));
}

#[test]
fn down_waits_until_the_acknowledgement_has_been_taken() {
    let mut p = Pair::new(Config::default(), Config::default(), PERFECT);
    let id = p.connect(1, None);
    p.seconds(1);
    p.lac.close(p.now, id, DownReason::local(1, ""));
    let stop = p.lac.poll_transmit().unwrap();
    p.lns_events.clear();
    p.lns.handle_input(p.now, Meta { local: stop.remote, remote: stop.local, binding: stop.binding }, &stop.data);
    assert!(matches!(p.lns.poll_event(), Some(Event::SessionDown { .. })));
    assert_eq!(p.lns.poll_event(), None);
    assert_eq!(p.lns.poll_transmit().unwrap().data.len(), 12);
    assert_eq!(p.lns.poll_timeout(), Some(p.now));
    assert!(matches!(p.lns.poll_event(), Some(Event::Down { .. })));
}

#[test]
fn a_thousand_tunnels_over_a_bad_link() {
    let mut p = Pair::new(with_secret(SECRET, true), with_secret(SECRET, true), BAD);
    let ids: Vec<u32> = (1..=1000).map(|n| p.connect(n, Some(SECRET))).collect();
    p.seconds(60);
    let (lac, lns) = (ups(&p.lac_events).len(), ups(&p.lns_events).len());
    assert!(lac >= 990 && lns >= 990, "{lac} {lns}");
    assert_eq!(p.lns.half_open(), 0);
    // Keepalive over the same link loses nobody.
    p.seconds(300);
    assert_eq!((downs(&p.lac_events).len(), downs(&p.lns_events).len()), (1000 - lac, 1000 - lns));
    for id in ids {
        p.lac.close(p.now, id, DownReason::local(1, "done"));
    }
    p.seconds(200);
    assert_eq!(downs(&p.lac_events).len(), 1000);
    assert_eq!((p.lns.tunnels().count(), p.lac.tunnels().count()), (0, 0));
    for events in [&p.lac_events, &p.lns_events] {
        let mut seen = std::collections::HashSet::new();
        assert!(downs(events).iter().all(|(id, _)| seen.insert(*id)), "down only once");
    }
}

#[test]
fn a_vanished_peer_is_dead_after_83_seconds() {
    let mut p = Pair::new(Config::default(), Config::default(), PERFECT);
    p.connect(1, None);
    p.seconds(100);
    assert!(downs(&p.lns_events).is_empty());
    p.cut = true;
    p.seconds(52);
    assert!(downs(&p.lns_events).is_empty() && p.lns.stats().retransmits > 0);
    p.seconds(40);
    assert_eq!(downs(&p.lns_events)[0].1.cause, Cause::Timeout);
    assert_eq!(downs(&p.lac_events)[0].1.cause, Cause::Timeout);
    assert_eq!(p.lns.tunnels().count(), 0);
}

#[test]
fn wrong_or_missing_secrets_end_with_result_4() {
    let cases = [
        (Some("wrong"), false, true, Cause::Peer, Cause::Refused),
        (Some("wrong"), true, false, Cause::Refused, Cause::Peer),
        (None, false, true, Cause::Refused, Cause::Peer),
    ];
    for (secret, lac, lns, lac_cause, lns_cause) in cases {
        let mut p = Pair::new(with_secret("", lac), with_secret(SECRET, lns), PERFECT);
        p.connect(1, secret);
        p.seconds(5);
        assert!(ups(&p.lns_events).is_empty());
        let (lac, lns) = (downs(&p.lac_events)[0].1, downs(&p.lns_events)[0].1);
        assert_eq!((lac.cause, lac.result), (lac_cause, 4));
        assert_eq!((lns.cause, lns.result), (lns_cause, 4));
        assert_eq!(p.lns.stats().auth_failed + p.lac.stats().auth_failed, 1);
    }
}

#[test]
fn mutual_and_one_way_challenges_pass() {
    for (lac, lns) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut p = Pair::new(with_secret("", lac), with_secret(SECRET, lns), PERFECT);
        p.connect(1, Some(SECRET));
        p.seconds(2);
        assert_eq!((ups(&p.lac_events).len(), ups(&p.lns_events).len()), (1, 1));
    }
}

/// Sends the LNS a message of its established tunnel, numbered as the next one.
fn inject(p: &mut Pair, kind: MessageType, session: u16, avps: Avps, binding: Option<NonZeroU32>) -> Vec<Vec<u8>> {
    let tunnel = (ups(&p.lns_events)[0].id >> 16) as u16;
    let body = Message { kind, avps }.emit();
    let data = Header { tunnel, session, ns: 4, nr: 2 }.emit(&body);
    p.lns.handle_input(p.now, Meta { local: lns_addr(), remote: lac_addr(1), binding }, &data);
    std::iter::from_fn(|| p.lns.poll_transmit()).map(|t| t.data).collect()
}

fn up() -> Pair {
    let mut p = Pair::new(Config::default(), Config::default(), PERFECT);
    p.connect(1, None);
    p.seconds(1);
    p
}

fn only_message(sent: &[Vec<u8>]) -> (Header, MessageType, Avps) {
    let (header, body) = Header::parse(&sent[0]).unwrap();
    let received = parse_body(body, None);
    let Kind::Known(kind) = received.kind else { panic!("{:?}", received.kind) };
    (header, kind, received.avps)
}

#[test]
fn outgoing_and_second_calls_are_refused_with_cdn() {
    for (kind, result, counted) in
        [(MessageType::Ocrq, 5, Refused::OutgoingCall), (MessageType::Icrq, 4, Refused::SecondSession)]
    {
        let mut p = up();
        let ours = ups(&p.lns_events)[0].id as u16;
        let sent = inject(&mut p, kind, 0, Avps { assigned_session: Some(0x999), ..Avps::default() }, binding(1));
        let (header, kind, avps) = only_message(&sent);
        assert_eq!((header.session, kind, avps.result.unwrap().result), (0x999, MessageType::Cdn, result));
        assert!(avps.assigned_session.is_some_and(|id| id != ours));
        assert_eq!(p.lns.stats().refused(counted), 1);
        assert_eq!(p.lns.tunnel(ups(&p.lns_events)[0].id).unwrap().session, crate::fsm::session::State::Established);
    }
}

#[test]
fn a_stopccn_from_another_binding_or_address_is_counted_and_harmless() {
    let stop = || Avps {
        result: Some(ResultCode { result: 1, ..ResultCode::default() }),
        assigned_tunnel: Some(0x101),
        ..Avps::default()
    };
    let mut p = up();
    for other in [binding(2), None] {
        assert!(inject(&mut p, MessageType::StopCcn, 0, stop(), other).is_empty());
    }
    assert_eq!(p.lns.stats().refused(Refused::Binding), 2);
    let tunnel = (ups(&p.lns_events)[0].id >> 16) as u16;
    let data =
        Header { tunnel, session: 0, ns: 4, nr: 2 }.emit(&Message { kind: MessageType::StopCcn, avps: stop() }.emit());
    for remote in ["10.0.0.1:4000", "10.0.0.2:1701"] {
        let meta = Meta { local: lns_addr(), remote: remote.parse().unwrap(), binding: binding(1) };
        p.lns.handle_input(p.now, meta, &data);
    }
    assert_eq!(p.lns.stats().refused(Refused::Address), 2);
    assert_eq!(p.lns.poll_event(), None);
    p.seconds(300);
    assert!(downs(&p.lns_events).is_empty() && downs(&p.lac_events).is_empty());
}

#[test]
fn a_new_port_is_followed_where_the_operator_says_so() {
    let lns = Config { port_change: PortChange::Follow, ..Config::default() };
    let mut p = Pair::new(Config::default(), lns, PERFECT);
    p.connect(1, None);
    p.seconds(1);
    let tunnel = (ups(&p.lns_events)[0].id >> 16) as u16;
    let hello = Message { kind: MessageType::Hello, avps: Avps::default() }.emit();
    let remote: SocketAddr = "10.0.0.1:4000".parse().unwrap();
    let data = Header { tunnel, session: 0, ns: 4, nr: 2 }.emit(&hello);
    p.lns.handle_input(p.now, Meta { local: lns_addr(), remote, binding: binding(1) }, &data);
    assert!(matches!(p.lns.poll_event(), Some(Event::Moved { remote: r, .. }) if r == remote));
    assert_eq!(p.lns.poll_transmit().unwrap().remote, remote);
}

#[test]
fn a_mandatory_unknown_avp_clears_the_tunnel_with_error_8() {
    let mut p = up();
    let tunnel = (ups(&p.lns_events)[0].id >> 16) as u16;
    let hello = hex_literal::hex!("8008 0000 0000 0006 8006 0009 0042");
    let data = Header { tunnel, session: 0, ns: 4, nr: 2 }.emit(&hello);
    p.lns.handle_input(p.now, Meta { local: lns_addr(), remote: lac_addr(1), binding: binding(1) }, &data);
    let sent: Vec<_> = std::iter::from_fn(|| p.lns.poll_transmit()).map(|t| t.data).collect();
    let (_, kind, avps) = only_message(&sent);
    let result = avps.result.unwrap();
    assert_eq!((kind, result.result, result.error), (MessageType::StopCcn, 2, Some(8)));
    assert!(result.message.contains("9:66"));
}

#[test]
fn a_cdn_brings_the_session_down_at_once_and_then_the_tunnel() {
    let mut p = up();
    let session = ups(&p.lns_events)[0].id as u16;
    let avps = Avps {
        result: Some(ResultCode { result: 3, ..ResultCode::default() }),
        assigned_session: Some(0x77),
        ..Avps::default()
    };
    let sent = inject(&mut p, MessageType::Cdn, session, avps, binding(1));
    assert!(matches!(p.lns.poll_event(), Some(Event::SessionDown { reason, .. }) if reason.cause == Cause::Peer));
    assert_eq!(only_message(&sent).1, MessageType::StopCcn);
    assert_eq!(p.lns.poll_event(), None);
}

#[test]
fn a_peer_that_comes_back_replaces_its_old_tunnel() {
    let mut p = up();
    let old = ups(&p.lns_events)[0].id;
    // The peer lost its state, and starts again with another tunnel id from the same binding.
    p.lac = endpoint(9, Config::default(), 0x200);
    p.connect(1, None);
    p.seconds(1);
    assert_eq!(ups(&p.lns_events).len(), 2);
    let (id, reason) = downs(&p.lns_events)[0];
    assert_eq!((id, reason.cause), (old, Cause::Replaced));
    // And with the same tunnel id as before, long after.
    p.seconds(60);
    p.lac = endpoint(10, Config::default(), 0x200);
    p.connect(1, None);
    p.seconds(1);
    assert_eq!((ups(&p.lns_events).len(), downs(&p.lns_events).len()), (3, 2));
}

#[test]
fn a_repeated_sccrq_makes_one_tunnel() {
    let mut p = Pair::new(Config::default(), Config::default(), PERFECT);
    p.connect(1, None);
    let t = p.lac.poll_transmit().unwrap();
    for _ in 0..5 {
        p.lns.handle_input(p.now, Meta { local: t.remote, remote: t.local, binding: t.binding }, &t.data);
    }
    assert_eq!((p.lns.tunnels().count(), p.lns.half_open(), p.lns.stats().duplicates), (1, 1, 4));
    let sccrp = p.lns.poll_transmit().unwrap();
    assert_eq!((sccrp.local, sccrp.remote), (t.remote, t.local), "H51");
}

#[test]
fn half_open_tunnels_are_limited_and_time_out() {
    let mut p = Pair::new(Config::default(), Config { max_half_open: 10, ..Config::default() }, PERFECT);
    for n in 1..=20 {
        p.connect(n, None);
    }
    let sccrqs: Vec<_> = std::iter::from_fn(|| p.lac.poll_transmit()).collect();
    for t in &sccrqs {
        p.lns.handle_input(p.now, Meta { local: t.remote, remote: t.local, binding: t.binding }, &t.data);
    }
    assert_eq!((p.lns.half_open(), p.lns.stats().refused(Refused::HalfOpen)), (10, 10));
    p.cut = true;
    p.seconds(100);
    assert_eq!((p.lns.half_open(), p.lns.tunnels().count(), downs(&p.lns_events).len()), (0, 0, 10));
}

#[test]
fn a_binding_that_is_gone_takes_its_tunnels_along_silently() {
    let mut p = up();
    let (id, b) = (ups(&p.lns_events)[0].id, binding(1).unwrap());
    p.lns.close_binding(p.now, b);
    assert_eq!(p.lns.poll_transmit(), None);
    assert!(matches!(p.lns.poll_event(), Some(Event::SessionDown { .. })));
    assert!(
        matches!(p.lns.poll_event(), Some(Event::Down { id: i, reason }) if i == id && reason.cause == Cause::BindingGone)
    );
}

#[test]
fn peers_may_share_a_tunnel_id_and_one_peer_may_not() {
    let mut next = 0;
    let ids = move |_| {
        next += 1;
        Some(0x1000_0000 + next)
    };
    let mut p = Pair::new(Config::default(), Config::default(), PERFECT);
    p.lns = Endpoint::new(Arc::new(Config::default()), Box::new(StdRng::seed_from_u64(5)), Box::new(ids));
    for n in 1..=50 {
        p.connect(n, None);
    }
    p.seconds(2);
    assert_eq!(ups(&p.lns_events).len(), 50);
    // The same peer again: its old tunnel gives way, and ids that could not be used come back.
    p.lac = endpoint(9, Config::default(), 0x900);
    p.connect(7, None);
    p.seconds(2);
    assert_eq!(ups(&p.lns_events).len(), 51);
    let causes: Vec<_> = downs(&p.lns_events).iter().map(|(_, r)| r.cause).collect();
    assert_eq!(causes, [Cause::Unused, Cause::Unused, Cause::Unused, Cause::Replaced]);
}

#[test]
fn an_address_change_of_the_binding_is_followed() {
    let mut p = up();
    let to: IpAddr = "198.51.100.9".parse().unwrap();
    p.lns.move_binding(p.now, binding(1).unwrap(), lns_addr().ip(), to);
    assert!(matches!(p.lns.poll_event(), Some(Event::Moved { remote, .. }) if remote.ip() == to));
}

#[test]
fn no_free_ids_is_told_without_state() {
    let mut p = Pair::new(Config::default(), Config::default(), PERFECT);
    p.lns = Endpoint::new(Arc::new(Config::default()), Box::new(StdRng::seed_from_u64(5)), Box::new(|_| None));
    p.connect(1, None);
    p.seconds(2);
    let reason = downs(&p.lac_events)[0].1;
    assert_eq!((reason.cause, reason.result, reason.error), (Cause::Peer, 2, Some(4)));
    assert_eq!((p.lns.tunnels().count(), p.lns.stats().refused(Refused::NoIds)), (0, 1));
}

proptest! {
    #[test]
    fn garbage_disturbs_nobody(messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..20)) {
        let mut p = Pair::new(Config::default(), Config::default(), PERFECT);
        p.connect(1, None);
        p.seconds(1);
        let tunnel = (ups(&p.lns_events)[0].id >> 16) as u16;
        for (n, m) in messages.iter().enumerate() {
            let meta = Meta { local: lns_addr(), remote: lac_addr(1), binding: binding(9) };
            p.lns.handle_input(p.now, meta, m);
            let framed = Header { tunnel, session: n as u16, ns: n as u16, nr: 0 }.emit(m);
            p.lns.handle_input(p.now, meta, &framed);
            // The same as an SCCRQ of somebody else.
            let sccrq = [&hex_literal::hex!("8008 0000 0000 0001 8008 0000 0009 0042")[..], m].concat();
            let meta = Meta { binding: binding(10), ..meta };
            p.lns.handle_input(p.now, meta, &Header { tunnel: 0, session: 0, ns: 0, nr: 0 }.emit(&sccrq));
        }
        p.seconds(200);
        prop_assert!(downs(&p.lac_events).is_empty());
    }

    #[test]
    fn garbage_of_the_peer_itself_ends_in_order(bodies in prop::collection::vec((0..17u16, any::<u16>(), prop::collection::vec(any::<u8>(), 0..40)), 1..20)) {
        let mut p = up();
        let id = ups(&p.lns_events)[0].id;
        for (n, (kind, session, m)) in bodies.iter().enumerate() {
            let head = [&hex_literal::hex!("8008 0000 0000")[..], &kind.to_be_bytes(), m].concat();
            let session = if session % 2 == 0 { id as u16 } else { *session };
            let data = Header { tunnel: (id >> 16) as u16, session, ns: 4 + n as u16, nr: 2 }.emit(&head);
            p.lns.handle_input(p.now, Meta { local: lns_addr(), remote: lac_addr(1), binding: binding(1) }, &data);
        }
        p.seconds(400);
        prop_assert!(downs(&p.lns_events).len() <= 1);
    }
}

//! One speaker, and a driver, peers and an operator who do anything in any order: nothing panics, no connection is
//! forgotten, and afterwards everything works.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use bgp::fsm::State;
use bgp::message::{Capability, Family, Message, Negotiated, Notification, RouteRefresh, Update};
use bgp::neighbour::{ListenRange, NeighbourConfig, NeighbourId};
use bgp::speaker::{ConnId, Event, Speaker};
use common::raw::{Raw, open};
use common::{address, internal, net, speaker_config};
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

#[derive(Clone, Debug)]
enum Op {
    Accept(usize),
    Connected(usize),
    Closed(usize),
    Say(usize, Said),
    Take(usize),
    Pass(u64),
    Operator(usize, Order),
}

#[derive(Clone, Debug)]
enum Said {
    Open {
        n: usize,
        restarting: bool,
        hold_time: u16,
    },
    /// OPEN and KEEPALIVE.
    Establish {
        n: usize,
        restarting: bool,
    },
    KeepAlive,
    Empty,
    EndOfRib,
    Notification(u8, u8),
    Refresh(u8),
    Garbage(Vec<u8>),
}

#[derive(Clone, Copy, Debug)]
enum Order {
    Disable,
    Enable,
    Clear(bool),
    Remove,
    Configure(u16),
    In,
    Out,
    Bfd,
    Originate,
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        4 => (0usize..4, any::<bool>(), prop_oneof![Just(0u16), Just(9), Just(90)])
            .prop_map(|(n, restarting, hold_time)| Said::Open { n, restarting, hold_time }),
        8 => (0usize..4, any::<bool>()).prop_map(|(n, restarting)| Said::Establish { n, restarting }),
        4 => Just(Said::KeepAlive),
        1 => Just(Said::Empty),
        1 => Just(Said::EndOfRib),
        1 => (0u8..9, 0u8..11).prop_map(|(code, subcode)| Said::Notification(code, subcode)),
        1 => (0u8..4).prop_map(Said::Refresh),
        1 => prop::collection::vec(any::<u8>(), 1..40).prop_map(Said::Garbage),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let order = prop_oneof![
        Just(Order::Disable),
        Just(Order::Enable),
        any::<bool>().prop_map(Order::Clear),
        Just(Order::Remove),
        prop_oneof![Just(30u16), Just(90)].prop_map(Order::Configure),
        Just(Order::In),
        Just(Order::Out),
        Just(Order::Bfd),
        Just(Order::Originate),
    ];
    prop_oneof![
        4 => (1usize..5).prop_map(Op::Accept),
        4 => any::<usize>().prop_map(Op::Connected),
        2 => any::<usize>().prop_map(Op::Closed),
        16 => (any::<usize>(), said()).prop_map(|(conn, said)| Op::Say(conn, said)),
        4 => any::<usize>().prop_map(Op::Take),
        4 => prop_oneof![0u64..3000, 3000u64..130_000].prop_map(Op::Pass),
        3 => (1usize..5, order).prop_map(|(n, order)| Op::Operator(n, order)),
    ]
}

/// The driver's view: connections that exist, and whether they are open.
struct World {
    now: Instant,
    speaker: Speaker,
    conns: BTreeMap<ConnId, bool>,
    up: BTreeMap<NeighbourId, bool>,
}

/// Neighbours 1 and 2 connect and are connected to, 3 is passive, 4 is out of a range.
fn config(n: usize) -> NeighbourConfig {
    NeighbourConfig { passive: n == 3, ..internal() }
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let mut speaker = Speaker::new(now, speaker_config(0, 65000), Box::new(StdRng::seed_from_u64(7)));
        for n in 1..4 {
            speaker.set_neighbour(now, address(n), config(n));
        }
        speaker.set_listen_range(ListenRange { prefix: net("192.0.2.5/32"), neighbour: internal(), max: 1 });
        Self { now, speaker, conns: BTreeMap::new(), up: BTreeMap::new() }
    }

    fn pick(&self, n: usize, open: bool) -> Option<ConnId> {
        let conns: Vec<_> = self.conns.iter().filter(|(_, is_open)| **is_open == open).map(|(conn, _)| *conn).collect();
        (!conns.is_empty()).then(|| conns[n % conns.len()])
    }

    fn apply(&mut self, op: Op) {
        let now = self.now;
        match op {
            Op::Accept(n) => {
                let local = SocketAddr::new(address(0), 179);
                if let Ok(conn) = self.speaker.accepted(now, local, SocketAddr::new(address(n), 50_000)) {
                    assert_eq!(self.conns.insert(conn, true), None);
                }
            }
            Op::Connected(n) => {
                if let Some(conn) = self.pick(n, false) {
                    self.conns.insert(conn, true);
                    self.speaker.connected(now, conn, SocketAddr::new(address(0), 50_001));
                }
            }
            Op::Closed(n) => {
                if let Some(conn) = self.pick(n / 2, n % 2 == 0) {
                    self.conns.remove(&conn);
                    self.speaker.closed(now, conn);
                }
            }
            Op::Say(n, said) => {
                if let Some(conn) = self.pick(n, true) {
                    self.speaker.received(now, conn, &octets(said));
                }
            }
            Op::Take(n) => {
                if let Some(conn) = self.pick(n, true) {
                    while self.speaker.poll_transmit(now, conn).is_some() {}
                }
            }
            Op::Pass(milliseconds) => {
                let until = now + Duration::from_millis(milliseconds);
                let mut turns = 0;
                while let Some(at) = self.speaker.poll_timeout().filter(|at| *at <= until) {
                    self.now = self.now.max(at);
                    self.speaker.handle_timeout(self.now);
                    self.drain();
                    turns += 1;
                    assert!(turns < 5000, "timers do not come to rest");
                }
                self.now = until;
            }
            Op::Operator(n, order) => self.order(n, order),
        }
        self.drain();
    }

    fn order(&mut self, n: usize, order: Order) {
        let now = self.now;
        let Some(id) = self.speaker.neighbour_at(address(n)) else {
            if n < 4 {
                self.speaker.set_neighbour(now, address(n), config(n));
            }
            return;
        };
        match order {
            Order::Disable => self.speaker.disable(now, id, "for a while"),
            Order::Enable => self.speaker.enable(now, id),
            Order::Clear(hard) => self.speaker.clear(now, id, "", hard),
            Order::Remove => assert!(self.speaker.remove_neighbour(now, id)),
            Order::Configure(hold_time) if n < 4 => {
                let config = NeighbourConfig { hold_time, ..config(n) };
                assert_eq!(self.speaker.set_neighbour(now, address(n), config), id);
            }
            Order::Configure(_) => {}
            Order::In => _ = self.speaker.soft_refresh_in(now, id, Family::Ipv4Unicast),
            Order::Out => self.speaker.soft_refresh_out(now, id, Family::Ipv4Unicast),
            Order::Bfd => self.speaker.bfd_down(now, id),
            Order::Originate => {
                let next_hop = std::net::IpAddr::from([0, 0, 0, 0]);
                self.speaker.originate(now, net("10.0.0.0/8"), bgp::attribute::Attributes::new(next_hop.into()));
            }
        }
    }

    fn drain(&mut self) {
        while let Some(event) = self.speaker.poll_event() {
            match event {
                Event::Connect(connect) => assert_eq!(self.conns.insert(connect.conn, false), None),
                Event::Close { conn, last } => {
                    let open = self.conns.remove(&conn);
                    assert!(open == Some(true) || open == Some(false) && last.is_empty(), "{conn:?} {open:?}");
                }
                Event::Transmit { conn } => assert_eq!(self.conns.get(&conn), Some(&true)),
                Event::Up { neighbour } => assert_ne!(self.up.insert(neighbour, true), Some(true)),
                Event::Down { neighbour, .. } => assert_eq!(self.up.insert(neighbour, false), Some(true)),
                _ => {}
            }
        }
    }

    fn check(&self) {
        assert_eq!(self.speaker.connections(), self.conns.len());
        assert!(self.conns.values().filter(|open| !**open).count() <= 2, "only 1 and 2 are connected to");
        for view in self.speaker.neighbours() {
            assert_eq!(view.since.is_some(), view.state == State::Established);
            assert_eq!(view.since.is_some(), self.up.get(&view.id) == Some(&true));
            assert_eq!(view.negotiated.is_some(), view.since.is_some());
            assert!(view.stop.is_none() || view.state == State::Idle);
        }
        assert!(self.conns.len() <= 2 * self.speaker.neighbours().count());
    }
}

fn octets(said: Said) -> Vec<u8> {
    let message = match said {
        Said::Open { n, restarting, hold_time } => {
            let mut open = open(65000, n);
            open.hold_time = hold_time;
            let families = vec![(Family::Ipv4Unicast, true)];
            open.capabilities.push(Capability::GracefulRestart { restarting, notification: true, time: 60, families });
            Message::Open(open)
        }
        Said::Establish { n, restarting } => {
            let open = octets(Said::Open { n, restarting, hold_time: 90 });
            return [open, octets(Said::KeepAlive)].concat();
        }
        Said::KeepAlive => Message::KeepAlive,
        Said::Empty => return Vec::new(),
        Said::EndOfRib => Message::Update(Update { end_of_rib: Some(Family::Ipv4Unicast), ..Update::default() }),
        Said::Notification(code, subcode) => Message::Notification(Notification { code, subcode, data: Vec::new() }),
        Said::Refresh(subtype) => Message::RouteRefresh(RouteRefresh { family: Family::Ipv4Unicast, subtype }),
        Said::Garbage(octets) => return octets,
    };
    let mut octets = Vec::new();
    message.encode(&Negotiated::default(), &mut octets);
    octets
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn anything_in_any_order(ops in prop::collection::vec(op(), 1..120)) {
        let mut world = World::new();
        world.drain();
        for op in ops {
            world.apply(op);
            world.check();
        }
        // Then all is quiet, and a passive neighbour can be reached again.
        let conns: Vec<_> = world.conns.keys().copied().collect();
        for conn in conns {
            world.conns.remove(&conn);
            world.speaker.closed(world.now, conn);
            world.drain();
            world.check();
        }
        let now = world.now;
        let id = world.speaker.set_neighbour(now, address(3), config(3));
        world.speaker.enable(now, id);
        world.apply(Op::Pass(121_000));
        Raw::establish(&mut world.speaker, world.now, 3, open(65000, 3));
        prop_assert_eq!(world.speaker.neighbour(id).unwrap().state, State::Established);
    }
}

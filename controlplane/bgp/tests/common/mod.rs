//! Speakers, the connections between them, and a clock. A connection is a byte stream like TCP's: what is sent arrives
//! in order, late, cut anywhere, and a receiver that does not read holds the sender back.

#![allow(dead_code, clippy::unwrap_used, clippy::panic)] // not every test needs all of it

pub mod raw;

use bgp::attribute::{Attributes, NextHop};
use bgp::message::{self, Message, Negotiated};
use bgp::neighbour::{NeighbourConfig, NeighbourId, RemoteAs};
use bgp::policy::Policy;
use bgp::rib::{BestPath, Tracking};
use bgp::speaker::{ConnId, Event, Speaker, SpeakerConfig};
use ipnet::IpNet;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const SECOND: Duration = Duration::from_secs(1);

/// Octets that may be on their way, or wait to be read.
const WINDOW: usize = 32 * 1024;

pub struct Node {
    pub speaker: Speaker,
    pub address: IpAddr,
    pub events: Vec<Event>,
    pub fib: BTreeMap<IpNet, Vec<BestPath>>,
    /// Addresses that cannot be reached from here.
    pub unreachable: BTreeSet<IpAddr>,
    /// Reads what arrives.
    pub reads: bool,
}

enum Packet {
    Syn,
    SynAck,
    Refused,
    Octets(Vec<u8>),
    Fin,
}

struct End {
    node: usize,
    conn: Option<ConnId>,
    arriving: VecDeque<(Instant, Packet)>,
    /// Taken from the speaker, and not in the network yet.
    buffer: VecDeque<u8>,
    writable: bool,
    fin_after_buffer: bool,
}

struct Wire {
    /// The end that connects, and the one that accepts.
    ends: [End; 2],
}

/// What is sent on a connection, as whole messages.
pub struct Sent {
    pub from: usize,
    pub to: usize,
    pub message: Message,
}

pub struct Sim {
    pub now: Instant,
    pub start: Instant,
    pub nodes: Vec<Node>,
    /// All messages that speakers sent.
    pub sent: Vec<Sent>,
    /// One packet in this many is lost and comes late; 0 is none.
    pub loss: u32,
    log: Vec<(Instant, usize, Event)>,
    wires: Vec<Wire>,
    cut: BTreeSet<(usize, usize)>,
    rng: StdRng,
    seed: u64,
}

pub fn address(n: usize) -> IpAddr {
    IpAddr::from([192, 0, 2, n as u8 + 1])
}

pub fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

pub fn speaker_config(n: usize, asn: u32) -> SpeakerConfig {
    let router_id = Ipv4Addr::new(10, 0, 0, n as u8 + 1);
    SpeakerConfig { asn, router_id, cluster_id: router_id, max_paths: 1, restarted: None }
}

/// An internal neighbour, with short timers.
pub fn internal() -> NeighbourConfig {
    NeighbourConfig::new(RemoteAs::Internal)
}

/// An external neighbour that is let do everything.
pub fn external() -> NeighbourConfig {
    let mut config = NeighbourConfig::new(RemoteAs::External);
    config.peering.import = Some(Arc::new(Policy::accept_all()));
    config.peering.export = Some(Arc::new(Policy::accept_all()));
    config
}

impl Sim {
    pub fn new(seed: u64) -> Self {
        let now = Instant::now();
        Self {
            now,
            start: now,
            nodes: Vec::new(),
            sent: Vec::new(),
            loss: 0,
            log: Vec::new(),
            wires: Vec::new(),
            cut: BTreeSet::new(),
            rng: StdRng::seed_from_u64(seed),
            seed,
        }
    }

    /// Two speakers of these ASes that are each other's neighbours.
    pub fn pair(seed: u64, asns: [u32; 2], configs: [NeighbourConfig; 2]) -> Self {
        let mut sim = Self::new(seed);
        asns.into_iter().for_each(|asn| _ = sim.add(asn));
        let [a, b] = configs;
        sim.neighbour(0, 1, a);
        sim.neighbour(1, 0, b);
        sim
    }

    pub fn add(&mut self, asn: u32) -> usize {
        let n = self.nodes.len();
        let speaker = self.speaker(speaker_config(n, asn));
        self.nodes.push(Node {
            speaker,
            address: address(n),
            events: Vec::new(),
            fib: BTreeMap::new(),
            unreachable: BTreeSet::new(),
            reads: true,
        });
        n
    }

    fn speaker(&mut self, config: SpeakerConfig) -> Speaker {
        self.seed += 1000;
        Speaker::new(self.now, config, Box::new(StdRng::seed_from_u64(self.seed)))
    }

    pub fn neighbour(&mut self, node: usize, with: usize, config: NeighbourConfig) -> NeighbourId {
        self.nodes[node].speaker.set_neighbour(self.now, address(with), config)
    }

    pub fn id(&self, node: usize, with: usize) -> NeighbourId {
        self.nodes[node].speaker.neighbour_at(address(with)).unwrap()
    }

    pub fn originate(&mut self, node: usize, prefix: &str) {
        let attributes = Attributes::new(NextHop::from(IpAddr::from([0, 0, 0, 0])));
        self.nodes[node].speaker.originate(self.now, net(prefix), attributes);
    }

    pub fn withdraw(&mut self, node: usize, prefix: &str) {
        self.nodes[node].speaker.withdraw(self.now, &net(prefix));
    }

    /// Does something with a speaker.
    pub fn with<T>(&mut self, node: usize, act: impl FnOnce(&mut Speaker, Instant) -> T) -> T {
        act(&mut self.nodes[node].speaker, self.now)
    }

    /// The peer's process dies and comes back with nothing but its configuration. Its connections are reset, or, with
    /// `silent`, the others do not learn that they are dead.
    pub fn restart(&mut self, node: usize, config: SpeakerConfig, silent: bool) {
        let speaker = self.speaker(config);
        self.nodes[node].speaker = speaker;
        self.nodes[node].fib.clear();
        let at = self.now + SECOND / 100;
        for wire in &mut self.wires {
            let Some(dead) = wire.ends.iter().position(|end| end.node == node) else { continue };
            wire.ends[dead].conn = None;
            wire.ends[dead].buffer.clear();
            wire.ends[dead].arriving.clear();
            if !silent {
                wire.ends[1 - dead].arriving.push_back((at, Packet::Fin));
            }
        }
        self.wires.retain(|wire| !silent || wire.ends.iter().any(|end| end.conn.is_some()));
    }

    /// Nothing passes between two nodes, in either direction.
    pub fn partition(&mut self, a: usize, b: usize) {
        self.cut.extend([(a, b), (b, a)]);
    }

    /// It passes again, what was sent meanwhile first.
    pub fn heal(&mut self, a: usize, b: usize) {
        self.cut.retain(|pair| *pair != (a, b) && *pair != (b, a));
    }

    /// Connections between two nodes are reset.
    pub fn reset(&mut self, a: usize, b: usize) {
        let between = |wire: &Wire| {
            let nodes = [wire.ends[0].node, wire.ends[1].node];
            nodes == [a, b] || nodes == [b, a]
        };
        let (dead, alive) = std::mem::take(&mut self.wires).into_iter().partition(between);
        self.wires = alive;
        for end in dead.into_iter().flat_map(|wire: Wire| wire.ends) {
            if let Some(conn) = end.conn {
                self.nodes[end.node].speaker.closed(self.now, conn);
            }
        }
    }

    pub fn run(&mut self, time: Duration) {
        let until = self.now + time;
        let mut turns = 0;
        loop {
            self.settle();
            let next = self.next();
            if next.is_none_or(|at| at > until) {
                break;
            }
            self.now = self.now.max(next.unwrap());
            self.deliver();
            for node in &mut self.nodes {
                if node.speaker.poll_timeout().is_some_and(|at| at <= self.now) {
                    node.speaker.handle_timeout(self.now);
                }
            }
            turns += 1;
            assert!(turns < 2_000_000, "it does not come to rest");
        }
        self.now = until;
    }

    /// Runs until something holds, for a time at most. Whether it does.
    pub fn run_until(&mut self, time: Duration, holds: impl Fn(&Self) -> bool) -> bool {
        let until = self.now + time;
        while !holds(self) {
            if self.now >= until {
                return false;
            }
            self.run(SECOND / 10);
        }
        true
    }

    pub fn is_up(&self, a: usize, b: usize) -> bool {
        let up = |node: usize, with: usize| {
            let speaker = &self.nodes[node].speaker;
            let id = speaker.neighbour_at(address(with));
            id.and_then(|id| speaker.neighbour(id)).is_some_and(|view| view.since.is_some())
        };
        up(a, b) && up(b, a)
    }

    #[track_caller]
    pub fn bring_up(&mut self, a: usize, b: usize) {
        let up = self.run_until(Duration::from_secs(300), |sim| sim.is_up(a, b));
        assert!(up, "{a} and {b} do not get together\n{}", self.story());
        self.run(2 * SECOND);
    }

    pub fn has(&self, node: usize, prefix: &str) -> bool {
        self.nodes[node].fib.contains_key(&net(prefix))
    }

    /// How many connections are open between nodes.
    pub fn connections(&self) -> usize {
        self.wires.iter().filter(|wire| wire.ends.iter().all(|end| end.conn.is_some())).count()
    }

    pub fn count(&self, from: usize, to: usize, wanted: impl Fn(&Message) -> bool) -> usize {
        self.sent.iter().filter(|s| (s.from, s.to) == (from, to) && wanted(&s.message)).count()
    }

    /// What happened, for a test that fails.
    pub fn story(&self) -> String {
        let routine = |event: &Event| matches!(event, Event::Transmit { .. } | Event::Route(_) | Event::NextHop(_));
        let mut lines = Vec::new();
        for (at, node, event) in self.log.iter().filter(|(_, _, event)| !routine(event)) {
            lines.push(format!("{:9.3} {node} {event:?}", (*at - self.start).as_secs_f64()));
        }
        lines.join("\n")
    }

    /// Events and transmissions, until there are none.
    fn settle(&mut self) {
        loop {
            let mut busy = false;
            for n in 0..self.nodes.len() {
                while let Some(event) = self.nodes[n].speaker.poll_event() {
                    busy = true;
                    self.event(n, event);
                }
            }
            for w in 0..self.wires.len() {
                for side in 0..2 {
                    busy |= self.pump(w, side);
                }
            }
            if !busy {
                return;
            }
        }
    }

    fn event(&mut self, n: usize, event: Event) {
        match &event {
            Event::Connect(connect) => {
                let Some(to) = self.nodes.iter().position(|node| node.address == connect.remote.ip()) else { return };
                let end = |node, conn| End {
                    node,
                    conn,
                    arriving: VecDeque::new(),
                    buffer: VecDeque::new(),
                    writable: false,
                    fin_after_buffer: false,
                };
                self.wires.push(Wire { ends: [end(n, Some(connect.conn)), end(to, None)] });
                let w = self.wires.len() - 1;
                self.post(w, 1, Packet::Syn);
            }
            Event::Close { conn, last } => {
                if let Some((w, side)) = self.find(n, *conn) {
                    self.note(w, side, last);
                    let end = &mut self.wires[w].ends[side];
                    end.conn = None;
                    end.buffer.extend(last);
                    end.fin_after_buffer = true;
                }
            }
            Event::Transmit { conn } => {
                if let Some((w, side)) = self.find(n, *conn) {
                    self.wires[w].ends[side].writable = true;
                }
            }
            Event::Route(change) => {
                let fib = &mut self.nodes[n].fib;
                match change.best.is_empty() {
                    true => fib.remove(&change.prefix),
                    false => fib.insert(change.prefix, change.best.clone()),
                };
            }
            Event::NextHop(Tracking::Start(address)) => {
                let metric = (!self.nodes[n].unreachable.contains(address)).then_some(10);
                self.nodes[n].speaker.next_hop_changed(self.now, *address, metric);
            }
            _ => {}
        }
        self.log.push((self.now, n, event.clone()));
        self.nodes[n].events.push(event);
    }

    fn find(&self, node: usize, conn: ConnId) -> Option<(usize, usize)> {
        self.wires.iter().enumerate().find_map(|(w, wire)| {
            let side = wire.ends.iter().position(|end| end.node == node && end.conn == Some(conn))?;
            Some((w, side))
        })
    }

    /// Takes from the speaker and gives to the network. Whether anything moved.
    fn pump(&mut self, w: usize, side: usize) -> bool {
        let mut moved = false;
        let end = &mut self.wires[w].ends[side];
        if let (Some(conn), true, true) = (end.conn, end.writable, end.buffer.is_empty()) {
            moved = true;
            match self.nodes[end.node].speaker.poll_transmit(self.now, conn) {
                Some(octets) => {
                    assert!(!octets.is_empty());
                    end.buffer.extend(&octets);
                    self.note(w, side, &octets);
                }
                None => end.writable = false,
            }
        }
        let waiting = |packet: &Packet| if let Packet::Octets(octets) = packet { octets.len() } else { 0 };
        let in_flight: usize = self.wires[w].ends[1 - side].arriving.iter().map(|(_, packet)| waiting(packet)).sum();
        let end = &mut self.wires[w].ends[side];
        let room = WINDOW.saturating_sub(in_flight).min(end.buffer.len());
        let octets: Vec<u8> = end.buffer.drain(..room).collect();
        let fin = end.fin_after_buffer && end.buffer.is_empty();
        end.fin_after_buffer &= !fin;
        let mut rest = &octets[..];
        while !rest.is_empty() {
            let (segment, after) = rest.split_at(self.rng.random_range(1..=rest.len().min(1460)));
            self.post(w, 1 - side, Packet::Octets(segment.to_vec()));
            rest = after;
        }
        if fin {
            self.post(w, 1 - side, Packet::Fin);
        }
        moved || room > 0 || fin
    }

    fn note(&mut self, w: usize, side: usize, mut octets: &[u8]) {
        let negotiated = Negotiated {
            four_octet_as: true,
            families: message::Family::ALL.into(),
            extended_message: true,
            ibgp: true,
            ..Negotiated::default()
        };
        let (from, to) = (self.wires[w].ends[side].node, self.wires[w].ends[1 - side].node);
        while !octets.is_empty() {
            let length = message::frame(octets, 65535).unwrap().expect("whole messages");
            let message = message::decode(&octets[..length], &negotiated).unwrap();
            self.sent.push(Sent { from, to, message });
            octets = &octets[length..];
        }
    }

    /// Puts a packet on its way to an end, behind those that are.
    fn post(&mut self, w: usize, side: usize, packet: Packet) {
        let mut delay = self.rng.random_range(1..20);
        if self.loss > 0 && self.rng.random_range(0..self.loss) == 0 {
            delay += self.rng.random_range(200..1500);
        }
        let end = &mut self.wires[w].ends[side];
        let earliest = end.arriving.back().map_or(self.now, |(at, _)| *at);
        end.arriving.push_back((earliest.max(self.now + Duration::from_millis(delay)), packet));
    }

    fn passes(&self, w: usize, side: usize) -> bool {
        let (to, from) = (self.wires[w].ends[side].node, self.wires[w].ends[1 - side].node);
        self.nodes[to].reads && !self.cut.contains(&(from, to))
    }

    fn next(&self) -> Option<Instant> {
        let timeouts = self.nodes.iter().filter_map(|node| node.speaker.poll_timeout());
        let arrivals = (0..self.wires.len()).flat_map(|w| [(w, 0), (w, 1)]).filter_map(|(w, side)| {
            let first = self.wires[w].ends[side].arriving.front().map(|(at, _)| *at);
            first.filter(|_| self.passes(w, side))
        });
        timeouts.chain(arrivals).min()
    }

    fn deliver(&mut self) {
        for w in 0..self.wires.len() {
            for side in 0..2 {
                while self.passes(w, side) {
                    let end = &mut self.wires[w].ends[side];
                    let Some((_, packet)) = end.arriving.pop_front_if(|(at, _)| *at <= self.now) else { break };
                    self.arrive(w, side, packet);
                }
            }
        }
        self.wires.retain(|wire| {
            let over = |end: &End| end.conn.is_none() && end.arriving.is_empty() && !end.fin_after_buffer;
            !wire.ends.iter().all(over)
        });
    }

    fn arrive(&mut self, w: usize, side: usize, packet: Packet) {
        let (node, peer) = (self.wires[w].ends[side].node, self.wires[w].ends[1 - side].node);
        let speaker = &mut self.nodes[node].speaker;
        let conn = self.wires[w].ends[side].conn;
        match (packet, conn) {
            (Packet::Syn, _) => {
                let local = SocketAddr::new(address(node), 179);
                let remote = SocketAddr::new(address(peer), 40_000);
                match speaker.accepted(self.now, local, remote) {
                    Ok(conn) => {
                        self.wires[w].ends[side].conn = Some(conn);
                        self.post(w, 1 - side, Packet::SynAck);
                    }
                    Err(_) => self.post(w, 1 - side, Packet::Refused),
                }
            }
            (Packet::SynAck, Some(conn)) => {
                speaker.connected(self.now, conn, SocketAddr::new(address(node), 40_000));
            }
            (Packet::Octets(octets), Some(conn)) => speaker.received(self.now, conn, &octets),
            (Packet::Refused, Some(conn)) => {
                self.wires[w].ends[side].conn = None;
                speaker.connect_failed(self.now, conn);
            }
            (Packet::Fin, Some(conn)) => {
                self.wires[w].ends[side].conn = None;
                speaker.closed(self.now, conn);
            }
            (_, None) => {}
        }
    }
}

//! A gateway's control plane and any number of initiators on one virtual clock and a virtual network.
//!
//! Between them stands the least that a data plane has to do: it opens and seals ESP with the keys that were
//! programmed, and carries packets to the protocols. (The real workers have tests of their own; this one makes
//! thousands of handshakes a second without a NIC.)

use controlplane::config::Config;
use controlplane::gateway::Gateway;
use controlplane::program::Output;
use dataplane_api::{
    Counters, Inject, MacAddr, PeerId, PortId, PuntClass, PuntMeta, SaOutId, Session, SessionId, SnapshotOp, Spi,
    TableOp,
};
use ipsec_mb::Manager;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use softwire_initiator::{Datagram, Event, Initiator};
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const GATEWAY: &str = "192.0.2.1";
const DELAY: Duration = Duration::from_millis(5);

pub struct Client {
    pub address: IpAddr,
    pub initiator: Initiator,
    pub events: Vec<Event>,
    pub inner: Vec<Vec<u8>>,
}

/// Frames on their way: when, from or to which client, upward or downward.
enum Frame {
    Up(Datagram),
    Down(Datagram),
}

pub struct Fabric {
    pub now: Instant,
    pub gateway: Gateway,
    pub clients: Vec<Client>,
    pub core: Vec<Vec<u8>>,
    pub routes: HashMap<String, SessionId>,
    pub dropped: HashMap<&'static str, u64>,
    pub sessions: HashMap<SessionId, Session>,
    pub audit: Vec<controlplane::audit::Record>,
    flight: VecDeque<(Instant, usize, Frame)>,
    manager: Manager,
    inbound: HashMap<Spi, (PeerId, esp::SaIn)>,
    outbound: HashMap<SaOutId, (IpAddr, Option<u16>, esp::SaOut)>,
    selected: HashMap<PeerId, SaOutId>,
    loss: f64,
    rng: StdRng,
}

impl Fabric {
    pub fn new(yaml: &str, loss: f64) -> Self {
        let config = Arc::new(Config::from_yaml("test.yaml", yaml).unwrap_or_else(|e| panic!("{e}")));
        let now = Instant::now();
        let counters = Arc::new(Counters::new(config.dataplane.max_sessions, config.dataplane.max_sessions));
        let macs = vec![MacAddr::default(); config.ports.len()];
        let gateway = Gateway::new(config, now, &macs, vec![counters], [7; 32]).unwrap();
        Self {
            now,
            gateway,
            clients: Vec::new(),
            core: Vec::new(),
            routes: HashMap::new(),
            dropped: HashMap::new(),
            sessions: HashMap::new(),
            audit: Vec::new(),
            flight: VecDeque::new(),
            manager: Manager::new().unwrap(),
            inbound: HashMap::new(),
            outbound: HashMap::new(),
            selected: HashMap::new(),
            loss,
            rng: StdRng::seed_from_u64(1),
        }
    }

    pub fn add(&mut self, config: softwire_initiator::Config) -> usize {
        let mut root = StdRng::seed_from_u64(1000 + self.clients.len() as u64);
        let seeds = Box::new(move || -> Box<dyn rand_core::CryptoRng + Send> { Box::new(StdRng::from_rng(&mut root)) });
        let address = config.local;
        let initiator = Initiator::new(self.now, config, seeds).unwrap();
        self.clients.push(Client { address, initiator, events: Vec::new(), inner: Vec::new() });
        self.clients.len() - 1
    }

    /// Runs for a time, or until `done`.
    pub fn run(&mut self, time: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + time;
        loop {
            self.settle();
            if done(self) {
                return true;
            }
            let frame = self.flight.front().map(|f| f.0);
            let timers = self.clients.iter_mut().filter_map(|c| c.initiator.poll_timeout()).min();
            let next = [frame, timers, self.gateway.poll_timeout()].into_iter().flatten().min();
            match next {
                Some(t) if t <= end => self.now = self.now.max(t),
                _ => {
                    self.now = end;
                    return done(self);
                }
            }
            self.step();
        }
    }

    fn step(&mut self) {
        let now = self.now;
        while self.flight.front().is_some_and(|f| f.0 <= now) {
            let Some((_, client, frame)) = self.flight.pop_front() else { break };
            match frame {
                Frame::Up(d) => self.up(client, d),
                Frame::Down(d) => self.down(client, d),
            }
        }
        if self.gateway.poll_timeout().is_some_and(|t| t <= now) {
            self.gateway.handle_timeout(now);
        }
        for c in &mut self.clients {
            if c.initiator.poll_timeout().is_some_and(|t| t <= now) {
                c.initiator.handle_timeout(now);
            }
        }
    }

    // Takes what everybody has to say.
    fn settle(&mut self) {
        while let Some(output) = self.gateway.poll_output() {
            match output {
                Output::Op(_, _, op) => self.apply(op),
                Output::Inject(_, msg) => self.inject(msg.how, msg.data),
                Output::Snapshot(SnapshotOp::RouteAdd(p, hops)) => {
                    if let [dataplane_api::NextHop::Session(id)] = hops[..] {
                        self.routes.insert(p.to_string(), id);
                    }
                }
                Output::Snapshot(SnapshotOp::RouteDel(p)) => {
                    self.routes.remove(&p.to_string());
                }
                Output::Snapshot(_) => {}
            }
        }
        while let Some(r) = self.gateway.poll_audit() {
            self.audit.push(r);
        }
        for i in 0..self.clients.len() {
            let c = &mut self.clients[i];
            while let Some(e) = c.initiator.poll_event() {
                c.events.push(e);
            }
            while let Some(p) = c.initiator.poll_inner() {
                c.inner.push(p);
            }
            while let Some(d) = self.clients[i].initiator.poll_datagram() {
                self.send(i, Frame::Up(d));
            }
        }
    }

    fn send(&mut self, client: usize, frame: Frame) {
        if self.loss == 0.0 || !self.rng.random_bool(self.loss) {
            self.flight.push_back((self.now + DELAY, client, frame));
        }
    }

    pub fn drop(&mut self, why: &'static str) {
        *self.dropped.entry(why).or_default() += 1;
    }

    fn apply(&mut self, op: TableOp) {
        match op {
            TableOp::SaInAdd(sa) => {
                let state = esp::SaIn::new(&self.manager, &sa).unwrap();
                assert!(self.inbound.insert(sa.spi, (sa.peer, state)).is_none(), "slot taken");
            }
            TableOp::SaInDel(spi) => assert!(self.inbound.remove(&spi).is_some()),
            TableOp::SaOutAdd(sa) => {
                let state = esp::SaOut::new(&self.manager, &sa).unwrap();
                let row = (sa.remote, sa.encap.map(|e| e.remote_port), state);
                assert!(self.outbound.insert(sa.id, row).is_none(), "slot taken");
            }
            TableOp::SaOutDel(id) => assert!(self.outbound.remove(&id).is_some()),
            TableOp::PeerSelect { peer, sa: Some(sa) } => drop(self.selected.insert(peer, sa)),
            TableOp::PeerSelect { peer, sa: None } => drop(self.selected.remove(&peer)),
            TableOp::PeerMoved { .. } => {}
            TableOp::SessionAdd(s) => assert!(self.sessions.insert(s.id, s).is_none(), "slot taken"),
            TableOp::SessionSet(s) => assert!(self.sessions.insert(s.id, s).is_some()),
            TableOp::SessionDel(id) => assert!(self.sessions.remove(&id).is_some()),
        }
    }

    fn up(&mut self, client: usize, datagram: Datagram) {
        let (from, gateway) = (self.clients[client].address, GATEWAY.parse().unwrap());
        let meta = |class, sport, dport| PuntMeta {
            class,
            port: PortId(0),
            peer: None,
            spi: None,
            session: None,
            src: SocketAddr::new(from, sport),
            dst: SocketAddr::new(gateway, dport),
        };
        match datagram {
            Datagram::Udp { from: sport, to: 500, data } => {
                self.gateway.handle_punt(self.now, &meta(PuntClass::Ike, sport, 500), &data);
            }
            Datagram::Udp { from: sport, to: 4500, data } => match data.as_slice() {
                [0, 0, 0, 0, message @ ..] => {
                    self.gateway.handle_punt(self.now, &meta(PuntClass::Ike, sport, 4500), message);
                }
                [0xff] => {}
                _ => self.esp(data, meta(PuntClass::L2tpControl, 1701, 1701)),
            },
            Datagram::Esp(data) => self.esp(data, meta(PuntClass::L2tpControl, 1701, 1701)),
            Datagram::Udp { .. } => self.drop("clear"),
        }
    }

    fn esp(&mut self, mut data: Vec<u8>, mut meta: PuntMeta) {
        let spi = Spi(u32::from_be_bytes(data[..4].try_into().unwrap()));
        let Some((peer, sa)) = self.inbound.get_mut(&spi) else { return self.drop("sa_unknown") };
        let peer = *peer;
        match esp::open(&mut self.manager, sa, &mut data) {
            Ok(o) => assert_eq!(o.next_header, 17),
            Err(_) => return self.drop("esp"),
        }
        (meta.peer, meta.spi) = (Some(peer), Some(spi));
        self.l2tp(&data[8..], meta);
    }

    /// An L2TP message as it comes out of ESP.
    pub fn l2tp(&mut self, message: &[u8], mut meta: PuntMeta) {
        let h = wire::l2tp::Header::parse(message).unwrap();
        if h.control {
            return self.gateway.handle_punt(self.now, &meta, message);
        }
        let id = SessionId::from_wire(h.tunnel, h.session);
        let Some(session) = self.sessions.get(&id) else { return self.drop("session_unknown") };
        if session.peer != meta.peer {
            return self.drop("session_binding");
        }
        meta.session = Some(id);
        let (protocol, at) = wire::ppp::protocol(&message[h.len..h.end]).unwrap();
        let information = &message[h.len + at..h.end];
        let frame = [&protocol.to_be_bytes()[..], information].concat();
        let source: Option<IpAddr> = match protocol {
            0x21 => Some(IpAddr::from(<[u8; 4]>::try_from(&information[12..16]).unwrap())),
            0x57 => Some(IpAddr::from(<[u8; 16]>::try_from(&information[8..24]).unwrap())),
            _ => None,
        };
        let inner = session.inner;
        meta.class = PuntClass::PppControl;
        match source {
            None => self.gateway.handle_punt(self.now, &meta, &frame),
            Some(_) if !(inner.ipv4 && protocol == 0x21 || inner.ipv6 && protocol == 0x57) => {
                self.drop("session_closed")
            }
            Some(s) if inner.prefixes.iter().flatten().any(|p| p.contains(s)) => self.core.push(information.to_vec()),
            Some(IpAddr::V6(s)) if Some(s) == inner.link_local || s.is_unspecified() => {
                meta.class = PuntClass::SessionHost;
                self.gateway.handle_punt(self.now, &meta, &frame);
            }
            Some(_) => self.drop("inner_source"),
        }
    }

    fn inject(&mut self, how: Inject, data: Vec<u8>) {
        match how {
            Inject::Udp { peer: None, src, dst, raw } => {
                let marker: &[u8] = if src.port() == 4500 && !raw { &[0; 4] } else { &[] };
                let d = Datagram::Udp { from: src.port(), to: dst.port(), data: [marker, &data].concat() };
                self.deliver(dst.ip(), d);
            }
            Inject::Udp { peer: Some(peer), .. } => self.seal(peer, &data),
            Inject::Ppp(id) => {
                let Some(s) = self.sessions.get(&id) else { return self.drop("session_unknown") };
                let mut message = vec![0; wire::l2tp::data_len(false)];
                wire::l2tp::emit_data(&mut message, s.peer_tunnel, s.peer_session, None);
                message.extend_from_slice(&[0xff, 3]);
                message.extend_from_slice(&data);
                let peer = s.peer.unwrap();
                self.seal(peer, &message);
            }
            Inject::Frame(_) => {}
        }
    }

    /// An inner packet from the core to a session.
    pub fn core_packet(&mut self, id: SessionId, packet: &[u8]) {
        let protocol: [u8; 2] = if packet[0] >> 4 == 4 { [0, 0x21] } else { [0, 0x57] };
        self.inject(Inject::Ppp(id), [&protocol[..], packet].concat());
    }

    fn seal(&mut self, peer: PeerId, message: &[u8]) {
        let sa = self.selected.get(&peer).and_then(|id| self.outbound.get_mut(id));
        let Some((remote, port, sa)) = sa else { return self.drop("sa_missing") };
        let mut datagram = vec![0; wire::udp::HEADER];
        wire::udp::emit(&mut datagram, 1701, 1701, (8 + message.len()) as u16);
        datagram.extend_from_slice(message);
        esp::seal(&mut self.manager, sa, 17, &mut datagram).unwrap();
        let remote = *remote;
        let out = match *port {
            Some(port) => Datagram::Udp { from: 4500, to: port, data: datagram },
            None => Datagram::Esp(datagram),
        };
        self.deliver(remote, out);
    }

    fn deliver(&mut self, to: IpAddr, datagram: Datagram) {
        if let Some(i) = self.clients.iter().position(|c| c.address == to) {
            self.send(i, Frame::Down(datagram));
        }
    }

    fn down(&mut self, client: usize, datagram: Datagram) {
        let (now, gateway) = (self.now, GATEWAY.parse().unwrap());
        let initiator = &mut self.clients[client].initiator;
        match datagram {
            Datagram::Udp { from, to, data } => initiator.handle_udp(now, to, SocketAddr::new(gateway, from), &data),
            Datagram::Esp(data) => initiator.handle_esp(now, &data),
        }
    }
}

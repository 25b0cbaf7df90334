//! A gateway and any number of initiators on one virtual clock, joined by in-memory links.
//!
//! ```text
//!   initiators ── access network ──► port 0 ┐                       ┌ port 1 ──► core
//!   198.18.0.0/15   (delay, loss)           │ two real workers, ESP │
//!                                           └── rings, FIB ─────────┘
//!                                                 │ punt ▲ inject, table and snapshot changes
//!                                             controlplane::Gateway
//! ```
//!
//! The workers are those of the product, polled by hand; only the NICs are memory (`dpdk::sim`). A subscriber's frames
//! come in on the queue that a hash of its address names, so that half of them are handed from worker to worker.

use crate::ports::DataPlane;
use crate::servers::Servers;
use controlplane::config::{Config, Problem};
use controlplane::gateway::Gateway;
use controlplane::northbound::{self, Applied, Query};
use controlplane::program::Output;
use dataplane_api::{MacAddr, PortId, SaIn, SaOut, SaOutId, Session, SessionId, SnapshotOp, TableOp};
use ipsec_mb::Manager;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use softwire_initiator::{Datagram, Event, Initiator};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use wire::{ip, ipv4, udp};

pub const GATEWAY: &str = "192.0.2.1";
/// The router of the access network, and a host in the core.
pub const ROUTER: &str = "192.0.2.254";
pub const SERVER: &str = "2001:db8:c::2";
pub const ACCESS: usize = 0;
pub const CORE: usize = 1;
const DELAY: Duration = Duration::from_millis(5);

pub struct Client {
    pub address: IpAddr,
    pub initiator: Initiator,
    pub events: Vec<Event>,
    pub inner: Vec<Vec<u8>>,
}

/// On its way from or to a client.
enum Frame {
    Up(Datagram),
    Down(Datagram),
}

pub struct Fabric {
    pub now: Instant,
    pub gateway: Gateway,
    pub data_plane: DataPlane,
    pub clients: Vec<Client>,
    /// IP packets that reached the core.
    pub core: Vec<Vec<u8>>,
    /// What the control plane has programmed.
    pub routes: HashMap<String, SessionId>,
    pub sessions: HashMap<SessionId, Session>,
    pub audit: Vec<controlplane::audit::Record>,
    pub events: Vec<northbound::Event>,
    pub servers: Servers,
    inbound: HashMap<IpAddr, SaIn>,
    forged: usize,
    flight: VecDeque<(Instant, IpAddr, Frame)>,
    loss: f64,
    rng: StdRng,
}

impl Fabric {
    pub fn new(yaml: &str, loss: f64) -> Self {
        let config = Arc::new(Config::from_yaml("test.yaml", yaml).unwrap_or_else(|e| panic!("{e}")));
        let now = Instant::now();
        let mut data_plane = DataPlane::new(config.dataplane.max_sessions);
        let macs = vec![MacAddr::default(); config.ports.len()];
        let mut gateway = Gateway::new(config, now, &macs, data_plane.counters(), [7; 32]).unwrap();
        gateway.neighbour(PortId(ACCESS as u16), ROUTER.parse().unwrap(), Some(MacAddr([2, 0, 0, 0, 0, 9])));
        gateway.neighbour(PortId(CORE as u16), SERVER.parse().unwrap(), Some(MacAddr([2, 0, 0, 0, 1, 9])));
        data_plane.poll();
        Self {
            now,
            gateway,
            data_plane,
            clients: Vec::new(),
            core: Vec::new(),
            routes: HashMap::new(),
            sessions: HashMap::new(),
            audit: Vec::new(),
            events: Vec::new(),
            servers: Servers::new(),
            inbound: HashMap::new(),
            forged: 0,
            flight: VecDeque::new(),
            loss,
            rng: StdRng::seed_from_u64(1),
        }
    }

    /// Another configuration for the gateway.
    pub fn configure(&mut self, yaml: &str, dry: bool) -> Result<Applied, Vec<Problem>> {
        let config = Config::from_yaml("test.yaml", yaml).unwrap_or_else(|e| panic!("{e}"));
        let (to, answer) = tokio::sync::oneshot::channel();
        self.gateway.handle_query(self.now, Query::Configure(Box::new(config), dry, to));
        answer.blocking_recv().unwrap()
    }

    pub fn add(&mut self, config: softwire_initiator::Config) -> usize {
        let mut root = StdRng::seed_from_u64(1000 + self.clients.len() as u64);
        let seeds = Box::new(move || -> Box<dyn rand_core::CryptoRng + Send> { Box::new(StdRng::from_rng(&mut root)) });
        let address = config.local;
        let initiator = Initiator::new(self.now, config, seeds).unwrap();
        self.clients.push(Client { address, initiator, events: Vec::new(), inner: Vec::new() });
        self.clients.len() - 1
    }

    /// What the management plane asks.
    pub fn ask<T>(&mut self, query: impl FnOnce(oneshot::Sender<T>) -> Query) -> T {
        let (to, mut answer) = oneshot::channel();
        self.gateway.handle_query(self.now, query(to));
        answer.try_recv().unwrap()
    }

    /// Drops by reason, all workers.
    pub fn drops(&self) -> BTreeMap<&'static str, u64> {
        self.data_plane.drops()
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
            let next = [frame, timers, self.gateway.poll_timeout(), self.servers.due()].into_iter().flatten().min();
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
        let index: HashMap<IpAddr, usize> = self.clients.iter().enumerate().map(|(i, c)| (c.address, i)).collect();
        while self.flight.front().is_some_and(|f| f.0 <= now) {
            let Some((_, address, frame)) = self.flight.pop_front() else { break };
            match frame {
                Frame::Up(d) => self.up(address, d),
                // Nobody is there to hear it when the client has gone.
                Frame::Down(d) => {
                    if let Some(&i) = index.get(&address) {
                        self.down(i, d);
                    }
                }
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

    /// Until nobody has anything to say at this moment.
    fn settle(&mut self) {
        loop {
            self.program();
            let now = self.now;
            let mut busy = self.data_plane.attend(now, &mut self.gateway);
            self.core.extend(self.data_plane.sent(CORE));
            for packet in self.data_plane.sent(ACCESS) {
                self.towards_client(&packet);
            }
            busy |= self.servers.carry(now, &mut self.gateway);
            while let Some(r) = self.gateway.poll_audit() {
                self.audit.push(r);
            }
            while let Some(event) = self.gateway.poll_event() {
                self.events.push(event);
            }
            if !busy {
                break;
            }
        }
        self.data_plane.check();
        for i in 0..self.clients.len() {
            let c = &mut self.clients[i];
            while let Some(e) = c.initiator.poll_event() {
                c.events.push(e);
            }
            while let Some(p) = c.initiator.poll_inner() {
                c.inner.push(p);
            }
            while let Some(d) = self.clients[i].initiator.poll_datagram() {
                self.send(self.clients[i].address, Frame::Up(d));
            }
        }
    }

    fn send(&mut self, client: IpAddr, frame: Frame) {
        if self.loss == 0.0 || !self.rng.random_bool(self.loss) {
            self.flight.push_back((self.now + DELAY, client, frame));
        }
    }

    // Carries the gateway's output to the workers, and keeps book of it.
    fn program(&mut self) {
        let Self { data_plane, gateway, routes, sessions, inbound, .. } = self;
        data_plane.program(gateway, |output| match output {
            Output::Op(_, _, op) => match op {
                TableOp::SaInAdd(sa) => drop(inbound.insert(sa.remote, sa.clone())),
                TableOp::SessionAdd(s) => assert!(sessions.insert(s.id, *s).is_none(), "slot taken"),
                TableOp::SessionSet(s) => assert!(sessions.insert(s.id, *s).is_some(), "no such session"),
                TableOp::SessionDel(id) => assert!(sessions.remove(id).is_some(), "no such session"),
                _ => {}
            },
            Output::Snapshot(SnapshotOp::RouteAdd(p, hops)) => {
                if let [dataplane_api::NextHop::Session(id)] = hops[..] {
                    routes.insert(p.to_string(), id);
                }
            }
            Output::Snapshot(SnapshotOp::RouteDel(p)) => drop(routes.remove(&p.to_string())),
            _ => {}
        });
    }

    fn up(&mut self, from: IpAddr, datagram: Datagram) {
        let (protocol, payload) = match datagram {
            Datagram::Udp { from, to, data } => (ip::UDP, datagram_of(from, to, &data)),
            Datagram::Esp(data) => (ip::ESP, data),
        };
        let (IpAddr::V4(src), IpAddr::V4(dst)) = (from, GATEWAY.parse().unwrap()) else { panic!("IPv4 outside") };
        let packet = packet4(src, dst, protocol, &payload);
        let queue = u32::from(src) as usize % self.data_plane.workers();
        self.data_plane.receive(ACCESS, queue, &packet);
    }

    /// An L2TP message as if `client` had sent it: under its inbound SA at the gateway, far ahead in its window.
    pub fn forge(&mut self, client: usize, message: &[u8]) {
        let address = self.clients[client].address;
        let sa = &self.inbound[&address];
        let out = SaOut {
            id: SaOutId(sa.spi.slot().unwrap()),
            spi: sa.spi.0,
            peer: sa.peer,
            suite: sa.suite,
            key: sa.key.clone(),
            esn: sa.esn,
            mode: sa.mode,
            local: sa.remote,
            remote: sa.local,
            encap: None,
            selector: dataplane_api::Selector::ANY,
            lifetime: dataplane_api::Lifetime::default(),
        };
        let mut manager = Manager::new().unwrap();
        let mut sealer = esp::SaOut::new(&manager, &out).unwrap();
        self.forged += 1;
        for _ in 0..1000 * self.forged {
            esp::seal(&mut manager, &mut sealer, ip::UDP, &mut datagram_of(1701, 1701, &[])).unwrap();
        }
        let mut data = datagram_of(1701, 1701, message);
        esp::seal(&mut manager, &mut sealer, ip::UDP, &mut data).unwrap();
        self.up(address, Datagram::Esp(data));
    }

    /// An IPv6 packet from the core.
    pub fn core_packet(&mut self, packet: &[u8]) {
        self.data_plane.receive(CORE, packet[packet.len() - 1] as usize % self.data_plane.workers(), packet);
    }

    fn towards_client(&mut self, packet: &[u8]) {
        let h = ipv4::Ipv4::parse(packet).unwrap();
        assert!(h.checksum_ok() && !h.is_fragment());
        let to = IpAddr::V4(h.dst());
        match h.protocol() {
            ip::ESP => self.send(to, Frame::Down(Datagram::Esp(h.payload().to_vec()))),
            ip::UDP => {
                let u = udp::Udp::parse(h.payload()).unwrap();
                assert!(u.checksum_ok(h.src().into(), to));
                let data = u.payload().to_vec();
                self.send(to, Frame::Down(Datagram::Udp { from: u.src_port(), to: u.dst_port(), data }));
            }
            other => panic!("protocol {other} to the access network"),
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

fn datagram_of(from: u16, to: u16, data: &[u8]) -> Vec<u8> {
    let mut out = vec![0; udp::HEADER];
    udp::emit(&mut out, from, to, (udp::HEADER + data.len()) as u16);
    out.extend_from_slice(data);
    out
}

fn packet4(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0; ipv4::HEADER];
    let total_len = (ipv4::HEADER + payload.len()) as u16;
    ipv4::Repr { tos: 0, total_len, id: 0, flags: 0, ttl: 64, protocol, src, dst }.emit(&mut out);
    out.extend_from_slice(payload);
    out
}

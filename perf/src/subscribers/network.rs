//! Subscribers, the gateway and its servers on one clock.
//!
//! ```text
//!   client ── DELAY ──► policer ─► ring ─┐                      a turn, as the driver's: up to 256 packets,
//!   client ── DELAY ──► of a class ──────┼─► Gateway ─► table   timers, output; the clock goes on by the
//!   ...                                  │              changes processor time that it took
//!   server ── 20 ms ─────────────────────┘
//! ```
//!
//! Subscribers and servers take no time: each is a machine of its own. The policer's rates and the ring's depth are those
//! of a worker; what they refuse is lost, as there.

use super::client::{Client, Down, Has, Up};
use super::servers::Servers;
use super::{Source, address, config, gateway, index};
use crate::clock::Clock;
use anyhow::{Context, ensure};
use controlplane::gateway::Gateway;
use controlplane::northbound::{CountersInfo, Query, StatusInfo};
use controlplane::program::Output;
use dataplane::bucket::Bucket;
use dataplane::node::punt::DEFAULT_RATES;
use dataplane::publish::Publisher;
use dataplane_api::punt::PUNT_CLASSES;
use dataplane_api::{
    Counters, Inject, InjectMsg, MacAddr, OpSeq, PeerId, PortId, PuntClass, PuntMeta, SessionId, Spi, TableOp,
    WorkerHandle, worker_channel,
};
use fastpath::bed::Ringed;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::{Duration, Instant};
use timers::Timers;
use tokio::sync::oneshot;

/// One way.
const DELAY: Duration = Duration::from_millis(5);
/// The driver's: time between its turns where nothing is to be done, packets in one, depth of the rings.
const TICK: Duration = Duration::from_millis(1);
const PACKETS: usize = 256;
const RING: usize = 1024;

/// What the gateway's time is spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// IKE.
    Ike,
    /// L2TP control.
    L2tp,
    /// PPP control.
    Ppp,
    /// Router solicitations, DHCPv6.
    Inner,
    /// RADIUS.
    Radius,
    /// Timers.
    Timers,
    /// Taking the output, records and events.
    Output,
}

impl Work {
    /// All of it.
    pub const ALL: [Self; 7] =
        [Self::Ike, Self::L2tp, Self::Ppp, Self::Inner, Self::Radius, Self::Timers, Self::Output];
}

/// A worker that takes the table changes, and who publishes the rest.
pub struct DataPlane {
    /// The control plane's end of its rings.
    pub worker: WorkerHandle,
    /// Of what it reads.
    pub publisher: Publisher,
    /// The worker, where it has no thread of its own.
    pub ringed: Option<Ringed>,
}

impl DataPlane {
    /// Of a worker, which may be put in or live on another thread. Nothing but counters is left to whoever has that.
    pub fn of(ringed: &mut Ringed) -> anyhow::Result<Self> {
        let handle = &mut ringed.bed.handle;
        let (nobodys, _) = worker_channel(handle.id, 1, Arc::clone(&handle.counters));
        let worker = std::mem::replace(handle, nobodys);
        Ok(Self { worker, publisher: ringed.publisher.take().context("a publisher")?, ringed: None })
    }

    /// Until the worker has gone on.
    fn wait(&mut self) -> anyhow::Result<()> {
        match &mut self.ringed {
            Some(ringed) => _ = ringed.bed.worker.poll(),
            None => std::thread::yield_now(),
        }
        ensure!(!self.worker.ops.is_abandoned(), "the worker is gone");
        Ok(())
    }
}

/// See the module.
pub struct Network {
    /// The clock.
    pub now: Instant,
    /// The gateway.
    pub gateway: Gateway,
    /// RADIUS.
    pub servers: Servers,
    /// Packets lost before the gateway: at the policer, at the ring, and for want of an SA or session.
    pub lost: [u64; 3],
    /// Subscribers that were turned away or gave up, and began again; why the last one did.
    pub again: (usize, String),
    /// Records of the audit log about somebody refused.
    pub rejected: usize,
    /// Processor time by kind of work.
    pub spent: [Duration; Work::ALL.len()],
    /// Up to when that was told.
    pub reported: Instant,
    /// Table changes and changes of the snapshot so far.
    pub changes: [u64; 2],
    /// SAs that the gateway has made, where they are kept for the subscribers' ends.
    pub made: Option<Vec<TableOp>>,
    counters: Arc<Counters>,
    /// Where the changes go.
    pub dataplane: Option<DataPlane>,
    clients: Vec<Option<Client>>,
    began: Vec<Instant>,
    /// How long each subscriber took whose softwire is complete, from its first beginning.
    pub took: Vec<Option<Duration>>,
    complete: usize,
    lives: u64,
    timers: Timers<u32>,
    deadlines: Vec<Option<Instant>>,
    up: VecDeque<(Instant, u32, Up)>,
    down: VecDeque<(Instant, u32, Down)>,
    buckets: [Bucket; PUNT_CLASSES],
    ring: VecDeque<(PuntMeta, Vec<u8>)>,
    next_turn: Instant,
    // As in the worker's tables: whose SA it is, and whose session.
    sas: HashMap<u32, PeerId>,
    peers: HashMap<PeerId, u32>,
    sessions: HashMap<SessionId, (Option<PeerId>, u32)>,
}

impl Network {
    /// A gateway for `n` subscribers, none of which is there yet. `dataplane` has room for [`super::slots`] sessions.
    pub fn new(n: usize, source: Source, rekey: &str, dataplane: Option<DataPlane>) -> anyhow::Result<Self> {
        let (config, now) = (Arc::new(config(n, source, rekey)?), Instant::now());
        let slots = config.dataplane.max_sessions;
        let own = || Arc::new(Counters::new(slots, slots));
        let counters = dataplane.as_ref().map_or_else(own, |d| Arc::clone(&d.worker.counters));
        let macs = [MacAddr::default(); 2];
        let mut gateway = Gateway::new(config, now, &macs, vec![Arc::clone(&counters)], [7; 32])?;
        if source == Source::Radius {
            gateway.start_accounting(now, std::iter::empty());
        }
        let mut network = Self {
            now,
            gateway,
            servers: Servers::default(),
            lost: [0; 3],
            again: (0, String::new()),
            rejected: 0,
            spent: Default::default(),
            reported: now,
            changes: [0; 2],
            made: None,
            counters,
            dataplane,
            clients: std::iter::repeat_with(|| None).take(n).collect(),
            began: vec![now; n],
            took: vec![None; n],
            complete: 0,
            lives: 0,
            timers: Timers::default(),
            deadlines: vec![None; n],
            up: VecDeque::new(),
            down: VecDeque::new(),
            buckets: DEFAULT_RATES.map(|(rate, burst)| Bucket::new(rate, burst, now)),
            ring: VecDeque::new(),
            next_turn: now,
            sas: HashMap::new(),
            peers: HashMap::new(),
            sessions: HashMap::new(),
        };
        // Ports, routes and the SPD.
        network.turn()?;
        Ok(network)
    }

    /// Subscribers whose softwire is complete.
    pub fn complete(&self) -> usize {
        self.complete
    }

    /// A subscriber begins; whatever it had before is gone, and it says no word of that.
    pub fn begin(&mut self, i: u32) -> anyhow::Result<()> {
        let at = i as usize;
        self.complete -= usize::from(self.took[at].take().is_some());
        self.began[at] = self.now;
        self.live(i)
    }

    fn live(&mut self, i: u32) -> anyhow::Result<()> {
        self.lives += 1;
        self.clients[i as usize] = Some(Client::new(self.now, i, self.lives)?);
        self.settle(i)
    }

    /// All vanish.
    pub fn vanish(&mut self) {
        for (i, client) in self.clients.iter_mut().enumerate() {
            *client = None;
            self.timers.set(i as u32, &mut self.deadlines[i], None);
        }
        self.took.fill(None);
        self.complete = 0;
        self.up.clear();
        self.down.clear();
    }

    /// Runs until `done`, or for a time; whether it is done.
    pub fn run(&mut self, time: Duration, mut done: impl FnMut(&Self) -> bool) -> anyhow::Result<bool> {
        let end = self.now + time;
        loop {
            self.arrive()?;
            if done(self) {
                return Ok(true);
            }
            let waits = !self.ring.is_empty() || self.servers.due().is_some_and(|t| t <= self.now);
            let due = self.gateway.poll_timeout();
            if self.now >= self.next_turn && (waits || due.is_some_and(|t| t <= self.now)) {
                self.turn()?;
                continue;
            }
            let turn = (waits || due.is_some_and(|t| t <= self.next_turn)).then_some(self.next_turn);
            let fronts = [self.up.front().map(|f| f.0), self.down.front().map(|f| f.0)];
            let answer = self.servers.due().filter(|t| *t > self.now);
            let others = [turn, due.filter(|_| turn.is_none()), self.timers.next(), answer];
            match fronts.into_iter().chain(others).flatten().min() {
                Some(t) if t <= end => self.now = t.max(self.now),
                _ => {
                    self.now = end;
                    return Ok(done(self));
                }
            }
        }
    }

    /// What has reached its end by now.
    fn arrive(&mut self) -> anyhow::Result<()> {
        let now = self.now;
        while let Some((at, i, packet)) = self.up.pop_front_if(|f| f.0 <= now) {
            self.punt(at, i, packet);
        }
        while let Some((_, i, packet)) = self.down.pop_front_if(|f| f.0 <= now) {
            if let Some(client) = &mut self.clients[i as usize] {
                client.handle_input(now, &packet);
                self.settle(i)?;
            }
        }
        let due: Vec<u32> = self.timers.due(now).collect();
        for i in due {
            if let Some(client) = &mut self.clients[i as usize] {
                client.handle_timeout(now);
                self.settle(i)?;
            }
        }
        Ok(())
    }

    /// As the worker does.
    fn punt(&mut self, at: Instant, i: u32, packet: Up) {
        let inside = |spi: &u32| self.sas.get(spi).copied();
        let (class, peer, session, port, data) = match packet {
            Up::Ike(data) => (PuntClass::Ike, None, None, 500, data),
            Up::L2tp(spi, data) => match inside(&spi) {
                Some(peer) => (PuntClass::L2tpControl, Some((peer, spi)), None, 1701, data),
                None => return self.lost[2] += 1,
            },
            Up::Ppp(spi, session, data) => {
                let owner = self.sessions.get(&session).and_then(|s| s.0);
                match inside(&spi).filter(|peer| owner == Some(*peer)) {
                    Some(peer) => {
                        let inner = data.starts_with(&[0x00, 0x57]);
                        let class = if inner { PuntClass::SessionHost } else { PuntClass::PppControl };
                        (class, Some((peer, spi)), Some(session), 1701, data)
                    }
                    None => return self.lost[2] += 1,
                }
            }
        };
        if !self.buckets[class as usize].take(1, at) {
            return self.lost[0] += 1;
        }
        if self.ring.len() >= RING {
            return self.lost[1] += 1;
        }
        let (src, dst) = ((address(i), port).into(), gateway(port));
        let (peer, spi) = peer.map_or((None, None), |(peer, spi)| (Some(peer), Some(Spi(spi))));
        self.ring.push_back((PuntMeta { class, port: PortId(0), peer, spi, session, src, dst, ttl: 64 }, data));
    }

    /// The gateway's turn. Only its own processor time moves the clock.
    fn turn(&mut self) -> anyhow::Result<()> {
        let (now, mut clock) = (self.now, Clock::start()?);
        let mut count = |spent: &mut [Duration; Work::ALL.len()], work| -> anyhow::Result<()> {
            spent[work as usize] += clock.lap()?;
            Ok(())
        };
        let before: Duration = self.spent.iter().sum();
        for _ in 0..PACKETS {
            let Some((meta, data)) = self.ring.pop_front() else { break };
            self.gateway.handle_punt(now, &meta, &data);
            let work = match meta.class {
                PuntClass::Ike => Work::Ike,
                PuntClass::L2tpControl => Work::L2tp,
                PuntClass::PppControl => Work::Ppp,
                _ => Work::Inner,
            };
            count(&mut self.spent, work)?;
        }
        while let Some((purpose, link, octets)) = self.servers.arrived(now) {
            self.gateway.radius_input(now, purpose, link, &octets);
            count(&mut self.spent, Work::Radius)?;
        }
        let events = self.dataplane.iter_mut().flat_map(|d| std::iter::from_fn(|| d.worker.events.pop().ok()));
        for event in events {
            self.gateway.handle_event(now, event);
            count(&mut self.spent, Work::Ike)?;
        }
        if self.gateway.poll_timeout().is_some_and(|t| t <= now) {
            self.gateway.handle_timeout(now);
            count(&mut self.spent, Work::Timers)?;
        }
        let output: Vec<Output> = std::iter::from_fn(|| self.gateway.poll_output()).collect();
        while let Some(record) = self.gateway.poll_audit() {
            self.rejected += usize::from(record.verb == controlplane::audit::Verb::Reject);
        }
        while self.gateway.poll_event().is_some() {}
        while self.gateway.poll_unresolved().is_some() {}
        while self.gateway.poll_lease().is_some() {}
        count(&mut self.spent, Work::Output)?;
        self.now += self.spent.iter().sum::<Duration>() - before;
        self.next_turn = self.now.max(now + TICK);
        self.carry(output)?;
        self.servers.take(self.now, &mut self.gateway)
    }

    fn carry(&mut self, output: Vec<Output>) -> anyhow::Result<()> {
        let (mut snapshot, mut last) = (Vec::new(), 0);
        for output in output {
            match output {
                Output::Op(_, seq, op) => {
                    self.op(seq, op)?;
                    last = seq;
                }
                Output::Inject(_, InjectMsg { how, data, .. }) => self.inject(how, data),
                Output::Snapshot(op) => snapshot.push(op),
            }
        }
        self.applied(last)?;
        self.changes[1] += snapshot.len() as u64;
        if let Some(d) = self.dataplane.as_mut().filter(|_| !snapshot.is_empty()) {
            while !d.publisher.quiescent() {
                d.wait()?;
            }
            let errors = d.publisher.apply(&snapshot).context("workers read the tables already")?;
            ensure!(errors.is_empty(), "routes do not fit: {:?}", errors.first());
        }
        Ok(())
    }

    fn op(&mut self, seq: OpSeq, op: TableOp) -> anyhow::Result<()> {
        self.changes[0] += 1;
        if let Some(made) = self.made.as_mut().filter(|_| matches!(op, TableOp::SaInAdd(_) | TableOp::SaOutAdd(_))) {
            made.push(op.clone());
        }
        match &op {
            TableOp::SaInAdd(sa) => {
                self.sas.insert(sa.spi.0, sa.peer);
                self.peers.extend(index(sa.remote).map(|i| (sa.peer, i)));
            }
            TableOp::SaInDel(spi) => drop(self.sas.remove(&spi.0)),
            TableOp::SessionAdd(s) => {
                self.sessions.extend(index(s.outer.remote.ip()).map(|i| (s.id, (s.peer, i))));
            }
            TableOp::SessionDel(id) => drop(self.sessions.remove(id)),
            _ => {}
        }
        let Some(d) = &mut self.dataplane else {
            self.counters.worker.applied.store(seq, Release);
            return Ok(());
        };
        let mut refused = d.worker.ops.push((seq, op)).err();
        while let Some(rtrb::PushError::Full(op)) = refused {
            d.wait()?;
            refused = d.worker.ops.push(op).err();
        }
        Ok(())
    }

    /// Until the worker has applied the last change: a packet for a peer waits for that.
    fn applied(&mut self, last: OpSeq) -> anyhow::Result<()> {
        let Some(d) = &mut self.dataplane else { return Ok(()) };
        while d.worker.counters.worker.applied.load(Acquire) < last {
            d.wait()?;
        }
        Ok(())
    }

    fn inject(&mut self, how: Inject, data: Vec<u8>) {
        let (to, packet) = match how {
            Inject::Udp { peer: None, dst, .. } => (index(dst.ip()), Down::Ike(data)),
            Inject::Udp { peer: Some(peer), .. } => (self.peers.get(&peer).copied(), Down::L2tp(data)),
            Inject::Ppp(id) => (self.sessions.get(&id).map(|s| s.1), Down::Ppp(data)),
            Inject::Frame(_) => return,
        };
        let to = to.filter(|i| self.clients.get(*i as usize).is_some_and(Option::is_some));
        self.down.extend(to.map(|i| (self.now + DELAY, i, packet)));
    }

    /// Sends what a subscriber has to say, and sees how far it is.
    fn settle(&mut self, i: u32) -> anyhow::Result<()> {
        let at = i as usize;
        let Some(client) = &mut self.clients[at] else { return Ok(()) };
        while let Some(packet) = client.poll_transmit() {
            self.up.push_back((self.now + DELAY, i, packet));
        }
        if let Some(why) = client.down.take() {
            self.complete -= usize::from(self.took[at].take().is_some());
            self.again = (self.again.0 + 1, why);
            return self.live(i);
        }
        if client.has == Has::ALL && self.took[at].is_none() {
            self.took[at] = Some(self.now - self.began[at]);
            self.complete += 1;
        }
        self.timers.set(i, &mut self.deadlines[at], client.poll_timeout().map(|t| t.max(self.now + TICK)));
        Ok(())
    }

    /// A subscriber that is there.
    pub fn client(&self, i: u32) -> Option<&Client> {
        self.clients.get(i as usize)?.as_ref()
    }

    /// What the management plane would be told.
    pub fn status(&mut self) -> anyhow::Result<(StatusInfo, CountersInfo)> {
        let (to, status) = oneshot::channel();
        self.gateway.handle_query(self.now, Query::Status(to));
        let (to, counters) = oneshot::channel();
        self.gateway.handle_query(self.now, Query::Counters(to));
        Ok((status.blocking_recv()?, counters.blocking_recv()?))
    }
}

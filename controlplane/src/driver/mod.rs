//! The control plane's thread: the only place with a clock, sockets and devices.
//!
//! One loop carries everything: punted packets and events from the workers' rings to the [`Gateway`], its output back
//! to the rings, questions from the management plane, neighbours from netlink, and the host stack's TAPs. The rings are
//! polled every millisecond; the protocols behind them count in tens of milliseconds.

mod bgp;
mod dhcp6;
mod host;
mod host_routes;
mod journal;
mod protection;
mod radius;
mod rtr;
mod tls;

use crate::config::{Config, Problem};
use crate::gateway::Gateway;
use crate::northbound::{Applied, Query, Southbound};
use crate::program::Output;
use dataplane_api::trace::TRACE_BUFFERS;
use dataplane_api::{Inject, InjectMsg, PortId, SnapshotOp, WorkerHandle};
use host::{HostStack, Neighbour};
use journal::Journal;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{mpsc, watch};

/// Time between looks at the rings.
const TICK: Duration = Duration::from_millis(1);
/// Time a shutdown may take until peers have been told.
const SHUTDOWN: Duration = Duration::from_secs(5);
/// Time that BGP's last words take through the kernel, the TAPs and the workers.
const FAREWELL: Duration = Duration::from_millis(300);

/// Where snapshot changes go; they are published together.
pub type Publish = Box<dyn FnMut(Vec<SnapshotOp>) + Send>;

/// What keeps [`Driver::new`] from starting and can be known before: files that the configuration names.
pub fn check(config: &Config) -> Result<(), Problem> {
    rtr::check(config)?;
    radius::check(config)
}

/// The control plane at work.
pub struct Driver {
    gateway: Gateway,
    workers: Vec<WorkerHandle>,
    publish: Publish,
    host: HostStack,
    frames: mpsc::Receiver<(PortId, Vec<u8>)>,
    neighbours: mpsc::Receiver<Neighbour>,
    north: Southbound,
    bgp: bgp::Connections,
    rtr: rtr::Caches,
    radius: radius::Servers,
    dhcp6: dhcp6::Servers,
    leases: Option<Journal>,
    stop: watch::Receiver<bool>,
}

impl Driver {
    /// Makes the TAPs and subscribes to netlink; `macs` are the ports' addresses, which the TAPs take over.
    pub async fn new(
        config: &Arc<Config>,
        mut gateway: Gateway,
        workers: Vec<WorkerHandle>,
        publish: Publish,
        macs: &[dataplane_api::MacAddr],
        north: Southbound,
        stop: watch::Receiver<bool>,
    ) -> anyhow::Result<Self> {
        check(config)?;
        let (host, frames, neighbours) = HostStack::new(config, macs).await?;
        let bgp = bgp::Connections::new(Instant::now(), config, &mut gateway)?;
        let rtr = rtr::Caches::new(Instant::now(), &mut gateway);
        let radius = radius::Servers::new(Instant::now(), config, &mut gateway).await?;
        let dhcp6 = dhcp6::Servers::new(config).await?;
        let leases = Journal::leases(Instant::now(), Path::new(&config.api.state), &mut gateway);
        Ok(Self { gateway, workers, publish, host, frames, neighbours, north, bgp, rtr, radius, dhcp6, leases, stop })
    }

    /// Runs until told to stop, then ends the softwires in order.
    pub async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut stopped: Option<Instant> = None;
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                Some(event) = self.bgp.next() => self.bgp.handle(Instant::now(), event, &mut self.gateway),
                Some(event) = self.rtr.next() => self.rtr.handle(Instant::now(), event, &mut self.gateway),
                Some(event) = self.radius.next() => self.radius.handle(Instant::now(), event, &mut self.gateway),
                Some(message) = self.dhcp6.next() => self.gateway.relay_input(Instant::now(), &message),
                Some(query) = self.north.recv() => self.query(query).await,
                Some((port, frame)) = self.frames.recv() => self.host_frame(port, frame),
                Some(n) = self.neighbours.recv() => self.gateway.neighbour(n.port, n.address, n.mac),
                _ = self.stop.changed(), if stopped.is_none() => {
                    let now = Instant::now();
                    self.gateway.close_all(now);
                    stopped = Some(now);
                }
            }
            let now = Instant::now();
            self.drain_workers(now).await;
            if self.gateway.poll_timeout().is_some_and(|t| t <= now) {
                self.gateway.handle_timeout(now);
            }
            self.bgp.act(now, &mut self.gateway);
            self.radius.act(now, &mut self.gateway);
            if let Some(leases) = &mut self.leases {
                leases.write(now, &mut self.gateway);
            }
            self.dhcp6.act(&mut self.gateway);
            self.flush();
            while let Some((port, address)) = self.gateway.poll_unresolved() {
                self.host.resolve(port, address).await;
            }
            while let Some(record) = self.gateway.poll_audit() {
                record.log();
            }
            while let Some(event) = self.gateway.poll_event() {
                self.north.publish(SystemTime::now(), event);
            }
            let least = if self.bgp.in_use() { FAREWELL } else { Duration::ZERO };
            if stopped.map(|t| now - t).is_some_and(|d| d >= SHUTDOWN || self.gateway.is_idle() && d >= least) {
                return;
            }
        }
    }

    async fn query(&mut self, query: Query) {
        match query {
            Query::Configure(document, dry, to) => {
                let _ = to.send(self.configure(*document, dry).await);
            }
            query => self.gateway.handle_query(Instant::now(), query),
        }
    }

    /// What may fail comes first: when all files are read and all sockets open, the gateway and they change.
    async fn configure(&mut self, document: Config, dry: bool) -> Result<Applied, Vec<Problem>> {
        let one = |problem| vec![problem];
        let plan = self.gateway.plan(document)?;
        check(plan.document()).map_err(one)?;
        let (applied, config, old) = (plan.applied(), Arc::clone(&plan.config), self.gateway.config());
        let bgp = self.bgp.open_listeners(&config).map_err(one)?;
        let radius = self.radius.open(&config).await.map_err(one)?;
        let dhcp6 = self.dhcp6.open(&config).await.map_err(one)?;
        if dry {
            return Ok(applied);
        }
        let now = Instant::now();
        self.gateway.apply(now, plan);
        self.dhcp6.configure(&config, dhcp6);
        self.rtr.configure(now, &mut self.gateway);
        let radius = self.radius.configure(now, &config, radius, &mut self.gateway);
        let bgp = self.bgp.configure(now, &config, bgp, &mut self.gateway).await;
        for error in [radius.err(), bgp.err()].into_iter().flatten() {
            tracing::error!(error = format!("{error:#}"), "what could be opened a moment ago cannot now");
        }
        self.host.configure(&old, &config).await;
        Ok(applied)
    }

    async fn drain_workers(&mut self, now: Instant) {
        for w in &mut self.workers {
            // A bound, so that a flood cannot keep timers and questions waiting.
            for _ in 0..256 {
                let Ok(mut msg) = w.punt.pop() else { break };
                if msg.meta.class.is_host() {
                    self.host.send(msg.meta.port, &mut msg.data).await;
                } else {
                    self.gateway.handle_punt(now, &msg.meta, &msg.data);
                }
                msg.data.clear();
                // The ring has room for every buffer there is.
                let _ = w.punt_free.push(msg.data);
            }
            while let Ok(event) = w.events.pop() {
                self.gateway.handle_event(now, event);
            }
            while w.inject_free.pop().is_ok() {}
            for _ in 0..TRACE_BUFFERS {
                if !w.next_traced(|packet| self.gateway.handle_trace(packet)) {
                    break;
                }
            }
        }
    }

    fn host_frame(&mut self, port: PortId, frame: Vec<u8>) {
        // Nothing that was programmed has to come before a frame of the host.
        let msg = InjectMsg { after: 0, how: Inject::Frame(port), data: frame };
        if let Some(w) = self.workers.first_mut() {
            // A full ring drops it, as a full NIC queue would.
            let _ = w.inject.push(msg);
        }
    }

    // Output in order; a full ring holds the rest back until the next tick.
    fn flush(&mut self) {
        let mut snapshot = Vec::new();
        while let Some(output) = self.gateway.poll_output() {
            let refused = match output {
                Output::Snapshot(op) => {
                    snapshot.push(op);
                    None
                }
                Output::Op(id, seq, op) => match self.workers.get_mut(usize::from(id.0)) {
                    Some(w) => w.ops.push((seq, op)).err().map(|e| {
                        let rtrb::PushError::Full((seq, op)) = e;
                        Output::Op(id, seq, op)
                    }),
                    None => None,
                },
                Output::Inject(id, msg) => match self.workers.get_mut(usize::from(id.0)) {
                    Some(w) => w.inject.push(msg).err().map(|e| {
                        let rtrb::PushError::Full(msg) = e;
                        Output::Inject(id, msg)
                    }),
                    None => None,
                },
            };
            if let Some(output) = refused {
                self.gateway.unpoll_output(output);
                break;
            }
        }
        if !snapshot.is_empty() {
            (self.publish)(snapshot);
        }
    }
}

//! A packet core: one thread, two ports, its part of the subscribers. It polls; nothing in it waits or takes a lock.
//!
//! ```text
//!   access port ──► ARP, ND │ IKE, L2TP ──► population │ ESP ──► open ──► probe? ──► tally
//!                                              │                       └─ no ──► population
//!   access port ◄── frames ◄── datagrams ◄─────┘
//!   access port ◄── seal ◄── probes ◄── tally ──► probes ──► network port
//!                                         ▲
//!   network port ──► ARP, ND │ probe ─────┘
//! ```

mod orders;
mod receive;
mod send;
mod side;

pub use orders::{News, Order, Plan, Status, Trial};
pub use side::Side;

use crate::population::Population;
use crate::profile::Poll;
use crate::tally::Tally;
use dpdk::{Burst, Mempool};
use receive::Pending;
use send::Sending;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::{Duration, Instant};

/// How often a core says how it stands.
const STATUS: Duration = Duration::from_millis(100);
const NAP: Duration = Duration::from_micros(50);

/// See the module.
pub struct Engine {
    population: Population,
    access: Side,
    network: Option<Side>,
    tally: Tally,
    sending: Option<Sending>,
    /// Of the last trial.
    turns: [[u64; 2]; 2],
    /// When its books go to the lab.
    closing: Option<Instant>,
    pool: Mempool,
    /// ESP packets of one poll, and what is known of them.
    lane: Burst,
    pending: Vec<Pending>,
    gateway: IpAddr,
    poll: Poll,
    id: u16,
    heard: u64,
    orders: Receiver<Order>,
    news: Sender<News>,
}

impl Engine {
    /// Puts a core together.
    pub fn new(
        population: Population,
        (access, network): (Side, Option<Side>),
        tally: Tally,
        pool: Mempool,
        (gateway, poll): (IpAddr, Poll),
        (orders, news): (Receiver<Order>, Sender<News>),
    ) -> Self {
        Self {
            population,
            access,
            network,
            tally,
            sending: None,
            turns: [[0; 2]; 2],
            closing: None,
            pool,
            lane: Burst::new(),
            pending: Vec::with_capacity(Burst::CAPACITY),
            gateway,
            poll,
            id: 0,
            heard: 0,
            orders,
            news,
        }
    }

    /// Runs until it is told to end, or nobody listens any more.
    pub fn run(mut self) {
        let mut status = Instant::now();
        loop {
            let now = Instant::now();
            let busy = self.turn(now);
            if now >= status {
                status = now + STATUS;
                if self.news.send(News::Status(Box::new(self.status()))).is_err() {
                    return;
                }
            }
            if self.closing.is_some_and(|t| t <= now) {
                self.close();
            }
            match self.orders.try_recv() {
                Ok(order) => self.obey(now, order),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return,
            }
            if !busy && self.poll == Poll::Idle {
                std::thread::sleep(NAP);
            }
        }
    }

    /// One poll of everything. Says whether there was anything to do.
    fn turn(&mut self, now: Instant) -> bool {
        let mut busy = self.receive_access(now);
        busy |= self.receive_network(now);
        busy |= self.population.drive(now);
        self.access.ask(now, &self.pool);
        if let Some(network) = &mut self.network {
            network.ask(now, &self.pool);
        }
        busy |= self.send_datagrams();
        // What waits afterwards is what a port has not taken, and probes wait behind it.
        self.flush();
        busy |= self.send_up(now);
        busy |= self.send_down(now);
        self.flush();
        busy
    }

    fn flush(&mut self) {
        self.access.flush();
        if let Some(network) = &mut self.network {
            network.flush();
        }
    }

    fn obey(&mut self, now: Instant, order: Order) {
        self.heard += 1;
        match order {
            Order::Pursue(goal) => self.population.pursue(now, goal),
            Order::Send(plan) => {
                self.tally.begin(plan.trial);
                self.closing = None;
                self.sending = Some(Sending::new(now, &plan, &self.population.subscribers));
            }
            Order::Stop { drain } => {
                self.turns = self.sending.take().map(|s| s.turns).unwrap_or_default();
                self.closing = Some(now + drain);
            }
        }
    }

    // Everything that will come has come.
    fn close(&mut self) {
        self.closing = None;
        let [up, down] = &self.tally.latency;
        let trial = Trial { flows: self.tally.flows, turns: self.turns, latency: [up.clone(), down.clone()] };
        // Nobody listens only when the lab has ended.
        let _ = self.news.send(News::Trial(Box::new(trial)));
    }

    fn status(&self) -> Status {
        let silent = self.access.silent().chain(self.network.iter().flat_map(Side::silent)).collect();
        Status {
            heard: self.heard,
            census: self.population.census,
            record: self.population.record.clone(),
            flows: self.tally.flows,
            sizes_refused: self.sending.as_ref().is_some_and(|s| s.too_big),
            silent,
            ports: [Some(&self.access), self.network.as_ref()].into_iter().flatten().map(Side::counters).collect(),
        }
    }
}

//! The packet cores of a test, seen as one.

use crate::engine::{Engine, News, Order, Plan, Side, Status, Trial};
use crate::fleet::Fleet;
use crate::link::Link;
use crate::neighbours::Neighbours;
use crate::population::{Census, Goal, Population, Record};
use crate::profile::Profile;
use crate::tally::{Flow, Tally, histogram};
use anyhow::{Context, bail};
use dpdk::{Eal, Mempool, Port, PortConfig, lcore};
use rand::TryRng;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

/// Buffers that a core keeps for itself.
const CACHE: u32 = 256;
const DATA_ROOM: u16 = 2048;
/// The gateway answers ARP and neighbour discovery within this time, or there is no use in going on.
const ANSWER: Duration = Duration::from_secs(20);

/// All packet cores.
pub struct Lab {
    cores: Vec<Handle>,
    trial: u8,
}

struct Handle {
    orders: Option<Sender<Order>>,
    given: u64,
    news: Receiver<News>,
    status: Option<Status>,
    trial: Option<Trial>,
    thread: Option<JoinHandle<()>>,
}

/// How all of them stand together.
pub struct Overview {
    /// Subscribers by state.
    pub census: Census,
    /// Since the last goal was set.
    pub record: Record,
    /// The current trial, up and down.
    pub flows: [Flow; 2],
    /// A size does not fit.
    pub sizes_refused: bool,
    /// The gateway's addresses that have not answered.
    pub silent: Vec<IpAddr>,
    /// Packets that ports dropped or could not send, by all causes.
    pub port_drops: u64,
}

impl Lab {
    /// Starts DPDK, the ports and the packet cores, and waits until the gateway is there.
    pub fn open(profile: &Arc<Profile>) -> anyhow::Result<Self> {
        let args: Vec<&str> = profile.generator.eal.iter().map(String::as_str).collect();
        Eal::init(&args)?;
        let mut cores = Vec::new();
        for index in 0..profile.generator.cores.len() {
            cores.push(start(profile, index).with_context(|| format!("generator.cores[{index}]"))?);
        }
        let mut lab = Self { cores, trial: 0 };
        let until = Instant::now() + ANSWER;
        loop {
            let silent = lab.wait(Duration::from_millis(200))?.silent;
            match silent.first() {
                None => return Ok(lab),
                Some(_) if Instant::now() < until => {}
                Some(address) => bail!("the gateway's address {address} does not answer ARP or neighbour discovery"),
            }
        }
    }

    /// Gives all of them a goal, of which each has its part.
    pub fn pursue(&mut self, goal: Goal) {
        let part = goal.part(self.cores.len() as u32);
        for core in &mut self.cores {
            core.order(Order::Pursue(part));
        }
    }

    /// Begins a trial: so many packets per second up and down, shared out evenly, to all but the share `churning`.
    pub fn send(&mut self, sizes: &[u16], pps: [f64; 2], churning: f64) {
        self.trial = self.trial.wrapping_add(1);
        let pps = pps.map(|pps| pps / self.cores.len() as f64);
        let plan = Plan { trial: self.trial, sizes: sizes.to_vec(), pps, churning };
        for core in &mut self.cores {
            core.order(Order::Send(plan.clone()));
        }
    }

    /// Ends a trial. Packets that are on their way are waited for, then there are [`Self::books`].
    pub fn stop(&mut self, drain: Duration) {
        for core in &mut self.cores {
            core.trial = None;
            core.order(Order::Stop { drain });
        }
    }

    /// What became of a trial's packets, when all cores have said so.
    pub fn books(&mut self) -> Option<Trial> {
        if self.cores.iter().any(|c| c.trial.is_none()) {
            return None;
        }
        let mut all = Trial { flows: [Flow::default(); 2], turns: [[0; 2]; 2], latency: [histogram(), histogram()] };
        for trial in self.cores.iter_mut().filter_map(|c| c.trial.take()) {
            for way in 0..2 {
                all.flows[way].add(&trial.flows[way]);
                all.turns[way].iter_mut().zip(trial.turns[way]).for_each(|(sum, n)| *sum += n);
                // All have the same bounds.
                let _ = all.latency[way].add(&trial.latency[way]);
            }
        }
        Some(all)
    }

    /// Lets time pass, and says how they stand then.
    pub fn wait(&mut self, time: Duration) -> anyhow::Result<Overview> {
        let until = Instant::now() + time;
        for core in &mut self.cores {
            core.listen(until)?;
        }
        Ok(self.overview())
    }

    fn overview(&self) -> Overview {
        let mut all = Overview {
            census: Census::default(),
            record: Record::new(),
            flows: [Flow::default(); 2],
            sizes_refused: false,
            silent: Vec::new(),
            port_drops: 0,
        };
        for status in self.cores.iter().filter_map(|c| c.status.as_ref()) {
            all.census.add(&status.census);
            all.record.add(&status.record);
            all.sizes_refused |= status.sizes_refused;
            all.silent.extend(&status.silent);
            for p in &status.ports {
                all.port_drops += p.rx_missed + p.rx_no_buffer + p.tx_errors;
            }
            for way in 0..2 {
                all.flows[way].add(&status.flows[way]);
            }
        }
        all
    }
}

impl Handle {
    fn order(&mut self, order: Order) {
        self.given += 1;
        // What it has said so far was said before this order.
        self.status = None;
        // A core that is gone is found when it is listened to.
        let _ = self.orders.as_ref().map(|o| o.send(order));
    }

    /// Takes what it says until then, and at least one word about how it stands.
    fn listen(&mut self, until: Instant) -> anyhow::Result<()> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let patience = if self.status.is_none() { left.max(Duration::from_secs(5)) } else { left };
            match self.news.recv_timeout(patience) {
                Ok(News::Status(status)) => self.status = Some(*status).filter(|s| s.heard == self.given),
                Ok(News::Trial(trial)) => self.trial = Some(*trial),
                Ok(News::Failed(why)) => bail!("packet core: {why}"),
                Err(RecvTimeoutError::Timeout) if self.status.is_some() => return Ok(()),
                Err(RecvTimeoutError::Timeout) => bail!("a packet core does not answer"),
                Err(RecvTimeoutError::Disconnected) => bail!("a packet core has ended"),
            }
            if self.status.is_some() && Instant::now() >= until {
                return Ok(());
            }
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.orders = None;
        // A thread that has panicked has said so.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn start(profile: &Arc<Profile>, index: usize) -> anyhow::Result<Handle> {
    let core = &profile.generator.cores[index];
    let pool = Mempool::new(&format!("capacity{index}"), profile.generator.buffers, CACHE, DATA_ROOM, None)?;
    let now = Instant::now();
    let router = core.access.via.unwrap_or(profile.gateway.address);
    let access = side(now, &core.access.device, &pool, core.access.vlan, &[core.access.address], &[router])?;
    let network = core.network.as_ref();
    let network = network.map(|n| side(now, &n.device, &pool, n.vlan, &n.addresses, &n.via)).transpose()?;
    let fleet = Fleet::new(profile, index)?;
    let tally = Tally::new(fleet.count, lcore::tsc_hz()?);
    let clock = (now, SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default());
    let mut seed = [0; 32];
    rand::rngs::SysRng.try_fill_bytes(&mut seed).context("the operating system gives no random numbers")?;
    let population = Population::new(profile, fleet, clock, seed)?;
    let (orders, taken) = channel();
    let (said, news) = channel();
    let failed = said.clone();
    let settings = (profile.gateway.address, profile.generator.poll);
    let engine = Engine::new(population, (access, network), tally, pool, settings, (taken, said));
    let cpu = core.cpu;
    let thread = std::thread::Builder::new().name(format!("packets{index}")).spawn(move || {
        let ready = lcore::register().and_then(|r| cpu.map_or(Ok(()), lcore::pin).map(|()| r));
        match ready {
            Ok(_registration) => engine.run(),
            Err(e) => {
                // Nobody listens only when the lab has ended.
                let _ = failed.send(News::Failed(e.to_string()));
            }
        }
    })?;
    Ok(Handle { orders: Some(orders), given: 0, news, status: None, trial: None, thread: Some(thread) })
}

fn side(
    now: Instant,
    device: &str,
    pool: &Mempool,
    vlan: Option<u16>,
    own: &[IpAddr],
    routers: &[IpAddr],
) -> anyhow::Result<Side> {
    let mut port = Port::attach(device)?;
    port.configure(&PortConfig { promiscuous: true, ..PortConfig::default() }, pool)?;
    port.start()?;
    let queues = port.take_queues()?.pop().context("a port without queues")?;
    let link = Link { mac: port.mac()?, vlan };
    Ok(Side::new(port, queues, link, Neighbours::new(now, link, own, routers)))
}

//! Starting and stopping: EAL, buffers, ports, the workers' threads and the publisher's.
//!
//! The publisher is a thread of its own, since it waits for workers to let go of old snapshots. It takes batches in
//! order; each is visible to every worker when its `done` is called.

use crate::handoff::Handoff;
use crate::node::punt::{DEFAULT_RATES, Rates};
use crate::publish::{FibSizes, PublishError, Publisher, Snapshot};
use crate::steer::{Steering, steer};
use crate::worker::{Parts, Worker};
use arc_swap::ArcSwap;
use dataplane_api::id::{MAX_WORKERS, SLOTS};
use dataplane_api::{Counters, FibCounters, MacAddr, PortCounters, SnapshotOp, WorkerHandle, WorkerId, worker_channel};
use dpdk::{Eal, Mempool, Port, RxQueue, TxQueue};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Room for data in a large buffer: what reassembly can give (8 fragments of 1,500 octets) and long IKE messages.
const LARGE_ROOM: u16 = 16 * 1024;
/// Large buffers per worker.
const LARGE_PER_WORKER: u32 = 127;
/// Time between two looks at whether workers have let go of a snapshot.
const QUIESCE: Duration = Duration::from_micros(100);
/// Time between questions to ports.
const ASK: Duration = Duration::from_secs(1);

/// Changes after which no more are waited for.
const BATCH: usize = 16 * 1024;

/// A port to attach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSpec {
    /// Devargs (`net_af_packet0,iface=g0`), or a PCI address.
    pub device: String,
    /// Largest IP packet; the device is asked to carry it.
    pub mtu: u16,
}

/// How the data plane is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// Arguments of the EAL.
    pub eal: Vec<String>,
    /// Ports, in the order of their `PortId`.
    pub ports: Vec<PortSpec>,
    /// The core of each worker.
    pub workers: Vec<usize>,
    /// Never sleep.
    pub busy: bool,
    /// Sessions, inbound SAs and outbound SAs, per worker.
    pub sessions: usize,
    /// Packet buffers.
    pub buffers: u32,
    /// Routes per family.
    pub routes: u32,
    /// Depth of each ring between a worker and the control plane, and between workers.
    pub ring_depth: usize,
    /// Punt rates per class and worker.
    pub rates: Rates,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            eal: Vec::new(),
            ports: Vec::new(),
            workers: vec![0],
            busy: false,
            sessions: 4096,
            buffers: 8192,
            routes: 65_536,
            ring_depth: 1024,
            rates: DEFAULT_RATES,
        }
    }
}

/// Why the data plane does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// DPDK says no.
    #[error(transparent)]
    Dpdk(#[from] dpdk::Error),
    /// A port failed; which one.
    #[error("port {device}: {error}")]
    Port {
        /// Its devargs.
        device: String,
        /// What failed.
        error: dpdk::Error,
    },
    /// A configured number is out of range.
    #[error("{0}")]
    Config(&'static str),
    /// The operating system gave no thread.
    #[error("thread: {0}")]
    Thread(#[from] std::io::Error),
    /// Cryptography cannot be used on this machine.
    #[error("ESP: {0}")]
    Sad(String),
}

/// A data plane that runs.
pub struct Running {
    /// The control plane's ends of the rings, by worker.
    pub workers: Vec<WorkerHandle>,
    /// Takes snapshot changes.
    pub publisher: PublisherHandle,
    /// What the workers use now.
    pub tables: Arc<ArcSwap<Snapshot>>,
    /// How full the forwarding tables are.
    pub fib: Arc<FibCounters>,
    /// The ports' Ethernet addresses.
    pub macs: Vec<MacAddr>,
    /// What the ports' devices tell.
    pub ports: Vec<Arc<PortCounters>>,
    /// How the ports' devices spread packets over the workers.
    pub steering: Vec<Steering>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    /// Ports stay open as long as there is one of these.
    _devices: Arc<[Port]>,
}

/// Takes snapshot changes; may be cloned and sent anywhere.
#[derive(Clone, Debug)]
pub struct PublisherHandle(mpsc::Sender<Request>);

/// Called on the publisher's thread.
type Done = Box<dyn FnOnce(Vec<PublishError>) + Send>;

struct Request {
    ops: Vec<SnapshotOp>,
    done: Option<Done>,
}

impl PublisherHandle {
    /// Publishes `ops` together, after all that were given before.
    pub fn publish(&self, ops: Vec<SnapshotOp>) {
        // After `stop` nobody forwards anything any more.
        let _ = self.0.send(Request { ops, done: None });
    }

    /// As [`Self::publish`]; `done` is called when every worker uses the result, with what could not be applied.
    pub fn publish_then(&self, ops: Vec<SnapshotOp>, done: impl FnOnce(Vec<PublishError>) + Send + 'static) {
        let _ = self.0.send(Request { ops, done: Some(Box::new(done)) });
    }

    /// As [`Self::publish`], and waits until every worker uses the result.
    pub fn publish_and_wait(&self, ops: Vec<SnapshotOp>) -> Vec<PublishError> {
        let (tx, rx) = mpsc::channel();
        self.publish_then(ops, move |errors| {
            let _ = tx.send(errors);
        });
        rx.recv().unwrap_or_default()
    }
}

/// Starts everything: EAL, ports, and one thread per worker.
pub fn start(config: &Config) -> Result<Running, Error> {
    check(config)?;
    let memory = memory(config).to_string();
    let mut args: Vec<&str> = config.eal.iter().map(String::as_str).collect();
    // Without huge pages the EAL takes 64 MiB unless told otherwise.
    if args.contains(&"--no-huge") && !args.iter().any(|a| a.starts_with("-m")) {
        args.extend(["-m", &memory]);
    }
    Eal::init(&args)?;
    let count = config.workers.len();
    let pool = Mempool::new("packets", config.buffers, 256.min(config.buffers / 4), 2048, None)?;
    let mut ports = Vec::new();
    for spec in &config.ports {
        ports.push(
            attach(spec, count as u16, &pool).map_err(|error| Error::Port { device: spec.device.clone(), error })?,
        );
    }
    start_on(config, pool, ports)
}

/// Starts on ports that are configured and started, and whose queues were not taken yet.
pub fn start_on(config: &Config, pool: Mempool, mut ports: Vec<Port>) -> Result<Running, Error> {
    check(config)?;
    let count = config.workers.len();
    let large = Mempool::new("large", LARGE_PER_WORKER * count as u32, 0, LARGE_ROOM, None)?;
    let macs = ports.iter().map(|p| p.mac().map(MacAddr)).collect::<Result<_, _>>()?;
    let mut queues: Vec<Vec<(RxQueue, TxQueue)>> = (0..count).map(|_| Vec::new()).collect();
    let steering = ports.iter_mut().map(|port| steer(port, count as u16)).collect();
    for port in &mut ports {
        for (worker, pair) in queues.iter_mut().zip(port.take_queues()?) {
            worker.push(pair);
        }
    }
    let publisher = Publisher::new(ports.len(), sizes(config.routes));
    let stop = Arc::new(AtomicBool::new(false));
    let (requests_tx, requests) = mpsc::channel();
    let told: Vec<Arc<PortCounters>> = ports.iter().map(|_| Arc::default()).collect();
    let devices: Arc<[Port]> = ports.into();
    let mut running = Running {
        workers: Vec::new(),
        publisher: PublisherHandle(requests_tx),
        tables: publisher.shared(),
        fib: publisher.counters(),
        macs,
        ports: told.clone(),
        steering,
        stop: Arc::clone(&stop),
        threads: Vec::new(),
        _devices: Arc::clone(&devices),
    };
    let ends = queues.into_iter().zip(Handoff::mesh(count, config.ring_depth));
    for (n, ((queues, handoff), &core)) in ends.zip(&config.workers).enumerate() {
        let counters = Arc::new(Counters::new(config.sessions, config.sessions));
        let (handle, port) = worker_channel(WorkerId(n as u8), config.ring_depth, counters);
        let parts = Parts {
            port,
            queues,
            pool,
            large,
            shared: publisher.shared(),
            handoff,
            rates: config.rates,
            sessions: config.sessions,
            sas: config.sessions,
        };
        running.workers.push(handle);
        let thread = worker_thread(parts, core, Arc::clone(&stop), config.busy);
        match thread {
            Ok(thread) => running.threads.push(thread),
            Err(e) => {
                running.stop();
                return Err(e);
            }
        }
    }
    let thread = std::thread::Builder::new().name("publisher".into()).spawn({
        let stop = Arc::clone(&stop);
        let ask = Devices { devices, told, due: Instant::now() };
        move || publish(publisher, ask, &requests, &stop)
    });
    match thread {
        Ok(thread) => running.threads.push(thread),
        Err(e) => {
            running.stop();
            return Err(e.into());
        }
    }
    Ok(running)
}

impl Running {
    /// Stops the workers and the publisher and waits for them. Packets in flight are freed.
    pub fn stop(&mut self) {
        self.stop.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            // A worker that panicked has ended too.
            let _ = thread.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

fn check(config: &Config) -> Result<(), Error> {
    if config.workers.is_empty() || config.workers.len() > MAX_WORKERS {
        return Err(Error::Config("the number of workers must be 1 to 16"));
    }
    if config.sessions == 0 || config.sessions > SLOTS as usize {
        return Err(Error::Config("the number of sessions per worker must be 1 to 1048576"));
    }
    if config.ring_depth == 0 {
        return Err(Error::Config("the depth of the rings must not be 0"));
    }
    Ok(())
}

fn sizes(routes: u32) -> FibSizes {
    // Prefixes from pools lie together and share blocks, and of a full IPv6 table two prefixes share one; a scattered /64
    // takes up to five of its own.
    let blocks = routes.max(1024);
    FibSizes { routes_v4: routes, blocks_v4: blocks, routes_v6: routes, blocks_v6: blocks }
}

/// MiB that the EAL must provide: the buffers, and what rings, ports and reassembly take.
fn memory(config: &Config) -> u64 {
    let mib = |octets: u64| octets >> 20;
    let workers = config.workers.len() as u64;
    let buffers = mib(2560 * u64::from(config.buffers)) + workers * mib(17 * 1024 * u64::from(LARGE_PER_WORKER));
    buffers + 64 + 16 * workers * config.ports.len().max(1) as u64
}

fn attach(spec: &PortSpec, queues: u16, pool: &Mempool) -> Result<Port, dpdk::Error> {
    let mut port = Port::attach(&spec.device)?;
    let config = dpdk::PortConfig { queues, mtu: Some(spec.mtu), ..dpdk::PortConfig::default() };
    port.configure(&config, pool)?;
    port.start()?;
    // Neighbour discovery and routing protocols use groups; drivers that cannot filter receive them anyway.
    let _ = port.set_all_multicast(true);
    Ok(port)
}

/// Makes the worker on its own thread, so that its memory is near its core, and says whether that worked.
fn worker_thread(parts: Parts, core: usize, stop: Arc<AtomicBool>, busy: bool) -> Result<JoinHandle<()>, Error> {
    let (tx, made) = mpsc::channel();
    let name = format!("worker{}", parts.port.id.0);
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        let ready = || -> Result<_, Error> {
            let lcore = dpdk::lcore::register()?;
            dpdk::lcore::pin(core)?;
            Ok((lcore, Worker::new(parts)?))
        };
        match ready() {
            Ok((_lcore, mut worker)) => {
                let _ = tx.send(Ok(()));
                worker.run(&stop, busy);
            }
            Err(e) => {
                let _ = tx.send(Err(e));
            }
        }
    })?;
    match made.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(e)) => Err(e),
        Err(_) => Err(Error::Config("a worker ended while it was made")),
    }
}

/// The ports, which are asked now and then what they have to tell.
struct Devices {
    devices: Arc<[Port]>,
    told: Vec<Arc<PortCounters>>,
    due: Instant,
}

impl Devices {
    fn ask(&mut self, now: Instant) {
        if now < self.due {
            return;
        }
        self.due = now + ASK;
        for (port, told) in self.devices.iter().zip(&self.told) {
            // What a driver does not tell stays as it is.
            if let Ok(link) = port.link() {
                let known = link.up && link.speed != u32::MAX;
                told.up.set(u64::from(link.up));
                told.speed.set(if known { u64::from(link.speed) } else { 0 });
            }
            let Ok(s) = port.stats() else { continue };
            for (counter, n) in [
                (&told.rx_packets, s.rx_packets),
                (&told.rx_octets, s.rx_octets),
                (&told.tx_packets, s.tx_packets),
                (&told.tx_octets, s.tx_octets),
                (&told.rx_missed, s.rx_missed),
                (&told.rx_errors, s.rx_errors),
                (&told.rx_no_buffer, s.rx_no_buffer),
                (&told.tx_errors, s.tx_errors),
            ] {
                counter.set(n);
            }
        }
    }
}

fn publish(mut publisher: Publisher, mut devices: Devices, requests: &mpsc::Receiver<Request>, stop: &AtomicBool) {
    let stopped = || stop.load(Relaxed);
    while !stopped() {
        devices.ask(Instant::now());
        let request = match requests.recv_timeout(Duration::from_millis(50)) {
            Ok(request) => request,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                publisher.quiescent();
                continue;
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
        };
        let wait = |publisher: &mut Publisher| {
            while !publisher.quiescent() && !stopped() {
                std::thread::sleep(QUIESCE);
            }
        };
        // What came meanwhile is published together, but not so much that others wait for long.
        let mut batch = request.ops;
        let mut done: Vec<Done> = request.done.into_iter().collect();
        while batch.len() < BATCH
            && let Ok(more) = requests.try_recv()
        {
            batch.extend(more.ops);
            done.extend(more.done);
        }
        wait(&mut publisher);
        let Some(errors) = publisher.apply(&batch) else { continue };
        wait(&mut publisher);
        for each in done {
            each(errors.clone());
        }
    }
}

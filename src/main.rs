//! `softwired`, the composition root: it reads the configuration, starts the workers, the control plane and the API,
//! and ends them in order.
//!
//! ```text
//! softwired -c FILE          run
//! softwired check -c FILE    say what is wrong with a configuration; exit status 1 if anything is
//! ```
//!
//! SIGHUP has it read the configuration again.

#![forbid(unsafe_code)]

mod notify;
mod reload;
mod telemetry;

use anyhow::Context;
use clap::{Parser, Subcommand};
use controlplane::config::{Config, Listener, Poll};
use controlplane::driver::Driver;
use controlplane::gateway::Gateway;
use controlplane::northbound::Northbound;
use dataplane::publish::PublishError;
use dataplane::steer::Spread;
use dataplane_api::FibCounters;
use dataplane_api::counter::Counter;
use mgmt_api::config::Store;
use rand::TryRng;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Instant, SystemTime};
use telemetry::{LogFormat, Telemetry};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Softwire gateway: IPv6 over IPv4 and IPv4 over IPv6, by IKEv2, ESP, L2TPv2 and PPP.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Configuration file.
    #[arg(short, long, global = true, default_value = "/etc/softwire-gateway/softwired.yaml")]
    config: PathBuf,
    /// How log lines look.
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Validate the configuration and exit.
    Check,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let result = match args.command {
        Some(Command::Check) => check(&args.config),
        None => run(&args.config, args.log_format),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("softwired: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn check(path: &Path) -> anyhow::Result<()> {
    let config = Config::load(path)?;
    controlplane::ike_config::build(&config)?;
    controlplane::driver::check(&config)?;
    println!("{}: the configuration is valid", path.display());
    Ok(())
}

fn run(path: &Path, format: LogFormat) -> anyhow::Result<()> {
    // The runtime comes first: the EAL pins the thread that initializes it, and the threads that one makes later.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let telemetry = Telemetry::init(format, runtime.handle())?;
    let result = forward(path, &runtime);
    telemetry.shutdown();
    result
}

fn forward(path: &Path, runtime: &tokio::runtime::Runtime) -> anyhow::Result<()> {
    let config = Arc::new(Config::load(path)?);
    config.listeners.iter().for_each(Listener::warn);
    let mut dataplane = dataplane::start(&dataplane::Config {
        eal: config.dataplane.eal.clone(),
        ports: config.ports.iter().map(|p| dataplane::PortSpec { device: p.device.clone(), mtu: p.mtu }).collect(),
        workers: config.dataplane.workers.clone(),
        busy: config.dataplane.poll == Poll::Busy,
        sessions: config.dataplane.max_sessions,
        buffers: config.dataplane.buffers,
        routes: config.dataplane.max_routes,
        ..dataplane::Config::default()
    })
    .context("the data plane does not start")?;
    for (port, steering) in config.ports.iter().zip(&dataplane.steering).filter(|_| config.dataplane.workers.len() > 1)
    {
        let port = port.name.as_str();
        let left: Vec<_> = steering.so(Spread::Rss).collect();
        tracing::info!(port, "{steering}");
        if !left.is_empty() {
            let left = left.join(", ");
            tracing::warn!(port, left, "the card takes no rules for some traffic: workers hand it over (docs/nics.md)");
        }
    }
    let result = runtime.block_on(serve(path, config, &mut dataplane));
    dataplane.stop();
    result
}

/// Says once that routes do not fit, and once that they do again.
#[derive(Clone)]
struct Full {
    counters: Arc<FibCounters>,
    said: Arc<AtomicBool>,
}

impl Full {
    fn say(&self, errors: &[PublishError]) {
        let refused: u64 = self.counters.refused.iter().map(Counter::get).sum();
        match errors.first() {
            Some(first) if !self.said.swap(true, Relaxed) => {
                tracing::warn!(refused, %first, "the forwarding tables are full")
            }
            None if refused == 0 && self.said.swap(false, Relaxed) => tracing::info!("all routes fit again"),
            _ => {}
        }
    }
}

async fn serve(path: &Path, config: Arc<Config>, dataplane: &mut dataplane::Running) -> anyhow::Result<()> {
    let mut seed = [0; 32];
    rand::rngs::SysRng.try_fill_bytes(&mut seed).context("the operating system gives no random numbers")?;
    let counters: Vec<_> = dataplane.workers.iter().map(|w| Arc::clone(&w.counters)).collect();
    let mut gateway = Gateway::new(Arc::clone(&config), Instant::now(), &dataplane.macs, counters.clone(), seed)?;
    gateway.set_clock(Instant::now(), SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default());
    let (northbound, queries) = Northbound::channel();
    let (stop_tx, stop) = watch::channel(false);
    let publisher = dataplane.publisher.clone();
    gateway.set_fib(Arc::clone(&dataplane.fib));
    gateway.set_ports(dataplane.ports.clone());
    let full = Full { counters: Arc::clone(&dataplane.fib), said: Arc::default() };
    let publish = Box::new(move |ops| {
        let full = full.clone();
        publisher.publish_then(ops, move |errors| full.say(&errors));
    });
    let workers = std::mem::take(&mut dataplane.workers);
    let driver = Driver::new(&config, gateway, workers, publish, &dataplane.macs, queries, stop.clone()).await?;

    let pulse = notify::Watch::new(northbound.clone());
    let mut api_stop = stop;
    let store = Store::open(path, Path::new(&config.api.state), config.api.history, northbound.clone())?;
    tokio::spawn(reload::on_hangup(Arc::clone(&store)));
    let state = mgmt_api::AppState { northbound, store };
    // Whoever is told that we are ready finds the API there.
    let api = mgmt_api::Server::open(&config.api, state).await?;
    let api = tokio::spawn(api.serve(async move {
        let _ = api_stop.changed().await;
    }));
    tokio::spawn(async move {
        if let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
            tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        }
        notify::stopping();
        let _ = stop_tx.send(true);
    });
    tracing::info!(listeners = config.listeners.len(), ports = config.ports.len(), "softwired is up");
    let mut driver = tokio::spawn(driver.run());
    tokio::spawn(pulse.run());
    tokio::select! {
        ended = api => {
            ended?;
            // Told to stop: peers hear of it before the workers do.
            driver.await?;
        }
        ended = &mut driver => { ended?; }
    }
    tracing::info!("softwired is down");
    Ok(())
}

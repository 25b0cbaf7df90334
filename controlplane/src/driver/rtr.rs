//! The connections to RPKI caches: kernel sockets of the host, which may reach a cache over its management network.
//!
//! Each cache has a task that connects, keeps the cache's data current (crate `rpki`), and connects again when that
//! ends. The driver's loop is told each complete answer and says whether it can be: a cache that is wrong is let go.
//! Nothing of an answer counts until its End of Data.

use super::tls;
use crate::config::rtr::RtrCache;
use crate::config::{Config, Problem};
use crate::gateway::Gateway;
use crate::rtr::{Fault, MOST, Timers, Update};
use anyhow::Context as _;
use bgp::rib::Vrp;
use ipnet::IpNet;
use rpki::rtr::client::{Client, PayloadError, PayloadTarget, PayloadUpdate};
use rpki::rtr::{Action, Payload, Timing};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

/// Version of the protocol that is proposed (RFC 8210); a cache may answer with 0 (RFC 6810).
const VERSION: u8 = 1;
/// Time that connecting may take, TLS included.
const CONNECT: Duration = Duration::from_secs(10);
/// Time that an answer may take.
const ANSWER: Duration = Duration::from_secs(300);
/// Answers that follow each other faster are waited for.
const PAUSE: Duration = Duration::from_secs(1);
/// Time between attempts to reach a cache that has not said how long it should be.
const RETRY: Duration = Duration::from_secs(15);

/// What the tasks tell.
pub(super) enum Event {
    Connected,
    Updated(Update, oneshot::Sender<Result<(), Fault>>),
    Failed(String),
}

/// All caches.
pub(super) struct Caches {
    events: mpsc::Receiver<(usize, Event)>,
    tell: mpsc::Sender<(usize, Event)>,
    // By number of the cache.
    tasks: HashMap<usize, AbortHandle>,
}

/// How a cache is reached.
struct Reach {
    remote: SocketAddr,
    local: Option<IpAddr>,
    tls: Option<tls::Session>,
}

impl Caches {
    /// Starts a task for each cache.
    pub(super) fn new(now: Instant, gateway: &mut Gateway) -> Self {
        let (tell, events) = mpsc::channel(16);
        let mut all = Self { events, tell, tasks: HashMap::new() };
        all.configure(now, gateway);
        all
    }

    /// Ends the tasks of caches that are gone, and starts those of new ones.
    pub(super) fn configure(&mut self, now: Instant, gateway: &mut Gateway) {
        let caches = gateway.bgp(now, |r| r.rtr.configured().map(|(i, c)| (i, c.clone())).collect());
        let caches: HashMap<usize, RtrCache> = caches.unwrap_or_default();
        self.tasks.retain(|i, task| {
            let stays = caches.contains_key(i);
            if !stays {
                task.abort();
            }
            stays
        });
        for (i, cache) in caches {
            if self.tasks.contains_key(&i) {
                continue;
            }
            match reach(&cache) {
                Ok(reach) => drop(self.tasks.insert(i, tokio::spawn(keep(i, reach, self.tell.clone())).abort_handle())),
                Err(error) => tracing::error!(cache = cache.name, error = format!("{error:#}"), "no RPKI cache"),
            }
        }
    }

    /// The next event. Never `None`.
    pub(super) async fn next(&mut self) -> Option<(usize, Event)> {
        self.events.recv().await
    }

    /// Tells the speaker.
    pub(super) fn handle(&self, now: Instant, (cache, event): (usize, Event), gateway: &mut Gateway) {
        gateway.bgp(now, |r| match event {
            Event::Connected => r.rtr.connected(cache),
            Event::Updated(update, to) => {
                let result = r.rtr.updated(now, cache, update).map(|change| r.vrps(now, &change));
                // A task that has ended meanwhile says so by itself.
                let _ = to.send(result);
            }
            Event::Failed(error) => {
                let change = r.rtr.failed(cache, error);
                r.vrps(now, &change);
            }
        });
    }
}

/// What can be found out before about the files that TLS needs.
pub(super) fn check(config: &Config) -> Result<(), Problem> {
    let mut caches = config.bgp.iter().flat_map(|b| &b.rtr).enumerate();
    caches.try_for_each(|(i, cache)| match reach(cache) {
        Ok(_) => Ok(()),
        Err(e) => Err(Problem::new(format!("bgp.rtr[{i}].tls"), format!("{e:#}"))),
    })
}

fn reach(cache: &RtrCache) -> anyhow::Result<Reach> {
    let tls = cache.tls.as_ref().map(|t| tls::session(cache.address, t, None)).transpose();
    let tls = tls.with_context(|| format!("RPKI cache \"{}\"", cache.name))?;
    Ok(Reach { remote: cache.remote(), local: cache.local, tls })
}

/// Connects for as long as the driver lives.
async fn keep(cache: usize, reach: Reach, tell: mpsc::Sender<(usize, Event)>) {
    let mut retry = RETRY;
    loop {
        let mut told = None;
        let error = connect(cache, &reach, &tell, &mut told).await;
        tracing::warn!(cache = %reach.remote, error = format!("{error:#}"), "RPKI cache is down");
        if tell.send((cache, Event::Failed(format!("{error:#}")))).await.is_err() {
            return;
        }
        // A session that has worked is tried again at once, then as often as the cache wants it (section 6).
        match told {
            Some(timers) => {
                retry = timers.retry;
                sleep(PAUSE).await;
            }
            None => sleep(retry).await,
        }
    }
}

async fn connect(
    cache: usize,
    reach: &Reach,
    tell: &mpsc::Sender<(usize, Event)>,
    told: &mut Option<Timers>,
) -> anyhow::Error {
    let result = match &reach.tls {
        None => match within(CONNECT, tcp(reach)).await {
            Ok(stream) => talk(cache, stream, tell, told).await,
            Err(error) => Err(error),
        },
        Some(tls) => {
            let secured = async { tls.connector.connect(tls.name.clone(), tcp(reach).await?).await };
            match within(CONNECT, secured).await {
                Ok(stream) => talk(cache, stream, tell, told).await,
                Err(error) => Err(error),
            }
        }
    };
    result.err().unwrap_or_else(|| anyhow::anyhow!("the driver is gone"))
}

async fn within<T>(time: Duration, what: impl Future<Output = std::io::Result<T>>) -> anyhow::Result<T> {
    Ok(timeout(time, what).await.context("it does not answer")??)
}

async fn tcp(reach: &Reach) -> std::io::Result<TcpStream> {
    let socket = if reach.remote.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(local) = reach.local {
        socket.bind(SocketAddr::new(local, 0))?;
    }
    socket.connect(reach.remote).await
}

/// Keeps the data of a connected cache current. Ends with an error, or when nobody listens.
async fn talk(
    cache: usize,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    tell: &mpsc::Sender<(usize, Event)>,
    told: &mut Option<Timers>,
) -> anyhow::Result<()> {
    if tell.send((cache, Event::Connected)).await.is_err() {
        return Ok(());
    }
    let mut client = Client::with_initial_version(VERSION, stream, Target::default(), None);
    loop {
        let before = client.state();
        // Between answers the client waits for a Serial Notify until it is time to ask.
        let wait = told.map_or(Duration::ZERO, |timers| timers.refresh);
        let answer = within(wait + ANSWER, client.update()).await.context("no answer that can be taken")?;
        let state = client.state().context("no End of Data")?;
        let same = before.is_none_or(|b| b.session() == state.session());
        anyhow::ensure!(answer.reset || same, "the session ID has changed without a reset");
        let reset = answer.reset;
        client.apply(answer).await?;
        let Some((changes, timers)) = client.target_mut().0.take() else { continue };
        let (session, serial) = (state.session(), state.serial().into());
        let update = Update { reset, changes, session, serial, timers };
        let (to, result) = oneshot::channel();
        if tell.send((cache, Event::Updated(update, to))).await.is_err() {
            return Ok(());
        }
        let Ok(result) = result.await else { return Ok(()) };
        if let Err(fault) = result {
            // The cache hears of it as far as it can.
            let _ = client.send_error(payload_error(fault)).await;
            return Err(fault.into());
        }
        *told = Some(timers);
        sleep(PAUSE).await;
    }
}

fn payload_error(fault: Fault) -> PayloadError {
    match fault {
        Fault::Duplicate => PayloadError::DuplicateAnnounce,
        Fault::Unknown => PayloadError::UnknownWithdraw,
        Fault::TooMany => PayloadError::Internal,
    }
}

/// Where the client puts a complete answer.
#[derive(Default)]
struct Target(Option<(Vec<(bool, Vrp)>, Timers)>);

/// An answer on its way.
struct Answer {
    reset: bool,
    changes: Vec<(bool, Vrp)>,
}

impl PayloadTarget for Target {
    type Update = Answer;

    fn start(&mut self, reset: bool) -> Answer {
        Answer { reset, changes: Vec::new() }
    }

    fn apply(&mut self, answer: Answer, timing: Timing) -> Result<(), PayloadError> {
        self.0 = Some((answer.changes, Timers::new(timing.refresh, timing.retry, timing.expire)));
        Ok(())
    }
}

impl PayloadUpdate for Answer {
    fn push_update(&mut self, action: Action, payload: Payload) -> Result<(), PayloadError> {
        // Router keys are for BGPsec, ASPA is not looked at.
        let Payload::Origin(origin) = payload else { return Ok(()) };
        if self.changes.len() >= MOST {
            return Err(PayloadError::Internal);
        }
        let prefix = origin.prefix;
        let net = IpNet::new(prefix.addr(), prefix.prefix_len()).map_err(|_| PayloadError::Corrupt)?;
        let vrp = Vrp { prefix: net.trunc(), max_length: prefix.resolved_max_len(), asn: origin.asn.into_u32() };
        self.changes.push((action == Action::Announce, vrp));
        Ok(())
    }
}

#[cfg(test)]
mod tests;

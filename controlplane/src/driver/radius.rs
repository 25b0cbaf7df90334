//! Sockets to RADIUS servers and of dynamic authorization.
//!
//! A link of the client is a connected UDP socket, or a TCP or TLS connection, each with a task that reads; a stream has
//! one that writes, too. What a socket does not take at once is lost, as on any network, and the client sends it again.

use super::journal::{ACCOUNTING, Journal};
use super::tls;
use crate::config::aaa::{Server, Transport};
use crate::config::{Config, Problem};
use crate::gateway::Gateway;
use crate::gateway::servers::{Purpose, of_purpose};
use anyhow::Context;
use radius::{LinkId, LinkOp};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// Until a connection that cannot be made is given up.
const CONNECT: Duration = Duration::from_secs(5);
/// The longest datagram (RFC 2865, section 3).
const MAX: usize = 4096;
/// Packets that wait for a stream.
const WAITING: usize = 1024;

/// A server of one purpose.
struct Remote {
    address: SocketAddr,
    tls: Option<tls::Session>,
    transport: Transport,
}

enum Link {
    // Sent by the kernel's socket itself: the runtime's does not send before it has heard that it may.
    Udp(std::net::UdpSocket, AbortHandle),
    Stream(mpsc::Sender<Vec<u8>>, AbortHandle),
}

impl Drop for Link {
    fn drop(&mut self) {
        let (Self::Udp(_, task) | Self::Stream(_, task)) = self;
        task.abort();
    }
}

/// What a socket says.
pub(super) enum Event {
    Octets(Purpose, LinkId, Vec<u8>),
    Up(Purpose, LinkId),
    Down(Purpose, LinkId),
    Dynamic(Arc<UdpSocket>, SocketAddr, Vec<u8>),
}

/// All of them.
pub(super) struct Servers {
    authentication: Remotes,
    accounting: Remotes,
    dynamic: HashMap<SocketAddr, AbortHandle>,
    links: HashMap<(Purpose, LinkId), Link>,
    journal: Option<Journal>,
    tell: mpsc::Sender<Event>,
    events: mpsc::Receiver<Event>,
}

/// By name.
type Remotes = HashMap<String, Remote>;

/// What another configuration needs of files and sockets, all there.
pub(super) struct Opened {
    authentication: Remotes,
    accounting: Remotes,
    dynamic: Vec<(SocketAddr, UdpSocket)>,
}

/// What can be known to be wrong before.
pub(super) fn check(config: &Config) -> Result<(), Problem> {
    config.aaa.servers.iter().enumerate().try_for_each(|(i, s)| match remote(s, false) {
        Ok(_) => Ok(()),
        Err(e) => Err(Problem::new(format!("aaa.servers[{i}].tls"), format!("{e:#}"))),
    })
}

fn remote(s: &Server, accounting: bool) -> anyhow::Result<Remote> {
    let tls = s.tls.as_ref().map(|t| tls::session(s.address, t, s.certificate.as_ref())).transpose();
    let tls = tls.with_context(|| format!("RADIUS server \"{}\"", s.name))?;
    Ok(Remote { address: s.remote(accounting), tls, transport: s.transport })
}

impl Servers {
    /// Listens for dynamic authorization, and gives the gateway what is left in the journal.
    pub async fn new(now: Instant, config: &Config, gateway: &mut Gateway) -> anyhow::Result<Self> {
        let (tell, events) = mpsc::channel(1024);
        let mut all = Self {
            authentication: Remotes::new(),
            accounting: Remotes::new(),
            dynamic: HashMap::new(),
            links: HashMap::new(),
            journal: None,
            tell,
            events,
        };
        let opened = all.open(config).await?;
        all.configure(now, config, opened, gateway)?;
        Ok(all)
    }

    /// Opens what another configuration needs and is not open yet.
    pub async fn open(&self, config: &Config) -> Result<Opened, Problem> {
        check(config)?;
        let mut dynamic = Vec::new();
        let wanted = config.aaa.dynamic.iter().flat_map(|d| &d.listen).enumerate();
        for (i, at) in wanted.filter(|(_, at)| !self.dynamic.contains_key(*at)) {
            let wrong = |e| Problem::new(format!("aaa.dynamic.listen[{i}]"), format!("{at}: {e}"));
            dynamic.push((*at, UdpSocket::bind(at).await.map_err(wrong)?));
        }
        let wrong = |e: anyhow::Error| Problem::new("aaa.servers", format!("{e:#}"));
        let remotes = |accounting| {
            let all = of_purpose(config, accounting).map(|s| remote(s, accounting).map(|r| (s.name.clone(), r)));
            all.collect::<anyhow::Result<_>>().map_err(wrong)
        };
        let opened = Opened { authentication: remotes(false)?, accounting: remotes(true)?, dynamic };
        if self.journal.is_none() && !opened.accounting.is_empty() {
            let path = Path::new(&config.aaa.accounting.journal);
            Journal::prepare(path).map_err(|e| Problem::new(ACCOUNTING.path, format!("{e:#}")))?;
        }
        Ok(opened)
    }

    /// Takes another configuration, which the gateway has already. Links to servers that are gone are closed as it says.
    pub fn configure(
        &mut self,
        now: Instant,
        config: &Config,
        opened: Opened,
        gateway: &mut Gateway,
    ) -> anyhow::Result<()> {
        (self.authentication, self.accounting) = (opened.authentication, opened.accounting);
        let wanted: Vec<_> = config.aaa.dynamic.iter().flat_map(|d| &d.listen).copied().collect();
        self.dynamic.retain(|at, task| {
            let stays = wanted.contains(at);
            if !stays {
                task.abort();
            }
            stays
        });
        for (at, socket) in opened.dynamic {
            let task = tokio::spawn(listen(Arc::new(socket), self.tell.clone()));
            self.dynamic.insert(at, task.abort_handle());
        }
        // Without servers, what is in the journal waits for one.
        if self.journal.is_none() && !self.accounting.is_empty() {
            self.journal = Some(Journal::open(now, &ACCOUNTING, Path::new(&config.aaa.accounting.journal), gateway)?);
        }
        Ok(())
    }

    /// What happens next.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// Carries it to the gateway.
    pub fn handle(&mut self, now: Instant, event: Event, gateway: &mut Gateway) {
        match event {
            Event::Octets(purpose, link, octets) => gateway.radius_input(now, purpose, link, &octets),
            Event::Up(purpose, link) => gateway.radius_link(now, purpose, link, true),
            Event::Down(purpose, link) => {
                if self.links.remove(&(purpose, link)).is_some() {
                    gateway.radius_link(now, purpose, link, false);
                }
            }
            Event::Dynamic(socket, from, datagram) => {
                if let Some((to, answer)) = gateway.dynamic_input(now, from, &datagram) {
                    // Lost answers are asked for again.
                    let _ = socket.try_send_to(&answer, to);
                }
            }
        }
    }

    /// Writes the journal, then carries what the gateway has for the servers.
    pub fn act(&mut self, now: Instant, gateway: &mut Gateway) {
        if let Some(journal) = &mut self.journal {
            journal.write(now, gateway);
        }
        while let Some((purpose, op)) = gateway.poll_radius_link() {
            match op {
                LinkOp::Open(id) => {
                    if let Err(error) = self.connect(purpose, id, &gateway.radius_server(purpose, id.server)) {
                        tracing::warn!(%error, "no socket to a RADIUS server");
                        gateway.radius_link(now, purpose, id, false);
                    }
                }
                LinkOp::Close(id) => drop(self.links.remove(&(purpose, id))),
            }
        }
        while let Some((purpose, id, octets)) = gateway.poll_radius() {
            match self.links.get(&(purpose, id)) {
                Some(Link::Udp(socket, _)) => drop(socket.send(&octets)),
                Some(Link::Stream(to, _)) => drop(to.try_send(octets)),
                None => {}
            }
        }
    }

    fn connect(&mut self, purpose: Purpose, id: LinkId, server: &str) -> anyhow::Result<()> {
        let remotes = match purpose {
            Purpose::Authentication => &self.authentication,
            Purpose::Accounting => &self.accounting,
        };
        let remote = remotes.get(server).context("no such server")?;
        let tell = self.tell.clone();
        let link = match remote.transport {
            Transport::Udp => {
                let any: SocketAddr = if remote.address.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
                let socket = std::net::UdpSocket::bind(any)?;
                socket.connect(remote.address)?;
                socket.set_nonblocking(true)?;
                let reader = UdpSocket::from_std(socket.try_clone()?)?;
                let task = tokio::spawn(read_datagrams(purpose, id, reader, tell));
                Link::Udp(socket, task.abort_handle())
            }
            Transport::Tcp | Transport::Tls => {
                let (to, from) = mpsc::channel(WAITING);
                let task = tokio::spawn(stream(purpose, id, remote.address, remote.tls.clone(), from, tell));
                Link::Stream(to, task.abort_handle())
            }
        };
        self.links.insert((purpose, id), link);
        Ok(())
    }
}

async fn listen(socket: Arc<UdpSocket>, tell: mpsc::Sender<Event>) {
    let mut datagram = [0; MAX];
    loop {
        // Errors are of datagrams sent before.
        if let Ok((n, from)) = socket.recv_from(&mut datagram).await
            && tell.send(Event::Dynamic(Arc::clone(&socket), from, datagram[..n].to_vec())).await.is_err()
        {
            return;
        }
    }
}

async fn read_datagrams(purpose: Purpose, id: LinkId, socket: UdpSocket, tell: mpsc::Sender<Event>) {
    let mut datagram = [0; MAX];
    loop {
        match socket.recv(&mut datagram).await {
            Ok(n) => {
                if tell.send(Event::Octets(purpose, id, datagram[..n].to_vec())).await.is_err() {
                    return;
                }
            }
            // Port unreachable: the server is not there, or not yet. That nobody answers tells the client enough.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn connect(address: SocketAddr, tls: Option<tls::Session>) -> std::io::Result<Box<dyn Stream>> {
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    Ok(match tls {
        None => Box::new(tcp),
        Some(tls) => Box::new(tls.connector.connect(tls.name, tcp).await?),
    })
}

async fn stream(
    purpose: Purpose,
    id: LinkId,
    address: SocketAddr,
    tls: Option<tls::Session>,
    from: mpsc::Receiver<Vec<u8>>,
    tell: mpsc::Sender<Event>,
) {
    let ended = match tokio::time::timeout(CONNECT, connect(address, tls)).await {
        Ok(Ok(stream)) => talk(purpose, id, stream, from, &tell).await,
        Ok(Err(error)) => Err(error),
        Err(late) => Err(late.into()),
    };
    if let Err(error) = ended {
        tracing::warn!(%address, %error, "connection to a RADIUS server");
    }
    let _ = tell.send(Event::Down(purpose, id)).await;
}

async fn talk(
    purpose: Purpose,
    id: LinkId,
    stream: Box<dyn Stream>,
    mut from: mpsc::Receiver<Vec<u8>>,
    tell: &mpsc::Sender<Event>,
) -> std::io::Result<()> {
    let _ = tell.send(Event::Up(purpose, id)).await;
    let (mut read, mut write) = tokio::io::split(stream);
    let writer = async {
        while let Some(octets) = from.recv().await {
            write.write_all(&octets).await?;
        }
        write.shutdown().await
    };
    let reader = async {
        let mut piece = [0; MAX];
        loop {
            let n = read.read(&mut piece).await?;
            if n == 0 || tell.send(Event::Octets(purpose, id, piece[..n].to_vec())).await.is_err() {
                return Ok(());
            }
        }
    };
    tokio::pin!(writer, reader);
    tokio::select! { ended = &mut writer => ended, ended = &mut reader => ended }
}

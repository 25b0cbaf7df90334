//! BGP's TCP connections: kernel sockets bound to the gateway's addresses, whose packets go over the ports' TAPs.
//!
//! Each connection has a task that reads and one that writes. Both tell the driver's loop, which alone talks to the
//! speaker; the writer holds one batch of messages and asks for more when the kernel has taken all of it, so that a peer
//! which does not read makes nothing grow.

use crate::config::Config;
use crate::gateway::Gateway;
use crate::routing::Action;
use anyhow::Context;
use bgp::speaker::ConnId;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// BGP's port (RFC 4271, section 8).
const PORT: u16 = 179;
/// Events that may wait; a reader that is ahead waits.
const BACKLOG: usize = 64;
/// Octets read at a time.
const READ: usize = 64 * 1024;
/// How long a NOTIFICATION may take to leave.
const LINGER: Duration = Duration::from_secs(2);

/// What the tasks tell.
pub(super) enum Event {
    Connected(ConnId, TcpStream),
    Failed(ConnId),
    Accepted(TcpStream),
    Received(ConnId, Vec<u8>),
    Drained(ConnId),
    Closed(ConnId),
}

struct Connection {
    write: mpsc::Sender<Vec<u8>>,
    reader: AbortHandle,
    /// The writer has a batch.
    busy: bool,
    /// There is more to be asked for.
    wanted: bool,
}

/// All connections, and those on their way.
pub(super) struct Connections {
    events: mpsc::Receiver<Event>,
    tell: mpsc::Sender<Event>,
    connecting: HashMap<ConnId, AbortHandle>,
    open: HashMap<ConnId, Connection>,
    in_use: bool,
}

impl Connections {
    /// Listens on every address of ours that a neighbour has a session with.
    pub(super) fn new(config: &Config) -> anyhow::Result<Self> {
        let (tell, events) = mpsc::channel(BACKLOG);
        let Some(settings) = &config.bgp else {
            return Ok(Self { events, tell, connecting: HashMap::new(), open: HashMap::new(), in_use: false });
        };
        let ours = config.ports.iter().flat_map(|p| &p.addresses).map(|a| a.addr());
        let neighbours = settings.neighbours.iter().map(|n| n.address);
        let ranges = settings.dynamic_neighbours.iter().map(|d| d.range.addr());
        let remotes: Vec<IpAddr> = neighbours.chain(ranges).collect();
        let wanted = |a: &IpAddr| remotes.iter().any(|remote| remote.is_ipv4() == a.is_ipv4());
        for address in ours.filter(wanted) {
            let listener = listen(address).with_context(|| format!("cannot listen for BGP on {address}"))?;
            tokio::spawn(accept(listener, tell.clone()));
        }
        Ok(Self { events, tell, connecting: HashMap::new(), open: HashMap::new(), in_use: true })
    }

    /// BGP is configured.
    pub(super) fn in_use(&self) -> bool {
        self.in_use
    }

    /// The next event. Never `None`.
    pub(super) async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// Tells the speaker.
    pub(super) fn handle(&mut self, now: Instant, event: Event, gateway: &mut Gateway) {
        match event {
            Event::Connected(conn, stream) => {
                // It may have been given up meanwhile.
                if self.connecting.remove(&conn).is_none() {
                    return;
                }
                match stream.local_addr() {
                    Ok(local) => {
                        self.open(conn, stream);
                        gateway.bgp(now, |r| r.speaker.connected(now, conn, local));
                    }
                    Err(_) => drop(gateway.bgp(now, |r| r.speaker.connect_failed(now, conn))),
                }
            }
            Event::Failed(conn) => {
                if self.connecting.remove(&conn).is_some() {
                    gateway.bgp(now, |r| r.speaker.connect_failed(now, conn));
                }
            }
            Event::Accepted(stream) => self.accepted(now, stream, gateway),
            Event::Received(conn, octets) => {
                if self.open.contains_key(&conn) {
                    gateway.bgp(now, |r| r.speaker.received(now, conn, &octets));
                }
            }
            Event::Drained(conn) => {
                if let Some(c) = self.open.get_mut(&conn) {
                    (c.busy, c.wanted) = (false, true);
                }
            }
            Event::Closed(conn) => {
                if let Some(c) = self.open.remove(&conn) {
                    c.reader.abort();
                    gateway.bgp(now, |r| r.speaker.closed(now, conn));
                }
            }
        }
    }

    fn accepted(&mut self, now: Instant, stream: TcpStream, gateway: &mut Gateway) {
        let (Ok(local), Ok(remote)) = (stream.local_addr(), stream.peer_addr()) else { return };
        let canonical = |a: SocketAddr| SocketAddr::new(a.ip().to_canonical(), a.port());
        match gateway.bgp(now, |r| r.speaker.accepted(now, canonical(local), canonical(remote))) {
            Some(Ok(conn)) => self.open(conn, stream),
            Some(Err(refused)) => tracing::debug!(%remote, %refused, "BGP connection refused"),
            None => {}
        }
    }

    fn open(&mut self, conn: ConnId, stream: TcpStream) {
        // Small messages must not wait for each other.
        let _ = stream.set_nodelay(true);
        let (read, write) = stream.into_split();
        let (tx, rx) = mpsc::channel(2);
        tokio::spawn(writer(conn, write, rx, self.tell.clone()));
        let reader = tokio::spawn(reader(conn, read, self.tell.clone())).abort_handle();
        self.open.insert(conn, Connection { write: tx, reader, busy: false, wanted: true });
    }

    /// Does what the speaker wants done.
    pub(super) fn act(&mut self, now: Instant, gateway: &mut Gateway) {
        while let Some(Some(action)) = gateway.bgp(now, |r| r.poll_action()) {
            match action {
                Action::Connect { conn, local, remote } => {
                    let task = tokio::spawn(connect(conn, local, remote, self.tell.clone()));
                    self.connecting.insert(conn, task.abort_handle());
                }
                Action::Transmit(conn) => {
                    if let Some(c) = self.open.get_mut(&conn) {
                        c.wanted = true;
                    }
                }
                Action::Close(conn, last) => {
                    if let Some(task) = self.connecting.remove(&conn) {
                        task.abort();
                    }
                    if let Some(c) = self.open.remove(&conn) {
                        c.reader.abort();
                        // The writer ends when its channel does, after this.
                        let _ = c.write.try_send(last);
                    }
                }
            }
        }
        for (&conn, c) in self.open.iter_mut().filter(|(_, c)| c.wanted && !c.busy) {
            match gateway.bgp(now, |r| r.speaker.poll_transmit(now, conn)).flatten() {
                Some(octets) => c.busy = c.write.try_send(octets).is_ok(),
                None => c.wanted = false,
            }
        }
    }
}

fn listen(address: IpAddr) -> anyhow::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(SocketAddr::new(address, PORT)), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::new(address, PORT).into())?;
    socket.listen(64)?;
    Ok(TcpListener::from_std(socket.into())?)
}

async fn accept(listener: TcpListener, tell: mpsc::Sender<Event>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if tell.send(Event::Accepted(stream)).await.is_err() {
                    return;
                }
            }
            // Out of descriptors, or a connection that was reset already.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn connect(conn: ConnId, local: Option<IpAddr>, remote: SocketAddr, tell: mpsc::Sender<Event>) {
    let event = match try_connect(local, remote).await {
        Ok(stream) => Event::Connected(conn, stream),
        Err(error) => {
            tracing::debug!(%remote, %error, "BGP connection failed");
            Event::Failed(conn)
        }
    };
    let _ = tell.send(event).await;
}

async fn try_connect(local: Option<IpAddr>, remote: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(remote), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if let Some(local) = local {
        socket.bind(&SocketAddr::new(local, 0).into())?;
    }
    TcpSocket::from_std_stream(socket.into()).connect(remote).await
}

async fn reader(conn: ConnId, mut stream: OwnedReadHalf, tell: mpsc::Sender<Event>) {
    let mut buffer = vec![0; READ];
    loop {
        let event = match stream.read(&mut buffer).await {
            Ok(n) if n > 0 => Event::Received(conn, buffer[..n].to_vec()),
            _ => Event::Closed(conn),
        };
        let last = matches!(event, Event::Closed(_));
        if tell.send(event).await.is_err() || last {
            return;
        }
    }
}

async fn writer(
    conn: ConnId,
    mut stream: OwnedWriteHalf,
    mut batches: mpsc::Receiver<Vec<u8>>,
    tell: mpsc::Sender<Event>,
) {
    while let Some(batch) = batches.recv().await {
        // When nobody will send another batch, this is the last: it must not wait for a peer that does not read.
        let sent = if batches.is_closed() {
            tokio::time::timeout(LINGER, stream.write_all(&batch)).await.unwrap_or(Ok(()))
        } else {
            stream.write_all(&batch).await
        };
        let event = if sent.is_ok() { Event::Drained(conn) } else { Event::Closed(conn) };
        if tell.send(event).await.is_err() || sent.is_err() {
            return;
        }
    }
    let _ = stream.shutdown().await;
}

//! BGP's TCP connections: kernel sockets bound to the gateway's addresses, whose packets go over the ports' TAPs.
//!
//! Each connection has a task that reads and one that writes. Both tell the driver's loop, which alone talks to the
//! speaker; the writer holds one batch of messages and asks for more when the kernel has taken all of it, so that a peer
//! which does not read makes nothing grow.

mod listener;

use super::protection::{self, Role, Unprotected};
use crate::config::Config;
use crate::gateway::Gateway;
use crate::key_ring::KeyRing;
use crate::routing::{Action, Routing};
use anyhow::Context;
use bgp::neighbour::TcpOptions;
use bgp::speaker::ConnId;
use ipnet::IpNet;
use listener::{Expected, Listener};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// BGP's port (RFC 4271, section 8).
const PORT: u16 = 179;
/// Events that may wait; a reader that is ahead waits.
const BACKLOG: usize = 64;
/// Octets read at a time.
const READ: usize = 64 * 1024;
/// Time between looks at the key chains.
const KEYS: Duration = Duration::from_secs(1);
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
    peer: IpAddr,
    /// What it has keys in common with.
    peers: IpNet,
    /// For keys that change while it is open.
    socket: OwnedFd,
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
    listeners: Vec<Listener>,
    expected: Expected,
    keys_at: Instant,
    in_use: bool,
}

impl Connections {
    /// Listens on every address of ours that a neighbour has a session with.
    pub(super) fn new(now: Instant, config: &Config, gateway: &mut Gateway) -> anyhow::Result<Self> {
        let (tell, events) = mpsc::channel(BACKLOG);
        let mut all = Self {
            events,
            tell,
            connecting: HashMap::new(),
            open: HashMap::new(),
            listeners: Vec::new(),
            expected: Expected::default(),
            keys_at: now,
            in_use: false,
        };
        let opened = all.open_listeners(config)?;
        all.listen(now, config, opened, gateway)?;
        Ok(all)
    }

    /// Sets keys whose time has come, everywhere: on the listening sockets and on the open connections.
    fn look_at_keys(&mut self, now: Instant, gateway: &mut Gateway) {
        if now >= self.keys_at {
            self.keys_at = now + KEYS;
            gateway.bgp(now, |r| {
                for chain in r.keys.advance(SystemTime::now()) {
                    self.change_keys(&chain, r);
                }
            });
        }
    }

    fn change_keys(&self, chain: &str, r: &mut Routing) {
        let uses = |tcp: &TcpOptions| [&tcp.md5_key, &tcp.ao_key_chain].into_iter().flatten().any(|name| name == chain);
        let users: Vec<_> =
            r.speaker.listens_for().filter(|(_, tcp)| uses(tcp)).map(|(peers, tcp)| (peers, tcp.clone())).collect();
        for (peers, tcp) in users {
            let set = |socket: &dyn AsFd, role| protection::set_keys(&socket, role, peers, &tcp, &r.keys);
            let mut listeners = self.listeners.iter().filter(|l| l.address.is_ipv4() == peers.addr().is_ipv4());
            let all = listeners.try_for_each(|l| set(&l.socket, Role::Listening));
            for c in self.open.values().filter(|c| c.peers == peers) {
                if let Err(error) = set(&c.socket, Role::Established(c.peer)) {
                    tracing::error!(neighbour = %c.peer, %error, "the key of a BGP session cannot be changed");
                }
            }
            match all {
                Ok(()) => {
                    let key = r.keys.active(chain).map(|k| k.id);
                    tracing::info!(neighbours = %peers, chain, key, "BGP key in use");
                    r.refused.remove(&peers);
                }
                Err(error) => {
                    tracing::error!(neighbours = %peers, chain, %error, "no BGP session: it cannot be protected");
                    r.refused.insert(peers, error.to_string());
                }
            }
        }
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
                match self.connected(now, conn, stream, gateway) {
                    Ok(local) => gateway.bgp(now, |r| r.speaker.connected(now, conn, local)),
                    Err(error) => {
                        tracing::debug!(%error, "BGP connection given up");
                        gateway.bgp(now, |r| r.speaker.connect_failed(now, conn))
                    }
                };
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

    fn connected(
        &mut self,
        now: Instant,
        conn: ConnId,
        stream: TcpStream,
        gateway: &mut Gateway,
    ) -> anyhow::Result<SocketAddr> {
        let (local, peer) = (stream.local_addr()?, stream.peer_addr()?.ip());
        let peers = gateway.bgp(now, |r| protect(&stream, peer, r)).context("no BGP")?.map_err(anyhow::Error::msg)?;
        self.open(conn, peers, stream)?;
        Ok(local)
    }

    fn accepted(&mut self, now: Instant, stream: TcpStream, gateway: &mut Gateway) {
        let (Ok(local), Ok(remote)) = (stream.local_addr(), stream.peer_addr()) else { return };
        let canonical = |a: SocketAddr| SocketAddr::new(a.ip().to_canonical(), a.port());
        let peer = canonical(remote).ip();
        let peers = match gateway.bgp(now, |r| protect(&stream, peer, r)) {
            Some(Ok(peers)) => peers,
            Some(Err(error)) => {
                tracing::debug!(%remote, %error, "BGP connection refused: it is not protected");
                return;
            }
            None => return,
        };
        match gateway.bgp(now, |r| r.speaker.accepted(now, canonical(local), canonical(remote))) {
            Some(Ok(conn)) => self.open(conn, peers, stream).unwrap_or_else(|_| {
                gateway.bgp(now, |r| r.speaker.closed(now, conn));
            }),
            Some(Err(refused)) => tracing::debug!(%remote, %refused, "BGP connection refused"),
            None => {}
        }
    }

    fn open(&mut self, conn: ConnId, peers: IpNet, stream: TcpStream) -> std::io::Result<()> {
        let (peer, socket) = (stream.peer_addr()?.ip().to_canonical(), stream.as_fd().try_clone_to_owned()?);
        // Small messages must not wait for each other.
        let _ = stream.set_nodelay(true);
        let (read, write) = stream.into_split();
        let (tx, rx) = mpsc::channel(2);
        tokio::spawn(writer(conn, write, rx, self.tell.clone()));
        let reader = tokio::spawn(reader(conn, read, self.tell.clone())).abort_handle();
        self.open.insert(conn, Connection { peer, peers, socket, write: tx, reader, busy: false, wanted: true });
        Ok(())
    }

    /// Does what the speaker wants done.
    pub(super) fn act(&mut self, now: Instant, gateway: &mut Gateway) {
        self.look_at_keys(now, gateway);
        while let Some(Some(action)) = gateway.bgp(now, |r| r.poll_action()) {
            match action {
                Action::Connect { conn, local, remote, tcp } => {
                    match gateway.bgp(now, |r| connecting(local, remote, &tcp, &r.keys)) {
                        Some(Ok(socket)) => {
                            let task = tokio::spawn(connect(conn, socket, remote, self.tell.clone()));
                            self.connecting.insert(conn, task.abort_handle());
                        }
                        Some(Err(error)) => {
                            tracing::warn!(%remote, %error, "no BGP connection");
                            gateway.bgp(now, |r| r.speaker.connect_failed(now, conn));
                        }
                        None => {}
                    }
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

async fn connect(conn: ConnId, socket: Socket, remote: SocketAddr, tell: mpsc::Sender<Event>) {
    let event = match TcpSocket::from_std_stream(socket.into()).connect(remote).await {
        Ok(stream) => Event::Connected(conn, stream),
        Err(error) => {
            tracing::debug!(%remote, %error, "BGP connection failed");
            Event::Failed(conn)
        }
    };
    let _ = tell.send(event).await;
}

/// A connection has the keys of its socket before, unless they have changed meanwhile; what is accepted needs its own TTL.
fn protect(stream: &TcpStream, peer: IpAddr, r: &Routing) -> Result<IpNet, String> {
    let (peers, tcp) = r.tcp_options(peer)?;
    protection::set_keys(stream, Role::Established(peer), peers, &tcp, &r.keys)
        .and_then(|()| Ok(protection::set_ttl(stream, peer, &tcp)?))
        .map_err(|e| e.to_string())?;
    Ok(peers)
}

/// A socket that may connect: bound, and protected as it has to be.
fn connecting(
    local: Option<IpAddr>,
    remote: SocketAddr,
    tcp: &TcpOptions,
    keys: &KeyRing,
) -> Result<Socket, Unprotected> {
    let socket = Socket::new(Domain::for_address(remote), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if let Some(local) = local {
        socket.bind(&SocketAddr::new(local, 0).into())?;
    }
    let peer = remote.ip();
    protection::set_keys(&socket, Role::Connecting, IpNet::from(peer), tcp, keys)?;
    protection::set_ttl(&socket, peer, tcp)?;
    Ok(socket)
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

#[cfg(all(test, feature = "tcp-ao-kernel"))]
mod tests;

//! Sockets on which neighbours are heard: one for each address of ours that a neighbour may have a session with. Where keys
//! or TTLs are to be others, the socket is another one; connections that it has accepted stay.

use super::{Connections, Event, PORT, Socket};
use crate::config::key_chain::KeyChain;
use crate::config::{Config, Problem};
use crate::driver::protection;
use crate::gateway::Gateway;
use anyhow::Context;
use ipnet::IpNet;
use socket2::{Domain, Protocol, Type};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A socket, and the task that accepts.
pub(super) struct Listener {
    pub address: IpAddr,
    pub socket: Socket,
    /// Once it has its keys.
    task: Option<JoinHandle<()>>,
}

/// Those who may connect: how far away they may be, and with which keys.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Expected {
    remotes: Vec<(IpNet, Option<u8>, Option<String>)>,
    chains: Vec<KeyChain>,
}

impl Expected {
    fn new(config: &Config) -> Self {
        let bgp = || config.bgp.iter();
        let one_by_one = bgp().flat_map(|b| &b.neighbours).map(|n| (IpNet::from(n.address), n));
        let ranges = bgp().flat_map(|b| &b.dynamic_neighbours).map(|d| (d.range, &d.neighbour));
        let remote =
            |(net, n): (IpNet, &crate::config::bgp::Neighbour)| (net, n.ttl_security, n.key_chain().map(str::to_owned));
        Self {
            remotes: one_by_one.chain(ranges).map(remote).collect(),
            chains: bgp().flat_map(|b| &b.key_chains).cloned().collect(),
        }
    }

    /// Hops of those of the family of `address`.
    fn hops(&self, address: IpAddr) -> impl Iterator<Item = Option<u8>> + Clone {
        self.remotes.iter().filter(move |r| r.0.addr().is_ipv4() == address.is_ipv4()).map(|r| r.1)
    }

    fn addresses(&self, config: &Config) -> Vec<IpAddr> {
        let ours = config.ports.iter().flat_map(|p| &p.addresses).map(|a| a.addr());
        ours.filter(|a| self.hops(*a).next().is_some()).collect()
    }
}

impl Connections {
    /// Sockets for the addresses that are not listened on yet.
    pub(in crate::driver) fn open_listeners(&self, config: &Config) -> Result<Vec<(IpAddr, Socket)>, Problem> {
        let wanted = Expected::new(config).addresses(config);
        let new = wanted.into_iter().filter(|a| !self.listeners.iter().any(|l| l.address == *a));
        let wrong = |a, e| Problem::new("bgp.neighbours", format!("cannot listen for BGP on {a}: {e}"));
        new.map(|a| bind(a).map(|socket| (a, socket)).map_err(|e| wrong(a, e))).collect()
    }

    /// Takes another configuration, which the gateway has already.
    pub(in crate::driver) async fn configure(
        &mut self,
        now: Instant,
        config: &Config,
        opened: Vec<(IpAddr, Socket)>,
        gateway: &mut Gateway,
    ) -> anyhow::Result<()> {
        if Expected::new(config) == self.expected {
            return Ok(());
        }
        for Listener { task, socket, .. } in std::mem::take(&mut self.listeners) {
            if let Some(task) = task {
                task.abort();
                // The address is free only then.
                let _ = task.await;
            }
            drop(socket);
        }
        self.listen(now, config, opened, gateway)
    }

    /// Listens, on the sockets that are open and on those that are missing.
    pub(super) fn listen(
        &mut self,
        now: Instant,
        config: &Config,
        mut opened: Vec<(IpAddr, Socket)>,
        gateway: &mut Gateway,
    ) -> anyhow::Result<()> {
        self.in_use |= config.bgp.is_some();
        self.expected = Expected::new(config);
        for address in self.expected.addresses(config) {
            let known = opened.iter().position(|(a, _)| *a == address).map(|i| opened.swap_remove(i).1);
            let socket = known.map_or_else(|| bind(address), Ok).with_context(|| context(address))?;
            self.listeners.push(Listener { address, socket, task: None });
        }
        // Keys stand before the first connection can.
        self.keys_at = now;
        gateway.bgp(now, |r| r.keys.tell_again());
        self.look_at_keys(now, gateway);
        for l in &mut self.listeners {
            let socket = protection::listen_within(&l.socket, l.address, self.expected.hops(l.address))
                .and_then(|()| listen(&l.socket))
                .with_context(|| context(l.address))?;
            l.task = Some(tokio::spawn(accept(socket, self.tell.clone())));
        }
        Ok(())
    }
}

fn context(address: IpAddr) -> String {
    format!("cannot listen for BGP on {address}")
}

fn bind(address: IpAddr) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(SocketAddr::new(address, PORT)), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::new(address, PORT).into())?;
    Ok(socket)
}

fn listen(socket: &Socket) -> std::io::Result<TcpListener> {
    socket.listen(64)?;
    TcpListener::from_std(socket.try_clone()?.into())
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

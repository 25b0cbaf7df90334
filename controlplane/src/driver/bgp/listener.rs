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
    /// Sockets for the addresses that are not listened on yet, or not any more since something failed.
    pub(in crate::driver) fn open_listeners(&self, config: &Config) -> Result<Vec<(IpAddr, Socket)>, Problem> {
        let wanted = Expected::new(config).addresses(config);
        let served = |a: &IpAddr| self.listeners.iter().any(|l| l.address == *a && l.task.is_some());
        let new = wanted.into_iter().filter(|a| !served(a));
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
        if opened.is_empty() && Expected::new(config) == self.expected {
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

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane_api::{Counters, MacAddr};
    use std::sync::Arc;

    /// Addresses that are not this machine's.
    const OURS: [&str; 2] = ["203.0.113.77", "203.0.113.78"];

    fn config(bgp: &str) -> Arc<Config> {
        let text = format!(
            "ports: [{{ name: p, device: d, zone: trusted, addresses: [{0}/24, {1}/24] }}]\n\
             listeners: [{{ name: l, address: {0}, protection: none }}]\n{bgp}",
            OURS[0], OURS[1]
        );
        Arc::new(Config::from_yaml("t", &text).unwrap_or_else(|e| panic!("{e}")))
    }

    /// Sockets that are open, for the first `n` addresses.
    fn opened(n: usize) -> Vec<(IpAddr, Socket)> {
        let socket = || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
            socket
        };
        OURS.iter().take(n).map(|a| (a.parse().unwrap(), socket())).collect()
    }

    #[tokio::test]
    async fn what_could_not_be_listened_on_is_missing_at_the_next_commit() {
        let with = config("bgp: { asn: 1, router_id: 1.1.1.1, neighbours: [{ address: 203.0.113.9, asn: 1 }] }");
        for had in [0, 1] {
            let (now, counters) = (Instant::now(), vec![Arc::new(Counters::new(4, 4))]);
            let mut g = Gateway::new(Arc::clone(&with), now, &[MacAddr([2; 6])], counters, [7; 32]).unwrap();
            let mut connections = Connections::new(now, &config(""), &mut g).unwrap();
            connections.configure(now, &with, opened(had), &mut g).await.unwrap_err();
            // The first one is not served either.
            assert!(connections.listeners.iter().all(|l| l.task.is_none()));
            let problem = connections.open_listeners(&with).unwrap_err();
            assert!(problem.to_string().contains(OURS[0]), "{problem}");
            connections.configure(now, &with, opened(2), &mut g).await.unwrap();
            let served: Vec<_> =
                connections.listeners.iter().map(|l| (l.address.to_string(), l.task.is_some())).collect();
            assert_eq!(served, OURS.map(|a| (a.to_owned(), true)));
            // Nothing is missing: nothing changes.
            assert!(connections.open_listeners(&with).unwrap().is_empty());
            let before = connections.listeners[0].socket.local_addr().unwrap().as_socket();
            connections.configure(now, &with, Vec::new(), &mut g).await.unwrap();
            assert_eq!(connections.listeners[0].socket.local_addr().unwrap().as_socket(), before);
        }
    }
}

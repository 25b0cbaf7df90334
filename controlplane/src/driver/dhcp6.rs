//! The socket to DHCPv6 servers elsewhere (RFC 8415, section 19): port 547 on both ends.

use crate::config::{Config, Problem};
use crate::gateway::Gateway;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

const PORT: u16 = 547;

/// The servers.
pub(super) struct Servers {
    addresses: Vec<Ipv6Addr>,
    socket: Option<(Arc<UdpSocket>, AbortHandle)>,
    messages: mpsc::Receiver<Vec<u8>>,
    tell: mpsc::Sender<Vec<u8>>,
}

impl Servers {
    /// Opens the socket, where there is anybody to relay to.
    pub async fn new(config: &Config) -> Result<Self, Problem> {
        let (tell, messages) = mpsc::channel(256);
        let mut all = Self { addresses: Vec::new(), socket: None, messages, tell };
        let socket = all.open(config).await?;
        all.configure(config, socket);
        Ok(all)
    }

    /// The socket, where another configuration needs one and there is none.
    pub async fn open(&self, config: &Config) -> Result<Option<UdpSocket>, Problem> {
        if config.dhcp6.relay.is_empty() || self.socket.is_some() {
            return Ok(None);
        }
        let bound = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, PORT)).await;
        bound.map(Some).map_err(|e| Problem::new("dhcp6.relay", format!("port {PORT}: {e}")))
    }

    /// Other servers, with what [`Self::open`] has opened.
    pub fn configure(&mut self, config: &Config, opened: Option<UdpSocket>) {
        if self.addresses == config.dhcp6.relay {
            return;
        }
        self.addresses.clone_from(&config.dhcp6.relay);
        let known = self.socket.take().map(|(socket, task)| {
            task.abort();
            socket
        });
        if let Some(socket) = opened.map(Arc::new).or(known).filter(|_| !self.addresses.is_empty()) {
            let task = tokio::spawn(listen(Arc::clone(&socket), self.addresses.clone(), self.tell.clone()));
            self.socket = Some((socket, task.abort_handle()));
        }
    }

    /// The next message of a server. Never `None`.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        self.messages.recv().await
    }

    /// Sends what the gateway has, to each server; what the kernel does not take, clients ask for again.
    pub fn act(&self, gateway: &mut Gateway) {
        while let Some(message) = gateway.poll_relayed() {
            for address in &self.addresses {
                if let Some((socket, _)) = &self.socket {
                    let _ = socket.try_send_to(&message, SocketAddr::new(IpAddr::V6(*address), PORT));
                }
            }
        }
    }
}

async fn listen(socket: Arc<UdpSocket>, servers: Vec<Ipv6Addr>, tell: mpsc::Sender<Vec<u8>>) {
    let mut message = [0; 65_535];
    loop {
        // Errors are of messages sent before; nobody but the servers is heard.
        if let Ok((n, from)) = socket.recv_from(&mut message).await
            && servers.iter().any(|s| from.ip() == IpAddr::V6(*s))
            && tell.send(message[..n].to_vec()).await.is_err()
        {
            return;
        }
    }
}

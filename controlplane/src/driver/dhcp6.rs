//! The socket to DHCPv6 servers elsewhere (RFC 8415, section 19): port 547 on both ends.

use crate::config::Config;
use crate::gateway::Gateway;
use anyhow::Context;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

const PORT: u16 = 547;

/// The servers.
pub(super) struct Servers {
    addresses: Vec<Ipv6Addr>,
    socket: Option<Arc<UdpSocket>>,
    messages: mpsc::Receiver<Vec<u8>>,
    _tell: mpsc::Sender<Vec<u8>>,
}

impl Servers {
    /// Opens the socket, where there is anybody to relay to.
    pub async fn new(config: &Config) -> anyhow::Result<Self> {
        let (tell, messages) = mpsc::channel(256);
        let addresses = config.dhcp6.relay.clone();
        let mut socket = None;
        if !addresses.is_empty() {
            let bound = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, PORT)).await;
            let bound = Arc::new(bound.with_context(|| format!("dhcp6.relay: port {PORT}"))?);
            tokio::spawn(listen(Arc::clone(&bound), addresses.clone(), tell.clone()));
            socket = Some(bound);
        }
        Ok(Self { addresses, socket, messages, _tell: tell })
    }

    /// The next message of a server. Never `None`.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        self.messages.recv().await
    }

    /// Sends what the gateway has, to each server; what the kernel does not take, clients ask for again.
    pub fn act(&self, gateway: &mut Gateway) {
        while let Some(message) = gateway.poll_relayed() {
            for address in &self.addresses {
                if let Some(socket) = &self.socket {
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

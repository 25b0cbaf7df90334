//! UDP 500 and 4500 (or 1701 without IKE), and a raw socket for ESP.

use anyhow::Context;
use socket2::{Domain, Protocol, Socket, Type};
use softwire_initiator::{Config, Datagram};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use tokio::net::UdpSocket;

const ESP: i32 = 50;

pub(super) struct Sockets {
    gateway: IpAddr,
    udp: Vec<(u16, UdpSocket)>,
    esp: Option<UdpSocket>,
}

impl Sockets {
    pub(super) fn open(config: &Config) -> anyhow::Result<Self> {
        let ports: &[u16] = if config.ike.is_some() { &[500, 4500] } else { &[1701] };
        let open = |port: u16| -> anyhow::Result<(u16, UdpSocket)> {
            let at = SocketAddr::new(config.local, port);
            let socket = std::net::UdpSocket::bind(at).with_context(|| {
                format!("cannot bind {at}: another IKE or L2TP daemon, or no CAP_NET_BIND_SERVICE?")
            })?;
            socket.set_nonblocking(true)?;
            Ok((port, UdpSocket::from_std(socket)?))
        };
        let udp = ports.iter().map(|&p| open(p)).collect::<Result<_, _>>()?;
        let esp = config.ike.as_ref().map(|_| raw(config.local)).transpose()?;
        Ok(Self { gateway: config.gateway, udp, esp })
    }

    /// The next packet: its UDP port (`None` for ESP), its source, and where it stands in `buffer`.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> anyhow::Result<(Option<u16>, SocketAddr, Range<usize>)> {
        loop {
            let ready = async {
                let waits = self.udp.iter().map(|(_, s)| Box::pin(s.readable()));
                futures_util::future::select_all(waits).await.0
            };
            match &self.esp {
                Some(esp) => tokio::select! { r = ready => r?, r = esp.readable() => r? },
                None => ready.await?,
            }
            for (port, socket) in &self.udp {
                if let Ok((n, from)) = socket.try_recv_from(buffer) {
                    return Ok((Some(*port), from, 0..n));
                }
            }
            if let Some(esp) = &self.esp
                && let Ok((n, from)) = esp.try_recv_from(buffer)
            {
                // Linux gives the IP header with IPv4, not with IPv6.
                let start = if from.is_ipv4() { usize::from(buffer[0] & 15) * 4 } else { 0 };
                if start <= n {
                    return Ok((None, from, start..n));
                }
            }
        }
    }

    /// Sends; what the network refuses is lost, as any datagram may be.
    pub(super) async fn send(&self, datagram: &Datagram) {
        let result = match datagram {
            Datagram::Udp { from, to, data } => match self.udp.iter().find(|(p, _)| p == from) {
                Some((_, s)) => s.send_to(data, SocketAddr::new(self.gateway, *to)).await,
                None => return,
            },
            Datagram::Esp(data) => match &self.esp {
                Some(s) => s.send_to(data, SocketAddr::new(self.gateway, 0)).await,
                None => return,
            },
        };
        if let Err(e) = result {
            tracing::debug!(error = %e, "not sent");
        }
    }
}

fn raw(local: IpAddr) -> anyhow::Result<UdpSocket> {
    let at = SocketAddr::new(local, 0);
    let socket = Socket::new(Domain::for_address(at), Type::RAW, Some(Protocol::from(ESP)))
        .context("cannot open a raw socket for ESP: CAP_NET_RAW is needed")?;
    socket.set_nonblocking(true)?;
    socket.bind(&at.into())?;
    Ok(UdpSocket::from_std(socket.into())?)
}

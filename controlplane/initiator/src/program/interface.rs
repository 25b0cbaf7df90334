//! The TUN interface: inner packets, addresses, routes.

use super::Settings;
use anyhow::Context;
use ipnet::IpNet;
use rtnetlink::Handle;
use rtnetlink::packet_route::address::AddressHeaderFlags;
use rtnetlink::{RouteMessageBuilder, packet_route::route::RouteMessage};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use tun_rs::{AsyncDevice, DeviceBuilder, Layer};

pub(super) struct Interface {
    device: AsyncDevice,
    index: u32,
    netlink: Handle,
    routes: Vec<IpNet>,
}

impl Interface {
    pub(super) async fn open(settings: &Settings) -> anyhow::Result<Self> {
        let device =
            DeviceBuilder::new().name(&settings.tun).layer(Layer::L3).build_async().with_context(|| {
                format!("cannot make TUN {}: CAP_NET_ADMIN and /dev/net/tun are needed", settings.tun)
            })?;
        let index = device.if_index()?;
        let (connection, netlink, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        Ok(Self { device, index, netlink, routes: settings.routes.clone() })
    }

    pub(super) async fn receive(&self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.device.recv(buffer).await
    }

    pub(super) async fn send(&self, packet: &[u8]) {
        if let Err(e) = self.device.send(packet).await {
            tracing::debug!(error = %e, "the host refused an inner packet");
        }
    }

    pub(super) fn mtu(&self, mtu: u16) -> anyhow::Result<()> {
        self.device.set_mtu(mtu).context("cannot set the MTU")
    }

    pub(super) async fn ipv4(&mut self, address: Ipv4Addr) -> anyhow::Result<()> {
        self.address(address.into(), 32).await
    }

    pub(super) async fn ipv6(&mut self, address: Ipv6Addr, len: u8) -> anyhow::Result<()> {
        self.address(address.into(), len).await
    }

    // The address, and the routes of its family.
    async fn address(&mut self, address: IpAddr, len: u8) -> anyhow::Result<()> {
        let mut request = self.netlink.address().add(self.index, address, len).replace();
        if address.is_ipv6() {
            request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
        }
        request.execute().await.with_context(|| format!("cannot set {address}/{len}"))?;
        for route in self.routes.iter().filter(|r| r.addr().is_ipv4() == address.is_ipv4()) {
            let add = self.netlink.route().add(message(route, self.index)).replace();
            add.execute().await.with_context(|| format!("cannot route {route} into the softwire"))?;
        }
        Ok(())
    }
}

fn message(route: &IpNet, index: u32) -> RouteMessage {
    match route {
        IpNet::V4(n) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(n.network(), n.prefix_len())
            .output_interface(index)
            .build(),
        IpNet::V6(n) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(n.network(), n.prefix_len())
            .output_interface(index)
            .build(),
    }
}

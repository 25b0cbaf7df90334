//! The host stack: a TAP per port, on which Linux answers ARP, ND and ping, and runs TCP for the control plane; and
//! netlink, from which the gateway learns what Linux knows of its neighbours.
//!
//! The TAP has the port's Ethernet address and IP addresses. A frame for the host is punted by a worker and written to
//! the TAP; what Linux sends is read from it and injected. Tags are the port's: on the TAP there are none. Duplicate
//! address detection is skipped: the addresses are the gateway's by configuration, and the tentative time would cost the
//! first second of service.
//!
//! A TAP begins with a random Ethernet address. udev, where it is slow, sees that one and puts one of its own in the place
//! of the port's afterwards (`MACAddressPolicy=persistent` of systemd.link(5)); Linux would answer ARP and ND with it, for
//! frames that the port drops. So whoever changes it, the port's is put back.

use crate::config::{Config, Port};
use anyhow::Context;
use dataplane_api::{MacAddr, PortId};
use futures_util::{StreamExt, TryStreamExt};
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::{Handle, LinkUnspec, MulticastGroup};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::mpsc;
use tun_rs::{AsyncDevice, DeviceBuilder, Layer};
use wire::ethernet::{self, Ethernet};

/// Frames from Linux that may wait.
const BACKLOG: usize = 512;

/// Octets of both Ethernet addresses, behind which a tag stands.
const ADDRESSES: usize = 12;

/// A neighbour that Linux learned (`mac`) or lost (`None`).
pub(super) struct Neighbour {
    pub port: PortId,
    pub address: IpAddr,
    pub mac: Option<MacAddr>,
}

pub(super) struct HostStack {
    taps: Vec<Arc<AsyncDevice>>,
    indices: Vec<u32>,
    netlink: Handle,
}

/// The host stack, frames from Linux, and what Linux learns of neighbours.
pub(super) type Opened = (HostStack, mpsc::Receiver<(PortId, Vec<u8>)>, mpsc::Receiver<Neighbour>);

impl HostStack {
    pub(super) async fn new(config: &Config, macs: &[MacAddr]) -> anyhow::Result<Opened> {
        let groups = [MulticastGroup::Link, MulticastGroup::Neigh];
        let (connection, netlink, mut messages) =
            rtnetlink::new_multicast_connection(&groups).context("cannot open a netlink socket")?;
        tokio::spawn(connection);
        let (frames_tx, frames) = mpsc::channel(BACKLOG);
        let (mut taps, mut indices) = (Vec::new(), Vec::new());
        for (i, (port, mac)) in config.ports.iter().zip(macs).enumerate() {
            let tap = Arc::new(open(port, *mac, &netlink).await?);
            indices.push(tap.if_index()?);
            super::host_routes::install(config, i, tap.if_index()?, &netlink).await?;
            tokio::spawn(read(PortId(i as u16), port.clone(), Arc::clone(&tap), frames_tx.clone()));
            taps.push(tap);
        }
        let ports: HashMap<u32, (PortId, MacAddr)> =
            indices.iter().zip(macs).enumerate().map(|(i, (&index, &mac))| (index, (PortId(i as u16), mac))).collect();
        let (neighbours_tx, neighbours) = mpsc::channel(BACKLOG);
        // Its answers are not to be lost among the messages of the other.
        let (connection, links, _) = rtnetlink::new_connection().context("cannot open a netlink socket")?;
        tokio::spawn(connection);
        tokio::spawn(async move {
            while let Some((message, _)) = messages.next().await {
                for (&index, &(port, mac)) in &ports {
                    if concerns(index, mac, &message.payload) {
                        put_back(&links, index, port, mac).await;
                    }
                }
                if let Some(n) = learned(&ports, &message.payload)
                    && neighbours_tx.send(n).await.is_err()
                {
                    return;
                }
            }
        });
        Ok((Self { taps, indices, netlink }, frames, neighbours))
    }

    /// Other routes for what Linux sends from addresses of ours.
    pub(super) async fn configure(&self, old: &Config, new: &Config) {
        for (i, index) in self.indices.iter().enumerate() {
            if let Err(error) = super::host_routes::change(old, new, i, *index, &self.netlink).await {
                tracing::error!(port = i, error = format!("{error:#}"), "the host stack has not all of the routes");
            }
        }
    }

    /// Hands a punted frame to Linux. A TAP whose queue is full drops it, as a NIC would.
    pub(super) async fn send(&self, port: PortId, frame: &mut [u8]) {
        if let Some(tap) = self.taps.get(usize::from(port.0))
            && let Err(e) = tap.send(untagged(frame)).await
        {
            tracing::debug!(port = port.0, error = %e, "host stack refused a frame");
        }
    }

    /// Has Linux resolve a neighbour; the answer comes by netlink.
    pub(super) async fn resolve(&self, port: PortId, address: IpAddr) {
        let Some(&index) = self.indices.get(usize::from(port.0)) else { return };
        let request = self
            .netlink
            .neighbours()
            .add(index, address)
            .state(NeighbourState::None)
            .flags(NeighbourFlags::Use)
            .replace();
        if let Err(e) = request.execute().await {
            tracing::debug!(port = port.0, %address, error = %e, "neighbour cannot be resolved");
        }
    }
}

async fn open(port: &Port, mac: MacAddr, netlink: &Handle) -> anyhow::Result<AsyncDevice> {
    let name = port.tap_name();
    let tap = DeviceBuilder::new()
        .name(&name)
        .layer(Layer::L2)
        .mac_addr(mac.0)
        .mtu(port.mtu)
        .enable(false)
        .build_async()
        .with_context(|| format!("cannot make TAP {name}: CAP_NET_ADMIN and /dev/net/tun are needed"))?;
    let index = tap.if_index()?;
    // Linux does not ask for a neighbour before it is sure of its own link-local address, which takes two seconds.
    if let Err(error) = std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/accept_dad"), "0") {
        tracing::debug!(name, %error, "no sysctl: IPv6 neighbours are found after two seconds only");
    }
    tap.enabled(true).with_context(|| format!("TAP {name}"))?;
    for net in &port.addresses {
        let mut request = netlink.address().add(index, net.addr(), net.prefix_len());
        if net.addr().is_ipv6() {
            request.message_mut().header.flags |= rtnetlink::packet_route::address::AddressHeaderFlags::Nodad;
        }
        request.execute().await.with_context(|| format!("cannot give {} to {name}", net.addr()))?;
    }
    Ok(tap)
}

async fn read(number: PortId, port: Port, tap: Arc<AsyncDevice>, frames: mpsc::Sender<(PortId, Vec<u8>)>) {
    let mut buffer = vec![0; ethernet::HEADER + usize::from(port.mtu)];
    loop {
        match tap.recv(&mut buffer).await {
            Ok(n) => {
                if frames.send((number, tagged(&buffer[..n], port.vlan))).await.is_err() {
                    return;
                }
            }
            Err(e) => {
                tracing::error!(port = number.0, error = %e, "TAP is gone");
                return;
            }
        }
    }
}

/// A frame as the port sends it.
fn tagged(frame: &[u8], vlan: Option<u16>) -> Vec<u8> {
    match (vlan, frame.split_at_checked(ADDRESSES)) {
        (Some(id), Some((addresses, rest))) => {
            [addresses, &ethernet::VLAN.to_be_bytes(), &id.to_be_bytes(), rest].concat()
        }
        _ => frame.to_vec(),
    }
}

/// A frame without its tag, which a port may have taken off itself.
fn untagged(frame: &mut [u8]) -> &[u8] {
    if Ethernet::parse(frame).is_ok_and(|e| e.len > ethernet::HEADER) {
        frame.copy_within(..ADDRESSES, ethernet::TAG);
        &frame[ethernet::TAG..]
    } else {
        frame
    }
}

/// Whether a message says that the TAP had another Ethernet address when it was sent, or may have been lost with one that does.
fn concerns(index: u32, mac: MacAddr, payload: &NetlinkPayload<RouteNetlinkMessage>) -> bool {
    match payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(m)) => m.header.index == index && differs(m, mac),
        NetlinkPayload::Overrun(_) => true,
        _ => false,
    }
}

fn differs(link: &LinkMessage, mac: MacAddr) -> bool {
    link.attributes.iter().any(|a| matches!(a, LinkAttribute::Address(a) if a[..] != mac.0))
}

/// Gives the TAP its port's Ethernet address, unless it has that by now.
async fn put_back(netlink: &Handle, index: u32, port: PortId, mac: MacAddr) {
    let change = async {
        match netlink.link().get().match_index(index).execute().try_next().await? {
            Some(link) if differs(&link, mac) => {
                netlink.link().set(LinkUnspec::new_with_index(index).address(mac.0.to_vec()).build()).execute().await?;
                Ok(true)
            }
            _ => Ok(false),
        }
    };
    match change.await {
        Ok(false) => {}
        Ok(true) => tracing::warn!(port = port.0, "the Ethernet address of a TAP was changed: it has its port's again"),
        Err::<_, rtnetlink::Error>(error) => {
            tracing::error!(port = port.0, %error, "a TAP may have another Ethernet address than its port");
        }
    }
}

fn learned(
    ports: &HashMap<u32, (PortId, MacAddr)>,
    payload: &NetlinkPayload<RouteNetlinkMessage>,
) -> Option<Neighbour> {
    let (message, gone) = match payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNeighbour(m)) => (m, false),
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelNeighbour(m)) => (m, true),
        _ => return None,
    };
    let (port, _) = *ports.get(&message.header.ifindex)?;
    let address = message.attributes.iter().find_map(|a| match a {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => Some(IpAddr::V4(*v4)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => Some(IpAddr::V6(*v6)),
        _ => None,
    })?;
    let mac = if gone || !usable(message) { None } else { Some(link_layer(message)?) };
    Some(Neighbour { port, address, mac })
}

fn usable(m: &NeighbourMessage) -> bool {
    !matches!(m.header.state, NeighbourState::Failed | NeighbourState::Incomplete | NeighbourState::None)
}

fn link_layer(m: &NeighbourMessage) -> Option<MacAddr> {
    m.attributes.iter().find_map(|a| match a {
        NeighbourAttribute::LinkLayerAddress(l) => Some(MacAddr(l.as_slice().try_into().ok()?)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tap_with_another_address_than_its_port() {
        let concerns = |payload| concerns(7, MacAddr([2; 6]), &payload);
        let said = |index, mac: [u8; 6]| {
            let mut m = LinkMessage::default();
            m.header.index = index;
            m.attributes = vec![LinkAttribute::IfName("sw-core".into()), LinkAttribute::Address(mac.to_vec())];
            concerns(NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(m)))
        };
        assert_eq!([said(7, [2; 6]), said(7, [4; 6]), said(8, [4; 6])], [false, true, false]);
        let silent = RouteNetlinkMessage::NewLink(LinkMessage::default());
        assert!(!concerns(NetlinkPayload::InnerMessage(silent)));
        assert!(concerns(NetlinkPayload::Overrun(Vec::new())));
    }

    #[test]
    fn a_tag_is_put_on_and_taken_off() {
        let mut plain = vec![0x5a; 60];
        assert!(ethernet::emit(&mut plain, [1; 6], [2; 6], None, ethernet::ARP));
        let mut frame = tagged(&plain, Some(7));
        let head = Ethernet::parse(&frame).unwrap();
        assert_eq!((head.dst, head.src, head.vlan, head.ethertype), ([1; 6], [2; 6], Some(7), ethernet::ARP));
        assert_eq!(untagged(&mut frame), plain);
        assert_eq!(tagged(&plain, None), plain);
        assert_eq!(untagged(&mut plain.clone()), plain);
        assert_eq!(untagged(&mut [0x81; 13]), [0x81; 13]);
    }
}

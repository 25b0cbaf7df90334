//! The way back for what Linux sends from an address of ours: the gateway's own connected and static routes, in a table
//! that only packets with such a source use, so that the machine's management routes are neither used nor changed.
//!
//! ```text
//!   ip rule:   from 192.0.2.1       lookup 7000      (one table per port)
//!   table 7000: 192.0.2.0/24 dev sw-core;  0.0.0.0/0 via 192.0.2.254 dev sw-core
//! ```
//!
//! The interface takes the routes along when it goes; a rule that is left over names an empty table.

use crate::config::{Config, Port};
use crate::peer::payload_mtu;
use anyhow::Context;
use dataplane_api::{Cipher, EspSuite, Integrity};
use ipnet::IpNet;
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage, RouteMetric};
use rtnetlink::packet_route::rule::RuleAction;
use rtnetlink::{Handle, RouteMessageBuilder};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Table of the first port.
const FIRST_TABLE: u32 = 7000;
/// Before the main table (32766).
const PRIORITY: u32 = 7000;

/// Gives Linux the routes of port `number`, whose TAP has interface `index`.
pub(super) async fn install(config: &Config, number: usize, index: u32, netlink: &Handle) -> anyhow::Result<()> {
    let Some(port) = config.ports.get(number) else { return Ok(()) };
    let table = FIRST_TABLE + number as u32;
    for net in &port.addresses {
        rule(net.addr(), table, netlink).await.with_context(|| format!("rule for {}", net.addr()))?;
        route(net.trunc(), None, None, (table, index), netlink).await.with_context(|| format!("route to {net}"))?;
    }
    for way in ways(config, port) {
        add(way, (table, index), netlink).await?;
    }
    Ok(())
}

/// What differs between two configurations with the same ports.
pub(super) async fn change(
    old: &Config,
    new: &Config,
    number: usize,
    index: u32,
    netlink: &Handle,
) -> anyhow::Result<()> {
    let Some(port) = new.ports.get(number) else { return Ok(()) };
    let at = (FIRST_TABLE + number as u32, index);
    let (before, after) = (ways(old, port), ways(new, port));
    // A route of another kind takes the place of the one before.
    for way in before.iter().filter(|w| !after.iter().any(|new| new.to == w.to)) {
        if let Err(error) = netlink.route().del(message(way.to, way.via, way.mtu, at)).execute().await {
            tracing::warn!(to = %way.to, %error, "route cannot be taken back");
        }
    }
    for way in after.into_iter().filter(|w| !before.contains(w)) {
        add(way, at, netlink).await?;
    }
    Ok(())
}

/// A route of a port.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Way {
    to: IpNet,
    via: Option<IpAddr>,
    mtu: Option<u32>,
}

fn ways(config: &Config, port: &Port) -> Vec<Way> {
    let fixed = config.routes.iter().filter(|r| r.port == port.name && serves(port, &r.to));
    let fixed = fixed.map(|r| Way { to: r.to, via: r.via.first().copied(), mtu: None });
    // BGP inside ESP: TCP is to leave room for what `esp_out` adds.
    let carried = config.ike.peers.iter().filter(|p| p.bgp).filter_map(|p| p.address).filter_map(|neighbour| {
        let (via, _) = way(config, port, neighbour)?;
        let header = if neighbour.is_ipv6() { 40 } else { 20 };
        let largest = EspSuite::new(Cipher::AesCbc256, Integrity::HmacSha256_128);
        let mtu = header + payload_mtu(port.mtu, neighbour.is_ipv6(), true, largest);
        Some(Way { to: neighbour.into(), via, mtu: Some(mtu.into()) })
    });
    fixed.chain(carried).collect()
}

async fn add(way: Way, at: (u32, u32), netlink: &Handle) -> anyhow::Result<()> {
    let Way { to, via, mtu } = way;
    route(to, via, mtu, at, netlink).await.with_context(|| format!("route to {to}"))
}

/// The router on the way to an address by this port, and the length of the prefix that says so.
fn way(config: &Config, port: &Port, to: IpAddr) -> Option<(Option<IpAddr>, u8)> {
    let connected = port.addresses.iter().filter(|n| n.contains(&to)).map(|n| (None, n.prefix_len()));
    let fixed = config.routes.iter().filter(|r| r.port == port.name && r.to.contains(&to));
    connected.chain(fixed.map(|r| (r.via.first().copied(), r.to.prefix_len()))).max_by_key(|w| w.1)
}

/// A family in which the port has no address has no packets of ours.
fn serves(port: &Port, to: &IpNet) -> bool {
    port.addresses.iter().any(|a| a.addr().is_ipv4() == to.addr().is_ipv4())
}

async fn rule(from: IpAddr, table: u32, netlink: &Handle) -> Result<(), rtnetlink::Error> {
    let add = netlink.rule().add().table_id(table).priority(PRIORITY).action(RuleAction::ToTable).replace();
    let done = match from {
        IpAddr::V4(a) => add.v4().source_prefix(a, 32).execute().await,
        IpAddr::V6(a) => add.v6().source_prefix(a, 128).execute().await,
    };
    done.or_else(exists)
}

async fn route(
    to: IpNet,
    via: Option<IpAddr>,
    mtu: Option<u32>,
    at: (u32, u32),
    netlink: &Handle,
) -> Result<(), rtnetlink::Error> {
    netlink.route().add(message(to, via, mtu, at)).replace().execute().await.or_else(exists)
}

fn message(to: IpNet, via: Option<IpAddr>, mtu: Option<u32>, (table, index): (u32, u32)) -> RouteMessage {
    let mut message = match (to, via) {
        (IpNet::V4(to), via) => {
            let m = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(to.network(), to.prefix_len());
            let m = m.output_interface(index).table_id(table);
            if let Some(IpAddr::V4(via)) = via { m.gateway(via).onlink().build() } else { m.build() }
        }
        (IpNet::V6(to), via) => {
            let m = RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(to.network(), to.prefix_len());
            let m = m.output_interface(index).table_id(table);
            if let Some(IpAddr::V6(via)) = via { m.gateway(via).onlink().build() } else { m.build() }
        }
    };
    message.attributes.extend(mtu.map(|mtu| RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)])));
    message
}

/// Left by an earlier run.
fn exists(error: rtnetlink::Error) -> Result<(), rtnetlink::Error> {
    match &error {
        rtnetlink::Error::NetlinkError(m) if m.raw_code() == -17 => Ok(()),
        _ => Err(error),
    }
}

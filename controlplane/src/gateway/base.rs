//! What the data plane is told by the configuration alone: ports, routes without BGP, filters, the SPD.

use super::Gateway;
use crate::config::{Config, PoolSet, Port};
use crate::spd;
use dataplane_api::{FilterId, IpPrefix, MacAddr, NextHop, PortConfig, PortId, SnapshotOp};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

impl Gateway {
    /// All of it, at the start.
    pub(super) fn publish(&mut self, macs: &[MacAddr]) {
        let config = std::sync::Arc::clone(&self.config);
        for ((id, port), mac) in numbered(&config).zip(macs) {
            self.program.snapshot(SnapshotOp::Port(PortConfig {
                port: id,
                mac: *mac,
                mtu: port.mtu,
                vlan: port.vlan,
                zone: port.zone,
                addresses: port.addresses.iter().map(|n| (n.addr(), n.prefix_len())).collect(),
            }));
        }
        self.publish_routes();
        self.publish_filters(&[]);
        self.publish_policy();
    }

    /// Routes that differ from those before. What is a subscriber's, BGP's or the mesh's at present stays theirs.
    pub(super) fn publish_routes(&mut self) {
        let after = routes(&self.config);
        let before = std::mem::replace(&mut self.program.base, after.clone());
        let gone = before.keys().filter(|p| !after.contains_key(p));
        let changed = after.iter().filter(|(p, hops)| before.get(p) != Some(hops)).map(|(p, _)| p);
        let mut changed: BTreeSet<IpPrefix> = changed.chain(gone).copied().collect();
        if changed.is_empty() {
            return;
        }
        for prefix in self.subscribers.values().flat_map(|s| &s.routes) {
            changed.remove(prefix);
        }
        let of_bgp = |p: &IpPrefix| self.routing.as_ref().is_some_and(|r| r.routes(p)) || self.mesh.routed(p);
        for prefix in changed.into_iter().filter(|p| !of_bgp(p)) {
            self.unresolved.extend(after.get(&prefix).into_iter().flatten().filter_map(|hop| match hop {
                NextHop::Via(port, address) => Some((*port, *address)),
                _ => None,
            }));
            self.program.withdraw(prefix);
        }
    }

    /// Filters that differ from those of `before`. A name keeps its number for good: sessions that name a filter which is
    /// gone pass nothing, and have it again when it is back.
    pub(super) fn publish_filters(&mut self, before: &[crate::config::Filter]) {
        let config = std::sync::Arc::clone(&self.config);
        for filter in config.filters.iter().filter(|f| !before.contains(f)) {
            let fresh = FilterId(self.filters.len() as u16);
            let id = *self.filters.entry(filter.name.clone()).or_insert(fresh);
            self.program.snapshot(SnapshotOp::Filter(id, filter.rules()));
        }
        let gone = before.iter().filter(|f| !config.filters.iter().any(|other| other.name == f.name));
        for id in gone.filter_map(|f| self.filters.get(&f.name)) {
            self.program.snapshot(SnapshotOp::Filter(*id, Vec::new()));
        }
    }

    /// The SPD, where it is another one.
    pub(super) fn publish_policy(&mut self) {
        let rules: Vec<_> = self.policy().into_iter().map(|n| n.rule).collect();
        if self.spd != rules {
            self.spd.clone_from(&rules);
            self.program.snapshot(SnapshotOp::Policy(rules));
        }
    }

    /// The SPD. Listeners that are leaving have their lines as long as somebody is there.
    pub(super) fn policy(&self) -> Vec<spd::Named> {
        let staying = self.config.listeners.iter().filter(|l| !self.leaving.iter().any(|old| old.address == l.address));
        spd::with_listeners(&self.config, staying.chain(&self.leaving))
    }
}

fn numbered(config: &Config) -> impl Iterator<Item = (PortId, &Port)> {
    config.ports.iter().enumerate().map(|(i, port)| (PortId(i as u16), port))
}

/// Connected networks, our own addresses, static routes. Nothing leaks to a default route from a pool that nobody uses.
fn routes(config: &Config) -> BTreeMap<IpPrefix, Vec<NextHop>> {
    let mut all = BTreeMap::new();
    for (id, port) in numbered(config) {
        for net in &port.addresses {
            all.extend(IpPrefix::new(net.addr(), net.prefix_len()).map(|p| (p, vec![NextHop::Connected(id)])));
            all.insert(IpPrefix::host(net.addr()), vec![NextHop::Local]);
        }
    }
    all.extend(config.ppp.local_ipv4.map(|local| (IpPrefix::host(local.into()), vec![NextHop::Local])));
    for route in &config.routes {
        let port = numbered(config).find(|(_, p)| p.name == route.port);
        let (Some((port, _)), Some(prefix)) = (port, IpPrefix::new(route.to.network(), route.to.prefix_len())) else {
            continue;
        };
        let hops = match route.via.as_slice() {
            [] => vec![NextHop::Connected(port)],
            via => via.iter().map(|&a| NextHop::Via(port, a)).collect(),
        };
        all.insert(prefix, hops);
    }
    all.extend(pool_networks(config).map(|prefix| (prefix, vec![NextHop::Unreachable])));
    all
}

/// Networks of all pools.
fn pool_networks(config: &Config) -> impl Iterator<Item = IpPrefix> {
    let nets = |set: PoolSet| {
        let v4 = set.ipv4.into_iter().map(|n| (IpAddr::V4(n.network()), n.prefix_len()));
        let v6 = set.ipv6.into_iter().chain(set.delegated).chain(set.addresses);
        v4.chain(v6.map(|n| (IpAddr::V6(n.network()), n.prefix_len()))).collect::<Vec<_>>()
    };
    config.pools.sets().flat_map(move |(_, set)| nets(set)).filter_map(|(a, len)| IpPrefix::new(a, len))
}

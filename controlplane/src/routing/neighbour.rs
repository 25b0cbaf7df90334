//! From a neighbour's configuration to the speaker's.

use super::policy::Policies;
use crate::config::bgp::{DynamicNeighbours, Neighbour};
use crate::config::neighbour as settings;
use crate::config::{Bgp, Config};
use bgp::message::{Family, Role};
use bgp::neighbour::{Backoff, FamilyConfig, GracefulRestart, ListenRange, NeighbourConfig, TcpOptions};
use bgp::rib::{NextHopMode, Peering};
use bgp::session::{MaxPrefix, MaxPrefixAction};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A neighbour at `n.address`.
pub(super) fn neighbour(config: &Config, bgp: &Bgp, policies: &Policies, n: &Neighbour) -> NeighbourConfig {
    build(config, bgp, policies, n, n.address)
}

/// Neighbours out of a range.
pub(super) fn range(config: &Config, bgp: &Bgp, policies: &Policies, d: &DynamicNeighbours) -> ListenRange {
    let neighbour = build(config, bgp, policies, &d.neighbour, d.range.addr());
    ListenRange { prefix: d.range, neighbour, max: d.max }
}

fn build(config: &Config, bgp: &Bgp, policies: &Policies, n: &Neighbour, remote: IpAddr) -> NeighbourConfig {
    let internal = n.asn.is_internal(bgp.asn);
    let own = |v4| own_next_hop(config, internal, remote, v4);
    let reject_invalid = n.reject_invalid.unwrap_or(!internal && !bgp.rtr.is_empty());
    let default = NeighbourConfig::new(n.asn);
    let longest = default.connect_retry.max.max(n.connect_retry);
    NeighbourConfig {
        local: n.local.or_else(|| config.port_towards(remote)?.address(remote.is_ipv4())),
        passive: n.passive,
        hold_time: n.hold_time,
        tcp: TcpOptions {
            gtsm_hops: n.ttl_security,
            ttl: None,
            md5_key: n.md5.clone(),
            ao_key_chain: n.tcp_ao.clone(),
        },
        connect_retry: Backoff { initial: n.connect_retry, max: longest },
        families: families(config, internal, n, remote),
        strict_role: n.strict_role,
        martian_endpoints: bgp.special_endpoints,
        // Forwarding does not survive a restart of ours: neighbours must not wait for it.
        graceful_restart: Some(GracefulRestart { helper_only: true, ..GracefulRestart::default() }),
        peering: Peering {
            import: policies.import(n.import.as_ref(), internal, reject_invalid),
            export: policies.get(n.export.as_ref()),
            client: n.client,
            role: n.role.map(role),
            next_hop: if n.next_hop_self { NextHopMode::Own } else { NextHopMode::Standard },
            own_ipv4: own(true),
            own_ipv6: own(false),
            tunnels_in: n.tunnels,
            tunnels_out: n.tunnels,
            ..Peering::default()
        },
        ..default
    }
}

/// Our next hop in a family, if it is not the session's address. Inside it is our end of the softwire, whatever the
/// family: IPv4 islands over an IPv6 core. Outside it is our address on the link.
fn own_next_hop(config: &Config, internal: bool, remote: IpAddr, v4: bool) -> Option<IpAddr> {
    match internal {
        true => config.mesh.local.iter().copied().find(|a| a.is_ipv4() == remote.is_ipv4()),
        false => config.port_towards(remote)?.address(v4),
    }
}

/// An external neighbour over IPv4 gets no IPv6 routes when we have no IPv6 address that could be their next hop.
fn families(config: &Config, internal: bool, n: &Neighbour, remote: IpAddr) -> BTreeMap<Family, FamilyConfig> {
    let max_prefix = n.max_prefix.map(|m| MaxPrefix {
        limit: m.limit,
        warn_percent: m.warning,
        action: match m.warning_only {
            true => MaxPrefixAction::Warn,
            false => MaxPrefixAction::TearDown { restart: m.restart },
        },
    });
    let wanted = |family: &Family| match (&n.families, family) {
        (Some(families), Family::Ipv4Unicast) => families.contains(&settings::Family::Ipv4),
        (Some(families), Family::Ipv6Unicast) => families.contains(&settings::Family::Ipv6),
        (None, Family::Ipv4Unicast) => true,
        (None, Family::Ipv6Unicast) => {
            internal || remote.is_ipv6() || own_next_hop(config, internal, remote, false).is_some()
        }
    };
    let family = FamilyConfig { required: false, max_prefix };
    Family::ALL.into_iter().filter(wanted).map(|f| (f, family)).collect()
}

fn role(role: settings::Role) -> Role {
    match role {
        settings::Role::Provider => Role::Provider,
        settings::Role::Customer => Role::Customer,
        settings::Role::Peer => Role::Peer,
        settings::Role::RouteServer => Role::RouteServer,
        settings::Role::RouteServerClient => Role::RouteServerClient,
    }
}

//! From Adj-RIB-In towards Loc-RIB: which routes of a neighbour may be used, and with which attributes.

use super::peer::{Neighbour, Peer};
use super::route::Ineligible;
use super::{RibConfig, Rov};
use crate::attribute::Attributes;
use crate::message::{Family, Role};
use crate::policy::{Subject, Verdict};
use ipnet::IpNet;
use std::borrow::Cow;

/// Judges a route of a neighbour; the attributes are copied if they are changed.
pub(super) fn import<'a>(
    config: &RibConfig,
    neighbour: &Neighbour,
    peer: &Peer,
    prefix: &IpNet,
    rov: Rov,
    received: &'a Attributes,
) -> Result<Cow<'a, Attributes>, Ineligible> {
    let internal = peer.negotiated.ibgp;
    let peering = &neighbour.peering;
    let mut attributes = Cow::Borrowed(received);
    if received.as_path.contains(config.local_as) {
        return Err(Ineligible::AsLoop);
    }
    let own = [Some(peer.local), peering.own_ipv4, peering.own_ipv6];
    if own.contains(&Some(received.next_hop.resolve())) {
        return Err(Ineligible::OwnNextHop);
    }
    if internal {
        reflected(config, received)?;
    } else {
        let of_route_server = peering.role == Some(Role::RouteServerClient);
        if peering.first_as && !of_route_server && received.as_path.first() != Some(peer.negotiated.peer_as) {
            return Err(Ineligible::FirstAs);
        }
        only_to_customer(peering.role, peer.negotiated.peer_as, &mut attributes)?;
    }
    if !peering.tunnels_in.unwrap_or(internal) {
        strip_tunnels(&mut attributes);
    }
    match &peering.import {
        None if internal => {}
        None => return Err(Ineligible::NoPolicy),
        Some(policy) => {
            let own_next_hop = neighbour.own_next_hop(Family::of(prefix));
            let subject = Subject { prefix: *prefix, rov, own_next_hop };
            if policy.apply(&subject, &mut attributes) == Verdict::Reject {
                return Err(Ineligible::Policy);
            }
        }
    }
    Ok(attributes)
}

/// RFC 4456, section 8.
fn reflected(config: &RibConfig, received: &Attributes) -> Result<(), Ineligible> {
    if received.originator_id == Some(config.router_id) {
        return Err(Ineligible::Originator);
    }
    match received.cluster_list.contains(&config.cluster_id) {
        true => Err(Ineligible::ClusterLoop),
        false => Ok(()),
    }
}

/// RFC 9234, section 5, ingress. `role` is ours: to a provider the neighbour is a customer.
fn only_to_customer(role: Option<Role>, peer_as: u32, attributes: &mut Cow<'_, Attributes>) -> Result<(), Ineligible> {
    match (role, attributes.only_to_customer) {
        (Some(Role::Provider | Role::RouteServer), Some(_)) => Err(Ineligible::RouteLeak),
        (Some(Role::Peer), Some(asn)) if asn != peer_as => Err(Ineligible::RouteLeak),
        (Some(Role::Customer | Role::Peer | Role::RouteServerClient), None) => {
            attributes.to_mut().only_to_customer = Some(peer_as);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Takes away what a route says of tunnels (RFC 9012, section 11).
pub(super) fn strip_tunnels(attributes: &mut Cow<'_, Attributes>) {
    let communities = &attributes.extended_communities;
    if attributes.tunnel_encap.is_some() || communities.iter().any(|c| c.encapsulation().is_some()) {
        let attributes = attributes.to_mut();
        attributes.tunnel_encap = None;
        attributes.extended_communities.retain(|c| c.encapsulation().is_none());
    }
}

/// Whether no network can have the prefix: multicast, loopback and link-local addresses.
pub(super) fn is_martian(prefix: &IpNet) -> bool {
    if prefix.prefix_len() == 0 {
        return false;
    }
    match prefix {
        IpNet::V4(net) => net.addr().is_multicast() || net.addr().is_loopback() || net.addr().is_link_local(),
        IpNet::V6(net) => net.addr().is_multicast() || net.addr().is_loopback() || net.addr().is_unicast_link_local(),
    }
}

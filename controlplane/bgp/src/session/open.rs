//! Our OPEN and what the peer's must be like (RFC 4271, section 6.2; RFC 5492; RFC 6286; RFC 9234).

use super::graceful::PeerRestart;
use crate::message::family::AFI_IPV6;
use crate::message::{Capability, Family, Negotiated, Notification, Open, Role};
use crate::neighbour::NeighbourConfig;
use std::net::Ipv4Addr;
use std::time::Duration;

/// Who we are in an OPEN.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Local {
    pub asn: u32,
    pub router_id: Ipv4Addr,
    /// R: we have restarted and have not sent End-of-RIB yet (RFC 4724, section 4.1).
    pub restarting: bool,
    /// F: our forwarding state for the neighbour's routes has outlived the last session.
    pub preserved: bool,
}

/// What both OPENs come to.
#[derive(Clone, Debug)]
pub(crate) struct Agreed {
    /// How messages are read and written.
    pub negotiated: Negotiated,
    /// The peer's BGP Identifier.
    pub router_id: Ipv4Addr,
    /// Hold time; none when either side proposed 0.
    pub hold: Option<Duration>,
    /// The peer's Graceful Restart Capability, with the families that the session carries, if we have it, too.
    pub restart: Option<PeerRestart>,
    /// The role that the peer says it has.
    pub peer_role: Option<Role>,
}

/// Our OPEN to a neighbour.
pub(crate) fn build(local: &Local, config: &NeighbourConfig) -> Open {
    let mut capabilities: Vec<_> = config.families.keys().map(|family| Capability::MultiProtocol(*family)).collect();
    if config.extended_next_hop && config.families.contains_key(&Family::Ipv4Unicast) {
        capabilities.push(Capability::ExtendedNextHop(vec![(Family::Ipv4Unicast, AFI_IPV6)]));
    }
    capabilities.extend([Capability::RouteRefresh, Capability::EnhancedRouteRefresh]);
    if config.extended_message {
        capabilities.push(Capability::ExtendedMessage);
    }
    if !config.remote_as.is_internal(local.asn) {
        capabilities.extend(config.peering.role.map(Capability::Role));
    }
    if let Some(restart) = config.graceful_restart {
        let families = config.families.keys().map(|family| (*family, local.preserved));
        capabilities.push(Capability::GracefulRestart {
            restarting: local.restarting,
            notification: restart.notification,
            time: restart.restart_time.min(0x0fff),
            families: if restart.helper_only { Vec::new() } else { families.collect() },
        });
    }
    capabilities.push(Capability::FourOctetAs(local.asn));
    Open { asn: local.asn, hold_time: config.hold_time, router_id: local.router_id, capabilities }
}

/// Checks the peer's OPEN against the configuration and ours, which was or will be sent to it.
pub(crate) fn check(ours: &Open, theirs: &Open, config: &NeighbourConfig) -> Result<Agreed, Notification> {
    if !config.remote_as.accepts(theirs.asn, ours.asn) {
        return Err(Notification::bad_peer_as());
    }
    let internal = theirs.asn == ours.asn;
    if internal && theirs.router_id == ours.router_id {
        return Err(Notification::bad_bgp_identifier());
    }
    if (1..config.min_hold_time).contains(&theirs.hold_time) {
        return Err(Notification::unacceptable_hold_time());
    }
    let negotiated = Negotiated { martian_endpoints: config.martian_endpoints, ..Negotiated::between(ours, theirs)? };
    let peer_role = theirs.capabilities.iter().find_map(|c| match c {
        Capability::Role(role) => Some(*role),
        _ => None,
    });
    if !internal && config.strict_role && config.peering.role.is_some() && peer_role.is_none() {
        return Err(Notification::role_mismatch());
    }
    check_families(config, &negotiated)?;
    let hold = Some(negotiated.hold_time).filter(|s| *s != 0).map(|s| Duration::from_secs(s.into()));
    let restart = config.graceful_restart.and_then(|_| peer_restart(theirs, &negotiated));
    Ok(Agreed { negotiated, router_id: theirs.router_id, hold, restart, peer_role })
}

/// A family that must be there is, and at least one is (RFC 5492, section 3; the capabilities missed are named).
fn check_families(config: &NeighbourConfig, negotiated: &Negotiated) -> Result<(), Notification> {
    let nothing = negotiated.families.is_empty();
    let missing = config
        .families
        .iter()
        .filter(|(family, wanted)| nothing || wanted.required && !negotiated.families.contains(family));
    let mut data = Vec::new();
    missing.for_each(|(family, _)| Capability::MultiProtocol(*family).encode(&mut data));
    match nothing || !data.is_empty() {
        true => Err(Notification::unsupported_capability(data)),
        false => Ok(()),
    }
}

/// Of several such capabilities the last one counts (RFC 4724, section 3).
fn peer_restart(theirs: &Open, negotiated: &Negotiated) -> Option<PeerRestart> {
    theirs.capabilities.iter().rev().find_map(|c| match c {
        Capability::GracefulRestart { restarting, notification, time, families } => Some(PeerRestart {
            restarting: *restarting,
            notification: *notification,
            time: Duration::from_secs((*time).into()),
            families: families.iter().filter(|(family, _)| negotiated.families.contains(family)).copied().collect(),
        }),
        _ => None,
    })
}

#[cfg(test)]
mod tests;

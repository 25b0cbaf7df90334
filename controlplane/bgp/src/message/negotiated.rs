//! What two OPENs agree on: it decides how messages are read and written.

use super::capability::{Capability, Role};
use super::family::Family;
use super::notification::Notification;
use super::open::Open;
use super::{MAX_EXTENDED_LEN, MAX_LEN};
use std::collections::BTreeSet;

/// What a session has agreed on. The default is what holds before the OPENs: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Negotiated {
    /// Our AS.
    pub local_as: u32,
    /// The peer's AS.
    pub peer_as: u32,
    /// Both are the same.
    pub ibgp: bool,
    /// AS numbers take four octets (RFC 6793).
    pub four_octet_as: bool,
    /// Families that both sides speak; IPv4 unicast is implied for a side that names none.
    pub families: BTreeSet<Family>,
    /// Families with the AFI that their next hops may have besides their own (RFC 8950).
    pub extended_next_hop: BTreeSet<(Family, u16)>,
    /// Messages may have 65,535 octets (RFC 8654).
    pub extended_message: bool,
    /// The peer understands ROUTE-REFRESH.
    pub route_refresh: bool,
    /// Both bracket the answer to a ROUTE-REFRESH (RFC 7313).
    pub enhanced_route_refresh: bool,
    /// Seconds: the smaller of both.
    pub hold_time: u16,
    /// Tunnel egress endpoints out of special-purpose blocks are taken, as a laboratory needs (RFC 9012, section 3.1).
    pub martian_endpoints: bool,
}

impl Negotiated {
    /// What our OPEN and the peer's agree on. Roles that do not correspond are the only thing that two OPENs cannot
    /// agree on (RFC 9234, section 4.2).
    pub fn between(ours: &Open, theirs: &Open) -> Result<Self, Notification> {
        let both = |c: &Capability| ours.capabilities.contains(c) && theirs.capabilities.contains(c);
        check_roles(ours, theirs)?;
        Ok(Self {
            local_as: ours.asn,
            peer_as: theirs.asn,
            ibgp: ours.asn == theirs.asn,
            four_octet_as: has_four_octets(ours) && has_four_octets(theirs),
            families: families(ours).intersection(&families(theirs)).copied().collect(),
            extended_next_hop: next_hops(ours).intersection(&next_hops(theirs)).copied().collect(),
            extended_message: both(&Capability::ExtendedMessage),
            route_refresh: theirs.capabilities.contains(&Capability::RouteRefresh),
            enhanced_route_refresh: both(&Capability::EnhancedRouteRefresh),
            hold_time: ours.hold_time.min(theirs.hold_time),
            martian_endpoints: false,
        })
    }

    /// Octets of the longest UPDATE, NOTIFICATION or ROUTE-REFRESH.
    pub fn max_message(&self) -> usize {
        if self.extended_message { MAX_EXTENDED_LEN } else { MAX_LEN }
    }
}

fn has_four_octets(open: &Open) -> bool {
    open.capabilities.iter().any(|c| matches!(c, Capability::FourOctetAs(_)))
}

fn families(open: &Open) -> BTreeSet<Family> {
    let mut any = false;
    let mut families = BTreeSet::new();
    for capability in &open.capabilities {
        match capability {
            Capability::MultiProtocol(family) => any |= families.insert(*family),
            Capability::Unknown { code: 1, .. } => any = true,
            _ => {}
        }
    }
    if !any {
        families.insert(Family::Ipv4Unicast);
    }
    families
}

fn next_hops(open: &Open) -> BTreeSet<(Family, u16)> {
    let lists = open.capabilities.iter().filter_map(|c| match c {
        Capability::ExtendedNextHop(pairs) => Some(pairs),
        _ => None,
    });
    lists.flatten().copied().collect()
}

fn check_roles(ours: &Open, theirs: &Open) -> Result<(), Notification> {
    let roles = |open: &Open| -> Vec<Role> {
        let role = |c: &Capability| if let Capability::Role(role) = c { Some(*role) } else { None };
        open.capabilities.iter().filter_map(role).collect()
    };
    let Some(ours) = roles(ours).first().copied() else { return Ok(()) };
    match roles(theirs).iter().all(|role| ours.counterpart() == Some(*role)) {
        true => Ok(()),
        false => Err(Notification::role_mismatch()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn open(asn: u32, capabilities: Vec<Capability>) -> Open {
        Open { asn, hold_time: 90, router_id: Ipv4Addr::new(10, 0, 0, 1), capabilities }
    }

    #[test]
    fn only_what_both_say_holds() {
        use Capability::*;
        let ours = open(
            65000,
            vec![
                MultiProtocol(Family::Ipv4Unicast),
                MultiProtocol(Family::Ipv6Unicast),
                ExtendedNextHop(vec![(Family::Ipv4Unicast, 2)]),
                ExtendedMessage,
                FourOctetAs(65000),
                EnhancedRouteRefresh,
            ],
        );
        let mut theirs = ours.clone();
        theirs.hold_time = 30;
        let all = Negotiated::between(&ours, &theirs).unwrap();
        assert!(all.ibgp && all.four_octet_as && all.enhanced_route_refresh && !all.route_refresh);
        assert_eq!(all.families, Family::ALL.into());
        assert_eq!(all.extended_next_hop, [(Family::Ipv4Unicast, 2)].into());
        assert_eq!((all.max_message(), all.hold_time), (65535, 30));

        let none = Negotiated::between(&ours, &open(65001, vec![RouteRefresh])).unwrap();
        assert!(!none.ibgp && !none.four_octet_as && !none.enhanced_route_refresh && none.route_refresh);
        assert_eq!(none.families, [Family::Ipv4Unicast].into());
        assert!(none.extended_next_hop.is_empty());
        assert_eq!(none.max_message(), 4096);
    }

    #[test]
    fn a_peer_of_other_families_has_no_implied_one() {
        let ours = open(1, vec![]);
        let evpn = Capability::Unknown { code: 1, value: vec![0, 25, 0, 70] };
        assert!(Negotiated::between(&ours, &open(2, vec![evpn])).unwrap().families.is_empty());
    }

    #[test]
    fn roles_must_correspond() {
        let role = |role| open(1, vec![Capability::Role(role)]);
        let mismatch = Err(Notification::role_mismatch());
        assert!(Negotiated::between(&role(Role::Provider), &role(Role::Customer)).is_ok());
        assert!(Negotiated::between(&role(Role::Provider), &open(2, vec![])).is_ok());
        assert!(Negotiated::between(&open(2, vec![]), &role(Role::Provider)).is_ok());
        assert_eq!(Negotiated::between(&role(Role::Provider), &role(Role::Provider)), mismatch);
        assert_eq!(Negotiated::between(&role(Role::Unassigned(7)), &role(Role::Unassigned(7))), mismatch);
        let two = open(1, vec![Capability::Role(Role::Customer), Capability::Role(Role::Peer)]);
        assert_eq!(Negotiated::between(&role(Role::Provider), &two), mismatch);
        let twice = open(1, vec![Capability::Role(Role::Customer); 2]);
        assert!(Negotiated::between(&role(Role::Provider), &twice).is_ok());
    }
}

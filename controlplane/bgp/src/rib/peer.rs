//! What the RIB knows of a neighbour: how routes are to be exchanged with it, and the session while there is one.

use super::adj_out::AdjOut;
use crate::attribute::NextHop;
use crate::message::family::AFI_IPV6;
use crate::message::{Family, Negotiated, Role};
use crate::policy::Policy;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// How routes are exchanged with a neighbour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peering {
    /// Import policy. Without one an internal neighbour's routes are accepted, an external one's not (RFC 8212).
    pub import: Option<Arc<Policy>>,
    /// Export policy, likewise.
    pub export: Option<Arc<Policy>>,
    /// A client of ours as a route reflector (RFC 4456); of an internal neighbour only.
    pub client: bool,
    /// What we are to an external neighbour (RFC 9234).
    pub role: Option<Role>,
    /// An external neighbour's routes must start with its AS. A route server's never need to.
    pub first_as: bool,
    /// Whose next hop routes get that are sent.
    pub next_hop: NextHopMode,
    /// Our next hop of IPv4 prefixes, if it is not the session's address.
    pub own_ipv4: Option<IpAddr>,
    /// Our next hop of IPv6 prefixes, if it is not the session's address.
    pub own_ipv6: Option<IpAddr>,
    /// Take what routes say of tunnels; by default from internal neighbours only (RFC 9012, section 11).
    pub tunnels_in: Option<bool>,
    /// Send what routes say of tunnels; by default to internal neighbours only.
    pub tunnels_out: Option<bool>,
}

/// Whose next hop routes get that are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextHopMode {
    /// Ours to external neighbours, unchanged to internal ones (RFC 4271, section 5.1.3).
    Standard,
    /// Ours, except of reflected routes.
    Own,
    /// Unchanged, as between ASes that share their tunnels (RFC 5565).
    Unchanged,
}

impl Default for Peering {
    fn default() -> Self {
        Self {
            import: None,
            export: None,
            client: false,
            role: None,
            first_as: true,
            next_hop: NextHopMode::Standard,
            own_ipv4: None,
            own_ipv6: None,
            tunnels_in: None,
            tunnels_out: None,
        }
    }
}

/// An established session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// What was agreed on.
    pub negotiated: Arc<Negotiated>,
    /// The neighbour's BGP identifier.
    pub router_id: Ipv4Addr,
    /// The neighbour's address.
    pub address: IpAddr,
    /// Our address.
    pub local: IpAddr,
    /// Our link-local address, if the neighbour is on the same link (RFC 2545, section 2).
    pub link_local: Option<Ipv6Addr>,
}

/// How many routes a neighbour has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Received.
    pub received: usize,
    /// Received and eligible.
    pub accepted: usize,
    /// Sent.
    pub advertised: usize,
}

/// How much there is of a family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Prefixes of the Loc-RIB.
    pub routes: usize,
    /// Paths of all Adj-RIBs-In and our own, best or not.
    pub paths: usize,
}

/// A neighbour.
#[derive(Debug)]
pub(super) struct Neighbour {
    pub peering: Peering,
    /// The session, and when it is down the last one: kept routes are still its.
    pub peer: Option<Peer>,
    pub up: bool,
    pub received: PerFamily<(usize, usize)>,
    pub out: AdjOut,
}

impl Neighbour {
    pub fn new(peering: Peering) -> Self {
        Self { peering, peer: None, up: false, received: PerFamily::default(), out: AdjOut::default() }
    }

    /// The session, while it is up and if it carries the family.
    pub fn carrying(&self, family: Family) -> Option<&Peer> {
        self.peer.as_ref().filter(|peer| self.up && peer.negotiated.families.contains(&family))
    }

    /// Our own next hop for a family. `None` for IPv4 over IPv6 when the neighbour cannot take it (RFC 8950).
    pub fn own_next_hop(&self, family: Family) -> Option<NextHop> {
        let peer = self.peer.as_ref()?;
        let configured = match family {
            Family::Ipv4Unicast => self.peering.own_ipv4,
            Family::Ipv6Unicast => self.peering.own_ipv6,
        };
        let address = configured.unwrap_or(peer.local);
        let link_local = peer.link_local.filter(|_| configured.is_none() && address.is_ipv6());
        peer.takes(family, address).then_some(NextHop { address, link_local })
    }
}

impl Peer {
    /// Whether the neighbour takes such a next hop.
    pub(super) fn takes(&self, family: Family, next_hop: IpAddr) -> bool {
        let foreign = family == Family::Ipv4Unicast && next_hop.is_ipv6();
        !foreign || self.negotiated.extended_next_hop.contains(&(family, AFI_IPV6))
    }
}

/// One of something for each family.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PerFamily<T> {
    ipv4: T,
    ipv6: T,
}

impl<T> PerFamily<T> {
    pub fn of(&self, family: Family) -> &T {
        match family {
            Family::Ipv4Unicast => &self.ipv4,
            Family::Ipv6Unicast => &self.ipv6,
        }
    }

    pub fn of_mut(&mut self, family: Family) -> &mut T {
        match family {
            Family::Ipv4Unicast => &mut self.ipv4,
            Family::Ipv6Unicast => &mut self.ipv6,
        }
    }
}

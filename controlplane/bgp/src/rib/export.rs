//! From Loc-RIB to Adj-RIB-Out: which routes a neighbour gets, and with which attributes.
//!
//! ```text
//!                      to  external   client   other internal
//!  from  ourselves           yes       yes         yes
//!        external            yes       yes         yes
//!        a client            yes       yes         yes        reflected (RFC 4456)
//!        other internal      yes       yes         no
//! ```

use super::RibConfig;
use super::import::strip_tunnels;
use super::peer::{Neighbour, NextHopMode, Peer};
use super::route::Path;
use crate::attribute::{Attributes, Community};
use crate::message::{Family, Role};
use crate::neighbour::NeighbourId;
use crate::policy::{Subject, Verdict};
use ipnet::IpNet;
use std::borrow::Cow;
use std::net::Ipv4Addr;

const DEFAULT_LOCAL_PREF: u32 = 100;

/// Who a route goes to, and who it is from; `None` is ourselves.
pub(super) struct Between<'a> {
    pub config: &'a RibConfig,
    pub from: Option<&'a Neighbour>,
    pub to_id: NeighbourId,
    pub to: &'a Neighbour,
}

impl Between<'_> {
    /// Whether the neighbour may get the path at all.
    pub fn reaches(&self, prefix: &IpNet, path: &Path) -> bool {
        let (Some(to), Some(attributes)) = (self.to.carrying(Family::of(prefix)), &path.used) else { return false };
        let external = !to.negotiated.ibgp;
        let back = !path.local && path.neighbour == self.to_id;
        let has = |community| attributes.communities.contains(&community);
        let kept = has(Community::NO_ADVERTISE)
            || external && (has(Community::NO_EXPORT) || has(Community::NO_EXPORT_SUBCONFED));
        let without_policy = external && self.to.peering.export.is_none(); // RFC 8212
        let across =
            external || self.internal_source().is_none_or(|from| from.peering.client || self.to.peering.client);
        !back && !kept && !without_policy && across
    }

    /// The attributes that the path has for the neighbour.
    pub fn export(&self, prefix: &IpNet, path: &Path) -> Option<Attributes> {
        if !self.reaches(prefix, path) {
            return None;
        }
        let to = self.to.peer.as_ref()?;
        let family = Family::of(prefix);
        let external = !to.negotiated.ibgp;
        let mut attributes = Cow::Borrowed(&**path.used.as_ref()?);
        if external {
            self.leave_as(path, &mut attributes)?;
        } else {
            self.stay_in_as(attributes.to_mut());
        }
        self.next_hop(path, family, external, attributes.to_mut())?;
        if !self.to.peering.tunnels_out.unwrap_or(!external) {
            strip_tunnels(&mut attributes);
        }
        if let Some(policy) = &self.to.peering.export {
            let own_next_hop = self.to.own_next_hop(family);
            let subject = Subject { prefix: *prefix, rov: path.rov, own_next_hop };
            if policy.apply(&subject, &mut attributes) == Verdict::Reject {
                return None;
            }
        }
        let mut attributes = attributes.into_owned();
        if external {
            attributes.local_pref = None;
            attributes.as_path.prepend(self.config.local_as, 1);
        }
        to.takes(family, attributes.next_hop.address).then_some(attributes)
    }

    fn internal_source(&self) -> Option<&Neighbour> {
        self.from.filter(|from| from.peer.as_ref().is_some_and(|peer| peer.negotiated.ibgp))
    }

    /// What is for our AS only is left out; `None` if the route must not leave it (RFC 9234, section 5, egress).
    fn leave_as(&self, path: &Path, attributes: &mut Cow<'_, Attributes>) -> Option<()> {
        match (self.to.peering.role, attributes.only_to_customer) {
            (Some(Role::Customer | Role::Peer | Role::RouteServerClient), Some(_)) => return None,
            (Some(Role::Provider | Role::Peer | Role::RouteServer), None) => {
                attributes.to_mut().only_to_customer = Some(self.config.local_as);
            }
            _ => {}
        }
        let attributes = attributes.to_mut();
        attributes.originator_id = None;
        attributes.cluster_list.clear();
        attributes.extended_communities.retain(|c| c.is_transitive());
        if !path.local {
            attributes.med = None; // RFC 4271, section 5.1.4
        }
        Some(())
    }

    /// Adds what belongs to iBGP, and what a reflector adds (RFC 4456, section 8).
    fn stay_in_as(&self, attributes: &mut Attributes) {
        attributes.local_pref.get_or_insert(DEFAULT_LOCAL_PREF);
        if let Some(from) = self.internal_source() {
            let originator = from.peer.as_ref().map_or(Ipv4Addr::UNSPECIFIED, |peer| peer.router_id);
            attributes.originator_id.get_or_insert(originator);
            attributes.cluster_list.insert(0, self.config.cluster_id);
        }
    }

    /// Puts our next hop in where it belongs. A reflector never does (RFC 4456, section 10); a route of our own
    /// that has none always gets it. `None` when ours is needed and the neighbour cannot take it.
    fn next_hop(&self, path: &Path, family: Family, external: bool, attributes: &mut Attributes) -> Option<()> {
        let reflected = !external && self.internal_source().is_some();
        let ours = match self.to.peering.next_hop {
            _ if !attributes.has_next_hop() => true,
            NextHopMode::Standard => external,
            NextHopMode::Own => !reflected,
            NextHopMode::Unchanged => false,
        };
        if ours {
            let own = self.to.own_next_hop(family)?;
            match path.local {
                true => attributes.next_hop = own,
                false => attributes.set_next_hop(own),
            }
        } else if external || !on_link(self.to.peer.as_ref()) {
            attributes.next_hop.link_local = None; // RFC 2545, section 3
        }
        Some(())
    }
}

fn on_link(peer: Option<&Peer>) -> bool {
    peer.is_some_and(|peer| peer.link_local.is_some())
}

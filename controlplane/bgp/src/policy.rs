//! Policies: what is let in from a neighbour, what is let out to it, and what is changed on the way.
//!
//! ```text
//!  rule 1   all matches hold?  ──► its actions, its verdict: accept, reject, or on to the next rule
//!  rule 2   ...
//!  otherwise                       accept or reject
//! ```
//!
//! A policy is read from the top and ends with the first verdict. Actions of earlier rules are seen by the matches of
//! later ones.

use crate::attribute::{Attributes, Community, ExtendedCommunity, LargeCommunity, NextHop};
use crate::rib::Rov;
use ipnet::IpNet;
use prefix_trie::joint::JointPrefixMap;
use std::borrow::Cow;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// An ordered list of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The rules.
    pub rules: Vec<Rule>,
    /// The verdict when no rule has one.
    pub otherwise: Verdict,
}

/// What becomes of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes through.
    Accept,
    /// It does not.
    Reject,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// All must hold; none always does.
    pub matches: Vec<Match>,
    /// What is changed if they do.
    pub actions: Vec<Action>,
    /// What becomes of the route if they do; `None` goes on with the next rule.
    pub verdict: Option<Verdict>,
}

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// The prefix is in a list.
    Prefix(Arc<PrefixList>),
    /// The AS is anywhere in the AS_PATH.
    AsPathContains(u32),
    /// The AS is the last of the AS_PATH.
    OriginAs(u32),
    /// The length of the AS_PATH is in the range; 0 is the empty path.
    AsPathLength(RangeInclusive<usize>),
    /// It has the community.
    Community(Community),
    /// It has the large community.
    LargeCommunity(LargeCommunity),
    /// It has the color.
    Color(u32),
    /// Origin validation came out so.
    Rov(Rov),
    /// The next hop is in the prefix.
    NextHop(IpNet),
}

/// A change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Sets LOCAL_PREF.
    LocalPref(u32),
    /// Sets MULTI_EXIT_DISC, or takes it away.
    Med(Option<u32>),
    /// Adds a community.
    AddCommunity(Community),
    /// Takes a community away.
    RemoveCommunity(Community),
    /// Adds a large community.
    AddLargeCommunity(LargeCommunity),
    /// Takes a large community away.
    RemoveLargeCommunity(LargeCommunity),
    /// Replaces the colors by this one.
    Color(u32),
    /// Puts an AS in front of the AS_PATH so many times.
    Prepend(u32, u8),
    /// Makes us the next hop.
    NextHopSelf,
}

/// A route that a policy judges.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// Its prefix.
    pub prefix: IpNet,
    /// What origin validation says of it.
    pub rov: Rov,
    /// Our own address as a next hop of it, if there is one.
    pub own_next_hop: Option<NextHop>,
}

impl Policy {
    /// Lets everything through.
    pub fn accept_all() -> Self {
        Self { rules: Vec::new(), otherwise: Verdict::Accept }
    }

    /// Whether routes with the same attributes can have different verdicts.
    pub fn looks_at_prefix(&self) -> bool {
        self.rules.iter().flat_map(|rule| &rule.matches).any(|m| matches!(m, Match::Prefix(_) | Match::Rov(_)))
    }

    /// Judges a route and changes its attributes, which are copied only then.
    pub fn apply(&self, subject: &Subject, attributes: &mut Cow<'_, Attributes>) -> Verdict {
        for rule in &self.rules {
            if !rule.matches.iter().all(|m| m.holds(subject, attributes)) {
                continue;
            }
            rule.actions.iter().for_each(|action| action.apply(subject, attributes));
            if let Some(verdict) = rule.verdict {
                return verdict;
            }
        }
        self.otherwise
    }
}

impl Match {
    fn holds(&self, subject: &Subject, attributes: &Attributes) -> bool {
        match self {
            Self::Prefix(list) => list.contains(&subject.prefix),
            Self::AsPathContains(asn) => attributes.as_path.contains(*asn),
            Self::OriginAs(asn) => attributes.as_path.origin() == Some(*asn),
            Self::AsPathLength(range) => range.contains(&attributes.as_path.length()),
            Self::Community(community) => attributes.communities.contains(community),
            Self::LargeCommunity(community) => attributes.large_communities.contains(community),
            Self::Color(color) => attributes.colors().any(|c| c == *color),
            Self::Rov(rov) => subject.rov == *rov,
            Self::NextHop(net) => net.contains(&attributes.next_hop.resolve()),
        }
    }
}

impl Action {
    fn apply(&self, subject: &Subject, attributes: &mut Cow<'_, Attributes>) {
        match self {
            Self::LocalPref(local_pref) => attributes.to_mut().local_pref = Some(*local_pref),
            Self::Med(med) => attributes.to_mut().med = *med,
            Self::AddCommunity(c) if attributes.communities.contains(c) => {}
            Self::AddCommunity(c) => attributes.to_mut().communities.push(*c),
            Self::RemoveCommunity(c) if !attributes.communities.contains(c) => {}
            Self::RemoveCommunity(c) => attributes.to_mut().communities.retain(|have| have != c),
            Self::AddLargeCommunity(c) if attributes.large_communities.contains(c) => {}
            Self::AddLargeCommunity(c) => attributes.to_mut().large_communities.push(*c),
            Self::RemoveLargeCommunity(c) if !attributes.large_communities.contains(c) => {}
            Self::RemoveLargeCommunity(c) => attributes.to_mut().large_communities.retain(|have| have != c),
            Self::Color(color) => {
                let communities = &mut attributes.to_mut().extended_communities;
                communities.retain(|c| c.color().is_none());
                communities.push(ExtendedCommunity::from_color(*color));
            }
            Self::Prepend(asn, times) => attributes.to_mut().as_path.prepend(*asn, usize::from(*times)),
            Self::NextHopSelf => {
                if let Some(own) = subject.own_next_hop {
                    attributes.to_mut().set_next_hop(own);
                }
            }
        }
    }
}

/// A list of prefixes, each with the lengths that it stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrefixList {
    entries: JointPrefixMap<IpNet, Vec<RangeInclusive<u8>>>,
}

impl PrefixList {
    /// Adds the prefixes within `prefix` of `lengths`; `None` is `prefix` itself only.
    pub fn add(&mut self, prefix: IpNet, lengths: Option<RangeInclusive<u8>>) {
        let own = prefix.prefix_len();
        self.entries.entry(prefix).or_default().push(lengths.unwrap_or(own..=own));
    }

    /// Whether `prefix` is in the list.
    pub fn contains(&self, prefix: &IpNet) -> bool {
        self.entries.cover_values(prefix).flatten().any(|lengths| lengths.contains(&prefix.prefix_len()))
    }
}

impl Attributes {
    /// Changes the next hop. Tunnels that end at the old one, whatever it is, are no longer offered; those with an
    /// endpoint of their own still are.
    pub(crate) fn set_next_hop(&mut self, next_hop: NextHop) {
        if self.next_hop == next_hop {
            return;
        }
        self.next_hop = next_hop;
        self.tunnel_encap = self.tunnel_encap.take().and_then(|tunnels| tunnels.without_next_hop());
        self.extended_communities.retain(|c| c.encapsulation().is_none());
    }

    /// Whether a next hop has been given; a route of our own may leave it to us.
    pub(crate) fn has_next_hop(&self) -> bool {
        let address: IpAddr = self.next_hop.address;
        !address.is_unspecified()
    }
}

#[cfg(test)]
mod tests;

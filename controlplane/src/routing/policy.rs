//! From policies as they are written to those that the speaker applies.

use crate::config::Bgp;
use crate::config::policy::{self as settings, Filter, Tag, Then};
use bgp::policy::{Action, Match, Policy, PrefixList, Rule, Verdict};
use bgp::rib::Rov;
use std::collections::BTreeMap;
use std::sync::Arc;

/// All policies of a configuration, by name.
pub(super) struct Policies(BTreeMap<String, Arc<Policy>>);

impl Policies {
    pub(super) fn new(bgp: &Bgp) -> Self {
        let list = |ranges: &Vec<settings::PrefixRange>| {
            let mut list = PrefixList::default();
            ranges.iter().for_each(|r| list.add(r.prefix, Some(r.lengths())));
            Arc::new(list)
        };
        let lists = bgp.prefix_lists.iter().map(|(name, ranges)| (name.as_str(), list(ranges))).collect();
        let build = |p: &settings::Policy| Policy {
            rules: p.rules.iter().map(|r| rule(r, &lists, bgp.asn)).collect(),
            otherwise: verdict(p.otherwise),
        };
        Self(bgp.policies.iter().map(|(name, p)| (name.clone(), Arc::new(build(p)))).collect())
    }

    /// The policy that a neighbour names. One that is not there lets nothing through.
    pub(super) fn get(&self, filter: Option<&Filter>) -> Option<Arc<Policy>> {
        let nothing = || Arc::new(Policy { rules: Vec::new(), otherwise: Verdict::Reject });
        Some(match filter? {
            Filter::Accept => Arc::new(Policy::accept_all()),
            Filter::Reject => nothing(),
            Filter::Policy(name) => self.0.get(name).cloned().unwrap_or_else(nothing),
        })
    }

    /// The same for import, after invalid routes (RFC 6811) have been rejected if they are to be.
    pub(super) fn import(&self, filter: Option<&Filter>, internal: bool, reject_invalid: bool) -> Option<Arc<Policy>> {
        let named = self.get(filter);
        if !reject_invalid {
            return named;
        }
        // Without a policy an internal neighbour's routes are all accepted, an external one's rejected (RFC 8212).
        let named = named.or_else(|| internal.then(|| Arc::new(Policy::accept_all())))?;
        let invalid =
            Rule { matches: vec![Match::Rov(Rov::Invalid)], actions: Vec::new(), verdict: Some(Verdict::Reject) };
        let rules = std::iter::once(invalid).chain(named.rules.iter().cloned()).collect();
        Some(Arc::new(Policy { rules, otherwise: named.otherwise }))
    }
}

fn verdict(verdict: settings::Verdict) -> Verdict {
    match verdict {
        settings::Verdict::Accept => Verdict::Accept,
        settings::Verdict::Reject => Verdict::Reject,
    }
}

fn rule(r: &settings::Rule, lists: &BTreeMap<&str, Arc<PrefixList>>, asn: u32) -> Rule {
    Rule {
        matches: matches(&r.matches, lists),
        actions: actions(&r.set, asn),
        verdict: match r.then {
            Then::Accept => Some(Verdict::Accept),
            Then::Reject => Some(Verdict::Reject),
            Then::Next => None,
        },
    }
}

fn matches(m: &settings::Match, lists: &BTreeMap<&str, Arc<PrefixList>>) -> Vec<Match> {
    let list = |name: &String| lists.get(name.as_str()).cloned().unwrap_or_default();
    let community = |tag: Tag| match tag {
        Tag::Community(c) => Match::Community(c),
        Tag::Large(c) => Match::LargeCommunity(c),
    };
    let rov = |rov| match rov {
        settings::Rov::Valid => Rov::Valid,
        settings::Rov::Invalid => Rov::Invalid,
        settings::Rov::NotFound => Rov::NotFound,
    };
    let all = [
        m.prefix_list.as_ref().map(|name| Match::Prefix(list(name))),
        m.as_path_contains.map(Match::AsPathContains),
        m.origin_as.map(Match::OriginAs),
        m.as_path_length.map(|l| Match::AsPathLength(l.min..=l.max.unwrap_or(usize::MAX))),
        m.community.map(community),
        m.color.map(Match::Color),
        m.rov.map(|state| Match::Rov(rov(state))),
        m.next_hop.map(Match::NextHop),
    ];
    all.into_iter().flatten().collect()
}

fn actions(s: &settings::Set, asn: u32) -> Vec<Action> {
    let add = |tag: &Tag| match *tag {
        Tag::Community(c) => Action::AddCommunity(c),
        Tag::Large(c) => Action::AddLargeCommunity(c),
    };
    let remove = |tag: &Tag| match *tag {
        Tag::Community(c) => Action::RemoveCommunity(c),
        Tag::Large(c) => Action::RemoveLargeCommunity(c),
    };
    let mut all: Vec<Action> = s.local_pref.map(Action::LocalPref).into_iter().collect();
    all.extend(s.med.map(|med| Action::Med(med.0)));
    all.extend(s.remove_communities.iter().map(remove));
    all.extend(s.add_communities.iter().map(add));
    all.extend(s.color.map(Action::Color));
    all.extend(s.prepend.map(|p| Action::Prepend(p.asn.unwrap_or(asn), p.times)));
    all.extend(s.next_hop_self.then_some(Action::NextHopSelf));
    all
}

#[cfg(test)]
mod tests;

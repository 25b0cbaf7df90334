use super::*;
use crate::config::Config;
use bgp::attribute::{AsPath, Attributes, ExtendedCommunity, NextHop};
use bgp::policy::Subject;
use std::borrow::Cow;
use std::net::IpAddr;

/// A policy `p` with these rules, in a configuration with a cache.
fn policies(rules: &str) -> Policies {
    let yaml = format!(
        "ports: [{{ name: a, device: d, zone: public, addresses: [192.0.2.1/24] }}]\n\
         mesh: {{ local: [192.0.2.1] }}\n\
         bgp:\n  asn: 65000\n  router_id: 1.1.1.1\n  rtr: [{{ name: one, address: 192.0.2.9 }}]\n\
         \x20 prefix_lists: {{ islands: [\"10.1.0.0/16 le 24\"] }}\n\
         \x20 policies: {{ p: {{ rules: [{rules}] }} }}\n"
    );
    let config = Config::from_yaml("t", &yaml).unwrap_or_else(|e| panic!("{e}"));
    Policies::new(config.bgp.as_ref().unwrap())
}

fn route() -> Attributes {
    let mut attributes = Attributes::new(IpAddr::from([10, 0, 0, 1]).into());
    attributes.as_path = AsPath::sequence([65001, 65002]);
    attributes.med = Some(1);
    attributes.communities = vec!["65001:10".parse().unwrap()];
    attributes.large_communities = vec!["65001:1:2".parse().unwrap()];
    attributes.extended_communities = vec![ExtendedCommunity::from_color(7)];
    attributes
}

/// What the policy makes of `route`, if it lets it through.
fn judge(policy: &Policy, rov: Rov) -> Option<Attributes> {
    let own_next_hop = Some(NextHop::from(IpAddr::from([10, 0, 0, 9])));
    let subject = Subject { prefix: "10.1.2.0/24".parse().unwrap(), rov, own_next_hop };
    let before = route();
    let mut attributes = Cow::Borrowed(&before);
    (policy.apply(&subject, &mut attributes) == Verdict::Accept).then(|| attributes.into_owned())
}

fn after(rules: &str) -> Option<Attributes> {
    let policy = policies(rules).get(Some(&Filter::Policy("p".into()))).unwrap();
    judge(&policy, Rov::Valid)
}

#[test]
fn every_match_decides() {
    for (holds, fails) in [
        ("prefix_list: islands", "next_hop: 10.9.0.0/16"),
        ("as_path_contains: 65001", "as_path_contains: 65009"),
        ("origin_as: 65002", "origin_as: 65001"),
        ("as_path_length: { min: 2 }", "as_path_length: { min: 3 }"),
        ("as_path_length: { max: 2 }", "as_path_length: { max: 1 }"),
        ("community: 65001:10", "community: 65001:11"),
        ("community: 65001:1:2", "community: 65001:1:3"),
        ("community: '65001:10'", "community: no-export"),
        ("color: 7", "color: 8"),
        ("rov: valid", "rov: invalid"),
        ("next_hop: 10.0.0.0/30", "rov: not_found"),
    ] {
        let rule = |m: &str| format!("{{ match: {{ {m} }}, then: accept }}");
        assert!(after(&rule(holds)).is_some(), "{holds}");
        assert!(after(&rule(fails)).is_none(), "{fails}");
    }
}

#[test]
fn all_matches_must_hold() {
    let rule = |m: &str| format!("{{ match: {{ {m} }}, then: accept }}");
    assert!(after(&rule("color: 7, origin_as: 65002, prefix_list: islands")).is_some());
    assert!(after(&rule("color: 7, origin_as: 65002, next_hop: 10.9.0.0/16")).is_none());
}

#[test]
fn every_change_is_made() {
    let set = |what: &str| after(&format!("{{ set: {{ {what} }}, then: accept }}")).unwrap();
    assert_eq!(set("local_pref: 200").local_pref, Some(200));
    assert_eq!((set("med: 50").med, set("med: none").med), (Some(50), None));
    let both = set("add_communities: [65000:100, no-export, 65000:7:8], remove_communities: [65001:10, 65001:1:2]");
    assert_eq!(both.communities.iter().map(ToString::to_string).collect::<Vec<_>>(), ["65000:100", "no-export"]);
    assert_eq!(both.large_communities.iter().map(ToString::to_string).collect::<Vec<_>>(), ["65000:7:8"]);
    assert_eq!(set("color: 9").colors().collect::<Vec<_>>(), [9]);
    assert_eq!(set("prepend: { times: 2 }").as_path, AsPath::sequence([65000, 65000, 65001, 65002]));
    assert_eq!(set("prepend: { times: 1, asn: 65009 }").as_path, AsPath::sequence([65009, 65001, 65002]));
    assert_eq!(set("next_hop_self: true").next_hop.address, IpAddr::from([10, 0, 0, 9]));
}

#[test]
fn rules_go_on_until_one_decides() {
    let tagged = "{ match: { community: 65000:1 }, set: { local_pref: 5 }, then: accept }";
    let tag = "{ match: { color: 7 }, set: { add_communities: [65000:1] }, then: next }";
    assert_eq!(after(&format!("{tag}, {tagged}")).unwrap().local_pref, Some(5));
    assert!(after(&format!("{tagged}, {tag}")).is_none());
    assert!(after("{ match: { color: 7 }, then: reject }, { then: accept }").is_none());
}

#[test]
fn what_a_neighbour_says() {
    let all = policies("");
    let get = |filter: Option<Filter>| all.get(filter.as_ref()).map(|p| judge(&p, Rov::Valid).is_some());
    assert_eq!(get(None), None);
    assert_eq!(get(Some(Filter::Accept)), Some(true));
    assert_eq!(get(Some(Filter::Reject)), Some(false));
    assert_eq!(get(Some(Filter::Policy("p".into()))), Some(false));
}

#[test]
fn invalid_routes_are_rejected_first() {
    let all = policies("{ match: { rov: invalid }, set: { local_pref: 1 }, then: accept }, { then: accept }");
    let named = Filter::Policy("p".into());
    let import = |filter: Option<&Filter>, internal, reject, rov| {
        all.import(filter, internal, reject).map(|p| judge(&p, rov).map(|a| a.local_pref))
    };
    assert_eq!(import(Some(&named), false, true, Rov::Invalid), Some(None));
    assert_eq!(import(Some(&named), false, true, Rov::NotFound), Some(Some(None)));
    // The policy's own word counts when it is to.
    assert_eq!(import(Some(&named), false, false, Rov::Invalid), Some(Some(Some(1))));
    assert_eq!(import(Some(&Filter::Accept), false, true, Rov::Invalid), Some(None));
    // RFC 8212 stays as it is; internal neighbours need no policy.
    assert_eq!(import(None, false, true, Rov::Valid), None);
    assert_eq!(import(None, true, true, Rov::Invalid), Some(None));
    assert_eq!(import(None, true, true, Rov::Valid), Some(Some(None)));
}

use super::*;
use crate::attribute::AsPath;
use crate::tunnel::{IP_IN_IP, Tunnel, TunnelEncap};
use hex_literal::hex;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn subject() -> Subject {
    let own_next_hop = Some(IpAddr::from([192, 168, 0, 1]).into());
    Subject { prefix: net("10.1.0.0/16"), rov: Rov::Valid, own_next_hop }
}

fn route() -> Attributes {
    let mut attributes = Attributes::new(IpAddr::from([10, 0, 0, 1]).into());
    attributes.as_path = AsPath::sequence([65001, 65002]);
    attributes.communities = vec![Community(7)];
    attributes.large_communities = vec!["1:2:3".parse().unwrap()];
    attributes.extended_communities = vec![ExtendedCommunity::from_color(5)];
    attributes
}

fn holds(m: &Match) -> bool {
    m.holds(&subject(), &route())
}

fn list(entries: &[(&str, Option<RangeInclusive<u8>>)]) -> PrefixList {
    let mut list = PrefixList::default();
    entries.iter().for_each(|(prefix, lengths)| list.add(net(prefix), lengths.clone()));
    list
}

#[test]
fn each_match_holds_and_does_not() {
    let large = |text: &str| Match::LargeCommunity(text.parse().unwrap());
    let pairs = [
        (
            Match::Prefix(Arc::new(list(&[("10.0.0.0/8", Some(8..=16))]))),
            Match::Prefix(Arc::new(list(&[("10.0.0.0/8", None)]))),
        ),
        (Match::AsPathContains(65002), Match::AsPathContains(65003)),
        (Match::OriginAs(65002), Match::OriginAs(65001)),
        (Match::AsPathLength(2..=3), Match::AsPathLength(0..=0)),
        (Match::Community(Community(7)), Match::Community(Community(8))),
        (large("1:2:3"), large("1:2:4")),
        (Match::Color(5), Match::Color(6)),
        (Match::Rov(Rov::Valid), Match::Rov(Rov::NotFound)),
        (Match::NextHop(net("10.0.0.0/24")), Match::NextHop(net("10.0.1.0/24"))),
    ];
    for (yes, no) in pairs {
        assert!(holds(&yes) && !holds(&no), "{yes:?}");
    }
}

#[test]
fn prefix_lists_have_lengths() {
    let list = list(&[("10.0.0.0/8", Some(16..=24)), ("10.0.0.0/8", None), ("2001:db8::/32", Some(48..=128))]);
    for inside in ["10.0.0.0/8", "10.1.0.0/16", "10.1.1.0/24", "2001:db8:1::/48", "2001:db8::1/128"] {
        assert!(list.contains(&net(inside)), "{inside}");
    }
    for outside in ["10.0.0.0/9", "10.1.1.0/25", "0.0.0.0/0", "11.0.0.0/16", "2001:db8::/32", "2001:db9:1::/48"] {
        assert!(!list.contains(&net(outside)), "{outside}");
    }
}

#[test]
fn each_action_changes_the_route() {
    let large = "9:9:9".parse().unwrap();
    let rule =
        |actions| Policy { rules: vec![Rule { matches: vec![], actions, verdict: None }], otherwise: Verdict::Accept };
    let before = route();
    let after = |actions: &[Action]| {
        let mut attributes = Cow::Borrowed(&before);
        assert_eq!(rule(actions.to_vec()).apply(&subject(), &mut attributes), Verdict::Accept);
        attributes.into_owned()
    };
    assert_eq!(after(&[Action::LocalPref(200)]).local_pref, Some(200));
    assert_eq!(after(&[Action::Med(Some(5))]).med, Some(5));
    assert_eq!(after(&[Action::Med(Some(5)), Action::Med(None)]).med, None);
    assert_eq!(after(&[Action::AddCommunity(Community(8))]).communities, [Community(7), Community(8)]);
    assert_eq!(after(&[Action::RemoveCommunity(Community(7))]).communities, []);
    assert_eq!(after(&[Action::AddLargeCommunity(large)]).large_communities.len(), 2);
    assert_eq!(after(&[Action::RemoveLargeCommunity("1:2:3".parse().unwrap())]).large_communities, []);
    assert_eq!(after(&[Action::Color(9)]).colors().collect::<Vec<_>>(), [9]);
    assert_eq!(after(&[Action::Prepend(65000, 2)]).as_path, AsPath::sequence([65000, 65000, 65001, 65002]));
    assert_eq!(after(&[Action::NextHopSelf]).next_hop.address, IpAddr::from([192, 168, 0, 1]));
}

#[test]
fn attributes_are_copied_only_when_they_change() {
    let before = route();
    let mut attributes = Cow::Borrowed(&before);
    let actions = vec![Action::AddCommunity(Community(7)), Action::RemoveCommunity(Community(1))];
    let rules = vec![Rule { matches: vec![], actions, verdict: Some(Verdict::Accept) }];
    let policy = Policy { rules, otherwise: Verdict::Reject };
    assert_eq!(policy.apply(&subject(), &mut attributes), Verdict::Accept);
    assert!(matches!(attributes, Cow::Borrowed(_)));
}

#[test]
fn rules_are_read_from_the_top() {
    let tag = Action::AddCommunity(Community(99));
    let rules = vec![
        Rule { matches: vec![Match::Color(1)], actions: vec![], verdict: Some(Verdict::Accept) },
        Rule { matches: vec![Match::Color(5), Match::OriginAs(65002)], actions: vec![tag], verdict: None },
        Rule { matches: vec![Match::Community(Community(99))], actions: vec![], verdict: Some(Verdict::Reject) },
    ];
    let policy = Policy { rules, otherwise: Verdict::Accept };
    let verdict = |attributes: &Attributes| policy.apply(&subject(), &mut Cow::Borrowed(attributes));
    assert_eq!(verdict(&route()), Verdict::Reject);
    let mut other = route();
    other.as_path = AsPath::default();
    assert_eq!(verdict(&other), Verdict::Accept);
    assert_eq!(Policy::accept_all().apply(&subject(), &mut Cow::Borrowed(&other)), Verdict::Accept);
}

#[test]
fn a_new_next_hop_ends_the_tunnels_of_the_old() {
    let own = hex!("0007 000c 06 0a 00000000 0001 0a000005");
    let both = [&own[..], &hex!("0007 0008 06 06 00000000 0000")].concat();
    let mut attributes = route();
    attributes.tunnel_encap = Some(TunnelEncap::decode(&both, false).unwrap());
    attributes.extended_communities.push(ExtendedCommunity::from_encapsulation(IP_IN_IP));
    attributes.set_next_hop(attributes.next_hop);
    assert_eq!(Tunnel::offered(&attributes).len(), 2);
    attributes.set_next_hop(IpAddr::from([10, 0, 0, 2]).into());
    assert_eq!(Tunnel::offered(&attributes), [Tunnel::to(IpAddr::from([10, 0, 0, 5]))]);
    assert_eq!(attributes.colors().count(), 1);
}

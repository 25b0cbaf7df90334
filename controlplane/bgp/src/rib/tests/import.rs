use super::*;
use crate::attribute::{Community, ExtendedCommunity};
use crate::message::Role;
use crate::tunnel::{IP_IN_IP, TunnelEncap};
use hex_literal::hex;

const P: &str = "10.1.0.0/16";

fn lab(asn: u32, peering: Peering) -> Lab {
    let mut lab = Lab::new();
    lab.peer(1, asn, peering);
    lab
}

#[track_caller]
fn refused(asn: u32, peering: Peering, attributes: Attributes) -> Option<Ineligible> {
    let mut lab = lab(asn, peering);
    lab.announce(1, P, attributes);
    let counts = lab.rib.counts(id(1), V4);
    let ineligible = lab.ineligible(P);
    assert_eq!((counts.received, counts.accepted), (1, usize::from(ineligible.is_none())));
    assert_eq!(lab.best(P).is_empty(), ineligible.is_some());
    ineligible
}

#[test]
fn rfc8212_an_external_neighbour_needs_a_policy() {
    let without = Peering::default();
    assert_eq!(refused(65001, without.clone(), route(1, &[65001])), Some(Ineligible::NoPolicy));
    assert_eq!(refused(65001, open_peering(), route(1, &[65001])), None);
    assert_eq!(refused(LOCAL_AS, without, route(1, &[65001])), None);
}

#[test]
fn loops_are_seen() {
    for asn in [65001, LOCAL_AS] {
        assert_eq!(refused(asn, open_peering(), route(1, &[65001, LOCAL_AS])), Some(Ineligible::AsLoop));
    }
    let mut originated = route(1, &[]);
    originated.originator_id = Some(Ipv4Addr::new(10, 0, 0, 254));
    assert_eq!(refused(LOCAL_AS, open_peering(), originated), Some(Ineligible::Originator));
    let mut clustered = route(1, &[]);
    clustered.cluster_list = vec![Ipv4Addr::new(1, 1, 1, 1), Ipv4Addr::new(10, 0, 0, 254)];
    assert_eq!(refused(LOCAL_AS, open_peering(), clustered), Some(Ineligible::ClusterLoop));
}

#[test]
fn the_first_as_is_the_neighbours() {
    for path in [&[65002, 65001][..], &[]] {
        assert_eq!(refused(65001, open_peering(), route(1, path)), Some(Ineligible::FirstAs));
        let lenient = Peering { first_as: false, ..open_peering() };
        assert_eq!(refused(65001, lenient, route(1, path)), None);
        let client = Peering { role: Some(Role::RouteServerClient), ..open_peering() };
        assert_eq!(refused(65001, client, route(1, path)), None);
    }
    assert_eq!(refused(LOCAL_AS, open_peering(), route(1, &[])), None);
}

#[test]
fn our_own_address_is_no_next_hop() {
    let mut attributes = route(1, &[65001]);
    attributes.next_hop = NextHop::from(ip("10.255.0.254"));
    assert_eq!(refused(65001, open_peering(), attributes), Some(Ineligible::OwnNextHop));
    let own = Peering { own_ipv4: Some(ip("192.0.2.1")), ..open_peering() };
    assert_eq!(refused(65001, own, route(1, &[65001])), Some(Ineligible::OwnNextHop));
}

#[test]
fn prefixes_that_no_network_has() {
    let mut lab = lab(LOCAL_AS, Peering::default());
    for prefix in ["224.0.0.0/8", "127.0.0.0/8", "169.254.1.0/24", "ff00::/8", "fe80::/64", "::1/128"] {
        lab.announce(1, prefix, route(1, &[]));
        assert_eq!(lab.ineligible(prefix), Some(Ineligible::Martian), "{prefix}");
    }
    for prefix in ["0.0.0.0/0", "::/0", "10.0.0.0/8", "2001:db8::/32"] {
        lab.announce(1, prefix, route(1, &[]));
        assert_eq!(lab.best(prefix), [1], "{prefix}");
    }
}

#[test]
fn rfc9234_routes_that_leak() {
    let with = |role, otc| {
        let mut attributes = route(1, &[65001]);
        attributes.only_to_customer = otc;
        refused(65001, Peering { role: Some(role), ..open_peering() }, attributes)
    };
    for role in [Role::Provider, Role::RouteServer] {
        assert_eq!(with(role, Some(65001)), Some(Ineligible::RouteLeak));
        assert_eq!(with(role, None), None);
    }
    assert_eq!(with(Role::Peer, Some(65002)), Some(Ineligible::RouteLeak));
    for role in [Role::Customer, Role::RouteServerClient, Role::Peer] {
        assert_eq!(with(role, Some(65001)), None);
        assert_eq!(with(role, None), None);
    }
    assert_eq!(with(Role::Customer, Some(65009)), None);
}

#[test]
fn rfc9234_routes_that_are_stamped() {
    let stamp = |role, otc| {
        let mut lab = lab(65001, Peering { role, ..open_peering() });
        let mut attributes = route(1, &[65001]);
        attributes.only_to_customer = otc;
        lab.announce(1, P, attributes);
        lab.used(P).only_to_customer
    };
    for role in [Role::Customer, Role::Peer, Role::RouteServerClient] {
        assert_eq!(stamp(Some(role), None), Some(65001), "{role:?}");
    }
    assert_eq!(stamp(Some(Role::Customer), Some(65009)), Some(65009));
    for role in [Some(Role::Provider), Some(Role::RouteServer), None] {
        assert_eq!(stamp(role, None), None);
    }
}

#[test]
fn tunnels_are_taken_from_internal_neighbours_only() {
    for (asn, tunnels_in, taken) in
        [(LOCAL_AS, None, true), (LOCAL_AS, Some(false), false), (65001, None, false), (65001, Some(true), true)]
    {
        let mut lab = lab(asn, Peering { tunnels_in, ..open_peering() });
        let mut attributes = route(1, &[65001]);
        attributes.tunnel_encap = Some(TunnelEncap::decode(&hex!("0007 0008 06 06 00000000 0000"), false).unwrap());
        attributes.extended_communities =
            vec![ExtendedCommunity::from_color(1), ExtendedCommunity::from_encapsulation(IP_IN_IP)];
        lab.announce(1, P, attributes);
        let used = lab.used(P);
        assert_eq!((used.tunnel_encap.is_some(), used.extended_communities.len()), (taken, 1 + usize::from(taken)));
        assert_eq!(used.colors().count(), 1);
    }
}

#[test]
fn policies_change_and_reject() {
    let import = policy(vec![Match::AsPathContains(65009)], vec![], Verdict::Reject, Verdict::Accept);
    let rejecting = Peering { import, ..open_peering() };
    assert_eq!(refused(65001, rejecting.clone(), route(1, &[65001, 65009])), Some(Ineligible::Policy));
    assert_eq!(refused(65001, rejecting, route(1, &[65001])), None);

    let actions = vec![Action::LocalPref(300), Action::AddCommunity(Community(1))];
    let import = policy(vec![], actions, Verdict::Accept, Verdict::Reject);
    let mut lab = lab(65001, Peering { import, ..open_peering() });
    lab.announce(1, P, route(1, &[65001]));
    assert_eq!((lab.used(P).local_pref, lab.used(P).communities), (Some(300), vec![Community(1)]));
    assert_eq!(lab.rib.route(&net(P)).unwrap().paths()[0].received().local_pref, None);
}

#[test]
fn a_new_policy_judges_what_is_there() {
    let mut lab = Lab::with(&[(1, 65001), (2, 65002)]);
    lab.announce(1, P, route(1, &[65001]));
    lab.announce(2, P, route(2, &[65002, 65003]));
    assert_eq!(lab.best(P), [1]);
    lab.changes();
    let import = policy(vec![], vec![], Verdict::Reject, Verdict::Reject);
    lab.rib.set_peering(id(1), Peering { import, ..open_peering() });
    assert_eq!((lab.best(P), lab.changes()), (vec![2], vec![(P.into(), 1)]));
    assert_eq!(lab.rib.counts(id(1), V4), Counts { received: 1, accepted: 0, advertised: 0 });
    lab.rib.set_peering(id(1), open_peering());
    assert_eq!((lab.best(P), lab.rib.counts(id(1), V4).accepted), (vec![1], 1));
}

#[test]
fn prefixes_of_one_announcement_may_fare_differently() {
    let mut list = crate::policy::PrefixList::default();
    list.add(net("10.0.0.0/8"), Some(8..=24));
    let import = policy(vec![Match::Prefix(Arc::new(list))], vec![], Verdict::Accept, Verdict::Reject);
    let mut lab = lab(65001, Peering { import, ..open_peering() });
    let prefixes = vec![net("10.1.0.0/16"), net("11.0.0.0/16"), net("10.2.0.0/16")];
    let announced = vec![Announcement { attributes: Arc::new(route(1, &[65001])), prefixes }];
    lab.rib.update(id(1), &Update { announced, ..Update::default() });
    assert_eq!(lab.rib.counts(id(1), V4), Counts { received: 3, accepted: 2, advertised: 0 });
    assert_eq!(lab.ineligible("11.0.0.0/16"), Some(Ineligible::Policy));
}

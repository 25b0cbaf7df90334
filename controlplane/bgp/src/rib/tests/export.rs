use super::*;
use crate::attribute::{Community, ExtendedCommunity};
use crate::message::Role;
use crate::tunnel::{IP_IN_IP, Tunnel, TunnelEncap};
use hex_literal::hex;

const P: &str = "10.1.0.0/16";
const OWN: &str = "10.255.0.254";

/// What neighbour 2 is sent of a route of neighbour 1.
fn through(from: (u32, Peering), to: (u32, Peering), attributes: Attributes) -> Option<Attributes> {
    let mut lab = Lab::new();
    lab.peer(1, from.0, from.1);
    lab.peer(2, to.0, to.1);
    lab.announce(1, P, attributes);
    lab.sent(2)
}

fn plain() -> Peering {
    open_peering()
}

fn client() -> Peering {
    Peering { client: true, ..open_peering() }
}

#[test]
fn rfc4456_who_gets_whose_routes() {
    let kinds = [("external", 65001, plain()), ("client", LOCAL_AS, client()), ("other", LOCAL_AS, plain())];
    let to_kinds = [("external", 65002, plain()), ("client", LOCAL_AS, client()), ("other", LOCAL_AS, plain())];
    for (from, from_as, from_peering) in &kinds {
        for (to, to_as, to_peering) in &to_kinds {
            let expected = (*from, *to) != ("other", "other");
            let sent = through((*from_as, from_peering.clone()), (*to_as, to_peering.clone()), route(1, &[65001]));
            assert_eq!(sent.is_some(), expected, "{from} to {to}");
        }
    }
    for (_, to_as, to_peering) in to_kinds {
        let mut lab = Lab::new();
        lab.peer(2, to_as, to_peering);
        lab.rib.originate(net(P), route(1, &[]));
        assert!(lab.sent(2).is_some());
    }
}

#[test]
fn a_neighbour_that_becomes_a_client_is_reflected() {
    let mut lab = Lab::with(&[(1, LOCAL_AS), (2, LOCAL_AS)]);
    lab.announce(1, P, route(1, &[65001]));
    assert_eq!(lab.sent(2), None);
    lab.rib.set_peering(id(1), client());
    assert!(lab.sent(2).is_some());
    lab.rib.set_peering(id(1), plain());
    assert_eq!(lab.told(2).withdrawn, [net(P)]);
}

#[test]
fn nobody_gets_its_own_route_back() {
    let mut lab = Lab::with(&[(1, 65001)]);
    lab.announce(1, P, route(1, &[65001]));
    assert_eq!(lab.sent(1), None);
    let mut lab = Lab::new();
    lab.peer(1, LOCAL_AS, client());
    lab.announce(1, P, route(1, &[65001]));
    assert_eq!(lab.sent(1), None);
}

#[test]
fn to_an_external_neighbour() {
    let mut attributes = route(1, &[65001]);
    attributes.med = Some(5);
    attributes.local_pref = Some(200);
    attributes.originator_id = Some(Ipv4Addr::new(9, 9, 9, 9));
    attributes.cluster_list = vec![Ipv4Addr::new(8, 8, 8, 8)];
    let opaque = ExtendedCommunity(hex!("0002 fde8 00000001"));
    attributes.extended_communities = vec![ExtendedCommunity(hex!("4002 fde8 00000001")), opaque];
    let sent = through((LOCAL_AS, plain()), (65002, plain()), attributes).unwrap();
    assert_eq!(sent.as_path, AsPath::sequence([LOCAL_AS, 65001]));
    assert_eq!(sent.next_hop, NextHop::from(ip(OWN)));
    assert_eq!((sent.med, sent.local_pref, sent.originator_id, sent.cluster_list.len()), (None, None, None, 0));
    assert_eq!(sent.extended_communities, [opaque]);
}

#[test]
fn our_own_med_and_the_policys_are_sent() {
    let mut lab = Lab::with(&[(2, 65002)]);
    let mut attributes = route(1, &[]);
    attributes.med = Some(7);
    lab.rib.originate(net(P), attributes);
    assert_eq!(lab.sent(2).unwrap().med, Some(7));
    let actions = vec![Action::Med(Some(9)), Action::LocalPref(1), Action::Prepend(LOCAL_AS, 2)];
    let export = policy(vec![], actions, Verdict::Accept, Verdict::Accept);
    let sent = through((65001, plain()), (65002, Peering { export, ..plain() }), route(1, &[65001])).unwrap();
    assert_eq!((sent.med, sent.local_pref), (Some(9), None));
    assert_eq!(sent.as_path, AsPath::sequence([LOCAL_AS, LOCAL_AS, LOCAL_AS, 65001]));
}

#[test]
fn to_an_internal_neighbour() {
    let sent = through((65001, plain()), (LOCAL_AS, plain()), route(1, &[65001])).unwrap();
    assert_eq!((sent.as_path.clone(), sent.local_pref), (AsPath::sequence([65001]), Some(100)));
    assert_eq!((sent.next_hop.address, sent.originator_id), (ip("192.0.2.1"), None));
    assert_eq!(sent.cluster_list, [] as [Ipv4Addr; 0]);
}

#[test]
fn a_reflector_adds_itself_and_changes_nothing_else() {
    let mut attributes = route(1, &[65001]);
    attributes.next_hop = NextHop::from(ip("2001:db8::1"));
    attributes.local_pref = Some(150);
    let mut lab = Lab::new();
    lab.rib.set_next_hops(&[(ip("2001:db8::1"), Some(1))]);
    lab.peer(1, LOCAL_AS, client());
    lab.peer(2, LOCAL_AS, Peering { next_hop: NextHopMode::Own, ..plain() });
    lab.announce(1, P, attributes.clone());
    let cluster = Ipv4Addr::new(10, 0, 0, 254);
    let expected = Attributes {
        originator_id: Some(Ipv4Addr::new(10, 0, 0, 1)),
        cluster_list: vec![cluster],
        ..attributes.clone()
    };
    assert_eq!(lab.sent(2), Some(expected));
    // by a second reflector
    attributes.originator_id = Some(Ipv4Addr::new(7, 7, 7, 7));
    attributes.cluster_list = vec![Ipv4Addr::new(6, 6, 6, 6)];
    lab.announce(1, P, attributes);
    let sent = lab.sent(2).unwrap();
    assert_eq!(sent.originator_id, Some(Ipv4Addr::new(7, 7, 7, 7)));
    assert_eq!(sent.cluster_list, [cluster, Ipv4Addr::new(6, 6, 6, 6)]);
}

#[test]
fn rfc8950_who_cannot_take_an_ipv6_next_hop_gets_no_such_route() {
    let mut lab = Lab::new();
    lab.rib.set_next_hops(&[(ip("2001:db8::1"), Some(1))]);
    lab.peer(1, LOCAL_AS, client());
    lab.rib.set_peering(id(2), plain());
    let mut old = session(2, LOCAL_AS);
    Arc::make_mut(&mut old.negotiated).extended_next_hop.clear();
    lab.rib.up(id(2), old);
    let mut attributes = route(1, &[65001]);
    attributes.next_hop = NextHop::from(ip("2001:db8::1"));
    lab.announce(1, P, attributes.clone());
    lab.announce(1, "2001:db8:1::/48", attributes);
    let told = lab.told(2);
    assert_eq!(told.announced.iter().flat_map(|a| a.prefixes.clone()).collect::<Vec<_>>(), [net("2001:db8:1::/48")]);
}

#[test]
fn whose_next_hop() {
    let to = |asn, next_hop| (asn, Peering { next_hop, ..plain() });
    let hop = |to| through((65001, plain()), to, route(1, &[65001])).unwrap().next_hop.address;
    assert_eq!(hop(to(LOCAL_AS, NextHopMode::Own)), ip(OWN));
    assert_eq!(hop(to(65002, NextHopMode::Unchanged)), ip("192.0.2.1"));
    let own = Peering { own_ipv4: Some(ip("2001:db8::5")), own_ipv6: Some(ip("2001:db8::6")), ..plain() };
    assert_eq!(hop((65002, own)), ip("2001:db8::5"));
    let export = policy(vec![], vec![Action::NextHopSelf], Verdict::Accept, Verdict::Accept);
    assert_eq!(hop((LOCAL_AS, Peering { export, ..plain() })), ip(OWN));
}

#[test]
fn our_address_follows_the_session() {
    let mut lab = Lab::new();
    lab.rib.set_peering(id(2), plain());
    let link_local = Some("fe80::1".parse().unwrap());
    let mut peer = Peer { local: ip("2001:db8::9"), link_local, ..session(2, 65002) };
    lab.rib.up(id(2), peer.clone());
    lab.rib.originate(net(P), Attributes::new(NextHop::from(ip("0.0.0.0"))));
    assert_eq!(lab.sent(2).unwrap().next_hop, NextHop { address: ip("2001:db8::9"), link_local });
    // a configured address has no link-local one
    lab.rib.set_peering(id(2), Peering { own_ipv4: Some(ip("2001:db8::5")), ..plain() });
    assert_eq!(lab.sent(2).unwrap().next_hop, NextHop::from(ip("2001:db8::5")));
    lab.rib.set_peering(id(2), plain());
    // without RFC 8950 there is no next hop for it
    Arc::make_mut(&mut peer.negotiated).extended_next_hop.clear();
    lab.rib.up(id(2), peer);
    assert_eq!(lab.sent(2), None);
    // over IPv4 an IPv6 prefix gets ours, to be mapped
    lab.rib.up(id(2), session(2, 65002));
    lab.rib.originate(net("2001:db8:1::/48"), Attributes::new(NextHop::from(ip("::"))));
    let told = lab.told(2);
    assert!(told.announced.iter().all(|a| a.attributes.next_hop.address == ip(OWN)));
    assert_eq!(told.announced.iter().map(|a| a.prefixes.len()).sum::<usize>(), 2);
}

#[test]
fn link_local_next_hops_stay_on_the_link() {
    let mut attributes = route(1, &[65001]);
    attributes.next_hop.link_local = Some("fe80::7".parse().unwrap());
    let sent = through((65001, plain()), (LOCAL_AS, plain()), attributes).unwrap();
    assert_eq!(sent.next_hop.link_local, None);
}

#[test]
fn rfc8212_no_policy_no_routes() {
    let none = Peering { import: accept(), ..Peering::default() };
    assert_eq!(through((65001, plain()), (65002, none.clone()), route(1, &[65001])), None);
    assert!(through((65001, plain()), (LOCAL_AS, none), route(1, &[65001])).is_some());
    let export = policy(vec![], vec![], Verdict::Reject, Verdict::Accept);
    assert_eq!(through((65001, plain()), (65002, Peering { export, ..plain() }), route(1, &[65001])), None);
}

#[test]
fn prefixes_with_the_same_attributes_may_fare_differently() {
    let mut list = crate::policy::PrefixList::default();
    list.add(net("10.2.0.0/16"), None);
    let export = policy(vec![Match::Prefix(Arc::new(list))], vec![], Verdict::Accept, Verdict::Reject);
    let mut lab = Lab::with(&[(1, 65001)]);
    lab.peer(2, LOCAL_AS, Peering { export, ..plain() });
    for prefix in [P, "10.2.0.0/16", "10.3.0.0/16"] {
        lab.announce(1, prefix, route(1, &[65001]));
    }
    let update = lab.rib.poll_update(id(2), V4, 100).unwrap();
    assert_eq!(update.announced.iter().flat_map(|a| a.prefixes.clone()).collect::<Vec<_>>(), [net("10.2.0.0/16")]);
}

#[test]
fn rfc1997_well_known_communities() {
    for (community, internal, external) in [
        (Community::NO_EXPORT, true, false),
        (Community::NO_EXPORT_SUBCONFED, true, false),
        (Community::NO_ADVERTISE, false, false),
        (Community(1), true, true),
    ] {
        let mut attributes = route(1, &[65001]);
        attributes.communities = vec![community];
        let to = |asn| through((65001, plain()), (asn, plain()), attributes.clone()).is_some();
        assert_eq!((to(LOCAL_AS), to(65002)), (internal, external), "{community}");
    }
}

#[test]
fn rfc9234_egress() {
    let to = |role, otc| {
        let mut attributes = route(1, &[65001]);
        attributes.only_to_customer = otc;
        let peering = Peering { role: Some(role), ..plain() };
        through((LOCAL_AS, plain()), (65002, peering), attributes).map(|a| a.only_to_customer)
    };
    for role in [Role::Provider, Role::RouteServer] {
        assert_eq!(to(role, None), Some(Some(LOCAL_AS)));
        assert_eq!(to(role, Some(65009)), Some(Some(65009)));
    }
    assert_eq!(to(Role::Peer, None), Some(Some(LOCAL_AS)));
    assert_eq!(to(Role::Peer, Some(65009)), None);
    for role in [Role::Customer, Role::RouteServerClient] {
        assert_eq!(to(role, None), Some(None));
        assert_eq!(to(role, Some(65009)), None);
    }
}

#[test]
fn tunnels_are_sent_to_internal_neighbours_only() {
    for (asn, tunnels_out, expected) in
        [(LOCAL_AS, None, 1), (LOCAL_AS, Some(false), 0), (65002, None, 0), (65002, Some(true), 1)]
    {
        let mut attributes = route(1, &[]);
        let endpoint = hex!("0007 000c 06 0a 00000000 0001 c0000201");
        attributes.tunnel_encap = Some(TunnelEncap::decode(&endpoint, true).unwrap());
        let sent = through((LOCAL_AS, client()), (asn, Peering { tunnels_out, ..plain() }), attributes).unwrap();
        assert_eq!(Tunnel::offered(&sent).len(), expected);
    }
}

#[test]
fn our_own_barebones_tunnel_survives_our_next_hop() {
    let mut lab = Lab::with(&[(2, LOCAL_AS)]);
    let mut attributes = Attributes::new(NextHop::from(ip("0.0.0.0")));
    attributes.extended_communities = vec![ExtendedCommunity::from_encapsulation(IP_IN_IP)];
    lab.rib.originate(net(P), attributes);
    assert_eq!(Tunnel::offered(&lab.sent(2).unwrap()), [Tunnel::to(ip(OWN))]);
}

#[test]
fn families_not_agreed_on_are_not_sent() {
    let mut lab = Lab::new();
    lab.rib.set_peering(id(2), plain());
    let mut peer = session(2, LOCAL_AS);
    Arc::make_mut(&mut peer.negotiated).families = [V6].into();
    lab.rib.up(id(2), peer);
    lab.rib.originate(net(P), route(1, &[]));
    assert_eq!(lab.sent(2), None);
}

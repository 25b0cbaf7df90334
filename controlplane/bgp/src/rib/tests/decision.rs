use super::*;
use crate::attribute::Origin;
use crate::tunnel::TunnelEncap;
use hex_literal::hex;

const P: &str = "10.1.0.0/16";

/// The one of two routes, from neighbours 1 and 2, that wins. It must not depend on their order.
#[track_caller]
fn winner(asns: [u32; 2], routes: [Attributes; 2]) -> u32 {
    let mut winners = Vec::new();
    for order in [[0, 1], [1, 0]] {
        let mut lab = Lab::with(&[(1, asns[0]), (2, asns[1])]);
        order.into_iter().for_each(|i: usize| lab.announce(i as u8 + 1, P, routes[i].clone()));
        assert_eq!(lab.best(P).len(), 1);
        assert_eq!(lab.rib.route(&net(P)).unwrap().paths().len(), 2);
        winners.push(lab.best(P)[0]);
    }
    assert_eq!(winners[0], winners[1]);
    winners[0]
}

const IBGP: [u32; 2] = [LOCAL_AS; 2];

#[test]
fn local_pref_comes_first() {
    let mut routes = [route(1, &[65001]), route(2, &[65001, 65002])];
    routes[1].local_pref = Some(101); // 100 is the default
    assert_eq!(winner(IBGP, routes), 2);
}

#[test]
fn then_our_own() {
    let mut lab = Lab::with(&[(1, LOCAL_AS)]);
    lab.announce(1, P, route(1, &[]));
    lab.rib.originate(net(P), route(0, &[65009]));
    assert_eq!(lab.best(P), [0]);
    let mut preferred = route(1, &[65001]);
    preferred.local_pref = Some(200);
    lab.announce(1, P, preferred);
    assert_eq!(lab.best(P), [1]);
    lab.withdraw(1, P);
    assert_eq!(lab.best(P), [0]);
    lab.rib.withdraw(&net(P));
    assert_eq!(lab.best(P), []);
}

#[test]
fn then_the_shorter_as_path() {
    let mut routes = [route(1, &[65001, 65002]), route(2, &[65001])];
    routes[1].origin = Origin::Incomplete;
    assert_eq!(winner(IBGP, routes), 2);
}

#[test]
fn then_the_lower_origin() {
    let mut routes = [route(1, &[65001]), route(2, &[65001])];
    (routes[0].origin, routes[1].origin) = (Origin::Incomplete, Origin::Egp);
    (routes[0].med, routes[1].med) = (Some(1), Some(2));
    assert_eq!(winner(IBGP, routes), 2);
}

#[test]
fn then_the_lower_med_of_one_neighbouring_as() {
    let mut routes = [route(1, &[65001]), route(2, &[65001])];
    (routes[0].med, routes[1].med) = (Some(1), None); // none is 0
    assert_eq!(winner(IBGP, routes.clone()), 2);
    // of different ones it does not count
    routes[1].as_path = AsPath::sequence([65002]);
    assert_eq!(winner(IBGP, routes), 1);
}

#[test]
fn med_eliminates_whatever_the_order() {
    // without comparing within the AS first, each of the three would beat one of the others
    let mut routes = [route(1, &[65001]), route(2, &[65002]), route(3, &[65001])];
    (routes[0].med, routes[2].med) = (Some(5), Some(1));
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [1, 0, 2], [0, 2, 1], [2, 0, 1]] {
        let mut lab = Lab::with(&[(1, LOCAL_AS), (2, LOCAL_AS), (3, LOCAL_AS)]);
        order.into_iter().for_each(|i: usize| lab.announce(i as u8 + 1, P, routes[i].clone()));
        assert_eq!(lab.best(P), [2], "{order:?}");
    }
}

#[test]
fn then_ebgp() {
    let routes = [route(1, &[65002]), route(2, &[65002])];
    assert_eq!(winner([LOCAL_AS, 65002], routes.clone()), 2);
    // though it is farther
    let mut lab = Lab::with(&[(1, LOCAL_AS), (2, 65002)]);
    lab.rib.set_next_hops(&[(ip("192.0.2.2"), Some(20))]);
    for (n, route) in [1, 2].into_iter().zip(routes) {
        lab.announce(n, P, route);
    }
    assert_eq!(lab.best(P), [2]);
}

#[test]
fn then_the_nearer_next_hop() {
    let mut lab = Lab::with(&[(1, LOCAL_AS), (2, LOCAL_AS)]);
    lab.rib.set_next_hops(&[(ip("192.0.2.2"), Some(9))]);
    lab.announce(1, P, route(1, &[65001]));
    lab.announce(2, P, route(2, &[65001]));
    assert_eq!(lab.best(P), [2]);
    lab.rib.set_next_hops(&[(ip("192.0.2.1"), Some(8))]);
    assert_eq!(lab.best(P), [1]);
    lab.rib.set_next_hops(&[(ip("192.0.2.1"), None)]);
    assert_eq!(lab.best(P), [2]);
}

#[test]
fn then_identifiers_and_addresses() {
    // different neighbouring ASes do not share the load
    let routes = [route(1, &[65001]), route(2, &[65002])];
    assert_eq!(winner(IBGP, routes.clone()), 1);
    let mut reflected = routes.clone();
    reflected[0].originator_id = Some(Ipv4Addr::new(10, 0, 0, 9));
    assert_eq!(winner(IBGP, reflected), 2);
    let mut clusters = routes.clone();
    clusters.iter_mut().for_each(|r| r.originator_id = Some(Ipv4Addr::new(10, 0, 0, 9)));
    clusters[0].cluster_list = vec![Ipv4Addr::new(9, 9, 9, 9)];
    assert_eq!(winner(IBGP, clusters.clone()), 2);
    clusters[1].cluster_list = vec![Ipv4Addr::new(8, 8, 8, 8)];
    assert_eq!(winner(IBGP, clusters), 1);
}

#[test]
fn equally_good_paths_share_the_load() {
    let mut lab = Lab::with(&[(1, LOCAL_AS), (2, LOCAL_AS), (3, LOCAL_AS), (4, LOCAL_AS)]);
    lab.announce(3, P, route(3, &[65001]));
    lab.announce(2, P, route(2, &[65001]));
    lab.announce(1, P, route(2, &[65001])); // with the same next hop
    lab.announce(4, P, route(4, &[65002])); // of another neighbouring AS
    assert_eq!(lab.best(P), [1, 3]);
    let change = std::iter::from_fn(|| lab.rib.poll_change(V4)).last().unwrap();
    let hops: Vec<_> = change.best.iter().map(|path| (path.next_hop, path.source, path.kind)).collect();
    let path = |hop, n| (ip(hop), Source::Neighbour(id(n)), PathKind::Internal);
    assert_eq!(hops, [path("192.0.2.2", 1), path("192.0.2.3", 3)]);
}

#[test]
fn the_load_is_shared_among_so_many() {
    let id = Ipv4Addr::new(10, 0, 0, 254);
    for max_paths in [0, 1, 2] {
        let mut lab = Lab::new();
        lab.rib = Rib::new(RibConfig { local_as: LOCAL_AS, router_id: id, cluster_id: id, max_paths });
        for n in 1..5 {
            lab.rib.set_next_hops(&[(IpAddr::from([192, 0, 2, n]), Some(1))]);
            lab.peer(n, LOCAL_AS, open_peering());
            lab.announce(n, P, route(n, &[65001]));
        }
        assert_eq!(lab.best(P).len(), max_paths.max(1));
    }
}

#[test]
fn unreachable_next_hops_are_out() {
    let mut lab = Lab::with(&[(1, LOCAL_AS)]);
    lab.announce(1, P, route(77, &[65001]));
    assert_eq!(lab.best(P), []);
    let started: Vec<_> = std::iter::from_fn(|| lab.rib.poll_tracking()).collect();
    assert!(started.contains(&Tracking::Start(ip("192.0.2.77"))));
    assert_eq!(lab.changes(), []);
    lab.rib.set_next_hops(&[(ip("192.0.2.77"), Some(1))]);
    assert_eq!((lab.best(P), lab.changes()), (vec![1], vec![(P.into(), 1)]));
    lab.rib.set_next_hops(&[(ip("192.0.2.77"), None)]);
    assert_eq!((lab.best(P), lab.changes()), (vec![], vec![(P.into(), 0)]));
}

#[test]
fn a_route_with_tunnels_is_reachable_through_one_of_them() {
    let mut lab = Lab::with(&[(1, LOCAL_AS)]);
    let tunnels = |value: &[u8]| Some(TunnelEncap::decode(value, true).unwrap());
    let mut attributes = route(1, &[65001]);
    // an endpoint that is not reachable, though the next hop is
    attributes.tunnel_encap = tunnels(&hex!("0007 000c 06 0a 00000000 0001 c0000258"));
    lab.announce(1, P, attributes.clone());
    assert_eq!(lab.best(P), []);
    lab.rib.set_next_hops(&[(ip("192.0.2.88"), Some(3))]);
    assert_eq!(lab.best(P), [1]);
    // the next hop itself
    attributes.tunnel_encap = tunnels(&hex!("0007 0008 06 06 00000000 0000"));
    lab.announce(1, P, attributes.clone());
    assert_eq!(lab.best(P), [1]);
    // no tunnel that is feasible here: RFC 9012, section 7.1
    attributes.tunnel_encap = tunnels(&hex!("0002 0008 06 06 00000000 0000"));
    lab.announce(1, P, attributes);
    assert_eq!(lab.best(P), []);
}

#[test]
fn every_path_says_why_it_is_not_the_best() {
    let change = |n: u8, change: fn(&mut Attributes)| {
        let mut attributes = route(n, &[65001]);
        change(&mut attributes);
        attributes
    };
    // The best is from neighbour 1, unless it is our own; the other one is from 2.
    for (best, other, why) in [
        (change(1, |a| a.local_pref = Some(200)), route(2, &[65001]), Loses::LocalPref),
        (route(1, &[65001]), route(2, &[65001, 65002]), Loses::AsPath),
        (route(1, &[65001]), change(2, |a| a.origin = Origin::Egp), Loses::Origin),
        (change(1, |a| a.med = Some(1)), change(2, |a| a.med = Some(2)), Loses::Med),
        (change(1, |a| a.med = Some(2)), change(1, |_| {}), Loses::Med),
        (route(1, &[65001]), route(1, &[65001]), Loses::RouterId),
        (route(1, &[65001]), route(9, &[65001]), Loses::Distance),
        (route(1, &[65001]), route(77, &[65001]), Loses::Unreachable),
        (route(1, &[65001]), route(2, &[LOCAL_AS]), Loses::Ineligible(Ineligible::AsLoop)),
    ] {
        let mut lab = Lab::with(&[(1, LOCAL_AS), (2, LOCAL_AS)]);
        lab.rib.set_next_hops(&[(ip("192.0.2.9"), Some(11))]);
        lab.announce(1, P, best);
        lab.announce(2, P, other);
        let route = lab.rib.route(&net(P)).unwrap();
        let [first, second] = route.paths() else { panic!() };
        assert_eq!((lab.rib.loses(route, first), lab.rib.loses(route, second)), (None, Some(why)));
    }
    let mut lab = Lab::with(&[(1, LOCAL_AS), (2, 65002)]);
    lab.announce(1, P, route(1, &[65002]));
    lab.announce(2, P, route(1, &[65002]));
    let all = |lab: &Lab| {
        let route = lab.rib.route(&net(P)).unwrap();
        route.paths().iter().map(|path| lab.rib.loses(route, path)).collect::<Vec<_>>()
    };
    assert_eq!(all(&lab), [None, Some(Loses::Internal)]);
    lab.rib.originate(net(P), route(0, &[]));
    assert_eq!(all(&lab), [None, Some(Loses::Own), Some(Loses::Own)]);
    // Put out by one that has itself lost to the best: MED, though the best has none to compare.
    let mut lab = Lab::with(&[(1, LOCAL_AS), (2, LOCAL_AS), (3, LOCAL_AS)]);
    lab.announce(1, P, change(1, |a| a.med = Some(5)));
    lab.announce(2, P, route(2, &[65002]));
    lab.announce(3, P, change(3, |a| a.med = Some(1)));
    assert_eq!((lab.best(P), all(&lab)), (vec![2], vec![None, Some(Loses::Med), Some(Loses::RouterId)]));
}

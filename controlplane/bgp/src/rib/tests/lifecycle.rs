use super::*;
use crate::attribute::Community;

const P: &str = "10.1.0.0/16";
const Q: &str = "2001:db8::/32";

fn announced(update: &Update) -> Vec<String> {
    let mut all: Vec<_> = update.announced.iter().flat_map(|a| &a.prefixes).map(ToString::to_string).collect();
    all.sort();
    all
}

#[test]
fn changes_are_told_once_and_with_the_latest_state() {
    let mut lab = Lab::with(&[(1, 65001), (2, 65002)]);
    lab.announce(1, P, route(1, &[65001]));
    lab.announce(2, P, route(2, &[65002]));
    lab.withdraw(1, P);
    assert_eq!(lab.changes(), [(P.into(), 1)]);
    lab.announce(2, P, route(2, &[65002])); // the same again
    lab.announce(1, P, route(1, &[65001, 65003])); // not the best
    assert_eq!(lab.changes(), []);
    lab.withdraw(2, P);
    lab.withdraw(1, P);
    assert_eq!(lab.changes(), [(P.into(), 0)]);
    assert!(lab.rib.route(&net(P)).is_none());
    lab.withdraw(1, P);
    assert_eq!(lab.changes(), []);
}

#[test]
fn changes_of_a_family_can_wait() {
    let mut lab = Lab::with(&[(1, 65001)]);
    lab.announce(1, P, route(1, &[65001]));
    lab.announce(1, Q, route(1, &[65001]));
    let change = lab.rib.poll_change(V6).unwrap();
    assert_eq!((change.prefix, lab.rib.poll_change(V6)), (net(Q), None));
    assert_eq!(lab.changes(), [(P.into(), 1)]);
}

#[test]
fn a_new_session_gets_all_and_then_only_changes() {
    let mut lab = Lab::with(&[(1, 65001)]);
    for prefix in [P, Q, "10.2.0.0/16", "10.3.0.0/16"] {
        lab.announce(1, prefix, route(1, &[65001]));
    }
    lab.peer(2, LOCAL_AS, Peering::default());
    assert!(lab.rib.is_pending(id(2), V4) && lab.rib.is_pending(id(2), V6));
    assert_eq!(announced(&lab.told(2)), [P, "10.2.0.0/16", "10.3.0.0/16", Q]);
    assert!(!lab.rib.is_pending(id(2), V4));
    assert_eq!(lab.rib.counts(id(2), V4).advertised, 3);
    // back before it was told is no change
    lab.withdraw(1, P);
    lab.announce(1, P, route(1, &[65001]));
    assert_eq!(lab.told(2), Update::default());
    lab.withdraw(1, P);
    lab.announce(1, Q, route(2, &[65001]));
    let told = lab.told(2);
    assert_eq!((told.withdrawn.clone(), announced(&told)), (vec![net(P)], vec![Q.to_string()]));
    let left: Vec<_> = lab.rib.advertised(id(2), V4, None).map(|(prefix, _)| prefix.to_string()).collect();
    assert_eq!(left, ["10.2.0.0/16", "10.3.0.0/16"]);
    let next: Vec<_> = lab.rib.advertised(id(2), V4, Some(net("10.2.0.0/16"))).map(|(prefix, _)| prefix).collect();
    assert_eq!(next, [net("10.3.0.0/16")]);
}

#[test]
fn prefixes_with_the_same_attributes_go_together() {
    let mut lab = Lab::with(&[(1, 65001), (2, LOCAL_AS)]);
    for n in 0..10 {
        lab.announce(1, &format!("10.{n}.0.0/16"), route(1 + n % 2, &[65001]));
    }
    let update = lab.rib.poll_update(id(2), V4, 100).unwrap();
    let sizes: Vec<_> = update.announced.iter().map(|a| a.prefixes.len()).collect();
    assert_eq!(sizes, [5, 5]);
    assert_eq!(lab.rib.poll_update(id(2), V4, 100), None);
}

#[test]
fn a_refresh_sends_all_again() {
    let mut lab = Lab::with(&[(1, 65001), (2, LOCAL_AS)]);
    lab.announce(1, P, route(1, &[65001]));
    lab.announce(1, Q, route(1, &[65001]));
    lab.told(2);
    lab.rib.refresh(id(2), V4);
    assert_eq!(announced(&lab.told(2)), [P]);
    assert_eq!(lab.told(2), Update::default());
}

#[test]
fn a_new_export_policy_sends_the_difference() {
    let mut lab = Lab::with(&[(1, 65001), (2, LOCAL_AS)]);
    lab.announce(1, P, route(1, &[65001]));
    lab.announce(1, "10.2.0.0/16", route(1, &[65001, 65002]));
    lab.told(2);
    let export = policy(vec![Match::OriginAs(65002)], vec![], Verdict::Reject, Verdict::Accept);
    lab.rib.set_peering(id(2), Peering { export, ..open_peering() });
    let told = lab.told(2);
    assert_eq!((told.withdrawn, told.announced), (vec![net("10.2.0.0/16")], vec![]));
    lab.rib.set_peering(id(2), open_peering());
    assert_eq!(announced(&lab.told(2)), ["10.2.0.0/16"]);
}

#[test]
fn what_a_neighbour_said_goes_with_it() {
    let mut lab = Lab::with(&[(1, 65001), (2, 65002)]);
    lab.announce(1, P, route(1, &[65001]));
    lab.announce(1, Q, route(1, &[65001]));
    lab.announce(2, P, route(2, &[65002, 65003]));
    lab.changes();
    lab.rib.down(id(1), &BTreeSet::new());
    assert_eq!((lab.best(P), lab.best(Q)), (vec![2], vec![]));
    assert_eq!(lab.changes(), [(P.into(), 1), (Q.into(), 0)]);
    assert_eq!(lab.rib.counts(id(1), V4), Counts::default());
    // what comes after is not taken
    lab.announce(1, P, route(1, &[65001]));
    assert_eq!(lab.best(P), [2]);
    lab.rib.remove_neighbour(id(2));
    assert!(lab.rib.route(&net(P)).is_some_and(|route| route.paths().is_empty()));
    lab.changes();
    assert!(lab.rib.route(&net(P)).is_none());
}

#[test]
fn what_was_never_used_leaves_nothing_behind() {
    let mut lab = Lab::with(&[(1, 65001)]);
    lab.announce(1, P, route(1, &[65002]));
    lab.announce(1, Q, route(1, &[65002]));
    lab.withdraw(1, P);
    lab.rib.down(id(1), &BTreeSet::new());
    assert_eq!((lab.changes(), lab.rib.table.len()), (vec![], 0));
}

#[test]
fn next_hops_are_let_go_with_the_last_route() {
    let mut lab = Lab::with(&[(1, 65001)]);
    lab.announce(1, P, route(55, &[65001]));
    while lab.rib.poll_tracking().is_some() {}
    lab.rib.down(id(1), &BTreeSet::new());
    let stopped: Vec<_> = std::iter::from_fn(|| lab.rib.poll_tracking()).collect();
    assert!(stopped.contains(&Tracking::Stop(ip("192.0.2.55"))));
    assert_eq!(lab.rib.attribute_sets(), 0);
}

#[test]
fn rfc4724_routes_are_kept_as_stale() {
    let mut lab = Lab::with(&[(1, 65001)]);
    for prefix in [P, "10.2.0.0/16", Q] {
        lab.announce(1, prefix, route(1, &[65001]));
    }
    lab.changes();
    lab.rib.down(id(1), &[V4].into());
    assert_eq!(lab.changes(), [(Q.into(), 0)]);
    let stale = |lab: &Lab, prefix| lab.rib.route(&net(prefix)).unwrap().paths()[0].is_stale();
    assert!(stale(&lab, P) && lab.best(P) == [1]);
    lab.rib.up(id(1), session(1, 65001));
    lab.announce(1, P, route(1, &[65001]));
    assert!(!stale(&lab, P) && stale(&lab, "10.2.0.0/16"));
    lab.rib.sweep_stale(id(1), V4);
    assert_eq!(lab.changes(), [("10.2.0.0/16".into(), 0)]);
    assert_eq!((lab.best(P), lab.rib.counts(id(1), V4).received), (vec![1], 1));
}

#[test]
fn rfc7313_a_refresh_marks_and_sweeps() {
    let mut lab = Lab::with(&[(1, 65001)]);
    lab.announce(1, P, route(1, &[65001]));
    lab.announce(1, "10.2.0.0/16", route(1, &[65001]));
    lab.announce(1, Q, route(1, &[65001]));
    lab.changes();
    lab.rib.mark_stale(id(1), V4);
    lab.announce(1, P, route(1, &[65001]));
    lab.rib.sweep_stale(id(1), V4);
    assert_eq!(lab.changes(), [("10.2.0.0/16".into(), 0)]);
    assert_eq!(lab.best(Q), [1]);
}

#[test]
fn a_stale_route_stays_stale_when_it_is_judged_again() {
    let mut lab = Lab::with(&[(1, 65001)]);
    lab.announce(1, P, route(1, &[65001]));
    lab.rib.mark_stale(id(1), V4);
    let import = policy(vec![], vec![Action::AddCommunity(Community(3))], Verdict::Accept, Verdict::Accept);
    lab.rib.set_peering(id(1), Peering { import, ..open_peering() });
    assert!(lab.rib.route(&net(P)).unwrap().paths()[0].is_stale());
    assert_eq!(lab.used(P).communities, [Community(3)]);
}

#[test]
fn rfc6811_routes_are_validated_again_when_vrps_change() {
    let import = policy(vec![Match::Rov(Rov::Invalid)], vec![], Verdict::Reject, Verdict::Accept);
    let mut lab = Lab::new();
    lab.peer(1, 65001, Peering { import, ..open_peering() });
    lab.announce(1, P, route(1, &[65001]));
    lab.announce(1, "10.1.5.0/24", route(1, &[65001]));
    lab.announce(1, "10.2.0.0/16", route(1, &[65001]));
    lab.changes();
    let rov = |lab: &Lab, prefix| lab.rib.route(&net(prefix)).unwrap().paths()[0].rov();
    assert_eq!(rov(&lab, P), Rov::NotFound);

    let vrp = Vrp { prefix: net(P), max_length: 16, asn: 65001 };
    lab.rib.set_vrps(&[vrp], &[]);
    assert_eq!([P, "10.1.5.0/24", "10.2.0.0/16"].map(|p| rov(&lab, p)), [Rov::Valid, Rov::Invalid, Rov::NotFound]);
    assert_eq!(lab.changes(), [("10.1.5.0/24".into(), 0)]);
    assert_eq!(lab.ineligible("10.1.5.0/24"), Some(Ineligible::Policy));
    // a new route is validated as it comes
    lab.announce(1, "10.1.6.0/24", route(1, &[65001]));
    assert_eq!(lab.best("10.1.6.0/24"), []);

    lab.rib.set_vrps(&[Vrp { max_length: 24, ..vrp }], &[vrp]);
    assert_eq!((rov(&lab, "10.1.5.0/24"), lab.best("10.1.5.0/24")), (Rov::Valid, vec![1]));
    lab.rib.set_vrps(&[], &[Vrp { max_length: 24, ..vrp }]);
    assert_eq!(rov(&lab, P), Rov::NotFound);
    assert_eq!(lab.rib.counts(id(1), V4), Counts { received: 4, accepted: 4, advertised: 0 });
}

#[test]
fn an_export_policy_follows_the_vrps() {
    let mut lab = Lab::with(&[(1, 65001)]);
    let invalid = policy(vec![Match::Rov(Rov::Invalid)], vec![], Verdict::Reject, Verdict::Accept);
    lab.peer(2, 65002, Peering { export: invalid, ..Peering::default() });
    lab.announce(1, P, route(1, &[65001]));
    assert!(lab.sent(2).is_some());
    let other = Vrp { prefix: net(P), max_length: 16, asn: 65009 };
    lab.rib.set_vrps(&[other], &[]);
    assert_eq!((lab.best(P), lab.told(2).withdrawn), (vec![1], vec![net(P)]));
    lab.rib.set_vrps(&[], &[other]);
    assert!(lab.sent(2).is_some());
}

#[test]
fn our_own_routes_are_validated_with_our_as() {
    let mut lab = Lab::new();
    lab.rib.set_vrps(&[Vrp { prefix: net(P), max_length: 16, asn: LOCAL_AS }], &[]);
    lab.rib.originate(net(P), route(0, &[]));
    assert_eq!(lab.rib.route(&net(P)).unwrap().paths()[0].rov(), Rov::Valid);
    lab.rib.set_vrps(&[], &[Vrp { prefix: net(P), max_length: 16, asn: LOCAL_AS }]);
    assert_eq!(lab.rib.route(&net(P)).unwrap().paths()[0].rov(), Rov::NotFound);
}

#[test]
fn routes_are_paged() {
    let mut lab = Lab::with(&[(1, 65001)]);
    for prefix in ["10.2.0.0/16", P, "10.0.0.0/8", Q] {
        lab.announce(1, prefix, route(1, &[65001]));
    }
    let page = |family, after: Option<&str>| {
        let routes = lab.rib.routes(family, after.map(net));
        routes.map(|(prefix, _)| prefix.to_string()).take(2).collect::<Vec<_>>()
    };
    assert_eq!(page(V4, None), ["10.0.0.0/8", P]);
    assert_eq!(page(V4, Some(P)), ["10.2.0.0/16"]);
    assert_eq!(page(V4, Some("10.2.0.0/16")), [] as [&str; 0]);
    assert_eq!(page(V6, None), [Q]);
}

proptest::proptest! {
    /// However routes come and go, each neighbour ends up with what a fresh session would get, and the counts are right.
    #[test]
    fn neighbours_converge(steps in proptest::collection::vec((0u8..8, 1u8..4, 0u8..5, 0u8..4), 1..60)) {
        let mut lab = Lab::with(&[(1, 65001), (2, LOCAL_AS), (3, 65003)]);
        lab.rib.set_peering(id(2), Peering { client: true, ..open_peering() });
        let asns = [0, 65001, LOCAL_AS, 65003];
        let mut known = std::collections::BTreeMap::new();
        for (what, n, prefix, variant) in steps {
            let text = format!("10.{prefix}.0.0/16");
            let asn = asns[usize::from(n)];
            let first = if asn == LOCAL_AS { 65009 } else { asn };
            match what {
                0..=3 => lab.announce(n, &text, route(1 + variant, &vec![first; 1 + usize::from(variant) % 2])),
                4 => lab.withdraw(n, &text),
                5 => lab.rib.set_next_hops(&[(IpAddr::from([192, 0, 2, 1 + variant]), (prefix > 0).then_some(u32::from(prefix)))]),
                6 => { lab.rib.down(id(n), &BTreeSet::new()); lab.rib.up(id(n), session(n, asn)); if n == 2 { known.clear(); } }
                _ => {
                    for update in std::iter::from_fn(|| lab.rib.poll_update(id(2), V4, 3)) {
                        update.withdrawn.iter().for_each(|p| assert!(known.remove(p).is_some()));
                        update.announced.iter().for_each(|a| a.prefixes.iter().for_each(|p| { known.insert(*p, a.attributes.clone()); }));
                    }
                }
            }
        }
        for update in std::iter::from_fn(|| lab.rib.poll_update(id(2), V4, 3)) {
            update.withdrawn.iter().for_each(|p| assert!(known.remove(p).is_some()));
            update.announced.iter().for_each(|a| a.prefixes.iter().for_each(|p| { known.insert(*p, a.attributes.clone()); }));
        }
        lab.peer(4, LOCAL_AS, Peering { client: true, ..open_peering() });
        let fresh = lab.told(4);
        let mut expected = std::collections::BTreeMap::new();
        fresh.announced.iter().for_each(|a| a.prefixes.iter().for_each(|p| { expected.insert(*p, a.attributes.clone()); }));
        // what came from 2 itself it does not get back
        let from_2 = |prefix: &IpNet| lab.rib.route(prefix).unwrap().best()[0].source() == Source::Neighbour(id(2));
        expected.retain(|prefix, _| !from_2(prefix));
        proptest::prop_assert_eq!(&known, &expected);
        for n in 1..4 {
            let counts = lab.rib.counts(id(n), V4);
            let paths = lab.rib.routes(V4, None).flat_map(|(_, r)| r.paths()).filter(|p| p.source() == Source::Neighbour(id(n)));
            proptest::prop_assert_eq!(counts.received, paths.count());
        }
        proptest::prop_assert_eq!(lab.rib.counts(id(2), V4).advertised, known.len());
    }
}

#[test]
fn routes_and_paths_are_counted() {
    let mut lab = Lab::with(&[(1, LOCAL_AS), (2, 65002)]);
    let totals = |lab: &Lab, family| {
        let totals = lab.rib.totals(family);
        (totals.routes, totals.paths)
    };
    lab.announce(1, "10.1.0.0/16", route(1, &[]));
    lab.announce(2, "10.1.0.0/16", route(2, &[65002]));
    lab.announce(2, "10.2.0.0/16", route(77, &[65002])); // not reachable
    lab.announce(1, "2001:db8::/32", route(1, &[]));
    assert_eq!((totals(&lab, V4), totals(&lab, V6)), ((1, 3), (1, 1)));
    lab.rib.set_next_hops(&[(ip("192.0.2.77"), Some(1))]);
    lab.announce(1, "10.1.0.0/16", route(3, &[])); // replaced
    assert_eq!(totals(&lab, V4), (2, 3));
    lab.withdraw(2, "10.1.0.0/16");
    lab.withdraw(2, "10.1.0.0/16");
    assert_eq!(totals(&lab, V4), (2, 2));
    lab.rib.remove_neighbour(id(2));
    lab.rib.down(id(1), &BTreeSet::from([V4]));
    assert_eq!((totals(&lab, V4), totals(&lab, V6)), ((1, 1), (0, 0)));
    lab.rib.sweep_stale(id(1), V4);
    assert_eq!(totals(&lab, V4), (0, 0));
}

#[test]
fn what_waits_to_be_told_is_not_sent_yet() {
    let mut lab = Lab::with(&[(1, LOCAL_AS), (2, 65002)]);
    lab.announce(1, "10.1.0.0/16", route(1, &[]));
    let (prefix, entry) = lab.rib.advertised(id(2), V4, None).next().unwrap();
    assert_eq!((prefix, entry, lab.rib.sent(id(2), &prefix)), (net("10.1.0.0/16"), None, None));
    lab.told(2);
    assert!(lab.rib.sent(id(2), &prefix).is_some_and(|a| a.as_path == AsPath::sequence([LOCAL_AS])));
    assert!(lab.rib.sent(id(9), &prefix).is_none());
}

//! What the management plane sees, and does.

use super::*;
use crate::config::policy::Filter;
use crate::northbound::{BgpAction, BgpFamily, BgpMatch, BgpPage, BgpSelect, NotDone};
use std::time::Duration;

const ALL: BgpSelect = BgpSelect { family: None, prefix: None, after: None, limit: 1000 };

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// West, and east which originates these networks.
fn pair(now: &mut Instant, west: &str, networks: &[&str]) -> (Side, Side) {
    let mut a = Side::new(*now, "1.1.1.1", WEST, EAST, west);
    let mut b = Side::new(*now, "2.2.2.2", EAST, WEST, &format!("networks: [{}],", networks.join(", ")));
    converge(now, &mut a, &mut b);
    (a, b)
}

fn bgp(more: &str) -> Bgp {
    config("1.1.1.1", WEST, EAST, more).bgp.unwrap()
}

fn within(prefix: &str, scope: BgpMatch) -> BgpSelect {
    BgpSelect { prefix: Some((net(prefix), scope)), ..ALL }
}

fn loc_rib(side: &Side, select: &BgpSelect) -> (Vec<String>, Option<String>) {
    let BgpPage { routes, next } = side.routing.routes_info(select);
    (routes.into_iter().map(|r| r.prefix).collect(), next)
}

#[test]
fn a_neighbour_in_full() {
    let mut now = Instant::now();
    let (mut west, mut east) = pair(&mut now, "networks: [10.1.0.0/24],", &["10.2.0.0/24", "10.3.0.0/24"]);
    now += Duration::from_secs(7);
    let mut configured = bgp("");
    configured.neighbours[0].description = Some("the east".into());
    let all = west.routing.neighbours_info(now, &configured);
    let [n] = &all[..] else { panic!() };
    assert_eq!((n.address, n.description.as_deref(), n.asn, n.local_asn), (ip(EAST), Some("the east"), 65000, 65000));
    assert_eq!((n.state.as_str(), n.stopped, n.established, n.flaps), ("Established", None, 1, 0));
    assert_eq!((n.router_id, n.local_router_id), (Some([2, 2, 2, 2].into()), [1, 1, 1, 1].into()));
    assert!(n.seconds.is_some_and(|s| (7..60).contains(&s)));
    let agreed = n.negotiated.as_ref().unwrap();
    assert_eq!((agreed.hold_time, agreed.keepalive), (90, 30));
    assert!(agreed.extended_next_hop && agreed.extended_messages && agreed.four_octet_as);
    assert!(agreed.route_refresh && agreed.enhanced_route_refresh);
    // The other gateway's forwarding does not survive a restart: it names no family.
    let restart = agreed.graceful_restart.as_ref().unwrap();
    assert!(restart.families.is_empty() && restart.notification && !restart.restarting);
    let v4 = n.families.iter().find(|f| f.family == BgpFamily::Ipv4).unwrap();
    assert_eq!((v4.negotiated, v4.received, v4.accepted, v4.advertised, v4.stale), (true, 2, 2, 1, false));
    assert_eq!((n.received.open, n.sent.open, n.received.notification), (1, 1, 0));
    assert_eq!(n.messages_in, n.received.open + n.received.update + n.received.keepalive);
    // It goes, with a word.
    let id = east.routing.speaker.neighbour_at(ip(WEST)).unwrap();
    east.routing.speaker.disable(now, id, "moving");
    east.pump(now);
    while let Some(action) = east.routing.poll_action() {
        if let Action::Close(_, last) = action {
            west.routing.speaker.received(now, west.conn.unwrap(), &last);
        }
    }
    west.pump(now);
    let n = west.routing.neighbours_info(now + Duration::from_secs(3), &configured).remove(0);
    assert_eq!((n.established, n.flaps, n.seconds, n.received.notification), (1, 1, None, 1));
    assert!(n.negotiated.is_none() && n.router_id.is_none());
    let why = n.last_down.unwrap();
    assert!(why.starts_with("received hard reset") && why.contains("moving"), "{why}");
    assert_eq!(n.last_down_seconds, Some(3));
    let n = east.routing.neighbours_info(now, &bgp("")).remove(0);
    assert_eq!((n.stopped, n.state.as_str()), (Some("disabled"), "Idle"));
}

#[test]
fn routes_come_in_pages() {
    let mut now = Instant::now();
    let own = "networks: [10.0.0.0/8, \"2001:db8:b1::/48\"],";
    let (west, _east) = pair(&mut now, own, &["10.1.0.0/16", "10.1.2.0/24", "10.1.3.0/24", "11.0.0.0/8"]);
    let whole = ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.3.0/24", "11.0.0.0/8", "2001:db8:b1::/48"];
    assert_eq!(loc_rib(&west, &ALL), (whole.map(str::to_owned).to_vec(), None));
    for limit in 1..=6 {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let (rows, next) = loc_rib(&west, &BgpSelect { limit, after, ..ALL });
            assert!(!rows.is_empty() && rows.len() <= limit);
            seen.extend(rows);
            let Some(next) = next else { break };
            after = Some(net(&next));
        }
        assert_eq!(seen, whole, "{limit}");
    }
    let prefixes = |select: &BgpSelect| loc_rib(&west, select).0;
    // A cursor that was withdrawn meanwhile.
    assert_eq!(prefixes(&BgpSelect { after: Some(net("10.1.2.128/25")), ..ALL }), whole[3..]);
    assert_eq!(prefixes(&BgpSelect { family: Some(BgpFamily::Ipv6), ..ALL }), whole[5..]);
    let v4 = BgpSelect { family: Some(BgpFamily::Ipv4), after: Some(net("2001:db8::/32")), ..ALL };
    assert_eq!(prefixes(&v4), [] as [&str; 0]);
    let v6 = BgpSelect { family: Some(BgpFamily::Ipv6), after: Some(net("10.0.0.0/8")), ..ALL };
    assert_eq!(prefixes(&v6), whole[5..]);
    assert_eq!(prefixes(&within("10.1.0.0/16", BgpMatch::Exact)), whole[1..2]);
    assert_eq!(prefixes(&within("10.1.0.0/17", BgpMatch::Exact)), [] as [&str; 0]);
    assert_eq!(prefixes(&within("10.1.0.0/16", BgpMatch::Longer)), whole[1..4]);
    assert_eq!(prefixes(&within("10.1.2.0/23", BgpMatch::Longer)), whole[2..4]);
    assert_eq!(prefixes(&within("0.0.0.0/0", BgpMatch::Longer)), whole[..5]);
    assert_eq!(prefixes(&within("10.1.2.9/32", BgpMatch::Covering)), whole[..3]);
    assert_eq!(prefixes(&within("::/0", BgpMatch::Longer)), whole[5..]);
    let longer = BgpSelect { limit: 1, ..within("10.1.0.0/16", BgpMatch::Longer) };
    assert_eq!(loc_rib(&west, &longer), (vec![whole[1].into()], Some(whole[1].into())));
    let longer = BgpSelect { after: Some(net(whole[1])), ..longer };
    assert_eq!(loc_rib(&west, &longer), (vec![whole[2].into()], Some(whole[2].into())));
    let longer = BgpSelect { after: Some(net(whole[2])), ..longer };
    assert_eq!(loc_rib(&west, &longer), (vec![whole[3].into()], None));
    let other = BgpSelect { family: Some(BgpFamily::Ipv6), ..within("10.1.0.0/16", BgpMatch::Exact) };
    assert_eq!(prefixes(&other), [] as [&str; 0]);
    // What was learned leads into a softwire; what is our own does not, and is sent.
    let rows = west.routing.routes_info(&ALL).routes;
    assert_eq!((rows[0].next_hop, rows[0].paths[0].neighbour, rows[0].paths[0].best), (None, None, true));
    assert_eq!(
        (rows[1].next_hop, &rows[1].egresses, rows[1].paths[0].neighbour),
        (Some(ip(EAST)), &vec![ip(EAST)], Some(ip(EAST)),)
    );
    let sent = west.routing.sent_info(ip(EAST), &ALL).unwrap().routes;
    let sent: Vec<_> = sent.iter().map(|r| (r.prefix.as_str(), r.attributes.next_hop)).collect();
    assert_eq!(sent, [("10.0.0.0/8", ip(WEST)), ("2001:db8:b1::/48", ip(WEST))]);
    let exact = west.routing.sent_info(ip(EAST), &within("10.0.0.0/8", BgpMatch::Exact)).unwrap();
    assert_eq!(exact.routes.len(), 1);
    let totals: Vec<_> = west.routing.totals_info().iter().map(|t| (t.routes, t.paths)).collect();
    assert_eq!(totals, [(5, 5), (1, 1)]);
}

#[test]
fn an_adj_rib_in_tells_the_verdict() {
    let mut now = Instant::now();
    let (mut west, _east) = pair(&mut now, "networks: [10.2.0.0/16],", &["10.2.0.0/16", "10.3.0.0/16"]);
    let received = |west: &Side| west.routing.received_info(ip(EAST), &ALL).unwrap().routes;
    let rows = received(&west);
    let seen: Vec<_> = rows.iter().map(|r| (r.prefix.as_str(), r.verdict.as_str(), r.best, r.rov)).collect();
    assert_eq!(seen, [("10.2.0.0/16", "accepted", false, "not_found"), ("10.3.0.0/16", "accepted", true, "not_found")]);
    assert!(rows[0].attributes.local_pref == Some(100) && rows[0].imported.is_none());
    let lost = &west.routing.routes_info(&ALL).routes[0].paths[1];
    assert_eq!((lost.best, lost.loses_by.as_deref()), (false, Some("own route")));
    // The policy changes.
    let reject = config("1.1.1.1", WEST, EAST, "policies: { nothing: { rules: [], otherwise: reject } },");
    let mut from = bgp("").neighbours.remove(0);
    from.import = Some(Filter::Policy("nothing".into()));
    let reject_all = reject.bgp.as_ref().unwrap();
    let settings = neighbour::neighbour(&reject, reject_all, &policy::Policies::new(reject_all), &from);
    west.routing.speaker.set_neighbour(now, ip(EAST), settings);
    let rows = received(&west);
    assert!(rows.len() == 2 && rows.iter().all(|r| r.verdict == "rejected by policy" && !r.best));
    let n = west.routing.neighbours_info(now, &bgp("")).remove(0);
    assert_eq!((n.state.as_str(), n.families[0].received, n.families[0].accepted), ("Established", 2, 0));
    for nobody in [WEST, "192.0.2.99"] {
        assert!(west.routing.received_info(ip(nobody), &ALL).is_none());
        assert!(west.routing.sent_info(ip(nobody), &ALL).is_none());
    }
}

#[test]
fn a_page_looks_at_no_more_than_it_may() {
    let now = Instant::now();
    let mut west = Side::new(now, "1.1.1.1", WEST, EAST, "");
    let unspecified: IpAddr = [0; 4].into();
    for n in 0..=20_000u32 {
        let prefix = IpNet::new(IpAddr::from((0x0a00_0000 | n << 8).to_be_bytes()), 24).unwrap();
        west.routing.speaker.originate(now, prefix, Attributes::new(BgpNextHop::from(unspecified)));
    }
    // Not one of them is from east; who asks is told where to go on.
    let page = west.routing.received_info(ip(EAST), &ALL).unwrap();
    assert_eq!((page.routes.len(), page.next.as_deref()), (0, Some("10.78.31.0/24")));
    let after = page.next.map(|next| net(&next));
    let page = west.routing.received_info(ip(EAST), &BgpSelect { after, ..ALL }).unwrap();
    assert_eq!((page.routes.len(), page.next), (0, None));
}

#[test]
fn what_the_operator_does() {
    let mut now = Instant::now();
    let (mut west, mut east) = pair(&mut now, "", &["10.2.0.0/16"]);
    let start = now;
    let act = |west: &mut Side, action: BgpAction| west.routing.operate(start, ip(EAST), &action);
    assert_eq!(act(&mut west, BgpAction::SoftIn(None)), Ok(()));
    assert_eq!(act(&mut west, BgpAction::SoftOut(Some(BgpFamily::Ipv6))), Ok(()));
    converge(&mut now, &mut west, &mut east);
    let n = east.routing.neighbours_info(now, &bgp("")).remove(0);
    assert!(n.received.route_refresh >= 2, "one for each family");
    let disable = BgpAction::Disable { message: "maintenance".into() };
    assert_eq!(act(&mut west, disable.clone()), Ok(()));
    assert_eq!(act(&mut west, disable), Ok(()));
    for action in
        [BgpAction::SoftIn(None), BgpAction::SoftOut(None), BgpAction::Clear { hard: false, message: String::new() }]
    {
        assert!(matches!(act(&mut west, action.clone()), Err(NotDone::State(_))), "{action:?}");
    }
    west.pump(now);
    let last = std::iter::from_fn(|| west.routing.poll_action()).find_map(|action| match action {
        Action::Close(_, last) => Some(last),
        _ => None,
    });
    assert!(String::from_utf8_lossy(&last.unwrap()).contains("maintenance"));
    assert_eq!(act(&mut west, BgpAction::Enable), Ok(()));
    assert_eq!(west.routing.neighbours_info(now, &bgp("")).remove(0).stopped, None);
    assert_eq!(west.routing.operate(now, ip(WEST), &BgpAction::Enable), Err(NotDone::Unknown));
}

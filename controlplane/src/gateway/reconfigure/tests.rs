use super::*;
use crate::program::Output;
use dataplane_api::{Counters, FilterId, MacAddr, PeerId, SnapshotOp};
use std::num::NonZeroU32;

const BASE: &str = "ports: [{ name: a, device: d, zone: public, addresses: [192.0.2.1/24, 192.0.2.2/24] }]\n\
     routes: [{ to: 10.0.0.0/8, via: [192.0.2.9], port: a }]\n\
     listeners: [{ name: l, address: 192.0.2.1, ikev1: { shared_secret: { secret: s } } }, { name: m, address: 192.0.2.2 }]\n\
     ike: { identity: gw.example.net, peers: [{ name: p, id: p@example.net, auth: psk, psk: k }] }\n";

fn config(more: &str) -> Config {
    Config::from_yaml("t", &format!("{BASE}{more}")).unwrap_or_else(|e| panic!("{e}"))
}

fn edit(from: &str, to: &str) -> Config {
    assert!(BASE.contains(from), "test is out of date: {from}");
    Config::from_yaml("t", &BASE.replacen(from, to, 1)).unwrap_or_else(|e| panic!("{e}"))
}

fn gateway(more: &str) -> (Gateway, Instant) {
    let (now, counters) = (Instant::now(), vec![Arc::new(Counters::new(4, 4))]);
    let mut g = Gateway::new(Arc::new(config(more)), now, &[MacAddr([2; 6])], counters, [7; 32]).unwrap();
    ops(&mut g);
    (g, now)
}

fn ops(g: &mut Gateway) -> Vec<SnapshotOp> {
    let all = std::iter::from_fn(|| g.poll_output());
    all.filter_map(|o| if let Output::Snapshot(op) = o { Some(op) } else { None }).collect()
}

fn take(g: &mut Gateway, now: Instant, config: Config) -> Vec<SnapshotOp> {
    g.configure(now, config, false).unwrap();
    ops(g)
}

/// A peer that has come up.
fn up(g: &mut Gateway, n: u32, pad: &str, local: &str, version: u8) -> PeerId {
    let peer = NonZeroU32::new(n).unwrap();
    let id: ike::auth::Identity = "p@example.net".parse().unwrap();
    let event = ike::Event::PeerUp {
        peer: ike::PeerHandle(peer),
        pad: pad.into(),
        local_id: id.clone(),
        remote_id: id,
        local: format!("{local}:500").parse().unwrap(),
        remote: "198.51.100.7:500".parse().unwrap(),
        natt: false,
        initiator: false,
        suite: String::new(),
        eap_identity: None,
        version,
        weak: Vec::new(),
    };
    g.ike_event(Instant::now(), event);
    PeerId(peer)
}

#[test]
fn the_same_configuration_again_is_nothing() {
    let (mut g, now) = gateway("");
    assert!(take(&mut g, now, config("")).is_empty());
}

#[test]
fn filters_keep_their_numbers() {
    let filters = |names: &[(&str, &str)]| {
        let all: Vec<_> =
            names.iter().map(|(n, action)| format!("{{ name: {n}, rules: [{{ action: {action} }}] }}")).collect();
        format!("filters: [{}]\n", all.join(", "))
    };
    let (mut g, now) = gateway(&filters(&[("a", "permit"), ("b", "permit")]));
    let told = |ops: Vec<SnapshotOp>| {
        let all = ops.into_iter().map(|op| if let SnapshotOp::Filter(id, r) = op { (id.0, r.len()) } else { panic!() });
        all.collect::<Vec<_>>()
    };
    // In another order, with one changed, one new and one gone.
    let other = config(&filters(&[("c", "deny"), ("b", "deny")]));
    assert_eq!(told(take(&mut g, now, other)), [(2, 1), (1, 1), (0, 0)]);
    let limits = |name: &str| crate::aaa::Limits { filter: Some(name.into()), ..Default::default() };
    assert!(g.can_limit(&limits("a")).is_err());
    // Back again, it is what sessions name that had it.
    assert_eq!(told(take(&mut g, now, config(&filters(&[("a", "deny"), ("b", "deny")])))), [(0, 1), (2, 0)]);
    assert!(g.can_limit(&limits("a")).is_ok());
    assert_eq!(g.filters.get("a"), Some(&FilterId(0)));
}

#[test]
fn peers_end_with_their_entry_their_listener_and_their_version() {
    let others: &[(&str, &str, &[u32])] = &[
        ("psk: k", "psk: other", &[]),
        ("id: p@example.net", "id: q@example.net", &[1, 2, 3]),
        ("name: p,", "name: q,", &[1, 2, 3]),
        (", ikev1: { shared_secret: { secret: s } }", "", &[2, 4]),
        ("shared_secret: { secret: s }", "", &[4]),
        ("secret: s", "secret: t", &[]),
        ("{ name: l, address: 192.0.2.1, ikev1: { shared_secret: { secret: s } } }, ", "", &[1, 2, 4]),
        (", { name: m, address: 192.0.2.2 }", "", &[3]),
        ("name: m, address: 192.0.2.2", "name: m, address: 192.0.2.2, protection: none, anonymous: true", &[3]),
    ];
    for (from, to, want) in others {
        let (mut g, now) = gateway("");
        up(&mut g, 1, "p", "192.0.2.1", 2);
        up(&mut g, 2, "p", "192.0.2.1", 1);
        up(&mut g, 3, "p", "192.0.2.2", 2);
        up(&mut g, 4, "l/shared-secret", "192.0.2.1", 1);
        let (old, new) = (g.config(), Arc::new(edit(from, to)));
        g.config = new;
        let mut ended: Vec<u32> = g.ended_peers(&old).into_iter().map(|p| p.0.get()).collect();
        ended.sort_unstable();
        assert_eq!(ended, *want, "{to}");
        g.config = old;
        g.configure(now, edit(from, to), false).unwrap();
    }
}

#[test]
fn an_entry_that_is_gone_lets_nobody_in_who_is_on_his_way() {
    let (mut g, now) = gateway("");
    take(&mut g, now, edit("name: p,", "name: q,"));
    let here = "192.0.2.1".parse().unwrap();
    assert!(!g.admits("p", here, false) && !g.admits("p", here, true) && g.admits("q", here, false));
    assert!(g.admits("l/shared-secret", here, false) && !g.admits("m/shared-secret", here, false));
    take(&mut g, now, edit(", ikev1: { shared_secret: { secret: s } }", ""));
    assert!(!g.admits("l/shared-secret", here, false) && g.admits("p", here, false));
}

#[test]
fn the_spd_follows_its_listeners() {
    let (mut g, now) = gateway("");
    up(&mut g, 3, "p", "192.0.2.2", 2);
    let rules = |g: &Gateway| g.spd.len();
    let before = rules(&g);
    // Its lines stay as long as somebody is there.
    let without = || edit(", { name: m, address: 192.0.2.2 }", "");
    assert!(take(&mut g, now, without()).is_empty());
    assert!(!g.admits("p", "192.0.2.2".parse().unwrap(), false) && rules(&g) == before);
    g.peers.clear();
    g.handle_timeout(now + std::time::Duration::from_secs(1));
    assert!(matches!(&ops(&mut g)[..], [SnapshotOp::Policy(rules)] if rules.len() < before));
    let ops = take(&mut g, now, config(""));
    assert!(matches!(&ops[..], [SnapshotOp::Policy(rules)] if rules.len() == before), "{ops:?}");
}

/// A listener where the mesh has its end, too, and two AFBRs.
fn shared(listener: &str, peers: &str) -> Config {
    let text = format!(
        "ports: [{{ name: a, device: d, zone: public, addresses: [192.0.2.1/24] }}]\n\
         listeners: [{listener}]\n\
         mesh: {{ local: [192.0.2.1], profiles: [{{ name: f, start: respond }}] }}\n\
         ike: {{ identity: gw, peers: [{{ name: p, id: p, auth: psk, psk: k }}, {peers}] }}\n"
    );
    Config::from_yaml("t", &text).unwrap_or_else(|e| panic!("{e}"))
}

const LISTENER: &str = "{ name: l, address: 192.0.2.1 }";
const EAST: &str = "{ name: east, id: e, auth: psk, psk: e, softwire: f, address: 192.0.2.8 }";
const WEST: &str = "{ name: west, id: w, auth: psk, psk: w, softwire: f, address: 192.0.2.9 }";

fn afbrs() -> (Gateway, Instant) {
    let (now, counters) = (Instant::now(), vec![Arc::new(Counters::new(4, 4))]);
    let config = Arc::new(shared(LISTENER, &format!("{EAST}, {WEST}")));
    let g = Gateway::new(config, now, &[MacAddr([2; 6])], counters, [7; 32]).unwrap();
    (g, now)
}

/// A peer that IKE knows, so that it can be seen to be closed.
fn known(g: &mut Gateway, now: Instant, pad: &str) -> u32 {
    let remote = ([192, 0, 2, 9], 500).into();
    g.ike.initiate(now, pad, ([192, 0, 2, 1], 500).into(), remote).unwrap().0.get()
}

#[test]
fn afbrs_keep_no_listener_and_are_kept_from_none() {
    let (mut g, now) = afbrs();
    up(&mut g, 1000, "east", "192.0.2.1", 2);
    up(&mut g, 1001, "p", "192.0.2.1", 2);
    let without = || shared("", &format!("{EAST}, {WEST}"));
    take(&mut g, now, without());
    // The subscriber's is still there.
    assert_eq!(g.leaving.len(), 1);
    let (late, west) = (known(&mut g, now, "p"), known(&mut g, now, "west"));
    up(&mut g, late, "p", "192.0.2.1", 2);
    up(&mut g, west, "west", "192.0.2.1", 2);
    let there = |g: &Gateway| g.ike.sas().map(|sa| sa.peer.0.get()).collect::<Vec<_>>();
    assert_eq!(there(&g), [west], "who was on his way to the listener is closed, and the AFBR is not");
    g.peers.retain(|_, p| p.afbr);
    g.handle_timeout(now + std::time::Duration::from_secs(1));
    assert!(g.leaving.is_empty() && g.leave_at.is_none() && g.peers.len() == 2);
    let after = known(&mut g, now, "west");
    up(&mut g, after, "west", "192.0.2.1", 2);
    assert_eq!(there(&g), [west.min(after), west.max(after)]);
}

#[test]
fn an_afbr_whose_entry_goes_with_the_listener_can_say_goodbye() {
    let (mut g, now) = afbrs();
    let east = up(&mut g, 1000, "east", "192.0.2.1", 2);
    take(&mut g, now, shared("", WEST));
    assert_eq!(g.leaving.len(), 1);
    g.peers.remove(&east);
    g.handle_timeout(now + std::time::Duration::from_secs(1));
    assert!(g.leaving.is_empty());
}

/// However often it is changed meanwhile, there is one look a second at who is still there.
#[test]
fn changes_while_a_listener_leaves_do_not_add_up() {
    let looks = |changes: u32| {
        let (mut g, now) = gateway("");
        up(&mut g, 3, "p", "192.0.2.2", 2);
        let without = || edit(", { name: m, address: 192.0.2.2 }", "");
        (0..changes).for_each(|_| drop(take(&mut g, now, without())));
        let end = now + std::time::Duration::from_secs(10);
        let mut due: Vec<Instant> = Vec::new();
        while let Some(at) = g.poll_timeout().filter(|at| *at <= end) {
            due.push(at);
            g.handle_timeout(at);
        }
        assert_eq!((g.leaving.len(), g.later.len()), (1, 0));
        due.len()
    };
    let one = looks(1);
    assert!((10..=20).contains(&one), "{one}");
    assert_eq!(looks(20), one);
}

#[test]
fn routes_differ_by_what_differs() {
    let (mut g, now) = gateway("ppp: { local_ipv4: 10.9.0.1 }\npools: { ipv4: [10.9.0.0/16] }\n");
    let text = |ops: Vec<SnapshotOp>| {
        let mut all: Vec<_> = ops
            .into_iter()
            .map(|op| match op {
                SnapshotOp::RouteAdd(p, hops) => format!("+{p} {}", hops.len()),
                SnapshotOp::RouteDel(p) => format!("-{p}"),
                op => panic!("{op:?}"),
            })
            .collect();
        all.sort();
        all
    };
    let more = "ppp: { local_ipv4: 10.9.0.2 }\npools: { ipv4: [10.9.0.0/16, 10.8.0.0/16] }\n";
    assert_eq!(text(take(&mut g, now, config(more))), ["+10.8.0.0/16 1", "+10.9.0.2/32 1", "-10.9.0.1/32"]);
    while g.poll_unresolved().is_some() {}
    let routes = BASE.replace("via: [192.0.2.9]", "via: [192.0.2.8, 192.0.2.9]");
    let routes = Config::from_yaml("t", &format!("{routes}{more}")).unwrap();
    assert_eq!(text(take(&mut g, now, routes)), ["+10.0.0.0/8 2"]);
    assert_eq!(std::iter::from_fn(|| g.poll_unresolved()).count(), 2);
}

#[test]
fn certificates_are_read_again_when_their_files_change() {
    let dir = std::env::temp_dir().join(format!("reconfigure-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["ca.example.net".to_owned()]).unwrap();
    let ca = dir.join("ca.pem");
    std::fs::write(&ca, made.cert.pem()).unwrap();
    let text =
        format!("{{ name: c, id: '*@example.net', auth: certificate, local_auth: psk, psk: z, ca: {} }}", ca.display());
    let with = || edit("auth: psk, psk: k }", &format!("auth: psk, psk: k }}, {text}"));
    let (mut g, now) = gateway("");
    assert!(g.plan(with()).unwrap().ike.unwrap().files.is_some());
    take(&mut g, now, with());
    assert!(g.plan(with()).unwrap().ike.is_none());
    // Something else of IKE: nobody's certificate has to be judged again.
    let mut rekey = with();
    rekey.ike.child_rekey *= 2;
    assert!(g.plan(rekey).unwrap().ike.unwrap().files.is_none());
    std::fs::write(&ca, format!("{}{}", made.cert.pem(), made.cert.pem())).unwrap();
    assert!(g.plan(with()).unwrap().ike.unwrap().files.is_some());
    std::fs::write(&ca, "no certificate").unwrap();
    assert_eq!(g.plan(with()).unwrap_err()[0].path, "ike.peers[1].ca");
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn another_secret_of_tcp_ao_needs_another_id() {
    let bgp = |key: &str, how: &str| {
        config(&format!(
            "bgp: {{ asn: 1, router_id: 1.1.1.1, key_chains: [{{ name: c, keys: [{{ {key} }}] }}], \
             neighbours: [{{ address: 192.0.2.77, asn: 1, {how}: c }}] }}\n"
        ))
    };
    let (mut g, now) = gateway("");
    take(&mut g, now, bgp("id: 1, secret: correct-horse", "tcp_ao"));
    let problems = g.plan(bgp("id: 1, secret: battery-staple", "tcp_ao")).unwrap_err();
    assert_eq!(problems[0].path, "bgp.key_chains[0].keys[0].id");
    assert!(!problems[0].to_string().contains("staple"));
    assert!(g.plan(bgp("id: 2, secret: battery-staple", "tcp_ao")).is_ok());
    assert!(g.plan(bgp("id: 1, secret: battery-staple", "md5")).is_ok());
}

#[test]
fn what_was_asked_for_by_dynamic_authorization_is_not_forgotten() {
    let with = |more: &str| {
        config(&format!(
            "aaa: {{ dynamic: {{ listen: [\"127.0.0.1:3799\"], clients: [{{ address: 10.9.0.2, secret: s }}{more}] }} }}\n"
        ))
    };
    let (mut g, now) = gateway("");
    g.set_clock(now, std::time::Duration::from_secs(1_790_000_000));
    take(&mut g, now, with(""));
    let mut list = radius::AttributeList::new();
    list.u32(radius::attribute::EVENT_TIMESTAMP, 1_790_000_000).text(radius::attribute::ACCT_SESSION_ID, "7");
    let request =
        radius::Builder::new(radius::Code::DisconnectRequest, 1).attributes(&list).hashed_request(b"s").unwrap();
    let ask = |g: &mut Gateway, port: u16| g.dynamic_input(now, ([10, 9, 0, 2], port).into(), &request);
    let (_, answer) = ask(&mut g, 4000).unwrap();
    for other in [with(", { address: 10.9.0.3, secret: t }"), config(""), with("")] {
        take(&mut g, now, other);
        assert!(ask(&mut g, 4001).is_none());
    }
    assert_eq!(ask(&mut g, 4000).unwrap().1, answer);
    let discards = g.radius_info().dynamic_discards;
    assert_eq!((discards["replayed"], discards["unknown-client"]), (2, 1));
}

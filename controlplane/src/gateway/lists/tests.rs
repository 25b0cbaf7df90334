use super::*;
use crate::config::Config;
use crate::northbound::{Cursor, Query};
use dataplane_api::{Counters, MacAddr, WorkerId};
use std::net::IpAddr;
use std::sync::Arc;

const ROOM: usize = 10_000;

/// A gateway with as many subscribers as there is room for, each from an address of its own.
fn full() -> Gateway {
    let text = format!(
        "dataplane: {{ max_sessions: {ROOM} }}\n\
         ports: [{{ name: a, device: d, zone: public, addresses: [192.0.2.1/24] }}]\n\
         listeners: [{{ name: l, address: 192.0.2.1, protection: none, anonymous: true }}]\n\
         ppp: {{ local_ipv4: 10.9.0.1 }}\npools: {{ ipv4: [10.9.0.0/16] }}\n"
    );
    let config = Arc::new(Config::from_yaml("t", &text).unwrap_or_else(|e| panic!("{e}")));
    let now = Instant::now();
    let counters = vec![Arc::new(Counters::new(ROOM, ROOM))];
    let mut g = Gateway::new(config, now, &[MacAddr([2; 6])], counters, [7; 32]).unwrap();
    for n in 0..ROOM {
        let id = g.program.allocation().session(WorkerId(0)).unwrap();
        let up = l2tp::SessionUp {
            id: id.0,
            peer_tunnel: 1,
            peer_session: 1,
            peer_host_name: String::new(),
            sequencing: false,
            local: "192.0.2.1:1701".parse().unwrap(),
            remote: (outer(n), 1701).into(),
            binding: None,
        };
        g.l2tp_event(now, l2tp::Event::SessionOffered(up));
        g.subscribers.get_mut(&id).unwrap().user = format!("user{n}");
    }
    g
}

fn outer(n: usize) -> IpAddr {
    [198, 18, (n / 256) as u8, (n % 256) as u8].into()
}

fn page(g: &mut Gateway, select: Select<SubscriberFilter>) -> Page<SubscriberInfo> {
    let (to, answer) = tokio::sync::oneshot::channel();
    g.handle_query(Instant::now(), Query::Subscribers(select, to));
    answer.blocking_recv().unwrap()
}

fn select(after: Option<Cursor>, filter: SubscriberFilter) -> Select<SubscriberFilter> {
    Select { filter, after, limit: 300 }
}

#[test]
fn ten_thousand_subscribers_a_page_at_a_time() {
    let mut g = full();
    let (mut seen, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = page(&mut g, select(after, SubscriberFilter::default()));
        assert!(page.items.len() <= 300 && page.total == ROOM);
        seen.extend(page.items.into_iter().map(|s| s.user.unwrap()));
        pages += 1;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((pages, seen.len()), (ROOM.div_ceil(300), ROOM));
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), ROOM);
}

// What comes and goes between two pages shifts nothing: nobody is shown twice, and who stays is shown.
#[test]
fn pages_stay_in_place_while_subscribers_go() {
    let mut g = full();
    let first = page(&mut g, select(None, SubscriberFilter::default()));
    let all: Vec<SessionId> = g.subscribers.keys().copied().collect();
    // Half of the first page goes, its last row among them, and every tenth of the others.
    let gone: Vec<SessionId> = all[150..300].iter().chain(all[300..].iter().step_by(10)).copied().collect();
    gone.iter().for_each(|id| drop(g.subscribers.remove(id)));
    let mut seen: Vec<String> = first.items.iter().map(|s| s.id.clone()).collect();
    let mut after = first.next;
    while let Some(cursor) = after {
        let page = page(&mut g, select(Some(cursor), SubscriberFilter::default()));
        seen.extend(page.items.into_iter().map(|s| s.id));
        after = page.next;
    }
    let expected: Vec<String> =
        all[..300].iter().chain(g.subscribers.keys().skip(150)).map(ToString::to_string).collect();
    assert_eq!(seen, expected);
}

#[test]
fn filters_and_single_subscribers() {
    let mut g = full();
    let by = |filter: SubscriberFilter| select(None, filter);
    let user = SubscriberFilter { user: Some("user4711".into()), ..SubscriberFilter::default() };
    let found = page(&mut g, by(user));
    assert_eq!((found.items.len(), found.next, found.total), (1, None, ROOM));
    let id = found.items[0].id.clone();
    let address = SubscriberFilter { address: Some(outer(4711)), ..SubscriberFilter::default() };
    assert_eq!(page(&mut g, by(address)).items[0].id, id);
    let listener = |name: &str| SubscriberFilter { listener: Some(name.into()), ..SubscriberFilter::default() };
    assert_eq!(page(&mut g, by(listener("l"))).items.len(), 300);
    assert_eq!(page(&mut g, by(listener("m"))).items.len(), 0);
    let state = |name: &str| SubscriberFilter { state: Some(name.into()), ..SubscriberFilter::default() };
    assert_eq!(page(&mut g, by(state("tunnel"))).items.len(), 300);
    assert_eq!(page(&mut g, by(state("open"))).items.len(), 0);
    let one = |g: &mut Gateway, tunnel: u16, session: u16| {
        let (to, answer) = tokio::sync::oneshot::channel();
        g.handle_query(Instant::now(), Query::Subscriber(tunnel, session, to));
        answer.blocking_recv().unwrap()
    };
    let (tunnel, session) = (found.items[0].tunnel, found.items[0].session);
    assert_eq!(one(&mut g, tunnel, session).unwrap().id, id);
    assert!(one(&mut g, tunnel, 0).is_none() && one(&mut g, u16::MAX, session).is_none());
    // A cursor past the end of what there can be.
    assert_eq!(page(&mut g, select(Some(Cursor(u64::MAX)), SubscriberFilter::default())).items.len(), 0);
}

#[test]
fn who_is_to_be_disconnected_is_a_session_or_a_user() {
    let mut g = full();
    let ids: Vec<SessionId> = g.subscribers.keys().copied().take(4).collect();
    // One user has a session, and another one its number for a name; a number that nobody has is somebody's name.
    for (id, user) in [(ids[1], ids[0].to_string()), (ids[2], "1.0".into()), (ids[3], "1.0".into())] {
        g.subscribers.get_mut(&id).unwrap().user = user;
    }
    let mut end = |who: &str| {
        let ending = |g: &Gateway| g.subscribers.values().filter(|s| s.ending.is_some()).count();
        let before = ending(&g);
        let (to, answer) = tokio::sync::oneshot::channel();
        g.handle_query(Instant::now(), Query::Disconnect(who.into(), to));
        (answer.blocking_recv().unwrap(), ending(&g) - before, g.subscribers[&ids[1]].ending.is_none())
    };
    let stays = true;
    assert_eq!(end(&ids[0].to_string()), (true, 1, stays));
    assert_eq!(end("1.0"), (true, 2, stays));
    assert_eq!(end("user4711"), (true, 1, stays));
    assert_eq!(end("nobody"), (false, 0, stays));
}

/// A gateway with IKE SAs of both versions, on their way, and the numbers of their peers.
fn with_peers(n: usize) -> (Gateway, Vec<u32>) {
    let text = "dataplane: { max_sessions: 100 }\n\
                ports: [{ name: a, device: d, zone: public, addresses: [192.0.2.1/24] }]\n\
                listeners: [{ name: l, address: 192.0.2.1, ikev1: {} }]\n\
                ike: { identity: gw, peers: [{ name: p, id: p@example.net, auth: psk, psk: k }] }\n";
    let config = Arc::new(Config::from_yaml("t", text).unwrap_or_else(|e| panic!("{e}")));
    let now = Instant::now();
    let mut g =
        Gateway::new(config, now, &[MacAddr([2; 6])], vec![Arc::new(Counters::new(100, 100))], [7; 32]).unwrap();
    let peers = (0..n).map(|n| {
        let (local, remote) = ((IpAddr::from([192, 0, 2, 1]), 500).into(), (outer(n), 500).into());
        let peer = if n % 3 == 0 {
            g.ike.initiate_v1(now, "p", local, remote)
        } else {
            g.ike.initiate(now, "p", local, remote)
        };
        peer.unwrap().0.get()
    });
    let peers = peers.collect();
    (g, peers)
}

/// All pages of a list, and how many rows there are at most on one.
fn pages<T>(
    g: &mut Gateway,
    limit: usize,
    mut ask: impl FnMut(&mut Gateway, Option<Cursor>, usize) -> Page<T>,
) -> Vec<T> {
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = ask(g, after, limit);
        assert!(page.items.len() <= limit);
        seen.extend(page.items);
        after = page.next;
        if after.is_none() {
            return seen;
        }
    }
}

#[test]
fn ike_sas_of_both_versions_a_page_at_a_time() {
    let (mut g, mut peers) = with_peers(20);
    peers.sort_unstable();
    let ask = |filter: IkeFilter| {
        move |g: &mut Gateway, after: Option<Cursor>, limit: usize| {
            let (to, answer) = tokio::sync::oneshot::channel();
            g.handle_query(Instant::now(), Query::IkeSas(Select { filter: filter.clone(), after, limit }, to));
            let page = answer.blocking_recv().unwrap();
            assert_eq!(page.total, 20);
            page
        }
    };
    for limit in [1, 3, 20, 100] {
        let seen = pages(&mut g, limit, ask(IkeFilter::default()));
        assert_eq!(seen.iter().map(|sa| sa.peer).collect::<Vec<_>>(), peers, "{limit}");
        assert_eq!(seen.iter().filter(|sa| sa.version == 1).count(), 7);
        let one = pages(&mut g, limit, ask(IkeFilter { address: Some(outer(11)), ..IkeFilter::default() }));
        assert_eq!(one.iter().map(|sa| sa.remote.ip()).collect::<Vec<_>>(), [outer(11)]);
        // Nobody has proved who he is.
        let nobody = IkeFilter { id: Some("p@example.net".into()), ..IkeFilter::default() };
        assert!(pages(&mut g, limit, ask(nobody)).is_empty());
        assert!(pages(&mut g, limit, ask(IkeFilter { pad: Some("p".into()), ..IkeFilter::default() })).is_empty());
    }
    assert!(ask(IkeFilter::default())(&mut g, Some(Cursor(u64::MAX)), 1).items.is_empty());
}

#[test]
fn child_sas_of_one_peer_on_both_sides_of_a_page() {
    let (mut g, peers) = with_peers(3);
    let now = Instant::now();
    let mut expected = Vec::new();
    for peer in peers {
        let peer = ike::PeerHandle(NonZeroU32::new(peer).unwrap());
        let (local, remote) = ((IpAddr::from([192, 0, 2, 1]), 500).into(), (outer(0), 500).into());
        let id: ike::auth::Identity = "p@example.net".parse().unwrap();
        let up = ike::Event::PeerUp {
            peer,
            pad: "p".into(),
            local_id: id.clone(),
            remote_id: id,
            local,
            remote,
            natt: false,
            initiator: false,
            suite: String::new(),
            eap_identity: None,
            version: 2,
            weak: Vec::new(),
        };
        g.ike_event(now, up);
        let worker = g.peers[&PeerId(peer.0)].worker;
        for _ in 0..2 {
            let key = || ike::ChildKey { encr: vec![1; 20].into(), integ: Vec::new().into() };
            let spi_in = g.program.allocation().spi(worker).unwrap().0;
            let child = ike::Child {
                spi_in,
                spi_out: 256,
                suite: ike::EspSuite { encr: (20, 128), integ: 0, esn: false, ke: None, addke1: None },
                mode: ike::Mode::Transport,
                tfc: false,
                inbound: key(),
                outbound: key(),
                local_ts: Vec::new(),
                remote_ts: Vec::new(),
                encap: false,
                local,
                remote,
                replaces: None,
                resource: None,
            };
            g.ike_event(now, ike::Event::ChildUp { peer, child: Box::new(child), select: true });
            expected.push((peer.0.get(), format!("{spi_in:08x}")));
        }
    }
    expected.sort();
    let ask = |filter: Option<u32>| {
        move |g: &mut Gateway, after: Option<Cursor>, limit: usize| {
            let (to, answer) = tokio::sync::oneshot::channel();
            g.handle_query(Instant::now(), Query::ChildSas(Select { filter, after, limit }, to));
            let page = answer.blocking_recv().unwrap();
            assert_eq!(page.total, 6);
            page
        }
    };
    for limit in [1, 2, 3, 6] {
        let seen = pages(&mut g, limit, ask(None));
        assert_eq!(seen.into_iter().map(|c| (c.peer, c.spi_in)).collect::<Vec<_>>(), expected, "{limit}");
        let one = pages(&mut g, limit, ask(Some(expected[2].0)));
        assert_eq!(one.into_iter().map(|c| (c.peer, c.spi_in)).collect::<Vec<_>>(), expected[2..4], "{limit}");
    }
}

#[test]
fn of_a_softwire_the_first_hundred_prefixes_are_shown() {
    let prefixes: Vec<String> = (0..150).rev().map(|n| format!("10.{n}.0.0/16")).collect();
    let text = format!(
        "ports: [{{ name: core, device: d, zone: public, addresses: [192.0.2.1/24] }}]\n\
         mesh: {{ local: [192.0.2.1], afbrs: [{{ name: e, address: 192.0.2.8, prefixes: [{}] }}, \
         {{ name: w, address: 192.0.2.9, prefixes: [10.200.0.0/16] }}] }}\n",
        prefixes.join(", ")
    );
    let config = Arc::new(Config::from_yaml("t", &text).unwrap_or_else(|e| panic!("{e}")));
    let counters = vec![Arc::new(Counters::new(1, 1))];
    let mut g = Gateway::new(config, Instant::now(), &[MacAddr([2; 6])], counters, [7; 32]).unwrap();
    let all = pages(&mut g, 1, |g, after, limit| {
        let (to, answer) = tokio::sync::oneshot::channel();
        g.handle_query(Instant::now(), Query::Softwires(Select { filter: (), after, limit }, to));
        answer.blocking_recv().unwrap()
    });
    let first: Vec<_> = (0..100).map(|n| format!("10.{n}.0.0/16")).collect();
    assert_eq!(all.into_iter().map(|s| s.prefixes).collect::<Vec<_>>(), [first, vec!["10.200.0.0/16".to_owned()]]);
}

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
    let expected: Vec<String> = all[..300].iter().chain(g.subscribers.keys().skip(150)).map(|id| key(*id)).collect();
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

//! Another configuration while softwires are up: what it does not concern goes on, what it does ends in order.

use crate::fabric::{Fabric, ROUTER, SERVER};
use crate::servers::SECRET;
use crate::{SECOND, address6, client, complete, dead, packet, yaml};
use controlplane::config::Config;
use controlplane::northbound::{Applied, IkeFilter, IkeSaInfo, Query, Select};
use ike::auth::LocalAuth;
use radius::AttributeList;
use std::net::Ipv6Addr;
use std::sync::Arc;

/// `n` clients that are up.
fn fabric(text: &str, n: usize) -> Fabric {
    let mut f = Fabric::new(text, 0.0);
    (0..n).for_each(|i| _ = f.add(client(i)));
    assert!(f.run(30 * SECOND, |f| (0..n).all(|i| complete(f, i))), "{:?} {:?}", f.drops(), f.audit);
    f
}

fn edit(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "test is out of date: {from}");
    text.replacen(from, to, 1)
}

fn take(f: &mut Fabric, text: &str) {
    assert_eq!(f.configure(text, false), Ok(Applied::default()));
    f.run(SECOND / 100, |_| false);
}

fn ike_sas(f: &mut Fabric) -> Vec<IkeSaInfo> {
    let (to, answer) = tokio::sync::oneshot::channel();
    let all = Select { filter: IkeFilter::default(), after: None, limit: 1000 };
    f.gateway.handle_query(f.now, Query::IkeSas(all, to));
    answer.blocking_recv().unwrap().items
}

fn document(f: &mut Fabric) -> Arc<Config> {
    let (to, answer) = tokio::sync::oneshot::channel();
    f.gateway.handle_query(f.now, Query::Config(to));
    answer.blocking_recv().unwrap()
}

/// A packet each way, between a client and the core.
fn carries(f: &mut Fabric, i: usize, mark: u32) -> bool {
    let (own, far): (_, Ipv6Addr) = (address6(f, i).unwrap(), SERVER.parse().unwrap());
    let (up, down) = (f.core.len(), f.clients[i].inner.len());
    f.clients[i].initiator.handle_inner(f.now, &packet(own, far, &mark.to_be_bytes()));
    f.core_packet(&packet(far, own, &mark.to_be_bytes()));
    f.run(SECOND / 20, |_| false);
    let has = |all: &[Vec<u8>]| all.iter().any(|p| p.ends_with(&mark.to_be_bytes()));
    has(&f.core[up..]) && has(&f.clients[i].inner[down..])
}

/// The same client, at another address.
fn elsewhere(i: usize) -> softwire_initiator::Config {
    softwire_initiator::Config { local: [198, 19, 0, i as u8 + 1].into(), ..client(i) }
}

fn gone(f: &mut Fabric, i: usize) {
    assert!(f.run(10 * SECOND, |f| dead(f, i).is_some()), "{:?}", f.clients[i].events);
}

#[test]
fn a_session_stays_up_with_traffic_over_changes_that_do_not_concern_it() {
    let mut text = edit(&yaml(1, ""), "[192.0.2.1/24]", "[192.0.2.1/24, 192.0.2.2/24]");
    let mut f = fabric(&text, 1);
    let session = *f.sessions.values().next().unwrap();
    let changes = [
        ("routes:\n", "routes:\n  - { to: 203.0.113.0/24, port: access, via: [192.0.2.253] }\n".to_owned()),
        ("listeners:\n", "listeners:\n  - { name: second, address: 192.0.2.2, ikev1: {} }\n".into()),
        ("  peers:\n", "  rekey: 2h\n  child_rekey: 30m\n  peers:\n    - { name: p7, id: u7@example.net, auth: psk, psk: key-7 }\n".into()),
        ("subscribers:\n", "subscribers:\n  - { user: u7, secret: secret-7, ipv4: 10.99.77.7 }\n".into()),
        ("ipv4: [10.99.0.0/16]", "ipv4: [10.98.0.0/16, 10.99.0.0/16], named: { x: { ipv4: [10.97.0.0/24] } }".into()),
        ("ppp: {", "l2tp: { hello: 20s }\nppp: { dns: [192.0.2.53],".into()),
        ("pools:", "filters: [{ name: none, rules: [{ action: deny }] }]\npools:".into()),
        ("pools:", "aaa: { sources: [local, radius], servers: [{ name: r, address: 127.0.0.1, secret: s, accounting: false }] }\npools:".into()),
        ("pools:", "dhcp6: { relay: [\"2001:db8:c::547\"] }\npools:".into()),
        ("pools:", "mesh: { local: [\"2001:db8:c::1\"], afbrs: [{ name: e, address: \"2001:db8:c::9\", prefixes: [10.2.0.0/16] }], bfd: b }\nbfd: { profiles: [{ name: b }] }\npools:".into()),
        ("pools:", "bgp: { asn: 65000, router_id: 1.1.1.1, networks: [10.3.0.0/16], neighbours: [{ address: \"2001:db8:c::8\", asn: 65000 }] }\npools:".into()),
    ];
    for (n, (from, to)) in (0u32..).zip(changes) {
        text = edit(&text, from, &to);
        take(&mut f, &text);
        assert!(carries(&mut f, 0, n), "{to} {:?}", f.drops());
    }
    assert_eq!((f.sessions.values().next(), dead(&f, 0)), (Some(&session), None));
    assert_eq!(ike_sas(&mut f).len(), 1);
    // The one who has been added comes in, with the address that has been reserved for him.
    f.add(client(7));
    f.run(10 * SECOND, |f| f.routes.contains_key("10.99.77.7/32"));
    assert!(f.routes.contains_key("10.99.77.7/32"), "{:?} {:?}", f.clients[1].events, f.audit);
    // And all of it goes again: nobody is disturbed but the one it is about.
    take(&mut f, &edit(&yaml(1, ""), "[192.0.2.1/24]", "[192.0.2.1/24, 192.0.2.2/24]"));
    gone(&mut f, 1);
    assert!(carries(&mut f, 0, 99) && f.sessions.len() == 1, "{:?}", f.drops());
}

#[test]
fn a_subscriber_who_is_gone_is_disconnected_and_nobody_else() {
    let text = yaml(2, "");
    let mut f = fabric(&text, 2);
    take(&mut f, &edit(&text, "  - { user: u1, secret: secret-1 }\n", ""));
    gone(&mut f, 1);
    f.run(10 * SECOND, |_| false);
    assert!(carries(&mut f, 0, 1));
    assert_eq!((f.sessions.len(), f.routes.len(), ike_sas(&mut f).len()), (1, 3, 1));
    let why = &f.audit.iter().rev().find(|r| r.user.as_deref() == Some("u1")).unwrap().reason;
    assert_eq!(why, "there is no such subscriber now");
    f.add(elsewhere(1));
    f.run(10 * SECOND, |_| false);
    assert!(!complete(&f, 2) && f.audit.last().unwrap().reason.contains("unknown user"), "{:?}", f.audit.last());
}

#[test]
fn a_peer_who_is_gone_or_another_ends_in_order_and_nobody_else_does() {
    let text = yaml(3, "");
    let mut f = fabric(&text, 3);
    let without = edit(&text, "    - { name: p1, id: u1@example.net, auth: psk, psk: key-1 }\n", "");
    take(&mut f, &edit(&without, "id: u2@example.net", "id: other@example.net"));
    gone(&mut f, 1);
    gone(&mut f, 2);
    f.run(10 * SECOND, |_| false);
    assert!(carries(&mut f, 0, 1));
    assert_eq!((f.sessions.len(), f.routes.len(), ike_sas(&mut f).len()), (1, 3, 1));
    let why = &f.audit.iter().rev().find(|r| r.user.as_deref() == Some("u1")).unwrap().reason;
    assert_eq!(why, "its IKE peer may not connect any more");
    f.add(elsewhere(1));
    f.run(30 * SECOND, |_| false);
    assert!(!complete(&f, 3) && ike_sas(&mut f).len() == 1);
}

#[test]
fn secrets_count_for_the_next_time() {
    let text = yaml(2, "");
    let mut f = fabric(&text, 2);
    let other = edit(&text, "psk: key-0", "psk: another-key");
    take(&mut f, &edit(&other, "secret: secret-1", "secret: another-secret"));
    f.run(60 * SECOND, |_| false);
    assert!(carries(&mut f, 0, 1) && carries(&mut f, 1, 2));
    f.clients.iter_mut().for_each(|c| c.initiator.close(f.now));
    f.run(30 * SECOND, |f| f.gateway.is_idle());
    (0..2).for_each(|i| _ = f.add(elsewhere(i)));
    f.run(60 * SECOND, |_| false);
    assert!(!complete(&f, 2) && !complete(&f, 3), "{:?}", f.audit);
    let (mut one, mut two) = (client(0), client(1));
    (one.local, two.local) = ([198, 19, 1, 1].into(), [198, 19, 1, 2].into());
    let mut pad = (**one.ike.as_ref().unwrap()).clone();
    (pad.local_auth, pad.remote_auth) = (LocalAuth::psk(b"another-key"), ike::auth::RemoteAuth::psk(b"another-key"));
    one.ike = Some(Arc::new(pad));
    two.ppp.credentials.as_mut().unwrap().secret = ppp::Secret::new(b"another-secret".to_vec());
    f.add(one);
    f.add(two);
    assert!(f.run(60 * SECOND, |f| complete(f, 4) && complete(f, 5)), "{:?} {:?}", f.drops(), f.audit);
}

// The peer is told, and its answers are heard, though nobody else is served there any more; then the SPD forgets it.
#[test]
fn a_listener_that_is_gone_takes_leave_of_its_sessions() {
    let text = edit(&yaml(2, ""), "[192.0.2.1/24]", "[192.0.2.1/24, 192.0.2.2/24]");
    let mut f = fabric(&text, 2);
    let moved = edit(&text, "address: 192.0.2.1 }", "address: 192.0.2.2 }");
    take(&mut f, &moved);
    gone(&mut f, 0);
    gone(&mut f, 1);
    f.run(2 * SECOND, |_| false);
    assert!(f.gateway.is_idle() && f.sessions.is_empty() && f.routes.is_empty());
    f.add(elsewhere(0));
    f.run(10 * SECOND, |_| false);
    assert_eq!(ike_sas(&mut f).len(), 0);
    assert!(f.drops().get("spd_discard").is_some_and(|n| *n > 0), "{:?}", f.drops());
    take(&mut f, &text);
    assert!(f.run(60 * SECOND, |f| complete(f, 2)), "{:?} {:?}", f.clients[2].events, f.drops());
    assert!(carries(&mut f, 2, 1));
}

#[test]
fn a_listener_that_is_protected_now_ends_what_was_not() {
    let clear = yaml(2, "").replace("name: secure,", "name: open, protection: none, anonymous: true,");
    let mut f = Fabric::new(&clear, 0.0);
    let mut anonymous = client(0);
    anonymous.ike = None;
    f.add(anonymous);
    assert!(f.run(30 * SECOND, |f| complete(f, 0)));
    take(&mut f, &yaml(2, ""));
    gone(&mut f, 0);
    f.run(2 * SECOND, |_| false);
    assert!(f.sessions.is_empty());
    f.add(client(1));
    assert!(f.run(60 * SECOND, |f| complete(f, 1)), "{:?} {:?}", f.clients[1].events, f.drops());
}

#[test]
fn what_is_wrong_or_dry_changes_nothing() {
    let text = yaml(2, "");
    let mut f = fabric(&text, 2);
    let before = document(&mut f);
    let without = edit(&text, "  - { user: u1, secret: secret-1 }\n", "");
    assert_eq!(f.configure(&without, true), Ok(Applied::default()));
    // Right by itself, but a file is missing.
    let missing = edit(&without, "  peers:\n", "  certificate: { chain: /missing.pem, key: /missing.key }\n  peers:\n");
    let problems = f.configure(&missing, false).unwrap_err();
    assert_eq!(problems[0].path, "ike.certificate.chain");
    // Wrong by itself.
    let mut wrong = Config::from_yaml("t", &without).unwrap();
    wrong.listeners[0].address = "203.0.113.1".parse().unwrap();
    let (to, answer) = tokio::sync::oneshot::channel();
    f.gateway.handle_query(f.now, Query::Configure(Box::new(wrong), false, to));
    let problems = answer.blocking_recv().unwrap().unwrap_err();
    assert_eq!(problems[0].path, "listeners[0].address");
    assert!(f.gateway.poll_output().is_none(), "the data plane has heard of it");
    assert!(Arc::ptr_eq(&before, &document(&mut f)));
    f.run(60 * SECOND, |_| false);
    assert!(carries(&mut f, 0, 1) && carries(&mut f, 1, 2));
}

#[test]
fn what_takes_a_restart_is_named_and_stays_what_it_was() {
    let text = yaml(1, "");
    let mut f = fabric(&text, 1);
    let restart = |f: &mut Fabric, text: &str| f.configure(text, false).unwrap().restart;
    let larger = edit(&text, "max_sessions: 16", "max_sessions: 32");
    let both = edit(&larger, "subscribers:\n", "subscribers:\n  - { user: u1, secret: secret-1 }\n");
    let both = edit(&both, "  peers:\n", "  peers:\n    - { name: p1, id: u1@example.net, auth: psk, psk: key-1 }\n");
    assert_eq!(restart(&mut f, &both), ["/dataplane"]);
    // The rest is in force, and the document is the one that was given.
    assert_eq!(document(&mut f).dataplane.max_sessions, 32);
    f.add(client(1));
    assert!(f.run(30 * SECOND, |f| complete(f, 1)), "{:?}", f.audit);
    // A listener that needs another port's address waits with it.
    let port = edit(&both, "[192.0.2.1/24]", "[192.0.2.1/24, 192.0.2.9/24]");
    let port = edit(&port, "listeners:\n", "listeners:\n  - { name: new, address: 192.0.2.9 }\n");
    assert_eq!(restart(&mut f, &port), ["/dataplane", "/ports", "/listeners"]);
    let named = edit(&text, "ppp: {", "l2tp: { host_name: other }\naaa: { nas_address: 192.0.2.1 }\nppp: {");
    assert_eq!(restart(&mut f, &named), ["/l2tp/host_name", "/aaa/nas_address"]);
    assert!(carries(&mut f, 0, 1));
    assert_eq!(restart(&mut f, &text), [""; 0]);
}

#[test]
fn radius_takes_over_and_gives_back() {
    let text = yaml(3, "");
    let mut f = fabric(&text, 1);
    f.servers.users.insert("u1".into(), (b"secret-1".to_vec(), AttributeList::new()));
    let secret = std::str::from_utf8(SECRET).unwrap();
    let server = |address: &str| {
        format!("aaa: {{ servers: [{{ name: r, address: {address}, secret: {secret}, accounting: false }}] }}\npools:")
    };
    let radius = edit(&text, "pools:", &server("127.0.0.1"));
    take(&mut f, &radius);
    f.add(client(1));
    assert!(f.run(30 * SECOND, |f| complete(f, 1)), "{:?}", f.audit);
    assert_eq!(f.servers.answered, [1, 0]);
    // Another server: who was authenticated by the first one stays, also when the file has no such user.
    take(&mut f, &edit(&text, "pools:", &server("127.0.0.3")));
    f.add(client(2));
    f.run(10 * SECOND, |_| false);
    assert_eq!((f.servers.answered, complete(&f, 2)), ([1, 1], false));
    take(&mut f, &edit(&text, "  - { user: u1, secret: secret-1 }\n", ""));
    f.run(30 * SECOND, |_| false);
    assert!(carries(&mut f, 0, 1) && carries(&mut f, 1, 2));
    f.add(elsewhere(2));
    assert!(f.run(30 * SECOND, |f| complete(f, 3)), "{:?}", f.audit);
    assert_eq!(f.servers.answered, [1, 1]);
}

#[test]
fn another_router_and_another_pool_are_used_at_once() {
    let text = yaml(2, "");
    let mut f = fabric(&text, 1);
    // The way back to the clients is gone, and there again.
    take(&mut f, &edit(&text, &format!("via: [{ROUTER}]"), "via: [192.0.2.77]"));
    assert!(!carries(&mut f, 0, 1));
    take(&mut f, &text);
    assert!(carries(&mut f, 0, 2));
    let pool = edit(&text, "ipv4: [10.99.0.0/16]", "ipv4: [10.55.0.0/24]");
    take(&mut f, &pool);
    f.add(client(1));
    assert!(f.run(30 * SECOND, |f| complete(f, 1)), "{:?}", f.audit);
    assert!(f.routes.contains_key("10.55.0.1/32") && f.routes.keys().any(|p| p.starts_with("10.99.0.")));
    assert!(carries(&mut f, 0, 3) && carries(&mut f, 1, 4));
}

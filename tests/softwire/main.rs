//! Softwires end to end on a virtual clock: control plane and workers against initiators.

#![allow(clippy::unwrap_used, clippy::panic)]

mod drain;
mod fabric;
mod leases;
mod mesh;
mod ports;
mod radius;
mod reconfigure;
mod servers;
mod trace;

use controlplane::audit::Verb;
use fabric::{Fabric, GATEWAY, ROUTER, SERVER};
use ike::auth::{IdMatch, LocalAuth, RemoteAuth};
use softwire_initiator::{Config, Event};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn yaml(n: usize, more: &str) -> String {
    let peers: String =
        (0..n).map(|i| format!("    - {{ name: p{i}, id: u{i}@example.net, auth: psk, psk: key-{i} }}\n")).collect();
    let users: String = (0..n).map(|i| format!("  - {{ user: u{i}, secret: secret-{i} }}\n")).collect();
    format!(
        "dataplane: {{ max_sessions: {} }}\n\
         ports:\n  - {{ name: access, device: none, zone: public, addresses: [192.0.2.1/24] }}\n\
         \x20 - {{ name: core, device: none, zone: trusted, addresses: [\"2001:db8:c::1/64\"] }}\n\
         routes:\n  - {{ to: 0.0.0.0/0, port: access, via: [{ROUTER}] }}\n\
         listeners:\n  - {{ name: secure, address: 192.0.2.1 }}\n\
         ike:\n  identity: gw.example.net\n{more}  peers:\n{peers}\
         ppp: {{ local_ipv4: 10.99.0.1 }}\n\
         pools: {{ ipv4: [10.99.0.0/16], ipv6: [\"2001:db8:100::/48\"], delegated: [\"2001:db8:f000::/36\"] }}\n\
         subscribers:\n{users}",
        (n * 4).max(16)
    )
}

fn client(i: usize) -> Config {
    let psk = format!("key-{i}");
    let pad = ike::PadEntry {
        name: "gateway".into(),
        remote: IdMatch::Exact("gw.example.net".parse().unwrap()),
        remote_auth: RemoteAuth::psk(psk.as_bytes()),
        local_id: format!("u{i}@example.net").parse().unwrap(),
        local_auth: LocalAuth::psk(psk.as_bytes()),
        ike_proposals: ike::IkeProposal::defaults(),
        child: ike::ChildPolicy::l2tp(false),
        ike_rekey_after: None,
        dpd_delay: Some(30 * SECOND),
        mlkem: false,
        force_encap: false,
        mobike: true,
        return_routability: true,
    };
    Config {
        local: IpAddr::from([198, 18, (i / 250) as u8, (i % 250 + 1) as u8]),
        gateway: GATEWAY.parse().unwrap(),
        ike: Some(Arc::new(pad)),
        eap: None,
        l2tp: l2tp::Config { host_name: format!("u{i}"), ..l2tp::Config::default() },
        ppp: ppp::Config {
            mru: 1418,
            credentials: Some(ppp::Credentials {
                name: format!("u{i}").into_bytes(),
                secret: ppp::Secret::new(format!("secret-{i}").into_bytes()),
                methods: vec![ppp::AuthMethod::ChapMd5],
            }),
            ..ppp::Config::default()
        },
        ipv4: true,
        ipv6: true,
        delegation: true,
        ike_only: false,
    }
}

fn address6(f: &Fabric, i: usize) -> Option<Ipv6Addr> {
    f.clients[i].events.iter().rev().find_map(|e| if let Event::Ipv6(a, ..) = e { Some(*a) } else { None })
}

fn complete(f: &Fabric, i: usize) -> bool {
    let has = |m: fn(&Event) -> bool| f.clients[i].events.iter().any(m);
    has(|e| matches!(e, Event::Ipv4(..))) && has(|e| matches!(e, Event::Delegated(..))) && address6(f, i).is_some()
}

fn packet(from: Ipv6Addr, to: Ipv6Addr, payload: &[u8]) -> Vec<u8> {
    dhcp6::packet::ipv6(from, to, 59, 64, payload).unwrap()
}

fn dead(f: &Fabric, i: usize) -> Option<&str> {
    f.clients[i].events.iter().find_map(|e| if let Event::Down(why) = e { Some(why.as_str()) } else { None })
}

#[test]
fn a_softwire_comes_up_carries_traffic_and_goes_down_in_order() {
    let mut f = Fabric::new(&yaml(1, ""), 0.0);
    f.add(client(0));
    assert!(f.run(30 * SECOND, |f| complete(f, 0)), "{:?} {:?}", f.clients[0].events, f.drops());
    let own = address6(&f, 0).unwrap();
    let far: Ipv6Addr = SERVER.parse().unwrap();
    f.clients[0].initiator.handle_inner(f.now, &packet(own, far, b"up"));
    f.run(SECOND, |_| false);
    assert!(f.core.iter().any(|p| p.ends_with(b"up")), "{:?}", f.drops());
    let route = format!("{}/64", Ipv6Addr::from(u128::from(own) & !u128::from(u64::MAX)));
    let id = f.routes[&route];
    f.core_packet(&packet(far, own, b"down"));
    f.run(SECOND, |_| false);
    assert!(f.clients[0].inner.iter().any(|p| p.ends_with(b"down")));
    // IPv4 address, link prefix and delegated prefix are routed to the session.
    assert_eq!(f.routes.values().filter(|r| **r == id).count(), 3);
    let accept = f.audit.iter().find(|r| r.verb == Verb::Accept).unwrap();
    assert_eq!((accept.user.as_deref(), accept.ike_id.as_deref()), (Some("u0"), Some("u0@example.net")));

    f.clients[0].initiator.close(f.now);
    f.run(30 * SECOND, |f| f.gateway.is_idle());
    f.run(10 * SECOND, |_| false);
    assert!(f.gateway.is_idle() && f.routes.is_empty() && f.sessions.is_empty());
    assert!(f.audit.iter().any(|r| r.verb == Verb::Teardown));
}

// What a peer says in PPP right behind its ICCN is heard: no restart timer of LCP runs out on a good link.
#[test]
fn a_softwire_comes_up_without_waiting_for_a_timer() {
    let mut f = Fabric::new(&yaml(1, ""), 0.0);
    f.add(client(0));
    let opens = |f: &Fabric| f.clients[0].events.iter().any(|e| matches!(e, Event::Ipv4(..)));
    assert!(f.run(SECOND, opens), "{:?} {:?}", f.clients[0].events, f.drops());
    assert_eq!(f.drops().get("session_unknown"), None);
}

// A route is slower than a session's state: it is on its way before the subscriber knows its addresses.
#[test]
fn routes_to_a_subscriber_are_there_before_it_has_its_addresses() {
    let mut f = Fabric::new(&yaml(1, ""), 0.0);
    f.add(client(0));
    let routed = |f: &Fabric, v6: bool| f.routes.keys().any(|prefix| prefix.contains(':') == v6);
    assert!(f.run(SECOND, |f| routed(f, false) && routed(f, true)), "{:?} {:?}", f.clients[0].events, f.drops());
    let inner = f.sessions.values().next().unwrap().inner;
    assert!(!inner.ipv4 && !inner.ipv6 && f.clients[0].events.iter().all(|e| !matches!(e, Event::Ipv4(..))));
    assert!(f.run(30 * SECOND, |f| complete(f, 0)), "{:?} {:?}", f.clients[0].events, f.drops());
}

// H18: a source outside the subscriber's addresses is dropped; H12: nothing passes before the network layer opens.
#[test]
fn a_spoofed_source_is_dropped() {
    let mut f = Fabric::new(&yaml(1, ""), 0.0);
    f.add(client(0));
    assert!(f.run(30 * SECOND, |f| complete(f, 0)));
    let far: Ipv6Addr = SERVER.parse().unwrap();
    f.clients[0].initiator.handle_inner(f.now, &packet("2001:db8:bad::1".parse().unwrap(), far, b"spoof"));
    f.run(SECOND, |_| false);
    assert_eq!(f.drops().get("inner_source"), Some(&1));
    assert!(f.core.is_empty());
}

// H29, H33, H34: only where the administrator writes so; without authentication and ESP, but logged and filtered.
#[test]
fn an_anonymous_listener_keeps_filter_and_log() {
    let clear = yaml(1, "").replace("name: secure,", "name: open, protection: none, anonymous: true,");
    let mut f = Fabric::new(&clear, 0.0);
    let mut anonymous = client(0);
    anonymous.ike = None;
    f.add(anonymous);
    assert!(f.run(30 * SECOND, |f| complete(f, 0)), "{:?} {:?}", f.clients[0].events, f.drops());
    let own = address6(&f, 0).unwrap();
    let far: Ipv6Addr = SERVER.parse().unwrap();
    f.clients[0].initiator.handle_inner(f.now, &packet(own, far, b"up"));
    f.clients[0].initiator.handle_inner(f.now, &packet("2001:db8:bad::1".parse().unwrap(), far, b"spoof"));
    f.run(SECOND, |_| false);
    assert_eq!(f.core.len(), 1);
    assert_eq!(f.drops().get("inner_source"), Some(&1));
    let accept = f.audit.iter().find(|r| r.verb == Verb::Accept).unwrap();
    assert_eq!((accept.reason.as_str(), accept.user.as_deref(), accept.ike_id.as_deref()), ("anonymous", None, None));
    assert!(!accept.inner.is_empty() && accept.outer.is_some());
    f.clients[0].initiator.close(f.now);
    f.run(30 * SECOND, |f| f.gateway.is_idle());
    assert!(f.audit.iter().any(|r| r.verb == Verb::Teardown));
}

#[test]
fn a_wrong_psk_and_a_wrong_chap_secret_are_refused_and_disturb_nobody() {
    let mut f = Fabric::new(&yaml(3, ""), 0.0);
    f.add(client(0));
    assert!(f.run(30 * SECOND, |f| complete(f, 0)));
    let mut wrong_psk = client(1);
    let mut pad = (**wrong_psk.ike.as_ref().unwrap()).clone();
    pad.local_auth = LocalAuth::psk(b"not the key");
    wrong_psk.ike = Some(Arc::new(pad));
    f.add(wrong_psk);
    let mut wrong_chap = client(2);
    wrong_chap.ppp.credentials.as_mut().unwrap().secret = ppp::Secret::new(b"not the secret".to_vec());
    f.add(wrong_chap);
    f.run(60 * SECOND, |_| false);
    assert!(dead(&f, 1).is_some() && dead(&f, 2).is_some());
    assert!(!f.clients[1].events.iter().any(|e| matches!(e, Event::SessionUp(..))));
    assert!(!f.clients[2].events.iter().any(|e| matches!(e, Event::Ipv6(..) | Event::Ipv4(..))));
    assert_eq!(f.audit.iter().filter(|r| r.verb == Verb::Reject).count(), 2, "{:?}", f.audit);
    assert_eq!(dead(&f, 0), None);
    assert_eq!(f.sessions.len(), 1);
}

// H23, H49: the ids of another subscriber's session under one's own SA.
#[test]
fn ids_of_another_session_are_refused() {
    let mut f = Fabric::new(&yaml(2, ""), 0.0);
    f.add(client(0));
    f.add(client(1));
    assert!(f.run(30 * SECOND, |f| complete(f, 0) && complete(f, 1)));
    let victim = *f.sessions.values().find(|s| s.outer.remote.ip() == f.clients[0].address).unwrap();
    // Data with the victim's ids, then a StopCCN with the victim's tunnel id.
    let mut data = vec![0; 6];
    wire::l2tp::emit_data(&mut data, victim.id.tunnel(), victim.id.session(), None);
    data.extend_from_slice(&[0xff, 3, 0, 0x57]);
    f.forge(1, &data);
    f.run(SECOND, |_| false);
    assert_eq!(f.drops().get("session_binding"), Some(&1));
    let [t0, t1] = victim.id.tunnel().to_be_bytes();
    let stop = [
        0xc8, 2, 0, 38, t0, t1, 0, 0, 0, 4, 0, 4, // header
        0x80, 8, 0, 0, 0, 0, 0, 4, // Message Type StopCCN
        0x80, 8, 0, 0, 0, 9, 0, 1, // Assigned Tunnel ID
        0x80, 10, 0, 0, 0, 1, 0, 1, 0, 0, // Result Code
    ];
    f.forge(1, &stop);
    f.run(5 * SECOND, |_| false);
    assert_eq!(f.sessions.len(), 2, "{:?}", f.audit);
    assert!(dead(&f, 0).is_none() && dead(&f, 1).is_none());
}

#[test]
fn rekeying_loses_nothing() {
    let mut f = Fabric::new(&yaml(1, "  child_rekey: 20s\n  rekey: 45s\n"), 0.0);
    f.add(client(0));
    assert!(f.run(30 * SECOND, |f| complete(f, 0)));
    let own = address6(&f, 0).unwrap();
    let far: Ipv6Addr = SERVER.parse().unwrap();
    let mut sent = 0;
    for n in 0u32..4000 {
        f.clients[0].initiator.handle_inner(f.now, &packet(own, far, &n.to_be_bytes()));
        f.core_packet(&packet(far, own, &n.to_be_bytes()));
        sent += 1;
        f.run(SECOND / 20, |_| false);
    }
    f.run(SECOND, |_| false);
    let children = f.clients[0].events.iter().filter(|e| matches!(e, Event::ChildUp(..))).count();
    assert!(children > 5, "{children} child SAs");
    let down = f.clients[0].inner.iter().filter(|p| p.get(8..24) == Some(&far.octets()[..])).count();
    assert_eq!((f.core.len(), down), (sent, sent), "{:?}", f.drops());
    assert_eq!(dead(&f, 0), None);
}

#[test]
fn a_client_that_vanishes_is_cleaned_up() {
    let mut f = Fabric::new(&yaml(2, ""), 0.0);
    f.add(client(0));
    f.add(client(1));
    assert!(f.run(30 * SECOND, |f| complete(f, 0) && complete(f, 1)));
    f.clients.remove(1);
    f.run(300 * SECOND, |f| f.sessions.len() == 1);
    f.run(60 * SECOND, |_| false);
    assert_eq!(f.sessions.len(), 1);
    assert_eq!(f.routes.len(), 3);
    assert_eq!(dead(&f, 0), None);
}

#[test]
fn a_lossy_network_only_delays() {
    let mut f = Fabric::new(&yaml(20, ""), 0.1);
    for i in 0..20 {
        f.add(client(i));
    }
    assert!(
        f.run(300 * SECOND, |f| (0..20).all(|i| complete(f, i))),
        "{:?}",
        f.clients.iter().map(|c| &c.events).collect::<Vec<_>>()
    );
}

#[test]
fn a_thousand_initiators_connect_stay_and_leave() {
    const N: usize = 1000;
    let mut f = Fabric::new(&yaml(N, ""), 0.0);
    let before = resident();
    for i in 0..N {
        f.add(client(i));
    }
    assert!(f.run(120 * SECOND, |f| (0..N).all(|i| complete(f, i))));
    let per_session = resident().saturating_sub(before) / N;
    println!(
        "{N} softwires up; {per_session} octets of memory each, both ends of all protocols and the workers together"
    );
    let far: Ipv6Addr = SERVER.parse().unwrap();
    for i in 0..N {
        let own = address6(&f, i).unwrap();
        f.clients[i].initiator.handle_inner(f.now, &packet(own, far, b"up"));
    }
    f.run(120 * SECOND, |_| false);
    assert_eq!(f.core.len(), N);
    assert!(f.data_plane.handed() > 0, "no packet had to go from worker to worker");
    for i in 0..N {
        f.core_packet(&packet(far, address6(&f, i).unwrap(), &[b'd', i as u8]));
        f.run(Duration::ZERO, |_| false);
    }
    f.run(SECOND, |_| false);
    let down = |c: &fabric::Client| c.inner.iter().filter(|p| p.get(40) == Some(&b'd')).count();
    assert!(f.clients.iter().all(|c| down(c) == 1), "{:?}", f.drops());
    assert!((0..N).all(|i| dead(&f, i).is_none()));
    // All inner addresses are different.
    let mut own: Vec<_> = (0..N).filter_map(|i| address6(&f, i)).collect();
    own.sort();
    own.dedup();
    assert_eq!(own.len(), N);
    for i in 0..N {
        f.clients[i].initiator.close(f.now);
    }
    f.run(60 * SECOND, |f| f.gateway.is_idle());
    assert!(f.gateway.is_idle() && f.routes.is_empty());
}

fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

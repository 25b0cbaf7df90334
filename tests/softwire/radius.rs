//! Subscribers from RADIUS, through the whole gateway: control plane, workers, initiators and servers on one clock.

use crate::fabric::{Fabric, SERVER};
use crate::servers::{SECRET, dynamic};
use crate::{SECOND, address6, client, complete, dead, packet, yaml};
use controlplane::audit::Verb;
use dataplane_api::{Rate, SessionId};
use radius::attribute::*;
use radius::{AttributeList, Code, vendor};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

const COA: &str = "127.0.0.2:9000";

fn config(n: usize) -> String {
    let text = yaml(n, "");
    let (before, _) = text.split_once("subscribers:").unwrap();
    format!(
        "{before}filters: [{{ name: none, rules: [{{ action: deny }}] }}]\n\
         aaa:\n  servers:\n    - {{ name: a, address: 127.0.0.1, secret: radius-secret, timeout: 500ms, tries: 2, dead_time: 5s }}\n\
         \x20   - {{ name: b, address: 127.0.0.3, secret: radius-secret, timeout: 500ms, tries: 2, dead_time: 5s }}\n\
         \x20 dynamic: {{ listen: [], clients: [{{ address: 127.0.0.2, secret: radius-secret }}] }}\n"
    )
    .replace("listen: []", "listen: [\"127.0.0.1:3799\"]")
}

/// A gateway whose servers know `n` users, each accepted with what `fill` says.
fn fabric(n: usize, fill: impl Fn(usize, &mut AttributeList)) -> Fabric {
    let mut f = Fabric::new(&config(n), 0.0);
    f.gateway.start_accounting(f.now, [].into_iter());
    for i in 0..n {
        let mut list = AttributeList::new();
        fill(i, &mut list);
        f.servers.users.insert(format!("u{i}"), (format!("secret-{i}").into_bytes(), list));
    }
    f
}

fn up(f: &mut Fabric, i: usize) {
    assert!(f.run(30 * SECOND, |f| complete(f, i)), "{:?} {:?} {:?}", f.clients[i].events, f.drops(), f.audit);
}

fn session(f: &Fabric) -> SessionId {
    assert_eq!(f.sessions.len(), 1);
    *f.sessions.keys().next().unwrap()
}

#[test]
fn an_accept_says_what_the_subscriber_gets() {
    let mut f = fabric(1, |_, l| {
        l.ipv4(FRAMED_IP_ADDRESS, Ipv4Addr::new(10, 99, 7, 7));
        l.ipv6_prefix(FRAMED_IPV6_PREFIX, "2001:db8:77::".parse().unwrap(), 64);
        l.ipv6_prefix(DELEGATED_IPV6_PREFIX, "2001:db8:7700::".parse().unwrap(), 56);
        l.text(FRAMED_ROUTE, "172.20.0.0/16 10.99.7.7 1").text(FRAMED_IPV6_ROUTE, "2001:db8:aaaa::/48 :: 1");
        l.u32(FRAMED_MTU, 1300).u32(vendor::RATE_UP, 8000).text(FILTER_ID, "none");
        l.interface_id(FRAMED_INTERFACE_ID, [0, 0, 0, 0, 0, 0, 0, 0x77]);
    });
    f.add(client(0));
    up(&mut f, 0);
    let id = session(&f);
    for prefix in ["10.99.7.7/32", "2001:db8:77::/64", "2001:db8:7700::/56", "172.20.0.0/16", "2001:db8:aaaa::/48"] {
        assert_eq!(f.routes.get(prefix), Some(&id), "{prefix} {:?}", f.routes);
    }
    let s = f.sessions[&id];
    assert_eq!((s.mtu, s.rate.down), (1300, None));
    assert_eq!(s.rate.up, Some(Rate { bits_per_second: 8_000_000, burst: 100_000 }));
    assert_eq!(s.inner.link_local, Some("fe80::77".parse().unwrap()));
    // The filter lets nothing through.
    let own = address6(&f, 0).unwrap();
    f.clients[0].initiator.handle_inner(f.now, &packet(own, SERVER.parse().unwrap(), b"up"));
    f.run(SECOND, |_| false);
    assert_eq!((f.drops().get("filtered"), f.core.len()), (Some(&1), 0));
}

// Records and the subscriber agree to the octet, also on what passed last.
#[test]
fn the_last_record_has_the_last_packet() {
    let mut f = fabric(1, |_, _| ());
    f.add(client(0));
    up(&mut f, 0);
    let far: Ipv6Addr = SERVER.parse().unwrap();
    let own = address6(&f, 0).unwrap();
    let (mut input, mut output) = (0, 0);
    for n in 0..20 {
        let payload = vec![7; n * 10];
        let (there, back) = (packet(own, far, &payload), packet(far, own, &[&payload[..], b"xx"].concat()));
        (input, output) = (input + there.len() as u64, output + back.len() as u64);
        f.clients[0].initiator.handle_inner(f.now, &there);
        f.core_packet(&back);
        f.run(SECOND / 10, |_| false);
    }
    assert_eq!((f.core.len(), f.clients[0].inner.len()), (20, 20));
    f.clients[0].initiator.close(f.now);
    f.run(30 * SECOND, |f| f.gateway.is_idle());
    let (start, stop) = (f.servers.of("u0", 1), f.servers.of("u0", 2));
    assert_eq!((start.len(), stop.len()), (1, 1), "{:?}", f.servers.records);
    assert_eq!((stop[0].session.as_str(), stop[0].cause), (start[0].session.as_str(), 1));
    assert_eq!((stop[0].input, stop[0].output), (input, output));
}

#[test]
fn what_cannot_be_honoured_is_a_reject_that_names_the_attribute() {
    let mut f = fabric(4, |i, l| match i {
        0 => drop(l.text(FRAMED_POOL, "nowhere")),
        1 => drop(l.text(FILTER_ID, "unknown")),
        2 => drop(l.ipv6_prefix(FRAMED_IPV6_PREFIX, "2001:db8::".parse().unwrap(), 48)),
        _ => drop(l.u32(SERVICE_TYPE, 1)),
    });
    for i in 0..4 {
        f.add(client(i));
    }
    assert!(f.run(60 * SECOND, |f| (0..4).all(|i| dead(f, i).is_some())));
    for (i, name) in ["Framed-Pool", "Filter-Id", "Framed-IPv6-Prefix", "Service-Type"].iter().enumerate() {
        let user = format!("u{i}");
        let reject = f.audit.iter().find(|r| r.verb == Verb::Reject && r.user.as_deref() == Some(&user)).unwrap();
        assert!(reject.reason.starts_with(name), "{}", reject.reason);
    }
    assert!(f.sessions.is_empty() && f.routes.is_empty());
}

// H3: the same user takes over, another one does not.
#[test]
fn an_address_has_one_holder() {
    let mut f = fabric(2, |_, l| _ = l.ipv4(FRAMED_IP_ADDRESS, Ipv4Addr::new(10, 99, 7, 7)));
    f.add(client(0));
    up(&mut f, 0);
    f.add(client(1));
    assert!(f.run(30 * SECOND, |f| dead(f, 1).is_some()));
    let reject = f.audit.iter().find(|r| r.verb == Verb::Reject).unwrap();
    assert_eq!(reject.reason, "Framed-IP-Address: in use by another subscriber");
    let again = softwire_initiator::Config { local: [198, 18, 9, 9].into(), ..client(0) };
    f.add(again);
    up(&mut f, 2);
    f.run(30 * SECOND, |f| f.sessions.len() == 1);
    assert_eq!(f.routes["10.99.7.7/32"], session(&f));
    let ended: Vec<_> = f.servers.of("u0", 2).iter().map(|r| r.cause).collect();
    assert_eq!((f.servers.of("u0", 1).len(), ended), (2, vec![13]));
}

#[test]
fn time_limits_end_a_session_with_their_cause() {
    let mut f = fabric(2, |i, l| _ = l.u32(if i == 0 { SESSION_TIMEOUT } else { IDLE_TIMEOUT }, 20));
    for i in 0..2 {
        f.add(client(i));
        up(&mut f, i);
    }
    f.run(15 * SECOND, |_| false);
    assert_eq!(f.sessions.len(), 2);
    assert!(f.run(60 * SECOND, |f| f.sessions.is_empty()), "{:?}", f.audit);
    f.run(SECOND, |_| false);
    assert_eq!((f.servers.of("u0", 2)[0].cause, f.servers.of("u1", 2)[0].cause), (5, 4));
}

#[test]
fn a_session_is_changed_and_ended_from_outside() {
    let mut f = fabric(1, |_, _| ());
    f.add(client(0));
    up(&mut f, 0);
    let (now, from): (_, SocketAddr) = (f.now, COA.parse().unwrap());
    let list = |fill: &dyn Fn(&mut AttributeList)| {
        let mut list = AttributeList::new();
        list.u32(EVENT_TIMESTAMP, 0);
        fill(&mut list);
        list
    };
    let mut id = 0;
    let mut say = |f: &mut Fabric, code, fill: &dyn Fn(&mut AttributeList)| {
        id += 1;
        dynamic(&mut f.gateway, now, from, code, id, &list(fill))
    };
    let coa = Code::CoaRequest;
    for (cause, fill) in [
        (503, &(|l: &mut AttributeList| _ = l.text(USER_NAME, "nobody")) as &dyn Fn(&mut AttributeList)),
        (401, &|l| _ = l.text(USER_NAME, "u0").u32(FRAMED_MTU, 1000)),
        (402, &|l| _ = l.u32(SESSION_TIMEOUT, 9)),
        (403, &|l| _ = l.text(USER_NAME, "u0").text(NAS_IDENTIFIER, "another")),
        (407, &|l| _ = l.text(USER_NAME, "u0").text(FILTER_ID, "unknown")),
    ] {
        assert_eq!(say(&mut f, coa, fill), Some((Code::CoaNak, cause)));
    }
    assert_eq!(f.sessions[&session(&f)].filter, None);
    let changed = say(&mut f, coa, &|l| _ = l.text(USER_NAME, "u0").u32(vendor::RATE_DOWN, 64).text(FILTER_ID, "none"));
    assert_eq!(changed, Some((Code::CoaAck, 0)));
    f.run(SECOND, |_| false);
    let s = f.sessions[&session(&f)];
    assert_eq!((s.rate.down.unwrap().bits_per_second, s.rate.up, s.filter.is_some()), (64_000, None, true));
    // Nobody else is heard, and an old request neither.
    let stranger: SocketAddr = "127.0.0.9:9000".parse().unwrap();
    let end = list(&|l| _ = l.text(USER_NAME, "u0"));
    assert_eq!(dynamic(&mut f.gateway, now, stranger, Code::DisconnectRequest, 99, &end), None);
    f.gateway.set_clock(now, Duration::from_secs(1000));
    assert_eq!(dynamic(&mut f.gateway, now, from, Code::DisconnectRequest, 99, &end), None);
    f.gateway.set_clock(now, Duration::ZERO);
    assert_eq!(dynamic(&mut f.gateway, now, from, Code::DisconnectRequest, 100, &end), Some((Code::DisconnectAck, 0)));
    assert!(f.run(30 * SECOND, |f| f.sessions.is_empty()));
    f.run(SECOND, |_| false);
    assert_eq!(f.servers.of("u0", 2)[0].cause, 6);
    assert_eq!(SECRET, b"radius-secret");
}

// One server of two dies while many come in: all of them get in, and every record arrives once.
#[test]
fn a_server_that_dies_rejects_nobody() {
    let n = 100;
    let mut f = fabric(n, |_, _| ());
    for i in 0..n {
        f.add(client(i));
        f.run(SECOND / 50, |_| false);
        if i == 30 {
            f.servers.up[0] = false;
        }
        if i == 70 {
            f.servers.up[0] = true;
        }
    }
    assert!(f.run(120 * SECOND, |f| (0..n).all(|i| complete(f, i))), "{:?}", f.audit);
    assert!(f.audit.iter().all(|r| r.verb == Verb::Accept), "{:?}", f.audit);
    f.run(60 * SECOND, |_| false);
    assert!(f.servers.answered.iter().all(|n| *n > 20), "{:?}", f.servers.answered);
    let starts: std::collections::BTreeSet<_> =
        f.servers.records.iter().filter(|r| r.status == 1).map(|r| &r.session).collect();
    assert_eq!(starts.len(), n);
}

#[test]
fn without_an_answer_nobody_gets_in() {
    let mut f = fabric(1, |_, _| ());
    f.servers.up = [false; 2];
    f.add(client(0));
    assert!(f.run(60 * SECOND, |f| dead(f, 0).is_some()));
    let reject = f.audit.iter().find(|r| r.verb == Verb::Reject).unwrap();
    assert_eq!(reject.reason, "no RADIUS server answers");
}

// PPP by every method of the initiator's, checked by the embedded file; MS-CHAPv2 proves the gateway, too.
#[test]
fn the_embedded_file_does_mschapv2() {
    for (secret, accepted) in [("secret-0", true), ("wrong", false)] {
        let text = yaml(1, "").replace("local_ipv4: 10.99.0.1", "local_ipv4: 10.99.0.1, authenticate: [mschapv2]");
        let mut f = Fabric::new(&text, 0.0);
        let mut c = client(0);
        c.ppp.credentials = Some(ppp::Credentials {
            name: b"u0".to_vec(),
            secret: ppp::Secret::new(secret.as_bytes()),
            methods: vec![ppp::AuthMethod::MsChapV2],
        });
        f.add(c);
        assert!(f.run(30 * SECOND, |f| complete(f, 0) || dead(f, 0).is_some()));
        assert_eq!(complete(&f, 0), accepted, "{:?}", f.clients[0].events);
    }
}

// A user has as many sessions as AAA allows; one that the same device has left behind gives way, another's does not.
#[test]
fn a_user_has_so_many_sessions() {
    let mut f = fabric(2, |_, l| _ = l.u32(PORT_LIMIT, 1));
    let known = f.servers.users["u0"].clone();
    f.add(client(0));
    up(&mut f, 0);
    // The user's name, from the device of somebody else.
    let mut other = client(1);
    other.ppp.credentials = client(0).ppp.credentials;
    f.add(other);
    assert!(f.run(30 * SECOND, |f| dead(f, 1).is_some()));
    let reject = f.audit.iter().find(|r| r.verb == Verb::Reject).unwrap();
    assert_eq!(reject.reason, "Port-Limit: 1 sessions are up");
    f.servers.users.insert("u0".into(), (known.0, AttributeList::new()));
    let mut other = softwire_initiator::Config { local: [198, 18, 9, 9].into(), ..client(1) };
    other.ppp.credentials = client(0).ppp.credentials;
    f.add(other);
    up(&mut f, 2);
    assert_eq!(f.sessions.len(), 2);
}

#[test]
fn a_session_is_authorized_anew() {
    let mut f = fabric(1, |_, _| ());
    f.add(client(0));
    up(&mut f, 0);
    let secret = f.servers.users["u0"].0.clone();
    let mut list = AttributeList::new();
    list.u32(vendor::RATE_UP, 512);
    f.servers.users.insert("u0".into(), (secret, list));
    let mut request = AttributeList::new();
    request.u32(EVENT_TIMESTAMP, 0).text(USER_NAME, "u0").u32(SERVICE_TYPE, 17).octets(STATE, b"again");
    let (now, from) = (f.now, COA.parse().unwrap());
    assert_eq!(dynamic(&mut f.gateway, now, from, Code::CoaRequest, 1, &request), Some((Code::CoaNak, 507)));
    f.run(SECOND, |_| false);
    assert_eq!(f.sessions[&session(&f)].rate.up.unwrap().bits_per_second, 512_000);
    assert!(complete(&f, 0) && dead(&f, 0).is_none());
}

#[test]
fn an_address_by_dhcpv6_and_the_records_of_the_tunnel() {
    let text = config(1).replace("  dynamic:", "  accounting: { tunnels: true }\n  dynamic:");
    let mut f = Fabric::new(&text, 0.0);
    f.gateway.start_accounting(f.now, [].into_iter());
    let mut list = AttributeList::new();
    list.ipv6(FRAMED_IPV6_ADDRESS, "2001:db8:aaaa::5".parse().unwrap());
    f.servers.users.insert("u0".into(), (b"secret-0".to_vec(), list));
    f.add(client(0));
    up(&mut f, 0);
    let find = |e: &softwire_initiator::Event| match e {
        softwire_initiator::Event::Ipv6LinkLocal(a) => Some(*a),
        _ => None,
    };
    let own = f.clients[0].events.iter().find_map(find).unwrap();
    let duid = dhcp6::Duid::uuid([7; 16]);
    let config = dhcp6::ClientConfig { duid, iaid: 9, address: true, length: None, rapid_commit: true };
    let rng = <rand::rngs::StdRng as rand::SeedableRng>::from_seed([3; 32]);
    let mut dhcp = dhcp6::Client::new(config, Box::new(rng));
    dhcp.start(f.now);
    // The initiator keeps the answers to itself; that the address is bound shows in its route.
    let solicit = dhcp.poll_transmit().unwrap();
    f.clients[0].initiator.handle_inner(f.now, &dhcp6::packet::to_servers(own, &solicit).unwrap());
    f.run(SECOND, |_| false);
    assert_eq!(f.routes.get("2001:db8:aaaa::5/128"), Some(&session(&f)));
    f.clients[0].initiator.close(f.now);
    f.run(30 * SECOND, |f| f.gateway.is_idle());
    let statuses: Vec<_> = f.servers.records.iter().filter(|r| r.user == "u0").map(|r| r.status).collect();
    assert_eq!(statuses, [9, 1, 2, 10]);
}

/// A DHCPv6 server elsewhere: unwraps, answers for each session with a prefix of its own, and wraps again.
struct Elsewhere(std::collections::HashMap<Vec<u8>, dhcp6::Server>);

impl Elsewhere {
    fn answer(&mut self, now: std::time::Instant, forward: &[u8]) -> Vec<u8> {
        let mut rest = &forward[34..];
        let (mut id, mut inner) = (Vec::new(), Vec::new());
        while let [c0, c1, l0, l1, tail @ ..] = rest {
            let (value, after) = tail.split_at(usize::from(u16::from_be_bytes([*l0, *l1])));
            match u16::from_be_bytes([*c0, *c1]) {
                9 => inner = value.to_vec(),
                18 => id = value.to_vec(),
                _ => {}
            }
            rest = after;
        }
        let n = self.0.len() as u128;
        let server = self.0.entry(id.clone()).or_insert_with(|| {
            let prefix = Ipv6Addr::from(0x2001_0db8_eeee_0000_u128 << 64 | n << 72);
            dhcp6::Server::new(dhcp6::ServerConfig {
                duid: dhcp6::Duid::enterprise(32473, b"elsewhere"),
                prefixes: dhcp6::Prefix::new(prefix, 56).into_iter().collect(),
                addresses: Vec::new(),
                preferred: 3600,
                valid: 7200,
                dns: Vec::new(),
            })
        });
        let reply = server.handle_input(now, &inner).unwrap();
        let option = |code: u8, value: &[u8]| [&[0, code][..], &(value.len() as u16).to_be_bytes(), value].concat();
        [&[13][..], &forward[1..34], &option(18, &id), &option(9, &reply)].concat()
    }
}

#[test]
fn a_dhcpv6_server_elsewhere_delegates_and_we_route() {
    let text = yaml(2, "").replace("ppp: {", "dhcp6: { relay: [\"2001:db8:c::547\"] }\nppp: {");
    let mut f = Fabric::new(&text, 0.0);
    let mut server = Elsewhere(std::collections::HashMap::new());
    for i in 0..2 {
        f.add(client(i));
    }
    for _ in 0..300 {
        f.run(SECOND / 10, |_| false);
        while let Some(forward) = f.gateway.poll_relayed() {
            let reply = server.answer(f.now, &forward);
            f.gateway.relay_input(f.now, &reply);
            // Again, and for nobody: nothing comes of it.
            f.gateway.relay_input(f.now, &reply);
            f.gateway.relay_input(f.now, &[&reply[..30], &[0; 9]].concat());
        }
    }
    assert!((0..2).all(|i| complete(&f, i)), "{:?}", f.clients[0].events);
    let routed: Vec<_> = ["2001:db8:eeee::/56", "2001:db8:eeee:100::/56"].iter().map(|p| f.routes[*p]).collect();
    assert_ne!(routed[0], routed[1]);
    f.clients[0].initiator.close(f.now);
    f.run(30 * SECOND, |f| f.sessions.len() == 1);
    assert_eq!(f.routes.keys().filter(|p| p.starts_with("2001:db8:eeee")).count(), 1);
}

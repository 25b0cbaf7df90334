//! A peer that speaks PPP with the gateway, whose workers are only a queue.

use super::*;
use crate::config::Config;
use crate::program::Output;
use dataplane_api::{Counters, Inject, MacAddr, PortId, PuntClass, PuntMeta, SnapshotOp, WorkerId};
use std::collections::HashSet;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

struct Lab {
    now: Instant,
    gateway: Gateway,
    id: SessionId,
    peer: ppp::Link,
    routes: HashSet<String>,
}

fn peer(now: Instant, user: &str, secret: &str) -> ppp::Link {
    let credentials = ppp::Credentials {
        name: user.into(),
        secret: ppp::Secret::new(secret.as_bytes()),
        methods: vec![ppp::AuthMethod::ChapMd5],
    };
    let config = ppp::Config { credentials: Some(credentials), ..ppp::Config::default() };
    let rng: rand::rngs::StdRng = rand::SeedableRng::from_seed([5; 32]);
    let mut link = ppp::Link::new(now, config, Box::new(rng));
    link.open(now);
    link
}

impl Lab {
    fn new() -> Self {
        let text = "ports: [{ name: a, device: d, zone: trusted, addresses: [10.0.0.1/24] }]\n\
                    listeners: [{ name: l, address: 10.0.0.1, protection: none }]\n\
                    filters: [{ name: closed, rules: [{ action: deny }] }]\n\
                    ppp: { local_ipv4: 10.9.0.1 }\npools: { ipv4: [10.9.0.0/24] }\n\
                    subscribers: [{ user: alice, secret: wonderland }, { user: bob, secret: builder }]\n";
        let config = Arc::new(Config::from_yaml("t", text).unwrap_or_else(|e| panic!("{e}")));
        let (now, counters) = (Instant::now(), vec![Arc::new(Counters::new(16, 16))]);
        let mut gateway = Gateway::new(config, now, &[MacAddr([2; 6])], counters, [7; 32]).unwrap();
        let id = gateway.program.allocation().session(WorkerId(0)).unwrap();
        let up = l2tp::SessionUp {
            id: id.0,
            peer_tunnel: 1,
            peer_session: 1,
            peer_host_name: "peer".into(),
            sequencing: false,
            local: "10.0.0.1:1701".parse().unwrap(),
            remote: "10.0.0.9:1701".parse().unwrap(),
            binding: None,
        };
        gateway.l2tp_event(now, l2tp::Event::SessionOffered(up.clone()));
        gateway.l2tp_event(now, l2tp::Event::SessionUp(up));
        Self { now, gateway, id, peer: peer(now, "alice", "wonderland"), routes: HashSet::new() }
    }

    fn run(&mut self) {
        for _ in 0..100 {
            self.now += SECOND / 10;
            self.peer.handle_timeout(self.now);
            self.gateway.handle_timeout(self.now);
            while let Some(event) = self.peer.poll_event() {
                if let ppp::Event::LinkUp { .. } = event {
                    let ipv4 = Some(ppp::IpcpConfig::default());
                    self.peer.start_network(self.now, ppp::NetworkConfig { ipv4, ipv6: None });
                }
            }
            while let Some(frame) = self.peer.poll_transmit() {
                let meta = PuntMeta {
                    class: PuntClass::PppControl,
                    port: PortId(0),
                    spi: None,
                    src: "10.0.0.9:1701".parse().unwrap(),
                    dst: "10.0.0.1:1701".parse().unwrap(),
                    peer: None,
                    session: Some(self.id),
                    ttl: 64,
                };
                self.gateway.handle_punt(self.now, &meta, &frame);
            }
            while let Some(output) = self.gateway.poll_output() {
                match output {
                    Output::Inject(_, m) if m.how == Inject::Ppp(self.id) => self.peer.handle_input(self.now, &m.data),
                    Output::Snapshot(SnapshotOp::RouteAdd(p, _)) => drop(self.routes.insert(p.to_string())),
                    Output::Snapshot(SnapshotOp::RouteDel(p)) => drop(self.routes.remove(&p.to_string())),
                    _ => {}
                }
            }
        }
    }

    /// The session of this lab's AAA, as if a server had said so.
    fn answer(&mut self, who: Who, fill: impl FnOnce(&mut crate::aaa::Profile)) {
        let mut accept = Accept::default();
        fill(&mut accept.profile);
        let now = self.now;
        self.gateway.aaa_answer(now, who, Answer::Accept(Box::new(accept)));
        self.run();
    }

    fn state(&self) -> Option<(State, &str)> {
        in_step(&self.gateway);
        self.gateway.subscribers.get(&self.id).map(|s| (s.state, s.user.as_str()))
    }
}

#[test]
fn a_link_negotiated_anew_is_its_users_again() {
    let mut lab = Lab::new();
    lab.run();
    assert_eq!(lab.state(), Some((State::Open, "alice")));
    let before = lab.gateway.subscribers[&lab.id].leases.clone();
    lab.peer = peer(lab.now, "alice", "wonderland");
    lab.run();
    assert_eq!(lab.state(), Some((State::Open, "alice")));
    let s = &lab.gateway.subscribers[&lab.id];
    assert_eq!((&s.leases, s.routes.len()), (&before, 1));
    assert!(lab.routes.contains(&before.ipv4.unwrap().to_string()));
}

#[test]
fn a_session_does_not_become_somebody_elses() {
    let mut lab = Lab::new();
    lab.run();
    lab.peer = peer(lab.now, "bob", "builder");
    lab.run();
    assert!(matches!(lab.state(), None | Some((State::Closing, "alice"))), "{:?}", lab.state());
    let reject = lab.gateway.audit.iter().find(|r| r.verb == Verb::Reject).unwrap();
    assert_eq!((reject.user.as_deref(), reject.reason.as_str()), (Some("alice"), "\"bob\" in a session of \"alice\""));
}

#[test]
fn limits_that_cannot_be_had_change_nothing() {
    let mut lab = Lab::new();
    lab.run();
    let again = Who::Again(lab.id);
    lab.answer(again, |p| p.limits.filter = Some("closed".into()));
    assert_eq!(lab.gateway.subscribers[&lab.id].session.filter, Some(FilterId(0)));
    // Silence leaves the session as it is; a filter that nobody knows does not open it, but ends it.
    lab.gateway.aaa_answer(lab.now, again, Answer::Silence);
    lab.run();
    assert_eq!(lab.state(), Some((State::Open, "alice")));
    lab.answer(again, |p| p.limits.filter = Some("unknown".into()));
    let s = lab.gateway.subscribers.get(&lab.id);
    assert!(s.is_none_or(|s| s.session.filter == Some(FilterId(0)) && s.state == State::Closing));
}

#[test]
fn a_session_that_ends_takes_nothing_from_its_successor() {
    let mut lab = Lab::new();
    lab.run();
    lab.gateway.disconnect(lab.now, lab.id, Cause::AdminReset, "test");
    let address = lab.gateway.subscribers[&lab.id].leases.ipv4.unwrap();
    lab.gateway.pools.give_back(address, lab.id.0);
    assert_eq!(lab.gateway.pools.claim(address, 77), Ok(()));
    lab.gateway.aaa_answer(lab.now, Who::Session(lab.id), Answer::Accept(Box::default()));
    assert_eq!(lab.gateway.pools.claim(address, 78), Err(crate::pool::Refused::Held(77)));
    let s = &lab.gateway.subscribers[&lab.id];
    assert_eq!((s.state, s.leases.ipv4), (State::Closing, Some(address)));
}

// H23: what EAP says outside the tunnel is only a claim.
#[test]
fn the_user_is_whom_aaa_has_authenticated() {
    let mut lab = Lab::new();
    let accept = |user: &str| {
        let profile = crate::aaa::Profile { user: Some(user.into()), ..Default::default() };
        Accept { profile, eap: Some(vec![3, 1, 0, 4]), ..Accept::default() }
    };
    let (now, id) = (lab.now, lab.id);
    let s = lab.gateway.subscribers.get_mut(&id).unwrap();
    (s.claimed, s.must_be) = ("alice".into(), Some("alice".into()));
    let why = lab.gateway.admit(now, id, &accept("bob")).unwrap_err();
    assert_eq!(why, "IKE has authenticated \"alice\" (H23)");
    lab.gateway.subscribers.get_mut(&id).unwrap().claimed = "anonymous".into();
    lab.gateway.admit(now, id, &accept("alice")).unwrap();
    assert_eq!(lab.gateway.subscribers[&id].user, "alice");
}

#[test]
fn more_prefixes_than_there_is_room_for_are_refused() {
    let mut lab = Lab::new();
    let routes = |n: u8| {
        let prefix = |i| dataplane_api::IpPrefix::new([172, 16, i, 0].into(), 24).unwrap();
        let profile = crate::aaa::Profile { routes: (0..n).map(prefix).collect(), ..Default::default() };
        Accept { profile, ..Accept::default() }
    };
    let (now, id) = (lab.now, lab.id);
    let why = lab.gateway.admit(now, id, &routes(16)).unwrap_err();
    assert_eq!(why, "Framed-Route: more than 16 prefixes");
    assert_eq!(lab.gateway.admit(now, id, &routes(15)), Ok(()));
    assert_eq!(lab.gateway.subscribers[&id].leases.prefixes().count(), 16);
}

#[test]
fn a_link_negotiated_anew_has_its_new_limits() {
    let mut lab = Lab::new();
    lab.run();
    let limits = crate::aaa::Limits { session_timeout: Some(SECOND * 3600), ..Default::default() };
    let accept = Accept { profile: crate::aaa::Profile { limits, ..Default::default() }, ..Accept::default() };
    lab.gateway.subscribers.get_mut(&lab.id).unwrap().state = State::Network;
    lab.gateway.admit(lab.now, lab.id, &accept).unwrap();
    lab.gateway.opened(lab.now, lab.id);
    let left = lab.gateway.subscribers[&lab.id].meter.as_ref().unwrap().left(lab.now).unwrap();
    assert!(left > SECOND * 3500 && left <= SECOND * 3600, "{left:?}");
}

/// A gateway for clients of IKEv1 with one shared secret.
fn v1_gateway(now: Instant) -> Gateway {
    let text = "ports: [{ name: a, device: d, zone: public, addresses: [192.0.2.1/24] }]\n\
                listeners: [{ name: l, address: 192.0.2.1, ikev1: { shared_secret: { secret: k } } }]\n\
                ppp: { local_ipv4: 10.9.0.1 }\npools: { ipv4: [10.9.0.0/24] }\n\
                subscribers: [{ user: alice, secret: wonderland }, { user: bob, secret: builder }]\n";
    let config = Arc::new(Config::from_yaml("t", text).unwrap_or_else(|e| panic!("{e}")));
    Gateway::new(config, now, &[MacAddr([2; 6])], vec![Arc::new(Counters::new(16, 16))], [7; 32]).unwrap()
}

/// IKE version, identity, outer address, Host Name, user.
type Client = (u8, &'static str, &'static str, &'static str, &'static str);

/// A client comes up, and its user is admitted.
fn comes(g: &mut Gateway, now: Instant, n: u32, client: Client) -> SessionId {
    let session = arrives(g, now, n, client);
    g.admit(now, session, &Accept::default()).unwrap();
    in_step(g);
    session
}

/// A client comes up, and says in PPP who it is.
fn arrives(g: &mut Gateway, now: Instant, n: u32, (version, id, outer, host, user): Client) -> SessionId {
    let peer = ike::PeerHandle(std::num::NonZeroU32::new(n).unwrap());
    g.ike_event(
        now,
        ike::Event::PeerUp {
            peer,
            pad: "l/shared-secret".into(),
            local_id: "192.0.2.1".parse().unwrap(),
            remote_id: id.parse().unwrap(),
            local: "192.0.2.1:4500".parse().unwrap(),
            remote: outer.parse().unwrap(),
            natt: true,
            initiator: false,
            suite: String::new(),
            eap_identity: None,
            version,
            weak: Vec::new(),
        },
    );
    let session = g.program.allocation().session(WorkerId(0)).unwrap();
    let mut remote: SocketAddr = outer.parse().unwrap();
    remote.set_port(1701);
    let up = l2tp::SessionUp {
        id: session.0,
        peer_tunnel: 1,
        peer_session: 1,
        peer_host_name: host.into(),
        sequencing: false,
        local: "192.0.2.1:1701".parse().unwrap(),
        remote,
        binding: Some(peer.0),
    };
    g.l2tp_event(now, l2tp::Event::SessionOffered(up.clone()));
    g.l2tp_event(now, l2tp::Event::SessionUp(up));
    assert!(g.may_be(now, session, user.into(), false));
    session
}

/// All sessions are found by their users, and nothing else is.
fn in_step(g: &Gateway) {
    let users: Vec<_> = g.users.iter().collect();
    let mut sessions: Vec<_> = g.subscribers.values().map(|s| (s.user.clone(), s.id)).collect();
    sessions.sort();
    assert!(users.into_iter().eq(&sessions), "{:?}, {sessions:?}", g.users);
}

#[test]
fn a_client_of_ikev1_that_comes_back_replaces_what_it_left_behind() {
    let first = (1, "192.168.1.2", "198.51.100.7:61000", "laptop", "alice");
    for (second, replaced) in [
        ((1, "192.168.1.2", "198.51.100.7:61000", "laptop", "alice"), true),
        ((1, "192.168.1.2", "198.51.100.7:61001", "laptop", "alice"), true),
        ((1, "192.168.1.2", "198.51.100.7:61001", "desktop", "alice"), false),
        ((1, "192.168.1.2", "198.51.100.7:61001", "laptop", "bob"), false),
        ((1, "192.168.1.3", "198.51.100.7:61001", "laptop", "alice"), false),
        ((1, "192.168.1.2", "198.51.100.8:61000", "laptop", "alice"), false),
        ((2, "192.168.1.2", "198.51.100.7:61000", "laptop", "alice"), false),
    ] {
        let now = Instant::now();
        let mut g = v1_gateway(now);
        let old = comes(&mut g, now, 1, first);
        assert_eq!(g.subscribers[&old].user, "alice");
        let address = g.subscribers[&old].leases.ipv4.unwrap();
        let new = comes(&mut g, now, 2, second);
        let gone = g.subscribers.get(&old).is_none_or(|s| s.state == State::Closing);
        assert_eq!(gone, replaced, "{second:?}");
        assert_eq!(g.subscribers[&new].user, second.4);
        // Its addresses are free at once.
        let held = g.pools.claim(address, 77) == Err(crate::pool::Refused::Held(old.0));
        assert_eq!(!held, replaced, "{second:?}");
    }
}

// AAA's answer to the first may come after the one to the second, and must not end that.
#[test]
fn a_client_of_ikev1_that_comes_back_replaces_what_waits_for_aaa() {
    let (now, client) = (Instant::now(), (1, "192.168.1.2", "198.51.100.7:61000", "laptop", "alice"));
    let mut g = v1_gateway(now);
    let old = arrives(&mut g, now, 1, client);
    let new = comes(&mut g, now, 2, client);
    g.aaa_answer(now, Who::Session(old), Answer::Accept(Box::default()));
    in_step(&g);
    assert!(g.subscribers.get(&old).is_none_or(|s| s.state == State::Closing));
    assert!(g.subscribers[&new].state != State::Closing && g.subscribers[&new].profile.is_some());
}

/// Windows sends its SCCRQ right behind the last message of quick mode; when the two change places, the SA on which it
/// comes is not selected yet.
#[test]
fn l2tp_that_comes_before_its_sa_is_selected_is_answered_by_that_sa() {
    let now = Instant::now();
    let mut g = v1_gateway(now);
    let peer = std::num::NonZeroU32::MIN;
    let outer: SocketAddr = "198.51.100.7:61000".parse().unwrap();
    let local: SocketAddr = "192.0.2.1:4500".parse().unwrap();
    g.ike_event(
        now,
        ike::Event::PeerUp {
            peer: ike::PeerHandle(peer),
            pad: "l/shared-secret".into(),
            local_id: "192.0.2.1".parse().unwrap(),
            remote_id: "192.168.1.2".parse().unwrap(),
            local,
            remote: outer,
            natt: true,
            initiator: false,
            suite: String::new(),
            eap_identity: None,
            version: 1,
            weak: Vec::new(),
        },
    );
    let key = || ike::ChildKey { encr: vec![1; 16].into(), integ: vec![2; 32].into() };
    let spi = g.program.allocation().spi(WorkerId(0)).unwrap();
    let child = ike::Child {
        spi_in: spi.0,
        spi_out: 0x1234,
        suite: ike::EspSuite { encr: (12, 128), integ: 0xf096, esn: false, ke: None, addke1: None },
        mode: ike::Mode::Transport,
        tfc: false,
        inbound: key(),
        outbound: key(),
        local_ts: Vec::new(),
        remote_ts: Vec::new(),
        encap: true,
        local,
        remote: outer,
        replaces: None,
        resource: None,
    };
    g.ike_event(now, ike::Event::ChildUp { peer: ike::PeerHandle(peer), child: Box::new(child), select: false });
    let client_ids = Box::new(|_| Some(0x0001_0001));
    let rng: rand::rngs::StdRng = rand::SeedableRng::from_seed([5; 32]);
    let mut client = l2tp::Endpoint::new(Arc::new(l2tp::Config::default()), Box::new(rng), client_ids);
    let (from, to) = ("198.51.100.7:1701".parse().unwrap(), "192.0.2.1:1701".parse().unwrap());
    client.connect(now, from, to, None, None).unwrap();
    let sccrq = client.poll_transmit().unwrap().data;
    let meta = PuntMeta {
        class: PuntClass::L2tpControl,
        port: PortId(0),
        spi: Some(spi),
        src: from,
        dst: to,
        peer: Some(PeerId(peer)),
        session: None,
        ttl: 64,
    };
    g.handle_punt(now, &meta, &sccrq);
    let outputs: Vec<_> = std::iter::from_fn(|| g.poll_output()).collect();
    let at = |wanted: &dyn Fn(&Output) -> bool| outputs.iter().position(wanted).unwrap();
    let selected = at(&|o| matches!(o, Output::Op(_, _, TableOp::PeerSelect { sa: Some(_), .. })));
    let sccrp =
        at(&|o| matches!(o, Output::Inject(_, m) if matches!(m.how, Inject::Udp { peer: Some(p), .. } if p.0 == peer)));
    assert!(selected < sccrp);
}

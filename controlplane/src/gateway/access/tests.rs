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

    fn state(&self) -> Option<(State, &str)> {
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

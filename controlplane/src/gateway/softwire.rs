//! The life of a subscriber: L2TP session, PPP, AAA's answer, addresses, the data plane, and down again.

use super::Gateway;
use crate::aaa::{Answer, Proof, Request};
use crate::audit::{Record, Verb};
use crate::config::{AuthMethod, Config, Protection};
use crate::peer::ppp_mtu;
use crate::subscriber::{Leases, State, Subscriber};
use dataplane_api::{
    Inject, InnerAddresses, IpPrefix, NextHop, OuterPath, PeerId, Session, SessionId, SnapshotOp, TableOp,
};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;
use zeroize::Zeroizing;

/// L2TP's part of the configuration.
pub(super) fn l2tp_config(c: &Config) -> l2tp::Config {
    l2tp::Config {
        host_name: c.l2tp.host_name.clone(),
        hello: c.l2tp.hello,
        dead_after: c.l2tp.dead_after,
        secret: c.l2tp.secret.as_ref().map(|s| l2tp::Secret::new(s.bytes())),
        challenge: c.l2tp.challenge,
        ..l2tp::Config::default()
    }
}

/// A method that the user file cannot check.
fn not_in_the_user_file() -> ppp::AuthVerdict {
    ppp::AuthVerdict::Reject("method not supported by the user file".into())
}

impl Gateway {
    pub(super) fn l2tp_event(&mut self, now: Instant, event: l2tp::Event) {
        match event {
            l2tp::Event::SessionUp(up) => self.session_up(now, &up),
            l2tp::Event::SessionDown { id, reason } => {
                let dead = reason.cause == l2tp::Cause::Timeout;
                self.session_down(now, SessionId(id), &format!("L2TP: {reason}"), dead);
            }
            l2tp::Event::Down { id, .. } => {
                self.program.allocation().free_session(SessionId(id));
                // H47: the SAs go last.
                if let Some(peer) = self.close_after.remove(&SessionId(id)) {
                    self.close_peer(now, peer);
                }
            }
            l2tp::Event::Moved { id, remote } => {
                if let Some(s) = self.subscribers.get_mut(&SessionId(id)) {
                    s.session.outer.remote = remote;
                    self.program.op(s.worker, TableOp::SessionSet(s.session));
                }
            }
        }
    }

    fn session_up(&mut self, now: Instant, up: &l2tp::SessionUp) {
        let id = SessionId(up.id);
        let Some(slot) = id.slot() else { return };
        let Some(listener) = self.config.listener(up.local.ip()).cloned() else { return };
        let peer = up.binding.map(PeerId);
        let keys = peer.and_then(|p| self.peers.get(&p));
        let esp = keys.and_then(|k| k.current_suite());
        let link = self.config.port_of(up.local.ip()).map_or(1500, |(_, p)| p.mtu);
        let mtu = ppp_mtu(link, up.local.is_ipv6(), keys.is_some_and(|k| k.natt), esp);
        let ike_id = keys.map(|k| k.remote_id.clone());
        // A listener that admits anonymous subscribers does so for all of them.
        let anonymous = listener.anonymous;
        let ppp = &self.config.ppp;
        let demand = |m: &AuthMethod| match m {
            AuthMethod::Chap => ppp::AuthMethod::ChapMd5,
            AuthMethod::Pap => ppp::AuthMethod::Pap,
        };
        // Our own name is proven by CHAP only, and only where the link is protected or trusted (H36).
        let credentials = ppp.secret.as_ref().filter(|_| !anonymous || listener.protection == Protection::Ipsec);
        let config = ppp::Config {
            mru: mtu,
            demand: if anonymous { Vec::new() } else { ppp.authenticate.iter().map(demand).collect() },
            credentials: credentials.map(|s| ppp::Credentials {
                name: ppp.name.clone().into_bytes(),
                secret: ppp::Secret::new(s.bytes()),
                methods: vec![ppp::AuthMethod::ChapMd5],
            }),
            our_name: ppp.name.clone().into_bytes(),
            echo_interval: (!ppp.echo.is_zero()).then_some(ppp.echo),
            echo_failures: ppp.echo_failures,
            ..ppp::Config::default()
        };
        let session = Session {
            id,
            peer_tunnel: up.peer_tunnel,
            peer_session: up.peer_session,
            outer: OuterPath { local: up.local, remote: up.remote },
            peer,
            sequencing: up.sequencing,
            pfc: false,
            acfc: false,
            mtu,
            clamp_mss: ppp.clamp_mss,
            inner: InnerAddresses::default(),
        };
        let mut link = ppp::Link::new(now, config, Box::new(StdRng::from_rng(&mut self.rng)));
        link.open(now);
        let subscriber = Subscriber {
            id,
            worker: slot.worker(),
            session,
            state: State::Lcp,
            link,
            dhcp6: None,
            user: String::new(),
            ike_id,
            listener: listener.name,
            anonymous,
            profile: None,
            leases: Leases::default(),
            routes: Vec::new(),
            since: now,
            ending: None,
            advertise: None,
            wakes: None,
        };
        self.program.op(slot.worker(), TableOp::SessionAdd(session));
        self.subscribers.insert(id, subscriber);
        self.pump_link(now, id);
    }

    // Nothing passes any more; the tunnel itself may still have to be closed.
    fn session_down(&mut self, now: Instant, id: SessionId, why: &str, dead: bool) {
        let Some(mut s) = self.subscribers.remove(&id) else { return };
        if let Some(at) = s.wakes {
            self.wakes.remove(&(at, id));
        }
        let record = self.record(&s, Verb::Teardown, s.ending.as_deref().unwrap_or(why), now);
        self.audit.push_back(record);
        for prefix in s.routes.drain(..) {
            self.unroute(prefix);
        }
        self.program.op(s.worker, TableOp::SessionDel(id));
        let user = std::mem::take(&mut s.user);
        s.leases.release(&user, &mut self.pools);
        if let Some(peer) = s.session.peer.filter(|_| dead) {
            self.close_after.insert(id, peer);
        }
    }

    // A pool's own "unreachable" covers the prefix again, also where the subscriber had the whole pool.
    fn unroute(&mut self, prefix: IpPrefix) {
        let pools = &self.config.pools;
        let nets = pools.ipv6.iter().chain(&pools.delegated);
        let whole = nets.filter_map(|n| IpPrefix::new(n.network().into(), n.prefix_len())).any(|n| n == prefix);
        let op = SnapshotOp::RouteAdd(prefix, vec![NextHop::Unreachable]);
        self.program.snapshot(if whole { op } else { SnapshotOp::RouteDel(prefix) });
    }

    fn record(&self, s: &Subscriber, verb: Verb, reason: &str, now: Instant) -> Record {
        let t = self.traffic(s.id);
        Record {
            user: (!s.user.is_empty()).then(|| s.user.clone()),
            ike_id: s.ike_id.clone(),
            listener: Some(s.listener.clone()),
            outer: Some(s.session.outer.remote),
            inner: s.leases.prefixes().collect(),
            session: Some((s.id.tunnel(), s.id.session())),
            octets: (t.in_v4_octets + t.in_v6_octets, t.out_v4_octets + t.out_v6_octets),
            lasted: Some(now.saturating_duration_since(s.since)),
            ..Record::new(verb, reason)
        }
    }

    /// Carries a link's events and frames on, and queues its timer.
    pub(super) fn pump_link(&mut self, now: Instant, id: SessionId) {
        while let Some(event) = self.subscribers.get_mut(&id).and_then(|s| s.link.poll_event()) {
            self.ppp_event(now, id, event);
        }
        let Some(s) = self.subscribers.get_mut(&id) else { return };
        while let Some(frame) = s.link.poll_transmit() {
            self.program.inject(s.worker, Inject::Ppp(id), frame);
        }
        let dhcp6 = s.dhcp6.as_ref().and_then(dhcp6::Server::poll_timeout);
        let due = [s.link.poll_timeout(), s.advertise.map(|a| a.0), dhcp6].into_iter().flatten().min();
        if due != s.wakes {
            if let Some(old) = s.wakes {
                self.wakes.remove(&(old, id));
            }
            if let Some(at) = due {
                self.wakes.insert((at, id));
            }
            s.wakes = due;
        }
    }

    fn ppp_event(&mut self, now: Instant, id: SessionId, event: ppp::Event) {
        let Some(s) = self.subscribers.get_mut(&id) else { return };
        match event {
            ppp::Event::AuthRequest(r) => {
                s.user = String::from_utf8_lossy(&r.name).into_owned();
                let proof = match r.proof {
                    ppp::Proof::Pap { password } => Proof::Pap(Zeroizing::new(password.expose().to_vec())),
                    ppp::Proof::ChapMd5 { id, challenge, response } => Proof::Chap(id, challenge, response.to_vec()),
                    ppp::Proof::MsChapV2 { .. } => return s.link.auth_result(now, not_in_the_user_file()),
                };
                self.aaa.request(&Request { session: id.0, user: s.user.clone(), proof, ike_id: s.ike_id.clone() });
            }
            ppp::Event::EapResponse(_) => s.link.auth_result(now, not_in_the_user_file()),
            ppp::Event::Authenticated => {}
            ppp::Event::LinkUp { mtu, pfc, acfc, .. } => {
                s.session.mtu = s.session.mtu.min(mtu);
                (s.session.pfc, s.session.acfc) = (pfc, acfc);
                self.program.op(s.worker, TableOp::SessionSet(s.session));
                s.state = State::Authorizing;
                if s.anonymous {
                    let ike_id = s.ike_id.clone();
                    self.aaa.request(&Request { session: id.0, user: String::new(), proof: Proof::Anonymous, ike_id });
                } else {
                    self.authorize(now, id);
                }
            }
            ppp::Event::Ipv4Up { local, peer, .. } => {
                s.session.inner.ipv4 = true;
                s.session.inner.local_v4 = Some(local);
                if let Some(peer) = peer {
                    self.attach(id, IpPrefix::host(peer.into()));
                }
                self.opened(id);
            }
            ppp::Event::Ipv6Up { local_iid, peer_iid } => {
                s.session.inner.ipv6 = true;
                s.session.inner.local_v6 = Some(local_iid.link_local());
                s.session.inner.link_local = Some(peer_iid.link_local());
                if let Some(lease) = s.leases.ipv6 {
                    self.attach(id, lease.prefix);
                }
                self.start_ipv6(now, id);
                self.opened(id);
            }
            ppp::Event::Ipv4Down => {
                s.session.inner.ipv4 = false;
                self.program.op(s.worker, TableOp::SessionSet(s.session));
            }
            ppp::Event::Ipv6Down => {
                s.session.inner.ipv6 = false;
                s.advertise = None;
                self.program.op(s.worker, TableOp::SessionSet(s.session));
            }
            ppp::Event::Down(reason) => {
                s.state = State::Closing;
                s.ending.get_or_insert_with(|| format!("PPP: {reason}"));
                self.l2tp.close(now, id.0, l2tp::DownReason::local(1, "the PPP link is down"));
            }
        }
    }

    pub(super) fn aaa_answer(&mut self, now: Instant, id: SessionId, answer: Answer) {
        let Some(s) = self.subscribers.get_mut(&id) else { return };
        match answer {
            Answer::Accept(profile) => {
                s.profile = Some(profile);
                if s.anonymous {
                    self.authorize(now, id);
                } else {
                    s.link.auth_result(now, ppp::AuthVerdict::Accept(ppp::Reply::default()));
                }
            }
            Answer::Reject(why) => {
                self.control.aaa_rejected += 1;
                s.ending.get_or_insert_with(|| format!("AAA: {why}"));
                // The peer learns only that it was refused.
                s.link.auth_result(now, ppp::AuthVerdict::Reject("authentication failed".into()));
                if let Some(s) = self.subscribers.get(&id) {
                    let record = self.record(s, Verb::Reject, why, now);
                    self.audit.push_back(record);
                }
            }
        }
        self.pump_link(now, id);
    }

    // Addresses, then the network protocols. Whoever holds one of the subscriber's own addresses gives way: it is the
    // same subscriber, back from elsewhere (H3).
    fn authorize(&mut self, now: Instant, id: SessionId) {
        let Some(s) = self.subscribers.get_mut(&id) else { return };
        let Some(profile) = s.profile.clone() else { return };
        let user = s.user.clone();
        s.leases.release(&user, &mut self.pools);
        let leases = Leases::assign(&profile, &user, &mut self.pools);
        s.leases = leases;
        let stale: Vec<_> =
            self.subscribers.values().filter(|o| o.id != id && o.leases.clash(&leases)).map(|o| o.id).collect();
        for old in stale {
            if let Some(o) = self.subscribers.get_mut(&old) {
                for prefix in std::mem::take(&mut o.routes) {
                    self.unroute(prefix);
                }
            }
            self.disconnect(now, old, "replaced by a new session of the subscriber");
        }
        let Some(s) = self.subscribers.get_mut(&id) else { return };
        let (local, dns) = (self.config.ppp.local_ipv4, &self.config.ppp.dns);
        let dns: Vec<Ipv4Addr> =
            dns.iter().filter_map(|a| if let IpAddr::V4(a) = a { Some(*a) } else { None }).collect();
        let ipv4 = s.ipv4().filter(|_| local.is_some());
        let network = ppp::NetworkConfig {
            ipv4: ipv4.map(|peer| ppp::IpcpConfig { local, peer: Some(peer), dns, request_dns: false }),
            ipv6: s.leases.ipv6.map(|_| ppp::Ipv6cpConfig::default()),
        };
        if network.ipv4.is_none() && network.ipv6.is_none() {
            s.ending = Some("no address left for the subscriber".into());
            tracing::warn!(user, "address pools are exhausted or not configured");
            s.link.close(now);
        } else {
            s.state = State::Network;
            s.link.start_network(now, network);
            if let Some(s) = self.subscribers.get(&id) {
                let record = self.record(s, Verb::Accept, if s.anonymous { "anonymous" } else { "authenticated" }, now);
                self.audit.push_back(record);
            }
        }
        self.pump_link(now, id);
    }

    // Routes a prefix into the session and lets it be a source; the table change follows with `opened`.
    pub(super) fn attach(&mut self, id: SessionId, prefix: IpPrefix) {
        let Some(s) = self.subscribers.get_mut(&id) else { return };
        if s.admit(prefix) && !s.routes.contains(&prefix) {
            s.routes.push(prefix);
            self.program.snapshot(SnapshotOp::RouteAdd(prefix, vec![NextHop::Session(id)]));
        }
    }

    pub(super) fn detach(&mut self, id: SessionId, prefix: IpPrefix) {
        let Some(s) = self.subscribers.get_mut(&id) else { return };
        s.withdraw(prefix);
        s.routes.retain(|p| *p != prefix);
        self.program.op(s.worker, TableOp::SessionSet(s.session));
        self.unroute(prefix);
    }

    pub(super) fn opened(&mut self, id: SessionId) {
        let Some(s) = self.subscribers.get_mut(&id) else { return };
        if s.state == State::Network {
            s.state = State::Open;
        }
        self.program.op(s.worker, TableOp::SessionSet(s.session));
    }

    /// Ends a softwire in order: PPP, L2TP, then (H47) the IKE SA.
    pub(super) fn disconnect(&mut self, now: Instant, id: SessionId, why: &str) {
        let Some(s) = self.subscribers.get_mut(&id) else { return };
        s.state = State::Closing;
        s.ending.get_or_insert_with(|| why.to_owned());
        if let Some(peer) = s.session.peer {
            self.close_after.insert(id, peer);
        }
        s.link.close(now);
        self.pump_link(now, id);
    }
}

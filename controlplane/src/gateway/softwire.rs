//! The life of a subscriber: L2TP session, PPP, AAA's answer, addresses, the data plane, and down again.

use super::Gateway;
use crate::aaa::{Proof, Reject, Who};
use crate::accounting::Cause;
use crate::audit::{Record, Verb};
use crate::config::ike::PppPolicy;
use crate::config::{AuthMethod, Config, Protection};
use crate::meter::Meter;
use crate::northbound::Event;
use crate::peer::ppp_mtu;
use crate::subscriber::{Dhcp6, Leases, State, Subscriber};
use dataplane_api::{
    Inject, InnerAddresses, IpPrefix, NextHop, OuterPath, PeerId, Rates, Session, SessionId, SnapshotOp, TableOp,
};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

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

impl Gateway {
    pub(super) fn l2tp_event(&mut self, now: Instant, event: l2tp::Event) {
        match event {
            l2tp::Event::SessionOffered(offer) => self.session_offered(now, &offer),
            l2tp::Event::SessionUp(up) => self.session_up(now, &up),
            l2tp::Event::SessionDown { id, reason } => {
                let dead = reason.cause == l2tp::Cause::Timeout;
                let cause = if dead { Cause::LostCarrier } else { Cause::UserRequest };
                self.session_down(now, SessionId(id), cause, &format!("L2TP: {reason}"), dead);
            }
            l2tp::Event::Down { id, .. } => {
                self.free_session(SessionId(id));
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
        let Some(s) = self.subscribers.get_mut(&id) else { return };
        s.state = State::Lcp;
        s.since = now;
        s.session.sequencing = up.sequencing;
        self.program.op(s.worker, TableOp::SessionSet(s.session));
        s.link.open(now);
        self.pump_link(now, id);
    }

    // In the data plane before the peer may speak PPP: its first words would be lost otherwise, and said again after
    // seconds only.
    fn session_offered(&mut self, now: Instant, up: &l2tp::SessionUp) {
        let id = SessionId(up.id);
        if self.is_draining() {
            self.control.drain_session += 1;
            return self.l2tp.close(now, id.0, l2tp::DownReason::local(l2tp::error::code::STOP_SHUTDOWN, "draining"));
        }
        let Some(slot) = id.slot() else { return };
        let Some(listener) = self.config.listener(up.local.ip()).cloned() else {
            return self.l2tp.close(now, up.id, l2tp::DownReason::local(1, "nobody is served here any more"));
        };
        let peer = up.binding.map(PeerId);
        let keys = peer.and_then(|p| self.peers.get(&p));
        let esp = keys.and_then(|k| k.current_suite());
        let link = self.config.port_of(up.local.ip()).map_or(1500, |(_, p)| p.mtu);
        let mtu = ppp_mtu(link, up.local.is_ipv6(), keys.is_some_and(|k| k.natt), esp);
        let ike_id = keys.map(|k| k.remote_id.clone());
        let mut context = self.new_context(up.local, up.remote, ike_id);
        (context.ppp, context.port) = (true, slot.index() as u32);
        context.multi = peer.map(|p| format!("{:08x}-{}", self.boot, p.0));
        let (policy, admitted) = self.ppp_policy(peer);
        let skip = admitted.clone().filter(|_| policy == PppPolicy::Skip);
        // A listener that admits anonymous subscribers does so for all of them.
        let anonymous = listener.anonymous;
        let ppp = &self.config.ppp;
        let demand = |m: &AuthMethod| match m {
            AuthMethod::Chap => ppp::AuthMethod::ChapMd5,
            AuthMethod::Pap => ppp::AuthMethod::Pap,
            AuthMethod::Mschapv2 => ppp::AuthMethod::MsChapV2,
            AuthMethod::Eap => ppp::AuthMethod::Eap,
        };
        // Our own name is proven by CHAP only, and only where the link is protected or trusted (H36).
        let credentials = ppp.secret.as_ref().filter(|_| !anonymous || listener.protection == Protection::Ipsec);
        let config = ppp::Config {
            mru: mtu,
            demand: if anonymous || skip.is_some() {
                Vec::new()
            } else {
                ppp.authenticate.iter().map(demand).collect()
            },
            credentials: credentials.map(|s| ppp::Credentials {
                name: ppp.name.clone().into_bytes(),
                secret: ppp::Secret::new(s.bytes()),
                methods: vec![ppp::AuthMethod::ChapMd5, ppp::AuthMethod::MsChapV2],
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
            rate: Rates::default(),
            filter: None,
        };
        let link = ppp::Link::new(now, config, Box::new(StdRng::from_rng(&mut self.rng)));
        let subscriber = Subscriber {
            id,
            worker: slot.worker(),
            session,
            state: State::Tunnel,
            link,
            dhcp6: None,
            user: String::new(),
            claimed: skip.as_ref().map_or_else(String::new, |a| a.user.clone()),
            must_be: admitted.filter(|_| policy != PppPolicy::Demand).map(|a| a.user),
            skip: skip.map(|a| a.accept),
            host_name: up.peer_host_name.clone(),
            listener: listener.name,
            anonymous,
            context: Arc::new(context),
            profile: None,
            radius: false,
            meter: None,
            accounted: false,
            leases: Leases::default(),
            routes: Vec::new(),
            since: now,
            ending: None,
            advertise: None,
            wakes: None,
        };
        self.program.op(slot.worker(), TableOp::SessionAdd(session));
        let user = subscriber.claimed.clone();
        self.subscribers.insert(id, subscriber);
        self.name(id, user);
    }

    // Nothing passes any more; the tunnel itself may still have to be closed.
    fn session_down(&mut self, now: Instant, id: SessionId, cause: Cause, why: &str, dead: bool) {
        let Some(mut s) = self.subscribers.remove(&id) else { return };
        if let Some(at) = s.wakes {
            self.wakes.remove(&(at, id));
        }
        self.users.remove(&(s.user.clone(), id));
        self.forget(id);
        s.ends(cause, why);
        for prefix in std::mem::take(&mut s.routes) {
            self.program.withdraw(prefix);
        }
        s.leases.release(id.0, &mut self.pools);
        if let Some(peer) = s.session.peer.filter(|_| dead) {
            self.close_after.insert(id, peer);
        }
        let applied = self.program.op(s.worker, TableOp::SessionDel(id));
        self.last_words(now, s, applied);
    }

    pub(super) fn audit_record(&self, s: &Subscriber, verb: Verb, reason: &str, now: Instant) -> Record {
        let t = self.traffic(s.id);
        Record {
            user: (!s.user.is_empty()).then(|| s.user.clone()),
            ike_id: s.context.ike_id.clone(),
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
        let dhcp6 = s.dhcp6.as_ref().and_then(Dhcp6::poll_timeout);
        let meter = s.meter.as_ref().and_then(Meter::poll_timeout);
        let due = [s.link.poll_timeout(), s.advertise.map(|a| a.0), dhcp6, meter].into_iter().flatten().min();
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
                let name = String::from_utf8_lossy(&r.name).into_owned();
                if !self.may_be(now, id, name, r.renewed) {
                    return;
                }
                let proof = match r.proof {
                    ppp::Proof::Pap { password } => Proof::Pap(password),
                    ppp::Proof::ChapMd5 { id, challenge, response } => {
                        Proof::Chap { id, challenge, response: response.to_vec() }
                    }
                    ppp::Proof::MsChapV2 { id, challenge, response } => {
                        Proof::MsChapV2 { id, challenge, response, name: r.name }
                    }
                };
                self.ask(now, Who::Session(id), id, proof);
            }
            ppp::Event::EapResponse(r) => {
                let name = String::from_utf8_lossy(&r.identity).into_owned();
                if self.may_be(now, id, name, r.renewed) {
                    self.ask(now, Who::Session(id), id, Proof::Eap(r.packet));
                }
            }
            ppp::Event::Authenticated => {}
            ppp::Event::LinkUp { mtu, pfc, acfc, .. } => {
                s.session.mtu = s.session.mtu.min(mtu);
                (s.session.pfc, s.session.acfc) = (pfc, acfc);
                self.program.op(s.worker, TableOp::SessionSet(s.session));
                s.state = State::Authorizing;
                match s.skip.clone() {
                    _ if s.anonymous => self.ask(now, Who::Session(id), id, Proof::Anonymous),
                    Some(accept) => match self.admit(now, id, &accept) {
                        Ok(()) => self.start_network(now, id),
                        Err(why) => self.refuse(now, id, Reject { why, ..Reject::default() }),
                    },
                    None => self.start_network(now, id),
                }
            }
            ppp::Event::Ipv4Up { local, .. } => {
                s.session.inner.ipv4 = true;
                s.session.inner.local_v4 = Some(local);
                self.attach_routes(id, true);
                self.opened(now, id);
            }
            ppp::Event::Ipv6Up { local_iid, peer_iid } => {
                s.session.inner.ipv6 = true;
                s.session.inner.local_v6 = Some(local_iid.link_local());
                s.session.inner.link_local = Some(peer_iid.link_local());
                self.attach_routes(id, false);
                self.start_ipv6(now, id);
                self.opened(now, id);
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
                s.ends(cause(&reason), format!("PPP: {reason}"));
                self.l2tp.close(now, id.0, l2tp::DownReason::local(1, "the PPP link is down"));
            }
        }
    }

    /// Opens the network protocols with the addresses that were assigned.
    pub(super) fn start_network(&mut self, now: Instant, id: SessionId) {
        let Some(s) = self.subscribers.get_mut(&id) else { return };
        let (Some(profile), local) = (&s.profile, self.config.ppp.local_ipv4) else { return };
        let configured = self.config.ppp.dns.iter().filter_map(|a| if let IpAddr::V4(a) = a { Some(*a) } else { None });
        let dns: Vec<Ipv4Addr> = if profile.dns4.is_empty() { configured.collect() } else { profile.dns4.clone() };
        let peer_iid = profile.interface_id.map(ppp::InterfaceId);
        let ipv4 = s.ipv4().filter(|_| local.is_some());
        let network = ppp::NetworkConfig {
            ipv4: ipv4.map(|peer| ppp::IpcpConfig { local, peer: Some(peer), dns, request_dns: false }),
            ipv6: s.leases.ipv6.map(|_| ppp::Ipv6cpConfig { peer_iid, ..ppp::Ipv6cpConfig::default() }),
        };
        if network.ipv4.is_none() && network.ipv6.is_none() {
            s.ends(Cause::NasError, "no address left for the subscriber");
            tracing::warn!(user = s.user, "address pools are exhausted or not configured");
            s.link.close(now);
        } else {
            s.state = State::Network;
            s.link.start_network(now, network);
            let assigned = [ipv4.map(|peer| IpPrefix::host(peer.into())), s.leases.ipv6];
            // The workers have a route some milliseconds after it is published, and the first packet to the subscriber may
            // come as soon as it has its address: the session drops what comes before it is open.
            for prefix in assigned.into_iter().flatten() {
                self.attach(id, prefix);
            }
            if let Some(s) = self.subscribers.get(&id) {
                let how = if s.anonymous { "anonymous" } else { "authenticated" };
                let record = self.audit_record(s, Verb::Accept, how, now);
                self.audit.push_back(record);
            }
        }
        self.pump_link(now, id);
    }

    fn attach_routes(&mut self, id: SessionId, v4: bool) {
        let routes = self.subscribers.get(&id).map(|s| s.leases.routes.clone()).unwrap_or_default();
        for prefix in routes.into_iter().filter(|p| p.address().is_ipv4() == v4) {
            self.attach(id, prefix);
        }
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
        if !s.routes.contains(&prefix) {
            return;
        }
        s.withdraw(prefix);
        s.routes.retain(|p| *p != prefix);
        self.program.op(s.worker, TableOp::SessionSet(s.session));
        self.program.withdraw(prefix);
    }

    pub(super) fn opened(&mut self, now: Instant, id: SessionId) {
        let Some(s) = self.subscribers.get_mut(&id) else { return };
        self.program.op(s.worker, TableOp::SessionSet(s.session));
        if s.state == State::Network {
            s.state = State::Open;
            self.begin(now, id);
            let event = self.subscribers.get(&id).map(|s| self.session_event(now, s, None));
            self.events.extend(event.map(Event::SessionUp));
        }
    }

    /// Ends a softwire in order: PPP, L2TP, then (H47) the IKE SA.
    pub(super) fn disconnect(&mut self, now: Instant, id: SessionId, cause: Cause, why: &str) {
        let Some(s) = self.subscribers.get_mut(&id) else { return };
        s.ends(cause, why);
        if s.state == State::Tunnel {
            return self.l2tp.close(now, id.0, l2tp::DownReason::local(1, why));
        }
        s.state = State::Closing;
        if let Some(peer) = s.session.peer {
            self.close_after.insert(id, peer);
        }
        s.link.close(now);
        self.forget(id);
        self.pump_link(now, id);
    }

    // What AAA is asked about a session that ends is of no use to it.
    fn forget(&mut self, id: SessionId) {
        self.aaa.forget(Who::Session(id));
        self.aaa.forget(Who::Again(id));
    }
}

fn cause(reason: &ppp::DownReason) -> Cause {
    use ppp::DownReason::*;
    match reason {
        PeerTerminated => Cause::UserRequest,
        Timeout | EchoTimeout | AuthTimeout => Cause::LostCarrier,
        AuthRefused | AuthFailed(_) | AuthRejected => Cause::UserError,
        Closed => Cause::NasRequest,
        Rejected | Loopback | NoNetwork => Cause::NasError,
    }
}

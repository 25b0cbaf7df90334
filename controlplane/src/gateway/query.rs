//! Answers for the management plane: plain copies of what is, never a secret.

use super::Gateway;
use crate::accounting::Cause;
use crate::config::{Bgp, Protection};
use crate::northbound::{
    BgpPage, ChildSaInfo, CountersInfo, IkeSaInfo, Ikev1Info, ListenerInfo, Query, SpdInfo, StatusInfo, SubscriberInfo,
    TrafficInfo,
};
use crate::routing::Routing;
use crate::spd;
use crate::subscriber::{State, Subscriber};
use dataplane_api::{Action, DropReason, IpPrefix, Mode, PeerId, PortRange, PuntClass, Rate, SessionId};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

impl Gateway {
    /// Answers one question. A questioner that has gone is no error.
    pub fn handle_query(&mut self, now: Instant, query: Query) {
        match query {
            Query::Status(to) => drop(to.send(self.status(now))),
            Query::Subscribers(to) => {
                let all = self.subscribers.values().map(|s| self.subscriber_info(now, s)).collect();
                drop(to.send(all));
            }
            Query::Disconnect(who, to) => {
                let ids: Vec<SessionId> =
                    self.subscribers.values().filter(|s| key(s.id) == who || s.user == who).map(|s| s.id).collect();
                for &id in &ids {
                    self.disconnect(now, id, Cause::AdminReset, "disconnected by the operator");
                }
                let _ = to.send(!ids.is_empty());
            }
            Query::IkeSas(to) => drop(to.send(self.ike_sas(now))),
            Query::RekeyIke(peer, to) => {
                let known = self.peers.keys().find(|p| p.0.get() == peer).copied();
                let done = known.is_some_and(|p| self.ike.rekey_ike(now, ike::PeerHandle(p.0)).is_ok());
                self.operated(done, || format!("rekey of IKE peer {peer}"));
                let _ = to.send(done);
            }
            Query::RekeyChild(spi, to) => {
                let done = self.ike.rekey_child(now, spi).is_ok();
                self.operated(done, || format!("rekey of child SA {spi:08x}"));
                let _ = to.send(done);
            }
            Query::ChildSas(to) => drop(to.send(self.child_sas(now))),
            Query::Softwires(to) => drop(to.send(self.softwires_info())),
            Query::BgpNeighbours(to) => {
                drop(to.send(self.bgp_view().map(|(r, bgp)| r.neighbours_info(now, bgp)).unwrap_or_default()));
            }
            Query::BgpRoutes(select, to) => {
                let none = BgpPage { routes: Vec::new(), next: None };
                drop(to.send(self.routing.as_ref().map_or(none, |r| r.routes_info(&select))));
            }
            Query::Bfd(to) => drop(to.send(self.liveness.info(now))),
            Query::BgpReceived(address, select, to) => {
                drop(to.send(self.routing.as_ref().and_then(|r| r.received_info(address, &select))));
            }
            Query::BgpSent(address, select, to) => {
                drop(to.send(self.routing.as_ref().and_then(|r| r.sent_info(address, &select))));
            }
            Query::BgpAct(address, action, to) => drop(to.send(self.bgp_act(now, address, &action))),
            Query::RekeySoftwire(id, to) => drop(to.send(self.rekey_softwire(now, id))),
            Query::Profiles(to) => drop(to.send(self.profiles_info())),
            Query::MeshMetrics(to) => drop(to.send(self.mesh_metrics())),
            Query::Rtr(to) => {
                drop(to.send(self.routing.as_ref().map(|r| r.rtr.info(now)).unwrap_or_default()));
            }
            Query::Radius(to) => drop(to.send(self.radius_info())),
            Query::Spd(to) => drop(to.send(self.spd_info())),
            Query::Trace(query) => self.trace_query(now, query),
            Query::Counters(to) => drop(to.send(self.counters_info())),
        }
        self.pump(now);
    }

    fn bgp_view(&self) -> Option<(&Routing, &Bgp)> {
        self.routing.as_ref().zip(self.config.bgp.as_ref())
    }

    // Softwires first: their rules are the most specific.
    fn spd_info(&self) -> Vec<SpdInfo> {
        let views: Vec<_> = self.mesh.softwires().map(|v| v.softwire).collect();
        spd::softwires(views.iter()).chain(spd::build(&self.config)).map(|n| spd_info(&n)).collect()
    }

    fn status(&self, now: Instant) -> StatusInfo {
        let listener = |l: &crate::config::Listener| ListenerInfo {
            name: l.name.clone(),
            address: l.address.to_string(),
            protection: if l.protection == Protection::Ipsec { "ipsec" } else { "none" },
            anonymous: l.anonymous,
            ikev1: l.ikev1.as_ref().map(|v1| Ikev1Info {
                weak: v1.weak.clone(),
                sha256_96: v1.sha256_96,
                shared_secret: v1.shared_secret.is_some(),
            }),
        };
        StatusInfo {
            version: env!("CARGO_PKG_VERSION"),
            seconds: now.saturating_duration_since(self.started).as_secs(),
            workers: self.counters.len(),
            ike_sas: self.peers.len(),
            child_sas: self.peers.values().map(|p| p.children.len()).sum(),
            sessions: self.subscribers.len(),
            open_sessions: self.subscribers.values().filter(|s| s.state == State::Open).count(),
            listeners: self.config.listeners.iter().map(listener).collect(),
        }
    }

    fn subscriber_info(&self, now: Instant, s: &Subscriber) -> SubscriberInfo {
        let inner = &s.session.inner;
        let text = |p: Option<IpPrefix>| p.map(|p| p.to_string());
        let limits = s.profile.as_ref().map(|p| p.limits.clone()).unwrap_or_default();
        let kbits = |r: Option<Rate>| r.map(|r| r.bits_per_second / 1000);
        SubscriberInfo {
            id: key(s.id),
            user: (!s.user.is_empty()).then(|| s.user.clone()),
            ike_id: s.context.ike_id.clone(),
            listener: Some(s.listener.clone()),
            state: s.state.name(),
            outer: s.session.outer.remote,
            tunnel: s.id.tunnel(),
            session: s.id.session(),
            peer_tunnel: s.session.peer_tunnel,
            peer_session: s.session.peer_session,
            mtu: s.session.mtu,
            ipv4: inner.ipv4.then(|| s.ipv4().map(|a| a.to_string())).flatten(),
            ipv6_prefix: inner.ipv6.then(|| text(s.leases.ipv6)).flatten(),
            delegated: text(s.leases.delegated).filter(|_| s.leases.delegated.is_some_and(|p| s.routes.contains(&p))),
            ipv6_address: text(s.leases.address).filter(|_| s.leases.address.is_some_and(|p| s.routes.contains(&p))),
            routes: s.leases.routes.iter().filter(|p| s.routes.contains(p)).map(ToString::to_string).collect(),
            acct_session_id: s.context.session.clone(),
            radius: s.radius,
            filter: limits.filter,
            rate_up: kbits(limits.rate_up),
            rate_down: kbits(limits.rate_down),
            seconds_left: s.meter.as_ref().and_then(|m| m.left(now)).map(|d| d.as_secs()),
            seconds: now.saturating_duration_since(s.since).as_secs(),
            counters: self.traffic(s.id),
        }
    }

    /// Traffic of a session.
    pub(super) fn traffic(&self, id: SessionId) -> TrafficInfo {
        let slot = id.slot();
        let found = slot.and_then(|s| self.counters.get(usize::from(s.worker().0))?.sessions.get(s.index()));
        let Some(c) = found else { return TrafficInfo::default() };
        TrafficInfo {
            in_v4_packets: c.in_v4[0].get(),
            in_v4_octets: c.in_v4[1].get(),
            out_v4_packets: c.out_v4[0].get(),
            out_v4_octets: c.out_v4[1].get(),
            in_v6_packets: c.in_v6[0].get(),
            in_v6_octets: c.in_v6[1].get(),
            out_v6_packets: c.out_v6[0].get(),
            out_v6_octets: c.out_v6[1].get(),
        }
    }

    fn ike_sas(&self, now: Instant) -> Vec<IkeSaInfo> {
        let row = |i: ike::IkeSaInfo| {
            let peer = self.peers.get(&PeerId(i.peer.0));
            IkeSaInfo {
                peer: i.peer.0.get(),
                pad: peer.map(|p| p.pad.clone()),
                spi_i: format!("{:016x}", i.spi_i),
                spi_r: format!("{:016x}", i.spi_r),
                state: i.state.to_string(),
                local_id: i.local_id.map(|x| x.to_string()),
                remote_id: i.remote_id.map(|x| x.to_string()),
                local: i.local,
                remote: i.remote,
                version: i.version,
                algorithms: i.suite.unwrap_or_default(),
                weak: i.weak,
                shared_secret: peer.is_some_and(|p| p.shared_secret),
                natt: i.natt,
                seconds: now.saturating_duration_since(i.since).as_secs(),
            }
        };
        self.ike.sas().map(row).collect()
    }

    fn child_sas(&self, now: Instant) -> Vec<ChildSaInfo> {
        let mut all = Vec::new();
        for (id, peer) in &self.peers {
            for c in peer.children.values() {
                let counters = self.counters.get(usize::from(peer.worker.0));
                let sa_in = c.spi_in.slot().and_then(|s| counters?.sa_in.get(s.index()));
                let sa_out = counters.and_then(|w| w.sa_out.get(c.out.0.index()));
                all.push(ChildSaInfo {
                    peer: id.0.get(),
                    spi_in: format!("{:08x}", c.spi_in.0),
                    spi_out: format!("{:08x}", c.spi_out),
                    mode: if c.mode == Mode::Transport { "transport" } else { "tunnel" },
                    algorithms: c.suite.to_string(),
                    weak: c.weak.clone(),
                    esn: c.esn,
                    encap: c.encap,
                    local_ts: side(c.selector.local, c.selector.local_port, c.selector.protocol),
                    remote_ts: side(c.selector.remote, c.selector.remote_port, c.selector.protocol),
                    selected: peer.selected == Some(c.spi_in.0),
                    seconds: now.saturating_duration_since(c.since).as_secs(),
                    in_packets: sa_in.map_or(0, |x| x.packets.get()),
                    in_octets: sa_in.map_or(0, |x| x.octets.get()),
                    out_packets: sa_out.map_or(0, |x| x.packets.get()),
                    out_octets: sa_out.map_or(0, |x| x.octets.get()),
                    replayed: sa_in.map_or(0, |x| x.replay_or_seq.get()),
                    integrity_failures: sa_in.map_or(0, |x| x.integrity.get()),
                });
            }
        }
        all
    }

    fn counters_info(&self) -> CountersInfo {
        let worker = |c: &std::sync::Arc<dataplane_api::Counters>| {
            let w = &c.worker;
            let mut m = BTreeMap::new();
            for (name, value) in [
                ("received", &w.received),
                ("received_octets", &w.received_octets),
                ("injected", &w.injected),
                ("generated", &w.generated),
                ("handed_in", &w.handed_in),
                ("handed_out", &w.handed_out),
                ("joined", &w.joined),
                ("sent", &w.sent),
                ("sent_octets", &w.sent_octets),
                ("polls", &w.polls),
                ("idle_polls", &w.idle_polls),
                ("ops_refused", &w.ops_refused),
                ("trace_lost", &w.trace_lost),
            ] {
                m.insert(name.to_owned(), value.get());
            }
            m.insert("ops_applied".to_owned(), w.applied.load(Relaxed));
            for class in PUNT_CLASSES {
                m.insert(format!("punt.{}", class.1), w.punted[class.0 as usize].get());
            }
            for &reason in DropReason::ALL {
                m.insert(format!("drop.{}", reason.name()), w.dropped(reason));
            }
            m
        };
        let c = &self.control;
        let mut control: BTreeMap<String, u64> = [
            ("ike.auth_failed", c.ike_auth_failed),
            ("ike.child_refused", c.child_refused),
            ("l2tp.clear", c.l2tp_refused),
            ("ppp.stale", c.ppp_stale),
            ("aaa.auth_rejected", c.aaa_rejected),
            ("inner.ignored", c.inner_ignored),
        ]
        .into_iter()
        .map(|(k, v)| (k.to_owned(), v))
        .collect();
        let v1 = self.ike.stats().v1_refused.named();
        control.extend(v1.map(|(reason, n)| (format!("ike.v1_{reason}"), n)));
        let stats = self.l2tp.stats();
        let refused = l2tp::Refused::ALL.iter().map(|&r| (format!("l2tp.{}", r.name()), stats.refused(r)));
        control.extend(refused);
        control.extend(self.liveness.counters());
        control.insert("l2tp.auth_failed".to_owned(), stats.auth_failed);
        control.insert("l2tp.duplicates".to_owned(), stats.duplicates);
        let fib = self.fib.iter().flat_map(|c| {
            let all = [("routes", &c.routes), ("refused", &c.refused), ("blocks", &c.blocks)];
            all.into_iter()
                .flat_map(|(name, [v4, v6])| [(format!("{name}_v4"), v4.get()), (format!("{name}_v6"), v6.get())])
        });
        CountersInfo { workers: self.counters.iter().map(worker).collect(), control, fib: fib.collect() }
    }
}

const PUNT_CLASSES: [(PuntClass, &str); 8] = [
    (PuntClass::Ike, "ike"),
    (PuntClass::L2tpControl, "l2tp"),
    (PuntClass::PppControl, "ppp"),
    (PuntClass::SessionHost, "session_host"),
    (PuntClass::Host, "host"),
    (PuntClass::Bfd, "bfd"),
    (PuntClass::Neighbour, "neighbour"),
    (PuntClass::Bgp, "bgp"),
];

fn key(id: SessionId) -> String {
    format!("{}.{}", id.tunnel(), id.session())
}

fn side(net: Option<IpPrefix>, ports: PortRange, protocol: u8) -> String {
    let net = net.map_or_else(|| "*".to_owned(), |n| n.to_string());
    let ports = match (ports.first, ports.last) {
        (0, u16::MAX) => "*".to_owned(),
        (a, b) if a == b => a.to_string(),
        (a, b) => format!("{a}-{b}"),
    };
    match protocol {
        0 => net,
        p => format!("{net}[{p}/{ports}]"),
    }
}

fn spd_info(n: &spd::Named) -> SpdInfo {
    let s = &n.rule.selector;
    SpdInfo {
        name: n.name.to_owned(),
        local: side(s.local, s.local_port, 0),
        remote: side(s.remote, s.remote_port, 0),
        protocol: match s.protocol {
            0 => "*".to_owned(),
            1 => "ICMP".to_owned(),
            4 => "IPv4".to_owned(),
            41 => "IPv6".to_owned(),
            17 => format!("UDP/{}", s.local_port.first),
            50 => "ESP".to_owned(),
            58 => "ICMPv6".to_owned(),
            other => other.to_string(),
        },
        action: match n.rule.action {
            Action::Bypass => "BYPASS",
            Action::Protect => "PROTECT",
            Action::Discard => "DISCARD",
        }
        .to_owned(),
    }
}

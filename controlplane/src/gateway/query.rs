//! Answers for the management plane: plain copies of what is, never a secret.

use super::Gateway;
use crate::accounting::Cause;
use crate::config::{Bgp, Protection};
use crate::northbound::{
    BgpPage, CountersInfo, Ikev1Info, ListenerInfo, PortInfo, Pulse, Query, SpdInfo, StatusInfo, TrafficInfo,
};
use crate::routing::Routing;
use crate::spd;
use crate::subscriber::State;
use dataplane_api::{
    Action, Counter, DropReason, IpPrefix, MacAddr, PortCounters, PortRange, PuntClass, SessionId, Zone,
};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

impl Gateway {
    /// Answers one question. A questioner that has gone is no error.
    pub fn handle_query(&mut self, now: Instant, query: Query) {
        match query {
            Query::Status(to) => drop(to.send(self.status(now))),
            Query::Pulse(to) => drop(to.send(self.pulse())),
            Query::Subscribers(select, to) => drop(to.send(self.subscribers_page(now, &select))),
            Query::Subscriber(tunnel, session, to) => {
                let found = self.subscribers.get(&SessionId::from_wire(tunnel, session));
                drop(to.send(found.map(|s| self.subscriber_info(now, s))));
            }
            Query::Disconnect(who, to) => {
                let ids = self.sessions_of(&who);
                for &id in &ids {
                    self.disconnect(now, id, Cause::AdminReset, "disconnected by the operator");
                }
                let _ = to.send(!ids.is_empty());
            }
            Query::IkeSas(select, to) => drop(to.send(self.ike_page(now, &select))),
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
            Query::ChildSas(select, to) => drop(to.send(self.children_page(now, &select))),
            Query::Softwires(select, to) => drop(to.send(self.softwires_page(&select))),
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
            Query::Ports(to) => drop(to.send(self.ports_info())),
            Query::Rtr(to) => {
                drop(to.send(self.routing.as_ref().map(|r| r.rtr.info(now)).unwrap_or_default()));
            }
            Query::Radius(to) => drop(to.send(self.radius_info())),
            Query::Spd(to) => drop(to.send(self.spd_info())),
            Query::Trace(query) => self.trace_query(now, query),
            Query::Counters(to) => drop(to.send(self.counters_info())),
            Query::Config(to) => drop(to.send(std::sync::Arc::clone(&self.document))),
            Query::Configure(document, dry, to) => drop(to.send(self.configure(now, *document, dry))),
            Query::Drain(to) => drop(to.send(self.drain_info())),
            Query::SetDrain(order, to) => {
                self.set_drain(now, order);
                drop(to.send(self.drain_info()));
            }
        }
        self.pump(now);
    }

    /// The session of this number; where there is none, those of the user of this name.
    fn sessions_of(&self, who: &str) -> Vec<SessionId> {
        match who.parse().ok().filter(|id| self.subscribers.contains_key(id)) {
            Some(id) => vec![id],
            None => self.subscribers.values().filter(|s| s.user == who).map(|s| s.id).collect(),
        }
    }

    fn bgp_view(&self) -> Option<(&Routing, &Bgp)> {
        self.routing.as_ref().zip(self.config.bgp.as_ref())
    }

    // Softwires first: their rules are the most specific.
    fn spd_info(&self) -> Vec<SpdInfo> {
        let views: Vec<_> = self.mesh.softwires().map(|v| v.softwire).collect();
        spd::softwires(views.iter()).chain(self.policy()).map(|n| spd_info(&n)).collect()
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
            child_sas: self.children,
            sessions: self.subscribers.len(),
            open_sessions: self.subscribers.values().filter(|s| s.state == State::Open).count(),
            listeners: self.config.listeners.iter().map(listener).collect(),
        }
    }

    fn pulse(&self) -> Pulse {
        Pulse { polls: self.counters.iter().map(|c| c.worker.polls.get()).collect(), draining: self.is_draining() }
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
            for class in PuntClass::ALL {
                m.insert(format!("punt.{}", class.name()), w.punted[class as usize].get());
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
            ("drain.ike", c.drain_ike),
            ("drain.session", c.drain_session),
        ]
        .into_iter()
        .map(|(k, v)| (k.to_owned(), v))
        .collect();
        let ike = self.ike.stats();
        control.extend(ike.named().map(|(what, n)| (format!("ike.{what}"), n)));
        control.extend(ike.v1_refused.named().map(|(reason, n)| (format!("ike.v1_{reason}"), n)));
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

impl Gateway {
    /// Ports in the order of the configuration that they were opened by.
    fn ports_info(&self) -> Vec<PortInfo> {
        let ports = self.config.ports.iter().zip(&self.macs).enumerate();
        let info = |(n, (port, mac)): (usize, (&crate::config::Port, &MacAddr))| {
            let told = self.ports.get(n);
            let count = |of: fn(&PortCounters) -> &Counter| told.map_or(0, |p| of(p).get());
            let speed = count(|p| &p.speed);
            PortInfo {
                name: port.name.clone(),
                device: port.device.clone(),
                mac: mac.to_string(),
                zone: if port.zone == Zone::Public { "public" } else { "trusted" },
                addresses: port.addresses.iter().map(ToString::to_string).collect(),
                vlan: port.vlan,
                mtu: port.mtu,
                up: count(|p| &p.up) != 0,
                speed: (speed != 0).then_some(speed),
                rx_packets: count(|p| &p.rx_packets),
                rx_octets: count(|p| &p.rx_octets),
                tx_packets: count(|p| &p.tx_packets),
                tx_octets: count(|p| &p.tx_octets),
                rx_missed: count(|p| &p.rx_missed),
                rx_errors: count(|p| &p.rx_errors),
                rx_no_buffer: count(|p| &p.rx_no_buffer),
                tx_errors: count(|p| &p.tx_errors),
            }
        };
        ports.map(info).collect()
    }
}

pub(super) fn side(net: Option<IpPrefix>, ports: PortRange, protocol: u8) -> String {
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

//! Subscribers, SAs and softwires as the management plane sees them, a page at a time.

use super::Gateway;
use super::query::side;
use crate::mesh::View;
use crate::northbound::{
    ChildSaInfo, IkeFilter, IkeSaInfo, Page, Select, SoftwireInfo, SubscriberFilter, SubscriberInfo,
};
use crate::peer::{Child, Peer};
use crate::subscriber::Subscriber;
use dataplane_api::{IpPrefix, Mode, PeerId, Rate, SessionId};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::ops::Bound;
use std::time::Instant;

impl Gateway {
    pub(super) fn subscribers_page(&self, now: Instant, select: &Select<SubscriberFilter>) -> Page<SubscriberInfo> {
        let from = select.start().map(|n| SessionId(u32::try_from(n).unwrap_or(u32::MAX)));
        let rows = self
            .subscribers
            .range((from, Bound::Unbounded))
            .map(|(id, s)| (u64::from(id.0), meant(s, &select.filter).then(|| self.subscriber_info(now, s))));
        Page::of(select.limit, self.subscribers.len(), rows)
    }

    pub(super) fn subscriber_info(&self, now: Instant, s: &Subscriber) -> SubscriberInfo {
        let inner = &s.session.inner;
        let text = |p: Option<IpPrefix>| p.map(|p| p.to_string());
        let limits = s.profile.as_ref().map(|p| p.limits.clone()).unwrap_or_default();
        let kbits = |r: Option<Rate>| r.map(|r| r.bits_per_second / 1000);
        SubscriberInfo {
            id: s.id.to_string(),
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

    pub(super) fn ike_page(&self, now: Instant, select: &Select<IkeFilter>) -> Page<IkeSaInfo> {
        let after = select.after.map_or(0, |c| u32::try_from(c.0).unwrap_or(u32::MAX));
        let rows = self.ike.peers_after(NonZeroU32::new(after).map(ike::PeerHandle)).map(|peer| {
            let shown = self.ike_meant(peer, &select.filter).then(|| self.ike.sa(peer)).flatten();
            (u64::from(peer.0.get()), shown.map(|sa| self.ike_info(now, sa)))
        });
        Page::of(select.limit, self.ike.peer_count(), rows)
    }

    fn ike_meant(&self, peer: ike::PeerHandle, filter: &IkeFilter) -> bool {
        let pad = || self.peers.get(&PeerId(peer.0)).map(|p| &p.pad);
        let at = |a: IpAddr| self.ike.whom(peer).is_some_and(|(remote, _)| remote.ip() == a);
        let is = |id: &String| self.ike.whom(peer).and_then(|(_, own)| own).is_some_and(|own| own.to_string() == *id);
        filter.address.is_none_or(at)
            && filter.pad.as_ref().is_none_or(|wanted| pad() == Some(wanted))
            && filter.id.as_ref().is_none_or(is)
    }

    fn ike_info(&self, now: Instant, i: ike::IkeSaInfo) -> IkeSaInfo {
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
    }

    pub(super) fn children_page(&self, now: Instant, select: &Select<Option<u32>>) -> Page<ChildSaInfo> {
        // A cursor is the peer and the inbound SPI.
        let after = select.after.map_or(0, |c| c.0);
        let peer = |n: u32| NonZeroU32::new(n).map_or(Bound::Unbounded, |n| Bound::Included(PeerId(n)));
        let (from, to) = match select.filter {
            Some(0) => return Page::of(0, self.children, std::iter::empty()),
            Some(one) => (peer(one), peer(one)),
            None => (peer((after >> 32) as u32), Bound::Unbounded),
        };
        let rows = self.peers.range((from, to)).flat_map(|(id, p)| {
            let mut children: Vec<_> = p.children.values().collect();
            children.sort_unstable_by_key(|c| c.spi_in);
            children.into_iter().map(move |c| (u64::from(id.0.get()) << 32 | u64::from(c.spi_in.0), (*id, p, c)))
        });
        let rows = rows.filter(|(key, _)| *key > after);
        Page::of(select.limit, self.children, rows.map(|(key, (id, p, c))| (key, Some(self.child_info(now, id, p, c)))))
    }

    fn child_info(&self, now: Instant, id: PeerId, peer: &Peer, c: &Child) -> ChildSaInfo {
        let worker = c.worker();
        let counters = self.counters.get(usize::from(worker.0));
        let sa_in = c.spi_in.slot().and_then(|s| counters?.sa_in.get(s.index()));
        let sa_out = counters.and_then(|w| w.sa_out.get(c.out.0.index()));
        ChildSaInfo {
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
            selected: peer.selected.get(&worker) == Some(&c.spi_in.0),
            worker: worker.0,
            bound: c.resource.is_some(),
            peer_resource: c.resource.as_ref().map(|r| r.peer.iter().map(|octet| format!("{octet:02x}")).collect()),
            seconds: now.saturating_duration_since(c.since).as_secs(),
            in_packets: sa_in.map_or(0, |x| x.packets.get()),
            in_octets: sa_in.map_or(0, |x| x.octets.get()),
            out_packets: sa_out.map_or(0, |x| x.packets.get()),
            out_octets: sa_out.map_or(0, |x| x.octets.get()),
            replayed: sa_in.map_or(0, |x| x.replayed.get()),
            integrity_failures: sa_in.map_or(0, |x| x.integrity.get()),
        }
    }

    pub(super) fn softwires_page(&self, select: &Select<()>) -> Page<SoftwireInfo> {
        // There are a few thousand at most.
        let all: BTreeMap<u64, View<'_>> = self.mesh.softwires().map(|v| (u64::from(v.softwire.id.0), v)).collect();
        let rows = all.range((select.start(), Bound::Unbounded)).map(|(key, view)| (*key, Some(*view)));
        Page::of(select.limit, all.len(), rows).map(|v| self.softwire_info(&v))
    }
}

fn meant(s: &Subscriber, filter: &SubscriberFilter) -> bool {
    let has = |a| s.session.outer.remote.ip() == a || s.leases.prefixes().any(|p: IpPrefix| p.contains(a));
    filter.user.as_ref().is_none_or(|user| s.user == *user)
        && filter.listener.as_ref().is_none_or(|listener| s.listener == *listener)
        && filter.state.as_ref().is_none_or(|state| s.state.name() == *state)
        && filter.address.is_none_or(has)
}

#[cfg(test)]
mod tests;

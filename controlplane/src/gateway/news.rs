//! Events for the management plane. A softwire's are made from what the data plane is told of it, so that they say what
//! packets find.

use super::Gateway;
use crate::northbound::{ChildEvent, Event, IkeEvent, SessionEvent, SoftwireEvent};
use crate::peer::Peer;
use crate::subscriber::Subscriber;
use dataplane_api::softwire::Protection;
use dataplane_api::{PeerId, SnapshotOp, Softwire};
use std::net::SocketAddr;
use std::time::Instant;

impl Gateway {
    /// What happened next.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.events.push_back(event);
    }

    pub(super) fn session_event(&self, now: Instant, s: &Subscriber, reason: Option<&str>) -> SessionEvent {
        let t = self.traffic(s.id);
        SessionEvent {
            id: s.id.to_string(),
            user: (!s.user.is_empty()).then(|| s.user.clone()),
            ike_id: s.context.ike_id.clone(),
            listener: s.listener.clone(),
            outer: s.session.outer.remote,
            inner: s.leases.prefixes().map(|p| p.to_string()).collect(),
            reason: reason.map(str::to_owned),
            seconds: now.saturating_duration_since(s.since).as_secs(),
            in_octets: t.in_v4_octets + t.in_v6_octets,
            out_octets: t.out_v4_octets + t.out_v6_octets,
        }
    }

    /// Softwires that come up and go down with what is published.
    pub(super) fn softwire_news(&mut self, op: &SnapshotOp) {
        let (id, up) = match op {
            SnapshotOp::SoftwireSet(s) => (s.id, passes(s).then_some(s.remote)),
            SnapshotOp::SoftwireDel(id) => (*id, None),
            _ => return,
        };
        let before = match up {
            Some(remote) => self.softwires_up.insert(id, remote),
            None => self.softwires_up.remove(&id),
        };
        if before == up {
            return;
        }
        if let Some(remote) = before {
            self.tell(Event::SoftwireDown(SoftwireEvent { id: id.0, remote }));
        }
        if let Some(remote) = up {
            self.tell(Event::SoftwireUp(SoftwireEvent { id: id.0, remote }));
        }
    }
}

fn passes(s: &Softwire) -> bool {
    !s.dead && s.protection != Protection::Esp(None)
}

/// An IKE peer in an event.
pub(super) fn ike_event(id: PeerId, peer: &Peer, reason: Option<String>) -> IkeEvent {
    IkeEvent {
        peer: Some(id.0.get()),
        pad: Some(peer.pad.clone()),
        id: Some(peer.remote_id.clone()),
        remote: Some(peer.remote),
        version: Some(peer.version),
        reason,
    }
}

/// Somebody who did not become a peer.
pub(super) fn stranger(id: Option<String>, remote: Option<SocketAddr>, reason: String) -> Event {
    Event::IkeFailed(IkeEvent { peer: None, pad: None, id, remote, version: None, reason: Some(reason) })
}

/// A pair of child SAs in an event.
pub(super) fn child_event(id: PeerId, spi_in: u32, replaces: Option<u32>, reason: Option<String>) -> ChildEvent {
    let hexadecimal = |spi| format!("{spi:08x}");
    ChildEvent { peer: id.0.get(), spi_in: hexadecimal(spi_in), replaces: replaces.map(hexadecimal), reason }
}

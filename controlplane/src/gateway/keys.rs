//! IKE's events: authenticated peers, child SAs, lifetimes, moves.

use super::{Gateway, Later};
use crate::accounting::Cause;
use crate::audit::{Record, Verb};
use crate::peer::Peer;
use dataplane_api::{PeerId, Spi, TableOp};
use std::collections::HashMap;
use std::time::Instant;

impl Gateway {
    pub(super) fn ike_event(&mut self, now: Instant, event: ike::Event) {
        use ike::Event::*;
        match event {
            PeerUp { peer, pad, remote_id, local, remote, natt, suite, .. } => {
                tracing::info!(peer = peer.0.get(), pad, id = %remote_id, %remote, natt, suite, "IKE SA established");
                let worker = self.program.allocation().worker(peer.0.get());
                let remote_id = remote_id.to_string();
                let (children, admitted) = (HashMap::new(), self.admitted(PeerId(peer.0)));
                let record = Peer { pad, remote_id, admitted, local, remote, natt, worker, children, selected: None };
                self.peers.insert(PeerId(peer.0), record);
            }
            ChildUp { peer, child, select } => {
                let id = PeerId(peer.0);
                let Some(p) = self.peers.get_mut(&id) else { return };
                match p.child_up(now, id, &child, &self.config, &mut self.program) {
                    Ok(()) => {
                        tracing::info!(
                            peer = peer.0.get(),
                            spi_in = format_args!("{:08x}", child.spi_in),
                            spi_out = format_args!("{:08x}", child.spi_out),
                            rekeyed = child.replaces.is_some(),
                            "child SA installed"
                        );
                        if select {
                            p.select(id, child.spi_in, &mut self.program);
                            self.mesh_selected(id);
                        }
                    }
                    Err(why) => {
                        self.control.child_refused += 1;
                        self.program.allocation().free_spi(Spi(child.spi_in));
                        tracing::warn!(peer = peer.0.get(), why, "child SA refused");
                        self.close_peer(now, id);
                    }
                }
            }
            ChildSelect { peer, spi_in } => {
                let id = PeerId(peer.0);
                if let Some(p) = self.peers.get_mut(&id) {
                    p.select(id, spi_in, &mut self.program);
                }
                self.mesh_selected(id);
            }
            ChildDown { spi_in, reason: ike::ChildDownReason::Unused, .. } => {
                self.program.allocation().free_spi(Spi(spi_in));
            }
            ChildDown { peer, spi_in, .. } => {
                let id = PeerId(peer.0);
                let Some(p) = self.peers.get_mut(&id) else { return };
                let worker = p.worker;
                if let Some(spi) = p.child_down(id, spi_in, &mut self.program) {
                    self.defer(now + self.config.ike.grace, Later::SaInDel(worker, spi));
                }
                if self.peers.get(&id).is_some_and(|p| p.children.is_empty()) {
                    self.mesh_lost(now, id);
                }
            }
            EapStart { session, pad, remote_id, local, remote } => {
                self.eap_start(now, session, pad, remote_id.to_string(), local, remote);
            }
            EapResponse { session, packet } => self.eap_response(now, session, packet),
            EapEnd { session, peer } => self.eap_end(session, peer.map(|p| PeerId(p.0))),
            // We are never the one that EAP authenticates.
            EapRequest { .. } => {}
            PeerMoved { peer, local, remote, encap } => {
                let id = PeerId(peer.0);
                if let Some(p) = self.peers.get_mut(&id) {
                    tracing::info!(peer = peer.0.get(), from = %p.remote, to = %remote, "peer moved");
                    (p.local, p.remote, p.natt) = (local, remote, encap);
                    self.program.op(p.worker, TableOp::PeerMoved { peer: id, local, remote, encap });
                    self.l2tp.move_binding(now, peer.0, local.ip(), remote.ip());
                    for s in self.subscribers.values_mut().filter(|s| s.session.peer == Some(id)) {
                        s.session.outer.local.set_ip(local.ip());
                        s.session.outer.remote.set_ip(remote.ip());
                    }
                }
            }
            PeerDown { peer, reason, remote_id } => {
                let id = PeerId(peer.0);
                tracing::info!(peer = peer.0.get(), ?reason, "IKE SA down");
                self.close_after.retain(|_, p| *p != id);
                self.mesh_lost(now, id);
                for s in self.subscribers.values_mut().filter(|s| s.session.peer == Some(id)) {
                    s.ends(cause(&reason), format!("IKE: {reason:?}"));
                }
                // H47: L2TP is told; without SAs nothing can be said to the peer any more.
                self.l2tp.close_binding(now, peer.0);
                while let Some(event) = self.l2tp.poll_event() {
                    self.l2tp_event(now, event);
                }
                match self.peers.remove(&id) {
                    Some(mut p) => {
                        let spis: Vec<u32> = p.children.keys().copied().collect();
                        for spi in spis {
                            if let Some(spi) = p.child_down(id, spi, &mut self.program) {
                                self.defer(now, Later::SaInDel(p.worker, spi));
                            }
                        }
                    }
                    None => {
                        let mut r = Record::new(Verb::Reject, format!("IKE: {reason:?}"));
                        r.ike_id = remote_id.map(|i| i.to_string());
                        self.audit.push_back(r);
                    }
                }
            }
            AuthFailed { remote, id, reason } => {
                self.control.ike_auth_failed += 1;
                let mut r = Record::new(Verb::Reject, format!("IKE: {reason}"));
                r.ike_id = id.map(|i| i.to_string());
                r.outer = Some(remote);
                self.audit.push_back(r);
            }
        }
    }
}

fn cause(reason: &ike::DownReason) -> Cause {
    use ike::DownReason::*;
    match reason {
        Deleted => Cause::UserRequest,
        Closed => Cause::NasRequest,
        Dead => Cause::LostCarrier,
        Revoked => Cause::AdminReset,
        Replaced(_) => Cause::PortPreempted,
        Expired | Failed(_) => Cause::NasError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use dataplane_api::{Counters, MacAddr, WorkerId};
    use std::sync::Arc;
    use std::time::Duration;

    /// A gateway whose worker has room for one SA, and a peer that is up.
    fn gateway() -> (Gateway, ike::PeerHandle) {
        let text = "dataplane: { max_sessions: 1 }\n\
                    ports: [{ name: a, device: d, zone: public, addresses: [192.0.2.1/24] }]\n\
                    listeners: [{ name: l, address: 192.0.2.1 }]\n\
                    ike: { identity: gw.example.net, peers: [{ name: p, id: p@example.net, auth: psk, psk: k }] }\n";
        let config = Arc::new(Config::from_yaml("t", text).unwrap());
        let counters = vec![Arc::new(Counters::new(1, 1))];
        let mut g = Gateway::new(config, Instant::now(), &[MacAddr([2; 6])], counters, [7; 32]).unwrap();
        let peer = ike::PeerHandle(std::num::NonZeroU32::MIN);
        let address = ([192, 0, 2, 9], 500).into();
        let id: ike::auth::Identity = "p@example.net".parse().unwrap();
        let up = ike::Event::PeerUp {
            peer,
            pad: "p".into(),
            local_id: id.clone(),
            remote_id: id,
            local: address,
            remote: address,
            natt: false,
            initiator: false,
            suite: String::new(),
            eap_identity: None,
        };
        g.ike_event(Instant::now(), up);
        (g, peer)
    }

    fn draw(g: &Gateway) -> Option<u32> {
        g.program.allocation().spi(WorkerId(0)).map(|spi| spi.0)
    }

    fn child(spi_in: u32, key: usize) -> Box<ike::Child> {
        let key = || ike::ChildKey { encr: vec![0; key].into(), integ: Vec::new().into() };
        let address = ([192, 0, 2, 9], 500).into();
        Box::new(ike::Child {
            spi_in,
            spi_out: 256,
            suite: ike::EspSuite { encr: (20, 128), integ: 0, esn: false, ke: None, addke1: None },
            mode: ike::Mode::Transport,
            tfc: true,
            inbound: key(),
            outbound: key(),
            local_ts: Vec::new(),
            remote_ts: Vec::new(),
            encap: false,
            local: address,
            remote: address,
            replaces: None,
        })
    }

    fn down(peer: ike::PeerHandle, spi_in: u32, reason: ike::ChildDownReason) -> ike::Event {
        ike::Event::ChildDown { peer, spi_in, reason }
    }

    #[test]
    fn an_unused_spi_is_free_whether_its_peer_is_up_or_not() {
        let (mut g, peer) = gateway();
        let other = ike::PeerHandle(std::num::NonZeroU32::MAX);
        for peer in [peer, other] {
            let spi = draw(&g).unwrap();
            assert_eq!(draw(&g), None);
            g.ike_event(Instant::now(), down(peer, spi, ike::ChildDownReason::Unused));
        }
        assert!(draw(&g).is_some() && draw(&g).is_none());
    }

    #[test]
    fn a_child_that_goes_gives_its_spi_back_after_the_grace_time() {
        let (mut g, peer) = gateway();
        let spi = draw(&g).unwrap();
        let now = Instant::now();
        g.ike_event(now, ike::Event::ChildUp { peer, child: child(spi, 20), select: true });
        g.ike_event(now, down(peer, spi, ike::ChildDownReason::Deleted));
        assert_eq!(draw(&g), None);
        g.handle_timeout(now + Duration::from_secs(60));
        assert!(draw(&g).is_some() && draw(&g).is_none());
    }

    #[test]
    fn a_child_that_cannot_be_installed_gives_its_spi_back_once() {
        let (mut g, peer) = gateway();
        let spi = draw(&g).unwrap();
        g.ike_event(Instant::now(), ike::Event::ChildUp { peer, child: child(spi, 3), select: true });
        assert_eq!(g.control.child_refused, 1);
        g.ike_event(Instant::now(), down(peer, spi, ike::ChildDownReason::Deleted));
        let reason = ike::DownReason::Closed;
        g.ike_event(Instant::now(), ike::Event::PeerDown { peer, reason, remote_id: None });
        g.handle_timeout(Instant::now() + Duration::from_secs(60));
        assert!(draw(&g).is_some() && draw(&g).is_none());
    }
}

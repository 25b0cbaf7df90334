//! IKE's events: authenticated peers, child SAs, lifetimes, moves.

use super::{Gateway, Later};
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
                let children = HashMap::new();
                let record = Peer { pad, remote_id, local, remote, natt, worker, children, selected: None };
                self.peers.insert(PeerId(peer.0), record);
            }
            ChildUp { peer, child, select } => {
                let id = PeerId(peer.0);
                let Some(p) = self.peers.get_mut(&id) else { return };
                match p.child_up(now, id, &child, &self.config.ike, &mut self.program) {
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
            ChildDown { peer, spi_in, .. } => {
                let id = PeerId(peer.0);
                let Some(p) = self.peers.get_mut(&id) else { return };
                let worker = p.worker;
                match p.child_down(id, spi_in, &mut self.program) {
                    Some(spi) => self.defer(now + self.config.ike.grace, Later::SaInDel(worker, spi)),
                    // It was refused before it was installed: only its SPI was taken.
                    None => self.program.allocation().free_spi(Spi(spi_in)),
                }
                if self.peers.get(&id).is_some_and(|p| p.children.is_empty()) {
                    self.mesh_lost(now, id);
                }
            }
            PeerMoved { peer, remote } => {
                let id = PeerId(peer.0);
                if let Some(p) = self.peers.get_mut(&id) {
                    tracing::info!(peer = peer.0.get(), from = %p.remote, to = %remote, "peer moved");
                    p.remote = remote;
                    self.program.op(p.worker, TableOp::PeerMoved { peer: id, remote });
                    self.l2tp.move_binding(now, peer.0, remote.ip());
                    for s in self.subscribers.values_mut().filter(|s| s.session.peer == Some(id)) {
                        s.session.outer.remote.set_ip(remote.ip());
                    }
                }
            }
            PeerDown { peer, reason, remote_id } => {
                let id = PeerId(peer.0);
                tracing::info!(peer = peer.0.get(), ?reason, "IKE SA down");
                self.close_after.retain(|_, p| *p != id);
                self.mesh_lost(now, id);
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

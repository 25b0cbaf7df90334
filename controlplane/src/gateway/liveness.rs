//! BFD inside the gateway: softwires and neighbours get their sessions, and what becomes of those decides what is
//! routed where.

use super::Gateway;
use dataplane_api::{Inject, PuntMeta, WorkerId};
use std::net::SocketAddr;
use std::time::Instant;

impl Gateway {
    pub(super) fn bfd_input(&mut self, now: Instant, meta: &PuntMeta, data: &[u8]) {
        let (local, remote) = (meta.dst.ip(), meta.src.ip());
        self.liveness.handle_input(now, bfd::Meta { local, remote, ttl: meta.ttl, port: meta.dst.port() }, data);
    }

    /// Carries verdicts about paths to mesh and BGP, BGP's routes to the mesh, and the mesh's softwires back, until
    /// nothing moves.
    pub(super) fn pump_routes(&mut self, now: Instant) {
        loop {
            let mut moved = false;
            while let Some(verdict) = self.liveness.poll_verdict() {
                moved = true;
                if verdict.softwire {
                    self.mesh.set_dead(verdict.remote, !verdict.usable, &mut self.program);
                }
                let Some(routing) = &mut self.routing else { continue };
                if verdict.softwire {
                    routing.egress_changed(now, verdict.remote, verdict.usable);
                }
                if verdict.neighbour && !verdict.usable {
                    routing.neighbour_lost(now, verdict.remote);
                }
            }
            let settled = self.routing.as_mut().is_none_or(|r| r.pump(now, &mut self.mesh, &mut self.program));
            self.events.extend(self.routing.iter_mut().flat_map(|r| r.news.drain(..)));
            if settled {
                self.mesh.settle(&mut self.program);
            }
            if self.mesh.take_changed() {
                moved = true;
                self.liveness.watch(now, self.mesh.softwires().map(|v| (v.softwire.local, v.softwire.remote)));
            }
            if !moved {
                break;
            }
        }
        while let Some(t) = self.liveness.poll_transmit() {
            let (src, dst) = (SocketAddr::new(t.local, t.source_port), SocketAddr::new(t.remote, t.port));
            self.program.inject(WorkerId(0), Inject::Udp { peer: None, src, dst, raw: true, ttl: t.ttl }, t.bytes);
        }
    }
}

//! The mesh inside the gateway: its SAs are brought up by IKE, and IKE's events protect its softwires.

use super::Gateway;
use crate::mesh::{Sa, View};
use crate::northbound::SoftwireInfo;
use dataplane_api::softwire::{Protection, TooBig};
use dataplane_api::{PeerId, SoftwireCounters};
use std::net::SocketAddr;
use std::time::Instant;

/// Most prefixes that are shown of a softwire.
const PREFIXES: usize = 100;
/// IKE's port (RFC 7296, section 2).
const IKE: u16 = 500;

impl Gateway {
    /// Brings up what is due.
    pub(super) fn mesh_timeout(&mut self, now: Instant) {
        self.mesh.handle_timeout(now, &mut self.program);
        for want in self.mesh.due(now) {
            let (local, remote) = (SocketAddr::new(want.local, IKE), SocketAddr::new(want.remote, IKE));
            match self.ike.initiate(now, &want.pad, local, remote) {
                Ok(peer) => self.mesh.initiated(&want.pad, PeerId(peer.0)),
                Err(e) => tracing::warn!(pad = want.pad, error = %e, "IKE SA of an AFBR cannot be brought up"),
            }
        }
    }

    /// A child SA of a peer carries its traffic from now on: if the peer is an AFBR, its softwire is up.
    pub(super) fn mesh_selected(&mut self, id: PeerId) {
        let Some(p) = self.peers.get(&id) else { return };
        let Some(child) = p.common() else { return };
        let sa = Sa { worker: child.worker(), suite: child.suite, encap: child.encap, tfc: child.tfc };
        self.mesh.protected(&p.pad, p.remote.ip(), id, sa, &mut self.program);
    }

    /// A peer has no child SA any more.
    pub(super) fn mesh_lost(&mut self, now: Instant, id: PeerId) {
        self.mesh.unprotected(now, id, &mut self.program);
    }

    pub(super) fn softwire_info(&self, view: &View<'_>) -> SoftwireInfo {
        let s = &view.softwire;
        let sum = |of: fn(&SoftwireCounters) -> u64| {
            self.counters.iter().filter_map(|c| c.softwires.get(usize::from(s.id.0))).map(of).sum()
        };
        SoftwireInfo {
            id: s.id.0,
            name: self.config.mesh.afbrs.iter().find(|a| a.address == s.remote).map(|a| a.name.clone()),
            local: s.local,
            remote: s.remote,
            state: if s.dead || s.protection == Protection::Esp(None) { "down" } else { "up" },
            bfd: self.liveness.softwire(s.local, s.remote),
            peer: view.pad.map(str::to_owned),
            profile: view.profile.map(str::to_owned),
            esp: view.suite.map(|suite| suite.to_string()),
            mtu: s.mtu,
            path_mtu: s.path_mtu,
            too_big: if s.too_big == TooBig::Inner { "inner" } else { "outer" },
            strict: s.strict,
            tfc: s.tfc,
            prefixes: view.prefixes.iter().take(PREFIXES).map(|prefix| prefix.to_string()).collect(),
            in_packets: sum(|c| c.received[0].get()),
            in_octets: sum(|c| c.received[1].get()),
            out_packets: sum(|c| c.sent[0].get()),
            out_octets: sum(|c| c.sent[1].get()),
        }
    }
}

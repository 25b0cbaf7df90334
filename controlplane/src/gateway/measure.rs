//! The mesh in numbers, and its profiles as configured. What there is of routes is told by its size only.

use super::Gateway;
use crate::config::Peer;
use crate::config::mesh::{Mode, Profile, Start};
use crate::mesh::View;
use crate::northbound::{MeshMetrics, ProfileInfo, ProfilePeerInfo, SoftwireMetrics};
use dataplane_api::SoftwireCounters;
use dataplane_api::softwire::Protection;

impl Gateway {
    pub(super) fn mesh_metrics(&self) -> MeshMetrics {
        let mut softwires: Vec<_> = self.mesh.softwires().map(|v| self.softwire_metrics(&v)).collect();
        softwires.sort_by_key(|s| s.id);
        let routing = self.routing.as_ref();
        MeshMetrics {
            rib: routing.map(|r| r.totals_info()).unwrap_or_default(),
            attribute_sets: routing.map_or(0, |r| r.speaker.rib().attribute_sets()),
            softwires,
        }
    }

    fn softwire_metrics(&self, view: &View<'_>) -> SoftwireMetrics {
        let s = &view.softwire;
        let sum = |of: fn(&SoftwireCounters) -> u64| {
            self.counters.iter().filter_map(|c| c.softwires.get(usize::from(s.id.0))).map(of).sum()
        };
        SoftwireMetrics {
            id: s.id.0,
            remote: s.remote,
            up: !s.dead && s.protection != Protection::Esp(None),
            received: [sum(|c| c.received[0].get()), sum(|c| c.received[1].get())],
            sent: [sum(|c| c.sent[0].get()), sum(|c| c.sent[1].get())],
        }
    }

    pub(super) fn profiles_info(&self) -> Vec<ProfileInfo> {
        self.config.mesh.profiles.iter().map(|p| self.profile_info(p)).collect()
    }

    fn profile_info(&self, profile: &Profile) -> ProfileInfo {
        let ike = &self.config.ike;
        let bound = ike.peers.iter().filter(|p| p.softwire.as_ref() == Some(&profile.name));
        let own = Some(&profile.esp_proposals).filter(|all| !all.is_empty());
        ProfileInfo {
            name: profile.name.clone(),
            mode: match profile.mode {
                Mode::Transport => "transport",
                Mode::Tunnel => "tunnel",
            },
            esp_proposals: own.unwrap_or(&ike.esp_proposals).clone(),
            identity: profile.identity.clone().or_else(|| ike.identity.clone()),
            start: profile.start.map(|start| match start {
                Start::AtStart => "at_start",
                Start::OnDemand => "on_demand",
                Start::Respond => "respond",
            }),
            rekey: profile.rekey.unwrap_or(ike.child_rekey).as_secs(),
            rekey_packets: profile.rekey_packets.unwrap_or(ike.child_rekey_packets),
            rekey_octets: profile.rekey_octets.unwrap_or(ike.child_rekey_octets),
            replay_window: profile.replay_window.unwrap_or(ike.replay_window),
            tfc: profile.tfc,
            per_worker: profile.per_worker,
            peers: bound.map(bound_to).collect(),
        }
    }
}

fn bound_to(p: &Peer) -> ProfilePeerInfo {
    ProfilePeerInfo {
        name: p.name.clone(),
        address: p.address,
        color: p.color,
        prefixes: p.prefixes.iter().map(ToString::to_string).collect(),
        bgp: p.bgp,
    }
}

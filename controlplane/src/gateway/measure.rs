//! The mesh in numbers, and its profiles as configured. What there is of routes is told by its size only.

use super::Gateway;
use crate::config::mesh::{Mode, Profile};
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
            up: s.protection != Protection::Esp(None),
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
            initiate: profile.initiate,
            peers: bound.map(|p| ProfilePeerInfo { name: p.name.clone(), address: p.address }).collect(),
        }
    }
}

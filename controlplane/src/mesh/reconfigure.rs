//! Another configuration of the mesh: softwires that stay keep their number, their SA and what is known of their path.

use super::{Egress, Far, Guard, Mesh};
use crate::config::{Config, mesh as settings};
use crate::program::Program;
use dataplane_api::{IpPrefix, PeerId, SnapshotOp, SoftwireId};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::time::Instant;

impl Mesh {
    /// Takes the configuration; SAs of peers that are `ended` are not used any more. Says whether routes into softwires
    /// have to be looked at again, whoever made them: until that is done and [settled], those that are gone still stand.
    ///
    /// [settled]: Self::settle
    pub fn configure(&mut self, now: Instant, config: &Config, ended: &HashSet<PeerId>, program: &mut Program) -> bool {
        let old = std::mem::replace(&mut self.settings, config.mesh.clone());
        let link = |a: &IpAddr| Some((*a, config.port_of(*a)?.1.mtu));
        self.links = self.settings.local.iter().filter_map(link).collect();
        let before = self.other_guards(now, config, ended, program);
        let remotes: Vec<IpAddr> = self.fars.keys().copied().collect();
        let mut moved = false;
        for remote in remotes {
            moved |= self.lay_again(now, remote, &before, program);
        }
        self.guards.iter_mut().filter(|g| !g.needed).for_each(|g| g.retry = None);
        self.provision(now, &old, moved, program);
        (self.changed, self.unsettled) = (true, true);
        moved
    }

    /// Gives those before.
    fn other_guards(
        &mut self,
        now: Instant,
        config: &Config,
        ended: &HashSet<PeerId>,
        program: &mut Program,
    ) -> Vec<Guard> {
        let guards = config.ike.peers.iter().filter_map(|p| Guard::new(config, p)).collect();
        let before = std::mem::replace(&mut self.guards, guards);
        let by_name: HashMap<&str, &Guard> = before.iter().map(|g| (g.pad.as_str(), g)).collect();
        for guard in &mut self.guards {
            let stays = |g: &&&Guard| g.is_same(guard) && !g.peer.is_some_and(|p| ended.contains(&p));
            if let Some(same) = by_name.get(guard.pad.as_str()).filter(stays) {
                guard.adopt(same);
            }
            if guard.bgp {
                guard.need(now);
            }
        }
        for gone in before.iter().filter(|g| g.bgp && g.up.is_some()) {
            let carried = |g: &Guard| g.bgp && g.remote == gone.remote && g.up.is_some();
            if !self.guards.iter().any(carried) {
                program.snapshot(SnapshotOp::HostPeer(gone.remote, None));
            }
        }
        before
    }

    fn lay_again(&mut self, now: Instant, remote: IpAddr, before: &[Guard], program: &mut Program) -> bool {
        let Some(mut old) = self.fars.remove(&remote) else { return false };
        let guard = |w: &super::Wire| w.guard.and_then(|i| before.get(i));
        let known: HashMap<Option<String>, SoftwireId> =
            old.wires.iter().map(|w| (guard(w).map(|g| g.pad.clone()), w.softwire.id)).collect();
        let routes: Vec<_> = old.wires.iter().map(|w| guard(w).map(Guard::routes)).collect();
        let none = Far { link: old.link, forget: None, wires: Vec::new(), users: 0, dead: false, held: false };
        let mut far = self.lay(now, remote, &known).unwrap_or(none);
        (far.users, far.dead, far.held) = (old.users, old.dead, old.held);
        let path_mtu = old.wires.first().map(|w| w.softwire.path_mtu).filter(|_| far.link == old.link);
        far.forget = old.forget.filter(|_| path_mtu.is_some());
        for wire in &mut far.wires {
            (wire.softwire.dead, wire.softwire.path_mtu) = (far.dead, path_mtu.unwrap_or(far.link));
            wire.publish(&self.guards, program);
        }
        let stays = |id: &SoftwireId| far.wires.iter().any(|w| w.softwire.id == *id);
        self.leaving.extend(known.into_values().filter(|id| !stays(id)));
        let now_routes = far.wires.iter().map(|w| w.guard.and_then(|i| self.guards.get(i)).map(Guard::routes));
        let moved = !now_routes.eq(routes);
        // Where routes move, they are noted as they are looked at again.
        for (wire, before) in far.wires.iter_mut().zip(&mut old.wires).filter(|_| !moved) {
            wire.prefixes = std::mem::take(&mut before.prefixes);
        }
        self.fars.insert(remote, far);
        moved
    }

    /// AFBRs and prefixes that are configured.
    fn provision(&mut self, now: Instant, old: &settings::Mesh, moved: bool, program: &mut Program) {
        let wanted: Vec<IpAddr> = self.settings.afbrs.iter().map(|a| a.address).collect();
        for remote in &wanted {
            if !self.provisioned.contains(remote) && self.take(now, *remote, program) {
                self.provisioned.insert(*remote);
            }
        }
        let (is, was) = (routes(&self.settings), routes(old));
        for prefix in was.keys().filter(|p| !is.contains_key(p)) {
            self.unroute(*prefix, program);
        }
        for (prefix, egresses) in is {
            if moved || !self.routed(&prefix) || was.get(&prefix) != Some(&egresses) {
                self.route(now, prefix, egresses, program);
            }
        }
        let gone: Vec<IpAddr> = self.provisioned.iter().filter(|a| !wanted.contains(a)).copied().collect();
        gone.iter().for_each(|a| _ = self.provisioned.remove(a));
        self.release(gone, program);
    }
}

fn routes(mesh: &settings::Mesh) -> BTreeMap<IpPrefix, Vec<Egress>> {
    let mut all: BTreeMap<IpPrefix, Vec<Egress>> = BTreeMap::new();
    for afbr in &mesh.afbrs {
        for prefix in afbr.prefixes.iter().filter_map(|net| IpPrefix::new(net.network(), net.prefix_len())) {
            all.entry(prefix).or_default().push(Egress { endpoint: afbr.address, color: None });
        }
    }
    all
}

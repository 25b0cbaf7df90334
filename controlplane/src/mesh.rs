//! Softwires of the mesh: which there are, what protects them, and what is routed into them (RFC 5565).
//!
//! ```text
//!   prefix ──► egresses: AFBR, color ──► softwire (our end, its end, guard) ──► SnapshotOp: softwire, route
//!                                             ▲            ▲
//!                            IKE: SA up, down ┘            └ path MTU from the core
//! ```
//!
//! The softwires to an AFBR exist as long as a prefix is routed to it, and for an AFBR that is configured, always; those to
//! one that BFD has found dead are held until it is alive again. There is one for each entry of `ike.peers` that has its `address` and a profile, and unless one of those covers all, one in
//! the clear. A route takes the first whose color and prefixes fit (M23). A protected softwire passes nothing until its
//! SA is up: see `guard`.

mod guard;
mod reconfigure;

use crate::config::{Config, mesh as settings};
use crate::peer::payload_mtu;
use crate::program::Program;
use dataplane_api::softwire::{MAX_SOFTWIRES, Protection};
use dataplane_api::{EspSuite, IpPrefix, NextHop, PeerId, SnapshotOp, Softwire, SoftwireId};
use guard::Guard;
pub use guard::{Initiate, Sa, end};
use ipnet::IpNet;
use prefix_trie::joint::{JointPrefixMap, JointPrefixSet};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// Where a route leaves the mesh: an AFBR, and the color by which the route asks for a tunnel to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Egress {
    /// The AFBR's end of the softwire.
    pub endpoint: IpAddr,
    /// Color (RFC 9012, section 4.3).
    pub color: Option<u32>,
}

/// An AFBR that something is routed to.
#[derive(Debug)]
struct Far {
    /// What the port carries.
    link: u16,
    /// When a path MTU that was told is forgotten.
    forget: Option<Instant>,
    /// In the order of the configuration, the one in the clear last.
    wires: Vec<Wire>,
    /// Prefixes routed to it, and one each for being configured and held.
    users: usize,
    /// BFD has found it dead.
    dead: bool,
    /// Kept though nothing is routed to it, so that it can be found alive again.
    held: bool,
}

#[derive(Debug)]
struct Wire {
    softwire: Softwire,
    /// Index of its guard.
    guard: Option<usize>,
    /// What is routed into it.
    prefixes: JointPrefixSet<IpNet>,
}

/// What is shown of a softwire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View<'a> {
    /// As the data plane has it.
    pub softwire: Softwire,
    /// PAD entry that protects it.
    pub pad: Option<&'a str>,
    /// Its profile.
    pub profile: Option<&'a str>,
    /// Algorithms of the SA that is up.
    pub suite: Option<EspSuite>,
    /// What is routed into it.
    pub prefixes: &'a JointPrefixSet<IpNet>,
}

/// See the module.
#[derive(Debug)]
pub struct Mesh {
    settings: settings::Mesh,
    links: HashMap<IpAddr, u16>,
    guards: Vec<Guard>,
    fars: BTreeMap<IpAddr, Far>,
    routes: JointPrefixMap<IpNet, Arc<[Egress]>>,
    free: Vec<SoftwireId>,
    fresh: u16,
    /// An AFBR has come or gone.
    changed: bool,
    /// Some that are held may be let go, or are leaving.
    unsettled: bool,
    /// Configured AFBRs that have softwires.
    provisioned: BTreeSet<IpAddr>,
    /// Softwires that another configuration has done away with; routes may still lead into them.
    leaving: Vec<SoftwireId>,
}

impl Mesh {
    /// With the softwires and routes that are configured.
    pub fn new(now: Instant, config: &Config, program: &mut Program) -> Self {
        let mut mesh = Self {
            settings: config.mesh.clone(),
            links: HashMap::new(),
            guards: Vec::new(),
            fars: BTreeMap::new(),
            routes: JointPrefixMap::new(),
            free: Vec::new(),
            fresh: 0,
            changed: false,
            unsettled: false,
            provisioned: BTreeSet::new(),
            leaving: Vec::new(),
        };
        mesh.configure(now, config, &HashSet::new(), program);
        mesh
    }

    /// Routes `prefix` into the softwires to `egresses`; `false` when there can be none to any of them (no end of ours in
    /// that family, IPsec required and not configured, too many): the prefix is unreachable then.
    pub fn route(
        &mut self,
        now: Instant,
        prefix: IpPrefix,
        egresses: impl Into<Arc<[Egress]>>,
        program: &mut Program,
    ) -> bool {
        let egresses = egresses.into();
        let net = IpNet::from(prefix);
        let old = self.routes.insert(net, Arc::clone(&egresses));
        for egress in old.iter().flat_map(|old| old.iter()) {
            self.select(net, egress, false);
        }
        let mut hops = Vec::with_capacity(egresses.len());
        let mut refused = Vec::new();
        for egress in egresses.iter() {
            if self.take(now, egress.endpoint, program) {
                hops.extend(self.select(net, egress, true).map(NextHop::Softwire));
            } else {
                refused.push(egress.endpoint);
            }
        }
        if !refused.is_empty() {
            let taken = egresses.iter().filter(|e| !refused.contains(&e.endpoint)).copied().collect();
            self.routes.insert(net, taken);
        }
        hops.dedup();
        let feasible = !hops.is_empty();
        let hops = if feasible { hops } else { vec![NextHop::Unreachable] };
        program.snapshot(SnapshotOp::RouteAdd(prefix, hops));
        if let Some(old) = old {
            self.release(old.iter().map(|e| e.endpoint), program);
        }
        feasible
    }

    /// Takes back the route of `prefix`.
    pub fn unroute(&mut self, prefix: IpPrefix, program: &mut Program) {
        let net = IpNet::from(prefix);
        if let Some(old) = self.routes.remove(&net) {
            program.withdraw(prefix);
            old.iter().for_each(|egress| _ = self.select(net, egress, false));
            self.release(old.iter().map(|e| e.endpoint), program);
        }
    }

    /// The softwire for a route, which is noted there, or is no more.
    fn select(&mut self, net: IpNet, egress: &Egress, routed: bool) -> Option<SoftwireId> {
        let guard = |i: usize| self.guards.get(i).is_some_and(|g| g.covers(&net, egress.color));
        let wires = &mut self.fars.get_mut(&egress.endpoint)?.wires;
        let wire = wires.iter_mut().find(|w| w.guard.is_none_or(guard))?;
        match routed {
            true => wire.prefixes.insert(net),
            false => wire.prefixes.remove(&net),
        };
        Some(wire.softwire.id)
    }

    /// One more user of the softwires to `remote`; `false` when there can be none.
    fn take(&mut self, now: Instant, remote: IpAddr, program: &mut Program) -> bool {
        if let Some(far) = self.fars.get_mut(&remote) {
            far.users += 1;
            return true;
        }
        let Some(mut far) = self.lay(now, remote, &HashMap::new()) else { return false };
        far.wires.iter_mut().for_each(|w| w.publish(&self.guards, program));
        self.fars.insert(remote, far);
        self.changed = true;
        true
    }

    /// Softwires to `remote`; those of an entry of the PAD, or in the clear, that have a number in `known` keep it.
    fn lay(&mut self, now: Instant, remote: IpAddr, known: &HashMap<Option<String>, SoftwireId>) -> Option<Far> {
        let local = self.settings.local_for(remote)?;
        let &link = self.links.get(&local)?;
        let of_remote = |(i, g): (usize, &Guard)| (g.remote == remote && g.profile.is_some()).then_some(i);
        let mut guards: Vec<_> = self.guards.iter().enumerate().filter_map(of_remote).map(Some).collect();
        let all = guards.iter().flatten().any(|i| self.guards.get(*i).is_some_and(Guard::covers_all));
        if !all && !self.settings.require_ipsec {
            guards.push(None);
        }
        let pad = |guard: &Option<usize>| guard.and_then(|i| self.guards.get(i)).map(|g| g.pad.clone());
        let ids: Vec<Option<SoftwireId>> = guards.iter().map(|g| known.get(&pad(g)).copied()).collect();
        let fresh = ids.iter().filter(|id| id.is_none()).count();
        if guards.is_empty() || fresh > self.free.len() + MAX_SOFTWIRES - usize::from(self.fresh) {
            return None;
        }
        let alone = guards.len() == 1;
        let mut far = Far { link, forget: None, wires: Vec::new(), users: 1, dead: false, held: false };
        for (guard, id) in guards.into_iter().zip(ids) {
            let id = id.or_else(|| self.free.pop()).unwrap_or_else(|| {
                self.fresh += 1;
                SoftwireId(self.fresh - 1)
            });
            let softwire = Softwire {
                id,
                local,
                remote,
                mtu: 0,
                path_mtu: link,
                hop_limit: self.settings.hop_limit,
                dscp: self.settings.dscp,
                too_big: self.settings.too_big,
                protection: if guard.is_some() { Protection::Esp(None) } else { Protection::Clear },
                // What is protected must not come in the clear from beside.
                strict: self.settings.strict || guard.is_none() && !alone,
                bfd: self.settings.bfd.is_some(),
                dead: false,
                tfc: false,
            };
            if let Some(guard) = guard.and_then(|i| self.guards.get_mut(i)) {
                guard.need(now);
            }
            far.wires.push(Wire { softwire, guard, prefixes: JointPrefixSet::new() });
        }
        Some(far)
    }

    fn release(&mut self, remotes: impl IntoIterator<Item = IpAddr>, program: &mut Program) {
        for remote in remotes {
            let Some(far) = self.fars.get_mut(&remote) else { continue };
            far.users -= 1;
            if far.users > 0 {
                continue;
            }
            self.changed = true;
            for wire in self.fars.remove(&remote).into_iter().flat_map(|far| far.wires) {
                program.snapshot(SnapshotOp::SoftwireDel(wire.softwire.id));
                self.free.push(wire.softwire.id);
                if let Some(guard) = wire.guard.and_then(|i| self.guards.get_mut(i)) {
                    guard.release();
                }
            }
        }
    }

    /// An AFBR cannot be reached, or can again. Meanwhile the data plane leaves the softwires to it out of routes; they are
    /// held, whatever BGP makes of the routes, until it is found alive and the routes have [settled].
    ///
    /// [settled]: Self::settle
    pub fn set_dead(&mut self, remote: IpAddr, dead: bool, program: &mut Program) {
        let Some(far) = self.fars.get_mut(&remote).filter(|far| far.dead != dead) else { return };
        far.dead = dead;
        if dead && !far.held {
            far.held = true;
            far.users += 1;
        }
        self.unsettled |= !dead;
        for wire in &mut far.wires {
            wire.softwire.dead = dead;
            wire.publish(&self.guards, program);
        }
    }

    /// Nothing leads to a dead AFBR any more: its softwires need not be held if nothing else needs them; says whether so.
    pub fn bury(&mut self, remote: IpAddr) -> bool {
        let Some(far) = self.fars.get_mut(&remote) else { return true };
        let unused = far.held && far.users == 1;
        far.dead &= !unused;
        self.unsettled |= unused;
        unused
    }

    /// Lets go of softwires that were held and are alive, once what is to be routed into them is.
    pub fn settle(&mut self, program: &mut Program) {
        if !std::mem::take(&mut self.unsettled) {
            return;
        }
        for id in self.leaving.drain(..) {
            program.snapshot(SnapshotOp::SoftwireDel(id));
            self.free.push(id);
        }
        let mut alive = Vec::new();
        for (remote, far) in self.fars.iter_mut().filter(|(_, far)| far.held && !far.dead) {
            far.held = false;
            alive.push(*remote);
        }
        self.release(alive, program);
    }

    /// Whether an AFBR has come or gone since this was asked last.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// SAs that are to be brought up now. Tell the outcome by [`Self::initiated`].
    pub fn due(&mut self, now: Instant) -> Vec<Initiate> {
        self.guards.iter_mut().filter_map(|g| g.due(now)).collect()
    }

    /// A packet was to go into a softwire whose SA is not up.
    pub fn wanted(&mut self, now: Instant, id: SoftwireId) {
        let wires = self.fars.values().flat_map(|far| &far.wires);
        let guard = wires.filter(|w| w.softwire.id == id).find_map(|w| w.guard);
        if let Some(guard) = guard.and_then(|i| self.guards.get_mut(i)) {
            guard.want(now);
        }
    }

    /// An attempt is under way: `PeerUp` or `PeerDown` will follow.
    pub fn initiated(&mut self, pad: &str, peer: PeerId) {
        if let Some(guard) = self.guards.iter_mut().find(|g| g.pad == pad) {
            guard.initiated(peer);
        }
    }

    /// The child SA of an AFBR is up, or another one is selected. `remote` is the other end as IKE knows it.
    pub fn protected(&mut self, pad: &str, remote: IpAddr, peer: PeerId, sa: Sa, program: &mut Program) {
        let Some((i, guard)) = self.guards.iter_mut().enumerate().find(|(_, g)| g.pad == pad) else { return };
        if guard.remote != remote {
            tracing::warn!(pad, %remote, expected = %guard.remote, "SA of an AFBR from another address: not used");
            return;
        }
        guard.protect(peer, sa);
        self.publish(i, program);
    }

    /// A peer is gone, or has no child SA any more.
    pub fn unprotected(&mut self, now: Instant, peer: PeerId, program: &mut Program) {
        if let Some((i, guard)) = self.guards.iter_mut().enumerate().find(|(_, g)| g.peer == Some(peer)) {
            guard.lose(now);
            self.publish(i, program);
        }
    }

    /// What a guard protects has changed.
    fn publish(&mut self, i: usize, program: &mut Program) {
        let Some(guard) = self.guards.get(i) else { return };
        if guard.bgp {
            let owner = guard.peer.zip(guard.up).map(|(peer, sa)| (peer, sa.worker));
            program.snapshot(SnapshotOp::HostPeer(guard.remote, owner));
        }
        let wires = self.fars.get_mut(&guard.remote).into_iter().flat_map(|far| &mut far.wires);
        for wire in wires.filter(|w| w.guard == Some(i)) {
            wire.publish(&self.guards, program);
        }
    }

    /// A router on the path told its MTU.
    pub fn path_mtu(&mut self, now: Instant, id: SoftwireId, mtu: u16, program: &mut Program) {
        let age = self.settings.path_mtu_age;
        let news = |far: &&mut Far| far.wires.iter().any(|w| w.softwire.id == id && mtu < w.softwire.path_mtu);
        if let Some(far) = self.fars.values_mut().find(news) {
            far.forget = Some(now + age);
            far.set_path_mtu(mtu, &self.guards, program);
        }
    }

    /// When to call [`Self::handle_timeout`] and [`Self::due`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let forget = self.fars.values().filter_map(|far| far.forget);
        forget.chain(self.guards.iter().filter_map(Guard::deadline)).min()
    }

    /// Forgets path MTUs of old.
    pub fn handle_timeout(&mut self, now: Instant, program: &mut Program) {
        for far in self.fars.values_mut().filter(|far| far.forget.is_some_and(|t| t <= now)) {
            far.forget = None;
            far.set_path_mtu(far.link, &self.guards, program);
        }
    }

    /// Every softwire.
    pub fn softwires(&self) -> impl Iterator<Item = View<'_>> {
        self.fars.values().flat_map(|far| &far.wires).map(|w| {
            let guard = w.guard.and_then(|i| self.guards.get(i));
            View {
                softwire: w.softwire,
                pad: guard.map(|g| g.pad.as_str()),
                profile: guard.and_then(|g| g.profile.as_deref()),
                suite: guard.and_then(|g| g.up).map(|sa| sa.suite),
                prefixes: &w.prefixes,
            }
        })
    }

    /// Whether a PAD entry is that of an AFBR, and not of subscribers.
    pub fn guards(&self, pad: &str) -> bool {
        self.guards.iter().any(|g| g.pad == pad)
    }

    /// Whether an AFBR is expected there.
    pub fn expects(&self, remote: IpAddr) -> bool {
        self.guards.iter().any(|g| g.remote == remote)
    }

    /// Whether a prefix is routed into softwires.
    pub fn routed(&self, prefix: &IpPrefix) -> bool {
        self.routes.contains_key(&(*prefix).into())
    }
}

impl Far {
    fn set_path_mtu(&mut self, mtu: u16, guards: &[Guard], program: &mut Program) {
        for wire in &mut self.wires {
            tracing::info!(remote = %wire.softwire.remote, mtu, "path MTU of a softwire");
            wire.softwire.path_mtu = mtu;
            wire.publish(guards, program);
        }
    }
}

impl Wire {
    fn publish(&mut self, guards: &[Guard], program: &mut Program) {
        let guard = self.guard.and_then(|i| guards.get(i));
        let up = guard.and_then(|g| g.peer.zip(g.up));
        if guard.is_some() {
            self.softwire.protection = Protection::Esp(up.map(|(peer, sa)| (peer, sa.worker)));
        }
        self.softwire.tfc = guard.is_some_and(|g| g.tfc) && up.is_some_and(|(_, sa)| sa.tfc);
        let (v6, encap) = (self.softwire.remote.is_ipv6(), up.is_some_and(|(_, sa)| sa.encap));
        self.softwire.mtu = payload_mtu(self.softwire.path_mtu, v6, encap, up.map(|(_, sa)| sa.suite));
        program.snapshot(SnapshotOp::SoftwireSet(self.softwire));
    }
}

#[cfg(test)]
mod tests;

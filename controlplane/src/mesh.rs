//! Softwires of the mesh: which there are, what protects them, and what is routed into them (RFC 5565).
//!
//! ```text
//!   prefix ──► egress AFBRs ──► softwire (our end, its end) ──► SnapshotOp: softwire, route
//!                                   ▲            ▲
//!                  IKE: SA up, down ┘            └ path MTU from the core
//! ```
//!
//! A softwire exists as long as a prefix is routed into it, and for an AFBR that is configured, always; one that BFD has
//! found dead is held until it is alive again. One whose end is the `address` of an entry of `ike.peers` is protected: it
//! passes nothing until that peer's SA is up. The SA is brought up at start and again, with growing pauses, whenever it
//! is lost.

use crate::config::{Config, mesh as settings};
use crate::peer::payload_mtu;
use crate::program::Program;
use dataplane_api::softwire::{MAX_SOFTWIRES, Protection};
use dataplane_api::{EspSuite, IpPrefix, NextHop, PeerId, SnapshotOp, Softwire, SoftwireId, WorkerId};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// First pause before another attempt at an SA; it doubles up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LAST_PAUSE: Duration = Duration::from_secs(60);

/// A request to bring up an IKE SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Initiate {
    /// PAD entry.
    pub pad: String,
    /// Our address.
    pub local: IpAddr,
    /// The AFBR's.
    pub remote: IpAddr,
}

/// The security association behind a softwire.
#[derive(Debug)]
struct Guard {
    pad: String,
    /// We bring it up.
    initiate: bool,
    /// When to try next; `None` while one is up or on its way.
    retry: Option<Instant>,
    pause: Duration,
    /// Peer on its way up, or up.
    peer: Option<PeerId>,
    /// Its child SA: worker, algorithms, UDP encapsulation.
    up: Option<(WorkerId, EspSuite, bool)>,
}

#[derive(Debug)]
struct Entry {
    softwire: Softwire,
    /// What the port carries.
    link: u16,
    /// When a path MTU that was told is forgotten.
    forget: Option<Instant>,
    guard: Option<Guard>,
    /// Prefixes routed into it, and one each for being configured and held.
    users: usize,
    /// Kept though nothing is routed into it, so that it can be found alive again.
    held: bool,
}

/// What is shown of a softwire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View<'a> {
    /// As the data plane has it.
    pub softwire: Softwire,
    /// PAD entry that protects it.
    pub pad: Option<&'a str>,
    /// Algorithms of the SA that is up.
    pub suite: Option<EspSuite>,
}

/// See the module.
#[derive(Debug)]
pub struct Mesh {
    settings: settings::Mesh,
    links: HashMap<IpAddr, u16>,
    guards: HashMap<IpAddr, (String, bool)>,
    entries: BTreeMap<IpAddr, Entry>,
    routes: BTreeMap<IpPrefix, Vec<IpAddr>>,
    free: Vec<SoftwireId>,
    fresh: u16,
    /// A softwire has come or gone.
    changed: bool,
    /// Some that are held may be let go.
    unsettled: bool,
}

impl Mesh {
    /// With the softwires and routes that are configured.
    pub fn new(now: Instant, config: &Config, program: &mut Program) -> Self {
        let m = &config.mesh;
        let link = |a: &IpAddr| Some((*a, config.port_of(*a)?.1.mtu));
        let guard = |p: &crate::config::Peer| {
            let (address, profile) = (p.address?, m.profile(p.softwire.as_deref()?)?);
            let lower = m.local_for(address).is_some_and(|local| local < address);
            Some((address, (p.name.clone(), profile.initiate.unwrap_or(lower))))
        };
        let mut mesh = Self {
            settings: m.clone(),
            links: m.local.iter().filter_map(link).collect(),
            guards: config.ike.peers.iter().filter_map(guard).collect(),
            entries: BTreeMap::new(),
            routes: BTreeMap::new(),
            free: Vec::new(),
            fresh: 0,
            changed: false,
            unsettled: false,
        };
        let mut routes: BTreeMap<IpPrefix, Vec<IpAddr>> = BTreeMap::new();
        for afbr in &m.afbrs {
            mesh.take(now, afbr.address, program);
            for net in &afbr.prefixes {
                if let Some(prefix) = IpPrefix::new(net.network(), net.prefix_len()) {
                    routes.entry(prefix).or_default().push(afbr.address);
                }
            }
        }
        for (prefix, egresses) in routes {
            mesh.route(now, prefix, &egresses, program);
        }
        mesh
    }

    /// Routes `prefix` into the softwires to `egresses`; `false` when there can be none to any of them (no end of ours in
    /// that family, IPsec required and not configured, too many): the prefix is unreachable then.
    pub fn route(&mut self, now: Instant, prefix: IpPrefix, egresses: &[IpAddr], program: &mut Program) -> bool {
        let mut hops = Vec::new();
        let mut taken = Vec::new();
        for &egress in egresses {
            if let Some(id) = self.take(now, egress, program) {
                hops.push(NextHop::Softwire(id));
                taken.push(egress);
            }
        }
        let feasible = !hops.is_empty();
        let hops = if feasible { hops } else { vec![NextHop::Unreachable] };
        program.snapshot(SnapshotOp::RouteAdd(prefix, hops));
        if let Some(old) = self.routes.insert(prefix, taken) {
            self.release(&old, program);
        }
        feasible
    }

    /// Takes back the route of `prefix`.
    pub fn unroute(&mut self, prefix: IpPrefix, program: &mut Program) {
        if let Some(old) = self.routes.remove(&prefix) {
            program.snapshot(SnapshotOp::RouteDel(prefix));
            self.release(&old, program);
        }
    }

    /// One more user of the softwire to `remote`.
    fn take(&mut self, now: Instant, remote: IpAddr, program: &mut Program) -> Option<SoftwireId> {
        if let Some(entry) = self.entries.get_mut(&remote) {
            entry.users += 1;
            return Some(entry.softwire.id);
        }
        let local = self.settings.local_for(remote)?;
        let &link = self.links.get(&local)?;
        let guard = self.guards.get(&remote).map(|(pad, initiate)| Guard {
            pad: pad.clone(),
            initiate: *initiate,
            retry: initiate.then_some(now),
            pause: FIRST_PAUSE,
            peer: None,
            up: None,
        });
        if guard.is_none() && self.settings.require_ipsec {
            return None;
        }
        let id = self.free.pop().or_else(|| {
            let fresh = (usize::from(self.fresh) < MAX_SOFTWIRES).then_some(SoftwireId(self.fresh));
            self.fresh += u16::from(fresh.is_some());
            fresh
        })?;
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
            strict: self.settings.strict,
            bfd: self.settings.bfd.is_some(),
            dead: false,
        };
        let mut entry = Entry { softwire, link, forget: None, guard, users: 1, held: false };
        entry.publish(program);
        self.changed = true;
        self.entries.insert(remote, entry);
        Some(id)
    }

    fn release(&mut self, remotes: &[IpAddr], program: &mut Program) {
        for remote in remotes {
            let Some(entry) = self.entries.get_mut(remote) else { continue };
            entry.users -= 1;
            if entry.users == 0
                && let Some(entry) = self.entries.remove(remote)
            {
                self.changed = true;
                program.snapshot(SnapshotOp::SoftwireDel(entry.softwire.id));
                self.free.push(entry.softwire.id);
            }
        }
    }

    /// The AFBR at the other end cannot be reached, or can again. Meanwhile the data plane leaves the softwire out of
    /// routes; it is held, whatever BGP makes of the routes, until it is found alive and the routes have [settled].
    ///
    /// [settled]: Self::settle
    pub fn set_dead(&mut self, remote: IpAddr, dead: bool, program: &mut Program) {
        let Some(entry) = self.entries.get_mut(&remote).filter(|e| e.softwire.dead != dead) else { return };
        entry.softwire.dead = dead;
        if dead && !entry.held {
            entry.held = true;
            entry.users += 1;
        }
        self.unsettled |= !dead;
        entry.publish(program);
    }

    /// Nothing leads to a dead AFBR any more: its softwire need not be held if nothing else needs it; says whether so.
    pub fn bury(&mut self, remote: IpAddr) -> bool {
        let Some(entry) = self.entries.get_mut(&remote) else { return true };
        let unused = entry.held && entry.users == 1;
        entry.softwire.dead &= !unused;
        self.unsettled |= unused;
        unused
    }

    /// Lets go of softwires that were held and are alive, once what is to be routed into them is.
    pub fn settle(&mut self, program: &mut Program) {
        if !std::mem::take(&mut self.unsettled) {
            return;
        }
        let mut alive = Vec::new();
        for (remote, entry) in self.entries.iter_mut().filter(|(_, e)| e.held && !e.softwire.dead) {
            entry.held = false;
            alive.push(*remote);
        }
        self.release(&alive, program);
    }

    /// Whether a softwire has come or gone since this was asked last.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// SAs that are to be brought up now. Tell the outcome by [`Self::initiated`].
    pub fn due(&mut self, now: Instant) -> Vec<Initiate> {
        let mut due = Vec::new();
        for entry in self.entries.values_mut() {
            if let Some(guard) = entry.guard.as_mut().filter(|g| g.retry.is_some_and(|t| t <= now)) {
                guard.retry = Some(now + guard.pause);
                guard.pause = (guard.pause * 2).min(LAST_PAUSE);
                let (local, remote) = (entry.softwire.local, entry.softwire.remote);
                due.push(Initiate { pad: guard.pad.clone(), local, remote });
            }
        }
        due
    }

    /// An attempt is under way: `PeerUp` or `PeerDown` will follow.
    pub fn initiated(&mut self, pad: &str, peer: PeerId) {
        if let Some((_, guard)) = self.guarded(pad) {
            (guard.retry, guard.peer) = (None, Some(peer));
        }
    }

    /// The child SA of an AFBR is up, or another one is selected. `remote` is the other end as IKE knows it.
    pub fn protected(
        &mut self,
        pad: &str,
        remote: IpAddr,
        peer: PeerId,
        (worker, suite, encap): (WorkerId, EspSuite, bool),
        program: &mut Program,
    ) {
        let Some((softwire, guard)) = self.guarded(pad) else { return };
        if softwire.remote != remote {
            tracing::warn!(pad, %remote, expected = %softwire.remote, "SA of an AFBR from another address: not used");
            return;
        }
        (guard.peer, guard.up, guard.retry, guard.pause) =
            (Some(peer), Some((worker, suite, encap)), None, FIRST_PAUSE);
        softwire.protection = Protection::Esp(Some((peer, worker)));
        let remote = softwire.remote;
        if let Some(entry) = self.entries.get_mut(&remote) {
            entry.publish(program);
        }
    }

    /// A peer is gone, or has no child SA any more.
    pub fn unprotected(&mut self, now: Instant, peer: PeerId, program: &mut Program) {
        for entry in self.entries.values_mut() {
            let Some(guard) = entry.guard.as_mut().filter(|g| g.peer == Some(peer)) else { continue };
            (guard.peer, guard.up) = (None, None);
            guard.retry = guard.initiate.then_some(now + guard.pause);
            guard.pause = (guard.pause * 2).min(LAST_PAUSE);
            entry.softwire.protection = Protection::Esp(None);
            entry.publish(program);
        }
    }

    fn guarded(&mut self, pad: &str) -> Option<(&mut Softwire, &mut Guard)> {
        let mut all = self.entries.values_mut().filter_map(|e| Some((&mut e.softwire, e.guard.as_mut()?)));
        all.find(|(_, g)| g.pad == pad)
    }

    /// A router on the path told its MTU.
    pub fn path_mtu(&mut self, now: Instant, id: SoftwireId, mtu: u16, program: &mut Program) {
        let age = self.settings.path_mtu_age;
        if let Some(entry) = self.entries.values_mut().find(|e| e.softwire.id == id && mtu < e.softwire.path_mtu) {
            tracing::info!(remote = %entry.softwire.remote, mtu, "path MTU of a softwire");
            entry.softwire.path_mtu = mtu;
            entry.forget = Some(now + age);
            entry.publish(program);
        }
    }

    /// When to call [`Self::handle_timeout`] and [`Self::due`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let each = |e: &Entry| [e.forget, e.guard.as_ref().and_then(|g| g.retry)];
        self.entries.values().flat_map(each).flatten().min()
    }

    /// Forgets path MTUs of old.
    pub fn handle_timeout(&mut self, now: Instant, program: &mut Program) {
        for entry in self.entries.values_mut() {
            if entry.forget.is_some_and(|t| t <= now) {
                entry.forget = None;
                entry.softwire.path_mtu = entry.link;
                entry.publish(program);
            }
        }
    }

    /// Every softwire.
    pub fn softwires(&self) -> impl Iterator<Item = View<'_>> {
        self.entries.values().map(|e| View {
            softwire: e.softwire,
            pad: e.guard.as_ref().map(|g| g.pad.as_str()),
            suite: e.guard.as_ref().and_then(|g| g.up).map(|(_, suite, _)| suite),
        })
    }

    /// Prefixes and the AFBRs they are routed to.
    pub fn routes(&self) -> impl Iterator<Item = (IpPrefix, &[IpAddr])> {
        self.routes.iter().map(|(p, v)| (*p, v.as_slice()))
    }
}

impl Entry {
    fn publish(&mut self, program: &mut Program) {
        let up = self.guard.as_ref().and_then(|g| g.up);
        let (suite, encap) = up.map_or((None, false), |(_, suite, encap)| (Some(suite), encap));
        self.softwire.mtu = payload_mtu(self.softwire.path_mtu, self.softwire.remote.is_ipv6(), encap, suite);
        program.snapshot(SnapshotOp::SoftwireSet(self.softwire));
    }
}

#[cfg(test)]
mod tests;

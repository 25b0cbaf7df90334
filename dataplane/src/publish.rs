//! What all workers share, and how it changes under their feet without locks.
//!
//! ```text
//!   publisher: next snapshot ──► ArcSwap ──► each worker looks once per poll and keeps a reference
//!              retired snapshots ◄── freed here, when no worker has a reference any more
//! ```
//!
//! A [`Snapshot`] never changes. Its small parts are copied when they change. The forwarding tables are large, so
//! there are two pairs (left-right): changes go to the pair that no worker reads, then the pairs change places, and
//! what was done to one is done to the other before the next change. That nobody reads a pair is not a convention:
//! the publisher holds the only `Arc` to it then, and `Arc::get_mut` is its proof.

use crate::fib::{Fibs, Groups, NO_ROUTE, SessionWord};
use crate::softwire::Softwires;
use arc_swap::ArcSwap;
use dataplane_api::{
    IpPrefix, MacAddr, NextHop, PeerId, PolicyRule, PortConfig, PortId, SnapshotOp, SoftwireId, WorkerId, Zone,
};
use dpdk::fib::{Fib4, Fib6};
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// A port as workers see it.
#[derive(Clone, Debug)]
pub struct Port {
    /// Its configuration.
    pub config: PortConfig,
    /// Its first IPv4 address.
    pub v4: Option<Ipv4Addr>,
    /// Its first IPv6 address that is not link-local.
    pub v6: Option<Ipv6Addr>,
}

/// Ethernet addresses of neighbours. The host stack bounds their number, and with it what a chosen collision can cost.
pub type Neighbours = HashMap<(PortId, IpAddr), MacAddr, BuildHasherDefault<Multiply>>;

/// See [`SnapshotOp::HostPeer`]: addresses from the configuration.
pub type HostPeers = HashMap<IpAddr, (PeerId, WorkerId), BuildHasherDefault<Multiply>>;

/// A hash of few instructions, looked up once for each packet sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Multiply(u64);

impl Hasher for Multiply {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_ne_bytes(word));
        }
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    #[inline]
    fn write_u16(&mut self, word: u16) {
        self.write_u64(u64::from(word));
    }

    #[inline]
    fn write_isize(&mut self, word: isize) {
        self.write_u64(word as u64);
    }

    #[inline]
    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 29
    }
}

/// Ports, routes, neighbours and policy at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts publications.
    pub version: u64,
    /// By port number; `None` where nothing was configured yet.
    pub ports: Arc<[Option<Port>]>,
    /// Our addresses, sorted: those of the ports, and host routes to ourselves.
    pub ours: Arc<[IpAddr]>,
    /// Forwarding tables.
    pub fibs: Arc<Fibs>,
    /// What their words mean.
    pub groups: Arc<Groups>,
    /// Resolved neighbours.
    pub neighbours: Arc<Neighbours>,
    /// Softwires of the mesh.
    pub softwires: Arc<Softwires>,
    /// The SPD, in order.
    pub policy: Arc<[PolicyRule]>,
    /// Peers that protect what the host stack says to an address, and the workers that own their SAs.
    pub host_peers: Arc<HostPeers>,
}

impl Snapshot {
    /// A port's configuration.
    #[inline]
    pub fn port(&self, id: PortId) -> Option<&Port> {
        self.ports.get(usize::from(id.0)).and_then(Option::as_ref)
    }

    /// Whether `address` is one of ours.
    #[inline]
    pub fn is_ours(&self, address: IpAddr) -> bool {
        self.ours.binary_search(&address).is_ok()
    }

    /// The trust in what arrives on a port; public unless configured otherwise.
    #[inline]
    pub fn zone(&self, id: PortId) -> Zone {
        self.port(id).map_or(Zone::Public, |p| p.config.zone)
    }
}

/// Sizes of the forwarding tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FibSizes {
    /// IPv4 routes.
    pub routes_v4: u32,
    /// Second-level tables for IPv4 prefixes longer than /24.
    pub tbl8_v4: u32,
    /// IPv6 routes.
    pub routes_v6: u32,
    /// Second-level tables for IPv6.
    pub tbl8_v6: u32,
}

/// Why a change was not made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PublishError {
    /// The forwarding table refused a route: full.
    #[error("route {0}: {1}")]
    Route(IpPrefix, dpdk::Error),
    /// A session id that names no slot.
    #[error("route {0} leads into a session that cannot exist")]
    Session(IpPrefix),
    /// A softwire whose number or ends cannot be.
    #[error("softwire {0:?}: its number is too large or its ends are taken")]
    Softwire(SoftwireId),
    /// A port number beyond the ports there are.
    #[error("no port {0:?}")]
    Port(PortId),
}

/// A change of the forwarding tables, to be done once per pair.
#[derive(Clone, Copy, Debug)]
enum Change {
    Add(IpPrefix, u32),
    Delete(IpPrefix),
}

/// Sets of next hops by number, each with the count of routes that use it. Set 0 is empty: no route.
#[derive(Debug)]
struct Sets {
    number: HashMap<Vec<NextHop>, u32>,
    sets: Vec<(Vec<NextHop>, u32)>,
    free: Vec<u32>,
}

impl Sets {
    fn take(&mut self, hops: Vec<NextHop>) -> u32 {
        let n = match self.number.get(&hops) {
            Some(&n) => n,
            None => {
                let n = self.free.pop().unwrap_or(self.sets.len() as u32);
                self.number.insert(hops.clone(), n);
                if n as usize == self.sets.len() {
                    self.sets.push((hops, 0));
                } else if let Some(set) = self.sets.get_mut(n as usize) {
                    *set = (hops, 0);
                }
                n
            }
        };
        if let Some(set) = self.sets.get_mut(n as usize) {
            set.1 += 1;
        }
        n
    }

    fn give_back(&mut self, word: u32) {
        if word == NO_ROUTE || SessionWord::from_word(word).is_some() {
            return;
        }
        if let Some((hops, count)) = self.sets.get_mut(word as usize) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.number.remove(hops);
                hops.clear();
                self.free.push(word);
            }
        }
    }
}

/// Makes snapshots. Not a thread by itself: see `runtime`.
#[derive(Debug)]
pub struct Publisher {
    shared: Arc<ArcSwap<Snapshot>>,
    retired: VecDeque<Arc<Snapshot>>,
    standby: Arc<Fibs>,
    /// Changes that the standby pair has not seen.
    behind: Vec<Change>,
    rib: HashMap<IpPrefix, u32>,
    sets: Sets,
    ports: Vec<Option<Port>>,
    ours: Vec<IpAddr>,
    neighbours: Neighbours,
}

impl Publisher {
    /// With `ports` ports (not configured yet) and empty tables. `name` is unique in the process.
    pub fn new(name: &str, ports: usize, sizes: FibSizes) -> Result<Self, dpdk::Error> {
        let pair = |side| -> Result<_, dpdk::Error> {
            Ok(Arc::new(Fibs {
                v4: Fib4::new(&format!("{name}4{side}"), sizes.routes_v4, sizes.tbl8_v4, NO_ROUTE)?,
                v6: Fib6::new(&format!("{name}6{side}"), sizes.routes_v6, sizes.tbl8_v6, NO_ROUTE)?,
            }))
        };
        let first = Snapshot {
            version: 0,
            ports: vec![None; ports].into(),
            ours: Arc::new([]),
            fibs: pair('l')?,
            groups: Arc::new(Groups::new(std::iter::once(&[][..]), &Softwires::default())),
            neighbours: Arc::default(),
            softwires: Arc::default(),
            policy: Arc::new([]),
            host_peers: Arc::default(),
        };
        Ok(Self {
            shared: Arc::new(ArcSwap::from_pointee(first)),
            retired: VecDeque::new(),
            standby: pair('r')?,
            behind: Vec::new(),
            rib: HashMap::new(),
            sets: Sets { number: HashMap::new(), sets: vec![(Vec::new(), 1)], free: Vec::new() },
            ports: vec![None; ports],
            ours: Vec::new(),
            neighbours: Neighbours::default(),
        })
    }

    /// Where workers look.
    pub fn shared(&self) -> Arc<ArcSwap<Snapshot>> {
        Arc::clone(&self.shared)
    }

    /// Frees retired snapshots that no worker refers to. `true` when none is left: every worker has then seen the
    /// current one, and [`Self::apply`] may be called.
    pub fn quiescent(&mut self) -> bool {
        self.retired.retain(|s| Arc::strong_count(s) > 1);
        self.retired.is_empty() && Arc::strong_count(&self.standby) == 1
    }

    /// Applies all of `ops` and publishes the result. A route that does not fit is left out and told; the others are
    /// applied all the same. `None`: workers still read what would have to change; ask [`Self::quiescent`] first.
    pub fn apply(&mut self, ops: &[SnapshotOp]) -> Option<Vec<PublishError>> {
        self.retired.retain(|s| Arc::strong_count(s) > 1);
        let current = self.shared.load_full();
        let mut next = Snapshot {
            version: current.version + 1,
            ports: Arc::clone(&current.ports),
            ours: Arc::clone(&current.ours),
            fibs: Arc::clone(&current.fibs),
            groups: Arc::clone(&current.groups),
            neighbours: Arc::clone(&current.neighbours),
            softwires: Arc::clone(&current.softwires),
            policy: Arc::clone(&current.policy),
            host_peers: Arc::clone(&current.host_peers),
        };
        let is_route = |op: &SnapshotOp| matches!(op, SnapshotOp::RouteAdd(..) | SnapshotOp::RouteDel(_));
        let mut errors = Vec::new();
        if ops.iter().any(is_route) {
            let standby = Arc::get_mut(&mut self.standby)?;
            for change in self.behind.drain(..) {
                if let Err(e) = program(standby, change) {
                    errors.push(e);
                }
            }
            for op in ops.iter().filter(|op| is_route(op)) {
                if let Err(e) = route(standby, &mut self.rib, &mut self.sets, &mut self.behind, op) {
                    errors.push(e);
                }
            }
            next.fibs = Arc::clone(&self.standby);
            self.standby = Arc::clone(&current.fibs);
        }
        let mut neighbours_changed = false;
        let mut groups_changed = ops.iter().any(is_route);
        for op in ops {
            match op {
                SnapshotOp::Port(p) => match self.ports.get_mut(usize::from(p.port.0)) {
                    Some(port) => *port = Some(Port::new(p.clone())),
                    None => errors.push(PublishError::Port(p.port)),
                },
                SnapshotOp::NeighbourAdd(port, address, mac) => {
                    neighbours_changed |= self.neighbours.insert((*port, *address), *mac) != Some(*mac);
                }
                SnapshotOp::NeighbourDel(port, address) => {
                    neighbours_changed |= self.neighbours.remove(&(*port, *address)).is_some();
                }
                SnapshotOp::SoftwireSet(s) => {
                    groups_changed |= next.softwires.get(s.id).is_some_and(|old| old.dead) != s.dead;
                    if !Arc::make_mut(&mut next.softwires).set(*s) {
                        errors.push(PublishError::Softwire(s.id));
                    }
                }
                SnapshotOp::SoftwireDel(id) => {
                    groups_changed |= next.softwires.get(*id).is_some_and(|old| old.dead);
                    Arc::make_mut(&mut next.softwires).delete(*id);
                }
                SnapshotOp::HostPeer(address, Some(peer)) => {
                    Arc::make_mut(&mut next.host_peers).insert(*address, *peer);
                }
                SnapshotOp::HostPeer(address, None) => drop(Arc::make_mut(&mut next.host_peers).remove(address)),
                SnapshotOp::Policy(rules) => next.policy = rules.as_slice().into(),
                SnapshotOp::RouteAdd(..) | SnapshotOp::RouteDel(_) => {}
            }
        }
        if groups_changed {
            next.groups = Arc::new(Groups::new(self.sets.sets.iter().map(|s| s.0.as_slice()), &next.softwires));
        }
        if ops.iter().any(|op| matches!(op, SnapshotOp::Port(_))) {
            next.ports = self.ports.as_slice().into();
        }
        if neighbours_changed {
            next.neighbours = Arc::new(self.neighbours.clone());
        }
        if ops.iter().any(|op| matches!(op, SnapshotOp::Port(_)) || is_local(op)) {
            next.ours = self.our_addresses();
        }
        self.shared.store(Arc::new(next));
        self.retired.push_back(current);
        Some(errors)
    }

    fn our_addresses(&mut self) -> Arc<[IpAddr]> {
        let local = |word: &u32| {
            SessionWord::from_word(*word).is_none()
                && self.sets.sets.get(*word as usize).is_some_and(|s| s.0.contains(&NextHop::Local))
        };
        let host = |p: &IpPrefix| usize::from(p.len()) == if p.address().is_ipv4() { 32 } else { 128 };
        self.ours.clear();
        self.ours.extend(self.ports.iter().flatten().flat_map(|p| p.config.addresses.iter().map(|a| a.0)));
        self.ours.extend(self.rib.iter().filter(|(p, word)| host(p) && local(word)).map(|(p, _)| p.address()));
        self.ours.sort_unstable();
        self.ours.dedup();
        self.ours.as_slice().into()
    }
}

impl Port {
    fn new(config: PortConfig) -> Self {
        let v4 = config.addresses.iter().find_map(|a| if let IpAddr::V4(a) = a.0 { Some(a) } else { None });
        let v6 = config.addresses.iter().find_map(|a| match a.0 {
            IpAddr::V6(a) if !a.is_unicast_link_local() => Some(a),
            _ => None,
        });
        Self { config, v4, v6 }
    }
}

/// Whether our own addresses may change. Removing a route may remove one; that is rare enough to look each time.
fn is_local(op: &SnapshotOp) -> bool {
    match op {
        SnapshotOp::RouteAdd(_, hops) => hops.contains(&NextHop::Local),
        SnapshotOp::RouteDel(p) => usize::from(p.len()) == if p.address().is_ipv4() { 32 } else { 128 },
        _ => false,
    }
}

fn route(
    fibs: &mut Fibs,
    rib: &mut HashMap<IpPrefix, u32>,
    sets: &mut Sets,
    done: &mut Vec<Change>,
    op: &SnapshotOp,
) -> Result<(), PublishError> {
    let (change, old) = match op {
        SnapshotOp::RouteAdd(prefix, hops) => {
            let word = match hops.as_slice() {
                [NextHop::Session(id)] => SessionWord::new(*id).ok_or(PublishError::Session(*prefix))?.word(),
                _ => sets.take(hops.clone()),
            };
            let change = Change::Add(*prefix, word);
            if let Err(e) = program(fibs, change) {
                sets.give_back(word);
                return Err(e);
            }
            (change, rib.insert(*prefix, word))
        }
        SnapshotOp::RouteDel(prefix) => {
            // A route that is not there: gone already, as wished.
            let Some(old) = rib.remove(prefix) else { return Ok(()) };
            program(fibs, Change::Delete(*prefix))?;
            (Change::Delete(*prefix), Some(old))
        }
        _ => return Ok(()),
    };
    if let Some(old) = old {
        sets.give_back(old);
    }
    done.push(change);
    Ok(())
}

fn program(fibs: &mut Fibs, change: Change) -> Result<(), PublishError> {
    let (Change::Add(prefix, _) | Change::Delete(prefix)) = change;
    match (prefix.address(), change) {
        (IpAddr::V4(a), Change::Add(_, word)) => fibs.v4.add(a, prefix.len(), word),
        (IpAddr::V6(a), Change::Add(_, word)) => fibs.v6.add(a, prefix.len(), word),
        (IpAddr::V4(a), Change::Delete(_)) => fibs.v4.delete(a, prefix.len()),
        (IpAddr::V6(a), Change::Delete(_)) => fibs.v6.delete(a, prefix.len()),
    }
    .map_err(|e| PublishError::Route(prefix, e))
}

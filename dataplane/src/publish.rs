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
use crate::lane::Origin;
use crate::link::Links;
use crate::lpm::{Full, Key, Leaf, Lpm};
use crate::softwire::Softwires;
use arc_swap::ArcSwap;
use dataplane_api::filter::MAX_RULES;
use dataplane_api::{
    FibCounters, FilterId, FilterRule, IpPrefix, MacAddr, NextHop, PeerId, PolicyRule, PortConfig, PortId, SnapshotOp,
    SoftwireId, WorkerId, Zone,
};
use ipnet::IpNet;
use prefix_trie::joint::JointPrefixMap;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use wire::ethernet;

/// A port as workers see it.
#[derive(Clone, Debug)]
pub struct Port {
    /// Its configuration.
    pub config: PortConfig,
    /// Its first IPv4 address.
    pub v4: Option<Ipv4Addr>,
    /// Its first IPv6 address that is not link-local.
    pub v6: Option<Ipv6Addr>,
    /// Its VLAN, or 0.
    pub vlan: u16,
    /// What packets from there are.
    pub origin: Origin,
    /// Its Ethernet address, as [`Self::is_to_us`] wants it.
    front: u64,
}

/// See [`SnapshotOp::HostPeer`]: addresses from the configuration.
pub type HostPeers = HashMap<IpAddr, (PeerId, WorkerId), BuildHasherDefault<Multiply>>;

/// Filters by number; never one without rules.
pub type Filters = HashMap<FilterId, Arc<[FilterRule]>, BuildHasherDefault<Multiply>>;

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
    /// Our addresses.
    pub ours: Arc<Ours>,
    /// Forwarding tables.
    pub fibs: Arc<Fibs>,
    /// What their words mean.
    pub groups: Arc<Groups>,
    /// The ways to neighbours.
    pub links: Arc<Links>,
    /// Softwires of the mesh.
    pub softwires: Arc<Softwires>,
    /// The SPD, in order.
    pub policy: Arc<[PolicyRule]>,
    /// Peers that protect what the host stack says to an address, and the workers that own their SAs.
    pub host_peers: Arc<HostPeers>,
    /// What sessions may be confined to.
    pub filters: Arc<Filters>,
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
        match address {
            IpAddr::V4(a) => self.ours.has_v4(a.to_bits()),
            IpAddr::V6(a) => self.ours.has_v6(a.to_bits()),
        }
    }

    /// The next hops to an address, those of sessions excepted; empty without a route.
    pub fn next_hops(&self, address: IpAddr) -> impl Iterator<Item = NextHop> {
        let table = if address.is_ipv4() { &self.fibs.v4 } else { &self.fibs.v6 };
        self.groups.of(table.lookup(address.into())).iter().map(|hop| hop.next)
    }

    /// The trust in what arrives on a port; public unless configured otherwise.
    #[inline]
    pub fn zone(&self, id: PortId) -> Zone {
        self.port(id).map_or(Zone::Public, |p| p.config.zone)
    }
}

/// Our addresses: those of the ports, and host routes to ourselves.
#[derive(Clone, Debug, Default)]
pub struct Ours {
    v4: Vec<u32>,
    v6: Vec<u128>,
    /// Those of `v4`, some of them several times, if there are few.
    few: Option<[u32; FEW]>,
}

/// As many addresses are compared one by one, or at once, which takes no branch that could go wrong.
const FEW: usize = 8;

impl Ours {
    fn new(addresses: BTreeSet<IpAddr>) -> Self {
        let mut ours = Self::default();
        for address in addresses {
            match address {
                IpAddr::V4(a) => ours.v4.push(a.to_bits()),
                IpAddr::V6(a) => ours.v6.push(a.to_bits()),
            }
        }
        let last = ours.v4.last().filter(|_| ours.v4.len() <= FEW);
        ours.few = last.map(|last| std::array::from_fn(|i| *ours.v4.get(i).unwrap_or(last)));
        ours
    }

    /// Whether an IPv4 address is among them.
    #[inline(always)]
    pub fn has_v4(&self, address: u32) -> bool {
        match &self.few {
            Some(few) => few.iter().fold(false, |found, ours| found | (*ours == address)),
            None => self.v4.binary_search(&address).is_ok(),
        }
    }

    /// Whether an IPv6 address is among them.
    #[inline(always)]
    pub fn has_v6(&self, address: u128) -> bool {
        if self.v6.len() <= FEW { self.v6.contains(&address) } else { self.v6.binary_search(&address).is_ok() }
    }

    /// All of a family, in order.
    pub fn iter(&self, v6: bool) -> impl Iterator<Item = IpAddr> {
        let (four, six) = if v6 { (&[][..], &self.v6[..]) } else { (&self.v4[..], &[][..]) };
        let four = four.iter().map(|a| IpAddr::V4(Ipv4Addr::from_bits(*a)));
        four.chain(six.iter().map(|a| IpAddr::V6(Ipv6Addr::from_bits(*a))))
    }
}

/// Sizes of the forwarding tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FibSizes {
    /// IPv4 routes.
    pub routes_v4: u32,
    /// Blocks for IPv4 prefixes longer than /24.
    pub blocks_v4: u32,
    /// IPv6 routes.
    pub routes_v6: u32,
    /// Blocks for IPv6 prefixes longer than /24.
    pub blocks_v6: u32,
}

/// Why a change was not made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PublishError {
    /// There is no room for a route. It is put in when there is.
    #[error("route {0} does not fit: raise dataplane.max_routes")]
    Full(IpPrefix),
    /// A session id that names no slot.
    #[error("route {0} leads into a session that cannot exist")]
    Session(IpPrefix),
    /// A softwire whose number or ends cannot be.
    #[error("softwire {0:?}: its number is too large or its ends are of two families")]
    Softwire(SoftwireId),
    /// A filter with more rules than a packet can wait for; the one before stays.
    #[error("filter {} has more than {MAX_RULES} rules", .0.0)]
    Filter(FilterId),
    /// A port number beyond the ports there are.
    #[error("no port {0:?}")]
    Port(PortId),
}

/// A change of the forwarding tables, to be done once per pair.
#[derive(Clone, Copy, Debug)]
enum Change {
    Add(IpPrefix, u32),
    /// And what covers it.
    Delete(IpPrefix, Leaf),
}

/// Sets of next hops by number, each with the count of routes that use it. Set 0 is empty: no route.
#[derive(Debug)]
struct Sets {
    number: HashMap<Vec<NextHop>, u32>,
    sets: Vec<(Vec<NextHop>, u32)>,
    free: Vec<u32>,
}

impl Sets {
    fn take(&mut self, hops: &[NextHop]) -> u32 {
        let n = match self.number.get(hops) {
            Some(&n) => n,
            None => {
                let n = self.free.pop().unwrap_or(self.sets.len() as u32);
                self.number.insert(hops.to_vec(), n);
                if n as usize == self.sets.len() {
                    self.sets.push((hops.to_vec(), 0));
                } else if let Some(set) = self.sets.get_mut(n as usize) {
                    *set = (hops.to_vec(), 0);
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

/// The routes that are wanted.
#[derive(Debug)]
struct Rib {
    words: JointPrefixMap<IpNet, u32>,
    /// How many there are, by family.
    count: [u32; 2],
    most: [u32; 2],
    sets: Sets,
    /// Our addresses among them: host routes to ourselves.
    local: BTreeSet<IpAddr>,
    /// Those for which there is no room, by family.
    refused: [HashMap<IpPrefix, Vec<NextHop>>; 2],
    /// Changes that the standby pair has not seen.
    behind: Vec<Change>,
}

/// Makes snapshots. Not a thread by itself: see `runtime`.
#[derive(Debug)]
pub struct Publisher {
    shared: Arc<ArcSwap<Snapshot>>,
    retired: VecDeque<Arc<Snapshot>>,
    standby: Arc<Fibs>,
    rib: Rib,
    ports: Vec<Option<Port>>,
    neighbours: HashMap<(PortId, IpAddr), MacAddr>,
    counters: Arc<FibCounters>,
}

impl Publisher {
    /// With `ports` ports (not configured yet) and empty tables.
    pub fn new(ports: usize, sizes: FibSizes) -> Self {
        let pair = || Arc::new(Fibs { v4: Lpm::new(sizes.blocks_v4), v6: Lpm::new(sizes.blocks_v6) });
        let first = Snapshot {
            version: 0,
            ports: vec![None; ports].into(),
            ours: Arc::default(),
            fibs: pair(),
            groups: Arc::new(Groups::new(std::iter::once(&[][..]), &Softwires::default(), &Links::default())),
            links: Arc::default(),
            softwires: Arc::default(),
            policy: Arc::new([]),
            host_peers: Arc::default(),
            filters: Arc::default(),
        };
        Self {
            shared: Arc::new(ArcSwap::from_pointee(first)),
            retired: VecDeque::new(),
            standby: pair(),
            rib: Rib {
                words: JointPrefixMap::new(),
                count: [0; 2],
                most: [sizes.routes_v4, sizes.routes_v6],
                sets: Sets { number: HashMap::new(), sets: vec![(Vec::new(), 1)], free: Vec::new() },
                local: BTreeSet::new(),
                refused: [HashMap::new(), HashMap::new()],
                behind: Vec::new(),
            },
            ports: vec![None; ports],
            neighbours: HashMap::new(),
            counters: Arc::default(),
        }
    }

    /// How full the tables are.
    pub fn counters(&self) -> Arc<FibCounters> {
        Arc::clone(&self.counters)
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
            links: Arc::clone(&current.links),
            softwires: Arc::clone(&current.softwires),
            policy: Arc::clone(&current.policy),
            host_peers: Arc::clone(&current.host_peers),
            filters: Arc::clone(&current.filters),
        };
        let is_route = |op: &SnapshotOp| matches!(op, SnapshotOp::RouteAdd(..) | SnapshotOp::RouteDel(_));
        let mut errors = Vec::new();
        let ports_changed = ops.iter().any(|op| matches!(op, SnapshotOp::Port(_)));
        let mut ours_changed = ports_changed;
        if ops.iter().any(is_route) {
            let standby = Arc::get_mut(&mut self.standby)?;
            self.rib.catch_up(standby);
            let before = self.rib.local.len();
            ours_changed |=
                ops.iter().any(|op| matches!(op, SnapshotOp::RouteAdd(_, h) if h.contains(&NextHop::Local)));
            for op in ops {
                match op {
                    SnapshotOp::RouteAdd(prefix, hops) => errors.extend(self.rib.add(standby, *prefix, hops).err()),
                    SnapshotOp::RouteDel(prefix) => self.rib.delete(standby, *prefix),
                    _ => {}
                }
            }
            self.rib.retry(standby);
            ours_changed |= self.rib.local.len() != before;
            self.rib.count(standby, &self.counters);
            next.fibs = Arc::clone(&self.standby);
            self.standby = Arc::clone(&current.fibs);
        }
        let mut links_changed = ports_changed;
        let mut groups_changed = ops.iter().any(is_route);
        for op in ops {
            match op {
                SnapshotOp::Port(p) => match self.ports.get_mut(usize::from(p.port.0)) {
                    Some(port) => *port = Some(Port::new(p.clone())),
                    None => errors.push(PublishError::Port(p.port)),
                },
                SnapshotOp::NeighbourAdd(port, address, mac) => {
                    links_changed |= self.neighbours.insert((*port, *address), *mac) != Some(*mac);
                }
                SnapshotOp::NeighbourDel(port, address) => {
                    links_changed |= self.neighbours.remove(&(*port, *address)).is_some();
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
                SnapshotOp::Filter(id, rules) if rules.len() > MAX_RULES => errors.push(PublishError::Filter(*id)),
                SnapshotOp::Filter(id, rules) if rules.is_empty() => drop(Arc::make_mut(&mut next.filters).remove(id)),
                SnapshotOp::Filter(id, rules) => {
                    Arc::make_mut(&mut next.filters).insert(*id, rules.as_slice().into());
                }
                SnapshotOp::RouteAdd(..) | SnapshotOp::RouteDel(_) => {}
            }
        }
        if ports_changed {
            next.ports = self.ports.as_slice().into();
        }
        if links_changed {
            next.links = Arc::new(Links::new(&self.neighbours, &self.ports));
        }
        if groups_changed || links_changed {
            let sets = self.rib.sets.sets.iter().map(|s| s.0.as_slice());
            next.groups = Arc::new(Groups::new(sets, &next.softwires, &next.links));
        }
        if ours_changed {
            let of_ports = self.ports.iter().flatten().flat_map(|p| p.config.addresses.iter().map(|a| a.0));
            next.ours = Arc::new(Ours::new(of_ports.chain(self.rib.local.iter().copied()).collect()));
        }
        self.shared.store(Arc::new(next));
        self.retired.push_back(current);
        Some(errors)
    }
}

impl Port {
    pub(crate) fn new(config: PortConfig) -> Self {
        let v4 = config.addresses.iter().find_map(|a| if let IpAddr::V4(a) = a.0 { Some(a) } else { None });
        let v6 = config.addresses.iter().find_map(|a| match a.0 {
            IpAddr::V6(a) if !a.is_unicast_link_local() => Some(a),
            _ => None,
        });
        let origin = match config.zone {
            Zone::Public => Origin::Public,
            Zone::Trusted => Origin::Trusted,
        };
        let [a, b, c, d, e, f] = config.mac.0;
        let front = u64::from_le_bytes([0, 0, a, b, c, d, e, f]);
        Self { vlan: config.vlan.unwrap_or(0), origin, front, config, v4, v6 }
    }

    /// Whether a frame is to its Ethernet address, told by one load: the six octets in the upper bits of a word.
    #[inline(always)]
    pub fn is_to_us(&self, frame: &[u8; ethernet::HEADER]) -> bool {
        frame.first_chunk().is_some_and(|front| u64::from_le_bytes(*front) << 16 == self.front)
    }
}

impl Rib {
    fn add(&mut self, fibs: &mut Fibs, prefix: IpPrefix, hops: &[NextHop]) -> Result<(), PublishError> {
        let word = match hops {
            [NextHop::Session(id)] => SessionWord::new(*id).ok_or(PublishError::Session(prefix))?.word(),
            _ => self.sets.take(hops),
        };
        let old = self.words.insert(prefix.into(), word);
        let f = family(prefix);
        let room = old.is_some() || self.count[f] < self.most[f];
        let change = Change::Add(prefix, word);
        if !room || old != Some(word) && program(fibs, change).is_err() {
            match old {
                Some(old) => self.words.insert(prefix.into(), old),
                None => self.words.remove(&prefix.into()),
            };
            self.sets.give_back(word);
            self.refused[f].insert(prefix, hops.to_vec());
            return Err(PublishError::Full(prefix));
        }
        self.refused[f].remove(&prefix);
        if is_host(prefix) && hops.contains(&NextHop::Local) {
            self.local.insert(prefix.address());
        } else if is_host(prefix) {
            self.local.remove(&prefix.address());
        }
        match old {
            Some(old) => self.sets.give_back(old),
            None => self.count[f] += 1,
        }
        if old != Some(word) {
            self.behind.push(change);
        }
        Ok(())
    }

    /// A route that is not there is gone already, as wished.
    fn delete(&mut self, fibs: &mut Fibs, prefix: IpPrefix) {
        let f = family(prefix);
        self.refused[f].remove(&prefix);
        let Some(old) = self.words.remove(&prefix.into()) else { return };
        self.count[f] -= 1;
        if is_host(prefix) {
            self.local.remove(&prefix.address());
        }
        let change = Change::Delete(prefix, self.cover(prefix));
        // Nothing is needed to delete.
        let _ = program(fibs, change);
        self.behind.push(change);
        self.sets.give_back(old);
    }

    /// Routes that did not fit, now that others may be gone; the first of a family that does not ends it.
    fn retry(&mut self, fibs: &mut Fibs) {
        for f in 0..2 {
            while let Some(prefix) = self.refused[f].keys().next().copied()
                && let Some(hops) = self.refused[f].remove(&prefix)
                && self.add(fibs, prefix, &hops).is_ok()
            {}
        }
    }

    /// The longest route that covers a prefix, which has none of its own any more.
    fn cover(&self, prefix: IpPrefix) -> Leaf {
        let found = self.words.get_lpm(&prefix.into());
        found.map_or(Leaf { word: NO_ROUTE, len: 0 }, |(net, word)| Leaf { word: *word, len: net.prefix_len() })
    }

    /// Does to a pair of tables what was done to the other.
    fn catch_up(&mut self, fibs: &mut Fibs) {
        for change in self.behind.drain(..) {
            // What fitted into the one fits into the other: they were equal before.
            let _ = program(fibs, change);
        }
    }

    fn count(&self, fibs: &Fibs, counters: &FibCounters) {
        for (f, table) in [&fibs.v4, &fibs.v6].into_iter().enumerate() {
            counters.routes[f].set(u64::from(self.count[f]));
            counters.refused[f].set(self.refused[f].len() as u64);
            counters.blocks[f].set(u64::from(table.blocks()));
        }
    }
}

fn family(prefix: IpPrefix) -> usize {
    usize::from(!prefix.address().is_ipv4())
}

fn is_host(prefix: IpPrefix) -> bool {
    prefix == IpPrefix::host(prefix.address())
}

fn program(fibs: &mut Fibs, change: Change) -> Result<(), Full> {
    let (Change::Add(prefix, _) | Change::Delete(prefix, _)) = change;
    let table = if prefix.address().is_ipv4() { &mut fibs.v4 } else { &mut fibs.v6 };
    let key = Key::from(prefix.address());
    match change {
        Change::Add(_, word) => table.add(key, prefix.len(), word),
        Change::Delete(_, cover) => {
            table.delete(key, prefix.len(), cover);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;

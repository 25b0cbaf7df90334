//! The RIB as a whole, rule by rule.

mod decision;
mod export;
mod import;
mod lifecycle;

use super::*;
use crate::attribute::{AsPath, NextHop};
use crate::message::Negotiated;
use crate::policy::{Action, Match, Policy, Rule, Verdict};

const LOCAL_AS: u32 = 65000;
const V4: Family = Family::Ipv4Unicast;
const V6: Family = Family::Ipv6Unicast;

/// A RIB with neighbours `n` at 10.255.0.n, BGP identifier 10.0.0.n.
struct Lab {
    rib: Rib,
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn id(n: u8) -> NeighbourId {
    NeighbourId(n.into())
}

/// Next hop 192.0.2.n, AS_PATH as given.
fn route(n: u8, path: &[u32]) -> Attributes {
    let mut attributes = Attributes::new(NextHop::from(IpAddr::from([192, 0, 2, n])));
    attributes.as_path = AsPath::sequence(path);
    attributes
}

fn accept() -> Option<Arc<Policy>> {
    Some(Arc::new(Policy::accept_all()))
}

/// Accepts both ways, as an external neighbour needs it.
fn open_peering() -> Peering {
    Peering { import: accept(), export: accept(), ..Peering::default() }
}

fn policy(matches: Vec<Match>, actions: Vec<Action>, verdict: Verdict, otherwise: Verdict) -> Option<Arc<Policy>> {
    Some(Arc::new(Policy { rules: vec![Rule { matches, actions, verdict: Some(verdict) }], otherwise }))
}

fn session(n: u8, asn: u32) -> Peer {
    let negotiated = Negotiated {
        local_as: LOCAL_AS,
        peer_as: asn,
        ibgp: asn == LOCAL_AS,
        four_octet_as: true,
        families: Family::ALL.into(),
        extended_next_hop: [(V4, 2)].into(),
        ..Negotiated::default()
    };
    Peer {
        negotiated: Arc::new(negotiated),
        router_id: Ipv4Addr::new(10, 0, 0, n),
        address: IpAddr::from([10, 255, 0, n]),
        local: IpAddr::from([10, 255, 0, 254]),
        link_local: None,
    }
}

impl Lab {
    /// Next hops 192.0.2.1 to 192.0.2.9 are reachable at distance 10.
    fn new() -> Self {
        let id = Ipv4Addr::new(10, 0, 0, 254);
        let mut rib = Rib::new(RibConfig { local_as: LOCAL_AS, router_id: id, cluster_id: id, max_paths: 4 });
        let reachable: Vec<_> = (1..10).map(|n| (IpAddr::from([192, 0, 2, n]), Some(10))).collect();
        rib.set_next_hops(&reachable);
        Self { rib }
    }

    fn with(peers: &[(u8, u32)]) -> Self {
        let mut lab = Self::new();
        peers.iter().for_each(|(n, asn)| lab.peer(*n, *asn, open_peering()));
        lab
    }

    fn peer(&mut self, n: u8, asn: u32, peering: Peering) {
        self.rib.set_peering(id(n), peering);
        self.rib.up(id(n), session(n, asn));
    }

    fn announce(&mut self, n: u8, prefix: &str, attributes: Attributes) {
        let announced = vec![Announcement { attributes: Arc::new(attributes), prefixes: vec![net(prefix)] }];
        self.rib.update(id(n), &Update { announced, ..Update::default() });
    }

    fn withdraw(&mut self, n: u8, prefix: &str) {
        self.rib.update(id(n), &Update { withdrawn: vec![net(prefix)], ..Update::default() });
    }

    /// Neighbours of the best paths; 0 is ourselves.
    fn best(&self, prefix: &str) -> Vec<u32> {
        let source = |path: &Path| match path.source() {
            Source::Local => 0,
            Source::Neighbour(id) => id.0,
        };
        self.rib.route(&net(prefix)).map(|r| r.best().iter().map(source).collect()).unwrap_or_default()
    }

    fn ineligible(&self, prefix: &str) -> Option<Ineligible> {
        self.rib.route(&net(prefix)).and_then(|route| route.paths()[0].ineligible())
    }

    /// The attributes in use of the best path.
    fn used(&self, prefix: &str) -> Attributes {
        (**self.rib.route(&net(prefix)).unwrap().best()[0].used().unwrap()).clone()
    }

    /// What the neighbour is told, all of it.
    fn told(&mut self, n: u8) -> Update {
        let mut all = Update::default();
        for family in Family::ALL {
            while let Some(update) = self.rib.poll_update(id(n), family, 2) {
                all.withdrawn.extend(update.withdrawn);
                all.announced.extend(update.announced);
            }
        }
        all
    }

    /// The attributes that the neighbour is sent of a single prefix, if it is.
    fn sent(&mut self, n: u8) -> Option<Attributes> {
        let told = self.told(n);
        assert!(told.announced.len() <= 1 && told.withdrawn.is_empty(), "{told:?}");
        told.announced.first().map(|a| (*a.attributes).clone())
    }

    fn changes(&mut self) -> Vec<(String, usize)> {
        let mut all = Vec::new();
        for family in Family::ALL {
            while let Some(change) = self.rib.poll_change(family) {
                all.push((change.prefix.to_string(), change.best.len()));
            }
        }
        all
    }
}

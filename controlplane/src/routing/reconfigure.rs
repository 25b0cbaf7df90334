//! Another configuration of BGP, neighbour by neighbour: the speaker resets a session only where the change needs a new one,
//! and judges routes again otherwise.

use super::{Routing, TURN, igp, neighbour, own, policy};
use crate::config::{Bgp, Config};
use crate::mesh::Mesh;
use crate::program::Program;
use dataplane_api::IpPrefix;
use ipnet::IpNet;
use std::net::IpAddr;
use std::time::Instant;

impl Routing {
    /// Takes the configuration; `before` is the one until now. AS, identifiers and paths stay what they were.
    pub fn configure(&mut self, now: Instant, before: Option<&Config>, config: &Config, bgp: &Bgp) {
        let none = bgp.silent();
        let old = before.and_then(|c| c.bgp.as_ref()).unwrap_or(&none);
        self.other_ways(now, config);
        let users = |b: &Bgp| {
            let one_by_one = b.neighbours.iter().map(|n| (IpNet::from(n.address), n.key_chain().map(str::to_owned)));
            let ranges = b.dynamic_neighbours.iter().map(|d| (d.range, d.neighbour.key_chain().map(str::to_owned)));
            one_by_one.chain(ranges).collect::<Vec<_>>()
        };
        if old.key_chains != bgp.key_chains || users(old) != users(bgp) {
            self.keys.configure(bgp);
            self.refused.clear();
        }
        self.neighbours(now, old, config, bgp);
        for net in old.networks.iter().filter(|net| !bgp.networks.contains(net)) {
            self.speaker.withdraw(now, net);
        }
        for net in &bgp.networks {
            let attributes = own(config, bgp, net);
            let same = before.is_some_and(|c| old.networks.contains(net) && own(c, old, net) == attributes);
            if !same {
                self.speaker.originate(now, *net, attributes);
            }
        }
        let change = self.rtr.configure(&bgp.rtr);
        self.vrps(now, &change);
    }

    fn neighbours(&mut self, now: Instant, old: &Bgp, config: &Config, bgp: &Bgp) {
        let known = |b: &Bgp, address: IpAddr| b.neighbours.iter().any(|n| n.address == address);
        for n in old.neighbours.iter().filter(|n| !known(bgp, n.address)) {
            if let Some(id) = self.speaker.neighbour_at(n.address) {
                self.speaker.remove_neighbour(now, id);
            }
        }
        for d in &old.dynamic_neighbours {
            if !bgp.dynamic_neighbours.iter().any(|other| other.range == d.range) {
                self.speaker.remove_listen_range(now, d.range);
            }
        }
        let policies = policy::Policies::new(bgp);
        for n in &bgp.neighbours {
            let mut wanted = neighbour::neighbour(config, bgp, &policies, n);
            let view = self.speaker.neighbour_at(n.address).and_then(|id| self.speaker.neighbour(id));
            // What the operator has disabled stays so.
            if let Some(view) = view.filter(|_| known(old, n.address)) {
                wanted.enabled = view.config.enabled;
                // Without a way there our address is not known anew; the session ends by its hold timer, if at all.
                wanted.local = wanted.local.or(view.config.local);
                if *view.config == wanted {
                    continue;
                }
            }
            self.speaker.set_neighbour(now, n.address, wanted);
        }
        // Those who have come out of a range are treated as they were until they come again.
        for d in &bgp.dynamic_neighbours {
            self.speaker.set_listen_range(neighbour::range(config, bgp, &policies, d));
        }
    }

    /// Other connected and static routes: next hops may be nearer, further, or behind another router.
    fn other_ways(&mut self, now: Instant, config: &Config) {
        let ways = igp(config);
        if self.igp == ways {
            return;
        }
        self.igp = ways;
        let metrics: Vec<_> = self.tracked.iter().map(|a| (*a, self.metric(*a))).collect();
        self.speaker.next_hops_changed(now, &metrics);
        self.route_again();
    }

    /// Has everything programmed anew, in turns.
    pub fn route_again(&mut self) {
        self.again = self.programmed.keys().next();
    }

    pub(super) fn look_again(&mut self, now: Instant, mesh: &mut Mesh, program: &mut Program) {
        let Some(from) = self.again.take() else { return };
        let mut some: Vec<IpNet> = self.programmed.iter_from(&from, true).map(|(net, _)| net).take(TURN + 1).collect();
        self.again = some.get(TURN).copied();
        some.truncate(TURN);
        for net in some {
            let best = self.speaker.rib().best(&net);
            self.route(now, net, &best, mesh, program);
        }
    }

    /// Whether a prefix is routed as BGP says.
    pub fn routes(&self, prefix: &IpPrefix) -> bool {
        self.programmed.contains_key(&(*prefix).into())
    }
}

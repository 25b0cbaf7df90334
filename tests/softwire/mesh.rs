//! Two AFBRs with two workers each, and one softwire between them that uses both (RFC 9611).
//!
//! ```text
//!   10.1.0.0/16 ── core │ workers, gateway │ access ══ ESP in transport mode ══ access │ gateway, workers │ core ── 10.2.0.0/16
//! ```

use crate::SECOND;
use crate::fabric::{ACCESS, CORE};
use crate::ports::DataPlane;
use controlplane::config::Config;
use controlplane::gateway::Gateway;
use controlplane::northbound::{ChildSaInfo, Query, Select};
use dataplane_api::{MacAddr, PortId, Spi};
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wire::{ip, ipv4, udp};

const DELAY: Duration = Duration::from_millis(5);
/// The end whose address is the lower one brings the SA up.
const WEST: usize = 0;
const EAST: usize = 1;

struct Site {
    gateway: Gateway,
    data_plane: DataPlane,
    /// Numbers in the packets that arrived.
    arrived: Vec<u32>,
}

struct Net {
    now: Instant,
    sites: [Site; 2],
    flight: VecDeque<(Instant, usize, Vec<u8>)>,
    /// The queue of a NIC that a packet of the core goes to.
    steer: fn(&[u8]) -> usize,
    sent: u32,
}

fn yaml(site: usize, profile: &str) -> String {
    let (own, far) = (site + 1, 2 - site);
    format!(
        "dataplane: {{ workers: [0, 1], max_sessions: 64 }}\n\
         ports:\n  - {{ name: access, device: none, zone: public, addresses: [192.0.2.{own}/24] }}\n\
         \x20 - {{ name: core, device: none, zone: trusted, addresses: [10.{own}.0.1/16] }}\n\
         mesh:\n  local: [192.0.2.{own}]\n  profiles: [{{ name: heavy, {profile} }}]\n\
         \x20 afbrs: [{{ name: far, address: 192.0.2.{far}, prefixes: [10.{far}.0.0/16] }}]\n\
         ike:\n  identity: afbr{own}.example.net\n  peers:\n\
         \x20 - {{ name: far, id: afbr{far}.example.net, auth: psk, psk: k, softwire: heavy, address: 192.0.2.{far} }}\n"
    )
}

/// By SPI, as a card with a rule for ESP does it; all else goes to the first queue.
fn by_spi(packet: &[u8]) -> usize {
    let spi = (packet[9] == ip::ESP).then(|| Spi(u32::from_be_bytes([packet[20], packet[21], packet[22], packet[23]])));
    spi.and_then(Spi::slot).map_or(0, |slot| usize::from(slot.worker().0))
}

fn host(site: usize) -> std::net::Ipv4Addr {
    [10, site as u8 + 1, 0, 2].into()
}

impl Net {
    /// With these profiles, until the SAs are up.
    fn new(profiles: [&str; 2], steer: fn(&[u8]) -> usize) -> Self {
        let now = Instant::now();
        let planes = DataPlane::pair(64);
        let mut n = 0;
        let sites = planes.map(|data_plane| {
            let site = n;
            n += 1;
            let text = yaml(site, profiles[site]);
            let config = Arc::new(Config::from_yaml("test.yaml", &text).unwrap_or_else(|e| panic!("{e}")));
            let macs = vec![MacAddr::default(); config.ports.len()];
            let mut gateway = Gateway::new(config, now, &macs, data_plane.counters(), [site as u8; 32]).unwrap();
            let far = std::net::Ipv4Addr::from([192, 0, 2, 2 - site as u8]);
            gateway.neighbour(PortId(ACCESS as u16), far.into(), Some(MacAddr([2, 0, 0, 0, 0, 9])));
            gateway.neighbour(PortId(CORE as u16), host(site).into(), Some(MacAddr([2, 0, 0, 0, 1, 9])));
            Site { gateway, data_plane, arrived: Vec::new() }
        });
        let mut net = Self { now, sites, flight: VecDeque::new(), steer, sent: 0 };
        net.run(30 * SECOND);
        net
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle();
            let timers = self.sites.iter_mut().filter_map(|s| s.gateway.poll_timeout());
            let next = timers.chain(self.flight.front().map(|f| f.0)).min();
            let Some(next) = next.filter(|at| *at <= end) else { break };
            self.now = self.now.max(next);
            while self.flight.front().is_some_and(|f| f.0 <= self.now) {
                let Some((_, to, packet)) = self.flight.pop_front() else { break };
                self.sites[to].data_plane.receive(ACCESS, (self.steer)(&packet), &packet);
            }
            for site in &mut self.sites {
                if site.gateway.poll_timeout().is_some_and(|at| at <= self.now) {
                    site.gateway.handle_timeout(self.now);
                }
            }
        }
        self.now = end;
    }

    fn settle(&mut self) {
        for (n, site) in self.sites.iter_mut().enumerate() {
            loop {
                site.data_plane.program(&mut site.gateway, |_| ());
                if !site.data_plane.attend(self.now, &mut site.gateway) {
                    break;
                }
            }
            let at = self.now + DELAY;
            self.flight.extend(site.data_plane.sent(ACCESS).into_iter().map(|packet| (at, 1 - n, packet)));
            let number = |packet: Vec<u8>| u32::from_be_bytes(packet[packet.len() - 4..].try_into().unwrap());
            site.arrived.extend(site.data_plane.sent(CORE).into_iter().map(number));
            site.data_plane.check();
        }
    }

    /// A packet each way that each worker of either end gets from the core.
    fn talk(&mut self) {
        for worker in 0..2 {
            self.sent += 1;
            for site in [WEST, EAST] {
                let mut packet = vec![0; ipv4::HEADER + udp::HEADER];
                let (src, dst, total_len) = (host(site), host(1 - site), (packet.len() + 4) as u16);
                let header = ipv4::Repr { tos: 0, total_len, id: 0, flags: 0, ttl: 64, protocol: ip::UDP, src, dst };
                header.emit(&mut packet);
                udp::emit(&mut packet[ipv4::HEADER..], 1000, 2000, total_len - ipv4::HEADER as u16);
                packet.extend(self.sent.to_be_bytes());
                self.sites[site].data_plane.receive(CORE, worker, &packet);
            }
        }
    }

    /// That fifty times; nothing is lost.
    fn talk_often(&mut self) {
        for _ in 0..50 {
            self.talk();
            self.run(DELAY);
        }
        self.run(SECOND);
        self.all_there();
    }

    /// Everything that was sent has arrived, once.
    fn all_there(&self) {
        for site in &self.sites {
            assert_eq!(site.arrived.len(), self.sent as usize, "{:?}", site.data_plane.drops());
            assert_eq!(site.arrived.iter().collect::<HashSet<_>>().len(), site.arrived.len());
            assert!(site.data_plane.drops().is_empty(), "{:?}", site.data_plane.drops());
        }
    }

    fn ask<T>(&mut self, site: usize, query: impl FnOnce(tokio::sync::oneshot::Sender<T>) -> Query) -> T {
        let (to, mut answer) = tokio::sync::oneshot::channel();
        self.sites[site].gateway.handle_query(self.now, query(to));
        answer.try_recv().unwrap()
    }

    fn children(&mut self, site: usize) -> Vec<ChildSaInfo> {
        self.ask(site, |to| Query::ChildSas(Select { filter: None, after: None, limit: 100 }, to)).items
    }

    /// Those that are for one worker alone, in the order of workers; and that for all.
    fn by_worker(&mut self, site: usize) -> (Vec<ChildSaInfo>, ChildSaInfo) {
        let (mut bound, mut common): (Vec<_>, Vec<_>) = self.children(site).into_iter().partition(|c| c.bound);
        bound.sort_by_key(|c| c.worker);
        assert_eq!((bound.iter().map(|c| c.worker).collect::<Vec<_>>(), common.len()), (vec![0, 1], 1));
        (bound, common.remove(0))
    }

    fn handed(&self) -> u64 {
        self.sites.iter().map(|s| s.data_plane.handed()).sum()
    }
}

const PER_WORKER: &str = "per_worker: true";

#[test]
fn each_worker_sends_and_receives_by_an_sa_of_its_own() {
    let mut net = Net::new([PER_WORKER; 2], by_spi);
    let handed = net.handed();
    net.talk_often();
    assert_eq!(net.handed(), handed, "nothing goes from worker to worker");
    for site in [WEST, EAST] {
        let ((bound, common), (_, fars)) = (net.by_worker(site), net.by_worker(1 - site));
        for c in &bound {
            assert_eq!((c.selected, c.out_packets, c.in_packets), (true, 50, 50), "{c:?}");
            assert!(c.peer_resource.is_some() && c.algorithms == common.algorithms, "{c:?}");
        }
        assert_eq!((common.selected, common.out_packets, common.in_packets), (false, 0, 0));
        assert_eq!((common.peer_resource.as_deref(), &common.spi_out), (None, &fars.spi_in));
    }
}

// A card that spreads by addresses alone brings all of it to one worker, which hands it to the SA's.
#[test]
fn a_card_that_cannot_tell_spis_apart_costs_a_hand_off() {
    let mut net = Net::new([PER_WORKER; 2], |_| 1);
    let handed = net.handed();
    net.talk_often();
    assert_eq!(net.handed() - handed, 2 * 50, "what is for the first worker");
}

#[test]
fn rekeying_each_of_them_loses_nothing() {
    let mut net = Net::new([PER_WORKER; 2], by_spi);
    let before = net.by_worker(EAST);
    let all: Vec<String> = before.0.iter().chain([&before.1]).map(|c| c.spi_in.clone()).collect();
    for n in 0..300 {
        if n % 50 == 10 {
            let (bound, common) = net.by_worker(EAST);
            let old = bound.iter().chain([&common]).find(|c| all.contains(&c.spi_in)).map(|c| c.spi_in.clone());
            if let Some(old) = old {
                assert!(net.ask(EAST, |to| Query::RekeyChild(u32::from_str_radix(&old, 16).unwrap(), to)));
            }
        }
        net.talk();
        net.run(SECOND / 20);
    }
    net.run(60 * SECOND);
    net.all_there();
    for site in [WEST, EAST] {
        let (bound, common) = net.by_worker(site);
        assert!(bound.iter().all(|c| c.selected) && !common.selected);
    }
    assert!(net.children(EAST).iter().all(|c| !all.contains(&c.spi_in)));
}

#[test]
fn an_operator_rekeys_all_that_is_in_use() {
    let mut net = Net::new([PER_WORKER; 2], by_spi);
    let (before, _) = net.by_worker(EAST);
    let last = u32::from_str_radix(&before[1].spi_in, 16).unwrap();
    assert!(net.ask(EAST, |to| Query::RekeyChild(last, to)));
    let all = net.ask(EAST, |to| Query::Softwires(Select { filter: (), after: None, limit: 100 }, to)).items;
    let id = all[0].id;
    assert_eq!(net.ask(EAST, |to| Query::RekeySoftwire(id, to)), Ok(()), "one is on its way already");
    assert!(net.ask(EAST, |to| Query::RekeySoftwire(id, to)).is_err(), "now all are");
    net.run(60 * SECOND);
    let (after, _) = net.by_worker(EAST);
    assert!(after.iter().zip(&before).all(|(a, b)| a.selected && a.spi_in != b.spi_in), "{after:?}");
}

// The softwire's traffic by lifetimes, all SAs together, and the IKE SA as well.
#[test]
fn lifetimes_lose_nothing() {
    let mut net = Net::new(["per_worker: true, rekey: 20s"; 2], by_spi);
    let mut seen = HashSet::new();
    for _ in 0..1000 {
        net.talk();
        net.run(SECOND / 10);
        seen.extend(net.children(WEST).into_iter().map(|c| c.spi_in));
    }
    net.run(SECOND);
    net.all_there();
    assert!(seen.len() > 3 * 4, "{} SAs", seen.len());
}

// Where one end has it off there is one SA, and the other worker hands packets over.
#[test]
fn an_afbr_without_has_one_sa_for_all() {
    for profiles in [[PER_WORKER, "start: respond"], ["per_worker: false", PER_WORKER]] {
        let mut net = Net::new(profiles, by_spi);
        let handed = net.handed();
        net.talk_often();
        for site in [WEST, EAST] {
            let children = net.children(site);
            assert!(matches!(&children[..], [c] if c.selected && !c.bound && c.out_packets == 100), "{children:?}");
        }
        assert_eq!(net.handed() - handed, 2 * 50);
    }
}

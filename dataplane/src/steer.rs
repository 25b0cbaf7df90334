//! Which queue, and so which worker, a card gives a packet to.
//!
//! Receive-side scaling knows addresses and ports. Of two gateways with one softwire between them there is one pair of
//! addresses, and all that an SPI or an inner packet could tell apart comes in on one queue. So a card is asked, for each
//! kind of traffic, for the best that it can do:
//!
//! | traffic | first | else |
//! |---|---|---|
//! | ESP, and ESP in UDP | by the worker in the SPI: nothing is handed over | by a hash of the SPI |
//! | IP in IP | by a hash of the inner addresses and ports | |
//! | L2TP in the clear | to the first worker, which has all of it | |
//!
//! What it does not take is spread by the outer addresses and ports, and handed over from worker to worker as ever: nothing
//! but time is lost.

use dataplane_api::id::{SLOTS, Slot};
use dataplane_api::{Spi, WorkerId};
use dpdk::Port;
use dpdk::flow::{Rule, Target, Traffic};
use std::fmt;

/// L2TP's port (RFC 2661, section 8.1).
const L2TP: u16 = 1701;
/// The worker in an SPI.
const WORKER: u32 = 0xf * SLOTS;

/// How a card spreads one kind of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// To whom it belongs.
    Exact,
    /// By a hash of what tells it apart.
    Hash,
    /// By outer addresses and ports, if at all.
    Rss,
}

/// What a card has taken, by kind of traffic and version of the outer IP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steering(Vec<(&'static str, Spread)>);

impl Steering {
    /// The kinds that are spread so.
    pub fn so(&self, spread: Spread) -> impl Iterator<Item = &'static str> {
        self.0.iter().filter(move |(_, s)| *s == spread).map(|(kind, _)| *kind)
    }
}

impl fmt::Display for Steering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (kind, spread)) in self.0.iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            let how = match spread {
                Spread::Exact => "to its worker",
                Spread::Hash => "by hash",
                Spread::Rss => "by RSS alone",
            };
            write!(f, "{comma}{kind} {how}")?;
        }
        Ok(())
    }
}

/// How a kind of traffic is spread if these rules are taken, all of them.
type Way = (Spread, Vec<Rule>);

/// Asks a started port for the best that it can do for so many workers.
pub fn steer(port: &mut Port, workers: u16) -> Steering {
    if workers < 2 {
        return Steering::default();
    }
    let taken = |(kind, ways): (&'static str, Vec<Way>)| {
        let way = ways.into_iter().find(|(_, rules)| port.steer(rules).is_ok());
        (kind, way.map_or(Spread::Rss, |(spread, _)| spread))
    };
    Steering(wanted(workers).into_iter().map(taken).collect())
}

/// For each kind of traffic, what to ask for, the best first.
fn wanted(workers: u16) -> Vec<(&'static str, Vec<Way>)> {
    let any = (0, 0);
    let by_spi = |v6, traffic| {
        let of = |worker: u16| {
            let slot = Slot::new(WorkerId(worker as u8), 0, 1);
            let value = slot.map_or(0, |slot| Spi::from_slot(slot).0 & WORKER);
            Rule { v6, traffic, spi: (value, WORKER), target: Target::Queue(worker) }
        };
        let hash = Rule { v6, traffic, spi: any, target: Target::BySpi(workers) };
        vec![(Spread::Exact, (0..workers).map(of).collect()), (Spread::Hash, vec![hash])]
    };
    let by_inner = |v6| {
        let of =
            |inner| Rule { v6, traffic: Traffic::IpInIp { v6: inner }, spi: any, target: Target::ByInner(workers) };
        vec![(Spread::Hash, vec![of(false), of(true)])]
    };
    let first =
        |v6| vec![(Spread::Exact, vec![Rule { v6, traffic: Traffic::Udp(L2TP), spi: any, target: Target::Queue(0) }])];
    vec![
        ("ESP over IPv4", by_spi(false, Traffic::Esp)),
        ("ESP over IPv6", by_spi(true, Traffic::Esp)),
        ("ESP in UDP over IPv4", by_spi(false, Traffic::EspInUdp)),
        ("ESP in UDP over IPv6", by_spi(true, Traffic::EspInUdp)),
        ("IP in IPv4", by_inner(false)),
        ("IP in IPv6", by_inner(true)),
        ("L2TP over IPv4", first(false)),
        ("L2TP over IPv6", first(true)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    // A rule says where the control plane's SPIs of each worker go, whatever their slot and generation.
    #[test]
    fn an_spi_goes_to_its_worker_and_to_no_other() {
        let (_, ways) = &wanted(16)[0];
        let (spread, rules) = &ways[0];
        assert_eq!((*spread, rules.len()), (Spread::Exact, 16));
        for worker in 0..16 {
            for (index, generation) in [(0, 1), (SLOTS - 1, 225), (0x5_5555, 77)] {
                let spi = Spi::from_slot(Slot::new(WorkerId(worker), index, generation).unwrap()).0;
                let hits: Vec<_> = rules.iter().filter(|r| spi & r.spi.1 == r.spi.0).map(|r| r.target).collect();
                assert_eq!(hits, [Target::Queue(worker.into())]);
            }
        }
    }

    // An in-memory port takes no rules at all; one worker needs none.
    #[test]
    fn a_port_without_rules_is_told() {
        let pool = dpdk::sim::test_pool("steer", 255).unwrap();
        let (mut port, _far) = dpdk::sim::port("steer", 2, 63).unwrap();
        let _queues = dpdk::sim::start(&mut port, 2, &pool).unwrap();
        let steering = steer(&mut port, 2);
        assert_eq!((steering.so(Spread::Rss).count(), steering.so(Spread::Exact).count()), (8, 0));
        assert!(steering.to_string().starts_with("ESP over IPv4 by RSS alone, ESP over IPv6"), "{steering}");
        assert_eq!(steer(&mut port, 1), Steering::default());
    }
}

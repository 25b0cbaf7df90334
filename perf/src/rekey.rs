//! `rekey`: subscribers are up and send and receive; the gateway rekeys all their child SAs, spread over a tenth of their
//! lifetime, and no packet is lost.
//!
//! The worker is the product's, polled between the control plane's turns. A subscriber's packets are sealed in the SA that it
//! has selected at that moment and are on their way for 5 ms, as all else; what the worker sends must come in an SA that the
//! subscriber has when it arrives.

use crate::storm::{come, report};
use crate::subscribers::network::{DataPlane, Network};
use crate::subscribers::{Source, address, index};
use crate::table::Random;
use crate::traffic::{bench, sealed};
use anyhow::{Context, ensure};
use dataplane_api::{Lifetime, PortId, SaIn, SaOut, Selector, Spi, TableOp};
use fastpath::frame::{datagram, framed};
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};
use wire::{ethernet, ip, ipv4};

const ACCESS: PortId = PortId(0);
const CORE: PortId = PortId(1);
const SERVER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 2);
/// Lifetime of child SAs; the first are rekeyed after nine tenths of it.
const LIFETIME: Duration = Duration::from_secs(200);
/// Between two looks, and each packet's way.
const STEP: Duration = Duration::from_millis(1);
const DELAY: Duration = Duration::from_millis(5);
/// Subscribers that send and receive in each step, besides those whose SAs have just changed.
const RANDOM: u64 = 8;
const SIZE: usize = 100;

/// The subscribers' ends of the SAs.
struct Ends {
    sealers: HashMap<u32, esp::SaOut>,
    // By subscriber and SPI.
    openers: HashMap<(u32, u32), esp::SaIn>,
    up: VecDeque<(Instant, Vec<u8>)>,
    down: VecDeque<(Instant, u32, Vec<u8>)>,
    // Sent and arrived, each way.
    sent: [usize; 2],
    arrived: [usize; 2],
}

/// Measures with `n` subscribers.
pub fn run(n: usize) -> anyhow::Result<()> {
    let _lcore = dpdk::lcore::register()?;
    let mut bench = bench("rekey", n, 0)?;
    let mut dataplane = DataPlane::of(&mut bench)?;
    dataplane.bench = Some(bench);
    let mut net = Network::new(n, Source::Local, &format!("{}s", LIFETIME.as_secs()), Some(dataplane))?;
    net.made = Some(Vec::new());
    println!("{n} subscribers; child SAs live {LIFETIME:?} at most");
    let start = net.now;
    come(&mut net, n)?;
    report("came one after the other", &mut net, n);
    let mut ends = Ends {
        sealers: HashMap::new(),
        openers: HashMap::new(),
        up: VecDeque::new(),
        down: VecDeque::new(),
        sent: [0; 2],
        arrived: [0; 2],
    };
    ensure!(ends.learn(&mut net)?.len() == n, "each subscriber has one pair of SAs");
    // The first one is due then.
    net.run((start + LIFETIME * 9 / 10).saturating_duration_since(net.now), |_| false)?;
    report("at rest", &mut net, n);

    let (begin, changes) = (net.now, net.changes[0]);
    let (mut random, mut rekeyed, mut last) = (Random(11), 0, net.now);
    // Those whose SAs have changed, with the steps for which they send and receive.
    let mut lively: VecDeque<(Instant, u32)> = VecDeque::new();
    while rekeyed < n || !lively.is_empty() {
        ensure!(net.now < begin + LIFETIME, "{rekeyed} of {n} were rekeyed");
        net.run(STEP, |_| false)?;
        let fresh = ends.learn(&mut net)?;
        rekeyed += fresh.len();
        if !fresh.is_empty() {
            last = net.now;
        }
        lively.extend(fresh.into_iter().map(|i| (net.now + 10 * DELAY, i)));
        while lively.pop_front_if(|l| l.0 <= net.now).is_some() {}
        let some: Vec<u32> =
            (0..RANDOM).map(|_| random.below(n as u64) as u32).chain(lively.iter().map(|l| l.1)).collect();
        for i in some {
            ends.send(&mut net, i)?;
        }
        ends.carry(&mut net)?;
    }
    for _ in 0..4 * DELAY.as_millis() {
        net.run(STEP, |_| false)?;
        ends.carry(&mut net)?;
    }
    let took = (last - begin).as_secs_f64();
    report("all rekeyed", &mut net, n);
    let ops = net.changes[0] - changes;
    println!(
        "{rekeyed} child SAs in {took:.1} s, {:.0} a second; {ops} table changes, {:.0} a second",
        rekeyed as f64 / took,
        ops as f64 / took
    );
    let [up, down] = ends.sent;
    println!("packets up {up}, down {down}; lost {} and {}", up - ends.arrived[0], down - ends.arrived[1]);
    let drops = net.dataplane.as_ref().and_then(|d| Some(d.bench.as_ref()?.drops()));
    ensure!(ends.sent == ends.arrived, "packets were lost: {drops:?}");
    ensure!(rekeyed == n && net.again.0 == 0, "{rekeyed} rekeyed, {:?}", net.again);
    Ok(())
}

impl Ends {
    /// The other ends of what the gateway has made. Whose SAs are new.
    fn learn(&mut self, net: &mut Network) -> anyhow::Result<Vec<u32>> {
        let made = net.made.replace(Vec::new()).unwrap_or_default();
        let manager = net.dataplane.as_mut().and_then(|d| Some(d.bench.as_mut()?.manager())).context("a worker")?;
        let mut fresh = Vec::new();
        for op in made {
            match op {
                TableOp::SaInAdd(sa) => {
                    fresh.extend(index(sa.remote));
                    let (id, lifetime) = (dataplane_api::SaOutId(sa.spi.slot().context("slot")?), Lifetime::default());
                    let SaIn { spi, peer, suite, key, esn, mode, local, remote, encap, .. } = sa;
                    let theirs = SaOut {
                        id,
                        spi: spi.0,
                        peer,
                        suite,
                        key,
                        esn,
                        mode,
                        local: remote,
                        remote: local,
                        encap,
                        selector: Selector::ANY,
                        lifetime,
                    };
                    self.sealers.insert(spi.0, esp::SaOut::new(manager, &theirs).context("SA")?);
                }
                TableOp::SaOutAdd(sa) => {
                    let i = index(sa.remote).context("a subscriber")?;
                    let SaOut { spi, peer, suite, key, esn, mode, local, remote, encap, lifetime, .. } = sa;
                    let theirs = SaIn {
                        spi: Spi(spi),
                        peer,
                        suite,
                        key,
                        esn,
                        replay_window: 1024,
                        mode,
                        local: remote,
                        remote: local,
                        encap,
                        selector: Selector::ANY,
                        lifetime,
                    };
                    self.openers.insert((i, spi), esp::SaIn::new(manager, &theirs).context("SA")?);
                }
                _ => {}
            }
        }
        Ok(fresh)
    }

    /// A packet each way.
    fn send(&mut self, net: &mut Network, i: u32) -> anyhow::Result<()> {
        let (spi, session, own) = net.client(i).and_then(|c| c.path()).context("a subscriber that is up")?;
        let now = net.now;
        let bench = net.dataplane.as_mut().and_then(|d| d.bench.as_mut()).context("a worker")?;
        let sealer = self.sealers.get_mut(&spi).context("an SA that the gateway has made")?;
        let packet = datagram(own.into(), SERVER.into(), 4000, SIZE);
        self.up.push_back((now + DELAY, sealed(bench.manager(), sealer, session, address(i), &packet)?));
        self.sent[0] += 1;
        bench.push(CORE, &framed(&datagram(SERVER.into(), own.into(), 4000, SIZE)))?;
        self.sent[1] += 1;
        self.take(net)
    }

    /// What has arrived, at the worker and at the subscribers.
    fn carry(&mut self, net: &mut Network) -> anyhow::Result<()> {
        let now = net.now;
        while let Some((_, frame)) = self.up.pop_front_if(|f| f.0 <= now) {
            let bench = net.dataplane.as_mut().and_then(|d| d.bench.as_mut()).context("a worker")?;
            bench.push(ACCESS, &frame)?;
            self.take(net)?;
        }
        while let Some((_, i, mut esp)) = self.down.pop_front_if(|f| f.0 <= now) {
            let spi = esp.first_chunk().map(|b| u32::from_be_bytes(*b)).context("ESP")?;
            if !net.client(i).is_some_and(|c| c.takes(spi)) {
                continue;
            }
            let bench = net.dataplane.as_mut().and_then(|d| d.bench.as_mut()).context("a worker")?;
            let opener = self.openers.get_mut(&(i, spi)).context("an SA that the gateway has made")?;
            self.arrived[1] += usize::from(esp::open(bench.manager(), opener, &mut esp).is_ok());
        }
        Ok(())
    }

    /// What the worker sends.
    fn take(&mut self, net: &mut Network) -> anyhow::Result<()> {
        let now = net.now;
        let bench = net.dataplane.as_mut().and_then(|d| d.bench.as_mut()).context("a worker")?;
        bench.poll();
        while bench.pop(CORE).is_some() {
            self.arrived[0] += 1;
        }
        while let Some(frame) = bench.pop(ACCESS) {
            let outer = ipv4::Ipv4::parse(&frame[ethernet::HEADER..]).map_err(|e| anyhow::anyhow!("{e:?}"))?;
            ensure!(outer.protocol() == ip::ESP, "protocol {} to the access network", outer.protocol());
            let i = index(IpAddr::V4(outer.dst())).context("a subscriber")?;
            self.down.push_back((now + DELAY, i, outer.payload().to_vec()));
        }
        Ok(())
    }
}

//! `rekey`: subscribers are up and send and receive; the gateway rekeys all their child SAs, spread as they came and over a tenth of
//! their lifetime, and no packet is lost.
//!
//! The worker is the product's, polled between the control plane's turns. A subscriber's packets are sealed in the SA that it
//! has selected at that moment and are on their way for 5 ms, as all else; what the worker sends must come in an SA that the
//! subscriber has when it arrives.

use crate::storm::{come, report};
use crate::subscribers::network::{DataPlane, Network};
use crate::subscribers::{Source, address, index};
use crate::table::Random;
use crate::traffic::ringed;
use anyhow::{Context, bail, ensure};
use dataplane_api::{PortId, TableOp};
use fastpath::bed::{Ringed, drops};
use fastpath::frame::{datagram, framed, packet};
use fastpath::world::{Far, GATEWAY, HERE6, PUBLIC, TRUSTED, tunnelled};
use ipsec_mb::Manager;
use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};
use wire::{ethernet, ip, ipv4};

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
    manager: Manager,
    // By the SPI that the gateway receives on.
    far: HashMap<u32, Far>,
    // By subscriber, and the SPI that it receives on, the other one.
    other: HashMap<(u32, u32), u32>,
    up: VecDeque<(Instant, Vec<u8>)>,
    down: VecDeque<(Instant, u32, Vec<u8>)>,
    // Sent and arrived, each way.
    sent: [usize; 2],
    arrived: [usize; 2],
}

/// Measures with `n` subscribers.
pub fn run(n: usize) -> anyhow::Result<()> {
    let _lcore = dpdk::lcore::register()?;
    let (_, mut ringed) = ringed("rekey", n, 0)?;
    let mut dataplane = DataPlane::of(&mut ringed)?;
    dataplane.ringed = Some(ringed);
    let mut net = Network::new(n, Source::Local, &format!("{}s", LIFETIME.as_secs()), Some(dataplane))?;
    net.made = Some(Vec::new());
    println!("{n} subscribers; child SAs live {LIFETIME:?} at most");
    let start = net.now;
    come(&mut net, n)?;
    report("came one after the other", &mut net, n);
    let mut ends = Ends {
        manager: Manager::new().map_err(|e| anyhow::anyhow!("{e}"))?,
        far: HashMap::new(),
        other: HashMap::new(),
        up: VecDeque::new(),
        down: VecDeque::new(),
        sent: [0; 2],
        arrived: [0; 2],
    };
    ensure!(ends.learn(&mut net)?.len() == n, "each subscriber has one pair of SAs");
    // The first one is due then.
    net.run((start + LIFETIME * 9 / 10).saturating_duration_since(net.now), |_| false)?;
    report("at rest", &mut net, n);

    let (begin, changes, mut ops) = (net.now, net.changes[0], 0);
    let (mut random, mut rekeyed, mut last) = (Random(11), 0, net.now);
    // Those who came first may have a second turn before the last one's first.
    let mut waiting: HashSet<u32> = (0..n as u32).collect();
    // Those whose SAs have changed, with the steps for which they send and receive.
    let mut lively: VecDeque<(Instant, u32)> = VecDeque::new();
    while !waiting.is_empty() || !lively.is_empty() {
        ensure!(net.now < begin + LIFETIME, "{} of {n} were not rekeyed", waiting.len());
        net.run(STEP, |_| false)?;
        let fresh = ends.learn(&mut net)?;
        if !waiting.is_empty() {
            (rekeyed, ops) = (rekeyed + fresh.len(), net.changes[0] - changes);
            last = if fresh.is_empty() { last } else { net.now };
            fresh.iter().for_each(|i| _ = waiting.remove(i));
            lively.extend(fresh.into_iter().map(|i| (net.now + 10 * DELAY, i)));
        }
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
    println!(
        "{rekeyed} child SAs in {took:.1} s, {:.0} a second; {ops} table changes, {:.0} a second",
        rekeyed as f64 / took,
        ops as f64 / took
    );
    let [up, down] = ends.sent;
    println!("packets up {up}, down {down}; lost {} and {}", up - ends.arrived[0], down - ends.arrived[1]);
    let drops = net.dataplane.as_ref().map(|d| drops(&d.worker));
    ensure!(ends.sent == ends.arrived, "packets were lost: {drops:?}");
    ensure!(net.again.0 == 0, "{:?}", net.again);
    Ok(())
}

/// The worker.
fn worker(net: &mut Network) -> anyhow::Result<&mut Ringed> {
    net.dataplane.as_mut().and_then(|d| d.ringed.as_mut()).context("a worker")
}

/// Lets a port receive a frame.
fn push(net: &mut Network, port: PortId, frame: &[u8]) -> anyhow::Result<()> {
    let ringed = worker(net)?;
    let mbuf = ringed.pool.alloc_with(frame).context("no buffer")?;
    ensure!(ringed.far[usize::from(port.0)].push(mbuf).is_ok(), "the ring is full");
    Ok(())
}

impl Ends {
    /// The other ends of what the gateway has made. Whose SAs are new.
    fn learn(&mut self, net: &mut Network) -> anyhow::Result<Vec<u32>> {
        let mut made = net.made.replace(Vec::new()).unwrap_or_default().into_iter();
        let mut fresh = Vec::new();
        while let Some(first) = made.next() {
            let (TableOp::SaInAdd(sa_in), Some(TableOp::SaOutAdd(sa_out))) = (first, made.next()) else {
                bail!("SAs come in pairs");
            };
            let (i, spi_in) = (index(sa_in.remote).context("a subscriber")?, sa_in.spi.0);
            fresh.push(i);
            self.other.insert((i, sa_out.spi), spi_in);
            self.far.insert(spi_in, Far::of(&self.manager, sa_in, sa_out)?);
        }
        Ok(fresh)
    }

    /// A packet each way.
    fn send(&mut self, net: &mut Network, i: u32) -> anyhow::Result<()> {
        let (spi, session, own) = net.client(i).and_then(|c| c.path()).context("a subscriber that is up")?;
        let far = self.far.get_mut(&spi).context("an SA that the gateway has made")?;
        let mut data = tunnelled(session, &datagram(own.into(), HERE6.into(), 4000, SIZE))?;
        esp::seal(&mut self.manager, &mut far.seal, ip::UDP, &mut data).map_err(|r| anyhow::anyhow!("{}", r.name()))?;
        self.up.push_back((net.now + DELAY, framed(&packet(address(i), GATEWAY.into(), ip::ESP, &data))));
        self.sent[0] += 1;
        push(net, TRUSTED, &framed(&datagram(HERE6.into(), own.into(), 4000, SIZE)))?;
        self.sent[1] += 1;
        self.take(net)
    }

    /// What has arrived, at the worker and at the subscribers.
    fn carry(&mut self, net: &mut Network) -> anyhow::Result<()> {
        let now = net.now;
        while let Some((_, frame)) = self.up.pop_front_if(|f| f.0 <= now) {
            push(net, PUBLIC, &frame)?;
            self.take(net)?;
        }
        while let Some((_, i, mut esp)) = self.down.pop_front_if(|f| f.0 <= now) {
            let spi = esp.first_chunk().map(|b| u32::from_be_bytes(*b)).context("ESP")?;
            if !net.client(i).is_some_and(|c| c.takes(spi)) {
                continue;
            }
            let far = self.other.get(&(i, spi)).and_then(|other| self.far.get_mut(other));
            let open = &mut far.context("an SA that the gateway has made")?.open;
            self.arrived[1] += usize::from(esp::open(&mut self.manager, open, &mut esp).is_ok());
        }
        Ok(())
    }

    /// What the worker sends.
    fn take(&mut self, net: &mut Network) -> anyhow::Result<()> {
        let now = net.now;
        let ringed = worker(net)?;
        ringed.bed.worker.poll();
        let [public, trusted] = [PUBLIC, TRUSTED].map(|p| usize::from(p.0));
        while ringed.far[trusted].pop().is_some() {
            self.arrived[0] += 1;
        }
        while let Some(frame) = ringed.far[public].pop() {
            let outer = ipv4::Ipv4::parse(&frame.data()[ethernet::HEADER..]).map_err(|e| anyhow::anyhow!("{e:?}"))?;
            ensure!(outer.protocol() == ip::ESP, "protocol {} to the access network", outer.protocol());
            let i = index(IpAddr::V4(outer.dst())).context("a subscriber")?;
            self.down.push_back((now + DELAY, i, outer.payload().to_vec()));
        }
        Ok(())
    }
}

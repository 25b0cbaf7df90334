//! Subscribers who are up and whose packets a worker on core 1 carries, whatever the control plane does meanwhile.

use crate::clock::{self, Clock};
use crate::subscribers::network::DataPlane;
use crate::subscribers::slots;
use anyhow::{Context, ensure};
use dpdk::Burst;
use fastpath::bed::Ringed;
use fastpath::path::{Kind, Path};
use fastpath::world::World;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// Bursts between two looks at what is to be measured.
const BURSTS: usize = 16;

/// The tables and rings of a worker for `n` subscribers of the gateway, who are in none of them yet, and `more`.
pub fn ringed(name: &str, n: usize, more: usize) -> anyhow::Result<(World, Ringed)> {
    // The gateway has its own peers in its own time.
    let path = Path { peers: 0, ..Path::named("l2tp4-in-512").context("a path")? };
    let mut world = World::new(path, 64)?;
    world.path.peers = slots(n) + more;
    world.routes = (4 * (n + more) as u32).next_power_of_two().max(1 << 16);
    let ringed = Ringed::new(&world, name, 0)?;
    Ok((world, ringed))
}

/// See the module.
pub struct Traffic {
    ringed: Ringed,
    world: World,
    first: usize,
    next: usize,
}

impl Traffic {
    /// `count` of them, beside `n` that the gateway may have.
    pub fn new(n: usize, count: usize) -> anyhow::Result<(Self, DataPlane)> {
        let (world, mut ringed) = ringed("traffic", n, count)?;
        let (first, mut routes) = (slots(n), Vec::new());
        for i in first..world.path.peers {
            ringed.bed.change(world.own_sas(i)?.into_iter().chain(world.own_session(i)?))?;
            routes.push(world.route(i)?);
        }
        let mut dataplane = DataPlane::of(&mut ringed)?;
        let errors = dataplane.publisher.apply(&routes).context("workers read the tables already")?;
        ensure!(errors.is_empty(), "{} routes do not fit", errors.len());
        Ok((Self { ringed, world, first, next: 0 }, dataplane))
    }

    /// On core 1: lets the worker look around in phase 0, and carries packets both ways in the phases after that for which there
    /// is a place. What each of them took.
    pub fn run(mut self, phase: &AtomicUsize) -> anyhow::Result<[Spent; 3]> {
        let _lcore = dpdk::lcore::register()?;
        clock::pinned()?;
        let mut spent: [Spent; 3] = Default::default();
        loop {
            let Some(measured) = phase.load(Relaxed).checked_sub(1) else {
                self.ringed.bed.worker.poll();
                continue;
            };
            let Some(spent) = spent.get_mut(measured) else { break };
            self.round(spent)?;
        }
        Ok(spent)
    }

    /// Some bursts, each time the other way. A poll of its own does what the control plane has asked for while frames were made.
    fn round(&mut self, all: &mut Spent) -> anyhow::Result<()> {
        let Self { ringed, world, first, next } = self;
        ringed.turn();
        world.path.kind = if world.path.kind.is_outbound() { Kind::Softwire4In } else { Kind::Softwire4Out };
        let (count, mut out) = (world.path.peers - *first, Burst::new());
        let (mut clock, mut spent) = (Clock::start()?, Duration::ZERO);
        for _ in 0..BURSTS {
            let mut frames = Vec::with_capacity(Burst::CAPACITY);
            for _ in 0..Burst::CAPACITY {
                *next += 1;
                frames.push(world.frame(*first + *next % count, *next)?);
            }
            clock.lap()?;
            ringed.bed.worker.poll();
            all.changes += clock.lap()?;
            let mut polled = Ok(Duration::ZERO);
            ringed.pass_by(&frames, &mut out, |worker| {
                let before = clock.lap();
                worker.poll();
                polled = before.and_then(|_| clock.lap());
            })?;
            spent += polled?;
        }
        all.polls += BURSTS as u32;
        all.packets.push(spent.as_nanos() as f64 / (BURSTS * Burst::CAPACITY) as f64);
        Ok(())
    }
}

/// Processor time of a worker's polls in a phase, so that nothing else that wants its core counts.
#[derive(Default)]
pub struct Spent {
    /// Nanoseconds for a packet, round by round.
    pub packets: Vec<f64>,
    /// Of polls without packets, changes of tables included.
    pub changes: Duration,
    /// How many of those there were.
    pub polls: u32,
}

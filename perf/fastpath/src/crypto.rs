//! The crypto floor: what the gateway's ESP nodes call, and nothing around it.

use crate::quiet;
use anyhow::{Context, ensure};
use arrayvec::ArrayVec;
use ipsec_mb::{Algorithm, BATCH, Direction, Job, Key, Manager};
use serde::{Deserialize, Serialize};
use std::hint::black_box;

/// Batches that are timed together, and how often.
const BATCHES: usize = 32;
const CHUNKS: usize = 200;

/// What is sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Number of the algorithm ([`Algorithm::from_number`]).
    pub algorithm: u8,
    /// Octets of an ESP packet, from the SPI to the ICV.
    pub packet: usize,
    /// Keys, which the packets take in turn.
    pub keys: usize,
    /// Seal; otherwise open.
    pub seal: bool,
}

/// Ticks per packet.
pub fn run(work: &Work) -> anyhow::Result<f64> {
    let algorithm = Algorithm::from_number(work.algorithm).context("no such algorithm")?;
    let mut manager = Manager::new().map_err(|e| anyhow::anyhow!("{e}"))?;
    let key = |i: usize| {
        let octets: Vec<u8> = (0..64).map(|n| (n ^ i) as u8).collect();
        Key::new(&manager, algorithm, &octets[..algorithm.cipher_key_len()], &octets[..algorithm.auth_key_len()])
    };
    let keys: Vec<Key> = (0..work.keys).map(key).collect::<Option<_>>().context("keys")?;
    let sealed: Vec<Vec<u8>> = (0..BATCH).map(|n| (0..work.packet).map(|i| (i ^ n) as u8).collect()).collect();
    let mut next = 0;
    let mut chunk = || {
        let mut ticks = 0;
        for _ in 0..BATCHES {
            let mut packets = sealed.clone();
            let first = next;
            next += BATCH;
            if !work.seal {
                crypt(&mut manager, algorithm, &keys, first, Direction::Seal, &mut packets)?;
            }
            let direction = if work.seal { Direction::Seal } else { Direction::Open };
            ticks += crypt(&mut manager, algorithm, &keys, first, direction, &mut packets)?;
            black_box(&packets);
        }
        Ok(ticks as f64 / (BATCHES * BATCH) as f64)
    };
    // The first is for the caches.
    chunk()?;
    quiet::median(CHUNKS, quiet::PATIENCE, chunk)
}

/// Ticks for one batch.
fn crypt(
    manager: &mut Manager,
    algorithm: Algorithm,
    keys: &[Key],
    first: usize,
    direction: Direction,
    packets: &mut [Vec<u8>],
) -> anyhow::Result<u64> {
    let start = dpdk::lcore::tsc();
    let own: ArrayVec<&Key, BATCH> = (0..packets.len()).map(|n| &keys[(first + n) % keys.len()]).collect();
    let job = |packet| Job::new(algorithm, direction, packet, [7; 4], Some(0));
    let mut jobs: ArrayVec<Job<'_>, BATCH> = packets.iter_mut().map(|packet| job(packet)).collect();
    let outcome = manager.run(&mut jobs, &own);
    let ticks = dpdk::lcore::tsc() - start;
    ensure!(outcome.all_good(jobs.len()), "a packet is not good");
    Ok(ticks)
}

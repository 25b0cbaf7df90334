//! Reassembly of outer fragments addressed to us, over DPDK's table.
//!
//! ESP in transport mode and IKE messages may arrive in fragments; transit packets are never reassembled. A fragment
//! that waits counts as *joined*; if its datagram never becomes whole it is moved to the drops.

use crate::lane::{Ctx, Packet};
use dataplane_api::{DropReason, TraceEnd, WorkerCounters};
use dpdk::frag::{Reassembler, Reassembly};
use dpdk::lcore::tsc;

/// Seconds a datagram may take to become whole.
const LIFETIME: u64 = 5;
/// Polls between two looks for datagrams that will never be whole.
const EXPIRE_EVERY: u64 = 4096;

/// One worker's table.
#[derive(Debug)]
pub struct Fragments {
    table: Reassembler,
    polls: u64,
}

impl Fragments {
    /// For `datagrams` incomplete datagrams.
    pub fn new(datagrams: u32) -> Result<Self, dpdk::Error> {
        let hz = dpdk::lcore::tsc_hz()?;
        Ok(Self { table: Reassembler::new(datagrams, LIFETIME * hz, None)?, polls: 0 })
    }

    /// Takes a fragment; gives the datagram when it is whole, in one segment.
    pub fn add(&mut self, ctx: &mut Ctx, packet: Packet) -> Option<Packet> {
        let v6 = packet.is_v6();
        let meta = *packet;
        let mbuf = packet.mbuf.into_mbuf();
        let (l3, now) = (usize::from(meta.l3), tsc());
        let result = if v6 { self.table.process_v6(mbuf, l3, now) } else { self.table.process_v4(mbuf, l3, now) };
        let whole = match result {
            Reassembly::Complete(mbuf) => Some(Packet::new(mbuf, meta)),
            Reassembly::Pending => {
                ctx.counters.worker.joined.add(1);
                ctx.tracer.end(meta.trace, TraceEnd::Joined);
                None
            }
            Reassembly::Malformed(mbuf) => {
                ctx.drop(Packet::new(mbuf, meta), DropReason::Malformed);
                None
            }
        };
        self.account(&ctx.counters.worker);
        let mut whole = whole?;
        if whole.mbuf.linearize(&ctx.large).is_err() {
            ctx.drop(whole, DropReason::NoBuffer);
            return None;
        }
        Some(whole)
    }

    /// Gives up on old datagrams, now and then.
    pub fn tick(&mut self, counters: &WorkerCounters) {
        self.polls += 1;
        if self.polls.is_multiple_of(EXPIRE_EVERY) {
            self.expire(counters, tsc());
        }
    }

    /// Gives up on datagrams that are too old at `now`, in cycles.
    pub fn expire(&mut self, counters: &WorkerCounters, now: u64) {
        self.table.expire(now);
        self.account(counters);
    }

    /// What was discarded had been counted as joined.
    fn account(&mut self, counters: &WorkerCounters) {
        let n = self.table.take_discarded();
        if n > 0 {
            counters.joined.set(counters.joined.get().wrapping_sub(n));
            counters.drops[DropReason::Reassembly as usize].add(n);
        }
    }
}

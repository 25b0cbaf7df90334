//! A port: its queues, its neighbours, and the frames that wait to be sent.

use crate::link::Link;
use crate::neighbours::Neighbours;
use dpdk::port::PortStats;
use dpdk::{Burst, Mbuf, Mempool, Port, RxQueue, TxQueue};
use std::net::IpAddr;
use std::time::Instant;

/// A port of a packet core.
pub struct Side {
    port: Port,
    rx: RxQueue,
    tx: TxQueue,
    pub(super) link: Link,
    pub(super) neighbours: Neighbours,
    pub(super) out: Burst,
}

impl Side {
    /// Over the queues of a started port.
    pub fn new(port: Port, (rx, tx): (RxQueue, TxQueue), link: Link, neighbours: Neighbours) -> Self {
        Self { port, rx, tx, link, neighbours, out: Burst::new() }
    }

    /// Receives a burst.
    pub(super) fn receive(&mut self, burst: &mut Burst) -> usize {
        self.rx.burst(burst)
    }

    /// Sends what waits. What the device does not take waits on.
    pub(super) fn flush(&mut self) {
        self.tx.burst(&mut self.out);
    }

    /// Whether another frame can wait.
    pub(super) fn has_room(&self) -> bool {
        !self.out.is_full()
    }

    /// Puts a frame behind those that wait. One for which there is no room, or no buffer, is lost.
    pub(super) fn push(&mut self, pool: &Mempool, frame: &[u8]) {
        if let Some(mbuf) = pool.alloc_with(frame) {
            self.put(mbuf);
        }
    }

    pub(super) fn put(&mut self, mbuf: Mbuf) {
        // Those who send many look at `has_room` first; an answer to ARP is asked for again.
        let _ = self.out.push(mbuf);
    }

    /// Asks neighbours who they are, where it is time.
    pub(super) fn ask(&mut self, now: Instant, pool: &Mempool) {
        if self.neighbours.poll_timeout().is_some_and(|t| t <= now)
            && let Some(frame) = self.neighbours.poll_question(now)
        {
            self.push(pool, &frame);
        }
    }

    /// The gateway's addresses that have not answered.
    pub(super) fn silent(&self) -> impl Iterator<Item = IpAddr> {
        self.neighbours.silent().into_iter()
    }

    pub(super) fn counters(&self) -> PortStats {
        self.port.stats().unwrap_or_default()
    }
}

//! The worker: one thread, one core, one poll after the other. Read [`Worker::poll_at`] first.
//!
//! Each stage drains its lane before the next one starts, so that its code and tables are loaded once for the whole
//! batch. A packet that needs an earlier stage again (an ICMP message of our own) waits in `again` for the next poll.

use crate::counter;
use crate::handoff::Handoff;
use crate::lane::{Ctx, LANE, Lane, Origin, Packet, PacketMeta, Stage};
use crate::node::icmp::IcmpLimiter;
use crate::node::output::Tx;
use crate::node::punt::{Punt, Rates};
use crate::node::{classify, decap, decrypted, encap, esp_in, esp_out, forward, inject, l2tp_in, l2tp_out, output};
use crate::ops;
use crate::publish::Snapshot;
use crate::reassembly::Fragments;
use crate::sad::{Sad, TOLD};
use crate::session::Sessions;
use crate::trace::Tracer;
use arc_swap::{ArcSwap, Cache};
use dataplane_api::{DropReason, InjectMsg, OpSeq, PortId, TableOp, WorkerCounters, WorkerPort};
use dpdk::{Burst, Mempool, RxQueue, TxQueue, huge};
use rtrb::{Consumer, Producer};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Frames received per poll, over all ports. The lanes hold more, for what the worker makes itself.
const RECEIVE: usize = LANE / 2;
/// Packets taken over from other workers per poll.
const TAKE_OVER: usize = LANE / 4;
/// Empty polls before the worker starts to sleep.
const SPIN: u32 = 2_000;
/// Empty polls before it sleeps longer.
const DOZE: u32 = 12_000;
/// SAs each way whose counters are told before a nap.
const TOLD_IDLE: usize = 256;

/// What a worker is made of.
pub struct Parts {
    /// Its ends of the rings.
    pub port: WorkerPort,
    /// One pair of queues per port, by port number.
    pub queues: Vec<(RxQueue, TxQueue)>,
    /// Buffers.
    pub pool: Mempool,
    /// Large buffers.
    pub large: Mempool,
    /// Where snapshots appear.
    pub shared: Arc<ArcSwap<Snapshot>>,
    /// Ways to the other workers.
    pub handoff: Handoff,
    /// Punt rates.
    pub rates: Rates,
    /// Slots of the session table.
    pub sessions: usize,
    /// Slots of the SA tables.
    pub sas: usize,
}

/// A worker and its tables.
pub struct Worker {
    ctx: Ctx,
    shared: Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>,
    rx: Vec<RxQueue>,
    /// Port to receive from first: none is to starve behind the others.
    first: usize,
    burst: Burst,
    ops: Consumer<(OpSeq, TableOp)>,
    inject: Consumer<InjectMsg>,
    inject_free: Producer<Vec<u8>>,
    pub(crate) sad: Sad,
    sessions: Sessions,
    fragments: Fragments,
    lanes: Lanes,
}

#[derive(Default)]
struct Lanes {
    received: Lane,
    esp_in: Lane,
    decrypted: Lane,
    l2tp_in: Lane,
    decap: Lane,
    forward: Lane,
    l2tp_out: Lane,
    encap: Lane,
    esp_out: Lane,
    outer: Lane,
    again: Lane,
}

impl Worker {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Result<Self, crate::Error> {
        let Parts { port, queues, pool, large, shared, handoff, rates, sessions, sas } = parts;
        let now = Instant::now();
        let (rx, tx): (Vec<_>, Vec<_>) = queues.into_iter().unzip();
        huge::collapse(&port.counters.sessions);
        huge::collapse(&port.counters.sa_in);
        huge::collapse(&port.counters.sa_out);
        let ctx = Ctx {
            id: port.id,
            counters: port.counters,
            snapshot: shared.load_full(),
            now,
            pool,
            large,
            tx: tx.into_iter().map(Tx::new).collect(),
            punt: Punt::new(port.punt, port.punt_free, &rates, now),
            events: port.events,
            handoff,
            tracer: Tracer::new(port.id, port.traced, port.trace_free),
            limiter: IcmpLimiter::new(now),
            ip_id: dpdk::lcore::tsc() as u16,
        };
        Ok(Self {
            sad: Sad::new(ctx.id, sas).map_err(|e| crate::Error::Sad(e.to_string()))?,
            sessions: Sessions::new(ctx.id, sessions),
            fragments: Fragments::new(1024)?,
            shared: Cache::new(shared),
            rx,
            first: 0,
            burst: Burst::new(),
            ops: port.ops,
            inject: port.inject,
            inject_free: port.inject_free,
            lanes: Lanes::default(),
            ctx,
        })
    }

    /// One poll. Gives how much there was to do.
    #[inline]
    pub fn poll(&mut self) -> usize {
        self.poll_at(Instant::now())
    }

    /// One poll at a time of the caller's choice.
    pub fn poll_at(&mut self, now: Instant) -> usize {
        self.poll_in_laps(now, |_| {})
    }

    /// The same; `lap` is told the name of each part that has just ended, and may look at its watch.
    #[inline]
    pub fn poll_in_laps(&mut self, now: Instant, mut lap: impl FnMut(&'static str)) -> usize {
        let Self { ctx, shared, sad, sessions, fragments, lanes: l, .. } = self;
        ctx.now = now;
        // The old one is freed by the publisher, which keeps it until we let go of it.
        let snapshot = shared.load();
        if !Arc::ptr_eq(snapshot, &ctx.snapshot) {
            ctx.snapshot = Arc::clone(snapshot);
        }

        // What comes in.
        let mut n = ops::run(ctx, &mut self.ops, sad, sessions);
        n += inject::run(ctx, sessions, &mut self.inject, &mut self.inject_free, &mut l.esp_out, &mut l.outer);
        lap("control");
        n += receive(ctx, &mut self.rx, &mut self.first, &mut self.burst, &mut l.received);
        lap("rx");
        n += take_over(ctx, l);
        n += l.forward.len();
        fragments.tick(&ctx.counters.worker);
        lap("take over");

        // Up: from the wire to the subscriber's packet. What has nothing to do is not even entered.
        if !l.received.is_empty() {
            let ways = (&mut l.esp_in, &mut l.l2tp_in, &mut l.decap, &mut l.forward);
            classify::run(ctx, snapshot, sad, fragments, &mut l.received, ways);
        }
        lap("classify");
        if !l.esp_in.is_empty() {
            esp_in::run(ctx, sad, sessions, &mut l.esp_in, (&mut l.l2tp_in, &mut l.decap, &mut l.decrypted));
        }
        lap("esp_in");
        if !l.decrypted.is_empty() {
            decrypted::run(ctx, &mut l.decrypted, &mut l.l2tp_in, &mut l.decap, &mut l.forward);
        }
        lap("decrypted");
        if !l.l2tp_in.is_empty() {
            l2tp_in::run(ctx, sessions, &mut l.l2tp_in, &mut l.forward);
        }
        lap("l2tp_in");
        if !l.decap.is_empty() {
            decap::run(ctx, snapshot, &mut l.decap, &mut l.forward);
        }
        lap("decap");

        // Over.
        if !l.forward.is_empty() {
            forward::run(ctx, snapshot, sessions, &mut l.forward, &mut l.l2tp_out, &mut l.encap, &mut l.again);
        }
        lap("forward");

        // Down: from the subscriber's packet to the wire.
        if !l.l2tp_out.is_empty() {
            l2tp_out::run(ctx, sessions, sad, &mut l.l2tp_out, &mut l.esp_out, &mut l.outer, &mut l.again);
        }
        lap("l2tp_out");
        if !l.encap.is_empty() {
            encap::run(ctx, snapshot, (sessions, sad), &mut l.encap, &mut l.esp_out, &mut l.outer, &mut l.again);
        }
        lap("encap");
        if !l.esp_out.is_empty() {
            esp_out::run(ctx, sad, &mut l.esp_out);
        }
        sad.tell(&ctx.counters, TOLD);
        lap("esp_out");
        for lane in [&mut l.outer, &mut l.esp_out] {
            if !lane.is_empty() {
                output::run(ctx, snapshot, lane);
            }
        }
        lap("output");
        output::flush(ctx);
        lap("tx");

        // What has to go through `forward` once more.
        std::mem::swap(&mut l.forward, &mut l.again);
        let c = &ctx.counters.worker;
        c.polls.add(1);
        c.idle_polls.add(u64::from(n == 0));
        n
    }

    /// Polls until told to stop. Without `busy` it sleeps when there is nothing to do: first shortly, then for longer.
    pub fn run(&mut self, stop: &AtomicBool, busy: bool) {
        let mut empty = 0u32;
        while !stop.load(Relaxed) {
            if self.poll() > 0 {
                empty = 0;
            } else if !busy {
                empty = empty.saturating_add(1);
                if empty >= SPIN {
                    self.sad.tell(&self.ctx.counters, TOLD_IDLE);
                }
                match empty {
                    ..SPIN => std::hint::spin_loop(),
                    SPIN..DOZE => std::thread::sleep(Duration::from_micros(50)),
                    _ => std::thread::sleep(Duration::from_micros(500)),
                }
            }
        }
    }

    /// Its counters.
    pub fn counters(&self) -> &WorkerCounters {
        &self.ctx.counters.worker
    }

    /// Packets that wait for the next poll: those the accounting identity cannot see yet.
    pub fn in_flight(&self) -> u64 {
        let c = self.counters();
        debug_assert!(counter::arrived(c) >= counter::departed(c));
        self.lanes.forward.len() as u64
    }
}

/// Receives from every port in turn, beginning with another one each time.
fn receive(ctx: &mut Ctx, rx: &mut [RxQueue], first: &mut usize, burst: &mut Burst, lane: &mut Lane) -> usize {
    let ports = rx.len();
    let (mut n, mut octets) = (0, 0);
    for i in 0..ports {
        let port = (*first + i) % ports;
        let Some(queue) = rx.get_mut(port) else { break };
        if n + Burst::CAPACITY > RECEIVE || lane.room() < Burst::CAPACITY {
            break;
        }
        n += queue.burst(burst);
        for mbuf in burst.drain() {
            octets += mbuf.pkt_len() as u64;
            mbuf.prefetch_data();
            ctx.push(lane, Packet::new(mbuf, PacketMeta::new(PortId(port as u16), 0, Origin::Public)));
        }
    }
    *first = if *first + 1 < ports { *first + 1 } else { 0 };
    ctx.counters.worker.received.add(n as u64);
    ctx.counters.worker.received_octets.add(octets);
    n
}

/// Takes packets that other workers handed over, into the lanes they wait for.
fn take_over(ctx: &mut Ctx, l: &mut Lanes) -> usize {
    let mut handoff = std::mem::take(&mut ctx.handoff);
    let n = handoff.take(TAKE_OVER, |mut packet| {
        ctx.resume_trace(&mut packet);
        let lane = match packet.stage {
            // The address may have been taken away since: nothing that was protected goes on to where it is not ours.
            Stage::EspIn if !decrypted::is_to_us(ctx, &packet, &mut None) => {
                return ctx.drop(packet, DropReason::SaMismatch);
            }
            Stage::EspIn => &mut l.esp_in,
            Stage::L2tpIn => &mut l.l2tp_in,
            Stage::L2tpOut => &mut l.l2tp_out,
            Stage::EspOut => &mut l.esp_out,
        };
        ctx.push(lane, packet);
    });
    ctx.handoff = handoff;
    ctx.counters.worker.handed_in.add(n as u64);
    n
}

//! Rings between workers, one per pair and direction, for packets whose SA or session another worker owns.

use crate::lane::{Ctx, Packet, Stage};
use dataplane_api::{DropReason, TraceEnd, WorkerId};
use rtrb::{Consumer, Producer, RingBuffer};

/// One worker's ends.
#[derive(Debug, Default)]
pub struct Handoff {
    to: Vec<Option<Producer<Packet>>>,
    from: Vec<Consumer<Packet>>,
}

impl Handoff {
    /// The ends of `workers` workers that are all connected with each other by rings of `depth` packets.
    pub fn mesh(workers: usize, depth: usize) -> Vec<Self> {
        let mut ends: Vec<Self> = (0..workers).map(|_| Self::default()).collect();
        for from in 0..workers {
            for to in 0..workers {
                let ring = (from != to).then(|| RingBuffer::new(depth));
                let (tx, rx) = ring.map_or((None, None), |(tx, rx)| (Some(tx), Some(rx)));
                ends[from].to.push(tx);
                ends[to].from.extend(rx);
            }
        }
        ends
    }

    /// Takes up to `n` packets that other workers handed over.
    pub fn take(&mut self, n: usize, mut each: impl FnMut(Packet)) -> usize {
        let mut taken = 0;
        for ring in &mut self.from {
            while taken < n {
                let Ok(packet) = ring.pop() else { break };
                each(packet);
                taken += 1;
            }
        }
        taken
    }
}

impl Ctx {
    /// Gives a packet to the worker that owns its SA or session; congestion drops it here.
    pub fn hand_off(&mut self, to: WorkerId, mut packet: Packet, stage: Stage) {
        packet.stage = stage;
        let Some(Some(ring)) = self.handoff.to.get_mut(usize::from(to.0)) else {
            // A worker that does not exist owns nothing.
            let reason = match stage {
                Stage::EspIn => DropReason::SaUnknown,
                Stage::EspOut => DropReason::SaMissing,
                Stage::L2tpIn | Stage::L2tpOut => DropReason::SessionUnknown,
            };
            return self.drop(packet, reason);
        };
        let trace = packet.trace;
        packet.trace = self.tracer.number(trace);
        match ring.push(packet) {
            Ok(()) => {
                self.counters.worker.handed_out.add(1);
                self.tracer.end(trace, TraceEnd::HandedOff(to));
            }
            Err(rtrb::PushError::Full(mut packet)) => {
                packet.trace = trace;
                self.drop(packet, DropReason::HandoffFull);
            }
        }
    }
}

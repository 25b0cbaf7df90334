//! Packet traces: workers are told what to trace, and what they have traced is collected. What the operator does, and
//! that packets' contents were read, leaves audit lines.

use super::Gateway;
use crate::northbound::{TraceQuery, TraceRefused, TraceRequest};
use crate::trace::Names;
use dataplane_api::{TableOp, TracePacket, TraceSpec, WorkerId};
use std::time::{Duration, Instant};

impl Gateway {
    /// What a worker has traced.
    pub fn handle_trace(&mut self, packet: &TracePacket) {
        let lost = self.lost_traces();
        if self.traces.input(packet, lost) {
            self.tell_tracers(None);
        }
    }

    pub(super) fn trace_timeout(&mut self) {
        let lost = self.lost_traces();
        self.traces.finish(lost);
        self.tell_tracers(None);
    }

    pub(super) fn trace_query(&mut self, now: Instant, query: TraceQuery) {
        match query {
            TraceQuery::Start(request, to) => drop(to.send(self.start_trace(now, request))),
            TraceQuery::All(to) => drop(to.send(self.named(|g, names| g.traces.summaries(names)))),
            TraceQuery::One(id, to) => drop(to.send(self.named(|g, names| g.traces.info(id, names)))),
            TraceQuery::Frames(id, to) => {
                let frames = self.named(|g, names| g.traces.frames(id, names));
                self.operated(frames.is_some(), || format!("packets of trace {id} read"));
                let _ = to.send(frames);
            }
            TraceQuery::Delete(id, to) => {
                let deleted = self.traces.delete(id);
                if deleted == Some(true) {
                    self.tell_tracers(None);
                }
                self.operated(deleted.is_some(), || format!("trace {id} deleted"));
                let _ = to.send(deleted.is_some());
            }
        }
    }

    fn start_trace(&mut self, now: Instant, request: TraceRequest) -> Result<u32, TraceRefused> {
        let what = request.filter.to_string();
        let ports = self.port_names();
        let names = Names { ports: &ports, clock: (now, Duration::ZERO), lost: self.lost_traces() };
        let spec = self.traces.start(now, request, names)?;
        self.tell_tracers(Some(spec));
        self.operated(true, || format!("trace {} of {what}", spec.trace));
        Ok(spec.trace)
    }

    fn tell_tracers(&mut self, spec: Option<TraceSpec>) {
        for worker in 0..self.counters.len() {
            self.program.op(WorkerId(worker as u8), TableOp::Trace(spec));
        }
    }

    fn named<T>(&self, answer: impl FnOnce(&Self, Names) -> T) -> T {
        let ports = self.port_names();
        let clock = self.clock.unwrap_or((self.started, Duration::ZERO));
        answer(self, Names { ports: &ports, clock, lost: self.lost_traces() })
    }

    fn port_names(&self) -> Vec<String> {
        self.config.ports.iter().map(|p| p.name.clone()).collect()
    }

    fn lost_traces(&self) -> u64 {
        self.counters.iter().map(|c| c.worker.trace_lost.get()).sum()
    }
}

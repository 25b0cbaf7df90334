//! Packet traces, collected from the workers.
//!
//! ```text
//!   worker 0: rx classify esp-in hand-off(1) ──┐ the parts of a packet have one number;
//!   worker 1: decrypted l2tp-in forward tx ────┴─► the last one decides whether it matches ─► kept, up to so many
//! ```
//!
//! One trace runs at a time. It is done when it has its packets, or after [`LIFE`]; the last few that are done stay to be
//! looked at. The copies of headers are in memory only.

mod describe;

use crate::northbound::{TraceFrame, TraceInfo, TraceMatch, TraceRefused, TraceRequest, TraceSummary};
use dataplane_api::{IpPrefix, PortId, TraceEnd, TraceFilter, TracePacket, TraceSpec};
use ipnet::IpNet;
use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// Time after which a trace is done, whatever it has.
pub const LIFE: Duration = Duration::from_secs(600);
/// Traces that are kept.
const KEPT: usize = 4;
/// Most packets of one.
const MOST: usize = 1000;
/// One in so many, at most.
const RAREST: u32 = 1_000_000;
/// Packets whose other part is awaited.
const WAITING: usize = 256;

/// All traces, the oldest first. Only the last one may be running.
#[derive(Debug, Default)]
pub struct Traces {
    last: u32,
    all: VecDeque<Trace>,
}

#[derive(Debug)]
struct Trace {
    id: u32,
    request: TraceRequest,
    /// While it runs.
    until: Option<Instant>,
    /// Packets that the workers had lost, of all traces, when it began; and of this one, when it is done.
    lost: u64,
    /// Each in its parts.
    packets: Vec<Vec<TracePacket>>,
    waiting: VecDeque<Vec<TracePacket>>,
    /// Packets that there was no room to wait with.
    given_up: u64,
}

/// What answers are made with: names of ports, and the time of day.
#[derive(Clone, Copy)]
pub struct Names<'a> {
    /// By number.
    pub ports: &'a [String],
    /// An instant, and what it was since 1970.
    pub clock: (Instant, Duration),
    /// Packets that the workers have lost, of all traces.
    pub lost: u64,
}

impl Traces {
    /// Begins one; gives what the workers are to be told.
    pub fn start(&mut self, now: Instant, request: TraceRequest, names: Names) -> Result<TraceSpec, TraceRefused> {
        if let Some(running) = self.running() {
            return Err(TraceRefused::Running(running.id));
        }
        let filter = filter(&request.filter, names.ports)?;
        let invalid = |path, detail: String| TraceRefused::Invalid { path, detail };
        let sample = NonZeroU32::new(request.sample).filter(|n| n.get() <= RAREST);
        let sample = sample.ok_or_else(|| invalid("/sample", format!("is 1 to {RAREST}")))?;
        if !(1..=MOST).contains(&request.packets) {
            return Err(invalid("/packets", format!("is 1 to {MOST}")));
        }
        self.last += 1;
        if self.all.len() == KEPT {
            self.all.pop_front();
        }
        self.all.push_back(Trace {
            id: self.last,
            request,
            until: Some(now + LIFE),
            lost: names.lost,
            packets: Vec::new(),
            waiting: VecDeque::new(),
            given_up: 0,
        });
        Ok(TraceSpec { trace: self.last, filter, sample })
    }

    /// What a worker has traced. True when the workers may stop.
    pub fn input(&mut self, packet: &TracePacket, lost: u64) -> bool {
        let Some(trace) = self.running().filter(|t| t.id == packet.trace) else { return false };
        trace.input(packet);
        let done = trace.packets.len() >= trace.request.packets;
        if done {
            trace.finish(lost);
        }
        done
    }

    /// When the running one is to end.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.all.back().and_then(|t| t.until)
    }

    /// Time has come.
    pub fn finish(&mut self, lost: u64) {
        if let Some(trace) = self.running() {
            trace.finish(lost);
        }
    }

    /// Forgets one; `None` when there is none, else whether it was running.
    pub fn delete(&mut self, id: u32) -> Option<bool> {
        let at = self.all.iter().position(|t| t.id == id)?;
        self.all.remove(at).map(|t| t.until.is_some())
    }

    /// All, without packets.
    pub fn summaries(&self, names: Names) -> Vec<TraceSummary> {
        self.all.iter().map(|t| t.summary(names)).collect()
    }

    /// One, with what its packets met.
    pub fn info(&self, id: u32, names: Names) -> Option<TraceInfo> {
        let trace = self.all.iter().find(|t| t.id == id)?;
        let packets = trace.packets.iter().map(|parts| describe::packet(parts, names)).collect();
        Some(TraceInfo { summary: trace.summary(names), packets })
    }

    /// What the packets of one contain.
    pub fn frames(&self, id: u32, names: Names) -> Option<Vec<TraceFrame>> {
        let trace = self.all.iter().find(|t| t.id == id)?;
        let each = |(n, parts): (usize, &Vec<TracePacket>)| describe::frames(n + 1, parts, names);
        Some(trace.packets.iter().enumerate().flat_map(each).collect())
    }

    fn running(&mut self) -> Option<&mut Trace> {
        self.all.back_mut().filter(|t| t.until.is_some())
    }
}

impl Trace {
    fn input(&mut self, packet: &TracePacket) {
        let before = self.waiting.iter().position(|parts| parts.iter().any(|p| p.id == packet.id));
        let mut parts = before.and_then(|at| self.waiting.remove(at)).unwrap_or_default();
        parts.push(packet.clone());
        if !is_whole(&mut parts) {
            if self.waiting.len() == WAITING {
                self.waiting.pop_front();
                self.given_up += 1;
            }
            self.waiting.push_back(parts);
            return;
        }
        let filter = &self.request.filter;
        let seen = parts.iter().any(|p| p.headers) && parts.iter().any(|p| p.session);
        let dropped = parts.iter().any(|p| matches!(p.end, TraceEnd::Dropped(_)));
        if seen && (!filter.dropped || dropped) {
            self.packets.push(parts);
        }
    }

    fn finish(&mut self, lost: u64) {
        self.until = None;
        self.lost = self.lost_since(lost);
        self.waiting = VecDeque::new();
    }

    /// Of this trace, by the workers and here, while it runs.
    fn lost_since(&self, by_workers: u64) -> u64 {
        by_workers.saturating_sub(self.lost) + self.given_up
    }

    fn summary(&self, names: Names) -> TraceSummary {
        let running = self.until.is_some();
        TraceSummary {
            id: self.id,
            state: if running { "running" } else { "done" },
            filter: self.request.filter.clone(),
            sample: self.request.sample,
            wanted: self.request.packets,
            captured: self.packets.len(),
            lost: if running { self.lost_since(names.lost) } else { self.lost },
        }
    }
}

/// Puts the parts of a packet in the order of its way, each worker's behind the one that has handed it over: workers are
/// read one after the other, so that an end may come before its beginning. False while one is missing.
fn is_whole(parts: &mut [TracePacket]) -> bool {
    let mut next = parts.iter().position(|p| !p.continued);
    for at in 0..parts.len() {
        let Some(found) = next else { return false };
        parts.swap(at, found);
        next = match parts[at].end {
            TraceEnd::HandedOff(to) => (at + 1..parts.len()).find(|i| parts[*i].worker == to),
            _ => return at + 1 == parts.len(),
        };
    }
    false
}

fn filter(m: &TraceMatch, ports: &[String]) -> Result<TraceFilter, TraceRefused> {
    let invalid = |path, detail: String| TraceRefused::Invalid { path, detail };
    if let (Some(source), Some(destination)) = (m.source, m.destination)
        && source.addr().is_ipv4() != destination.addr().is_ipv4()
    {
        return Err(invalid("/filter/destination", "is of another family than the source".into()));
    }
    let prefix = |net: Option<IpNet>| net.and_then(|n| IpPrefix::new(n.network(), n.prefix_len()));
    let ingress = match &m.port_name {
        None => None,
        Some(name) => match ports.iter().position(|p| p == name) {
            Some(at) => Some(PortId(at as u16)),
            None => return Err(invalid("/filter/port_name", format!("there is no port {name:?}"))),
        },
    };
    let session = match &m.session {
        None => None,
        Some(text) => match text.parse() {
            Ok(id) => Some(id),
            Err(_) => return Err(invalid("/filter/session", format!("{text:?} is not tunnel.session"))),
        },
    };
    Ok(TraceFilter {
        source: prefix(m.source),
        destination: prefix(m.destination),
        protocol: m.protocol.map(|p| p.0),
        port: m.port,
        session,
        ingress,
        dropped: m.dropped,
    })
}

#[cfg(test)]
mod tests;

//! From the inside to the ports: datagrams of the protocols, and probes at a rate.

use super::{Engine, Plan};
use crate::inner;
use crate::link::{Carries, Outer, ethertype};
use crate::pace::Pace;
use crate::population::{State, Subscriber, stayers};
use crate::probe;
use crate::tally::{DOWN, Stream, UP};
use arrayvec::ArrayVec;
use dpdk::lcore;
use softwire_initiator::{Datagram, data};
use std::time::Instant;
use wire::ip;

/// Probes in one burst.
const BURST: usize = 32;

/// A trial that is going on.
pub(super) struct Sending {
    sizes: Vec<u16>,
    pace: [Pace; 2],
    streams: [Vec<Stream>; 2],
    next: [usize; 2],
    size: [usize; 2],
    /// Turns in which packets were due: those that were used, and those in which the port had not taken the last ones.
    pub(super) turns: [[u64; 2]; 2],
    /// A size did not fit a softwire's MTU.
    pub(super) too_big: bool,
}

/// Where the next probe of a burst goes, and how large it is.
type Turn = (Stream, usize);

impl Sending {
    pub(super) fn new(now: Instant, plan: &Plan, subscribers: &[Subscriber]) -> Self {
        let staying = &subscribers[..stayers(subscribers.len(), plan.churning)];
        let streams = [UP, DOWN].map(|way| {
            let up = (0u32..).zip(staying).filter(|(_, s)| s.state == State::Up);
            let both = up.flat_map(|(subscriber, s)| {
                let has = |v6: bool| s.inner[usize::from(v6)].is_some();
                [false, true].into_iter().filter(move |v6| has(*v6)).map(move |v6| Stream { subscriber, v6, way })
            });
            if plan.pps[way] > 0.0 { both.collect() } else { Vec::new() }
        });
        Self {
            sizes: plan.sizes.clone(),
            pace: plan.pps.map(|pps| Pace::new(now, pps)),
            streams,
            next: [0; 2],
            size: [0; 2],
            turns: [[0; 2]; 2],
            too_big: false,
        }
    }

    /// Probes that are due now, one burst at most.
    fn due(&self, way: usize, now: Instant) -> usize {
        if self.streams[way].is_empty() || self.sizes.is_empty() {
            return 0;
        }
        self.pace[way].due(now).min(BURST as u64) as usize
    }

    fn turn(&mut self, way: usize) -> Turn {
        let (streams, sizes) = (&self.streams[way], &self.sizes);
        let turn = (streams[self.next[way] % streams.len()], usize::from(sizes[self.size[way] % sizes.len()]));
        self.next[way] = (self.next[way] + 1) % streams.len();
        self.size[way] = (self.size[way] + 1) % sizes.len();
        self.pace[way].take(1);
        turn
    }
}

impl Engine {
    /// IKE, L2TP and PPP, as long as there is room; the rest waits.
    pub(super) fn send_datagrams(&mut self) -> bool {
        let mut busy = false;
        let Some(to) = self.access.neighbours.router(self.gateway.is_ipv6()) else { return false };
        while self.access.has_room()
            && let Some((i, datagram)) = self.population.poll_transmit()
        {
            busy = true;
            let (carries, payload) = match datagram {
                Datagram::Udp { from, to, data } => (Carries::Udp(from, to), data),
                Datagram::Esp(data) => (Carries::Esp, data),
            };
            let outer = Outer { src: self.population.subscribers[i as usize].outer, dst: self.gateway, carries };
            let (link, id) = (self.access.link, self.next_id());
            let at = link.header_len();
            let Some(mut mbuf) = self.pool.alloc() else { break };
            let Some(frame) = mbuf.append(at + outer.header_len() + payload.len()) else { continue };
            frame[at + outer.header_len()..].copy_from_slice(&payload);
            if outer.write(&mut frame[at..], id) && link.write(frame, to, ethertype(outer.dst)) {
                self.access.put(mbuf);
            }
        }
        busy
    }

    fn next_id(&mut self) -> u16 {
        self.id = self.id.wrapping_add(1);
        self.id
    }

    /// Probes that are to be sent now. What the port has not taken yet goes first.
    fn due(&mut self, way: usize, now: Instant, free: bool) -> usize {
        let Some(sending) = &mut self.sending else { return 0 };
        let due = sending.due(way, now);
        if due == 0 {
            return 0;
        }
        sending.turns[way][usize::from(!free)] += 1;
        if free { due } else { 0 }
    }

    /// Probes of the subscribers: framed one by one, sealed together.
    pub(super) fn send_up(&mut self, now: Instant) -> bool {
        let due = self.due(UP, now, self.access.out.is_empty());
        let gateway = self.access.neighbours.router(self.gateway.is_ipv6());
        let (Some(mac), true) = (gateway, due > 0) else { return false };
        let stamp = probe::ticks(lcore::tsc());
        let mut sealed = [(0u32, 0usize, 0u64); BURST];
        for _ in 0..due {
            let Some((stream, size)) = self.sending.as_mut().map(|s| s.turn(UP)) else { break };
            let n = self.access.out.len();
            if let Some(slot) = sealed.get_mut(n)
                && let Some(done) = self.frame_up(stream, size, stamp, mac)
            {
                *slot = done;
            }
        }
        let (mut jobs, mut keys) = (ArrayVec::<_, BURST>::new(), ArrayVec::<_, BURST>::new());
        for (mbuf, &(i, at, seq)) in self.access.out.as_mut_slice().iter_mut().zip(&sealed) {
            let sa = self.population.subscribers[i as usize].softwire.as_ref().and_then(|s| s.sealing());
            if let Some((job, key)) = sa.and_then(|sa| sa.job(&mut mbuf.data_mut()[at..], seq)) {
                jobs.push(job);
                keys.push(key);
            }
        }
        self.population.manager.run(&mut jobs, &keys);
        true
    }

    /// A frame with everything but the cryptography at the end of the burst: whose it is, where ESP begins, its number.
    fn frame_up(&mut self, stream: Stream, size: usize, stamp: u32, mac: [u8; 6]) -> Option<(u32, usize, u64)> {
        let (link, id) = (self.access.link, self.next_id());
        let s = self.population.subscribers.get_mut(stream.subscriber as usize)?;
        if size > usize::from(s.mtu) && s.state == State::Up {
            self.sending.as_mut()?.too_big = true;
            return None;
        }
        let (src, outer) = (s.inner[usize::from(stream.v6)]?, s.outer);
        let dst = self.network.as_ref()?.neighbours.own(stream.v6)?;
        let out = s.softwire.as_mut()?.outbound()?;
        let carries = out.encap.map_or(Carries::Esp, |(from, to)| Carries::Udp(from, to));
        let outer = Outer { src: outer, dst: self.gateway, carries };
        let payload = data::LEN + size;
        let (head, tail) = out.sa.around(payload)?;
        let at = link.header_len() + outer.header_len();
        let mut mbuf = self.pool.alloc()?;
        let frame = mbuf.append(at + head + payload + tail)?;
        let datagram = &mut frame[at + head..at + head + payload];
        let probe = self.tally.send(stream, stamp)?;
        let written = inner::write(&mut datagram[data::LEN..], src, dst, probe)
            && data::write(datagram, (outer.src, outer.dst), (out.tunnel, out.session), stream.v6);
        let (seq, _) = out.sa.frame(&mut frame[at..], payload, ip::UDP).ok()?;
        let headed = outer.write(&mut frame[link.header_len()..], id) && link.write(frame, mac, ethertype(outer.dst));
        if written && headed {
            self.access.put(mbuf);
        }
        Some((stream.subscriber, at, seq))
    }

    /// Probes to the subscribers.
    pub(super) fn send_down(&mut self, now: Instant) -> bool {
        let due = self.due(DOWN, now, self.network.as_ref().is_some_and(|n| n.out.is_empty()));
        let Some(network) = self.network.as_mut().filter(|_| due > 0) else { return false };
        let stamp = probe::ticks(lcore::tsc());
        for _ in 0..due {
            let Some((stream, size)) = self.sending.as_mut().map(|s| s.turn(DOWN)) else { break };
            let s = &self.population.subscribers[stream.subscriber as usize];
            if size > usize::from(s.mtu) && s.state == State::Up {
                self.sending.iter_mut().for_each(|s| s.too_big = true);
                continue;
            }
            let ends = (network.neighbours.own(stream.v6), s.inner[usize::from(stream.v6)]);
            let ((Some(src), Some(dst)), Some(mac)) = (ends, network.neighbours.router(stream.v6)) else { continue };
            let at = network.link.header_len();
            let Some(mut mbuf) = self.pool.alloc() else { break };
            let Some(frame) = mbuf.append(at + size) else { continue };
            let Some(probe) = self.tally.send(stream, stamp) else { continue };
            if inner::write(&mut frame[at..], src, dst, probe) && network.link.write(frame, mac, ethertype(dst)) {
                network.put(mbuf);
            }
        }
        true
    }
}

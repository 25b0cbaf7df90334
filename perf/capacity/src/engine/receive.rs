//! From the ports inwards.

use super::{Engine, Side};
use crate::tally::{DOWN, Stream, UP};
use crate::{inner, probe};
use arrayvec::ArrayVec;
use dpdk::{Burst, lcore};
use softwire_initiator::data;
use std::net::SocketAddr;
use std::time::Instant;
use wire::{esp, ethernet, ip, udp};

const NATT: u16 = 4500;

/// An ESP packet of a subscriber in a lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) subscriber: u32,
    pub(super) spi: u32,
    /// Where in the frame it stands.
    pub(super) at: usize,
    pub(super) end: usize,
    /// ESP's sequence number.
    pub(super) seq: u64,
}

impl Engine {
    pub(super) fn receive_access(&mut self, now: Instant) -> bool {
        let mut burst = Burst::new();
        if self.access.receive(&mut burst) == 0 {
            return false;
        }
        for mut mbuf in burst.drain() {
            if let Some(pending) = self.take_access(now, mbuf.data_mut())
                && self.lane.push(mbuf).is_ok()
            {
                self.pending.push(pending);
            }
        }
        self.open_pending(now);
        true
    }

    /// Handles everything but ESP, which is to be opened together with the rest of the burst.
    fn take_access(&mut self, now: Instant, frame: &mut [u8]) -> Option<Pending> {
        let whole = frame.len();
        let (kind, packet) = self.access.link.read(frame)?;
        let start = whole - packet.len();
        let head = match neighbourly(&mut self.access, now, kind, packet) {
            Heard::Answer(frame) => {
                self.access.push(&self.pool, &frame);
                return None;
            }
            Heard::Nothing => return None,
            Heard::Ip(head) => head,
        };
        if head.src != self.gateway || head.fragment.is_some() {
            return None;
        }
        let subscriber = self.population.who(head.dst)?;
        let upper = packet.get(head.header_len..head.len)?;
        let (at, end) = (start + head.header_len, start + head.len);
        match head.protocol {
            ip::ESP => self.esp(subscriber, upper, at, end),
            ip::UDP => {
                let datagram = udp::Udp::parse(upper).ok()?;
                let (port, from) = (datagram.dst_port(), SocketAddr::new(head.src, datagram.src_port()));
                let payload = datagram.payload();
                if port == NATT && matches!(esp::encapsulated(payload), esp::Encapsulated::Esp(_)) {
                    let at = at + udp::HEADER;
                    return self.esp(subscriber, payload, at, at + payload.len());
                }
                self.population.handle_udp(now, subscriber, port, from, payload);
                None
            }
            _ => None,
        }
    }

    fn esp(&self, subscriber: u32, packet: &[u8], at: usize, end: usize) -> Option<Pending> {
        let spi = esp::spi(packet)?;
        let softwire = self.population.subscribers.get(subscriber as usize)?.softwire.as_ref()?;
        let seq = softwire.inbound(spi)?.check(packet).ok()?;
        Some(Pending { subscriber, spi, at, end, seq })
    }

    /// Opens all ESP packets of a burst at once, then looks at each.
    fn open_pending(&mut self, now: Instant) {
        if self.lane.is_empty() {
            return;
        }
        let (mut jobs, mut keys) =
            (ArrayVec::<_, { Burst::CAPACITY }>::new(), ArrayVec::<_, { Burst::CAPACITY }>::new());
        let mut numbers = [None; Burst::CAPACITY];
        let subscribers = &self.population.subscribers;
        for ((mbuf, p), number) in self.lane.as_mut_slice().iter_mut().zip(&self.pending).zip(&mut numbers) {
            let softwire = subscribers[p.subscriber as usize].softwire.as_ref();
            let sa = softwire.and_then(|s| s.inbound(p.spi)).zip(mbuf.data_mut().get_mut(p.at..p.end));
            if let Some((job, key)) = sa.and_then(|(sa, packet)| sa.job(packet, p.seq)) {
                *number = Some(jobs.len());
                jobs.push(job);
                keys.push(key);
            }
        }
        let outcome = self.population.manager.run(&mut jobs, &keys);
        drop((jobs, keys));
        let stamp = probe::ticks(lcore::tsc());
        for (i, number) in numbers.iter().enumerate().take(self.lane.len()) {
            if number.is_some_and(|n| outcome.good(n)) {
                self.take_opened(now, i, stamp);
            }
        }
        self.lane.clear();
        self.pending.clear();
    }

    fn take_opened(&mut self, now: Instant, i: usize, stamp: u32) {
        let Pending { subscriber, spi, at, end, seq } = self.pending[i];
        let Some(packet) = self.lane.as_slice()[i].data().get(at..end) else { return };
        let Some(s) = self.population.subscribers.get_mut(subscriber as usize) else { return };
        let Some(softwire) = &mut s.softwire else { return };
        let Some((payload, opened)) = softwire.inbound_mut(spi).and_then(|sa| sa.accept(packet, seq).ok()) else {
            return;
        };
        let plain = &packet[payload];
        let carried = softwire.session().and_then(|id| data::read(plain, id)).and_then(inner::read);
        let Some((_, dst, probe)) = carried else {
            self.population.handle_opened(now, subscriber, spi, opened.next_header, plain);
            return;
        };
        let addresses = s.inner;
        self.tally.receive(DOWN, probe, stamp, |stream: Stream| {
            stream.subscriber == subscriber && addresses[usize::from(stream.v6)] == Some(dst)
        });
    }

    pub(super) fn receive_network(&mut self, now: Instant) -> bool {
        let Some(network) = &mut self.network else { return false };
        let mut burst = Burst::new();
        if network.receive(&mut burst) == 0 {
            return false;
        }
        let stamp = probe::ticks(lcore::tsc());
        for mbuf in burst.as_slice() {
            let Some((kind, packet)) = network.link.read(mbuf.data()) else { continue };
            match neighbourly(network, now, kind, packet) {
                Heard::Answer(frame) => network.push(&self.pool, &frame),
                Heard::Nothing => {}
                Heard::Ip(_) => {
                    let Some((src, dst, payload)) = inner::read(packet) else { continue };
                    let subscribers = &self.population.subscribers;
                    let ours = network.neighbours.owns(dst);
                    self.tally.receive(UP, payload, stamp, |stream: Stream| {
                        let sender = subscribers.get(stream.subscriber as usize);
                        ours && sender.is_some_and(|s| s.inner[usize::from(stream.v6)] == Some(src))
                    });
                }
            }
        }
        true
    }
}

enum Heard {
    /// A question of a neighbour's, with our answer.
    Answer(Vec<u8>),
    /// It is for nobody here.
    Nothing,
    /// An IP packet.
    Ip(ip::Ip),
}

fn neighbourly(side: &mut Side, now: Instant, kind: u16, packet: &[u8]) -> Heard {
    let answer = match kind {
        ethernet::ARP => side.neighbours.handle_arp(now, packet),
        ethernet::IPV4 | ethernet::IPV6 => match ip::Ip::parse(packet) {
            // RFC 4861, section 7.1: what has passed a router is no neighbour's.
            Ok(head) if head.protocol == ip::ICMPV6 && head.ttl == 255 => {
                let message = packet.get(head.header_len..head.len).unwrap_or_default();
                side.neighbours.handle_discovery(now, head.src, message)
            }
            Ok(head) => return Heard::Ip(head),
            Err(_) => None,
        },
        _ => None,
    };
    answer.map_or(Heard::Nothing, Heard::Answer)
}

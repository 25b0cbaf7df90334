//! A peer: what its ISAKMP SAs have in common, and its child SAs.
//!
//! In IKEv1 child SAs outlive the ISAKMP SA that they were negotiated under, and a new ISAKMP SA to the same place (the
//! same identity, address and port) is the same peer's, unless it says INITIAL-CONTACT. A peer that has neither any more
//! is down; one that does not answer R-U-THERE is down whatever it has.

use crate::auth::Identity;
use crate::config::{BACKOFF, PadEntry};
use crate::event::{ChildDownReason, Event, Meta, PeerHandle, Transmit};
use crate::payload::ts::TrafficSelector;
use crate::sa::Ctx;
use crate::sa::child::follow;
use crate::sa::initial::NATT_PORT;
use crate::sa::nat::Nat;
use std::slice;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A pair of ESP SAs.
#[derive(Debug)]
pub(super) struct Child {
    pub spi_in: u32,
    pub spi_out: u32,
    pub local_ts: TrafficSelector,
    pub remote_ts: TrafficSelector,
    pub since: Instant,
    /// The owner sends on it.
    pub selected: bool,
    /// The peer has not shown yet that it has the other half.
    pub unconfirmed: bool,
    /// When the owner is to send on it nevertheless.
    pub select_at: Option<Instant>,
    pub rekey_at: Option<Instant>,
    pub expires_at: Instant,
}

/// R-U-THERE, until it is answered (RFC 3706).
#[derive(Debug)]
pub(super) struct Probe {
    sent: u32,
    interval: Duration,
    next: Instant,
}

#[derive(Debug)]
pub(super) struct Peer {
    pub pad: Arc<PadEntry>,
    /// It has found us, so that a NAT in front of us is static.
    pub found: bool,
    /// It has the shared secret of a listener, and so may others (H46).
    pub legacy: bool,
    /// `None`: it is not authenticated yet.
    pub id: Option<Identity>,
    /// The certificates that proved it.
    pub chain: Vec<Vec<u8>>,
    pub path: Meta,
    pub nat: Nat,
    /// Our cookies of its ISAKMP SAs, the newest last.
    pub sas: Vec<u64>,
    pub children: Vec<Child>,
    pub last_heard: Instant,
    pub keepalive_at: Option<Instant>,
    pub probe: Option<Probe>,
    sequence: u32,
    pub since: Instant,
    /// Place in the table's timers.
    pub deadline: Option<Instant>,
}

impl Peer {
    pub fn new(now: Instant, pad: Arc<PadEntry>, path: Meta, sa: u64) -> Self {
        Self {
            pad,
            found: false,
            legacy: false,
            id: None,
            chain: Vec::new(),
            path,
            nat: Nat::default(),
            sas: vec![sa],
            children: Vec::new(),
            last_heard: now,
            keepalive_at: None,
            probe: None,
            sequence: 0,
            since: now,
            deadline: None,
        }
    }

    /// There are these NATs.
    pub fn behind(&mut self, ctx: &Ctx<'_>, nat: Nat) {
        self.nat = nat;
        let keepalive = ctx.policy.config.timers.keepalive;
        self.keepalive_at = nat.local.then(|| self.keepalive_at.unwrap_or(ctx.now + keepalive));
    }

    /// Keeps the binding of a NAT in front of us (RFC 3948, section 4).
    pub fn keep_alive(&mut self, ctx: &mut Ctx<'_>) {
        if self.keepalive_at.is_none_or(|at| ctx.now < at) {
            return;
        }
        self.keepalive_at = Some(ctx.now + ctx.policy.config.timers.keepalive);
        let (Meta { local, remote }, data) = (self.path, vec![0xff]);
        ctx.transmits.push_back(Transmit { local, remote, data, keepalive: true });
    }

    /// A sign of life.
    pub fn heard(&mut self, now: Instant) {
        (self.last_heard, self.probe) = (now, None);
    }

    /// It speaks from `path` now: a client has floated to port 4500, or a NAT in front of it has a new binding. Behind a
    /// NAT ourselves we follow only who has found us.
    pub fn moves(&mut self, ctx: &mut Ctx<'_>, handle: PeerHandle, path: Meta) {
        if path == self.path {
            return;
        }
        let rebound = self.nat.remote && (!self.nat.local || self.found);
        let floats = self.path.local.port() != NATT_PORT && path.local.port() == NATT_PORT;
        let floats = floats && self.nat.any() && path.remote.ip() == self.path.remote.ip();
        if !rebound && !floats {
            return;
        }
        let from = std::mem::replace(&mut self.path, path);
        for Child { local_ts, remote_ts, .. } in &mut self.children {
            follow(&self.pad.child, slice::from_mut(local_ts), slice::from_mut(remote_ts), from, path);
        }
        let Meta { local, remote } = path;
        ctx.events.push_back(Event::PeerMoved { peer: handle, local, remote, encap: true });
    }

    /// The pair that a new one with these selectors takes the place of.
    pub fn current(&self, local: &TrafficSelector, remote: &TrafficSelector) -> Option<u32> {
        let same = |child: &&Child| child.selected && child.local_ts == *local && child.remote_ts == *remote;
        self.children.iter().rev().find(same).map(|child| child.spi_in)
    }

    pub fn child_mut(&mut self, spi_in: u32) -> Option<&mut Child> {
        self.children.iter_mut().find(|child| child.spi_in == spi_in)
    }

    /// The peer has the other half of this pair: the owner sends on it from now on, unless a newer one has taken its place
    /// already.
    pub fn select(&mut self, ctx: &mut Ctx<'_>, handle: PeerHandle, spi_in: u32) {
        let Some(child) = self.child_mut(spi_in) else { return };
        child.unconfirmed = false;
        if child.selected {
            return;
        }
        (child.selected, child.select_at) = (true, None);
        let (local, remote) = (child.local_ts, child.remote_ts);
        if self.current(&local, &remote) == Some(spi_in) {
            ctx.events.push_back(Event::ChildSelect { peer: handle, spi_in });
        }
    }

    /// Selects what no packet has come on for long enough.
    pub fn settle(&mut self, ctx: &mut Ctx<'_>, handle: PeerHandle) {
        let due = |child: &&Child| child.select_at.is_some_and(|at| at <= ctx.now);
        let settled: Vec<u32> = self.children.iter().filter(due).map(|child| child.spi_in).collect();
        settled.into_iter().for_each(|spi_in| self.select(ctx, handle, spi_in));
    }

    /// Ends a pair. Where the owner sent on it, it sends on the newest of the others, though the peer may not have shown
    /// that it has it.
    pub fn end(&mut self, ctx: &mut Ctx<'_>, handle: PeerHandle, spi_in: u32, reason: ChildDownReason) {
        let Some(at) = self.children.iter().position(|child| child.spi_in == spi_in) else { return };
        let gone = self.children.remove(at);
        ctx.events.push_back(Event::ChildDown { peer: handle, spi_in, reason });
        let same = |child: &Child| child.local_ts == gone.local_ts && child.remote_ts == gone.remote_ts;
        let newer = self.children.iter().skip(at).any(|child| child.selected && same(child));
        let next = self.children.iter_mut().rev().find(|child| same(child));
        if let Some(next) = next.filter(|_| gone.selected && !newer) {
            (next.selected, next.select_at) = (true, None);
            ctx.events.push_back(Event::ChildSelect { peer: handle, spi_in: next.spi_in });
        }
    }

    /// When it is to be asked whether it is there: `None`, it does not know how.
    pub fn probe_at(&self, dpd: bool) -> Option<Instant> {
        let delay = self.pad.dpd_delay.filter(|_| dpd && self.id.is_some())?;
        Some(self.probe.as_ref().map_or(self.last_heard + delay, |probe| probe.next))
    }

    /// The sequence number of the R-U-THERE that is due. `None`: there were enough, and it is dead.
    pub fn ask(&mut self, ctx: &Ctx<'_>) -> Option<u32> {
        let timers = ctx.policy.config.timers;
        self.sequence = self.sequence.wrapping_add(1);
        let (sent, interval) = match &self.probe {
            Some(probe) => (probe.sent, probe.interval.mul_f64(BACKOFF)),
            None => (0, timers.retransmit),
        };
        if sent >= timers.tries {
            return None;
        }
        let next = ctx.now + interval;
        self.probe = Some(Probe { sent: sent + 1, interval, next });
        Some(self.sequence)
    }

    /// When something of it is due.
    pub fn next_deadline(&self, dpd: bool) -> Option<Instant> {
        let children = self.children.iter().flat_map(|c| [c.rekey_at, Some(c.expires_at), c.select_at]).flatten();
        children.chain(self.keepalive_at).chain(self.probe_at(dpd)).min()
    }
}

//! What a step of one IKE SA asks of the endpoint, and of other IKE SAs.

use super::{Endpoint, Peer};
use crate::event::{ChildDownReason, DownReason, Event, PeerHandle};
use crate::sa::child::ChildSa;
use crate::sa::established::Estate;
use crate::sa::{Effect, State};
use std::time::Instant;

impl Endpoint {
    pub(super) fn apply(&mut self, now: Instant, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Authenticated { peer, remote, initial_contact } => {
                    let same = self.identities.entry(remote.who()).or_default();
                    let older = if initial_contact { std::mem::take(same) } else { Vec::new() };
                    same.push(peer);
                    for old in older.into_iter().filter(|old| *old != peer) {
                        self.replaced(now, old, peer);
                    }
                }
                Effect::Adopt { sa, current } => {
                    if let State::Established(s) = &sa.state {
                        self.index(sa.base.spi, &s.children);
                    }
                    if current && let Some(record) = sa.base.peer.and_then(|peer| self.peers.get_mut(&peer)) {
                        record.spi = sa.base.spi;
                    }
                    self.insert(sa);
                }
                Effect::Succeed { peer, to, estate } => self.succeed(now, peer, to, *estate),
                Effect::Inherit { from, to } => self.step(now, from, |sa, ctx| {
                    if let State::Established(s) = &mut sa.state {
                        s.succeed(&sa.base, ctx, to);
                    }
                }),
                Effect::Disinherit { from, to } => self.step(now, from, |sa, _| {
                    if let State::Established(s) = &mut sa.state {
                        s.rival_gone(to);
                    }
                }),
                Effect::ChildAdded { spi_in, owner } => {
                    self.children.insert(spi_in, owner);
                }
                Effect::ChildRemoved { spi_in } => {
                    self.children.remove(&spi_in);
                }
                Effect::PeerGone { peer } => self.peer_gone(peer),
            }
        }
    }

    fn index(&mut self, owner: u64, children: &[ChildSa]) {
        for child in children {
            self.children.insert(child.spi_in, owner);
        }
    }

    fn succeed(&mut self, now: Instant, peer: PeerHandle, to: u64, estate: Estate) {
        let Some(State::Established(_)) = self.sas.get(&to).map(|sa| &sa.state) else {
            // The IKE SA that was to take over went first.
            for child in &estate.children {
                self.children.remove(&child.spi_in);
            }
            for spi_in in estate.unmade {
                self.events.push_back(Event::ChildDown { peer, spi_in, reason: ChildDownReason::Unused });
            }
            let remote_id = self.peers.get(&peer).and_then(Peer::id);
            self.peer_gone(peer);
            self.events.push_back(Event::PeerDown { peer, reason: DownReason::Deleted, remote_id });
            return;
        };
        self.index(to, &estate.children);
        if let Some(record) = self.peers.get_mut(&peer) {
            record.spi = to;
        }
        self.step(now, to, |sa, ctx| {
            if let State::Established(s) = &mut sa.state {
                s.take_over(ctx.now);
                s.inherit(&mut sa.base, ctx, estate);
                s.pump(&mut sa.base, ctx);
            }
        });
    }

    fn peer_gone(&mut self, peer: PeerHandle) {
        let Some(record) = self.peers.remove(&peer) else { return };
        if let Some(who) = record.remote.map(|remote| remote.who())
            && let Some(same) = self.identities.get_mut(&who)
        {
            same.retain(|p| *p != peer);
            if same.is_empty() {
                self.identities.remove(&who);
            }
        }
        self.handles.release(peer);
    }

    /// Section 2.4: INITIAL_CONTACT says that the peer has no other IKE SA with us; the ones we know are dropped without
    /// a word.
    fn replaced(&mut self, now: Instant, old: PeerHandle, by: PeerHandle) {
        let Some(record) = self.peers.get(&old) else { return };
        let remote_id = record.id();
        self.step(now, record.spi, |sa, ctx| {
            sa.release(ctx);
            if let State::Established(s) = &sa.state {
                let gone = s.children.iter().map(|child| Effect::ChildRemoved { spi_in: child.spi_in });
                ctx.effects.extend(gone);
            }
            sa.state = State::Gone;
        });
        self.peer_gone(old);
        self.events.push_back(Event::PeerDown { peer: old, reason: DownReason::Replaced(by), remote_id });
    }
}

//! What is due: retransmissions, lifetimes, keepalives, R-U-THERE.

use super::{GRACE, Key, Table};
use crate::event::{ChildDownReason, DownReason, Event, PeerHandle};
use crate::sa::Ctx;
use crate::v1::isakmp::{Isakmp, State};
use crate::v1::message::Header;
use crate::v1::payload::{Delete, notify};
use crate::v1::peer::Child;
use crate::v1::quick_mode::{Lost, TimedOut};
use std::time::Instant;

impl Table {
    /// Does what is due.
    pub fn handle_timeout(&mut self, ctx: &mut Ctx<'_>) {
        let due: Vec<Key> = self.timers.due(ctx.now).collect();
        for key in due {
            match key {
                Key::Sa(cookie) => {
                    let Some(mut sa) = self.take(cookie) else { continue };
                    self.sa_timeout(ctx, &mut sa);
                    self.put(ctx, sa);
                }
                Key::Peer(peer) => self.peer_timeout(ctx, peer),
            }
        }
        self.next_trial(ctx);
    }

    /// Tries some more secrets on the message whose turn it is, and on no other: what is due besides comes in between.
    fn next_trial(&mut self, ctx: &mut Ctx<'_>) {
        let Some(cookie) = self.trying.first().filter(|(at, ..)| *at <= ctx.now).map(|(.., cookie)| *cookie) else {
            return;
        };
        let trial = self.sas.get(&cookie).and_then(|sa| sa.trial());
        let Some((path, message)) = trial.map(|trial| (trial.path, trial.message.clone())) else { return };
        let Some(mut sa) = self.take(cookie) else { return };
        match (ctx.policy.v1(path.local.ip()), Header::parse(&message)) {
            (Some(listener), Ok(header)) => drop(self.dispatch(ctx, listener, &mut sa, path, &header, &message)),
            _ => sa.state = State::Gone,
        }
        self.put(ctx, sa);
    }

    fn sa_timeout(&mut self, ctx: &mut Ctx<'_>, sa: &mut Isakmp) {
        // An SA of a peer that is up is where the peer is.
        let up = sa.peer.filter(|_| sa.up().is_some()).and_then(|handle| self.peers.get(&handle));
        let path = up.map_or(sa.path, |peer| peer.path);
        if !sa.unanswered.as_mut().is_none_or(|u| u.again(ctx, path, None)) {
            let (id, failure) = sa.failure();
            return self.failed(ctx, sa, path, id, failure);
        }
        if sa.half_open() && ctx.now >= sa.created + ctx.policy.config.timers.half_open {
            sa.state = State::Gone;
            return;
        }
        sa.fragments.expire(ctx.now);
        let over: Vec<TimedOut> = sa.quick.iter_mut().filter_map(|q| q.timeout(ctx, path)).collect();
        sa.quick.retain(|q| !q.is_over(ctx.now));
        let (mut useless, mut unheard) = (false, false);
        for exchange in over {
            match exchange {
                TimedOut::Unconfirmed(spi_in) => drop(self.of_peer(ctx, sa, |ctx, sa, handle, peer| {
                    sa.remove_child(ctx, (handle, peer), spi_in, ChildDownReason::Lost);
                    true
                })),
                TimedOut::Offer(lost) => {
                    let peer = sa.peer.and_then(|handle| self.peers.get(&handle));
                    unheard |= peer.is_some_and(|peer| peer.last_heard < lost.since);
                    useless |= self.lost(ctx, sa, lost);
                }
            }
        }
        if useless {
            return self.ended(ctx, sa, DownReason::Dead);
        }
        if let Some(peer) = sa.peer.filter(|_| unheard) {
            // It may have lost this SA, and then takes a new one. It may as well be there and have nothing to say: where
            // it can be asked, that tells.
            let _ = self.rekey_ike(ctx, peer);
        }
        let Some(up) = sa.up() else { return };
        let newest = sa.peer.and_then(|h| self.peers.get(&h)).and_then(|p| p.sas.last()) == Some(&sa.cookie);
        let due = |at: Option<Instant>| at.is_some_and(|at| ctx.now >= at);
        let (rekey, leaves, expired) = (due(up.rekey_at), due(up.leaves_at), due(up.expires_at));
        // Both ends may have replaced what the other one made: the last one stays.
        let last = !sa.peer.is_some_and(|handle| self.has_up(handle));
        if expired || leaves && !last {
            let (i, r) = sa.cookies();
            sa.delete(ctx, path, &Delete::Isakmp(vec![(i, r)]));
            self.ended(ctx, sa, DownReason::Expired);
        } else if leaves {
            if let State::Up(up) = &mut sa.state {
                up.leaves_at = None;
            }
        } else if rekey {
            if let State::Up(up) = &mut sa.state {
                up.rekey_at = None;
                let over = ctx.now + GRACE;
                up.expires_at = Some(up.expires_at.map_or(over, |at| at.min(over)));
            }
            if let Some(peer) = sa.peer.filter(|_| newest) {
                // Without the resources, or a listener any more, it expires.
                let _ = self.rekey_ike(ctx, peer);
            }
        }
    }

    /// An offer of ours came to nothing: the pair that it was to replace is tried again later. True, if there is no pair
    /// and no other offer.
    pub(super) fn lost(&mut self, ctx: &mut Ctx<'_>, sa: &mut Isakmp, lost: Lost) -> bool {
        self.of_peer(ctx, sa, |ctx, sa, handle, peer| {
            let (spi_in, reason) = (lost.spi_in, ChildDownReason::Unused);
            ctx.events.push_back(Event::ChildDown { peer: handle, spi_in, reason });
            let later = ctx.now + ctx.policy.config.timers.retry;
            if let Some(old) = lost.replaces.and_then(|old| peer.child_mut(old)) {
                old.rekey_at = Some(later);
            }
            peer.children.is_empty() && sa.quick.iter().all(|q| q.drawn().is_none())
        })
    }

    /// Only child SAs are left of a peer: those that are due for a new pair wait for an ISAKMP SA.
    fn children_timeout(&mut self, ctx: &mut Ctx<'_>, handle: PeerHandle) {
        let Some(peer) = self.peers.get_mut(&handle) else { return };
        peer.keep_alive(ctx);
        peer.settle(ctx, handle);
        let over: Vec<u32> = peer.children.iter().filter(|c| c.expires_at <= ctx.now).map(|c| c.spi_in).collect();
        for spi_in in over {
            self.children.remove(&spi_in);
            peer.end(ctx, handle, spi_in, ChildDownReason::Lost);
        }
        let due = |child: &&mut Child| child.rekey_at.is_some_and(|at| at <= ctx.now);
        let later = ctx.now + ctx.policy.config.timers.retry;
        let waiting = peer.children.iter_mut().filter(due).map(|child| child.rekey_at = Some(later)).count();
        let at = peer.next_deadline(false);
        self.timers.set(Key::Peer(handle), &mut peer.deadline, at);
        if peer.children.is_empty() {
            self.forget(ctx, handle, DownReason::Expired);
        } else if waiting > 0 {
            // What it has is good without, until it expires.
            let _ = self.rekey_ike(ctx, handle);
        }
    }

    pub(super) fn peer_timeout(&mut self, ctx: &mut Ctx<'_>, handle: PeerHandle) {
        let listener = self.peers.get(&handle).and_then(|p| ctx.policy.v1(p.path.local.ip()));
        let Some(mut sa) = self.current(handle) else { return self.children_timeout(ctx, handle) };
        let mut dead = false;
        self.of_peer(ctx, &mut sa, |ctx, sa, handle, peer| {
            let now = ctx.now;
            peer.keep_alive(ctx);
            if peer.probe_at(sa.features.dpd).is_some_and(|at| now >= at) {
                match peer.ask(ctx) {
                    Some(sequence) => drop(sa.notify(ctx, peer.path, notify::R_U_THERE, &sequence.to_be_bytes())),
                    None => dead = true,
                }
            }
            let due = |at: Option<Instant>| at.is_some_and(|at| now >= at);
            peer.settle(ctx, handle);
            let over: Vec<_> = peer.children.iter().filter(|c| c.expires_at <= now).collect();
            let over: Vec<_> = over.iter().map(|c| (c.spi_in, peer.current(&c.local_ts, &c.remote_ts))).collect();
            for (spi_in, current) in over {
                let replaced = current.is_some_and(|current| current != spi_in);
                let reason = if replaced { ChildDownReason::Rekeyed } else { ChildDownReason::Closed };
                sa.remove_child(ctx, (handle, &mut *peer), spi_in, reason);
            }
            let old: Vec<u32> = peer.children.iter().filter(|c| due(c.rekey_at)).map(|c| c.spi_in).collect();
            for spi_in in old {
                let Some(child) = peer.child_mut(spi_in) else { continue };
                child.rekey_at = None;
                let (local, remote) = (child.local_ts, child.remote_ts);
                // One that has been replaced is left to expire.
                if let Some(listener) = listener.filter(|_| peer.current(&local, &remote) == Some(spi_in)) {
                    sa.offer_child(ctx, listener, (handle, &mut *peer), Some(spi_in));
                }
            }
            true
        });
        self.put(ctx, sa);
        if dead {
            self.down(ctx, handle, DownReason::Dead);
        }
    }
}

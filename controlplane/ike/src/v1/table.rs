//! The ISAKMP SAs and peers of an endpoint: to whom a datagram belongs, and what is due.
//!
//! A message finds its SA by the cookie that we chose. The first one has none, passes the limits (IKEv1 has no cookies
//! without state) and makes an SA. Nothing that is not authentic changes an SA that is up.

mod calls;
mod clock;

use super::config::{Listener, Refused};
use super::isakmp::{Authenticated, Isakmp, State};
use super::main_mode::{self, Outcome, Refusal};
use super::message::{Exchange, Header};
use super::payload::{Body, Delete, Notify, PROTO_ISAKMP, kind, notify};
use super::peer::Peer;
use super::quick_mode::Quick;
use crate::auth::Identity;
use crate::error::Failure;
use crate::event::{ChildDownReason, DownReason, Event, Meta, PeerHandle};
use crate::payload::Builder;
use crate::payload::notify::NotifyType;
use crate::sa::Ctx;
use crate::sa::nat::Nat;
use crate::stateless::RateLimit;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use subtle::ConstantTimeEq;
use timers::Timers;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Sa(u64),
    Peer(PeerHandle),
}

/// What became of a message.
enum Verdict {
    Taken,
    /// It was not authentic, or not for the state of the SA.
    Refused,
    /// There was no time for it.
    PutOff,
}

/// All of IKEv1.
#[derive(Debug, Default)]
pub(crate) struct Table {
    sas: HashMap<u64, Box<Isakmp>>,
    /// By (initiator's cookie, address): responders' SAs, to recognise repeated first messages.
    origins: HashMap<(u64, SocketAddr), u64>,
    half_open: usize,
    /// Of those that are half open, the ones of which nothing has come since the first message, the oldest first.
    new: BTreeSet<(Instant, u64)>,
    peers: BTreeMap<PeerHandle, Box<Peer>>,
    identities: HashMap<Identity, Vec<PeerHandle>>,
    children: HashMap<u32, PeerHandle>,
    timers: Timers<Key>,
    /// Pre-shared keys that were tried.
    trials: RateLimit,
    /// SAs with a message 5 on which more of them are to be tried, in the order of their turns: by when, and by how many
    /// have been tried.
    trying: BTreeSet<(Instant, usize, u64)>,
}

impl Table {
    pub fn half_open(&self) -> usize {
        self.half_open
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next().into_iter().chain(self.trying.first().map(|turn| turn.0)).min()
    }

    pub fn has(&self, peer: PeerHandle) -> bool {
        self.peers.contains_key(&peer)
    }

    /// Whose inbound SPI this is.
    pub fn owner(&self, spi_in: u32) -> Option<PeerHandle> {
        self.children.get(&spi_in).copied()
    }

    // --- input ---

    /// Takes a datagram of version 1.
    pub fn handle_input(&mut self, ctx: &mut Ctx<'_>, refused: &mut Refused, meta: Meta, message: &[u8]) {
        let Some(listener) = ctx.policy.v1(meta.local.ip()) else {
            refused.off += 1;
            return;
        };
        let Ok(header) = Header::parse(message) else {
            refused.invalid += 1;
            return;
        };
        if header.cookie_r == 0 {
            return self.first(ctx, refused, listener, meta, &header, message);
        }
        let ours = |cookie, peer_cookie, initiator| {
            let sa = self.sas.get(&cookie).filter(|sa| sa.initiator == initiator)?;
            let starts = matches!(sa.state, State::SaSent(_)) && sa.path.remote == meta.remote;
            (sa.peer_cookie == peer_cookie || starts).then_some(cookie)
        };
        let found = ours(header.cookie_r, header.cookie_i, false).or(ours(header.cookie_i, header.cookie_r, true));
        // What was agreed on at one address of ours is not good for another.
        let here = |cookie: &u64| self.sas.get(cookie).is_some_and(|sa| sa.path.local.ip() == meta.local.ip());
        let Some(mut sa) = found.filter(here).and_then(|cookie| self.take(cookie)) else {
            refused.unknown_cookie += 1;
            return;
        };
        let verdict = if header.next == kind::FRAGMENT {
            match sa.gather(ctx.now, message) {
                Ok(None) => Verdict::Taken,
                Ok(Some(whole)) => match Header::parse(&whole) {
                    Ok(inner) if inner.next != kind::FRAGMENT && inner.cookie_i == header.cookie_i => {
                        self.dispatch(ctx, listener, &mut sa, meta, &inner, &whole)
                    }
                    _ => Verdict::Refused,
                },
                Err(_) => Verdict::Refused,
            }
        } else {
            self.dispatch(ctx, listener, &mut sa, meta, &header, message)
        };
        match verdict {
            Verdict::Taken => {}
            Verdict::Refused => refused.invalid += 1,
            Verdict::PutOff => refused.secrets += 1,
        }
        self.put(ctx, sa);
    }

    fn first(
        &mut self,
        ctx: &mut Ctx<'_>,
        refused: &mut Refused,
        listener: &Listener,
        meta: Meta,
        header: &Header,
        message: &[u8],
    ) {
        if header.exchange != Exchange::MAIN {
            // Aggressive mode shows what a secret can be guessed from to whoever asks (H46).
            match header.exchange {
                Exchange::AGGRESSIVE => refused.aggressive += 1,
                _ => refused.exchange += 1,
            }
            return;
        }
        if header.cookie_i == 0 || header.message_id != 0 || header.encrypted || message.len() > MAX_FIRST {
            refused.invalid += 1;
            return;
        }
        let origin = (header.cookie_i, meta.remote);
        if let Some(sa) = self.origins.get(&origin).and_then(|cookie| self.sas.get(cookie)) {
            sa.repeats(ctx, meta, message);
            return;
        }
        let full = self.half_open >= ctx.policy.config.limits.max_half_open.min(MAX_HALF_OPEN);
        if full && self.new.is_empty() {
            refused.half_open += 1;
            return;
        }
        match main_mode::respond_first(ctx, listener, meta, header, message) {
            Ok(sa) => {
                // Whoever goes on does so at once: the oldest of which nothing has come is the least likely to.
                let oldest = self.new.first().map(|(_, cookie)| *cookie).filter(|_| full);
                if let Some(mut oldest) = oldest.and_then(|cookie| self.take(cookie)) {
                    refused.half_open += 1;
                    oldest.state = State::Gone;
                    self.put(ctx, oldest);
                }
                self.origins.insert(origin, sa.cookie);
                self.put(ctx, Box::new(sa));
            }
            Err(Refusal::Malformed) => refused.invalid += 1,
            Err(Refusal::NoProposal) => {
                refused.proposal += 1;
                let mut chain = Builder::new();
                let refusal = Notify {
                    doi: super::payload::DOI,
                    protocol: PROTO_ISAKMP,
                    kind: notify::NO_PROPOSAL_CHOSEN,
                    spi: &[],
                    data: &[],
                };
                chain.push(kind::NOTIFY, |out| refusal.emit(out));
                let answer = Header { exchange: Exchange::INFORMATIONAL, cookie_r: 0, ..*header }.message(&chain);
                ctx.send(meta.local, meta.remote, answer);
            }
        }
    }

    fn dispatch(
        &mut self,
        ctx: &mut Ctx<'_>,
        listener: &Listener,
        sa: &mut Isakmp,
        meta: Meta,
        header: &Header,
        message: &[u8],
    ) -> Verdict {
        let taken = match header.exchange {
            Exchange::MAIN => {
                match sa.main_mode(ctx, (listener, &mut self.trials), meta, header, message) {
                    Outcome::Taken => {}
                    Outcome::Refused => return Verdict::Refused,
                    Outcome::PutOff => return Verdict::PutOff,
                    Outcome::Up(authenticated) => self.authenticated(ctx, listener, sa, *authenticated),
                    Outcome::Failed(id, failure) => self.failed(ctx, sa, meta, id, failure),
                }
                true
            }
            Exchange::QUICK => self.of_peer(ctx, sa, |ctx, sa, handle, peer| {
                sa.quick_mode(ctx, listener, (handle, peer), meta, header, message)
            }),
            Exchange::INFORMATIONAL => self.informational(ctx, sa, meta, header, message),
            _ => false,
        };
        if taken { Verdict::Taken } else { Verdict::Refused }
    }

    /// Does something with the peer of an SA; false, if it has none.
    fn of_peer(
        &mut self,
        ctx: &mut Ctx<'_>,
        sa: &mut Isakmp,
        act: impl FnOnce(&mut Ctx<'_>, &mut Isakmp, PeerHandle, &mut Peer) -> bool,
    ) -> bool {
        let Some((handle, mut peer)) = sa.peer.and_then(|h| self.peers.remove(&h).map(|p| (h, p))) else {
            return false;
        };
        let before: Vec<u32> = peer.children.iter().map(|c| c.spi_in).collect();
        let result = act(ctx, sa, handle, &mut peer);
        for spi in before.iter().filter(|spi| !peer.children.iter().any(|c| c.spi_in == **spi)) {
            self.children.remove(spi);
            sa.quick.iter_mut().for_each(|q| q.settle(*spi));
            for other in &peer.sas {
                if let Some(other) = self.sas.get_mut(other) {
                    other.quick.iter_mut().for_each(|q| q.settle(*spi));
                }
            }
        }
        for child in &peer.children {
            self.children.insert(child.spi_in, handle);
        }
        let dpd = sa.features.dpd && sa.up().is_some();
        let at = peer.next_deadline(dpd);
        self.timers.set(Key::Peer(handle), &mut peer.deadline, at);
        self.peers.insert(handle, peer);
        result
    }

    /// A peer has proved who it is.
    fn authenticated(&mut self, ctx: &mut Ctx<'_>, listener: &Listener, sa: &mut Isakmp, found: Authenticated) {
        let Authenticated { pad, id, chain, nat, initial_contact } = found;
        let legacy = listener.legacy.as_ref().is_some_and(|shared| Arc::ptr_eq(shared, &pad));
        let older = self.others(&id, &pad.name, sa, legacy);
        let there = older.iter().find(|h| self.peers.get(h).is_some_and(|p| p.path == sa.path));
        match (sa.peer, there) {
            (None, Some(known)) if !initial_contact => {
                sa.peer = Some(*known);
                self.joined(ctx, sa, nat, chain);
                return;
            }
            (Some(peer), _) if sa.joins => {
                // Whoever answers at a peer's address need not be the peer.
                if self.peers.get(&peer).is_none_or(|p| p.id.as_ref() != Some(&id)) {
                    return self.failed(ctx, sa, sa.path, Some(id), Failure::UnknownIdentity);
                }
                self.joined(ctx, sa, nat, chain);
                return;
            }
            _ => {}
        }
        let Some(handle) = sa.peer.or_else(|| ctx.handles.take()) else {
            sa.state = State::Gone;
            return;
        };
        sa.peer = Some(handle);
        let mut peer = Peer::new(ctx.now, Arc::clone(&pad), sa.path, sa.cookie);
        (peer.found, peer.legacy, peer.id, peer.chain) = (!sa.initiator, legacy, Some(id.clone()), chain);
        peer.behind(ctx, nat);
        if let Some(mut connecting) = self.peers.remove(&handle) {
            self.timers.set(Key::Peer(handle), &mut connecting.deadline, None);
        }
        self.peers.insert(handle, Box::new(peer));
        self.identities.entry(id.clone()).or_default().push(handle);
        let suite = sa.up().map(|up| up.keys.suite());
        let weak: Vec<&'static str> = suite.map(|s| s.weak()).unwrap_or_default().iter().map(|w| w.name()).collect();
        ctx.events.push_back(Event::PeerUp {
            peer: handle,
            pad: pad.name.clone(),
            local_id: pad.local_id.clone(),
            remote_id: id,
            eap_identity: None,
            local: sa.path.local,
            remote: sa.path.remote,
            natt: nat.any(),
            initiator: sa.initiator,
            suite: suite.map(|s| s.to_string()).unwrap_or_default(),
            version: 1,
            weak,
        });
        if initial_contact {
            for old in older {
                self.down(ctx, old, DownReason::Replaced(handle));
            }
        }
        self.of_peer(ctx, sa, |ctx, sa, handle, peer| {
            if sa.initiator {
                sa.offer_child(ctx, listener, (handle, peer), None);
            }
            true
        });
    }

    /// Peers with this identity, other than that of `sa`. Who has a secret that others have too is at the same place only.
    fn others(&self, id: &Identity, pad: &str, sa: &Isakmp, legacy: bool) -> Vec<PeerHandle> {
        let same = |peer: &Peer| peer.pad.name == pad && (!legacy || peer.path.remote == sa.path.remote);
        let known = self.identities.get(id).map_or(&[][..], |peers| peers);
        let others = known.iter().filter(|h| sa.peer != Some(**h) && self.peers.get(h).is_some_and(|p| same(p)));
        others.copied().collect()
    }

    /// INITIAL-CONTACT after main mode, as Apple's clients send it: the peer has nothing with us but this SA. What it was
    /// taken to go on with is of its life before.
    fn initial_contact(&mut self, ctx: &mut Ctx<'_>, sa: &mut Isakmp) {
        let Some((handle, peer)) = sa.peer.and_then(|h| self.peers.get(&h).map(|p| (h, p))) else { return };
        let older = peer.id.as_ref().map(|id| self.others(id, &peer.pad.name, sa, peer.legacy)).unwrap_or_default();
        for cookie in peer.sas.clone() {
            if let Some(mut old) = self.take(cookie) {
                self.ended(ctx, &mut old, DownReason::Deleted);
                self.put(ctx, old);
            }
        }
        for old in older {
            self.down(ctx, old, DownReason::Replaced(handle));
        }
        self.of_peer(ctx, sa, |ctx, sa, handle, peer| {
            let older = peer.children.iter().filter(|child| child.since < sa.created);
            let older: Vec<u32> = older.map(|child| child.spi_in).collect();
            for spi_in in older {
                peer.end(ctx, handle, spi_in, ChildDownReason::Deleted);
            }
            true
        });
    }

    /// A new SA of a peer that is up.
    fn joined(&mut self, ctx: &mut Ctx<'_>, sa: &mut Isakmp, nat: Nat, chain: Vec<Vec<u8>>) {
        self.of_peer(ctx, sa, |ctx, sa, handle, peer| {
            peer.chain = chain;
            peer.behind(ctx, nat);
            if !peer.sas.contains(&sa.cookie) {
                peer.sas.push(sa.cookie);
            }
            peer.heard(ctx.now);
            peer.moves(ctx, handle, sa.path);
            true
        });
        let surplus = sa
            .peer
            .and_then(|handle| self.peers.get(&handle))
            .map(|peer| peer.sas.iter().copied().take(peer.sas.len().saturating_sub(MAX_SAS)).collect::<Vec<u64>>());
        for cookie in surplus.unwrap_or_default() {
            let Some(mut old) = self.take(cookie) else { continue };
            let (path, cookies) = (old.path, old.cookies());
            old.delete(ctx, path, &Delete::Isakmp(vec![cookies]));
            self.ended(ctx, &mut old, DownReason::Closed);
            self.put(ctx, old);
        }
        // Whoever has made it ends the others.
        let peer = sa.peer.filter(|_| sa.initiator).and_then(|handle| self.peers.get(&handle));
        for cookie in peer.map(|peer| peer.sas.clone()).unwrap_or_default() {
            let Some(mut old) = self.take(cookie) else { continue };
            if let State::Up(up) = &mut old.state {
                (up.rekey_at, up.leaves_at) = (None, Some(ctx.now + GRACE));
            }
            self.put(ctx, old);
        }
    }

    fn failed(&mut self, ctx: &mut Ctx<'_>, sa: &mut Isakmp, meta: Meta, id: Option<Identity>, failure: Failure) {
        sa.state = State::Gone;
        if let Some(peer) = sa.peer.and_then(|handle| self.peers.get_mut(&handle)) {
            peer.sas.retain(|cookie| *cookie != sa.cookie);
        }
        match sa.peer {
            Some(peer) if !sa.joins => self.forget(ctx, peer, DownReason::Failed(failure)),
            Some(peer) => self.remains(ctx, peer, DownReason::Dead),
            None => ctx.events.push_back(Event::AuthFailed { remote: meta.remote, id, reason: failure }),
        }
    }

    fn informational(
        &mut self,
        ctx: &mut Ctx<'_>,
        sa: &mut Isakmp,
        meta: Meta,
        header: &Header,
        message: &[u8],
    ) -> bool {
        // What is not encrypted anybody may have sent.
        let Some(up) = sa.up().filter(|_| header.encrypted) else { return false };
        let mut iv = up.keys.later_iv(&up.last_block, header.message_id);
        let Some(plain) = up.keys.open(message, &mut iv) else { return false };
        let Some(body) = Body::parse(header.next, &plain, true).ok().filter(|b| b.hash_first) else { return false };
        let hash = up.keys.hash1(header.message_id, body.after_hash);
        if !body.hash.is_some_and(|found| bool::from(hash[..].ct_eq(found))) || !sa.remember(header.message_id) {
            return false;
        }
        let cookies = sa.cookies();
        let (mut gone, mut refused) = (Vec::new(), Vec::new());
        self.of_peer(ctx, sa, |ctx, sa, handle, peer| {
            peer.heard(ctx.now);
            peer.moves(ctx, handle, meta);
            if let Some(asked) = body.notify(notify::R_U_THERE).filter(|asked| asked.data.len() == 4) {
                let _ = sa.notify(ctx, meta, notify::R_U_THERE_ACK, asked.data);
            }
            for delete in &body.deletes {
                match delete {
                    Delete::Esp(spis) => {
                        let named: Vec<u32> =
                            peer.children.iter().filter(|c| spis.contains(&c.spi_out)).map(|c| c.spi_in).collect();
                        for spi_in in named {
                            peer.end(ctx, handle, spi_in, ChildDownReason::Deleted);
                        }
                    }
                    Delete::Isakmp(named) => gone.extend(named.iter().copied()),
                    Delete::Other(_) => {}
                }
            }
            true
        });
        for error in body.notifies.iter().filter(|n| n.is_error()) {
            let offers = sa.quick.iter_mut().filter(|q| error.is_about(q.drawn())).filter_map(Quick::withdraw);
            refused.extend(offers.map(|offer| (offer, Failure::Notified(NotifyType(error.kind)))));
        }
        let mut useless = None;
        for (offer, why) in refused {
            if let Some(peer) = sa.peer {
                crate::sa::child::refused(ctx, peer, why.clone());
            }
            if self.lost(ctx, sa, offer) {
                useless = Some(why);
            }
        }
        if body.notify(notify::INITIAL_CONTACT).is_some() {
            self.initial_contact(ctx, sa);
        }
        let own = gone.contains(&cookies);
        for (i, r) in gone.into_iter().filter(|named| *named != cookies) {
            let other = [i, r]
                .into_iter()
                .find(|c| self.sas.get(c).is_some_and(|o| o.cookies() == (i, r) && o.peer == sa.peer));
            let Some(mut other) = other.and_then(|cookie| self.take(cookie)) else { continue };
            self.ended(ctx, &mut other, DownReason::Deleted);
            self.put(ctx, other);
        }
        if own {
            self.ended(ctx, sa, DownReason::Deleted);
        } else if let Some(why) = useless {
            sa.delete(ctx, meta, &Delete::Isakmp(vec![cookies]));
            self.ended(ctx, sa, DownReason::Failed(why));
        }
        true
    }

    /// An ISAKMP SA is over. Its peer is, too, when it has no other and no child SAs.
    fn ended(&mut self, ctx: &mut Ctx<'_>, sa: &mut Isakmp, reason: DownReason) {
        for spi_in in sa.quick.iter().filter_map(|q| q.drawn()) {
            if let Some(peer) = sa.peer {
                ctx.events.push_back(Event::ChildDown { peer, spi_in, reason: ChildDownReason::Unused });
            }
        }
        sa.quick.clear();
        sa.state = State::Gone;
        let Some((handle, peer)) = sa.peer.and_then(|h| self.peers.get_mut(&h).map(|p| (h, p))) else { return };
        peer.sas.retain(|cookie| *cookie != sa.cookie);
        peer.probe = None;
        self.remains(ctx, handle, reason);
    }

    /// A peer has an ISAKMP SA less. Without any it is down, unless it has child SAs, which are looked at anew.
    fn remains(&mut self, ctx: &mut Ctx<'_>, handle: PeerHandle, reason: DownReason) {
        let Some(peer) = self.peers.get_mut(&handle).filter(|peer| peer.sas.is_empty()) else { return };
        if peer.children.is_empty() {
            self.forget(ctx, handle, reason);
        } else {
            self.timers.set(Key::Peer(handle), &mut peer.deadline, Some(ctx.now));
        }
    }

    // --- the table ---

    /// Whether a peer has an ISAKMP SA in the table that is up.
    fn has_up(&self, handle: PeerHandle) -> bool {
        let sas = self.peers.get(&handle).map_or(&[][..], |peer| &peer.sas);
        sas.iter().any(|cookie| self.sas.get(cookie).is_some_and(|sa| sa.up().is_some()))
    }

    /// The newest ISAKMP SA of a peer, taken out.
    fn current(&mut self, handle: PeerHandle) -> Option<Box<Isakmp>> {
        let cookies = &self.peers.get(&handle)?.sas;
        let up = |cookie: &&u64| self.sas.get(cookie).is_some_and(|sa| sa.up().is_some());
        let cookie = *cookies.iter().rev().find(up)?;
        self.take(cookie)
    }

    fn take(&mut self, cookie: u64) -> Option<Box<Isakmp>> {
        let sa = self.sas.remove(&cookie)?;
        self.half_open -= usize::from(sa.half_open());
        self.new.remove(&(sa.created, cookie));
        if let Some(trial) = sa.trial() {
            self.trying.remove(&(trial.at, trial.tried, cookie));
        }
        Some(sa)
    }

    fn put(&mut self, ctx: &Ctx<'_>, mut sa: Box<Isakmp>) {
        if matches!(sa.state, State::Gone) {
            self.timers.set(Key::Sa(sa.cookie), &mut sa.deadline, None);
            if let Some(origin) = sa.origin {
                self.origins.remove(&origin);
            }
            return;
        }
        sa.wear(ctx.now);
        let half_open = sa.half_open().then(|| sa.created + ctx.policy.config.timers.half_open);
        let up = sa.up().map(|up| [up.rekey_at, up.leaves_at, up.expires_at]).into_iter().flatten().flatten();
        let quick = sa.quick.iter().map(|q| q.next_deadline());
        let at = up
            .chain(quick)
            .chain(half_open)
            .chain(sa.fragments.until)
            .chain(sa.unanswered.as_ref().map(|u| u.next))
            .min();
        self.timers.set(Key::Sa(sa.cookie), &mut sa.deadline, at);
        self.half_open += usize::from(sa.half_open());
        if sa.is_new() {
            self.new.insert((sa.created, sa.cookie));
        }
        if let Some(trial) = sa.trial() {
            self.trying.insert((trial.at, trial.tried, sa.cookie));
        }
        self.sas.insert(sa.cookie, sa);
    }
}

/// SAs that are not authenticated yet. From strangers there may be more than IKEv2 would take without cookies, since there
/// are none here.
const MAX_HALF_OPEN: usize = 8192;
/// Octets of a first message: Windows sends 408.
const MAX_FIRST: usize = 4096;
/// ISAKMP SAs of one peer; the oldest gives way.
const MAX_SAS: usize = 4;
/// How much longer an ISAKMP SA lives that is to be replaced.
const GRACE: std::time::Duration = std::time::Duration::from_secs(300);

//! An authenticated IKE SA: a queue of things to do, one request under way, and the clocks.
//!
//! What is due (DPD, rekeying, deletions) becomes a [`Task`]; when no request is under way the next task makes one, and
//! the [`Request`] remembers what its answer will mean. Requests of the peer are answered at once, by
//! [`super::accept`], [`super::followup`] and [`super::informational`].

use super::channel::Channel;
use super::child::{Busy, ChildSa, shorten};
use super::create_child::{RekeyChild, RekeyIke};
use super::followup::{Awaited, Draft, Followup};
use super::mobike::{Check, Probe};
use super::nat::Nat;
use super::resource::{AddChild, Resources};
use super::{Base, Ctx, Effect, Received, State};
use crate::auth::{Identity, RemoteAuth};
use crate::config::PadEntry;
use crate::event::{ChildDownReason, DownReason, Event, Meta, Transmit};
use crate::message::ExchangeType;
use crate::payload::Builder;
use crate::payload::delete::Delete;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Something to do when no request is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Ask for a sign of life.
    Dpd,
    /// Rekey a child SA.
    RekeyChild(u32),
    /// Ask for a child SA for one of our resources.
    AddChild(u32),
    /// Rekey this IKE SA.
    RekeyIke,
    /// Tell the peer where we are.
    Update,
    /// Ask the peer where it says it is.
    Probe,
    /// Delete a child SA.
    DeleteChild(u32, ChildDownReason),
    /// Delete this IKE SA.
    DeleteIke,
}

/// The request under way.
#[derive(Debug)]
pub(crate) enum Request {
    None,
    Dpd,
    RekeyChild(Box<RekeyChild>),
    AddChild(Box<AddChild>),
    RekeyIke(Box<RekeyIke>),
    /// The additional key exchange of a rekey of ours.
    Followup(Box<Followup>),
    /// UPDATE_SA_ADDRESSES, made for this path.
    Update(Meta),
    Probe(Probe),
    DeleteChild(u32, ChildDownReason),
    DeleteIke,
}

/// Who the peer is, and the certificates that proved it; none with a pre-shared key or EAP.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    pub id: Arc<Identity>,
    pub chain: Arc<[Vec<u8>]>,
    /// Whom EAP has authenticated.
    pub eap: Option<Arc<str>>,
}

/// Of whom INITIAL_CONTACT speaks: of a user, where EAP has authenticated one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    Ike(Arc<Identity>),
    Eap(Arc<str>),
}

impl Remote {
    pub fn who(&self) -> Who {
        match &self.eap {
            Some(user) => Who::Eap(Arc::clone(user)),
            None => Who::Ike(Arc::clone(&self.id)),
        }
    }
}

/// What an IKE SA leaves to its successor.
#[derive(Debug)]
pub(crate) struct Estate {
    pub children: Vec<ChildSa>,
    pub unmade: Vec<u32>,
    pub resources: Resources,
    pub tasks: VecDeque<Task>,
    /// The owner has closed the peer.
    pub closed: bool,
    path: Meta,
    nat: Nat,
    check: Option<Check>,
}

/// An authenticated IKE SA.
#[derive(Debug)]
pub(crate) struct Established {
    pub channel: Channel,
    pub pad: Arc<PadEntry>,
    pub remote: Remote,
    pub children: Vec<ChildSa>,
    pub resources: Resources,
    pub request: Request,
    pub tasks: VecDeque<Task>,
    /// The last authentic message of the peer, or packet on one of its child SAs.
    pub last_heard: Instant,
    keepalive_at: Option<Instant>,
    pub rekey_at: Option<Instant>,
    pub expires_at: Option<Instant>,
    /// Another IKE SA carries, or will carry, the child SAs; the end of this one is no event.
    pub superseded: bool,
    /// Made by the peer while our own rekey of that IKE SA is under way: it takes over if it is not deleted.
    pub inherits: Option<u64>,
    /// Rekeys of the peer whose additional key exchange is still to come.
    pub awaited: Vec<Awaited>,
    /// Inbound SPIs of child SAs that the peer may have made and we have not; free when the peer has deleted them.
    pub unmade: Vec<u32>,
    /// Why it is being closed.
    pub closing: Option<DownReason>,
    /// The IKE SA that this one replaces; it may be gone.
    pub replaces: Option<u64>,
    /// The IKE SA has moved before its child SAs.
    pub check: Option<Check>,
    /// How the peer last saw us, a hash.
    pub seen_as: Option<Vec<u8>>,
}

/// How much longer than its rekey time an IKE SA lives when rekeying keeps failing.
const GRACE: Duration = Duration::from_secs(300);

impl Established {
    pub fn new(ctx: &mut Ctx<'_>, channel: Channel, pad: Arc<PadEntry>, remote: Remote) -> Self {
        let rekey_at = pad.ike_rekey_after.map(|after| ctx.now + shorten(ctx, after));
        let keepalive_at = channel.nat.local.then(|| ctx.now + ctx.policy.config.timers.keepalive);
        Self {
            channel,
            expires_at: pad.ike_rekey_after.map(|after| ctx.now + after + GRACE),
            pad,
            remote,
            children: Vec::new(),
            resources: Resources::default(),
            request: Request::None,
            tasks: VecDeque::new(),
            last_heard: ctx.now,
            keepalive_at,
            rekey_at,
            superseded: false,
            inherits: None,
            awaited: Vec::new(),
            unmade: Vec::new(),
            closing: None,
            replaces: None,
            check: None,
            seen_as: None,
        }
    }

    /// There are these NATs now.
    pub fn behind(&mut self, ctx: &Ctx<'_>, nat: Nat) {
        let keepalive = ctx.policy.config.timers.keepalive;
        self.channel.nat = nat;
        self.keepalive_at = nat.local.then(|| self.keepalive_at.unwrap_or(ctx.now + keepalive));
    }

    /// It is the peer's current IKE SA now.
    pub fn take_over(&mut self, now: Instant) {
        self.superseded = false;
        self.inherits = None;
        self.expires_at = self.pad.ike_rekey_after.map(|after| now + after + GRACE);
    }

    /// A name of its condition for the API.
    pub fn phase(&self) -> &'static str {
        if self.closing.is_some() {
            "closing"
        } else if self.superseded {
            "superseded"
        } else if self.rekeys_ike() || self.awaits_ike() {
            "rekeying"
        } else {
            "established"
        }
    }

    pub fn child_mut(&mut self, spi_in: u32) -> Option<&mut ChildSa> {
        self.children.iter_mut().find(|c| c.spi_in == spi_in)
    }

    /// Queues a task unless it is queued already.
    pub fn queue(&mut self, task: Task) {
        if !self.tasks.contains(&task) {
            self.tasks.push_back(task);
        }
    }

    /// Queues a task before all others.
    pub fn queue_first(&mut self, task: Task) {
        self.tasks.retain(|t| *t != task);
        self.tasks.push_front(task);
    }

    /// Queues the rekey of a child SA; `false` where it is rekeyed or deleted already.
    pub fn queue_rekey(&mut self, spi_in: u32) -> bool {
        let replaced = self.children.iter().any(|c| c.replaces == Some(spi_in)) || self.awaits_child(spi_in);
        if let Some(child) = self.child_mut(spi_in).filter(|c| c.busy == Busy::No && !replaced) {
            child.busy = Busy::Rekeying;
            child.rekey_at = None;
            self.queue(Task::RekeyChild(spi_in));
            return true;
        }
        false
    }

    /// Queues the deletion of a child SA.
    pub fn queue_delete(&mut self, spi_in: u32, reason: ChildDownReason) {
        self.tasks.retain(|t| *t != Task::RekeyChild(spi_in));
        if let Some(child) = self.child_mut(spi_in) {
            child.busy = Busy::Deleting;
            child.rekey_at = None;
        }
        if !self.tasks.iter().any(|t| matches!(t, Task::DeleteChild(spi, _) if *spi == spi_in)) {
            self.tasks.push_back(Task::DeleteChild(spi_in, reason));
        }
    }

    /// Queues the deletion of this IKE SA, before anything else.
    pub fn queue_close(&mut self, reason: DownReason) {
        self.closing.get_or_insert(reason);
        self.tasks.clear();
        self.tasks.push_back(Task::DeleteIke);
    }

    /// Makes the next request when none is under way.
    pub fn pump(&mut self, base: &mut Base, ctx: &mut Ctx<'_>) {
        while base.window.pending.is_none() {
            // While the peer replaces this IKE SA, nothing is begun that its successor would have to finish.
            let held = self.awaits_ike();
            let ready = |task: &Task| !held || matches!(task, Task::Dpd | Task::Update | Task::Probe | Task::DeleteIke);
            let next = self.tasks.iter().position(ready).and_then(|at| self.tasks.remove(at));
            let Some(task) = next else { return };
            match task {
                Task::Dpd => {
                    let mut chain = Builder::new();
                    self.ask_how_seen(base, &mut chain);
                    base.request(ctx, &mut self.channel, ExchangeType::INFORMATIONAL, &chain);
                    self.request = Request::Dpd;
                }
                Task::RekeyChild(spi_in) => self.start_rekey_child(base, ctx, spi_in, None),
                Task::AddChild(id) => self.start_add_child(base, ctx, id, None),
                Task::RekeyIke => self.start_rekey_ike(base, ctx, None),
                Task::Update => self.start_update(base, ctx),
                Task::Probe => self.start_probe(base, ctx),
                Task::DeleteChild(spi_in, reason) => self.start_delete_child(base, ctx, spi_in, reason),
                Task::DeleteIke => self.start_delete_ike(base, ctx),
            }
        }
    }

    /// Handles a request of the peer.
    pub fn request(mut self: Box<Self>, base: &mut Base, ctx: &mut Ctx<'_>, received: &Received<'_>) -> State {
        self.last_heard = ctx.now;
        if let Some(from) = self.inherits
            && !received.body.deletes.contains(&Delete::Ike)
        {
            // The peer knows already that this IKE SA stands, and we do not yet: our own rekey has no answer. It takes
            // over now, and the request is left for its repetition, when the child SAs are here.
            ctx.effects.push(Effect::Inherit { from, to: base.spi });
            return State::Established(self);
        }
        match received.exchange {
            ExchangeType::INFORMATIONAL => self.inform(base, ctx, received),
            ExchangeType::CREATE_CHILD_SA => {
                self.create(base, ctx, &received.body);
                self.pump(base, ctx);
                State::Established(self)
            }
            ExchangeType::IKE_FOLLOWUP_KE => {
                self.follow_up(base, ctx, &received.body);
                self.pump(base, ctx);
                State::Established(self)
            }
            // Not an exchange of an established SA.
            _ => State::Established(self),
        }
    }

    /// Handles the answer to our request.
    pub fn response(mut self: Box<Self>, base: &mut Base, ctx: &mut Ctx<'_>, received: &Received<'_>) -> State {
        self.last_heard = ctx.now;
        self.stays(base, ctx.now, received.meta);
        match std::mem::replace(&mut self.request, Request::None) {
            Request::None => {}
            Request::Dpd => self.hear_how_seen(&received.body),
            Request::Update(path) => self.finish_update(base, ctx, path, received),
            Request::Probe(probe) => self.finish_probe(base, ctx, &probe, &received.body),
            Request::RekeyChild(rekey) => self.finish_rekey_child(base, ctx, *rekey, &received.body),
            Request::AddChild(add) => self.finish_add_child(base, ctx, *add, &received.body),
            Request::RekeyIke(rekey) => self.finish_rekey_ike(base, ctx, *rekey, &received.body),
            Request::Followup(followup) => self.finish_followup(base, ctx, *followup, &received.body),
            Request::DeleteChild(spi_in, reason) => self.remove_child(base, ctx, spi_in, reason),
            Request::DeleteIke => {
                let reason = self.closing.take().unwrap_or(DownReason::Closed);
                self.down(base, ctx, reason);
                return State::Gone;
            }
        }
        self.pump(base, ctx);
        State::Established(self)
    }

    /// An authentic answer that does not parse: the exchange failed.
    pub fn broken(mut self: Box<Self>, base: &mut Base, ctx: &mut Ctx<'_>) -> State {
        if matches!(self.request, Request::DeleteIke) {
            let reason = self.closing.take().unwrap_or(DownReason::Closed);
            self.down(base, ctx, reason);
            return State::Gone;
        }
        // The peer may have made a child SA; the SPI stays taken until this IKE SA is gone.
        self.unmade.extend(self.offered_spi());
        self.request = Request::None;
        self.queue_close(DownReason::Failed(crate::error::Failure::Protocol("answer does not parse")));
        self.pump(base, ctx);
        State::Established(self)
    }

    /// The peer does not answer.
    pub fn dead(mut self: Box<Self>, base: &mut Base, ctx: &mut Ctx<'_>) -> State {
        let reason = self.closing.clone().unwrap_or(DownReason::Dead);
        self.down(base, ctx, reason);
        State::Gone
    }

    /// Reports the end of this IKE SA, unless another one carries on. If the peer has made one meanwhile, that is it.
    pub fn down(&mut self, base: &Base, ctx: &mut Ctx<'_>, reason: DownReason) {
        if let Some(spi) = self.rival_made() {
            self.succeed(base, ctx, spi);
        }
        if let Some(from) = self.inherits.take() {
            ctx.effects.push(Effect::Disinherit { from, to: base.spi });
        }
        self.release(base, ctx);
        if self.superseded {
            return;
        }
        self.superseded = true;
        for child in self.children.drain(..) {
            ctx.effects.push(Effect::ChildRemoved { spi_in: child.spi_in });
        }
        if let Some(peer) = base.peer {
            ctx.effects.push(Effect::PeerGone { peer });
            ctx.events.push_back(Event::PeerDown { peer, reason, remote_id: Some(Identity::clone(&self.remote.id)) });
        }
    }

    /// Judges the peer's certificates anew, by what the policy now has in place of the entry it came up with. A revoked
    /// peer is down at once; its answer to the DELETE is not waited for (H24).
    pub fn recheck(&mut self, base: &mut Base, ctx: &mut Ctx<'_>) {
        let pad = ctx.policy.named(&self.pad.name).unwrap_or(&self.pad);
        let (RemoteAuth::Certificate(trust), Some(now)) = (&pad.remote_auth, ctx.unix) else { return };
        if self.superseded || self.remote.chain.is_empty() || !trust.revokes(&self.remote.chain, now) {
            return;
        }
        // An IKE SA that its own rekey has made does not save it.
        if let Some(rival) = self.rival_made() {
            self.rival_gone(rival);
        }
        self.down(base, ctx, DownReason::Revoked);
        base.peer = None;
        self.queue_close(DownReason::Revoked);
        self.pump(base, ctx);
    }

    /// Hands the child SAs to another IKE SA of the same peer.
    pub fn succeed(&mut self, base: &Base, ctx: &mut Ctx<'_>, to: u64) {
        if let (false, Some(peer)) = (self.superseded, base.peer) {
            let estate = Box::new(self.hand_over(base.path()));
            ctx.effects.push(Effect::Succeed { peer, to, estate });
            self.expires_at = Some(ctx.now + ctx.policy.config.timers.patience());
        }
    }

    /// Marks this SA, which is at `path`, as replaced; gives what its successor takes over.
    pub fn hand_over(&mut self, path: Meta) -> Estate {
        self.superseded = true;
        self.rekey_at = None;
        let mut tasks = std::mem::take(&mut self.tasks);
        let lasts = |t: &Task| {
            matches!(t, Task::RekeyChild(_) | Task::AddChild(_) | Task::Update | Task::Probe | Task::DeleteChild(..))
        };
        tasks.retain(lasts);
        // Their answers come too late for this one.
        match &self.request {
            Request::Update(_) => tasks.push_front(Task::Update),
            Request::Probe(_) => tasks.push_front(Task::Probe),
            _ => {}
        }
        let closed = self.closing == Some(DownReason::Closed);
        let (children, unmade) = (std::mem::take(&mut self.children), std::mem::take(&mut self.unmade));
        let (resources, nat, check) = (std::mem::take(&mut self.resources), self.channel.nat, self.check.take());
        Estate { children, unmade, resources, tasks, closed, path, nat, check }
    }

    /// Takes over what its predecessor left.
    pub fn inherit(&mut self, base: &mut Base, ctx: &Ctx<'_>, estate: Estate) {
        (base.local, base.remote) = (estate.path.local, estate.path.remote);
        self.check = estate.check;
        self.behind(ctx, estate.nat);
        self.children.extend(estate.children);
        self.unmade.extend(estate.unmade);
        self.resources = estate.resources;
        self.tasks.extend(estate.tasks);
        if estate.closed {
            self.queue_close(DownReason::Closed);
        }
    }

    /// Gives back the inbound SPIs that are in no child SA.
    pub fn release(&mut self, base: &Base, ctx: &mut Ctx<'_>) {
        for spi_in in self.unmade.drain(..) {
            base.unused_spi(ctx, spi_in);
        }
        if let Some(spi_in) = self.offered_spi() {
            base.unused_spi(ctx, spi_in);
            self.request = Request::None;
        }
        self.drop_awaited(base, ctx, |_| true);
    }

    /// The inbound SPI in our request under way.
    fn offered_spi(&self) -> Option<u32> {
        match &self.request {
            Request::RekeyChild(rekey) => Some(rekey.offered.spi_in),
            Request::AddChild(add) => Some(add.offered.spi_in),
            Request::Followup(followup) => match &followup.draft {
                Draft::Child(draft) => Some(draft.agreement.spi_in),
                Draft::Ike(_) => None,
            },
            Request::None
            | Request::Dpd
            | Request::RekeyIke(_)
            | Request::Update(_)
            | Request::Probe(_)
            | Request::DeleteChild(..)
            | Request::DeleteIke => None,
        }
    }

    /// Handles a deadline.
    pub fn timeout(mut self: Box<Self>, base: &mut Base, ctx: &mut Ctx<'_>) -> State {
        let now = ctx.now;
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.keepalive_at) {
            // RFC 3948, section 2.3: one octet 0xff.
            let (local, remote) = (base.local, base.remote);
            ctx.transmits.push_back(Transmit { local, remote, data: vec![0xff], keepalive: true });
            self.keepalive_at = Some(now + ctx.policy.config.timers.keepalive);
        }
        if due(self.expires_at) {
            self.expires_at = None;
            if self.closing.is_none() {
                self.queue_close(DownReason::Expired);
            }
        }
        if due(self.rekey_at) {
            self.rekey_at = None;
            self.queue(Task::RekeyIke);
        }
        self.expire_awaited(base, ctx);
        let children = self.children.iter().filter(|c| due(c.rekey_at));
        for spi_in in children.map(|c| c.spi_in).collect::<Vec<_>>() {
            if let Some(child) = self.child_mut(spi_in) {
                child.rekey_at = None;
            }
            self.queue_rekey(spi_in);
        }
        if due(self.resources.at) {
            self.ask_for_missing();
        }
        if due(self.dpd_at()) && self.tasks.is_empty() && base.window.pending.is_none() {
            self.tasks.push_back(Task::Dpd);
        }
        self.pump(base, ctx);
        State::Established(self)
    }

    fn dpd_at(&self) -> Option<Instant> {
        self.pad.dpd_delay.map(|delay| self.last_heard + delay)
    }

    /// When [`Self::timeout`] is due.
    pub fn deadline(&self, base: &Base) -> Option<Instant> {
        let idle = base.window.pending.is_none();
        let dpd = if idle && self.tasks.is_empty() { self.dpd_at() } else { None };
        let children = self.children.iter().filter_map(|c| c.rekey_at);
        let own = [self.keepalive_at, self.expires_at, self.rekey_at, self.resources.at, dpd];
        own.into_iter().flatten().chain(children).chain(self.awaited.iter().map(|a| a.until)).min()
    }
}

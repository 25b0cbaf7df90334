//! Child SAs per resource (RFC 9611): several for the same traffic, each bound to a resource of its end, so that cores need
//! not share sequence numbers and a replay window. What a resource is, the owner knows: a worker.
//!
//! ```text
//!   HDR(IKE_AUTH), SK { ..., N(SA_RESOURCE_INFO), SAi2, TSi, TSr }  -->
//!                                    <--  HDR, SK { ..., N(SA_RESOURCE_INFO), SAr2, TSi, TSr }     both take them
//!   HDR(CREATE_CHILD_SA), SK { N(SA_RESOURCE_INFO)(id), SA, Ni, [KEi,] TSi, TSr }  -->
//!                                    <--  HDR, SK { N(SA_RESOURCE_INFO)(id), SA, Nr, [KEr,] TSi, TSr }
//!                                    <--  HDR, SK { N(TS_MAX_QUEUE) }                              or: no more of them
//! ```
//!
//! The first child SA is bound to nothing: it is the *fallback* for what has no other. The original initiator asks at once
//! for one for each resource of its own; the other end binds each to that of its resources that has fewest, and asks a while
//! later for those that got none. A refusal, whatever it says, ends the asking for as long as the peer is up, and so does an
//! answer that binds nothing; what was made stays. So does what the peer deletes: it knows what it uses.
//!
//! A rekey keeps the resource. What is bound has the selectors, mode and algorithms of the fallback, or is refused.

use super::child::{Busy, ChildSa};
use super::create_child::{Offered, Restart};
use super::established::{Established, Request, Task};
use super::followup::Draft;
use super::{Base, Ctx};
use crate::event::{ChildDownReason, Resource};
use crate::message::Body;
use crate::payload::Builder;
use crate::payload::notify::NotifyType;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Most child SAs that are bound to resources, with one peer; asked for more, we answer TS_MAX_QUEUE.
pub const MAX_RESOURCES: usize = 16;
/// Octets that are kept of the peer's identifier.
const IDENTIFIER: usize = 16;

/// What is agreed on with a peer, and what is still to come.
#[derive(Debug, Default)]
pub(crate) struct Resources {
    /// Both ends take child SAs that are bound to resources.
    agreed: bool,
    /// Resources of ours that have none, as far as we ask.
    wanted: BTreeSet<u32>,
    /// When to ask.
    pub at: Option<Instant>,
}

impl Resources {
    /// A child SA for a resource of ours is there.
    pub fn made(&mut self, id: u32) {
        self.wanted.remove(&id);
    }

    /// How many child SAs there may be besides the ordinary ones: each may be on its way to be replaced.
    pub fn room(&self) -> usize {
        if self.agreed { 2 * MAX_RESOURCES } else { 0 }
    }

    fn stop(&mut self) {
        self.wanted.clear();
        self.at = None;
    }
}

/// Our request for a child SA for a resource is under way.
#[derive(Debug)]
pub(crate) struct AddChild {
    /// The resource.
    id: u32,
    pub offered: Offered,
}

/// What the peer says of its resource; `None` where it binds the child SA to none.
fn peers(body: &Body<'_>) -> Option<Box<[u8]>> {
    let info = body.notify(NotifyType::SA_RESOURCE_INFO)?;
    Some(info.data.iter().copied().take(IDENTIFIER).collect())
}

impl Established {
    /// Whether both ends take child SAs per resource, now that the peer has asked for the first one, or agreed to it, with
    /// `body`.
    pub fn agree_on_resources(&mut self, ctx: &Ctx<'_>, body: &Body<'_>, initiator: bool) -> bool {
        let count = self.pad.child.resources;
        let agreed = count > 0 && body.has(NotifyType::SA_RESOURCE_INFO);
        if agreed {
            let pause = if initiator { Duration::ZERO } else { ctx.policy.config.timers.retry };
            self.resources = Resources { agreed, wanted: (0..count).collect(), at: Some(ctx.now + pause) };
        }
        agreed
    }

    /// Whether a child SA is bound to a resource of ours.
    pub fn serves(&self, id: u32) -> bool {
        self.bound().any(|bound| bound == id)
    }

    /// The resources of ours that child SAs are bound to, one for each; those that go, or are replaced, are not counted.
    fn bound(&self) -> impl Iterator<Item = u32> {
        let stays = |c: &ChildSa| c.busy != Busy::Deleting;
        let replaced = move |spi_in| self.children.iter().any(|c| c.replaces == Some(spi_in) && stays(c));
        let counted = self.children.iter().filter(move |c| stays(c) && !replaced(c.spi_in));
        counted.filter_map(|c| c.resource.as_ref()).map(|r| r.id)
    }

    // --- our own ---

    /// Queues requests for what is missing.
    pub fn ask_for_missing(&mut self) {
        self.resources.at = None;
        if self.closing.is_none() {
            self.resources.wanted.clone().into_iter().for_each(|id| self.queue(Task::AddChild(id)));
        }
    }

    /// Asks again after a while, if there is anything to ask for.
    pub fn ask_later(&mut self, ctx: &Ctx<'_>) {
        let missing = !self.resources.wanted.is_empty();
        self.resources.at = missing.then(|| ctx.now + ctx.policy.config.timers.retry);
    }

    /// The peer has lost a child SA: its resource is to have another.
    pub fn ask_again(&mut self, ctx: &Ctx<'_>, gone: &ChildSa) {
        if let Some(id) = gone.resource.as_ref().map(|r| r.id).filter(|id| !self.serves(*id)) {
            self.resources.wanted.insert(id);
            self.resources.at = Some(ctx.now);
        }
    }

    /// Sends the request for a child SA for a resource.
    pub fn start_add_child(&mut self, base: &mut Base, ctx: &mut Ctx<'_>, id: u32, restart: Option<Restart>) {
        if !self.resources.wanted.contains(&id) {
            return;
        }
        let about = |chain: &mut Builder| _ = chain.notify(NotifyType::SA_RESOURCE_INFO, &id.to_be_bytes());
        let like = self.children.iter().find(|c| c.busy != Busy::Deleting).map(|c| c.spi_in);
        match like.and_then(|like| self.offer_child(base, ctx, like, Some(id), about, restart)) {
            Some(offered) => self.request = Request::AddChild(Box::new(AddChild { id, offered })),
            None => self.ask_later(ctx),
        }
    }

    /// Handles the answer.
    pub fn finish_add_child(&mut self, base: &mut Base, ctx: &mut Ctx<'_>, add: AddChild, body: &Body<'_>) {
        let AddChild { id, offered } = add;
        let spi_in = offered.spi_in;
        if let Some(error) = body.error() {
            base.unused_spi(ctx, spi_in);
            match (error.kind, self.restart(&offered, body)) {
                (NotifyType::INVALID_KE_PAYLOAD, Some(restart)) => self.start_add_child(base, ctx, id, Some(restart)),
                (NotifyType::TEMPORARY_FAILURE, _) => self.ask_later(ctx),
                // TS_MAX_QUEUE; NO_ADDITIONAL_SAS or TS_UNACCEPTABLE of one that does not know better.
                _ => self.resources.stop(),
            }
            return;
        }
        let bound = peers(body);
        let resource = Resource { id, peer: bound.clone().unwrap_or_default() };
        let Ok(draft) = self.conclude_child(base, offered, body, None, Some(resource)) else {
            // The peer has a pair that we do not.
            self.resources.stop();
            return self.delete_unmade(spi_in);
        };
        let good = bound.is_some() && self.children.iter().any(|c| draft.agreement.is_like(c));
        match draft.agreement.suite.addke1 {
            Some(method) if good => self.start_followup(base, ctx, method, body, Draft::Child(draft), None),
            None if good => self.complete_child(base, ctx, draft, None, false),
            // Another child SA, of which the peer does not know that it is one of several. We receive on it until it is gone.
            None => {
                self.resources.stop();
                self.install_child(base, ctx, draft, None, false);
                self.queue_delete(spi_in, ChildDownReason::Closed);
            }
            Some(_) => {
                self.resources.stop();
                self.abandon(base, ctx, Draft::Child(draft), None);
            }
        }
    }

    // --- the peer's ---

    /// What a new child SA that the peer asks for is bound to: that of our resources that has fewest. `None`: it is an
    /// ordinary one. NO_ADDITIONAL_SAS is no answer here: there may be some for other traffic.
    pub fn bind(&mut self, ctx: &Ctx<'_>, body: &Body<'_>) -> Result<Option<Resource>, NotifyType> {
        let Some(peer) = peers(body) else { return Ok(None) };
        let mut taken: Vec<u32> = self.bound().collect();
        taken.extend(self.awaited_resources());
        if !self.resources.agreed || taken.len() >= MAX_RESOURCES {
            return Err(NotifyType::TS_MAX_QUEUE);
        }
        // The peer is at it: ours can wait.
        if self.resources.at.is_some() {
            self.ask_later(ctx);
        }
        if let Request::AddChild(own) = &self.request {
            taken.push(own.id);
        }
        let load = |id: &u32| taken.iter().filter(|taken| *taken == id).count();
        Ok((0..self.pad.child.resources).min_by_key(load).map(|id| Resource { id, peer }))
    }
}

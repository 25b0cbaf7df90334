//! INFORMATIONAL exchanges (RFC 7296, section 1.4): deletions, errors, and the empty request that asks for a sign of
//! life. Deleting a child SA names the sender's inbound SPI; the answer names the other half.

use super::child::{Busy, ChildSa};
use super::established::{Established, Request, Task};
use super::{Base, Ctx, Effect, Received, State};
use crate::error::Failure;
use crate::event::{ChildDownReason, DownReason, Event};
use crate::message::ExchangeType;
use crate::payload::delete::Delete;
use crate::payload::notify::NotifyType;
use crate::payload::{Builder, PayloadType};

impl Established {
    /// Answers an INFORMATIONAL request.
    pub fn inform(mut self: Box<Self>, base: &mut Base, ctx: &mut Ctx<'_>, received: &Received<'_>) -> State {
        let body = &received.body;
        let ended = if body.deletes.contains(&Delete::Ike) {
            Some(DownReason::Deleted)
        } else if body.has(NotifyType::AUTHENTICATION_FAILED) {
            // Section 2.21.2: the initiator could not verify our answer in IKE_AUTH.
            Some(DownReason::Failed(Failure::RefusedByPeer))
        } else {
            None
        };
        let mut chain = Builder::new();
        if let Some(reason) = ended {
            base.answer(ctx, &mut self.channel, ExchangeType::INFORMATIONAL, &chain);
            self.down(base, ctx, reason);
            base.window.pending = None;
            return State::linger(ctx, self.channel);
        }
        let mut deleted = Vec::new();
        for delete in &body.deletes {
            let Delete::Esp(spis) = delete else { continue };
            for &spi_out in spis {
                let Some(child) = self.children.iter().find(|c| c.spi_out == spi_out) else { continue };
                let (spi_in, busy) = (child.spi_in, child.busy);
                // Section 1.4.1: if both ends delete the same SA, the answer leaves it out.
                if busy != Busy::Deleting {
                    deleted.push(spi_in);
                }
                let stands = |c: &ChildSa| c.replaces == Some(spi_in) && c.busy != Busy::Deleting;
                let successor = self.children.iter_mut().find(|c| stands(c));
                let reason = if successor.is_some() { ChildDownReason::Rekeyed } else { ChildDownReason::Deleted };
                if let (Some(successor), Some(peer)) = (successor, base.peer)
                    && !successor.selected
                {
                    successor.selected = true;
                    ctx.events.push_back(Event::ChildSelect { peer, spi_in: successor.spi_in });
                }
                self.remove_child(base, ctx, spi_in, reason);
            }
        }
        if !deleted.is_empty() {
            chain.push(PayloadType::DELETE, |out| Delete::Esp(deleted).emit(out));
        }
        self.answer_mobike(base, ctx, received, &mut chain);
        base.answer(ctx, &mut self.channel, ExchangeType::INFORMATIONAL, &chain);
        self.pump(base, ctx);
        State::Established(self)
    }

    /// Forgets a child SA and tells the owner.
    pub fn remove_child(&mut self, base: &Base, ctx: &mut Ctx<'_>, spi_in: u32, reason: ChildDownReason) {
        self.tasks.retain(|t| *t != Task::RekeyChild(spi_in));
        let Some(at) = self.children.iter().position(|c| c.spi_in == spi_in) else {
            if let Some(at) = self.unmade.iter().position(|&spi| spi == spi_in) {
                self.unmade.swap_remove(at);
                base.unused_spi(ctx, spi_in);
            }
            return;
        };
        let gone = self.children.remove(at);
        if let Some(successor) = self.children.iter_mut().find(|c| c.replaces == Some(spi_in)) {
            successor.replaces = None;
        }
        if reason == ChildDownReason::Lost {
            self.ask_again(ctx, &gone);
        }
        ctx.effects.push(Effect::ChildRemoved { spi_in });
        if let Some(peer) = base.peer {
            ctx.events.push_back(Event::ChildDown { peer, spi_in, reason });
        }
    }

    /// Deletes a child SA that the peer made and we could not.
    pub fn delete_unmade(&mut self, spi_in: u32) {
        self.unmade.push(spi_in);
        self.queue_delete(spi_in, ChildDownReason::Closed);
    }

    /// Sends the deletion of a child SA.
    pub fn start_delete_child(&mut self, base: &mut Base, ctx: &mut Ctx<'_>, spi_in: u32, reason: ChildDownReason) {
        let mut chain = Builder::new();
        chain.push(PayloadType::DELETE, |out| Delete::Esp(vec![spi_in]).emit(out));
        base.request(ctx, &mut self.channel, ExchangeType::INFORMATIONAL, &chain);
        self.request = Request::DeleteChild(spi_in, reason);
    }

    /// Sends the deletion of this IKE SA.
    pub fn start_delete_ike(&mut self, base: &mut Base, ctx: &mut Ctx<'_>) {
        let mut chain = Builder::new();
        chain.push(PayloadType::DELETE, |out| Delete::Ike.emit(out));
        base.request(ctx, &mut self.channel, ExchangeType::INFORMATIONAL, &chain);
        self.request = Request::DeleteIke;
    }
}

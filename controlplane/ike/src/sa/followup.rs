//! IKE_FOLLOWUP_KE (RFC 9370, section 2.2.4): the additional key exchange of a rekey, after CREATE_CHILD_SA.
//!
//! ```text
//!   HDR(CREATE_CHILD_SA), SK { SA, Ni, KEi, ... }  -->
//!                         <--  HDR(CREATE_CHILD_SA), SK { SA, Nr, KEr, ..., N(ADDITIONAL_KEY_EXCHANGE)(link) }
//!   HDR(IKE_FOLLOWUP_KE), SK { KEi(1), N(ADDITIONAL_KEY_EXCHANGE)(link) }  -->
//!                         <--  HDR(IKE_FOLLOWUP_KE), SK { KEr(1) }
//! ```
//!
//! Only ADDKE1 is negotiated ([`crate::proposal`]), so one follow-up ends the rekey, and only then is there an SA; until
//! then both ends keep a [`Draft`]. The responder finds it by the link, which it made up; it forgets the draft after
//! [`crate::config::Timers::half_open`] and answers what comes later with STATE_NOT_FOUND.
//!
//! When both ends rekey the same SA, the nonces of CREATE_CHILD_SA decide as ever. The loser does not send its
//! follow-up, and the winner does not wait for it; once a follow-up is on its way, another rekey of the same SA is
//! refused with TEMPORARY_FAILURE.

use super::child::Agreement;
use super::established::{Established, Request};
use super::{Base, Ctx};
use crate::crypto::{self, KeMethod, KeyExchange, Prf, Secret, SkSuite};
use crate::error::Failure;
use crate::event::{DownReason, PeerHandle, Resource};
use crate::message::{Body, ExchangeType};
use crate::payload::Builder;
use crate::payload::notify::NotifyType;
use crate::proposal::IkeSuite;
use std::time::Instant;

/// What CREATE_CHILD_SA contributes to the keys: SK(0), empty without a key exchange, and the nonces.
pub(crate) struct Seed {
    pub shared: Secret,
    pub ni: Vec<u8>,
    pub nr: Vec<u8>,
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(..)")
    }
}

impl Seed {
    /// The lower nonce, by which collisions are decided.
    pub fn lowest(&self) -> &[u8] {
        std::cmp::min(&self.ni, &self.nr)
    }

    /// SK(0), SK(1).
    pub fn secrets<'a>(&'a self, additional: Option<&'a Secret>) -> Vec<&'a [u8]> {
        std::iter::once(&self.shared).chain(additional).map(|secret| &secret[..]).collect()
    }
}

/// A child SA that is agreed on.
#[derive(Debug)]
pub(crate) struct ChildDraft {
    pub peer: PeerHandle,
    /// PRF of this IKE SA.
    pub prf: Prf,
    pub agreement: Agreement,
    /// The pair it replaces, by our SPI.
    pub replaces: Option<u32>,
    /// What it is bound to.
    pub resource: Option<Resource>,
    pub seed: Seed,
}

/// An IKE SA, in place of this one, that is agreed on.
#[derive(Debug)]
pub(crate) struct IkeDraft {
    pub suite: IkeSuite,
    pub algorithms: (Prf, SkSuite),
    /// PRF of this IKE SA.
    pub old: Prf,
    /// Initiator's, responder's.
    pub spis: (u64, u64),
    pub seed: Seed,
}

/// An SA that is agreed on and has no keys before its additional key exchange.
#[derive(Debug)]
pub(crate) enum Draft {
    Child(ChildDraft),
    Ike(IkeDraft),
}

impl Draft {
    pub fn is_ike(&self) -> bool {
        matches!(self, Self::Ike(_))
    }

    /// Whether it is to replace the child SA that we receive on with `spi_in`.
    pub fn replaces(&self, spi_in: u32) -> bool {
        matches!(self, Self::Child(draft) if draft.replaces == Some(spi_in))
    }
}

/// Our additional key exchange is out.
#[derive(Debug)]
pub(crate) struct Followup {
    method: u16,
    exchange: KeyExchange,
    pub draft: Draft,
    /// The IKE SA that the peer's rekey of the same one has made: it lost, and serves if ours comes to nothing.
    rival: Option<u64>,
}

/// A rekey of the peer waits for its additional key exchange.
#[derive(Debug)]
pub(crate) struct Awaited {
    link: [u8; 8],
    method: Option<KeMethod>,
    /// When it is forgotten.
    pub until: Instant,
    draft: Draft,
}

impl Established {
    /// Our rekey of this IKE SA is under way.
    pub fn rekeys_ike(&self) -> bool {
        match &self.request {
            Request::RekeyIke(_) => true,
            Request::Followup(followup) => followup.draft.is_ike(),
            _ => false,
        }
    }

    /// The additional key exchange of our rekey of a child SA is under way.
    pub fn follows_up(&self, spi_in: u32) -> bool {
        matches!(&self.request, Request::Followup(followup) if followup.draft.replaces(spi_in))
    }

    /// The IKE SA that the peer has made while our own rekey is under way.
    pub fn rival_made(&self) -> Option<u64> {
        match &self.request {
            Request::RekeyIke(rekey) => rekey.rival.as_ref().and_then(|rival| rival.made),
            Request::Followup(followup) => followup.rival,
            _ => None,
        }
    }

    /// That IKE SA is gone.
    pub fn rival_gone(&mut self, spi: u64) {
        if self.rival_made() == Some(spi) {
            match &mut self.request {
                Request::RekeyIke(rekey) => rekey.rival = None,
                Request::Followup(followup) => followup.rival = None,
                _ => {}
            }
        }
    }

    /// What is agreed on for child SAs that have no keys yet.
    pub fn agreements(&mut self) -> impl Iterator<Item = &mut Agreement> {
        let own = match &mut self.request {
            Request::Followup(followup) => Some(&mut followup.draft),
            _ => None,
        };
        let drafts = self.awaited.iter_mut().map(|a| &mut a.draft).chain(own);
        drafts.filter_map(|draft| match draft {
            Draft::Child(draft) => Some(&mut draft.agreement),
            Draft::Ike(_) => None,
        })
    }

    /// The resources of child SAs of the peer, and no rekeys, that wait.
    pub fn awaited_resources(&self) -> impl Iterator<Item = u32> {
        self.awaited.iter().filter_map(|a| match &a.draft {
            Draft::Child(ChildDraft { replaces: None, resource, .. }) => resource.as_ref().map(|r| r.id),
            _ => None,
        })
    }

    /// A rekey of this IKE SA by the peer waits.
    pub fn awaits_ike(&self) -> bool {
        self.awaited.iter().any(|a| a.draft.is_ike())
    }

    /// A rekey of the child SA by the peer waits.
    pub fn awaits_child(&self, spi_in: u32) -> bool {
        self.awaited.iter().any(|a| a.draft.replaces(spi_in))
    }

    // --- our own ---

    /// Sends the additional key exchange of a rekey whose CREATE_CHILD_SA was answered with `body`.
    pub fn start_followup(
        &mut self,
        base: &mut Base,
        ctx: &mut Ctx<'_>,
        method: u16,
        body: &Body<'_>,
        draft: Draft,
        rival: Option<u64>,
    ) {
        let link = body.notify(NotifyType::ADDITIONAL_KEY_EXCHANGE);
        let exchange = KeMethod::from_id(method).and_then(|method| KeyExchange::initiate(method).ok());
        let (Some(link), Some((exchange, public))) = (link, exchange) else {
            return self.abandon(base, ctx, draft, rival);
        };
        let mut chain = Builder::new();
        chain.ke(method, &public);
        chain.notify(NotifyType::ADDITIONAL_KEY_EXCHANGE, link.data);
        base.request(ctx, &mut self.channel, ExchangeType::IKE_FOLLOWUP_KE, &chain);
        self.request = Request::Followup(Box::new(Followup { method, exchange, draft, rival }));
    }

    /// Handles the answer to our additional key exchange.
    pub fn finish_followup(&mut self, base: &mut Base, ctx: &mut Ctx<'_>, followup: Followup, body: &Body<'_>) {
        let Followup { method, exchange, draft, rival } = followup;
        if body.error().is_some() {
            return self.abandon(base, ctx, draft, rival);
        }
        let ke = body.ke.filter(|ke| ke.method == method);
        match (draft, ke.and_then(|ke| exchange.finish(ke.data).ok())) {
            (Draft::Child(draft), Some(secret)) => {
                self.complete_child(base, ctx, draft, Some(&secret), false);
            }
            (Draft::Ike(draft), Some(secret)) => self.complete_rekey_ike(base, ctx, &draft, Some(&secret)),
            // The peer has an SA that we have no keys for.
            (Draft::Child(draft), None) => {
                self.delete_unmade(draft.agreement.spi_in);
                self.child_not_made(ctx, &draft);
            }
            (Draft::Ike(_), None) => {
                self.queue_close(DownReason::Failed(Failure::Crypto("additional key exchange")));
            }
        }
    }

    /// Our rekey goes no further, and the peer has made nothing.
    pub fn abandon(&mut self, base: &Base, ctx: &mut Ctx<'_>, draft: Draft, rival: Option<u64>) {
        match draft {
            Draft::Child(draft) => {
                base.unused_spi(ctx, draft.agreement.spi_in);
                self.child_not_made(ctx, &draft);
            }
            Draft::Ike(_) => self.leave_to(base, ctx, rival),
        }
    }

    fn child_not_made(&mut self, ctx: &Ctx<'_>, draft: &ChildDraft) {
        match draft.replaces {
            Some(old) => self.child_not_rekeyed(ctx, old),
            None => self.ask_later(ctx),
        }
    }

    // --- the peer's ---

    /// Keeps a draft until its additional key exchange comes; tells the peer the link to it.
    pub fn await_followup(&mut self, ctx: &mut Ctx<'_>, chain: &mut Builder, draft: Draft) {
        let mut link = [0; 8];
        ctx.rng.fill_bytes(&mut link);
        chain.notify(NotifyType::ADDITIONAL_KEY_EXCHANGE, &link);
        let method = match &draft {
            Draft::Child(draft) => draft.agreement.suite.addke1,
            Draft::Ike(draft) => draft.suite.addke1,
        };
        let until = ctx.now + ctx.policy.config.timers.half_open;
        self.awaited.push(Awaited { link, method: method.and_then(KeMethod::from_id), until, draft });
    }

    /// Answers IKE_FOLLOWUP_KE.
    pub fn follow_up(&mut self, base: &mut Base, ctx: &mut Ctx<'_>, body: &Body<'_>) {
        let mut chain = Builder::new();
        let exchanged = self.exchange(base, ctx, body, &mut chain);
        let mut ike = None;
        match exchanged {
            Ok((Draft::Child(draft), secret)) => {
                // The one it replaces may have gone meanwhile.
                let replaces = draft.replaces.filter(|old| self.children.iter().any(|c| c.spi_in == *old));
                let draft = ChildDraft { replaces, ..draft };
                let free = draft.resource.as_ref().is_none_or(|r| !self.serves(r.id));
                self.install_child(base, ctx, draft, Some(&secret), replaces.is_none() && free);
            }
            Ok((Draft::Ike(draft), secret)) => ike = Some((draft, secret)),
            Err(kind) => {
                chain.notify(kind, &[]);
            }
        }
        base.answer(ctx, &mut self.channel, ExchangeType::IKE_FOLLOWUP_KE, &chain);
        // The answer leaves under the old SA before the new one speaks.
        if let Some((draft, secret)) = ike {
            self.adopt_rekeyed(base, ctx, &draft, Some(&secret));
        }
    }

    /// The draft that a request is about, and the secret of its additional key exchange. An error ends the rekey.
    fn exchange(
        &mut self,
        base: &Base,
        ctx: &mut Ctx<'_>,
        body: &Body<'_>,
        chain: &mut Builder,
    ) -> Result<(Draft, Secret), NotifyType> {
        let link = body.notify(NotifyType::ADDITIONAL_KEY_EXCHANGE).ok_or(NotifyType::INVALID_SYNTAX)?;
        let at = self.awaited.iter().position(|a| a.link == link.data).ok_or(NotifyType::STATE_NOT_FOUND)?;
        let Awaited { method, draft, .. } = self.awaited.remove(at);
        let going = self.superseded || self.closing.is_some() || (draft.is_ike() && !self.replaceable());
        let ke = method.zip(body.ke).filter(|(method, ke)| ke.method == method.id());
        match ke.and_then(|(method, ke)| crypto::respond(method, ke.data).ok()).filter(|_| !going) {
            Some((public, secret)) => {
                chain.ke(method.map_or(0, KeMethod::id), &public);
                Ok((draft, secret))
            }
            None => {
                self.forget(base, ctx, draft);
                Err(if going { NotifyType::TEMPORARY_FAILURE } else { NotifyType::INVALID_SYNTAX })
            }
        }
    }

    /// Forgets the drafts whose additional key exchange did not come in time. The rekey is then up to us.
    pub fn expire_awaited(&mut self, base: &Base, ctx: &mut Ctx<'_>) {
        while let Some(at) = self.awaited.iter().position(|a| a.until <= ctx.now) {
            let draft = self.awaited.remove(at).draft;
            self.forget(base, ctx, draft);
        }
    }

    /// Forgets drafts that will not be followed up.
    pub fn drop_awaited(&mut self, base: &Base, ctx: &mut Ctx<'_>, which: impl Fn(&Draft) -> bool) {
        while let Some(at) = self.awaited.iter().position(|a| which(&a.draft)) {
            if let Draft::Child(draft) = self.awaited.remove(at).draft {
                base.unused_spi(ctx, draft.agreement.spi_in);
            }
        }
    }

    /// A rekey of the peer came to nothing. Ours, if it is due by itself, is made up for.
    fn forget(&mut self, base: &Base, ctx: &mut Ctx<'_>, draft: Draft) {
        match draft {
            Draft::Child(draft) => {
                base.unused_spi(ctx, draft.agreement.spi_in);
                if let Some(old) = draft.replaces.filter(|_| self.pad.child.rekey_after.is_some()) {
                    self.rekey_child_later(ctx, old);
                }
            }
            Draft::Ike(_) => {
                if self.pad.ike_rekey_after.is_some() && !self.superseded && !self.rekeys_ike() {
                    self.rekey_at = Some(ctx.now + ctx.policy.config.timers.retry);
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "followup_tests.rs"]
mod tests;

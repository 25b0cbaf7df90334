//! CREATE_CHILD_SA (RFC 7296, sections 1.3, 2.8 and 2.18) on the peer's initiative; ours is in [`super::create_child`].
//!
//! A request is judged, answered, and comes to a draft: an SA that is agreed on. Without an additional key exchange the
//! SA is made at once, the child before the answer leaves and the IKE SA after it; with one, the draft waits
//! ([`super::followup`]).

use super::child::{self, Busy};
use super::create_child::Rival;
use super::established::{Established, Request, Task};
use super::followup::{ChildDraft, Draft, IkeDraft, Seed};
use super::initial::algorithms;
use super::{Base, Ctx, Effect, State};
use crate::crypto::{self, KeMethod, Secret};
use crate::message::{Body, ExchangeType};
use crate::payload::notify::NotifyType;
use crate::payload::sa as sa_payload;
use crate::payload::{Builder, PayloadType};
use crate::proposal::IkeProposal;

/// More child SAs than this under one IKE SA are refused, besides those that are bound to resources.
const MAX_CHILDREN: usize = 16;

/// A refusal: an error notification with its data, or with the ESP SPI it concerns.
struct Refuse {
    kind: NotifyType,
    data: Vec<u8>,
    spi: Option<u32>,
}

impl From<NotifyType> for Refuse {
    fn from(kind: NotifyType) -> Self {
        Self { kind, data: Vec::new(), spi: None }
    }
}

impl Established {
    /// Answers a CREATE_CHILD_SA request.
    pub fn create(&mut self, base: &mut Base, ctx: &mut Ctx<'_>, body: &Body<'_>) {
        let rekey = body.notify(NotifyType::REKEY_SA);
        let ike = rekey.is_none() && body.sa.iter().flatten().any(|p| p.protocol == sa_payload::PROTO_IKE);
        let mut chain = Builder::new();
        let mut drafted = None;
        let outcome = match rekey {
            _ if ike => self.accept_rekey_ike(ctx, body, &mut chain).map(|draft| drafted = Some(draft)),
            Some(notify) => match notify.esp_spi() {
                Some(spi_out) => self.accept_child(base, ctx, body, &mut chain, Some(spi_out)),
                None => Err(NotifyType::INVALID_SYNTAX.into()),
            },
            None => self.accept_child(base, ctx, body, &mut chain, None),
        };
        if let Err(Refuse { kind, data, spi }) = outcome {
            chain = Builder::new();
            match spi {
                Some(spi) => chain.notify_esp(kind, spi),
                None => chain.notify(kind, &data),
            };
        }
        let followed = drafted.take_if(|draft| draft.suite.addke1.is_some());
        if let Some(draft) = followed {
            let lowest_nonce = draft.seed.lowest().to_vec();
            if let Request::RekeyIke(own) = &mut self.request {
                own.rival = Some(Rival { made: None, lowest_nonce });
            }
            // Another rekey of the same SA: the peer has given up the one before.
            self.drop_awaited(base, ctx, Draft::is_ike);
            self.await_followup(ctx, &mut chain, Draft::Ike(draft));
        }
        base.answer(ctx, &mut self.channel, ExchangeType::CREATE_CHILD_SA, &chain);
        // The answer leaves under the old SA before the new one speaks.
        if let Some(draft) = drafted {
            self.adopt_rekeyed(base, ctx, &draft, None);
        }
    }

    /// The peer's rekey of this IKE SA comes to its end: the new one takes over, or waits until it is known whether our
    /// own rekey loses.
    pub fn adopt_rekeyed(&mut self, base: &Base, ctx: &mut Ctx<'_>, draft: &IkeDraft, additional: Option<&Secret>) {
        let mut sa = self.successor(base, ctx, draft, additional, false);
        let Request::RekeyIke(own) = &mut self.request else { return self.move_into(ctx, sa) };
        own.rival = Some(Rival { made: Some(sa.base.spi), lowest_nonce: draft.seed.lowest().to_vec() });
        if let State::Established(new) = &mut sa.state {
            new.superseded = true;
            new.inherits = Some(base.spi);
            new.expires_at = Some(ctx.now + ctx.policy.config.timers.patience() * 2);
        }
        ctx.effects.push(Effect::Adopt { sa, current: false });
    }

    /// The responder's share of a key exchange that `suite` asks for.
    fn respond_ke(body: &Body<'_>, method: u16) -> Result<(Vec<u8>, Secret), Refuse> {
        let wrong = || Refuse { kind: NotifyType::INVALID_KE_PAYLOAD, data: method.to_be_bytes().to_vec(), spi: None };
        let ke = body.ke.filter(|ke| ke.method == method).ok_or_else(wrong)?;
        let kind = KeMethod::from_id(method).ok_or(NotifyType::NO_PROPOSAL_CHOSEN)?;
        crypto::respond(kind, ke.data).map_err(|_| NotifyType::INVALID_SYNTAX.into())
    }

    /// A new child SA, or one that replaces the one the peer receives on with `replaces`.
    fn accept_child(
        &mut self,
        base: &Base,
        ctx: &mut Ctx<'_>,
        body: &Body<'_>,
        chain: &mut Builder,
        replaces: Option<u32>,
    ) -> Result<(), Refuse> {
        // Section 2.25.2: no child SAs while this IKE SA is being replaced or deleted.
        if self.superseded || self.closing.is_some() || self.rekeys_ike() {
            return Err(NotifyType::TEMPORARY_FAILURE.into());
        }
        let old = match replaces {
            None => None,
            Some(spi_out) => match self.children.iter().find(|c| c.spi_out == spi_out) {
                // Section 2.25.1.
                None => {
                    return Err(Refuse { kind: NotifyType::CHILD_SA_NOT_FOUND, data: vec![], spi: Some(spi_out) });
                }
                Some(child) if child.busy == Busy::Deleting || self.follows_up(child.spi_in) => {
                    return Err(NotifyType::TEMPORARY_FAILURE.into());
                }
                Some(child) => Some(child.spi_in),
            },
        };
        let resource = match old {
            // RFC 9611, section 3: whether or not the peer repeats it.
            Some(old) => self.children.iter().find(|c| c.spi_in == old).and_then(|c| c.resource.clone()),
            None => self.bind(ctx, body)?,
        };
        if self.children.len() + self.awaited.len() >= MAX_CHILDREN + self.resources.room() {
            return Err(NotifyType::NO_ADDITIONAL_SAS.into());
        }
        let (prf, peer) = self.prf().zip(base.peer).ok_or(NotifyType::NO_PROPOSAL_CHOSEN)?;
        let ni = body.nonce.ok_or(NotifyType::INVALID_SYNTAX)?.to_vec();
        let proposals = self.pad.rekey_esp_proposals();
        let accepted = child::accept(body, &self.pad.child, &proposals, base, self.channel.nat, true)?;
        if old.is_none() && resource.is_some() && !self.children.iter().any(|c| accepted.is_like(c)) {
            return Err(NotifyType::NO_PROPOSAL_CHOSEN.into());
        }
        let suite = accepted.suite;
        let exchanged = suite.ke.map(|method| Self::respond_ke(body, method)).transpose()?;
        let bound = resource.as_ref().map(|r| r.id);
        let spi_in = (ctx.spis)(peer, bound).ok_or(NotifyType::NO_ADDITIONAL_SAS)?;
        let nr = ctx.nonce();
        if let (Some(id), None) = (bound, old) {
            chain.notify(NotifyType::SA_RESOURCE_INFO, &id.to_be_bytes());
        }
        accepted.answer_sa(chain, spi_in);
        chain.raw(PayloadType::NONCE, &nr);
        if let (Some((public, _)), Some(method)) = (&exchanged, suite.ke) {
            chain.ke(method, public);
        }
        accepted.answer_ts(chain);
        let shared = exchanged.map_or_else(Secret::default, |(_, secret)| secret);
        let seed = Seed { shared, ni, nr };
        if let Some(old) = old {
            match &mut self.request {
                Request::RekeyChild(own) if own.old == old => own.rival = Some(seed.lowest().to_vec()),
                _ => {
                    self.tasks.retain(|t| *t != Task::RekeyChild(old));
                    if let Some(child) = self.child_mut(old) {
                        child.busy = Busy::No;
                        child.rekey_at = None;
                    }
                }
            }
            // Another rekey of the same SA: the peer has given up the one before.
            self.drop_awaited(base, ctx, |draft| draft.replaces(old));
        }
        let mut agreement = accepted.agree(spi_in);
        agreement.follow(&self.pad.child, base.path(), self.home(base));
        // What is bound to a resource that has a child SA already is there for the peer to send on.
        let select = old.is_none() && bound.is_none_or(|id| !self.serves(id));
        let draft = ChildDraft { peer, prf, agreement, replaces: old, resource, seed };
        if suite.addke1.is_some() {
            self.await_followup(ctx, chain, Draft::Child(draft));
        } else {
            // The peer switches when it has our answer and deletes the old one then; that tells us to switch.
            self.install_child(base, ctx, draft, None, select);
        }
        Ok(())
    }

    /// A new IKE SA in place of this one.
    fn accept_rekey_ike(
        &mut self,
        ctx: &mut Ctx<'_>,
        body: &Body<'_>,
        chain: &mut Builder,
    ) -> Result<IkeDraft, Refuse> {
        if !self.replaceable() {
            return Err(NotifyType::TEMPORARY_FAILURE.into());
        }
        let (Some(offered), Some(ke), Some(ni)) = (&body.sa, body.ke, body.nonce) else {
            return Err(NotifyType::INVALID_SYNTAX.into());
        };
        let proposals = self.pad.proposals();
        let (suite, chosen) =
            IkeProposal::choose(&proposals, offered, Some(ke.method)).ok_or(NotifyType::NO_PROPOSAL_CHOSEN)?;
        let peer_spi = chosen.ike_spi().ok_or(NotifyType::INVALID_SYNTAX)?;
        let (public, shared) = Self::respond_ke(body, suite.ke)?;
        let ((prf, sk, _), old) = algorithms(&suite).zip(self.prf()).ok_or(NotifyType::NO_PROPOSAL_CHOSEN)?;
        let (spi, nr) = (ctx.ike_spi(), ctx.nonce());
        let chosen = sa_payload::Proposal { spi: spi.to_be_bytes().to_vec(), ..chosen };
        chain.push(PayloadType::SA, |out| sa_payload::emit(std::slice::from_ref(&chosen), out));
        chain.raw(PayloadType::NONCE, &nr);
        chain.ke(suite.ke, &public);
        let seed = Seed { shared, ni: ni.to_vec(), nr };
        Ok(IkeDraft { suite, algorithms: (prf, sk), old, spis: (peer_spi, spi), seed })
    }

    /// Whether the peer may replace this IKE SA now. Section 2.25.2: not while we create, rekey or delete anything under
    /// it, nor when it is going.
    pub fn replaceable(&self) -> bool {
        let busy = match &self.request {
            Request::RekeyChild(_)
            | Request::AddChild(_)
            | Request::Followup(_)
            | Request::DeleteChild(..)
            | Request::DeleteIke => true,
            Request::None | Request::Dpd | Request::RekeyIke(_) | Request::Update(_) | Request::Probe(_) => false,
        };
        !busy && !self.superseded && self.closing.is_none()
    }
}

//! CREATE_CHILD_SA (RFC 7296, sections 1.3, 2.8 and 2.18) on our initiative: rekeying of child SAs and of the IKE SA.
//! What the peer begins is in [`super::accept`]; what more child SAs there may be, in [`super::resource`].
//!
//! ```text
//!   rekey a child:  HDR, SK { N(REKEY_SA), SA, Ni, [KEi,] TSi, TSr }  -->
//!                                       <--  HDR, SK { SA, Nr, [KEr,] TSi, TSr [, N(ADDITIONAL_KEY_EXCHANGE)] }
//!   rekey the IKE SA:       HDR, SK { SA, Ni, KEi }  -->
//!                                       <--  HDR, SK { SA, Nr, KEr [, N(ADDITIONAL_KEY_EXCHANGE)] }
//! ```
//!
//! What the exchange agrees on is a draft; with an additional key exchange ([`super::followup`]) it becomes an SA only
//! after that, otherwise at once.
//!
//! After a rekey the *initiator of the exchange that stands* deletes the old SA. When both ends rekey the same SA at
//! once, the exchange that holds the lowest of the four nonces loses, and who began it deletes what came of it, or goes
//! no further. What collides otherwise is refused with TEMPORARY_FAILURE or CHILD_SA_NOT_FOUND as section 2.25 lists.

use super::channel::Channel;
use super::child::{self, Busy, Material, Terms};
use super::established::{Established, Request};
use super::followup::{ChildDraft, Draft, IkeDraft, Seed};
use super::initial::algorithms;
use super::window::Window;
use super::{Base, Ctx, Effect, Sa, State};
use crate::config::Mode;
use crate::crypto::{KeMethod, KeyExchange, Prf, Secret};
use crate::error::Failure;
use crate::event::{ChildDownReason, DownReason, Meta, Resource};
use crate::message::{Body, ExchangeType};
use crate::payload::notify::NotifyType;
use crate::payload::sa as sa_payload;
use crate::payload::{Builder, PayloadType};
use crate::proposal::{EspProposal, IkeProposal, ke};

/// How often INVALID_KE_PAYLOAD makes us try another method.
const MAX_RESTARTS: u8 = 3;

/// A child SA that a request of ours asks for.
#[derive(Debug)]
pub(crate) struct Offered {
    /// Our SPI.
    pub spi_in: u32,
    nonce: Vec<u8>,
    exchange: Option<(u16, KeyExchange)>,
    mode: Mode,
    /// Whose addresses the selectors in the request name.
    path: Meta,
    restarts: u8,
}

/// The method of the key exchange that a request is repeated with, and how often it has been.
pub(crate) type Restart = (u16, u8);

/// Our rekey of a child SA is under way.
#[derive(Debug)]
pub(crate) struct RekeyChild {
    pub old: u32,
    pub offered: Offered,
    /// The lower nonce of the peer's rekey of the same SA.
    pub rival: Option<Vec<u8>>,
}

/// Our rekey of the IKE SA is under way.
#[derive(Debug)]
pub(crate) struct RekeyIke {
    spi: u64,
    nonce: Vec<u8>,
    method: u16,
    exchange: KeyExchange,
    restarts: u8,
    pub rival: Option<Rival>,
}

/// The peer's rekey of the same IKE SA.
#[derive(Debug)]
pub(crate) struct Rival {
    /// The IKE SA that came of it; none while its additional key exchange is to come.
    pub made: Option<u64>,
    pub lowest_nonce: Vec<u8>,
}

/// A method that the peer names in INVALID_KE_PAYLOAD.
fn wanted_method(body: &Body<'_>) -> Option<u16> {
    let data = body.notify(NotifyType::INVALID_KE_PAYLOAD)?.data;
    Some(u16::from_be_bytes(data.try_into().ok()?))
}

impl Established {
    /// The PRF of this IKE SA.
    pub fn prf(&self) -> Option<Prf> {
        Prf::from_id(self.channel.suite.prf)
    }

    /// What we offer for a rekeyed IKE SA: hybrid proposals where the peer has shown that it takes them.
    fn ike_offers(&self) -> Vec<IkeProposal> {
        if self.channel.suite.addke1.is_some() {
            return self.pad.proposals();
        }
        let plain = |p: &IkeProposal| IkeProposal { addke1: Vec::new(), ..p.clone() };
        self.pad.ike_proposals.iter().map(plain).collect()
    }

    /// What we offer for a rekeyed child SA, likewise.
    fn esp_offers(&self, with_ke: bool) -> Vec<EspProposal> {
        if with_ke && self.channel.suite.addke1.is_some() {
            return self.pad.rekey_esp_proposals();
        }
        let suited = |p: &&EspProposal| with_ke || p.ke.is_empty() || p.ke.contains(&ke::NONE);
        self.pad.child.esp_proposals.iter().filter(suited).cloned().collect()
    }

    /// Asks for a child SA like the one we receive on with `like`; `about` says in the request what it is for. `None`: there
    /// is nothing to ask with now.
    pub fn offer_child(
        &mut self,
        base: &mut Base,
        ctx: &mut Ctx<'_>,
        like: u32,
        resource: Option<u32>,
        about: impl FnOnce(&mut Builder),
        restart: Option<Restart>,
    ) -> Option<Offered> {
        let first = self.pad.child.esp_proposals.first();
        let preferred = first.and_then(|p| p.ke.first().copied()).filter(|&id| id != ke::NONE);
        let method = restart.map(|(method, _)| method).or(preferred);
        let proposals = self.esp_offers(method.is_some());
        let path = self.home(base);
        let child = self.children.iter().find(|c| c.spi_in == like)?;
        let exchange = match method {
            Some(id) => Some((id, KeyExchange::initiate(KeMethod::from_id(id)?).ok()?)),
            None => None,
        };
        let spi_in = (ctx.spis)(base.peer?, resource)?;
        let (mode, nonce) = (child.mode, ctx.nonce());
        let mut chain = Builder::new();
        about(&mut chain);
        let public = exchange.as_ref().map(|(id, (_, public))| (*id, public));
        let between = |chain: &mut Builder| {
            chain.raw(PayloadType::NONCE, &nonce);
            if let Some((id, public)) = public {
                chain.ke(id, public);
            }
        };
        child::offer(&mut chain, &proposals, spi_in, method, between, (&child.local_ts, &child.remote_ts), mode);
        base.request(ctx, &mut self.channel, ExchangeType::CREATE_CHILD_SA, &chain);
        let exchange = exchange.map(|(id, (exchange, _))| (id, exchange));
        Some(Offered { spi_in, nonce, exchange, mode, path, restarts: restart.map_or(0, |(_, n)| n) })
    }

    /// With what to repeat a request that the peer refused for its key exchange.
    pub fn restart(&self, offered: &Offered, body: &Body<'_>) -> Option<Restart> {
        let (method, restarts) = (wanted_method(body)?, offered.restarts + 1);
        let ours = self.pad.child.esp_proposals.iter().any(|p| p.ke.contains(&method));
        (restarts <= MAX_RESTARTS && ours).then_some((method, restarts))
    }

    /// Sends the rekey of a child SA, with another key exchange method when the peer asked for it.
    pub fn start_rekey_child(&mut self, base: &mut Base, ctx: &mut Ctx<'_>, old: u32, restart: Option<Restart>) {
        let Some(child) = self.child_mut(old) else { return };
        child.busy = Busy::Rekeying;
        let resource = child.resource.as_ref().map(|r| r.id);
        let about = |chain: &mut Builder| _ = chain.notify_esp(NotifyType::REKEY_SA, old);
        if let Some(offered) = self.offer_child(base, ctx, old, resource, about, restart) {
            self.request = Request::RekeyChild(Box::new(RekeyChild { old, offered, rival: None }));
        } else if let Some(child) = self.child_mut(old) {
            child.busy = Busy::No;
            child.rekey_at = Some(ctx.now + ctx.policy.config.timers.retry);
        }
    }

    /// Handles the answer to the rekey of a child SA.
    pub fn finish_rekey_child(&mut self, base: &mut Base, ctx: &mut Ctx<'_>, mut rekey: RekeyChild, body: &Body<'_>) {
        let (old, new, rival) = (rekey.old, rekey.offered.spi_in, rekey.rival.take());
        if let Some(error) = body.error() {
            base.unused_spi(ctx, new);
            let child = self.child_mut(old).filter(|c| c.busy == Busy::Rekeying);
            if let Some(child) = child {
                child.busy = Busy::No;
            }
            match (error.kind, self.restart(&rekey.offered, body)) {
                // The peer's own rekey stands.
                _ if rival.is_some() => self.rekey_child_later(ctx, old),
                (NotifyType::CHILD_SA_NOT_FOUND, _) => self.remove_child(base, ctx, old, ChildDownReason::Lost),
                (NotifyType::INVALID_KE_PAYLOAD, Some(restart)) => {
                    self.start_rekey_child(base, ctx, old, Some(restart))
                }
                _ => self.rekey_child_later(ctx, old),
            }
            return;
        }
        let resource = self.child_mut(old).and_then(|c| c.resource.clone());
        match self.conclude_child(base, rekey.offered, body, Some(old), resource) {
            Ok(draft) => {
                let lost = rival.is_some_and(|lowest| draft.seed.lowest() < &lowest[..]);
                if !lost {
                    self.drop_awaited(base, ctx, |draft| draft.replaces(old));
                }
                match draft.agreement.suite.addke1 {
                    // RFC 9370, section 2.2.4: there is nothing to delete yet, the loser just stops.
                    Some(_) if lost => self.abandon(base, ctx, Draft::Child(draft), None),
                    Some(method) => self.start_followup(base, ctx, method, body, Draft::Child(draft), None),
                    None => self.complete_child(base, ctx, draft, None, lost),
                }
            }
            Err(_) => {
                // The peer has a pair that we do not.
                self.delete_unmade(new);
                self.child_not_rekeyed(ctx, old);
            }
        }
    }

    /// Our rekey of a child SA failed.
    pub fn child_not_rekeyed(&mut self, ctx: &Ctx<'_>, old: u32) {
        if let Some(child) = self.child_mut(old) {
            child.busy = Busy::No;
        }
        self.rekey_child_later(ctx, old);
    }

    /// Tries again after a while, unless the peer has rekeyed the child SA or is about to.
    pub fn rekey_child_later(&mut self, ctx: &Ctx<'_>, spi_in: u32) {
        let at = ctx.now + ctx.policy.config.timers.retry;
        if self.awaits_child(spi_in) || self.children.iter().any(|c| c.replaces == Some(spi_in)) {
            return;
        }
        if let Some(child) = self.child_mut(spi_in) {
            child.rekey_at = Some(at);
        }
    }

    /// What the answer to a request for a child SA agrees to.
    pub fn conclude_child(
        &self,
        base: &Base,
        offered: Offered,
        body: &Body<'_>,
        replaces: Option<u32>,
        resource: Option<Resource>,
    ) -> Result<ChildDraft, Failure> {
        let (prf, peer) = self.prf().zip(base.peer).ok_or(Failure::NoProposal)?;
        let nr = body.nonce.ok_or(Failure::Protocol("no nonce"))?.to_vec();
        let nat = self.channel.nat;
        let Offered { spi_in, nonce, exchange, mode, path, .. } = offered;
        let with_ke = exchange.is_some();
        let proposals = self.esp_offers(with_ke);
        let mut agreement = child::conclude(body, &self.pad.child, &proposals, path, nat, spi_in, mode, with_ke)?;
        agreement.follow(&self.pad.child, path, self.home(base));
        let shared = match (exchange, body.ke) {
            (Some((id, exchange)), Some(ke)) if ke.method == id && agreement.suite.ke == Some(id) => {
                exchange.finish(ke.data).map_err(|_| Failure::Crypto("key exchange"))?
            }
            (_, None) if agreement.suite.ke.is_none() && agreement.suite.addke1.is_none() => Secret::default(),
            _ => return Err(Failure::Protocol("key exchange of a child SA")),
        };
        let seed = Seed { shared, ni: nonce, nr };
        Ok(ChildDraft { peer, prf, agreement, replaces, resource, seed })
    }

    /// Our exchange comes to its end: the new pair is there. Section 2.8.1: whoever began the exchange that stands deletes
    /// the old SA, if it was a rekey; the loser deletes its own.
    pub fn complete_child(
        &mut self,
        base: &Base,
        ctx: &mut Ctx<'_>,
        draft: ChildDraft,
        additional: Option<&Secret>,
        lost: bool,
    ) {
        let (old, new) = (draft.replaces, draft.agreement.spi_in);
        self.install_child(base, ctx, draft, additional, !lost);
        let gone = if lost { Some(new) } else { old };
        if lost && let Some(child) = old.and_then(|old| self.child_mut(old)) {
            child.busy = Busy::No;
        }
        if let Some(gone) = gone {
            self.queue_delete(gone, ChildDownReason::Rekeyed);
        }
    }

    /// Makes the child SA of a draft. `additional` is the secret of its additional key exchange.
    pub fn install_child(
        &mut self,
        base: &Base,
        ctx: &mut Ctx<'_>,
        draft: ChildDraft,
        additional: Option<&Secret>,
        select: bool,
    ) {
        let ChildDraft { peer, prf, agreement, replaces, resource, seed } = draft;
        if let Some(resource) = &resource {
            self.resources.made(resource.id);
        }
        let shared = seed.secrets(additional);
        let material = Material { prf, keys: &self.channel.keys, shared: &shared, ni: &seed.ni, nr: &seed.nr };
        let (nat, lifetime) = (self.channel.nat, self.pad.child.rekey_after);
        let path = self.home(base);
        let terms = Terms { peer, path, nat, lifetime, replaces, resource, select };
        let child = agreement.install(base, ctx, terms, &material);
        self.children.push(child);
    }

    /// Sends the rekey of this IKE SA.
    pub fn start_rekey_ike(&mut self, base: &mut Base, ctx: &mut Ctx<'_>, retry: Option<(u16, u8)>) {
        if self.superseded {
            return;
        }
        let proposals = self.ike_offers();
        let method = retry.map_or(self.channel.suite.ke, |(method, _)| method);
        let Some((exchange, public)) = KeMethod::from_id(method).and_then(|m| KeyExchange::initiate(m).ok()) else {
            self.rekey_at = Some(ctx.now + ctx.policy.config.timers.retry);
            return;
        };
        let (spi, nonce) = (ctx.ike_spi(), ctx.nonce());
        let offers: Vec<_> = (1..=255).zip(&proposals).map(|(n, p)| p.offer(n, &spi.to_be_bytes())).collect();
        let mut chain = Builder::new();
        chain.push(PayloadType::SA, |out| sa_payload::emit(&offers, out));
        chain.raw(PayloadType::NONCE, &nonce);
        chain.ke(method, &public);
        base.request(ctx, &mut self.channel, ExchangeType::CREATE_CHILD_SA, &chain);
        let restarts = retry.map_or(0, |(_, n)| n);
        self.request = Request::RekeyIke(Box::new(RekeyIke { spi, nonce, method, exchange, restarts, rival: None }));
    }

    /// Handles the answer to the rekey of this IKE SA.
    pub fn finish_rekey_ike(&mut self, base: &mut Base, ctx: &mut Ctx<'_>, mut rekey: RekeyIke, body: &Body<'_>) {
        let rival = rekey.rival.take();
        let restarts = rekey.restarts + 1;
        if let (Some(method), None) = (wanted_method(body), &rival)
            && restarts <= MAX_RESTARTS
            && self.ike_offers().iter().any(|p| p.ke.contains(&method))
        {
            self.start_rekey_ike(base, ctx, Some((method, restarts)));
            return;
        }
        let Ok(draft) = self.conclude_rekey_ike(rekey, body) else {
            return self.leave_to(base, ctx, rival.and_then(|rival| rival.made));
        };
        let made = rival.as_ref().and_then(|rival| rival.made);
        let lost = self.superseded || rival.as_ref().is_some_and(|r| draft.seed.lowest() < &r.lowest_nonce[..]);
        match (draft.suite.addke1, lost) {
            // RFC 9370, section 2.2.4: there is nothing to delete yet, the loser just stops.
            (Some(_), true) => self.leave_to(base, ctx, made),
            (Some(method), false) => {
                self.drop_awaited(base, ctx, Draft::is_ike);
                self.start_followup(base, ctx, method, body, Draft::Ike(draft), made);
            }
            (None, true) => {
                // Delete what came of ours, and leave the old SA to the peer.
                let mut sa = self.successor(base, ctx, &draft, None, true);
                if let State::Established(new) = &mut sa.state {
                    new.superseded = true;
                    new.queue_close(DownReason::Closed);
                    new.pump(&mut sa.base, ctx);
                }
                ctx.effects.push(Effect::Adopt { sa, current: false });
                self.leave_to(base, ctx, made);
            }
            (None, false) => self.complete_rekey_ike(base, ctx, &draft, None),
        }
    }

    /// Our rekey of this IKE SA comes to its end: the new one takes over, and this one is deleted.
    pub fn complete_rekey_ike(
        &mut self,
        base: &Base,
        ctx: &mut Ctx<'_>,
        draft: &IkeDraft,
        additional: Option<&Secret>,
    ) {
        self.drop_awaited(base, ctx, Draft::is_ike);
        let sa = self.successor(base, ctx, draft, additional, true);
        self.move_into(ctx, sa);
        self.queue_close(DownReason::Closed);
    }

    /// Our own rekey of this IKE SA came to nothing, or lost: what the peer's has `made` takes over, and while there is
    /// none we try again later.
    pub fn leave_to(&mut self, base: &Base, ctx: &mut Ctx<'_>, made: Option<u64>) {
        match made {
            Some(spi) => self.succeed(base, ctx, spi),
            None if self.superseded || self.awaits_ike() => {}
            None => self.rekey_at = Some(ctx.now + ctx.policy.config.timers.retry),
        }
    }

    /// What the answer to the rekey of this IKE SA agrees to.
    fn conclude_rekey_ike(&self, rekey: RekeyIke, body: &Body<'_>) -> Result<IkeDraft, Failure> {
        if let Some(error) = body.error() {
            return Err(Failure::Notified(error.kind));
        }
        let (Some(chosen), Some(ke), Some(nr)) = (&body.sa, body.ke, body.nonce) else {
            return Err(Failure::Protocol("incomplete answer"));
        };
        let [chosen] = &chosen[..] else { return Err(Failure::Protocol("not one proposal chosen")) };
        let (suite, exact) = IkeProposal::choose(&self.ike_offers(), std::slice::from_ref(chosen), Some(ke.method))
            .ok_or(Failure::NoProposal)?;
        let peer_spi = chosen.ike_spi().ok_or(Failure::Protocol("IKE SPI"))?;
        if exact.transforms.len() != chosen.transforms.len() || suite.ke != rekey.method || ke.method != rekey.method {
            return Err(Failure::NoProposal);
        }
        let shared = rekey.exchange.finish(ke.data).map_err(|_| Failure::Crypto("key exchange"))?;
        let ((prf, sk, _), old) = algorithms(&suite).zip(self.prf()).ok_or(Failure::NoProposal)?;
        let seed = Seed { shared, ni: rekey.nonce, nr: nr.to_vec() };
        Ok(IkeDraft { suite, algorithms: (prf, sk), old, spis: (rekey.spi, peer_spi), seed })
    }

    /// The IKE SA of a draft. We have begun the exchange that makes it when `initiator`; `additional` is the secret of
    /// its additional key exchange.
    pub fn successor(
        &self,
        old: &Base,
        ctx: &mut Ctx<'_>,
        draft: &IkeDraft,
        additional: Option<&Secret>,
        initiator: bool,
    ) -> Box<Sa> {
        let IkeDraft { suite, algorithms, spis, seed, .. } = draft;
        let nonces = (&seed.ni[..], &seed.nr[..]);
        let keys = self.channel.keys.rekey(draft.old, *algorithms, &seed.secrets(additional), nonces, *spis);
        let (fragmentation, nat) = (self.channel.fragmentation, self.channel.nat);
        let mut channel = Channel::new(*suite, algorithms.1, keys, initiator, fragmentation, nat);
        (channel.found, channel.mobike) = (self.channel.found, self.channel.mobike);
        let (spi, peer_spi) = if initiator { *spis } else { (spis.1, spis.0) };
        let base = Base {
            spi,
            peer_spi,
            initiator,
            local: old.local,
            remote: old.remote,
            asked: old.path(),
            peer: old.peer,
            window: Window::default(),
            created: ctx.now,
            deadline: None,
            origin: None,
        };
        let mut established = Self::new(ctx, channel, self.pad.clone(), self.remote.clone());
        established.replaces = Some(old.spi);
        Box::new(Sa { base, state: State::Established(Box::new(established)) })
    }

    /// Moves child SAs and what is to be done about them to `sa`, which becomes the peer's current IKE SA.
    pub fn move_into(&mut self, ctx: &mut Ctx<'_>, mut sa: Box<Sa>) {
        if let State::Established(new) = &mut sa.state {
            let path = sa.base.path();
            new.inherit(&mut sa.base, ctx, self.hand_over(path));
            new.pump(&mut sa.base, ctx);
        }
        self.expires_at = Some(ctx.now + ctx.policy.config.timers.patience());
        ctx.effects.push(Effect::Adopt { sa, current: true });
    }
}

//! CREATE_CHILD_SA (RFC 7296, sections 1.3, 2.8 and 2.18): rekeying of child SAs and of the IKE SA, and more child SAs.
//!
//! ```text
//!   rekey a child:  HDR, SK { N(REKEY_SA), SA, Ni, [KEi,] TSi, TSr }  -->
//!                                       <--  HDR, SK { SA, Nr, [KEr,] TSi, TSr }
//!   rekey the IKE SA:       HDR, SK { SA, Ni, KEi }  -->
//!                                       <--  HDR, SK { SA, Nr, KEr }
//! ```
//!
//! After a rekey the *initiator of the exchange that stands* deletes the old SA. When both ends rekey the same SA at
//! once, two successors come up; the exchange that holds the lowest of the four nonces loses, and who began it deletes
//! what came of it. What collides otherwise is refused with TEMPORARY_FAILURE or CHILD_SA_NOT_FOUND as section 2.25
//! lists.

use super::channel::Channel;
use super::child::{self, Busy, Material, Terms};
use super::established::{Established, Request, Rival, Task};
use super::initial::algorithms;
use super::window::Window;
use super::{Base, Ctx, Effect, Sa, State};
use crate::config::Mode;
use crate::crypto::{self, KeMethod, KeyExchange, Prf};
use crate::error::Failure;
use crate::event::{ChildDownReason, DownReason};
use crate::message::{Body, ExchangeType};
use crate::payload::notify::NotifyType;
use crate::payload::sa as sa_payload;
use crate::payload::{Builder, PayloadType};
use crate::proposal::{IkeProposal, IkeSuite, ke};

/// More child SAs than this under one IKE SA are refused.
const MAX_CHILDREN: usize = 16;
/// How often INVALID_KE_PAYLOAD makes us try another method.
const MAX_RESTARTS: u8 = 3;

/// Our rekey of a child SA is under way.
#[derive(Debug)]
pub(crate) struct RekeyChild {
    old: u32,
    /// Our SPI.
    pub new: u32,
    nonce: Vec<u8>,
    exchange: Option<(u16, KeyExchange)>,
    mode: Mode,
    restarts: u8,
    rival: Option<Rival<u32>>,
}

/// Our rekey of the IKE SA is under way.
#[derive(Debug)]
pub(crate) struct RekeyIke {
    spi: u64,
    nonce: Vec<u8>,
    method: u16,
    exchange: KeyExchange,
    restarts: u8,
    pub rival: Option<Rival<u64>>,
}

fn lowest<'a>(a: &'a [u8], b: &'a [u8]) -> &'a [u8] {
    a.min(b)
}

/// A method that the peer names in INVALID_KE_PAYLOAD.
fn wanted_method(body: &Body<'_>) -> Option<u16> {
    let data = body.notify(NotifyType::INVALID_KE_PAYLOAD)?.data;
    Some(u16::from_be_bytes(data.try_into().ok()?))
}

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

/// Proposals for a rekeyed IKE SA. SK_d, and with it every later key, already depends on the additional key exchange of
/// the initial exchanges, so it is not repeated.
fn rekey_proposals(established: &Established) -> Vec<IkeProposal> {
    let plain = |p: &IkeProposal| IkeProposal { addke1: Vec::new(), ..p.clone() };
    established.pad.ike_proposals.iter().map(plain).collect()
}

impl Established {
    fn prf(&self) -> Option<Prf> {
        Prf::from_id(self.channel.suite.prf)
    }

    // --- our requests ---

    /// Sends the rekey of a child SA, with another key exchange method when the peer asked for it.
    pub fn start_rekey_child(&mut self, base: &mut Base, ctx: &mut Ctx<'_>, old: u32, retry: Option<(u16, u8)>) {
        let policy = self.pad.child.clone();
        if !self.children.iter().any(|c| c.spi_in == old) {
            return;
        }
        let (Some(child), Some(peer)) = (self.child_mut(old), base.peer) else { return };
        let preferred = policy.esp_proposals.first().and_then(|p| p.ke.first().copied()).filter(|&id| id != ke::NONE);
        let method = retry.map(|(method, _)| method).or(preferred);
        let exchange = method.and_then(|id| Some((id, KeyExchange::initiate(KeMethod::from_id(id)?).ok()?)));
        let new = if exchange.is_some() == method.is_some() { (ctx.spis)(peer) } else { None };
        let Some(new) = new else {
            child.busy = Busy::No;
            child.rekey_at = Some(ctx.now + ctx.policy.config.timers.retry);
            return;
        };
        child.busy = Busy::Rekeying;
        let (mode, spi_in) = (child.mode, child.spi_in);
        let (ts_i, ts_r) = (child.local_ts.clone(), child.remote_ts.clone());
        let nonce = ctx.nonce();
        let mut chain = Builder::new();
        chain.notify_esp(NotifyType::REKEY_SA, spi_in);
        let public = exchange.as_ref().map(|(id, (_, public))| (*id, public));
        let between = |chain: &mut Builder| {
            chain.raw(PayloadType::NONCE, &nonce);
            if let Some((id, public)) = public {
                chain.ke(id, public);
            }
        };
        child::offer(&mut chain, &policy, new, method, between, (&ts_i, &ts_r), mode);
        base.request(ctx, &mut self.channel, ExchangeType::CREATE_CHILD_SA, &chain);
        let exchange = exchange.map(|(id, (exchange, _))| (id, exchange));
        let restarts = retry.map_or(0, |(_, n)| n);
        self.request =
            Request::RekeyChild(Box::new(RekeyChild { old, new, nonce, exchange, mode, restarts, rival: None }));
    }

    /// Handles the answer to the rekey of a child SA.
    pub fn finish_rekey_child(&mut self, base: &mut Base, ctx: &mut Ctx<'_>, rekey: RekeyChild, body: &Body<'_>) {
        let (old, new, rival) = (rekey.old, rekey.new, rekey.rival.is_some());
        if let Some(error) = body.error() {
            base.unused_spi(ctx, new);
            if let Some(child) = self.child_mut(old).filter(|c| c.busy == Busy::Rekeying) {
                child.busy = Busy::No;
            }
            // The peer's own rekey stands.
            if rival {
                return;
            }
            let restarts = rekey.restarts + 1;
            match (error.kind, wanted_method(body)) {
                (NotifyType::CHILD_SA_NOT_FOUND, _) => self.remove_child(base, ctx, old, ChildDownReason::Lost),
                (NotifyType::INVALID_KE_PAYLOAD, Some(method))
                    if restarts <= MAX_RESTARTS
                        && self.pad.child.esp_proposals.iter().any(|p| p.ke.contains(&method)) =>
                {
                    self.start_rekey_child(base, ctx, old, Some((method, restarts)));
                }
                _ => self.rekey_child_later(ctx, old),
            }
            return;
        }
        match self.conclude_rekey_child(base, ctx, rekey, body) {
            Ok(lost) => {
                // Section 2.8.1: whoever began the exchange that stands deletes the old SA; the loser deletes its own.
                let (gone, reason) =
                    if lost { (new, ChildDownReason::Rekeyed) } else { (old, ChildDownReason::Rekeyed) };
                if lost && let Some(child) = self.child_mut(old) {
                    child.busy = Busy::No;
                }
                self.queue_delete(gone, reason);
            }
            Err(_) => {
                // The peer has a pair that we do not.
                self.delete_unmade(new);
                if let Some(child) = self.child_mut(old) {
                    child.busy = Busy::No;
                }
                self.rekey_child_later(ctx, old);
            }
        }
    }

    fn rekey_child_later(&mut self, ctx: &Ctx<'_>, spi_in: u32) {
        let at = ctx.now + ctx.policy.config.timers.retry;
        if let Some(child) = self.child_mut(spi_in) {
            child.rekey_at = Some(at);
        }
    }

    /// Installs the new pair; whether its exchange lost against the peer's.
    fn conclude_rekey_child(
        &mut self,
        base: &Base,
        ctx: &mut Ctx<'_>,
        rekey: RekeyChild,
        body: &Body<'_>,
    ) -> Result<bool, Failure> {
        let (prf, peer) = self.prf().zip(base.peer).ok_or(Failure::NoProposal)?;
        let nr = body.nonce.ok_or(Failure::Protocol("no nonce"))?;
        let nat = self.channel.nat;
        let with_ke = rekey.exchange.is_some();
        let agreement = child::conclude(body, &self.pad.child, base, nat, rekey.new, rekey.mode, with_ke)?;
        let shared = match (rekey.exchange, body.ke) {
            (Some((id, exchange)), Some(ke)) if ke.method == id && agreement.suite.ke == Some(id) => {
                Some(exchange.finish(ke.data).map_err(|_| Failure::Crypto("key exchange"))?)
            }
            (_, None) if agreement.suite.ke.is_none() => None,
            _ => return Err(Failure::Protocol("key exchange of a child SA")),
        };
        let shared = shared.as_ref().map_or(&[][..], |s| &s[..]);
        let lost = rekey.rival.is_some_and(|rival| lowest(&rekey.nonce, nr) < &rival.lowest_nonce[..]);
        let material = Material { prf, keys: &self.channel.keys, shared, ni: &rekey.nonce, nr };
        let lifetime = self.pad.child.rekey_after;
        let terms = Terms { peer, nat, lifetime, replaces: Some(rekey.old), select: !lost };
        let child = agreement.install(base, ctx, &terms, &material);
        self.children.push(child);
        Ok(lost)
    }

    /// Sends the rekey of this IKE SA.
    pub fn start_rekey_ike(&mut self, base: &mut Base, ctx: &mut Ctx<'_>, retry: Option<(u16, u8)>) {
        if self.superseded {
            return;
        }
        let proposals = rekey_proposals(self);
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
            && rekey_proposals(self).iter().any(|p| p.ke.contains(&method))
        {
            self.start_rekey_ike(base, ctx, Some((method, restarts)));
            return;
        }
        match (self.conclude_rekey_ike(base, ctx, rekey, body), rival) {
            (Ok((sa, low)), Some(rival)) if low < rival.lowest_nonce || self.superseded => {
                // Ours lost: delete what came of it, and leave the old SA to the peer.
                let mut sa = sa;
                if let State::Established(new) = &mut sa.state {
                    new.superseded = true;
                    new.queue_close(DownReason::Closed);
                    new.pump(&mut sa.base, ctx);
                }
                ctx.effects.push(Effect::Adopt { sa, current: false });
                self.succeed(base, ctx, rival.spi);
            }
            (Ok((sa, _)), _) => {
                self.move_into(ctx, sa);
                self.queue_close(DownReason::Closed);
            }
            (Err(_), Some(rival)) => self.succeed(base, ctx, rival.spi),
            (Err(_), None) => self.rekey_at = Some(ctx.now + ctx.policy.config.timers.retry),
        }
    }

    /// The new IKE SA, and the lower nonce of its exchange.
    fn conclude_rekey_ike(
        &self,
        base: &Base,
        ctx: &mut Ctx<'_>,
        rekey: RekeyIke,
        body: &Body<'_>,
    ) -> Result<(Box<Sa>, Vec<u8>), Failure> {
        if let Some(error) = body.error() {
            return Err(Failure::Notified(error.kind));
        }
        let (Some(chosen), Some(ke), Some(nr)) = (&body.sa, body.ke, body.nonce) else {
            return Err(Failure::Protocol("incomplete answer"));
        };
        let [chosen] = &chosen[..] else { return Err(Failure::Protocol("not one proposal chosen")) };
        let (suite, exact) = IkeProposal::choose(&rekey_proposals(self), std::slice::from_ref(chosen), Some(ke.method))
            .ok_or(Failure::NoProposal)?;
        let peer_spi = chosen.ike_spi().ok_or(Failure::Protocol("IKE SPI"))?;
        if exact.transforms.len() != chosen.transforms.len() || suite.ke != rekey.method || ke.method != rekey.method {
            return Err(Failure::NoProposal);
        }
        let shared = rekey.exchange.finish(ke.data).map_err(|_| Failure::Crypto("key exchange"))?;
        let spis = (rekey.spi, peer_spi);
        let low = lowest(&rekey.nonce, nr).to_vec();
        let sa =
            self.successor(base, ctx, suite, &shared, (&rekey.nonce, nr), spis, true).ok_or(Failure::NoProposal)?;
        Ok((sa, low))
    }

    /// A new IKE SA between the same ends. `spis` are (initiator's, responder's) of the exchange that makes it.
    #[allow(clippy::too_many_arguments)] // what section 2.18 derives from
    fn successor(
        &self,
        old: &Base,
        ctx: &mut Ctx<'_>,
        suite: IkeSuite,
        shared: &[u8],
        nonces: (&[u8], &[u8]),
        spis: (u64, u64),
        initiator: bool,
    ) -> Option<Box<Sa>> {
        let (prf, sk, _) = algorithms(&suite)?;
        let keys = self.channel.keys.rekey(self.prf()?, (prf, sk), &[shared], nonces, spis);
        let channel = Channel::new(suite, sk, keys, initiator, self.channel.fragmentation, self.channel.nat);
        let (spi, peer_spi) = if initiator { spis } else { (spis.1, spis.0) };
        let base = Base {
            spi,
            peer_spi,
            initiator,
            local: old.local,
            remote: old.remote,
            peer: old.peer,
            window: Window::default(),
            created: ctx.now,
            deadline: None,
            origin: None,
        };
        let established = Self::new(ctx, channel, self.pad.clone(), self.remote_id.clone());
        Some(Box::new(Sa { base, state: State::Established(Box::new(established)) }))
    }

    /// Moves child SAs and what is to be done about them to `sa`, which becomes the peer's current IKE SA.
    fn move_into(&mut self, ctx: &mut Ctx<'_>, mut sa: Box<Sa>) {
        if let State::Established(new) = &mut sa.state {
            new.inherit(self.hand_over());
            new.pump(&mut sa.base, ctx);
        }
        self.expires_at = Some(ctx.now + ctx.policy.config.timers.half_open * 2);
        ctx.effects.push(Effect::Adopt { sa, current: true });
    }

    // --- requests of the peer ---

    /// Answers a CREATE_CHILD_SA request.
    pub fn create(&mut self, base: &mut Base, ctx: &mut Ctx<'_>, body: &Body<'_>) {
        let rekey = body.notify(NotifyType::REKEY_SA);
        let ike = rekey.is_none() && body.sa.iter().flatten().any(|p| p.protocol == sa_payload::PROTO_IKE);
        let mut chain = Builder::new();
        let mut adopted = None;
        let outcome = match rekey {
            _ if ike => self.accept_rekey_ike(base, ctx, body, &mut chain).map(|sa| adopted = Some(sa)),
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
        base.answer(ctx, &mut self.channel, ExchangeType::CREATE_CHILD_SA, &chain);
        // The answer leaves under the old SA before the new one speaks.
        if let Some((sa, low)) = adopted {
            if let Request::RekeyIke(own) = &mut self.request {
                let mut sa = sa;
                own.rival = Some(Rival { spi: sa.base.spi, lowest_nonce: low });
                if let State::Established(new) = &mut sa.state {
                    new.superseded = true;
                    new.inherits = Some(base.spi);
                    new.expires_at = Some(ctx.now + ctx.policy.config.timers.half_open * 8);
                }
                ctx.effects.push(Effect::Adopt { sa, current: false });
            } else {
                self.move_into(ctx, sa);
            }
        }
    }

    /// The responder's share of a key exchange that `suite` asks for.
    fn respond_ke(body: &Body<'_>, method: u16) -> Result<(Vec<u8>, crypto::Secret), Refuse> {
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
        if self.superseded || self.closing.is_some() || matches!(self.request, Request::RekeyIke(_)) {
            return Err(NotifyType::TEMPORARY_FAILURE.into());
        }
        let old = match replaces {
            None => None,
            Some(spi_out) => match self.children.iter().find(|c| c.spi_out == spi_out) {
                // Section 2.25.1.
                None => {
                    return Err(Refuse { kind: NotifyType::CHILD_SA_NOT_FOUND, data: vec![], spi: Some(spi_out) });
                }
                Some(child) if child.busy == Busy::Deleting => return Err(NotifyType::TEMPORARY_FAILURE.into()),
                Some(child) => Some(child.spi_in),
            },
        };
        if self.children.len() >= MAX_CHILDREN {
            return Err(NotifyType::NO_ADDITIONAL_SAS.into());
        }
        let (prf, peer) = self.prf().zip(base.peer).ok_or(NotifyType::NO_PROPOSAL_CHOSEN)?;
        let ni = body.nonce.ok_or(NotifyType::INVALID_SYNTAX)?;
        let pad = self.pad.clone();
        let nat = self.channel.nat;
        let accepted = child::accept(body, &pad.child, base, nat, true)?;
        let exchanged = accepted.suite.ke.map(|method| Self::respond_ke(body, method)).transpose()?;
        let spi_in = (ctx.spis)(peer).ok_or(NotifyType::NO_ADDITIONAL_SAS)?;
        let nr = ctx.nonce();
        accepted.answer_sa(chain, spi_in);
        chain.raw(PayloadType::NONCE, &nr);
        if let (Some((public, _)), Some(method)) = (&exchanged, accepted.suite.ke) {
            chain.ke(method, public);
        }
        accepted.answer_ts(chain);
        let shared = exchanged.as_ref().map_or(&[][..], |(_, secret)| &secret[..]);
        let material = Material { prf, keys: &self.channel.keys, shared, ni, nr: &nr };
        let lifetime = pad.child.rekey_after;
        // The peer switches when it has our answer and deletes the old one then; that tells us to switch.
        let terms = Terms { peer, nat, lifetime, replaces: old, select: old.is_none() };
        let child = accepted.agree(spi_in).install(base, ctx, &terms, &material);
        self.children.push(child);
        if let Some(old) = old {
            let lowest_nonce = lowest(ni, &nr).to_vec();
            match &mut self.request {
                Request::RekeyChild(own) if own.old == old => {
                    own.rival = Some(Rival { spi: spi_in, lowest_nonce });
                }
                _ => {
                    self.tasks.retain(|t| *t != Task::RekeyChild(old));
                    if let Some(child) = self.child_mut(old) {
                        child.busy = Busy::No;
                        child.rekey_at = None;
                    }
                }
            }
        }
        Ok(())
    }

    /// A new IKE SA in place of this one, and the lower nonce of its exchange.
    fn accept_rekey_ike(
        &mut self,
        base: &Base,
        ctx: &mut Ctx<'_>,
        body: &Body<'_>,
        chain: &mut Builder,
    ) -> Result<(Box<Sa>, Vec<u8>), Refuse> {
        // Section 2.25.2: not while we create, rekey or delete anything under this IKE SA, nor when it is going.
        let busy = matches!(self.request, Request::RekeyChild(_) | Request::DeleteChild(..) | Request::DeleteIke);
        if busy || self.superseded || self.closing.is_some() {
            return Err(NotifyType::TEMPORARY_FAILURE.into());
        }
        let (Some(offered), Some(ke), Some(ni)) = (&body.sa, body.ke, body.nonce) else {
            return Err(NotifyType::INVALID_SYNTAX.into());
        };
        let (suite, chosen) = IkeProposal::choose(&rekey_proposals(self), offered, Some(ke.method))
            .ok_or(NotifyType::NO_PROPOSAL_CHOSEN)?;
        let peer_spi = chosen.ike_spi().ok_or(NotifyType::INVALID_SYNTAX)?;
        let (public, shared) = Self::respond_ke(body, suite.ke)?;
        let (spi, nr) = (ctx.ike_spi(), ctx.nonce());
        let sa = self
            .successor(base, ctx, suite, &shared, (ni, &nr), (peer_spi, spi), false)
            .ok_or(NotifyType::NO_PROPOSAL_CHOSEN)?;
        let chosen = sa_payload::Proposal { spi: spi.to_be_bytes().to_vec(), ..chosen };
        chain.push(PayloadType::SA, |out| sa_payload::emit(std::slice::from_ref(&chosen), out));
        chain.raw(PayloadType::NONCE, &nr);
        chain.ke(suite.ke, &public);
        Ok((sa, lowest(ni, &nr).to_vec()))
    }
}

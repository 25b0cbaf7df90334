//! Main mode (RFC 2409, section 5.1 and 5.4; NAT traversal by RFC 3947).
//!
//! ```text
//!   1  HDR, SA, VIDs                          ─►
//!                                             ◄─  HDR, SA, VIDs                                2
//!   3  HDR, KE, Ni, NAT-D, NAT-D              ─►
//!                                             ◄─  HDR, KE, Nr, CERTREQs, NAT-D, NAT-D          4
//!   5  HDR*, IDii, HASH_I | CERTs, SIG_I      ─►
//!                                             ◄─  HDR*, IDir, HASH_R | CERTs, SIG_R            6
//! ```
//!
//! With a pre-shared key, the key that opens message 5 depends on the secret, and who the peer is stands inside: the
//! responder tries the secrets of the PAD until one opens it with the right HASH_I. So a secret of its own for each peer
//! works whatever address it comes from (H46), and what is proved is the identity that this secret belongs to (H22).
//! How many are tried in a second is bounded, since any stranger can have them tried; and they are tried some at a time,
//! one SA after the other, so that a PAD of many keeps nobody waiting.

mod proof;

use super::config::{Listener, method};
use super::crypto::{Hash, Keys, Shared};
use super::isakmp::{Agreed, Authenticated, IdSent, Isakmp, KeReplied, KeSent, SaReplied, SaSent, State, Trial, Up};
use super::message::{Exchange, Header};
use super::payload::{self, Body, kind};
use super::proposal::{Method, Phase1, choose_phase1, offer_phase1};
use super::{nat, sa_payload, vendor};
use crate::auth::{Identity, RemoteAuth};
use crate::config::PadEntry;
use crate::crypto::{KeMethod, KeyExchange, respond};
use crate::error::{CallError, Failure, Malformed};
use crate::event::{Event, Meta};
use crate::message::HEADER_LEN;
use crate::payload::{Builder, CERT_X509};
use crate::sa::Ctx;
use crate::sa::child::shorten;
use crate::sa::initial::NATT_PORT;
use crate::sa::nat::Nat;
use crate::stateless::RateLimit;
use proof::{Opened, Unfit, by_certificate, by_secret, prove};
use std::sync::Arc;
use std::time::Duration;

/// Pre-shared keys that are tried before anything else has its turn.
const AT_ONCE: u32 = 1000;
/// Messages that open with no credential, until the SA is given up.
const ATTEMPTS: u32 = 3;
/// The port of IKE.
const PORT: u16 = 500;
/// The lifetime that we offer.
const LIFETIME: Duration = Duration::from_secs(8 * 3600);
/// The shortest that a peer may ask for, of either phase.
pub(super) const MIN_LIFETIME: Duration = Duration::from_secs(60);

/// Why the first message is refused.
pub(super) enum Refusal {
    Malformed,
    NoProposal,
}

impl From<Malformed> for Refusal {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

fn body<'a>(header: &Header, message: &'a [u8]) -> Result<Body<'a>, Malformed> {
    Body::parse(header.next, message.get(HEADER_LEN..).unwrap_or_default(), false)
}

/// Our vendor ids to a peer: of NAT traversal the newest that it knows, or all to one that has said nothing yet.
fn vendors(chain: &mut Builder, to: Option<&vendor::Features>) {
    for id in vendor::ours() {
        let natt = vendor::Features::of(&[&id]).natt;
        if to.is_none_or(|peer| natt.is_none() || natt == peer.natt) {
            chain.raw(kind::VENDOR, &id);
        }
    }
}

/// Message 1 at the responder.
pub(super) fn respond_first(
    ctx: &mut Ctx<'_>,
    listener: &Listener,
    path: Meta,
    header: &Header,
    message: &[u8],
) -> Result<Isakmp, Refusal> {
    let body = body(header, message)?;
    let sa_i = body.sa.ok_or(Refusal::Malformed)?;
    let offered = sa_payload::parse(sa_i)?;
    let mut methods = ctx.policy.v1.methods.clone();
    if listener.legacy.is_some() && !methods.contains(&Method::Psk) {
        methods.push(Method::Psk);
    }
    let choice = choose_phase1(&listener.proposals, &offered, &methods).ok_or(Refusal::NoProposal)?;
    let features = vendor::Features::of(&body.vendors);
    let agreed = Agreed { suite: choice.suite, method: choice.method, lifetime: choice.lifetime };
    let state = State::SaReplied(Box::new(SaReplied { agreed, sa_i: sa_i.to_vec() }));
    let mut sa = Isakmp::new(ctx, header.cookie_i, false, path, features, state);
    sa.origin = Some((header.cookie_i, path.remote));
    let mut chain = Builder::new();
    chain.push(kind::SA, |out| sa_payload::emit(std::slice::from_ref(&choice.reply), out));
    vendors(&mut chain, Some(&features));
    let reply = sa.header(Exchange::MAIN, 0).message(&chain);
    sa.answer(ctx, path, message, reply);
    Ok(sa)
}

/// Message 1 at the initiator.
pub(super) fn initiate(
    ctx: &mut Ctx<'_>,
    proposals: &[Phase1],
    pad: Arc<PadEntry>,
    path: Meta,
) -> Result<Isakmp, CallError> {
    let method = method(&pad).ok_or(CallError::UnknownPad)?;
    let offer = offer_phase1(proposals, method, LIFETIME);
    let mut sa_i = Vec::new();
    sa_payload::emit(std::slice::from_ref(&offer), &mut sa_i);
    let mut chain = Builder::new();
    chain.raw(kind::SA, &sa_i);
    vendors(&mut chain, None);
    let state = State::SaSent(Box::new(SaSent { pad, method, sa_i }));
    let mut sa = Isakmp::new(ctx, 0, true, path, vendor::Features::default(), state);
    let message = sa.header(Exchange::MAIN, 0).message(&chain);
    sa.ask(ctx, message);
    Ok(sa)
}

/// What a message of main mode has come to.
pub(super) enum Outcome {
    /// Nothing yet; the message was taken.
    Taken,
    /// It was not for this state, or not authentic.
    Refused,
    /// There is no time for it now: it is tried later, or has to come again.
    PutOff,
    /// Phase 1 is over.
    Up(Box<Authenticated>),
    /// It has failed.
    Failed(Option<Identity>, Failure),
}

impl From<Malformed> for Outcome {
    fn from(_: Malformed) -> Self {
        Self::Refused
    }
}

impl Isakmp {
    /// Takes a message of main mode, other than the first.
    pub(super) fn main_mode(
        &mut self,
        ctx: &mut Ctx<'_>,
        (listener, trials): (&Listener, &mut RateLimit),
        meta: Meta,
        header: &Header,
        message: &[u8],
    ) -> Outcome {
        // What shows no key comes from where the first message came from, or it is an answer to somebody else.
        if header.message_id != 0 || !header.encrypted && meta.remote != self.path.remote {
            return Outcome::Refused;
        }
        if self.repeats(ctx, meta, message) {
            return Outcome::Taken;
        }
        let encrypted = matches!(self.state, State::KeReplied(_) | State::IdSent(_));
        if header.encrypted != encrypted {
            return Outcome::Refused;
        }
        let result = match std::mem::replace(&mut self.state, State::Gone) {
            State::SaSent(s) => self.second(ctx, listener, *s, header, message),
            State::SaReplied(s) => self.third(ctx, meta, *s, header, message),
            State::KeSent(s) => self.fourth(ctx, meta, *s, header, message),
            State::KeReplied(s) => self.fifth(ctx, (listener, trials), meta, *s, header, message),
            State::IdSent(s) => self.sixth(ctx, meta, *s, header, message),
            other @ (State::Up(_) | State::Gone) => {
                self.state = other;
                Ok(Outcome::Refused)
            }
        };
        result.unwrap_or_else(|outcome| outcome)
    }

    /// The algorithms at the initiator.
    fn second(
        &mut self,
        ctx: &mut Ctx<'_>,
        listener: &Listener,
        s: SaSent,
        header: &Header,
        message: &[u8],
    ) -> Result<Outcome, Outcome> {
        let read = || {
            let body = body(header, message).ok()?;
            let chosen = choose_phase1(&listener.proposals, &sa_payload::parse(body.sa?).ok()?, &[s.method])?;
            if header.cookie_r == self.cookie {
                return None;
            }
            Some((vendor::Features::of(&body.vendors), chosen))
        };
        let Some((features, choice)) = read() else {
            self.state = State::SaSent(Box::new(s));
            return Err(Outcome::Refused);
        };
        let made = KeMethod::from_id(choice.suite.group).and_then(|m| KeyExchange::initiate(m).ok());
        let (exchange, g_xi) = made.ok_or(Outcome::Failed(None, Failure::Crypto("key exchange")))?;
        (self.peer_cookie, self.features) = (header.cookie_r, features);
        let ni = ctx.nonce();
        let mut chain = Builder::new();
        chain.raw(kind::KE, &g_xi).raw(kind::NONCE, &ni);
        self.announce(&mut chain, choice.suite.hash, self.path, s.pad.force_encap);
        let agreed = Agreed { suite: choice.suite, method: choice.method, lifetime: choice.lifetime };
        let message = self.header(Exchange::MAIN, 0).message(&chain);
        self.state = State::KeSent(Box::new(KeSent { pad: s.pad, agreed, sa_i: s.sa_i, exchange, g_xi, ni }));
        self.ask(ctx, message);
        Ok(Outcome::Taken)
    }

    fn announce(&self, chain: &mut Builder, hash: Hash, path: Meta, pretend: bool) {
        if let Some(natt) = self.features.natt {
            nat::announce(chain, natt, hash, self.cookies(), path, pretend);
        }
    }

    /// The NATs in between; where we `pretend`, one in front of us.
    fn detect(&self, body: &Body<'_>, hash: Hash, path: Meta, pretend: bool) -> Nat {
        match self.features.natt {
            Some(_) => {
                let nat = nat::detect(body, hash, self.cookies(), path);
                Nat { local: nat.local || pretend, ..nat }
            }
            None => Nat::default(),
        }
    }

    /// Key exchange at the responder.
    fn third(
        &mut self,
        ctx: &mut Ctx<'_>,
        meta: Meta,
        s: SaReplied,
        header: &Header,
        message: &[u8],
    ) -> Result<Outcome, Outcome> {
        let group = KeMethod::from_id(s.agreed.suite.group);
        let read = || {
            let body = body(header, message).ok()?;
            let (ke, nonce) = (body.ke?, body.nonce?);
            // One that is not of the group is dropped like one that does not parse.
            let (g_xr, g_xy) = respond(group?, ke).ok()?;
            Some((ke.to_vec(), nonce.to_vec(), g_xr, g_xy, body))
        };
        let Some((g_xi, ni, g_xr, g_xy, body)) = read() else {
            self.state = State::SaReplied(Box::new(s));
            return Err(Outcome::Refused);
        };
        let (hash, (cookie_i, cookie_r)) = (s.agreed.suite.hash, self.cookies());
        let nat = self.detect(&body, hash, meta, false);
        let nr = ctx.nonce();
        let mut chain = Builder::new();
        chain.raw(kind::KE, &g_xr).raw(kind::NONCE, &nr);
        if s.agreed.method == Method::RsaSig {
            for name in &ctx.policy.authority_names {
                chain.cert(kind::CR, CERT_X509, name);
            }
        }
        self.announce(&mut chain, hash, meta, false);
        let shared = Shared { g_xi, g_xr, g_xy, ni, nr, cookie_i, cookie_r };
        let reply = self.header(Exchange::MAIN, 0).message(&chain);
        self.state = State::KeReplied(Box::new(KeReplied {
            agreed: s.agreed,
            sa_i: s.sa_i,
            shared,
            nat,
            failed: 0,
            trial: None,
        }));
        self.path = meta;
        self.answer(ctx, meta, message, reply);
        Ok(Outcome::Taken)
    }

    /// Key exchange at the initiator.
    fn fourth(
        &mut self,
        ctx: &mut Ctx<'_>,
        meta: Meta,
        s: KeSent,
        header: &Header,
        message: &[u8],
    ) -> Result<Outcome, Outcome> {
        let read = || {
            let body = body(header, message).ok()?;
            // Our own value would make our proof the peer's.
            let ke = body.ke.filter(|ke| *ke != s.g_xi)?;
            Some((ke, body.nonce?, s.exchange.finish(ke).ok()?, body))
        };
        let Some((ke, nonce, g_xy, body)) = read() else {
            self.state = State::KeSent(Box::new(s));
            return Err(Outcome::Refused);
        };
        let KeSent { pad, agreed, sa_i, g_xi, ni, .. } = s;
        let crypto = |what| Outcome::Failed(None, Failure::Crypto(what));
        let (cookie_i, cookie_r) = self.cookies();
        let nat = self.detect(&body, agreed.suite.hash, meta, pad.force_encap);
        let shared = Shared { g_xi, g_xr: ke.to_vec(), g_xy, ni, nr: nonce.to_vec(), cookie_i, cookie_r };
        let keys = match &pad.remote_auth {
            RemoteAuth::Psk(secret) => Keys::psk(agreed.suite, &shared, secret),
            _ => Keys::signature(agreed.suite, &shared),
        };
        let keys = keys.map_err(|_| crypto("keys"))?;
        if nat.any() {
            // RFC 3947, section 4. Who has another port than IKE's has it for a reason.
            for end in [&mut self.path.local, &mut self.path.remote] {
                if end.port() == PORT {
                    end.set_port(NATT_PORT);
                }
            }
        }
        let mut chain = Builder::new();
        let proof = |id: &[u8]| keys.proof(&shared, true, &sa_i, id);
        prove(&mut chain, &pad, proof).map_err(|e| Outcome::Failed(None, Failure::Authentication(e.to_string())))?;
        if !self.joins {
            let (i, r) = (cookie_i.to_be_bytes(), cookie_r.to_be_bytes());
            let notify = payload::Notify {
                doi: payload::DOI,
                protocol: payload::PROTO_ISAKMP,
                kind: payload::notify::INITIAL_CONTACT,
                spi: &[i, r].concat(),
                data: &[],
            };
            chain.push(kind::NOTIFY, |out| notify.emit(out));
        }
        let mut iv = keys.first_iv(&shared);
        let header = self.header(Exchange::MAIN, 0);
        let message = keys.seal(header, &chain, &mut iv).map_err(|_| crypto("encryption"))?;
        self.state = State::IdSent(Box::new(IdSent { pad, agreed, sa_i, shared, keys, iv, nat, failure: None }));
        self.ask(ctx, message);
        Ok(Outcome::Taken)
    }

    /// Identity and proof at the responder.
    fn fifth(
        &mut self,
        ctx: &mut Ctx<'_>,
        (listener, trials): (&Listener, &mut RateLimit),
        meta: Meta,
        mut s: KeReplied,
        header: &Header,
        message: &[u8],
    ) -> Result<Outcome, Outcome> {
        let found = match s.agreed.method {
            Method::Psk => {
                let mut trial = match s.trial.take() {
                    Some(trial) if trial.message != message || ctx.now < trial.at => {
                        // One at a time. It may be the same one again.
                        let outcome = if trial.message == message { Outcome::Taken } else { Outcome::PutOff };
                        s.trial = Some(trial);
                        self.state = State::KeReplied(Box::new(s));
                        return Err(outcome);
                    }
                    Some(trial) => trial,
                    None => Trial { message: message.to_vec(), path: meta, tried: 0, other: None, at: ctx.now },
                };
                let per_second = ctx.policy.config.limits.v1_secrets_per_second;
                let room = trials.room(ctx.now, per_second).min(AT_ONCE);
                let (before, found) = (trial.tried, by_secret(ctx, listener, &s, header, &mut trial, room as usize));
                trials.spend((trial.tried - before) as u32);
                let Some(found) = found else {
                    let renewed = trials.renewed().filter(|_| trials.room(ctx.now, per_second) == 0);
                    trial.at = renewed.unwrap_or(ctx.now);
                    s.trial = Some(trial);
                    self.state = State::KeReplied(Box::new(s));
                    return Err(if renewed.is_some() { Outcome::PutOff } else { Outcome::Taken });
                };
                found
            }
            Method::RsaSig => by_certificate(ctx, &s, header, message),
        };
        let (authenticated, keys, mut iv) = match found {
            Ok(found) => found,
            Err(Unfit { id, failure, proved: true }) => return Err(Outcome::Failed(id, failure)),
            Err(Unfit { id, failure, proved: false }) => {
                s.failed += 1;
                if s.failed == 1 {
                    ctx.events.push_back(Event::AuthFailed { remote: meta.remote, id, reason: failure });
                }
                if s.failed < ATTEMPTS {
                    self.state = State::KeReplied(Box::new(s));
                }
                return Err(Outcome::Refused);
            }
        };
        let mut chain = Builder::new();
        let proof = |id: &[u8]| keys.proof(&s.shared, false, &s.sa_i, id);
        let id = || Some(authenticated.id.clone());
        prove(&mut chain, &authenticated.pad, proof)
            .map_err(|e| Outcome::Failed(id(), Failure::Authentication(e.to_string())))?;
        let reply = keys
            .seal(self.header(Exchange::MAIN, 0), &chain, &mut iv)
            .map_err(|_| Outcome::Failed(id(), Failure::Crypto("encryption")))?;
        self.path = meta;
        self.answer(ctx, meta, message, reply);
        self.rise(ctx, &authenticated.pad, &s.agreed, keys, iv);
        Ok(Outcome::Up(Box::new(authenticated)))
    }

    /// Identity and proof at the initiator.
    fn sixth(
        &mut self,
        ctx: &mut Ctx<'_>,
        meta: Meta,
        mut s: IdSent,
        header: &Header,
        message: &[u8],
    ) -> Result<Outcome, Outcome> {
        let mut iv = s.iv.clone();
        let plain = s.keys.open(message, &mut iv);
        let opened = plain.as_deref().and_then(|plain| Opened::read(header, plain));
        let proof = |id: &[u8]| s.keys.proof(&s.shared, false, &s.sa_i, id);
        let checked = opened.as_ref().map(|opened| opened.check(ctx, &s.pad, proof));
        match (opened, checked) {
            (Some(opened), Some(Ok(()))) => {
                let (id, chain) = (opened.id.clone(), opened.certs());
                self.unanswered = None;
                // The responder repeats this answer when ours comes again; it has nothing more to draw.
                self.last = Some((super::isakmp::digest(message), Vec::new()));
                self.path.remote = meta.remote;
                self.rise(ctx, &s.pad, &s.agreed, s.keys.clone(), iv);
                let authenticated = Authenticated { pad: s.pad, id, chain, nat: s.nat, initial_contact: false };
                Ok(Outcome::Up(Box::new(authenticated)))
            }
            (Some(opened), Some(Err(Unfit { failure, proved: true, .. }))) => {
                Err(Outcome::Failed(Some(opened.id.clone()), failure))
            }
            // Whoever is on the way can spoil an answer. If there is no better one, this is what was wrong.
            (_, found) => {
                if let Some(Err(unfit)) = found {
                    s.failure = Some((unfit.id, unfit.failure));
                }
                self.state = State::IdSent(Box::new(s));
                Err(Outcome::Refused)
            }
        }
    }

    /// Phase 1 is over; `last_block` is what its messages ended with.
    fn rise(&mut self, ctx: &mut Ctx<'_>, pad: &PadEntry, agreed: &Agreed, keys: Keys, last_block: Vec<u8>) {
        let lifetime = agreed.lifetime.map(|lifetime| lifetime.max(MIN_LIFETIME));
        let after = pad.ike_rekey_after.into_iter().chain(lifetime.map(|lifetime| lifetime.mul_f64(0.9))).min();
        let rekey_at = after.map(|after| ctx.now + shorten(ctx, after));
        let expires_at = lifetime.map(|lifetime| ctx.now + lifetime);
        self.unanswered = None;
        self.state = State::Up(Box::new(Up { keys, last_block, rekey_at, leaves_at: None, expires_at }));
    }
}

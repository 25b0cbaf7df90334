//! EAP in IKE_AUTH (RFC 7296, section 2.16), where we respond. We carry the packets; whoever owns the endpoint has them
//! judged, by RADIUS for example.
//!
//! ```text
//!   HDR, SK { IDi, [CERTREQ,] [IDr,] SAi2, TSi, TSr }  -->                       EapStart     ─► owner
//!                                   <--  HDR, SK { IDr, [CERT,] AUTH, EAP }      eap_request  ◄─
//!   HDR, SK { EAP }  -->                                                         EapResponse  ─►   again and again
//!                                   <--  HDR, SK { EAP (success) }               eap_success  ◄─
//!   HDR, SK { AUTH }  -->
//!                                   <--  HDR, SK { AUTH, SAr2, TSi, TSr }        EapEnd, PeerUp ─►
//! ```
//!
//! The last two AUTH payloads are made with the key that the method gave (MSK), so that who ran the method is who ran
//! IKE_SA_INIT: a man in the middle of either is caught (H42). A method without a key leaves SK_pi and SK_pr, which bind
//! nothing. With EAP alone (RFC 5998) we send no AUTH in the first answer; the method has to authenticate us as well.
//!
//! An initiator that has shown nothing yet holds a [`super::Sa`] of ours, so that rounds, octets and time are bounded.

use super::auth::{self, Refused, identities, octets, refuse, unproved};
use super::channel::Channel;
use super::established::Remote;
use super::initial::InitReplied;
use super::intermediate::Handshake;
use super::{Base, Ctx, Received, State};
use crate::auth::{Identity, LocalAuth, RemoteAuth, method, psk};
use crate::config::PadEntry;
use crate::crypto::{Prf, Secret};
use crate::error::Failure;
use crate::event::{EapSession, EapSuccess, Event};
use crate::message::{Body, ExchangeType};
use crate::payload::delete::Delete;
use crate::payload::eap::{Code, code};
use crate::payload::notify::NotifyType;
use crate::payload::{AuthPayload, Builder, PayloadType};
use std::sync::Arc;
use std::time::Instant;
use subtle::ConstantTimeEq;

/// EAP requests in one conversation.
pub(super) const MAX_ROUNDS: u8 = 64;
/// A first IKE_AUTH request that is longer is not kept.
const MAX_FIRST: usize = 8192;
/// The whole conversation may take so many times as long as one round.
const MAX_DURATION: u32 = 10;

/// Responder: EAP is under way.
#[derive(Debug)]
pub(crate) struct EapResponder {
    pub channel: Channel,
    handshake: Handshake,
    pad: Arc<PadEntry>,
    id: Identity,
    /// The payloads of the first IKE_AUTH request, which asks for the child SA.
    first: (PayloadType, Vec<u8>),
    int_auth: Vec<u8>,
    rounds: u8,
    turn: Turn,
    /// When it is given up.
    pub until: Instant,
}

/// Whose turn it is.
#[derive(Debug)]
enum Turn {
    /// The owner's, to say what the initiator is answered.
    Owner,
    /// The initiator's, to answer our EAP request.
    Initiator,
    /// The initiator's, to prove the key.
    Proof(EapSuccess),
}

/// AUTH data after EAP: of the original initiator or responder, whose ID payload has the body `id`.
pub(super) fn proof(
    prf: Prf,
    channel: &Channel,
    handshake: &Handshake,
    initiator: bool,
    (id, int_auth): (&[u8], &[u8]),
    msk: Option<&Secret>,
) -> Secret {
    let signed = octets(prf, channel, handshake, initiator, id, int_auth);
    let secret = msk.map_or_else(|| channel.keys.authentication(initiator), |msk| &msk[..]);
    psk(prf, secret, &signed)
}

/// Whether AUTH is that proof.
pub(super) fn proves(auth: Option<AuthPayload<'_>>, expected: &Secret) -> bool {
    auth.is_some_and(|a| a.method == method::SHARED_KEY && bool::from(a.data.ct_eq(expected)))
}

/// Finds the PAD entry of an initiator that asks for EAP.
pub(super) fn choose(
    state: &InitReplied,
    ctx: &Ctx<'_>,
    received: &Received<'_>,
) -> Result<(Arc<PadEntry>, Identity), Refused> {
    let (id, expected) = identities(&received.body)?;
    if received.opened.plain.len() > MAX_FIRST {
        return Err(unproved(Failure::Protocol("IKE_AUTH is too long")));
    }
    let mut failure = Failure::UnknownIdentity;
    let alone = received.body.has(NotifyType::EAP_ONLY_AUTHENTICATION);
    for pad in ctx.policy.lookup(&id, expected.as_ref()) {
        if !pad.allows(&state.channel.suite) {
            failure = Failure::NoProposal;
        } else if !matches!(pad.remote_auth, RemoteAuth::Eap) {
            failure = Failure::Authentication("EAP is not offered".to_owned());
        } else if matches!(pad.local_auth, LocalAuth::Eap) && !alone {
            failure = Failure::Authentication("the peer does not take EAP alone".to_owned());
        } else {
            return Ok((Arc::clone(pad), id.clone()));
        }
    }
    Err(unproved(failure))
}

/// Asks the owner for the first EAP request. The initiator's request is answered when there is one.
pub(super) fn begin(
    state: InitReplied,
    base: &Base,
    ctx: &mut Ctx<'_>,
    received: &Received<'_>,
    pad: Arc<PadEntry>,
    id: Identity,
) -> State {
    let InitReplied { channel, handshake, .. } = state;
    ctx.events.push_back(Event::EapStart {
        session: EapSession(base.spi),
        pad: pad.name.clone(),
        remote_id: id.clone(),
        local: base.local,
        remote: base.remote,
    });
    let first = (received.opened.first, received.opened.plain.clone());
    // RFC 9242, section 3.3.2: the message id of the first IKE_AUTH request, however many there are.
    let int_auth = handshake.int_auth.suffix(received.id);
    let until = ctx.now + ctx.policy.config.timers.eap;
    let turn = Turn::Owner;
    State::EapResponder(Box::new(EapResponder { channel, handshake, pad, id, first, int_auth, rounds: 0, turn, until }))
}

impl EapResponder {
    /// Whether it is the owner's turn.
    pub fn waits(&self) -> bool {
        matches!(self.turn, Turn::Owner)
    }

    /// Whether an EAP request has been sent.
    pub fn begun(&self) -> bool {
        self.rounds > 0
    }

    fn progress(&mut self, base: &Base, ctx: &Ctx<'_>) {
        let round = ctx.policy.config.timers.eap;
        self.until = (ctx.now + round).min(base.created + round * MAX_DURATION);
    }

    /// Ends the conversation without a peer.
    fn over(&self, base: &Base, ctx: &mut Ctx<'_>, failure: Failure) {
        base.failed(ctx, Some(self.id.clone()), failure);
        ctx.events.push_back(Event::EapEnd { session: EapSession(base.spi), peer: None });
    }

    /// Likewise, when the last answer is out.
    pub fn end(self: Box<Self>, base: &Base, ctx: &mut Ctx<'_>, failure: Failure) -> State {
        self.over(base, ctx, failure);
        State::linger(ctx, self.channel)
    }

    fn refuse(self, base: &mut Base, ctx: &mut Ctx<'_>, kind: NotifyType, failure: Failure) -> State {
        let session = EapSession(base.spi);
        let state = refuse(self.channel, base, ctx, kind, Some(self.id), failure);
        ctx.events.push_back(Event::EapEnd { session, peer: None });
        state
    }

    fn unproved(self, base: &mut Base, ctx: &mut Ctx<'_>, why: &str) -> State {
        self.refuse(base, ctx, NotifyType::AUTHENTICATION_FAILED, Failure::Authentication(why.to_owned()))
    }

    // --- the owner ---

    /// Sends the next EAP request; the first one with our identity and proof.
    pub fn ask(mut self: Box<Self>, base: &mut Base, ctx: &mut Ctx<'_>, packet: &[u8]) -> State {
        let chain = if self.rounds == 0 {
            auth::present(&self.channel, &self.handshake, &self.pad, &self.int_auth)
        } else if self.rounds == MAX_ROUNDS {
            Err(Failure::Protocol("endless EAP"))
        } else {
            Ok(Builder::new())
        };
        match chain {
            Ok(mut chain) => {
                chain.raw(PayloadType::EAP, packet);
                self.rounds += 1;
                self.turn = Turn::Initiator;
                self.progress(base, ctx);
                base.answer(ctx, &mut self.channel, ExchangeType::IKE_AUTH, &chain);
                State::EapResponder(self)
            }
            Err(failure) => self.refuse(base, ctx, NotifyType::AUTHENTICATION_FAILED, failure),
        }
    }

    /// Sends EAP Success; what is left is to prove the key.
    pub fn succeed(
        mut self: Box<Self>,
        base: &mut Base,
        ctx: &mut Ctx<'_>,
        packet: &[u8],
        mut success: EapSuccess,
    ) -> State {
        success.msk = success.msk.filter(|msk| !msk.is_empty());
        // RFC 5998, section 3: without such a method nothing would have authenticated us.
        if matches!(self.pad.local_auth, LocalAuth::Eap) && !(success.mutual && success.msk.is_some()) {
            return self.unproved(base, ctx, "EAP alone takes a mutual method that gives a key");
        }
        let mut chain = Builder::new();
        chain.raw(PayloadType::EAP, packet);
        self.turn = Turn::Proof(success);
        self.progress(base, ctx);
        base.answer(ctx, &mut self.channel, ExchangeType::IKE_AUTH, &chain);
        State::EapResponder(self)
    }

    /// Sends EAP Failure, and that is the end.
    pub fn fail(mut self: Box<Self>, base: &mut Base, ctx: &mut Ctx<'_>, packet: &[u8]) -> State {
        let mut chain = Builder::new();
        chain.raw(PayloadType::EAP, packet);
        base.answer(ctx, &mut self.channel, ExchangeType::IKE_AUTH, &chain);
        self.end(base, ctx, Failure::Authentication("EAP failure".to_owned()))
    }

    // --- the initiator ---

    /// Handles a request of the initiator.
    pub fn request(mut self: Box<Self>, base: &mut Base, ctx: &mut Ctx<'_>, received: &Received<'_>) -> State {
        let body = &received.body;
        match (received.exchange, &self.turn) {
            // Section 2.21.2: it could not verify our proof, or gives up.
            (ExchangeType::INFORMATIONAL, Turn::Initiator | Turn::Proof(_))
                if body.has(NotifyType::AUTHENTICATION_FAILED) || body.deletes.contains(&Delete::Ike) =>
            {
                base.answer(ctx, &mut self.channel, ExchangeType::INFORMATIONAL, &Builder::new());
                self.end(base, ctx, Failure::RefusedByPeer)
            }
            (ExchangeType::IKE_AUTH, Turn::Initiator) => match body.eap.filter(|p| code(p) == Ok(Code::Response)) {
                Some(packet) => {
                    self.turn = Turn::Owner;
                    self.progress(base, ctx);
                    let session = EapSession(base.spi);
                    ctx.events.push_back(Event::EapResponse { session, packet: packet.to_vec() });
                    State::EapResponder(self)
                }
                None => self.refuse(base, ctx, NotifyType::INVALID_SYNTAX, Failure::Protocol("no EAP response")),
            },
            (ExchangeType::IKE_AUTH, Turn::Proof(_)) => self.conclude(base, ctx, body),
            // Another exchange; or, in the owner's turn, the request that the owner thinks about, repeated.
            _ => State::EapResponder(self),
        }
    }

    /// Both prove the key.
    fn conclude(self: Box<Self>, base: &mut Base, ctx: &mut Ctx<'_>, body: &Body<'_>) -> State {
        let (Turn::Proof(success), Some(prf), Ok(first)) =
            (&self.turn, Prf::from_id(self.channel.suite.prf), Body::parse(self.first.0, &self.first.1))
        else {
            return State::EapResponder(self);
        };
        let prove = |initiator, id| {
            let covers = (id, &self.int_auth[..]);
            proof(prf, &self.channel, &self.handshake, initiator, covers, success.msk.as_ref())
        };
        if !proves(body.auth, &prove(true, first.id_i.unwrap_or_default())) {
            return self.unproved(base, ctx, "the key of EAP does not match");
        }
        let mut chain = Builder::new();
        chain.auth(method::SHARED_KEY, &prove(false, &self.pad.local_id.body()));
        let initial_contact = [&first, body].iter().any(|b| b.has(NotifyType::INITIAL_CONTACT));
        let eap = Some(Arc::from(success.identity.as_str()));
        let Self { channel, handshake, pad, id, .. } = *self;
        let remote = Remote { id: Arc::new(id), chain: Arc::default(), eap };
        auth::admit(channel, &handshake, base, ctx, &first, chain, pad, remote, initial_contact)
    }

    /// No progress for too long.
    pub fn expire(self: Box<Self>, base: &mut Base, ctx: &mut Ctx<'_>) -> State {
        if self.waits() {
            // The initiator waits for an answer.
            return self.refuse(base, ctx, NotifyType::AUTHENTICATION_FAILED, Failure::Timeout);
        }
        self.over(base, ctx, Failure::Timeout);
        State::Gone
    }
}

//! EAP in IKE_AUTH, where we initiate; [`super::eap`] shows the exchange. The owner has the EAP method.
//!
//! The responder proves itself in its first answer, before we say anything to its EAP server; with EAP alone (RFC 5998)
//! only the key at the end does.

use super::auth::{AuthSent, GivenUp, give_up, refusal};
use super::eap::{MAX_ROUNDS, proof, proves};
use super::established::Remote;
use super::{Base, Ctx, Received, State};
use crate::auth::{RemoteAuth, method};
use crate::crypto::{Prf, Secret};
use crate::error::Failure;
use crate::event::{Event, PeerHandle};
use crate::message::{Body, ExchangeType};
use crate::payload::eap::{Code, code};
use crate::payload::{Builder, PayloadType};
use std::time::Instant;

/// Initiator: EAP is under way.
#[derive(Debug)]
pub(crate) struct EapInitiator {
    /// What IKE_AUTH began with.
    pub auth: AuthSent,
    peer: PeerHandle,
    remote: Remote,
    /// Body of the IDr payload.
    id_r: Vec<u8>,
    rounds: u8,
    turn: Turn,
}

/// Whose turn it is.
enum Turn {
    /// The owner's, until then, to answer an EAP request.
    Owner(Instant),
    /// The owner's, until then, to give the key after EAP Success.
    Key(Instant),
    /// The responder's, to answer our EAP response.
    Responder,
    /// The responder's, to prove the key.
    Proof(Option<Secret>),
}

impl std::fmt::Debug for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Owner(_) => "Owner",
            Self::Key(_) => "Key",
            Self::Responder => "Responder",
            Self::Proof(_) => "Proof(..)",
        })
    }
}

/// The responder has sent its identity, and the proof unless EAP is to be it.
pub(super) fn begin(
    auth: AuthSent,
    ctx: &mut Ctx<'_>,
    peer: PeerHandle,
    remote: Remote,
    body: &Body<'_>,
) -> Result<State, GivenUp> {
    let id_r = body.id_r.unwrap_or_default().to_vec();
    let mut state = EapInitiator { auth, peer, remote, id_r, rounds: 0, turn: Turn::Responder };
    match state.hear(ctx, body) {
        Ok(()) => Ok(State::EapInitiator(Box::new(state))),
        Err(failure) => Err((failure, None)),
    }
}

impl EapInitiator {
    /// When the owner is given up.
    pub fn until(&self) -> Option<Instant> {
        match self.turn {
            Turn::Owner(until) | Turn::Key(until) => Some(until),
            Turn::Responder | Turn::Proof(_) => None,
        }
    }

    /// Passes the EAP packet of an answer to the owner.
    fn hear(&mut self, ctx: &mut Ctx<'_>, body: &Body<'_>) -> Result<(), Failure> {
        let packet = body.eap.ok_or(Failure::Protocol("IKE_AUTH answer without EAP"))?;
        let until = ctx.now + ctx.policy.config.timers.eap;
        self.turn = match code(packet)? {
            Code::Request if self.rounds < MAX_ROUNDS => Turn::Owner(until),
            Code::Request => return Err(Failure::Protocol("endless EAP")),
            Code::Success if self.rounds > 0 => Turn::Key(until),
            Code::Success | Code::Response | Code::Failure => return Err(Failure::Protocol("EAP packet out of place")),
        };
        self.rounds += 1;
        ctx.events.push_back(Event::EapRequest { peer: self.peer, packet: packet.to_vec() });
        Ok(())
    }

    fn give_up(self: Box<Self>, base: &mut Base, ctx: &mut Ctx<'_>, failure: Failure) -> State {
        let AuthSent { channel, spi_in, .. } = self.auth;
        give_up(base, ctx, spi_in, Some(Box::new(channel)), failure)
    }

    /// Handles an answer of the responder.
    pub fn response(mut self: Box<Self>, base: &mut Base, ctx: &mut Ctx<'_>, received: &Received<'_>) -> State {
        let body = &received.body;
        if let Some(failure) = refusal(body) {
            return give_up(base, ctx, self.auth.spi_in, None, failure);
        }
        match &self.turn {
            Turn::Responder => match self.hear(ctx, body) {
                Ok(()) => State::EapInitiator(self),
                Err(failure) => give_up(base, ctx, self.auth.spi_in, None, failure),
            },
            Turn::Proof(msk) => {
                let Some(prf) = Prf::from_id(self.auth.channel.suite.prf) else {
                    return self.give_up(base, ctx, Failure::NoProposal);
                };
                let AuthSent { channel, handshake, int_auth, .. } = &self.auth;
                let expected = proof(prf, channel, handshake, false, (&self.id_r, int_auth), msk.as_ref());
                if !proves(body.auth, &expected) {
                    let why = "the key of EAP does not match".to_owned();
                    return self.give_up(base, ctx, Failure::Authentication(why));
                }
                let Self { auth, peer, remote, .. } = *self;
                auth.enter(base, ctx, body, prf, peer, remote)
            }
            Turn::Owner(_) | Turn::Key(_) => State::EapInitiator(self),
        }
    }

    /// Whether an EAP request waits for the owner's answer.
    pub fn waits(&self) -> bool {
        matches!(self.turn, Turn::Owner(_))
    }

    /// Whether the key is waited for.
    pub fn waits_for_key(&self) -> bool {
        matches!(self.turn, Turn::Key(_))
    }

    /// Sends the owner's EAP response.
    pub fn answer(self: Box<Self>, base: &mut Base, ctx: &mut Ctx<'_>, packet: &[u8]) -> State {
        let mut chain = Builder::new();
        chain.raw(PayloadType::EAP, packet);
        self.send(base, ctx, &chain)
    }

    /// Sends the next request of the conversation.
    pub fn send(mut self: Box<Self>, base: &mut Base, ctx: &mut Ctx<'_>, chain: &Builder) -> State {
        base.request(ctx, &mut self.auth.channel, ExchangeType::IKE_AUTH, chain);
        self.turn = Turn::Responder;
        State::EapInitiator(self)
    }

    /// Proves the key.
    pub fn prove(mut self: Box<Self>, base: &mut Base, ctx: &mut Ctx<'_>, msk: Option<Secret>) -> State {
        let msk = msk.filter(|msk| !msk.is_empty());
        if matches!(self.auth.pad.remote_auth, RemoteAuth::Eap) && msk.is_none() {
            let why = "EAP alone takes a method that gives a key".to_owned();
            return self.give_up(base, ctx, Failure::Authentication(why));
        }
        let Some(prf) = Prf::from_id(self.auth.channel.suite.prf) else {
            return self.give_up(base, ctx, Failure::NoProposal);
        };
        let AuthSent { channel, handshake, pad, int_auth, .. } = &self.auth;
        let data = proof(prf, channel, handshake, true, (&pad.local_id.body(), int_auth), msk.as_ref());
        let mut chain = Builder::new();
        chain.auth(method::SHARED_KEY, &data);
        base.request(ctx, &mut self.auth.channel, ExchangeType::IKE_AUTH, &chain);
        self.turn = Turn::Proof(msk);
        State::EapInitiator(self)
    }

    /// The owner says nothing.
    pub fn expire(self: Box<Self>, base: &mut Base, ctx: &mut Ctx<'_>) -> State {
        self.give_up(base, ctx, Failure::Timeout)
    }
}

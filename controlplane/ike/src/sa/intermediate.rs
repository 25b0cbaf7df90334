//! IKE_INTERMEDIATE (RFC 9242) with an additional key exchange (RFC 9370): after IKE_SA_INIT, and already protected by
//! its keys, the ends exchange one more pair of public values, too large for an unprotected first message (ML-KEM-768
//! has some 1,100 octets), and mix the second secret into all keys.
//!
//! ```text
//!   HDR, SK { KEi(1) }  -->
//!                       <--  HDR, SK { KEr(1) }
//! ```
//!
//! Both messages enter the AUTH computation through [`IntAuth`], so that nobody can have changed them.

use super::channel::{Channel, Opened, envelope};
use super::initial::InitReplied;
use super::{Base, Ctx, Received, State, auth};
use crate::config::PadEntry;
use crate::crypto::{self, KeMethod, KeyExchange, Prf};
use crate::error::Failure;
use crate::message::{ExchangeType, Header};
use crate::payload::{Builder, PayloadType};
use std::sync::Arc;

/// What IKE_AUTH needs to know of the exchanges before it.
#[derive(Debug)]
pub(crate) struct Handshake {
    /// First message of the initiator, as sent.
    pub init_request: Vec<u8>,
    /// First message of the responder.
    pub init_response: Vec<u8>,
    pub ni: Vec<u8>,
    pub nr: Vec<u8>,
    /// Hash algorithms the peer takes in signatures (RFC 7427).
    pub signature_hashes: Vec<u16>,
    pub int_auth: IntAuth,
}

/// Running authentication of the IKE_INTERMEDIATE exchanges (RFC 9242, section 3.3.2).
#[derive(Debug, Default)]
pub(crate) struct IntAuth {
    initiator: Vec<u8>,
    responder: Vec<u8>,
}

impl IntAuth {
    /// Adds a message: `IntAuth_iN = prf(SK_piN, IntAuth_i(N-1) | A | P)`, with the keys that protected it.
    fn add(&mut self, prf: Prf, channel: &Channel, from_initiator: bool, envelope: &[u8], plain: &[u8]) {
        let (slot, key) = if from_initiator {
            (&mut self.initiator, channel.keys.authentication(true))
        } else {
            (&mut self.responder, channel.keys.authentication(false))
        };
        let mac = prf.mac(key, &[&slot[..], envelope, plain]);
        slot.clear();
        slot.extend_from_slice(&mac);
    }

    /// What goes after the other signed octets: empty when there was no such exchange.
    pub fn suffix(&self, auth_message_id: u32) -> Vec<u8> {
        if self.initiator.is_empty() {
            return Vec::new();
        }
        [&self.initiator[..], &self.responder[..], &auth_message_id.to_be_bytes()[..]].concat()
    }
}

/// Initiator: an additional key exchange is out.
#[derive(Debug)]
pub(crate) struct IntermediateSent {
    pub channel: Channel,
    handshake: Handshake,
    pad: Arc<PadEntry>,
    exchange: KeyExchange,
    method: u16,
}

/// Sends the additional public value.
pub(crate) fn start(
    base: &mut Base,
    ctx: &mut Ctx<'_>,
    mut channel: Channel,
    mut handshake: Handshake,
    pad: Arc<PadEntry>,
    method: u16,
) -> Result<State, Failure> {
    let kind = KeMethod::from_id(method).ok_or(Failure::NoProposal)?;
    let prf = Prf::from_id(channel.suite.prf).ok_or(Failure::NoProposal)?;
    let (exchange, public) = KeyExchange::initiate(kind).map_err(|_| Failure::Crypto("key generation"))?;
    let mut chain = Builder::new();
    chain.ke(method, &public);
    let header = base.header(ExchangeType::IKE_INTERMEDIATE, false);
    sent(&mut handshake.int_auth, prf, &channel, header, &chain);
    base.request(ctx, &mut channel, ExchangeType::IKE_INTERMEDIATE, &chain);
    Ok(State::IntermediateSent(Box::new(IntermediateSent { channel, handshake, pad, exchange, method })))
}

fn sent(int_auth: &mut IntAuth, prf: Prf, channel: &Channel, header: Header, chain: &Builder) {
    let envelope = envelope(Header { next: PayloadType::SK, ..header }, chain.first(), chain.bytes().len());
    int_auth.add(prf, channel, channel.initiator, &envelope, chain.bytes());
}

fn received(int_auth: &mut IntAuth, prf: Prf, channel: &Channel, opened: &Opened) {
    int_auth.add(prf, channel, !channel.initiator, &opened.envelope, &opened.plain);
}

/// Mixes a secret into the keys.
fn advance(base: &Base, channel: &mut Channel, prf: Prf, secret: &[u8], handshake: &Handshake) {
    let (spi_i, spi_r) = base.spis();
    let keys = channel.keys.advance(prf, channel.sk(), secret, &handshake.ni, &handshake.nr, spi_i, spi_r);
    channel.rekeyed(keys);
}

impl IntermediateSent {
    /// Handles the answer.
    pub fn response(self: Box<Self>, base: &mut Base, ctx: &mut Ctx<'_>, received: &Received<'_>) -> State {
        match self.proceed(base, ctx, received) {
            Ok(state) => state,
            Err(failure) => {
                base.failed(ctx, None, failure);
                State::Gone
            }
        }
    }

    fn proceed(mut self, base: &mut Base, ctx: &mut Ctx<'_>, message: &Received<'_>) -> Result<State, Failure> {
        if let Some(error) = message.body.error() {
            return Err(Failure::Notified(error.kind));
        }
        let ke = message.body.ke.filter(|ke| ke.method == self.method);
        let ke = ke.ok_or(Failure::Protocol("IKE_INTERMEDIATE answer without its key exchange"))?;
        let prf = Prf::from_id(self.channel.suite.prf).ok_or(Failure::NoProposal)?;
        let secret = self.exchange.finish(ke.data).map_err(|_| Failure::Crypto("additional key exchange"))?;
        received(&mut self.handshake.int_auth, prf, &self.channel, message.opened);
        advance(base, &mut self.channel, prf, &secret, &self.handshake);
        auth::start(base, ctx, self.channel, self.handshake, self.pad)
    }
}

/// Answers the additional key exchange.
pub(crate) fn respond(
    mut state: InitReplied,
    base: &mut Base,
    ctx: &mut Ctx<'_>,
    message: &Received<'_>,
    method: KeMethod,
) -> State {
    let ke = message.body.ke.filter(|ke| ke.method == method.id());
    let secret = ke.and_then(|ke| crypto::respond(method, ke.data).ok());
    let (Some((public, secret)), Some(prf)) = (secret, Prf::from_id(state.channel.suite.prf)) else {
        let mut chain = Builder::new();
        chain.notify(crate::payload::notify::NotifyType::INVALID_SYNTAX, &[]);
        base.answer(ctx, &mut state.channel, ExchangeType::IKE_INTERMEDIATE, &chain);
        base.failed(ctx, None, Failure::Protocol("additional key exchange"));
        return State::linger(ctx, state.channel);
    };
    received(&mut state.handshake.int_auth, prf, &state.channel, message.opened);
    let mut chain = Builder::new();
    chain.ke(method.id(), &public);
    let header = base.header(ExchangeType::IKE_INTERMEDIATE, true);
    sent(&mut state.handshake.int_auth, prf, &state.channel, header, &chain);
    base.answer(ctx, &mut state.channel, ExchangeType::IKE_INTERMEDIATE, &chain);
    advance(base, &mut state.channel, prf, &secret, &state.handshake);
    state.additional = None;
    State::InitReplied(Box::new(state))
}

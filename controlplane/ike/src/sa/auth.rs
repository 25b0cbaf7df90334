//! IKE_AUTH (RFC 7296, section 1.2): identities, proofs, and the first child SA.
//!
//! ```text
//!   HDR, SK { IDi, [CERT,] [N(INITIAL_CONTACT),] [CERTREQ,] [IDr,] AUTH, SAi2, TSi, TSr }  -->
//!                                       <--  HDR, SK { IDr, [CERT,] AUTH, SAr2, TSi, TSr }
//! ```
//!
//! The responder chooses its PAD entry by IDi (and IDr when it is sent); the credential of that entry then has to prove
//! exactly that identity (H22). Failing to set up the child SA does not undo the IKE SA (section 1.3.1 and 2.21.2).

use super::channel::Channel;
use super::child::{self, ChildSa, Material, Terms};
use super::established::{Established, Remote};
use super::initial::InitReplied;
use super::intermediate::Handshake;
use super::{Base, Ctx, Effect, Received, State};
use crate::auth::{IdMatch, Identity, RemoteAuth, signed_octets};
use crate::config::PadEntry;
use crate::crypto::{Prf, Secret};
use crate::error::Failure;
use crate::event::{Event, PeerHandle};
use crate::message::{Body, ExchangeType};
use crate::payload::notify::NotifyType;
use crate::payload::{AuthPayload, Builder, CERT_X509, PayloadType};
use rustls_pki_types::UnixTime;
use std::sync::Arc;
use std::time::Duration;

/// More certificates than this in one message are not looked at.
const MAX_CERTS: usize = 16;

/// Initiator: IKE_AUTH is out.
#[derive(Debug)]
pub(crate) struct AuthSent {
    pub channel: Channel,
    handshake: Handshake,
    pad: Arc<PadEntry>,
    pub spi_in: u32,
    int_auth: Vec<u8>,
}

/// Octets that the AUTH payload of the original initiator or responder covers (section 2.15).
fn octets(prf: Prf, channel: &Channel, handshake: &Handshake, initiator: bool, id: &[u8], int_auth: &[u8]) -> Secret {
    let (message, nonce) =
        if initiator { (&handshake.init_request, &handshake.nr) } else { (&handshake.init_response, &handshake.ni) };
    signed_octets(message, nonce, prf, channel.keys.authentication(initiator), id, int_auth)
}

/// Verifies the peer's proof that it is `id`.
fn check(
    ctx: &Ctx<'_>,
    pad: &PadEntry,
    prf: Prf,
    octets: &[u8],
    auth: AuthPayload<'_>,
    id: Identity,
    certs: Vec<Vec<u8>>,
) -> Result<Remote, Failure> {
    let now = match (&pad.remote_auth, ctx.unix) {
        (_, Some(now)) => now,
        (RemoteAuth::Psk(_), None) => UnixTime::since_unix_epoch(Duration::ZERO),
        // A certificate that may have expired proves nothing.
        (RemoteAuth::Certificate(_), None) => return Err(Failure::Authentication("the time is not known".to_owned())),
    };
    pad.remote_auth
        .verify(prf, octets, (auth.method, auth.data), &id, &certs, now)
        .map_err(|error| Failure::Authentication(error.to_string()))?;
    let chain = if matches!(pad.remote_auth, RemoteAuth::Certificate(_)) { certs.into() } else { Arc::default() };
    Ok(Remote { id: Arc::new(id), chain })
}

fn certificates(body: &Body<'_>) -> Vec<Vec<u8>> {
    let x509 = body.certs.iter().filter(|c| c.encoding == CERT_X509);
    x509.take(MAX_CERTS).map(|c| c.data.to_vec()).collect()
}

/// Adds our certificates, identity excepted, and the proof.
fn prove(
    chain: &mut Builder,
    pad: &PadEntry,
    between: impl FnOnce(&mut Builder),
    octets: &[u8],
    prf: Prf,
    hashes: &[u16],
) -> Result<(), Failure> {
    for certificate in pad.local_auth.chain() {
        chain.cert(PayloadType::CERT, CERT_X509, certificate);
    }
    between(chain);
    let (method, data) =
        pad.local_auth.authenticate(prf, octets, hashes).map_err(|error| Failure::Authentication(error.to_string()))?;
    chain.auth(method, &data);
    Ok(())
}

/// Sends IKE_AUTH.
pub(crate) fn start(
    base: &mut Base,
    ctx: &mut Ctx<'_>,
    mut channel: Channel,
    handshake: Handshake,
    pad: Arc<PadEntry>,
) -> Result<State, Failure> {
    let prf = Prf::from_id(channel.suite.prf).ok_or(Failure::NoProposal)?;
    let peer = base.peer.ok_or(Failure::Resources("peer handle"))?;
    let int_auth = handshake.int_auth.suffix(base.window.next_out());
    let id = pad.local_id.body();
    let signed = octets(prf, &channel, &handshake, true, &id, &int_auth);
    let mut chain = Builder::new();
    chain.raw(PayloadType::IDI, &id);
    let expected = match &pad.remote {
        IdMatch::Exact(id) => Some(id),
        IdMatch::Suffix(_) | IdMatch::Any => None,
    };
    // Section 2.4: this is the only IKE SA between the two identities, as far as we know.
    let first_contact = expected.is_some_and(|id| !(ctx.known)(id));
    prove(
        &mut chain,
        &pad,
        |chain| {
            if first_contact {
                chain.notify(NotifyType::INITIAL_CONTACT, &[]);
            }
            if let RemoteAuth::Certificate(trust) = &pad.remote_auth {
                chain.cert(PayloadType::CERTREQ, CERT_X509, &trust.authority_hashes().concat());
            }
            if let Some(id) = expected {
                chain.raw(PayloadType::IDR, &id.body());
            }
        },
        &signed,
        prf,
        &handshake.signature_hashes,
    )?;
    // Taken last: nothing fails between here and the state that owns it.
    let spi_in = (ctx.spis)(peer).ok_or(Failure::Resources("inbound SPIs"))?;
    let ts_i = child::propose(&pad.child.local_ts, base.local.ip());
    let ts_r = child::propose(&pad.child.remote_ts, base.remote.ip());
    child::offer(&mut chain, &pad.child.esp_proposals, spi_in, None, |_| (), (&ts_i, &ts_r), pad.child.mode);
    base.request(ctx, &mut channel, ExchangeType::IKE_AUTH, &chain);
    Ok(State::AuthSent(Box::new(AuthSent { channel, handshake, pad, spi_in, int_auth })))
}

impl AuthSent {
    /// Handles the answer.
    pub fn response(self: Box<Self>, base: &mut Base, ctx: &mut Ctx<'_>, received: &Received<'_>) -> State {
        let spi_in = self.spi_in;
        match self.proceed(base, ctx, &received.body) {
            Ok(state) => state,
            Err((failure, channel)) => {
                if let Some(mut channel) = channel {
                    // Section 2.21.2: the responder believes in this IKE SA; tell it that we do not.
                    let mut chain = Builder::new();
                    chain.notify(NotifyType::AUTHENTICATION_FAILED, &[]);
                    base.farewell(ctx, &mut channel, &chain);
                }
                base.unused_spi(ctx, spi_in);
                base.failed(ctx, None, failure);
                State::Gone
            }
        }
    }

    /// Who the responder has proved to be.
    fn verify(&self, ctx: &Ctx<'_>, prf: Prf, body: &Body<'_>) -> Result<Remote, Failure> {
        let (Some(id_r), Some(auth)) = (body.id_r, body.auth) else {
            return Err(Failure::Protocol("incomplete IKE_AUTH answer"));
        };
        let id = Identity::parse(id_r).map_err(|_| Failure::UnknownIdentity)?;
        if !self.pad.remote.matches(&id) {
            return Err(Failure::UnknownIdentity);
        }
        let signed = octets(prf, &self.channel, &self.handshake, false, id_r, &self.int_auth);
        check(ctx, &self.pad, prf, &signed, auth, id, certificates(body))
    }

    fn proceed(
        self: Box<Self>,
        base: &mut Base,
        ctx: &mut Ctx<'_>,
        body: &Body<'_>,
    ) -> Result<State, (Failure, Option<Box<Channel>>)> {
        if body.auth.is_none()
            && let Some(error) = body.error()
        {
            let failure = match error.kind {
                NotifyType::AUTHENTICATION_FAILED => Failure::RefusedByPeer,
                kind => Failure::Notified(kind),
            };
            return Err((failure, None));
        }
        let Some((prf, peer)) = Prf::from_id(self.channel.suite.prf).zip(base.peer) else {
            return Err((Failure::NoProposal, None));
        };
        let remote = match self.verify(ctx, prf, body) {
            Ok(remote) => remote,
            Err(failure) => return Err((failure, Some(Box::new(self.channel)))),
        };
        let Self { channel, handshake, pad, spi_in, .. } = *self;
        up(base, ctx, peer, &pad, &remote.id, &channel, false);
        let mut established = Established::new(ctx, channel, Arc::clone(&pad), remote);
        let agreement = match body.error() {
            Some(error) => Err(Failure::Notified(error.kind)),
            None => {
                let nat = established.channel.nat;
                child::conclude(body, &pad.child, &pad.child.esp_proposals, base, nat, spi_in, pad.child.mode, false)
            }
        };
        match agreement {
            Ok(agreement) => {
                let child = {
                    let channel = &established.channel;
                    let material =
                        Material { prf, keys: &channel.keys, shared: &[], ni: &handshake.ni, nr: &handshake.nr };
                    agreement.install(base, ctx, &first_terms(peer, channel, &pad), &material)
                };
                established.children.push(child);
            }
            Err(failure) => {
                child::refused(ctx, peer, failure);
                if body.error().is_some() {
                    base.unused_spi(ctx, spi_in);
                } else {
                    // The responder may believe in a child SA whose answer we cannot accept.
                    established.delete_unmade(spi_in);
                    established.pump(base, ctx);
                }
            }
        }
        Ok(State::Established(Box::new(established)))
    }
}

/// Reports an authenticated peer.
fn up(
    base: &Base,
    ctx: &mut Ctx<'_>,
    peer: PeerHandle,
    pad: &PadEntry,
    id: &Arc<Identity>,
    channel: &Channel,
    initial_contact: bool,
) {
    ctx.events.push_back(Event::PeerUp {
        peer,
        pad: pad.name.clone(),
        local_id: pad.local_id.clone(),
        remote_id: Identity::clone(id),
        local: base.local,
        remote: base.remote,
        natt: channel.nat.any(),
        initiator: base.initiator,
        suite: channel.suite.to_string(),
    });
    ctx.effects.push(Effect::Authenticated { peer, id: Arc::clone(id), initial_contact });
}

/// Answers IKE_AUTH.
pub(crate) fn respond(mut state: InitReplied, base: &mut Base, ctx: &mut Ctx<'_>, received: &Received<'_>) -> State {
    let body = &received.body;
    state.channel.forget_previous();
    match authenticate(&state, ctx, received) {
        Ok((pad, remote)) => accept(state, base, ctx, body, received.id, pad, remote),
        Err((kind, failure)) => {
            let mut chain = Builder::new();
            chain.notify(kind, &[]);
            base.answer(ctx, &mut state.channel, ExchangeType::IKE_AUTH, &chain);
            let claimed = body.id_i.and_then(|id| Identity::parse(id).ok());
            base.failed(ctx, claimed, failure);
            State::linger(ctx, state.channel)
        }
    }
}

/// Finds the PAD entry whose credential proves the initiator's identity.
fn authenticate(
    state: &InitReplied,
    ctx: &Ctx<'_>,
    received: &Received<'_>,
) -> Result<(Arc<PadEntry>, Remote), (NotifyType, Failure)> {
    let body = &received.body;
    let refuse = |failure| (NotifyType::AUTHENTICATION_FAILED, failure);
    let Some(id_i) = body.id_i else {
        return Err((NotifyType::INVALID_SYNTAX, Failure::Protocol("IKE_AUTH without IDi")));
    };
    let id = Identity::parse(id_i).map_err(|_| refuse(Failure::UnknownIdentity))?;
    // Without AUTH the initiator asks for EAP.
    let auth = body.auth.ok_or_else(|| refuse(Failure::Authentication("EAP is not offered".to_owned())))?;
    let expected = match body.id_r.map(Identity::parse) {
        Some(Ok(id)) => Some(id),
        Some(Err(_)) => return Err(refuse(Failure::UnknownIdentity)),
        None => None,
    };
    let prf = Prf::from_id(state.channel.suite.prf).ok_or_else(|| refuse(Failure::NoProposal))?;
    let int_auth = state.handshake.int_auth.suffix(received.id);
    let signed = octets(prf, &state.channel, &state.handshake, true, id_i, &int_auth);
    let certs = certificates(body);
    let mut failure = Failure::UnknownIdentity;
    for pad in ctx.policy.lookup(&id, expected.as_ref()) {
        // Before it knew who asks, IKE_SA_INIT accepted what any entry allows.
        if !pad.allows(&state.channel.suite) {
            failure = Failure::NoProposal;
            continue;
        }
        match check(ctx, pad, prf, &signed, auth, id.clone(), certs.clone()) {
            Ok(remote) => return Ok((Arc::clone(pad), remote)),
            Err(error) => failure = error,
        }
    }
    Err(refuse(failure))
}

fn accept(
    mut state: InitReplied,
    base: &mut Base,
    ctx: &mut Ctx<'_>,
    body: &Body<'_>,
    message_id: u32,
    pad: Arc<PadEntry>,
    remote: Remote,
) -> State {
    let Some((prf, peer)) = Prf::from_id(state.channel.suite.prf).zip(ctx.handles.take()) else {
        return State::InitReplied(Box::new(state));
    };
    let mut chain = Builder::new();
    let own_id = pad.local_id.body();
    chain.raw(PayloadType::IDR, &own_id);
    let int_auth = state.handshake.int_auth.suffix(message_id);
    let signed = octets(prf, &state.channel, &state.handshake, false, &own_id, &int_auth);
    if let Err(failure) = prove(&mut chain, &pad, |_| (), &signed, prf, &state.handshake.signature_hashes) {
        ctx.handles.release(peer);
        let mut chain = Builder::new();
        chain.notify(NotifyType::AUTHENTICATION_FAILED, &[]);
        base.answer(ctx, &mut state.channel, ExchangeType::IKE_AUTH, &chain);
        base.failed(ctx, Some(Identity::clone(&remote.id)), failure);
        return State::linger(ctx, state.channel);
    }
    base.peer = Some(peer);
    up(base, ctx, peer, &pad, &remote.id, &state.channel, body.has(NotifyType::INITIAL_CONTACT));
    let InitReplied { channel, handshake, .. } = state;
    let mut established = Established::new(ctx, channel, Arc::clone(&pad), remote);
    match first_child(&established, base, ctx, body, &pad, peer, prf, &handshake, &mut chain) {
        Ok(child) => established.children.push(child),
        Err(kind) => {
            chain.notify(kind, &[]);
            child::refused(ctx, peer, Failure::Notified(kind));
        }
    }
    base.answer(ctx, &mut established.channel, ExchangeType::IKE_AUTH, &chain);
    State::Established(Box::new(established))
}

fn first_terms(peer: PeerHandle, channel: &Channel, pad: &PadEntry) -> Terms {
    Terms { peer, nat: channel.nat, lifetime: pad.child.rekey_after, replaces: None, select: true }
}

#[allow(clippy::too_many_arguments)] // one exchange's worth of context
fn first_child(
    established: &Established,
    base: &Base,
    ctx: &mut Ctx<'_>,
    body: &Body<'_>,
    pad: &PadEntry,
    peer: PeerHandle,
    prf: Prf,
    handshake: &Handshake,
    chain: &mut Builder,
) -> Result<ChildSa, NotifyType> {
    let channel = &established.channel;
    let accepted = child::accept(body, &pad.child, &pad.child.esp_proposals, base, channel.nat, false)?;
    let spi_in = (ctx.spis)(peer).ok_or(NotifyType::NO_ADDITIONAL_SAS)?;
    accepted.answer_sa(chain, spi_in);
    accepted.answer_ts(chain);
    let material = Material { prf, keys: &channel.keys, shared: &[], ni: &handshake.ni, nr: &handshake.nr };
    let agreement = accepted.agree(spi_in);
    Ok(agreement.install(base, ctx, &first_terms(peer, channel, pad), &material))
}

//! IKE_AUTH (RFC 7296, section 1.2): identities, proofs, and the first child SA.
//!
//! ```text
//!   HDR, SK { IDi, [CERT,] [N(INITIAL_CONTACT),] [CERTREQ,] [IDr,] AUTH, SAi2, TSi, TSr }  -->
//!                                       <--  HDR, SK { IDr, [CERT,] AUTH, SAr2, TSi, TSr }
//! ```
//!
//! The responder chooses its PAD entry by IDi (and IDr when it is sent); the credential of that entry then has to prove
//! exactly that identity (H22). An initiator that sends no AUTH asks for EAP ([`super::eap`]). Failing to set up the
//! child SA does not undo the IKE SA (section 1.3.1 and 2.21.2).

use super::channel::Channel;
use super::child::{self, ChildSa, Material, Terms};
use super::established::{Established, Remote};
use super::initial::InitReplied;
use super::intermediate::Handshake;
use super::mobike::Role;
use super::{Base, Ctx, Effect, Received, State, eap, eap_initiator};
use crate::auth::{IdMatch, Identity, LocalAuth, RemoteAuth, signed_octets};
use crate::config::PadEntry;
use crate::crypto::{Prf, Secret};
use crate::error::Failure;
use crate::event::{EapSession, Event, PeerHandle};
use crate::message::{Body, ExchangeType};
use crate::payload::eap::{Code, code};
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
    pub handshake: Handshake,
    pub pad: Arc<PadEntry>,
    pub spi_in: u32,
    pub int_auth: Vec<u8>,
}

/// Octets that the AUTH payload of the original initiator or responder covers (section 2.15).
pub(super) fn octets(
    prf: Prf,
    channel: &Channel,
    handshake: &Handshake,
    initiator: bool,
    id: &[u8],
    int_auth: &[u8],
) -> Secret {
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
        (RemoteAuth::Psk(_) | RemoteAuth::Eap, None) => UnixTime::since_unix_epoch(Duration::ZERO),
        // A certificate that may have expired proves nothing.
        (RemoteAuth::Certificate(_), None) => return Err(Failure::Authentication("the time is not known".to_owned())),
    };
    pad.remote_auth
        .verify(prf, octets, (auth.method, auth.data), &id, &certs, now)
        .map_err(|error| Failure::Authentication(error.to_string()))?;
    let chain = if matches!(pad.remote_auth, RemoteAuth::Certificate(_)) { certs.into() } else { Arc::default() };
    Ok(Remote { id: Arc::new(id), chain, eap: None })
}

fn certificates(body: &Body<'_>) -> Vec<Vec<u8>> {
    let x509 = body.certs.iter().filter(|c| c.encoding == CERT_X509);
    x509.take(MAX_CERTS).map(|c| c.data.to_vec()).collect()
}

/// Adds our certificates, identity excepted, and the proof; neither with EAP.
pub(super) fn prove(
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
    let proof =
        pad.local_auth.authenticate(prf, octets, hashes).map_err(|error| Failure::Authentication(error.to_string()))?;
    if let Some((method, data)) = proof {
        chain.auth(method, &data);
    }
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
            match &pad.remote_auth {
                RemoteAuth::Certificate(trust) => {
                    chain.cert(PayloadType::CERTREQ, CERT_X509, &trust.authority_hashes().concat());
                }
                RemoteAuth::Eap => {
                    chain.notify(NotifyType::EAP_ONLY_AUTHENTICATION, &[]);
                }
                RemoteAuth::Psk(_) => {}
            }
            if let Some(id) = expected {
                chain.raw(PayloadType::IDR, &id.body());
            }
            if pad.mobike {
                chain.notify(NotifyType::MOBIKE_SUPPORTED, &[]);
            }
            if pad.child.resources > 0 {
                chain.notify(NotifyType::SA_RESOURCE_INFO, &[]);
            }
        },
        &signed,
        prf,
        &handshake.signature_hashes,
    )?;
    // Taken last: nothing fails between here and the state that owns it.
    let spi_in = (ctx.spis)(peer, None).ok_or(Failure::Resources("inbound SPIs"))?;
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
            Err((failure, channel)) => give_up(base, ctx, spi_in, channel, failure),
        }
    }

    /// Who the responder has proved to be.
    fn verify(&self, ctx: &Ctx<'_>, prf: Prf, body: &Body<'_>) -> Result<Remote, Failure> {
        let incomplete = || Failure::Protocol("incomplete IKE_AUTH answer");
        let id_r = body.id_r.ok_or_else(incomplete)?;
        let id = Identity::parse(id_r).map_err(|_| Failure::UnknownIdentity)?;
        if !self.pad.remote.matches(&id) {
            return Err(Failure::UnknownIdentity);
        }
        if matches!((&self.pad.local_auth, &self.pad.remote_auth), (LocalAuth::Eap, RemoteAuth::Eap)) {
            // RFC 5998: the key that the method gives will be the proof.
            return Ok(Remote { id: Arc::new(id), chain: Arc::default(), eap: None });
        }
        let auth = body.auth.ok_or_else(incomplete)?;
        let signed = octets(prf, &self.channel, &self.handshake, false, id_r, &self.int_auth);
        check(ctx, &self.pad, prf, &signed, auth, id, certificates(body))
    }

    fn proceed(self: Box<Self>, base: &mut Base, ctx: &mut Ctx<'_>, body: &Body<'_>) -> Result<State, GivenUp> {
        if let Some(failure) = refusal(body) {
            return Err((failure, None));
        }
        let Some((prf, peer)) = Prf::from_id(self.channel.suite.prf).zip(base.peer) else {
            return Err((Failure::NoProposal, None));
        };
        let remote = match self.verify(ctx, prf, body) {
            Ok(remote) => remote,
            Err(failure) => return Err((failure, Some(Box::new(self.channel)))),
        };
        if matches!(self.pad.local_auth, LocalAuth::Eap) {
            return eap_initiator::begin(*self, ctx, peer, remote, body);
        }
        Ok(self.enter(base, ctx, body, prf, peer, remote))
    }

    /// Both ends are authenticated; `body` is the answer about the child SA.
    pub fn enter(
        self,
        base: &mut Base,
        ctx: &mut Ctx<'_>,
        body: &Body<'_>,
        prf: Prf,
        peer: PeerHandle,
        remote: Remote,
    ) -> State {
        let Self { mut channel, handshake, pad, spi_in, .. } = self;
        channel.mobike = (pad.mobike && body.has(NotifyType::MOBIKE_SUPPORTED)).then_some(Role::Initiator);
        up(base, ctx, peer, &pad, &remote, &channel, false);
        let mut established = Established::new(ctx, channel, Arc::clone(&pad), remote);
        let agreement = match body.error() {
            Some(error) => Err(Failure::Notified(error.kind)),
            None => {
                let nat = established.channel.nat;
                let (path, mode) = (base.path(), pad.child.mode);
                child::conclude(body, &pad.child, &pad.child.esp_proposals, path, nat, spi_in, mode, false)
            }
        };
        match agreement {
            Ok(agreement) => {
                let child = {
                    let channel = &established.channel;
                    let material =
                        Material { prf, keys: &channel.keys, shared: &[], ni: &handshake.ni, nr: &handshake.nr };
                    agreement.install(base, ctx, first_terms(peer, base, channel, &pad), &material)
                };
                established.children.push(child);
                established.agree_on_resources(ctx, body, true);
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
        State::Established(Box::new(established))
    }
}

/// Why an initiator goes no further, and the channel over which the responder is to be told.
pub(super) type GivenUp = (Failure, Option<Box<Channel>>);

/// An answer that refuses us.
pub(super) fn refusal(body: &Body<'_>) -> Option<Failure> {
    if body.eap.is_some_and(|packet| code(packet) == Ok(Code::Failure)) {
        return Some(Failure::Authentication("EAP failure".to_owned()));
    }
    let error = body.error().filter(|_| body.auth.is_none())?;
    Some(match error.kind {
        NotifyType::AUTHENTICATION_FAILED => Failure::RefusedByPeer,
        kind => Failure::Notified(kind),
    })
}

/// Ends an initiator's IKE SA that is not authenticated yet.
pub(super) fn give_up(
    base: &mut Base,
    ctx: &mut Ctx<'_>,
    spi_in: u32,
    channel: Option<Box<Channel>>,
    failure: Failure,
) -> State {
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

/// Reports an authenticated peer.
fn up(
    base: &Base,
    ctx: &mut Ctx<'_>,
    peer: PeerHandle,
    pad: &PadEntry,
    remote: &Remote,
    channel: &Channel,
    initial_contact: bool,
) {
    if remote.eap.is_some() {
        ctx.events.push_back(Event::EapEnd { session: EapSession(base.spi), peer: Some(peer) });
    }
    ctx.events.push_back(Event::PeerUp {
        peer,
        pad: pad.name.clone(),
        local_id: pad.local_id.clone(),
        remote_id: Identity::clone(&remote.id),
        eap_identity: remote.eap.as_deref().map(str::to_owned),
        local: base.local,
        remote: base.remote,
        natt: channel.nat.any(),
        initiator: base.initiator,
        suite: channel.suite.to_string(),
        version: 2,
        weak: Vec::new(),
    });
    ctx.effects.push(Effect::Authenticated { peer, remote: remote.clone(), initial_contact });
}

/// Answers IKE_AUTH.
pub(crate) fn respond(mut state: InitReplied, base: &mut Base, ctx: &mut Ctx<'_>, received: &Received<'_>) -> State {
    state.channel.forget_previous();
    let outcome = if received.body.auth.is_none() {
        eap::choose(&state, ctx, received).map(|(pad, id)| (pad, Claim::Eap(id)))
    } else {
        authenticate(&state, ctx, received).map(|(pad, remote)| (pad, Claim::Proved(remote)))
    };
    match outcome {
        Ok((pad, Claim::Proved(remote))) => accept(state, base, ctx, received, pad, remote),
        Ok((pad, Claim::Eap(id))) => eap::begin(state, base, ctx, received, pad, id),
        Err((kind, failure)) => {
            let claimed = received.body.id_i.and_then(|id| Identity::parse(id).ok());
            refuse(state.channel, base, ctx, kind, claimed, failure)
        }
    }
}

/// How an initiator stands behind its identity.
enum Claim {
    Proved(Remote),
    Eap(Identity),
}

/// The notification to refuse with, and why.
pub(super) type Refused = (NotifyType, Failure);

/// Refuses an initiator that is not authenticated.
pub(super) fn refuse(
    mut channel: Channel,
    base: &mut Base,
    ctx: &mut Ctx<'_>,
    kind: NotifyType,
    claimed: Option<Identity>,
    failure: Failure,
) -> State {
    let mut chain = Builder::new();
    chain.notify(kind, &[]);
    base.answer(ctx, &mut channel, ExchangeType::IKE_AUTH, &chain);
    base.failed(ctx, claimed, failure);
    State::linger(ctx, channel)
}

pub(super) fn unproved(failure: Failure) -> Refused {
    (NotifyType::AUTHENTICATION_FAILED, failure)
}

/// Who the initiator claims to be, and whom it expects.
pub(super) fn identities(body: &Body<'_>) -> Result<(Identity, Option<Identity>), Refused> {
    let Some(id_i) = body.id_i else {
        return Err((NotifyType::INVALID_SYNTAX, Failure::Protocol("IKE_AUTH without IDi")));
    };
    let parse = |id| Identity::parse(id).map_err(|_| unproved(Failure::UnknownIdentity));
    Ok((parse(id_i)?, body.id_r.map(parse).transpose()?))
}

/// Finds the PAD entry whose credential proves the initiator's identity.
fn authenticate(
    state: &InitReplied,
    ctx: &Ctx<'_>,
    received: &Received<'_>,
) -> Result<(Arc<PadEntry>, Remote), Refused> {
    let body = &received.body;
    let (id, expected) = identities(body)?;
    let (Some(id_i), Some(auth)) = (body.id_i, body.auth) else { return Err(unproved(Failure::UnknownIdentity)) };
    let prf = Prf::from_id(state.channel.suite.prf).ok_or_else(|| unproved(Failure::NoProposal))?;
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
        // Such an entry is an initiator's: we could not prove ourselves.
        if matches!(pad.local_auth, LocalAuth::Eap) {
            continue;
        }
        match check(ctx, pad, prf, &signed, auth, id.clone(), certs.clone()) {
            Ok(remote) => return Ok((Arc::clone(pad), remote)),
            Err(error) => failure = error,
        }
    }
    Err(unproved(failure))
}

/// Our identity and proof, for the first answer.
pub(super) fn present(
    channel: &Channel,
    handshake: &Handshake,
    pad: &PadEntry,
    int_auth: &[u8],
) -> Result<Builder, Failure> {
    let prf = Prf::from_id(channel.suite.prf).ok_or(Failure::NoProposal)?;
    let mut chain = Builder::new();
    let own_id = pad.local_id.body();
    chain.raw(PayloadType::IDR, &own_id);
    let signed = octets(prf, channel, handshake, false, &own_id, int_auth);
    prove(&mut chain, pad, |_| (), &signed, prf, &handshake.signature_hashes)?;
    Ok(chain)
}

fn accept(
    state: InitReplied,
    base: &mut Base,
    ctx: &mut Ctx<'_>,
    received: &Received<'_>,
    pad: Arc<PadEntry>,
    remote: Remote,
) -> State {
    let InitReplied { channel, handshake, .. } = state;
    let int_auth = handshake.int_auth.suffix(received.id);
    match present(&channel, &handshake, &pad, &int_auth) {
        Ok(chain) => {
            let initial_contact = received.body.has(NotifyType::INITIAL_CONTACT);
            admit(channel, &handshake, base, ctx, &received.body, chain, pad, remote, initial_contact)
        }
        Err(failure) => {
            let claimed = Some(Identity::clone(&remote.id));
            refuse(channel, base, ctx, NotifyType::AUTHENTICATION_FAILED, claimed, failure)
        }
    }
}

/// Both ends are authenticated: the last answer, which `chain` begins, and the child SA that `body` asks for.
#[allow(clippy::too_many_arguments)] // one exchange's worth of context
pub(super) fn admit(
    mut channel: Channel,
    handshake: &Handshake,
    base: &mut Base,
    ctx: &mut Ctx<'_>,
    body: &Body<'_>,
    mut chain: Builder,
    pad: Arc<PadEntry>,
    remote: Remote,
    initial_contact: bool,
) -> State {
    let Some((prf, peer)) = Prf::from_id(channel.suite.prf).zip(ctx.handles.take()) else {
        let claimed = Some(Identity::clone(&remote.id));
        let failure = Failure::Resources("peer handle");
        let state = refuse(channel, base, ctx, NotifyType::AUTHENTICATION_FAILED, claimed, failure);
        if remote.eap.is_some() {
            ctx.events.push_back(Event::EapEnd { session: EapSession(base.spi), peer: None });
        }
        return state;
    };
    base.peer = Some(peer);
    if pad.mobike && body.has(NotifyType::MOBIKE_SUPPORTED) {
        channel.mobike = Some(Role::Responder);
        chain.notify(NotifyType::MOBIKE_SUPPORTED, &[]);
    }
    up(base, ctx, peer, &pad, &remote, &channel, initial_contact);
    let mut established = Established::new(ctx, channel, Arc::clone(&pad), remote);
    match first_child(&established, base, ctx, body, &pad, peer, prf, handshake, &mut chain) {
        Ok(child) => {
            established.children.push(child);
            if established.agree_on_resources(ctx, body, false) {
                chain.notify(NotifyType::SA_RESOURCE_INFO, &[]);
            }
        }
        Err(kind) => {
            chain.notify(kind, &[]);
            child::refused(ctx, peer, Failure::Notified(kind));
        }
    }
    base.answer(ctx, &mut established.channel, ExchangeType::IKE_AUTH, &chain);
    State::Established(Box::new(established))
}

fn first_terms(peer: PeerHandle, base: &Base, channel: &Channel, pad: &PadEntry) -> Terms {
    let (path, lifetime) = (base.path(), pad.child.rekey_after);
    Terms { peer, path, nat: channel.nat, lifetime, replaces: None, resource: None, select: true }
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
    let spi_in = (ctx.spis)(peer, None).ok_or(NotifyType::NO_ADDITIONAL_SAS)?;
    accepted.answer_sa(chain, spi_in);
    accepted.answer_ts(chain);
    let material = Material { prf, keys: &channel.keys, shared: &[], ni: &handshake.ni, nr: &handshake.nr };
    let agreement = accepted.agree(spi_in);
    Ok(agreement.install(base, ctx, first_terms(peer, base, channel, pad), &material))
}

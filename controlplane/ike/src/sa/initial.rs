//! IKE_SA_INIT (RFC 7296, section 1.2): algorithms, a key exchange and nonces, in the clear.
//!
//! ```text
//!   HDR, SAi1, KEi, Ni  -->
//!                       <--  HDR, SAr1, KEr, Nr, [CERTREQ]
//! ```
//!
//! Instead, the responder may ask for a cookie (under load, section 2.6) or for another key exchange method (section
//! 1.2); the initiator then repeats its request in another form. Cookies are the endpoint's business, since they are
//! checked before any state exists.

use super::channel::Channel;
use super::intermediate::{Handshake, IntAuth};
use super::nat::Nat;
use super::window::Window;
use super::{Base, Ctx, Received, Sa, State, auth, intermediate};
use crate::auth as credentials;
use crate::config::PadEntry;
use crate::crypto::{self, IkeKeys, KeMethod, KeyExchange, Prf, SkSuite};
use crate::error::{CallError, Failure};
use crate::event::{Meta, PeerHandle};
use crate::message::{Body, ExchangeType, Header};
use crate::payload::notify::NotifyType;
use crate::payload::sa as sa_payload;
use crate::payload::{Builder, CERT_X509, KePayload, PayloadType};
use crate::proposal::{IkeProposal, IkeSuite};
use std::sync::Arc;

/// How often an initiator starts over for a cookie or a key exchange method.
const MAX_RESTARTS: u8 = 4;
/// Ports of IKE and of IKE behind NATs.
pub(crate) const NATT_PORT: u16 = 4500;

/// Initiator: IKE_SA_INIT is out.
#[derive(Debug)]
pub(crate) struct InitSent {
    pad: Arc<PadEntry>,
    exchange: KeyExchange,
    method: u16,
    public: Vec<u8>,
    nonce: Vec<u8>,
    cookie: Vec<u8>,
    restarts: u8,
    request: Vec<u8>,
}

/// Responder: IKE_SA_INIT is answered.
#[derive(Debug)]
pub(crate) struct InitReplied {
    pub channel: Channel,
    pub handshake: Handshake,
    /// The additional key exchange is still to come.
    pub additional: Option<KeMethod>,
}

/// The algorithms of a suite in the crypto module's terms.
pub(crate) fn algorithms(suite: &IkeSuite) -> Option<(Prf, SkSuite, KeMethod)> {
    let sk = SkSuite::from_ids(suite.encr.0, suite.encr.1, suite.integ)?;
    Some((Prf::from_id(suite.prf)?, sk, KeMethod::from_id(suite.ke)?))
}

/// SIGNATURE_HASH_ALGORITHMS (RFC 7427, section 4): SHA2-256, -384, -512 and Identity (RFC 8420).
const SIGNATURE_HASHES: [u8; 8] = [0, 2, 0, 3, 0, 4, 0, 5];

pub(crate) fn signature_hashes(body: &Body<'_>) -> Vec<u16> {
    body.notify(NotifyType::SIGNATURE_HASH_ALGORITHMS)
        .map(|n| n.data.chunks_exact(2).map(|c| u16::from_be_bytes([c[0], c[1]])).collect())
        .unwrap_or_default()
}

/// Makes an initiator's IKE SA and sends its first message.
pub(crate) fn initiate(ctx: &mut Ctx<'_>, pad: Arc<PadEntry>, peer: PeerHandle, meta: Meta) -> Result<Sa, CallError> {
    let method = pad.proposals().iter().find_map(|p| p.ke.first().copied()).ok_or(CallError::Resources)?;
    let (exchange, public) = start(method).map_err(|_| CallError::Resources)?;
    let (spi, nonce) = (ctx.ike_spi(), ctx.nonce());
    let mut base = Base {
        spi,
        peer_spi: 0,
        initiator: true,
        local: meta.local,
        remote: meta.remote,
        asked: meta,
        peer: Some(peer),
        window: Window::default(),
        created: ctx.now,
        deadline: None,
        origin: None,
    };
    let (cookie, request) = (Vec::new(), Vec::new());
    let mut state = InitSent { pad, exchange, method, public, nonce, cookie, restarts: 0, request };
    state.request = state.build(&base);
    base.window.request(ctx, base.local, base.remote, vec![state.request.clone()]);
    Ok(Sa { base, state: State::InitSent(Box::new(state)) })
}

fn start(method: u16) -> Result<(KeyExchange, Vec<u8>), Failure> {
    let method = KeMethod::from_id(method).ok_or(Failure::Crypto("unknown key exchange method"))?;
    KeyExchange::initiate(method).map_err(|_| Failure::Crypto("key generation"))
}

impl InitSent {
    fn build(&self, base: &Base) -> Vec<u8> {
        let offers: Vec<_> = (1..=255).zip(self.pad.proposals()).map(|(n, p)| p.offer(n, &[])).collect();
        let mut chain = Builder::new();
        if !self.cookie.is_empty() {
            // Section 2.6: the cookie goes first.
            chain.notify(NotifyType::COOKIE, &self.cookie);
        }
        chain.push(PayloadType::SA, |out| sa_payload::emit(&offers, out));
        chain.ke(self.method, &self.public);
        chain.raw(PayloadType::NONCE, &self.nonce);
        Nat::announce(&mut chain, base.spi, 0, base.local, base.remote, self.pad.force_encap);
        chain.notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED, &[]);
        chain.notify(NotifyType::SIGNATURE_HASH_ALGORITHMS, &SIGNATURE_HASHES);
        if self.pad.proposals().iter().any(|p| !p.addke1.is_empty()) {
            chain.notify(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED, &[]);
        }
        Header { message_id: 0, ..base.header(ExchangeType::IKE_SA_INIT, false) }.message(&chain)
    }

    /// Handles the answer.
    pub fn response(mut self: Box<Self>, base: &mut Base, ctx: &mut Ctx<'_>, header: &Header, message: &[u8]) -> State {
        let Some(Ok(body)) = message.get(crate::message::HEADER_LEN..).map(|rest| Body::parse(header.next, rest))
        else {
            return State::InitSent(self);
        };
        let restart = match self.restart_wanted(&body) {
            Ok(restart) => restart,
            Err(failure) => {
                base.failed(ctx, None, failure);
                return State::Gone;
            }
        };
        if restart {
            self.restarts += 1;
            self.request = self.build(base);
            base.window.restart(ctx, base.local, base.remote, vec![self.request.clone()]);
            return State::InitSent(self);
        }
        if header.spi_r == 0 || body.sa.is_none() {
            return State::InitSent(self);
        }
        base.window.answered(0);
        base.peer_spi = header.spi_r;
        match self.proceed(base, ctx, &body, message) {
            Ok(state) => state,
            Err(failure) => {
                base.failed(ctx, None, failure);
                State::Gone
            }
        }
    }

    /// Whether the responder wants the request in another form; prepares that.
    fn restart_wanted(&mut self, body: &Body<'_>) -> Result<bool, Failure> {
        if let Some(cookie) = body.notify(NotifyType::COOKIE) {
            // Section 2.6: 1 to 64 octets.
            if cookie.data.is_empty() || cookie.data.len() > 64 {
                return Ok(false);
            }
            self.cookie = cookie.data.to_vec();
        } else if let Some(notify) = body.notify(NotifyType::INVALID_KE_PAYLOAD) {
            let [hi, lo] = *notify.data else { return Err(Failure::Protocol("INVALID_KE_PAYLOAD")) };
            let method = u16::from_be_bytes([hi, lo]);
            // A method that we did not offer would be a downgrade.
            if method == self.method || !self.pad.proposals().iter().any(|p| p.ke.contains(&method)) {
                return Err(Failure::NoProposal);
            }
            (self.exchange, self.public) = start(method)?;
            self.method = method;
        } else if let Some(error) = body.error() {
            return Err(match error.kind {
                NotifyType::NO_PROPOSAL_CHOSEN => Failure::NoProposal,
                kind => Failure::Notified(kind),
            });
        } else {
            return Ok(false);
        }
        if self.restarts < MAX_RESTARTS { Ok(true) } else { Err(Failure::Protocol("endless IKE_SA_INIT")) }
    }

    fn proceed(self, base: &mut Base, ctx: &mut Ctx<'_>, body: &Body<'_>, message: &[u8]) -> Result<State, Failure> {
        let (Some(chosen), Some(ke), Some(nr)) = (&body.sa, body.ke, body.nonce) else {
            return Err(Failure::Protocol("incomplete IKE_SA_INIT answer"));
        };
        let [chosen] = &chosen[..] else { return Err(Failure::Protocol("not one proposal chosen")) };
        let (suite, exact) = IkeProposal::choose(&self.pad.proposals(), std::slice::from_ref(chosen), Some(ke.method))
            .ok_or(Failure::NoProposal)?;
        if exact.transforms.len() != chosen.transforms.len() || suite.ke != self.method || ke.method != self.method {
            return Err(Failure::NoProposal);
        }
        let (prf, sk, _) = algorithms(&suite).ok_or(Failure::NoProposal)?;
        let shared = self.exchange.finish(ke.data).map_err(|_| Failure::Crypto("key exchange"))?;
        let keys = IkeKeys::derive(prf, sk, &shared, &self.nonce, nr, base.spi, base.peer_spi);
        let mut nat = Nat::detect(body, base.spi, base.peer_spi, base.local, base.remote);
        nat.local |= self.pad.force_encap;
        let fragmentation = body.has(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED);
        let channel = Channel::new(suite, sk, keys, true, fragmentation, nat);
        let mobile = self.pad.mobike && body.has(NotifyType::NAT_DETECTION_SOURCE_IP);
        if (nat.any() || mobile) && base.remote.port() != NATT_PORT {
            // Section 2.23: with a NAT in between, all that follows goes between ports 4500; and where there may be one
            // later (RFC 4555, section 3.3).
            base.local.set_port(NATT_PORT);
            base.remote.set_port(NATT_PORT);
        }
        let handshake = Handshake {
            init_request: self.request,
            init_response: message.to_vec(),
            ni: self.nonce,
            nr: nr.to_vec(),
            signature_hashes: signature_hashes(body),
            int_auth: IntAuth::default(),
        };
        match suite.addke1 {
            Some(id) if body.has(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED) => {
                intermediate::start(base, ctx, channel, handshake, self.pad, id)
            }
            Some(_) => Err(Failure::Protocol("additional key exchange without IKE_INTERMEDIATE")),
            None => auth::start(base, ctx, channel, handshake, self.pad),
        }
    }
}

/// Why a responder does not start an IKE SA: the notification to answer with, which needs no state.
#[derive(Debug)]
pub(crate) struct Refusal(pub NotifyType, pub Vec<u8>);

/// Makes a responder's IKE SA from an IKE_SA_INIT request that passed the cookie check, and answers it.
pub(crate) fn respond(
    ctx: &mut Ctx<'_>,
    meta: Meta,
    header: &Header,
    body: &Body<'_>,
    message: &[u8],
) -> Result<Sa, Refusal> {
    let (Some(offered), Some(KePayload { method, data }), Some(ni)) = (&body.sa, body.ke, body.nonce) else {
        return Err(Refusal(NotifyType::INVALID_SYNTAX, Vec::new()));
    };
    let intermediate = body.has(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED);
    let choice = if intermediate {
        IkeProposal::choose(&ctx.policy.proposals, offered, Some(method))
    } else {
        // Additional key exchanges need IKE_INTERMEDIATE (RFC 9370, section 2.2).
        let plain: Vec<_> = ctx.policy.proposals.iter().filter(|p| p.addke1.is_empty()).cloned().collect();
        IkeProposal::choose(&plain, offered, Some(method))
    };
    let refused = || Refusal(NotifyType::NO_PROPOSAL_CHOSEN, Vec::new());
    let (suite, chosen) = choice.ok_or_else(refused)?;
    if suite.ke != method {
        return Err(Refusal(NotifyType::INVALID_KE_PAYLOAD, suite.ke.to_be_bytes().to_vec()));
    }
    let (prf, sk, ke) = algorithms(&suite).ok_or_else(refused)?;
    let (public, shared) = crypto::respond(ke, data).map_err(|_| Refusal(NotifyType::INVALID_SYNTAX, Vec::new()))?;
    let (spi, nr) = (ctx.ike_spi(), ctx.nonce());
    let keys = IkeKeys::derive(prf, sk, &shared, ni, &nr, header.spi_i, spi);
    let mut base = Base {
        spi,
        peer_spi: header.spi_i,
        initiator: false,
        local: meta.local,
        remote: meta.remote,
        asked: meta,
        peer: None,
        window: Window::default(),
        created: ctx.now,
        deadline: None,
        origin: Some((header.spi_i, meta.remote)),
    };
    let nat = Nat::detect(body, header.spi_i, 0, meta.local, meta.remote);
    let fragmentation = body.has(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED);
    let mut chain = Builder::new();
    chain.push(PayloadType::SA, |out| sa_payload::emit(std::slice::from_ref(&chosen), out));
    chain.ke(method, &public);
    chain.raw(PayloadType::NONCE, &nr);
    if body.has(NotifyType::NAT_DETECTION_SOURCE_IP) {
        Nat::announce(&mut chain, header.spi_i, spi, meta.local, meta.remote, false);
    }
    if fragmentation {
        chain.notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED, &[]);
    }
    if body.has(NotifyType::SIGNATURE_HASH_ALGORITHMS) {
        chain.notify(NotifyType::SIGNATURE_HASH_ALGORITHMS, &SIGNATURE_HASHES);
    }
    if suite.addke1.is_some() {
        chain.notify(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED, &[]);
    }
    if let Some(hashes) = &ctx.policy.authorities {
        chain.cert(PayloadType::CERTREQ, CERT_X509, hashes);
    }
    let reply = base.header(ExchangeType::IKE_SA_INIT, true).message(&chain);
    base.window.answer(ctx, meta.local, meta.remote, vec![reply.clone()]);
    let handshake = Handshake {
        init_request: message.to_vec(),
        init_response: reply,
        ni: ni.to_vec(),
        nr,
        signature_hashes: signature_hashes(body),
        int_auth: IntAuth::default(),
    };
    let channel = Channel::new(suite, sk, keys, false, fragmentation, nat);
    let additional = suite.addke1.and_then(KeMethod::from_id);
    let state = InitReplied { channel, handshake, additional };
    Ok(Sa { base, state: State::InitReplied(Box::new(state)) })
}

impl InitReplied {
    /// Handles IKE_INTERMEDIATE or IKE_AUTH. Anything else is not answered: nobody is authenticated.
    pub fn request(self: Box<Self>, base: &mut Base, ctx: &mut Ctx<'_>, received: &Received<'_>) -> State {
        match (received.exchange, self.additional) {
            (ExchangeType::IKE_INTERMEDIATE, Some(method)) => intermediate::respond(*self, base, ctx, received, method),
            (ExchangeType::IKE_AUTH, None) => auth::respond(*self, base, ctx, received),
            _ => State::InitReplied(self),
        }
    }

    /// Whether `message` repeats the request this SA was made from.
    pub fn made_from(&self, message: &[u8]) -> bool {
        self.handshake.init_request == message
    }
}

/// SHA-1 hashes of the trust anchors' keys, for CERTREQ (section 3.7).
pub(crate) fn authorities(pad: &[Arc<PadEntry>]) -> Option<Vec<u8>> {
    let mut hashes: Vec<u8> = Vec::new();
    let mut any = false;
    for entry in pad {
        if let credentials::RemoteAuth::Certificate(trust) = &entry.remote_auth {
            any = true;
            for hash in trust.authority_hashes() {
                // A handful of authorities is usual; a longer list would only bloat the answer.
                let known = hashes.chunks_exact(20).any(|h| h == hash.as_slice());
                if !known && hashes.len() < 20 * 16 {
                    hashes.extend_from_slice(&hash);
                }
            }
        }
    }
    any.then_some(hashes)
}

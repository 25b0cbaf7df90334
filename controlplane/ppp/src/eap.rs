//! EAP on a PPP link (RFC 3748, section 3.1: protocol c227, a whole EAP packet as the information).
//!
//! The side that checks is a pass-through (RFC 3748, section 2.3): it asks for the identity, retransmits, and lets one
//! Response through for each Request; what they say is between the peer and the owner's AAA.
//!
//! ```text
//!  Request/Identity ->           <- Response/Identity   Event::EapResponse
//!  Request ->  Link::eap_request  <- Response            Event::EapResponse    ... as often as the method takes
//!  Success or Failure ->  Link::auth_result
//! ```
//!
//! Success and Failure are not retransmitted. A client whose method is through takes the peer's first network control
//! packet for the Success that was lost (RFC 3748, section 3.4).

use crate::config::{AuthMethod, Credentials, Timers};
use crate::cp::Context;
use crate::event::{AuthVerdict, EapResponse};
use crate::message::protocol;
use ::eap::{Method, Packet, Peer, State, Type};
use std::time::Instant;

fn send(cx: &mut Context<'_>, packet: &[u8]) {
    cx.out.push_back([&protocol::EAP.to_be_bytes(), packet].concat());
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// For the peer; the Request is retransmitted.
    Response,
    /// For the owner: another Request or the verdict.
    Owner,
    Nothing,
}

/// The side that checks.
pub(crate) struct Authenticator {
    /// The latest Request.
    request: Vec<u8>,
    waiting: Waiting,
    identity: Vec<u8>,
    tries: u32,
    timer: Option<Instant>,
    accepted: bool,
}

impl Authenticator {
    pub fn new(cx: &mut Context<'_>, timers: &Timers) -> Self {
        let request = identity_request(cx.rng.next_u32() as u8);
        let waiting = Waiting::Nothing;
        let mut authenticator = Self { request, waiting, identity: Vec::new(), tries: 0, timer: None, accepted: false };
        authenticator.challenge(cx, timers);
        authenticator
    }

    fn id(&self) -> u8 {
        self.request.get(1).copied().unwrap_or_default()
    }

    /// Asks for the identity, with a new identifier. Not while a conversation is under way.
    pub fn challenge(&mut self, cx: &mut Context<'_>, timers: &Timers) {
        if self.waiting == Waiting::Nothing {
            self.ask(cx, identity_request(self.id().wrapping_add(1)), timers);
        }
    }

    fn ask(&mut self, cx: &mut Context<'_>, request: Vec<u8>, timers: &Timers) {
        self.request = request;
        self.waiting = Waiting::Response;
        self.tries = timers.max_configure;
        self.send(cx, timers);
    }

    fn send(&mut self, cx: &mut Context<'_>, timers: &Timers) {
        send(cx, &self.request);
        self.tries = self.tries.saturating_sub(1);
        self.timer = Some(cx.now + timers.restart);
    }

    /// A Request with the question that we ask ourselves.
    fn is_own_request(&self, kind: Type, data: &[u8]) -> bool {
        let simple = matches!(kind.canonical(), Type::IDENTITY | Type::NOTIFICATION);
        let own = Packet::parse(&self.request);
        !simple && matches!(own, Some(Packet::Request { kind: k, data: d, .. }) if k == kind && d == data)
    }

    /// RFC 3748, section 4.1: the first Response with the Request's identifier counts, all others are discarded.
    pub fn handle_packet(&mut self, packet: &[u8]) -> Option<EapResponse> {
        let response = Packet::parse(packet)?;
        let Packet::Response { id, kind, data } = response else { return None };
        if id != self.id() || self.waiting != Waiting::Response {
            return None;
        }
        if matches!(Packet::parse(&self.request), Some(Packet::Request { kind: Type::IDENTITY, .. })) {
            if kind != Type::IDENTITY {
                return None;
            }
            self.identity = data.to_vec();
        }
        self.waiting = Waiting::Owner;
        self.timer = None;
        let identity = self.identity.clone();
        Some(EapResponse { identity, packet: response.encode(), renewed: self.accepted })
    }

    /// The next Request, from the owner. `false`: it is none.
    pub fn request(&mut self, cx: &mut Context<'_>, packet: &[u8], timers: &Timers) -> bool {
        if self.waiting != Waiting::Owner {
            return true;
        }
        let Some(request @ Packet::Request { .. }) = Packet::parse(packet) else { return false };
        self.ask(cx, request.encode(), timers);
        true
    }

    /// The owner's answer. `None`: nothing was asked; else whether the peer was accepted. RFC 3579, section 2.6.3:
    /// the verdict decides, and the packet that the peer gets says the same.
    pub fn decide(&mut self, cx: &mut Context<'_>, verdict: AuthVerdict) -> Option<bool> {
        if self.waiting != Waiting::Owner {
            return None;
        }
        self.waiting = Waiting::Nothing;
        let id = self.id();
        let (accept, own, reply) = match verdict {
            AuthVerdict::Accept(reply) => (true, Packet::Success { id }, reply),
            AuthVerdict::Reject(reply) => (false, Packet::Failure { id }, reply),
        };
        let given = reply.eap.as_deref().and_then(Packet::parse);
        let agrees =
            matches!((accept, given), (true, Some(Packet::Success { .. })) | (false, Some(Packet::Failure { .. })));
        send(cx, &given.filter(|_| agrees).unwrap_or(own).encode());
        self.accepted |= accept;
        Some(accept)
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timer
    }

    /// `true`: no answer.
    pub fn handle_timeout(&mut self, cx: &mut Context<'_>, timers: &Timers) -> bool {
        if self.timer.is_none_or(|at| at > cx.now) {
            return false;
        }
        if self.tries == 0 {
            return true;
        }
        self.send(cx, timers);
        false
    }
}

fn identity_request(id: u8) -> Vec<u8> {
    Packet::Request { id, kind: Type::IDENTITY, data: &[] }.encode()
}

/// The side that is checked. The peer does the retransmitting.
pub(crate) struct Client {
    peer: Peer,
    timer: Option<Instant>,
    succeeded: bool,
}

impl Client {
    /// MD5-Challenge proves nothing of the authenticator: it is used only where CHAP with MD5 would be.
    pub fn new(now: Instant, credentials: &Credentials, timers: &Timers) -> Self {
        let both = [Method::MsChapV2, Method::Md5Challenge];
        let methods = if credentials.methods.contains(&AuthMethod::ChapMd5) { &both[..] } else { &both[..1] };
        let peer = Peer::new(&credentials.name, credentials.secret.expose(), methods);
        Self { peer, timer: Some(now + timers.patience()), succeeded: false }
    }

    pub fn handle_packet(
        &mut self,
        cx: &mut Context<'_>,
        packet: &[u8],
        timers: &Timers,
        own: Option<&Authenticator>,
    ) -> Option<Result<(), String>> {
        if let Some(Packet::Request { kind, data, .. }) = Packet::parse(packet)
            && own.is_some_and(|own| own.is_own_request(kind, data))
        {
            return None;
        }
        if let Some(response) = self.peer.handle(packet, cx.rng) {
            send(cx, &response);
            if *self.peer.state() == State::Running {
                self.timer = Some(cx.now + timers.patience());
            }
        }
        self.outcome()
    }

    fn outcome(&mut self) -> Option<Result<(), String>> {
        match self.peer.state() {
            State::Running => return None,
            State::Failure(text) => return Some(Err(text.clone())),
            State::Success => self.timer = None,
        }
        (!std::mem::replace(&mut self.succeeded, true)).then_some(Ok(()))
    }

    pub fn lower_layer_success(&mut self) -> bool {
        !self.succeeded && self.peer.lower_layer_success() && self.outcome().is_some()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timer
    }

    /// A peer that renews the authentication and then says nothing, but leaves the link up, has accepted us.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Result<(), ()>> {
        if self.timer.is_none_or(|at| at > now) {
            return None;
        }
        let well = if self.succeeded { self.peer.lower_layer_success() } else { self.peer.no_answer() };
        match well {
            true => self.outcome().map(|_| Ok(())),
            false => Some(Err(())),
        }
    }
}

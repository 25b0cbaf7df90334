//! One IKE SA: a value of [`State`] and the [`Base`] that all states share.
//!
//! ```text
//!   initiator:  InitSent ──► IntermediateSent ──► AuthSent ──► Established ──► Lingering ──► Gone
//!                     └───────────────────────────►┘  └─► EapInitiator ─►┘ │    ▲
//!   responder:  InitReplied ─(IKE_INTERMEDIATE)─► InitReplied ────────────►┘    └─ a rekeyed IKE SA starts here
//!                                                     └─► EapResponder ─►┘
//! ```
//!
//! Each state owns what it needs and consumes itself: a step takes the state by value and returns the next one, so a
//! half-made secret cannot outlive its exchange. Messages come here only when they are authentic (except in
//! IKE_SA_INIT, which has no keys yet) and carry the message id that is due.

pub(crate) mod accept;
pub(crate) mod auth;
pub(crate) mod channel;
pub(crate) mod child;
pub(crate) mod create_child;
pub(crate) mod eap;
pub(crate) mod eap_initiator;
pub(crate) mod established;
pub(crate) mod followup;
pub(crate) mod informational;
pub(crate) mod initial;
pub(crate) mod intermediate;
pub(crate) mod mobike;
pub(crate) mod nat;
pub(crate) mod resource;
pub(crate) mod window;

use crate::auth::Identity;
use crate::config::Policy;
use crate::error::{Failure, MessageError};
use crate::event::{ChildDownReason, DownReason, Event, Meta, PeerHandle, Transmit};
use crate::message::{Body, ExchangeType, Header};
use crate::payload::Builder;
use crate::payload::notify::NotifyType;
use channel::{Channel, Open, Opened};
use rand_core::CryptoRng;
use rustls_pki_types::UnixTime;
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Instant;
use window::{Incoming, Window};

/// Where inbound SPIs come from: whose child SA it is for, and for which of our resources, if it is bound to one.
pub type SpiSource = Box<dyn FnMut(PeerHandle, Option<u32>) -> Option<u32> + Send>;

/// What a step of one SA asks of the endpoint.
#[derive(Debug)]
pub(crate) enum Effect {
    /// A peer is authenticated; with INITIAL_CONTACT its older incarnations go.
    Authenticated { peer: PeerHandle, remote: established::Remote, initial_contact: bool },
    /// A rekeyed IKE SA joins the table; it becomes the peer's current one when `current`.
    Adopt { sa: Box<Sa>, current: bool },
    /// Child SAs, and what is to be done about them, move to another IKE SA of the same peer, which becomes its current.
    Succeed { peer: PeerHandle, to: u64, estate: Box<established::Estate> },
    /// The IKE SA `to`, which the peer made while `from` was being rekeyed by us, takes over.
    Inherit { from: u64, to: u64 },
    /// The IKE SA `to`, which waited to inherit from `from`, is gone.
    Disinherit { from: u64, to: u64 },
    /// A peer's handle is free.
    PeerGone { peer: PeerHandle },
    /// A child SA belongs to this IKE SA now.
    ChildAdded { spi_in: u32, owner: u64 },
    /// A child SA is gone.
    ChildRemoved { spi_in: u32 },
}

/// What a step may use.
pub(crate) struct Ctx<'a> {
    pub now: Instant,
    pub policy: &'a Policy,
    pub rng: &'a mut (dyn CryptoRng + Send),
    pub spis: &'a mut SpiSource,
    pub handles: &'a mut Handles,
    /// Whether a peer of that identity is up.
    pub known: &'a dyn Fn(&Identity) -> bool,
    /// The wall clock, for certificates.
    pub unix: Option<UnixTime>,
    pub events: &'a mut VecDeque<Event>,
    pub transmits: &'a mut VecDeque<Transmit>,
    pub effects: &'a mut Vec<Effect>,
}

impl Ctx<'_> {
    /// Queues a message.
    pub fn send(&mut self, local: SocketAddr, remote: SocketAddr, data: Vec<u8>) {
        self.transmits.push_back(Transmit { local, remote, data, keepalive: false });
    }

    /// A nonce of 32 octets: at least half the key size of every PRF here (RFC 7296, section 2.10).
    pub fn nonce(&mut self) -> Vec<u8> {
        let mut nonce = vec![0; 32];
        self.rng.fill_bytes(&mut nonce);
        nonce
    }

    /// An IKE SPI: random, not zero.
    pub fn ike_spi(&mut self) -> u64 {
        self.rng.next_u64() | 1 << 63
    }
}

/// Peer handles: the first free number from 1 on.
#[derive(Debug, Default)]
pub(crate) struct Handles {
    freed: BTreeSet<u32>,
    highest: u32,
}

impl Handles {
    pub fn take(&mut self) -> Option<PeerHandle> {
        let number = match self.freed.pop_first() {
            Some(number) => number,
            None => {
                self.highest = self.highest.checked_add(1)?;
                self.highest
            }
        };
        NonZeroU32::new(number).map(PeerHandle)
    }

    pub fn release(&mut self, peer: PeerHandle) {
        self.freed.insert(peer.0.get());
    }
}

/// What all states share.
#[derive(Debug)]
pub(crate) struct Base {
    /// SPI we chose.
    pub spi: u64,
    /// SPI the peer chose; 0 until it is known.
    pub peer_spi: u64,
    /// We are the original initiator.
    pub initiator: bool,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    /// Where the request that is due came from; its answer goes back there (RFC 7296, section 2.11).
    pub asked: Meta,
    /// Set for initiators at once, for responders when the peer is authenticated.
    pub peer: Option<PeerHandle>,
    pub window: Window,
    pub created: Instant,
    /// Place in the endpoint's timers.
    pub deadline: Option<Instant>,
    /// The IKE_SA_INIT request it was made from: initiator's SPI and address.
    pub origin: Option<(u64, SocketAddr)>,
}

impl Base {
    /// Our address and the peer's.
    pub fn path(&self) -> Meta {
        Meta { local: self.local, remote: self.remote }
    }

    /// (SPIi, SPIr).
    pub fn spis(&self) -> (u64, u64) {
        if self.initiator { (self.spi, self.peer_spi) } else { (self.peer_spi, self.spi) }
    }

    /// Header of our next request or of the answer to the request that is due.
    pub fn header(&self, exchange: ExchangeType, response: bool) -> Header {
        let (spi_i, spi_r) = self.spis();
        let message_id = if response { self.window.next_in() } else { self.window.next_out() };
        let next = crate::payload::PayloadType::NONE;
        Header { spi_i, spi_r, next, exchange, from_initiator: self.initiator, response, message_id }
    }

    /// Sends a protected request.
    pub fn request(&mut self, ctx: &mut Ctx<'_>, channel: &mut Channel, exchange: ExchangeType, chain: &Builder) {
        let room = ctx.policy.config.datagram_room(self.remote.ip());
        let datagrams = channel.seal(self.header(exchange, false), chain, room, ctx.rng);
        self.window.request(ctx, self.local, self.remote, datagrams);
    }

    /// Sends a protected request that nobody waits for (a last word).
    pub fn farewell(&mut self, ctx: &mut Ctx<'_>, channel: &mut Channel, chain: &Builder) {
        let room = ctx.policy.config.datagram_room(self.remote.ip());
        for data in channel.seal(self.header(ExchangeType::INFORMATIONAL, false), chain, room, ctx.rng) {
            ctx.send(self.local, self.remote, data);
        }
    }

    /// Answers the request that is due.
    pub fn answer(&mut self, ctx: &mut Ctx<'_>, channel: &mut Channel, exchange: ExchangeType, chain: &Builder) {
        let room = ctx.policy.config.datagram_room(self.remote.ip());
        let datagrams = channel.seal(self.header(exchange, true), chain, room, ctx.rng);
        self.window.answer(ctx, self.asked.local, self.asked.remote, datagrams);
    }

    /// An inbound SPI that was taken from the source is in no child SA: it goes back.
    pub fn unused_spi(&self, ctx: &mut Ctx<'_>, spi_in: u32) {
        if let Some(peer) = self.peer {
            ctx.events.push_back(Event::ChildDown { peer, spi_in, reason: ChildDownReason::Unused });
        }
    }

    /// Reports the end of an SA that was not authenticated yet.
    pub fn failed(&self, ctx: &mut Ctx<'_>, id: Option<Identity>, failure: Failure) {
        match self.peer {
            Some(peer) => {
                ctx.effects.push(Effect::PeerGone { peer });
                let reason = DownReason::Failed(failure);
                ctx.events.push_back(Event::PeerDown { peer, reason, remote_id: None });
            }
            None => ctx.events.push_back(Event::AuthFailed { remote: self.remote, id, reason: failure }),
        }
    }
}

/// A deleted SA that still answers retransmissions of the last request.
#[derive(Debug)]
pub(crate) struct Lingering {
    pub channel: Option<Channel>,
    pub until: Instant,
}

/// The state of an IKE SA.
#[derive(Debug)]
pub(crate) enum State {
    /// Initiator: IKE_SA_INIT is out.
    InitSent(Box<initial::InitSent>),
    /// Responder: IKE_SA_INIT is answered, keys exist, nobody is authenticated.
    InitReplied(Box<initial::InitReplied>),
    /// Initiator: an additional key exchange is out.
    IntermediateSent(Box<intermediate::IntermediateSent>),
    /// Initiator: IKE_AUTH is out.
    AuthSent(Box<auth::AuthSent>),
    /// Initiator: the responder is authenticated, or will be by EAP; we are being.
    EapInitiator(Box<eap_initiator::EapInitiator>),
    /// Responder: the initiator is being authenticated by EAP.
    EapResponder(Box<eap::EapResponder>),
    /// Both ends are authenticated.
    Established(Box<established::Established>),
    /// Deleted.
    Lingering(Box<Lingering>),
    /// To be removed.
    Gone,
}

impl State {
    /// Deleted, but answering for a while.
    pub fn linger(ctx: &Ctx<'_>, channel: Channel) -> Self {
        let until = ctx.now + ctx.policy.config.timers.linger;
        Self::Lingering(Box::new(Lingering { channel: Some(channel), until }))
    }

    pub fn channel_mut(&mut self) -> Option<&mut Channel> {
        match self {
            Self::InitReplied(s) => Some(&mut s.channel),
            Self::IntermediateSent(s) => Some(&mut s.channel),
            Self::AuthSent(s) => Some(&mut s.channel),
            Self::EapInitiator(s) => Some(&mut s.auth.channel),
            Self::EapResponder(s) => Some(&mut s.channel),
            Self::Established(s) => Some(&mut s.channel),
            Self::Lingering(s) => s.channel.as_mut(),
            Self::InitSent(_) | Self::Gone => None,
        }
    }

    /// Gives back the inbound SPIs that are in no child SA: this IKE SA ends.
    pub fn release(&mut self, base: &Base, ctx: &mut Ctx<'_>) {
        match self {
            Self::AuthSent(s) => base.unused_spi(ctx, s.spi_in),
            Self::EapInitiator(s) => base.unused_spi(ctx, s.auth.spi_in),
            Self::Established(s) => s.release(base, ctx),
            Self::InitSent(_)
            | Self::InitReplied(_)
            | Self::IntermediateSent(_)
            | Self::EapResponder(_)
            | Self::Lingering(_)
            | Self::Gone => {}
        }
    }

    /// A name for the API.
    pub fn name(&self) -> &'static str {
        match self {
            Self::InitSent(_) => "init-sent",
            Self::InitReplied(_) => "init-replied",
            Self::IntermediateSent(_) => "intermediate-sent",
            Self::AuthSent(_) => "auth-sent",
            Self::EapInitiator(_) | Self::EapResponder(_) => "eap",
            Self::Established(s) => s.phase(),
            Self::Lingering(_) | Self::Gone => "deleted",
        }
    }
}

/// An authentic message, parsed.
pub(crate) struct Received<'a> {
    pub exchange: ExchangeType,
    pub id: u32,
    pub meta: Meta,
    pub opened: &'a Opened,
    pub body: Body<'a>,
}

/// An IKE SA.
#[derive(Debug)]
pub(crate) struct Sa {
    pub base: Base,
    pub state: State,
}

impl Sa {
    /// Gives back the inbound SPIs that are in no child SA.
    pub fn release(&mut self, ctx: &mut Ctx<'_>) {
        self.state.release(&self.base, ctx);
    }

    /// Handles a message of a protected exchange addressed to this SA. False: it was not authentic or not due.
    pub fn handle(&mut self, ctx: &mut Ctx<'_>, meta: Meta, header: &Header, message: &[u8]) -> bool {
        let base = &mut self.base;
        let incoming = base.window.incoming(header.message_id);
        let due = if header.response {
            base.window.pending.as_ref().is_some_and(|p| p.id == header.message_id)
        } else {
            incoming != Incoming::Outside
        };
        let Some(channel) = self.state.channel_mut().filter(|_| due) else { return false };
        let repeated = !header.response && incoming == Incoming::Repeated;
        let opened = match channel.open(header, message, repeated) {
            Some(Open::Message(opened)) => opened,
            Some(Open::Fragment(number)) => {
                // RFC 7383, section 2.6.1: of a repeated request, the first fragment alone draws the answer.
                if repeated && number == 1 {
                    base.window.repeat(ctx, meta.local, meta.remote);
                }
                return true;
            }
            None => return false,
        };
        if repeated {
            base.window.repeat(ctx, meta.local, meta.remote);
            return true;
        }
        self.follow(ctx, meta);
        if !header.response {
            self.base.asked = meta;
        }
        let body = match Body::parse(opened.first, &opened.plain) {
            Ok(body) => body,
            Err(error) => {
                self.unusable(ctx, header, error);
                return true;
            }
        };
        let received = Received { exchange: header.exchange, id: header.message_id, meta, opened: &opened, body };
        let base = &mut self.base;
        let state = std::mem::replace(&mut self.state, State::Gone);
        self.state = if header.response {
            base.window.answered(header.message_id);
            match state {
                State::IntermediateSent(s) => s.response(base, ctx, &received),
                State::AuthSent(s) => s.response(base, ctx, &received),
                State::EapInitiator(s) => s.response(base, ctx, &received),
                State::Established(s) => s.response(base, ctx, &received),
                other @ (State::InitSent(_)
                | State::InitReplied(_)
                | State::EapResponder(_)
                | State::Lingering(_)
                | State::Gone) => other,
            }
        } else {
            match state {
                State::InitReplied(s) => s.request(base, ctx, &received),
                State::EapResponder(s) => s.request(base, ctx, &received),
                State::Established(s) => s.request(base, ctx, &received),
                other @ (State::InitSent(_)
                | State::IntermediateSent(_)
                | State::AuthSent(_)
                | State::EapInitiator(_)
                | State::Lingering(_)
                | State::Gone) => other,
            }
        };
        true
    }

    /// The peer's address may have changed: during the set-up it floats to port 4500 (section 2.23); later a NAT may
    /// give it another binding, and only then, and only on a fresh authentic message, we follow; not with MOBIKE, where
    /// the peer says when it moves (RFC 4555, section 3.8).
    fn follow(&mut self, ctx: &mut Ctx<'_>, meta: Meta) {
        match &mut self.state {
            State::InitReplied(_) | State::EapResponder(_) => {
                self.base.local = meta.local;
                self.base.remote = meta.remote;
            }
            State::Established(s) if s.channel.mobike.is_none() => s.rebound(&mut self.base, ctx, meta),
            _ => {}
        }
    }

    /// An authentic message that does not parse: a request is answered with the error (sections 2.5 and 2.21); the
    /// answer to a request of ours fails the exchange.
    fn unusable(&mut self, ctx: &mut Ctx<'_>, header: &Header, error: MessageError) {
        let mut chain = Builder::new();
        match error {
            MessageError::UnsupportedCritical(kind) => {
                chain.notify(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, &[kind.0]);
            }
            MessageError::Malformed(_) | MessageError::MajorVersion(_) => {
                chain.notify(NotifyType::INVALID_SYNTAX, &[]);
            }
        }
        let base = &mut self.base;
        if !header.response {
            if let Some(channel) = self.state.channel_mut() {
                base.answer(ctx, channel, header.exchange, &chain);
            }
            self.state = match std::mem::replace(&mut self.state, State::Gone) {
                // The request that the owner was asked about is answered now.
                State::EapResponder(s) => s.end(base, ctx, Failure::Protocol("request does not parse")),
                other => other,
            };
            return;
        }
        base.window.answered(header.message_id);
        let state = std::mem::replace(&mut self.state, State::Gone);
        self.state = match state {
            State::Established(s) => s.broken(base, ctx),
            mut state @ (State::IntermediateSent(_) | State::AuthSent(_) | State::EapInitiator(_)) => {
                state.release(base, ctx);
                base.failed(ctx, None, Failure::Protocol("answer does not parse"));
                State::Gone
            }
            other @ (State::InitSent(_)
            | State::InitReplied(_)
            | State::EapResponder(_)
            | State::Lingering(_)
            | State::Gone) => other,
        };
    }

    /// Handles a deadline.
    pub fn timeout(&mut self, ctx: &mut Ctx<'_>) {
        let base = &mut self.base;
        let elsewhere = match &self.state {
            State::Established(s) => s.elsewhere(ctx.now),
            _ => None,
        };
        let answering = base.window.retransmit(ctx, base.path(), elsewhere);
        let state = std::mem::replace(&mut self.state, State::Gone);
        self.state = match state {
            mut state @ (State::InitSent(_)
            | State::IntermediateSent(_)
            | State::AuthSent(_)
            | State::EapInitiator(_))
                if !answering =>
            {
                state.release(base, ctx);
                base.failed(ctx, None, Failure::Timeout);
                State::Gone
            }
            State::EapInitiator(s) if s.until().is_some_and(|at| ctx.now >= at) => s.expire(base, ctx),
            State::EapResponder(s) if ctx.now >= s.until => s.expire(base, ctx),
            State::InitReplied(_) if ctx.now >= base.created + ctx.policy.config.timers.half_open => {
                // No event: whoever sends such requests from forged addresses would fill the log.
                State::Gone
            }
            State::Established(s) if answering => s.timeout(base, ctx),
            State::Established(s) => s.dead(base, ctx),
            State::Lingering(s) if ctx.now >= s.until => State::Gone,
            other => other,
        };
    }

    /// When [`Self::timeout`] is due next.
    pub fn next_deadline(&self, policy: &Policy) -> Option<Instant> {
        let retransmission = self.base.window.pending.as_ref().map(|p| p.sent.next);
        let own = match &self.state {
            State::InitSent(_) | State::IntermediateSent(_) | State::AuthSent(_) | State::Gone => None,
            State::EapInitiator(s) => s.until(),
            State::EapResponder(s) => Some(s.until),
            State::InitReplied(_) => Some(self.base.created + policy.config.timers.half_open),
            State::Established(s) => s.deadline(&self.base),
            State::Lingering(s) => return Some(s.until),
        };
        retransmission.into_iter().chain(own).min()
    }

    /// Whether it counts against the half-open limit.
    pub fn half_open(&self) -> bool {
        matches!(self.state, State::InitReplied(_) | State::EapResponder(_))
    }
}

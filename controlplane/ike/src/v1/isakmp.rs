//! One ISAKMP SA: what its messages are made and opened with, in whatever state it is.
//!
//! ```text
//!   initiator:  SaSent ──► KeSent ──► IdSent ──► Up        main mode: SA, then KE and nonce, then identity and proof
//!   responder:  SaReplied ──► KeReplied ───────► Up
//! ```
//!
//! Main mode has no numbers: a message that comes again is known by its hash, and draws what it drew before. Phase 2
//! exchanges have message ids of their own choice and a chain of vectors each, from where phase 1 ended.

use super::crypto::{Keys, Shared};
use super::fragment::{self, Reassembler};
use super::message::{Exchange, Header};
use super::payload::{Delete, Notify, PROTO_ISAKMP, kind};
use super::proposal::{Method, Phase1Suite};
use super::quick_mode::Quick;
use super::vendor::Features;
use crate::auth::Identity;
use crate::config::PadEntry;
use crate::crypto::{CryptoError, KeyExchange};
use crate::error::{Failure, Malformed};
use crate::event::{Meta, PeerHandle};
use crate::message::HEADER_LEN;
use crate::payload::{Builder, PayloadType};
use crate::sa::Ctx;
use crate::sa::nat::Nat;
use crate::sa::window::Unanswered;
use aws_lc_rs::digest;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Exchanges of an ISAKMP SA. All their message ids are remembered, so that what is replayed does nothing.
const MAX_EXCHANGES: usize = 16_384;
/// After so many it is rekeyed.
const WORN: usize = MAX_EXCHANGES / 8 * 7;

/// What phase 1 has agreed on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Agreed {
    pub suite: Phase1Suite,
    pub method: Method,
    /// How long the ISAKMP SA lasts at most.
    pub lifetime: Option<Duration>,
}

#[derive(Debug)]
pub(super) struct SaSent {
    pub pad: Arc<PadEntry>,
    pub method: Method,
    /// Body of our SA payload.
    pub sa_i: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct SaReplied {
    pub agreed: Agreed,
    pub sa_i: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct KeSent {
    pub pad: Arc<PadEntry>,
    pub agreed: Agreed,
    pub sa_i: Vec<u8>,
    pub exchange: KeyExchange,
    pub g_xi: Vec<u8>,
    pub ni: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct KeReplied {
    pub agreed: Agreed,
    pub sa_i: Vec<u8>,
    pub shared: Shared,
    pub nat: Nat,
    /// Messages that no credential fitted.
    pub failed: u32,
    pub trial: Option<Trial>,
}

/// A message 5 that is tried with one secret after another, some at a time.
#[derive(Debug)]
pub(super) struct Trial {
    pub message: Vec<u8>,
    pub path: Meta,
    /// So many secrets have been tried.
    pub tried: usize,
    /// One fitted, and this is another one's identity.
    pub other: Option<Identity>,
    /// When the next ones are tried.
    pub at: Instant,
}

#[derive(Debug)]
pub(super) struct IdSent {
    pub pad: Arc<PadEntry>,
    pub agreed: Agreed,
    pub sa_i: Vec<u8>,
    pub shared: Shared,
    pub keys: Keys,
    pub iv: Vec<u8>,
    pub nat: Nat,
    /// What was wrong with an answer, which may have been anybody's.
    pub failure: Option<(Option<Identity>, Failure)>,
}

#[derive(Debug)]
pub(super) struct Up {
    pub keys: Keys,
    /// The last block of phase 1.
    pub last_block: Vec<u8>,
    pub rekey_at: Option<Instant>,
    /// Another one has taken its place, and it goes then.
    pub leaves_at: Option<Instant>,
    pub expires_at: Option<Instant>,
}

#[derive(Debug)]
pub(super) enum State {
    SaSent(Box<SaSent>),
    SaReplied(Box<SaReplied>),
    KeSent(Box<KeSent>),
    KeReplied(Box<KeReplied>),
    IdSent(Box<IdSent>),
    Up(Box<Up>),
    Gone,
}

/// What phase 1 has come to.
pub(super) struct Authenticated {
    pub pad: Arc<PadEntry>,
    pub id: Identity,
    pub chain: Vec<Vec<u8>>,
    pub nat: Nat,
    /// The peer says that it has no other SA with us (RFC 2407, section 4.6.3.3).
    pub initial_contact: bool,
}

#[derive(Debug)]
pub(super) struct Isakmp {
    /// Our cookie.
    pub cookie: u64,
    /// The peer's; 0 until it is known.
    pub peer_cookie: u64,
    pub initiator: bool,
    pub path: Meta,
    /// Set for initiators at once, for responders when the peer is authenticated.
    pub peer: Option<PeerHandle>,
    /// It is made for a peer that is up.
    pub joins: bool,
    pub created: Instant,
    /// Place in the table's timers.
    pub deadline: Option<Instant>,
    /// The first message it was made from: the initiator's cookie and address.
    pub origin: Option<(u64, SocketAddr)>,
    pub features: Features,
    pub state: State,
    /// What we sent last in main mode, as initiator.
    pub unanswered: Option<Unanswered>,
    /// Hash of the message of main mode that came last, and what it drew.
    pub last: Option<(Vec<u8>, Vec<Vec<u8>>)>,
    pub fragments: Reassembler,
    fragment_id: u16,
    pub quick: Vec<Quick>,
    heard: HashSet<u32>,
    /// So many exchanges that another SA is to take its place.
    worn: bool,
}

/// The hash by which a message is known when it comes again.
pub(super) fn digest(message: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, message).as_ref().to_vec()
}

impl Isakmp {
    pub fn new(
        ctx: &mut Ctx<'_>,
        peer_cookie: u64,
        initiator: bool,
        path: Meta,
        features: Features,
        state: State,
    ) -> Self {
        Self {
            cookie: ctx.ike_spi(),
            peer_cookie,
            initiator,
            path,
            peer: None,
            joins: false,
            created: ctx.now,
            deadline: None,
            origin: None,
            features,
            state,
            unanswered: None,
            last: None,
            fragments: Reassembler::default(),
            fragment_id: 0,
            quick: Vec::new(),
            heard: HashSet::new(),
            worn: false,
        }
    }

    /// (initiator's, responder's).
    pub fn cookies(&self) -> (u64, u64) {
        if self.initiator { (self.cookie, self.peer_cookie) } else { (self.peer_cookie, self.cookie) }
    }

    pub fn header(&self, exchange: Exchange, message_id: u32) -> Header {
        let (cookie_i, cookie_r) = self.cookies();
        let next = PayloadType::NONE;
        Header { cookie_i, cookie_r, next, exchange, encrypted: false, message_id }
    }

    pub fn up(&self) -> Option<&Up> {
        if let State::Up(up) = &self.state { Some(up) } else { None }
    }

    /// Whether it counts against the half-open limit.
    pub fn half_open(&self) -> bool {
        matches!(self.state, State::SaReplied(_) | State::KeReplied(_))
    }

    /// The first message of somebody is answered, and nothing more has come.
    pub fn is_new(&self) -> bool {
        matches!(self.state, State::SaReplied(_))
    }

    /// The message 5 on which more secrets are to be tried.
    pub fn trial(&self) -> Option<&Trial> {
        if let State::KeReplied(s) = &self.state { s.trial.as_ref() } else { None }
    }

    /// Why it has not come up, when its time is over.
    pub fn failure(&mut self) -> (Option<Identity>, Failure) {
        let State::IdSent(s) = &mut self.state else { return (None, Failure::Timeout) };
        s.failure.take().unwrap_or((None, Failure::Timeout))
    }

    /// Has it rekeyed before its exchanges run out.
    pub fn wear(&mut self, now: Instant) {
        if self.heard.len() < WORN || self.worn {
            return;
        }
        if let State::Up(up) = &mut self.state {
            (self.worn, up.rekey_at) = (true, Some(now));
        }
    }

    /// Takes a fragment, of a peer that has said it makes them, and gives the message when it is whole. Until the peer has
    /// proved itself there is little room for them, and none before it has answered from where it says it is.
    pub fn gather(&mut self, now: Instant, message: &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
        if !self.features.fragmentation || self.is_new() {
            return Err(Malformed("fragments are not agreed on"));
        }
        let most = if self.up().is_some() { fragment::MAX_MESSAGE } else { fragment::MAX_UNPROVED };
        self.fragments.add(message.get(HEADER_LEN..).unwrap_or_default(), now, most)
    }

    /// A message as datagrams: in fragments where it is too large and the peer knows them.
    pub fn datagrams(&mut self, ctx: &Ctx<'_>, exchange: Exchange, message: Vec<u8>) -> Vec<Vec<u8>> {
        let room = ctx.policy.config.datagram_room(self.path.remote.ip());
        if !self.features.fragmentation || message.len() <= room {
            return vec![message];
        }
        self.fragment_id = self.fragment_id.wrapping_add(1);
        fragment::split(&message, self.header(exchange, 0), self.fragment_id, room)
    }

    /// Answers a message of main mode, and any repetition of it.
    pub fn answer(&mut self, ctx: &mut Ctx<'_>, to: Meta, request: &[u8], reply: Vec<u8>) {
        let datagrams = self.datagrams(ctx, Exchange::MAIN, reply);
        for data in &datagrams {
            ctx.send(to.local, to.remote, data.clone());
        }
        self.last = Some((digest(request), datagrams));
    }

    /// Sends a message of main mode until it is answered.
    pub fn ask(&mut self, ctx: &mut Ctx<'_>, message: Vec<u8>) {
        let datagrams = self.datagrams(ctx, Exchange::MAIN, message);
        self.unanswered = Some(Unanswered::send(ctx, self.path, datagrams));
    }

    /// Sends again what a message drew, if it is the last one that came.
    pub fn repeats(&self, ctx: &mut Ctx<'_>, to: Meta, message: &[u8]) -> bool {
        let Some((_, reply)) = self.last.as_ref().filter(|(known, _)| *known == digest(message)) else { return false };
        for data in reply {
            ctx.send(to.local, to.remote, data.clone());
        }
        true
    }

    /// Whether a message id is new. It is known from now on.
    pub fn remember(&mut self, message_id: u32) -> bool {
        message_id != 0 && self.heard.len() < MAX_EXCHANGES && self.heard.insert(message_id)
    }

    /// A message id for an exchange of ours.
    pub fn message_id(&mut self, ctx: &mut Ctx<'_>) -> u32 {
        loop {
            let id = ctx.rng.next_u32();
            if id != 0 && self.heard.insert(id) {
                return id;
            }
        }
    }

    /// A message of phase 2 whose HASH payload `hash` computes from what follows it.
    pub fn seal(
        &self,
        exchange: Exchange,
        message_id: u32,
        iv: &mut Vec<u8>,
        rest: &Builder,
        hash: impl FnOnce(&Keys, &[u8]) -> crate::crypto::Secret,
    ) -> Result<Vec<u8>, CryptoError> {
        let up = self.up().ok_or(CryptoError::Library)?;
        let mut chain = Builder::new();
        chain.raw(kind::HASH, &hash(&up.keys, rest.bytes()));
        chain.append(rest);
        up.keys.seal(self.header(exchange, message_id), &chain, iv)
    }

    /// Sends an informational exchange, which nobody answers, and gives its datagrams.
    pub fn inform(&mut self, ctx: &mut Ctx<'_>, path: Meta, write: impl FnOnce(&mut Builder)) -> Vec<Vec<u8>> {
        let id = self.message_id(ctx);
        let Some(up) = self.up() else { return Vec::new() };
        let mut iv = up.keys.later_iv(&up.last_block, id);
        let mut rest = Builder::new();
        write(&mut rest);
        // It fails for want of memory only, and is lost then, as it may be on the way.
        let message = self.seal(Exchange::INFORMATIONAL, id, &mut iv, &rest, |k, r| k.hash1(id, r));
        let Ok(message) = message else { return Vec::new() };
        let datagrams = self.datagrams(ctx, Exchange::INFORMATIONAL, message);
        for data in &datagrams {
            ctx.send(path.local, path.remote, data.clone());
        }
        datagrams
    }

    /// Notifies the peer of something about this ISAKMP SA.
    pub fn notify(&mut self, ctx: &mut Ctx<'_>, path: Meta, kind: u16, data: &[u8]) -> Vec<Vec<u8>> {
        let (i, r) = self.cookies();
        let spi = [i.to_be_bytes(), r.to_be_bytes()].concat();
        let doi = super::payload::DOI;
        self.inform(ctx, path, |chain| {
            let notify = Notify { doi, protocol: PROTO_ISAKMP, kind, spi: &spi, data };
            chain.push(super::payload::kind::NOTIFY, |out| notify.emit(out));
        })
    }

    /// Tells the peer that SAs are gone.
    pub fn delete(&mut self, ctx: &mut Ctx<'_>, path: Meta, delete: &Delete) {
        self.inform(ctx, path, |chain| {
            chain.push(kind::DELETE, |out| delete.emit(out));
        });
    }
}

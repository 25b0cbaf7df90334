//! What a client tells its owner, and what it counts.

use super::{LinkId, Reply, ServerConfig, ServerId};
use crate::packet::Unencodable;
use std::collections::BTreeMap;

/// What to do to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkOp {
    /// Connect a socket to its server.
    Open(LinkId),
    /// Close it; the client knows it no longer.
    Close(LinkId),
}

/// What has happened.
#[derive(Debug)]
pub enum Event {
    /// A server has answered.
    Reply {
        /// The request.
        token: u64,
        /// Who: what has a State goes on with this server.
        server: ServerId,
        /// What it says.
        reply: Reply,
    },
    /// Nobody has.
    Failed {
        /// The request.
        token: u64,
        /// Why.
        reason: Failure,
    },
    /// A server answers nothing.
    ServerDown(ServerId),
    /// It does again, or its time is over.
    ServerUp(ServerId),
}

/// Why there is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Every server is dead, or the one that the request has to go to.
    #[error("no RADIUS server is alive")]
    NoServer,
    /// Every server was tried in vain.
    #[error("no RADIUS server answers")]
    NoAnswer,
    /// Too many requests at a time.
    #[error("too many RADIUS requests in flight")]
    Overload,
    /// There is no packet that says it.
    #[error(transparent)]
    Unencodable(#[from] Unencodable),
}

/// Why what a server sent was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Discard {
    /// Not a RADIUS packet.
    Malformed,
    /// No request has this identifier.
    UnknownId,
    /// The request has been given up, has moved, or has its reply.
    Late,
    /// No reply to such a request.
    WrongCode,
    /// The Response Authenticator is not right.
    BadAuthenticator,
    /// There is no Message-Authenticator where one is needed.
    NoMessageAuthenticator,
    /// The Message-Authenticator is not right.
    BadMessageAuthenticator,
}

impl Discard {
    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownId => "unknown-id",
            Self::Late => "late",
            Self::WrongCode => "wrong-code",
            Self::BadAuthenticator => "bad-authenticator",
            Self::NoMessageAuthenticator => "no-message-authenticator",
            Self::BadMessageAuthenticator => "bad-message-authenticator",
        }
    }

    /// Whether a stream that carries it is out of step or under attack, and has to be closed (RFC 6613, section 2.6.4).
    pub(super) const fn closes_stream(self) -> bool {
        match self {
            Self::Malformed | Self::WrongCode | Self::BadAuthenticator | Self::BadMessageAuthenticator => true,
            Self::UnknownId | Self::Late | Self::NoMessageAuthenticator => false,
        }
    }
}

/// Counters of one server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests, each once for every server that it was sent to.
    pub requests: u64,
    /// Transmissions beyond the first.
    pub retransmissions: u64,
    /// Transmissions that were not answered in time.
    pub timeouts: u64,
    /// Replies that were accepted.
    pub replies: u64,
    /// Status-Servers.
    pub probes: u64,
    /// What was dropped.
    pub discards: BTreeMap<Discard, u64>,
}

impl Counters {
    pub(super) fn discard(&mut self, reason: Discard) {
        *self.discards.entry(reason).or_default() += 1;
    }
}

/// A server as it is.
#[derive(Clone, Copy, Debug)]
pub struct ServerInfo<'a> {
    /// Which.
    pub id: ServerId,
    /// As it was configured.
    pub config: &'a ServerConfig,
    /// Whether requests go to it.
    pub alive: bool,
    /// Requests that wait for it, and a probe.
    pub in_flight: usize,
    /// Links to it.
    pub links: usize,
    /// Its counters.
    pub counters: &'a Counters,
}

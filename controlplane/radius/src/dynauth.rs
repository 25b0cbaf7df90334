//! Dynamic authorization (RFC 5176): a AAA server, our client here, changes or ends a session.
//!
//! ```text
//!   octets ─► a client's address? ─► parsed, CoA-Request or Disconnect-Request ─► Request Authenticator
//!          ─► Message-Authenticator ─► Event-Timestamp now, give or take the window ─► not seen before ─► Request
//!                                                                                        │ seen
//!                                    the same packet from the same port: the same answer ┴ else: a replay
//! ```
//!
//! Whatever fails is dropped without an answer and counted by its reason. A request is remembered, with its answer, for
//! as long as its Event-Timestamp could be believed, so there is no time at which it could be replayed, whatever becomes
//! of the configuration meanwhile.

use crate::attribute::{AttributeList, Attributes, ERROR_CAUSE, EVENT_TIMESTAMP, PROXY_STATE, STATE};
use crate::crypto::{self, MessageAuthenticator};
use crate::packet::{Builder, Code, Packet};
use secret::Secret;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Requests remembered at a time; with more than these within two windows, the rest is dropped.
const MAX_REMEMBERED: usize = 65_536;

/// Who may ask, and when.
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses and their secrets.
    pub clients: Vec<(IpAddr, Secret)>,
    /// How far Event-Timestamp may be from our time, either way.
    pub window: Duration,
}

impl Default for Config {
    /// Nobody, within 300 s (RFC 5176, section 6.3).
    fn default() -> Self {
        Self { clients: Vec::new(), window: Duration::from_secs(300) }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Disconnect-Request: the end of a session.
    Disconnect,
    /// CoA-Request: a change.
    Coa,
}

/// What to say in a NAK (RFC 5176, section 3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ErrorCause {
    /// The session was gone already, and what was left of it is now too.
    ResidualSessionContextRemoved = 201,
    /// An attribute that is not honoured.
    UnsupportedAttribute = 401,
    /// One that is needed is missing.
    MissingAttribute = 402,
    /// NAS-Identifier or NAS-IP-Address is another's.
    NasIdentificationMismatch = 403,
    /// The request cannot be made sense of.
    InvalidRequest = 404,
    /// Service-Type is not supported.
    UnsupportedService = 405,
    /// The extension is not supported.
    UnsupportedExtension = 406,
    /// An attribute has a value that cannot be.
    InvalidAttributeValue = 407,
    /// Not allowed.
    AdministrativelyProhibited = 501,
    /// There is no way to the session's NAS.
    RequestNotRoutable = 502,
    /// There is no such session.
    SessionContextNotFound = 503,
    /// The session cannot be ended.
    SessionContextNotRemovable = 504,
    /// Another failure of a proxy.
    OtherProxyProcessingError = 505,
    /// Too little of something.
    ResourcesUnavailable = 506,
    /// An Access-Request is on its way instead (Authorize Only).
    RequestInitiated = 507,
    /// More than one session is meant.
    MultipleSessionSelectionUnsupported = 508,
}

/// Why a datagram was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Discard {
    /// From an address that is no client's.
    UnknownClient,
    /// Not a RADIUS packet.
    Malformed,
    /// Neither CoA-Request nor Disconnect-Request.
    WrongCode,
    /// The Request Authenticator is not right: another secret, or changed on the way.
    BadAuthenticator,
    /// There is no Message-Authenticator.
    NoMessageAuthenticator,
    /// The Message-Authenticator is not right.
    BadMessageAuthenticator,
    /// There is no Event-Timestamp.
    NoEventTimestamp,
    /// Event-Timestamp is outside the window.
    StaleEventTimestamp,
    /// The packet has been here, from elsewhere.
    Replayed,
    /// The packet has been here, and is being answered.
    InProgress,
    /// Too many requests are remembered.
    Overload,
}

impl Discard {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::UnknownClient,
        Self::Malformed,
        Self::WrongCode,
        Self::BadAuthenticator,
        Self::NoMessageAuthenticator,
        Self::BadMessageAuthenticator,
        Self::NoEventTimestamp,
        Self::StaleEventTimestamp,
        Self::Replayed,
        Self::InProgress,
        Self::Overload,
    ];

    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownClient => "unknown-client",
            Self::Malformed => "malformed",
            Self::WrongCode => "wrong-code",
            Self::BadAuthenticator => "bad-authenticator",
            Self::NoMessageAuthenticator => "no-message-authenticator",
            Self::BadMessageAuthenticator => "bad-message-authenticator",
            Self::NoEventTimestamp => "no-event-timestamp",
            Self::StaleEventTimestamp => "stale-event-timestamp",
            Self::Replayed => "replayed",
            Self::InProgress => "in-progress",
            Self::Overload => "overload",
        }
    }
}

/// What an answer belongs to; there is one answer to each.
#[derive(Debug, PartialEq, Eq)]
pub struct Handle([u8; 16]);

/// A request to be answered.
pub struct Request {
    /// What is asked for.
    pub action: Action,
    /// For [`Server::answer`].
    pub handle: Handle,
    octets: Vec<u8>,
}

impl Request {
    /// Which session, and what of it.
    pub fn attributes(&self) -> Attributes<'_> {
        Attributes::of_packet(&self.octets)
    }
}

impl std::fmt::Debug for Request {
    /// Its attributes without their values.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?}", self.action, self.attributes())
    }
}

/// What to do with a datagram.
#[derive(Debug)]
pub enum Verdict {
    /// Do it, and answer.
    Request(Request),
    /// Send this answer again, to where the datagram came from.
    Resend(Vec<u8>),
    /// Nothing.
    Drop(Discard),
}

/// A request that has been accepted.
#[derive(Debug)]
struct Remembered {
    from: SocketAddr,
    id: u8,
    action: Action,
    /// State and Proxy-States, for the answer.
    copied: AttributeList,
    answer: Option<Vec<u8>>,
}

/// The server.
#[derive(Debug)]
pub struct Server {
    clients: HashMap<IpAddr, Secret>,
    window: Duration,
    /// When the window became what it is, and how old an Event-Timestamp could be then.
    reach: Option<(Instant, Duration)>,
    /// By Request Authenticator.
    remembered: HashMap<[u8; 16], Remembered>,
    /// When to forget them, in the order in which they came.
    until: VecDeque<(Instant, [u8; 16])>,
    discards: BTreeMap<Discard, u64>,
}

impl Server {
    /// A server that has heard nothing yet.
    pub fn new(config: Config) -> Self {
        Self {
            clients: by_address(config.clients),
            window: config.window,
            reach: None,
            remembered: HashMap::new(),
            until: VecDeque::new(),
            discards: BTreeMap::new(),
        }
    }

    /// Other clients, another window. What was asked for is not forgotten, nor what was dropped.
    pub fn set_config(&mut self, now: Instant, config: Config) {
        self.reach = Some((now, self.oldest(now)));
        let longer = config.window.saturating_sub(self.window).saturating_mul(2);
        self.until.iter_mut().for_each(|(until, _)| *until += longer);
        (self.clients, self.window) = (by_address(config.clients), config.window);
    }

    /// How old an Event-Timestamp may be. A window that has grown reaches back no further than what is remembered.
    fn oldest(&self, now: Instant) -> Duration {
        let grown = |(since, before)| before + now.saturating_duration_since(since);
        self.reach.map_or(self.window, |reach| self.window.min(grown(reach)))
    }

    /// A datagram has come to the port, 3799 as a rule. `unix_time` is in seconds.
    pub fn handle_input(&mut self, now: Instant, unix_time: u64, from: SocketAddr, octets: &[u8]) -> Verdict {
        while let Some((_, authenticator)) = self.until.pop_front_if(|(until, _)| *until <= now) {
            self.remembered.remove(&authenticator);
        }
        self.accept(now, unix_time, from, octets).unwrap_or_else(|reason| {
            *self.discards.entry(reason).or_default() += 1;
            Verdict::Drop(reason)
        })
    }

    fn accept(&mut self, now: Instant, unix_time: u64, from: SocketAddr, octets: &[u8]) -> Result<Verdict, Discard> {
        let secret = self.clients.get(&from.ip().to_canonical()).ok_or(Discard::UnknownClient)?.expose();
        let packet = Packet::parse(octets).map_err(|_| Discard::Malformed)?;
        let action = match packet.code {
            Code::DisconnectRequest => Action::Disconnect,
            Code::CoaRequest => Action::Coa,
            _ => return Err(Discard::WrongCode),
        };
        if !crypto::authentic(&packet, &[0; 16], secret) {
            return Err(Discard::BadAuthenticator);
        }
        match crypto::message_authenticator(&packet, &[0; 16], secret) {
            MessageAuthenticator::Valid => {}
            MessageAuthenticator::Absent => return Err(Discard::NoMessageAuthenticator),
            MessageAuthenticator::Invalid => return Err(Discard::BadMessageAuthenticator),
        }
        let attributes = packet.attributes();
        let timestamp = attributes.u32(EVENT_TIMESTAMP).ok().flatten().ok_or(Discard::NoEventTimestamp)?;
        // Both are counted modulo 2³².
        let age = (unix_time as u32).wrapping_sub(timestamp).cast_signed();
        let most = if age < 0 { self.window } else { self.oldest(now) };
        if u64::from(age.unsigned_abs()) > most.as_secs() {
            return Err(Discard::StaleEventTimestamp);
        }
        if let Some(known) = self.remembered.get(&packet.authenticator) {
            return match &known.answer {
                _ if known.from != from || known.id != packet.id => Err(Discard::Replayed),
                Some(answer) => Ok(Verdict::Resend(answer.clone())),
                None => Err(Discard::InProgress),
            };
        }
        if self.remembered.len() >= MAX_REMEMBERED {
            return Err(Discard::Overload);
        }
        let mut copied = AttributeList::new();
        attributes.iter().filter(|a| [STATE, PROXY_STATE].contains(&a.kind)).for_each(|a| _ = copied.copy(a));
        let request = Remembered { from, id: packet.id, action, copied, answer: None };
        self.remembered.insert(packet.authenticator, request);
        // A timestamp ahead by a window is believed for two.
        let until = now + self.window.saturating_mul(2) + Duration::from_secs(1);
        self.until.push_back((until, packet.authenticator));
        Ok(Verdict::Request(Request { action, handle: Handle(packet.authenticator), octets: packet.octets().to_vec() }))
    }

    /// The ACK or NAK, and where to send it. Nothing when the request has been forgotten meanwhile.
    pub fn answer(&mut self, handle: Handle, result: Result<(), ErrorCause>) -> Option<(SocketAddr, Vec<u8>)> {
        let Handle(authenticator) = handle;
        let request = self.remembered.get_mut(&authenticator)?;
        let secret = self.clients.get(&request.from.ip().to_canonical())?;
        let code = match (request.action, result) {
            (Action::Disconnect, Ok(())) => Code::DisconnectAck,
            (Action::Disconnect, Err(_)) => Code::DisconnectNak,
            (Action::Coa, Ok(())) => Code::CoaAck,
            (Action::Coa, Err(_)) => Code::CoaNak,
        };
        let mut list = AttributeList::new();
        if let Err(cause) = result {
            list.u32(ERROR_CAUSE, cause as u32);
        }
        list.append(&request.copied);
        let answer = Builder::new(code, request.id).attributes(&list).reply(&authenticator, secret.expose()).ok()?;
        request.answer = Some(answer.clone());
        Some((request.from, answer))
    }

    /// What was dropped, by reason.
    pub const fn discards(&self) -> &BTreeMap<Discard, u64> {
        &self.discards
    }
}

fn by_address(clients: Vec<(IpAddr, Secret)>) -> HashMap<IpAddr, Secret> {
    clients.into_iter().map(|(address, secret)| (address.to_canonical(), secret)).collect()
}

#[cfg(test)]
mod tests;

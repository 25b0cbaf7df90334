//! The requesting router (RFC 8415, section 18.2): asks for a prefix, keeps it, gives it back.
//!
//! ```text
//!  Soliciting --Advertise--> Requesting --Reply--> Bound --T1--> Renewing --T2--> Rebinding --expired--> Soliciting
//!      `------------Reply (rapid commit)------------^  ^---------Reply------------------'
//! ```
//!
//! Each exchange retransmits as section 15 says: the interval doubles, with a little randomness, up to a maximum.

use crate::message::{Message, MessageType};
use crate::option::{DhcpOption, Duid, Ia, IaPrefix, code, status};
use crate::packet::Prefix;
use crate::server::INFINITY;
use rand_core::CryptoRng;
use std::collections::VecDeque;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

/// What to ask for.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Who we are.
    pub duid: Duid,
    /// Our identity association.
    pub iaid: u32,
    /// The prefix length that we would like; a hint.
    pub length: Option<u8>,
    /// Offer the two-message exchange.
    pub rapid_commit: bool,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// We have a prefix, or have it for longer.
    Bound {
        /// The prefix.
        prefix: Prefix,
        /// Seconds from now.
        preferred: u32,
        /// Seconds from now.
        valid: u32,
        /// DNS servers.
        dns: Vec<Ipv6Addr>,
    },
    /// We no longer have it.
    Lost {
        /// The prefix.
        prefix: Prefix,
    },
}

#[derive(Clone, Debug)]
struct Lease {
    server: Duid,
    prefix: Prefix,
    preferred: u32,
    valid: u32,
    t2: Option<Instant>,
    expires: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Soliciting,
    Requesting,
    Bound,
    Renewing,
    Rebinding,
    Releasing,
}

/// Parameters of section 7.6: initial and maximum interval in seconds, maximum count (0: no limit).
fn retransmission(state: State) -> (u64, u64, u32) {
    match state {
        State::Soliciting => (1, 3600, 0),
        State::Requesting => (1, 30, 10),
        State::Renewing | State::Rebinding => (10, 600, 0),
        State::Releasing => (1, 3600, 4),
        State::Idle | State::Bound => (0, 0, 0),
    }
}

/// How long to wait after a refusal, before Solicit begins anew.
const AFTER_REFUSAL: Duration = Duration::from_secs(10);

/// Keeps one prefix delegated.
pub struct Client {
    config: ClientConfig,
    rng: Box<dyn CryptoRng + Send>,
    state: State,
    transaction: [u8; 3],
    /// Of the exchange that is under way.
    begun: Option<Instant>,
    count: u32,
    interval: Duration,
    timer: Option<Instant>,
    /// The server to Request from, and what it advertised.
    offer: Option<(Duid, IaPrefix)>,
    lease: Option<Lease>,
    out: VecDeque<Vec<u8>>,
    events: VecDeque<ClientEvent>,
}

impl Client {
    /// Does nothing until [`Client::start`].
    pub fn new(config: ClientConfig, rng: Box<dyn CryptoRng + Send>) -> Self {
        Self {
            config,
            rng,
            state: State::Idle,
            transaction: [0; 3],
            begun: None,
            count: 0,
            interval: Duration::ZERO,
            timer: None,
            offer: None,
            lease: None,
            out: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// The link is up: ask.
    pub fn start(&mut self, now: Instant) {
        if self.state == State::Idle {
            self.begin(now, State::Soliciting);
        }
    }

    /// Gives the prefix back.
    pub fn release(&mut self, now: Instant) {
        match &self.lease {
            Some(lease) => {
                self.events.push_back(ClientEvent::Lost { prefix: lease.prefix });
                self.begin(now, State::Releasing);
            }
            None => self.idle(),
        }
    }

    /// The prefix that we have.
    pub fn prefix(&self) -> Option<Prefix> {
        self.lease.as_ref().filter(|_| self.state != State::Releasing).map(|lease| lease.prefix)
    }

    fn idle(&mut self) {
        (self.state, self.timer, self.lease, self.offer) = (State::Idle, None, None, None);
    }

    /// A new exchange, with a new transaction id (section 16.1).
    fn begin(&mut self, now: Instant, state: State) {
        self.state = state;
        self.rng.fill_bytes(&mut self.transaction);
        (self.begun, self.count, self.interval) = (Some(now), 0, Duration::ZERO);
        if state == State::Soliciting {
            self.offer = None;
        }
        self.send(now);
    }

    fn send(&mut self, now: Instant) {
        let (initial, maximum, _) = retransmission(self.state);
        let (initial, maximum) = (Duration::from_secs(initial), Duration::from_secs(maximum));
        // RT = 2*RTprev + RAND*RTprev with RAND in [-0.1, 0.1]; of a first Solicit RAND is positive (18.2.1).
        let random = f64::from(self.rng.next_u32()) / f64::from(u32::MAX) * 0.2 - 0.1;
        let random = if self.count == 0 && self.state == State::Soliciting { random.abs() + 0.001 } else { random };
        let next = match self.count {
            0 => initial.mul_f64(1.0 + random),
            _ => self.interval.mul_f64(2.0 + random),
        };
        self.interval = if next > maximum { maximum.mul_f64(1.0 + random) } else { next };
        self.count += 1;
        let end = self.lease.as_ref().and_then(|lease| match self.state {
            State::Renewing => lease.t2,
            State::Rebinding => lease.expires,
            State::Idle | State::Soliciting | State::Requesting | State::Bound | State::Releasing => None,
        });
        self.timer = [now.checked_add(self.interval), end].into_iter().flatten().min();
        if let Some(message) = self.message(now) {
            self.out.push_back(message.encode());
        }
    }

    fn message(&self, now: Instant) -> Option<Message> {
        let kind = match self.state {
            State::Soliciting => MessageType::Solicit,
            State::Requesting => MessageType::Request,
            State::Renewing => MessageType::Renew,
            State::Rebinding => MessageType::Rebind,
            State::Releasing => MessageType::Release,
            State::Idle | State::Bound => return None,
        };
        let elapsed = self.begun.map_or(0, |begun| now.saturating_duration_since(begun).as_millis() / 10);
        let mut options = vec![
            DhcpOption::ClientId(self.config.duid.clone()),
            DhcpOption::ElapsedTime(u16::try_from(elapsed).unwrap_or(u16::MAX)),
        ];
        let mut prefixes = Vec::new();
        match kind {
            MessageType::Solicit => {
                options.extend(self.config.rapid_commit.then_some(DhcpOption::RapidCommit));
                let hint =
                    |length| IaPrefix { preferred: 0, valid: 0, length, prefix: Ipv6Addr::UNSPECIFIED, status: None };
                prefixes.extend(self.config.length.map(hint));
            }
            MessageType::Request => {
                let (server, offered) = self.offer.as_ref()?;
                options.push(DhcpOption::ServerId(server.clone()));
                prefixes.push(offered.clone());
            }
            _ => {
                let lease = self.lease.as_ref()?;
                if kind != MessageType::Rebind {
                    options.push(DhcpOption::ServerId(lease.server.clone()));
                }
                let (prefix, length) = (lease.prefix.address(), lease.prefix.length());
                prefixes.push(IaPrefix {
                    preferred: lease.preferred,
                    valid: lease.valid,
                    length,
                    prefix,
                    status: None,
                });
            }
        }
        options.push(DhcpOption::IaPd(Ia { iaid: self.config.iaid, prefixes, ..Ia::default() }));
        if kind != MessageType::Release {
            options.push(DhcpOption::OptionRequest(vec![code::DNS_SERVERS]));
        }
        Some(Message { kind, transaction: self.transaction, options })
    }

    /// A message from UDP port 547.
    pub fn handle_input(&mut self, now: Instant, message: &[u8]) {
        let Some(message) = Message::parse(message) else { return };
        // Sections 16.3 and 16.10.
        if message.transaction != self.transaction || message.client_id() != Some(&self.config.duid) {
            return;
        }
        let Some(server) = message.server_id().cloned() else { return };
        match (message.kind, self.state) {
            (MessageType::Advertise, State::Soliciting) => self.advertised(now, server, &message),
            (MessageType::Reply, State::Soliciting) if self.config.rapid_commit && message.rapid_commit() => {
                self.replied(now, server, &message);
            }
            (MessageType::Reply, State::Requesting | State::Renewing | State::Rebinding) => {
                self.replied(now, server, &message);
            }
            (MessageType::Reply, State::Releasing) => self.idle(),
            _ => {}
        }
    }

    /// Our association in a message, and its first prefix that can be used.
    fn usable<'a>(&self, message: &'a Message) -> Option<(&'a Ia, &'a IaPrefix, Prefix)> {
        let ia = message.prefix_delegations().find(|ia| ia.iaid == self.config.iaid)?;
        // Section 21.21: with T1 after T2 the association is as if not there.
        let broken = ia.t2 != 0 && ia.t1 > ia.t2;
        let failed = ia.status.as_ref().is_some_and(|s| s.code != status::SUCCESS);
        if broken || failed {
            return None;
        }
        let found = ia.prefixes.iter().find(|p| p.valid > 0 && p.preferred <= p.valid && p.length > 0)?;
        Some((ia, found, Prefix::new(found.prefix, found.length)?))
    }

    fn advertised(&mut self, now: Instant, server: Duid, message: &Message) {
        let Some((_, offered, _)) = self.usable(message) else { return };
        let best = message.options.contains(&DhcpOption::Preference(255));
        if self.offer.is_none() || best {
            self.offer = Some((server, offered.clone()));
        }
        // Others may answer until the first interval is over (section 18.2.9).
        if best || self.count > 1 {
            self.begin(now, State::Requesting);
        }
    }

    fn replied(&mut self, now: Instant, server: Duid, message: &Message) {
        let Some((ia, found, prefix)) = self.usable(message) else {
            return self.refused(now, server, message);
        };
        let dns = message
            .options
            .iter()
            .find_map(|o| if let DhcpOption::DnsServers(servers) = o { Some(servers.clone()) } else { None })
            .unwrap_or_default();
        let after = |seconds: u32| match seconds {
            INFINITY => None,
            seconds => now.checked_add(Duration::from_secs(u64::from(seconds))),
        };
        // T1 and T2 of zero leave it to us (section 14.2).
        let part = |tenths: u64| match found.preferred {
            INFINITY => INFINITY,
            preferred => (u64::from(preferred) * tenths / 10) as u32,
        };
        // At least a second each, so that a short lifetime makes no storm of Renews.
        let t1 = if ia.t1 == 0 { part(5) } else { ia.t1 }.max(1);
        let t2 = if ia.t2 == 0 { part(8) } else { ia.t2 }.max(t1);
        if let Some(old) = self.lease.take().filter(|old| old.prefix != prefix) {
            self.events.push_back(ClientEvent::Lost { prefix: old.prefix });
        }
        let (preferred, valid) = (found.preferred, found.valid);
        self.events.push_back(ClientEvent::Bound { prefix, preferred, valid, dns });
        let (t1, t2, expires) = (after(t1), after(t2), after(valid));
        self.state = State::Bound;
        self.timer = [t1, expires].into_iter().flatten().min();
        self.lease = Some(Lease { server, prefix, preferred, valid, t2, expires });
    }

    fn refused(&mut self, now: Instant, server: Duid, message: &Message) {
        let ia = message.prefix_delegations().find(|ia| ia.iaid == self.config.iaid);
        let unbound = ia.and_then(|ia| ia.status.as_ref()).is_some_and(|s| s.code == status::NO_BINDING);
        match (self.state, &self.lease) {
            // The server has forgotten us: ask it again (section 18.2.10.1).
            (State::Renewing | State::Rebinding, Some(lease)) if unbound => {
                let (prefix, length) = (lease.prefix.address(), lease.prefix.length());
                self.offer = Some((server, IaPrefix { preferred: 0, valid: 0, length, prefix, status: None }));
                self.begin(now, State::Requesting);
            }
            // Perhaps another server, or a later try, does better while the lease lasts.
            (State::Renewing | State::Rebinding, _) => {}
            _ => self.start_over(now),
        }
    }

    /// Back to Soliciting, but not at once.
    fn start_over(&mut self, now: Instant) {
        if let Some(lease) = self.lease.take() {
            self.events.push_back(ClientEvent::Lost { prefix: lease.prefix });
        }
        (self.state, self.offer) = (State::Idle, None);
        self.timer = now.checked_add(AFTER_REFUSAL);
    }

    /// Runs what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.timer.is_none_or(|at| at > now) {
            return;
        }
        self.timer = None;
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let lease = self.lease.as_ref();
        let (t2, expired) = (lease.is_some_and(|l| due(l.t2)), lease.is_some_and(|l| due(l.expires)));
        let (_, _, maximum) = retransmission(self.state);
        match self.state {
            // Armed while idle only by a refusal.
            State::Idle => self.begin(now, State::Soliciting),
            State::Bound | State::Renewing | State::Rebinding if expired => self.start_over(now),
            State::Bound => self.begin(now, State::Renewing),
            State::Renewing if t2 => self.begin(now, State::Rebinding),
            State::Soliciting if self.offer.is_some() => self.begin(now, State::Requesting),
            State::Releasing if self.count >= maximum => self.idle(),
            State::Requesting if self.count >= maximum => self.start_over(now),
            State::Soliciting | State::Requesting | State::Renewing | State::Rebinding | State::Releasing => {
                self.send(now);
            }
        }
    }

    /// When [`Client::handle_timeout`] is to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timer
    }

    /// The next message, for UDP port 547 of [`crate::packet::ALL_DHCP_SERVERS`].
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.out.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }
}

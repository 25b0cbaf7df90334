//! The requesting router (RFC 8415, section 18.2): asks for a prefix, and an address if it is told to, keeps them,
//! gives them back.
//!
//! ```text
//!  Soliciting --Advertise--> Requesting --Reply--> Bound --T1--> Renewing --T2--> Rebinding --expired--> Soliciting
//!      `------------Reply (rapid commit)------------^  ^---------Reply------------------'
//! ```
//!
//! What the server gives is kept even if it is not all. Each exchange retransmits as section 15 says: the interval
//! doubles, with a little randomness, up to a maximum.

use crate::lease::{Kind, Lease, tenths, until};
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
    /// Our identity association, of either kind.
    pub iaid: u32,
    /// Ask for an address (IA_NA) too.
    pub address: bool,
    /// The prefix length that we would like; a hint.
    pub length: Option<u8>,
    /// Offer the two-message exchange.
    pub rapid_commit: bool,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// We have a prefix or an address, or have it for longer.
    Bound {
        /// Which.
        lease: Lease,
        /// Seconds from now.
        preferred: u32,
        /// Seconds from now.
        valid: u32,
        /// DNS servers.
        dns: Vec<Ipv6Addr>,
    },
    /// We no longer have it.
    Lost {
        /// Which.
        lease: Lease,
    },
}

/// What we have.
#[derive(Clone, Debug)]
struct Held {
    lease: Lease,
    preferred: u32,
    valid: u32,
    expires: Option<Instant>,
}

/// What a message gives us, with lifetimes and the association's T1 and T2; all in seconds.
struct Given {
    lease: Lease,
    preferred: u32,
    valid: u32,
    t1: u32,
    t2: u32,
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

/// Keeps one prefix delegated, and one address assigned.
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
    offer: Option<(Duid, Vec<Lease>)>,
    /// Who gave what we have.
    server: Option<Duid>,
    held: Vec<Held>,
    t2: Option<Instant>,
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
            server: None,
            held: Vec::new(),
            t2: None,
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

    /// Gives everything back.
    pub fn release(&mut self, now: Instant) {
        if self.held.is_empty() {
            self.idle();
        } else if self.state != State::Releasing {
            self.events.extend(self.held.iter().map(|held| ClientEvent::Lost { lease: held.lease }));
            self.begin(now, State::Releasing);
        }
    }

    /// The prefix that we have.
    pub fn prefix(&self) -> Option<Prefix> {
        self.leases().find_map(|lease| if let Lease::Prefix(prefix) = lease { Some(prefix) } else { None })
    }

    /// The address that we have.
    pub fn address(&self) -> Option<Ipv6Addr> {
        self.leases().find_map(|lease| if let Lease::Address(address) = lease { Some(address) } else { None })
    }

    fn leases(&self) -> impl Iterator<Item = Lease> {
        self.held.iter().filter(|_| self.state != State::Releasing).map(|held| held.lease)
    }

    fn idle(&mut self) {
        (self.state, self.timer, self.offer) = (State::Idle, None, None);
        self.held.clear();
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
        let end = match self.state {
            State::Renewing => [self.t2, self.expires()].into_iter().flatten().min(),
            State::Rebinding => self.expires(),
            State::Idle | State::Soliciting | State::Requesting | State::Bound | State::Releasing => None,
        };
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
        let empty = || Ia { iaid: self.config.iaid, ..Ia::default() };
        let (mut prefix, mut address) = (empty(), empty());
        match kind {
            MessageType::Solicit => {
                options.extend(self.config.rapid_commit.then_some(DhcpOption::RapidCommit));
                let hint =
                    |length| IaPrefix { preferred: 0, valid: 0, length, prefix: Ipv6Addr::UNSPECIFIED, status: None };
                prefix.prefixes.extend(self.config.length.map(hint));
            }
            MessageType::Request => {
                let (server, offered) = self.offer.as_ref()?;
                options.push(DhcpOption::ServerId(server.clone()));
                for lease in offered {
                    if lease.kind() == Kind::Prefix { &mut prefix } else { &mut address }.push(*lease, 0, 0);
                }
            }
            _ => {
                if kind != MessageType::Rebind {
                    options.push(DhcpOption::ServerId(self.server.clone()?));
                }
                for held in &self.held {
                    let ia = if held.lease.kind() == Kind::Prefix { &mut prefix } else { &mut address };
                    ia.push(held.lease, held.preferred, held.valid);
                }
            }
        }
        // What we have is renewed and released; what we do not have is asked for in Solicit and Request only.
        let asks = matches!(kind, MessageType::Solicit | MessageType::Request);
        if (asks && self.config.address) || !address.addresses.is_empty() {
            options.push(DhcpOption::IaNa(address));
        }
        if asks || !prefix.prefixes.is_empty() {
            options.push(DhcpOption::IaPd(prefix));
        }
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

    /// Our associations in a message.
    fn ours<'a>(&self, message: &'a Message) -> impl Iterator<Item = &'a Ia> {
        let (iaid, address) = (self.config.iaid, self.config.address);
        let wanted = move |kind: Kind| kind == Kind::Prefix || address;
        message.associations().filter(move |(kind, ia)| ia.iaid == iaid && wanted(*kind)).map(|(_, ia)| ia)
    }

    /// What can be used of a message: of each association the first that lives.
    fn given(&self, message: &Message) -> Vec<Given> {
        let mut all: Vec<Given> = Vec::new();
        for ia in self.ours(message) {
            // Section 21.21: with T1 after T2 the association is as if not there.
            let broken = ia.t2 != 0 && ia.t1 > ia.t2;
            let failed = ia.status.as_ref().is_some_and(|s| s.code != status::SUCCESS);
            let first = ia.leases().find(|(_, preferred, valid)| *valid > 0 && preferred <= valid);
            if let Some((lease, preferred, valid)) = first.filter(|_| !broken && !failed)
                && !all.iter().any(|given| given.lease.kind() == lease.kind())
            {
                all.push(Given { lease, preferred, valid, t1: ia.t1, t2: ia.t2 });
            }
        }
        all
    }

    fn advertised(&mut self, now: Instant, server: Duid, message: &Message) {
        let offered: Vec<Lease> = self.given(message).iter().map(|given| given.lease).collect();
        if offered.is_empty() {
            return;
        }
        let best = message.options.contains(&DhcpOption::Preference(255));
        if self.offer.is_none() || best {
            self.offer = Some((server, offered));
        }
        // Others may answer until the first interval is over (section 18.2.9).
        if best || self.count > 1 {
            self.begin(now, State::Requesting);
        }
    }

    fn replied(&mut self, now: Instant, server: Duid, message: &Message) {
        let renews = matches!(self.state, State::Renewing | State::Rebinding);
        let unbound = |ia: &Ia| ia.status.as_ref().is_some_and(|s| s.code == status::NO_BINDING);
        if renews && self.ours(message).any(unbound) {
            // The server has forgotten us: ask it again (section 18.2.10.1).
            self.offer = Some((server, self.held.iter().map(|held| held.lease).collect()));
            return self.begin(now, State::Requesting);
        }
        let given = self.given(message);
        // Section 18.2.10.1: a valid lifetime of zero ends what we have.
        let ended: Vec<Lease> = self.ours(message).flat_map(Ia::leases).filter(|l| l.2 == 0).map(|l| l.0).collect();
        self.lose(|held| ended.contains(&held.lease));
        if given.is_empty() {
            // Perhaps another server, or a later try, does better while what we have lasts.
            if !renews || self.held.is_empty() {
                self.start_over(now);
            }
            return;
        }
        let dns = message
            .options
            .iter()
            .find_map(|o| if let DhcpOption::DnsServers(servers) = o { Some(servers.clone()) } else { None })
            .unwrap_or_default();
        // Section 18.2.4: one exchange renews all, so the earliest time counts.
        let (mut t1, mut t2) = (INFINITY, INFINITY);
        for given in &given {
            // T1 and T2 of zero leave it to us (section 14.2).
            // At least a second each, so that a short lifetime makes no storm of Renews.
            t1 = t1.min(if given.t1 == 0 { tenths(given.preferred, 5) } else { given.t1 }).max(1);
            t2 = t2.min(if given.t2 == 0 { tenths(given.preferred, 8) } else { given.t2 }).max(t1);
        }
        // A new one takes the place of the old; what a Renew is not told of lasts as long as it was to last.
        let replaced = |held: &Held| match given.iter().find(|given| given.lease.kind() == held.lease.kind()) {
            Some(given) => given.lease != held.lease,
            None => !renews,
        };
        self.lose(replaced);
        self.held.retain(|held| !given.iter().any(|given| given.lease == held.lease));
        for Given { lease, preferred, valid, .. } in given {
            self.events.push_back(ClientEvent::Bound { lease, preferred, valid, dns: dns.clone() });
            self.held.push(Held { lease, preferred, valid, expires: until(now, valid) });
        }
        self.state = State::Bound;
        (self.server, self.t2) = (Some(server), until(now, t2));
        self.timer = [until(now, t1), self.expires()].into_iter().flatten().min();
    }

    /// When the first of what we have is over.
    fn expires(&self) -> Option<Instant> {
        self.held.iter().filter_map(|held| held.expires).min()
    }

    fn lose(&mut self, which: impl Fn(&Held) -> bool) {
        for held in self.held.extract_if(.., |held| which(held)) {
            self.events.push_back(ClientEvent::Lost { lease: held.lease });
        }
    }

    /// Back to Soliciting, but not at once.
    fn start_over(&mut self, now: Instant) {
        self.lose(|_| true);
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
        let t2 = due(self.t2);
        if self.state != State::Releasing {
            self.lose(|held| due(held.expires));
        }
        let expired = self.held.is_empty();
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

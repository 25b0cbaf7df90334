//! An exchange: one request, on its way to one server after another.

use super::{Client, Discard, Event, Failure, IDS, LinkId, LinkOp, Reply, Request, ServerId, Timer, Transport};
use crate::attribute::{AttributeList, Attributes, EAP_MESSAGE, NAS_IDENTIFIER};
use crate::crypto::{self, MessageAuthenticator};
use crate::packet::{Code, HEADER, Packet};
use rand_core::Rng;
use std::time::{Duration, Instant};

/// The longest time between transmissions (RFC 5080, section 2.2.1, MRT).
const MAX_WAIT: Duration = Duration::from_secs(16);

/// Links to a server beyond twice those that all requests fill: identifiers rest.
const SPARE_LINKS: usize = 8;

#[derive(Debug)]
pub(super) struct Exchange {
    /// Which, in the order of their making; 0 until it is sent.
    pub number: u64,
    /// Nothing: a probe.
    token: Option<u64>,
    request: Request,
    sticky: Option<ServerId>,
    since: Instant,
    /// Servers that it will not go to again.
    left: Vec<ServerId>,
    /// A link that had been up broke under it: this server's links from that one on are newer.
    broken: Option<LinkId>,
    attempt: Option<Attempt>,
    timer: Option<Instant>,
}

/// What one server was sent.
#[derive(Debug)]
pub(super) struct Attempt {
    pub link: LinkId,
    pub id: u8,
    octets: Vec<u8>,
    transmissions: u32,
    wait: Duration,
}

impl Exchange {
    pub fn new(now: Instant, token: impl Into<Option<u64>>, request: Request, sticky: Option<ServerId>) -> Self {
        let token = token.into();
        Self {
            number: 0,
            token,
            request,
            sticky,
            since: now,
            left: Vec::new(),
            broken: None,
            attempt: None,
            timer: None,
        }
    }

    pub fn is_probe(&self) -> bool {
        self.token.is_none()
    }

    /// The packet as it is sent.
    pub fn transmission(&self) -> Option<(LinkId, Vec<u8>)> {
        self.attempt.as_ref().map(|a| (a.link, a.octets.clone()))
    }

    /// Its link broke. If that `was_up`, which an idle stream's may be until it is used, its server gets it once more,
    /// on a link from `newer` on.
    pub fn broken(&mut self, newer: LinkId, was_up: bool) {
        if !was_up || self.broken.replace(newer).is_some() {
            self.left.push(newer.server);
        }
    }
}

impl Attempt {
    /// That of the request.
    pub fn authenticator(&self) -> Option<[u8; 16]> {
        self.octets.get(4..HEADER)?.try_into().ok()
    }
}

impl Client {
    /// The server that a request goes to next.
    fn choose(&self, exchange: &Exchange) -> Option<ServerId> {
        let open = self.servers.iter().filter(|s| s.alive && exchange.sticky.is_none_or(|only| only == s.id));
        let open = open.filter(|s| !exchange.left.contains(&s.id));
        open.min_by_key(|s| (s.config.group, s.in_flight, s.chosen)).map(|s| s.id)
    }

    /// Sends an exchange to the next server that takes it.
    pub(super) fn place(&mut self, now: Instant, mut exchange: Exchange) {
        let mut reason = if exchange.number == 0 { Failure::NoServer } else { Failure::NoAnswer };
        while let Some(server) = self.choose(&exchange) {
            match self.attempt(now, &mut exchange, server, None) {
                Ok(()) => return self.keep(exchange),
                Err(Failure::Overload) => {
                    reason = Failure::Overload;
                    exchange.left.push(server);
                }
                Err(failure) => {
                    reason = failure;
                    break;
                }
            }
        }
        if let Some(token) = exchange.token {
            self.events.push_back(Event::Failed { token, reason });
        }
    }

    fn keep(&mut self, exchange: Exchange) {
        self.exchanges.insert(exchange.number, exchange);
    }

    /// Takes an identifier of a server for an exchange, and sends it; for the server's first time, or how often and
    /// with what wait since.
    fn attempt(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        id: ServerId,
        again: Option<(u32, Duration)>,
    ) -> Result<(), Failure> {
        self.last += 1;
        let (number, max_links) = (self.last, self.max_in_flight.div_ceil(IDS) * 2 + SPARE_LINKS);
        let mut authenticator = [0; 16];
        self.rng.fill_bytes(&mut authenticator);
        let delay = u32::try_from((now - exchange.since).as_secs()).unwrap_or(u32::MAX);
        let server = self.servers.iter_mut().find(|s| s.id == id).ok_or(Failure::NoServer)?;
        let newer = exchange.broken.filter(|link| link.server == id).map_or(0, |link| link.number);
        let (link, identifier, new) = server.take(now, number, newer, max_links).ok_or(Failure::Overload)?;
        if new {
            self.links.push_back(LinkOp::Open(link));
        }
        let (transmissions, wait) = again.unwrap_or((1, server.first_wait()));
        let mut attempt = Attempt { link, id: identifier, octets: Vec::new(), transmissions, wait };
        match exchange.request.encode(identifier, &authenticator, &server.config.secret, delay) {
            Ok(octets) => attempt.octets = octets,
            Err(error) => {
                server.give_back(now, &attempt, true);
                return Err(error.into());
            }
        }
        (server.chosen, exchange.number) = (number, number);
        server.asked(now);
        match (exchange.token, again) {
            (None, _) => server.counters.probes += 1,
            (_, None) => server.counters.requests += 1,
            (_, Some(_)) => server.counters.retransmissions += 1,
        }
        let up = server.links.get(&link.number).is_some_and(|l| l.up);
        exchange.attempt = Some(attempt);
        if up {
            self.out.extend(exchange.transmission());
        }
        if !exchange.is_probe() {
            let at = now + self.jitter(wait);
            self.timers.set(Timer::Exchange(number), &mut exchange.timer, Some(at));
        }
        Ok(())
    }

    /// Takes an exchange away from its server.
    pub(super) fn detach(&mut self, now: Instant, number: u64, answered: bool) -> Option<Exchange> {
        let mut exchange = self.exchanges.remove(&number)?;
        self.timers.set(Timer::Exchange(number), &mut exchange.timer, None);
        if let Some(attempt) = exchange.attempt.take()
            && let Some(server) = self.server_mut(attempt.link.server)
        {
            server.give_back(now, &attempt, answered);
            if exchange.is_probe() {
                server.probe = None;
            }
        }
        Some(exchange)
    }

    /// A transmission was not answered in time.
    pub(super) fn unanswered(&mut self, now: Instant, number: u64) {
        let Some(id) = self.exchanges.get(&number).and_then(|e| e.attempt.as_ref()).map(|a| a.link.server) else {
            return;
        };
        let Some(server) = self.server_mut(id) else { return };
        server.counters.timeouts += 1;
        if server.alive && server.is_silent(now) {
            self.down(now, id);
        }
        // It may have moved already.
        if self.exchanges.contains_key(&number) && !self.retransmit(now, number) {
            self.leave(now, number, id);
        }
    }

    fn leave(&mut self, now: Instant, number: u64, id: ServerId) {
        if let Some(mut exchange) = self.detach(now, number, false) {
            exchange.left.push(id);
            self.place(now, exchange);
        }
    }

    /// Sends it again; false when it has been sent often enough.
    fn retransmit(&mut self, now: Instant, number: u64) -> bool {
        let Some(exchange) = self.exchanges.get(&number) else { return false };
        let Some(attempt) = &exchange.attempt else { return false };
        let (id, counts_delay) = (attempt.link.server, exchange.request.counts_delay());
        let (transmissions, wait) = (attempt.transmissions + 1, attempt.wait.saturating_mul(2).min(MAX_WAIT));
        let Some(server) = self.server_mut(id) else { return false };
        if server.config.transport.is_stream() || transmissions > server.config.tries {
            return false;
        }
        if counts_delay {
            // Another packet, so another identifier.
            let Some(mut exchange) = self.detach(now, number, false) else { return false };
            match self.attempt(now, &mut exchange, id, Some((transmissions, wait))) {
                Ok(()) => self.keep(exchange),
                Err(_) => {
                    exchange.left.push(id);
                    self.place(now, exchange);
                }
            }
            return true;
        }
        server.counters.retransmissions += 1;
        server.asked(now);
        let at = now + self.jitter(wait);
        let Some(exchange) = self.exchanges.get_mut(&number) else { return false };
        if let Some(attempt) = &mut exchange.attempt {
            (attempt.transmissions, attempt.wait) = (transmissions, wait);
        }
        self.timers.set(Timer::Exchange(number), &mut exchange.timer, Some(at));
        self.out.extend(exchange.transmission());
        true
    }

    /// A server is dead: what waits for it moves to others, where there are any; the rest waits on. Streams to it are
    /// closed, and with them goes the rest.
    pub(super) fn down(&mut self, now: Instant, id: ServerId) {
        let Some(server) = self.servers.iter_mut().find(|s| s.id == id).filter(|s| s.alive) else { return };
        server.alive = false;
        let rest = server.rest();
        self.timers.set(Timer::Server(id), &mut server.timer, Some(now + rest));
        self.events.push_back(Event::ServerDown(id));
        if server.config.transport.is_stream() {
            let links: Vec<_> = server.links.keys().map(|number| LinkId { server: id, number: *number }).collect();
            links.into_iter().for_each(|link| self.close(now, link));
            return;
        }
        let mut waiting: Vec<_> = server.links.values().flat_map(|link| link.requests()).collect();
        waiting.sort_unstable();
        for number in waiting {
            if self.exchanges.get(&number).is_some_and(|e| self.choose(e).is_some()) {
                self.leave(now, number, id);
            }
        }
    }

    fn up(&mut self, now: Instant, id: ServerId) {
        let Some(server) = self.servers.iter_mut().find(|s| s.id == id).filter(|s| !s.alive) else { return };
        server.alive = true;
        server.answered();
        self.timers.set(Timer::Server(id), &mut server.timer, None);
        let probe = server.probe;
        self.events.push_back(Event::ServerUp(id));
        probe.and_then(|number| self.detach(now, number, false));
    }

    /// A dead server has been left alone long enough: it is probed, or taken for alive.
    pub(super) fn rested(&mut self, now: Instant, id: ServerId) {
        let Some(server) = self.servers.iter_mut().find(|s| s.id == id) else { return };
        let Some(interval) = server.config.probe else { return self.up(now, id) };
        self.timers.set(Timer::Server(id), &mut server.timer, Some(now + interval));
        server.probe.and_then(|number| self.detach(now, number, false));
        let mut list = AttributeList::new();
        self.nas_identifier.iter().for_each(|name| _ = list.text(NAS_IDENTIFIER, name));
        let mut probe = Exchange::new(now, None, Request::new(Code::StatusServer, list), Some(id));
        if self.attempt(now, &mut probe, id, None).is_ok() {
            if let Some(server) = self.server_mut(id) {
                server.probe = Some(probe.number);
            }
            self.keep(probe);
        }
    }

    /// A packet has come on a link.
    pub(super) fn receive(&mut self, now: Instant, id: LinkId, octets: &[u8]) -> Result<(), Discard> {
        let packet = Packet::parse(octets).map_err(|_| Discard::Malformed)?;
        let server = self.servers.iter().find(|s| s.id == id.server).ok_or(Discard::UnknownId)?;
        let secret = &server.config.secret;
        let link = server.links.get(&id.number).ok_or(Discard::UnknownId)?;
        let late = || link.last(packet.id).is_some_and(|last| crypto::authentic(&packet, &last, secret.expose()));
        let waiting = link.owner(packet.id).and_then(|number| self.exchanges.get(&number));
        let authenticator = waiting.and_then(|e| e.attempt.as_ref()).and_then(Attempt::authenticator);
        let Some((exchange, authenticator)) = waiting.zip(authenticator) else {
            return Err(if late() { Discard::Late } else { Discard::UnknownId });
        };
        if !exchange.request.answered_by(packet.code) {
            return Err(Discard::WrongCode);
        }
        if !crypto::authentic(&packet, &authenticator, secret.expose()) {
            return Err(if late() { Discard::Late } else { Discard::BadAuthenticator });
        }
        // A forged reply to accounting or Status-Server has nothing to say, and servers send them without. EAP is
        // never believed without (RFC 3579, section 3.1), nor is an Access-Accept to it that has lost its EAP-Message.
        let asked = server.config.require_message_authenticator && server.config.transport != Transport::Tls;
        let has_eap = |attributes: Attributes<'_>| attributes.first(EAP_MESSAGE).is_some();
        let accepts_eap = packet.code == Code::AccessAccept && has_eap(exchange.request.attributes.as_attributes());
        let eap = accepts_eap || has_eap(packet.attributes());
        let demanded = exchange.request.code == Code::AccessRequest && (asked || eap);
        match crypto::message_authenticator(&packet, &authenticator, secret.expose()) {
            MessageAuthenticator::Invalid => return Err(Discard::BadMessageAuthenticator),
            MessageAuthenticator::Absent if demanded => return Err(Discard::NoMessageAuthenticator),
            MessageAuthenticator::Absent | MessageAuthenticator::Valid => {}
        }
        let (reply, number) = (Reply::new(&packet, &authenticator, secret), exchange.number);
        let answered = self.detach(now, number, true);
        if let Some(server) = self.server_mut(id.server) {
            server.answered();
            server.counters.replies += 1;
        }
        self.up(now, id.server);
        if let Some(token) = answered.and_then(|exchange| exchange.token) {
            self.events.push_back(Event::Reply { token, server: id.server, reply });
        }
        Ok(())
    }
}

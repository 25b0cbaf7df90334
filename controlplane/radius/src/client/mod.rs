//! The client: requests in, replies out, whichever server gives them.
//!
//! ```text
//!   request ─► server alive, of the first group, with the fewest in flight ─► link, identifier, authenticator
//!                │ silent: the same octets again, 2 s, 4 s, 8 s later
//!                │ silent still, dead, or its link broke: the next server, as a new packet
//!                ▼
//!              Reply, or Failed when none is left
//! ```
//!
//! An EAP conversation is of one server: what carries its State is `sticky`, and fails with it.
//!
//! The owner calls, in any order: [`Client::request`], [`Client::handle_input`], [`Client::link_up`],
//! [`Client::link_down`], [`Client::handle_timeout`]; after each it drains [`Client::poll_link`], then
//! [`Client::poll_transmit`] and [`Client::poll_event`], and sets its timer to [`Client::poll_timeout`].
//!
//! Links are opened as identifiers run out, and stay until they break. What is sent to a stream that is not up yet is
//! given out when it is.

mod config;
mod event;
mod exchange;
mod link;
mod reply;
mod request;
mod server;

pub use config::{Config, LinkId, ServerConfig, ServerId, Transport};
pub use event::{Counters, Discard, Event, Failure, LinkOp, ServerInfo};
pub use reply::Reply;
pub use request::Request;

use exchange::Exchange;
use rand_core::CryptoRng;
use server::Server;
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};
use timers::Timers;

/// Identifiers of a link.
const IDS: usize = 256;

/// What has a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Exchange(u64),
    Server(ServerId),
}

/// A client of the servers of one purpose: authentication, or accounting.
pub struct Client {
    servers: Vec<Server>,
    next_server: u16,
    max_in_flight: usize,
    nas_identifier: Option<String>,
    rng: Box<dyn CryptoRng + Send>,
    exchanges: HashMap<u64, Exchange>,
    /// The number of the last exchange.
    last: u64,
    timers: Timers<Timer>,
    links: VecDeque<LinkOp>,
    out: VecDeque<(LinkId, Vec<u8>)>,
    events: VecDeque<Event>,
}

impl Client {
    /// A client with nothing to do.
    pub fn new(config: Config, rng: Box<dyn CryptoRng + Send>) -> Self {
        let mut client = Self {
            servers: Vec::new(),
            next_server: 0,
            max_in_flight: config.max_in_flight,
            nas_identifier: None,
            rng,
            exchanges: HashMap::new(),
            last: 0,
            timers: Timers::default(),
            links: VecDeque::new(),
            out: VecDeque::new(),
            events: VecDeque::new(),
        };
        client.set_servers(config);
        client
    }

    /// Other servers from now on. One that is configured as before keeps its id, links and counters; what waits for one
    /// that is not there any more goes to the others, as if it had not answered.
    pub fn set_config(&mut self, now: Instant, config: Config) {
        let mut moved = Vec::new();
        for mut server in self.set_servers(config) {
            self.timers.set(Timer::Server(server.id), &mut server.timer, None);
            for (&number, link) in &server.links {
                self.links.push_back(LinkOp::Close(LinkId { server: server.id, number }));
                moved.extend(link.requests().filter_map(|exchange| self.detach(now, exchange, false)));
            }
        }
        moved.sort_unstable_by_key(|exchange| exchange.number);
        moved.into_iter().filter(|e| !e.is_probe()).for_each(|exchange| self.place(now, exchange));
    }

    /// Gives those that are not there any more.
    fn set_servers(&mut self, config: Config) -> Vec<Server> {
        (self.max_in_flight, self.nas_identifier) = (config.max_in_flight, config.nas_identifier);
        let mut before = std::mem::take(&mut self.servers);
        for config in config.servers {
            let server = match before.iter().position(|known| known.config == config) {
                Some(known) => before.remove(known),
                None => {
                    let id = ServerId(self.next_server);
                    self.next_server = self.next_server.wrapping_add(1);
                    Server::new(id, config)
                }
            };
            self.servers.push(server);
        }
        before
    }

    /// Sends a request, to `sticky` only if that is given. One [`Event::Reply`] or [`Event::Failed`] comes of it, with
    /// `token` in it.
    pub fn request(&mut self, now: Instant, token: u64, request: Request, sticky: Option<ServerId>) {
        if self.in_flight() >= self.max_in_flight {
            self.events.push_back(Event::Failed { token, reason: Failure::Overload });
            return;
        }
        self.place(now, Exchange::new(now, token, request, sticky));
    }

    /// Requests that wait.
    pub fn in_flight(&self) -> usize {
        self.exchanges.len() - self.servers.iter().filter(|s| s.probe.is_some()).count()
    }

    /// Every server, in the order of the configuration.
    pub fn servers(&self) -> impl Iterator<Item = ServerInfo<'_>> {
        self.servers.iter().map(|server| ServerInfo {
            id: server.id,
            config: &server.config,
            alive: server.alive,
            in_flight: server.in_flight,
            links: server.links.len(),
            counters: &server.counters,
        })
    }

    /// The name of a server; empty where it is not there any more.
    pub fn name(&self, id: ServerId) -> &str {
        self.servers.iter().find(|s| s.id == id).map_or("", |s| s.config.name.as_str())
    }

    /// A stream is connected. What waits for it is sent.
    pub fn link_up(&mut self, _now: Instant, id: LinkId) {
        let Some(link) = self.server_mut(id.server).and_then(|s| s.links.get_mut(&id.number)) else { return };
        if std::mem::replace(&mut link.up, true) {
            return;
        }
        let mut waiting: Vec<_> = link.requests().collect();
        waiting.sort_unstable();
        for exchange in waiting.iter().filter_map(|number| self.exchanges.get(number)) {
            self.out.extend(exchange.transmission());
        }
    }

    /// A link could not be opened, or broke. What waits for a reply on it is sent elsewhere, or once more to the same
    /// server if the link had been up (RFC 6613, section 2.6); a server to which none can be opened, or whose streams end
    /// without a reply again and again, is dead.
    pub fn link_down(&mut self, now: Instant, id: LinkId) {
        let Some(server) = self.server_mut(id.server) else { return };
        let Some(link) = server.links.remove(&id.number) else { return };
        let newer = server.next_link();
        let unreachable = match link.up {
            true => server.config.transport.is_stream() && server.ended(id.number),
            false => !server.links.values().any(|l| l.up),
        };
        let mut moved = Vec::new();
        for number in link.requests() {
            moved.extend(self.detach(now, number, false));
        }
        moved.sort_unstable_by_key(|exchange| exchange.number);
        if unreachable {
            self.down(now, id.server);
        }
        for mut exchange in moved.into_iter().filter(|e| !e.is_probe()) {
            exchange.broken(newer, link.up);
            self.place(now, exchange);
        }
    }

    /// A datagram, or a piece of a stream, has come. What is no reply to a request of ours is counted and dropped; a
    /// stream that is out of step, or says what its server never did, is closed.
    pub fn handle_input(&mut self, now: Instant, id: LinkId, octets: &[u8]) {
        let Some(server) = self.server_mut(id.server) else { return };
        let stream = server.config.transport.is_stream();
        let Some(link) = server.links.get_mut(&id.number) else { return };
        if !stream {
            if let Err(reason) = self.receive(now, id, octets) {
                self.discard(id, reason);
            }
            return;
        }
        link.push(octets);
        loop {
            let link = self.server_mut(id.server).and_then(|s| s.links.get_mut(&id.number));
            let received = match link.map(link::Link::next_packet) {
                Some(Ok(Some(packet))) => self.receive(now, id, &packet),
                Some(Err(link::OutOfStep)) => Err(Discard::Malformed),
                Some(Ok(None)) | None => return,
            };
            if let Err(reason) = received {
                self.discard(id, reason);
                if reason.closes_stream() {
                    return self.close(now, id);
                }
            }
        }
    }

    /// The time has come that [`Client::poll_timeout`] said.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.timers.expired(now) {
            match timer {
                Timer::Exchange(number) => self.unanswered(now, number),
                Timer::Server(id) => self.rested(now, id),
            }
        }
    }

    /// When to call [`Client::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// The next link to open or close.
    pub fn poll_link(&mut self) -> Option<LinkOp> {
        self.links.pop_front()
    }

    /// The next packet to send, and where.
    pub fn poll_transmit(&mut self) -> Option<(LinkId, Vec<u8>)> {
        self.out.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn server_mut(&mut self, id: ServerId) -> Option<&mut Server> {
        self.servers.iter_mut().find(|s| s.id == id)
    }

    fn close(&mut self, now: Instant, id: LinkId) {
        self.links.push_back(LinkOp::Close(id));
        self.link_down(now, id);
    }

    fn discard(&mut self, id: LinkId, reason: Discard) {
        if let Some(server) = self.server_mut(id.server) {
            server.counters.discard(reason);
        }
    }

    /// `mean`, a tenth more or less (RFC 5080, section 2.2.1, RAND).
    fn jitter(&mut self, mean: Duration) -> Duration {
        let thousandths = 900 + self.rng.next_u32() % 201;
        mean.saturating_mul(thousandths) / 1000
    }
}

#[cfg(test)]
mod tests;

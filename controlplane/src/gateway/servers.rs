//! The RADIUS servers: clients from the configuration, the octets that the driver carries, and what is to be seen of it.

use super::Gateway;
use crate::config::Config;
use crate::config::aaa::{Dynamic, Server, Transport};
use crate::northbound::{RadiusInfo, RadiusServerInfo};
use radius::dynauth::Discard;
use radius::{Client, LinkId, LinkOp, Secret, ServerConfig, ServerId};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Time between looks at a server that is dead (RFC 5997).
const PROBE: Duration = Duration::from_secs(5);

/// Which client a link belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Access-Requests.
    Authentication,
    /// Accounting-Requests.
    Accounting,
}

/// The servers of one purpose, in the order of the client's ids.
pub fn of_purpose(config: &Config, accounting: bool) -> impl Iterator<Item = &Server> {
    config.aaa.servers.iter().filter(move |s| if accounting { s.accounting } else { s.authentication })
}

/// A client's configuration.
pub(crate) fn client(config: &Config, accounting: bool) -> radius::Config {
    let server = |s: &Server| ServerConfig {
        name: s.name.clone(),
        address: s.remote(accounting),
        secret: Secret::new(s.secret.as_ref().map_or(&b"radsec"[..], |s| s.bytes())),
        transport: match s.transport {
            Transport::Udp => radius::Transport::Udp,
            Transport::Tcp => radius::Transport::Tcp,
            Transport::Tls => radius::Transport::Tls,
        },
        group: s.priority,
        timeout: s.timeout,
        tries: s.tries,
        dead_time: s.dead_time,
        probe: s.status_server.then_some(PROBE),
        require_message_authenticator: !s.legacy_no_message_authenticator,
    };
    radius::Config {
        servers: of_purpose(config, accounting).map(server).collect(),
        nas_identifier: Some(config.nas_identifier().to_owned()),
        ..radius::Config::default()
    }
}

/// Who may ask for dynamic authorization.
pub(super) fn dynamic(config: &Config) -> radius::dynauth::Config {
    let clients = |d: &Dynamic| d.clients.iter().map(|c| (c.address, Secret::new(c.secret.bytes()))).collect();
    let from = |d: &Dynamic| radius::dynauth::Config { clients: clients(d), window: d.window };
    config.aaa.dynamic.as_ref().map(from).unwrap_or_default()
}

impl Gateway {
    fn client(&mut self, purpose: Purpose) -> &mut Client {
        match purpose {
            Purpose::Authentication => self.aaa.radius(),
            Purpose::Accounting => self.accounting.radius(),
        }
    }

    pub(super) fn servers_timeout(&mut self, now: Instant) {
        if self.aaa.radius().poll_timeout().is_some_and(|t| t <= now) {
            self.aaa.radius().handle_timeout(now);
        }
        if self.accounting.poll_timeout().is_some_and(|t| t <= now) {
            self.accounting.handle_timeout(now);
        }
    }

    pub(super) fn servers_due(&mut self) -> Option<Instant> {
        self.aaa.radius().poll_timeout().into_iter().chain(self.accounting.poll_timeout()).min()
    }

    /// A link to a server to be opened or closed; to be asked for before [`Self::poll_radius`].
    pub fn poll_radius_link(&mut self) -> Option<(Purpose, LinkOp)> {
        let one = |purpose, client: &mut Client| client.poll_link().map(|op| (purpose, op));
        one(Purpose::Authentication, self.aaa.radius()).or_else(|| one(Purpose::Accounting, self.accounting.radius()))
    }

    /// The next octets for a server.
    pub fn poll_radius(&mut self) -> Option<(Purpose, LinkId, Vec<u8>)> {
        let one = |purpose, client: &mut Client| client.poll_transmit().map(|(link, octets)| (purpose, link, octets));
        one(Purpose::Authentication, self.aaa.radius()).or_else(|| one(Purpose::Accounting, self.accounting.radius()))
    }

    /// The name of a server that has links; empty when it is gone.
    pub fn radius_server(&mut self, purpose: Purpose, id: ServerId) -> String {
        self.client(purpose).name(id).to_owned()
    }

    /// Octets from a server: a datagram, or a piece of a stream.
    pub fn radius_input(&mut self, now: Instant, purpose: Purpose, link: LinkId, octets: &[u8]) {
        self.client(purpose).handle_input(now, link, octets);
        self.pump(now);
    }

    /// A stream is up, or a link is down.
    pub fn radius_link(&mut self, now: Instant, purpose: Purpose, link: LinkId, up: bool) {
        match up {
            true => self.client(purpose).link_up(now, link),
            false => self.client(purpose).link_down(now, link),
        }
        self.pump(now);
    }

    /// A datagram to the port of dynamic authorization; the answers to be sent, each with where it goes.
    pub fn dynamic_input(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> Option<(SocketAddr, Vec<u8>)> {
        let at = u64::from(self.unix(now));
        let verdict = self.dynamic.handle_input(now, at, from, datagram);
        let answer = match verdict {
            radius::dynauth::Verdict::Request(request) => self.dynamic_request(now, from, request),
            radius::dynauth::Verdict::Resend(octets) => Some((from, octets)),
            radius::dynauth::Verdict::Drop(reason) => {
                tracing::debug!(%from, ?reason, "request of dynamic authorization dropped");
                None
            }
        };
        self.pump(now);
        answer
    }

    pub(super) fn radius_info(&mut self) -> RadiusInfo {
        let pending = self.accounting.pending();
        let taken = self.accounting.taken();
        let waiting = self.aaa.waiting();
        let rows = |purpose, client: &mut Client| {
            let row = |s: radius::client::ServerInfo<'_>| RadiusServerInfo {
                name: s.config.name.clone(),
                purpose,
                address: s.config.address,
                transport: match s.config.transport {
                    radius::Transport::Udp => "udp",
                    radius::Transport::Tcp => "tcp",
                    radius::Transport::Tls => "tls",
                },
                priority: s.config.group,
                alive: s.alive,
                in_flight: s.in_flight,
                links: s.links,
                counters: counters(s.counters),
            };
            client.servers().map(row).collect::<Vec<_>>()
        };
        let mut servers = rows("authentication", self.aaa.radius());
        servers.extend(rows("accounting", self.accounting.radius()));
        // All reasons, so that a series begins at 0.
        let seen = self.dynamic.discards();
        let each = |reason: &Discard| (reason.name().to_owned(), seen.get(reason).copied().unwrap_or(0));
        let discards = self.config.aaa.dynamic.iter().flat_map(|_| Discard::ALL.iter().map(each));
        RadiusInfo {
            servers,
            waiting,
            records_pending: pending,
            records_taken: taken,
            dynamic_discards: discards.collect(),
        }
    }
}

fn counters(c: &radius::client::Counters) -> BTreeMap<String, u64> {
    let plain = [
        ("requests", c.requests),
        ("retransmissions", c.retransmissions),
        ("timeouts", c.timeouts),
        ("replies", c.replies),
        ("probes", c.probes),
    ];
    let discards = c.discards.iter().map(|(reason, n)| (format!("discarded_{}", reason.name()), *n));
    plain.into_iter().map(|(name, n)| (name.to_owned(), n)).chain(discards).collect()
}

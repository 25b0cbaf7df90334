//! The delegating router of one session (RFC 8415, sections 18.3 and 6.3).
//!
//! A softwire has one subscriber, so the session is the client: whoever asks on it gets the session's prefixes, one
//! for each identity association, and a router that was replaced (another DUID) takes over those of its predecessor.
//! Addresses are not handed out (the subscriber autoconfigures them), and an IA_NA is answered by NoAddrsAvail.

use crate::message::{Message, MessageType};
use crate::option::{DhcpOption, Duid, Ia, IaPrefix, Status, code, status};
use crate::packet::Prefix;
use std::collections::VecDeque;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

/// A lifetime that does not end.
pub const INFINITY: u32 = u32::MAX;
/// Associations of one message that are answered.
const MAX_IAS: usize = 16;

/// What a session has to give.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The gateway's identifier.
    pub duid: Duid,
    /// To be delegated, in this order.
    pub prefixes: Vec<Prefix>,
    /// Seconds. T1 and T2 are half and four fifths of it.
    pub preferred: u32,
    /// Seconds, not less than that.
    pub valid: u32,
    /// DNS servers (RFC 3646), for clients that ask.
    pub dns: Vec<Ipv6Addr>,
}

/// What the owner has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerEvent {
    /// Delegated, or delegated again after it was released: route it to the session.
    Bound {
        /// The prefix.
        prefix: Prefix,
    },
    /// Released, or its lifetime is over.
    Released {
        /// The prefix.
        prefix: Prefix,
    },
}

struct Binding {
    client: Duid,
    iaid: u32,
    prefix: Prefix,
    /// `None`: never.
    expires: Option<Instant>,
}

/// Answers the DHCPv6 messages of one session.
pub struct Server {
    config: ServerConfig,
    bindings: Vec<Binding>,
    events: VecDeque<ServerEvent>,
}

impl Server {
    /// With nothing delegated.
    pub fn new(config: ServerConfig) -> Self {
        Self { config, bindings: Vec::new(), events: VecDeque::new() }
    }

    /// The prefixes that are delegated now.
    pub fn bound(&self) -> impl Iterator<Item = Prefix> + '_ {
        self.bindings.iter().map(|b| b.prefix)
    }

    /// A message from UDP port 546 of the session; the reply, to be sent back to its source. What section 16 tells
    /// us to discard has none.
    pub fn handle_input(&mut self, now: Instant, message: &[u8]) -> Option<Vec<u8>> {
        let message = Message::parse(message)?;
        self.handle_timeout(now);
        let mut reply = Message {
            kind: MessageType::Reply,
            transaction: message.transaction,
            options: vec![DhcpOption::ServerId(self.config.duid.clone())],
        };
        reply.options.extend(message.client_id().cloned().map(DhcpOption::ClientId));
        self.is_for_us(&message).then_some(())?;
        match (message.kind, message.client_id()) {
            (MessageType::Solicit, Some(client)) => {
                let commit = message.rapid_commit();
                if commit {
                    reply.options.push(DhcpOption::RapidCommit);
                } else {
                    reply.kind = MessageType::Advertise;
                    // There is no other server on the link to wait for (section 18.2.1).
                    reply.options.push(DhcpOption::Preference(255));
                }
                self.assign(now, client, &message, commit, &mut reply);
            }
            (MessageType::Request | MessageType::Renew | MessageType::Rebind, Some(client)) => {
                self.assign(now, client, &message, true, &mut reply);
            }
            (MessageType::Release, Some(client)) => self.release(client, &message, &mut reply),
            // Addresses were never given, so none can be declined.
            (MessageType::Decline, Some(_)) => {
                let text = Status::new(status::NO_BINDING, "no addresses here");
                for option in message.options.iter().take(MAX_IAS) {
                    if let DhcpOption::IaNa(ia) = option {
                        reply.options.push(DhcpOption::IaNa(empty(ia.iaid, text.clone())));
                    }
                }
                reply.options.push(DhcpOption::Status(Status::new(status::SUCCESS, "")));
            }
            (MessageType::Confirm, Some(_)) => {
                // Section 18.3.3: no answer if there is no address to judge.
                let any = message.options.iter().any(|o| matches!(o, DhcpOption::IaNa(ia) if !ia.addresses.is_empty()));
                any.then_some(())?;
                reply.options.push(DhcpOption::Status(Status::new(status::NOT_ON_LINK, "not assigned on this link")));
            }
            (MessageType::InformationRequest, _) => {
                let ia = message.options.iter().any(|o| matches!(o, DhcpOption::IaNa(_) | DhcpOption::IaPd(_)));
                (!ia).then_some(())?;
            }
            (
                MessageType::Solicit
                | MessageType::Request
                | MessageType::Renew
                | MessageType::Rebind
                | MessageType::Release
                | MessageType::Decline
                | MessageType::Confirm,
                None,
            )
            | (MessageType::Advertise | MessageType::Reply | MessageType::Reconfigure, _) => return None,
        }
        if message.requests(code::DNS_SERVERS) && !self.config.dns.is_empty() {
            reply.options.push(DhcpOption::DnsServers(self.config.dns.clone()));
        }
        Some(reply.encode())
    }

    /// Section 16: who must, may and must not name a server.
    fn is_for_us(&self, message: &Message) -> bool {
        let named = message.server_id();
        match message.kind {
            MessageType::Solicit | MessageType::Confirm | MessageType::Rebind => named.is_none(),
            MessageType::Request | MessageType::Renew | MessageType::Release | MessageType::Decline => {
                named == Some(&self.config.duid)
            }
            MessageType::InformationRequest => named.is_none_or(|duid| *duid == self.config.duid),
            MessageType::Advertise | MessageType::Reply | MessageType::Reconfigure => false,
        }
    }

    /// Solicit, Request, Renew, Rebind: an association gets the prefix that it has, or the next free one.
    fn assign(&mut self, now: Instant, client: &Duid, message: &Message, commit: bool, reply: &mut Message) {
        let mut offered: Vec<Prefix> = Vec::new();
        for option in message.options.iter().take(MAX_IAS) {
            match option {
                DhcpOption::IaPd(ia) => {
                    let prefix = self.choose(client, ia.iaid, &offered);
                    offered.extend(prefix);
                    if let (Some(prefix), true) = (prefix, commit) {
                        self.bind(now, client, ia.iaid, prefix);
                    }
                    // Only a client that renews can hold a prefix that is not (any more) its own.
                    let renews = matches!(message.kind, MessageType::Renew | MessageType::Rebind);
                    reply.options.push(DhcpOption::IaPd(self.delegation(ia, prefix, renews)));
                }
                DhcpOption::IaNa(ia) => {
                    let status = Status::new(status::NO_ADDRS_AVAIL, "use stateless autoconfiguration");
                    reply.options.push(DhcpOption::IaNa(empty(ia.iaid, status)));
                }
                _ => {}
            }
        }
    }

    fn choose(&self, client: &Duid, iaid: u32, offered: &[Prefix]) -> Option<Prefix> {
        let own = self.bindings.iter().find(|b| b.client == *client && b.iaid == iaid).map(|b| b.prefix);
        // Prefixes of the same client's other associations stay; those of a predecessor are taken over.
        let taken = |p: &Prefix| self.bindings.iter().any(|b| b.client == *client && b.prefix == *p);
        own.or_else(|| self.config.prefixes.iter().find(|p| !taken(p) && !offered.contains(p)).copied())
    }

    fn bind(&mut self, now: Instant, client: &Duid, iaid: u32, prefix: Prefix) {
        let expires = match self.config.valid {
            INFINITY => None,
            valid => now.checked_add(Duration::from_secs(u64::from(valid))),
        };
        match self.bindings.iter_mut().find(|b| b.prefix == prefix) {
            Some(binding) => (binding.client, binding.iaid, binding.expires) = (client.clone(), iaid, expires),
            None => {
                self.bindings.push(Binding { client: client.clone(), iaid, prefix, expires });
                self.events.push_back(ServerEvent::Bound { prefix });
            }
        }
    }

    fn delegation(&self, asked: &Ia, prefix: Option<Prefix>, renews: bool) -> Ia {
        let Some(prefix) = prefix else {
            let status = match renews {
                true => Status::new(status::NO_BINDING, "nothing delegated"),
                false => Status::new(status::NO_PREFIX_AVAIL, "no prefix for this subscriber"),
            };
            return empty(asked.iaid, status);
        };
        let part = |tenths: u32| match self.config.preferred {
            INFINITY => INFINITY,
            preferred => (u64::from(preferred) * u64::from(tenths) / 10) as u32,
        };
        let entry = |prefix: Prefix, preferred, valid| IaPrefix {
            preferred,
            valid,
            length: prefix.length(),
            prefix: prefix.address(),
            status: None,
        };
        let mut ia = Ia { iaid: asked.iaid, t1: part(5), t2: part(8), ..Ia::default() };
        ia.prefixes.push(entry(prefix, self.config.preferred.min(self.config.valid), self.config.valid));
        if renews {
            // Section 18.3.4: what the client has and should not is returned with lifetimes of zero.
            let stale = asked.prefixes.iter().filter_map(|p| Prefix::new(p.prefix, p.length));
            ia.prefixes.extend(stale.filter(|p| *p != prefix).take(MAX_IAS).map(|p| entry(p, 0, 0)));
        }
        ia
    }

    fn release(&mut self, client: &Duid, message: &Message, reply: &mut Message) {
        for ia in message.prefix_delegations().take(MAX_IAS) {
            let mut any = false;
            for found in ia.prefixes.iter().filter_map(|p| Prefix::new(p.prefix, p.length)) {
                let matches = |b: &Binding| b.client == *client && b.iaid == ia.iaid && b.prefix == found;
                if let Some(index) = self.bindings.iter().position(matches) {
                    self.bindings.swap_remove(index);
                    self.events.push_back(ServerEvent::Released { prefix: found });
                    any = true;
                }
            }
            if !any {
                let status = Status::new(status::NO_BINDING, "nothing delegated");
                reply.options.push(DhcpOption::IaPd(empty(ia.iaid, status)));
            }
        }
        reply.options.push(DhcpOption::Status(Status::new(status::SUCCESS, "")));
    }

    /// Lets go of what has expired.
    pub fn handle_timeout(&mut self, now: Instant) {
        for binding in self.bindings.extract_if(.., |b| b.expires.is_some_and(|at| at <= now)) {
            self.events.push_back(ServerEvent::Released { prefix: binding.prefix });
        }
    }

    /// When [`Server::handle_timeout`] is to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.bindings.iter().filter_map(|b| b.expires).min()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<ServerEvent> {
        self.events.pop_front()
    }
}

fn empty(iaid: u32, status: Status) -> Ia {
    Ia { iaid, status: Some(status), ..Ia::default() }
}

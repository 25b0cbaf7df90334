//! The delegating router of one session (RFC 8415, sections 18.3 and 6.3).
//!
//! A softwire has one subscriber, so the session is the client: whoever asks on it gets the session's prefixes, one
//! for each identity association, and a router that was replaced (another DUID) takes over those of its predecessor.
//! Likewise its addresses, if it has any; most subscribers autoconfigure theirs, and an IA_NA is answered by
//! NoAddrsAvail.

use crate::lease::{Kind, Lease, tenths, until};
use crate::message::{Message, MessageType};
use crate::option::{DhcpOption, Duid, Ia, Status, code, status};
use crate::packet::Prefix;
use std::collections::VecDeque;
use std::net::Ipv6Addr;
use std::time::Instant;

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
    /// To be assigned, in this order.
    pub addresses: Vec<Ipv6Addr>,
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
    /// Given, or given again after it was released: route it to the session.
    Bound {
        /// The prefix or address.
        lease: Lease,
    },
    /// Released or declined, or its lifetime is over.
    Released {
        /// The prefix or address.
        lease: Lease,
    },
}

struct Binding {
    client: Duid,
    iaid: u32,
    lease: Lease,
    /// `None`: never.
    expires: Option<Instant>,
}

/// Answers the DHCPv6 messages of one session.
pub struct Server {
    config: ServerConfig,
    bindings: Vec<Binding>,
    /// Addresses that somebody else was found to have; not given again.
    declined: Vec<Ipv6Addr>,
    events: VecDeque<ServerEvent>,
}

impl Server {
    /// With nothing given.
    pub fn new(config: ServerConfig) -> Self {
        Self { config, bindings: Vec::new(), declined: Vec::new(), events: VecDeque::new() }
    }

    /// What is given now.
    pub fn bound(&self) -> impl Iterator<Item = Lease> + '_ {
        self.bindings.iter().map(|b| b.lease)
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
            (MessageType::Release | MessageType::Decline, Some(client)) => self.release(client, &message, &mut reply),
            (MessageType::Confirm, Some(client)) => {
                let status = self.confirm(client, &message)?;
                reply.options.push(DhcpOption::Status(status));
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

    /// Solicit, Request, Renew, Rebind: an association gets the prefix or address that it has, or the next free one.
    fn assign(&mut self, now: Instant, client: &Duid, message: &Message, commit: bool, reply: &mut Message) {
        let mut offered: Vec<Lease> = Vec::new();
        for (kind, ia) in message.associations().take(MAX_IAS) {
            // Only a client that renews can hold something that is not (any more) its own. With nothing in it, the
            // association is asked for in passing (section 18.2.4), as in a Solicit.
            let renews =
                matches!(message.kind, MessageType::Renew | MessageType::Rebind) && ia.leases().next().is_some();
            let lease = self.choose(client, kind, ia.iaid, &offered);
            offered.extend(lease);
            if let (Some(lease), true) = (lease, commit) {
                self.bind(now, client, ia.iaid, lease);
            }
            reply.options.push(kind.option(self.association(kind, ia, lease, renews)));
        }
    }

    fn choose(&self, client: &Duid, kind: Kind, iaid: u32, offered: &[Lease]) -> Option<Lease> {
        let held = || self.bindings.iter().filter(|b| b.client == *client);
        if let Some(own) = held().find(|b| b.iaid == iaid && b.lease.kind() == kind) {
            return Some(own.lease);
        }
        // What the same client's other associations have stays; what a predecessor has is taken over.
        let free = |lease: &Lease| !held().any(|b| b.lease == *lease) && !offered.contains(lease);
        match kind {
            Kind::Prefix => self.config.prefixes.iter().map(|p| Lease::Prefix(*p)).find(|l| free(l)),
            Kind::Address => {
                let addresses = self.config.addresses.iter().filter(|a| !self.declined.contains(a));
                addresses.map(|a| Lease::Address(*a)).find(|l| free(l))
            }
        }
    }

    fn bind(&mut self, now: Instant, client: &Duid, iaid: u32, lease: Lease) {
        let expires = until(now, self.config.valid);
        match self.bindings.iter_mut().find(|b| b.lease == lease) {
            Some(binding) => (binding.client, binding.iaid, binding.expires) = (client.clone(), iaid, expires),
            None => {
                self.bindings.push(Binding { client: client.clone(), iaid, lease, expires });
                self.events.push_back(ServerEvent::Bound { lease });
            }
        }
    }

    fn association(&self, kind: Kind, asked: &Ia, lease: Option<Lease>, renews: bool) -> Ia {
        let Some(lease) = lease else {
            let status = match (renews, kind) {
                (true, _) => Status::new(status::NO_BINDING, "nothing given"),
                (false, Kind::Prefix) => Status::new(status::NO_PREFIX_AVAIL, "no prefix for this subscriber"),
                (false, Kind::Address) => Status::new(status::NO_ADDRS_AVAIL, "use stateless autoconfiguration"),
            };
            return empty(asked.iaid, status);
        };
        let part = |n| tenths(self.config.preferred, n);
        let mut ia = Ia { iaid: asked.iaid, t1: part(5), t2: part(8), ..Ia::default() };
        ia.push(lease, self.config.preferred.min(self.config.valid), self.config.valid);
        if renews {
            // Section 18.3.4: what the client has and should not is returned with lifetimes of zero.
            asked.leases().filter(|(l, ..)| *l != lease).take(MAX_IAS).for_each(|(stale, ..)| ia.push(stale, 0, 0));
        }
        ia
    }

    /// Section 18.3.3: whether the client's addresses are right for the link. Those are that it has from us on this
    /// session; for all others it has to ask, or nothing would be routed to it. `None`: there is none to judge.
    fn confirm(&self, client: &Duid, message: &Message) -> Option<Status> {
        let mut any = false;
        let mut good = true;
        for (_, ia) in message.associations().filter(|(kind, _)| *kind == Kind::Address).take(MAX_IAS) {
            for (lease, ..) in ia.leases() {
                any = true;
                good &= self.bindings.iter().any(|b| b.client == *client && b.lease == lease);
            }
        }
        any.then_some(match good {
            true => Status::new(status::SUCCESS, "all are"),
            false => Status::new(status::NOT_ON_LINK, "not assigned on this link"),
        })
    }

    /// Release and Decline (sections 18.3.7 and 18.3.8).
    fn release(&mut self, client: &Duid, message: &Message, reply: &mut Message) {
        let declines = message.kind == MessageType::Decline;
        for (kind, ia) in message.associations().take(MAX_IAS) {
            let mut any = false;
            for (found, ..) in ia.leases() {
                // A prefix cannot be declined.
                let mine = |b: &Binding| b.client == *client && b.iaid == ia.iaid && b.lease == found;
                let index = self.bindings.iter().position(mine).filter(|_| !declines || kind == Kind::Address);
                if let Some(index) = index {
                    self.bindings.swap_remove(index);
                    self.events.push_back(ServerEvent::Released { lease: found });
                    if let (true, Lease::Address(address)) = (declines, found) {
                        self.declined.push(address);
                    }
                    any = true;
                }
            }
            if !any {
                reply.options.push(kind.option(empty(ia.iaid, Status::new(status::NO_BINDING, "nothing given"))));
            }
        }
        reply.options.push(DhcpOption::Status(Status::new(status::SUCCESS, "")));
    }

    /// Lets go of what has expired.
    pub fn handle_timeout(&mut self, now: Instant) {
        for binding in self.bindings.extract_if(.., |b| b.expires.is_some_and(|at| at <= now)) {
            self.events.push_back(ServerEvent::Released { lease: binding.lease });
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

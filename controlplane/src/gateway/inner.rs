//! Our end of a subscriber's link: router advertisements with the session's prefix (RFC 4861), and DHCPv6 (RFC 8415)
//! with the route programmed, answered by us or by a server elsewhere.

use super::Gateway;
use crate::aaa::Profile;
use crate::config::Config;
use crate::subscriber::Dhcp6;
use dataplane_api::{Inject, IpPrefix, PuntMeta, SessionId};
use dhcp6::packet::{ALL_NODES, SERVER_PORT, Udp, to_client};
use dhcp6::ra::{self, Rdnss};
use dhcp6::relay::{Relay, RelayConfig};
use dhcp6::{Duid, Prefix, PrefixInformation, RouterAdvertisement, Server, ServerConfig, ServerEvent};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// IANA private enterprise number of documentation and examples (RFC 5612).
const ENTERPRISE: u32 = 32473;
const PPP_IPV6: [u8; 2] = [0x00, 0x57];
/// Seconds a prefix lives; sessions end long before, and renewals come at half of it.
const PREFERRED: u32 = 3600;
const VALID: u32 = 7200;
/// RFC 4861, section 6.2.4: the first advertisements come quickly, then rarely.
const FIRST: (u8, Duration) = (3, Duration::from_secs(4));
const LATER: Duration = Duration::from_secs(600);

fn dns6(config: &Config, profile: Option<&Profile>) -> Vec<Ipv6Addr> {
    if let Some(own) = profile.map(|p| &p.dns6).filter(|d| !d.is_empty()) {
        return own.clone();
    }
    config.ppp.dns.iter().filter_map(|a| if let IpAddr::V6(a) = a { Some(*a) } else { None }).collect()
}

fn prefix(p: IpPrefix) -> Option<Prefix> {
    match p.address() {
        IpAddr::V6(a) => Prefix::new(a, p.len()),
        IpAddr::V4(_) => None,
    }
}

fn v6(p: IpPrefix) -> Option<Ipv6Addr> {
    if let IpAddr::V6(a) = p.address() { Some(a) } else { None }
}

impl Gateway {
    /// IPV6CP is open: advertise the prefix, and be ready for DHCPv6.
    pub(super) fn start_ipv6(&mut self, now: Instant, id: SessionId) {
        let Some(s) = self.subscribers.get_mut(&id) else { return };
        s.dhcp6 = Some(if self.config.dhcp6.relay.is_empty() {
            Dhcp6::Server(Server::new(ServerConfig {
                duid: Duid::enterprise(ENTERPRISE, self.config.l2tp.host_name.as_bytes()),
                prefixes: s.leases.delegated.and_then(prefix).into_iter().collect(),
                addresses: s.leases.address.and_then(v6).into_iter().collect(),
                preferred: PREFERRED,
                valid: VALID,
                dns: dns6(&self.config, s.profile.as_ref()),
            }))
        } else {
            Dhcp6::Relay(Relay::new(RelayConfig {
                link_address: s.leases.ipv6.and_then(v6).unwrap_or(Ipv6Addr::UNSPECIFIED),
                interface_id: id.0.to_be_bytes().to_vec(),
                remote_id: None,
                subscriber_id: (!s.user.is_empty()).then(|| s.user.clone().into_bytes()),
                relays_behind: false,
            }))
        });
        s.advertise = Some((now, FIRST.0));
        self.advertise(now, id);
    }

    /// Sends the unsolicited advertisement that is due.
    pub(super) fn advertise(&mut self, now: Instant, id: SessionId) {
        let Some(s) = self.subscribers.get_mut(&id) else { return };
        let Some((_, left)) = s.advertise.filter(|a| a.0 <= now) else { return };
        s.advertise = Some((now + if left > 0 { FIRST.1 } else { LATER }, left.saturating_sub(1)));
        self.send_advertisement(id, ALL_NODES);
    }

    fn send_advertisement(&mut self, id: SessionId, to: Ipv6Addr) {
        let Some(s) = self.subscribers.get(&id) else { return };
        let (Some(from), Some(lease)) = (s.session.inner.local_v6, s.leases.ipv6) else { return };
        let servers = dns6(&self.config, s.profile.as_ref());
        let advertisement = RouterAdvertisement {
            hop_limit: 64,
            managed: s.leases.address.is_some() || !self.config.dhcp6.relay.is_empty(),
            other: true,
            router_lifetime: 1800,
            mtu: Some(u32::from(s.session.mtu)),
            prefixes: prefix(lease)
                .map(|prefix| PrefixInformation {
                    prefix,
                    // Nobody else is on the link: not on-link keeps hosts from looking for neighbours.
                    on_link: false,
                    autonomous: true,
                    valid: VALID,
                    preferred: PREFERRED,
                })
                .into_iter()
                .collect(),
            dns: (!servers.is_empty()).then_some(Rdnss { lifetime: VALID, servers }),
            ..RouterAdvertisement::default()
        };
        if let Some(packet) = advertisement.packet(from, to) {
            let worker = s.worker;
            self.program.inject(worker, Inject::Ppp(id), [&PPP_IPV6[..], &packet].concat());
        }
    }

    /// A packet for our end of a link.
    pub(super) fn handle_inner(&mut self, now: Instant, meta: &PuntMeta, data: &[u8]) {
        let packet = data.strip_prefix(&PPP_IPV6[..]);
        let (Some(id), Some(packet)) = (meta.session, packet) else {
            self.control.inner_ignored += 1;
            return;
        };
        if let Some(source) = ra::parse_solicitation(packet) {
            self.send_advertisement(id, ra::answer_to(source));
        } else if let Some(udp) = Udp::parse(packet).filter(|u| u.destination_port == SERVER_PORT) {
            self.handle_dhcp6(now, id, &udp);
        } else {
            self.control.inner_ignored += 1;
        }
    }

    fn handle_dhcp6(&mut self, now: Instant, id: SessionId, udp: &Udp<'_>) {
        let Some(s) = self.subscribers.get_mut(&id) else { return };
        let (Some(dhcp6), Some(from)) = (&mut s.dhcp6, s.session.inner.local_v6) else { return };
        let answer = match dhcp6 {
            Dhcp6::Server(server) => {
                server.handle_input(now, udp.payload).and_then(|m| to_client(from, udp.source, &m))
            }
            Dhcp6::Relay(relay) => {
                self.relayed.extend(relay.forward(udp.source, udp.payload));
                None
            }
        };
        self.dhcp6_events(now, id);
        self.answer_dhcp6(now, id, answer);
    }

    fn answer_dhcp6(&mut self, now: Instant, id: SessionId, answer: Option<Vec<u8>>) {
        if let (Some(answer), Some(s)) = (answer, self.subscribers.get(&id)) {
            let worker = s.worker;
            self.program.inject(worker, Inject::Ppp(id), [&PPP_IPV6[..], &answer].concat());
        }
        self.pump_link(now, id);
    }

    /// The next message for the DHCPv6 servers elsewhere.
    pub fn poll_relayed(&mut self) -> Option<Vec<u8>> {
        self.relayed.pop_front()
    }

    /// A message from one of them.
    pub fn relay_input(&mut self, now: Instant, message: &[u8]) {
        let id = dhcp6::relay::interface_id(message).and_then(|id| id.try_into().ok()).map(u32::from_be_bytes);
        let Some(id) = id.map(SessionId) else { return };
        let Some(s) = self.subscribers.get_mut(&id) else { return };
        let (Some(Dhcp6::Relay(relay)), Some(from)) = (&mut s.dhcp6, s.session.inner.local_v6) else { return };
        let answer = relay.reply(now, message).and_then(|(to, m)| to_client(from, to, &m));
        self.dhcp6_events(now, id);
        self.answer_dhcp6(now, id, answer);
        self.pump(now);
    }

    /// Lifetimes of what DHCPv6 has given.
    pub(super) fn dhcp6_timeout(&mut self, now: Instant, id: SessionId) {
        let Some(dhcp6) = self.subscribers.get_mut(&id).and_then(|s| s.dhcp6.as_mut()) else { return };
        dhcp6.handle_timeout(now);
        self.dhcp6_events(now, id);
    }

    // The route is programmed before the answer that makes the subscriber use it.
    fn dhcp6_events(&mut self, now: Instant, id: SessionId) {
        while let Some(dhcp6) = self.subscribers.get_mut(&id).and_then(|s| s.dhcp6.as_mut()) {
            let foreign = matches!(dhcp6, Dhcp6::Relay(_));
            let (bound, lease) = match dhcp6.poll_event() {
                Some(ServerEvent::Bound { lease }) => (true, lease.prefix()),
                Some(ServerEvent::Released { lease }) => (false, lease.prefix()),
                None => return,
            };
            let Some(p) = IpPrefix::new(lease.address().into(), lease.length()) else { continue };
            if foreign && !self.lease_from_elsewhere(id, p, bound) {
                continue;
            }
            if bound {
                self.attach(id, p);
                self.opened(now, id);
            } else {
                self.detach(id, p);
            }
        }
    }

    /// What a server elsewhere gives is held like all the rest; what somebody else has is not routed.
    fn lease_from_elsewhere(&mut self, id: SessionId, p: IpPrefix, bound: bool) -> bool {
        let Some(s) = self.subscribers.get_mut(&id) else { return false };
        if !bound {
            s.leases.routes.retain(|own| *own != p);
            self.pools.give_back(p, id.0);
            return true;
        }
        // An address of the link's own prefix is the subscriber's already.
        if s.leases.ipv6.is_some_and(|own| own.contains(p.address())) {
            return false;
        }
        match self.pools.claim(p, id.0) {
            Ok(()) => s.leases.routes.push(p),
            Err(why) => tracing::warn!(user = s.user, prefix = %p, %why, "lease of a DHCPv6 server is not routed"),
        }
        s.leases.routes.contains(&p)
    }
}

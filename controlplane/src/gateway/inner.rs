//! Our end of a subscriber's link: router advertisements with the session's prefix (RFC 4861), and DHCPv6 prefix
//! delegation (RFC 8415) with the route programmed.

use super::Gateway;
use crate::config::Config;
use dataplane_api::{Inject, IpPrefix, PuntMeta, SessionId};
use dhcp6::packet::{ALL_NODES, SERVER_PORT, Udp, to_client};
use dhcp6::ra::{self, Rdnss};
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

fn dns6(config: &Config) -> Vec<Ipv6Addr> {
    config.ppp.dns.iter().filter_map(|a| if let IpAddr::V6(a) = a { Some(*a) } else { None }).collect()
}

fn prefix(p: IpPrefix) -> Option<Prefix> {
    match p.address() {
        IpAddr::V6(a) => Prefix::new(a, p.len()),
        IpAddr::V4(_) => None,
    }
}

impl Gateway {
    /// IPV6CP is open: advertise the prefix, and be ready for DHCPv6.
    pub(super) fn start_ipv6(&mut self, now: Instant, id: SessionId) {
        let Some(s) = self.subscribers.get_mut(&id) else { return };
        s.dhcp6 = Some(Server::new(ServerConfig {
            duid: Duid::enterprise(ENTERPRISE, self.config.l2tp.host_name.as_bytes()),
            prefixes: s.leases.delegated.and_then(|l| prefix(l.prefix)).into_iter().collect(),
            addresses: Vec::new(),
            preferred: PREFERRED,
            valid: VALID,
            dns: dns6(&self.config),
        }));
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
        let servers = dns6(&self.config);
        let advertisement = RouterAdvertisement {
            hop_limit: 64,
            other: true,
            router_lifetime: 1800,
            mtu: Some(u32::from(s.session.mtu)),
            prefixes: prefix(lease.prefix)
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
        let (Some(server), Some(from)) = (&mut s.dhcp6, s.session.inner.local_v6) else { return };
        let answer = server.handle_input(now, udp.payload).and_then(|m| to_client(from, udp.source, &m));
        let events: Vec<_> = std::iter::from_fn(|| server.poll_event()).collect();
        self.dhcp6_events(id, events);
        if let (Some(answer), Some(s)) = (answer, self.subscribers.get(&id)) {
            let worker = s.worker;
            self.program.inject(worker, Inject::Ppp(id), [&PPP_IPV6[..], &answer].concat());
        }
        self.pump_link(now, id);
    }

    /// Lifetimes of delegated prefixes.
    pub(super) fn dhcp6_timeout(&mut self, now: Instant, id: SessionId) {
        let Some(server) = self.subscribers.get_mut(&id).and_then(|s| s.dhcp6.as_mut()) else { return };
        server.handle_timeout(now);
        let events: Vec<_> = std::iter::from_fn(|| server.poll_event()).collect();
        self.dhcp6_events(id, events);
    }

    // The route is programmed before the answer that makes the subscriber use it.
    fn dhcp6_events(&mut self, id: SessionId, events: Vec<ServerEvent>) {
        for event in events {
            match event {
                ServerEvent::Bound { lease } => {
                    let prefix = lease.prefix();
                    if let Some(p) = IpPrefix::new(prefix.address().into(), prefix.length()) {
                        self.attach(id, p);
                        self.opened(id);
                    }
                }
                ServerEvent::Released { lease } => {
                    let prefix = lease.prefix();
                    if let Some(p) = IpPrefix::new(prefix.address().into(), prefix.length()) {
                        self.detach(id, p);
                    }
                }
            }
        }
    }
}

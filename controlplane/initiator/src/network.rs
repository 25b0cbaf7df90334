//! Addresses inside the softwire: router solicitation and SLAAC (RFC 4861, RFC 4862), DHCPv6 prefix delegation.

use crate::Event;
use dhcp6::packet::{CLIENT_PORT, Udp, to_servers};
use dhcp6::ra::{self, RouterAdvertisement};
use dhcp6::{Client, ClientConfig, ClientEvent, Duid, Lease};
use ppp::InterfaceId;
use rand_core::CryptoRng;
use std::collections::VecDeque;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

/// RFC 4861, section 10: RTR_SOLICITATION_INTERVAL and MAX_RTR_SOLICITATIONS.
const INTERVAL: Duration = Duration::from_secs(4);
const SOLICITATIONS: u8 = 3;

pub(crate) struct Network {
    delegation: bool,
    pub(crate) ipv4_open: bool,
    pub(crate) ipv6_open: bool,
    iid: InterfaceId,
    solicit: Option<(Instant, u8)>,
    address: Option<Ipv6Addr>,
    client: Option<Client>,
    packets: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
}

impl Network {
    pub(crate) fn new(delegation: bool) -> Self {
        Self {
            delegation,
            ipv4_open: false,
            ipv6_open: false,
            iid: InterfaceId::ZERO,
            solicit: None,
            address: None,
            client: None,
            packets: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    pub(crate) fn ipv6_up(&mut self, now: Instant, iid: InterfaceId, rng: Box<dyn CryptoRng + Send>) {
        self.ipv6_open = true;
        self.iid = iid;
        self.address = None;
        self.solicit = Some((now, SOLICITATIONS));
        if self.delegation {
            let duid = Duid::new(&[&[0, 3, 0, 27][..], &iid.0].concat());
            let config =
                duid.map(|duid| ClientConfig { duid, iaid: 1, address: false, length: None, rapid_commit: true });
            self.client = config.map(|c| Client::new(c, rng));
            if let Some(c) = &mut self.client {
                c.start(now);
            }
        }
        self.handle_timeout(now);
    }

    pub(crate) fn down(&mut self) {
        *self = Self { events: std::mem::take(&mut self.events), ..Self::new(self.delegation) };
    }

    /// Takes router advertisements and DHCPv6; false for a packet that is for others.
    pub(crate) fn handle_packet(&mut self, now: Instant, packet: &[u8]) -> bool {
        if let Some((router, advertisement)) = RouterAdvertisement::parse_packet(packet) {
            self.advertised(router, &advertisement);
            return true;
        }
        let Some(udp) = Udp::parse(packet).filter(|u| u.destination_port == CLIENT_PORT) else { return false };
        let Some(client) = &mut self.client else { return false };
        client.handle_input(now, udp.payload);
        self.drain();
        true
    }

    fn advertised(&mut self, router: Ipv6Addr, a: &RouterAdvertisement) {
        self.solicit = None;
        let own = a.prefixes.iter().find(|p| p.autonomous && p.prefix.length() == 64 && p.valid > 0);
        let Some(own) = own else { return };
        let low = u64::from_be_bytes(self.iid.0);
        let address = Ipv6Addr::from(u128::from(own.prefix.address()) | u128::from(low));
        if self.address != Some(address) {
            self.address = Some(address);
            self.events.push_back(Event::Ipv6(address, 64, router));
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let client = self.client.as_ref().and_then(Client::poll_timeout);
        [self.solicit.map(|s| s.0), client].into_iter().flatten().min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if let Some((_, left)) = self.solicit.filter(|s| s.0 <= now) {
            self.packets.extend(ra::solicitation(self.iid.link_local()));
            self.solicit = (left > 1).then(|| (now + INTERVAL, left - 1));
        }
        if let Some(client) = self.client.as_mut().filter(|c| c.poll_timeout().is_some_and(|t| t <= now)) {
            client.handle_timeout(now);
        }
        self.drain();
    }

    fn drain(&mut self) {
        let Some(client) = &mut self.client else { return };
        while let Some(message) = client.poll_transmit() {
            self.packets.extend(to_servers(self.iid.link_local(), &message));
        }
        while let Some(event) = client.poll_event() {
            if let ClientEvent::Bound { lease: Lease::Prefix(prefix), .. } = event {
                self.events.push_back(Event::Delegated(prefix.address(), prefix.length()));
            }
        }
    }

    /// Next packet of our own for the softwire.
    pub(crate) fn poll_packet(&mut self) -> Option<Vec<u8>> {
        self.packets.pop_front()
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}

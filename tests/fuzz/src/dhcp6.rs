//! DHCPv6 and router advertisements: the codecs, a relay agent, and a requesting and a delegating router.

use super::script::{End, Ends, play};
use ::dhcp6::{Client, ClientConfig, Duid, Message, Prefix, RouterAdvertisement, Server, ServerConfig};
use ::dhcp6::{Relay, RelayConfig, packet, ra, relay};
use std::hint::black_box;
use std::net::Ipv6Addr;
use std::time::Instant;

/// Messages, packets and envelopes around them, advertisements and solicitations.
pub fn codecs(data: &[u8]) {
    message(data);
    if let Some(datagram) = packet::Udp::parse(data) {
        message(datagram.payload);
    }
    if let Some(advertisement) = RouterAdvertisement::parse(data) {
        let again = advertisement.encode();
        assert_eq!(RouterAdvertisement::parse(&again), Some(advertisement));
    }
    envelopes(data);
    black_box((ra::parse_solicitation(data), RouterAdvertisement::parse_packet(data)));
}

fn envelopes(data: &[u8]) {
    let now = Instant::now();
    let mut agent = Relay::new(RelayConfig {
        link_address: Ipv6Addr::LOCALHOST,
        interface_id: relay::interface_id(data).unwrap_or(b"session").to_vec(),
        remote_id: Some((32473, b"user".to_vec())),
        subscriber_id: Some(b"user".to_vec()),
        relays_behind: true,
    });
    for _ in 0..2 {
        let forward = agent.forward(Ipv6Addr::LOCALHOST, data);
        assert!(forward.is_none_or(|f| f[0] == 12 && f[1] <= 8 && f.len() > data.len()));
        if let Some((_, reply)) = agent.reply(now, data) {
            agent.forward(Ipv6Addr::LOCALHOST, &reply);
        }
    }
    while agent.poll_event().is_some() {}
    assert!(agent.bound().count() <= 16);
}

fn message(data: &[u8]) {
    if let Some(message) = Message::parse(data) {
        black_box((message.client_id(), message.server_id(), message.rapid_commit(), message.requests(23)));
        let again = message.encode();
        // What is understood of a message is written without what was not.
        if let Some(second) = Message::parse(&again) {
            assert_eq!(second.encode(), again);
        } else {
            panic!("our own message is malformed");
        }
    }
}

struct Pair {
    client: Client,
    server: Server,
    replies: Vec<Vec<u8>>,
}

impl Ends for Pair {
    fn input(&mut self, now: Instant, to: End, message: &[u8]) {
        match to {
            End::A => self.client.handle_input(now, message),
            End::B => self.replies.extend(self.server.handle_input(now, message)),
        }
    }

    fn timeout(&mut self, now: Instant) {
        self.client.handle_timeout(now);
        self.server.handle_timeout(now);
    }

    fn deadline(&self) -> Option<Instant> {
        self.client.poll_timeout().into_iter().chain(self.server.poll_timeout()).min()
    }

    fn drain(&mut self, _now: Instant, out: &mut dyn FnMut(End, Vec<u8>)) {
        while self.client.poll_event().is_some() {}
        while self.server.poll_event().is_some() {}
        assert!(self.server.bound().count() <= 3, "more delegated than there is");
        while let Some(message) = self.client.poll_transmit() {
            out(End::B, message);
        }
        self.replies.drain(..).for_each(|reply| out(End::A, reply));
    }

    fn act(&mut self, now: Instant, action: u8) {
        match action {
            0 => self.client.release(now),
            _ => self.client.start(now),
        }
    }
}

/// Both ends; the first octet chooses the two-message exchange, a hint, and an address. Gives what was sent.
pub fn pair(data: &[u8]) -> Vec<Vec<u8>> {
    let Some((choice, script)) = data.split_first() else { return Vec::new() };
    let now = Instant::now();
    let prefixes = [0x1000u16, 0x2000]
        .into_iter()
        .filter_map(|n| Prefix::new(Ipv6Addr::new(0x2001, 0xdb8, n, 0, 0, 0, 0, 0), 56))
        .collect();
    let config = ServerConfig {
        duid: Duid::enterprise(32473, b"gateway"),
        prefixes,
        addresses: vec![Ipv6Addr::LOCALHOST],
        preferred: 3600,
        valid: 7200,
        dns: vec![Ipv6Addr::LOCALHOST],
    };
    let client = ClientConfig {
        duid: Duid::uuid([7; 16]),
        iaid: 1,
        address: choice & 4 != 0,
        length: (choice & 2 != 0).then_some(56),
        rapid_commit: choice & 1 != 0,
    };
    let mut pair =
        Pair { client: Client::new(client, super::rng(3)), server: Server::new(config), replies: Vec::new() };
    pair.client.start(now);
    play(&mut pair, now, script)
}

//! The relay agent: golden octets (made with scapy), what it refuses, and a client and a server with it between them.

use super::*;
use crate::relay::interface_id;

const FORWARD: &[u8] = &hex!(
    "0c00 20010db8000100000000000000000001 fe800000000000000000000000000002
     00120009 73657373696f6e2d37 00250009 00007ed9 616c696365 00260002 7337 0009004b
     01123456 0001000a0003000102000000000a 000800020000
     00190029 00000007 00000000 00000000 001a0019 00000000 00000000 38 00000000000000000000000000000000
     000600020017"
);
const BACK: &[u8] = &hex!(
    "0d00 20010db8000100000000000000000001 fe800000000000000000000000000002
     00120009 73657373696f6e2d37 00090061
     07123456 0002000a0002000000090c0ffee0 0001000a0003000102000000000a
     00190029 00000007 00000708 00000b40 001a0019 00000e10 00001c20 38 20010db8010000000000000000000000
     00170010 20010db8000000000000000000000053"
);

fn config() -> RelayConfig {
    RelayConfig {
        link_address: v6("2001:db8:1::1"),
        interface_id: b"session-7".to_vec(),
        remote_id: Some((32473, b"alice".to_vec())),
        subscriber_id: Some(b"s7".to_vec()),
        relays_behind: false,
    }
}

fn peer() -> Ipv6Addr {
    v6("fe80::2")
}

fn lease() -> Lease {
    Lease::Prefix(delegated())
}

/// A Relay-reply to a Relay-forward, as a server makes it.
fn back(forward: &[u8], reply: &[u8]) -> Vec<u8> {
    let mut out = forward[..34].to_vec();
    out[0] = 13;
    out.extend(hex!("0012000973657373696f6e2d37 0009"));
    out.extend((reply.len() as u16).to_be_bytes());
    out.extend(reply);
    out
}

fn bare(kind: u8, transaction: u8, options: &[DhcpOption]) -> Vec<u8> {
    let mut out = vec![kind, 0, 0, transaction];
    crate::option::encode(options, &mut out);
    out
}

#[test]
fn envelopes_are_scapys() {
    let now = Instant::now();
    let mut relay = Relay::new(config());
    assert_eq!(relay.forward(peer(), SOLICIT).unwrap(), FORWARD);
    assert_eq!(interface_id(BACK), Some(&b"session-7"[..]));
    assert_eq!(interface_id(FORWARD), None);
    assert_eq!(relay.reply(now, BACK), Some((peer(), REPLY.to_vec())));
    assert_eq!(relay.poll_event(), Some(ServerEvent::Bound { lease: lease() }));
    assert_eq!(relay.poll_timeout(), Some(now + Duration::from_secs(7200)));
    // A copy, and one that nobody asked for, are passed on and change nothing.
    assert!(relay.reply(now, BACK).is_some());
    assert_eq!(relay.poll_event(), None);
    relay.handle_timeout(now + Duration::from_secs(7200));
    assert_eq!(relay.poll_event(), Some(ServerEvent::Released { lease: lease() }));
    assert!(relay.reply(now, BACK).is_some());
    assert_eq!((relay.poll_event(), relay.bound().count()), (None, 0));
}

#[test]
fn what_is_not_for_the_session_is_refused() {
    let now = Instant::now();
    let mut relay = Relay::new(config());
    relay.forward(peer(), SOLICIT).unwrap();
    let mut other = BACK.to_vec();
    other[46] ^= 1;
    let mut multicast = BACK.to_vec();
    multicast[18] = 0xff;
    let without: Vec<u8> = [&BACK[..34], &BACK[47..]].concat();
    let empty = &BACK[..47];
    for bad in [&other[..], &multicast, &without, empty, &BACK[..33], FORWARD, REPLY, &BACK[..BACK.len() - 1], &[]] {
        assert_eq!(relay.reply(now, bad), None);
    }
    assert_eq!(relay.poll_event(), None);
    // A server's messages, malformed ones, and those without a sender are not relayed; unknown types are (RFC 7283).
    for kind in [2, 7, 10, 12, 13] {
        assert_eq!(relay.forward(peer(), &bare(kind, 1, &[])), None, "{kind}");
    }
    for bad in [&[][..], &[1], &hex!("010000"), &hex!("01000000 0001"), &hex!("01000000 00010002 00")] {
        assert_eq!(relay.forward(peer(), bad), None);
    }
    assert_eq!(relay.forward(Ipv6Addr::UNSPECIFIED, SOLICIT), None);
    assert_eq!(relay.forward(ALL_NODES, SOLICIT), None);
    assert!(relay.forward(peer(), &bare(36, 1, &[])).is_some());
}

#[test]
fn relays_behind_the_subscriber() {
    let now = Instant::now();
    let nested = |hops| {
        let mut forward = FORWARD.to_vec();
        forward[1] = hops;
        forward
    };
    assert_eq!(Relay::new(config()).forward(peer(), &nested(0)), None, "not trusted with it");
    let mut relay = Relay::new(RelayConfig { relays_behind: true, ..config() });
    assert_eq!(relay.forward(peer(), &nested(8)), None, "HOP_COUNT_LIMIT");
    assert_eq!(relay.forward(peer(), &nested(7)).unwrap()[1], 8);
    let outer = relay.forward(v6("fe80::9"), &nested(0)).unwrap();
    assert_eq!((outer[1], &outer[18..34]), (1, &v6("fe80::9").octets()[..]));
    // The Reply in its two envelopes loses one, binds, and goes to the relay's port.
    let (to, message) = relay.reply(now, &back(&outer, BACK)).unwrap();
    assert_eq!((to, &message[..]), (v6("fe80::9"), BACK));
    assert_eq!(relay.poll_event(), Some(ServerEvent::Bound { lease: lease() }));
    let packet = to_client(v6("fe80::1"), to, &message).unwrap();
    assert_eq!(Udp::parse(&packet).unwrap().destination_port, 547);
    assert_eq!(Udp::parse(&to_client(v6("fe80::1"), to, REPLY).unwrap()).unwrap().destination_port, 546);
}

/// Client, relay and server; every wire loses, copies and reorders.
struct Three {
    now: Instant,
    client: Client,
    relay: Relay,
    server: Server,
    /// What is under way, and on which of the four ways.
    wire: Vec<(Instant, u8, Vec<u8>)>,
    rng: StdRng,
    loss: f64,
    events: Vec<ServerEvent>,
}

impl Three {
    fn new(seed: u64, addresses: Vec<Ipv6Addr>) -> Self {
        let now = Instant::now();
        let config_of_client = ClientConfig {
            duid: client_duid(),
            iaid: 7,
            address: true,
            length: None,
            rapid_commit: seed.is_multiple_of(2),
        };
        let mut client = Client::new(config_of_client, Box::new(StdRng::seed_from_u64(seed + 100)));
        client.start(now);
        Self {
            now,
            client,
            relay: Relay::new(config()),
            server: Server::new(ServerConfig { addresses, ..server_config(&[delegated()]) }),
            wire: Vec::new(),
            rng: StdRng::seed_from_u64(seed),
            loss: if seed == 0 { 0.0 } else { 0.2 },
            events: Vec::new(),
        }
    }

    fn deliver(&mut self, way: u8, message: &[u8]) -> Option<Vec<u8>> {
        match way {
            0 => self.relay.forward(peer(), message),
            // After header, Interface-Id, Remote-Id, Subscriber-Id.
            1 => self.server.handle_input(self.now, &message[70..]).map(|reply| back(message, &reply)),
            2 => self.relay.reply(self.now, message).map(|(_, reply)| reply),
            _ => {
                self.client.handle_input(self.now, message);
                None
            }
        }
    }

    fn put(&mut self, way: u8, message: Vec<u8>) {
        for _ in 0..=usize::from(self.rng.random_bool(self.loss)) {
            if !self.rng.random_bool(self.loss) {
                let delay = Duration::from_millis(self.rng.random_range(1..100));
                self.wire.push((self.now + delay, way, message.clone()));
            }
        }
    }

    fn run(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        loop {
            let due: Vec<_> = self.wire.extract_if(.., |(at, ..)| *at <= self.now).collect();
            for (_, way, message) in due {
                if let Some(next) = self.deliver(way, &message) {
                    self.put(way + 1, next);
                }
            }
            while let Some(message) = self.client.poll_transmit() {
                self.put(0, message);
            }
            self.events.extend(std::iter::from_fn(|| self.relay.poll_event()));
            let timers = [self.client.poll_timeout(), self.relay.poll_timeout(), self.server.poll_timeout()];
            let next = self.wire.iter().map(|(at, ..)| *at).chain(timers.into_iter().flatten()).min();
            let Some(next) = next.filter(|at| *at <= end) else { break };
            self.now = self.now.max(next);
            self.client.handle_timeout(self.now);
            self.relay.handle_timeout(self.now);
            self.server.handle_timeout(self.now);
        }
        self.now = end;
    }
}

#[test]
fn routes_follow_what_the_server_gives() {
    let address = v6("2001:db8:1::7");
    for seed in 0..20 {
        let mut sim = Three::new(seed, vec![address]);
        sim.run(300);
        let bound = [Lease::Address(address), lease()].map(|lease| ServerEvent::Bound { lease });
        assert_eq!(sim.events, bound, "{seed}");
        assert_eq!((sim.client.prefix(), sim.client.address()), (Some(delegated()), Some(address)));
        sim.run(86_400);
        assert_eq!(sim.events, bound, "a day of renewals, and no route lost: {seed}");
        sim.loss = 0.0;
        sim.client.release(sim.now);
        sim.run(60);
        assert_eq!((sim.events.len(), sim.relay.bound().count(), sim.server.bound().count()), (4, 0, 0));
        // What the subscriber does not renew goes.
        sim.client.start(sim.now);
        sim.run(60);
        assert_eq!(sim.relay.bound().count(), 2);
        sim.loss = 1.0;
        sim.run(7200);
        assert_eq!((sim.events.len(), sim.relay.bound().count()), (8, 0));
    }
}

proptest! {
    #[test]
    fn relay_garbage(hops in 0..10u8, kind in 0..16u8, body in options(), raw: Vec<u8>, ours: bool) {
        let now = Instant::now();
        let mut relay = Relay::new(RelayConfig { relays_behind: true, ..config() });
        relay.forward(peer(), SOLICIT);
        let mut message = vec![kind, hops];
        message.extend(&FORWARD[2..34]);
        if ours {
            message.extend(&BACK[34..47]);
        }
        message.extend(&body);
        let mut inner = back(FORWARD, &message);
        inner.extend(&raw);
        for bytes in [&message, &inner, &raw, &back(FORWARD, &raw)] {
            if let Some(forward) = relay.forward(peer(), bytes) {
                prop_assert!(forward[1] <= 8);
            }
            if let Some((_, delivered)) = relay.reply(now, bytes) {
                prop_assert!(delivered.len() < bytes.len());
            }
            let _ = interface_id(bytes);
        }
        prop_assert!(relay.bound().count() <= 16);
    }
}

//! L2TP: the control message codec, and a LAC and an LNS with a tunnel between them.

use super::script::{End, Ends, play};
use ::l2tp::{Cause, Config, DownReason, Endpoint, Meta, PortChange, Secret, message};
use std::hint::black_box;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

/// Headers and AVPs, hidden ones too.
pub fn codecs(data: &[u8]) {
    let secret = Secret::new(*b"tunnel");
    if let Ok((header, body)) = message::Header::parse(data) {
        let again = header.emit(body);
        assert_eq!(
            message::Header::parse(&again).map(|(h, b)| (h.tunnel, h.session, h.ns, h.nr, b)),
            Ok((header.tunnel, header.session, header.ns, header.nr, body))
        );
        avps(body, &secret);
    }
    avps(data, &secret);
}

fn avps(body: &[u8], secret: &Secret) {
    black_box(message::parse_body(body, None));
    black_box(message::parse_body(body, Some(secret)));
}

struct Pair([Endpoint; 2]);

fn address(end: End) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1 + end as u8], 1701))
}

fn meta(of: End) -> Meta {
    Meta { local: address(of), remote: address(of.other()), binding: NonZeroU32::new(1) }
}

impl Ends for Pair {
    fn input(&mut self, now: Instant, to: End, message: &[u8]) {
        self.0[to as usize].handle_input(now, meta(to), message);
    }

    fn timeout(&mut self, now: Instant) {
        self.0.iter_mut().for_each(|e| e.handle_timeout(now));
    }

    fn deadline(&self) -> Option<Instant> {
        self.0.iter().filter_map(Endpoint::poll_timeout).min()
    }

    fn drain(&mut self, _now: Instant, out: &mut dyn FnMut(End, Vec<u8>)) {
        for end in [End::A, End::B] {
            let endpoint = &mut self.0[end as usize];
            loop {
                while endpoint.poll_event().is_some() {}
                let Some(transmit) = endpoint.poll_transmit() else { break };
                out(end.other(), transmit.data);
            }
            assert!(endpoint.tunnels().count() <= 16);
        }
    }

    fn act(&mut self, now: Instant, action: u8) {
        let end = if action & 1 == 0 { End::A } else { End::B };
        let endpoint = &mut self.0[end as usize];
        let first = endpoint.tunnels().next().map(|t| t.id);
        match action >> 1 {
            0 => {
                if let Some(id) = first {
                    endpoint.close(now, id, DownReason::new(Cause::BindingGone, "fuzz"));
                }
            }
            1 => endpoint.close_binding(now, NonZeroU32::MIN),
            2 => endpoint.move_binding(now, NonZeroU32::MIN, [192, 0, 2, 1].into(), [192, 0, 2, 9].into()),
            _ => connect(endpoint, now, end),
        }
    }
}

fn connect(endpoint: &mut Endpoint, now: Instant, from: End) {
    let Meta { local, remote, binding } = meta(from);
    black_box(endpoint.connect(now, local, remote, binding, Some(Secret::new(*b"tunnel"))).is_ok());
}

/// Both ends; the first octet chooses Challenge, sequencing, and whether port changes are followed. Gives what was sent.
pub fn pair(data: &[u8]) -> Vec<Vec<u8>> {
    let Some((choice, script)) = data.split_first() else { return Vec::new() };
    let now = Instant::now();
    let config = Config {
        secret: (choice & 1 != 0).then(|| Secret::new(*b"tunnel")),
        challenge: choice & 1 != 0,
        sequencing: choice & 2 != 0,
        port_change: if choice & 4 == 0 { PortChange::Refuse } else { PortChange::Follow },
        ..Config::default()
    };
    let config = Arc::new(config);
    let endpoint = |seed| {
        let mut next = 0u32;
        let ids = move |_: Option<NonZeroU32>| {
            next += 1;
            Some(next << 16 | next)
        };
        Endpoint::new(Arc::clone(&config), super::rng(seed), Box::new(ids))
    };
    let mut pair = Pair([endpoint(4), endpoint(5)]);
    connect(&mut pair.0[0], now, End::A);
    play(&mut pair, now, script)
}

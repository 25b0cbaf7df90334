//! IKE: the codecs, and an initiator and a responder with a pre-shared key, or EAP, which may move.

use super::script::{End, Ends, play};
use ::ike::auth::{IdMatch, Identity, LocalAuth, RemoteAuth};
use ::ike::message::{Body, Header};
use ::ike::payload::{Chain, PayloadType, delete::Delete, eap, notify::Notify, sa, ts};
use ::ike::{ChildPolicy, Config, EapSuccess, Endpoint, Event, IkeProposal, Meta, PadEntry, PeerHandle};
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Header, payload chain and payloads; a body that starts with each kind of payload, as after decryption.
pub fn codecs(data: &[u8]) {
    if let Ok(header) = Header::parse(data) {
        let body = &data[::ike::message::HEADER_LEN..];
        chain(header.next, body);
    }
    if let Some((first, rest)) = data.split_first() {
        chain(PayloadType(*first), rest);
    }
    bodies(data);
}

fn chain(first: PayloadType, bytes: &[u8]) {
    black_box(Body::parse(first, bytes).is_ok());
    for payload in Chain::new(first, bytes).map_while(Result::ok) {
        bodies(payload.body);
    }
}

fn bodies(body: &[u8]) {
    if let Ok(proposals) = sa::parse(body) {
        let mut again = Vec::new();
        sa::emit(&proposals, &mut again);
        // Attributes that are not known are not written.
        let mut known = proposals;
        known.iter_mut().flat_map(|p| &mut p.transforms).for_each(|t| t.unknown_attribute = false);
        assert_eq!(sa::parse(&again).ok(), Some(known));
    }
    if let Ok(selectors) = ts::parse(body) {
        let mut again = Vec::new();
        ts::emit(&selectors, &mut again);
        assert_eq!(ts::parse(&again).ok(), Some(selectors));
    }
    if let Ok(delete) = Delete::parse(body) {
        let mut again = Vec::new();
        delete.emit(&mut again);
        assert_eq!(Delete::parse(&again).ok(), Some(delete));
    }
    if let Ok(notify) = Notify::parse(body) {
        black_box(notify.esp_spi());
    }
    black_box(eap::code(body).is_ok());
    if let Ok(id) = Identity::parse(body) {
        black_box(id.to_string());
        assert_eq!(Identity::parse(&id.body()).ok(), Some(id));
    }
}

struct Pair {
    ends: [Endpoint; 2],
    peer: [Option<PeerHandle>; 2],
    child: [Option<u32>; 2],
    /// EAP requests so far.
    asked: u8,
    /// EAP is to be used, and each end has another key of it.
    spoilt: bool,
    /// Where A is, as B sees it.
    place: u8,
}

fn address(end: End) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1 + end as u8], 500))
}

fn meta(of: End) -> Meta {
    Meta { local: address(of), remote: address(of.other()) }
}

impl Ends for Pair {
    fn input(&mut self, now: Instant, to: End, message: &[u8]) {
        let mut meta = meta(to);
        if self.place > 0 {
            let moved = if to == End::A { &mut meta.local } else { &mut meta.remote };
            moved.set_ip(place(self.place).into());
        }
        self.ends[to as usize].handle_input(now, meta, message);
    }

    fn timeout(&mut self, now: Instant) {
        self.ends.iter_mut().for_each(|e| e.handle_timeout(now));
    }

    fn deadline(&self) -> Option<Instant> {
        self.ends.iter().filter_map(Endpoint::poll_timeout).min()
    }

    fn drain(&mut self, now: Instant, out: &mut dyn FnMut(End, Vec<u8>)) {
        for end in [End::A, End::B] {
            let n = end as usize;
            while let Some(event) = self.ends[n].poll_event() {
                self.eap(now, n, &event);
                match event {
                    Event::PeerUp { peer, .. } => {
                        assert!(!self.spoilt, "a peer without the key of EAP");
                        self.peer[n] = Some(peer);
                    }
                    Event::ChildUp { child, .. } => self.child[n] = Some(child.spi_in),
                    Event::PeerDown { .. } => (self.peer[n], self.child[n]) = (None, None),
                    _ => {}
                }
            }
            while let Some(transmit) = self.ends[n].poll_transmit() {
                if !transmit.keepalive {
                    out(end.other(), transmit.data);
                }
            }
        }
    }

    fn act(&mut self, now: Instant, action: u8) {
        let end = if action & 1 == 0 { End::A } else { End::B };
        let n = end as usize;
        let endpoint = &mut self.ends[n];
        match (action >> 1, self.peer[n], self.child[n]) {
            (0, Some(peer), _) => drop(black_box(endpoint.close(now, peer))),
            (1, Some(peer), _) => drop(black_box(endpoint.rekey_ike(now, peer))),
            (2, _, Some(spi)) => drop(black_box(endpoint.rekey_child(now, spi))),
            (3, _, Some(spi)) => endpoint.child_used(now, spi),
            (4, Some(peer), _) => endpoint.peer_moved(now, peer, SocketAddr::from(([192, 0, 2, 9], 4500))),
            (5, Some(peer), _) => {
                self.place = self.place.wrapping_add(1);
                let (local, remote) = ((place(self.place), 4500).into(), (address(end.other()).ip(), 4500).into());
                black_box(endpoint.move_local(now, peer, local, remote).is_ok());
            }
            _ => initiate(endpoint, now, end),
        }
    }
}

fn place(n: u8) -> std::net::Ipv4Addr {
    [192, 0, 2, 1 + n % 100].into()
}

impl Pair {
    /// The owners' share of EAP: three requests, and the end.
    fn eap(&mut self, now: Instant, n: usize, event: &Event) {
        let endpoint = &mut self.ends[n];
        let key = |n: usize| Some(vec![u8::from(self.spoilt) * n as u8; 64].into());
        let done = match event {
            Event::EapStart { session, .. } => {
                self.asked = 1;
                endpoint.eap_request(now, *session, &[1, 0, 0, 5, 1])
            }
            Event::EapResponse { session, .. } if self.asked < 3 => {
                self.asked += 1;
                endpoint.eap_request(now, *session, &[1, self.asked, 0, 5, 13])
            }
            Event::EapResponse { session, .. } => {
                let success = EapSuccess { identity: "a@example".to_owned(), msk: key(n), mutual: true };
                endpoint.eap_success(now, *session, &[3, self.asked, 0, 4], success)
            }
            Event::EapRequest { peer, packet } if packet.first() == Some(&3) => endpoint.eap_key(now, *peer, key(n)),
            Event::EapRequest { peer, .. } => endpoint.eap_response(now, *peer, &[2, 0, 0, 6, 13, 0]),
            _ => Ok(()),
        };
        black_box(done.is_ok());
    }
}

fn initiate(endpoint: &mut Endpoint, now: Instant, from: End) {
    let Meta { local, remote } = meta(from);
    black_box(endpoint.initiate(now, "peer", local, remote).is_ok());
}

fn config(of: End, choice: u8) -> Config {
    let id = |end| Identity::Fqdn(if end == End::A { "a.example" } else { "b.example" }.to_owned());
    let mut entry = PadEntry {
        name: "peer".to_owned(),
        remote: IdMatch::Exact(id(of.other())),
        remote_auth: RemoteAuth::psk(b"correct horse"),
        local_id: id(of),
        local_auth: LocalAuth::psk(b"correct horse"),
        ike_proposals: IkeProposal::defaults(),
        child: ChildPolicy { resources: u32::from(choice >> 7) * 2, ..ChildPolicy::l2tp(of == End::B) },
        ike_rekey_after: Some(Duration::from_secs(14400)),
        dpd_delay: Some(Duration::from_secs(60)),
        mlkem: choice & 1 != 0,
        force_encap: choice & 2 != 0,
        mobike: choice & 16 != 0,
        return_routability: choice & 32 == 0,
    };
    match of {
        End::A if choice & 8 != 0 => entry.local_auth = LocalAuth::Eap,
        End::B if choice & 8 != 0 => entry.remote_auth = RemoteAuth::Eap,
        End::A | End::B => {}
    }
    let mut config = Config { pad: vec![Arc::new(entry)], ..Config::default() };
    if choice & 4 != 0 {
        config.limits.cookie_threshold = 0;
    }
    config
}

/// Both ends; the first octet chooses ML-KEM, UDP encapsulation, cookies, EAP, MOBIKE without and with COOKIE2, two
/// keys for EAP, and child SAs for two resources. Gives what was sent.
pub fn pair(data: &[u8]) -> Vec<Vec<u8>> {
    let Some((choice, script)) = data.split_first() else { return Vec::new() };
    let now = Instant::now();
    let endpoint = |end, seed| {
        let mut spi = 0x0100_0000u32;
        let spis = move |_, _| {
            spi += 1;
            Some(spi)
        };
        Endpoint::new(Arc::new(config(end, *choice)), super::rng(seed), Box::new(spis))
    };
    let ends = [endpoint(End::A, 6), endpoint(End::B, 7)];
    let spoilt = choice & (8 | 64) == (8 | 64);
    let mut pair = Pair { ends, peer: [None; 2], child: [None; 2], asked: 0, spoilt, place: 0 };
    initiate(&mut pair.ends[0], now, End::A);
    play(&mut pair, now, script)
}

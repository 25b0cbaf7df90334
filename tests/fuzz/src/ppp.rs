//! PPP and EAP: the codecs, and a subscriber and a gateway that bring a link up.

use super::script::{End, Ends, play};
use ::eap::{Method, Packet, Peer, Server, Step, Type, mschap};
use ::ppp::*;
use std::hint::black_box;
use std::time::Instant;

/// Frames, packets, options, PAP and CHAP values; EAP packets, and what a peer and a server make of them.
pub fn codecs(data: &[u8]) {
    if let Some((number, information)) = message::split_frame(data)
        && let Some(packet) = message::Packet::parse(information)
    {
        let again = packet.frame(number);
        assert_eq!(message::Packet::parse(&again[2..]), Some(packet));
        options(packet.data);
        eap(information);
    }
    options(data);
    eap(data);
}

fn eap(data: &[u8]) {
    if let Some(failure) = mschap::Failure::parse(data) {
        assert_eq!(mschap::Failure::parse(failure.format().as_bytes()), Some(failure));
    }
    let Some(packet) = Packet::parse(data) else { return };
    let again = packet.encode();
    assert_eq!(Packet::parse(&again), Some(packet));
    if let Packet::Response { kind, data, .. } = packet {
        black_box(::eap::packet::wanted(kind, data));
    }
    let mut rng = super::rng(4);
    let both = [Method::MsChapV2, Method::Md5Challenge];
    let identity = Packet::Response { id: packet.id().wrapping_sub(1), kind: Type::IDENTITY, data: b"user" }.encode();
    for method in both {
        let mut server = Server::new(&[method], b"gateway", b"secret");
        server.handle(&identity, &mut *rng);
        let mut peer = Peer::new(b"user", b"secret", &both);
        if let Step::Request(request) = server.handle(data, &mut *rng) {
            peer.handle(&request, &mut *rng);
        }
        if let Some(response) = peer.handle(data, &mut *rng) {
            assert!(matches!(Packet::parse(&response), Some(Packet::Response { .. })));
        }
        assert!(server.msk().is_none() && peer.msk().is_none(), "nobody has proven anything");
    }
}

fn options(data: &[u8]) {
    if let Some(options) = option::parse(data) {
        let mut again = Vec::new();
        for o in &options {
            black_box((o.u16(), o.u32()));
            option::push(&mut again, o.kind, o.value);
        }
        assert_eq!(option::parse(&again), Some(options));
    }
}

/// The two ends, and the EAP servers behind them.
struct Pair([Link; 2], [Server; 2]);

impl Pair {
    fn end(&mut self, end: End) -> &mut Link {
        &mut self.0[end as usize]
    }

    fn eap(&mut self, now: Instant, end: End, packet: &[u8]) {
        let server = &mut self.1[end as usize];
        if matches!(Packet::parse(packet), Some(Packet::Response { kind: Type::IDENTITY, .. })) {
            *server = eap_server();
        }
        let step = server.handle(packet, &mut *super::rng(5));
        let link = self.end(end);
        let reply = |packet| Reply { eap: Some(packet), ..Reply::default() };
        match step {
            Step::Request(request) => link.eap_request(now, &request),
            Step::Success(packet) => link.auth_result(now, AuthVerdict::Accept(reply(packet))),
            Step::Failure(packet) => link.auth_result(now, AuthVerdict::Reject(reply(packet))),
            // RADIUS would not answer either.
            Step::Discard => link.auth_result(now, AuthVerdict::Reject(Reply::default())),
        }
    }
}

fn eap_server() -> Server {
    Server::new(&[Method::MsChapV2, Method::Md5Challenge], b"gateway", b"secret")
}

fn network(gateway: bool) -> NetworkConfig {
    let (here, there) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    let iid = |n| Some(InterfaceId([0, 0, 0, 0, 0, 0, 0, n]));
    let (ipv4, ipv6) = if gateway {
        let dns = vec![here];
        (
            IpcpConfig { local: Some(here), peer: Some(there), dns, request_dns: false },
            Ipv6cpConfig { local_iid: iid(1), peer_iid: iid(2) },
        )
    } else {
        (IpcpConfig { request_dns: true, ..IpcpConfig::default() }, Ipv6cpConfig::default())
    };
    NetworkConfig { ipv4: Some(ipv4), ipv6: Some(ipv6) }
}

impl Ends for Pair {
    fn input(&mut self, now: Instant, to: End, message: &[u8]) {
        self.end(to).handle_input(now, message);
    }

    fn timeout(&mut self, now: Instant) {
        self.0.iter_mut().for_each(|l| l.handle_timeout(now));
    }

    fn deadline(&self) -> Option<Instant> {
        self.0.iter().filter_map(Link::poll_timeout).min()
    }

    fn drain(&mut self, now: Instant, out: &mut dyn FnMut(End, Vec<u8>)) {
        for end in [End::A, End::B] {
            while let Some(event) = self.end(end).poll_event() {
                let link = self.end(end);
                match event {
                    Event::EapResponse(r) => self.eap(now, end, &r.packet),
                    Event::AuthRequest(r) => {
                        let mut reply = Reply::default();
                        let good = match &r.proof {
                            Proof::Pap { password } => password.expose() == b"secret",
                            Proof::ChapMd5 { id, challenge, response } => {
                                chap::verify(b"secret", *id, challenge, response)
                            }
                            Proof::MsChapV2 { challenge, response, .. } => {
                                let response = mschap::Response::parse(response);
                                let proof = response.authenticator_response(b"secret", &r.name, challenge);
                                reply.mschap = Some(mschap::success_message(&proof, ""));
                                response.verify(b"secret", &r.name, challenge)
                            }
                        };
                        let verdict = if good { AuthVerdict::Accept(reply) } else { AuthVerdict::Reject(reply) };
                        link.auth_result(now, verdict);
                    }
                    Event::LinkUp { mtu, peer_mru, .. } => {
                        assert!(mtu <= peer_mru);
                        link.start_network(now, network(end == End::B));
                    }
                    Event::Ipv4Up { .. } | Event::Ipv6Up { .. } => assert_eq!(link.phase(), Phase::Network),
                    _ => {}
                }
            }
            while let Some(frame) = self.end(end).poll_transmit() {
                out(end.other(), frame);
            }
        }
    }

    fn act(&mut self, now: Instant, action: u8) {
        match action {
            0 => self.end(End::A).close(now),
            1 => self.end(End::B).close(now),
            2 => self.end(End::B).rechallenge(now),
            _ => self.end(End::A).open(now),
        }
    }
}

/// Both ends of a link; the first octet chooses how the subscriber is authenticated. Gives what was sent.
pub fn link(data: &[u8]) -> Vec<Vec<u8>> {
    let Some((choice, script)) = data.split_first() else { return Vec::new() };
    let now = Instant::now();
    let credentials = |methods: &[AuthMethod]| {
        Some(Credentials { name: b"user".to_vec(), secret: Secret::new(*b"secret"), methods: methods.to_vec() })
    };
    let (pap, chap) = (AuthMethod::Pap, AuthMethod::ChapMd5);
    let (mschap, eap) = (AuthMethod::MsChapV2, AuthMethod::Eap);
    let demand = match (choice >> 3 & 3, choice & 3) {
        (1, _) => vec![mschap],
        (2, _) => vec![eap],
        (3, _) => vec![eap, mschap, chap],
        (_, 0) => vec![chap, pap],
        (_, 1) => vec![pap],
        (_, 2) => vec![chap],
        _ => vec![],
    };
    let mutual = match (choice & 4, choice >> 3 & 3) {
        (0, _) => vec![],
        (_, 0) => vec![chap],
        (_, 1) => vec![mschap],
        _ => vec![eap],
    };
    let a = Config { credentials: credentials(&[chap, pap, mschap, eap]), demand: mutual, ..Config::default() };
    let b = Config { credentials: credentials(&[chap, mschap, eap]), demand, ..Config::default() };
    let links = [Link::new(now, a, super::rng(1)), Link::new(now, b, super::rng(2))];
    let mut pair = Pair(links, [eap_server(), eap_server()]);
    pair.0.iter_mut().for_each(|l| l.open(now));
    play(&mut pair, now, script)
}

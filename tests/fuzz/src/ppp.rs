//! PPP: the codecs, and a subscriber and a gateway that bring a link up.

use super::script::{End, Ends, play};
use ::ppp::*;
use std::hint::black_box;
use std::time::Instant;

/// Frames, packets, options, PAP and CHAP values.
pub fn codecs(data: &[u8]) {
    if let Some((number, information)) = message::split_frame(data)
        && let Some(packet) = message::Packet::parse(information)
    {
        let again = packet.frame(number);
        assert_eq!(message::Packet::parse(&again[2..]), Some(packet));
        options(packet.data);
    }
    options(data);
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

struct Pair([Link; 2], eap::Server);

/// EAP's other end for the gateway, with randomness of its own.
fn server() -> eap::Server {
    eap::Server::new(&[eap::Method::MsChapV2, eap::Method::Md5Challenge], b"user", b"secret")
}

fn verdict(r: &AuthRequest) -> AuthVerdict {
    let good = match &r.proof {
        Proof::Pap { password } => password.expose() == b"secret",
        Proof::ChapMd5 { id, challenge, response } => chap::verify(b"secret", *id, challenge, response),
        Proof::MsChapV2 { challenge, response, .. } => {
            let response = eap::mschap::Response::parse(response);
            if response.verify(b"secret", &r.name, challenge) {
                let ours = response.authenticator_response(b"secret", &r.name, challenge);
                let mschap = Some(eap::mschap::success_message(&ours, ""));
                return AuthVerdict::Accept(Reply { mschap, ..Reply::default() });
            }
            false
        }
    };
    if good { AuthVerdict::Accept("".into()) } else { AuthVerdict::Reject("".into()) }
}

impl Pair {
    fn end(&mut self, end: End) -> &mut Link {
        &mut self.0[end as usize]
    }
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
            let link = &mut self.0[end as usize];
            while let Some(event) = link.poll_event() {
                match event {
                    Event::AuthRequest(r) => link.auth_result(now, verdict(&r)),
                    Event::EapResponse(r) => match self.1.handle(&r.packet, &mut *super::rng(3)) {
                        eap::Step::Request(packet) => link.eap_request(now, &packet),
                        eap::Step::Success(packet) => {
                            link.auth_result(now, AuthVerdict::Accept(Reply { eap: Some(packet), ..Reply::default() }));
                            self.1 = server();
                        }
                        eap::Step::Failure(packet) => {
                            link.auth_result(now, AuthVerdict::Reject(Reply { eap: Some(packet), ..Reply::default() }));
                            self.1 = server();
                        }
                        eap::Step::Discard => {}
                    },
                    Event::LinkUp { mtu, peer_mru, .. } => {
                        assert!(mtu <= peer_mru);
                        link.start_network(now, network(end == End::B));
                    }
                    Event::Ipv4Up { .. } | Event::Ipv6Up { .. } => assert_eq!(link.phase(), Phase::Network),
                    _ => {}
                }
            }
            while let Some(frame) = link.poll_transmit() {
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
    let (pap, chap, mschap, eap) = (AuthMethod::Pap, AuthMethod::ChapMd5, AuthMethod::MsChapV2, AuthMethod::Eap);
    let demand = match choice & 11 {
        0 => vec![chap, pap],
        1 => vec![pap],
        2 => vec![chap],
        8 => vec![mschap, eap],
        9 => vec![eap],
        10 => vec![mschap],
        _ => vec![],
    };
    let mutual = if choice & 4 == 0 { vec![] } else { vec![chap] };
    let a = Config { credentials: credentials(&[chap, pap, mschap, eap]), demand: mutual, ..Config::default() };
    let b = Config { credentials: credentials(&[chap]), demand, ..Config::default() };
    let mut pair = Pair([Link::new(now, a, super::rng(1)), Link::new(now, b, super::rng(2))], server());
    pair.0.iter_mut().for_each(|l| l.open(now));
    play(&mut pair, now, script)
}

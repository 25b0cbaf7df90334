//! An initiator whose EAP packets, or messages, are not what they should be.

use super::*;
use crate::auth::{IdMatch, Identity, LocalAuth, RemoteAuth};
use crate::config::{ChildPolicy, Config, PadEntry};
use crate::error::Failure;
use crate::event::{DownReason, Event, Meta};
use crate::message::ExchangeType;
use crate::payload::{Builder, PayloadType};
use crate::proposal::IkeProposal;
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::net::SocketAddr;
use std::sync::Arc;

const IDENTITY: [u8; 5] = [1, 0, 0, 5, 1];

struct Pair {
    ends: [Endpoint; 2],
    now: Instant,
    peer: PeerHandle,
    session: EapSession,
}

fn address(side: usize) -> SocketAddr {
    ([192, 0, 2, 1 + side as u8], 500).into()
}

fn endpoint(side: usize) -> Endpoint {
    let id = |side: usize| ["a.example", "b.example"][side].parse::<Identity>().unwrap();
    let psk = b"correct horse";
    let (local_auth, remote_auth) = match side {
        0 => (LocalAuth::Eap, RemoteAuth::psk(psk)),
        _ => (LocalAuth::psk(psk), RemoteAuth::Eap),
    };
    let entry = PadEntry {
        name: "peer".to_owned(),
        remote: IdMatch::Exact(id(1 - side)),
        remote_auth,
        local_id: id(side),
        local_auth,
        ike_proposals: IkeProposal::defaults(),
        child: ChildPolicy::l2tp(side == 1),
        ike_rekey_after: None,
        dpd_delay: None,
        mlkem: false,
        force_encap: false,
        mobike: true,
        return_routability: true,
    };
    let config = Config { pad: vec![Arc::new(entry)], ..Config::default() };
    Endpoint::new(config.into(), Box::new(StdRng::seed_from_u64(side as u64)), Box::new(|_| Some(0x0100_0000)))
}

impl Pair {
    /// An initiator that was asked for its identity.
    fn new() -> Self {
        let now = Instant::now();
        let mut ends = [0, 1].map(endpoint);
        let peer = ends[0].initiate(now, "peer", address(0), address(1)).unwrap();
        let mut pair = Self { ends, now, peer, session: EapSession(0) };
        let [_, b] = pair.deliver();
        let [Event::EapStart { session, .. }] = b[..] else { panic!("{b:?}") };
        pair.session = session;
        pair.ends[1].eap_request(now, session, &IDENTITY).unwrap();
        let [a, _] = pair.deliver();
        assert!(matches!(&a[..], [Event::EapRequest { packet, .. }] if packet[..] == IDENTITY));
        pair
    }

    /// Carries datagrams until there are no more; gives the events.
    fn deliver(&mut self) -> [Vec<Event>; 2] {
        let mut events = [Vec::new(), Vec::new()];
        loop {
            let mut quiet = true;
            for side in [0, 1] {
                events[side].extend(std::iter::from_fn(|| self.ends[side].poll_event()));
                while let Some(t) = self.ends[side].poll_transmit() {
                    quiet = false;
                    self.ends[1 - side].handle_input(self.now, Meta { local: t.remote, remote: t.local }, &t.data);
                }
            }
            if quiet {
                return events;
            }
        }
    }

    /// The initiator sends IKE_AUTH with these payloads in place of its EAP response.
    fn say(&mut self, chain: &Builder) {
        let send = |s: Box<EapInitiator>, base: &mut Base, ctx: &mut Ctx<'_>| s.send(base, ctx, chain);
        self.ends[0].eap_initiator(self.now, self.peer, |_| true, send).unwrap();
    }

    fn refused(&mut self, chain: &Builder) -> Failure {
        self.say(chain);
        let [a, b] = self.deliver();
        let [Event::AuthFailed { reason, .. }, Event::EapEnd { session, peer: None }] = &b[..] else { panic!("{b:?}") };
        assert_eq!(*session, self.session);
        let down = |e: &Event| matches!(e, Event::PeerDown { reason: DownReason::Failed(_), .. });
        assert!(a.iter().any(down), "{a:?}");
        assert_eq!(self.ends[1].half_open(), 0);
        reason.clone()
    }
}

fn eap(packet: &[u8]) -> Builder {
    let mut chain = Builder::new();
    chain.raw(PayloadType::EAP, packet);
    chain
}

#[test]
fn garbage_in_an_eap_payload_is_refused() {
    for packet in [
        &[][..],
        &[2],
        &[2, 0, 0, 4],
        &[2, 0, 0, 6, 1],
        // Requests and results are the responder's.
        &IDENTITY,
        &[3, 0, 0, 4],
        &[4, 0, 0, 4],
        &[&[2, 0, 0x20, 1, 1][..], &[0; 0x2001 - 5]].concat(),
    ] {
        assert_eq!(Pair::new().refused(&eap(packet)), Failure::Protocol("no EAP response"), "{packet:x?}");
    }
}

#[test]
fn messages_without_eap_or_that_do_not_parse_are_refused() {
    assert_eq!(Pair::new().refused(&Builder::new()), Failure::Protocol("no EAP response"));
    let mut auth = Builder::new();
    auth.auth(2, &[0; 32]);
    assert_eq!(Pair::new().refused(&auth), Failure::Protocol("no EAP response"));
    let mut twice = eap(&[2, 0, 0, 5, 1]);
    twice.raw(PayloadType::EAP, &[2, 0, 0, 5, 1]);
    assert_eq!(Pair::new().refused(&twice), Failure::Protocol("request does not parse"));
}

#[test]
fn success_without_the_proof_is_none() {
    for (method, data) in [(2, &[0; 32][..]), (2, &[0; 31]), (14, &[0; 32]), (0, &[0])] {
        let mut pair = Pair::new();
        pair.say(&eap(&[2, 0, 0, 5, 1]));
        pair.deliver();
        let success = EapSuccess { identity: "alice".to_owned(), msk: Some(vec![1; 64].into()), mutual: true };
        pair.ends[1].eap_success(pair.now, pair.session, &[3, 1, 0, 4], success).unwrap();
        let [a, _] = pair.deliver();
        assert!(matches!(a[..], [Event::EapRequest { .. }]), "{a:?}");
        let mut chain = Builder::new();
        chain.auth(method, data);
        let why = "the key of EAP does not match".to_owned();
        assert_eq!(pair.refused(&chain), Failure::Authentication(why));
    }
}

#[test]
fn other_exchanges_do_not_count() {
    let mut pair = Pair::new();
    let stray = |s: Box<EapInitiator>, base: &mut Base, ctx: &mut Ctx<'_>| {
        let mut s = s;
        base.request(ctx, &mut s.auth.channel, ExchangeType::CREATE_CHILD_SA, &eap(&[2, 0, 0, 5, 1]));
        State::EapInitiator(s)
    };
    pair.ends[0].eap_initiator(pair.now, pair.peer, |_| true, stray).unwrap();
    let [a, b] = pair.deliver();
    assert!(a.is_empty() && b.is_empty(), "{a:?} {b:?}");
    assert_eq!(pair.ends[1].half_open(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_payloads_never_panic(kinds in proptest::collection::vec((33u8..50, proptest::collection::vec(any::<u8>(), 0..60)), 0..4)) {
        let mut pair = Pair::new();
        let mut chain = Builder::new();
        for (kind, body) in &kinds {
            chain.raw(PayloadType(*kind), body);
        }
        pair.say(&chain);
        let [_, b] = pair.deliver();
        let up = b.iter().any(|e| matches!(e, Event::PeerUp { .. }));
        prop_assert!(!up);
        prop_assert!(b.len() == 1 || b.len() == 2);
    }
}

//! An initiator whose EAP packets, or messages, are not what they should be.

use super::*;
use crate::error::Failure;
use crate::event::{EapSession, EapSuccess};
use crate::payload::{Builder, PayloadType};
use crate::sa::Base;
use crate::sa::eap_initiator::EapInitiator;
use proptest::prelude::*;

const IDENTITY: [u8; 5] = [1, 0, 0, 5, 1];

/// An initiator that was asked for its identity.
struct Asked {
    pair: Pair,
    session: EapSession,
}

impl Asked {
    fn new() -> Self {
        let mut pair = Pair::new(true);
        let [_, b] = pair.deliver();
        let [Event::EapStart { session, .. }] = b[..] else { panic!("{b:?}") };
        pair.ends[1].eap_request(pair.now, session, &IDENTITY).unwrap();
        let [a, _] = pair.deliver();
        assert!(matches!(&a[..], [Event::EapRequest { packet, .. }] if packet[..] == IDENTITY));
        Self { pair, session }
    }

    /// The initiator sends IKE_AUTH with these payloads in place of its EAP response.
    fn say(&mut self, chain: &Builder) {
        let send = |s: Box<EapInitiator>, base: &mut Base, ctx: &mut Ctx<'_>| s.send(base, ctx, chain);
        self.pair.ends[0].eap_initiator(self.pair.now, self.pair.peer, |_| true, send).unwrap();
    }

    fn refused(&mut self, chain: &Builder) -> Failure {
        self.say(chain);
        let [a, b] = self.pair.deliver();
        let [Event::AuthFailed { reason, .. }, Event::EapEnd { session, peer: None }] = &b[..] else { panic!("{b:?}") };
        assert_eq!(*session, self.session);
        let down = |e: &Event| matches!(e, Event::PeerDown { reason: DownReason::Failed(_), .. });
        assert!(a.iter().any(down), "{a:?}");
        assert_eq!(self.pair.ends[1].half_open(), 0);
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
        assert_eq!(Asked::new().refused(&eap(packet)), Failure::Protocol("no EAP response"), "{packet:x?}");
    }
}

#[test]
fn messages_without_eap_or_that_do_not_parse_are_refused() {
    assert_eq!(Asked::new().refused(&Builder::new()), Failure::Protocol("no EAP response"));
    let mut auth = Builder::new();
    auth.auth(2, &[0; 32]);
    assert_eq!(Asked::new().refused(&auth), Failure::Protocol("no EAP response"));
    let mut twice = eap(&[2, 0, 0, 5, 1]);
    twice.raw(PayloadType::EAP, &[2, 0, 0, 5, 1]);
    assert_eq!(Asked::new().refused(&twice), Failure::Protocol("request does not parse"));
}

#[test]
fn a_refusal_that_gets_lost_is_repeated() {
    let mut malformed = eap(&[2, 0, 0, 5, 1]);
    malformed.raw(PayloadType::EAP, &[2, 0, 0, 5, 1]);
    for chain in [malformed, Builder::new()] {
        let mut asked = Asked::new();
        asked.say(&chain);
        let Pair { ends: [a, b], now, .. } = &mut asked.pair;
        let request = a.poll_transmit().unwrap();
        b.handle_input(*now, Meta { local: request.remote, remote: request.local }, &request.data);
        assert!(b.poll_transmit().is_some());
        *now += Duration::from_secs(3);
        a.handle_timeout(*now);
        let [a, _] = asked.pair.deliver();
        let told = DownReason::Failed(Failure::Notified(NotifyType::INVALID_SYNTAX));
        assert!(a.iter().any(|e| matches!(e, Event::PeerDown { reason, .. } if *reason == told)), "{a:?}");
        assert_eq!(asked.pair.ends[1].half_open(), 0);
    }
}

#[test]
fn success_without_the_proof_is_none() {
    for (method, data) in [(2, &[0; 32][..]), (2, &[0; 31]), (14, &[0; 32]), (0, &[0])] {
        let mut asked = Asked::new();
        asked.say(&eap(&[2, 0, 0, 5, 1]));
        asked.pair.deliver();
        let success = EapSuccess { identity: "alice".to_owned(), msk: Some(vec![1; 64].into()), mutual: true };
        asked.pair.ends[1].eap_success(asked.pair.now, asked.session, &[3, 1, 0, 4], success).unwrap();
        let [a, _] = asked.pair.deliver();
        assert!(matches!(a[..], [Event::EapRequest { .. }]), "{a:?}");
        let mut chain = Builder::new();
        chain.auth(method, data);
        let why = "the key of EAP does not match".to_owned();
        assert_eq!(asked.refused(&chain), Failure::Authentication(why));
    }
}

#[test]
fn other_exchanges_do_not_count() {
    let mut asked = Asked::new();
    let stray = |s: Box<EapInitiator>, base: &mut Base, ctx: &mut Ctx<'_>| {
        let mut s = s;
        base.request(ctx, &mut s.auth.channel, ExchangeType::CREATE_CHILD_SA, &eap(&[2, 0, 0, 5, 1]));
        State::EapInitiator(s)
    };
    asked.pair.ends[0].eap_initiator(asked.pair.now, asked.pair.peer, |_| true, stray).unwrap();
    let [a, b] = asked.pair.deliver();
    assert!(a.is_empty() && b.is_empty(), "{a:?} {b:?}");
    assert_eq!(asked.pair.ends[1].half_open(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_payloads_never_panic(kinds in proptest::collection::vec((33u8..50, proptest::collection::vec(any::<u8>(), 0..60)), 0..4)) {
        let mut asked = Asked::new();
        let mut chain = Builder::new();
        for (kind, body) in &kinds {
            chain.raw(PayloadType(*kind), body);
        }
        asked.say(&chain);
        let [_, b] = asked.pair.deliver();
        let up = b.iter().any(|e| matches!(e, Event::PeerUp { .. }));
        prop_assert!(!up);
        prop_assert!(b.len() == 1 || b.len() == 2);
    }
}

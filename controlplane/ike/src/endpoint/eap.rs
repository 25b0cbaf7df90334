//! What the owner does about EAP ([`crate::sa::eap`] shows the exchange).

use super::Endpoint;
use crate::crypto::Secret;
use crate::error::CallError;
use crate::event::{EapSession, EapSuccess, PeerHandle};
use crate::payload::eap::{Code, code};
use crate::sa::eap::EapResponder;
use crate::sa::eap_initiator::EapInitiator;
use crate::sa::{Base, Ctx, State};
use std::time::Instant;

fn check(packet: &[u8], expected: Code) -> Result<(), CallError> {
    if code(packet) == Ok(expected) { Ok(()) } else { Err(CallError::EapPacket) }
}

impl Endpoint {
    /// Sends an EAP request to an initiator: answers `EapStart` and `EapResponse`.
    pub fn eap_request(&mut self, now: Instant, session: EapSession, packet: &[u8]) -> Result<(), CallError> {
        check(packet, Code::Request)?;
        self.eap_responder(now, session, EapResponder::waits, |s, base, ctx| s.ask(base, ctx, packet))
    }

    /// Sends EAP Success to an initiator: answers `EapResponse`. `EapEnd` follows when the initiator has proved that it
    /// has the same MSK, or has not.
    pub fn eap_success(
        &mut self,
        now: Instant,
        session: EapSession,
        packet: &[u8],
        success: EapSuccess,
    ) -> Result<(), CallError> {
        check(packet, Code::Success)?;
        let due = |s: &EapResponder| s.waits() && s.begun();
        self.eap_responder(now, session, due, |s, base, ctx| s.succeed(base, ctx, packet, success))
    }

    /// Sends EAP Failure to an initiator: answers `EapStart` and `EapResponse`. `AuthFailed` and `EapEnd` follow.
    pub fn eap_failure(&mut self, now: Instant, session: EapSession, packet: &[u8]) -> Result<(), CallError> {
        check(packet, Code::Failure)?;
        self.eap_responder(now, session, EapResponder::waits, |s, base, ctx| s.fail(base, ctx, packet))
    }

    /// Sends an EAP response to the responder: answers `EapRequest` with an EAP request.
    pub fn eap_response(&mut self, now: Instant, peer: PeerHandle, packet: &[u8]) -> Result<(), CallError> {
        check(packet, Code::Response)?;
        self.eap_initiator(now, peer, EapInitiator::waits, |s, base, ctx| s.answer(base, ctx, packet))
    }

    /// Proves the key that the EAP method gave: answers `EapRequest` with EAP Success. Where the responder proves itself
    /// by EAP alone, only the key of a method that authenticates it may be given.
    pub fn eap_key(&mut self, now: Instant, peer: PeerHandle, msk: Option<Secret>) -> Result<(), CallError> {
        self.eap_initiator(now, peer, EapInitiator::waits_for_key, |s, base, ctx| s.prove(base, ctx, msk))
    }

    fn eap_responder(
        &mut self,
        now: Instant,
        session: EapSession,
        due: impl Fn(&EapResponder) -> bool,
        act: impl FnOnce(Box<EapResponder>, &mut Base, &mut Ctx<'_>) -> State,
    ) -> Result<(), CallError> {
        let mut found = false;
        self.step(now, session.0, |sa, ctx| {
            sa.state = match std::mem::replace(&mut sa.state, State::Gone) {
                State::EapResponder(s) if due(&s) => {
                    found = true;
                    act(s, &mut sa.base, ctx)
                }
                other => other,
            };
        });
        if found { Ok(()) } else { Err(CallError::UnknownEap) }
    }

    pub(super) fn eap_initiator(
        &mut self,
        now: Instant,
        peer: PeerHandle,
        due: impl Fn(&EapInitiator) -> bool,
        act: impl FnOnce(Box<EapInitiator>, &mut Base, &mut Ctx<'_>) -> State,
    ) -> Result<(), CallError> {
        let spi = self.peers.get(&peer).ok_or(CallError::UnknownPeer)?.spi;
        let mut found = false;
        self.step(now, spi, |sa, ctx| {
            sa.state = match std::mem::replace(&mut sa.state, State::Gone) {
                State::EapInitiator(s) if due(&s) => {
                    found = true;
                    act(s, &mut sa.base, ctx)
                }
                other => other,
            };
        });
        if found { Ok(()) } else { Err(CallError::UnknownEap) }
    }
}

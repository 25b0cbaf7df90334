//! One tunnel with its session: messages and events are run through the state machines, and their actions become
//! messages in the reliable channel and events for the caller.

use super::event::{Event, SessionUp, Stats};
use crate::auth;
use crate::avp::{Avps, ResultCode};
use crate::config::Config;
use crate::error::{Cause, DownReason, Refused, code};
use crate::fsm::{session, tunnel};
use crate::message::{Kind, Message, MessageType, Received, parse_body};
use crate::reliable::{Reliable, retransmission_time};
use rand_core::CryptoRng;
use secret::Secret;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Instant;

/// Version 1, revision 0 (RFC 2661, section 4.4.3).
const PROTOCOL_VERSION: u16 = 0x0100;
/// Synchronous and asynchronous (RFC 5571, section 5.1.1.1).
const FRAMING_CAPABILITIES: u32 = 3;
/// Synchronous (RFC 5571, section 5.1.2.1).
const FRAMING_TYPE: u32 = 1;

/// A tunnel. The endpoint finds it; it knows nothing of other tunnels.
pub(super) struct Tunnel {
    pub id: u32,
    pub initiator: bool,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub binding: Option<NonZeroU32>,
    pub state: tunnel::State,
    pub session: session::State,
    pub peer_tunnel: u16,
    pub peer_session: u16,
    pub peer_host_name: String,
    pub reliable: Reliable,
    pub since: Instant,
    pub last_heard: Instant,
    /// Where it stands among the timers.
    pub timer: Option<Instant>,
    /// `Down` was reported, or is bound to be after the acknowledgement: `down_after_ack`.
    pub down: bool,
    pub down_after_ack: Option<DownReason>,
    pub stopped_at: Option<Instant>,
    /// The session is up and reported so.
    pub up: bool,
    /// It is reported to be on its way up.
    offered: bool,
    /// Nothing of it is to be kept.
    pub gone: bool,
    secret: Option<Secret>,
    challenge: Option<[u8; 16]>,
    peer_challenge: Option<Vec<u8>>,
    sequencing: bool,
    reason: Option<DownReason>,
}

/// What a tunnel works with.
pub(super) struct Context<'a> {
    pub now: Instant,
    pub config: &'a Config,
    pub rng: &'a mut (dyn CryptoRng + Send),
    pub events: &'a mut dyn FnMut(Event),
    pub stats: &'a mut Stats,
}

impl Tunnel {
    pub fn new(
        now: Instant,
        id: u32,
        path: (SocketAddr, SocketAddr, Option<NonZeroU32>),
        initiator: bool,
        secret: Option<Secret>,
        config: &Config,
    ) -> Self {
        Self {
            id,
            initiator,
            local: path.0,
            remote: path.1,
            binding: path.2,
            state: tunnel::State::Idle,
            session: session::State::Idle,
            peer_tunnel: 0,
            peer_session: 0,
            peer_host_name: String::new(),
            reliable: Reliable::new(config.receive_window),
            since: now,
            last_heard: now,
            timer: None,
            down: false,
            down_after_ack: None,
            stopped_at: None,
            up: false,
            offered: false,
            gone: false,
            secret,
            challenge: None,
            peer_challenge: None,
            sequencing: false,
            reason: None,
        }
    }

    pub fn our_tunnel(&self) -> u16 {
        (self.id >> 16) as u16
    }

    pub fn our_session(&self) -> u16 {
        self.id as u16
    }

    /// No session yet, and not closing.
    pub fn is_half_open(&self) -> bool {
        !self.initiator && !self.up && !self.is_over()
    }

    /// Closing or stopped.
    pub fn is_over(&self) -> bool {
        matches!(self.state, tunnel::State::Closing | tunnel::State::Stopped)
    }

    /// The secret that hidden AVPs of this tunnel are read with.
    pub fn secret(&self) -> Option<&Secret> {
        self.secret.as_ref()
    }

    /// The next moment at which something happens by itself.
    pub fn deadline(&self, config: &Config) -> Option<Instant> {
        let own = match self.state {
            tunnel::State::Stopped => {
                return self.stopped_at.map(|at| at + retransmission_time(config.max_retransmits));
            }
            tunnel::State::Established if self.up => {
                let dead = self.last_heard + config.dead_after;
                Some(if self.reliable.is_idle() { dead.min(self.last_heard + config.hello) } else { dead })
            }
            tunnel::State::Established | tunnel::State::Idle => Some(self.since + config.setup),
            tunnel::State::WaitReply | tunnel::State::WaitConnected => Some(self.since + config.setup),
            tunnel::State::Closing => None,
        };
        let unanswered = self.reliable.waiting_since().map(|at| at + config.dead_after).filter(|_| self.up);
        [own, unanswered, self.reliable.timeout()].into_iter().flatten().min()
    }

    /// Our side opens the tunnel.
    pub fn open(&mut self, cx: &mut Context<'_>) {
        self.step(tunnel::Event::Open, None, cx);
    }

    /// Our side closes it.
    pub fn close(&mut self, reason: DownReason, cx: &mut Context<'_>) {
        self.reason.get_or_insert(reason);
        self.step(tunnel::Event::Close, None, cx);
    }

    /// Time passed.
    pub fn tick(&mut self, cx: &mut Context<'_>) {
        let (now, config) = (cx.now, cx.config);
        if self.state == tunnel::State::Stopped {
            let keep = retransmission_time(config.max_retransmits);
            self.gone |= self.stopped_at.is_none_or(|at| at + keep <= now);
            return;
        }
        if self.reliable.expire(now) {
            cx.stats.retransmits += 1;
        }
        let unanswered = self.reliable.waiting_since().is_some_and(|at| at + config.dead_after <= now);
        let dead = if self.up && self.state == tunnel::State::Established {
            // The dead-peer timer rules, whatever the number of retransmissions that fit (RFC 5571, section 5.2.3).
            unanswered || self.last_heard + config.dead_after <= now
        } else {
            self.reliable.attempts() > config.max_retransmits
        };
        if dead {
            self.reason.get_or_insert(DownReason::new(Cause::Timeout, "the peer does not answer"));
            self.step(tunnel::Event::Dead, None, cx);
        } else if !self.up && !self.is_over() && self.since + config.setup <= now {
            self.close(
                DownReason { cause: Cause::Timeout, ..DownReason::local(code::STOP_CLEAR, "no session in time") },
                cx,
            );
        } else if self.up && self.reliable.is_idle() && self.last_heard + config.hello <= now {
            self.send(0, MessageType::Hello, Avps::default());
        }
    }

    /// The acknowledgement of a message came in.
    pub fn flushed(&mut self, cx: &mut Context<'_>) {
        if self.reliable.is_idle() {
            self.step(tunnel::Event::Flushed, None, cx);
        }
    }

    /// A message came in order.
    pub fn message(&mut self, session: u16, body: &[u8], cx: &mut Context<'_>) {
        let received = parse_body(body, self.secret());
        let kind = match received.kind {
            Kind::Known(kind) => kind,
            Kind::Ignore(_) => return cx.stats.refuse(Refused::UnknownMessage),
            // Section 4.4.1: the tunnel MUST be cleared.
            Kind::Fatal(n) => {
                let error = Some(code::ERROR_UNKNOWN_AVP);
                return self.refuse(code::GENERAL_ERROR, error, format!("unknown message type {n}"), cx);
            }
            Kind::Missing => {
                let error = Some(code::ERROR_VALUE);
                return self.refuse(code::GENERAL_ERROR, error, "no Message Type AVP".into(), cx);
            }
        };
        if self.peer_tunnel == 0 && matches!(kind, MessageType::Sccrq | MessageType::Sccrp) {
            // Whatever is wrong with the message, the answer needs an address.
            self.peer_tunnel = received.avps.assigned_tunnel.unwrap_or(0);
        }
        // Section 4.2: a message that ends things is taken at its word, whatever else it says.
        if let Some(problem) = received.problem
            && !matches!(kind, MessageType::StopCcn | MessageType::Cdn)
        {
            return self.refuse(code::GENERAL_ERROR, Some(problem.error_code()), problem.to_string(), cx);
        }
        if let Err(reason) = self.check(kind, &received, cx) {
            self.reason.get_or_insert(reason);
            return self.step(tunnel::Event::Close, None, cx);
        }
        let event = match kind {
            MessageType::Sccrq => tunnel::Event::Sccrq,
            MessageType::Sccrp => tunnel::Event::Sccrp,
            MessageType::Scccn => tunnel::Event::Scccn,
            MessageType::StopCcn => {
                self.reason.get_or_insert(peer_reason(&received.avps));
                tunnel::Event::StopCcn
            }
            MessageType::Hello => tunnel::Event::Hello,
            MessageType::Ocrq
            | MessageType::Ocrp
            | MessageType::Occn
            | MessageType::Icrq
            | MessageType::Icrp
            | MessageType::Iccn
            | MessageType::Cdn
            | MessageType::Wen
            | MessageType::Sli => tunnel::Event::Call,
        };
        self.step(event, Some((kind, session, &received.avps)), cx);
    }

    /// What a tunnel message must hold (RFC 2661, sections 6.1 to 6.3), and whether the peer knows the secret. What
    /// RFC 5571 tells the receiver to ignore is not demanded.
    fn check(&mut self, kind: MessageType, received: &Received, cx: &mut Context<'_>) -> Result<(), DownReason> {
        let avps = &received.avps;
        let opens = self.state == tunnel::State::Idle && kind == MessageType::Sccrq
            || self.state == tunnel::State::WaitReply && kind == MessageType::Sccrp;
        if opens {
            if avps.assigned_tunnel.is_none() {
                return Err(missing("Assigned Tunnel ID"));
            }
            self.peer_host_name = avps.host_name.clone().unwrap_or_default();
            self.reliable.set_peer_window(avps.receive_window.unwrap_or(4));
            match avps.protocol_version {
                None => return Err(missing("Protocol Version")),
                Some(v) if v >> 8 != PROTOCOL_VERSION >> 8 => {
                    // Section 4.4.2: the error code says which version we speak.
                    return Err(DownReason::refused(code::STOP_VERSION, Some(PROTOCOL_VERSION), "protocol version"));
                }
                Some(_) => {}
            }
            if avps.host_name.is_none() {
                return Err(missing("Host Name"));
            }
            if avps.challenge.is_some() && self.secret.is_none() {
                cx.stats.auth_failed += 1;
                return Err(DownReason::refused(
                    code::STOP_NOT_AUTHORIZED,
                    None,
                    "challenged, but no secret configured",
                ));
            }
            self.peer_challenge.clone_from(&avps.challenge);
        }
        let answers = opens && kind == MessageType::Sccrp
            || self.state == tunnel::State::WaitConnected && kind == MessageType::Scccn;
        if answers && let (Some(secret), Some(challenge)) = (&self.secret, self.challenge.take()) {
            let proved = avps.challenge_response.is_some_and(|r| auth::verify(kind, secret, &challenge, &r));
            if !proved {
                cx.stats.auth_failed += 1;
                return Err(DownReason::refused(
                    code::STOP_NOT_AUTHORIZED,
                    None,
                    "the peer did not prove the tunnel secret",
                ));
            }
        }
        Ok(())
    }

    fn refuse(&mut self, result: u16, error: Option<u16>, message: String, cx: &mut Context<'_>) {
        self.close(DownReason::refused(result, error, message), cx);
    }

    fn step(&mut self, event: tunnel::Event, message: Option<(MessageType, u16, &Avps)>, cx: &mut Context<'_>) {
        let (state, action) = self.state.next(event);
        self.state = state;
        match action {
            tunnel::Action::None => {}
            tunnel::Action::Request => {
                let avps = self.greeting(MessageType::Sccrq, cx);
                self.send(0, MessageType::Sccrq, avps);
            }
            tunnel::Action::Reply => {
                let avps = self.greeting(MessageType::Sccrp, cx);
                self.send(0, MessageType::Sccrp, avps);
            }
            tunnel::Action::Connect => {
                let challenge_response = self.answer(MessageType::Scccn);
                self.send(0, MessageType::Scccn, Avps { challenge_response, ..Avps::default() });
                cx.stats.tunnels += 1;
                self.call(session::Event::Open, 0, &Avps::default(), cx);
            }
            tunnel::Action::Up => cx.stats.tunnels += 1,
            tunnel::Action::Session => {
                if let Some((kind, session, avps)) = message {
                    self.session_message(kind, session, avps, cx);
                }
            }
            tunnel::Action::Stop => self.stop(cx),
            tunnel::Action::StopFsm => {
                self.reason.get_or_insert(DownReason::refused(code::STOP_FSM, None, "message out of place"));
                self.stop(cx);
            }
            tunnel::Action::DownAfterAck => {
                self.stopped_at = Some(cx.now);
                self.reliable.stop_sending();
                self.session_down(cx);
                self.down_after_ack = Some(self.reason());
            }
            tunnel::Action::Down => {
                self.stopped_at = Some(cx.now);
                self.report_down(cx);
            }
            tunnel::Action::DownNow => {
                self.gone = true;
                self.report_down(cx);
            }
            tunnel::Action::Ignore => cx.stats.refuse(Refused::Closing),
        }
    }

    fn session_message(&mut self, kind: MessageType, header: u16, avps: &Avps, cx: &mut Context<'_>) {
        let event = match kind {
            MessageType::Icrq => session::Event::Icrq,
            MessageType::Icrp => session::Event::Icrp,
            MessageType::Iccn => session::Event::Iccn,
            MessageType::Cdn => session::Event::Cdn,
            MessageType::Ocrq => session::Event::Ocrq,
            MessageType::Ocrp | MessageType::Occn => session::Event::OutgoingReply,
            MessageType::Wen | MessageType::Sli => session::Event::LinkInfo,
            MessageType::Sccrq
            | MessageType::Sccrp
            | MessageType::Scccn
            | MessageType::StopCcn
            | MessageType::Hello => {
                return;
            }
        };
        // A request names no session of ours. A CDN may be sent before its sender knows our id: then the Assigned
        // Session ID AVP tells which call it means (RFC 2661, section 4.4.4).
        let request = matches!(event, session::Event::Icrq | session::Event::Ocrq);
        let by_peer_id = event == session::Event::Cdn && header == 0;
        let ours = header == self.our_session()
            || by_peer_id && self.peer_session != 0 && avps.assigned_session == Some(self.peer_session);
        if !request && !ours {
            return cx.stats.refuse(Refused::UnknownSession);
        }
        if matches!(event, session::Event::Icrq | session::Event::Icrp | session::Event::Ocrq)
            && avps.assigned_session.is_none()
        {
            self.reason.get_or_insert(missing("Assigned Session ID"));
            return self.step(tunnel::Event::Close, None, cx);
        }
        self.call(event, avps.assigned_session.unwrap_or(0), avps, cx);
    }

    fn call(&mut self, event: session::Event, peer_session: u16, avps: &Avps, cx: &mut Context<'_>) {
        let (state, action) = self.session.next(event);
        self.session = state;
        let assigned_session = Some(self.our_session());
        match action {
            session::Action::None => {}
            session::Action::Request => {
                let call_serial = Some(self.id);
                self.send(0, MessageType::Icrq, Avps { assigned_session, call_serial, ..Avps::default() });
            }
            session::Action::Reply => {
                self.peer_session = peer_session;
                self.send(peer_session, MessageType::Icrp, Avps { assigned_session, ..Avps::default() });
                self.offered = true;
                (cx.events)(Event::SessionOffered(self.session_report()));
            }
            session::Action::Connect => {
                self.peer_session = peer_session;
                self.sequencing = cx.config.sequencing;
                let avps = Avps {
                    tx_speed: Some(0),
                    framing_type: Some(FRAMING_TYPE),
                    sequencing_required: self.sequencing,
                    ..Avps::default()
                };
                self.send(peer_session, MessageType::Iccn, avps);
                self.session_up(cx);
            }
            session::Action::Up => {
                self.sequencing = avps.sequencing_required;
                self.session_up(cx);
            }
            session::Action::Down => {
                self.reason.get_or_insert(peer_reason(avps));
                self.step(tunnel::Event::Close, None, cx);
            }
            session::Action::RefuseOutgoing => {
                cx.stats.refuse(Refused::OutgoingCall);
                self.disconnect(peer_session, code::CDN_PERMANENT, "outgoing calls are not served", cx);
            }
            session::Action::RefuseSecond => {
                cx.stats.refuse(Refused::SecondSession);
                self.disconnect(peer_session, code::CDN_TEMPORARY, "one session per tunnel", cx);
            }
            session::Action::Error => {
                let error = Some(code::ERROR_VALUE);
                self.refuse(code::GENERAL_ERROR, error, "message out of place in the session".into(), cx);
            }
            session::Action::Ignore => cx.stats.refuse(Refused::UnknownSession),
        }
    }

    /// CDN for a call that never was. The id that it would have had must not be that of the live session.
    fn disconnect(&mut self, peer_session: u16, result: u16, message: &str, cx: &mut Context<'_>) {
        let mut id = (cx.rng.next_u32() as u16).max(1);
        if id == self.our_session() {
            id = id.wrapping_add(1).max(1);
        }
        let result = Some(ResultCode { result, error: Some(0), message: message.into() });
        self.send(peer_session, MessageType::Cdn, Avps { result, assigned_session: Some(id), ..Avps::default() });
    }

    /// SCCRQ and SCCRP (RFC 5571, section 5.1.1).
    fn greeting(&mut self, kind: MessageType, cx: &mut Context<'_>) -> Avps {
        if cx.config.challenge && self.secret.is_some() {
            let mut challenge = [0; 16];
            cx.rng.fill_bytes(&mut challenge);
            self.challenge = Some(challenge);
        }
        let vendor = &cx.config.vendor_name;
        Avps {
            protocol_version: Some(PROTOCOL_VERSION),
            framing_capabilities: Some(FRAMING_CAPABILITIES),
            host_name: Some(cx.config.host_name.clone()),
            vendor_name: (!vendor.is_empty()).then(|| vendor.clone()),
            assigned_tunnel: Some(self.our_tunnel()),
            receive_window: Some(cx.config.receive_window.max(1)),
            challenge: self.challenge.map(Vec::from),
            challenge_response: self.answer(kind),
            ..Avps::default()
        }
    }

    /// The response to the peer's challenge, if it made one.
    fn answer(&mut self, carrier: MessageType) -> Option<[u8; 16]> {
        let challenge = self.peer_challenge.take()?;
        self.secret.as_ref().map(|secret| auth::response(carrier, secret, &challenge))
    }

    /// Sends StopCCN, and nothing after it.
    fn stop(&mut self, cx: &mut Context<'_>) {
        let reason = self.reason();
        self.reliable.drop_unsent();
        // What the peer's CDN said is no code of ours to send back.
        let (result, error) = match reason.cause {
            Cause::Peer => (code::STOP_CLEAR, None),
            _ => (reason.result.max(1), reason.error),
        };
        let result = Some(ResultCode { result, error, message: reason.message });
        let assigned_tunnel = Some(self.our_tunnel());
        self.send(0, MessageType::StopCcn, Avps { result, assigned_tunnel, ..Avps::default() });
        self.session_down(cx);
    }

    fn send(&mut self, session: u16, kind: MessageType, avps: Avps) {
        self.reliable.send(session, Message { kind, avps }.emit());
    }

    fn reason(&self) -> DownReason {
        self.reason.clone().unwrap_or_else(|| DownReason::new(Cause::Local, ""))
    }

    fn session_up(&mut self, cx: &mut Context<'_>) {
        self.up = true;
        cx.stats.sessions += 1;
        (cx.events)(Event::SessionUp(self.session_report()));
    }

    fn session_report(&self) -> SessionUp {
        SessionUp {
            id: self.id,
            peer_tunnel: self.peer_tunnel,
            peer_session: self.peer_session,
            peer_host_name: self.peer_host_name.clone(),
            sequencing: self.sequencing,
            local: self.local,
            remote: self.remote,
            binding: self.binding,
        }
    }

    fn session_down(&mut self, cx: &mut Context<'_>) {
        self.session = session::State::Closed;
        if std::mem::take(&mut self.up) | std::mem::take(&mut self.offered) {
            (cx.events)(Event::SessionDown { id: self.id, reason: self.reason() });
        }
    }

    fn report_down(&mut self, cx: &mut Context<'_>) {
        self.session_down(cx);
        if !std::mem::replace(&mut self.down, true) {
            (cx.events)(Event::Down { id: self.id, reason: self.reason() });
        }
    }

    /// The tunnel ends without a word.
    pub fn drop_silently(&mut self, reason: DownReason, cx: &mut Context<'_>) {
        self.reason.get_or_insert(reason);
        self.gone = true;
        self.report_down(cx);
    }
}

fn missing(name: &str) -> DownReason {
    DownReason::refused(code::GENERAL_ERROR, Some(code::ERROR_OTHER), format!("{name} AVP missing"))
}

fn peer_reason(avps: &Avps) -> DownReason {
    let r = avps.result.clone().unwrap_or_default();
    DownReason { cause: Cause::Peer, result: r.result, error: r.error, message: r.message }
}

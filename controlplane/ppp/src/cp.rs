//! A control protocol at work: the automaton of [`crate::fsm`] with its timer, counters, identifiers and packets.
//!
//! What is negotiated differs from protocol to protocol and is a [`Policy`]; how it is negotiated does not, and
//! is here. Two guards keep a link that duplicates and reorders (UDP) from flapping, within RFC 1661:
//! - one Configure-Request gets one answer; a second Ack, Nak or Reject with its identifier is not an event;
//! - a copy of the Configure-Request that opened the layer is answered by the same Ack again, a few times.
//!   The table would renegotiate, which is right only for a peer that starts over, and that one soon sends more.
//!
//! A network protocol that nobody answered in time begins again after a pause: on a link that stays up for another one, it would
//! be missing for ever, although the silence may have been loss.

use crate::config::Timers;
use crate::event::DownReason;
use crate::fsm::{Action, Event, State, transition};
use crate::message::{Packet, code};
use crate::option::{self, Opt};
use rand_core::CryptoRng;
use std::collections::VecDeque;
use std::time::Instant;

/// Copies of the peer's Configure-Request that are answered without an event once the layer is open.
const ABSORBED_COPIES: u32 = 3;

/// A pause grows up to so many times the first one, by doubling.
const LONGEST_PAUSE: u32 = 32;

/// What a protocol needs from its link for one call.
pub(crate) struct Context<'a> {
    pub now: Instant,
    pub rng: &'a mut (dyn CryptoRng + Send),
    pub out: &'a mut VecDeque<Vec<u8>>,
}

/// The judgement on a peer's Configure-Request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Ack,
    /// Options with values that would do.
    Nak(Vec<u8>),
    /// Options as received.
    Reject(Vec<u8>),
    /// There is no agreement to be had.
    Fail(DownReason),
}

/// What one protocol negotiates.
pub(crate) trait Policy {
    /// Its number.
    const PROTOCOL: u16;
    /// The highest code it knows.
    const LAST_CODE: u8;
    /// When nobody has answered, it begins again after a pause.
    const PERSISTENT: bool;

    /// A negotiation starts: forget what was agreed.
    fn reset(&mut self, rng: &mut dyn CryptoRng);
    /// The options of our Configure-Request.
    fn request(&self) -> Vec<u8>;
    /// Judges the peer's. `insist`: enough Naks were sent; what would be Nak'ed is rejected, and nothing added.
    fn judge(&mut self, options: &[Opt<'_>], insist: bool, rng: &mut dyn CryptoRng) -> Verdict;
    /// The peer wants other values.
    fn naked(&mut self, options: &[Opt<'_>], rng: &mut dyn CryptoRng) -> Result<(), DownReason>;
    /// The peer does not know or want these options.
    fn rejected(&mut self, options: &[Opt<'_>]) -> Result<(), DownReason>;
    /// Our magic number, for LCP's Echo-Reply.
    fn magic(&self) -> u32 {
        0
    }
    /// What the peer can receive: the limit for packets that quote what it sent.
    fn peer_mru(&self) -> usize {
        1500
    }
}

/// What a transition means to the layer above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Up,
    Down,
    Started,
    Finished,
}

struct Request {
    id: u8,
    options: Vec<u8>,
    answered: bool,
}

/// Answers that a transition may ask to send.
#[derive(Clone, Copy)]
enum Reply<'a> {
    None,
    /// Acknowledge or Nak or reject by code, with these options.
    Configure(u8, u8, &'a [u8]),
    /// Quote this packet.
    To(&'a Packet<'a>),
}

pub(crate) struct ControlProtocol<P> {
    pub policy: P,
    state: State,
    timers: Timers,
    tries: u32,
    timer: Option<Instant>,
    last_id: u8,
    request: Option<Request>,
    naks_sent: u32,
    acked: Option<(u8, Vec<u8>)>,
    copies: u32,
    failure: Option<DownReason>,
    /// Before it begins again, in units of [`Timers::patience`].
    pause: u32,
}

impl<P: Policy> ControlProtocol<P> {
    pub fn new(policy: P, timers: Timers) -> Self {
        Self {
            policy,
            state: State::Initial,
            timers,
            tries: 0,
            timer: None,
            last_id: 0,
            request: None,
            naks_sent: 0,
            acked: None,
            copies: 0,
            failure: None,
            pause: 1,
        }
    }

    pub fn is_opened(&self) -> bool {
        self.state == State::Opened
    }

    pub fn state(&self) -> State {
        self.state
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timer
    }

    /// Why the layer was closed from within, if it was.
    pub fn take_failure(&mut self) -> Option<DownReason> {
        self.failure.take()
    }

    /// The administrative and lower layer events, and rejections from the layer's own link.
    pub fn event(&mut self, cx: &mut Context<'_>, event: Event) -> Option<Signal> {
        self.apply(cx, event, Reply::None)
    }

    pub fn handle_timeout(&mut self, cx: &mut Context<'_>) -> Option<Signal> {
        if self.timer.is_none_or(|at| at > cx.now) {
            return None;
        }
        self.timer = None;
        if self.state == State::Stopped {
            self.apply(cx, Event::Down, Reply::None);
            return self.apply(cx, Event::Up, Reply::None);
        }
        self.apply(cx, if self.tries > 0 { Event::TimeoutMore } else { Event::TimeoutLast }, Reply::None)
    }

    /// A packet from the peer. What the automaton does not know of (echoes' magic numbers, Protocol-Reject) is the
    /// link's business.
    pub fn handle_packet(&mut self, cx: &mut Context<'_>, packet: &Packet<'_>) -> Option<Signal> {
        if matches!(self.state, State::Initial | State::Starting) {
            return None;
        }
        match packet.code {
            code::CONFIGURE_REQUEST => self.configure_request(cx, packet),
            code::CONFIGURE_ACK => {
                let request = self.request.as_mut()?;
                // RFC 1661, section 5.2: an Ack must match our request in identifier and options.
                if request.answered || request.id != packet.id || request.options != packet.data {
                    return None;
                }
                request.answered = true;
                self.apply(cx, Event::Ack, Reply::To(packet))
            }
            code::CONFIGURE_NAK | code::CONFIGURE_REJECT => self.configure_nak(cx, packet),
            code::TERMINATE_REQUEST => self.apply(cx, Event::TerminateRequest, Reply::To(packet)),
            code::TERMINATE_ACK => self.apply(cx, Event::TerminateAck, Reply::To(packet)),
            code::CODE_REJECT => {
                // RFC 1661, section 5.6: losing one of the basic codes is fatal, an extension is not.
                let basic = packet.data.first().is_some_and(|c| (1..=code::CODE_REJECT).contains(c));
                self.apply(cx, if basic { Event::RejectFatal } else { Event::RejectMild }, Reply::None)
            }
            0 => self.apply(cx, Event::UnknownCode, Reply::To(packet)),
            c if c > P::LAST_CODE => self.apply(cx, Event::UnknownCode, Reply::To(packet)),
            code::ECHO_REQUEST | code::ECHO_REPLY | code::DISCARD_REQUEST => {
                self.apply(cx, Event::Echo, Reply::To(packet))
            }
            _ => None,
        }
    }

    fn configure_request(&mut self, cx: &mut Context<'_>, packet: &Packet<'_>) -> Option<Signal> {
        let options = option::parse(packet.data)?;
        match self.state {
            State::Initial | State::Starting | State::Closed | State::Closing | State::Stopping => {
                return self.apply(cx, Event::RequestGood, Reply::To(packet));
            }
            State::Opened => {
                let copy = self.acked.as_ref().is_some_and(|(id, data)| *id == packet.id && data == packet.data);
                if copy && self.copies < ABSORBED_COPIES {
                    self.copies += 1;
                    self.send(cx, code::CONFIGURE_ACK, packet.id, packet.data);
                    return None;
                }
                self.restart(cx);
            }
            State::Stopped => self.restart(cx),
            State::ReqSent | State::AckRcvd | State::AckSent => {}
        }
        let insist = self.naks_sent >= self.timers.max_failure;
        match self.policy.judge(&options, insist, cx.rng) {
            Verdict::Ack => {
                self.naks_sent = 0;
                self.acked = Some((packet.id, packet.data.to_vec()));
                let reply = Reply::Configure(code::CONFIGURE_ACK, packet.id, packet.data);
                self.apply(cx, Event::RequestGood, reply)
            }
            Verdict::Nak(options) => {
                self.naks_sent += 1;
                self.apply(cx, Event::RequestBad, Reply::Configure(code::CONFIGURE_NAK, packet.id, &options))
            }
            Verdict::Reject(options) => {
                self.apply(cx, Event::RequestBad, Reply::Configure(code::CONFIGURE_REJECT, packet.id, &options))
            }
            Verdict::Fail(reason) => self.fail(cx, reason),
        }
    }

    fn configure_nak(&mut self, cx: &mut Context<'_>, packet: &Packet<'_>) -> Option<Signal> {
        let options = option::parse(packet.data)?;
        let request = self.request.as_mut()?;
        if request.answered || request.id != packet.id {
            return None;
        }
        if matches!(self.state, State::ReqSent | State::AckRcvd | State::AckSent) {
            let result = if packet.code == code::CONFIGURE_NAK {
                self.policy.naked(&options, cx.rng)
            } else {
                // RFC 1661, section 5.4: a Reject quotes options of our request; else it is discarded.
                let sent = option::parse(&request.options)?;
                if options.is_empty() || !options.iter().all(|o| sent.contains(o)) {
                    return None;
                }
                self.policy.rejected(&options)
            };
            if let Err(reason) = result {
                return self.fail(cx, reason);
            }
        }
        if let Some(request) = self.request.as_mut() {
            request.answered = true;
        }
        self.apply(cx, Event::Nak, Reply::To(packet))
    }

    /// A negotiation begins anew.
    fn restart(&mut self, cx: &mut Context<'_>) {
        self.policy.reset(cx.rng);
        self.naks_sent = 0;
        self.acked = None;
        self.copies = 0;
    }

    fn fail(&mut self, cx: &mut Context<'_>, reason: DownReason) -> Option<Signal> {
        self.failure = Some(reason);
        self.apply(cx, Event::Close, Reply::None)
    }

    fn apply(&mut self, cx: &mut Context<'_>, event: Event, reply: Reply<'_>) -> Option<Signal> {
        let (actions, next) = transition(self.state, event)?;
        let negotiating = |s| matches!(s, State::ReqSent | State::AckRcvd | State::AckSent);
        // A request of the peer has reset the policy before it was judged.
        let judged = matches!(event, Event::RequestGood | Event::RequestBad);
        if negotiating(next) && !negotiating(self.state) && !judged {
            self.restart(cx);
        }
        let before = std::mem::replace(&mut self.state, next);
        let mut signal = None;
        for action in actions {
            match action {
                Action::LayerUp => signal = Some(Signal::Up),
                Action::LayerDown => signal = Some(Signal::Down),
                Action::LayerStarted => signal = Some(Signal::Started),
                Action::LayerFinished => signal = Some(Signal::Finished),
                Action::InitRestart => {
                    self.tries = match next {
                        State::Closing | State::Stopping => self.timers.max_terminate,
                        _ => self.timers.max_configure,
                    }
                }
                Action::ZeroRestart => {
                    self.tries = 0;
                    self.timer = Some(cx.now + self.timers.restart);
                }
                Action::SendRequest => self.send_request(cx, event == Event::TimeoutMore),
                Action::SendTerminate => {
                    self.start_timer(cx);
                    let id = self.next_id();
                    self.send(cx, code::TERMINATE_REQUEST, id, &[]);
                }
                Action::SendAck | Action::SendNak => {
                    if let Reply::Configure(code, id, options) = reply {
                        self.send(cx, code, id, options);
                    }
                }
                Action::SendTerminateAck => {
                    if let Reply::To(packet) = reply {
                        self.send(cx, code::TERMINATE_ACK, packet.id, &[]);
                    }
                }
                Action::SendCodeReject => {
                    if let Reply::To(packet) = reply {
                        self.send_code_reject(cx, packet);
                    }
                }
                Action::SendEchoReply => {
                    if let Reply::To(Packet { code: code::ECHO_REQUEST, id, data: [_, _, _, _, rest @ ..] }) = reply {
                        let mut data = self.policy.magic().to_be_bytes().to_vec();
                        data.extend_from_slice(rest);
                        self.send(cx, code::ECHO_REPLY, *id, &data);
                    }
                }
            }
        }
        match next {
            State::Stopped if P::PERSISTENT && negotiating(before) && event == Event::TimeoutLast => {
                self.timer = Some(cx.now + self.timers.patience() * self.pause);
                self.pause = (2 * self.pause).min(LONGEST_PAUSE);
            }
            // Only the peer's word that it does not want to is a reason to give up.
            State::Stopped if before == next && !matches!(event, Event::TerminateRequest | Event::RejectFatal) => {}
            State::Starting | State::Closed | State::Stopped => self.timer = None,
            State::Initial | State::Opened => (self.timer, self.pause) = (None, 1),
            State::Closing | State::Stopping | State::ReqSent | State::AckRcvd | State::AckSent => {}
        }
        signal
    }

    fn send_request(&mut self, cx: &mut Context<'_>, again: bool) {
        self.start_timer(cx);
        let options = self.policy.request();
        let id = match &self.request {
            // A retransmission keeps its identifier, so that a late answer to any copy counts.
            Some(request) if again && request.options == options => request.id,
            _ => self.next_id(),
        };
        self.send(cx, code::CONFIGURE_REQUEST, id, &options);
        self.request = Some(Request { id, options, answered: false });
    }

    fn send_code_reject(&mut self, cx: &mut Context<'_>, packet: &Packet<'_>) {
        let frame = packet.frame(P::PROTOCOL);
        let quoted = frame.get(2..).unwrap_or_default();
        let room = self.policy.peer_mru().saturating_sub(4);
        let id = self.next_id();
        self.send(cx, code::CODE_REJECT, id, quoted.get(..room).unwrap_or(quoted));
    }

    fn start_timer(&mut self, cx: &Context<'_>) {
        self.tries = self.tries.saturating_sub(1);
        self.timer = Some(cx.now + self.timers.restart);
    }

    /// The next identifier for a packet of ours.
    pub fn next_id(&mut self) -> u8 {
        self.last_id = self.last_id.wrapping_add(1);
        self.last_id
    }

    pub fn send(&self, cx: &mut Context<'_>, code: u8, id: u8, data: &[u8]) {
        cx.out.push_back(Packet { code, id, data }.frame(P::PROTOCOL));
    }
}

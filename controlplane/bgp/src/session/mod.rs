//! One connection to a neighbour: the state machine's actions carried out, its timers, and the octets in and out.
//!
//! A neighbour has one `Session` as long as it is enabled, and a second one while connections of both sides, or an old
//! and a new one, compete. What outlives a connection (routes, back-off, graceful restart) is the
//! [`speaker`](crate::speaker)'s.
//!
//! | module | holds |
//! |---|---|
//! | `framing` | messages out of the octet stream |
//! | `open` | our OPEN, and what the peer's must be like |
//! | `collision` | which of two connections stays |
//! | `timers` | the timers of a connection |
//! | `graceful` | helping a peer to restart |
//! | `refresh` | route refresh, either way |
//! | `limit` | maximum of prefixes |
//! | `tally` | what is counted |

pub(crate) mod collision;
pub(crate) mod framing;
pub(crate) mod graceful;
pub(crate) mod limit;
pub(crate) mod open;
pub(crate) mod refresh;
pub(crate) mod tally;
pub(crate) mod timers;

#[cfg(test)]
mod tests;

pub use collision::Direction;
pub use graceful::PeerRestart;
pub use limit::{MaxPrefix, MaxPrefixAction};
pub use tally::Messages;

use crate::fsm::{Action, Conditions, Event, Notify, State};
use crate::message::{self, Message, Negotiated, Notification, Open};
use crate::neighbour::{NeighbourConfig, NeighbourId};
use crate::speaker::{self, ConnId, Connect, Conns};
use crate::timer::jitter;
use framing::Framing;
use open::{Agreed, Local};
use rand_core::Rng;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use tally::Tally;
use timers::{Timer, Timers};

/// HoldTimer until the OPEN has come: "a large value" (RFC 4271, section 8.2.2).
const LARGE_HOLD: Duration = Duration::from_secs(240);
/// Where the type of a message is (RFC 4271, section 4.1).
const TYPE_OFFSET: usize = 18;
/// Cease that says no more.
const UNSPECIFIC: Notification = Notification { code: 6, subcode: 0, data: Vec::new() };
/// Least SendHoldTime (RFC 9687, section 3).
const MIN_SEND_HOLD: Duration = Duration::from_secs(480);

/// What a session needs of its surroundings to act.
pub(crate) struct Cx<'a> {
    pub now: Instant,
    pub neighbour: NeighbourId,
    pub remote: IpAddr,
    pub local: Local,
    pub config: &'a NeighbourConfig,
    pub tally: &'a mut Tally,
    pub rng: &'a mut dyn Rng,
    pub conns: &'a mut Conns,
    pub events: &'a mut VecDeque<speaker::Event>,
}

/// A TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tcp {
    None,
    Opening(ConnId),
    Open(ConnId),
}

/// One connection and its state machine.
#[derive(Debug)]
pub(crate) struct Session {
    state: State,
    direction: Direction,
    tcp: Tcp,
    /// Our address of the connection.
    local: Option<IpAddr>,
    timers: Timers,
    framing: Framing,
    /// Messages to send before any UPDATE: at most one of OPEN, KEEPALIVE and NOTIFICATION, and a few ROUTE-REFRESHes.
    control: VecDeque<Message>,
    ours: Option<Open>,
    agreed: Option<Agreed>,
    /// The NOTIFICATION that ended the last connection, if we sent it.
    notification: Option<Notification>,
    /// Type of the message that is being processed.
    in_hand: u8,
    /// There is something to send, and the driver was told.
    announced: bool,
}

impl Session {
    /// A session in Idle.
    pub fn new(direction: Direction) -> Self {
        Self {
            state: State::Idle,
            direction,
            tcp: Tcp::None,
            local: None,
            timers: Timers::default(),
            framing: Framing::default(),
            control: VecDeque::new(),
            ours: None,
            agreed: None,
            notification: None,
            in_hand: 0,
            announced: false,
        }
    }

    /// A session for a connection that comes while another session has one: it waits for it in Active.
    pub fn tracking(direction: Direction) -> Self {
        Self { state: State::Active, ..Self::new(direction) }
    }

    pub const fn state(&self) -> State {
        self.state
    }

    /// Who opened the connection.
    pub const fn direction(&self) -> Direction {
        self.direction
    }

    /// The connection, open or being opened.
    pub const fn conn(&self) -> Option<ConnId> {
        match self.tcp {
            Tcp::None => None,
            Tcp::Opening(conn) | Tcp::Open(conn) => Some(conn),
        }
    }

    /// What the OPENs came to, from OpenConfirm on.
    pub const fn agreed(&self) -> Option<&Agreed> {
        self.agreed.as_ref()
    }

    /// Whether the peer's OPEN is awaited.
    pub const fn awaits_open(&self) -> bool {
        self.agreed.is_none()
    }

    /// Our OPEN on this connection, as sent or as it would be sent now.
    pub fn ours(&self, cx: &Cx<'_>) -> Open {
        self.ours.clone().unwrap_or_else(|| open::build(&cx.local, cx.config))
    }

    /// The peer's OPEN was found good.
    pub fn agree(&mut self, agreed: Agreed) {
        self.agreed = Some(agreed);
    }

    /// When the earliest timer expires.
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// A timer that has expired.
    pub fn expired(&mut self, now: Instant) -> Option<Event> {
        self.timers.expired(now).map(Timer::event)
    }

    /// Whether a valid OPEN comes before ours was sent.
    pub const fn delays_open(&self) -> bool {
        self.timers.running(Timer::DelayOpen)
    }

    /// Starts the IdleHoldTimer.
    pub fn hold_idle(&mut self, until: Option<Instant>) {
        self.timers.set(Timer::IdleHold, until);
    }

    /// The IdleHoldTimer, while it runs.
    pub const fn idle_until(&self) -> Option<Instant> {
        self.timers.get(Timer::IdleHold)
    }

    /// Our address of the connection.
    pub const fn local(&self) -> Option<IpAddr> {
        self.local
    }

    /// The connection that was being opened is open.
    pub fn connected(&mut self, conn: ConnId, local: IpAddr, cx: &mut Cx<'_>) {
        (self.tcp, self.local) = (Tcp::Open(conn), Some(local));
        self.step(Event::TcpCrAcked, None, cx);
    }

    /// The peer has opened this connection, and the session takes it.
    pub fn accept(&mut self, conn: ConnId, local: IpAddr, cx: &mut Cx<'_>) {
        (self.tcp, self.local) = (Tcp::Open(conn), Some(local));
        self.direction = Direction::Incoming;
        self.step(Event::TcpConnectionConfirmed, None, cx);
    }

    /// The connection is gone, or could not be opened.
    pub fn tcp_failed(&mut self, cx: &mut Cx<'_>) {
        self.conn().into_iter().for_each(|conn| cx.conns.close(conn));
        self.tcp = Tcp::None;
        self.forget();
        self.step(Event::TcpConnectionFails, None, cx);
    }

    /// The NOTIFICATION that was sent with the last event.
    pub fn take_notification(&mut self) -> Option<Notification> {
        self.notification.take()
    }

    /// The peer has opened a new connection, and this one is dead.
    pub fn replaced(&mut self, cx: &mut Cx<'_>) {
        self.control.clear();
        self.drop_connection(cx);
        self.tcp_failed(cx);
    }

    /// Ends the connection without a word, for another one that takes its place.
    pub fn abandon(&mut self, cx: &mut Cx<'_>) {
        self.control.clear();
        self.drop_connection(cx);
        self.timers = Timers::default();
        self.state = State::Idle;
    }

    /// Takes octets of the connection.
    pub fn push(&mut self, octets: &[u8]) {
        self.framing.push(octets);
    }

    /// The next message that has come.
    pub fn next_message(&mut self) -> Result<Option<Message>, Notification> {
        let before = Negotiated::default();
        let negotiated = self.agreed.as_ref().map_or(&before, |agreed| &agreed.negotiated);
        let Some(octets) = self.framing.next(negotiated.max_message())? else { return Ok(None) };
        self.in_hand = octets.get(TYPE_OFFSET).copied().unwrap_or_default();
        message::decode(octets, negotiated).map(Some)
    }

    /// An event happens. `given` is the NOTIFICATION to send where the event calls for one that depends on its cause.
    pub fn step(&mut self, event: Event, given: Option<&Notification>, cx: &mut Cx<'_>) {
        let conditions = Conditions {
            passive: cx.config.passive,
            damp: cx.config.damp_peer_oscillations,
            idle_hold_running: self.timers.running(Timer::IdleHold),
            delay_open: cx.config.delay_open.is_some(),
            delay_open_running: self.timers.running(Timer::DelayOpen),
            notification_without_open: cx.config.notification_without_open,
            collision_in_established: cx.config.collision_in_established,
        };
        let from = self.state;
        let (to, actions) = from.next(event, &conditions);
        self.state = to;
        for action in actions {
            self.perform(action, from, event, given, cx);
        }
    }

    fn perform(&mut self, action: Action, from: State, event: Event, given: Option<&Notification>, cx: &mut Cx<'_>) {
        let after = |time: Duration| cx.now.checked_add(time);
        match action {
            Action::ReleaseResources => {
                self.timers = Timers::default();
                self.framing.clear();
            }
            Action::ZeroConnectRetryCounter => cx.tally.retries = 0,
            Action::IncrementConnectRetryCounter => cx.tally.retries = cx.tally.retries.saturating_add(1),
            Action::StartConnectRetryTimer => {
                let time = jitter(cx.config.connect_retry.after(cx.tally.attempts), cx.rng);
                let at = if cx.config.passive { None } else { cx.now.checked_add(time) };
                self.timers.set(Timer::ConnectRetry, at);
            }
            Action::StopConnectRetryTimer => self.timers.set(Timer::ConnectRetry, None),
            Action::StartDelayOpenTimer => self.timers.set(Timer::DelayOpen, cx.config.delay_open.and_then(after)),
            Action::StopDelayOpenTimer => self.timers.set(Timer::DelayOpen, None),
            Action::StopIdleHoldTimer => self.timers.set(Timer::IdleHold, None),
            Action::StartHoldTimerLarge => self.timers.set(Timer::Hold, after(LARGE_HOLD)),
            Action::StartHoldTimer => self.timers.set(Timer::Hold, self.hold().and_then(after)),
            Action::StartKeepaliveTimer => self.start_keepalive(cx),
            Action::StartSendHoldTimer => self.start_send_hold(cx),
            Action::Connect => self.connect(cx),
            Action::DropConnection => self.drop_connection(cx),
            // A connection begins with nothing, see `drop_connection`. A second one, or one that comes in Idle, is the
            // neighbour's to track or to reject, and is not handed in. It has the UPDATE and sees the routes' session end.
            Action::InitializeResources
            | Action::TrackConnection
            | Action::RejectConnection
            | Action::DeleteRoutes
            | Action::ProcessUpdate => {}
            Action::SendOpen => {
                let ours = open::build(&cx.local, cx.config);
                self.ours = Some(ours.clone());
                self.send(Message::Open(ours));
            }
            Action::SendKeepalive => self.send_once(Message::KeepAlive),
            Action::SendNotification(notify) => {
                let notification = self.notification(notify, from, event, given);
                self.notification = Some(notification.clone());
                self.send(Message::Notification(notification));
            }
            Action::Damp => cx.tally.oscillations = cx.tally.oscillations.saturating_add(1),
        }
    }

    fn hold(&self) -> Option<Duration> {
        self.agreed.as_ref().and_then(|agreed| agreed.hold)
    }

    /// A third of the hold time, jittered (RFC 4271, sections 4.4 and 10).
    fn start_keepalive(&mut self, cx: &mut Cx<'_>) {
        let at = self.hold().and_then(|hold| cx.now.checked_add(jitter(hold / 3, cx.rng)));
        self.timers.set(Timer::Keepalive, at);
    }

    fn start_send_hold(&mut self, cx: &Cx<'_>) {
        let time = |hold: Duration| cx.config.send_hold.unwrap_or(MIN_SEND_HOLD.max(hold * 2));
        self.timers.set(Timer::SendHold, self.hold().and_then(|hold| cx.now.checked_add(time(hold))));
    }

    fn connect(&mut self, cx: &mut Cx<'_>) {
        let conn = cx.conns.open(cx.neighbour);
        cx.tally.attempts = cx.tally.attempts.saturating_add(1);
        self.direction = Direction::Outgoing;
        self.tcp = Tcp::Opening(conn);
        cx.events.push_back(speaker::Event::Connect(Connect {
            neighbour: cx.neighbour,
            conn,
            local: cx.config.local,
            remote: (cx.remote, cx.config.port).into(),
            tcp: cx.config.tcp.clone(),
        }));
    }

    /// What still waits goes out with the end of the connection.
    fn drop_connection(&mut self, cx: &mut Cx<'_>) {
        let conn = self.conn();
        let mut last = Vec::new();
        if let Tcp::Open(_) = self.tcp {
            let negotiated = self.negotiated();
            self.control.iter().for_each(|message| message.encode(&negotiated, &mut last));
            cx.tally.sent.count_all(&last);
        }
        self.tcp = Tcp::None;
        self.forget();
        for timer in [Timer::Hold, Timer::Keepalive, Timer::SendHold] {
            self.timers.set(timer, None);
        }
        if let Some(conn) = conn {
            cx.conns.close(conn);
            cx.events.push_back(speaker::Event::Close { conn, last });
        }
    }

    fn forget(&mut self) {
        self.framing.clear();
        self.control.clear();
        (self.ours, self.agreed, self.announced) = (None, None, false);
    }

    fn negotiated(&self) -> Negotiated {
        self.agreed.as_ref().map(|agreed| agreed.negotiated.clone()).unwrap_or_default()
    }

    /// Puts a message in the queue.
    pub fn send(&mut self, message: Message) {
        self.control.push_back(message);
    }

    /// Puts a message in the queue that need not be there twice.
    pub fn send_once(&mut self, message: Message) {
        if !self.control.contains(&message) {
            self.send(message);
        }
    }

    /// Whether a message waits in the queue.
    pub fn has_control(&self) -> bool {
        !self.control.is_empty()
    }

    /// The next message of the queue, encoded.
    pub fn next_control(&mut self) -> Option<Vec<u8>> {
        let message = self.control.pop_front()?;
        let mut octets = Vec::new();
        message.encode(&self.negotiated(), &mut octets);
        Some(octets)
    }

    /// Messages were handed to the driver: the peer will hear of us, and we are able to send.
    pub fn sent(&mut self, octets: &[u8], cx: &mut Cx<'_>) {
        cx.tally.sent.count_all(octets);
        if self.timers.running(Timer::Keepalive) {
            self.start_keepalive(cx);
        }
        if self.timers.running(Timer::SendHold) {
            self.start_send_hold(cx);
        }
    }

    /// The connection to tell the driver of, once, when there is something to send.
    pub fn announce(&mut self, pending: bool) -> Option<ConnId> {
        match self.tcp {
            Tcp::Open(conn) if pending && !std::mem::replace(&mut self.announced, true) => Some(conn),
            _ => None,
        }
    }

    /// The driver has taken all there was.
    pub fn drained(&mut self) {
        self.announced = false;
    }

    /// The NOTIFICATION for an event. A Finite State Machine Error names the message that was not expected, or 0 for a
    /// timer (RFC 6608).
    fn notification(&self, notify: Notify, from: State, event: Event, given: Option<&Notification>) -> Notification {
        let unexpected = if event.is_timer() { 0 } else { self.in_hand };
        match (notify, from) {
            (Notify::Cease | Notify::MessageError, _) => given.cloned().unwrap_or(UNSPECIFIC),
            (Notify::HoldTimerExpired, _) => Notification::hold_timer_expired(),
            (Notify::SendHoldTimerExpired, _) => Notification::send_hold_timer_expired(),
            (Notify::FsmError, State::OpenSent) => Notification::unexpected_in_open_sent(unexpected),
            (Notify::FsmError, State::OpenConfirm) => Notification::unexpected_in_open_confirm(unexpected),
            (Notify::FsmError, _) => Notification::unexpected_in_established(unexpected),
        }
    }
}

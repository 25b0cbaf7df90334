//! The finite state machine of RFC 4271, section 8, as a pure function: a [`State`] and an [`Event`] give the next
//! state and what to do. One machine belongs to one connection (section 8.2.1); [`session`](crate::session) carries
//! the actions out and [`speaker`](crate::speaker) owns the machines.
//!
//! ```text
//!            start                    TCP up: OPEN               OPEN: KEEPALIVE             KEEPALIVE
//!   Idle ───────────► Connect ──────────────────────► OpenSent ────────────────► OpenConfirm ─────────► Established
//!    ▲ │ passive        │ ▲ retry                        │ ▲                        │                       │
//!    │ └──────────────► Active ──────────────────────────┼─┘ TCP up: OPEN           │                       │
//!    │                    ▲  TCP failed                  │                          │                       │
//!    │                    └──────────────────────────────┤                          │                       │
//!    └────────────── stop, error, timer, NOTIFICATION ───┴──────────────────────────┴───────────────────────┘
//! ```
//!
//! With DelayOpen the OPEN waits in Connect or Active for the DelayOpenTimer, or for the peer's OPEN. Listening never
//! stops and is no action. Collisions (section 6.8) are found by the caller before it hands in [`Event::BgpOpen`]: the
//! machine that loses gets [`Event::OpenCollisionDump`].

#[cfg(test)]
mod tests;

use Action as A;
use Event as E;
use State as S;

/// State of a connection (RFC 4271, section 8.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Nothing is tried, and incoming connections are refused.
    Idle,
    /// A connection is being opened, or waits for its DelayOpenTimer.
    Connect,
    /// Waiting for the peer to connect, or for the next attempt.
    Active,
    /// OPEN sent.
    OpenSent,
    /// OPEN received and answered with a KEEPALIVE.
    OpenConfirm,
    /// Routes are exchanged.
    Established,
}

/// What happens to it; the numbers are those of RFC 4271, section 8.1, and RFC 9687.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The operator starts the session.
    ManualStart = 1,
    /// The operator stops it.
    ManualStop = 2,
    /// The system starts it.
    AutomaticStart = 3,
    /// The operator starts it, and the peer has to connect.
    ManualStartPassive = 4,
    /// The system starts it, and the peer has to connect.
    AutomaticStartPassive = 5,
    /// The system starts it if the IdleHoldTimer lets it.
    AutomaticStartDamped = 6,
    /// Both of the above.
    AutomaticStartDampedPassive = 7,
    /// The system stops it (maximum of prefixes, configuration).
    AutomaticStop = 8,
    /// ConnectRetryTimer_Expires.
    ConnectRetryTimerExpires = 9,
    /// HoldTimer_Expires.
    HoldTimerExpires = 10,
    /// KeepaliveTimer_Expires.
    KeepaliveTimerExpires = 11,
    /// DelayOpenTimer_Expires.
    DelayOpenTimerExpires = 12,
    /// IdleHoldTimer_Expires.
    IdleHoldTimerExpires = 13,
    /// TcpConnection_Valid: the peer asks for a connection.
    TcpConnectionValid = 14,
    /// Tcp_CR_Invalid: the peer asks with an address or port that is not its own.
    TcpCrInvalid = 15,
    /// Tcp_CR_Acked: our connection is open.
    TcpCrAcked = 16,
    /// TcpConnectionConfirmed: the peer's connection is open.
    TcpConnectionConfirmed = 17,
    /// TcpConnectionFails: closed by the peer or the network, or it never opened.
    TcpConnectionFails = 18,
    /// BGPOpen: a valid OPEN.
    BgpOpen = 19,
    /// BGPOpen with the DelayOpenTimer running.
    BgpOpenDelayed = 20,
    /// BGPHeaderErr: marker, length or type of a message is wrong.
    BgpHeaderErr = 21,
    /// BGPOpenMsgErr: an OPEN that cannot be accepted.
    BgpOpenMsgErr = 22,
    /// OpenCollisionDump: of two connections to the peer, this one goes.
    OpenCollisionDump = 23,
    /// NotifMsgVerErr: NOTIFICATION, unsupported version number.
    NotifMsgVerErr = 24,
    /// NotifMsg: any other NOTIFICATION.
    NotifMsg = 25,
    /// KeepAliveMsg.
    KeepAliveMsg = 26,
    /// UpdateMsg: a valid UPDATE; a ROUTE-REFRESH outside Established is handled like one.
    UpdateMsg = 27,
    /// UpdateMsgErr: an UPDATE that RFC 7606 answers with a session reset.
    UpdateMsgErr = 28,
    /// SendHoldTimer_Expires (RFC 9687, section 3.1): nothing could be sent for too long.
    SendHoldTimerExpires = 29,
}

impl Event {
    /// Whether a timer is the cause.
    pub const fn is_timer(self) -> bool {
        matches!(
            self,
            E::ConnectRetryTimerExpires
                | E::HoldTimerExpires
                | E::KeepaliveTimerExpires
                | E::DelayOpenTimerExpires
                | E::IdleHoldTimerExpires
                | E::SendHoldTimerExpires
        )
    }
}

/// Session attributes and timers that the text makes decisions depend on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// PassiveTcpEstablishment.
    pub passive: bool,
    /// DampPeerOscillations.
    pub damp: bool,
    /// The IdleHoldTimer is running.
    pub idle_hold_running: bool,
    /// DelayOpen.
    pub delay_open: bool,
    /// The DelayOpenTimer is running.
    pub delay_open_running: bool,
    /// SendNOTIFICATIONwithoutOPEN.
    pub notification_without_open: bool,
    /// CollisionDetectEstablishedState.
    pub collision_in_established: bool,
}

/// What to do about an event, in the order given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Initialize the resources of the connection.
    InitializeResources,
    /// Release them, timers and unread octets included.
    ReleaseResources,
    /// ConnectRetryCounter becomes 0.
    ZeroConnectRetryCounter,
    /// ConnectRetryCounter grows by 1.
    IncrementConnectRetryCounter,
    /// (Re)start the ConnectRetryTimer.
    StartConnectRetryTimer,
    /// Stop it.
    StopConnectRetryTimer,
    /// Start the DelayOpenTimer.
    StartDelayOpenTimer,
    /// Stop it.
    StopDelayOpenTimer,
    /// Stop the IdleHoldTimer.
    StopIdleHoldTimer,
    /// Set the HoldTimer to a large value: four minutes.
    StartHoldTimerLarge,
    /// (Re)start the HoldTimer with the negotiated time, or leave it off when that is zero.
    StartHoldTimer,
    /// (Re)start the KeepaliveTimer, or leave it off when the hold time is zero.
    StartKeepaliveTimer,
    /// Start the SendHoldTimer, or leave it off when the hold time is zero (RFC 9687).
    StartSendHoldTimer,
    /// Open a TCP connection to the peer.
    Connect,
    /// Drop the TCP connection, or the attempt to open one, with its HoldTimer, KeepaliveTimer and SendHoldTimer.
    DropConnection,
    /// The event's TCP connection is a second one: track it until its OPEN (section 6.8).
    TrackConnection,
    /// Refuse the event's TCP connection.
    RejectConnection,
    /// Send OPEN.
    SendOpen,
    /// Send KEEPALIVE.
    SendKeepalive,
    /// Send NOTIFICATION.
    SendNotification(Notify),
    /// Delete the routes of this connection, or keep them as stale (RFC 4724, section 4.2).
    DeleteRoutes,
    /// Process the UPDATE.
    ProcessUpdate,
    /// Perform peer oscillation damping: the next start waits longer.
    Damp,
}

/// Which NOTIFICATION to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notify {
    /// Cease, with the subcode that the cause of the event asks for (RFC 4486).
    Cease,
    /// Hold Timer Expired.
    HoldTimerExpired,
    /// Send Hold Timer Expired (RFC 9687).
    SendHoldTimerExpired,
    /// Finite State Machine Error, with the subcode of the state (RFC 6608).
    FsmError,
    /// What checking the message found.
    MessageError,
}

impl State {
    /// All states.
    pub const ALL: [Self; 6] = [S::Idle, S::Connect, S::Active, S::OpenSent, S::OpenConfirm, S::Established];

    /// The next state, and what to do.
    pub fn next(self, event: Event, c: &Conditions) -> (State, Vec<Action>) {
        match (self, event) {
            (S::Idle, E::ManualStart | E::AutomaticStart) => start(false, true),
            (S::Idle, E::ManualStartPassive | E::AutomaticStartPassive) => start(true, true),
            // The back-off lives on in the ConnectRetryCounter.
            (S::Idle, E::AutomaticStartDamped) if !c.idle_hold_running => start(false, false),
            (S::Idle, E::AutomaticStartDampedPassive) if !c.idle_hold_running => start(true, false),
            (S::Idle, E::AutomaticStartDamped | E::AutomaticStartDampedPassive) => (S::Idle, vec![]),
            (S::Idle, E::IdleHoldTimerExpires) => start(c.passive, false),
            (S::Idle, E::TcpConnectionValid | E::TcpCrInvalid | E::TcpCrAcked | E::TcpConnectionConfirmed) => {
                (S::Idle, vec![A::RejectConnection])
            }
            (
                S::Idle,
                E::ManualStop
                | E::AutomaticStop
                | E::ConnectRetryTimerExpires
                | E::HoldTimerExpires
                | E::KeepaliveTimerExpires
                | E::DelayOpenTimerExpires
                | E::TcpConnectionFails
                | E::BgpOpen
                | E::BgpOpenDelayed
                | E::BgpHeaderErr
                | E::BgpOpenMsgErr
                | E::OpenCollisionDump
                | E::NotifMsgVerErr
                | E::NotifMsg
                | E::KeepAliveMsg
                | E::UpdateMsg
                | E::UpdateMsgErr
                | E::SendHoldTimerExpires,
            ) => (S::Idle, vec![]),

            (
                S::Connect | S::Active | S::OpenSent | S::OpenConfirm | S::Established,
                E::ManualStart
                | E::AutomaticStart
                | E::ManualStartPassive
                | E::AutomaticStartPassive
                | E::AutomaticStartDamped
                | E::AutomaticStartDampedPassive,
            ) => (self, vec![]),

            (S::Connect, E::ManualStop) => stop(None),
            (S::Active, E::ManualStop) => {
                stop((c.delay_open_running && c.notification_without_open).then_some(Notify::Cease))
            }
            (S::OpenSent | S::OpenConfirm | S::Established, E::ManualStop) => stop_after(self, Notify::Cease),

            (S::Connect, E::ConnectRetryTimerExpires) => {
                (S::Connect, vec![A::DropConnection, A::StartConnectRetryTimer, A::StopDelayOpenTimer, A::Connect])
            }
            (S::Active, E::ConnectRetryTimerExpires) => (S::Connect, vec![A::StartConnectRetryTimer, A::Connect]),

            (S::Connect | S::Active, E::DelayOpenTimerExpires) => (
                S::OpenSent,
                vec![
                    A::StopConnectRetryTimer,
                    A::StopDelayOpenTimer,
                    A::InitializeResources,
                    A::SendOpen,
                    A::StartHoldTimerLarge,
                ],
            ),
            (S::Connect | S::Active, E::TcpConnectionValid) => (self, vec![]),
            (S::Connect | S::Active, E::TcpCrInvalid) => (self, vec![A::RejectConnection]),
            (S::Connect | S::Active, E::TcpCrAcked | E::TcpConnectionConfirmed) if c.delay_open => {
                (self, vec![A::StopConnectRetryTimer, A::StartDelayOpenTimer])
            }
            (S::Connect | S::Active, E::TcpCrAcked | E::TcpConnectionConfirmed) => (
                S::OpenSent,
                vec![A::StopConnectRetryTimer, A::InitializeResources, A::SendOpen, A::StartHoldTimerLarge],
            ),
            (S::Connect, E::TcpConnectionFails) if c.delay_open_running => {
                (S::Active, vec![A::StartConnectRetryTimer, A::StopDelayOpenTimer])
            }
            (S::Connect, E::TcpConnectionFails) => {
                (S::Idle, vec![A::StopConnectRetryTimer, A::DropConnection, A::ReleaseResources])
            }
            (S::Active, E::TcpConnectionFails) => {
                let mut actions = vec![
                    A::StartConnectRetryTimer,
                    A::StopDelayOpenTimer,
                    A::ReleaseResources,
                    A::IncrementConnectRetryCounter,
                ];
                actions.extend(c.damp.then_some(A::Damp));
                (S::Idle, actions)
            }
            (S::Connect | S::Active, E::BgpOpenDelayed) => (
                S::OpenConfirm,
                vec![
                    A::StopConnectRetryTimer,
                    A::InitializeResources,
                    A::StopDelayOpenTimer,
                    A::SendOpen,
                    A::SendKeepalive,
                    A::StartKeepaliveTimer,
                    A::StartHoldTimer,
                ],
            ),
            (S::Connect | S::Active, E::BgpHeaderErr | E::BgpOpenMsgErr) if c.notification_without_open => {
                fail(self, Some(Notify::MessageError), c)
            }
            (S::Connect | S::Active, E::NotifMsgVerErr) if c.delay_open_running => version_error(),
            (
                S::Connect | S::Active,
                E::BgpHeaderErr
                | E::BgpOpenMsgErr
                | E::NotifMsgVerErr
                | E::AutomaticStop
                | E::HoldTimerExpires
                | E::KeepaliveTimerExpires
                | E::IdleHoldTimerExpires
                | E::BgpOpen
                | E::OpenCollisionDump
                | E::NotifMsg
                | E::KeepAliveMsg
                | E::UpdateMsg
                | E::UpdateMsgErr
                | E::SendHoldTimerExpires,
            ) => fail(self, None, c),

            (S::OpenSent | S::OpenConfirm | S::Established, E::AutomaticStop) => fail(self, Some(Notify::Cease), c),
            (S::OpenSent | S::OpenConfirm, E::OpenCollisionDump) => fail(self, Some(Notify::Cease), c),
            (S::Established, E::OpenCollisionDump) if c.collision_in_established => fail(self, Some(Notify::Cease), c),
            (S::Established, E::OpenCollisionDump) => (self, vec![]),
            (S::OpenSent | S::OpenConfirm | S::Established, E::HoldTimerExpires) => {
                fail(self, Some(Notify::HoldTimerExpired), c)
            }
            (S::OpenSent | S::OpenConfirm | S::Established, E::TcpCrInvalid) => (self, vec![A::RejectConnection]),
            (
                S::OpenSent | S::OpenConfirm | S::Established,
                E::TcpConnectionValid | E::TcpCrAcked | E::TcpConnectionConfirmed,
            ) => (self, vec![A::TrackConnection]),
            (S::OpenSent | S::OpenConfirm, E::BgpHeaderErr | E::BgpOpenMsgErr) => {
                fail(self, Some(Notify::MessageError), c)
            }
            (S::OpenSent | S::OpenConfirm, E::NotifMsgVerErr) => version_error(),

            (S::OpenSent, E::TcpConnectionFails) => (S::Active, vec![A::DropConnection, A::StartConnectRetryTimer]),
            (S::OpenSent, E::BgpOpen) => (
                S::OpenConfirm,
                vec![
                    A::StopDelayOpenTimer,
                    A::StopConnectRetryTimer,
                    A::SendKeepalive,
                    A::StartKeepaliveTimer,
                    A::StartHoldTimer,
                ],
            ),
            (
                S::OpenSent,
                E::ConnectRetryTimerExpires
                | E::KeepaliveTimerExpires
                | E::DelayOpenTimerExpires
                | E::IdleHoldTimerExpires
                | E::BgpOpenDelayed
                | E::NotifMsg
                | E::KeepAliveMsg
                | E::UpdateMsg
                | E::UpdateMsgErr
                | E::SendHoldTimerExpires,
            ) => fail(self, Some(Notify::FsmError), c),

            (S::OpenConfirm | S::Established, E::KeepaliveTimerExpires) => {
                (self, vec![A::SendKeepalive, A::StartKeepaliveTimer])
            }
            (S::OpenConfirm, E::TcpConnectionFails | E::NotifMsg) => fail(self, None, c),
            // It collides with nothing, or it would be OpenCollisionDump.
            (S::OpenConfirm | S::Established, E::BgpOpen) => (self, vec![]),
            (S::OpenConfirm, E::KeepAliveMsg) => (S::Established, vec![A::StartHoldTimer, A::StartSendHoldTimer]),
            (
                S::OpenConfirm,
                E::ConnectRetryTimerExpires
                | E::DelayOpenTimerExpires
                | E::IdleHoldTimerExpires
                | E::BgpOpenDelayed
                | E::UpdateMsg
                | E::UpdateMsgErr
                | E::SendHoldTimerExpires,
            ) => fail(self, Some(Notify::FsmError), c),

            // The text has no damping where the peer ends an established session.
            (S::Established, E::NotifMsgVerErr | E::NotifMsg | E::TcpConnectionFails) => {
                fail(self, None, &Conditions { damp: false, ..*c })
            }
            (S::Established, E::KeepAliveMsg) => (self, vec![A::StartHoldTimer]),
            (S::Established, E::UpdateMsg) => (self, vec![A::ProcessUpdate, A::StartHoldTimer]),
            (S::Established, E::UpdateMsgErr) => fail(self, Some(Notify::MessageError), c),
            (S::Established, E::SendHoldTimerExpires) => fail(self, Some(Notify::SendHoldTimerExpired), c),
            // An error in a header is what the peer should hear of (section 6.1), though the text of the state machine
            // has a Finite State Machine Error for it.
            (S::Established, E::BgpHeaderErr) => fail(self, Some(Notify::MessageError), c),
            (
                S::Established,
                E::ConnectRetryTimerExpires
                | E::DelayOpenTimerExpires
                | E::IdleHoldTimerExpires
                | E::BgpOpenDelayed
                | E::BgpOpenMsgErr,
            ) => fail(self, Some(Notify::FsmError), c),
        }
    }

    /// Name as RFC 4271 spells it.
    pub const fn name(self) -> &'static str {
        match self {
            S::Idle => "Idle",
            S::Connect => "Connect",
            S::Active => "Active",
            S::OpenSent => "OpenSent",
            S::OpenConfirm => "OpenConfirm",
            S::Established => "Established",
        }
    }
}

/// Leaves Idle, for Connect or for Active. A damped start goes on counting.
fn start(passive: bool, fresh: bool) -> (State, Vec<Action>) {
    let mut actions = vec![A::StopIdleHoldTimer, A::InitializeResources];
    actions.extend(fresh.then_some(A::ZeroConnectRetryCounter));
    actions.push(A::StartConnectRetryTimer);
    if passive {
        return (S::Active, actions);
    }
    actions.push(A::Connect);
    (S::Connect, actions)
}

/// The operator's stop, from where there are no routes yet.
fn stop(notify: Option<Notify>) -> (State, Vec<Action>) {
    let mut actions: Vec<_> = notify.map(A::SendNotification).into_iter().collect();
    actions.extend([A::ReleaseResources, A::DropConnection, A::ZeroConnectRetryCounter, A::StopConnectRetryTimer]);
    (S::Idle, actions)
}

/// The operator's stop, once an OPEN was sent.
fn stop_after(state: State, notify: Notify) -> (State, Vec<Action>) {
    let (next, mut actions) = stop(Some(notify));
    if state == S::Established {
        actions.insert(1, A::DeleteRoutes);
    }
    (next, actions)
}

/// To Idle for an error. The text leaves the routes out where the HoldTimer expires; they go in any case.
fn fail(state: State, notify: Option<Notify>, c: &Conditions) -> (State, Vec<Action>) {
    let mut actions: Vec<_> = notify.map(A::SendNotification).into_iter().collect();
    actions.push(A::StopConnectRetryTimer);
    match state {
        S::Connect | S::Active => actions.push(A::StopDelayOpenTimer),
        S::Established => actions.push(A::DeleteRoutes),
        S::Idle | S::OpenSent | S::OpenConfirm => {}
    }
    actions.extend([A::ReleaseResources, A::DropConnection, A::IncrementConnectRetryCounter]);
    actions.extend(c.damp.then_some(A::Damp));
    (S::Idle, actions)
}

/// The peer speaks another version of BGP: neither counted nor damped.
fn version_error() -> (State, Vec<Action>) {
    (S::Idle, vec![A::StopConnectRetryTimer, A::StopDelayOpenTimer, A::ReleaseResources, A::DropConnection])
}

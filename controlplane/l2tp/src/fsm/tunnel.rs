//! The tunnel (RFC 2661, section 7.2.1).
//!
//! ```text
//!  LAC   Idle ──open──► WaitReply ──SCCRP──► Established ─┐ close, or the peer erred:     ack, or no answer
//!         │                                     ▲         ├──── StopCCN ──► Closing ──────────┐
//!  LNS    └──SCCRQ──► WaitConnected ──SCCCN─────┘         │                                   ▼
//!                                                         └──── peer's StopCCN ──────────► Stopped
//! ```
//!
//! Closing and Stopped are RFC 2661's idle with the reliable channel kept working for the full retransmission
//! interval (section 5.8): until our StopCCN is acknowledged, and to acknowledge repeats of the peer's.

/// State of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing happened yet.
    Idle,
    /// LAC: SCCRQ sent (wait-ctl-reply).
    WaitReply,
    /// LNS: SCCRP sent (wait-ctl-conn).
    WaitConnected,
    /// Calls may be made.
    Established,
    /// Our StopCCN waits for its acknowledgement.
    Closing,
    /// Over; repeats are acknowledged.
    Stopped,
}

/// What happens to it. Messages have been found acceptable; those that were not are `Refuse`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// LAC: our side wants a tunnel.
    Open,
    /// SCCRQ received.
    Sccrq,
    /// SCCRP received.
    Sccrp,
    /// SCCCN received.
    Scccn,
    /// HELLO received.
    Hello,
    /// A message about a call received.
    Call,
    /// StopCCN received.
    StopCcn,
    /// Our side closes it, or refuses what the peer sent.
    Close,
    /// Everything we sent is acknowledged.
    Flushed,
    /// The peer does not answer.
    Dead,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    None,
    /// Send SCCRQ.
    Request,
    /// Send SCCRP.
    Reply,
    /// Send SCCCN, then place the call.
    Connect,
    /// Wait for the call.
    Up,
    /// Hand the message to the session.
    Session,
    /// Send StopCCN for the reason at hand.
    Stop,
    /// Send StopCCN, result 7: this message has no place here.
    StopFsm,
    /// The tunnel is down, once the acknowledgement we owe is on its way.
    DownAfterAck,
    /// The tunnel is down.
    Down,
    /// The tunnel is down, and nothing of it is kept.
    DownNow,
    /// The message is dropped and counted.
    Ignore,
}

impl State {
    /// The next state, and what to do.
    pub fn next(self, event: Event) -> (State, Action) {
        use Action as A;
        use Event as E;
        use State as S;
        match (self, event) {
            (S::Idle, E::Open) => (S::WaitReply, A::Request),
            (S::Idle, E::Sccrq) => (S::WaitConnected, A::Reply),
            (S::Idle, E::Close) => (S::Closing, A::Stop),
            (S::Idle, E::Sccrp | E::Scccn | E::Hello | E::Call | E::StopCcn) => (S::Idle, A::Ignore),
            (S::Idle, E::Flushed) => (S::Idle, A::None),
            (S::Idle, E::Dead) => (S::Stopped, A::DownNow),

            (S::WaitReply, E::Sccrp) => (S::Established, A::Connect),
            (S::WaitReply, E::Sccrq | E::Scccn | E::Call) => (S::Closing, A::StopFsm),
            (S::WaitReply, E::StopCcn) => (S::Stopped, A::DownAfterAck),
            (S::WaitReply, E::Close) => (S::Closing, A::Stop),
            (S::WaitReply, E::Open | E::Hello | E::Flushed) => (S::WaitReply, A::None),
            (S::WaitReply, E::Dead) => (S::Stopped, A::DownNow),

            (S::WaitConnected, E::Scccn) => (S::Established, A::Up),
            (S::WaitConnected, E::Sccrq | E::Sccrp | E::Call) => (S::Closing, A::StopFsm),
            (S::WaitConnected, E::StopCcn) => (S::Stopped, A::DownAfterAck),
            (S::WaitConnected, E::Close) => (S::Closing, A::Stop),
            (S::WaitConnected, E::Open | E::Hello | E::Flushed) => (S::WaitConnected, A::None),
            (S::WaitConnected, E::Dead) => (S::Stopped, A::DownNow),

            (S::Established, E::Call) => (S::Established, A::Session),
            (S::Established, E::Sccrq | E::Sccrp | E::Scccn) => (S::Closing, A::StopFsm),
            (S::Established, E::StopCcn) => (S::Stopped, A::DownAfterAck),
            (S::Established, E::Close) => (S::Closing, A::Stop),
            (S::Established, E::Open | E::Hello | E::Flushed) => (S::Established, A::None),
            (S::Established, E::Dead) => (S::Stopped, A::DownNow),

            // Our StopCCN crossed theirs: each acknowledges the other's.
            (S::Closing, E::StopCcn) => (S::Stopped, A::DownAfterAck),
            (S::Closing, E::Flushed) => (S::Stopped, A::Down),
            (S::Closing, E::Dead) => (S::Stopped, A::DownNow),
            (S::Closing, E::Open | E::Close) => (S::Closing, A::None),
            (S::Closing, E::Sccrq | E::Sccrp | E::Scccn | E::Hello | E::Call) => (S::Closing, A::Ignore),

            (S::Stopped, E::Sccrq | E::Sccrp | E::Scccn | E::Hello | E::Call | E::StopCcn) => (S::Stopped, A::Ignore),
            (S::Stopped, E::Open | E::Close | E::Flushed) => (S::Stopped, A::None),
            (S::Stopped, E::Dead) => (S::Stopped, A::None),
        }
    }
}

//! The session: one incoming call (RFC 2661, sections 7.4.1 and 7.4.2). A softwire tunnel has exactly one, placed
//! by the SI; the SC neither places calls nor answers outgoing ones (RFC 5571, section 5.1; H13).
//!
//! ```text
//!  LAC   Idle ──tunnel up: ICRQ──► WaitReply ──ICRP: ICCN──► Established ──CDN──► Closed
//!  LNS   Idle ──ICRQ: ICRP──► WaitConnect ────────ICCN─────► Established
//! ```

/// State of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No call yet.
    Idle,
    /// LAC: ICRQ sent.
    WaitReply,
    /// LNS: ICRP sent.
    WaitConnect,
    /// PPP may flow.
    Established,
    /// Over; its tunnel follows.
    Closed,
}

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// LAC: the tunnel is up.
    Open,
    /// ICRQ received.
    Icrq,
    /// ICRP received.
    Icrp,
    /// ICCN received.
    Iccn,
    /// CDN received.
    Cdn,
    /// OCRQ received.
    Ocrq,
    /// OCRP or OCCN received: answers to what we never ask.
    OutgoingReply,
    /// WEN or SLI received: line errors and asynchronous character maps, of no meaning to a softwire.
    LinkInfo,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    None,
    /// Send ICRQ.
    Request,
    /// Send ICRP.
    Reply,
    /// Send ICCN; the session is up.
    Connect,
    /// The session is up.
    Up,
    /// The session is down; close the tunnel, it has no other.
    Down,
    /// Refuse an outgoing call with CDN (H13).
    RefuseOutgoing,
    /// Refuse a second call with CDN.
    RefuseSecond,
    /// Close the tunnel: the message has no place here.
    Error,
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
            (S::Idle, E::Icrq) => (S::WaitConnect, A::Reply),
            (S::WaitReply, E::Icrp) => (S::Established, A::Connect),
            (S::WaitConnect, E::Iccn) => (S::Established, A::Up),

            (S::WaitReply | S::WaitConnect | S::Established, E::Cdn) => (S::Closed, A::Down),
            (S::Idle | S::Closed, E::Cdn) => (self, A::Ignore),

            (S::WaitReply | S::WaitConnect | S::Established | S::Closed, E::Icrq) => (self, A::RefuseSecond),
            (S::Idle | S::WaitReply | S::WaitConnect | S::Established | S::Closed, E::Ocrq) => {
                (self, A::RefuseOutgoing)
            }

            (S::WaitConnect | S::Established, E::Icrp) => (S::Closed, A::Error),
            (S::WaitReply | S::Established, E::Iccn) => (S::Closed, A::Error),
            (S::WaitReply | S::WaitConnect | S::Established, E::OutgoingReply) => (S::Closed, A::Error),
            (S::Idle | S::Closed, E::Icrp | E::Iccn | E::OutgoingReply) => (self, A::Ignore),

            (S::Idle | S::WaitReply | S::WaitConnect | S::Established | S::Closed, E::LinkInfo) => (self, A::None),
            (S::WaitReply | S::WaitConnect | S::Established | S::Closed, E::Open) => (self, A::None),
        }
    }
}

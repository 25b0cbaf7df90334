//! The option negotiation automaton (RFC 1661, section 4), as a pure function.
//!
//! LCP and every network control protocol run one. Opening takes two agreements that are independent of each other:
//! the peer must acknowledge our Configure-Request (Ack-Rcvd), and we must acknowledge the peer's (Ack-Sent).
//!
//! ```text
//!  Initial --Open--> Starting --Up--> Req-Sent --RCA--> Ack-Rcvd --RCR+--> Opened
//!                                         `-----RCR+--> Ack-Sent --RCA------^
//! ```
//!
//! [`transition`] is the table of section 4.1, and nothing else; [`crate::cp`] carries the actions out. The table is
//! followed to the letter, with the passive and the restart option not taken.

/// States of section 4.2; the numbers are the RFC's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum State {
    Initial = 0,
    Starting = 1,
    Closed = 2,
    Stopped = 3,
    Closing = 4,
    Stopping = 5,
    ReqSent = 6,
    AckRcvd = 7,
    AckSent = 8,
    Opened = 9,
}

/// Events of section 4.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The lower layer is ready.
    Up,
    /// The lower layer is gone.
    Down,
    /// The administrator wants the layer open.
    Open,
    /// The administrator wants it closed.
    Close,
    /// TO+: the restart timer expired with tries left.
    TimeoutMore,
    /// TO-: it expired with none left.
    TimeoutLast,
    /// RCR+: an acceptable Configure-Request.
    RequestGood,
    /// RCR-: an unacceptable one.
    RequestBad,
    /// RCA: Configure-Ack.
    Ack,
    /// RCN: Configure-Nak or Configure-Reject.
    Nak,
    /// RTR: Terminate-Request.
    TerminateRequest,
    /// RTA: Terminate-Ack.
    TerminateAck,
    /// RUC: a code that we do not know.
    UnknownCode,
    /// RXJ+: Code-Reject or Protocol-Reject that we can live with.
    RejectMild,
    /// RXJ-: one that we cannot live with.
    RejectFatal,
    /// RXR: Echo-Request, Echo-Reply or Discard-Request.
    Echo,
}

/// Actions of section 4.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// tlu.
    LayerUp,
    /// tld.
    LayerDown,
    /// tls.
    LayerStarted,
    /// tlf.
    LayerFinished,
    /// irc: set the restart counter to the maximum of what is sent next.
    InitRestart,
    /// zrc: set it to zero.
    ZeroRestart,
    /// scr.
    SendRequest,
    /// sca.
    SendAck,
    /// scn: Configure-Nak or Configure-Reject.
    SendNak,
    /// str.
    SendTerminate,
    /// sta.
    SendTerminateAck,
    /// scj.
    SendCodeReject,
    /// ser: only if it was an Echo-Request.
    SendEchoReply,
}

/// What to do, in this order, and the next state. `None`: the pair cannot occur (a dash in the table).
pub fn transition(state: State, event: Event) -> Option<(&'static [Action], State)> {
    use Action::*;
    use Event::*;
    use State::*;
    let t: (&'static [Action], State) = match (state, event) {
        (Initial, Up) => (&[], Closed),
        (Starting, Up) => (&[InitRestart, SendRequest], ReqSent),
        (Closed | Stopped | Closing | Stopping | ReqSent | AckRcvd | AckSent | Opened, Up) => return None,

        (Initial | Starting, Down) => return None,
        (Closed, Down) => (&[], Initial),
        (Stopped, Down) => (&[LayerStarted], Starting),
        (Closing, Down) => (&[], Initial),
        (Stopping | ReqSent | AckRcvd | AckSent, Down) => (&[], Starting),
        (Opened, Down) => (&[LayerDown], Starting),

        (Initial, Open) => (&[LayerStarted], Starting),
        (Starting, Open) => (&[], Starting),
        (Closed, Open) => (&[InitRestart, SendRequest], ReqSent),
        (Stopped, Open) => (&[], Stopped),
        (Closing | Stopping, Open) => (&[], Stopping),
        (ReqSent, Open) => (&[], ReqSent),
        (AckRcvd, Open) => (&[], AckRcvd),
        (AckSent, Open) => (&[], AckSent),
        (Opened, Open) => (&[], Opened),

        (Initial, Close) => (&[], Initial),
        (Starting, Close) => (&[LayerFinished], Initial),
        (Closed | Stopped, Close) => (&[], Closed),
        (Closing | Stopping, Close) => (&[], Closing),
        (ReqSent | AckRcvd | AckSent, Close) => (&[InitRestart, SendTerminate], Closing),
        (Opened, Close) => (&[LayerDown, InitRestart, SendTerminate], Closing),

        (Initial | Starting | Closed | Stopped | Opened, TimeoutMore | TimeoutLast) => return None,
        (Closing, TimeoutMore) => (&[SendTerminate], Closing),
        (Stopping, TimeoutMore) => (&[SendTerminate], Stopping),
        (ReqSent | AckRcvd, TimeoutMore) => (&[SendRequest], ReqSent),
        (AckSent, TimeoutMore) => (&[SendRequest], AckSent),
        (Closing, TimeoutLast) => (&[LayerFinished], Closed),
        (Stopping | ReqSent | AckRcvd | AckSent, TimeoutLast) => (&[LayerFinished], Stopped),

        // Without a lower layer nothing can be received.
        (
            Initial | Starting,
            RequestGood | RequestBad | Ack | Nak | TerminateRequest | TerminateAck | UnknownCode | RejectMild
            | RejectFatal | Echo,
        ) => return None,

        (Closed, RequestGood | RequestBad | Ack | Nak) => (&[SendTerminateAck], Closed),
        (Closing, RequestGood | RequestBad | Ack | Nak) => (&[], Closing),
        (Stopping, RequestGood | RequestBad | Ack | Nak) => (&[], Stopping),

        (Stopped, RequestGood) => (&[InitRestart, SendRequest, SendAck], AckSent),
        (ReqSent | AckSent, RequestGood) => (&[SendAck], AckSent),
        (AckRcvd, RequestGood) => (&[SendAck, LayerUp], Opened),
        (Opened, RequestGood) => (&[LayerDown, SendRequest, SendAck], AckSent),

        (Stopped, RequestBad) => (&[InitRestart, SendRequest, SendNak], ReqSent),
        (ReqSent | AckSent, RequestBad) => (&[SendNak], ReqSent),
        (AckRcvd, RequestBad) => (&[SendNak], AckRcvd),
        (Opened, RequestBad) => (&[LayerDown, SendRequest, SendNak], ReqSent),

        (Stopped, Ack | Nak) => (&[SendTerminateAck], Stopped),
        (ReqSent, Ack) => (&[InitRestart], AckRcvd),
        (AckSent, Ack) => (&[InitRestart, LayerUp], Opened),
        (ReqSent, Nak) => (&[InitRestart, SendRequest], ReqSent),
        (AckSent, Nak) => (&[InitRestart, SendRequest], AckSent),
        (AckRcvd, Ack | Nak) => (&[SendRequest], ReqSent),
        (Opened, Ack | Nak) => (&[LayerDown, SendRequest], ReqSent),

        (Closed, TerminateRequest) => (&[SendTerminateAck], Closed),
        (Stopped, TerminateRequest) => (&[SendTerminateAck], Stopped),
        (Closing, TerminateRequest) => (&[SendTerminateAck], Closing),
        (Stopping, TerminateRequest) => (&[SendTerminateAck], Stopping),
        (ReqSent | AckRcvd | AckSent, TerminateRequest) => (&[SendTerminateAck], ReqSent),
        (Opened, TerminateRequest) => (&[LayerDown, ZeroRestart, SendTerminateAck], Stopping),

        (Closed, TerminateAck) => (&[], Closed),
        (Stopped, TerminateAck) => (&[], Stopped),
        (Closing, TerminateAck) => (&[LayerFinished], Closed),
        (Stopping, TerminateAck) => (&[LayerFinished], Stopped),
        (ReqSent | AckRcvd, TerminateAck) => (&[], ReqSent),
        (AckSent, TerminateAck) => (&[], AckSent),
        (Opened, TerminateAck) => (&[LayerDown, SendRequest], ReqSent),

        (Closed | Stopped | Closing | Stopping | ReqSent | AckRcvd | AckSent | Opened, UnknownCode) => {
            (&[SendCodeReject], state)
        }

        (Closed | Stopped | Closing | Stopping | ReqSent | AckSent | Opened, RejectMild) => (&[], state),
        (AckRcvd, RejectMild) => (&[], ReqSent),
        (Closed | Closing, RejectFatal) => (&[LayerFinished], Closed),
        (Stopped | Stopping | ReqSent | AckRcvd | AckSent, RejectFatal) => (&[LayerFinished], Stopped),
        (Opened, RejectFatal) => (&[LayerDown, InitRestart, SendTerminate], Stopping),

        (Closed | Stopped | Closing | Stopping | ReqSent | AckRcvd | AckSent, Echo) => (&[], state),
        (Opened, Echo) => (&[SendEchoReply], Opened),
    };
    Some(t)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1661, section 4.1, transcribed; the notes p, r and x are left out.
    const TABLE: &str = "
        Up    2      irc,scr/6 -     -             -     -     -         -         -         -
        Down  -      -         0     tls/1         0     1     1         1         1         tld/1
        Open  tls/1  1         irc,scr/6 3         5     5     6         7         8         9
        Close 0      tlf/0     2     2             4     4     irc,str/4 irc,str/4 irc,str/4 tld,irc,str/4
        TO+   -      -         -     -             str/4 str/5 scr/6     scr/6     scr/8     -
        TO-   -      -         -     -             tlf/2 tlf/3 tlf/3     tlf/3     tlf/3     -
        RCR+  -      -         sta/2 irc,scr,sca/8 4     5     sca/8     sca,tlu/9 sca/8     tld,scr,sca/8
        RCR-  -      -         sta/2 irc,scr,scn/6 4     5     scn/6     scn/7     scn/6     tld,scr,scn/6
        RCA   -      -         sta/2 sta/3         4     5     irc/7     scr/6     irc,tlu/9 tld,scr/6
        RCN   -      -         sta/2 sta/3         4     5     irc,scr/6 scr/6     irc,scr/8 tld,scr/6
        RTR   -      -         sta/2 sta/3         sta/4 sta/5 sta/6     sta/6     sta/6     tld,zrc,sta/5
        RTA   -      -         2     3             tlf/2 tlf/3 6         6         8         tld,scr/6
        RUC   -      -         scj/2 scj/3         scj/4 scj/5 scj/6     scj/7     scj/8     scj/9
        RXJ+  -      -         2     3             4     5     6         6         8         9
        RXJ-  -      -         tlf/2 tlf/3         tlf/2 tlf/3 tlf/3     tlf/3     tlf/3     tld,irc,str/5
        RXR   -      -         2     3             4     5     6         7         8         ser/9";

    const STATES: [State; 10] = [
        State::Initial,
        State::Starting,
        State::Closed,
        State::Stopped,
        State::Closing,
        State::Stopping,
        State::ReqSent,
        State::AckRcvd,
        State::AckSent,
        State::Opened,
    ];

    const EVENTS: [Event; 16] = [
        Event::Up,
        Event::Down,
        Event::Open,
        Event::Close,
        Event::TimeoutMore,
        Event::TimeoutLast,
        Event::RequestGood,
        Event::RequestBad,
        Event::Ack,
        Event::Nak,
        Event::TerminateRequest,
        Event::TerminateAck,
        Event::UnknownCode,
        Event::RejectMild,
        Event::RejectFatal,
        Event::Echo,
    ];

    fn action(name: &str) -> Action {
        match name {
            "tlu" => Action::LayerUp,
            "tld" => Action::LayerDown,
            "tls" => Action::LayerStarted,
            "tlf" => Action::LayerFinished,
            "irc" => Action::InitRestart,
            "zrc" => Action::ZeroRestart,
            "scr" => Action::SendRequest,
            "sca" => Action::SendAck,
            "scn" => Action::SendNak,
            "str" => Action::SendTerminate,
            "sta" => Action::SendTerminateAck,
            "scj" => Action::SendCodeReject,
            "ser" => Action::SendEchoReply,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn every_pair_is_the_rfcs() {
        let mut pairs = 0;
        for (line, event) in TABLE.trim().lines().zip(EVENTS) {
            let cells: Vec<&str> = line.split_whitespace().skip(1).collect();
            assert_eq!(cells.len(), STATES.len(), "{line}");
            for (cell, state) in cells.iter().zip(STATES) {
                let expected = (*cell != "-").then(|| {
                    let (actions, next) = cell.rsplit_once('/').unwrap_or(("", cell));
                    let actions: Vec<Action> = actions.split(',').filter(|a| !a.is_empty()).map(action).collect();
                    (actions, STATES[next.parse::<usize>().unwrap()])
                });
                let found = transition(state, event).map(|(actions, next)| (actions.to_vec(), next));
                assert_eq!(found, expected, "{state:?} {event:?}");
                pairs += 1;
            }
        }
        assert_eq!(pairs, 160);
    }

    #[test]
    fn at_most_one_layer_action_a_transition() {
        for state in STATES {
            for event in EVENTS {
                let Some((actions, _)) = transition(state, event) else { continue };
                let layer = |a: &&Action| {
                    matches!(a, Action::LayerUp | Action::LayerDown | Action::LayerStarted | Action::LayerFinished)
                };
                assert!(actions.iter().filter(layer).count() <= 1);
            }
        }
    }
}

//! Every pair of state and event, written as tables after RFC 2661, sections 7.2.1 and 7.4, and what RFC 5571 leaves.

use super::{session, tunnel};
use std::fmt::Debug;

/// Checks a machine against its table: a row for each event, a column for each state, each cell "Next Action" or, where
/// the state stays, "Action".
fn check<S: Copy + Debug, E: Copy + Debug, A: Debug>(states: &[S], rows: &[(E, &str)], next: impl Fn(S, E) -> (S, A)) {
    for (event, row) in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert_eq!(cells.len(), states.len(), "{event:?}");
        for (state, cell) in states.iter().zip(cells) {
            let (to, action) = next(*state, *event);
            let want = match cell.split_once(' ') {
                Some((to, action)) => (to.to_owned(), action.to_owned()),
                None => (format!("{state:?}"), cell.to_owned()),
            };
            assert_eq!((format!("{to:?}"), format!("{action:?}")), want, "{event:?} in {state:?}");
        }
    }
}

#[test]
fn every_pair_of_the_tunnel() {
    use tunnel::Event::*;
    use tunnel::State;
    let states =
        [State::Idle, State::WaitReply, State::WaitConnected, State::Established, State::Closing, State::Stopped];
    #[rustfmt::skip]
    let rows = [
        //        Idle                | WaitReply            | WaitConnected        | Established          | Closing              | Stopped
        (Open,    "WaitReply Request   | None                 | None                 | None                 | None                 | None"),
        (Sccrq,   "WaitConnected Reply | Closing StopFsm      | Closing StopFsm      | Closing StopFsm      | Ignore               | Ignore"),
        (Sccrp,   "Ignore              | Established Connect  | Closing StopFsm      | Closing StopFsm      | Ignore               | Ignore"),
        (Scccn,   "Ignore              | Closing StopFsm      | Established Up       | Closing StopFsm      | Ignore               | Ignore"),
        (Hello,   "Ignore              | None                 | None                 | None                 | Ignore               | Ignore"),
        (Call,    "Ignore              | Closing StopFsm      | Closing StopFsm      | Session              | Ignore               | Ignore"),
        (StopCcn, "Ignore              | Stopped DownAfterAck | Stopped DownAfterAck | Stopped DownAfterAck | Stopped DownAfterAck | Ignore"),
        (Close,   "Closing Stop        | Closing Stop         | Closing Stop         | Closing Stop         | None                 | None"),
        (Flushed, "None                | None                 | None                 | None                 | Stopped Down         | None"),
        (Dead,    "Stopped DownNow     | Stopped DownNow      | Stopped DownNow      | Stopped DownNow      | Stopped DownNow      | None"),
    ];
    check(&states, &rows, State::next);
}

#[test]
fn every_pair_of_the_session() {
    use session::Event::*;
    use session::State;
    let states = [State::Idle, State::WaitReply, State::WaitConnect, State::Established, State::Closed];
    #[rustfmt::skip]
    let rows = [
        //              Idle               | WaitReply           | WaitConnect    | Established    | Closed
        (Open,          "WaitReply Request | None                | None           | None           | None"),
        (Icrq,          "WaitConnect Reply | RefuseSecond        | RefuseSecond   | RefuseSecond   | RefuseSecond"),
        (Icrp,          "Ignore            | Established Connect | Closed Error   | Closed Error   | Ignore"),
        (Iccn,          "Ignore            | Closed Error        | Established Up | Closed Error   | Ignore"),
        (Cdn,           "Ignore            | Closed Down         | Closed Down    | Closed Down    | Ignore"),
        (Ocrq,          "RefuseOutgoing    | RefuseOutgoing      | RefuseOutgoing | RefuseOutgoing | RefuseOutgoing"),
        (OutgoingReply, "Ignore            | Closed Error        | Closed Error   | Closed Error   | Ignore"),
        (LinkInfo,      "None              | None                | None           | None           | None"),
    ];
    check(&states, &rows, State::next);
}

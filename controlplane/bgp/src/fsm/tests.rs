//! The table of RFC 4271, section 8.2.2, against the function: every pair of state and event, under every combination
//! of the session attributes.

use super::*;

const EVENTS: [Event; 29] = [
    E::ManualStart,
    E::ManualStop,
    E::AutomaticStart,
    E::ManualStartPassive,
    E::AutomaticStartPassive,
    E::AutomaticStartDamped,
    E::AutomaticStartDampedPassive,
    E::AutomaticStop,
    E::ConnectRetryTimerExpires,
    E::HoldTimerExpires,
    E::KeepaliveTimerExpires,
    E::DelayOpenTimerExpires,
    E::IdleHoldTimerExpires,
    E::TcpConnectionValid,
    E::TcpCrInvalid,
    E::TcpCrAcked,
    E::TcpConnectionConfirmed,
    E::TcpConnectionFails,
    E::BgpOpen,
    E::BgpOpenDelayed,
    E::BgpHeaderErr,
    E::BgpOpenMsgErr,
    E::OpenCollisionDump,
    E::NotifMsgVerErr,
    E::NotifMsg,
    E::KeepAliveMsg,
    E::UpdateMsg,
    E::UpdateMsgErr,
    E::SendHoldTimerExpires,
];

/// State, numbers of events, attributes that must be set (or not), next state, actions in any order. `damp?` stands for
/// the damping that is performed where DampPeerOscillations is set. Stopping the DelayOpenTimer is part of releasing
/// all resources, as the text of Active says of ManualStop; it is written out where the function does.
const TABLE: &[(State, &[u8], &str, State, &str)] = &[
    // Idle
    (S::Idle, &[1, 3], "", S::Connect, "idle-stop init zero retry connect"),
    (S::Idle, &[4, 5], "", S::Active, "idle-stop init zero retry"),
    (S::Idle, &[6], "!idle_hold", S::Connect, "idle-stop init retry connect"),
    (S::Idle, &[7], "!idle_hold", S::Active, "idle-stop init retry"),
    (S::Idle, &[6, 7], "idle_hold", S::Idle, ""),
    (S::Idle, &[13], "!passive", S::Connect, "idle-stop init retry connect"),
    (S::Idle, &[13], "passive", S::Active, "idle-stop init retry"),
    (S::Idle, &[2, 8, 9, 10, 11, 12, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29], "", S::Idle, ""),
    (S::Idle, &[14, 15, 16, 17], "", S::Idle, "reject"),
    // Connect
    (S::Connect, &[1, 3, 4, 5, 6, 7], "", S::Connect, ""),
    (S::Connect, &[2], "", S::Idle, "drop release zero retry-stop"),
    (S::Connect, &[9], "", S::Connect, "drop retry delay-stop connect"),
    (S::Connect, &[12], "", S::OpenSent, "retry-stop delay-stop init open hold-large"),
    (S::Connect, &[14], "", S::Connect, ""),
    (S::Connect, &[15], "", S::Connect, "reject"),
    (S::Connect, &[16, 17], "delay_open", S::Connect, "retry-stop delay"),
    (S::Connect, &[16, 17], "!delay_open", S::OpenSent, "retry-stop init open hold-large"),
    (S::Connect, &[18], "delay_running", S::Active, "retry delay-stop"),
    (S::Connect, &[18], "!delay_running", S::Idle, "retry-stop drop release"),
    (S::Connect, &[20], "", S::OpenConfirm, "retry-stop init delay-stop open keepalive keepalive-timer hold"),
    (S::Connect, &[21, 22], "without_open", S::Idle, "n-message retry-stop delay-stop release drop count damp?"),
    (S::Connect, &[21, 22], "!without_open", S::Idle, "retry-stop delay-stop release drop count damp?"),
    (S::Connect, &[24], "delay_running", S::Idle, "retry-stop delay-stop release drop"),
    (S::Connect, &[24], "!delay_running", S::Idle, "retry-stop delay-stop release drop count damp?"),
    (
        S::Connect,
        &[8, 10, 11, 13, 19, 23, 25, 26, 27, 28, 29],
        "",
        S::Idle,
        "retry-stop delay-stop release drop count damp?",
    ),
    // Active
    (S::Active, &[1, 3, 4, 5, 6, 7], "", S::Active, ""),
    (S::Active, &[2], "delay_running without_open", S::Idle, "n-cease release drop zero retry-stop"),
    (S::Active, &[2], "!delay_running", S::Idle, "release drop zero retry-stop"),
    (S::Active, &[2], "delay_running !without_open", S::Idle, "release drop zero retry-stop"),
    (S::Active, &[9], "", S::Connect, "retry connect"),
    (S::Active, &[12], "", S::OpenSent, "retry-stop delay-stop init open hold-large"),
    (S::Active, &[14], "", S::Active, ""),
    (S::Active, &[15], "", S::Active, "reject"),
    (S::Active, &[16, 17], "delay_open", S::Active, "retry-stop delay"),
    (S::Active, &[16, 17], "!delay_open", S::OpenSent, "retry-stop init open hold-large"),
    (S::Active, &[18], "", S::Idle, "retry delay-stop release count damp?"),
    (S::Active, &[20], "", S::OpenConfirm, "retry-stop delay-stop init open keepalive keepalive-timer hold"),
    (S::Active, &[21, 22], "without_open", S::Idle, "n-message retry-stop delay-stop release drop count damp?"),
    (S::Active, &[21, 22], "!without_open", S::Idle, "retry-stop delay-stop release drop count damp?"),
    (S::Active, &[24], "delay_running", S::Idle, "retry-stop delay-stop release drop"),
    (S::Active, &[24], "!delay_running", S::Idle, "retry-stop delay-stop release drop count damp?"),
    (
        S::Active,
        &[8, 10, 11, 13, 19, 23, 25, 26, 27, 28, 29],
        "",
        S::Idle,
        "retry-stop delay-stop release drop count damp?",
    ),
    // OpenSent
    (S::OpenSent, &[1, 3, 4, 5, 6, 7], "", S::OpenSent, ""),
    (S::OpenSent, &[2], "", S::Idle, "n-cease retry-stop release drop zero"),
    (S::OpenSent, &[8], "", S::Idle, "n-cease retry-stop release drop count damp?"),
    (S::OpenSent, &[10], "", S::Idle, "n-hold retry-stop release drop count damp?"),
    (S::OpenSent, &[14, 16, 17], "", S::OpenSent, "track"),
    (S::OpenSent, &[15], "", S::OpenSent, "reject"),
    (S::OpenSent, &[18], "", S::Active, "drop retry"),
    (S::OpenSent, &[19], "", S::OpenConfirm, "delay-stop retry-stop keepalive keepalive-timer hold"),
    (S::OpenSent, &[21, 22], "", S::Idle, "n-message retry-stop release drop count damp?"),
    (S::OpenSent, &[23], "", S::Idle, "n-cease retry-stop release drop count damp?"),
    (S::OpenSent, &[24], "", S::Idle, "retry-stop delay-stop release drop"),
    (S::OpenSent, &[9, 11, 12, 13, 20, 25, 26, 27, 28, 29], "", S::Idle, "n-fsm retry-stop release drop count damp?"),
    // OpenConfirm
    (S::OpenConfirm, &[1, 3, 4, 5, 6, 7], "", S::OpenConfirm, ""),
    (S::OpenConfirm, &[2], "", S::Idle, "n-cease release drop zero retry-stop"),
    (S::OpenConfirm, &[8], "", S::Idle, "n-cease retry-stop release drop count damp?"),
    (S::OpenConfirm, &[10], "", S::Idle, "n-hold retry-stop release drop count damp?"),
    (S::OpenConfirm, &[11], "", S::OpenConfirm, "keepalive keepalive-timer"),
    (S::OpenConfirm, &[14, 16, 17], "", S::OpenConfirm, "track"),
    (S::OpenConfirm, &[15], "", S::OpenConfirm, "reject"),
    (S::OpenConfirm, &[18, 25], "", S::Idle, "retry-stop release drop count damp?"),
    (S::OpenConfirm, &[24], "", S::Idle, "retry-stop delay-stop release drop"),
    (S::OpenConfirm, &[19], "", S::OpenConfirm, ""),
    (S::OpenConfirm, &[21, 22], "", S::Idle, "n-message retry-stop release drop count damp?"),
    (S::OpenConfirm, &[23], "", S::Idle, "n-cease retry-stop release drop count damp?"),
    // RFC 9687 starts the SendHoldTimer here.
    (S::OpenConfirm, &[26], "", S::Established, "hold send-hold"),
    (S::OpenConfirm, &[9, 12, 13, 20, 27, 28, 29], "", S::Idle, "n-fsm retry-stop release drop count damp?"),
    // Established
    (S::Established, &[1, 3, 4, 5, 6, 7], "", S::Established, ""),
    (S::Established, &[2], "", S::Idle, "n-cease retry-stop routes release drop zero"),
    (S::Established, &[8], "", S::Idle, "n-cease retry-stop routes release drop count damp?"),
    (S::Established, &[10], "", S::Idle, "n-hold retry-stop routes release drop count damp?"),
    (S::Established, &[11], "", S::Established, "keepalive keepalive-timer"),
    (S::Established, &[14, 16, 17], "", S::Established, "track"),
    (S::Established, &[15], "", S::Established, "reject"),
    (S::Established, &[19], "", S::Established, ""),
    (S::Established, &[23], "collision", S::Idle, "n-cease retry-stop routes release drop count damp?"),
    (S::Established, &[23], "!collision", S::Established, ""),
    (S::Established, &[18, 24, 25], "", S::Idle, "retry-stop routes release drop count"),
    (S::Established, &[26], "", S::Established, "hold"),
    (S::Established, &[27], "", S::Established, "update hold"),
    (S::Established, &[28], "", S::Idle, "n-message retry-stop routes release drop count damp?"),
    // Section 6.1: the peer is told what is wrong with the header.
    (S::Established, &[21], "", S::Idle, "n-message retry-stop routes release drop count damp?"),
    (S::Established, &[9, 12, 13, 20, 22], "", S::Idle, "n-fsm routes retry-stop release drop count damp?"),
    // RFC 9687, section 3.1
    (S::Established, &[29], "", S::Idle, "n-send-hold retry-stop routes release drop count damp?"),
];

fn word(action: Action) -> &'static str {
    match action {
        A::InitializeResources => "init",
        A::ReleaseResources => "release",
        A::ZeroConnectRetryCounter => "zero",
        A::IncrementConnectRetryCounter => "count",
        A::StartConnectRetryTimer => "retry",
        A::StopConnectRetryTimer => "retry-stop",
        A::StartDelayOpenTimer => "delay",
        A::StopDelayOpenTimer => "delay-stop",
        A::StopIdleHoldTimer => "idle-stop",
        A::StartHoldTimerLarge => "hold-large",
        A::StartHoldTimer => "hold",
        A::StartKeepaliveTimer => "keepalive-timer",
        A::StartSendHoldTimer => "send-hold",
        A::Connect => "connect",
        A::DropConnection => "drop",
        A::TrackConnection => "track",
        A::RejectConnection => "reject",
        A::SendOpen => "open",
        A::SendKeepalive => "keepalive",
        A::SendNotification(Notify::Cease) => "n-cease",
        A::SendNotification(Notify::HoldTimerExpired) => "n-hold",
        A::SendNotification(Notify::SendHoldTimerExpired) => "n-send-hold",
        A::SendNotification(Notify::FsmError) => "n-fsm",
        A::SendNotification(Notify::MessageError) => "n-message",
        A::DeleteRoutes => "routes",
        A::ProcessUpdate => "update",
        A::Damp => "damp?",
    }
}

fn conditions(bits: u8) -> Conditions {
    let bit = |n: u8| bits >> n & 1 == 1;
    Conditions {
        passive: bit(0),
        damp: bit(1),
        idle_hold_running: bit(2),
        delay_open: bit(3),
        delay_open_running: bit(4),
        notification_without_open: bit(5),
        collision_in_established: bit(6),
    }
}

fn holds(wanted: &str, c: &Conditions) -> bool {
    wanted.split_whitespace().all(|w| {
        let name = w.trim_start_matches('!');
        let value = match name {
            "passive" => c.passive,
            "idle_hold" => c.idle_hold_running,
            "delay_open" => c.delay_open,
            "delay_running" => c.delay_open_running,
            "without_open" => c.notification_without_open,
            "collision" => c.collision_in_established,
            other => panic!("{other}"),
        };
        value != w.starts_with('!')
    })
}

#[test]
fn every_pair_of_state_and_event_follows_the_table() {
    for (i, event) in EVENTS.into_iter().enumerate() {
        assert_eq!(event as usize, i + 1, "{event:?} has the number of the RFC");
        for state in State::ALL {
            for c in (0..128).map(conditions) {
                let rows: Vec<_> = TABLE
                    .iter()
                    .filter(|(s, events, wanted, ..)| {
                        *s == state && events.contains(&(event as u8)) && holds(wanted, &c)
                    })
                    .collect();
                let [(.., next, actions)] = rows.as_slice() else {
                    panic!("{} rows for {state:?} {event:?} {c:?}", rows.len())
                };
                let mut expected: Vec<_> = actions.split_whitespace().filter(|w| *w != "damp?" || c.damp).collect();
                expected.sort_unstable();
                let (got, actions) = state.next(event, &c);
                let mut words: Vec<_> = actions.iter().map(|a| word(*a)).collect();
                words.sort_unstable();
                assert_eq!((got, words), (*next, expected), "{state:?} {event:?} {c:?}");
            }
        }
    }
}

/// What cannot be done once the connection is dropped comes before; damping comes last, when the counter is right.
#[test]
fn actions_are_in_an_order_that_can_be_carried_out() {
    for event in EVENTS {
        for state in State::ALL {
            for c in (0..128).map(conditions) {
                let (_, actions) = state.next(event, &c);
                let at = |wanted: fn(&Action) -> bool| actions.iter().position(wanted);
                let drop = at(|a| *a == A::DropConnection);
                if let (Some(notify), Some(drop)) = (at(|a| matches!(a, A::SendNotification(_))), drop) {
                    assert!(notify < drop, "{state:?} {event:?}");
                }
                if let (Some(connect), Some(drop)) = (at(|a| *a == A::Connect), drop) {
                    assert!(drop < connect, "{state:?} {event:?}");
                }
                if let (Some(open), Some(keepalive)) = (at(|a| *a == A::SendOpen), at(|a| *a == A::SendKeepalive)) {
                    assert!(open < keepalive, "{state:?} {event:?}");
                }
                if let Some(damp) = at(|a| *a == A::Damp) {
                    assert_eq!(damp, actions.len() - 1, "{state:?} {event:?}");
                }
            }
        }
    }
}

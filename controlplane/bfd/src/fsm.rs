//! The states of a session (RFC 5880, section 6.2), and how they follow from what the peer says (section 6.8.6), its
//! silence (6.8.4) and the operator (6.8.16).
//!
//! ```text
//!                        Up, AdminDown, silence
//!                              ┌────┐
//!                              │    ▼
//!              Down         ┌────────┐       Init
//!         ┌─────────────────│  Down  │─────────────────┐
//!         │   AdminDown,    └────────┘   AdminDown,    │
//!         │   silence ───────►▲    ▲◄──── Down, silence│
//!         ▼                   │    │                   ▼
//!     ┌────────┐──────────────┘    └───────────────┌────────┐
//!     │  Init  │──────────────────────────────────►│   Up   │
//!     └────────┘             Init, Up              └────────┘
//! ```
//!
//! AdminDown is outside: only the operator leads there and, to Down, back.

use crate::packet::Diag;

/// State of a session, numbered as on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The operator does not want it.
    AdminDown,
    /// No path, or it is not known yet.
    Down,
    /// We hear the peer, but it may not hear us.
    Init,
    /// Both hear each other.
    Up,
}

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A valid packet of a peer in this state.
    Received(State),
    /// No valid packet for a Detection Time.
    DetectionTimeExpired,
    /// The operator takes it down.
    Disable,
    /// The operator lets it come up.
    Enable,
}

impl State {
    /// All states.
    pub const ALL: [Self; 4] = [Self::AdminDown, Self::Down, Self::Init, Self::Up];

    /// From the low two bits.
    pub const fn from_bits(n: u8) -> Self {
        match n & 3 {
            0 => Self::AdminDown,
            1 => Self::Down,
            2 => Self::Init,
            _ => Self::Up,
        }
    }

    /// The number on the wire.
    pub const fn bits(self) -> u8 {
        match self {
            Self::AdminDown => 0,
            Self::Down => 1,
            Self::Init => 2,
            Self::Up => 3,
        }
    }

    /// Its name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AdminDown => "admin-down",
            Self::Down => "down",
            Self::Init => "init",
            Self::Up => "up",
        }
    }

    /// The next state, and the new diagnostic where there is one. A diagnostic outlives the return to Init, so that
    /// the peer can learn why the session before failed, and ends with Up.
    pub const fn next(self, event: Event) -> (State, Option<Diag>) {
        use Event as E;
        use State as S;
        match (self, event) {
            (S::AdminDown, E::Enable) => (S::Down, Some(Diag::None)),
            (S::AdminDown, E::Received(_) | E::DetectionTimeExpired | E::Disable) => (S::AdminDown, None),

            (S::Down, E::Received(S::Down)) => (S::Init, None),
            (S::Down, E::Received(S::Init)) => (S::Up, Some(Diag::None)),
            (S::Down, E::Received(S::AdminDown | S::Up) | E::DetectionTimeExpired | E::Enable) => (S::Down, None),

            (S::Init, E::Received(S::Init | S::Up)) => (S::Up, Some(Diag::None)),
            (S::Init, E::Received(S::AdminDown)) => (S::Down, Some(Diag::NeighborSignaledSessionDown)),
            (S::Init, E::DetectionTimeExpired) => (S::Down, Some(Diag::ControlDetectionTimeExpired)),
            (S::Init, E::Received(S::Down) | E::Enable) => (S::Init, None),

            (S::Up, E::Received(S::AdminDown | S::Down)) => (S::Down, Some(Diag::NeighborSignaledSessionDown)),
            (S::Up, E::DetectionTimeExpired) => (S::Down, Some(Diag::ControlDetectionTimeExpired)),
            (S::Up, E::Received(S::Init | S::Up) | E::Enable) => (S::Up, None),

            (S::Down | S::Init | S::Up, E::Disable) => (S::AdminDown, Some(Diag::AdministrativelyDown)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows: state. Columns: AdminDown, Down, Init, Up received; silence; disable; enable. `*`: diagnostic 0, digits:
    /// that diagnostic, nothing: the diagnostic stays.
    const TABLE: &str = "
        AdminDown | A   A   A   A   A   A   D*
        Down      | D   I   U*  D   D   A7  D
        Init      | D3  I   U*  U*  D1  A7  I
        Up        | D3  D3  U   U   D1  A7  U";

    #[test]
    fn every_state_and_event() {
        let events = State::ALL.map(Event::Received).into_iter().chain([
            Event::DetectionTimeExpired,
            Event::Disable,
            Event::Enable,
        ]);
        let events: Vec<_> = events.collect();
        let rows: Vec<_> = TABLE.lines().skip(1).collect();
        assert_eq!(rows.len(), State::ALL.len());
        for (state, row) in State::ALL.into_iter().zip(rows) {
            let (name, cells) = row.split_once('|').unwrap();
            assert_eq!(name.trim(), format!("{state:?}"));
            let cells: Vec<_> = cells.split_whitespace().collect();
            assert_eq!(cells.len(), events.len());
            for (event, cell) in events.iter().zip(cells) {
                let next = State::ALL.into_iter().find(|s| format!("{s:?}").starts_with(&cell[..1])).unwrap();
                let diag = match &cell[1..] {
                    "" => None,
                    "*" => Some(Diag::None),
                    n => Some(Diag::from_bits(n.parse().unwrap())),
                };
                assert_eq!(state.next(*event), (next, diag), "{state:?} {event:?}");
            }
        }
    }

    #[test]
    fn numbers_are_those_of_the_wire() {
        for (n, state) in (0..).zip(State::ALL) {
            assert_eq!((state.bits(), State::from_bits(n), State::from_bits(n | 4)), (n, state, state));
        }
    }
}

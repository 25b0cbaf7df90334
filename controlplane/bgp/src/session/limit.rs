//! The maximum of prefixes that a neighbour may announce in one family (RFC 4486, section 4): a warning short of it,
//! and beyond it a warning again or the end of the session.

use std::time::Duration;

/// A maximum of prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPrefix {
    /// Prefixes that are allowed.
    pub limit: u32,
    /// Per cent of the limit from which on there is a warning.
    pub warn_percent: u8,
    /// What happens beyond the limit.
    pub action: MaxPrefixAction,
}

/// What happens beyond the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxPrefixAction {
    /// A warning, and the prefixes are accepted.
    Warn,
    /// The session ends with Cease, Maximum Number of Prefixes Reached.
    TearDown {
        /// Time after which it is tried again; never, when it is not given: the operator clears the neighbour.
        restart: Option<Duration>,
    },
}

/// What a count of prefixes means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing new.
    Fine,
    /// The warning level was passed.
    Near,
    /// The limit was passed, and the session goes on.
    Beyond,
    /// The limit was passed, and the session ends.
    TearDown,
}

/// How far a session has come. Each level is told once, until the count falls below the warning level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Watch {
    near: bool,
    beyond: bool,
}

impl Watch {
    /// Judges a count.
    pub fn count(&mut self, max: &MaxPrefix, prefixes: usize) -> Verdict {
        let (prefixes, limit) = (prefixes as u64, u64::from(max.limit));
        if prefixes > limit {
            if let MaxPrefixAction::TearDown { .. } = max.action {
                return Verdict::TearDown;
            }
            let told = std::mem::replace(&mut self.beyond, true);
            self.near = true;
            return if told { Verdict::Fine } else { Verdict::Beyond };
        }
        if prefixes * 100 < limit * u64::from(max.warn_percent) {
            *self = Self::default();
            return Verdict::Fine;
        }
        if std::mem::replace(&mut self.near, true) { Verdict::Fine } else { Verdict::Near }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(action: MaxPrefixAction, counts: &[usize]) -> Vec<Verdict> {
        let max = MaxPrefix { limit: 10, warn_percent: 80, action };
        let mut watch = Watch::default();
        counts.iter().map(|n| watch.count(&max, *n)).collect()
    }

    #[test]
    fn each_level_is_told_once() {
        use Verdict::{Beyond, Fine, Near};
        let counts = [7, 8, 9, 10, 11, 12, 9, 11, 7, 8, 11];
        let expected = [Fine, Near, Fine, Fine, Beyond, Fine, Fine, Fine, Fine, Near, Beyond];
        assert_eq!(verdicts(MaxPrefixAction::Warn, &counts), expected);
    }

    #[test]
    fn the_session_ends_beyond_the_limit_and_not_at_it() {
        let tear_down = MaxPrefixAction::TearDown { restart: None };
        assert_eq!(verdicts(tear_down, &[10, 11]), [Verdict::Near, Verdict::TearDown]);
        assert_eq!(verdicts(tear_down, &[1_000_000]), [Verdict::TearDown]);
    }
}

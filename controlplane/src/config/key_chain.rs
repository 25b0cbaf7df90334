//! Key chains (RFC 8177): the keys of TCP sessions, each with its time.

use super::Secret;
use super::values::Moment;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::SystemTime;

/// Keys that follow each other.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyChain {
    /// Name, by which neighbours say that it is theirs.
    #[schemars(length(min = 1))]
    pub name: String,
    /// The keys, at least one. No two have the same `id` or the same `start`.
    #[schemars(length(min = 1))]
    pub keys: Vec<Key>,
}

/// A key. Its lifetime is for both directions (`send-accept-lifetime`).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Its name in status and logs, and its KeyID in TCP-AO.
    pub id: u8,
    /// The key, 1 to 80 octets; fewer than 12 are weak.
    pub secret: Secret,
    /// Used from this time on; since ever where absent.
    #[serde(default, with = "Moment")]
    pub start: Option<SystemTime>,
    /// Used until this time, if another key is there to take its place; for ever where absent.
    #[serde(default, with = "Moment")]
    pub end: Option<SystemTime>,
}

impl Key {
    fn has_started(&self, now: SystemTime) -> bool {
        self.start.is_none_or(|start| start <= now)
    }

    /// Whether its time is over.
    pub fn has_ended(&self, now: SystemTime) -> bool {
        self.end.is_some_and(|end| end <= now)
    }
}

impl KeyChain {
    /// The key to sign with: the one that started last. When all are past their end, the last one stays in use, for
    /// neither a session without a key nor a lost peering is better; `None` before the first one starts.
    pub fn active(&self, now: SystemTime) -> Option<&Key> {
        let started = || self.keys.iter().filter(|k| k.has_started(now));
        let alive = started().filter(|k| !k.has_ended(now)).max_by_key(|k| k.start);
        alive.or_else(|| started().max_by_key(|k| k.end))
    }

    /// The keys that may be received: all in their time, and the active one.
    pub fn accepted(&self, now: SystemTime) -> impl Iterator<Item = &Key> {
        let active = self.active(now).map(|k| k.id);
        self.keys.iter().filter(move |k| k.has_started(now) && !k.has_ended(now) || Some(k.id) == active)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn key(id: u8, start: Option<u64>, end: Option<u64>) -> Key {
        Key { id, secret: Secret::new(format!("secret-{id}")), start: start.map(at), end: end.map(at) }
    }

    fn chain(keys: Vec<Key>) -> KeyChain {
        KeyChain { name: "core".into(), keys }
    }

    #[test]
    fn the_key_that_started_last_is_sent_and_all_in_their_time_are_accepted() {
        let c = chain(vec![key(1, None, Some(110)), key(2, Some(100), Some(200)), key(3, Some(300), None)]);
        let sent = |now| c.active(at(now)).map(|k| k.id);
        let accepted = |now| c.accepted(at(now)).map(|k| k.id).collect::<Vec<_>>();
        for (now, send, accept) in [
            (99, 1, &[1][..]),
            (100, 2, &[1, 2]),
            (110, 2, &[2]),
            // Nothing follows yet: the last one goes on.
            (200, 2, &[2]),
            (300, 3, &[3]),
        ] {
            assert_eq!((sent(now), accepted(now).as_slice()), (Some(send), accept), "{now}");
        }
        let later = chain(vec![key(1, Some(100), None)]);
        assert!(later.active(at(99)).is_none() && later.accepted(at(99)).next().is_none());
    }

    #[test]
    fn times_are_utc() {
        let read = |text: &str| serde_saphyr::from_str::<Key>(text);
        let k = read("{ id: 1, secret: s, start: 1970-01-01T00:01:40Z }").unwrap();
        assert_eq!((k.start, k.end), (Some(at(100)), None));
        for wrong in ["1970-01-01", "1970-01-01T00:00:00+01:00", "1969-12-31T23:59:59Z", "now", "1970-02-31T00:00:00Z"]
        {
            assert!(read(&format!("{{ id: 1, secret: s, start: {wrong} }}")).is_err(), "{wrong}");
        }
        assert!(!format!("{k:?}").contains("secret: s") && !format!("{k:?}").contains("\"s\""));
    }

    proptest! {
        // Once a key has started there is always one to sign with, and it is among those that are accepted.
        #[test]
        fn no_gap(times in prop::collection::vec(any::<(Option<u8>, Option<u8>)>(), 1..6), now in 0u64..300) {
            let times: Vec<_> = times.iter().map(|t| (t.0.map(u64::from), t.1.map(u64::from))).collect();
            let c = chain(times.iter().enumerate().map(|(i, t)| key(i as u8, t.0, t.1)).collect());
            let started = times.iter().any(|t| t.0.is_none_or(|start| start <= now));
            let active = c.active(at(now)).map(|k| k.id);
            prop_assert_eq!(active.is_some(), started);
            prop_assert!(active.is_none_or(|id| c.accepted(at(now)).any(|k| k.id == id)));
        }
    }
}

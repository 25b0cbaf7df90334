//! Samples and the rates between them.

use crate::client::{Client, rows};
use crate::error::Error;
use crate::output::number;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Instant;

/// What the gateway said at a time.
pub struct Sample {
    /// When.
    pub at: Instant,
    /// `/status`.
    pub status: Value,
    /// `/counters`.
    pub counters: Value,
}

impl Sample {
    /// Asks for one.
    pub fn take(client: &Client) -> Result<Self, Error> {
        let (status, counters) = (client.get("/status")?, client.get("/counters")?);
        Ok(Self { at: Instant::now(), status, counters })
    }
}

/// What a worker does in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Worker {
    /// Share of polls that found something.
    pub load: f64,
    /// Packets from ports.
    pub received: f64,
    /// Packets to ports.
    pub sent: f64,
    /// Bits from ports.
    pub bits_in: f64,
    /// Bits to ports.
    pub bits_out: f64,
    /// Packets dropped.
    pub dropped: f64,
    /// Packets to the control plane.
    pub punted: f64,
}

impl Worker {
    /// All of them; the load is their mean.
    pub fn total(workers: &[Self]) -> Self {
        let sum = |of: fn(&Self) -> f64| workers.iter().map(of).sum::<f64>();
        Self {
            load: sum(|w| w.load) / workers.len().max(1) as f64,
            received: sum(|w| w.received),
            sent: sum(|w| w.sent),
            bits_in: sum(|w| w.bits_in),
            bits_out: sum(|w| w.bits_out),
            dropped: sum(|w| w.dropped),
            punted: sum(|w| w.punted),
        }
    }
}

/// Packets dropped for one reason, by all workers.
#[derive(Clone, Debug, PartialEq)]
pub struct Drops {
    /// The reason.
    pub reason: String,
    /// In a second.
    pub rate: f64,
    /// Since the gateway started.
    pub total: u64,
}

/// Order of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Most in a second first.
    Rate,
    /// Most of all first.
    Total,
    /// By name.
    Name,
}

impl Sort {
    /// The one after it.
    pub fn next(self) -> Self {
        match self {
            Self::Rate => Self::Total,
            Self::Total => Self::Name,
            Self::Name => Self::Rate,
        }
    }

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Total => "total",
            Self::Name => "name",
        }
    }
}

/// What happened between two samples.
#[derive(Debug, PartialEq)]
pub struct Rates {
    /// By worker.
    pub workers: Vec<Worker>,
    /// Reasons for which anything was ever dropped.
    pub drops: Vec<Drops>,
}

impl Rates {
    /// Between two samples. `None` when the gateway has started anew.
    pub fn between(before: &Sample, after: &Sample) -> Option<Self> {
        let seconds = after.at.duration_since(before.at).as_secs_f64();
        let restarted = number(&after.status["seconds"]) < number(&before.status["seconds"]);
        (!restarted && seconds > 0.0).then(|| Self::of(&before.counters, &after.counters, seconds))
    }

    fn of(before: &Value, after: &Value, seconds: f64) -> Self {
        let (before, after) = (rows(&before["workers"]), rows(&after["workers"]));
        let mut drops: BTreeMap<&str, Drops> = BTreeMap::new();
        let mut workers = Vec::new();
        for (before, after) in before.iter().zip(after) {
            let grown = |name: &str| number(&after[name]).saturating_sub(number(&before[name])) as f64;
            let mut worker = Worker {
                load: 1.0 - ratio(grown("idle_polls"), grown("polls")),
                received: grown("received") / seconds,
                sent: grown("sent") / seconds,
                bits_in: grown("received_octets") * 8.0 / seconds,
                bits_out: grown("sent_octets") * 8.0 / seconds,
                ..Worker::default()
            };
            for (name, total) in after.as_object().into_iter().flatten() {
                let rate = grown(name) / seconds;
                if let Some(reason) = name.strip_prefix("drop.") {
                    worker.dropped += rate;
                    let all = Drops { reason: reason.to_owned(), rate: 0.0, total: 0 };
                    let all = drops.entry(reason).or_insert(all);
                    all.rate += rate;
                    all.total += number(total);
                } else if name.starts_with("punt.") {
                    worker.punted += rate;
                }
            }
            workers.push(worker);
        }
        Self { workers, drops: drops.into_values().filter(|d| d.total > 0).collect() }
    }

    /// The reasons in an order; those with the same number by name.
    pub fn sorted(&self, sort: Sort) -> Vec<Drops> {
        let mut drops = self.drops.clone();
        match sort {
            Sort::Rate => drops.sort_by(|a, b| b.rate.total_cmp(&a.rate)),
            Sort::Total => drops.sort_by_key(|d| std::cmp::Reverse(d.total)),
            Sort::Name => {}
        }
        drops
    }
}

// A worker that has not polled at all is stuck in one poll: busy.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Duration;

    /// Two workers, two seconds apart.
    pub fn samples() -> (Sample, Sample) {
        let at = Instant::now();
        let status = |seconds: u64| {
            json!({ "version": "0.1.0", "seconds": seconds, "workers": 2, "ike_sas": 5, "child_sas": 6, "sessions": 13,
                    "open_sessions": 12, "listeners": [] })
        };
        let worker = |n: u64| {
            json!({ "polls": 1000 * n, "idle_polls": 750 * n, "received": 1_000_000 * n, "received_octets": 64_000_000 * n,
                    "sent": 900_000 * n, "sent_octets": 81_000_000 * n, "drop.esp_replay": 10 * n, "drop.no_route": 4 + n,
                    "drop.tx_full": 0, "punt.ike": 3 * n })
        };
        let idle = json!({ "polls": 7, "idle_polls": 7, "drop.no_route": 90 });
        let counters = |n| json!({ "workers": [worker(n), idle], "control": {}, "fib": {} });
        let before = Sample { at, status: status(4000), counters: counters(1) };
        (before, Sample { at: at + Duration::from_secs(2), status: status(4002), counters: counters(3) })
    }

    #[test]
    fn rates_are_per_second_and_drops_have_an_order() {
        let (before, after) = samples();
        let rates = Rates::between(&before, &after).unwrap();
        let busy = Worker {
            load: 0.25,
            received: 1e6,
            sent: 9e5,
            bits_in: 5.12e8,
            bits_out: 6.48e8,
            dropped: 11.0,
            punted: 3.0,
        };
        assert_eq!(rates.workers, [busy, Worker { load: 1.0, ..Worker::default() }]);
        let names = |sort| rates.sorted(sort).into_iter().map(|d| (d.reason, d.rate, d.total)).collect::<Vec<_>>();
        let (replay, route) = (("esp_replay".to_owned(), 10.0, 30), ("no_route".to_owned(), 1.0, 97));
        assert_eq!(names(Sort::Rate), [replay.clone(), route.clone()]);
        assert_eq!(names(Sort::Total), [route.clone(), replay.clone()]);
        assert_eq!(names(Sort::Name), [replay, route]);
    }

    #[test]
    fn a_gateway_that_has_restarted_has_no_rates_yet() {
        let (before, after) = samples();
        let again = Sample {
            at: after.at + Duration::from_secs(1),
            status: json!({ "seconds": 1 }),
            counters: before.counters,
        };
        assert_eq!(Rates::between(&after, &again), None);
    }
}

//! What is seen of a test while it runs: a line and a sample each second.

use crate::lab::Overview;
use crate::report::short;
use crate::result::Sample;
use crate::tally::Flow;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Recorder {
    began: Instant,
    count: u32,
    say: fn(&str),
    stage: String,
    last: Instant,
    before: Counts,
    /// Since the last sample.
    since: Counts,
    samples: Vec<Sample>,
}

/// Counters.
#[derive(Clone, Copy, Default)]
struct Counts {
    ups: u64,
    failures: u64,
    flows: [Flow; 2],
}

impl Recorder {
    pub(super) fn new(began: Instant, count: u32, say: fn(&str)) -> Self {
        let (before, since) = (Counts::default(), Counts::default());
        Self { began, count, say, stage: String::new(), last: began, before, since, samples: Vec::new() }
    }

    pub(super) fn since_start(&self, now: Instant) -> f64 {
        now.saturating_duration_since(self.began).as_secs_f64()
    }

    /// What is done from now on.
    pub(super) fn stage(&mut self, what: &str) {
        self.stage.clear();
        self.stage.push_str(what);
    }

    /// Subscribers are counted anew.
    pub(super) fn goal(&mut self) {
        (self.before.ups, self.before.failures) = (0, 0);
    }

    /// Packets are counted anew.
    pub(super) fn trial(&mut self) {
        self.before.flows = [Flow::default(); 2];
    }

    /// Takes how it stands, and makes a sample of it when a second has passed.
    pub(super) fn see(&mut self, now: Instant, seen: &Overview) {
        let sum = |reasons: &BTreeMap<String, u64>| reasons.values().sum::<u64>();
        let failures = sum(&seen.record.failed) + sum(&seen.record.lost);
        let counts = Counts { ups: seen.record.ups, failures, flows: seen.flows };
        self.since.ups += counts.ups.saturating_sub(self.before.ups);
        self.since.failures += counts.failures.saturating_sub(self.before.failures);
        for way in 0..2 {
            let (new, old, sum) = (&counts.flows[way], &self.before.flows[way], &mut self.since.flows[way]);
            sum.sent += new.sent.saturating_sub(old.sent);
            sum.received += new.received.saturating_sub(old.received);
        }
        self.before = counts;
        let passed = now.saturating_duration_since(self.last);
        if passed < SECOND {
            return;
        }
        let rate = |n: u64| n as f64 / passed.as_secs_f64();
        let since = std::mem::take(&mut self.since);
        let sample = Sample {
            at: self.since_start(now),
            up: seen.census.up,
            connecting: seen.census.connecting,
            setups: rate(since.ups),
            failures: rate(since.failures),
            sent: since.flows.map(|f| rate(f.sent)),
            received: since.flows.map(|f| rate(f.received)),
        };
        (self.say)(&self.line(&sample, seen));
        self.samples.push(sample);
        self.last = now;
    }

    fn line(&self, s: &Sample, seen: &Overview) -> String {
        let mut line = format!("[{:6.1}] {:28} up {}/{}", s.at, self.stage, s.up, self.count);
        if s.connecting > 0 {
            line += &format!(", connecting {}", s.connecting);
        }
        if s.setups > 0.0 {
            line += &format!(", {:.0} set-ups/s", s.setups);
        }
        if s.failures > 0.0 {
            line += &format!(", {:.0} failures/s", s.failures);
        }
        for (way, name) in ["up", "down"].into_iter().enumerate() {
            if s.sent[way] > 0.0 || s.received[way] > 0.0 {
                let bad = seen.flows[way].corrupted + seen.flows[way].misdelivered + seen.flows[way].duplicated;
                line += &format!(", {name} {} -> {} pps", short(s.sent[way]), short(s.received[way]));
                if bad > 0 {
                    line += &format!(" ({bad} bad)");
                }
            }
        }
        if seen.port_drops > 0 {
            line += &format!(", {} dropped by ports", seen.port_drops);
        }
        line
    }

    /// All samples.
    pub(super) fn finish(self) -> Vec<Sample> {
        self.samples
    }
}

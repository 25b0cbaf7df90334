//! Results held against the criteria.

use crate::profile::Criteria;
use crate::result::{Check, StageResult, Trial};
use crate::tally::Flow;

/// A check for each criterion that applies somewhere. Traffic without packets is never good.
pub(super) fn judge(c: &Criteria, stages: &[StageResult], count: u32) -> Vec<Check> {
    let mut judge = Judge { checks: Vec::new() };
    for stage in stages {
        judge.all_up(c, stage, count);
    }
    let reasons = |get: fn(&StageResult) -> &std::collections::BTreeMap<String, u64>| {
        stages.iter().flat_map(|s| get(s).values()).sum::<u64>()
    };
    judge.at_most("failed set-ups", c.failed_setups, reasons(|s| &s.subscribers.failed));
    judge.at_most("sessions that ended by themselves", c.lost_sessions, reasons(|s| &s.subscribers.lost));

    let all = || stages.iter().flat_map(|s| &s.trials);
    if all().next().is_some() {
        let mut sum = Flow::default();
        all().for_each(|t| sum.add(&t.total()));
        judge.at_most("duplicated packets", c.duplicated, sum.duplicated);
        judge.at_most("corrupted packets", c.corrupted, sum.corrupted);
        judge.at_most("misdelivered packets", c.misdelivered, sum.misdelivered);
        judge.at_most("reordered packets", c.reordered, sum.reordered);
    }
    for stage in stages {
        for trial in stage.trials.iter().filter(|t| !t.search) {
            judge.trial(c, &stage.kind, trial);
        }
        for search in &stage.searches {
            let least = c.ndr.get(&search.size).copied();
            judge.at_least(&format!("no-drop rate at {}, pps", search.size), least, search.ndr);
        }
        if let Some(setups) = &stage.setups {
            judge.at_least("set-ups per second", c.setups, setups.per_second);
        }
    }
    judge.checks
}

struct Judge {
    checks: Vec<Check>,
}

impl Judge {
    fn add(&mut self, what: &str, demanded: String, found: String, passed: bool) {
        self.checks.push(Check { what: what.to_owned(), demanded, found, passed });
    }

    fn at_most(&mut self, what: &str, most: Option<u64>, found: u64) {
        if let Some(most) = most {
            self.add(what, format!("at most {most}"), found.to_string(), found <= most);
        }
    }

    fn at_least(&mut self, what: &str, least: Option<f64>, found: f64) {
        if let Some(least) = least {
            self.add(what, format!("at least {least:.0}"), format!("{found:.0}"), found >= least);
        }
    }

    fn all_up(&mut self, c: &Criteria, stage: &StageResult, count: u32) {
        let s = &stage.subscribers;
        if !s.expected {
            return;
        }
        let what = format!("{}: all subscribers up", stage.kind);
        let found = s.complete.map_or(format!("{} of {count}", s.up), |t| format!("after {t:.1} s"));
        // What churns is never all up for long: it is up in the end, or not.
        match c.up_within.filter(|_| stage.kind != "churn") {
            Some(within) => {
                let passed = s.complete.is_some_and(|t| t <= within.as_secs_f64());
                self.add(&what, format!("within {}", humantime::format_duration(within)), found, passed);
            }
            None => self.add(&what, "in the end".into(), found, s.complete.is_some()),
        }
    }

    fn trial(&mut self, c: &Criteria, kind: &str, trial: &Trial) {
        let name = format!("{kind}, {}", trial.size);
        let ways = trial.direction.ways();
        let flowed = (0..2).all(|w| !ways[w] || trial.flows[w].received > 0);
        self.add(&format!("{name}: packets pass"), "each way".into(), format!("{}", trial.total().received), flowed);
        if let Some(most) = c.loss {
            let found = format!("{:.6} ({} packets)", trial.loss(), trial.total().lost());
            self.add(&format!("{name}: loss"), format!("at most {most}"), found, trial.loss() <= most);
        }
        if let Some(most) = c.latency_p99 {
            let worst = trial.latency.iter().flatten().map(|l| l.p99).fold(0.0, f64::max);
            let demanded = format!("at most {}", humantime::format_duration(most));
            self.add(&format!("{name}: p99"), demanded, format!("{worst:.0} us"), worst <= most.as_secs_f64() * 1e6);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Direction;
    use crate::result::{Bound, Search, Subscribers};
    use std::time::Duration;

    fn trial(sent: u64, received: u64) -> Trial {
        let flow = Flow { sent, received, ..Flow::default() };
        Trial {
            size: "64".into(),
            direction: Direction::Both,
            offered: 100.0,
            sent: [100.0; 2],
            octets: 64.0,
            seconds: 1.0,
            flows: [flow, flow],
            latency: [None, None],
            shortfall: None,
            search: false,
        }
    }

    fn stage(kind: &str) -> StageResult {
        StageResult {
            kind: kind.into(),
            began: 0.0,
            seconds: 1.0,
            subscribers: Subscribers::default(),
            trials: Vec::new(),
            searches: Vec::new(),
            setups: None,
        }
    }

    fn failing(c: &Criteria, stage: StageResult) -> Vec<String> {
        judge(c, &[stage], 10).into_iter().filter(|c| !c.passed).map(|c| c.what).collect()
    }

    #[test]
    fn whoever_is_not_up_is_found() {
        let with = |complete| StageResult {
            subscribers: Subscribers { expected: true, complete, up: 9, ..Subscribers::default() },
            ..stage("ramp")
        };
        let hurry = Criteria { up_within: Some(Duration::from_secs(5)), ..Criteria::default() };
        assert!(failing(&Criteria::default(), with(Some(9.0))).is_empty());
        assert_eq!(failing(&Criteria::default(), with(None)), ["ramp: all subscribers up"]);
        assert_eq!(failing(&hurry, with(Some(9.0))), ["ramp: all subscribers up"]);
        assert!(failing(&hurry, StageResult { kind: "churn".into(), ..with(Some(9.0)) }).is_empty());
    }

    #[test]
    fn failures_and_losses_are_found() {
        let mut bad = stage("hold");
        bad.subscribers.failed.insert("why".into(), 1);
        bad.subscribers.lost.insert("why".into(), 2);
        assert_eq!(failing(&Criteria::default(), bad.clone()).len(), 2);
        let lenient = Criteria { failed_setups: Some(1), lost_sessions: Some(2), ..Criteria::default() };
        assert!(failing(&lenient, bad).is_empty());
    }

    #[test]
    fn packets_are_held_to_what_is_demanded() {
        let none = Criteria { loss: Some(0.0), ..Criteria::default() };
        let with = |t: Trial| StageResult { trials: vec![t], ..stage("traffic") };
        assert!(failing(&none, with(trial(100, 100))).is_empty());
        assert_eq!(failing(&none, with(trial(100, 99))), ["traffic, 64: loss"]);
        assert_eq!(failing(&Criteria::default(), with(trial(100, 0))), ["traffic, 64: packets pass"]);
        assert!(failing(&none, with(Trial { search: true, ..trial(100, 50) })).is_empty(), "a search loses packets");
        let mut corrupted = trial(100, 100);
        corrupted.flows[1].corrupted = 1;
        assert_eq!(failing(&none, with(Trial { search: true, ..corrupted })), ["corrupted packets"]);
    }

    #[test]
    fn rates_are_held_to_what_is_demanded() {
        let c = Criteria { ndr: [("64".to_owned(), 1000.0)].into(), ..Criteria::default() };
        let with = |ndr| {
            let (size, direction, latency) = ("64".into(), Direction::Both, Vec::new());
            let search = Search { size, direction, octets: 64.0, ndr, pdr: ndr, bound: Bound::Loss, latency };
            StageResult { searches: vec![search], ..stage("search") }
        };
        assert!(failing(&c, with(1000.0)).is_empty());
        assert_eq!(failing(&c, with(999.0)), ["no-drop rate at 64, pps"]);
    }
}

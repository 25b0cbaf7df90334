use super::*;
use crate::profile::{Direction, Extent};
use crate::result::{Bound, Check, FORMAT, Machine, Sample, Search, Setups, Shortfall, Spread, Subscribers, Trial};
use crate::tally::Flow;

fn outcome(ndr: f64) -> Outcome {
    let flow = Flow { sent: 1000, received: 990, reordered: 3, ..Flow::default() };
    let spread = Spread {
        count: 990,
        min: 5.0,
        p50: 10.0,
        p99: 40.0,
        p999: 80.0,
        max: 900.0,
        curve: vec![(0.0, 5.0), (0.5, 10.0), (0.99, 40.0), (1.0, 900.0)],
    };
    let trial = Trial {
        size: "64".into(),
        direction: Direction::Both,
        offered: 1000.0,
        sent: [1000.0; 2],
        octets: 64.0,
        seconds: 1.0,
        flows: [flow; 2],
        latency: [Some(spread.clone()), None],
        shortfall: Some(Shortfall::Generator),
        search: false,
    };
    let search = Search {
        size: "64".into(),
        direction: Direction::Both,
        octets: 64.0,
        ndr,
        pdr: ndr * 1.1,
        bound: Bound::Loss,
        latency: vec![(0.5, trial.clone())],
    };
    let mut subscribers = Subscribers { up: 7, complete: Some(1.5), wait: Some(spread), ..Subscribers::default() };
    subscribers.failed.insert("IKE: <no> & \"yes\"".into(), 2);
    let stage = StageResult {
        kind: "search".into(),
        began: 0.0,
        seconds: 9.0,
        subscribers,
        trials: vec![trial],
        searches: vec![search],
        setups: Some(Setups { extent: Extent::Ike, in_flight: 8, per_second: 450.0 }),
    };
    let sample = |at: f64| Sample { at, up: 7, sent: [1000.0, 0.0], received: [990.0, 0.0], ..Sample::default() };
    Outcome {
        format: FORMAT,
        name: "a <test>".into(),
        description: "of & \"this\"".into(),
        started: "2026-01-01T00:00:00Z".into(),
        seconds: 9.0,
        subscribers: 7,
        machine: Machine::default(),
        stages: vec![stage],
        timeline: (1..9).map(|t| sample(f64::from(t))).collect(),
        checks: vec![Check { what: "loss".into(), demanded: "0".into(), found: "0.01".into(), passed: false }],
        passed: false,
    }
}

/// Every element that is opened is closed, in order; nothing is loaded from elsewhere.
fn well_formed(page: &str) {
    let mut open = Vec::new();
    for tag in page.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').unwrap_or_else(|| panic!("{tag}"));
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
        match tag {
            t if t.starts_with('!') || t.ends_with('/') => {}
            t if t.starts_with('/') => assert_eq!(open.pop(), Some(name), "{t}"),
            _ => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?}");
    for word in ["<script", " src=", " href=", "@import", "url("] {
        assert!(!page.contains(word), "{word}");
    }
    assert!(!page.contains("NaN") && !page.contains("inf,"), "a number that is none");
}

#[test]
fn a_report_is_whole_and_stands_alone() {
    let page = html(&outcome(1000.0), None);
    well_formed(&page);
    for said in ["a &lt;test&gt;", "failed", "IKE: &lt;no&gt; &amp; &quot;yes&quot;", "generator's limit", "990", "450"]
    {
        assert!(page.contains(said), "{said}");
    }
    assert!(page.matches("<svg").count() >= 4, "plots");
}

#[test]
fn an_earlier_result_stands_beside() {
    let page = html(&outcome(1500.0), Some(&outcome(1000.0)));
    well_formed(&page);
    assert!(page.contains("1.500") && page.contains("NDR before") && page.contains("Compared with"));
}

#[test]
fn an_empty_result_makes_a_report() {
    let mut empty = outcome(0.0);
    (empty.stages, empty.timeline, empty.checks) = (Vec::new(), Vec::new(), Vec::new());
    well_formed(&html(&empty, Some(&outcome(1.0))));
    well_formed(&html(&outcome(0.0), Some(&empty)));
}

#[test]
fn a_result_is_read_as_it_was_written() {
    let path = std::env::temp_dir().join(format!("capacity-result-{}.json", std::process::id()));
    let before = outcome(1000.0);
    before.write(&path).unwrap();
    let after = Outcome::read(&path).unwrap();
    assert_eq!(serde_json::to_value(&before).unwrap(), serde_json::to_value(&after).unwrap());
    Outcome { format: FORMAT + 1, ..before }.write(&path).unwrap();
    assert!(Outcome::read(&path).is_err());
    std::fs::remove_file(path).unwrap();
}

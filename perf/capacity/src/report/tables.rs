//! The report's tables.

use super::{escape, short};
use crate::result::{Bound, Outcome, Search, Setups, Shortfall, StageResult, Trial};
use crate::tally::Flow;

fn table(class: &str, head: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let cells = |tag: &str, row: &[String]| row.iter().map(|c| format!("<{tag}>{c}</{tag}>")).collect::<String>();
    let head: Vec<String> = head.iter().map(|h| escape(h)).collect();
    let body: String = rows.iter().map(|r| format!("<tr>{}</tr>\n", cells("td", r))).collect();
    let head = cells("th", &head);
    format!("<table class=\"{class}\"><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>\n")
}

/// How many times as much as before.
fn ratio(now: f64, before: Option<f64>) -> String {
    before.filter(|b| *b > 0.0).map_or("-".into(), |b| format!("{:.3}", now / b))
}

pub(super) fn checks(outcome: &Outcome) -> String {
    let verdict = |passed| if passed { "<span class=\"good\">ok</span>" } else { "<span class=\"bad\">FAIL</span>" };
    let row = |c: &crate::result::Check| {
        vec![escape(&c.what), escape(&c.demanded), escape(&c.found), verdict(c.passed).to_owned()]
    };
    table("text", &["criterion", "demanded", "found", ""], &outcome.checks.iter().map(row).collect::<Vec<_>>())
}

pub(super) fn searches(outcome: &Outcome, earlier: Option<&Outcome>) -> String {
    let row = |s: &Search| {
        let old = earlier.and_then(|e| e.search(s));
        let bits = |pps: f64| short(pps * s.octets * 8.0) + "bit/s";
        let bound = match s.bound {
            Bound::Loss => "loss",
            Bound::Max => "the profile's max",
            Bound::Generator => "the generator",
            Bound::Port => "the generator's port",
            Bound::Nothing => "loss at any rate",
        };
        let way = format!("{:?}", s.direction).to_lowercase();
        let (ndr, pdr) = (short(s.ndr), short(s.pdr));
        vec![s.size.clone(), way, ndr, bits(s.ndr), ratio(s.ndr, old.map(|o| o.ndr)), pdr, bits(s.pdr), bound.into()]
    };
    let head = ["octets", "way", "NDR, pps each way", "", "to before", "PDR", "", "bounded by"];
    let note = "<p>Rates are those of inner IP packets, each way.</p>\n";
    let rows: Vec<_> = outcome.searches().map(row).collect();
    if rows.is_empty() { String::new() } else { table("", &head, &rows) + note }
}

pub(super) fn trials(outcome: &Outcome, earlier: Option<&Outcome>) -> String {
    let mut rows = Vec::new();
    for stage in &outcome.stages {
        let before = earlier.and_then(|e| e.stages.iter().find(|s| s.kind == stage.kind));
        for trial in &stage.trials {
            let name = if trial.search { format!("{} trial", stage.kind) } else { stage.kind.clone() };
            let same = |t: &&Trial| !trial.search && t.size == trial.size && t.direction == trial.direction;
            ways(&mut rows, &name, trial, before.and_then(|b| b.trials.iter().find(same)));
        }
        for (share, trial) in stage.searches.iter().flat_map(|s| &s.latency) {
            ways(&mut rows, &format!("at {:.0} % of NDR", share * 100.0), trial, None);
        }
    }
    let head = [
        "stage",
        "octets",
        "way",
        "offered pps",
        "sent",
        "received",
        "lost",
        "loss",
        "twice",
        "late",
        "corrupt",
        "astray",
        "p50 us",
        "p99",
        "p99.9",
        "max",
        "p99 to before",
    ];
    table("", &head, &rows)
}

fn ways(rows: &mut Vec<Vec<String>>, name: &str, trial: &Trial, before: Option<&Trial>) {
    let on = trial.direction.ways();
    for (way, word) in ["up", "down"].into_iter().enumerate().filter(|(w, _)| on[*w]) {
        let f: &Flow = &trial.flows[way];
        let limited = match trial.shortfall {
            Some(Shortfall::Generator) => " (generator's limit)",
            Some(Shortfall::Port) => " (port's limit)",
            None => "",
        };
        let mut row = vec![
            escape(name),
            trial.size.clone(),
            word.to_owned(),
            format!("{}{limited}", short(trial.offered)),
            f.sent.to_string(),
            f.received.to_string(),
            f.lost().to_string(),
            format!("{:.4} %", f.loss() * 100.0),
        ];
        row.extend([f.duplicated, f.reordered, f.corrupted, f.misdelivered].map(|n| n.to_string()));
        match &trial.latency[way] {
            Some(l) => row.extend([l.p50, l.p99, l.p999, l.max].map(short)),
            None => row.extend(vec!["-".to_owned(); 4]),
        }
        let p99 = |t: &Trial| t.latency[way].as_ref().map(|l| l.p99);
        row.push(ratio(p99(trial).unwrap_or_default(), before.and_then(p99)));
        rows.push(row);
    }
}

pub(super) fn subscribers(outcome: &Outcome, earlier: Option<&Outcome>) -> String {
    let row = |s: &StageResult| {
        let p = &s.subscribers;
        let sum = |m: &std::collections::BTreeMap<String, u64>| m.values().sum::<u64>().to_string();
        let mut row = vec![
            escape(&s.kind),
            format!("{:.1}", s.seconds),
            p.up.to_string(),
            p.complete.map_or("-".into(), |t| format!("{t:.2}")),
            p.ups.to_string(),
            p.closed.to_string(),
            p.unanswered.to_string(),
            sum(&p.failed),
            sum(&p.lost),
        ];
        match &p.wait {
            Some(w) => row.extend([w.p50, w.p99, w.max].map(short)),
            None => row.extend(vec!["-".to_owned(); 3]),
        }
        let before = earlier.and_then(|e| e.stages.iter().find(|b| b.kind == s.kind));
        let complete = |s: &StageResult| s.subscribers.complete;
        row.push(ratio(complete(s).unwrap_or_default(), before.and_then(complete)));
        row
    };
    let head = [
        "stage",
        "s",
        "up at its end",
        "all up after s",
        "set-ups",
        "ended",
        "end unanswered",
        "failed",
        "lost",
        "wait p50 ms",
        "p99",
        "longest",
        "all up to before",
    ];
    table("", &head, &outcome.stages.iter().map(row).collect::<Vec<_>>())
}

pub(super) fn setups(outcome: &Outcome, earlier: Option<&Outcome>) -> String {
    let rows: Vec<_> = outcome
        .stages
        .iter()
        .filter_map(|stage| Some((stage, stage.setups.as_ref()?)))
        .map(|(stage, s)| {
            let same = |b: &&Setups| b.extent == s.extent && b.in_flight == s.in_flight;
            let old = earlier.and_then(|e| e.stages.iter().filter_map(|s| s.setups.as_ref()).find(same));
            let wait = stage.subscribers.wait.clone().unwrap_or_default();
            vec![
                format!("{:?}", s.extent).to_lowercase(),
                s.in_flight.to_string(),
                short(s.per_second),
                short(wait.p50),
                short(wait.p99),
                short(wait.max),
                ratio(s.per_second, old.map(|o| o.per_second)),
            ]
        })
        .collect();
    let head = ["how far", "at a time", "per second", "wait p50 ms", "p99", "longest", "per second to before"];
    table("", &head, &rows)
}

pub(super) fn reasons(outcome: &Outcome) -> String {
    let mut rows = Vec::new();
    for stage in &outcome.stages {
        for (what, reasons) in [("failed", &stage.subscribers.failed), ("lost", &stage.subscribers.lost)] {
            for (why, n) in reasons {
                rows.push(vec![escape(&stage.kind), what.to_owned(), n.to_string(), escape(why)]);
            }
        }
    }
    table("text", &["stage", "", "how many", "reason"], &rows)
}

//! The report: one HTML file that needs nothing else, with tables and plots, beside an earlier result where there is one.

mod plot;
mod tables;

use crate::result::{Outcome, StageResult, Trial};
use plot::{Band, Plot, Series};
use std::fmt::Write;

const STYLE: &str = include_str!("report/style.css");

/// The document.
pub fn html(outcome: &Outcome, earlier: Option<&Outcome>) -> String {
    let mut page = String::new();
    let title = escape(&outcome.name);
    let (verdict, class) = if outcome.passed { ("passed", "good") } else { ("failed", "bad") };
    // Writing to a string does not fail.
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\
         <meta name=\"viewport\" content=\"width=device-width\"/>\
         <title>{title}: {verdict}</title><style>{STYLE}</style></head><body>\n\
         <h1>{title} <span class=\"{class}\">{verdict}</span></h1>\n<p>{}</p>\n",
        escape(&outcome.description)
    );
    page += &facts(outcome, earlier);
    section(&mut page, "Criteria", &tables::checks(outcome));
    section(&mut page, "In the course of time", &timeline(outcome));
    section(&mut page, "Throughput", &(rates(outcome, earlier) + &tables::searches(outcome, earlier)));
    section(&mut page, "Packets", &(tables::trials(outcome, earlier) + &latency(outcome)));
    section(&mut page, "Subscribers", &(tables::subscribers(outcome, earlier) + &waits(outcome, earlier)));
    section(&mut page, "Set-ups", &tables::setups(outcome, earlier));
    section(&mut page, "What went wrong", &tables::reasons(outcome));
    page += "</body></html>\n";
    page
}

fn section(page: &mut String, title: &str, body: &str) {
    if !body.is_empty() {
        let _ = write!(page, "<section><h2>{title}</h2>\n{body}</section>\n");
    }
}

fn facts(outcome: &Outcome, earlier: Option<&Outcome>) -> String {
    let m = &outcome.machine;
    let mut rows = vec![
        ("Started", outcome.started.clone()),
        ("Took", format!("{:.0} s", outcome.seconds)),
        ("Subscribers", outcome.subscribers.to_string()),
        ("Generator", format!("{}, packet cores: {}, Linux {}, {}", m.cpu, m.packet_cores, m.kernel, m.dpdk)),
        ("Ports", m.ports.join("; ")),
    ];
    if let Some(e) = earlier {
        rows.push(("Compared with", format!("{}, {}", e.name, e.started)));
    }
    let rows: String = rows.iter().map(|(k, v)| format!("<tr><th>{k}</th><td>{}</td></tr>\n", escape(v))).collect();
    format!("<table class=\"facts\">{rows}</table>\n")
}

fn timeline(outcome: &Outcome) -> String {
    if outcome.timeline.len() < 2 {
        return String::new();
    }
    let bands: Vec<Band> = outcome.stages.iter().map(|s| (s.kind.clone(), s.began, s.began + s.seconds)).collect();
    let series = |name: &str, of: fn(&crate::result::Sample) -> f64| -> Series {
        (name.to_owned(), outcome.timeline.iter().map(|s| (s.at, of(s))).collect())
    };
    let plot = |title: &str, series: Vec<Series>| {
        let moves = series.iter().any(|(_, points)| points.iter().any(|p| p.1 > 0.0));
        let plot = Plot { title, x: "seconds", series: &series, bands: &bands, log_y: false };
        if moves { plot.lines() } else { String::new() }
    };
    plot("Subscribers", vec![series("up", |s| f64::from(s.up)), series("connecting", |s| f64::from(s.connecting))])
        + &plot("Per second", vec![series("set-ups", |s| s.setups), series("failures", |s| s.failures)])
        + &plot(
            "Packets per second",
            vec![
                series("up sent", |s| s.sent[0]),
                series("up received", |s| s.received[0]),
                series("down sent", |s| s.sent[1]),
                series("down received", |s| s.received[1]),
            ],
        )
}

fn rates(outcome: &Outcome, earlier: Option<&Outcome>) -> String {
    let searches: Vec<_> = outcome.searches().collect();
    let groups: Vec<String> = searches.iter().map(|s| s.size.clone()).collect();
    let mut bars = vec![
        ("NDR".to_owned(), searches.iter().map(|s| s.ndr).collect::<Vec<_>>()),
        ("PDR".to_owned(), searches.iter().map(|s| s.pdr).collect()),
    ];
    if let Some(earlier) = earlier {
        let before = searches.iter().map(|s| earlier.search(s).map_or(0.0, |b| b.ndr));
        bars.push(("NDR before".to_owned(), before.collect()));
    }
    if searches.is_empty() { String::new() } else { plot::bars("Packets per second each way", &groups, &bars) }
}

fn latency(outcome: &Outcome) -> String {
    let mut series: Vec<Series> = Vec::new();
    let mut add = |name: &str, trial: &Trial| {
        for (way, spread) in ["up", "down"].into_iter().zip(&trial.latency) {
            series.extend(spread.as_ref().map(|s| (format!("{name}, {way}"), nines(&s.curve))));
        }
    };
    for stage in &outcome.stages {
        for trial in stage.trials.iter().filter(|t| !t.search) {
            add(&format!("{} {}", stage.kind, trial.size), trial);
        }
        for (share, trial) in stage.searches.iter().flat_map(|s| &s.latency) {
            add(&format!("{} at {:.0} %", trial.size, share * 100.0), trial);
        }
    }
    let plot = Plot {
        title: "Latency in microseconds: the share of packets that took no longer",
        x: "nines",
        series: &series,
        bands: &[],
        log_y: true,
    };
    if series.is_empty() { String::new() } else { plot.lines() }
}

/// 0.9 is one, 0.99 two: what few packets meet is what is to be seen.
fn nines(curve: &[(f64, f64)]) -> Vec<(f64, f64)> {
    curve.iter().map(|&(share, value)| (-(1.0 - share).max(1e-5).log10(), value)).collect()
}

fn waits(outcome: &Outcome, earlier: Option<&Outcome>) -> String {
    let curves = |o: &Outcome, suffix: &str| -> Vec<Series> {
        let of = |s: &StageResult| {
            let wait = s.subscribers.wait.as_ref()?;
            let points = wait.curve.iter().map(|&(share, value)| (value, share * 100.0)).collect();
            Some((format!("{}{suffix}", s.kind), points))
        };
        o.stages.iter().filter_map(of).collect()
    };
    let mut series = curves(outcome, "");
    series.extend(earlier.map(|e| curves(e, " before")).unwrap_or_default());
    let plot = Plot {
        title: "Percent of set-ups that took no longer",
        x: "milliseconds",
        series: &series,
        bands: &[],
        log_y: false,
    };
    if series.is_empty() { String::new() } else { plot.lines() }
}

/// A number with three digits and a unit's prefix.
pub(crate) fn short(value: f64) -> String {
    let (scaled, prefix) = match value.abs() {
        v if v >= 1e9 => (value / 1e9, " G"),
        v if v >= 1e6 => (value / 1e6, " M"),
        v if v >= 1e4 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let text = match scaled.abs() {
        v if v >= 100.0 || v == v.trunc() => format!("{scaled:.0}"),
        v if v >= 10.0 => format!("{scaled:.1}"),
        _ => format!("{scaled:.2}"),
    };
    text + prefix
}

/// Text as it may stand in HTML.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            c if c.is_control() && c != '\n' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests;

//! What a benchmark has found: kept as JSON, shown as a table in Markdown, compared with what was accepted before.

use crate::machine::Machine;
use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::fmt::{self, Write};
use std::path::Path;

/// Readings of one quantity, by round.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Samples(pub Vec<f64>);

impl Samples {
    /// The median; `None` without a reading.
    pub fn median(&self) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied()
    }

    /// Least and most.
    pub fn range(&self) -> Option<(f64, f64)> {
        let least = self.0.iter().copied().reduce(f64::min)?;
        Some((least, self.0.iter().copied().reduce(f64::max)?))
    }
}

/// A whole number below 1,000, a thousandth of it otherwise as exact.
fn number(n: f64) -> String {
    if n.abs() < 9.95 { format!("{n:.1}") } else { format!("{n:.0}") }
}

impl fmt::Display for Samples {
    /// `190 (188-197)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.median().zip(self.range()) {
            Some((median, (a, b))) if self.0.len() > 1 => {
                f.pad(&format!("{} ({}-{})", number(median), number(a), number(b)))
            }
            Some((median, _)) => f.pad(&number(median)),
            None => f.pad(""),
        }
    }
}

/// One line.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// What it is to be at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<f64>,
    /// What it is.
    pub measured: Samples,
    /// Its parts, the floors first. What they leave is shown as the rest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<(String, Samples)>,
    /// How it is spent, by node of the worker.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<(String, Samples)>,
}

impl Row {
    /// Adds a reading of how it is spent.
    pub fn add_nodes(&mut self, reading: Vec<(String, f64)>) {
        for (i, (name, ticks)) in reading.into_iter().enumerate() {
            if self.nodes.len() <= i {
                self.nodes.push((name, Samples::default()));
            }
            self.nodes[i].1.0.push(ticks);
        }
    }

    /// What its parts leave.
    pub fn rest(&self) -> Option<f64> {
        let parts: Option<f64> = self.parts.iter().map(|p| p.1.median()).sum();
        self.measured.median().zip(parts).filter(|_| !self.parts.is_empty()).map(|(all, parts)| all - parts)
    }
}

/// Adds a reading to the row of this name, which is made when there is none.
pub fn add(rows: &mut Vec<Row>, name: String, reading: f64) {
    match rows.iter_mut().find(|row| row.name == name) {
        Some(row) => row.measured.0.push(reading),
        None => rows.push(Row { name, measured: Samples(vec![reading]), ..Row::default() }),
    }
}

/// All of a benchmark.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Its name, and that of its files.
    pub benchmark: String,
    /// What figures count.
    pub unit: String,
    /// When.
    pub taken: String,
    /// Where.
    pub machine: Machine,
    /// Figures.
    pub rows: Vec<Row>,
}

impl Report {
    /// Of now, on this machine.
    pub fn new(benchmark: &str, unit: &str, rows: Vec<Row>) -> Self {
        let taken = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
        Self { benchmark: benchmark.into(), unit: unit.into(), taken, machine: Machine::this(), rows }
    }

    /// Reads what [`Self::save`] has written.
    pub fn load(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        serde_json::from_str(&text).with_context(|| file.display().to_string())
    }

    /// Writes NAME.json, NAME.md and NAME.svg.
    pub fn save(&self, dir: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(dir)?;
        let file = |ending: &str| dir.join(&self.benchmark).with_extension(ending);
        std::fs::write(file("json"), serde_json::to_string_pretty(self)? + "\n")?;
        std::fs::write(file("md"), self.to_string())?;
        crate::plot::draw(self, &file("svg"))
    }

    /// Each figure as a multiple of what it was, worst first; rows that only one of both has are left out.
    pub fn ratios(&self, before: &Self) -> Vec<(String, f64, f64, f64)> {
        let old = |name: &str| before.rows.iter().find(|r| r.name == name).and_then(|r| r.measured.median());
        let both = |row: &Row| {
            let (old, new) = (old(&row.name)?, row.measured.median()?);
            Some((row.name.clone(), old, new, new / old))
        };
        let mut all: Vec<_> = self.rows.iter().filter_map(both).collect();
        all.sort_by(|a, b| b.3.total_cmp(&a.3));
        all
    }
}

/// As a table, and the machine below it.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut heads = vec![format!("{} ({})", self.benchmark, self.unit), "goal".into(), "median (min-max)".into()];
        let parts = self.rows.iter().map(|r| &r.parts).max_by_key(|p| p.len());
        let parts: Vec<&str> = parts.into_iter().flatten().map(|p| p.0.as_str()).collect();
        heads.extend(parts.iter().map(|p| (*p).to_owned()));
        if !parts.is_empty() {
            heads.push("rest".into());
        }
        let rows = self.rows.iter().map(|row| {
            let mut cells = vec![row.name.clone(), row.goal.map(number).unwrap_or_default(), row.measured.to_string()];
            let of = |name: &&str| row.parts.iter().find(|p| p.0 == **name).and_then(|p| p.1.median());
            cells.extend(parts.iter().map(|p| of(p).map(number).unwrap_or_default()));
            if !parts.is_empty() {
                cells.push(row.rest().map(number).unwrap_or_default());
            }
            cells
        });
        write_table(f, &heads, &rows.collect::<Vec<_>>())?;
        let nodes: Vec<&Row> = self.rows.iter().filter(|r| !r.nodes.is_empty()).collect();
        if !nodes.is_empty() {
            let worth = |s: &Samples| s.median().is_some_and(|m| m >= 1.0);
            // The worker tells its nodes in their order, whether they had anything to do or not.
            let all =
                nodes.iter().map(|r| &r.nodes).max_by_key(|n| n.len()).into_iter().flatten().map(|n| n.0.as_str());
            let used = |name: &&str| nodes.iter().flat_map(|r| &r.nodes).any(|n| n.0 == *name && worth(&n.1));
            let names: Vec<&str> = all.filter(used).collect();
            let heads: Vec<String> = ["by node"].iter().chain(&names).map(|n| (*n).to_owned()).collect();
            let rows = nodes.iter().map(|row| {
                let of = |name: &&str| row.nodes.iter().find(|n| n.0 == **name && worth(&n.1));
                let cell = |name| of(name).and_then(|n| n.1.median()).map(number).unwrap_or_default();
                std::iter::once(row.name.clone()).chain(names.iter().map(cell)).collect::<Vec<_>>()
            });
            f.write_char('\n')?;
            write_table(f, &heads, &rows.collect::<Vec<_>>())?;
        }
        let m = &self.machine;
        writeln!(
            f,
            "\n{}, {} processors, TSC {} MHz ({}); {}, {}, IPsec-MB {}, {}; {}, {}",
            m.cpu,
            m.cpus,
            m.tsc_mhz,
            m.flags.join(" "),
            m.kernel,
            m.dpdk,
            m.ipsec_mb,
            m.rustc,
            m.revision,
            self.taken
        )
    }
}

/// Markdown, its columns as wide as what is in them.
fn write_table(f: &mut fmt::Formatter<'_>, heads: &[String], rows: &[Vec<String>]) -> fmt::Result {
    let width = |c: usize| rows.iter().chain([&heads.to_vec()]).filter_map(|r| r.get(c)).map(String::len).max();
    let widths: Vec<usize> = (0..heads.len()).map(|c| width(c).unwrap_or(0)).collect();
    let line = |f: &mut fmt::Formatter<'_>, cells: &[String]| {
        for (c, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            if c == 0 { write!(f, "| {cell:<width$} |")? } else { write!(f, " {cell:>width$} |")? }
        }
        f.write_char('\n')
    };
    line(f, heads)?;
    for (c, width) in widths.iter().enumerate() {
        if c == 0 { write!(f, "|{:-<1$}|", "", width + 2)? } else { write!(f, "{:->1$}:|", "", width + 1)? }
    }
    f.write_char('\n')?;
    rows.iter().try_for_each(|row| line(f, row))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, measured: &[f64], parts: &[(&str, f64)]) -> Row {
        let parts = parts.iter().map(|(n, t)| ((*n).to_owned(), Samples(vec![*t]))).collect();
        Row { name: name.into(), goal: Some(190.0), measured: Samples(measured.to_vec()), parts, nodes: Vec::new() }
    }

    #[test]
    fn the_table_has_medians_ranges_and_what_the_floors_leave() {
        let rows = vec![row("a", &[210.0, 190.0, 200.0], &[("I/O", 45.0), ("crypto", 80.0)]), row("b", &[7.25], &[])];
        let report = Report { benchmark: "x".into(), unit: "ticks".into(), rows, ..Report::default() };
        let text = report.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "| x (ticks) | goal | median (min-max) | I/O | crypto | rest |");
        assert_eq!(lines[1], "|-----------|-----:|-----------------:|----:|-------:|-----:|");
        assert_eq!(lines[2], "| a         |  190 |    200 (190-210) |  45 |     80 |   75 |");
        assert_eq!(lines[3], "| b         |  190 |              7.2 |     |        |      |");
    }

    #[test]
    fn ratios_are_of_what_both_have_and_the_worst_is_first() {
        let report = |rows: Vec<Row>| Report { rows, ..Report::default() };
        let before = report(vec![row("a", &[100.0], &[]), row("b", &[100.0], &[]), row("gone", &[1.0], &[])]);
        let after = report(vec![row("a", &[90.0], &[]), row("b", &[120.0], &[]), row("new", &[1.0], &[])]);
        let ratios = after.ratios(&before);
        assert_eq!(ratios.iter().map(|r| (r.0.as_str(), r.3)).collect::<Vec<_>>(), [("b", 1.2), ("a", 0.9)]);
    }

    #[test]
    fn json_round_trips() {
        let report = Report { rows: vec![row("a", &[1.0, 2.0], &[("I/O", 1.0)])], ..Report::default() };
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }
}

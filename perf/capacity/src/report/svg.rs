//! Plots.

use super::escape;
use std::fmt::Write;

const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 46.0;
const BOTTOM: f64 = 40.0;
const COLOURS: usize = 6;

/// A name and points.
pub(super) type Series = (String, Vec<(f64, f64)>);
/// A name, from, to: a part of the x axis.
pub(super) type Band = (String, f64, f64);

/// Lines over numbers.
pub(super) struct Plot<'a> {
    pub(super) title: &'a str,
    pub(super) x: &'a str,
    pub(super) y: &'a str,
    pub(super) series: &'a [Series],
    pub(super) bands: &'a [Band],
    pub(super) log_y: bool,
}

/// Values to a place on the page.
struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    log: bool,
}

impl Scale {
    fn at(&self, value: f64) -> f64 {
        let f = |v: f64| if self.log { v.max(self.low).log10() } else { v };
        let span = f(self.high) - f(self.low);
        self.from + (f(value) - f(self.low)) / if span == 0.0 { 1.0 } else { span } * (self.to - self.from)
    }

    fn ticks(&self) -> Vec<f64> {
        if self.log {
            let (first, last) = (self.low.log10().round() as i32, self.high.log10().round() as i32);
            return (first..=last).map(|e| 10f64.powi(e)).collect();
        }
        let step = step(self.high - self.low);
        let first = (self.low / step).ceil() as i64;
        (0..12).map(|i| (first + i) as f64 * step).take_while(|v| *v <= self.high * 1.0001).collect()
    }
}

/// 1, 2 or 5 times a power of ten, so that there are 4 to 10 of them.
fn step(span: f64) -> f64 {
    let rough = (span / 6.0).max(1e-9);
    let power = 10f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough).unwrap_or(power)
}

impl Plot<'_> {
    /// The drawing.
    pub(super) fn lines(&self) -> String {
        let points = || self.series.iter().flat_map(|(_, p)| p).filter(|p| p.0.is_finite() && p.1.is_finite());
        let ends = self.bands.iter().map(|b| b.2);
        let high_x = points().map(|p| p.0).chain(ends).fold(0.0, f64::max);
        let high_y = points().map(|p| p.1).fold(0.0, f64::max);
        let low_y = points().map(|p| p.1).filter(|v| *v > 0.0).fold(f64::INFINITY, f64::min);
        let x = Scale { low: 0.0, high: high_x.max(1e-6), from: LEFT, to: WIDTH - RIGHT, log: false };
        let (low, high) = if self.log_y && low_y.is_finite() {
            (10f64.powf(low_y.log10().floor()), 10f64.powf(high_y.log10().ceil()))
        } else {
            (0.0, high_y.max(1e-6))
        };
        let y = Scale { low, high, from: HEIGHT - BOTTOM, to: TOP, log: self.log_y && low > 0.0 };
        let mut out = head(self.title);
        for (i, (name, from, to)) in self.bands.iter().enumerate() {
            let (a, b) = (x.at(*from), x.at(*to));
            if i % 2 == 0 {
                let height = HEIGHT - BOTTOM - TOP;
                let _ = write!(
                    out,
                    "<rect class=\"band\" x=\"{a:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{height}\"/>",
                    b - a
                );
            }
            // A name that has no room is left out.
            if b - a > name.len() as f64 * 7.0 {
                let at = (a + b) / 2.0;
                let _ = write!(
                    out,
                    "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                    TOP + 12.0,
                    escape(name)
                );
            }
        }
        axes(&mut out, &y, self.y);
        for tick in x.ticks() {
            let (at, bottom) = (x.at(tick), HEIGHT - BOTTOM + 16.0);
            let _ = write!(out, "<text x=\"{at:.1}\" y=\"{bottom:.1}\" text-anchor=\"middle\">{}</text>", short(tick));
        }
        let (at, bottom) = (WIDTH - RIGHT, HEIGHT - 6.0);
        let _ = write!(out, "<text x=\"{at}\" y=\"{bottom}\" text-anchor=\"end\">{}</text>", escape(self.x));
        for (i, (_, points)) in self.series.iter().enumerate() {
            let points = points.iter().filter(|p| p.0.is_finite() && p.1.is_finite());
            let path: Vec<String> = points.map(|p| format!("{:.1},{:.1}", x.at(p.0), y.at(p.1))).collect();
            let _ = write!(out, "<polyline class=\"line s{}\" points=\"{}\"/>", i % COLOURS, path.join(" "));
        }
        legend(&mut out, self.series.iter().map(|s| s.0.as_str()));
        out + "</svg>\n"
    }
}

/// Bars: for each group, one of each name.
pub(super) fn bars(title: &str, groups: &[String], bars: &[(String, Vec<f64>)]) -> String {
    let high = bars.iter().flat_map(|b| &b.1).copied().fold(1e-6, f64::max);
    let y = Scale { low: 0.0, high, from: HEIGHT - BOTTOM, to: TOP, log: false };
    let mut out = head(title);
    axes(&mut out, &y, "");
    let room = (WIDTH - LEFT - RIGHT) / groups.len().max(1) as f64;
    let width = (room * 0.7 / bars.len().max(1) as f64).min(60.0);
    for (g, group) in groups.iter().enumerate() {
        let middle = LEFT + room * (g as f64 + 0.5);
        let bottom = HEIGHT - BOTTOM + 16.0;
        let _ =
            write!(out, "<text x=\"{middle:.1}\" y=\"{bottom:.1}\" text-anchor=\"middle\">{}</text>", escape(group));
        for (b, (_, values)) in bars.iter().enumerate() {
            let Some(value) = values.get(g) else { continue };
            let (top, left) = (y.at(*value), middle + (b as f64 - bars.len() as f64 / 2.0) * width);
            let height = HEIGHT - BOTTOM - top;
            let _ = write!(
                out,
                "<rect class=\"f{}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>",
                b % COLOURS,
                width - 2.0
            );
        }
    }
    legend(&mut out, bars.iter().map(|b| b.0.as_str()));
    out + "</svg>\n"
}

fn head(title: &str) -> String {
    let title = escape(title);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">\
         <text class=\"title\" x=\"{LEFT}\" y=\"16\">{title}</text>"
    )
}

fn axes(out: &mut String, y: &Scale, unit: &str) {
    for tick in y.ticks() {
        let at = y.at(tick);
        let _ = write!(
            out,
            "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}{unit}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0,
            short(tick)
        );
    }
}

fn legend<'a>(out: &mut String, names: impl Iterator<Item = &'a str>) {
    let mut x = LEFT;
    for (i, name) in names.enumerate() {
        let room = name.len() as f64 * 6.6 + 34.0;
        if x + room > WIDTH {
            break;
        }
        let colour = i % COLOURS;
        let _ = write!(
            out,
            "<rect class=\"f{colour}\" x=\"{x:.1}\" y=\"26\" width=\"12\" height=\"8\"/><text x=\"{:.1}\" y=\"34\">{}</text>",
            x + 16.0,
            escape(name)
        );
        x += room;
    }
}

/// A number with three digits and a unit's prefix.
pub(super) fn short(value: f64) -> String {
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

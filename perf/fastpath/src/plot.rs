//! A bar for each row: its parts, what they leave, and a line where the goal is.

use crate::report::{Report, Row};
use plotters::prelude::*;
use std::path::Path;

const WIDTH: i32 = 1100;
const ROW: i32 = 24;
/// Where bars begin and end.
const LEFT: i32 = 190;
const RIGHT: i32 = 900;
const TOP: i32 = 48;
/// Parts in their order, and the rest.
const COLOURS: [RGBColor; 3] = [RGBColor(140, 150, 165), RGBColor(90, 130, 190), RGBColor(230, 150, 60)];
const GOAL: RGBColor = RGBColor(190, 30, 45);

/// Draws a report as an SVG file.
pub fn draw(report: &Report, file: &Path) -> anyhow::Result<()> {
    let height = TOP + ROW * report.rows.len() as i32 + 12;
    let root = SVGBackend::new(file, (WIDTH as u32, height as u32)).into_drawing_area();
    paint(report, &root).and_then(|()| root.present()).map_err(|e| anyhow::anyhow!("{}: {e}", file.display()))
}

type Failed<DB> = DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>;

fn paint<DB: DrawingBackend>(
    report: &Report,
    root: &DrawingArea<DB, plotters::coord::Shift>,
) -> Result<(), Failed<DB>> {
    root.fill(&WHITE)?;
    let font = |size| ("sans-serif", size).into_font();
    root.draw(&Text::new(format!("{}, {}", report.benchmark, report.unit), (14, 14), font(18)))?;
    let mut x = LEFT + 200;
    for (name, colour) in legend(report).into_iter().zip(COLOURS) {
        root.draw(&Rectangle::new([(x, 16), (x + 12, 28)], colour.filled()))?;
        root.draw(&Text::new(name.clone(), (x + 18, 15), font(13)))?;
        x += 50 + 8 * name.len() as i32;
    }
    root.draw(&PathElement::new([(x, 14), (x, 30)], GOAL.stroke_width(2)))?;
    root.draw(&Text::new("goal", (x + 8, 15), font(13)))?;
    let longest = report.rows.iter().flat_map(|r| [r.measured.median(), r.goal]).flatten().fold(1.0, f64::max);
    let at = |n: f64| LEFT + (n / longest * f64::from(RIGHT - LEFT)) as i32;
    for (row, n) in report.rows.iter().zip(0..) {
        let y = TOP + n * ROW;
        root.draw(&Text::new(row.name.clone(), (14, y + 4), font(13)))?;
        let mut from = 0.0;
        for (length, colour) in bar(row) {
            root.draw(&Rectangle::new([(at(from), y + 2), (at(from + length), y + ROW - 4)], colour.filled()))?;
            from += length;
        }
        if let Some(goal) = row.goal {
            root.draw(&PathElement::new([(at(goal), y), (at(goal), y + ROW - 2)], GOAL.stroke_width(2)))?;
        }
        let end = at(from.max(row.goal.unwrap_or(0.0))) + 6;
        root.draw(&Text::new(row.measured.to_string(), (end, y + 4), font(13)))?;
    }
    Ok(())
}

fn legend(report: &Report) -> Vec<String> {
    let parts = report.rows.iter().map(|r| &r.parts).max_by_key(|p| p.len());
    let names = parts.into_iter().flatten().map(|p| p.0.clone());
    if parts.is_some_and(|p| !p.is_empty()) { names.chain(["rest".to_owned()]).collect() } else { Vec::new() }
}

/// Lengths and colours of a row's bar.
fn bar(row: &Row) -> Vec<(f64, RGBColor)> {
    let parts = row.parts.iter().map(|p| p.1.median().unwrap_or(0.0));
    let rest = row.rest().or(row.measured.median()).unwrap_or(0.0).max(0.0);
    let mut all: Vec<_> = parts.zip(COLOURS).collect();
    all.push((rest, COLOURS[2]));
    all
}

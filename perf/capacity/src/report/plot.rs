//! Plots.

use super::short;
use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

const SIZE: (u32, u32) = (1000, 320);
const COLOURS: [RGBColor; 6] = [
    RGBColor(31, 95, 168),
    RGBColor(179, 86, 11),
    RGBColor(43, 122, 63),
    RGBColor(138, 47, 134),
    RGBColor(107, 93, 16),
    RGBColor(74, 85, 96),
];
const BAND: RGBColor = RGBColor(242, 245, 248);
const RULE: RGBColor = RGBColor(207, 214, 222);
/// How far the y axis goes beyond the highest value.
const HEADROOM: f64 = 1.1;
/// Names for which the legend has room.
const NAMES: usize = 14;

/// A name and points.
pub(super) type Series = (String, Vec<(f64, f64)>);
/// A name, from, to: a part of the x axis.
pub(super) type Band = (String, f64, f64);

/// Lines over numbers.
pub(super) struct Plot<'a> {
    pub(super) title: &'a str,
    pub(super) x: &'a str,
    pub(super) series: &'a [Series],
    pub(super) bands: &'a [Band],
    pub(super) log_y: bool,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

impl Plot<'_> {
    /// The drawing.
    pub(super) fn lines(&self) -> String {
        let values = || self.series.iter().flat_map(|(_, points)| points).map(|p| p.1);
        let high = values().fold(0.0, f64::max);
        let low = values().filter(|v| *v > 0.0).fold(f64::INFINITY, f64::min);
        if self.log_y && low.is_finite() {
            draw(|area| self.paint(area, (low..high.max(low * 10.0)).log_scale()))
        } else {
            draw(|area| self.paint(area, 0.0..high.max(1e-6) * HEADROOM))
        }
    }

    fn paint<Y>(&self, area: &Area, y: Y) -> Drawn
    where
        Y: AsRangedCoord<Value = f64>,
        Y::CoordDescType: ValueFormatter<f64>,
    {
        let points = self.series.iter().flat_map(|(_, points)| points).map(|p| p.0);
        let high = points.chain(self.bands.iter().map(|b| b.2)).fold(1e-6, f64::max);
        let mut chart = frame(area, self.title).build_cartesian_2d(0.0..high, y)?;
        let (bottom, top) = (chart.y_range().start, chart.y_range().end);
        for (i, (name, from, to)) in self.bands.iter().enumerate() {
            let colour = if i % 2 == 0 { BAND } else { WHITE };
            let band = Rectangle::new([(*from, bottom), (*to, top)], colour.filled());
            chart.draw_series([band])?;
            // A name that has no room is left out.
            if (to - from) / high * f64::from(SIZE.0) > name.len() as f64 * 8.0 {
                chart.draw_series([Text::new(name.clone(), (*from, top), font())])?;
            }
        }
        let labels = |v: &f64| short(*v);
        let mut mesh = chart.configure_mesh();
        mesh.disable_x_mesh().light_line_style(TRANSPARENT).bold_line_style(RULE).label_style(font());
        mesh.x_desc(self.x).y_label_formatter(&labels).x_label_formatter(&labels).draw()?;
        for (i, (name, points)) in self.series.iter().enumerate() {
            let colour = COLOURS[i % COLOURS.len()];
            let line = chart.draw_series([PathElement::new(points.clone(), colour.stroke_width(2))])?;
            if i < NAMES {
                line.label(name).legend(move |(x, y)| Rectangle::new([(x, y - 4), (x + 12, y + 4)], colour.filled()));
            }
        }
        legend(&mut chart)
    }
}

/// Bars: for each group, one of each name.
pub(super) fn bars(title: &str, groups: &[String], bars: &[(String, Vec<f64>)]) -> String {
    let high = bars.iter().flat_map(|b| &b.1).copied().fold(1e-6, f64::max);
    let width = 0.8 / bars.len().max(1) as f64;
    draw(|area| {
        // Groups are in the middle between numbers.
        let mut chart = frame(area, title).build_cartesian_2d(-0.5..groups.len() as f64 - 0.5, 0.0..high * HEADROOM)?;
        let name = |x: &f64| {
            let group = groups.get(x.round() as usize).filter(|_| (x - x.round()).abs() < 0.01 && *x > -0.1);
            group.cloned().unwrap_or_default()
        };
        let mut mesh = chart.configure_mesh();
        mesh.disable_x_mesh().light_line_style(TRANSPARENT).bold_line_style(RULE).label_style(font());
        mesh.x_labels(groups.len() * 2 + 1).x_label_formatter(&name).y_label_formatter(&|v| short(*v)).draw()?;
        for (i, (name, values)) in bars.iter().enumerate() {
            let colour = COLOURS[i % COLOURS.len()];
            let left = |group: usize| group as f64 - 0.4 + i as f64 * width;
            let bar =
                |(g, v): (usize, &f64)| Rectangle::new([(left(g), 0.0), (left(g) + width * 0.95, *v)], colour.filled());
            let drawn = chart.draw_series(values.iter().enumerate().map(bar))?;
            drawn.label(name).legend(move |(x, y)| Rectangle::new([(x, y - 4), (x + 12, y + 4)], colour.filled()));
        }
        legend(&mut chart)
    })
}

fn draw(paint: impl FnOnce(&Area) -> Drawn) -> String {
    let mut out = String::new();
    let area = SVGBackend::with_string(&mut out, SIZE).into_drawing_area();
    let drawn = area.fill(&WHITE).and_then(|()| paint(&area)).and_then(|()| area.present());
    drop(area);
    // Writing to a string does not fail; what a plot cannot have is said in its place.
    drawn.map_or_else(|e| format!("<p>{}</p>\n", super::escape(&e.to_string())), |()| out)
}

fn font() -> TextStyle<'static> {
    ("sans-serif", 13).into()
}

fn frame<'a, 'b>(area: &'a Area<'b>, title: &str) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut chart = ChartBuilder::on(area);
    chart.caption(title, ("sans-serif", 15)).margin(8).x_label_area_size(40).y_label_area_size(60);
    chart
}

fn legend<'a, X, Y>(chart: &mut ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>) -> Drawn
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    let mut labels = chart.configure_series_labels();
    labels.position(SeriesLabelPosition::UpperRight).background_style(WHITE.mix(0.8)).label_font(font()).draw()
}

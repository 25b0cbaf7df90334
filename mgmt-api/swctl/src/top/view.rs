//! The screen of `top`.

use super::Screen;
use super::sample::{Rates, Worker};
use crate::output::{clean, number, span, text};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Row, Table};

/// Draws it.
pub fn draw(frame: &mut Frame<'_>, screen: &Screen) {
    let workers = screen.rates.as_ref().map_or(0, |r| r.workers.len());
    // A heading, each worker, and their total where there are several.
    let lines = 1 + workers + usize::from(workers > 1);
    let [head, load, drops, keys] = Layout::vertical([
        Constraint::Length(3),
        Constraint::Length(u16::try_from(lines + 1).unwrap_or(u16::MAX)),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(header(screen), head);
    match &screen.rates {
        Some(rates) => {
            frame.render_widget(load_table(rates), load);
            frame.render_widget(drop_table(rates, screen, drops), drops);
        }
        None => frame.render_widget(Line::from("measuring ..."), load),
    }
    frame.render_widget(Line::from("q quit   p pause   s sort").dim(), keys);
}

fn header(screen: &Screen) -> ratatui::text::Text<'static> {
    let s = &screen.sample.status;
    let paused = if screen.paused { "   paused" } else { "" };
    let first = format!(
        "softwire gateway {}   up {}   every {} s{paused}",
        text(&s["version"]),
        span(number(&s["seconds"])),
        screen.interval
    );
    let second = match &screen.trouble {
        Some(why) => Line::from(clean(why).replace('\n', " ")).red(),
        None => Line::from(format!(
            "sessions {} open of {}   IKE SAs {}   child SAs {}",
            s["open_sessions"], s["sessions"], s["ike_sas"], s["child_sas"]
        )),
    };
    vec![Line::from(clean(&first)).bold(), second].into()
}

fn load_table(rates: &Rates) -> Table<'static> {
    let mut rows: Vec<Row<'_>> = rates.workers.iter().enumerate().map(|(i, w)| line(i.to_string(), w)).collect();
    if rates.workers.len() > 1 {
        rows.push(line("all".to_owned(), &Worker::total(&rates.workers)).bold());
    }
    let headings = ["Worker", "Load %", "Mpps in", "Mpps out", "Gbit/s in", "Gbit/s out", "Drops/s", "Punts/s"];
    let widths = [6, 8, 9, 9, 10, 10, 10, 10];
    Table::new(rows, widths.map(Constraint::Length)).header(heading(&headings, 1))
}

fn line(name: String, w: &Worker) -> Row<'static> {
    let numbers = [
        format!("{:.1}", w.load * 100.0),
        format!("{:.3}", w.received / 1e6),
        format!("{:.3}", w.sent / 1e6),
        format!("{:.3}", w.bits_in / 1e9),
        format!("{:.3}", w.bits_out / 1e9),
        format!("{:.0}", w.dropped),
        format!("{:.0}", w.punted),
    ];
    Row::new([Line::from(name)].into_iter().chain(numbers.map(right)))
}

fn drop_table(rates: &Rates, screen: &Screen, area: Rect) -> Table<'static> {
    let fits = usize::from(area.height.saturating_sub(1));
    let drops = rates.sorted(screen.sort).into_iter().take(fits);
    let rows = drops.map(|d| {
        let row = Row::new([Line::from(clean(&d.reason)), right(format!("{:.0}", d.rate)), right(d.total.to_string())]);
        if d.rate > 0.0 { row } else { row.style(Style::new().dim()) }
    });
    let title = format!("Drops by reason, by {}", screen.sort.name());
    Table::new(rows, [30, 10, 16].map(Constraint::Length)).header(heading(&[&title, "Drops/s", "Total"], 1))
}

fn heading(names: &[&str], left: usize) -> Row<'static> {
    let cell = |(i, name): (usize, &&str)| {
        if i < left { Line::from((*name).to_owned()) } else { right((*name).to_owned()) }
    };
    Row::new(names.iter().enumerate().map(cell).collect::<Vec<_>>()).reversed()
}

fn right(text: String) -> Line<'static> {
    Line::from(text).right_aligned()
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Sort, tests::samples};
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

    fn shown(screen: &Screen) -> String {
        let mut terminal = Terminal::new(TestBackend::new(84, 11)).unwrap();
        terminal.draw(|frame| draw(frame, screen)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let row = |y| (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        (0..buffer.area.height).map(|y| row(y).trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_screen() {
        let (before, after) = samples();
        let mut screen =
            Screen { sample: before, rates: None, sort: Sort::Rate, paused: false, interval: 2, trouble: None };
        assert!(shown(&screen).contains("measuring"));
        screen.take(after);
        let expected = "\
softwire gateway 0.1.0   up 01:06:42   every 2 s
sessions 12 open of 13   IKE SAs 5   child SAs 6

Worker   Load %   Mpps in  Mpps out  Gbit/s in Gbit/s out    Drops/s    Punts/s
0          25.0     1.000     0.900      0.512      0.648         11          3
1         100.0     0.000     0.000      0.000      0.000          0          0
all        62.5     1.000     0.900      0.512      0.648         11          3

Drops by reason, by rate          Drops/s            Total
esp_replay                             10               30
q quit   p pause   s sort";
        assert_eq!(shown(&screen), expected);
    }

    #[test]
    fn keys() {
        let (sample, _) = samples();
        let mut screen = Screen { sample, rates: None, sort: Sort::Rate, paused: false, interval: 1, trouble: None };
        let key = |c| KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE);
        assert!(!screen.key(key('p')) && screen.paused && !screen.key(key('s')));
        assert_eq!(screen.sort, Sort::Total);
        screen.trouble = Some("gone\u{1b}[2J".to_owned());
        let text = shown(&screen);
        assert!(text.contains("paused") && text.contains("gone") && !text.contains('\u{1b}'), "{text}");
        assert!(screen.key(key('q')));
        assert!(screen.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)));
    }
}

//! What the terminal sees: aligned columns, units, and no control characters. Names and messages come from peers and
//! other operators, and must not move the cursor.

use crate::error::Error;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::Write as _;
use unicode_width::UnicodeWidthStr;

/// Prints text that may have several lines.
pub fn say(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    out.write_all(clean(text).as_bytes())?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Prints an answer of the API as it is.
pub fn json(value: &Value) -> Result<(), Error> {
    say(&format!("{value:#}"))
}

/// Without control characters, line feeds excepted.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Columns under their headings, two spaces apart. Columns whose heading begins with `>` are aligned to the right.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let names: Vec<String> = headings.iter().map(|h| h.trim_start_matches('>').to_owned()).collect();
    let mut widths = vec![0; headings.len()];
    for row in std::iter::once(&names).chain(rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.width().max(*width);
        }
    }
    let mut text = String::new();
    for row in std::iter::once(&names).chain(rows) {
        let mut line = String::new();
        for ((cell, width), heading) in row.iter().zip(&widths).zip(headings) {
            let gap = " ".repeat(width.saturating_sub(cell.width()));
            let (before, after) = if heading.starts_with('>') { (gap, String::new()) } else { (String::new(), gap) };
            line += &format!("{before}{cell}{after}  ");
        }
        _ = writeln!(text, "{}", line.trim_end());
    }
    text.truncate(text.trim_end_matches('\n').len());
    text
}

/// Names and values, one a line, the values under each other. Values that are absent are left out.
pub fn block(lines: &[(&str, String)]) -> String {
    let width = lines.iter().map(|(name, _)| name.width()).max().unwrap_or(0);
    let shown = lines.iter().filter(|(_, value)| !value.is_empty() && value != "-");
    shown.map(|(name, value)| format!("{name:width$}  {value}")).collect::<Vec<_>>().join("\n")
}

/// A value in a cell; `-` where there is none.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::String(s) if s.is_empty() => "-".to_owned(),
        // A line of a table is one line.
        Value::String(s) => s.replace('\n', " "),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// A number, 0 where there is none.
pub fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// `1.23 GB`: three digits, powers of 1000.
pub fn octets(n: u64) -> String {
    scaled(n as f64, "B")
}

/// Three digits and a unit with its prefix: `1.23 MB`, `512 B`.
pub fn scaled(value: f64, unit: &str) -> String {
    let (mut value, mut prefix) = (value, "");
    for next in ["k", "M", "G", "T", "P"] {
        // What would be rounded to 1000.
        if value < 999.5 {
            break;
        }
        (value, prefix) = (value / 1000.0, next);
    }
    let digits = match value {
        v if prefix.is_empty() && v.fract() == 0.0 => 0,
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {prefix}{unit}").trim_end().to_owned()
}

/// Seconds, as BGP's operators read them: `01:02:03`, `3d04h05m`, `2w3d04h`.
pub fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match days {
        0 => format!("{hours:02}:{:02}:{:02}", minutes % 60, seconds % 60),
        1..7 => format!("{days}d{:02}h{:02}m", hours % 24, minutes % 60),
        _ => format!("{}w{}d{:02}h", days / 7, days % 7, hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_end_without_spaces() {
        let rows = [vec!["a".to_owned(), "1".to_owned(), "x".to_owned()], vec!["bb".into(), "100".into(), "é".into()]];
        assert_eq!(table(&["Name", ">Count", "Note"], &rows), "Name  Count  Note\na         1  x\nbb      100  é");
    }

    #[test]
    fn units() {
        let shown = [0, 999, 1000, 1234, 99_950, 999_499, 999_500, 1_500_000_000].map(octets);
        assert_eq!(shown, ["0 B", "999 B", "1.00 kB", "1.23 kB", "100 kB", "999 kB", "1.00 MB", "1.50 GB"]);
        let shown = [0, 3723, 86_399, 273_900, 1_224_000].map(span);
        assert_eq!(shown, ["00:00:00", "01:02:03", "23:59:59", "3d04h05m", "2w0d04h"]);
    }

    #[test]
    fn nothing_moves_the_cursor() {
        assert_eq!(clean("a\u{1b}[2Jb\u{9b}\r\nc"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}\nc");
    }
}

//! Lists, a page at a time: a page costs what it shows, however long the list is.
//!
//! ```text
//!   ?limit=100              ──►  { items: 100 rows, next: "00000000010000a1", total: 1000000 }
//!   &after=00000000010000a1 ──►  { items: the next rows, ... }             until next is null
//! ```
//!
//! A cursor is the key of the last row that was looked at, so that what comes or goes meanwhile shifts nothing.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// Rows that are looked at for one page: what a filter leaves out costs, too.
const LOOK: usize = 20_000;

/// A place in a list; 16 hexadecimal digits outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(pub u64);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Cursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let number = u64::from_str_radix(text, 16).ok().filter(|_| digits);
        number.map(Self).ok_or("a cursor has 16 hexadecimal digits")
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

impl PartialSchema for Cursor {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[0-9a-f]{16}$")).into()
    }
}

impl ToSchema for Cursor {}

/// Which part of a list is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Select<F> {
    /// What its rows have in common.
    pub filter: F,
    /// Those after this place.
    pub after: Option<Cursor>,
    /// Most rows.
    pub limit: usize,
}

impl<F> Select<F> {
    /// The first key to look at, and whether it is itself left out.
    pub(crate) fn start(&self) -> std::ops::Bound<u64> {
        self.after.map_or(std::ops::Bound::Unbounded, |c| std::ops::Bound::Excluded(c.0))
    }
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Page<T> {
    /// Rows; with a filter perhaps none, though there are more.
    pub items: Vec<T>,
    /// Where the next page begins (`after`); null on the last one.
    #[schema(value_type = Option<String>)]
    pub next: Option<Cursor>,
    /// Rows of the whole list, without a filter.
    pub total: usize,
}

impl<T> Page<T> {
    /// Rows in the order of their keys, `None` for those that a filter leaves out.
    pub fn of(limit: usize, total: usize, rows: impl Iterator<Item = (u64, Option<T>)>) -> Self {
        let (mut items, mut last) = (Vec::new(), None);
        for (looked, (key, row)) in rows.enumerate() {
            if items.len() >= limit || looked == LOOK {
                return Self { items, next: last, total };
            }
            items.extend(row);
            last = Some(Cursor(key));
        }
        Self { items, next: None, total }
    }

    /// Its rows in another form.
    pub fn map<U>(self, row: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(row).collect(), next: self.next, total: self.total }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_16_digits_and_nothing_else() {
        let cursor = Cursor(0x0100_00a1);
        assert_eq!((cursor.to_string().as_str(), cursor.to_string().parse()), ("00000000010000a1", Ok(cursor)));
        for bad in [
            "",
            "1",
            "+000000000000001",
            "000000000100 0a1",
            "00000000010000a1f",
            "../../etc/passwd",
            "é00000000000000",
        ] {
            assert!(bad.parse::<Cursor>().is_err(), "{bad}");
        }
    }

    #[test]
    fn pages_show_every_row_once_and_end() {
        let all: Vec<u64> = (0..25).map(|n| n * 3).collect();
        let page = |after: Option<Cursor>, limit| {
            let rows = all.iter().filter(|n| after.is_none_or(|c| c.0 < **n));
            Page::of(limit, all.len(), rows.map(|n| (*n, (n % 2 == 0).then_some(*n))))
        };
        for limit in [1, 4, 13, 25, 100] {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let page = page(after, limit);
                assert!(page.items.len() <= limit && page.total == 25);
                seen.extend(page.items);
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(seen, (0..25).map(|n| n * 3).filter(|n| n % 2 == 0).collect::<Vec<_>>(), "{limit}");
        }
        assert_eq!(page(Some(Cursor(72)), 5), Page { items: vec![], next: None, total: 25 });
    }

    #[test]
    fn what_a_filter_leaves_out_is_looked_at_so_many_at_a_time() {
        let rows = || (0..50_000u64).map(|n| (n, (n == 30_000).then_some(n)));
        let first = Page::of(10, 50_000, rows());
        assert_eq!((first.items.len(), first.next), (0, Some(Cursor(LOOK as u64 - 1))));
        let second = Page::of(10, 50_000, rows().filter(|(n, _)| *n >= LOOK as u64));
        assert_eq!((second.items, second.next), (vec![30_000], Some(Cursor(2 * LOOK as u64 - 1))));
    }
}

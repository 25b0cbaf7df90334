//! Lines of the journal:
//!
//! ```text
//!  + NUMBER KIND SESSION HEX    a record, as attributes; KIND is start, interim or stop
//!  - NUMBER                     a server has taken it, or a later one replaces it
//!  = SESSION TIME HEX           a session is open, and what it had used at that time
//! ```

use radius::AttributeList;
use std::fmt;
use std::str::FromStr;

/// What a record is to its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Its beginning, or of no session.
    Start,
    /// In between.
    Interim,
    /// Its end.
    Stop,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A record.
    Add {
        /// Its number.
        number: u64,
        /// What it is to its session.
        kind: Kind,
        /// Acct-Session-Id.
        session: String,
        /// All its attributes.
        record: AttributeList,
    },
    /// It is done with.
    Taken(u64),
    /// A checkpoint.
    Open {
        /// Acct-Session-Id.
        session: String,
        /// Seconds since 1970.
        at: u32,
        /// What a Stop would say.
        about: AttributeList,
    },
}

struct Hex<'a>(&'a AttributeList);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_octets().iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add { number, kind, session, record } => {
                let kind = match kind {
                    Kind::Start => "start",
                    Kind::Interim => "interim",
                    Kind::Stop => "stop",
                };
                write!(f, "+ {number} {kind} {session} {}", Hex(record))
            }
            Self::Taken(number) => write!(f, "- {number}"),
            Self::Open { session, at, about } => write!(f, "= {session} {at} {}", Hex(about)),
        }
    }
}

/// Not a line of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a line of the accounting journal")]
pub struct NotALine;

impl FromStr for Line {
    type Err = NotALine;

    fn from_str(line: &str) -> Result<Self, NotALine> {
        let words: Vec<&str> = line.split(' ').collect();
        match *words.as_slice() {
            ["+", number, kind, session, record] => Ok(Self::Add {
                number: self::number(number)?,
                kind: match kind {
                    "start" => Kind::Start,
                    "interim" => Kind::Interim,
                    "stop" => Kind::Stop,
                    _ => return Err(NotALine),
                },
                session: session.into(),
                record: list(record)?,
            }),
            ["-", number] => self::number(number).map(Self::Taken),
            ["=", session, at, about] => {
                Ok(Self::Open { session: session.into(), at: at.parse().map_err(|_| NotALine)?, about: list(about)? })
            }
            _ => Err(NotALine),
        }
    }
}

/// Numbers are counted up from 1: one beyond half of what there are was never written by us.
fn number(text: &str) -> Result<u64, NotALine> {
    text.parse().ok().filter(|n| *n <= u64::MAX / 2).ok_or(NotALine)
}

fn list(hex: &str) -> Result<AttributeList, NotALine> {
    let octets = hex.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok().filter(|p| p.len() == 2)?;
        u8::from_str_radix(pair, 16).ok()
    });
    octets.collect::<Option<Vec<u8>>>().and_then(AttributeList::from_octets).ok_or(NotALine)
}

//! AS_PATH (RFC 4271, section 5.1.2): the ASes that a route has come through, the last one first.
//!
//! ```text
//! | Segment type (1) | Number of ASes (1) |  AS (4 each, 2 on an old session)  |      AS_SET = 1, AS_SEQUENCE = 2
//! ```
//!
//! A speaker of two octets writes [`AS_TRANS`] for an AS it cannot hold and passes AS4_PATH along, with which the
//! path is made whole again (RFC 6793, section 4.2.3). Confederations (RFC 5065) are not formed,
//! so their segments are as malformed as any unknown one.

use crate::message::open::AS_TRANS;
use crate::message::reader::Reader;

const AS_SET: u8 = 1;
const AS_SEQUENCE: u8 = 2;
const MAX_SEGMENT: usize = 255;

/// An AS_PATH.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AsPath {
    segments: Vec<Segment>,
}

/// A segment of an AS_PATH, never empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Segment {
    /// Set or sequence.
    pub kind: SegmentKind,
    /// The ASes; of a sequence the last one that the route came through first.
    pub asns: Vec<u32>,
}

/// Kinds of segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SegmentKind {
    /// In no order: the ASes of an aggregate. Counts as one AS.
    Set,
    /// In order.
    Sequence,
}

impl AsPath {
    /// A path of one sequence.
    pub fn sequence(asns: impl Into<Vec<u32>>) -> Self {
        let mut path = Self::default();
        path.push(SegmentKind::Sequence, asns.into());
        path
    }

    /// The segments.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// All ASes of all segments, in order.
    pub fn asns(&self) -> impl Iterator<Item = u32> + '_ {
        self.segments.iter().flat_map(|s| s.asns.iter().copied())
    }

    /// No AS: the route is of our own AS.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Length for the decision process: a set counts as one (RFC 4271, section 9.1.2.2 a).
    pub fn length(&self) -> usize {
        self.segments.iter().map(Segment::length).sum()
    }

    /// Whether `asn` is in it.
    pub fn contains(&self, asn: u32) -> bool {
        self.asns().any(|a| a == asn)
    }

    /// The AS that the route came from last. `None` for an empty path and for one that starts with a set.
    pub fn first(&self) -> Option<u32> {
        self.segments.first().filter(|s| s.kind == SegmentKind::Sequence).and_then(|s| s.asns.first().copied())
    }

    /// The AS that the route is from. `None` for an empty path and for one that ends with a set (RFC 6811, section 2).
    pub fn origin(&self) -> Option<u32> {
        self.segments.last().filter(|s| s.kind == SegmentKind::Sequence).and_then(|s| s.asns.last().copied())
    }

    /// Puts `asn` in front `times` times.
    pub fn prepend(&mut self, asn: u32, times: usize) {
        let mut path = Self::sequence(vec![asn; times]);
        for segment in std::mem::take(&mut self.segments) {
            path.push(segment.kind, segment.asns);
        }
        *self = path;
    }

    fn push(&mut self, kind: SegmentKind, mut asns: Vec<u32>) {
        if asns.is_empty() {
            return;
        }
        match self.segments.last_mut() {
            Some(last) if last.kind == SegmentKind::Sequence && kind == SegmentKind::Sequence => {
                last.asns.append(&mut asns);
            }
            _ => self.segments.push(Segment { kind, asns }),
        }
    }

    /// Makes an AS_PATH of two octets whole with the AS4_PATH that came with it. An AS4_PATH longer than the path is
    /// ignored; else it replaces the end of the path, as long as itself (RFC 6793, section 4.2.3).
    pub(crate) fn merge(self, as4: Self) -> Self {
        let Some(mut leading) = self.length().checked_sub(as4.length()) else { return self };
        let mut merged = Self::default();
        for mut segment in self.segments {
            if leading == 0 {
                break;
            }
            let length = segment.length();
            if length > leading {
                segment.asns.truncate(leading);
            }
            leading -= length.min(leading);
            merged.push(segment.kind, segment.asns);
        }
        for segment in as4.segments {
            merged.push(segment.kind, segment.asns);
        }
        merged
    }

    /// Reads a path of `octets` (2 or 4) per AS. `None` when it is malformed: a segment type that is not known, an
    /// empty segment, one that runs over the end, a single octet left (RFC 7606, section 7.2), or AS 0 (RFC 7607).
    pub(crate) fn decode(value: &[u8], four_octet: bool) -> Option<Self> {
        let mut path = Self::default();
        let mut reader = Reader(value);
        while !reader.is_empty() {
            let kind = match reader.u8()? {
                AS_SET => SegmentKind::Set,
                AS_SEQUENCE => SegmentKind::Sequence,
                _ => return None,
            };
            let count = usize::from(reader.u8()?);
            let mut asns = Vec::with_capacity(count);
            for _ in 0..count {
                let asn = if four_octet { reader.u32()? } else { u32::from(reader.u16()?) };
                asns.push(asn);
            }
            if asns.is_empty() || asns.contains(&0) {
                return None;
            }
            path.push(kind, asns);
        }
        Some(path)
    }

    /// Writes the path, with [`AS_TRANS`] where two octets do not hold an AS. A sequence too long for a segment takes
    /// several.
    pub(crate) fn encode(&self, four_octet: bool, out: &mut Vec<u8>) {
        for segment in &self.segments {
            let kind = match segment.kind {
                SegmentKind::Set => AS_SET,
                SegmentKind::Sequence => AS_SEQUENCE,
            };
            for asns in segment.asns.chunks(MAX_SEGMENT) {
                out.extend_from_slice(&[kind, asns.len() as u8]);
                for &asn in asns {
                    match four_octet {
                        true => out.extend_from_slice(&asn.to_be_bytes()),
                        false => out.extend_from_slice(&two_octets(asn).to_be_bytes()),
                    }
                }
            }
        }
    }
}

impl Segment {
    fn length(&self) -> usize {
        match self.kind {
            SegmentKind::Set => 1,
            SegmentKind::Sequence => self.asns.len(),
        }
    }
}

/// `asn` for a speaker of two octets.
pub(crate) fn two_octets(asn: u32) -> u16 {
    u16::try_from(asn).unwrap_or(AS_TRANS as u16)
}

/// ASes in order, sets in braces: `65001 65002 {65003 65004}`.
impl std::fmt::Display for AsPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, segment) in self.segments.iter().enumerate() {
            let asns: Vec<String> = segment.asns.iter().map(ToString::to_string).collect();
            let gap = if i == 0 { "" } else { " " };
            match segment.kind {
                SegmentKind::Set => write!(f, "{gap}{{{}}}", asns.join(" "))?,
                SegmentKind::Sequence => write!(f, "{gap}{}", asns.join(" "))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;

    fn mixed() -> AsPath {
        AsPath::decode(&hex!("02 02 0000fde9 00010000 01 02 0000fdea 0000fdeb"), true).unwrap()
    }

    #[test]
    fn a_path_round_trips_and_counts() {
        let path = mixed();
        assert_eq!(path.to_string(), "65001 65536 {65002 65003}");
        assert_eq!((path.length(), path.first(), path.origin()), (3, Some(65001), None));
        assert!(path.contains(65003) && !path.contains(65004));
        let mut out = Vec::new();
        path.encode(true, &mut out);
        assert_eq!(AsPath::decode(&out, true), Some(path));
    }

    #[test]
    fn two_octets_cannot_hold_all() {
        let mut out = Vec::new();
        mixed().encode(false, &mut out);
        assert_eq!(out, hex!("02 02 fde9 5ba0 01 02 fdea fdeb"));
    }

    #[test]
    fn every_malformed_path_is_refused() {
        let cases: [&[u8]; 8] = [
            &hex!("03 01 0000fde9"),          // a confederation's
            &hex!("00 01 0000fde9"),          // unknown
            &hex!("02 00"),                   // empty segment
            &hex!("02 02 0000fde9"),          // overrun
            &hex!("02 01 0000fde9 02"),       // underrun
            &hex!("02 01 00000000"),          // AS 0
            &hex!("02 01 0000fd"),            // half an AS
            &hex!("02 01 0000fde9 01 01 00"), // overrun in the second
        ];
        for bytes in cases {
            assert_eq!(AsPath::decode(bytes, true), None, "{bytes:02x?}");
        }
        assert_eq!(AsPath::decode(&[], true), Some(AsPath::default()));
    }

    #[test]
    fn prepending_joins_sequences() {
        let mut path = AsPath::sequence([65001]);
        path.prepend(65000, 2);
        assert_eq!(path, AsPath::sequence([65000, 65000, 65001]));
        let mut path = AsPath::decode(&hex!("01 01 0000fde9"), true).unwrap();
        assert_eq!(path.first(), None);
        path.prepend(65000, 1);
        assert_eq!((path.to_string().as_str(), path.first()), ("65000 {65001}", Some(65000)));
        path.prepend(65000, 0);
        assert_eq!(path.length(), 2);
    }

    #[test]
    fn a_long_sequence_takes_several_segments() {
        let path = AsPath::sequence(vec![65001; 300]);
        let mut out = Vec::new();
        path.encode(false, &mut out);
        assert_eq!((out[1], out[2 + 510], out[2 + 511], out.len()), (255, 2, 45, 604));
        assert_eq!(AsPath::decode(&out, false), Some(path));
    }

    #[test]
    fn as4_path_makes_the_path_whole() {
        let old = AsPath::sequence([65001, 23456, 23456]);
        let merged = old.clone().merge(AsPath::sequence([70000, 70001]));
        assert_eq!(merged, AsPath::sequence([65001, 70000, 70001]));
        // a speaker of two octets has prepended to a set
        let old = AsPath::decode(&hex!("02 02 fde9 5ba0 01 02 5ba0 5ba0"), false).unwrap();
        let as4 = AsPath::decode(&hex!("02 01 00011170 01 02 00011171 00011172"), true).unwrap();
        assert_eq!(old.merge(as4).to_string(), "65001 70000 {70001 70002}");
        // nothing in front
        let whole = AsPath::sequence([23456]).merge(AsPath::sequence([70000]));
        assert_eq!(whole, AsPath::sequence([70000]));
    }

    #[test]
    fn an_as4_path_longer_than_the_path_is_ignored() {
        let old = AsPath::sequence([65001]);
        assert_eq!(old.clone().merge(AsPath::sequence([70000, 70001])), old);
    }
}

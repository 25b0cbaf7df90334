//! BGP policies as they are written: lists of prefixes, and rules that are read from the top.
//!
//! ```yaml
//! prefix_lists:
//!   customer: ["10.64.0.0/16 le 24", "2001:db8:64::/48"]
//! policies:
//!   from-ce:
//!     rules:
//!       - { match: { prefix_list: customer, origin_as: 65001 }, set: { local_pref: 200 }, then: accept }
//!     otherwise: reject
//! ```

use super::values::{Prefix, Word};
use ::bgp::attribute::{Community, LargeCommunity};
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// An ordered list of rules.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The rules, read from the top.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// What becomes of a route that no rule has decided.
    #[serde(default = "reject")]
    pub otherwise: Verdict,
}

fn reject() -> Verdict {
    Verdict::Reject
}

/// The end of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The route goes through.
    Accept,
    /// It does not.
    Reject,
}

/// A rule: if all of `match` holds, what is in `set` is done.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "PolicyRule")]
pub struct Rule {
    /// Conditions; none always holds.
    #[serde(default, rename = "match")]
    pub matches: Match,
    /// Changes of the route.
    #[serde(default)]
    pub set: Set,
    /// What becomes of the route then.
    pub then: Then,
}

/// The end of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// The route goes through.
    Accept,
    /// It does not.
    Reject,
    /// The next rule decides.
    Next,
}

/// Conditions. All that are written must hold.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// The prefix is in this one of `bgp.prefix_lists`.
    pub prefix_list: Option<String>,
    /// The AS is anywhere in the AS_PATH.
    #[schemars(range(min = 1))]
    pub as_path_contains: Option<u32>,
    /// The AS is the last of the AS_PATH.
    #[schemars(range(min = 1))]
    pub origin_as: Option<u32>,
    /// Length of the AS_PATH.
    pub as_path_length: Option<Length>,
    /// The route has the community.
    pub community: Option<Tag>,
    /// The route asks for the color of tunnels (RFC 9012).
    pub color: Option<u32>,
    /// Origin validation came out so (RFC 6811).
    pub rov: Option<Rov>,
    /// The next hop is in this prefix.
    #[schemars(with = "Option<Prefix>")]
    pub next_hop: Option<IpNet>,
}

/// A range of lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Length {
    /// The least.
    #[serde(default)]
    pub min: usize,
    /// The most; any where absent.
    #[serde(default)]
    pub max: Option<usize>,
}

/// State of origin validation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rov {
    /// A ROA matches.
    Valid,
    /// ROAs cover the prefix, and none matches.
    Invalid,
    /// No ROA covers the prefix.
    NotFound,
}

/// Changes of a route.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Set {
    /// LOCAL_PREF, which counts inside an AS.
    pub local_pref: Option<u32>,
    /// MULTI_EXIT_DISC.
    pub med: Option<Med>,
    /// Communities that are added.
    pub add_communities: Vec<Tag>,
    /// Communities that are taken away.
    pub remove_communities: Vec<Tag>,
    /// The color of tunnels that it asks for, in place of all others.
    pub color: Option<u32>,
    /// An AS in front of the AS_PATH.
    pub prepend: Option<Prepend>,
    /// We are the next hop; for export only.
    pub next_hop_self: bool,
}

/// An AS in front of the AS_PATH.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Prepend {
    /// Which AS; ours where absent.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub asn: Option<u32>,
    /// How often.
    #[schemars(range(min = 1, max = 16))]
    pub times: u8,
}

/// `accept` for everything, `reject` for nothing, or the name of one of `bgp.policies`, which decides.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(from = "String", into = "String")]
#[schemars(rename = "RouteFilter", title = "filter of routes", example = &"accept", example = &"reject", example = &"from-ce")]
pub enum Filter {
    /// Everything.
    Accept,
    /// Nothing.
    Reject,
    /// What the policy of this name lets through.
    Policy(String),
}

impl From<String> for Filter {
    fn from(text: String) -> Self {
        match text.as_str() {
            "accept" => Self::Accept,
            "reject" => Self::Reject,
            _ => Self::Policy(text),
        }
    }
}

impl From<Filter> for String {
    fn from(filter: Filter) -> Self {
        match filter {
            Filter::Accept => "accept".to_owned(),
            Filter::Reject => "reject".to_owned(),
            Filter::Policy(name) => name,
        }
    }
}

/// Not what it should be: how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct TextError(&'static str);

/// Types that are written as a text are read and shown as one.
macro_rules! text {
    ($t:ty) => {
        impl TryFrom<String> for $t {
            type Error = TextError;
            fn try_from(text: String) -> Result<Self, TextError> {
                text.parse()
            }
        }
        impl From<$t> for String {
            fn from(value: $t) -> Self {
                value.to_string()
            }
        }
    };
}
text!(PrefixRange);
text!(Tag);

/// A prefix, or all within it of some lengths: from `ge` on, up to `le`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(title = "prefix range", example = &"10.0.0.0/8", example = &"10.0.0.0/8 le 24", example = &"2001:db8::/32 ge 40 le 48")]
pub struct PrefixRange {
    /// The prefix.
    pub prefix: IpNet,
    /// Least length.
    pub ge: Option<u8>,
    /// Greatest length.
    pub le: Option<u8>,
}

impl PrefixRange {
    /// The lengths that are meant.
    pub fn lengths(&self) -> std::ops::RangeInclusive<u8> {
        let own = self.prefix.prefix_len();
        match (self.ge, self.le) {
            (None, None) => own..=own,
            (ge, le) => ge.unwrap_or(own)..=le.unwrap_or(self.prefix.max_prefix_len()),
        }
    }
}

impl FromStr for PrefixRange {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        const WRITTEN: TextError = TextError("a prefix, and its lengths if not just its own: 10.0.0.0/8 ge 16 le 24");
        let mut words = text.split_whitespace();
        let prefix = words.next().and_then(|w| w.parse().ok()).ok_or(WRITTEN)?;
        let mut range = Self { prefix, ge: None, le: None };
        while let Some(word) = words.next() {
            let length = words.next().and_then(|w| w.parse().ok()).ok_or(WRITTEN)?;
            match word {
                "ge" if range.ge.is_none() && range.le.is_none() => range.ge = Some(length),
                "le" if range.le.is_none() => range.le = Some(length),
                _ => return Err(WRITTEN),
            }
        }
        Ok(range)
    }
}

impl fmt::Display for PrefixRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.prefix)?;
        self.ge.iter().try_for_each(|ge| write!(f, " ge {ge}"))?;
        self.le.iter().try_for_each(|le| write!(f, " le {le}"))
    }
}

/// A community of RFC 1997, among them `no-export`, `no-advertise` and `no-export-subconfed`, or a large one of RFC 8092.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(rename = "Community", title = "community", example = &"65000:100", example = &"65000:1:2", example = &"no-export")]
pub enum Tag {
    /// Of four octets.
    Community(Community),
    /// A large one.
    Large(LargeCommunity),
}

impl FromStr for Tag {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let large = || text.parse().map(Self::Large);
        let written = TextError("a community: 65000:100, 65000:1:2, no-export, no-advertise, no-export-subconfed");
        text.parse().map(Self::Community).or_else(|_| large()).map_err(|_| written)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Community(c) => c.fmt(f),
            Self::Large(c) => c.fmt(f),
        }
    }
}

/// A value of MULTI_EXIT_DISC, or `none`, which takes it away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "Word", into = "String")]
#[schemars(title = "MED", example = 50, example = &"none")]
pub struct Med(pub Option<u32>);

impl TryFrom<Word> for Med {
    type Error = TextError;

    fn try_from(word: Word) -> Result<Self, TextError> {
        String::from(word).parse()
    }
}

impl From<Med> for String {
    fn from(med: Med) -> Self {
        med.to_string()
    }
}

impl FromStr for Med {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        match text {
            "none" => Ok(Self(None)),
            _ => text.parse().map(|n| Self(Some(n))).map_err(|_| TextError("a number, or none")),
        }
    }
}

impl fmt::Display for Med {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(med) => med.fmt(f),
            None => f.write_str("none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_round_trip() {
        for text in ["10.0.0.0/8", "10.0.0.0/8 le 24", "10.0.0.0/8 ge 16", "2001:db8::/32 ge 40 le 48"] {
            assert_eq!(text.parse::<PrefixRange>().unwrap().to_string(), text);
        }
        for text in
            ["", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/8 le", "10.0.0.0/8 lt 4", "10.0.0.0/8 le 300", "0/0 le 9 le 9"]
        {
            assert!(text.parse::<PrefixRange>().is_err(), "{text}");
        }
        for text in ["65000:100", "65000:1:2", "no-export"] {
            assert_eq!(text.parse::<Tag>().unwrap().to_string(), text);
        }
        for text in ["65536:1", "1:2:3:4", "no_export", ""] {
            assert!(text.parse::<Tag>().is_err(), "{text}");
        }
        assert_eq!(
            ("none".parse(), "7".parse(), "-1".parse::<Med>().is_err()),
            (Ok(Med(None)), Ok(Med(Some(7))), true)
        );
    }

    #[test]
    fn lengths_are_those_of_an_operators_prefix_list() {
        let lengths = |text: &str| text.parse::<PrefixRange>().unwrap().lengths();
        assert_eq!(lengths("10.0.0.0/8"), 8..=8);
        assert_eq!(lengths("10.0.0.0/8 le 24"), 8..=24);
        assert_eq!(lengths("10.0.0.0/8 ge 16"), 16..=32);
        assert_eq!(lengths("2001:db8::/32 ge 40 le 48"), 40..=48);
    }
}

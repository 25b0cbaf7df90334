//! Access lists for subscribers, named by AAA (Filter-Id).

use super::Config;
use super::validate::Problems;
use super::values::{Prefix, Word};
use dataplane_api::filter::{FilterAction, FilterDirection, FilterRule, MAX_RULES};
use dataplane_api::{IpPrefix, PortRange};
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::collections::HashSet;

/// An access list, which AAA names (Filter-Id): the first rule that matches decides, and what none matches is denied.
///
/// ```yaml
/// filters:
///   - name: walled-garden
///     rules:
///       - { action: permit, destination: 198.51.100.80/32, protocol: tcp, ports: 80-443 }
///       - { action: permit, source: 198.51.100.80/32 }
///       - { action: deny }
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Its name.
    #[schemars(length(min = 1))]
    pub name: String,
    /// The rules in order, 1 to 256.
    #[schemars(length(min = 1, max = 256))]
    pub rules: Vec<Rule>,
}

/// A rule; what is absent matches all.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "FilterRule")]
pub struct Rule {
    /// What happens to a packet that matches.
    pub action: Action,
    /// Which way the packet goes.
    #[serde(default)]
    pub direction: Direction,
    /// Where the packet comes from.
    #[serde(default)]
    #[schemars(with = "Option<Prefix>")]
    pub source: Option<IpNet>,
    /// Where the packet goes, in the family of `source`.
    #[serde(default)]
    #[schemars(with = "Option<Prefix>")]
    pub destination: Option<IpNet>,
    /// IP protocol.
    #[serde(default, with = "Protocol")]
    pub protocol: Option<u8>,
    /// Destination ports, with `protocol` tcp or udp. Fragments beyond the first never match.
    #[serde(default, with = "Ports")]
    pub ports: Option<(u16, u16)>,
}

/// Permit or deny.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It passes.
    Permit,
    /// It is dropped and counted.
    Deny,
}

/// Which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the subscriber.
    Up,
    /// To the subscriber.
    Down,
    /// Either.
    #[default]
    Both,
}

fn word<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<Word>::deserialize(d)?.map(String::from))
}

/// An IP protocol: a number up to 255, or `tcp`, `udp`, `icmp`, `icmpv6`.
#[derive(JsonSchema)]
#[schemars(with = "Option<Word>", title = "protocol", example = &"tcp", example = 47)]
struct Protocol;

impl Protocol {
    const NAMES: [(&str, u8); 4] = [("tcp", 6), ("udp", 17), ("icmp", 1), ("icmpv6", 58)];

    fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u8>, D::Error> {
        let Some(text) = word(d)? else { return Ok(None) };
        let named = Self::NAMES.iter().find(|(name, _)| *name == text).map(|&(_, number)| number);
        let number = named.or_else(|| text.parse().ok());
        number.map(Some).ok_or_else(|| D::Error::custom(format!("\"{text}\" is no protocol")))
    }

    fn serialize<S: Serializer>(protocol: &Option<u8>, s: S) -> Result<S::Ok, S::Error> {
        match Self::NAMES.iter().find(|&&(_, number)| Some(number) == *protocol) {
            Some((name, _)) => s.serialize_str(name),
            None => protocol.serialize(s),
        }
    }
}

/// A port, or a range of ports.
#[derive(JsonSchema)]
#[schemars(with = "Option<Word>", title = "port range", example = 443, example = &"80-443")]
struct Ports;

impl Ports {
    fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<(u16, u16)>, D::Error> {
        let Some(text) = word(d)? else { return Ok(None) };
        let (first, last) = text.split_once('-').unwrap_or((&text, &text));
        let range = first.trim().parse().ok().zip(last.trim().parse().ok()).filter(|(a, b): &(u16, u16)| a <= b);
        range.map(Some).ok_or_else(|| D::Error::custom(format!("\"{text}\" is no port, nor a range first-last")))
    }

    fn serialize<S: Serializer>(ports: &Option<(u16, u16)>, s: S) -> Result<S::Ok, S::Error> {
        match ports {
            Some((first, last)) if first == last => s.collect_str(first),
            Some((first, last)) => s.collect_str(&format_args!("{first}-{last}")),
            None => s.serialize_none(),
        }
    }
}

impl Filter {
    /// As the data plane has it.
    pub fn rules(&self) -> Vec<FilterRule> {
        let prefix = |n: &IpNet| IpPrefix::new(n.network(), n.prefix_len());
        let rule = |r: &Rule| FilterRule {
            direction: match r.direction {
                Direction::Up => FilterDirection::Up,
                Direction::Down => FilterDirection::Down,
                Direction::Both => FilterDirection::Both,
            },
            source: r.source.as_ref().and_then(prefix),
            destination: r.destination.as_ref().and_then(prefix),
            protocol: r.protocol,
            ports: r.ports.map(|(first, last)| PortRange { first, last }),
            action: match r.action {
                Action::Permit => FilterAction::Permit,
                Action::Deny => FilterAction::Deny,
            },
        };
        self.rules.iter().map(rule).collect()
    }
}

pub(super) fn check(c: &Config, p: &mut Problems) {
    let mut names = HashSet::new();
    for (i, f) in c.filters.iter().enumerate() {
        let path = format!("filters[{i}]");
        if f.name.is_empty() || !names.insert(&f.name) {
            p.add(format!("{path}.name"), format!("\"{}\" is empty or taken by another filter", f.name));
        }
        if f.rules.is_empty() || f.rules.len() > MAX_RULES {
            p.add(format!("{path}.rules"), format!("between 1 and {MAX_RULES} rules"));
        }
        for (j, r) in f.rules.iter().enumerate() {
            let families = [&r.source, &r.destination].map(|n| n.as_ref().map(|n| n.addr().is_ipv4()));
            if let [Some(a), Some(b)] = families
                && a != b
            {
                p.add(format!("{path}.rules[{j}]"), "source and destination are of different families");
            }
            if r.ports.is_some() && !matches!(r.protocol, Some(6 | 17)) {
                p.add(format!("{path}.rules[{j}].ports"), "ports are of protocol tcp or udp");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(filters: &str) -> Result<Config, String> {
        let text = format!(
            "ports: [{{ name: b, device: e, zone: trusted, addresses: [10.0.0.1/24] }}]\n\
             listeners: [{{ name: l, address: 10.0.0.1, protection: none }}]\nfilters: [{filters}]\n"
        );
        Config::from_yaml("t", &text).map_err(|e| e.to_string())
    }

    #[test]
    fn rules_become_those_of_the_data_plane() {
        let c = config(
            "{ name: web, rules: [{ action: permit, direction: up, protocol: tcp, ports: 80-443, destination: 10.1.2.3/8 }, \
             { action: deny, protocol: 41 }] }",
        )
        .unwrap();
        let rules = c.filters[0].rules();
        assert_eq!(rules[0].ports, Some(PortRange { first: 80, last: 443 }));
        assert_eq!(rules[0].destination.unwrap().to_string(), "10.0.0.0/8");
        assert_eq!((rules[0].direction, rules[0].protocol), (FilterDirection::Up, Some(6)));
        assert_eq!((rules[1].action, rules[1].protocol), (FilterAction::Deny, Some(41)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (filters, path) in [
            ("{ name: a, rules: [] }", "filters[0].rules"),
            ("{ name: a, rules: [{ action: permit }] }, { name: a, rules: [{ action: deny }] }", "filters[1].name"),
            ("{ name: a, rules: [{ action: deny, ports: 80 }] }", "filters[0].rules[0].ports"),
            (
                "{ name: a, rules: [{ action: deny, source: 10.0.0.0/8, destination: \"::/0\" }] }",
                "filters[0].rules[0]",
            ),
            ("{ name: a, rules: [{ action: deny, protocol: tcp, ports: 9-1 }] }", "9-1"),
            ("{ name: a, rules: [{ action: deny, protocol: tpc }] }", "tpc"),
        ] {
            let e = config(filters).unwrap_err();
            assert!(e.contains(path), "{e}");
        }
    }
}

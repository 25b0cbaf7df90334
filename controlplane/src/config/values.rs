//! How values are written that neither YAML nor JSON has a type for. Each type here reads and writes one sort of them, for
//! `#[serde(with)]`, or is only the schema of one. What the comments say stands in the reference.

use dataplane_api::{Zone, softwire::TooBig};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::{Duration, SystemTime};

/// A length of time: numbers with units, from the longest to the shortest. Units are `ms`, `s`, `m`, `h` and `days`.
#[derive(JsonSchema)]
#[schemars(with = "String", title = "time", example = &"30s", example = &"90m", example = &"1h 30m")]
pub(crate) struct Time;

impl Time {
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        humantime::parse_duration(&String::deserialize(d)?).map_err(serde::de::Error::custom)
    }

    pub fn serialize<S: Serializer>(d: &Duration, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&humantime::format_duration(*d))
    }
}

// Times that may be absent.
#[derive(JsonSchema)]
#[schemars(with = "Option<Time>", inline)]
pub(crate) struct OptionalTime;

impl OptionalTime {
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
        #[derive(Deserialize)]
        struct Written(#[serde(with = "Time")] Duration);
        Ok(Option::<Written>::deserialize(d)?.map(|written| written.0))
    }

    pub fn serialize<S: Serializer>(value: &Option<Duration>, s: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => Time::serialize(value, s),
            None => s.serialize_none(),
        }
    }
}

/// A point in time in UTC, as RFC 3339 writes it.
#[derive(JsonSchema)]
#[schemars(with = "Option<String>", title = "point in time", extend("format" = "date-time"), example = &"2026-11-25T22:00:00Z")]
pub(crate) struct Moment;

impl Moment {
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<SystemTime>, D::Error> {
        let text = Option::<String>::deserialize(d)?;
        text.map(|t| humantime::parse_rfc3339(&t)).transpose().map_err(serde::de::Error::custom)
    }

    pub fn serialize<S: Serializer>(time: &Option<SystemTime>, s: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => s.collect_str(&humantime::format_rfc3339_seconds(*time)),
            None => s.serialize_none(),
        }
    }
}

/// A network of IPv4 or IPv6: an address, a slash, and the length of the prefix.
#[derive(JsonSchema)]
#[schemars(with = "String", title = "prefix", example = &"10.0.0.0/8", example = &"2001:db8::/32")]
pub(super) struct Prefix;

/// A network of IPv4: an address, a slash, and the length of the prefix.
#[derive(JsonSchema)]
#[schemars(with = "String", title = "IPv4 prefix", example = &"10.0.0.0/8")]
pub(super) struct Ipv4Prefix;

/// A network of IPv6: an address, a slash, and the length of the prefix.
#[derive(JsonSchema)]
#[schemars(with = "String", title = "IPv6 prefix", example = &"2001:db8::/32")]
pub(super) struct Ipv6Prefix;

/// An IP address and a port; an IPv6 address stands in brackets.
#[derive(JsonSchema)]
#[schemars(with = "String", title = "address and port", example = &"192.0.2.1:8443", example = &"[2001:db8::1]:8443")]
pub(super) struct AddressAndPort;

/// Algorithms for an IKE SA, joined by `-`. Ciphers: `aes256gcm16`, `aes128gcm16`, `aes256`, `aes128`; integrity with the last
/// two: `sha256`, `sha384`, `sha512`, `sha1`; PRFs: `prfsha256`, `prfsha384`, `prfsha512`; key exchange: `x25519`, `ecp256`,
/// `ecp384`, `modp2048`; an additional one: `mlkem768`. Where no PRF is named, it goes by the integrity's hash.
#[derive(JsonSchema)]
#[schemars(with = "String", title = "IKE proposal", rename = "IkeProposal", example = &"aes256gcm16-prfsha256-x25519", example = &"aes256-sha256-ecp256")]
pub(super) struct IkeAlgorithms;

/// Algorithms for ESP, joined by `-`. Ciphers: `aes256gcm16`, `aes128gcm16`, `chacha20poly1305`, `aes256`, `aes128`, and without
/// encryption `null`, `aes256gmac`, `aes128gmac`; integrity with `aes256`, `aes128` and `null`: `sha256`, `sha1`; key exchange
/// on rekeys: as of IKE, or `none`; sequence numbers: `esn`, `noesn`, which holds where neither is named.
#[derive(JsonSchema)]
#[schemars(with = "String", title = "ESP proposal", rename = "EspProposal", example = &"aes256gcm16-x25519-esn", example = &"aes128-sha256")]
pub(super) struct EspAlgorithms;

/// How far the network behind a port is trusted.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(remote = "Zone", rename_all = "snake_case")]
pub(super) enum ZoneName {
    /// A network of others: the SPD applies, and nothing is forwarded from there in the clear.
    Public,
    /// The operator's own network: packets are forwarded without the SPD.
    Trusted,
}

/// What becomes of packets that do not fit into a softwire.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(remote = "TooBig", rename_all = "snake_case")]
pub(super) enum TooBigName {
    /// The source is told by ICMP, or its packet is fragmented where DF allows that.
    Inner,
    /// The outer packet is fragmented (RFC 2473, section 7.2), and joined by the other AFBR.
    Outer,
}

/// A number or a text; YAML does not tell them apart, JSON does.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub(super) enum Word {
    Number(u64),
    Text(String),
}

impl From<Word> for String {
    fn from(word: Word) -> Self {
        match word {
            Word::Number(n) => n.to_string(),
            Word::Text(text) => text,
        }
    }
}

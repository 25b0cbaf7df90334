//! What the management plane sees of packet traces, and what it may do.

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;
use tokio::sync::oneshot;
use utoipa::ToSchema;

/// A question about traces.
#[derive(Debug)]
pub enum TraceQuery {
    /// Begins one; gives its number.
    Start(TraceRequest, oneshot::Sender<Result<u32, TraceRefused>>),
    /// Those that there are, without their packets.
    All(oneshot::Sender<Vec<TraceSummary>>),
    /// One of them.
    One(u32, oneshot::Sender<Option<TraceInfo>>),
    /// What its packets contain.
    Frames(u32, oneshot::Sender<Option<Vec<TraceFrame>>>),
    /// Ends it, and forgets it; false when there is none.
    Delete(u32, oneshot::Sender<bool>),
}

/// Which packets are traced; what is absent matches all. An address, protocol or port may be that of the outer header or of
/// one that it carries, but of the same header all that is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TraceMatch {
    /// Prefix, or address, of the source.
    #[serde(deserialize_with = "network", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub source: Option<IpNet>,
    /// Prefix, or address, of the destination.
    #[serde(deserialize_with = "network", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub destination: Option<IpNet>,
    /// IP protocol: a number, or `tcp`, `udp`, `icmp`, `icmpv6`, `esp`, `ipip`, `ipv6`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub protocol: Option<TraceProtocol>,
    /// Source or destination port of TCP or UDP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Session, as `tunnel.session`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Name of the port that it came in by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port_name: Option<String>,
    /// Only packets that are dropped.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dropped: bool,
}

impl fmt::Display for TraceMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(self.source.map(|v| format!("source {v}")));
        parts.extend(self.destination.map(|v| format!("destination {v}")));
        parts.extend(self.protocol.map(|v| format!("protocol {v}")));
        parts.extend(self.port.map(|v| format!("port {v}")));
        parts.extend(self.session.as_ref().map(|v| format!("session {v}")));
        parts.extend(self.port_name.as_ref().map(|v| format!("from {v}")));
        let kind = if self.dropped { "dropped packets" } else { "packets" };
        write!(f, "{kind}{}{}", if parts.is_empty() { "" } else { ": " }, parts.join(", "))
    }
}

/// A trace as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TraceRequest {
    /// Which packets.
    pub filter: TraceMatch,
    /// One in so many of those that match, as far as that can be seen when they come in; 1 to 1,000,000.
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub sample: u32,
    /// Packets after which it is done, 1 to 1000.
    #[schema(minimum = 1, maximum = 1000)]
    pub packets: usize,
}

impl Default for TraceRequest {
    fn default() -> Self {
        Self { filter: TraceMatch::default(), sample: 1, packets: 100 }
    }
}

/// Why a trace does not begin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraceRefused {
    /// One at a time.
    #[error("trace {0} is running: delete it first")]
    Running(u32),
    /// The request makes no sense.
    #[error("{detail}")]
    Invalid {
        /// JSON pointer into the request.
        path: &'static str,
        /// Why.
        detail: String,
    },
}

/// A trace without its packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TraceSummary {
    /// Its number; the key of this resource.
    pub id: u32,
    /// `running` or `done`.
    pub state: &'static str,
    /// Which packets.
    pub filter: TraceMatch,
    /// One in so many.
    pub sample: u32,
    /// Packets after which it is done.
    pub wanted: usize,
    /// Packets that it has.
    pub captured: usize,
    /// Packets that there was no buffer for.
    pub lost: u64,
}

/// A trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TraceInfo {
    /// What it is.
    #[serde(flatten)]
    pub summary: TraceSummary,
    /// In the order in which they ended.
    pub packets: Vec<TracedPacket>,
}

/// A packet on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TracedPacket {
    /// When it came in, RFC 3339.
    pub at: String,
    /// Worker that received it.
    pub worker: u8,
    /// Name of the port that it came in by.
    pub port: String,
    /// What it met, in order.
    pub nodes: Vec<TracedNode>,
    /// `sent`, `punted`, `joined` or `dropped`, with the class or the reason.
    pub verdict: String,
}

/// A packet at a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TracedNode {
    /// `rx`, `classify`, `esp-in`, `decrypted`, `l2tp-in`, `decap`, `forward`, `l2tp-out`, `encap`, `esp-out`, `output`, `tx`,
    /// `punt`, `hand-off`, `joined`, `drop`.
    pub node: &'static str,
    /// The packet as it came there: of its headers the addresses.
    pub detail: TracedDetail,
}

/// What is known of a packet at a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct TracedDetail {
    /// Name of the port that it came in by or goes out of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// Octets, from the header that the node looks at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<u16>,
    /// Ethertype, where it is not IP; hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ethertype: Option<String>,
    /// Source.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub source: Option<IpAddr>,
    /// Destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub destination: Option<IpAddr>,
    /// Protocol above IP, a name or a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Of TCP and UDP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_port: Option<u16>,
    /// Of TCP and UDP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_port: Option<u16>,
    /// Session, as `tunnel.session`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// IKE peer whose SA protected it or is to protect it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<u32>,
    /// SPI of the SA that protected it, hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spi: Option<String>,
    /// Class in which the control plane has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<&'static str>,
    /// Worker that goes on with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<u8>,
    /// Why it was dropped, as in the counters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
}

/// The beginning of a packet: as a frame of a port, or without the link's header, inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceFrame {
    /// Since 1970.
    pub at: Duration,
    /// Name of the port; `None`: from the IP header on, decrypted or not protected yet.
    pub port: Option<String>,
    /// Octets that it has.
    pub length: u16,
    /// The first of them.
    pub octets: Vec<u8>,
    /// Which packet, where, and what became of it.
    pub comment: String,
}

/// A protocol above IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceProtocol(pub u8);

const PROTOCOLS: [(u8, &str); 7] =
    [(1, "icmp"), (4, "ipip"), (6, "tcp"), (17, "udp"), (41, "ipv6"), (50, "esp"), (58, "icmpv6")];

impl fmt::Display for TraceProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match PROTOCOLS.iter().find(|p| p.0 == self.0) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

impl FromStr for TraceProtocol {
    type Err = UnknownProtocol;

    fn from_str(text: &str) -> Result<Self, UnknownProtocol> {
        let named = PROTOCOLS.iter().find(|p| p.1 == text).map(|p| p.0);
        named.or_else(|| text.parse().ok()).map(Self).ok_or_else(|| UnknownProtocol(text.to_owned()))
    }
}

/// Neither a name that is known nor a number up to 255.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no protocol")]
pub struct UnknownProtocol(String);

impl Serialize for TraceProtocol {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TraceProtocol {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

// An address is a prefix of its length.
fn network<'de, D: Deserializer<'de>>(d: D) -> Result<Option<IpNet>, D::Error> {
    let Some(text) = Option::<String>::deserialize(d)? else { return Ok(None) };
    let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let wrong = |_| serde::de::Error::custom(format!("{text:?} is neither a prefix nor an address"));
    net.map(|net| Some(net.trunc())).map_err(wrong)
}

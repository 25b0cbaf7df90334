//! Filters: named access lists that sessions share. A session names one by its [`FilterId`].
//!
//! ```text
//!   rule 0   up    any  ─► 192.0.2.0/24  17  53..53   permit      first match decides
//!   rule 1   both  any  ─► any           6   any      permit
//!   (end)                                             deny        nothing matches: dropped
//! ```
//!
//! A list without rules permits nothing, and so does an id that has no list: what is not there fails closed.

use crate::{IpPrefix, PortRange};

/// Rules per filter.
pub const MAX_RULES: usize = 256;

/// A filter's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FilterId(pub u16);

/// Packets that a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FilterDirection {
    /// From the subscriber.
    Up,
    /// To the subscriber.
    Down,
    /// All.
    Both,
}

/// What a rule decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FilterAction {
    /// Passes.
    Permit,
    /// Dropped and counted.
    Deny,
}

/// A line of a filter, over a subscriber's inner packets. `None` matches everything; one prefix alone makes the rule
/// match packets of its family only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FilterRule {
    /// Which way the packet goes.
    pub direction: FilterDirection,
    /// The packet's source, whichever way it goes.
    pub source: Option<IpPrefix>,
    /// The packet's destination.
    pub destination: Option<IpPrefix>,
    /// IP protocol; of IPv6, that behind the extension headers.
    pub protocol: Option<u8>,
    /// Destination port of TCP or UDP. A packet without ports does not match, and neither does a fragment beyond the
    /// first: fragments are matched by addresses and protocol only.
    pub ports: Option<PortRange>,
    /// What happens.
    pub action: FilterAction,
}

impl FilterRule {
    /// For every packet.
    pub const fn any(action: FilterAction) -> Self {
        Self { direction: FilterDirection::Both, source: None, destination: None, protocol: None, ports: None, action }
    }
}

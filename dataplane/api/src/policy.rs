//! The SPD as the workers see it (RFC 4301, section 4.4.1): an ordered list, first match decides.

use crate::IpPrefix;

/// Inclusive range of ports; `ANY` also matches packets without ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortRange {
    /// First port.
    pub first: u16,
    /// Last port.
    pub last: u16,
}

impl PortRange {
    /// Every port.
    pub const ANY: Self = Self { first: 0, last: u16::MAX };

    /// One port.
    pub const fn one(port: u16) -> Self {
        Self { first: port, last: port }
    }

    /// Whether `port` lies in the range.
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

/// Traffic selector; "local" is this gateway's side. `protocol` 0 and `None` match everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Selector {
    /// IP protocol or last next-header, 0 for any.
    pub protocol: u8,
    /// Local addresses.
    pub local: Option<IpPrefix>,
    /// Remote addresses.
    pub remote: Option<IpPrefix>,
    /// Local ports.
    pub local_port: PortRange,
    /// Remote ports.
    pub remote_port: PortRange,
    /// Least TTL or hop limit of a packet that arrives (GTSM, RFC 5082).
    pub min_ttl: u8,
}

impl Selector {
    /// Matches everything.
    pub const ANY: Self = Self {
        protocol: 0,
        local: None,
        remote: None,
        local_port: PortRange::ANY,
        remote_port: PortRange::ANY,
        min_ttl: 0,
    };
}

/// What the SPD does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Passes without protection.
    Bypass,
    /// Only inside ESP.
    Protect,
    /// Dropped and counted.
    Discard,
}

/// One line of the SPD. Rules apply on ports of the public zone, to packets from and to the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRule {
    /// What it matches.
    pub selector: Selector,
    /// What happens.
    pub action: Action,
}

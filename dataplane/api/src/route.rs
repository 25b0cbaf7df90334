//! Ports, prefixes and next hops: what the snapshot of the forwarding tables is made from.

use crate::{PortId, SessionId, SoftwireId};
use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;

/// An IP prefix with its host bits zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IpPrefix(IpNet);

impl IpPrefix {
    /// Clears the host bits; `None` when `len` is longer than the address.
    pub fn new(address: IpAddr, len: u8) -> Option<Self> {
        IpNet::new(address, len).ok().map(Self::from)
    }

    /// The prefix of one address.
    pub fn host(address: IpAddr) -> Self {
        Self(address.into())
    }

    /// Network address.
    pub fn address(&self) -> IpAddr {
        self.0.addr()
    }

    /// Prefix length in bits.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u8 {
        self.0.prefix_len()
    }

    /// Whether `address` is of this family and lies in the prefix.
    #[inline(always)]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (&self.0, address) {
            (IpNet::V4(p), IpAddr::V4(a)) => a.to_bits() & mask32(p.prefix_len()) == p.addr().to_bits(),
            (IpNet::V6(p), IpAddr::V6(a)) => a.to_bits() & mask128(p.prefix_len()) == p.addr().to_bits(),
            _ => false,
        }
    }
}

impl From<IpNet> for IpPrefix {
    fn from(net: IpNet) -> Self {
        Self(net.trunc())
    }
}

impl From<IpPrefix> for IpNet {
    fn from(prefix: IpPrefix) -> Self {
        prefix.0
    }
}

#[inline]
fn mask32(len: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0)
}

#[inline]
fn mask128(len: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0)
}

impl fmt::Display for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct MacAddr(pub [u8; 6]);

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How far the network behind a port is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Zone {
    /// The SPD applies; nothing is forwarded from here in the clear.
    Public,
    /// Packets are forwarded without the SPD.
    Trusted,
}

/// A port as the data plane needs to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortConfig {
    /// Which port.
    pub port: PortId,
    /// Its own Ethernet address.
    pub mac: MacAddr,
    /// Largest IP packet it can send, in octets.
    pub mtu: u16,
    /// 802.1Q VLAN on which the addresses live; `None` for untagged frames.
    pub vlan: Option<u16>,
    /// Trust in what arrives here.
    pub zone: Zone,
    /// Its addresses with prefix lengths (`IpPrefix` would lose the host bits).
    pub addresses: Vec<(IpAddr, u8)>,
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NextHop {
    /// Into a subscriber's session.
    Session(SessionId),
    /// Into a softwire of the mesh.
    Softwire(SoftwireId),
    /// Through a router on a port.
    Via(PortId, IpAddr),
    /// Directly on the link of a port: the destination is the neighbour.
    Connected(PortId),
    /// An address of ours that subscribers may reach (echo is answered, the rest goes to the host stack).
    Local,
    /// Dropped with an ICMP unreachable.
    Unreachable,
    /// Dropped silently.
    Blackhole,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_clear_host_bits_and_contain() {
        let p = IpPrefix::new("2001:db8:1:2::5".parse().expect("v6"), 56).expect("prefix");
        assert_eq!(p.to_string(), "2001:db8:1::/56");
        assert!(p.contains("2001:db8:1:ff::1".parse().expect("v6")));
        assert!(!p.contains("2001:db8:2::1".parse().expect("v6")));
        assert!(!p.contains("192.0.2.1".parse().expect("v4")));
        let all = IpPrefix::new("192.0.2.1".parse().expect("v4"), 0).expect("prefix");
        assert!(all.contains("255.255.255.255".parse().expect("v4")));
        assert_eq!(IpPrefix::new("192.0.2.1".parse().expect("v4"), 33), None);
    }
}

//! Traffic selectors (RFC 7296, section 3.13): an IP protocol, a port range and an address range.
//!
//! The initiator proposes TSi (its side) and TSr (the responder's side); the responder may *narrow* both to the part
//! its policy allows (section 2.9): that is the intersection computed here.

use crate::error::Malformed;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const TS_IPV4: u8 = 7;
const TS_IPV6: u8 = 8;

/// One selector. Ranges are inclusive; both addresses are of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TrafficSelector {
    /// IP protocol; 0 is any.
    pub protocol: u8,
    /// First and last port (for ICMP: type in the high octet, code in the low one).
    pub ports: (u16, u16),
    /// First and last address.
    pub addresses: (IpAddr, IpAddr),
}

impl TrafficSelector {
    /// One host.
    pub fn host(protocol: u8, ports: (u16, u16), address: IpAddr) -> Self {
        Self { protocol, ports, addresses: (address, address) }
    }

    /// All addresses of the IPv4 or IPv6 family.
    pub fn any(v6: bool) -> Self {
        let addresses = if v6 {
            (IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::from(u128::MAX)))
        } else {
            (IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::BROADCAST))
        };
        Self { protocol: 0, ports: (0, u16::MAX), addresses }
    }

    /// What both allow.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        let protocol = match (self.protocol, other.protocol) {
            (0, p) | (p, 0) => p,
            (a, b) if a == b => a,
            _ => return None,
        };
        if self.addresses.0.is_ipv4() != other.addresses.0.is_ipv4() {
            return None;
        }
        let ports = (self.ports.0.max(other.ports.0), self.ports.1.min(other.ports.1));
        let addresses = (self.addresses.0.max(other.addresses.0), self.addresses.1.min(other.addresses.1));
        (ports.0 <= ports.1 && addresses.0 <= addresses.1).then_some(Self { protocol, ports, addresses })
    }

    /// Whether it names exactly one address.
    pub fn is_host(&self) -> bool {
        self.addresses.0 == self.addresses.1
    }
}

/// Parses the body of a TSi or TSr payload. Selectors of types we do not know are skipped (section 2.9 allows us to
/// narrow to the others).
pub fn parse(body: &[u8]) -> Result<Vec<TrafficSelector>, Malformed> {
    let [count, _, _, _, ref rest @ ..] = *body else { return Err(Malformed("truncated TS payload")) };
    let mut rest = rest;
    let mut selectors = Vec::new();
    for _ in 0..count {
        let [kind, protocol, hi, lo, ..] = *rest else { return Err(Malformed("truncated selector")) };
        let length = usize::from(u16::from_be_bytes([hi, lo]));
        let whole = rest.get(..length).ok_or(Malformed("selector length"))?;
        rest = &rest[length..];
        let body = whole.get(4..).ok_or(Malformed("selector length"))?;
        let addresses = match (kind, body.len()) {
            (TS_IPV4, 12) => (v4(&body[4..8]), v4(&body[8..12])),
            (TS_IPV6, 36) => (v6(&body[4..20]), v6(&body[20..36])),
            (TS_IPV4 | TS_IPV6, _) => return Err(Malformed("selector length")),
            _ => continue,
        };
        let ports = (u16::from_be_bytes([body[0], body[1]]), u16::from_be_bytes([body[2], body[3]]));
        if let (Some(start), Some(end)) = addresses {
            // Start port 65535 with end port 0 is OPAQUE (section 3.13.1); we have no use for it and never match it.
            selectors.push(TrafficSelector { protocol, ports, addresses: (start, end) });
        }
    }
    if rest.is_empty() { Ok(selectors) } else { Err(Malformed("octets after the last selector")) }
}

fn v4(bytes: &[u8]) -> Option<IpAddr> {
    Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?))
}

fn v6(bytes: &[u8]) -> Option<IpAddr> {
    Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?))
}

/// Writes the body of a TSi or TSr payload.
pub fn emit(selectors: &[TrafficSelector], out: &mut Vec<u8>) {
    let selectors = &selectors[..selectors.len().min(255)];
    out.extend_from_slice(&[selectors.len() as u8, 0, 0, 0]);
    for selector in selectors {
        let (kind, length): (u8, u16) = if selector.addresses.0.is_ipv4() { (TS_IPV4, 16) } else { (TS_IPV6, 40) };
        out.extend_from_slice(&[kind, selector.protocol]);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&selector.ports.0.to_be_bytes());
        out.extend_from_slice(&selector.ports.1.to_be_bytes());
        for address in [selector.addresses.0, selector.addresses.1] {
            match address {
                IpAddr::V4(a) => out.extend_from_slice(&a.octets()),
                IpAddr::V6(a) => out.extend_from_slice(&a.octets()),
            }
        }
    }
}

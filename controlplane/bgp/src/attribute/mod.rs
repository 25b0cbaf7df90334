//! Path attributes (RFC 4271, section 4.3): what is said of the prefixes of an UPDATE.
//!
//! ```text
//! | Flags (1) | Type (1) | Length (1, or 2 with E) |  Value ...  |       Flags: O optional, T transitive,
//!   O T P E                                                               P partial, E extended length
//! ```
//!
//! A million routes share some ten thousand sets of attributes, so a set is one value behind an `Arc`, interned by
//! [`Interner`]. The next hop is part of the set, wherever the message had it: NEXT_HOP or MP_REACH_NLRI.
//!
//! | module | holds |
//! |---|---|
//! | [`as_path`] | AS_PATH and its old form |
//! | [`community`] | the three kinds of communities |
//! | `decode` | attributes off the wire, each fault classified by RFC 7606 |
//! | `encode` | attributes onto the wire |
//! | [`intern`] | one copy of each set |

pub mod as_path;
pub mod community;
pub(crate) mod decode;
mod encode;
pub mod intern;

pub use as_path::{AsPath, Segment, SegmentKind};
pub use community::{Community, ExtendedCommunity, LargeCommunity};
pub use intern::Interner;

use crate::tunnel::TunnelEncap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Attribute type codes.
pub mod code {
    #![allow(missing_docs)] // the names are those of the IANA registry
    pub const ORIGIN: u8 = 1;
    pub const AS_PATH: u8 = 2;
    pub const NEXT_HOP: u8 = 3;
    pub const MULTI_EXIT_DISC: u8 = 4;
    pub const LOCAL_PREF: u8 = 5;
    pub const ATOMIC_AGGREGATE: u8 = 6;
    pub const AGGREGATOR: u8 = 7;
    pub const COMMUNITIES: u8 = 8;
    pub const ORIGINATOR_ID: u8 = 9;
    pub const CLUSTER_LIST: u8 = 10;
    pub const MP_REACH_NLRI: u8 = 14;
    pub const MP_UNREACH_NLRI: u8 = 15;
    pub const EXTENDED_COMMUNITIES: u8 = 16;
    pub const AS4_PATH: u8 = 17;
    pub const AS4_AGGREGATOR: u8 = 18;
    pub const TUNNEL_ENCAP: u8 = 23;
    pub const IPV6_EXTENDED_COMMUNITIES: u8 = 25;
    pub const LARGE_COMMUNITIES: u8 = 32;
    pub const ONLY_TO_CUSTOMER: u8 = 35;
}

/// Flag: the attribute is optional.
pub const OPTIONAL: u8 = 0x80;
/// Flag: the attribute is passed on, understood or not.
pub const TRANSITIVE: u8 = 0x40;
/// Flag: a speaker that did not understand it has passed it on.
pub const PARTIAL: u8 = 0x20;
pub(crate) const EXTENDED_LENGTH: u8 = 0x10;

/// A set of path attributes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attributes {
    /// ORIGIN.
    pub origin: Origin,
    /// AS_PATH, always of four octets.
    pub as_path: AsPath,
    /// NEXT_HOP, or the next hop of MP_REACH_NLRI.
    pub next_hop: NextHop,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// LOCAL_PREF.
    pub local_pref: Option<u32>,
    /// ATOMIC_AGGREGATE.
    pub atomic_aggregate: bool,
    /// AGGREGATOR.
    pub aggregator: Option<Aggregator>,
    /// COMMUNITIES (RFC 1997).
    pub communities: Vec<Community>,
    /// ORIGINATOR_ID (RFC 4456).
    pub originator_id: Option<Ipv4Addr>,
    /// CLUSTER_LIST (RFC 4456), the last cluster first.
    pub cluster_list: Vec<Ipv4Addr>,
    /// EXTENDED COMMUNITIES (RFC 4360).
    pub extended_communities: Vec<ExtendedCommunity>,
    /// Tunnel Encapsulation (RFC 9012).
    pub tunnel_encap: Option<TunnelEncap>,
    /// LARGE_COMMUNITY (RFC 8092).
    pub large_communities: Vec<LargeCommunity>,
    /// OTC (RFC 9234): the AS that said "only to customers".
    pub only_to_customer: Option<u32>,
    /// Transitive attributes that are not understood here, passed on with the partial bit.
    pub unknown: Vec<RawAttribute>,
    /// Bit `1 << code` is set for an understood attribute that came with the partial bit.
    pub partial: u64,
}

impl Attributes {
    /// Those of a route of our own: ORIGIN IGP, an empty AS_PATH and a next hop.
    pub fn new(next_hop: NextHop) -> Self {
        Self {
            origin: Origin::Igp,
            as_path: AsPath::default(),
            next_hop,
            med: None,
            local_pref: None,
            atomic_aggregate: false,
            aggregator: None,
            communities: Vec::new(),
            originator_id: None,
            cluster_list: Vec::new(),
            extended_communities: Vec::new(),
            tunnel_encap: None,
            large_communities: Vec::new(),
            only_to_customer: None,
            unknown: Vec::new(),
            partial: 0,
        }
    }

    /// Colors of the route (RFC 9012, section 4.3).
    pub fn colors(&self) -> impl Iterator<Item = u32> + '_ {
        self.extended_communities.iter().filter_map(|c| c.color()).map(|color| color.value)
    }
}

/// ORIGIN (RFC 4271, section 5.1.1), the better first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// Interior to the originating AS.
    Igp,
    /// Learned by EGP.
    Egp,
    /// Learned otherwise.
    Incomplete,
}

impl Origin {
    const fn from_number(n: u8) -> Option<Self> {
        match n {
            0 => Some(Self::Igp),
            1 => Some(Self::Egp),
            2 => Some(Self::Incomplete),
            _ => None,
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Igp => 0,
            Self::Egp => 1,
            Self::Incomplete => 2,
        }
    }
}

/// A next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NextHop {
    /// The address; an IPv4 prefix may have an IPv6 one (RFC 8950).
    pub address: IpAddr,
    /// The link-local address that goes with an IPv6 one on a shared link (RFC 2545, section 3).
    pub link_local: Option<Ipv6Addr>,
}

impl NextHop {
    /// The address that packets go to: an IPv4-mapped next hop of an IPv6 prefix is an IPv4 one (RFC 4798).
    pub fn resolve(&self) -> IpAddr {
        self.address.to_canonical()
    }
}

impl From<IpAddr> for NextHop {
    fn from(address: IpAddr) -> Self {
        Self { address, link_local: None }
    }
}

/// AGGREGATOR (RFC 4271, section 5.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Aggregator {
    /// AS of the speaker that formed the aggregate.
    pub asn: u32,
    /// Its BGP identifier.
    pub router_id: Ipv4Addr,
}

/// An attribute that is not understood here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RawAttribute {
    /// Flags without Extended Length; Partial is set.
    pub flags: u8,
    /// Type code.
    pub code: u8,
    /// Value, byte for byte.
    pub value: Vec<u8>,
}

//! What IPv4 and IPv6 share: protocol numbers, and a view that is either of them.

use crate::Error;
use crate::ipv4::{self, Ipv4};
use crate::ipv6::{self, Ipv6};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// ICMP.
pub const ICMP: u8 = 1;
/// IPv4 in IP.
pub const IPIP: u8 = 4;
/// TCP.
pub const TCP: u8 = 6;
/// UDP.
pub const UDP: u8 = 17;
/// IPv6 in IP.
pub const IPV6: u8 = 41;
/// ESP.
pub const ESP: u8 = 50;
/// ICMPv6.
pub const ICMPV6: u8 = 58;
/// IPv6 no next header.
pub const NONE: u8 = 59;

/// What forwarding needs to know of a packet of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ip {
    /// Source.
    pub src: IpAddr,
    /// Destination.
    pub dst: IpAddr,
    /// Length of the packet as its header states it.
    pub len: usize,
    /// Length of the headers: where the upper layer (or the fragment's part of it) begins.
    pub header_len: usize,
    /// Upper-layer protocol.
    pub protocol: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Offset of the fragment in octets and whether more follow, if it is a fragment.
    pub fragment: Option<(u16, bool)>,
}

impl Ip {
    /// Reads the headers of either family; for IPv6 all extension headers up to the upper layer.
    pub fn parse(data: &[u8]) -> Result<Self, Error> {
        match data.first().map(|b| b >> 4) {
            Some(4) => {
                let h = Ipv4::parse(data)?;
                Ok(Self {
                    src: h.src().into(),
                    dst: h.dst().into(),
                    len: h.total_len(),
                    header_len: h.header_len(),
                    protocol: h.protocol(),
                    ttl: h.ttl(),
                    fragment: h.is_fragment().then(|| (h.fragment_offset(), h.more_fragments())),
                })
            }
            Some(6) => {
                let h = Ipv6::parse(data)?;
                let upper = ipv6::upper_layer(data.get(..h.total_len()).ok_or(Error::Truncated)?)?;
                Ok(Self {
                    src: h.src().into(),
                    dst: h.dst().into(),
                    len: h.total_len(),
                    header_len: upper.offset,
                    protocol: upper.protocol,
                    ttl: h.hop_limit(),
                    fragment: upper.fragment,
                })
            }
            Some(_) => Err(Error::Malformed),
            None => Err(Error::Truncated),
        }
    }

    /// What nearly every packet is: one header without options or extensions, no fragment, and an IPv4 checksum that is right.
    /// `None`: something else, for [`Self::parse`] to tell.
    #[inline(always)]
    pub fn plain(data: &[u8], v6: bool) -> Option<Self> {
        if v6 {
            let h = ipv6::plain(data)?;
            let (src, dst) = (Ipv6Addr::from_bits(h.src).into(), Ipv6Addr::from_bits(h.dst).into());
            let (ttl, protocol) = (*data.get(7)?, h.protocol);
            return Some(Self { src, dst, len: h.len, header_len: ipv6::HEADER, protocol, ttl, fragment: None });
        }
        let h = ipv4::plain(data)?;
        let (src, dst) = (Ipv4Addr::from_bits(h.src).into(), Ipv4Addr::from_bits(h.dst).into());
        let (ttl, protocol) = (*data.get(8)?, h.protocol);
        Some(Self { src, dst, len: h.len.into(), header_len: ipv4::HEADER, protocol, ttl, fragment: None })
    }

    /// Whether the upper-layer header is in this packet.
    pub fn is_first(&self) -> bool {
        self.fragment.is_none_or(|(offset, _)| offset == 0)
    }
}

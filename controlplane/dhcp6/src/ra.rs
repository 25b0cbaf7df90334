//! Router solicitations and advertisements (RFC 4861, section 4), with MTU, prefix and DNS options (RFC 8106).
//!
//! On a PPP link the prefix is announced for autoconfiguration (A). Whether it is also on-link (L) hardly matters
//! with two nodes; it is left off by default, so that a host sends everything to its router, which then may delegate
//! what it likes. There are no link-layer addresses on PPP and so no such options.

use crate::packet::{ALL_NODES, ALL_ROUTERS, ICMPV6, Ipv6Packet, Prefix, checksum, icmpv6};
use std::net::Ipv6Addr;

const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;

const PREFIX_INFORMATION: u8 = 3;
const MTU: u8 = 5;
const RDNSS: u8 = 25;

/// A prefix of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixInformation {
    /// The prefix; hosts autoconfigure only with 64 bits.
    pub prefix: Prefix,
    /// L: addresses of the prefix are on the link.
    pub on_link: bool,
    /// A: hosts may make an address in it.
    pub autonomous: bool,
    /// Seconds; all ones for ever.
    pub valid: u32,
    /// Seconds; all ones for ever.
    pub preferred: u32,
}

/// DNS servers (RFC 8106, section 5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rdnss {
    /// Seconds.
    pub lifetime: u32,
    /// At least one.
    pub servers: Vec<Ipv6Addr>,
}

/// A router advertisement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouterAdvertisement {
    /// For hosts to use; 0 leaves it open.
    pub hop_limit: u8,
    /// M: addresses by DHCPv6.
    pub managed: bool,
    /// O: other configuration by DHCPv6.
    pub other: bool,
    /// Seconds as a default router; 0 is none.
    pub router_lifetime: u16,
    /// Milliseconds; 0 leaves it open.
    pub reachable_time: u32,
    /// Milliseconds; 0 leaves it open.
    pub retransmission_timer: u32,
    /// Of the link.
    pub mtu: Option<u32>,
    /// Prefixes.
    pub prefixes: Vec<PrefixInformation>,
    /// Name servers.
    pub dns: Option<Rdnss>,
}

impl RouterAdvertisement {
    /// The ICMPv6 message, its checksum still zero.
    pub fn encode(&self) -> Vec<u8> {
        let flags = u8::from(self.managed) << 7 | u8::from(self.other) << 6;
        let mut out = vec![ROUTER_ADVERTISEMENT, 0, 0, 0, self.hop_limit, flags];
        out.extend_from_slice(&self.router_lifetime.to_be_bytes());
        out.extend_from_slice(&self.reachable_time.to_be_bytes());
        out.extend_from_slice(&self.retransmission_timer.to_be_bytes());
        if let Some(mtu) = self.mtu {
            out.extend_from_slice(&[MTU, 1, 0, 0]);
            out.extend_from_slice(&mtu.to_be_bytes());
        }
        for p in &self.prefixes {
            let flags = u8::from(p.on_link) << 7 | u8::from(p.autonomous) << 6;
            out.extend_from_slice(&[PREFIX_INFORMATION, 4, p.prefix.length(), flags]);
            out.extend_from_slice(&p.valid.to_be_bytes());
            out.extend_from_slice(&p.preferred.to_be_bytes());
            out.extend_from_slice(&[0; 4]);
            out.extend_from_slice(&p.prefix.address().octets());
        }
        if let Some(dns) = self.dns.as_ref().filter(|dns| !dns.servers.is_empty()) {
            // The length is in units of eight octets; 127 servers fill it.
            let servers = dns.servers.get(..127).unwrap_or(&dns.servers);
            out.extend_from_slice(&[RDNSS, 1 + 2 * servers.len() as u8, 0, 0]);
            out.extend_from_slice(&dns.lifetime.to_be_bytes());
            servers.iter().for_each(|s| out.extend_from_slice(&s.octets()));
        }
        out
    }

    /// The whole IPv6 packet, from our link-local address to one host or ([`ALL_NODES`]) to all.
    pub fn packet(&self, source: Ipv6Addr, destination: Ipv6Addr) -> Option<Vec<u8>> {
        icmpv6(source, destination, self.encode())
    }

    /// Parses an ICMPv6 message, checksum apart. Unknown options are skipped (RFC 4861, section 4.2); one of length
    /// zero makes the whole message invalid (section 6.1.2).
    pub fn parse(message: &[u8]) -> Option<Self> {
        let (header, mut options) = message.split_first_chunk::<16>()?;
        if header[0] != ROUTER_ADVERTISEMENT || header[1] != 0 {
            return None;
        }
        let mut ra = Self {
            hop_limit: header[4],
            managed: header[5] & 0x80 != 0,
            other: header[5] & 0x40 != 0,
            router_lifetime: u16::from_be_bytes([header[6], header[7]]),
            reachable_time: u32_at(header, 8)?,
            retransmission_timer: u32_at(header, 12)?,
            ..Self::default()
        };
        while let Some((kind, option, rest)) = next_option(options)? {
            options = rest;
            match (kind, option.len()) {
                (MTU, 8) => ra.mtu = u32_at(option, 4),
                (PREFIX_INFORMATION, 32) => {
                    // A length beyond 128 makes the option void, not the message.
                    let address: [u8; 16] = option.get(16..)?.try_into().ok()?;
                    let prefix = Prefix::new(address.into(), option[2]);
                    ra.prefixes.extend(prefix.map(|prefix| PrefixInformation {
                        prefix,
                        on_link: option[3] & 0x80 != 0,
                        autonomous: option[3] & 0x40 != 0,
                        valid: u32_at(option, 4).unwrap_or(0),
                        preferred: u32_at(option, 8).unwrap_or(0),
                    }));
                }
                (RDNSS, 24..) => {
                    let servers = option.get(8..)?.as_chunks::<16>().0.iter().map(|s| Ipv6Addr::from(*s)).collect();
                    ra.dns = Some(Rdnss { lifetime: u32_at(option, 4)?, servers });
                }
                _ => {}
            }
        }
        Some(ra)
    }

    /// Parses a whole IPv6 packet, with the checks of RFC 4861, section 6.1.2: the router's address comes with it.
    pub fn parse_packet(packet: &[u8]) -> Option<(Ipv6Addr, Self)> {
        let ip = neighbour_discovery(packet)?;
        ip.source.is_unicast_link_local().then_some(())?;
        Some((ip.source, Self::parse(ip.payload)?))
    }
}

/// A router solicitation, as a whole IPv6 packet.
pub fn solicitation(source: Ipv6Addr) -> Option<Vec<u8>> {
    icmpv6(source, ALL_ROUTERS, vec![ROUTER_SOLICITATION, 0, 0, 0, 0, 0, 0, 0])
}

/// If the IPv6 packet is a valid router solicitation (RFC 4861, section 6.1.1), who sent it. Answer there, or to
/// [`ALL_NODES`] if the address is unspecified.
pub fn parse_solicitation(packet: &[u8]) -> Option<Ipv6Addr> {
    let ip = neighbour_discovery(packet)?;
    let (header, mut options) = ip.payload.split_first_chunk::<8>()?;
    if header[0] != ROUTER_SOLICITATION || header[1] != 0 {
        return None;
    }
    while let Some((_, _, rest)) = next_option(options)? {
        options = rest;
    }
    Some(ip.source)
}

/// Where the answer to a solicitation goes.
pub fn answer_to(source: Ipv6Addr) -> Ipv6Addr {
    if source.is_unspecified() { ALL_NODES } else { source }
}

/// An ICMPv6 packet that has not been forwarded and whose checksum is right.
fn neighbour_discovery(packet: &[u8]) -> Option<Ipv6Packet<'_>> {
    let ip = Ipv6Packet::parse(packet)?;
    let good =
        ip.protocol == ICMPV6 && ip.hop_limit == 255 && checksum(ip.source, ip.destination, ICMPV6, ip.payload) == 0;
    good.then_some(ip)
}

/// `None`: malformed; `Some(None)`: the end; else type, whole option and rest.
#[allow(clippy::type_complexity)]
fn next_option(bytes: &[u8]) -> Option<Option<(u8, &[u8], &[u8])>> {
    let [kind, units, ..] = bytes else { return bytes.is_empty().then_some(None) };
    let length = usize::from(*units) * 8;
    if length == 0 {
        return None;
    }
    let (option, rest) = bytes.split_at_checked(length)?;
    Some(Some((*kind, option, rest)))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

//! Whole IPv6 packets around ICMPv6 and DHCPv6, and the checksum over the pseudo header (RFC 8200, section 8.1).

use crate::relay::RELAY_REPL;
use std::net::Ipv6Addr;

/// Where a DHCPv6 client listens.
pub const CLIENT_PORT: u16 = 546;
/// Where a DHCPv6 server listens.
pub const SERVER_PORT: u16 = 547;
/// All DHCPv6 relay agents and servers on the link.
pub const ALL_DHCP_SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
/// All nodes on the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// All routers on the link.
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// IPv6 next header: UDP.
pub const UDP: u8 = 17;
/// IPv6 next header: ICMPv6.
pub const ICMPV6: u8 = 58;

/// A prefix; bits beyond its length are clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix {
    address: Ipv6Addr,
    length: u8,
}

impl Prefix {
    /// `None`: longer than 128. Bits beyond the length are cleared.
    pub fn new(address: Ipv6Addr, length: u8) -> Option<Self> {
        let mask = u128::MAX.checked_shl(128u32.checked_sub(u32::from(length))?).unwrap_or(0);
        Some(Self { address: Ipv6Addr::from_bits(address.to_bits() & mask), length })
    }

    /// An address alone.
    pub fn host(address: Ipv6Addr) -> Self {
        Self { address, length: 128 }
    }

    /// The first address.
    pub fn address(&self) -> Ipv6Addr {
        self.address
    }

    /// Leading bits.
    pub fn length(&self) -> u8 {
        self.length
    }
}

/// What an IPv6 packet carries, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Packet<'a> {
    /// Source.
    pub source: Ipv6Addr,
    /// Destination.
    pub destination: Ipv6Addr,
    /// Next header.
    pub protocol: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// After the fixed header.
    pub payload: &'a [u8],
}

impl<'a> Ipv6Packet<'a> {
    /// Parses the fixed header; extension headers are not looked through, as neither protocol uses any.
    pub fn parse(packet: &'a [u8]) -> Option<Self> {
        let (header, rest) = packet.split_first_chunk::<40>()?;
        if header[0] >> 4 != 6 {
            return None;
        }
        let octets = |at: usize| <[u8; 16]>::try_from(&header[at..at + 16]).ok().map(Ipv6Addr::from);
        Some(Self {
            source: octets(8)?,
            destination: octets(24)?,
            protocol: header[6],
            hop_limit: header[7],
            payload: rest.get(..usize::from(u16::from_be_bytes([header[4], header[5]])))?,
        })
    }
}

/// An IPv6 packet. `None`: the payload is too long for one.
pub fn ipv6(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, hop_limit: u8, payload: &[u8]) -> Option<Vec<u8>> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend_from_slice(&u16::try_from(payload.len()).ok()?.to_be_bytes());
    packet.extend_from_slice(&[protocol, hop_limit]);
    packet.extend_from_slice(&source.octets());
    packet.extend_from_slice(&destination.octets());
    packet.extend_from_slice(payload);
    Some(packet)
}

/// The checksum of an upper-layer packet, over what it holds in its own checksum field too: 0 for one that is right.
pub fn checksum(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, payload: &[u8]) -> u16 {
    let length = payload.len() as u64;
    let mut sum = length + u64::from(protocol);
    for address in [source, destination] {
        sum += address.segments().into_iter().map(u64::from).sum::<u64>();
    }
    let (words, odd) = payload.as_chunks::<2>();
    sum += words.iter().map(|w| u64::from(u16::from_be_bytes(*w))).sum::<u64>();
    sum += odd.iter().map(|o| u64::from(*o) << 8).sum::<u64>();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

/// An ICMPv6 packet with its checksum filled in (octets 2 and 3 of the message), hop limit 255 as neighbour discovery
/// demands.
pub fn icmpv6(source: Ipv6Addr, destination: Ipv6Addr, mut message: Vec<u8>) -> Option<Vec<u8>> {
    message.get_mut(2..4)?.copy_from_slice(&[0, 0]);
    let sum = checksum(source, destination, ICMPV6, &message);
    message.get_mut(2..4)?.copy_from_slice(&sum.to_be_bytes());
    ipv6(source, destination, ICMPV6, 255, &message)
}

/// A UDP datagram of an IPv6 packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Udp<'a> {
    /// Source address.
    pub source: Ipv6Addr,
    /// Destination address.
    pub destination: Ipv6Addr,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// The datagram's data.
    pub payload: &'a [u8],
}

impl<'a> Udp<'a> {
    /// Parses a whole IPv6 packet; the checksum must be there and be right.
    pub fn parse(packet: &'a [u8]) -> Option<Self> {
        let ip = Ipv6Packet::parse(packet)?;
        let (header, _) = ip.payload.split_first_chunk::<8>()?;
        let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let datagram = ip.payload.get(..length)?;
        let good =
            ip.protocol == UDP && header[6..8] != [0, 0] && checksum(ip.source, ip.destination, UDP, datagram) == 0;
        good.then_some(Self {
            source: ip.source,
            destination: ip.destination,
            source_port: u16::from_be_bytes([header[0], header[1]]),
            destination_port: u16::from_be_bytes([header[2], header[3]]),
            payload: datagram.get(8..)?,
        })
    }

    /// The whole IPv6 packet. `None`: too long.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let length = u16::try_from(self.payload.len().checked_add(8)?).ok()?;
        let mut datagram = Vec::with_capacity(usize::from(length));
        for number in [self.source_port, self.destination_port, length, 0] {
            datagram.extend_from_slice(&number.to_be_bytes());
        }
        datagram.extend_from_slice(self.payload);
        let sum = match checksum(self.source, self.destination, UDP, &datagram) {
            0 => 0xffff,
            sum => sum,
        };
        datagram[6..8].copy_from_slice(&sum.to_be_bytes());
        ipv6(self.source, self.destination, UDP, 64, &datagram)
    }
}

/// A DHCPv6 message from a client to all servers.
pub fn to_servers(client: Ipv6Addr, message: &[u8]) -> Option<Vec<u8>> {
    let (source_port, destination_port) = (CLIENT_PORT, SERVER_PORT);
    Udp { source: client, destination: ALL_DHCP_SERVERS, source_port, destination_port, payload: message }.encode()
}

/// A DHCPv6 message from the server to a client, or to a relay agent (a Relay-reply, RFC 8415, section 7.2).
pub fn to_client(server: Ipv6Addr, client: Ipv6Addr, message: &[u8]) -> Option<Vec<u8>> {
    let destination_port = if message.first() == Some(&RELAY_REPL) { SERVER_PORT } else { CLIENT_PORT };
    let source_port = SERVER_PORT;
    Udp { source: server, destination: client, source_port, destination_port, payload: message }.encode()
}

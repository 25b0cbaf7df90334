//! Entries of the SAD (RFC 4301, section 4.4.2), one direction each.

use crate::{EspKey, EspSuite, PeerId, SaOutId, Selector, Spi};
use std::net::IpAddr;

/// ESP mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The payload of the outer packet is protected in place.
    Transport,
    /// A whole inner packet is protected.
    Tunnel,
}

/// UDP encapsulation of ESP (RFC 3948).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UdpEncap {
    /// Our port, normally 4500.
    pub local_port: u16,
    /// The peer's port as its NAT shows it.
    pub remote_port: u16,
}

/// Packets and octets; 0 means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Limits {
    /// ESP packets.
    pub packets: u64,
    /// Octets of ESP payload.
    pub octets: u64,
}

/// Lifetimes that the worker enforces (RFC 4301, section 4.4.2.1). At `soft` it reports the SA once,
/// at `hard` it stops using it. The sequence number is a hard limit of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Lifetime {
    /// Reported to IKE, which rekeys.
    pub soft: Limits,
    /// Enforced.
    pub hard: Limits,
}

/// An inbound SA.
#[derive(Clone, Debug)]
pub struct SaIn {
    /// Names the slot it lives in.
    pub spi: Spi,
    /// The IKE peer it was negotiated with.
    pub peer: PeerId,
    /// Algorithms.
    pub suite: EspSuite,
    /// Keying material.
    pub key: EspKey,
    /// 64-bit sequence numbers (RFC 4303, section 2.2.1).
    pub esn: bool,
    /// Replay window in packets: 64, 128, ... 4096; 0 switches replay protection off.
    pub replay_window: u16,
    /// Transport or tunnel.
    pub mode: Mode,
    /// Our outer address.
    pub local: IpAddr,
    /// The peer's outer address.
    pub remote: IpAddr,
    /// Set when UDP encapsulation was negotiated; other forms are then not accepted.
    pub encap: Option<UdpEncap>,
    /// What a decapsulated packet must match ("local" is our side).
    pub selector: Selector,
    /// Limits.
    pub lifetime: Lifetime,
}

/// An outbound SA.
#[derive(Clone, Debug)]
pub struct SaOut {
    /// Its slot.
    pub id: SaOutId,
    /// The peer's SPI.
    pub spi: u32,
    /// The IKE peer it was negotiated with.
    pub peer: PeerId,
    /// Algorithms.
    pub suite: EspSuite,
    /// Keying material. An AEAD key is installed once only: its sequence numbers start at 1.
    pub key: EspKey,
    /// 64-bit sequence numbers.
    pub esn: bool,
    /// Transport or tunnel.
    pub mode: Mode,
    /// Our outer address.
    pub local: IpAddr,
    /// The peer's outer address.
    pub remote: IpAddr,
    /// UDP encapsulation.
    pub encap: Option<UdpEncap>,
    /// What it may carry ("local" is our side).
    pub selector: Selector,
    /// Limits.
    pub lifetime: Lifetime,
}

//! State of an outbound SA.
//!
//! The sequence number is the count of packets: it starts at 1, every packet takes the next, and the lifetime meter
//! stops the SA before it would repeat (RFC 4303, section 3.3.3). Nothing ever sets it back.

use crate::lifetime::{Bounds, Charge, Meter};
use crate::selector::{Flat, Flow, Narrow};
use crate::{Path, suite};
use dataplane_api::{Mode, PeerId, SaOut};
use ipsec_mb::Algorithm;
use std::num::NonZeroU32;
use zerocopy::FromZeros;

const ESN: u8 = 1;
const TUNNEL: u8 = 2;
const ANY: u8 = 4;
const GCM: u8 = 8;

/// What every packet needs: two cache lines, the counts in the second. All zero: no SA.
#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C, align(64))]
pub struct Outbound {
    spi: u32,
    peer: u32,
    path: Path,
    narrow: Narrow,
    salt: [u8; 4],
    algorithm: u8,
    generation: u8,
    meter: Meter,
}

const _: () = assert!(size_of::<Outbound>() == 128 && std::mem::offset_of!(Outbound, meter) >= 64);

/// What some packets need. All zero: no SA.
#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C)]
pub struct OutboundCold {
    bounds: Bounds,
    selector: Flat,
}

impl Outbound {
    /// State of a new SA. `None`: the addresses do not go together.
    pub fn new(sa: &SaOut) -> Option<(Self, OutboundCold)> {
        let mut path = Path::new(sa.local, sa.remote, sa.encap)?;
        let narrow = Narrow::new(&sa.selector, sa.mode);
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        path.flags = flag(sa.esn, ESN) | flag(sa.mode == Mode::Tunnel, TUNNEL) | flag(narrow.is_any(), ANY);
        let algorithm = suite::algorithm(sa.suite);
        path.flags |= flag(algorithm.is_gcm(), GCM);
        let (_, salt, _) = sa.key.split(sa.suite);
        let numbers = if sa.esn { u64::MAX } else { u64::from(u32::MAX) };
        let bounds = Bounds::new(&sa.lifetime, numbers);
        let hot = Self {
            spi: sa.spi,
            peer: sa.peer.0.get(),
            path,
            algorithm: algorithm as u8,
            generation: sa.id.0.generation(),
            salt: salt.try_into().unwrap_or_default(),
            narrow,
            meter: Meter::new(&bounds),
        };
        Some((hot, OutboundCold { bounds, selector: Flat::new(&sa.selector) }))
    }

    /// The peer's SPI.
    #[inline(always)]
    pub const fn spi(&self) -> u32 {
        self.spi
    }

    /// There is an SA.
    #[inline(always)]
    pub const fn is_some(&self) -> bool {
        self.generation != 0
    }

    /// Generation of its slot, 0 without an SA.
    #[inline(always)]
    pub const fn generation(&self) -> u8 {
        self.generation
    }

    /// Whose packets it carries; `None` without an SA.
    #[inline(always)]
    pub const fn peer(&self) -> Option<PeerId> {
        match NonZeroU32::new(self.peer) {
            Some(n) => Some(PeerId(n)),
            None => None,
        }
    }

    /// Its transforms; `None` without an SA.
    #[inline(always)]
    pub const fn algorithm(&self) -> Option<Algorithm> {
        Algorithm::from_number(self.algorithm)
    }

    /// Whether it is one of AES-GCM, as nearly every SA is.
    #[inline(always)]
    pub const fn is_gcm(&self) -> bool {
        self.path.flags & GCM != 0
    }

    /// Salt of an AEAD.
    #[inline(always)]
    pub const fn salt(&self) -> [u8; 4] {
        self.salt
    }

    /// Outer addresses.
    #[inline(always)]
    pub const fn path(&self) -> &Path {
        &self.path
    }

    /// The peer moved.
    pub fn move_to(&mut self, local: std::net::SocketAddr, remote: std::net::SocketAddr, encap: bool) -> bool {
        self.path.move_to(local, remote, encap)
    }

    /// Extended sequence numbers.
    #[inline(always)]
    pub const fn esn(&self) -> bool {
        self.path.flags & ESN != 0
    }

    /// Tunnel mode.
    #[inline(always)]
    pub const fn tunnel(&self) -> bool {
        self.path.flags & TUNNEL != 0
    }

    /// The part of the sequence number that is authenticated but not in the packet.
    #[inline(always)]
    pub const fn seq_high(&self, seq: u64) -> Option<u32> {
        if self.esn() { Some((seq >> 32) as u32) } else { None }
    }

    /// Takes the next sequence number for a packet of `octets` payload. It is the packet's only if the charge
    /// passes.
    #[inline(always)]
    pub fn next(&mut self, cold: &OutboundCold, octets: usize) -> (u64, Charge) {
        let charge = self.meter.charge(octets as u64, &cold.bounds);
        (self.meter.packets(), charge)
    }

    /// A lifetime report was lost: the next packet repeats it.
    pub fn repeat_charge(&mut self, cold: &OutboundCold) {
        self.meter.repeat(&cold.bounds);
    }

    /// Packets (the last sequence number) and octets so far.
    #[inline(always)]
    pub const fn counts(&self) -> (u64, u64) {
        (self.meter.packets(), self.meter.octets())
    }

    /// Whether the SA may carry anything.
    #[inline(always)]
    pub const fn permits_any(&self) -> bool {
        self.path.flags & ANY != 0
    }

    /// Whether the SA may carry a flow.
    pub fn permits(&self, cold: &OutboundCold, flow: &Flow<'_>) -> bool {
        cold.selector.permits(flow)
    }

    /// Whether the SA may carry a payload in transport mode, where the addresses are the SA's own.
    #[inline(always)]
    pub fn permits_transport(&self, cold: &OutboundCold, protocol: u8, payload: &[u8]) -> bool {
        let ports = || crate::selector::ports(protocol, payload);
        self.narrow.permits(protocol, ports).unwrap_or_else(|| cold.selector.permits_transport(protocol, ports()))
    }

    #[cfg(test)]
    pub(crate) fn set_sequence(&mut self, last: u64) {
        self.meter.set_packets(last);
    }
}

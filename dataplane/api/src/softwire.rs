//! Softwires of the mesh: IP in IP between AFBRs (RFC 5565, RFC 2473, RFC 4213).
//!
//! A softwire is stateless, so every worker may encapsulate into it: it is part of the snapshot. With ESP a worker that has
//! an SA of its own with the peer uses that; other packets go on to the worker that owns the peer's SA for all.

use crate::{PeerId, WorkerId};
use std::net::IpAddr;

/// Most softwires at a time.
pub const MAX_SOFTWIRES: usize = 4096;

/// A softwire's number, below [`MAX_SOFTWIRES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SoftwireId(pub u16);

/// What becomes of inner packets that do not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TooBig {
    /// The inner source is told (or its packet fragmented, where DF allows); the outer packet is never fragmented.
    Inner,
    /// The outer packet is fragmented (RFC 2473, section 7.2), and joined by the other AFBR.
    Outer,
}

/// How the packets of a softwire are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protection {
    /// Not at all.
    Clear,
    /// By ESP with this peer, whose SA for all this worker owns; `None` as long as there is none: nothing passes then.
    Esp(Option<(PeerId, WorkerId)>),
}

/// One softwire. Its ends are of one family. Softwires with the same ends differ in their peers; one of them may be
/// in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Softwire {
    /// Its number.
    pub id: SoftwireId,
    /// Our address, source of what is sent.
    pub local: IpAddr,
    /// The other AFBR's.
    pub remote: IpAddr,
    /// Largest inner packet in octets: the path MTU less all headers.
    pub mtu: u16,
    /// Largest outer packet the path is known to carry, in octets.
    pub path_mtu: u16,
    /// TTL or hop limit of outer packets.
    pub hop_limit: u8,
    /// DSCP of outer packets, 0 to 63; `None` copies that of the inner one. ECN is always copied (RFC 6040).
    pub dscp: Option<u8>,
    /// What to do about inner packets larger than `mtu`.
    pub too_big: TooBig,
    /// Protection of the data.
    pub protection: Protection,
    /// Accept only inner sources that are routed back to the same AFBR, and to where nothing protects it if the packet was
    /// not protected either (M9).
    pub strict: bool,
    /// BFD between the ends over several hops (RFC 5883) is let pass in the clear, as a rule of the SPD would.
    pub bfd: bool,
    /// The other AFBR cannot be reached: routes use their other next hops, and are unreachable where there is none.
    pub dead: bool,
    /// Protected packets are padded to `mtu`, so that their lengths tell nothing (TFC, RFC 4303, section 2.7).
    pub tfc: bool,
}

//! State of an inbound SA.

use crate::lifetime::{Bounds, Charge, Meter};
use crate::replay::{Wide, Window};
use crate::selector::{Flat, Flow, Narrow};
use crate::{Path, suite};
use dataplane_api::{Mode, PeerId, SaIn, SessionId, Spi};
use ipsec_mb::Algorithm;
use std::num::NonZeroU32;
use zerocopy::FromZeros;

const ESN: u8 = 1;
const TUNNEL: u8 = 2;
const USED: u8 = 4;
const MOVED: u8 = 8;
const ANY: u8 = 16;
const GCM: u8 = 32;

/// Packets from a new address between two reports of it.
const MOVED_EVERY: u64 = 256;

/// What every packet needs: two cache lines, the counts in the second. All zero: no SA.
#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C, align(64))]
pub struct Inbound {
    spi: u32,
    peer: u32,
    path: Path,
    narrow: Narrow,
    salt: [u8; 4],
    algorithm: u8,
    window: Window,
    meter: Meter,
}

const _: () = assert!(size_of::<Inbound>() == 128 && std::mem::offset_of!(Inbound, meter) >= 64);

/// What some packets need. All zero: no SA.
#[derive(Clone, Debug, FromZeros)]
#[repr(C)]
pub struct InboundCold {
    wide: Wide,
    bounds: Bounds,
    selector: Flat,
}

impl Inbound {
    /// State of a new SA. `None`: the addresses do not go together, or there is no SPI.
    pub fn new(sa: &SaIn) -> Option<(Self, InboundCold)> {
        let mut path = Path::new(sa.local, sa.remote, sa.encap)?;
        let narrow = Narrow::new(&sa.selector, sa.mode);
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        path.flags = flag(sa.esn, ESN) | flag(sa.mode == Mode::Tunnel, TUNNEL) | flag(narrow.is_any(), ANY);
        let algorithm = suite::algorithm(sa.suite);
        path.flags |= flag(algorithm.is_gcm(), GCM);
        if sa.spi.0 == 0 {
            return None;
        }
        let (_, salt, _) = sa.key.split(sa.suite);
        let bounds = Bounds::new(&sa.lifetime, u64::MAX);
        let hot = Self {
            spi: sa.spi.0,
            peer: sa.peer.0.get(),
            path,
            algorithm: algorithm as u8,
            narrow,
            salt: salt.try_into().unwrap_or_default(),
            window: Window::new(sa.replay_window),
            meter: Meter::new(&bounds),
        };
        let wide = hot.window.wide();
        Some((hot, InboundCold { wide, bounds, selector: Flat::new(&sa.selector) }))
    }

    /// Whether this is the SA that `spi` names. No SA has SPI 0.
    #[inline(always)]
    pub const fn is(&self, spi: Spi) -> bool {
        self.spi == spi.0 && spi.0 != 0
    }

    /// There is an SA.
    pub const fn is_some(&self) -> bool {
        self.spi != 0
    }

    /// The SPI, 0 without an SA.
    pub const fn spi(&self) -> Spi {
        Spi(self.spi)
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
        self.path.flags &= !MOVED;
        self.path.move_to(local, remote, encap)
    }

    /// The L2TP session whose packet it brought last (see [`Self::brought`]): a guess at the next one's.
    #[inline(always)]
    pub const fn session(&self) -> SessionId {
        SessionId(self.window.note)
    }

    /// It brought a packet of this session.
    #[inline(always)]
    pub const fn brought(&mut self, session: SessionId) {
        self.window.note = session.0;
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

    /// Before authentication: the packet's whole sequence number, if it may be new.
    #[inline(always)]
    pub fn check(&self, cold: &InboundCold, low: u32) -> Option<u64> {
        let seq = if self.esn() {
            if let Some(seq) = self.window.ahead(low) {
                return Some(seq);
            }
            self.window.extend(low)?
        } else {
            u64::from(low)
        };
        self.window.check(&cold.wide, seq).then_some(seq)
    }

    /// After authentication: checks again and advances. A batch may hold a packet twice, and only this call sees it.
    #[inline(always)]
    #[must_use]
    pub fn accept(&mut self, cold: &mut InboundCold, seq: u64) -> bool {
        self.window.accept(&mut cold.wide, seq)
    }

    /// Whether the decrypted payload of transport mode is what the SA is for. The addresses are the SA's own
    /// (behind a NAT, RFC 3948 changes nothing in the selectors), so only protocol and ports are left to compare.
    #[inline(always)]
    pub fn permits_transport(&self, cold: &InboundCold, protocol: u8, payload: &[u8]) -> bool {
        let ports = crate::selector::ports(protocol, payload).map(|(src, dst)| (dst, src));
        self.narrow.permits(protocol, || ports).unwrap_or_else(|| cold.selector.permits_transport(protocol, ports))
    }

    /// Whether everything is what the SA is for.
    #[inline(always)]
    pub const fn permits_any(&self) -> bool {
        self.path.flags & ANY != 0
    }

    /// The same for tunnel mode.
    pub fn permits_tunnel(&self, cold: &InboundCold, flow: &Flow<'_>) -> bool {
        cold.selector.permits(flow)
    }

    /// Counts an authentic packet against the lifetime.
    #[inline(always)]
    pub fn charge(&mut self, cold: &InboundCold, octets: usize) -> Charge {
        self.meter.charge(octets as u64, &cold.bounds)
    }

    /// A lifetime report was lost: the next packet repeats it.
    pub fn repeat_charge(&mut self, cold: &InboundCold) {
        self.meter.repeat(&cold.bounds);
    }

    /// Packets and octets so far.
    #[inline(always)]
    pub const fn counts(&self) -> (u64, u64) {
        (self.meter.packets(), self.meter.octets())
    }

    /// Whether no packet was seen as yet; the caller reports it and then says so by [`Inbound::set_used`].
    #[inline(always)]
    pub const fn unused(&self) -> bool {
        self.path.flags & USED == 0
    }

    /// See [`Inbound::unused`].
    pub fn set_used(&mut self) {
        self.path.flags |= USED;
    }

    /// An authentic packet came from elsewhere: whether that is to be reported. At first, and then every 256 packets
    /// until the path is changed, so that a lost report does no harm and a busy peer makes no flood.
    pub fn moved(&mut self) -> bool {
        let first = self.path.flags & MOVED == 0;
        self.path.flags |= MOVED;
        first || self.meter.packets().is_multiple_of(MOVED_EVERY)
    }
}

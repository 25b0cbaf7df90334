//! Identifiers that double as table positions.
//!
//! An identifier that we hand out to a peer (an inbound SPI, an L2TP tunnel and session id) is the
//! position of its entry: worker, slot, and a generation that changes whenever the slot is reused.
//! A lookup is therefore an index and a compare, and an identifier that outlived its owner never
//! matches the next one.
//!
//! ```text
//!  SPI         generation(8) | worker(4) | index(20)                    never below 2^24
//!  tunnel id   generation_hi(4) | index_lo(12) ^ worker << 8  \  both never 0
//!  session id  generation_lo(4) | worker(4) | index_hi(8)   /
//! ```
//!
//! Neighbouring slots, and the first slots of workers, differ in the tunnel id, so that tunnels are told apart by it
//! alone as long as there are few.
//!
//! The generation counts 1..=225 as two nibbles of 1..=15, which keeps all three forms non-zero.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

/// A worker's number, 0..16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u8);

/// A DPDK port's number as the configuration orders them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortId(pub u16);

/// An authenticated IKE peer, stable across the rekeying of its IKE SA and child SAs.
/// Sessions are bound to it: their packets must arrive in an SA of the same peer (H23, H49).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub NonZeroU32);

/// Largest number of workers that identifiers can tell apart.
pub const MAX_WORKERS: usize = 16;
/// Slots per worker and table.
pub const SLOTS: u32 = 1 << 20;
/// Generations are 1..=GENERATIONS.
pub const GENERATIONS: u8 = 225;

/// Position of an entry in a worker-owned table, and the generation of its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    worker: u8,
    generation: u8,
    index: u32,
}

impl Slot {
    /// `None` when a part is out of range: worker below 16, index below 2^20, generation 1..=225.
    pub const fn new(worker: WorkerId, index: u32, generation: u8) -> Option<Self> {
        if worker.0 as usize >= MAX_WORKERS || index >= SLOTS || generation == 0 || generation > GENERATIONS {
            return None;
        }
        Some(Self { worker: worker.0, generation, index })
    }

    /// The worker that owns the entry.
    pub const fn worker(self) -> WorkerId {
        WorkerId(self.worker)
    }

    /// Index into the worker's table.
    pub const fn index(self) -> usize {
        self.index as usize
    }

    /// 1..=225.
    pub const fn generation(self) -> u8 {
        self.generation
    }

    // 1..=225 as two nibbles of 1..=15.
    const fn nibbles(self) -> u32 {
        let g = (self.generation - 1) as u32;
        ((g / 15 + 1) << 4) | (g % 15 + 1)
    }

    const fn from_nibbles(byte: u32) -> Option<u8> {
        let (hi, lo) = (byte >> 4, byte & 15);
        if hi == 0 || lo == 0 {
            return None;
        }
        Some(((hi - 1) * 15 + lo) as u8)
    }
}

/// An inbound ESP SPI that we chose (RFC 4303, section 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Spi(pub u32);

impl Spi {
    /// The SPI that names `slot`.
    pub const fn from_slot(slot: Slot) -> Self {
        Self((slot.nibbles() << 24) | ((slot.worker as u32) << 20) | slot.index)
    }

    /// `None` when no slot has this SPI.
    pub const fn slot(self) -> Option<Slot> {
        let Some(generation) = Slot::from_nibbles(self.0 >> 24) else { return None };
        Slot::new(WorkerId(((self.0 >> 20) & 15) as u8), self.0 & 0xf_ffff, generation)
    }
}

/// Handle of an outbound SA in its worker's table (the SPI on the wire is the peer's choice).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SaOutId(pub Slot);

/// An L2TP session of ours: tunnel id in the upper 16 bits, session id in the lower
/// (RFC 2661, section 3.1). A softwire tunnel has exactly one session (RFC 5571, section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u32);

impl SessionId {
    /// The ids that name `slot`.
    pub const fn from_slot(slot: Slot) -> Self {
        let n = slot.nibbles();
        let tunnel = ((n >> 4) << 12) | ((slot.index & 0xfff) ^ ((slot.worker as u32) << 8));
        let session = ((n & 15) << 12) | ((slot.worker as u32) << 8) | (slot.index >> 12);
        Self((tunnel << 16) | session)
    }

    /// From the two ids of an L2TP header.
    pub const fn from_wire(tunnel: u16, session: u16) -> Self {
        Self(((tunnel as u32) << 16) | session as u32)
    }

    /// Our tunnel id, never 0.
    pub const fn tunnel(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// Our session id, never 0.
    pub const fn session(self) -> u16 {
        self.0 as u16
    }

    /// `None` when no slot has these ids.
    pub const fn slot(self) -> Option<Slot> {
        let (t, s) = (self.0 >> 16, self.0 & 0xffff);
        let Some(generation) = Slot::from_nibbles(((t >> 12) << 4) | (s >> 12)) else { return None };
        let worker = (s >> 8) & 15;
        Slot::new(WorkerId(worker as u8), ((s & 0xff) << 12) | ((t & 0xfff) ^ (worker << 8)), generation)
    }
}

/// `tunnel.session`, as subscribers are called.
impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.tunnel(), self.session())
    }
}

/// Not of the form `tunnel.session`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotASession;

impl fmt::Display for NotASession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not tunnel.session")
    }
}

impl std::error::Error for NotASession {}

impl FromStr for SessionId {
    type Err = NotASession;

    fn from_str(text: &str) -> Result<Self, NotASession> {
        let number = |part: &str| part.parse().ok().filter(|_| part.bytes().all(|b| b.is_ascii_digit()));
        let (tunnel, session) = text.split_once('.').ok_or(NotASession)?;
        let (tunnel, session) = number(tunnel).zip(number(session)).ok_or(NotASession)?;
        Ok(Self::from_wire(tunnel, session))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_generation_round_trips_and_is_never_zero() {
        for worker in [0, 7, 15] {
            for index in [0, 1, 0xfff, 0x1000, SLOTS - 1] {
                for generation in 1..=GENERATIONS {
                    let slot = Slot::new(WorkerId(worker), index, generation).expect("in range");
                    let (spi, id) = (Spi::from_slot(slot), SessionId::from_slot(slot));
                    assert_eq!(spi.slot(), Some(slot));
                    assert_eq!(id.slot(), Some(slot));
                    assert!(spi.0 > 255 && id.tunnel() != 0 && id.session() != 0);
                }
            }
        }
    }

    #[test]
    fn neighbouring_slots_have_tunnel_ids_of_their_own() {
        let tunnel = |i| Slot::new(WorkerId(3), i, 1).map(|s| SessionId::from_slot(s).tunnel());
        let mut all: Vec<_> = (0..0x1000).map(tunnel).collect();
        all.dedup();
        assert_eq!(all.len(), 0x1000);
    }

    #[test]
    fn first_slots_of_workers_have_tunnel_ids_of_their_own() {
        let slots = (0..16).flat_map(|w| (0..0x100).filter_map(move |i| Slot::new(WorkerId(w), i, 1)));
        let all: std::collections::HashSet<_> = slots.map(|s| SessionId::from_slot(s).tunnel()).collect();
        assert_eq!(all.len(), 0x1000);
    }

    #[test]
    fn a_session_is_written_as_it_is_read() {
        let id = SessionId::from_wire(4660, 22136);
        assert_eq!((id.to_string().as_str(), id.to_string().parse()), ("4660.22136", Ok(id)));
        for text in ["", "7", "7.", ".7", "7.70000", "70000.7", "+7.7", "7.7.7", "7. 7", "alice"] {
            assert_eq!(text.parse::<SessionId>(), Err(NotASession), "{text}");
        }
    }

    #[test]
    fn out_of_range_names_nothing() {
        assert_eq!(Spi(0).slot(), None);
        assert_eq!(Spi(0x0fff_ffff).slot(), None);
        assert_eq!(Spi(0xf0ff_ffff).slot(), None);
        assert_eq!(SessionId::from_wire(0, 1).slot(), None);
        assert_eq!(SessionId::from_wire(0xf000, 0x0fff).slot(), None);
        assert!(Slot::new(WorkerId(16), 0, 1).is_none());
        assert!(Slot::new(WorkerId(0), SLOTS, 1).is_none());
        assert!(Slot::new(WorkerId(0), 0, 226).is_none());
    }
}

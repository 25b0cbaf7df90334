//! The SAs with other AFBRs: one guard for each entry of `ike.peers` that has an `address`.
//!
//! ```text
//!            take, or for BGP at start           PeerUp, ChildUp
//!   idle ────────────────────────────► wanted ──────────────────► up
//!     ▲    (on_demand: at the first      ▲ │ again, with             │
//!     │     packet as well)              │ ▼ growing pauses          │
//!     └── nothing is routed to it        └──── PeerDown ─────────────┘
//! ```

use crate::config::mesh::Start;
use crate::config::{Config, Peer};
use crate::routing;
use dataplane_api::{EspSuite, PeerId, WorkerId};
use ipnet::IpNet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// First pause before another attempt at an SA; it doubles up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LAST_PAUSE: Duration = Duration::from_secs(60);

/// A request to bring up an IKE SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Initiate {
    /// PAD entry.
    pub pad: String,
    /// Our address.
    pub local: IpAddr,
    /// The AFBR's.
    pub remote: IpAddr,
}

/// The child SA in use.
#[derive(Clone, Copy, Debug)]
pub struct Sa {
    /// Its worker.
    pub worker: WorkerId,
    /// Algorithms.
    pub suite: EspSuite,
    /// UDP encapsulation.
    pub encap: bool,
    /// The AFBR takes TFC padding.
    pub tfc: bool,
}

/// An entry of the PAD, and its SA.
#[derive(Debug)]
pub(super) struct Guard {
    pub pad: String,
    pub local: IpAddr,
    pub remote: IpAddr,
    /// The softwire profile; `None` protects BGP alone.
    pub profile: Option<String>,
    /// Its profile wants TFC padding.
    pub tfc: bool,
    /// It carries BGP.
    pub bgp: bool,
    /// For routes with this color only.
    color: Option<u32>,
    /// For routes within these prefixes only; none is all.
    prefixes: Vec<IpNet>,
    start: Start,
    /// When to try next; `None` while nothing is wanted, or it is up or on its way.
    pub retry: Option<Instant>,
    pause: Duration,
    /// Not to be tried again before.
    rest: Option<Instant>,
    /// Something is routed to it, or it carries BGP.
    pub needed: bool,
    /// Peer on its way up, or up.
    pub peer: Option<PeerId>,
    /// Its child SA.
    pub up: Option<Sa>,
}

/// Our end of the SA with an AFBR.
pub fn end(config: &Config, peer: &Peer) -> Option<IpAddr> {
    let remote = peer.address?;
    let profile = peer.softwire.as_deref().and_then(|name| config.mesh.profile(name));
    let of_softwire = config.mesh.local_for(remote).filter(|_| profile.is_some());
    of_softwire.or_else(|| routing::local(config, remote))
}

impl Guard {
    /// Of an entry with an address, where we have an end for it.
    pub fn new(config: &Config, peer: &Peer) -> Option<Self> {
        let (local, remote) = (end(config, peer)?, peer.address?);
        let profile = peer.softwire.as_deref().and_then(|name| config.mesh.profile(name));
        // Where nothing else is said, one of the two begins: the one with the lower address.
        let default = if local < remote { Start::AtStart } else { Start::Respond };
        Some(Self {
            pad: peer.name.clone(),
            local,
            remote,
            profile: profile.map(|p| p.name.clone()),
            tfc: profile.is_some_and(|p| p.tfc),
            bgp: peer.bgp,
            color: peer.color,
            prefixes: peer.prefixes.clone(),
            start: profile.and_then(|p| p.start).unwrap_or(default),
            retry: None,
            pause: FIRST_PAUSE,
            rest: None,
            needed: false,
            peer: None,
            up: None,
        })
    }

    /// Whether an SA of this one may go on as one of `other`.
    pub fn is_same(&self, other: &Self) -> bool {
        let what = |g: &Self| (g.local, g.remote, g.profile.clone(), g.bgp);
        self.pad == other.pad && what(self) == what(other)
    }

    /// Goes on with the SA of `before`, the same entry as it was configured before.
    pub fn adopt(&mut self, before: &Self) {
        (self.peer, self.up) = (before.peer, before.up);
        (self.retry, self.pause, self.rest) = (before.retry, before.pause, before.rest);
    }

    /// Which entry it is of, and which routes it is for.
    pub fn routes(&self) -> (&str, Option<u32>, &[IpNet]) {
        (&self.pad, self.color, &self.prefixes)
    }

    /// Whether it protects a route of `prefix` that asks for `color`.
    pub fn covers(&self, prefix: &IpNet, color: Option<u32>) -> bool {
        self.profile.is_some()
            && (self.color.is_none() || self.color == color)
            && (self.prefixes.is_empty() || self.prefixes.iter().any(|p| p.contains(prefix)))
    }

    /// Whether it protects whatever is routed to its AFBR.
    pub fn covers_all(&self) -> bool {
        self.profile.is_some() && self.color.is_none() && self.prefixes.is_empty()
    }

    /// It is needed from now on.
    pub fn need(&mut self, now: Instant) {
        self.needed = true;
        if self.start == Start::AtStart && self.peer.is_none() && self.retry.is_none() {
            self.retry = Some(now);
        }
    }

    /// Nothing is routed to its AFBR any more.
    pub fn release(&mut self) {
        self.needed = self.bgp;
        self.retry = self.retry.filter(|_| self.needed);
    }

    /// A packet waits for it. Whether that changes when there is something to do.
    pub fn want(&mut self, now: Instant) {
        if self.start == Start::OnDemand && self.needed && self.peer.is_none() && self.retry.is_none() {
            self.retry = Some(self.rest.filter(|t| *t > now).unwrap_or(now));
        }
    }

    /// When to ask for [`Self::due`].
    pub fn deadline(&self) -> Option<Instant> {
        self.retry
    }

    /// The SA to bring up now, if it is time.
    pub fn due(&mut self, now: Instant) -> Option<Initiate> {
        self.retry.filter(|t| *t <= now)?;
        self.retry = Some(now + self.pause);
        self.pause = (self.pause * 2).min(LAST_PAUSE);
        Some(Initiate { pad: self.pad.clone(), local: self.local, remote: self.remote })
    }

    /// An attempt is under way.
    pub fn initiated(&mut self, peer: PeerId) {
        (self.retry, self.peer) = (None, Some(peer));
    }

    /// The SA is up, or another one is selected.
    pub fn protect(&mut self, peer: PeerId, sa: Sa) {
        (self.peer, self.up, self.retry, self.pause) = (Some(peer), Some(sa), None, FIRST_PAUSE);
    }

    /// It is gone.
    pub fn lose(&mut self, now: Instant) {
        (self.peer, self.up) = (None, None);
        let again = now + self.pause;
        self.rest = Some(again);
        self.retry = (self.needed && self.start == Start::AtStart).then_some(again);
        self.pause = (self.pause * 2).min(LAST_PAUSE);
    }
}

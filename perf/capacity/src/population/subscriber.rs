//! One subscriber.

use softwire_initiator::Softwire;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// Where it is, see [`super`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Without a softwire.
    Down,
    /// On its way.
    Connecting,
    /// With all its addresses.
    Up,
    /// Ending.
    Closing,
}

/// A subscriber.
pub struct Subscriber {
    /// Its outer address.
    pub outer: IpAddr,
    /// Where it is.
    pub state: State,
    /// IKE, ESP, L2TP, PPP.
    pub softwire: Option<Box<Softwire>>,
    /// Its IPv4 and its IPv6 address inside.
    pub inner: [Option<IpAddr>; 2],
    /// Largest inner packet.
    pub mtu: u16,
    pub(super) child: bool,
    /// Who it is to IKE, if there is IKE.
    pub(super) pad: Option<Arc<ike::PadEntry>>,
    /// Since when it wants to be up, and is not.
    pub(super) wanted: Option<Instant>,
    /// When to try again, or to give up an end.
    pub(super) deadline: Option<Instant>,
    pub(super) slot: Option<Instant>,
}

impl Subscriber {
    pub(super) fn new(outer: IpAddr, pad: Option<Arc<ike::PadEntry>>) -> Self {
        Self {
            outer,
            state: State::Down,
            softwire: None,
            inner: [None; 2],
            mtu: 0,
            child: false,
            pad,
            wanted: None,
            deadline: None,
            slot: None,
        }
    }

    /// Without its softwire: it says nothing about that to anybody.
    pub(super) fn forget(&mut self) {
        self.softwire = None;
        self.inner = [None; 2];
        self.mtu = 0;
        self.child = false;
        self.wanted = None;
        self.deadline = None;
    }
}

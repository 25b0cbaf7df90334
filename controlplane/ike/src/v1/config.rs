//! Where IKEv1 is spoken, and with what.

use super::proposal::Phase1;
use crate::config::PadEntry;
use crate::proposal::EspProposal;
use std::net::IpAddr;
use std::sync::Arc;

/// One of our addresses at which IKEv1 is answered. Entries of the PAD with a key or a certificate may be used there
/// with IKEv1 as well.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The address.
    pub local: IpAddr,
    /// Algorithms of phase 1 in order of preference.
    pub proposals: Vec<Phase1>,
    /// Algorithms of ESP in order of preference.
    pub esp: Vec<EspProposal>,
    /// HMAC-SHA2-256 of ESP is truncated to 96 bits, as a draft of RFC 4868 had it.
    pub sha256_96: bool,
    /// For whoever proves to have the shared secret of the listener and is no entry of the PAD (a legacy override, H46).
    pub legacy: Option<Arc<PadEntry>>,
}

/// IKEv1 messages that were refused, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// To an address at which IKEv1 is off.
    pub off: u64,
    /// Aggressive mode (H46).
    pub aggressive: u64,
    /// Another exchange that we do not speak.
    pub exchange: u64,
    /// No proposal was acceptable.
    pub proposal: u64,
    /// For IKE SAs that do not exist.
    pub unknown_cookie: u64,
    /// Malformed, not authentic, or not for the state of its SA.
    pub invalid: u64,
    /// Too many SAs were half open.
    pub half_open: u64,
}

impl Refused {
    /// All reasons with their names in metrics.
    pub fn named(&self) -> [(&'static str, u64); 7] {
        [
            ("off", self.off),
            ("aggressive", self.aggressive),
            ("exchange", self.exchange),
            ("proposal", self.proposal),
            ("unknown_cookie", self.unknown_cookie),
            ("invalid", self.invalid),
            ("half_open", self.half_open),
        ]
    }
}

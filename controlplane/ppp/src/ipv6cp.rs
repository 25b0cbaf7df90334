//! IPV6CP (RFC 5072): it agrees on one thing, the interface identifiers.
//!
//! Each side requests the 64 bits that end its link-local address. They must be unique on the link and not zero; a
//! side without one requests zero and gets one by Configure-Nak. Global addresses come later, by router
//! advertisement and DHCPv6.

use crate::config::Ipv6cpConfig;
use crate::cp::{Policy, Verdict};
use crate::event::DownReason;
use crate::message::{code, protocol};
use crate::option::{self, Opt};
use rand_core::CryptoRng;
use std::fmt;
use std::net::Ipv6Addr;

const INTERFACE_ID: u8 = 1;

/// The last 64 bits of an address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceId(pub [u8; 8]);

impl InterfaceId {
    /// Asks for one.
    pub const ZERO: Self = Self([0; 8]);

    /// A random one; locally administered (the "u" bit of RFC 5072, section 4.1, is clear), not zero.
    pub fn random(rng: &mut dyn CryptoRng) -> Self {
        let mut octets = [0; 8];
        rng.fill_bytes(&mut octets);
        octets[0] &= !0x02;
        if octets == [0; 8] {
            octets[7] = 1;
        }
        Self(octets)
    }

    /// fe80::/64 with this identifier.
    pub fn link_local(self) -> Ipv6Addr {
        let mut address = [0; 16];
        address[0] = 0xfe;
        address[1] = 0x80;
        address[8..].copy_from_slice(&self.0);
        address.into()
    }
}

impl fmt::Display for InterfaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g, h, i] = self.0;
        write!(f, "{a:02x}{b:02x}:{c:02x}{d:02x}:{e:02x}{g:02x}:{h:02x}{i:02x}")
    }
}

impl fmt::Debug for InterfaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[derive(Default)]
pub(crate) struct Ipv6cp {
    pub config: Ipv6cpConfig,
    local: Option<InterfaceId>,
    peer: Option<InterfaceId>,
    /// What we suggested last: a Nak with the same shows that both sides chose alike (RFC 5072, section 4.1).
    suggested: Option<InterfaceId>,
}

impl Ipv6cp {
    pub fn ids(&self) -> Option<(InterfaceId, InterfaceId)> {
        Some((self.local?, self.peer?))
    }

    fn suggest(&mut self, rng: &mut dyn CryptoRng) -> InterfaceId {
        let suggestion = self.config.peer_iid.unwrap_or_else(|| self.other_than_peers(rng));
        self.suggested = Some(suggestion);
        suggestion
    }

    /// A random identifier that neither side has.
    fn other_than_peers(&self, rng: &mut dyn CryptoRng) -> InterfaceId {
        loop {
            let id = InterfaceId::random(rng);
            if Some(id) != self.peer && Some(id) != self.local && Some(id) != self.config.peer_iid {
                return id;
            }
        }
    }
}

fn interface_id(opt: &Opt<'_>) -> Option<InterfaceId> {
    opt.value.try_into().ok().map(InterfaceId).filter(|_| opt.kind == INTERFACE_ID)
}

impl Policy for Ipv6cp {
    const PROTOCOL: u16 = protocol::IPV6CP;
    const LAST_CODE: u8 = code::CODE_REJECT;
    const PERSISTENT: bool = true;

    fn reset(&mut self, rng: &mut dyn CryptoRng) {
        (self.local, self.peer, self.suggested) = (None, None, None);
        let configured =
            self.config.local_iid.filter(|id| *id != InterfaceId::ZERO && Some(*id) != self.config.peer_iid);
        self.local = Some(configured.unwrap_or_else(|| self.other_than_peers(rng)));
    }

    fn request(&self) -> Vec<u8> {
        let mut options = Vec::new();
        if let Some(local) = self.local {
            option::push(&mut options, INTERFACE_ID, &local.0);
        }
        options
    }

    fn judge(&mut self, options: &[Opt<'_>], insist: bool, rng: &mut dyn CryptoRng) -> Verdict {
        let (mut nak, mut reject) = (Vec::new(), Vec::new());
        let mut peer = None;
        for opt in options {
            match interface_id(opt) {
                Some(id) => {
                    let assigned = self.config.peer_iid.is_none_or(|assigned| assigned == id);
                    if assigned && id != InterfaceId::ZERO && Some(id) != self.local {
                        peer = Some(id);
                    } else if insist {
                        return Verdict::Fail(DownReason::NoNetwork);
                    } else {
                        option::push(&mut nak, INTERFACE_ID, &self.suggest(rng).0);
                    }
                }
                None => option::push(&mut reject, opt.kind, opt.value),
            }
        }
        if !reject.is_empty() {
            return Verdict::Reject(reject);
        }
        if nak.is_empty() && peer.is_none() {
            // Without an identifier of the peer's there is no link-local address to check its packets against.
            if insist {
                return Verdict::Fail(DownReason::NoNetwork);
            }
            option::push(&mut nak, INTERFACE_ID, &self.suggest(rng).0);
        }
        if !nak.is_empty() {
            return Verdict::Nak(nak);
        }
        self.peer = peer;
        Verdict::Ack
    }

    fn naked(&mut self, options: &[Opt<'_>], rng: &mut dyn CryptoRng) -> Result<(), DownReason> {
        if let Some(id) = options.iter().find_map(interface_id) {
            let good = id != InterfaceId::ZERO
                && Some(id) != self.peer
                && Some(id) != self.suggested
                && Some(id) != self.config.peer_iid;
            self.local = Some(if good { id } else { self.other_than_peers(rng) });
        }
        Ok(())
    }

    fn rejected(&mut self, _: &[Opt<'_>]) -> Result<(), DownReason> {
        Err(DownReason::NoNetwork)
    }
}

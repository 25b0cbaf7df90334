//! LCP's options (RFC 1661, section 6): maximum receive unit, authentication protocol, magic number, compression of
//! the protocol field and of the address and control fields.
//!
//! Each side requests what it wants *to receive*: our MRU limits what the peer sends, our authentication option says
//! how the peer must identify itself. The magic number tells our own packets from the peer's, and so a link that is
//! looped back from one that is not. Options that make no sense over L2TP (the async map that pppd offers, link
//! quality) and Multilink (RFC 1990) are rejected, which every peer copes with.

use crate::config::{AuthMethod, Config};
use crate::cp::{Policy, Verdict};
use crate::event::DownReason;
use crate::message::{code, protocol};
use crate::option::{self, Opt};
use rand_core::CryptoRng;

const MRU: u8 = 1;
const AUTHENTICATION: u8 = 3;
const MAGIC: u8 = 5;
const PFC: u8 = 7;
const ACFC: u8 = 8;

/// The MRU that holds if none is negotiated (RFC 1661, section 6.1).
pub const DEFAULT_MRU: u16 = 1500;
/// A peer that cannot receive this much is told to.
pub const MIN_MRU: u16 = 128;
/// Requests with our own magic number, one after the other, before the link counts as looped back.
const MAX_LOOPS: u32 = 4;

impl AuthMethod {
    /// The value of the Authentication-Protocol option.
    fn value(self) -> &'static [u8] {
        match self {
            Self::Pap => &[0xc0, 0x23],
            Self::ChapMd5 => &[0xc2, 0x23, 5],
            Self::MsChapV2 => &[0xc2, 0x23, 0x81],
            Self::Eap => &[0xc2, 0x27],
        }
    }

    fn from_value(value: &[u8]) -> Option<Self> {
        [Self::Pap, Self::ChapMd5, Self::MsChapV2, Self::Eap].into_iter().find(|m| m.value() == value)
    }
}

/// What the peer requested, and so what we may or must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub mru: u16,
    /// How we must authenticate ourselves.
    pub auth: Option<AuthMethod>,
    pub pfc: bool,
    pub acfc: bool,
}

impl Default for Peer {
    fn default() -> Self {
        Self { mru: DEFAULT_MRU, auth: None, pfc: false, acfc: false }
    }
}

pub(crate) struct Lcp {
    config: Config,
    mru: Option<u16>,
    /// Index into `config.demand`.
    demand: usize,
    magic: Option<u32>,
    pfc: bool,
    acfc: bool,
    pub peer: Peer,
    loops: u32,
    naks: u32,
    auth_naks: u32,
}

impl Lcp {
    pub fn new(config: &Config) -> Self {
        Self {
            config: config.clone(),
            mru: None,
            demand: 0,
            magic: None,
            pfc: false,
            acfc: false,
            peer: Peer::default(),
            loops: 0,
            naks: 0,
            auth_naks: 0,
        }
    }

    /// How the peer must authenticate itself. It cannot get out of it: the option is in every request of ours, and
    /// LCP opens only when the peer acknowledges the whole request.
    pub fn demanded(&self) -> Option<AuthMethod> {
        self.config.demand.get(self.demand).copied()
    }

    /// A packet with our own magic number is one of ours.
    pub fn is_own_magic(&self, magic: u32) -> bool {
        magic != 0 && self.magic == Some(magic)
    }
}

fn new_magic(rng: &mut dyn CryptoRng) -> u32 {
    // Zero is illegal (RFC 1661, section 6.4).
    rng.next_u32().max(1)
}

impl Policy for Lcp {
    const PROTOCOL: u16 = protocol::LCP;
    const LAST_CODE: u8 = code::TIME_REMAINING;
    const PERSISTENT: bool = false;

    fn reset(&mut self, rng: &mut dyn CryptoRng) {
        let loops = self.loops;
        *self = Self::new(&self.config);
        self.loops = loops;
        self.mru = (self.config.mru != DEFAULT_MRU).then_some(self.config.mru);
        self.magic = Some(new_magic(rng));
        self.pfc = self.config.pfc;
        self.acfc = self.config.acfc;
    }

    fn request(&self) -> Vec<u8> {
        let mut options = Vec::new();
        if let Some(mru) = self.mru {
            option::push(&mut options, MRU, &mru.to_be_bytes());
        }
        if let Some(method) = self.demanded() {
            option::push(&mut options, AUTHENTICATION, method.value());
        }
        if let Some(magic) = self.magic {
            option::push(&mut options, MAGIC, &magic.to_be_bytes());
        }
        if self.pfc {
            option::push(&mut options, PFC, &[]);
        }
        if self.acfc {
            option::push(&mut options, ACFC, &[]);
        }
        options
    }

    fn judge(&mut self, options: &[Opt<'_>], insist: bool, rng: &mut dyn CryptoRng) -> Verdict {
        let (mut nak, mut reject) = (Vec::new(), Vec::new());
        let mut peer = Peer::default();
        let mut looped = false;
        for opt in options {
            // What would do in place of an unacceptable value; `None`: nothing would.
            let wanted: Option<Vec<u8>> = match opt.kind {
                MRU => match opt.u16() {
                    Some(mru) if mru >= MIN_MRU => {
                        peer.mru = mru;
                        continue;
                    }
                    Some(_) => Some(MIN_MRU.to_be_bytes().to_vec()),
                    None => None,
                },
                AUTHENTICATION => {
                    let methods = self.config.credentials.as_ref().map_or(&[][..], |c| &c.methods);
                    match AuthMethod::from_value(opt.value).filter(|m| methods.contains(m)) {
                        Some(method) => {
                            peer.auth = Some(method);
                            continue;
                        }
                        None => methods.first().map(|m| m.value().to_vec()),
                    }
                }
                MAGIC => match opt.u32() {
                    Some(magic) if self.is_own_magic(magic) => {
                        looped = true;
                        Some(new_magic(rng).to_be_bytes().to_vec())
                    }
                    Some(0) => Some(new_magic(rng).to_be_bytes().to_vec()),
                    Some(_) => continue,
                    None => None,
                },
                PFC if opt.value.is_empty() && self.config.pfc => {
                    peer.pfc = true;
                    continue;
                }
                ACFC if opt.value.is_empty() && self.config.acfc => {
                    peer.acfc = true;
                    continue;
                }
                _ => None,
            };
            match wanted {
                Some(value) if !insist => option::push(&mut nak, opt.kind, &value),
                _ => option::push(&mut reject, opt.kind, opt.value),
            }
        }
        self.loops = if looped { self.loops + 1 } else { 0 };
        if self.loops >= MAX_LOOPS {
            return Verdict::Fail(DownReason::Loopback);
        }
        if !reject.is_empty() {
            return Verdict::Reject(reject);
        }
        if !nak.is_empty() {
            return Verdict::Nak(nak);
        }
        self.peer = peer;
        Verdict::Ack
    }

    fn naked(&mut self, options: &[Opt<'_>], rng: &mut dyn CryptoRng) -> Result<(), DownReason> {
        self.naks += 1;
        for opt in options {
            match opt.kind {
                MRU if self.mru.is_some() => match opt.u16() {
                    Some(mru) if (MIN_MRU..=self.config.mru).contains(&mru) => self.mru = Some(mru),
                    // A peer that insists on sending more is let do so: 1500 must be accepted in any case.
                    _ if self.naks > self.config.timers.max_failure => self.mru = None,
                    _ => {}
                },
                AUTHENTICATION if self.demanded().is_some() => {
                    self.auth_naks += 1;
                    if self.auth_naks > self.config.timers.max_failure {
                        return Err(DownReason::AuthRefused);
                    }
                    // Only among what the administrator listed (H12); a wish for something else moves us to our
                    // next method.
                    let wish = AuthMethod::from_value(opt.value);
                    self.demand = match self.config.demand.iter().position(|m| Some(*m) == wish) {
                        Some(index) => index,
                        None => (self.demand + 1) % self.config.demand.len().max(1),
                    };
                }
                MAGIC if self.magic.is_some() => self.magic = Some(new_magic(rng)),
                _ => {}
            }
        }
        Ok(())
    }

    fn rejected(&mut self, options: &[Opt<'_>]) -> Result<(), DownReason> {
        for opt in options {
            match opt.kind {
                MRU => self.mru = None,
                AUTHENTICATION => return Err(DownReason::AuthRefused),
                MAGIC => self.magic = None,
                PFC => self.pfc = false,
                ACFC => self.acfc = false,
                _ => {}
            }
        }
        Ok(())
    }

    fn magic(&self) -> u32 {
        self.magic.unwrap_or(0)
    }

    fn peer_mru(&self) -> usize {
        usize::from(self.peer.mru)
    }
}

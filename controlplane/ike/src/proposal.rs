//! Which algorithms we offer and accept (RFC 8247 for the IKE SA, RFC 8221 for ESP), and how one suite is chosen.
//!
//! A policy proposal lists, per transform type, the accepted ids in order of preference. The responder walks its own
//! proposals first and, within one, takes its first choice of each type that the peer offers too; only the key exchange
//! method bends to the peer's guess, since that saves a round trip. Nothing outside the tables below can be configured:
//! DES, MD5, groups below 2048 bits and other MUST NOT algorithms do not exist here.

use crate::payload::sa::{PROTO_ESP, PROTO_IKE, Proposal, Transform, transform_type as tt};
use std::fmt;
use std::str::FromStr;

/// Encryption transform ids.
#[allow(missing_docs)]
pub mod encr {
    /// Three keys, CBC. For IKEv1 alone.
    pub const TRIPLE_DES: u16 = 3;
    pub const NULL: u16 = 11;
    pub const AES_CBC: u16 = 12;
    pub const AES_GCM_16: u16 = 20;
    pub const NULL_AES_GMAC: u16 = 21;
    pub const CHACHA20_POLY1305: u16 = 28;
}

/// Integrity transform ids.
#[allow(missing_docs)]
pub mod integ {
    pub const NONE: u16 = 0;
    pub const HMAC_SHA1_96: u16 = 2;
    pub const HMAC_SHA2_256_128: u16 = 12;
    pub const HMAC_SHA2_384_192: u16 = 13;
    pub const HMAC_SHA2_512_256: u16 = 14;
    /// HMAC-SHA-256 cut to 96 bits, a number of our own: what some clients of IKEv1 do when they say SHA2-256.
    pub const HMAC_SHA2_256_96: u16 = 0xf096;
}

/// PRF transform ids.
#[allow(missing_docs)]
pub mod prf {
    pub const HMAC_SHA2_256: u16 = 5;
    pub const HMAC_SHA2_384: u16 = 6;
    pub const HMAC_SHA2_512: u16 = 7;
}

/// Key exchange method ids.
#[allow(missing_docs)]
pub mod ke {
    pub const NONE: u16 = 0;
    /// For IKEv1 alone.
    pub const MODP_1024: u16 = 2;
    pub const MODP_2048: u16 = 14;
    pub const ECP_256: u16 = 19;
    pub const ECP_384: u16 = 20;
    pub const CURVE25519: u16 = 31;
    pub const ML_KEM_768: u16 = 36;
}

/// Algorithms accepted for an IKE SA, each list in order of preference.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IkeProposal {
    /// Cipher and key bits. AEADs and ciphers that need `integ` must not be mixed.
    pub encr: Vec<(u16, u16)>,
    /// Integrity; empty for an AEAD.
    pub integ: Vec<u16>,
    /// Pseudo-random function.
    pub prf: Vec<u16>,
    /// Key exchange.
    pub ke: Vec<u16>,
    /// First additional key exchange (RFC 9370); empty for none.
    pub addke1: Vec<u16>,
}

/// Algorithms accepted for a child SA.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EspProposal {
    /// Cipher and key bits.
    pub encr: Vec<(u16, u16)>,
    /// Integrity; empty for an AEAD.
    pub integ: Vec<u16>,
    /// Extended sequence numbers.
    pub esn: Vec<bool>,
    /// Key exchange on rekey (perfect forward secrecy). Empty: none; [`ke::NONE`] in the list makes it optional.
    pub ke: Vec<u16>,
    /// First additional key exchange on rekey (RFC 9370); empty for none.
    pub addke1: Vec<u16>,
}

/// An IKE suite: one choice of each type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IkeSuite {
    /// Cipher and key bits.
    pub encr: (u16, u16),
    /// Integrity, [`integ::NONE`] with an AEAD.
    pub integ: u16,
    /// Pseudo-random function.
    pub prf: u16,
    /// Key exchange.
    pub ke: u16,
    /// Additional key exchange.
    pub addke1: Option<u16>,
}

/// An ESP suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EspSuite {
    /// Cipher and key bits (0 where the algorithm has no choice).
    pub encr: (u16, u16),
    /// Integrity, [`integ::NONE`] with an AEAD.
    pub integ: u16,
    /// Extended sequence numbers.
    pub esn: bool,
    /// Key exchange used for it.
    pub ke: Option<u16>,
    /// Additional key exchange used for it.
    pub addke1: Option<u16>,
}

pub(crate) fn is_aead(id: u16) -> bool {
    matches!(id, encr::AES_GCM_16 | encr::CHACHA20_POLY1305 | encr::NULL_AES_GMAC)
}

impl Default for IkeProposal {
    fn default() -> Self {
        Self {
            encr: vec![(encr::AES_GCM_16, 256), (encr::AES_GCM_16, 128)],
            integ: vec![],
            prf: vec![prf::HMAC_SHA2_256, prf::HMAC_SHA2_384, prf::HMAC_SHA2_512],
            ke: vec![ke::CURVE25519, ke::ECP_256, ke::ECP_384, ke::MODP_2048],
            addke1: vec![],
        }
    }
}

impl IkeProposal {
    /// The default set: AES-GCM first, then AES-CBC with HMAC-SHA2.
    pub fn defaults() -> Vec<Self> {
        let cbc = Self {
            encr: vec![(encr::AES_CBC, 256), (encr::AES_CBC, 128)],
            integ: vec![integ::HMAC_SHA2_256_128, integ::HMAC_SHA2_384_192, integ::HMAC_SHA2_512_256],
            ..Self::default()
        };
        vec![Self::default(), cbc]
    }

    /// What is wrong with it, if anything.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.encr.is_empty() || self.prf.is_empty() || self.ke.is_empty() {
            return Err("an IKE proposal needs a cipher, a PRF and a key exchange");
        }
        let aeads = self.encr.iter().filter(|(id, _)| is_aead(*id)).count();
        let known = |&(id, bits): &(u16, u16)| matches!((id, bits), (encr::AES_GCM_16 | encr::AES_CBC, 128 | 256));
        if !self.encr.iter().all(known) {
            return Err("unsupported IKE cipher");
        }
        match (aeads, self.integ.is_empty()) {
            (0, false) => {}
            (n, true) if n == self.encr.len() => {}
            _ => return Err("AEAD ciphers take no integrity algorithm, other ciphers need one"),
        }
        if !self.integ.iter().all(|id| matches!(id, 2 | 12..=14)) {
            return Err("unsupported IKE integrity algorithm");
        }
        if !self.prf.iter().all(|id| matches!(id, 5..=7)) {
            return Err("unsupported PRF");
        }
        if !self.ke.iter().all(|id| matches!(id, 14 | 19 | 20 | 31)) {
            return Err("unsupported key exchange method");
        }
        if !self.addke1.iter().all(|id| matches!(*id, ke::NONE | ke::ML_KEM_768)) {
            return Err("unsupported additional key exchange method");
        }
        Ok(())
    }

    fn wanted(&self) -> Vec<Wanted> {
        let plain = |ids: &[u16]| ids.iter().map(|&id| (id, 0)).collect();
        vec![
            Wanted { kind: tt::ENCR, accepted: self.encr.clone() },
            Wanted { kind: tt::PRF, accepted: plain(&self.prf) },
            Wanted { kind: tt::INTEG, accepted: plain(&self.integ) },
            Wanted { kind: tt::KE, accepted: plain(&self.ke) },
            Wanted { kind: tt::ADDKE1, accepted: plain(&self.addke1) },
        ]
    }

    /// As an offer with the given number and SPI (empty in IKE_SA_INIT).
    pub fn offer(&self, number: u8, spi: &[u8]) -> Proposal {
        Proposal { number, protocol: PROTO_IKE, spi: spi.to_vec(), transforms: transforms(&self.wanted()) }
    }

    /// Chooses from what the peer offers. `guess` is the method of its KE payload.
    pub fn choose(ours: &[Self], offered: &[Proposal], guess: Option<u16>) -> Option<(IkeSuite, Proposal)> {
        ours.iter().find_map(|own| {
            let wanted = own.wanted();
            offered.iter().filter(|o| o.protocol == PROTO_IKE).find_map(|o| {
                let chosen = select(o, &wanted, guess)?;
                Some((IkeSuite::of(&chosen)?, Proposal { transforms: chosen, ..o.clone() }))
            })
        })
    }

    /// Whether a suite falls within this proposal.
    pub fn allows(&self, suite: &IkeSuite) -> bool {
        let integ = if self.integ.is_empty() { suite.integ == 0 } else { self.integ.contains(&suite.integ) };
        let addke1 = match suite.addke1 {
            Some(id) => self.addke1.contains(&id),
            None => self.addke1.is_empty() || self.addke1.contains(&ke::NONE),
        };
        self.encr.contains(&suite.encr)
            && self.prf.contains(&suite.prf)
            && self.ke.contains(&suite.ke)
            && integ
            && addke1
    }
}

impl IkeSuite {
    /// The suite that a chosen set of transforms makes.
    pub fn of(chosen: &[Transform]) -> Option<Self> {
        Some(Self {
            encr: pick(chosen, tt::ENCR).map(|t| (t.id, t.key_bits))?,
            integ: pick(chosen, tt::INTEG).map_or(0, |t| t.id),
            prf: pick(chosen, tt::PRF)?.id,
            ke: pick(chosen, tt::KE)?.id,
            addke1: pick(chosen, tt::ADDKE1).map(|t| t.id).filter(|&id| id != ke::NONE),
        })
    }
}

impl Default for EspProposal {
    fn default() -> Self {
        Self {
            encr: vec![(encr::AES_GCM_16, 256), (encr::AES_GCM_16, 128), (encr::CHACHA20_POLY1305, 0)],
            integ: vec![],
            esn: vec![true, false],
            ke: vec![ke::NONE, ke::CURVE25519, ke::ECP_256, ke::ECP_384, ke::MODP_2048],
            addke1: vec![],
        }
    }
}

impl EspProposal {
    /// The default set: AEADs first, then AES-CBC with HMAC-SHA2-256.
    pub fn defaults() -> Vec<Self> {
        let cbc = Self {
            encr: vec![(encr::AES_CBC, 256), (encr::AES_CBC, 128)],
            integ: vec![integ::HMAC_SHA2_256_128],
            ..Self::default()
        };
        vec![Self::default(), cbc]
    }

    /// What is wrong with it, if anything.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.encr.is_empty() || self.esn.is_empty() {
            return Err("an ESP proposal needs a cipher and a choice of sequence numbers");
        }
        let known = |&(id, bits): &(u16, u16)| match id {
            encr::AES_GCM_16 | encr::AES_CBC | encr::NULL_AES_GMAC => matches!(bits, 128 | 256),
            encr::NULL | encr::CHACHA20_POLY1305 => bits == 0,
            _ => false,
        };
        if !self.encr.iter().all(known) {
            return Err("unsupported ESP cipher");
        }
        let aeads = self.encr.iter().filter(|(id, _)| is_aead(*id)).count();
        // RFC 8221, section 4: encryption or not, an SA without integrity protection MUST NOT be used.
        match (aeads, self.integ.is_empty()) {
            (0, false) => {}
            (n, true) if n == self.encr.len() => {}
            _ => return Err("AEAD ciphers take no integrity algorithm, other ciphers need one"),
        }
        if !self.integ.iter().all(|id| matches!(*id, integ::HMAC_SHA1_96 | integ::HMAC_SHA2_256_128)) {
            return Err("unsupported ESP integrity algorithm");
        }
        if !self.ke.iter().all(|id| matches!(id, 0 | 14 | 19 | 20 | 31)) {
            return Err("unsupported key exchange method");
        }
        if !self.addke1.iter().all(|id| matches!(*id, ke::NONE | ke::ML_KEM_768)) {
            return Err("unsupported additional key exchange method");
        }
        if !self.addke1.is_empty() && (self.ke.is_empty() || self.ke.contains(&ke::NONE)) {
            return Err("an additional key exchange needs a key exchange");
        }
        Ok(())
    }

    fn wanted(&self, with_ke: bool) -> Vec<Wanted> {
        let mut wanted = vec![
            Wanted { kind: tt::ENCR, accepted: self.encr.clone() },
            Wanted { kind: tt::INTEG, accepted: self.integ.iter().map(|&id| (id, 0)).collect() },
            Wanted { kind: tt::ESN, accepted: self.esn.iter().map(|&esn| (u16::from(esn), 0)).collect() },
        ];
        if with_ke {
            wanted.push(Wanted { kind: tt::KE, accepted: self.ke.iter().map(|&id| (id, 0)).collect() });
            wanted.push(Wanted { kind: tt::ADDKE1, accepted: self.addke1.iter().map(|&id| (id, 0)).collect() });
        }
        wanted
    }

    /// As an offer. In IKE_AUTH there is no key exchange, so none is offered (RFC 7296, section 1.2). `first_ke` is the
    /// method the KE payload will be of; it goes first.
    pub fn offer(&self, number: u8, spi: u32, first_ke: Option<u16>) -> Proposal {
        let mut own = self.clone();
        if let Some(first) = first_ke {
            own.ke.sort_by_key(|&id| id != first);
        }
        let transforms = transforms(&own.wanted(first_ke.is_some()));
        Proposal { number, protocol: PROTO_ESP, spi: spi.to_be_bytes().to_vec(), transforms }
    }

    /// Chooses from what the peer offers. `guess` is the method of its KE payload; `with_ke` is false in IKE_AUTH,
    /// where key exchange transforms in the offer (some peers send them) are ignored.
    pub fn choose(
        ours: &[Self],
        offered: &[Proposal],
        guess: Option<u16>,
        with_ke: bool,
    ) -> Option<(EspSuite, Proposal)> {
        ours.iter().find_map(|own| {
            let wanted = own.wanted(with_ke);
            offered.iter().filter(|o| o.protocol == PROTO_ESP).find_map(|o| {
                let mut offer = o.clone();
                if !with_ke {
                    offer.transforms.retain(|t| t.kind != tt::KE && !(tt::ADDKE1..=tt::ADDKE7).contains(&t.kind));
                }
                let chosen = select(&offer, &wanted, guess)?;
                Some((EspSuite::of(&chosen)?, Proposal { transforms: chosen, ..offer }))
            })
        })
    }

    /// Whether a suite falls within this proposal.
    pub fn allows(&self, suite: &EspSuite, with_ke: bool) -> bool {
        let integ = if self.integ.is_empty() { suite.integ == 0 } else { self.integ.contains(&suite.integ) };
        let ke = match suite.ke {
            Some(id) => self.ke.contains(&id),
            None => !with_ke || self.ke.is_empty() || self.ke.contains(&ke::NONE),
        };
        let addke1 = match suite.addke1 {
            Some(id) => self.addke1.contains(&id),
            None => !with_ke || self.addke1.is_empty() || self.addke1.contains(&ke::NONE),
        };
        self.encr.contains(&suite.encr) && integ && self.esn.contains(&suite.esn) && ke && addke1
    }
}

impl EspSuite {
    /// The suite that a chosen set of transforms makes.
    pub fn of(chosen: &[Transform]) -> Option<Self> {
        Some(Self {
            encr: pick(chosen, tt::ENCR).map(|t| (t.id, t.key_bits))?,
            integ: pick(chosen, tt::INTEG).map_or(0, |t| t.id),
            esn: pick(chosen, tt::ESN).is_some_and(|t| t.id == 1),
            ke: pick(chosen, tt::KE).map(|t| t.id).filter(|&id| id != ke::NONE),
            addke1: pick(chosen, tt::ADDKE1).map(|t| t.id).filter(|&id| id != ke::NONE),
        })
    }

    /// What in it is not to be relied on any more, by the names that [`crate::v1::proposal::Weak`] has for it.
    pub fn weak(&self) -> Vec<&'static str> {
        crate::v1::proposal::Weak::among(&[self.encr], self.integ == integ::HMAC_SHA1_96, self.ke.as_slice())
            .into_iter()
            .map(crate::v1::proposal::Weak::name)
            .collect()
    }

    /// Octets of keying material for one direction: cipher key with its salt, then integrity key (RFC 7296, section
    /// 2.17; salts by RFC 4106, RFC 4543 and RFC 7634).
    pub fn key_lengths(&self) -> (usize, usize) {
        let bits = usize::from(self.encr.1);
        let encr = match self.encr.0 {
            encr::AES_GCM_16 | encr::NULL_AES_GMAC => bits / 8 + 4,
            encr::CHACHA20_POLY1305 => 36,
            encr::AES_CBC => bits / 8,
            encr::TRIPLE_DES => 24,
            _ => 0,
        };
        let integ = match self.integ {
            integ::HMAC_SHA1_96 => 20,
            integ::HMAC_SHA2_256_128 | integ::HMAC_SHA2_256_96 => 32,
            _ => 0,
        };
        (encr, integ)
    }
}

struct Wanted {
    kind: u8,
    accepted: Vec<(u16, u16)>,
}

fn transforms(wanted: &[Wanted]) -> Vec<Transform> {
    let each = |w: &Wanted| -> Vec<Transform> {
        w.accepted.iter().map(|&(id, bits)| Transform::with_key(w.kind, id, bits)).collect()
    };
    wanted.iter().flat_map(each).collect()
}

fn pick(chosen: &[Transform], kind: u8) -> Option<&Transform> {
    chosen.iter().find(|t| t.kind == kind)
}

/// One transform of each type the peer offers (RFC 7296, section 3.3.3), all of them acceptable to us; a type that only
/// one side names is met by "none" (id 0) on the other.
fn select(offered: &Proposal, wanted: &[Wanted], guess: Option<u16>) -> Option<Vec<Transform>> {
    let mut kinds: Vec<u8> = wanted.iter().map(|w| w.kind).collect();
    for transform in &offered.transforms {
        if !kinds.contains(&transform.kind) {
            kinds.push(transform.kind);
        }
    }
    let mut chosen = Vec::new();
    for kind in kinds {
        let own = wanted.iter().find(|w| w.kind == kind).map_or(&[][..], |w| &w.accepted[..]);
        let own = if own.is_empty() { &[(0, 0)][..] } else { own };
        let usable = |id: u16, bits: u16| {
            offered
                .transforms
                .iter()
                .find(|t| t.kind == kind && t.id == id && t.key_bits == bits && !t.unknown_attribute)
        };
        let guessed = guess.filter(|g| kind == tt::KE && own.contains(&(*g, 0))).and_then(|g| usable(g, 0));
        match guessed.or_else(|| own.iter().find_map(|&(id, bits)| usable(id, bits))) {
            Some(transform) => chosen.push(*transform),
            None => {
                let offered_any = offered.transforms.iter().any(|t| t.kind == kind);
                if offered_any || !own.contains(&(0, 0)) {
                    return None;
                }
            }
        }
    }
    Some(chosen)
}

pub(crate) const ENCR_NAMES: &[(&str, (u16, u16))] = &[
    ("aes128gcm16", (encr::AES_GCM_16, 128)),
    ("aes256gcm16", (encr::AES_GCM_16, 256)),
    ("aes128", (encr::AES_CBC, 128)),
    ("aes256", (encr::AES_CBC, 256)),
    ("chacha20poly1305", (encr::CHACHA20_POLY1305, 0)),
    ("null", (encr::NULL, 0)),
    ("aes128gmac", (encr::NULL_AES_GMAC, 128)),
    ("aes256gmac", (encr::NULL_AES_GMAC, 256)),
    ("3des", (encr::TRIPLE_DES, 0)),
];
const INTEG_NAMES: &[(&str, u16)] =
    &[("sha1", 2), ("sha256", 12), ("sha384", 13), ("sha512", 14), ("sha256_96", integ::HMAC_SHA2_256_96)];
const PRF_NAMES: &[(&str, u16)] = &[("prfsha256", 5), ("prfsha384", 6), ("prfsha512", 7)];
pub(crate) const KE_NAMES: &[(&str, u16)] =
    &[("modp2048", 14), ("ecp256", 19), ("ecp384", 20), ("x25519", 31), ("none", 0), ("modp1024", 2)];
const ADDKE_NAMES: &[(&str, u16)] = &[("ke1_mlkem768", 36), ("mlkem768", 36)];

pub(crate) fn lookup<T: Copy>(table: &[(&str, T)], word: &str) -> Option<T> {
    table.iter().find(|(name, _)| *name == word).map(|(_, value)| *value)
}

pub(crate) fn name<T: Copy + PartialEq>(table: &[(&'static str, T)], value: T) -> &'static str {
    table.iter().find(|(_, v)| *v == value).map_or("?", |(name, _)| name)
}

/// Reads the notation that strongSwan's users know: `aes256gcm16-prfsha256-x25519`, `aes256-sha256-ecp256`.
impl FromStr for IkeProposal {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut p = Self { encr: vec![], integ: vec![], prf: vec![], ke: vec![], addke1: vec![] };
        for word in text.split('-') {
            if let Some(encr) = lookup(ENCR_NAMES, word) {
                p.encr.push(encr);
            } else if let Some(integ) = lookup(INTEG_NAMES, word) {
                p.integ.push(integ);
            } else if let Some(prf) = lookup(PRF_NAMES, word) {
                p.prf.push(prf);
            } else if let Some(addke1) = lookup(ADDKE_NAMES, word) {
                p.addke1.push(addke1);
            } else if let Some(ke) = lookup(KE_NAMES, word) {
                p.ke.push(ke);
            } else {
                return Err("unknown algorithm");
            }
        }
        // As there: without an explicit PRF, the integrity algorithm's hash is the PRF's.
        if p.prf.is_empty() {
            p.prf = p.integ.iter().filter_map(|i| i.checked_sub(7).filter(|prf| (5..=7).contains(prf))).collect();
        }
        p.check()?;
        Ok(p)
    }
}

/// Reads `aes256gcm16-x25519-esn-noesn`, `aes128-sha256`. Without `esn` or `noesn`, plain sequence numbers.
impl FromStr for EspProposal {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let p = Self::read(text)?;
        p.check()?;
        Ok(p)
    }
}

impl EspProposal {
    /// Reads the notation without judging what it says.
    pub(crate) fn read(text: &str) -> Result<Self, &'static str> {
        let mut p = Self { encr: vec![], integ: vec![], esn: vec![], ke: vec![], addke1: vec![] };
        for word in text.split('-') {
            if let Some(encr) = lookup(ENCR_NAMES, word) {
                p.encr.push(encr);
            } else if let Some(integ) = lookup(INTEG_NAMES, word) {
                p.integ.push(integ);
            } else if word == "esn" || word == "noesn" {
                p.esn.push(word == "esn");
            } else if let Some(addke1) = lookup(ADDKE_NAMES, word) {
                p.addke1.push(addke1);
            } else if let Some(ke) = lookup(KE_NAMES, word) {
                p.ke.push(ke);
            } else {
                return Err("unknown algorithm");
            }
        }
        if p.esn.is_empty() {
            p.esn.push(false);
        }
        Ok(p)
    }
}

impl fmt::Display for IkeSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name(ENCR_NAMES, self.encr))?;
        if self.integ != integ::NONE {
            write!(f, "-{}", name(INTEG_NAMES, self.integ))?;
        }
        write!(f, "-{}-{}", name(PRF_NAMES, self.prf), name(KE_NAMES, self.ke))?;
        if let Some(id) = self.addke1 {
            write!(f, "-{}", name(ADDKE_NAMES, id))?;
        }
        Ok(())
    }
}

impl fmt::Display for EspSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name(ENCR_NAMES, self.encr))?;
        if self.integ != integ::NONE {
            write!(f, "-{}", name(INTEG_NAMES, self.integ))?;
        }
        if let Some(ke) = self.ke {
            write!(f, "-{}", name(KE_NAMES, ke))?;
        }
        if let Some(id) = self.addke1 {
            write!(f, "-{}", name(ADDKE_NAMES, id))?;
        }
        f.write_str(if self.esn { "-esn" } else { "-noesn" })
    }
}

#[cfg(test)]
#[path = "proposal_tests.rs"]
mod tests;

//! Which algorithms IKEv1 may use, and how one suite is chosen.
//!
//! A policy lists, per kind of algorithm, what is accepted, in order of preference; as in [`crate::proposal`], whose
//! numbers it uses, the responder walks its own lists and takes the first that the peer offers too. Offers are other:
//! a transform is a whole suite there. What is weak by today's measure exists because clients have nothing better, and is
//! accepted only where it is named ([`Weak`]).
//!
//! | | phase 1 (RFC 2409, appendix A) | phase 2, ESP (RFC 2407, section 4.5) |
//! |---|---|---|
//! | cipher | 1: 5 3DES, 7 AES | transform id: 3 3DES, 11 NULL, 12 AES, 20 AES-GCM |
//! | hash | 2: 2 SHA, 4 to 6 SHA2 | 5: 2 HMAC-SHA, 5 HMAC-SHA2-256 |
//! | authentication | 3: 1 pre-shared key, 3 RSA signatures | |
//! | group | 4 | 3 |
//! | lifetime | 11 type, 12 duration | 1 type, 2 duration |
//! | encapsulation | | 4 |
//! | key length | 14 | 6 |

mod phase1;
mod phase2;

pub use phase1::{Method, Phase1Choice, choose_phase1, offer_phase1};
pub use phase2::{Encap, Phase2Choice, choose_phase2, offer_phase2, offered_group};

use super::crypto::Hash;
use super::sa_payload::Transform;
use crate::proposal::{ENCR_NAMES, EspProposal, KE_NAMES, encr, integ, is_aead, ke, lookup, name};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What is not to be relied on any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Weak {
    /// SHA-1, as a hash and as HMAC-SHA1-96.
    Sha1,
    /// The group of 1024 bits.
    Modp1024,
    /// 3DES.
    TripleDes,
}

impl Weak {
    /// All.
    pub const ALL: [Self; 3] = [Self::Sha1, Self::Modp1024, Self::TripleDes];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Modp1024 => "modp1024",
            Self::TripleDes => "3des",
        }
    }

    /// What is weak of these ciphers and groups, and of SHA-1 where it is among the hashes.
    pub(crate) fn among(ciphers: &[(u16, u16)], sha1: bool, groups: &[u16]) -> Vec<Self> {
        let is = |weak: &Self| match weak {
            Self::Sha1 => sha1,
            Self::Modp1024 => groups.contains(&ke::MODP_1024),
            Self::TripleDes => ciphers.iter().any(|(id, _)| *id == encr::TRIPLE_DES),
        };
        Self::ALL.into_iter().filter(is).collect()
    }
}

impl fmt::Display for Weak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Weak {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|w| w.name() == text).ok_or("not one of sha1, modp1024, 3des")
    }
}

/// Algorithms accepted for an ISAKMP SA, each list in order of preference.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Phase1 {
    /// Cipher and key bits, in IKEv2's numbers: AES-CBC with its bits, 3DES with 0.
    pub encr: Vec<(u16, u16)>,
    /// Hash, which is the PRF's as well.
    pub hash: Vec<Hash>,
    /// Diffie-Hellman group.
    pub group: Vec<u16>,
}

/// One choice of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Phase1Suite {
    /// Cipher and key bits.
    pub encr: (u16, u16),
    /// Hash.
    pub hash: Hash,
    /// Group.
    pub group: u16,
}

const HASH_NAMES: &[(&str, Hash)] =
    &[("sha1", Hash::Sha1), ("sha256", Hash::Sha256), ("sha384", Hash::Sha384), ("sha512", Hash::Sha512)];

impl Phase1 {
    /// AES with SHA-2; after that, whatever of old is named.
    pub fn defaults(weak: &[Weak]) -> Vec<Self> {
        let modern = Self {
            encr: vec![(encr::AES_CBC, 256), (encr::AES_CBC, 128)],
            hash: vec![Hash::Sha256, Hash::Sha384, Hash::Sha512],
            group: vec![ke::ECP_256, ke::ECP_384, ke::MODP_2048],
        };
        let mut old = modern.clone();
        for weak in weak {
            match weak {
                Weak::Sha1 => old.hash.push(Hash::Sha1),
                Weak::Modp1024 => old.group.push(ke::MODP_1024),
                Weak::TripleDes => old.encr.push((encr::TRIPLE_DES, 0)),
            }
        }
        if weak.is_empty() { vec![modern] } else { vec![modern, old] }
    }

    /// What of it is weak.
    pub fn weak(&self) -> Vec<Weak> {
        Weak::among(&self.encr, self.hash.contains(&Hash::Sha1), &self.group)
    }

    /// What is wrong with it, if anything.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.encr.is_empty() || self.hash.is_empty() || self.group.is_empty() {
            return Err("an IKEv1 proposal needs a cipher, a hash and a group");
        }
        if !self.encr.iter().all(|e| matches!(e, (encr::AES_CBC, 128 | 256) | (encr::TRIPLE_DES, 0))) {
            return Err("unsupported IKEv1 cipher");
        }
        if !self.group.iter().all(|id| GROUPS.contains(id)) {
            return Err("unsupported IKEv1 group");
        }
        Ok(())
    }

    /// Every combination, in order of preference.
    fn suites(&self) -> impl Iterator<Item = Phase1Suite> {
        self.encr.iter().flat_map(move |&encr| {
            self.hash
                .iter()
                .flat_map(move |&hash| self.group.iter().map(move |&group| Phase1Suite { encr, hash, group }))
        })
    }
}

const GROUPS: [u16; 4] = [ke::MODP_1024, ke::MODP_2048, ke::ECP_256, ke::ECP_384];

impl Phase1Suite {
    /// What of it is weak.
    pub fn weak(&self) -> Vec<Weak> {
        Weak::among(&[self.encr], self.hash == Hash::Sha1, &[self.group])
    }
}

/// Reads `aes256-sha1-modp1024`; several of a kind are alternatives.
impl FromStr for Phase1 {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut p = Self { encr: vec![], hash: vec![], group: vec![] };
        for word in text.split('-') {
            if let Some(encr) = lookup(ENCR_NAMES, word) {
                p.encr.push(encr);
            } else if let Some(hash) = lookup(HASH_NAMES, word) {
                p.hash.push(hash);
            } else if let Some(group) = lookup(KE_NAMES, word) {
                p.group.push(group);
            } else {
                return Err("unknown algorithm");
            }
        }
        p.check()?;
        Ok(p)
    }
}

impl fmt::Display for Phase1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.encr.iter().map(|&e| name(ENCR_NAMES, e));
        let words = words.chain(self.hash.iter().map(|&h| name(HASH_NAMES, h)));
        let words = words.chain(self.group.iter().map(|&g| name(KE_NAMES, g)));
        f.write_str(&words.collect::<Vec<_>>().join("-"))
    }
}

impl fmt::Display for Phase1Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (encr, hash) = (name(ENCR_NAMES, self.encr), name(HASH_NAMES, self.hash));
        write!(f, "{encr}-{hash}-{}", name(KE_NAMES, self.group))
    }
}

/// The default set for ESP: AES, with SHA-2 where it is not GCM; after that, whatever of old is named.
pub fn esp_defaults(weak: &[Weak]) -> Vec<EspProposal> {
    let gcm = EspProposal {
        encr: vec![(encr::AES_GCM_16, 256), (encr::AES_GCM_16, 128)],
        integ: vec![],
        esn: vec![false],
        ke: vec![ke::NONE, ke::ECP_256, ke::ECP_384, ke::MODP_2048],
        addke1: vec![],
    };
    let cbc = EspProposal {
        encr: vec![(encr::AES_CBC, 256), (encr::AES_CBC, 128)],
        integ: vec![integ::HMAC_SHA2_256_128],
        ..gcm.clone()
    };
    let mut old = cbc.clone();
    for weak in weak {
        match weak {
            Weak::Sha1 => old.integ.push(integ::HMAC_SHA1_96),
            Weak::Modp1024 => old.ke.push(ke::MODP_1024),
            Weak::TripleDes => old.encr.push((encr::TRIPLE_DES, 0)),
        }
    }
    if weak.is_empty() { vec![gcm, cbc] } else { vec![gcm, cbc, old] }
}

/// What of it is weak.
pub fn esp_weak(proposal: &EspProposal) -> Vec<Weak> {
    Weak::among(&proposal.encr, proposal.integ.contains(&integ::HMAC_SHA1_96), &proposal.ke)
}

/// What is wrong with an ESP proposal for IKEv1, if anything.
pub fn check_esp(proposal: &EspProposal) -> Result<(), &'static str> {
    if proposal.encr.is_empty() {
        return Err("an ESP proposal needs a cipher");
    }
    let known = |e: &(u16, u16)| {
        matches!(e, (encr::AES_GCM_16 | encr::AES_CBC, 128 | 256) | (encr::TRIPLE_DES | encr::NULL, 0))
    };
    if !proposal.encr.iter().all(known) {
        return Err("unsupported ESP cipher");
    }
    let aeads = proposal.encr.iter().filter(|(id, _)| is_aead(*id)).count();
    match (aeads, proposal.integ.is_empty()) {
        (0, false) => {}
        (n, true) if n == proposal.encr.len() => {}
        _ => return Err("AEAD ciphers take no integrity algorithm, other ciphers need one"),
    }
    if !proposal.integ.iter().all(|id| matches!(*id, integ::HMAC_SHA1_96 | integ::HMAC_SHA2_256_128)) {
        return Err("unsupported ESP integrity algorithm");
    }
    if proposal.esn != [false] {
        return Err("IKEv1 has no extended sequence numbers here");
    }
    if !proposal.ke.iter().all(|id| *id == ke::NONE || GROUPS.contains(id)) || !proposal.addke1.is_empty() {
        return Err("unsupported group");
    }
    Ok(())
}

/// Reads `aes256-sha1`, `3des-sha1-none-modp1024`, `aes128gcm16`.
pub fn parse_esp(text: &str) -> Result<EspProposal, &'static str> {
    let proposal = EspProposal::read(text)?;
    check_esp(&proposal)?;
    Ok(proposal)
}

/// Life type, the same in both phases.
const SECONDS: u32 = 1;

/// Whether every attribute is of `kinds`, and none but those of lifetimes repeats.
fn understood(transform: &Transform, kinds: &[u16], lifetimes: [u16; 2]) -> bool {
    let once = |kind: u16| transform.attributes.iter().filter(|(k, _)| *k == kind).count() == 1;
    !transform.odd
        && transform
            .attributes
            .iter()
            .all(|(kind, _)| lifetimes.contains(kind) || (kinds.contains(kind) && once(*kind)))
}

/// The lifetime in time, which follows its life type; the one in octets is for its sender to keep. RFC 2407, section 4.5:
/// zero is no lifetime.
fn life(transform: &Transform, [kind, duration]: [u16; 2]) -> Option<Duration> {
    let pairs = transform.attributes.iter().zip(transform.attributes.iter().skip(1));
    let mut of = pairs.filter(|(a, b)| **a == (kind, SECONDS) && b.0 == duration);
    of.next().map(|(_, (_, value))| *value).filter(|value| *value > 0).map(|s| Duration::from_secs(s.into()))
}

fn seconds(lifetime: Duration) -> u32 {
    u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[path = "proposal_tests.rs"]
mod tests;

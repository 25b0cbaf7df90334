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
//! | hash | 2: 2 SHA, 4 to 6 SHA2 | 5: 2 HMAC-SHA, 5 to 7 HMAC-SHA2 |
//! | authentication | 3: 1 pre-shared key, 3 RSA signatures | |
//! | group | 4 | 3 |
//! | lifetime | 11 type, 12 duration | 1 type, 2 duration |
//! | encapsulation | | 4 |
//! | key length | 14 | 6 |

use super::crypto::Hash;
use super::payload::{PROTO_ESP, PROTO_ISAKMP};
use super::sa_payload::{Proposal, Transform};
use crate::config::Mode;
use crate::proposal::{ENCR_NAMES, EspProposal, EspSuite, KE_NAMES, encr, integ, is_aead, ke, lookup, name};
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

    pub(crate) fn of(cipher: u16, sha1: bool, group: Option<u16>) -> Vec<Self> {
        let is = |weak: &Self| match weak {
            Self::Sha1 => sha1,
            Self::Modp1024 => group == Some(ke::MODP_1024),
            Self::TripleDes => cipher == encr::TRIPLE_DES,
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
        let of = |w: &Weak| match w {
            Weak::Sha1 => self.hash.contains(&Hash::Sha1),
            Weak::Modp1024 => self.group.contains(&ke::MODP_1024),
            Weak::TripleDes => self.encr.iter().any(|(id, _)| *id == encr::TRIPLE_DES),
        };
        Weak::ALL.into_iter().filter(of).collect()
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
            self.hash.iter().flat_map(move |&hash| self.group.iter().map(move |&group| Phase1Suite { encr, hash, group }))
        })
    }
}

const GROUPS: [u16; 4] = [ke::MODP_1024, ke::MODP_2048, ke::ECP_256, ke::ECP_384];

impl Phase1Suite {
    /// What of it is weak.
    pub fn weak(&self) -> Vec<Weak> {
        Weak::of(self.encr.0, self.hash == Hash::Sha1, Some(self.group))
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
    let of = |w: &Weak| match w {
        Weak::Sha1 => proposal.integ.contains(&integ::HMAC_SHA1_96),
        Weak::Modp1024 => proposal.ke.contains(&ke::MODP_1024),
        Weak::TripleDes => proposal.encr.iter().any(|(id, _)| *id == encr::TRIPLE_DES),
    };
    Weak::ALL.into_iter().filter(of).collect()
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

/// How phase 1 authenticates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Pre-shared key.
    Psk,
    /// RSA signatures.
    RsaSig,
}

impl Method {
    const fn number(self) -> u32 {
        match self {
            Self::Psk => 1,
            Self::RsaSig => 3,
        }
    }
}

/// Attributes of phase 1.
mod p1 {
    pub const CIPHER: u16 = 1;
    pub const HASH: u16 = 2;
    pub const METHOD: u16 = 3;
    pub const GROUP: u16 = 4;
    pub const LIFE_TYPE: u16 = 11;
    pub const LIFE: u16 = 12;
    pub const KEY_LENGTH: u16 = 14;
}

/// Attributes of phase 2.
mod p2 {
    pub const LIFE_TYPE: u16 = 1;
    pub const LIFE: u16 = 2;
    pub const GROUP: u16 = 3;
    pub const ENCAPSULATION: u16 = 4;
    pub const AUTH: u16 = 5;
    pub const KEY_LENGTH: u16 = 6;
}

const SECONDS: u32 = 1;
const KILOBYTES: u32 = 2;
const KEY_IKE: u8 = 1;
const AES: u32 = 7;
const TRIPLE_DES: u32 = 5;

const fn hash_number(hash: Hash) -> u32 {
    match hash {
        Hash::Sha1 => 2,
        Hash::Sha256 => 4,
        Hash::Sha384 => 5,
        Hash::Sha512 => 6,
    }
}

/// What was chosen of phase 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase1Choice {
    /// The algorithms.
    pub suite: Phase1Suite,
    /// How both sides authenticate.
    pub method: Method,
    /// The peer's lifetime, where it names one.
    pub lifetime: Option<Duration>,
    /// The transform chosen, as it came.
    pub reply: Proposal,
}

/// Whether every attribute is of `kinds`, and none but those of lifetimes repeats.
fn understood(transform: &Transform, kinds: &[u16], lifetimes: [u16; 2]) -> bool {
    let once = |kind: u16| transform.attributes.iter().filter(|(k, _)| *k == kind).count() == 1;
    !transform.odd
        && transform
            .attributes
            .iter()
            .all(|(kind, _)| lifetimes.contains(kind) || (kinds.contains(kind) && once(*kind)))
}

/// The duration that follows a life type. RFC 2407, section 4.5: zero is no lifetime.
fn life(transform: &Transform, [kind, duration]: [u16; 2], unit: u32) -> Option<u32> {
    let pairs = transform.attributes.iter().zip(transform.attributes.iter().skip(1));
    let mut of = pairs.filter(|(a, b)| **a == (kind, unit) && b.0 == duration);
    of.next().map(|(_, (_, value))| *value).filter(|value| *value > 0)
}

/// The suite and method a transform of phase 1 makes, if it is one that exists here.
fn phase1_suite(transform: &Transform) -> Option<(Phase1Suite, Method)> {
    let kinds = [p1::CIPHER, p1::HASH, p1::METHOD, p1::GROUP, p1::KEY_LENGTH];
    if transform.id != KEY_IKE || !understood(transform, &kinds, [p1::LIFE_TYPE, p1::LIFE]) {
        return None;
    }
    let encr = match (transform.get(p1::CIPHER)?, transform.get(p1::KEY_LENGTH)) {
        (AES, None) => (encr::AES_CBC, 128),
        (AES, Some(bits)) => (encr::AES_CBC, u16::try_from(bits).ok()?),
        (TRIPLE_DES, None) => (encr::TRIPLE_DES, 0),
        _ => return None,
    };
    let hash = transform.get(p1::HASH)?;
    let hash = HASH_NAMES.iter().map(|(_, h)| *h).find(|h| hash_number(*h) == hash)?;
    let method = transform.get(p1::METHOD)?;
    let method = [Method::Psk, Method::RsaSig].into_iter().find(|m| m.number() == method)?;
    let group = u16::try_from(transform.get(p1::GROUP)?).ok()?;
    Some((Phase1Suite { encr, hash, group }, method))
}

/// Chooses from what the peer offers: our proposals in order, and of each the first suite that is offered, with the first
/// of `methods` that is offered with it.
pub fn choose_phase1(ours: &[Phase1], offered: &[Proposal], methods: &[Method]) -> Option<Phase1Choice> {
    let isakmp = offered.iter().filter(|p| p.protocol == PROTO_ISAKMP);
    let known: Vec<_> = isakmp
        .flat_map(|p| p.transforms.iter().filter_map(move |t| phase1_suite(t).map(|(suite, method)| (p, t, suite, method))))
        .collect();
    ours.iter().flat_map(Phase1::suites).find_map(|own| {
        let usable = |m: &Method| known.iter().find(|(_, _, suite, method)| *suite == own && method == m);
        let (proposal, transform, suite, method) = methods.iter().find_map(usable)?;
        let seconds = life(transform, [p1::LIFE_TYPE, p1::LIFE], SECONDS);
        Some(Phase1Choice {
            suite: *suite,
            method: *method,
            lifetime: seconds.map(|s| Duration::from_secs(s.into())),
            reply: Proposal { transforms: vec![(*transform).clone()], ..(*proposal).clone() },
        })
    })
}

/// All combinations as transforms of one proposal, 255 at most.
pub fn offer_phase1(ours: &[Phase1], method: Method, lifetime: Duration) -> Proposal {
    let mut suites: Vec<Phase1Suite> = Vec::new();
    for suite in ours.iter().flat_map(Phase1::suites) {
        if !suites.contains(&suite) {
            suites.push(suite);
        }
    }
    let transform = |(number, suite): (u8, Phase1Suite)| {
        let (cipher, bits) = if suite.encr.0 == encr::TRIPLE_DES { (TRIPLE_DES, 0) } else { (AES, suite.encr.1) };
        let mut attributes = vec![(p1::CIPHER, cipher)];
        if bits > 0 {
            attributes.push((p1::KEY_LENGTH, bits.into()));
        }
        attributes.extend([
            (p1::HASH, hash_number(suite.hash)),
            (p1::GROUP, suite.group.into()),
            (p1::METHOD, method.number()),
            (p1::LIFE_TYPE, SECONDS),
            (p1::LIFE, seconds(lifetime)),
        ]);
        Transform::new(number, KEY_IKE, attributes)
    };
    let transforms = (1..=u8::MAX).zip(suites).map(transform).collect();
    Proposal { number: 1, protocol: PROTO_ISAKMP, spi: vec![], transforms }
}

fn seconds(lifetime: Duration) -> u32 {
    u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX)
}

/// Encapsulation mode (RFC 2407, section 4.5; RFC 3947, section 5.1; the drafts have numbers of their own).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encap {
    /// Tunnel.
    Tunnel,
    /// Transport.
    Transport,
    /// UDP-encapsulated tunnel.
    UdpTunnel,
    /// UDP-encapsulated transport.
    UdpTransport,
    /// The same, by the number of the drafts.
    UdpTunnelDraft,
    /// The same, by the number of the drafts.
    UdpTransportDraft,
}

impl Encap {
    const ALL: [(Self, u32); 6] = [
        (Self::Tunnel, 1),
        (Self::Transport, 2),
        (Self::UdpTunnel, 3),
        (Self::UdpTransport, 4),
        (Self::UdpTunnelDraft, 61443),
        (Self::UdpTransportDraft, 61444),
    ];

    /// From its number.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, n)| *n == number).map(|(encap, _)| encap)
    }

    /// Its number.
    pub fn number(self) -> u32 {
        Self::ALL.into_iter().find(|(encap, _)| *encap == self).map_or(0, |(_, n)| n)
    }

    /// What the packets are inside.
    pub const fn mode(self) -> Mode {
        match self {
            Self::Tunnel | Self::UdpTunnel | Self::UdpTunnelDraft => Mode::Tunnel,
            Self::Transport | Self::UdpTransport | Self::UdpTransportDraft => Mode::Transport,
        }
    }

    /// Whether they are in UDP.
    pub const fn udp(self) -> bool {
        !matches!(self, Self::Tunnel | Self::Transport)
    }
}

/// What was chosen of phase 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase2Choice {
    /// The algorithms; `ke` is the group of quick mode's own key exchange.
    pub suite: EspSuite,
    /// SPI that the peer receives on.
    pub spi_out: u32,
    /// Tunnel or transport.
    pub mode: Mode,
    /// The same by the number it came with.
    pub encap: Encap,
    /// The peer's lifetime, where it names one.
    pub lifetime: Option<Duration>,
    /// The peer's limit of traffic, where it names one.
    pub life_kilobytes: Option<u32>,
    /// The transform chosen, as it came, under the peer's SPI, which is to be replaced by ours.
    pub reply: Proposal,
}

/// The suite a transform of ESP makes, if it is one that exists here.
fn esp_suite(transform: &Transform, sha256_96: bool) -> Option<(EspSuite, Encap)> {
    let kinds = [p2::GROUP, p2::ENCAPSULATION, p2::AUTH, p2::KEY_LENGTH];
    if !understood(transform, &kinds, [p2::LIFE_TYPE, p2::LIFE]) {
        return None;
    }
    let bits = transform.get(p2::KEY_LENGTH).map(u16::try_from).transpose().ok()?;
    let encr = match (u16::from(transform.id), bits) {
        (id @ (encr::TRIPLE_DES | encr::NULL), None) => (id, 0),
        (id @ (encr::AES_CBC | encr::AES_GCM_16), bits) => (id, bits.unwrap_or(128)),
        _ => return None,
    };
    let integ = match transform.get(p2::AUTH) {
        None => integ::NONE,
        Some(2) => integ::HMAC_SHA1_96,
        Some(5) if sha256_96 => integ::HMAC_SHA2_256_96,
        Some(5) => integ::HMAC_SHA2_256_128,
        Some(6) => integ::HMAC_SHA2_384_192,
        Some(7) => integ::HMAC_SHA2_512_256,
        Some(_) => return None,
    };
    let group = transform.get(p2::GROUP).map(u16::try_from).transpose().ok()?;
    let encap = Encap::from_number(transform.get(p2::ENCAPSULATION)?)?;
    Some((EspSuite { encr, integ, esn: false, ke: group.filter(|g| *g != ke::NONE), addke1: None }, encap))
}

/// Every combination of a proposal, in order of preference.
fn esp_suites(own: &EspProposal, sha256_96: bool) -> impl Iterator<Item = EspSuite> {
    let or_none = |list: &[u16]| if list.is_empty() { vec![0] } else { list.to_vec() };
    let integ = or_none(&own.integ);
    let cut = |id: u16| if sha256_96 && id == integ::HMAC_SHA2_256_128 { integ::HMAC_SHA2_256_96 } else { id };
    let integ: Vec<u16> = integ.into_iter().map(cut).collect();
    let groups = or_none(&own.ke);
    own.encr.iter().flat_map(move |&encr| {
        let groups = groups.clone();
        integ.clone().into_iter().flat_map(move |integ| {
            let suite = move |ke: u16| {
                EspSuite { encr, integ, esn: false, ke: Some(ke).filter(|k| *k != ke::NONE), addke1: None }
            };
            groups.clone().into_iter().map(suite)
        })
    })
}

/// Chooses from what the peer offers. With `udp` the encapsulation has to be the one in UDP, by whichever number, else
/// the one without. With `sha256_96`, HMAC-SHA-256 is taken to be cut to 96 bits.
pub fn choose_phase2(
    ours: &[EspProposal],
    offered: &[Proposal],
    mode: Mode,
    udp: bool,
    sha256_96: bool,
) -> Option<Phase2Choice> {
    // ESP together with AH or IPComp is not for us.
    let alone = |p: &&Proposal| offered.iter().filter(|o| o.number == p.number).count() == 1;
    let mut known = Vec::new();
    for proposal in offered.iter().filter(|p| p.protocol == PROTO_ESP).filter(alone) {
        let Some(spi) = proposal.esp_spi() else { continue };
        for transform in &proposal.transforms {
            match esp_suite(transform, sha256_96) {
                Some((suite, encap)) if encap.mode() == mode && encap.udp() == udp => {
                    known.push((spi, proposal, transform, suite, encap));
                }
                _ => {}
            }
        }
    }
    ours.iter().flat_map(|own| esp_suites(own, sha256_96)).find_map(|own| {
        let (spi_out, proposal, transform, suite, encap) = known.iter().find(|(_, _, _, suite, _)| *suite == own)?;
        let lifetimes = [p2::LIFE_TYPE, p2::LIFE];
        Some(Phase2Choice {
            suite: *suite,
            spi_out: *spi_out,
            mode,
            encap: *encap,
            lifetime: life(transform, lifetimes, SECONDS).map(|s| Duration::from_secs(s.into())),
            life_kilobytes: life(transform, lifetimes, KILOBYTES),
            reply: Proposal { transforms: vec![(*transform).clone()], ..(*proposal).clone() },
        })
    })
}

/// The group of the key exchange that an offer of `ours` has: the first choice of the first. All transforms of an offer
/// name the same (RFC 2409, section 5.5).
pub fn offered_group(ours: &[EspProposal]) -> Option<u16> {
    ours.first().and_then(|own| own.ke.first()).copied().filter(|group| *group != ke::NONE)
}

/// As an offer: a proposal for each of ours that allows the group of [`offered_group`].
pub fn offer_phase2(ours: &[EspProposal], spi_in: u32, encap: Encap, lifetime: Duration) -> Vec<Proposal> {
    let group = offered_group(ours);
    let transforms = |own: &EspProposal| -> Vec<Transform> {
        let suites = esp_suites(own, false).filter(|suite| suite.ke == group);
        let transform = |(number, suite): (u8, EspSuite)| {
            let mut attributes = vec![(p2::LIFE_TYPE, SECONDS), (p2::LIFE, seconds(lifetime))];
            attributes.extend(group.map(|group| (p2::GROUP, group.into())));
            attributes.push((p2::ENCAPSULATION, encap.number()));
            let auth = match suite.integ {
                integ::HMAC_SHA1_96 => Some(2),
                integ::HMAC_SHA2_256_128 => Some(5),
                _ => None,
            };
            attributes.extend(auth.map(|auth| (p2::AUTH, auth)));
            if suite.encr.1 > 0 {
                attributes.push((p2::KEY_LENGTH, suite.encr.1.into()));
            }
            Transform::new(number, suite.encr.0 as u8, attributes)
        };
        (1..=u8::MAX).zip(suites).map(transform).collect()
    };
    let offers = ours.iter().map(transforms).filter(|t| !t.is_empty());
    let proposal = |(number, transforms)| Proposal {
        number,
        protocol: PROTO_ESP,
        spi: spi_in.to_be_bytes().to_vec(),
        transforms,
    };
    (1..=u8::MAX).zip(offers).map(proposal).collect()
}

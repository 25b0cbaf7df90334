//! Phase 1: what transforms mean, the choice among them, and our offer (RFC 2409, appendix A).

use super::super::crypto::Hash;
use super::super::payload::PROTO_ISAKMP;
use super::super::sa_payload::{Proposal, Transform};
use super::{HASH_NAMES, Phase1, Phase1Suite, SECONDS, life, seconds, understood};
use crate::proposal::encr;
use std::time::Duration;

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

/// Attribute types.
mod attribute {
    pub const CIPHER: u16 = 1;
    pub const HASH: u16 = 2;
    pub const METHOD: u16 = 3;
    pub const GROUP: u16 = 4;
    pub const LIFE_TYPE: u16 = 11;
    pub const LIFE: u16 = 12;
    pub const KEY_LENGTH: u16 = 14;
}

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

/// The suite and method a transform of phase 1 makes, if it is one that exists here.
pub(super) fn suite_of(transform: &Transform) -> Option<(Phase1Suite, Method)> {
    let kinds = [attribute::CIPHER, attribute::HASH, attribute::METHOD, attribute::GROUP, attribute::KEY_LENGTH];
    if transform.id != KEY_IKE || !understood(transform, &kinds, [attribute::LIFE_TYPE, attribute::LIFE]) {
        return None;
    }
    let encr = match (transform.get(attribute::CIPHER)?, transform.get(attribute::KEY_LENGTH)) {
        (AES, None) => (encr::AES_CBC, 128),
        (AES, Some(bits)) => (encr::AES_CBC, u16::try_from(bits).ok()?),
        (TRIPLE_DES, None) => (encr::TRIPLE_DES, 0),
        _ => return None,
    };
    let hash = transform.get(attribute::HASH)?;
    let hash = HASH_NAMES.iter().map(|(_, h)| *h).find(|h| hash_number(*h) == hash)?;
    let method = transform.get(attribute::METHOD)?;
    let method = [Method::Psk, Method::RsaSig].into_iter().find(|m| m.number() == method)?;
    let group = u16::try_from(transform.get(attribute::GROUP)?).ok()?;
    Some((Phase1Suite { encr, hash, group }, method))
}

/// Chooses from what the peer offers: our proposals in order, and of each the first suite that is offered, with the first
/// of `methods` that is offered with it.
pub fn choose_phase1(ours: &[Phase1], offered: &[Proposal], methods: &[Method]) -> Option<Phase1Choice> {
    let isakmp = offered.iter().filter(|p| p.protocol == PROTO_ISAKMP);
    let known: Vec<_> = isakmp
        .flat_map(|p| p.transforms.iter().filter_map(move |t| suite_of(t).map(|(suite, method)| (p, t, suite, method))))
        .collect();
    ours.iter().flat_map(Phase1::suites).find_map(|own| {
        let usable = |m: &Method| known.iter().find(|(_, _, suite, method)| *suite == own && method == m);
        let (proposal, transform, suite, method) = methods.iter().find_map(usable)?;
        let lifetime = life(transform, [attribute::LIFE_TYPE, attribute::LIFE]);
        Some(Phase1Choice {
            suite: *suite,
            method: *method,
            lifetime,
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
        let mut attributes = vec![(attribute::CIPHER, cipher)];
        if bits > 0 {
            attributes.push((attribute::KEY_LENGTH, bits.into()));
        }
        attributes.extend([
            (attribute::HASH, hash_number(suite.hash)),
            (attribute::GROUP, suite.group.into()),
            (attribute::METHOD, method.number()),
            (attribute::LIFE_TYPE, SECONDS),
            (attribute::LIFE, seconds(lifetime)),
        ]);
        Transform::new(number, KEY_IKE, attributes)
    };
    let transforms = (1..=u8::MAX).zip(suites).map(transform).collect();
    Proposal { number: 1, protocol: PROTO_ISAKMP, spi: vec![], transforms }
}

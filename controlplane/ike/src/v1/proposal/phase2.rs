//! Phase 2, ESP: what transforms mean, the choice among them, and our offer (RFC 2407, section 4.5).

use super::super::payload::PROTO_ESP;
use super::super::sa_payload::{Proposal, Transform};
use super::{SECONDS, life, seconds, understood};
use crate::config::Mode;
use crate::proposal::{EspProposal, EspSuite, encr, integ, ke};
use std::time::Duration;

/// Attribute types.
mod attribute {
    pub const LIFE_TYPE: u16 = 1;
    pub const LIFE: u16 = 2;
    pub const GROUP: u16 = 3;
    pub const ENCAPSULATION: u16 = 4;
    pub const AUTH: u16 = 5;
    pub const KEY_LENGTH: u16 = 6;
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
    pub(super) const ALL: [(Self, u32); 6] = [
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
    /// The peer's lifetime, where it names one.
    pub lifetime: Option<Duration>,
    /// The transform chosen, as it came, under the peer's SPI, which is to be replaced by ours.
    pub reply: Proposal,
}

/// The suite a transform of ESP makes, if it is one that exists here.
fn esp_suite(transform: &Transform, sha256_96: bool) -> Option<(EspSuite, Encap)> {
    let kinds = [attribute::GROUP, attribute::ENCAPSULATION, attribute::AUTH, attribute::KEY_LENGTH];
    if !understood(transform, &kinds, [attribute::LIFE_TYPE, attribute::LIFE]) {
        return None;
    }
    let bits = transform.get(attribute::KEY_LENGTH).map(u16::try_from).transpose().ok()?;
    let encr = match (u16::from(transform.id), bits) {
        (id @ (encr::TRIPLE_DES | encr::NULL), None) => (id, 0),
        (id @ (encr::AES_CBC | encr::AES_GCM_16), bits) => (id, bits.unwrap_or(128)),
        _ => return None,
    };
    let integ = match transform.get(attribute::AUTH) {
        None => integ::NONE,
        Some(2) => integ::HMAC_SHA1_96,
        Some(5) if sha256_96 => integ::HMAC_SHA2_256_96,
        Some(5) => integ::HMAC_SHA2_256_128,
        Some(_) => return None,
    };
    let group = transform.get(attribute::GROUP).map(u16::try_from).transpose().ok()?;
    let encap = Encap::from_number(transform.get(attribute::ENCAPSULATION)?)?;
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
            let suite = move |ke: u16| EspSuite {
                encr,
                integ,
                esn: false,
                ke: Some(ke).filter(|k| *k != ke::NONE),
                addke1: None,
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
                    known.push((spi, proposal, transform, suite));
                }
                _ => {}
            }
        }
    }
    ours.iter().flat_map(|own| esp_suites(own, sha256_96)).find_map(|own| {
        let (spi_out, proposal, transform, suite) = known.iter().find(|(_, _, _, suite)| *suite == own)?;
        Some(Phase2Choice {
            suite: *suite,
            spi_out: *spi_out,
            mode,
            lifetime: life(transform, [attribute::LIFE_TYPE, attribute::LIFE]),
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
            let mut attributes = vec![(attribute::LIFE_TYPE, SECONDS), (attribute::LIFE, seconds(lifetime))];
            attributes.extend(group.map(|group| (attribute::GROUP, group.into())));
            attributes.push((attribute::ENCAPSULATION, encap.number()));
            let auth = match suite.integ {
                integ::HMAC_SHA1_96 => Some(2),
                integ::HMAC_SHA2_256_128 => Some(5),
                _ => None,
            };
            attributes.extend(auth.map(|auth| (attribute::AUTH, auth)));
            if suite.encr.1 > 0 {
                attributes.push((attribute::KEY_LENGTH, suite.encr.1.into()));
            }
            Transform::new(number, suite.encr.0 as u8, attributes)
        };
        (1..=u8::MAX).zip(suites).map(transform).collect()
    };
    let offers = ours.iter().map(transforms).filter(|t| !t.is_empty());
    let proposal =
        |(number, transforms)| Proposal { number, protocol: PROTO_ESP, spi: spi_in.to_be_bytes().to_vec(), transforms };
    (1..=u8::MAX).zip(offers).map(proposal).collect()
}

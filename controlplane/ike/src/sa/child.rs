//! Child SAs: what is kept of each, and the negotiation that IKE_AUTH and CREATE_CHILD_SA share (RFC 7296, sections
//! 1.2, 1.3 and 2.9).
//!
//! ```text
//!   initiator:  [N(USE_TRANSPORT_MODE)], SAi2, TSi, TSr
//!   responder:  [N(USE_TRANSPORT_MODE)], SAr2, TSi, TSr     one proposal chosen, selectors narrowed
//! ```
//!
//! In transport mode through a NAT the selectors name addresses that the other end does not see. RFC 7296, section
//! 2.23.1: the address of an end behind a NAT is replaced by what the IKE packets show before policy looks at it, and
//! the answer carries the original one again.

use super::nat::Nat;
use super::{Base, Ctx, Effect};
use crate::config::{ChildPolicy, Mode, TsAddress, TsPattern};
use crate::crypto::{IkeKeys, Prf, child_keymat};
use crate::error::Failure;
use crate::event::{Child, ChildDownReason, ChildKey, Event, Meta, PeerHandle, Resource};
use crate::message::Body;
use crate::payload::notify::NotifyType;
use crate::payload::ts::TrafficSelector;
use crate::payload::{Builder, PayloadType, sa, ts};
use crate::proposal::{EspProposal, EspSuite};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// What is kept of a child SA.
#[derive(Debug, Clone)]
pub(crate) struct ChildSa {
    pub spi_in: u32,
    pub spi_out: u32,
    pub suite: EspSuite,
    pub mode: Mode,
    pub local_ts: Box<[TrafficSelector]>,
    pub remote_ts: Box<[TrafficSelector]>,
    pub rekey_at: Option<Instant>,
    /// The pair it replaces, until that one is gone.
    pub replaces: Option<u32>,
    /// The owner has been told to send on it.
    pub selected: bool,
    /// What it is bound to.
    pub resource: Option<Resource>,
    /// A rekey or deletion of it is queued or under way.
    pub busy: Busy,
}

/// What is going on with a child SA on our initiative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Busy {
    No,
    Rekeying,
    Deleting,
}

/// Selectors of one end as the wire carries them and as we see them.
struct Side {
    wire: Vec<TrafficSelector>,
    seen: Vec<TrafficSelector>,
}

/// Replaces the addresses of an end behind a NAT by `outer`.
fn substitute(selectors: &[TrafficSelector], behind_nat: bool, outer: IpAddr) -> Vec<TrafficSelector> {
    let replace = |ts: &TrafficSelector| {
        if behind_nat && ts.is_host() { TrafficSelector { addresses: (outer, outer), ..*ts } } else { *ts }
    };
    selectors.iter().map(replace).collect()
}

/// Narrows proposed selectors to the policy's patterns. `wire` and `seen` are the same selectors before and after
/// address substitution; both come back narrowed alike.
fn narrow(wire: &[TrafficSelector], seen: &[TrafficSelector], patterns: &[TsPattern], outer: IpAddr) -> Option<Side> {
    let mut side = Side { wire: Vec::new(), seen: Vec::new() };
    for allowed in patterns.iter().flat_map(|p| p.resolve(outer)) {
        for (original, shown) in wire.iter().zip(seen) {
            let Some(common) = shown.intersect(&allowed) else { continue };
            if side.seen.contains(&common) {
                continue;
            }
            let addresses = if original.addresses == shown.addresses { common.addresses } else { original.addresses };
            side.seen.push(common);
            side.wire.push(TrafficSelector { addresses, ..common });
        }
    }
    (!side.seen.is_empty()).then_some(side)
}

/// The selectors a policy proposes.
pub(crate) fn propose(patterns: &[TsPattern], outer: IpAddr) -> Vec<TrafficSelector> {
    patterns.iter().flat_map(|p| p.resolve(outer)).collect()
}

/// Writes the SA and TS payloads of a request.
pub(crate) fn offer(
    chain: &mut Builder,
    proposals: &[EspProposal],
    spi_in: u32,
    ke: Option<u16>,
    nonce_ke: impl FnOnce(&mut Builder),
    (ts_i, ts_r): (&[TrafficSelector], &[TrafficSelector]),
    mode: Mode,
) {
    if mode == Mode::Transport {
        chain.notify(NotifyType::USE_TRANSPORT_MODE, &[]);
    }
    let offers: Vec<_> = (1..=255).zip(proposals).map(|(n, p)| p.offer(n, spi_in, ke)).collect();
    chain.push(PayloadType::SA, |out| sa::emit(&offers, out));
    nonce_ke(chain);
    chain.push(PayloadType::TSI, |out| ts::emit(ts_i, out));
    chain.push(PayloadType::TSR, |out| ts::emit(ts_r, out));
}

/// A responder's choice, before keys.
pub(crate) struct Accepted {
    pub suite: EspSuite,
    chosen: sa::Proposal,
    mode: Mode,
    tfc: bool,
    spi_out: u32,
    ours: Side,
    peers: Side,
}

/// Judges a request for a child SA by the policy, and by `proposals` in place of the policy's own. Without `with_ke` it
/// is IKE_AUTH.
pub(crate) fn accept(
    body: &Body<'_>,
    policy: &ChildPolicy,
    proposals: &[EspProposal],
    base: &Base,
    nat: Nat,
    with_ke: bool,
) -> Result<Accepted, NotifyType> {
    let (Some(offered), Some(ts_i), Some(ts_r)) = (&body.sa, &body.ts_i, &body.ts_r) else {
        return Err(NotifyType::INVALID_SYNTAX);
    };
    let asked = if body.has(NotifyType::USE_TRANSPORT_MODE) { Mode::Transport } else { Mode::Tunnel };
    // The responder may decline transport mode by leaving the notification out, but cannot ask for it.
    if policy.mode == Mode::Transport && asked == Mode::Tunnel {
        return Err(NotifyType::NO_PROPOSAL_CHOSEN);
    }
    let mode = policy.mode;
    let guess = body.ke.map(|ke| ke.method);
    let (suite, chosen) =
        EspProposal::choose(proposals, offered, guess, with_ke).ok_or(NotifyType::NO_PROPOSAL_CHOSEN)?;
    let spi_out = chosen.esp_spi().ok_or(NotifyType::NO_PROPOSAL_CHOSEN)?;
    let transport = mode == Mode::Transport;
    let seen_i = substitute(ts_i, transport && nat.remote, base.remote.ip());
    let seen_r = substitute(ts_r, transport && nat.local, base.local.ip());
    let peers = narrow(ts_i, &seen_i, &policy.remote_ts, base.remote.ip()).ok_or(NotifyType::TS_UNACCEPTABLE)?;
    let ours = narrow(ts_r, &seen_r, &policy.local_ts, base.local.ip()).ok_or(NotifyType::TS_UNACCEPTABLE)?;
    Ok(Accepted { suite, chosen, mode, tfc: takes_tfc(body), spi_out, ours, peers })
}

/// Whether the peer takes padding against traffic analysis on the child SA (RFC 7296, section 3.10.1).
fn takes_tfc(body: &Body<'_>) -> bool {
    !body.has(NotifyType::ESP_TFC_PADDING_NOT_SUPPORTED)
}

/// Secrets and nonces that child keys are made of.
pub(crate) struct Material<'a> {
    pub prf: Prf,
    pub keys: &'a IkeKeys,
    /// Results of its own key exchanges, in order.
    pub shared: &'a [&'a [u8]],
    pub ni: &'a [u8],
    pub nr: &'a [u8],
}

impl Accepted {
    /// As [`Agreement::is_like`].
    pub fn is_like(&self, child: &ChildSa) -> bool {
        alike((&self.suite, self.mode, &self.ours.seen, &self.peers.seen), child)
    }

    /// Writes the answer's SA payload; nonce and KE come between it and [`Self::answer_ts`].
    pub fn answer_sa(&self, chain: &mut Builder, spi_in: u32) {
        if self.mode == Mode::Transport {
            chain.notify(NotifyType::USE_TRANSPORT_MODE, &[]);
        }
        let chosen = sa::Proposal { spi: spi_in.to_be_bytes().to_vec(), ..self.chosen.clone() };
        chain.push(PayloadType::SA, |out| sa::emit(std::slice::from_ref(&chosen), out));
    }

    /// Writes the answer's TS payloads.
    pub fn answer_ts(&self, chain: &mut Builder) {
        chain.push(PayloadType::TSI, |out| ts::emit(&self.peers.wire, out));
        chain.push(PayloadType::TSR, |out| ts::emit(&self.ours.wire, out));
    }

    /// The agreement that results.
    pub fn agree(self, spi_in: u32) -> Agreement {
        let Self { suite, mode, tfc, spi_out, ours, peers, .. } = self;
        Agreement { spi_in, spi_out, suite, mode, tfc, local_ts: ours.seen, remote_ts: peers.seen, initiator: false }
    }
}

/// The same traffic and the same means; the key exchange of its own that a child SA may have is none of them.
fn alike(
    (suite, mode, local, remote): (&EspSuite, Mode, &[TrafficSelector], &[TrafficSelector]),
    child: &ChildSa,
) -> bool {
    let means = |s: &EspSuite| (s.encr, s.integ, s.esn);
    (means(suite), mode) == (means(&child.suite), child.mode)
        && (local, remote) == (&*child.local_ts, &*child.remote_ts)
}

/// The circumstances of an installation.
pub(crate) struct Terms {
    pub peer: PeerHandle,
    pub path: Meta,
    pub nat: Nat,
    pub lifetime: Option<Duration>,
    /// The pair it replaces.
    pub replaces: Option<u32>,
    /// What it is bound to.
    pub resource: Option<Resource>,
    /// Send on it at once.
    pub select: bool,
}

/// What both ends agreed on.
#[derive(Debug)]
pub(crate) struct Agreement {
    pub spi_in: u32,
    pub spi_out: u32,
    pub suite: EspSuite,
    pub mode: Mode,
    /// The peer takes TFC padding.
    pub tfc: bool,
    pub local_ts: Vec<TrafficSelector>,
    pub remote_ts: Vec<TrafficSelector>,
    /// We initiated this exchange.
    pub initiator: bool,
}

/// Checks the answer to our request for a child SA with `proposals`.
#[allow(clippy::too_many_arguments)] // one exchange's worth of context
pub(crate) fn conclude(
    body: &Body<'_>,
    policy: &ChildPolicy,
    proposals: &[EspProposal],
    path: Meta,
    nat: Nat,
    spi_in: u32,
    mode: Mode,
    with_ke: bool,
) -> Result<Agreement, Failure> {
    let (Some(chosen), Some(ts_i), Some(ts_r)) = (&body.sa, &body.ts_i, &body.ts_r) else {
        return Err(Failure::Protocol("incomplete answer for a child SA"));
    };
    let [chosen] = &chosen[..] else { return Err(Failure::Protocol("not one proposal chosen")) };
    let guess = body.ke.map(|ke| ke.method);
    let (suite, exact) =
        EspProposal::choose(proposals, std::slice::from_ref(chosen), guess, with_ke).ok_or(Failure::NoProposal)?;
    if with_ke && exact.transforms.len() != chosen.transforms.len() {
        return Err(Failure::NoProposal);
    }
    let spi_out = chosen.esp_spi().ok_or(Failure::Protocol("ESP SPI"))?;
    let answered = if body.has(NotifyType::USE_TRANSPORT_MODE) { Mode::Transport } else { Mode::Tunnel };
    if answered != mode {
        return Err(Failure::Protocol("the peer declined transport mode"));
    }
    let transport = mode == Mode::Transport;
    let seen_i = substitute(ts_i, transport && nat.local, path.local.ip());
    let seen_r = substitute(ts_r, transport && nat.remote, path.remote.ip());
    let ours = narrow(ts_i, &seen_i, &policy.local_ts, path.local.ip()).ok_or(Failure::TrafficSelectors)?;
    let peers = narrow(ts_r, &seen_r, &policy.remote_ts, path.remote.ip()).ok_or(Failure::TrafficSelectors)?;
    let (local_ts, remote_ts) = (ours.seen, peers.seen);
    Ok(Agreement { spi_in, spi_out, suite, mode, tfc: takes_tfc(body), local_ts, remote_ts, initiator: true })
}

/// The ends of an SA have moved: what the policy has name an outer address names the new one. In transport mode there
/// are no other addresses.
pub(crate) fn follow(
    policy: &ChildPolicy,
    ours: &mut [TrafficSelector],
    peers: &mut [TrafficSelector],
    from: Meta,
    to: Meta,
) {
    let replace = |selectors: &mut [TrafficSelector], patterns: &[TsPattern], from: SocketAddr, to: SocketAddr| {
        let outer = (from.ip(), from.ip());
        if policy.mode == Mode::Transport || patterns.iter().any(|p| p.addresses == TsAddress::Endpoint) {
            selectors.iter_mut().filter(|ts| ts.addresses == outer).for_each(|ts| ts.addresses = (to.ip(), to.ip()));
        }
    };
    replace(ours, &policy.local_ts, from.local, to.local);
    replace(peers, &policy.remote_ts, from.remote, to.remote);
}

impl Agreement {
    /// Whether it is for the same traffic as `child`, by the same means: RFC 9611, section 3, asks that of a child SA that is
    /// bound to a resource.
    pub fn is_like(&self, child: &ChildSa) -> bool {
        alike((&self.suite, self.mode, &self.local_ts, &self.remote_ts), child)
    }

    /// As [`follow`].
    pub fn follow(&mut self, policy: &ChildPolicy, from: Meta, to: Meta) {
        follow(policy, &mut self.local_ts, &mut self.remote_ts, from, to);
    }

    /// Derives the keys (section 2.17: initiator to responder first, cipher before integrity), tells the owner and
    /// keeps what is needed later.
    pub fn install(self, base: &Base, ctx: &mut Ctx<'_>, terms: Terms, material: &Material<'_>) -> ChildSa {
        let Terms { peer, path, nat, lifetime, replaces, resource, select } = terms;
        let (encr, integ) = self.suite.key_lengths();
        let Material { prf, keys, shared, ni, nr } = *material;
        let keymat = child_keymat(prf, keys.derivation(), shared, ni, nr, 2 * (encr + integ));
        let direction = |at: usize| ChildKey {
            encr: Zeroizing::new(keymat[at..at + encr].to_vec()),
            integ: Zeroizing::new(keymat[at + encr..at + encr + integ].to_vec()),
        };
        let (from_initiator, from_responder) = (direction(0), direction(encr + integ));
        let (outbound, inbound) =
            if self.initiator { (from_initiator, from_responder) } else { (from_responder, from_initiator) };
        let Self { spi_in, spi_out, suite, mode, tfc, local_ts, remote_ts, .. } = self;
        let rekey_at = lifetime.map(|after| ctx.now + shorten(ctx, after));
        let kept = ChildSa {
            spi_in,
            spi_out,
            suite,
            mode,
            local_ts: local_ts.clone().into(),
            remote_ts: remote_ts.clone().into(),
            rekey_at,
            replaces,
            selected: select,
            resource: resource.clone(),
            busy: Busy::No,
        };
        let (local, remote, encap) = (path.local, path.remote, nat.any());
        let child = Child {
            spi_in,
            spi_out,
            suite,
            mode,
            tfc,
            inbound,
            outbound,
            local_ts,
            remote_ts,
            encap,
            local,
            remote,
            replaces,
            resource,
        };
        ctx.events.push_back(Event::ChildUp { peer, child: Box::new(child), select });
        ctx.effects.push(Effect::ChildAdded { spi_in, owner: base.spi });
        kept
    }
}

/// Reports that a child SA was not agreed on.
pub(crate) fn refused(ctx: &mut Ctx<'_>, peer: PeerHandle, failure: Failure) {
    ctx.events.push_back(Event::ChildDown { peer, spi_in: 0, reason: ChildDownReason::Refused(failure) });
}

/// A lifetime less up to a tenth at random, so that the ends rarely rekey at the same moment (section 2.8).
pub(crate) fn shorten(ctx: &mut Ctx<'_>, after: Duration) -> Duration {
    after.mul_f64(1.0 - f64::from(ctx.rng.next_u32()) / f64::from(u32::MAX) / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 7296, section 3.10.1.
    #[test]
    fn a_peer_that_takes_no_tfc_padding_says_so() {
        let says = |kind: Option<NotifyType>| {
            let mut chain = Builder::new();
            chain.notify(NotifyType::USE_TRANSPORT_MODE, &[]);
            if let Some(kind) = kind {
                chain.notify(kind, &[]);
            }
            takes_tfc(&Body::parse(chain.first(), chain.bytes()).unwrap())
        };
        assert!(says(None));
        assert!(!says(Some(NotifyType::ESP_TFC_PADDING_NOT_SUPPORTED)));
        assert_eq!(NotifyType::ESP_TFC_PADDING_NOT_SUPPORTED.0, 16394);
    }
}
